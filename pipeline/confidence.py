"""How sure each value is, from what is known of it: evidence, agreement, rules, who answered. Never what a model says of itself.

Each value begins with the share of values like it that are wrong, by its evidence (ERRORS); an engine that measured
its own confidence begins with that. What is known beside it makes the odds of an error smaller or larger (ODDS).
Then whatever failed: of the leaves that a broken rule is about at least one is wrong, unless the document itself breaks
the rule (OWN_FAULTS); by Bayes' rule they share the blame, and the surest has least of it.

Where the numbers come from: those marked as measured from 18 public e-invoices, from their labels and from what the local
engine answers; the others are priors, set by judgement. Nothing was measured on a paid model. `fieldsift eval` prints how
often values of each confidence are right, and its JSON (`evidence_and_rules`) the shares that ERRORS and ODDS stand for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final

from pipeline.document import Document
from pipeline.judge import judge
from pipeline.results import Evidence, EvidenceStatus, Finding, at, escape
from pipeline.rules import verdicts
from pipeline.schema import Node
from pipeline.stages import Stage
from pipeline.windows import Merged, Piece

#: Share of wrong values by evidence: of those that are read from the page, and of those chosen from words of the
#: schema (booleans, enums), which need not stand there.
ERRORS: Final[Mapping[EvidenceStatus, tuple[float, float]]] = {
    "verified": (0.05, 0.05),
    "derived": (0.15, 0.10),
    "ambiguous": (0.12, 0.12),
    "not_found": (0.65, 0.25),
}
#: What multiplies the odds that a value is wrong.
ODDS: Final = {
    "agreed": 0.4,  # another answer says the same
    "differed": 3.0,  # another first answer says something else
    "mended": 1.2,  # it was asked for again, and came out otherwise
    "escalated": 0.7,  # so it did, of a stronger model
    "holds": 0.4,  # an equation that it is part of holds, or its check digits fit (measured: 0.43)
}
#: How often a document itself breaks what it should keep: of one value, and of several together (measured: 17 of 82
#: equations on labels, by rounded unit prices and by charges that stand in no row).
OWN_FAULTS: Final = (0.05, 0.2)
#: No value is surer, and none less sure.
_MOST: Final = 0.99
_LEAST: Final = 0.01
#: Findings that say nothing of a value beyond its evidence, or that agreement counts already.
_COUNTED: Final = ("evidence_", "conflict", "low_confidence", "empty")


def settled(
    stage: Stage,
    document: Document,
    answer: tuple[Merged, Sequence[Finding]],
    pieces: Sequence[Piece],
) -> tuple[Merged, Sequence[Finding]]:
    """A judged answer with the confidence of each value; those below the stage's `min_confidence` are left out.

    What is left out is null, or missing where the schema lets it be, each with a warning `low_confidence`. Where the
    schema allows neither the value stays, and the finding is an error.
    """
    merged, findings = answer
    merged = replace(merged, evidence=confident(stage, merged, findings, pieces))
    doubtful = [each for each in merged.evidence if _is_doubtful(each, stage.min_confidence)]
    if not doubtful:
        return merged, findings
    merged = _without(stage, merged, doubtful)
    judged = judge(stage, merged.data, document, merged.evidence)
    return merged, (*merged.findings, *judged)


def confident(
    stage: Stage, merged: Merged, findings: Sequence[Finding], pieces: Sequence[Piece]
) -> tuple[Evidence, ...]:
    """The evidence of an answer with the confidence (0..1) of each value; nothing is known of what is absent.

    Args:
        stage: its schema, and its rules.
        merged: the answer, with its evidence.
        findings: all that was found wrong with it.
        pieces: the answers that it is made of, in their order.

    """
    given = {each.pointer: each for each in merged.evidence if each.status != "absent"}
    wrong = {pointer: _at_first(stage.schema.tree, each) for pointer, each in given.items()}
    touched: set[str] = set()
    for pointer, factor in _factors(stage, merged, given, pieces):
        wrong[pointer] = _times(wrong[pointer], factor)
        touched.add(pointer)
    blamed: dict[str, float] = {}
    for group in _failed(given, findings):
        any_wrong = 1 - prod(1 - wrong[pointer] for pointer in group)
        fault = any_wrong + OWN_FAULTS[len(group) > 1]
        for pointer in group:
            share = max(wrong[pointer], wrong[pointer] / fault)
            blamed[pointer] = max(share, blamed.get(pointer, 0.0))
    return tuple(
        each
        if each.pointer not in wrong
        or (each.confidence is not None and each.pointer not in touched | blamed.keys())
        else replace(each, confidence=_sure(blamed.get(each.pointer, wrong[each.pointer])))
        for each in merged.evidence
    )


def _at_first(root: Node, proof: Evidence) -> float:
    """How likely a value is wrong, by its evidence alone."""
    if proof.confidence is not None:
        return min(1 - _LEAST, max(1 - _MOST, 1 - proof.confidence))
    node = root.at(proof.pointer)
    chosen = node is not None and (node.type == "boolean" or {"enum", "const"} & node.schema.keys())
    return ERRORS[proof.status][bool(chosen)]


def _factors(
    stage: Stage, merged: Merged, given: Mapping[str, Evidence], pieces: Sequence[Piece]
) -> Iterator[tuple[str, float]]:
    """What is known of leaves beside their evidence."""
    for pointer, word in _agreement(merged, given, pieces):
        yield pointer, ODDS[word]
    for each in verdicts(stage.validate, merged.data):
        if each.holds and each.rule.is_equation:
            yield from ((pointer, ODDS["holds"]) for pointer in each.leaves if pointer in given)


def _agreement(
    merged: Merged, given: Mapping[str, Evidence], pieces: Sequence[Piece]
) -> Iterator[tuple[str, str]]:
    """How the answers stand to each other about each leaf that several of them name."""
    if len(pieces) < 2:
        return
    said: dict[str, list[_Said]] = {}
    for piece in pieces:
        for pointer, value in _values(piece, merged.data):
            if value is not None and pointer in given:
                said.setdefault(pointer, []).append(_Said(value, piece.ask.why.partition(" ")[0]))
    for pointer, votes in said.items():
        if len(votes) < 2:
            continue
        value = at(merged.data, pointer)
        same = [vote for vote in votes if vote.value == value]
        other = [vote for vote in votes if vote.value != value]
        if same and all(vote.why in {"repair", "escalated"} for vote in same):
            yield pointer, "escalated" if same[-1].why == "escalated" else "mended"
        elif len(same) > 1:
            yield pointer, "agreed"
        elif any(vote.why not in {"repair", "escalated"} for vote in other):
            yield pointer, "differed"


@dataclass(frozen=True, slots=True)
class _Said:
    """What one answer gives for a leaf, and why it was asked."""

    value: Any
    why: str


def _values(piece: Piece, merged: Any) -> Iterable[tuple[str, Any]]:
    """The leaves that an answer names, as far as they stand at the same place in the whole."""
    if piece.ask.fields:
        return piece.data.items() if isinstance(piece.data, dict) else ()
    return _alike(piece.data, merged, "")


def _alike(mine: Any, whole: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """Rows count only where there are as many: else they are others."""
    if isinstance(mine, dict) and isinstance(whole, dict):
        for key in mine.keys() & whole.keys():
            yield from _alike(mine[key], whole[key], f"{pointer}/{escape(str(key))}")
    elif isinstance(mine, list) and isinstance(whole, list):
        for number, value in enumerate(mine if len(mine) == len(whole) else ()):
            yield from _alike(value, whole[number], f"{pointer}/{number}")
    elif not isinstance(mine, dict | list):
        yield pointer, mine


def _failed(
    given: Mapping[str, Evidence], findings: Iterable[Finding]
) -> Iterator[tuple[str, ...]]:
    """The leaves that each finding is about, of which one must be wrong."""
    for finding in findings:
        if finding.rule.startswith(_COUNTED):
            continue
        group = dict.fromkeys(p for p in (finding.pointer, *finding.related) if p in given)
        if group:
            yield tuple(group)


def _times(share: float, factor: float) -> float:
    odds = share / (1 - share) * factor
    return odds / (1 + odds)


def _sure(wrong: float) -> float:
    return round(min(_MOST, max(_LEAST, 1 - wrong)), 2)


def _is_doubtful(proof: Evidence, least: float) -> bool:
    return proof.confidence is not None and proof.confidence < least and proof.status != "absent"


def _without(stage: Stage, merged: Merged, doubtful: Sequence[Evidence]) -> Merged:
    """The answer without some of its values, as far as the schema lets them be absent."""
    data = deepcopy(merged.data)
    gone: dict[str, Evidence | None] = {}
    told: list[Finding] = []
    for proof in doubtful:
        node = stage.schema.tree.at(proof.pointer)
        parent, _, last = proof.pointer.rpartition("/")
        inner = at(data, parent) if parent or proof.pointer else None
        why = f"its confidence {proof.confidence:.2f} is below {stage.min_confidence:.2f}"
        if isinstance(inner, dict) and node is not None and not (node.nullable or node.required):
            del inner[_key(last)]
            gone[proof.pointer] = None
        elif inner is not None and (node is None or node.nullable):
            inner[int(last) if isinstance(inner, list) else _key(last)] = None
            gone[proof.pointer] = Evidence(proof.pointer, "absent", model=proof.model)
        else:
            why += ", and the schema allows neither null nor its absence"
            told.append(Finding("low_confidence", proof.pointer, why))
            continue
        told.append(Finding("low_confidence", proof.pointer, f"left out: {why}", "warning"))
    evidence = (gone.get(each.pointer, each) for each in merged.evidence)
    kept = tuple(each for each in evidence if each)
    return replace(merged, data=data, evidence=kept, notes=(*merged.notes, *told))


def _key(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")
