"""Words: what was recognised on pages without text, by content and tool, so that it is done once."""

from pipeline.ledger.database import RepliesFile
from pipeline.ledger.versions import inserting, proof


class Words(RepliesFile):
    """Recognised pages in `replies.sqlite`, which is opened when the first is asked for; else in memory."""

    def get(self, sha256: str, page: int, reader: str = "") -> bytes | None:
        """What a reader (tool and version) found on a page of a file; any reader, if none is named.

        Raises:
            SetupError: the folder can't be made, or its state is damaged.

        """
        row = self.database.read(
            "select reader, body, proof from words where sha256 = ? and page = ? and (reader = ? or ? = '')",
            sha256,
            page,
            reader,
            reader,
        )
        if row is None:
            return None
        found, body, proven = row
        # Damaged ones cost seconds, no money: they are recognised anew.
        whole = proven == proof("words", sha256, page, found, body)
        return bytes(body) if whole else None

    async def keep(self, sha256: str, page: int, reader: str, body: bytes) -> None:
        """Put a page on disk; returns when it is there."""
        row = {"sha256": sha256, "page": page, "reader": reader, "body": body}
        await self.database.write(
            lambda db: db.execute(inserting("words", "insert or replace"), row)
        )
