"""The user's schema in Gemini's dialect: what `responseJsonSchema` enforces stays, the rest goes into words.

Accepted and used here: `type format title description enum items prefixItems anyOf properties
additionalProperties required propertyOrdering` (the list in the reference of `GenerationConfig`,
googleapis commit f8291d2b; `null` inside a type list: the structured-output guide). Bounds are on the
service's list too, but sums of large `maxItems` are answered with a bare 400 (googleapis/python-genai
issue 2170), so that no bound is sent; the full schema is checked on our side.

The compiled schema is never stricter than the user's, with one exception: where a schema has
`properties` or `items` and no `type`, it is read as an object or an array, as everywhere in this product.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pipeline.errors import SchemaError
from pipeline.schema import Schema

Json = dict[str, Any]
Seen = tuple[str, ...]

#: Formats that the service knows (structured-output guide); others become words.
_FORMATS: Final = frozenset({"date-time", "date", "time"})
#: How far references are followed: how often one may stand on a path, how many may be nested, and
#: how many sub-schemas may come of it. The first that fits is taken; very large schemas may be refused.
_REACH: Final = (
    (3, 40, 1000),
    (2, 40, 2000),
    (1, 40, 4000),
    (1, 6, 4000),
    (1, 3, 4000),
    (0, 0, 10000),
)
#: Longer patterns and lists of values say nothing to a model.
_LONGEST_WORDS: Final = 200
_SHAPE: Final = frozenset(
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
_WORDS: Final[dict[str, Callable[[Any], str]]] = {
    "minLength": lambda n: f"at least {n} characters",
    "maxLength": lambda n: f"at most {n} characters",
    "pattern": lambda p: f"matches the regular expression {p}",
    "minimum": lambda n: f"at least {n}",
    "maximum": lambda n: f"at most {n}",
    "exclusiveMinimum": lambda n: f"more than {n}",
    "exclusiveMaximum": lambda n: f"less than {n}",
    "multipleOf": lambda n: f"a multiple of {n}",
    "minItems": lambda n: f"at least {n} items",
    "maxItems": lambda n: f"at most {n} items",
    "uniqueItems": lambda wanted: "no item twice" if wanted else "",
    "minProperties": lambda n: f"at least {n} keys",
    "maxProperties": lambda n: f"at most {n} keys",
    "format": lambda name: "" if name in _FORMATS else f"in the format {name}",
}


def compile(schema: Schema) -> Json:  # noqa: A001, it is called as gemini.compile
    """What is sent as `responseJsonSchema`.

    References are inlined; one that comes back to itself is followed a few times, then stands as an
    open object. The same schema always gives the same result; the user's own is not changed.

    Raises:
        SchemaError: it is nested too deeply.

    """
    for loops, depth, most in _REACH:
        try:
            return _Compiler(schema.body, loops, depth, most).emit(schema.body, ())
        except _TooLarge:
            continue
        except RecursionError as error:
            raise SchemaError(f"schema {schema.name}: nested too deeply") from error
    return {"type": "object"}


class _TooLarge(Exception):
    """More sub-schemas than allowed came of the references."""


class _Compiler:
    """One pass over a schema: its root for references, and how far they are followed."""

    def __init__(self, root: Mapping[str, Any], loops: int, depth: int, most: int) -> None:
        self.root = root
        self.loops = loops
        self.depth = depth
        self.left = most
        # Up to draft 7 a $ref stands alone: what is written beside it does not count.
        self.ref_alone = bool(re.search(r"draft-0[3-7]", str(root.get("$schema", ""))))
        self.anchors = dict(_anchors(root))

    def emit(self, given: Any, seen: Seen) -> Json:
        """Compile one sub-schema; `seen` are the references that led here."""
        return self._emit(*self._flat(given, seen))

    def _emit(self, schema: Json, seen: Seen) -> Json:
        options = self._options(schema, seen)
        if options:
            return _described(_choice(self._emit(*option) for option in options), schema, words=())
        kinds = _kinds(schema)
        if values := _enumerated(schema.get("enum"), kinds):
            return _described(_choice(values), schema, _words(schema))
        return _described(
            _choice(self._shape(k, schema, seen) for k in kinds), schema, _words(schema)
        )

    def _flat(self, given: Any, seen: Seen) -> tuple[Json, Seen]:
        """A sub-schema with its references followed and its `allOf` merged, in today's keywords."""
        self.left -= 1
        if self.left < 0:
            raise _TooLarge
        own: Json = dict(given) if isinstance(given, Mapping) else {}
        merged: Json = {}
        reference = own.pop("$ref", None)
        if isinstance(reference, str):
            target, seen = self._follow(reference, seen)
            merged, seen = self._flat(target, seen)
            if self.ref_alone:
                own = {key: own[key] for key in ("title", "description") if key in own}
        for part in _schemas(own.pop("allOf", ())):
            flat, seen = self._flat(part, seen)
            merged = _merge(merged, flat)
        return _merge(merged, _modern(own)), seen

    def _follow(self, reference: str, seen: Seen) -> tuple[Any, Seen]:
        target = self._target(reference)
        if seen.count(reference) < self.loops and len(seen) < self.depth:
            return target, (*seen, reference)
        kept = ("type", "title", "description")
        return {k: target[k] for k in kept if isinstance(target, Mapping) and k in target}, seen

    def _target(self, reference: str) -> Any:
        """What a reference points to; anything (`{}`) where that is not in this schema."""
        if reference in self.anchors:
            return self.anchors[reference]
        if reference != "#" and not reference.startswith("#/"):
            return {}
        from urllib.parse import unquote

        node: Any = self.root
        for token in unquote(reference).split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(name)] if isinstance(node, list) else node[name]
            except (LookupError, ValueError, TypeError):
                return {}
        return node

    def _options(self, schema: Json, seen: Seen) -> list[tuple[Json, Seen]]:
        """The alternatives of a flat schema, each merged with what stands beside them.

        None where there are none, or where they say nothing about the shape (`required` alone): what
        can't be told apart by its shape is left to our own validation.
        """
        base = {
            key: value
            for key, value in schema.items()
            if key not in {"anyOf", "title", "description"}
        }
        options = [self._flat(option, seen) for option in _schemas(schema.get("anyOf", ()))]
        if not all(_SHAPE & option.keys() for option, _ in options):
            return []
        possible = [(option, path) for option, path in options if _compatible(base, option)]
        return [(_merge(base, option), path) for option, path in possible]

    def _shape(self, kind: str, schema: Json, seen: Seen) -> Json:
        shape: Json = {"type": kind}
        if kind == "object":
            shape |= self._object(schema, seen)
        elif kind == "array":
            shape |= self._array(schema, seen)
        elif kind == "string" and schema.get("format") in _FORMATS:
            shape["format"] = schema["format"]
        return shape

    def _object(self, schema: Json, seen: Seen) -> Json:
        shape: Json = {}
        properties = {
            name: _untitled(self.emit(sub, seen), name)
            for name, sub in schema.get("properties", {}).items()
            if sub is not False
        }
        if properties:
            shape["properties"] = properties
            shape["propertyOrdering"] = list(properties)
        if required := [name for name in schema.get("required", ()) if name in properties]:
            shape["required"] = required
        others = self._others(schema, seen)
        return shape if others is None else shape | {"additionalProperties": others}

    def _others(self, schema: Json, seen: Seen) -> Json | bool | None:
        """What keys beside the named ones may hold; None where nothing is said."""
        given = schema.get("additionalProperties")
        patterns = schema.get("patternProperties")
        if patterns:
            # Pattern keys can't be told; they must not be shut out with all the others.
            return (
                _choice(self.emit(sub, seen) for sub in patterns.values()) or True
                if given is False
                else None
            )
        if given is None or isinstance(given, bool):
            return given
        return self.emit(given, seen) or True

    def _array(self, schema: Json, seen: Seen) -> Json:
        shape: Json = {}
        if first := [self.emit(sub, seen) for sub in schema.get("prefixItems", ())]:
            shape["prefixItems"] = first
        if isinstance(schema.get("items"), Mapping) and (items := self.emit(schema["items"], seen)):
            shape["items"] = items
        return shape


