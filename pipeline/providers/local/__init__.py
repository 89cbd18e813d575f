"""The engine that runs here: no key, no network, no invented value; for documents that have text.

Every value is a span of the document or its normal form (ISO date, number, currency code, the
member of an enum, true for a ticked box), with a hint that says where it stands.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from pipeline.errors import ReplyError, UsageError
from pipeline.providers import Endpoint, Hint, Level, Provider, Reply, Request, Shelf, Shown, Usage
from pipeline.schema import Schema
from pipeline.stages import Stage


class Local:
    """A Provider that reads fields from pages by labels, places and the forms of values."""

    name = "local"
    stored = False
    reads_images = False

    def dialect(self, schema: Schema, level: Level = "full") -> Mapping[str, Any]:
        """The schema as it is: everything in it may help to find a field."""
        return schema.body

    def shown(self, request: Request) -> Shown:
        """Nothing is sent.

        Raises:
            UsageError: always.

        """
        raise UsageError("the local engine sends no request; name a model with -m")

    def ceiling(self, request: Request) -> Usage:
        """Nothing: it is free."""
        return Usage()

    async def send(self, request: Request) -> bytes:
        """Read the document of the request; the body is JSON: `data`, `hints`, `complete`.

        Raises:
            ReplyError: the request has no document or no schema.

        """
        return await asyncio.to_thread(_answer, request)

    def read(self, body: bytes) -> Reply:
        """The data as JSON text, and the hints; `truncated` where the document was too long to read whole.

        Raises:
            ReplyError: the body is not one that `send` made.

        """
        try:
            answer = json.loads(body)
            hints = tuple(Hint(**hint) for hint in answer["hints"])
            text = json.dumps(answer["data"], ensure_ascii=False)
            complete = bool(answer["complete"])
        except (ValueError, LookupError, TypeError) as error:
            raise ReplyError("not_an_answer", "this is no answer of the local engine") from error
        if complete:
            return Reply(text, model="local", hints=hints)
        return Reply(text, "truncated", "TOO_MANY_WORDS", model="local", hints=hints)

    def restore(self, data: Any, request: Request) -> Any:
        """The data as it is: it was asked for in the user's own form."""
        return data

    async def aclose(self) -> None:
        """Nothing is open."""


def check(stage: Stage, endpoint: Endpoint) -> None:
    """Refuse a task that it has no way for; settings that are meant for models change nothing here.

    Raises:
        UsageError: names the task, and the way out.

    """
    if stage.task not in {"extract", "python"}:
        raise UsageError(
            f"the local engine reads fields from pages (extract), and this one's task is {stage.task}, which takes a model: "
            f'set its key and name it, as in model = "gemini-3.1-flash-lite", or take the stage out'
        )


def open_provider(endpoint: Endpoint, shelf: Shelf | None = None) -> Provider:
    """The local engine; the endpoint's address and key are not used."""
    return Local()


def _answer(request: Request) -> bytes:
    from pipeline.providers.local.engine import extract

    if request.document is None or request.target is None:
        raise ReplyError("no_document", "the local engine needs the document and its schema")
    found = extract(request.document, request.target, request.least)
    answer = {"data": found.data, "hints": found.hints, "complete": found.complete}
    return json.dumps(answer).encode()
