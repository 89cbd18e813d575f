"""A cut answer -> JSON text of what is whole in it, its open ends closed behind the last whole item. Pure.

What counts as whole: an item of an array, and a member of an object, whose value has come to its end. A
number that ends with the text may go on; a string, a list or an object that is not closed is not whole.
An item that is not closed goes as a whole, with whatever whole members it has: half a row is no row. An
object that is no item of an array (the root, a party of a contract) keeps the members that are whole.
"""

import re
from dataclasses import dataclass
from typing import Final

from pipeline.errors import ReplyError

#: JSON that is nested deeper than this is no answer to any real schema.
DEEPEST: Final = 200
_BLANKS: Final = " \t\r\n"
#: A bracket or mark, a closed string, or a run of anything else; possessive, so that nothing is read twice.
_TOKEN: Final = re.compile(
    r'[ \t\r\n]*+(?:([{}\[\],:])|("[^"\\]*+(?:\\.[^"\\]*+)*+")|[^ \t\r\n{}\[\],:"]++)', re.DOTALL
)
_WORDS: Final = ("true", "false", "null")
_CLOSE: Final = {"{": "}", "[": "]"}
#: What may come next, as kinds of tokens: marks, `"` a string, `0` a number or word.
_VALUE: Final = '"0{['
_KEY: Final = '"'
_FIRST_KEY: Final = '"}'


@dataclass(slots=True)
class _Level:
    """A list or an object that is open, and where its last whole item or member ends (0: it has none)."""

    bracket: str
    end: int = 0


def complete(text: str) -> str:
    """The JSON text of what is whole in an answer that was cut off anywhere; it is linear in the length.

    The text is what stood there, up to the end of the last whole item, and brackets that close it.
    What the values are (doubled keys, NaN) is not looked at: whoever parses it does.

    Raises:
        ReplyError: `not_json`: it breaks the rules of JSON before it ends, or is nested deeper than
            DEEPEST levels; `nothing_whole`: it ends before anything is whole.

    """
    text = _bare(text)
    levels: list[_Level] = []
    wanted, place = _VALUE, 0
    while wanted and (token := _TOKEN.match(text, place)):
        kind = token[1] or ('"' if token[2] else "0")
        if kind not in wanted:
            raise _broken(text, token.end())
        if kind == "0" and token.end() == len(text) and not text.endswith(_WORDS):
            break  # a number that may go on, half a word
        place = token.end()
        wanted = _next(kind, wanted, levels, place)
    rest = text[place:].strip(_BLANKS)
    if not wanted:
        if rest.strip("`"):
            raise _broken(text, place)
        return text[:place]
    if rest[:1] == '"' and '"' not in wanted:
        raise _broken(text, place)
    return _closed(text, levels)


def _bare(text: str) -> str:
    """The text without blanks, byte order mark and fence of backticks around it; the fence need not be closed."""
    stripped = text.strip().removeprefix("\ufeff")
    if stripped.startswith("```") and "\n" in stripped:
        return stripped[stripped.index("\n") :].removesuffix("```").strip()
    return stripped


def _next(kind: str, wanted: str, levels: list[_Level], place: int) -> str:
    """What may come behind a token; the levels are kept up to date. Empty behind the whole value."""
    if kind in _CLOSE:
        levels.append(_Level(kind))
        if len(levels) > DEEPEST:
            raise ReplyError("not_json", f"the answer is nested deeper than {DEEPEST} levels")
        return _FIRST_KEY if kind == "{" else _VALUE + "]"
    if kind == ",":
        return _KEY if levels[-1].bracket == "{" else _VALUE
    if kind == ":":
        return _VALUE
    if wanted in {_KEY, _FIRST_KEY} and kind == '"':
        return ":"
    if kind in "}]":
        levels.pop()
    if not levels:
        return ""
    levels[-1].end = place
    return "," + _CLOSE[levels[-1].bracket]


def _closed(text: str, levels: list[_Level]) -> str:
    """The text up to the last whole item that stays, and what closes it."""
    # What is open inside an array is an item of it that is not whole: it goes.
    first = next((i for i, level in enumerate(levels) if level.bracket == "["), len(levels))
    kept = levels[: first + 1]
    while kept and not kept[-1].end:
        kept.pop()  # an array that was opened and has no item says nothing, not that there is none
    if not kept:
        raise ReplyError("nothing_whole", "the answer was cut off before anything in it was whole")
    return text[: kept[-1].end] + "".join(_CLOSE[level.bracket] for level in reversed(kept))


def _broken(text: str, place: int) -> ReplyError:
    near = text[max(0, place - 40) : place + 40]
    return ReplyError("not_json", f"the answer is not JSON near {near!r}")
