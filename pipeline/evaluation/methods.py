"""How one value is compared with another: exact, number, money, date, time, enum, boolean, text, fuzzy.

Two values that are the same JSON value are the same under every method. A number, an amount or a
date is compared as a value, however it is written. Texts are compared in normal form: Unicode folded,
without case, blanks and punctuation. Long texts may differ in a tenth of their letters, never in a digit;
very long ones are compared in normal form only.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from pipeline.schema import Node
from pipeline.values import (
    currency_readings,
    date_readings,
    find_dates,
    find_numbers,
    fold,
    time_readings,
)

#: Shorter texts must be equal in normal form.
LONG = 12
#: What the letters of two long texts must have in common, unless said otherwise.
SIMILAR = 0.9
#: Longer texts (characters in normal form) must be equal: similarity takes time by the square of the length.
LONGEST = 20_000
#: Amounts are equal when they are nearer than half a cent.
HALF_CENT = Decimal("0.005")
#: What sums of binary floating point may add to a number: a share of it, and where it is 0, an amount.
NOISE = Decimal("1e-12")
TINY = Decimal("1e-15")
#: Numbers in texts with more digits before or after the point are none: their sums could overflow.
_MOST_DIGITS = 10_000

Same = Callable[[Any, Any], bool]


class Method(NamedTuple):
    """A way to compare: its name as a user types it, and whether gold and given value are the same."""

    name: str
    same: Same


def strictly(gold: Any, given: Any) -> bool:
    """The same JSON value: 1 is 1.0, but not true and not "1"."""
    if isinstance(gold, bool) != isinstance(given, bool):
        return False
    return bool(gold == given)


def parsed(text: str) -> Method:
    """The method that a user names: `number:1%`, `fuzzy:0.8`, `text` ...

    Raises:
        ValueError: there is no such method, or it doesn't take what stands after the colon.

    """
    name, colon, setting = text.partition(":")
    if name not in _METHODS:
        raise ValueError(f"{text!r} is no way to compare: {', '.join(NAMES)}")
    if not colon:
        return Method(text, _METHODS[name])
    if name not in _SETTINGS:
        raise ValueError(f"{text!r}: {name} takes nothing after the colon")
    try:
        return Method(text, _SETTINGS[name](setting))
    except (InvalidOperation, ValueError):
        told = "a similarity, such as 0.8" if name == "fuzzy" else "a tolerance: 0.01 or 1%"
        raise ValueError(f"{text!r}: after the colon stands {told}") from None


def default_for(node: Node | None) -> Method:
    """The method that fits what the schema says: its enum, type, format and pattern."""
    if node is None or node.type not in _BY_TYPE:
        return ANY
    if "enum" in node.schema or "const" in node.schema:
        return _enum_of(node.schema.get("enum", [node.schema.get("const")]))
    if node.type == "string":
        kind = node.schema.get("format")
        if "pattern" in node.schema and kind not in _BY_FORMAT:
            return TEXT  # a pattern makes it an identifier
        return _BY_FORMAT.get(kind, TEXT if kind else FUZZY)
    return _BY_TYPE[node.type]


def _exact(gold: Any, given: Any) -> bool:
    return strictly(gold, given)


def _numbers(value: Any) -> frozenset[Decimal]:
    """What a value may mean as a number: itself, or every reading of the one number of a text."""
    if isinstance(value, str):
        return _printed_numbers(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return frozenset()
    return frozenset([Decimal(repr(value))])


@lru_cache(4096)
def _printed_numbers(text: str) -> frozenset[Decimal]:
    try:
        number = Decimal(text.strip())
        held = number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS
        return frozenset([number]) if held else frozenset()
    except InvalidOperation:
        found = find_numbers(text)
        return found[0].readings if len(found) == 1 else frozenset()


def _near(gold: Any, given: Any, near: Callable[[Decimal, Decimal], bool]) -> bool:
    if strictly(gold, given):
        return True
    return any(near(one, other) for one in _numbers(gold) for other in _numbers(given))


def _equal(gold: Decimal, given: Decimal) -> bool:
    """The same number but for the noise of floating point, of which integers have none."""
    if all(side == side.to_integral_value() for side in (gold, given)):
        return gold == given
    noise = NOISE * max(abs(gold), abs(given)) if gold and given else TINY
    return abs(gold - given) <= noise


def _number(setting: str | None) -> Same:
    """Equal but for the tolerance: absolute (0.01), or a share of the gold value (1%)."""
    if setting is None:
        return lambda gold, given: _near(gold, given, _equal)
    relative = setting.endswith("%")
    amount = Decimal(setting.removesuffix("%"))
    tolerance = amount / 100 if relative else amount
    if not (tolerance.is_finite() and tolerance >= 0):
        raise ValueError(setting)

    def near(gold: Decimal, given: Decimal) -> bool:
        return abs(gold - given) <= (tolerance * abs(gold) if relative else tolerance)

    return lambda gold, given: _near(gold, given, near)


def _money(gold: Any, given: Any) -> bool:
    """Amounts nearer than half a cent; where both print a currency, it must be the same."""
    if not _near(gold, given, lambda one, other: abs(one - other) < HALF_CENT):
        return False
    sides = [currency_readings(side) if isinstance(side, str) else None for side in (gold, given)]
    return not all(sides) or bool((sides[0] or frozenset()) & (sides[1] or frozenset()))


@lru_cache(4096)
def _moment(text: str) -> tuple[datetime | None, frozenset[date]]:
    """A moment with a time of day if the text is one in ISO form, and the days that it may mean."""
    try:
        return None, frozenset([date.fromisoformat(text.strip())])
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment, frozenset([moment.date()])
    except ValueError:
        return None, date_readings(text) if len(find_dates(text)) == 1 else frozenset()


def _date(gold: Any, given: Any) -> bool:
    """The same day; the same moment where both have a time of day.

    A date that can be read in several ways is right in each of them if the other side is clear.
    """
    if not (isinstance(gold, str) and isinstance(given, str)):
        return strictly(gold, given)
    if _text(gold, given):
        return True
    (one, days), (other, others) = _moment(gold), _moment(given)
    if one and other:
        if one.tzinfo is None or other.tzinfo is None:  # where one doesn't say, clocks are compared
            one, other = one.replace(tzinfo=None), other.replace(tzinfo=None)
        return one == other
    return bool(days & others) and 1 in (len(days), len(others))


@lru_cache(4096)
def _times(text: str) -> frozenset[time]:
    try:
        return frozenset([time.fromisoformat(text.strip())])
    except ValueError:
        return time_readings(text)


def _time(gold: Any, given: Any) -> bool:
    if not (isinstance(gold, str) and isinstance(given, str)):
        return strictly(gold, given)
    return _text(gold, given) or bool(_times(gold) & _times(given))


#: Words for a boolean.
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _boolean(gold: Any, given: Any) -> bool:
    one, other = (TRUTH.get(_written(side).strip().lower()) for side in (gold, given))
    return one is other if one is not None and other is not None else _text(gold, given)


def _enum(gold: Any, given: Any) -> bool:
    """The same but for case and blanks: signs tell values apart (A+, A-)."""
    return fold(_written(gold)).text == fold(_written(given)).text


def _enum_of(values: list[Any]) -> Method:
    """Punctuation counts only where some of the values that the schema allows differ in nothing else."""
    texts = [_written(value) for value in values]
    apart = len({fold(text).text for text in texts}) == len({normal(text) for text in texts})
    return Method("enum", _text) if apart else ENUM


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class _Kept(dict[int, int | None]):
    """Which characters a normal form keeps: letters, marks, digits, currency and some other signs."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        self[code] = code if category[0] in "LMN" or category == "Sc" else None
        return self[code]


