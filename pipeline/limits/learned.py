"""A rate that nobody told: found by going faster until the service refuses, then going on around what passed.

It begins with the first refusal: until then the requests in flight grow from a few (`flight.py`), which is
the slow start. From one refusal to the next what passed is what the quota let in, so that this is
the rate to go back to: first half of it (a bucket fills up again), quickly near it, slowly past it,
boldly on if nothing refuses (the cubic of TCP's RFC 9438, over answers in place of seconds).
"""

from dataclasses import dataclass
from typing import Final

#: Answers after which the rate is back where it was refused; about as many later it is refused again.
_CYCLE: Final = 60
#: What a refusal takes off.
_DROP: Final = 0.5
#: What was measured is what was sent: a bucket that was full at times would have let more in.
_BOOST: Final = 1.2
#: Refused earlier than after so many answers, nothing can be measured: the rate was too high; far too high as
#: long as none was measured yet.
_ENOUGH: Final = 15
_TOO_HIGH: Final = 0.87
_SEARCHING: Final = 0.83
#: What was measured counts so far below the last rate: less went out perhaps because there was less to do.
_LOWEST: Final = 0.7
#: What a minute let through is hardly exceeded for so many seconds: the service would refuse for the rest of one.
_SURE: Final = 120.0
_HARDLY: Final = 1.1
#: Growth past the rate that was refused, with each answer, at most: boldness has an end.
_FASTEST: Final = 0.1


@dataclass(frozen=True, slots=True)
class Guess:
    """What a refusal tells of a quota: the rate to begin with, the lowest one, and how long to wait first.

    `is_sure`: the rate is no guess, the service counts minutes and one has just passed; `is_told`: the user
    knows the quota.
    """

    first: float
    least: float
    wait: float
    is_sure: bool = False
    is_told: bool = False


class Learned:
    """The rate of one quota in units a second; None until the service has refused for its sake."""

    def __init__(self) -> None:
        """Nothing is known."""
        self.rate: float | None = None
        self._top = 0.0
        self._clean = 0
        self._answers = 0
        self._early = self._is_found = False
        self._sure_until = float("-inf")
        self.passed = 0
        self._slowed_at = self._since = float("-inf")
        self._before: tuple[float, int] | None = None

    def answered(self, now: float, amount: int, *, was_paced: bool) -> None:
        """A request was answered; `was_paced`: it had to wait for this rate."""
        self.passed += amount
        self._answers += 1
        if self.rate is None or not was_paced:
            return
        self._clean += 1
        rate = min(self._at(self._clean), self.rate * (1 + _FASTEST))
        if now < self._sure_until:
            rate = min(rate, self._top * _HARDLY)
        self.rate = rate

    def refused(self, now: float, sent: float, guess: Guess) -> None:
        """A request that was sent at a moment was refused.

        Refusals of what had been sent before the rate went down say nothing new.
        """
        if sent <= self._slowed_at:
            return
        before = (self._top, self._clean) if self.rate else (guess.first, _CYCLE)
        if self.rate is None or guess.is_sure:
            top = guess.first
        elif self._answers >= _ENOUGH:
            measured = self.passed / max(now - self._since, 1e-3) * _BOOST
            top = min(max(measured, self._top * _LOWEST), self.rate)
            self._is_found = True
        elif not self._is_found:
            top = self._top * _SEARCHING
        else:
            # Once is the same shortage still, twice is too much.
            top = self._top * (_TOO_HIGH if self._early else 1)
            self._early = not self._early
        self.settle(now, max(top, 2 * guess.least), guess.wait)
        self._sure_until = self._since + (_SURE if guess.is_sure else 0.0)
        if guess.is_told:
            # A quota that the user knows is not searched for: a little room, and on.
            self._clean = _CYCLE // 2
            self.rate = self._at(self._clean)
        self._before = before

    def settle(self, now: float, top: float, wait: float = 0.0) -> None:
        """Go on around a rate, after a wait."""
        self.rate, self._top = top * (1 - _DROP), top
        self._slowed_at, self._since = now, now + wait
        self._clean = self._answers = self.passed = 0
        self._before = None

    def _at(self, clean: int) -> float:
        """The rate after so many answers since the last refusal."""
        return self._top * (1 + _DROP * (clean / _CYCLE - 1) ** 3)

    def recover(self, now: float) -> None:
        """The last refusal had another reason: go on as before it."""
        if self._before is not None:
            top, clean = self._before
            self.settle(now, top)
            self._clean, self.rate = clean, self._at(clean)
