"""Shared: an own store of answers, and behind it one that several outputs share."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.ledger.commons import Commons
from pipeline.ledger.replies import Kept, Replies, as_kept
from pipeline.ledger.versions import asked


class Shared:
    """Replies that are asked first of an own store, then of the shared one; new ones go to both.

    What is found in the shared one is kept in the own store, as of run 0, before it is used: later runs
    find it there whatever becomes of the cache. Where answers of earlier runs don't count (`since`), those
    of others don't either.
    """

    def __init__(
        self,
        own: Replies,
        commons: Commons,
        elsewhere: Mapping[tuple[str, str], str],
        *,
        only_look: bool = False,
    ) -> None:
        """`elsewhere` are the addresses of unusual endpoints by provider and model: their answers are shared among themselves.

        With `only_look` nothing is kept anywhere.
        """
        self._own = own
        self.commons = commons
        self._elsewhere = elsewhere
        self._only_look = only_look
        self._borrowed: dict[tuple[str, int], bytes] = {}

    @property
    def own(self) -> Replies:
        """The own store: what the user's own code gives never goes into the shared one, and never comes from it."""
        return self._own

    def get(
        self, key: str, take: int, since: int, request: Mapping[str, Any] | None = None
    ) -> bytes | None:
        """The own answer; where there is none and none has to be bought anew, the shared one."""
        body = self._own.get(key, take, since, request)
        if body is not None or since or request is None:
            return body
        place = (key, take)
        body = self._borrowed.get(place) or self.commons.get(
            self._key(key, request), take, asked(as_kept(request))
        )
        if body is not None and not self._only_look:
            self._borrowed[place] = body
        return body

    async def keep(
        self, key: str, take: int, run: int, request: Mapping[str, Any], body: bytes
    ) -> None:
        """Put an answer on disk, then into the shared store."""
        await self.keep_all([(key, take, request, body)], run)

    async def keep_all(self, answers: Sequence[Kept], run: int) -> None:
        """Put several answers on disk, all of them or none, then into the shared store."""
        await self._own.keep_all(answers, run)
        for key, take, request, body in answers:
            await self.commons.keep(self._key(key, request), take, asked(as_kept(request)), body)

    async def note(self, key: str, take: int, request: Mapping[str, Any], body: bytes) -> None:
        """Hear that an answer is used: a shared one becomes an own one first."""
        place = (key, take)
        if place in self._borrowed and not self._only_look:
            await self._own.keep(key, take, 0, request, body)
            await self.commons.touch(self._key(key, request), take)
            self._borrowed.pop(place, None)
        await self._own.note(key, take, request, body)

    def _key(self, key: str, request: Mapping[str, Any]) -> str:
        """The key in the shared store: one model's name can mean another model at another address."""
        asked = str(request.get("provider")), str(request.get("model"))
        address = self._elsewhere.get(asked)
        return hashlib.sha256(f"{key} {address}".encode()).hexdigest() if address else key

    def requests(self) -> Iterator[dict[str, Any]]:
        """The requests of the own store."""
        return self._own.requests()

    def close(self) -> None:
        """Let go of both."""
        self._own.close()
        self.commons.close()
