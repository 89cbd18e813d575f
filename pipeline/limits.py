"""May the next request go? Concurrency, retries, the shared pause, and money: the Gate of one endpoint."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pipeline.catalogue import Price
from pipeline.errors import (
    BudgetReached,
    FieldsiftError,
    ReplyError,
    SetupError,
    Transient,
    Unreachable,
    UsageError,
)
from pipeline.ledger import Ledger
from pipeline.providers import Endpoint, Provider, Request, Usage

#: Tries of one request, the first included: the count of Google's own SDK (google-genai 3.4.0).
ATTEMPTS: Final = 5
#: Full jitter: a random time up to `_FIRST_WAIT` x 2^(tries-1), at most `_LONGEST_WAIT` seconds.
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0
#: A dollar in the ledger's unit.
_UNIT: Final = 10**12


class Purse:
    """The money of one run: what is booked or reserved, and the cap. One for all gates."""

    def __init__(self, ledger: Ledger, cap: Decimal | None, *, spent: int | None = None) -> None:
        """`spent` is what counts already; None: all that the ledger knows of."""
        self.ledger = ledger
        self.cap = None if cap is None else int(cap * _UNIT)
        self.spent = ledger.spent() if spent is None else spent

    def claim(self, amount: int | None) -> None:
        """Set the highest cost of a call aside.

        Raises:
            BudgetReached: it does not fit under the cap.

        """
        if self.cap is not None and self.spent + (amount or 0) > self.cap:
            raise BudgetReached(
                f"budget {dollars(self.cap)} USD: {dollars(self.spent)} USD are spent or reserved, and the next "
                f"call can cost {dollars(amount or 0)} USD; the same command with a higher --budget continues"
            )
        self.spent += amount or 0

    def settle(self, claimed: int | None, cost: int | None) -> None:
        """Put the real cost in place of what was claimed; unknown, the claim stands."""
        if cost is not None:
            self.spent += cost - (claimed or 0)


def dollars(amount: int) -> str:
    """An amount of the ledger in dollars, without trailing zeros: `0.0042`."""
    text = f"{Decimal(amount) / _UNIT:.12f}".rstrip("0").rstrip(".")
    return text or "0"


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer that came, and the call in the ledger that it must be booked on."""

    body: bytes
    call: int
    claimed: int | None


class Gate:
    """All requests to one endpoint and model pass here."""

    def __init__(
        self,
        provider: Provider,
        endpoint: Endpoint,
        purse: Purse,
        *,
        price: Price | None,
        concurrency: int = 8,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`sleep` is the clock that waits; tests give their own."""
        self.provider = provider
        self.endpoint = endpoint
        self.purse = purse
        self.price = price
        self._slots = asyncio.Semaphore(concurrency)
        self._sleep = sleep
        self._paused_until = 0.0
        self._answered = False

    def cost(self, usage: Usage) -> int | None:
        """What tokens cost, in the ledger's unit; None where the price is unknown."""
        if self.price is None:
            return None
        amount = self.price.cost(
            input=usage.input,
            cached=usage.cached,
            output=usage.output,
            thoughts=usage.thoughts,
            tool=usage.tool,
            audio=usage.audio,
        )
        return None if amount is None else int(amount * _UNIT)

    async def send(self, request: Request, take: int, run: int) -> Sent:
        """Send a request when it may go; what may pass is tried again, a bounded number of times.

        Raises:
            BudgetReached: nothing was sent.
            ReplyError: the service refuses it, or it failed ATTEMPTS times.
            Unreachable: it failed so often and this endpoint has never answered in this run.
            KeyRefused, QuotaReached: the run can't go on.

        """
        claimed = self.cost(self.provider.ceiling(request))
        async with self._slots:
            for attempt in range(1, ATTEMPTS + 1):
                await self._wait_for_pause()
                sent = await self._once(request, take, run, claimed)
                if isinstance(sent, Sent):
                    return sent
                await self._wait_after(sent, attempt)
        raise AssertionError("unreachable")

    async def book(self, sent: Sent, usage: Usage) -> int | None:
        """Book what an answer cost, after it was stored; the cost in the ledger's unit."""
        cost = self.cost(usage)
        await self.purse.ledger.book(sent.call, cost, "paid")
        self.purse.settle(sent.claimed, cost)
        return cost

    async def book_reserve(self, sent: Sent) -> None:
        """Book what was reserved, for an answer that does not say what it took."""
        await self.purse.ledger.book(sent.call, sent.claimed, "paid")

    async def _once(
        self, request: Request, take: int, run: int, claimed: int | None
    ) -> Sent | Transient:
        self.purse.claim(claimed)
        call = await self.purse.ledger.reserve(
            request.key(), take, run, self.endpoint.name, claimed
        )
        try:
            body = await self.provider.send(request)
        except Transient as failure:
            # Where the service may have worked, the reservation stays: unknown is never zero.
            if not failure.billed:
                await self._release(call, claimed)
            else:
                await self.purse.ledger.book(call, claimed, "unknown")
            return failure
        except FieldsiftError as error:
            self._answered = True
            await self._release(call, claimed)
            if isinstance(error, ReplyError) and error.reason == "not_found_model":
                raise SetupError(str(error)) from error  # no other document would fare better
            raise
        self._answered = True
        return Sent(body, call, claimed)

    async def _release(self, call: int, claimed: int | None) -> None:
        await self.purse.ledger.book(call, 0, "free")
        self.purse.settle(claimed, 0)

    async def _wait_after(self, failure: Transient, attempt: int) -> None:
        if attempt == ATTEMPTS:
            if failure.reason == "unreachable" and not self._answered:
                raise Unreachable(f"{self.endpoint.name} can't be reached: {failure}")
            raise ReplyError(failure.reason, f"{failure} (tried {ATTEMPTS} times)")
        if failure.wait is not None:
            # The service asked: everybody waits, not only the request that was told.
            loop = asyncio.get_running_loop()
            self._paused_until = max(self._paused_until, loop.time() + failure.wait)
        else:
            ceiling = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT)
            await self._sleep(random.uniform(0, ceiling))  # noqa: S311, spread in time, not a secret

    async def _wait_for_pause(self) -> None:
        left = self._paused_until - asyncio.get_running_loop().time()
        if left > 0:
            await self._sleep(left)


def refuse_unpriced(
    endpoint: Endpoint, price: Price | None, budget: Decimal | None, *, allowed: bool
) -> None:
    """With a budget, a model of unknown price is an error before anything is sent.

    Raises:
        UsageError: names the model and the line that gives its price.

    """
    if budget is not None and price is None and endpoint.provider != "local" and not allowed:
        raise UsageError(
            f"the price of {endpoint.name} is unknown, so a budget can't hold; give one in pipeline.toml:\n"
            f'  [models.NAME]\n  model = "{endpoint.name}"\n'
            f"  price = {{ input = 0.25, output = 1.50 }}   # USD per million tokens\n"
            f"or go on without it: --allow-unpriced"
        )
