"""The Estimator: goes over the inputs as a run would, makes the same requests, and sends none."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from decimal import Decimal
from math import ceil
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from pipeline import deriving
from pipeline.asking import Asker, Question, Ways, request
from pipeline.config import Plan
from pipeline.document import Document, Window
from pipeline.errors import (
    DocumentError,
    LoadError,
    QuotaReached,
    ReplyError,
    Transient,
    Unreachable,
    UsageError,
)
from pipeline.estimating.caching import Shared as SharedParts
from pipeline.estimating.caching import decided
from pipeline.estimating.chances import MOST_ITEMS, Fan, StandIns, fan, told
from pipeline.estimating.figures import Estimate, Method
from pipeline.estimating.following import Following, Found, Maybe, depth
from pipeline.estimating.packs import Packs
from pipeline.estimating.request import Likely, counted, likely
from pipeline.estimating.sums import Cost, Spread, Sum, cost_of, scaled
from pipeline.estimating.telling import code_of, notes_on, rates_of, shortest
from pipeline.eyes import Eyes, Seen, needs_ocr
from pipeline.graph import drawn, reads
from pipeline.ledger import Commons, Recording, Replies, Shared, Shelf
from pipeline.ledger.glance import Glance
from pipeline.limits import Gate, dollars
from pipeline.providers import Request
from pipeline.providers.bounds import refuse_too_large
from pipeline.runner import PREFLIGHT, Options, Runner
from pipeline.runner.branches import Branch, Settled, root
from pipeline.runner.steps import loaded
from pipeline.runner.walk import through
from pipeline.sources import Source
from pipeline.stages import Stage
from pipeline.windows import seen_in

#: How many inputs that can't be asked about are named.
_NAMED: Final = 10
#: Requests whose equals are recognised later on: beyond so many, equals are counted as if they were asked.
_REMEMBERED: Final = 1_000_000
#: Tries to have one request counted, and seconds between them where the service names none.
_TRIES: Final = 3
_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


@runtime_checkable
class Counts(Protocol):
    """A provider that can be asked how many tokens a request has."""

    async def count(self, request: Request) -> int:
        """The input tokens of a request."""
        ...


class _Looking:
    """The words of a document's pages: recognised when they are first waited for, or never."""

    def __init__(self, eyes: Eyes, document: Document, content: bytes) -> None:
        self._given = eyes, document, content
        self._seen: Seen | None = None

    def __await__(self) -> Generator[Any, None, Seen]:
        if self._seen is None:
            eyes, document, content = self._given
            self._seen = yield from eyes.look(document, content).__await__()
        return self._seen


