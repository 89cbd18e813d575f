"""The straight line: source -> document -> request -> reply -> evidence -> findings -> Result -> files.

Apart from `ask`, everything here is a pure function of the document and the stage. So resume is
running again, and a recording, the store of replies and a replay are the same thing.
"""

import asyncio
import itertools
import json
import os
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pipeline.answer import answered, without_data
from pipeline.asking import Asker, Question, Ways, request
from pipeline.committing import commit
from pipeline.config import Plan, cache_folder
from pipeline.document import Document
from pipeline.errors import (
    ContentRefused,
    DocumentError,
    FieldsiftError,
    LoadError,
    QuotaReached,
    ReplyError,
    SetupError,
    Stopped,
    UsageError,
)
from pipeline.eyes import Eyes, Seen, coverage, needs_ocr, notes, readable
from pipeline.ledger import Ledger, Pass, Replies, Words
from pipeline.limits import Gate, Purse, Sent, refuse_unpriced
from pipeline.loaders import Loaders, sniff
from pipeline.providers import Provider, Shelf, Shown, open_provider
from pipeline.results import DONE, Coverage, DocumentRef, Result, Status
from pipeline.sources import Source
from pipeline.stages import Stage

#: How many inputs of a folder are looked at for what this installation can't read, before the start.
PREFLIGHT = 200
#: Statuses that can be asked for again.
RETRIES = ("failed", "invalid", "refused", "truncated", "unreadable")
#: Seconds that a run which is told to stop gives to what is in flight.
GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a run goes, apart from what is asked: see `fieldsift run --help` for each."""

    force: bool = False
    retry: Sequence[str] = ()
    fail_fast: bool = False
    offline: bool = False
    skip_unreadable: bool = False
    allow_unpriced: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.retry, str) or set(self.retry) - set(RETRIES):
            raise UsageError(f"retry {self.retry!r}: give statuses of {', '.join(RETRIES)}")


@dataclass(slots=True)
class Tally:
    """What a run has done so far; `stopped` is why it ended early.

    `fallbacks` counts the Results of endpoints that answered in place of the stage's own model.
    """

    sources: int = 0
    unchanged: int = 0
    pages: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    fallbacks: dict[str, int] = field(default_factory=dict)
    ended: bool = False
    superseded: int = 0
    stopped: FieldsiftError | None = None
    interrupted: bool = False
    fault_log: Path | None = None

    def count(self, result: Result) -> None:
        """Count one Result."""
        self.statuses[result.status] = self.statuses.get(result.status, 0) + 1
        if any(finding.rule == "fallback" for finding in result.findings):
            engine = result.engine or ""
            self.fallbacks[engine] = self.fallbacks.get(engine, 0) + 1


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
        self._stages = {stage.name: stage.sha256 for stage in plan.stages}
        for name, endpoint in plan.endpoints.items():
            refuse_unpriced(
                endpoint,
                plan.prices[name],
                plan.budget,
                allowed=self.options.allow_unpriced,
                stages=plan.stages,
            )
        self.providers: dict[str, Provider] = {
            n: open_provider(e, shelf) for n, e in plan.endpoints.items()
        }
        # Documents wait for answers, or for the disk: several at a time keep both busy.
        self.jobs = plan.jobs or 8
        self.loaders = Loaders(min(self.jobs, os.cpu_count() or 2))
        self.eyes = Eyes(words or Words(None), self.jobs)
        self._all_blind = not any(each.reads_images for each in self.providers.values())
        self._gates: dict[str, Gate] = {}
        self.asker = Asker(replies, offline=self.options.offline)
        self._ways = Ways(self.asker, shelf)
        self._run = Pass(0, 0)
        self._stop = asyncio.Event()
        self._fatal: SetupError | None = None
        self._workers: list[asyncio.Task[None]] = []

    # the folder ---------------------------------------------------------------------------

    async def run(self, sources: Iterable[Source]) -> AsyncGenerator[Result, None]:
        """Work through the sources, a bounded number at a time; each Result when it is committed.

        Raises:
            SetupError: the run can't go on: a key refused, a service that never answered, a full disk.

        """
        stream = self._preflight(iter(sources))
        await self._begin()
        results: asyncio.Queue[Result] = asyncio.Queue(maxsize=2 * self.jobs)
        self._workers = [asyncio.create_task(self._work(stream, results)) for _ in range(self.jobs)]
        try:
            async with aclosing(_as_they_come(self._workers, results)) as coming:
                async for result in coming:
                    self.tally.count(result)
                    yield result
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
        if self._fatal:
            raise self._fatal
        if not self._stop.is_set() and self.tally.stopped is None:
            await self.ledger.end(self._run)
            self.tally.ended = True

    async def shown(
        self, sources: Iterable[Source]
    ) -> AsyncGenerator[tuple[str, str, Shown | Result], None]:
        """What would be sent about each source: its path, the stage, and the first request; nothing is sent.

        What can't be read or asked comes as a Result, as in a run.
        """
        await self._begin()
        for source in sources:
            try:
                content = await asyncio.to_thread(source.read)
                document = await self.loaders.load(source.path, content)
            except LoadError as error:
                yield source.path, "", _unreadable(source, error)
                continue
            looking = asyncio.ensure_future(self.eyes.look(document, content))
            for stage in self.plan.stages:
                asked = self._question(stage, document, looking)
                try:
                    one = await request(asked, asked.gates[0])
                    shown: Shown | Result = asked.gates[0].provider.shown(one)
                except LoadError as error:
                    shown = _unreadable(source, error)
                yield source.path, stage.name, shown
            await looking

    def stop(self) -> None:
        """Take up nothing new; what is in flight has GRACE seconds to be finished and committed."""
        self.tally.interrupted = True
        self._stop.set()
        asyncio.get_running_loop().call_later(
            GRACE, lambda: [worker.cancel() for worker in self._workers]
        )

    async def aclose(self) -> None:
        """End the child processes and close the connections."""
        await self.loaders.aclose()
        await self.eyes.aclose()
        for provider in self.providers.values():
            await provider.aclose()

    async def _begin(self) -> None:
        plan, options = self.plan, self.options
        command = json.dumps(
            [self._pipeline, list(plan.inputs), options.force, sorted(options.retry)]
        )
        self._run = await self.ledger.begin(command, force=options.force, retry=options.retry)
        self.asker.run = self._run.id
        purse = Purse(self.ledger, plan.budget)
        for name, endpoint in plan.endpoints.items():
            self._gates[name] = Gate(
                self.providers[name],
                endpoint,
                purse,
                price=plan.prices[name],
                concurrency=self.jobs,
            )
        await self._book_what_was_stored()
        if plan.output is None:
            # The budget is of this call: the user's cache remembers all calls there ever were.
            purse.spent = 0

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
            for stage in self.plan.stages
            if endpoint in {stage.model, *stage.fallback}
        }
        return next((tier for tier in ("priority", "standard", "flex") if tier in asked), "")

    def _preflight(self, sources: Iterator[Source]) -> Iterator[Source]:
        """Look at the first inputs for kinds that this installation can't read, before anything starts.

        Raises:
            SetupError: there is one, and nobody said that it may be passed over.

        """
        first = list(itertools.islice(sources, PREFLIGHT))
        if self.eyes.missing and self._all_blind and not self.options.skip_unreadable:
            for source in first:
                if not self._finished(source) and _is_picture(source):
                    raise needs_ocr(source.path)
        return itertools.chain(first, sources)

    async def _work(self, stream: Iterator[Source], results: "asyncio.Queue[Result]") -> None:
        while not self._stop.is_set():
            source = next(stream, None)
            if source is None:
                return
            self.tally.sources += 1
            early = self.tally.sources <= PREFLIGHT
            try:
                async for result in self.process(source, early=early):
                    await results.put(result)
                    if self.options.fail_fast and result.status not in DONE:
                        self._stop.set()
            except SetupError as error:
                # The run is over; what the other workers have in flight may be paid for and is finished.
                self._fatal = self._fatal or error
                self._stop.set()
            await asyncio.sleep(0)  # a folder with nothing to do must not hold the loop

    # one document -------------------------------------------------------------------------

    async def process(self, source: Source, *, early: bool = False) -> AsyncIterator[Result]:
        """One input through all stages: its Results, after their files and lines are committed.

        Raises:
            SetupError: the run can't go on; or it is `early` in the run, nobody said that it may be
                passed over, and reading it takes an extra that is not installed.

        """
        if self._finished(source):
            self.tally.unchanged += 1
            return
        results = [result async for result in self._walk(source)]
        if early and results[0].reason == "needs_ocr" and not self.options.skip_unreadable:
            raise needs_ocr(source.path)
        mark = (source.size, source.mtime_ns, self._pipeline, self._run.id)
        self.tally.superseded += await commit(
            self.ledger, self.plan.output, source.path, results, mark
        )
        for result in results:
            yield result

    def _finished(self, source: Source) -> bool:
        """Whether a source went through this pipeline unchanged, and what came of it still lies there."""
        marked = self.ledger.done(
            source.path, source.size, source.mtime_ns, self._pipeline, self._run
        )
        output = self.plan.output
        return marked and (
            output is None
            or all((output / file).exists() for file in self.ledger.files_of(source.path))
        )

    async def _walk(self, source: Source) -> AsyncIterator[Result]:
        if isinstance(self.tally.stopped, Stopped):
            yield self._not_reached(source)
            return
        try:
            content = await asyncio.to_thread(source.read)
            document = await self.loaders.load(source.path, content)
        except LoadError as error:
            yield _unreadable(source, error)
            return
        # A model that sees answers while we look for the words that prove its answer.
        looking = asyncio.ensure_future(self.eyes.look(document, content))
        # Where no stage came so far as to need them, nobody has to hear that looking failed.
        looking.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            if self._all_blind:
                document = readable(await looking)
            self.tally.pages += document.page_count
            for stage in self.plan.stages:
                yield await self._stage(stage, document, looking)
        except LoadError as error:
            yield _unreadable(source, error)
        finally:
            looking.cancel()

    async def _stage(
        self, stage: Stage, document: Document, looking: "asyncio.Future[Seen]"
    ) -> Result:
        empty = Result(
            document=_reference(document),
            stage=stage.name,
            status="failed",
            schema_sha256=stage.schema.sha256,
            stage_sha256=self._stages[stage.name],
            engine=stage.model,
            coverage=Coverage(pages=document.page_count),
            model_class=stage.schema.model_class,
        )
        try:
            found = await self._ways.answer(self._question(stage, document, looking))
            provider, reply = found.gate.provider, found.reply
            empty = replace(
                empty,
                engine=found.gate.endpoint.name,
                attempts=found.attempts,
                sources=reply.sources,
            )
            seen = (await looking).document
            sent = replace(
                empty,
                coverage=coverage(seen, provider, reply.finish),
                findings=(*notes(seen, provider), *found.findings),
            )
            restore = partial(provider.restore, request=found.request)
            return await asyncio.to_thread(answered, sent, stage, seen, reply, restore)
        except (Stopped, DocumentError) as error:
            paid = replace(empty, attempts=(*empty.attempts, *error.attempts))
            return self._ended(paid, error)
        except FieldsiftError:
            raise
        except Exception as error:  # noqa: BLE001, our own fault must not cost the other documents
            self._note_fault(document, error)
            told = (
                f"a fault of fieldsift itself ({type(error).__name__}); see {self.tally.fault_log}"
            )
            return without_data(empty, "failed", "internal_error", told)

    def _ended(self, empty: Result, error: Stopped | DocumentError) -> Result:
        """The Result of a document that an error ended."""
        if isinstance(error, Stopped):
            self.tally.stopped = self.tally.stopped or error
            return without_data(empty, "over_budget", _why(error), str(error))
        status: Status = "failed"
        if isinstance(error, LoadError):
            status = "unreadable"
        elif isinstance(error, ContentRefused):
            status = "refused"
        return without_data(empty, status, error.reason, str(error))

    def _question(
        self, stage: Stage, document: Document, looking: "asyncio.Future[Seen]"
    ) -> Question:
        return Question(
            stage=stage,
            document=document,
            looking=looking,
            gates=tuple(self._gates[name] for name in (str(stage.model), *stage.fallback)),
            loaders=self.loaders,
            since=self.ledger.since(document.path, stage.name, self._run),
        )

    def _note_fault(self, document: Document, error: Exception) -> None:
        """Keep what happened in a log: exit code 70 names it."""
        folder = self.plan.output / ".fieldsift" if self.plan.output else cache_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.tally.fault_log = folder / "faults.log"
        with self.tally.fault_log.open("a", encoding="utf-8") as log:
            log.write(f"{document.path}\n")
            traceback.print_exception(error, file=log)

    # what becomes of it -------------------------------------------------------------------

    def _not_reached(self, source: Source) -> Result:
        why = str(self.tally.stopped)
        stage = self.plan.stages[0]
        empty = Result(
            DocumentRef(source.path),
            stage.name,
            "over_budget",
            stage_sha256=self._stages[stage.name],
            engine=stage.model,
        )
        return without_data(empty, "over_budget", _why(self.tally.stopped), why)


def _why(stopped: FieldsiftError | None) -> str:
    return "quota" if isinstance(stopped, QuotaReached) else "budget"


def _unreadable(source: Source, error: LoadError) -> Result:
    return without_data(
        Result(DocumentRef(source.path), None, "unreadable"), "unreadable", error.reason, str(error)
    )


def _reference(document: Document) -> DocumentRef:
    return DocumentRef(
        document.path, document.sha256, document.media_type, document.page_count, document.parent
    )


def _is_picture(source: Source) -> bool:
    try:
        return sniff(source.head(), source.path).startswith("image/")
    except LoadError:
        return False


async def _as_they_come(
    workers: Sequence["asyncio.Task[None]"], results: "asyncio.Queue[Result]"
) -> AsyncGenerator[Result, None]:
    """The results, until all workers are done; raises the first error of one."""
    waiting = set(workers)
    while waiting or not results.empty():
        if not results.empty():
            yield results.get_nowait()
            continue
        arrival = asyncio.ensure_future(results.get())
        try:
            done, _ = await asyncio.wait({arrival, *waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not arrival.done():
                arrival.cancel()
        if arrival in done:
            yield arrival.result()
        for worker in waiting & done:
            waiting.remove(worker)
            if not worker.cancelled():  # cancelled ones were told to stop
                worker.result()
