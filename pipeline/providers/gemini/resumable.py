"""Uploads in chunks that go on where they were cut: the loop that Google's two protocols have in common."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pipeline.errors import Transient
from pipeline.providers.faults import Answer

#: Bytes of one chunk: that of Google's own SDK (google-genai 3.4.0), a multiple of the 256 KiB that
#: both protocols ask for.
CHUNK: Final = 8 * 2**20
#: How often in a row nothing may arrive.
_TRIES: Final = 5
_LONGEST_WAIT: Final = 30.0

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Progress:
    """How many bytes have arrived; `end` is the answer that says that all is there."""

    received: int
    end: Answer | None = None


async def push(
    size: int,
    put: Callable[[int], Awaitable[Progress]],
    query: Callable[[], Awaitable[Progress]],
    sleep: Sleep,
) -> Answer:
    """Send `size` bytes from offset to offset; after a loss ask how many arrived and go on from there.

    `put(offset)` sends one chunk, `query()` asks; both raise Transient for what was lost.

    Raises:
        Transient: nothing arrived, several times in a row.

    """
    at, most, lost, is_lost = 0, 0, 0, False
    while True:
        try:
            progress = await (query() if is_lost else put(at))
            if progress.end is not None:
                return progress.end
            if not 0 <= progress.received <= size or (progress.received <= at and not is_lost):
                raise Transient("upload_lost", f"{progress.received} of {size} bytes have arrived")
        except Transient as failure:
            lost, is_lost = lost + 1, True
            if lost >= _TRIES:
                # Nothing was generated yet, so that nothing can be billed.
                raise Transient(failure.reason, f"upload: {failure}", wait=failure.wait) from None
            await sleep(min(failure.wait or 2.0 ** (lost - 1), _LONGEST_WAIT))
            continue
        lost = 0 if progress.received > most else lost
        at, most, is_lost = progress.received, max(most, progress.received), False
