"""What went wrong between us and the service, as typed errors with a sentence that helps.

Shapes: `google.rpc.Status` with its details (`RetryInfo`, `QuotaFailure`, `ErrorInfo`). A wrong key
is answered with 400 and the reason API_KEY_INVALID, not with 401. `429` stands for three things:
too fast (wait), the quota of a day (stop), and no money left (stop).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pipeline import catalogue
from pipeline.errors import FieldsiftError, KeyRefused, QuotaReached, ReplyError, Transient
from pipeline.providers import Endpoint
from pipeline.providers.gemini.reply import is_html, parse

#: The list of Google's own SDK (google-genai 3.4.0, `_api_client.py`).
_MAY_PASS: Final = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_MESSAGE: Final = 300
#: Nobody is made to wait longer for a rate limit; what says more is not one.
_LONGEST_WAIT: Final = 3600.0
#: How the service tells that the account has run dry (its 429s of 2026, no details).
_NO_MONEY: Final = re.compile(
    r"prepayment credits|spending cap|spend cap|spending limit", re.IGNORECASE
)
_NO_ACCOUNT: Final = re.compile(r"location|country|billing", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP: `headers` by lower-case name, `body` with the key taken out."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Report:
    """An error body, read: the service's words, and what it adds for programs."""

    message: str = ""
    status: str = ""
    details: tuple[Mapping[str, Any], ...] = ()
    is_own: bool = False

    def find(self, kind: str) -> Mapping[str, Any]:
        wanted = f"google.rpc.{kind}"
        return next((d for d in self.details if str(d.get("@type", "")).endswith(wanted)), {})


def fault(answer: Answer, endpoint: Endpoint) -> FieldsiftError:
    """The error of an answer that is not a success."""
    report = _read(answer.body, endpoint)
    said = f"{endpoint.name}: {answer.status} {report.status}".rstrip()
    said += f": {report.message}" if report.message else ""
    if answer.status in {401, 403} or _is_key_refused(answer.status, report):
        return KeyRefused(f"the service does not accept the key in {endpoint.key_name}: {said}")
    if spent := _used_up(answer.status, report):
        return QuotaReached(f"{spent}: {said}")
    if answer.status in _MAY_PASS:
        # Something between us and the service may have given up while the service still works.
        lost = answer.status in {502, 504} and not report.is_own
        return Transient(f"http_{answer.status}", said, wait=_wait(answer, report), billed=lost)
    if answer.status == 404:
        return _not_found(endpoint, report, said)
    reason = "too_large" if answer.status == 413 else f"http_{answer.status}"
    return ReplyError(reason, said + _hint(answer.status))


def without_key(text: str, endpoint: Endpoint) -> str:
    """A text with the name of the variable in place of the key."""
    return text.replace(endpoint.key, f"[{endpoint.key_name}]") if len(endpoint.key) > 3 else text


def error_inside(answer: Mapping[str, Any]) -> int | None:
    """The HTTP status of an error report that came as a success, as some gateways send it."""
    if "error" not in answer or "candidates" in answer:
        return None
    inner = answer["error"]
    code = inner.get("code") if isinstance(inner, Mapping) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _hint(status: int) -> str:
    if status == 413:
        return ": the request is larger than the service takes; send fewer pages"
    return (
        ": a redirect, which is not followed; check the address of the service"
        if 300 <= status < 400
        else ""
    )


def _read(body: bytes, endpoint: Endpoint) -> _Report:
    def clean(text: Any) -> str:
        return _clean(without_key(text, endpoint)) if isinstance(text, str) else ""

    if is_html(body):
        return _Report(message="the answer is a web page, as a proxy or a wrong address gives it")
    try:
        given = parse(body)
    except ReplyError:
        return _Report(message=clean(body.decode("utf-8", "replace")))
    if isinstance(given, list) and given:
        given = given[0]
    error = given.get("error") if isinstance(given, Mapping) else None
    if isinstance(error, str):
        return _Report(message=clean(error))
    if not isinstance(error, Mapping):
        return _Report()
    details = error.get("details")
    return _Report(
        message=clean(error.get("message")),
        status=clean(error.get("status")),
        details=tuple(d for d in details if isinstance(d, Mapping))
        if isinstance(details, list)
        else (),
        is_own=isinstance(error.get("status"), str),
    )


def _clean(text: str) -> str:
    """A foreign sentence, fit for a terminal: one line, no control characters, not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def _is_key_refused(status: int, report: _Report) -> bool:
    if status != 400:
        return False
    if report.find("ErrorInfo").get("reason") == "API_KEY_INVALID":
        return True
    # No account there: a region without a free tier, billing switched off. No document will pass.
    return report.status == "FAILED_PRECONDITION" and bool(_NO_ACCOUNT.search(report.message))


def _not_found(endpoint: Endpoint, report: _Report, said: str) -> ReplyError:
    known = catalogue.find(endpoint.provider, endpoint.model)
    if not report.is_own:
        return ReplyError(
            "http_404", f"{said}: nothing answers there; check the address of the service"
        )
    if known is not None and known.successor:
        said += f"; {endpoint.model} was shut down on {known.shutdown}, use {known.successor}"
    elif known is None:
        there = [
            m.id
            for m in catalogue.all_models()
            if m.provider == endpoint.provider and not m.successor
        ]
        said += f"; known models: {', '.join(there)}" if there else ""
    return ReplyError("not_found_model", said)


def _used_up(status: int, report: _Report) -> str:
    """Why waiting seconds does not help; empty where it does."""
    if status == 402:
        return "the account needs payment"
    if status != 429:
        return ""
    violations = report.find("QuotaFailure").get("violations")
    listed = violations if isinstance(violations, list) else []
    if any("PerDay" in str(v.get("quotaId")) for v in listed if isinstance(v, Mapping)):
        return "the quota of the day is used up; the same command continues tomorrow"
    if re.search(r"\blimit: 0\b", report.message):
        return "the key's tier has no quota for this model"
    if _NO_MONEY.search(report.message) and not report.find("RetryInfo"):
        return "the account's money is used up; the same command continues when there is some"
    return ""


def _wait(answer: Answer, report: _Report) -> float | None:
    """Seconds that the service asks for, the longest of what it says; None where it says nothing."""
    waits = [
        _seconds(report.find("RetryInfo").get("retryDelay")),
        _retry_after(answer.headers),
        _seconds(next(iter(re.findall(r"retry in ([\d.]+s)\b", report.message)), None)),
    ]
    return max((w for w in waits if w is not None), default=None)


def _seconds(text: Any) -> float | None:
    """A protobuf duration: `26s`, `26.4s`."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,12})?)s", text) if isinstance(text, str) else None
    return min(float(found[1]), _LONGEST_WAIT) if found else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3): seconds, or a date, read against the answer's own clock."""
    given = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", given):
        return min(float(given), _LONGEST_WAIT)
    until = _date(given)
    if until is None:
        return None
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return min(max(0.0, (until - now).total_seconds()), _LONGEST_WAIT)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
