"""The outline of a schema: what a service can enforce stays as structure, the rest goes into words.

Every dialect is made of it. Its keywords are those of Gemini's `responseJsonSchema`: `type format title
description enum items prefixItems anyOf properties additionalProperties required propertyOrdering` (the
list in the reference of `GenerationConfig`, googleapis commit f8291d2b; `null` inside a type list: the
structured-output guide). Bounds are on that list too, but sums of large `maxItems` are answered with a
bare 400 (googleapis/python-genai issue 2170), so that no bound is kept; the full schema is checked on our side.

An outline is never stricter than the user's schema, with one exception: where a schema has `properties`
or `items` and no `type`, it is read as an object or an array, as everywhere in this product.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from pipeline.errors import SchemaError
from pipeline.schema import Schema
from pipeline.schema.dialects.flat import SHAPE, Flat, Json, Seen, TooLarge, listed, merge, schemas

#: Formats that all services know (structured-output guides of Google and OpenAI); others become words.
FORMATS: Final = frozenset({"date-time", "date", "time"})
#: How far references are followed: how often one may stand on a path, how many may be nested, and
#: how many sub-schemas may come of it. From the richest outline to the poorest.
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


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


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
    "contains": lambda one: f"one item at least matches {_json(one)}",
    "minProperties": lambda n: f"at least {n} keys",
    "maxProperties": lambda n: f"at most {n} keys",
    "propertyNames": lambda names: f"keys match {_json(names)}",
    "dependentRequired": lambda keys: f"keys that need others: {_json(keys)}",
    "dependentSchemas": lambda keys: f"keys that need more: {_json(keys)}",
    "not": lambda other: f"must not match {_json(other)}",
    "format": lambda name: "" if name in FORMATS else f"in the format {name}",
}
#: The keywords that go along as words only.
WORDS: Final = frozenset({*_WORDS, "if", "then", "else"})


def outlines(schema: Schema) -> Iterator[Json]:
    """The outlines of a schema, from the richest to the poorest.

    References are inlined; one that comes back to itself is followed a few times, then stands as an
    open object. The same schema always gives the same outlines; the user's own is not changed.

    Raises:
        SchemaError: it is nested too deeply.

    """
    try:
        text = json.dumps(schema.body)
        for reach in _REACH:
            if (outline := _outline(text, *reach)) is not None:
                yield outline
    except RecursionError as error:
        raise SchemaError(f"schema {schema.name}: nested too deeply") from error
    yield {"type": "object"}


@lru_cache(maxsize=64)
def _outline(text: str, loops: int, depth: int, most: int) -> Json | None:
    """The outline of a schema (as JSON) within a reach, not to be changed; None where that is too large."""
    body = json.loads(text)
    try:
        return _Outline(body, loops, depth, most).emit(body, ())
    except TooLarge:
        return None


class _Outline(Flat):
    """One pass over a schema."""

    def emit(self, given: Any, seen: Seen) -> Json:
        """Compile one sub-schema; `seen` are the references that led here."""
        return self._emit(*self.flat(given, seen))

    def _emit(self, schema: Json, seen: Seen) -> Json:
        options = self._options(schema, seen)
        if options:
            return described(choice(self._emit(*option) for option in options), schema, words=())
        kinds = _kinds(schema)
        if values := _enumerated(schema.get("enum"), kinds):
            return described(choice(values), schema, _words(schema))
        return described(
            choice(self._shape(k, schema, seen) for k in kinds), schema, _words(schema)
        )

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
        options = [self.flat(option, seen) for option in schemas(schema.get("anyOf", ()))]
        if not all(SHAPE & option.keys() for option, _ in options):
            return []
        possible = [(option, path) for option, path in options if _compatible(base, option)]
        return [(merge(base, option), path) for option, path in possible]

    def _shape(self, kind: str, schema: Json, seen: Seen) -> Json:
        shape: Json = {"type": kind}
        if kind == "object":
            shape |= self._object(schema, seen)
        elif kind == "array":
            shape |= self._array(schema, seen)
        elif kind == "string" and schema.get("format") in FORMATS:
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
                choice(self.emit(sub, seen) for sub in patterns.values()) or True
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


def _compatible(base: Json, option: Json) -> bool:
    if "type" not in base or "type" not in option:
        return True
    left, right = set(listed(base["type"])), set(listed(option["type"]))
    return bool(left & right) or {"integer", "number"} <= left | right


def _kinds(schema: Json) -> list[str]:
    """The types that a flat schema allows, as written or as its keywords show; none means any."""
    kinds = listed(schema.get("type", ()))
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


def choice(shapes: Iterable[Json]) -> Json:
    """One of several shapes: spliced, each once, null last; `{}` where one of them is anything."""
    spliced = [
        inner
        for shape in shapes
        for inner in (shape["anyOf"] if shape.keys() == {"anyOf"} else [shape])
    ]
    if len(spliced) == 1:
        return spliced[0]
    if {} in spliced:
        return {}
    once = list({json.dumps(shape): shape for shape in spliced}.values())
    others = [shape for shape in once if shape != {"type": "null"}]
    if len(others) == len(once):
        return once[0] if len(once) == 1 else {"anyOf": once} if once else {}
    if len(others) == 1 and isinstance(others[0].get("type"), str) and "enum" not in others[0]:
        return others[0] | {"type": [others[0]["type"], "null"]}
    return {"anyOf": [*others, {"type": "null"}]} if others else {"type": "null"}


def described(shape: Json, schema: Json, words: Iterable[str]) -> Json:
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
    if "if" in schema and {"then", "else"} & schema.keys():
        sides = [f"{key} {_json(schema[key])}" for key in ("if", "then", "else") if key in schema]
        words.append(" ".join(sides))
    if patterns := schema.get("patternProperties"):
        words.append(f"keys match {' or '.join(patterns)}")
    values = schema.get("enum")
    if isinstance(values, list) and any(
        _kind(value) in {"boolean", "array", "object"} for value in values
    ):
        words.append(f"one of {_json(values)}")
    return [text for text in words if 0 < len(text) <= _LONGEST_WORDS]


def _untitled(shape: Json, name: str) -> Json:
    """Without a title that only repeats the key, as pydantic writes them: it costs tokens and says nothing."""
    if _letters(shape.get("title", "")) == _letters(name):
        return {key: value for key, value in shape.items() if key != "title"}
    return shape


def _letters(text: Any) -> str:
    return re.sub(r"[\W_]", "", str(text)).lower()
