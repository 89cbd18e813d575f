"""Rows in a ledger: in which order those of a file stand, their lines in that order, and which files have to be written anew."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from pipeline.document import rows_file
from pipeline.ledger.database import Database
from pipeline.ledger.versions import inserting

#: A file of rows whose lines changed since it was written stands in `meta` under this and its name.
_CHANGED = "rows "
#: The place of a row that its file has no more.
GONE: Final = -1


def note_changed(database: sqlite3.Connection, source: str) -> None:
    """Note, in the transaction that changes a line of a source, that the file of its rows is to be written anew."""
    if file := rows_file(source):
        database.execute("insert or ignore into meta values (?, 1)", (_CHANGED + file,))


class Rowed:
    """The part of a Ledger that is about rows."""

    _database: Database

    async def note_rows(self, places: Mapping[str, int], missing: Collection[str] = ()) -> None:
        """Remember at which place rows stand (GONE: at none any more) where neither name nor ledger tells; and files that are gone."""
        changed: dict[str, int] = {}
        known: dict[str, int] = {}
        if places:
            marks = ",".join("?" * len(places))
            query = f"select source, place from places where source in ({marks})"  # noqa: S608, question marks
            known = dict(self._database.rows(query, *places))
            changed = {
                name: place
                for name, place in places.items()
                if known.get(name, name.partition("#")[2]) not in {place, str(place)}
            }
        rows = [{"source": source, "place": place} for source, place in changed.items()]

        def _job(db: sqlite3.Connection) -> None:
            db.executemany(inserting("places", "insert or replace"), rows)
            moved = {rows_file(s) for s, place in changed.items() if s in known or place == GONE}
            for file in filter(None, {*moved, *missing}):
                note_changed(db, f"{file}#")

        if rows or missing:
            await self._database.write(_job)

    def changed_rows(self) -> list[str]:
        """The files of rows whose lines are not those that were written last."""
        query = "select name from meta where name like ? order by name"
        return [
            name.removeprefix(_CHANGED) for (name,) in self._database.rows(query, f"{_CHANGED}%")
        ]

    def rows_of(self, file: str) -> Iterator[tuple[str, str, str]]:
        """What belongs into the data files of a file of rows, in the order of its rows: data file, document, Result.

        Rows without an id are told by their number; they are sorted on disk, by their numbers alone. Those that
        are gone belong into none.
        """
        query = """select seq from lines left join places on places.source = lines.source
          where lines.source > ? || '#' and lines.source < ? || '$' and file is not null
          and coalesce(place, 0) != ?
          order by coalesce(place, cast(substr(lines.source, ?) as integer)), seq"""
        for (seq,) in self._database.rows(query, file, file, GONE, len(file) + 2):
            yield self._database.read("select file, path, line from lines where seq = ?", seq)

    def rows_written(self, file: str) -> None:
        """The data files of a file of rows are as they should be."""
        self._database.write_now(
            lambda db: db.execute("delete from meta where name = ?", (_CHANGED + file,))
        )
