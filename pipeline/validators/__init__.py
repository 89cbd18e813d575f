"""Is the data right? JSON Schema with formats, then the pydantic model; each fault is a Finding."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from math import isfinite
from typing import Any

from pipeline.errors import SchemaError
from pipeline.results import Finding, at, escape
from pipeline.schema import Schema
from pipeline.validators.messages import said, shortened, shown

__all__ = ["check"]

#: More findings of one document help nobody; the rest is counted as one.
MOST_FINDINGS = 1000

_COMPILED: dict[str, Any] = {}
_MOST_COMPILED = 64


def check(schema: Schema, data: Any) -> list[Finding]:
    """Everything that is wrong with the data, in the schema's order; nothing found means valid.

    JSON Schema is read by the draft that its `$schema` names (2020-12 without one), formats are
    asserted, nothing is ever fetched. A missing key has the pointer that it would have. Then the
    pydantic model, if the schema came from one, says what JSON Schema did not say at that place.
    Rules are the JSON Schema keyword (`required`, `type`, `format` ...), `model:` with pydantic's type
    of error, `not_finite` (NaN, Infinity), `too_deep`, `too_large`, `too_slow` (a pattern or a schema that
    takes too long to decide) and `too_many` (the end of a list of 1000).

    Raises:
        SchemaError: a reference or a pattern of the schema can't be used.

    """
    found = list(islice(_findings(schema, data), MOST_FINDINGS + 1))
    if len(found) > MOST_FINDINGS:
        told = f"more than {MOST_FINDINGS} findings; the rest is not listed"
        found[-1] = Finding("too_many", "", told)
    return found


def _findings(schema: Schema, data: Any) -> Iterator[Finding]:
    yield from _not_finite(data)
    pointers: set[str] = set()
    unions: set[str] = set()
    for finding in _by_schema(schema, data):
        pointers.add(finding.pointer)
        if finding.rule in {"anyOf", "oneOf"}:
            unions.add(f"{finding.pointer}/")
        yield finding
    for finding in _by_model(schema.model_class, data):
        if finding.pointer not in pointers and not finding.pointer.startswith(tuple(unions)):
            yield finding


def _not_finite(data: Any) -> Iterator[Finding]:
    """NaN and Infinity are no JSON; a Decimal can be one too."""
    stack = [("", data)]
    while stack:
        pointer, value = stack.pop()
        if isinstance(value, dict):
            stack += [
                (f"{pointer}/{escape(str(key))}", item) for key, item in reversed(value.items())
            ]
        elif isinstance(value, list):
            stack += [(f"{pointer}/{i}", value[i]) for i in reversed(range(len(value)))]
        elif isinstance(value, float | Decimal) and not isfinite(value):
            yield Finding("not_finite", pointer, f"{value} is not a number that JSON has")


def _by_schema(schema: Schema, data: Any) -> Iterator[Finding]:
    from referencing.exceptions import Unresolvable

    from pipeline.validators.keywords import NotAPattern, TooSlow, limits

    try:
        with limits():
            for error in _validator(schema).iter_errors(data):
                for cause in _causes(error):
                    yield Finding(cause.validator or "not_allowed", _pointer(cause), said(cause))
    except RecursionError:
        yield Finding(
            "too_deep", "", "the data, or the schema for it, is nested too deeply to be checked"
        )
    except TooSlow as error:
        yield Finding("too_slow", "", str(error))
    except (ArithmeticError, ValueError):  # a float can't hold it, or Python refuses to print it
        yield Finding("too_large", "", "a number of the data is too large to be checked")
    except Unresolvable as error:
        told = f"schema {schema.name}: a $ref can't be resolved: {shortened(str(error))}"
        raise SchemaError(told) from error
    except NotAPattern as error:
        raise SchemaError(f"schema {schema.name}: {error}") from error


def _validator(schema: Schema) -> Any:
    """The compiled schema, kept by its hash."""
    compiled = _COMPILED.get(schema.sha256)
    if compiled is None:
        from pipeline.validators.keywords import compiled_for

        if len(_COMPILED) >= _MOST_COMPILED:
            _COMPILED.clear()
        compiled = _COMPILED[schema.sha256] = compiled_for(schema.body)
    return compiled


def _causes(error: Any) -> Iterator[Any]:
    """The error, or of an `anyOf`/`oneOf` what is wrong with the one branch that was meant.

    A branch of another type was not meant: of `anyOf: [date, null]` a text meant the date.
    """
    if error.validator not in {"anyOf", "oneOf"} or not error.context:
        yield error
        return
    branches: dict[Any, list[Any]] = {}
    for inner in error.context:
        if inner.schema_path:  # a branch that is `false` has none
            branches.setdefault(inner.schema_path[0], []).append(inner)
    meant = [branch for branch in branches.values() if not any(map(_is_of_another_kind, branch))]
    if len(meant) != 1:
        yield error
        return
    for inner in meant[0]:
        yield from _causes(inner)


def _is_of_another_kind(error: Any) -> bool:
    return not error.path and error.validator in {"type", "const", "enum", None}


def _by_model(model: type[Any] | None, data: Any) -> Iterator[Finding]:
    """What a pydantic model, with the validators its author wrote, says to the data."""
    if model is None:
        return
    from pydantic import ValidationError

    try:
        model.model_validate(data)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False):
            told = shortened(fault["msg"].removeprefix("Value error, "))
            pointer = _located(data, fault["loc"])
            yield Finding(f"model:{fault['type']}", pointer, f"{shown(fault['input'])}: {told}")
    except RecursionError:
        yield Finding("too_deep", "", "the data is nested too deeply for the model")
    except Exception as error:  # noqa: BLE001, the model's own code may raise anything
        told = f"the model's own check failed with {type(error).__name__}: {shortened(str(error))}"
        yield Finding("model:error", "", told)


def _pointer(error: Any) -> str:
    return "".join(f"/{escape(str(token))}" for token in error.absolute_path)


def _located(data: Any, location: Iterable[int | str]) -> str:
    """A location of pydantic's as a JSON Pointer: names of union branches and validators are left out."""
    tokens = list(location)
    pointer = ""
    for number, token in enumerate(tokens):
        longer = f"{pointer}/{escape(str(token))}"
        try:
            at(data, longer)
        except (LookupError, TypeError, ValueError):
            if number < len(tokens) - 1 or not _is_open(data, pointer):
                continue  # not a key of the data
        pointer = longer
    return pointer


def _is_open(data: Any, pointer: str) -> bool:
    """Whether a key may be missing here."""
    return isinstance(at(data, pointer), dict)
