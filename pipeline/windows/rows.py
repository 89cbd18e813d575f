"""Rows of several answers as one array: two are one only when they stand at the same place."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.windows.claims import Claim, best, normal

#: What a leaf tells about the line of its row, by its evidence; a row is located with two in all.
_TELLS = {"verified": 2, "derived": 2, "ambiguous": 1}
_LOCATED = 2
#: Lines of two readings of one row are not farther apart.
_NEAR = 12

#: Of more rows on one line no more are compared with another one.
_ON_ONE_LINE = 32

#: A place on the pages: the field, and where its value stands.
Span = tuple[str, int, int]
#: What rows are ordered by: the line, then what follows it without a place of its own, then across the line.
Order = tuple[int, int, int, int]


@dataclass(slots=True, eq=False)
class Row:
    """One row of the merged data, with where it stands.

    `node` is what it holds; `line` the line of the pages, None where it can't be located; `spans` are the
    places of its own leaves, with the line of each, without those that it shares with others of its answer;
    `tells` says how much each tells; `alone` that it is one leaf; `said` is how many values it has, and `repeats` says that
    most of them stand where another row of its answer has them, and none elsewhere. `pages` are those that it may be on. `gone` says that a newer answer
    about its whole page does not have it.
    """

    node: Any
    line: int | None = None
    order: Order = (0, 0, 0, 0)
    spans: dict[Span, int] = field(default_factory=dict)
    pages: tuple[int, ...] = ()
    tells: dict[str, int] = field(default_factory=dict)
    alone: bool = False
    said: int = 0
    repeats: bool = False
    gone: bool = False

    @property
    def page(self) -> int | None:
        """The page that it stands on."""
        return self.pages[0] if self.line is not None else None

    def take_places(self, other: "Row") -> None:
        """Add where another answer found fields of this row that have no place yet."""
        known = {span[0] for span in self.spans}
        self.spans |= {span: line for span, line in other.spans.items() if span[0] not in known}
        self.tells = other.tells | self.tells


@dataclass(slots=True, eq=False)
class Table:
    """The rows of one array in the data of all answers so far; `sources` is how many answers have it.

    `signal` is what its rows look like (a Signal), once it was needed.
    """

    rows: list[Row] = field(default_factory=list)
    sources: int = 1
    signal: Any = None

    @property
    def alive(self) -> list[Row]:
        """The rows that count, in the order of the document (of one answer: in its own)."""
        rows = [row for row in self.rows if not row.gone]
        return sorted(rows, key=lambda row: row.order) if self.sources > 1 else rows


def locate(row: Row, leaves: Sequence[tuple[str, Claim]], line_of: Any) -> None:
    """Note where a row's own leaves stand; `line_of` gives the line of a proof."""
    row.alone = len(leaves) == 1
    row.said = sum(claim.value is not None for _, claim in leaves)
    for path, claim in leaves:
        proof = claim.proof
        if proof is not None and proof.page is not None and proof.status in _TELLS:
            line = line_of(proof)
            if line is not None:
                row.spans[path, proof.page, proof.start or 0] = line
                row.tells[path] = _TELLS[proof.status]


def arrange(rows: Sequence[Row], first: int, covers: tuple[int, ...], page_of: Any) -> None:
    """Give the rows of one answer their lines and their order.

    Places that several rows share, if they are not equal, are no row's own (a date above a group, a unit).
    A row without a line follows the one before it; `first` is the line before those of the answer's pages.
    """
    users: dict[Span, list[Row]] = defaultdict(list)
    for row in rows:
        for span in row.spans:
            users[span].append(row)
    _mark_repeats(rows, users)
    shared = {
        span
        for span, used in users.items()
        if len(used) > 1 and len({alike(r.node) for r in used if not r.repeats}) > 1
    }
    last, behind = first, 0
    for row in rows:
        everything = row.spans
        row.spans = {span: line for span, line in everything.items() if span not in shared}
        _find_line(row, row.spans)
        if row.line is None and row.spans != everything:
            _find_line(row, everything)
        if row.line is None:
            behind += 1
            row.order = (last, 1, behind, 0)
            continue
        across = min((span[2] for span, line in row.spans.items() if line == row.line), default=0)
        row.order = (row.line, 0, 0, across)
        last, behind = row.line, 0
    _guess_pages(rows, covers, page_of)


def _mark_repeats(rows: Sequence[Row], users: Mapping[Span, list[Row]]) -> None:
    """Note the rows that have most of their values, and none elsewhere, where one other row has them: a digit may differ."""
    for row in rows:
        if len(row.spans) < _LOCATED or 2 * len(row.spans) <= row.said:
            continue
        rarest = min((users[span] for span in row.spans), key=len)
        mine = row.spans.keys()
        row.repeats = any(
            other is not row and not other.repeats and mine <= other.spans.keys()
            for other in rarest[:_ON_ONE_LINE]
        )


