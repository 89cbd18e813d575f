"""Words: what was recognised on pages without text, by content and tool, so that it is done once."""

from pathlib import Path

from pipeline.errors import SetupError
from pipeline.ledger.database import Database

_WORDS = """
create table if not exists words (
  sha256 text not null, page integer not null, reader text not null, body blob not null,
  primary key (sha256, page, reader)) without rowid;
"""


class Words:
    """Recognised pages in `replies.sqlite`, which is opened when the first is asked for; else in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._opened: Database | None = None

    def get(self, sha256: str, page: int, reader: str = "") -> bytes | None:
        """What a reader (tool and version) found on a page of a file; any reader, if none is named.

        Raises:
            SetupError: the folder can't be made, or its state is damaged.

        """
        row = self._database.read(
            "select body from words where sha256 = ? and page = ? and (reader = ? or ? = '')",
            sha256,
            page,
            reader,
            reader,
        )
        return None if row is None else bytes(row[0])

    async def keep(self, sha256: str, page: int, reader: str, body: bytes) -> None:
        """Put a page on disk; returns when it is there."""
        row = (sha256, page, reader, body)
        await self._database.write(
            lambda db: db.execute("insert or replace into words values (?,?,?,?)", row)
        )

    def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None:
            self._opened.close()

    @property
    def _database(self) -> Database:
        if self._opened is None:
            folder = self._folder
            try:
                if folder:
                    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise SetupError(f"{error.filename}: {error.strerror}") from error
            self._opened = Database(folder / "replies.sqlite" if folder else None, _WORDS)
        return self._opened
