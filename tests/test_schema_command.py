"""`fieldsift schema`: what it says of schemas, makes from examples, and samples; and that the two agree."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from pipeline.errors import SchemaError, UsageError
from pipeline.grounding import with_quotes
from pipeline.reporters.linted import as_text
from pipeline.schema import Schema
from pipeline.schema.contradictions import contradictions
from pipeline.schema.dialects import DIALECTS
from pipeline.schema.dialects import compile as compile_schema
from pipeline.schema.examples import examples
from pipeline.schema.infer import infer
from pipeline.schema.lint import lint
from pipeline.schema.patterns import NotMade, text_for
from pipeline.schema.sample import sample
from pipeline.validators import check


def fieldsift(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", "schema", *arguments]
    return subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True, timeout=60)


BILL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "iban": {"type": "string", "pattern": "^[A-Z]{2}[0-9]+$", "description": "Of the payee."},
        "total": {"type": ["number", "null"], "exclusiveMinimum": 0, "description": "To pay."},
        "lines": {
            "type": "array",
            "maxItems": 500,
            "items": {"$ref": "#/$defs/line"},
            "description": "In their order.",
        },
        "kind": {"enum": ["a", True], "description": "Which."},
        "more": {"type": "object", "additionalProperties": {"type": "number"}},
        "größe": {"type": "string"},
    },
    "required": ["iban", "total", "lines", "kind", "more", "größe"],
    "requried": [],
    "$defs": {
        "line": {"type": "object", "properties": {"lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}}},
        "unused": {"type": "string", "pattern": "x"},
    },
}  # fmt: skip


def test_lint_says_what_is_enforced_where_and_what_is_only_checked_here() -> None:
    """Each keyword by its pointer; definitions that nothing refers to are left out."""
    linted = lint(Schema("s", BILL))
    fates = {keyword.pointer: keyword.fates for keyword in linted.keywords}
    everywhere = dict.fromkeys(DIALECTS, "enforced")
    told = dict.fromkeys(DIALECTS, "told")
    assert fates["/properties/iban/type"] == everywhere
    assert fates["/properties/iban/pattern"] == told
    assert fates["/properties/lines/maxItems"] == told
    assert fates["/properties/kind/enum"] == told
    assert fates["/properties/more/additionalProperties"] == everywhere | {
        "gemini-openapi": "checked"
    }
    assert fates["/$defs/line/properties/lines/items/$ref"] == everywhere
    assert "/$defs/unused/pattern" not in fates
    why = {keyword.keyword: keyword.why for keyword in linted.keywords}
    assert "bare 400" in why["maxItems"]
    problems = {(problem.rule, problem.pointer): problem for problem in linted.problems}
    assert "required" in problems["unknown keyword", "/requried"].message
    assert problems["open map", "/more"].dialects == ("gemini-openapi", "openai")
    assert ("recursion", "/$defs/line/properties/lines/items/$ref") in problems
    assert ("optional", "/lines/*/lines") in problems
    assert problems["name", "/properties/größe"].severity == "note"
    assert linted.sendable


@pytest.mark.parametrize(
    ("dialect", "own", "others"),
    [
        ("gemini", "Gemini", ("OpenAI", "Google's Schema")),
        ("gemini-openapi", "Google's Schema", ("OpenAI",)),
        ("openai", "OpenAI", ("Gemini", "Google")),
    ],
)
def test_the_reasons_are_those_of_the_dialect_that_is_asked_for(
    dialect: Any, own: str, others: tuple[str, ...], tmp_path: Path
) -> None:
    """What another service makes of it is no matter of theirs; without --dialect all are told."""
    every: dict[str, Any] = dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains", "multipleOf",
         "minProperties", "maxProperties", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), 9,
    ) | {
        "pattern": "x", "uniqueItems": True, "contains": {}, "propertyNames": {}, "unevaluatedItems": False,
        "unevaluatedProperties": False, "not": {"type": "null"}, "if": {}, "then": {}, "else": {}, "dependentRequired": {},
        "dependentSchemas": {}, "patternProperties": {"^x": {}}, "oneOf": [{}], "allOf": [{}],
        "prefixItems": [{}], "additionalProperties": {}, "format": "iban", "enum": list(range(200)),
    }  # fmt: skip
    (tmp_path / "s.json").write_text(
        json.dumps({"type": "object", "properties": {"a": every}, "required": ["a"]})
    )
    told = fieldsift("lint", "s.json", "--dialect", dialect, "-v", cwd=tmp_path).stdout
    assert own in told
    assert not any(other in told for other in others), told
    everywhere = fieldsift("lint", "s.json", "-v", cwd=tmp_path).stdout
    assert all(each in everywhere for each in (own, *others))


def test_lint_says_that_a_schema_cannot_be_sent(tmp_path: Path) -> None:
    """Thousands of keys: nothing of it is left. A schema that is none is exit 2."""
    many = {f"f{n}": {"type": "string"} for n in range(10_100)}
    linted = lint(Schema("many", {"type": "object", "properties": many}), ["gemini"])
    assert not linted.sendable
    text = as_text([("many", linted)])
    assert "can NOT be sent" in text
    assert len(text) < 2000
    (tmp_path / "remote.json").write_text(
        '{"type": "object", "properties": {"a": {"$ref": "https://x.example/y"}}}'
    )
    told = fieldsift("lint", "remote.json", cwd=tmp_path)
    assert told.returncode == 2
    assert "references are never fetched" in told.stderr


NUMBER = {"type": "number"}
#: a sub-schema, the keyword whose fault it is, what is said
CONTRADICTING: dict[str, tuple[dict[str, Any], str, str]] = {
    "bounds": (NUMBER | {"minimum": 5, "maximum": 3}, "minimum", "nothing can satisfy it: minimum 5 and maximum 3"),
    "bounds of any type": ({"minimum": 5, "maximum": 3}, "minimum", "no number can satisfy it"),
    "exclusive bounds": (
        {"type": "integer", "minimum": 3, "exclusiveMaximum": 3, "maximum": 9}, "minimum",
        "nothing can satisfy it: minimum 3 and exclusiveMaximum 3",
    ),
    "lengths": ({"type": ["string", "null"], "minLength": 4, "maxLength": 2}, "minLength", "no text can satisfy it"),
    "items": ({"type": "array", "minItems": 2, "maxItems": 1}, "minItems", "nothing can satisfy it: minItems 2 and maxItems 1"),
    "contained": (
        {"type": "array", "contains": {}, "minContains": 2, "maxContains": 1}, "minContains", "nothing can satisfy it",
    ),
    "keys": ({"type": "object", "minProperties": 2, "maxProperties": 1}, "minProperties", "nothing can satisfy it"),
    "an enum": ({"type": "integer", "enum": ["a", 1.5, True]}, "enum", "none of its values is of the type integer"),
    "an enum without values": ({"enum": []}, "enum", "it has no values"),
    "a constant": ({"type": ["string", "null"], "const": 1}, "const", "its value is not of the type string or null"),
    "a key that must not be": (
        {"type": "object", "properties": {"k": False}, "required": ["k"]}, "required",
        "no object can satisfy it: the key 'k' is required, and its schema is false",
    ),
    "a key that is shut out": (
        {"type": "object", "properties": {}, "required": ["k"], "additionalProperties": False}, "required",
        "the key 'k' is required, and additionalProperties is false",
    ),
}  # fmt: skip


def bill_with(part: dict[str, Any], **more: Any) -> Schema:
    lines = {"type": "array", "items": part}
    return Schema("s", {"type": "object", "properties": {"lines": lines}, **more})


@pytest.mark.parametrize("name", CONTRADICTING)
def test_bounds_that_contradict_each_other_are_an_error(name: str) -> None:
    """The model would be asked for what our own validation refuses, whatever it answers."""
    part, keyword, says = CONTRADICTING[name]
    linted = lint(bill_with(part))
    (error,) = [problem for problem in linted.problems if problem.severity == "error"]
    assert (error.rule, error.pointer) == ("contradiction", f"/properties/lines/items/{keyword}")
    assert says in error.message
    assert linted.sendable
    assert not linted.usable


@pytest.mark.parametrize(
    "part",
    [
        NUMBER | {"minimum": 3, "maximum": 3},
        NUMBER | {"minimum": 3, "exclusiveMinimum": False, "maximum": 3},
        {"type": "string", "minLength": 2, "maxLength": 2},
        {"type": "array", "minContains": 2, "maxContains": 1},  # without contains they say nothing
        {"type": ["integer", "null"], "enum": ["a", None]},
        {"type": "number", "const": 1},
        {"type": "integer", "const": 1.0},
        {"type": "object", "properties": {"k": False}},
        {"type": "object", "required": ["k"], "additionalProperties": False, "patternProperties": {"^k": {}}},
    ],
)  # fmt: skip
def test_bounds_that_leave_something_are_no_error(part: dict[str, Any]) -> None:
    assert lint(bill_with(part)).usable


def test_what_stands_beside_a_reference_up_to_draft_7_contradicts_nothing() -> None:
    """There it does not count."""
    part = {"$ref": "#/definitions/n", "minimum": 5, "maximum": 3}
    more = {"definitions": {"n": NUMBER}}
    assert not lint(bill_with(part, **more)).usable
    old = {"$schema": "http://json-schema.org/draft-07/schema#", **more}
    assert lint(bill_with(part, **old)).usable


def test_lint_of_a_schema_that_contradicts_itself_is_exit_1(tmp_path: Path) -> None:
    body = bill_with(NUMBER | {"minimum": 5, "maximum": 3}).body
    (tmp_path / "s.json").write_text(json.dumps(body))
    told = fieldsift("lint", "s.json", cwd=tmp_path)
    assert told.returncode == 1
    assert "can be sent, but contradicts itself" in told.stdout
    assert "nothing can satisfy it: minimum 5 and maximum 3" in told.stdout


BOUNDS = st.dictionaries(
    st.sampled_from(
        ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
         "minItems", "maxItems", "minProperties", "maxProperties"]
    ),
    st.integers(0, 3),
    max_size=4,
)  # fmt: skip
SOME: list[Any] = [None, True, 0, 1, 1.5, 2, 3, "", "a", "aa", "aaa", [], [1], [1, 2], {}, {"a": 1}]


@given(
    bounds=BOUNDS,
    more=st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["number", "string", "array", "object", "null"]),
            "enum": st.lists(st.sampled_from(SOME), max_size=3),
            "required": st.just(["a"]),
            "properties": st.sampled_from([{"a": False}, {"a": True}, {}]),
            "additionalProperties": st.booleans(),
        },
    ),
)
@settings(max_examples=200, deadline=None)
def test_of_what_is_called_a_contradiction_nothing_is_valid(bounds: Any, more: Any) -> None:
    """Never a false alarm: no value of that type, or none at all, satisfies the sub-schema."""
    node = {**bounds, **more}
    kinds: dict[str, Any] = {
        "number": int | float, "text": str, "list": list, "object": dict, "nothing": object,
    }  # fmt: skip
    for _, told in contradictions(node):
        subject = told.split(" can satisfy it")[0].removeprefix("no ")
        for value in SOME:
            if isinstance(value, kinds[subject]) and not (subject == "number" and value is True):
                assert not Draft202012Validator(node).is_valid(value), (told, value)


@pytest.mark.parametrize("name", ["lint", "show", "sample"])
def test_a_command_without_a_schema_says_how_it_is_typed(name: str, tmp_path: Path) -> None:
    """Each with its own lines; in a folder with a pipeline file the schemas are that one's."""
    told = fieldsift(name, cwd=tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert f"\n  fieldsift schema {name} invoice\n" in told.stderr
    assert f"\n  fieldsift schema {name} 'vendor, total float, date'\n" in told.stderr
    assert "fieldsift run" not in told.stderr
    (tmp_path / "pipeline.toml").write_text('[[stage]]\nname = "one"\nschema = "receipt"\n')
    told = fieldsift(name, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert told.stdout


def test_samples_of_a_pipeline_file_are_of_each_of_its_stages(tmp_path: Path) -> None:
    stages = (
        "[[stage]]\nname = 'a'\nschema = 'invoice'\n",
        "[[stage]]\nname = 'b'\nschema = 'receipt'\n",
    )
    (tmp_path / "pipeline.toml").write_text("".join(stages))
    told = fieldsift("sample", "-n", "2", cwd=tmp_path)
    made = [json.loads(line) for line in told.stdout.splitlines()]
    for given_name, samples in (("invoice", made[:2]), ("receipt", made[2:])):
        assert [check(Schema.of(given_name), each) for each in samples] == [[], []]
    assert "stage a:" in told.stderr


def test_lint_folds_what_is_the_same(tmp_path: Path) -> None:
    """Forty patterns are one line and a number; -v names them; JSON holds all."""
    fields = {f"f{n}": {"type": "string", "pattern": "^x"} for n in range(40)}
    (tmp_path / "s.json").write_text(json.dumps({"type": "object", "properties": fields}))
    text = fieldsift("lint", "s.json", cwd=tmp_path).stdout
    assert (
        "/properties/f0/pattern, /properties/f1/pattern, /properties/f2/pattern and 37 more" in text
    )
    assert "/properties/f39/pattern" in fieldsift("lint", "s.json", "-v", cwd=tmp_path).stdout
    told = json.loads(fieldsift("lint", "s.json", "--output-format", "json", cwd=tmp_path).stdout)
    (only,) = told["schemas"]
    assert sum(keyword["keyword"] == "pattern" for keyword in only["keywords"]) == 40
    assert only["dialects"] == list(DIALECTS)
    assert {"full", "reduced"} == only["bytes"]["openai"].keys()


def test_lint_speaks_of_the_configured_model(tmp_path: Path) -> None:
    """A model that is named decides the dialect; --dialect goes over it."""
    (tmp_path / "s.json").write_text(json.dumps(BILL))
    model = ("-m", "gemini-3.1-flash-lite", "--json")
    told = json.loads(fieldsift("lint", "s.json", *model, cwd=tmp_path).stdout)
    assert told["schemas"][0]["dialects"] == ["gemini"]
    told = json.loads(
        fieldsift("lint", "s.json", *model, "--dialect", "openai", cwd=tmp_path).stdout
    )
    assert told["schemas"][0]["dialects"] == ["openai"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("level", ["full", "reduced"])
def test_show_prints_exactly_what_is_sent(dialect: Any, level: Any, tmp_path: Path) -> None:
    """By dialect and level; the default is the model's own."""
    (tmp_path / "s.json").write_text(json.dumps(BILL))
    told = fieldsift("show", "s.json", "--dialect", dialect, "--level", level, cwd=tmp_path)
    sent = with_quotes(Schema("s", BILL))
    assert json.loads(told.stdout) == compile_schema(sent, dialect, level)


def test_show_prints_the_schema_as_written(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps(BILL))
    assert (
        json.loads(fieldsift("show", "s.json", "--dialect", "json-schema", cwd=tmp_path).stdout)
        == BILL
    )


def test_a_schema_is_inferred_from_examples() -> None:
    """Types, what all have, null, formats, few values that repeat, lists merged, whole numbers and others."""
    given_examples = [
        {
            "id": n,
            "total": n + 0.5 if n % 2 else n,
            "date": "2024-01-05",
            "kind": "ab"[n % 2],
            "note": None if n else f"note {n}",
            "lines": [{"text": f"t{n}", "count": 1}, {"text": "", "tax": 0.5}] if n else [],
            **({"extra": [1, "x"]} if n == 3 else {}),
        }
        for n in range(20)
    ]
    line = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "count": {"type": ["integer", "null"]}, "tax": {"type": ["number", "null"]}},
        "required": ["text"],
        "additionalProperties": False,
    }  # fmt: skip
    found = infer(given_examples)
    assert found == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "total": {"type": "number"},
            "date": {"type": "string", "format": "date"},
            "kind": {"type": "string", "enum": ["a", "b"]},
            "note": {"type": ["string", "null"]},
            "lines": {"type": "array", "items": line},
            "extra": {"type": ["array", "null"], "items": {"type": ["integer", "string"]}},
        },
        "required": ["id", "total", "date", "kind", "note", "lines"],
        "additionalProperties": False,
    }
    assert list(found["properties"]) == list(given_examples[3])


