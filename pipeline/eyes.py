"""Eyes: words for pages that have none, recognised on their pictures once and then read back."""

import asyncio
import os
from dataclasses import dataclass, replace

from pipeline import ocr
from pipeline.document import Document, Page
from pipeline.errors import LoadError, SetupError
from pipeline.ledger import Words
from pipeline.loaders import Limits, Loaders, has_look, wire
from pipeline.results import Finding

#: How to get what is missing.
INSTALL = "pip install 'fieldsift[local]'"
#: What one page may take. A child holds the models beside the picture (0.8 GB in use for a receipt, 1 GB
#: for 35 million points), and a page of a newspaper has a thousand lines.
LIMITS = Limits(memory=4 << 30, cpu=120, wall=300.0)
#: Bytes of the machine's memory for each child.
_MEMORY = 2 << 30


@dataclass(frozen=True, slots=True)
class Seen:
    """A document with the words that were recognised, and why the first page without words has none."""

    document: Document
    trouble: LoadError | None = None


class Eyes:
    """Recognises the words of pages without text, in child processes; what was found is stored.

    Args:
        words: where it is kept.
        size: how many pages are read at a time; fewer where memory is short.

    """

    def __init__(self, words: Words, size: int) -> None:
        self.missing = ocr.missing()
        self._words = words
        self._reader = "" if self.missing else ocr.version()
        self._loaders = Loaders(min(size, _affordable()), LIMITS, eyes=True)

    async def look(self, document: Document, content: bytes) -> Seen:
        """The document, its pages without text filled; `content` are the bytes of the file.

        Without the extra only what is stored is filled in. A page that can't be recognised stays as it
        is; the document then has a warning.

        Raises:
            SetupError: no child process can be started, or the store can't be used.

        """
        blind = [page for page in document.pages if page.is_blind]
        if not blind or not has_look(document.media_type):
            return Seen(document)
        source = next((part.data for part in document.parts if part.kind == "pdf"), content)
        looks = [asyncio.ensure_future(self._page(document.sha256, page, source)) for page in blind]
        try:
            found = dict(zip(blind, await asyncio.gather(*looks), strict=True))
        finally:
            for look in looks:
                look.cancel()
        seen = {page.number: look for page, look in found.items() if isinstance(look, Page)}
        trouble = {page: look for page, look in found.items() if isinstance(look, LoadError)}
        told = (
            f"page {page.number}: its words were not recognised: {error}"
            for page, error in trouble.items()
            if not self.missing
        )
        filled = replace(
            document,
            pages=tuple(seen.get(page.number, page) for page in document.pages),
            warnings=(*document.warnings, *told),
        )
        return Seen(filled, next(iter(trouble.values()), None))

    async def aclose(self) -> None:
        """End the child processes."""
        await self._loaders.aclose()

    async def _page(self, sha256: str, page: Page, content: bytes) -> Page | LoadError:
        """A page with its words: read back, or recognised and kept; or why it has none."""
        seen = self._stored(sha256, page.number)
        if seen is None and self.missing:
            return LoadError("needs_ocr", f"reading words on pictures needs {INSTALL}")
        if seen is None:
            try:
                seen = _fitted(await self._loaders.recognise(content, page.number), page)
            except LoadError as error:
                return error
            await self._words.keep(sha256, page.number, self._reader, wire.keep(seen))
        fields = (*page.fields, *seen.fields)
        reader = self._reader or "an earlier run"
        return replace(
            page, text=seen.text, words=seen.words, fields=fields, turn=seen.turn, reader=reader
        )

    def _stored(self, sha256: str, number: int) -> Page | None:
        body = self._words.get(sha256, number, self._reader)
        try:
            return None if body is None else wire.kept(body)
        except wire.Garbage:  # damaged on disk: it can be recognised again
            return None


def readable(seen: Seen) -> Document:
    """The document, which an engine without eyes can read only where there are words.

    Raises:
        LoadError: there is none on any page; why.

    """
    if seen.document.has_text:
        return seen.document
    raise seen.trouble or LoadError("empty", "there are no words in it")


def needs_ocr(path: str) -> SetupError:
    """What ends a run early on, unless its user says that such documents may be passed over."""
    return SetupError(
        f"needs_ocr: {path} is a picture or a scan, and reading its words needs an extra: {INSTALL}. "
        f"Or use a model that sees (-m gemini-3.1-flash-lite), or go on without pictures: --skip-unreadable"
    )


def wordless(document: Document) -> list[int]:
    """The pages whose words nobody looked for; a page that was looked at may well have none."""
    return [
        page.number for page in document.pages if page.is_blind and has_look(document.media_type)
    ]


def notes(document: Document, looks: bool) -> tuple[Finding, ...]:
    """What was odd about the document, and which pages were not read: warnings of every Result.

    `looks` says that pages without words were seen all the same.
    """
    odd = tuple(Finding("document", "", told, "warning") for told in document.warnings)
    unread = wordless(document)
    if not unread:
        return odd
    pages = ", ".join(map(str, unread[:20])) + (", ..." if len(unread) > 20 else "")
    way_out = f" ({INSTALL} recognises them)" if ocr.missing() else ""
    told = f"no words are known of page {pages}{way_out}: "
    if looks:
        told += "values that stand there can't be proven"
        return (*odd, Finding("no_words", "", told, "warning"))
    return (*odd, Finding("page_not_read", "", told + "it was not read", "warning"))


def _fitted(seen: Page, page: Page) -> Page:
    """What was seen in the page's own measure: heights of words in its points."""
    scale = page.width / seen.width if page.width and seen.width else 1.0
    words = tuple(replace(word, size=word.size * scale) for word in seen.words)
    return replace(seen, words=words, width=page.width, height=page.height)


def _affordable() -> int:
    """How many children the machine's memory and processors allow."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        memory = _MEMORY
    return max(1, min(os.cpu_count() or 1, 4, memory // _MEMORY))
