"""What a child process answers: Reading, as frames over a pipe and back to a Document, checked.

A frame is a header (magic, length of the JSON, length of the bytes), JSON, and bytes. The answer to
`load` holds numbers in its JSON; texts, words and pictures lie behind one another in its bytes. The
child may have been taken over by the document, so everything in an answer is checked here for shape
and bounds, and lengths before memory is taken for them.
"""

import hashlib
import json
import math
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast, get_args

from pipeline.document import Box, Document, FieldKind, FormField, Page, Part, PartKind, Word
from pipeline.errors import LoadError

HEADER = struct.Struct(">4sII")
MAGIC = b"fsl1"
#: Bytes of JSON in a frame: parsed JSON takes up to some twenty times its size.
MAX_JSON = 8 << 20
#: Bytes behind the JSON of an answer: 20 million characters of text, a million words, pictures.
MAX_BYTES = 192 << 20

#: What one document may hold. A book of 1,000 pages has 3 million characters and half a million words.
MAX_PAGES = 5_000
MAX_TEXT = 20_000_000
MAX_WORDS = 1_000_000

#: A word is eight integers: start, end, x0, y0, x1, y1 in 1/100,000 of the page, size in 1/100 point,
#: confidence in 1/1,000.
PER_WORD = 8
BOX_UNIT = 100_000
SIZE_UNIT = 100
SURE = 1_000

REASONS = frozenset(
    {
        "empty",
        "unsupported",
        "encrypted",
        "damaged",
        "too_large",
        "timeout",
        "crashed",
        "too_much_memory",
    }
)


class Garbage(Exception):
    """An answer that is not one: wrong shape, out of bounds, too long."""


def no_words() -> "array[int]":
    """An empty array for words, `PER_WORD` integers each."""
    return array("I")


@dataclass(slots=True)
class Sheet:
    """One page as a loader reads it; its words lie flat in an array."""

    text: str
    words: "array[int]" = field(default_factory=no_words)
    fields: list[FormField] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0
    turn: float = 0.0
    scanned: bool = False
    pictured: float = 0.0


@dataclass(slots=True)
class Reading:
    """What a loader makes of a file: `page_count` counts what the file has."""

    sheets: list[Sheet]
    parts: list[Part]
    warnings: list[str] = field(default_factory=list)
    page_count: int = 0


@dataclass(frozen=True, slots=True)
class File:
    """The file that was asked about, for checking and completing what the child says of it."""

    path: str
    media_type: str
    content: bytes = field(repr=False)


def frame(message: Mapping[str, Any], *tail: bytes) -> list[bytes]:
    """A message and the bytes that belong to it, as the pieces to write one after the other."""
    text = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode()
    return [HEADER.pack(MAGIC, len(text), sum(map(len, tail))) + text, *tail]


def lengths(header: bytes) -> tuple[int, int]:
    """The lengths that a frame's header announces.

    Raises:
        Garbage: it is no header, or more is announced than is ever right.

    """
    magic, text, tail = HEADER.unpack(header)
    if magic != MAGIC or text > MAX_JSON or tail > MAX_BYTES:
        raise Garbage("a frame with a wrong header")
    return text, tail


def message(text: bytes) -> dict[str, Any]:
    """The JSON object of a frame.

    Raises:
        Garbage: it is not a JSON object.

    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Garbage("a frame whose JSON can't be read") from error
    if not isinstance(found, dict):
        raise Garbage("a frame whose JSON is no object")
    return found


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next frame of a blocking stream; None at its end (the child's side)."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    _, text, tail = HEADER.unpack(header)
    return message(stream.read(text)), stream.read(tail)


def pack(reading: Reading, content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """A Reading as the JSON and the bytes of an answer; what the parent has already isn't sent."""
    tail: list[bytes] = []
    pages = []
    for sheet in reading.sheets:
        page, behind = pack_sheet(sheet)
        pages.append(page)
        tail += behind
    parts = []
    for part in reading.parts:
        own = part.kind != "text" and part.data is not content
        if own:
            tail.append(part.data)
        parts.append([part.kind, part.media_type, part.pages, len(part.data) if own else None])
    found = {
        "pages": pages,
        "parts": parts,
        "warnings": reading.warnings,
        "page_count": reading.page_count,
    }
    return found, tail


