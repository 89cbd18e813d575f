"""Loading documents in tests: one coroutine in a loop of its own, and what comes of a document."""

import asyncio
import io
from collections.abc import Coroutine
from typing import Any, TypeVar

from PIL import Image

from pipeline.errors import LoadError
from pipeline.loaders import Loaders, wire
from tests.pdfs import pdf, text_at, widget

T = TypeVar("T")
PDF = pdf(
    text_at(50, 700, "Total 12.50"),
    fields=(widget("Tx", "50 600 250 620", "/T (name) /V (Ann)"),),
)


def png() -> bytes:
    """A small picture."""
    written = io.BytesIO()
    Image.effect_noise((40, 30), 60).save(written, "PNG")
    return written.getvalue()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one coroutine in a loop of its own."""
    return asyncio.run(work)


async def outcome(loaders: Loaders, name: str, content: bytes) -> str:
    """The reason of a refusal, or the first page's text."""
    try:
        return (await loaders.load(name, content)).pages[0].text
    except LoadError as error:
        return error.reason if error.reason in wire.REASONS else f"unknown: {error.reason}"
