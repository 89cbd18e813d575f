"""How services count a quota: a bucket that fills, fixed minutes, sliding minutes; a service on a virtual clock, and a gate to it."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from pipeline.errors import FieldsiftError, Transient
from pipeline.limits import Gate, Purse
from pipeline.providers import Endpoint, Rates, Reply, Request, Settings, Shown, Usage
from tests.answers import Answer, Seen, error, quota, retry_info

REQUEST = Request("gemini", "m", "", (), None, Settings(max_output_tokens=100))


class Quota(Protocol):
    """One quota of a minute."""

    def room(self, now: float, amount: int) -> float:
        """Seconds until an amount would be let in; 0: now."""
        ...

    def enter(self, now: float, amount: int) -> None:
        """Let it in."""
        ...


class Bucket:
    """Fills evenly, and holds one second's worth or as much as is said."""

    def __init__(self, limit: int, size: float | None = None) -> None:
        self.rate = limit / 60
        self.size = self.rate if size is None else size
        self.level, self.at = self.size, 0.0

    def room(self, now: float, amount: int) -> float:
        self.level = min(self.size, self.level + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, (min(amount, self.size) - self.level) / self.rate)

    def enter(self, now: float, amount: int) -> None:
        self.level -= amount


class FixedMinute:
    """Counts from one full minute to the next."""

    def __init__(self, limit: int) -> None:
        self.limit, self.minute, self.used = limit, -1.0, 0

    def room(self, now: float, amount: int) -> float:
        if now // 60 != self.minute:
            self.minute, self.used = now // 60, 0
        fits = self.used + min(amount, self.limit) <= self.limit
        return 0.0 if fits else (self.minute + 1) * 60 - now

    def enter(self, now: float, amount: int) -> None:
        self.used += amount


class SlidingMinute:
    """Counts the last sixty seconds at every moment."""

    def __init__(self, limit: int) -> None:
        self.limit, self.taken = limit, deque[tuple[float, int]]()

    def room(self, now: float, amount: int) -> float:
        while self.taken and self.taken[0][0] <= now - 60:
            self.taken.popleft()
        left = sum(amount for _, amount in self.taken) + min(amount, self.limit) - self.limit
        for at, taken in self.taken:
            if left <= 0:
                break
            left -= taken
            if left <= 0:
                return max(at + 60 - now, 1e-3)
        return 0.0

    def enter(self, now: float, amount: int) -> None:
        self.taken.append((now, amount))


KINDS: Mapping[str, Callable[[int], Quota]] = {
    "bucket": Bucket,
    "fixed": FixedMinute,
    "sliding": SlidingMinute,
}


def refusing(
    requests: Quota | None, tokens: Quota | None, answer: Callable[[Seen], Answer]
) -> Callable[[Seen], Answer]:
    """A reply of the test server that keeps quotas, and refuses as Gemini does, with RetryInfo."""
    ids = {
        "requests": "GenerateRequestsPerMinutePerProjectPerModel",
        "tokens": "GenerateContentInputTokensPerModelPerMinute-PaidTier1",
    }

    def reply(seen: Seen) -> Answer:
        answered, now = answer(seen), time.monotonic()
        if answered.status != 200:
            return answered
        amounts = {"requests": 1, "tokens": answered.body["usageMetadata"]["promptTokenCount"]}
        kept = {"requests": requests, "tokens": tokens}
        waits = {name: q.room(now, amounts[name]) for name, q in kept.items() if q is not None}
        name = max(waits, key=lambda name: waits[name])
        if waits[name] > 0:
            told = f"You exceeded your current quota. Please retry in {waits[name]:.3f}s."
            return error(429, told, quota(ids[name]), retry_info(f"{waits[name]:.3f}s"))
        for name, each in kept.items():
            if each is not None:
                each.enter(now, amounts[name])
        return answered

    return reply


