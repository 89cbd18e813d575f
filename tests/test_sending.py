"""Documents in the forms that endpoints take: PDF pages as pictures or text, pictures as text, sound refused."""

import asyncio
import hashlib
import io
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.document import Document, FormField, Page, Part
from pipeline.errors import LoadError, ReplyError
from pipeline.loaders import Loaders
from pipeline.providers import Endpoint, Settings
from pipeline.sending import fitted
from tests.asking import endpoint as gemini_endpoint
from tests.chats import endpoint
from tests.pdfs import pdf, text_at, widget

PLAIN = Settings(max_output_tokens=100)
PDF = pdf(
    text_at(50, 700, "Total 12.50"),
    fields=(widget("Tx", "50 600 250 620", "/T (name) /V (Ann)"),),
)


def scanned() -> bytes:
    """A PDF whose only page is a photograph."""
    written = io.BytesIO()
    Image.effect_noise((800, 1000), 80).convert("RGB").save(written, "PDF")
    return written.getvalue()


def png() -> bytes:
    """A small picture."""
    written = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(written, "PNG")
    return written.getvalue()


def work(steps: Callable[[Loaders], Awaitable[Any]]) -> Any:
    """Run steps with loaders that are closed afterwards."""

    async def run() -> Any:
        async with Loaders(1) as loaders:
            return await steps(loaders)

    return asyncio.run(run())


def fit(content: bytes, to: Endpoint, asked: Settings = PLAIN, **changes: Any) -> Document:
    """A file, loaded and made fit for an endpoint; `changes` of the document between."""

    async def steps(loaders: Loaders) -> Document:
        document = await loaders.load("a", content)
        return await fitted(replace(document, **changes), to, loaders, asked)

    done: Document = work(steps)
    return done


def size(part: Part) -> tuple[int, int]:
    """Width and height of a picture."""
    return Image.open(io.BytesIO(part.data)).size


@pytest.mark.parametrize(
    "to", [gemini_endpoint(), endpoint(pdf="file"), Endpoint("local", "local")]
)
def test_what_an_endpoint_takes_as_it_is_goes_as_it_is(to: Endpoint) -> None:
    """Gemini and file parts take PDFs; the local engine reads pages, not parts."""
    assert fit(PDF, to).parts == work(lambda loaders: loaders.load("a", PDF)).parts


@pytest.mark.parametrize(
    ("resolution", "width"), [(None, 1250), ("low", 833), ("medium", 1250), ("high", 1667)]
)
def test_pages_become_pictures_as_fine_as_was_asked(resolution: Any, width: int) -> None:
    """One each, in order, white below the print, the same bytes every time."""
    asked = replace(PLAIN, media_resolution=resolution)
    document = fit(PDF, endpoint(pdf="images"), asked)
    (part,) = document.parts
    assert (part.kind, part.media_type, part.pages) == ("image", "image/png", (1, 1))
    assert abs(size(part)[0] - width) <= 1
    picture = Image.open(io.BytesIO(part.data)).convert("L")
    assert picture.getpixel((1, 1)) == 255
    assert min(picture.tobytes()) < 100
    assert part.sha256 == hashlib.sha256(part.data).hexdigest()
    assert document.parts == fit(PDF, endpoint(pdf="images"), asked).parts
    assert document.pages == fit(PDF, endpoint()).pages


def test_a_gateway_of_geminis_wire_gets_what_its_entry_says() -> None:
    """EvoLink's native route documents pictures, no PDFs; film is for that wire alone."""
    to = Endpoint("evolink-gemini", "gemini-3.1-flash-lite-preview")
    assert [part.kind for part in fit(PDF, to).parts] == ["image"]
    film = Part("video", "video/mp4", data=b"x")
    assert fit(b"x y", to, parts=(film,)).parts == (film,)


def test_scans_are_drawn_as_jpeg_and_print_as_png(fixtures: Path) -> None:
    """Each in the form that is small for it."""
    scan = (fixtures / "pictures/facture-scan.pdf").read_bytes()
    noisy = fit(scanned(), endpoint(pdf="images")).parts
    assert [part.media_type for part in noisy] == ["image/jpeg"]
    for part in (*noisy, *fit(scan, endpoint(pdf="images")).parts):
        width, height = size(part)
        assert len(part.data) < width * height
    printed = fit((fixtures / "inbox/RE-2024-00482.pdf").read_bytes(), endpoint(pdf="images"))
    assert {part.media_type for part in printed.parts} == {"image/png"}