def _find_line(row: Row, spans: dict[Span, int]) -> None:
    """The line that most of a row stands on."""
    tells: Counter[int] = Counter()
    for span, line in spans.items():
        tells[line] += row.tells[span[0]]
    if tells:
        line, told = min(tells.items(), key=lambda each: (-each[1], each[0]))
        if told >= _LOCATED or row.alone:
            row.line = line
            row.pages = (next(span[1] for span, at in spans.items() if at == line),)


def _guess_pages(rows: Sequence[Row], covers: tuple[int, ...], page_of: Any) -> None:
    """The pages of rows without a line: from that of the row before to that of the row behind."""
    after: int | None = None
    for row in reversed(rows):
        if row.line is not None:
            after = row.page
            continue
        before = page_of(row.order[0])
        low = before if before in covers else min(covers, default=1)
        high = after if after is not None else max(covers, default=low)
        row.pages = tuple(number for number in covers if low <= number <= high) or covers


def paired(table: Table, rows: Sequence[Row]) -> Iterator[tuple[Row, Row | None]]:
    """Each row of a newer answer with the one of the table at the same place; none is taken twice."""
    at_span: dict[Span, list[Row]] = defaultdict(list)
    at_line: dict[int, list[Row]] = defaultdict(list)
    places = [row.line for row in rows if row.line is not None]
    low, high = min(places, default=0) - _NEAR, max(places, default=-_NEAR) + _NEAR
    for row in table.rows:
        if row.line is not None and low <= row.line <= high and not row.gone:
            at_line[row.line].append(row)
            for span in row.spans:
                at_span[span].append(row)
    taken: set[int] = set()
    for row in rows:
        near = [other for span in row.spans for other in at_span[span]]
        near += at_line[row.line] if row.line is not None else []
        able = {
            id(other): other for other in near if id(other) not in taken and _is_one(row, other)
        }
        found = max(
            able.values(), key=lambda other: (len(row.spans.keys() & other.spans.keys()), [-n for n in other.order]),
            default=None,
        )  # fmt: skip
        if found is not None:
            taken.add(id(found))
        yield row, found


def _is_one(row: Row, other: Row) -> bool:
    """Whether two rows of different answers are one: more of their fields stand at the same place than at two.

    Only fields that stand at one place for sure count, where there are any. With no field that both have
    found, rows on one line are one.
    """
    if row.line is None or other.line is None:
        return False
    mine, yours = ({span[0]: span for span in each.spans} for each in (row, other))
    both = mine.keys() & yours.keys()
    sure = {path for path in both if row.tells[path] == other.tells[path] == _LOCATED}
    both = sure or both
    common = sum(mine[path] == yours[path] for path in both)
    if row.line == other.line:
        return not both or common * 2 > len(both)
    return common * 2 > max(len(both), 1) and common * 2 > min(len(mine), len(yours))


def alike(node: Any) -> Any:
    """What equal rows have in common: the normal forms of all that they hold; hashable."""
    if isinstance(node, dict):
        return tuple((key, alike(inner)) for key, inner in sorted(node.items()))
    if isinstance(node, Table):
        return tuple(alike(row.node) for row in node.alive)
    return normal(best(node).value)


def doubled(rows: Collection[Row]) -> list[tuple[Row, Row]]:
    """The rows that repeat another one at the very same place, each with the one that it repeats.

    They are equal to it, or have no value that stands elsewhere.
    """
    at_line: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row.line is not None and row.spans:
            at_line[row.line].append(row)
    found: list[tuple[Row, Row]] = []
    repeating: set[int] = set()  # of two that repeat each other, one is the row
    for beside in at_line.values():
        if len(beside) < 2:
            continue
        seen: dict[Any, list[Row]] = defaultdict(list)
        forms = [alike(row.node) for row in beside]
        for row, form in zip(beside, forms, strict=True):
            # Of equal rows the later one repeats; of others the one without a place of its own.
            near = zip(beside[:_ON_ONE_LINE], forms, strict=False) if row.repeats else ()
            others = [each for each, its in near if its != form and id(each) not in repeating]
            able = (each for each in (*seen[form], *others) if _is_one(row, each))
            if (same := next(able, None)) is not None:
                found.append((row, same))
                repeating.add(id(row))
            seen[form].append(row)
    return found


def at_places_of(rows: Collection[Row], others: Collection[Row]) -> list[Row]:
    """The rows that stand where one of some other rows stands, whatever the two say."""
    at_line: dict[int | None, list[Row]] = defaultdict(list)
    for other in others:
        at_line[other.line].append(other)
    return [
        row
        for row in rows
        if row.spans and any(_is_one(row, other) for other in at_line[row.line][:_ON_ONE_LINE])
    ]
