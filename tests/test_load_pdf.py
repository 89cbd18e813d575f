"""The PDF loader: texts, words where their ink is, form values, what is encrypted or broken."""

import io
import json
from pathlib import Path

import pytest
from PIL import ImageChops
from pypdf import PdfReader, PdfWriter

from pipeline.document import Box, Document, Page, Word
from pipeline.errors import LoadError
from pipeline.loaders import pdf as loader
from pipeline.loaders import wire
from tests.pdfs import HELVETICA, assemble, pdf, stream, text_at, widget


def read(content: bytes) -> Document:
    """Load in this process and over the wire format, as a child and its parent do."""
    found, tail = wire.pack(loader.load(content, "application/pdf"), content)
    file = wire.File("a.pdf", "application/pdf", content)
    return wire.unpack(json.loads(json.dumps(found)), b"".join(tail), file)


def refusal(content: bytes) -> LoadError:
    """The LoadError that loading ends with."""
    with pytest.raises(LoadError) as caught:
        loader.load(content, "application/pdf")
    return caught.value


def changed(content: bytes, **how: str) -> bytes:
    """The same file as pypdf writes it, encrypted or with a file attached."""
    writer = PdfWriter(clone_from=io.BytesIO(content))
    if "attach" in how:
        writer.add_attachment(how["attach"], b"<secret/>")
    else:
        writer.encrypt(how["password"], "owner", algorithm="AES-256")
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def said(page: Page, word: Word) -> str:
    """What stands at a word's place."""
    return page.text[word.start : word.end]


def box_of(page: Page, text: str) -> Box:
    """The box of the one word that reads so."""
    (found,) = [word.box for word in page.words if said(page, word) == text]
    return found


def ink(content: bytes, number: int = 1) -> Box:
    """Where a page that is drawn isn't white."""
    picture = loader.picture(content, number, 72, 3072).convert("L")
    left, top, right, bottom = ImageChops.invert(picture).getbbox() or (0, 0, 0, 0)
    return (
        left / picture.width,
        top / picture.height,
        right / picture.width,
        bottom / picture.height,
    )


# -- text and words ------------------------------------------------------------------------------


def test_every_word_is_the_text_at_its_place() -> None:
    """Lines in order, words in order, offsets exact, sizes those of the fonts."""
    page = read(
        pdf(text_at(50, 700, "Invoice No. 17", 24) + text_at(50, 660, "Total: 1,250.00 €"))
    ).pages[0]
    assert page.text == "Invoice No. 17\nTotal: 1,250.00 €"
    assert [said(page, word) for word in page.words] == page.text.split()
    # The height of the font: from its descenders to its ascenders, a little more than its size.
    assert [24 <= word.size <= 30 for word in page.words] == [True] * 3 + [False] * 3
    assert page.words[3].size == pytest.approx(page.words[0].size / 2, abs=0.01)
    assert (page.width, page.height, page.number) == (600.0, 800.0, 1)


@pytest.mark.parametrize("crop", ["", "/CropBox [100 150 500 700]"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270, -90])
@pytest.mark.parametrize("box", ["0 0 600 800", "-50 20 550 820"])
def test_a_box_is_where_the_ink_is(rotation: int, crop: str, box: str) -> None:
    """Seen from the top left, whatever the page's rotation, crop box and origin."""
    content = pdf(
        text_at(220, 500, "HHHHHHHHHH", 30), page=f"/Rotate {rotation} {crop}".encode(), box=box
    )
    page = read(content).pages[0]
    found, seen = box_of(page, "HHHHHHHHHH"), ink(content)
    assert page.width == (
        400
        if crop and rotation % 180 == 0
        else 550
        if crop
        else 600
        if rotation % 180 == 0
        else 800
    )
    for edge, line in zip(found, seen, strict=True):
        assert abs(edge - line) < 0.04
    assert found[0] <= seen[0] + 0.005
    assert found[2] >= seen[2] - 0.005
    assert 30 <= page.words[0].size <= 37


def test_text_that_runs_upwards_has_a_tall_box() -> None:
    """As on the margin of a form; its size is that of its letters, not of the run."""
    content = pdf(b"BT /F 20 Tf 0 1 -1 0 300 300 Tm (MARGINALIA) Tj ET")
    page = read(content).pages[0]
    left, top, right, bottom = box_of(page, "MARGINALIA")
    assert (bottom - top) * 800 > 3 * (right - left) * 600
    assert 15 < page.words[0].size < 30


def test_what_lies_outside_the_page_has_no_box() -> None:
    """Its text is kept, for the model would read it; it can't be shown."""
    page = read(pdf(text_at(50, 700, "inside") + text_at(50, 900, "outside"))).pages[0]
    assert page.text.split() == ["inside", "outside"]
    assert [said(page, word) for word in page.words] == ["inside"]


