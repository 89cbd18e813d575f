"""The straight line: pages, asks, claims, answer."""

from dataclasses import dataclass, replace
from typing import Any

from pipeline.document import Document
from pipeline.providers.local import choices, forms, headline, lists, tables, telling
from pipeline.providers.local.answer import Answer
from pipeline.providers.local.asks import Plan, plan
from pipeline.providers.local.claims import Claim
from pipeline.providers.local.labelled import Labelled
from pipeline.providers.local.layout import Layout, lay_out
from pipeline.providers.local.matcher import Matcher
from pipeline.providers.local.parties import Parties
from pipeline.providers.local.resolve import resolve
from pipeline.providers.local.slots import slots
from pipeline.providers.local.spans import Spans
from pipeline.providers.local.words import lexicon
from pipeline.schema import Schema

#: What the print of a filled form is worth beside its fields: it is the form, not the answers.
_PRINT_OF_FORM = 0.5


@dataclass(frozen=True, slots=True)
class Extract:
    """The data in the shape of the schema, a hint for each value that is not null.

    `complete` is False for a document with more words than are read.
    """

    data: Any
    hints: list[dict[str, Any]]
    complete: bool


def extract(document: Document, schema: Schema) -> Extract:
    """Read a schema's values from a document's pages."""
    reader = Reader(document, schema)
    answer = Answer()
    answer.hold(resolve(reader.scalars()))
    answer.lists |= dict(reader.lists())
    answer.rows |= reader.tables()
    data = answer.build(schema.tree)
    return Extract(data, answer.hints, not reader.layout.cut)


class Reader:
    """A document and what is asked of it, and every way of finding it."""

    def __init__(self, document: Document, schema: Schema) -> None:
        self.plan: Plan = plan(schema, lexicon())
        self.layout: Layout = lay_out(document)
        self.spans = Spans(self.layout)
        self.parties = Parties(self.layout, self.spans)
        self.head = headline.read(self.layout)
        self.asks = (*self.plan.scalars, *self.plan.lists)
        self.matcher = Matcher(self.asks, lexicon())

    def scalars(self) -> list[Claim]:
        """Every claim for single values."""
        labelled = Labelled(self.layout, self.spans, self.parties, self.plan.scalars, self.matcher)
        printed = [
            *labelled.claims(),
            *self.parties.claims(self.plan.scalars),
            *telling.claims(self.spans, self.plan),
            *headline.claims(self.head, self.layout, self.plan),
        ]
        fields = slots(self.layout)
        printed += choices.claims(self.layout, self.plan.scalars, self.matcher, fields)
        if forms.is_form(fields):
            printed = [replace(claim, score=claim.score * _PRINT_OF_FORM) for claim in printed]
        day_first, _ = self.spans.day_first
        filled = forms.claims(fields, self.plan.scalars, self.layout, day_first=day_first)
        return [*printed, *filled]

    def lists(self) -> list[tuple[str, list[Claim]]]:
        """The items of each list of single values."""
        return list(lists.claims(self.layout, self.spans, self.head, self.plan, self.matcher))

    def tables(self) -> dict[str, list[dict[str, Claim]]]:
        """The rows of each array of objects, by its pointer."""
        found = tables.read(self.layout, self.spans, self.plan, self.matcher)
        people = {
            node.pointer: lists.people(self.head, columns) for node, columns in self.plan.tables
        }
        return found | {pointer: rows for pointer, rows in people.items() if rows}
