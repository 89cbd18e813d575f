"""Outlines made smaller: cut at a depth, without long lists of values, with little left, equal parts sent once."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from pipeline.schema.dialects.flat import Json, only
from pipeline.schema.dialects.outline import choice, described

#: A description in a reduced outline, in characters: a line.
_SHORT: Final = 100
#: How many values an enum of a reduced outline may have.
_FEW_VALUES: Final = 10
#: A part that is smaller than this (bytes of JSON) is not worth a definition of its own.
_WORTH: Final = 160


def children(node: Json) -> Iterator[Json]:
    """The sub-schemas of a node of an outline, or of what is sent."""
    for key in ("properties", "$defs"):
        yield from node.get(key, {}).values()
    for key in ("anyOf", "prefixItems"):
        yield from node.get(key, ())
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield node[key]


def each(node: Json, change: Callable[[Json], Json]) -> Json:
    """A node with every child changed."""
    new = dict(node)
    if "properties" in node:
        new["properties"] = {name: change(sub) for name, sub in node["properties"].items()}
    for key in ("anyOf", "prefixItems"):
        if key in node:
            new[key] = [change(sub) for sub in node[key]]
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            new[key] = change(node[key])
    return new


def kinds(node: Json) -> list[str]:
    """The types of a node without alternatives, null among them; none where it may be anything."""
    kind = node.get("type", [])
    return [kind] if isinstance(kind, str) else list(kind)


def is_any(node: Json) -> bool:
    """Whether a node may be anything."""
    return "type" not in node and "anyOf" not in node


def nodes(node: Json) -> Iterator[Json]:
    """A node and all below it."""
    yield node
    for child in children(node):
        yield from nodes(child)


def depth(node: Json) -> int:
    """How many objects and arrays stand within each other at the deepest place."""
    own = bool({"object", "array"} & set(kinds(node)))
    return own + max((depth(child) for child in children(node)), default=0)


def states(sent: Json) -> int:
    """How much a service has to tell apart when it holds an answer to what is sent, references followed.

    One for each place of a value, and one for each character of the names, enum values and formats
    there: Gemini's "too many states for serving" names long names and values, bounds and formats.
    """
    known: dict[str, int] = {}

    def count(node: Json) -> int:
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name not in known:
                known[name] = count(sent["$defs"][name])
            return known[name]
        below = {key: value for key, value in node.items() if key != "$defs"}
        texts = [
            *node.get("properties", ()),
            *map(str, node.get("enum", ())),
            node.get("format", ""),
        ]
        return 1 + sum(map(len, texts)) + sum(map(count, children(below)))

    return count(sent)


def cut(node: Json, left: int) -> Json:
    """An outline with `left` levels of objects and arrays; deeper ones stand open, their keys said in words."""
    if not {"object", "array"} & set(kinds(node)):
        return each(node, lambda child: cut(child, left))
    if left > 0:
        return each(node, lambda child: cut(child, left - 1))
    bare = only(node, "type", "title")
    items = node.get("items", {})
    names = node.get("properties") or items.get("properties") or {}
    words = [f"with the keys {', '.join(names)}"] if names else []
    return described(bare, {"description": node.get("description")}, words)


def without_long_enums(node: Json, most: int) -> Json:
    """An outline whose enums of more than `most` values are words: the first of them."""
    values = node.get("enum", ())
    if len(values) <= most:
        return each(node, lambda child: without_long_enums(child, most))
    rest = {key: value for key, value in node.items() if key != "enum"}
    return described(rest, rest, [f"one of {_first(values)}"])


def _first(values: list[Any]) -> str:
    texts = [str(value) for value in values]
    told = ""
    for number, text in enumerate(texts):
        if len(told) + len(text) > _SHORT and number:
            return f"{told}, ... ({len(texts)} in all)"
        told = f"{told}, {text}" if told else text[:_SHORT]
    return told


def reduced(node: Json, *, told: bool = True) -> Json:
    """The least that still says what is wanted: types, names, a line of description.

    Alternatives become plain types and one object (a key means the same in all of them), places in a
    list its items; long enums and formats become words, with `told`, and nothing shuts keys out.
    """
    slim = each(node, lambda child: reduced(child, told=told))
    if "anyOf" in slim:
        options: list[Json] = slim.pop("anyOf")
        slim |= _one_of(options)
    if "prefixItems" in slim:
        slim["items"] = _one_of([*slim.pop("prefixItems"), slim.get("items", {})])
    said = str(slim.get("description") or "")
    words = [f"in the format {slim['format']}"] if "format" in slim else []
    values: list[Any] = slim.get("enum", [])
    if len(values) > _FEW_VALUES:
        words.append(f"one of {_first(values)}")
        del slim["enum"]
    kept = {
        key: value
        for key, value in slim.items()
        if key not in {"title", "description", "format"} and value not in ({}, True, False)
    }
    short = said if len(said) <= _SHORT else f"{said[: _SHORT - 3].rstrip()}..."
    return described(kept, {"description": short}, words if told else ())


def _one_of(options: list[Json]) -> Json:
    """Several reduced options as one shape: objects become one object, the others plain types."""
    if any(is_any(option) for option in options):
        return {}
    objects = [option for option in options if "object" in kinds(option)]
    others = [option for option in options if "object" not in kinds(option)]
    lists = [option for option in others if "array" in kinds(option)]
    if len({json.dumps(option.get("items")) for option in lists}) > 1:
        lists = [{"type": "array"}]
    plain = [
        {"type": option["type"]} if "type" in option else {"anyOf": option["anyOf"]}
        for option in others
        if "array" not in kinds(option)
    ]
    return choice([*([one_object(objects)] if objects else []), *lists, *plain])


def one_object(options: list[Json]) -> Json:
    """Several objects as one: a key that not all of them demand is optional, and then not null."""
    if len(options) == 1:
        return options[0]
    shapes: dict[str, list[Json]] = {}
    for option in options:
        for name, sub in option.get("properties", {}).items():
            shapes.setdefault(name, []).append(sub)
    required = [
        name
        for name in options[0].get("required", ())
        if all(name in option.get("required", ()) for option in options)
    ]
    one: Json = {"type": "object"}
    if shapes:
        one["properties"] = {name: _either(subs) for name, subs in shapes.items()}
        one["propertyOrdering"] = list(shapes)
    if required:
        one["required"] = required
    others = [option.get("additionalProperties") for option in options]
    if maps := [other for other in others if isinstance(other, dict)]:
        one["additionalProperties"] = choice(maps) or True
    if any("null" in kinds(option) for option in options):
        one["type"] = ["object", "null"]
    return one


def _either(shapes: list[Json]) -> Json:
    """What one key may hold, where several objects have it."""
    if any(is_any(shape) for shape in shapes):
        return {}
    if all(kinds(shape) == ["string"] and "enum" in shape for shape in shapes):
        values = dict.fromkeys(value for shape in shapes for value in shape["enum"])
        return {"type": "string", "enum": list(values)}
    return choice(shapes)


def folded(sent: Json) -> Json:
    """What is sent with each part that stands at several places sent once, under `$defs`.

    Nothing stands beside a `$ref`, and no definition holds itself, which both Gemini and OpenAI allow.
    """
    counts: Counter[str] = Counter()
    seen: dict[str, Json] = {}

    def count(node: Json) -> None:
        for child in children(node):
            text = json.dumps(child)
            counts[text] += 1
            if text not in seen:
                seen[text] = child
                count(child)

    count(sent)
    shared = {
        text: f"d{number}"
        for number, text in enumerate(
            (text for text in seen if counts[text] > 1 and len(text) > _WORTH), start=1
        )
    }

    def replaced(node: Json) -> Json:
        name = shared.get(json.dumps(node))
        return {"$ref": f"#/$defs/{name}"} if name else each(node, replaced)

    whole = each(sent, replaced)
    if shared:
        whole["$defs"] = {name: each(seen[text], replaced) for text, name in shared.items()}
    return whole
