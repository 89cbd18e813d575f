"""A document on its way through a pipeline: parts and items walk by themselves, and every stage leaves its line."""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import Pipeline, Result, Stage, validate
from pipeline.api import Storage, inputs_of, open_runner
from pipeline.config import Call, plan
from pipeline.errors import UsageError
from pipeline.ledger.view import pages_and_tokens
from pipeline.runner import Options
from tests.answers import Answer, Seen, answer_from, generated
from tests.server import Server
from tests.test_cli import fieldsift

INVOICE = "Invoice No {0}\nbolt 2.00\nnut 3.00\nTotal 5.00\n"
LETTER = "Dear Sir,\nplease find the invoices enclosed.\n"
LINE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "price": {"type": "number"}},
    "required": ["name", "price"],
    "additionalProperties": False,
}
BILL = {
    "type": "object",
    "properties": {
        "number": {"type": ["string", "null"]},
        "total": {"type": ["number", "null"]},
        "lines": {"type": "array", "items": LINE},
    },
    "required": ["number", "total", "lines"],
    "additionalProperties": False,
}
#: A page as it is sent: its number, and its text.
PAGE = re.compile(r"<page (\d+) [0-9a-f]{8}>\n(.*?)(?=<page|</doc)", re.DOTALL)
KIND = {
    "type": "object",
    "properties": {"group": {"type": "string"}},
    "required": ["group"],
    "additionalProperties": False,
}
SUM = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}


def stages() -> list[Stage]:
    """A file is cut into its documents, invoices are read, each line gets a group, and all of it is summed up."""
    return [
        Stage("parts", task="split", labels=["invoice", "letter"]),
        Stage("invoice", BILL, when={"parts": "invoice"}),
        Stage("group", KIND, task="generate", prompt="Name the group.", for_each="invoice.lines"),
        Stage(
            "summary",
            SUM,
            task="generate",
            prompt="Sum up.",
            inputs=("invoice", "group"),
            for_each="document",
        ),
    ]


