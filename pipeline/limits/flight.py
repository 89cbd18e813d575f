"""How many requests are in flight: from a few up to a bound, while the service answers as quickly as before.

This is the slow start of an endpoint whose quota nobody knows: the number doubles with each round of
answers, later grows by a tenth a second, so that few are refused where the quota turns out small.
"""

import asyncio
import math
from typing import Final

#: In flight at first.
_FIRST: Final = 4.0
#: Up to here, and up to so many requests a second, the number doubles with each round; from here it grows by
#: this share a second.
_DOUBLED: Final = 16.0
_BRISK: Final = 30.0
_GROWTH: Final = 0.1
#: The service is at its limit where answers take so many times as long as they used to.
_SLOWER: Final = 2.5
#: What overload (503, a lost connection) and slowness take off.
_LESS: Final = 0.7
#: The weight of one answer in the time that answers take now, and in the one that they used to take.
_NOW: Final = 1 / 8
_USUAL: Final = 1 / 200


class Flight:
    """Requests in flight on one event loop; one waits at a time (whoever is first in line)."""

    def __init__(self, bound: int, *, is_paced: bool = False) -> None:
        """At most `bound` at the same time, whatever happens; so many from the start where a known quota paces them."""
        self.bound = bound
        self.busy = 0
        self.most = float(bound) if is_paced else min(_FIRST, float(bound))
        self._freed: asyncio.Future[None] | None = None
        self._was_full = False
        self._grown_at = float("-inf")
        self._now = self._usual = math.nan

    async def enter(self) -> None:
        """Wait until there is room, and take it."""
        while self.busy >= int(self.most):
            self._was_full = True
            self._freed = asyncio.get_running_loop().create_future()
            await self._freed
        self.busy += 1

    def leave(self) -> None:
        """One has come back, or was not sent."""
        self.busy -= 1
        if self._freed is not None and not self._freed.done():
            self._freed.set_result(None)

    def answered(self, now: float, seconds: float) -> None:
        """An answer came after so many seconds: more may be in flight if it came in good time."""
        took = math.log(max(seconds, 1e-3))
        if math.isnan(self._now):
            self._now = self._usual = took
        self._now += (took - self._now) * _NOW
        self._usual += (took - self._usual) * (_NOW if took < self._usual else _USUAL)
        if self._now > self._usual + math.log(_SLOWER):
            self._shrink(now)
        elif self._was_full:
            self._grow(now)

    def overloaded(self, now: float) -> None:
        """The service could not cope."""
        self._shrink(now)

    def _grow(self, now: float) -> None:
        self._was_full = False
        step = 1.0
        if self.most >= max(_DOUBLED, _BRISK * math.exp(self._usual)):
            step = min(step, _GROWTH * self.most * max(0.0, min(now - self._grown_at, 1.0)))
        self.most = min(self.most + step, float(self.bound))
        self._grown_at = now

    def _shrink(self, now: float) -> None:
        if now - self._grown_at < math.exp(self._now if not math.isnan(self._now) else 0.0):
            return  # those that are in flight were sent before it went down
        self.most = max(self.most * _LESS, min(_FIRST, float(self.bound)))
        self._grown_at = now
