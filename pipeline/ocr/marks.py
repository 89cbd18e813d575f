"""Boxes and circles to tick on a page's picture, found by their outlines, and whether they are ticked."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.document import Box, FormField, Page, Word

if TYPE_CHECKING:
    from PIL.Image import Image

#: A larger picture is looked at smaller.
_MOST_POINTS = 20_000_000
#: Sides of a box in heights of the page's words, and at least so many pixels.
_SMALLEST, _LARGEST, _FEWEST = 0.68, 2.2, 9
#: How much of each side has to be drawn.
_DRAWN = 0.86
#: How near (widths) to its corners there is ink: letters are bent there.
_CORNER = 0.13
#: How much longer one side may be than the other.
_SQUARE = 1.3
#: Ink in a box from which on it is ticked, and in the middle of a circle; clean paper has less than `_CLEAN`.
_TICKED, _DOTTED, _CLEAN = 0.07, 0.45, 0.03
#: Roundness (4 pi area / perimeter squared) of a circle drawn in pixels; thickness of its line to its width.
_ROUND, _THIN = 0.8, 0.22
#: The middle of a shape whose outline is hidden begins this far in.
_CORE = 0.3
#: How small or big (widths of its likes) a scrawl over a box is, how much of it is ink, and how far
#: below the last box of its column it may stand.
_HIDDEN, _SCRAWLED, _COLUMN = (0.85, 1.9), 0.2, 8.0
#: How far its words may stand from a box: beside it, above it (heights of words); a gap that parts words.
_BESIDE, _OVER, _APART = 2.5, 1.6, 1.1
#: Boxes of one size that stand closer than this (widths) in a row are for one character each.
_COMB, _COMB_LENGTH = 0.6, 3
#: A page with more shapes than this is a drawing or a pattern.
_MOST_SHAPES, _MOST_SIDES = 400, 3000
_LONGEST_LABEL = 120
#: What a box is taken for.
_BOXLIKE = "oO0QD口ロ"
#: How recognisers write the boxes themselves.
_GLYPHS = "☐☑☒□■◻◯○●"


@dataclass(frozen=True, slots=True)
class _Shape:
    """An outline in pixels, and whether there is a mark in it; `round` for circles."""

    x0: int
    y0: int
    x1: int
    y1: int
    ticked: bool
    round: bool = False

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def middle(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True, slots=True)
class _Run:
    """A word in pixels."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def level(self) -> float:
        return (self.y0 + self.y1) / 2


def on_page(picture: "Image", page: Page) -> tuple[FormField, ...]:
    """The check fields of a page whose words were recognised on a picture, boxes as those of its words.

    A page that is turned or lies askew is set level first.
    """
    import numpy as np
    from PIL.Image import Resampling

    grey = picture.convert("L")
    less = math.ceil((grey.width * grey.height / _MOST_POINTS) ** 0.5)
    grey = grey.reduce(less) if less > 1 else grey
    if not page.turn:
        return marks(np.asarray(grey), page.words, page.text)
    level = grey.rotate(-page.turn, resample=Resampling.BILINEAR, expand=True, fillcolor=255)
    there, back = _Turn(grey.size, level.size, page.turn), _Turn(level.size, grey.size, -page.turn)
    words = [replace(word, box=there.box(word.box, word.size / less)) for word in page.words]
    found = marks(np.asarray(level), words, page.text)
    return tuple(replace(field, box=back.box(field.box, None)) for field in found)


@dataclass(frozen=True, slots=True)
class _Turn:
    """Boxes of one picture to those of the same turned clockwise by some degrees about its middle."""

    size: tuple[int, int]
    turned: tuple[int, int]
    degrees: float

    def box(self, box: Box, high: float | None) -> Box:
        """The box around the same middle: as high as said and as long as the words are, else as big."""
        (width, height), (wide, tall) = self.size, self.turned
        cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        x, y = (box[0] + box[2] - 1) / 2 * width, (box[1] + box[3] - 1) / 2 * height
        x, y = x * cos - y * sin + wide / 2, x * sin + y * cos + tall / 2
        across, down = (box[2] - box[0]) * width, (box[3] - box[1]) * height
        if abs(cos) < abs(sin):
            across, down = down, across
        if high:
            steep = min(abs(sin), abs(cos))
            across, down = max(0.3 * high, (across - high * steep) / max(abs(sin), abs(cos))), high
        edges = (
            (x - across / 2) / wide,
            (y - down / 2) / tall,
            (x + across / 2) / wide,
            (y + down / 2) / tall,
        )
        return tuple(min(1.0, max(0.0, edge)) for edge in edges)  # type: ignore[return-value]


