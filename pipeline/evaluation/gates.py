"""Gates: what an evaluation must reach, and how it stands against a former one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.evaluation.naming import resolved
from pipeline.evaluation.shapes import Evaluation, Score
from pipeline.results import Finding

#: Shares are quotients of counts; what floating point does to them is no loss.
_NOISE = 1e-9


@dataclass(frozen=True, slots=True)
class Gates:
    """The least F1 overall and by field, and a former evaluation that none may fall below.

    `baseline` is the JSON of a former evaluation; F1 may be lower by `tolerance`, overall and in each
    field. A field of the baseline that is no longer scored counts as lower.
    """

    overall: float | None = None
    fields: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, Any] | None = None
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no F1 can be held against (UsageError)."""
        told = {"--fail-under": self.overall, "--tolerance": self.tolerance}
        told |= {f"--fail-under-field {name}": least for name, least in self.fields.items()}
        for name, share in told.items():
            if share is not None and not 0 <= share <= 1:  # NaN is in no range
                raise UsageError(f"{name}: {share} is not a number from 0 to 1")


def missed(evaluation: Evaluation, gates: Gates) -> tuple[Finding, ...]:
    """The gates that the evaluation misses, each as an error; a share that can't be told misses too.

    Raises:
        UsageError: a field is not one of the evaluation.

    """
    findings = []
    if gates.overall is not None:
        findings += _least("fail_under", "", evaluation.overall, gates.overall)
    for name, least in gates.fields.items():
        pointer = resolved(name, list(evaluation.fields), "--fail-under-field")
        findings += _least("fail_under_field", pointer, evaluation.fields[pointer], least)
    if gates.baseline is not None:
        findings += _worse(evaluation, gates.baseline, gates.tolerance)
    return tuple(findings)


def compared_with(evaluation: Evaluation, baseline: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every field (and `""`, all together) whose F1 changed: before and now, the greatest loss first."""
    now = {"": evaluation.overall} | dict(evaluation.fields)
    before = {"": baseline["overall"]} | baseline["fields"]
    changes = []
    for pointer in [*now, *(name for name in before if name not in now)]:
        old, new = _f1(before.get(pointer)), _value(now.get(pointer))
        if old != new:
            changes.append({"field": pointer, "before": old, "now": new})
    return sorted(changes, key=_change)


def read_baseline(file: Path) -> dict[str, Any]:
    """A former evaluation, as `--json` printed it.

    Raises:
        UsageError: it is none.

    """
    try:
        told = json.loads(file.read_text("utf-8-sig"))
        shares = [_f1(told["overall"]), *(_f1(score) for score in told["fields"].values())]
        if told["version"] != 1:
            raise ValueError(f"version {told['version']!r}")
        if not all(share is None or 0 <= share <= 1 for share in shares):
            raise ValueError("an F1 is not a number from 0 to 1")
    except OSError as error:
        raise UsageError(f"--baseline {file}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"--baseline {file}: not what `fieldsift eval --json` prints: {error}"
        ) from error
    return dict(told)


def _least(rule: str, pointer: str, score: Score, least: float) -> list[Finding]:
    value = _value(score)
    if value is None:
        return [Finding(rule, pointer, f"F1 can't be told: gold has no value; at least {least}")]
    if value < least - _NOISE:
        return [Finding(rule, pointer, f"F1 {value:.4f} is below {least}")]
    return []


def _worse(evaluation: Evaluation, baseline: Mapping[str, Any], tolerance: float) -> list[Finding]:
    findings = []
    for change in compared_with(evaluation, baseline):
        old, new = change["before"], change["now"]
        if old is not None and (new is None or new < old - tolerance - _NOISE):
            told = "is not scored any more" if new is None else f"is {new:.4f}"
            message = f"F1 was {old:.4f} and {told}"
            findings.append(Finding("baseline", change["field"], message))
    return findings


def _value(score: Score | None) -> float | None:
    return score.f1.value if score and score.f1 else None


def _f1(told: Mapping[str, Any] | None) -> float | None:
    return told["f1"]["value"] if told and told["f1"] else None


def _change(change: Mapping[str, Any]) -> tuple[bool, float]:
    """Fields that are gone first, then by what they lost; new ones last."""
    if change["now"] is None:
        return False, -2.0
    return change["before"] is None, change["now"] - (change["before"] or 0.0)
