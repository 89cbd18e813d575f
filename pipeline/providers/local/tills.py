"""What was bought, by the lines of a till receipt: a name, an amount at the right edge, `2 x 1.79`."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from pipeline.providers.local.asks import Ask, Plan
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.matcher import Matcher
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.words import lexicon

Rows = list[dict[str, Claim]]

#: Worth of an item, and of one among those that come to one of the receipt's totals.
_ITEM, _PROVED = 0.68, 0.9
#: A line that says one of the totals this well ends the items; a discount before it is one of them.
_ENDS = 0.75
_TOTALS = frozenset(
    ("net_total", "gross_total", "due_amount", "tax_total", "paid_amount", "change", "rounding")
)
_TOTAL_WORDS = frozenset(("total", "sub"))
_CENTS = re.compile(r"\d[.,]\d\d(?!\d)")
#: What may stand behind an amount: its currency, the letter of its tax, a minus.
_TAX = re.compile(r"\W*(?:(?:[^\W\d_]{1,3}|\d)\b\W*){0,2}")
_FIGURE = re.compile(r"\d")
_LETTER = re.compile(r"[^\W\d_]")
#: What makes two figures a count and a price: `2 x 1.79`, `0,898 kg x 1,99`, `3 @ 2.50`.
_TIMES = re.compile(
    r"\s*(?:(?:kg|stk|st|stück|pcs|pc|pz|ud|uds|un)\b\.?\s*[xX×*@]?|[xX×*@à])\s*(?:[^\W\d_]{1,3}|[€$£])?\s*",
    re.IGNORECASE,
)
_TIMES_AT_END = re.compile(r"\s+[à@xX×*]$")
#: A number of the article, or a count, before a name.
_BEFORE = re.compile(
    r"\W*(?:(?:[A-Z]{1,4} )?[A-Z]{0,4}\d{5,14}\b\W*|\d{1,2}\s?[xX×*]\s|\d{1,2}\s(?=[^\W\d]))?"
)
#: What may stand among the figures of a line without being a name.
_UNITS = re.compile(
    r"(?<![^\W\d_])(?:kg|ml|stk|st|pcs|pc|ea|uds|ud|pz|un|[^\W\d_]|[A-Z]{2,3})(?![^\W\d_])",
    re.IGNORECASE,
)
_LABEL = re.compile(r":(?:\s|$)")
_DATE = re.compile(r"\d{1,4}[./\-]\d{1,2}[./\-]\d{2,4}|\d{1,2}:\d\d")
_FEWEST_LETTERS, _PAIR, _LONGEST_COUNT = 2, 2, 8
_CENT = Decimal("0.011")
#: A row has so many figures at most; a receipt so many rows and items.
_MOST_FIGURES, _MOST_ITEMS, _MOST_ROWS = 8, 400, 2000
#: Columns of amounts end right of this share of the paper.
_RIGHT = 0.45
#: So many of the items begin with a number where it is their count.
_MANY = 0.6


@dataclass(slots=True, eq=False)
class Line:
    """A row: its name, what it costs, how many at which price; `lead`: the count is the row's first word."""

    name: Span | None
    amount: Span | None
    count: Span | None = None
    price: Span | None = None
    lead: bool = False


def read(
    layout: Layout, spans: Spans, plan: Plan, whole: Matcher, head: Iterable[Segment]
) -> dict[str, tuple[Rows, bool]]:
    """The items of a receipt by the pointer of each array that asks for them, and whether they add up.

    They stand below the segments of its `head`; they add up where they come to one of its totals.
    """
    made: dict[str, tuple[Rows, bool]] = {}
    start = max((segment.row for segment in head), default=-1) + 1
    for node, columns in plan.tables if layout.narrow else ():
        asks = {ask.meaning or _quantity(ask): ask for ask in columns}
        if "item_name" in asks and "line_total" in asks:
            items, totals = _items(layout, spans, whole, start)
            proved = bool(items) and _sum(items) in totals
            rows = [_row(item, asks, _PROVED if proved else _ITEM) for item in items]
            made[node.pointer] = rows, proved
    return made


