"""Gold and output as they lie on the disk: where each document's data stands, read one at a time.

A folder of JSON files, a results.jsonl, a JSONL or a CSV is gone through once for the names of its
documents; each document's data is read again when its turn comes, so that none is kept.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import UsageError
from pipeline.evaluation.cells import nested, strict_json
from pipeline.results import Result
from pipeline.schema import Node

#: What a line calls the document it is about, the first that is there.
NAMES = ("document", "path", "file")
#: What a line calls its data; without one of them the data is the rest of the line.
DATA = ("data", "gold")
_TABLES = (".csv", ".tsv")
_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Entry:
    """One document's data, not yet read: its name, its stage if that is told, and where it stands."""

    name: str
    stage: str | None
    file: Path
    line: int = 0
    offset: int = 0
    is_result: bool = False

    @property
    def where(self) -> str:
        """The place for people: the file, and the line if there is more than one document in it."""
        return f"{self.file}, line {self.line}" if self.line else str(self.file)

    def data(self, node: Node | None = None) -> Any:
        """The data; that of a Result is None if it isn't valid.

        `node`, what the schema says of the data, tells what the cells of a table are.

        Raises:
            UsageError: the file is not what it was.

        """
        if self.file.suffix.lower() in _TABLES:
            return nested(self._row(), node, self.where)
        if not self.line:
            return _json(_content(self.file), str(self.file))
        if self.is_result:
            result = self.result()
            return result.data if result.status == "valid" else None
        return _data(_json(self._text(), self.where))

    def result(self) -> Result:
        """The Result of a line of results.jsonl.

        Raises:
            UsageError: it is none.

        """
        try:
            return Result.from_json(_json(self._text(), self.where))
        except ValueError as error:
            raise UsageError(f"{self.where}: {error}") from error

    def _text(self) -> str:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return _decoded(file.readline(), self.file, self.line)

    def _row(self) -> dict[str, str]:
        with self.file.open("rb") as file:
            table = _Table(file, self.file)
            file.seek(self.offset)
            return table.row(self.line)


def entries(place: Path) -> Iterator[Entry]:
    """Every document of gold or of an output, in the order in which they stand.

    Raises:
        UsageError: nothing is there, or something in it can't be read; it names file and line.

    """
    if place.is_dir():
        if (place / "results.jsonl").is_file():
            yield from _of_lines(place / "results.jsonl")
        else:
            yield from _of_folder(place)
    elif not place.exists():
        raise UsageError(f"{place}: no such file or folder")
    elif place.suffix.lower() in _LINES:
        yield from _of_lines(place)
    elif place.suffix.lower() in _TABLES:
        yield from _of_table(place)
    elif place.suffix.lower() == ".json":
        yield Entry(_named(place.stem, str(place)), None, place)
    else:
        raise UsageError(f"{place}: give a folder of JSON files, or a .json, .jsonl or .csv file")


def _of_folder(folder: Path) -> Iterator[Entry]:
    for file in sorted(folder.rglob("*.json")):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and not any(part.startswith(".") for part in name.split("/")):
            yield Entry(_named(name.removesuffix(".json"), str(folder)), None, file)


def _of_lines(path: Path) -> Iterator[Entry]:
    offset = 0
    with path.open("rb") as lines:
        for number, content in enumerate(lines, start=1):
            text = _decoded(content, path, number)
            if text.strip():
                yield _of_line(_json(text, f"{path}, line {number}"), path, number, offset)
            offset += len(content)


def _of_line(line: Any, path: Path, number: int, offset: int) -> Entry:
    line = line if isinstance(line, dict) else {}
    named = next((line[key] for key in NAMES if key in line), None)
    is_result = isinstance(named, dict) and {"version", "stage", "status"} <= line.keys()
    if isinstance(named, dict):
        named = named.get("path")
    if not (isinstance(named, str) and named.strip()):
        raise UsageError(
            f"{path}, line {number}: does not say which document it is about: "
            f'{{"document": "a.pdf", "data": {{...}}}} (or "path", "file")'
        )
    stage = line.get("stage") if is_result else None
    return Entry(_named(named, f"{path}, line {number}"), stage, path, number, offset, is_result)


def _of_table(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        table = _Table(file, path)
        while True:
            offset, line = table.offset, table.line + 1
            row = table.next()
            if row is None:
                return
            if any(cell.strip() for cell in row):
                name = _named(table.name_of(row), f"{path}, line {line}")
                yield Entry(name, None, path, line, offset)


class _Table:
    """The rows of a CSV, with the byte offset of each."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.path = path
        self.offset = self.line = 0
        self._file = file
        header = file.readline()
        self.line, self.offset = 1, len(header)
        text = _decoded(header, path, 1)
        delimiter = max(",;\t", key=text.count)
        self.columns = next(csv.reader([text], delimiter=delimiter), [])
        self._rows = csv.reader(self._lines(), delimiter=delimiter, strict=True)
        lowered = [column.strip().lower() for column in self.columns]
        self._named = next((lowered.index(key) for key in NAMES if key in lowered), None)
        if self._named is None:
            raise UsageError(
                f"{path}, line 1: no column says which document a row is about: "
                f"call it {', '.join(NAMES[:-1])} or {NAMES[-1]}"
            )
        twice = {column for column in lowered if lowered.count(column) > 1}
        if twice:
            raise UsageError(f"{path}, line 1: the column {min(twice)!r} is there twice")

    def _lines(self) -> Iterator[str]:
        for content in self._file:
            self.offset += len(content)
            self.line += 1
            yield _decoded(content, self.path, self.line)

    def next(self) -> list[str] | None:
        """The cells of the next row; None at the end."""
        try:
            return next(self._rows, None)
        except csv.Error as error:
            raise UsageError(f"{self.path}, line {self.line}: not CSV: {error}") from error

    def name_of(self, row: list[str]) -> str:
        """The document that a row is about."""
        if len(row) != len(self.columns) or not row[self._named or 0].strip():
            told = f"{len(row)} cells, and the header has {len(self.columns)}"
            raise UsageError(
                f"{self.path}, line {self.line}: "
                f"{told if len(row) != len(self.columns) else 'the document is not named'}"
            )
        return row[self._named or 0]

    def row(self, line: int) -> dict[str, str]:
        """The next row by column, that of the document's name left out."""
        self.line = line - 1
        cells = self.next() or []
        self.name_of(cells)
        return {
            column.strip(): cell
            for number, (column, cell) in enumerate(zip(self.columns, cells, strict=True))
            if number != self._named
        }


def _named(text: str, where: str) -> str:
    name = text.strip().removeprefix("./")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{where}: the document's name {text!r} is not Unicode") from error
    if not name.strip("/"):
        raise UsageError(f"{where}: {text!r} names no document")
    return name


def _data(line: dict[str, Any]) -> Any:
    for key in DATA:
        if isinstance(line.get(key), dict | list):
            return line[key]
    name = next(key for key in NAMES if key in line)
    return {key: value for key, value in line.items() if key != name}


def _content(file: Path) -> str:
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{file}, line {line}: not UTF-8; save it as UTF-8") from error


def _decoded(content: bytes, file: Path, line: int) -> str:
    try:
        return content.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}, line {line}: not UTF-8; save it as UTF-8") from error


def _json(text: str, where: str) -> Any:
    try:
        return strict_json(text)
    except json.JSONDecodeError as error:
        line = "" if ", line " in where else f", line {error.lineno}"
        raise UsageError(f"{where}{line}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UsageError(f"{where}: not JSON: {told}") from error
