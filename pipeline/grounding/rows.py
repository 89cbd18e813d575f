"""Rows of arrays on the lines of the pages: one anchor a row, and what stands at many places is read on its own lines."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from statistics import median
from typing import Any

from pipeline.grounding import align
from pipeline.grounding.index import Index, Place
from pipeline.grounding.reading import Leaf, places
from pipeline.grounding.repeats import Row, repeated, tables
from pipeline.grounding.search import MOST_PLACES
from pipeline.results import Evidence
from pipeline.values import fold

#: How many lines a row may take, where the next row is farther away.
_TALLEST = 12
#: More places than these on the lines of one row can't be told apart.
_TELLABLE = 200
#: How far above its line a row may begin (a cell with several lines beside the others' one).
_ABOVE = 2
#: Of two places on a line, one is in the column if it is so much nearer to it than the other.
_NEARER = 0.5
#: So many rows tell where a column is.
_LEAST = 2


def in_rows(
    index: Index,
    data: Any,
    leaves: Sequence[Leaf],
    proofs: Sequence[Evidence],
    own: Collection[int] | None = None,
) -> list[Evidence]:
    """Evidence in which the ambiguous leaves of rows stand on their own row's lines.

    A leaf there is `verified` when it has one place on those lines, or one in the column of its field,
    and the row is known by another of its leaves (or, where rows are single values, every such place has
    its row). One that may be read but is not sure stays `ambiguous`, at its row's place. A row that is
    found nowhere is left as it is. One place proves one row: of rows that stand at the same place only one
    is more than `ambiguous`.

    Args:
        index: the pages.
        data: the answer.
        leaves: its leaves in order, without empty objects and arrays.
        proofs: what is known of each.
        own: numbers of the pages that the answer is about, where others are shown beside them.

    """
    found = [rows for rows in tables(data) if rows]
    if not found or not index.pages:
        return list(proofs)
    settled = list(proofs)
    sheet = _Sheet(index, leaves, own)
    for rows in found:
        _Table(sheet, rows, settled).settle()
        for number in repeated(rows, settled):
            if settled[number].status in {"verified", "derived"}:
                settled[number] = replace(settled[number], status="ambiguous")
    return settled


class _Sheet:
    """The lines of the pages, and on which of them each leaf may stand."""

    def __init__(self, index: Index, leaves: Sequence[Leaf], own: Collection[int] | None) -> None:
        self.index, self.leaves = index, leaves
        self.lines = index.lines
        self.own = frozenset(
            line
            for at, page in enumerate(index.pages)
            if own is None or page.number in own
            for line in self.lines.lines(at)
        )
        self._known: dict[tuple[str, type, Any], tuple[list[int], list[Place]]] = {}
        self._on_line: dict[tuple[str, int], list[tuple[int, Place]]] = {}

    def stands(self, number: int) -> tuple[list[int], list[Place]]:
        """The lines of a leaf's places, ascending, and beside each the place; a line may come twice."""
        leaf = self.leaves[number]
        key = (leaf.kind, type(leaf.value), leaf.value)
        if key not in self._known:
            sure, loose = ([], []) if leaf.is_empty else places(self.index, leaf)
            found = sorted((self.lines.at(each.page, each.start), each) for each in sure or loose)
            self._known[key] = [line for line, _ in found], [place for _, place in found]
        return self._known[key]

    def between(self, number: int, low: int, high: int) -> list[tuple[int, Place]]:
        """The places of a leaf on lines from `low` up to `high` (not included); none where they are too many to tell apart."""
        lines, found = self.stands(number)
        if self.is_cut(number) and lines[-1] < high:
            printed = [each for line in range(low, high) for each in self._printed(number, line)]
            return printed if len(printed) <= _TELLABLE else []
        first, last = bisect_left(lines, low), bisect_left(lines, high)
        if last - first > _TELLABLE:
            return []
        return list(zip(lines[first:last], found[first:last], strict=True))

    def _printed(self, number: int, line: int) -> list[tuple[int, Place]]:
        """Where a text stands on one line: of what is at too many places, not all were looked up."""
        key = (str(self.leaves[number].value), line)
        if key not in self._on_line:
            self._on_line[key] = list(islice(self._searched(*key), _TELLABLE + 1))
        return self._on_line[key]

    def _searched(self, value: str, line: int) -> Iterator[tuple[int, Place]]:
        wanted = fold(value).text
        page, tokens = self.lines.page(line), self.lines.tokens(line)
        count = wanted.count(" ") + 1
        for first, last in zip(tokens, tokens[count - 1 :], strict=False):
            if fold(self.index.pages[page].text[first.start : last.end]).text == wanted:
                yield line, Place(page, first.start, last.end)

    def is_cut(self, number: int) -> bool:
        """Whether it is a text at so many places that not all of them are known."""
        return self.leaves[number].kind == "text" and len(self.stands(number)[0]) >= MOST_PLACES

    def is_sure(self, number: int) -> bool:
        """Whether its places are where the value is read for sure."""
        return bool(places(self.index, self.leaves[number])[0])


