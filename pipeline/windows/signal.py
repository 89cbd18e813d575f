"""The second signal: how many rows a page prints, by the pattern of the lines on which rows were found.

A line looks like a row when it has, at the row's columns, the same kinds of tokens: numbers, dates, codes.
Headings have no numbers, totals and carried-forward lines too few of them: two columns with digits are the
least that counts, and a line with more or fewer numbers than any row has is none.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.grounding.lines import Lines, Token
from pipeline.windows.rows import Row

#: So many rows have to be known before others are told by their lines.
_LEAST_ROWS = 2
#: A field is a column when it stands on the line of so many of the rows, at the same place on so many of those.
_USUAL = 0.9
#: Columns of which the tokens have digits; fewer could be a total.
_LEAST_COLUMNS = 2
#: What so few of the rows have is an exception, of which no more is made.
_ODD = 0.02
#: A row's columns stand on its own line, or on these.
_BELOW = range(-1, 3)
#: How far from its column a token may begin or end, as a share of the page's width: half a digit of 9 points.
_OFF = 0.005
#: So many rows without any exception make a pattern that proves: what looks like them is a row.
_PROVING_ROWS, _PROVING_COLUMNS = 8, 3

_DIGIT = re.compile(r"\d")
_AROUND = "()[]*:;|€$£¥₹"
_KINDS = (
    ("date", re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{2,4}")),
    ("percent", re.compile(r"[-+]?\d+(?:[.,]\d+)?%")),
    ("whole", re.compile(r"[-+]?\d+")),
    ("decimal", re.compile(r"[-+]?(?:\d{1,3}(?:[.,'’\u00a0\u202f]\d{3})*|\d+)[.,]\d+-?")),
    ("code", re.compile(r".*\d.*")),
)


@dataclass(frozen=True, slots=True)
class _Column:
    """Tokens of these kinds, with their left (0) or right (1) edge at one place, give or take `off`.

    Where both edges of those that are known have one place, one of the two is enough: the next number may be longer.
    `below` says how many lines below the row's own they stand.
    """

    below: int
    kinds: frozenset[str]
    edges: tuple[tuple[int, float], ...]
    off: float

    def holds(self, kind: str, token: Token) -> bool:
        """Whether a token is in it."""
        return kind in self.kinds and any(
            abs((token.right if edge else token.left) - at) <= self.off for edge, at in self.edges
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the line of a row looks like; `numbers` are how many tokens with digits it has at least and at most.

    `proves` says that every known row looks like this, that they are many, and their columns too.
    """

    columns: tuple[_Column, ...]
    numbers: tuple[int, int]
    proves: bool


class Signal:
    """The patterns of one array's rows, and the lines of pages that have one."""

    def __init__(self, lines: Lines, texts: Sequence[str], rows: Iterable[Row]) -> None:
        self._lines, self._texts = lines, texts
        kinds: dict[bool, list[Row]] = defaultdict(list)
        for row in rows:
            if row.line is not None:
                kinds[lines.has_boxes(lines.page(row.line))].append(row)
        self._patterns = {boxed: self._learn(found, boxed) for boxed, found in kinds.items()}

    @property
    def is_known(self) -> bool:
        """Whether any rows told what a row looks like."""
        return any(self._patterns.values())

    def like_rows(self, page: int) -> list[int]:
        """The lines of a page (its place, from 0) that look like rows."""
        pattern = self._patterns.get(self._lines.has_boxes(page))
        if pattern is None:
            return []
        return [line for line in self._lines.lines(page) if self._fits(pattern, line)]

    def proves(self, page: int) -> bool:
        """Whether a line of the page that looks like a row can be nothing else."""
        pattern = self._patterns.get(self._lines.has_boxes(page))
        return pattern is not None and pattern.proves

    def knows(self, page: int) -> bool:
        """Whether the rows of a page can be counted."""
        return self._patterns.get(self._lines.has_boxes(page)) is not None

    def _fits(self, pattern: Pattern, line: int) -> bool:
        tokens = self._numbers(line)
        if not pattern.numbers[0] <= len(tokens) <= pattern.numbers[1]:
            return False
        left = {0: list(tokens)}
        for column in pattern.columns:
            if column.below not in left:
                left[column.below] = list(self._numbers(line + column.below))
            found = next((each for each in left[column.below] if column.holds(*each)), None)
            if found is None:
                return False
            left[column.below].remove(found)
        return True

    def _numbers(self, line: int) -> list[tuple[str, Token]]:
        """The tokens of a line that have digits, with their kinds."""
        if not 0 <= line < self._lines.count:
            return []
        page = self._lines.page(line)
        kept, place = self._lines.kept(line), line - self._lines.lines(page).start
        if place not in kept:  # pieces are merged again and again, on the same pages
            text, tokens = self._texts[page], self._lines.tokens(line)
            with_digits = (t for t in tokens if _DIGIT.search(text, t.start, t.end))
            kept[place] = [(_kind(text[t.start : t.end]), t) for t in with_digits]
        found: list[tuple[str, Token]] = kept[place]
        return found

    def _learn(self, rows: Sequence[Row], boxed: bool) -> Pattern | None:
        if len(rows) < _LEAST_ROWS:
            return None
        fields: dict[tuple[str, int], list[tuple[str, Token]]] = defaultdict(list)
        for row in rows:
            for (path, _, start), line in row.spans.items():
                below = line - (row.line or 0)
                if below in _BELOW and (found := self._token(line, start)):
                    fields[path, below].append(found)
        columns = dict.fromkeys(
            column
            for (_, below), found in fields.items()
            if len(found) >= _USUAL * len(rows) and (column := _column(below, found, boxed))
        )
        if len(columns) < _LEAST_COLUMNS or all(column.below for column in columns):
            return None
        counts = Counter(len(self._numbers(row.line)) for row in rows if row.line is not None)
        kept = [count for count, times in counts.items() if times > _ODD * len(rows)]
        pattern = Pattern(tuple(columns), (min(kept), max(kept)), proves=False)
        fitting = sum(self._fits(pattern, row.line) for row in rows if row.line is not None)
        if fitting < _USUAL * len(rows):
            return None
        proves = fitting == len(rows) >= _PROVING_ROWS and len(columns) >= _PROVING_COLUMNS
        return replace(pattern, proves=proves)

    def _token(self, line: int, start: int) -> tuple[str, Token] | None:
        return next(
            (each for each in self._numbers(line) if each[1].start <= start < each[1].end), None
        )


def _column(below: int, found: Sequence[tuple[str, Token]], boxed: bool) -> _Column | None:
    """The column of a field's tokens, if nearly all of them begin, or end, at one place."""
    kinds = Counter(kind for kind, _ in found)
    usual = frozenset(kind for kind, times in kinds.items() if times > _ODD * len(found))
    off = _OFF if boxed else 0.0
    edges = []
    for edge in (0, 1):
        places = sorted(token.right if edge else token.left for _, token in found)
        middle = places[len(places) // 2]
        if sum(abs(place - middle) <= off for place in places) >= _USUAL * len(found):
            edges.append((edge, middle))
    return _Column(below, usual, tuple(edges), off) if edges else None


def _kind(text: str) -> str:
    bare = text.strip(_AROUND)
    return next((name for name, form in _KINDS if form.fullmatch(bare)), "code")
