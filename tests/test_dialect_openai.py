"""The closed dialects, OpenAI's strict one and Google's `Schema`: accepted by their rules, and undone again."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from pipeline.schema import Schema
from pipeline.schema.dialects import DIALECTS, Dialect, _chosen, restore, size
from pipeline.schema.dialects import compile as compile_schema
from pipeline.schema.dialects.outline import _outline
from pipeline.schema.dialects.smaller import states
from pipeline.schema.lint import lint
from tests.schema_wires import Unwritable, openai_violations, openapi_violations, written
from tests.test_dialect import POOL, SCHEMAS, leads_to_itself, neutral, objects, schemas
from tests.wire import schema_violations

RULES: dict[str, Callable[[Any], list[str]]] = {
    "gemini": schema_violations,
    "gemini-openapi": openapi_violations,
    "openai": openai_violations,
}


def sent(body: dict[str, Any], dialect: Dialect, level: Any = "full") -> dict[str, Any]:
    """A schema compiled; checked to be accepted, repeatable, and the user's own left alone."""
    before = copy.deepcopy(body)
    result = compile_schema(Schema("s", body), dialect, level)
    assert result is not None
    assert RULES[dialect](result) == [], json.dumps(result)[:2000]
    again = compile_schema(Schema("s", body), dialect, level)
    assert json.dumps(again) == json.dumps(result)
    assert body == before
    return result


