"""Is a body of chat completions exactly what the format knows? Asked of the types of the package openai.

`strict(body)` checks a body against `CompletionCreateParams`, no unknown field and no other type allowed,
and then the rules that types can't express. What Google's compatibility address adds stands in `GOOGLES`.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.official import openai_violations

#: Signatures of thinking, which come with a call of a function and must go back with it.
GOOGLES = "extra_content"
#: Keywords of strict schemas (the guide to Structured Outputs, section "Supported schemas").
KEYWORDS = set(
    "type properties required additionalProperties items enum anyOf title description format $ref $defs".split()  # noqa: SIM905, as a sentence it is read faster
)


def strict(body: Any) -> list[str]:
    """Everything that is wrong with a body, as sentences."""
    if not isinstance(body, Mapping):
        return ["the body is no object"]
    return _typed(body) or [*_rules(body)]


def _typed(body: Mapping[str, Any]) -> list[str]:
    plain = copy.deepcopy(dict(body))
    for message in plain.get("messages", []):
        message.pop(GOOGLES, None)
        for call in message.get("tool_calls", []):
            call.pop(GOOGLES, None)
    return openai_violations(plain)


def _rules(body: Mapping[str, Any]) -> Iterator[str]:
    if "max_tokens" in body and "max_completion_tokens" in body:
        yield "max_tokens and max_completion_tokens"
    if "stream_options" in body and not body.get("stream"):
        yield "stream_options without stream"
    named = body.get("response_format", {}).get("json_schema")
    if named is not None:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", named["name"]):
            yield f"the schema's name is {named['name']!r}"
        if named["schema"].get("type") != "object":
            yield "the root of the schema is no object"
        if named.get("strict"):
            yield from _schema_rules(named["schema"], "#")
    names = [tool["function"]["name"] for tool in body.get("tools", [])]
    yield from (f"a function {n!r}" for n in names if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", n))
    yield from (wrong for message in body.get("messages", []) for wrong in _message_rules(message))
    asked = [c["id"] for m in body.get("messages", []) for c in m.get("tool_calls", [])]
    answered = [m["tool_call_id"] for m in body.get("messages", []) if m.get("role") == "tool"]
    if asked != answered:
        yield f"calls {asked}, results {answered}"


def _message_rules(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    for part in content if isinstance(content, list) else []:
        if part.get("type") == "image_url":
            uri = part["image_url"]["url"]
            if not re.match(r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+=*$", uri):
                yield f"a picture at {uri[:40]}"
        if part.get("type") == "file" and not re.match(
            r"data:application/pdf;base64,[A-Za-z0-9+/]+=*$", part["file"]["file_data"]
        ):
            yield "a file that is no PDF as a data URI"


def _schema_rules(schema: Any, at: str) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        yield f"{at}: a schema is an object"
        return
    for keyword in schema.keys() - KEYWORDS:
        yield f"{at}: {keyword} is not supported"
    properties = schema.get("properties", {})
    kinds = schema.get("type", [])
    if "object" in kinds and (
        schema.get("additionalProperties") is not False
        or sorted(schema.get("required", [])) != sorted(properties)
    ):
        yield f"{at}: an object must be closed, and all its keys required"
    for name, inner in {**properties, **schema.get("$defs", {})}.items():
        yield from _schema_rules(inner, f"{at}/{name}")
    for number, inner in enumerate(schema.get("anyOf", [])):
        yield from _schema_rules(inner, f"{at}/anyOf/{number}")
    if "items" in schema:
        yield from _schema_rules(schema["items"], f"{at}/items")
