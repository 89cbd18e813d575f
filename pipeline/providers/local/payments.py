"""How a till receipt was paid: the line of the payment, and the last digits of a card."""

import re
from collections.abc import Iterator, Sequence

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.postal import span_of
from pipeline.providers.local.words import lexicon

#: Worth of an option that the label of an amount says, and of digits behind a hidden number.
_SAID, _DIGITS = 0.86, 0.86
_FIGURE = re.compile(r"\d")
_CENTS = re.compile(r"\d[.,]\d\d(?!\d)")
#: **** **** **** 4082, XXXXXXXXXXXX6974, ...4082
_HIDDEN = re.compile(r"(?:[*xX•#]{3,8}[ \-]{0,3}){1,5}(?P<digits>\d{4})(?!\d)")


def claims(layout: Layout, asks: Sequence[Ask]) -> Iterator[Claim]:
    """Claims for options that ways of paying have (`cash`, `card`), and for the digits of a card."""
    for ask in asks if layout.narrow else ():
        said = frozenset(concept for unit in ask.own for concept in unit.concepts)
        if ask.kind == "enum" and said & {"payment", "method", "paid"}:
            yield from _ways(ask, layout)
        elif ask.textual and "card" in said and said & {"last", "number"}:
            yield from _hidden(ask, layout)


def _ways(ask: Ask, layout: Layout) -> Iterator[Claim]:
    options = {
        concept: option
        for option in ask.options
        for unit in lexicon().read_name(str(option))
        for concept in unit.concepts
    }
    for row in layout.rows:
        text = " ".join(segment.text for segment in row)
        label = _FIGURE.split(text, maxsplit=1)[0]
        units = lexicon().read(label) if _CENTS.search(text) else ()
        found = [c for unit in units[:2] for c in sorted(unit.concepts) if c in options]
        if found and not any("change" in unit.concepts for unit in units):
            yield _way(ask, options[found[0]], row[0])


def _way(ask: Ask, option: object, segment: Segment) -> Claim:
    label = _FIGURE.split(segment.text, maxsplit=1)[0].rstrip(" :")
    end = segment.start + len(label)
    return Claim(ask, option, segment.page, segment.start, end, label, _SAID)


def _hidden(ask: Ask, layout: Layout) -> Iterator[Claim]:
    for segment in layout.segments:
        for match in _HIDDEN.finditer(segment.text[:200]):
            yield from claims_of(ask, span_of(segment, *match.span("digits")), _DIGITS)
