"""The answer to one request: a stored one, or one that is stored before anybody looks at it."""

import asyncio
from weakref import WeakValueDictionary

from pipeline.asking.buying import Buyer
from pipeline.asking.packs import Packs
from pipeline.asking.telling import Answer, UnusableError, Whose, told, unread
from pipeline.errors import NotRecorded, ReplyError
from pipeline.ledger import Replies, nearest
from pipeline.limits import Gate
from pipeline.providers import Reply, Request
from pipeline.results import Attempt

#: How many unrecorded requests of a run are compared with what is stored: each reads all of it.
_COMPARED = 10


class Asker:
    """Asks, once for equal requests; everything that is known of answers passes here.

    `stored` counts answers that were there already, `bought` those that were bought in this run.
    """

    def __init__(self, replies: Replies, *, offline: bool) -> None:
        self.replies = replies
        self.offline = offline
        self.stored = 0
        self.bought = Buyer(replies)
        self._missed = 0
        self._packs = Packs(self.bought)
        self._asking: dict[tuple[str, int], asyncio.Future[bytes]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ask(self, gate: Gate, request: Request, whose: Whose | None = None) -> Answer:
        """The answer, read, and what it took: with what packs took before it that did not answer it.

        A stored one tells what it cost where it was bought for the same document and stage, else 0.

        Raises:
            UnusableError: it can't be read, and was paid for.
            BudgetReached, ReplyError, NotRecorded, SetupError: see Gate.send.

        """
        if not gate.provider.stored:
            return _one(told(gate, await gate.provider.send(request), 0, stored=False))
        whose = whose or Whose()
        key, canonical, take = request.key(), request.canonical(), whose.take
        if (body := self.replies.get(key, take, whose.since, canonical)) is not None:
            await self.replies.note(key, take, canonical, body)
            return self._stored(gate, body, key, whose)
        if self.offline:
            raise NotRecorded(self._what_differs(request))
        asking = self._asking.get((key, take))
        if asking is not None and not asking.done():
            # The same question is on its way: one answer serves both.
            return self._stored(gate, await asyncio.shield(asking), key, whose)
        kept = self._asking[key, take] = asyncio.get_running_loop().create_future()
        kept.add_done_callback(lambda done: self._is_over((key, take), done))
        return await self._packs.join(gate, request, whose, kept)

    def _is_over(self, question: tuple[str, int], done: "asyncio.Future[bytes]") -> None:
        if self._asking.get(question) is done:
            del self._asking[question]

    def alone(self, key: str) -> asyncio.Lock:
        """What one holds who makes what is kept under a key: it is made once."""
        return self._locks.setdefault(key, asyncio.Lock())

    def has(self, request: Request, since: int = 0, take: int = 1) -> bool:
        """Whether the answer is there already."""
        return self.replies.get(request.key(), take, since, request.canonical()) is not None

    def _stored(self, gate: Gate, body: bytes, key: str, whose: Whose) -> Answer:
        """An answer that is there already, with what it cost its document, told once."""
        self.stored += 1
        cost: int | None = 0
        place = (whose.document, whose.stage)
        bought = gate.purse.ledger.bought(place, key, whose.take, whose.since)
        if bought is not None and bought[0] not in whose.told:
            whose.told.add(bought[0])
            cost = bought[1]
        try:
            return _one(told(gate, body, cost, stored=True))
        except ReplyError as error:
            raise UnusableError(error, unread(gate, cost, stored=True)) from error

    def _what_differs(self, request: Request) -> str:
        self._missed += 1
        if self._missed > _COMPARED:
            return (
                "nothing may be sent, and no answer is stored; see the first ones for what differs"
            )
        return f"nothing may be sent, and no answer is stored: {nearest(self.replies, request.canonical())}"


def _one(answer: tuple[Reply, Attempt]) -> Answer:
    return answer[0], (answer[1],)
