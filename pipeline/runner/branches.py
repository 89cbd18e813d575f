"""Branch: a document, part or item on its way through the stages, and what a stage is shown of it."""

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline import deriving
from pipeline.document import Document
from pipeline.eyes import Seen
from pipeline.graph import chosen, given
from pipeline.results import DocumentRef, Result
from pipeline.stages import DOCUMENT, Stage


class Look:
    """The words of a document that is made of another one, once those of that one are known."""

    def __init__(self, base: Awaitable[Seen], change: Callable[[Document], Document]) -> None:
        """`change` makes the document of the one that `base` brings."""
        self._base, self._change = base, change
        self._seen: Seen | None = None

    def __await__(self) -> Generator[Any, None, Seen]:
        if self._seen is None:
            seen = yield from self._base.__await__()
            self._seen = replace(seen, document=self._change(seen.document))
        return self._seen


class Settled:
    """The words of a document that has all of them."""

    def __init__(self, document: Document) -> None:
        self._seen = Seen(document)

    def __await__(self) -> Generator[Any, None, Seen]:
        return self._seen
        yield  # what is awaited is a generator, also where nothing is waited for


@dataclass(frozen=True, slots=True)
class Branch:
    """A document, part or item on its way, and what the stages before made of it, by their names."""

    document: Document
    looking: Awaitable[Seen]
    known: dict[str, Result | tuple[Result, ...]] = field(default_factory=dict)

    def shown_to(self, stage: Stage) -> tuple[Document, Awaitable[Seen]]:
        """What a stage is asked about: the document, what it reads of earlier stages beside it or in its place."""
        if stage.fields:
            data = chosen(stage, self.known)
            made = deriving.of_data(self.document.path, data, self.document.parent)
            return made, Settled(made)
        said = given(stage, self.known)
        if DOCUMENT not in stage.inputs:
            made = deriving.of_json(self.document, said)
            return made, Settled(made)
        if not said:
            return self.document, self.looking

        def beside(document: Document) -> Document:
            return replace(document, given=said)

        made = beside(self.document)
        return made, Look(self.looking, beside)

    def part(self, stage: str, whole: Result, entry: Any) -> "Branch":
        """A part that a split found; the name of that stage means its own entry from there on."""
        made = deriving.part(self.document, str(entry["pages"]))
        looking = Look(self.looking, lambda seen: deriving.of_part(seen, made))
        return Branch(made, looking, self.known | {stage: replace(whole, data=entry)})

    def item(self, pointer: str, value: Any) -> "Branch":
        """An item of an array."""
        made = deriving.item(self.document.path, pointer, value)
        return Branch(made, Settled(made), dict(self.known))


def root(document: Document, looking: Awaitable[Seen]) -> Branch:
    """A document at its beginning; of a row its columns are known, as if a stage `row` had said them."""
    if document.row is None:
        return Branch(document, looking)
    columns = Result(DocumentRef(document.path), "row", "valid", data=dict(document.row))
    return Branch(document, looking, {"row": columns})
