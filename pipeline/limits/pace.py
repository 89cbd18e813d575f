"""When the next request to an endpoint may go: one pace for all of a process that asks it with one key.

Plain data under a lock: any thread and any event loop asks `take`, and waits for itself. The waiting
stand in line, so that a large request is not overtaken for ever by small ones.
"""

import asyncio
import hashlib
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from pipeline.limits.lane import MINUTE, Lane
from pipeline.limits.window import Entry, Window
from pipeline.providers import Endpoint, Rates

#: The seconds that Google's spend limit looks back over.
SPEND_SPAN: Final = 600.0
#: Who is first in line and has not asked for so many seconds after it was to ask, is gone.
_GONE: Final = 5.0
#: The shortest wait: event loops' timers are no finer.
_TICK: Final = 0.001
#: Refusals without a word of how long: the first pause and the longest. Short, so that the end of a bad
#: half minute is soon seen; one request finds out.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 5.0
#: The longest time in which a request that finds out whether a pause is over goes alone.
_ALONE: Final = 1.0
#: What is added to a pause at random, at most: all processes with this key were told the same.
_JITTER: Final = 0.5
#: Paces that are kept for endpoints nobody asks any more.
_KEPT: Final = 256


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in line; `due` is when its holder will ask again."""

    due: float


@dataclass(slots=True, eq=False)
class Taken:
    """What a request took of each quota, to be corrected once it is known."""

    at: float
    request: Entry
    tokens: Entry
    spend: Entry | None
    paced: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Held:
    """So many seconds nothing may go; `why` in words, empty for the even pace, which is no waiting."""

    seconds: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """What a service asks for: so many seconds (None: it does not say), for what, and for which quota.

    `luck` is a random share of the jitter that is added.
    """

    seconds: float | None
    said: str
    quota: str = ""
    luck: float = 0.0


class Pace:
    """The quotas of one endpoint, model and key, and the pauses that the service asked for."""

    def __init__(self) -> None:
        """Nothing was sent and nothing is known."""
        self.requests = Lane()
        self.tokens = Lane()
        self.spend = Window(SPEND_SPAN)
        self.spend_limit: int | None = None
        self._lock = threading.Lock()
        self._line: deque[Ticket] = deque()
        self._now = float("-inf")
        self._paused_until = self._alone_until = float("-inf")
        self._why = ""
        self._pauses = 0
        self._paused_at = float("-inf")
        self._was_long = False
        self._is_fresh = True
        self._answer_seconds = 0.2
        self.refused_since: float | None = None

    def tell(self, rates: Rates, spend: int | None) -> None:
        """The quotas that are known; `spend` is that of ten minutes in the ledger's unit."""
        with self._lock:
            self.requests.quota, self.tokens.quota = rates.rpm, rates.tpm
            self.spend_limit = spend

    def prime(self, now: float, calls: Iterable[tuple[float, int, int]]) -> None:
        """What an earlier process took: ages in seconds, tokens, costs. Not where this one has sent already."""
        with self._lock:
            if not self._is_fresh:
                return
            self._is_fresh = False
            for age, tokens, cost in sorted(calls, reverse=True):
                if age < MINUTE:
                    self.requests.window.add(now - max(age, 0.0), 1)
                    self.tokens.window.add(now - max(age, 0.0), tokens)
                if age < SPEND_SPAN:
                    self.spend.add(now - max(age, 0.0), cost)

    def join(self, now: float) -> Ticket:
        """Stand in line."""
        with self._lock:
            ticket = Ticket(now)
            self._line.append(ticket)
            return ticket

    def leave(self, ticket: Ticket) -> None:
        """Go out of line without anything."""
        with self._lock:
            if ticket in self._line:
                self._line.remove(ticket)

    def take(self, ticket: Ticket, now: float, tokens: int, cost: int) -> Taken | Held:
        """Go, or hear how long to wait before asking again."""
        with self._lock:
            now = self._now = max(now, self._now)
            ticket.due = now
            self._pass_over(now)
            if ticket not in self._line:
                self._line.appendleft(ticket)  # it was passed over while its loop was busy
            held = self._held(ticket, now, tokens, cost)
            if held.seconds > 0:
                held = Held(max(held.seconds, _TICK), held.why)
                ticket.due = now + held.seconds
                return held
            self._line.remove(ticket)
            self._is_fresh = False
            if self._pauses > 1 or (self._pauses and self._was_long):
                # The first one after a pause goes alone, until it is known what became of it.
                self._alone_until = now + min(_ALONE, 2 * self._answer_seconds)
            request, slow_requests = self.requests.take(now, 1)
            counted, slow_tokens = self.tokens.take(now, tokens)
            spent = None if self.spend_limit is None else self.spend.add(now, cost)
            return Taken(now, request, counted, spent, (slow_requests, slow_tokens))

    def correct(self, taken: Taken, *, tokens: int | None = None, cost: int | None = None) -> None:
        """What a request really took."""
        with self._lock:
            if tokens is not None:
                self.tokens.correct(taken.tokens, tokens)
            if cost is not None and taken.spend is not None:
                self.spend.correct(taken.spend, cost)

    def give_back(self, taken: Taken) -> None:
        """The request was not sent after all."""
        with self._lock:
            self.requests.correct(taken.request, 0)
            self.tokens.correct(taken.tokens, 0)
            if taken.spend is not None:
                self.spend.correct(taken.spend, 0)

    def answered(self, taken: Taken) -> None:
        """The service took a request: whatever it said, it was not too fast."""
        with self._lock:
            if self._pauses and taken.at >= self._paused_at:
                if self._pauses > 1:
                    # Even one at a time was refused: it was not our pace.
                    self.requests.learned.recover(self._now)
                    self.tokens.learned.recover(self._now)
                # What was asked for stands, also where one that went before it comes through.
                self._pauses, self._alone_until, self.refused_since = 0, float("-inf"), None
            self.requests.answered(self._now, taken.request, was_paced=taken.paced[0])
            self.tokens.answered(self._now, taken.tokens, was_paced=taken.paced[1])

    def refused(self, taken: Taken, now: float, pause: Pause) -> None:
        """The service wants fewer requests: a pause for all, and from then on a slower pace."""
        with self._lock:
            now = self._now = max(now, self._now)
            self._answer_seconds += (now - taken.at - self._answer_seconds) / 4
            if self.refused_since is None:
                self.refused_since = taken.at
            if not self._pauses:
                of_tokens = pause.quota == "tokens"
                lane = self.tokens if of_tokens else self.requests
                entry = taken.tokens if of_tokens else taken.request
                lane.refused(now, entry, pause.seconds or 0.0, is_named=bool(pause.quota))
            self.requests.window.correct(taken.request, 0)
            self.tokens.window.correct(taken.tokens, 0)
            if taken.spend is not None:
                self.spend.correct(taken.spend, 0)
            self._pause(taken, now, pause)

    def pause(self, taken: Taken, now: float, pause: Pause) -> None:
        """The service asks for a pause for another reason than too many requests."""
        with self._lock:
            self._pause(taken, now, pause)

    def _pause(self, taken: Taken, now: float, pause: Pause) -> None:
        asked, said = pause.seconds, pause.said
        is_new = not self._pauses or taken.at >= self._paused_at
        if asked is None and not is_new:
            return  # sent before the pause that is kept already
        if asked is None:
            wait = min(_FIRST_PAUSE * 2**self._pauses, _LONGEST_PAUSE)
            why = f"the service answers no requests now ({said}); the next try in {wait:.0f} s"
        else:
            wait, why = asked, f"the service asked for {asked:.3g} s ({said})"
            if is_new and self._pauses:
                # What it asked for was too little: a wait is a lower bound.
                wait = max(wait, min(_FIRST_PAUSE / 4 * 2**self._pauses, _LONGEST_PAUSE))
        if is_new:
            self._pauses += 1
            self._paused_at, self._was_long = now, wait >= _FIRST_PAUSE
        until = now + wait + pause.luck * min(_JITTER, wait / 4)
        if until > self._paused_until:
            self._paused_until, self._why = until, why

    def _held(self, ticket: Ticket, now: float, tokens: int, cost: int) -> Held:
        before = self._line.index(ticket)
        if before:
            first = self._line[0]
            return Held(max(first.due - now, 0.0) + before * 0.01)
        paused = Held(self._paused_until - now, self._why)
        requests, is_used = self.requests.wait(now, 1)
        alone = Held(self._alone_until - now)
        held = [paused, alone, Held(requests, _used(self.requests, "requests") if is_used else "")]
        of_tokens, is_used = self.tokens.wait(now, tokens)
        held.append(Held(of_tokens, _used(self.tokens, "tokens") if is_used else ""))
        if self.spend_limit is not None:
            room = self.spend.wait(now, cost, self.spend_limit)
            held.append(Held(room, "the spend limit of ten minutes is reached"))
        return max(held, key=lambda each: each.seconds)

    def _pass_over(self, now: float) -> None:
        """Those who don't ask any more (their loop is gone) hold nobody up."""
        while self._line and self._line[0].due + _GONE < now:
            self._line.popleft()

    def is_idle(self, now: float) -> bool:
        """Whether nothing would be lost with it."""
        with self._lock:
            windows = (self.requests.window, self.tokens.window, self.spend)
            quiet = self._paused_until <= now and not self._line
            return quiet and all(window.is_empty(now) for window in windows)


def _used(lane: Lane, what: str) -> str:
    return f"quota: {lane.quota:,} {what} a minute are used"


_SHARED: dict[tuple[str, str, str], Pace] = {}
_OF_LOOPS: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str, str], Pace]]"
_OF_LOOPS = WeakKeyDictionary()
_LOCK = threading.Lock()


def pace_of(endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> Pace:
    """The pace that everything in this process keeps which asks an endpoint and model with one key.

    A loop with a clock of its own (a simulation) has paces of its own.
    """
    secret = endpoint.key or endpoint.project
    key = (endpoint.name, endpoint.base_url, hashlib.sha256(secret.encode()).hexdigest())
    with _LOCK:
        is_plain = getattr(loop.time, "__func__", None) is asyncio.BaseEventLoop.time
        paces = _SHARED if is_plain else _OF_LOOPS.setdefault(loop, {})
        if key not in paces and len(paces) >= _KEPT:
            for idle in [name for name, pace in paces.items() if pace.is_idle(loop.time())]:
                del paces[idle]
        return paces.setdefault(key, Pace())
