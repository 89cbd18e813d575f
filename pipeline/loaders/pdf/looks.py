"""How much of a PDF page lies under pictures and drawings: what is seen there and stands in no text."""

import ctypes
from collections.abc import Iterator
from typing import Any, Final

from pipeline.loaders.pdf.words import View

#: A page's sides are told in so many steps.
_GRID: Final = 64
#: Beyond so many things a page is a drawing as a whole: a map, a plan. A dense table has some 2,000.
_MOST: Final = 6000
#: Points of a path that are looked at, and how many of them on curves make it more than a frame: a
#: rounded frame and a circle have 12, a letter as an outline more.
_POINTS, _CURVED = 64, 12
#: How deep pictures may lie in forms inside of forms.
_DEEPEST: Final = 4

Matrix = tuple[float, float, float, float, float, float]
Corners = tuple[float, float, float, float]
_SAME: Final[Matrix] = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def pictured(page: Any, view: View) -> float:
    """The share (0..1) of a page that lies under pictures, shadings and curved drawings (letters as outlines, charts).

    Lines, frames and filled boxes, as tables have them, don't count, nor does what is not seen.

    Args:
        page: a pypdfium2 page.
        view: the same page as it is seen.

    """
    import pypdfium2.raw as pdfium

    if pdfium.FPDFPage_CountObjects(page.raw) > _MOST:
        return 1.0
    rows = [0] * _GRID
    for number, corners in enumerate(_looks(page.raw, _SAME, 0)):
        if number > _MOST:
            return 1.0
        _cover(rows, corners, view)
    return sum(row.bit_count() for row in rows) / _GRID**2


def _cover(rows: list[int], corners: Corners, view: View) -> None:
    """Mark the squares that a rectangle touches with at least half of their breadth."""
    left, bottom, right, top = corners
    first, last = _steps(left - view.left, right - view.left, view.width)
    low, high = _steps(bottom - view.bottom, top - view.bottom, view.height)
    bits = (1 << last) - (1 << first) if last > first else 0
    for row in range(low, high):
        rows[row] |= bits


def _steps(start: float, end: float, side: float) -> tuple[int, int]:
    def step(value: float) -> int:
        share = value / side * _GRID
        return round(min(_GRID, max(0.0, share))) if share == share else 0  # noqa: PLR0124, NaN

    return step(start), step(end)


def _looks(holder: Any, matrix: Matrix, depth: int) -> Iterator[Corners]:
    """The rectangles of what only its look tells, of a page, or of a form object inside of it."""
    import pypdfium2.raw as pdfium

    count, get = pdfium.FPDFPage_CountObjects, pdfium.FPDFPage_GetObject
    if depth:
        count, get = pdfium.FPDFFormObj_CountObjects, pdfium.FPDFFormObj_GetObject
    for index in range(min(count(holder), _MOST)):
        thing = get(holder, index)
        kind = pdfium.FPDFPageObj_GetType(thing)
        if kind == pdfium.FPDF_PAGEOBJ_FORM and depth < _DEEPEST:
            yield from _looks(thing, _times(_matrix(thing), matrix), depth + 1)
        elif kind in {pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_SHADING} or (
            kind == pdfium.FPDF_PAGEOBJ_PATH and _is_curved(thing)
        ):
            yield _placed(_bounds(thing), matrix)


def _is_curved(path: Any) -> bool:
    import pypdfium2.raw as pdfium

    count = pdfium.FPDFPath_CountSegments(path)
    if count <= _CURVED:
        return False
    kinds = (
        pdfium.FPDFPathSegment_GetType(pdfium.FPDFPath_GetPathSegment(path, index))
        for index in range(min(count, _POINTS))
    )
    return sum(int(kind == pdfium.FPDF_SEGMENT_BEZIERTO) for kind in kinds) > _CURVED


def _bounds(thing: Any) -> Corners:
    import pypdfium2.raw as pdfium

    edges = [ctypes.c_float() for _ in range(4)]
    if not pdfium.FPDFPageObj_GetBounds(thing, *edges):
        return 0.0, 0.0, 0.0, 0.0
    left, bottom, right, top = (edge.value for edge in edges)
    return left, bottom, right, top


def _matrix(thing: Any) -> Matrix:
    import pypdfium2.raw as pdfium

    found = pdfium.FS_MATRIX()
    if not pdfium.FPDFPageObj_GetMatrix(thing, found):
        return _SAME
    return found.a, found.b, found.c, found.d, found.e, found.f


def _times(inner: Matrix, outer: Matrix) -> Matrix:
    """First the inner one, then the outer."""
    a, b, c, d, e, f = inner
    g, h, i, j, k, m = outer
    return (
        a * g + b * i,
        a * h + b * j,
        c * g + d * i,
        c * h + d * j,
        e * g + f * i + k,
        e * h + f * j + m,
    )


def _placed(corners: Corners, matrix: Matrix) -> Corners:
    if matrix is _SAME:
        return corners
    left, bottom, right, top = corners
    a, b, c, d, e, f = matrix
    spots = [(x * a + y * c + e, x * b + y * d + f) for x in (left, right) for y in (bottom, top)]
    across, along = zip(*spots, strict=True)
    return min(across), min(along), max(across), max(along)
