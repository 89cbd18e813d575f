"""One leaf of an answer: what kind of value it is, and where its normal form can be read."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any, Literal

from pipeline.grounding.index import Index, Place
from pipeline.schema import Node
from pipeline.values import duration_length, find_dates, fold, number_readings, plain

Kind = Literal["truth", "number", "date", "instant", "time", "duration", "text"]
Found = tuple[list[Place], list[Place]]

_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ISO_INSTANT = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_ISO_TIME = re.compile(r"(?P<time>\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)?", re.ASCII)
#: In a schema's description or pattern: the value is a time of day in digits.
_TOLD_TIME = re.compile(r"\bhh:mm\b|:\[0-5\](?:\[0-9\]|\\d)", re.IGNORECASE)
_AMOUNT = re.compile(r"-?(?:0|[1-9]\d*)\.\d+", re.ASCII)
_MONEY = re.compile(r"[A-Z]{3}", re.ASCII)
_DIGITS = re.compile(r"\d+")
#: How far behind its date a time of day is looked for, in code points.
_NEAR = 40
_SHORTEST_CODE = 7
#: A longer text with digits is not laid beside its quote, and not said to come from it.
_LONGEST_BESIDE = 5000
_LONGEST_DATE = 60


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value to prove; `chosen` says that its words come from the schema (a boolean, an enum)."""

    pointer: str
    value: Any
    kind: Kind
    chosen: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to prove: null, or a text without a visible character."""
        return self.value is None or (isinstance(self.value, str) and not fold(self.value).text)

    def derives_from(self, quote: str) -> bool:
        """Whether the value may come from a quote that does not hold it (design: `derived`)."""
        if self.chosen:
            return True
        if self.kind != "text":
            return False
        if _has_other_sign(str(self.value), quote):
            return False
        told, given = Counter(_runs(quote)), Counter(_runs(str(self.value)))
        return given <= told and not (given and _differs_in_digits(str(self.value), quote))

    def is_made_of(self, quotes: Iterable[str]) -> bool:
        """Whether the value is a text that some quotes give together, in their order."""
        return self.kind == "text" and _signs(str(self.value)) == "".join(map(_signs, quotes))


def leaf(node: Node | None, pointer: str, value: Any) -> Leaf:
    """What a value is, by its type, its schema and, for texts, its form."""
    body = node.schema if node else {}
    chosen = isinstance(value, bool) or "enum" in body or "const" in body
    return Leaf(pointer, value, _kind(value, body, chosen=chosen), chosen)


def places(index: Index, what: Leaf) -> Found:
    """Where the value is read for sure, and where it may be read; both in the document's order."""
    key = (what.kind, what.value)  # rows of a table repeat their values
    if key not in index.known:
        sure, loose = _READERS[what.kind](index, what.value)
        index.known[key] = (sorted(set(sure)), sorted(set(loose) - set(sure)))
    return index.known[key]


def _kind(value: Any, body: Mapping[str, Any], *, chosen: bool) -> Kind:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float | Decimal):
        return "number"
    return "text" if chosen else _kind_of_text(str(value), body)


def _kind_of_text(text: str, body: Mapping[str, Any]) -> Kind:
    instant, clock = _ISO_INSTANT.fullmatch(text), _ISO_TIME.fullmatch(text)
    if _ISO_DATE.fullmatch(text) and _is_valid(date, text):
        return "date"
    if instant and _is_valid(date, instant["day"]) and _is_valid(time, instant["time"]):
        return "instant"
    if clock and _is_valid(time, clock["time"]) and _wants_time(body):
        return "time"
    return "duration" if body.get("format") == "duration" and duration_length(text) else "text"


def _wants_time(body: Mapping[str, Any]) -> bool:
    """Whether a schema's format, else its description or pattern, tells of a time of day."""
    if form := body.get("format"):
        return form in {"time", "time-local"}
    return bool(_TOLD_TIME.search(f"{body.get('description')} {body.get('pattern')}"))


def _is_valid(kind: type[date] | type[time], text: str) -> bool:
    try:
        kind.fromisoformat(text)
    except ValueError:
        return False
    return True


def _signs(text: str) -> str:
    """The letters and digits of a text, folded."""
    return "".join(char for char in fold(text).text if char.isalnum())


