"""A Request in Gemini's own JSON: as plain data for showing, and as pieces of bytes for sending.

Field names and places: `GenerateContentRequest`, googleapis commit f8291d2b, v1beta; newer ones
(`thinkingLevel` inside `thinkingConfig`, `serviceTier`, `includeServerSideToolInvocations`) as
google-genai 3.4.0 has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.document import Part
from pipeline.providers import Call, Request, Settings, Tool, Turn
from pipeline.providers.pieces import File, size, stream, whole
from pipeline.providers.pieces import pieces as joined
from pipeline.schema import Schema
from pipeline.schema.dialects import compile as compile_schema

__all__ = ["Stored", "body", "cached", "counted", "pieces", "size", "stream"]

_TOOLS: Final = {
    "google_search": "googleSearch",
    "url_context": "urlContext",
    "code_execution": "codeExecution",
}
#: The kinds of harm that text is looked through for; others (civic integrity) are not filtered any more.
_HARMS: Final = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
_THRESHOLDS: Final = {
    "off": "OFF",
    "none": "BLOCK_NONE",
    "high": "BLOCK_ONLY_HIGH",
    "medium": "BLOCK_MEDIUM_AND_ABOVE",
    "low": "BLOCK_LOW_AND_ABOVE",
}
#: Services that combine both kinds of tools by themselves and do not know the switch for it (google-genai 3.4.0).
_NO_SWITCH: Final = frozenset({"vertex"})
#: What Vertex AI counts (google-genai 3.4.0, `_CountTokensConfig_to_vertex`).
_COUNTED: Final = ("systemInstruction", "tools", "generationConfig", "contents")
#: What a cache holds beside contents, and a request that names a cache must not.
_IN_CACHE: Final = ("systemInstruction", "tools", "toolConfig")


@dataclass(frozen=True, slots=True)
class Stored:
    """What of a request lies at the service already.

    `files` are addresses by content hash; `cache` names one that holds the shared parts, the system
    instruction and the tools.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    cache: str = ""


_NOTHING: Final = Stored()


def body(request: Request, stored: Stored = _NOTHING) -> dict[str, Any]:
    """The body of `generateContent`, whole, as plain JSON data."""
    told: dict[str, Any] = whole(_body(request, stored))
    return told


def pieces(request: Request, stored: Stored = _NOTHING) -> list[bytes | Part]:
    """The same body as it is sent: bytes of JSON, and between them the Parts whose data becomes base64."""
    return joined(_body(request, stored))


def cached(request: Request, stored: Stored = _NOTHING) -> dict[str, Any]:
    """What of a request goes into a cache, for `pieces.pieces`: shared parts, system instruction, tools."""
    frame = _frame(request)
    shared = [_part(part, stored) for part in request.content[: request.shared]]
    return {key: frame[key] for key in _IN_CACHE if key in frame} | {
        "contents": [{"role": "user", "parts": shared}]
    }


def counted(request: Request, *, flat: bool = False) -> list[bytes | Part]:
    """The body of `countTokens` for a request, as it is sent: with it, system and schema count too.

    `flat` is Vertex AI's form: the same fields, in no `generateContentRequest`.
    """
    told = _body(request, _NOTHING)
    if flat:
        return joined({key: told[key] for key in _COUNTED if key in told})
    asked = {"model": f"models/{request.model.removeprefix('models/')}", **told}
    asked.pop("serviceTier", None)  # a price is no matter here
    return joined({"generateContentRequest": asked})


def _body(request: Request, stored: Stored) -> dict[str, Any]:
    frame, content = _frame(request), request.content
    if stored.cache:
        frame = {key: value for key, value in frame.items() if key not in _IN_CACHE}
        frame["cachedContent"] = stored.cache
        content = content[request.shared :]
    first = {"role": "user", "parts": [_part(part, stored) for part in content]}
    rounds = [content for turn in request.turns for content in _turn(turn)]
    return {**frame, "contents": [first, *rounds]}


def _part(part: Part, stored: Stored) -> dict[str, Any]:
    if part.kind == "text":
        return {"text": part.text}
    if address := stored.files.get(part.sha256):
        return {"fileData": {"mimeType": part.media_type, "fileUri": address}}
    return {"inlineData": {"mimeType": part.media_type, "data": File(part)}}


def _turn(turn: Turn) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model's turn as it came, signatures and all, and ours with the results, the last of the two."""
    results = [_result(*pair) for pair in zip(turn.calls, turn.results, strict=True)]
    return {"role": "model", **turn.said}, {"role": "user", "parts": results}


def _result(call: Call, result: Any) -> dict[str, Any]:
    response = result if isinstance(result, Mapping) else {"result": result}
    named = {"id": call.id, "name": call.name} if call.id else {"name": call.name}
    return {"functionResponse": {**named, "response": response}}


def _frame(request: Request) -> dict[str, Any]:
    """Everything but the contents; what is not asked for is never there."""
    settings = request.settings
    frame: dict[str, Any] = {}
    if request.system:
        frame["systemInstruction"] = {"parts": [{"text": request.system}]}
    if tools := _tools(settings):
        frame["tools"] = tools
    if settings.tools and settings.functions and request.provider not in _NO_SWITCH:
        frame["toolConfig"] = {"includeServerSideToolInvocations": True}
    if settings.safety is not None:
        threshold = _THRESHOLDS[settings.safety]
        frame["safetySettings"] = [
            {"category": f"HARM_CATEGORY_{harm}", "threshold": threshold} for harm in _HARMS
        ]
    if settings.service_tier is not None:
        frame["serviceTier"] = settings.service_tier
    return {**frame, "generationConfig": _config(request)}


def _config(request: Request) -> dict[str, Any]:
    """How to answer; `maxOutputTokens` is always there."""
    settings = request.settings
    config: dict[str, Any] = {}
    if request.schema is not None or request.as_json:
        config["responseMimeType"] = "application/json"
    if request.schema is not None:
        config["responseJsonSchema"] = dict(request.schema)
    config["maxOutputTokens"] = settings.max_output_tokens
    if settings.seed is not None:
        config["seed"] = settings.seed
    if settings.temperature is not None:
        config["temperature"] = settings.temperature
    if settings.media_resolution is not None:
        config["mediaResolution"] = f"MEDIA_RESOLUTION_{settings.media_resolution.upper()}"
    if settings.thinking is not None:
        config["thinkingConfig"] = {"thinkingLevel": settings.thinking.upper()}
    return config


def _tools(settings: Settings) -> list[dict[str, Any]]:
    own: list[dict[str, Any]] = [{_TOOLS[name]: {}} for name in settings.tools]
    if settings.functions:
        own.append({"functionDeclarations": [_declared(tool) for tool in settings.functions]})
    return own


def _declared(tool: Tool) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if tool.parameters.get("properties"):  # one without parameters has no schema at all
        schema = compile_schema(Schema(tool.name, dict(tool.parameters))) or {}
        declared["parametersJsonSchema"] = schema
    return declared
