"""The index of a document: its folded text, numbers, dates and codes, each read once per page."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import Any

from pipeline import values
from pipeline.document import Box, Document, Page
from pipeline.grounding.search import Text

#: A wider gap than this, in digits' widths, parts two columns; a blank within a number is narrower.
_WIDEST_BLANK = 1.2


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A span of a page: `page` counts from 0, `start`/`end` are code points of its text."""

    page: int
    start: int
    end: int

    def holds(self, other: "Place") -> bool:
        """Whether another place lies within this one."""
        return self.page == other.page and self.start <= other.start and other.end <= self.end


Places = Mapping[Any, list[Place]]
_Entry = tuple[Iterable[Any], Place]


class Index:
    """Where things stand in one document; every part is made when it is first asked for."""

    def __init__(self, document: Document) -> None:
        self.pages = document.pages
        #: What was looked up before: (kind, value) -> places.
        self.known: dict[tuple[str, Any], tuple[list[Place], list[Place]]] = {}

    def page_at(self, number: int) -> int | None:
        """The place in `pages` of the page with a number; None where there is none."""
        return self._numbers_of_pages.get(number)

    @cached_property
    def _numbers_of_pages(self) -> dict[int, int]:
        return {page.number: at for at, page in enumerate(self.pages)}

    @cached_property
    def text(self) -> Text:
        """The folded text of all pages."""
        return Text([page.text for page in self.pages])

    def find_text(self, needle: str) -> list[Place]:
        """Where a text stands: as it is, else with other blanks and hyphens, else with slips in letters."""
        return [Place(*found) for found in self.text.find(needle)]

    @cached_property
    def dates(self) -> Places:
        """By date: where it is printed."""
        return _places((found.readings, place) for found, place in self._dates)

    @cached_property
    def years(self) -> Places:
        """By year: where it is printed in four digits as part of a date."""
        found: list[_Entry] = []
        for date_, place in self._dates:
            for year in {reading.year for reading in date_.readings}:
                at = values.plain(date_.text).find(str(year))
                if at >= 0:
                    start = place.start + at
                    found.append(([Decimal(year)], Place(place.page, start, start + 4)))
        return _places(found)

    @cached_property
    def times(self) -> Mapping[time, list[Place]]:
        """By time of day: where it is printed."""
        return _places(self._found(values.find_times))

    @cached_property
    def durations(self) -> Places:
        """By length (`values.duration_length`): where a duration is printed."""
        return _places(
            (map(values.duration_length, readings), place)
            for readings, place in self._found(values.find_durations)
        )

    @cached_property
    def numbers(self) -> Places:
        """By number: where it is printed as a whole number that is no part of a date."""
        return self._numbers[0]

    @cached_property
    def loose_numbers(self) -> Places:
        """By number: where it may be printed, if the blank beside it parts two columns."""
        return self._numbers[1]

    @cached_property
    def currencies(self) -> Places:
        """By ISO 4217 code: where a sign or word that means only this currency is printed."""
        return _places(self._found(values.find_currencies, only=1))

    @cached_property
    def loose_currencies(self) -> Places:
        """By ISO 4217 code: where a sign that may mean it is printed (`$`)."""
        return _places(self._found(values.find_currencies))

    @cached_property
    def codes(self) -> Places:
        """By a code's letters and digits: where it is printed with blanks or points in it."""
        return _places((found.readings, place) for found, place in self._codes)

    def digits(self, place: Place) -> Place:
        """A place from its first digit to its last."""
        text = self.pages[place.page].text[place.start : place.end]
        at = [number for number, char in enumerate(text) if char.isdecimal()]
        if not at:
            return place
        return Place(place.page, place.start + at[0], place.start + at[-1] + 1)

    def box(self, place: Place) -> Box | None:
        """The smallest box around all words of a place; None where the page has no words there."""
        page = self.pages[place.page]
        starts = self._word_starts[place.page]
        first = max(0, bisect_right(starts, place.start) - 1)
        words = page.words[first : bisect_left(starts, place.end)]
        boxes = [word.box for word in words if word.end > place.start]
        return _union(boxes) if boxes else None

    @cached_property
    def _word_starts(self) -> list[list[int]]:
        return [[word.start for word in page.words] for page in self.pages]

    @cached_property
    def _dates(self) -> list[tuple[values.Found[date], Place]]:
        return [
            (found, Place(number, found.start, found.end))
            for number, page in enumerate(self.pages)
            for found in values.find_dates(page.text)
        ]

    def _found(
        self, finder: Callable[[str], list[values.Found[Any]]], only: int | None = None
    ) -> Iterator[_Entry]:
        for number, page in enumerate(self.pages):
            for found in finder(page.text):
                if only is None or len(found.readings) == only:
                    yield found.readings, Place(number, found.start, found.end)

    @cached_property
    def _numbers(self) -> tuple[Places, Places]:
        whole: list[_Entry] = []
        loose: list[_Entry] = []
        for number, page in enumerate(self.pages):
            taken = self._taken[number]
            ends = [end for _, end in taken]
            for found in values.find_numbers(page.text):
                at = bisect_right(ends, found.start)
                if at == len(taken) or taken[at][0] >= found.end:
                    self._sort(number, found, whole, loose)
        # Without its sign, as a credit note's total is meant: never proof, but a place to look at.
        loose += [
            ([r.copy_negate() for r in readings if r < 0], place) for readings, place in whole
        ]
        return _places(whole), _places(loose)

    @cached_property
    def _codes(self) -> list[tuple[values.Found[str], Place]]:
        finders = (values.find_ibans, values.find_vat_ids, values.find_phones)
        return [
            (found, Place(number, found.start, found.end))
            for number, page in enumerate(self.pages)
            for finder in finders
            for found in finder(page.text)
        ]

    @cached_property
    def _taken(self) -> list[list[tuple[int, int]]]:
        """By page: the spans whose digits are no numbers: dates, codes, telephones, web addresses."""
        taken = [
            [(url.start, url.end) for url in values.find_urls(page.text)] for page in self.pages
        ]
        for _, place in self._dates:
            taken[place.page].append((place.start, place.end))
        for found, place in self._codes:
            if not found.text[0].isdecimal() or found.text[0] == "0":  # 12 345 678 may be a number
                taken[place.page].append((place.start, place.end))
        return [_merged(spans) for spans in taken]

    def _sort(self, number: int, found: values.Found[Decimal], whole: Any, loose: Any) -> None:
        """Enter a number; one with ordinary blanks may be two columns, as the gaps on the page tell."""
        pieces = values.find_numbers(found.text, blanks=False) if " " in found.text else []
        if len(pieces) < 2:
            whole.append((found.readings, Place(number, found.start, found.end)))
            return
        places = [Place(number, found.start + p.start, found.start + p.end) for p in pieces]
        apart = self._apart(self.pages[number], places)
        if not apart:
            whole.append((found.readings, Place(number, found.start, found.end)))
        if apart is not False:
            target = whole if apart else loose
            target += [(piece.readings, place) for piece, place in zip(pieces, places, strict=True)]

    def _apart(self, page: Page, places: list[Place]) -> bool | None:
        """Whether wide gaps part the pieces of a number; None where the page has no words to tell."""
        starts = self._word_starts[places[0].page]
        words = [
            page.words[at] for p in places if (at := bisect_left(starts, p.start)) < len(starts)
        ]
        if len(words) < len(places) or any(
            word.start != place.start for word, place in zip(words, places, strict=True)
        ):
            return None
        pairs = list(pairwise(words))
        if any(left.box[1] >= right.box[3] or right.box[1] >= left.box[3] for left, right in pairs):
            return True  # on different lines
        digit = max((w.box[2] - w.box[0]) / max(1, w.end - w.start) for w in words)
        gaps = [right.box[0] - left.box[2] for left, right in pairs]
        return max(gaps) > _WIDEST_BLANK * digit


def _places(found: Iterable[_Entry]) -> dict[Any, list[Place]]:
    table: dict[Any, list[Place]] = defaultdict(list)
    for readings, place in found:
        for reading in readings:
            table[reading].append(place)
    return dict(table)


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _union(boxes: list[Box]) -> Box:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )
