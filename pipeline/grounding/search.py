"""Searching a text on pages: as it is, with other blanks and hyphens, with slips in letters, never in digits."""

import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, pairwise

from pipeline.values import Folded, fold

#: Letters that one slip may be among; shorter texts must stand as they are. One more for each ten.
_LETTERS_PER_SLIP = 10
_SHORTEST_WITH_SLIP = 8
_MOST_SLIPS = 30
#: Fewer letters and digits could stand together by chance once blanks are taken away.
_SHORTEST_SQUEEZED = 6
#: How many places are told apart; beyond them a text is simply found at many.
MOST_PLACES = 1000

_PAGE_END = "\n"  # a folded text has none
# What is dropped for comparing without blanks: signs and blanks, but no point between two digits and
# no sign before one.
_DROPPED = re.compile(
    r"(?:(?<!\d)[.,:]|[.,:](?!\d)|[+\-](?!\d)|(?<=[^\W_])[+\-]|[ \t!-*/;-@\[-`{-~\u00a1-\u00b1\u00b4-\u00b8\u00bb\u00bf\u2000-\u206f\u3000-\u303f])+"
)
#: Runs of digits with the sign before them: these never slip.
_DIGITS = re.compile(r"(?:(?<![^\W_])-)?\d+")
#: Scripts in which an accent is a mark on a letter, which print and OCR lose; in others it is a letter.
_ACCENTED = re.compile(r"[\u00c0-\u04ff\u1e00-\u1fff]")

Span = tuple[int, int, int]


