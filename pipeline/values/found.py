"""Found, the span of a value in a text; plain text for the readers; a Decimal as a JSON number."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

T = TypeVar("T")

#: Characters that documents print for a minus or a hyphen; a dash of the width of an m is neither.
_HYPHENS = "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
#: Characters that group digits and mean nothing else (Swiss, Arabic); all become an apostrophe.
_GROUPERS = "\u2019\u02bc\u00b4`\u066c\uff07"


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """One value in a text: `text` is the printed span, `start`/`end` its code points.

    `value` is the likeliest of the `readings`. Numbers know the `currency` (ISO 4217) that stands
    beside them, and whether they are a `percent`.
    """

    value: T
    start: int
    end: int
    text: str
    readings: frozenset[T]
    currency: str | None = None
    percent: bool = False


class _Plain(dict[int, str]):
    """The translation of `plain`, filled one character at a time as documents need it."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        digit = unicodedata.decimal(char, None)
        normal = unicodedata.normalize("NFKC", char)
        if digit is not None:
            made = str(digit)
        elif char in _HYPHENS:
            made = "-"
        elif char in _GROUPERS:
            made = "'"
        elif len(normal) == 1 and not normal.isdigit() and (normal.isascii() or code >= 0xFF00):
            made = normal
        else:  # also superscript digits: they are notes and exponents, not part of the number
            made = char
        self[code] = made
        return made


_PLAIN = _Plain()


def plain(text: str) -> str:
    """The text with every script's digits, blanks, hyphens and full-width signs as ASCII.

    One code point stays one code point, so that places are the same in both.
    """
    return text if text.isascii() else text.translate(_PLAIN)


def masked(text: str, spans: Iterable[tuple[int, int]], cover: str = " ") -> str:
    """The text with every span covered by one character, so that later readers pass over it."""
    pieces, at = [], 0
    for start, end in sorted(spans):
        if end > at:
            start = max(start, at)  # noqa: PLW2901, spans may overlap
            pieces += [text[at:start], cover * (end - start)]
            at = end
    return "".join([*pieces, text[at:]])


def json_number(number: Decimal) -> int | float:
    """A Decimal as the number that JSON prints: an int where it is whole, else the nearest float."""
    whole = number == number.to_integral_value() and number.adjusted() < 300
    return int(number) if whole else float(number)