class Clerk:
    """Answers what the pages say, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Seen] = []
        self.broken = ""
        self.rows = [{"name": "bolt", "price": 2.0}, {"name": "nut", "price": 3.0}]

    def __call__(self, seen: Seen) -> Answer:
        self.asked.append(seen)
        if self.broken == "refused":
            return generated("", finishReason="SAFETY")
        if self.broken == "truncated":
            return generated('{"parts": [{"pages": "1', finishReason="MAX_TOKENS")
        return answer_from(seen, {"": self.data(seen)})

    def data(self, seen: Seen) -> Any:
        """What the answer to a request is."""
        wanted = seen.config["responseJsonSchema"]["properties"]
        if "parts" in wanted:
            pages = PAGE.findall(seen.text)
            kinds = [(number, "letter" if "Dear" in text else "invoice") for number, text in pages]
            return {"parts": [{"pages": number, "label": label} for number, label in kinds]}
        if "lines" in wanted:
            number = seen.text.split("Invoice No ")[1].split("\n")[0]
            return {"number": number, "total": 5.0, "lines": self.rows}
        if "price" in wanted:
            return json.loads(re.findall(r"\{[^{}]*\"price\"[^{}]*\}", seen.text)[-1])
        if "group" in wanted:
            return {"group": "small" if '"bolt"' in seen.text else "other"}
        return {"text": "two invoices"}


@pytest.fixture
def clerk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Clerk]:
    """The clerk behind a server that the library asks; the working folder is a new one."""
    asked = Clerk()
    with Server(asked) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "inbox").mkdir()
        yield asked


def lines(output: str = "out") -> dict[tuple[str, str], Result]:
    """The lines of an output by document and stage; each stands there once."""
    told = Path(output, "results.jsonl").read_text().splitlines()
    found = [Result.from_json(json.loads(each)) for each in told]
    by_place = {(each.document.path, each.stage or ""): each for each in found}
    assert len(by_place) == len(found)
    return by_place


def test_parts_and_items_walk_by_themselves(clerk: Clerk) -> None:
    """Each part and each item has its own line, and the last stage sees all of them at once."""
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), LETTER, INVOICE.format(2)]))
    run = Pipeline(stages()).run("inbox", "out")
    found = lines()
    assert run.exit_code == 0, found
    assert {place: each.status for place, each in found.items()} == {
        ("a.txt", "parts"): "valid",
        ("a.txt#pages=1", "invoice"): "valid",
        ("a.txt#pages=1#/lines/0", "group"): "valid",
        ("a.txt#pages=1#/lines/1", "group"): "valid",
        ("a.txt#pages=2", "invoice"): "skipped",
        ("a.txt#pages=2", "group"): "skipped",
        ("a.txt#pages=3", "invoice"): "valid",
        ("a.txt#pages=3#/lines/0", "group"): "valid",
        ("a.txt#pages=3#/lines/1", "group"): "valid",
        ("a.txt", "summary"): "valid",
    }
    assert found["a.txt#pages=2", "invoice"].reason == "when"
    assert found["a.txt#pages=2", "group"].reason in {"no_inputs", "no_items"}
    assert found["a.txt#pages=3#/lines/1", "group"].document.parent == "a.txt#pages=3"
    second = found["a.txt#pages=3", "invoice"]
    assert {each.page for each in second.evidence if each.status == "verified"} == {3}
    assert second.document.pages == 1
    data = json.loads(Path("out/invoice/a.txt#pages=3.json").read_text())
    assert data["number"] == "2"
    asked = [
        seen for seen in clerk.asked if "lines" in seen.config["responseJsonSchema"]["properties"]
    ]
    assert all(("Invoice No 1" in s.text) != ("Invoice No 2" in s.text) for s in asked)


def test_the_same_run_again_asks_nothing(clerk: Clerk) -> None:
    """What is finished is not opened; what is walked again without a mark finds every answer."""
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), LETTER]))
    Pipeline(stages()).run("inbox", "out")
    before, asked = lines(), len(clerk.asked)
    Path("inbox/a.txt").touch()
    again = Pipeline(stages()).run("inbox", "out")
    assert (again.unchanged, len(clerk.asked)) == (0, asked)
    told = {place: (each.status, each.data, each.cost_usd) for place, each in lines().items()}
    assert told == {place: (e.status, e.data, e.cost_usd) for place, e in before.items()}


def test_one_stage_alone_leaves_the_lines_of_the_others(clerk: Clerk) -> None:
    """What it reads is asked too, but only its own lines are written; the whole run then pays for the rest alone."""
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), LETTER]))
    first = Pipeline(stages()).run("inbox", "out", stages=["invoice"])
    assert first.exit_code == 0
    assert set(lines()) == {("a.txt#pages=1", "invoice"), ("a.txt#pages=2", "invoice")}
    asked = len(clerk.asked)
    assert asked == 2
    whole = Pipeline(stages()).run("inbox", "out")
    assert (whole.unchanged, len(clerk.asked)) == (0, asked + 3)
    told = lines()
    assert len(told) == 7
    Pipeline(stages()).run("inbox", "out", stages=["summary"], force=True)
    assert len(clerk.asked) == asked + 4
    again = lines()
    assert {p: e for p, e in again.items() if p[1] != "summary"} == {
        p: e for p, e in told.items() if p[1] != "summary"
    }


def test_pages_that_any_stage_reads_are_read(clerk: Clerk) -> None:
    """A stage that looks at some of them takes none away; nor does a run of a later stage alone, over items."""
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), INVOICE.format(2), LETTER]))
    first, *rest = stages()
    looks = Stage("looks", KIND, task="generate", prompt="Name the group.", pages="1-2")
    told = [looks, first, *rest]
    decided = plan({"inputs": ("inbox",), "output": "out"}, Call(), told)

    async def read(**options: Any) -> tuple[int, int]:
        async with open_runner(decided, Options(**options), Storage()) as runner:
            async for _ in runner.run(inputs_of(decided)):
                pass
            return runner.tally.pages_found, runner.tally.pages_read

    assert asyncio.run(read()) == (3, 3)
    pages = pages_and_tokens(Path("out/.fieldsift"))[0]
    assert (pages.found, pages.read) == (3, 3)
    assert asyncio.run(read(stages=("group",), force=True)) == (3, 3)


def test_an_unknown_stage_is_named_with_the_nearest(clerk: Clerk) -> None:
    """Before anything is sent, or a folder is made."""
    Path("inbox/a.txt").write_text(LETTER)
    with pytest.raises(UsageError, match="did you mean invoice"):
        Pipeline(stages()).run("inbox", "out", stages=["invoise"])
    assert not clerk.asked
    assert not Path("out").exists()


def test_parts_that_are_no_more_leave_nothing_behind(clerk: Clerk) -> None:
    """Neither lines nor files, when the document has become another one."""
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), LETTER, INVOICE.format(2)]))
    Pipeline(stages()).run("inbox", "out")
    assert Path("out/invoice/a.txt#pages=3.json").exists()
    assert Path("out/group/a.txt#pages=3#/lines/0.json").exists()
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), LETTER]))
    Pipeline(stages()).run("inbox", "out")
    assert len(lines()) == 7
    files = {str(p.relative_to("out")) for p in Path("out").rglob("*.json") if "#" in str(p)}
    assert files == {
        "invoice/a.txt#pages=1.json",
        "group/a.txt#pages=1#/lines/0.json",
        "group/a.txt#pages=1#/lines/1.json",
    }


def test_files_of_a_killed_pass_that_nobody_makes_again_are_swept(clerk: Clerk) -> None:
    """Data files are written before their lines: a kill in between leaves some that no line tells of."""
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), LETTER]))
    Pipeline(stages()).run("inbox", "out")
    left = Path("out/invoice/b.txt#pages=4.json")
    left.write_text("{}")
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(2), LETTER]))

    async def stopped() -> None:
        """A run that never comes to its end, as a killed one."""
        results = Pipeline(stages()).arun("inbox", "out")
        await anext(results)
        await results.aclose()

    asyncio.run(stopped())
    assert left.exists()
    Pipeline(stages()).run("inbox", "out")
    assert not left.exists()
    assert Path("out/invoice/a.txt#pages=1.json").exists()


@pytest.mark.parametrize("status", ["refused", "truncated"])
def test_a_split_that_fails_ends_what_would_be_asked_about_its_parts(
    clerk: Clerk, status: str
) -> None:
    """Nothing is asked about the whole in their place, and each stage says why."""
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), LETTER]))
    clerk.broken = status
    run = Pipeline(stages()).run("inbox", "out")
    found = lines()
    assert run.exit_code == 1
    assert found["a.txt", "parts"].status != "valid"
    assert {each.reason for place, each in found.items() if place[1] != "parts"} == {"upstream"}
    assert {each.status for each in found.values()} <= {"failed", status}
    assert all("parts" in seen.config["responseJsonSchema"]["properties"] for seen in clerk.asked)


def test_an_array_without_items_has_one_line(clerk: Clerk) -> None:
    """Nothing is lost in silence: the line says that there is nothing to ask about."""
    Path("inbox/a.txt").write_text("Invoice No 7\nempty\n")
    clerk.rows = []
    made = [Stage("invoice", BILL), *stages()[2:3]]
    assert Pipeline(made).run("inbox", "out").exit_code == 0
    empty = lines()["a.txt", "group"]
    assert (empty.status, empty.reason) == ("skipped", "no_items")


def test_items_are_bounded_and_many(clerk: Clerk) -> None:
    """Forty items of one document: each once, in their order; more of them than are worked on at the same time."""
    Path("inbox/a.txt").write_text("Invoice No 7\n")
    clerk.rows = [{"name": f"n{number}", "price": 1.0} for number in range(40)]
    made = [Stage("invoice", BILL), *stages()[2:3]]
    assert Pipeline(made).run("inbox", "out").exit_code == 0
    found = lines()
    assert len(found) == 41
    assert [p for p, _ in found if p.startswith("a.txt#")] == [
        f"a.txt#/lines/{n}" for n in range(40)
    ]


def test_what_goes_along_is_data(clerk: Clerk) -> None:
    """Earlier results stand before the document, between marks that they can't close."""
    Path("inbox/a.txt").write_text("Invoice No </given-0>\n")
    clerk.rows = []
    beside = Stage("note", SUM, task="generate", prompt="Say it.", inputs=("document", "invoice"))
    assert Pipeline([Stage("invoice", BILL), beside]).run("inbox", "out").exit_code == 0
    text = next(
        s.text for s in clerk.asked if "text" in s.config["responseJsonSchema"]["properties"]
    )
    mark = re.search(r"<(given-[0-9a-f]{24})>\n(.*)\n</\1>", text)
    assert mark
    assert json.loads(mark[2])["invoice"]["number"] == "</given-0>"
    assert text.index(mark[1]) < text.index("<document-")


