"""Words: what was recognised on pages without text, by content and tool, so that it is done once."""

from pathlib import Path

from pipeline.ledger.database import Table

_WORDS = """
create table if not exists words (
  sha256 text not null, page integer not null, reader text not null, body blob not null,
  primary key (sha256, page, reader)) without rowid;
"""


class Words(Table):
    """Recognised pages in `replies.sqlite`, which is opened when the first is asked for; else in memory."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__(folder, _WORDS)

    def get(self, sha256: str, page: int, reader: str = "") -> bytes | None:
        """What a reader (tool and version) found on a page of a file; any reader, if none is named.

        Raises:
            SetupError: the folder can't be made, or its state is damaged.

        """
        row = self.database.read(
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
        await self.database.write(
            lambda db: db.execute("insert or replace into words values (?,?,?,?)", row)
        )
