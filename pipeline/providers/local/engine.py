"""The straight line: pages, asks, claims, answer."""

from dataclasses import dataclass, replace
from typing import Any

from pipeline.document import Document
from pipeline.providers.local import (
    agreement,
    choices,
    clauses,
    entries,
    forms,
    headline,
    letters,
    lists,
    passages,
    payments,
    periods,
    sums,
    tables,
    taxes,
    telling,
    tills,
)
from pipeline.providers.local.answer import Answer
from pipeline.providers.local.asks import Plan, plan
from pipeline.providers.local.claims import Claim, stands_whole
from pipeline.providers.local.labelled import Labelled
from pipeline.providers.local.layout import Layout, lay_out
from pipeline.providers.local.matcher import Matcher
from pipeline.providers.local.parties import Parties
from pipeline.providers.local.questions import questions
from pipeline.providers.local.resolve import resolve
from pipeline.providers.local.slots import slots
from pipeline.providers.local.spans import Spans
from pipeline.providers.local.tables import whole
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


def extract(document: Document, schema: Schema, least: float = 0.0) -> Extract:
    """Read a schema's values from a document's pages; those below the confidence `least` (0..1) are left out."""
    reader = Reader(document, schema)
    answer = Answer(reader.layout.pages)
    rows = reader.tables()
    claims = whole.weighed(reader.scalars(), rows, reader.layout, reader.spans)
    answer.hold(resolve(claims, len(reader.plan.scalars)))
    answer.lists |= dict(reader.lists())
    answer.rows |= rows
    data = answer.build(schema.tree, least)
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
            *payments.claims(self.layout, self.plan.scalars),
            *headline.claims(self.head, self.layout, self.plan),
            *passages.claims(self.layout, self.plan.scalars, self.matcher),
            *periods.claims(self.spans, self.plan.scalars),
            *letters.claims(self.layout, self.spans, self.plan.scalars, self.parties),
            *clauses.claims(self.layout, self.spans, self.plan.scalars),
        ]
        printed = [claim for claim in printed if stands_whole(claim, self.layout.pages)]
        printed = sums.raised(printed, self.plan.scalars, labelled)
        fields = slots(self.layout)
        if not forms.is_form(fields):
            fields += entries.slots(self.layout, self.plan.scalars)
            fields.sort(
                key=lambda slot: (slot.page, round(slot.box[3] / max(1.0, self.layout.body)))
            )
        printed += choices.claims(self.layout, self.plan.scalars, self.matcher, fields)
        if forms.is_form(fields):
            printed = [replace(claim, score=claim.score * _PRINT_OF_FORM) for claim in printed]
        day_first, _ = self.spans.day_first
        filled = forms.claims(
            questions(fields), self.plan.scalars, self.layout, day_first=day_first
        )
        return [*printed, *filled]

    def lists(self) -> list[tuple[str, list[Claim]]]:
        """The items of each list of single values."""
        return list(lists.claims(self.layout, self.spans, self.head, self.plan, self.matcher))

    def tables(self) -> dict[str, list[dict[str, Claim]]]:
        """The rows of each array of objects, by its pointer."""
        found = tables.read(self.layout, self.spans, self.plan, self.matcher)
        for pointer, rows in taxes.read(self.layout, self.spans, self.plan).items():
            if not taxes.hold(found.get(pointer, [])):
                found[pointer] = rows
        bought = tills.read(
            self.layout, self.spans, self.plan, self.matcher, self.parties.head.segments
        )
        for pointer, (rows, proved) in bought.items():
            sure = proved and not tables.hold(found.get(pointer, []))
            if rows and (sure or not found.get(pointer)):
                found[pointer] = rows
        people = {
            node.pointer: lists.people(self.head, columns) for node, columns in self.plan.tables
        }
        agreed = {
            node.pointer: agreement.rows(self.layout, node.name, columns)
            for node, columns in self.plan.tables
        }
        for named in (people, agreed):
            found |= {pointer: rows for pointer, rows in named.items() if rows}
        return found
