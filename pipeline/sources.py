"""What to read: files, folders and patterns as a stream of Sources, in a stable order.

Of a folder nothing but names is held, and of a very large one not even those: a million documents
take as much memory as a thousand.
"""

import glob
import itertools
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from pipeline.document import ROWS
from pipeline.errors import LoadError, UsageError

#: The most that is read of one file; a larger one is refused by its size, unopened.
LARGEST_FILE = 200_000_000
#: Bytes of an input that is small, and how files that hold text alone are named.
_SMALL = 8_192
_TEXTS = frozenset({".txt", ".md", ".json", ".xml", ".yaml", ".yml", ".toml"})
#: Names of one folder that are sorted in memory; more are sorted in a temporary file.
_FEW = 150_000
_HERE = Path()


class Row(NamedTuple):
    """Where a row stands in its file: bytes, without the line end; its content is never held.

    `number` counts rows and `line` lines from 1. A table has a header, whose cells, like those of the row,
    stand between `delimiter`s; a row of JSON has neither. `text_field` is the column that is
    the document's text.
    """

    offset: int
    length: int
    number: int
    line: int
    encoding: str = "utf-8"
    delimiter: str = ""
    head_offset: int = 0
    head_length: int = 0
    text_field: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One input: `path` is its name in every output, `file` where it lies (None: `content` is given).

    `problem` is (reason, sentence) where it was seen at once that this can't be read. Of a `row`, its length and a hash
    of 63 bits over all that decides what is read of it stand in place of size and time.
    """

    path: str
    file: str | Path | None = None
    size: int = 0
    mtime_ns: int = 0
    content: bytes | None = field(default=None, repr=False)
    problem: tuple[str, str] | None = None
    row: Row | None = None

    @property
    def is_small(self) -> bool:
        """Whether it is read at no cost to speak of, so that several may be worked on in the place of one."""
        small = self.row is not None or Path(self.path).suffix.lower() in _TEXTS
        return small and self.size <= _SMALL

    def read(self) -> bytes:
        """The bytes, all of them; of a row its own.

        Raises:
            LoadError: missing, not a plain file, not readable, or larger than LARGEST_FILE.

        """
        return self._read(LARGEST_FILE + 1)

    def head(self) -> bytes:
        """The first bytes, enough to see what kind of file it is.

        Raises:
            LoadError: as `read`.

        """
        return self._read(4096)

    def _read(self, most: int) -> bytes:
        if self.problem:
            raise LoadError(*self.problem)
        if self.content is not None:
            return self.content[:most]
        with self.opened() as descriptor:
            if self.row:
                return os.pread(descriptor, min(most, self.row.length), self.row.offset)
            size = os.fstat(descriptor).st_size
            if size > LARGEST_FILE:
                raise LoadError("too_large", _too_large(self.path, size))
            with os.fdopen(descriptor, "rb", closefd=False) as opened:
                return opened.read(most)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of the file.

        Raises:
            LoadError: missing, not a plain file, or not readable.

        """
        if self.file is None:
            raise LoadError("missing", f"{self.path}: no file and no content")
        try:
            # A pipe or device that took the file's place must not block the run.
            descriptor = os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise LoadError("not_a_file", f"{self.path}: not a plain file")
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise LoadError("not_readable", f"{self.path}: {error.strerror or error}") from error


def sources(
    inputs: Sequence[str | Path], *, leave_out: Iterable[Path] = (), base: Path = _HERE
) -> Iterator[Source]:
    """Every input, one after the other; folders are walked in the order of their paths.

    `leave_out` are files and folders that are never inputs: the output, the pipeline's own files. `base` is the folder
    that inputs are relative to.
    Dot files are passed over. A folder's documents are named relative to it, with the folder's
    name in front when other inputs are given too; a file is named as it was typed.

    Raises:
        UsageError: a named input does not exist, or two folders have the same name; before the
            first source is read.

    """
    hidden = {path.resolve() for path in leave_out}
    folders = [path for path in (base / given for given in inputs) if path.is_dir()]
    names = [path.resolve().name for path in folders]
    if len(set(names)) < len(names):
        told = ", ".join(map(str, folders))
        raise UsageError(f"two input folders have the same name: {told}; run them apart")
    for given in map(str, inputs):
        if not os.path.lexists(base / given) and not glob.has_magic(given):
            raise UsageError(f"input {given}: no such file or folder")
    return _stream([str(given) for given in inputs], hidden, base)


def _stream(inputs: list[str], hidden: set[Path], base: Path) -> Iterator[Source]:
    if len(inputs) == 1:
        yield from _input(inputs[0], "", hidden, base)
        return
    files = {given: [*_matches(given, base)] for given in inputs if not (base / given).is_dir()}
    typed = {document_name(match) for matches in files.values() for match in matches}
    seen: set[str] = set()
    for given in inputs:
        if given not in files:
            prefix = f"{document_name((base / given).resolve().name)}/"
            # A document that was named itself too is read once, where it was named.
            yield from (s for s in _input(given, prefix, hidden, base) if s.path not in typed)
            continue
        for match in files[given]:
            if match not in seen and not _hidden(base / match, hidden):
                seen.add(match)
                yield named_file(match, base)


