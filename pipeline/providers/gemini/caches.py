"""Caches of contents: the parts that all documents of a stage share, kept at the service for a while.

`cachedContents` (googleapis commit f8291d2b, `cached_content.proto`, and live captures of 2026-09-07):
only the expiry can be changed; what is missing is answered with 403; an empty list is `{}`; a cache
holds system instruction and tools, and a request that names one must not. Storage is paid by the
token and hour, so that a cache lives shortly and is extended while it is used.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import platform
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from pipeline.errors import FieldsiftError, ReplyError, Transient
from pipeline.providers import Endpoint, Keeper, Request, Shelf
from pipeline.providers.bodies import parse
from pipeline.providers.bounds import ceiling
from pipeline.providers.faults import Answer, fault
from pipeline.providers.gemini import wire
from pipeline.providers.gemini.files import seconds
from pipeline.providers.gemini.place import Place
from pipeline.providers.http import Line
from pipeline.providers.once import Once
from pipeline.providers.pieces import pieces, size, stream
from pipeline.providers.shared import shared_tokens

#: Seconds that a cache lives unless it is extended.
TTL: Final = 900
#: A cache is used no more so many seconds before it goes: a request must have begun by then.
_MARGIN: Final = 60.0
_PAGES: Final = 100
#: Seconds that the end of a process waits for the deletion of its caches.
_FAREWELL: Final = 10.0
_TOO_SMALL: Final = re.compile(r"cached content is too small", re.IGNORECASE)
#: How the service tells that a cache is gone, in an answer of 403.
GONE: Final = re.compile(r"CachedContent not found", re.IGNORECASE)
#: Who leaves caches: this process, on this machine.
_ME: Final = f"{platform.node()} {os.getpid()}"
_NAME: Final = re.compile(r"(?:projects/[^/\s]+/locations/[^/\s]+/)?cachedContents/[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache at the service: its name, when it expires (seconds since 1970), the tokens in it, and whose it is."""

    name: str
    expires: float
    tokens: int = 0
    owner: str = ""


def can_be_one(request: Request, endpoint: Endpoint) -> bool:
    """Whether a request has parts for a cache, and a service that keeps any."""
    return _least(endpoint) is not None and 0 < request.shared < len(request.content)


def _least(endpoint: Endpoint) -> int | None:
    """The fewest tokens that the service caches; None where it caches nothing."""
    known = endpoint.known
    return (known.cache_tokens if known else None) or endpoint.service.cache_tokens


