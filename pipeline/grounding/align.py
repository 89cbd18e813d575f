"""Rows aligned with lines in order: of every row one line, so that most of what the rows say stands where they are."""

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Position = tuple[int, int, float]

#: A value that stands on no more lines than this tells by itself where its row may be.
_RARE = 8
#: How far below a row's line the rest of it is looked for when lines are compared, and above.
_BELOW, _ABOVE = 2, 1
#: Lines that hold less than this share of what a row could have are not its lines.
_LEAST = 0.34
#: And those that hold less than this share of what its best line holds: that is another row's line.
_OTHER = 0.85
#: So many lines of its rarest value are looked at for the best one.
_LOOKED_AT = 64
#: Between two rows that are known, so many pairs of a row and a line are all compared; of more, each row only
#: with the lines around the one that it has by counting.
_ALL_PAIRS = 4_000
_BACK, _AHEAD = 8, 24
#: What it counts that a line is on a page that was asked for: it decides between equal lines only.
_OWN = 1e-3
_FIRST: Position = (-1, 0, 0.0)
_LAST: Position = (1 << 60, 0, 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One row to be placed: of each of its values that stand anywhere, the lines, ascending.

    `rank` orders rows that share a line: 0 for a row that has a line to itself, more for what is inside it.
    Of a row that is one value, `across` says for each line where on it the value stands first, in 0..1.
    """

    lines: tuple[Sequence[int], ...]
    rank: int = 0
    across: Mapping[int, float] | None = None


def align(
    rows: Sequence[Row], count: int, own: Collection[int]
) -> tuple[list[int | None], frozenset[int]]:
    """For each row its line, None where there is none; lines ascend with the rows wherever that fits.

    Rows with a rare value come first (the longest chain of them by weight); then the others between them,
    in order; then those that stand out of order, where a line is left. What remains has the line that fits
    it best, though another row has it: the second of what is returned are the numbers of these. Time is near-linear: n rows are
    compared with some 64 n lines at most.

    Args:
        rows: in the order of the answer.
        count: of all lines.
        own: the lines of pages that the answer is about; others are shown beside them.

    """
    sheet = _Sheet(rows, count, own)
    rare = [(n, line) for n, row in enumerate(rows) for line in sheet.candidates(row)]
    chain = sheet.chain(rare)
    sheet.fill(chain)
    sheet.rest(rare)
    again = sheet.again()
    return [sheet.found.get(n, again.get(n)) for n in range(len(rows))], frozenset(again)


class _Sheet:
    """The rows, the lines, and what is found so far."""

    def __init__(self, rows: Sequence[Row], count: int, own: Collection[int]) -> None:
        self.rows, self.own = rows, own
        self.found: dict[int, int] = {}
        self._best: dict[int, float] = {}
        sets: dict[int, frozenset[int]] = {}
        self._values = [
            [
                (sets.setdefault(id(lines), frozenset(lines)), math.log(2 + count / len(lines)))
                for lines in row.lines
            ]
            for row in rows
        ]

    def candidates(self, row: Row) -> list[int]:
        """The lines of its rare values."""
        return sorted({line for lines in row.lines if len(lines) <= _RARE for line in lines})

    def score(self, number: int, line: int) -> float:
        """How much of a row stands on a line or close by; 0 where it is too little to be the row."""
        score = self._score(number, line)
        if number not in self._best:
            row = self.rows[number]
            rarest = min(row.lines, key=len, default=())
            able = {*self.candidates(row), *rarest[:_LOOKED_AT]}
            self._best[number] = max((self._score(number, each) for each in able), default=0.0)
        return score if score >= _OTHER * self._best[number] else 0.0

    def _score(self, number: int, line: int) -> float:
        total = best = 0.0
        for lines, weight in self._values[number]:
            best += weight
            if line in lines:
                total += weight
            elif any(line + step in lines for step in range(-_ABOVE, _BELOW + 1)):
                total += weight / 4
        if total < _LEAST * best:
            return 0.0
        return total + _OWN * (line in self.own)

    def position(self, number: int, line: int) -> Position:
        """What has to ascend: the line, and of rows on one line what comes first."""
        row = self.rows[number]
        return line, row.rank, 0.0 if row.across is None else row.across.get(line, 0.0)

    def chain(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Of pairs of a row and a line (rows ascending) those that ascend in both and weigh most."""
        scored = [(n, self.position(n, line), self.score(n, line)) for n, line in pairs]
        scored = [each for each in scored if each[2]]
        places = sorted({position for _, position, _ in scored})
        tree = _Best(len(places))
        before: list[int] = []
        # Of one row the last line comes first, so that it does not follow itself.
        scored.sort(key=lambda each: each[1], reverse=True)
        scored.sort(key=lambda each: each[0])
        for at, (_, position, score) in enumerate(scored):
            place = bisect_left(places, position)
            weight, last = tree.best(place)
            before.append(last)
            tree.put(place, weight + score, at)
        chosen = []
        at = tree.best(len(places))[1]
        while at >= 0:
            chosen.append((scored[at][0], scored[at][1][0]))
            at = before[at]
        chosen.reverse()
        self.found |= dict(chosen)
        return chosen

    def fill(self, chain: Sequence[tuple[int, int]]) -> None:
        """Place the rows between those of a chain on the lines between theirs."""
        ends = [(-1, _FIRST), *((n, self.position(n, line)) for n, line in chain)]
        ends.append((len(self.rows), _LAST))
        for (row, low), (next_row, high) in pairwise(ends):
            between = [n for n in range(row + 1, next_row) if self.rows[n].lines]
            if between:
                pairs = self._between(between, low[0], high[0])
                self.chain([pair for pair in pairs if low < self.position(*pair) < high])

    def _between(self, rows: Sequence[int], low: int, high: int) -> list[tuple[int, int]]:
        """The pairs to compare: lines of each row's rarest value there, from a line to another."""
        pairs = []
        seen: Counter[int] = Counter()
        for number in rows:
            spans = [
                (bisect_left(lines, low), bisect_left(lines, high + 1), lines)
                for lines in self.rows[number].lines
            ]
            spans = [each for each in spans if each[0] < each[1]]
            if not spans:
                continue
            first, last, lines = min(spans, key=lambda each: each[1] - each[0])
            earlier = seen[id(lines)]
            seen[id(lines)] += 1
            if (last - first) * len(rows) <= _ALL_PAIRS:
                wanted = set(range(first, last))
            else:
                mine = next((at for at in range(first, last) if lines[at] in self.own), first)
                wanted = _around(first, last, first + earlier) | _around(
                    first, last, mine + earlier
                )
            pairs += [(number, lines[at]) for at in sorted(wanted)]
        return pairs

    def rest(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Place the rows that stand out of order, each on its best line that no other row has."""
        taken = {self.position(n, line) for n, line in self.found.items()}
        best: dict[int, tuple[float, int]] = {}
        for number, line in pairs:
            if number not in self.found and self.position(number, line) not in taken:
                score = self.score(number, line)
                best[number] = max(best.get(number, (0.0, 0)), (score, -line))
        for number, (score, line) in best.items():
            position = self.position(number, -line)
            if score and position not in taken:
                self.found[number] = -line
                taken.add(position)

    def again(self) -> dict[int, int]:
        """Of the rows without a line the best one, had it not been taken: of its rare values, or beside it."""
        found = {}
        beside: dict[int, list[int]] = defaultdict(list)
        for order in (range(len(self.rows)), reversed(range(len(self.rows)))):
            last = None
            for number in order:
                last = self.found.get(number, last)
                if last is not None:
                    beside[number].append(last)
        for number in range(len(self.rows)):
            if number not in self.found:
                able = [*beside[number], *self.candidates(self.rows[number])]
                score, _, line = max(
                    ((self.score(number, at), -at, at) for at in able), default=(0, 0, 0)
                )
                if score:
                    found[number] = line
        return found


def _around(first: int, last: int, at: int) -> set[int]:
    return set(range(max(first, min(at, last) - _BACK), min(last, at + _AHEAD)))


class _Best:
    """The heaviest of all entries below a place, kept as they come (a Fenwick tree)."""

    def __init__(self, size: int) -> None:
        self._heads: list[tuple[float, int]] = [(0.0, -1)] * (size + 1)

    def best(self, place: int) -> tuple[float, int]:
        """The weight of the heaviest entry before a place, and its number; (0, -1) if there is none."""
        found = (0.0, -1)
        while place > 0:
            if self._heads[place][0] > found[0]:
                found = self._heads[place]
            place -= place & -place
        return found

    def put(self, place: int, weight: float, number: int) -> None:
        """Enter one."""
        place += 1
        while place < len(self._heads):
            if weight > self._heads[place][0]:
                self._heads[place] = (weight, number)
            place += place & -place
