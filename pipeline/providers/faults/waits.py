"""How long a service asks to wait: in the body, in its words, in its headers."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pipeline.providers.faults.report import Report

#: A number of seconds above this is a point in time (Unix seconds, or milliseconds).
_EPOCH: Final = 1e9
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PIECE: Final = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ms|[smhd])")
_WORDS: Final = re.compile(
    r"\b(?:retry|try again|reset) (?:in|after) ((?:\d[\d.]*(?:ms|[smhd]))+|\d[\d.]* ?seconds?)\b",
    re.IGNORECASE,
)


def wait_of(headers: Mapping[str, str], report: Report) -> float | None:
    """Seconds, the longest of what is said; None where nothing is.

    `RetryInfo` (google.rpc), `Retry-After` (RFC 9110, 10.2.3), `retry-after-ms` (openai 3.54.0), and
    `retry in 26.4s` in the message. Only where none of them stands, the headers `x-ratelimit-reset-...`
    count: they tell when a limit is whole again, which is longer than has to be waited.
    """
    said = [
        _duration(report.find("RetryInfo").get("retryDelay")),
        _milliseconds(headers.get("retry-after-ms", "")),
        _moment(headers.get("retry-after", ""), headers),
        *(_duration(found.replace(" ", "")) for found in _WORDS.findall(report.message)),
    ]
    longest = max((wait for wait in said if wait is not None), default=None)
    return _reset(headers) if longest is None else longest


def _duration(text: Any) -> float | None:
    """`26s`, `26.4s`, `6m0s`, `120ms`, `12seconds`."""
    if not isinstance(text, str):
        return None
    short = re.sub(r"seconds?$", "s", text)
    pieces = _PIECE.findall(short)
    if not pieces or "".join(number + unit for number, unit in pieces) != short:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in pieces)


def _milliseconds(text: str) -> float | None:
    found = re.fullmatch(r"\d{1,12}(?:\.\d{1,6})?", text.strip())
    return float(found[0]) / 1000 if found else None


def _moment(text: str, headers: Mapping[str, str]) -> float | None:
    """Seconds, or a date, read against the answer's own clock."""
    text = text.strip()
    if re.fullmatch(r"\d{1,16}(?:\.\d{1,9})?", text):
        number = float(text)
        if number < _EPOCH:
            return number
        number /= 1000 if number > 1000 * _EPOCH else 1
        return max(0.0, number - _now(headers).timestamp())
    until = _date(text)
    return None if until is None else max(0.0, (until - _now(headers)).total_seconds())


def _reset(headers: Mapping[str, str]) -> float | None:
    """Of the limits with nothing left the one that takes longest; where none is told, the next one."""
    waits = dict(_resets(headers))
    empty = [wait for kind, wait in waits.items() if _left(kind, headers) == 0]
    return max(empty, default=None) or min(waits.values(), default=None)


def _resets(headers: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for name, value in headers.items():
        if found := re.fullmatch(r"(?:x-)?ratelimit-reset(.*)", name):
            wait = _duration(value.strip())
            wait = _moment(value, headers) if wait is None else wait
            if wait is not None and math.isfinite(wait):
                yield found[1], wait


def _left(kind: str, headers: Mapping[str, str]) -> float | None:
    for prefix in ("x-ratelimit-remaining", "ratelimit-remaining"):
        value = headers.get(prefix + kind, "").strip()
        if re.fullmatch(r"-?\d{1,15}", value):
            return max(0.0, float(value))
    return None


def _now(headers: Mapping[str, str]) -> datetime:
    return _date(headers.get("date", "")) or datetime.now(UTC)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
