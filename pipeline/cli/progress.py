"""How far a run is, in numbers: documents, tokens, money, rate, time left, and what is waited for."""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from pipeline.limits import Waiting
    from pipeline.runner import Runner

#: Seconds between two looks at the run.
EVERY: Final = 0.25
#: Seconds of the past that the rate is of.
WINDOW: Final = 60.0
#: Seconds and documents from which on a rate says something.
_SPAN, _ENOUGH = 2.0, 2


@dataclass(frozen=True, slots=True)
class Pause:
    """What is waited for: the endpoint, why, and for how many more seconds."""

    endpoint: str
    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is at one moment.

    `done` of `found` documents, which are all there are if `listed`; Results by status; tokens and
    dollars paid in this run, and dollars paid for this output with those before (None: unknown) of the
    `budget`; documents per minute of late; seconds left.
    """

    done: int = 0
    found: int = 0
    listed: bool = False
    statuses: Mapping[str, int] = field(default_factory=dict)
    tokens: int = 0
    paid: Decimal | None = Decimal(0)
    cost: Decimal | None = Decimal(0)
    budget: Decimal | None = None
    rate: float | None = None
    left: float | None = None
    pauses: tuple[Pause, ...] = ()


class Display(Protocol):
    """Who shows how far a run is; told several times a second."""

    async def show(self, now: float, standing: Standing) -> None:
        """Show it, if it is time; `now` is the event loop's clock."""
        ...


class Meter:
    """Documents per minute over the last WINDOW seconds; its clock is whoever calls it."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, int]] = deque()

    def rate(self, now: float, worked: int) -> float | None:
        """The rate, now that so many documents were worked on; None while that is a guess."""
        past = self._past
        past.append((now, worked))
        while len(past) > 2 and past[1][0] <= now - WINDOW:
            past.popleft()
        since, before = past[0]
        if now - since < _SPAN or worked - before < _ENOUGH:
            return None
        return (worked - before) / (now - since) * 60


class Watch:
    """A run as it is looked at, several times a second; `waited` has the seconds of pauses by endpoint."""

    def __init__(self, runner: "Runner", earlier: Decimal | None) -> None:
        """`earlier` is what was paid for this output before this run; None where it isn't known."""
        self.waited: defaultdict[str, float] = defaultdict(float)
        self._runner, self._earlier = runner, earlier
        self._meter = Meter()
        self._looked: float | None = None

    def look(self, now: float) -> Standing:
        """How far the run is."""
        tally, asker = self._runner.tally, self._runner.asker
        pauses = _pauses(self._runner.waiting(), now)
        if pauses and self._looked is not None:
            self.waited[pauses[0].endpoint] += now - self._looked
        self._looked = now
        rate = self._meter.rate(now, tally.done - tally.unchanged)
        left = (tally.found - tally.done) / rate * 60 if rate and tally.listed else None
        return Standing(
            done=tally.done,
            found=tally.found,
            listed=tally.listed,
            statuses=dict(tally.statuses),
            tokens=asker.bought.tokens,
            paid=asker.bought.paid,
            cost=None
            if asker.bought.paid is None or self._earlier is None
            else self._earlier + asker.bought.paid,
            budget=self._runner.plan.budget,
            rate=rate,
            left=left,
            pauses=pauses,
        )


@contextlib.asynccontextmanager
async def watched(
    watch: Watch,
    displays: Sequence[Display],
    every: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[None]:
    """While the body runs, tell the displays each `every` seconds how far the run is."""
    clock = asyncio.get_running_loop().time

    async def tell() -> None:
        """Look and show, until it is cancelled."""
        while True:
            await sleep(every)
            now = clock()
            standing = watch.look(now)
            for display in displays:
                await display.show(now, standing)

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Cadence:
    """When it is time for the next line: after `first` seconds, then each `every` seconds."""

    def __init__(self, first: float, every: float) -> None:
        self._first, self._every = first, every
        self._next: float | None = None

    def due(self, now: float) -> bool:
        """Whether it is; asked for the first time at the start."""
        if self._next is None:
            self._next = now + self._first
        if now < self._next:
            return False
        self._next = now + self._every
        return True


class News:
    """Which pauses are worth a line of their own: those of some seconds, not each of a long row of them."""

    def __init__(self, least: float = 3.0, apart: float = 30.0) -> None:
        self._least, self._apart = least, apart
        self._told: dict[str, float] = {}

    def of(self, now: float, pauses: Sequence[Pause]) -> list[Pause]:
        """Those that are news."""
        news = []
        for pause in pauses:
            told = self._told.get(pause.endpoint)
            until = now + pause.seconds
            if pause.seconds >= self._least and (told is None or until > told + self._apart):
                self._told[pause.endpoint] = until
                news.append(pause)
        return news


def _pauses(waiting: "Sequence[Waiting]", now: float) -> tuple[Pause, ...]:
    left = ((each, each.until - now) for each in waiting)
    return tuple(Pause(each.endpoint, each.why, seconds) for each, seconds in left if seconds > 0)


def clock(seconds: float) -> str:
    """A time in words: `0:07`, `3:16`, `1:02:03`, `2 d 3 h`."""
    whole = int(seconds + 0.5)
    if whole >= 86400:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def short(number: int) -> str:
    """A number that may be large: `9,999`, `12.3k`, `4.56M`."""
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1e3:.1f}k" if number < 999_950 else f"{number / 1e6:.2f}M"