class Estimator:
    """Goes over inputs and sums up what a run would ask about them.

    The runner's stores are only looked at: `pipeline.ledger.glance.Glance` has such.
    """

    def __init__(self, runner: Runner, shelf: Shelf | None, method: Method = "offline") -> None:
        """`method` `count` asks the service how many tokens a request has, which is free; else nothing is sent."""
        self.runner = runner
        self.plan = runner.plan
        self.method: Method = method
        self._ways = Ways(runner.asker, shelf)
        self._sums = {stage.name: Sum() for stage in self.plan.stages}
        self._cost, self._spread = Cost(), Spread()
        self._packs = Packs()
        self._unchanged = self._unreadable = 0
        self._named: list[tuple[str, str]] = []
        self._seen: set[int] = set()
        self._uncounted: dict[str, str] = {}
        self._has_counted = False
        offline = Asker(runner.replies, offline=True)
        self._stored_ways = Ways(offline, shelf)
        self._stand_ins = StandIns(self.plan.stages)
        self._longest: dict[str, int] = {}
        self._open: dict[str, Fan] = {}
        self._shared: dict[str, SharedParts] = {}

    async def estimate(
        self,
        sources: Iterable[Source],
        *,
        of: int | None = None,
        on_document: Callable[[], None] = lambda: None,
    ) -> Estimate:
        """Go over the sources, a bounded number at a time.

        Args:
            sources: the inputs.
            of: how many there are in all, where `sources` are a sample of them.
            on_document: called after each.

        Raises:
            SetupError: a run could not begin either: reading takes an extra, or the state is damaged; with
                `count`, the key is refused, or the service can't be reached.

        """
        stream = iter(sources)
        await self.runner.begin(book=False)
        workers = [
            asyncio.create_task(self._work(stream, on_document)) for _ in range(self.runner.jobs)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return self._told(of)

    async def _work(self, stream: Iterator[Source], on_document: Callable[[], None]) -> None:
        for source in stream:
            tally = self.runner.tally
            tally.sources += 1
            cost = await self._source(source, early=tally.sources <= PREFLIGHT)
            self._cost.add(cost)
            self._spread.take(float(cost.expected or 0))
            on_document()
            await asyncio.sleep(0)  # a folder of finished documents must not hold the loop

    async def _source(self, source: Source, *, early: bool) -> Cost:
        """What an input would cost in all stages."""
        cost = Cost()
        if self.runner.finished(source):
            self._unchanged += 1
            return cost
        try:
            document, content = await loaded(source, self.runner.loaders)
            looking = _Looking(self.runner.eyes, document, content)
            await self._through(source, root(document, looking), cost)
        except LoadError as error:
            if early and error.reason == "needs_ocr" and not self.runner.options.skip_unreadable:
                raise needs_ocr(source.path) from error
            self._leave_out(source.path, error)
        return cost

    def _leave_out(self, path: str, error: DocumentError) -> None:
        self._unreadable += 1
        if len(self._named) < _NAMED:
            self._named.append((path, f"{error.reason}: {error}"))

    async def _through(self, source: Source, root: Branch, cost: Cost) -> None:
        """A document through the stages: what is stored is followed, what would be asked is added to the cost."""

        async def price(windows: Sequence[Question]) -> Found:
            return await self._stage(windows, cost)

        following = Following(self.runner.answering, self._stored_ways, price)
        await through(source, following, root)
        for maybe in following.open:
            cost.add(await self._maybe(following, maybe, root.document))

    async def _stage(self, windows: Sequence[Question], cost: Cost) -> Found:
        """What a stage would cost for a document is added, whose windows are asked about one by one."""
        failed, pages, total = None, set[int](), self._sums[windows[0].stage.name]
        found: Found = "stored"
        for asked in windows:
            try:
                if (more := await self._asked(asked, pages)) is not None:
                    cost.add(more)
                    found = "open"
            except ReplyError as error:
                failed = failed or error
        total.pages += len(pages)
        total.documents += not failed
        if failed:
            self._leave_out(windows[0].document.path, failed)
        return "refused" if failed else found

    async def _asked(self, asked: Question, pages: set[int]) -> Cost | None:
        """What one window would cost, None where it is answered; its pages are added where it would be asked about.

        Raises:
            ReplyError: the service does not take it.

        """
        gate, stage = asked.gates[0], asked.stage
        total = self._sums[stage.name]
        if not gate.provider.stored:
            _refuse_wordless(asked, self.runner.eyes)
            pages.update(asked.ask.window.pages)
            return Cost()
        known = await self._likely(asked)
        if known is None:
            total.stored += 1
            return None
        found, is_packed = known
        pages.update(asked.ask.window.pages)
        cost = cost_of(found, gate, stage.service_tier or "")
        total.take(found, cost, is_packed=is_packed)
        return cost

    async def _likely(
        self, asked: Question, *, made_up: bool = False
    ) -> tuple[Likely, bool] | None:
        """What one window would take, and whether it goes beside others in their request; None where it is answered.

        What is asked about something `made_up` is like no other question, however equal they look.

        Raises:
            ReplyError: the service does not take it.

        """
        gate, stage = asked.gates[0], asked.stage
        one = await request(asked, gate)
        refuse_too_large(one, 0, gate.endpoint.service)
        if self.runner.options.offline or (not made_up and await self._is_there(asked, one)):
            return None
        if one.shared and stage.name not in self._shared:
            self._shared[stage.name] = SharedParts.of(one, gate)
        high = gate.provider.ceiling(one)
        self._longest[stage.name] = max(high.output, self._longest.get(stage.name, 0))
        own = seen_in(Window(asked.ask.window.pages), asked.document)
        found = await asyncio.to_thread(likely, stage, own, one, gate.endpoint, high)
        if made_up:
            return found, False
        found, is_one = self._packs.place(one, gate, asked.ask.take, found)
        if one.item is None:
            found = await self._counted(found, one, gate, self._sums[stage.name])
        return found, not is_one

    # what hangs on answers that are not there yet -----------------------------------------

    async def _maybe(self, following: Following, maybe: Maybe, root: Document) -> Cost:
        """What a stage would cost that hangs on answers which are not there yet, see `chances`."""
        stage, document = maybe.stage, maybe.document
        what = fan(self.plan.stages, stage, depth(document, root))
        self._open[stage.name] = what | self._open.get(stage.name, what)
        if stage.task == "python":
            return Cost()
        whole = await self._stand_in(following, stage, document, what, maybe.share)
        times = MOST_ITEMS if what.items else 1
        if what.parts and document.page_count > 1:
            page = deriving.part(document, "1")
            one = await self._stand_in(following, stage, page, what, 0)
            for _ in range(1, document.page_count):
                whole.add(Cost(0, 0, one.high))
        cost = Cost(0, whole.expected, None if whole.high is None else whole.high * times)
        self._sums[stage.name].cost.add(cost)
        return cost

    async def _stand_in(
        self, following: Following, stage: Stage, document: Document, what: Fan, share: float
    ) -> Cost:
        """What a stage would cost for a document in the place of one that is not known; so much of it is counted."""
        shown = self._stand_ins.shown(stage, document, what)
        earlier = sum(self._longest.get(name, 0) for name in reads(stage))
        cost = Cost()
        try:
            for asked in await following.questions(stage, shown, Settled(shown)):
                gate = asked.gates[0]
                known = None
                if gate.provider.stored:
                    known = await self._likely(asked, made_up=shown is not document or what.parts)
                if known is None:
                    continue
                found, is_packed = known
                # What earlier stages say is as long as their answers may be.
                found = replace(found, high=replace(found.high, input=found.high.input + earlier))
                each = cost_of(found, gate, stage.service_tier or "").of(share)
                self._sums[stage.name].take(found, Cost(), share, is_packed=is_packed)
                cost.add(each)
        except DocumentError:  # what a stand-in meets is no trouble of the document's own
            return cost
        self._sums[stage.name].documents += share
        return cost

    async def _is_there(self, asked: Question, one: Request) -> bool:
        """Whether the answer is stored, or on its way to an equal question."""
        return self._is_known(one, asked.ask.take) or await self._ways.is_answered(asked, one)

    def _is_known(self, one: Request, take: int) -> bool:
        """Whether an equal request was made before: the run asks it once."""
        key = int(one.key()[:15], 16) + take
        if key in self._seen:
            return True
        if len(self._seen) < _REMEMBERED:
            self._seen.add(key)
        return False

    # what the service counts --------------------------------------------------------------

    async def _counted(self, found: Likely, one: Request, gate: Gate, total: Sum) -> Likely:
        """The figures with the input tokens that the service counts, where it is asked and says them."""
        name = gate.endpoint.name
        if self.method != "count" or name in self._uncounted:
            return found
        try:
            tokens = await self._count(one, gate)
        except (UsageError, QuotaReached) as error:  # it can't, or will not any more today
            self._uncounted[name] = str(error)
            return found
        if tokens is None:
            return found
        total.counted += 1
        return counted(found, tokens)

    async def _count(self, one: Request, gate: Gate) -> int | None:
        """The input tokens of a request; None where the service does not say them this time."""
        provider = gate.provider
        if not isinstance(provider, Counts):
            raise UsageError(f"{gate.endpoint.name} can't count tokens")
        for attempt in range(1, _TRIES + 1):
            try:
                tokens = await provider.count(one)
            except Transient as failure:
                if attempt == _TRIES:
                    self._refuse_unreachable(failure, gate)
                else:
                    await asyncio.sleep(min(_LONGEST_PAUSE, failure.wait or _PAUSE))
            except ReplyError:
                return None
            else:
                self._has_counted = True
                return tokens
        return None

    def _refuse_unreachable(self, failure: Transient, gate: Gate) -> None:
        if failure.reason == "unreachable" and not self._has_counted:
            raise Unreachable(f"{gate.endpoint.name} can't be reached: {failure}") from failure

    # what comes out -----------------------------------------------------------------------

    def _told(self, of: int | None) -> Estimate:
        plan, ledger = self.plan, self.runner.ledger
        context = []
        for name, shared in self._shared.items():
            sums = self._sums[name]
            line, more = decided(name, shared, ceil(sums.requests + sums.packed))
            context.append(line)
            sums.cost.add(more)
        shares = tuple(
            self._sums[stage.name].share(stage.name, stage.engine)
            for stage in plan.stages
            if stage.task != "python"  # it asks nobody
        )
        return Estimate(
            stages=shares,
            documents=self.runner.tally.sources,
            unchanged=self._unchanged,
            unreadable=self._unreadable,
            named=tuple(self._named),
            method=self.method,
            inputs=plan.inputs,
            output=plan.output,
            engine=plan.engine,
            spent_usd=Decimal(dollars(0 if plan.output is None else ledger.spent())),
            budget_usd=plan.budget,
            seconds=shortest(plan, shares),
            rates=rates_of(plan),
            sample_of=None if of is None else scaled(shares, self._cost, self._spread, of),
            code=code_of(plan),
            graph=drawn(plan.stages) if len(plan.stages) > 1 else (),
            bounded=not any(what.items for what in self._open.values()),
            context=tuple(context),
            notes=(
                *told(plan.stages, self._open),
                *notes_on(plan, shares, self.runner.options, self._uncounted),
            ),
        )


def _refuse_wordless(asked: Question, eyes: Eyes) -> None:
    """What an engine that runs here can't read; pages are not recognised only to be counted.

    Raises:
        LoadError: no page has words, and they can't be recognised.

    """
    if not asked.document.has_text and eyes.missing:
        raise LoadError("needs_ocr", "there are no words in it, and none can be recognised here")


@asynccontextmanager
async def open_estimator(
    plan: Plan,
    options: Options,
    folder: Path | None,
    replay: Path | None = None,
    method: Method = "offline",
) -> AsyncIterator[Estimator]:
    """An Estimator that looks at what lies in a state folder; nothing there is made, changed or locked.

    Args:
        plan: what would be run.
        options: how it would be run.
        folder: where its state lies; None: it has none.
        replay: a recording that would answer in place of the services.
        method: see Estimator.

    Raises:
        UsageError: a budget is set and the price of a model is unknown.
        StateError: the state is damaged.

    """
    with ExitStack() as opened:
        glance = opened.enter_context(closing(Glance(folder)))
        replies: Replies = Recording(replay) if replay else glance.replies
        options = replace(options, offline=True) if replay else options
        if plan.cache and folder and not options.offline:
            commons = Commons(plan.cache.folder, age=plan.cache.age, read_only=True)
            replies = opened.enter_context(
                closing(Shared(replies, commons, plan.elsewhere, only_look=True))
            )
        runner = Runner(
            plan, glance.ledger, replies, words=glance.words, shelf=glance.shelf, options=options
        )
        try:
            yield Estimator(runner, glance.shelf, method)
        finally:
            await runner.aclose()
