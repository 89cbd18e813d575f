"""Which way a page is turned: its axis from the lines' rectangles, and whether it stands on its head."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from pipeline.ocr.lines import Cutter, Found, Line, grown
from pipeline.ocr.models import Letter, Models

#: A rectangle this much longer than high shows how its text runs; shorter ones may be one letter.
_LONG, _VERY_LONG = 2.5, 5.0
#: Degrees around the commonest angle within which lines are of the page, not of a stamp or a margin.
_NEAR = 8
#: So many of the longest lines are asked which way up they stand, and so sure they have to be together.
_ASKED, _SURE = 9, 0.25
#: The classifier was trained on pieces about four times as long as high.
_PIECE = 6.0
#: The wider pieces would only be squeezed; reading them both ways costs what they are wide.
_WIDEST = 640


def axis(found: Sequence[Found]) -> float:
    """The angle of most of the text on a page, -90 < angle <= 90: which of its two ways isn't told.

    The weighted median of what is near to the commonest angle; the length of a line is its weight.
    """
    lines = [line for each in found if (line := each.long_side()).width > _LONG * line.height]
    if not lines:
        return 0.0
    angles = np.array([line.angle for line in lines])
    weights = np.array(
        [line.width * min(1.0, line.width / line.height / _VERY_LONG) for line in lines]
    )
    bins = np.bincount(np.round(angles).astype(int) % 180, weights, 180)
    around = sum(np.roll(bins, shift) for shift in range(-2, 3))
    commonest = int(np.argmax(around))
    off = (angles - commonest + 90) % 180 - 90
    near = np.abs(off) <= _NEAR
    order = np.argsort(off[near])
    sums = np.cumsum(weights[near][order])
    middle = off[near][order][np.searchsorted(sums, sums[-1] / 2)]
    return float(90 - (90 - (commonest + middle)) % 180)


def along(found: Sequence[Found], angle: float) -> list[Line]:
    """The lines of a page whose text runs at that angle; long ones keep their own."""
    return [grown(_along(each, angle)) for each in found]


def _along(found: Found, angle: float) -> Line:
    line = found.long_side()
    off = (line.angle - angle + 90) % 180 - 90
    if abs(off) <= _NEAR and line.width > _VERY_LONG * line.height:
        return replace(line, angle=angle + off)
    if abs(off) > 90 - _NEAR and line.width > _LONG * line.height:
        # Text along the margin: it runs upwards, as on the backs of books and beside pictures.
        return replace(line, angle=angle - 90)
    return found.at(angle)


def stands_on_its_head(models: Models, cutter: Cutter, lines: Sequence[Line]) -> bool:
    """Whether the text of these lines runs the other way round."""
    asked = sorted(lines, key=lambda line: -line.width / max(line.height, 1))
    asked = [_piece(line) for line in asked[:_ASKED] if line.width > 1.5 * line.height]
    if not asked:
        return False
    crops = [cutter.cut(line, _WIDEST) for line in asked]
    vote = float(models.upside_down(crops).mean())
    if len(asked) >= 3 and abs(vote - 0.5) > _SURE:
        return vote > 0.5
    turned = [np.ascontiguousarray(crop[::-1, ::-1]) for crop in crops]
    return _sureness(models.read(turned)) > _sureness(models.read(crops)) + 0.02


def _piece(line: Line) -> Line:
    return replace(line, width=min(line.width, _PIECE * line.height))


def _sureness(read: Sequence[Sequence[Letter]]) -> float:
    """How sure the reader is, on average over lines; no letters are no sureness."""
    means = [fmean(letter.confidence for letter in line) if line else 0.0 for line in read]
    return fmean(means)