def pack_sheet(sheet: Sheet) -> tuple[dict[str, Any], list[bytes]]:
    """One page as the JSON and the bytes of an answer."""
    text = sheet.text.encode()
    found = {
        "text": len(text),
        "words": len(sheet.words) // PER_WORD,
        "size": [sheet.width, sheet.height],
        "turn": sheet.turn,
        "scanned": sheet.scanned,
        "pictured": sheet.pictured,
        "fields": [[f.name, f.label, f.value, f.kind, f.box, f.start, f.end] for f in sheet.fields],
    }
    return found, [text, sheet.words.tobytes()]


def sheet_of(page: Page) -> Sheet:
    """A page as a loader would have read it."""
    words = no_words()
    for word in page.words:
        box = (round(edge * BOX_UNIT) for edge in word.box)
        size, sure = round(word.size * SIZE_UNIT), round(word.confidence * SURE)
        words.extend((word.start, word.end, *box, size, sure))
    return Sheet(page.text, words, list(page.fields), page.width, page.height, page.turn)


def unpack_page(found: object, tail: bytes) -> Page:
    """The Page of an answer to `recognise`, checked; its number is 1.

    Raises:
        Garbage: the answer is not what `pack_sheet` makes.

    """
    with _checking():
        page = _page(1, _object(found), _Tail(tail))
        if len(page.text) > MAX_TEXT:
            raise ValueError("text")
        return page


def keep(page: Page) -> bytes:
    """A page's text, words and marks as bytes, for `kept` to read back."""
    found, tail = pack_sheet(sheet_of(page))
    return b"".join(frame(found, *tail))


def kept(body: bytes) -> Page:
    """The page that `keep` made these bytes of; its number is 1, its reader empty.

    Raises:
        Garbage: the bytes are no such page.

    """
    with _checking():
        text, _ = lengths(body[: HEADER.size])
        end = HEADER.size + text
        return unpack_page(message(body[HEADER.size : end]), body[end:])


def unpack(found: object, tail: bytes, file: File) -> Document:
    """The Document of an answer, checked.

    Raises:
        Garbage: the answer is not what `pack` makes.

    """
    with _checking():
        return _document(_object(found), _Tail(tail), file)


