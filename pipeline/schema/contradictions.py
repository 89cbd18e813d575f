"""What nothing can satisfy: keywords of one sub-schema that contradict each other."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipeline.schema.dialects.closed import is_of
from pipeline.schema.dialects.flat import Json, listed

#: The lower and the upper bound, the type that they hold for, and that type's words.
_BOUNDS: Final = (
    ("minimum", "maximum", "number", "number"),
    ("minLength", "maxLength", "string", "text"),
    ("minItems", "maxItems", "array", "list"),
    ("minContains", "maxContains", "array", "list"),
    ("minProperties", "maxProperties", "object", "object"),
)
#: Older drafts write these as true or false beside the bound.
_EXCLUSIVE: Final = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}


def contradictions(node: Json) -> Iterator[tuple[str, str]]:
    """The keyword and a sentence for each; only what stands in this sub-schema itself is compared."""
    kinds = listed(node["type"]) if isinstance(node.get("type"), str | list) else []
    for low, high, kind, word in _BOUNDS:
        if low == "minContains" and "contains" not in node:
            continue
        least, most = _bound(node, low, max), _bound(node, high, min)
        if least and most and _crossed(least, most):
            alone = kinds and set(kinds) <= {kind, "integer" if kind == "number" else kind}
            told = f"{least[1]} {least[0]} and {most[1]} {most[0]}"
            yield least[1], f"{'nothing' if alone else f'no {word}'} can satisfy it: {told}"
    yield from _of_values(node, kinds)
    yield from _of_keys(node)


#: A bound, the keyword that gives it, and whether the bound itself is left out.
_Bound = tuple[float, str, bool]


def _bound(node: Json, keyword: str, sharper: Any) -> _Bound | None:
    """The sharper one of a bound and its exclusive form."""
    exclusive = _EXCLUSIVE.get(keyword, "")
    found: list[_Bound] = []
    if _is_number(node.get(keyword)):
        found.append((node[keyword], keyword, node.get(exclusive) is True))
    if _is_number(node.get(exclusive)):
        found.append((node[exclusive], exclusive, True))
    if not found:
        return None
    limit = sharper(each[0] for each in found)
    return next(each for each in reversed(found) if each[0] == limit)


def _crossed(least: _Bound, most: _Bound) -> bool:
    return least[0] > most[0] or (least[0] == most[0] and (least[2] or most[2]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_values(node: Json, kinds: list[str]) -> Iterator[tuple[str, str]]:
    for keyword, values in (("enum", node.get("enum")), ("const", [node.get("const")])):
        if keyword not in node or not isinstance(values, list):
            continue
        if not values:
            yield keyword, "nothing can satisfy it: it has no values"
        elif kinds and not any(is_of(kind, value) for kind in kinds for value in values):
            subject = "none of its values is" if keyword == "enum" else "its value is not"
            yield keyword, f"nothing can satisfy it: {subject} of the type {' or '.join(kinds)}"


def _of_keys(node: Json) -> Iterator[tuple[str, str]]:
    properties, required = node.get("properties", {}), node.get("required")
    if not isinstance(properties, Mapping) or not isinstance(required, list):
        return
    shut = node.get("additionalProperties") is False and not node.get("patternProperties")
    for name in required:
        if properties.get(name) is False or (shut and name not in properties):
            why = "its schema is false" if name in properties else "additionalProperties is false"
            yield "required", f"no object can satisfy it: the key {name!r} is required, and {why}"