def marks(picture: Any, words: Sequence[Word], text: str) -> tuple[FormField, ...]:
    """The boxes and circles to tick of a page as check fields, in reading order.

    A box is a square outline by itself, about as high as the words and beside or below some of
    them, which become its label. Circles count only where one of them has a dot: hollow ones are
    bullets, too. Outlines within words, cells of tables and rows of boxes for one character each
    are none.

    Args:
        picture: the page, level and upright, as a numpy array of grey (height x width, uint8).
        words: its words, their boxes in 0..1 of the picture.
        text: what the words' `start` and `end` count in.

    """
    height, width = picture.shape[:2]
    runs = [
        _Run(text[w.start : w.end], w.box[0] * width, w.box[1] * height, w.box[2] * width, w.box[3] * height)
        for w in words
    ]  # fmt: skip
    heights = sorted(run.y1 - run.y0 for run in runs)
    if not heights:
        return ()
    body = heights[len(heights) // 2]
    ink = _ink(picture, body)
    shapes = [*_squares(ink, body), *_circles(ink, body)]
    if len(shapes) > _MOST_SHAPES:
        return ()
    shapes = [shape for shape in _without_combs(shapes) if not _in_word(shape, runs)]
    shapes += [s for s in _scrawls(ink, shapes) if not _in_word(s, runs, boxlike="")]
    ticked = [shape for shape in shapes if shape.ticked]
    shapes = [s for s in shapes if not s.round or any(_is_like(s, other) for other in ticked)]
    return tuple(_fields(shapes, runs, body, (width, height)))


def _fields(
    shapes: Sequence[_Shape], runs: Sequence[_Run], body: float, size: tuple[int, int]
) -> Iterator[FormField]:
    width, height = size
    ordered = sorted(shapes, key=lambda shape: (round(shape.middle[1] / body), shape.x0))
    for shape in ordered:
        label = _label(shape, ordered, runs, body)
        if label:
            box: Box = (
                shape.x0 / width, shape.y0 / height, shape.x1 / width, shape.y1 / height
            )  # fmt: skip
            yield FormField(
                _question(shape, ordered, runs, body),
                label,
                "true" if shape.ticked else "false",
                "check",
                box,
            )


def _question(shape: _Shape, shapes: Sequence[_Shape], runs: Sequence[_Run], body: float) -> str:
    """The words before the first of several boxes in a row, which all of them answer; else nothing."""
    level = shape.middle[1]
    row = [s for s in shapes if abs(s.middle[1] - level) < 0.6 * body]
    edge = min(s.x0 for s in row)
    words = [run for run in runs if run.x1 <= edge and abs(run.level - level) < 0.6 * body]
    return " ".join(run.text for run in words)[-_LONGEST_LABEL:] if len(row) > 1 else ""


def _ink(picture: Any, body: float) -> Any:
    """Where the paper is darker than around, as 0 and 1; dust of single pixels left out."""
    import cv2

    block = int(max(15, 2 * body)) | 1
    smooth = cv2.GaussianBlur(picture, (3, 3), 0)
    return cv2.adaptiveThreshold(
        smooth, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, block, 12
    )


def _squares(ink: Any, body: float) -> Iterator[_Shape]:
    """Squares by their upper and lower sides, which end where the square does, and ink at the others."""
    import cv2

    least, most = max(_FEWEST, int(_SMALLEST * body)), int(_LARGEST * body)
    level = cv2.morphologyEx(
        ink, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_RECT, (3, 1))
    )
    level = cv2.morphologyEx(
        level, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_RECT, (int(0.8 * least), 1))
    )
    _, _, found, _ = cv2.connectedComponentsWithStats(level, connectivity=8)
    sides = sorted(
        (int(y), int(x), int(x + w), int(y + h))
        for x, y, w, h, _ in found[1:]
        if least <= w <= most and h <= max(4, 0.4 * w)
    )
    if len(sides) > _MOST_SIDES:
        return
    taken: set[int] = set()
    for number, (top, x0, x1, upper) in enumerate(sides):
        for other in range(number + 1, len(sides)):
            _, left, right, bottom = sides[other]
            if bottom - top > _SQUARE * (x1 - x0) + 2:
                break
            slack = max(2, 0.15 * (x1 - x0))
            if (
                number in taken
                or abs(left - x0) > slack
                or abs(right - x1) > slack
                or bottom - top < (x1 - x0) / _SQUARE
            ):
                continue
            shape = _square(ink, (min(x0, left), top, max(x1, right), bottom), (upper - top))
            if shape is not None:
                taken |= {number, other}
                yield shape


