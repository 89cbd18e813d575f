"""The user's schema as each service takes it: `gemini`, `gemini-openapi` and `openai`, whole or reduced.

`flat.py` follows references and merges, `outline.py` makes the outline that all dialects share,
`smaller.py` cuts it down, `closed.py` shuts its open places; `openapi.py` and `openai.py` write it out.
Gemini's `responseJsonSchema` is the outline itself.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal, get_args

from pipeline.errors import SchemaError
from pipeline.schema import Schema
from pipeline.schema.dialects import openai, openapi
from pipeline.schema.dialects.closed import restored
from pipeline.schema.dialects.flat import Json
from pipeline.schema.dialects.outline import outlines
from pipeline.schema.dialects.smaller import cut, folded, nodes, reduced, states, without_long_enums

__all__ = [
    "DIALECTS",
    "Dialect",
    "Level",
    "compile",
    "is_whole",
    "listed",
    "openai",
    "restore",
    "size",
]

Dialect = Literal["gemini", "gemini-openapi", "openai"]
Level = Literal["full", "reduced", "none"]
DIALECTS: Final[tuple[Dialect, ...]] = get_args(Dialect)

#: Bytes that a small schema may grow to when its references are inlined: about 2,000 tokens, what two
#: pages at high resolution cost. Above that, and above what the user wrote, equal parts are sent once;
#: what is then more than twice as much is cut (strict dialects say of every key that it may be null).
_SMALL: Final = 8192
_GROWTH: Final = 2
#: How an outline that does not fit is cut: levels of objects and arrays, values in an enum.
_CUTS: Final = ((None, None), (None, 250), (None, 50), (12, 50), (8, 50), (6, 20), (4, 10), (2, 10))
#: A reduced outline: 4 levels, the lowest limit that anybody met (Portkey-AI/gateway pull request 1616),
#: and 100 properties, the lowest that a service documented (OpenAI, 2024).
_REDUCED_DEPTHS: Final = (4, 3, 2, 1)
_REDUCED_PROPERTIES: Final = 100
#: What part of the bytes of a large schema a reduced one of as many states may have.
_LESS: Final = 0.75
#: More keys at one level than this are asked for as a plain object.
_MOST_KEYS: Final = 1000
_OPEN: Final[Json] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class _Wire:
    """A dialect: how it is written, whether parts may be sent once and referred to, what it must keep within."""

    emit: Callable[[Json], Json]
    folds: bool = True
    prepare: Callable[[Json], Json] = lambda outline: outline
    fits: Callable[[Json], bool] = lambda sent: True


_WIRES: Final[dict[Dialect, _Wire]] = {
    "gemini": _Wire(lambda outline: outline),
    "gemini-openapi": _Wire(openapi.emit, folds=False),
    "openai": _Wire(openai.emit, prepare=openai.told_apart, fits=openai.fits),
}
#: What was compiled, by schema, dialect and level.
_CHOSEN: dict[tuple[str, Dialect, Level], tuple[Json, Json]] = {}
_MOST_CHOSEN: Final = 64


def compile(  # noqa: A001, it is called as dialects.compile
    schema: Schema, dialect: Dialect = "gemini", level: Level = "full"
) -> Json | None:
    """What is sent of a schema; None at the level `none`.

    The same schema always gives the same result; the user's own is not changed. References are
    inlined; where that makes it large, parts that stand at several places are sent once, under
    `$defs` (not in `gemini-openapi`, which has none), and what is still too large or nested too
    deeply is left open at its deepest places, its keys said in words. The level `reduced` has never
    more bytes or states than `full`; where nothing less can be said it is the same.

    Raises:
        SchemaError: it is nested too deeply.

    """
    return None if level == "none" else copy.deepcopy(_chosen(schema, dialect, level)[1])


def listed(sent: Mapping[str, Any]) -> Json:
    """The schema of a list of answers, each beside the key of what it is about, of the schema of one as it is sent.

    Its definitions move to the root, where references look for them. An answer in the list has the form of one alone.
    """
    answer = {name: value for name, value in sent.items() if name != "$defs"}
    item = _closed({"key": {"type": "string"}, "answer": answer})
    root = _closed({"items": {"type": "array", "items": item}})
    return root | ({"$defs": sent["$defs"]} if "$defs" in sent else {})


def _closed(properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def restore(data: Any, schema: Schema, dialect: Dialect, level: Level = "full") -> Any:
    """An answer to what `compile` made, in the form of the user's schema.

    `openai` and `gemini-openapi` have no open places: maps come as lists of key and value, anything
    as JSON text, what is absent as null, and for `openai` a root that is not an object with named
    keys stands under `value`. All of that is undone. What does not have the form that was asked for
    is left as it is; nothing is raised, whatever the data.
    """
    if dialect == "gemini" or level == "none":
        return data
    outline, _ = _chosen(schema, dialect, level)
    if dialect == "openai" and openai.is_wrapped(outline):
        if not (isinstance(data, dict) and data.keys() == {openai.WRAPPED}):
            return data
        data = data[openai.WRAPPED]
    try:
        return restored(outline, data)
    except RecursionError:
        return data


def is_whole(schema: Schema, dialect: Dialect) -> bool | None:
    """Whether the whole outline is sent at the level `full`, or a part of it is cut; None: nothing is left of it.

    Raises:
        SchemaError: it is nested too deeply.

    """
    outline, _ = _chosen(schema, dialect, "full")
    if outline == _OPEN:
        return None
    return outline == _WIRES[dialect].prepare(next(outlines(schema)))


def size(sent: Any) -> int:
    """The bytes of a schema as it is sent."""
    return len(
        json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    )


def _chosen(schema: Schema, dialect: Dialect, level: Level) -> tuple[Json, Json]:
    """The richest outline that fits, as it was before it was written out, and what is sent of it."""
    try:
        key = (json.dumps(schema.body), dialect, level)  # not its hash: the order of keys counts
        if key not in _CHOSEN:
            made = _whole(schema, dialect) if level == "full" else _less(schema, dialect)
            if len(_CHOSEN) >= _MOST_CHOSEN:
                _CHOSEN.clear()
            _CHOSEN[key] = made
        return _CHOSEN[key]
    except RecursionError as error:
        raise SchemaError(f"schema {schema.name}: nested too deeply") from error


def _whole(schema: Schema, dialect: Dialect) -> tuple[Json, Json]:
    wire, small = _WIRES[dialect], max(_SMALL, size(schema.body))
    for outline, most in chain(
        ((outline, _GROWTH * small) for outline in _full(schema)),
        ((slim, None) for slim in _reduced(schema)),  # small by its count of keys
    ):
        prepared = wire.prepare(outline)
        sent = wire.emit(prepared)
        if not wire.fits(sent):
            continue
        if most and wire.folds and size(sent) > small:
            sent = folded(sent)
        if not most or size(sent) <= most:
            return prepared, sent
    return _OPEN, wire.emit(_OPEN)


def _less(schema: Schema, dialect: Dialect) -> tuple[Json, Json]:
    """The richest reduced outline that asks less of a service than the whole one; that one if there is none."""
    wire, whole = _WIRES[dialect], _chosen(schema, dialect, "full")
    most, at_most = size(whole[1]), states(whole[1])
    for outline in _reduced(schema):
        prepared = wire.prepare(outline)
        sent = wire.emit(prepared)
        # A service that was sent no reference is not sent one now.
        for form in (sent, folded(sent)) if "$defs" in whole[1] else (sent,):
            bytes_, own = size(form), states(form)
            # What is large was refused for that: a word less is not worth another request.
            simpler = own < at_most or bytes_ <= most * _LESS or most <= _SMALL
            if wire.fits(sent) and bytes_ <= most and own <= at_most and simpler:
                return prepared, form
    return whole


def _full(schema: Schema) -> Iterator[Json]:
    for outline in outlines(schema):
        for levels, values in _CUTS:
            shorter = outline if values is None else without_long_enums(outline, values)
            yield shorter if levels is None else cut(shorter, levels)


def _reduced(schema: Schema) -> Iterator[Json]:
    first = next(outlines(schema))
    slims = [reduced(first, told=told) for told in (True, False)]
    keys = 0
    for levels in _REDUCED_DEPTHS:
        for slim in slims:
            shallow = cut(slim, levels)
            keys = sum(len(node.get("properties", ())) for node in nodes(shallow))
            if keys <= _REDUCED_PROPERTIES or (levels == 1 and keys <= _MOST_KEYS):
                yield shallow
    if keys > _MOST_KEYS:
        yield _OPEN
