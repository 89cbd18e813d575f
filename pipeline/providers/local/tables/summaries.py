"""Rows without a header: lines that say an array's name, a percentage and amounts (`VAT 7 % 3.50`)."""

from collections.abc import Iterator, Sequence

from pipeline.providers.local.asks import Ask, Units
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.words import covers, lexicon
from pipeline.schema import Node

_WORTH = 0.7
#: Longer lines are sentences.
_LONGEST = 120
#: The line says at least this much of the array's name.
_SAYS = 0.9


def rows(
    layout: Layout, spans: Spans, node: Node, columns: Sequence[Ask]
) -> Iterator[dict[str, Claim]]:
    """The lines of a summary of taxes, discounts, fees: one percentage, one amount, perhaps its base.

    The last amount of a line is what the percentage comes to; one before it is what it is taken of.
    """
    rate = next((ask for ask in columns if ask.kind == "percent"), None)
    amounts = [ask for ask in columns if ask.kind == "money"]
    amounts.sort(key=lambda ask: any("net" in unit.concepts for unit in ask.own))
    name = lexicon().read_name(node.name)
    if rate is None or not amounts:
        return
    for row in layout.rows:
        if not _is_summary(row, name):
            continue
        percents = [span for segment in row for span in spans.within(segment, "percent")]
        sums = [
            span for segment in row for span in spans.within(segment, "number") if not span.percent
        ]
        if len(percents) == 1 and 1 <= len(sums) <= len(amounts):
            yield dict(_row([(rate, percents[0]), *zip(amounts, reversed(sums), strict=False)]))


def _is_summary(row: Sequence[Segment], name: Units) -> bool:
    text = " ".join(segment.text for segment in row)
    return len(text) <= _LONGEST and "%" in text and covers(name, lexicon().read(text)) >= _SAYS


def _row(cells: Sequence[tuple[Ask, Span]]) -> Iterator[tuple[str, Claim]]:
    for ask, span in cells:
        for claim in claims_of(ask, span, _WORTH):
            yield ask.pointer, claim
