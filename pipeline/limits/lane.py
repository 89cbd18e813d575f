"""One quota of a minute: an exact window over it, evenly spaced within, at the rate that is known or learned."""

from typing import Final

from pipeline.limits.learned import Guess, Learned
from pipeline.limits.window import Entry, Window

#: The share of a known quota that is used: what is on its way is not counted by both sides at the same time.
SHARE: Final = 0.97
MINUTE: Final = 60.0
#: Seconds by which requests may follow faster than their even pace, to make up for late timers. A
#: second's worth is what the strictest server that was met takes at once (a bucket of 10 at 600 a minute).
_TOLERANCE: Final = 0.4
#: A wait of so many seconds says that the service counts minutes, and does not let a bucket fill: what
#: passed in the last one is its quota, if it was so many requests' worth.
_MINUTES: Final = 5.0
_ENOUGH: Final = 20
#: The first guess is what passed in so many seconds at least.
_SHORTEST: Final = 1.0
#: The first guess where next to nothing passed: requests' worth a second.
_SLOWEST: Final = 0.5


class Lane:
    """Requests or tokens of a minute.

    A server may count fixed minutes, sliding ones, or let a bucket fill: an even pace passes all of them,
    and the window holds whatever the pace does.
    """

    def __init__(self) -> None:
        """No quota is known."""
        self.quota: int | None = None
        self.learned = Learned()
        self.window = Window(MINUTE)
        self._due = float("-inf")
        self._held = False

    @property
    def limit(self) -> int | None:
        """The most in any minute."""
        return None if self.quota is None else max(1, int(self.quota * SHARE))

    @property
    def rate(self) -> float | None:
        """Units a second; None where nothing holds them back."""
        known = None if self.limit is None else self.limit / MINUTE
        rates = [rate for rate in (known, self.learned.rate) if rate is not None]
        return min(rates, default=None)

    def wait(self, now: float, amount: int) -> tuple[float, bool]:
        """Seconds until an amount may go, and whether that is because the minute is used up."""
        full = 0.0 if self.limit is None else self.window.wait(now, amount, self.limit)
        even = 0.0 if self.rate is None else self._due - _TOLERANCE - now
        self._held = self._held or even > 0
        return max(full, even, 0.0), full > max(even, 0.0)

    def take(self, now: float, amount: int) -> tuple[Entry, bool]:
        """Take an amount, and whether it had to wait for the pace."""
        rate, held, self._held = self.rate, self._held, False
        if rate is not None:
            # More than a minute's worth keeps the next one back for a minute: so long it counts.
            self._due = max(self._due, now) + min(amount / rate, MINUTE)
        return self.window.add(now, amount), held

    def correct(self, entry: Entry, amount: int) -> None:
        """What was taken was another amount; what follows goes earlier or later by it."""
        rate = self.rate
        if rate is not None:
            was, is_now = (min(each / rate, MINUTE) for each in (entry.amount, amount))
            self._due += is_now - was
        if entry.passed:
            self.learned.passed += amount - entry.amount
        self.window.correct(entry, amount)

    def answered(self, now: float, entry: Entry, *, was_paced: bool) -> None:
        """The service took it."""
        entry.passed = True
        self.learned.answered(now, entry.amount, was_paced=was_paced)

    def refused(self, now: float, entry: Entry, wait: float, *, is_named: bool) -> None:
        """The service refused, and asks to wait; `is_named`: it says that it was for the sake of this quota."""
        amount = max(entry.amount, 1)
        self.window.correct(entry, 0)
        # Of those that were sent later than this one, nothing is known yet.
        unknown = now - entry.at
        seconds = max(_SHORTEST, 2 * unknown)
        first = self.window.passed(now, seconds) / (seconds - unknown)
        first = max(first, _SLOWEST * amount)
        passed = self.window.passed(now, MINUTE)
        is_sure = is_named and wait >= _MINUTES and passed >= _ENOUGH * amount
        if self.limit is not None:
            first, is_sure = self.limit / MINUTE, False  # what the user says is no guess
        elif is_sure:
            first = passed / MINUTE
        is_told = self.limit is not None
        guess = Guess(first, amount / MINUTE, wait, is_sure, is_told)
        self.learned.refused(now, entry.at, guess)
