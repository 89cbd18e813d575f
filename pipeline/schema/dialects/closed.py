"""Outlines without open places, for services that enforce every key: maps become lists, anything a text.

What can't be written there is written so, and `restored` brings an answer back into the user's form:

- a map is a list of `{"key", "value"}`; where an object has named keys too, its others stand under `other_keys`;
- an object of which nothing is known is a text that holds JSON;
- anything is a text, a number, a boolean or null; objects, lists, and texts that look like JSON stand as JSON text;
- a list with places (`prefixItems`) is a list of what may stand at any of them.
"""

import json
from typing import Any, Final

from pipeline.schema.dialects.flat import Json, only
from pipeline.schema.dialects.outline import choice, described
from pipeline.schema.dialects.smaller import is_any, kinds

_ANYTHING: Final = ("string", "number", "boolean", "null")
#: How a text begins that is read as JSON.
_JSON_STARTS: Final = ("{", "[", '"')


def closed(node: Json) -> Json:
    """An outline in which every object has its keys and every value a type."""
    if is_any(node):
        words = ["an object or a list is written as JSON text"]
        return described({"anyOf": [{"type": kind} for kind in _ANYTHING]}, node, words)
    if "anyOf" in node:
        return described(_closed_options(options_of(node)), node, ())
    shape = _closed_shape(node)
    if "null" in kinds(node) and len(kinds(node)) > 1:
        shape |= {"type": [shape["type"], "null"]}
    return shape


def options_of(node: Json) -> list[Json]:
    """The alternatives of a node; a map beside a list is an open object, or its pairs would look like that list."""
    options: list[Json] = node["anyOf"]
    if not any("array" in kinds(option) for option in options):
        return options
    return [only(option, "type") if _is_map(option) else option for option in options]


def _closed_options(options: list[Json]) -> Json:
    if any(is_any(option) for option in options):
        return closed({})
    if any(_is_text(option) for option in options):
        # Then every text may be JSON, and an enum of texts can't stand beside it.
        nullable = any("null" in kinds(option) for option in options)
        options = [
            option
            for option in options
            if not _is_text(option) and not {"string", "null"} & set(kinds(option))
        ]
        text = closed({"type": ["object", "null"] if nullable else "object"})
        return choice([*map(closed, options), text])
    return choice(map(closed, options))


def _closed_shape(node: Json) -> Json:
    kind = _kind(node)
    said = only(node, "title", "description")
    if _is_text(node):
        return described({"type": "string"}, node, ["an object, written as JSON text"])
    if _is_map(node):
        return described(_pairs(node["additionalProperties"]), node, ())
    if kind == "object":
        properties = {name: closed(sub) for name, sub in node["properties"].items()}
        if isinstance(others := node.get("additionalProperties"), dict):
            properties[_others_name(node)] = _pairs(others)
        return {"type": "object", "properties": properties, **only(node, "required"), **said}
    if kind == "array":
        return {"type": "array", "items": closed(_item(node)), **said}
    return {"type": kind, **only(node, "enum", "format"), **said}


def _pairs(value: Json) -> Json:
    pair = {"key": {"type": "string"}, "value": closed(value)}
    items = {"type": "object", "properties": pair, "required": ["key", "value"]}
    return {"type": "array", "items": items}


def _kind(node: Json) -> str:
    return next((kind for kind in kinds(node) if kind != "null"), "null")


def _is_text(node: Json) -> bool:
    """Whether a node is an object of which nothing is known."""
    others = isinstance(node.get("additionalProperties"), dict)
    return _kind(node) == "object" and not node.get("properties") and not others


def _is_map(node: Json) -> bool:
    return _kind(node) == "object" and not node.get("properties") and not _is_text(node)


def _item(node: Json) -> Json:
    """What an item may be; behind the last place of a list nothing is expected but what is said."""
    items: list[Json] = [node["items"]] if "items" in node else []
    return choice([*node.get("prefixItems", ()), *items])


def _others_name(node: Json) -> str:
    name = "other_keys"
    while name in node["properties"]:
        name += "_"
    return name


class Misfit(Exception):
    """An answer is not of the form that was asked for."""


