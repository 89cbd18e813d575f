"""A Request in the JSON of OpenAI's chat completions: as plain data for showing, and in pieces for sending.

Field names and places: `CompletionCreateParams` of the package openai 3.54.0. What a service takes of
it is said by its entry in the catalogue.
"""

import json
from typing import Any, Final

from pipeline.catalogue import Service
from pipeline.document import Part
from pipeline.errors import ReplyError
from pipeline.providers import Request, Turn
from pipeline.providers.pieces import File

#: The name that a schema must have there (`[a-zA-Z0-9_-]{1,64}`); always the same, so that it says nothing.
_SCHEMA_NAME: Final = "answer"
_DETAIL: Final = {"low": "low", "medium": "auto", "high": "high"}
_TIER: Final = {"standard": "default", "flex": "flex", "priority": "priority"}
#: The two kinds of sound that chat completions take, by the media types they go under.
SOUNDS: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}


def body(request: Request, service: Service) -> dict[str, Any]:
    """The body of `chat/completions`, Files in place of the bytes of files; what is not asked for is not in it.

    Raises:
        ReplyError: `unsupported_part`: the wire has no form for a part.

    """
    settings = request.settings
    told: dict[str, Any] = {"model": request.model, "messages": _messages(request)}
    told |= _response_format(request, service)
    told[service.limit_name] = settings.max_output_tokens
    optional = {
        "temperature": settings.temperature,
        "seed": settings.seed,
        "reasoning_effort": settings.thinking if service.effort else None,
        "service_tier": _TIER.get(settings.service_tier or ""),
    }
    told |= {name: value for name, value in optional.items() if value is not None}
    if settings.functions:
        told["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in settings.functions
        ]
    if settings.stream:
        told |= {"stream": True, "stream_options": {"include_usage": True}}
    return told


def _response_format(request: Request, service: Service) -> dict[str, Any]:
    """How the answer's form is enforced: by the schema, as any JSON object, or not at all."""
    if request.schema is not None and service.schema == "json_schema":
        named = {"name": _SCHEMA_NAME, "strict": True, "schema": dict(request.schema)}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    # It enforces an object, so that a list or a text as the whole answer can't be asked for in that way.
    is_object = request.target is None or request.target.tree.type == "object"
    if request.as_json and is_object and service.schema != "none":
        return {"response_format": {"type": "json_object"}}
    return {}


def _messages(request: Request) -> list[dict[str, Any]]:
    content: Any = [_part(part, request) for part in request.content]
    if all(part.kind == "text" for part in request.content):
        # One text is what every server takes; templates of local models often know nothing else.
        content = "\n".join(part.text for part in request.content)
    system = [{"role": "system", "content": request.system}] if request.system else []
    turns = [message for turn in request.turns for message in _turn(turn)]
    return [*system, {"role": "user", "content": content}, *turns]


def _turn(turn: Turn) -> list[dict[str, Any]]:
    """The model's turn as it came, and a message for each result."""
    answers = [
        {
            "role": "tool",
            "tool_call_id": call.id,
            "content": json.dumps(result, ensure_ascii=False),
        }
        for call, result in zip(turn.calls, turn.results, strict=True)
    ]
    return [dict(turn.said), *answers]


def _part(part: Part, request: Request) -> dict[str, Any]:
    if part.kind == "text":
        return {"type": "text", "text": part.text}
    uri = File(part, f"data:{part.media_type};base64,")
    if part.kind == "image":
        detail = _DETAIL.get(request.settings.media_resolution or "")
        return {
            "type": "image_url",
            "image_url": {"url": uri} | ({"detail": detail} if detail else {}),
        }
    if part.kind == "pdf":
        # Its own name stays here: it may say more than the document.
        return {"type": "file", "file": {"filename": "document.pdf", "file_data": uri}}
    if part.kind == "audio" and part.media_type in SOUNDS:
        sound = {"data": File(part), "format": SOUNDS[part.media_type]}
        return {"type": "input_audio", "input_audio": sound}
    raise ReplyError(
        "unsupported_part",
        f"{request.provider}: {part.media_type} can't be sent over the OpenAI wire; "
        f"it takes sound as WAV or MP3, pictures, PDF and text",
    )