STRING = {"type": "string"}
NUMBER = {"type": "number"}
ANY = [{"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}]
AS_TEXT = "an object or a list is written as JSON text"


def strict(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def pairs(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": strict({"key": STRING, "value": value})}


#: what a property of the user's is, what is sent of it: the property is required
OPENAI = {
    "a text": (STRING, STRING),
    "a date": (STRING | {"format": "date"}, STRING | {"format": "date"}),
    "an enum": (STRING | {"enum": ["a"]}, STRING | {"enum": ["a"]}),
    "anything": ({}, {"anyOf": ANY, "description": AS_TEXT}),
    "a map": ({"type": "object", "additionalProperties": NUMBER}, pairs(NUMBER)),
    "an open object": (
        {"type": ["object", "null"]},
        {"type": ["string", "null"], "description": "an object, written as JSON text"},
    ),
    "a list of anything": ({"type": "array"}, {"type": "array", "items": {"anyOf": ANY, "description": AS_TEXT}}),
    "places": (
        {"type": "array", "prefixItems": [STRING, NUMBER], "items": STRING},
        {"type": "array", "items": {"anyOf": [STRING, NUMBER]}},
    ),
    "an optional key": (
        {"type": "object", "properties": {"b": STRING, "c": STRING | {"enum": ["x"], "description": "d"}}},
        strict({
            "b": {"type": ["string", "null"]},
            "c": {"anyOf": [STRING | {"enum": ["x"]}, {"type": "null"}], "description": "d"},
        }),
    ),
    "named keys and others": (
        {"type": "object", "properties": {"b": STRING}, "required": ["b"], "additionalProperties": NUMBER},
        strict({"b": STRING, "other_keys": {"type": ["array", "null"], "items": pairs(NUMBER)["items"]}}),
    ),
    "objects that begin alike": (
        {"anyOf": [
            {"type": "object", "properties": {"b": STRING}, "required": ["b"]},
            {"type": "object", "properties": {"b": NUMBER, "c": NUMBER}, "required": ["b", "c"]},
        ]},
        strict({"b": {"anyOf": [STRING, NUMBER]}, "c": {"type": ["number", "null"]}}),
    ),
    "objects told apart by their first key": (
        {"oneOf": [
            {"type": "object", "properties": {"kind": {"const": "x"}}, "required": ["kind"]},
            {"type": "object", "properties": {"kind": {"const": "y"}}, "required": ["kind"]},
        ]},
        {"anyOf": [strict({"kind": STRING | {"enum": [kind]}}) for kind in "xy"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPENAI)
def test_what_the_strict_mode_of_openai_gets(name: str) -> None:
    """Every object closed, every key demanded, open places written in another way."""
    user, expected = OPENAI[name]
    body = {"type": "object", "properties": {"a": user}, "required": ["a"]}
    assert sent(body, "openai") == strict({"a": expected})


def test_a_root_that_is_no_object_stands_under_one_key() -> None:
    """OpenAI takes objects only; what comes back is unwrapped, and an answer without the wrap is left."""
    body = {"type": "array", "items": {"type": "object", "additionalProperties": NUMBER}}
    assert sent(body, "openai") == strict({"value": {"type": "array", "items": pairs(NUMBER)}})
    answer = {"value": [[{"key": "k", "value": 1}]]}
    assert restore(answer, Schema("s", body), "openai") == [{"k": 1}]
    assert restore([{"k": 1}], Schema("s", body), "openai") == [{"k": 1}]


OPENAPI = {
    "null": ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
    "an enum with null": ({"enum": ["a", None]}, {"type": "STRING", "enum": ["a"], "nullable": True}),
    "an enum of numbers": ({"enum": [1, 2]}, {"type": "INTEGER", "description": "one of 1, 2"}),
    "dates": (STRING | {"format": "date"}, {"type": "STRING", "description": "in the format date"}),
    "times": (STRING | {"format": "date-time"}, {"type": "STRING", "format": "date-time"}),
    "alternatives": (
        {"type": ["string", "number", "null"], "description": "d"},
        {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}], "nullable": True, "description": "d"},
    ),
    "bounds": ({"type": "array", "items": NUMBER, "maxItems": 9},
               {"type": "ARRAY", "items": {"type": "NUMBER"}, "description": "at most 9 items"}),
    "nothing but null": ({"type": "null"}, {"type": "NULL"}),
}  # fmt: skip


@pytest.mark.parametrize("name", OPENAPI)
def test_what_googles_older_dialect_gets(name: str) -> None:
    """Types in upper case, nullable, only keywords of the message; optional keys stay optional."""
    user, expected = OPENAPI[name]
    assert sent({"type": "object", "properties": {"a": user}}, "gemini-openapi") == {
        "type": "OBJECT",
        "properties": {"a": expected},
        "propertyOrdering": ["a"],
    }


RESTORED = [
    ({"type": "object", "properties": {"a": STRING, "b": {"type": ["string", "null"]}}},
     {"a": None, "b": None}, {"b": None}),
    ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, {"a": '{"x": [1]}'}, {"a": {"x": [1]}}),
    ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, {"a": "{not JSON"}, {"a": "{not JSON"}),
    ({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, {"a": '{"x": 1}'}, {"a": '{"x": 1}'}),
    ({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, {"a": 7, "z": None}, {"a": 7, "z": None}),
    ({"type": "object", "properties": {"a": {"type": "object", "additionalProperties": STRING}}, "required": ["a"]},
     {"a": {"k": "a server that enforces nothing"}}, {"a": {"k": "a server that enforces nothing"}}),
    ({"type": "object", "properties": {"a": STRING}, "additionalProperties": NUMBER},
     {"a": "x", "other_keys": [{"key": "k", "value": 2}]}, {"a": "x", "k": 2}),
    ({"type": "object", "properties": {"a": {"type": "array", "prefixItems": [STRING, {"type": "object"}]}}},
     {"a": ["{}", "{}"]}, {"a": [{}, {}]}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "answer", "expected"), RESTORED)
def test_an_answer_comes_back_in_the_users_form(body: Any, answer: Any, expected: Any) -> None:
    """Keys that are absent, maps, JSON text; what is of another form stays as it came."""
    assert restore(answer, Schema("s", body), "openai") == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "{}", '{"a": 1}', "[", '"x"']),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["a", "b", "9c", "key", "value", "other_keys"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(body=schemas(SCHEMAS), d=SCHEMAS, e=SCHEMAS, data=JSON)
@settings(max_examples=100, deadline=None)
def test_every_schema_is_sent_and_no_answer_is_an_error(
    body: Any, d: Any, e: Any, data: Any
) -> None:
    """Whatever the schema, each dialect takes it at each level; whatever the answer, it is read."""
    whole = {**body, "$defs": {"d": d, "e": e}}
    for dialect in DIALECTS:
        for level in ("full", "reduced"):
            sent(whole, dialect, level)
            restore(data, Schema("s", whole), dialect, level)


@given(body=schemas(SCHEMAS), d=SCHEMAS, e=SCHEMAS)
@settings(max_examples=100, deadline=None)
def test_what_the_user_calls_valid_can_be_answered_and_is_valid_again(
    body: Any, d: Any, e: Any
) -> None:
    """Data valid for the user, in the strict form, is valid for what is sent; restored, for the user again."""
    whole = closing({**body, "$defs": {"d": d, "e": e}})
    assume(not any(leads_to_itself(whole, node, ()) for node in objects(whole)))
    schema, user = Schema("s", whole), Draft202012Validator(whole)
    outline, strict_schema = _chosen(schema, "openai", "full")
    wrapped = strict_schema["properties"].keys() == {"value"}
    takes = Draft202012Validator(strict_schema)
    for data in POOL:
        if not user.is_valid(data):
            continue
        try:
            answer = written(outline, data)
        except Unwritable:
            event("unwritable")
            continue
        answer = {"value": answer} if wrapped else answer
        assert takes.is_valid(answer), (data, answer, strict_schema)
        again = restore(answer, schema, "openai")
        assert without_nulls(again) == without_nulls(data)
        if not user.is_valid(
            again
        ):  # null stood for an absent key where only the outline allows it
            assert again != data
            assert contains_null(again)
            assert Draft202012Validator(outline).is_valid(again)
            event("null kept")
        event("restored")


def without_nulls(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: without_nulls(value) for key, value in data.items() if value is not None}
    return [without_nulls(item) for item in data] if isinstance(data, list) else data


def contains_null(data: Any) -> bool:
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return data is None or any(contains_null(value) for value in inner)


def closing(node: Any) -> Any:
    """A schema without what says that data is wrong although its shape is right.

    Beside a reference or alternatives, `additionalProperties` shuts out the very keys that those name:
    null in place of an absent key can't be told from null that is meant.
    """
    plain = neutral(node)
    if isinstance(plain, list):
        return [closing(item) for item in plain]
    if plain is False:  # what can't be is not sent as such
        return {"enum": ["x"]}
    if not isinstance(plain, dict):
        return plain
    left_out = {"not", "if"}
    if {"$ref", "allOf", "anyOf", "oneOf"} & plain.keys():
        left_out.add("additionalProperties")
    return {
        key: value if key in {"enum", "const", "uniqueItems"} else closing(value)
        for key, value in plain.items()
        if key not in left_out
    }


def test_large_schemas_are_cut_and_refer_to_their_parts() -> None:
    """Forty equal addresses are sent once; an enum that is too long becomes words; what is too deep, text."""
    lines = {
        f"line{n}": STRING | {"description": "A line of the address, as printed."} for n in range(9)
    }
    address = {"type": "object", "properties": lines}
    body = {
        "type": "object",
        "properties": {f"p{n}": {"$ref": "#/$defs/address"} for n in range(40)}
        | {"code": STRING | {"enum": [f"code {n}" for n in range(600)]}},
        "$defs": {"address": address},
    }
    for dialect in ("gemini", "openai"):
        result = sent(body, dialect)
        assert json.dumps(result).count("line8") <= 6
        assert size(result) < 2 * max(8192, size(body))
    assert "(600 in all)" in json.dumps(sent(body, "openai"))
    deep: dict[str, Any] = {"type": "object", "properties": {"leaf": STRING}}
    for _ in range(30):
        deep = {"type": "object", "properties": {"inner": deep}}
    assert "with the keys inner" in json.dumps(sent(deep, "openai"))


def test_the_reduced_level_is_an_outline() -> None:
    """Names, types and a line of description; no alternatives of objects, no long enums, no references."""
    body: dict[str, Any] = {
        "type": "object",
        "title": "Bill",
        "properties": {
            "total": {"anyOf": [{"type": "number", "title": "T"}, STRING, {"type": "null"}], "description": "x" * 300},
            "country": {"enum": [f"c{n}" for n in range(99)]},
            "kind": {"enum": ["a", "b"]},
            "party": {"anyOf": [
                {"type": "object", "properties": {"name": STRING}, "required": ["name"], "additionalProperties": False},
                {"type": "object", "properties": {"name": STRING, "vat": STRING}, "required": ["name"]},
            ]},
            "due": STRING | {"format": "date"},
        },
        "required": ["total", "kind"],
        "additionalProperties": False,
    }  # fmt: skip
    party = {
        "type": "object",
        "properties": {"name": STRING, "vat": STRING},
        "propertyOrdering": ["name", "vat"],
    }
    assert sent(body, "gemini", "reduced") == {
        "type": "object",
        "properties": {
            "total": {"anyOf": [NUMBER, STRING, {"type": "null"}], "description": "x" * 97 + "..."},
            "country": STRING
            | {
                "description": "one of "
                + ", ".join(f"c{n}" for n in range(22))
                + ", ... (99 in all)"
            },
            "kind": STRING | {"enum": ["a", "b"]},
            "party": party | {"required": ["name"]},
            "due": STRING | {"description": "in the format date"},
        },
        "propertyOrdering": list(body["properties"]),
        "required": ["total", "kind"],
    }
    assert compile_schema(Schema("s", body), "gemini", "none") is None


def is_less(schema: Schema, dialect: Dialect) -> bool:
    """Whether the reduced level is no larger than the whole one, and has no more states."""
    whole, slim = (compile_schema(schema, dialect, level) or {} for level in ("full", "reduced"))
    return size(slim) <= size(whole) and states(slim) <= states(whole)


def test_states_are_counted_with_references_followed() -> None:
    """A place each, and each letter of names, enum values and formats; words count nothing."""
    day = STRING | {"format": "date", "description": "A day."}
    kind = STRING | {"enum": ["a", "bc"]}
    part = {"type": "object", "properties": {"day": day, "kind": kind}}
    assert states(part) == 1 + len("day") + 1 + len("date") + len("kind") + 1 + len("abc")
    three = {"anyOf": [{"$ref": "#/$defs/d1"}, {"$ref": "#/$defs/d1"}, part], "$defs": {"d1": part}}
    assert states(three) == 1 + 3 * states(part)


WORDED = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "format": st.sampled_from(["date", "date-time", "time", "iban"]),
        "description": st.text("ab ", max_size=120),
        "enum": st.lists(st.text("abc", max_size=3), min_size=1, max_size=14, unique=True),
    },
)


@given(body=schemas(SCHEMAS | WORDED), d=SCHEMAS | WORDED, e=schemas(WORDED))
@settings(max_examples=100, deadline=None)
def test_the_reduced_level_is_never_more_than_the_whole_one(body: Any, d: Any, e: Any) -> None:
    """Not in bytes as sent, nor in states with references followed: a second try must ask less."""
    schema = Schema("s", {**body, "$defs": {"d": d, "e": e}})
    for dialect in DIALECTS:
        assert is_less(schema, dialect), dialect


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_reduced_level_of_a_large_schema_with_equal_parts_is_smaller(dialect: Dialect) -> None:
    """Its parts are sent once there too; where the whole one was cut already, it goes a step further."""
    figure = {
        "type": "object",
        "properties": {
            "value": {"type": ["number", "null"], "description": "In millions, as printed."},
            "unit": STRING | {"enum": ["USD", "EUR"]},
            "period": STRING | {"format": "date", "description": "The last day of the period."},
            "note": {"type": ["string", "null"]},
        },
        "required": ["value", "unit"],
    }
    sheet = {
        "type": "object",
        "properties": {f"item_{n}": {"$ref": "#/$defs/figure"} for n in range(12)},
    }
    body = {
        "type": "object",
        "properties": {f"sheet_{n}": {"$ref": "#/$defs/sheet"} for n in range(6)},
        "$defs": {"figure": figure, "sheet": sheet},
    }  # fmt: skip
    whole, slim = sent(body, dialect), sent(body, dialect, "reduced")
    assert size(slim) < 0.95 * size(whole)
    assert states(slim) < states(whole)
    assert is_less(Schema("s", body), dialect)


def test_a_format_is_left_out_where_the_words_for_it_are_longer() -> None:
    body = {"type": "object", "properties": {"due": STRING | {"format": "date"}}}
    assert sent(body, "openai", "reduced") == strict({"due": {"type": ["string", "null"]}})


def test_the_outline_of_a_schema_is_made_once() -> None:
    """For all dialects, levels and documents: the largest real ones would take seconds."""
    parts = {
        f"p{n}": {"type": "object", "properties": {"a": STRING, "b": NUMBER}} for n in range(9)
    }
    schema = Schema("s", {"type": "object", "properties": parts, "title": "made once"})
    before = _outline.cache_info().misses
    for _ in range(2):
        lint(schema)
        for dialect in DIALECTS:
            restore({}, schema, dialect, "reduced")
    assert _outline.cache_info().misses == before + 1


def test_what_was_compiled_is_the_callers_own() -> None:
    """Changing it changes nothing of the next one; two schemas that differ in the order of keys differ."""
    schema = Schema("s", {"type": "object", "properties": {"a": STRING, "b": NUMBER}})
    for level in ("full", "reduced"):
        first = compile_schema(schema, "openai", level)
        assert first is not None
        first["properties"].clear()
        assert list((compile_schema(schema, "openai", level) or {})["properties"]) == ["a", "b"]
    other = Schema("s", {"type": "object", "properties": {"b": NUMBER, "a": STRING}})
    assert list((compile_schema(other, "openai") or {})["properties"]) == ["b", "a"]


@pytest.mark.corpus
def test_the_reduced_level_of_real_schemas_is_less(corpus: Path) -> None:
    for file in [*corpus.glob("*/schema*.json"), *corpus.glob("json-schema/schemastore/*.json")]:
        body = json.loads(file.read_text())
        schema = Schema("s", body.get("schema_definition", body))
        for dialect in DIALECTS:
            assert is_less(schema, dialect), (file.name, dialect)


@pytest.mark.corpus
def test_real_schemas_are_accepted_by_every_dialect(corpus: Path) -> None:
    """Each schema of the corpus, at each level; each label that is valid is valid when it was sent and restored."""
    files = [*corpus.glob("*/schema*.json"), *corpus.glob("json-schema/schemastore/*.json")]
    assert len(files) > 30
    for file in files:
        body = json.loads(file.read_text())
        for dialect in DIALECTS:
            for level in ("full", "reduced"):
                result = sent(body.get("schema_definition", body), dialect, level)
                assert size(result) <= 2 * max(size(body), 16384)
    checked, unwritable = 0, []
    entries = json.loads((corpus / "index.json").read_text())
    for entry in entries if isinstance(entries, list) else entries["files"]:
        if not entry.get("label"):
            continue
        body = json.loads((corpus / entry.get("schema", f"{entry['set']}/schema.json")).read_text())
        label = json.loads((corpus / entry["label"]).read_text())
        user = validator_for(body, default=Draft202012Validator)(body)
        if user.is_valid(label) and "schema_definition" not in body:
            outline, strict_schema = _chosen(Schema("s", body), "openai", "full")
            try:
                answer = written(outline, label)
            except Unwritable:  # labels with keys that their schema does not name
                unwritable.append(entry["file"])
                continue
            assert Draft202012Validator(strict_schema).is_valid(answer), entry["file"]
            assert user.is_valid(restore(answer, Schema("s", body), "openai"))
            checked += 1
    assert checked > 100
    assert len(unwritable) <= 3


@pytest.mark.parametrize("key", ["a", "total"])
def test_two_values_under_one_key_are_not_restored(key: str) -> None:
    """An answer that says a key twice is told as invalid; no value is dropped, none is put over another."""
    numbers = {"type": "object", "additionalProperties": {"type": "number"}}
    schema = Schema("s", {"type": "object", "properties": {"rates": numbers}})
    rates = [{"key": key, "value": 1}, {"key": key, "value": 2}]
    assert restore({"rates": rates}, schema, "openai") == {"rates": rates}
    both = Schema("s", numbers | {"properties": {"total": {"type": "number"}}})
    named = (compile_schema(both, "openai") or {})["properties"]
    others = next(name for name in named if name != "total")
    pairs = [{"key": "total", "value": 2}]
    assert restore({"total": 1, others: pairs}, both, "openai") == {"total": 1, others: pairs}
