"""Spans that can be values: every date, number, code ... of a document, and how it becomes JSON."""

import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from datetime import time as clock
from decimal import Decimal
from typing import Any

from pipeline import values
from pipeline.providers.local import kinds
from pipeline.providers.local.asks import Ask
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.words import lexicon
from pipeline.values import Found

#: Longer runs without a blank are no value of any kind.
_LONGEST_WORD = 120
_DECIMALS = re.compile(r"\d([.,])\d\d(?!\d|[.,]\d)")
_AMOUNT = re.compile(r"\d{1,3}(?:[.,]?\d{3})*[.,]\d{1,2}")
#: How forms say in which order a date is wanted: month, or day in a language of the labels, and year.
_STATED_FORM = re.compile(
    r"\b(?:mm?[-/. ](?:dd?|tt?|jj?|gg?)|(?P<day>dd?|tt?|jj?|gg?)[-/. ]mm?)[-/. ](?:yy|jj|aa)",
    re.IGNORECASE,
)
_NUMERIC_DATE = re.compile(r"(\d{1,2})\D{1,3}(\d{1,2})\D{1,3}\d{2,4}")
_CLOCK = re.compile(r"hh:mm|24.?hour", re.IGNORECASE)
_YEAR = re.compile(r"(?<![\w.,/])(?:19|20)\d\d(?![\w%]|[.,/]\d)")
#: RFC 3339: nothing less is a JSON Schema date-time or time, and a zone that isn't printed is not made up.
_ZONED = re.compile(r"(?:Z|[+-]\d\d:\d\d)$")
#: Seconds for the patterns of a schema, on one document.
_PATIENCE = 2.0
_CODE = re.compile(r"(?<![\w/.\-])[#(]?(?P<code>[^\W_][\w./\-]{0,58}[^\W_]|\d)(?![\w])")
#: A cell that is one code with blanks: `K 900`, `DE 232 446 240`.
_CODES = re.compile(r"(?:[A-Z]{1,4}|(?=\S*\d)[\w./\-]+)(?: (?=\S*\d)[\w./\-]+){1,5}")
_LONGEST_CODE = 40
#: Digits of an amount that is printed without groups, decimals and currency.
_LONGEST_WHOLE = 6
#: One number in groups of digits, as tax offices print theirs: `839 2018 33`.
_GROUPS = re.compile(r"(?<![\w.,/\-])\d{2,4}(?: \d{2,4}){2,5}(?![\w.,/\-]| \d)")
_JOINED_LEFT, _JOINED_RIGHT = re.compile(r"\w[-/]$"), re.compile(r"[-/]\w")
#: A letter for a digit (`S.60`): what is left is no number that stands there.
_BROKEN = re.compile(r"(?<![^\W\d_])[^\W\d_][.,]$")
_ENGLISH = re.compile(r"\b(?:the|and|of|for|with|from|is|are|to)\b", re.IGNORECASE)
_AMERICAN = re.compile(r"(?:\bU\.?S\.?(?:A\.?|D)?\b|United States|\$|,? [A-Z]{2} \d{5}\b)")
#: The states of the United States with a ZIP code (USPS, Publication 28).
_ZIP_CODE = re.compile(
    r", ?(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT"
    r"|V[AT]|W[AIVY]) \d{5}(?:-\d{4})?(?!\d)"
)
#: Kinds whose spans are not read as another kind, too.
_WITHOUT = {
    "number": ("date", "email", "url", "doi", "iban", "vat"),
    "identifier": ("date", "email", "url"),
    "phone": ("date",),
}


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A piece of a page's text that can be a value: `text == page.text[start:end]`.

    `value` is what it means (date, Decimal, text); `sure` how likely it is of its kind (0..1),
    its label apart.
    """

    segment: Segment
    start: int
    end: int
    text: str
    value: Any
    sure: float = 1.0
    currency: str | None = None
    percent: bool = False

    def sure_for(self, ask: Ask) -> float:
        """`sure`; a date that is given as printed needs no reading that could be wrong."""
        return 1.0 if ask.kind == "date" and ask.textual and not ask.iso else self.sure

    @property
    def page(self) -> int:
        """The number of its page."""
        return self.segment.page


class Spans:
    """The spans of each kind in a document, found when first asked for."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._found: dict[str, list[Span]] = {}
        self._patience = _PATIENCE
        texts = [page.text for page in layout.pages.values()]
        self.decimal = _decimal_sign(texts)
        self.day_first = _day_first(texts)

    def of(self, kind: str) -> list[Span]:
        """All spans of one kind, in the order of the document's rows."""
        if kind not in self._found:
            self._found[kind] = list(self._find(kind))
        return self._found[kind]

    def _find(self, kind: str) -> Iterator[Span]:
        if kind == "money":
            numbers = (span for span in self.of("number") if not span.percent)
            yield from (replace(span, sure=self._sure_amount(span)) for span in numbers)
            return
        taken = self._taken(_WITHOUT.get(kind, ()))
        for segment in self._layout.segments:
            for span in self.within(segment, kind):
                if not _overlaps(taken.get(segment.page, ()), span.start, span.end):
                    yield span

    def within(self, segment: Segment, kind: str) -> Iterator[Span]:
        """The spans of one kind in a segment by itself."""
        text = segment.text
        if kind in {"money", "number", "date"} and not any(char.isdigit() for char in text):
            return
        if kind in {"money", "number"}:
            numbers = values.find_numbers(text, decimal=self.decimal)
            yield from (_span(segment, f) for f in numbers if not _BROKEN.search(text[: f.start]))
        elif kind in {"date", "datetime"}:
            day_first, known = self.day_first
            finder = values.find_dates if kind == "date" else values.find_instants
            for day in finder(text, day_first=day_first):
                yield _span(segment, day, sure=1.0 if known or len(day.readings) == 1 else 0.7)
        elif kind == "identifier":
            yield from _codes(segment)
        else:
            coded = kind.startswith("^")
            ones = self._coded(kind, text) if coded else _FINDERS.get(kind, _none)(text)
            yield from (
                _span(segment, one) for one in ones if kind != "currency" or _apart(text, one)
            )

    def _coded(self, pattern: str, text: str) -> list[Found[str]]:
        """What a schema's pattern finds, while there is time left for patterns."""
        if self._patience <= 0:
            return []
        # By processor time: what is found must not depend on how busy the machine is.
        begun = time.thread_time()
        found = list(kinds.find(pattern, text))
        self._patience -= time.thread_time() - begun
        return found

    def _sure_amount(self, found: Span) -> float:
        """How likely a number is an amount by its looks: amounts have decimals or a currency."""
        if found.text[:1] == "0" and found.text[1:2].isdigit():
            return 0.3  # a code
        if not _DECIMALS.search(found.text) and _in_chain(found):
            return 0.3
        sign = _DECIMALS.search(found.text)
        if sign and self.decimal and sign[1] != self.decimal:
            return 0.5
        if found.currency or sign:
            return 1.0 if found.currency else 0.97
        if len(found.text) > _LONGEST_WHOLE and found.text.isdecimal():
            return 0.3  # a number of something: amounts of this size have groups
        return 0.75 if 1 < len(found.text) < 9 else 0.6

    def _taken(self, kinds: Iterable[str]) -> dict[int, list[tuple[int, int]]]:
        taken: dict[int, list[tuple[int, int]]] = {}
        for kind in kinds:
            for span in self.of(kind):
                taken.setdefault(span.page, []).append((span.start, span.end))
        return {page: sorted(places) for page, places in taken.items()}


