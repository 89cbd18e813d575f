"""The Document of a row: its text field, or the row as JSON; the other columns beside it."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from pipeline.document import Document, Page, Part
from pipeline.errors import LoadError
from pipeline.loaders.text import pages_of
from pipeline.rows.cells import columns
from pipeline.rows.listing import beginning_of_mark, marked
from pipeline.rows.values import of_json, of_table
from pipeline.sources import Row, Source

_HALF: Final = re.compile("[\ud800-\udfff]")


def document(source: Source) -> Document:
    """Read a row.

    Raises:
        LoadError: `not_json`, `wrong_cells`, `no_text` (it has no such field), `empty`, `damaged` (not in the encoding of
            its file), `unsupported` (zero bytes), `changed` (the file is no longer what was listed), or what was found
            when it was listed.

    """
    row = source.row
    if source.problem or row is None:
        raise LoadError(*(source.problem or ("not_a_row", f"{source.path}: no row")))
    with source.opened() as descriptor:
        content = os.pread(descriptor, row.length, row.offset)
        header = os.pread(descriptor, row.head_length, row.head_offset)
    try:
        text = content.decode(row.encoding)
        names = columns(header.decode(row.encoding), row.delimiter) if row.delimiter else []
    except UnicodeDecodeError as error:
        told = f"line {row.line}: byte {error.start} of the row is not {row.encoding.upper()}: save the file again"
        raise LoadError("damaged", told) from error
    _check(source, row, content, names)
    try:
        if row.delimiter and "\0" in text:
            raise LoadError("unsupported", "zero bytes, as no text holds them")
        value = of_table(text, row.delimiter, names) if row.delimiter else of_json(text)
        whole = value if "\\" not in text else _without_halves(value)
        shown, media_type, rest = _shown(whole, row.text_field, "" if row.delimiter else text)
    except LoadError as error:
        raise LoadError(error.reason, f"line {row.line}: {error}") from error
    warnings = []
    if not row.encoding.startswith("utf-"):
        warnings.append(f"its encoding was guessed from its letters: {row.encoding}")
    if whole is not value:
        warnings.append("halves of characters (lone surrogates) were read as \ufffd")
    pages = pages_of(shown)
    return Document(
        path=source.path,
        sha256=hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest(),
        size=source.size,
        media_type=media_type,
        page_count=len(pages),
        pages=tuple(Page(number, page) for number, page in enumerate(pages, start=1)),
        parts=tuple(
            Part("text", media_type, text=page, pages=(number, number))
            for number, page in enumerate(pages, start=1)
        ),
        warnings=tuple(warnings),
        row=rest,
    )


def _check(source: Source, row: Row, content: bytes, names: list[str]) -> None:
    if marked(beginning_of_mark(row.text_field, names), content, row.encoding) != source.mtime_ns:
        raise LoadError("changed", f"line {row.line}: the file was changed meanwhile: run again")


def _shown(value: Any, field: str | None, line: str) -> tuple[str, str, Mapping[str, Any] | None]:
    """The text of a row's document, its media type, and the other columns."""
    rest = value if isinstance(value, dict) else None
    if field is None:
        shown = value if isinstance(value, str) else _as_json(value, line)
        media_type = "text/plain" if isinstance(value, str) else "application/json"
    else:
        if rest is None or field not in rest:
            raise LoadError("no_text", f"no field {field}")
        inner = rest[field]
        rest = {name: each for name, each in rest.items() if name != field}
        shown = inner if isinstance(inner, str) else "" if inner is None else _as_json(inner)
        media_type = "text/plain"
    if not shown.strip():
        raise LoadError("empty", "nothing but blanks" if field is None else f"its {field} is empty")
    if "\0" in shown:
        raise LoadError("unsupported", "zero bytes, as no text holds them")
    return shown, media_type, rest


def _as_json(value: Any, line: str = "") -> str:
    """A value as JSON; the line itself where it is JSON without escapes, so that numbers stay as they are written."""
    if line and "\\" not in line:
        return line.strip("\ufeff \t\r\n")
    return json.dumps(value, ensure_ascii=False)


def _without_halves(value: Any) -> Any:
    """The same value if it can be written; else with the mark of a lost character in place of each lone surrogate."""
    text = json.dumps(value, ensure_ascii=False)
    whole = _HALF.sub("\ufffd", text)
    return value if whole == text else json.loads(whole)
