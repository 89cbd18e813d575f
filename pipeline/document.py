"""What goes in: Word, FormField, Page, Part and Document, as the loaders make them, and Window.

A page's `text` is the one text that everything else counts in: `start` and `end`
of words, form fields and evidence are code points of it. Boxes are
`(x0, y0, x1, y1)` in 0..1 of the page as it is seen (rotation applied), from its top left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Box = tuple[float, float, float, float]
#: Files that are streams of rows, by the end of their names; each row is a document of its own.
ROWS: Final = (".jsonl", ".ndjson", ".csv", ".tsv")
PartKind = Literal["text", "pdf", "image", "audio", "video"]
FieldKind = Literal["text", "check", "choice"]


@dataclass(frozen=True, slots=True)
class Word:
    """A run without blanks on a page: `text == page.text[start:end]`; `size` is its height in points.

    `confidence` is the recogniser's, 0..1; 1 for the text of the file itself.
    """

    start: int
    end: int
    box: Box
    size: float = 0.0
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class FormField:
    """A filled form field (AcroForm) of a page.

    `name` is the full field name, `label` what the form calls it for people (tool tip, else the
    last part of the name), `value` its text; a check mark has the value `true` or `false`.
    `start`/`end` say where the value stands in the page's text; a check mark has no text (0, 0).
    """

    name: str
    label: str
    value: str
    kind: FieldKind
    box: Box
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Page:
    """One page: `number` counts from 1; `width` and `height` are points (0 where a page has no size).

    Where the words were recognised on its picture (OCR), `reader` is the tool with its version, and
    `turn` says by how many degrees the page has to be turned clockwise for its lines to run level,
    from left to right (-180 < turn <= 180). Boxes are of the page as it is, not as it should be.
    `scanned` says that a picture covers the page and its text is no more than a stamp on it, `pictured`
    which share (0..1) of a PDF page lies under pictures and drawings, whose content its text does not hold.
    """

    number: int
    text: str
    words: tuple[Word, ...] = ()
    fields: tuple[FormField, ...] = ()
    width: float = 0.0
    height: float = 0.0
    reader: str = ""
    turn: float = 0.0
    scanned: bool = False
    pictured: float = 0.0

    @property
    def is_blind(self) -> bool:
        """Whether what stands on the page is not known as words: they would have to be recognised."""
        return not self.reader and (self.scanned or not self.has_text)

    @property
    def has_text(self) -> bool:
        """Whether anything on the page can be read as text."""
        return bool(self.text.strip())


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a document in a form that a model takes.

    `text` for kind `text`, else `data` with its `media_type`; `sha256` is of the data (hex);
    `pages` are the first and last page it covers.
    """

    kind: PartKind
    media_type: str
    text: str = ""
    data: bytes = field(default=b"", repr=False)
    sha256: str = ""
    pages: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class Document:
    """One document as read: its pages for searching, its parts for sending.

    `path` is the name in every output; `sha256` (hex) and `size` are of the file's bytes;
    `page_count` counts what the file has, also where `pages` could not be read.
    `warnings` are sentences about what was odd but readable. Of a document that is a part of a file,
    `numbers` are the numbers that its pages have there; pages and evidence keep them. `given` is what goes along
    with it from earlier stages: names, and JSON values. Of a row, `row` are its columns but the one that is the
    document's text, and the hash is of that text: rows that read the same are asked the same.
    """

    path: str
    sha256: str
    size: int
    media_type: str
    page_count: int
    pages: tuple[Page, ...]
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()
    parent: str | None = None
    numbers: tuple[int, ...] | None = None
    given: tuple[tuple[str, Any], ...] = ()
    row: Mapping[str, Any] | None = None

    @property
    def has_text(self) -> bool:
        """Whether at least one page can be read as text."""
        return any(page.has_text for page in self.pages)


@dataclass(frozen=True, slots=True)
class Window:
    """Pages that go into one request, by their numbers, ascending.

    `pages` are those it answers for; `context` are neighbours that are shown beside them, for what
    begins before or ends behind. A page is in one of the two.
    """

    pages: tuple[int, ...]
    context: tuple[int, ...] = ()

    @property
    def shown(self) -> tuple[int, ...]:
        """All pages that are sent, in the document's order."""
        return tuple(sorted((*self.pages, *self.context)))


def rows_file(document: str) -> str | None:
    """The file of rows that a document is a row of, or is taken from a row of; None for all others.

    `tickets.jsonl#17` -> `tickets.jsonl`; `scan.pdf#pages=3-5` is no row.
    """
    file, fragment, _ = document.partition("#")
    return file if fragment and file.lower().endswith(ROWS) else None
