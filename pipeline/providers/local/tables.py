"""Rows of tables: the columns that headers name, and one item for each line of figures below them."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from pipeline.providers.local import summaries
from pipeline.providers.local.asks import Ask, Plan
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.fitting import fit, in_cell
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.matcher import Matcher
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.words import lexicon
from pipeline.schema import Node

#: A header's cell names a column this well; a header has at least so many such columns.
_NAMES, _FEWEST = 0.5, 2
#: At least this share of the columns that are asked for; and so many of the header's other cells.
_SHARE = 0.35
_LONGEST_CELL = 60
#: A repeated header names its columns nearly as well as the first.
_AGAIN = 0.85
#: A line below a table that says one of the document's totals this well ends it.
_ENDS = 0.8
#: A header may have this many lines; a table ends at a gap of so many line heights.
_HEADER_LINES, _GAP = 4, 6.0
#: How far (in line heights) from the line of its item a figure may stand.
#: A text may begin a little higher, and on one of so many rows around.
_NEAR, _HIGH, _ROWS_AROUND = 1.3, 1.6, 12
#: An item has at least this share of the cells that most have; a sum carried over has not.
_FULL = 0.6
_FIGURES = frozenset(("money", "number", "percent", "year"))
_CENT = Decimal("0.02")
_PROVED = 0.93


@dataclass(slots=True, eq=False)
class Header:
    """The cells that name columns, with how well, and the last row of the header."""

    cells: dict[Ask, tuple[Segment, float]]
    others: list[Segment]
    last: int

    @property
    def segments(self) -> list[Segment]:
        """The cells that name columns."""
        return [segment for segment, _ in self.cells.values()]

    @property
    def score(self) -> float:
        """How well it names its columns, all together."""
        return sum(score for _, score in self.cells.values())


def read(
    layout: Layout, spans: Spans, plan: Plan, whole: Matcher
) -> dict[str, list[dict[str, Claim]]]:
    """The rows of each array of objects, by its pointer; a header belongs to the array that it fits best."""
    tables = [Table(layout, spans, node, columns, whole) for node, columns in plan.tables]
    bands = list(_bands(layout)) if tables else []
    headers = [
        _apart_from_each_other(header for band in bands if (header := table.header(band)))
        for table in tables
    ]
    claimed: dict[Segment, list[float]] = {}
    for header in (header for found in headers for header in found):
        for segment in header.segments:
            claimed.setdefault(segment, []).append(header.score)
    rows = {}
    for table, found in zip(tables, headers, strict=True):
        rows[table.pointer] = table.rows([header for header in found if _owns(header, claimed)])
    return rows


def _apart_from_each_other(headers: Iterable[Header]) -> list[Header]:
    """One array's headers, the best where several share cells (bands of rows overlap), in order."""
    kept: list[Header] = []
    taken: set[Segment] = set()
    for header in sorted(headers, key=lambda header: (-header.score, header.last)):
        if taken.isdisjoint(header.segments):
            kept.append(header)
            taken.update(header.segments)
    return sorted(kept, key=lambda header: header.last)


def _owns(header: Header, claimed: Mapping[Segment, list[float]]) -> bool:
    """Whether no other array fits a header as well: a table that several could hold is nobody's."""
    for segment in header.segments:
        scores = claimed[segment]
        if max(scores) > header.score or scores.count(header.score) > 1:
            return False
    return True


def _bands(layout: Layout) -> Iterator[list[list[Segment]]]:
    """Groups of rows that can be headers: several short texts, no figures, no gaps."""
    for number, first in enumerate(layout.rows):
        band: list[list[Segment]] = []
        for row in layout.rows[number : number + _HEADER_LINES]:
            if any(segment.figure for segment in row) or (band and _apart(band[-1], row) > 1.0):
                break
            band.append(row)
        short = sum(len(segment.text) <= _LONGEST_CELL for row in band for segment in row)
        if (
            band
            and short >= _FEWEST
            and any(len(segment.text) <= _LONGEST_CELL for segment in first)
        ):
            yield band


