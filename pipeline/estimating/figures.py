"""Estimate: what a run would ask and cost, as figures; Share is the part of one stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

Method = Literal["offline", "count"]


@dataclass(frozen=True, slots=True)
class Share:
    """What one stage would ask of its model.

    `requests` would be sent, for so many `documents`; `stored` ones are answered already and cost
    nothing. Pages are those of the documents that would be asked about, each once; tokens are of the requests
    that would be sent; of `counted` of them the service itself said how many tokens they have, and `packed` questions go along with
    them in the same requests. Costs are US dollars, exact; None is unknown.
    """

    stage: str
    model: str
    documents: int = 0
    requests: int = 0
    stored: int = 0
    pages: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    counted: int = 0
    low_usd: Decimal | None = Decimal(0)
    expected_usd: Decimal | None = Decimal(0)
    high_usd: Decimal | None = Decimal(0)
    packed: int = 0

    def to_json(self) -> dict[str, Any]:
        """As it stands in `--json`."""
        told = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: _plain(value) for name, value in told.items()}


@dataclass(frozen=True, slots=True)
class Caching:
    """The context of one stage: about `tokens`, shared by so many `requests`.

    `without_usd` is what it costs to send them with each request, the other three what it costs to make, to keep
    and to read an explicit cache of them (None: a rate is unknown). From `break_even` requests on the cache is
    cheaper (None: never, or there can be none: `why`); `explicit` says that the run makes one.
    """

    stage: str
    model: str
    tokens: int
    requests: int
    break_even: int | None
    without_usd: Decimal | None
    making_usd: Decimal | None
    keeping_usd: Decimal | None
    reading_usd: Decimal | None
    explicit: bool
    why: str = ""

    @property
    def with_usd(self) -> Decimal | None:
        """What an explicit cache costs in all."""
        return _sum((self.making_usd, self.keeping_usd, self.reading_usd))

    def to_json(self) -> dict[str, Any]:
        """As it stands in `--json`."""
        told = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: _plain(value) for name, value in (told | {"with_usd": self.with_usd}).items()}


@dataclass(frozen=True, slots=True)
class Scaled:
    """The figures of a sample times what it stands for: `documents` in all; no bound, an extrapolation.

    `margin` is half of the 95 % interval of `expected_usd`, as a share of it, from how the documents
    of the sample differ; None with fewer than two of them, or where prices are unknown.
    """

    documents: int
    requests: int
    low_usd: Decimal | None
    expected_usd: Decimal | None
    high_usd: Decimal | None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would ask and cost.

    `documents` inputs were looked at: `unchanged` ones are finished and not asked about, `unreadable`
    ones can't be read or asked about (`named` holds the first few, each with why). `spent_usd` is what
    the output has cost before. `seconds` is the shortest time that the rates which are known allow.
    `sample_of` is there where the documents are a sample. `code` are the user's modules and functions
    that are imported, `notes` sentences on what the figures leave out; `context` tells what becomes of stages' context files.
    """

    stages: tuple[Share, ...]
    documents: int = 0
    unchanged: int = 0
    unreadable: int = 0
    named: tuple[tuple[str, str], ...] = ()
    method: Method = "offline"
    inputs: tuple[str, ...] = ()
    output: Path | None = None
    engine: str = ""
    spent_usd: Decimal = Decimal(0)
    budget_usd: Decimal | None = None
    seconds: float = 0.0
    rates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sample_of: Scaled | None = None
    code: tuple[str, ...] = ()
    graph: tuple[str, ...] = ()
    bounded: bool = True
    notes: tuple[str, ...] = ()
    context: tuple[Caching, ...] = ()

    @property
    def low_usd(self) -> Decimal | None:
        """The least that is plausible; None where a price is unknown."""
        return _sum(share.low_usd for share in self.stages)

    @property
    def expected_usd(self) -> Decimal | None:
        """The best guess; None where a price is unknown."""
        return _sum(share.expected_usd for share in self.stages)

    @property
    def high_usd(self) -> Decimal | None:
        """What the run reserves in all, tries that fail apart: a budget of this and `spent_usd` suffices.

        Where it is not `bounded`, arrays with more items than are counted reserve more.
        """
        return _sum(share.high_usd for share in self.stages)

    @property
    def suffices(self) -> Literal["yes", "expected", "no", "unknown"] | None:
        """Whether the budget does: surely, for what is expected, or not; None without a budget."""
        if self.budget_usd is None:
            return None
        left = self.budget_usd - self.spent_usd
        if self.high_usd is None or self.expected_usd is None:
            return "unknown"
        if self.high_usd <= left and self.bounded:
            return "yes"
        return "expected" if self.expected_usd <= left else "no"

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        told: dict[str, Any] = {
            name: _plain(getattr(self, name))
            for name in self.__dataclass_fields__
            if name not in {"stages", "named", "sample_of", "context"}
        }
        told["context"] = [each.to_json() for each in self.context]
        told["stages"] = [share.to_json() for share in self.stages]
        told["named"] = [{"path": path, "why": why} for path, why in self.named]
        scaled = self.sample_of
        told["sample_of"] = scaled and {
            name: _plain(getattr(scaled, name)) for name in scaled.__dataclass_fields__
        }
        for name in ("low_usd", "expected_usd", "high_usd", "suffices"):
            told[name] = _plain(getattr(self, name))
        return told


def _sum(amounts: Any) -> Decimal | None:
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return list(value) if isinstance(value, tuple) else value
