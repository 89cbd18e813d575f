"""Gold and given data of one document, leaf by leaf: right, missed, misread, fabricated, extra, or both empty.

null, a blank text, and an object or array without a value in it are no value.
"""

from typing import Any, Literal, NamedTuple

from pipeline.evaluation.rows import Row, assigned, filled, rows
from pipeline.evaluation.rules import Rule
from pipeline.results import escape

Outcome = Literal["right", "missed", "misread", "fabricated", "extra", "empty", "unscored"]

#: Rows of gold times rows given up to which the best assignment is sought; 200 by 200.
MOST_PAIRS = 40_000


class Leaf(NamedTuple):
    """What became of one leaf.

    `right` and `misread`: gold has a value and one is given. `missed`: gold has one, none is given.
    `fabricated`: gold says null, a value is given. `extra`: a value of a row that gold does not
    have, or where gold has something of another kind. `empty`: neither has one. `unscored`: a value
    is given for a key that gold does not have. `pointer` is that of the given value, else that of gold.
    """

    rule: Rule
    outcome: Outcome
    gold: Any
    given: Any
    pointer: str


class Rows(NamedTuple):
    """One array: how many rows gold has, how many are given, how many pairs share a right value.

    `best` is False where it was too large for the best assignment, and rows were paired greedily.
    """

    rule: Rule
    gold: int
    given: int
    paired: int
    best: bool


class Compared(NamedTuple):
    """What came of one document: its leaves and its arrays."""

    leaves: list[Leaf]
    arrays: list[Rows]


def compared(gold: Any, given: Any, rule: Rule) -> Compared:
    """Compare the data of one document with its gold data."""
    found = _Comparison(MOST_PAIRS)
    found.value(gold, given, rule, "", "")
    return Compared(found.leaves, found.arrays)


class _Comparison:
    """Walks gold and given side by side and notes what it finds."""

    def __init__(self, most_pairs: int) -> None:
        self.leaves: list[Leaf] = []
        self.arrays: list[Rows] = []
        self._most_pairs = most_pairs

    def value(self, gold: Any, given: Any, rule: Rule, at: str, to: str) -> None:
        """Compare two values; `at` is the pointer of the gold one, `to` that of the given one."""
        if rule.ignored:
            return
        kind = rule.kind if gold is None else ""
        if isinstance(gold, dict) or kind == "object":
            self._object(gold or {}, given, rule, at, to, whole=gold is None)
        elif isinstance(gold, list) or kind == "array":
            self._array(gold or [], given, rule, at, to)
        elif not filled(gold):
            if filled(given):
                self._given(given, rule, to, "fabricated")
            else:
                self._note(rule, "empty", gold, given, to)
        elif not filled(given):
            self._note(rule, "missed", gold, given, at)
        elif isinstance(given, dict | list) or not rule.method.same(gold, given):
            self._note(rule, "misread", gold, given, to)
        else:
            self._note(rule, "right", gold, given, to)

    def _note(self, rule: Rule, outcome: Outcome, gold: Any, given: Any, pointer: str) -> None:
        self.leaves.append(Leaf(rule, outcome, gold, given, pointer))

    def _given(self, given: Any, rule: Rule, to: str, outcome: Outcome) -> None:
        """Every value of a part that gold does not have."""
        if rule.ignored or not filled(given):
            return
        if isinstance(given, dict):
            for key, value in given.items():
                self._given(value, rule.key(key), f"{to}/{escape(key)}", outcome)
        elif isinstance(given, list):
            for index, value in enumerate(given):
                self._given(value, rule.item(), f"{to}/{index}", outcome)
        else:
            self._note(rule, outcome, None, given, to)

    def _object(
        self, gold: dict[str, Any], given: Any, rule: Rule, at: str, to: str, *, whole: bool
    ) -> None:
        """Key by key; `whole` says that gold has null in place of the object: each key is null."""
        if not isinstance(given, dict):
            self._given(given, rule, to, "extra")
            given = {}
        scored = dict(gold)
        if whole or rule.absent_is_null:
            scored = dict.fromkeys([*rule.names, *given]) | scored
        for key, value in scored.items():
            token = escape(key)
            self.value(value, given.get(key), rule.key(key), f"{at}/{token}", f"{to}/{token}")
        for key, value in given.items():
            if key not in scored:
                self._given(value, rule.key(key), f"{to}/{escape(key)}", "unscored")

    def _array(self, gold: list[Any], given: Any, rule: Rule, at: str, to: str) -> None:
        if not isinstance(given, list):
            self._given(given, rule, to, "extra")
            given = []
        item = rule.item()
        if item.ignored:
            return
        sides = [rows(side, every=rule.ordered) for side in (gold, given)]
        if rule.ordered:
            in_order = (sorted(side, key=lambda row: row.index) for side in sides)
            paired, best = list(zip(*in_order, strict=False)), True
        else:
            paired, best = self._assigned(sides[0], sides[1], item)
        shared = 0
        for one, other in paired:
            before = len(self.leaves)
            self.value(one.data, other.data, item, f"{at}/{one.index}", f"{to}/{other.index}")
            shared += any(leaf.outcome == "right" for leaf in self.leaves[before:])
        size, length = (sum(filled(row.data) for row in side) for side in sides)
        self.arrays.append(Rows(rule, size, length, shared, best))
        mine, theirs = ({each.index for each in side} for side in _sides(paired))
        for row in sides[0]:
            if row.index not in mine:
                self._missing(row.data, item, f"{at}/{row.index}")
        keys = {key for row in gold if isinstance(row, dict) for key in row}
        for row in sides[1]:
            if row.index not in theirs:
                self._extra(row.data, item, f"{to}/{row.index}", keys)

    def _missing(self, gold: Any, rule: Rule, at: str) -> None:
        """A row of gold that nobody gave: its values are missed, its nulls say nothing."""
        below = _Comparison(self._most_pairs)
        below.value(gold, None, rule, at, at)
        self.leaves += [leaf for leaf in below.leaves if leaf.outcome == "missed"]
        self.arrays += below.arrays

    def _extra(self, given: Any, rule: Rule, to: str, keys: set[str]) -> None:
        """A row that gold does not have; keys that no row of gold has stay unscored."""
        if isinstance(given, dict) and keys and not rule.absent_is_null:
            for key, value in given.items():
                outcome: Outcome = "extra" if key in keys else "unscored"
                self._given(value, rule.key(key), f"{to}/{escape(key)}", outcome)
        else:
            self._given(given, rule, to, "extra")

    def _assigned(
        self, gold: list[Row], given: list[Row], item: Rule
    ) -> tuple[list[tuple[Row, Row]], bool]:
        pairs = max(1, len(gold) * len(given))
        rough = False

        def right(one: Any, other: Any) -> int:
            nonlocal rough
            # Arrays inside of rows are compared for every pair of rows: they share the bound.
            below = _Comparison(self._most_pairs // pairs)
            below.value(one, other, item, "", "")
            rough = rough or not all(array.best for array in below.arrays)
            return sum(leaf.outcome == "right" for leaf in below.leaves)

        paired, best = assigned(gold, given, right, self._most_pairs)
        return paired, best and not rough


def _sides(paired: list[tuple[Row, Row]]) -> tuple[list[Row], list[Row]]:
    return [one for one, _ in paired], [other for _, other in paired]
