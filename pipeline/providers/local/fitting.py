"""Which part of a text can be of a field's kind: for texts that a label or a column points at."""

import re
from collections.abc import Iterator
from dataclasses import replace

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.layout import Segment, is_blank
from pipeline.providers.local.postal import name_in, span_of
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.words import lexicon
from pipeline.values import fold

#: Kinds that have no form: whatever stands behind their label; `identifier` has one of sorts.
OPEN = frozenset(
    ("text", "organisation", "party", "person", "address", "street", "postcode", "city", "country", "title", "bic", "prose", "payment")
) | {"identifier"}  # fmt: skip
_NAMES = frozenset(("organisation", "party", "person"))
_NAMED = frozenset(("organisation", "party", "person", "city", "country", "street", "address"))
_LONGEST = 400
#: Codes may have blanks between groups with digits, and capitals before them: `PO 2024 17`, `DE 81 447`.
_CODE = re.compile(
    r"[#(]?(?P<code>(?:[A-Z]{1,4} )?(?=\S{0,20}\d)[^\W_][\w./\-]{0,60}(?: (?=\S{0,40}\d)[\w./\-]{0,40}\w){0,8})(?!\s?%)"
)
_CAPITALS = re.compile(r"[A-Z0-9]{2,12}(?:[\-/._][A-Z0-9]{1,12}){0,4}")
_AMOUNT = re.compile(r"\d{1,3}(?:[.,]\d{3})*[.,]\d{1,2}")
_POSTCODE = re.compile(r"\b(?=\w*\d)[A-Z0-9]{2,5}(?:[ -][A-Z0-9]{2,4})?\b")
_BIC = re.compile(r"\b[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?\b")
_TICK = r"[☑☒✓✔✗✘■●◉]|[\[(] ?[xX✓✔] ?[\])]"
_EMPTY = r"[☐□○◯]|\[ ?_? ?\]|\( {1,2}\)"
#: A ticked box or an empty one, as plain text draws them.
BOX = re.compile(rf"(?P<yes>{_TICK})|(?P<no>{_EMPTY})")
_ANSWER = re.compile(r"^\W{0,3}(?P<word>[^\W\d_]{1,10})(?=\W|$)")


def fit(ask: Ask, span: Span) -> Span | None:
    """The part of a span that can be of an ask's kind without a form, or None."""
    text = span.text
    if (
        ask.kind not in OPEN
        or not text
        or len(text) > _LONGEST
        or is_blank(text)
        or text[0] in "(*"
    ):
        return None
    if ask.kind == "identifier":
        return _code(span)
    if ask.kind in _NAMES and span.text == span.segment.text[span.start - span.segment.start :]:
        span = name_in(span)
        text = span.text
    if ask.kind in {"postcode", "bic"}:
        match = (_POSTCODE if ask.kind == "postcode" else _BIC).search(text)
        return _cut(span, *match.span(), 1.0) if match else None
    return span if ask.kind not in _NAMED or _is_name(ask.kind, text) else None


def in_cell(ask: Ask, segment: Segment, spans: Spans) -> Iterator[Span]:
    """The values of an ask's kind in a segment that holds one, the likeliest first."""
    if ask.kind in OPEN:
        fitted = fit(ask, span_of(segment, 0, len(segment.text)))
        if fitted is not None:
            yield fitted
    elif ask.kind == "enum":
        told = fold(segment.text).text
        for option in ask.options:
            if told == fold(str(option).replace("_", " ")).text or told == fold(str(option)).text:
                yield replace(span_of(segment, 0, len(segment.text)), value=option)
    elif ask.kind == "check":
        box = BOX.search(segment.text)
        answer = box["yes"] is not None if box else answer_of(segment.text)
        if answer is not None:
            yield replace(span_of(segment, 0, len(segment.text)), value=answer)
    else:
        yield from spans.within(segment, ask.kind)
        if ask.kind == "percent":  # the sign stands in the column's header
            yield from spans.within(segment, "number")


def answer_of(text: str) -> bool | None:
    """What a text that begins with yes or no says, in any of the languages; None for another."""
    found = _ANSWER.match(text)
    return lexicon().answers.get(fold(found["word"]).text) if found else None


def _is_name(kind: str, text: str) -> bool:
    letters = sum(char.isalpha() for char in text)
    digits = sum(char.isdigit() for char in text)
    words = len(text.split())
    if kind in {"person", "city", "country"}:
        return letters > 1 and digits == 0 and words <= 6
    if kind in {"organisation", "party"}:
        return letters > 1 and digits <= letters and words <= 10
    return letters > 1 and words <= 14


def _code(span: Span) -> Span | None:
    """The code that a text begins with: words with digits, or capitals alone."""
    match = _CODE.match(span.text)
    if match and len(match["code"]) <= 60 and not _AMOUNT.fullmatch(match["code"]):
        return _cut(span, *match.span("code"), 0.97)
    return _cut(span, 0, len(span.text), 0.8) if _CAPITALS.fullmatch(span.text) else None


def _cut(span: Span, start: int, end: int, sure: float) -> Span:
    text = span.text[start:end]
    return replace(
        span, start=span.start + start, end=span.start + end, text=text, value=text, sure=sure
    )
