"""What still fails goes up to the next model: which leaves, whose settings, how many documents, and who answered."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.api import Storage, open_runner
from pipeline.config import Call, plan
from pipeline.errors import ConfigError, UsageError
from pipeline.runner import Options
from pipeline.sources import Source
from pipeline.stages import Escalation, Stage
from tests.answers import generated
from tests.mending import Models, answered, serving, text_document
from tests.runs import env, started, statuses, wait_until
from tests.server import Server
from tests.test_cli import fieldsift, results

CHEAP, STRONG = "gemini-3.1-flash-lite", "gemini-3.1-pro-preview"
LABELS = {"number": "R-0042", "total": 12.5}
SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "string"}, "total": {"type": "number", "minimum": 0}},
    "required": ["number", "total"],
}
TEXT = "Receipt No: R-0042\nTotal 12.50 EUR\n"
UP = {"to": [STRONG]}


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    yield from serving(Models(LABELS), monkeypatch)


def asked(text: str = TEXT, **settings: Any) -> Any:
    return answered(text_document(text), Stage("a", SCHEMA, **settings))


def test_what_the_first_model_can_not_mend_is_asked_of_the_next_one(models: Models) -> None:
    models.first = models.again = {CHEAP: {"/total": -1}}
    result = asked(escalate=UP, repair=1)
    assert (result.status, result.data) == ("valid", LABELS)
    assert models.asked == [(CHEAP, None), (CHEAP, ["/total"]), (STRONG, ["/total"])]
    assert result.attempts[-1].why == f"escalated to gemini:{STRONG}: /total"
    assert result.field("/total").model == f"gemini:{STRONG}"
    assert result.field("/number").model == f"gemini:{CHEAP}"


def test_without_repair_it_goes_up_at_once(models: Models) -> None:
    models.first = {CHEAP: {"/total": -1}}
    assert asked(escalate=UP, repair=0).status == "valid"
    assert models.asked[1:] == [(STRONG, ["/total"])]


@pytest.mark.parametrize(("kind", "goes_up"), [("invalid", True), ("not_found", False)])
def test_only_the_kinds_that_are_named_go_up(models: Models, kind: str, goes_up: bool) -> None:
    models.first = {CHEAP: {"/total": -1}}
    result = asked(escalate={**UP, "on": [kind]}, repair=0)
    assert (result.status == "valid") == goes_up
    assert len(models.asked) == 1 + goes_up


def test_a_value_that_stands_nowhere_goes_up_where_that_is_asked(models: Models) -> None:
    models.first = models.again = {CHEAP: {"/total": 77.77}}
    assert asked(escalate={**UP, "on": ["not_found"]}).data == LABELS
    assert models.asked[-1] == (STRONG, ["/total"])


@pytest.mark.parametrize(("on", "own"), [(["not_found"], 1), (["invalid"], 0)])
def test_what_would_go_up_is_asked_of_the_own_model_first(
    models: Models, on: list[str], own: int
) -> None:
    models.first = {CHEAP: {"/total": 77.77}}
    result = asked(escalate={**UP, "on": on}, repair=1)
    assert models.asked == [(CHEAP, None)] + [(CHEAP, ["/total"])] * own
    assert (result.data == LABELS) == bool(own)


def test_a_cut_answer_goes_up_whole(models: Models) -> None:
    def change(seen: Any, answer: Any) -> Any:
        if seen.model == CHEAP:
            answer.body["candidates"][0]["finishReason"] = "MAX_TOKENS"
        return answer

    models.change = change
    result = asked(escalate=UP)
    assert (result.status, result.data) == ("valid", LABELS)
    assert models.asked[-1] == (STRONG, None)


def test_a_worse_answer_of_the_next_model_is_not_taken(models: Models) -> None:
    models.first = {CHEAP: {"/total": 77.77}}
    models.again = {STRONG: {"/total": -5}}
    result = asked(escalate=UP, repair=0)
    assert (result.status, result.data["total"]) == ("valid", 77.77)


def test_two_answers_that_differ_go_up_and_those_that_agree_are_taken(models: Models) -> None:
    def change(seen: Any, answer: Any) -> Any:
        if len(models.asked) == 1:  # the first vote
            part = answer.body["candidates"][0]["content"]["parts"][0]
            part["text"] = part["text"].replace("12.5", "13.5")
        return answer

    models.change = change
    result = asked(escalate=UP, repair=0, votes=2)
    assert (result.status, result.data) == ("valid", LABELS)
    assert models.asked == [(CHEAP, None), (CHEAP, None), (STRONG, ["/total"])]
    assert asked(votes=2).status == "valid"


def test_votes_that_differ_are_an_error_where_nobody_settles_them(models: Models) -> None:
    def change(seen: Any, answer: Any) -> Any:
        if len(models.asked) == 1:
            part = answer.body["candidates"][0]["content"]["parts"][0]
            part["text"] = part["text"].replace("R-0042", "R-0043")
        return answer

    models.change = change
    result = asked(repair=0, votes=2)
    assert (result.status, result.reason) == ("invalid", "conflict")


def test_a_third_answer_settles_what_two_left_open(models: Models) -> None:
    def change(seen: Any, answer: Any) -> Any:
        if len(models.asked) == 1:
            part = answer.body["candidates"][0]["content"]["parts"][0]
            part["text"] = part["text"].replace("R-0042", "R-0043")
        return answer

    models.change = change
    assert asked(votes=2).data == LABELS
    assert models.asked[-1] == (CHEAP, ["/number"])


def voting(*totals: float) -> Any:
    """Makes each whole answer give its own total, in turn."""
    left = list(totals)

    def change(seen: Any, answer: Any) -> Any:
        part = answer.body["candidates"][0]["content"]["parts"][0]
        told = json.loads(part["text"])
        if "total" in told:
            part["text"] = json.dumps({**told, "total": left.pop(0)})
        return answer

    return change


@pytest.mark.parametrize(
    ("totals", "third", "total"),
    [
        ((13.5, 14.5), 15.5, None),  # all differ, and nothing tells which
        ((13.5, 14.5), 14.5, 14.5),  # the third agrees with one
        ((13.5, 12.5), 15.5, 12.5),  # one stands in the document, all others don't
        ((12.5, 13.5), 15.5, 12.5),
        ((12.5, 13.5), 13.5, 12.5),  # what stands there counts more than two that don't
        ((13.5, 14.5), 12.5, 12.5),
        ((12.5, 42.0), 15.5, None),  # two stand there
        ((13.5, 12.5), None, 12.5),  # the third says nothing
        ((13.5, 14.5), None, None),
    ],
)
def test_votes_are_settled_by_agreement_or_by_the_document(
    models: Models, totals: tuple[float, float], third: float | None, total: float | None
) -> None:
    models.change, models.again = voting(*totals), {CHEAP: {"/total": third}}
    result = asked("Seats 42\n" + TEXT, votes=2, repair=1)
    assert len(models.asked) == 3
    if total is None:
        assert (result.status, result.reason) == ("invalid", "conflict")
    else:
        assert (result.status, result.data["total"]) == ("valid", total)
        assert result.field("/total").status == ("verified" if total == 12.5 else "not_found")


def test_three_answers_that_differ_go_up_and_the_next_model_settles_them(models: Models) -> None:
    models.change, models.again = voting(13.5, 14.5), {CHEAP: {"/total": 15.5}}
    result = asked(votes=2, repair=1, escalate={**UP, "on": ["conflict"]})
    assert (result.status, result.data) == ("valid", LABELS)
    assert [model for model, _ in models.asked] == [CHEAP] * 3 + [STRONG]


# settings ---------------------------------------------------------------------------------

FILE = f"""
[run]
input = "inbox"
output = "out"
model = "{CHEAP}"
[models.strong]
model = "{STRONG}"
thinking = "high"
[[stage]]
name = "r"
schema = "schema.json"
thinking = "minimal"
repair = 0
escalate = {{ to = ["strong"], max_share = SHARE }}
"""


def folder(tmp_path: Path, count: int, share: float = 1.0) -> Path:
    """Receipts, of which each says its own number."""
    (tmp_path / "inbox").mkdir()
    for number in range(count):
        (tmp_path / f"inbox/{number:02}.txt").write_text(TEXT.replace("0042", f"{number:04}"))
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "pipeline.toml").write_text(FILE.replace("SHARE", str(share)))
    return tmp_path


class Receipts(Models):
    """Each receipt has its own label, and the cheap model is wrong about the total of all of them."""

    def __call__(self, seen: Any) -> Any:
        self.labels = {**LABELS, "number": "R-" + seen.text.partition("Receipt No: R-")[2][:4]}
        return super().__call__(seen)


def test_the_next_model_is_asked_with_the_settings_of_its_own_table(tmp_path: Path) -> None:
    work = folder(tmp_path, 1)
    models = Receipts(LABELS, {CHEAP: {"/total": -1}})
    with Server(models) as server:
        fieldsift("run", cwd=work, env=env(server), code=0)
    levels = [seen.config["thinkingConfig"]["thinkingLevel"] for seen in server.requests]
    assert levels == ["MINIMAL", "HIGH"]
    told = json.loads((work / "out/run.json").read_text())["stages"][0]["escalate"]
    assert told["to"] == [f"gemini:{STRONG}"]
    assert told["settings"] == [{"thinking": "high"}]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"to": []}, "names no model"),
        ({"to": ["a"], "on": ["often"]}, "none of invalid"),
        ({"to": ["a"], "max_share": 0}, "max_share"),
        ({"too": ["a"]}, "too"),
    ],
)
def test_a_wrong_escalation_is_refused(given: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Stage("a", "vendor, total float", escalate=given)


@pytest.mark.parametrize(
    ("to", "words"),
    [("local", "local engine"), ("auto", "not auto"), (CHEAP, "own model"), ("a:b", "a:b")],
)
def test_a_model_that_can_not_be_escalated_to_is_refused(
    models: Models, to: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        asked(escalate={"to": [to]})


def test_the_hash_of_a_stage_tells_escalations_apart() -> None:
    plain = Stage("a", "vendor, total float")
    up = Stage("a", "vendor, total float", escalate=Escalation(("m",)))
    less = Stage("a", "vendor, total float", escalate={"to": "m", "max_share": 0.5})
    assert len({plain.sha256, up.sha256, less.sha256}) == 3


# how many ---------------------------------------------------------------------------------


def raised(work: Path) -> list[str]:
    """The documents that are valid: each was wrong before it went up."""
    lines = results(work / "out")
    return sorted(path for path in lines if lines[path]["status"] == "valid")


def test_no_more_than_the_share_goes_up_by_the_order_of_the_paths(tmp_path: Path) -> None:
    work = folder(tmp_path, 10, 0.25)
    models = Receipts(LABELS, {CHEAP: {"/total": -1}})
    with Server(models) as server:
        told = fieldsift("run", cwd=work, env=env(server), code=1).stderr
        assert raised(work) == ["00.txt", "01.txt"]
        assert statuses(work) == {"valid": 2, "invalid": 8}
        assert len(server.billed) == 12
        for line in results(work / "out").values():
            said = [each for each in line["findings"] if each["rule"] == "not_escalated"]
            assert [each["severity"] for each in said] == ["warning"] * (
                line["status"] == "invalid"
            )
            assert all("max_share = 0.25" in each["message"] for each in said)
        (work / "inbox/0.txt").write_text(TEXT)  # the share is used up, though it comes first
        fieldsift("run", cwd=work, env=env(server), code=1)
        assert raised(work) == ["00.txt", "01.txt"]
        assert len(server.billed) == 13
    assert "10" in told


def test_one_document_goes_up_though_the_share_is_less_than_one(tmp_path: Path) -> None:
    work = folder(tmp_path, 3, 0.01)
    with Server(Receipts(LABELS, {CHEAP: {"/total": -1}})) as server:
        fieldsift("run", cwd=work, env=env(server), code=1)
    assert raised(work) == ["00.txt"]


def test_without_an_output_folder_the_share_is_of_what_is_given(models: Models) -> None:
    models.first = {CHEAP: {"/total": -1}}
    stage = Stage("a", SCHEMA, repair=0, escalate={"to": STRONG, "max_share": 0.5})
    given = [text.encode() for text in (TEXT, TEXT + "2\n", TEXT + "3\n", TEXT + "4\n")]

    async def work() -> list[str]:
        decided = plan({"model": CHEAP}, Call(), [stage])
        sources = [Source(f"{n}.txt", size=len(each), content=each) for n, each in enumerate(given)]
        async with open_runner(decided, Options(), Storage(in_memory=True)) as runner:
            found = [result async for result in runner.run(sources)]
            assert (runner.tally.sources, runner.tally.done, runner.tally.pages) == (4, 4, 4)
            return sorted(each.document.path for each in found if each.status == "valid")

    assert asyncio.run(work()) == ["0.txt", "1.txt"]


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.long), 3])
def test_a_run_that_is_killed_while_documents_go_up_comes_to_the_same_end(
    tmp_path: Path, after: int
) -> None:
    work = folder(tmp_path, 12, 0.34)
    models = Receipts(LABELS, {CHEAP: {"/total": -1}})
    with Server(models) as server:
        models.change = lambda seen, answer: replace(
            answer, hold=seen.model == STRONG and up(server) >= after
        )
        with started(work, env(server), "-j", "2", arguments=("run",)) as client:
            wait_until(lambda: up(server) >= after)
            client.process.kill()
            client.process.wait()
        models.change = lambda seen, answer: answer
        server.release()
        server.wait_for_silence()
        before = up(server)
        fieldsift("run", cwd=work, env=env(server), code=1)
        assert raised(work) == [f"{n:02}.txt" for n in range(4)]
        assert statuses(work) == {"valid": 4, "invalid": 8}
        twice = sum(n - 1 for n in server.paid_twice().values())
        assert twice <= 2  # what was in flight at the kill
        assert up(server) <= before + 4
        assert Counter(seen.model for seen in server.billed)[CHEAP] == 12


def up(server: Server) -> int:
    """How often the strong model was asked."""
    return sum(seen.model == STRONG for seen in server.requests)


@pytest.mark.long
def test_where_the_budget_ends_the_run_nobody_goes_up_and_the_same_command_continues(
    tmp_path: Path,
) -> None:
    work = folder(tmp_path, 3, 0.5)
    models = Receipts(LABELS, {CHEAP: {"/total": -1}})
    with Server(models) as server:
        # Enough for the first answers, whatever is reserved for them, and not for the dear model.
        fieldsift("run", "--budget", "0.01", "-j", "1", cwd=work, env=env(server), code=3)
        assert up(server) == 0
        fieldsift("run", "--budget", "5", cwd=work, env=env(server), code=1)
    assert statuses(work) == {"valid": 1, "invalid": 2}


def test_what_was_paid_takes_the_place_of_what_an_earlier_run_could_not_pay(tmp_path: Path) -> None:
    """The first budget pays nothing, the second one all but the stronger model: its data is kept."""
    wrong = {CHEAP: {"/total": -1}}
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "pipeline.toml").write_text(
        f'[run]\ninput = "a.txt"\noutput = "out"\nmodel = "{CHEAP}"\n'
        f'[[stage]]\nname = "a"\nschema = "s.json"\nrepair = 0\nescalate = {{ to = ["{STRONG}"] }}\n'
    )
    told = []
    with Server(Models(LABELS, wrong)) as server:
        for budget, code in (("0.0001", 3), ("0.012", 3), ("0.0001", 3), ("5", 0)):
            fieldsift("run", "--budget", budget, cwd=tmp_path, env=env(server), code=code)
            (line,) = results(tmp_path / "out").values()
            told.append((line["status"], line["data"] and line["data"]["total"]))
    assert told == [("over_budget", None), *[("over_budget", -1)] * 2, ("valid", 12.5)]


def test_validate_repeats_what_only_a_run_can_find(tmp_path: Path) -> None:
    """Two answers differed: the data alone shows nothing wrong, and is not valid all the same."""
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "pipeline.toml").write_text(
        f'[run]\ninput = "a.txt"\noutput = "out"\nmodel = "{CHEAP}"\n'
        f'[[stage]]\nname = "a"\nschema = "s.json"\nrepair = 0\nvotes = 2\n'
    )
    models = Models(LABELS, {CHEAP: {}})
    models.change = lambda seen, answer: (
        answer if len(models.asked) == 1 else generated(LABELS | {"total": 99.0})
    )
    with Server(models) as server:
        fieldsift("run", "-j", "1", cwd=tmp_path, env=env(server), code=1)
    told = fieldsift("validate", "out", "--output-format", "json", cwd=tmp_path, code=1).stdout
    assert "conflict" in {each["rule"] for each in json.loads(told)["files"][0]["findings"]}


def test_settings_that_are_empty_are_not_shown() -> None:
    stage = Stage("a", "vendor, total float", escalate={"to": STRONG})
    decided = plan({"model": CHEAP}, Call(keyless=True), [stage])
    (told,) = [each.value for each in decided.settings if each.name == "stage.a.escalate"]
    assert told.endswith("max_share 1.0")