def test_keys_that_are_data_make_a_map() -> None:
    """Hundreds of keys, or many that are rarely there."""
    found = infer([{"by": {f"id{n}": n for n in range(300)}}])
    assert found["properties"]["by"] == {
        "type": "object",
        "additionalProperties": {"type": "integer"},
    }
    found = infer(
        [
            {"by": {f"id{n}": {"a": "x"}, "z": {"b": 1}} if n == 1 else {f"id{n}": {"a": "x"}}}
            for n in range(40)
        ]
    )
    inner = found["properties"]["by"]["additionalProperties"]
    assert inner["properties"] == {
        "a": {"type": ["string", "null"], "enum": ["x", None]},
        "b": {"type": ["integer", "null"]},
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5) | st.sampled_from(["2024-01-01", "a@b.example", "https://a.example/x", "12:00:00Z"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "c", "ü", ""]), VALUES, max_size=4)


@given(st.lists(OBJECTS | st.lists(VALUES, max_size=3), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_example_is_valid_for_the_schema_that_comes_of_it(found: list[Any]) -> None:
    """And the schema lints without errors or warnings, and is the same a second time."""
    body = infer(found)
    schema = Schema("s", body)
    Draft202012Validator.check_schema(body)
    for example in found:
        assert check(schema, example) == []
    assert json.dumps(infer(found)) == json.dumps(body)
    wrong = {problem.rule for problem in lint(schema).problems if problem.severity != "note"}
    assert wrong <= {"open map", "deep", "unknown keyword"} | (
        {"anything"} if '"anyOf"' in json.dumps(body) else set()
    )


def test_examples_are_read_from_json_jsonl_and_tables(tmp_path: Path) -> None:
    """Items of an array, lines, rows; numbers in tables are numbers, codes with leading noughts are texts."""
    rows = [{"a": n, "b": [n] * 1000} for n in range(1000)]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1))  # several pieces
    assert list(examples(tmp_path / "a.json")) == rows
    (tmp_path / "one.json").write_text('{"a": [1]}')
    assert list(examples(tmp_path / "one.json")) == [{"a": [1]}]
    (tmp_path / "l.jsonl").write_text('\ufeff{"a": 1}\n\n{"a": 2}\n')
    assert list(examples(tmp_path / "l.jsonl")) == [{"a": 1}, {"a": 2}]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["n", "x", "code", "ok"], ["1", "1.5", "007", "true"], ["2", "", "008", "FALSE"]]
        )
    assert list(examples(tmp_path / "t.csv")) == [
        {"n": 1, "x": 1.5, "code": "007", "ok": True},
        {"n": 2, "x": None, "code": "008", "ok": False},
    ]


