"""Runs over every wire from the command line: fallback, functions, streams, tiers; what the user sees of them."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.results import Result
from tests.answers import Answer, Seen, answer_from, error, generated
from tests.asking import KEY
from tests.routes_openai import completion
from tests.server import Server
from tests.test_cli import fieldsift, results

FIELDS = "total float"
DATA = {"total": 5.5}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"inbox/{name}.txt").write_text(f"Letter {name}\nTotal 5.50 EUR\n")
    return tmp_path


def right(seen: Seen) -> Answer:
    return answer_from(seen, {"Total 5.50": DATA})


def pipeline(work: Path, models: str, *, stage: str = "", run: str = "") -> None:
    """A pipeline file with one stage."""
    (work / "pipeline.toml").write_text(
        f'[run]\ninput = "inbox"\noutput = "out"\n{run}\n{models}\n'
        f'[[stage]]\nname = "bill"\nschema = "{FIELDS}"\nmodel = "first"\n{stage}\n'
    )


def run(work: Path, env: Mapping[str, str], *more: str, code: int = 0) -> str:
    return fieldsift("run", *more, cwd=work, env=env, code=code).stderr


def test_a_backup_answers_while_the_first_service_is_down(work: Path) -> None:
    """Priced on its own, said in the Result, and nothing is paid again when the first one is well."""
    with Server(lambda seen: error(402, "insufficient balance")) as first, Server(right) as second:
        pipeline(
            work,
            f'[providers.backup]\nbase_url = "{second.url}"\nkey_env = "BACKUP_KEY"\nwire = "gemini"\n'
            '[models.first]\nmodel = "gemini-3.1-flash-lite"\nfallback = ["second"]\n'
            '[models.second]\nmodel = "backup:any"\nprice = { input = 1, output = 2 }\n',
        )
        env = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": first.url, "BACKUP_KEY": "b-12345"}
        assert "run fallback engine=backup:any count=2" in run(work, env, "--budget", "1USD")
        told = json.loads((work / "out/run.json").read_text())
        assert told["this_run"]["fallbacks"] == {"backup:any": 2}
        lines = results(work / "out")
        assert {line["engine"] for line in lines.values()} == {"backup:any"}
        assert {line["status"] for line in lines.values()} == {"valid"}
        (finding,) = (f for f in lines["a.txt"]["findings"] if f["rule"] == "fallback")
        assert "payment" in finding["message"]
        assert lines["a.txt"]["attempts"][0]["why"] == "fallback"
        tokens = lines["a.txt"]["attempts"][0]["tokens"]
        expected = (tokens["input"] + 2 * (tokens["output"] + tokens["thoughts"])) / 1e6
        assert lines["a.txt"]["cost_usd"] == pytest.approx(expected)
        first.reply = right
        before = len(first.requests), len(second.requests)
        for name in ("a", "b"):  # looked at again: the answers are there
            (work / f"inbox/{name}.txt").touch()
        run(work, env)
        assert (len(first.requests), len(second.requests)) == before
        assert {seen.headers["x-goog-api-key"] for seen in second.requests} == {"b-12345"}


def test_without_a_backup_the_run_stops_and_continues_later(work: Path) -> None:
    """A service that wants payment is exit 3."""
    with Server(lambda seen: error(402, "insufficient balance")) as first:
        pipeline(work, '[models.first]\nmodel = "gemini-3.1-flash-lite"\n')
        env = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": first.url}
        assert "payment" in run(work, env, code=3)
        first.reply = right
        run(work, env)
        assert {line["status"] for line in results(work / "out").values()} == {"valid"}


TOOLS = '''
"""Functions for the model."""

def rate(currency: str) -> float:
    """Euros for one unit of a currency."""
    with open("calls.txt", "a") as log:
        log.write(currency + "\\n")
    return {"EUR": 1.0}[currency]
'''


def calling(seen: Seen) -> Answer:
    """Asks for the function first, then answers."""
    results = [part for part in seen.parts if "functionResponse" in part]
    if results:
        assert results[0]["functionResponse"]["response"] == {"result": 1.0}
        assert [part for part in seen.parts if "thoughtSignature" in part]
        return right(seen)
    call = {"functionCall": {"name": "rate", "args": {"currency": "EUR"}, "id": "c1"}}
    content = {"role": "model", "parts": [call | {"thoughtSignature": "c2ln"}]}
    return generated("", content=content)


def test_a_function_is_called_once_for_each_question_and_never_again(work: Path) -> None:
    """Its result is kept as an answer is: forgetting what was finished calls nothing."""
    (work / "own_rates.py").write_text(TOOLS)
    with Server(calling) as server:
        pipeline(
            work,
            '[models.first]\nmodel = "gemini-3.1-flash-lite"\ntools = ["own_rates:rate"]\n',
            run="allow_tools_on_untrusted = true",
        )
        env = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": server.url}
        run(work, env)
        line = results(work / "out")["a.txt"]
        assert line["status"] == "valid"
        assert [attempt["why"] for attempt in line["attempts"]] == ["first", "function results"]
        assert (work / "calls.txt").read_text().split() == ["EUR", "EUR"]
        assert len(server.requests) == 4
        declared = server.requests[0].body["tools"][0]["functionDeclarations"][0]
        assert declared["name"] == "rate"
        for name in ("a", "b"):
            (work / f"inbox/{name}.txt").touch()
        run(work, env)
        assert len(server.requests) == 4
        assert len((work / "calls.txt").read_text().split()) == 2
        assert server.violations == []


def test_a_model_that_only_calls_is_stopped(work: Path) -> None:
    """After eight rounds; what they cost stands in the Result."""
    (work / "own_rates.py").write_text(TOOLS)

    def forever(seen: Seen) -> Answer:
        call = {"functionCall": {"name": "rate", "args": {"currency": "EUR"}}}
        return generated("", content={"role": "model", "parts": [call]})

    with Server(forever) as server:
        pipeline(
            work,
            '[models.first]\nmodel = "gemini-3.1-flash-lite"\ntools = ["own_rates:rate"]\n',
            run="allow_tools_on_untrusted = true",
        )
        env = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": server.url}
        assert "called functions" in run(work, env, "--limit", "1", code=1)
        assert len(server.requests) == 9
    line = results(work / "out")["a.txt"]
    assert (line["status"], line["reason"]) == ("failed", "too_many_calls")
    assert len(line["attempts"]) == 9


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [
        (error(402, "insufficient balance"), "over_budget", 3),
        (error(400, "Unable to process input image."), "failed", 1),
    ],
)
def test_a_conversation_that_fails_half_way_costs_what_it_cost(
    work: Path, trouble: Answer, status: str, code: int
) -> None:
    """The round that was answered stands in the Result, with the service's name for it."""
    (work / "own_rates.py").write_text(TOOLS)

    def reply(seen: Seen) -> Answer:
        results = [part for part in seen.parts if "functionResponse" in part]
        return trouble if results else calling(seen)

    with Server(reply) as server:
        pipeline(
            work,
            '[models.first]\nmodel = "gemini-3.1-flash-lite"\ntools = ["own_rates:rate"]\n',
            run="allow_tools_on_untrusted = true",
        )
        env = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": server.url}
        run(work, env, "--limit", "1", code=code)
    line = results(work / "out")["a.txt"]
    (attempt,) = line["attempts"]
    assert line["status"] == status
    assert line["cost_usd"] == attempt["cost_usd"] > 0
    assert attempt["response_id"] == "r-1"


