"""Stages that hang on each other: every mistake at once and before anything is sent; what each reads; the drawing."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from pipeline.config import Call, plan
from pipeline.errors import ConfigError, UsageError
from pipeline.graph import Halt, chosen, drawn, given, halt, items, mermaid, reads, scopes, wired
from pipeline.results import DocumentRef, Result, Status
from pipeline.schema import Schema
from pipeline.stages import Stage
from tests.test_cli import fieldsift

LINE = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "description": {"type": "string"}},
    "required": ["amount", "description"],
}
BILL = Schema.of(
    {
        "type": "object",
        "properties": {
            "vendor": {"type": "string"},
            "note": {"type": ["string", "null"]},
            "total": {"type": "number"},
            "issued": {"type": "string", "format": "date"},
            "lines": {"type": "array", "items": LINE},
            "sections": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "lines": {"type": "array", "items": LINE}},
                },
            },
        },
        "required": ["vendor", "lines"],
    }
)  # fmt: skip
NOTE = Schema.of("note str")
KIND = Stage("kind", task="classify", labels=["invoice", "receipt"])
INVOICE = Stage("invoice", BILL, when={"kind": "invoice"})
DATA = {
    "vendor": "ACME",
    "lines": [{"amount": 1, "description": "eins"}, None, {"amount": 2, "description": "zwei"}],
    "sections": [{"lines": [{"amount": 3, "description": "drei"}]}, {"lines": None}],
}


def result(stage: str, data: Any, status: Status = "valid", path: str = "a.pdf") -> Result:
    return Result(DocumentRef(path), stage, status, data=data)


def known(**data: Any) -> dict[str, Any]:
    told = {"kind": {"label": "invoice"}, "invoice": DATA} | data
    return {n: v if isinstance(v, Result | tuple) else result(n, v) for n, v in told.items()}


def one(**settings: Any) -> Stage:
    """A stage behind the other two."""
    own = {"schema": NOTE} if settings.get("task", "extract") in {"extract", "generate"} else {}
    return wired((KIND, INVOICE, Stage("last", **own, **settings)))[-1]


# mistakes ---------------------------------------------------------------------------------------


def test_every_mistake_of_a_file_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(
        """\
version = 1
[run]
model = "local"

[[stage]]
name = "kind"
task = "classify"
labels = ["invoice", "receipt"]
inputs = ["document", "sum"]

[[stage]]
name = "invoice"
schema = "vendor str, total float, tags str[]"
when = { kind = "invoic" }

[[stage]]
name = "english"
task = "translate"
to = "en"
fields = ["invoice.total", "invoice.vendr"]

[[stage]]
name = "tag"
schema = "word str"
for_each = "invoice.vendor"
when = "confidence(kind) > 0.5"

