"""A rule's tree over data: whether it holds, row by row, and which leaves it is about. Linear in the data."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, cast

from pipeline.results import escape
from pipeline.rules.tree import (
    TRUTHS,
    Call,
    Chain,
    Compare,
    Constant,
    Logic,
    Name,
    Node,
    Path,
    array_of,
    in_words,
    is_aggregate,
    names,
    parts_of,
    rows_in,
    walked,
)
from pipeline.rules.values import (
    Arithmetic,
    Tolerance,
    Trouble,
    Value,
    absolute,
    extreme,
    of_data,
    shown,
)

#: The number of a row at each step into rows, from the outermost array on.
Rows = tuple[int, ...]
#: Leaves of one aggregate that are named one by one; more are named by their array.
MOST_NAMED: Final = 100
MOST_GAINING: Final = 100_000
#: Values that a sentence tells.
_MOST_TOLD: Final = 6
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a rule at one row: whether it holds (None: a value is missing), why not, and where.

    `pointer` is the leaf that stands alone on its side, else the first; `related` are the others.
    """

    holds: bool | None
    told: str
    pointer: str
    related: tuple[str, ...]


class _Place(Trouble):
    """A Trouble, and the leaf that made it."""

    def __init__(self, told: str, pointer: str) -> None:
        super().__init__(told)
        self.pointer = pointer


def outcomes(tree: Node, data: Any, tolerance: Tolerance | None = None) -> Iterator[Outcome]:
    """What becomes of a rule: once, or once for each row that it is about, in their order."""
    run = _Run(data, Arithmetic(tolerance), walked(tree), dict(_shared(tree, walked(tree))))
    for rows in run.rows(run.walk):
        yield _outcome(run, tree, rows)


def _outcome(run: "_Run", tree: Node, rows: Rows) -> Outcome:
    told, culprit = "", None
    try:
        holds = run.truth(tree, rows)
        if holds is False:
            told = run.why(tree, rows)
    except _Place as trouble:
        holds, told, culprit = False, str(trouble), trouble.pointer
    except Trouble as trouble:
        holds, told = False, str(trouble)
    # What holds is not told of, and once only: then each leaf may gain by it.
    most = MOST_GAINING if holds and not run.walk else MOST_NAMED
    leaves = list(dict.fromkeys(run.leaves(tree, rows, most)))
    pointer = culprit or run.alone(tree, rows) or next(iter(leaves), "")
    return Outcome(holds, told, pointer, tuple(each for each in leaves if each != pointer))


