"""A body of `generateContent`, read: text, how it ended, and what it took.

Any field may be absent, and words that are not known yet may come (`finishReason`, kinds of parts,
usage fields): nothing here fails for them.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from pipeline.errors import ReplyError
from pipeline.providers import Reply, Usage

_TRUNCATED: Final = frozenset({"MAX_TOKENS", "FINISH_REASON_UNSPECIFIED", ""})


def read(body: bytes) -> Reply:
    """Understand an answer.

    `STOP` is the one plain end. Without any reason the answer counts as truncated; every reason
    other than `MAX_TOKENS` as refused, unknown ones included. Thinking is never part of the text.

    Raises:
        ReplyError: `not_json`, or `bad_reply` where it is JSON of another kind.

    """
    answer = parse(body)
    if not isinstance(answer, Mapping):
        raise ReplyError(
            "bad_reply", f"the answer is JSON, but a {type(answer).__name__} and no object"
        )
    if "error" in answer and "candidates" not in answer:
        raise ReplyError("bad_reply", "the answer is an error report of the service")
    candidate = _first(answer.get("candidates"))
    usage = _usage(_table(answer.get("usageMetadata")))
    said: dict[str, Any] = {
        "usage": usage,
        "model": _text(answer.get("modelVersion")),
        "response_id": _text(answer.get("responseId")),
    }
    if candidate is None:
        blocked = _text(_table(answer.get("promptFeedback")).get("blockReason"))
        return Reply(text="", finish="refused", reason=blocked or "NO_CANDIDATES", **said)
    reason = _text(candidate.get("finishReason"))
    text = _answer(candidate)
    if reason == "STOP":
        return Reply(text=text, **said)
    return Reply(
        text=text,
        finish="truncated" if reason in _TRUNCATED else "refused",
        reason=reason or "NO_FINISH_REASON",
        **said,
    )


def parse(body: bytes) -> Any:
    """The JSON of a body.

    Raises:
        ReplyError: `not_json`: it is none, or not UTF-8, or nested beyond reason.

    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        kind = "is empty" if not body.strip() else "is HTML" if is_html(body) else "is not JSON"
        raise ReplyError("not_json", f"the service's answer {kind} ({len(body)} bytes)") from error


def is_html(body: bytes) -> bool:
    """Whether a body is a web page, as proxies and wrong addresses give them."""
    return body.lstrip()[:1] == b"<"


def _answer(candidate: Mapping[str, Any]) -> str:
    parts = _table(candidate.get("content")).get("parts")
    texts = [
        _text(part.get("text"))
        for part in (parts if isinstance(parts, list) else ())
        if isinstance(part, Mapping) and part.get("thought") is not True
    ]
    # JSON can hold half of a surrogate pair, which no file can: it becomes the replacement character.
    return "".join(texts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _usage(given: Mapping[str, Any]) -> Usage:
    details = given.get("promptTokensDetails")
    audio = [
        _count(detail.get("tokenCount"))
        for detail in (details if isinstance(details, list) else ())
        if isinstance(detail, Mapping) and detail.get("modality") == "AUDIO"
    ]
    return Usage(
        input=_count(given.get("promptTokenCount")),
        cached=_count(given.get("cachedContentTokenCount")),
        output=_count(given.get("candidatesTokenCount")),
        thoughts=_count(given.get("thoughtsTokenCount")),
        tool=_count(given.get("toolUsePromptTokenCount")),
        audio=sum(audio),
    )


def _count(value: Any) -> int:
    """A number of tokens; absent is 0, and a number in quotes (as JSON has 64-bit ones) is one."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return max(0, value)


def _first(candidates: Any) -> Mapping[str, Any] | None:
    if isinstance(candidates, list) and candidates and isinstance(candidates[0], Mapping):
        return candidates[0]
    return None


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
