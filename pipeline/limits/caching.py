"""Does an explicit cache pay, and who pays for it: arithmetic, and Keeping, which reserves and books it as any money."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Final

from pipeline.catalogue import Price, Rates
from pipeline.errors import BudgetReached
from pipeline.limits.gate import Gate
from pipeline.limits.money import UNIT
from pipeline.providers import Request

#: Seconds that one more request keeps a cache alive, where no quota says how many go in a minute: requests
#: of some 10 seconds, several at a time.
_EACH: Final = 1.0
_HOUR: Final = 3600
_MILLION: Final = 10**6


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What `tokens` that requests share cost, in USD: sent with each of them, or once into a cache that is read.

    Making a cache costs what fresh input costs; storage is paid by the time that a cache was given, not that it
    was used ("billed based on the TTL duration", docs/caching), so that it is `life` seconds in any case, and
    `each` more for every request. Rates are USD for a million tokens, `storage` for an hour; `made` is that of making it.
    """

    tokens: int
    made: Decimal
    input: Decimal
    cached: Decimal
    storage: Decimal
    life: int
    each: float = 0.0

    def without(self, requests: int) -> Fraction:
        """The tokens sent with each request."""
        return Fraction(self.input) * self.tokens * requests / _MILLION

    def making(self) -> Fraction:
        """The cache made."""
        return Fraction(self.made) * self.tokens / _MILLION

    def keeping(self, requests: int) -> Fraction:
        """The cache kept while so many requests use it."""
        hours = (self.life + Fraction(self.each) * requests) / _HOUR
        return Fraction(self.storage) * self.tokens * hours / _MILLION

    def reading(self, requests: int) -> Fraction:
        """The cache read by each request."""
        return Fraction(self.cached) * self.tokens * requests / _MILLION

    def with_cache(self, requests: int) -> Fraction:
        """All three."""
        return self.making() + self.keeping(requests) + self.reading(requests)

    @property
    def break_even(self) -> int | None:
        """The fewest requests for which a cache costs less; None where it never does."""
        each = Fraction(self.storage) * Fraction(self.each) / _HOUR
        saved = Fraction(self.input) - Fraction(self.cached) - each
        if saved <= 0:
            return None
        once = Fraction(self.made) + Fraction(self.storage) * self.life / _HOUR
        return floor(once / saved) + 1


def arithmetic(
    price: Price | None, tokens: int, life: int, *, tier: str = "", rpm: int | None = None
) -> Arithmetic | None:
    """The arithmetic of a price; None where a rate that it needs is unknown.

    Requests cost what their tier costs; a cache is made at the standard price, as no service says that it is
    made at another.
    """
    is_long = price is not None and price.long_above is not None and tokens > price.long_above
    tables: Mapping[str, Rates] = (price.long if is_long else price.rates) if price else {}
    asked, made = tables.get(tier or "standard"), tables.get("standard")
    if price is None or asked is None or made is None:
        return None
    if asked.cached is None or price.storage is None:
        return None
    each = 60 / rpm if rpm else _EACH
    return Arithmetic(tokens, made.input, asked.input, asked.cached, price.storage, life, each)


class Keeping:
    """Decides for one endpoint whether caches are made, and puts them into the ledger; see `providers.Keeper`."""

    def __init__(self, gate: Gate, run: int) -> None:
        self._gate = gate
        self._run = run
        self._seen: Counter[str] = Counter()

    def pays(self, label: str, request: Request, tokens: int, life: int) -> bool:
        """Whether a cache of so many tokens costs less, for the requests that are expected or, unknown, as many as came."""
        self._seen[label] += 1
        tier = request.settings.service_tier or ""
        rpm = self._gate.endpoint.rates.rpm
        sums = arithmetic(self._gate.price, tokens, life, tier=tier, rpm=rpm)
        least = sums.break_even if sums else None
        return least is not None and max(request.uses, self._seen[label]) >= least

    async def reserve(self, label: str, tokens: int, seconds: float, *, made: bool) -> int | None:
        """Set aside what tokens cost to be stored so long, and to be `made` into a cache; None: it does not fit.

        Returns the number of the call.
        """
        amount = self._cost(tokens, seconds, made=made)
        purse = self._gate.purse
        try:
            purse.claim(amount)
        except BudgetReached:
            return None
        return await purse.ledger.reserve(
            label, 1, self._run, self._gate.endpoint.name, amount, tokens if made else 0
        )

    async def book(
        self, call: int, reserved: int, tokens: int | None, seconds: float, *, made: bool
    ) -> None:
        """Put the real cost of a cache in the place of what was reserved for `reserved` tokens; None: nothing was made."""
        purse = self._gate.purse
        claimed = self._cost(reserved, seconds, made=made)
        if tokens is None:
            await purse.ledger.book(call, 0, "free", 0)
            purse.settle(claimed, 0)
            return
        cost = self._cost(tokens, seconds, made=made)
        await purse.ledger.book(call, cost, "paid", tokens if made else 0)
        purse.settle(claimed, cost)

    async def lost(self, call: int, reserved: int, seconds: float) -> None:
        """Nobody knows whether a cache was made: what was reserved stays."""
        amount = self._cost(reserved, seconds, made=True)
        await self._gate.purse.ledger.book(call, amount, "unknown")

    def _cost(self, tokens: int, seconds: float, *, made: bool) -> int:
        """Rounded up, in the ledger's unit; `pays` has seen that all rates are known."""
        sums = arithmetic(self._gate.price, tokens, ceil(seconds))
        if sums is None:
            return 0
        cost = sums.keeping(0) + (sums.making() if made else 0)
        return ceil(cost * UNIT)
