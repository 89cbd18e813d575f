"""The cells of a table: every segment below a header in one of its columns, and which column holds what."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.fitting import in_cell
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.tables.headers import NAMES, Column, Header, named_by, piece

#: A table ends at a gap of so many line heights.
_GAP = 6.0
#: Columns are measured on so many rows; a column is seen in that many cells.
_MEASURED, _SEEN = 80, 12
#: What it costs (in line heights of distance) to leave a column of a row empty, a segment out.
_EMPTY, _OUT = 1.0, 3.0
#: Rows with this share of the segments of the longest one show where columns are.
_FULL = 0.7
#: A cell stands in a column when it shares this much of the narrower width.
_SHARES = 0.3
#: A column without a name that holds the texts of the rows; the share of a name where none of its cells fits.
_UNNAMED, _UNFIT = 0.6, 0.2
#: A column's name times how well its cells suit it.
_LEAST = 0.45
_LONGEST_UNIT = 12
#: A figure's cell has at most so many letters beside two for each digit: `10 working hours`.
_MOST_LETTERS = 12
#: Columns that may count, one by one.
_COUNTS = frozenset(("", "position", "unit_price", "line_total", "quantity"))
_HUNDRED = Decimal(100)
FIGURES = frozenset(("money", "number", "percent", "year"))


@dataclass(slots=True, eq=False)
class Grid:
    """A header with the rows below it: `rows` are cells as (column, segment), from left to right.

    `end` is the number of rows before the first that says a total.
    """

    header: Header
    rows: list[list[tuple[Column, Segment]]]
    end: int

    def head(self, count: int) -> "Grid":
        """Its first rows, none behind a total."""
        end = min(count, self.end)
        return Grid(self.header, self.rows[:end], end)


def grid(
    layout: Layout,
    header: Header,
    stops: frozenset[int],
    ends: Callable[[Sequence[Segment]], bool],
) -> Grid:
    """Place everything below a header, up to a gap or one of the rows `stops`, in the header's columns."""
    lines = list(_body(layout, header, stops))
    lines = [
        [part for segment in line for part in _cut(segment, header)] if len(line) > 1 else line
        for line in lines
    ]
    _measure(header, lines[:_MEASURED])
    rows = [_placed(header, line) for line in lines]
    end = (number for number, line in enumerate(lines) if number and ends(line))
    return Grid(header, rows, next(end, len(rows)))


def _body(layout: Layout, header: Header, stops: frozenset[int]) -> Iterator[list[Segment]]:
    """The rows below a header up to a wide gap, the end of the page or the next header."""
    bottom = max(cell.box[3] for column in header.columns for cell in column.cells)
    for number in range(header.last + 1, len(layout.rows)):
        row = layout.rows[number]
        gap = (row[0].box[1] - bottom) / max(row[0].size, 1.0)
        if row[0].page != header.page or gap > _GAP or number in stops:
            return
        yield row
        bottom = max(bottom, *(segment.box[3] for segment in row))


def _cut(segment: Segment, header: Header) -> list[Segment]:
    """A segment, or its figure at an edge apart where that stands under a header's cell of its own."""
    text = segment.text
    under = [c for c in header.columns if segment.box[0] < c.right and c.left < segment.box[2]]
    if len(under) < 2 or " " not in text:
        return [segment]
    for at in (text.rfind(" "), text.find(" ")):
        left, right = piece(segment, 0, at), piece(segment, at + 1, len(text))
        one, other = _over(left, under), _over(right, under)
        if one is not other and other is not None and (right.figure or left.figure):
            if left.figure and not right.figure and one is None:
                continue
            return [*_cut(left, header), right] if right.figure else [left, *_cut(right, header)]
    return [segment]


def _over(segment: Segment, columns: Sequence[Column]) -> Column | None:
    """The column whose header a segment shares most with."""
    best = max(columns, key=lambda column: _overlap(segment, column))
    return best if _overlap(segment, best) >= _SHARES else None


def _overlap(segment: Segment, column: Column) -> float:
    """The shared width as a share of the narrower one."""
    shared = min(segment.box[2], column.right) - max(segment.box[0], column.left)
    narrow = min(segment.box[2] - segment.box[0], column.right - column.left)
    return max(0.0, shared) / max(narrow, 1.0)


def _distance(segment: Segment, column: Column) -> float:
    """How far a segment is from a column, in its own heights: gap first, then the nearest edges."""
    x0, _, x1, _ = segment.box
    gap = max(0.0, column.left - x1, x0 - column.right)
    edges = min(abs(x0 - column.left), abs(x1 - column.right))
    return (0.5 * gap + 0.05 * min(edges, 10 * segment.size)) / max(segment.size, 1.0)


def _measure(header: Header, lines: Sequence[Sequence[Segment]]) -> None:
    """Set the columns to where their cells stand: rows keep the order of the header."""
    places: dict[int, list[Segment]] = {}
    most = max(map(len, lines), default=0)
    full = [line for line in lines if len(line) >= max(2, _FULL * most)]
    for line in full[:_SEEN]:
        for column, segment in _in_order(line, header.columns):
            places.setdefault(id(column), []).append(segment)
    for column in header.columns:
        found = places.get(id(column), [])
        if len(found) > 1 or (found and len(full) == 1):
            column.left = _middle([segment.box[0] for segment in found])
            column.right = _middle([segment.box[2] for segment in found])


