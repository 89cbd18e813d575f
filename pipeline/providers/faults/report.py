"""The body of an answer that is no success, read: Google's errors, those of OpenAI-compatible servers, and anything else.

Shapes: `{"error": {...}}`, in a list or as a text within another error's message too (gateways pass
on what they got); `{"error": "words"}` (Ollama); `{"detail": ...}` (FastAPI); the error itself
(vLLM); a web page; words; nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from pipeline.errors import ReplyError
from pipeline.providers import Endpoint
from pipeline.providers.bodies import is_html, parse

_LONGEST_MESSAGE: Final = 300
_LONGEST_LINK: Final = 200
#: Errors within errors within errors: more than gateways that follow one another make.
_DEEPEST: Final = 4
_MOST_CODES: Final = 50
#: What is a secret by its looks, wherever it came from: bearer tokens, Google's access tokens.
_TOKEN: Final = re.compile(r"\b(bearer\s+)[\w.~+/=-]{8,}|\bya29\.[\w.-]{8,}", re.IGNORECASE)
_TITLE: Final = re.compile(r"<title[^>]*>([^<]{1,200})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Report:
    """What an error body says.

    `word` is the service's own name of the error (`RESOURCE_EXHAUSTED`, `invalid_api_key`), `codes`
    all such names in it: statuses, codes, types, reasons, quotas, names of details and of fields.
    `is_own` says that the service itself speaks, and not something before it. `tokens` are those of
    the request and those that the model takes, where both are told.
    """

    message: str = ""
    word: str = ""
    codes: tuple[str, ...] = ()
    details: tuple[Mapping[str, Any], ...] = ()
    is_own: bool = False
    is_page: bool = False
    link: str = ""
    suggestion: str = ""
    tokens: tuple[int, int] | None = None

    def find(self, kind: str) -> Mapping[str, Any]:
        """The first detail of a kind (`RetryInfo`); empty where there is none."""
        return next((d for d in self.details if _kind(d) == kind), {})

    @property
    def signs(self) -> str:
        """Everything that tells errors apart, one under the other: the message, then the codes."""
        return "\n".join((self.message, *self.codes))


def without_key(text: str, endpoint: Endpoint) -> str:
    """A text with the name of the variable in place of the key, and without bearer tokens."""
    if len(endpoint.key) > 3:
        text = text.replace(endpoint.key, f"[{endpoint.key_name}]")
    return _TOKEN.sub(lambda found: (found[1] or "") + "[token]", text)


def read_report(body: bytes, endpoint: Endpoint) -> Report:
    """Understand the body of an answer that is no success, whatever it is."""
    if is_html(body):
        title = _TITLE.search(body[: 2**16].decode("utf-8", "replace"))
        named = f": {_clean(title[1], endpoint)!r}" if title else ""
        page = f"the answer is a web page, as a proxy or a wrong address gives it{named}"
        return Report(message=page, is_page=True)
    try:
        given = parse(body)
    except ReplyError:
        return Report(message=_clean(body[: 2**16].decode("utf-8", "replace"), endpoint))
    return _of(given, endpoint, _DEEPEST)


def _of(given: Any, endpoint: Endpoint, depth: int) -> Report:
    error, is_own = _error_in(given)
    text = _message(error)
    if depth and text.lstrip()[:1] in {"{", "["} and (inner := _passed_on(text)) is not None:
        deeper = _of(inner, endpoint, depth - 1)
        if deeper.message or deeper.codes:
            return replace(deeper, codes=(*deeper.codes, *_codes(error, endpoint)), is_own=is_own)
    details = tuple(_tables(error.get("details")))
    names = _codes(error, endpoint)
    violated = _violated(details)
    text += "".join(f" ({each})" for each in violated if each not in text)
    return Report(
        message=_clean(text, endpoint),
        word=names[0] if names else "",
        codes=(*names, *_codes_of(details, endpoint)),
        details=details,
        is_own=is_own,
        link=_link(details, endpoint),
        suggestion=_clean(_text(error.get("fallback_suggestion")), endpoint),
        tokens=_tokens(error),
    )


def _error_in(given: Any) -> tuple[Mapping[str, Any], bool]:
    """The error of a JSON answer as a table, and whether it is the service's own."""
    for _ in range(_DEEPEST):
        if not (isinstance(given, list) and given):
            break
        given = given[0]
    if not isinstance(given, Mapping):
        return {"message": given}, False
    for name in ("error", "detail"):
        inner = given.get(name)
        if isinstance(inner, Mapping):
            return (inner, True) if "error" not in inner else (_error_in(inner)[0], True)
        if isinstance(inner, str | list) and inner:
            return {**given, "message": inner}, True
    return given, given.get("object") == "error"


