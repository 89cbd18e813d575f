"""The rows of a table: one for each figure of its fullest column, with what stands around it."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.fitting import fit, in_cell
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.postal import span_of
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.tables.grid import FIGURES, Grid, sensible, suits
from pipeline.providers.local.tables.headers import FEWEST, Column

#: How far (in line heights) from the line of its row a figure may stand; a text may begin a little higher.
_NEAR, _HIGH = 1.3, 1.6
#: Lines of one text follow each other this closely; it has at most so many characters.
_TIGHT, _LONGEST = 0.45, 400
_LONGEST_UNIT = 12
#: A text on a line of its own stands this near (in line heights), and is worth less.
_BESIDE, _APART = 3.0, 0.7
_ANCHORS = FIGURES | {"date"}


class Records:
    """Reads the rows of one grid."""

    def __init__(
        self,
        layout: Layout,
        spans: Spans,
        grid: Grid,
        named: Mapping[Ask, Column],
        asks: Sequence[Ask],
    ) -> None:
        self._layout = layout
        self._spans = spans
        self._named = named
        self._unit = next((ask for ask in asks if ask.meaning == "unit"), None)
        self._columns: dict[int, list[Segment]] = {}
        self._place = {segment: column for row in grid.rows for column, segment in row}
        for row in grid.rows:
            for column, segment in row:
                self._columns.setdefault(id(column), []).append(segment)
        self._lines = [
            row[0][1] for row in grid.rows[: grid.end] if len(row) == 1 and _wordy(row[0][1])
        ]
        self._last = grid.rows[grid.end - 1][0][1].row if grid.end else 0
        self._name = next((ask for ask in asks if ask.meaning == "item_name"), None)
        for found in self._columns.values():
            found.sort(key=lambda segment: (segment.page, segment.box[1], segment.box[0]))

    def read(self) -> Iterator[tuple[Segment, dict[str, Claim]]]:
        """The rows, each with the segment that it was found by."""
        anchors = self._anchors()
        rows = []
        for number, anchor in enumerate(anchors):
            start = anchors[number - 1].box[1] if number else float("-inf")
            end = anchors[number + 1].box[1] if number + 1 < len(anchors) else float("inf")
            rows.append(self._row(anchor, start, end))
        name = self._name
        items = [row for anchor, row in zip(anchors, rows, strict=True) if anchor.row <= self._last]
        if name is not None and sum(name.pointer not in row for row in items) > len(items) / 2:
            rows = self._with_names(name, anchors, rows)
        yield from zip(anchors, rows, strict=True)

    def _with_names(
        self, name: Ask, anchors: Sequence[Segment], rows: Sequence[dict[str, Claim]]
    ) -> list[dict[str, Claim]]:
        """The rows with the texts that stand on lines of their own: above their figures or below."""
        tops = [line.box[1] for line in self._lines]
        above = bool(tops) and bool(anchors) and tops[0] < anchors[0].box[1] - 0.5 * anchors[0].size
        made = []
        used = -1
        for anchor, row in zip(anchors, rows, strict=True):
            at = bisect_left(tops, anchor.box[1]) - above
            near = (
                used < at < len(tops)
                and name.pointer not in row
                and len(row) >= FEWEST
                and abs(tops[at] - anchor.box[1]) < _BESIDE * anchor.size
            )
            claim = self._cell(name, self._lines[at], _APART) if near else None
            used = at if claim else used
            made.append({**row, name.pointer: claim} if claim else row)
        return made

    def _anchors(self) -> list[Segment]:
        """The figures of the column that has most of them, one a line; without figures its texts."""
        found: list[list[Segment]] = []
        for kinds in (_ANCHORS, None):
            for ask, column in self._named.items():
                if kinds is None or ask.kind in kinds:
                    cells = self._columns.get(id(column), [])
                    found.append([s for s in cells if self._cell(ask, s, 1.0) is not None])
            if any(found):
                break
        best = max(found, key=len, default=[])
        return [
            segment
            for number, segment in enumerate(best)
            if not number or segment.box[1] - best[number - 1].box[1] > 0.5 * segment.size
        ]

    def _row(self, anchor: Segment, start: float, end: float) -> dict[str, Claim]:
        """Of each column the nearest cell to the anchor, between the rows before and after."""
        row: dict[str, Claim] = {}
        for ask, column in self._named.items():
            score, name = column.scores[ask]
            reach = (_NEAR if ask.kind in FIGURES else _HIGH) * anchor.size
            expected = anchor.box[1] + self._offset(column, name)
            found = self._columns.get(id(column), [])
            low = bisect_left(found, start, key=lambda segment: segment.box[1])
            near = []
            for segment in found[low:]:
                top = segment.box[1]
                if top >= end - 0.4 * anchor.size:
                    break
                if top > start + 0.4 * anchor.size and top >= expected - reach:
                    near.append((abs(top - expected), segment.box[0], segment))
            for distance, _, segment in sorted(near, key=lambda item: item[:2]):
                claim = self._cell(ask, segment, 0.55 + 0.3 * min(score, 1.0), end)
                if claim is not None and (ask.kind not in FIGURES or distance <= reach):
                    row[ask.pointer] = claim
                    row |= self._with_unit(claim, segment, column)
                    break
        return row

    def _with_unit(self, claim: Claim, cell: Segment, column: Column) -> dict[str, Claim]:
        """The unit that stands with a quantity in its column, where it has no column of its own."""
        if self._unit is None or self._unit in self._named or claim.ask.meaning != "quantity":
            return {}
        word = unit_of(claim, cell)
        beside = cell.right
        if word is None and beside is not None and self._may_be_unit(beside, column):
            word = span_of(beside, 0, len(beside.text))
        made = claims_of(self._unit, word, claim.score) if word is not None else ()
        return {one.ask.pointer: one for one in made}

    def _may_be_unit(self, cell: Segment, column: Column) -> bool:
        """Whether a short word beside a quantity stands in its column or in one without a name."""
        own = self._place.get(cell)
        if own is None or cell.figure or len(cell.text) > _LONGEST_UNIT:
            return False
        return own is column or own not in self._named.values()

    def _offset(self, column: Column, name: Segment) -> float:
        """How far below the first line of its row a cell stands, where columns have two names."""
        if len(column.cells) < 2 or name is column.cells[0]:
            return 0.0
        others = [ask for ask in self._named if self._named[ask] is column]
        return name.box[1] - column.cells[0].box[1] if len(others) > 1 else 0.0

    def _cell(
        self, ask: Ask, segment: Segment, score: float, end: float = float("inf")
    ) -> Claim | None:
        for span in self._spans_in(ask, segment, end):
            claim = next(claims_of(ask, span, score), None)
            if claim is not None:
                return claim
        return None

    def _spans_in(self, ask: Ask, segment: Segment, end: float) -> Iterator[Span]:
        if not suits(ask, segment):
            return
        if ask.kind == "text":
            fitted = fit(ask, self._whole_text(segment, end))
            if fitted is not None:
                yield fitted
        else:
            found = in_cell(ask, segment, self._spans)
            yield from (span for span in found if sensible(ask, span))

    def _whole_text(self, segment: Segment, end: float) -> Span:
        """A cell's text with the lines that it goes on in, where they follow it in the page's text, too."""
        text = self._layout.pages[segment.page].text
        last = segment
        while (below := last.below) is not None and below.end - segment.start < _LONGEST:
            tight = (
                below.box[1] - last.box[3] < _TIGHT * last.size
                and abs(below.box[0] - segment.box[0]) < 2
                and below.box[1] < end - 0.4 * segment.size
            )
            if not tight or below.figure or text[last.end : below.start].strip():
                break
            last = below
        whole = text[segment.start : last.end]
        return Span(segment, segment.start, last.end, whole, whole)


def _wordy(segment: Segment) -> bool:
    return not segment.figure and sum(map(str.isalpha, segment.text)) > 2


def unit_of(claim: Claim, cell: Segment) -> Span | None:
    """The word behind a quantity in its cell: `2 Stk`."""
    rest = cell.text[claim.end - cell.start :]
    word = rest.strip(" .,x×*")
    if (
        not word
        or not word[0].isalpha()
        or len(word) > _LONGEST_UNIT
        or any(map(str.isdecimal, word))
    ):
        return None
    at = claim.end - cell.start + rest.index(word)
    return span_of(cell, at, at + len(word))
