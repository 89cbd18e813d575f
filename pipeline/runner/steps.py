"""Small steps of a run: what becomes of a document that was not read, and Results as workers give them."""

import asyncio
import traceback
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from pipeline.document import Document
from pipeline.errors import FieldsiftError, LoadError, QuotaReached
from pipeline.extracting import without_data
from pipeline.loaders import sniff
from pipeline.results import DocumentRef, Result
from pipeline.sources import Source


def reason_of(stopped: FieldsiftError | None) -> str:
    """Why a document was not reached: `quota` or `budget`."""
    return "quota" if isinstance(stopped, QuotaReached) else "budget"


def unreadable(source: Source, error: LoadError) -> Result:
    """The Result of an input that can't be read."""
    return without_data(
        Result(DocumentRef(source.path), None, "unreadable"), "unreadable", error.reason, str(error)
    )


def note_fault(folder: Path, document: Document, error: BaseException) -> Path:
    """Keep in a log what happened, which exit code 70 names; where it lies."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / "faults.log"
    with file.open("a", encoding="utf-8") as log:
        log.write(f"{document.path}\n")
        traceback.print_exception(error, file=log)
    return file


def reference(document: Document) -> DocumentRef:
    """The document of a Result."""
    return DocumentRef(
        document.path, document.sha256, document.media_type, document.page_count, document.parent
    )


def is_picture(source: Source) -> bool:
    """Whether the first bytes of an input are a picture's."""
    try:
        return sniff(source.head(), source.path).startswith("image/")
    except LoadError:
        return False


async def as_they_come(
    workers: Sequence["asyncio.Task[None]"], results: "asyncio.Queue[Result]"
) -> AsyncGenerator[Result, None]:
    """The results, until all workers are done; raises the first error of one."""
    waiting = set(workers)
    while waiting or not results.empty():
        if not results.empty():
            yield results.get_nowait()
            continue
        arrival = asyncio.ensure_future(results.get())
        try:
            done, _ = await asyncio.wait({arrival, *waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not arrival.done():
                arrival.cancel()
        if arrival in done:
            yield arrival.result()
        for worker in waiting & done:
            waiting.remove(worker)
            if not worker.cancelled():  # cancelled ones were told to stop
                worker.result()
