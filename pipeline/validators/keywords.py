"""The JSON Schema validator in use: jsonschema's, with the keywords that could run away bounded."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pipeline.validators.messages import shown

#: Seconds for all patterns of one document together, and references followed: far beyond real ones.
_SECONDS = 1.0
_REFERENCES = 100_000


class TooSlow(Exception):
    """A document can't be judged in the time that a document has."""


class NotAPattern(Exception):
    """A pattern of the schema is not a regular expression."""


@dataclass(slots=True)
class _Left:
    """What one check may still spend."""

    seconds: float = _SECONDS
    references: int = _REFERENCES


_LEFT: ContextVar[_Left] = ContextVar("left")


@contextmanager
def limits() -> Iterator[None]:
    """Bound what happens inside, in seconds of patterns and references followed.

    Raises:
        TooSlow: from within, when a bound is passed.

    """
    token = _LEFT.set(_Left())
    try:
        yield
    finally:
        _LEFT.reset(token)


def compiled_for(body: Mapping[str, Any]) -> Any:
    """A jsonschema validator for a schema, by its `$schema`, that never fetches anything."""
    from jsonschema.validators import Draft202012Validator, extend, validator_for
    from referencing import Registry

    draft = validator_for(body, default=Draft202012Validator)
    had = draft.VALIDATORS
    # Draft 3 has other rules for properties, `required` among them.
    ours = _KEYWORDS if "required" in had else {"pattern": _pattern}
    keywords = {name: made for name, made in ours.items() if name in had}
    keywords |= {name: _counted(had[name]) for name in _REFERRING if name in had}
    patterns = _name_patterns(body)
    if patterns and "unevaluatedProperties" in had:
        keywords["unevaluatedProperties"] = _after(had["unevaluatedProperties"], patterns)
    validator = extend(draft, keywords)
    return validator(body, registry=Registry(), format_checker=_formats(draft.FORMAT_CHECKER))


def _search(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text, within the time that is left.

    Raises:
        TooSlow: the time is used up.
        NotAPattern: the pattern is no regular expression.

    """
    import regex  # type: ignore[import-untyped]  # it ships no type information

    left = _LEFT.get()
    begun = time.perf_counter()
    try:
        return regex.search(pattern, text, timeout=max(0.001, left.seconds)) is not None
    except TimeoutError:
        told = f"the pattern {shown(pattern)} takes too long to compare with {shown(text)}"
        raise TooSlow(told) from None
    except (regex.error, OverflowError) as error:
        raise NotAPattern(f"{shown(pattern)} is not a regular expression: {error}") from error
    finally:
        left.seconds -= time.perf_counter() - begun


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if validator.is_type(instance, "string") and not _search(pattern, instance):
        yield ValidationError("does not match")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for pattern, subschema in patterns.items():
            for name, value in instance.items():
                if _search(pattern, name):
                    yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, wanted: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    """As jsonschema has it, but one error for each property, at its place."""
    from jsonschema.exceptions import ValidationError

    if not validator.is_type(instance, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items():
        if name in named or any(_search(pattern, name) for pattern in patterns):
            continue
        if validator.is_type(wanted, "object"):
            yield from validator.descend(value, wanted, path=name)
        elif not wanted:
            yield ValidationError("is not allowed", path=(name,))


def _properties(
    validator: Any, properties: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[Any]:
    """As jsonschema has it, but a property that is `false` has its place too."""
    from jsonschema.exceptions import ValidationError

    if validator.is_type(instance, "object"):
        for name, subschema in properties.items():
            if name in instance and subschema is False:
                yield ValidationError("is not allowed", path=(name,))
            elif name in instance:
                yield from validator.descend(instance[name], subschema, path=name, schema_path=name)


def _required(validator: Any, names: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """As jsonschema has it, but at the place that the key would have."""
    from jsonschema.exceptions import ValidationError

    if validator.is_type(instance, "object"):
        for name in names:
            if name not in instance:
                yield ValidationError("is missing", path=(name,))


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[Any]:
    """As jsonschema has it, in linear time."""
    from jsonschema.exceptions import ValidationError

    several = wanted and validator.is_type(instance, "array")
    if several and len({_identity(item) for item in instance}) < len(instance):
        yield ValidationError("are not unique")


def _identity(value: Any) -> Any:
    """A hashable value that is equal for equal JSON values: 1 is 1.0, and true is not 1."""
    if isinstance(value, dict):
        return frozenset((key, _identity(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(map(_identity, value))
    return (type(value) is bool, value)


_KEYWORDS: dict[str, Any] = {
    "additionalProperties": _additional_properties,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "properties": _properties,
    "required": _required,
    "uniqueItems": _unique_items,
}
_REFERRING = ("$ref", "$dynamicRef", "$recursiveRef")


def _counted(keyword: Any) -> Any:
    """A reference keyword that counts: schemas that double at every step end."""

    def counted(validator: Any, reference: Any, instance: Any, schema: Any) -> Iterator[Any]:
        left = _LEFT.get()
        left.references -= 1
        if left.references < 0:
            raise TooSlow(f"the schema follows more than {_REFERENCES:,} references for this data")
        yield from keyword(validator, reference, instance, schema) or ()

    return counted


def _after(keyword: Any, patterns: frozenset[str]) -> Any:
    """`unevaluatedProperties`, once every name is known to be quickly compared with every pattern."""

    def after(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if validator.is_type(instance, "object"):
            for name in instance:
                for pattern in patterns:
                    _search(pattern, name)
        yield from keyword(validator, wanted, instance, schema) or ()

    return after


def _name_patterns(body: Any) -> frozenset[str]:
    """The patterns for property names anywhere in a schema."""
    found: set[str] = set()
    stack = [body]
    while stack:
        node = stack.pop()
        if isinstance(node, Mapping):
            patterns = node.get("patternProperties")
            found |= set(patterns) if isinstance(patterns, Mapping) else set()
            stack += node.values()
        elif isinstance(node, list):
            stack += node
    return frozenset(found)


def _formats(checker: Any) -> Any:
    """The draft's formats, with IRIs read as the URIs they stand for, and patterns that can't crash."""
    from jsonschema import FormatChecker

    formats = FormatChecker(formats=())
    formats.checkers = checker.checkers | {"regex": (_is_pattern, ())}
    if "idn-hostname" in checker.checkers:  # as old as IRIs: draft 7
        formats.checkers["iri"] = (_iri(checker, "uri"), ())
        formats.checkers["iri-reference"] = (_iri(checker, "uri-reference"), ())
    return formats


def _iri(checker: Any, uri: str) -> Any:
    """RFC 3987, section 3.1: an IRI becomes a URI by escaping what is not ASCII."""

    def is_iri(instance: object) -> bool:
        from urllib.parse import quote

        if not isinstance(instance, str):
            return True
        escaped = (char if char.isascii() else quote(char, errors="replace") for char in instance)
        return bool(checker.conforms("".join(escaped), uri))

    return is_iri


def _is_pattern(instance: object) -> bool:
    import regex

    if isinstance(instance, str):
        try:
            regex.compile(instance)
        except (regex.error, RecursionError, OverflowError):
            return False
    return True
