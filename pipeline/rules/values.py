"""What stands in a rule: exact decimals, dates, texts; sums, products and comparisons of them."""

import math
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    Context,
    Decimal,
    DecimalException,
    Inexact,
    InvalidOperation,
    Overflow,
)
from typing import Any, Final

from pipeline.rules.tree import Order, Sort

#: A value as rules see it; None is null or missing.
Value = Decimal | date | datetime | time | str | bool | None

#: Digits that sums, differences and products may have: every float of JSON with every other, and far beyond.
_DIGITS: Final = 5000
#: Digits of a quotient that doesn't end, and those of them that count when it is compared.
_QUOTIENT_DIGITS: Final = 60
_SURE: Final = Decimal("1E-50")
#: Bits of a whole number; Python reads no JSON number of more than 4300 digits.
_MOST_BITS: Final = 15_000
_LONGEST: Final = 60

_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,400})(?:\.\d{1,400})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d)?", re.ASCII)  # fmt: skip
_TIME = re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d)?", re.ASCII)


class Trouble(Exception):
    """A rule that can't be worked out for this data: a sentence that says why."""


class Arithmetic:
    """Exact sums and products; quotients to 60 digits."""

    def __init__(self, tolerance: "Tolerance | None" = None) -> None:
        self.tolerance = tolerance
        self._exact = _context(_DIGITS, exact=True)
        self._quotient = _context(_QUOTIENT_DIGITS, exact=False)

    def done(self, sign: str, left: Value, right: Value) -> Value:
        """`left sign right`; None if one of them is missing.

        Raises:
            Trouble: they can't be taken together.

        """
        if left is None or right is None:
            return None
        first, second = _counted(left), _counted(right)
        if isinstance(first, date) or isinstance(second, date):
            return _days(sign, first, second)
        try:
            if sign == "+":
                return self._exact.add(first, second)
            if sign == "-":
                return self._exact.subtract(first, second)
            if sign == "*":
                return self._exact.multiply(first, second)
            if not second:
                raise Trouble(f"{shown(first)} is divided by zero")
            return self._quotient.divide(first, second)
        except DecimalException:
            raise Trouble("its numbers have more digits than can be reckoned with") from None

    def rounded(self, value: Value, places: int) -> Value:
        """To so many decimal places, halves away from zero as in bookkeeping."""
        number = _number(value)
        if number is None:
            return None
        try:
            return number.quantize(Decimal(1).scaleb(-places), "ROUND_HALF_UP", self._rounding())
        except DecimalException:
            raise Trouble("its numbers have more digits than can be reckoned with") from None

    def _rounding(self) -> Context:
        rounding = self._exact.copy()
        rounding.traps[Inexact] = False
        return rounding

    def compared(self, order: Order, left: Value, right: Value) -> bool | None:
        """Whether they stand in an order, within the tolerance; None if one of them is missing.

        Raises:
            Trouble: they have no order.

        """
        if left is None or right is None:
            return None
        first, second = _alike(left, right)
        if isinstance(first, Decimal) and isinstance(second, Decimal):
            return self._of_numbers(order, first, second)
        if order in {"==", "!="}:
            return (_is_same(first, second)) == (order == "==")
        if type(first) is not type(second) or isinstance(first, str | bool):
            raise Trouble(f"{shown(left)} and {shown(right)} have no order")
        try:
            return _ORDERS[order](_sign(first, second))
        except TypeError:  # one has a zone, the other none
            raise Trouble(f"{shown(left)} and {shown(right)} have no order") from None

    def _of_numbers(self, order: Order, first: Decimal, second: Decimal) -> bool:
        try:
            apart = self._exact.subtract(first, second)
        except DecimalException:
            return _ORDERS[order](_sign(first, second))
        most = self.allowed(first, second)
        if abs(apart) <= most:
            return order in {"==", "<=", ">="}
        return _ORDERS[order](apart)

    def allowed(self, first: Decimal, second: Decimal) -> Decimal:
        """How far two numbers may be apart."""
        largest = max(abs(first), abs(second))
        most = self.tolerance.of(largest) if self.tolerance else Decimal(0)
        if self._quotient.flags[Inexact]:
            most = max(most, self._quotient.multiply(largest, _SURE))
        return most


class Tolerance:
    """How far the sides of a comparison may be apart: `0.01`, or `1%` of the larger one."""

    def __init__(self, text: str) -> None:
        """Read it.

        Raises:
            ValueError: it is none.

        """
        number, percent, rest = text.strip().partition("%")
        if rest or not _NUMBER.fullmatch(number.strip()) or number.startswith("-"):
            raise ValueError(f"tolerance {text!r}: write a number (0.01) or a share (1%)")
        self.number, self.is_share = Decimal(number.strip()), bool(percent)

    def of(self, largest: Decimal) -> Decimal:
        """The tolerance for numbers up to this one."""
        if not self.is_share:
            return self.number
        try:
            return _WIDE.multiply(largest, self.number).scaleb(-2, _WIDE)
        except DecimalException:
            return Decimal(0)


