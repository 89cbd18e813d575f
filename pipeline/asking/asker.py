"""The answer to one request: a stored one, or one that is stored before anybody looks at it."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from weakref import WeakValueDictionary

from pipeline.errors import NotRecorded, ReplyError
from pipeline.ledger import Replies, nearest
from pipeline.limits import Gate, Sent, dollars
from pipeline.providers import Reply, Request, Usage
from pipeline.results import Attempt

#: How many unrecorded requests of a run are compared with what is stored: each reads all of it.
_COMPARED = 10
#: What an input can be made of; a service's further words are no keys of ours.
_KINDS = ("text", "image", "audio", "video", "document")


class UnusableError(ReplyError):
    """Answers that were paid for and can't be used; `attempts` say what they cost."""

    def __init__(self, error: ReplyError, *attempts: Attempt) -> None:
        super().__init__(error.reason, str(error))
        self.attempts = attempts


@dataclass(frozen=True, slots=True)
class Whose:
    """Which answer counts, the `take`-th of runs from `since` on; and for which document and stage it is bought.

    `told` are the numbers of the calls whose cost one Result tells already.
    """

    document: str = ""
    stage: str = ""
    since: int = 0
    take: int = 1
    told: set[int] = field(default_factory=set)


class Asker:
    """Asks, once for equal requests; everything that is known of answers passes here.

    `sent` counts answers that were bought in this run, `stored` those that were there already. `paid` are the
    dollars of those that were bought (None: one has no known price), `tokens` what they took.
    """

    def __init__(self, replies: Replies, *, offline: bool) -> None:
        self.replies = replies
        self.offline = offline
        self.run = 0
        self.sent = 0
        self.stored = 0
        self.paid: Decimal | None = Decimal(0)
        self.tokens = 0
        self._missed = 0
        self._asking: dict[tuple[str, int], asyncio.Future[bytes]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ask(
        self, gate: Gate, request: Request, whose: Whose | None = None
    ) -> tuple[Reply, Attempt]:
        """The answer, read, and what it took.

        A stored one tells what it cost where it was bought for the same document and stage, else 0.

        Raises:
            UnusableError: it can't be read, and was paid for.
            BudgetReached, ReplyError, NotRecorded, SetupError: see Gate.send.

        """
        if not gate.provider.stored:
            return _read(gate, await gate.provider.send(request), 0, stored=False)
        whose = whose or Whose()
        key, canonical, take = request.key(), request.canonical(), whose.take
        if (body := self.replies.get(key, take, whose.since, canonical)) is not None:
            self.replies.note(key, take, canonical, body)
            return self._stored(gate, body, key, whose)
        if self.offline:
            raise NotRecorded(self._what_differs(request))
        if (key, take) in self._asking:  # the same question is on its way: one answer serves both
            body = await asyncio.shield(self._asking[key, take])
            return self._stored(gate, body, key, whose)
        future = self._asking[key, take] = asyncio.get_running_loop().create_future()
        try:
            return await self._buy(gate, request, whose, future)
        except BaseException as error:
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody else may be waiting
            raise
        finally:
            del self._asking[key, take]

    def alone(self, key: str) -> asyncio.Lock:
        """What one holds who makes what is kept under a key: it is made once."""
        return self._locks.setdefault(key, asyncio.Lock())

    def has(self, request: Request, since: int = 0, take: int = 1) -> bool:
        """Whether the answer is there already."""
        return self.replies.get(request.key(), take, since, request.canonical()) is not None

    def _stored(self, gate: Gate, body: bytes, key: str, whose: Whose) -> tuple[Reply, Attempt]:
        """An answer that is there already, with what it cost its document, told once."""
        self.stored += 1
        cost: int | None = 0
        place = (whose.document, whose.stage)
        bought = gate.purse.ledger.bought(place, key, whose.take, whose.since)
        if bought is not None and bought[0] not in whose.told:
            whose.told.add(bought[0])
            cost = bought[1]
        try:
            return _read(gate, body, cost, stored=True)
        except ReplyError as error:
            raise UnusableError(error, _unread(gate, cost, stored=True)) from error

    async def _buy(
        self, gate: Gate, request: Request, whose: Whose, future: "asyncio.Future[bytes]"
    ) -> tuple[Reply, Attempt]:
        key, take = request.key(), whose.take
        sent = await gate.send(request, take, self.run)
        whose.told.add(sent.call)
        try:
            await self.replies.keep(key, take, self.run, request.canonical(), sent.body)
            await gate.purse.ledger.note_buyer(sent.call, whose.document, whose.stage)
            self.sent += 1
            future.set_result(sent.body)
            return await self._booked(gate, sent)
        finally:
            gate.landed(sent)

    async def _booked(self, gate: Gate, sent: Sent) -> tuple[Reply, Attempt]:
        try:
            usage = gate.provider.read(sent.body).usage
        except ReplyError as error:  # paid, whatever it is: booked at what was reserved
            await gate.book_reserve(sent)
            raise UnusableError(error, self._count(_unread(gate, sent.claimed))) from error
        reply, attempt = _read(gate, sent.body, await gate.book(sent, usage), stored=False)
        return reply, self._count(attempt)

    def _count(self, attempt: Attempt) -> Attempt:
        cost = attempt.cost_usd
        self.paid = None if cost is None or self.paid is None else self.paid + cost
        self.tokens += attempt.took
        return attempt

    def _what_differs(self, request: Request) -> str:
        self._missed += 1
        if self._missed > _COMPARED:
            return (
                "nothing may be sent, and no answer is stored; see the first ones for what differs"
            )
        return f"nothing may be sent, and no answer is stored: {nearest(self.replies, request.canonical())}"


def _unread(gate: Gate, cost: int | None, *, stored: bool = False) -> Attempt:
    price = None if cost is None else Decimal(dollars(cost))
    return Attempt(gate.endpoint.model, gate.endpoint.name, {}, price, stored=stored)


def _read(gate: Gate, body: bytes, cost: int | None, *, stored: bool) -> tuple[Reply, Attempt]:
    reply = gate.provider.read(body)
    attempt = Attempt(
        model=reply.model or gate.endpoint.model,
        endpoint=gate.endpoint.name,
        tokens=_tokens(reply.usage) if reply.usage.is_counted else {},
        cost_usd=None if cost is None else Decimal(dollars(cost)),
        stored=stored,
        response_id=reply.response_id or None,
    )
    return reply, attempt


def _tokens(usage: Usage) -> dict[str, int]:
    """Tokens by kind, as `Attempt` tells them."""
    made_of = dict(usage.by_modality)
    rare = {"tool": usage.tool, "audio": usage.audio}
    rare |= {f"input_{kind}": made_of.get(kind, 0) for kind in _KINDS}
    return {
        "input": usage.input,
        "cached": usage.cached,
        "output": usage.output,
        "thoughts": usage.thoughts,
    } | {kind: count for kind, count in rare.items() if count}
