"""Form fields (AcroForm) with what may label them: their names, and the print around their boxes."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.document import Box, FormField
from pipeline.providers.local.layout import Layout, Segment, level_box
from pipeline.providers.local.words import lexicon

#: Names that forms' makers give without a thought: `f1_07[0]`, `Text12`, `topmostSubform`, `Page1`.
_NAMELESS = re.compile(
    r"[a-z]{0,2}\d*[_.\-]?\d+[a-z]?|(?:text|field|page|form|check|box|untitled|undefined|topmostsubform|subform|button"
    r"|group|copy|header|row|cell|table|left|right|col|column|line|lines|\s|box|boxes|_|-|\d)+",
    re.IGNORECASE,
)
_INDEX = re.compile(r"\[\d+\]")
_LONGEST_NAME = 80
#: What a label is worth by where it comes from: the tool tip, the field's name (each part further up
#: a little less), the nearest print, all lines above, the line below, print that goes on behind.
_TIP, _NAME, _PRINT, _JOINED, _BELOW, _AFTER = 1.0, 0.9, 0.97, 0.93, 0.8, 0.6
_FURTHER_UP = 0.15
#: A check mark's label stands to its right; what is above or left of it counts less then.
_BEHIND = 0.8
#: What the party of the field above is worth to one that names none.
_INHERITED = 0.85
_MOST_LINES = 4
#: How far (points) from its box a label beside it may end; one that goes on behind a text's box.
_BESIDE, _CLOSE = 60.0, 12.0
#: How far (line heights) above its box a label may end, and how far apart its lines are.
_OVER, _LEADING = 4.0, 0.5
#: Print further up or down than this (points) is not looked at.
_AROUND = 150.0
#: Fields of one document that are read.
_MOST_FIELDS = 2000
#: Height of words (points) that these distances are meant for: pages in pixels have more.
_USUAL_SIZE = 10.0
_DIGITS = re.compile(r"\d{1,9}")
#: How forms number their captions: `5 Address`, or the number by itself.
_NUMBERED, _LINE_NUMBER = re.compile(r"\d{1,2}[a-z]?\.? +[^\W\d]"), re.compile(r"\d{1,2}[a-z]?\.?")
#: What stands between the boxes of one value in a page's text.
_GLUE = re.compile(r"[ \-/.]?")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an answer, and where it stands in its page's text: `(start, end)`, in order."""

    text: str
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One form field with what may label it: texts with their worth, the nearest first; its lines.

    `box` is its place in points of the level page, as those of segments.
    """

    field: FormField
    page: int
    box: Box
    labels: tuple[tuple[str, float], ...]
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Label:
    """Print that may label a box, what that is worth, and where it stands."""

    text: str
    worth: float
    segment: Segment
    above: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Cell:
    """A field's box in points, with the print around it."""

    field: FormField
    box: Box
    labels: tuple[_Label, ...]


def slots(layout: Layout) -> list[Slot]:
    """The form fields of a document in reading order, without those that hold a part of a value."""
    found: list[Slot] = []
    for page in layout.pages.values():
        fields = _whole(page.fields[: max(0, _MOST_FIELDS - len(found))], page.text)
        if not fields or page.number not in layout.heights:
            continue
        segments = (segment for segment in layout.segments if segment.page == page.number)
        boxed = [(field, level_box(page, field.box)) for field in fields]
        sheet = Sheet(layout, boxed, segments)
        cells = [_Cell(field, box, tuple(sheet.labels(field, box))) for field, box in sheet.fields]
        roles: dict[int, str] = {}
        for cell in cells:
            if not _is_part(cell, cells):
                texts = [*_named(cell.field), *((label.text, label.worth) for label in cell.labels)]
                texts += _inherited(texts, roles, round(cell.box[0] / 10))
                lines = tuple(_lines(cell.field))
                found.append(Slot(cell.field, page.number, cell.box, tuple(texts), lines))
    return found


def _lines(field: FormField) -> Iterator[Line]:
    start = field.start
    for text in field.value.split("\n") if field.end else ():
        yield Line(text, ((start, start + len(text)),))
        start += len(text) + 1


