"""Gemini's native API over HTTP: a Request becomes `generateContent`, its answer a Reply.

`wire.py` builds the body, `http.py` carries it, `faults.py` names what went wrong, `reply.py` reads the
answer.
"""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pipeline import catalogue
from pipeline.document import Part
from pipeline.errors import ReplyError, Transient, UsageError
from pipeline.providers import Endpoint, Reply, Request, Settings, Usage
from pipeline.providers.gemini import wire
from pipeline.providers.gemini.faults import Answer, error_inside, fault
from pipeline.providers.gemini.http import Line, Timeouts
from pipeline.providers.gemini.reply import parse, read
from pipeline.schema import Schema
from pipeline.schema.gemini import compile as compile_schema
from pipeline.stages import Stage

__all__ = [
    "Gemini",
    "Timeouts",
    "body",
    "ceiling",
    "check",
    "open_provider",
    "read",
    "refuse_too_large",
]

#: Tokens for what the service adds around the contents: turns, roles, marks of parts. None of it is
#: documented; a few tokens each were seen, this is far above.
_FRAME_TOKENS: Final = 256
#: A page or picture of a service whose table is unknown: the most that Gemini takes (`ultra_high`).
_UNKNOWN_PART_TOKENS: Final = 2240


def open_provider(endpoint: Endpoint) -> "Gemini":
    """The provider for a Gemini endpoint; nothing is connected yet.

    Raises:
        UsageError: its address is not one.

    """
    return Gemini(endpoint)


def check(asked: Settings | Stage, model: str, provider: str = "gemini") -> None:
    """Refuse settings that the model can't take, before anything is sent.

    A model that is not in the catalogue is asked
    for whatever is wanted.

    Raises:
        UsageError: a thinking level that the model does not have (its own are named), more output
            than it gives, a temperature outside 0..2, a seed outside 32 bits.

    """
    known = catalogue.find(provider, model)
    levels = known.thinking if known else None
    if asked.thinking is not None and levels is not None and asked.thinking not in levels:
        there = f"its levels are {', '.join(levels)}" if levels else "it takes no thinking level"
        raise UsageError(f"{model} has no thinking level {asked.thinking!r}: {there}")
    limit = known.output_limit if known else None
    if asked.max_output_tokens is not None and not 0 < asked.max_output_tokens <= (
        limit or 2**31 - 1
    ):
        raise UsageError(
            f"max_output_tokens {asked.max_output_tokens}: {model} gives 1 to {limit or 2**31 - 1}"
        )
    if asked.temperature is not None and not 0 <= asked.temperature <= 2:
        raise UsageError(f"temperature {asked.temperature}: it goes from 0 to 2")
    if asked.seed is not None and not -(2**31) <= asked.seed < 2**31:
        raise UsageError(f"seed {asked.seed}: it is a number of 32 bits")


def body(request: Request) -> dict[str, Any]:
    """What is sent for a request, whole, as plain JSON data.

    Raises:
        UsageError: a setting that the model can't take.

    """
    check(request.settings, request.model, request.provider)
    return wire.body(request)


def ceiling(request: Request) -> Usage:
    """The most tokens that a request can take.

    Text counts its UTF-8 bytes (a token is at least one byte, as long as the tokeniser does not
    rewrite characters), the schema too (the service counts it as input). Pages and pictures count the
    catalogue's figure for the resolution that was asked for; for the 2.5 models, which cut large
    pictures into tiles, no such figure is documented, and a large picture can take more. Thinking
    is part of `max_output_tokens`.
    """
    text = request.system.encode("utf-8", "replace")
    schema = (
        b""
        if request.schema is None
        else json.dumps(request.schema, ensure_ascii=False).encode("utf-8", "replace")
    )
    parts = sum(_part_tokens(part, request) for part in request.content)
    return Usage(
        input=_FRAME_TOKENS + len(text) + len(schema) + parts,
        output=request.settings.max_output_tokens,
    )


