"""A page as text for reading: its words as they stand, line by line, columns apart; and what is filled in on it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pipeline.document import FormField, Page, Word

#: The most characters of a line that is laid out by its boxes.
_WIDEST: Final = 240
#: Words that are further apart than this part of their height stand in two columns.
_GAP: Final = 1.2
#: How far the middles of two words of one line may be apart, in heights of the lower one.
_LEVEL: Final = 0.5
#: A word so much higher than wide, with more than two letters, stands on its side.
_UPRIGHT: Final = 2.0
#: Scripts that run from the right: their words stand in the text as they are read, not as they lie.
_FROM_RIGHT: Final = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff]")
#: What stands before the fields of a page.
_FILLED: Final = "Filled in on this page:"
_SOMETHING: Final = re.compile(r"\w")


def printed(page: Page) -> str:
    """The text of a page, laid out by the boxes of its words: a visual line is a line, columns stand apart.

    A PDF holds its text in the order in which it was written, where the cells of a table can lie far
    apart. What has no box follows behind. A page whose boxes say little of the order (recognised words,
    which are in order already; scripts that run from the right; texts) is its text as it is.
    """
    if page.reader or not page.words or not page.width or _FROM_RIGHT.search(page.text):
        return page.text
    level = [word for word in page.words if not _is_on_side(word, page)]
    left, unit = min((word.box[0] for word in level), default=0.0), _unit(level)
    lines = [_line(line, page, left, unit) for line in _lines(level)]
    return "\n".join([*lines, *_rest(page, level)])


def as_text(page: Page) -> str:
    """All that is known of a page as text: as it is printed, and what is filled in with its labels."""
    text = printed(page)
    return "\n".join([text, *_headed(line for line in filled(page) if line not in text)])


def filled_in(page: Page) -> str:
    """What is filled in on a page, to stand beside its look; empty where nothing is."""
    return "\n".join(_headed(filled(page)))


def _headed(lines: Iterable[str]) -> list[str]:
    told = list(lines)
    return [_FILLED, *told] if told else []


def filled(page: Page) -> list[str]:
    """What is filled in on a page, a line for each field: `label: value`, and `[x] label` for marks."""
    lines: dict[str, None] = {}
    for each in page.fields:
        if each.end:
            start = page.text.rfind("\n", 0, each.start) + 1
            end = page.text.find("\n", each.end)
            lines[page.text[start : end if end >= 0 else None]] = None
        else:
            lines[f"{_mark(each)} {each.label or each.name}"] = None
    return list(lines)


def _mark(field: FormField) -> str:
    if field.kind == "check":
        return "[x]" if field.value == "true" else "[ ]"
    return f"{field.value}:"


def _is_on_side(word: Word, page: Page) -> bool:
    x0, y0, x1, y1 = word.box
    wide, high = (x1 - x0) * page.width, (y1 - y0) * page.height
    return word.end - word.start > 2 and high > _UPRIGHT * wide


def _unit(words: Sequence[Word]) -> float:
    """The usual breadth of a character, as a share of the page."""
    each = sorted((word.box[2] - word.box[0]) / (word.end - word.start) for word in words)
    return max(1 / _WIDEST, each[len(each) // 2]) if each else 1.0


def _lines(words: Sequence[Word]) -> Iterator[list[Word]]:
    """The words of each visual line, from left to right; lines from top to bottom."""
    line: list[Word] = []
    middle = height = 0.0
    for word in sorted(words, key=lambda word: word.box[1] + word.box[3]):
        own_middle, own_height = (word.box[1] + word.box[3]) / 2, word.box[3] - word.box[1]
        if line and own_middle - middle > _LEVEL * min(height, own_height):
            yield sorted(line, key=lambda word: (word.box[0], word.start))
            line = []
        if not line:
            middle, height = own_middle, own_height
        line.append(word)
    if line:
        yield sorted(line, key=lambda word: (word.box[0], word.start))


def _line(words: Sequence[Word], page: Page, left: float, unit: float) -> str:
    """One line, its words a blank apart, columns at their place from the left edge of the print."""
    line, end = "", left
    for word in words:
        gap = (word.box[0] - end) * page.width
        if gap > _GAP * (word.box[3] - word.box[1]) * page.height:
            line = line.ljust(max(len(line) + 2 if line else 0, int((word.box[0] - left) / unit)))
        elif line:
            line += " "
        line += page.text[word.start : word.end]
        end = max(end, word.box[2])
    return line


def _rest(page: Page, laid: Sequence[Word]) -> Iterator[str]:
    """The text between the words that were laid out; not the names of fields, which `filled` says."""
    spans = {(word.start, word.end) for word in laid}
    spans |= {(page.text.rfind("\n", 0, f.start) + 1, f.end) for f in page.fields if f.end}
    at = 0
    for start, end in [*sorted(spans), (len(page.text), len(page.text))]:
        if _SOMETHING.search(page.text, at, max(at, start)):
            yield page.text[at:start].strip()
        at = max(at, end)
