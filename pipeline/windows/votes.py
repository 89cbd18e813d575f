"""Two answers to the same questions: what they agree on is taken, where they differ is a doubt."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.results import Evidence, EvidenceStatus, Finding, at, leaves
from pipeline.schema import Node
from pipeline.validators.messages import shown
from pipeline.windows.pieces import Doubt, Merged

#: What a leaf or array was given when it was asked for again, as JSON, with how that is proven; None: by a model that decides.
Given = Mapping[str, Sequence[tuple[str, EvidenceStatus]] | None]


def agreed(root: Node, taken: Merged, votes: tuple[Merged, Merged], given: Given) -> Merged:
    """What is taken of all answers, with a doubt (`conflict`, an error) for each leaf that two votes leave open.

    Rows are compared one by one where there are equally many; else their array is in doubt, with the
    pages of the rows that only one of the two has. `given` says of leaves and arrays that were asked for
    since what they were given. It settles a leaf where what is taken was given again and is one of the two, or
    where one value is verified and all else that was said of it is not found: that one is taken then.
    """
    first, second = votes
    pages = {each.pointer: each.page for each in (*second.evidence, *first.evidence)}
    arrays = dict(_uneven(first.data, second.data, ""))
    doubts = [
        Doubt(Finding("conflict", pointer, told), _pages(first, second, pointer))
        for pointer, told in arrays.items()
        if _is_array(root, pointer) and not _is_one_of_both(taken, votes, pointer, given)
    ]
    inside = tuple(f"{pointer}/" for pointer in arrays)
    for leaf in _differing(taken, votes, given):
        if leaf.pointer.startswith(inside) or leaf.is_decided:
            continue
        if (won := leaf.proven) is not None:
            taken = _with(taken, leaf.pointer, won)
        elif not leaf.is_settled:
            told = f"one answer says {shown(leaf.values[0])}, another {shown(leaf.values[1])}"
            page = pages.get(leaf.pointer)
            where = () if page is None else (page,)
            doubts.append(Doubt(Finding("conflict", leaf.pointer, told), where))
    return replace(taken, doubts=(*taken.doubts, *doubts))


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A leaf that two votes give otherwise; `again` is what it was given since, None where that decides."""

    pointer: str
    values: tuple[Any, Any]
    proofs: tuple[Evidence | None, Evidence | None]
    now: Any
    again: Sequence[tuple[str, EvidenceStatus]] | None

    @property
    def is_decided(self) -> bool:
        return self.again is None

    @property
    def is_settled(self) -> bool:
        """Whether what is taken was said again and is what a vote says, or alone stands in the document."""
        now = _json(self.now)
        is_said = now in map(_json, self.values) and now in [value for value, _ in self.again or ()]
        return is_said or now == self._alone

    @property
    def proven(self) -> tuple[Any, Evidence] | None:
        """The vote that alone stands in the document, once the leaf was asked for again."""
        for value, proof in zip(self.values, self.proofs, strict=True):
            if proof is not None and proof.status == "verified" and _json(value) == self._alone:
                return value, proof
        return None

    @property
    def _alone(self) -> str | None:
        """Of all that was said of a leaf that was asked for again, what is verified where all else is not found."""
        votes = zip(self.values, self.proofs, strict=True)
        said = [(_json(v), proof.status if proof else "not_found") for v, proof in votes]
        said += [each for each in self.again or () if each[0] != "null"]
        found = {value for value, status in said if status == "verified"}
        others = {status for value, status in said if value not in found}
        is_alone = bool(self.again) and len(found) == 1 and others <= {"not_found"}
        return found.pop() if is_alone else None


