"""What went wrong between us and the service, as typed errors with a sentence that says what to do.

`report.py` reads the body, `meanings.py` tells what it means, `waits.py` how long to wait; here that
becomes an error. `429` stands for many things: too fast (wait), the quota of a day (stop), no money
left, no such tier, one request larger than a minute allows.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any, Final

from pipeline import catalogue
from pipeline.errors import (
    ContentRefused,
    FieldsiftError,
    KeyRefused,
    PaymentNeeded,
    QuotaReached,
    ReplyError,
    SetupError,
    Transient,
)
from pipeline.providers import Endpoint
from pipeline.providers.bodies import parse
from pipeline.providers.faults.meanings import Meaning, meaning_of
from pipeline.providers.faults.report import Report, read_report, without_key
from pipeline.providers.faults.waits import wait_of

__all__ = ["Answer", "error_inside", "fault", "sound", "without_key"]

#: The lists of google-genai 3.4.0 and openai 3.54.0, 425 (RFC 8470), 529 (overloaded), and Cloudflare's own.
_MAY_PASS: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, *range(520, 531)})
#: Where these are not the service's own words, something before it gave up while it may still work.
_MAY_HAVE_WORKED: Final = frozenset({500, 502, 504, 520, 524})
#: Nobody waits longer for a rate limit; what says more is a quota. Seconds.
_LONGEST_WAIT: Final = 3600.0
#: Which quota of a minute is meant: Google's quota ids (`...InputTokensPerModelPerMinute-...`), OpenAI's words
#: and types (`tokens per min (TPM)`, `requests`).
_QUOTAS: Final = {
    "tokens": re.compile(r"TokensPer|_token_count|tokens per min|\bTPM\b|^tokens$", re.MULTILINE),
    "requests": re.compile(r"RequestsPer|_requests\b|requests per min|\bRPM\b|^requests$", re.MULTILINE),
}  # fmt: skip
#: HTTP statuses of google.rpc.Code, which stand in bodies whose HTTP status says otherwise.
_OF_GRPC: Final = {
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500,
    14: 503, 15: 500, 16: 401,
}  # fmt: skip
_OF_WORD: Final = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429, "INTERNAL": 500, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
    "invalid_request_error": 400, "authentication_error": 401, "invalid_api_key": 401, "insufficient_quota": 402,
    "permission_error": 403, "not_found_error": 404, "model_not_found": 404, "exceed_context_size_error": 400,
    "context_length_exceeded": 400, "rate_limit_error": 429, "rate_limit_exceeded": 429, "overloaded_error": 529,
    "unavailable_error": 503, "content_filter": 400,
}  # fmt: skip

#: What the user is told, by meaning: the kind of error, and what to do. `{key}` is whose key it is.
_FINAL: Final[Mapping[Meaning, tuple[type[SetupError | QuotaReached], str]]] = {
    "key": (KeyRefused, "the service does not accept {key}; check that it is whole, and for this service"),
    "blocked": (KeyRefused, "{key} is restricted and not allowed here; change its restrictions, or take another key"),
    "disabled": (KeyRefused, "the service is switched off for the project of {key}; switch it on, wait some minutes, then run again"),
    "account": (KeyRefused, "the account or project of {key} may not use the service; see its console"),
    "rights": (KeyRefused, "{key} lacks a right for this model or project (on Vertex AI the role `Vertex AI User`)"),
    "bucket": (SetupError, "the service can't read the bucket; give its service account the right to read objects there"),
    "country": (SetupError, "the service, or its free tier, is not offered where you are; switch on billing, or take another endpoint"),
    "payment": (PaymentNeeded, "the account has no money left: it needs payment, or has met its spend cap; the same command continues once that is settled"),
    "day": (QuotaReached, "the quota of the day is used up; the same command continues tomorrow"),
    "no_tier": (QuotaReached, "the key's tier has no quota for this model; take another model, or switch on billing"),
}  # fmt: skip
#: The same for what concerns one request: the machine-readable reason, and what to do.
_ONE: Final[Mapping[Meaning, tuple[str, str]]] = {
    "cache_gone": ("cache_gone", "the cached content is gone"),
    "file_gone": ("file_gone", "the uploaded file is gone, or not ready"),
    "address": ("http_404", "nothing answers at {address}; check the address of the service"),
    "redirect": ("redirect", "a redirect, which is not followed; check the address of the service, {address}"),
    "forbidden": ("http_403", "something between us and the service forbids the request: a proxy or a firewall"),
    "too_long": ("too_long", "the request is longer than the model's context{tokens}; send fewer pages"),
    "too_large": ("too_large", "the request is larger than the service takes; send fewer pages"),
    "schema": ("schema_refused", "the service does not take the schema; `fieldsift schema lint` shows what it can't enforce"),
    "unexplained": ("schema_refused", "the service refuses the request without saying why (so it does with a schema that is too complex, and with a damaged or encrypted PDF)"),
    "document": ("document_refused", "the service can't read the file; it may be damaged, encrypted or empty"),
    "input": ("unsupported_input", "the service does not take this kind of file; take a model that does, or send text"),
    "setting": ("unsupported_setting", "the service does not take a setting of the stage"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP: `headers` by lower-case name, `body` with the key taken out."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def fault(answer: Answer, endpoint: Endpoint) -> FieldsiftError:
    """The error of an answer that is not a success; it says what to do, and what the service said.

    Reasons of ReplyErrors: `schema_refused` (also where nothing is explained: a damaged PDF is answered
    the same way), `document_refused`, `unsupported_input`, `unsupported_setting`, `content_refused`,
    `too_long`, `too_large`, `not_found_model`, `cache_gone`, `file_gone`, `redirect`, else
    `http_<status>`.
    """
    report = read_report(answer.body, endpoint)
    said = f"{endpoint.name}: {answer.status} {report.word}".rstrip()
    said += f": {report.message.removesuffix('.')}" if report.message else " (it says nothing more)"
    said += f"; the service suggests {report.suggestion}" if report.suggestion else ""
    meaning = meaning_of(answer.status, report)
    if meaning == "model":
        return ReplyError("not_found_model", f"{_which_model(endpoint)}: {said}")
    if meaning == "refused":
        told = f"the service refuses this content by its rules: {said}"
        return ContentRefused("content_refused", told)
    if meaning is not None and meaning in _ONE:
        reason, advice = _ONE[meaning]
        address = endpoint.base_url or endpoint.service.base_url
        return ReplyError(
            reason, f"{advice.format(tokens=_tokens(report), address=address)}: {said}"
        )
    if meaning is not None:
        kind, advice = _final(meaning, endpoint)
        advice += f" ({report.link})" if report.link else ""
        return kind(f"{advice}: {said}")
    if answer.status in _MAY_PASS:
        return _transient(answer, report, said)
    return ReplyError(f"http_{answer.status}", said)


def sound(
    answer: Answer, endpoint: Endpoint, items: Callable[[bytes], Iterable[Any]] | None = None
) -> bytes:
    """The body of a success, if it arrived whole and is one.

    `items` takes a body apart (a stream into its events) and raises ReplyError for what can't be; None:
    it is one JSON value.

    Raises:
        Transient: it is damaged, empty, a web page, no JSON object, or broke off with an error: it is
            asked again, never kept.
        FieldsiftError: it holds an error in place of an answer; see `fault`.

    """
    try:
        found = [parse(answer.body)] if items is None else list(items(answer.body))
    except ReplyError as error:
        raise Transient(error.reason, f"{endpoint.name}: {error}", billed=True) from None
    for number, item in enumerate(found):
        if not isinstance(item, Mapping):
            told = f"{endpoint.name}: the answer is JSON, but no object ({len(answer.body)} bytes)"
            raise Transient("bad_reply", told, billed=True)
        if (status := error_inside(item)) is not None:
            report = Answer(status, answer.headers, json.dumps(item).encode())
            told_of = fault(report, endpoint)
            raise _broken_off(told_of, status) if number else told_of
    return answer.body


def error_inside(answer: Mapping[str, Any]) -> int | None:
    """The HTTP status of an error report that came as a success, as some gateways send it; None for an answer."""
    if "candidates" in answer or "choices" in answer:
        return None
    error = answer.get("error") or answer.get("detail")
    if not error:
        return None
    inner = error if isinstance(error, Mapping) else answer
    for name in ("code", "status", "type"):
        if (status := _status(inner.get(name))) is not None:
            return status
    return 500


def _broken_off(error: FieldsiftError, status: int) -> Transient:
    """A stream that began as an answer and ended as an error: the service worked on it."""
    wait = error.wait if isinstance(error, Transient) else None
    told = f"the stream broke off: {error}"
    return Transient(f"http_{status}", told, wait=wait, billed=True)


def _status(named: Any) -> int | None:
    """The HTTP status that a code is or stands for."""
    if isinstance(named, str):
        named = int(named) if named.isascii() and named.isdigit() and len(named) < 4 else named
    if isinstance(named, str):
        return _OF_WORD.get(named)
    if not isinstance(named, int) or isinstance(named, bool):
        return None
    return named if 400 <= named < 600 else _OF_GRPC.get(named)


def _transient(answer: Answer, report: Report, said: str) -> FieldsiftError:
    wait = wait_of(answer.headers, report)
    if wait is not None and wait > _LONGEST_WAIT:
        hours = math.ceil(min(wait, 1e9) / 3600)
        return QuotaReached(
            f"the service asks to wait {hours} hours; the same command continues then: {said}"
        )
    if answer.status == 429:
        said = f"the service wants fewer requests at once, or a minute: {said}"
    lost = answer.status in _MAY_HAVE_WORKED and not report.is_own
    quota = next((kind for kind, sign in _QUOTAS.items() if sign.search(report.signs)), "")
    return Transient(f"http_{answer.status}", said, wait=wait, billed=lost, quota=quota)


def _final(meaning: Meaning, endpoint: Endpoint) -> tuple[type[FieldsiftError], str]:
    """The kind of error, and what to do, where no other request would fare better."""
    kind, advice = _FINAL[meaning]
    if meaning == "key" and not endpoint.key and not endpoint.project:
        return kind, f"the service wants a key{_without_one(endpoint)}"
    return kind, advice.format(key=_whose(endpoint))


def _whose(endpoint: Endpoint) -> str:
    """What the service was shown of us."""
    if endpoint.key:
        return f"the key in {endpoint.key_name}" if endpoint.key_name else "the key"
    if endpoint.project:
        return f"the Google credentials of this machine (project {endpoint.project})"
    return f"a request without a key{_without_one(endpoint)}"


def _without_one(endpoint: Endpoint) -> str:
    """Why no key was sent, and where one can be given."""
    if endpoint.key_name:
        return f" (no key is set in {endpoint.key_name})"
    return f" (key_env of [providers.{endpoint.provider}] names the variable that holds one)"


def _tokens(report: Report) -> str:
    if report.tokens is None:
        return ""
    asked, taken = report.tokens
    return f" (it has {asked:,} tokens, {taken:,} fit)"


def _which_model(endpoint: Endpoint) -> str:
    """Which model to take in place of one that is not there."""
    model, known = endpoint.model, catalogue.find(endpoint.provider, endpoint.model)
    if known is not None and known.successor:
        return f"{model} was shut down on {known.shutdown}, use {known.successor}"
    today = datetime.now(UTC).date()
    there = [
        each.id
        for each in catalogue.all_models()
        if each.provider == endpoint.provider
        and each.id != model
        and (each.shutdown or date.max) > today
    ]
    near = get_close_matches(model, there, n=3, cutoff=0.7) or there[:8]
    named = (
        f"; there are {', '.join(near)}"
        if near
        else "; check its name: `fieldsift models --online` lists what the service has"
    )
    return f"the service has no model {model!r}{named}"
