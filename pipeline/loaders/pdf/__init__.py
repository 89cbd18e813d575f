"""The loader for PDF: texts, words with boxes, form values, its own bytes; and pages as pictures."""

import ctypes
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pipeline.document import Part
from pipeline.errors import LoadError
from pipeline.loaders import wire
from pipeline.loaders.pdf import cutting, forms, looks, words

if TYPE_CHECKING:
    from PIL.Image import Image

#: A drawn page has at most this many points; a sheet of A2 at 150 dpi has 8.7 million.
MAX_PIXELS = 25_000_000
#: Points beyond which the side of a page is an error of the file.
_WIDEST = 1e6
#: A page with no more words than this may be a scan that a program has put its stamp on, if a picture
#: among its first things covers so much of it.
_STAMP, _COVERED, _LOOKED_AT = 15, 0.6, 40
#: Warnings of one kind that are written out.
_NAMED = 20


@dataclass(slots=True)
class _Attempt:
    """What came of reading some bytes as a PDF.

    `failed` and `unknown` are numbers of pages: that can't be read (empty sheets), and with letters
    without a meaning. `blank` says that there is nothing to see on any.
    """

    content: bytes
    sheets: list[wire.Sheet] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    blank: bool = True
    characters: int = 0
    words: int = 0

    @property
    def readable(self) -> int:
        """How many pages could be read; none where there is nothing on any."""
        return 0 if self.blank else len(self.sheets) - len(self.failed)

    def add(self, sheet: wire.Sheet) -> None:
        """Add the next page.

        Raises:
            LoadError: `too_large`, all together.

        """
        if words.UNKNOWN in sheet.text:
            self.unknown.append(len(self.sheets) + 1)
            if not sheet.text.replace(words.UNKNOWN, "").strip():
                sheet.text, sheet.words = (
                    "",
                    wire.no_words(),
                )  # as a scan: only its look says something
        self.sheets.append(sheet)
        self.characters += len(sheet.text)
        self.words += len(sheet.words) // wire.PER_WORD
        if self.characters > wire.MAX_TEXT or self.words > wire.MAX_WORDS:
            most = f"{wire.MAX_TEXT:,} characters or {wire.MAX_WORDS:,} words"
            raise LoadError(
                "too_large", f"its text is more than the {most} that are read: split it"
            )


def prepare() -> None:
    """Import what loading needs, before the limits are set."""
    import pypdfium2.raw

    pypdfium2.raw.FPDF_GetLastError()  # the library itself is loaded at the first call
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)


def load(content: bytes, media_type: str) -> wire.Reading:
    """Read a PDF with pdfium; what pdfium can't read, it is given again as pypdf repairs it.

    Its part is the file's own bytes, except: without the encryption where it opens with an empty
    password (services refuse encrypted files), and repaired where only that could be read.

    Raises:
        LoadError: `encrypted` (needs a password), `damaged` (no reader finds a page), `too_large`.

    """
    trouble: LoadError | None = None
    try:
        best = _attempt(content)
    except LoadError as error:
        if error.reason != "damaged":
            raise
        best, trouble = None, error
    if best is None or best.failed or best.blank:
        best = _better(best, _repaired(content))
    if best is None or len(best.failed) == len(best.sheets):
        raise trouble or LoadError("damaged", "none of its pages can be read; is the file whole?")
    if best.failed:
        best.warnings.insert(0, f"can't be read and count as empty: {_pages(best.failed)}")
    part = Part("pdf", "application/pdf", data=best.content, pages=(1, len(best.sheets)))
    return wire.Reading(best.sheets, [part], best.warnings, page_count=len(best.sheets))


def picture(content: bytes, page: int, dpi: int, side: int) -> "Image":
    """A page as it is seen, its form values drawn; at most `side` points long.

    Raises:
        LoadError: as `load`; `damaged` where the page can't be drawn.

    """
    with _opened(_readable(content)) as document:
        if not 1 <= page <= len(document):
            raise LoadError("damaged", f"there is no page {page}: it has {len(document)}")
        with _page(document, page) as sheet:
            width, height = sheet.get_size()
            most = (MAX_PIXELS / max(1.0, width * height)) ** 0.5
            scale = min(dpi / 72, most, side / max(1.0, width, height))
            return cast("Image", sheet.render(scale=scale, may_draw_forms=True).to_pil())


def cut(content: bytes, pages: Sequence[int]) -> bytes:
    """Some of its pages, by their numbers from 1, as a PDF of their own: the same bytes every time.

    Raises:
        LoadError: as `load`; `damaged` where they can't be taken out of it.

    """
    content = _readable(content)
    with _opened(content) as document:
        return cutting.cut(document, pages, len(content))


def _readable(content: bytes) -> bytes:
    """The bytes, or the repaired ones where pdfium can't open them."""
    try:
        with _opened(content):
            return content
    except LoadError as error:
        repaired = _repaired(content) if error.reason == "damaged" else None
        if repaired is None:
            raise
        return repaired


