"""The parts that `split` finds: which pages each has, what is wrong with them, and those of several windows as one list."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any, Final

from pipeline.results import Finding
from pipeline.validators.messages import shown
from pipeline.windows.pieces import Piece

#: More findings about one list of parts help nobody.
_MOST: Final = 20
_PAGES: Final = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")


@dataclass(frozen=True, slots=True)
class Part:
    """One document of a file: its first and last page, its label, and its place in the list."""

    first: int
    last: int
    told: Mapping[str, Any]
    place: int

    def to_json(self) -> dict[str, Any]:
        """The part as it stands in the data."""
        own = f"{self.first}-{self.last}" if self.last > self.first else f"{self.first}"
        return {**self.told, "pages": own}


def parts_of(data: Any) -> Iterator[Part]:
    """The parts of an answer whose pages can be read, in their order."""
    for place, each in enumerate(_listed(data)):
        text = each.get("pages") if isinstance(each, dict) else None
        match = _PAGES.fullmatch(text) if isinstance(text, str) else None
        if match:
            first, last = match.groups()
            yield Part(int(first), int(last or first), each, place)


def _listed(data: Any) -> list[Any]:
    listed = data.get("parts") if isinstance(data, dict) else None
    return listed if isinstance(listed, list) else []


def out_of_place(data: Any, pages: tuple[int, int] | None) -> Iterator[Finding]:
    """What is wrong with the pages of parts: each page from the first to the last stands in one part, in order.

    Args:
        data: the answer.
        pages: the first and the last page that there are; None where that is not known.

    """
    yield from islice(_out_of_place(data, pages), _MOST)


def _out_of_place(data: Any, pages: tuple[int, int] | None) -> Iterator[Finding]:
    known = {part.place for part in parts_of(data)}
    for place in range(len(_listed(data))):
        if place not in known:
            told = "this part names no pages: write 3-5, or 3 for a single one"
            yield Finding("pages_unknown", f"/parts/{place}", told)
    following = pages[0] if pages else None
    for part in parts_of(data):
        pointer = f"/parts/{part.place}/pages"
        told = shown(part.told["pages"])
        if part.last < part.first:
            yield Finding("pages_order", pointer, f"{told} ends before it begins")
            continue
        if pages and not pages[0] <= part.first <= part.last <= pages[1]:
            there = f"there are the pages {pages[0]} to {pages[1]}"
            yield Finding("pages_unknown", pointer, f"{told} names pages that don't exist: {there}")
            continue
        following = part.first if following is None else following
        if part.first > following:
            yield Finding("pages_missing", pointer, _missing(following, part.first - 1))
        elif part.first < following:
            again = f"{told} begins before the part in front of it ends, on page {following - 1}"
            yield Finding("pages_doubled", pointer, again)
        following = max(following, part.last + 1)
    if pages and following is not None and following <= pages[1]:
        yield Finding("pages_missing", "/parts", _missing(following, pages[1]))


def _missing(first: int, last: int) -> str:
    told = f"page {first} stands" if first == last else f"pages {first} to {last} stand"
    return f"{told} in no part"


def put_together(owner: Mapping[int, Piece]) -> dict[str, Any]:
    """The parts of several windows as one list; `owner` has the answer that says in which part a page is.

    A part that goes on where a window begins is one with the part before it, and has the label of its beginning.
    """
    found: list[Part] = []
    for _, run in groupby(sorted(owner), key=lambda page: id(owner[page])):
        own = list(run)
        for part in _within(parts_of(owner[own[0]].data), own[0], own[-1]):
            before = found[-1] if found else None
            if part.first < own[0] and before is not None and before.last == own[0] - 1:
                found[-1] = replace(before, last=part.last)
            else:
                found.append(replace(part, first=max(part.first, own[0])))
    return {"parts": [part.to_json() for part in found]}


def _within(parts: Iterable[Part], first: int, last: int) -> Iterator[Part]:
    """The parts that have some of these pages, without what is behind them."""
    for part in parts:
        if part.first <= last and part.last >= first:
            yield replace(part, last=min(part.last, last))