HOSTILE = {
    "a.json": b"[1, 2",
    "b.json": b'[{"a": 1} {"a": 2}]',
    "c.json": b'{"a": 1} x',
    "d.json": b"[" * 200_000,
    "e.json": b'{"a": NaN}',
    "f.json": b'{"a": 1e999}',
    "g.json": b'{"a": "\xff"}',
    "h.json": b"",
    "i.jsonl": b'{"a": 1}\n{',
    "j.jsonl": b"",
    "k.jsonl": b"1\n",
    "l.csv": b'a,b\n"x,1',
    "m.json": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "n.json": b'{"a":' * 90 + b"1" + b"}" * 90,
    "o.json": b"[" + b"1" * 5000 + b"]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_examples_that_are_none_are_an_error_that_says_so(name: str, tmp_path: Path) -> None:
    """Broken, endless, deep, not UTF-8, no objects."""
    (tmp_path / name).write_bytes(HOSTILE[name])
    with pytest.raises((UsageError, SchemaError)) as told:
        infer(examples(tmp_path / name))
    assert str(told.value)


def test_infer_prints_a_schema_and_says_which_line_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "b.jsonl").write_text('{"a": "x"}\n{"a": \n')
    told = fieldsift("infer", "a.jsonl", cwd=tmp_path)
    assert json.loads(told.stdout)["properties"] == {"a": {"type": "integer"}}
    told = fieldsift("infer", "a.jsonl", "b.jsonl", cwd=tmp_path)
    assert told.returncode == 2
    assert "b.jsonl, line 2: not JSON" in told.stderr
    assert told.stdout == ""


