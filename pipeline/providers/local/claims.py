"""Claim: that a field's value stands at a place, with what speaks for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.spans import Span, as_json


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """That `ask` has the JSON `value`, which stands at `start:end` of a page's text.

    `score` is 0..1, what speaks for it. A check mark of a form stands nowhere in the text: its
    `quote` is the form field's label and the place is empty (0, 0).
    """

    ask: Ask
    value: Any
    page: int
    start: int
    end: int
    quote: str
    score: float

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it stands: page, start, end."""
        return self.page, self.start, self.end

    def overlaps(self, other: "Claim") -> bool:
        """Whether two claims are about the same characters."""
        return self.page == other.page and self.start < other.end and other.start < self.end


def claims_of(ask: Ask, span: Span, score: float) -> Iterator[Claim]:
    """The claim that a span is an ask's value; none where its type doesn't take it."""
    value = as_json(ask, span.value, span.text)
    if value is not None:
        yield Claim(ask, value, span.page, span.start, span.end, span.text, min(score, 1.0))
