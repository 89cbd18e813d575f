"""What the rows of tables say about a document's single values: what is none of them, and what they add up to."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from pipeline.providers.local.claims import Claim
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.spans import Spans
from pipeline.providers.local.tables.sums import Row, amount_of
from pipeline.values import number_readings

#: What a single value is worth that is a cell of a table, or one of several taxes of which the sum is asked for.
_CELL, _PART = 0.6, 0.5
#: What it gains where the rows of a table come to it.
_AGREES = 0.1
_OF_ITEMS = frozenset(("item_name", "quantity", "unit_price"))
_TOTALS = frozenset(("net_total", "gross_total"))


def weighed(
    claims: Sequence[Claim], rows: Mapping[str, Sequence[Row]], layout: Layout, spans: Spans
) -> list[Claim]:
    """The claims of single values, their scores changed by what tables hold."""
    cells = _cells(rows)
    sums = {sum(map(amount_of, found), Decimal(0)) for found in rows.values()} - {Decimal(0)}
    parts = _parts(claims, layout, spans)
    made = []
    for claim in claims:
        score = claim.score
        if _within(claim, cells.get(claim.page, [])):
            score *= _CELL
        elif claim in parts:
            score *= _PART
        elif claim.ask.meaning in _TOTALS and not sums.isdisjoint(number_readings(claim.quote)):
            score = min(1.0, score + _AGREES)
        made.append(claim if score == claim.score else replace(claim, score=score))
    return made


def _cells(rows: Mapping[str, Sequence[Row]]) -> dict[int, list[tuple[int, int]]]:
    """The places of all cells, by page, in order."""
    cells: dict[int, list[tuple[int, int]]] = {}
    for found in rows.values():
        items = (claim for row in found for claim in row.values())
        if len(found) < 2 and not any(claim.ask.meaning in _OF_ITEMS for claim in items):
            continue  # the one line of a tax summary says the whole tax, too
        for row in found:
            for cell in row.values():
                cells.setdefault(cell.page, []).append((cell.start, cell.end))
    return {page: sorted(places) for page, places in cells.items()}


def _within(claim: Claim, places: Sequence[tuple[int, int]]) -> bool:
    at = bisect_right(places, (claim.start, 1 << 60))
    return at > 0 and claim.start < places[at - 1][1] and claim.end > 0


def _parts(claims: Iterable[Claim], layout: Layout, spans: Spans) -> set[Claim]:
    """The claims for a tax total on lines of single rates, where a document has several."""
    asked = [claim for claim in claims if claim.ask.meaning == "tax_total" and claim.end]
    if len({claim.place for claim in asked}) < 2:
        return set()
    segments = sorted(layout.segments, key=_place)
    rated: dict[object, set[Claim]] = {}
    for claim in asked:
        at = bisect_right(segments, (claim.page, claim.start), key=_place)
        rate = _rate(layout.rows[segments[at - 1].row], spans) if at else None
        if rate is not None:
            rated.setdefault(rate, set()).add(claim)
    return set().union(*rated.values()) if len(rated) > 1 else set()


def _place(segment: Segment) -> tuple[int, int]:
    return segment.page, segment.start


def _rate(row: Sequence[Segment], spans: Spans) -> object:
    """The one percentage of a row."""
    found = [span.value for segment in row for span in spans.within(segment, "percent")]
    return found[0] if len(found) == 1 else None
