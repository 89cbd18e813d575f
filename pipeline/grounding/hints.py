"""Hints: the list that is asked for behind the data, of where values were read that a search leaves open."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pipeline.errors import SchemaError
from pipeline.providers import Hint
from pipeline.schema import Schema

#: The name of the list; underscores are put before it until the user's schema has no such key.
_NAME: Final = "_quotes"
#: The form that costs least for each leaf that it adds to what the search locates by itself, of eight that were
#: measured (benchmarks/evidence.py hints): few words in place of whole lines, nothing of what is printed once, and
#: nothing in lists. Rows are aligned with the lines of the pages; entries for what is left open in them would locate
#: more, at as much for each leaf, and make the answer of a long table three times as long.
_QUOTES: Final[Mapping[str, Any]] = {
    "type": "array",
    "description": (
        "Where you read values that are printed in another form or at several places; nothing for other values, "
        "for null, or in lists. at: JSON Pointer (/seller/name). "
        "quote: the fewest words printed together that hold the value and tell its place from others, at most 12."
    ),
    "items": {
        "type": "object",
        "properties": {
            "at": {"type": "string"},
            "page": {"type": "integer"},
            "quote": {"type": "string"},
        },
        "required": ["at", "page", "quote"],
    },
}
#: What of an answer's list is read: more entries, or longer quotes, are no help in finding a value.
_MOST: Final = 5000
_LONGEST: Final = 1000
#: What of a root stays beside its properties where they stand behind a reference.
_KEPT: Final = ("$schema", "$id", "$defs", "definitions")
_INDEX: Final = re.compile(r"\[(\d{1,9})\]")


def with_quotes(schema: Schema) -> Schema:
    """The schema with the list of hints as the last property of its root; itself where that is no object with named keys.

    `take` knows the list by its description, also where `nullable` opened the schema to null later on.
    """
    root = schema.tree
    if root.type != "object" or not root.children:
        return schema
    name = _NAME
    while any(child.name == name for child in root.children):
        name = f"_{name}"
    kept = {key: schema.body[key] for key in _KEPT if key in schema.body}
    properties = {**root.schema["properties"], name: _QUOTES}
    asked = Schema(schema.name, {**kept, **root.schema, "properties": properties})
    try:
        return asked if asked.tree.children else schema
    except SchemaError:  # a reference was relative to where the properties stood
        return schema


def take(data: Any, schema: Schema) -> tuple[Any, tuple[Hint, ...]]:
    """An answer without its list of hints, and the hints. What of the list can't be read is no hint.

    Args:
        data: the answer, in the form of the user's schema.
        schema: the one that was asked; what has no such list is left as it is.

    """
    name = _asked(schema)
    if name is None or not isinstance(data, dict):
        return data, ()
    rest = {key: value for key, value in data.items() if key != name}
    given = data.get(name)
    entries = given[:_MOST] if isinstance(given, list) else ()
    hints = (_hint(entry) for entry in entries)
    return rest, tuple(hint for hint in hints if hint is not None)


def before_quotes(text: str, schema: Schema) -> str | None:
    """The JSON of an answer that ends within its list of hints, without that list; None of any other answer.

    The list comes last: cut evidence is not cut data. All keys that the schema names must stand before it.
    """
    name = _asked(schema)
    at = text.rfind(f'"{name}"') if name else -1
    if at < 0:
        return None
    whole = text[text.find("{") : at].rstrip().removesuffix(",") + "}"
    given = text[at + len(f'"{name}"') :].lstrip().removeprefix(":").lstrip()
    try:
        data = json.loads(whole)
    except (ValueError, RecursionError):
        return None  # the name stands within something else
    if not schema.body["properties"].keys() - {name} <= data.keys():
        return None  # a model may write its keys in another order: what is not there may have been cut off
    try:
        json.JSONDecoder().raw_decode(given)
    except (ValueError, RecursionError):
        return whole
    return None


def _asked(schema: Schema) -> str | None:
    """The name under which a schema asks for the list; None where it doesn't."""
    properties = schema.body.get("properties")
    named = properties.items() if isinstance(properties, Mapping) else ()
    told = _QUOTES["description"]
    return next(
        (
            key
            for key, body in named
            if isinstance(body, Mapping) and body.get("description") == told
        ),
        None,
    )


def _hint(entry: Any) -> Hint | None:
    """One entry of the list; None where it names no value or quotes nothing."""
    told = entry if isinstance(entry, Mapping) else {}
    at, quote, page = told.get("at"), told.get("quote"), told.get("page")
    if not (isinstance(at, str) and isinstance(quote, str) and 0 < len(quote) <= _LONGEST):
        return None
    number = page if isinstance(page, int) and not isinstance(page, bool) else 0
    return Hint(_pointer(at), quote, number)


def _pointer(at: str) -> str:
    """A JSON Pointer, also of what is written as a path (`lines[0].amount`)."""
    bare = at.strip().lstrip("#$")
    if "/" not in bare:
        bare = _INDEX.sub(r".\1", bare).replace(".", "/")
    return bare if bare.startswith("/") else f"/{bare}"
