"""Small steps of a run: what becomes of a document that was not read, and Results as workers give them."""

import asyncio
import traceback
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from pipeline import rows
from pipeline.document import Document
from pipeline.errors import FieldsiftError, LoadError, QuotaReached
from pipeline.extracting import without_data
from pipeline.loaders import Loaders, sniff
from pipeline.results import DocumentRef, Result, Status
from pipeline.sources import Source

#: Why a row can't be told from others: it stays so until its file is mended.
NAMELESS: Final = frozenset({"doubled_id", "no_id"})


def reason_of(stopped: FieldsiftError | None) -> str:
    """Why a document was not reached: `quota` or `budget`."""
    return "quota" if isinstance(stopped, QuotaReached) else "budget"


async def loaded(source: Source, loaders: Loaders) -> tuple[Document, bytes]:
    """The Document of an input, and the bytes of its file; of a row none.

    Raises:
        LoadError: it can't be read.

    """
    if source.row:
        return await asyncio.to_thread(rows.document, source), b""
    content = await asyncio.to_thread(source.read)
    return await loaders.load(source.path, content), content


def unreadable(source: Source, error: LoadError) -> Result:
    """The Result of an input that can't be read; of a row that could be, and can't be told from another, `failed`."""
    status: Status = "failed" if error.reason in NAMELESS else "unreadable"
    return without_data(
        Result(DocumentRef(source.path), None, status), status, error.reason, str(error)
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
    """The results, until all workers are done; raises the first error of one. Whether one may be cancelled, the caller knows."""
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
            if not worker.cancelled():
                worker.result()
