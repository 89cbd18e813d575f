"""What must add up in a table: quantity times price is the row's amount, and the rows are the total."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import product

from pipeline import values
from pipeline.providers.local.claims import Claim
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.matcher import Matcher
from pipeline.providers.local.spans import Spans
from pipeline.providers.local.words import lexicon

Row = dict[str, Claim]

#: The meanings of labels.toml whose product a row's amount is.
FACTORS, AMOUNT = ("quantity", "unit_price"), "line_total"
#: A label says one of the document's totals this well.
_TOTAL = 0.8
_CENT = Decimal("0.02")
_PROVED = 0.93
_LONGEST_LABEL = 80
#: Figures in a label: `VAT 20 % on 100.00`.
_FIGURES = re.compile(r"[\d.,']*\d[\d.,']*\s?%?|%")
_COUNTED = frozenset(("total", "quantity", "item", "number", "tax", "with", "without", "discount"))
_OF_SUMS = frozenset(("carry", "total", "amount", "sub", "page", "balance", "net"))
#: A row's number is read in so many ways at most.
_READINGS = 4


def of_meaning(row: Mapping[str, Claim], meaning: str) -> Claim | None:
    """The claim of a row that has a meaning of labels.toml and is a number."""
    for claim in row.values():
        if claim.ask.meaning == meaning and isinstance(claim.value, (int, float)):
            return claim
    return None


def amount_of(row: Mapping[str, Claim]) -> Decimal:
    """The amount of a row; 0 where it has none."""
    found = of_meaning(row, AMOUNT)
    return Decimal(0) if found is None else Decimal(str(found.value))


def holds(quantity: Decimal, price: Decimal, amount: Decimal) -> bool:
    """Whether a quantity at a price is an amount, prices being rounded to cents."""
    return abs(quantity * price - amount) <= _CENT * max(Decimal(1), abs(quantity) / 2)


def proved(row: Mapping[str, Claim]) -> bool:
    """Whether the row's quantity times its price is its amount."""
    parts = [of_meaning(row, meaning) for meaning in (*FACTORS, AMOUNT)]
    known = [Decimal(str(part.value)) for part in parts if part is not None]
    return len(known) == len(parts) and holds(*known)


def telling(row: Mapping[str, Claim]) -> bool:
    """Whether a proof says which number is which: 1 times 5 is 5 says little."""
    quantity = of_meaning(row, FACTORS[0])
    return quantity is not None and quantity.value not in {0, 1} and proved(row)


def checked(row: Row) -> Row:
    """The row, sure of its numbers where they multiply, as printed or in another reading of them."""
    parts = [of_meaning(row, meaning) for meaning in (*FACTORS, AMOUNT)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return row
    for numbers in product(*map(_readings, known)):
        if not holds(*numbers) or 0 in numbers:
            continue
        made = dict(row)
        for claim, number in zip(known, numbers, strict=True):
            value = (
                claim.value if number == Decimal(str(claim.value)) else values.json_number(number)
            )
            made[claim.ask.pointer] = replace(claim, value=value, score=_PROVED)
        return made
    return row


def _readings(claim: Claim) -> list[Decimal]:
    """What a printed number may mean, first what it was taken for."""
    taken = Decimal(str(claim.value))
    others = sorted(values.number_readings(claim.quote) - {taken})
    whole = claim.ask.node.type == "integer"
    return [taken, *(n for n in others if not whole or n == n.to_integral_value())][:_READINGS]


class Totals:
    """Which lines of a document say its totals, and what they come to."""

    def __init__(self, layout: Layout, spans: Spans, whole: Matcher) -> None:
        self._layout = layout
        self._spans = spans
        self._whole = whole
        self._sums: frozenset[Decimal] | None = None

    def says(self, row: Sequence[Segment]) -> str:
        """`carried` for a sum carried over, `total` for one of the document's, else an empty text."""
        labels = _labels(row)
        if any(_carried(label) for label in labels):
            return "carried"
        total = any(self._whole.total(label) >= _TOTAL or _counts(label) for label in labels)
        return "total" if total else ""

    @property
    def sums(self) -> frozenset[Decimal]:
        """The amounts in the lines of totals."""
        if self._sums is None:
            rows = (row for row in self._layout.rows if self.says(row) == "total")
            self._sums = frozenset(
                span.value
                for row in rows
                for segment in row
                for span in self._spans.within(segment, "number")
            )
        return self._sums

    def members(self, rows: Sequence[Row], others: Sequence[Row]) -> bool:
        """Whether only with some other rows the amounts come to a total that is printed."""
        alone, more = _sum(rows), _sum(others)
        return more is not None and alone not in self.sums and (alone or 0) + more in self.sums


def _sum(rows: Iterable[Row]) -> Decimal | None:
    found = [amount_of(row) for row in rows]
    return sum(found, Decimal(0)) if found and all(found) else None


def _labels(row: Sequence[Segment]) -> list[str]:
    """The text that the last figure of a row has to its left, and the first one of the row."""
    texts = [s for s in row if not s.figure and any(map(str.isalpha, s.text))]
    figures = [s for s in row if s.figure]
    before = [s for s in texts if figures and s.box[0] < figures[-1].box[0]]
    labels = [s.text for s in (*before[-1:], *texts[:1]) if len(s.text) <= _LONGEST_LABEL]
    heads = [_FIGURES.split(label, maxsplit=1)[0] for label in labels]
    return list(dict.fromkeys([*(_FIGURES.sub(" ", label) for label in labels), *heads]))


def _counts(label: str) -> bool:
    """Whether a label is of a sum of something: `Total qty`, `Total items`."""
    concepts = [unit.concepts for unit in lexicon().read(label)]
    return any("total" in each for each in concepts) and all(each & _COUNTED for each in concepts)


def _carried(label: str) -> bool:
    """Whether a label says that a sum goes on from or to another page."""
    units = lexicon().read(label)
    return any("carry" in unit.concepts for unit in units) and all(
        unit.concepts & _OF_SUMS for unit in units
    )
