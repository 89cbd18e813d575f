"""The smallest next question: what failed, with its findings, about the pages concerned.

`leaves.py` asks again for leaves and arrays of an extraction, `whole.py` for the whole answer of any other task, `translated.py` for texts whose translation does not keep
what it must;
`targets.py` has what both need.
"""

from collections.abc import Collection, Sequence

from pipeline.document import Document
from pipeline.prompts import Ask
from pipeline.repair import leaves, translated, whole
from pipeline.repair.targets import Round, Target
from pipeline.results import Finding
from pipeline.stages import Kind, Stage
from pipeline.windows import Merged

__all__ = ["Round", "Target", "failing", "questions"]


def failing(
    stage: Stage, merged: Merged, findings: Sequence[Finding], on: Collection[Kind] | None = None
) -> tuple[Target, ...]:
    """What of a judged answer is to be asked again; of certain kinds only, with `on`. See `leaves` and `whole`."""
    asked = leaves.failing if stage.by_leaf else whole.failing
    return asked(stage, merged, findings, on)


def questions(
    stage: Stage, document: Document, merged: Merged, targets: Sequence[Target], asking: Round
) -> tuple[Ask, ...]:
    """The questions that may settle the targets; none where each was asked often enough."""
    if stage.by_leaf:
        return leaves.questions(stage, document, merged, targets, asking)
    if stage.task == "translate":
        return translated.questions(stage, document, merged, asking) if targets else ()
    return whole.questions(stage, merged, targets, asking)
