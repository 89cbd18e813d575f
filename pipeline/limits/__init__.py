"""May the next request go? Rates, concurrency, retries, the shared pause, and money."""

from pipeline.limits.gate import Gate, Sent, Waiting
from pipeline.limits.money import Purse, dollars, refuse_unpriced
from pipeline.limits.pace import Pace
from pipeline.limits.retries import ATTEMPTS
from pipeline.limits.stopping import unless

__all__ = [
    "ATTEMPTS", "Gate", "Pace", "Purse", "Sent", "Waiting", "dollars", "refuse_unpriced", "unless",
]  # fmt: skip
