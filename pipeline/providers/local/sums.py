"""Amounts that must agree: what was paid less the change, net and tax, rounding, the column above."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice, product

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.labelled import Labelled
from pipeline.providers.local.spans import Span

#: What a total gains that is what was paid less the change, net and tax, the sum of the column
#: above it, another total rounded.
_PAID, _TAXED, _ADDED, _ROUNDED = 0.2, 0.15, 0.1, 0.1
#: Numbers that look less like amounts than this prove nothing: a reference beside "payment".
_LIKELY = 0.5
#: What it changes that a total less what was paid before is another labelled amount.
_SETTLED = 0.3
#: Worth of an amount that only the payment shows to be the total.
_UNNAMED, _NAMELESS = 0.62, 0.8
_TOTALS = frozenset(("gross_total", "due_amount"))
#: Amounts that are no total whatever they come to.
_OTHERS = frozenset(("paid_amount", "change", "tax_total", "rounding"))
#: Amounts of one meaning that are tried; rows of a column that are added up, at least, at most.
_MOST, _FEWEST_ROWS, _MOST_ROWS = 8, 2, 80
#: How far (line heights) the right edges of a column's amounts lie apart.
_COLUMN = 3.0
#: More amounts than these are accounts, not a bill.
_MOST_AMOUNTS = 1500
_CENT = Decimal("0.005")
#: Rounding to coins changes a total by less.
_COINS = Decimal("0.5")


@dataclass(frozen=True, slots=True, eq=False)
class Amount:
    """An amount with what its label says that it is (a meaning of labels.toml, or empty)."""

    span: Span
    value: Decimal
    meaning: str


def raised(claims: Sequence[Claim], asks: Iterable[Ask], labelled: Labelled) -> list[Claim]:
    """The claims, those for totals that the other amounts prove a little surer, and such as have no label."""
    wanted = [ask for ask in asks if ask.kind == "money" and ask.meaning in _TOTALS]
    amounts = list(islice(_amounts(labelled), _MOST_AMOUNTS + 1)) if wanted else []
    if not amounts or len(amounts) > _MOST_AMOUNTS:
        return list(claims)
    proofs = {amount.value: 0.0 for amount in amounts}
    proofs = {value: gain for value in proofs if value > 0 and (gain := _proof(value, amounts))}
    settled = _settled(amounts)
    values = {_place(amount.span): amount.value for amount in amounts}
    found = []
    for claim in claims:
        value = values.get(claim.place, Decimal(0))
        gain = 0.0
        if claim.ask in wanted:
            gain = proofs.get(value, 0.0) + settled.get((claim.ask.meaning, value), 0.0)
        found.append(replace(claim, score=claim.score + gain))
    return found + list(_unnamed(wanted, amounts, proofs))


def _amounts(labelled: Labelled) -> Iterator[Amount]:
    for span, meaning in labelled.amounts():
        if span.sure < _LIKELY:
            continue
        yield Amount(span, abs(span.value) if meaning == "change" else span.value, meaning)


def _settled(amounts: Sequence[Amount]) -> dict[tuple[str, Decimal], float]:
    """What totals and amounts due gain or lose where a total less a payment is due: by meaning and value."""
    totals = list({a.value: a for a in amounts if a.meaning in _TOTALS})[:_MOST]
    paid = list({a.value: a for a in amounts if a.meaning == "paid_amount"})[:_MOST]
    changes: dict[tuple[str, Decimal], float] = {}
    for whole, given, rest in product(totals, paid, totals):
        if 0 < given < whole and rest > 0 and _same(whole - given, rest):
            changes |= {("gross_total", whole): _SETTLED, ("due_amount", rest): _SETTLED}
            changes |= {("gross_total", rest): -_SETTLED, ("due_amount", whole): -_SETTLED}
    return changes


def _place(span: Span) -> tuple[int, int, int]:
    return span.page, span.start, span.end


def _unnamed(
    asks: Sequence[Ask], amounts: Sequence[Amount], proofs: Mapping[Decimal, float]
) -> Iterator[Claim]:
    """Claims for amounts that the payment proves, though their label is another one or none.

    Where nothing is labelled as a total, the sum before the payment is the total.
    """
    alone = not any(amount.meaning in _TOTALS for amount in amounts)
    worth = _NAMELESS if alone else _UNNAMED
    for amount in amounts:
        gain = proofs.get(amount.value, 0.0)
        if gain >= _PAID and amount.meaning not in _OTHERS:
            for ask in asks:
                yield from claims_of(ask, amount.span, worth + gain)


def _proof(value: Decimal, amounts: Sequence[Amount]) -> float:
    """How much speaks for an amount being the total."""
    by: dict[str, list[Decimal]] = {}
    for amount in amounts:
        known = by.setdefault(amount.meaning, [])
        if amount.value not in known and len(known) < _MOST:
            known.append(amount.value)
    paid, change = by.get("paid_amount", []), by.get("change") or [Decimal(0)]
    net, tax = by.get("net_total", []), by.get("tax_total", [])
    totals = [total for name in _TOTALS for total in by.get(name, ())]
    gain = 0.0
    if any(_same(given - back, value) for given, back in product(paid, change)):
        gain += _PAID
    if any(part > 0 and _same(whole + part, value) for whole, part in product(net, tax)):
        gain += _TAXED
    if any(
        _rounds(total, coins, value) for total, coins in product(totals, by.get("rounding", ()))
    ):
        gain += _ROUNDED
    return gain + _ADDED * any(
        amount.value == value and _is_sum(number, amounts) for number, amount in enumerate(amounts)
    )


def _same(a: Decimal, b: Decimal) -> bool:
    return abs(a - b) < _CENT


def _rounds(total: Decimal, coins: Decimal, value: Decimal) -> bool:
    """Whether a total rounded by some coins is a value."""
    return 0 < abs(coins) < _COINS and (_same(total + coins, value) or _same(total - coins, value))


def _is_sum(number: int, amounts: Sequence[Amount]) -> bool:
    """Whether an amount is the sum of those right above it in its column."""
    last = amounts[number].span.segment
    seen, rows = Decimal(0), 0
    row = last.row
    for amount in reversed(amounts[max(0, number - 2 * _MOST_ROWS) : number]):
        segment = amount.span.segment
        apart = abs(segment.box[2] - last.box[2]) > _COLUMN * last.size
        if segment.row == row or apart or segment.page != last.page:
            continue
        seen, rows, row = seen + amount.value, rows + 1, segment.row
        if rows >= _FEWEST_ROWS and _same(seen, amounts[number].value):
            return True
        if rows > _MOST_ROWS:
            return False
    return False
