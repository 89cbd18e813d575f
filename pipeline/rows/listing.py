"""A file of rows as a stream of Sources, one for each row, by where it stands."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from pipeline.document import ROWS
from pipeline.errors import LoadError
from pipeline.loaders import LOADERS, sniff, way_out
from pipeline.loaders.encodings import encoding_of, wide
from pipeline.rows.cells import columns, delimiter_of, is_blank, is_open
from pipeline.rows.lines import LARGEST_ROW, Line, lines
from pipeline.rows.values import id_of, name_of, of_json, of_table
from pipeline.sources import Row, Source

#: Bytes at the beginning of a file that tell its encoding and its delimiter.
_BEGINNING: Final = 1 << 20
_BEYOND_ASCII: Final = bytes(range(128, 256))


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column is the text of a row's document (None: the row as JSON), and which one names it (None: its number)."""

    text: str | None = None
    id: str | None = None


class _Form(NamedTuple):
    """How a file of rows is read: from where on, and what stands between lines and cells (JSON has no delimiter)."""

    at: int
    encoding: str
    newline: bytes
    delimiter: str


class _Found(NamedTuple):
    """A row as it is found: where, in which line, and its text as far as it can be decoded; or what is wrong with it."""

    start: int
    content: bytes
    line: int
    text: str
    problem: tuple[str, str] | None = None


def with_rows(found: Iterable[Source], named: Columns) -> Iterator[Source]:
    """The same inputs, with the rows of a file of rows in its place."""
    for source in found:
        if source.path.lower().endswith(ROWS) and source.file and not source.problem:
            yield from rows_of(source, named)
        else:
            yield source


def rows_of(source: Source, named: Columns) -> Iterator[Source]:
    """The rows of a file: `tickets.jsonl#17`, or `tickets.jsonl#<id>`.

    Rows are counted from 1; blank lines, and records whose cells are all blank, are none. A file that can't be read is one
    Source with a problem; one without a row is none. A row whose id an earlier row has, or that has none, is
    one with its number behind that: `tickets.jsonl#<id>#17`.
    """
    try:
        with source.opened() as descriptor:
            form = _form(source, os.pread(descriptor, _BEGINNING, 0))
            listing = _Listing(source, named, form, descriptor)
            with closing(listing):
                yield from listing.rows()
    except LoadError as error:
        yield replace(source, problem=(error.reason, str(error)))


def _form(source: Source, beginning: bytes) -> _Form:
    """How a file is read, told from its beginning.

    Raises:
        LoadError: it is no text.

    """
    head = beginning[:4096]
    if not wide(head) and head.count(b"\0") <= len(head) // 100:
        head = head.replace(b"\0", b"")
    kind = sniff(head, source.path)
    if head and LOADERS.get(kind) != "text":
        raise LoadError("unsupported", f"{source.path}: {way_out(kind, source.path)}")
    whole = beginning
    if len(beginning) == _BEGINNING:  # cut anywhere: behind a line, or at least behind a letter
        last = beginning.rfind(b"\n") + 1
        whole = beginning[:last] or beginning.rstrip(_BEYOND_ASCII)
    is_table = source.path.lower().endswith((".csv", ".tsv"))
    encoding, mark = encoding_of(whole)
    if not is_table and not encoding.startswith("utf-"):
        encoding = "utf-8"  # JSON is in no other (RFC 8259, 8.1)
    text = beginning[mark:].decode(encoding, "replace")
    newline = "\r" if "\r" in text and "\n" not in text else "\n"
    delimiter = ""
    if is_table:
        delimiter, is_told = delimiter_of(text, source.path)
        if is_told:
            first = text[: text.index(newline) + 1] if newline in text else text
            mark += len(first.encode(encoding, "replace"))
    return _Form(mark, encoding, newline.encode(encoding), delimiter)


