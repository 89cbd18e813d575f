"""May the next request go? Rates, concurrency, retries, the shared pause, and money."""

from pipeline.limits.caching import Arithmetic, Keeping, arithmetic
from pipeline.limits.gate import Claim, Gate, Sent, Waiting
from pipeline.limits.money import UNIT, Purse, apportioned, dollars, refuse_unpriced
from pipeline.limits.pace import Pace
from pipeline.limits.retries import ATTEMPTS
from pipeline.limits.stopping import unless

__all__ = [
    "ATTEMPTS", "UNIT", "Arithmetic", "Claim", "Gate", "Keeping", "Pace", "Purse", "Sent", "Waiting", "apportioned",
    "arithmetic", "dollars", "refuse_unpriced", "unless",
]  # fmt: skip
