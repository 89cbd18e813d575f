"""What sort of value each part of a rule has, as far as its text and the schema tell; parts that can't meet are refused.

A string without a format may be anything that is printed: a decimal, a date, a name. Nothing is said of it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pipeline.rules.tree import (
    TRUTHS,
    Call,
    Chain,
    Compare,
    Constant,
    Name,
    Node,
    Sort,
    in_words,
    names,
)
from pipeline.rules.values import sort_of

if TYPE_CHECKING:  # a neighbour on the same floor
    from pipeline.schema import Node as Field

_NUMBERS: Final = ("number", "integer")
#: Formats whose values are days, and those whose values are no numbers and have no order.
_DATES: Final = ("date", "date-time")
_TEXTS: Final = ("email", "uri", "uuid", "hostname", "ipv4", "ipv6")
_A: Final[dict[Sort, str]] = {
    "number": "a number",
    "date": "a date",
    "text": "a text",
    "truth": "true or false",
}


def of_field(field: "Field") -> Sort | None:
    """What stands in a field by its schema; None where it may be several."""
    told = field.schema.get("type", ())
    types = {told} if isinstance(told, str) else {each for each in told if each != "null"}
    if len(types) != 1 or {"anyOf", "oneOf"} & field.schema.keys():
        return None
    if field.type in _NUMBERS:
        return "number"
    if field.type == "boolean":
        return "truth"
    if field.type == "string":
        return _of_string(field)
    return None


def _of_string(field: "Field") -> Sort | None:
    if (form := field.schema.get("format")) in _DATES:
        return "date"
    choices = field.schema.get("enum")
    if isinstance(choices, list) and choices:
        sorts = {sort_of(each) for each in choices if isinstance(each, str)}
        return "text" if sorts == {"text"} else None
    return "text" if form in _TEXTS else None


def of(node: Node) -> Sort | None:
    """The sort of a part of a rule; None where it is not known.

    Raises:
        ValueError: two parts of it can't be reckoned with each other.

    """
    if isinstance(node, Constant):
        return sort_of(node.value)
    if isinstance(node, Name):
        return node.sort
    if isinstance(node, Chain):
        return _of_chain(node)
    if isinstance(node, Call):
        return _of_call(node)
    return "truth"


def refuse_unlike(node: Compare) -> None:
    """Refuse a comparison that never says anything, or says the same whatever the document holds.

    Raises:
        ValueError: says why, and the way out.

    """
    left, right = node.parts
    if any(isinstance(part, Constant) and part.value == "" for part in node.parts):
        raise ValueError(
            'an empty text counts as no value: write == null or != null in place of ""'
        )
    if left == right and any(names(left)):
        raise ValueError(f"both sides are {node.words[0]}: compare it with something else")
    first, second = of(left), of(right)
    if first is None or second is None:
        return
    told = f"{node.words[0]} is {_A[first]}, {node.words[1]} {_A[second]}"
    if first != second:
        raise ValueError(f"{told}: they can't be compared")
    if node.order not in {"==", "!="} and first in {"text", "truth"}:
        raise ValueError(f"{told}: those have no order, only == and !=")


def _of_chain(node: Chain) -> Sort | None:
    sorts: list[Sort | None] = [_counted(part) for part in node.parts]
    if len(sorts) == 1 or node.signs[0] == "*" or "date" not in sorts:
        if "date" in sorts:
            raise ValueError(
                "a date has no sign, and no product or quotient: add days to it, or subtract"
            )
        return "number" if None not in sorts else None
    total = sorts[0]
    for sign, sort in zip(node.signs[1:], sorts[1:], strict=True):
        if total is None or sort is None:
            total = None
        elif total == "date" and sort == "date":
            if sign == "+":
                raise ValueError("two dates can't be added: a sum has one date, and days")
            total = "number"
        elif sort == "date":
            if sign == "-":
                raise ValueError("a date can't be subtracted from a number")
            total = "date"
    return total


def _counted(part: Node) -> Sort | None:
    sort = of(part)
    if sort in {"text", "truth"}:
        raise ValueError(f"{_words(part)} is {_A[sort]}: it can't be reckoned with")
    return sort


def _of_call(node: Call) -> Sort | None:
    if node.function == "count":
        return "number"
    if node.function in {"min", "max"}:
        return _one_of(of(part) for part in node.parts)
    if node.function in TRUTHS:
        return _truth(node)
    for part in node.parts:
        sort = of(part)
        if sort is not None and sort != "number":
            raise ValueError(f"{node.function} takes numbers: {_words(part)} is {_A[sort]}")
    return "number"


def _truth(node: Call) -> Sort:
    part = node.parts[0]
    sort = of(part)
    if sort is not None and sort != "truth":
        raise ValueError(
            f"{node.function} takes what is true or false: {_words(part)} is {_A[sort]}"
        )
    return "truth"


def _one_of(sorts: Iterable[Sort | None]) -> Sort | None:
    found = set(sorts)
    if len(found - {None}) > 1:
        raise ValueError(
            f"{' and '.join(sorted(_A[each] for each in found if each))} have no order"
        )
    return found.pop() if len(found) == 1 else None


def _words(node: Node) -> str:
    if isinstance(node, Name):
        return in_words(node.path)
    return f'"{node.value}"' if isinstance(node, Constant) else "a part of it"
