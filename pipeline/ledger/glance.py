"""The state of an output as it lies there, for looking only: nothing is made, changed or locked on disk.

What a run would note at its start (its number and settings, what `force` and `retry` cover) is noted in memory, in
tables that stand before those of the file; any other write fails.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pipeline.errors import StateError
from pipeline.ledger import Ledger, Replies, RepliesFile, Shelf, StoredReplies, Words
from pipeline.ledger.damage import explained
from pipeline.ledger.reading import Reader, only_read
from pipeline.ledger.versions import LEDGER, REPLIES, Migration, migrate, proof, version_of

T = TypeVar("T")

#: The tables that a run writes to before it does anything.
_NOTED: Final = ("runs", "since", "meta")


class ReadOnly(Reader):
    """A Database that is read; jobs that note the start of a run are run in memory."""

    def __init__(self, path: Path, migrations: Sequence[Migration]) -> None:
        """A file of an older version is read into memory and made new there.

        Raises:
            StateError: it can't be read, or is of a newer version.

        """
        self.path = path
        try:
            self.reader = only_read(path)
            version = version_of(self.reader)
            if version > len(migrations):
                raise StateError(f"{path} was written by a newer fieldsift: update fieldsift")
            if version < len(migrations):
                self.reader = _renewed(self.reader, migrations)
            else:
                self._note_in_memory()
        except sqlite3.Error as error:
            raise explained(path, error) from error

    def _note_in_memory(self) -> None:
        self.reader.execute("pragma temp_store = memory")
        query = "select name, sql from main.sqlite_master where name in (?, ?, ?)"
        for name, made in self.reader.execute(query, _NOTED).fetchall():
            # With its keys: what is inserted counts up from there, and replaces as in the file.
            self.reader.execute(f"create temp table {name} ({made.partition('(')[2]}")
            self.reader.execute(f"insert into temp.{name} select * from main.{name}")  # noqa: S608, names of ours

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job on what is in memory.

        Raises:
            StateError: it would change the file.

        """
        try:
            return job(self.reader)
        except sqlite3.OperationalError as error:
            raise StateError(f"{self.path} is only looked at: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self.reader.close()


class _Answers(RepliesFile):
    """A `replies.sqlite` that is only read."""

    def __init__(self, opened: Any) -> None:
        super().__init__(None)
        self._opened = opened


class _LedgerAsItIs(Ledger):
    """The ledger of a file that is only read; it writes no results."""

    def __init__(self, database: Any) -> None:
        self._results = None
        self._unwritten: list[str] = []
        self._length = 0
        self._database = database


class _WordsAsTheyAre(Words):
    """The recognised words of a file that is only read; what is found now is forgotten."""

    async def keep(self, sha256: str, page: int, reader: str, body: bytes) -> None:
        """Forget a page: nothing may be written."""


class Glance:
    """What lies in a state folder: `ledger`, `replies`, `words`, `shelf`; empty ones where there is nothing."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` None, or one that is not there: nothing is known.

        Raises:
            StateError: a file is there and can't be read.

        """
        books, answers = (
            folder / f"{name}.sqlite" if folder else None for name in ("ledger", "replies")
        )
        self.ledger = (
            _LedgerAsItIs(ReadOnly(books, LEDGER)) if books and books.exists() else Ledger(None)
        )
        self._file = (
            _Answers(ReadOnly(answers, REPLIES))
            if answers and answers.exists()
            else RepliesFile(None)
        )
        self.replies: Replies = StoredReplies(self._file)
        self.words = _WordsAsTheyAre(self._file)
        self.shelf = Shelf(self._file)

    def close(self) -> None:
        """Let go of everything."""
        self.ledger.close()
        self._file.close()


def _renewed(old: sqlite3.Connection, migrations: Sequence[Migration]) -> sqlite3.Connection:
    """The whole file in memory, at the newest version; it is let go of."""
    with contextlib.closing(old):
        new = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        new.create_function("proof", -1, proof, deterministic=True)
        old.backup(new)
    migrate(new, migrations)
    return new
