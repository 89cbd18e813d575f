"""The service of the simulated world: it counts, answers, bills each answer it generates, and loses some."""

import asyncio
import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from fractions import Fraction
from typing import Any

import httpx

from pipeline.catalogue import Price
from tests.answers import error, generated, retry_info
from tests.simulation.scene import FREE_FAULTS, LOST, Fault, Paper, Scene

#: The moment at which the world begins, in seconds since 1970.
EPOCH = 1_800_000_000.0
MILLION = 1_000_000


@dataclass
class Books:
    """What the service has seen, over all processes of a run; money in dollars, exact."""

    bill: Fraction = Fraction(0)
    requests: int = 0
    calm: int = 0
    refused: int = 0
    crowded: int = 0
    generated: Counter["Asked"] = field(default_factory=Counter)
    lost: Counter[int] = field(default_factory=Counter)
    uncertain: int = 0


class Service(httpx.AsyncBaseTransport):
    """Gemini as a transport of httpx, on the loop's clock.

    Args:
        scene: what a seed decides.
        note: hears of every event.
        billed: hears of the bill, each time it has grown.

    """

    def __init__(
        self, scene: Scene, note: Callable[..., None], billed: Callable[[Fraction], None]
    ) -> None:
        self.scene = scene
        self.books = Books()
        self.flying = 0
        self.dead = False
        self._note = note
        self._billed = billed
        self._papers = {paper.number: paper for paper in scene.papers}
        self._rng = scene.rng("service")
        self._arrivals: deque[float] = deque()
        self._bucket = (10.0, 0.0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, from the connection to the last byte."""
        self.flying += 1
        try:
            return await self._handle(request)
        finally:
            self.flying -= 1

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        await self._pass(self._rng.uniform(0.001, 0.05))
        weather = self.scene.weather(_now())
        fault = self._fault()
        if weather in {"dns", "refused"} or fault == "dns":
            self._note("unreachable")
            raise httpx.ConnectError("Name or service not known")
        if weather == "reset" or fault == "reset_before":
            self._note("reset before")
            raise httpx.ReadError("reset by peer")
        if fault == "reset_upload":
            assert isinstance(request.stream, httpx.AsyncByteStream)
            await anext(aiter(request.stream))
            self._note("reset while sending")
            raise httpx.WriteError("reset by peer")
        body = json.loads(await request.aread())
        asked = Asked.of(body)
        self._arrive(asked.number, weather is None)
        times = request.extensions["timeout"]
        if weather == "silent":
            # It hangs before it does anything: nothing is generated, and nobody can know that.
            self.books.uncertain += 1
            await self._pass(times["read"])
            raise httpx.ReadTimeout("nothing came")
        if refusal := self._refusal(str(weather or fault or "")):
            return refusal
        return await self._generated(asked, fault if fault in LOST else None, times["read"])

    async def _pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.dead:
            raise httpx.ConnectError("the world is gone")

    def _fault(self) -> Fault | None:
        if self._rng.random() >= self.scene.faults:
            return None
        return self._rng.choice(LOST if self._rng.random() < self.scene.lost else FREE_FAULTS)

    # quotas and refusals --------------------------------------------------------------------

    def _arrive(self, number: int, calm: bool) -> None:
        self.books.requests += 1
        self.books.calm += calm
        self._note("request", number)
        self._arrivals.append(_now())
        while self._arrivals[0] <= _now() - 60:
            self._arrivals.popleft()
        self.books.crowded = max(self.books.crowded, len(self._arrivals))

    def _full(self) -> bool:
        """Whether this request is one too many, by the service's own way of counting."""
        quota = self.scene.quota
        if self.scene.form == "bucket":
            left, then = self._bucket
            left = min(10.0, left + (_now() - then) * quota / 60)
            self._bucket = (left - (left >= 1), _now())
            return left < 1
        since = _now() - 60 if self.scene.form == "window" else _now() // 60 * 60
        return sum(at > since for at in self._arrivals) > quota

    def _refusal(self, what: str) -> httpx.Response | None:
        delay = f"{self._rng.uniform(1, 12):.3f}s"
        until = EPOCH + _now() + self._rng.randint(1, 12)
        gateway: Any = "<html><title>502 Bad Gateway</title></html>"
        if self._full():
            what = "full"
        told: dict[str, tuple[int, Any, dict[str, str]]] = {
            "full": (429, error(429, "quota", retry_info(delay)).body, {}),
            "429": (429, error(429, "slow down").body, {}),
            "wait": (429, error(429, "slow down", retry_info(delay)).body, {}),
            "date": (429, error(429, "slow down").body, {"retry-after": _date(until)}),
            "503": (503, error(503, "overloaded").body, {}),
            "500": (500, error(500, "internal").body, {}),
            "502": (502, gateway, {}),
        }
        if what not in told:
            return None
        status, body, headers = told[what]
        self.books.refused += what == "full"
        self.books.uncertain += status == 502
        self._note("refused", what)
        content = body if isinstance(body, str) else json.dumps(body)
        return httpx.Response(
            status, headers={"date": _date(EPOCH + _now()), **headers}, content=content
        )

    # answers --------------------------------------------------------------------------------

    async def _generated(self, asked: "Asked", fault: Fault | None, read: float) -> httpx.Response:
        paper = self._papers[asked.number]
        body, cost, counted = self._answer(asked, paper)
        self.books.bill += cost
        self.books.generated[asked] += 1
        self.books.lost[asked.number] += fault is not None
        self.books.uncertain += fault is not None or not counted
        self._note("billed", asked.number, cost, fault)
        self._billed(self.books.bill)
        latency = self.scene.latency * self._rng.uniform(0.5, 2.0) ** 2
        await self._pass(read if fault == "hang" else min(latency, read))
        if fault == "hang":
            raise httpx.ReadTimeout("nothing came")
        if fault == "reset_after":
            raise httpx.ReadError("reset by peer")
        if fault == "garbage":
            return httpx.Response(200, content=b"<html>welcome to this wireless network</html>")
        if fault == "cut":
            return httpx.Response(200, content=body[: len(body) // 2])
        headers = {"content-length": str(len(body)), "content-type": "application/json"}
        return httpx.Response(200, headers=headers, stream=_Body(body, fault, self._pass))

    def _answer(self, asked: "Asked", paper: Paper) -> tuple[bytes, Fraction, bool]:
        """The body, what it costs, and whether it says what it took."""
        rng = self._rng
        most = asked.output
        taken = {
            "promptTokenCount": rng.choice((asked.input, rng.randint(1, asked.input))),
            "candidatesTokenCount": rng.choice((most, rng.randint(1, most), 0)),
        }
        if rng.random() < 0.3:
            taken["thoughtsTokenCount"] = most - taken["candidatesTokenCount"]
        if rng.random() < 0.3:
            taken["cachedContentTokenCount"] = rng.randint(0, taken["promptTokenCount"])
        tier = self.scene.tier or "standard"
        usage: dict[str, Any] = dict(taken)
        if rng.random() < 0.5:
            # A priority request may be served as a standard one, which the answer then says.
            tier = "standard" if tier == "priority" and rng.random() < 0.5 else tier
            usage["serviceTier"] = tier.upper()
        cost = _cost(self.scene.price, taken, tier)
        counted = rng.random() < 0.95
        data: dict[str, Any] = {"number": f"R-{paper.number:04}", "total": paper.number + 0.5}
        if paper.kind == "invalid":
            # Each answer to a further question is wrong in a way of its own, so that no question is asked twice.
            data = {"f1": asked.said} if asked.is_mending else data | {"total": "much"}
        made = generated(data, usage=usage if counted else {"totalTokenCount": 1}).body
        if paper.kind == "refused":
            made["candidates"] = []
            made["promptFeedback"] = {"blockReason": "SAFETY"}
        if paper.kind == "truncated":
            made["candidates"][0]["finishReason"] = "MAX_TOKENS"
        known = (
            "cachedContentTokenCount" not in taken
            or self.scene.price.rates[tier].cached is not None
        )
        return json.dumps(made).encode(), cost, counted and known


@dataclass(frozen=True)
class Asked:
    """A request as far as it matters here: which receipt, what is said, the most tokens of input and output."""

    number: int
    said: str
    is_mending: bool
    input: int
    output: int

    @classmethod
    def of(cls, body: dict[str, Any]) -> "Asked":
        config = body["generationConfig"]
        texts = [part["text"] for turn in body["contents"] for part in turn["parts"]]
        texts += [part["text"] for part in body["systemInstruction"]["parts"]]
        texts.append(json.dumps(config.get("responseJsonSchema", ""), separators=(",", ":")))
        found = re.search(r"Receipt No: R-(\d{4})", "\n".join(texts))
        assert found, texts
        size = sum(len(text.encode()) for text in texts)
        said = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        mends = "f1" in config.get("responseJsonSchema", {}).get("properties", {})
        return cls(int(found[1]), said, mends, size, config["maxOutputTokens"])


class _Body(httpx.AsyncByteStream):
    """A body in two pieces; what happens between them is the fault."""

    def __init__(self, body: bytes, fault: Fault | None, wait: Callable[[float], Any]) -> None:
        self._body, self._fault, self._wait = body, fault, wait

    async def __aiter__(self) -> AsyncIterator[bytes]:
        middle = len(self._body) // 2
        yield self._body[:middle]
        if self._fault == "half":
            raise httpx.ReadError("reset by peer")
        if self._fault == "length":
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body"
            )
        if self._fault == "drip":
            for place in range(middle, len(self._body)):
                await self._wait(30.0)
                yield self._body[place : place + 1]
            return
        await self._wait(0.001)
        yield self._body[middle:]


def _cost(price: Price, taken: dict[str, int], tier: str) -> Fraction:
    """What tokens cost, by the service's own reckoning."""
    read, cached = taken["promptTokenCount"], taken.get("cachedContentTokenCount", 0)
    long = price.long_above is not None and read > price.long_above
    rates = (price.long if long else price.rates)[tier]
    old = Fraction(rates.input if rates.cached is None else rates.cached)
    written = taken["candidatesTokenCount"] + taken.get("thoughtsTokenCount", 0)
    total = (
        (read - cached) * Fraction(rates.input) + cached * old + written * Fraction(rates.output)
    )
    return total / MILLION


def _now() -> float:
    return asyncio.get_running_loop().time()


def _date(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)
