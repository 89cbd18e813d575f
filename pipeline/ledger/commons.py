"""Commons: answers that several outputs and processes share, in one SQLite file, bounded in size and age.

It is a cache and no more. Whatever is used of it is kept in the own store first, so that losing it costs
an answer's price and never a run, and any answer may go at any time: where it can't be read or written,
`trouble` says so and nothing more is asked of it; where another process is writing, that one write is left out.
"""

import asyncio
import contextlib
import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pipeline.ledger.reading import only_read

T = TypeVar("T")

#: The file of a cache folder; beside it `users` holds a locked file for each process that uses it.
FILE: Final = "answers.sqlite"
_VERSION: Final = 1
_SCHEMA: Final = """
create table answers (
  id integer primary key, key text not null, take integer not null, asked text not null,
  digest blob not null, bytes integer not null, made real not null, used real not null,
  body blob not null, unique (key, take));
create index answers_used on answers (used, bytes);
create index answers_made on answers (made)
"""
#: Seconds that a cleaning which was asked for waits for another process that writes.
_PATIENCE: Final = 10.0
#: Those that a run waits to write one answer; and to read one, which a writer does not hinder (https://www.sqlite.org/wal.html).
_MOMENT, _GLANCE = 0.5, 0.1
#: After so many written bytes, or a twentieth of the limit, the limit is looked at again.
_LOOK: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Held:
    """What a cache holds: answers, bytes on disk, and when the oldest was bought (seconds since 1970; None: empty)."""

    answers: int = 0
    bytes: int = 0
    oldest: float | None = None


