"""One page as it is searched: folded text, lines, numbers, dates and codes, each read once for all who ask."""

import re
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable
from datetime import date
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

from pipeline import values
from pipeline.document import Page, Word
from pipeline.grounding.lines import OfPage
from pipeline.grounding.search import OfText

#: A wider gap than this, in digits' widths, parts two columns; a blank within a number is narrower.
_WIDEST_BLANK: Final = 1.2

#: A whole number with a hyphen before it, and what is before a hyphen that may be no sign: it begins a line as
#: the mark of a list does, or goes on from another number as a range does (`3 -5`).
_DASHED: Final = re.compile(r"-\d+")
_BEFORE_DASH: Final = re.compile(r"(?:\A|[\n\r\f]|\d )\Z")

#: What may be read at a span: its readings, start and end in code points of the page's text.
Entry = tuple[Collection[Any], int, int]
Span = tuple[int, int]


def sheet(page: Page) -> "Sheet":
    """What is read on a page: the same for every window and every question that shows it.

    It is kept as long as somebody holds the page.
    """
    key = id(page)
    known = _KNOWN.get(key)
    if known is not None and known[0]() is page:
        return known[1]
    made = Sheet(page)
    _KNOWN[key] = weakref.ref(page, lambda gone: _forget(key, gone)), made
    return made


_KNOWN: Final[dict[int, tuple[weakref.ref[Page], "Sheet"]]] = {}


def _forget(key: int, gone: weakref.ref[Page]) -> None:
    # Another page may live at the same address by now.
    if (known := _KNOWN.get(key)) is not None and known[0] is gone:
        _KNOWN.pop(key, None)


class Sheet:
    """What stands on one page; every part is made when it is first asked for. It does not hold the page."""

    def __init__(self, page: Page) -> None:
        self._text = page.text
        self._words = page.words
        # The lines need its measures, and are asked for while somebody holds it.
        self._page = weakref.ref(page)

    @cached_property
    def text(self) -> OfText:
        """The folded text."""
        return OfText(self._text)

    @cached_property
    def lines(self) -> OfPage:
        """The lines of print."""
        page = self._page()
        assert page is not None  # noqa: S101, whoever asks has it
        return OfPage(page)

    @cached_property
    def starts(self) -> list[int]:
        """Where each word starts."""
        return [word.start for word in self._words]

    @cached_property
    def dates(self) -> list[values.Found[date]]:
        """Every date."""
        return values.find_dates(self._text)

    @cached_property
    def years(self) -> list[Entry]:
        """Every year of a date that is printed in four digits."""
        found: list[Entry] = []
        for each in self.dates:
            plain = values.plain(each.text)
            for year in {reading.year for reading in each.readings}:
                at = plain.find(str(year))
                if at >= 0:
                    start = each.start + at
                    found.append(((Decimal(year),), start, start + 4))
        return found

    @cached_property
    def times(self) -> list[Entry]:
        """Every time of day."""
        return self._entries(values.find_times)

    @cached_property
    def durations(self) -> list[Entry]:
        """Every duration, as its length."""
        return [
            (tuple(map(values.duration_length, each.readings)), each.start, each.end)
            for each in values.find_durations(self._text)
        ]

    @cached_property
    def currencies(self) -> list[Entry]:
        """Every sign and word of a currency, with all that it may mean."""
        return self._entries(values.find_currencies)

    @cached_property
    def codes(self) -> list[values.Found[str]]:
        """Every IBAN, VAT number and telephone number."""
        finders = (values.find_ibans, values.find_vat_ids, values.find_phones)
        return [found for finder in finders for found in finder(self._text)]

    @cached_property
    def numbers(self) -> tuple[list[Entry], list[Entry]]:
        """What is a number as a whole, and what may be one: if the blank beside it parts columns, or a hyphen is no sign."""
        whole: list[Entry] = []
        loose: list[Entry] = []
        taken = self._taken
        ends = [end for _, end in taken]
        for found in values.find_numbers(self._text):
            at = bisect_right(ends, found.start)
            if at == len(taken) or taken[at][0] >= found.end:
                self._sort(found, whole, loose)
        plain = values.plain(self._text)
        for readings, start, end in whole:
            bare = tuple(each.copy_negate() for each in readings if each < 0)
            if (
                bare
                and _DASHED.fullmatch(plain[start:end])
                and _BEFORE_DASH.search(plain[max(0, start - 2) : start])
            ):
                loose.append((bare, start, end))
        return whole, loose

    def words(self, start: int, end: int) -> tuple[Word, ...]:
        """The words of a span, cut ones too."""
        first = max(0, bisect_right(self.starts, start) - 1)
        found = self._words[first : bisect_left(self.starts, end)]
        return tuple(word for word in found if word.end > start)

    def _entries(self, finder: Callable[[str], list[values.Found[Any]]]) -> list[Entry]:
        return [(each.readings, each.start, each.end) for each in finder(self._text)]

    @property
    def _taken(self) -> list[Span]:
        """The spans whose digits are no numbers: dates, codes, telephones, web addresses."""
        taken = [(url.start, url.end) for url in values.find_urls(self._text)]
        taken += [(found.start, found.end) for found in self.dates]
        taken += [
            (found.start, found.end)
            for found in self.codes
            if not found.text[0].isdecimal() or found.text[0] == "0"  # 12 345 678 may be a number
        ]
        return _merged(taken)

    def _sort(self, found: values.Found[Decimal], whole: list[Entry], loose: list[Entry]) -> None:
        """Enter a number; one with ordinary blanks may be two columns, as the gaps on the page tell."""
        entry = (found.readings, found.start, found.end)
        pieces = values.find_numbers(found.text, blanks=False) if " " in found.text else []
        if len(pieces) < 2:
            whole.append(entry)
            return
        apart = self._apart([found.start + piece.start for piece in pieces])
        if not apart:
            whole.append(entry)
        if apart is not False:
            target = whole if apart else loose
            target += [
                (piece.readings, found.start + piece.start, found.start + piece.end)
                for piece in pieces
            ]

    def _apart(self, starts: list[int]) -> bool | None:
        """Whether wide gaps part the pieces of a number; None where the page has no words to tell."""
        words = [
            self._words[at]
            for start in starts
            if (at := bisect_left(self.starts, start)) < len(self.starts)
        ]
        if [word.start for word in words] != starts:
            return None
        pairs = list(pairwise(words))
        if any(left.box[1] >= right.box[3] or right.box[1] >= left.box[3] for left, right in pairs):
            return True  # on different lines
        digit = max((w.box[2] - w.box[0]) / max(1, w.end - w.start) for w in words)
        gaps = [right.box[0] - left.box[2] for left, right in pairs]
        return max(gaps) > _WIDEST_BLANK * digit


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, those that overlap as one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
