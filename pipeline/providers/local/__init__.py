"""The engine that runs here: no key, no network, no invented value; for documents that have text."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from pipeline.errors import ReplyError
from pipeline.providers import Endpoint, Hint, Provider, Reply, Request, Usage
from pipeline.schema import Schema
from pipeline.stages import Stage


class Local:
    """Reads fields from pages by labels, places and forms of values; see README.md, "Local engine".

    Every value is a span of the document or its normal form, and has a hint that says where.
    """

    name = "local"
    stored = False
    reads_images = False

    def dialect(self, schema: Schema) -> Mapping[str, Any]:
        """The schema as it is: everything in it may help to find a field."""
        return schema.body

    def ceiling(self, request: Request) -> Usage:
        """Nothing: it is free."""
        return Usage()

    async def send(self, request: Request) -> bytes:
        """Read the document of the request; the body is `{"data": ..., "hints": [...]}` in JSON.

        Raises:
            ReplyError: the request has no document or no schema.

        """
        return await asyncio.to_thread(_answer, request)

    def read(self, body: bytes) -> Reply:
        """The data as JSON text, and the hints.

        Raises:
            ReplyError: the body is not one that `send` made.

        """
        try:
            answer = json.loads(body)
            hints = tuple(Hint(**hint) for hint in answer["hints"])
            text = json.dumps(answer["data"], ensure_ascii=False)
        except (ValueError, LookupError, TypeError) as error:
            raise ReplyError(
                "not_an_answer", "this is not an answer of the local engine"
            ) from error
        return Reply(text, hints=hints, model="local")

    async def aclose(self) -> None:
        """Nothing is open."""


def check(stage: Stage, model: str) -> None:
    """Nothing to refuse: settings that are meant for models change nothing here."""


def open_provider(endpoint: Endpoint) -> Provider:
    """The local engine; the endpoint's address and key are not used."""
    return Local()


def _answer(request: Request) -> bytes:
    from pipeline.providers.local.engine import extract

    if request.document is None or request.target is None:
        raise ReplyError("no_document", "the local engine needs the document itself and its schema")
    data, hints = extract(request.document, request.target)
    return json.dumps({"data": data, "hints": hints}, ensure_ascii=False).encode("utf-8", "replace")
