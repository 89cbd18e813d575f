"""The tree of a schema: types, null, references and pointers, whatever the keywords are."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from pipeline.errors import SchemaError
from pipeline.schema import Node, Schema
from pipeline.schema.tree import tree
from tests.test_schema import INVOICE, object_of, types


def leaf(sub: Any, **definitions: Any) -> Node:
    """The Node of one property."""
    return tree(object_of(x=sub) | {"$defs": definitions}).children[0]


def test_null_alternatives_become_nullable() -> None:
    """However a schema says it."""
    for sub in (
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, {"type": "string"}]},
        {"enum": ["a", "b", None]},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"anyOf": [{"enum": ["a", "b"]}, {"const": None}]},
        {"anyOf": [{"$ref": "#/$defs/text"}, {"type": ["null"]}]},
    ):
        found = leaf(sub, text={"type": "string"})
        assert (found.type, found.nullable) == ("string", True), sub
        assert "null" not in json.dumps(found.schema), sub


def test_what_does_not_allow_null_is_not_nullable() -> None:
    """An enum without null forbids it, whatever the type says."""
    for sub in (
        {"type": "string"},
        {"enum": ["a"]},
        {"const": "a"},
        {"type": ["string", "null"], "enum": ["a", "b"]},
        {"anyOf": [{"type": "string"}, {"type": "string", "format": "date"}]},
    ):
        assert not leaf(sub).nullable, sub


def test_types_are_told_from_what_a_schema_says() -> None:
    """Also where it says no `type`."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"enum": ["a", "b"]}, "string"),
        ({"enum": [1, 2]}, "integer"),
        ({"enum": [1.5, 2.5]}, "number"),
        ({"const": True}, "boolean"),
        ({"enum": ["a", 1]}, "any"),
        ({"properties": {}}, "object"),
        ({"items": {"type": "string"}}, "array"),
        ({"format": "date"}, "string"),
        ({"type": ["integer", "string"]}, "integer"),
        ({"type": ["integer", "string", "null"]}, "integer"),
        ({"type": "null"}, "any"),
        ({"type": ["null"]}, "any"),
        ({}, "any"),
        ({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^[0-9]+$"}]}, "number"),
        ({"anyOf": [INVOICE, {"type": "object", "properties": {"a": {"type": "string"}}}]}, "any"),
    ]
    assert [(sub, leaf(sub).type) for sub, _ in cases] == cases


def test_documented_choices_are_one_enum() -> None:
    """`oneOf` of constants with their titles is how people explain an enum."""
    found = leaf(
        {"oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}, {"type": "null"}]}
    )
    assert (found.type, found.schema["enum"], found.nullable) == ("string", ["a", "b"], True)


def test_references_are_followed_with_what_stands_beside_them() -> None:
    """A description beside a reference is the one that counts."""
    definitions = {"money": {"type": "number", "description": "any", "minimum": 0}}
    found = leaf({"$ref": "#/$defs/money", "description": "net"}, **definitions)
    assert (found.type, found.schema["description"], found.schema["minimum"]) == (
        "number",
        "net",
        0,
    )


@pytest.mark.parametrize(
    "reference",
    [
        "#/$defs/a~1b",
        "#/$defs/a~0~1",
        "#/$defs/a%20b",
        "#/$defs/list/anyOf/0",
        "#here",
        "https://example.org/s#here",
    ],
)
def test_references_are_resolved_as_the_standard_says(reference: str) -> None:
    """Escapes of JSON Pointer and of addresses, array items, anchors, the schema's own address."""
    text = {"type": "string", "title": "found"}
    body = object_of(x={"$ref": reference}) | {
        "$id": "https://example.org/s",
        "$defs": {
            "a/b": text,
            "a~/": text,
            "a b": text,
            "list": {"anyOf": [text]},
            "y": {"$anchor": "here"} | text,
        },
    }
    assert Schema.of(body).tree.children[0].schema["title"] == "found"


def test_references_within_a_part_with_its_own_address_stay_within_it() -> None:
    """Two definitions of one name are told apart."""
    part = {
        "$id": "https://example.org/part",
        "type": "object",
        "properties": {"y": {"$ref": "#/$defs/kind"}},
        "$defs": {"kind": {"type": "integer"}},
    }
    body = object_of(x={"$ref": "part"}) | {
        "$id": "https://example.org/whole",
        "$defs": {"part": part, "kind": {"type": "string"}},
    }
    assert types(tree(body)) == {"/x/y": "integer"}


def test_all_of_its_parts_make_one_object() -> None:
    """Properties and demands add up; a property that two parts describe has what both say."""
    found = leaf(
        {
            "allOf": [
                {"$ref": "#/$defs/base"},
                {
                    "properties": {"b": {"type": "number"}, "a": {"description": "more"}},
                    "required": ["b"],
                },
            ],
            "properties": {"c": {"type": "boolean"}},
        },
        base=object_of(a={"type": "string"}),
    )
    assert types(found) == {"/x/a": "string", "/x/b": "number", "/x/c": "boolean"}
    assert [child.required for child in found.children] == [True, True, False]
    assert found.children[0].schema["description"] == "more"


def test_conditions_beside_properties_leave_the_properties() -> None:
    """`anyOf` that only demands keys describes the same object."""
    body = object_of(a={"type": "string"}) | {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert types(tree(body)) == {"/a": "string"}


def test_a_schema_that_holds_itself_ends_in_an_open_leaf() -> None:
    """One level is read, the next is `any`."""
    body = object_of(name={"type": "string"}, children={"type": "array", "items": {"$ref": "#"}})
    assert types(tree(body)) == {"/name": "string", "/children/*": "any"}
    found = leaf(
        {"$ref": "#/$defs/folder"},
        folder={
            "properties": {
                "name": {"type": "string"},
                "inner": {"allOf": [{"$ref": "#/$defs/folder"}]},
            }
        },
    )
    assert types(found) == {"/x/name": "string", "/x/inner": "any"}
    assert (
        leaf({"$ref": "#/$defs/a"}, a={"$ref": "#/$defs/b"}, b={"$ref": "#/$defs/a"}).type == "any"
    )


def test_recursive_models_are_read() -> None:
    """As pydantic writes them."""

    class Part(BaseModel):
        name: str
        parts: "list[Part]" = Field(default_factory=list)

    assert types(Schema.of(Part)) == {"/name": "string", "/parts/*": "any"}


def test_a_schema_that_multiplies_is_refused() -> None:
    """Thirty definitions, each holding the next one twice, are a billion places."""
    definitions: dict[str, Any] = {
        f"d{n}": object_of(a={"$ref": f"#/$defs/d{n + 1}"}, b={"$ref": f"#/$defs/d{n + 1}"})
        for n in range(30)
    }
    definitions["d30"] = {"type": "string"}
    with pytest.raises(SchemaError, match="more than 20,000 places"):
        Schema.of({"$ref": "#/$defs/d0", "$defs": definitions})


def test_very_deep_schemas_are_cut() -> None:
    """Below forty levels nobody's data stands."""
    body: dict[str, Any] = {"type": "string"}
    for _ in range(60):
        body = object_of(a=body)
    assert [found.type for found in tree(body).leaves()] == ["any"]


def test_pointers_find_nodes() -> None:
    """By the place of a value in the data, escapes undone."""
    body = object_of(
        **{
            "a/b": {"type": "string"},
            "c~d": {"type": "array", "items": object_of(e={"type": "number"})},
        }
    )
    node = tree(body)
    assert [found.pointer for found in node.leaves()] == ["/a~1b", "/c~0d/*/e"]
    assert node.at("") is node
    for pointer, name, kind in (
        ("/a~1b", "a/b", "string"),
        ("/c~0d/17/e", "e", "number"),
        ("/c~0d/0", "c~d", "object"),
    ):
        found = node.at(pointer)
        assert found is not None
        assert (found.name, found.type) == (name, kind)
    assert node.at("/a~1b/0") is None
    assert node.at("/nothing/at/all") is None


def test_older_drafts_are_read() -> None:
    """`definitions`, `id`, `required` as a flag, `items` as a list: no draft is a crash."""
    seven = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"a": {"$ref": "#/definitions/t"}, "b": {"$ref": "#named"}},
        "definitions": {"t": {"type": "string"}, "n": {"$id": "#named", "type": "number"}},
    }
    assert types(Schema.of(seven)) == {"/a": "string", "/b": "number"}
    three = {
        "$schema": "http://json-schema.org/draft-03/schema#",
        "properties": {
            "a": {"type": "string", "required": True},
            "b": {"type": [{"type": "string"}, "null"]},
            "c": {"type": "array", "items": [{"type": "string"}]},
        },
    }
    assert types(Schema.of(three)) == {"/a": "string", "/b": "any"}
    assert types(Schema.of({"$schema": "https://example.org/mine"} | INVOICE)) == {
        "/total": "number"
    }


_SCALARS = st.sampled_from([None, "a", "2024-01-01", 0, 1, 1.5, True, False])
_SUBSCHEMAS = st.recursive(
    st.one_of(
        st.booleans(),
        st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(
                    ["string", "number", "null", ["string", "null"], ["integer", "string"]]
                ),
                "format": st.sampled_from(["date", "email"]),
                "description": st.just("text"),
            },
        ),
        st.fixed_dictionaries({"enum": st.lists(_SCALARS, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"const": _SCALARS}),
        st.fixed_dictionaries(
            {
                "$ref": st.sampled_from(
                    ["#", "#/$defs/a", "#/$defs/b", "#/$defs/c", "#/nowhere", "other"]
                )
            }
        ),
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(
                    st.sampled_from(["a", "b/c", "~", "$ref"]), inner, max_size=3
                ),
            }
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        *(
            st.fixed_dictionaries({key: st.lists(inner, min_size=1, max_size=3)})
            for key in ("anyOf", "oneOf", "allOf")
        ),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), _SUBSCHEMAS, max_size=3), _SUBSCHEMAS)
def test_any_schema_is_a_tree_or_a_sentence(definitions: dict[str, Any], sub: Any) -> None:
    """No combination of references and alternatives is a crash, and every pointer leads back."""
    try:
        schema = Schema.of(object_of(x=sub) | {"$defs": definitions})
    except SchemaError:
        return
    for found in schema.tree.leaves():
        assert schema.tree.at(found.pointer.replace("*", "0")) is found


_FLAT: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"type": st.lists(st.sampled_from(["string", "number", "null"]), min_size=1, unique=True)}
    ),
    st.fixed_dictionaries({"enum": st.lists(_SCALARS, min_size=1, max_size=3)}),
    st.fixed_dictionaries(
        {"type": st.just(["string", "null"]), "enum": st.lists(_SCALARS, min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries({"const": _SCALARS}),
    st.just({}),
)


@settings(deadline=None)
@given(st.one_of(_FLAT, st.fixed_dictionaries({"anyOf": st.lists(_FLAT, min_size=1, max_size=3)})))
def test_nullable_is_what_a_validator_says(sub: dict[str, Any]) -> None:
    """Null is written exactly where it is valid."""
    assert leaf(sub).nullable == Draft202012Validator(sub).is_valid(None)
