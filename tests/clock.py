"""An event loop whose clock jumps to the next timer when nothing else is left to do: seconds cost nothing."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    """Where the loop would wait, its clock goes on instead."""

    passed: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:  # only another thread can go on
            return super().select(0.05)
        self.passed(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at second 1000; wait for no thread in it."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.passed = self._pass
        self._clock = 1000.0
        super().__init__(selector)

    def _pass(self, seconds: float) -> None:
        self._clock += max(seconds, 0.0)

    def time(self) -> float:
        """The clock."""
        return self._clock


def run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on such a clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