class _Listing:
    """One file while its rows are listed."""

    def __init__(self, source: Source, named: Columns, form: _Form, descriptor: int) -> None:
        self.number = 0
        self._source = source
        self._named = named
        self._form = form
        self._descriptor = descriptor
        self._columns: list[str] = []
        self._head = (0, 0)
        self._base = beginning_of_mark(named.text, [])
        self._ids = Seen() if named.id else None

    def close(self) -> None:
        """Forget the ids."""
        if self._ids:
            self._ids.close()

    def rows(self) -> Iterator[Source]:
        """All rows.

        Raises:
            LoadError: it is a table without the column that is to be the text, or with two of the same name.

        """
        found = self._records() if self._form.delimiter else self._lines()
        if self._form.delimiter:
            self._begin(next(found, None))
        for each in found:
            self.number += 1
            yield self._row(each)

    def _begin(self, header: _Found | None) -> None:
        """Take the header of a table."""
        if header is None:
            return
        if header.problem:
            raise LoadError(*header.problem)
        try:
            self._columns = columns(header.text, self._form.delimiter)
        except LoadError as error:
            raise LoadError(error.reason, f"{self._source.path}: {error}") from error
        for name in filter(None, (self._named.text, self._named.id)):
            if name not in self._columns:
                told = ", ".join(self._columns[:12])
                raise LoadError(
                    "no_column", f"{self._source.path}: no column {name}; it has {told}"
                )
        self._head = (header.start, len(header.content))
        self._base = beginning_of_mark(self._named.text, self._columns)

    def _row(self, found: _Found) -> Source:
        form, named = self._form, self._named
        name, problem = str(self.number), found.problem
        if named.id:
            name, problem = self._id(found)
        row = Row(
            found.start, len(found.content), self.number, found.line,
            form.encoding, form.delimiter, *self._head, named.text,
        )  # fmt: skip
        return Source(
            f"{self._source.path}#{name}",
            self._source.file,
            len(found.content),
            marked(self._base, found.content, form.encoding),
            problem=problem,
            row=row,
        )

    def _id(self, found: _Found) -> tuple[str, tuple[str, str] | None]:
        """The name of a row by its id, and what is wrong with that."""
        named, problem = "", found.problem
        if not problem:
            try:
                value = (
                    of_table(found.text, self._form.delimiter, self._columns)
                    if self._form.delimiter
                    else of_json(found.text)
                )
                named = id_of(value, str(self._named.id))
            except LoadError as error:
                problem = (error.reason, f"line {found.line}: {error}")
        if problem:
            return f"#{self.number}", problem
        first = self._ids.first(named, self.number) if self._ids else self.number
        if first == self.number:
            return name_of(named), None
        told = f"line {found.line}: row {first} has the id {named[:80]} too: which one is meant can't be told"
        return f"{name_of(named)}#{self.number}", ("doubled_id", told)

    # where rows stand ---------------------------------------------------------------------

    def _lines(self) -> Iterator[_Found]:
        for number, line in enumerate(self._from(self._form.at), start=1):
            found = self._found(line, line.content, number)
            if found.text.strip():
                yield found

    def _records(self) -> Iterator[_Found]:
        """The records of a table, one of several lines where a quote is open at the end of one."""
        delimiter = self._form.delimiter
        coming, number, again = self._from(self._form.at), 1, 0
        while line := next(coming, None):
            found = self._found(line, line.content, number)
            if '"' in found.text and is_open(found.text, delimiter):
                last, below = self._closed(coming, line)
                # Each line may open a quote: what is read again must stay a share of what was read.
                once_more = last is None and again <= line.end + 2 * LARGEST_ROW
                if last is not None:
                    length = last.start + len(last.content) - line.start
                    content = os.pread(self._descriptor, length, line.start)
                    found = self._found(line, content, number)
                else:
                    told = f"line {number}: a quote is opened in it and not closed"
                    more = "" if once_more else f"; {below} lines behind it are left out too"
                    found = found._replace(problem=("unclosed_quote", told + more))
                if once_more:
                    again += 2 * LARGEST_ROW
                    coming = self._from(line.end)
                else:
                    number += below
            if not is_blank(found.text, delimiter):
                yield found
            number += 1

    def _closed(self, coming: Iterator[Line], first: Line) -> tuple[Line | None, int]:
        """The line in which a quote that is open is closed, and how many lines were read for it; None: there is none."""
        count = 0
        for line in coming:
            count += 1
            if line.end - first.start > LARGEST_ROW:
                return None, count
            text = line.content.decode(self._form.encoding, "replace")
            if not is_open(text, self._form.delimiter, inside=True):
                return line, count
        return None, count

    def _from(self, at: int) -> Iterator[Line]:
        return lines(self._descriptor, at, self._form.newline)

    def _found(self, line: Line, content: bytes, number: int) -> _Found:
        if line.is_too_long:
            told = (
                f"line {number}: a row may have {LARGEST_ROW:,} bytes: give it as a file of its own"
            )
            return _Found(line.start, content, number, "too long", ("too_large", told))
        end = "\r".encode(self._form.encoding)
        if self._form.newline != end and content.endswith(end):
            content = content[: -len(end)]
        return _Found(line.start, content, number, content.decode(self._form.encoding, "replace"))


class Seen:
    """Ids and the rows that had them first, in a temporary file."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.execute("pragma journal_mode = off")
        self._database.execute("create table ids (id blob primary key, row integer) without rowid")
        self._database.execute("begin")

    def first(self, named: str, number: int) -> int:
        """The number of the first row that had an id."""
        key = hashlib.blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        done = self._database.execute("insert or ignore into ids values (?, ?)", (key, number))
        if done.rowcount:
            return number
        return int(self._database.execute("select row from ids where id = ?", (key,)).fetchone()[0])

    def close(self) -> None:
        """Remove the file."""
        self._database.close()


def beginning_of_mark(text_field: str | None, names: list[str]) -> "hashlib.blake2b":
    """What is the same in the marks of all rows of a file: which column is the text, and the columns of a table."""
    return hashlib.blake2b(json.dumps([text_field, names]).encode(), digest_size=8)


def marked(base: "hashlib.blake2b", content: bytes, encoding: str) -> int:
    """63 bits over a row, and over what else decides what is read of it."""
    digest = base.copy()
    digest.update(content)
    if encoding != "utf-8" and not content.isascii():
        digest.update(encoding.encode())
    return int.from_bytes(digest.digest()) >> 1