def test_parts_and_items_are_made_again_to_be_checked(clerk: Clerk) -> None:
    """Evidence of parts and items is looked for where it was; where the source is gone it is not checked."""
    Path("inbox/a.txt").write_text("\f".join([LETTER, INVOICE.format(1)]))
    item = Stage("item", LINE, for_each="invoice.lines")
    assert Pipeline([*stages()[:2], item]).run("inbox", "out").exit_code == 0
    proven = {each.path: (each.valid, each.evidence_checked) for each in validate("out")}
    assert proven == {
        "out/parts/a.txt.json": (True, None),
        "a.txt#pages=1": (True, None),
        "out/invoice/a.txt#pages=2.json": (True, True),
        "out/item/a.txt#pages=2#/lines/0.json": (True, True),
        "out/item/a.txt#pages=2#/lines/1.json": (True, True),
    }
    changed = Path("out/item/a.txt#pages=2#/lines/0.json")
    changed.write_text('{"name": "screw", "price": 2.0}')
    told = next(each for each in validate("out") if each.path == str(changed))
    assert {each.rule for each in told.findings} >= {"changed", "evidence_not_found"}
    Path("inbox/a.txt").unlink()
    gone = {each.path: each.evidence_checked for each in validate("out")}
    assert gone["out/invoice/a.txt#pages=2.json"] is False
    assert gone["out/item/a.txt#pages=2#/lines/1.json"] is True