class OfText:
    """One page's text, folded, without accents; and squeezed, when that is first asked for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.folded: Folded = fold(text)
        self.bare = _accentless(self.folded.text)

    @cached_property
    def squeezed(self) -> tuple[str, "array[int]"]:
        """The bare text without blanks and signs, and where each of its characters stands in it."""
        return _squeeze(self.bare)


class Text:
    """The folded text of several pages, searched as one; a text never spans two pages."""

    def __init__(self, pages: Sequence[OfText]) -> None:
        self._pages = pages
        self._bare = _PAGE_END.join(page.bare for page in pages)
        self._starts = _begins_of(page.bare for page in pages)

    def find(self, needle: str) -> list[Span]:
        """Where a text stands, as (page from 0, start, end), in order; none where it doesn't."""
        bare = _accentless(fold(needle).text)
        if not bare:
            return []
        found = self._find_as_is(bare) or self._find_squeezed(bare)
        if not found and _RIGHT_TO_LEFT.search(bare):
            found = self._find_as_is(_as_seen(bare))
        return found or self._find_slipped(bare)

    def _find_as_is(self, bare: str) -> list[Span]:
        whole: list[Span] = []
        glued: list[Span] = []
        for start in _occurrences(self._bare, bare):
            span = self._span(start, start + len(bare))
            fit = self._fit(start, start + len(bare), span)
            if fit:
                (whole if fit == 2 else glued).append(span)
        return whole or glued

    def whole(self, needle: str, page: int | None = None) -> list[Span]:
        """Where a text stands as whole words, only as it is; on one page, or on all."""
        bare = _accentless(fold(needle).text)
        left, right = 0, len(self._bare)
        if page is not None:
            left = self._starts[page]
            right = left + len(self._pages[page].bare)
        found = []
        for start in _occurrences(self._bare, bare, left, right) if bare else ():
            span = self._span(start, start + len(bare))
            if self._fit(start, start + len(bare), span) == 2:
                found.append(span)
        return found

    def _span(self, start: int, end: int) -> Span:
        page = bisect_right(self._starts, start) - 1
        base = self._starts[page]
        return (page, *self._pages[page].folded.place(start - base, end - base))

    def _fit(self, start: int, end: int, span: Span) -> int:
        """2: a whole word or number of the page; 1: glued to another, as OCR does; 0: a part of one."""
        bare = self._bare
        if bare[end : end + 1] and unicodedata.category(bare[end])[0] == "M":
            return 0  # the mark belongs to the last letter
        page, first, last = span
        text = self._pages[page].text
        left = _border(bare[start - 1 : start], bare[start], text[first - 1 : first], text[first])
        right = _border(bare[end - 1], bare[end : end + 1], text[last - 1], text[last : last + 1])
        if bare[start].isdecimal() and _INNER_LEFT.search(bare, max(0, start - 2), start):
            left = 0
        if bare[end - 1].isdecimal() and _INNER_RIGHT.match(bare, end):
            right = 0
        return min(left, right)

    @cached_property
    def _squeezed(self) -> tuple[str, list[int]]:
        texts = [page.squeezed[0] for page in self._pages]
        return _PAGE_END.join(texts), _begins_of(texts)

    def _find_squeezed(self, bare: str) -> list[Span]:
        needle = _squeeze(bare)[0]
        if len(needle) < _SHORTEST_SQUEEZED:
            return []
        text, starts = self._squeezed
        found = []
        for at in _occurrences(text, needle):
            page = bisect_right(starts, at) - 1
            places, first, base = (
                self._pages[page].squeezed[1],
                at - starts[page],
                self._starts[page],
            )
            start, end = base + places[first], base + places[first + len(needle) - 1] + 1
            span = self._span(start, end)
            if self._fit(start, end, span) and self._digits_hang_together(start, end, bare):
                found.append(span)
        return found

    def _digits_hang_together(self, start: int, end: int, needle: str) -> bool:
        """Whether the digits of a span are grouped as codes are, and not those of two columns."""
        printed = self._bare[start:end]
        if _DIGITS.findall(printed) == _DIGITS.findall(needle):
            return True
        page, first, last = self._span(start, end)
        text = self._pages[page].text[first:last]
        return not _FAR_DIGITS.search(text) and not _FAR_DIGITS.search(needle)

    def _find_slipped(self, bare: str) -> list[Span]:
        """Where a text stands with a few letters wrong, missing or too many, and every digit right.

        Of a text cut into one piece more than it may have slips, one piece stands as it is: only
        around such pieces is anything compared.
        """
        letters = sum(not char.isdecimal() and not char.isspace() for char in bare)
        if letters < _SHORTEST_WITH_SLIP:
            return []
        slips = min(max(1, letters // _LETTERS_PER_SLIP), _MOST_SLIPS)
        step = 2 * slips + 1
        seen: set[int] = set()
        found: set[tuple[int, int]] = set()
        for offset, piece in _pieces(bare, slips + 1):
            for at in _occurrences(self._bare, piece):
                corner = max(0, at - offset) // step
                if corner not in seen:
                    seen.add(corner)
                    left, right = corner * step - slips, (corner + 1) * step + len(bare) + slips
                    found |= self._alike(bare, self._on_page(at, left, right), slips)
        spans = {(start, end, self._span(start, end)) for start, end in found}
        return sorted(span for start, end, span in spans if self._fit(start, end, span))

    def _on_page(self, at: int, left: int, right: int) -> tuple[int, int]:
        """A stretch around a place, cut off at the borders of its page."""
        page = bisect_right(self._starts, at) - 1
        start = self._starts[page]
        return max(left, start), min(right, start + len(self._pages[page].bare))

    def _alike(self, needle: str, stretch: tuple[int, int], slips: int) -> set[tuple[int, int]]:
        """The span within a stretch that differs least, if only by a few letters and by no digit."""
        from rapidfuzz.fuzz import partial_ratio_alignment

        start, end = stretch
        text = self._bare[start:end]
        if len(text) < len(needle) - slips:
            return set()
        cutoff = 100 * (1 - 1.5 * slips / len(needle)) - 1
        best = partial_ratio_alignment(needle, text, score_cutoff=cutoff)
        if best is None:
            return set()
        around = (start + best.dest_start, start + best.dest_end)
        span = _nearest(needle, self._bare, around, slips)
        if span is None or _DIGITS.findall(self._bare[slice(*span)]) != _DIGITS.findall(needle):
            return set()
        return {span}


#: Letters of scripts that run from right to left, and what runs from left to right among them.
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_LEFT_TO_RIGHT = re.compile(r"[a-z](?:[a-z\d .,:/@\-]*[a-z\d])?|\d(?:[\d.,:/\-]*\d)?")


def _as_seen(text: str) -> str:
    """A text as some PDFs store it: from left to right as the eye sees it, numbers and Latin words in their own order."""
    return _LEFT_TO_RIGHT.sub(lambda match: match.group()[::-1], text[::-1])


def _begins_of(texts: Iterable[str]) -> list[int]:
    """Where each of some texts begins once they are joined with a page's end between them."""
    ends = list(accumulate(len(text) + 1 for text in texts))
    return [0, *ends[:-1]]


_INNER_LEFT = re.compile(r"\d[.,':]$")
_INNER_RIGHT = re.compile(r"[.,':]\d")
# Digits parted by more than one blank, hyphen or stroke, or by a line's end: not of one code.
_FAR_DIGITS = re.compile(r"\d(?:[^\w\n]{2,}|\s*\n\s*|[^\w \u00a0\u202f\-/])\d")


def _pieces(text: str, count: int) -> list[tuple[int, str]]:
    """The text in pieces of nearly equal length, each with its place."""
    cuts = [len(text) * number // count for number in range(count + 1)]
    return [(start, text[start:end]) for start, end in pairwise(cuts)]


def _nearest(needle: str, page: str, around: tuple[int, int], slips: int) -> tuple[int, int] | None:
    """The span near an alignment that begins and ends with a word and differs least."""
    from rapidfuzz.distance import Levenshtein

    reach = min(slips, 6) + 1
    starts = [
        i for i in range(max(0, around[0] - reach), around[0] + reach + 1) if _begins(page, i)
    ]
    ends = [
        i for i in range(around[1] - reach, min(len(page), around[1] + reach) + 1) if _ends(page, i)
    ]
    best: tuple[int, int, int] | None = None
    for start in starts or [around[0]]:
        for end in ends or [around[1]]:
            if start < end:
                distance = Levenshtein.distance(needle, page[start:end], score_cutoff=slips)
                if distance <= slips and (best is None or distance < best[0]):
                    best = (distance, start, end)
    return best[1:] if best else None


def _begins(page: str, at: int) -> bool:
    return at < len(page) and page[at] != " " and (at == 0 or not page[at - 1].isalnum())


def _ends(page: str, at: int) -> bool:
    return at > 0 and page[at - 1] != " " and (at == len(page) or not page[at].isalnum())


def _border(left: str, right: str, printed_left: str, printed_right: str) -> int:
    """How two neighbouring characters part: 2 as two words do, 1 as if glued, 0 not at all."""
    if not left or not right or not (left.isalnum() and right.isalnum()):
        return 2
    if left.isdecimal() and right.isdecimal():
        return 0
    if left.isdecimal() or right.isdecimal():
        return 1 if _cased(printed_left) or _cased(printed_right) else 2
    if not (_cased(printed_left) and _cased(printed_right)):
        return 2  # Chinese, Arabic ...: words aren't told apart by blanks alone
    return 1 if printed_left.islower() and printed_right.isupper() else 0


def _cased(char: str) -> bool:
    return char.isupper() or char.islower()


def _occurrences(text: str, needle: str, left: int = 0, right: int | None = None) -> Iterator[int]:
    at = text.find(needle, left, right)
    for _ in range(MOST_PLACES):
        if at < 0:
            return
        yield at
        at = text.find(needle, at + 1, right)


def _squeeze(text: str) -> tuple[str, "array[int]"]:
    """The text without blanks and signs, and where each of its characters stands in the text."""
    kept, places, at = [], array("I"), 0
    for start, end in _spans(_DROPPED.finditer(text)):
        kept.append(text[at:start])
        places.extend(range(at, start))
        at = end
    kept.append(text[at:])
    places.extend(range(at, len(text)))
    return "".join(kept), places


def _spans(matches: Iterable[re.Match[str]]) -> Iterator[tuple[int, int]]:
    return (match.span() for match in matches)


def _accentless(text: str) -> str:
    """The text without accents on Latin, Greek and Cyrillic letters, as long as before."""
    return _ACCENTED.sub(lambda match: unicodedata.normalize("NFD", match.group())[0], text)
