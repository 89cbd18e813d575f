"""The lines of a document's pages, by the pages' own numbers."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from pipeline.document import Document
from pipeline.grounding.index import Index, Place
from pipeline.grounding.lines import Lines
from pipeline.results import Evidence


class Pages:
    """The lines of a document's pages."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.place = {page.number: place for place, page in enumerate(document.pages)}

    @cached_property
    def _index(self) -> Index:
        return Index(self.document)

    @cached_property
    def lines(self) -> Lines:
        """All of them."""
        return self._index.lines

    @cached_property
    def texts(self) -> list[str]:
        """The text of each page."""
        return [page.text for page in self.document.pages]

    @cached_property
    def readable(self) -> frozenset[int]:
        """The numbers of the pages on which values can be searched."""
        return frozenset(page.number for page in self.document.pages if page.has_text)

    def line_of(self, proof: Evidence) -> int | None:
        """The line that a value stands on."""
        if proof.page not in self.place or proof.start is None:
            return None
        return self.lines.at(self.place[proof.page], proof.start)

    def number(self, line: int) -> int:
        """The number of a line's page; 0 before the first one."""
        return self.document.pages[self.lines.page(line)].number if line >= 0 else 0

    def before(self, pages: Sequence[int]) -> int:
        """The line before the first of some pages."""
        places = [self.place[page] for page in pages if page in self.place]
        return self.lines.lines(min(places)).start - 1 if places else -1

    def on_line(self, proof: Evidence, line: int) -> Evidence | None:
        """The proof at the same print on another line, of several in its column; None where that line has none."""
        at = self.line_of(proof)
        if at is None or proof.start is None or proof.end is None:
            return None
        start, end = proof.start, proof.end
        own = [t for t in self.lines.tokens(at) if t.start < end and start < t.end]
        if not own:
            return None
        place, tokens = self.lines.page(line), self.lines.tokens(line)
        first, last, text = own[0], own[-1], self.texts[place]
        print_ = self.texts[self.lines.page(at)][first.start : last.end]
        able = [
            (abs(one.left - first.left) + abs(other.right - last.right), one.start)
            for one, other in zip(tokens, tokens[len(own) - 1 :], strict=False)
            if print_ and text[one.start : other.end] == print_
        ]
        if not able:
            return None
        begin = min(able)[1] + start - first.start
        box = self._index.box(Place(place, begin, begin + end - start))
        number = self.document.pages[place].number
        return replace(proof, page=number, start=begin, end=begin + end - start, box=box)
