"""Gemini's native API over HTTP: a Request becomes `generateContent`, its answer a Reply.

`limits.py` refuses what a model can't take, `wire.py` builds the body, `reply.py` reads the
answer (of a stream, once `chunks.py` has put it together); `models.py` asks what costs nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from pipeline.providers import (
    Endpoint,
    Keeper,
    Level,
    ModelFacts,
    Reply,
    Request,
    Shelf,
    Shown,
    Usage,
)
from pipeline.providers.bounds import ceiling, check_address, refuse_too_large
from pipeline.providers.faults import Answer, fault, sound
from pipeline.providers.gemini import models, wire
from pipeline.providers.gemini.chunks import chunks
from pipeline.providers.gemini.limits import check
from pipeline.providers.gemini.place import place_of
from pipeline.providers.gemini.reply import composed, read, text_of
from pipeline.providers.gemini.resumable import Sleep
from pipeline.providers.gemini.stored import Store
from pipeline.providers.gemini.vertex import is_vertex
from pipeline.providers.http import Line, Timeouts
from pipeline.providers.loops import Watch
from pipeline.schema import Schema
from pipeline.schema.dialects import compile as compile_schema
from pipeline.schema.dialects import listed

__all__ = [
    "Gemini",
    "ModelFacts",
    "Timeouts",
    "ceiling",
    "check",
    "open_provider",
    "read",
    "refuse_too_large",
]


def open_provider(endpoint: Endpoint, shelf: Shelf | None = None) -> "Gemini":
    """The provider for a Gemini endpoint; nothing is connected yet.

    Raises:
        UsageError: its address is not one.

    """
    return Gemini(endpoint, shelf=shelf)


class Gemini:
    """One model behind Gemini's native API."""

    stored = True
    reads_images = True

    def __init__(
        self,
        endpoint: Endpoint,
        timeouts: Timeouts | None = None,
        shelf: Shelf | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._place = place_of(endpoint)
        check_address(self._place.base_url, endpoint)
        self.name = endpoint.provider
        self.endpoint = endpoint
        self._line = Line(endpoint, self._place.base_url, self._place.credentials, timeouts)
        self._store = Store(endpoint, self._place, self._line, shelf, sleep)
        self._dialects: dict[tuple[str, Level], Mapping[str, Any] | None] = {}

    @property
    def keeper(self) -> Keeper | None:
        """Who decides on caches of shared parts, and pays for them."""
        return self._store.caches.keeper

    @keeper.setter
    def keeper(self, keeper: Keeper | None) -> None:
        """Another one decides and pays from now on."""
        self._store.caches.keeper = keeper

    def dialect(self, schema: Schema, level: Level = "full") -> Mapping[str, Any] | None:
        """The schema as it is sent; compiled once, not to be changed."""
        key = (schema.sha256, level)
        if key not in self._dialects:
            self._dialects[key] = compile_schema(schema, "gemini", level)
        return self._dialects[key]

    def ceiling(self, request: Request) -> Usage:
        """The most tokens that the request can take: what is reserved before it is sent."""
        return ceiling(request, self.endpoint)

    async def send(self, request: Request) -> bytes:
        """Ask, once. The answer's body as the service gave it, but never with the key in it.

        Raises:
            Transient: it may pass; also an answer that came damaged.
            ReplyError: the service refuses this request for good.
            KeyRefused, QuotaReached, SetupError: the run can't go on.
            UsageError: a setting that the model can't take; nothing was sent.

        """
        self._check(request)
        refuse_too_large(request, 0, self.endpoint.service)  # before anything is uploaded
        stored = await self._store.leave(request)
        answer = await self._ask(request, stored)
        if answer.status != 200 and await self._store.is_gone(request, stored, answer):
            answer = await self._ask(request, await self._store.leave(request))
        if answer.status != 200:
            raise fault(answer, self.endpoint)
        return sound(answer, self.endpoint, chunks)

    def read(self, body: bytes) -> Reply:
        """Understand a body that `send` returned, now or in an earlier run."""
        return read(body)

    def listed(self, schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The schema of a list of answers with their keys; of words alone there is none."""
        return None if schema is None else listed(schema)

    def composed(self, reply: Reply, text: str, usage: Usage) -> bytes:
        """The body of `generateContent` with this text and usage, all else as in the reply."""
        return composed(reply, text, usage)

    async def count(self, request: Request) -> int:
        """How many tokens the request has as input, system, schema and tools included; free of charge.

        Raises:
            Transient, ReplyError, KeyRefused, QuotaReached, SetupError, UsageError: as of `send`.

        """
        self._check(request)
        pieces = wire.counted(request, flat=is_vertex(self.endpoint))
        path = self._place.path(request.model, "countTokens")
        answer = await self._line.post(path, wire.stream(pieces), wire.size(pieces))
        return models.total(models.given(answer, self.endpoint), self.endpoint)

    async def about(self, model: str | None = None) -> ModelFacts:
        """What the service says of a model, its own where none is named; free of charge.

        Raises:
            Transient, ReplyError, KeyRefused, QuotaReached, SetupError: as of `send`.

        """
        path = self._place.path(model or self.endpoint.model)
        return await models.about(self._line, path, self.endpoint)

    async def models(self) -> list[ModelFacts]:
        """All models that the service has for this key; free of charge.

        Raises:
            Transient, ReplyError, KeyRefused, QuotaReached, SetupError: as of `send`.

        """
        return await models.listed(self._line, self._place.path(), self.endpoint)

    def restore(self, data: Any, request: Request) -> Any:
        """The data as it is: it was asked for in the user's own form."""
        return data

    async def aclose(self) -> None:
        """Delete the caches that were made here, close connections."""
        await self._store.aclose()
        await self._line.aclose()

    def shown(self, request: Request) -> Shown:
        """The request as it would be sent, without the key."""
        headers = {**self._place.credentials.shown(), "Content-Type": "application/json"}
        url = self._place.base_url + self._path(request)
        return Shown("POST", url, headers, wire.body(request))

    def _check(self, request: Request) -> None:
        as_json = request.as_json or request.schema is not None
        check(request.settings, self.endpoint, as_json=as_json)

    async def _ask(self, request: Request, stored: wire.Stored) -> Answer:
        pieces = wire.pieces(request, stored)
        length = wire.size(pieces)
        refuse_too_large(request, length, self.endpoint.service)
        watch = Watch(text_of) if request.settings.stream else None
        return await self._line.post(self._path(request), wire.stream(pieces), length, watch)

    def _path(self, request: Request) -> str:
        how = "streamGenerateContent?alt=sse" if request.settings.stream else "generateContent"
        return self._place.path(request.model, how)
