"""What a folder run came to, and how far it is: Run and Progress."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as default
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pipeline.checking import read_results
from pipeline.notebook import table
from pipeline.results import Result

#: Lines that a notebook shows.
_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: the Result that has just been committed, and what this run has come to so far."""

    result: Result
    counts: Mapping[str, int]
    cost_usd: Decimal | None

    @property
    def done(self) -> int:
        """Results that are committed."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        """One line: `3 done (2 valid, 1 invalid), 0.0031 USD; a.pdf: invoice valid`."""
        told = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        cost = "cost unknown" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        which = " ".join(filter(None, (self.result.stage, self.result.status)))
        return f"{self.done} done ({told}), {cost}; {self.result.document.path!a}: {which}"


@dataclass(slots=True)
class Counting:
    """Counts Results as they come."""

    counts: Counter[str] = default(default_factory=Counter)
    cost: Decimal | None = Decimal(0)

    def with_(self, result: Result) -> Progress:
        """The progress after one more Result."""
        self.counts[result.status] += 1
        known = self.cost is not None and result.cost_usd is not None
        self.cost = (self.cost or Decimal(0)) + (result.cost_usd or Decimal(0)) if known else None
        return Progress(result, dict(self.counts), self.cost)


@dataclass(frozen=True, slots=True)
class Run:
    """What a folder run came to: lines of results.jsonl by status, money, and the exit code of the command."""

    output: Path
    counts: Mapping[str, int]
    cost_usd: Decimal | None
    engine: str
    exit_code: int
    unchanged: int = 0

    def __iter__(self) -> Iterator[Result]:
        """Every Result of the output folder, read one by one."""
        return read_results(self.output)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat dict a Result, as tables take it: document, stage, status, reason, cost_usd (a float, or None), data."""
        return [
            {
                "document": result.document.path,
                "stage": result.stage,
                "status": result.status,
                "reason": result.reason,
                "cost_usd": None if result.cost_usd is None else float(result.cost_usd),
                "data": result.data,
            }
            for result in self
        ]

    def _repr_html_(self) -> str:
        """For notebooks: the counts, and the first 50 Results; everything of the documents is escaped and cut."""
        told = ", ".join(f"{count} {status}" for status, count in self.counts.items()) or "nothing"
        cost = "cost unknown" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        rows = [
            (
                result.document.path,
                result.stage or "",
                result.status,
                result.reason or "",
                result.data,
            )
            for result in islice(self, _SHOWN)
        ]
        rest = sum(self.counts.values()) - len(rows)
        more = f"; {rest} more in {self.output}" if rest > 0 else ""
        return table(
            f"{told}; {cost}{more}", ("document", "stage", "status", "reason", "data"), rows
        )
