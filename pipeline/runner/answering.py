"""One stage of one document, part or item: its first questions, and the Result that comes of them or in their place."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline import tools
from pipeline.asking import Beside, Question, Ways
from pipeline.config import Plan, cache_folder
from pipeline.document import Document
from pipeline.errors import Fault, FieldsiftError, FunctionFailed, Stopped
from pipeline.extracting import extract, unasked, without_data
from pipeline.eyes import Seen
from pipeline.graph import Halt, given
from pipeline.judge import judge
from pipeline.ledger import Ledger, Pass
from pipeline.limits import Gate
from pipeline.loaders import Loaders
from pipeline.results import Coverage, DocumentRef, Finding, Result, Severity, Status
from pipeline.runner.branches import Branch
from pipeline.runner.functions import result_of
from pipeline.runner.shares import Shares
from pipeline.runner.steps import note_fault, reason_of, reference
from pipeline.runner.tally import Tally
from pipeline.sources import Source
from pipeline.stages import DOCUMENT, Stage
from pipeline.tools import Function
from pipeline.windows import cut


@dataclass(slots=True)
class Answering:
    """Who answers the stages of a run; `shares` is there where documents may have to wait.

    `stages` are those that documents go through; answers of earlier runs are passed over for the `chosen` ones alone.
    """

    plan: Plan
    ledger: Ledger
    tally: Tally
    loaders: Loaders
    ways: Ways
    gates: Mapping[str, Gate]
    run: Pass
    stages: tuple[Stage, ...]
    chosen: frozenset[str]
    shares: Shares | None = None
    contexts: Mapping[str, Beside] = field(default_factory=dict)
    _sha256: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._sha256 = {stage.name: stage.sha256 for stage in self.plan.stages}

    async def answer(self, stage: Stage, branch: Branch, source: Source) -> Result:
        """What a stage makes of a document, part or item.

        Raises:
            FieldsiftError: the run can't go on or is to stop; Withheld: the document waits for a decision.

        """
        empty = self._empty(stage, branch.document)
        try:
            if stage.task == "python":
                return await self._of_function(stage, branch, empty)
            document, looking = branch.shown_to(stage)
            empty = replace(empty, coverage=Coverage(pages=document.page_count))
            asked = await self.questions(stage, document, looking)
            if not asked:
                return unasked(stage, document, empty)
            return await extract(
                asked[0],
                [each.ask for each in asked],
                self.ways,
                empty,
                self._note_stop,
                lambda: self._higher(asked[0], source),
            )
        except Fault as error:  # our own fault must not cost the other documents
            empty = replace(empty, attempts=error.attempts)
            return self._faulty(empty, branch.document, error.__cause__ or error)
        except FieldsiftError:
            raise
        except Exception as error:  # noqa: BLE001, as above
            return self._faulty(empty, branch.document, error)

    async def _of_function(self, stage: Stage, branch: Branch, empty: Result) -> Result:
        """What a function makes of a document or of what it reads of earlier stages, judged as any data."""
        looks = DOCUMENT in stage.inputs
        document = (await branch.looking).document if looks else branch.document
        since = self._since(stage, document)
        said = dict(given(stage, branch.known))
        try:
            data = await result_of(stage, document, said, self.ways.asker, since, self.called)
        except FunctionFailed as error:
            return without_data(empty, "failed", error.reason, str(error))
        found = tuple(await asyncio.to_thread(judge, stage, data))
        wrong = next((each.rule for each in found if each.severity == "error"), None)
        status: Status = "invalid" if wrong else "valid"
        return replace(empty, status=status, reason=wrong, data=data, findings=found)

    async def called(self, function: Function, arguments: Mapping[str, Any]) -> Any:
        """What a function of the user's returns."""
        return await tools.called(function, arguments)

    async def questions(
        self, stage: Stage, document: Document, looking: Awaitable[Seen]
    ) -> tuple[Question, ...]:
        """What a stage asks first about a document, one question a window, none where it has none of the stage's pages.

        `looking` is awaited where an engine needs the words.
        """
        if stage.task == "python":
            return ()
        gates = self._gates_of(stage)
        since = self._since(stage, document)
        beside = self.contexts.get(stage.name)
        tokens = [await beside.tokens(stage, gate) for gate in gates] if beside else [0]
        endpoints = [gate.endpoint for gate in gates]
        asks = await asyncio.to_thread(cut, stage, document, *endpoints, beside=max(tokens))
        told: set[int] = set()
        return tuple(
            Question(
                stage,
                document,
                replace(ask, take=take),
                looking,
                gates,
                self.loaders,
                since,
                told,
                beside,
                lambda: self._left(stage),
            )
            for ask in asks
            for take in range(1, 1 + (stage.votes if gates[0].provider.stored else 1))
        )

    def _left(self, stage: Stage) -> int:
        """About how many documents are still to come through a stage; 0 where that depends on what earlier ones say."""
        stages = self.plan.stages[: 1 + [each.name for each in self.plan.stages].index(stage.name)]
        if stage.when or any(each.task == "split" or each.for_each for each in stages):
            return 0
        return max(0, self.tally.found - self.tally.done)

    def _higher(self, asked: Question, source: Source) -> tuple[Question, ...]:
        """The question to each next model of a stage; none where the document is not among those that go up.

        Raises:
            Withheld: it is not decided yet.

        """
        if self.shares and not self.shares.may_rise(source, asked.stage.name, asked.since):
            return ()
        return tuple(
            replace(asked, stage=stage, gates=self._gates_of(stage), uses=lambda: 0)
            for stage in asked.stage.higher
        )

    def _gates_of(self, stage: Stage) -> tuple[Gate, ...]:
        return tuple(self.gates[name] for name in (str(stage.model), *stage.fallback))

    # lines without an answer --------------------------------------------------------------

    def _since(self, stage: Stage, document: Document) -> int:
        """The run from which on answers count."""
        if stage.name not in self.chosen:
            return 0
        return self.ledger.since(document.path, stage.name, self.run)

    def _empty(self, stage: Stage, document: Document) -> Result:
        return Result(
            document=reference(document),
            stage=stage.name,
            status="failed",
            schema_sha256=stage.schema.sha256,
            stage_sha256=self._sha256[stage.name],
            engine=stage.engine,
            coverage=Coverage(pages=0 if stage.task == "python" else document.page_count),
            model_class=stage.schema.model_class,
        )

    def halted(self, stage: Stage, document: Document, end: Halt) -> Result:
        """The line of a stage that does not go ahead; of one that is skipped nothing is wrong."""
        severity: Severity = "warning" if end.status == "skipped" else "error"
        finding = Finding(end.reason, "", end.message, severity)
        empty = self._empty(stage, document)
        return replace(empty, status=end.status, reason=end.reason, findings=(finding,))

    def _faulty(self, empty: Result, document: Document, error: BaseException) -> Result:
        folder = self.plan.output / ".fieldsift" if self.plan.output else cache_folder()
        self.tally.fault_log = note_fault(folder, document, error)
        told = f"a fault of fieldsift itself ({type(error).__name__}); see {self.tally.fault_log}"
        return without_data(empty, "failed", "internal_error", told)

    def _note_stop(self, error: Stopped) -> None:
        self.tally.stopped = self.tally.stopped or error

    def not_reached(self, source: Source) -> Result:
        """The line of an input that the budget or a quota came before."""
        why = str(self.tally.stopped)
        stage = next(each for each in self.stages if each.name in self.chosen)
        empty = Result(
            DocumentRef(source.path),
            stage.name,
            "over_budget",
            stage_sha256=self._sha256[stage.name],
            engine=stage.engine,
        )
        return without_data(empty, "over_budget", reason_of(self.tally.stopped), why)
