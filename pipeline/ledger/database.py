"""One SQLite file: reads where they are asked for, writes grouped in a thread that commits them at once."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pipeline.errors import SetupError, StateError

T = TypeVar("T")
_Job = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]


class Database:
    """One SQLite file: reads where they are asked for, writes grouped in a thread of their own."""

    def __init__(
        self,
        path: Path | None,
        script: str,
        before_commit: Callable[[], None] = lambda: None,
        after: Callable[[bool], None] = lambda committed: None,
    ) -> None:
        # A named in-memory database is shared by the two connections and gone with them.
        self._target = (
            f"file:{quote(str(path.absolute()))}"
            if path
            else f"file:fieldsift-{id(self)}?mode=memory&cache=shared"
        )
        self.path = path
        self._before_commit = before_commit
        self._after = after
        try:
            self.reader = self._connect()
            self.reader.executescript(script)
            self._check()
        except sqlite3.DatabaseError as error:
            raise StateError(
                f"{path}: {error}. Move the folder {path.parent if path else ''} away and run again: "
                f"documents are then asked anew"
            ) from error
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="fieldsift-ledger", daemon=True)
        self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._target, uri=True, check_same_thread=False, isolation_level=None, timeout=30
        )
        # In memory the two connections share their pages, and readers must not lock the writer out.
        connection.execute(
            "pragma journal_mode = wal" if self.path else "pragma read_uncommitted = 1"
        )
        connection.execute("pragma synchronous = full")
        return connection

    def _check(self) -> None:
        for (verdict,) in self.reader.execute("pragma quick_check(1)"):
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"damaged ({verdict})")

    def read(self, query: str, *values: object) -> Any:
        """The first row of a query, or None."""
        return self.reader.execute(query, values).fetchone()

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job inside the next transaction; returns when that is on disk."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((job, future))
        return await asyncio.shield(future)

    def _write(self) -> None:
        connection = self._connect()
        while (first := self._jobs.get()) is not None:
            batch = [first, *self._waiting()]
            done: list[tuple[Any, Any]] = []
            try:
                connection.execute("begin immediate")
                done = [(future, job(connection)) for job, future in (b for b in batch if b)]
                self._before_commit()
                connection.execute("commit")
            except BaseException as error:  # noqa: BLE001, whoever waits must hear of it
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("rollback")
                self._after(False)
                for _, future in (b for b in batch if b):
                    _tell(future, error=self._explained(error))
            else:
                self._after(True)
                for future, value in done:
                    _tell(future, value)
            if None in batch:
                break
        connection.close()

    def _waiting(self) -> Iterator[_Job | None]:
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._jobs.get_nowait()

    def _explained(self, error: BaseException) -> BaseException:
        if isinstance(error, sqlite3.Error | OSError):
            return StateError(
                f"writing {self.path or 'the state'} failed: {error}; what was committed is kept"
            )
        return error

    def close(self) -> None:
        """Commit what waits and let go of the file."""
        self._jobs.put(None)
        self._thread.join()
        self.reader.close()


class Table:
    """A table of `replies.sqlite`, which is opened when it is first needed; in memory without a folder."""

    def __init__(self, folder: Path | None, script: str) -> None:
        self._folder = folder
        self._script = script
        self._opened: Database | None = None

    @property
    def database(self) -> Database:
        """The file; its folder is made if it isn't there.

        Raises:
            SetupError: the folder can't be made, or its state is damaged.

        """
        if self._opened is None:
            folder = self._folder
            try:
                if folder:
                    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise SetupError(f"{error.filename}: {error.strerror}") from error
            self._opened = Database(folder / "replies.sqlite" if folder else None, self._script)
        return self._opened

    def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None:
            self._opened.close()


def _tell(
    future: "asyncio.Future[Any]", value: Any = None, *, error: BaseException | None = None
) -> None:
    def deliver() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
        future.get_loop().call_soon_threadsafe(deliver)
