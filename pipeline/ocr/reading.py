"""From a picture to a Page: its lines found, set level, read, and put in order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from pipeline.document import Box, Page, Word
from pipeline.errors import LoadError
from pipeline.ocr.lines import MOST_LINES, Cutter, Found, Line, find
from pipeline.ocr.models import Models, Picture
from pipeline.ocr.turning import along, axis, stands_on_its_head
from pipeline.ocr.words import Piece, pieces

if TYPE_CHECKING:
    from PIL.Image import Image

#: A larger picture is halved (or more) first: A4 at 400 dpi has 15 million points, at 600 dpi 35.
_MOST_POINTS = 20_000_000
#: Lines whose letters are less sure than this, on average, are no text: rapidocr's threshold.
_LEAST_SURE = 0.5
#: A gap wider than this share of the lower line's height parts columns.
_WIDE_GAP = 0.8
#: Lines stand in one row when their middles are nearer than this share of the lower one's height, and
#: above one another when they share so much of the narrower one's width.
_SAME_ROW, _SHARED = 0.5, 0.5
#: Rows that the next line can belong to: those that began further up have ended.
_OPEN_ROWS = 12


@dataclass(frozen=True, slots=True)
class _Run:
    """A line with its words; `left`, `right` and `level` are its place on the page turned level."""

    line: Line
    words: Sequence[Piece]
    left: float
    right: float
    level: float


@dataclass(frozen=True, slots=True)
class _Turned:
    """A page turned back by `quarters` counter-clockwise, with its lines, width and height.

    `angle` is by how many degrees clockwise they still run off level.
    """

    runs: Sequence[_Run]
    angle: float
    quarters: int
    wide: int
    high: int


def read_page(models: Models, picture: "Image", reader: str) -> Page:
    """Read a picture; see `pipeline.ocr.read`."""
    try:
        points = _points(picture)
        turned = _read(models, points)
    except Exception as error:
        # The networks and opencv have errors of their own for what is no memory.
        if "alloc" in str(error).lower() or "insufficient memory" in str(error).lower():
            raise MemoryError from error
        raise
    width, height = picture.size
    text, words = _text(turned, height / points.shape[0])
    return Page(
        1,
        text,
        tuple(words),
        width=float(width),
        height=float(height),
        reader=reader,
        turn=round(180 - (180 + turned.angle + 90 * turned.quarters) % 360, 2) + 0.0,
    )


def _read(models: Models, points: Picture) -> _Turned:
    """The lines of a page; only one that is turned or stands on its head is looked at twice."""
    found = _found(models, points)
    angle = axis(found)
    lines = along(found, angle)
    cutter = Cutter(points)
    head = 180 if stands_on_its_head(models, cutter, lines) else 0
    quarters = round((angle + head) / 90) % 4
    if quarters:
        # The networks know upright pages best.
        points = np.ascontiguousarray(np.rot90(points, quarters))
        found = _found(models, points)
        angle = axis(found)
        lines = along(found, angle)
        cutter = Cutter(points)
    crops = [cutter.cut(line) for line in lines]
    runs = []
    for line, crop, letters in zip(lines, crops, models.read(crops), strict=True):
        words = pieces(letters, crop)
        if words and fmean(letter.confidence for letter in letters) >= _LEAST_SURE:
            runs.append(_run(line, words, angle))
    high, wide = points.shape[:2]
    return _Turned(runs, angle if runs else 0.0, quarters if runs else 0, wide, high)


def _found(models: Models, points: Picture) -> list[Found]:
    found = find(models, points)
    if len(found) > MOST_LINES:
        raise LoadError(
            "too_large", f"it has more than the {MOST_LINES:,} lines that are read: split it"
        )
    return found


def _text(turned: _Turned, per_point: float) -> tuple[str, list[Word]]:
    """The text of a page in rows, and its words; `per_point` scales their size."""
    text, words = "", list[Word]()
    for row in _rows(turned):
        text += "\n" if text else ""
        for number, run in enumerate(row):
            if number:
                gap = run.left - row[number - 1].right
                wide = gap > _WIDE_GAP * min(run.line.height, row[number - 1].line.height)
                text += "  " if wide else " "
            for place, piece in enumerate(run.words):
                text += " " if place else ""
                end = len(text) + len(piece.text)
                size = run.line.height * per_point
                words.append(
                    Word(len(text), end, _box(run.line, piece, turned), size, piece.confidence)
                )
                text += piece.text
    return text, words


def _run(line: Line, words: Sequence[Piece], angle: float) -> _Run:
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    middle, level = line.x * cos + line.y * sin, line.y * cos - line.x * sin
    # The words' outer ends: the rectangle of a line is larger than its ink.
    left, right = (
        share * line.width + middle - line.width / 2 for share in (words[0].left, words[-1].right)
    )
    return _Run(line, words, left, right, level)


def _rows(turned: _Turned) -> list[list[_Run]]:
    """Lines of one height, from left to right; the rows from top to bottom."""
    rows: list[list[_Run]] = []
    for run in sorted(turned.runs, key=lambda run: (run.level, run.left)):
        fitting = [
            (off, number)
            for number, row in enumerate(rows[-_OPEN_ROWS:])
            if (off := _off(run, row, turned.angle)) < _SAME_ROW
        ]
        if fitting:
            rows[-_OPEN_ROWS:][min(fitting)[1]].append(run)
        else:
            rows.append([run])
    rows.sort(key=lambda row: sum(run.level for run in row) / len(row))
    return [sorted(row, key=lambda run: run.left) for row in rows]


def _off(run: _Run, row: Sequence[_Run], angle: float) -> float:
    """How far a line is from the height of a row, in heights; measured at its nearest neighbour there."""
    nearest = min(row, key=lambda other: max(run.left - other.right, other.left - run.right))
    shared = min(run.right, nearest.right) - max(run.left, nearest.left)
    if shared > _SHARED * min(run.right - run.left, nearest.right - nearest.left):
        return math.inf
    if any(math.cos(math.radians(each.line.angle - angle)) < 0.5 for each in (run, nearest)):
        return math.inf  # it runs along the margin
    return abs(run.level - nearest.level) / min(run.line.height, nearest.line.height)


def _box(line: Line, piece: Piece, turned: _Turned) -> Box:
    """The box around a word, of the page as it was before it was turned back."""
    along, across = line.along
    middle = (piece.left + piece.right - 1) / 2 * line.width
    x, y = line.x + along * middle, line.y + across * middle
    width = (piece.right - piece.left) * line.width
    half_x = (abs(along) * width + abs(across) * line.height) / 2
    half_y = (abs(across) * width + abs(along) * line.height) / 2
    left, right = _share(x - half_x, turned.wide), _share(x + half_x, turned.wide)
    top, bottom = _share(y - half_y, turned.high), _share(y + half_y, turned.high)
    for _ in range(turned.quarters):
        left, top, right, bottom = 1 - bottom, left, 1 - top, right
    return left, top, right, bottom


def _share(place: float, whole: int) -> float:
    return min(1.0, max(0.0, place / whole))


def _points(picture: "Image") -> Picture:
    """The picture's points as bytes (height, width, blue-green-red), bounded."""
    plain = picture.convert("L") if picture.mode == "1" else picture
    factor = math.ceil(math.sqrt(plain.width * plain.height / _MOST_POINTS))
    if factor > 1:
        plain = plain.reduce((min(factor, plain.width), min(factor, plain.height)))
    return np.ascontiguousarray(np.asarray(plain.convert("RGB"))[:, :, ::-1])
