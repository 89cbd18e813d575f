"""Files of the output folder: a document's place in it, and writes that are whole or not there."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.document import ROWS, rows_file
from pipeline.results import Result

#: ext4, APFS and most others take 255 bytes a name; `.json` and a temporary suffix must fit too.
_LONGEST_NAME = 200


def data_file(stage: str, document: str, *, rejected: bool = False) -> Path:
    """Where a document's data goes, relative to the output folder.

    `acme/0042.pdf` of stage `invoice` -> `invoice/acme/0042.pdf.json`, or
    `rejected/invoice/acme/0042.pdf.json`. The path never leaves the output folder: `..` and a leading
    slash are %-escaped; names that no file system holds are shortened, with a hash. Rows share the
    file of their file: `tickets.csv#17` -> `tag/tickets.csv.jsonl`, `tickets.jsonl#17` -> `tag/tickets.jsonl`.
    """
    shared = rows_file(document)
    tokens = [token for token in (shared or document).lstrip("/").split("/") if token]
    names = [*map(_folder, tokens[:-1]), _safe(tokens[-1])]
    if document.startswith("/"):
        names[0] = "%2F" + names[0]
    folder = Path("rejected", stage) if rejected else Path(stage)
    return folder.joinpath(*names[:-1], _lines(names[-1]) if shared else names[-1] + ".json")


def _lines(name: str) -> str:
    """The file of the lines of rows; that of `a.csv.jsonl` is not that of `a.csv`."""
    stem, _, suffix = name.rpartition(".")
    if suffix.lower() != "jsonl":
        return name + ".jsonl"
    return f"{stem}%2E{suffix}.jsonl" if stem.lower().endswith(ROWS) else name


def file_of(result: Result) -> Path | None:
    """Where the data of a Result lies; None where it has no file.

    Data of a document that was not answered whole did not pass either.
    """
    if result.stage is None or result.status not in {"valid", "invalid", "truncated"}:
        return None
    if result.status == "truncated" and result.data is None:
        return None
    return data_file(result.stage, result.document.path, rejected=result.status != "valid")


def _folder(token: str) -> str:
    """A folder that ends in .json or .jsonl would stand where the data of a file may go."""
    name = _safe(token)
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}%2E{suffix}" if dot and suffix.lower() in {"json", "jsonl"} else name


def _safe(token: str) -> str:
    token = "".join(f"%{ord(c):02X}" if ord(c) < 32 or c in '\\:*?"<>|' else c for c in token)
    return _fitting(token.replace(".", "%2E") if set(token) <= {"."} else token)


def _fitting(name: str) -> str:
    raw = name.encode()
    if len(raw) <= _LONGEST_NAME:
        return name
    return raw[:150].decode("utf-8", "ignore") + "%" + hashlib.sha256(raw).hexdigest()[:16]


def dump(data: Any, *, indent: int | None = None) -> str:
    """JSON text that is valid UTF-8 whatever the strings hold; NaN and Infinity are refused (ValueError)."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(
        data, ensure_ascii=False, indent=indent, separators=separators, allow_nan=False
    )
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate can only be written as an escape
        return json.dumps(
            data, ensure_ascii=True, indent=indent, separators=separators, allow_nan=False
        )
    return text


def write_data(output: Path, file: Path, data: Any) -> None:
    """Write a document's data, indented, atomically."""
    path = output / file
    content = (dump(data, indent=2) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except (
        FileNotFoundError
    ):  # the last file of that folder was removed just now, and the folder with it
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)


def remove_data(output: Path, file: Path) -> None:
    """Remove a data file that is no longer true, and folders that are empty without it."""
    path = output / file
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    for folder in path.relative_to(output).parents[:-1]:
        with contextlib.suppress(OSError):  # not empty: it stays
            (output / folder).rmdir()


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is the old one or the whole new one, also after a power cut."""
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file piece by piece; it takes its place at the end, whole, or not at all."""
    # Always the same name: what a killed run left is overwritten by the run that continues it.
    beside = path.with_name(f".{hashlib.sha256(path.name.encode()).hexdigest()[:16]}.tmp")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if (
            isinstance(error, OSError) and error.filename is None
        ):  # a full disk is told by write, which knows no name
            error.filename = str(path)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
