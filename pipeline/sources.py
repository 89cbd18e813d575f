"""What to read: files, folders and patterns as a stream of Sources, in a stable order."""

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from pipeline.errors import LoadError, UsageError

#: The most that is read of one file; a larger one is refused by its size, unopened.
LARGEST_FILE = 200_000_000


@dataclass(frozen=True, slots=True)
class Source:
    """One input: `path` is its name in every output, `file` where it lies (None: `content` is given).

    `problem` is (reason, sentence) where it was seen at once that this can't be read.
    """

    path: str
    file: Path | None = None
    size: int = 0
    mtime_ns: int = 0
    content: bytes | None = field(default=None, repr=False)
    problem: tuple[str, str] | None = None

    def read(self) -> bytes:
        """The bytes, all of them.

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
        if self.file is None:
            raise LoadError("missing", f"{self.path}: no file and no content")
        try:
            # A pipe or device that took the file's place must not block the run.
            descriptor = os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as opened:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise LoadError("not_a_file", f"{self.path}: not a plain file")
                if status.st_size > LARGEST_FILE:
                    raise LoadError("too_large", _too_large(self.path, status.st_size))
                return opened.read(most)
        except OSError as error:
            raise LoadError("not_readable", f"{self.path}: {error.strerror or error}") from error


def sources(inputs: Sequence[str | Path], *, leave_out: Iterable[Path] = ()) -> Iterator[Source]:
    """Every input, one after the other; folders are walked in the order of their names.

    `leave_out` are files and folders that are never inputs: the output, the pipeline's own files.
    Dot files are passed over. A folder's documents are named relative to it, with the folder's
    name in front when other inputs are given too; a file is named as it was typed.

    Raises:
        UsageError: a named input does not exist, or two folders have the same name; before the
            first source is read.

    """
    hidden = {path.resolve() for path in leave_out}
    folders = [path for path in map(Path, inputs) if path.is_dir()]
    names = [path.resolve().name for path in folders]
    if len(set(names)) < len(names):
        told = ", ".join(map(str, folders))
        raise UsageError(f"two input folders have the same name: {told}; run them apart")
    for given in map(str, inputs):
        if not os.path.lexists(given) and not glob.has_magic(given):
            raise UsageError(f"input {given}: no such file or folder")
    return _stream([str(given) for given in inputs], hidden)


def _stream(inputs: list[str], hidden: set[Path]) -> Iterator[Source]:
    files = {given: _matches(given) for given in inputs if not Path(given).is_dir()}
    typed = {document_name(match) for matches in files.values() for match in matches}
    seen: set[str] = set()
    for given in inputs:
        if given not in files:
            root = Path(given).resolve()
            prefix = f"{document_name(root.name)}/" if len(inputs) > 1 else ""
            # A document that was named itself too is read once, where it was named.
            yield from (s for s in _walk(root, root, prefix, hidden) if s.path not in typed)
            continue
        for match in files[given]:
            if match not in seen and not _hidden(Path(match), hidden):
                seen.add(match)
                yield named_file(match)


def _matches(given: str) -> list[str]:
    if os.path.lexists(given):
        return [given]
    found = sorted(glob.glob(given, recursive=True))  # noqa: PTH207, a pattern as it was typed
    return [match for match in found if not Path(match).is_dir()]


def _hidden(path: Path, hidden: set[Path]) -> bool:
    whole = path.resolve()
    return whole in hidden or any(parent in hidden for parent in whole.parents)


def named_file(typed: str) -> Source:
    """A file that was named itself, under the name that was typed."""
    path = Path(typed)
    return _source(path, path.resolve().parent, document_name(typed), linked=True)


def document_name(name: str) -> str:
    """A real name as it stands in outputs: `#`, `!`, `%` and bytes that are not UTF-8 are %-escaped."""
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


def _walk(folder: Path, root: Path, prefix: str, hidden: set[Path]) -> Iterator[Source]:
    try:
        with os.scandir(folder) as entries:
            # Names alone are kept and sorted: a folder of a million files is some megabytes.
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        name = prefix + document_name(folder.relative_to(root).as_posix())
        yield Source(name, folder, problem=("not_readable", f"{name}: {error.strerror}"))
        return
    if ".fieldsift" in names and "run.json" in names:
        return  # the output of some run is nobody's input
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        if path in hidden:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, root, prefix, hidden)
        else:
            yield _source(path, root, prefix + document_name(path.relative_to(root).as_posix()))


def _source(path: Path, root: Path, name: str, *, linked: bool = False) -> Source:
    try:
        status = path.stat()
        if (
            path.is_symlink()
            and not linked
            and (path.is_dir() or not path.resolve().is_relative_to(root))
        ):
            why = "a link to a folder, or out of the input folder; name its target as an input"
            return Source(name, path, problem=("link", f"{name}: {why}"))
    except OSError as error:
        return Source(name, path, problem=("not_readable", f"{name}: {error.strerror}"))
    problem = None
    if not stat.S_ISREG(status.st_mode):
        problem = ("not_a_file", f"{name}: not a plain file")
    elif status.st_size > LARGEST_FILE:
        problem = ("too_large", _too_large(name, status.st_size))
    return Source(name, path, status.st_size, status.st_mtime_ns, problem=problem)


def _too_large(name: str, size: int) -> str:
    return f"{name}: {size / 1e6:,.0f} MB; a file may have {LARGEST_FILE // 10**6} MB: split it"