def restored(node: Json, data: Any, *, trial: bool = False) -> Any:
    """An answer to a closed outline in the user's form.

    Optional keys whose value is null, where null is not allowed, are left out. What is not of the
    form that was asked for stays as it is: a service that enforces nothing may answer in the user's own.

    Args:
        node: the outline, as it was before it was closed.
        data: the answer, any JSON.
        trial: whether what does not fit is an error: so is one alternative told from the others.

    Raises:
        Misfit: only with `trial`.

    """
    try:
        return _restored(node, data, trial)
    except Misfit:
        if trial:
            raise
        return data


def _restored(node: Json, data: Any, trial: bool) -> Any:
    if is_any(node):
        return decoded(data)
    if "anyOf" in node:
        return _restored_option(options_of(node), data, trial)
    if _is_text(node):
        data = decoded(data)
    if _is_map(node) and isinstance(data, list):
        return _restored_map(node["additionalProperties"], data, trial)
    if not any(is_of(kind, data) for kind in kinds(node)) or data not in node.get("enum", [data]):
        raise Misfit
    if isinstance(data, dict):
        return _restored_object(node, data, trial)
    return _restored_list(node, data, trial) if isinstance(data, list) else data


def _restored_list(node: Json, data: list[Any], trial: bool) -> list[Any]:
    return [restored(_item(node), item, trial=trial) for item in data]


def _restored_option(options: list[Json], data: Any, trial: bool) -> Any:
    if isinstance(data, str) and any(_is_text(option) for option in options):
        data = decoded(data)
        if not isinstance(data, str):
            return data
    for option in options:
        try:
            return restored(option, data, trial=True)
        except Misfit:
            continue
    if trial:
        raise Misfit
    near = next((option for option in options if is_of(_kind(option), data)), None)
    return data if near is None else restored(near, data)


def _restored_object(node: Json, data: dict[str, Any], trial: bool) -> dict[str, Any]:
    properties, required = node.get("properties", {}), node.get("required", ())
    more = _others_name(node) if properties else ""
    others = node.get("additionalProperties")
    others = others if isinstance(others, dict) else None
    told = {name: value for name, value in data.items() if others is None or name != more}
    strangers = properties and others is None and told.keys() - properties.keys()
    if trial and (strangers or set(required) - told.keys()):
        raise Misfit
    whole = {}
    for name, value in told.items():
        sub = properties.get(name, others if others is not None else {"type": "never"})
        if value is None and name in properties and name not in required and not _takes_null(sub):
            continue
        whole[name] = (
            value
            if name not in properties and others is None
            else restored(sub, value, trial=trial)
        )
    pairs = data.get(more)
    if others is not None and isinstance(pairs, list):
        told_apart = _restored_map(others, pairs, trial)
        if told_apart.keys() & whole.keys():
            raise Misfit
        whole |= told_apart
    return whole


def _restored_map(value: Json, pairs: list[Any], trial: bool) -> dict[str, Any]:
    if not all(isinstance(pair, dict) and isinstance(pair.get("key"), str) for pair in pairs):
        raise Misfit
    if any(pair.keys() != {"key", "value"} for pair in pairs):
        raise Misfit
    found = {pair["key"]: restored(value, pair["value"], trial=trial) for pair in pairs}
    if len(found) < len(pairs):  # two values under one key: neither is dropped in silence
        raise Misfit
    return found


def _takes_null(node: Json) -> bool:
    """Whether null is said to be allowed; where anything may stand, an absent key says as much."""
    return "null" in kinds(node) or any(_takes_null(option) for option in node.get("anyOf", ()))


def is_of(kind: str, data: Any) -> bool:
    """Whether data is of a type of JSON Schema."""
    if isinstance(data, bool):
        return kind == "boolean"
    types: dict[str, Any] = {
        "string": str,
        "number": int | float,
        "integer": int | float,
        "object": dict,
        "array": list,
        "null": type(None),
    }
    return isinstance(data, types.get(kind, ())) and (
        kind != "integer" or not isinstance(data, float) or data.is_integer()
    )


def decoded(data: Any) -> Any:
    """The JSON that a text holds, if it is an object, a list or a text; else the text itself."""
    if not (isinstance(data, str) and data.lstrip().startswith(_JSON_STARTS)):
        return data
    try:
        held = json.loads(data)
    except (ValueError, RecursionError):
        return data
    return held if isinstance(held, dict | list | str) else data
