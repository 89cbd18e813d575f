"""A document through the stages with stored answers alone: what they say is followed, what is not there is priced."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple

from pipeline import deriving
from pipeline.asking import Question, Ways
from pipeline.document import Document
from pipeline.estimating.chances import chance
from pipeline.graph import Halt, reads
from pipeline.results import Result
from pipeline.runner.answering import Answering
from pipeline.runner.branches import Branch
from pipeline.sources import Source
from pipeline.stages import Stage
from pipeline.tools import Function

#: What became of the first questions of a stage: all answered already, some not, or the service takes none of them.
Found = Literal["stored", "open", "refused"]
NOT_ASKED: Final = "not_asked"


class Maybe(NamedTuple):
    """A stage that hangs on answers which are not there yet, of what document, and for what share it is expected."""

    stage: Stage
    document: Document
    share: float


class Following(Answering):
    """Answers with what is stored; a stage that is not answered yet is `pending`, and so is what reads it.

    `open` are the stages that hang on such.
    """

    def __init__(
        self, of: Answering, ways: Ways, price: Callable[[Sequence[Question]], Awaitable[Found]]
    ) -> None:
        """`ways` send nothing; `price` counts what would be sent."""
        own = (of.plan, of.ledger, of.tally, of.loaders)
        super().__init__(*own, ways, of.gates, of.run, of.stages, of.chosen, contexts=of.contexts)
        self._price = price
        self._by_name = {stage.name: stage for stage in of.plan.stages}
        self._looked_at = {name for stage in of.plan.stages for name in reads(stage)}
        self._shares: dict[str, float] = {}
        self.open: list[Maybe] = []

    async def answer(self, stage: Stage, branch: Branch, source: Source) -> Result:
        """What is stored of a stage; `pending` where that is not all of it, or nobody looks at it."""
        left = replace(self._empty(stage, branch.document), status="pending", reason=NOT_ASKED)
        found: Found = "stored"
        if stage.task == "python":
            if any(page.is_blind for page in branch.document.pages):
                found = "open"  # words are not recognised only to be counted
        else:
            document, looking = branch.shown_to(stage)
            asks = await self.questions(stage, document, looking)
            found = await self._price(asks) if asks else "stored"
        if found == "refused":
            return replace(left, status="failed")
        if found == "stored" and (stage.name in self._looked_at or stage.task == "split"):
            result = await super().answer(stage, branch, source)
            if not _is_cut_short(stage, result):
                return result
        self._shares[stage.name] = 1.0
        return left

    async def called(self, function: Function, arguments: Mapping[str, Any]) -> Any:
        """Nothing: a dry run runs no code of the user's."""
        raise RuntimeError("a dry run runs no functions")

    def halted(self, stage: Stage, document: Document, end: Halt) -> Result:
        """As in a run; what hangs on answers that are not there yet is noted."""
        if end.status == "pending":
            share = chance(stage, self._by_name, self._shares)
            self._shares[stage.name] = min(share, self._shares.get(stage.name, 1.0))
            self.open.append(Maybe(stage, document, share))
        return super().halted(stage, document, end)


def depth(document: Document, root: Document) -> int:
    """How many fan-outs lie behind a document."""
    path, found = document.path, 0
    while path != root.path and (parent := deriving.taken_apart(path)[0]) != path:
        path, found = parent, found + 1
    return found


def _is_cut_short(stage: Stage, result: Result) -> bool:
    """Whether something that the Result is made of is not stored: what is asked again, or what a function gives."""
    if stage.task == "python":
        return result.status == "failed"
    return result.reason == "not_recorded" or any(
        finding.rule == "not_recorded" for finding in result.findings
    )
