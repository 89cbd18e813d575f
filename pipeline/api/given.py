"""What the library is given as one document -> a Source."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import UsageError
from pipeline.sources import Source, named_file

#: A path, the bytes of a file, an open binary file, or the texts of pages.
Given = str | Path | bytes | BinaryIO | Sequence[str]


def source_of(given: Given) -> Source:
    """The Source of one document.

    Raises:
        UsageError: there is no such file, or it is nothing of these kinds.

    """
    if isinstance(given, str | Path):
        if not Path(given).exists():
            raise UsageError(f"{given}: no such file")
        return named_file(str(given))
    name = getattr(given, "name", None)
    content = _content(given)
    return Source(name if isinstance(name, str) else "document", size=len(content), content=content)


def _content(given: bytes | BinaryIO | Sequence[str]) -> bytes:
    content: object = given
    if isinstance(given, list | tuple):
        content = _pages(given)
    elif not isinstance(given, bytes | Sequence):
        content = given.read()
    if not isinstance(content, bytes):
        raise UsageError(
            "a document is a path, bytes, a file opened for bytes (rb), or a list of the texts of its pages"
        )
    return content


def _pages(given: Sequence[object]) -> bytes | None:
    """Texts of pages as one text file, a form feed between them."""
    if not all(isinstance(page, str) for page in given):
        return None
    texts = [str(page).replace("\f", "\n") for page in given]
    return "\f".join(texts).encode("utf-8", "replace")