def _modern(schema: Json) -> Json:
    """Older and equal spellings as one: `const`, `oneOf`, a list of `items`, boolean exclusive bounds."""
    if "const" in schema:
        schema = _merge(schema, {"enum": [schema.pop("const")]})
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


def _merge(a: Json, b: Json) -> Json:
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
    telling = _SHAPE | {"$ref", "allOf", "oneOf", "const"}
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
    left, right = _listed(a), _listed(b)
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


def _compatible(base: Json, option: Json) -> bool:
    if "type" not in base or "type" not in option:
        return True
    left, right = set(_listed(base["type"])), set(_listed(option["type"]))
    return bool(left & right) or {"integer", "number"} <= left | right


def _kinds(schema: Json) -> list[str]:
    """The types that a flat schema allows, as written or as its keywords show; none means any."""
    kinds = _listed(schema.get("type", ()))
    if "number" in kinds:
        kinds = [kind for kind in kinds if kind != "integer"]
    if kinds or "enum" in schema:
        return kinds
    has_object, has_array = "properties" in schema, bool({"items", "prefixItems"} & schema.keys())
    return (
        ["object"]
        if has_object and not has_array
        else ["array"]
        if has_array and not has_object
        else []
    )


def _enumerated(values: Any, kinds: list[str]) -> list[Json]:
    """One shape for each kind of value in an `enum`: the service takes strings and numbers only."""
    groups: dict[str, list[Any]] = {}
    for value in values if isinstance(values, list) else ():
        kind = _kind(value)
        if not kinds or kind in kinds or (kind == "integer" and "number" in kinds):
            groups.setdefault("number" if kind == "integer" else kind, []).append(value)
    if (numbers := groups.get("number")) and all(_kind(value) == "integer" for value in numbers):
        groups = {"integer" if kind == "number" else kind: group for kind, group in groups.items()}
    return [
        {"type": kind, "enum": group} if kind in {"string", "number", "integer"} else {"type": kind}
        for kind, group in groups.items()
    ]


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    names = {str: "string", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _choice(shapes: Iterable[Json]) -> Json:
    """One of several shapes: spliced, each once, null last; `{}` where one of them is anything."""
    spliced = [
        inner
        for shape in shapes
        for inner in (shape["anyOf"] if shape.keys() == {"anyOf"} else [shape])
    ]
    if {} in spliced:
        return {}
    once = list({json.dumps(shape): shape for shape in spliced}.values())
    others = [shape for shape in once if shape != {"type": "null"}]
    if len(others) == len(once):
        return once[0] if len(once) == 1 else {"anyOf": once} if once else {}
    if len(others) == 1 and isinstance(others[0].get("type"), str) and "enum" not in others[0]:
        return others[0] | {"type": [others[0]["type"], "null"]}
    return {"anyOf": [*others, {"type": "null"}]} if others else {"type": "null"}


def _described(shape: Json, schema: Json, words: Iterable[str]) -> Json:
    """A shape with its title, and its description followed by the words for what is not enforced."""
    said = schema.get("description") or shape.get("description") or ""
    added = "; ".join(words)
    text = f"{said} ({added})" if said and added else said or added
    named = {"title": schema.get("title"), "description": text}
    return shape | {key: value for key, value in named.items() if value}


def _words(schema: Json) -> list[str]:
    words = [_WORDS[key](value) for key, value in schema.items() if key in _WORDS]
    if missing := [
        name for name in schema.get("required", ()) if name not in schema.get("properties", {})
    ]:
        words.append(f"has the keys {', '.join(missing)}")
    if patterns := schema.get("patternProperties"):
        words.append(f"keys match {' or '.join(patterns)}")
    values = schema.get("enum")
    if isinstance(values, list) and any(
        _kind(value) in {"boolean", "array", "object"} for value in values
    ):
        words.append(f"one of {json.dumps(values, ensure_ascii=False)}")
    return [text for text in words if 0 < len(text) <= _LONGEST_WORDS]


def _untitled(shape: Json, name: str) -> Json:
    """Without a title that only repeats the key, as pydantic writes them: it costs tokens and says nothing."""
    if _letters(shape.get("title", "")) == _letters(name):
        return {key: value for key, value in shape.items() if key != "title"}
    return shape


def _letters(text: Any) -> str:
    return re.sub(r"[\W_]", "", str(text)).lower()


def _listed(kinds: Any) -> list[str]:
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _schemas(given: Any) -> list[Any]:
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