@contextmanager
def _opened(content: bytes) -> Iterator[Any]:
    """A pypdfium2 document with its form values ready."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code in {pypdfium2.raw.FPDF_ERR_PASSWORD, pypdfium2.raw.FPDF_ERR_SECURITY}:
            raise LoadError(
                "encrypted", "this PDF needs a password: save a copy without one"
            ) from error
        raise LoadError("damaged", "this is no PDF that can be read; is the file whole?") from error
    try:
        document.init_forms()
        yield document
    finally:
        document.close()


@contextmanager
def _page(document: Any, number: int) -> Iterator[Any]:
    import pypdfium2

    try:
        page = document[number - 1]
    except pypdfium2.PdfiumError as error:
        raise LoadError("damaged", f"page {number} can't be read") from error
    try:
        yield page
    finally:
        page.close()


def _attempt(content: bytes) -> _Attempt:
    import pypdfium2.raw as pdfium

    attempt = _Attempt(content)
    with _opened(content) as document:
        count = len(document)
        if count > wire.MAX_PAGES:
            most = f"{wire.MAX_PAGES:,}"
            raise LoadError(
                "too_large", f"{count:,} pages are more than the {most} that are read: split it"
            )
        for number in range(1, count + 1):
            try:
                with _page(document, number) as page:
                    sheet = _sheet(page)
                    seen = sheet.text or pdfium.FPDFPage_CountObjects(page.raw) > 0
            except LoadError:
                attempt.failed.append(number)
                sheet, seen = wire.Sheet(""), False
            attempt.blank = attempt.blank and not seen
            attempt.add(sheet)
        attempt.warnings = _oddities(document)
        attempt.content = _decrypted(document) or content
    if attempt.unknown:
        attempt.warnings.append(f"has letters without a meaning: {_pages(attempt.unknown)}")
    return attempt


def _sheet(page: Any) -> wire.Sheet:
    left, bottom, right, top = page.get_bbox()
    view = words.View(left, bottom, right - left, top - bottom, page.get_rotation() // 90)
    if not (0 < view.width < _WIDEST and 0 < view.height < _WIDEST):
        raise LoadError("damaged", "a page without a size")
    text, found = words.read(page, view)
    scanned = 0 < len(found) <= _STAMP * wire.PER_WORD and _is_pictured(page, view)
    text, fields = forms.read(page, view, text, found)
    pictured = looks.pictured(page, view) if text.strip() else 1.0
    return wire.Sheet(
        text, found, fields, *view.size, scanned=scanned and not fields, pictured=pictured
    )


def _is_pictured(page: Any, view: words.View) -> bool:
    """Whether one picture covers most of a page, as a scanner makes it."""
    import pypdfium2.raw as pdfium

    edges = [ctypes.c_float() for _ in range(4)]
    for index in range(min(_LOOKED_AT, pdfium.FPDFPage_CountObjects(page.raw))):
        thing = pdfium.FPDFPage_GetObject(page.raw, index)
        if pdfium.FPDFPageObj_GetType(thing) != pdfium.FPDF_PAGEOBJ_IMAGE:
            continue
        if pdfium.FPDFPageObj_GetBounds(thing, *edges):
            left, bottom, right, top = (edge.value for edge in edges)
            if (right - left) * (top - bottom) >= _COVERED * view.width * view.height:
                return True
    return False


def _oddities(document: Any) -> list[str]:
    """Sentences about what a document has beside its pages."""
    import pypdfium2.raw as pdfium

    warnings = []
    attached = document.count_attachments()
    if attached > 0:
        warnings.append(
            f"{attached} attached {'file is' if attached == 1 else 'files are'} not read"
        )
    if document.get_formtype() == pdfium.FORMTYPE_XFA_FULL:
        warnings.append("a dynamic XFA form: only what its pages show without Adobe Reader is read")
    return warnings


def _decrypted(document: Any) -> bytes | None:
    """A copy without encryption of a document that has it."""
    import pypdfium2
    import pypdfium2.raw as pdfium

    if pdfium.FPDF_GetSecurityHandlerRevision(document.raw) < 0:
        return None
    copy = io.BytesIO()
    try:
        document.save(copy, flags=pdfium.FPDF_REMOVE_SECURITY)
    except pypdfium2.PdfiumError:
        return None
    return copy.getvalue()


def _repaired(content: bytes) -> bytes | None:
    """The file as pypdf understands and writes it; None if it doesn't either."""
    from pypdf import PdfReader, PdfWriter

    written = io.BytesIO()
    try:
        reader = PdfReader(io.BytesIO(content), strict=False)
        writer = PdfWriter()
        writer.append(reader, import_outline=False)
        if not writer.pages:
            return None
        writer.write(written)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001, on a broken file pypdf raises anything
        return None
    return written.getvalue()


def _better(first: _Attempt | None, repaired: bytes | None) -> _Attempt | None:
    """The attempt that reads more pages; the file as it is where both read as many."""
    try:
        second = _attempt(repaired) if repaired else None
    except LoadError:
        return first
    if second is None or second.readable <= (first.readable if first else 0):
        return first
    second.warnings.insert(0, "the file is damaged and was repaired: something may be missing")
    return second


def _pages(numbers: list[int]) -> str:
    named = ", ".join(map(str, numbers[:_NAMED]))
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    return f"{'page' if len(numbers) == 1 else 'pages'} {named}{more}"
