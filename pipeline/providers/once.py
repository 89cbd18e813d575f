"""Once: work that several ask for at the same time is done once, and all of them get its outcome."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Work under way, by name; used from one event loop."""

    def __init__(self) -> None:
        self._going: dict[str, asyncio.Task[T]] = {}

    async def do(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The outcome of the work of that name: of what is under way, else of what is started now.

        Who stops waiting does not stop the work: somebody else may wait for it.
        """
        task = self._going.get(name)
        if task is None:
            task = asyncio.create_task(work())
            self._going[name] = task
            task.add_done_callback(lambda done: self._ended(name, done))
        return await asyncio.shield(task)

    async def settle(self, seconds: float) -> None:
        """Wait so long for what is under way."""
        if self._going:
            await asyncio.wait(list(self._going.values()), timeout=seconds)

    async def aclose(self) -> None:
        """Stop whatever is under way."""
        tasks = list(self._going.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, name: str, task: "asyncio.Task[T]") -> None:
        del self._going[name]
        if not task.cancelled():
            task.exception()  # looked at: where nobody waits any more, nobody has to hear of it
