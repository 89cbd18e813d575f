"""What is said of mistakes in a pipeline file, in settings and about answers: the product's own words, and a way out."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.status import lines_of
from pipeline.config import Call, plan
from pipeline.config.file import parse
from pipeline.errors import ConfigError, UsageError
from pipeline.providers import check
from pipeline.results import Evidence
from pipeline.rules import made
from pipeline.schema import Schema
from pipeline.stages import Escalation, Stage
from pipeline.windows.claims import Claim, conflict
from pipeline.windows.doubts import of_rows
from pipeline.windows.pages import Pages
from pipeline.windows.rows import Row, Table
from tests import bordered
from tests.chats import endpoint
from tests.test_sending import PLAIN

FIELDS = "vendor, total float"
STAGE = f'[[stage]]\nname = "a"\nschema = "{FIELDS}"\n'
TYPED = Schema.of(
    {
        "type": "object",
        "properties": {
            "issued": {"type": ["string", "null"], "format": "date"},
            "due": {"type": "string", "format": "date"},
            "total": {"type": ["number", "null"]},
            "paid": {"type": "boolean"},
            "unit": {"enum": ["kg", "m"]},
            "kind": {"type": "string", "enum": ["bill", "note"]},
            "words": {"type": "string"},
            "either": {"type": ["number", "string"]},
            "lines": {
                "type": "array",
                "items": {"type": "object", "properties": {"amount": {"type": "number"}}},
            },
        },
    }
)


@pytest.mark.parametrize("given", ["m", ["m"], ("m",), {"to": "m"}])
def test_models_alone_do_as_an_escalation(given: Any) -> None:
    assert Stage("a", FIELDS, escalate=given).escalate == Escalation(("m",))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"escalate": 5}, "escalate 5: give the name of a model"),
        ({"escalate": {"too": "m"}}, "there is no 'too', but to, on, max_share"),
        ({"escalate": {}}, "names no model"),
        ({"escalate": ""}, "names no model"),
        ({"escalate": {"to": 5}}, "to 5 is no text"),
        ({"escalate": {"to": [5]}}, "is no text, and no list of texts"),
        ({"escalate": {"to": "m", "max_share": "all"}}, "max_share 'all'"),
        ({"stream": "x"}, "stream 'x' is neither True nor False"),
        ({"stream": 1}, "stream 1 is neither"),
    ],
)
def test_a_setting_of_code_that_is_none_is_a_usage_error(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError) as error:
        Stage("a", FIELDS, **settings)
    assert words in str(error.value)
    assert str(error.value).startswith("stage a: ")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('validate = "iban"', 'stage a: validate: it is a list: write validate = ["iban"]'),
        ('escalate = "m"', 'stage a: escalate: it is a table: write escalate = { to = ["m"] }'),
        ("escalate = { to = [] }", "stage a: escalate.to: it names nothing"),
        ("escalate = { to = 5 }", "stage a: escalate.to: it is a list: write to = ["),
        ("escalate = { to = ['m'], max_share = 0 }", "stage a: escalate.max_share: it is above 0"),
        ('stream = "yes"', "stage a: stream: it is true or false, without quotes"),
        ("repair = 99", "stage a: repair: it is at most 10"),
        ("votes = 1.5", "stage a: votes: it is a whole number"),
        ("prompt = 5", "stage a: prompt: it is a text"),
        ('send = "fax"', "stage a: send: it is 'auto', 'text', 'pdf' or 'image'"),
    ],
)
def test_a_wrong_setting_of_a_file_is_told_in_our_words(line: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(f"{STAGE}{line}\n", Path("pipeline.toml"))
    assert f"pipeline.toml: line 4: {told}" in str(error.value)
    assert "nput should" not in str(error.value)


def test_alternatives_of_a_type_are_one_mistake() -> None:
    with pytest.raises(ConfigError) as error:
        parse("[run]\nbudget = [1]\ninput = 5\n", Path("pipeline.toml"))
    assert str(error.value).splitlines() == [
        "pipeline.toml: line 3: run.input: it is a text or a list of texts",
        "pipeline.toml: line 2: run.budget: it is a text or a number",
    ]


def test_what_only_a_stage_refuses_has_its_line_too(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(f'{STAGE}pages = "x"')
    with pytest.raises(ConfigError, match=r"pipeline.toml: line 4: stage a: pages 'x' is no page"):
        plan({"model": "local"}, Call(file))


def test_only_forms_that_a_service_takes_are_named() -> None:
    """One that takes neither files nor pictures takes text alone."""
    with pytest.raises(UsageError, match=r"write text$"):
        check(Stage("s", PLAIN.schema, send="pdf"), endpoint(pdf="text", sees=False))
    with pytest.raises(UsageError, match=r"write image or text$"):
        check(Stage("s", PLAIN.schema, send="pdf"), endpoint(pdf="images"))


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("issued + 3 <= total", "issued + 3 is a date, total a number: they can't be compared"),
        ("issued == 5", "can't be compared"),
        ("due - issued == 2024-01-01", "can't be compared"),
        ("total == 'much'", "can't be compared"),
        ("kind > total", "can't be compared"),
        ("paid == 1", "can't be compared"),
        ("kind < 'bill'", "have no order"),
        ("kind + 1 == 2", "kind is a text: it can't be reckoned with"),
        ("issued + due == 1", "two dates can't be added"),
        ("issued * 2 == 1", "a date has no"),
        ("abs(issued) == 1", "abs takes numbers"),
        ("sum(issued) == 1", "sum takes numbers"),
        ("max(issued, total) == total", "have no order"),
        ("words == ''", "an empty text counts as no value"),
        ('"" != words', "an empty text counts as no value"),
        ("total == total", "both sides are total"),
        ("", "missing here"),
    ],
)
def test_a_rule_that_can_say_nothing_is_refused(rule: str, why: str) -> None:
    with pytest.raises(UsageError) as error:
        made([rule], TYPED.tree, "a")
    assert why in str(error.value)


@pytest.mark.parametrize(
    "rule",
    [
        "lines.amount > 0", "issued + 3 <= due", "due - issued <= total", "issued <= '2024-01-01'",
        "total == '12.50'", "words == total", "words >= issued", "either == issued", "kind == 'bill'",
        "paid == true", "3 + issued == due", "min(issued, due) == issued", "max(lines.amount) < total",
        "issued != null", "unit == 'kg'", "-total < 0", "count(lines) == total", "words + 1 <= total",
    ],
)  # fmt: skip
def test_rules_that_can_hold_are_taken(rule: str) -> None:
    assert made([rule], TYPED.tree, "a")[0].id == rule


def test_a_conflict_tells_where_each_value_stands_and_which_is_kept() -> None:
    def claim(value: str, status: Any, page: int | None, covers: tuple[int, ...]) -> Claim:
        return Claim(value, Evidence("/a", status, page=page), page in covers, covers)

    found = claim("R-1", "verified", 9, (9, 10))
    lost = claim("R-2", "not_found", None, tuple(range(1, 10)))
    other = claim("R-3", "verified", 12, (12,))
    told = conflict("/a", [lost, found], range(1, 13))
    assert told is not None
    assert told[0].message == (
        'answers about different pages disagree: "R-1" stands on page 9, and is kept; '
        '"R-2" was not found on pages 1-9'
    )
    told = conflict("/a", [found, other], range(1, 13))
    assert told is not None
    assert 'page 9, and is kept; "R-3" stands on page 12' in told[0].message


def test_rows_that_are_doubled_are_named_with_those_that_they_repeat() -> None:
    """The first three; how many more there are is told."""
    given = bordered.document(bordered.made(1, 1, 20), boxed=False)

    def row(line: int) -> Row:
        spans = {("/lines/*/a", 1, line): line, ("/lines/*/b", 1, line + 100): line}
        return Row({}, line, (line, 0, 0, 0), spans, (1,), dict.fromkeys(("/lines/*/a", "/lines/*/b"), 2))  # fmt: skip

    for count, ends in ((1, "/lines/1 repeats /lines/0: page 1 prints it once"),
                        (5, "/lines/5 repeats /lines/4, 2 more rows repeat others: page 1 prints each once")):  # fmt: skip
        rows = [row(line) for line in range(3, 3 + count) for _ in range(2)]
        doubts, _ = of_rows({"lines": Table(rows)}, Pages(given), {1}, ())
        said = next(each.finding for each in doubts if each.finding.rule == "row_doubled")
        assert said.message.startswith("/lines/1 repeats /lines/0")
        assert said.message.endswith(ends)


def test_a_small_budget_is_told_in_full() -> None:
    money = {"calls": 1, "cost_usd": 0.0, "budget_usd": 1e-05, "left_usd": 1e-05}
    told = {
        "counts": {}, "counts_by_stage": {}, "inputs": ["in"], "reasons": [], "damaged": None, "pages": None, "tokens": {},
        "money": money, "last_run": "running", "holder": "x", "engine": "m", "gone": {"documents": 0},
        "next": "wait",
    }  # fmt: skip
    assert "left of 0.00001" in "\n".join(lines_of(Path("out"), told))