def leaves_at(data: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """Every value at a path, with its JSON Pointer."""
    for rows in _rows(data, array_of(path), (), ()):
        found = _at(data, path, rows)
        if found is not _MISSING:
            yield _pointer(path, rows), found


@dataclass(slots=True)
class _Run:
    """One rule over one document's data.

    `shared` says of each aggregate (by its identity) how many of the rows around it hold inside of it too.
    """

    data: Any
    reckon: Arithmetic
    walk: Path
    shared: dict[int, int]
    known: dict[tuple[int, Rows], Value] = field(default_factory=dict)
    named: dict[tuple[int, Rows, int], list[str]] = field(default_factory=dict)

    def rows(self, array: Path, bound: Rows = ()) -> Iterator[Rows]:
        """The numbers of every row of an array; the outer arrays stand at the rows that are bound."""
        yield from _rows(self.data, array, bound, ())

    def value(self, node: Node, rows: Rows) -> Value:
        """What a node is worth at some rows; None if something of it is missing.

        Raises:
            Trouble, _Place: it can't be worked out.

        """
        if isinstance(node, Constant):
            return node.value
        if isinstance(node, Name):
            return self.leaf(node, rows)
        if isinstance(node, Chain):
            return self.chain(node, rows)
        if isinstance(node, Call):
            return self.called(node, rows)
        return self.truth(node, rows)

    def leaf(self, name: Name, rows: Rows) -> Value:
        found = _at(self.data, name.path, rows)
        try:
            return None if found is _MISSING else of_data(found)
        except Trouble as trouble:
            raise _Place(str(trouble), _pointer(name.path, rows)) from None

    def chain(self, node: Chain, rows: Rows) -> Value:
        total: Value = Decimal(1 if node.signs[0] == "*" else 0)
        first = node.signs[0] in "+*" and len(node.parts) > 1
        for number, (sign, part) in enumerate(zip(node.signs, node.parts, strict=True)):
            value = self.value(part, rows)
            if number == 0 and first:
                total = value
                continue
            try:
                total = self.reckon.done(sign, total, value)
            except Trouble as trouble:
                raise self.placed(trouble, (*node.parts[: number + 1],), rows) from None
        return total

    def placed(self, trouble: Trouble, parts: Iterable[Node], rows: Rows) -> Exception:
        """A trouble at the leaf that made it: the first that is no number or date, else the last."""
        named = [part for part in parts if isinstance(part, Name)]
        for name in named:
            try:
                self.reckon.done("-", self.leaf(name, rows), Decimal(0))
            except Trouble:
                return _Place(str(trouble), _pointer(name.path, rows))
        return _Place(str(trouble), _pointer(named[-1].path, rows)) if named else trouble

    def called(self, node: Call, rows: Rows) -> Value:
        if is_aggregate(node):
            return self.aggregate(node, rows)
        value = self.value(node.parts[0], rows)
        try:
            if node.function == "abs":
                return absolute(value)
            places = cast(Constant, node.parts[1]).value
            return self.reckon.rounded(value, int(cast(Decimal, places)))
        except Trouble as trouble:
            raise self.placed(trouble, node.parts[:1], rows) from None

    def aggregate(self, node: Call, rows: Rows) -> Value:
        """Worked out once for all rows that share it: those of its inner array are always all of them."""
        bound = rows[: self.shared[id(node)]]
        key = (id(node), bound)
        if key not in self.known:
            self.known[key] = self.gathered(node, walked(node), bound)
        return self.known[key]

    def gathered(self, node: Call, array: Path, bound: Rows) -> Value:
        if not self.is_given(array, bound):
            return None
        if node.function == "count":
            found = (self.there(part, at) for at in self.rows(array, bound) for part in node.parts)
            return Decimal(sum(found))
        if node.function in TRUTHS:
            held = (self.truth(node.parts[0], at) for at in self.rows(array, bound))
            return _settled(held, ends=node.function == "any")
        if node.function in {"min", "max"}:
            every = (value for _, _, value in self.values(node, array, bound))
            return extreme(every, largest=node.function == "max")
        total, some = Decimal(0), not any(True for _ in self.rows(array, bound))
        for part, at, value in self.values(node, array, bound):
            if value is None:
                continue
            some = True
            try:
                total = cast(Decimal, self.reckon.done("+", total, self.number(value)))
            except Trouble as trouble:
                raise self.placed(trouble, (part,), at) from None
        return total if some else None

    def number(self, value: Value) -> Value:
        """A value as what can be added up: the difference to zero is that of a number only."""
        return self.reckon.done("*", value, Decimal(1))

    def values(self, node: Call, array: Path, bound: Rows) -> Iterator[tuple[Node, Rows, Value]]:
        for at in self.rows(array, bound):
            for part in node.parts:
                yield part, at, self.value(part, at)

    def there(self, part: Node, rows: Rows) -> bool:
        """Whether there is something to count."""
        if isinstance(part, Name) and isinstance(_at(self.data, part.path, rows), dict | list):
            return True
        return self.value(part, rows) is not None

    def is_given(self, array: Path, bound: Rows) -> bool:
        """Whether the outermost array that is walked is one: null is not the same as no rows."""
        if not array:
            return True
        outermost = array[: _place_of_row(array, len(bound))]
        return isinstance(_at(self.data, outermost, bound), list)

    def truth(self, node: Node, rows: Rows) -> bool | None:
        """Whether a part of the rule holds; None if that is not known, because a value is missing."""
        if isinstance(node, Compare):
            return self.compared(node, rows)
        if isinstance(node, Logic):
            return self.logic(node, rows)
        value = self.value(node, rows)
        if value is None or isinstance(value, bool):
            return value
        raise self.placed(Trouble(f"{shown(value)} is neither true nor false"), (node,), rows)

    def compared(self, node: Compare, rows: Rows) -> bool | None:
        left, right = node.parts
        if isinstance(right, Constant) and right.value is None:
            return (self.value(left, rows) is None) == (node.order == "==")
        first, second = self.value(left, rows), self.value(right, rows)
        return self.reckon.compared(node.order, first, second)

    def logic(self, node: Logic, rows: Rows) -> bool | None:
        """Of three values, as SQL has it: what is not known decides nothing."""
        if node.word == "not":
            held = self.truth(node.parts[0], rows)
            return None if held is None else not held
        return _settled((self.truth(part, rows) for part in node.parts), ends=node.word == "or")

    def why(self, node: Node, rows: Rows) -> str:
        """What does not hold, with the values of both sides."""
        if isinstance(node, Logic) and node.word == "and":
            failing = next(part for part in node.parts if self.truth(part, rows) is False)
            return self.why(failing, rows)
        if isinstance(node, Call):
            return (
                "it holds in no row" if node.function == "any" else "it does not hold in each row"
            )
        if not isinstance(node, Compare):
            found = dict.fromkeys(names(node, inside=False))
            each = [f"{in_words(n.path)} is {shown(self.value(n, rows))}" for n in found]
            return ", ".join(each[:_MOST_TOLD]) or "its parts contradict it"
        values = [self.value(part, rows) for part in node.parts]
        told = ", ".join(
            f"{words} is {shown(value)}"
            for part, words, value in zip(node.parts, node.words, values, strict=True)
            if not isinstance(part, Constant)
        )
        first, second = values
        if node.order == "==" and isinstance(first, Decimal) and isinstance(second, Decimal):
            apart = absolute(self.reckon.done("-", first, second))
            allowed = self.reckon.tolerance and self.reckon.allowed(first, second)
            more = f", more than {shown(allowed)}" if allowed else ""
            return f"{told}: {shown(apart)} apart{more}"
        return told

    def alone(self, node: Node, rows: Rows) -> str | None:
        """The leaf that stands alone on its side of the first comparison, where the other side does not."""
        compare = next((each for each in _comparisons(node)), None)
        if compare is None:
            return None
        lone = [part for part in compare.parts if isinstance(part, Name)]
        return _pointer(lone[0].path, rows) if lone else None

    def leaves(self, node: Node, rows: Rows, most: int) -> Iterator[str]:
        """The pointers of everything that a node is about; of many rows their array."""
        if isinstance(node, Name):
            yield _pointer(node.path, rows)
        elif is_aggregate(node):
            key = (id(node), rows[: self.shared[id(node)]], most)
            if key not in self.named:
                self.named[key] = self.of_rows(node, key[1], most)
            yield from self.named[key]
        else:
            for part in parts_of(node):
                yield from self.leaves(part, rows, most)

    def of_rows(self, node: Node, bound: Rows, most: int) -> list[str]:
        array = walked(node)
        outermost = _pointer(array[: _place_of_row(array, len(bound))], bound)
        if array and any(
            isinstance(part, Name) and part.kind == "object" for part in parts_of(node)
        ):
            return [outermost]
        found: list[str] = []
        for at in self.rows(array, bound):
            found += [each for part in parts_of(node) for each in self.leaves(part, at, most)]
            if len(found) > most:
                single = (name for name in names(node) if not array_of(name.path))
                return [outermost, *(_pointer(name.path, bound) for name in single)]
        return found or ([outermost] if array else [])


def _settled(held: Iterable[bool | None], *, ends: bool) -> bool | None:
    """What several truths come to: the first that is `ends` settles it; else what is not known leaves it open."""
    unknown = False
    for each in held:
        if each is ends:
            return ends
        unknown = unknown or each is None
    return None if unknown else not ends


def _shared(node: Node, around: Path) -> Iterator[tuple[int, int]]:
    """How many arrays around each aggregate stand at one row in it: all that it shares but its innermost."""
    if is_aggregate(node):
        array, same = walked(node), 0
        for first, second in zip(around, array, strict=False):
            if first != second:
                break
            same += first is None
        yield id(node), max(0, min(same, rows_in(array) - 1))
        around = array
    for part in parts_of(node):
        yield from _shared(part, around)


def _comparisons(node: Node) -> Iterator[Compare]:
    if isinstance(node, Compare):
        yield node
    elif isinstance(node, Logic):
        for part in node.parts:
            yield from _comparisons(part)


def _place_of_row(array: Path, number: int) -> int:
    """How many steps lead to the array whose rows are the number-th to be gone through."""
    places = [place for place, step in enumerate(array) if step is None]
    return places[number] if number < len(places) else len(array)


def _rows(value: Any, steps: Path, bound: Rows, made: Rows) -> Iterator[Rows]:
    """Every way through the rows of a path; what is missing, or no list, has none."""
    for place, step in enumerate(steps):
        if step is None:
            number = len(made)
            every = value if isinstance(value, list) else []
            chosen = [bound[number]] if number < len(bound) else range(len(every))
            for row in chosen:
                yield from _rows(every[row], steps[place + 1 :], bound, (*made, row))
            return
        value = _step(value, step)
    yield made


def _at(data: Any, path: Path, rows: Rows) -> Any:
    """What stands at a path, at some rows; _MISSING if nothing does."""
    number = 0
    for step in path:
        if step is None:
            if number >= len(rows) or not isinstance(data, list) or rows[number] >= len(data):
                return _MISSING
            data = data[rows[number]]
            number += 1
        else:
            data = _step(data, step)
    return data


def _step(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(step, _MISSING)
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return _MISSING


def _pointer(path: Path, rows: Rows) -> str:
    """The JSON Pointer of a path at some rows."""
    left = iter(rows)
    return "".join(f"/{next(left, 0) if step is None else escape(str(step))}" for step in path)
