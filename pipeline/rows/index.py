"""Rows found again by their names: in the file that they stand in, and in the data files of an output; indexed on disk."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.document import Document, rows_file
from pipeline.errors import LoadError
from pipeline.rows.documents import document
from pipeline.rows.listing import Columns, rows_of
from pipeline.sources import Row, Source


class Index:
    """Each file is gone through once, when something in it is first asked for."""

    def __init__(self, named: Columns) -> None:
        self._named = named
        self._known: set[tuple[str, str]] = set()
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.execute("pragma journal_mode = off")
        for table in ("rows", "data"):
            self._database.execute(
                f"create table {table} (file, document, place, asked, primary key (file, document)) without rowid"
            )

    def document(self, place: Path, name: str) -> Document | None:
        """A row as it stands in a file now; None: it does not, or can't be read."""
        if not self._begin("rows", place):
            self._fill("rows", place, self._rows(place, rows_file(name) or name))
        found = self._asked("rows", place, name)
        if found is None:
            return None
        size, mark, row = json.loads(found)
        try:
            return document(Source(name, place, size, mark, row=Row._make(row)))
        except LoadError:
            return None

    def lacks(self, place: Path, name: str) -> bool:
        """Whether a file can be read to its end and has no such row."""
        file = rows_file(name) or name
        if not self._begin("rows", place):
            self._fill("rows", place, self._rows(place, file))
        query = "select 1 from rows where file = ? and document in (?, ?)"
        return self._database.execute(query, (str(place), name, file)).fetchone() is None

    def data(self, place: Path, name: str) -> Any:
        """The data of a row in a data file of rows.

        Raises:
            ValueError: there is none, or the line is not JSON.
            OSError: the file can't be read.

        """
        if not self._begin("data", place):
            with place.open("rb"):  # one that is not there has no lines
                self._fill("data", place, _lines(place))
        found = self._asked("data", place, name)
        if found is None:
            raise ValueError(f"no line of {name}")
        with place.open("rb") as file:
            file.seek(found)
            return json.loads(file.readline())["data"]

    def strays(self) -> Iterator[tuple[str, str]]:
        """The lines of data files that nobody asked for: file, and document or number of the line."""
        query = "select file, document from data where not asked order by file, place"
        yield from self._database.execute(query)

    def close(self) -> None:
        """Remove the index."""
        self._database.close()

    def _begin(self, table: str, place: Path) -> bool:
        key = (table, str(place))
        is_known = key in self._known
        self._known.add(key)
        return is_known

    def _fill(self, table: str, place: Path, found: Iterator[tuple[str, Any]]) -> None:
        self._database.execute("begin")
        self._database.executemany(
            f"insert or ignore into {table} values (?, ?, ?, 0)",  # noqa: S608, a table of ours
            ((str(place), name, where) for name, where in found),
        )
        self._database.execute("commit")

    def _asked(self, table: str, place: Path, name: str) -> Any:
        query = f"update {table} set asked = 1 where file = ? and document = ? returning place"  # noqa: S608, as above
        row = self._database.execute(query, (str(place), name)).fetchone()
        return None if row is None else row[0]

    def _rows(self, place: Path, file: str) -> Iterator[tuple[str, str | None]]:
        for each in rows_of(Source(file, place), self._named):
            told = None if each.problem else json.dumps([each.size, each.mtime_ns, each.row])
            yield each.path, told  # one of the file itself: it can't be read to its end


def _lines(place: Path) -> Iterator[tuple[str, int]]:
    """The lines of a data file, by their documents, and where each begins; odd ones by their numbers."""
    offset = 0
    with place.open("rb") as file:
        for number, line in enumerate(file, start=1):
            name = f"line {number}"
            with suppress(ValueError, RecursionError, KeyError):
                told = json.loads(line)
                name = str(told["document"]) if isinstance(told, dict) else name
            yield name, offset
            offset += len(line)