def _passed_on(text: str) -> Any:
    try:
        return parse(text.encode("utf-8", "replace"))
    except ReplyError:
        return None


def _message(error: Mapping[str, Any]) -> str:
    """The words of an error, in the first place that has some."""
    for name in ("message", "msg", "error_msg", "error_message", "detail"):
        said = error.get(name)
        if isinstance(said, str) and said:
            return said
        if told := "; ".join(_fields(said)):
            return told
    return next((_text(d.get("message")) for d in _tables(error.get("details"))), "")


def _fields(said: Any) -> Iterator[str]:
    """FastAPI's list of what is wrong with a body: `body.messages.0.content: Input should be a string`."""
    for each in _tables(said)[:3]:
        place = each.get("loc")
        path = ".".join(map(str, place)) if isinstance(place, list) else ""
        yield f"{path[:100]}: {_text(each.get('msg'))}".removeprefix(": ")


def _codes(error: Mapping[str, Any], endpoint: Endpoint) -> tuple[str, ...]:
    names = (error.get(name) for name in ("status", "code", "type", "param", "reason"))
    return tuple(_clean(name, endpoint) for name in names if isinstance(name, str) and name)


def _codes_of(details: tuple[Mapping[str, Any], ...], endpoint: Endpoint) -> tuple[str, ...]:
    """The names in Google's details: their kinds, reasons, quotas, fields."""
    found: list[Any] = []
    for detail in details:
        found += [_kind(detail), detail.get("reason")]
        for violation in _violations(detail):
            found += [violation.get(name) for name in ("quotaId", "field", "type")]
            if str(violation.get("quotaValue")) == "0":
                found.append("limit: 0")
    named = (name for name in found if isinstance(name, str) and name)
    return tuple(_clean(name, endpoint) for name in islice(named, _MOST_CODES))


def _violated(details: tuple[Mapping[str, Any], ...]) -> list[str]:
    """What Google says of single fields of the request, the first three."""
    told = [
        f"{_text(each.get('field'))}: {_text(each.get('description'))}"
        for detail in details
        if _kind(detail) == "BadRequest"
        for each in _violations(detail)
    ]
    return [each for each in told if each != ": "][:3]


def _violations(detail: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _tables(detail.get("violations")) + _tables(detail.get("fieldViolations"))


def _link(details: tuple[Mapping[str, Any], ...], endpoint: Endpoint) -> str:
    """The first address at which the service says that help is."""
    for detail in details:
        metadata = detail.get("metadata")
        given = [metadata.get("activationUrl")] if isinstance(metadata, Mapping) else []
        given += [link.get("url") for link in _tables(detail.get("links"))]
        for link in map(_text, given):
            if re.fullmatch(rf"https://[!-~]{{3,{_LONGEST_LINK}}}", link):
                return _clean(link, endpoint)
    return ""


def _tokens(error: Mapping[str, Any]) -> tuple[int, int] | None:
    asked, taken = error.get("n_prompt_tokens"), error.get("n_ctx")
    if not isinstance(asked, int) or not isinstance(taken, int):
        return None
    return (asked, taken) if 0 < taken < asked < 10**9 else None


def _kind(detail: Mapping[str, Any]) -> str:
    return str(detail.get("@type", "")).rpartition("google.rpc.")[2]


def _tables(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _clean(text: str, endpoint: Endpoint) -> str:
    """A foreign sentence, fit for a terminal: one line, no control characters, no secrets, not too long."""
    text = without_key(text, endpoint)[: 2**16]
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"
