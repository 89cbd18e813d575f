"""What of an extraction failed, leaf by leaf, and the smallest next question about it.

    doubts and findings -> targets -> the pages of each -> questions, few of them

A leaf is asked for beside others in a flat schema, an array whose rows are in doubt by itself. What
asking can't mend (a schema that takes too long to check, a key too many) is not asked.
"""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from pipeline.document import Document, Window
from pipeline.errors import SchemaError
from pipeline.grounding import with_quotes
from pipeline.prompts import Ask
from pipeline.repair.targets import HOPELESS, LONGEST, Round, Target, fenced, same
from pipeline.results import Evidence, Finding, at, leaves
from pipeline.schema import Node, Schema
from pipeline.schema.parts import in_words, leaves_of, part
from pipeline.stages import Kind, Stage
from pipeline.windows import Merged

#: Leaves of one question: beyond that an answer is no longer looked at leaf by leaf.
_LEAVES: Final = 40
#: Leaves that are asked in one round; the others wait for the next one.
_LEAVES_A_ROUND: Final = 200
#: Pages of one question, where its leaves stand on several; and pages that are guessed for a leaf.
_PAGES: Final = 8
_GUESSES: Final = 2
#: Known values of a row that tell which one is meant.
_BESIDE: Final = 6
#: Beside what no answer mends: what an answer has too much of, which merging never drops.
_TOO_MUCH: Final = frozenset(
    """additionalProperties unevaluatedProperties maxItems uniqueItems unevaluatedItems maxContains maxProperties
    propertyNames""".split()  # noqa: SIM905, a list of names
)
#: The weaker its evidence, the sooner a leaf is suspected.
_WEAK: Final[Mapping[str, int]] = {
    status: place
    for place, status in enumerate(("not_found", "absent", "ambiguous", "derived", "verified"))
}
_WORD: Final = re.compile(r"[^\W\d_]{3,}|\d+")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
#: Words of descriptions that stand on every page.
_COMMON: Final = frozenset(
    "the and for with this that from are was not all any its has have been which when".split()  # noqa: SIM905
)


def failing(
    stage: Stage, merged: Merged, findings: Sequence[Finding], on: Collection[Kind] | None = None
) -> tuple[Target, ...]:
    """What of a judged answer is to be asked again, each leaf and array once; of certain kinds only, with `on`.

    Without `on`: doubts, errors, and what was not found where evidence is required or where that goes up to the
    next model: the stage's own is asked first. Of rows that stand there twice their array is asked, none of their leaves.
    """
    proofs = {each.pointer: each for each in merged.evidence}
    found: dict[tuple[str, bool], Target] = {}
    doubted = {id(doubt.finding) for doubt in merged.doubts}
    for doubt in merged.doubts:
        for target in _targets(stage, merged, doubt.finding, proofs):
            _add(found, replace(target, pages=doubt.pages))
    for finding in findings:
        if id(finding) not in doubted and _is_wrong(stage, finding, on):
            for target in _targets(stage, merged, finding, proofs):
                _add(found, target)
    twins = {
        row
        for doubt in merged.doubts
        if (doubt.finding.pointer, True) in found
        for row in doubt.rows
    }
    wanted = [each for each in found.values() if on is None or each.kind in on]
    return tuple(each for each in wanted if twins.isdisjoint(_above(each.pointer)))


def questions(
    stage: Stage, document: Document, merged: Merged, targets: Sequence[Target], asking: Round
) -> tuple[Ask, ...]:
    """The questions that may settle the targets; none where each was asked often enough.

    Arrays go first: their rows may move, and with them what stands in them. Once a leaf of a row was
    asked for, its array is not asked for any more.
    """
    times, left = _open(targets, asking)
    settled = tuple(pointer for ask in asking.before if ask.fields for pointer in ask.about)
    arrays = [
        each
        for each in left
        if each.rows and not any(p.startswith(f"{each.pointer}/") for p in settled)
    ]
    moving = tuple(f"{each.pointer}/" for each in arrays)
    single = [each for each in left if not each.rows and not each.pointer.startswith(moving)]
    places = _Places(stage, document, merged, [window.pages for window in asking.windows])
    asks = [ask for each in arrays for ask in _of_rows(stage, each, places)]
    for pages, group in places.grouped(single[:_LEAVES_A_ROUND], times):
        asks += _of_leaves(stage, merged, group, pages)
    number = 1 + max((times[each.pointer] for each in left), default=0)
    return tuple(
        replace(ask, why=_why(asking.why, number, ask), take=1 + sum(same(ask, b) for b in asking.before))
        for ask in asks
    )  # fmt: skip


