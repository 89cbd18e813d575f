"""What holds for a request whatever its wire: settings that a model can't take, its size, its tokens."""

import json
from typing import Final
from urllib.parse import urlsplit

from pipeline import catalogue
from pipeline.document import Part
from pipeline.errors import ReplyError, UsageError
from pipeline.providers import Endpoint, Request, Settings, Usage
from pipeline.stages import Stage

#: Tokens for what the service adds around the contents: turns, roles, marks of parts. None of it is
#: documented; a few tokens each were seen, this is far above.
_FRAME_TOKENS: Final = 256
#: A page or picture of a service whose table is unknown: the most that Gemini takes (`ultra_high`).
_UNKNOWN_PART_TOKENS: Final = 2240
#: The context of every Gemini model that is listed: what a prompt has at most where nothing is known.
_CONTEXT: Final = 1_048_576
#: Queries of one request that money is set aside for. No service documents a limit of its own; a
#: question about one document takes a few.
_SEARCHES: Final = 20


def check(asked: Settings | Stage, endpoint: Endpoint) -> None:
    """Refuse settings that the model is known not to take, before anything is sent.

    A model that is not in the catalogue is asked for whatever is wanted.

    Raises:
        UsageError: a thinking level that the model does not have (its own are named), more output
            than it gives, a temperature outside 0..2 or for a model that takes none, pages in a form (`send`) that the
            service does not take.

    """
    known, model = endpoint.known, endpoint.model
    levels = known.thinking if known else None
    if asked.thinking is not None and levels is not None and asked.thinking not in levels:
        there = f"its levels are {', '.join(levels)}" if levels else "it takes no thinking level"
        raise UsageError(f"{model} has no thinking level {asked.thinking!r}: {there}")
    _check_form(asked, endpoint)
    limit = (known.output_limit if known else None) or 2**31 - 1
    if asked.max_output_tokens is not None and not 0 < asked.max_output_tokens <= limit:
        raise UsageError(f"max_output_tokens {asked.max_output_tokens}: {model} gives 1 to {limit}")
    if asked.temperature is not None and known is not None and not known.sampling:
        raise UsageError(
            f"temperature {asked.temperature}: {model} takes none and would ignore it; leave it out"
        )
    if asked.temperature is not None and not 0 <= asked.temperature <= 2:
        raise UsageError(f"temperature {asked.temperature}: it goes from 0 to 2")


def _check_form(asked: Settings | Stage, endpoint: Endpoint) -> None:
    """The form in which pages are to go (`send`), which a stage may name."""
    send, service = getattr(asked, "send", "auto"), endpoint.service
    if send == "pdf" and service.pdf != "file":
        way_out = "image or text" if service.sees else "text"
        raise UsageError(
            f'send = "pdf": {endpoint.name} takes no PDF files; leave it out, or write {way_out}'
        )
    if send == "image" and not service.sees:
        raise UsageError(
            f'send = "image": {endpoint.name} takes no pictures; leave it out, or write text'
        )


def ceiling(request: Request, endpoint: Endpoint) -> Usage:
    """The most tokens that a request can take.

    Text counts its UTF-8 bytes (a token is at least one byte, as long as the tokeniser does not
    rewrite characters), the schema too (the service counts it as input). Pages and pictures count the
    catalogue's figure for the resolution that was asked for; for the 2.5 models, which cut large
    pictures into tiles, no such figure is documented, and a large picture can take more. Functions
    and earlier turns count the bytes of their JSON. Sound counts its bytes (32 tokens are a second
    of it at Gemini, so that only sound below 256 bit/s could take more), a video the whole context;
    no prompt can hold more. What tools of the service read is bounded by the context alone.
    Thinking is part of `max_output_tokens`.
    """
    settings = request.settings
    turns = [[turn.said, turn.results] for turn in request.turns]
    functions = [[f.name, f.description, f.parameters] for f in settings.functions]
    told = len(request.system.encode("utf-8", "replace"))
    told += sum(len(_bytes(each)) for each in (request.schema, functions, turns) if each)
    seen = sum(_part_tokens(part, request, endpoint) for part in request.content)
    context = (endpoint.known.input_limit if endpoint.known else None) or _CONTEXT
    heard = min(context, sum(_heard_tokens(part, context) for part in request.content))
    return Usage(
        input=_FRAME_TOKENS * (1 + len(turns)) + told + seen + heard,
        output=settings.max_output_tokens,
        tool=context if settings.tools else 0,
        audio=heard,
        searches=_SEARCHES if "google_search" in settings.tools else 0,
        tier=settings.service_tier or "",
    )


def refuse_too_large(request: Request, length: int, service: catalogue.Service) -> None:
    """Refuse what the service does not take in one request; `length` is the body's bytes.

    Raises:
        ReplyError: `too_large`, with the limit.

    """
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


def check_address(base_url: str, endpoint: Endpoint) -> None:
    """Refuse what is no address, or holds more than one.

    Raises:
        UsageError: says which.

    """
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


def _part_tokens(part: Part, request: Request, endpoint: Endpoint) -> int:
    if part.kind == "text":
        return len(part.text.encode("utf-8", "replace"))
    if part.kind in {"audio", "video"}:
        return 0
    service = endpoint.service
    table = service.page_tokens if part.kind == "pdf" else service.image_tokens
    each = (table or {}).get(request.settings.media_resolution or "default", _UNKNOWN_PART_TOKENS)
    return each * _pages(part)


def _heard_tokens(part: Part, context: int) -> int:
    """Sound and video; one whose bytes lie elsewhere can be of any length."""
    if part.kind == "audio":
        return len(part.data) or context
    return context if part.kind == "video" else 0


def _pages(part: Part) -> int:
    first, last = part.pages
    return max(1, last - first + 1)


def _bytes(told: object) -> bytes:
    """Plain JSON data as it counts here; a mapping of any kind counts like a dict."""
    return json.dumps(told, ensure_ascii=False, default=dict).encode("utf-8", "replace")
