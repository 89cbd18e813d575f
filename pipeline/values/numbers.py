"""Numbers, amounts and percentages in a text, and every number that a printed one may mean."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from decimal import Context, Decimal

from pipeline.values.found import Found, plain
from pipeline.values.money import find_currencies

#: Digits of a number; longer runs are identifiers or an attack.
_LONGEST = 40
#: Arithmetic that keeps every digit of such a number.
_EXACT = Context(prec=2 * _LONGEST)
_HUNDRED = Decimal(100)
#: Digit groups of a number set with blanks; a longer run is a row of a table.
_MOST_GROUPS = 6
#: What joins a code's letters to its digits.
_LINKS = ("-", "/")
_POINTS = ".,\u066b\u00b7"
#: Blanks that typesetters put into numbers; the ordinary blank may as well part two columns.
_TIGHT = "\u00a0\u2007\u2009\u202f"

# Runs of digits with single joiners. `_CORE` is one number, `_CHAIN` what hangs together by / : -.
_CORE = rf"\d+(?:[{_POINTS}']\d+)*"
_CHAIN = re.compile(rf"{_CORE}(?:[/:\-]{_CORE})*")
_PERCENT = re.compile(r" {0,2}(?:%|\u066a|percent\b|Prozent\b|pct\b|v\.H\.)")
_SCALE_WORD = re.compile(r"\s?(?P<word>[^\W\d_]{2,11})\b\.?")
_LEADING_POINT = re.compile(r"(?:^|[^\w.)])\.$")
_SIGNS = tuple(".,\u066b\u00b7")
_NO_CENTS = re.compile(r"[.,]-{1,2}(?![\w\-])")
_GROUP = re.compile(rf"\d{{3}}(?:[{_POINTS}]\d+)?")
_CLOSING = re.compile(r"\s?\)")
_LETTERS = re.compile(r"[^\W\d_]{1,40}")

_SCALES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("thousand", "tausend", "tsd", "duizend", "tusen", "tusind", "миль", "тыс"), (10**3,)),
    **dict.fromkeys(("lakh", "lakhs", "lac"), (10**5,)),
    **dict.fromkeys(("million", "millions", "millionen", "mio", "mln", "mn", "millones", "milioni",
                     "milhões", "miljoen", "miljoner", "млн"), (10**6,)),
    **dict.fromkeys(("crore", "crores"), (10**7,)),
    **dict.fromkeys(("bn", "milliarde", "milliarden", "milliard", "milliards", "mrd", "mld", "miljard",
                     "miliardi", "млрд"), (10**9,)),
    # A billion is 10**9 in English and 10**12 in most other languages.
    **dict.fromkeys(("billion", "billions"), (10**9, 10**12)),
    "万": (10**4,), "萬": (10**4,), "만": (10**4,), "亿": (10**8,), "億": (10**8,), "억": (10**8,),
}  # fmt: skip


def find_numbers(
    text: str, *, decimal: str | None = None, blanks: bool = True
) -> list[Found[Decimal]]:
    """Every printed number in a text, in order, none overlapping.

    Parts of dates, times, versions and codes (16.04.2018, 12:30, 1.2.3, INV-2024-17) are none. A
    number holds its sign or brackets, percent sign and scale word; its currency stands beside it.

    Args:
        text: the text of a page or a part of it.
        decimal: the decimal sign of the text, `.` or `,`; None decides by its numbers that can be
            read in only one way. It chooses the likeliest value and changes no reading.
        blanks: whether an ordinary blank may group digits (1 234,56); it may also part two columns.

    Returns:
        the numbers; `readings` holds every meaning: 1.234 is 1234 and 1.234, 12 % is 12 and 0.12,
        (5) is 5 and -5, 1.2 million is 1.2 and 1200000.

    """
    source = plain(text)
    money = _Money(text)
    cores = list(_cores(source, text, blanks=blanks))
    decimal = decimal or _decimal_sign(source[start:end] for start, end in cores)
    found = (_number(source, text, core, money, decimal) for core in cores)
    return [number for number in found if number is not None]


def number_readings(text: str) -> frozenset[Decimal]:
    """Every number that a printed text may mean (see `find_numbers`)."""
    return frozenset(reading for found in find_numbers(text) for reading in found.readings)


def find_percentages(text: str) -> list[Found[Decimal]]:
    """Every percentage in a text; the value is the number before the sign."""
    return [number for number in find_numbers(text) if number.percent]


def _cores(source: str, text: str, *, blanks: bool) -> Iterator[tuple[int, int]]:
    """The spans of digits that may be one number each, blanks between groups of three included."""
    spans = [span for match in _CHAIN.finditer(source) for span in _unchained(source, match)]
    run: list[tuple[int, int]] = []
    for span in spans:
        if run and not _continues(source, text, run, span, blanks=blanks):
            yield from _merged(run)
            run = []
        run.append(span)
    yield from _merged(run)


def _unchained(source: str, match: re.Match[str]) -> list[tuple[int, int]]:
    """The numbers of a chain: itself, or both ends of a range or a fraction; none of a date or code."""
    chain, start, end = match.group(), match.start(), match.end()
    joins = [index for index, char in enumerate(chain) if char in "/:-"]
    if not joins:
        return [(start, end)]
    before = source[max(0, start - 2) : start]
    code = _cased(before[-1:]) or (before[-1:] in _LINKS and _cased(before[:1]))
    if len(joins) > 1 or chain[joins[0]] == ":" or code:
        return []
    cut = start + joins[0]
    return [(start, cut), (cut + 1, end)]


def _continues(
    source: str, text: str, run: list[tuple[int, int]], span: tuple[int, int], *, blanks: bool
) -> bool:
    """Whether one blank between a run of digit groups and the next span is part of a number."""
    last = source[run[-1][0] : run[-1][1]]
    gap = text[run[-1][1] : span[0]]
    if len(gap) != 1 or source[run[-1][1]] != " " or not (blanks or gap in _TIGHT):
        return False
    start = run[0][0]
    whole = not _cased(source[start - 1 : start])
    first = len(run) == 1 and len(last) <= 3 and last[:1] != "0" and whole
    head = last.isdigit() and (first or len(last) == 3)
    return head and _GROUP.fullmatch(source, *span) is not None


def _merged(run: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """One number of a run of groups; more groups than numbers have are columns, each its own."""
    if 1 < len(run) <= _MOST_GROUPS:
        run = [(run[0][0], run[-1][1])]
    return [(start, end) for start, end in run if end - start <= _LONGEST]


def _number(
    source: str, text: str, core: tuple[int, int], money: "_Money", decimal: str | None
) -> Found[Decimal] | None:
    start, end = core
    printed = source[start:end]
    readings = _core_readings(printed, decimal)
    if _LEADING_POINT.search(source, max(0, start - 2), start):
        start -= 1
        readings = [Decimal(f"0.{printed}")] if printed.isdigit() else []
    scales, scaled = _scale(source, end)
    before, after = money.beside(source, start, scaled)
    exact = printed[-3:-2] in _SIGNS and printed[-2:].isdigit()
    if not readings or not _stands_alone(source, start, end, known=before is not None, exact=exact):
        return None
    readings = [
        _EXACT.multiply(reading, scale) for scale in scales for reading in readings
    ] + readings
    percent = None if scales else _PERCENT.match(source, end)
    if percent:
        readings += [_EXACT.divide(reading, _HUNDRED) for reading in readings]
    edge = before[0] if before else start
    start, signed, readings = _signed(source, (start, edge, end), exact, readings)
    end = max(signed, scaled, percent.end() if percent else end)
    sign = before or after
    currency = sign[2] if sign else None
    printed = text[start:end]
    return Found(
        readings[0], start, end, printed, frozenset(readings), currency, percent is not None
    )


def _core_readings(core: str, decimal: str | None = None) -> list[Decimal]:
    """What digits with separators mean, the likeliest first: 1.234 is 1.234 and 1234."""
    parts = re.split(r"\D", core)
    seps = [char for char in core if not char.isdigit()]
    if not seps:
        return [Decimal(core)]
    last = seps[-1]
    found = []
    if last in _POINTS and last not in seps[:-1] and _grouped(parts[:-1], seps[:-1]):
        found.append(Decimal("".join(parts[:-1]) + "." + parts[-1]))
    if last not in "\u066b\u00b7" and _grouped(parts, seps):
        found.append(Decimal("".join(parts)))
    if len(found) == 2 and decimal != last:  # three digits after the sign: rather a group
        found.reverse()
    return found


def _grouped(parts: list[str], seps: list[str]) -> bool:
    """Whether the parts are digit groups: of three, or Indian (1,23,45,678)."""
    if not seps:
        return len(parts) == 1
    if len(set(seps)) > 1 or parts[0][0] == "0" or len(parts[-1]) != 3:
        return False
    middles = {len(part) for part in parts[1:-1]}
    western = len(parts[0]) <= 3 and middles <= {3}
    return western or (seps[0] == "," and len(parts[0]) <= 2 and middles == {2})


def _stands_alone(source: str, start: int, end: int, *, known: bool, exact: bool) -> bool:
    """Whether the digits are a whole printed number and no part of a word or code.

    A currency before them (`known`) or two decimals (`exact`, OCR drops blanks) make up for letters.
    """
    left, further = source[start - 1 : start], source[start - 2 : start - 1]
    in_word = left == "_" or _cased(left) or (left in _LINKS and _cased(further))
    if in_word and not known and not exact:
        return False
    right, beyond = source[end : end + 1], source[end + 1 : end + 2]
    if right == "_" or (right in _LINKS and beyond.isupper()):
        return False
    letters = _LETTERS.match(source, end)
    if letters is None or not _cased(right):
        return True
    word = letters.group()
    if source[letters.end() : letters.end() + 1].isdigit() and not exact:
        return False
    return exact or len(word) <= 4 or word.casefold() in _SCALES


def _cased(char: str) -> bool:
    """Letters of scripts with capitals; in others (Chinese, Arabic) digits stand beside letters."""
    return char.isupper() or char.islower()


def _scale(source: str, end: int) -> tuple[tuple[int, ...], int]:
    """What a scale word (million, Mrd, 万) behind a number multiplies it with, and where it ends."""
    sign = source[end : end + 1]
    if sign in _SCALES:
        return _SCALES[sign], end + 1
    match = _SCALE_WORD.match(source, end)
    scales = _SCALES.get(match["word"].casefold(), ()) if match else ()
    return (scales, match.end()) if match and scales else ((), end)


def _signed(
    source: str, place: tuple[int, int, int], exact: bool, readings: list[Decimal]
) -> tuple[int, int, list[Decimal]]:
    """The span with its sign or brackets, and the readings with the sign.

    `place` is the start, the start of a currency before it, and the end. A hyphen behind a letter
    or digit is none; a minus set off by a blank may be a dash, so that both are readings.
    """
    start, edge, end = place
    negative = [reading.copy_negate() for reading in readings]
    for left in (start, edge):
        if source[left - 1 : left] == "-" and not _word_or_hyphen(source, left - 2):
            return left - 1, end, negative
        if source[left - 1 : left] == "(" and (close := _CLOSING.match(source, end)):
            # An amount in brackets is negative, as accounts print it; a bare number may be a note's.
            both = negative + readings if exact else readings + negative
            return left - 1, close.end(), both
    if source[edge - 2 : edge] == "- " and (edge < 3 or source[edge - 3].isspace()):
        return start, end, readings + negative
    tail = _NO_CENTS.match(source, end)
    if tail:
        return start, tail.end(), readings
    if source[end : end + 1] == "-" and not _word_or_hyphen(source, end + 1):
        return start, end + 1, negative if exact else readings + negative
    return start, end, readings


def _word_or_hyphen(source: str, index: int) -> bool:
    return 0 <= index < len(source) and (source[index].isalnum() or source[index] in "-_.,)")


def _decimal_sign(cores: Iterator[str]) -> str | None:
    """The decimal sign that a text's unmistakable numbers use; None if they don't tell."""
    votes = {".": 0, ",": 0}
    for core in cores:
        if core[-3:-2] in votes and core[-2:].isdigit():
            votes[core[-3]] += 1
    return None if votes["."] == votes[","] else max(votes, key=votes.__getitem__)


_Sign = tuple[int, int, str]


class _Money:
    """The currencies of a text, each beside at most one number: `EUR 12` and `12 EUR`, not both."""

    def __init__(self, text: str) -> None:
        self.spans = [(found.start, found.end, found.value) for found in find_currencies(text)]
        self.starts = [span[0] for span in self.spans]
        self.used = -1

    def beside(self, source: str, start: int, end: int) -> tuple[_Sign | None, _Sign | None]:
        """The currency right before a span or, where there is none, right after it."""
        at = bisect_left(self.starts, start)
        if at and at - 1 > self.used:
            before = self.spans[at - 1]
            gap = source[before[1] : start]
            if len(gap) <= 3 and not gap.strip(" .:-"):
                return before, None
        if at < len(self.spans):
            after = self.spans[at]
            gap = source[end : after[0]]
            if len(gap) <= 2 and not gap.strip(" ,-"):
                self.used = at
                return None, after
        return None, None
