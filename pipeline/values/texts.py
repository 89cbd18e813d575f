"""Folded text: the form in which texts are compared, with the way back to the original places."""

import re
import unicodedata
from array import array
from dataclasses import dataclass, field

# A line's end within a word: `Rech-\nnung`. Between digits the hyphen belongs to the number.
# Marks that join the character before them: accents, points, vowel signs that compose, jamo, kana.
# Source: the Unicode Character Database, canonical compositions and combining classes of living scripts.
_JOINING = (
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u093c\u094d"
    "\u0951-\u0954\u09bc\u09be\u09cd\u09d7\u0a3c\u0abc\u0b3c\u0b3e\u0b56\u0b57\u0bbe\u0bd7\u0c56\u0cbc"
    "\u0cc2\u0cd5\u0cd6\u0d3e\u0d57\u0dca\u0dcf\u0ddf\u0e38-\u0e3a\u0e48-\u0e4b\u102e\u1037\u1039\u103a"
    "\u1161-\u1175\u11a8-\u11c2\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\u3099\u309a\ufe20-\ufe2f]"
)
_TOKEN = re.compile(
    r"(?P<break>[\u00ad\-\u2010][ \t]{0,3}\r?\n[ \t]{0,8}(?=[^\W\d_]))"
    r"|(?P<dash>[\-\u2010-\u2015\u2212\u2043\ufe58\ufe63\uff0d](?:[ \t]{0,3}\r?\n[ \t]{0,8}(?=\d))?)"
    r"|(?P<blank>\s+)"
    rf"|(?P<ascii>[!-,./0-9:-_a-~]+(?!{_JOINING}))"
    rf"|(?P<other>.{_JOINING}*)",
    re.DOTALL,
)
# Also the accents that some fonts print as signs of their own beside the letter (M\u00a8uller).
#: A sign that two digits stand around.
_IN_NUMBER = re.compile(r"\d[.,]\d")
_GONE = re.compile(
    r"[\u00a8\u00ad\u00af\u00b8\u02c6\u02c7\u02d8-\u02dd\u0640\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]"
)
_MARKS = dict.fromkeys(
    "\u2018\u2019\u201a\u201b\u2032\u2039\u203a\u00b4\u02bc`\uff07", "'"
) | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u301d\u301e\u301f\uff02", '"')
#: Scripts written without blanks: Han, kana and their punctuation; full-width letters and digits are not.
_UNSPACED = re.compile(
    r"[\u2e80-\u2fdf\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uffef\U00020000-\U0003fffd]"
)


@dataclass(frozen=True, slots=True)
class Folded:
    """A text in folded form: character i of `text` stands at `starts[i]:ends[i]` of the original."""

    text: str
    starts: "array[int]" = field(repr=False, compare=False)
    ends: "array[int]" = field(repr=False, compare=False)

    def place(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text for a span (not empty) of the folded one."""
        return self.starts[start], self.ends[end - 1]


def cuts_number(text: str, start: int, end: int) -> bool:
    """Whether a span of a text begins or ends at a sign within a number: `€ 250` of `€ 250.000,00`."""
    return any(
        _IN_NUMBER.fullmatch(text, max(0, at - before), at + 3 - before)
        for at in (start, end)
        for before in (1, 2)
    )


def fold(text: str) -> Folded:
    """The text in the form in which texts are compared, in any script.

    Compatibility forms and case are folded (NFKC, casefold), combining marks composed, digits of
    every script made ASCII (superscript digits stay what they are), runs of blanks are one blank,
    quotes and dashes one kind each; characters without width, line-end hyphenation and blanks
    between characters of scripts without blanks are gone. Blanks at both ends stay out.
    """
    made: list[str] = []
    starts, ends = array("I"), array("I")
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        kind = match.lastgroup
        if kind == "ascii":
            made.append(match.group().lower())
            starts.extend(range(start, end))
            ends.extend(range(start + 1, end + 1))
            continue
        new = _folded(match.group(), kind, text, start, end)
        made.append(new)
        starts.extend([start] * len(new))
        ends.extend([end] * len(new))
    return _stripped("".join(made), starts, ends)


def _folded(piece: str, kind: str | None, text: str, start: int, end: int) -> str:
    if kind == "blank":
        inside = _UNSPACED.match(text, start - 1) if start else None
        return "" if inside and _UNSPACED.match(text, end) else " "
    if kind == "dash":
        return "-"
    if kind == "break" or _GONE.match(piece):
        return ""
    if piece in _MARKS:
        return _MARKS[piece]
    if piece.isdecimal():
        return str(unicodedata.decimal(piece))
    new = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", piece).casefold())
    # A superscript or circled digit must not run together with the digits beside it.
    return piece if any(char.isdecimal() for char in new) else new


def _stripped(text: str, starts: "array[int]", ends: "array[int]") -> Folded:
    left = len(text) - len(text.lstrip(" "))
    right = len(text.rstrip(" "))
    if right <= left:
        return Folded("", starts[:0], ends[:0])
    return Folded(text[left:right], starts[left:right], ends[left:right])
