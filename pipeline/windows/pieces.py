"""Piece, Lost, Doubt and Merged: what one answer says, that it says nothing, and what all of them say together."""

from dataclasses import dataclass, replace
from typing import Any

from pipeline.document import Document, Window
from pipeline.prompts import Ask
from pipeline.results import Evidence, Finding, Status


@dataclass(frozen=True, slots=True)
class Piece:
    """What one answer says of a stage's data: parsed and grounded, not judged.

    `data` has the shape of the stage's schema, as far as it was asked for; of a flat answer
    (`ask.fields`) it maps JSON Pointers to values. `evidence` is of its leaves, with pointers into it
    (of a flat answer: into the stage's data). `covers` are the pages of the window that it answers for
    whole; `cut` says why it is not all of them. `model` is who answered.
    """

    ask: Ask
    data: Any
    evidence: tuple[Evidence, ...]
    covers: tuple[int, ...]
    cut: "Lost | None" = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """A question without a usable answer: the status that this means, the reason, and a sentence that helps."""

    ask: Ask
    status: Status
    reason: str
    message: str

    @property
    def pages(self) -> tuple[int, ...]:
        """The pages that it leaves open."""
        return self.ask.window.pages


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the pieces don't settle, as a Finding, and the pages that would: those to ask about again.

    Its pointer is that of a leaf, or of an array whose rows are in doubt. `rows` are those of them that stand there twice.
    `ask` is the question whose answer is doubtful, where one alone is.
    """

    finding: Finding
    pages: tuple[int, ...]
    rows: tuple[str, ...] = ()
    ask: Ask | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """One answer made of all pieces, what is doubtful about it, and notes: findings that asking again can't settle."""

    data: Any
    evidence: tuple[Evidence, ...]
    doubts: tuple[Doubt, ...] = ()
    notes: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all doubts, and the notes."""
        return (*(doubt.finding for doubt in self.doubts), *self.notes)


def seen_in(window: Window, document: Document) -> Document:
    """The document as far as a window shows it; itself where that is all of it."""
    shown = set(window.shown)
    pages = tuple(page for page in document.pages if page.number in shown)
    return document if len(pages) == len(document.pages) else replace(document, pages=pages)
