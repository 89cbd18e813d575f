"""Sums that grow while the inputs are gone over; their size is that of the stages, not of the folder."""

import math
from dataclasses import dataclass, field
from decimal import Decimal

from pipeline.estimating.figures import Scaled, Share
from pipeline.estimating.request import Likely
from pipeline.limits import Gate, dollars


@dataclass(slots=True)
class Cost:
    """Amounts in the ledger's unit, low, expected and high; None once a price was unknown."""

    low: int | None = 0
    expected: int | None = 0
    high: int | None = 0

    def add(self, other: "Cost") -> None:
        """Add the amounts of another one."""
        for name in ("low", "expected", "high"):
            mine, more = getattr(self, name), getattr(other, name)
            setattr(self, name, None if mine is None or more is None else mine + more)

    def of(self, share: float) -> "Cost":
        """Those of a question that is expected for a share of the documents only: the high one is all of it."""
        if share == 1:
            return self
        expected = None if self.expected is None else round(self.expected * share)
        return Cost(0, expected, self.high)


def cost_of(likely: Likely, gate: Gate, tier: str) -> Cost:
    """What a request costs, at the price that the gate books by; the high one is what it reserves."""
    high, expected = gate.cost(likely.high, tier), gate.cost(likely.expected, tier)
    low = gate.cost(likely.low, tier)
    if high is None or expected is None:
        return Cost(None, None, high)
    expected = min(expected, high)
    # A cached token of unknown price costs what others do; that is the expected figure, at most.
    return Cost(expected if low is None else min(low, expected), expected, high)


@dataclass(slots=True)
class Sum:
    """What is known of one stage so far; what is expected for a share of the documents counts with that share."""

    documents: float = 0
    requests: float = 0
    stored: int = 0
    pages: int = 0
    input: float = 0
    output: float = 0
    counted: int = 0
    packed: int = 0
    cost: Cost = field(default_factory=Cost)

    def take(self, found: Likely, cost: Cost, share: float = 1, *, is_packed: bool = False) -> None:
        """A question more, and a request unless it is packed beside others; `cost` is what that share of it costs."""
        self.requests += 0 if is_packed else share
        self.packed += is_packed
        self.input += found.expected.input * share
        self.output += found.expected.output * share
        self.cost.add(cost)

    def share(self, stage: str, model: str) -> Share:
        """The figures in dollars."""
        low, expected, high = map(_usd, (self.cost.low, self.cost.expected, self.cost.high))
        documents, requests, read, said = map(
            math.ceil, (self.documents, self.requests, self.input, self.output)
        )
        return Share(
            stage, model, documents, requests, self.stored, self.pages,
            read, said, self.counted, low, expected, high, self.packed,
        )  # fmt: skip


@dataclass(slots=True)
class Spread:
    """Mean and spread of the expected cost of a document (Welford), for what a sample says of the rest."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def take(self, amount: float) -> None:
        """One document more; a finished one costs nothing."""
        self.count += 1
        delta = amount - self.mean
        self.mean += delta / self.count
        self.squares += delta * (amount - self.mean)

    def margin(self, of: int) -> float | None:
        """Half of the 95 % interval of a total over `of` documents, as a share of it."""
        if self.count < 2 or self.mean <= 0:
            return None
        rest = max(0.0, 1 - self.count / of)
        error = math.sqrt(self.squares / (self.count - 1) / self.count * rest)
        return 1.96 * error / self.mean


def scaled(shares: tuple[Share, ...], cost: Cost, spread: Spread, of: int) -> Scaled:
    """The figures of a sample for all `of` documents that it was drawn from."""
    seen = max(1, spread.count)

    def times(amount: int | None) -> Decimal | None:
        return None if amount is None else _usd(amount * of // seen)

    requests = round(sum(share.requests for share in shares) * of / seen)
    margin = None if cost.expected is None else spread.margin(of)
    return Scaled(of, requests, times(cost.low), times(cost.expected), times(cost.high), margin)


def _usd(amount: int | None) -> Decimal | None:
    return None if amount is None else Decimal(dollars(amount))
