"""Whether a state file is all there and unchanged, and what its errors mean in words."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pipeline.errors import DamagedState, StateError
from pipeline.ledger.mark import Mark, Seen
from pipeline.ledger.versions import proof, proving, version_of

#: Tables whose rows are all checked, where a check is due; the others' are checked as they are read.
_CHECKED: Final = ("runs", "sources", "lines", "since", "raised", "bought", "places", "calls")
_WHOLE: Final = (*_CHECKED, "replies", "words", "shelf")
#: A higher version is no version.
_VERSIONS: Final = 1000
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
#: The errors of SQLite that are the disk's or the file's, whatever was written: https://www.sqlite.org/rescode.html
_DISK: Final = _BROKEN | {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


def inspect(path: Path, newest: int, *, whole: bool = False) -> Seen | None:
    """Look at a state file before it is used; what its mark says, None for a new file and one without a mark.

    A file that was left at a clean end and that nobody wrote since is trusted; any other is read as a
    whole (`whole`: in any case).

    Raises:
        DamagedState: something of it is lost or changed.
        StateError: it is of a newer version, or can't be read.

    """
    mark = Mark(path)
    try:
        seen = mark.read()
    except (ValueError, TypeError) as error:
        raise damaged(path, str(error)) from error
    except OSError as error:
        raise explained(path, error) from error
    if not path.exists() or not path.stat().st_size:
        if seen or has_log(path):
            raise damaged(path, "it is empty" if path.exists() else "it is not there")
        return None
    trusted = not whole and not has_log(path) and seen is not None and mark.seals(seen)
    # Read only: else closing it writes the log into the file, and one of another file would ruin it.
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=30)) as connection:
            version = _version(path, connection, newest, seen)
            if version:
                _compare(path, connection, version, seen)
            if not trusted:
                _check(path, connection, version, _WHOLE if whole else _CHECKED)
    except (sqlite3.Error, ValueError, OSError) as error:
        # What can't be made sense of is damage, if it isn't the disk's or another process's doing.
        if isinstance(error, sqlite3.Error | OSError) and of_disk(error):
            raise explained(path, error) from error
        raise damaged(path, str(error)) from error
    return seen


def _version(path: Path, connection: sqlite3.Connection, newest: int, seen: Seen | None) -> int:
    version = version_of(connection)
    if (seen and not version) or not 0 <= version < _VERSIONS:
        raise damaged(path, f"it says that its version is {version}")
    if version > newest:
        raise StateError(
            f"{path} was written by a newer fieldsift (version {version}, this one knows {newest}): "
            f"update fieldsift, or take another output folder or --state"
        )
    return version


def _compare(path: Path, connection: sqlite3.Connection, version: int, seen: Seen | None) -> None:
    """Whether the file and its mark tell of the same commits."""
    named = dict(connection.execute("select name, value from meta where name in ('id', 'commits')"))
    commits = named.get("commits")
    if not isinstance(commits, int) or "id" not in named:
        raise damaged(path, "it does not say how far it was written")
    if seen is None:
        # Looked for again: who opened the file at the same time may have made it just now.
        if commits > version and not Mark(path).path.exists():
            raise damaged(path, f"its mark {Mark(path).path.name} is not there")
    elif seen.id != named["id"]:
        raise damaged(path, "the file, its log or its mark belongs to another one")
    elif seen.commits > commits:
        missing = seen.commits - commits
        raise damaged(
            path, f"its last {missing:,} commits are not there: its log is cut off or gone"
        )


def _check(path: Path, connection: sqlite3.Connection, version: int, tables: Sequence[str]) -> None:
    """Read all of it: pages, order and indexes, and the proof of each row of some tables."""
    (verdict,) = connection.execute("pragma integrity_check(1)").fetchone()
    if verdict != "ok":
        raise damaged(path, verdict.replace("*** in database main ***", "").strip())
    if not version:
        return
    connection.create_function("proof", -1, proof, deterministic=True)
    connection.create_function("sha256_of", 1, _sha256, deterministic=True)
    there = {name for (name,) in connection.execute("select name from sqlite_master")}
    for table in filter(there.__contains__, tables):
        also = " or sha256_of(body) <> sha256" if table == "replies" else ""
        query = f"select count(*) from {table} where proof is not {proving(table)}{also}"  # noqa: S608, a table of ours
        (changed,) = connection.execute(query).fetchone()
        if changed:
            raise damaged(path, f"{changed:,} rows of {table} are not what was written")


def has_log(path: Path) -> bool:
    """Whether a write-ahead log with something in it lies beside a file."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def damaged(path: Path | None, what: str) -> DamagedState:
    """The error of a file that is not what was written, with the way out."""
    return DamagedState(
        f"{path}: damaged ({what}). The same `run` with --rebuild saves all that is sound and tells what is lost; "
        f"where there is no output folder, move {path.parent if path else 'it'} away: documents are then asked anew"
    )


def explained(path: Path | None, error: sqlite3.Error | OSError) -> StateError:
    """The StateError for an error of SQLite or of the disk: it names the file and what to do."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if is_broken(error):
        return damaged(path, str(error))
    what = getattr(error, "strerror", None) or str(error)
    hint = "the same command continues"
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR} or isinstance(error, OSError):
        hint = "make room or see to the disk (or name another with --state DIR), then the same command continues"
    return StateError(
        f"writing {path or 'the state'} failed: {what}; what was committed is kept; {hint}"
    )


def is_broken(error: BaseException) -> bool:
    """Whether SQLite says that a file is damaged."""
    return ((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF) in _BROKEN


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def of_disk(error: Exception) -> bool:
    """Whether an error is the disk's or the file's, so that no other job would fare better."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, OSError) or (code is not None and code & 0xFF in _DISK)
