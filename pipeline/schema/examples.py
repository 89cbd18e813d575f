"""Example data as it lies on the disk: JSON, JSONL and CSV files, read one value at a time."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO

from pipeline.errors import UsageError
from pipeline.schema.infer import from_table

_LINES: Final = (".jsonl", ".ndjson")
_TABLES: Final = {".csv": ",;\t", ".tsv": "\t"}
#: One line, one value or one table may be this large (characters); files of lines and arrays any size.
_LARGEST: Final = 100_000_000
_CHUNK: Final = 1 << 20


def examples(path: Path) -> Iterator[Any]:
    """The examples of a file: each line of JSONL, each item of a JSON array, each row of a CSV; else the whole.

    Raises:
        UsageError: it can't be read, or is not what its name says; names the file and the line.

    """
    kind = path.suffix.lower()
    try:
        if kind in _LINES:
            yield from _of_lines(path)
        elif kind in _TABLES:
            yield from _of_table(path, _TABLES[kind])
        else:
            yield from _of_json(path)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error


def _of_lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig") as file:
        number = 0
        while line := file.readline(_LARGEST):
            number += 1
            if len(line) >= _LARGEST:
                raise UsageError(f"{path}, line {number}: longer than {_LARGEST:,} characters")
            if line.strip():
                yield _value(line, f"{path}, line {number}")


def _of_json(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig") as file:
        pieces = _Pieces(file, path)
        if pieces.peek() != "[":
            yield pieces.value()
        else:
            yield from _items(pieces)
        if pieces.peek():
            raise pieces.wrong("there is more behind its end")


def _items(pieces: "_Pieces") -> Iterator[Any]:
    """The items of an array, no more of it kept than one."""
    pieces.take("[")
    if pieces.peek() == "]":
        pieces.take("]")
        return
    while True:
        yield pieces.value()
        if pieces.take(",]") == "]":
            return


class _Pieces:
    """JSON text that is read as far as the next value needs it."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file, self._path = file, path
        self._text, self._place, self._values = "", 0, 0

    def wrong(self, told: object) -> UsageError:
        """An error that says at which value of the file."""
        return UsageError(f"{self._path}, value {self._values + 1}: not JSON: {told}")

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._text[self._place : self._place + 1] in {" ", "\t", "\r", "\n"}:
                self._place += 1
            if self._place < len(self._text) or not self._more():
                return self._text[self._place : self._place + 1]

    def take(self, marks: str) -> str:
        """The next character, which must be one of these."""
        mark = self.peek()
        if not mark or mark not in marks:
            raise self.wrong(
                f"{mark!r} where {' or '.join(marks)} is expected" if mark else "it does not end"
            )
        self._place += 1
        return mark

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self.wrong(error.msg) from error
                continue
            except (ValueError, RecursionError) as error:
                raise self.wrong(
                    "nested too deeply" if isinstance(error, RecursionError) else error
                ) from error
            # A number at the end of what was read may go on.
            if end == len(self._text) and self._more():
                continue
            self._place = end
            self._values += 1
            return value

    def _more(self) -> bool:
        """Read on, twice as much as is there, and forget what was taken."""
        self._text, self._place = self._text[self._place :], 0
        if len(self._text) > _LARGEST:
            raise self.wrong(f"longer than {_LARGEST:,} characters; give JSONL, one example a line")
        piece = self._file.read(max(_CHUNK, len(self._text)))
        self._text += piece
        return bool(piece)


def _of_table(path: Path, delimiters: str) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        text = file.read(_LARGEST)
    if len(text) >= _LARGEST:
        raise UsageError(f"{path}: more than {_LARGEST:,} characters; give some of its rows")
    lines = text.splitlines(keepends=True)
    if not lines:
        return
    delimiter = max(delimiters, key=lines[0].count)
    reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
    try:
        rows = [{str(key): str(cell or "") for key, cell in row.items() if key} for row in reader]
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: not CSV: {error}") from error
    yield from from_table(rows)


def _value(text: str, where: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        line = "" if ", line " in where else f", line {error.lineno}"
        raise UsageError(f"{where}{line}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UsageError(f"{where}: not JSON: {told}") from error


def _refused(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that can be kept")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refused(text)


_DECODER: Final = json.JSONDecoder(parse_constant=_refused, parse_float=_finite)