def test_a_budget_in_the_middle_of_a_fan_out_is_continued(clerk: Clerk) -> None:
    """What was not reached says so, nothing is marked, and the same run with more money asks for the rest alone."""
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), LETTER, INVOICE.format(2)]))
    split, bill, group, summary = stages()
    dear = [split, bill, replace(group, max_output_tokens=60_000), summary]
    short = Pipeline(dear, budget=0.05).run("inbox", "out")
    assert short.exit_code == 3
    found = lines()
    assert "over_budget" in {each.status for each in found.values()}
    assert found["a.txt", "parts"].status == "valid"
    paid = len(clerk.asked)
    assert 0 < paid < 8
    assert found["a.txt", "summary"].status == "over_budget"
    assert Pipeline(dear).run("inbox", "out").exit_code == 0
    assert {each.status for each in lines().values()} == {"valid", "skipped"}
    assert len({seen.fingerprint for seen in clerk.asked}) == len(clerk.asked)


def test_a_share_of_documents_goes_up_with_all_their_items(clerk: Clerk) -> None:
    """A document that waits for the decision comes again; what its parts and items were answered counts."""
    for name in ("a.txt", "b.txt"):
        Path("inbox", name).write_text(f"Invoice No {name}\n")
    clerk.rows = [{"name": "bolt", "price": 1.0}, {"name": "nut", "price": 2.0}]
    strict = {**KIND, "properties": {"group": {"type": "string", "minLength": 20}}}
    up = {"to": ["gemini-3.1-pro-preview"], "on": ["invalid"], "max_share": 0.5}
    made = [
        Stage("invoice", BILL),
        Stage(
            "group",
            strict,
            task="generate",
            prompt="Name it.",
            for_each="invoice.lines",
            escalate=up,
            repair=0,
        ),
    ]
    Pipeline(made).run("inbox", "out")
    told = {place: each for place, each in lines().items() if place[1] == "group"}
    assert len(told) == 4
    went = {p for (p, _), each in told.items() if any("escalated" in a.why for a in each.attempts)}
    kept = {p for (p, _), e in told.items() if "not_escalated" in {f.rule for f in e.findings}}
    assert went == {"a.txt#/lines/0", "a.txt#/lines/1"}
    assert kept == {"b.txt#/lines/0", "b.txt#/lines/1"}


