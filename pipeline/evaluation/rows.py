"""Which row given is which row of gold: the assignment that makes the most values right.

The order of rows plays no part: both sides are sorted by their content, so that ties fall the same
way however the rows stand.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.methods import normal
from pipeline.results import leaves

#: How many rows a value may stand in to tell rows apart, where there are too many to try all pairs.
_RARE = 20

Right = Callable[[Any, Any], int]


@dataclass(frozen=True, slots=True)
class Row:
    """One item of an array, its place in it, and its content as text."""

    index: int
    data: Any
    content: str


def rows(items: list[Any], *, every: bool = False) -> list[Row]:
    """The items of an array that hold a value, or every item, sorted by content."""
    found = [
        Row(index, item, json.dumps(item, sort_keys=True))
        for index, item in enumerate(items)
        if every or filled(item)
    ]
    return sorted(found, key=lambda row: row.content)


def filled(value: Any) -> bool:
    """Whether there is a value at all."""
    if isinstance(value, dict):
        return any(filled(inner) for inner in value.values())
    if isinstance(value, list):
        return any(filled(inner) for inner in value)
    return value is not None and not (isinstance(value, str) and not value.strip())


def assigned(
    gold: list[Row], given: list[Row], right: Right, most_pairs: int
) -> tuple[list[tuple[Row, Row]], bool]:
    """Pairs of rows with at least one right value each, and whether they are the best ones.

    Args:
        gold: the rows of gold, sorted by content (see `rows`).
        given: the rows given, likewise.
        right: how many values of a given row are right, if it is this row of gold.
        most_pairs: the best assignment (the most right values in all) is found when there are no
            more pairs than this. Beyond, rows that are equal are paired first; if the rest is still
            too large, rows that share rare values are paired greedily.

    """
    same, rest = _equal(gold, given)
    if not (rest[0] and rest[1]):  # one side is used up, every pair wholly right: none is better
        return same, True
    if len(gold) * len(given) <= most_pairs:
        return _best(gold, given, right), True
    if len(rest[0]) * len(rest[1]) <= most_pairs:
        return [*same, *_best(*rest, right)], False
    return [*same, *_greedy(*rest, right)], False


def _equal(
    gold: list[Row], given: list[Row]
) -> tuple[list[tuple[Row, Row]], tuple[list[Row], list[Row]]]:
    """Rows with the same content in pairs, and the rest of both sides."""
    waiting: dict[str, list[Row]] = defaultdict(list)
    for row in given:
        waiting[row.content].append(row)
    same, left = [], []
    for row in gold:
        twins = waiting.get(row.content)
        if twins:
            same.append((row, twins.pop(0)))
        else:
            left.append(row)
    return same, (left, [row for rows in waiting.values() for row in rows])


def _best(gold: list[Row], given: list[Row], right: Right) -> list[tuple[Row, Row]]:
    weights = [[right(one.data, other.data) for other in given] for one in gold]
    return [(gold[i], given[j]) for i, j in heaviest(weights) if weights[i][j]]


def heaviest(weights: list[list[int]]) -> list[tuple[int, int]]:
    """The assignment of rows to columns with the greatest sum of weights, as (row, column) pairs.

    Shortest augmenting paths with potentials (Kuhn 1955; Jonker and Volgenant 1987, without their
    initial reduction): n² m steps for n rows and m columns, n being the smaller side.
    """
    if len(weights) > len(weights[0]):
        turned = [list(column) for column in zip(*weights, strict=True)]
        return sorted((i, j) for j, i in heaviest(turned))
    columns = len(weights[0])
    of_row, of_column = [0.0] * len(weights), [0.0] * columns
    owner = [-1] * columns
    for start in range(len(weights)):
        _augment(start, weights, of_row, of_column, owner)
    return sorted((i, j) for j, i in enumerate(owner) if i >= 0)


def _augment(
    start: int,
    weights: list[list[int]],
    of_row: list[float],
    of_column: list[float],
    owner: list[int],
) -> None:
    """Give one more row a column, along the cheapest path of exchanges (cost is minus the weight)."""
    columns = len(owner)
    slack: list[float] = [math.inf] * columns
    via = [-1] * columns
    open_columns = list(range(columns))
    path: list[tuple[int, int]] = []  # each row on the tree, with the column that led to it
    row, last = start, -1
    while row >= 0:
        path.append((row, last))
        weight, base = weights[row], of_row[row]
        nearest, gap = -1, math.inf
        for column in open_columns:
            reduced = -weight[column] - base - of_column[column]
            if reduced < slack[column]:
                slack[column], via[column] = reduced, last
            if slack[column] < gap:
                nearest, gap = column, slack[column]
        for on_tree, column in path:
            of_row[on_tree] += gap
            if column >= 0:
                of_column[column] -= gap
        open_columns.remove(nearest)
        for column in open_columns:
            slack[column] -= gap
        last, row = nearest, owner[nearest]
    while last >= 0:
        before = via[last]
        owner[last] = owner[before] if before >= 0 else start
        last = before


def _greedy(gold: list[Row], given: list[Row], right: Right) -> list[tuple[Row, Row]]:
    """Pairs that share rare values, those with the most right values first."""
    holders: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, row in enumerate(given):
        for value in _values(row):
            holders[value].append(number)
    tried = []
    for i, row in enumerate(gold):
        shared = Counter(
            j
            for value in _values(row)
            for j in holders.get(value, ())
            if len(holders[value]) <= _RARE
        )
        near = sorted(shared, key=lambda j: (-shared[j], j))[:_RARE]
        tried += [(-right(row.data, given[j].data), i, j) for j in near]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for weight, i, j in sorted(tried):
        if weight and i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return [(gold[i], given[j]) for i, j in pairs.items()]


def _values(row: Row) -> set[tuple[str, str]]:
    return {
        (pointer, normal(value if isinstance(value, str) else repr(value)))
        for pointer, value in leaves(row.data)
        if value not in (None, "", [], {})
    }
