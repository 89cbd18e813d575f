"""What a rule is made of once it is read: constants, names, sums, products, calls, comparisons, and, or, not."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

#: A step into the data: a key, a number of a row, or None for every row.
Step = str | int | None
Path = tuple[Step, ...]
Order = Literal["==", "!=", "<", "<=", ">", ">="]
#: What a value is, as far as rules tell values apart.
Sort = Literal["number", "date", "text", "truth"]

#: Functions of many values: they go through the rows that their argument names.
AGGREGATES: Final = ("sum", "count", "min", "max", "any", "all")
#: Those of them that are true or false themselves.
TRUTHS: Final = ("any", "all")
#: Functions of one value.
PLAIN: Final = ("abs", "round")


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that the rule itself gives."""

    value: Decimal | date | str | bool | None


@dataclass(frozen=True, slots=True)
class Name:
    """A place in the data; `kind` is the type that the schema says stands there, `sort` what can only stand there."""

    path: Path
    kind: str = "any"
    sort: Sort | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Operands of one rank with the sign before each, from left to right: `+ -` or `* /`."""

    signs: tuple[str, ...]
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments."""

    function: str
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """Two sides, each with its words; `null` on the right asks whether there is a value."""

    order: Order
    parts: tuple["Node", "Node"]
    words: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Logic:
    """`and`, `or` of several parts, `not` of one."""

    word: Literal["and", "or", "not"]
    parts: tuple["Node", ...]


Node = Constant | Name | Chain | Call | Compare | Logic


def parts_of(node: Node) -> tuple[Node, ...]:
    """What a node is made of."""
    return () if isinstance(node, Constant | Name) else node.parts


def is_aggregate(node: Node) -> bool:
    """Whether a node goes through rows by itself."""
    return isinstance(node, Call) and node.function in AGGREGATES


def names(node: Node, *, inside: bool = True) -> Iterator[Name]:
    """Every name of a node in order; those inside of aggregates only if they are wanted."""
    if isinstance(node, Name):
        yield node
    for part in parts_of(node):
        if inside or not is_aggregate(part):
            yield from names(part, inside=inside)


def walked(node: Node) -> Path:
    """The array whose rows a node is about, up to and with the step into its rows; () for none.

    Names inside of aggregates have rows of their own. All arrays of the others lie within each
    other, which the parser sees to.
    """
    arrays = (array_of(name.path) for name in names(node, inside=False))
    return max(arrays, key=rows_in, default=())


def is_equation(node: Node) -> bool:
    """Whether a rule says that something is equal to something, and not only that it is there."""
    if isinstance(node, Logic):
        return node.word == "and" and any(map(is_equation, node.parts))
    return isinstance(node, Compare) and node.order == "==" and node.parts[1] != Constant(None)


def array_of(path: Path) -> Path:
    """A path up to and with its last step into all rows."""
    last = max((place for place, step in enumerate(path, 1) if step is None), default=0)
    return path[:last]


def rows_in(path: Path) -> int:
    """How many steps into all rows a path has."""
    return sum(step is None for step in path)


def in_words(path: Path) -> str:
    """A path as a person writes it: `lines.amount`; below the name of a function what that is asked: `status(kind)`."""
    first, *rest = path or ("",)
    if rest and isinstance(first, str) and first.endswith("()"):
        keys = (key for step in rest if step is not None for key in str(step).split("/"))
        return f"{first[:-1]}{in_words(tuple(key for key in keys if key not in {'', '*'}))})"
    return ".".join(_key(str(step)) for step in path if step is not None) or "the data"


def _key(text: str) -> str:
    return text if text.isidentifier() else f"`{text}`"
