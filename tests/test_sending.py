"""Documents in the forms that endpoints take: PDF pages as pictures or text, pictures as text, sound refused."""

import asyncio
import hashlib
import io
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from pipeline.document import Document, FormField, Page, Part, Window, Word
from pipeline.errors import LoadError, ReplyError, UsageError
from pipeline.loaders import Loaders
from pipeline.prompts import Ask
from pipeline.prompts import request as question
from pipeline.prompts.printed import as_text, printed
from pipeline.providers import Endpoint, check, open_provider
from pipeline.sending import fitted
from pipeline.stages import Send, Stage
from pipeline.windows.forms import form_of
from tests.asking import endpoint as gemini_endpoint
from tests.asking import whole
from tests.chats import endpoint
from tests.pdfs import pdf, picture_at, text_at, widget

PLAIN = Stage("s", "name str")
LOOK = Stage("s", "name str", send="image")
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


def fit(content: bytes, to: Endpoint, asked: Stage = PLAIN, **changes: Any) -> Document:
    """A file, loaded and made fit for an endpoint; `changes` of the document between."""

    async def steps(loaders: Loaders) -> Document:
        document = await loaders.load("a", content)
        changed = replace(document, **changes)
        return await fitted(changed, whole(changed), to, loaders, asked)

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
    asked = replace(PLAIN, send="pdf")
    assert fit(PDF, to, asked).parts[0] == work(lambda loaders: loaders.load("a", PDF)).parts[0]


@pytest.mark.parametrize(
    ("resolution", "width"), [(None, 1250), ("low", 833), ("medium", 1250), ("high", 1667)]
)
def test_pages_become_pictures_as_fine_as_was_asked(resolution: Any, width: int) -> None:
    """One each, in order, white below the print, the same bytes every time."""
    asked = replace(LOOK, media_resolution=resolution)
    document = fit(PDF, endpoint(pdf="images"), asked)
    part = document.parts[0]
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
    assert [part.kind for part in fit(scanned(), to).parts] == ["image"]
    film = Part("video", "video/mp4", data=b"x")
    assert fit(b"x y", to, parts=(film,)).parts == (film,)


def test_scans_are_drawn_as_jpeg_and_print_as_png(fixtures: Path) -> None:
    """Each in the form that is small for it."""
    scan = (fixtures / "pictures/facture-scan.pdf").read_bytes()
    noisy = fit(scanned(), endpoint(pdf="images")).parts
    assert [part.media_type for part in noisy] == ["image/jpeg"]
    for part in (*noisy, *fit(scan, endpoint(pdf="images"), LOOK).parts):
        width, height = size(part)
        assert len(part.data) < width * height
    printed = fit((fixtures / "inbox/RE-2024-00482.pdf").read_bytes(), endpoint(pdf="images"), LOOK)
    assert {part.media_type for part in printed.parts} == {"image/png"}


def test_every_page_is_there_once_in_its_order(fixtures: Path) -> None:
    """As pictures, and as text."""
    paths = sorted((fixtures / "contracts").rglob("*.pdf"))
    contract = max((path.read_bytes() for path in paths), key=len)
    for send in get_args(Send)[:2]:
        document = fit(contract, endpoint(pdf="images"), replace(PLAIN, send=send))
        numbers = [number for part in document.parts for number in range(part.pages[0], part.pages[1] + 1)]  # fmt: skip
        assert document.page_count > 1
        assert numbers == [*range(1, document.page_count + 1)]


def test_pages_become_their_text_with_what_forms_hold() -> None:
    """Values of fields stand in the text; check marks, which have no text, stand below it."""
    (part,) = fit(PDF, endpoint(pdf="text")).parts
    assert (part.kind, part.text) == (
        "text",
        "Total 12.50\nAnn\nFilled in on this page:\nname: Ann",
    )
    box = (0.0, 0.0, 1.0, 1.0)
    marks = (
        FormField("a", "Agree", "true", "check", box),
        FormField("b", "", "false", "check", box),
    )
    page = Page(1, "Terms", fields=marks)
    (part,) = fit(PDF, endpoint(pdf="text"), pages=(page,)).parts
    assert part.text == "Terms\nFilled in on this page:\n[x] Agree\n[ ] b"


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
        fit(PDF, endpoint(pdf="images"), LOOK, page_count=2, parts=(part,))
    assert failure.value.reason == "damaged"


def test_more_pages_than_pictures_may_go_are_refused_before_they_are_drawn() -> None:
    """With the service's limit."""
    part = Part("pdf", "application/pdf", data=PDF, pages=(1, 500))
    with pytest.raises(ReplyError, match=r"500 pages.*at most 50") as failure:
        fit(PDF, endpoint(pdf="images", images=50), LOOK, page_count=500, parts=(part,))
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
        task = asyncio.ensure_future(
            fitted(many, whole(many), endpoint(pdf="images"), loaders, LOOK)
        )
        await asyncio.sleep(0)
        task.cancel()
        return await asyncio.gather(task, return_exceptions=True)

    (ended,) = work(steps)
    assert isinstance(ended, asyncio.CancelledError)


