"""Quotas of a day: counted over restarts from the ledger; reached, the run ends and says when it goes on."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from pipeline.errors import QuotaReached
from pipeline.ledger import Ledger
from pipeline.limits.window import Entry, Window
from pipeline.providers import Endpoint

DAY: Final = 86400.0
#: "RPD quotas reset at midnight Pacific time" (ai.google.dev/gemini-api/docs/rate-limits). What others call
#: a day is seldom written down; OpenAI's floats. Any 24 hours hold for all of those.
_PACIFIC: Final = "America/Los_Angeles"
#: Pacific time where the system has no time zones: standard time, so that in summer the day begins an
#: hour late, never early.
_STANDARD: Final = timedelta(hours=-8)


class Day:
    """Requests and tokens of one endpoint's day, on the wall clock (seconds since 1970)."""

    def __init__(self, ledger: Ledger, endpoint: Endpoint) -> None:
        """What the ledger knows of the day counts, and is read with the first request."""
        self._ledger, self._endpoint = ledger, endpoint
        self._is_google = endpoint.service.wire == "gemini"
        self._requests: Window | None = None
        # Google's day has up to 25 hours, and ends as a whole.
        self._span = 2 * DAY if self._is_google else DAY
        self._tokens = Window(self._span)
        self._began = float("-inf")

    def take(self, now: float, tokens: int) -> tuple[Entry, Entry] | None:
        """Count a request before it is sent; None where there is no quota of a day.

        Raises:
            QuotaReached: the day has no room for it.

        """
        rates = self._endpoint.rates
        if rates.rpd is None and rates.tpd is None:
            return None
        if self._is_google and midnight(now) > self._began:
            self._requests, self._tokens, self._began = None, Window(self._span), midnight(now)
        if self._requests is None:
            self._requests = self._counted(now)
        for window, amount, limit, what in (
            (self._requests, 1, rates.rpd, "requests"),
            (self._tokens, tokens, rates.tpd, "tokens"),
        ):
            if limit is not None and (left := window.wait(now, amount, limit)) > 0:
                until = midnight(midnight(now) + 1.5 * DAY) if self._is_google else now + left
                raise QuotaReached(_reached(self._endpoint.name, window.total, limit, what, until))
        return self._requests.add(now, 1), self._tokens.add(now, tokens)

    def correct(self, taken: tuple[Entry, Entry] | None, requests: int, tokens: int) -> None:
        """What a request took in the end."""
        if taken is not None and self._requests is not None:
            self._requests.correct(taken[0], requests)
            self._tokens.correct(taken[1], tokens)

    def _counted(self, now: float) -> Window:
        requests = Window(self._span)
        since = self._began if self._is_google else now - DAY
        for at, tokens, _ in self._ledger.recent(self._endpoint.name, since):
            # The clock may have been set back since.
            requests.add(min(at, now), 1)
            self._tokens.add(min(at, now), tokens)
        return requests


def midnight(now: float) -> float:
    """When the day of Google's quotas began in which a moment lies."""
    zone = _pacific()
    day = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return day.timestamp()


def _pacific() -> tzinfo:
    from datetime import timezone
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(_PACIFIC)
    except ZoneInfoNotFoundError:
        return timezone(_STANDARD)


def _reached(name: str, used: int, limit: int, what: str, until: float) -> str:
    when = datetime.fromtimestamp(until, UTC)
    return (
        f"{name}: {used:,} of {limit:,} {what} a day are used; the same command continues after "
        f"{when:%Y-%m-%d %H:%M} UTC"
    )