def refuse_too_large(request: Request, length: int) -> None:
    """Refuse what the service does not take in one request; `length` is the body's bytes.

    Raises:
        ReplyError: `too_large`, with the limit.

    """
    service = catalogue.service(request.provider)
    if service is None:
        return
    pdfs = [part for part in request.content if part.kind == "pdf"]
    counts = (
        (max((len(pdf.data) for pdf in pdfs), default=0), service.pdf_bytes, "bytes in one PDF"),
        (sum(_pages(pdf) for pdf in pdfs), service.pdf_pages, "PDF pages"),
        (sum(part.kind == "image" for part in request.content), service.images, "pictures"),
        (length, service.request_bytes, "bytes"),
    )
    for count, limit, what in counts:
        if limit is not None and count > limit:
            raise ReplyError(
                "too_large",
                f"{count:,} {what}, and {request.provider} takes at most {limit:,} in a request; "
                f"split the document, or send fewer pages",
            )


class Gemini:
    """One model behind Gemini's native API."""

    stored = True
    reads_images = True

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts | None = None) -> None:
        service = catalogue.service(endpoint.provider)
        base_url = endpoint.base_url or (service.base_url if service else "")
        _check_address(base_url, endpoint)
        self.name = endpoint.provider
        self.endpoint = endpoint
        self._line = Line(endpoint, base_url, timeouts or Timeouts())
        self._dialects: dict[str, Mapping[str, Any]] = {}

    def dialect(self, schema: Schema) -> Mapping[str, Any]:
        """The schema as it is sent; compiled once, not to be changed."""
        if schema.sha256 not in self._dialects:
            self._dialects[schema.sha256] = compile_schema(schema)
        return self._dialects[schema.sha256]

    def ceiling(self, request: Request) -> Usage:
        """The most tokens that the request can take: what is reserved before it is sent."""
        return ceiling(request)

    async def send(self, request: Request) -> bytes:
        """Ask, once. The answer's body as the service gave it, but never with the key in it.

        Raises:
            Transient: it may pass; also an answer that came damaged.
            ReplyError: the service refuses this request for good.
            KeyRefused, QuotaReached, SetupError: the run can't go on.
            UsageError: a setting that the model can't take; nothing was sent.

        """
        check(request.settings, request.model, request.provider)
        pieces = wire.pieces(request)
        length = wire.size(pieces)
        refuse_too_large(request, length)
        path = f"/v1beta/models/{quote(request.model.removeprefix('models/'), safe='')}:generateContent"
        answer = await self._line.post(path, wire.stream(pieces), length)
        if answer.status != 200:
            raise fault(answer, self.endpoint)
        return self._sound(answer)

    def read(self, body: bytes) -> Reply:
        """Understand a body that `send` returned, now or in an earlier run."""
        return read(body)

    async def aclose(self) -> None:
        """Close connections."""
        await self._line.aclose()

    def _sound(self, answer: Answer) -> bytes:
        """The body of a success, if it arrived whole; what did not is asked again, never kept."""
        try:
            given = parse(answer.body)
        except ReplyError as error:
            raise Transient(error.reason, f"{self.endpoint.name}: {error}", billed=True) from None
        status = error_inside(given) if isinstance(given, Mapping) else None
        if status is not None:
            raise fault(Answer(status, answer.headers, answer.body), self.endpoint)
        return answer.body


def _check_address(base_url: str, endpoint: Endpoint) -> None:
    try:
        parts = urlsplit(base_url)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise UsageError(f"the address of {endpoint.name} is not one: {base_url!r}") from None
    if not is_one or not base_url.isprintable():
        raise UsageError(
            f"the address of {endpoint.name} is not one: {base_url!r}; it begins with https://"
        )
    if parts.username or parts.query or parts.fragment:
        # Addresses are shown in messages and logs, so that nothing secret may stand in them.
        raise UsageError(
            f"the address of {endpoint.name} holds more than an address; the key goes into a header"
        )


def _part_tokens(part: Part, request: Request) -> int:
    if part.kind == "text":
        return len(part.text.encode("utf-8", "replace"))
    service = catalogue.service(request.provider)
    table = (
        (service.page_tokens if part.kind == "pdf" else service.image_tokens) if service else None
    )
    each = (table or {}).get(request.settings.media_resolution or "default", _UNKNOWN_PART_TOKENS)
    return each * _pages(part)


def _pages(part: Part) -> int:
    first, last = part.pages
    return max(1, last - first + 1)
