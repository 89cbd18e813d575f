"""The straight line: source -> document -> request -> reply -> evidence -> findings -> Result -> files.

Apart from `ask`, everything here is a pure function of the document and the stage. So resume is
running again, and a recording, the store of replies and a replay are the same thing.
"""

import asyncio
import json
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from contextlib import aclosing
from pathlib import Path

from pipeline.asking import Asker, Question, Ways, request
from pipeline.committing import Outcome, commit, prune, sweep
from pipeline.config import Plan
from pipeline.document import Document
from pipeline.errors import Fault, Interrupted, LoadError, ReplyError
from pipeline.eyes import Eyes, Seen, needs_ocr
from pipeline.ledger import Commons, Ledger, Pass, Replies, Words
from pipeline.limits import Gate, Keeping, Purse, Sent, Waiting, refuse_unpriced
from pipeline.loaders import Loaders
from pipeline.providers import KeepsCaches, Provider, Shelf, Shown, open_provider
from pipeline.results import DONE, Result
from pipeline.runner.answering import Answering
from pipeline.runner.contexts import contexts_of
from pipeline.runner.listing import Job, Listing
from pipeline.runner.selecting import makes, needed
from pipeline.runner.shares import Shares, Withheld
from pipeline.runner.steps import (
    as_they_come,
    is_picture,
    loaded,
    unreadable,
)
from pipeline.runner.survey import Survey, settings_of
from pipeline.runner.tally import (
    GRACE,
    JOBS,
    JOBS_HERE,
    PREFLIGHT,
    RETRIES,
    Options,
    Tally,
    exit_code,
)
from pipeline.runner.walk import Walker
from pipeline.sources import Source
from pipeline.stages import Stage

__all__ = ["GRACE", "PREFLIGHT", "RETRIES", "Options", "Runner", "Survey", "Tally", "exit_code"]


