"""Stages whose `when` or fan-out hangs on answers that are not there yet: how often they are counted, and on what.

The rule is plain, and no measured one. Low counts none of these questions. Expected counts an even share of the labels
where `when` asks for labels, half of the documents for any other condition, and one part or one item of each
document; a stage is expected no more often than what it reads. High counts all documents, each page as a part of its own,
and MOST_ITEMS items of each array.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pipeline import deriving
from pipeline.document import Document
from pipeline.graph import asked, chosen, given, items, pairs, reads, scopes
from pipeline.results import DocumentRef, Result
from pipeline.schema import Schema
from pipeline.schema.sample import NotMade, sample
from pipeline.stages import DOCUMENT, Stage

#: Items of an array whose length is not known yet, at the highest.
MOST_ITEMS: Final = 10
_HALF: Final = 0.5


def chance(stage: Stage, stages: Mapping[str, Stage], open_: Mapping[str, float]) -> float:
    """The expected share of documents that a stage is asked about.

    `open_` are the stages whose answers are not there yet, and the share of documents that they are asked about.
    """
    shares = [open_[name] for name in reads(stage) if name in open_]
    return _when(stage, stages, open_) * min(shares, default=1.0)


def _when(stage: Stage, stages: Mapping[str, Stage], open_: Mapping[str, float]) -> float:
    if not isinstance(stage.when, Mapping):
        return _HALF if any(name in open_ for name, _ in asked(stage)) else 1.0
    share = 1.0
    for key, value in pairs(stage.when):
        if key.partition(".")[0] in open_:
            share *= _of_label(stages.get(key), value)
    return share


def _of_label(stage: Stage | None, value: Any) -> float:
    """The share of the labels that a condition asks for; a half of anything else."""
    if stage is None or stage.task not in {"classify", "split"} or not stage.labels:
        return _HALF
    wanted = value if isinstance(value, list | tuple) else [value]
    choices = {*stage.labels, *wanted}  # `unsure` is one where it is asked for
    return len(set(wanted)) / len(choices)


@dataclass(frozen=True, slots=True)
class Fan:
    """Which fan-outs are not known yet between a document and a stage: whether parts, and whether items of an array."""

    parts: bool
    items: bool

    def __or__(self, other: "Fan") -> "Fan":
        return Fan(self.parts or other.parts, self.items or other.items)


def fan(stages: Sequence[Stage], stage: Stage, depth: int) -> Fan:
    """The fan-outs of a stage that a document has not gone through, of which it has so many behind it."""
    every = dict(zip((each.name for each in stages), scopes(stages), strict=True))
    tasks = {each.name: each.task for each in stages}
    left = [tasks[name] for name in every[stage.name][depth:]]
    return Fan("split" in left, any(task != "split" for task in left))


class StandIns:
    """Documents in the place of those that are not known yet: earlier answers are made-up ones of their schema."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = stages
        self._every = dict(zip((each.name for each in stages), scopes(stages), strict=True))
        self._known = {each.name: _made(each) for each in stages}

    def shown(self, stage: Stage, document: Document, what: Fan) -> Document:
        """About what a stage would be asked of a document, or of one of its items."""
        known = self._seen_by(stage)
        if what.items:
            document = deriving.item(document.path, "/0", self._item(stage))
        said = given(stage, known)
        if stage.fields:
            return deriving.of_data(document.path, chosen(stage, known), document.parent)
        if DOCUMENT not in stage.inputs:
            return deriving.of_json(document, said)
        return replace(document, given=said) if said else document

    def _seen_by(self, stage: Stage) -> Mapping[str, Result | tuple[Result, ...]]:
        inner = self._every[stage.name]
        found: dict[str, Result | tuple[Result, ...]] = {}
        for name, result in self._known.items():
            outer = self._every[name]
            found[name] = result if inner[: len(outer)] == outer else (result,)
        return found

    def _item(self, stage: Stage) -> Any:
        """An item of the innermost array that a stage goes through, itself or with the one that does."""
        makers = {each.name: each for each in self._stages if each.for_each not in {None, DOCUMENT}}
        maker = next(makers[name] for name in reversed(self._every[stage.name]) if name in makers)
        return next((value for _, value in items(maker, self._known)), "")


def _made(stage: Stage) -> Result:
    return Result(DocumentRef(""), stage.name, "valid", data=_sample(stage.schema))


def _sample(schema: Schema) -> Any:
    try:
        return sample(schema, 0)
    except (NotMade, RecursionError):
        return None


def told(stages: Sequence[Stage], open_: Mapping[str, Fan]) -> Iterator[str]:
    """What the figures of stages say that hang on answers which are not there yet, in sentences."""
    every = {stage.name: open_[stage.name] for stage in stages if stage.name in open_}
    if every:
        yield (
            f"{', '.join(every)} hang on answers that are not there yet: low counts none of their questions, expected an "
            f"even share of the labels (half, for other conditions), high every document"
        )
    if parts := [name for name, what in every.items() if what.parts]:
        yield (
            f"how many parts a document has is not known yet: for {', '.join(parts)} expected counts one, "
            f"high one for each page"
        )
    if arrays := [name for name, what in every.items() if what.items]:
        yield (
            f"how many items a document has is not known yet: for {', '.join(arrays)} expected counts one, "
            f"high {MOST_ITEMS}; the high figure does not cover more"
        )
