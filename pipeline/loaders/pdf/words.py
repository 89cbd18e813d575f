"""The text of a PDF page and its words with their boxes, as pdfium finds them."""

import ctypes
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.loaders import wire

#: How pdfium marks a hyphen at the end of a line (leaving out the line end that follows), and a
#: character that it doesn't know.
_MARK = "\ufffe"
#: What stands for the first in here (no page's text has it: it is a control), and for the second.
_HYPHEN = "\x1f"
UNKNOWN = "\ufffd"
_LINE_END = re.compile(f"\r\n?|\n|{_HYPHEN}")
WORD = re.compile(r"\S+")
_CHARACTER = re.compile("[\ud800-\udbff][\udc00-\udfff]|.", re.DOTALL)
#: What is no character: controls become blanks; zeros, halves of surrogate pairs and codes that mean
#: nothing become unknown. One for one, so that places stay.
_CLEAN = {
    **dict.fromkeys([*range(1, 9), 11, *range(14, 32), *range(127, 133), *range(134, 160)], " "),
    **dict.fromkeys([0, *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], UNKNOWN),
}
#: No letter is higher, in points; a size that is no number becomes this too.
_HUGE = 1e6
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class View:
    """A page as it is seen: the visible rectangle in user space, and its quarter turns clockwise."""

    left: float
    bottom: float
    width: float
    height: float
    turns: int

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in points, as seen."""
        return (self.height, self.width) if self.turns % 2 else (self.width, self.height)

    def placer(self) -> Callable[[float, float, float, float], Box | None]:
        """A function from a rectangle of user space to its Box, None if nothing of it is seen."""
        unit = wire.BOX_UNIT
        swapped = self.turns % 2 == 1
        # Seen x grows with x (no turn), y (1), against x (2), against y (3); seen y likewise.
        forward_x, forward_y = self.turns < 2, self.turns in {1, 2}
        across, along = (self.height, self.width) if swapped else (self.width, self.height)
        from_x, from_y = (self.bottom, self.left) if swapped else (self.left, self.bottom)
        scale_x = unit / across if forward_x else -unit / across
        scale_y = unit / along if forward_y else -unit / along
        from_x, from_y = from_x + (0 if forward_x else across), from_y + (0 if forward_y else along)

        def place(x0: float, y0: float, x1: float, y1: float) -> Box | None:
            if swapped:
                x0, y0, x1, y1 = y0, x0, y1, x1
            left, right = (x0 - from_x) * scale_x, (x1 - from_x) * scale_x
            top, bottom = (y1 - from_y) * scale_y, (y0 - from_y) * scale_y
            if not forward_x:
                left, right = right, left
            if forward_y:
                top, bottom = bottom, top
            # Said so that a number that is none (NaN) isn't seen either.
            if not (
                left < right
                and left < unit
                and right > 0
                and top < bottom
                and top < unit
                and bottom > 0
            ):
                return None
            return (
                int(max(0.0, left) + 0.5),
                int(max(0.0, top) + 0.5),
                int(min(unit, right) + 0.5),
                int(min(unit, bottom) + 0.5),
            )

        return place


def read(page: Any, view: View) -> tuple[str, "array[int]"]:
    """The text of a page, its lines separated by line feeds, and its words (see `wire.PER_WORD`).

    Args:
        page: a pypdfium2 page.
        view: the same page as it is seen.

    """
    textpage = page.get_textpage()
    try:
        raw, places = _characters(textpage)
        words = wire.no_words()
        lines = []
        length = 0
        box_of = _boxes(textpage.raw, view)
        for start, line in _lines(raw):
            for match in WORD.finditer(line):
                first, last = start + match.start(), start + match.end() - 1
                box = box_of(first, last) if places is None else box_of(places[first], places[last])
                if box is not None:
                    words.extend((length + match.start(), length + match.end(), *box))
            lines.append(line)
            length += len(line) + 1
        return "\n".join(lines), words
    finally:
        textpage.close()


def clean(text: str) -> str:
    """The text as long as before, its controls blanks, and U+FFFD for what is no character."""
    return text.translate(_CLEAN)


def _lines(raw: str) -> Iterator[tuple[int, str]]:
    """The lines of a text with the places where they start; a hyphen that ends one is part of it."""
    start = 0
    for end in _LINE_END.finditer(raw):
        if end.group() == _HYPHEN:
            yield start, raw[start : end.start()] + "-"
        else:
            yield start, raw[start : end.start()]
        start = end.end()
    yield start, raw[start:]


def _characters(textpage: Any) -> tuple[str, list[int] | None]:
    """The characters of a page, and where each stands in pdfium's own list (None: at the same place)."""
    import pypdfium2.raw as pdfium

    count = textpage.count_chars()
    if count == 0:
        return "", None
    buffer = (ctypes.c_ushort * (count + 1))()
    written = pdfium.FPDFText_GetText(textpage.raw, 0, count, buffer) - 1
    raw = bytes(memoryview(buffer)[: max(0, written)]).decode("utf-16-le", "surrogatepass")
    places = None
    if len(raw) != count:
        raw, places = _one_by_one(textpage, count)
    text = clean(raw)
    for match in re.finditer(_MARK, raw):
        place = match.start() if places is None else places[match.start()]
        if pdfium.FPDFText_IsHyphen(textpage.raw, place) == 1:
            text = text[: match.start()] + _HYPHEN + text[match.end() :]
    return text, places


