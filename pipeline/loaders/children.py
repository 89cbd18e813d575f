"""The parent's side: Loaders, a pool of child processes that read documents, and the Limits they work under."""

import os
import re
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from pipeline.document import Document, Page
from pipeline.errors import LoadError
from pipeline.loaders import wire
from pipeline.loaders.child import Child, Died, Job
from pipeline.loaders.kinds import LOADERS, sniff, way_out

#: How a child begins. Isolated from the user's environment and working folder, it still has to find
#: this package where a plain interpreter wouldn't: installed for one user, or beside PYTHONPATH.
_START = (
    "import sys; sys.path.append(sys.argv.pop()); "
    "from pipeline.loaders.worker import main; main(int(sys.argv.pop()), eyes=sys.argv.pop() == 'eyes')"
)
_HOME = str(Path(__file__).resolve().parents[2])
#: Signals that come from outside (the system short of memory, an administrator): not the document's doing.
_FROM_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP})
_OUT_OF_MEMORY = re.compile(r"MemoryError|bad_alloc|[Oo]ut of memory|[Cc]annot allocate memory")
#: What glibc and C++ say when they abort for another reason than memory.
_OTHER_ABORT = re.compile(r"corrupt|free\(\)|invalid|smashing|[Aa]ssert|terminate called")
#: The longest side of a page that is drawn: Gemini's own bound for pictures.
_SIDE = 3072
#: How finely a page is looked at to recognise its words: most print is scanned at 200 to 300 dots per
#: inch; a picture has its own dots, as many as make a long receipt.
_EYES_DPI, _EYES_SIDE = 200, 10_000
#: Seconds that a child may take to start, on a machine that is busy with other things.
_PATIENCE = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document, and one child process, may take.

    Attributes:
        memory: bytes of a child's address space. Enough for a picture of 89 million pixels.
        cpu: seconds of processor time for one document.
        wall: seconds by the clock for one document, kept by the parent.
        content: bytes of a file; larger ones are refused without being read.
        documents: how many a child reads before it is replaced.

    """

    memory: int = 1 << 30
    cpu: int = 30
    wall: float = 60.0
    content: int = 200_000_000
    documents: int = 500


class Loaders:
    """Reads documents in child processes: one face for all kinds, usable from any running event loop.

    Children start when they are needed and are used again; a document that kills its child, or takes
    more than the limits allow, is a LoadError and no more.

    Args:
        size: how many documents are read at a time; by default one for each processor, at most 4.
        limits: what a document may take.
        eyes: whether the children can `recognise`, which takes the extra `local`.

    """

    def __init__(
        self, size: int | None = None, limits: Limits | None = None, *, eyes: bool = False
    ) -> None:
        self.limits = limits or Limits()
        self.eyes = eyes
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._children: set[Child] = set()
        self._closed = False
        self._threads = ThreadPoolExecutor(
            size or min(4, os.cpu_count() or 1), thread_name_prefix="fieldsift-loader"
        )
        weakref.finalize(self, _end, self._children, os.getpid())

    def command(self) -> list[str]:
        """The command that starts a child."""
        eyes = "eyes" if self.eyes else "none"
        return [sys.executable, "-I", "-c", _START, eyes, str(self.limits.memory), _HOME]

    async def load(self, path: str, content: bytes) -> Document:
        """Read one document.

        Args:
            path: its name in every output; the end of it helps to tell kinds of text apart.
            content: the file's bytes.

        Raises:
            LoadError: it can't be read; `reason` is one of `empty`, `unsupported`, `encrypted`,
                `damaged`, `too_large`, `timeout`, `crashed`, `too_much_memory`.
            SetupError: no child process can be started.

        """
        file = wire.File(path, sniff(content, path), content)
        return await self._run(
            {"do": "load"}, file, lambda found, tail: wire.unpack(found, tail, file)
        )

    async def draw(
        self, content: bytes, page: int, dpi: int = 150, *, small: bool = False
    ) -> bytes:
        """A picture (PNG) of one page as it is seen, form values included, on white.

        Args:
            content: the bytes of a PDF or a picture; better its part's, which are repaired if need be.
            page: its number, from 1.
            dpi: dots per inch; a page larger than 25 million dots at that gets fewer.
            small: JPEG where PNG would be large, as it is for scans and photographs.

        Raises:
            LoadError: it can't be drawn; `unsupported` for kinds that have no look.
            SetupError: no child process can be started.

        """
        file = wire.File("", sniff(content), content)
        asked = {"do": "draw", "page": page, "dpi": dpi, "side": _SIDE, "small": small}
        return await self._run(asked, file, _picture)

    async def cut(self, content: bytes, pages: Sequence[int]) -> bytes:
        """Some pages of a PDF as a PDF of their own; the same bytes every time.

        Args:
            content: the bytes of a PDF; better its part's, which are repaired if need be.
            pages: their numbers, from 1, in the order in which they are to stand.

        Raises:
            LoadError: they can't be taken out of it; `unsupported` for other kinds.
            SetupError: no child process can be started.

        """
        file = wire.File("", sniff(content), content)
        if content and file.media_type != "application/pdf":
            raise LoadError("unsupported", "only a PDF has pages that can be cut out of it")
        return await self._run({"do": "cut", "pages": list(pages)}, file, _pdf)

    async def recognise(self, content: bytes, page: int) -> Page:
        """The words on the picture of one page, read by the OCR of the extra `local`.

        The page that comes back has the number 1 and its own size: a point for each dot of the picture
        that was looked at.

        Args:
            content: the bytes of a PDF or a picture.
            page: its number, from 1.

        Raises:
            LoadError: as `draw`; `timeout` and `too_much_memory` are of this page alone.
            SetupError: no child process can be started.

        """
        file = wire.File("", sniff(content), content)
        asked = {"do": "recognise", "page": page, "dpi": _EYES_DPI, "side": _EYES_SIDE}
        return await self._run(asked, file, wire.unpack_page)

    async def aclose(self) -> None:
        """End every child; a call that is still under way gets a LoadError."""
        with self._lock:
            self._closed = True
            children = [*self._children]
        for child in children:
            child.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        _end(self._children, os.getpid())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _run(
        self, question: dict[str, Any], file: wire.File, read: Callable[[object, bytes], T]
    ) -> T:
        import asyncio

        if trouble := self._refused(file):
            raise trouble
        asked = question | {
            "module": LOADERS[file.media_type],
            "media_type": file.media_type,
            "cpu": self.limits.cpu,
        }
        job = Job()
        future = self._threads.submit(self._work, job, asked, file.content, read)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            job.cancel()
            raise

    def _refused(self, file: wire.File) -> LoadError | None:
        """Why no child is asked at all."""
        size, most = len(file.content), self.limits.content
        if size == 0:
            return LoadError("empty", "the file has no bytes")
        if size > most:
            return LoadError(
                "too_large", f"{size:,} bytes are more than the {most:,} that are read: split it"
            )
        if file.media_type not in LOADERS:
            return LoadError("unsupported", way_out(file.media_type, file.path))
        return None

    def _work(
        self,
        job: Job,
        question: dict[str, Any],
        content: bytes,
        read: Callable[[object, bytes], T],
    ) -> T:
        """Ask a child; and another one, once, if the first may have failed for something else."""
        try:
            return self._ask(job, self._idle_child() or self._new_child(), question, content, read)
        except _Doubtful:
            if job.cancelled:
                raise
            return self._ask(job, self._new_child(), question, content, read)

    def _ask(
        self,
        job: Job,
        child: Child,
        question: dict[str, Any],
        content: bytes,
        read: Callable[[object, bytes], T],
    ) -> T:
        used = child.asked > 0
        healthy = False
        try:
            with job.holding(child):
                reply, tail = child.ask(question, content, self.limits.wall)
            healthy = child.asked < self.limits.documents and self._is_lean(reply.get("holds"))
            if "refused" in reply:
                raise _second_look(wire.refusal(reply["refused"]), used)
            return read(reply.get("found"), tail)
        except (Died, TimeoutError, wire.Garbage) as error:
            healthy = False
            raise self._verdict(error, used) from error
        finally:
            self._give_back(child, healthy)

    def _is_lean(self, holds: object) -> bool:
        """Whether a child gave back enough memory for the next large document."""
        return isinstance(holds, int) and holds < self.limits.memory // 2

    def _verdict(self, error: Died | TimeoutError | wire.Garbage, used: bool) -> LoadError:
        """The LoadError for a child that is of no use any more."""
        if isinstance(error, TimeoutError):
            return LoadError(
                "timeout", f"reading it took more than {self.limits.wall:g} s: split it"
            )
        if isinstance(error, wire.Garbage):
            return _second_look(
                LoadError("crashed", "the process that read it answered nonsense"), used
            )
        status = error.status or 0
        if status == -signal.SIGXCPU:
            return LoadError(
                "timeout",
                f"reading it took more than {self.limits.cpu} s of processor time: split it",
            )
        # pdfium aborts without a word when memory is refused.
        silent = status == -signal.SIGABRT and not _OTHER_ABORT.search(error.stderr)
        if silent or _OUT_OF_MEMORY.search(error.stderr):
            return _second_look(
                LoadError("too_much_memory", "reading it takes more memory than is allowed"), used
            )
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        trouble = LoadError("crashed", f"the process that read it ended ({how})")
        return _second_look(trouble, used or status in _FROM_OUTSIDE)

    def _idle_child(self) -> Child | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _new_child(self) -> Child:
        child = None if self._closed else Child(self.command(), patience=_PATIENCE)
        with self._lock:
            if child and not self._closed:
                self._children.add(child)
                return child
        if child:
            child.end()
        raise LoadError("crashed", "the loaders were closed before it was read")

    def _give_back(self, child: Child, healthy: bool) -> None:
        with self._lock:
            if healthy and not self._closed:
                self._idle.append(child)
                return
            self._children.discard(child)
        child.end()


class _Doubtful(LoadError):
    """A failure that may be the child's own: it had read other documents, or was ended from outside."""


def _second_look(error: LoadError, doubtful: bool) -> LoadError:
    retried = doubtful and error.reason in {"crashed", "too_much_memory"}
    return _Doubtful(error.reason, str(error)) if retried else error


def _picture(_: object, tail: bytes) -> bytes:
    if sniff(tail) not in {"image/png", "image/jpeg"}:
        raise wire.Garbage("a picture that is no PNG and no JPEG")
    return tail


def _pdf(_: object, tail: bytes) -> bytes:
    if sniff(tail) != "application/pdf":
        raise wire.Garbage("pages that are no PDF")
    return tail


def _end(children: set[Child], parent: int) -> None:
    """End children at the end of the process that started them, not of a fork of it."""
    while children and os.getpid() == parent:
        children.pop().end()
