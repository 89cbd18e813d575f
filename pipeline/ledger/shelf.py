"""Shelf: what was left at a service for a while (uploaded files, caches), so that it is found again."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.ledger.database import RepliesFile
from pipeline.ledger.versions import inserting, proof


class Shelf(RepliesFile):
    """Names with a value until a time, in `replies.sqlite`, which is opened when it is first needed; else in memory."""

    def __init__(
        self, folder: Path | RepliesFile | None, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(folder)
        self._clock = clock

    def recall(self, name: str) -> str | None:
        """What stands under a name and has not expired.

        Raises:
            SetupError: the folder can't be made, or its state is damaged.

        """
        query = "select name, value, until, proof from shelf where name = ? and until > ?"
        row = self.database.read(query, name, self._clock())
        if row is None or row[3] != proof("shelf", *row[:3]):
            return None
        return str(row[1])

    def names(self, beginning: str) -> list[str]:
        """The names that begin so and have not expired; looking for them makes no file."""
        if not self.is_there:
            return []
        query = "select name from shelf where substr(name, 1, ?) = ? and until > ?"
        return [
            name for (name,) in self.database.rows(query, len(beginning), beginning, self._clock())
        ]

    async def remember(self, name: str, value: str, until: float) -> None:
        """Keep a value under a name until a time (seconds since 1970); an empty value forgets the name."""
        now = self._clock()

        def _job(db: sqlite3.Connection) -> None:
            db.execute("delete from shelf where name = ? or until <= ?", (name, now))
            if value:
                row = {"name": name, "value": value, "until": float(until)}
                db.execute(inserting("shelf"), row)

        await self.database.write(_job)