class Caches:
    """The caches that requests to one endpoint use; `who` stands for the project in names on the shelf."""

    def __init__(
        self,
        line: Line,
        place: Place,
        shelf: Shelf,
        who: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._line = line
        self._place = place
        self._shelf = shelf
        self._who = who
        self._clock = clock
        self._once: Once[str] = Once()
        self._made: dict[str, str] = {}
        self._without: set[str] = set()
        self._tokens: dict[str, int] = {}
        self.keeper: Keeper | None = None

    async def name(self, request: Request, hold: Callable[[], Awaitable[wire.Stored]]) -> str:
        """The cache with the shared parts of a request, made or extended as needed; `hold` leaves their files there.

        Empty where there is none: the service finds them too small, or does not make one. The request
        goes without it then, and hears itself what is wrong.
        """
        label = self._label(request)
        if label in self._without or not (self._is_kept(label) or self._pays(label, request)):
            return ""
        return await self._once.do(label, lambda: self._name(label, request, hold))

    def _is_kept(self, label: str) -> bool:
        return self._shelf.recall(label) is not None

    def _pays(self, label: str, request: Request) -> bool:
        """Whether a cache is made: the service takes so little, and it costs less than none."""
        endpoint = self._line.endpoint
        if label not in self._tokens:
            self._tokens[label] = shared_tokens(request, endpoint.service)
        tokens = self._tokens[label]
        if tokens < (_least(endpoint) or 0):
            return False
        return self.keeper is None or self.keeper.pays(label, request, tokens, TTL)

    async def forget(self, request: Request, name: str) -> None:
        """The service says that a cache is gone: the next `name` makes another."""
        self._made.pop(name, None)
        await self._forget(self._label(request), name)

    async def aclose(self) -> None:
        """Delete the caches that this process made, and those that processes left which died.

        What is being made just now is waited for, so that it is not left behind. What fails expires by itself.
        """
        await self._once.settle(_FAREWELL)
        await self._once.aclose()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                gone = self._made | (self._left_behind() if self.keeper else {})
                await asyncio.gather(*(self._leave(*each) for each in gone.items()))
        self._made.clear()

    def _left_behind(self) -> dict[str, str]:
        """Caches on the shelf whose process is not there any more."""
        found = {}
        for label in self._shelf.names(f"cache {self._who} "):
            kept = _kept(self._shelf.recall(label))
            if kept is not None and not _is_at_work(kept.owner):
                found[kept.name] = label
        return found

    async def create(self, request: Request, stored: wire.Stored, title: str = "") -> Cache | None:
        """Make a cache of the shared parts, the system instruction and the tools of a request.

        Returns:
            None where the service finds that too small for a cache.

        """
        told = {
            "model": self._place.model(request.model),
            **wire.cached(request, stored),
            "ttl": f"{TTL}s",
            "displayName": title[:128],
        }
        body = pieces(told)
        headers = {"Content-Type": "application/json", "Content-Length": str(size(body))}
        # Lost on the way it may have been made, and is paid then.
        path = self._path("cachedContents")
        answer = await self._line.ask("POST", path, headers, stream(body))
        if answer.status == 400 and _TOO_SMALL.search(answer.body.decode("utf-8", "replace")):
            return None
        return self._cache(answer)

    async def get(self, name: str) -> Cache:
        """A cache by its name, as it is now."""
        return self._cache(await self._free("GET", self._path(name)))

    async def list(self) -> AsyncIterator[Cache]:
        """All caches of the project."""
        page = ""
        for _ in range(_PAGES):
            told = _table(
                await self._sound("GET", self._path(f"cachedContents?pageSize=100{page}"))
            )
            listed = told.get("cachedContents")
            for item in listed if isinstance(listed, list) else ():
                if (cache := self._read(item)) is not None:
                    yield cache
            token = told.get("nextPageToken")
            if not isinstance(token, str) or not token:
                return
            page = f"&pageToken={quote(token, safe='')}"

    async def extend(self, name: str) -> Cache:
        """Let a cache live TTL seconds from now on; nothing else of it can be changed."""
        body = json.dumps({"ttl": f"{TTL}s"}).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        path = self._path(f"{name}?updateMask=ttl")
        return self._cache(await self._free("PATCH", path, headers, [body]))

    async def delete(self, name: str) -> None:
        """Take a cache away before its time."""
        await self._sound("DELETE", self._path(name))

    def _label(self, request: Request) -> str:
        """The name on the shelf: equal for requests whose cache would hold the same."""
        held = wire.cached(request)
        held["contents"] = request.canonical()["content"][: request.shared]
        text = json.dumps([request.model, held], ensure_ascii=False, sort_keys=True)
        return f"cache {self._who} {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()}"

    async def _leave(self, name: str, label: str) -> None:
        with contextlib.suppress(FieldsiftError):
            await self.delete(name)
            await self._forget(label, name)

    async def _forget(self, label: str, name: str) -> None:
        kept = _kept(self._shelf.recall(label))
        if kept is not None and kept.name == name:
            await self._shelf.remember(label, "", 0)

    async def _name(
        self, label: str, request: Request, hold: Callable[[], Awaitable[wire.Stored]]
    ) -> str:
        kept = _kept(self._shelf.recall(label))
        cache = await self._extended(label, kept) if kept else None
        if cache is None:
            try:
                cache = await self._bought(label, request, await hold())
            except Transient:
                return ""  # the next request tries again
            except FieldsiftError:
                cache = None
            if cache is None:
                self._without.add(label)
                return ""
            self._made[cache.name] = label
        elif kept and not _is_at_work(kept.owner):
            self._made[cache.name] = label  # who made it died
        if cache is not kept:
            await self._put(label, cache)
        return cache.name

    async def _put(self, label: str, cache: Cache) -> None:
        told = {"name": cache.name, "expires": cache.expires, "tokens": cache.tokens, "owner": _ME}
        await self._shelf.remember(label, json.dumps(told), cache.expires - _MARGIN)

    async def _bought(self, label: str, request: Request, stored: wire.Stored) -> Cache | None:
        """A new cache; the most that it can cost is reserved before, and what it does is booked once it is on the shelf.

        None too where the budget has no room for it: the requests that would use it may still have.
        """
        title, keeper = label.rpartition(" ")[2], self.keeper
        if keeper is None:
            return await self.create(request, stored, title)
        most = _most(request, self._line.endpoint)
        call = await keeper.reserve(label, most, TTL, made=True)
        if call is None:
            return None
        try:
            cache = await self.create(request, stored, title)
        except Transient as lost:
            if lost.billed:
                await keeper.lost(call, most, TTL)
            else:
                await keeper.book(call, most, None, TTL, made=True)
            raise
        except FieldsiftError:
            await keeper.book(call, most, None, TTL, made=True)
            raise
        if cache is None:
            await keeper.book(call, most, None, TTL, made=True)
            return None
        await self._put(label, cache)
        await keeper.book(call, most, cache.tokens or most, TTL, made=True)
        return cache

    async def _extended(self, label: str, cache: Cache) -> Cache | None:
        """The cache with at least half of its time left; None where it is gone.

        One that the budget has no room to keep on is used as long as it lives.
        """
        left = cache.expires - self._clock()
        if left >= TTL / 2:
            return cache
        keeper, more, call = self.keeper, max(0.0, TTL - left), None
        if keeper is not None:
            call = await keeper.reserve(label, cache.tokens, more, made=False)
            if call is None:
                return cache
        try:
            found = await self.extend(cache.name)
        except FieldsiftError as error:
            if keeper is not None and call is not None:
                await keeper.book(call, cache.tokens, None, more, made=False)
            return cache if isinstance(error, Transient) else None  # some of its time may be left
        if keeper is not None and call is not None:
            await keeper.book(call, cache.tokens, cache.tokens, more, made=False)
        return replace(found, tokens=found.tokens or cache.tokens)

    def _path(self, name: str) -> str:
        """Where a cache lies; on Vertex AI its name holds project and location already."""
        root = self._place.version if name.startswith("projects/") else self._place.root
        return f"{root}/{name}"

    async def _sound(self, method: str, path: str) -> Answer:
        answer = await self._free(method, path)
        if answer.status != 200:
            raise fault(answer, self._line.endpoint)
        return answer

    async def _free(self, *request: Any) -> Answer:
        """Ask for something that generates nothing: what is lost on the way was not billed."""
        try:
            return await self._line.ask(*request)
        except Transient as lost:
            raise Transient(lost.reason, str(lost), wait=lost.wait) from None

    def _cache(self, answer: Answer) -> Cache:
        if answer.status != 200:
            raise fault(answer, self._line.endpoint)
        cache = self._read(_table(answer))
        if cache is None:
            raise Transient("bad_reply", f"{self._line.endpoint.name}: no cache came back")
        return cache

    def _read(self, told: Any) -> Cache | None:
        name = told.get("name") if isinstance(told, Mapping) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return None
        usage = told.get("usageMetadata")
        tokens = usage.get("totalTokenCount") if isinstance(usage, Mapping) else 0
        latest = self._clock() + TTL
        return Cache(
            name=name,
            expires=min(seconds(told.get("expireTime")) or latest, latest),
            tokens=tokens if isinstance(tokens, int) else 0,
        )


def _kept(value: str | None) -> Cache | None:
    """A cache as it was put on the shelf."""
    if value is None:
        return None
    told = json.loads(value)
    return Cache(told["name"], told["expires"], told.get("tokens", 0), told.get("owner", ""))


def _table(answer: Answer) -> Mapping[str, Any]:
    try:
        found = parse(answer.body)
    except ReplyError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _most(request: Request, endpoint: Endpoint) -> int:
    """The most tokens that a cache of a request can have."""
    alone = replace(request, content=request.content[: request.shared], schema=None, turns=())
    return ceiling(alone, endpoint).input


def _is_at_work(owner: str) -> bool:
    """Whether the process that left a cache is there still; of another machine's nobody can tell."""
    machine, _, process = owner.rpartition(" ")
    if not process.isdigit():
        return False
    if machine != platform.node() or owner == _ME:
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
