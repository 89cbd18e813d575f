"""Sentences about what is wrong with a value; values are shown shortened, whatever their size."""

import json
from collections.abc import Callable, Iterable
from typing import Any

_LONGEST = 60
_MOST_LISTED = 8

_KINDS = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_FORMATS = {
    "date": "a date (YYYY-MM-DD)",
    "date-time": "a date with time and zone (2024-03-05T10:20:00Z)",
    "time": "a time with zone (10:20:00Z)",
    "duration": "a duration (P3DT2H)",
    "email": "an e-mail address",
    "hostname": "a host name",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "uri": "a full web address (with https:// or another scheme)",
    "uuid": "a UUID",
    "regex": "a regular expression",
}
#: Keyword -> what is said of a value, given what the keyword wants.
_SENTENCES: dict[str, Callable[[Any, Any], str]] = {
    "type": lambda wanted, value: f"{_of_kind(value)}; the schema wants {_kinds(wanted)}",
    "enum": lambda wanted, value: f"{shown(value)} is none of {_listed(wanted)}",
    "const": lambda wanted, value: f"{shown(value)} is not {shown(wanted)}, the only value allowed",
    "format": lambda wanted, value: f"{shown(value)} is not {_FORMATS.get(wanted, f'in the format {wanted}')}",
    "pattern": lambda wanted, value: f"{shown(value)} does not match the pattern {shown(wanted)}",
    "minimum": lambda wanted, value: f"{shown(value)} is less than {shown(wanted)}, the least allowed",
    "maximum": lambda wanted, value: f"{shown(value)} is more than {shown(wanted)}, the most allowed",
    "exclusiveMinimum": lambda wanted, value: f"{shown(value)} is not more than {shown(wanted)}",
    "exclusiveMaximum": lambda wanted, value: f"{shown(value)} is not less than {shown(wanted)}",
    "multipleOf": lambda wanted, value: f"{shown(value)} is not a multiple of {shown(wanted)}",
    "minLength": lambda wanted, value: f"{shown(value)} has {_counted(value, 'character')}; at least {wanted} are wanted",
    "maxLength": lambda wanted, value: f"{shown(value)} has {_counted(value, 'character')}; at most {wanted} are allowed",
    "minItems": lambda wanted, value: f"the list has {_counted(value, 'item')}; at least {wanted} are wanted",
    "maxItems": lambda wanted, value: f"the list has {_counted(value, 'item')}; at most {wanted} are allowed",
    "uniqueItems": lambda _, value: f"of the {len(value)} items some are equal; each may stand once",
    "minProperties": lambda wanted, value: f"the object has {_counted(value, 'field')}; at least {wanted} are wanted",
    "maxProperties": lambda wanted, value: f"the object has {_counted(value, 'field')}; at most {wanted} are allowed",
    "anyOf": lambda wanted, value: f"{shown(value)} fits none of the {len(wanted)} forms that the schema allows",
    "oneOf": lambda wanted, value: f"{shown(value)} must fit exactly one of the {len(wanted)} forms of the schema",
    "not": lambda _, value: f"{shown(value)} is what the schema excludes",
    "contains": lambda _, value: f"of the {len(value)} items not as many as wanted are of the kind that must be there",
}  # fmt: skip


def said(error: Any) -> str:
    """What an error of jsonschema means, as a sentence without its document's size."""
    keyword, wanted, value = error.validator, error.validator_value, error.instance
    if keyword == "required":
        return f"{shown(error.path[-1])} is missing; the schema requires it"
    if keyword == "additionalProperties":
        return f"{shown(error.path[-1])} is not a field of the schema"
    if keyword == "properties":
        return f"{shown(error.path[-1])} is a field that the schema allows no value"
    if keyword is None:
        return f"{shown(value)} stands where the schema allows nothing"
    sentence = _SENTENCES.get(keyword)
    return (
        sentence(wanted, value)
        if sentence
        else f"{shown(value)} breaks the schema's rule {keyword}"
    )


def shown(value: Any) -> str:
    """A value as a person reads it in a sentence: texts in quotes and cut, lists by their length."""
    if isinstance(value, dict):
        return f"an object with {_counted(value, 'field')}" if value else "an empty object"
    if isinstance(value, list | tuple):
        return f"a list of {_counted(value, 'item')}" if value else "an empty list"
    if isinstance(value, str):
        cut = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
        return shortened(json.dumps(cut, ensure_ascii=False))
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a whole number of about {value.bit_length() * 3 // 10} digits"
    return shortened(str(value), _LONGEST)


def shortened(text: str, longest: int = 300) -> str:
    """A text cut to a length, without characters that move a cursor or can't be written."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in cut)


def _counted(values: Any, name: str) -> str:
    return f"{len(values)} {name}" if len(values) == 1 else f"{len(values)} {name}s"


def _of_kind(value: Any) -> str:
    if value is None or isinstance(value, dict | list | tuple):
        return shown(value)
    names = {bool: "boolean", str: "string", int: "integer"}
    return f"{shown(value)} is {_KINDS[names.get(type(value), 'number')]}"


def _kinds(wanted: Any) -> str:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    return " or ".join(_KINDS.get(name, str(name)) for name in names)


def _listed(values: Iterable[Any]) -> str:
    listed = [shown(value) for value in values]
    more = len(listed) - _MOST_LISTED
    return ", ".join(listed[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