def test_every_page_is_there_once_in_its_order(fixtures: Path) -> None:
    """As pictures, and as text."""
    paths = sorted((fixtures / "contracts").rglob("*.pdf"))
    contract = max((path.read_bytes() for path in paths), key=len)
    for form in ("images", "text"):
        document = fit(contract, endpoint(pdf=form))
        numbers = [number for part in document.parts for number in range(part.pages[0], part.pages[1] + 1)]  # fmt: skip
        assert document.page_count > 1
        assert numbers == [*range(1, document.page_count + 1)]


def test_pages_become_their_text_with_what_forms_hold() -> None:
    """Values of fields stand in the text; check marks, which have no text, stand below it."""
    (part,) = fit(PDF, endpoint(pdf="text")).parts
    assert (part.kind, part.text) == ("text", "Total 12.50\nname: Ann")
    box = (0.0, 0.0, 1.0, 1.0)
    marks = (
        FormField("a", "Agree", "true", "check", box),
        FormField("b", "", "false", "check", box),
    )
    page = Page(1, "Terms", fields=marks)
    (part,) = fit(PDF, endpoint(pdf="text"), pages=(page,)).parts
    assert part.text == "Terms\n[x] Agree\n[ ] b"


def test_a_page_without_words_is_drawn_for_eyes_and_an_error_where_there_are_none() -> None:
    """Nothing is left out: it goes as a picture, or the sentence says what is needed."""
    (part,) = fit(scanned(), endpoint(pdf="text")).parts
    assert part.kind == "image"
    with pytest.raises(LoadError, match=r"fieldsift\[local\]") as failure:
        fit(scanned(), endpoint(pdf="text", sees=False))
    assert failure.value.reason == "needs_ocr"


def test_recognised_words_go_where_pictures_do_not() -> None:
    """The text of a picture or scan, once its words are known."""
    blind = endpoint(pdf="images", sees=False)
    page = Page(1, "Total 5", reader="an OCR 1")
    for content in (png(), scanned()):
        (part,) = fit(content, blind, pages=(page,)).parts
        assert (part.kind, part.text, part.pages) == ("text", "Total 5", (1, 1))
        with pytest.raises(LoadError):
            fit(content, blind)
    (picture,) = fit(png(), endpoint()).parts
    assert picture.data == png()


def test_a_page_that_can_not_be_drawn_is_named() -> None:
    """One bad page is an error, not a page less."""
    part = Part("pdf", "application/pdf", data=PDF, pages=(1, 2))
    with pytest.raises(LoadError, match="page 2 can't be drawn") as failure:
        fit(PDF, endpoint(pdf="images"), parts=(part,))
    assert failure.value.reason == "damaged"


def test_more_pages_than_pictures_may_go_are_refused_before_they_are_drawn() -> None:
    """With the service's limit."""
    part = Part("pdf", "application/pdf", data=PDF, pages=(1, 500))
    with pytest.raises(ReplyError, match=r"500 pages.*at most 50") as failure:
        fit(PDF, endpoint(pdf="images", images=50), parts=(part,))
    assert failure.value.reason == "too_large"


def test_sound_goes_to_those_who_hear_and_film_to_nobody() -> None:
    """The sentence says what to do instead."""
    sound = Part("audio", "audio/wav", data=b"RIFF")
    assert fit(b"x y", endpoint(), parts=(sound,)).parts == (sound,)
    with pytest.raises(LoadError, match=r"takes no sound.*transcript"):
        fit(b"x y", endpoint(hears=False), parts=(sound,))
    with pytest.raises(LoadError, match="takes no film"):
        fit(b"x y", endpoint(), parts=(replace(sound, kind="video", media_type="video/mp4"),))


def test_drawing_ends_with_its_call() -> None:
    """A call that is cancelled leaves no page behind that is still drawn."""

    async def steps(loaders: Loaders) -> Any:
        document = await loaders.load("a", PDF)
        many = replace(
            document, parts=(Part("pdf", "application/pdf", data=PDF, pages=(1, 1)),) * 3
        )
        task = asyncio.ensure_future(fitted(many, endpoint(pdf="images"), loaders, PLAIN))
        await asyncio.sleep(0)
        task.cancel()
        return await asyncio.gather(task, return_exceptions=True)

    (ended,) = work(steps)
    assert isinstance(ended, asyncio.CancelledError)
