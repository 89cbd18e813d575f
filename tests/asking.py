"""Requests to a test server, as the tests of Gemini make them."""

import asyncio
import hashlib
import io
from dataclasses import replace
from typing import Any

from pipeline.document import Document, Part, PartKind, Window
from pipeline.errors import (
    FieldsiftError,
)
from pipeline.providers import Endpoint, Request, Settings
from pipeline.providers.gemini import (
    Gemini,
    Timeouts,
)
from pipeline.schema import Schema
from tests.answers import generated
from tests.server import Server

KEY = "AIzaSy-canary-0123456789"
WHOLE = generated({"total": 5})
#: For answers that never come; all others get the time that a busy machine needs.
QUICK = Timeouts(read=0.5, total=5.0)
SCHEMA = Schema(
    "bill",
    {
        "type": "object",
        "properties": {
            "vendor": {"type": ["string", "null"]},
            "total": {"type": "number", "minimum": 0},
        },
        "required": ["total"],
    },
)


def endpoint(url: str = "http://127.0.0.1:9", **changes: Any) -> Endpoint:
    """The endpoint of a test server."""
    plain = Endpoint("gemini", "gemini-3.1-flash-lite", url, KEY, "GEMINI_API_KEY")
    return replace(plain, **changes)


def whole(document: Document) -> Window:
    """The window that holds all pages."""
    return Window(tuple(range(1, document.page_count + 1)))


def text_part(text: str) -> Part:
    """A part of plain text."""
    return Part("text", "text/plain", text=text)


def file_part(data: bytes, media_type: str = "application/pdf", pages: int = 1) -> Part:
    """A file as it is sent."""
    kind: PartKind = "pdf" if media_type == "application/pdf" else "image"
    digest = hashlib.sha256(data).hexdigest()
    return Part(kind, media_type, data=data, sha256=digest, pages=(1, pages))


def request(*content: Part, model: str = "gemini-3.1-flash-lite", **asked: Any) -> Request:
    """A request as the prompts room makes it."""
    dialect = Gemini(endpoint()).dialect(SCHEMA)
    given_settings = Settings(**{"max_output_tokens": 1024, **asked})
    return Request(
        "gemini", model, "Extract.", content or (text_part("Total: 5"),), dialect, given_settings
    )


def ask(server: Server | Endpoint, *requests: Request, times: Timeouts | None = None) -> list[Any]:
    """Send requests one after another; bodies and errors as they come."""

    async def send() -> list[Any]:
        at = server if isinstance(server, Endpoint) else endpoint(server.url)
        provider = Gemini(at, times)
        answers: list[Any] = []
        try:
            for one in requests or (request(),):
                if one.model not in {endpoint().model, provider.endpoint.model}:
                    await provider.aclose()
                    provider = Gemini(replace(at, model=one.model), times)
                try:
                    answers.append(await provider.send(one))
                except FieldsiftError as failure:
                    answers.append(failure)
        finally:
            await provider.aclose()
        return answers

    return asyncio.run(send())


ASKED: list[dict[str, Any]] = [
    {},
    {"thinking": "minimal"},
    {"thinking": "high", "seed": 7},
    {"temperature": 0.0},
    {"media_resolution": "low"},
    {"media_resolution": "high", "thinking": "low", "temperature": 1.5, "seed": -1},
]


def pdf(pages: int) -> bytes:
    """A PDF with so many empty pages."""
    from pypdf import PdfWriter

    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(100, 100)
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()
