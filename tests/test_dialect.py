"""The schema as Gemini gets it: only what it accepts, nothing stricter than the user's, the rest in words."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from pipeline.errors import SchemaError
from pipeline.schema import Schema
from pipeline.schema.dialects import compile as compile_schema
from tests.wire import TYPES, schema_violations


def compiled(body: dict[str, Any]) -> dict[str, Any]:
    """A schema compiled; checked to be accepted, repeatable, and the user's own left alone."""
    before = copy.deepcopy(body)
    result = compile_schema(Schema("s", body))
    assert result is not None
    assert schema_violations(result) == []
    assert json.dumps(compile_schema(Schema("s", body))) == json.dumps(result)
    assert body == before
    return result


NULLABLE = {"type": ["string", "null"]}
#: what the user writes, what is sent
EXAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "a type": ({"type": "string"}, {"type": "string"}),
    "null in a list of types": (NULLABLE, NULLABLE),
    "null as an alternative": ({"anyOf": [{"type": "null"}, {"type": "string"}]}, NULLABLE),
    "null in an enum": (
        {"enum": ["a", None]}, {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]},
    ),
    "null not allowed beside": ({"type": "string", "enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
    "several types": ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
    "an integer is a number": ({"type": ["integer", "number"]}, {"type": "number"}),
    "a constant": ({"const": "x"}, {"type": "string", "enum": ["x"]}),
    "a constant that is true": ({"const": True}, {"type": "boolean", "description": "one of [true]"}),
    "numbers in an enum": ({"enum": [1, 2.5]}, {"type": "number", "enum": [1, 2.5]}),
    "whole numbers in an enum": ({"type": "integer", "enum": [1, 2]}, {"type": "integer", "enum": [1, 2]}),
    "objects in an enum": ({"enum": [{"a": 1}]}, {"type": "object", "description": 'one of [{"a": 1}]'}),
    "one of": (
        {"oneOf": [{"type": "string"}, {"type": "boolean"}]}, {"anyOf": [{"type": "string"}, {"type": "boolean"}]},
    ),
    "alternatives in alternatives": (
        {"anyOf": [{"oneOf": [{"type": "string"}, {"type": "null"}]}, {"type": "number"}]},
        {"anyOf": [NULLABLE, {"type": "number"}]},
    ),
    "an alternative that is anything": ({"anyOf": [{"type": "string"}, {}]}, {}),
    "alternatives that are one": ({"anyOf": [{"type": "string", "title": "T"}]}, {"type": "string", "title": "T"}),
    "what stands beside alternatives": (
        {"type": "integer", "anyOf": [{"enum": [1]}, {"type": "integer", "description": "other"}], "description": "d"},
        {"anyOf": [{"type": "integer", "enum": [1]}, {"type": "integer", "description": "other"}], "description": "d"},
    ),
    "alternatives that can't be": (
        {"type": "string", "anyOf": [{"type": "integer"}, {"type": "string", "enum": ["a"]}]},
        {"type": "string", "enum": ["a"]},
    ),
    "bounds": (
        {"type": "number", "minimum": 0, "exclusiveMaximum": 9, "multipleOf": 0.5, "description": "Net."},
        {"type": "number", "description": "Net. (at least 0; less than 9; a multiple of 0.5)"},
    ),
    "exclusive bounds of draft 4": (
        {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 5, "exclusiveMaximum": False},
        {"type": "number", "description": "at most 5; more than 0"},
    ),
    "lengths and patterns": (
        {"type": "string", "minLength": 2, "maxLength": 3, "pattern": "^[A-Z]+$"},
        {"type": "string", "description": "at least 2 characters; at most 3 characters; "
                                          "matches the regular expression ^[A-Z]+$"},
    ),
    "a pattern too long to help": ({"type": "string", "pattern": "a" * 500}, {"type": "string"}),
    "formats": ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
    "formats it does not know": (
        {"type": "string", "format": "iban"}, {"type": "string", "description": "in the format iban"},
    ),
    "lists": (
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 9, "uniqueItems": True},
        {"type": "array", "items": {"type": "string"}, "description": "at least 1 items; at most 9 items; no item twice"},
    ),
    "tuples": (
        {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "number"}},
        {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "number"}},
    ),
    "tuples of draft 7": (
        {"type": "array", "items": [{"type": "string"}], "additionalItems": {"type": "number"}},
        {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "number"}},
    ),
    "tuples of draft 7 that may go on": (
        {"type": "array", "items": [{"type": "string"}, True]},
        {"type": "array", "prefixItems": [{"type": "string"}, {}]},
    ),
    "keywords nobody knows": (
        {"type": "string", "evaluation_config": "exact", "default": "x", "examples": ["y"], "$comment": "z"},
        {"type": "string"},
    ),
    "an object": (
        {"properties": {"9b": {}, "a": {"type": "null"}}, "required": ["a", "zz"], "additionalProperties": False},
        {
            "type": "object", "properties": {"9b": {}, "a": {"type": "null"}}, "propertyOrdering": ["9b", "a"],
            "required": ["a"], "additionalProperties": False, "description": "has the keys zz",
        },
    ),
    "a map": (
        {"type": "object", "additionalProperties": {"type": "number", "minimum": 1}},
        {"type": "object", "additionalProperties": {"type": "number", "description": "at least 1"}},
    ),
    "a map by pattern": (
        {"type": "object", "patternProperties": {"^x": {"type": "number"}}, "additionalProperties": False},
        {"type": "object", "additionalProperties": {"type": "number"}, "description": "keys match ^x"},
    ),
    "a key that must not be": ({"type": "object", "properties": {"a": False}}, {"type": "object"}),
    "titles that say the key again": (
        {"type": "object", "properties": {"due_date": {"type": "string", "title": "Due Date"}}},
        {"type": "object", "properties": {"due_date": {"type": "string"}}, "propertyOrdering": ["due_date"]},
    ),
    "a reference with words of its own": (
        {"$ref": "#/$defs/a", "description": "mine", "$defs": {"a": {"type": "string", "description": "its"}}},
        {"type": "string", "description": "mine"},
    ),
    "a reference by anchor, escaped and by number": (
        {
            "type": "object",
            "properties": {
                "a": {"$ref": "#here"}, "b": {"$ref": "#/$defs/x~1y%20z"}, "c": {"$ref": "#/$defs/l/anyOf/1"},
            },
            "$defs": {
                "h": {"$anchor": "here", "type": "string"}, "x/y z": {"type": "number"},
                "l": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
            },
        },
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "number"}, "c": {"type": "boolean"}},
            "propertyOrdering": ["a", "b", "c"],
        },
    ),
    "a reference that goes elsewhere": ({"$ref": "https://example.com/x.json"}, {}),
    "all of": (
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": ["integer", "string"]}}, "required": ["a"]},
                {"properties": {"a": {"type": "number"}, "b": {"enum": ["x", "y"]}}, "required": ["b"]},
                {"properties": {"b": {"enum": ["y", "z"]}}},
                {"if": {}, "then": {"required": ["q"]}},
            ],
        },
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "string", "enum": ["y"]}},
            "propertyOrdering": ["a", "b"], "required": ["a", "b"],
            "description": 'if {} then {"required": ["q"]}',
        },
    ),
    "all of, tuples": (
        {"type": "array", "allOf": [
            {"prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
            {"prefixItems": [{}, {"type": "number"}], "items": {"type": "string"}},
        ]},
        {"type": "array", "prefixItems": [{"type": "string"}]},
    ),
    "all of, maps": (
        {"type": "object", "allOf": [{"additionalProperties": {"type": "number"}}, {"additionalProperties": {"minimum": 0}}]},
        {"type": "object", "additionalProperties": {"type": "number", "description": "at least 0"}},
    ),
    "all of, lists": (
        {"type": "array", "allOf": [{"items": {"type": "number"}}, {"items": {"enum": ["x", 1, 2.5]}}]},
        {"type": "array", "items": {"type": "number", "enum": [1, 2.5]}},
    ),
    "all of, equal numbers": ({"allOf": [{"enum": [1, 2]}, {"enum": [1.0, True]}]}, {"type": "integer", "enum": [1]}),
    "an alternative without a known shape": ({"anyOf": [{"type": "string"}, {"additionalProperties": False}]}, {}),
    "alternatives that only require": (
        {"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"type": "object", "properties": {"a": {"type": "string"}}, "propertyOrdering": ["a"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_schema_becomes_what_gemini_enforces_and_words(name: str) -> None:
    """What is not enforced is said; unknown keywords are left out."""
    given_schema, expected = EXAMPLES[name]
    result = compiled(given_schema)
    assert result == expected
    if "properties" in expected:
        assert list(result["properties"]) == expected["propertyOrdering"]


def test_up_to_draft_7_what_stands_beside_a_reference_does_not_count() -> None:
    """There a `$ref` replaces its neighbours; from 2019-09 on both hold."""
    body = {"$ref": "#/definitions/a", "enum": ["x"], "definitions": {"a": {"type": "string"}}}
    assert compiled({"$schema": "http://json-schema.org/draft-07/schema#", **body}) == {
        "type": "string"
    }
    assert compiled(body) == {"type": "string", "enum": ["x"]}


def test_a_schema_that_holds_itself_is_unrolled_a_little() -> None:
    """Then it stands as an open object, so that a deeper document is still valid."""
    body = {
        "type": "object",
        "title": "Part",
        "properties": {
            "name": {"type": "string"},
            "parts": {"type": "array", "items": {"$ref": "#"}},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    text = json.dumps(compiled(body))
    assert "$ref" not in text
    assert text.count('"name": {') == 4
    deep: dict[str, Any] = {"name": "leaf"}
    for _ in range(9):
        deep = {"name": "n", "parts": [deep, deep]}
    assert Draft202012Validator(compiled(body)).is_valid(deep)


def test_references_that_multiply_stay_bounded() -> None:
    """Thirty definitions that each name the next twice would be a thousand million objects."""
    definitions: dict[str, Any] = {
        f"d{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{n + 1}"} for k in "ab"}}
        for n in range(30)
    }
    definitions["d30"] = {"type": "string"}
    assert len(json.dumps(compiled({"$ref": "#/$defs/d0", "$defs": definitions}))) < 400_000
    both = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {
        "d30": {"type": "string"}
    }
    compiled({"$ref": "#/$defs/d0", "$defs": both})


def test_a_schema_of_very_many_fields_is_left_open() -> None:
    """What no service would take is asked for as a plain object; the full schema is checked here."""
    many = {f"f{n}": {"type": "string"} for n in range(10_000)}
    assert compile_schema(Schema("s", {"properties": many})) == {"type": "object"}


def test_a_schema_nested_too_deeply_is_an_error_that_says_so() -> None:
    """Not a crash of the interpreter."""
    body: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        body = {"type": "array", "items": body}
    with pytest.raises(SchemaError, match="nested too deeply"):
        compile_schema(Schema("s", body))


def test_a_pydantic_model_compiles_to_what_its_author_meant() -> None:
    """Optional fields, nested models, literals and described fields; no definitions are left."""
    from typing import Literal

    from pydantic import BaseModel, Field

    class Line(BaseModel):
        text: str
        amount: float = Field(description="Net.", ge=0)

    class Bill(BaseModel):
        kind: Literal["invoice"] = "invoice"
        vendor: str | None = None
        lines: list[Line] = []
        first: Line | None = Field(None, description="The first one.")

    got = compiled(dict(Schema.of(Bill).body))
    line = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "amount": {"type": "number", "description": "Net. (at least 0)"},
        },
        "propertyOrdering": ["text", "amount"],
        "required": ["text", "amount"],
        "title": "Line",
    }
    assert got["properties"] == {
        "kind": {"type": "string", "enum": ["invoice"]},
        "vendor": NULLABLE,
        "lines": {"type": "array", "items": line},
        "first": line | {"type": ["object", "null"], "description": "The first one."},
    }