def _quantity(ask: Ask) -> str:
    return "quantity" if any("quantity" in unit.concepts for unit in ask.own) else ask.pointer


def _sum(items: Sequence[Line]) -> Decimal:
    return sum((item.amount.value for item in items if item.amount is not None), Decimal(0))


def _row(item: Line, asks: Mapping[str, Ask], worth: float) -> dict[str, Claim]:
    cells = {
        "item_name": item.name,
        "line_total": item.amount,
        "quantity": item.count,
        "unit_price": item.price,
    }
    return {
        asks[name].pointer: claim
        for name, span in cells.items()
        if span is not None and name in asks
        for claim in claims_of(asks[name], span, worth)
    }


def _items(
    layout: Layout, spans: Spans, whole: Matcher, start: int
) -> tuple[list[Line], set[Decimal]]:
    """The items below the head and above the first total, and the amounts of and below that."""
    lines: list[Line] = []
    rest: set[Decimal] = set()
    ended = False
    for row in layout.rows[start : start + _MOST_ROWS]:
        if not any(known.amount for known in lines) and _is_apart(row):
            lines.clear()
            continue
        line = _line(row, layout, spans)
        seen = any(known.amount is not None for known in lines)
        ended = ended or ((seen or line.amount is not None) and _is_total(row, whole))
        if not ended:
            lines.append(line)
        elif line.amount is not None:
            rest.add(line.amount.value)
    items = [item for item in _joined(lines) if item.name is not None]
    return _counted(items)[:_MOST_ITEMS], rest


def _is_apart(row: Sequence[Segment]) -> bool:
    """Whether a row above the items is none of them: the heads of columns, a date, label and value."""
    text = " ".join(segment.text for segment in row)
    heads = len(row) > 1 and _FIGURE.search(text) is None
    return heads or _DATE.search(text) is not None or _LABEL.search(text) is not None


def _is_total(row: Sequence[Segment], whole: Matcher) -> bool:
    label = _FIGURE.split(" ".join(segment.text for segment in row), maxsplit=1)[0]
    first = lexicon().read(label)[:1]
    if first and first[0].concepts & _TOTAL_WORDS:
        return True
    score, name = max(((score, name) for name, score in whole.amounts(label)), default=(0.0, ""))
    return score >= _ENDS and name in _TOTALS


def _line(row: Sequence[Segment], layout: Layout, spans: Spans) -> Line:
    """What a row says: figures from the right, the name left of them."""
    figures = [span for s in row for span in spans.within(s, "number") if not span.percent]
    edge = _RIGHT * layout.widths[row[0].page]
    costs = [f for f in figures if _CENTS.search(f.text) and f.segment.box[2] > edge]
    amount = costs[-1] if costs and _is_last(costs[-1], row) else None
    if len(figures) == _PAIR and _is_count(figures[0], row):
        amount = None if _TIMES.fullmatch(_between(figures[0], figures[1], row)) else amount
    before = figures[: figures.index(amount)] if amount is not None else figures
    count, price = _times(before, amount, row)
    taken = [f.start for f in (count, price, amount) if f is not None and f.start > row[0].start]
    name = _name(row, min(taken, default=row[-1].end), layout)
    lead = count is None and bool(before) and _is_lead(before[0], row)
    return Line(name, amount, before[0] if lead else count, price, lead)


def _is_count(figure: Span, row: Sequence[Segment]) -> bool:
    return figure.start == row[0].start and len(figure.text) < _LONGEST_COUNT


def _is_last(figure: Span, row: Sequence[Segment]) -> bool:
    """Whether nothing but a letter of its tax follows a figure in its row."""
    return _TAX.fullmatch(_after(figure, row)) is not None


def _after(figure: Span, row: Sequence[Segment]) -> str:
    """What follows a figure in its row."""
    parts = [figure.segment.text[figure.end - figure.segment.start :]]
    parts += [s.text for s in row if s.box[0] > figure.segment.box[0]]
    return " ".join(parts)


def _between(first: Span, second: Span, row: Sequence[Segment]) -> str:
    """What stands between two figures of a row."""
    after, rest = _after(first, row), _after(second, row)
    return after[: len(after) - len(rest) - len(second.text)] if after.endswith(rest) else after