# page by page -------------------------------------------------------------------------------

DENSE = b"".join(text_at(50, 780 - 10 * n, f"Article {n} 12.50 19 % 1,250.00 EUR 2024-01-{n:02} " * 2, 6) for n in range(70))  # fmt: skip
SPARSE = text_at(50, 700, "Number 7") + text_at(50, 650, "Total 12.50")
PHOTO = text_at(50, 700, "See the picture") + picture_at(50, 50, 400, 400)


def of_pages(*contents: bytes, to: Endpoint | None = None, **asked: Any) -> Document:
    """A PDF of pages, made fit for Gemini, or another endpoint."""
    return fit(pdf(*contents), to or gemini_endpoint(), replace(PLAIN, **asked))


def told(document: Document) -> list[tuple[str, tuple[int, int]]]:
    """Kind and pages of each part."""
    return [(part.kind, part.pages) for part in document.parts]


def test_every_page_goes_in_the_cheapest_form_that_keeps_its_content() -> None:
    """Text where that is less than a page of a PDF; runs of other pages as one PDF, cut out."""
    document = of_pages(SPARSE, PHOTO, DENSE, SPARSE, PHOTO)
    assert told(document) == [
        ("text", (1, 1)),
        ("pdf", (2, 3)),
        ("text", (4, 4)),
        ("pdf", (5, 5)),
    ]
    assert document.parts[0].text == "Number 7\nTotal 12.50"
    cut = document.parts[1]
    assert cut.sha256 == hashlib.sha256(cut.data).hexdigest()
    found = work(lambda loaders: loaders.load("cut", cut.data))
    assert [page.text.split()[0] for page in found.pages] == ["See", "Article"]
    assert document.parts == of_pages(SPARSE, PHOTO, DENSE, SPARSE, PHOTO).parts
    finer = of_pages(SPARSE, PHOTO, DENSE, media_resolution="high")
    assert told(finer)[:2] == [("text", (1, 1)), ("pdf", (2, 3))]


def test_a_pdf_of_which_all_pages_go_as_pages_of_a_pdf_is_the_file_itself() -> None:
    """Nothing is cut, and its hash is that of the file."""
    given = pdf(PHOTO, DENSE)
    (part,) = fit(given, gemini_endpoint()).parts
    assert part.data == given
    assert part.sha256 == hashlib.sha256(given).hexdigest()


def test_only_the_pages_of_the_window_go() -> None:
    """Also where it leaves some out in between."""

    async def steps(loaders: Loaders) -> Any:
        document = await loaders.load("a", pdf(*[PHOTO] * 6, SPARSE))
        window = Window((2, 3, 6), (7,))
        return await fitted(document, window, gemini_endpoint(), loaders, PLAIN)

    assert told(work(steps)) == [("pdf", (2, 3)), ("pdf", (6, 6)), ("text", (7, 7))]


@pytest.mark.parametrize(
    ("send", "kinds"),
    [
        ("text", ["text", "text"]),
        ("pdf", ["pdf"]),
        ("image", ["image", "image"]),
        ("auto", ["text", "pdf"]),
    ],
)
def test_the_user_may_fix_the_form(send: str, kinds: list[str]) -> None:
    """Where the service takes it."""
    assert [part.kind for part in of_pages(SPARSE, PHOTO, send=send).parts] == kinds


def test_a_form_that_a_service_does_not_take_is_an_error_before_anything_is_sent() -> None:
    """With the way out; of a fallback, too."""
    cases: list[tuple[Send, dict[str, Any]]] = [
        ("pdf", {"pdf": "images"}),
        ("image", {"sees": False}),
    ]
    for send, facts in cases:
        to = endpoint(**facts)
        with pytest.raises(UsageError, match=f'stage s: send = "{send}".* or write .*text'):
            check(replace(PLAIN, send=send), to)
        with pytest.raises(LoadError, match=f'send = "{send}"'):
            of_pages(SPARSE, to=to, send=send)


def test_a_page_that_shows_more_than_its_text_does_not_go_as_text() -> None:
    """Scans, pictures, drawings, letters without a meaning."""
    ours = gemini_endpoint().service
    page = Page(1, "Total 5")
    assert form_of(page, PLAIN, ours) == "text"
    for look in (
        replace(page, pictured=0.1),
        replace(page, scanned=True),
        replace(page, text=""),
        replace(page, text="T\ufffdtal 5"),
    ):
        assert form_of(look, PLAIN, ours) == "pdf"
        assert form_of(look, PLAIN, endpoint(pdf="images").service) == "image"
        assert form_of(look, PLAIN, endpoint(pdf="text", sees=False).service) == "text"


