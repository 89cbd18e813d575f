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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.ledger.database import Database
from pipeline.ledger.replies import REPLAYING, Recording, Replies, StoredReplies, nearest
from pipeline.ledger.shelf import Shelf
from pipeline.ledger.words import Words
from pipeline.writers import sync_folder

__all__ = [
    "REPLAYING",
    "Ledger",
    "Line",
    "Pass",
    "Recording",
    "Replies",
    "Shelf",
    "StoredReplies",
    "Words",
    "nearest",
]

_LEDGER = """
create table if not exists meta (name text primary key, value) without rowid;
create table if not exists runs (
  id integer primary key, command text not null, since integer not null, finished integer not null default 0);
create table if not exists sources (
  path text primary key, size integer not null, mtime_ns integer not null,
  pipeline text not null, run integer not null) without rowid;
create table if not exists lines (
  seq integer primary key, source text not null, path text not null, stage text not null,
  status text not null, file text, line text not null, unique (path, stage));
create index if not exists lines_source on lines (source);
create table if not exists since (
  source text not null, path text not null, stage text not null, run integer not null,
  primary key (source, path, stage)) without rowid;
create table if not exists calls (
  id integer primary key, key text not null, take integer not null, run integer not null,
  endpoint text not null, reserved integer, cost integer, state text not null);
create index if not exists calls_state on calls (state);
"""


_NOTED_SOURCE = "select max(run) from since where source = ?"
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


class Ledger:
    """Money and results of one output folder (or of the user's cache, without results).

    Amounts are whole millionths of a millionth of a dollar: exact in SQLite, 9 million dollars at most.
    """

    def __init__(self, folder: Path | None, results: Path | None = None) -> None:
        """`folder` None keeps everything in memory; `results` is the results.jsonl to write."""
        self._results = results
        self._unwritten: list[str] = []
        self._database = Database(
            folder / "ledger.sqlite" if folder else None,
            _LEDGER,
            self._append_results,
            self._appended,
        )
        self._length = int(self._meta("length", 0))
        if results is not None:
            self._restore_results(results)

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
                    db.execute(
                        "insert into since select source, path, stage, ? from lines where status = ?",
                        (number, status),
                    )
            db.execute(
                "insert into runs (id, command, since) values (?, ?, ?)", (number, command, since)
            )
            return Pass(number, since, bool(statuses))

        return await self._database.write(_job)

    async def end(self, run: Pass) -> None:
        """The run came to its end: the same command later is a new one."""
        await self._database.write(
            lambda db: db.execute("update runs set finished = 1 where id = ?", (run.id,))
        )

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
        return [file for (file,) in self._database.reader.execute(query, (source,))]

    def since(self, path: str, stage: str, run: Pass) -> int:
        """The run from which on answers count for a document and stage."""
        return max(run.since, self._noted(run, _NOTED_STAGE, path, stage))

    def _noted(self, run: Pass, query: str, *values: str) -> int:
        if not run.retry:
            return 0
        row = self._database.read(query, *values)
        return int(row[0] or 0)

    async def lift(self, source: str) -> None:
        """Take a source's mark away before its files change, so that a kill leaves nothing unfinished marked."""
        if self._database.read("select 1 from sources where path = ?", source):
            await self._database.write(
                lambda db: db.execute("delete from sources where path = ?", (source,))
            )

    # results --------------------------------------------------------------------------------

    def lines_of(self, source: str) -> list[Line]:
        """The lines that earlier passes left for a source."""
        query = "select path, stage, status, line, file from lines where source = ?"
        return [Line(*row) for row in self._database.reader.execute(query, (source,))]

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
            for line in new:
                if (line.path, line.stage) in kept:
                    row = (source, line.path, line.stage, line.status, line.file, line.line)
                    db.execute(
                        "insert or replace into lines (source, path, stage, status, file, line) values (?,?,?,?,?,?)",
                        row,
                    )
                    self._unwritten.append(line.line)
            db.execute("delete from sources where path = ?", (source,))
            if mark:
                db.execute("insert into sources values (?,?,?,?,?)", (source, *mark))
            if self._results is not None:
                self._length_after(db)

        await self._database.write(_job)

    def counts(self) -> dict[str, int]:
        """How many lines there are of each status."""
        return dict(
            self._database.reader.execute(
                "select status, count(*) from lines group by status order by status"
            )
        )

    def reasons(self) -> list[tuple[str, str, int]]:
        """Status, reason and number of the lines that need attention, most first."""
        query = """select status, coalesce(json_extract(line, '$.reason'), ''), count(*) from lines
                   where status not in ('valid', 'skipped') group by 1, 2 order by 3 desc, 1, 2"""
        return list(self._database.reader.execute(query))

    def lines(self) -> Iterator[str]:
        """The text of every line, in the order of results.jsonl."""
        for (text,) in self._database.reader.execute("select line from lines order by seq"):
            yield text

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
        if size < self._length or self._meta("superseded", 0) or not self._ours(results):
            self._rewrite(results)
        elif size > self._length:
            os.truncate(results, self._length)

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
            self._rewrite(self._results)

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
        reader = self._database.reader
        reader.execute("begin immediate")
        reader.execute("insert or replace into meta values ('length', ?)", (length,))
        reader.execute("delete from meta where name = 'superseded'")
        reader.execute("commit")

    # money ----------------------------------------------------------------------------------

    async def reserve(
        self, key: str, take: int, run: int, endpoint: str, amount: int | None
    ) -> int:
        """Note, before a call is sent, the most that it can cost; the number of the call."""
        row = (key, take, run, endpoint, amount)
        query = "insert into calls (key, take, run, endpoint, reserved, state) values (?,?,?,?,?,'sent')"
        return await self._database.write(lambda db: int(db.execute(query, row).lastrowid or 0))

    async def book(self, call: int, cost: int | None, state: str) -> None:
        """Put the real cost in place of the reservation; `state` is `paid`, `free`, or `unknown` (stays reserved)."""
        query = "update calls set cost = ?, state = ? where id = ?"
        await self._database.write(lambda db: db.execute(query, (cost, state, call)))

    def open_calls(self) -> list[tuple[int, str, int, int, str, int | None]]:
        """Calls that were sent and never booked: number, key, take, run, endpoint, amount reserved."""
        query = "select id, key, take, run, endpoint, reserved from calls where state = 'sent'"
        return list(self._database.reader.execute(query))

    def spent(self) -> int:
        """Everything booked or reserved so far."""
        query = "select coalesce(sum(coalesce(cost, reserved, 0)), 0) from calls"
        return int(self._database.read(query)[0])

    def calls(self) -> tuple[int, int]:
        """How many calls cost something or may have, and of how many of them it is not known how much."""
        query = """select coalesce(sum(state <> 'free'), 0), coalesce(sum(state <> 'free' and cost is null
                     and (state = 'paid' or reserved is null)), 0) from calls"""
        sent, unpriced = self._database.read(query)
        return int(sent), int(unpriced)

    # housekeeping ---------------------------------------------------------------------------

    def _meta(self, name: str, default: Any) -> Any:
        row = self._database.read("select value from meta where name = ?", name)
        return default if row is None else row[0]

    def close(self) -> None:
        """Commit what waits and let go of the file."""
        self._database.close()