PATTERNS = [
    "^[A-Z]{2}[0-9]{2}$", r"^(a|bc)+\d*$", r"^\w+@\w+\.[a-z]{2,}$", "^x?y{2,4}z*$", "[^a-z]", r"^(?:[1-9]|1[0-2])$",
    r"^(.)\1$", r"^\d{4}-\d{2}", "", "^$", r"\s\S",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_text_is_made_for_a_pattern(pattern: str) -> None:
    import random
    import re

    for seed in range(30):
        assert re.search(pattern, text_for(pattern, random.Random(seed)))


def test_a_pattern_that_python_can_not_read_is_not_followed() -> None:
    import random

    with pytest.raises(NotMade, match="can't be followed"):
        text_for(r"\p{L}+", random.Random(0))


@pytest.mark.parametrize("pattern", ["a{1000000}", "((((a{100}){100}){100}){100})"])
def test_a_pattern_that_asks_for_a_text_without_measure_is_told(pattern: str) -> None:
    """Repeats within repeats multiply: the second would be a hundred million letters."""
    import random

    with pytest.raises(NotMade, match="more than 100,000 characters"):
        text_for(pattern, random.Random(0))


SAMPLED: dict[str, Any] = {
    "bounds": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "multipleOf": 0.25},
    "a narrow range": {"type": "number", "minimum": 0.001, "maximum": 0.002},
    "whole": {"type": "integer", "minimum": -5, "exclusiveMaximum": -3},
    "lengths": {"type": "string", "minLength": 40, "maxLength": 41},
    "unique": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 4}, "minItems": 4, "uniqueItems": True},
    "contains": {"type": "array", "items": {"type": "integer"}, "contains": {"const": 7}, "minContains": 2},
    "places": {"type": "array", "prefixItems": [{"type": "string"}, {"const": 1}], "items": False, "minItems": 2},
    "one of": {"oneOf": [{"type": "integer"}, {"type": "string", "format": "date"}]},
    "if": {"type": "object", "properties": {"k": {"enum": ["x", "y"]}}, "required": ["k"],
           "if": {"properties": {"k": {"const": "x"}}}, "then": {"required": ["w"]}, "else": {"not": {"required": ["w"]}}},
    "map": {"type": "object", "patternProperties": {"^k[0-9]$": {"type": "integer"}}, "additionalProperties": False, "minProperties": 2},
    "names": {"type": "object", "propertyNames": {"pattern": "^[a-z]{3}$"}, "minProperties": 2, "additionalProperties": {"type": "integer"}},
    "dependent": {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"], "dependentRequired": {"a": ["b"]}},
    "recursion": {"$ref": "#/$defs/tree"},
    "draft 4": {"type": "integer", "minimum": 3, "exclusiveMinimum": True, "maximum": 4},
    **{f"format {name}": {"type": "string", "format": name} for name in (
        "date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "iri",
        "uuid", "json-pointer", "relative-json-pointer", "regex", "uri-template", "idn-email", "idn-hostname",
    )},
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_are_valid(name: str) -> None:
    """One of a few tries is, for every keyword; the same seed makes the same."""
    draft = {"$schema": "http://json-schema.org/draft-04/schema#"} if name == "draft 4" else {}
    tree = {
        "type": "object",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "required": ["kids"],
    }
    body = {
        **draft,
        "type": "object",
        "properties": {"v": SAMPLED[name]},
        "required": ["v"],
        "$defs": {"tree": tree},
    }
    schema = Schema.of(body)
    made = [sample(schema, seed) for seed in range(40)]
    assert sum(check(schema, each) == [] for each in made) >= 10
    assert made == [sample(schema, seed) for seed in range(40)]


def test_sample_prints_valid_instances_only(tmp_path: Path) -> None:
    """Several are one a line; another seed makes others; what can't be made is exit 1 and says why."""
    told = fieldsift("sample", "invoice", "-n", "5", "--seed", "7", cwd=tmp_path)
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(lines) == 5
    assert all(check(Schema.of("invoice"), line) == [] for line in lines)
    assert (
        fieldsift("sample", "invoice", "-n", "5", "--seed", "7", cwd=tmp_path).stdout == told.stdout
    )
    assert (
        fieldsift("sample", "invoice", "-n", "5", "--seed", "8", cwd=tmp_path).stdout != told.stdout
    )
    for body, why in (
        ({"type": "object", "properties": {"a": {"type": "integer", "minimum": 2, "maximum": 1}}, "required": ["a"]}, "no number"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(?=b)a"}}, "required": ["a"]}, "pattern"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "without end"),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "nothing is allowed"),
    ):  # fmt: skip
        (tmp_path / "s.json").write_text(json.dumps(body))
        told = fieldsift("sample", "s.json", cwd=tmp_path)
        assert (told.returncode, told.stdout) == (1, ""), told
        assert why in told.stderr


@pytest.mark.corpus
def test_our_verdict_is_that_of_plain_jsonschema(corpus: Path) -> None:
    """For every label of the corpus, and for samples of the real schemas, whole and with a key lost or spoilt."""
    asked: dict[str, int] = {"labels": 0, "samples": 0}
    different = []

    def ask(kind: str, name: str, body: dict[str, Any], data: Any) -> None:
        asked[kind] += 1
        plain = validator_for(body, default=Draft202012Validator)
        verdict = plain(body, format_checker=plain.FORMAT_CHECKER).is_valid(data)
        if verdict != (check(Schema("s", body), data) == []):
            different.append(name)

    entries = json.loads((corpus / "index.json").read_text())
    for entry in entries if isinstance(entries, list) else entries["files"]:
        if entry.get("label"):
            body = json.loads(
                (corpus / entry.get("schema", f"{entry['set']}/schema.json")).read_text()
            )
            ask(
                "labels",
                entry["file"],
                body.get("schema_definition", body),
                json.loads((corpus / entry["label"]).read_text()),
            )
    for file in (
        *corpus.glob("extract-bench/schema*.json"),
        *corpus.glob("json-schema/schemastore/*.json"),
    ):
        body = json.loads(file.read_text())
        try:
            schema = Schema.of(body.get("schema_definition", body))
        except SchemaError:  # references that go elsewhere
            continue
        for seed in range(4):
            made = sample(schema, seed)
            spoilt = [{**made, key: {"?": None}} for key in made] if isinstance(made, dict) else []
            lost = (
                [{k: v for k, v in made.items() if k != key} for key in made]
                if isinstance(made, dict)
                else []
            )
            for data in (made, *spoilt, *lost):
                ask("samples", f"{file.name} seed {seed}", dict(schema.body), data)
    assert different == []
    assert asked["labels"] > 100
    assert asked["samples"] > 500