def test_a_hyphen_at_the_end_of_a_line_stays_what_it_is() -> None:
    """The line ends behind it, and the places of all that follows are right."""
    page = read(
        pdf(
            text_at(50, 700, "a hyphen-")
            + text_at(50, 686, "ated word")
            + text_at(50, 640, "and more")
        )
    ).pages[0]
    assert page.text == "a hyphen-\nated word\nand more"
    assert [said(page, word) for word in page.words] == [
        "a",
        "hyphen-",
        "ated",
        "word",
        "and",
        "more",
    ]
    assert box_of(page, "hyphen-")[3] < box_of(page, "ated")[3]


def mapped(unicode_of_codes: dict[str, str], shown: str) -> bytes:
    """A page in a font whose codes mean what a ToUnicode table says (hexadecimal)."""
    lines = "\n".join(f"<{code}> <{meaning}>" for code, meaning in unicode_of_codes.items())
    table = f"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /T def\n1 begincodespacerange <00> <ff> endcodespacerange\n{len(unicode_of_codes)} beginbfchar\n{lines}\nendbfchar endcmap end end"
    return assemble(
        {
            1: b"<< /Type /Catalog /Pages 3 0 R >>",
            2: HELVETICA[:-2] + b"/ToUnicode 4 0 R >>",
            3: b"<< /Type /Pages /Kids [5 0 R] /Count 1 >>",
            4: stream(table.encode()),
            5: b"<< /Type /Page /Parent 3 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F 2 0 R >> >> /Contents 6 0 R >>",
            6: stream(text_at(50, 700, shown)),
        }
    )


@pytest.mark.parametrize(
    ("meaning", "text"),
    [
        ("FB01", "ofi AB"),  # a ligature becomes its letters
        (
            "D83DDE00",
            "o\U0001f600 AB",
        ),  # beyond the first plane: two units in pdfium, one letter here
        ("D83D", "o\ufffd AB"),  # half of such a pair
        ("0000", "o\ufffd AB"),  # a letter without a meaning is not left out in silence
        ("0003", "o AB"),  # controls are no text
        ("00660069", "ofi AB"),
    ],
)
def test_odd_characters_never_shift_a_word(meaning: str, text: str) -> None:
    """The text can be written as UTF-8, and each word stands where it says."""
    page = read(mapped({"78": meaning}, "ox AB")).pages[0]
    assert page.text.encode()
    assert page.text.split() == text.split()
    assert [said(page, word) for word in page.words] == text.split()


def test_letters_without_a_meaning_are_said() -> None:
    """The reader learns which pages to look at."""
    assert "page 1" in read(mapped({"78": "0000"}, "ox AB")).warnings[0]
    nothing = read(mapped({"78": "0000"}, "xx x"))
    assert "page 1" in nothing.warnings[0]
    assert not nothing.has_text, "its look can be read, as that of a scan"


def test_pages_without_text_are_pages_all_the_same() -> None:
    """A scan has no text, and is counted."""
    document = read(pdf(text_at(50, 700, "one"), b"0 0 100 100 re f", text_at(50, 700, "three")))
    assert [page.text for page in document.pages] == ["one", "", "three"]
    assert document.page_count == 3
    assert [(part.kind, part.pages) for part in document.parts] == [("pdf", (1, 3))]


# -- forms ---------------------------------------------------------------------------------------

FORM = pdf(
    text_at(50, 750, "Application"),
    fields=(
        widget("Tx", "300 600 500 620", "/T (b) /TU (Family name:) /V (Le\\351, Anna)"),
        widget("Tx", "50 602 250 622", "/T (form.first\\(1\\)) /V (Anna)"),
        widget("Tx", "50 500 250 560", "/T (address) /Ff 4096 /V (1 High Street\rOxford)"),
        widget("Tx", "50 450 250 470", "/T (empty) /V ( )"),
        widget("Tx", "50 450 250 470", "/T (hidden) /F 2 /V (not seen)"),
        widget("Tx", "50 450 250 470", "/T (pin) /Ff 8192 /V (1234)"),
        widget("Ch", "50 400 250 420", "/T (country) /Ff 131072 /Opt [[(DE) (Germany)] [(FR) (France)]] /V (FR)"),
        widget("Ch", "50 350 250 390", "/T (langs) /Ff 2097152 /Opt [(Dutch) (Greek) (Irish)] /V [(Dutch) (Irish)] /I [0 2]"),
        widget("Btn", "50 300 60 310", "/T (agreed) /TU (I agree) /V /On /AS /On /AP << /N << /On 2 0 R /Off 2 0 R >> >>"),
        widget("Btn", "50 280 60 290", "/T (news) /AS /Off /AP << /N << /On 2 0 R /Off 2 0 R >> >>"),
        b"/FT /Btn /Ff 49152 /T (sex) /TU (Sex) /V /f /Kids [111 0 R 112 0 R]",
        b"/Type /Annot /Subtype /Widget /F 4 /Parent 110 0 R /Rect [50 260 60 270] /AS /f /AP << /N << /f 2 0 R /Off 2 0 R >> >>",
        b"/Type /Annot /Subtype /Widget /F 4 /Parent 110 0 R /Rect [90 260 100 270] /AS /Off /AP << /N << /m 2 0 R /Off 2 0 R >> >>",
        b"/Type /Annot /Subtype /FreeText /F 4 /Rect [50 200 250 220] /DA (/F 10 Tf) /Contents (typed on top)",
        widget("Btn", "50 100 100 120", "/T (send) /Ff 65536"),
    ),
)  # fmt: skip


