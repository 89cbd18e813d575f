"""The inputs of a run: listed once, compared with the ledger in bulk, and kept on disk until a worker takes them."""

import asyncio
import itertools
import json
import os
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO

from pipeline.committing import prune
from pipeline.config import Plan
from pipeline.document import ROWS, rows_file
from pipeline.errors import SetupError, StateError
from pipeline.ledger import Ledger, Pass
from pipeline.ledger.rows import GONE
from pipeline.ledger.survey import Books, Past
from pipeline.limits import dollars
from pipeline.runner.shares import Shares
from pipeline.runner.survey import Change, Findings, Survey, Why, change, retried, settings_of, why
from pipeline.runner.tally import PREFLIGHT, Options, Tally
from pipeline.sources import Row, Source

#: Inputs that are listed and looked up at a time.
_CHUNK = 500
#: Small inputs that a worker takes at a time: what is asked about them can share requests.
_HANDFUL = 64


@dataclass(frozen=True, slots=True)
class Job:
    """What a run works on, and how: what a Listing compares with the ledger."""

    plan: Plan
    ledger: Ledger
    options: Options
    run: Pass
    shares: Shares


class Listing:
    """The inputs that have to be worked on, in their order; filled by a task while workers take them.

    On an output without results whatever is listed can be taken at once. On any other one the whole
    listing is compared first: `survey` says what is to do before the first is taken. Behind the last
    input come those again that were withheld, once none is worked on any more and it is decided which go up.
    """

    def __init__(
        self, sources: Iterable[Source], job: Job, tally: Tally, check: Callable[[Source], None]
    ) -> None:
        """`check` is called with each of the first PREFLIGHT inputs that has to be worked on, and may raise."""
        self._sources = iter(sources)
        self._job = job
        self._tally = tally
        self._check = check
        output = job.plan.output
        folder = output / ".fieldsift" if output else None
        self._waiting = Backlog(folder, files=job.plan.jobs is None)
        self._compared: _Compared | None = None
        if output and not job.ledger.is_new:
            self._compared = _Compared(job)
        self._places: dict[str, int] = {}
        self._missing: set[str] = set()
        self._more = asyncio.Event()
        self._deciding = asyncio.Lock()
        self._out = 0
        self._stopped = False
        self._task = asyncio.create_task(self._fill())

    async def survey(self) -> Survey | None:
        """What is to do; None on an output without results. Returns when the whole input is listed."""
        if self._compared is None:
            return None
        await self._task
        whole = self._tally.listed and not self._job.options.partial
        return await asyncio.to_thread(self._compared.survey, whole=whole)

    async def take(self) -> list[tuple[Source, bool]]:
        """The next input, or a handful of small ones, each with whether it is among the first of the listing.

        None are left after the last one. Whoever took some says of each when it was worked on: `returned`.
        """
        while not self._waiting:
            if self._stopped:
                return []
            if self._task.done():
                self._task.result()
            if self._task.done() and not self._out:
                await self._decide()
                if not self._waiting:
                    return []
                break
            self._more.clear()
            await self._more.wait()
        taken = self._waiting.take()
        self._out += len(taken)
        return taken

    def returned(self) -> None:
        """An input that was taken is worked on no more."""
        self._out -= 1
        self._more.set()

    async def _decide(self) -> None:
        """Put what was withheld back into the listing; where a budget ended the run, undecided."""
        shares = self._job.shares
        async with self._deciding:
            if shares.waiting and not self._waiting:
                is_ended = self._tally.stopped is not None
                again = shares.give_back() if is_ended else await shares.decide(self._tally.found)
                self._waiting.put(again, early=False)
                self._more.set()

    def gone(self) -> Iterator[list[str]]:
        """The inputs that have results and are not listed, some at a time."""
        return self._compared.books.gone() if self._compared else iter(())

    async def let_go(self, sources: Iterable[str]) -> None:
        """Of inputs that are gone, note the rows whose files are still there: they are left out of the data files."""
        if self._compared:
            rows = ((each, rows_file(each)) for each in sources)
            left = [each for each, file in rows if file and self._compared.books.is_listed(file)]
            await self._job.ledger.note_rows(dict.fromkeys(left, GONE))

    def stop(self) -> None:
        """List nothing more."""
        self._stopped = True
        self._more.set()

    async def aclose(self) -> None:
        """Let go of the files; an error of the listing that nobody heard of is dropped."""
        self._stopped = True
        await asyncio.gather(self._task, return_exceptions=True)
        self._waiting.close()
        if self._compared:
            self._compared.books.close()

    async def _fill(self) -> None:
        try:
            early = True
            while not self._stopped:
                count, wanted = await asyncio.to_thread(self._chunk, early=early)
                if self._job.plan.output:
                    if readable := self._compared.readable() if self._compared else []:
                        await prune(self._job.ledger, self._job.plan.output, readable)
                    await self._job.ledger.note_rows(self._places, self._missing)
                self._tally.found += count
                self._tally.note_unchanged(count - wanted)
                self._more.set()
                if not count:
                    self._tally.listed = True
                    return
                early = False
        except OSError as error:
            raise SetupError(f"listing the input: {error.strerror or error}") from error
        except sqlite3.Error as error:
            raise StateError(f"the ledger, or a temporary file beside it: {error}") from error
        finally:
            self._more.set()

    def _chunk(self, *, early: bool) -> tuple[int, int]:
        """List some inputs and keep those that have to be worked on; how many of both there were."""
        chunk = list(itertools.islice(self._sources, PREFLIGHT if early else _CHUNK))
        wanted = self._compared.wanted(chunk) if self._compared and chunk else chunk
        rows = ((each.path, each.row) for each in chunk)
        self._places = {path: row.number for path, row in rows if row}
        self._missing = self._compared.missing() if self._compared else set()
        if early:
            for source in wanted:
                self._check(source)
        self._waiting.put(wanted, early=early)
        return len(chunk), len(wanted)


