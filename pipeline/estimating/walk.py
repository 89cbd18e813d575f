"""The Estimator: goes over the inputs as a run would, makes the same requests, and sends none."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from pipeline.asking import Question, Ways, request
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
from pipeline.estimating.figures import Estimate, Method
from pipeline.estimating.request import Likely, counted, likely
from pipeline.estimating.sums import Cost, Spread, Sum, cost_of, scaled
from pipeline.estimating.telling import code_of, notes_on, rates_of, shortest
from pipeline.eyes import Eyes, Seen, needs_ocr
from pipeline.ledger import Recording, Shelf
from pipeline.ledger.glance import Glance
from pipeline.limits import Gate, dollars
from pipeline.providers import Request
from pipeline.providers.bounds import refuse_too_large
from pipeline.runner import PREFLIGHT, Options, Runner
from pipeline.sources import Source
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
        self._unchanged = self._unreadable = 0
        self._named: list[tuple[str, str]] = []
        self._seen: set[int] = set()
        self._uncounted: dict[str, str] = {}
        self._has_counted = False

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
            content = await asyncio.to_thread(source.read)
            document = await self.runner.loaders.load(source.path, content)
            looking = _Looking(self.runner.eyes, document, content)
            for stage in self.plan.stages:
                cost.add(await self._stage(await self.runner.questions(stage, document, looking)))
        except LoadError as error:
            if early and error.reason == "needs_ocr" and not self.runner.options.skip_unreadable:
                raise needs_ocr(source.path) from error
            self._leave_out(source.path, error)
        return cost

    def _leave_out(self, path: str, error: DocumentError) -> None:
        self._unreadable += 1
        if len(self._named) < _NAMED:
            self._named.append((path, f"{error.reason}: {error}"))

    async def _stage(self, windows: Sequence[Question]) -> Cost:
        """What a stage would cost for a document, whose windows are asked about one by one."""
        cost, failed, pages = Cost(), None, set[int]()
        for asked in windows:
            try:
                cost.add(await self._asked(asked, pages))
            except ReplyError as error:
                failed = failed or error
        if failed:
            self._leave_out(windows[0].document.path, failed)
        if windows:
            total = self._sums[windows[0].stage.name]
            total.pages += len(pages)
            total.documents += not failed
        return cost

    async def _asked(self, asked: Question, pages: set[int]) -> Cost:
        """What one window would cost; its pages are added where it would be asked about.

        Raises:
            ReplyError: the service does not take it.

        """
        gate, stage = asked.gates[0], asked.stage
        total = self._sums[stage.name]
        if not gate.provider.stored:
            _refuse_wordless(asked, self.runner.eyes)
            pages.update(asked.ask.window.pages)
            return Cost()
        one = await request(asked, gate)
        refuse_too_large(one, 0, gate.endpoint.service)
        if self._is_known(one, asked.ask.take) or await self._ways.is_answered(asked, one):
            total.stored += 1
            return Cost()
        high = gate.provider.ceiling(one)
        own = seen_in(Window(asked.ask.window.pages), asked.document)
        found = await asyncio.to_thread(likely, stage, own, one, gate.endpoint, high)
        found = await self._counted(found, one, gate, total)
        cost = cost_of(found, gate, stage.service_tier or "")
        total.requests += 1
        pages.update(asked.ask.window.pages)
        total.input += found.expected.input
        total.output += found.expected.output
        total.cost.add(cost)
        return cost

    def _is_known(self, one: Request, take: int) -> bool:
        """Whether an equal request was made before: the run asks it once. Or nothing may be sent at all."""
        if self.runner.options.offline:
            return True
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
        shares = tuple(
            self._sums[stage.name].share(stage.name, str(stage.model)) for stage in plan.stages
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
            notes=notes_on(plan, shares, self.runner.options, self._uncounted),
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
    with closing(Glance(folder)) as glance:
        replies = Recording(replay) if replay else glance.replies
        options = replace(options, offline=True) if replay else options
        runner = Runner(
            plan, glance.ledger, replies, words=glance.words, shelf=glance.shelf, options=options
        )
        try:
            yield Estimator(runner, glance.shelf, method)
        finally:
            await runner.aclose()