def _open(targets: Sequence[Target], asking: Round) -> tuple[Counter[str], list[Target]]:
    """How often each leaf and array was asked for, and the targets that may be again: of an array, those of its pages."""
    times = Counter(pointer for ask in asking.before if ask.fields for pointer in ask.about)
    on_page = Counter(
        (pointer, page)
        for ask in asking.before
        if not ask.fields
        for pointer in ask.about
        for page in ask.window.pages
    )
    for (pointer, _), count in on_page.items():
        times[pointer] = max(times[pointer], count)
    left = []
    for each in targets:
        pages = tuple(page for page in each.pages if on_page[each.pointer, page] < asking.most)
        if each.rows and pages:
            left.append(replace(each, pages=pages))
        elif times[each.pointer] < asking.most:
            left.append(each)
    return times, left


# what failed ------------------------------------------------------------------------------


def _above(pointer: str) -> Iterator[str]:
    """A pointer and those of all that it stands in."""
    while pointer:
        yield pointer
        pointer = pointer.rpartition("/")[0]


def _is_wrong(stage: Stage, finding: Finding, on: Collection[Kind] | None) -> bool:
    if finding.rule in HOPELESS | _TOO_MUCH:
        return False
    unproven = finding.rule in {"evidence_not_found", "evidence_ambiguous"}
    kinds = stage.escalate.on if on is None and stage.escalate else on or ()
    if unproven and (stage.evidence == "required" or "not_found" in kinds):
        return True
    return finding.severity == "error"


def _add(found: dict[tuple[str, bool], Target], new: Target) -> None:
    key = (new.pointer, new.rows)
    old = found.get(key)
    if old is None:
        found[key] = new
    else:
        pages = tuple(sorted({*old.pages, *new.pages}))
        found[key] = replace(old, wrong=(*old.wrong, *new.wrong), pages=pages)


def _kind(rule: str, *, rows: bool) -> Kind:
    if rule in {"conflict", "unsure"}:
        return "conflict" if rule == "conflict" else "unsure"
    if rows or rule == "rows_missing":
        return "truncated"
    return "not_found" if rule.startswith("evidence_") else "invalid"


def _targets(
    stage: Stage, merged: Merged, finding: Finding, proofs: Mapping[str, Evidence]
) -> Iterator[Target]:
    """The leaves and arrays that a finding is about."""
    places = (finding.pointer, *finding.related) if finding.pointer else finding.related
    named: dict[tuple[str, bool], None] = {}
    for place in places or ("",):
        named |= dict.fromkeys(_named(stage.schema.tree, merged.data, place))
    chosen = sorted(named, key=lambda key: _weakness(proofs.get(key[0])))[:_LEAVES]
    for pointer, rows in chosen:
        kind = _kind(finding.rule, rows=rows)
        yield Target(pointer, kind, (finding.message,), rows=rows)


def _weakness(proof: Evidence | None) -> int:
    return -1 if proof is None else _WEAK[proof.status]


def _named(root: Node, data: Any, pointer: str) -> Iterator[tuple[str, bool]]:
    """The leaves of what a pointer names, without those in arrays below it; and whether it is an array itself."""
    node = root.at(pointer)
    if node is None:
        return
    if node.type == "array":
        if "/*" not in node.pointer:
            yield pointer, True
        return
    if node.is_leaf:
        yield pointer, False
        return
    for child in node.children:
        if child.is_leaf or child.type == "object":
            yield from _named(root, data, f"{pointer}{child.pointer[child.pointer.rindex('/') :]}")


# on which pages ---------------------------------------------------------------------------


