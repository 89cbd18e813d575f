"""What the user's cache folder holds, and taking old answers out of it; its ledger, which is small, stays."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from pipeline.errors import SetupError
from pipeline.ledger.commons import Held, users
from pipeline.ledger.damage import explained
from pipeline.ledger.database import Database
from pipeline.ledger.reading import only_read
from pipeline.ledger.versions import REPLIES

_FILES: Final = ("replies.sqlite", "replies.sqlite-wal", "ledger.sqlite", "ledger.sqlite-wal")


def held_in(folder: Path, before: float | None = None) -> Held:
    """What a folder holds; with `before`, the answers of runs whose every call was made before that moment.

    Without it `bytes` are those of its files, else those of the answers.

    Raises:
        StateError: it can't be read.

    """
    path = folder / "replies.sqlite"
    if not path.exists():
        return Held()
    where, _ = _older(folder, before)
    query = f"select count(*), coalesce(sum(length(body)), 0) from replies where {where}"  # noqa: S608, made of numbers
    count, size = _row(path, query)
    if before is None:
        size = sum((folder / name).stat().st_size for name in _FILES if (folder / name).exists())
    return Held(count, size, _oldest(folder))


def clean(folder: Path, before: float | None = None) -> Held:
    """Remove the answers bought `before` a moment, or all with the words of pages; what a running process may use stays.

    Returns:
        What was removed.

    Raises:
        StateError: it is damaged, or can't be written.

    """
    path = folder / "replies.sqlite"
    if not path.exists():
        return Held()
    busy = users(folder)
    limit = busy if before is None or (busy and busy < before) else before
    where, is_alone = _older(folder, limit)
    found = held_in(folder, limit) if limit is not None else _all(path)
    database = Database(path, REPLIES)
    try:

        def _job(db: sqlite3.Connection) -> None:
            db.execute(f"delete from replies where {where}")  # noqa: S608, made of numbers
            if before is None and is_alone:
                db.execute("delete from words")

        database.write_now(_job)
        if is_alone:
            with contextlib.suppress(sqlite3.OperationalError):  # somebody began meanwhile
                database.reader.execute("vacuum")
    finally:
        database.close()
    return found


def _all(path: Path) -> Held:
    count, size = _row(path, "select count(*), coalesce(sum(length(body)), 0) from replies")
    return Held(count, size)


def _older(folder: Path, before: float | None) -> tuple[str, bool]:
    """Which answers are older, as a condition; and whether nobody uses the folder.

    Answers know their run, and the ledger when its calls were made. Those of run 0 came from a shared cache.
    """
    is_alone = users(folder) is None
    if before is None:
        return "1", is_alone
    books = folder / "ledger.sqlite"
    first = None
    if books.exists():
        query = "select coalesce((select min(run) from calls where at >= ?), (select max(id) + 1 from runs))"
        (first,) = _row(books, query, before)
    return f"run < {int(first or 0)}" + ("" if is_alone else " and run > 0"), is_alone


def _oldest(folder: Path) -> float | None:
    books = folder / "ledger.sqlite"
    found: float | None = None
    if books.exists():
        (found,) = _row(books, "select min(at) from calls where at > 0")
    return found


def _row(path: Path, query: str, *values: object) -> tuple[int, ...]:
    try:
        with contextlib.closing(only_read(path)) as connection:
            row: tuple[int, ...] = connection.execute(query, values).fetchone()
            return row
    except sqlite3.Error as error:
        raise explained(path, error) from error
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
