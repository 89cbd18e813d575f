"""Money is exact: what a call costs, how it is rounded, what a purse holds, how amounts are read and shown."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalogue import Price, Rates
from pipeline.config import budget
from pipeline.errors import BudgetReached, ConfigError
from pipeline.ledger import Ledger
from pipeline.limits import Gate, Purse, dollars
from pipeline.limits.money import UNIT
from pipeline.providers import Endpoint, Usage
from tests.test_limits import Service

TIERS = ("standard", "flex", "priority")
counts = st.integers(0, 2**31 - 1)
amounts = st.decimals(0, 1000, places=2) | st.decimals(0, 1000, places=30)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """A price whose every rate is known."""
    names = Rates.__dataclass_fields__

    def tables() -> dict[str, Rates]:
        return {tier: Rates(**{name: draw(amounts) for name in names}) for tier in TIERS}

    above = draw(st.none() | counts)
    return Price(tables(), {} if above is None else tables(), above, search=draw(amounts))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """What an answer says: cached and audio tokens are among those of the input, and may be the same."""
    read = draw(counts)
    cached, audio = draw(st.integers(0, read)), draw(st.integers(0, read))
    both = draw(st.none() | st.integers(max(0, cached + audio - read), min(cached, audio)))
    return Usage(
        input=read,
        cached=cached,
        audio=audio,
        cached_audio=both,
        output=draw(counts),
        thoughts=draw(counts),
        tool=draw(counts),
        searches=draw(st.integers(0, 100)),
        tier=draw(st.sampled_from(("", *TIERS))),
    )


def by_hand(price: Price, usage: Usage) -> Fraction:
    """What it costs in dollars, token by token."""
    is_long = price.long_above is not None and usage.input + usage.tool > price.long_above
    rates = (price.long if is_long else price.rates)[usage.tier or "standard"]
    both = usage.cached_audio
    if both is None:  # as few as can be, which is the dearer reading
        both = max(0, usage.cached + usage.audio - usage.input)
    plain = usage.input - usage.cached - usage.audio + both + usage.tool
    millionths = (
        plain * Fraction(rates.input)
        + (usage.audio - both) * Fraction(rates.audio or 0)
        + (usage.cached - both) * Fraction(rates.cached or 0)
        + both * Fraction(rates.cached_audio or 0)
        + (usage.output + usage.thoughts) * Fraction(rates.output)
    )
    return millionths / 10**6 + usage.searches * Fraction(price.search or 0) / 1000


def cost_of(price: Price, usage: Usage) -> Decimal | None:
    names = (
        "input",
        "cached",
        "output",
        "thoughts",
        "tool",
        "audio",
        "cached_audio",
        "searches",
        "tier",
    )
    given: dict[str, Any] = {name: getattr(usage, name) for name in names}
    return price.cost(**given)


@pytest.fixture(scope="module")
def gate() -> Callable[[Price], Gate]:
    ledger = Ledger(None)

    def made(price: Price) -> Gate:
        return Gate(Service(), Endpoint("gemini", "m"), Purse(ledger, None), price=price)

    return made


@settings(deadline=None)
@given(prices(), usages())
def test_a_cost_is_exact_for_all_kinds_of_tokens_and_tiers(price: Price, usage: Usage) -> None:
    cost = cost_of(price, usage)
    assert cost is not None
    assert Fraction(cost) == by_hand(price, usage)


@settings(deadline=None)
@given(prices(), usages())
def test_what_is_booked_is_the_cost_rounded_up_to_a_whole_unit(
    gate: Callable[[Price], Gate], price: Price, usage: Usage
) -> None:
    assert gate(price).cost(usage) == ceil(by_hand(price, usage) * UNIT)


@settings(deadline=None)
@given(usages(), st.sampled_from(("cached", "audio", "cached_audio")), amounts)
def test_a_rate_that_is_not_known_makes_a_cost_unknown_never_zero(
    usage: Usage, missing: str, rate: Decimal
) -> None:
    known = {name: rate for name in Rates.__dataclass_fields__ if name != missing}
    cost = cost_of(Price({tier: Rates(**known) for tier in TIERS}, {}, search=rate), usage)
    both = max(0, usage.cached + usage.audio - usage.input)
    both = both if usage.cached_audio is None else usage.cached_audio
    needed = {"cached": usage.cached - both, "audio": usage.audio - both, "cached_audio": both}
    assert (cost is None) == bool(needed[missing])


@settings(deadline=None)
@given(prices(), usages(), st.data())
def test_what_is_reserved_is_never_below_what_less_would_cost(
    price: Price, usage: Usage, data: st.DataObject
) -> None:
    """The highest tokens of plain input and output at one tier cost at least what any fewer cost."""
    if (
        price.long_above is not None
    ):  # a long prompt is at least as dear, at every service that has the step
        price = Price(
            price.rates, {t: r.times(Decimal(2)) for t, r in price.rates.items()}, price.long_above
        )
    most = Usage(input=usage.input, output=usage.output, tier=usage.tier)
    less = Usage(
        input=data.draw(st.integers(0, most.input)),
        output=data.draw(st.integers(0, most.output)),
        tier=usage.tier,
    )
    reserved, cost = cost_of(price, most), cost_of(price, less)
    assert reserved is not None
    assert cost is not None
    assert reserved >= cost


@settings(deadline=None)
@given(
    st.decimals(0, 1000, places=2) | st.decimals(0, 1000, places=40),
    st.lists(st.tuples(st.integers(0, 10**14), st.integers(0, 100))),
)
def test_a_purse_never_holds_more_than_its_cap(cap: Decimal, calls: list[tuple[int, int]]) -> None:
    """Claims that fit are held, then settled at a part of them (100: the outcome is unknown); others are refused."""
    purse = Purse(LEDGER, cap)
    held: list[tuple[int, int]] = []
    booked = 0
    for amount, percent in calls:
        fits = Fraction(purse.spent + amount, UNIT) <= Fraction(cap)
        if fits:
            purse.claim(amount)
            held.append((amount, percent))
        else:
            with pytest.raises(BudgetReached, match="--budget"):
                purse.claim(amount)
        if len(held) > 3 or (not fits and held):
            claimed, part = held.pop(0)
            cost = None if part == 100 else claimed * part // 100
            purse.settle(claimed, cost)
            booked += claimed if cost is None else cost
        assert purse.spent == booked + sum(claimed for claimed, _ in held)
        assert Fraction(purse.spent, UNIT) <= Fraction(cap)


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_an_amount_that_is_shown_is_the_amount(amount: int) -> None:
    shown = dollars(amount)
    assert Fraction(shown) * UNIT == amount
    assert "E" not in shown
    assert not (shown.endswith("0") and "." in shown)


@settings(deadline=None)
@given(amounts, st.sampled_from(("", " USD", "USD", " usd", "$")))
def test_a_budget_is_read_exactly(amount: Decimal, unit: str) -> None:
    text = f"${amount:f}" if unit == "$" else f"{amount:f}{unit}"
    assert budget(text) == amount


@pytest.mark.parametrize(
    "text", ["", "USD", "-1", "-0.01 USD", "5 EUR", "nan", "inf", "1e", "5,00,0", "five"]
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        budget(text)


LEDGER = Ledger(None)