def test_what_is_filled_in_stands_in_the_text_and_can_be_found() -> None:
    """One line for each value, in reading order; each value at its place, its words with the field's box."""
    page = read(FORM).pages[0]
    assert page.text.split("\n") == [
        "Application",
        "first(1): Anna",
        "Family name: Leé, Anna",
        "address: 1 High Street",
        "Oxford",
        "country: France",
        "langs: Dutch",
        "Irish",
        "typed on top",
    ]
    for field in page.fields:
        assert page.text[field.start : field.end] == ("" if field.kind == "check" else field.value)
    by_name = {field.name: field for field in page.fields}
    assert by_name["address"].value == "1 High Street\nOxford"
    assert by_name["country"].kind == "choice"
    assert by_name["b"].label == "Family name:"
    assert (
        box_of(page, "Oxford")
        == by_name["address"].box
        == pytest.approx((50 / 600, 0.3, 250 / 600, 0.375), abs=1e-4)
    )
    assert box_of(page, "typed")[1] == pytest.approx(0.725, abs=1e-4)
    assert not {"hidden", "pin", "empty", "send"} & set(by_name)


def test_every_button_is_a_check_of_its_own() -> None:
    """Also each of a group, with what it stands for."""
    checks = [
        (f.label, f.value, f.start, f.end) for f in read(FORM).pages[0].fields if f.kind == "check"
    ]
    assert checks == [
        ("I agree", "true", 0, 0),
        ("news", "false", 0, 0),
        ("Sex: f", "true", 0, 0),
        ("Sex: m", "false", 0, 0),
    ]


def test_form_values_are_drawn() -> None:
    """They are no part of the page's own content, and seen all the same."""
    empty = pdf(b"", fields=(widget("Tx", "300 600 500 620", "/T (a)"),))
    filled = pdf(
        b"", fields=(widget("Tx", "300 600 500 620", "/T (a) /V (HHHHHHHHHH) /DA (/F 14 Tf 0 g)"),)
    )
    drawn = [loader.picture(content, 1, 72, 3072).tobytes() for content in (empty, filled)]
    assert drawn[0] != drawn[1]


# -- encrypted, attached, broken -----------------------------------------------------------------


def test_an_empty_password_opens_and_the_part_needs_none() -> None:
    """Services refuse encrypted files, so what is sent is not."""
    content = changed(pdf(text_at(50, 700, "readable")), password="")
    document = read(content)
    assert document.pages[0].text == "readable"
    assert PdfReader(io.BytesIO(content)).is_encrypted
    assert not PdfReader(io.BytesIO(document.parts[0].data)).is_encrypted


def test_a_password_that_is_needed_is_asked_for() -> None:
    """By the reason and by a sentence that says the way out."""
    error = refusal(changed(pdf(text_at(50, 700, "hidden")), password="pw"))
    assert error.reason == "encrypted"
    assert "password" in str(error)
    with pytest.raises(LoadError, match="password"):
        loader.picture(changed(pdf(b""), password="pw"), 1, 72, 3072)


def test_attached_files_are_not_pages_but_are_said() -> None:
    """An invoice's XML would be the answer to the question."""
    document = read(changed(pdf(text_at(50, 700, "cover")), attach="invoice.xml"))
    assert document.pages[0].text == "cover"
    assert document.page_count == 1
    assert "1 attached file" in document.warnings[0]


def test_a_file_without_its_first_line_is_repaired() -> None:
    """Where pdfium refuses and pypdf reads, what works is used and said; forms come along."""
    document = read(FORM.replace(b"%PDF-1.7", b"%1.7    "))
    assert "Anna" in document.pages[0].text
    assert document.pages[0].fields
    assert "repaired" in document.warnings[0]
    assert document.parts[0].data.startswith(b"%PDF-")


