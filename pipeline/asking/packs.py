"""Collects requests that are alike into packs, sends each once, and asks again in halves what it did not answer."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pipeline.asking.buying import Buyer
from pipeline.asking.packing import Load, alike, may_share, requests_of, shared
from pipeline.asking.telling import Answer, Member, Whose, fail
from pipeline.errors import BudgetReached, GaveUp, ReplyError
from pipeline.limits import Gate
from pipeline.limits.retries import DOWN
from pipeline.providers import Request

#: Seconds that a pack waits for another document, and those that it waits in all: what waits for answers comes in
#: bursts, one for each answer that came.
LINGER: Final = 0.05
_LONGEST: Final = 1.0
#: After so many packs of which nothing came, and none before of which anything did, their kind goes one by one.
_FRUITLESS: Final = 4
_NEVER: Final = -(2**62)


@dataclass(slots=True, eq=False)
class _Open:
    """A pack that still collects (`task` None), or is on its way."""

    gate: Gate
    kind: tuple[int, str]
    shared: int
    since: float
    load: Load = field(default_factory=Load)
    members: list[Member] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    task: "asyncio.Task[None] | None" = None


class Packs:
    """The packs of one run."""

    def __init__(self, buyer: Buyer) -> None:
        self._buyer = buyer
        self._open: dict[tuple[int, str], _Open] = {}
        self._fruitless: Counter[tuple[int, str]] = Counter()

    async def join(
        self, gate: Gate, request: Request, whose: Whose, kept: "asyncio.Future[bytes]"
    ) -> Answer:
        """The answer to a request that may share one with others that are on their way here.

        Raises:
            UnusableError, BudgetReached, ReplyError, SetupError: as of a request that goes alone, with the
                attempts of the packs that did not answer it.

        """
        item = request.item
        if item is None or not may_share(request, gate):
            return await self._alone(gate, request, whose, kept)
        kind = (id(gate), alike(request, whose.take))
        if self._fruitless[kind] >= _FRUITLESS:
            return await self._alone(gate, request, whose, kept)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        member = Member(request, item, whose, kept, answer)
        return await self._outcome(self._taken_in(gate, kind, member), member)

    async def _alone(
        self, gate: Gate, request: Request, whose: Whose, kept: "asyncio.Future[bytes]"
    ) -> Answer:
        try:
            return await self._buyer.single(gate, request, whose, kept)
        except BaseException as error:
            fail(kept, error)
            raise

    def _taken_in(self, gate: Gate, kind: tuple[int, str], member: Member) -> _Open:
        """The pack that a request goes in, which waits a moment longer now; a full one goes."""
        loop = asyncio.get_running_loop()
        pack = self._open.get(kind)
        if pack is not None and not pack.load.takes(member.item, gate, pack.shared):
            self._close(pack)
            pack = None
        if pack is None:
            common = gate.provider.ceiling(shared(member.request)).input
            pack = self._open[kind] = _Open(gate, kind, common, loop.time())
        pack.members.append(member)
        pack.load.add(member.item)
        if pack.load.count >= member.item.most:
            self._close(pack)
            return pack
        if pack.timer:
            pack.timer.cancel()
        due = min(loop.time() + LINGER, pack.since + _LONGEST)
        pack.timer = loop.call_at(due, self._close, pack)
        return pack

    def _close(self, pack: _Open) -> None:
        """Nothing more joins; it goes."""
        self._forget(pack)
        pack.task = asyncio.get_running_loop().create_task(self._through(pack, pack.members))

    def _forget(self, pack: _Open) -> None:
        if pack.timer:
            pack.timer.cancel()
        if self._open.get(pack.kind) is pack:
            del self._open[pack.kind]

    async def _outcome(self, pack: _Open, member: Member) -> Answer:
        """What comes of one; who is cancelled is left out, and with the last one the pack is."""
        try:
            return await asyncio.shield(member.answer)
        except asyncio.CancelledError:
            member.answer.cancel()
            if pack.task is None:
                pack.members.remove(member)
                member.kept.cancel()
                if not pack.members:
                    self._forget(pack)
            elif all(each.answer.done() for each in pack.members):
                pack.task.cancel()
                await asyncio.wait([pack.task])  # nothing is written behind its back
            raise

    async def _through(self, pack: _Open, members: Sequence[Member]) -> None:
        """Ask until each of them is answered or has failed by itself."""
        try:
            await self._asked(pack, members)
        except BaseException as error:
            for each in members:
                each.failed(error)
            if not isinstance(error, Exception):
                raise

    async def _asked(self, pack: _Open, members: Sequence[Member]) -> None:
        if len(members) < 2:
            for each in members:
                one = each.request
                one = replace(one, uses=requests_of(one.uses, one, pack.gate))
                reply, attempts = await self._buyer.single(pack.gate, one, each.whose, each.kept)
                each.told(reply, attempts)
            return
        try:
            left: Sequence[Member] = await self._buyer.together(pack.gate, members)
        except BudgetReached:  # a smaller one may fit, and then the next
            for half in _halves(members):
                await self._through(pack, half)
            return
        except GaveUp as error:
            left = await self._after_one(pack, members, error)
        except ReplyError:  # something in it is refused; it need not be all of it
            left = members
            self._fruitless[pack.kind] += 1
        else:
            # Once it could be done, what fails is the documents' own.
            self._fruitless[pack.kind] += 1 if len(left) == len(members) else _NEVER
        await self._in_smaller(pack, left)

    async def _after_one(
        self, pack: _Open, members: Sequence[Member], error: GaveUp
    ) -> Sequence[Member]:
        """Those that are left of a pack that failed all tries, after the first was asked alone.

        An answer to it says that the service is up and the pack at fault; if it has none either, and the last
        requests of the run all failed until its retries were used up, the service is down, and nobody else is asked.

        Raises:
            GaveUp: the service is down, or the run's retries are used up where another endpoint can be asked.
            FieldsiftError: what the one alone failed by, if that ends the run.

        """
        retries = pack.gate.retries
        if retries.is_used_up and not pack.gate.patience:
            raise error
        first, *left = members
        await self._through(pack, [first])
        if first.answer.cancelled():
            return left
        failed = first.answer.exception()
        if failed and not isinstance(failed, ReplyError):
            raise failed
        if failed and retries.is_used_up and retries.failures_in_a_row >= DOWN:
            raise error
        self._fruitless[pack.kind] += failed is None
        return left

    async def _in_smaller(self, pack: _Open, left: Sequence[Member]) -> None:
        """Ask in halves, or one by one what never came of packs."""
        is_fruitless = self._fruitless[pack.kind] >= _FRUITLESS
        parts = [[each] for each in left] if is_fruitless else _halves(left)
        await asyncio.gather(*(self._through(pack, part) for part in parts))


def _halves(members: Sequence[Member]) -> tuple[Sequence[Member], ...]:
    middle = (len(members) + 1) // 2
    return tuple(half for half in (members[:middle], members[middle:]) if half)
