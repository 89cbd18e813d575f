"""Waiting that ends when the run is told to stop."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from pipeline.errors import Interrupted

T = TypeVar("T")


async def unless(stop: asyncio.Event, work: Awaitable[T]) -> T:
    """The outcome of some work, unless `stop` is set before it ends: then the work is cancelled.

    For what costs nothing to do again: waiting for a turn, parsing. Never for a request on its way,
    whose answer may be paid for.

    Raises:
        Interrupted: `stop` was set.

    """
    working = asyncio.ensure_future(work)
    told = asyncio.ensure_future(stop.wait())
    try:
        if not stop.is_set():
            await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Interrupted("the run was told to stop")
    finally:
        told.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