def test_one_page_that_fails_is_an_empty_page_that_is_named() -> None:
    """The others keep their numbers."""
    content = pdf(*(text_at(50, 700, f"page {n}") for n in range(1, 4))).replace(
        b"12 0 obj\n<< /Type /Page ", b"12 0 obj\n<< /Type /Xxxx "
    )
    content = content.replace(b"12 0 R", b"99 0 R")
    document = read(content)
    assert [page.text for page in document.pages] == ["page 1", "", "page 3"]
    assert "page 2" in document.warnings[0]
    with pytest.raises(LoadError, match="page 2"):
        loader.picture(content, 2, 72, 3072)


@pytest.mark.parametrize(
    "content",
    [
        b"%PDF-1.7\n",
        b"%PDF-1.7\nthis is not one at all\n%%EOF",
        pdf(text_at(50, 700, "x"))[:150],
        pdf(b"").replace(b"/Kids [10 0 R]", b"/Kids [3 0 R]"),
        pdf(b"").replace(b"/Kids [10 0 R]", b"/Kids [77 0 R]"),
    ],
)
def test_what_no_reader_opens_is_damaged(content: bytes) -> None:
    """One reason, whatever it is that is missing."""
    assert refusal(content).reason == "damaged"


@pytest.mark.parametrize("limit", ["MAX_PAGES", "MAX_TEXT", "MAX_WORDS"])
def test_a_document_beyond_a_limit_is_too_large(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not half read."""
    content = pdf(*[text_at(50, 700, "a few words here")] * 3)
    monkeypatch.setattr(wire, limit, 2)
    assert refusal(content).reason == "too_large"


def test_a_huge_page_is_drawn_with_fewer_dots() -> None:
    """A wall of 200 by 200 inches doesn't become 900 million of them."""
    huge = pdf(b"", box="0 0 14400 14400")
    drawn = loader.picture(huge, 1, 150, 100_000)
    assert drawn.width * drawn.height <= loader.MAX_PIXELS * 1.01
    assert max(loader.picture(huge, 1, 150, 500).size) == 500
    with pytest.raises(LoadError, match="no page 2: it has 1"):
        loader.picture(pdf(b""), 2, 72, 3072)


@pytest.mark.corpus
def test_every_value_of_the_corpus_forms_is_in_the_text_or_a_check(corpus: Path) -> None:
    """As many marks as the labels say, and every field's value at its place."""
    for path in sorted((corpus / "forms-us-tax" / "docs").glob("*.pdf")):
        label = json.loads((corpus / "forms-us-tax" / "labels" / f"{path.stem}.json").read_bytes())
        pages = read(path.read_bytes()).pages
        fields = [field for page in pages for field in page.fields]
        assert sum(field.value == "true" for field in fields) == sum(
            value is True for value in label.values()
        )
        whole = "".join("".join(page.text.split()) for page in pages)
        texts = [value for value in label.values() if isinstance(value, str)]
        # What is left over stands in several fields (numbers in boxes, addresses in lines).
        assert sum("".join(value.split()) in whole for value in texts) >= 0.75 * len(texts)


def boxes(*values: str, label: str = "ssn", gap: int = 8) -> bytes:
    """A PDF with boxes side by side, each as long as its text may be, with a dash printed between."""
    fields, x = [], 50
    for number, value in enumerate(values):
        wide = 10 * len(value)
        entries = f"/T ({label}{number}) /MaxLen {len(value)} /V ({value})"
        fields.append(widget("Tx", f"{x} 600 {x + wide} 615", entries))
        x += wide + gap
    return pdf(text_at(50, 700, "Number"), fields=tuple(fields))


def test_one_value_in_several_boxes_is_one_text() -> None:
    """Groups with a blank between, single characters without; each box keeps its own place."""
    page = read(boxes("233", "46", "7433")).pages[0]
    assert page.text.split("\n")[-1] == "ssn0: 233 46 7433"
    assert [page.text[field.start : field.end] for field in page.fields] == ["233", "46", "7433"]
    assert read(boxes("4", "5", "X")).pages[0].text.endswith("ssn0: 45X")


def test_what_is_printed_between_boxes_stands_between_their_texts() -> None:
    fields = (
        widget("Tx", "50 600 80 615", "/T (a) /MaxLen 3 /V (233)"),
        widget("Tx", "90 600 110 615", "/T (b) /MaxLen 2 /V (46)"),
    )
    page = read(pdf(text_at(82, 604, "-"), fields=fields)).pages[0]
    assert page.text.split("\n")[-1] == "a: 233-46"


def test_boxes_that_are_not_full_or_stand_apart_are_values_of_their_own() -> None:
    apart = read(boxes("12", "34", gap=60)).pages[0]
    assert apart.text.split("\n")[-2:] == ["ssn0: 12", "ssn1: 34"]
    fields = (
        widget("Tx", "50 600 80 615", "/T (a) /V (12)"),
        widget("Tx", "90 600 110 615", "/T (b) /V (34)"),
    )
    assert read(pdf(b"", fields=fields)).pages[0].text.split("\n") == ["a: 12", "b: 34"]
