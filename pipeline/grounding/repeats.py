"""The rows of an answer's arrays, and which of them stand where another row of their array stands already."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.results import Evidence, escape

#: Rows at one place that a row is compared with; more are told apart by no place.
_COMPARED = 16

#: A leaf below its row, and where it stands: pointer, page, start, end.
_Spot = tuple[str, int, int, int]


@dataclass(slots=True)
class Row:
    """One item of an array: the numbers of its own leaves, each with its field.

    Leaves are counted as evidence is, without empty objects and arrays; those of arrays inside the row
    are rows of their own, `depth` 1 and more. `field` is a pointer with `*` for every index.
    """

    pointer: str
    depth: int
    leaves: list[tuple[int, str]] = field(default_factory=list)
    is_value: bool = False


def tables(data: Any) -> list[list[Row]]:
    """The rows of each array that is in no other array, in order: each row before the rows inside it."""
    found: list[list[Row]] = []
    counter = iter(range(1 << 62))
    _walk(data, ("", ""), None, found, counter)
    return found


def _walk(
    data: Any,
    where: tuple[str, str],
    row: Row | None,
    found: list[list[Row]],
    counter: Iterator[int],
) -> None:
    pointer, path = where
    if isinstance(data, dict):
        for key, value in data.items():
            step = "/" + escape(str(key))
            _walk(value, (pointer + step, path + step), row, found, counter)
    elif isinstance(data, list):
        if row is None:
            found.append([])
        depth = row.depth + 1 if row else 0
        for number, value in enumerate(data):
            inner = Row(f"{pointer}/{number}", depth, is_value=not isinstance(value, dict | list))
            found[-1].append(inner)
            _walk(value, (inner.pointer, f"{path}/*"), inner, found, counter)
    else:
        number = next(counter)
        if row is not None:
            row.leaves.append((number, path))


def repeated(rows: Sequence[Row], proofs: Sequence[Evidence]) -> list[int]:
    """The leaves of rows that have no place of their own: each stands where one other row of the array has it.

    Of two that have all their places in common it is the later one.

    Args:
        rows: those of one array and of the arrays inside it, as `tables` gives them.
        proofs: of all leaves.

    """
    arrays: dict[str, list[tuple[frozenset[_Spot], list[int]]]] = defaultdict(list)
    for at, row in enumerate(rows):
        below = [row, *_inside(rows, at)]
        numbers = [number for each in below for number, _ in each.leaves]
        found = frozenset(_spots(row, [proofs[number] for number in numbers]))
        arrays[row.pointer.rpartition("/")[0]].append((found, numbers))
    return [number for array in arrays.values() for number in _again(array)]


def _inside(rows: Sequence[Row], at: int) -> Iterator[Row]:
    following = at + 1
    while following < len(rows) and rows[following].depth > rows[at].depth:
        yield rows[following]
        following += 1


def _spots(row: Row, proofs: Sequence[Evidence]) -> Iterator[_Spot]:
    for proof in proofs:
        if proof.page is not None and proof.start is not None and proof.end is not None:
            yield proof.pointer[len(row.pointer) :], proof.page, proof.start, proof.end


def _again(array: Sequence[tuple[frozenset[_Spot], list[int]]]) -> Iterator[int]:
    """The leaves of those rows of one array whose spots another one has."""
    users: dict[_Spot, list[int]] = defaultdict(list)
    for at, (spots, _) in enumerate(array):
        for spot in spots:
            users[spot].append(at)
    for at, (spots, numbers) in enumerate(array):
        rarest = min((users[spot] for spot in spots), key=len, default=[])
        for other in rarest[:_COMPARED]:
            whole = array[other][0]
            if other != at and (spots < whole or (spots == whole and other < at)):
                yield from numbers
                break