NAMES = st.sampled_from(["a", "b", "9c"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.5, 1.0, "", "x", "yy", "2024-01-01"])
)
#: Values of every kind and some of their combinations.
SMALL: list[Any] = [
    None,
    True,
    False,
    -2,
    -1,
    0,
    1,
    2,
    0.5,
    1.0,
    "",
    "x",
    "yy",
    "2024-01-01",
    [],
    {},
]
POOL: list[Any] = [
    *SMALL,
    *([first, second] for first in (None, 0, "x") for second in (1, "x", "yy", [0])),
    *({name: value} for name in ("a", "b", "9c") for value in SMALL),
    *(
        {"a": first, "b": second}
        for first in (None, 1, "x")
        for second in (True, 0.5, "x", {"a": 1})
    ),
    {"a": {"a": {"a": {"a": {"a": 1}}}}},
    {"a": [{"b": "x"}, {"b": 2}], "9c": {"a": 0, "b": None}},
]
KINDS = st.sampled_from(sorted(TYPES))


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas out of smaller ones: all keywords that the compiler treats in its own way."""
    some = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(NAMES, inner, max_size=2)
    keywords = {
        "type": KINDS | st.lists(KINDS, min_size=1, max_size=3, unique=True),
        "properties": named,
        "patternProperties": st.dictionaries(
            st.sampled_from(["a", "^b", "c$"]), inner, min_size=1, max_size=2
        ),
        "additionalProperties": inner,
        "required": st.lists(NAMES, max_size=2, unique=True),
        "items": inner,
        "prefixItems": some,
        "enum": st.lists(LEAVES, min_size=1, max_size=3),
        "const": LEAVES,
        "anyOf": some,
        "oneOf": some,
        "allOf": some,
        "not": inner,
        "if": inner,
        "minimum": st.integers(-1, 1),
        "maxLength": st.integers(0, 2),
        "uniqueItems": st.booleans(),
        "$ref": st.sampled_from(["#", "#/$defs/d", "#/$defs/e"]),
    }
    return st.lists(st.sampled_from(sorted(keywords)), min_size=1, max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: keywords[name] for name in names})
    )


SCHEMAS = st.recursive(
    st.booleans() | KINDS.map(lambda kind: {"type": kind}), schemas, max_leaves=6
)


@given(body=schemas(SCHEMAS), d=SCHEMAS, e=SCHEMAS)
@settings(max_examples=120, deadline=None)
def test_what_is_valid_for_the_user_is_valid_for_gemini(body: Any, d: Any, e: Any) -> None:
    """Whatever the schema: the compiled one is accepted, and never stricter than the user's."""
    whole = neutral({**body, "$defs": {"d": d, "e": e}})
    assume(not any(leads_to_itself(whole, node, ()) for node in objects(whole)))
    sent = Draft202012Validator(compiled(whole))
    user = Draft202012Validator(whole)
    valid = [instance for instance in POOL if user.is_valid(instance)]
    assert [instance for instance in valid if not sent.is_valid(instance)] == []


