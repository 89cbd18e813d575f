"""The test server as an OpenAI-compatible service: chat completions, streamed or not, and the models.

Every body is checked by the package's own types (`tests/chat_body.py`), every answer that is made here
is one of its `ChatCompletion`s. The data of an answer comes from the server's table of answers: the key
is the sha256 (hex) of a picture or file, or any text that stands in the request.
"""

import hashlib
import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.answers import Answer, Seen, fill, packed
from tests.chat_body import strict
from tests.routes import Route

if TYPE_CHECKING:
    from tests.server import Server

MODELS = ("any-model", "gemini-3.1-flash-lite", "gemini-3.1-flash-lite-preview")
_BASE = r"(?:/v1|/v1beta/openai)"


def completion(data: Any, *, usage: Any = None, **changes: Any) -> Answer:
    """An answer whose text is `data` (as JSON, or a str as it is); `changes` of its choice."""
    text = data if isinstance(data, str) or data is None else json.dumps(data, ensure_ascii=False)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "finish_reason": "stop",
    }
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "any-model-0125",
        "choices": [choice | changes],
        "usage": usage or {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }
    return Answer(body=body, billed=True)


def calling(*calls: Mapping[str, Any], finish_reason: str = "tool_calls") -> Answer:
    """An answer that asks for functions; `calls` are `{"name", "arguments", "id"?, ...}`."""
    asked = [
        {
            "id": call.get("id", f"call_{number}"),
            "type": "function",
            "function": {"name": call["name"], "arguments": call["arguments"]},
        }
        | {k: v for k, v in call.items() if k not in {"name", "arguments", "id"}}
        for number, call in enumerate(calls)
    ]
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": asked}
    return completion(None, message=message, finish_reason=finish_reason)


def error(status: int, message: str = "it failed", **more: Any) -> Answer:
    """An error report as OpenAI sends it."""
    report = {"message": message, "type": "error", "param": None, "code": None}
    return Answer(status, {"error": report | more})


def streamed(
    answer: Answer, *, size: int = 7, newline: str = "\n", is_whole: bool = True
) -> Answer:
    """The same answer as server-sent events, its text in pieces of `size` characters."""
    body = answer.body
    choice = body["choices"][0]
    frame = {key: body[key] for key in ("id", "created", "model")}
    frame["object"] = "chat.completion.chunk"

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return {**frame, "choices": choices, "usage": None}

    text = choice["message"]["content"] or ""
    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"content": text[at : at + size]}) for at in range(0, len(text), size)]
    for index, call in enumerate(choice["message"].get("tool_calls", [])):
        arguments = call["function"]["arguments"]
        empty = call | {"function": call["function"] | {"arguments": ""}}
        chunks.append(chunk({"tool_calls": [{"index": index, **empty}]}))
        for at in range(0, len(arguments), size):
            piece = {"index": index, "function": {"arguments": arguments[at : at + size]}}
            chunks.append(chunk({"tool_calls": [piece]}))
    if is_whole:
        chunks += [chunk({}, choice["finish_reason"])]
        chunks += [{**frame, "choices": [], "usage": body["usage"]}]
    return events(*chunks, "[DONE]", newline=newline)


def events(*data: Any, newline: str = "\n") -> Answer:
    """A body of server-sent events."""
    texts = [item if isinstance(item, str) else json.dumps(item) for item in data]
    body = "".join(f"data: {text}{newline}{newline}" for text in texts).encode()
    return Answer(body=body, headers={"Content-Type": "text/event-stream"}, billed=True)


def messages(seen: Seen, role: str) -> list[Any]:
    """The contents of all messages of a role."""
    return [m.get("content") for m in seen.body["messages"] if m["role"] == role]


def content(seen: Seen) -> list[dict[str, Any]]:
    """The parts of the user's message; a text alone is one."""
    given = messages(seen, "user")[0]
    return [{"type": "text", "text": given}] if isinstance(given, str) else given


def files(seen: Seen) -> list[tuple[str, bytes]]:
    """Kind and bytes of each picture, sound and file."""
    found = []
    for part in content(seen):
        inner = part.get(part["type"])
        if part["type"] != "text" and isinstance(inner, dict):
            given = inner.get("url") or inner.get("file_data") or inner["data"]
            found.append((part["type"], b64decode(given.partition("base64,")[2] or given)))
    return found


def _chat(seen: Seen, server: "Server") -> Answer:
    if (refused := _refused(seen, server)) is not None:
        return refused
    if seen.violations:
        return error(400, seen.violations[0], type="invalid_request_error")
    known = [hashlib.sha256(data).hexdigest() for _, data in files(seen)]
    known += [part["text"] for part in content(seen) if part["type"] == "text"]
    named = seen.body.get("response_format", {}).get("json_schema", {})
    data = _data("\n".join(known), server.answers, named.get("schema", {"type": "object"}))
    answer = _cut(completion(data), seen)
    _check(answer.body)
    return streamed(answer) if seen.body.get("stream") else answer


def _data(known: str, table: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """What the table has for a request, for each document that shares it; else the schema filled."""
    if items := packed(known):
        one = schema["properties"]["items"]["items"]["properties"]["answer"]
        return {"items": [{"key": k, "answer": _data(text, table, one)} for k, text in items]}
    data = next((table[key] for key in table if key in known), None)
    return fill(schema) if data is None else data


def _cut(answer: Answer, seen: Seen) -> Answer:
    """The answer by the model that was asked, no longer than was allowed, with what it took: four bytes a token."""
    limit = seen.body.get("max_completion_tokens") or seen.body.get("max_tokens") or 65_536
    choice = answer.body["choices"][0]
    text = choice["message"]["content"]
    cut = text.encode()[: 4 * limit].decode("utf-8", "ignore")
    choice["message"]["content"] = cut
    choice["finish_reason"] = "stop" if cut == text else "length"
    told = sum(len(part["text"].encode()) for part in content(seen) if part["type"] == "text")
    tokens = {
        "prompt_tokens": told // 4 + 1120 * len(files(seen)),
        "completion_tokens": min(limit, len(cut.encode()) // 4 + 1),
    }
    usage = tokens | {"total_tokens": sum(tokens.values())}
    return replace(answer, body=answer.body | {"model": seen.body["model"], "usage": usage})


def _check(body: Mapping[str, Any]) -> None:
    from openai.types.chat import ChatCompletion

    ChatCompletion.model_validate(body, strict=True)


def _models(seen: Seen, server: "Server") -> Answer:
    if (refused := _refused(seen, server)) is not None:
        return refused
    listed = [
        {"id": i, "object": "model", "created": 1, "owned_by": "us", "max_model_len": 32_768}
        for i in MODELS
    ]
    asked = seen.path.partition("/models")[2].strip("/")
    if not asked:
        return Answer(body={"object": "list", "data": listed})
    found = next((model for model in listed if model["id"] == asked), None)
    if found is None:
        return error(404, f"The model '{asked}' does not exist", code="model_not_found")
    return Answer(body=found)


def _refused(seen: Seen, server: "Server") -> Answer | None:
    """What the service says to a wrong key; a server with an empty set of keys wants none."""
    if server.keys == set():
        return None
    scheme, _, key = seen.headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or not key or (server.keys is not None and key not in server.keys):
        told = f"Incorrect API key provided: {key}"
        return error(401, told, type="invalid_request_error", code="invalid_api_key")
    return None


def _wrong(seen: Seen) -> Iterable[str]:
    return strict(seen.body)


ROUTES = [
    Route("POST", _BASE + "/chat/completions", _chat, _wrong),
    Route("GET", _BASE + "/models(?:/[^/]+)?", _models),
]
