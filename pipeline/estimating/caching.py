"""What a stage's context costs, with each request or in an explicit cache: the arithmetic that a run decides by."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Final

from pipeline.asking.packing import requests_of
from pipeline.estimating.figures import Caching
from pipeline.estimating.sums import Cost
from pipeline.limits import UNIT, Arithmetic, Gate, arithmetic, dollars
from pipeline.providers import KeepsCaches, Request
from pipeline.providers.bounds import ceiling
from pipeline.providers.shared import shared_tokens

#: Seconds that a cache is given at first (`providers.gemini.caches.TTL`).
_LIFE: Final = 900


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts that all requests of a stage share: their tokens, at the most too, and who is asked at which tier.

    `first` is the request that they were found in.
    """

    tokens: int
    most: int
    gate: Gate
    tier: str
    first: Request

    @classmethod
    def of(cls, request: Request, gate: Gate) -> "Shared":
        """Those of one request of the stage."""
        alone = request.content[: request.shared]
        bare = Request(
            request.provider, request.model, request.system, alone, None, request.settings
        )
        most = ceiling(bare, gate.endpoint).input
        tokens = shared_tokens(request, gate.endpoint.service)
        return cls(tokens, most, gate, request.settings.service_tier or "", request)

    def sums(self) -> Arithmetic | None:
        """The arithmetic of these tokens; None where a rate is unknown."""
        gate = self.gate
        rpm = gate.endpoint.rates.rpm
        return arithmetic(gate.price, self.tokens, _LIFE, tier=self.tier, rpm=rpm)


def decided(stage: str, shared: Shared, questions: int) -> tuple[Caching, Cost]:
    """What a run would do with the context of a stage that asks so often, and by how much that changes its cost."""
    requests = requests_of(questions, shared.first, shared.gate)
    endpoint, sums = shared.gate.endpoint, shared.sums()
    known = endpoint.known
    least = (known.cache_tokens if known else None) or endpoint.service.cache_tokens
    why, explicit = "", False
    if not isinstance(shared.gate.provider, KeepsCaches) or least is None:
        why = f"{endpoint.provider} has no explicit caches that are spoken to here; what its own cache finds is cheaper"
    elif shared.tokens < least:
        why = f"an explicit cache holds {least:,} at the least; what the service's own cache finds is cheaper"
    elif sums is None:
        why = "the price of storing or reading a cache is unknown (storage, cached: `price` under [models.NAME] says it), so none is made"
    elif sums.break_even is None:
        why = "a cache never pays at these prices"
    else:
        explicit = requests >= sums.break_even
    told = Caching(
        stage=stage,
        model=endpoint.name,
        tokens=shared.tokens,
        requests=requests,
        break_even=sums.break_even if sums and not why else None,
        without_usd=_usd(sums.without(requests)) if sums else None,
        making_usd=_usd(sums.making()) if sums else None,
        keeping_usd=_usd(sums.keeping(requests)) if sums else None,
        reading_usd=_usd(sums.reading(requests)) if sums else None,
        explicit=explicit,
        why=why,
    )
    if not explicit or sums is None:
        return told, Cost()
    saved = _unit(sums.with_cache(requests)) - _unit(sums.without(requests))
    reserved = sums.making() + sums.keeping(requests)
    return told, Cost(0, saved, _unit(reserved * shared.most / max(1, shared.tokens)))


def _unit(amount: Fraction) -> int:
    return ceil(amount * UNIT)


def _usd(amount: Fraction) -> Decimal:
    return Decimal(dollars(_unit(amount)))