class _Places:
    """Where the leaves of a document stand, or may stand, on the pages that the stage reads."""

    def __init__(
        self, stage: Stage, document: Document, merged: Merged, windows: list[tuple[int, ...]]
    ) -> None:
        self.schema = stage.schema
        self.read = frozenset(stage.pages_of(document))
        self.pages = {page.number: page for page in document.pages if page.number in self.read}
        self.windows = windows
        self._of: dict[str, int] = {}
        self._below: dict[str, Counter[int]] = defaultdict(Counter)
        for proof in merged.evidence:
            if proof.page is not None:
                self._of[proof.pointer] = proof.page
                parent = proof.pointer.rpartition("/")[0]
                while parent:
                    self._below[parent][proof.page] += 1
                    parent = parent.rpartition("/")[0]
        self._words: dict[int, set[str]] | None = None

    def known(self, pointer: str) -> tuple[int, ...]:
        """The page of a leaf, else that of its row or of what stands beside it."""
        if pointer in self._of:
            return (self._of[pointer],)
        parent = pointer.rpartition("/")[0]
        if parent and (beside := self._below.get(parent)):
            return (beside.most_common(1)[0][0],)
        return ()

    def guessed(self, pointer: str, most: int = _GUESSES) -> tuple[int, ...]:
        """The pages where words of a leaf's name and description stand, the rarest words count most."""
        if self._words is None:
            self._words = {n: _words(page.text) for n, page in self.pages.items()}
        node = self.schema.tree.at(pointer)
        told = "" if node is None else str(node.schema.get("description") or "")
        wanted = _words(f"{in_words(self.schema.tree, pointer)} {told}")
        rare = {w: sum(w in words for words in self._words.values()) for w in wanted}
        weights = {w: math.log1p(len(self._words) / times) for w, times in rare.items() if times}
        scores = {
            number: sum(weights.get(word, 0.0) for word in wanted & words)
            for number, words in self._words.items()
        }
        best = max(scores.values(), default=0.0)
        likely = sorted(
            (n for n, score in scores.items() if score and score >= best / most),
            key=lambda n: (-scores[n], n),
        )
        return tuple(sorted(likely[:most]))

    def around(self, pages: Iterable[int]) -> tuple[int, ...]:
        """Pages with those beside them that the stage reads."""
        return tuple(sorted({page + step for page in pages for step in (-1, 0, 1)} & self.read))

    def of(self, target: Target, times: int) -> tuple[int, ...]:
        """The pages that a target is asked about, more of them the second time; none: all of the document."""
        known = target.pages or self.known(target.pointer)
        if not times:
            found = known or self.guessed(target.pointer)
            everything = {page for window in self.windows for page in window}
            # Of a short document they are those that others are asked about, too: one question will do.
            return tuple(sorted(found or (everything if len(everything) <= _GUESSES else ())))
        wider = {*known, *self.guessed(target.pointer, _PAGES)}
        return self.around(known) if known and wider == set(known) else tuple(sorted(wider))

    def grouped(
        self, targets: Sequence[Target], times: Mapping[str, int]
    ) -> Iterator[tuple[tuple[int, ...], list[Target]]]:
        """Targets by the pages that they are asked about: those of one window together, as far as they are few."""
        groups: list[tuple[set[int], int, list[Target]]] = []
        everywhere: list[Target] = []
        placed = [(self.of(each, times[each.pointer]), each) for each in targets]
        for pages, target in sorted(placed, key=lambda each: each[0]):
            window = self._window(pages)
            last = groups[-1] if groups else None
            if not pages:
                everywhere += [] if times[target.pointer] else [target]
            elif (
                last
                and last[1] == window
                and len(last[0] | set(pages)) <= max(_PAGES, len(pages))
                and len(last[2]) < _LEAVES
            ):
                last[0].update(pages)
                last[2].append(target)
            else:
                groups.append((set(pages), window, [target]))
        for found, _, group in groups:
            yield tuple(sorted(found)), group
        for begin in range(0, len(everywhere), _LEAVES):
            for pages in self.windows:
                yield pages, everywhere[begin : begin + _LEAVES]

    def _window(self, pages: tuple[int, ...]) -> int:
        return next((n for n, own in enumerate(self.windows) if pages and pages[0] in own), -1)


