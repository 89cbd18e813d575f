"""Where lines of text stand in a picture: tiles for the network, and rectangles from what it finds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.ocr.models import HEIGHT, MOST_WIDTH, Floats, Models, Picture

#: The network takes sides that are multiples of this.
_STRIDE = 32
#: A picture is looked at with a narrower side of so many points: A4 at 116 dpi. On scanned receipts and
#: pages drawn at 300 dpi, 1,408 finds 0.1 % more of the words, and takes twice as long.
_NARROW = (736, 960)
#: Small pictures are enlarged at first by no more than this.
_LARGER = 2.0
#: Where this share (in percent) of the lines is lower than `_SMALL` points, a second look makes them
#: `_CLEAR` points high, with a narrower side of up to `_CLOSEST`, if that is so much closer.
_SMALL_SHARE, _SMALL, _CLEAR, _CLOSEST, _WORTH = 20, 13.0, 20.0, 2048, 1.2
#: Points of one tile (each takes 280 bytes of memory while the network looks at it), and how far two
#: overlap: twice the height of most lines.
_TILE, _OVERLAP = 1_400_000, 128
#: A picture that would take more tiles is looked at smaller.
_MOST_TILES = 14
_LEAST_SIDE = 8
#: What the network was trained for (DB, arXiv:1911.08947, and rapidocr's settings): cores are points above
#: the first, lines have a mean above the second; a core is smaller than its line by `_GROWN` x area / outline.
_CORE, _SURE, _GROWN = 0.3, 0.5, 1.6
#: Cores that are thinner are no text.
_THIN = 3.0
_FINE = 2
#: The network's answer of 1, kept in a byte.
_WHOLE = 255
#: More lines than a page of the smallest print has; each takes about 20 ms.
MOST_LINES = 4_000


@dataclass(frozen=True, slots=True)
class Line:
    """A rectangle with a line of text, in points of the picture.

    `angle` is the way the text runs, in degrees clockwise from level, left to right.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float

    @property
    def along(self) -> tuple[float, float]:
        """The direction of the text, of length 1."""
        return math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))

    def quarter(self) -> "Line":
        """The same rectangle with its text running a quarter turn further clockwise."""
        return replace(self, width=self.height, height=self.width, angle=self.angle + 90)


@dataclass(frozen=True, slots=True)
class Found:
    """The outline of a line's core (n x 2 points of the picture)."""

    outline: Floats

    def long_side(self) -> Line:
        """The smallest rectangle around it, the text along its longer side (-90 < angle <= 90)."""
        (x, y), (width, height), angle = cv2.minAreaRect(self.outline)
        line = Line(x, y, width, height, angle)
        if width < height:
            line = line.quarter()
        return replace(line, angle=90 - (90 - line.angle) % 180)

    def at(self, angle: float) -> Line:
        """The smallest rectangle around it whose text runs at that angle."""
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        turned = self.outline @ np.array([[cos, -sin], [sin, cos]], np.float32)
        (left, top), (right, bottom) = turned.min(axis=0), turned.max(axis=0)
        x, y = (left + right) / 2, (top + bottom) / 2
        return Line(
            float(x * cos - y * sin),
            float(x * sin + y * cos),
            float(right - left),
            float(bottom - top),
            angle,
        )


def grown(line: Line) -> Line:
    """A core's rectangle as large as the line itself."""
    more = _GROWN * line.width * line.height / (line.width + line.height)
    return replace(line, width=line.width + more, height=line.height + more)


def find(models: Models, picture: Picture) -> list[Found]:
    """The cores of all lines of a picture; a second, closer look where the letters are small."""
    short = min(picture.shape[:2])
    scale = min(_NARROW[1] / short, max(1.0, min(_LARGER, _NARROW[0] / short)))
    found = _look(models, picture, scale)
    heights = [grown(each.long_side()).height for each in found]
    low = float(np.percentile(heights, _SMALL_SHARE)) * scale if heights else _SMALL
    closer = min(scale * _CLEAR / max(low, 1.0), max(1.0, scale), _CLOSEST / short)
    if low < _SMALL and closer > _WORTH * scale:
        return _look(models, picture, closer)
    return found


def _look(models: Models, picture: Picture, scale: float) -> list[Found]:
    """The cores of the lines at a scale, which is smaller where the picture would take too much time."""
    high, wide = picture.shape[:2]
    scale = min(scale, math.sqrt(_MOST_TILES * _TILE / (high * wide)))
    size = (max(_LEAST_SIDE, round(wide * scale)), max(_LEAST_SIDE, round(high * scale)))
    small = picture
    if size != (wide, high):
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)
    return list(_cores(_sureness(models, small), wide / size[0], high / size[1]))


