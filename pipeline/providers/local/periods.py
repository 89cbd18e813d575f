"""Periods: two dates in a row (01.01.2024 - 31.03.2024), the first and the last day of what a label names."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.matcher import tail
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.words import Unit, alike, lexicon

_WORTH = 0.88
#: A label says so much of a field's name, its `start` or `end` left out.
_SAYS = 0.6
#: What stands between the two dates, in any of the languages.
_TO = re.compile(
    r"\s*(?:-|–|—|to|until|through|thru|bis|bis zum|au|jusqu'au|al|hasta|hasta el|fino al|a|ao|até|t/m|tot en met|tot)\s*",
    re.IGNORECASE,
)
_PERIOD = frozenset({"period", "valid", "service", "delivery"})
_ENDS = ("start", "end")


def claims(spans: Spans, asks: Sequence[Ask]) -> Iterator[Claim]:
    """Claims of the asks for a first or a last day, on each period that their labels name."""
    wanted = [(ask, end) for ask in asks if ask.kind == "date" and (end := _end(ask))]
    if not wanted:
        return
    for first, last in pairwise(spans.of("date")):
        if not _follow(first, last):
            continue
        label = lexicon().read(_label(first))
        for ask, end in wanted:
            span = first if end == "start" else last
            yield from claims_of(ask, span, _WORTH * _said(ask, label) * span.sure_for(ask))


def _end(ask: Ask) -> str:
    told = [end for end in _ENDS if any(end in unit.concepts for unit in ask.own)]
    return told[0] if len(told) == 1 else ""


def _follow(first: Span, last: Span) -> bool:
    if first.segment is not last.segment:
        return False
    text, start = first.segment.text, first.segment.start
    return _TO.fullmatch(text, first.end - start, last.start - start) is not None


def _label(span: Span) -> str:
    """What stands before a period in its run of words, else left of it or above it."""
    inline = tail(span.segment.text[: span.start - span.segment.start])
    if inline:
        return inline
    left, above = span.segment.left, span.segment.above
    return tail(left.text) if left is not None else tail(above.text) if above is not None else ""


def _said(ask: Ask, label: Sequence[Unit]) -> float:
    """How well a label names what the ask wants an end of; a bare start or end takes any period."""
    rest = [unit for unit in ask.own if not unit.concepts & {*_ENDS, "date"}]
    label = [unit for unit in label if not unit.concepts & {*_ENDS, "dated"}]
    if not rest:
        return 0.9 if any(unit.concepts & _PERIOD for unit in label) else 0.0
    said = alike(rest, label)
    return said if said >= _SAYS else 0.0