def test_what_an_answer_took_is_told_by_kind_and_older_lines_are_read(work: Path) -> None:
    """What is zero or unknown is left out; an output folder of an earlier release has none of it."""
    usage = {
        "promptTokenCount": 60, "candidatesTokenCount": 5, "toolUsePromptTokenCount": 7,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 20}, {"modality": "AUDIO", "tokenCount": 30}, {"modality": "NEW", "tokenCount": 10},
        ],
    }  # fmt: skip
    with Server(lambda seen: generated(DATA, usage=usage)) as server:
        pipeline(work, '[models.first]\nmodel = "gemini-3.1-flash-lite"\n')
        env = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": server.url}
        run(work, env)
        (attempt,) = results(work / "out")["a.txt"]["attempts"]
        assert attempt["tokens"] == {
            "input": 60, "cached": 0, "output": 5, "thoughts": 0, "tool": 7, "audio": 30, "input_text": 20, "input_audio": 30,
        }  # fmt: skip
        file = work / "out/results.jsonl"
        older = [json.loads(line) for line in file.read_text().splitlines()]
        for line in older:
            for each in line["attempts"]:
                del each["response_id"]
                each["tokens"] = {"input": 60, "cached": 0, "output": 5, "thoughts": 0}
        file.write_text("".join(json.dumps(line) + "\n" for line in older))
        (read,) = {Result.from_json(line).attempts[0].response_id for line in older}
        assert read is None
        (work / "gold").mkdir()
        (work / "gold/a.json").write_text(json.dumps(DATA))
        assert "60 input, 5 output\n" in fieldsift("eval", "gold", "out", cwd=work, env=env).stdout
        for command in (("status", "out"), ("validate", "out"), ("run",)):
            fieldsift(*command, cwd=work, env=env)
        assert len(server.requests) == 2


def test_streams_and_whole_answers_are_one_answer(work: Path) -> None:
    """What was streamed is not asked for again without: it is the same question."""
    with Server(right) as server:
        pipeline(work, '[models.first]\nmodel = "gemini-3.1-flash-lite"\nstream = true\n')
        env = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": server.url}
        run(work, env)
        assert {seen.path.partition(":")[2] for seen in server.requests} == {
            "streamGenerateContent?alt=sse"
        }
        pipeline(work, '[models.first]\nmodel = "gemini-3.1-flash-lite"\n')
        run(work, env)
        assert len(server.requests) == 2
    assert {line["status"] for line in results(work / "out").values()} == {"valid"}


def test_a_tier_is_asked_for_and_priced(work: Path) -> None:
    """Flex is half the price, and the answers are the same ones."""
    with Server(right) as server:
        env = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": server.url}
        costs = []
        for tier in ("standard", "flex"):
            pipeline(
                work, f'[models.first]\nmodel = "gemini-3.1-flash-lite"\nservice_tier = "{tier}"\n'
            )
            run(work, env, "--force", "--limit", "1")
            assert server.requests[-1].body["serviceTier"] == tier
            costs.append(json.loads((work / "out/results.jsonl").read_text())["cost_usd"])
    assert costs[1] == pytest.approx(costs[0] / 2)


def test_schemas_of_any_service_come_back_in_the_users_own_form(work: Path) -> None:
    """A strict schema has every property required; what was optional and empty is left out again."""
    schema = {
        "type": "object",
        "properties": {"total": {"type": "number"}, "note": {"type": "string"}},
        "required": ["total"],
    }
    (work / "bill.json").write_text(json.dumps(schema))

    with Server() as server:
        server.next(completion(json.dumps({"total": 5.5, "note": None})))
        env = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{server.url}/v1"}
        run(work, env, "inbox", "-s", "bill.json", "-o", "out", "-m", "openai:any", "--limit", "1")
        sent = server.requests[0].body["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sorted(sent["schema"]["required"]) == ["_quotes", "note", "total"]
    assert results(work / "out")["a.txt"]["data"] == {"total": 5.5}
