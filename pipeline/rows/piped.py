"""What is piped in: the names of files, or rows; kept in a temporary file, so that it is read as any other."""

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final

from pipeline.errors import UsageError
from pipeline.rows.cells import cells, delimiter_of
from pipeline.rows.lines import lines
from pipeline.rows.listing import Columns, Seen, rows_of
from pipeline.sources import Source, named_file

#: How rows that are piped in are named: `stdin.jsonl#17`.
_NAME: Final = "stdin"
_BEGINNING: Final = 1 << 16
#: Lines that tell names of files from a table.
_SHOWN: Final = 3


class Piped:
    """A stream, read once to its end. It has no name on disk, and is gone with the process."""

    def __init__(self, stream: BinaryIO) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, as long as the process
        shutil.copyfileobj(stream, self._file)
        self._file.flush()

    def sources(self, named: Columns, hidden: Collection[Path] = ()) -> Iterator[Source]:
        """The inputs: rows of JSON where the first line begins with `{`, of a table where that names the text field.

        Else it is a list of file names, one a line, or with a zero byte behind each where there is one. A
        file that is named twice is read once; one that lies in `hidden` is left out.

        Raises:
            UsageError: it is a table, as it seems, and nothing or another column is named as the text.

        """
        beginning = os.pread(self._file.fileno(), _BEGINNING, 0)
        first = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        header = _header(beginning)
        if first != b"{" and named.text not in header:
            _refuse_table(beginning, header, named.text)
            yield from self._listed(b"\0" if b"\0" in beginning else b"\n", hidden)
        else:
            suffix = "jsonl" if first == b"{" else "csv"
            # Whoever opens it under this name reads the same file, with a place of its own.
            place = f"/dev/fd/{self._file.fileno()}"
            yield from rows_of(Source(f"{_NAME}.{suffix}", place), named)

    def _listed(self, end: bytes, hidden: Collection[Path]) -> Iterator[Source]:
        whole = {path.resolve() for path in hidden}
        with closing(Seen()) as seen:
            for number, line in enumerate(lines(self._file.fileno(), 0, end), start=1):
                name = os.fsdecode(
                    line.content.removesuffix(b"\r") if end == b"\n" else line.content
                )
                name = name.removeprefix("./")
                if not name.strip() or seen.first(name, number) != number:
                    continue
                if whole.isdisjoint((Path(name).resolve(), *Path(name).resolve().parents)):
                    yield named_file(name)


def _header(beginning: bytes) -> list[str]:
    """The cells of the first line, if it is that of a table."""
    text = beginning.decode("utf-8-sig", "replace").lstrip()
    return [each.strip() for each in cells(text.partition("\n")[0], delimiter_of(text, "")[0])]


def _refuse_table(beginning: bytes, header: list[str], text_field: str | None) -> None:
    """Names of files don't look like a table, or some of the first are there."""
    first = beginning.removeprefix(b"\xef\xbb\xbf").split(b"\n", _SHOWN)[:_SHOWN]
    names = [os.fsdecode(line.strip()) for line in first]
    if len(header) < 2 or b"\0" in beginning or any(map(os.path.lexists, names)):
        return
    there = ", ".join(header[:12])
    raise UsageError(
        f"what is piped in has no column {text_field}; it has {there}"
        if text_field
        else f"what is piped in looks like a table ({there}), and no such files are there: "
        "name the column that is the text with --text-field"
    )
