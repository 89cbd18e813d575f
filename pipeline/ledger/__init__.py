"""What must survive: reserved, paid and finished in a Ledger; answers as Replies, in SQLite or as readable files.

Two SQLite files lie in the state folder. `replies.sqlite` holds what services answered, byte for
byte; `ledger.sqlite` holds money and results. Both are written by one thread that commits whatever
has gathered at once (WAL, synchronous FULL): durable, and a thousand commits cost a few.

The text of results.jsonl is part of the same step: lines are appended and synced first, then
committed together with the new length of the file. A start cuts the file back to that length, so
that each line stands there exactly once, whenever the process died.
"""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StateError
from pipeline.ledger.commons import Commons
from pipeline.ledger.damage import damaged, explained
from pipeline.ledger.database import Database, RepliesFile
from pipeline.ledger.holder import held
from pipeline.ledger.place import refuse_remote
from pipeline.ledger.repair import rebuild, saved_and_lost
from pipeline.ledger.replies import REPLAYING, Recording, Replies, StoredReplies, nearest
from pipeline.ledger.rows import Rowed, note_changed
from pipeline.ledger.sharing import Shared
from pipeline.ledger.shelf import Shelf
from pipeline.ledger.survey import Surveyed
from pipeline.ledger.versions import COLUMNS, LEDGER, inserting, proof
from pipeline.ledger.words import Words
from pipeline.writers import sync_folder

__all__ = [
    "REPLAYING",
    "Commons",
    "Ledger",
    "Line",
    "Pass",
    "Recording",
    "Replies",
    "RepliesFile",
    "Shared",
    "Shelf",
    "StoredReplies",
    "Words",
    "explained",
    "held",
    "nearest",
    "rebuild",
    "refuse_remote",
    "saved_and_lost",
]

_BOOKED = """update calls set cost = :cost, state = :state, tokens = coalesce(:tokens, tokens),
  proof = proof('calls', id, key, take, run, endpoint, reserved, :cost, :state, at, coalesce(:tokens, tokens))
  where id = :id"""
_NOTED_SOURCE = "select max(run) from since where source = ?"
#: Where no answer came, none is passed over: the mark is lifted, but the answer to an equal document still counts.
_RETRIED = """insert into since (source, path, stage, run, proof)
  select source, path, noted, ?1, proof('since', source, path, noted, ?1) from
    (select source, path, iif(json_extract(line, '$.attempts') = '[]', '-' || stage, stage) as noted
     from lines where status = ?2)"""
_NOTED_STAGE = "select max(run) from since where path = ? and stage in (?, '')"


@dataclass(frozen=True, slots=True)
class Line:
    """One Result as it is kept: its place, its text, and the data file that belongs to it."""

    path: str
    stage: str
    status: str
    line: str
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """One run over an output: its number, and since which run answers and marks count.

    With `retry`, some documents' answers and marks count only from a later run.
    """

    id: int
    since: int
    retry: bool = False


