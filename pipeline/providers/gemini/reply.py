"""A body of `generateContent`, read: text, calls, how it ended, what it took, and what was searched.

Any field may be absent, and words that are not known yet may come (`finishReason`, kinds of parts,
usage fields): nothing here fails for them.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pipeline.errors import ReplyError
from pipeline.providers import Call, Reply, Usage
from pipeline.providers.bodies import depth, word
from pipeline.providers.gemini.chunks import answer, chunks
from pipeline.providers.loops import LOOP, loops

#: Ends that leave an answer unfinished; without any, it was cut off on its way.
_TRUNCATED: Final = frozenset({"MAX_TOKENS", "CONTINUATION", "FINISH_REASON_UNSPECIFIED", LOOP, ""})
#: What Vertex AI calls the tiers, in another field than the Gemini API.
_TRAFFIC: Final = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
}
#: Counts of tokens by their names in `Usage`.
_COUNTS: Final = {
    "input": "promptTokenCount",
    "cached": "cachedContentTokenCount",
    "output": "candidatesTokenCount",
    "thoughts": "thoughtsTokenCount",
    "tool": "toolUsePromptTokenCount",
}
_LARGEST: Final = 2**31 - 1
#: A call that is nested deeper is none that a function of a user takes.
_DEEPEST: Final = 200


def read(body: bytes) -> Reply:
    """Understand an answer: an object, a stream of events, or a list of its items.

    `STOP` is the one plain end. Without any reason the answer counts as truncated; every reason
    that does not say so as refused, unknown ones included. One that got into a loop and has no reason
    was hung up on: its reason is `LOOP`, and its counts are those told until then. Thinking is never
    part of the text, and neither is code that the model ran, nor what came of it.

    Raises:
        ReplyError: `not_json`, or `bad_reply` where it is JSON of another kind.

    """
    given = answer(body)
    candidate = _first(given.get("candidates"))
    content = _table(_table(candidate).get("content"))
    reason = word(_table(candidate).get("finishReason"))
    written = _written(content)
    is_last = bool(reason) or candidate is None
    if not reason and loops(written):  # it was hung up on
        reason, is_last = LOOP, "candidatesTokenCount" in _last_usage(body)
    searched = _table(_table(candidate).get("groundingMetadata"))
    said: dict[str, Any] = {
        "usage": _usage(_table(given.get("usageMetadata")), searched, is_last=is_last),
        "model": word(given.get("modelVersion")),
        "response_id": word(given.get("responseId")),
        "sources": _sources(searched, _table(_table(candidate).get("urlContextMetadata"))),
    }
    if candidate is None:
        blocked = word(_table(given.get("promptFeedback")).get("blockReason"))
        return Reply(text="", finish="refused", reason=blocked or "NO_CANDIDATES", **said)
    text = _characters(written)
    if reason == "STOP":
        calls = _calls(content)
        return Reply(text=text, calls=calls, said=content if calls else {}, **said)
    return Reply(
        text=text,
        finish="truncated" if reason in _TRUNCATED else "refused",
        reason=reason or "NO_FINISH_REASON",
        **said,
    )


def composed(reply: Reply, text: str, usage: Usage) -> bytes:
    """A body with one finished answer of this text and usage, its model, id and tier those of a reply."""
    candidate = {
        "content": {"role": "model", "parts": [{"text": text}]},
        "finishReason": "STOP",
        "index": 0,
    }
    body: dict[str, Any] = {"candidates": [candidate]}
    if usage.is_counted:
        counts = {field: getattr(usage, name) for name, field in _COUNTS.items()}
        told: dict[str, Any] = {field: count for field, count in counts.items() if count}
        told["totalTokenCount"] = usage.input + usage.output + usage.thoughts + usage.tool
        if usage.by_modality:
            made_of = usage.by_modality
            told["promptTokensDetails"] = [
                {"modality": kind.upper(), "tokenCount": count} for kind, count in made_of
            ]
        if usage.tier:
            told["serviceTier"] = usage.tier
        body["usageMetadata"] = told
    body |= {"modelVersion": reply.model, "responseId": reply.response_id}
    return json.dumps(body, ensure_ascii=False).encode()


def _last_usage(body: bytes) -> Mapping[str, Any]:
    """What the last event of a stream says that it took: the service counts on in each."""
    return _table(chunks(body)[-1].get("usageMetadata"))


def text_of(item: Any) -> str:
    """What one event of a stream adds to the text of the answer."""
    candidate = _first(_table(item).get("candidates"))
    return _written(_table(_table(candidate).get("content")))


def _written(content: Mapping[str, Any]) -> str:
    return "".join(
        _text(part.get("text"))
        for part in _tables(content.get("parts"))
        if part.get("thought") is not True
    )


def _characters(text: str) -> str:
    # JSON can hold half of a surrogate pair, which no file can: it becomes the replacement character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _calls(content: Mapping[str, Any]) -> tuple[Call, ...]:
    """The functions that are asked for.

    Raises:
        ReplyError: `bad_reply`: the turn can't be sent back as JSON, as the next request has to.

    """
    asked = [
        call
        for part in _tables(content.get("parts"))
        if isinstance(call := part.get("functionCall"), Mapping)
    ]
    if not asked:
        return ()
    try:
        sound = depth(content) <= _DEEPEST and bool(json.dumps(content, allow_nan=False))
    except ValueError:
        sound = False
    if not sound:
        raise ReplyError(
            "bad_reply", "the model asks for a function with what can't be sent back as JSON"
        )
    return tuple(
        Call(_text(call.get("name")), _table(call.get("args")), _text(call.get("id")))
        for call in asked
    )


def _usage(given: Mapping[str, Any], searched: Mapping[str, Any], *, is_last: bool) -> Usage:
    """What an answer took; before the end of a stream (`is_last`) the counts are not yet whole."""
    by_modality = _by_modality(given.get("promptTokensDetails"))
    cached = _by_modality(given.get("cacheTokensDetails"))
    tier = word(given.get("serviceTier")).lower()
    told = {name: _count(given.get(field)) for name, field in _COUNTS.items()}
    counts = {name: count or 0 for name, count in told.items()}
    return Usage(
        **counts,
        audio=by_modality.get("audio", 0),
        cached_audio=cached.get("audio", 0) if cached else None,
        searches=len(_texts(searched.get("webSearchQueries"))),
        by_modality=tuple(by_modality.items()),
        tier=tier or _TRAFFIC.get(_text(given.get("trafficType")), ""),
        is_counted=is_last and counts["input"] > 0 and None not in told.values(),
    )


def _by_modality(details: Any) -> dict[str, int]:
    """Tokens by kind of content, in lower case; what has no kind is text, as the reference says."""
    tokens: dict[str, int] = {}
    for detail in _tables(details):
        kind = word(detail.get("modality")).lower()
        name = "text" if kind in {"", "modality_unspecified"} else kind
        tokens[name] = tokens.get(name, 0) + (_count(detail.get("tokenCount")) or 0)
    return tokens


def _sources(searched: Mapping[str, Any], fetched: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses that were read, each once: what a search found, and what was fetched with success."""
    found = [
        _text(_table(chunk.get("web")).get("uri"))
        for chunk in _tables(searched.get("groundingChunks"))
    ]
    found += [
        _text(each.get("retrievedUrl"))
        for each in _tables(fetched.get("urlMetadata"))
        if _text(each.get("urlRetrievalStatus")) in {"", "URL_RETRIEVAL_STATUS_SUCCESS"}
    ]
    return tuple(dict.fromkeys(each for each in found if each and each.isprintable()))


def _count(value: Any) -> int | None:
    """A number of tokens; absent is 0, and a number in quotes (as JSON has 64-bit ones) is one.

    None where it is none. The reference has 32 bits for them: what is more would break sums of money.
    """
    if value is None:
        return 0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value > _LARGEST:
        return None
    return max(0, value)


def _first(candidates: Any) -> Mapping[str, Any] | None:
    return next(iter(_tables(candidates[:1] if isinstance(candidates, list) else None)), None)


def _tables(values: Any) -> Iterable[Mapping[str, Any]]:
    return (v for v in (values if isinstance(values, list) else ()) if isinstance(v, Mapping))


def _texts(values: Any) -> list[str]:
    return [v for v in (values if isinstance(values, list) else ()) if isinstance(v, str) and v]


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
