"""An event loop on a clock that jumps: one thread, no file descriptors, one seed = one exact order of steps."""

import asyncio
import random
from collections.abc import Callable
from typing import Any


class Crash(KeyboardInterrupt):
    """The process dies here; a KeyboardInterrupt, because asyncio lets nothing else through."""


class Clock(asyncio.BaseEventLoop):
    """An event loop whose time is virtual: when nothing is ready, it is the time of the next timer.

    What goes to a thread is done here, at once or a little later, and told later still, so that
    other steps and a crash come in between as they do with threads.

    Args:
        rng: decides how long a thread takes.
        start: the time at the beginning, in seconds.
        step: called before each turn of the loop; may raise Crash.

    """

    def __init__(self, rng: random.Random, start: float, step: Callable[[], None]) -> None:
        super().__init__()
        self._selector = self
        self._clock_resolution = 1e-6
        self._now = start
        self._rng = rng
        self.step = step
        self.steps = 0
        # What a dead process leaves behind is nobody's concern.
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        """Seconds since the world began."""
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        """Let time pass, as the selector of the loop."""
        self.steps += 1
        self.step()
        if timeout is None:
            raise AssertionError("nothing is ready, nothing is timed: the run would hang for ever")
        self._now += timeout
        return ()

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Do it in this thread."""
        future = self.create_future()
        done: list[Callable[[], None]] = []

        def work() -> None:
            if future.cancelled():
                return
            try:
                value = func(*args)
            except Crash:
                raise
            except BaseException as error:  # noqa: BLE001, whoever waits must hear of it
                failure = error
                done.append(lambda: future.set_exception(failure))
            else:
                done.append(lambda: future.set_result(value))

        def tell() -> None:
            if not done:
                work()
            if done and not future.done():
                done[0]()

        if self._rng.random() < 0.5:
            work()
        self.call_later(self._rng.random() * 0.02, tell)
        return future

    def bury(self) -> None:
        """End what a dead process left: every task is cancelled, and may do what it likes."""
        self.step = lambda: None
        while tasks := asyncio.all_tasks(self):
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in another thread."""
