"""Headers of tables: rows of short texts whose columns, one or more lines high, name what is asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.matcher import Matcher

#: A header's cell names a column this well; a header has at least so many such columns.
NAMES, FEWEST = 0.5, 2
#: At least this share of the columns that are asked for; and so many of the header's other cells.
_SHARE = 0.35
_LONGEST_CELL = 60
#: A repeated header names its columns nearly as well as the first.
_AGAIN = 0.85
#: A header may have this many lines, each at most so many line heights below the last.
_HEADER_LINES, _APART = 5, 1.0
#: A cell is cut in two where both parts name something this well, and so much better than the whole.
_PART, _BETTER = 0.8, 0.1
_MOST_PARTS = 5


@dataclass(slots=True, eq=False)
class Column:
    """The cells of a header above each other, what they name and how well, and the place of the best.

    `left` and `right` are where the column's cells stand, in points.
    """

    cells: list[Segment]
    left: float
    right: float
    scores: dict[Ask, tuple[float, Segment]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Header:
    """The columns of a header from left to right, those that are asked for, and its last row."""

    columns: list[Column]
    named: dict[Ask, Column]
    last: int

    @property
    def segments(self) -> list[Segment]:
        """The cells of the columns that are asked for."""
        return [column.scores[ask][1] for ask, column in self.named.items()]

    @property
    def first(self) -> int:
        """Its first row."""
        return min(cell.row for column in self.columns for cell in column.cells)

    @property
    def page(self) -> int:
        """The number of its page."""
        return self.columns[0].cells[0].page

    @property
    def score(self) -> float:
        """How well it names its columns, all together."""
        return sum(column.scores[ask][0] for ask, column in self.named.items())


def bands(layout: Layout) -> Iterator[list[list[Segment]]]:
    """Groups of rows that can be headers: several short texts, no figures, no gaps."""
    for number, first in enumerate(layout.rows):
        band: list[list[Segment]] = []
        for row in layout.rows[number : number + _HEADER_LINES]:
            if any(s.figure for s in row) or (band and apart(band[-1], row) > _APART):
                break
            band.append(row)
        short = [s for row in band for s in row if len(s.text) <= _LONGEST_CELL]
        if short and any(len(s.text) <= _LONGEST_CELL for s in first):
            yield band


def apart(row: Sequence[Segment], other: Sequence[Segment]) -> float:
    """The gap between two rows in line heights; a great one between pages."""
    if row[0].page != other[0].page:
        return 100.0
    return (min(s.box[1] for s in other) - max(s.box[3] for s in row)) / max(row[0].size, 1.0)


def header(band: Sequence[Sequence[Segment]], matcher: Matcher, asked: int) -> Header | None:
    """The header that begins in the first of some rows, if it names enough of the `asked` columns."""
    telling = [s for row in band for s in row if _names(matcher, s.text)]
    if len(telling) < min(FEWEST, asked) or telling[0] not in band[0]:
        return None
    rows = [[part for cell in row for part in _parts(cell, matcher)] for row in band]
    if sum(map(len, rows)) < FEWEST:
        return None
    columns = _columns(rows[: _lines(rows, matcher)])
    for column in columns:
        column.scores = _scores(column, matcher)
    named = named_by(
        (score, ask, column)
        for column in columns
        for ask, (score, _) in column.scores.items()
        if score >= NAMES
    )
    few = len(named) < max(min(FEWEST, asked), _SHARE * asked)
    if few or len(named) < _SHARE * (len(columns) - len(named)):
        return None
    if not any(cell.row == band[0][0].row for column in named.values() for cell in column.cells):
        return None
    last = max(cell.row for column in columns for cell in column.cells)
    return Header(columns, named, last)


def named_by(claims: Iterable[tuple[float, Ask, Column]]) -> dict[Ask, Column]:
    """One column for an ask and one ask for a cell: the clearest first, unless two fit better together."""
    ranked = sorted(claims, key=lambda claim: (-claim[0], claim[2].left))
    held: dict[Segment, tuple[float, Ask, Column]] = {}
    named: dict[Ask, Column] = {}
    for score, ask, column in ranked:
        if ask in named:
            continue
        cell = _cell(ask, column)
        if cell in held:
            before, other, _ = held[cell]
            instead = next(
                (
                    claim
                    for claim in ranked
                    if claim[1] is other and _cell(other, claim[2]) not in held
                ),
                None,
            )
            if instead is None or instead[0] + score <= before:
                continue
            named[other] = instead[2]
            held[_cell(other, instead[2])] = instead
        named[ask] = column
        held[cell] = (score, ask, column)
    return named


def _cell(ask: Ask, column: Column) -> Segment:
    """The cell of a column that names an ask."""
    return column.scores[ask][1] if ask in column.scores else column.cells[0]


def _names(matcher: Matcher, text: str) -> float:
    if len(text) > _LONGEST_CELL:
        return 0.0
    return max(matcher.match(text).values(), default=0.0)


def _parts(cell: Segment, matcher: Matcher) -> list[Segment]:
    """A cell, or two where only a blank stands between the names of two columns."""
    words = cell.text.split(" ")
    for count in range(1, len(words) if len(words) <= _MOST_PARTS else 1):
        at = len(" ".join(words[:count]))
        left, right = cell.text[:at], cell.text[at + 1 :]
        names = _names(matcher, left), _names(matcher, right)
        if max(names) < _PART:
            continue
        named = min(max(names[0], matcher.says(left)), max(names[1], matcher.says(right)))
        apart = set(matcher.match(left)) != set(matcher.match(right))
        if named >= _PART and apart and named >= _BETTER + _says(matcher, cell):
            return [piece(cell, 0, at), piece(cell, at + 1, len(cell.text))]
    return [cell]


def _says(matcher: Matcher, cell: Segment) -> float:
    """How well a cell names anything, with the one above it or without."""
    alone = matcher.says(cell.text)
    return alone if cell.above is None else max(alone, matcher.says(_joined([cell.above, cell])))


def piece(segment: Segment, start: int, end: int) -> Segment:
    """A part of a segment, its place by its share of the characters."""
    x0, y0, x1, y1 = segment.box
    wide = (x1 - x0) / max(1, len(segment.text))
    text = segment.text[start:end]
    figure = sum(map(str.isdigit, text)) >= max(1, sum(map(str.isalpha, text)))
    return replace(
        segment,
        start=segment.start + start,
        end=segment.start + end,
        text=text,
        box=(x0 + start * wide, y0, x0 + end * wide, y1),
        figure=figure,
    )


def _lines(rows: Sequence[Sequence[Segment]], matcher: Matcher) -> int:
    """How many of some rows are header: up to the last one that says more than those above it."""
    count = 1
    for number in range(1, len(rows)):
        above = [cell for row in rows[:number] for cell in row]
        for cell in rows[number]:
            over = [other for other in above if _shared(cell, other) > 0]
            before = _names(matcher, _joined(over))
            joined = _names(matcher, _joined([*over, cell]))
            alone = _names(matcher, cell.text)
            better = joined >= max(NAMES, before) or (alone >= _PART and before < alone)
            if better if over else alone >= _PART:
                count = number + 1
    return count


def _joined(cells: Iterable[Segment]) -> str:
    """The text of cells above each other; a hyphen at a line's end is none."""
    text = ""
    for cell in cells:
        text = (
            f"{text[:-1]}{cell.text}"
            if text[-2:-1].isalpha() and text.endswith("-")
            else f"{text} {cell.text}"
        )
    return text.strip()


