"""Tokens of the parts that all documents of a stage share, estimated without asking anybody."""

import json
from collections.abc import Iterable
from typing import Final

from pipeline.catalogue import Service
from pipeline.document import Part
from pipeline.providers import Request
from pipeline.values.tokens import text_tokens

#: A page or picture of a service whose table is unknown: Gemini's figure for a picture.
_USUAL: Final = 1120


def tokens_of(parts: Iterable[Part], service: Service, resolution: str = "default") -> int:
    """Tokens of parts: text by its characters, pages and pictures by the service's table."""
    return sum(_tokens(part, service, resolution) for part in parts)


def shared_tokens(request: Request, service: Service) -> int:
    """Tokens of what a cache of the request would hold: shared parts, system instruction, tools."""
    settings = request.settings
    functions = [[f.name, f.description, dict(f.parameters)] for f in settings.functions]
    words = json.dumps(functions, ensure_ascii=False) if functions else ""
    resolution = settings.media_resolution or "default"
    parts = request.content[: request.shared]
    return text_tokens(f"{request.system}{words}") + tokens_of(parts, service, resolution)


def _tokens(part: Part, service: Service, resolution: str) -> int:
    if part.kind == "text":
        return text_tokens(part.text)
    table = service.page_tokens if part.kind == "pdf" else service.image_tokens
    first, last = part.pages
    return min((table or {}).get(resolution, _USUAL), _USUAL) * max(1, last - first + 1)
