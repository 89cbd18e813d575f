"""Buys answers: each is on disk before anybody looks at it, and booked on the call that it was reserved for."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from pipeline.asking.packing import divided, packed, shares, size_of
from pipeline.asking.telling import Answer, Member, UnusableError, Whose, attempt, told, unread
from pipeline.errors import ReplyError
from pipeline.ledger import Replies
from pipeline.limits import Claim, Gate, Sent
from pipeline.providers import Reply, Request
from pipeline.results import Attempt

if TYPE_CHECKING:
    import asyncio

    from pipeline.providers import Divides


class Buyer:
    """Sends, stores and books the requests of one run, its number being `run`.

    `sent` counts answers that were bought, `requests` those that were sent for them and answered, `paid` are their dollars (None: one has no known price), `tokens` what they took.
    """

    def __init__(self, replies: Replies) -> None:
        self.replies = replies
        self.run = 0
        self.sent = 0
        self.requests = 0
        self.paid: Decimal | None = Decimal(0)
        self.tokens = 0

    async def single(
        self, gate: Gate, request: Request, whose: Whose, kept: "asyncio.Future[bytes]"
    ) -> Answer:
        """Buy the answer to one request; `kept` hears of it once it is on disk.

        Raises:
            UnusableError: it can't be read, and was paid for.
            BudgetReached, ReplyError, SetupError: see Gate.send.

        """
        key, take = request.key(), whose.take
        sent = await gate.send(request, take, self.run)
        self.requests += 1
        whose.told.add(sent.call)
        try:
            await self.replies.keep(key, take, self.run, request.canonical(), sent.body)
            await gate.purse.ledger.note_buyer(sent.call, whose.document, whose.stage)
            self.sent += 1
            kept.set_result(sent.body)
            return await self._booked(gate, sent)
        finally:
            gate.landed(sent)

    async def _booked(self, gate: Gate, sent: Sent) -> Answer:
        try:
            usage = gate.provider.read(sent.body).usage
        except ReplyError as error:  # paid, whatever it is: booked at what was reserved
            await gate.book_reserve(sent)
            raise UnusableError(error, self._count(unread(gate, sent.claimed))) from error
        reply, took = told(gate, sent.body, await gate.book(sent, usage), stored=False)
        return reply, (self._count(took),)

    def _count(self, took: Attempt) -> Attempt:
        cost = took.cost_usd
        self.paid = None if cost is None or self.paid is None else self.paid + cost
        self.tokens += took.took
        return took

    async def together(self, gate: Gate, members: Sequence[Member]) -> list[Member]:
        """Buy the answers to several requests with one; those that it did not answer, told what that took.

        Each answer is stored under the key of its own request, all of them at once, before anybody looks at one.

        Raises:
            BudgetReached, ReplyError, SetupError: see Gate.send; nothing was paid.

        """
        pack = packed([each.request for each in members], gate)
        claims = [
            Claim(m.request.key(), w.take, size_of(m.item), (w.document, w.stage))
            for m in members
            for w in (m.whose,)
        ]
        sent = await gate.send(pack.request, members[0].whose.take, self.run, claims)
        self.requests += 1
        try:
            for each, (number, _) in zip(members, sent.calls, strict=True):
                each.whose.told.add(number)
            try:
                reply = gate.provider.read(sent.body)
            except ReplyError:
                await gate.book_reserve(sent)
                for each, (_, claimed) in zip(members, sent.calls, strict=True):
                    each.took(self._count(unread(gate, claimed)))
                return list(members)
            return await self._divided(gate, members, pack.keys, reply, sent)
        finally:
            gate.landed(sent)

    async def _divided(
        self, gate: Gate, members: Sequence[Member], keys: Sequence[str], reply: Reply, sent: Sent
    ) -> list[Member]:
        """Store, book and tell what an answer says of each; those of which it says nothing."""
        provider = cast("Divides", gate.provider)  # else it would not have been asked so
        found = {} if reply.finish == "refused" else divided(reply.text, keys)
        texts = [found.get(key) for key in keys]
        usages = shares(reply.usage, [size_of(m.item) for m in members], _written(reply, texts))
        bodies = [
            None if text is None else provider.composed(reply, text, usage)
            for text, usage in zip(texts, usages, strict=True)
        ]
        answers = [
            (m.request.key(), m.whose.take, m.request.canonical(), body)
            for m, body in zip(members, bodies, strict=True)
            if body is not None
        ]
        await self.replies.keep_all(answers, self.run)
        costs = await gate.book_shares(sent, reply.usage, usages)
        for each, body, usage, cost in zip(members, bodies, usages, costs, strict=True):
            took = self._count(attempt(gate, reply, usage, cost))
            if body is None:
                each.took(took)
            else:
                self.sent += 1
                each.answered(body, told(gate, body, cost, stored=False))
        return [each for each, body in zip(members, bodies, strict=True) if body is None]


def _written(reply: Reply, texts: Sequence[str | None]) -> list[int]:
    """How much of an answer's text is about each: its own part, or a share of what is no answer to any."""
    known = [0 if text is None else len(text) for text in texts]
    missing = sum(text is None for text in texts)
    rest = max(0, len(reply.text) - sum(known)) // max(1, missing)
    return [rest if text is None else length for text, length in zip(texts, known, strict=True)]
