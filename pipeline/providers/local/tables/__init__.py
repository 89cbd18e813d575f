"""Rows of tables: the columns that headers name, and one item for each line of figures below them."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from pipeline.providers.local.asks import Ask, Plan
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.matcher import Matcher
from pipeline.providers.local.spans import Spans
from pipeline.providers.local.tables import headers, summaries
from pipeline.providers.local.tables.grid import FIGURES, Grid, grid, settle
from pipeline.providers.local.tables.headers import Column, Header
from pipeline.providers.local.tables.records import Records
from pipeline.providers.local.tables.sums import (
    AMOUNT,
    FACTORS,
    Row,
    Totals,
    amount_of,
    checked,
    proved,
    telling,
)
from pipeline.providers.local.words import lexicon
from pipeline.schema import Node

#: An item has at least this share of the cells that most have; a sum carried over has not.
_FULL = 0.6
#: Columns are told by their products in at least this share of so many rows.
_TOLD, _SAMPLE = 0.6, 40


def read(layout: Layout, spans: Spans, plan: Plan, whole: Matcher) -> dict[str, list[Row]]:
    """The rows of each array of objects, by its pointer; a header belongs to the array that it fits best."""
    totals = Totals(layout, spans, whole)
    tables = [Table(layout, spans, node, columns, totals) for node, columns in plan.tables]
    bands = list(headers.bands(layout)) if tables else []
    found = [
        headers.apart_from_each_other(one for band in bands if (one := table.header(band)))
        for table in tables
    ]
    claimed: dict[tuple[int, int], list[float]] = {}
    for one in (one for own in found for one in own):
        for segment in one.segments:
            claimed.setdefault((segment.page, segment.start), []).append(one.score)
    owned = [[one for one in own if headers.owns(one, claimed)] for own in found]
    stops = frozenset(one.first for own in owned for one in own)
    return {table.pointer: table.rows(own, stops) for table, own in zip(tables, owned, strict=True)}


def hold(rows: Sequence[Row]) -> bool:
    """Whether most rows of a table prove themselves: quantity times price is the amount."""
    return bool(rows) and sum(map(proved, rows)) >= _TOLD * len(rows)


class Table:
    """One array of objects, and how its rows are found in a layout."""

    def __init__(
        self, layout: Layout, spans: Spans, node: Node, columns: Sequence[Ask], totals: Totals
    ) -> None:
        self.pointer = node.pointer
        self._node = node
        self._layout = layout
        self._spans = spans
        self._columns = columns
        self._matcher = Matcher(columns, lexicon(), "row")
        self._totals = totals

    def header(self, band: Sequence[Sequence[Segment]]) -> Header | None:
        """The header that begins in the first of some rows, if it names enough of the columns."""
        return headers.header(band, self._matcher, len(self._columns))

    def rows(self, found: Sequence[Header], stops: frozenset[int]) -> list[Row]:
        """The items under the header that fits best, wherever it is repeated; else lines like `VAT 7 % 3.50`."""
        rows: list[Row] = []
        others: list[Row] = []
        for one in headers.repeated(found):
            full, partial = self._items(one, stops)
            rows += full
            others += partial
        if self._totals.members(rows, others):
            rows += others
        return rows or list(summaries.rows(self._layout, self._spans, self._node, self._columns))

    def _items(self, header: Header, stops: frozenset[int]) -> tuple[list[Row], list[Row]]:
        """The rows below a header: those with nearly all cells that most have, and the others."""
        body = grid(self._layout, header, stops, lambda row: self._totals.says(row) == "total")
        head = body.head(len(body.rows))
        named = self._told(head, settle(head, self._columns, self._spans))
        found = list(self._lines(Records(self._layout, self._spans, body, named, self._columns)))
        usual = sorted(map(len, found))[len(found) // 2] if found else 0
        least = max(min(headers.FEWEST, len(self._columns)), _FULL * usual)
        full = [row for row in found if len(row) >= least]
        return full, [row for row in found if headers.FEWEST <= len(row) < least]

    def _lines(self, records: Records) -> Iterator[Row]:
        """The rows up to a line that says a total; behind it those whose numbers multiply."""
        ended = False
        running = Decimal(0)
        for anchor, found in records.read():
            row = checked(found)
            meanings = {claim.ask.meaning for claim in row.values()}
            priced = meanings.issuperset(FACTORS)
            # What fills every column is an item, whatever its words (somebody may be called Gross).
            whole = priced or len(row) == len(self._columns)
            says = "" if whole else self._totals.says(self._layout.rows[anchor.row])
            ended = ended or says == "total"
            amount = amount_of(row)
            if says == "carried" or (not priced and running and amount == running):
                continue
            if not ended or (proved(row) and "item_name" in meanings):
                running += amount
                yield row

    def _told(self, body: Grid, named: dict[Ask, Column]) -> dict[Ask, Column]:
        """The columns, the one that another stands in for where only that makes the rows multiply."""
        asks = {ask.meaning: ask for ask in self._columns if ask.meaning in {*FACTORS, AMOUNT}}
        if len(asks) < len(FACTORS) + 1:
            return named
        best, most = named, self._proofs(body, named)
        kept = {id(column) for ask, column in named.items() if ask.kind not in FIGURES}
        for ask in asks.values():
            for column in body.header.columns:
                if most >= _TOLD or id(column) in kept or column is named.get(ask):
                    continue
                other = {key: own for key, own in named.items() if own is not column} | {
                    ask: column
                }
                column.scores.setdefault(ask, (headers.NAMES, column.cells[0]))
                proofs = (
                    self._proofs(body, other)
                    if len(other.keys() & set(asks.values())) == len(asks)
                    else 0
                )
                if proofs >= _TOLD and proofs > most:
                    best, most = other, proofs
        return best

    def _proofs(self, body: Grid, named: Mapping[Ask, Column]) -> float:
        """The share of the first rows whose numbers multiply, if one of them says which is which."""
        records = Records(self._layout, self._spans, body.head(_SAMPLE), named, self._columns)
        found = [checked(row) for _, row in records.read()]
        return sum(map(proved, found)) / len(found) if any(map(telling, found)) else 0.0
