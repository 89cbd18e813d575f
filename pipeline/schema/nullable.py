"""A schema whose leaves may all be null: what is asked of pages that don't hold everything."""

from collections.abc import Mapping
from typing import Any, Final

from pipeline.schema import Node, Schema

_NULL: Final = {"type": "null"}
#: Where sub-schemas stand, one, in a list, or by name.
_ONE: Final = frozenset({"additionalProperties", "unevaluatedProperties", "additionalItems"})
_ALL: Final = frozenset({"allOf", "prefixItems"})
_NAMED: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
#: Bounds that the whole has to keep and a part of it need not.
_LEAST: Final = frozenset({"minItems", "minContains", "contains", "minProperties"})
#: What makes a sub-schema one of an object or a list, and no leaf.
_INNER: Final = frozenset({"properties", "items", "prefixItems", "patternProperties"})
_CHOICES: Final = ("anyOf", "oneOf")


def nullable(schema: Schema) -> Schema:
    """The schema with null allowed wherever a value stands, and lists of any length from 0 on.

    Order, names, references and descriptions stay; plain values in lists, and objects, don't become
    null. What is required is to be said all the same, as null.
    """
    return Schema(schema.name, _loose(schema.body), source=schema.source)


def without_nulls(data: Any, asked: Node, own: Node) -> Any:
    """An answer without the nulls that only `nullable` allows, where the schema's own way to say so is to leave the key out.

    `asked` is the tree of the schema that was asked, `own` that of the schema itself.
    """
    if isinstance(data, list) and asked.children and own.children:
        return [without_nulls(each, asked.children[0], own.children[0]) for each in data]
    if not isinstance(data, dict):
        return data
    asks = {child.name: child for child in asked.children}
    owns = {child.name: child for child in own.children}
    made = {}
    for key, value in data.items():
        ask, mine = asks.get(key), owns.get(key)
        if ask is None or mine is None:
            made[key] = value
        elif value is not None or mine.required or mine.nullable or not ask.nullable:
            made[key] = without_nulls(value, ask, mine)
    return made


def _loose(given: Any, *, is_item: bool = False) -> Any:
    """A sub-schema with the leaves in it, itself if it is one, open to null."""
    if not isinstance(given, Mapping):
        return given
    made = {key: _inner(key, value) for key, value in given.items() if key not in _LEAST}
    if is_item or not _is_leaf(given):
        return made
    if (
        "anyOf" not in made
    ):  # null may fit several choices, where one refers to a leaf that is open to it
        made = {"anyOf" if key == "oneOf" else key: value for key, value in made.items()}
    for key in _CHOICES:
        if isinstance(made.get(key), list) and not any(map(_takes_null, made[key])):
            made[key] = [*made[key], dict(_NULL)]
    kinds = made.get("type")
    if isinstance(kinds, str) and kinds != "null":
        made["type"] = [kinds, "null"]
    elif isinstance(kinds, list) and "null" not in kinds:
        made["type"] = [*kinds, "null"]
    if isinstance(made.get("enum"), list) and None not in made["enum"]:
        made["enum"] = [*made["enum"], None]
    if made.get("const") is not None:
        made["enum"] = [made.pop("const"), None]
    return made


def _inner(key: str, value: Any) -> Any:
    if key == "items":
        # Up to draft 2019-09 a list gives each item a schema of its own.
        return (
            [_loose(each) for each in value]
            if isinstance(value, list)
            else _loose(value, is_item=True)
        )
    if key in _ONE:
        return _loose(value)
    if key in _CHOICES and isinstance(value, list):
        # One of the choices is null already, or becomes so: two would fit at once.
        return [_loose(each, is_item=_is_leaf(each)) for each in value]
    if key in _ALL and isinstance(value, list):
        return [_loose(each) for each in value]
    if key in _NAMED and isinstance(value, Mapping):
        return {name: _loose(each) for name, each in value.items()}
    return value


def _is_leaf(given: Any) -> bool:
    """Whether a value stands there, as far as the sub-schema says it in its own words."""
    if not isinstance(given, Mapping) or _INNER & given.keys():
        return False
    kinds = given.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if kinds & {"object", "array"}:
        return False
    choices = [each for key in _CHOICES for each in given.get(key, ())]
    return bool(kinds) or "enum" in given or "const" in given or any(map(_is_leaf, choices))


def _takes_null(given: Any) -> bool:
    if not isinstance(given, Mapping):
        return given is True
    kinds = given.get("type", ())
    return (
        "null" in ([kinds] if isinstance(kinds, str) else kinds)
        or None in given.get("enum", ())
        or ("const" in given and given["const"] is None)
    )
