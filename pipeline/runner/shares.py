"""Which documents go up to a stage's next model, where `max_share` bounds how many: decided when all were worked on once."""

from collections.abc import Mapping
from fractions import Fraction

from pipeline.config import Plan
from pipeline.errors import FieldsiftError
from pipeline.ledger import Ledger, Pass
from pipeline.sources import Source


class Withheld(FieldsiftError):
    """A document waits for the end of the input: then it is decided whether it goes up."""


class Shares:
    """Decides, at the end of the input, which of the documents that failed go up; decisions stand in the ledger.

    Of N inputs that the run lists, finished ones among them, at most `max_share` x N go up (rounded down, but
    at least one may), those that did in earlier runs of the same pipeline included. They are taken in the
    order of their paths.
    """

    def __init__(self, plan: Plan, ledger: Ledger, run: Pass) -> None:
        """Without an output folder nothing is noted for other runs."""
        self._ledger = ledger if plan.output else Ledger(None)
        self._run = run
        self._pipeline = plan.sha256
        self._share: Mapping[str, float] = {
            stage.name: stage.escalate.max_share
            for stage in plan.stages
            if stage.escalate and stage.escalate.max_share < 1
        }
        self._withheld: dict[tuple[str, str], Source] = {}

    def may_rise(self, source: Source, stage: str, since: int) -> bool:
        """Whether a document may go up in a stage.

        Raises:
            Withheld: it is not decided yet; the document is kept for `decide`.

        """
        if stage not in self._share:
            return True
        decided = self._ledger.decided(source.path, stage, self._pipeline, since)
        if decided is None:
            self._withheld[source.path, stage] = source
            raise Withheld
        return decided

    @property
    def waiting(self) -> int:
        """How many documents wait for a decision."""
        return len(self._withheld)

    async def decide(self, listed: int) -> list[Source]:
        """Decide about all that wait, and give them back in the order of their paths.

        Args:
            listed: how many inputs there are in all.

        """
        for stage, share in self._share.items():
            names = sorted(path for path, own in self._withheld if own == stage)
            if names:
                granted = self._ledger.granted(stage, self._pipeline, self._run.since)
                left = max(0, max(1, int(Fraction(str(share)) * listed)) - granted)
                may = {name: place < left for place, name in enumerate(names)}
                await self._ledger.decide(stage, self._pipeline, self._run, may)
        return self.give_back()

    def give_back(self) -> list[Source]:
        """All that wait, in the order of their paths, without a decision."""
        found = [self._withheld[key] for key in sorted(self._withheld)]
        self._withheld.clear()
        return found
