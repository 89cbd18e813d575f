"""A Request in Gemini's own JSON: as plain data for showing, and as pieces of bytes for sending.

Field names and places: `GenerateContentRequest`, googleapis commit f8291d2b, v1beta; `thinkingLevel`
stands inside `thinkingConfig` (google-genai 3.4.0), directly in `generationConfig` it is a 400.

Files never pass through `json.dumps`: it looks at every character of their base64, 1.7 ms a
megabyte; the pieces are sent one after another, so that a large file is held in memory only once.
"""

import json
from base64 import b64encode
from binascii import b2a_base64
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from pipeline.document import Part
from pipeline.providers import Request

#: Bytes of a file that become base64 at a time: a multiple of 3, so that the pieces can be joined.
_CHUNK: Final = 3 * 2**16


def body(request: Request) -> dict[str, Any]:
    """The body of `generateContent`, whole, as plain JSON data."""
    parts = [
        {"text": part.text} if part.kind == "text" else _inline(part, b64encode(part.data).decode())
        for part in request.content
    ]
    return {**_frame(request), "contents": [{"role": "user", "parts": parts}]}


def pieces(request: Request) -> list[bytes | Part]:
    """The same body as it is sent: bytes of JSON, and between them the Parts whose data becomes base64."""
    frame = _json(_frame(request))
    joined: list[bytes | Part] = [frame[:-1] + b',"contents":[{"role":"user","parts":[']
    for number, part in enumerate(request.content):
        comma = b"," if number else b""
        if part.kind == "text":
            joined.append(comma + _json({"text": part.text}))
        else:
            before, after = _json(_inline(part, "")).rsplit(b'""', 1)
            joined += [comma + before + b'"', part, b'"' + after]
    return _coalesced([*joined, b"]}]}"])


def size(joined: Iterable[bytes | Part]) -> int:
    """How many bytes the pieces are on the wire."""
    return sum(len(p) if isinstance(p, bytes) else (len(p.data) + 2) // 3 * 4 for p in joined)


def stream(joined: Iterable[bytes | Part]) -> Iterator[bytes]:
    """The bytes of the pieces, files in chunks of base64."""
    for piece in joined:
        if isinstance(piece, bytes):
            yield piece
            continue
        data = memoryview(piece.data)
        for start in range(0, len(data), _CHUNK):
            yield b2a_base64(data[start : start + _CHUNK], newline=False)


def _frame(request: Request) -> dict[str, Any]:
    """Everything but the contents; `maxOutputTokens` is always there, what is not asked for never."""
    settings = request.settings
    config: dict[str, Any] = {"maxOutputTokens": settings.max_output_tokens}
    if request.schema is not None:
        config = {
            "responseMimeType": "application/json",
            "responseJsonSchema": dict(request.schema),
        } | config
    if settings.seed is not None:
        config["seed"] = settings.seed
    if settings.temperature is not None:
        config["temperature"] = settings.temperature
    if settings.media_resolution is not None:
        config["mediaResolution"] = f"MEDIA_RESOLUTION_{settings.media_resolution.upper()}"
    if settings.thinking is not None:
        config["thinkingConfig"] = {"thinkingLevel": settings.thinking.upper()}
    system = {"systemInstruction": {"parts": [{"text": request.system}]}} if request.system else {}
    return {**system, "generationConfig": config}


def _coalesced(joined: Iterable[bytes | Part]) -> list[bytes | Part]:
    """Neighbouring bytes as one, so that a request without files goes out in one write."""
    kept: list[bytes | Part] = []
    for is_bytes, run in groupby(joined, key=lambda piece: isinstance(piece, bytes)):
        group = list(run)
        kept += (
            [b"".join(piece for piece in group if isinstance(piece, bytes))] if is_bytes else group
        )
    return kept


def _inline(part: Part, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": part.media_type, "data": data}}


def _json(value: Any) -> bytes:
    # Half of a surrogate pair is no character: the service would refuse the whole request for it.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
