"""JSON with files in it, as pieces of bytes: a file becomes base64 while it is sent, never before.

Files don't pass through `json.dumps`: it looks at every character of their base64, 1.7 ms a megabyte;
the pieces are sent one after another, so that a large file is held in memory only once.
"""

import json
from base64 import b64encode
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from secrets import token_hex
from typing import Any, Final

from pipeline.document import Part

#: Bytes of a file that become base64 at a time: a multiple of 3, so that the pieces can be joined.
_CHUNK: Final = 3 * 2**16


@dataclass(frozen=True, slots=True)
class File:
    """A string of the JSON: `before`, and then the base64 of the part's data."""

    part: Part
    before: str = ""


def pieces(body: Any) -> list[bytes | Part]:
    """JSON data with Files in it as it is sent: bytes, and between them the Parts whose data becomes base64."""
    # Nobody who writes a document can know this mark.
    mark = token_hex(16)
    parts: list[Part] = []

    def note(file: File) -> str:
        parts.append(file.part)
        return file.before + mark

    between = _json(body, note).split(mark.encode())
    pairs = zip_longest(between, parts)
    return [piece for pair in pairs for piece in pair if piece is not None]


def whole(body: Any) -> Any:
    """The same as plain JSON data, files in it as base64: for people, not for sending."""
    return json.loads(_json(body, lambda file: file.before + b64encode(file.part.data).decode()))


def size(joined: Iterable[bytes | Part]) -> int:
    """How many bytes the pieces are on the wire."""
    return sum(len(p) if isinstance(p, bytes) else (len(p.data) + 2) // 3 * 4 for p in joined)


@dataclass(frozen=True, slots=True)
class stream:  # noqa: N801, it is used as a function is
    """The bytes of the pieces, files in chunks of base64; can be gone through again."""

    joined: Sequence[bytes | Part]

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.joined:
            if isinstance(piece, bytes):
                yield piece
                continue
            data = memoryview(piece.data)
            for start in range(0, len(data), _CHUNK):
                yield b2a_base64(data[start : start + _CHUNK], newline=False)


def _json(value: Any, write: Callable[[File], str]) -> bytes:
    # Half of a surrogate pair is no character: the service would refuse the whole request for it.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=write)
    return text.encode("utf-8", "replace")