def objects(node: Any) -> Iterator[Any]:
    """Every object within a JSON value."""
    if isinstance(node, dict):
        yield node
    for inner in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from objects(inner)


def leads_to_itself(root: dict[str, Any], node: Any, path: tuple[str, ...]) -> bool:
    """Whether checking one value would go round for ever: then a schema is valid for nobody."""
    if not isinstance(node, dict):
        return False
    reference = node.get("$ref")
    if not isinstance(reference, str | None):
        return False
    if reference in path:
        return True
    same = [sub for key in ("anyOf", "oneOf", "allOf") for sub in node.get(key, ())]
    same += [node.get("not"), node.get("if")]
    if reference:
        target = root if reference == "#" else root["$defs"][reference[-1]]
        if leads_to_itself(root, target, (*path, reference)):
            return True
    return any(leads_to_itself(root, sub, path) for sub in same)


def neutral(node: Any) -> Any:
    """A schema with the types written out that the compiler would read into it."""
    if isinstance(node, list):
        return [neutral(item) for item in node]
    if not isinstance(node, dict):
        return node
    whole = {
        key: value if key in {"enum", "const"} else neutral(value) for key, value in node.items()
    }
    shaped = any(
        isinstance(node.get(key), dict | list | bool)
        for key in ("properties", "items", "prefixItems")
    )
    return {"type": sorted(TYPES), **whole} if shaped else whole


