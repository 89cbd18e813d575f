"""How often a request is sent again, and how often all requests of a run together."""

import random
from typing import Final

#: Tries of one request, the first included: the count of Google's own SDK (google-genai 3.4.0).
ATTEMPTS: Final = 5
#: Tries that end in a success which is no answer: it came whole, was most likely paid, and the next one
#: seldom looks otherwise.
DAMAGED: Final = frozenset({"not_json", "bad_reply", "answer_too_large"})
DAMAGED_TRIES: Final = 2
#: Times that one request may be refused because the service wants fewer: that costs nothing and says
#: nothing about the request, but one that is refused while others pass may be too large for the quota.
REFUSALS: Final = 30
#: Full jitter: a random time up to `_FIRST_WAIT` x 2^(tries-1), at most `_LONGEST_WAIT` seconds.
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0
#: Retries of a run: a tenth of its requests (Google's SRE book, "Handling Overload": a client's retries stay
#: below 10 % of its requests), and so many that a short run can use all tries of a few documents.
_SHARE: Final = 0.1
_FREE: Final = 20
#: Seconds in which a service that nobody has reached yet must be reached: an address or a network is wrong.
_TO_BEGIN: Final = 10.0
#: Failures in a row, once the budget is used up, after which the service counts as down.
DOWN: Final = 20


class Tries:
    """What became of one request so far."""

    def __init__(self) -> None:
        """It was not sent yet."""
        self.failed = 0
        self.damaged = 0
        self.refused = 0

    @property
    def are_used_up(self) -> bool:
        """Whether it may not be sent again for its own sake."""
        return self.failed >= ATTEMPTS or self.damaged >= DAMAGED_TRIES or self.refused >= REFUSALS

    @property
    def number(self) -> int:
        """How often it was sent."""
        return self.failed + self.refused

    def wait(self, dice: random.Random) -> float:
        """Seconds until the next try, at random."""
        return dice.uniform(0, min(_FIRST_WAIT * 2 ** (self.failed - 1), _LONGEST_WAIT))


class RetryBudget:
    """The retries of one run at one endpoint: retries must not feed an outage.

    Used up, they go on one at a time, between pauses of everybody (`Pace.pause`): an outage costs time, no documents.
    """

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self.requests = 0
        self.retries = 0
        self.failures_in_a_row = 0
        self._failing_since = 0.0

    def answered(self) -> None:
        """The service answers."""
        self.failures_in_a_row = 0

    def failed(self, now: float) -> None:
        """A request failed."""
        if not self.failures_in_a_row:
            self._failing_since = now
        self.failures_in_a_row += 1

    @property
    def is_used_up(self) -> bool:
        """Whether nothing may be sent again at once; answers of other requests make room."""
        return self.retries >= _FREE + int(self.requests * _SHARE)

    def never_began(self, now: float) -> bool:
        """Whether a service that has not answered yet has had its time."""
        return self.failures_in_a_row >= ATTEMPTS and now - self._failing_since >= _TO_BEGIN

    def is_down(self, now: float, patience: float) -> bool:
        """Whether the service has answered nothing for longer than it is waited for."""
        is_long = now - self._failing_since >= patience
        return self.is_used_up and self.failures_in_a_row >= DOWN and is_long
