"""What earlier runs left, asked for many inputs at a time; which settings they had; what no input stands behind."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from pipeline.ledger.database import Database
from pipeline.ledger.rows import note_changed

#: The settings of a pipeline stand in `meta` under this and the pipeline's hash.
_SETTINGS = "pipeline "
#: Names that are asked for, and dropped, at a time.
_BATCH = 500


class Past(NamedTuple):
    """What earlier runs left of one input.

    `mark` is (size, mtime in ns, pipeline hash, run) of its last whole pass; `lines` are (stage,
    status, data file) of each of its lines; `noted` is the run from which on a retry made marks count.
    """

    mark: tuple[int, int, str, int] | None = None
    lines: Sequence[tuple[str, str, str | None]] = ()
    noted: int = 0


class Books:
    """A look at the ledger on a connection of its own, which one thread at a time may use.

    It remembers on disk what was listed, so that `gone` can tell the rest.
    """

    def __init__(self, database: Database) -> None:
        self._own = database.path is not None
        self._connection = (
            sqlite3.connect(
                database.path, check_same_thread=False, isolation_level=None, timeout=30
            )
            if database.path
            else database.reader
        )
        self._connection.execute("create temp table if not exists seen (path text primary key)")
        self._connection.execute("delete from temp.seen")

    def of(self, paths: Sequence[str], *, retry: bool = False) -> dict[str, Past]:
        """What is known of these inputs; nothing of those that are new."""
        places = f"({','.join('?' * len(paths))})"
        marks = {
            row[0]: row[1:]
            for row in self._connection.execute(
                f"select path, size, mtime_ns, pipeline, run from sources where path in {places}",  # noqa: S608, places are question marks
                paths,
            )
        }
        lines: dict[str, list[tuple[str, str, str | None]]] = {}
        for source, *line in self._connection.execute(
            f"select source, stage, status, file from lines where source in {places}",  # noqa: S608
            paths,
        ):
            lines.setdefault(source, []).append(tuple(line))
        noted = {}
        if retry:
            query = f"select source, max(run) from since where source in {places} group by 1"  # noqa: S608
            noted = dict(self._connection.execute(query, paths))
        return {
            path: Past(marks.get(path), lines.get(path, ()), noted.get(path, 0))
            for path in marks | lines
        }

    def listed(self, paths: Iterable[str]) -> None:
        """Remember that inputs are there."""
        self._connection.execute("begin")
        query = "insert or ignore into temp.seen values (?)"
        self._connection.executemany(query, ((path,) for path in paths))
        self._connection.execute("commit")

    def unknown(self, file: str) -> None:
        """Take all rows of a file for listed: it could not be read to its end, so that nothing is known of them."""
        query = """insert or ignore into temp.seen
                   select distinct source from lines where source > ? || '#' and source < ? || '$'"""
        self._connection.execute(query, (file, file))

    def left(self) -> int:
        """How many inputs have lines and were not listed."""
        query = """select count(distinct source) from lines
                   where source not in (select path from temp.seen)"""
        return int(self._connection.execute(query).fetchone()[0])

    def is_listed(self, file: str) -> bool:
        """Whether rows of a file were listed."""
        query = (
            """select exists (select 1 from temp.seen where path > ? || '#' and path < ? || '$')"""
        )
        return bool(self._connection.execute(query, (file, file)).fetchone()[0])

    def gone(self) -> Iterator[list[str]]:
        """The inputs that have lines and were not listed, some at a time."""
        last = ""
        query = """select distinct source from lines where source > ?
                   and source not in (select path from temp.seen) order by source limit ?"""
        while found := self._connection.execute(query, (last, _BATCH)).fetchall():
            last = found[-1][0]
            yield [source for (source,) in found]

    def close(self) -> None:
        """Let go of the file."""
        if self._own:
            self._connection.close()


class Surveyed:
    """The part of a Ledger that tells what earlier runs left."""

    _database: Database

    @property
    def is_new(self) -> bool:
        """Whether no run has left anything."""
        query = "select exists (select 1 from lines) or exists (select 1 from sources)"
        return not self._database.read(query)[0]

    def books(self) -> Books:
        """A look at what is there, for many inputs at a time."""
        return Books(self._database)

    async def keep_settings(self, pipeline: str, settings: Mapping[str, Any]) -> None:
        """Remember what a pipeline's hash stands for."""
        row = (_SETTINGS + pipeline, json.dumps(settings, sort_keys=True))
        if pipeline not in self.settings():
            await self._database.write(
                lambda db: db.execute("insert or replace into meta values (?, ?)", row)
            )

    def settings(self) -> dict[str, dict[str, Any]]:
        """What each pipeline of earlier runs stood for, by its hash."""
        query = "select name, value from meta where name like 'pipeline %'"
        return {
            name.removeprefix(_SETTINGS): json.loads(value)
            for name, value in self._database.reader.execute(query)
        }

    def cost_of_an_answer(self, endpoint: str) -> Decimal | None:
        """What a question to an endpoint took on average, in the ledger's unit; None where nothing is known."""
        query = """select sum(cost), count(distinct key) from calls
                   where endpoint = ? and state = 'paid' and cost is not null"""
        cost, questions = self._database.read(query, endpoint)
        return Decimal(cost) / questions if questions else None

    async def drop(self, sources: Sequence[str]) -> None:
        """Forget inputs: their lines and marks."""
        names = [(source,) for source in sources]

        def _job(db: sqlite3.Connection) -> None:
            for query in (
                "delete from sources where path = ?",
                "delete from since where source = ?",
                "delete from raised where source = ?",
                "delete from places where source = ?",
                "delete from lines where source = ?",
            ):
                db.executemany(query, names)
            for source in sources:
                note_changed(db, source)
            db.execute("insert or replace into meta values ('superseded', 1)")

        await self._database.write(_job)
