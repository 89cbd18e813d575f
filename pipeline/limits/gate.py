"""May the next request go? Rates, concurrency, retries, the shared pause, and money: the Gate of one endpoint."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil
from typing import Final

from pipeline.catalogue import Price
from pipeline.errors import (
    FieldsiftError,
    GaveUp,
    QuotaReached,
    ReplyError,
    SetupError,
    Transient,
    Unreachable,
)
from pipeline.limits.days import Day
from pipeline.limits.expected import Expected
from pipeline.limits.flight import Flight
from pipeline.limits.money import UNIT, Purse, apportioned
from pipeline.limits.pace import SPEND_SPAN, Held, Pace, Pause, Taken, pace_of
from pipeline.limits.retries import DAMAGED, RetryBudget, Tries
from pipeline.limits.stopping import unless
from pipeline.limits.window import Entry
from pipeline.providers import Endpoint, Provider, Request, Usage

#: A service that has refused or failed everything for so many seconds is not waited for any longer: what it
#: means is no quota of a minute, or it is down.
PATIENCE: Final = 600.0
#: For so many seconds a quota that is used up stays so without asking again.
_ENDED: Final = 60.0
#: The shortest wait that is shown as one, in seconds.
_SHOWN: Final = 1.0
#: Reasons for which every document would fail. Once one was answered, only those of the model are.
_NO_MODEL: Final = frozenset({"not_found_model"})
_WRONG_WAY: Final = frozenset({"http_403", "http_404", "redirect", "unsupported_setting"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why requests to an endpoint are kept back, in words, and until when (the event loop's time)."""

    endpoint: str
    why: str
    until: float