class Books:
    """A ledger without a thread: on a virtual clock nothing may happen outside of the loop."""

    def __init__(self, *earlier: tuple[float, int, int]) -> None:
        self.earlier = list(earlier)
        self.calls: dict[int, list[Any]] = {}

    def spent(self) -> int:
        return sum(cost or 0 for cost, *_ in self.calls.values())

    def recent(self, endpoint: str, since: float) -> list[tuple[float, int, int]]:
        return [call for call in self.earlier if call[0] > since]

    async def reserve_all(
        self,
        claims: Sequence[tuple[str, int, int | None, int]],
        run: int,
        endpoint: str,
        buyers: Sequence[tuple[str, str]] = (),
    ) -> list[int]:
        first = len(self.calls) + 1
        for number, (_, _, amount, tokens) in enumerate(claims, first):
            self.calls[number] = [amount, "sent", tokens]
        return [*range(first, first + len(claims))]

    async def book_all(
        self, costs: Sequence[tuple[int, int | None, int | None]], state: str
    ) -> None:
        for call, cost, tokens in costs:
            noted = self.calls[call][2] if tokens is None else tokens
            self.calls[call] = [cost, state, noted]


class QuotaService:
    """A Provider that answers after `latency` seconds and refuses what passes a quota, as the service would.

    `took` gives the input tokens of a request; `tells` says whether a refusal tells how long to wait.
    """

    name, stored, reads_images = "gemini", True, True

    def __init__(
        self,
        requests: Quota | None = None,
        tokens: Quota | None = None,
        *,
        latency: float = 0.2,
        tells: bool = True,
        took: Callable[[Request], int] = lambda _: 1000,
        most: Callable[[int], int] = lambda tokens: 4 * tokens,
    ) -> None:
        self.quotas = {"requests": requests, "tokens": tokens}
        self.latency, self.tells, self.took, self.most = latency, tells, took, most
        self.let_in: list[tuple[float, int]] = []
        self.refused: list[float] = []
        self.storm: Callable[[float], FieldsiftError | None] = lambda _: None

    async def send(self, request: Request) -> bytes:
        now, tokens = asyncio.get_running_loop().time(), self.took(request)
        amounts = {"requests": 1, "tokens": tokens}
        failure = self.storm(now)
        waits = {
            name: quota.room(now, amounts[name]) for name, quota in self.quotas.items() if quota
        }
        name = max(waits, key=lambda name: waits[name], default="")
        if failure is None and name and waits[name] > 0:
            wait = waits[name] if self.tells else None
            failure = Transient("http_429", f"too many {name}", wait=wait, quota=name)
        if failure is None:
            for name, quota in self.quotas.items():
                if quota:
                    quota.enter(now, amounts[name])
            self.let_in.append((now, tokens))
        else:
            self.refused.append(now)
        await asyncio.sleep(self.latency)
        if failure is not None:
            raise failure
        return b"%d" % tokens

    def ceiling(self, request: Request) -> Usage:
        return Usage(input=self.most(self.took(request)), output=100)

    def read(self, body: bytes) -> Reply:
        return Reply("{}", usage=Usage(input=int(body), output=10))

    def dialect(self, schema: object, level: str = "full") -> Mapping[str, Any] | None:
        return None

    def shown(self, request: Request) -> Shown:
        return Shown("POST", "http://127.0.0.1", {}, {})

    def restore(self, data: Any, request: Request) -> Any:
        return data

    async def aclose(self) -> None:
        pass


def gate_to(
    service: QuotaService, rates: Rates, *, concurrency: int = 64, books: Books | None = None
) -> Gate:
    ledger: Any = books or Books()
    endpoint = Endpoint("gemini", "m", key="k", rates=rates)
    gate = Gate(service, endpoint, Purse(ledger, None), price=None, concurrency=concurrency)
    gate.dice = random.Random(7)
    return gate


async def ask(gate: Gate, requests: Iterable[Request]) -> list[Any]:
    """All of them, as a run's workers would; what came, or the error."""
    todo = iter(requests)
    outcomes: list[Any] = []

    async def worker() -> None:
        for request in todo:
            try:
                sent = await gate.send(request, 1, 1)
                await gate.book(sent, gate.provider.read(sent.body).usage)
                outcomes.append(sent)
            except Exception as error:  # noqa: BLE001, the tests look at it
                outcomes.append(error)

    await asyncio.gather(*(worker() for _ in range(gate.flight.bound)))
    return outcomes


def numbered(count: int) -> list[Request]:
    return [replace(REQUEST, system=str(number)) for number in range(count)]
