"""Claim: that a field's value stands at a place, with what speaks for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from pipeline.document import Page
from pipeline.providers.local.asks import Ask
from pipeline.providers.local.kinds import conforming, suits
from pipeline.providers.local.spans import Span, as_json
from pipeline.values import cuts_number

#: Kinds whose values are words.
_WORDED = frozenset({"text", "title", "organisation", "person", "party", "address"})


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """That `ask` has the JSON `value`, which stands at `start:end` of a page's text.

    `more` are the further places and texts of a value that stands in several, in order.
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
    more: tuple[tuple[int, int, str], ...] = ()

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it stands: page, start, end."""
        return self.page, self.start, self.end

    @property
    def parts(self) -> tuple[tuple[int, int, str], ...]:
        """Every place where it stands, with what stands there."""
        return (self.start, self.end, self.quote), *self.more

    def overlaps(self, other: "Claim") -> bool:
        """Whether two claims are about the same characters."""
        return self.page == other.page and any(
            start < end and begin < stop
            for start, stop, _ in self.parts
            for begin, end, _ in other.parts
        )


def stands_whole(claim: Claim, pages: Mapping[int, Page]) -> bool:
    """Whether a text is neither a label nor cut within a word or a number; other values are what they are."""
    if claim.ask.kind not in _WORDED or not isinstance(claim.value, str) or not claim.end:
        return True
    text = pages[claim.page].text
    cut = text[claim.end - 1].isalpha() and text[claim.end : claim.end + 1].isalpha()
    label = claim.quote.rstrip().endswith(":")
    return not (cut or label or cuts_number(text, claim.start, claim.end))


def claims_of(ask: Ask, span: Span, score: float) -> Iterator[Claim]:
    """The claim that a span is an ask's value; none where its type doesn't take it."""
    value = span.value
    if ask.fraction and isinstance(value, Decimal):
        if not span.percent:
            return
        value /= 100
    value = as_json(ask, value, span.text)
    if value is not None:
        claim = Claim(ask, value, span.page, span.start, span.end, span.text, min(score, 1.0))
        if (fitting := conformed(claim)) is not None:
            yield fitting


def conformed(claim: Claim) -> Claim | None:
    """The claim with its value as the schema's pattern wants it; None where its kind rules it out."""
    if not isinstance(claim.value, str):
        return claim
    if not suits(claim.ask.kind, claim.value):
        return None
    value = conforming(claim.ask.node.schema, claim.value)
    return None if value is None else claim if value == claim.value else replace(claim, value=value)
