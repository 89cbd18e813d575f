"""May the next request go? Concurrency, retries, the shared pause, and money: the Gate of one endpoint."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from pipeline.catalogue import Price
from pipeline.errors import (
    BudgetReached,
    FieldsiftError,
    GaveUp,
    ReplyError,
    SetupError,
    Transient,
    Unreachable,
    UsageError,
)
from pipeline.ledger import Ledger
from pipeline.providers import Endpoint, Provider, Request, Usage
from pipeline.stages import Stage

#: Tries of one request, the first included: the count of Google's own SDK (google-genai 3.4.0).
ATTEMPTS: Final = 5
#: Tries that end in a success which is no answer: it came whole, was most likely paid, and the next one
#: seldom looks otherwise.
_DAMAGED: Final = frozenset({"not_json", "bad_reply", "answer_too_large"})
_DAMAGED_TRIES: Final = 2
#: Full jitter: a random time up to `_FIRST_WAIT` x 2^(tries-1), at most `_LONGEST_WAIT` seconds.
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0
#: Reasons for which every document would fail. Once one was answered, only those of the model are.
_NO_MODEL: Final = frozenset({"not_found_model"})
_WRONG_WAY: Final = frozenset({"http_403", "http_404", "redirect", "unsupported_setting"})
#: Rates as an example of how a price is written.
_RATES: Final = "input = 0.25, output = 1.50"
#: A dollar in the ledger's unit.
_UNIT: Final = 10**12


class Purse:
    """The money of one run: what is booked or reserved, and the cap. One for all gates."""

    def __init__(self, ledger: Ledger, cap: Decimal | None) -> None:
        """All that the ledger knows of counts as spent already."""
        self.ledger = ledger
        self.cap = None if cap is None else int(cap * _UNIT)
        self.spent = ledger.spent()

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
    """An answer that came, and the call in the ledger that it must be booked on; `tier` is what was asked for."""

    body: bytes
    call: int
    claimed: int | None
    tier: str = ""


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
        self._hopeless = _NO_MODEL | _WRONG_WAY

    def cost(self, usage: Usage, tier: str = "") -> int | None:
        """What tokens cost, in the ledger's unit; None where the price is unknown.

        At the service tier that the answer names, else at the one that was asked for: a priority request
        may have been served at the standard one.
        """
        if self.price is None:
            return None
        amount = self.price.cost(
            input=usage.input,
            cached=usage.cached,
            output=usage.output,
            thoughts=usage.thoughts,
            tool=usage.tool,
            audio=usage.audio,
            cached_audio=usage.cached_audio,
            searches=usage.searches,
            tier=usage.tier or tier,
        )
        # Rounded up: what is reserved or booked is never below what it costs.
        return None if amount is None else int((amount * _UNIT).to_integral_value(ROUND_CEILING))

    async def send(self, request: Request, take: int, run: int) -> Sent:
        """Send a request when it may go; what may pass is tried again, a bounded number of times.

        What is reserved is the price of the tier that was asked for. A dearer one does not answer: at Gemini
        and OpenAI a flex request that finds no room is refused (429, 503) and never served as a standard one,
        and a priority request is served as a standard one where its limit is met.

        Raises:
            BudgetReached: nothing was sent.
            ReplyError: the service refuses it. GaveUp: it failed ATTEMPTS times, or twice by what came
                as a success and was no answer.
            Unreachable: it failed so often and this endpoint has never answered in this run.
            KeyRefused, QuotaReached: the run can't go on.

        """
        tier = request.settings.service_tier or ""
        claimed = self.cost(self.provider.ceiling(request), tier)
        damaged = 0
        async with self._slots:
            for attempt in range(1, ATTEMPTS + 1):
                await self._wait_for_pause()
                sent = await self._once(request, take, run, claimed)
                if isinstance(sent, Sent):
                    return sent
                damaged += sent.billed and sent.reason in _DAMAGED
                if attempt == ATTEMPTS or damaged == _DAMAGED_TRIES:
                    raise self._given_up(sent, attempt)
                await self._wait_after(sent, attempt)
        raise AssertionError("unreachable")

    async def book(self, sent: Sent, usage: Usage) -> int | None:
        """Book what an answer cost, after it was stored; the cost in the ledger's unit.

        One that does not tell its tokens costs what was reserved: unknown is never zero.
        """
        cost = self.cost(usage, sent.tier) if usage.is_counted else sent.claimed
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
            if isinstance(error, ReplyError) and error.reason in self._hopeless:
                raise SetupError(str(error)) from error  # no other document would fare better
            raise
        self._answered, self._hopeless = True, _NO_MODEL
        return Sent(body, call, claimed, request.settings.service_tier or "")

    async def _release(self, call: int, claimed: int | None) -> None:
        await self.purse.ledger.book(call, 0, "free")
        self.purse.settle(claimed, 0)

    def _given_up(self, failure: Transient, attempts: int) -> GaveUp | Unreachable:
        if failure.reason == "unreachable" and not self._answered:
            return Unreachable(f"{self.endpoint.name} can't be reached: {failure}")
        return GaveUp(failure.reason, f"{failure} (tried {attempts} times)")

    async def _wait_after(self, failure: Transient, attempt: int) -> None:
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
