"""Reading a state file: rows of a query, and a connection that makes and changes nothing on disk."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.ledger.damage import explained, has_log
from pipeline.ledger.versions import proof


class Reader:
    """One SQLite file, read; `path` is None for one in memory."""

    path: Path | None
    reader: sqlite3.Connection

    def read(self, query: str, *values: object) -> Any:
        """The first row of a query, or None.

        Raises:
            StateError: the file can't be read.

        """
        return next(self.rows(query, *values), None)

    def rows(self, query: str, *values: object) -> Iterator[Any]:
        """The rows of a query, one by one.

        Raises:
            StateError: the file can't be read.

        """
        try:
            yield from self.reader.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise explained(self.path, error) from error


def only_read(path: Path) -> sqlite3.Connection:
    """A connection that leaves no trace; the log beside the file is read too, where there is one.

    https://www.sqlite.org/uri.html: without `immutable` or `readonly_shm` a reader makes or marks the file
    `-shm`. Beside a run that is at work it may have to be marked: it holds nothing that lasts.
    """
    *others, last = ["readonly_shm=1", ""] if has_log(path) else ["immutable=1"]
    for how in others:
        with contextlib.suppress(sqlite3.OperationalError):
            return _connected(path, how)
    return _connected(path, last)


def _connected(path: Path, how: str) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode=ro&{how}"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    connection.create_function("proof", -1, proof, deterministic=True)
    try:
        connection.execute("select 1 from sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection
