"""The index of a document or a part of it: what is read on each of its pages, by value."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.document import Box, Document
from pipeline.grounding.lines import Lines
from pipeline.grounding.search import Text
from pipeline.grounding.sheet import Entry, Sheet, sheet
from pipeline.values import Found


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


class Index:
    """Where things stand in one document; every part is made when it is first asked for."""

    def __init__(self, document: Document) -> None:
        self.pages = document.pages
        #: What was looked up before: (kind, value) -> places.
        self.known: dict[tuple[str, Any], tuple[list[Place], list[Place]]] = {}
        #: Where the quote of a hint stands.
        self.quoted: dict[Any, list[Place]] = {}

    def page_at(self, number: int) -> int | None:
        """The place in `pages` of the page with a number; None where there is none."""
        return self._numbers_of_pages.get(number)

    @cached_property
    def _numbers_of_pages(self) -> dict[int, int]:
        return {page.number: at for at, page in enumerate(self.pages)}

    @cached_property
    def _sheets(self) -> list[Sheet]:
        return [sheet(page) for page in self.pages]

    @cached_property
    def lines(self) -> Lines:
        """The lines of all pages."""
        return Lines([each.lines for each in self._sheets])

    @cached_property
    def text(self) -> Text:
        """The folded text of all pages."""
        return Text([each.text for each in self._sheets])

    def find_text(self, needle: str) -> list[Place]:
        """Where a text stands: as it is, else with other blanks and hyphens, else with slips in letters."""
        return [Place(*found) for found in self.text.find(needle)]

    def find_whole(self, needle: str, page: int | None = None) -> list[Place]:
        """Where a text stands letter by letter as whole words, on one page or on all."""
        return [Place(*found) for found in self.text.whole(needle, page)]

    @cached_property
    def dates(self) -> Places:
        """By date: where it is printed."""
        return self._found(lambda each: map(_entry, each.dates))

    @cached_property
    def years(self) -> Places:
        """By year: where it is printed in four digits as part of a date."""
        return self._found(lambda each: each.years)

    @cached_property
    def times(self) -> Places:
        """By time of day: where it is printed."""
        return self._found(lambda each: each.times)

    @cached_property
    def durations(self) -> Places:
        """By length (`values.duration_length`): where a duration is printed."""
        return self._found(lambda each: each.durations)

    @cached_property
    def numbers(self) -> Places:
        """By number: where it is printed as a whole number that is no part of a date."""
        return self._found(lambda each: each.numbers[0])

    @cached_property
    def loose_numbers(self) -> Places:
        """By number: where it may be printed, if the blank beside it parts two columns or a hyphen before it is no sign."""
        return self._found(lambda each: each.numbers[1])

    @cached_property
    def currencies(self) -> Places:
        """By ISO 4217 code: where a sign or word that means only this currency is printed."""
        return self._found(lambda each: (e for e in each.currencies if len(e[0]) == 1))

    @cached_property
    def loose_currencies(self) -> Places:
        """By ISO 4217 code: where a sign that may mean it is printed (`$`)."""
        return self._found(lambda each: each.currencies)

    @cached_property
    def codes(self) -> Places:
        """By a code's letters and digits: where it is printed with blanks or points in it."""
        return self._found(lambda each: map(_entry, each.codes))

    def digits(self, place: Place) -> Place:
        """A place from its first digit to its last."""
        text = self.pages[place.page].text[place.start : place.end]
        at = [number for number, char in enumerate(text) if char.isdecimal()]
        if not at:
            return place
        return Place(place.page, place.start + at[0], place.start + at[-1] + 1)

    def box(self, place: Place) -> Box | None:
        """The smallest box around all words of a place; None where the page has no words there."""
        words = self._sheets[place.page].words(place.start, place.end)
        return _union([word.box for word in words]) if words else None

    def _found(self, entries: Callable[[Sheet], Iterable[Entry]]) -> Places:
        table: dict[Any, list[Place]] = defaultdict(list)
        for number, each in enumerate(self._sheets):
            for readings, start, end in entries(each):
                for reading in readings:
                    table[reading].append(Place(number, start, end))
        return dict(table)


def _entry(found: Found[Any]) -> Entry:
    return found.readings, found.start, found.end


def _union(boxes: list[Box]) -> Box:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )
