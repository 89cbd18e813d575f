"""One SQLite file: reads where they are asked for, writes grouped so that what waits is committed at once."""

import asyncio
import contextlib
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from pipeline.errors import SetupError, StateError
from pipeline.ledger.damage import explained, has_log, inspect, of_disk
from pipeline.ledger.mark import Mark, Seen
from pipeline.ledger.reading import Reader
from pipeline.ledger.versions import REPLIES, Migration, migrate, proof

T = TypeVar("T")
_Job = tuple[Callable[[sqlite3.Connection], Any], Any]
_Told = tuple[Any, Any, BaseException | None]

_COUNT: Final = "update meta set value = value + 1 where name = 'commits' returning value"


class Database(Reader):
    """One SQLite file: reads where they are asked for, writes grouped.

    Jobs gather while one commit is on its way; the next commit takes all of them. It goes through
    `run_in_executor` of the loop that asked for it, so that a loop which runs that in place sees the
    same commits each time. Jobs of several loops, one after the other or at once, share the file.
    """

    def __init__(
        self,
        path: Path | None,
        migrations: Sequence[Migration],
        before_commit: Callable[[], None] = lambda: None,
        after: Callable[[bool], None] = lambda committed: None,
    ) -> None:
        """Open a file and bring it to the newest version; None keeps everything in memory.

        Raises:
            DamagedState: something of it is lost or changed.
            StateError: it can't be opened, is of a newer version, or can't have a write-ahead log.

        """
        # A named in-memory database is shared by the two connections and gone with them.
        self._target = (
            f"file:{quote(str(path.absolute()))}"
            if path
            else f"file:fieldsift-{id(self)}?mode=memory&cache=shared"
        )
        self.path = path
        self._mark = Mark(path) if path else None
        self._before_commit = before_commit
        self._after = after
        self._seen = inspect(path, len(migrations)) if path else None
        with contextlib.ExitStack() as opened:
            try:
                self.reader = opened.enter_context(contextlib.closing(self._connect()))
                migrate(self.reader, migrations)
                self._writer = opened.enter_context(contextlib.closing(self._connect()))
                self._begin_mark()
            except (sqlite3.Error, OSError) as error:
                raise self._explained(error) from error
            opened.pop_all()
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        self._called: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fieldsift-ledger")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._target, uri=True, check_same_thread=False, isolation_level=None, timeout=30
        )
        connection.create_function("proof", -1, proof, deterministic=True)
        # In memory the two connections share their pages, and readers must not lock the writer out.
        query = "pragma journal_mode = wal" if self.path else "pragma read_uncommitted = 1"
        try:
            mode = connection.execute(query).fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        if self.path and mode != ("wal",):
            connection.close()
            raise StateError(
                f"{self.path}: its file system can't keep a write-ahead log (SQLite says {mode[0]}); "
                f"--state DIR names a folder on a local disk"
            )
        connection.execute("pragma synchronous = full")
        return connection

    def _begin_mark(self) -> None:
        if self._mark and self._seen is None:
            named = dict(self.reader.execute("select name, value from meta"))
            self._seen = Seen(named["id"], named["commits"])
            self._mark.make(self._seen)

    def write_now(self, job: Callable[[sqlite3.Connection], Any]) -> None:
        """Run a job in a transaction of its own, and wait for it without a loop.

        Raises:
            StateError: the file can't be written.

        """
        ((_, _, error),) = self._thread.submit(self._commit, [(job, None)]).result()
        if error:
            raise error

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job inside the next transaction; returns when that is on disk, and not before.

        A job may be run again, when another one of its transaction fails. Who is cancelled while
        waiting hears of it when the commit is through: what was asked for is written.

        Raises:
            StateError: the file can't be written.

        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            if self._closed:
                raise StateError(f"{self.path or 'the state'} is closed")
            self._waiting.append((job, future))
            called, self._called = self._called, loop
        if called is not loop:  # whoever else asks in this turn of the loop goes along
            loop.call_soon(self._send, loop)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._closed:  # what waited is committed then
            loop.run_in_executor(self._thread, self._commit_waiting)

    def _commit_waiting(self) -> None:
        with self._lock:
            batch, self._waiting, self._called = self._waiting, [], None
        told: list[_Told] = []
        while batch:
            told += (outcome := self._commit(batch))
            batch = batch[:0] if len(outcome) == len(batch) else _without(batch, outcome)
        _tell(told)

    def _commit(self, batch: list[_Job]) -> list[_Told]:
        """Commit jobs together: what came of them all, or of the one that failed; the others may be tried again."""
        done: list[_Told] = []
        try:
            self._writer.execute("begin immediate")
            for job, future in batch:
                done.append((future, job(self._writer), None))
            self._before_commit()
            (number,) = self._writer.execute(_COUNT).fetchone()
            self._writer.execute("commit")
        except BaseException as error:  # noqa: BLE001, whoever waits must hear of it
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("rollback")
            self._after(False)
            alone = len(done) < len(batch) and isinstance(error, Exception) and not of_disk(error)
            failed = batch[len(done) : len(done) + 1] if alone else batch
            return [(future, None, self._explained(error)) for _, future in failed]
        self._after(True)
        if self._mark and self._seen:
            self._mark.write(Seen(self._seen.id, number))
        return done

    def _explained(self, error: BaseException) -> BaseException:
        if isinstance(error, sqlite3.Error | OSError):
            return explained(self.path, error)
        return error

    def close(self) -> None:
        """Commit what waits and let go of the file."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._thread.shutdown()
        self._commit_waiting()
        self._writer.close()
        (commits,) = self.reader.execute("select value from meta where name = 'commits'").fetchone()
        self.reader.close()
        if self.path and self._mark and self._seen and not has_log(self.path):
            self._mark.seal(replace(self._seen, commits=commits))
        if self._mark:
            self._mark.close()


class RepliesFile:
    """`replies.sqlite` of a folder, opened when it is first needed; in memory without a folder.

    Answers, words and what was left at services lie in it; they can share one.
    """

    def __init__(self, folder: "Path | RepliesFile | None") -> None:
        self._shared = folder if isinstance(folder, RepliesFile) else None
        self._folder = folder if isinstance(folder, Path) else None
        self._opened: Database | None = None

    @property
    def database(self) -> Database:
        """The file; its folder is made if it isn't there.

        Raises:
            SetupError: the folder can't be made, or its state is damaged.

        """
        if self._shared:
            return self._shared.database
        if self._opened is None:
            folder = self._folder
            try:
                if folder:
                    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise SetupError(f"{error.filename}: {error.strerror}") from error
            self._opened = Database(folder / "replies.sqlite" if folder else None, REPLIES)
        return self._opened

    @property
    def is_there(self) -> bool:
        """Whether the file is open, or lies there to be opened."""
        if self._shared:
            return self._shared.is_there
        return self._opened is not None or bool(
            self._folder and (self._folder / "replies.sqlite").exists()
        )

    def close(self) -> None:
        """Let go of the file, unless it is shared."""
        if self._opened is not None:
            self._opened.close()


def _without(batch: list[_Job], told: list[_Told]) -> list[_Job]:
    """The jobs whose outcome is still open."""
    known = {id(future) for future, _, _ in told}
    return [job for job in batch if id(job[1]) not in known]


def _tell(told: list[_Told]) -> None:
    """Deliver outcomes, each in the loop that waits for it."""
    loops: dict[asyncio.AbstractEventLoop, list[_Told]] = defaultdict(list)
    for outcome in told:
        loops[outcome[0].get_loop()].append(outcome)
    for loop, those in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            loop.call_soon_threadsafe(_deliver, those)


def _deliver(told: list[_Told]) -> None:
    for future, value, error in told:
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
