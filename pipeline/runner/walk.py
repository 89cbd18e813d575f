"""One input on the straight line: read, then through the stages; parts and items walk the later ones by themselves.

A stage with `for_each = "document"` sees the whole again, and what became of all parts and items.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pipeline.errors import Interrupted, LoadError, Stopped
from pipeline.eyes import Eyes, readable
from pipeline.graph import Halt, halt, items, scopes
from pipeline.limits import unless
from pipeline.loaders import Loaders
from pipeline.results import Coverage, Result
from pipeline.runner.answering import Answering
from pipeline.runner.branches import Branch, root
from pipeline.runner.selecting import sections
from pipeline.runner.shares import Withheld
from pipeline.runner.steps import loaded, reference, unreadable
from pipeline.runner.tally import Tally
from pipeline.sources import Source
from pipeline.stages import DOCUMENT, Stage

#: Parts and items of one document that are worked on at the same time.
AT_A_TIME: Final = 32


@dataclass(frozen=True, slots=True)
class Walker:
    """Takes inputs through the stages. `all_blind`: no endpoint sees pictures, so that words are waited for."""

    answering: Answering
    tally: Tally
    loaders: Loaders
    eyes: Eyes
    stop: asyncio.Event
    all_blind: bool

    async def walk(self, source: Source) -> list[Result]:
        """The Results of an input, one at the least.

        Raises:
            FieldsiftError: the run can't go on or is to stop; Withheld: the document waits for a decision.

        """
        if isinstance(self.tally.stopped, Stopped):
            return [self.answering.not_reached(source)]
        try:
            document, content = await unless(self.stop, loaded(source, self.loaders))
        except LoadError as error:
            return [unreadable(source, error)]
        # A model that sees answers while we look for the words that prove its answer.
        looking = asyncio.ensure_future(self.eyes.look(document, content))
        # Where no stage came so far as to need them, nobody has to hear that looking failed.
        looking.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            if self.all_blind:
                document = readable(await unless(self.stop, looking))
            self.tally.pages += document.page_count
            return await through(source, self.answering, root(document, looking))
        except Withheld:
            self.tally.pages -= document.page_count  # they are counted when it comes again
            raise
        except LoadError as error:  # its pages were found, and were not read
            found = reference(document)
            empty = unreadable(source, error)
            return [replace(empty, document=found, coverage=Coverage(pages=document.page_count))]
        finally:
            looking.cancel()


async def through(source: Source, answering: Answering, root: Branch) -> list[Result]:
    """A document through all stages: their Results, in the order of the stages and of the document.

    Raises:
        FieldsiftError: the run can't go on, is to stop, or the document waits for a decision; what was on its
            way came to its end.

    """
    return await _Walk(source, answering).through(root)


class _Walk:
    """One document through the stages."""

    def __init__(self, source: Source, answering: Answering) -> None:
        self._source, self._answering = source, answering
        self._halted = answering.halted
        self._slots = asyncio.Semaphore(AT_A_TIME)

    async def through(self, root: Branch) -> list[Result]:
        """All Results, in the order of the stages and of the document.

        Raises:
            FieldsiftError: the run can't go on, is to stop, or the document waits for a decision; what was on its
                way came to its end.

        """
        results: list[Result] = []
        every = self._answering.plan.stages
        scope = dict(zip((each.name for each in every), scopes(every), strict=True))
        names = {each.name for each in self._answering.stages}
        for whole in sections(every):
            section = [each for each in whole if each.name in names]
            found = await self._along(root, section)
            for stage in section:
                if scope[stage.name]:  # also where nothing was split, or gone through
                    own = (each for each in found if each.stage == stage.name)
                    root.known[stage.name] = tuple(e for e in own if e.reason != "no_items")
            results += found
        return results

    async def _along(
        self, branch: Branch, stages: Sequence[Stage], *, is_item: bool = False
    ) -> list[Result]:
        """The stages one after the other, up to one that makes parts or items: those go on by themselves.

        `is_item`: the first stage made this branch.
        """
        results: list[Result] = []
        for at, stage in enumerate(stages):
            is_own = is_item and at == 0  # it was looked at before its items were made
            makes_items = stage.for_each not in {None, DOCUMENT} and not is_own
            end = None if is_own else halt(stage, branch.known)
            if end is None and makes_items:
                return results + await self._items(branch, stages[at:])
            result = (
                self._halted(stage, branch.document, end) if end else await self._ask(stage, branch)
            )
            branch.known[stage.name] = result
            results.append(result)
            if stage.task == "split" and result.status == "valid":
                parts = (branch.part(stage.name, result, each) for each in result.data["parts"])
                return results + await self._each(parts, stages[at + 1 :])
            if (stage.task == "split" or makes_items) and result.status != "skipped":
                end = _stopped_by(result)
                return results + [self._halted(s, branch.document, end) for s in stages[at + 1 :]]
        return results

    async def _items(self, branch: Branch, stages: Sequence[Stage]) -> list[Result]:
        found = items(stages[0], branch.known)
        if not found:
            end = Halt("skipped", "no_items", f"{stages[0].for_each} has no items")
            return [self._halted(stage, branch.document, end) for stage in stages]
        return await self._each((branch.item(*each) for each in found), stages, is_item=True)

    async def _each(
        self, branches: Iterator[Branch], stages: Sequence[Stage], *, is_item: bool = False
    ) -> list[Result]:
        """A bounded number of branches at the same time; after a failure no more are taken up."""
        found: dict[int, list[Result]] = {}
        failed: list[Exception] = []
        coming = enumerate(branches if stages else ())

        async def _work() -> None:
            for at, branch in coming:
                try:
                    found[at] = await self._along(branch, stages, is_item=is_item)
                except Exception as error:  # noqa: BLE001, raised below, when the others have come to their end
                    failed.append(error)
                if failed:
                    return

        await asyncio.gather(*(_work() for _ in range(AT_A_TIME)))
        if failed:
            raise min(failed, key=_weight)
        return [result for at in sorted(found) for result in found[at]]

    async def _ask(self, stage: Stage, branch: Branch) -> Result:
        if branch.document.parent is None:
            return await self._answering.answer(stage, branch, self._source)
        async with self._slots:
            return await self._answering.answer(stage, branch, self._source)


def _stopped_by(result: Result) -> Halt:
    """Why the stages behind one do not go ahead that was to say what they are asked about."""
    told = f"stage {result.stage} is {result.status}"
    return Halt.behind([result], f"{told} ({result.reason})" if result.reason else told)


def _weight(error: Exception) -> int:
    """What ends the run comes before what ends this document now, and that before what lets it wait."""
    return 2 if isinstance(error, Withheld) else int(isinstance(error, Interrupted))
