"""The synchronous wrapper around asynchronous work: here and nowhere else."""

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where an event loop is running already (a notebook, a web handler)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1, thread_name_prefix="fieldsift") as pool:
        task: Future[asyncio.Task[T]] = Future()

        async def _told() -> T:
            task.set_result(asyncio.ensure_future(work))
            return await task.result()

        outcome = pool.submit(contextvars.copy_context().run, asyncio.run, _told())
        try:
            return outcome.result()
        except KeyboardInterrupt:
            # Interrupted here, the work must end there too: it may be spending money.
            running = task.result()
            running.get_loop().call_soon_threadsafe(running.cancel)
            raise
