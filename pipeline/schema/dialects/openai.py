"""OpenAI's strict `json_schema`: every object closed, every key required, what is optional may be null.

The subset and its limits: the guide to Structured Outputs, section "Supported schemas" (read as of
February 2026): string, number, boolean, integer, object, array, enum, anyOf; the root is an object and
no anyOf; at most 5,000 properties, 10 levels, 120,000 characters in names and values, 15,000 in one enum
of more than 250. Its 1,000 values in all enums were 500 before, which is what is kept here.
"""

from typing import Any, Final

from pipeline.schema.dialects.closed import closed
from pipeline.schema.dialects.flat import Json, only
from pipeline.schema.dialects.outline import choice
from pipeline.schema.dialects.smaller import depth, each, kinds, nodes, one_object

#: The key that holds the answer where the user's schema is not of an object with named keys.
WRAPPED: Final = "value"

_MOST_PROPERTIES: Final = 5000
_DEEPEST: Final = 10
_MOST_CHARACTERS: Final = 120_000
_MOST_VALUES: Final = 500
_LONG_ENUM: Final = 250
_LONG_ENUM_CHARACTERS: Final = 15_000


def emit(outline: Json) -> Json:
    """What is sent as the `schema` of a strict `json_schema`."""
    node = closed(outline)
    if is_wrapped(outline):
        node = {"type": "object", "properties": {WRAPPED: node}, "required": [WRAPPED]}
    return _strict(node)


def is_wrapped(outline: Json) -> bool:
    """Whether the answer stands under one key: the root must be an object with named keys."""
    return kinds(outline) != ["object"] or not outline.get("properties")


def told_apart(node: Json) -> Json:
    """An outline whose alternatives can be told by their first key.

    Objects in one anyOf that begin with the same key are refused ("must not share identical first
    keys") unless their values there differ: they become one object.
    """
    objects = [option for option in node.get("anyOf", ()) if "object" in kinds(option)]
    if _clash(objects):
        others = [option for option in node["anyOf"] if "object" not in kinds(option)]
        said = {key: value for key, value in node.items() if key != "anyOf"}
        node = choice([_without_null(one_object(objects)), *others]) | said
    return each(node, told_apart)


def fits(sent: Json) -> bool:
    """Whether what is sent keeps within the limits."""
    properties = [name for node in nodes(sent) for name in node.get("properties", ())]
    enums = [node["enum"] for node in nodes(sent) if "enum" in node]
    characters = sum(map(len, properties)) + sum(_length(enum) for enum in enums)
    return (
        len(properties) <= _MOST_PROPERTIES
        and depth(sent) <= _DEEPEST
        and characters <= _MOST_CHARACTERS
        and sum(map(len, enums)) <= _MOST_VALUES
        and all(len(enum) <= _LONG_ENUM or _length(enum) <= _LONG_ENUM_CHARACTERS for enum in enums)
    )


def _length(enum: list[Any]) -> int:
    return sum(len(str(value)) for value in enum)


def _clash(objects: list[Json]) -> bool:
    """Whether two of these objects begin with the same key, and not with different values of an enum."""
    seen: dict[str, list[Any]] = {}
    for option in filter(_has_keys, objects):
        properties: Json = option["properties"]
        first = next(iter(properties))
        values: list[Any] = properties[first].get("enum", [None])  # None: any value
        known = seen.get(first, [])
        if known and (
            None in values or None in known or set(map(str, values)) & set(map(str, known))
        ):
            return True
        seen[first] = known + values
    return False


def _has_keys(node: Json) -> bool:
    return bool(node.get("properties"))


def _without_null(node: Json) -> Json:
    """Keys of one object for several that not all demand: null says that they are absent, nothing else."""
    required = node.get("required", ())
    properties = {
        name: sub if name in required else _not_null(sub)
        for name, sub in node.get("properties", {}).items()
    }
    return node | {"properties": properties}


def _not_null(node: Json) -> Json:
    if isinstance(node.get("type"), list):
        return node | {"type": next(kind for kind in node["type"] if kind != "null")}
    if "anyOf" in node:
        options = [option for option in node["anyOf"] if kinds(option) != ["null"]]
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        return choice(options) | rest
    return node


def _strict(node: Json) -> Json:
    shape = each(node, _strict)
    if "properties" in shape:
        required = node.get("required", ())
        shape["properties"] = {
            name: sub if name in required else _nullable(sub)
            for name, sub in shape["properties"].items()
        }
        shape["required"] = list(shape["properties"])
        shape["additionalProperties"] = False
    return shape


def _nullable(node: Json) -> Json:
    if "anyOf" in node:
        null = [{"type": "null"}]
        return node | {"anyOf": [option for option in node["anyOf"] if option not in null] + null}
    if "null" in kinds(node):
        return node
    if "enum" in node:
        said = only(node, "title", "description")
        rest = {key: value for key, value in node.items() if key not in said}
        return {"anyOf": [rest, {"type": "null"}], **said}
    return node | {"type": [node["type"], "null"]}
