"""Segments, rows and columns: a document's pages as they are seen.

A segment is a run of words on one line without a wide gap, whose words also follow each other in
the page's text, so that every part of it is a span. Places are points from the page's top left;
plain text gets a cell of 5 x 10 points for each character.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from math import cos, radians, sin

from pipeline.document import Box, Document, Page, Word

#: A gap wider than this share of the line's height ends a segment, and never one below the second.
#: Blanks are 0.2 to 0.3 of it, stretched ones of justified text stay below 0.6.
_WIDE_GAP, _NARROW_GAP = 0.8, 0.52
#: Between them, a gap this much wider than the blanks around it.
_WIDER = 2.0
#: The same where the page's text has a line's end between the words.
_BETWEEN_TEXTS = 0.4
#: A segment is cut after this many words: unwrapped paragraphs and hostile text stay cheap.
_MOST_WORDS = 48
#: A document is read up to here: half a minute of a busy machine (0.25 ms for a word, three times as much for
#: one with digits, of which dense tables are full), some 300 pages of text.
MOST_WORDS, _FIGURE_COUNTS = 135_000, 3
#: How many rows, and how many line heights, up and down a neighbour in the column may stand.
_NEAR_ROWS, _NEAR_LINES = 12, 14.0
#: A row's segments may reach over this many that begin to their right.
_MOST_OVER = 4
#: So many rows of about one height are looked at for one that a word goes on.
_MOST_ENDS = 20
_CELL_WIDTH, _CELL_HEIGHT = 5.0, 10.0
#: Tills print 24 to 48 characters to a line, letters and forms 75 and more; this share of the
#: characters may stand further out at each side (noise).
_TILL, _AT_EDGE, _MOST_WEIGHT = 60.0, 0.02, 100
_TEXT_WORD = re.compile(r"[^\s|]+")
#: Marks of emphasis and headings that plain text carries (Markdown).
_MARKS = "*`"
_GAP = re.compile(r"[*`]* [*`]*")
#: Cells between bars stand in columns whatever their width.
_CELL_OF_TABLE = 600.0
_BLANK = re.compile(r"[\s|.…_\-–—=:+*~#]*")


@dataclass(eq=False, slots=True)
class Segment:
    """One run of words: `text == page.text[start:end]`, its place in points, its neighbours.

    `figure` says that it is a number, an amount, a date in digits. `left`/`right` stand in the same row, `above`/`below` overlap it sideways within a few lines.
    `row` counts the rows of the document; `size` is the height of its words.
    """

    page: int
    start: int
    end: int
    text: str
    box: Box
    size: float
    figure: bool = False
    row: int = 0
    left: "Segment | None" = None
    right: "Segment | None" = None
    above: "Segment | None" = None
    below: "Segment | None" = None

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(slots=True)
class Layout:
    """All segments in the order of rows; `pages` are the document's pages by number.

    `heights` and `widths` of pages in points; `body` is the usual height of words; `cut` says that
    the document has more words than are read; `narrow` that its lines are as short as a till's.
    """

    pages: dict[int, Page]
    segments: list[Segment] = field(default_factory=list)
    rows: list[list[Segment]] = field(default_factory=list)
    heights: dict[int, float] = field(default_factory=dict)
    widths: dict[int, float] = field(default_factory=dict)
    body: float = _CELL_HEIGHT
    cut: bool = False
    narrow: bool = False


def lay_out(document: Document) -> Layout:
    """Read the places of everything on a document's pages, up to `MOST_WORDS`."""
    layout = Layout({page.number: page for page in document.pages})
    left = MOST_WORDS
    for page in document.pages:
        width, height = page.width or 1000.0, page.height or 1000.0
        if page.words:
            sheet = _Sheet(width, height, page.turn)
            width, height = sheet.width, sheet.height
            rows = _rows_of_words(page, sheet, left)
            left -= _count(page, page.words)
        else:
            rows, left = _rows_of_text(page, left)
            width = max((s.box[2] for row in rows for s in row), default=width)
            height = max((row[0].box[3] for row in rows), default=height)
        layout.heights[page.number], layout.widths[page.number] = height, width
        _add(layout, [kept for row in rows if (kept := [s for s in row if not is_rule(s.text)])])
        if left < 0:
            layout.cut = True
            break
    sizes = sorted(s.size for s in layout.segments for _ in range(1 + len(s) // 20))
    layout.body = max(0.1, sizes[len(sizes) // 2]) if sizes else _CELL_HEIGHT
    layout.narrow = _is_narrow(layout)
    return layout


def _count(page: Page, words: Sequence[Word]) -> int:
    """How many words these are, one with digits counted several times for its work."""
    figures = sum(any(map(str.isdigit, page.text[w.start : w.end][:40])) for w in words)
    return len(words) + (_FIGURE_COUNTS - 1) * figures


def _is_narrow(layout: Layout) -> bool:
    """Whether the first page with text is printed as tills print, whatever the paper around it."""
    number = next((s.page for s in layout.segments), 0)
    page = [s for s in layout.segments if s.page == number and len(s)]
    weights = [min(len(s), _MOST_WEIGHT) for s in page]
    wide = _at([(s.box[2] - s.box[0]) / len(s) for s in page], weights, 0.5)
    left = _at([s.box[0] for s in page], weights, _AT_EDGE)
    right = _at([s.box[2] for s in page], weights, 1 - _AT_EDGE)
    return bool(page) and right - left <= _TILL * wide


def _at(numbers: Sequence[float], weights: Sequence[int], share: float) -> float:
    """The number below which a share of the weight lies; 0 for none."""
    left = share * sum(weights)
    for number, weight in sorted(zip(numbers, weights, strict=True)):
        left -= weight
        if left <= 0:
            return number
    return 0.0


def level_box(page: Page, box: Box) -> Box:
    """A box of a page in points, as it stands when the page's lines run level."""
    sheet = _Sheet(page.width or 1000.0, page.height or 1000.0, page.turn)
    size = (box[3] - box[1]) * (page.height or 1000.0)
    return sheet.place(Word(0, 0, box, size))


def _add(layout: Layout, rows: list[list[Segment]]) -> None:
    _connect(rows)
    for row in rows:
        for segment in row:
            segment.row = len(layout.rows)
        layout.rows.append(row)
        layout.segments.extend(row)


class _Sheet:
    """Boxes of words to points of a page that is turned level, of a size that holds all of it."""

    def __init__(self, width: float, height: float, turn: float) -> None:
        self._size = width, height
        self._level = turn == 0
        self._cos, self._sin = cos(radians(turn)), sin(radians(turn))
        wide, high = abs(self._cos), abs(self._sin)
        self.width, self.height = width * wide + height * high, width * high + height * wide

    def place(self, word: Word) -> Box:
        """The box of a word as it stands when its line runs level."""
        width, height = self._size
        x0, x1 = word.box[0] * width, word.box[2] * width
        y0, y1 = word.box[1] * height, word.box[3] * height
        if self._level:
            return x0, y0, x1, y1
        x, y = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
        x, y = x * self._cos - y * self._sin, x * self._sin + y * self._cos
        size = word.size or min(x1 - x0, y1 - y0)
        half, high = self._length(x1 - x0, y1 - y0, size) / 2, size / 2
        x, y = x + self.width / 2, y + self.height / 2
        return x - half, y - high, x + half, y + high

    def _length(self, width: float, height: float, high: float) -> float:
        """How long a word is whose letters are so high and whose tilted outline fills a box."""
        wide, steep = abs(self._cos), abs(self._sin)
        if wide >= steep:
            return max((width - high * steep) / wide, 0.3 * high)
        return max((height - high * wide) / steep, 0.3 * high)


def _rows_of_words(page: Page, sheet: _Sheet, most: int) -> list[list[Segment]]:
    """Words of one height make a row; wide gaps split it."""
    filled = sorted((f.start, f.end) for f in page.fields if f.end > f.start)
    cells = [
        (word, sheet.place(word))
        for word in page.words[:most]
        if word.end > word.start and not _within(word.start, filled)
    ]
    ordered = _in_rows(cells)
    usual = _usual_gap([gap for row in ordered for gap in _gaps(row)])
    return [list(_split(page, row, usual)) for row in ordered]


def _in_rows(cells: list[tuple[Word, Box]]) -> list[list[tuple[Word, Box]]]:
    """Words in rows from the top, each from the left: a word goes on in the row whose end is level with it.

    A row may rise and fall along its way, as on a photograph of paper that isn't flat.
    """
    rows: list[list[tuple[Word, Box]]] = []
    ends: dict[int, list[int]] = {}
    heights = sorted(box[3] - box[1] for _, box in cells)
    step = max(heights[len(heights) // 2] if heights else 0.0, 1.0)
    for cell in sorted(cells, key=lambda cell: (cell[1][0], cell[1][1])):
        band = int(_middle(cell[1]) / step)
        near = [row for b in (band - 1, band, band + 1) for row in ends.get(b, ())[-_MOST_ENDS:]]
        fits = [
            (abs(_middle(rows[row][-1][1]) - _middle(cell[1])), row)
            for row in near
            if _level(rows[row][-1][1], cell[1])
        ]
        if fits:
            row = min(fits)[1]
            ends[int(_middle(rows[row][-1][1]) / step)].remove(row)
            rows[row].append(cell)
        else:
            row = len(rows)
            rows.append([cell])
        ends.setdefault(band, []).append(row)
    return sorted(
        rows, key=lambda row: (sum(_middle(box) for _, box in row) / len(row), row[0][1][0])
    )


def _middle(box: Box) -> float:
    return (box[1] + box[3]) / 2


def _level(last: Box, this: Box) -> bool:
    """Whether a word stands right of another one in its row."""
    high = min(last[3] - last[1], this[3] - this[1])
    return abs(_middle(last) - _middle(this)) <= 0.5 * high and this[0] >= last[2] - high


def _within(place: int, spans: Sequence[tuple[int, int]]) -> bool:
    at = bisect_right(spans, place, key=lambda span: span[0])
    return at > 0 and place < spans[at - 1][1]


def _gaps(row: Sequence[tuple[Word, Box]]) -> list[float]:
    """The blanks of a row that part words rather than columns, as shares of its height."""
    gaps = (_gap(last, this) for last, this in pairwise(row))
    return [gap for gap in gaps if 0.05 < gap < _WIDE_GAP]


def _gap(last: tuple[Word, Box], this: tuple[Word, Box]) -> float:
    height = min(last[1][3] - last[1][1], this[1][3] - this[1][1])
    return (this[1][0] - last[1][2]) / max(height, 0.1)


def _usual_gap(gaps: list[float]) -> float:
    return sorted(gaps)[len(gaps) // 2] if gaps else 0.25


def _split(page: Page, row: Sequence[tuple[Word, Box]], usual: float) -> Iterator[Segment]:
    gaps = _gaps(row)
    blank = max(usual, _usual_gap(gaps)) if len(gaps) > 3 else usual
    widest = min(_WIDE_GAP, max(_NARROW_GAP, _WIDER * blank))
    run: list[tuple[Word, Box]] = []
    for word, box in row:
        if run and (len(run) >= _MOST_WORDS or not _follows(page, run[-1], (word, box), widest)):
            yield _segment(page, run)
            run = []
        run.append((word, box))
    if run:
        yield _segment(page, run)


def _follows(page: Page, last: tuple[Word, Box], this: tuple[Word, Box], widest: float) -> bool:
    """Whether a word goes on where the last one ended, on the page and in its text."""
    between = page.text[last[0].end : this[0].start] if last[0].end <= this[0].start else "x"
    if "\n" in between:  # two texts on one line, as cells of tables are
        widest = min(widest, _BETWEEN_TEXTS)
    return not between.strip() and "\t" not in between and _gap(last, this) <= widest


def _segment(page: Page, run: Sequence[tuple[Word, Box]]) -> Segment:
    boxes = [box for _, box in run]
    box = (
        boxes[0][0],
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )
    start, end = run[0][0].start, run[-1][0].end
    sizes = sorted(word.size or b[3] - b[1] for word, b in run)
    text = page.text[start:end]
    return Segment(page.number, start, end, text, box, sizes[len(sizes) // 2], _is_figure(text))


def _rows_of_text(page: Page, most: int) -> tuple[list[list[Segment]], int]:
    """The rows of a page that has only characters, and how many words may still be read.

    Two blanks, a tab or a bar split a line.
    """
    rows = []
    start = 0
    for line, text in enumerate(page.text.splitlines(keepends=True)):
        cells = list(islice(_cells_of_text(text, start, line), most + 1))
        most -= _count(page, [word for word, _ in cells])
        if row := list(_split_text(page, cells)):
            rows.append(row)
        start += len(text)
        if most < 0:
            break
    return rows, most


def _cells_of_text(text: str, start: int, line: int) -> Iterator[tuple[Word, Box]]:
    """The words of a line, marks at their edges left out, each in its cells."""
    top = line * _CELL_HEIGHT
    bars = text.count("|") > 1
    indent = len(text) - len(text.lstrip())
    column, left, seen = 0, 0, 0
    for match in _TEXT_WORD.finditer(text):
        word = match.group()
        kept = word.strip(_MARKS)
        if not kept or (match.start() == indent and not kept.strip("#")):
            continue
        first = match.start() + word.find(kept)
        if bars and (passed := text.count("|", seen, first)):
            column, left = column + passed, first
        seen = first
        shift = column * _CELL_OF_TABLE - left * _CELL_WIDTH if bars else 0.0
        x0 = first * _CELL_WIDTH + shift
        box = (x0, top, x0 + len(kept) * _CELL_WIDTH, top + _CELL_HEIGHT)
        yield Word(start + first, start + first + len(kept), (0, 0, 0, 0)), box


def _split_text(page: Page, row: Sequence[tuple[Word, Box]]) -> Iterator[Segment]:
    run: list[tuple[Word, Box]] = []
    for word, box in row:
        between = page.text[run[-1][0].end : word.start] if run else " "
        if run and (not _GAP.fullmatch(between) or len(run) >= _MOST_WORDS):
            yield _segment(page, run)
            run = []
        run.append((word, box))
    if run:
        yield _segment(page, run)


def _connect(rows: Sequence[Sequence[Segment]]) -> None:
    """Give every segment of a page its neighbours."""
    for row in rows:
        for left, right in pairwise(row):
            left.right, right.left = right, left
    for number, row in enumerate(rows):
        upwards, downwards = (
            rows[max(0, number - _NEAR_ROWS) : number],
            rows[number + 1 : number + 1 + _NEAR_ROWS],
        )
        if row[0].left is None:
            _join_row(row[0], [*upwards[-1:], *downwards[:1]])
        for segment in row:
            segment.above = _near(segment, reversed(upwards))
            segment.below = _near(segment, downwards)


def _join_row(segment: Segment, around: Iterable[Sequence[Segment]]) -> None:
    """A label that is centred between two rows belongs to both."""
    for row in around:
        other = row[-1]
        shared = min(segment.box[3], other.box[3]) - max(segment.box[1], other.box[1])
        if (
            shared > 0.3 * segment.size
            and other.box[2] <= segment.box[0]
            and other is not segment.left
        ):
            segment.left = other
            return


def _near(segment: Segment, rows: Iterable[Sequence[Segment]]) -> Segment | None:
    """The nearest segment that overlaps one sideways, in rows that lead away from it."""
    for row in rows:
        gap = max(row[0].box[1] - segment.box[3], segment.box[1] - row[0].box[3])
        if gap > _NEAR_LINES * segment.size:
            return None
        if found := _overlapping(segment, row):
            return found
    return None


def _overlapping(segment: Segment, row: Sequence[Segment]) -> Segment | None:
    """The segment of a row that shares most of a segment's width."""
    x0, _, x1, _ = segment.box
    best, most = None, 0.0
    for other in row[max(0, bisect_right(row, x0, key=lambda s: s.box[0]) - _MOST_OVER) :]:
        if other.box[0] >= x1:
            break
        shared = min(x1, other.box[2]) - max(x0, other.box[0])
        if shared > most:
            best, most = other, shared
    return best


def _is_figure(text: str) -> bool:
    digits = sum(char.isdigit() for char in text[:80])
    letters = sum(char.isalpha() for char in text[:80])
    return 0 < digits >= letters and letters <= 3


def is_rule(text: str) -> bool:
    """Whether a text is a drawn line or leader dots, not words."""
    return len(text) > 2 and is_blank(text)


def is_blank(text: str) -> bool:
    """Whether there is nothing but blanks, leader dots and rules."""
    return _BLANK.fullmatch(text) is not None