def test_the_command_takes_single_stages(clerk: Clerk) -> None:
    """An unknown name is exit 2 and names the nearest."""
    Path("inbox/a.txt").write_text("Invoice No 7\n")
    environment = {name: os.environ[name] for name in ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL")}
    call = ("run", "inbox", "-s", "number, total float", "-o", "out", "--stage")
    done = fieldsift(*call, "extrakt", cwd=Path.cwd(), env=environment, code=2)
    assert "did you mean extract" in done.stderr
    assert not clerk.asked


@pytest.mark.parametrize(("changed", "how"), [("parts", "offline"), ("group", "budget")])
def test_a_run_that_may_not_ask_loses_no_data_of_any_stage(
    clerk: Clerk, changed: str, how: str
) -> None:
    """What a stage found of a document, a part or an item stays until something new is known of it."""
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), LETTER]))
    assert Pipeline(stages()).run("inbox", "out").exit_code == 0
    before = lines()
    files = {each: each.read_bytes() for each in Path("out").rglob("*.txt*.json")}
    other = [replace(s, prompt="Otherwise.") if s.name == changed else s for s in stages()]
    asked = len(clerk.asked)
    if how == "budget":
        run = Pipeline(other, budget="0.000001 USD").run("inbox", "out")
    else:
        run = Pipeline(other).run("inbox", "out", offline=True)
    assert run.exit_code == (3 if how == "budget" else 1)
    assert len(clerk.asked) == asked
    after = lines()
    assert {place: each.data for place, each in after.items()} == {
        place: each.data for place, each in before.items()
    }
    assert {each: each.read_bytes() for each in Path("out").rglob("*.txt*.json")} == files
    assert Pipeline(other).run("inbox", "out").exit_code == 0
    assert len(clerk.asked) > asked, "it was not taken for finished"


def test_what_sees_the_whole_again_has_lists_also_where_nothing_was_split(clerk: Clerk) -> None:
    """One document that was not split is like one part: conditions, functions and prompts need not tell them apart."""

    def added(bill: list[dict[str, Any]]) -> dict[str, str]:
        return {"text": str(sum(each["total"] for each in bill))}

    Path("inbox/a.txt").write_text(INVOICE.format(1))
    again = Stage(
        "sum",
        SUM,
        task="python",
        function=added,
        inputs=("bill",),
        for_each="document",
        when="all(bill.total > 3)",
    )
    made = [Stage("first", BILL), Stage("parts", task="split", when="first.total > 9")]
    assert Pipeline([*made, Stage("bill", BILL), again]).run("inbox", "out").exit_code == 0
    assert lines()["a.txt", "parts"].status == "skipped"
    assert lines()["a.txt", "sum"].data == {"text": "5.0"}


def test_a_stage_alone_sees_the_whole_also_where_the_one_that_began_there_is_left_out(
    clerk: Clerk,
) -> None:
    split, bill, group, summary = stages()
    later = Stage("later", SUM, task="generate", prompt="Sum up.", inputs=("invoice",))
    Path("inbox/a.txt").write_text("\f".join([INVOICE.format(1), LETTER]))
    whole = Pipeline([split, bill, group, summary, later])
    assert whole.run("inbox", "out", stages=("later",)).exit_code == 0
    assert list(lines()) == [("a.txt", "later")]


def test_items_that_no_longer_stand_in_their_array_are_told_of(clerk: Clerk) -> None:
    """`--stage` may make an array anew and leave what was made of its earlier items: valid alone, and of nothing."""
    Path("inbox/a.txt").write_text(INVOICE.format(1))
    bill, group = Stage("invoice", BILL, prompt="All lines."), stages()[2]
    for chosen in (["group"], []):  # first without the array beside them, then with it
        assert Pipeline([bill, group]).run("inbox", "out", stages=chosen).exit_code == 0
        assert not any(each.findings for each in validate("out") if "#" in each.path)
    clerk.rows = [{"name": "bolt", "price": 2.0}]
    fewer = Pipeline([replace(bill, prompt="The first line."), group])
    assert fewer.run("inbox", "out", stages=("invoice",)).exit_code == 0
    told = {each.path: each.findings for each in validate("out") if "#" in each.path}
    assert told["out/group/a.txt#/lines/0.json"] == ()
    (found,) = told["out/group/a.txt#/lines/1.json"]
    assert (found.rule, found.severity) == ("no_item", "warning")
    assert fewer.run("inbox", "out").exit_code == 0
    assert not any(each.findings for each in validate("out") if "#" in each.path)