class Backlog:
    """Sources, first in, first out: a few in memory, more in a temporary file; content that was given stays in memory.

    One thread may put while another one takes.
    """

    def __init__(self, folder: Path | None, *, files: bool = True) -> None:
        """`folder` is where the file lies, if one is needed; None: where the system keeps such files.

        With `files`, small files are taken by the handful like rows: where nobody said how many at a time.
        """
        self._files = files
        self._folder = folder if folder and folder.is_dir() else None
        self._file: IO[bytes] | None = None
        self._given: deque[Source] = deque()
        self._ready: deque[bytes] = deque()
        self._taken = 0
        self._written = 0
        self._rest = b""
        self._peeked: tuple[Source, bool] | None = None

    def __bool__(self) -> bool:
        return bool(self._ready or self._peeked) or self._taken < self._written

    def put(self, sources: Iterable[Source], *, early: bool) -> None:
        """Add sources."""
        lines = []
        for each in sources:
            file = None if each.file is None else os.fspath(each.file)
            if file is None:
                self._given.append(each)
            row = [each.path, each.size, each.mtime_ns, file, each.problem, early, each.row]
            lines.append(json.dumps(row).encode())
        if self._taken == self._written and len(self._ready) + len(lines) <= 2 * _CHUNK:
            self._ready.extend(lines)
        else:
            self._write(b"".join(line + b"\n" for line in lines))

    def _write(self, body: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115, close closes it
        done = 0
        while done < len(body):
            done += os.pwrite(self._file.fileno(), body[done:], self._written + done)
        self._written += done

    def take(self) -> list[tuple[Source, bool]]:
        """The next source, or a handful where they are small, each with what it was put with; there must be one."""
        taken = [self._next()]
        while len(taken) < _HANDFUL and self._goes_along(taken[-1][0]) and self:
            each = self._next()
            if not self._goes_along(each[0]):
                self._peeked = each
                break
            taken.append(each)
        return taken

    def _goes_along(self, source: Source) -> bool:
        return source.is_small and (self._files or source.row is not None)

    def _next(self) -> tuple[Source, bool]:
        if self._peeked:
            peeked, self._peeked = self._peeked, None
            return peeked
        while not self._ready and self._file:
            most = min(1 << 16, self._written - self._taken)
            body = os.pread(self._file.fileno(), most, self._taken)
            *lines, self._rest = (self._rest + body).split(b"\n")
            self._ready.extend(lines)
            self._taken += len(body)
        path, size, mtime_ns, file, problem, early, row = json.loads(self._ready.popleft())
        if file is None:
            return self._given.popleft(), early
        told = (problem[0], problem[1]) if problem else None
        place = Row._make(row) if row else None
        return Source(path, file, size, mtime_ns, problem=told, row=place), early

    def close(self) -> None:
        """Remove the file."""
        if self._file:
            self._file.close()


class _Compared:
    """A listing beside the ledger: which inputs have to be worked on, and why."""

    def __init__(self, job: Job) -> None:
        self.books: Books = job.ledger.books()
        self.whole = True
        self._job = job
        self._found = Findings()
        self._pipeline = job.plan.sha256
        self._settings = settings_of(job.plan)
        self._earlier = job.ledger.settings()
        self._changes: dict[str, Change] = {}
        self._missing: set[str] = set()
        self._readable: set[str] = set()

    def wanted(self, chunk: list[Source]) -> list[Source]:
        """Those that have to be worked on."""
        self.books.listed(each.path for each in chunk)
        past = self.books.of([each.path for each in chunk], retry=bool(self._job.options.retry))
        kept = []
        for source in chunk:
            known = past.get(source.path)
            reason = why(source, known, self._pipeline, self._job.run.since)
            if reason is None and known and self._lacks(source, known):
                reason = "output_missing"
            if reason is None:
                self._found.unchanged += 1
            else:
                self._count(reason, known or Past())
                kept.append(source)
            if source.problem:
                self._note_problem(source, source.problem[0])
        self._note_own(chunk)
        return kept

    def _note_problem(self, source: Source, reason: str) -> None:
        """What could not be listed is not gone."""
        if source.file and Path(source.file).is_dir():
            self.whole = False  # what lies in it
        elif source.row is None and source.path.lower().endswith(ROWS):
            self.books.unknown(source.path)
        elif reason == "unclosed_quote":  # rows behind it may be taken for a part of it
            self.books.unknown(rows_file(source.path) or "")

    def _note_own(self, chunk: list[Source]) -> None:
        """Find the files that could not be read once, and whose rows are listed again."""
        files = {rows_file(each.path) or "" for each in chunk if each.row}
        self._readable |= set(self.books.of(sorted(files))).difference(each.path for each in chunk)

    def readable(self) -> list[str]:
        """The files of rows with lines of their own that can be read, found since this was asked last."""
        found, self._readable = sorted(self._readable), set()
        return found

    def _lacks(self, source: Source, past: Past) -> bool:
        output = f"{self._job.plan.output}/"
        # A Path for each of them takes longer than asking.
        lacks = not all(os.path.exists(output + file) for _, _, file in past.lines if file)  # noqa: PTH110
        if source.row:  # its file is written anew from the ledger
            self._missing |= {rows_file(source.path) or ""} if lacks else set()
            return False
        return lacks

    def missing(self) -> set[str]:
        """The files of rows whose data files were found to be gone since this was asked last."""
        found, self._missing = self._missing, set()
        return found

    def _count(self, reason: Why, past: Past) -> None:
        found = self._found
        stages = self._job.options.stages or [stage.name for stage in self._job.plan.stages]
        found.reasons[reason] += 1
        if reason == "settings_changed" and past.mark:
            before = past.mark[2]
            if before not in self._changes:
                self._changes[before] = change(self._earlier.get(before), self._settings)
            found.changes[self._changes[before].told] += 1
            found.asked.update(self._changes[before].asked)
        elif reason == "retry":
            found.changes[retried(past, self._job.options.retry)] += 1
            those = {s for s, status, _ in past.lines if status in self._job.options.retry}
            found.asked.update(stages if "" in those else those)
        elif reason != "output_missing":
            found.asked.update(stages)

    def survey(self, *, whole: bool) -> Survey:
        """What was found."""
        found = self._found
        gone = self.books.left() if whole and self.whole else None
        return Survey(found.reasons, found.changes, found.unchanged, gone, self._cost())

    def _cost(self) -> Decimal | None:
        cost = Decimal(0)
        for stage in self._job.plan.stages:
            if stage.task == "python":
                continue
            asked = self._found.asked[stage.name]
            model = str(stage.model)
            if not asked or self._job.plan.endpoints[model].provider == "local":
                continue
            mean = self._job.ledger.cost_of_an_answer(model)
            if mean is None:
                return None
            cost += mean * asked
        return Decimal(dollars(int(cost)))