def _columns(rows: Sequence[Sequence[Segment]]) -> list[Column]:
    """Cells above each other make a column; one that spans several is no part of any."""
    columns: list[Column] = []
    for row in reversed(rows):
        for cell in row:
            under = [c for c in columns if cell.box[0] < c.right and c.left < cell.box[2]]
            if not under:
                columns.append(Column([cell], cell.box[0], cell.box[2]))
            elif len(under) == 1:
                column = under[0]
                column.cells.insert(0, cell)
                column.left = min(column.left, cell.box[0])
                column.right = max(column.right, cell.box[2])
    return sorted(columns, key=lambda column: column.left)


def _scores(column: Column, matcher: Matcher) -> dict[Ask, tuple[float, Segment]]:
    """What a column's cells name: all together, each by itself, and each two lines."""
    cells = column.cells
    texts = [(_joined(cells), cells[0]), *((cell.text, cell) for cell in cells)]
    texts += [(_joined(pair), pair[0]) for pair in pairwise(cells)]
    scores: dict[Ask, tuple[float, Segment]] = {}
    for text, cell in texts:
        for ask, score in matcher.match(text).items() if len(text) <= 2 * _LONGEST_CELL else ():
            if score > scores.get(ask, (0.0, cell))[0]:
                scores[ask] = (score, cell)
    return scores


def _shared(segment: Segment, other: Segment) -> float:
    return min(segment.box[2], other.box[2]) - max(segment.box[0], other.box[0])


def apart_from_each_other(headers: Iterable[Header]) -> list[Header]:
    """One array's headers, the best where several share cells (bands of rows overlap), in order."""
    kept: list[Header] = []
    taken: set[int] = set()
    for one in sorted(headers, key=lambda header: (-header.score, header.last)):
        rows = set(range(one.first, one.last + 1))
        if taken.isdisjoint(rows):
            kept.append(one)
            taken |= rows
    return sorted(kept, key=lambda header: header.last)


def owns(header: Header, claimed: Mapping[tuple[int, int], list[float]]) -> bool:
    """Whether no other array fits a header as well: a table that several could hold is nobody's."""
    for segment in header.segments:
        scores = claimed[segment.page, segment.start]
        if max(scores) > header.score or scores.count(header.score) > 1:
            return False
    return True


def repeated(headers: Sequence[Header]) -> list[Header]:
    """The header that fits best, wherever it is repeated."""
    if not headers:
        return []
    best = max(headers, key=lambda header: header.score)
    return [
        one
        for one in headers
        if set(one.named) == set(best.named) and one.score >= _AGAIN * best.score
    ]
