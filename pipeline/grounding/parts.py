"""A text that stands in parts: over the end of a page, in the lines of one cell, in several boxes of a form."""

from collections.abc import Iterator
from typing import Final

from pipeline.document import FormField
from pipeline.grounding.index import Index, Place
from pipeline.values import fold

#: More words than these are a passage, which stands in one piece or not at all.
_MOST_WORDS: Final = 100
_MOST_PARTS: Final = 12
#: At so many places at most is tried whether a text goes on behind its first part.
_MOST_STARTS: Final = 5
#: Letters and digits that a first part must have: a shorter one may begin anywhere by chance.
_SHORTEST: Final = 4
#: Lines of a running footer or header that may stand between the two halves of a text.
_RUNNING: Final = 3
#: How far below, in lines, and how far to the side, in shares of the page's width, a cell goes on.
_BELOW: Final = 3
_BESIDE: Final = 0.01
#: A wider gap, in letters' widths, parts two columns.
_GAP: Final = 1.2
#: A quote may be so many times as long as its value: other columns stand between the lines of a cell.
_WIDEST: Final = 6


def in_parts(index: Index, text: str) -> list[Place]:
    """Where a text stands in parts, each as it is and each behind the one before; all digits are in them.

    The place is all of it on the page where it begins, other columns between the lines of a cell included; over a page's end, or
    where much stands between, it is that of the first part.
    """
    words = fold(text).text.split(" ")
    if not 1 < len(words) <= _MOST_WORDS:
        return []
    count, starts = _first(index, words)
    if not count or sum(map(str.isalnum, "".join(words[:count]))) < _SHORTEST:
        return []
    found = [_going_on(index, start, words[count:], len(text)) for start in starts]
    return [place for place in found if place is not None]


def _first(index: Index, words: list[str]) -> tuple[int, list[Place]]:
    """The longest beginning that stands somewhere, in words, and its places."""
    low, high, found = 0, len(words) - 1, list[Place]()
    while low < high:
        middle = (low + high + 1) // 2
        places = index.find_whole(_joined(words[:middle]))
        low, high, found = (middle, high, places) if places else (low, middle - 1, found)
    return low, found[:_MOST_STARTS]


def _joined(words: list[str]) -> str:
    """Words as a part: what parts them in the value (a comma) need not be printed at a line's end."""
    return " ".join(words).strip(",;")


def _going_on(index: Index, first: Place, words: list[str], length: int) -> Place | None:
    """All of a text's parts as one place, if each of its words stands behind the first part."""
    parts = [first]
    while words and len(parts) <= _MOST_PARTS:
        step = _next(index, parts[-1], words)
        if step is None:
            return None
        count, part = step
        parts.append(part)
        words = words[count:]
    here = [part for part in parts if part.page == first.page]
    start, end = min(part.start for part in here), max(part.end for part in here)
    together = len(here) == len(parts) and end - start <= _WIDEST * length
    return None if words else Place(first.page, start, end) if together else first


def _next(index: Index, before: Place, words: list[str]) -> tuple[int, Place] | None:
    """The longest beginning of the rest that goes on behind a part, in words, and its place."""
    for count in range(len(words), 0, -1):
        wanted = _joined(words[:count])
        for page in (before.page, before.page + 1):
            found = index.find_whole(wanted, page) if page < len(index.pages) else []
            for place in found:
                if _goes_on(index, before, place):
                    return count, place
    return None


def _goes_on(index: Index, before: Place, after: Place) -> bool:
    if before.page != after.page:
        return _ends_page(index, before) and _begins_page(index, after)
    boxes = _field(index, before), _field(index, after)
    if all(boxes) and boxes[0] is not boxes[1]:
        return True
    lines = index.lines
    if not lines.has_boxes(before.page):
        return False
    if not _ends_cell(index, before):
        return False
    below = lines.at(after.page, after.start) - lines.at(before.page, before.start)
    left, own = (lines.edges(p.page, p.start, p.end)[0] for p in (before, after))
    return 0 < below <= _BELOW and abs(left - own) <= _BESIDE


def _ends_cell(index: Index, place: Place) -> bool:
    """Whether nothing follows a part on its line, or only what a wide gap sets apart."""
    lines = index.lines
    left, right = lines.edges(place.page, place.start, place.end)
    letter = (right - left) / max(1, place.end - place.start)
    tokens = lines.tokens(lines.at(place.page, place.start))
    return not any(-letter < token.left - right < _GAP * letter for token in tokens)


def _field(index: Index, place: Place) -> FormField | None:
    """The field of a form whose whole value stands at a place."""
    text = index.pages[place.page].text
    for field in index.pages[place.page].fields:
        if field.start <= place.start and place.end <= field.end:
            around = text[field.start : place.start] + text[place.end : field.end]
            return None if around.strip() else field
    return None


def _ends_page(index: Index, place: Place) -> bool:
    """Whether a part ends a line, and no more than a running footer follows."""
    rest = index.pages[place.page].text[place.end :]
    return not rest.split("\n", 1)[0].strip() and len(list(_printed(rest))) <= _RUNNING


def _begins_page(index: Index, place: Place) -> bool:
    """Whether a part begins a line, and no more than a running header stands before it."""
    above = index.pages[place.page].text[: place.start]
    return not above.rsplit("\n", 1)[-1].strip() and len(list(_printed(above))) <= _RUNNING


def _printed(text: str) -> Iterator[str]:
    return (line for line in text.split("\n") if line.strip())
