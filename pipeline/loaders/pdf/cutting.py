"""Some pages of a PDF as a PDF of their own: the same bytes every time, without what only other pages need."""

import io
import re
from collections.abc import Sequence
from typing import Any, Final

from pipeline.errors import LoadError

#: pdfium writes when a file was made, and an identifier that is another one each time.
_MADE: Final = re.compile(rb"/CreationDate\(D:[^)]*\)")
_NUMBERED: Final = re.compile(rb"/ID\[<[0-9A-F]{32}><[0-9A-F]{32}>\]")
#: A cut that is larger than its share of the file by this factor, and by this many bytes, may hold what
#: only other pages need: their pictures, where all pages share one list of resources.
_SHARE, _SPARE = 1.5, 100_000
#: What a page's list of resources holds under names that its content uses.
_NAMED: Final = ("/XObject", "/Font", "/Pattern", "/Shading")
_NAME: Final = re.compile(rb"/([^\s/\[\]()<>{}%]+)")


def cut(document: Any, pages: Sequence[int], size: int) -> bytes:
    """The pages, from 1, in this order; form values stay as they are drawn.

    A page that can't be read becomes an empty one, as it counts everywhere else.

    Args:
        document: a pypdfium2 document.
        pages: their numbers.
        size: bytes of the whole file.

    Raises:
        LoadError: `damaged`, pages can't be taken out of it.

    """
    import pypdfium2

    part = pypdfium2.PdfDocument.new()
    try:
        for number in pages:
            _add(part, document, number)
        written = io.BytesIO()
        part.save(written)
    except pypdfium2.PdfiumError as error:
        raise LoadError("damaged", f"pages can't be taken out of it: {error}") from error
    finally:
        part.close()
    made = _same(written.getvalue())
    if len(made) > _SHARE * size * len(pages) / max(1, len(document)) + _SPARE:
        return min(made, _lean(made) or made, key=len)
    return made


def _add(part: Any, document: Any, number: int) -> None:
    import pypdfium2

    if not 1 <= number <= len(document):
        raise LoadError("damaged", f"there is no page {number}: it has {len(document)}")
    try:
        document[number - 1].close()
    except pypdfium2.PdfiumError:
        part.new_page(612, 792).close()
        return
    part.import_pages(document, [number - 1])


def _same(made: bytes) -> bytes:
    """The bytes without the time and the identifier of this moment; as long as before."""
    made = _MADE.sub(
        lambda match: b"/CreationDate(D:" + b"0" * (len(match[0]) - 17) + b")", made, 1
    )
    end = made.rfind(b"trailer")
    return made[:end] + _NUMBERED.sub(b"/ID[<%s><%s>]" % (b"0" * 32, b"0" * 32), made[end:], 1)


def _lean(made: bytes) -> bytes | None:
    """The file without the resources that no page's content names; None where that can't be told."""
    from pypdf import PdfReader, PdfWriter

    written = io.BytesIO()
    try:
        writer = PdfWriter()
        writer.append(PdfReader(io.BytesIO(made), strict=False), import_outline=False)
        for page in writer.pages:
            _leave_out(page)
        again = PdfWriter()
        again.append(_written(writer), import_outline=False)
        again.write(written)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001, on a broken file pypdf raises anything
        return None
    return written.getvalue()


def _written(writer: Any) -> io.BytesIO:
    written = io.BytesIO()
    writer.write(written)
    return written


def _leave_out(page: Any) -> None:
    """Give a page a list of resources with what its content names, and no more."""
    from pypdf.generic import DictionaryObject, NameObject

    content = page.get_contents()
    own = page.get("/Resources")
    if content is None or own is None or "/Kids" in page:
        return
    used = {b"/" + match[1] for match in _NAME.finditer(content.get_data())}
    if any(b"#" in name for name in used):  # names written another way than in the list
        return
    fresh = DictionaryObject(own.get_object())
    for kind in _NAMED:
        listed = fresh.get(kind)
        if listed is None:
            continue
        listed = listed.get_object()
        if any(_borrows(listed[name].get_object()) for name in listed):
            return
        kept = {n: v for n, v in listed.items() if n.encode("utf-8", "replace") in used}
        fresh[NameObject(kind)] = DictionaryObject(kept)
    page[NameObject("/Resources")] = fresh


def _borrows(thing: Any) -> bool:
    """Whether it is a form that uses the names of its page's list."""
    return thing.get("/Subtype") == "/Form" and "/Resources" not in thing