_ORDERS: Final[dict[Order, Callable[[Any], bool]]] = {
    "==": lambda sign: sign == 0,
    "!=": lambda sign: sign != 0,
    "<": lambda sign: sign < 0,
    "<=": lambda sign: sign <= 0,
    ">": lambda sign: sign > 0,
    ">=": lambda sign: sign >= 0,
}


def of_data(value: Any) -> Value:
    """A leaf of the data; numbers as the decimals that they are written as.

    A float becomes the shortest decimal that reads as that float: whatever was written with up to 15 digits
    comes out as it was written.

    Raises:
        Trouble: it is no value.

    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise Trouble("a number is too large to be reckoned with")
        return Decimal(value)
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            raise Trouble(f"{value} is no number")
        return value if isinstance(value, Decimal) else Decimal(repr(value))
    raise Trouble("a list stands here" if isinstance(value, list) else "an object stands here")


def absolute(value: Value) -> Value:
    """The value without its sign."""
    number = _number(value)
    return None if number is None else number.copy_abs()


def extreme(values: Iterable[Value], *, largest: bool) -> Value:
    """The smallest or largest of values of one kind; None of none."""
    best: Value = None
    for value in values:
        if value is None:
            continue
        if best is None:
            best = value
            continue
        first, second = _alike(value, best)
        if type(first) is not type(second) or isinstance(first, str | bool):
            raise Trouble(f"{shown(value)} and {shown(best)} have no order")
        if (_sign(first, second) > 0) == largest:
            best = value
    return best


def sort_of(value: Value) -> Sort | None:
    """The sort of a value; None of null, and of a moment that is no day."""
    if isinstance(value, bool):
        return "truth"
    read = _read(value)
    if isinstance(read, Decimal):
        return "number"
    if isinstance(read, date):
        return "date"
    return "text" if isinstance(read, str) else None


def shown(value: Value) -> str:
    """A value in a sentence, never long."""
    if isinstance(value, Decimal):
        number = _SHORT.plus(value)
        return f"{number:f}" if -30 < number.adjusted() < 40 else str(number)
    if isinstance(value, str):
        cut = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
        return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in cut) + '"'
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return value.isoformat()


def _context(digits: int, *, exact: bool) -> Context:
    traps = [InvalidOperation, Overflow, *([Inexact] if exact else [])]
    return Context(prec=digits, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=traps)


_WIDE: Final = _context(_DIGITS, exact=False)
_SHORT: Final = _context(40, exact=False)


def _number(value: Value) -> Decimal | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return Decimal(value.strip())
    if value is None or isinstance(value, Decimal):
        return value
    raise Trouble(f"{shown(value)} is no number")


def _counted(value: Value) -> Decimal | date:
    """A number or a day."""
    read = _read(value)
    if isinstance(read, date):
        return _day(read)
    if isinstance(read, Decimal):
        return read
    raise Trouble(f"{shown(value)} is no number")


def _days(sign: str, first: Decimal | date, second: Decimal | date) -> Value:
    """The days between two dates, or a date so many days away."""
    if sign == "-" and isinstance(first, date) and isinstance(second, date):
        return Decimal((first - second).days)
    if sign == "+" and isinstance(first, Decimal):
        first, second = second, first
    if sign not in {"+", "-"} or not isinstance(first, date) or not isinstance(second, Decimal):
        raise Trouble(f"{shown(first)} {sign} {shown(second)} means nothing")
    try:
        away = timedelta(days=int(second) if sign == "+" else -int(second))
        return first + away
    except OverflowError:
        raise Trouble(
            f"{shown(second)} days from {shown(first)} is no day of the calendar"
        ) from None


def _moment(text: str) -> date | datetime | time | None:
    """The date, instant or time of day that a text is in the forms of ISO 8601 that JSON Schema has."""
    for form, kind in ((_DATE, date), (_INSTANT, datetime), (_TIME, time)):
        if form.fullmatch(text):
            try:
                return kind.fromisoformat(text.upper())
            except ValueError:
                return None
    return None


def _alike(left: Value, right: Value) -> tuple[Value, Value]:
    """Both in the one way in which they can be compared: as numbers, as moments, as days, else as they are."""
    first, second = _read(left), _read(right)
    if isinstance(first, datetime) and isinstance(second, datetime):
        return (first, second) if _zoned(first) == _zoned(second) else (_bare(first), _bare(second))
    if isinstance(first, date) and isinstance(second, date):
        return _day(first), _day(second)
    if type(first) is type(second):
        return first, second
    return left, right


def _read(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    if _NUMBER.fullmatch(value.strip()):
        return Decimal(value.strip())
    moment = _moment(value.strip())
    return value if moment is None else moment


def _zoned(moment: datetime) -> bool:
    return moment.tzinfo is not None


def _bare(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _is_same(first: Value, second: Value) -> bool:
    return type(first) is type(second) and first == second


def _sign(first: Any, second: Any) -> int:
    return int(first > second) - int(first < second)