def _square(ink: Any, edges: tuple[int, int, int, int], line: int) -> _Shape | None:
    """The square between two level sides, if both upright ones are drawn and nothing goes on outside."""
    x0, y0, x1, y1 = edges
    slack = max(2, round(0.12 * (x1 - x0)))
    # One row or column for a whole side: those of letters (D, B, O) are bent or broken.
    sides = (
        ink[y0:y1, max(0, x0 - slack) : x0 + slack + 1].mean(axis=0).max(),
        ink[y0:y1, max(0, x1 - slack - 1) : x1 + slack].mean(axis=0).max(),
        ink[max(0, y0 - slack) : y0 + slack + 1, x0:x1].mean(axis=1).max(),
        ink[max(0, y1 - slack - 1) : y1 + slack, x0:x1].mean(axis=1).max(),
    )
    corner = max(2, round(_CORNER * (x1 - x0)))
    corners = [
        ink[y : y + corner, x : x + corner].any()
        for y in (y0, y1 - corner)
        for x in (x0, x1 - corner)
    ]
    if min(sides) < _DRAWN or not all(corners):
        return None
    for x in (x0, x1 - 1):  # sides of a table's cells go on
        reach = slice(max(0, x - slack), x + slack + 1)
        far = max(4, (y1 - y0) // 2)
        over, under = ink[max(0, y0 - far) : max(0, y0 - 2), reach], ink[y1 + 2 : y1 + far, reach]
        if all(part.size and part.any(axis=1).mean() > _DRAWN for part in (over, under)):
            return None
    edge = max(2, line) + max(1, round(0.08 * (x1 - x0)))
    inside = ink[y0 + edge : y1 - edge, x0 + edge : x1 - edge]
    if min(inside.shape) < 3:
        return None
    return _Shape(x0, y0, x1, y1, bool(inside.mean() >= _TICKED))


def _circles(ink: Any, body: float) -> Iterator[_Shape]:
    """Rings of one line, empty ones and those with a dot in their middle."""
    import cv2

    outlines, tree = cv2.findContours(ink, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    links: Any = tree[0] if outlines else ()
    for outline, (_, _, child, parent) in zip(outlines, links, strict=True):
        x, y, w, h = cv2.boundingRect(outline)
        if parent >= 0 or child < 0 or not _SMALLEST * body <= w <= _LARGEST * body or w < _FEWEST:
            continue
        _, _, inner, inside = cv2.boundingRect(outlines[child])
        thin = (w - inner) / 2 <= max(2, _THIN * w) and abs(inner - inside) <= max(2, 0.12 * w)
        if abs(w - h) <= max(2, 0.12 * w) and thin and _is_round(outline):
            third = w // 3
            dot = ink[y + third : y + h - third, x + third : x + w - third].mean()
            if dot >= _DOTTED or dot <= _CLEAN:
                yield _Shape(x, y, x + w, y + h, bool(dot >= _DOTTED), round=True)


def _scrawls(ink: Any, shapes: Sequence[_Shape]) -> Iterator[_Shape]:
    """What was crossed or blacked out so that no outline is left, beside or below its likes."""
    import cv2

    if not shapes:
        return
    _, _, found, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    widths = [shape.width for shape in shapes]
    least, most = _HIDDEN[0] * min(widths), _HIDDEN[1] * max(widths)
    for x, y, w, h, area in found[1:]:
        if not (least <= w <= most and least <= h <= most and area >= _SCRAWLED * w * h):
            continue
        made = _Shape(int(x), int(y), int(x + w), int(y + h), ticked=True)
        before = ink[y : y + h, max(0, x - w // 2) : x]
        if before.any() or any(_overlap(made, shape) for shape in shapes):
            continue
        like = next((shape for shape in shapes if _is_beside(made, shape)), None)
        if like is not None:
            across, down = round(_CORE * w), round(_CORE * h)
            inside = ink[y + down : y + h - down, x + across : x + w - across].mean()
            yield replace(made, ticked=bool(inside >= _TICKED), round=like.round)


def _is_beside(made: _Shape, shape: _Shape) -> bool:
    """Whether something stands in the row or the column of a shape and is about as big."""
    size = shape.width
    fits = all(
        _HIDDEN[0] * size <= side <= _HIDDEN[1] * size for side in (made.width, made.y1 - made.y0)
    )
    across, down = (abs(a - b) for a, b in zip(made.middle, shape.middle, strict=True))
    return fits and (down < 0.4 * size or (across < 0.4 * size and down < _COLUMN * size))


def _is_like(a: _Shape, b: _Shape) -> bool:
    """Whether two shapes may be choices of one form: about as big."""
    return max(a.width, b.width) <= _HIDDEN[1] * min(a.width, b.width)


def _overlap(a: _Shape, b: _Shape) -> bool:
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


def _is_round(outline: Any) -> bool:
    import cv2

    around = cv2.arcLength(outline, closed=True)
    area = cv2.contourArea(outline)
    _, radius = cv2.minEnclosingCircle(outline)
    disc = 3.1416 * radius * radius
    return bool(around and 12.566 * area / (around * around) >= _ROUND and area >= 0.82 * disc)


def _without_combs(shapes: Iterable[_Shape]) -> list[_Shape]:
    """The shapes, rows of boxes side by side left out: one character is written into each."""
    ordered = sorted(shapes, key=lambda shape: (shape.middle[1], shape.x0))
    kept: list[_Shape] = []
    for shape in ordered:
        row = [
            other for other in ordered if abs(other.middle[1] - shape.middle[1]) < 0.4 * shape.width
        ]
        row.sort(key=lambda other: other.x0)
        at = row.index(shape)
        length = 1
        for step in (-1, 1):
            near = at
            while 0 <= near + step < len(row) and _touch(row[near], row[near + step]):
                near += step
                length += 1
        if length < _COMB_LENGTH:
            kept.append(shape)
    return kept


def _touch(a: _Shape, b: _Shape) -> bool:
    gap = max(a.x0, b.x0) - min(a.x1, b.x1)
    return gap < _COMB * min(a.width, b.width)


def _in_word(shape: _Shape, runs: Iterable[_Run], boxlike: str = _BOXLIKE) -> bool:
    """Whether an outline is a letter: within a word, unless what is read there may be a box."""
    x, y = shape.middle
    for run in runs:
        if not (run.x0 <= x <= run.x1 and run.y0 <= y <= run.y1):
            continue
        if len(run.text) == 1 and (run.text.isascii() or not run.text.isalnum()):
            continue  # a ticked box is read as some letter
        first, last = x < run.x0 + shape.width, x > run.x1 - shape.width
        char = run.text[0] if first else run.text[-1] if last else "x"
        if char.isalnum() and char not in boxlike:
            return True
    return False


def _label(shape: _Shape, shapes: Sequence[_Shape], runs: Sequence[_Run], body: float) -> str:
    """The words right of a shape, else left of it, else above it."""
    x, y = shape.middle
    row = sorted((run for run in runs if run.y0 - 0.1 * body <= y <= run.y1 + 0.1 * body and _says(run)), key=lambda run: run.x0)  # fmt: skip
    others = [s for s in shapes if s is not shape and abs(s.middle[1] - y) < 0.6 * body]
    stop = min((s.x0 for s in others if s.x0 > x), default=float("inf"))
    right = _together([r for r in row if x < (r.x0 + r.x1) / 2 and r.x1 > shape.x1 and r.x0 < stop], shape.x1, body)  # fmt: skip
    if right:
        return right
    start = max((s.x1 for s in others if s.x1 < x), default=0)
    left = _together([r for r in reversed(row) if r.x1 <= x and r.x0 >= start], shape.x0, body)
    if left:
        return " ".join(reversed(left.split(" ")))
    if others:
        return ""
    over = [run for run in runs if run.y1 <= y and shape.y0 - run.y1 <= _OVER * body and run.x0 < shape.x1 + body and run.x1 > shape.x0 - body and _says(run)]  # fmt: skip
    level = max((run.level for run in over), default=0.0)
    return " ".join(run.text for run in over if level - run.level < 0.5 * body)[:_LONGEST_LABEL]


def _says(run: _Run) -> bool:
    return any(char.isalnum() for char in run.text)


def _together(row: Iterable[_Run], edge: float, body: float) -> str:
    """The words that follow each other from an edge on, the first a little further away."""
    found: list[str] = []
    reach = _BESIDE * body
    for run in row:
        gap = max(run.x0 - edge, edge - run.x1)
        if gap > reach:
            break
        found.append(run.text.strip(_GLYPHS) or run.text)
        edge, reach = (run.x1 if run.x0 >= edge - body else run.x0), _APART * body
    return " ".join(found)[:_LONGEST_LABEL]
