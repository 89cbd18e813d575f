"""Mark: a small file beside a database that knows how far it was written, and whether anybody else touched it.

SQLite can't tell a log that was cut off, deleted or swapped from one that was never written. So the
number of the last commit is written here after each commit, without waiting for the disk: a commit
is on disk before its number is, and a database that knows fewer commits than its mark has lost some.

At a clean end the mark takes down size and time of the database. As long as they are the same nobody
but SQLite wrote it, and the next start need not read the whole of it.
"""

import contextlib
import json
import os
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.writers import sync_folder

#: Always the same length, within one sector: it is overwritten in place, never half.
_LENGTH: Final = 256
_SECOND: Final = 10**9
_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """What a mark tells: the database's id, its last commit, and size and time (ns) at its clean end (else 0)."""

    id: str
    commits: int
    size: int = 0
    mtime_ns: int = 0


class Mark:
    """The mark of one database, `<name>.mark` beside it."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".mark")
        self._database = database
        self._open = -1

    def read(self) -> Seen | None:
        """What it tells; None if there is none.

        Raises:
            ValueError: it is damaged.

        """
        for _ in range(_TRIES):  # who shares the file may be writing it in that moment
            with contextlib.suppress(ValueError):
                return self._read()
        return self._read()

    def _read(self) -> Seen | None:
        try:
            text, _, check = self.path.read_bytes().decode("ascii").strip().rpartition(" ")
        except FileNotFoundError:
            return None
        if not text or check != f"{zlib.crc32(text.encode()):08x}":
            raise ValueError("its mark is damaged")
        told: dict[str, Any] = json.loads(text)
        return Seen(**told)

    def make(self, seen: Seen) -> None:
        """Put it there for good, whole at once, before the first commit; that of another who was quicker stays.

        Raises:
            OSError: it can't be written.

        """
        whole = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        try:
            with whole.open("wb") as file:
                file.write(_packed(seen))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(whole, self.path)
        finally:
            whole.unlink(missing_ok=True)
        sync_folder(self.path.parent)

    def write(self, seen: Seen) -> None:
        """Note a commit, or the end; a failure only makes the mark older than it could be."""
        with contextlib.suppress(OSError):
            if self._open < 0:
                self._open = os.open(self.path, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))
            os.pwrite(self._open, _packed(seen), 0)

    def seal(self, seen: Seen) -> None:
        """Take down size and time of the closed database, after the time was set to one that no clock tick gives."""
        with contextlib.suppress(OSError):
            found = self._database.stat()
            instant = found.st_mtime_ns // _SECOND * _SECOND + secrets.randbelow(_SECOND)
            os.utime(self._database, ns=(found.st_atime_ns, instant))
            found = self._database.stat()
            if (
                found.st_mtime_ns % 1000
            ):  # a file system of coarse times could not tell a later change
                self.write(Seen(seen.id, seen.commits, found.st_size, found.st_mtime_ns))

    def seals(self, seen: Seen) -> bool:
        """Whether the database is as it was left at a clean end."""
        found = self._database.stat()
        return bool(seen.size) and (seen.size, seen.mtime_ns) == (found.st_size, found.st_mtime_ns)

    def close(self) -> None:
        """Let go of the file."""
        if self._open >= 0:
            os.close(self._open)
            self._open = -1


def _packed(seen: Seen) -> bytes:
    told = {"id": seen.id, "commits": seen.commits, "size": seen.size, "mtime_ns": seen.mtime_ns}
    text = json.dumps(told)
    return f"{text} {zlib.crc32(text.encode()):08x}".ljust(_LENGTH - 1).encode() + b"\n"