def _span(segment: Segment, found: Found[Any], sure: float = 1.0) -> Span:
    start = segment.start + found.start
    return Span(
        segment,
        start,
        segment.start + found.end,
        found.text,
        found.value,
        sure,
        found.currency,
        found.percent,
    )


def _codes(segment: Segment) -> Iterator[Span]:
    """Words with a digit in them; amounts are unlikely codes, percentages none."""
    if len(segment) <= _LONGEST_CODE and _CODES.fullmatch(segment.text):
        yield Span(segment, segment.start, segment.end, segment.text, segment.text)
        return
    groups = [match.span() for match in _GROUPS.finditer(segment.text)]
    for start, end in groups:
        code = segment.text[start:end]
        yield Span(segment, segment.start + start, segment.start + end, code, code)
    for match in _CODE.finditer(segment.text):
        code = match["code"]
        if _within(match.start("code"), groups):
            continue
        percent = segment.text[match.end("code") :][:3].lstrip()[:1] == "%"
        if percent or len(code) > _LONGEST_WORD or not any(char.isdigit() for char in code):
            continue
        bracketed = match.group()[0] == "("
        sure = 0.4 if _AMOUNT.fullmatch(code) else 0.8 if len(code) < 3 or bracketed else 1.0
        start = segment.start + match.start("code")
        yield Span(segment, start, start + len(code), code, code, sure)


def _within(place: int, spans: Iterable[tuple[int, int]]) -> bool:
    return any(start <= place < end for start, end in spans)


def _years(text: str) -> Iterator[Found[Decimal]]:
    for match in _YEAR.finditer(text):
        value = Decimal(match.group())
        yield Found(value, match.start(), match.end(), match.group(), frozenset({value}))


def _none(text: str) -> Iterable[Found[Any]]:
    return ()


