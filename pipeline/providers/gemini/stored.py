"""What of a request is left at the service before it is asked: large files, and caches of shared parts."""

import asyncio
import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pipeline.catalogue import Service
from pipeline.document import Part
from pipeline.errors import ReplyError
from pipeline.providers import Endpoint, Request, Shelf
from pipeline.providers.faults import Answer
from pipeline.providers.gemini import caches, wire
from pipeline.providers.gemini.bucket import Bucket
from pipeline.providers.gemini.caches import Caches
from pipeline.providers.gemini.files import Files
from pipeline.providers.gemini.place import Place
from pipeline.providers.gemini.resumable import Sleep
from pipeline.providers.http import Line

#: Bytes of the JSON that stands for a file that lies elsewhere, at most.
_REFERENCE: Final = 512
#: How services tell that a file is gone: "You do not have permission to access the File … or it may not
#: exist." (403), "… not found", "… expired".
_FILE_GONE: Final = re.compile(
    r"\b(?:file|object)s?\b.{0,200}(?:not exist|not found|expired)", re.IGNORECASE | re.DOTALL
)


class Memory:
    """A shelf that is forgotten with the process."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, float]] = {}

    def recall(self, name: str) -> str | None:
        """What stands under a name and has not expired."""
        value, until = self._kept.get(name, ("", 0.0))
        return value if until > time.time() else None

    async def remember(self, name: str, value: str, until: float) -> None:
        """Keep a value under a name until a time."""
        self._kept[name] = (value, until)

    def names(self, beginning: str) -> list[str]:
        """The names that begin so and have not expired."""
        return [name for name in self._kept if name.startswith(beginning) and self.recall(name)]


class Store:
    """Leaves at the service what has to lie there, and hears when it is gone."""

    def __init__(
        self,
        endpoint: Endpoint,
        place: Place,
        line: Line,
        shelf: Shelf | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Nothing is connected yet.

        Raises:
            UsageError: the endpoint's bucket is not one.

        """
        shelf, who = shelf or Memory(), _who(endpoint, place)
        service = endpoint.service
        self._endpoint = endpoint
        self.caches = Caches(line, place, shelf, who)
        self._files: Files | Bucket | None = None
        if endpoint.bucket:
            beside = Line(endpoint, service.storage_url, place.credentials, line.timeouts)
            self._files = Bucket(beside, endpoint.bucket, sleep)
        elif service.file_bytes is not None:
            self._files = Files(line, shelf, who, sleep)

    async def leave(self, request: Request) -> wire.Stored:
        """Where those parts of a request lie that don't go inside it; they are put there if they don't yet.

        Raises:
            ReplyError: a file is larger than the service takes anywhere, or it can't read it.
            Transient, SetupError, Stopped: it can't be put there.

        """
        shared = request.content[: request.shared]
        if not caches.can_be_one(request, self._endpoint):
            return await self._outside(request, wire.Stored(), request.content)
        # The cache takes what a request takes: its large files lie outside too.
        alone = replace(request, content=shared, turns=())
        name = await self.caches.name(request, lambda: self._outside(alone, wire.Stored(), shared))
        fresh = request.content[request.shared if name else 0 :]
        return await self._outside(request, wire.Stored(cache=name), fresh)

    async def is_gone(self, request: Request, stored: wire.Stored, answer: Answer) -> bool:
        """Whether an answer says that something `stored` is gone; that is forgotten, `leave` puts it there anew."""
        if answer.status not in {400, 403, 404}:
            return False
        said = answer.body.decode("utf-8", "replace")
        if stored.cache and caches.GONE.search(said):
            await self.caches.forget(request, stored.cache)
            return True
        used = {p.sha256: p for p in request.content if p.sha256 in stored.files}
        named = [sha for sha in used if stored.files[sha].rpartition("/")[2] in said]
        gone = named or (list(used) if _FILE_GONE.search(said) else [])
        for sha in gone:
            if self._files is not None:
                await self._files.forget(used[sha], stored.files[sha])
        return bool(gone)

    async def aclose(self) -> None:
        """Stop uploads, delete the caches that were made here."""
        if self._files is not None:
            await self._files.aclose()
        await self.caches.aclose()

    async def _outside(
        self, request: Request, stored: wire.Stored, parts: Sequence[Part]
    ) -> wire.Stored:
        """The same with those of the parts that can't go inside the request."""
        service = self._endpoint.service
        if not any(part.data for part in parts):
            return stored
        length = wire.size(wire.pieces(request, stored))
        chosen = [p for p in too_large(parts, length, service) if p.sha256 not in stored.files]
        if not chosen:
            return stored
        for part in chosen:
            self._refuse(part, service)
        files = self._files
        if files is None:
            return stored  # whoever sends it refuses it by its length
        addresses = await asyncio.gather(*(files.uri(part) for part in chosen))
        found = {part.sha256: uri for part, uri in zip(chosen, addresses, strict=True)}
        return replace(stored, files={**stored.files, **found})

    def _refuse(self, part: Part, service: Service) -> None:
        """Refuse a file that neither goes inside a request nor lies outside it.

        Raises:
            ReplyError: `too_large`, with the limit and the way out.

        """
        name, size = self._endpoint.provider, len(part.data)
        if self._files is None and service.storage_url:
            raise ReplyError(
                "too_large",
                f"a file of {size:,} bytes does not fit into a request to {name}: set "
                f'bucket = "gs://name/folder" under [providers.{name}], and it is put there',
            )
        if not self._endpoint.bucket and size > (service.file_bytes or size):
            raise ReplyError(
                "too_large",
                f"a file of {size:,} bytes, and {name} takes at most {service.file_bytes:,}; "
                "split the document, or send fewer pages",
            )


def too_large(parts: Sequence[Part], length: int, service: Service) -> list[Part]:
    """The files that can't go inside a request of `length` bytes: large pictures, and the largest until it fits."""
    most, limit = service.image_bytes, service.inline_bytes
    files = {part.sha256: part for part in parts if part.data}
    chosen = [
        p for p in files.values() if p.kind == "image" and most is not None and len(p.data) > most
    ]
    for part in sorted(files.values(), key=lambda p: len(p.data), reverse=True):
        left = length - sum(_saved(each, parts) for each in chosen)
        if limit is None or left <= limit or _saved(part, parts) <= 0:
            break
        if part not in chosen:
            chosen.append(part)
    return chosen


def _saved(part: Part, parts: Sequence[Part]) -> int:
    """Bytes by which a request gets shorter when a file lies elsewhere."""
    times = sum(each.sha256 == part.sha256 for each in parts)
    return times * ((len(part.data) + 2) // 3 * 4 - _REFERENCE)


def _who(endpoint: Endpoint, place: Place) -> str:
    """A short hash that stands for project and service: what others left there is not ours."""
    told = (endpoint.provider, place.base_url, place.root, endpoint.key)
    return hashlib.sha256("\n".join(told).encode("utf-8", "replace")).hexdigest()[:16]
