"""What a request will most likely take: its Usage at the least, as expected, and at the most."""

import json
from dataclasses import dataclass, replace
from typing import Final

from pipeline.document import Document, Part
from pipeline.estimating.answer import expected_tokens, thought_tokens
from pipeline.providers import Endpoint, Request, Usage
from pipeline.stages import Stage
from pipeline.values.tokens import text_tokens

#: A page or picture at the least: what older Gemini models count, and one of two pages of Google's
#: documentation still names for a PDF page of the newer ones.
_LEAST_SEEN: Final = 258
#: At most expected where a service's table names the dearest of all its models: Gemini's figure for a picture.
_USUAL_SEEN: Final = 1120
#: Roles and marks around the contents.
_FRAME: Final = 8
#: A short answer, as a share of the expected one.
_SHORT: Final = 0.5


@dataclass(frozen=True, slots=True)
class Likely:
    """Three answers to what one request takes: `high` is what the gate reserves for it."""

    low: Usage
    expected: Usage
    high: Usage


def likely(
    stage: Stage, document: Document, request: Request, endpoint: Endpoint, high: Usage
) -> Likely:
    """What a request takes, estimated without asking anybody.

    Text by its characters, pages and pictures by the service's table. At the least, the parts that all
    documents share are read from the service's own cache, pages count 258 tokens, and the answer is half
    as long as expected, without thinking.
    """
    shared, own = _told(request)
    pictures = _seen(request, endpoint)
    read = min(shared + own + sum(pictures) + high.audio, high.input)
    fewest = min(shared + own + sum(min(each, _LEAST_SEEN) for each in pictures), read)
    # A translation is about as long as what it is made of.
    is_translation = stage.task == "translate"
    answer = own + sum(pictures) if is_translation else expected_tokens(stage, document)
    thought = thought_tokens(stage.thinking, endpoint.model)
    known = endpoint.known
    if known is not None and known.thinking == ():
        thought = 0
    expected = replace(
        high,
        input=read,
        output=min(answer + thought, high.output),
        tool=0,
        searches=min(1, high.searches),
    )
    low = replace(
        expected,
        input=fewest,
        cached=min(_cached(shared, endpoint), fewest),
        audio=min(high.audio, fewest),
        output=max(1, min(int(answer * _SHORT), expected.output)),
        searches=0,
    )
    return Likely(low, expected, high)


def counted(given: Likely, tokens: int) -> Likely:
    """The same, its input tokens as the service itself counted them."""
    return Likely(
        replace(given.low, input=tokens, cached=min(given.low.cached, tokens)),
        replace(given.expected, input=tokens),
        replace(given.high, input=max(given.high.input, tokens)),
    )


def _told(request: Request) -> tuple[int, int]:
    """Tokens of text: those that all documents of a stage share, and those of this one."""
    texts = [part.text for part in request.content if part.kind == "text"]
    # The stage's prompt stands behind its context.
    common = 1 + sum(part.kind == "text" for part in request.content[: request.shared])
    asked: list[object] = [request.schema] if request.schema else []
    asked += [[f.name, f.description, f.parameters] for f in request.settings.functions]
    words = [
        request.system,
        *map(_json, asked),
    ]
    shared = sum(map(text_tokens, (*words, *texts[:common])))
    return shared + _FRAME, sum(map(text_tokens, texts[common:]))


def _json(told: object) -> str:
    """Plain JSON data as it is sent."""
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"), default=dict)


def _seen(request: Request, endpoint: Endpoint) -> list[int]:
    """Tokens of each page and picture, by the service's table."""
    resolution = request.settings.media_resolution or "default"
    tables = {"pdf": endpoint.service.page_tokens, "image": endpoint.service.image_tokens}
    return [
        min((tables[part.kind] or {}).get(resolution, _USUAL_SEEN), _USUAL_SEEN)
        for part in request.content
        if part.kind in tables
        for _ in range(_pages(part))
    ]


def _pages(part: Part) -> int:
    first, last = part.pages
    return max(1, last - first + 1)


def _cached(shared: int, endpoint: Endpoint) -> int:
    """What a service may find in its cache of what was sent before; nothing where it keeps none so small."""
    least = (
        endpoint.known.cache_tokens if endpoint.known else None
    ) or endpoint.service.cache_tokens
    return shared if least is not None and shared >= least else 0