def _runs(text: str) -> list[str]:
    return _DIGITS.findall(plain(text))


def _has_other_sign(value: str, quote: str) -> bool:
    """Whether a text that is an amount is printed in a quote with the other sign alone."""
    if not _AMOUNT.fullmatch(value):
        return False
    amount, printed = Decimal(value), number_readings(quote)
    return -amount in printed and amount not in printed


def _differs_in_digits(value: str, quote: str) -> bool:
    """Whether a digit of a value stands where the quote, laid beside it, has another digit.

    Then the value is that print with a digit changed, whatever further digits the quote has.
    """
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.fuzz import partial_ratio_alignment

    own, print_ = fold(value).text, fold(quote).text
    if len(own) > _LONGEST_BESIDE:
        return True
    # Its letters stand there, around other digits.
    if re.search(_DIGITS.sub(r"\\d+", re.escape(own)), print_):
        return True
    if len(own) < len(print_):
        beside = partial_ratio_alignment(own, print_)
        print_ = print_[beside.dest_start : beside.dest_end] if beside else print_
    return any(
        step.tag == "replace"
        and own[step.src_pos].isdecimal()
        and print_[step.dest_pos].isdecimal()
        for step in Levenshtein.editops(own, print_)
    )


def _truth(index: Index, value: bool) -> Found:
    return [], []


def _number(index: Index, value: float | Decimal) -> Found:
    number = Decimal(str(value))
    if not number.is_finite():
        return [], []
    sure = index.numbers.get(number) or index.years.get(number, [])
    return sure, index.loose_numbers.get(number, [])


def _date(index: Index, value: str) -> Found:
    return index.dates.get(date.fromisoformat(value), []), []


def _time(index: Index, value: str) -> Found:
    match = _ISO_TIME.fullmatch(value)
    return (index.times.get(time.fromisoformat(match["time"]), []), []) if match else ([], [])


def _duration(index: Index, value: str) -> Found:
    return index.durations.get(duration_length(value), []), []


def _instant(index: Index, value: str) -> Found:
    """As printed; else the date with its time of day behind it; midnight need not be printed."""
    match = _ISO_INSTANT.fullmatch(value)
    literal = index.find_text(value)
    if literal or not match:
        return literal, []
    days = index.dates.get(date.fromisoformat(match["day"]), [])
    clock = time.fromisoformat(match["time"])
    hours = index.times.get(clock, [])
    both = [
        Place(day.page, day.start, hour.end)
        for day in days
        for hour in hours
        if day.page == hour.page and day.end <= hour.start <= day.end + _NEAR
    ]
    return both or (days if clock == time() else []), []


def _text(index: Index, value: str) -> Found:
    """As printed; else as a code, an amount, a date or a currency that is printed in another form."""
    literal = index.find_text(value)
    if literal and _AMOUNT.fullmatch(value):
        literal = _with_sign(index, Decimal(value), literal)
    if literal:
        return literal, []
    compact = "".join(char for char in value if char.isalnum()).upper()
    if len(compact) >= _SHORTEST_CODE and (codes := _codes(index, value, compact)):
        return codes, []
    if _AMOUNT.fullmatch(value):
        return _number(index, Decimal(value))
    if _MONEY.fullmatch(value):
        return index.currencies.get(value, []), index.loose_currencies.get(value, [])
    dates = find_dates(value) if len(value) <= _LONGEST_DATE else []
    if len(dates) == 1 and dates[0].text == value.strip() and len(dates[0].readings) == 1:
        return index.dates.get(dates[0].value, []), []
    return [], []


def _with_sign(index: Index, amount: Decimal, found: list[Place]) -> list[Place]:
    """The places of an amount without those that are printed with the other sign alone."""
    own, other = (set(index.numbers.get(each, [])) for each in (amount, -amount))
    wrong = {index.digits(place) for place in other - own}
    return [place for place in found if index.digits(place) not in wrong]


def _codes(index: Index, value: str, compact: str) -> list[Place]:
    return index.codes.get(compact, []) or index.codes.get(
        "+" * value.startswith("+") + compact, []
    )


_READERS: dict[Kind, Callable[[Index, Any], Found]] = {
    "truth": _truth,
    "number": _number,
    "date": _date,
    "instant": _instant,
    "time": _time,
    "duration": _duration,
    "text": _text,
}
