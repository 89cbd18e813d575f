"""Cells of a table (RFC 4180): where a record ends, what stands in it, and which character stands between its cells.

Python's `csv` says the same of every well-formed table; it has one bound on cells for the whole process, and does
not tell where a record stands.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pipeline.errors import LoadError

_DELIMITERS: Final = (",", ";", "\t", "|")
#: A first line of spreadsheets that names the delimiter.
_NAMED: Final = re.compile(r'"?sep=(.)"?\s*')
#: Records at the beginning of a table that show its delimiter.
_SHOWN: Final = 50


def cells(record: str, delimiter: str) -> list[str]:
    """The cells of a record; a quote that is not closed ends with it."""
    found: list[str] = []
    at = 0
    while True:
        value = ""
        if record.startswith('"', at):
            value, at = _quoted(record, at + 1)
        end = record.find(delimiter, at)
        if end < 0:
            return [*found, value + record[at:]]
        found.append(value + record[at:end])
        at = end + 1


def is_open(line: str, delimiter: str, inside: bool = False) -> bool:
    """Whether a record goes on in the next line, because a quote is open; `inside`: one is at the line's beginning."""
    at = 0
    while True:
        if inside or line.startswith('"', at):
            at = _closing(line, at if inside else at + 1)
            if at < 0:
                return True
            inside = False
        at = line.find(delimiter, at)
        if at < 0:
            return False
        at += 1


def columns(header: str, delimiter: str) -> list[str]:
    """The names of the columns; those without one are numbered.

    Raises:
        LoadError: `doubled_column`, two have the same name.

    """
    named = [cell.strip() for cell in cells(header, delimiter)]
    twice = next((name for name, count in Counter(named).items() if name and count > 1), None)
    if twice is not None:
        told = f"two columns are named {twice[:80]}: give each a name of its own"
        raise LoadError("doubled_column", told)
    found: list[str] = []
    for number, name in enumerate(named, start=1):
        free = f"column_{number}"
        while free in named:
            free += "_"
        found.append(name or free)
    return found


def is_blank(record: str, delimiter: str) -> bool:
    """Whether no cell holds anything: then it is no row."""
    return not record.strip(f'{delimiter}" \t\r\n\ufeff')


def delimiter_of(text: str, name: str) -> tuple[str, bool]:
    """What stands between the cells of a table that begins so; whether the first line does no more than say it.

    Of those that cut the header in two, the one that gives most records as many cells as it; of several
    the one with more columns. A name that ends in `.tsv` says it too, if the header has a tab.
    """
    if named := _NAMED.fullmatch(text.partition("\n")[0]):
        return named[1], True
    if name.lower().endswith(".tsv") and "\t" in text.lstrip("\r\n").partition("\n")[0]:
        return "\t", False
    best, chosen = (0.0, 0), ","
    for delimiter in _DELIMITERS:
        counts = [len(cells(record, delimiter)) for record in _records(text, delimiter)]
        fits = sum(count == counts[0] for count in counts) / len(counts) if counts else 0.0
        if counts and counts[0] > 1 and (fits, counts[0]) > best:
            best, chosen = (fits, counts[0]), delimiter
    return chosen, False


def _records(text: str, delimiter: str) -> Iterator[str]:
    """The first records of a text, the last and perhaps cut one left out if there are others."""
    record, found, inside = "", 0, False
    for line in re.split(r"\r\n|\r|\n", text[:65_536]):
        record = f"{record}\n{line}" if inside else line
        inside = is_open(line, delimiter, inside)
        if inside or is_blank(record, delimiter):
            continue
        yield record
        found += 1
        if found == _SHOWN:
            return


def _closing(text: str, at: int) -> int:
    """The place behind the quote that closes a cell; -1: there is none."""
    while (found := text.find('"', at)) >= 0:
        if not text.startswith('"', found + 1):
            return found + 1
        at = found + 2
    return -1


def _quoted(text: str, at: int) -> tuple[str, int]:
    """What stands in quotes from a place on, and where that ends."""
    end = _closing(text, at)
    inner = text[at:] if end < 0 else text[at : end - 1]
    return inner.replace('""', '"'), len(text) if end < 0 else end
