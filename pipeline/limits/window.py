"""An exact sliding window: what was taken in the last so many seconds, and when there is room again."""

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class Entry:
    """An amount that was taken at a moment; it may turn out to be another one later.

    `counts`: it is not too long ago; `passed`: the service has taken it.
    """

    at: float
    amount: int
    counts: bool = True
    passed: bool = False


class Window:
    """Amounts over a span of seconds, on whatever clock its callers read.

    An entry counts in the half-open window `(now - span, now]`.
    """

    def __init__(self, span: float) -> None:
        """Nothing was taken yet."""
        self.span = span
        self.total = 0
        self._entries: deque[Entry] = deque()

    def wait(self, now: float, amount: int, limit: int) -> float:
        """Seconds until `amount` more stay within `limit`; one that alone is more goes when nothing else counts."""
        self._forget(now)
        too_much = self.total + min(amount, limit) - limit
        if too_much <= 0:
            return 0.0
        for entry in self._entries:
            too_much -= entry.amount
            if too_much <= 0:
                return entry.at + self.span - now
        raise AssertionError("unreachable: the entries are the total")

    def add(self, now: float, amount: int) -> Entry:
        """Take an amount, whether there is room or not."""
        self._forget(now)
        entry = Entry(now, amount)
        self._entries.append(entry)
        self.total += amount
        return entry

    def correct(self, entry: Entry, amount: int) -> None:
        """What an entry really took, at the time when it was taken."""
        if entry.counts:
            self.total += amount - entry.amount
        entry.amount = amount

    def passed(self, now: float, seconds: float) -> int:
        """What the service has taken of the last `seconds`, at most the span."""
        self._forget(now)
        found = 0
        for entry in reversed(self._entries):
            if entry.at <= now - seconds:
                break
            found += entry.amount * entry.passed
        return found

    def is_empty(self, now: float) -> bool:
        """Whether nothing counts any more."""
        self._forget(now)
        return not self._entries

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0].at + self.span <= now:
            entry = self._entries.popleft()
            entry.counts = False
            self.total -= entry.amount