class Ledger(Surveyed, Rowed):
    """Money and results of one output folder (or of the user's cache, without results).

    Amounts are whole millionths of a millionth of a dollar: exact in SQLite, 9 million dollars at most.
    """

    def __init__(self, folder: Path | None, results: Path | None = None) -> None:
        """`folder` None keeps everything in memory; `results` is the results.jsonl to write.

        Raises:
            DamagedState: something of the ledger is lost or changed.
            StateError: it can't be used, or the results are those of another one.

        """
        self._results = results
        self._unwritten: list[str] = []
        self._database = Database(
            folder / "ledger.sqlite" if folder else None,
            LEDGER,
            self._append_results,
            self._appended,
        )
        try:
            self._length = int(self._meta("length", 0))
            if results is not None:
                self._restore_results(results)
        except BaseException as error:
            self._database.close()
            if isinstance(error, OSError):
                raise explained(results, error) from error
            raise

    # runs and marks -------------------------------------------------------------------------

    async def begin(self, command: str, *, force: bool = False, retry: Iterable[str] = ()) -> Pass:
        """Start a run. `force` and `retry` (statuses) make answers count from this run on only.

        The same command again, after it was killed, goes on with the run that it had started.
        """
        statuses = tuple(retry)

        def _job(db: sqlite3.Connection) -> Pass:
            last = db.execute(
                "select id, command, since, finished from runs order by id desc"
            ).fetchone()
            number = (last[0] if last else 0) + 1
            if last and last[1] == command and not last[3]:
                since = last[2]
            else:
                since = number if force else 0
                db.execute("delete from since")
                for status in statuses:
                    db.execute(_RETRIED, (number, status))
            row = {"id": number, "command": command, "since": since, "finished": 0}
            db.execute(inserting("runs"), row)
            return Pass(number, since, bool(statuses))

        return await self._database.write(_job)

    async def end(self, run: Pass) -> None:
        """The run came to its end: the same command later is a new one."""
        await self._database.write(
            lambda db: db.execute(
                "update runs set finished = 1, proof = proof('runs', id, command, since, 1) where id = ?",
                (run.id,),
            )
        )

    @property
    def was_interrupted(self) -> bool:
        """Whether the run before the newest one did not come to its end."""
        row = self._database.read("select finished from runs order by id desc limit 1 offset 1")
        return row is not None and not row[0]

    def derived_files(self) -> set[str]:
        """The data files of parts and items that lines tell of."""
        query = "select file from lines where file like '%#%'"
        return {file for (file,) in self._database.rows(query)}

    def done(self, path: str, size: int, mtime_ns: int, pipeline: str, run: Pass) -> bool:
        """Whether this file, unchanged, went through this pipeline to its end."""
        query = "select size, mtime_ns, pipeline, run from sources where path = ?"
        row = self._database.read(query, path)
        if row is None or row[:3] != (size, mtime_ns, pipeline):
            return False
        return bool(row[3] >= max(run.since, self._noted(run, _NOTED_SOURCE, path)))

    def files_of(self, source: str) -> list[str]:
        """The data files of a source's lines."""
        query = "select file from lines where source = ? and file is not null"
        return [file for (file,) in self._database.rows(query, source)]

    def since(self, path: str, stage: str, run: Pass) -> int:
        """The run from which on answers count for a document and stage."""
        return max(run.since, self._noted(run, _NOTED_STAGE, path, stage))

    def _noted(self, run: Pass, query: str, *values: str) -> int:
        if not run.retry:
            return 0
        row = self._database.read(query, *values)
        return int(row[0] or 0)

    # who goes up ----------------------------------------------------------------------------

    async def decide(
        self, stage: str, pipeline: str, run: Pass, granted: Mapping[str, bool]
    ) -> None:
        """Note for inputs whether they may go up to a stage's next model; all of them at once."""
        rows = [
            {
                "source": source,
                "stage": stage,
                "pipeline": pipeline,
                "granted": int(may),
                "run": run.id,
            }
            for source, may in granted.items()
        ]

        def _job(db: sqlite3.Connection) -> None:
            db.executemany(inserting("raised", "insert or replace"), rows)

        await self._database.write(_job)

    def decided(self, source: str, stage: str, pipeline: str, since: int) -> bool | None:
        """Whether an input may go up, as it was decided for this pipeline in a run from `since` on; None: it was not."""
        query = "select granted from raised where source = ? and stage = ? and pipeline = ? and run >= ?"
        row = self._database.read(query, source, stage, pipeline, since)
        return None if row is None else bool(row[0])

    def granted(self, stage: str, pipeline: str, since: int) -> int:
        """How many inputs may go up, by decisions that still hold."""
        query = (
            "select count(*) from raised where stage = ? and pipeline = ? and run >= ? and granted"
        )
        return int(self._database.read(query, stage, pipeline, since)[0])

    async def lift(self, source: str) -> None:
        """Take a source's mark away before its files change, so that a kill leaves nothing unfinished marked."""
        if self._database.read("select 1 from sources where path = ?", source):
            await self._database.write(
                lambda db: db.execute("delete from sources where path = ?", (source,))
            )

    # results --------------------------------------------------------------------------------

    def lines_of(self, source: str) -> list[Line]:
        """The lines that earlier passes left for a source."""
        query = (
            "select seq, source, path, stage, status, file, line, proof from lines where source = ?"
        )
        return [
            Line(path, stage, status, line, file)
            for *row, proven in self._database.rows(query, source)
            for _, _, path, stage, status, file, line in [self._proven(row, proven)]
        ]

    def _proven(self, row: list[Any], proven: bytes) -> list[Any]:
        """A row of `lines`, if it is what was written."""
        if proof("lines", *row) != proven:
            raise damaged(self._database.path, f"the line of {row[2]}")
        return row

    async def finish(
        self, source: str, new: list[Line], mark: tuple[int, int, str, int] | None
    ) -> None:
        """Commit a source's lines in place of its earlier ones, with its mark (size, mtime_ns, pipeline, run)."""

        def _job(db: sqlite3.Connection) -> None:
            kept = {(line.path, line.stage): line.line for line in new}
            for seq, path, stage, text in db.execute(
                "select seq, path, stage, line from lines where source = ?", (source,)
            ).fetchall():
                if kept.get((path, stage)) == text:
                    del kept[path, stage]
                    continue
                db.execute("delete from lines where seq = ?", (seq,))
                db.execute("insert or replace into meta values ('superseded', 1)")
                note_changed(db, source)
            for line in new:
                if (line.path, line.stage) in kept:
                    (seq,) = db.execute("select coalesce(max(seq), 0) + 1 from lines").fetchone()
                    row = {"seq": seq, "source": source, **asdict(line)}
                    db.execute(inserting("lines", "insert or replace"), row)
                    self._unwritten.append(line.line)
            if kept:
                note_changed(db, source)
            db.execute("delete from sources where path = ?", (source,))
            if mark:
                row = dict(zip(COLUMNS["sources"], (source, *mark), strict=True))
                db.execute(inserting("sources"), row)
            if self._results is not None:
                self._length_after(db)

        await self._database.write(_job)

    def counts(self) -> dict[str, int]:
        """How many lines there are of each status."""
        return dict(
            self._database.rows(
                "select status, count(*) from lines group by status order by status"
            )
        )

    def lines(self) -> Iterator[str]:
        """The text of every line, in the order of results.jsonl."""
        query = "select seq, source, path, stage, status, file, line, proof from lines order by seq"
        for *row, proven in self._database.rows(query):
            yield self._proven(row, proven)[-1]

    def _append_results(self) -> None:
        if not self._unwritten or self._results is None:
            return
        with self._results.open("r+b" if self._results.exists() else "w+b") as file:
            file.seek(self._length)
            file.write("".join(line + "\n" for line in self._unwritten).encode())
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def _appended(self, committed: bool) -> None:
        if committed and self._results is not None:
            self._length += sum(len(line.encode()) + 1 for line in self._unwritten)
        self._unwritten.clear()

    def _length_after(self, db: sqlite3.Connection) -> None:
        length = self._length + sum(len(line.encode()) + 1 for line in self._unwritten)
        db.execute("insert or replace into meta values ('length', ?)", (length,))

    def _restore_results(self, results: Path) -> None:
        size = results.stat().st_size if results.exists() else 0
        if size and self._is_unwritten:
            raise StateError(
                f"{results} holds results that the state in {self._database.path} knows nothing of. If it lies "
                f"elsewhere, name it with --state DIR; if it is lost, another output, or {results.name} moved away, "
                f"begins anew, and all that has no stored answer is paid again"
            )
        if size < self._length or self._meta("superseded", 0) or not self._ours(results):
            self._rewrite(results)
        elif size > self._length:
            os.truncate(results, self._length)

    @property
    def _is_unwritten(self) -> bool:
        """Whether no run has begun here yet."""
        query = "select exists (select 1 from runs) or exists (select 1 from lines)"
        return not self._database.read(query)[0]

    def _ours(self, results: Path) -> bool:
        """Whether the last committed line stands where it should: nobody else wrote the file."""
        newest = self._database.read("select line from lines order by seq desc limit 1")
        if newest is None or not self._length:
            return not self._length
        line = newest[0].encode() + b"\n"
        with results.open("rb") as file:
            file.seek(max(0, self._length - len(line)))
            return bool(file.read(len(line)) == line)

    def tidy(self) -> None:
        """Drop superseded lines from results.jsonl, in one streamed rewrite, if there are any."""
        if self._results is not None and (
            self._meta("superseded", 0) or not self._results.exists()
        ):
            try:
                self._rewrite(self._results)
            except OSError as error:
                raise explained(self._results, error) from error

    def _rewrite(self, results: Path) -> None:
        beside = results.with_name(results.name + ".tmp")
        length = 0
        with beside.open("wb") as file:
            for line in self.lines():
                length += file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(results)
        sync_folder(results.parent)
        self._length = length

        def _job(db: sqlite3.Connection) -> None:
            db.execute("insert or replace into meta values ('length', ?)", (length,))
            db.execute("delete from meta where name = 'superseded'")

        self._database.write_now(_job)

    # money ----------------------------------------------------------------------------------

    async def reserve(
        self, key: str, take: int, run: int, endpoint: str, amount: int | None, tokens: int = 0
    ) -> int:
        """Note, before a call is sent, the most that it can cost, and its tokens as far as they are known.

        Returns the number of the call.
        """
        return (await self.reserve_all([(key, take, amount, tokens)], run, endpoint))[0]

    async def reserve_all(
        self,
        claims: Sequence[tuple[str, int, int | None, int]],
        run: int,
        endpoint: str,
        buyers: Sequence[tuple[str, str]] = (),
    ) -> list[int]:
        """The same for all that one request asks, each with its key, take, amount and tokens; all of them or none.

        They have one moment: by that they count as one request. `buyers` are the documents and stages that they are
        for, where that is noted at once.
        """
        common = {
            "run": run,
            "endpoint": endpoint,
            "cost": None,
            "state": "sent",
            "at": time.time(),
        }

        def _job(db: sqlite3.Connection) -> list[int]:
            (first,) = db.execute("select coalesce(max(id), 0) + 1 from calls").fetchone()
            numbers = range(first, first + len(claims))
            rows = [
                common
                | {"id": number, "key": key, "take": take, "reserved": amount, "tokens": tokens}
                for number, (key, take, amount, tokens) in zip(numbers, claims, strict=True)
            ]
            db.executemany(inserting("calls"), rows)
            for call, (document, stage) in zip(numbers, buyers, strict=False):
                row = {"document": document, "stage": stage, "call": call}
                db.execute(inserting("bought", "insert or replace"), row)
            return list(numbers)

        return await self._database.write(_job)

    async def book(
        self, call: int, cost: int | None, state: str, tokens: int | None = None
    ) -> None:
        """Put the real cost and tokens in place of the reservation.

        `state` is `paid`, `free`, or `unknown` (stays reserved); tokens None leave what was noted.
        """
        await self.book_all([(call, cost, tokens)], state)

    async def book_all(
        self, costs: Sequence[tuple[int, int | None, int | None]], state: str
    ) -> None:
        """The same for all that one request asked: call, cost and tokens of each."""
        rows = [
            {"cost": cost, "state": state, "tokens": tokens, "id": call}
            for call, cost, tokens in costs
        ]
        await self._database.write(lambda db: _run_all(db, _BOOKED, rows))

    async def note_buyer(self, call: int, document: str, stage: str) -> None:
        """Note for whom a call was made."""
        row = {"document": document, "stage": stage, "call": call}
        await self._database.write(
            lambda db: db.execute(inserting("bought", "insert or replace"), row)
        )

    def bought(
        self, place: tuple[str, str], key: str, take: int, since: int
    ) -> tuple[int, int | None] | None:
        """The call that brought a document and stage its answer in a run from `since` on, and its cost; None: no such.

        With the cost of those before it in the same run which asked the same and brought nothing.
        """
        query = """select max(calls.id), iif(count(*) = count(cost), sum(cost), null) from bought
                   join calls on calls.id = call where document = ? and stage = ? and key = ? and take = ?
                   and run >= ? and state = 'paid' group by run order by run desc limit 1"""
        row = self._database.read(query, *place, key, take, since)
        return None if row is None else (row[0], row[1])

    def recent(self, endpoint: str, since: float) -> list[tuple[float, int, int]]:
        """The requests to an endpoint since a moment (seconds since 1970), oldest first: when, tokens, cost or reserve."""
        query = """select at, sum(tokens), sum(coalesce(cost, reserved, 0)) from calls
                   where endpoint = ? and at > ? and state <> 'free' group by at order by at"""
        return list(self._database.rows(query, endpoint, since))

    def open_calls(self) -> list[tuple[int, str, int, int, str, int | None]]:
        """Calls that were sent and never booked: number, key, take, run, endpoint, amount reserved."""
        query = "select id, key, take, run, endpoint, reserved from calls where state = 'sent'"
        return list(self._database.rows(query))

    def spent(self, since: int = 0, keys: str = "*") -> int:
        """Everything booked or reserved so far, by runs from `since` on, for calls with keys of that form."""
        query = "select coalesce(sum(coalesce(cost, reserved, 0)), 0) from calls where run >= ? and key glob ?"
        return int(self._database.read(query, since, keys)[0])

    def calls(self, since: int = 0) -> tuple[int, int]:
        """How many calls of runs from `since` on cost something or may have, and of how many it is not known how much."""
        query = """select coalesce(sum(state <> 'free'), 0), coalesce(sum(state <> 'free' and cost is null
                     and (state = 'paid' or reserved is null)), 0) from calls where run >= ?"""
        sent, unpriced = self._database.read(query, since)
        return int(sent), int(unpriced)

    # housekeeping ---------------------------------------------------------------------------

    def _meta(self, name: str, default: Any) -> Any:
        row = self._database.read("select value from meta where name = ?", name)
        return default if row is None else row[0]

    def close(self) -> None:
        """Commit what waits and let go of the file."""
        self._database.close()


def _run_all(db: sqlite3.Connection, query: str, rows: Sequence[Mapping[str, Any]]) -> None:
    # Nothing is returned: a cursor that is let go of in another thread disturbs the statement's next use.
    db.executemany(query, rows)