def _differing(taken: Merged, votes: tuple[Merged, Merged], given: Given) -> Iterator[_Leaf]:
    one, two = (_scalars(each.data) for each in votes)
    known = _scalars(taken.data)
    proofs = [{proof.pointer: proof for proof in each.evidence} for each in (*votes, taken)]
    for pointer in {**one, **two}:
        values = one.get(pointer), two.get(pointer)
        if _same(*values):
            continue
        now = known.get(pointer)
        again = given.get(pointer, ())
        around = [given[above] for above in _above(pointer) if above in given]
        if again is not None and around:  # its rows were listed again, and it with them
            proof = proofs[2].get(pointer)
            listed = (_json(now), proof.status if proof else "not_found")
            again = None if None in around else (*again, listed)
        yield _Leaf(pointer, values, (proofs[0].get(pointer), proofs[1].get(pointer)), now, again)


def _above(pointer: str) -> Iterator[str]:
    while pointer := pointer.rpartition("/")[0]:
        yield pointer


def _is_one_of_both(
    taken: Merged, votes: tuple[Merged, Merged], pointer: str, given: Given
) -> bool:
    """Whether an array was listed again, and has as many rows now as one of the votes says; or a model decided."""
    if pointer not in given or given[pointer] is None:
        return pointer in given
    try:
        return len(at(taken.data, pointer)) in {len(at(vote.data, pointer)) for vote in votes}
    except (LookupError, TypeError, ValueError):
        return False


def _with(taken: Merged, pointer: str, won: tuple[Any, Evidence]) -> Merged:
    """The answer with another value of a leaf, and its proof."""
    value, proof = won
    try:
        data = _put(taken.data, pointer.split("/")[1:], value)
    except (LookupError, TypeError, ValueError):  # its row is no more
        return taken
    proofs = {each.pointer: each for each in taken.evidence} | {pointer: proof}
    return replace(taken, data=data, evidence=tuple(proofs.values()))


def _put(data: Any, tokens: Sequence[str], value: Any) -> Any:
    if not tokens:
        return value
    first, *rest = tokens
    if isinstance(data, list):
        number = int(first)
        return [*data[:number], _put(data[number], rest, value), *data[number + 1 :]]
    key = first.replace("~1", "/").replace("~0", "~")
    return {**data, key: _put(data[key] if rest else None, rest, value)}


def _uneven(one: Any, two: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """The arrays that the answers have with different numbers of rows, the outermost ones."""
    if isinstance(one, list) and isinstance(two, list):
        if len(one) != len(two):
            yield pointer, f"one answer has {len(one)} rows, another {len(two)}"
            return
        for place, pair in enumerate(zip(one, two, strict=True)):
            yield from _uneven(*pair, f"{pointer}/{place}")
    elif isinstance(one, dict) and isinstance(two, dict):
        for key in one.keys() & two.keys():
            name = key.replace("~", "~0").replace("/", "~1")
            yield from _uneven(one[key], two[key], f"{pointer}/{name}")


def _is_array(root: Node, pointer: str) -> bool:
    node = root.at(pointer)
    return node is not None and node.type == "array"


def _pages(first: Merged, second: Merged, pointer: str) -> tuple[int, ...]:
    """The pages of the rows that only one of the answers has; where they can't be told, of all rows."""
    rows = [_rows(merged, pointer) for merged in (first, second)]
    own = [row for mine, other in (rows, rows[::-1]) for row in mine.keys() - other.keys()]
    found = {page for row in own for side in rows for page in side.get(row, ())}
    return tuple(
        sorted(found or {page for side in rows for pages in side.values() for page in pages})
    )


def _rows(merged: Merged, pointer: str) -> dict[str, set[int]]:
    """The rows of an array as JSON, with the pages of their evidence."""
    rows = at(merged.data, pointer)
    found: dict[str, set[int]] = {_json(row): set() for row in rows}
    for proof in merged.evidence:
        if proof.page is not None and proof.pointer.startswith(f"{pointer}/"):
            number = proof.pointer[len(pointer) + 1 :].partition("/")[0]
            found[_json(rows[int(number)])].add(proof.page)
    return found


def _scalars(data: Any) -> dict[str, Any]:
    return {p: value for p, value in leaves(data) if not isinstance(value, dict | list)}


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    return bool(one == two)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
