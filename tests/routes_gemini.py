"""What Gemini answers beside `generateContent`: streams, counts of tokens, and its models page by page.

A stream is what `server.reply` gives, taken apart into events as the service does it: the text in
several parts, the reason of the end and the usage in the last. `streamed` makes one of any answer.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.answers import Answer, Seen, about, camel, error, usage_of
from tests.official import genai_violations
from tests.routes import Route
from tests.wire import strict

if TYPE_CHECKING:
    from tests.server import Server

#: How many models one page of the list holds, whatever is asked for.
PAGE = 1


def streamed(answer: Answer, *, end: str = "\n", pieces: int = 3) -> Answer:
    """A generated answer as server-sent events; errors stay what they are."""
    if answer.status != 200 or not isinstance(answer.body, Mapping):
        return answer
    body = "".join(f"data: {json.dumps(item)}{end}{end}" for item in items(answer.body, pieces))
    return replace(answer, body=body.encode(), headers={"Content-Type": "text/event-stream"})


def items(body: Mapping[str, Any], pieces: int = 3) -> Iterator[dict[str, Any]]:
    """The parts of an answer, one after another; the last has no content, but the end and the usage."""
    if not body.get("candidates"):
        yield dict(body)
        return
    candidate = body["candidates"][0]
    common = {name: body[name] for name in ("modelVersion", "responseId") if name in body}
    for part in candidate.get("content", {}).get("parts", ()):
        for piece in _split(part, pieces):
            content = {"role": "model", "parts": [piece]}
            # As the service does: a count that is not the last one.
            usage = {"promptTokenCount": body.get("usageMetadata", {}).get("promptTokenCount", 0)}
            yield {"candidates": [{"content": content}], "usageMetadata": usage} | common
    yield {"candidates": [{"index": 0}], **common}  # nothing new, and no usage
    last = {name: value for name, value in candidate.items() if name != "content"}
    yield {"candidates": [last], **_rest(body), **common}


def _rest(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"usageMetadata": body["usageMetadata"]} if "usageMetadata" in body else {}


def _split(part: Mapping[str, Any], pieces: int) -> Iterator[dict[str, Any]]:
    text = part.get("text")
    if not isinstance(text, str):
        yield dict(part)
        return
    step = max(1, -(-len(text) // pieces))
    for start in range(0, max(1, len(text)), step):
        yield {**part, "text": text[start : start + step]}


def _stream(seen: Seen, server: "Server") -> Answer:
    return server.barred(seen) or streamed(server.reply(seen))


def _count(seen: Seen, server: "Server") -> Answer:
    if (barred := server.barred(seen)) is not None:
        return barred
    body = camel(seen.body)
    asked = replace(seen, body=body.get("generateContentRequest", body))
    tokens = usage_of(asked, "")["promptTokenCount"]
    return Answer(body={"totalTokens": tokens, "promptTokensDetails": []})


def _count_violations(seen: Seen) -> Iterator[str]:
    body = camel(seen.body) if isinstance(seen.body, dict) else {}
    if body.keys() not in ({"generateContentRequest"}, {"contents"}):
        yield "countTokens takes generateContentRequest alone, or contents alone"
        return
    asked = dict(body.get("generateContentRequest", body))
    named = asked.pop("model", None)
    if "generateContentRequest" in body and named != f"models/{seen.model}":
        yield "the request of countTokens names no model, or another one than its address"
    yield from strict(asked)
    yield from genai_violations("countTokens", body)


def _list(seen: Seen, server: "Server") -> Answer:
    if (barred := server.barred(seen)) is not None:
        return barred
    asked = parse_qs(urlsplit(seen.path).query)
    token = asked.get("pageToken", ["0"])[0]
    known = about(None).body["models"]
    if not re.fullmatch(r"\d+", token):
        return error(400, "page token is invalid")
    start = int(token)
    page: dict[str, Any] = {"models": known[start : start + PAGE]}
    if start + PAGE < len(known):
        page["nextPageToken"] = str(start + PAGE)
    return Answer(body=page)


ROUTES = [
    Route(
        "POST",
        r"/v1beta/models/[^/:]+:streamGenerateContent\?alt=sse",
        _stream,
        lambda seen: strict(seen.body),
    ),
    Route("POST", r"/v1beta/models/[^/:]+:countTokens", _count, _count_violations),
    Route("GET", r"/v1beta/models\?.*", _list),
]