[[stage]]
name = "sum"
task = "generate"
prompt = "sum up"
schema = "words str"
for_each = "document"
inputs = ["invoice", "kindd"]
when = "status(invoice) == 'valdi'"
"""
    )
    with pytest.raises(UsageError) as caught:
        plan({"inputs": ["x"]}, Call(file, keyless=True))
    lines = [line for line in str(caught.value).splitlines() if "stage" in line]
    told = {int(re.findall(r"line (\d+)", line)[0]): line for line in lines}
    assert set(told) == {9, 14, 20, 25, 26, 34, 35}
    assert told[9].endswith("a circle: kind reads sum reads invoice reads kind")
    assert "did you mean invoice?" in told[14]
    assert "'invoice.total' is no text, but a number" in told[20]
    assert "did you mean vendor?" in told[20]
    assert "invoice.vendor is no array, but a string" in told[25]
    assert "kind is no such stage" in told[26]
    assert "there is no stage kindd: did you mean kind?" in told[34]
    assert "did you mean valid?" in told[35]


def test_a_circle_is_called_one_and_told_once() -> None:
    def stage(name: str, reads_it: str) -> Stage:
        return Stage(name, NOTE, inputs=("document", reads_it))

    with pytest.raises(UsageError) as caught:
        wired([stage("a", "c"), stage("b", "a"), stage("c", "b"), stage("d", "d")])
    told = str(caught.value).splitlines()
    assert told == [
        "stage a: inputs: a circle: a reads c reads b reads a",
        "stage d: inputs: a stage can't read itself",
    ]


def test_a_later_stage_is_to_be_put_before() -> None:
    with pytest.raises(
        UsageError, match=r"^stage a: inputs: stage b comes later: put it before a$"
    ):
        wired([Stage("a", NOTE, inputs=("b.note",)), Stage("b", NOTE)])


def test_code_is_checked_as_a_file_is() -> None:
    with pytest.raises(UsageError, match="there is no stage kindd: did you mean kind"):
        plan({"model": "local"}, Call(keyless=True), [KIND, Stage("b", NOTE, when={"kindd": "x"})])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"inputs": ("invoice.totl",)}, "invoice has no field totl: did you mean total?"),
        ({"inputs": ("invoice.total.net",)}, "total has no fields"),
        ({"inputs": ("document.pages",)}, "document has no fields"),
        ({"inputs": ("kind.",)}, "ends in a point"),
        ({"for_each": "invoice"}, "invoice is no array, but an object"),
        ({"for_each": "invoice.lines.amount"}, "is no array, but a number"),
        ({"for_each": "row.cells"}, "columns of a row are no arrays"),
        ({"for_each": "invoice.lines", "task": "split"}, "no pages that could be split"),
        ({"task": "translate", "fields": ("invoice",), "to": "en"}, "name the fields of it"),
        ({"task": "translate", "fields": ("document",), "to": "en"}, "leave `fields` out"),
        ({"task": "translate", "fields": ("invoice.issued",), "to": "en"}, "but a date"),
        ({"task": "translate", "fields": ("invoice.lines",), "to": "en"}, "has fields"),
        ({"task": "translate", "fields": ("invoice.lines.0.description",), "to": "en"}, "one row alone"),
    ],
)  # fmt: skip
def test_fields_and_types_of_earlier_stages_are_looked_at(
    settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        one(**settings)


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (Stage("b", NOTE, for_each="invoice.lines"), "invoice is of the whole document, and all stages behind a see one part or item of it at a time"),
        (Stage("b", NOTE, for_each="parts.parts"), "without for_each"),
    ],
)  # fmt: skip
def test_fan_outs_that_would_multiply_each_other_are_refused(last: Stage, told: str) -> None:
    parts = Stage("parts", task="split")
    first = Stage("a", NOTE, for_each="invoice.lines")
    with pytest.raises(UsageError, match=told):
        wired((KIND, INVOICE, first, last) if last.for_each == "invoice.lines" else (parts, last))


def test_an_array_of_parts_is_gone_through_before_the_whole_is_seen_again() -> None:
    parts, bill = Stage("parts", task="split"), Stage("invoice", BILL)
    whole = Stage("whole", NOTE, for_each="document")
    with pytest.raises(UsageError, match="put this stage before the one with"):
        wired((parts, bill, whole, Stage("b", NOTE, for_each="invoice.lines")))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('evidence = "flagged"', "evidence is for extract, and this one's task is classify"),
        ('evidence = "required"', "evidence is for extract"),
        ('to = "en"', "to is for translate"),
    ],
)
def test_a_setting_that_the_task_does_not_take_is_refused_also_where_it_says_the_default(
    tmp_path: Path, line: str, told: str
) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(f'[[stage]]\nname = "kind"\ntask = "classify"\nlabels = ["a", "b"]\n{line}\n')
    with pytest.raises(ConfigError, match=f"line 5: stage kind: {told}"):
        plan({"model": "local"}, Call(file, keyless=True))


@pytest.mark.parametrize("settings", [{"evidence": "required"}, {"min_confidence": 0.5}])
def test_so_it_is_in_code(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is for extract, and this one's task is classify"):
        Stage("kind", task="classify", labels=["a", "b"], **settings)


# what follows -----------------------------------------------------------------------------------


def test_the_schema_of_a_translation_has_the_structure_of_its_fields() -> None:
    """Of one stage its own, of several with their names around it; and so has the data that is translated."""
    own = one(task="translate", fields=("invoice.lines.description", "invoice.note"), to="en")
    lines = own.schema.body["properties"]["lines"]
    assert lines["items"]["properties"] == {"description": {"type": ["string", "null"]}}
    assert (own.schema.body["required"], lines["items"]["required"]) == (["lines"], ["description"])
    told = [{"description": "eins"}, None, {"description": "zwei"}]
    assert chosen(own, known()) == {"lines": told}
    both = one(task="translate", fields=("invoice.vendor", "kind.label"), to="en")
    assert set(both.schema.body["properties"]) == {"invoice", "kind"}
    assert chosen(both, known()) == {"invoice": {"vendor": "ACME"}, "kind": {"label": "invoice"}}


def test_of_parts_a_later_stage_sees_lists() -> None:
    parts = Stage("parts", task="split", labels=["invoice", "letter"])
    line = Stage("line", NOTE, for_each="invoice.lines")
    whole = Stage(
        "whole", NOTE, for_each="document", inputs=("invoice.vendor", "line", "parts.parts.label")
    )
    words = Stage("words", task="translate", fields=("invoice.vendor",), to="en")
    bill = Stage("invoice", BILL, when={"parts": "invoice"})
    stages = wired((parts, bill, line, whole, words))
    assert scopes(stages) == ((), ("parts",), ("parts", "line"), (), ())
    assert stages[-1].schema.body["type"] == "array"
    said: dict[str, Result | tuple[Result, ...]] = {
        "parts": result("parts", {"parts": [{"pages": "1", "label": "invoice"}]}),
        "invoice": (result("invoice", {"vendor": "A"}), result("invoice", None, "skipped"), result("invoice", {"vendor": "B"})),
        "line": (result("line", {"note": "x"}),),
    }  # fmt: skip
    assert dict(given(stages[3], said)) == {
        "invoice.vendor": ["A", "B"],
        "line": [{"note": "x"}],
        "parts.parts.label": ["invoice"],
    }
    assert chosen(stages[4], said) == [{"vendor": "A"}, {"vendor": "B"}]
    entry = {"parts": result("parts", {"pages": "2", "label": "letter"})}
    end = halt(stages[1], entry)
    assert end is not None
    assert (end.status, end.reason) == ("skipped", "when")


def test_items_have_pointers_into_the_data_also_of_arrays_in_arrays() -> None:
    assert [pointer for pointer, _ in items(one(for_each="invoice.lines"), known())] == ["/lines/0", "/lines/2"]  # fmt: skip
    inner = items(one(for_each="invoice.sections.lines"), known())
    assert inner == (("/sections/0/lines/0", {"amount": 3, "description": "drei"}),)
    assert items(one(for_each="invoice.lines"), known(invoice={"lines": None})) == ()


def test_what_a_stage_reads_goes_along_and_what_is_null_does_not() -> None:
    stage = one(inputs=("document", "kind", "invoice.lines.amount", "invoice.note", "row.town"))
    assert reads(stage) == ("kind", "invoice")
    said = given(stage, known(row={"town": "Leipzig"}))
    assert said == (("kind", {"label": "invoice"}), ("invoice.lines.amount", [1, 2]), ("row.town", "Leipzig"))  # fmt: skip


def test_a_stage_does_not_go_ahead_without_what_it_reads() -> None:
    stage = one(inputs=("invoice",))
    assert halt(stage, known()) is None
    assert halt(stage, known(invoice=result("invoice", None, "skipped"))) == Halt(
        "skipped", "no_inputs", "nothing is there of invoice"
    )
    assert halt(one(inputs=("document", "invoice")), known(invoice=result("invoice", None, "skipped"))) is None  # fmt: skip
    for status, becomes in (("invalid", "failed"), ("over_budget", "over_budget"), ("pending", "pending")):  # fmt: skip
        end = halt(stage, known(invoice=result("invoice", DATA, status)))  # type: ignore[arg-type]  # of the table
        assert end is not None
        assert (end.status, end.reason) == (becomes, "upstream")


def test_one_failing_part_stops_what_sees_all_of_them_and_is_named() -> None:
    line = Stage("line", NOTE, for_each="invoice.lines")
    whole = Stage("whole", NOTE, for_each="document", inputs=("line",))
    stage = wired((KIND, INVOICE, line, whole))[-1]
    lines = (
        result("line", {"note": "x"}),
        result("line", None, "refused", path="a.pdf#/lines/2"),
    )
    end = halt(stage, known(line=lines))
    assert end is not None
    assert (end.status, end.message) == ("failed", "it reads an earlier stage: line of a.pdf#/lines/2 is refused")  # fmt: skip


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["lines", "vendor", "description", "sections"]), inner)
    ),
    max_leaves=10,
)


@examples(_JSON)
def test_whatever_an_earlier_stage_says_nothing_raises(data: Any) -> None:
    """Valid data may still hold what its schema leaves open."""
    for stage in _READERS:
        halt(stage, known(invoice=data))
        json.dumps([given(stage, known(invoice=data)), items(stage, known(invoice=data)), chosen(stage, known(invoice=data))])  # fmt: skip


_READERS = (
    one(inputs=("invoice.lines.description", "invoice")),
    one(for_each="invoice.sections.lines"),
    one(task="translate", fields=("invoice.lines.description", "invoice.vendor"), to="en"),
)


# the drawing ------------------------------------------------------------------------------------


def test_the_drawing_says_what_each_stage_reads_when_and_for_each_of_what() -> None:
    line = Stage("line", NOTE, for_each="invoice.lines", inputs=("document", "invoice.vendor"))
    whole = Stage("whole", NOTE, for_each="document", inputs=("line",), when="count(line.note) > 1")
    stages = wired((KIND, INVOICE, line, whole))
    assert [" ".join(each.split()) for each in drawn(stages)] == [
        "kind classify; reads document",
        "invoice extract; reads document; when kind = invoice",
        "line extract; for each of invoice.lines; reads document, invoice.vendor",
        "whole extract; for the whole input again; reads line; when count(line.note) > 1",
    ]
    told = mermaid(stages)
    assert told.startswith("flowchart TD\n")
    assert 's0 -.->|"when kind = invoice"| s1' in told
    assert 's1 -->|"for each of invoice.lines"| s2' in told
    assert "input --> s2" not in told
    assert told.count("subgraph") == told.count("  end\n") == 1


@examples(st.text(min_size=1, max_size=60))
def test_nothing_in_a_condition_breaks_out_of_the_drawing(text: str) -> None:
    """Every label is letters, digits, blanks, a few signs, and entities; one line stays one line."""
    stage = Stage(
        "last", NOTE, when={"kind.label": text, f"row.{text}": 'x"]; click s0 "javascript:"'}
    )
    for line in mermaid((KIND, stage)).splitlines()[1:]:
        plain = re.sub(r"<br/>|#\d+;", "", line)
        assert re.fullmatch(
            r' *(end|subgraph \w+\["[\w .,=()-]*"\]|input\(\["document"\]\)|\w+\["[\w .,=()-]*"\]|'
            r'\w+ (-->|-\.->)(\|"[\w .,=()-]*"\|)? \w+)', plain, re.ASCII
        ), line  # fmt: skip
    assert all(each.isprintable() for each in drawn((KIND, stage)))


def test_run_graph_prints_the_drawing_without_a_key_and_config_show_the_lines(
    tmp_path: Path,
) -> None:
    (tmp_path / "pipeline.toml").write_text(
        '[run]\nmodel = "gemini-3.1-flash-lite"\n[[stage]]\nname = "kind"\ntask = "classify"\nlabels = ["a", "b"]\n'
        '[[stage]]\nname = "bill"\nschema = "vendor str"\nwhen = { kind = "a" }\n'
    )
    told = fieldsift("run", "--graph", cwd=tmp_path)
    assert (told.returncode, told.stdout.splitlines()[0]) == (0, "flowchart TD")
    assert 's0 -.->|"when kind = a"| s1' in told.stdout
    shown = fieldsift("config", "show", cwd=tmp_path)
    assert re.search(
        r"^graph +bill +extract; reads document; when kind = a ", shown.stdout, re.MULTILINE
    )