def _whole(fields: Sequence[FormField], text: str) -> list[FormField]:
    """The fields, those that one value is spread over as one: their texts stand side by side."""
    whole: list[FormField] = []
    at = -1
    for field in fields:
        last = whole[at] if field.end and at >= 0 else None
        if last is None or not _GLUE.fullmatch(text, last.end, field.start):
            whole.append(field)
            at = len(whole) - 1 if field.end else at
            continue
        a, b = last.box, field.box
        box = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
        label = last.label if _alike(last.label, field.label) else f"{last.label} {field.label}"
        value = text[last.start : field.end]
        whole[at] = replace(last, value=value, box=box, label=label, end=field.end)
    return whole


def _alike(a: str, b: str) -> bool:
    return _DIGITS.sub("", a) == _DIGITS.sub("", b)


def _named(field: FormField) -> Iterator[tuple[str, float]]:
    """The field's own words: its tool tip, and the parts of its name that are words."""
    parts = [_INDEX.sub("", part)[:_LONGEST_NAME] for part in field.name.split(".")]
    label = _INDEX.sub("", field.label)
    if label and label != parts[-1] and not _NAMELESS.fullmatch(label[:_LONGEST_NAME]):
        yield label, _TIP
    worth = _NAME
    for part in reversed(parts[-3:]):
        if not _NAMELESS.fullmatch(part) and any(char.isalpha() for char in part):
            yield " ".join(unit.word for unit in lexicon().read_name(part)), worth
        worth -= _FURTHER_UP


def _inherited(
    texts: Sequence[tuple[str, float]], roles: dict[int, str], column: int
) -> list[tuple[str, float]]:
    """The labels with the party of the fields above, where they name none: an address under a name."""
    words = lexicon()
    units = [unit for text, _ in texts for unit in words.read(text)]
    told = [concept for unit in units for concept in sorted(unit.concepts & words.roles)]
    if told:
        roles[column] = told[0]
        return []
    role = roles.get(column)
    return [(f"{role} {text}", worth * _INHERITED) for text, worth in texts] if role else []


def _is_part(cell: _Cell, cells: Iterable[_Cell]) -> bool:
    """Whether a box holds only some digits of a value, the others in boxes beside it.

    Such a value stands at several places, with other text between them, and is not put together.
    """
    if not _DIGITS.fullmatch(cell.field.value):
        return False
    own = {label.segment for label in cell.labels if label.above}
    for other in cells:
        if other is cell or not _DIGITS.fullmatch(other.field.value) or not _adjoin(cell, other):
            continue
        shared = {label.segment for label in other.labels if label.above}
        if not own or not shared or own == shared:
            return True
    return False


def _adjoin(cell: _Cell, other: _Cell) -> bool:
    """Whether two boxes of one height stand side by side."""
    a, b = cell.box, other.box
    level = abs(a[1] - b[1]) <= 3 and abs(a[3] - b[3]) <= 3
    return level and max(a[0] - b[2], b[0] - a[2]) < 40