_FINDERS: dict[str, Callable[[str], Iterable[Found[Any]]]] = {
    "duration": values.find_durations,
    "time": values.find_times,
    "zoned_time": values.find_zoned_times,
    "percent": values.find_percentages,
    "currency": values.find_currencies,
    "email": values.find_emails,
    "url": values.find_urls,
    "phone": values.find_phones,
    "iban": values.find_ibans,
    "vat": values.find_vat_ids,
    "doi": values.find_dois,
    "year": _years,
}


def _in_chain(found: Span) -> bool:
    """Whether a number is joined to another by a hyphen or stroke: 2024-117."""
    text, at = found.segment.text, found.start - found.segment.start
    behind = text[at + len(found.text) :][:2]
    before = text[max(0, at - 2) : at]
    return bool(_JOINED_LEFT.search(before) or _JOINED_RIGHT.match(behind))


def _overlaps(places: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    """Whether a span shares characters with one of the sorted places, none of which is very long."""
    ordered = list(places) if not isinstance(places, list) else places
    at = bisect_left(ordered, (end, 0))
    return any(place[1] > start for place in ordered[max(0, at - 3) : at])


def _apart(text: str, found: Found[Any]) -> bool:
    """Whether a currency is no part of a code (`HELADEF1GEL`) or of a company's name (`Sdn Bhd`)."""
    around = text[max(0, found.start - 1) : found.start] + text[found.end : found.end + 1]
    if found.text.isalpha() and lexicon().is_company(found.text):
        return text[found.end :].lstrip()[:1].isdigit()
    return not found.text.isalpha() or not any(char.isdigit() for char in around)


def _decimal_sign(texts: Iterable[str]) -> str | None:
    votes = Counter(match[1] for text in texts for match in _DECIMALS.finditer(text))
    return None if votes["."] == votes[","] else max(votes, key=votes.__getitem__)


def _day_first(texts: list[str]) -> tuple[bool, bool]:
    """Whether 04/03/2024 is the 4th of March here, and whether the document says so.

    Its other dates decide, then the form that it asks for (MM-DD-YYYY, TT.MM.JJJJ); else American
    English puts the month first (CLDR, en-US), as no other language of the labels does.
    """
    votes = stated = 0
    for text in texts:
        for found in values.find_dates(text):
            if match := _NUMERIC_DATE.fullmatch(found.text):
                votes += (int(match[1]) > 12) - (int(match[2]) > 12)
        for form in _STATED_FORM.finditer(text):
            stated += 1 if form["day"] else -1
    if votes or stated:
        return (votes or stated) > 0, True
    head = " ".join(texts)[:20_000]
    if _ZIP_CODE.search(head):
        return False, False
    words = max(1, len(head.split()))
    english = len(_ENGLISH.findall(head)) / words > 0.05
    return not (english and _AMERICAN.search(head)), False


def as_json(ask: Ask, value: Any, text: str) -> Any:
    """A span's meaning as the JSON value that the ask's type takes; None if it takes none."""
    node = ask.node
    made: Any
    if ask.kind == "enum":
        return value if value in ask.options else None
    if ask.kind == "check":
        return value if isinstance(value, bool) else None
    if node.type in {"number", "integer"}:
        made = _number(node.type, value)
    elif ask.textual:
        made = _text(ask, value, text)
    else:
        made = None
    return made if made is not None and _allowed(made, node.schema) else None


def _number(kind: str, value: Any) -> int | float | None:
    if not isinstance(value, Decimal):
        return None
    number = values.json_number(value)
    return None if kind == "integer" and not isinstance(number, int) else number


def _text(ask: Ask, value: Any, text: str) -> str | None:
    printed = " ".join(text.split())
    told = str(ask.node.schema.get("description") or "")
    if isinstance(value, date):
        return value.isoformat() if ask.iso else printed
    if ask.kind in {"datetime", "zoned_time"}:
        return _zoned(ask, value, printed)
    if ask.kind == "duration" and ask.node.schema.get("format") == "duration":
        return str(value) or None
    if isinstance(value, clock):
        shape = "%H:%M:%S" if value.second else "%H:%M"
        return value.strftime(shape) if _CLOCK.search(told) else printed
    if ask.kind in {"currency", "email", "url", "doi"}:
        return str(value)
    return printed


def _zoned(ask: Ask, value: Any, printed: str) -> str | None:
    """A moment as printed, or in its normal form, which has the zone that a JSON Schema format wants."""
    if ask.node.schema.get("format") in {"date-time", "time"}:
        return str(value) if _ZONED.search(str(value)) else None
    return str(value) if ask.iso and isinstance(value, str) else printed


def _allowed(value: Any, schema: Mapping[str, Any]) -> bool:
    """The plain limits of a schema: cheaper to obey than to be told."""
    size = len(value) if isinstance(value, str) else value
    least, most = ("minLength", "maxLength") if isinstance(value, str) else ("minimum", "maximum")
    return bool(schema.get(least, size) <= size <= schema.get(most, size))
