"""One sub-schema at a time, flat: references followed, `allOf` merged, older spellings in today's words."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

Json = dict[str, Any]
#: The references that led to a place.
Seen = tuple[str, ...]

#: Keywords that say something about the shape of a value.
SHAPE: Final = frozenset(
    {
        "type",
        "properties",
        "items",
        "prefixItems",
        "enum",
        "anyOf",
        "additionalProperties",
        "patternProperties",
    }
)


class TooLarge(Exception):
    """More sub-schemas than allowed came of the references."""


class Flat:
    """A schema's root for its references, and how far they are followed.

    `loops` is how often one reference may stand on a path, `depth` how many may be nested, `most`
    how many sub-schemas may come of them.
    """

    def __init__(self, root: Mapping[str, Any], loops: int, depth: int, most: int) -> None:
        self.root = root
        self.loops = loops
        self.depth = depth
        self.left = most
        # Up to draft 7 a $ref stands alone: what is written beside it does not count.
        self.ref_alone = bool(re.search(r"draft-0[3-7]", str(root.get("$schema", ""))))
        self.anchors = dict(_anchors(root))
        #: The whole schema by its own address, which its references may name.
        self.resources = {str(root["$id"]).rstrip("#"): root} if "$id" in root else {}

    def flat(self, given: Any, seen: Seen) -> tuple[Json, Seen]:
        """A sub-schema with its references followed and its `allOf` merged, in today's keywords.

        Raises:
            TooLarge: there are more of them than may be.

        """
        self.left -= 1
        if self.left < 0:
            raise TooLarge
        own: Json = dict(given) if isinstance(given, Mapping) else {}
        merged: Json = {}
        reference = own.pop("$ref", None)
        if isinstance(reference, str):
            target, seen = self._follow(reference, seen)
            merged, seen = self.flat(target, seen)
            if self.ref_alone:
                own = {key: own[key] for key in ("title", "description") if key in own}
        for part in schemas(own.pop("allOf", ())):
            flat, seen = self.flat(part, seen)
            merged = merge(merged, flat)
        return merge(merged, _modern(own)), seen

    def _follow(self, reference: str, seen: Seen) -> tuple[Any, Seen]:
        target = self.target(reference)
        if seen.count(reference) < self.loops and len(seen) < self.depth:
            return target, (*seen, reference)
        kept = ("type", "title", "description")
        return {k: target[k] for k in kept if isinstance(target, Mapping) and k in target}, seen

    def target(self, reference: str) -> Any:
        """What a reference points to; anything (`{}`) where that is not in this schema."""
        from urllib.parse import unquote, urljoin

        if reference in self.anchors:
            return self.anchors[reference]
        base, _, pointer = reference.partition("#")
        if pointer and not pointer.startswith("/"):
            return {}
        address = urljoin(str(self.root.get("$id", "")), base)
        node: Any = self.root if not base else self.resources.get(address, {})
        for token in unquote(pointer).split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(name)] if isinstance(node, list) else node[name]
            except (LookupError, ValueError, TypeError):
                return {}
        return node


def _modern(schema: Json) -> Json:
    """Older and equal spellings as one: `const`, `oneOf`, a list of `items`, boolean exclusive bounds."""
    if "const" in schema:
        schema = merge(schema, {"enum": [schema.pop("const")]})
    one_of = schema.pop("oneOf", None)
    if isinstance(one_of, list):
        schema.setdefault("anyOf", one_of)
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema["additionalItems"]
    for old, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(old), bool):
            exclusive = schema.pop(old)
            if exclusive and bound in schema:
                schema[old] = schema.pop(bound)
    return schema


def merge(a: Json, b: Json) -> Json:
    """What holds for both; where that can't be written in one schema, something looser."""
    both = a | b
    for key in a.keys() & b.keys():
        both[key] = _MERGE.get(key, _last)(a[key], b[key])
    if "prefixItems" in a and "prefixItems" in b:
        both.pop("items", None)  # the rest begins at another place in each
    return both


def _last(_: Any, b: Any) -> Any:
    return b


def _first(a: Any, _: Any) -> Any:
    return a


def _merge_options(a: list[Any], b: list[Any]) -> list[Any]:
    """One of two lists of alternatives: the first that says something about shapes."""
    telling = SHAPE | {"$ref", "allOf", "oneOf", "const"}
    return a if any(isinstance(option, Mapping) and telling & option.keys() for option in a) else b


def _merge_each(a: Mapping[str, Any], b: Mapping[str, Any]) -> Json:
    return {
        **a,
        **{name: _merge_both(a[name], sub) if name in a else sub for name, sub in b.items()},
    }


def _merge_both(a: Any, b: Any) -> Any:
    if a is False or b is False:
        return False
    return {"allOf": [a, b]}


def _merge_required(a: Iterable[str], b: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*a, *b]))


def _merge_types(a: str | list[str], b: str | list[str]) -> str | list[str]:
    left, right = listed(a), listed(b)
    kept = [kind for kind in left if kind in right or (kind == "integer" and "number" in right)]
    kept += [
        "integer"
        for kind in right
        if kind == "integer" and "number" in left and "integer" not in left
    ]
    return kept or a


def _merge_values(a: list[Any], b: list[Any]) -> list[Any]:
    known = {_identity(value) for value in b}
    return [value for value in a if _identity(value) in known] or a


_MERGE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "type": _merge_types,
    "enum": _merge_values,
    "required": _merge_required,
    "properties": _merge_each,
    "patternProperties": _merge_each,
    "additionalProperties": _merge_both,
    "items": _merge_both,
    "prefixItems": _first,
    "anyOf": _merge_options,
}


def _identity(value: Any) -> str:
    """Equal for values that JSON Schema calls equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)


def only(node: Mapping[str, Any], *keys: str) -> Json:
    """Of a node, some keys."""
    return {key: node[key] for key in keys if key in node}


def listed(kinds: Any) -> list[str]:
    """A `type`, which may be one name, as a list."""
    return [kinds] if isinstance(kinds, str) else list(kinds)


def schemas(given: Any) -> list[Any]:
    """A list of sub-schemas without those that nothing can satisfy."""
    return [sub for sub in given if sub is not False] if isinstance(given, list) else []


def _anchors(root: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Sub-schemas by `#name`: `$anchor`, and `$id: "#name"` as up to draft 7."""
    stack: list[Any] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Mapping):
            for name in (node.get("$anchor"), node.get("$dynamicAnchor"), node.get("$id")):
                if isinstance(name, str) and "/" not in name:
                    yield f"#{name.removeprefix('#')}", node
            stack.extend(
                value
                for key, value in node.items()
                if key not in {"enum", "const", "default", "examples"}
            )
        elif isinstance(node, list):
            stack.extend(node)
