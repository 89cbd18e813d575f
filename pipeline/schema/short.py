"""The short form of a schema: `'vendor, total float, date'` becomes a JSON Schema."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.errors import SchemaError

_EXAMPLE = "'vendor, total float: amount to pay, date, tags str[]'"
_NAME = re.compile(r"[^\W\d][\w-]*")
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"

#: type word -> what it says. Documents rarely print a time zone or the scheme of an address, so
#: `time`, `datetime` and `url` don't ask for one: the local formats of the OpenAPI format registry
#: with a pattern that enforces them, and `uri-reference` (RFC 3986), which `www.acme.example` is.
TYPES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "str": {"type": "string"},
        "int": {"type": "integer"},
        "float": {"type": "number"},
        "bool": {"type": "boolean"},
        "date": {"type": "string", "format": "date"},
        "datetime": {
            "type": "string",
            "format": "date-time-local",
            "pattern": rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}$",
        },
        "time": {"type": "string", "format": "time-local", "pattern": f"^{_CLOCK}$"},
        "email": {"type": "string", "format": "email"},
        "url": {"type": "string", "format": "uri-reference"},
    }
)
#: Fields of these names have that type when none is given.
_OWN_TYPE = frozenset({"date", "datetime", "time", "email", "url"})


def parse(text: str) -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of fields in the short form.

    Fields stand between commas, or one on a line (then descriptions may hold commas). A field is
    `name [type] [: description]`; a type is one of `TYPES`, or with `[]` behind it a list of those.
    Every field is required; a value that the document does not say is null, a list of none is empty.

    Raises:
        SchemaError: there is no field, or one of them is not of that form or there twice.

    """
    pieces = text.splitlines() if "\n" in text.strip() else text.split(",")
    fields = [field for piece in pieces if (field := piece.strip().rstrip(",").rstrip())]
    if not fields:
        raise SchemaError(f"a schema in the short form has at least one field, like {_EXAMPLE}")
    properties: dict[str, Any] = {}
    for field in fields:
        name, value = _field(field)
        if name in properties:
            raise SchemaError(f"the field {name!r} is there twice in {text!r}")
        properties[name] = value
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def own_type(name: str) -> str:
    """The type of a field of which none is given."""
    return name if name in _OWN_TYPE else "str"


def _field(field: str) -> tuple[str, dict[str, Any]]:
    """Name and sub-schema of one field."""
    head, _, description = (part.strip() for part in field.partition(":"))
    name, *words = head.split() or [""]
    if not _NAME.fullmatch(name):
        raise SchemaError(
            f"the field {field!r}: {name!r} is not a name (a letter, then letters, digits, _ and -); "
            f"write fields like {_EXAMPLE}, or one on a line when a description holds a comma"
        )
    word = " ".join(words) or own_type(name)
    kind = TYPES.get(word.removesuffix("[]"))
    if kind is None:
        raise SchemaError(
            f"the field {field!r}: {word!r} is not a type; types are {', '.join(TYPES)}, or a list of "
            f"them (str[]), and a name is one word; write fields like {_EXAMPLE}"
        )
    value: dict[str, Any] = (
        {"type": "array", "items": dict(kind)}
        if word.endswith("[]")
        else {**kind, "type": [kind["type"], "null"]}
    )
    return name, value | ({"description": description} if description else {})
