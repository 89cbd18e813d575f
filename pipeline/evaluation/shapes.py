"""What an evaluation comes to, as plain data: Evaluation, Score, RowScore, Calibration, Cost and their JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.evaluation.intervals import Share

#: Longer texts of wrong values are cut in the JSON.
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Score:
    """The leaves of one field, or of all of them.

    `right`, `missed` and `misread` add up to the leaves that have a value in gold; `right`, `misread`
    and `fabricated` to the values given. `filled_though_null` of the `gold_nulls` (leaves that gold says
    to be absent; `filled_share` is the one of the other) are part of `fabricated`; the rest of it are
    values of rows that gold doesn't have.
    `wrong_type` counts values given in another JSON type, right or not. `exact` is the share of gold's
    values that are given as the very same JSON value. `documents_right` of `documents` have the field
    (or everything) right, nothing missed and nothing made up. Shares are None where there is nothing to divide by.
    """

    right: int
    missed: int
    misread: int
    fabricated: int
    gold_nulls: int
    filled_though_null: int
    filled_share: Share | None
    wrong_type: int
    exact: float | None
    documents: int
    documents_right: int
    document_share: Share | None
    precision: Share | None
    recall: Share | None
    f1: Share | None
    compared_by: str | None = None


@dataclass(frozen=True, slots=True)
class RowScore:
    """The rows of one array: in gold, given, and pairs that have at least one right value."""

    gold: int
    given: int
    paired: int

    def to_json(self) -> dict[str, Any]:
        """With the shares that follow."""
        both = self.gold + self.given
        return {
            **asdict(self),
            "precision": self.paired / self.given if self.given else None,
            "recall": self.paired / self.gold if self.gold else None,
            "f1": 2 * self.paired / both if both else None,
        }


@dataclass(frozen=True, slots=True)
class Band:
    """Values whose confidence lies in a band: how many, how many are right, the mean confidence."""

    low: float
    high: float
    values: int
    right: int
    confidence: float | None
    share: Share | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidences can be believed.

    `expected_error` is the mean distance of confidence and share right over ten bins, weighted by
    their values. `unknown` values have no confidence.
    """

    high: Band
    review: Band
    bins: tuple[Band, ...]
    expected_error: float | None
    unknown: int


@dataclass(frozen=True, slots=True)
class EvidenceScore:
    """Values with one status of evidence: how many, and how many are right."""

    values: int
    right: int
    share: Share | None


@dataclass(frozen=True, slots=True)
class JointScore:
    """Values with one status of evidence that the rules say one thing of: `passed` an equation or a check, `failed`, or `none`."""

    status: str
    rules: str
    values: int
    right: int
    share: Share | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the scored answers cost; None is unknown. `tokens` by kind."""

    usd: float | None
    usd_per_right: float | None
    unpriced_documents: int
    tokens: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """One document: its status, and what became of its leaves.

    The status is that of its Result (`data` where there are no Results), or `no output` or `ambiguous`
    (it is not clear which document the gold belongs to): then everything in gold is missed.
    """

    path: str
    status: str
    right: int
    missed: int
    misread: int
    fabricated: int

    @property
    def whole(self) -> bool:
        """Whether everything is right."""
        return not (self.missed or self.misread or self.fabricated)


@dataclass(frozen=True, slots=True)
class Wrong:
    """A wrong leaf: the document, the field, its own pointer, what is wrong, and both values.

    `outcome` is missed, misread, fabricated (gold says null) or extra (gold has no such row).
    """

    document: str
    field: str
    pointer: str
    outcome: str
    gold: Any
    given: Any


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results against gold.

    `fields` by pointer with `*` for items (`/lines/*/amount`), with the stage's name in front
    (`invoice:/total`) where there are several; then the Results of one document count as one each.
    `wrong` holds the first wrong leaves of each field.
    """

    gold: str
    output: str
    engine: str | None
    stages: tuple[str, ...]
    overall: Score
    fields: Mapping[str, Score]
    rows: Mapping[str, RowScore]
    documents: tuple[DocumentScore, ...]
    without_gold: int
    calibration: Calibration
    evidence: Mapping[str, EvidenceScore]
    evidence_and_rules: tuple[JointScore, ...]
    cost: Cost
    notes: tuple[str, ...]
    wrong: tuple[Wrong, ...] = field(repr=False, default=())

    def to_json(self) -> dict[str, Any]:
        """The whole as JSON; what `--baseline` reads again."""
        statuses: dict[str, int] = {}
        for each in self.documents:
            statuses[each.status] = statuses.get(each.status, 0) + 1
        return {
            "version": 1,
            "gold": self.gold,
            "output": self.output,
            "engine": self.engine,
            "stages": list(self.stages),
            "overall": asdict(self.overall),
            "fields": {pointer: asdict(score) for pointer, score in self.fields.items()},
            "rows": {pointer: rows.to_json() for pointer, rows in self.rows.items()},
            "statuses": statuses,
            "without_gold": self.without_gold,
            "calibration": asdict(self.calibration),
            "evidence": {name: asdict(each) for name, each in self.evidence.items()},
            "evidence_and_rules": [asdict(each) for each in self.evidence_and_rules],
            "cost": asdict(self.cost),
            "notes": list(self.notes),
            "wrong": [_shortened(asdict(each)) for each in self.wrong],
            "documents": [asdict(each) for each in self.documents],
        }


def _shortened(wrong: dict[str, Any]) -> dict[str, Any]:
    return {name: _cut(value) for name, value in wrong.items()}


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST:
        return value[:_LONGEST] + "…"
    if isinstance(value, list | dict) and len(str(value)) > _LONGEST:
        return str(value)[:_LONGEST] + "…"
    return value
