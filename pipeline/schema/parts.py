"""A part of a schema as a schema of its own: some of its leaves side by side, or one of its arrays."""

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from pipeline.errors import SchemaError
from pipeline.schema import Node, Schema
from pipeline.schema.tree import tree

#: Where definitions stand that a part may refer to.
_DEFINITIONS: Final = ("$defs", "definitions")
#: What of the whole says how its parts are read.
_DIALECT: Final = ("$schema",)


def leaves_of(schema: Schema, pointers: Iterable[str]) -> Schema:
    """A flat schema with the properties f1, f2 ... for leaves of another one, by their JSON Pointers in its data.

    Each is the leaf's own sub-schema with references followed, may be null, and says in its description
    where it stands. All are required, so that null has to be said.

    Raises:
        SchemaError: the schema has no such leaf, or it can't stand alone.

    """
    properties = {
        f"f{number}": _leaf(schema, pointer) for number, pointer in enumerate(pointers, start=1)
    }
    body = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return _standing(schema, body)


def part(schema: Schema, pointer: str) -> Schema:
    """A schema with nothing but one array (or object), and the way to it from the root.

    Raises:
        SchemaError: there is none at that place, or it stands inside of another array.

    """
    way = [schema.tree]
    for name in _names(pointer):
        child = next((each for each in way[-1].children if each.name == name), None)
        if child is None or way[-1].type != "object":
            raise SchemaError(f"schema {schema.name}: nothing stands at {pointer} by itself")
        way.append(child)
    body: dict[str, Any] = _without(way[-1].schema, "minItems", "maxItems", "contains")
    for node, child in reversed(list(pairwise(way))):
        told = {key: node.schema[key] for key in ("title", "description") if key in node.schema}
        body = told | {
            "type": "object",
            "properties": {child.name: body},
            "required": [child.name],
            "additionalProperties": False,
        }
    return _standing(schema, body)


def _leaf(schema: Schema, pointer: str) -> dict[str, Any]:
    node = schema.tree.at(pointer)
    if node is None or not node.is_leaf:
        raise SchemaError(f"schema {schema.name}: no leaf stands at {pointer}")
    own = _without(node.schema, "description", "default")
    options = own.pop("anyOf", None)
    told = node.schema.get("description")
    description = f"{in_words(schema.tree, pointer)}{f': {told}' if told else ''}"
    if not own and options is None:
        return {"description": description}  # anything may stand here, null too
    alternatives = [own] if options is None else [_beside(own, option) for option in options]
    return {"anyOf": [*alternatives, {"type": "null"}], "description": description}


def _beside(own: Mapping[str, Any], option: Any) -> Any:
    """One alternative with what holds for all of them."""
    return {**own, **option} if isinstance(option, Mapping) else option


def in_words(root: Node, pointer: str) -> str:
    """The way to a leaf for readers: `lines, row 18, amount`."""
    words, node = [], root
    for name in _names(pointer):
        is_row = node.type == "array"
        words.append(f"row {int(name) + 1}" if is_row and name.isdecimal() else name)
        node = node.at(f"/{_escaped(name)}") or node
    return ", ".join(words)


def _standing(schema: Schema, body: dict[str, Any]) -> Schema:
    """The body as a schema, with the definitions that it refers to.

    Raises:
        SchemaError: it refers to what stands elsewhere in the whole.

    """
    if '"$ref"' in json.dumps(body):
        body |= {key: schema.body[key] for key in _DEFINITIONS if key in schema.body}
    body |= {key: schema.body[key] for key in _DIALECT if key in schema.body}
    tree(body)
    return Schema(schema.name, body, source=schema.source)


def _without(schema: Mapping[str, Any], *keywords: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in keywords}


def _names(pointer: str) -> list[str]:
    return [name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]]


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
