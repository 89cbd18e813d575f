"""Folder jobs over the OpenAI-compatible wire, through the command: what goes out, what comes of the answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.answers import Answer
from tests.pdfs import pdf, picture_at, text_at
from tests.routes_openai import calling, completion, content, error, files, streamed
from tests.server import Server
from tests.test_cli import fieldsift, results

KEY = "canary-sk-5b1e90"
#: With a picture, so that its text alone is not enough.
PAGES = pdf(text_at(50, 700, "No. R-0001  Total 12.50") + picture_at(50, 50, 300, 300))
FIELDS = "number, total float"
DATA = {"number": "R-0001", "total": 12.5}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A letter and a PDF that say the same."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/a.txt").write_text("No. R-0001\nTotal 12.50 EUR\n")
    (tmp_path / "inbox/b.pdf").write_bytes(PAGES)
    return tmp_path


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(answers={"R-0001": DATA, "You": DATA}) as running:
        running.answers = {"": DATA}  # whatever is asked, pictures too
        yield running
        assert running.violations == []


def env(server: Server, name: str = "OPENAI") -> dict[str, str]:
    return {f"{name}_API_KEY": KEY, f"{name}_BASE_URL": server.url + "/v1"}


def lines(work: Path) -> list[tuple[str, str, Any]]:
    """Of each document its status, its data, and what it cost."""
    return [
        (path, line["status"], line["data"]) for path, line in sorted(results(work / "out").items())
    ]


BOTH = [("a.txt", "valid", DATA), ("b.pdf", "valid", DATA)]


def test_a_folder_goes_to_openai_with_pdfs_as_files(work: Path, server: Server) -> None:
    """The key goes as a bearer token and into no file; the second run sends nothing."""
    arguments = ("run", "inbox", "-s", FIELDS, "-o", "out", "-m", "openai:any-model")
    told = fieldsift(*arguments, cwd=work, env=env(server))
    assert lines(work) == BOTH
    assert sorted(kind for seen in server.requests for kind, _ in files(seen)) == ["file"]
    assert {seen.headers["authorization"] for seen in server.requests} == {f"Bearer {KEY}"}
    fieldsift(*arguments, cwd=work, env=env(server))
    assert len(server.requests) == 2
    assert KEY not in told.stdout + told.stderr
    for file in (work / "out").rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


def test_evolink_gets_pages_as_pictures_and_its_own_price(work: Path, server: Server) -> None:
    """What the catalogue says of it; the values are proven on the PDF's own words."""
    model = "evolink:gemini-3.1-flash-lite-preview"
    fieldsift(
        "run", "inbox", "-s", FIELDS, "-o", "out", "-m", model, cwd=work, env=env(server, "EVOLINK")
    )
    assert lines(work) == BOTH
    assert [kind for seen in server.requests for kind, _ in files(seen)] == ["image_url"]
    line = results(work / "out")["b.pdf"]
    assert {each["status"] for each in line["evidence"]} == {"verified"}
    assert float(line["cost_usd"]) > 0


