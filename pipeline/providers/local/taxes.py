"""Rows of a tax summary: a rate, what it is taken of, and the tax that both come to."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import combinations

from pipeline.providers.local.asks import Ask, Plan
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.spans import Span, Spans

Rows = list[dict[str, Claim]]

#: Worth of a row whose tax is its rate of its net amount, to a cent and a half of rounding.
_PROVED = 0.9
_CENTS = Decimal("0.015")
_HUNDRED = Decimal(100)
#: Taxes on goods are below this rate (percent); a row has so many figures at most.
_MOST_RATE, _MOST_FIGURES = Decimal(50), 8


def read(layout: Layout, spans: Spans, plan: Plan) -> dict[str, Rows]:
    """The rows that hold, by the pointer of each array that asks for rate, base and tax."""
    found: dict[str, Rows] = {}
    for node, columns in plan.tables:
        rate = next((ask for ask in columns if ask.kind == "percent"), None)
        amounts = [ask for ask in columns if ask.kind == "money"]
        amounts.sort(key=lambda ask: any("net" in unit.concepts for unit in ask.own))
        if rate is None or len(amounts) != 2 or len(columns) != 3:
            continue
        tax, base = amounts
        rows: Rows = []
        seen: set[tuple[Decimal, ...]] = set()
        for row in layout.rows:
            for cells in _cells(row, spans):
                if (key := tuple(abs(cell.value) for cell in cells)) not in seen:
                    seen.add(key)
                    rows.append(dict(_claims(zip((rate, base, tax), cells, strict=True))))
        if rows:
            found[node.pointer] = rows
    return found


def hold(rows: Rows) -> bool:
    """Whether each rate of a base comes to its tax; a rate that has only one amount does not."""
    return bool(rows) and all(map(_holds, rows))


def _holds(row: dict[str, Claim]) -> bool:
    rates = [_number(claim) for claim in row.values() if claim.ask.kind == "percent"]
    amounts = sorted(_number(claim) for claim in row.values() if claim.ask.kind == "money")
    if not rates or not amounts or amounts[0] == amounts[-1] == 0:
        return True
    return len(amounts) > 1 and _is_tax(rates[0], amounts[1], amounts[0])


def _number(claim: Claim) -> Decimal:
    return Decimal(str(claim.value)) if isinstance(claim.value, (int, float)) else Decimal(0)


def _is_tax(rate: Decimal, base: Decimal, tax: Decimal) -> bool:
    return abs(base * rate / _HUNDRED - tax) <= _CENTS


def _cells(row: Sequence[Segment], spans: Spans) -> Iterator[tuple[Span, Span, Span]]:
    """Rate, base and tax of a row whose figures come to each other; the rate's sign may be in the header."""
    figures = [span for segment in row for span in spans.within(segment, "number")]
    rates = [span for span in figures if span.percent] or [s for s in figures if _may_be_rate(s)]
    amounts = [span for span in figures if not span.percent and _has_cents(span)]
    for rate in rates[:_MOST_FIGURES]:
        for base, tax in combinations(amounts[:_MOST_FIGURES], 2):
            none = rate.percent and not rate.value and not tax.value
            if (base.value > tax.value > 0 or none) and _is_tax(rate.value, base.value, tax.value):
                yield rate, base, tax
                return


def _may_be_rate(span: Span) -> bool:
    return 0 < span.value < _MOST_RATE and len(span.text) < 5 and span.currency is None


def _has_cents(span: Span) -> bool:
    return span.text[-3:-2] in {".", ","}


def _claims(cells: Iterable[tuple[Ask, Span]]) -> Iterator[tuple[str, Claim]]:
    for ask, span in cells:
        for claim in claims_of(ask, span, _PROVED):
            yield ask.pointer, claim