@contextmanager
def _checking() -> Iterator[None]:
    """Whatever a wrong shape raises where it is read is Garbage."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise Garbage(f"an answer of a wrong shape: {type(error).__name__}") from error


def refusal(found: object) -> LoadError:
    """The LoadError that a child answered.

    Raises:
        Garbage: it is none.

    """
    match found:
        case [str(reason), str(sentence)] if reason in REASONS:
            return LoadError(reason, "".join(c if c.isprintable() else " " for c in sentence[:500]))
    raise Garbage("a refusal of a wrong shape")


class _Tail:
    """The bytes of an answer, taken from the front."""

    def __init__(self, content: bytes) -> None:
        self._rest = memoryview(content)

    def take(self, length: object) -> memoryview:
        """The next bytes."""
        taken = self._rest[: _whole(length, len(self._rest))]
        self._rest = self._rest[len(taken) :]
        return taken


def _document(found: dict[str, Any], tail: _Tail, file: File) -> Document:
    pages = tuple(
        _page(number, _object(page), tail) for number, page in enumerate(_list(found["pages"]), 1)
    )
    if not 1 <= len(pages) <= MAX_PAGES or sum(len(page.words) for page in pages) > MAX_WORDS:
        raise ValueError("pages")
    parts = tuple(_part(part, tail, pages, file) for part in _list(found["parts"]))
    return Document(
        path=file.path,
        sha256=hashlib.sha256(file.content).hexdigest(),
        size=len(file.content),
        media_type=file.media_type,
        page_count=max(_whole(found["page_count"], 1 << 31), len(pages)),
        pages=pages,
        parts=parts,
        warnings=tuple(map(_text, _list(found["warnings"]))),
    )


def _page(number: int, found: dict[str, Any], tail: _Tail) -> Page:
    text = str(tail.take(found["text"]), "utf-8")
    words = array("I")
    count = _whole(found["words"], MAX_WORDS)
    words.frombytes(tail.take(count * PER_WORD * words.itemsize))
    width, height = map(_number, found["size"])
    return Page(
        number=number,
        text=text,
        words=tuple(_words(words, len(text))),
        fields=tuple(_field(form, text) for form in _list(found["fields"])),
        width=width,
        height=height,
        turn=_turn(found["turn"]),
        scanned=found["scanned"] is True,
        pictured=_share(
            found.get("pictured", 0.0)
        ),  # pages that were kept before it was told have none
    )


def _words(flat: "array[int]", length: int) -> Iterator[Word]:
    numbers = iter(flat)
    # Words of a line share their edges: one object for each is a quarter less memory.
    edges = {number: number / BOX_UNIT for number in {*flat}}
    for start, end, x0, y0, x1, y1, size, sure in zip(*[numbers] * PER_WORD, strict=True):
        if not (start < end <= length and x0 <= x1 <= BOX_UNIT and y0 <= y1 <= BOX_UNIT):
            raise ValueError("word")
        box = edges[x0], edges[y0], edges[x1], edges[y1]
        confidence = 1.0 if sure >= SURE else sure / SURE
        yield Word(start, end, box, size / SIZE_UNIT, confidence)


def _field(found: Sequence[Any], text: str) -> FormField:
    name, label, value, kind, box, start, end = found
    start, end = _whole(start, len(text)), _whole(end, len(text))
    if kind not in get_args(FieldKind) or text[start:end] != ("" if kind == "check" else value):
        raise ValueError("field")
    return FormField(_text(name), _text(label), _text(value), kind, _box(box), start, end)


def _part(found: Sequence[Any], tail: _Tail, pages: Sequence[Page], file: File) -> Part:
    kind, media_type, (first, last), length = found
    first, last = _whole(first, len(pages)), _whole(last, len(pages))
    if kind not in get_args(PartKind) or not 1 <= first <= last:
        raise ValueError("part")
    if kind == "text":
        return Part(
            "text",
            _text(media_type),
            text="\n".join(page.text for page in pages[first - 1 : last]),
            pages=(first, last),
        )
    data = file.content if length is None else bytes(tail.take(length))
    sha256 = hashlib.sha256(data).hexdigest()
    return Part(
        cast("PartKind", kind), _text(media_type), data=data, sha256=sha256, pages=(first, last)
    )


def _object(found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TypeError("object")
    return found


def _list(found: object) -> list[Any]:
    if not isinstance(found, list):
        raise TypeError("list")
    return found


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError("text")
    found.encode()  # a lone surrogate is a ValueError
    return found


def _whole(found: object, most: int) -> int:
    if type(found) is not int or not 0 <= found <= most:
        raise ValueError("whole number")
    return found


def _number(found: object) -> float:
    if not isinstance(found, (int, float)) or not (math.isfinite(found) and 0 <= found <= 1e7):
        raise ValueError("number")
    return float(found)


def _share(found: object) -> float:
    if not isinstance(found, (int, float)) or not 0 <= found <= 1:
        raise ValueError("share")
    return float(found)


def _turn(found: object) -> float:
    if not isinstance(found, (int, float)) or not -180 < found <= 180:
        raise ValueError("turn")
    return float(found)


def _box(found: Sequence[object]) -> Box:
    x0, y0, x1, y1 = map(_number, found)
    if not (x0 <= x1 <= 1 and y0 <= y1 <= 1):
        raise ValueError("box")
    return x0, y0, x1, y1