def test_what_is_filled_in_is_said_beside_the_look_of_a_page() -> None:
    """With its labels, check marks included; for many a viewer the values are not on the page at all."""
    fields = (
        widget("Tx", "50 600 250 620", "/T (name) /TU (Full name) /V (Ann)"),
        widget("Btn", "50 500 60 510", "/T (agree) /V /Yes /AS /Yes /AP << /N << /Yes 2 0 R /Off 2 0 R >> >>"),
    )  # fmt: skip
    document = fit(pdf(PHOTO, PHOTO, fields=fields), gemini_endpoint())
    assert told(document) == [("pdf", (1, 2)), ("text", (1, 1))]
    assert document.parts[1].text == "Filled in on this page:\nFull name: Ann\n[x] agree"
    as_text = fit(pdf(SPARSE, fields=fields), gemini_endpoint())
    assert [part.kind for part in as_text.parts] == ["text"]
    assert "Full name: Ann\n[x] agree" in as_text.parts[0].text


def test_parts_are_announced_by_their_pages_with_a_mark_that_no_document_holds() -> None:
    """A single page, and a file that goes whole, need none."""

    def content(document: Document) -> list[str]:
        to = gemini_endpoint()
        ask = Ask(whole(document), PLAIN.schema)
        one = question(PLAIN, ask, document, open_provider(to), to)
        return [part.text if part.kind == "text" else part.kind for part in one.content][1:]

    document = of_pages(SPARSE, PHOTO, PHOTO)
    fence, key = f"document-{document.sha256[:24]}", document.sha256[24:32]
    before, text, shown, end = content(document)
    assert f"like <page 1 {key}>" in before
    assert text == f"<{fence}>\n<page 1 {key}>\nNumber 7\nTotal 12.50\n<pages 2-3 {key}>"
    assert (shown, end) == ("pdf", f"</{fence}>")
    assert content(of_pages(SPARSE))[1].count("<page") == 0
    assert content(of_pages(PHOTO, PHOTO))[1:3] == [content(of_pages(PHOTO, PHOTO))[1], "pdf"]
    assert key not in content(of_pages(PHOTO, PHOTO))[1].replace(fence, "")


def test_pages_that_can_not_be_cut_out_are_drawn() -> None:
    """Where the service sees; the user's own choice is not changed."""

    class Uncut(Loaders):
        async def cut(self, content: bytes, pages: Any) -> bytes:
            raise LoadError("damaged", "pages can't be taken out of it")

    def sent(**asked: Any) -> Document:
        async def run() -> Document:
            async with Uncut(1) as loaders:
                document = await loaders.load("a", pdf(SPARSE, PHOTO))
                window = Window((2,))
                return await fitted(document, window, gemini_endpoint(), loaders, replace(PLAIN, **asked))  # fmt: skip

        return asyncio.run(run())

    assert told(sent()) == [("image", (2, 2))]
    with pytest.raises(LoadError, match="pages 2 to 2 can't be cut out"):
        sent(send="pdf")


# text as it is printed ----------------------------------------------------------------------


def test_a_page_is_laid_out_as_it_is_printed() -> None:
    """Lines by their height, columns apart at their place; in whatever order the file wrote them."""
    places = [(300, 700, "Amount"), (50, 700, "Item"), (50, 680, "Two of it"), (50, 690, "One"), (300, 680, "2.00")]  # fmt: skip
    content = b"".join(text_at(x, y, text, 8) for x, y, text in places)
    page = work(lambda loaders: loaders.load("a", pdf(content))).pages[0]
    lines = printed(page).splitlines()
    assert [line.split() for line in lines] == [["Item", "Amount"], ["One"], ["Two", "of", "it", "2.00"]]  # fmt: skip
    assert lines[0].index("Amount") == lines[2].index("2.00")
    assert "Two of it  " in lines[2]


def test_nothing_of_a_page_is_left_out_of_its_print(fixtures: Path) -> None:
    """Words that lie on their side or off the page, too."""
    files = sorted((fixtures / "inbox").rglob("*.pdf")) + sorted((fixtures / "forms").rglob("*.pdf"))  # fmt: skip
    assert files

    async def steps(loaders: Loaders) -> list[Page]:
        return [p for f in files for p in (await loaders.load(f.name, f.read_bytes())).pages]

    pages: list[Page] = work(steps)
    words = pages[0].words
    tall = replace(words[0], box=(0.5, 0.1, 0.505, 0.3))
    pages += [
        replace(pages[0], words=words[::2]),
        replace(pages[0], words=(*words[1:], tall)),
        replace(pages[0], words=()),
    ]
    for page in pages:
        assert set(as_text(page).split()) >= set(page.text.split())


def test_scripts_from_the_right_and_recognised_words_keep_their_order() -> None:
    """Their text is in the order of reading; their boxes are not."""
    words = (Word(0, 4, (0.6, 0.1, 0.9, 0.2)), Word(5, 9, (0.1, 0.1, 0.4, 0.2)))
    for page in (
        Page(1, "שלום עולם", words, width=600, height=800),
        Page(1, "turn this", words, width=600, height=800, reader="an OCR 1", turn=90.0),
    ):
        assert printed(page) == page.text