#: Stands for a decimal mark in a normal form.
_MARK = "\0"
#: How many signs may end a word (C++); more are a rule.
_WORD_SIGNS = 2
_KEPT = _Kept({ord(char): ord(char) for char in f"{_MARK}%+-#"})
_CHAIN = re.compile(r"\d+(?:[.,]\d+)+")
_SIGNS = re.compile("[+#-]+")
#: A word that goes on in the next line, which only `fold` joins.
_BROKEN = re.compile(r"-[ \t]{0,3}\r?\n")


def _marked(chain: re.Match[str]) -> str:
    """Digits with points and commas: the decimal mark stays, what groups or enumerates goes."""
    parts = re.split("[.,]", chain.group())
    grouped = all(len(part) == 3 for part in parts[1:-1])
    if grouped and len(parts[-1]) != 3:
        return "".join(parts[:-1]) + _MARK + parts[-1]
    return "".join(parts)


def _meant(signs: re.Match[str]) -> str:
    """Signs that belong to a word (A+, C#) or make a number negative; hyphens and rules go."""
    before = signs.string[max(0, signs.start() - 1) : signs.start()]
    after = signs.string[signs.end() : signs.end() + 1]
    if before.isalnum():
        return "" if after.isalnum() or len(signs.group()) > _WORD_SIGNS else signs.group()
    return "-" if after.isdecimal() and signs.group().endswith("-") else ""


