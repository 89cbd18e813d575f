"""Beside: the context of a stage as documents, loaded once, in the form that each endpoint takes."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace

from pipeline import prompts
from pipeline.document import Document, Part, Window
from pipeline.eyes import Seen, readable
from pipeline.limits import Gate
from pipeline.loaders import Loaders
from pipeline.providers.shared import tokens_of
from pipeline.sending import fitted
from pipeline.stages import Stage


@dataclass(slots=True)
class Beside:
    """What every document of a stage is read beside; `looking` brings the words of pages that have none."""

    documents: tuple[tuple[Document, Awaitable[Seen]], ...]
    loaders: Loaders
    _forms: dict[object, asyncio.Future[tuple[Part, ...]]] = field(default_factory=dict)
    _tokens: dict[object, int] = field(default_factory=dict)

    async def parts(self, stage: Stage, gate: Gate) -> tuple[Part, ...]:
        """What goes to an endpoint before everything else; made once for all requests.

        Raises:
            LoadError, ReplyError, SetupError: see `sending.fitted`.

        """
        form = (gate.endpoint.name, stage.send, stage.media_resolution)
        if form not in self._forms:
            self._forms[form] = asyncio.ensure_future(self._made(stage, gate))
        return await asyncio.shield(self._forms[form])

    async def tokens(self, stage: Stage, gate: Gate) -> int:
        """An estimate of its tokens at an endpoint."""
        form = (gate.endpoint.name, stage.send, stage.media_resolution)
        if form not in self._tokens:
            parts = await self.parts(stage, gate)
            resolution = stage.media_resolution or "default"
            self._tokens[form] = tokens_of(parts, gate.endpoint.service, resolution)
        return self._tokens[form]

    async def _made(self, stage: Stage, gate: Gate) -> tuple[Part, ...]:
        looks = gate.provider.reads_images and stage.send != "text"
        # What the stage says of pages is about its documents.
        whole = replace(stage, pages=None)
        made = []
        for document, looking in self.documents:
            known = document if looks else readable(await looking)
            window = Window(tuple(range(1, max(1, known.page_count) + 1)))
            made.append(await fitted(known, window, gate.endpoint, self.loaders, whole))
        return prompts.beside(made)