class _Table:
    """The rows of one array, and of the arrays inside it."""

    def __init__(self, sheet: _Sheet, rows: Sequence[Row], settled: list[Evidence]) -> None:
        self._sheet, self._rows, self._settled = sheet, rows, settled

    def settle(self) -> None:
        """Put each ambiguous leaf where its row is."""
        unclear = any(
            self._settled[number].status == "ambiguous"
            for row in self._rows
            for number, _ in row.leaves
        )
        if not unclear:
            return
        found, again = align.align(
            [self._placeable(row) for row in self._rows], self._sheet.lines.count, self._sheet.own
        )
        placed = [
            (row, line) for row, line in zip(self._rows, found, strict=True) if line is not None
        ]
        spans = self._spans([line for _, line in placed])
        near = [self._near(row, line, spans) for row, line in placed]
        columns = _columns(self._sheet, near)
        doubles = {self._rows[number].pointer for number in again}
        complete = self._complete([each for each in placed if each[0].pointer not in doubles])
        for (row, _), of_row in zip(placed, near, strict=True):
            self._settle(of_row, columns, complete, sure=row.pointer not in doubles)

    def _placeable(self, row: Row) -> align.Row:
        lines, across = [], None
        known = [number for number, _ in row.leaves if not self._sheet.is_cut(number)]
        for number in known or [number for number, _ in row.leaves]:
            found, where = self._sheet.stands(number)
            if found:
                lines.append(found)
                if row.is_value:
                    across = {
                        line: place.start / (1 << 40)
                        if not self._sheet.lines.has_boxes(place.page)
                        else self._sheet.lines.edges(place.page, place.start, place.end)[0]
                        for line, place in zip(reversed(found), reversed(where), strict=True)
                    }
        return align.Row(tuple(lines), row.depth, across)

    def _spans(self, lines: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        """For the line of a row, all lines that may be its own: up to the rows before and after it."""
        ordered = sorted(set(lines))
        ends = [-1, *ordered, self._sheet.lines.count]
        spans = {}
        for (before, line), (_, after) in zip(pairwise(ends), pairwise(ends[1:]), strict=False):
            spans[line] = max(before + 1, line - _ABOVE), min(after, line + _TALLEST)
        return spans

    def _near(
        self, row: Row, line: int, spans: Mapping[int, tuple[int, int]]
    ) -> list[tuple[int, str, list[Place]]]:
        """Of each leaf its places on its row's line; where there is none, on the nearest of its other lines."""
        low, high = spans[line]
        near = []
        for number, path in row.leaves:
            found = self._sheet.between(number, low, high)
            best = min((_distance(at, line) for at, _ in found), default=None)
            chosen = [place for at, place in found if _distance(at, line) == best]
            near.append((number, path, chosen))
        return near

    def _complete(self, placed: Sequence[tuple[Row, int]]) -> set[int]:
        """The leaves of rows of one value whose every place has its row: equal ones took them all."""
        groups: dict[int, list[int]] = defaultdict(list)
        for row, _ in placed:
            if row.is_value and row.leaves:
                number = row.leaves[0][0]
                groups[id(self._sheet.stands(number))].append(number)
        return {
            number
            for numbers in groups.values()
            if len(numbers) == len(self._sheet.stands(numbers[0])[0])
            for number in numbers
        }

    def _settle(
        self,
        near: Sequence[tuple[int, str, list[Place]]],
        columns: Mapping[str, "_Column"],
        complete: Collection[int],
        *,
        sure: bool,
    ) -> None:
        """Put the ambiguous leaves of one row where they stand; of a row that repeats another one they stay so."""
        known = sum(bool(found) for _, _, found in near)
        for number, path, found in near:
            if self._settled[number].status != "ambiguous" or not found:
                continue
            place = (
                found[0] if len(found) == 1 else _in_column(self._sheet, found, columns.get(path))
            )
            told = place is not None and (known > 1 or number in complete)
            self._settled[number] = _at(
                self._sheet.index,
                self._settled[number],
                place or found[0],
                sure=sure and told and self._sheet.is_sure(number),
            )


def _distance(line: int, anchor: int) -> int:
    """Lines below a row's own come before those above it."""
    return 2 * (line - anchor) if line >= anchor else 2 * (anchor - line) + 2 * _TALLEST


@dataclass(frozen=True, slots=True)
class _Column:
    """Where the values of a field begin, or end: whichever of the two varies less."""

    edge: int
    at: float


def _columns(
    sheet: _Sheet, rows: Sequence[Sequence[tuple[int, str, list[Place]]]]
) -> dict[str, _Column]:
    """The column of each field, by the rows in which it has one place only."""
    edges: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        taken = Counter(place for _, _, found in row for place in found)
        for _, path, found in row:
            if len(found) == 1 and taken[found[0]] == 1:
                edges[path].append(sheet.lines.edges(found[0].page, found[0].start, found[0].end))
    return {path: _column(found) for path, found in edges.items() if len(found) >= _LEAST}


def _column(edges: Sequence[tuple[float, float]]) -> _Column:
    spread = []
    for edge in (0, 1):
        middle = median(each[edge] for each in edges)
        spread.append((median(abs(each[edge] - middle) for each in edges), edge, middle))
    _, edge, middle = min(spread)
    return _Column(edge, middle)


def _in_column(sheet: _Sheet, found: Sequence[Place], column: _Column | None) -> Place | None:
    """The place that is in the column; None where two are as near, or it isn't known."""
    if column is None:
        return None
    measured = sorted(
        (abs(sheet.lines.edges(each.page, each.start, each.end)[column.edge] - column.at), each)
        for each in found
    )
    (nearest, place), (second, _) = measured[:2]
    return place if nearest <= _NEARER * second and second > 0 else None


def _at(index: Index, proof: Evidence, place: Place, *, sure: bool) -> Evidence:
    page = index.pages[place.page]
    return replace(
        proof,
        status="verified" if sure else proof.status,
        quote=page.text[place.start : place.end],
        page=page.number,
        start=place.start,
        end=place.end,
        box=index.box(place),
    )