def _words(text: str) -> set[str]:
    """The words and numbers of a text, and each two that follow one another: `clause 57`."""
    words = [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", text))]
    pairs = {f"{one} {two}" for one, two in pairwise(words)}
    return {*words, *pairs} - _COMMON


# what is asked ----------------------------------------------------------------------------


def _of_rows(stage: Stage, target: Target, places: _Places) -> Iterator[Ask]:
    """An array, on each page whose rows are in doubt: one good answer counts alone; on all windows where no page is known."""
    try:
        schema = with_quotes(part(stage.schema, target.pointer))
    except SchemaError:
        return
    pages = [(page,) for page in target.pages] or places.windows
    words = (
        "An earlier answer was checked, and its rows did not agree with the pages below. Only these rows are "
        "asked for now: list every row that stands on these pages, in their order, once each.\n"
        + fenced({"wrong": [text[:LONGEST] for text in target.wrong]})
    )
    for each in pages:
        yield Ask(Window(each), schema, words=words, about=(target.pointer,))


def _of_leaves(
    stage: Stage, merged: Merged, group: Sequence[Target], pages: tuple[int, ...]
) -> Iterator[Ask]:
    """Leaves side by side; those that can't stand alone are left out."""
    able = [each for each in group if _stands(stage.schema, each.pointer)]
    if not able:
        return
    pointers = [each.pointer for each in able]
    fields = tuple((f"f{number}", pointer) for number, pointer in enumerate(pointers, start=1))
    rows = {row for pointer in pointers if (row := _row_of(stage.schema.tree, pointer))}
    beside = {row: _beside(merged.data, row, pointers) for row in sorted(rows)}
    told: dict[str, Any] = {}
    for (name, pointer), target in zip(fields, able, strict=True):
        wrong = "; ".join(text[:LONGEST] for text in target.wrong)
        entry = _given(merged.data, pointer) | {"wrong": wrong}
        if row := _row_of(stage.schema.tree, pointer):
            entry["row"] = {p.removeprefix(row)[1:]: _short(value) for p, value in beside[row]}
        told[name] = entry
    words = (
        "An earlier answer was checked, and some of its fields may be wrong. Only those are asked for now; the "
        "description of each says which one it is. Read each anew on the pages below: what was given may be "
        "right or wrong. Where these pages do not say it, return null.\n" + fenced(told)
    )
    yield Ask(
        Window(pages),
        with_quotes(leaves_of(stage.schema, pointers)),
        fields,
        words,
        about=tuple(pointers),
        beside=tuple(pair for pairs in beside.values() for pair in pairs),
    )


def _stands(schema: Schema, pointer: str) -> bool:
    try:
        leaves_of(schema, [pointer])
    except SchemaError:
        return False
    return True


def _row_of(root: Node, pointer: str) -> str:
    """The row that a leaf stands in, the innermost one; empty where it is in none."""
    prefix, found, node = "", "", root
    for token in pointer.split("/")[1:]:
        in_array, prefix = node.type == "array", f"{prefix}/{token}"
        following = node.at(f"/{token}")
        if following is None:
            break
        found, node = (prefix if in_array else found), following
    return found


def _beside(data: Any, row: str, pointers: Collection[str]) -> tuple[tuple[str, Any], ...]:
    """The first known scalars of a row that are not asked for."""
    try:
        known = [(f"{row}{below}", value) for below, value in leaves(at(data, row)) if below]
    except (LookupError, TypeError, ValueError):
        return ()
    asked = set(pointers)
    told = [
        (pointer, value)
        for pointer, value in known
        if pointer not in asked and value is not None and not isinstance(value, dict | list)
    ]
    return tuple(told[:_BESIDE])


def _given(data: Any, pointer: str) -> dict[str, Any]:
    try:
        return {"given": _short(at(data, pointer))}
    except (LookupError, TypeError, ValueError):  # the key is missing
        return {}


def _short(value: Any) -> Any:
    """A value, or the beginning of its JSON where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= LONGEST else text[:LONGEST] + "..."


def _why(begin: str, number: int, ask: Ask) -> str:
    """`repair 1: /total, /vat` for few leaves, `escalated to ...: 12 fields` for many."""
    told = ", ".join(ask.about) if len(ask.about) <= 3 else f"{len(ask.about)} fields"
    return f"{begin.format(number)}: {told}"