def _middle(numbers: list[float]) -> float:
    return sorted(numbers)[len(numbers) // 2]


def _in_order(
    line: Sequence[Segment], columns: Sequence[Column]
) -> Iterator[tuple[Column, Segment]]:
    """The cheapest way to give a row's segments to columns from left to right."""
    width = len(columns) + 1
    costs = [[0.0] * width for _ in range(len(line) + 1)]
    steps = [[""] * width for _ in range(len(line) + 1)]
    for i in range(len(line) + 1):
        for j in range(width):
            options = [(0.0, "")] if i == j == 0 else []
            if j:
                options.append((costs[i][j - 1] + _EMPTY, "column"))
            if i:
                options.append((costs[i - 1][j] + _OUT, "segment"))
            if i and j:
                apart = min(_distance(line[i - 1], columns[j - 1]), 2 * _OUT)
                options.append((costs[i - 1][j - 1] + apart, "both"))
            costs[i][j], steps[i][j] = min(options)
    i, j = len(line), len(columns)
    while i or j:
        step = steps[i][j]
        i, j = i - (step != "column"), j - (step != "segment")
        if step == "both":
            yield columns[j], line[i]


def _placed(header: Header, line: Sequence[Segment]) -> list[tuple[Column, Segment]]:
    """Each segment of a row with the column that it shares most width with, or is nearest to."""
    placed = []
    for segment in line:
        best = max(
            header.columns,
            key=lambda column: (round(_overlap(segment, column), 1), -_distance(segment, column)),
        )
        placed.append((best, segment))
    return placed


def settle(grid: Grid, asks: Sequence[Ask], spans: Spans) -> dict[Ask, Column]:
    """Which column holds what, by its name and by what stands in it."""
    cells: dict[int, list[Segment]] = {}
    for row in grid.rows[:_MEASURED]:
        for column, segment in row:
            cells.setdefault(id(column), []).append(segment)
    claims = []
    columns = grid.header.columns
    for column in columns:
        found = cells.get(id(column), [])[:_MEASURED]
        for ask, (score, _) in column.scores.items():
            fits = _suits(ask, found, spans) if found and score >= NAMES else 0.0
            if ask.meaning not in _COUNTS and _counted(found, first=column is columns[0]):
                fits = min(fits, _UNFIT)
            if score * fits >= _LEAST:
                claims.append((score * fits, ask, column))
    named = named_by(claims)
    texts = [ask for ask in asks if ask.meaning == "item_name" and ask not in named]
    wordy = _wordy(grid, cells, set(map(id, named.values()))) if texts else None
    if wordy is not None:
        wordy.scores[texts[0]] = (_UNNAMED, wordy.cells[0])
        named[texts[0]] = wordy
    return named


def _wordy(grid: Grid, cells: dict[int, list[Segment]], taken: set[int]) -> Column | None:
    """The column without a name that holds most words, if it holds little else."""
    best: Column | None = None
    most = 3
    for column in grid.header.columns:
        found = cells.get(id(column), [])
        letters = sum(sum(map(str.isalpha, segment.text)) for segment in found)
        if id(column) not in taken and letters > most * max(1, len(found)):
            best, most = column, letters // max(1, len(found))
    return best


def _suits(ask: Ask, found: Sequence[Segment], spans: Spans) -> float:
    """How well the cells of a column can be what is asked for: 0.2 where none can, 1 where all can."""
    fits = sum(
        suits(ask, segment) and any(sensible(ask, span) for span in in_cell(ask, segment, spans))
        for segment in found
    )
    return _UNFIT + (1 - _UNFIT) * fits / len(found)


def suits(ask: Ask, segment: Segment) -> bool:
    """Whether a cell is no plain number where words are asked for, and no sentence where a number is."""
    letters = sum(map(str.isalpha, segment.text))
    if ask.kind in FIGURES:
        return letters <= _MOST_LETTERS + 2 * sum(map(str.isdecimal, segment.text))
    if ask.meaning == "item_name":
        return letters > 1 and not segment.figure
    if any("name" in unit.concepts for unit in ask.own):
        return letters > 0 and not segment.figure
    if ask.meaning == "unit":
        return letters > 0 and len(segment.text) <= _LONGEST_UNIT
    return True


def sensible(ask: Ask, span: Span) -> bool:
    """Whether a value can be one of its column: a rate is at most 100 %, an amount no percentage."""
    if ask.kind == "percent":
        return isinstance(span.value, Decimal) and abs(span.value) <= _HUNDRED
    return not span.percent


def _counted(found: Sequence[Segment], *, first: bool) -> bool:
    """Whether a column only counts its rows: 1, 2, 3; 10, 20, 30; a lone 1 in the first column."""
    texts = [segment.text.strip(" .)#") for segment in found if segment.figure]
    if len(texts) == 1:
        return first and texts[0].lstrip("0") in {"1", "10"}
    if len(texts) < 2 or not all(text.isdecimal() and len(text) < 6 for text in texts):
        return False
    numbers = [int(text) for text in texts]
    step = numbers[1] - numbers[0]
    return step in {1, 10, 100} and all(later - one == step for one, later in pairwise(numbers))