def _sureness(models: Models, picture: Picture) -> Picture:
    """What the network says of each point (0..255), tile by tile along the longer side."""
    lying = picture.shape[1] > picture.shape[0]
    standing = picture.swapaxes(0, 1) if lying else picture
    sure = np.zeros(standing.shape[:2], np.uint8)
    for first, last, start, end in _tiles(*standing.shape[:2]):
        cut = standing[first:last].swapaxes(0, 1) if lying else standing[first:last]
        high, wide = cut.shape[:2]
        full = cv2.copyMakeBorder(cut, 0, -high % _STRIDE, 0, -wide % _STRIDE, cv2.BORDER_REPLICATE)
        found = (models.find(np.asarray(full, np.uint8))[:high, :wide] * _WHOLE).astype(np.uint8)
        sure[start:end] = (found.T if lying else found)[start - first : end - first]
    return np.ascontiguousarray(sure.T) if lying else sure


def _tiles(high: int, wide: int) -> Iterator[tuple[int, int, int, int]]:
    """Tiles of one height: the first and last row that is looked at, and those whose answer is kept."""
    most = max(2 * _OVERLAP, _TILE // wide)
    count = max(1, math.ceil((high - _OVERLAP) / (most - _OVERLAP)))
    each = math.ceil((high + (count - 1) * _OVERLAP) / count)
    starts = [number * (high - each) // max(1, count - 1) for number in range(count)]
    # What is near a cut is seen by both tiles; each keeps the half that it sees more around of.
    borders = [0, *((here + each + there) // 2 for here, there in pairwise(starts)), high]
    for first, (start, end) in zip(starts, pairwise(borders), strict=True):
        yield first, first + each, start, end


def _cores(sure: Picture, across: float, down: float) -> Iterator[Found]:
    """The outlines that are sure enough; `across` and `down` scale them to the picture."""
    # Enlarged, the outline runs between points: a core is few points high, and a line far higher than it.
    size = (sure.shape[1] * _FINE, sure.shape[0] * _FINE)
    fine = np.asarray(cv2.resize(sure, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    outlines, _ = cv2.findContours(
        (fine > _CORE * _WHOLE).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )
    scale = np.array([across / _FINE, down / _FINE], np.float32)
    for outline in outlines:
        rectangle = cv2.minAreaRect(outline)
        corners = np.asarray(cv2.boxPoints(rectangle), np.float32)
        if min(rectangle[1]) < _THIN * _FINE or _mean(fine, corners) < _SURE * _WHOLE:
            continue
        yield Found((outline[:, 0].astype(np.float32) + np.float32(0.5)) * scale)


def _mean(sure: Picture, corners: NDArray[np.float32]) -> float:
    """The mean sureness within a rectangle."""
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, None)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 1
    part = sure[top:bottom, left:right]
    mask = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(mask, [(corners - (left, top)).astype(np.int32)], 1)
    return float(cv2.mean(part, mask)[0])


class Cutter:
    """Cuts lines out of a picture, level and `HEIGHT` points high."""

    def __init__(self, picture: Picture) -> None:
        self._smaller = [picture]

    def cut(self, line: Line, most: int = MOST_WIDTH) -> Picture:
        """A line's own picture, at most `most` points wide."""
        high = max(line.height, 1.0)
        width = int(min(most, max(8, math.ceil(line.width * HEIGHT / high))))
        level = max(0, min(6, int(math.log2(high / HEIGHT)) if high > HEIGHT else 0))
        while len(self._smaller) <= level:
            last = self._smaller[-1]
            size = (max(1, last.shape[1] // 2), max(1, last.shape[0] // 2))
            self._smaller.append(
                np.asarray(cv2.resize(last, size, interpolation=cv2.INTER_AREA), np.uint8)
            )
        picture = self._smaller[level]
        share = (
            picture.shape[1] / self._smaller[0].shape[1],
            picture.shape[0] / self._smaller[0].shape[0],
        )
        return _warped(picture, line, share, width)


def _warped(picture: Picture, line: Line, share: tuple[float, float], width: int) -> Picture:
    cos, sin = line.along
    along = np.array([cos * share[0], sin * share[1]]) * line.width
    down = np.array([-sin * share[0], cos * share[1]]) * line.height
    start = np.array([line.x * share[0], line.y * share[1]]) - along / 2 - down / 2
    corners = np.array([start, start + along, start + down, start + along + down])
    # Only what is needed is handed over: opencv refuses pictures with a side above 32,767.
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2, 0)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 3
    part = picture[top:bottom, left:right]
    if not part.size:
        return np.full((HEIGHT, width, 3), 255, np.uint8)
    matrix = np.array([along / width, down / HEIGHT]).T
    origin = start - (left, top) + matrix @ (0.5, 0.5) - 0.5
    affine = np.column_stack([matrix, origin])
    return np.asarray(
        cv2.warpAffine(
            part,
            affine,
            (width, HEIGHT),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )
