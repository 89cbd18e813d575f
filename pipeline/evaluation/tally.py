"""Counting: what became of the leaves of each field, by document, confidence and evidence."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.evaluation.compare import Compared, Leaf, Outcome, Rows
from pipeline.evaluation.intervals import Sums, wilson
from pipeline.evaluation.methods import strictly
from pipeline.evaluation.rules import json_type_fits
from pipeline.evaluation.shapes import (
    Band,
    Calibration,
    Cost,
    DocumentScore,
    EvidenceScore,
    JointScore,
    RowScore,
    Score,
    Wrong,
)
from pipeline.results import Evidence, EvidenceStatus, Result

#: Values with at least this confidence are meant to be taken unseen; the others to be reviewed.
HIGH = 0.85
#: Bins of the finer table, and of the expected calibration error.
BINS = 10
#: Wrong leaves kept of each field, the first ones by document.
MOST_WRONG = 20

#: From the surest evidence to none.
_STATUSES: tuple[EvidenceStatus, ...] = ("verified", "derived", "ambiguous", "not_found")
_GOLD: frozenset[Outcome] = frozenset({"right", "missed", "misread"})
_GIVEN: frozenset[Outcome] = frozenset({"right", "misread", "fabricated", "extra"})
_WRONG: frozenset[Outcome] = frozenset({"missed", "misread", "fabricated", "extra"})


class Tally:
    """Takes documents one by one; keeps counts, and one line for each document."""

    def __init__(self) -> None:
        self.documents: list[DocumentScore] = []
        self.wrong: list[Wrong] = []
        self._overall = _Field("")
        self._fields: dict[str, _Field] = {}
        self._arrays: dict[str, list[int]] = {}
        self._confidences = _Confidences()
        self._costs = _Costs()
        self._greedy = 0

    def add(
        self, name: str, status: str, found: Compared, prefix: str = "", *, answered: bool = True
    ) -> None:
        """Count one document: what it is called, what became of it, and its leaves.

        `prefix` stands before the pointers of fields, where there are several stages. A document
        that was not answered is not right, even if there was nothing to find in it.
        """
        by_field: dict[str, list[Leaf]] = {}
        for leaf in found.leaves:
            by_field.setdefault(prefix + leaf.rule.pointer, []).append(leaf)
        for pointer, leaves in by_field.items():
            field = self._fields.get(pointer)
            if field is None:
                field = self._fields[pointer] = _Field(leaves[0].rule.method.name)
            field.add(leaves)
            wrong = [leaf for leaf in leaves if leaf.outcome in _WRONG]
            for leaf in wrong[: MOST_WRONG - field.kept]:
                field.kept += 1
                self.wrong.append(
                    Wrong(name, pointer, leaf.pointer, leaf.outcome, leaf.gold, leaf.given)
                )
        counts = self._overall.add(found.leaves, answered=answered)
        self.documents.append(
            DocumentScore(
                path=name,
                status=status,
                right=counts["right"],
                missed=counts["missed"],
                misread=counts["misread"],
                fabricated=counts["fabricated"] + counts["extra"],
            )
        )
        for array in found.arrays:
            self._array(prefix, array)

    def _array(self, prefix: str, array: Rows) -> None:
        sums = self._arrays.setdefault(prefix + array.rule.pointer, [0, 0, 0])
        for place, number in enumerate((array.gold, array.given, array.paired)):
            sums[place] += number
        self._greedy += not array.best

    def answered(self, result: Result, found: Compared, by_rules: Mapping[str, str]) -> None:
        """Count what a Result says about its values, what rules say of each leaf, and what it cost."""
        self._confidences.add(result.evidence, found.leaves, by_rules)
        self._costs.add(result)

    def overall(self) -> Score:
        """All leaves of all documents as one."""
        return self._overall.score()

    def fields(self) -> dict[str, Score]:
        """Each field by its pointer, in the order of first sight."""
        return {
            pointer: field.score() for pointer, field in self._fields.items() if field.is_scored()
        }

    def rows(self) -> dict[str, RowScore]:
        """Each array by its pointer."""
        return {pointer: RowScore(*sums) for pointer, sums in self._arrays.items()}

    def calibration(self) -> Calibration:
        """How often values of each band of confidence are right."""
        return self._confidences.calibration()

    def evidence(self) -> dict[str, EvidenceScore]:
        """How often values of each status of evidence are right."""
        return self._confidences.by_status()

    def evidence_and_rules(self) -> tuple[JointScore, ...]:
        """The same, of each thing that rules say of values."""
        return self._confidences.joint()

    def cost(self) -> Cost:
        """What the answers cost."""
        return self._costs.cost(self._overall.counts["right"])

    def notes(self) -> list[str]:
        """What was not scored, or not at its best."""
        notes = []
        if self._greedy:
            told = (
                "have too many rows to try every pair: equal ones were paired first, then those that "
                "share rare values"
            )
            notes.append(f"{self._greedy} arrays {told}")
        if self._overall.counts["unscored"]:
            told = "values are given for keys that gold does not have: not scored"
            notes.append(f"{self._overall.counts['unscored']} {told}")
        return notes


class _Field:
    """The counts of one field, or of all of them."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.counts: Counter[str] = Counter()
        self.kept = 0
        self._strict = 0
        self._wrong_type = 0
        self._documents = 0
        self._whole = 0
        self._sums = Sums()
        self._filled = Sums()

    def add(self, leaves: Iterable[Leaf], *, answered: bool = True) -> Counter[str]:
        """Count the leaves of one document; what they came to."""
        counts: Counter[str] = Counter()
        for leaf in leaves:
            counts[leaf.outcome] += 1
            if leaf.outcome == "right":
                self._strict += strictly(leaf.gold, leaf.given)
            if leaf.outcome in _GIVEN:
                self._wrong_type += not json_type_fits(leaf.rule.kind, leaf.gold, leaf.given)
        self.counts.update(counts)
        gold = sum(counts[outcome] for outcome in _GOLD)
        given = sum(counts[outcome] for outcome in _GIVEN)
        self._sums.add(counts["right"], gold, given)
        self._filled.add(counts["fabricated"], counts["fabricated"] + counts["empty"], 0)
        if gold or given or counts["empty"] or not answered:
            self._documents += 1
            self._whole += answered and counts["right"] == gold == given
        return counts

    def is_scored(self) -> bool:
        return self._documents > 0

    def score(self) -> Score:
        counts = self.counts
        gold = sum(counts[outcome] for outcome in _GOLD)
        return Score(
            right=counts["right"],
            missed=counts["missed"],
            misread=counts["misread"],
            fabricated=counts["fabricated"] + counts["extra"],
            gold_nulls=counts["fabricated"] + counts["empty"],
            filled_though_null=counts["fabricated"],
            filled_share=self._filled.recall(),
            wrong_type=self._wrong_type,
            exact=self._strict / gold if gold else None,
            documents=self._documents,
            documents_right=self._whole,
            document_share=wilson(self._whole, self._documents),
            precision=self._sums.precision(),
            recall=self._sums.recall(),
            f1=self._sums.f1(),
            compared_by=self.method or None,
        )


@dataclass(slots=True)
class _Bin:
    values: int = 0
    right: int = 0
    confidence: float = 0.0

    def add(self, confidence: float, *, right: bool) -> None:
        self.values += 1
        self.right += right
        self.confidence += confidence

    def band(self, low: float, high: float) -> Band:
        share = wilson(self.right, self.values)
        mean = self.confidence / self.values if self.values else None
        return Band(low, high, self.values, self.right, mean, share)


class _Confidences:
    """Confidence and evidence of the values given, against whether they are right."""

    def __init__(self) -> None:
        self._bins = [_Bin() for _ in range(BINS)]
        self._review, self._high = _Bin(), _Bin()
        self._unknown = 0
        self._status: dict[tuple[str, str], list[int]] = {}

    def add(
        self, evidence: Iterable[Evidence], leaves: Iterable[Leaf], by_rules: Mapping[str, str]
    ) -> None:
        known = {each.pointer: each for each in evidence}
        for leaf in leaves:
            if leaf.outcome not in _GIVEN:
                continue
            right = leaf.outcome == "right"
            told = known.get(leaf.pointer)
            if told is not None:
                key = (told.status, by_rules.get(leaf.pointer, "none"))
                sums = self._status.setdefault(key, [0, 0])
                sums[0] += 1
                sums[1] += right
            if told is None or told.confidence is None:
                self._unknown += 1
                continue
            confidence = min(1.0, max(0.0, told.confidence))
            self._bins[min(BINS - 1, int(confidence * BINS))].add(confidence, right=right)
            (self._high if confidence >= HIGH else self._review).add(confidence, right=right)

    def calibration(self) -> Calibration:
        values = sum(each.values for each in self._bins)
        gaps = sum(abs(each.right - each.confidence) for each in self._bins)
        return Calibration(
            high=self._high.band(HIGH, 1.0),
            review=self._review.band(0.0, HIGH),
            bins=tuple(
                each.band(number / BINS, (number + 1) / BINS)
                for number, each in enumerate(self._bins)
            ),
            expected_error=gaps / values if values else None,
            unknown=self._unknown,
        )

    def by_status(self) -> dict[str, EvidenceScore]:
        sums: dict[str, list[int]] = {}
        for (status, _), counts in self._status.items():
            both = sums.setdefault(status, [0, 0])
            both[:] = map(sum, zip(both, counts, strict=True))
        return {
            status: EvidenceScore(
                sums[status][0], sums[status][1], wilson(sums[status][1], sums[status][0])
            )
            for status in sorted(sums, key=_certainty)
        }

    def joint(self) -> tuple[JointScore, ...]:
        ordered = sorted(self._status.items(), key=lambda each: (_certainty(each[0][0]), each[0]))
        return tuple(
            JointScore(status, by_rules, values, right, wilson(right, values))
            for (status, by_rules), (values, right) in ordered
        )


def _certainty(status: str) -> int:
    known: tuple[str, ...] = _STATUSES
    return known.index(status) if status in known else len(known)


class _Costs:
    """Money and tokens of the Results that were scored."""

    def __init__(self) -> None:
        self._known = Decimal(0)
        self._results = self._unpriced = 0
        self._tokens: Counter[str] = Counter()

    def add(self, result: Result) -> None:
        cost = result.cost_usd
        self._results += 1
        self._unpriced += cost is None
        self._known += cost or Decimal(0)
        for attempt in result.attempts:
            self._tokens.update(attempt.tokens)

    def cost(self, right: int) -> Cost:
        unknown = self._unpriced or not self._results
        total: Any = None if unknown else self._known
        return Cost(
            usd=None if total is None else float(total),
            usd_per_right=None if total is None or not right else float(total / right),
            unpriced_documents=self._unpriced,
            tokens=dict(self._tokens),
        )
