"""Gemini's older dialect, `responseSchema`: Google's message `Schema`, in which an unknown keyword is an error.

Types in upper case, `nullable` in place of the type null, enums of strings only, an object with its
keys and an array with its items. The message: `google.ai.generativelanguage.v1beta.Schema`.
"""

from typing import Any

from pipeline.schema.dialects.closed import closed
from pipeline.schema.dialects.flat import Json, only
from pipeline.schema.dialects.outline import described
from pipeline.schema.dialects.smaller import kinds


def emit(outline: Json) -> Json:
    """What is sent as `responseSchema`."""
    return _message(closed(outline))


def _message(node: Json) -> Json:
    if "anyOf" in node:
        return _alternatives(node)
    kind = next((kind for kind in kinds(node) if kind != "null"), "null")
    said = only(node, "title", "description")
    shape: Json = {"type": kind.upper()}
    if "null" in kinds(node) and kind != "null":
        shape["nullable"] = True
    words: list[str] = []
    if kind == "object":
        shape |= _object(node)
    elif kind == "array":
        shape["items"] = _message(node["items"])
    elif "enum" in node and kind == "string":
        shape["enum"] = node["enum"]
    elif "enum" in node:
        words.append(f"one of {', '.join(map(str, node['enum']))}")
    if format_ := node.get("format"):
        # Documents of 2024 and 2025 name no other; today any is allowed and most do nothing.
        shape |= {"format": format_} if format_ == "date-time" else {}
        words += [] if format_ == "date-time" else [f"in the format {format_}"]
    return described(shape, said, words)


def _object(node: Json) -> Json:
    names = list(node["properties"])
    shape: dict[str, Any] = {
        "properties": {name: _message(sub) for name, sub in node["properties"].items()},
        "propertyOrdering": names,
    }
    return shape | ({"required": node["required"]} if node.get("required") else {})


def _alternatives(node: Json) -> Json:
    options = [option for option in node["anyOf"] if kinds(option) != ["null"]]
    shape: Json = (
        _message(options[0])
        if len(options) == 1
        else {"anyOf": [_message(option) for option in options]}
    )
    if len(options) < len(node["anyOf"]):
        shape["nullable"] = True
    return described(shape, node, ())