def test_googles_compatibility_address_is_found_where_the_environment_points(
    work: Path, server: Server
) -> None:
    """Its path is its own; the key is Gemini's, as a bearer token."""
    there = {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": server.url}
    model = "gemini-openai:gemini-3.1-flash-lite"
    fieldsift("run", "inbox", "-s", FIELDS, "-o", "out", "-m", model, cwd=work, env=there)
    assert lines(work) == BOTH
    assert {seen.path for seen in server.requests} == {"/v1beta/openai/chat/completions"}
    assert {seen.headers["authorization"] for seen in server.requests} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("name", ["evolink", "evolink-gemini"])
def test_evolinks_native_route_is_a_word_in_the_pipeline_file(
    work: Path, server: Server, name: str
) -> None:
    """Gemini's own wire with a bearer token, by a service of its own or by `wire`."""
    model = "gemini-3.1-flash-lite-preview"
    told = f'version = 1\n[run]\nmodel = "{name}:{model}"\n[providers.evolink]\nwire = "gemini"\n'
    (work / "pipeline.toml").write_text(told if name == "evolink" else told.partition("[prov")[0])
    fieldsift("run", "inbox", "-s", FIELDS, "-o", "out", cwd=work, env=env(server, "EVOLINK"))
    assert lines(work) == BOTH
    assert {seen.path for seen in server.requests} == {f"/v1beta/models/{model}:generateContent"}
    assert {seen.headers["authorization"] for seen in server.requests} == {f"Bearer {KEY}"}
    assert [kind for seen in server.requests for kind, _ in seen.files] == ["image/png"]


def provider(work: Path, server: Server, *facts: str) -> None:
    """A pipeline file with a service of its own."""
    (work / "pipeline.toml").write_text(
        "\n".join(
            [
                "version = 1",
                "[run]",
                'model = "mine:tiny"',
                "[providers.mine]",
                f'base_url = "{server.url}/v1"',
                *facts,
            ]
        )
    )


def test_a_server_of_ones_own_needs_no_key_and_gets_text(work: Path, server: Server) -> None:
    """Without eyes and without structured output: page texts, and the schema in words."""
    server.keys = set()
    provider(
        work, server, 'pdf = "text"', "sees = false", 'schema = "none"', 'limit_name = "max_tokens"'
    )
    server.answers = {"R-0001": f"```json\n{json.dumps(DATA)}\n```"}
    fieldsift("run", "inbox", "-s", FIELDS, "-o", "out", cwd=work)
    assert lines(work) == BOTH
    for seen in server.requests:
        assert "authorization" not in seen.headers
        assert seen.body.keys() == {"model", "messages", "max_tokens"}
        (part,) = content(seen)
        assert "R-0001" in part["text"]
        assert '"number"' in part["text"]


def test_a_list_as_the_whole_answer_is_wrapped_and_unwrapped(work: Path, server: Server) -> None:
    """The service takes objects alone; the data is what the user's schema says."""
    listed = {"type": "array", "items": {"type": "string"}}
    (work / "names.json").write_text(json.dumps(listed))
    server.answers = {"": {"value": ["R-0001"]}}
    told = fieldsift(
        "run", "inbox", "-s", "names.json", "-o", "out", "-m", "openai:any-model", cwd=work, env=env(server)
    )  # fmt: skip
    assert lines(work) == [(path, status, ["R-0001"]) for path, status, _ in BOTH], told.stderr


def test_no_money_ends_the_run_and_an_error_of_one_document_does_not(
    work: Path, server: Server
) -> None:
    """402 is final: exit 3, and the same command continues; a bad answer, asked again twice, costs one document."""
    arguments = ("run", "inbox", "-s", FIELDS, "-o", "out", "-j", "1", "-m", "openai:any-model")
    server.next(completion({"number": 5}), error(402, "insufficient balance"))
    fieldsift(*arguments, cwd=work, env=env(server), code=3)
    fieldsift(*arguments, cwd=work, env=env(server), code=1)
    assert [status for _, status, _ in lines(work)] == ["invalid", "valid"]
    whys = [each["why"] for each in results(work / "out")["a.txt"]["attempts"]]
    assert whys == ["first", "repair 1: /number, /total", "repair 2: /total"]
    assert len(server.requests) == 5


def test_an_answer_that_does_not_say_what_it_took_costs_its_reserve(
    work: Path, server: Server
) -> None:
    """Unknown is never zero: the cap would not hold."""
    (work / "inbox/b.pdf").unlink()
    provider(
        work,
        server,
        "[models.tiny]",
        'model = "mine:tiny"',
        "price = { input = 1.0, output = 2.0 }",
    )
    server.keys = set()
    body = completion(DATA).body
    del body["usage"]
    server.next(Answer(body=body))
    fieldsift("run", "inbox", "-s", FIELDS, "-o", "out", "--budget", "1USD", cwd=work)
    line = results(work / "out")["a.txt"]
    assert line["status"] == "valid"
    assert float(line["cost_usd"]) > 0.002


STREAMED = """
version = 1
[run]
model = "openai:any-model"
allow_tools_on_untrusted = true
[[stage]]
name = "bill"
schema = "number, total float"
tools = ["shop:price"]
stream = true
"""


@pytest.mark.parametrize("is_streamed", [True, False])
def test_functions_are_called_and_their_results_go_back(
    work: Path, server: Server, is_streamed: bool
) -> None:
    """A round of calls, streamed or not: the user's function runs, the model's turn goes back as it came."""
    (work / "inbox/b.pdf").unlink()
    (work / "shop.py").write_text(
        "def price(sku: str) -> float:\n    'Price of a thing.'\n    return 12.5\n"
    )
    told = STREAMED if is_streamed else STREAMED.replace("stream = true", "")
    (work / "pipeline.toml").write_text(told)
    signed = {"google": {"thought_signature": "c2ln"}}
    asked = calling({"name": "price", "arguments": '{"sku": "x"}', "extra_content": signed})
    server.next(streamed(asked) if is_streamed else asked)
    fieldsift("run", "inbox", "-o", "out", cwd=work, env=env(server))
    assert lines(work) == BOTH[:1]
    first, second = (seen.body for seen in server.requests)
    assert first["tools"][0]["function"]["name"] == "price"
    said, result = second["messages"][2:]
    assert said["tool_calls"][0]["extra_content"] == signed
    assert result == {"role": "tool", "tool_call_id": "call_0", "content": "12.5"}
    assert second["messages"][:2] == first["messages"]
