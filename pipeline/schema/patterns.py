"""Texts that a regular expression matches, made by walking what Python's own parser reads of it."""

import string
from importlib import import_module
from random import Random
from typing import Any, Final

#: Repeats without an upper bound go so far beyond the lower one.
_MORE: Final = 3
#: Pieces of which a text is made at most: repeats within repeats multiply.
_LONGEST: Final = 100_000
_PRINTED: Final = string.ascii_letters + string.digits + "-_.,;:/ "
_CLASSES: Final = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_WORD": string.ascii_letters + string.digits + "_",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_DIGIT": string.ascii_letters,
    "CATEGORY_NOT_WORD": "-., ",
    "CATEGORY_NOT_SPACE": string.ascii_letters + string.digits,
}


class NotMade(Exception):
    """No text can be made for a pattern."""


def text_for(pattern: str, random: Random) -> str:
    """A text in which the pattern is found; look-arounds are passed over, so that it may fail.

    Raises:
        NotMade: the pattern has what Python's `re` does not read, or asks for a text without measure.

    """
    # `sre_parse` of the standard library; its public name is deprecated and warns.
    parser = import_module("re._parser")
    try:
        return _Maker(random).sequence(parser.parse(pattern))
    except (ValueError, OverflowError, RecursionError, import_module("re").error) as error:
        raise NotMade(f"the pattern {pattern!r} can't be followed: {error}") from error


class _Maker:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.groups: dict[int, str] = {}
        self.left = _LONGEST

    def sequence(self, parts: Any) -> str:
        """The text of a sequence of parsed parts."""
        return "".join(self._part(str(op), value) for op, value in parts)

    def _part(self, op: str, value: Any) -> str:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"a text of more than {_LONGEST:,} characters")
        make = getattr(self, f"_{op.lower()}", None)
        return make(value) if make else ""  # anchors and look-arounds take no place

    def _literal(self, code: int) -> str:
        return chr(code)

    def _not_literal(self, code: int) -> str:
        return self.random.choice([char for char in _PRINTED if ord(char) != code])

    def _any(self, _: Any) -> str:
        return self.random.choice(string.ascii_lowercase)

    def _in(self, parts: Any) -> str:
        kinds = [(str(op), value) for op, value in parts]
        chars = "".join(_chars(op, value) for op, value in kinds)
        if kinds[0][0] == "NEGATE":
            chars = "".join(char for char in _PRINTED if char not in chars)
        if not chars:
            raise ValueError("a class of characters that is empty here")
        return self.random.choice(chars)

    def _branch(self, value: Any) -> str:
        return self.sequence(self.random.choice(value[1]))

    def _subpattern(self, value: Any) -> str:
        made = self.sequence(value[3])
        if value[0] is not None:
            self.groups[value[0]] = made
        return made

    def _atomic_group(self, value: Any) -> str:
        return self.sequence(value)

    def _groupref(self, group: int) -> str:
        return self.groups.get(group, "")

    def _max_repeat(self, value: Any) -> str:
        least, most, part = value
        most = min(int(most), least + _MORE)
        return "".join(
            self.sequence(part) for _ in range(self.random.randint(least, max(least, most)))
        )

    _min_repeat = _max_repeat
    _possessive_repeat = _max_repeat


def _chars(op: str, value: Any) -> str:
    if op == "LITERAL":
        return chr(value)
    if op == "RANGE":
        return "".join(map(chr, range(value[0], min(value[1], value[0] + 500) + 1)))
    return _CLASSES.get(str(value), "") if op == "CATEGORY" else ""