class Runner:
    """One run of a plan over sources; made, run once, closed.

    `output` None keeps no files: the Results are all there is.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        replies: Replies,
        *,
        words: Words | None = None,
        shelf: Shelf | None = None,
        options: Options | None = None,
    ) -> None:
        """Nothing is opened or sent yet.

        Raises:
            UsageError: a budget is set and the price of a model is unknown.

        """
        self.plan = plan
        self.ledger = ledger
        self.replies = replies
        self.options = options or Options()
        self.tally = Tally()
        self._pipeline = plan.sha256
        for name, endpoint in plan.endpoints.items():
            refuse_unpriced(
                endpoint,
                plan.prices[name],
                plan.budget,
                allowed=self.options.allow_unpriced,
                stages=plan.asked,
            )
        self.providers: dict[str, Provider] = {
            n: open_provider(e, shelf) for n, e in plan.endpoints.items()
        }
        is_here = not any(each.stored for each in self.providers.values())
        self.jobs = plan.jobs or (JOBS_HERE if is_here else JOBS)
        #: What was saved and lost of damaged state files before this run, in sentences.
        self.rebuilt: tuple[str, ...] = ()
        #: The shared cache of answers, where there is one: what it found, and whether it is still in use.
        self.commons: Commons | None = None
        self.loaders = Loaders(min(self.jobs, os.cpu_count() or 2))
        self.eyes = Eyes(words or Words(None), self.jobs)
        self._all_blind = bool(self.providers) and not any(
            each.reads_images for each in self.providers.values()
        )
        self._gates: dict[str, Gate] = {}
        self.asker = Asker(replies, offline=self.options.offline)
        self._run = Pass(0, 0)
        self._stop = asyncio.Event()
        #: The stages that documents go through; of the `chosen` ones lines are written.
        self.stages = needed(plan.stages, self.options.stages)
        self.chosen = frozenset(self.options.stages or (stage.name for stage in plan.stages))
        self.answering: Answering
        self._walker: Walker
        self._shelf = shelf
        self._fatal: Exception | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._listing: Listing | None = None
        self._shares: Shares | None = None
        self._known_stages: frozenset[str] = frozenset(stage.name for stage in plan.stages)

    # the folder ---------------------------------------------------------------------------

    async def run(
        self,
        sources: Iterable[Source],
        on_survey: Callable[[Survey], None] = lambda survey: None,
    ) -> AsyncGenerator[Result, None]:
        """Work through the sources, a bounded number at a time; each Result when it is committed.

        On an output that has results, `on_survey` hears what will be done and why before anything is sent.

        Raises:
            SetupError: the run can't go on: a key refused, a service that never answered, a full disk.

        """
        await self.begin()
        self._keep_caches()
        self._shares = self.answering.shares = Shares(self.plan, self.ledger, self._run)
        job = Job(self.plan, self.ledger, self.options, self._run, self._shares)
        self._listing = listing = Listing(sources, job, self.tally, self._check_readable)
        try:
            self.tally.survey = await listing.survey()
            if self.tally.survey:
                on_survey(self.tally.survey)
            async with aclosing(self._results(listing)) as results:
                async for result in results:
                    self.tally.count(result)
                    yield result
            self.tally.unfinished += self._shares.waiting
            if self._fatal:
                raise self._fatal
            if not self._stop.is_set():
                self._check_all_came_back()
                if self.tally.stopped is None:
                    await self._end(listing)
        finally:
            await listing.aclose()

    async def _results(self, listing: Listing) -> AsyncGenerator[Result, None]:
        results: asyncio.Queue[Result] = asyncio.Queue(maxsize=2 * self.jobs)
        self._workers = [
            asyncio.create_task(self._work(listing, results)) for _ in range(self.jobs)
        ]
        try:
            async with aclosing(as_they_come(self._workers, results)) as coming:
                async for result in coming:
                    yield result
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)

    def _check_all_came_back(self) -> None:
        """That no input was lost on its way, whatever the reason: the end of such a run is never marked.

        Raises:
            Fault: inputs were taken and did not come back, or a worker was ended by nobody.

        """
        lost = self.tally.sources - self.tally.done
        if lost or any(worker.cancelled() for worker in self._workers):
            raise Fault(
                f"a fault of fieldsift itself: work was cancelled, and {lost:,} inputs that were taken have no "
                f"result; the same command continues with them"
            )

    async def _end(self, listing: Listing) -> None:
        """The whole input was worked on: what is left of documents that are no longer in it, and the end."""
        survey = self.tally.survey
        self.tally.gone = survey.gone if survey else 0
        if self.plan.output:
            await self._let_go(listing, self.plan.output)
        await self.ledger.end(self._run)
        self.tally.ended = True

    async def _let_go(self, listing: Listing, output: Path) -> None:
        """Remove what is left of documents that are gone, if that is asked for; else rows are taken out of their data files."""
        if self.options.prune and self.tally.gone:
            for sources in listing.gone():
                await prune(self.ledger, output, sources)
                self.tally.pruned += len(sources)
                self.tally.gone -= len(sources)
        elif not (self.options.partial or self.options.stages):
            for sources in listing.gone():
                await listing.let_go(sources)

    async def shown(
        self, sources: Iterable[Source]
    ) -> AsyncGenerator[tuple[str, str, Shown | Result], None]:
        """What would be sent about each source: its path, the stage, and the first request; nothing is sent.

        What can't be read or asked comes as a Result, as in a run.
        """
        await self.begin()
        for source in sources:
            try:
                document, content = await loaded(source, self.loaders)
            except LoadError as error:
                yield source.path, "", unreadable(source, error)
                continue
            looking = asyncio.ensure_future(self.eyes.look(document, content))
            for stage in self.stages:
                for asked in await self.questions(stage, document, looking):
                    if asked.ask.take > 1:
                        continue  # the same request once more
                    try:
                        one = await request(asked, asked.gates[0])
                        shown: Shown | Result = asked.gates[0].provider.shown(one)
                    except LoadError as error:
                        shown = unreadable(source, error)
                    yield source.path, stage.name, shown
            await looking

    def stop(self) -> None:
        """Take up nothing new; what is in flight has GRACE seconds to be finished and committed."""
        self.tally.interrupted = True
        self._take_no_more()
        asyncio.get_running_loop().call_later(
            GRACE, lambda: [worker.cancel() for worker in self._workers]
        )

    def _take_no_more(self) -> None:
        self._stop.set()
        if self._listing:
            self._listing.stop()

    def _end_with(self, error: Exception) -> None:
        """The run is over; what the other workers have in flight may be paid for and is finished."""
        self._fatal = self._fatal or error
        self._take_no_more()

    async def aclose(self) -> None:
        """End the child processes and close the connections."""
        await self.loaders.aclose()
        await self.eyes.aclose()
        for provider in self.providers.values():
            await provider.aclose()

    async def begin(self, *, book: bool = True) -> None:
        """Start a pass: its number, the gates, the money that is left; nothing is sent.

        With `book`, answers of runs that died are booked first.
        """
        plan, options = self.plan, self.options
        command = json.dumps(
            [self._pipeline, list(plan.inputs), options.force, sorted(options.retry)]
            + ([sorted(self.chosen)] if options.stages else [])
        )
        self._run = await self.ledger.begin(command, force=options.force, retry=options.retry)
        self.asker.bought.run = self._run.id
        if plan.output:
            earlier = self.ledger.settings().values()
            self._known_stages |= {name for settings in earlier for name in settings["stages"]}
            await self.ledger.keep_settings(self._pipeline, settings_of(plan))
        purse = Purse(self.ledger, plan.budget)
        for name, endpoint in plan.endpoints.items():
            self._gates[name] = Gate(
                self.providers[name],
                endpoint,
                purse,
                price=plan.prices[name],
                concurrency=self.jobs,
            )
            self._gates[name].stop = self._stop
        for stage in plan.asked:
            for name in (str(stage.model), *stage.fallback)[:-1]:
                self._gates[name].patience = 0.0  # there is another endpoint to ask
        self._ready()
        self.answering.contexts = await contexts_of(plan, self._gates, self.loaders, self.eyes)
        if book:
            await self._sweep()
            await self._book_what_was_stored()
        if plan.output is None:
            # The budget is of this call: the user's cache remembers all calls there ever were.
            purse.spent = 0

    def _ready(self) -> None:
        """What documents go through in this pass."""
        self.answering = Answering(
            self.plan,
            self.ledger,
            self.tally,
            self.loaders,
            Ways(self.asker, self._shelf),
            self._gates,
            self._run,
            self.stages,
            self.chosen,
        )
        self._walker = Walker(
            self.answering, self.tally, self.loaders, self.eyes, self._stop, self._all_blind
        )

    async def questions(
        self, stage: Stage, document: Document, looking: Awaitable[Seen]
    ) -> tuple[Question, ...]:
        """As `Answering.questions`."""
        return await self.answering.questions(stage, document, looking)

    async def _sweep(self) -> None:
        """A run that was killed may have left data of parts and items that nobody makes any more."""
        if self.plan.output and self.ledger.was_interrupted:
            known = self.ledger.derived_files()
            if known or any(map(makes, self.plan.stages)):
                await asyncio.to_thread(sweep, self.plan.output, self._known_stages, known)

    def _keep_caches(self) -> None:
        """Let providers leave what documents share in caches of their services, where that pays."""
        if self.options.offline:
            return
        for name, provider in self.providers.items():
            if isinstance(provider, KeepsCaches):
                provider.keeper = Keeping(self._gates[name], self._run.id)

    async def _book_what_was_stored(self) -> None:
        """A reply that was stored and not yet booked when the process died is booked from what it says."""
        for call, key, take, run, name, claimed in self.ledger.open_calls():
            body = self.replies.get(key, take, run)
            gate = self._gates.get(name)
            if body is None or gate is None:
                await self.ledger.book(call, claimed, "unknown")
                continue
            sent = Sent(body, call, claimed, self._dearest_tier(name))
            try:
                await gate.book(sent, gate.provider.read(body).usage)
            except ReplyError:
                await gate.book_reserve(sent)

    def _dearest_tier(self, endpoint: str) -> str:
        """The highest price that a call of an earlier run can have been sent at: its own tier isn't kept."""
        asked = {
            stage.service_tier or "standard"
            for stage in self.plan.asked
            if endpoint in {stage.model, *stage.fallback}
        }
        return next((tier for tier in ("priority", "standard", "flex") if tier in asked), "")

    def finished(self, source: Source) -> bool:
        """Whether a source went through this pipeline unchanged, and what came of it still lies there."""
        marked = self.ledger.done(
            source.path, source.size, source.mtime_ns, self._pipeline, self._run
        )
        output = self.plan.output
        return marked and (
            output is None
            or source.row is not None
            or all((output / file).exists() for file in self.ledger.files_of(source.path))
        )

    def _check_readable(self, source: Source) -> None:
        """Look at one of the first inputs for a kind that this installation can't read, before anything is sent.

        Raises:
            SetupError: it is one, and nobody said that it may be passed over.

        """
        blind = self.eyes.missing and self._all_blind and not self.options.skip_unreadable
        if blind and not source.row and is_picture(source):
            raise needs_ocr(source.path)

    async def _work(self, listing: Listing, results: "asyncio.Queue[Result]") -> None:
        while not self._stop.is_set():
            try:
                if not (taken := await listing.take()):
                    return
            except Exception as error:  # noqa: BLE001, `run` raises it at the end
                self._end_with(error)
                return
            self.tally.sources += len(taken)
            works = (self._work_on(*each, listing, results) for each in taken)
            # One that is cancelled by itself must not leave the others behind, with nobody who waits for them.
            await asyncio.gather(*works, return_exceptions=True)

    async def _work_on(
        self, source: Source, early: bool, listing: Listing, results: "asyncio.Queue[Result]"
    ) -> None:
        try:
            async for result in self.process(source, early=early):
                await results.put(result)
                if self.options.fail_fast and result.status not in DONE:
                    self._take_no_more()
            self.tally.done += 1
        except Withheld:
            self.tally.sources -= 1
        except Interrupted:  # the worker sees that the run is to stop
            return
        except Exception as error:  # noqa: BLE001, `run` raises it at the end
            self._end_with(error)
        finally:
            listing.returned()

    def waiting(self) -> tuple[Waiting, ...]:
        """What keeps requests back just now, the longest first; empty while they go out."""
        told = [each for gate in self._gates.values() if (each := gate.waiting)]
        return tuple(sorted(told, key=lambda each: -each.until))

    @property
    def retries(self) -> int:
        """Requests that were sent again so far, because what failed could pass."""
        return sum(gate.retries.retries for gate in self._gates.values())

    # one document -------------------------------------------------------------------------

    async def process(self, source: Source, *, early: bool = False) -> AsyncIterator[Result]:
        """One input through all stages: its Results, after their files and lines are committed.

        Raises:
            SetupError: the run can't go on; or it is `early` in the run, nobody said that it may be
                passed over, and reading it takes an extra that is not installed.

        """
        try:
            results = await self._walker.walk(source)
        except (Interrupted, asyncio.CancelledError):
            self.tally.unfinished += 1
            raise
        if early and results[0].reason == "needs_ocr" and not self.options.skip_unreadable:
            raise needs_ocr(source.path)
        walked = results
        results = [each for each in walked if each.stage is None or each.stage in self.chosen]
        mark = (source.size, source.mtime_ns, self._pipeline, self._run.id)
        outcome = Outcome(source.path, results, mark, self.chosen if self.options.stages else None)
        superseded = await commit(self.ledger, self.plan.output, outcome, self._known_stages)
        self.tally.superseded += superseded  # only now: other documents count meanwhile
        self.tally.note_pages(walked)
        for result in results:
            yield result