def _is_lead(figure: Span, row: Sequence[Segment]) -> bool:
    """Whether a row begins with a small number: how many of what it names."""
    return figure.start == row[0].start and figure.text.isdigit() and len(figure.text) < 3


def _times(
    before: Sequence[Span], amount: Span | None, row: Sequence[Segment]
) -> tuple[Span | None, Span | None]:
    """How many at which price: two figures whose product is the amount, or `2 x 1.79`."""
    for at, first in enumerate(before[:_MOST_FIGURES]):
        for second in before[at + 1 : _MOST_FIGURES]:
            product = first.value * second.value
            if amount is not None and abs(product - amount.value) < _CENT:
                whole = second.text.isdigit() and _CENTS.search(first.text)
                return (second, first) if whole else (first, second)
            times = len(first.text) < _LONGEST_COUNT and _TIMES.fullmatch(
                _between(first, second, row)
            )
            if amount is None and times and _CENTS.search(second.text):
                return first, second
    return None, None


def _name(row: Sequence[Segment], end: int, layout: Layout) -> Span | None:
    """The words of a row before its figures; a code or a count before them is left out."""
    page = layout.pages[row[0].page].text
    texts = [(page[s.start : min(s.end, max(end, s.start))], s) for s in row]
    text, segment = max(texts, key=lambda part: len(_LETTER.findall(_UNITS.sub("", part[0]))))
    before = _BEFORE.match(text)
    start = before.end() if before else 0
    text = text[start:].rstrip(" \t.:-–*@")
    text = _TIMES_AT_END.sub("", text)
    units = lexicon().read(text)
    heading = units and all(unit.concepts for unit in units)
    if (
        heading
        or len(_LETTER.findall(_UNITS.sub("", text))) < _FEWEST_LETTERS
        or _LABEL.search(text)
    ):
        return None
    start += segment.start
    return Span(segment, start, start + len(text), text, text)


def _joined(lines: Sequence[Line]) -> Iterator[Line]:
    """Items of lines: a name may stand above or below its figures, `2 x 1.79` above or below both."""
    item: Line | None = None
    pending: Span | None = None
    held: Line | None = None
    for line in lines:
        if line.amount is None:
            if line.price is not None:
                held = None if _fits(line, item) else line
            elif line.name is not None and item is not None and item.name is None:
                item.name = line.name
            elif line.name is not None:
                pending = line.name
            continue
        if line.name is None and item is not None and _repeats(line, item):
            item.count, item.price = line.count, line.price
            continue
        if item is not None:
            yield item
        item, pending = replace(line, name=line.name or pending), None
        _fits(held, item)
        held = None
    if item is not None:
        yield item


def _repeats(line: Line, item: Line) -> bool:
    """Whether figures without a name say how the amount of the item above comes about."""
    same = (
        item.amount is not None
        and line.amount is not None
        and item.amount.value == line.amount.value
    )
    return same and item.name is not None and item.price is None and line.price is not None


def _fits(times: Line | None, item: Line | None) -> bool:
    """Whether `2 x 1.79` comes to the amount of an item, which then has both."""
    if (
        times is None
        or item is None
        or times.count is None
        or times.price is None
        or item.amount is None
    ):
        return False
    if (
        item.price is not None
        or abs(times.count.value * times.price.value - item.amount.value) >= _CENT
    ):
        return False
    item.count, item.price, item.lead = times.count, times.price, False
    return True


def _counted(items: list[Line]) -> list[Line]:
    """Numbers before names are counts where most names have one; else they belong to the name."""
    leading = sum(item.lead for item in items)
    if leading >= _MANY * len(items):
        return items
    return [_with_number(item) if item.lead else item for item in items]


def _with_number(item: Line) -> Line:
    name, count = item.name, item.count
    if name is None or count is None or _TIMES.match(count.segment.text[len(count.text) :]):
        return item
    if count.segment is not name.segment:
        return replace(item, count=None)
    segment = name.segment
    text = segment.text[count.start - segment.start : name.end - segment.start]
    return replace(item, name=Span(segment, count.start, name.end, text, text), count=None)