class Sheet:
    """The boxes of one page, and its print, in points; `fields` are (field, box)."""

    def __init__(
        self,
        layout: Layout,
        fields: Sequence[tuple[FormField, Box]],
        segments: Iterable[Segment],
    ) -> None:
        self.fields = fields
        self._boxes = [box for _, box in self.fields]
        self._print = sorted(segments, key=lambda segment: segment.box[1])
        self._unit = max(1.0, layout.body / _USUAL_SIZE)

    def labels(self, field: FormField, box: Box, reach: float | None = None) -> Iterator[_Label]:
        """The print that labels a box: right of a check mark; above or in it, left of it, below it.

        `reach` is how far left a caption above may begin, where that is not where the box does.
        """
        low = bisect_left(
            self._print, box[1] - _AROUND * self._unit, key=lambda segment: segment.box[1]
        )
        high = bisect_left(
            self._print, box[3] + _AROUND * self._unit, key=lambda segment: segment.box[1]
        )
        near = self._print[low:high]
        check = field.kind == "check"
        right = self._beside(box, near, left=False, reach=_BESIDE if check else _CLOSE)
        if right is not None:
            yield _Label(_with_next_lines(right), _PRINT if check else _AFTER, right)
        behind = _BEHIND if check and right is not None else 1.0
        over = self._above(box, near, box[0] if reach is None else reach)
        if over:
            yield _Label(over[-1].text, _PRINT * behind, over[-1], above=True)
        if len(over) > 1:
            text = " ".join(segment.text for segment in over)
            yield _Label(text, _JOINED * behind, over[-1], above=True)
        left = self._beside(box, near, left=True, reach=_BESIDE)
        if left is not None and not (check and self._begins(left, box)):
            yield _Label(left.text, _PRINT * behind, left)
        under = None if check else self._under(box, near)
        if under is not None:
            yield _Label(under.text, _BELOW, under)

    def _above(self, box: Box, near: Sequence[Segment], reach: float) -> list[Segment]:
        """The lines above a box (or in its upper part) that belong to it, from the top."""
        lines: list[Segment] = []
        edge = box[1] + 0.3 * (box[3] - box[1])
        wide = (reach, *box[1:])
        over = (s for s in reversed(near) if middle(s.box) <= edge and shares(s.box, wide))
        for segment in (segment for segment in over if _has_letters(segment)):
            bottom = segment.box[3]
            gap = (lines[0].box[1] if lines else max(box[1], bottom)) - bottom
            far = gap > (_LEADING if lines else _OVER) * segment.size
            if far or len(lines) >= _MOST_LINES or self._parted(segment.box, box):
                break
            lines.insert(0, segment)
        return lines

    def _parted(self, label: Box, box: Box) -> bool:
        """Whether another field's box lies between a label and a box below it."""
        return any(
            other is not box
            and label[1] < middle(other) < box[1]
            and shares(other, label)
            and shares(other, box)
            for other in self._boxes
        )

    def _under(self, box: Box, near: Sequence[Segment]) -> Segment | None:
        """The line under a box (a signature's), unless it is the label of the next box."""
        for segment in near:
            gap = segment.box[1] - box[3]
            if -0.3 * segment.size < gap < segment.size and shares(segment.box, box):
                if _NUMBERED.match(segment.text) or _is_number_of_line(segment.left):
                    return None
                below = segment.box[3]
                taken = any(
                    0 <= other[1] - below < 2 * segment.size and shares(other, segment.box)
                    for other in self._boxes
                )
                return None if taken or not _has_letters(segment) else segment
        return None

    def _beside(
        self, box: Box, near: Sequence[Segment], *, left: bool, reach: float
    ) -> Segment | None:
        """The nearest print left or right of a box in its row, with no other box between."""
        row = [s for s in near if box[1] - 2 <= middle(s.box) <= box[3] + 2]
        if left:
            row = [segment for segment in row if segment.box[2] <= box[0] + 3]
        else:  # recognised words may begin with the box itself
            row = [
                s
                for s in row
                if s.box[0] >= box[2] - 3
                or (s.box[0] >= box[0] - 3 and s.box[2] > 2 * box[2] - box[0])
            ]
        row.sort(key=lambda segment: segment.box[0], reverse=left)
        edge = box[0] if left else box[2]
        for segment in row:
            lo, hi = (segment.box[2], edge) if left else (edge, segment.box[0])
            if hi - lo > reach * self._unit or self._crossed(lo, hi, box):
                return None
            if _has_letters(segment):
                return segment
            edge = segment.box[0] if left else segment.box[2]  # leader dots, a currency
        return None

    def _begins(self, segment: Segment, box: Box) -> bool:
        """Whether print begins with another field's box, and so is its label."""
        level, start = middle(box), segment.box[0]
        return any(
            other is not box
            and other[1] < level < other[3]
            and other[0] - 3 <= start < 2 * other[2] - other[0]
            and other[2] - other[0] < 2 * segment.size
            for other in self._boxes
        )

    def _crossed(self, lo: float, hi: float, box: Box) -> bool:
        """Whether another field's box lies between two places of a box's row."""
        level = middle(box)
        return any(
            other is not box and lo < (other[0] + other[2]) / 2 < hi and other[1] < level < other[3]
            for other in self._boxes
        )


def _is_number_of_line(segment: Segment | None) -> bool:
    return segment is not None and _LINE_NUMBER.fullmatch(segment.text) is not None


def middle(box: Box) -> float:
    """How far down the middle of a box is."""
    return (box[1] + box[3]) / 2


def shares(a: Box, b: Box) -> bool:
    """Whether two boxes share some of their width."""
    return a[0] < b[2] and b[0] < a[2]


def _has_letters(segment: Segment) -> bool:
    return any(char.isalpha() for char in segment.text)


def _with_next_lines(first: Segment) -> str:
    """A label right of a box with its following lines."""
    text, at = first.text, first
    for _ in range(_MOST_LINES - 1):
        below = at.below
        if below is None or abs(below.box[0] - first.box[0]) > 2 * first.size:
            break
        if below.box[1] - at.box[3] > _LEADING * at.size:
            break
        text, at = f"{text} {below.text}", below
    return text
