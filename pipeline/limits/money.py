"""The money of a run: what is booked or reserved, the cap, and which prices a budget needs."""

import asyncio
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Final

from pipeline.catalogue import Price
from pipeline.errors import BudgetReached, UsageError
from pipeline.ledger import Ledger
from pipeline.providers import Endpoint
from pipeline.stages import Stage

#: Rates as an example of how a price is written.
_RATES: Final = "input = 0.25, output = 1.50"
#: A dollar in the ledger's unit.
UNIT: Final = 10**12


class Purse:
    """The money of one run: what is booked or reserved, and the cap. One for all gates."""

    def __init__(self, ledger: Ledger, cap: Decimal | None) -> None:
        """All that the ledger knows of counts as spent already."""
        self.ledger = ledger
        self.cap = None if cap is None else floor(Fraction(cap) * UNIT)
        self.spent = ledger.spent()
        self._out: set[int] = set()
        self._changed = asyncio.Event()

    async def room(self, amount: int | None) -> None:
        """Wait while an amount does not fit, and calls are out which may cost less than was set aside for them."""
        while self._out and self._lacks(amount):
            self._changed.clear()
            await self._changed.wait()

    def went(self, call: object) -> None:
        """A call, whose amount is claimed, is on its way until it has `landed`."""
        self._out.add(id(call))

    def landed(self, call: object) -> None:
        """What a call costs is settled, or will never be known; more than once is no more."""
        self._out.discard(id(call))
        self._changed.set()

    def _lacks(self, amount: int | None) -> bool:
        return self.cap is not None and self.spent + (amount or 0) > self.cap

    def claim(self, amount: int | None) -> None:
        """Set the highest cost of a call aside.

        Raises:
            BudgetReached: it does not fit under the cap.

        """
        if self.cap is not None and self._lacks(amount):
            raise BudgetReached(
                f"budget {dollars(self.cap)} USD: {dollars(self.spent)} USD are spent or reserved, and the next "
                f"call can cost {dollars(amount or 0)} USD; the same command with a higher --budget continues"
            )
        self.spent += amount or 0

    def settle(self, claimed: int | None, cost: int | None) -> None:
        """Put the real cost in place of what was claimed; unknown, the claim stands."""
        if cost is not None:
            self.spent += cost - (claimed or 0)
            self._changed.set()


def apportioned(total: int, sizes: Sequence[int]) -> list[int]:
    """A whole amount in shares by size; whole numbers that add up to it, equal ones where all sizes are 0."""
    sizes = sizes if sum(sizes) else [1] * len(sizes)
    all_of_it, shares, passed, given = sum(sizes), [], 0, 0
    for size in sizes:  # what the first ones have together is right to less than one: so is each
        passed += size
        shares.append(total * passed // all_of_it - given)
        given += shares[-1]
    return shares


def dollars(amount: int) -> str:
    """An amount of the ledger in dollars, without trailing zeros: `0.0042`."""
    text = f"{Decimal(amount) / UNIT:.12f}".rstrip("0").rstrip(".")
    return text or "0"


def refuse_unpriced(
    endpoint: Endpoint,
    price: Price | None,
    budget: Decimal | None,
    *,
    allowed: bool,
    stages: Iterable[Stage] = (),
) -> None:
    """With a budget, a price that is unknown is an error before anything is sent.

    `stages` are those of the run: the tiers and the search tool that they ask of this endpoint need a
    price too.

    Raises:
        UsageError: names the model and the line that gives its price.

    """
    if budget is None or allowed or endpoint.provider == "local":
        return
    asked = [stage for stage in stages if endpoint.name in (stage.model, *stage.fallback)]
    if missing := _missing(price, asked):
        what, line = missing
        raise UsageError(
            f"the {what} of {endpoint.name} is unknown, so a budget can't hold; give one in pipeline.toml:\n"
            f'  [models.NAME]\n  model = "{endpoint.name}"\n'
            f"  price = {{ {line} }}   # USD per million tokens\n"
            f"or go on without it: --allow-unpriced"
        )


def _missing(price: Price | None, stages: Iterable[Stage]) -> tuple[str, str] | None:
    """What stages ask for that the price does not say, and a line that would say it; None where it says all."""
    if price is None:
        return "price", _RATES
    for stage in stages:
        tier = stage.service_tier or "standard"
        given = dict.fromkeys(("standard", tier))
        rates = ", ".join(f"{name} = {{ {_RATES} }}" for name in given)
        if tier not in price.rates:
            return f"{tier} price", rates
        if price.long_above is not None and tier not in price.long:
            long = ", ".join(f"{name}_long = {{ {_RATES} }}" for name in given)
            what = f"{tier} price of prompts above {price.long_above:,} tokens"
            return what, f"{rates}, long_above = {price.long_above}, {long}"
        if "google_search" in stage.tools and price.search is None:
            return "price of a search", f"{_RATES}, search = 14"
    return None
