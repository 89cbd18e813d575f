"""The answer to one request: a stored one, or one that is stored before anybody looks at it."""

import asyncio
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


class Asker:
    """Asks, once for equal requests; everything that is known of answers passes here.

    `sent` counts answers that were bought in this run, `stored` those that were there already.
    """

    def __init__(self, replies: Replies, *, offline: bool) -> None:
        self.replies = replies
        self.offline = offline
        self.run = 0
        self.sent = 0
        self.stored = 0
        self._missed = 0
        self._asking: dict[tuple[str, int], asyncio.Future[bytes]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ask(
        self, gate: Gate, request: Request, *, take: int = 1, since: int = 0
    ) -> tuple[Reply, Attempt]:
        """The answer, read, and what it took; answers of runs before `since` don't count.

        Raises:
            UnusableError: it can't be read, and was paid for.
            BudgetReached, ReplyError, NotRecorded, SetupError: see Gate.send.

        """
        if not gate.provider.stored:
            return _read(gate, await gate.provider.send(request), 0, stored=False)
        key, canonical = request.key(), request.canonical()
        if (body := self.replies.get(key, take, since, canonical)) is not None:
            self.stored += 1
            self.replies.note(key, take, canonical, body)
            return _read(gate, body, 0, stored=True)
        if self.offline:
            raise NotRecorded(self._what_differs(request))
        if (key, take) in self._asking:  # the same question is on its way: one answer serves both
            body = await asyncio.shield(self._asking[key, take])
            self.stored += 1
            return _read(gate, body, 0, stored=True)
        future = self._asking[key, take] = asyncio.get_running_loop().create_future()
        try:
            return await self._buy(gate, request, take, future)
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

    def has(self, request: Request, since: int = 0) -> bool:
        """Whether the answer is there already."""
        return self.replies.get(request.key(), 1, since, request.canonical()) is not None

    async def _buy(
        self, gate: Gate, request: Request, take: int, future: "asyncio.Future[bytes]"
    ) -> tuple[Reply, Attempt]:
        sent = await gate.send(request, take, self.run)
        try:
            await self.replies.keep(request.key(), take, self.run, request.canonical(), sent.body)
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
            price = None if sent.claimed is None else Decimal(dollars(sent.claimed))
            paid = Attempt(gate.endpoint.model, gate.endpoint.name, {}, price)
            raise UnusableError(error, paid) from error
        return _read(gate, sent.body, await gate.book(sent, usage), stored=False)

    def _what_differs(self, request: Request) -> str:
        self._missed += 1
        if self._missed > _COMPARED:
            return (
                "nothing may be sent, and no answer is stored; see the first ones for what differs"
            )
        return f"nothing may be sent, and no answer is stored: {nearest(self.replies, request.canonical())}"


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
