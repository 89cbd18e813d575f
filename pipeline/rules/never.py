"""Comparisons with a constant that can't hold for any valid data: beside the choices of a field, beyond its bounds."""

import difflib
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipeline.rules.tree import (
    Call,
    Chain,
    Compare,
    Constant,
    Name,
    Node,
    Order,
    Path,
    parts_of,
)
from pipeline.rules.values import Arithmetic, Trouble, of_data, shown

if TYPE_CHECKING:  # a neighbour on the same floor
    from pipeline.schema import Node as Field

_MIRRORED: Final[dict[Order, Order]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}  # fmt: skip
#: Choices that a message lists.
_LISTED: Final = 12


class _Range(NamedTuple):
    """Between what a number lies, both ends included; None where there is no end. Whether it is a whole one."""

    least: Decimal | None
    most: Decimal | None
    whole: bool


def refuse_never(node: Node, fields: Mapping[Path, "Field"]) -> None:
    """Refuse a condition with a comparison that says the same whatever valid data there is.

    Args:
        node: the condition.
        fields: the schema of what stands at each of its names, where that is known.

    Raises:
        ValueError: says which, and why.

    """
    for compare in map(_turned, _compares(node)):
        constant = compare.parts[1]
        if not isinstance(constant, Constant):
            _refuse_strangers(compare, fields)
        elif constant.value is not None:
            _refuse_unlisted(compare, constant.value, fields)
            _refuse_beyond(compare, constant.value, fields)


def _turned(compare: Compare) -> Compare:
    """A comparison with its constant on the right."""
    left, right = (_signed(part) for part in compare.parts)
    first, second = compare.words
    if not isinstance(left, Constant):
        return Compare(compare.order, (left, right), (first, second))
    return Compare(_MIRRORED[compare.order], (right, left), (second, first))


def _signed(node: Node) -> Node:
    """A negative number as the constant that it is."""
    if isinstance(node, Chain) and node.signs == ("-",) and isinstance(node.parts[0], Constant):
        value = node.parts[0].value
        return Constant(value.copy_negate()) if isinstance(value, Decimal) else node
    return node


def _refuse_unlisted(compare: Compare, value: Any, fields: Mapping[Path, "Field"]) -> None:
    choices = _choices(compare.parts[0], fields)
    if compare.order not in {"==", "!="} or not choices:
        return
    if any(_equal(each, value) for each in choices):
        return
    texts = [each for each in choices if isinstance(each, str)]
    near = difflib.get_close_matches(str(value), texts, 1, 0.6)
    listed = ", ".join(map(str, choices[:_LISTED])) + (", ..." if len(choices) > _LISTED else "")
    hint = f"did you mean {near[0]}?" if near else f"it is one of {listed}"
    raise ValueError(f"{compare.words[0]} is never {shown(value)}: {hint}")


def _refuse_beyond(compare: Compare, number: Any, fields: Mapping[Path, "Field"]) -> None:
    if not isinstance(number, Decimal):
        return
    least, most, whole = _range(compare.parts[0], fields)
    words, order = compare.words[0], compare.order
    told = f"never {'' if order == '==' else f'{order} '}{shown(number)}"
    if order == "==" and whole and number % 1:
        raise ValueError(f"{words} is a whole number, and {told}")
    below, above = order in {"==", "<", "<="}, order in {"==", ">", ">="}
    if least is not None and below and (number < least or (order == "<" and number == least)):
        raise ValueError(f"{words} is at least {shown(least)}, and {told}")
    if most is not None and above and (number > most or (order == ">" and number == most)):
        raise ValueError(f"{words} is at most {shown(most)}, and {told}")


def _refuse_strangers(compare: Compare, fields: Mapping[Path, "Field"]) -> None:
    """Two fields that have no choice in common are never equal."""
    sides = [_choices(part, fields) for part in compare.parts]
    if compare.order not in {"==", "!="} or not all(sides):
        return
    if not any(_equal(first, second) for first in sides[0] for second in sides[1]):
        raise ValueError(
            f"{compare.words[0]} and {compare.words[1]} have no value in common: they are never equal"
        )


def _compares(node: Node) -> Iterator[Compare]:
    if isinstance(node, Compare):
        yield node
    for part in parts_of(node):
        yield from _compares(part)


def _choices(node: Node, fields: Mapping[Path, "Field"]) -> list[Any]:
    """The values that a field can only have; empty where it may have others."""
    field = fields.get(node.path) if isinstance(node, Name) else None
    if field is None:
        return []
    given = field.schema.get("enum")
    if not isinstance(given, list):
        given = [field.schema["const"]] if "const" in field.schema else []
    return [each for each in given if isinstance(each, str | int | float | bool)]


def _equal(first: Any, second: Any) -> bool:
    """Whether a value of a schema is the same as one of a rule."""
    try:
        one, other = (x if isinstance(x, date) else of_data(x) for x in (first, second))
        return bool(Arithmetic().compared("==", one, other))
    except Trouble:
        return False


def _range(node: Node, fields: Mapping[Path, "Field"]) -> _Range:
    if isinstance(node, Call):
        if node.function == "count":
            return _Range(Decimal(0), None, whole=True)
        if node.function in {"min", "max"} and len(node.parts) == 1:
            return _range(node.parts[0], fields)
        return _Range(Decimal(0) if node.function == "abs" else None, None, whole=False)
    field = fields.get(node.path) if isinstance(node, Name) else None
    if field is None or field.type not in {"number", "integer"}:
        return _Range(None, None, whole=False)
    least, most = (_number(field.schema.get(key)) for key in ("minimum", "maximum"))
    return _Range(least, most, whole=field.type == "integer")


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(str(value))