@pytest.mark.corpus
def test_every_valid_instance_of_the_official_suite_stays_valid(corpus: Path) -> None:
    """The JSON Schema Test Suite, draft 2020-12, with its references, dialects and odd names."""
    checked = 0
    for file in sorted((corpus / "json-schema/test-suite-2020-12").glob("*.json")):
        for group in json.loads(file.read_text()):
            if not isinstance(group["schema"], dict):
                continue
            sent = Draft202012Validator(compiled(neutral(group["schema"])))
            for case in group["tests"]:
                if case["valid"]:
                    assert sent.is_valid(case["data"]), (
                        file.name,
                        group["description"],
                        case["description"],
                    )
                    checked += 1
    assert checked > 1000


@pytest.mark.corpus
def test_real_schemas_are_accepted_and_their_labels_stay_valid(corpus: Path) -> None:
    """Each schema of the corpus compiles to accepted keywords; no label that was valid is lost."""
    files = [*corpus.glob("*/schema*.json"), *corpus.glob("json-schema/schemastore/*.json")]
    assert len(files) > 30
    for file in files:
        compiled(json.loads(file.read_text()))
    checked = 0
    entries = json.loads((corpus / "index.json").read_text())
    for entry in entries if isinstance(entries, list) else entries["files"]:
        if not entry.get("label"):
            continue
        body = json.loads((corpus / entry.get("schema", f"{entry['set']}/schema.json")).read_text())
        label = json.loads((corpus / entry["label"]).read_text())
        if validator_for(body, default=Draft202012Validator)(body).is_valid(label):
            assert Draft202012Validator(compiled(body)).is_valid(label), entry["file"]
            checked += 1
    assert checked > 100
