"""A row of a table as nested data: columns are pointers or dotted paths, empty cells are null."""

import json
import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NoReturn

from pipeline.errors import UsageError
from pipeline.evaluation.methods import TRUTH
from pipeline.schema import Node
from pipeline.values import json_number, number_readings


def nested(row: Mapping[str, str], node: Node | None, where: str) -> dict[str, Any]:
    """The data of one row.

    `total`, `/total`, `seller.name` and `lines/0/amount` are columns; `node` says what type a cell
    has: without a schema a cell stays text, unless it is a JSON object or array. A row of an array
    whose cells are all empty is not there.

    Raises:
        UsageError: a column is no field of the schema, or two columns contradict each other.

    """
    data: dict[str, Any] = {}
    for column, cell in row.items():
        tokens = _tokens(column, node)
        field = _known(tokens, node, column, where)
        place = data
        for token in tokens[:-1]:
            place = place.setdefault(token, {})
            if not isinstance(place, dict):
                raise UsageError(f"{where}: column {column!r} is inside of another column's value")
        if tokens[-1] in place:
            raise UsageError(f"{where}: column {column!r} is inside of another column's value")
        place[tokens[-1]] = _typed(cell, field)
    built = _with_arrays(data, node)
    return built if isinstance(built, dict) else {}


def _tokens(column: str, node: Node | None) -> list[str]:
    if column.startswith("/"):
        return [t.replace("~1", "/").replace("~0", "~") for t in column[1:].split("/")]
    if node is not None and any(child.name == column for child in node.children):
        return [column]
    return column.replace("/", ".").split(".")


def _known(tokens: list[str], node: Node | None, column: str, where: str) -> Node | None:
    """What the schema says of a column."""
    for token in tokens:
        if node is None or node.type == "any":
            return None
        if node.type == "array":
            node = node.children[0] if node.children else None
            continue
        below = {child.name: child for child in node.children}
        open_ended = node.schema.get("additionalProperties") not in (None, False)
        if token not in below and not open_ended:
            near = get_close_matches(token, below, n=1)
            told = f"did you mean {near[0]}?" if near else f"there are {', '.join(below)}"
            table = where.rpartition(", line ")[0]
            raise UsageError(
                f"{table}, line 1: column {column!r} is no field of the schema; {told}"
            )
        node = below.get(token)
    return node


def _typed(cell: str, node: Node | None) -> Any:
    """A cell as the value that the schema asks for; as text where it is none."""
    text = cell.strip()
    kind = node.type if node else "any"
    if not text:
        return None
    if kind in ("array", "object", "any") and text[0] in "[{":
        try:
            return strict_json(text)
        except (ValueError, RecursionError):
            return text
    if kind == "boolean":
        return TRUTH.get(text.lower(), text)
    if kind in ("number", "integer"):
        readings = number_readings(text)
        number = json_number(next(iter(readings))) if len(readings) == 1 else math.inf
        return number if math.isfinite(number) else text
    return cell


def strict_json(text: str) -> Any:
    """The JSON value of a text.

    Raises:
        ValueError: it is none, or holds NaN, Infinity or a number that is too large to be kept.
        RecursionError: it is nested too deeply.

    """
    return json.loads(text, parse_constant=_refused, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refused(text)


def _refused(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that can be kept")


def _with_arrays(value: Any, node: Node | None) -> Any:
    """The same, with an array in place of every object whose keys are all numbers."""
    if not isinstance(value, dict):
        return value
    kind = node.type if node else "any"
    below = {child.name: child for child in node.children} if node else {}
    if kind != "object" and value and all(key.isdecimal() for key in value):
        item = next(iter(below.values()), None)
        rows = [_with_arrays(value[key], item) for key in sorted(value, key=int)]
        return [row for row in rows if not _empty(row)]
    return {key: _with_arrays(inner, below.get(key)) for key, inner in value.items()}


def _empty(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_empty(inner) for inner in value.values())
    return value is None or value == []