class Commons:
    """The shared answers of a folder; safe for several processes, and for one thread beside its own.

    `get` never waits for a writer; opening, closing and cleaning may, so that they don't belong in an event loop.
    `found` counts the answers that were there, `trouble` is why nothing more is asked of it (empty: all is well).
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: int | None = None,
        age: float | None = None,
        clock: Callable[[], float] = time.time,
        read_only: bool = False,
    ) -> None:
        """At most `size` bytes, and answers at most `age` seconds old; what can't be opened is `trouble`."""
        self.folder = folder
        self.found = 0
        self.trouble = ""
        self._size, self._age, self._clock = size, age, clock
        self._read_only = read_only
        self._written = 0
        self._start = clock()
        self._moment = _MOMENT
        self._connection: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._user = _User(folder, self._start)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fieldsift-cache")
        self._try(self._open, None)

    # one answer ---------------------------------------------------------------------------

    def get(self, key: str, take: int, asked: str) -> bytes | None:
        """The answer to a request; `asked` must be what it was kept with. None: there is none."""
        if self._reader is None or self.trouble:
            return None
        try:
            return self._get(self._reader, key, take, asked)
        except sqlite3.Error as error:
            if not _is_busy(error):
                self._give_up(error)
            return None

    async def keep(self, key: str, take: int, asked: str, body: bytes) -> None:
        """Keep an answer in place of an earlier one to the same request."""
        await self._later(lambda: self._keep(key, take, asked, body))

    async def touch(self, key: str, take: int) -> None:
        """Note that an answer was used: others go before it."""
        await self._later(lambda: self._touch(key, take))

    # the whole ----------------------------------------------------------------------------

    def held(self, before: float | None = None) -> Held:
        """What it holds; with `before`, of what was bought before that moment."""
        return self._try(lambda: self._held(before), Held())

    def beyond(self, before: float | None = None) -> Held:
        """What `clean` would remove."""
        return self._try(lambda: self._beyond(before), Held())

    def clean(self, before: float | None = None) -> Held:
        """Remove what was bought `before` a moment, what is too old, and the least recently used beyond the size.

        Processes at work have copied what they use.

        Returns:
            What was removed; its bytes are those of the answers.

        """
        return self._try(lambda: self._clean(before, _PATIENCE), Held())

    def close(self) -> None:
        """Bring it back under its limits and let go of it."""
        self._thread.shutdown()
        if not self._read_only:
            self._user.leave()
            self._try(lambda: self._spare(lambda: self._clean(None)), None)
        self._let_go()

    # inside -------------------------------------------------------------------------------

    def _open(self) -> None:
        path = self.folder / FILE
        if self._read_only and not path.exists():
            return
        if not self._read_only:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._user.enter()
        self._connection = connection = only_read(path) if self._read_only else _made(path)
        self._reader = connection if self._read_only else _connected(path, _GLANCE)
        (version,) = connection.execute("pragma user_version").fetchone()
        if version > _VERSION:
            raise _NewerError(f"it was written by a newer fieldsift (version {version})")
        # Not lost with the process, only perhaps with the machine: the own store has what was used.
        connection.execute("pragma synchronous = normal")

    def _get(self, reader: sqlite3.Connection, key: str, take: int, asked: str) -> bytes | None:
        query = "select asked, digest, made, body from answers where key = ? and take = ?"
        row = reader.execute(query, (key, take)).fetchone()
        if row is None or row[0] != asked or self._is_old(row[2]):
            return None
        body = row[3]
        if not isinstance(body, bytes) or row[1] != _digest(key, take, asked, body):
            raise sqlite3.DatabaseError(f"the answer {key[:12]} is not what was written")
        self.found += 1
        return body

    def _is_old(self, made: float) -> bool:
        return self._age is not None and made < self._clock() - self._age

    def _keep(self, key: str, take: int, asked: str, body: bytes) -> None:
        now, digest = self._clock(), _digest(key, take, asked, body)
        row = (key, take, asked, digest, len(body), now, now, body)
        self._run(
            "insert or replace into answers (key, take, asked, digest, bytes, made, used, body) "
            "values (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        self._written += len(body)
        if self._size is not None and self._written > min(_LOOK, self._size // 20):
            self._written = 0
            self._clean(None)

    def _touch(self, key: str, take: int) -> None:
        # Once for each process that uses it: often enough to tell what is used from what is not.
        query = "update answers set used = ? where key = ? and take = ? and used < ?"
        self._run(query, (self._clock(), key, take, self._start))

    def _held(self, before: float | None) -> Held:
        if self._connection is None:
            return Held()
        query = "select count(*), coalesce(sum(bytes), 0), min(made) from answers"
        where = "" if before is None else f" where made < {before!r}"
        count, total, oldest = self._connection.execute(query + where).fetchone()
        return Held(count, self._on_disk() if before is None else total, oldest)

    def _on_disk(self) -> int:
        """The bytes of the pages in use; those that are free are given back."""
        if self._connection is None:
            return 0
        pages, free, size = (
            self._connection.execute(f"pragma {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _clean(self, before: float | None, patience: float | None = None) -> Held:
        connection, removed = self._connection, Held()
        if connection is None or self._read_only:
            return removed
        if patience is not None:
            _wait(connection, patience)
        while True:
            where, values = self._doomed(before)
            with _transaction(connection):
                query = f"delete from answers where {where} returning bytes"  # noqa: S608, a condition of ours
                sizes = [size for (size,) in connection.execute(query, values)]
            removed = Held(removed.answers + len(sizes), removed.bytes + sum(sizes))
            if not sizes:
                break
        if removed.answers:
            # Page by page, without a moment in which everybody is locked out.
            connection.executescript("pragma incremental_vacuum")
            connection.execute("pragma wal_checkpoint(passive)")
        return removed

    def _beyond(self, before: float | None) -> Held:
        if self._connection is None:
            return Held()
        where, values = self._doomed(before)
        query = f"select count(*), coalesce(sum(bytes), 0) from answers where {where}"  # noqa: S608, a condition of ours
        return Held(*self._connection.execute(query, values).fetchone())

    def _doomed(self, before: float | None) -> tuple[str, tuple[float, float]]:
        """Which answers go, as a condition: too old, or least recently used."""
        oldest = 0.0 if self._age is None else self._clock() - self._age
        last, excess = 0.0, 0 if self._size is None else self._on_disk() - self._size
        if excess > 0 and self._connection is not None:
            for used, size in self._connection.execute(
                "select used, bytes from answers order by used"
            ):
                last, excess = used, excess - size
                if excess <= 0:
                    break
        return "made < ? or used <= ?", (max(before or 0.0, oldest), last)

    def _run(self, query: str, values: tuple[Any, ...]) -> None:
        if self._connection is not None:
            self._connection.execute(query, values)

    async def _later(self, work: Callable[[], None]) -> None:
        if self._connection is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(
                self._thread, lambda: self._try(lambda: self._spare(work), None)
            )

    def _spare(self, work: Callable[[], object]) -> None:
        """Some writing, left out where another process is writing; the next one does not wait for that again."""
        if self._connection is None:
            return
        try:
            _wait(self._connection, self._moment)
            work()
            self._moment = _MOMENT
        except sqlite3.Error as error:
            if not _is_busy(error):
                raise
            self._moment = 0.0

    def _try(self, work: Callable[[], T], otherwise: T) -> T:
        """The outcome of some work; what fails is told, and ends the use of the cache."""
        with self._lock:
            if self.trouble:
                return otherwise
            try:
                return work()
            except (sqlite3.Error, OSError, ValueError, _NewerError) as error:
                self._give_up(error)
                return otherwise

    def _give_up(self, error: Exception) -> None:
        self.trouble = f"the shared cache {self.folder} is not used any more: {_told(error)}"

    def _let_go(self) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error):
            for connection in filter(None, (self._reader, self._connection)):
                connection.close()
            self._connection = self._reader = None


def _connected(path: Path, patience: float) -> sqlite3.Connection:
    return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=patience)


def _wait(connection: sqlite3.Connection, seconds: float) -> None:
    """So long it waits for other processes from now on."""
    connection.execute(f"pragma busy_timeout = {round(seconds * 1000)}")


def _is_busy(error: sqlite3.Error) -> bool:
    """Whether another process is at work on the file, and nothing is wrong with it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what extends it
    return code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _made(path: Path) -> sqlite3.Connection:
    """The file, made where it is not there; by one process alone, as two can't change its journal at once."""
    with _locking(path.with_name("making"), _PATIENCE):
        if not path.exists():
            path.touch(0o600)  # SQLite gives what lies beside it the same mode
        return _readied(_connected(path, _PATIENCE))


def _readied(connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        if not connection.execute("pragma user_version").fetchone()[0]:
            connection.execute("pragma auto_vacuum = incremental")
            connection.execute("pragma journal_mode = wal")
            with _transaction(connection):
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"pragma user_version = {_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _locking(path: Path, patience: float) -> Any:
    """A lock that one thread takes and another may release, on a file that is nobody else's to read."""
    from filelock import FileLock

    return FileLock(path, patience, 0o600, thread_local=False)


class _NewerError(Exception):
    """The file is of a version that is not known here."""


class _User:
    """One process (or run of it) that uses a folder, as a locked file whose name tells since when."""

    def __init__(self, folder: Path, start: float) -> None:
        self._folder = folder / "users"
        self._path = self._folder / f"{start:.6f}-{secrets.token_hex(4)}"
        self._held: Any = None

    def enter(self) -> None:
        """Be seen by those who clean."""
        self._folder.mkdir(exist_ok=True, mode=0o700)
        while (
            self._held is None or not self._path.exists()
        ):  # one who cleans may just have taken it away
            self._held = _locking(self._path, _PATIENCE)
            self._held.acquire()

    def leave(self) -> None:
        """Be gone."""
        if self._held is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._held.release()
            self._held = None

    def oldest(self, now: float) -> float:
        """Since when the first of those who are at work is there; `now` where nobody is. The dead are cleared away."""
        from filelock import Timeout

        found = now
        for path in list(self._folder.iterdir()) if self._folder.is_dir() else []:
            since = _moment(path.name.partition("-")[0])
            if path == self._path or since is None:
                found = min(found, since or found)
                continue
            lock = _locking(path, 0)
            try:
                lock.acquire()
            except (Timeout, OSError):
                found = min(found, since)
                continue
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            lock.release()
        return found


def remove(folder: Path) -> bool:
    """Remove the file of a cache, damaged or not; False where a running process uses it."""
    now = time.time()
    if _User(folder, now).oldest(now) < now:
        return False
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{FILE}{suffix}").unlink(missing_ok=True)
    return True


def users(folder: Path) -> float | None:
    """Since when a process uses a folder (seconds since 1970); None where none does."""
    now = time.time()
    oldest = _User(folder, now).oldest(now)
    return oldest if oldest < now else None


@contextlib.contextmanager
def using(folder: Path) -> Any:
    """Be seen as a user of a folder whose answers lie in a store of another kind."""
    user = _User(folder, time.time())
    with contextlib.suppress(OSError):
        user.enter()
    try:
        yield
    finally:
        user.leave()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Any:
    connection.execute("begin immediate")
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def _moment(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _digest(key: str, take: int, asked: str, body: bytes) -> bytes:
    return hashlib.sha256(f"{key}\n{take}\n{asked}\n".encode() + body).digest()


def _told(error: Exception) -> str:
    told = getattr(error, "strerror", None) or str(error)
    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError
    )
    return f"{told} (`fieldsift cache clean --all` makes it anew)" if damaged else told
