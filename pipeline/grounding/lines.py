"""The lines of print of a document, as the eye sees them: by the boxes of words where there are any."""

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median
from typing import Any

from pipeline.document import Box, Page, Word

#: Of two words on one line, the middles are not farther apart than this share of the lower one's height.
_SAME_LINE = 0.6
_TOKEN = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Token:
    """A run without blanks: its span in the page's text, and where it begins and ends on its line.

    `left` and `right` are shares of the page's width where the page has boxes; else how many tokens
    stand before it, and behind it (below zero, -1 for none).
    """

    start: int
    end: int
    left: float
    right: float


class Lines:
    """All lines of some pages, counted through from 0 in the order of the pages, from top to bottom.

    Pages are meant by their place among them, from 0. Linear in the number of words but for sorting
    those of one page.
    """

    def __init__(self, pages: Sequence["OfPage"]) -> None:
        self._pages = pages
        self._first = [0, *accumulate(page.count for page in self._pages)]

    @property
    def count(self) -> int:
        """How many lines there are."""
        return self._first[-1]

    def at(self, page: int, start: int) -> int:
        """The line on which a code point of a page's text stands."""
        return self._first[page] + self._pages[page].line(start)

    def page(self, line: int) -> int:
        """The page of a line."""
        return bisect_right(self._first, line) - 1

    def lines(self, page: int) -> range:
        """The lines of a page."""
        return range(self._first[page], self._first[page + 1])

    def tokens(self, line: int) -> list[Token]:
        """What stands on a line, from left to right."""
        page = self.page(line)
        return self._pages[page].tokens[line - self._first[page]]

    def kept(self, line: int) -> dict[int, Any]:
        """What readers of its page's lines found there and keep as long as the page is read, by line."""
        return self._pages[self.page(line)].kept

    def edges(self, page: int, start: int, end: int) -> tuple[float, float]:
        """Where the span of a page begins and ends on its line, as of a Token."""
        return self._pages[page].edges(start, end)

    def has_boxes(self, page: int) -> bool:
        """Whether the edges of a page's tokens are measured."""
        return self._pages[page].boxed


class OfPage:
    """The lines of one page."""

    def __init__(self, page: Page) -> None:
        self.boxed = bool(page.words)
        lines = _seen(page) if page.words else _written(page.text)
        self.tokens = list(lines)
        self.kept: dict[int, Any] = {}
        self.count = len(self.tokens)
        placed = sorted(
            (each.start, n, each) for n, line in enumerate(self.tokens) for each in line
        )
        self._starts = [start for start, _, _ in placed]
        self._placed = placed

    def line(self, start: int) -> int:
        """The line of a code point of the page's text."""
        at = bisect_right(self._starts, start) - 1
        return self._placed[max(0, at)][1] if self._placed else 0

    def edges(self, start: int, end: int) -> tuple[float, float]:
        """Where a span begins and ends on its line."""
        first = max(0, bisect_right(self._starts, start) - 1)
        last = max(first, bisect_right(self._starts, end - 1) - 1)
        if not self._placed:
            return 0.0, 0.0
        line = self._placed[first][1]
        tokens = [each for _, number, each in self._placed[first : last + 1] if number == line]
        return min(each.left for each in tokens), max(each.right for each in tokens)


def _written(text: str) -> Iterator[list[Token]]:
    """The lines of a text; blank ones too, at least one."""
    start = 0
    for line in text.split("\n"):
        found = list(_TOKEN.finditer(line))
        yield [
            Token(start + match.start(), start + match.end(), number, number - len(found))
            for number, match in enumerate(found)
        ]
        start += len(line) + 1


def _seen(page: Page) -> Iterator[list[Token]]:
    """Words whose middles are level make a line, whatever their order in the text."""
    words = list(zip(page.words, _levelled(page), strict=True))
    words.sort(key=lambda each: each[1][1] + each[1][3])
    line: list[tuple[Word, Box]] = []
    middle = height = 0.0
    for word, box in words:
        own, tall = (box[1] + box[3]) / 2, box[3] - box[1]
        if line and own - middle > _SAME_LINE * min(height, tall):
            yield _across(line)
            line = []
        line.append((word, box))
        middle = median(each[1] + each[3] for _, each in line[-9:]) / 2
        height = median(each[3] - each[1] for _, each in line[-9:])
    if line:
        yield _across(line)


def _across(line: list[tuple[Word, Box]]) -> list[Token]:
    line.sort(key=lambda each: each[1][0])
    return [Token(word.start, word.end, box[0], box[2]) for word, box in line]


def _levelled(page: Page) -> list[Box]:
    """The boxes of a page's words, turned as its lines run level."""
    if not page.turn:
        return [word.box for word in page.words]
    wide, high = page.width or 1.0, page.height or 1.0
    sine, cosine = math.sin(math.radians(page.turn)), math.cos(math.radians(page.turn))
    boxes = []
    for x0, y0, x1, y1 in (word.box for word in page.words):
        x, y = (x0 + x1) / 2 * wide, (y0 + y1) / 2 * high
        half, tall = (x1 - x0) / 2 * wide, (y1 - y0) / 2 * high
        if abs(sine) > abs(cosine):
            half, tall = tall, half
        across, down = x * cosine - y * sine, x * sine + y * cosine
        boxes.append(
            (
                (across - half) / wide,
                (down - tall) / high,
                (across + half) / wide,
                (down + tall) / high,
            )
        )
    return boxes