@lru_cache(65536)
def normal(text: str) -> str:
    """The text as it is compared: folded, without case, blanks and punctuation.

    A decimal mark counts (12.50 is not 1250), as do a minus before a number and up to two of `+`, `-`
    and `#` at the end of a word. A text of nothing but signs is itself, folded.
    """
    plain = text.isascii() and not _BROKEN.search(text)
    folded = text.strip().lower() if plain else fold(text).text
    kept = _SIGNS.sub(_meant, folded.replace(_MARK, ""))
    return _CHAIN.sub(_marked, kept).translate(_KEPT) or folded or text


def _text(gold: Any, given: Any) -> bool:
    return bool(gold == given) or normal(_written(gold)) == normal(_written(given))


def _fuzzy(setting: str | None) -> Same:
    """Equal in normal form, or long (but not very long) and similar, all digits the same.

    A text that is one word with digits in it is an identifier: similar is not the same.
    """
    least = SIMILAR if setting is None else float(setting)
    if not 0 < least <= 1:
        raise ValueError(setting)

    def same(gold: Any, given: Any) -> bool:
        if _text(gold, given):
            return True
        if not (isinstance(gold, str) and isinstance(given, str)):
            return False
        one, other = normal(gold), normal(given)
        short, long = sorted((len(one), len(other)))
        if short < LONG or long > LONGEST or _digits(one) != _digits(other):
            return False
        if _digits(one) and len(gold.split()) < 2:
            return False
        from rapidfuzz.distance import Indel

        return Indel.normalized_similarity(one, other, score_cutoff=least) >= least

    return same


@lru_cache(65536)
def _digits(form: str) -> str:
    return re.sub(r"\D", "", form)


_ISO_DATE = re.compile(r"\s*\d{4}-\d\d-\d\d(?:[T ].*)?\s*")


def _any(gold: Any, given: Any) -> bool:
    """By the values alone, where no schema says what they are."""
    if isinstance(gold, bool) or isinstance(given, bool):
        return _boolean(gold, given)
    if isinstance(gold, int | float) or isinstance(given, int | float):
        return NUMBER.same(gold, given)
    if _ISO_DATE.fullmatch(gold) and _ISO_DATE.fullmatch(given):
        return _date(gold, given)
    return FUZZY.same(gold, given)


_SETTINGS: Mapping[str, Callable[[str | None], Same]] = {"number": _number, "fuzzy": _fuzzy}
_METHODS: Mapping[str, Same] = {
    "exact": _exact,
    "number": _number(None),
    "money": _money,
    "date": _date,
    "time": _time,
    "enum": _enum,
    "boolean": _boolean,
    "text": _text,
    "fuzzy": _fuzzy(None),
}
#: What a field, or for the last two a whole part of the data, can be compared by.
NAMES = (*_METHODS, "ignore", "ordered")

NUMBER, TEXT, FUZZY, ENUM = (
    Method(name, _METHODS[name]) for name in ("number", "text", "fuzzy", "enum")
)
ANY = Method("any", _any)
_BY_TYPE: Mapping[str, Method] = {
    "string": FUZZY,
    "number": NUMBER,
    "integer": NUMBER,
    "boolean": Method("boolean", _boolean),
}
_BY_FORMAT: Mapping[Any, Method] = {
    "date": Method("date", _date),
    "date-time": Method("date", _date),
    "date-time-local": Method("date", _date),
    "time": Method("time", _time),
    "time-local": Method("time", _time),
}