def _input(given: str, prefix: str, hidden: set[Path], base: Path) -> Iterator[Source]:
    """The documents of one input, in their order."""
    folder = base / given
    if folder.is_dir():
        yield from _walk(str(folder.resolve()), prefix, {str(path) for path in hidden})
        return
    for match, _ in itertools.groupby(_matches(given, base)):
        if not _hidden(base / match, hidden):
            yield named_file(match, base)


def _matches(given: str, base: Path) -> Iterator[str]:
    if os.path.lexists(base / given):
        return iter([given])
    found = glob.iglob(given, root_dir=base, recursive=True)  # noqa: PTH207, a pattern as it was typed
    return _sorted(match for match in found if not (base / match).is_dir())


def _sorted(names: Iterator[str]) -> Iterator[str]:
    """Names in their order; many are sorted on disk."""
    few = list(itertools.islice(names, _FEW))
    if len(few) < _FEW:
        few.sort()
        return iter(few)
    # A database without a name is a temporary file, which is gone when it is closed.
    database = sqlite3.connect("", check_same_thread=False)
    database.execute("create table names (name blob)")
    rows = ((os.fsencode(name),) for name in itertools.chain(few, names))
    database.executemany("insert into names values (?)", rows)
    return _read_back(database)


def _read_back(database: sqlite3.Connection) -> Iterator[str]:
    with closing(database):
        for (name,) in database.execute("select name from names order by name"):
            yield os.fsdecode(name)


def _hidden(path: Path, hidden: set[Path]) -> bool:
    whole = path.resolve()
    return whole in hidden or any(parent in hidden for parent in whole.parents)


def named_file(typed: str, base: Path = _HERE) -> Source:
    """A file that was named itself, under the name that was typed; it is relative to `base`."""
    path = base / typed
    return _source(str(path), str(path.resolve().parent), document_name(typed), linked=True)


def document_name(name: str) -> str:
    """A real name as it stands in outputs: `#`, `!`, `%` and bytes that are not UTF-8 are %-escaped."""
    if name.isascii() and not ("%" in name or "#" in name or "!" in name):
        return name
    raw = name.encode("utf-8", "surrogateescape")
    text = (
        raw.replace(b"%", b"%25")
        .replace(b"#", b"%23")
        .replace(b"!", b"%21")
        .decode("utf-8", "surrogateescape")
    )
    return "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)


def real_name(name: str) -> str:
    """The name in the file system of a document's name: `document_name` undone."""
    return unquote(name, encoding="utf-8", errors="surrogateescape")


def _walk(root: str, prefix: str, hidden: set[str]) -> Iterator[Source]:
    """Every file under a folder. A stack of what is still to come: a tree may be deeper than Python's calls."""
    below = [(root.rstrip("/"), prefix, iter([""]))]
    while below:
        folder, name, entries = below[-1]
        for entry in entries:
            if entry and not entry.endswith("/"):
                path = f"{folder}/{entry}"
                if path not in hidden:
                    yield _source(path, root, name + document_name(entry))
                continue
            path = f"{folder}/{entry[:-1]}" if entry else folder
            if path in hidden:
                continue
            try:
                below.append((path, name + document_name(entry), _entries(path or "/")))
            except OSError as error:
                told = (name + document_name(entry)).rstrip("/") or "."
                yield Source(told, path, problem=("not_readable", f"{told}: {error.strerror}"))
                continue
            break
        else:
            below.pop()


def _entries(folder: str) -> Iterator[str]:
    """The names in a folder, sorted, those of folders with a slash behind; none of some run's output."""
    signs: set[str] = set()

    def _names(found: Iterable["os.DirEntry[str]"]) -> Iterator[str]:
        for entry in found:
            name = entry.name
            if name in {".fieldsift", "run.json"}:
                signs.add(name)
            if not name.startswith("."):
                yield f"{name}/" if entry.is_dir(follow_symlinks=False) else name

    with os.scandir(folder) as found:
        names = _sorted(_names(found))
    return names if len(signs) < 2 else iter(())


def _source(path: str, root: str, name: str, *, linked: bool = False) -> Source:
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            status = os.stat(path)  # noqa: PTH116, as the listing does: a Path for each file costs more
            if not linked and (
                stat.S_ISDIR(status.st_mode) or not Path(path).resolve().is_relative_to(root)
            ):
                why = "a link to a folder, or out of the input folder; name its target as an input"
                return Source(name, path, problem=("link", f"{name}: {why}"))
    except OSError as error:
        return Source(name, path, problem=("not_readable", f"{name}: {error.strerror}"))
    if not stat.S_ISREG(status.st_mode):
        return Source(name, path, problem=("not_a_file", f"{name}: not a plain file"))
    if status.st_size > LARGEST_FILE and not name.lower().endswith(ROWS):
        problem = ("too_large", _too_large(name, status.st_size))
        return Source(name, path, status.st_size, status.st_mtime_ns, problem=problem)
    return Source(name, path, status.st_size, status.st_mtime_ns)


def _too_large(name: str, size: int) -> str:
    return f"{name}: {size / 1e6:,.0f} MB; a file may have {LARGEST_FILE // 10**6} MB: split it"