def _one_by_one(textpage: Any, count: int) -> tuple[str, list[int]]:
    """The same where pdfium's list and its text differ: pairs of surrogates, and what it leaves out."""
    import pypdfium2.raw as pdfium

    units = "".join(chr(pdfium.FPDFText_GetUnicode(textpage.raw, place)) for place in range(count))
    found = [
        (match.start(), match.group()) for match in _CHARACTER.finditer(units.replace("\2", _MARK))
    ]
    joined = (
        one if len(one) == 1 else one.encode("utf-16", "surrogatepass").decode("utf-16")
        for _, one in found
    )
    return "".join(joined), [place for place, _ in found]


def _boxes(textpage: Any, view: View) -> Callable[[int, int], tuple[int, ...] | None]:
    """A function from the first and last character of a word to the rest of it, None if it can't be seen.

    The boxes of two characters, each as high as its font, cost half as much as pdfium's rectangles for
    the range, which are as high as its ink, and are the fallback. Called through a prototype that takes
    plain addresses: 0.5 us a call instead of 1.5.
    """
    import pypdfium2.raw as pdfium

    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    loose = ctypes.cast(pdfium.FPDFText_GetLooseCharBox, prototype)
    address = ctypes.cast(textpage, ctypes.c_void_p).value
    corners = (ctypes.c_float * 8)()  # two FS_RECTF: left, top, right, bottom
    to_head = ctypes.addressof(corners)
    to_tail = to_head + ctypes.sizeof(pdfium.FS_RECTF)
    values: Callable[[], Sequence[float]] = memoryview(corners).cast("B").cast("f").tolist
    place = view.placer()
    upright = view.turns % 2 == 0

    def box_of(first: int, last: int) -> tuple[int, ...] | None:
        if not (loose(address, first, to_head) and loose(address, last, to_tail)):
            return None
        left, top, right, bottom, tail_left, tail_top, tail_right, tail_bottom = values()
        across, along = abs(tail_left - left), abs(tail_bottom - bottom)
        size = top - bottom if across > along or (across == along and upright) else right - left
        left, bottom = min(left, tail_left), min(bottom, tail_bottom)
        right, top = max(right, tail_right), max(top, tail_top)
        if not (left < right and bottom < top):
            left, bottom, right, top = _ink(textpage, first, last)
            size = top - bottom
        box = place(left, bottom, right, top)
        height = int(min(_HUGE, abs(size)) * wire.SIZE_UNIT)
        return None if box is None else (*box, height, wire.SURE)

    return box_of


def _ink(textpage: Any, first: int, last: int) -> tuple[float, float, float, float]:
    """The rectangle around the ink of a range of characters; an empty one if it has none."""
    import pypdfium2.raw as pdfium

    left, top, right, bottom = (ctypes.c_double() for _ in range(4))
    rectangles = [
        (left.value, bottom.value, right.value, top.value)
        for index in range(pdfium.FPDFText_CountRects(textpage, first, last + 1 - first))
        if pdfium.FPDFText_GetRect(textpage, index, left, top, right, bottom)
    ]
    if not rectangles:
        return 0.0, 0.0, 0.0, 0.0
    lefts, bottoms, rights, tops = zip(*rectangles, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)
