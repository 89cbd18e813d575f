"""One child process as its parent sees it: Child, its pipes and its end, and Job, the call it works for."""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any

from pipeline.errors import SetupError
from pipeline.loaders import wire

#: What is kept of the end of a child's standard error.
_STDERR = 4096
_CHUNK = 1 << 20


class Died(Exception):
    """A child ended before it had answered.

    `status` is its exit code, or minus the signal that ended it.
    """

    def __init__(self, status: int | None, stderr: str) -> None:
        super().__init__(f"status {status}: {stderr}")
        self.status = status
        self.stderr = stderr


class Child:
    """One child process and the pipes to it. One question at a time; any thread may `kill` it.

    Raises:
        SetupError: it does not start.

    """

    def __init__(self, command: list[str], *, patience: float) -> None:
        self.asked = 0
        self._stderr = b""
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise SetupError(
                f"no child process can be started to read documents: {error}"
            ) from error
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            os.set_blocking(_open(pipe).fileno(), False)
        try:
            self._exchange([], time.monotonic() + patience)
        except (Died, TimeoutError, wire.Garbage) as error:
            self.end()
            why = self.last_words() or type(error).__name__
            raise SetupError(
                f"the child process that reads documents does not start: {why}"
            ) from error

    def ask(
        self, question: Mapping[str, Any], content: bytes, seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        """Ask, and wait for the answer: its JSON and its bytes.

        Raises:
            Died: the child ended, by itself or by `kill`.
            TimeoutError: no answer in time.
            wire.Garbage: what came is no answer.

        """
        self.asked += 1
        return self._exchange(wire.frame(question, content), time.monotonic() + seconds)

    def kill(self) -> None:
        """End the process and whatever it started, at once."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> int | None:
        """Kill, collect and close; the exit status."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                _open(pipe).close()
        return self._process.wait()

    def last_words(self) -> str:
        """The last line of the child's standard error, printable and short; for diagnostics only."""
        lines = self._stderr.decode("utf-8", "replace").split("\n")
        line = next((line for line in reversed(lines) if line.strip()), "")
        return "".join(c for c in line if c.isprintable())[:200]

    def _exchange(self, pieces: list[bytes], deadline: float) -> tuple[dict[str, Any], bytes]:
        """Write the pieces while reading one frame, so that no full pipe stops us both."""
        incoming = bytearray()
        outgoing = [memoryview(piece) for piece in pieces if piece]
        with selectors.DefaultSelector() as pipes:
            pipes.register(_open(self._process.stdout), selectors.EVENT_READ)
            pipes.register(_open(self._process.stderr), selectors.EVENT_READ)
            if outgoing:
                pipes.register(_open(self._process.stdin), selectors.EVENT_WRITE)
            self._pump(pipes, outgoing, incoming, wire.HEADER.size, deadline)
            text, tail = wire.lengths(bytes(incoming))
            self._pump(pipes, outgoing, incoming, wire.HEADER.size + text + tail, deadline)
        if outgoing:
            raise wire.Garbage("an answer before the question")
        body = memoryview(incoming)[wire.HEADER.size :]
        return wire.message(bytes(body[:text])), bytes(body[text:])

    def _pump(
        self,
        pipes: selectors.BaseSelector,
        outgoing: list[memoryview],
        incoming: bytearray,
        needed: int,
        deadline: float,
    ) -> None:
        """Move bytes until `incoming` holds `needed` of them."""
        while len(incoming) < needed:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in pipes.select(left):
                if key.fileobj is self._process.stdin:
                    more = self._send(key.fd, outgoing)
                elif key.fileobj is self._process.stderr:
                    more = self._hear(key.fd)
                else:
                    more = self._receive(key.fd, incoming, needed)
                if not more:
                    pipes.unregister(key.fileobj)

    def _send(self, fd: int, outgoing: list[memoryview]) -> bool:
        """Write what the pipe takes; whether there is more."""
        try:
            sent = os.write(fd, outgoing[0][:_CHUNK])
        except BrokenPipeError:
            return False  # the child is ending: its other pipe will say so
        outgoing[0] = outgoing[0][sent:]
        if not outgoing[0]:
            del outgoing[0]
        return bool(outgoing)

    def _receive(self, fd: int, incoming: bytearray, needed: int) -> bool:
        if len(incoming) < needed:
            got = os.read(fd, min(_CHUNK, needed - len(incoming)))
            if not got:
                raise Died(self._status(), self.last_words())
            incoming += got
        return True

    def _hear(self, fd: int) -> bool:
        got = os.read(fd, _STDERR)
        self._stderr = (self._stderr + got)[-_STDERR:]
        return bool(got)

    def _status(self) -> int | None:
        """The exit status of a child whose pipes are closed; None if it lives on all the same."""
        try:
            return self._process.wait(1)
        except subprocess.TimeoutExpired:
            return None


class Job:
    """One call of `Loaders`, and the child that works for it now: what a cancelled call has to end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: Child | None = None
        self.cancelled = False

    @contextlib.contextmanager
    def holding(self, child: Child) -> Iterator[Child]:
        """Let a child work for this call; it is killed if the call is, or was, cancelled."""
        with self._lock:
            self._child = child
            if self.cancelled:
                child.kill()
        try:
            yield child
        finally:
            with self._lock:
                self._child = None

    def cancel(self) -> None:
        """End the child that works for this call."""
        with self._lock:
            self.cancelled = True
            if self._child is not None:
                self._child.kill()


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError("unreachable")
    return pipe
