"""Pages cut out of a PDF, how much of a page its pictures cover, and long texts in pages."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.errors import LoadError
from pipeline.loaders import Loaders
from pipeline.loaders.text import PAGE
from tests.pdfs import assemble, pdf, picture_at, stream, text_at, widget

THREE = pdf(*(text_at(50, 700, f"Page {number}") for number in (1, 2, 3)))


def work(steps: Callable[[Loaders], Awaitable[Any]]) -> Any:
    """Run steps with loaders that are closed afterwards."""

    async def run() -> Any:
        async with Loaders(1) as loaders:
            return await steps(loaders)

    return asyncio.run(run())


def shared_pictures(pages: int) -> bytes:
    """A PDF whose pages share one list of resources, and show one large picture each."""
    names = b" ".join(b"/P%d %d 0 R" % (n, 50 + n) for n in range(pages))
    kids = b" ".join(b"%d 0 R" % (10 + n) for n in range(pages))
    objects = {
        1: b"<< /Type /Catalog /Pages 3 0 R >>",
        3: b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, pages),
        4: b"<< /XObject << %s >> >>" % names,
    }
    for n in range(pages):
        page = b"<< /Type /Page /Parent 3 0 R /MediaBox [0 0 600 800] /Resources 4 0 R /Contents %d 0 R >>"
        objects[10 + n] = page % (30 + n)
        objects[30 + n] = stream(b"q 500 0 0 500 50 50 cm /P%d Do Q" % n)
        noise = Image.effect_noise((500, 500), 80 + n).tobytes()
        entries = b"/Type /XObject /Subtype /Image /Width 500 /Height 500 /ColorSpace /DeviceGray /BitsPerComponent 8"
        objects[50 + n] = stream(noise, entries)
    return assemble(objects)


def test_pages_of_a_cut_look_and_read_as_in_the_whole() -> None:
    """In the order that is asked for, with what was filled in; the same bytes from another process."""
    filled = pdf(
        *(text_at(50, 700, f"Page {number}") for number in (1, 2, 3)),
        fields=(widget("Tx", "50 600 250 620", "/T (name) /V (Ann)"),),
    )

    async def steps(loaders: Loaders) -> Any:
        made = await loaders.cut(filled, [3, 2])
        document = await loaders.load("a", made)
        pictures = [await loaders.draw(made, page) for page in (1, 2)]
        whole = [await loaders.draw(filled, page) for page in (3, 2)]
        return made, [page.text for page in document.pages], pictures, whole

    made, texts, pictures, whole = work(steps)
    assert texts == ["Page 3", "Page 2"]
    assert pictures == whole
    assert made == work(lambda loaders: loaders.cut(filled, [3, 2]))
    assert made != work(lambda loaders: loaders.cut(filled, [2, 3]))


def test_pictures_of_other_pages_do_not_go_along() -> None:
    """Also where all pages share one list of resources."""
    whole = shared_pictures(4)

    async def steps(loaders: Loaders) -> Any:
        made = await loaders.cut(whole, [2])
        return made, await loaders.draw(made, 1), await loaders.draw(whole, 2)

    made, picture, same = work(steps)
    assert len(made) < len(whole) / 3
    assert picture == same


@pytest.mark.parametrize("pages", [[0], [4], [1, 9]])
def test_a_page_that_is_not_there_is_an_error(pages: list[int]) -> None:
    """It is named; nothing is made up."""
    with pytest.raises(LoadError, match="there is no page") as failure:
        work(lambda loaders: loaders.cut(THREE, pages))
    assert failure.value.reason == "damaged"


def test_only_a_pdf_is_cut() -> None:
    """Anything else is refused without a process."""
    for content, reason in ((b"plain text", "unsupported"), (b"", "empty")):
        with pytest.raises(LoadError) as failure:
            work(partial(Loaders.cut, content=content, pages=[1]))
        assert failure.value.reason == reason


@pytest.mark.parametrize("end", [0.3, 0.6, 0.9])
def test_a_damaged_file_is_cut_as_it_is_repaired_or_an_error(end: float) -> None:
    """Never anything but pages or our own error."""

    async def steps(loaders: Loaders) -> Any:
        try:
            return await loaders.cut(THREE[: int(len(THREE) * end)], [1])
        except LoadError as error:
            return error

    made = work(steps)
    assert isinstance(made, LoadError) or made.startswith(b"%PDF")


@pytest.mark.corpus
def test_hostile_files_are_cut_or_an_error(corpus: Path) -> None:
    """Of every kind there is."""
    files = sorted(path for path in (corpus / "hostile").rglob("*.pdf"))
    assert files

    async def steps(loaders: Loaders) -> list[object]:
        told: list[object] = []
        for path in files:
            try:
                document = await loaders.load(path.name, path.read_bytes())
                made = await loaders.cut(document.parts[0].data, [document.page_count])
                told.append((await loaders.load("cut", made)).page_count)
            except LoadError as error:
                told.append(error.reason)
        return told

    told = work(steps)
    assert all(each == 1 or isinstance(each, str) for each in told)
    assert 1 in told


@pytest.mark.parametrize(
    ("content", "least", "most"),
    [
        (text_at(50, 700, "Total 5"), 0.0, 0.0),
        (text_at(50, 700, "Total 5") + b"50 50 500 600 re S 50 300 m 550 300 l S 60 60 90 90 re f", 0, 0),
        (text_at(50, 700, "Total 5") + picture_at(0, 0, 300, 400), 0.23, 0.27),
        (text_at(50, 700, "Total 5") + picture_at(0, 0, 300, 400) * 3, 0.23, 0.27),
        (text_at(50, 700, "Total 5") + picture_at(-900, 0, 300, 400), 0.0, 0.0),
        (text_at(50, 700, "Total 5") + b"100 100 m " + b"200 900 300 0 400 400 c " * 9 + b"f", 0.05, 0.6),
        (text_at(50, 700, "Total 5") + b"1 1 m 9 9 l S " * 6100, 1.0, 1.0),
        (b"", 1.0, 1.0),
    ],
)  # fmt: skip
def test_pictures_and_drawings_are_told_by_the_share_of_the_page(
    content: bytes, least: float, most: float
) -> None:
    """Rules and frames are none; what lies over one another counts once; a plan is a drawing as a whole."""
    document = work(lambda loaders: loaders.load("a", pdf(content or b" ", text_at(9, 9, "x"))))
    assert least <= document.pages[0].pictured <= most


def test_a_picture_inside_of_a_form_lies_where_the_form_puts_it() -> None:
    """Many programs wrap a whole page in one."""
    inner = stream(
        picture_at(0, 0, 100, 100), b"/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Matrix [2 0 0 2 0 0]"
    )  # fmt: skip
    objects = {
        1: b"<< /Type /Catalog /Pages 3 0 R >>",
        2: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        3: b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        4: b"<< /Type /Page /Parent 3 0 R /MediaBox [0 0 600 800] /Contents 5 0 R "
        b"/Resources << /Font << /F 2 0 R >> /XObject << /X 6 0 R >> >> >>",
        5: stream(text_at(50, 700, "Total 5") + b"q 1 0 0 1 50 50 cm /X Do Q"),
        6: inner,
    }
    document = work(lambda loaders: loaders.load("a", assemble(objects)))
    assert document.pages[0].pictured == pytest.approx(200 * 200 / (600 * 800), abs=0.02)


@pytest.mark.parametrize(
    "text",
    ["line of a text\n" * 9000, "a paragraph\n\n" * 5000, "x" * (5 * PAGE + 7), "word " * 9000, "é😀" * PAGE],
)  # fmt: skip
def test_a_long_text_has_pages_that_are_together_the_text(text: str) -> None:
    """Cut behind lines and words where there are any; a form feed still ends a page."""
    document = work(lambda loaders: loaders.load("a.txt", (text + "\fend").encode()))
    assert "".join(page.text for page in document.pages[:-1]) == text
    assert document.pages[-1].text == "end"
    assert [part.text for part in document.parts] == [page.text for page in document.pages]
    assert all(PAGE // 2 < len(page.text) <= PAGE for page in document.pages[:-2])
    if "\n" in text:
        assert all(page.text.endswith("\n") for page in document.pages[:-2])


def test_a_scan_in_a_pdf_is_cut_out_with_its_picture() -> None:
    """The page that is asked for, no other."""
    written = io.BytesIO()
    pages = [Image.effect_noise((200, 300), 80).convert("L") for _ in range(3)]
    pages[0].save(written, "PDF", save_all=True, append_images=pages[1:])

    async def steps(loaders: Loaders) -> Any:
        made = await loaders.cut(written.getvalue(), [2])
        return made, await loaders.draw(made, 1), await loaders.draw(written.getvalue(), 2)

    made, one, same = work(steps)
    assert one == same
    assert len(made) < len(written.getvalue()) / 2