class Table:
    """One array of objects, and how its rows are found in a layout."""

    def __init__(
        self, layout: Layout, spans: Spans, node: Node, columns: Sequence[Ask], whole: Matcher
    ) -> None:
        self.pointer = node.pointer
        self._node = node
        self._layout = layout
        self._spans = spans
        self._columns = columns
        self._rows = Matcher(columns, lexicon(), "row")
        self._whole = whole

    def rows(self, headers: Sequence[Header]) -> list[dict[str, Claim]]:
        """The items under the header that fits best, wherever it is repeated; else lines like `VAT 7 % 3.50`."""
        found: list[dict[str, Claim]] = []
        if headers:
            best = max(headers, key=lambda header: header.score)
            stops = frozenset(min(s.row for s in header.segments) for header in headers)
            for header in headers:
                if set(header.cells) == set(best.cells) and header.score >= _AGAIN * best.score:
                    found += self._items(header, stops)
        return found or list(summaries.rows(self._layout, self._spans, self._node, self._columns))

    def header(self, band: Sequence[Sequence[Segment]]) -> Header | None:
        """The header that begins in the first of some rows, if it names enough of the columns."""
        cells: dict[Ask, tuple[Segment, float]] = {}
        scored = sorted(
            (
                (score, -i, -j, segment, ask)
                for i, (segment, scores) in enumerate(self._named(band))
                for j, (ask, score) in enumerate(scores.items())
            ),
            key=lambda item: item[:3],
            reverse=True,
        )
        used: set[int] = set()
        for score, _, _, segment, ask in scored:
            if ask not in cells and id(segment) not in used and score >= _NAMES:
                cells[ask] = (segment, score)
                used.add(id(segment))
        if not any(id(segment) in used for segment in band[0]):
            return None
        last = max(segment.row for segment, _ in cells.values())
        others = [s for row in band if row[0].row <= last for s in row if id(s) not in used]
        few = len(cells) < max(min(_FEWEST, len(self._columns)), _SHARE * len(self._columns))
        return None if few or len(cells) < _SHARE * len(others) else Header(cells, others, last)

    def _named(
        self, band: Sequence[Sequence[Segment]]
    ) -> Iterator[tuple[Segment, dict[Ask, float]]]:
        """How well each cell of a header names each column, alone or with the line above it."""
        inside = {id(segment) for row in band for segment in row}
        for row in band:
            for segment in row:
                if len(segment.text) > _LONGEST_CELL:
                    continue
                scores = dict(self._rows.match(segment.text))
                if segment.above is not None and id(segment.above) in inside:
                    joined = self._rows.match(f"{segment.above.text} {segment.text}")
                    scores = {
                        ask: max(scores.get(ask, 0.0), joined.get(ask, 0.0))
                        for ask in {**scores, **joined}
                    }
                yield segment, scores

    def _items(self, header: Header, stops: frozenset[int]) -> Iterator[dict[str, Claim]]:
        """One item for each figure of the column that has most of them."""
        placed: dict[Ask, list[Segment]] = {ask: [] for ask in header.cells}
        for segment in self._body(header, stops):
            ask = self._column(header, segment)
            if ask is not None:
                placed[ask].append(segment)
        figures = {
            ask: [segment for segment in found if self._cell(ask, segment, 1.0) is not None]
            for ask, found in placed.items()
            if ask.kind in _FIGURES
        }
        anchors = max(figures.values(), key=len, default=[])
        ends = [*(anchor.box[1] for anchor in anchors[1:]), float("inf")]
        found = [
            self._row(header, placed, anchor, end)
            for anchor, end in zip(anchors, ends, strict=False)
        ]
        usual = sorted(map(len, found))[len(found) // 2] if found else 0
        least = max(min(_FEWEST, len(header.cells)), _FULL * usual)
        yield from (_checked(row) for row in found if len(row) >= least)

    def _body(self, header: Header, stops: frozenset[int]) -> Iterator[Segment]:
        """The segments below a header up to the table's end, or the next header."""
        bottom = max(segment.box[3] for segment in header.segments)
        page = header.segments[0].page
        for number in range(header.last + 1, len(self._layout.rows)):
            row = self._layout.rows[number]
            gap = (row[0].box[1] - bottom) / max(row[0].size, 1.0)
            if row[0].page != page or gap > _GAP or number in stops or self._ends(row):
                return
            yield from row
            bottom = max(bottom, *(segment.box[3] for segment in row))

    def _ends(self, row: Sequence[Segment]) -> bool:
        """Whether a row is a total or another header rather than an item."""
        texts = [segment for segment in row if not segment.figure]
        if len(texts) != 1 or len(row) > 3 or len(texts[0].text) > 60:
            return False
        return self._whole.total(texts[0].text) >= _ENDS

    def _column(self, header: Header, segment: Segment) -> Ask | None:
        """The column that a segment stands in: by shared width, else by the nearest edge."""
        cells: list[tuple[Ask | None, Segment]] = [
            (ask, cell) for ask, (cell, _) in header.cells.items()
        ]
        cells += [(None, other) for other in header.others]
        overlap, distance = max(
            ((_overlap(segment, cell), -_edges(segment, cell)) for _, cell in cells),
            default=(0.0, 0.0),
        )
        return next(
            ask
            for ask, cell in cells
            if (_overlap(segment, cell), -_edges(segment, cell)) == (overlap, distance)
        )

    def _row(
        self, header: Header, placed: Mapping[Ask, list[Segment]], anchor: Segment, end: float
    ) -> dict[str, Claim]:
        """An item: of each column the nearest cell to the anchor, before the next one begins."""
        row: dict[str, Claim] = {}
        for ask, (_, score) in header.cells.items():
            figure = ask.kind in _FIGURES
            reach = (_NEAR if figure else _HIGH) * anchor.size
            low = bisect_left(
                placed[ask], anchor.row - _ROWS_AROUND, key=lambda segment: segment.row
            )
            high = bisect_left(
                placed[ask], anchor.row + _ROWS_AROUND, key=lambda segment: segment.row
            )
            near = [
                (abs(segment.box[1] - anchor.box[1]), segment.start, segment)
                for segment in placed[ask][low:high]
                if anchor.box[1] - reach <= segment.box[1] < end - 0.4 * anchor.size
            ]
            for distance, _, segment in sorted(near, key=lambda item: item[:2]):
                claim = self._cell(ask, segment, 0.55 + 0.3 * min(score, 1.0))
                if claim is not None and (not figure or distance <= reach):
                    row[ask.pointer] = claim
                    break
        return row

    def _cell(self, ask: Ask, segment: Segment, score: float) -> Claim | None:
        for span in self._spans_in(ask, segment):
            claim = next(claims_of(ask, span, score), None)
            if claim is not None:
                return claim
        return None

    def _whole_text(self, segment: Segment) -> Span:
        """A cell's text with the lines that it goes on in, where they follow it in the page's text, too."""
        text = self._layout.pages[segment.page].text
        last = segment
        while (below := last.below) is not None and len(text[segment.start : below.end]) < 400:
            tight = (
                below.box[1] - last.box[3] < 0.35 * last.size
                and abs(below.box[0] - segment.box[0]) < 2
            )
            if not tight or below.figure or text[last.end : below.start].strip():
                break
            last = below
        return Span(
            segment,
            segment.start,
            last.end,
            text[segment.start : last.end],
            text[segment.start : last.end],
        )

    def _spans_in(self, ask: Ask, segment: Segment) -> Iterator[Span]:
        if ask.kind == "text":
            fitted = fit(ask, self._whole_text(segment))
            if fitted is not None:
                yield fitted
        else:
            yield from in_cell(ask, segment, self._spans)


def _apart(row: Sequence[Segment], other: Sequence[Segment]) -> float:
    """The gap between two rows in line heights; a great one between pages."""
    if row[0].page != other[0].page:
        return 100.0
    return (min(s.box[1] for s in other) - max(s.box[3] for s in row)) / max(row[0].size, 1.0)


def _overlap(segment: Segment, cell: Segment) -> float:
    shared = min(segment.box[2], cell.box[2]) - max(segment.box[0], cell.box[0])
    narrow = min(segment.box[2] - segment.box[0], cell.box[2] - cell.box[0])
    return round(max(0.0, shared) / max(narrow, 1.0), 2)


def _edges(segment: Segment, cell: Segment) -> float:
    a, b = segment.box, cell.box
    return min(abs(a[0] - b[0]), abs(a[2] - b[2]), abs(a[0] + a[2] - b[0] - b[2]) / 2)


def _checked(row: dict[str, Claim]) -> dict[str, Claim]:
    """A row whose quantity times price is its total is sure of all three."""
    by_meaning = {claim.ask.meaning or _quantity(claim.ask): claim for claim in row.values()}
    parts = [by_meaning.get(name) for name in ("quantity", "unit_price", "line_total")]
    known = [
        claim for claim in parts if claim is not None and isinstance(claim.value, (int, float))
    ]
    if len(known) < 3:
        return row
    quantity, price, total = (Decimal(str(claim.value)) for claim in known)
    if abs(quantity * price - total) > _CENT * max(Decimal(1), abs(quantity)):
        return row
    return {
        key: replace(claim, score=_PROVED) if claim in known else claim
        for key, claim in row.items()
    }


def _quantity(ask: Ask) -> str:
    return "quantity" if any("quantity" in unit.concepts for unit in ask.own) else ask.pointer