@dataclass(frozen=True, slots=True)
class Turn:
    """What a request has taken of the quotas of a minute and of a day.

    `most` is the highest input that it can have, `tokens` what was expected of it.
    """

    most: int
    tokens: int
    minute: Taken
    day: tuple[Entry, Entry] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """One of the questions of a request, which has a call of its own in the ledger: its key and take, and its size.

    By the sizes it has its share of what the request may cost. `buyer` is the document and stage that it is for.
    """

    key: str
    take: int
    size: int = 1
    buyer: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer that came, and the call in the ledger that it must be booked on; `tier` is what was asked for.

    `calls` are those of all questions of the request with what was claimed for each, `claimed` is their sum.
    """

    body: bytes
    call: int
    claimed: int | None
    tier: str = ""
    turn: Turn | None = field(default=None, compare=False, repr=False)
    calls: tuple[tuple[int, int | None], ...] = ()


class Gate:
    """All requests of one run to one endpoint and model pass here.

    Its pace is that of the whole process: other gates to the same endpoint with the same key keep it too.
    """

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
        """At most `concurrency` requests are in flight.

        With `patience` 0 a request is given up once the run's retries are used up, for those who can ask another
        endpoint; else everybody waits, so many seconds long, for a service that does not answer. `sleep` is the clock that waits; tests give their own, and may put another `wall` (the time of day) and
        other `dice` in place. Once the event `stop` is set nothing more is sent.
        """
        self.stop = asyncio.Event()
        self.provider = provider
        self.endpoint = endpoint
        self.purse = purse
        self.price = price
        rates = endpoint.rates
        self.flight = Flight(concurrency, is_paced=bool(rates.rpm or rates.tpm))
        self.retries = RetryBudget()
        self.patience = PATIENCE
        self.wall: Callable[[], float] = time.time
        self.dice = random.Random()  # noqa: S311, spread in time, not a secret
        self._clock = _Clock(sleep)
        self._pace = None if sleep is asyncio.sleep else Pace()
        self._is_told = False
        self._day = Day(purse.ledger, endpoint)
        self._first = asyncio.Lock()
        self._waiting: Waiting | None = None
        self._ended: tuple[float, QuotaReached] | None = None
        self._likely = Expected()
        self._answered = False
        self._hopeless = _NO_MODEL | _WRONG_WAY

    @property
    def waiting(self) -> Waiting | None:
        """What keeps requests back just now; None while they go out."""
        told = self._waiting
        return told if told is not None and told.until > self._clock.now() else None

    @property
    def pace(self) -> Pace:
        """What all requests to this endpoint in the process keep; made with the first of them."""
        if self._pace is None:
            self._pace = pace_of(self.endpoint, asyncio.get_running_loop())
        if not self._is_told:
            self._is_told = True
            rates = self.endpoint.rates
            spend = None if rates.spend is None else int(rates.spend * UNIT)
            self._pace.tell(rates, spend)
            wall = self.wall()
            calls = self.purse.ledger.recent(self.endpoint.name, wall - SPEND_SPAN)
            self._pace.prime(
                self._clock.now(), [(wall - at, tokens, cost) for at, tokens, cost in calls]
            )
        return self._pace

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
        return None if amount is None else ceil(Fraction(amount) * UNIT)

    async def send(
        self, request: Request, take: int, run: int, claims: Sequence[Claim] = ()
    ) -> Sent:
        """Send a request when it may go; what may pass is tried again, a bounded number of times.

        With `claims` it holds several questions: they go and are counted as one request.
        What is reserved is the price of the tier that was asked for. A dearer one does not answer: at Gemini
        and OpenAI a flex request that finds no room is refused (429, 503) and never served as a standard one,
        and a priority request is served as a standard one where its limit is met.

        Raises:
            BudgetReached: nothing was sent.
            ReplyError: the service refuses it. GaveUp: it failed ATTEMPTS times, or twice by what came
                as a success and was no answer, or (without patience) the run's retries are used up.
            Unreachable: it failed so often and this endpoint has never answered in this run, or it has
                answered nothing for as long as it is waited for.
            KeyRefused: the run can't go on. QuotaReached: nor that, today, or the service has refused
                everything for PATIENCE seconds.
            Interrupted: it was told to stop; this request is not on its way.

        """
        most = self.provider.ceiling(request)
        claimed = self.cost(most, request.settings.service_tier or "")
        claims = claims or (Claim(request.key(), take),)
        tries = Tries()
        self.retries.requests += 1
        while True:
            turn = await unless(self.stop, self._turn(most, claimed))
            try:
                sent = await self._once(request, claims, run, claimed, turn)
            except BaseException:
                self.purse.landed(turn)
                raise
            finally:
                self.flight.leave()
            if isinstance(sent, Sent):
                return sent  # it has landed when it is booked
            self.purse.landed(turn)
            await unless(self.stop, self._after(sent, tries, turn))

    async def book(self, sent: Sent, usage: Usage) -> int | None:
        """Book what an answer cost, after it was stored; the cost in the ledger's unit.

        One that does not tell its tokens costs what was reserved: unknown is never zero.
        """
        return (await self.book_shares(sent, usage, (usage,)))[0]

    async def book_shares(
        self, sent: Sent, usage: Usage, shares: Sequence[Usage]
    ) -> list[int | None]:
        """The same for an answer to several questions, each with its share of the tokens; the cost of each.

        The costs add up to that of the whole answer.
        """
        calls = sent.calls or ((sent.call, sent.claimed),)
        cost = self.cost(usage, sent.tier) if usage.is_counted else sent.claimed
        tokens = self._counted(usage) if usage.is_counted else None
        costs = [claimed for _, claimed in calls]
        if usage.is_counted:
            costs = _adding_up(cost, [self.cost(share, sent.tier) for share in shares])
        counts = [None if tokens is None else self._counted(share) for share in shares]
        numbers = [number for number, _ in calls]
        await self.purse.ledger.book_all(list(zip(numbers, costs, counts, strict=True)), "paid")
        self.purse.settle(sent.claimed, cost)
        self.landed(sent)
        if sent.turn is not None:
            self.pace.correct(sent.turn.minute, tokens=tokens, cost=cost)
            if tokens is not None:
                self._day.correct(sent.turn.day, 1, tokens)
                self._likely.learn(sent.turn.most, usage.input)
        return costs

    async def book_reserve(self, sent: Sent) -> None:
        """Book what was reserved, for an answer that does not say what it took."""
        calls = sent.calls or ((sent.call, sent.claimed),)
        await self.purse.ledger.book_all([(*each, None) for each in calls], "paid")
        self.landed(sent)

    def landed(self, sent: Sent) -> None:
        """Nothing more becomes of an answer: it was booked, or something went wrong before."""
        self.purse.landed(sent.turn)

    # one try ------------------------------------------------------------------------------

    async def _turn(self, most: Usage, claimed: int | None) -> Turn:
        """Wait until a request may go: first in line, with room in flight, in the quotas, and under the cap.

        Raises:
            BudgetReached, QuotaReached: it may not; nothing is taken.

        """
        async with self._first:
            await self.purse.room(claimed)
            self._refuse_after_the_end()
            await self.flight.enter()
            try:
                tokens = self._expected(most)
                minute = await self._wait_for_pace(tokens, claimed or 0)
                await self.purse.room(claimed)  # another endpoint may have taken it meanwhile
                return self._claim(Turn(most.input, tokens, minute), claimed)
            except BaseException:
                self.flight.leave()
                raise

    def _claim(self, turn: Turn, claimed: int | None) -> Turn:
        """Take what is counted over more than a minute: the quotas of a day, and the money."""
        try:
            turn = replace(turn, day=self._day.take(self.wall(), turn.tokens))
            self.purse.claim(claimed)
        except FieldsiftError:
            self.pace.give_back(turn.minute)
            self._day.correct(turn.day, 0, 0)
            raise
        self.purse.went(turn)
        return turn

    def _refuse_after_the_end(self) -> None:
        """What one request heard of a quota that is used up holds for those behind it: they are not sent."""
        if self._ended is not None and self._clock.now() < self._ended[0] + _ENDED:
            raise type(self._ended[1])(str(self._ended[1]))

    async def _wait_for_pace(self, tokens: int, cost: int) -> Taken:
        pace = self.pace
        ticket = pace.join(self._clock.now())
        try:
            while isinstance(held := pace.take(ticket, self._clock.now(), tokens, cost), Held):
                now = self._clock.now()
                if held.why and held.seconds >= _SHOWN:
                    self._waiting = Waiting(self.endpoint.name, held.why, now + held.seconds)
                await self._clock.sleep(held.seconds)
        except BaseException:
            pace.leave(ticket)
            raise
        self._waiting = None
        return held

    async def _once(
        self, request: Request, claims: Sequence[Claim], run: int, claimed: int | None, turn: Turn
    ) -> Sent | Transient:
        calls = await self._reserved(claims, run, claimed, turn)
        try:
            body = await self.provider.send(request)
        except Transient as failure:
            # Where the service may have worked, the reservation stays: unknown is never zero.
            if not failure.billed:
                await self._release(calls, claimed, turn)
            else:
                await self.purse.ledger.book_all([(*each, None) for each in calls], "unknown")
            return failure
        except FieldsiftError as error:
            if isinstance(error, QuotaReached):
                self._ended = (self._clock.now(), error)
            self._note_answer(turn)
            await self._release(calls, claimed, turn)
            if isinstance(error, ReplyError) and error.reason in self._hopeless:
                raise SetupError(str(error)) from error  # no other document would fare better
            raise
        self._note_answer(turn)
        self._hopeless = _NO_MODEL
        tier = request.settings.service_tier or ""
        return Sent(body, calls[0][0], claimed, tier, turn, tuple(calls))

    async def _reserved(
        self, claims: Sequence[Claim], run: int, claimed: int | None, turn: Turn
    ) -> list[tuple[int, int | None]]:
        """The calls of a request's questions, and what is claimed for each."""
        sizes = [claim.size for claim in claims]
        amounts: list[int | None] = [None] * len(claims)
        if claimed is not None:
            amounts = [*apportioned(claimed, sizes)]
        tokens = apportioned(turn.tokens, sizes)
        rows = [
            (claim.key, claim.take, amount, count)
            for claim, amount, count in zip(claims, amounts, tokens, strict=True)
        ]
        buyers = [claim.buyer for claim in claims if claim.buyer]
        calls = await self.purse.ledger.reserve_all(rows, run, self.endpoint.name, buyers)
        return list(zip(calls, amounts, strict=True))

    async def _release(
        self, calls: Sequence[tuple[int, int | None]], claimed: int | None, turn: Turn
    ) -> None:
        await self.purse.ledger.book_all([(number, 0, 0) for number, _ in calls], "free")
        self.purse.settle(claimed, 0)
        self.pace.correct(turn.minute, tokens=0, cost=0)
        self._day.correct(turn.day, 0, 0)

    def _note_answer(self, turn: Turn) -> None:
        now = self._clock.now()
        self._answered = True
        self.retries.answered()
        self.flight.answered(now, now - turn.minute.at)
        self.pace.answered(turn.minute)

    # another try --------------------------------------------------------------------------

    async def _after(self, failure: Transient, tries: Tries, turn: Turn) -> None:
        """Wait after a failure, as long as is asked for or at random.

        Raises:
            GaveUp, Unreachable, QuotaReached: there is no other try.

        """
        now, said = self._clock.now(), failure.reason.removeprefix("http_")
        pause = Pause(failure.wait, said, failure.quota, self.dice.random())
        if failure.reason == "http_429":
            tries.refused += 1
            self.pace.refused(turn.minute, now, pause)
            since = self.pace.refused_since
            if since is not None and now - since > PATIENCE:
                minutes = f"{(now - since) / 60:.0f}"
                told = f"the service has refused every request for {minutes} minutes; the same command continues"
                self._ended = (now, QuotaReached(f"{told}: {failure}"))
                raise self._ended[1]
            if tries.are_used_up:
                raise GaveUp(failure.reason, f"{failure} (refused {tries.refused} times)")
            return
        tries.failed += 1
        tries.damaged += failure.billed and failure.reason in DAMAGED
        self.retries.failed(now)
        self.flight.overloaded(now)
        self._refuse_another(failure, tries, now)
        is_used_up = self.retries.is_used_up
        self.retries.retries += 1
        if failure.wait is not None or is_used_up:
            # The service asked, or too much fails: everybody waits, not only the request that was told.
            self.pace.pause(turn.minute, now, pause)
        else:
            await self._clock.sleep(tries.wait(self.dice))

    def _refuse_another(self, failure: Transient, tries: Tries, now: float) -> None:
        if self.retries.is_down(now, self.patience):
            many = self.retries.failures_in_a_row
            told = f"the last {many} requests failed, and the run's retries are used up"
            raise Unreachable(f"{self.endpoint.name} can't be reached: {told}: {failure}")
        is_unreached = failure.reason == "unreachable" and not self._answered
        if is_unreached and (tries.are_used_up or self.retries.never_began(now)):
            raise Unreachable(f"{self.endpoint.name} can't be reached: {failure}")
        if tries.are_used_up:
            raise GaveUp(failure.reason, f"{failure} (tried {tries.number} times)")
        if self.retries.is_used_up and not self.patience:
            told = f"{self.retries.retries} retries, the budget of this run, are used up"
            raise GaveUp(failure.reason, f"{failure} (tried {tries.number} times; {told})")

    # tokens -------------------------------------------------------------------------------

    def _counted(self, usage: Usage) -> int:
        """The tokens that the service counts against its quotas.

        Google counts input alone (`GenerateContentInputTokensPerModelPerMinute`, its own quota id); OpenAI
        and those who speak its language count what is answered too, and `max_tokens` until it is known.
        """
        if self.endpoint.service.wire == "gemini":
            return usage.input
        return usage.input + usage.output + usage.thoughts

    def _expected(self, most: Usage) -> int:
        """The same before it is sent, by what requests took so far."""
        likely = self._likely.of(most.input)
        return likely if self.endpoint.service.wire == "gemini" else likely + most.output


def _adding_up(total: int | None, costs: Sequence[int | None]) -> list[int | None]:
    """Costs that add up to the total: what each is rounded up by, or a long prompt's dearer price, is shared out."""
    known = [each for each in costs if each is not None]
    if total is None or len(known) < len(costs):
        return [total if len(costs) == 1 else None for _ in costs]
    return list(known) if sum(known) == total else [*apportioned(total, known)]


class _Clock:
    """The running loop's time, and what waits for it; with another `sleep`, what it says has passed."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self._ahead = 0.0

    def now(self) -> float:
        return asyncio.get_running_loop().time() + self._ahead

    async def sleep(self, seconds: float) -> None:
        until = self.now() + seconds
        await self._sleep(seconds)
        if self._sleep is not asyncio.sleep:
            self._ahead += max(0.0, until - self.now())
