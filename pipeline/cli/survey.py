"""What a run over an earlier output will do and why, said before it pays."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline.cli.output import Output

if TYPE_CHECKING:
    from pipeline.runner import Survey
    from pipeline.runner.survey import Why

_WORDS: "dict[Why, str]" = {
    "new": "new",
    "file_changed": "for a changed file",
    "settings_changed": "for changed settings",
    "output_missing": "for a missing data file",
    "unfinished": "unfinished",
    "retry": "asked again",
    "force": "forced",
}


def facts(survey: "Survey") -> dict[str, Any]:
    """The Survey as the event `plan` has it."""
    return {
        "found": survey.unchanged + survey.to_do,
        "unchanged": survey.unchanged,
        **{reason: survey.reasons.get(reason, 0) for reason in _WORDS},
        "changes": dict(survey.changes),
        "gone": survey.gone,
        "expected_usd": None if survey.cost_usd is None else float(survey.cost_usd),
    }


def tell(survey: "Survey", spent: Decimal | None, output: Output) -> None:
    """Say it: in one or two lines on a terminal, else as `key=value`; `spent` is what the output cost so far."""
    if output.terminal:
        for line in in_words(survey, spent):
            output.say(line)
        return
    told = {name: value for name, value in facts(survey).items() if value not in (0, {}, None)}
    changes = "; ".join(f"{number} {what}" for what, number in survey.changes.items())
    cost = "unknown" if survey.cost_usd is None else f"{survey.cost_usd:.4f}"
    output.facts("run plan", **(told | {"changes": changes or None, "expected_usd": cost}))


def in_words(survey: "Survey", spent: Decimal | None) -> list[str]:
    """One line on what will be done and what it costs, and one on what changed."""
    done = f"{survey.unchanged:,} documents are done"
    if not survey.to_do:
        return [f"{done}, and nothing changed"]
    reasons = ", ".join(f"{n:,} {_WORDS[why]}" for why, n in survey.reasons.items())
    lines = [f"{done}; {survey.to_do:,} to do: {reasons}{_cost(survey.cost_usd, spent)}"]
    changes = sorted(survey.changes.items(), key=lambda each: -each[1])
    more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    if changes:
        told = "; ".join(f"{what} ({number:,})" for what, number in changes[:3])
        lines.append(f"  {told}{more}")
    return lines


def _cost(expected: Decimal | None, spent: Decimal | None) -> str:
    if expected is None:
        return "; --dry-run tells what that will cost"
    if not expected:
        return "; no new answers are expected" if spent else ""
    beside = f", beside {spent:.4f} USD so far" if spent else ""
    return f"; about {expected:.4f} USD{beside}, less where answers are stored"
