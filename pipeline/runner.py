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
from pathlib import Path

from pipeline import catalogue, prompts
from pipeline.answer import answered, without_data
from pipeline.asking import Asker, UnusableError
from pipeline.config import Plan, cache_folder
from pipeline.document import Document
from pipeline.errors import (
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
from pipeline.ledger import Ledger, Line, Pass, Replies, Words
from pipeline.limits import Gate, Purse, refuse_unpriced
from pipeline.loaders import Loaders, sniff
from pipeline.providers import Provider, open_provider
from pipeline.results import CONTINUES, DONE, Coverage, DocumentRef, Result
from pipeline.sources import Source
from pipeline.stages import Stage
from pipeline.writers import data_file, dump, remove_data, write_data

#: How many inputs of a folder are looked at for what this installation can't read, before the start.
PREFLIGHT = 200
#: Statuses that can be asked for again.
RETRIES = ("failed", "invalid", "refused", "truncated", "unreadable")
#: Seconds that a run which is told to stop gives to what is in flight.
GRACE = 10.0
#: Output tokens of a model that the catalogue doesn't know.
_MOST_OUTPUT = 65_536


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
    """What a run has done so far; `stopped` is why it ended early."""

    sources: int = 0
    unchanged: int = 0
    pages: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    ended: bool = False
    superseded: int = 0
    stopped: FieldsiftError | None = None
    interrupted: bool = False
    fault_log: Path | None = None

    def count(self, result: Result) -> None:
        """Count one Result."""
        self.statuses[result.status] = self.statuses.get(result.status, 0) + 1


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
                endpoint, plan.prices[name], plan.budget, allowed=self.options.allow_unpriced
            )
        self.providers: dict[str, Provider] = {
            n: open_provider(e) for n, e in plan.endpoints.items()
        }
        # Documents wait for answers, or for the disk: several at a time keep both busy.
        self.jobs = plan.jobs or 8
        self.loaders = Loaders(min(self.jobs, os.cpu_count() or 2))
        self.eyes = Eyes(words or Words(None), self.jobs)
        self._all_blind = not any(each.reads_images for each in self.providers.values())
        self._gates: dict[str, Gate] = {}
        self.asker = Asker(replies, offline=self.options.offline)
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
        # Without an output the budget is of this call: the user's cache remembers all calls there ever were.
        purse = Purse(self.ledger, plan.budget, spent=None if plan.output else 0)
        for name, endpoint in plan.endpoints.items():
            self._gates[name] = Gate(
                self.providers[name],
                endpoint,
                purse,
                price=plan.prices[name],
                concurrency=self.jobs,
            )
        await self._book_what_was_stored()

    async def _book_what_was_stored(self) -> None:
        """A reply that was stored and not yet booked when the process died is booked from what it says."""
        for call, key, take, run, name, claimed in self.ledger.open_calls():
            body = self.replies.get(key, take, run)
            gate = self._gates.get(name)
            if body is None or gate is None:
                await self.ledger.book(call, claimed, "unknown")
                continue
            try:
                cost = gate.cost(gate.provider.read(body).usage)
            except ReplyError:
                cost = claimed
            await self.ledger.book(call, cost, "paid")
            gate.purse.settle(claimed, cost)

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
        await self._commit(source, results)
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
        gate = self._gates[str(stage.model)]
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
            if not gate.provider.reads_images:
                document = readable(await looking)
            request = prompts.request(
                stage, document, gate.provider, gate.endpoint, most_output=_most_output(gate)
            )
            since = self.ledger.since(document.path, stage.name, self._run)
            reply, attempt = await self.asker.ask(gate, request, since=since)
            seen = (await looking).document
            sent = replace(
                empty,
                attempts=(attempt,),
                coverage=coverage(seen, gate.provider, reply.finish),
                findings=notes(seen, gate.provider),
            )
            return await asyncio.to_thread(answered, sent, stage, seen, reply)
        except Stopped as stopped:
            self.tally.stopped = self.tally.stopped or stopped
            return without_data(empty, "over_budget", _why(stopped), str(stopped))
        except LoadError as error:
            return without_data(empty, "unreadable", error.reason, str(error))
        except UnusableError as error:
            paid = replace(empty, attempts=(error.attempt,))
            return without_data(paid, "failed", error.reason, str(error))
        except DocumentError as error:
            return without_data(empty, "failed", error.reason, str(error))
        except FieldsiftError:
            raise
        except Exception as error:  # noqa: BLE001, our own fault must not cost the other documents
            self._note_fault(document, error)
            told = (
                f"a fault of fieldsift itself ({type(error).__name__}); see {self.tally.fault_log}"
            )
            return without_data(empty, "failed", "internal_error", told)

    def _note_fault(self, document: Document, error: Exception) -> None:
        """Keep what happened in a log: exit code 70 names it."""
        folder = self.plan.output / ".fieldsift" if self.plan.output else cache_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.tally.fault_log = folder / "faults.log"
        with self.tally.fault_log.open("a", encoding="utf-8") as log:
            log.write(f"{document.path}\n")
            traceback.print_exception(error, file=log)

    # what becomes of it -------------------------------------------------------------------

    async def _commit(self, source: Source, results: Sequence[Result]) -> None:
        """Data files first, then the lines with the mark: a kill in between is repaired by running again.

        Raises:
            SetupError: the output can't be written.

        """
        output = self.plan.output
        if output is None:
            return
        earlier = self.ledger.lines_of(source.path)
        if earlier and all(map(_says_nothing, results)):
            return  # what an earlier pass found is still all that is known
        await self.ledger.lift(source.path)
        try:
            lines = [await asyncio.to_thread(_written, output, result) for result in results]
            current = {line.file for line in lines}
            places = {(line.path, line.stage) for line in lines}
            self.tally.superseded += sum((line.path, line.stage) not in places for line in earlier)
            for line in earlier:
                if line.file and line.file not in current:
                    remove_data(output, Path(line.file))
        except OSError as error:
            raise SetupError(
                f"output {output}: {error.strerror or error}: {error.filename}"
            ) from error
        unfinished = any(map(_says_nothing, results))
        mark = None if unfinished else (source.size, source.mtime_ns, self._pipeline, self._run.id)
        await self.ledger.finish(source.path, lines, mark)

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


def _says_nothing(result: Result) -> bool:
    """Whether a Result is only about this run: the document was not reached, or nothing may be sent."""
    return result.status in CONTINUES or result.reason == "not_recorded"


def _written(output: Path, result: Result) -> Line:
    """The line of a Result, after its data file is written."""
    file = _file_of(result)
    if file:
        write_data(output, file, result.data)
    text = dump(result.to_json())
    name = str(file) if file else None
    return Line(result.document.path, result.stage or "", result.status, text, name)


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


def _file_of(result: Result) -> Path | None:
    if result.stage is None or result.status not in {"valid", "invalid"}:
        return None
    return data_file(result.stage, result.document.path, rejected=result.status == "invalid")


def _most_output(gate: Gate) -> int:
    model = catalogue.find(gate.endpoint.provider, gate.endpoint.model)
    return (model.output_limit if model else None) or _MOST_OUTPUT


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
