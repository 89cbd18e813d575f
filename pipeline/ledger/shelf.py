"""Shelf: what was left at a service for a while (uploaded files, caches), so that it is found again."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.ledger.database import Table

_SHELF = """
create table if not exists shelf (
  name text primary key, value text not null, until real not null) without rowid;
create index if not exists shelf_until on shelf (until);
"""


class Shelf(Table):
    """Names with a value until a time, in `replies.sqlite`, which is opened when it is first needed; else in memory."""

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(folder, _SHELF)
        self._clock = clock

    def recall(self, name: str) -> str | None:
        """What stands under a name and has not expired.

        Raises:
            SetupError: the folder can't be made, or its state is damaged.

        """
        query = "select value from shelf where name = ? and until > ?"
        row = self.database.read(query, name, self._clock())
        return None if row is None else str(row[0])

    async def remember(self, name: str, value: str, until: float) -> None:
        """Keep a value under a name until a time (seconds since 1970); an empty value forgets the name."""
        now = self._clock()

        def _job(db: sqlite3.Connection) -> None:
            db.execute("delete from shelf where name = ? or until <= ?", (name, now))
            if value:
                db.execute("insert into shelf values (?,?,?)", (name, value, until))

        await self.database.write(_job)
