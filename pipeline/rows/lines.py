"""The lines of a file of any size, in any encoding, by their bytes: one after the other, none larger than a bound."""

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

#: The most bytes that a row may have: parsed JSON takes some twenty times its size, and many rows are parsed at once.
LARGEST_ROW: Final = 1_000_000
#: Bytes that are read at a time.
_CHUNK: Final = 1 << 18


class Line(NamedTuple):
    """A line: where it begins, where the next one does, and its bytes without the line end.

    Of one that is larger than LARGEST_ROW, `content` is the beginning: one byte more than that.
    """

    start: int
    end: int
    content: bytes

    @property
    def is_too_long(self) -> bool:
        """Whether its content is not all there."""
        return len(self.content) > LARGEST_ROW


def lines(descriptor: int, at: int, newline: bytes) -> Iterator[Line]:
    """The lines from a place on; `newline` is the line end in the encoding of the file."""
    start = place = at
    rest = b""
    while chunk := os.pread(descriptor, _CHUNK, place):
        place += len(chunk)
        *whole, rest = _split(rest + chunk, newline)
        for content in whole:
            end = start + len(content) + len(newline)
            yield Line(start, end, content[: LARGEST_ROW + 1])
            start = end
        if len(rest) > LARGEST_ROW:
            place = _behind_next(descriptor, place - len(newline) + 1, newline, start)
            yield Line(start, place, rest[: LARGEST_ROW + 1])
            start, rest = place, b""
    if rest:
        yield Line(start, place, rest)


def _split(content: bytes, newline: bytes) -> list[bytes]:
    """The content between line ends; one across the border of two wide characters is none."""
    pieces = content.split(newline)
    if len(newline) == 1:
        return pieces
    found: list[bytes] = []
    before = b""
    for number, piece in enumerate(pieces, start=1):
        whole = before + piece
        if len(whole) % len(newline) and number < len(pieces):
            before = whole + newline
        else:
            found.append(whole)
            before = b""
    return found


def _behind_next(descriptor: int, at: int, newline: bytes, start: int) -> int:
    """Where the line after the next line end begins, or the file ends; wide characters are counted from `start`."""
    while chunk := os.pread(descriptor, _CHUNK, at):
        found = chunk.find(newline)
        while found >= 0 and (at + found - start) % len(newline):
            found = chunk.find(newline, found + 1)
        if found >= 0:
            return at + found + len(newline)
        if len(chunk) < len(newline):
            return at + len(chunk)
        at += len(chunk) - len(newline) + 1
    return at
