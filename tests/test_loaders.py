"""Loaders: kinds told by bytes, texts in any encoding, pictures made upright and bounded."""

import io
import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.document import Document
from pipeline.errors import LoadError
from pipeline.loaders import LOADERS, image, sniff, way_out, wire
from pipeline.loaders import text as text_loader
from pipeline.loaders.encodings import decode


def read(content: bytes, name: str) -> Document:
    """Load in this process and over the wire format, as a child and its parent do."""
    media_type = sniff(content, name)
    module = import_module(f"pipeline.loaders.{LOADERS[media_type]}")
    module.prepare()
    found, tail = wire.pack(module.load(content, media_type), content)
    return wire.unpack(
        json.loads(json.dumps(found)), b"".join(tail), wire.File(name, media_type, content)
    )


def refusal(content: bytes, name: str) -> LoadError:
    """The LoadError that `read` ends with."""
    with pytest.raises(LoadError) as caught:
        read(content, name)
    assert caught.value.reason in wire.REASONS
    assert len(str(caught.value)) > 20, "a sentence that helps"
    return caught.value


# -- kinds ---------------------------------------------------------------------------------------

MAIL = b"Return-Path: <a@b.example>\r\nFrom: a@b.example\r\nSubject: x\r\n\r\nHello\r\n"
LETTER = b"From: Ann\nTo: Bob\nSubject: the fence\nDate: Monday\n\nDear Bob,\n"


@pytest.mark.parametrize(
    ("content", "name", "media_type"),
    [
        (b"%PDF-1.7\n...", "a.txt", "application/pdf"),
        (b"\xef\xbb\xbf\n%PDF-1.4\n\xff\0", "a", "application/pdf"),
        (b"HTTP/1.1 200 OK\n\n%PDF-1.4\n\xff\0", "a.pdf", "application/pdf"),
        (b"a text about %PDF-1.4 files", "a.md", "text/markdown"),
        (b"\x89PNG\r\n\x1a\n\0\0", "scan.pdf", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a", "image/jpeg"),
        (b"II*\0\x08\0\0\0", "a", "image/tiff"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "a", "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a", "audio/wav"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a.jpg", "image/heic"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a", "video/mp4"),
        (b"ID3\x04\0\0\0\0\0\0", "a", "audio/mpeg"),
        (b"ID3 tags, a talk", "a.txt", "text/plain"),
        (b"MZ is a state of mind", "a.txt", "text/plain"),
        (b"PK\3\4\x14\0\x06\0\x08\0[Content_Types].xml word/document.xml", "a", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"PK\3\4\x14\0\0\0\0\0anything", "a.docx", "application/zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.msg", "application/x-ole-storage"),
        (b"{\\rtf1\\ansi hello}", "a.txt", "application/rtf"),
        (b"  <!-- x --><!DOCTYPE HTML><p>", "a.txt", "text/html"),
        (b"<?xml version='1.0'?><html xmlns='x'>", "a.xml", "text/html"),
        (b"\xff\xfe" + "<html>".encode("utf-16-le"), "a", "text/html"),
        (b"<p>a piece of a page</p>", "a.html", "text/html"),
        (b"<?xml version='1.0'?><invoice/>", "a", "application/xml"),
        (MAIL, "a.txt", "message/rfc822"),
        (MAIL.replace(b"\r\n", b"\n") + b"x" * 9000, "a", "message/rfc822"),
        (LETTER, "memo.txt", "text/plain"),
        (LETTER, "memo.eml", "message/rfc822"),
        (b'{"a": 1}', "a.json", "application/json"),
        (b'{"a": 1}\n{"a": 2}\n', "a.jsonl", "application/x-ndjson"),
        (b"a,b\n1,2\n", "a.CSV", "text/csv"),
        (b"# Title\n", "mail.eml!/a.md", "text/markdown"),
        ("Größe".encode("utf-16-le"), "a.txt", "text/plain"),
        ("Größe".encode("cp1252"), "a", "text/plain"),
        (b"\x01\x02\x03\x04" * 64, "a.txt", "application/octet-stream"),
        (b"", "a.txt", "text/plain"),
    ],
)  # fmt: skip
def test_the_bytes_say_what_a_file_is(content: bytes, name: str, media_type: str) -> None:
    """Content decides; a name only tells kinds of text apart."""
    assert sniff(content, name) == media_type


@pytest.mark.parametrize("media_type", sorted(set(LOADERS) | {"text/html", "message/rfc822"}))
def test_every_kind_has_a_loader_or_a_way_out(media_type: str) -> None:
    """A kind is a module with load, picture and prepare; else there is a sentence that says what to do."""
    if media_type in LOADERS:
        module = import_module(f"pipeline.loaders.{LOADERS[media_type]}")
        assert all(callable(getattr(module, name)) for name in ("load", "picture", "prepare"))
    else:
        assert media_type in way_out(media_type)


@given(st.binary(max_size=300), st.text(max_size=20))
def test_no_bytes_and_no_name_trouble_sniff(content: bytes, name: str) -> None:
    """Whatever comes in has a media type, and each has a loader or a sentence."""
    media_type = sniff(content, name)
    assert media_type in LOADERS or way_out(media_type, name)


@pytest.mark.parametrize(
    "unit", [b"<!-- -->", b"<!--", b"<?x>", b"a:\n", b"a:\n \n", b"From a\n", b"1 ", b" ", b"\n"]
)
def test_no_beginning_takes_long_to_tell(unit: bytes) -> None:
    """It happens in the parent, before any limit holds."""
    begun = time.process_time()
    for name in ("a.pdf", "a.txt"):
        sniff(unit * (5000 // len(unit)), name)
    assert time.process_time() - begun < 0.5


def test_importing_the_loaders_loads_nothing_heavy() -> None:
    """The parent never loads a parser; a command that reads nothing pays for nothing."""
    code = "import sys, pipeline.loaders as l; l.sniff(b'x'); l.Loaders; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    ).stdout.split()
    assert not {"pypdf", "pypdfium2", "PIL", "charset_normalizer", "asyncio", "pydantic"} & set(
        loaded
    )


# -- text ----------------------------------------------------------------------------------------

LINES = [
    ("cp1252", "Rechnung Nr. 4711\nMüller GmbH, Köln\nSumme 1.234,50 €\n"),
    ("cp1252", "Total: 12,50 €"),
    ("cp1252", "Facture n° 2024-17\nSociété Générale\nMontant à payer : 1 200,00 €"),
    ("cp1252", "Año 2024. Señor Muñoz, ¿cómo está? Precio: 45 €"),
    ("cp1252", "Perché no? Totale € 12,00. Città di Forlì"),
    ("cp1252", "São Paulo, Avenida Brasil, nº 10. Preço à vista"),
    ("cp1252", "“Quoted” – it’s a dash…  £20"),
    ("cp1252", "Beløp: 1 200 kr. Forfallsdato: 15. mars. Påminnelse"),
    ("cp1252", "Temperatur 20 °C ± 1"),
    ("cp1250", "Faktura VAT nr 12/2024. Sprzedawca: Zażółć gęślą jaźń sp. z o.o., Łódź"),
    ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy. Částka k úhradě"),
    ("cp1250", "Számla sorszáma: 15. Fizetendő összeg: 12 000 Ft. Vevő neve"),
    ("cp1251", "Счёт № 15 от 3 мая 2024 г. Итого: 1500 руб."),
    ("cp1251", "Рахунок-фактура № 15, сума до сплати"),
    ("koi8-r", "Счёт номер 15 от 3 мая 2024 г. Итого: 1500 руб."),
    ("cp1253", "Τιμολόγιο αρ. 15, σύνολο 20 ευρώ"),
    ("cp1254", "Fatura no 15. Toplam tutar: 20 lira. Şişli, İstanbul, Türkiye"),
    ("cp1255", "חשבונית מספר 15 סהכ 150 שקל"),
    ("cp1256", "فاتورة رقم 15 المجموع 150 ريال"),
    ("cp1257", "Sąskaita faktūra Nr. 15, mokėti iš viso"),
    ("iso8859-15", "Total: 12 €"),
    ("cp850", "Größe 3, Köln"),
    ("mac-roman", "Müller GmbH, Köln, Größe"),
    ("cp932", "請求書 番号 15 合計 1,500円 株式会社サンプル"),
    ("euc-jp", "請求書 番号 15 合計 1,500円 株式会社サンプル"),
    ("gb18030", "发票号码 15 合计 1500 元 北京某某有限公司"),
    ("big5", "發票號碼 15 合計 1500 元 台北某某有限公司"),
    ("cp949", "세금계산서 번호 15 합계 1500 원 주식회사 샘플"),
    ("iso2022-jp", "請求書 番号 15"),
]


@pytest.mark.parametrize(("encoding", "line"), LINES)
def test_a_text_is_read_in_the_encoding_it_was_written_in(encoding: str, line: str) -> None:
    """One short line is enough to tell; and that it was guessed is said."""
    document = read(line.encode(encoding), "a.txt")
    assert document.pages[0].text == line
    assert "guessed" in document.warnings[0]


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1, max_size=200)
)
def test_unicode_is_read_exactly(text: str) -> None:
    """With a byte order mark, and as plain UTF-8, no letter changes and nothing is guessed."""
    text = text.removeprefix("\ufeff")
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\0\0\xfe\xff", "utf-32-be"),
    ):
        assert decode(mark + text.encode(encoding)) == (text, None)
    assert decode(b"A" + text.encode()) == ("A" + text, None)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_unicode_is_told_without_a_mark(encoding: str) -> None:
    """Its zero bytes give it away."""
    assert decode("Rechnung 15\n請求書 Größe\n".encode(encoding)) == (
        "Rechnung 15\n請求書 Größe\n",
        None,
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            "Müller heißt Größe über Straße".encode() + b"\xf6",
            "damaged",
        ),  # UTF-8 with one wrong byte
        (b"\xff\xfeA", "damaged"),  # half a character
        (b"abc\0def\0\0ghi", "unsupported"),
        (b" \r\n\t\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
    ],
)
def test_what_is_no_text_is_not_read_as_one(content: bytes, reason: str) -> None:
    """An error with its reason, never replacement characters in silence."""
    with pytest.raises(LoadError) as caught:
        text_loader.load(content, "text/plain")
    assert caught.value.reason == reason


def test_lines_end_alike_and_form_feeds_begin_pages() -> None:
    """Windows and old Mac line ends become line feeds; each page is a part of its own."""
    document = read(b"one\r\ntwo\rthree\n\ffour\n\f", "a.txt")
    assert [page.text for page in document.pages] == ["one\ntwo\nthree\n", "four\n"]
    assert [(part.text, part.pages) for part in document.parts] == [
        ("one\ntwo\nthree\n", (1, 1)),
        ("four\n", (2, 2)),
    ]
    assert (document.page_count, document.size) == (2, 22)


def test_a_text_beyond_the_limit_is_refused_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number that is allowed stands in the sentence."""
    monkeypatch.setattr(wire, "MAX_TEXT", 1000)
    monkeypatch.setattr(wire, "MAX_PAGES", 3)
    assert "1,000" in str(refusal(b"x" * 1001, "a.txt"))
    assert refusal(b"x\f" * 4, "a.txt").reason == "too_large"


@pytest.mark.corpus
def test_every_text_of_the_corpus_is_read_in_its_encoding(corpus: Path) -> None:
    """Each file equals what its labelled encoding makes of it."""
    for path in sorted((corpus / "text-encodings" / "docs").iterdir()):
        label = json.loads(
            (corpus / "text-encodings" / "labels" / f"{path.stem}.json").read_bytes()
        )
        right = path.read_bytes().decode(label["encoding"]).removeprefix("\ufeff")
        assert decode(path.read_bytes())[0] == right, path.name


# -- pictures ------------------------------------------------------------------------------------

COLOURS = [(255, 0, 0), (0, 160, 0), (0, 0, 255), (255, 255, 0)]


def quarters(size: tuple[int, int] = (80, 40), mode: str = "RGB") -> Image.Image:
    """A picture of four colours: top left, top right, bottom left, bottom right."""
    small = Image.new("RGB", (2, 2))
    for place, colour in enumerate(COLOURS):
        small.putpixel((place % 2, place // 2), colour)
    return small.resize(size, Image.Resampling.NEAREST).convert(mode)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a picture in a format."""
    written = io.BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


def sent(document: Document, number: int = 1) -> Image.Image:
    """The picture of a part, as a model would decode it."""
    part = document.parts[number - 1]
    assert part.kind == "image"
    assert sniff(part.data) == part.media_type
    return Image.open(io.BytesIO(part.data))


def assert_upright(picture: Image.Image) -> None:
    """The four colours stand where `quarters` put them, give or take what JPEG does."""
    plain, (width, height) = picture.convert("RGB"), picture.size
    for place, colour in enumerate(COLOURS):
        found = plain.getpixel(
            (width // 4 + place % 2 * width // 2, height // 4 + place // 2 * height // 2)
        )
        assert isinstance(found, tuple)
        assert max(abs(a - b) for a, b in zip(found, colour, strict=True)) < 40


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_small_upright_picture_goes_as_it_is(kind: str, mode: str) -> None:
    """Not one byte is changed without need."""
    content = saved(quarters(mode=mode), kind)
    document = read(content, "a")
    assert document.parts[0].data == content
    assert (document.pages[0].width, document.pages[0].height) == (80.0, 40.0)
    assert not document.has_text


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_orientation_becomes_upright(kind: str, orientation: int) -> None:
    """All eight of EXIF, in every format that carries it."""
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    turns |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}  # as the camera held it
    picture = quarters()
    if orientation > 1:
        picture = picture.transpose(Image.Transpose[turns[orientation]])
    exif = Image.Exif()
    exif[274] = orientation
    document = read(saved(picture, kind, exif=exif), "a")
    assert (document.pages[0].width, document.pages[0].height) == (80.0, 40.0)
    assert sent(document).size == (80, 40)
    assert_upright(sent(document))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "CMYK"])
def test_a_large_picture_is_made_smaller_in_any_mode(mode: str) -> None:
    """At most 3072 long, its page as large as it was."""
    kind = "TIFF" if mode in {"CMYK", "1"} else "PNG"
    document = read(saved(quarters((4000, 1000), mode), kind), "a")
    assert sent(document).size == (3072, 768)
    assert document.pages[0].width == 4000.0
    if mode not in {"L", "1"}:
        assert_upright(sent(document))


def test_a_large_jpeg_is_made_smaller_and_turned() -> None:
    """Decoded at a part of its size where that is enough."""
    exif = Image.Exif()
    exif[274] = 6
    picture = quarters((6200, 3100)).transpose(Image.Transpose.ROTATE_90)
    document = read(saved(picture, "JPEG", exif=exif), "photo.jpg")
    assert sent(document).size == (3072, 1536)
    assert (document.pages[0].width, document.pages[0].height) == (6200.0, 3100.0)
    assert_upright(sent(document))


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("P", "GIF"), ("RGB", "BMP"), ("RGB", "JPEG2000")]
)
def test_what_models_do_not_take_is_written_anew(mode: str, kind: str) -> None:
    """As JPEG, the colours right."""
    document = read(saved(quarters(mode=mode), kind), "a")
    assert document.parts[0].media_type == "image/jpeg"
    assert_upright(sent(document))


def test_what_can_be_seen_through_lies_on_white() -> None:
    """A form drawn in black on nothing is not sent as black on black."""
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 10, 10))
    found = sent(read(saved(picture, "PNG"), "a")).convert("L")
    assert (found.getpixel((2, 2)), found.getpixel((30, 30))) == (0, 255)


def test_sixteen_bits_of_grey_keep_their_shades() -> None:
    """The brightest point becomes white, the others in proportion."""
    row = (20_000).to_bytes(2, "little") * 20 + (10_000).to_bytes(2, "little") * 20
    picture = Image.frombytes("I;16", (40, 40), row * 40)
    found = sent(read(saved(picture, "PNG"), "a"))
    bright, dark = found.getpixel((5, 5)), found.getpixel((35, 5))
    assert isinstance(bright, int)
    assert isinstance(dark, int)
    assert bright > 250
    assert abs(dark - 127) < 5


def test_a_fax_of_three_pages_is_three_pages_and_parts() -> None:
    """Pages of one bit a point stay so, as PNG."""
    pages = [Image.new("1", (100, 50 + n), n % 2) for n in range(3)]
    document = read(
        saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="group4"),
        "fax.tif",
    )
    assert [(page.width, page.height) for page in document.pages] == [
        (100.0, 50.0),
        (100.0, 51.0),
        (100.0, 52.0),
    ]
    assert [(part.media_type, part.pages) for part in document.parts] == [
        ("image/png", (n, n)) for n in (1, 2, 3)
    ]
    assert [sent(document, n).mode for n in (1, 2, 3)] == ["1", "1", "1"]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "MPO"])
def test_of_a_moving_picture_the_first_is_read_and_the_rest_is_said(kind: str) -> None:
    """Nothing is left out in silence."""
    second = Image.new("RGB", (80, 40), "black")
    document = read(saved(quarters(), kind, save_all=True, append_images=[second]), "a")
    assert "first of its 2" in document.warnings[0]
    assert len(document.pages) == 1
    assert_upright(sent(document))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_a_picture_cut_off_is_an_error(kind: str) -> None:
    """Also when its first half could be shown."""
    noise = Image.effect_noise((200, 200), 80).convert("RGB")
    assert refusal(saved(noise, kind)[:-400], "a").reason == "damaged"


@pytest.mark.parametrize("side", [9_460, 12_000, 30_000])
def test_a_bomb_is_refused_before_it_goes_off(side: int) -> None:
    """Few bytes that would become hundreds of millions of points; the limit is named."""
    content = bytearray(saved(Image.new("1", (8, 8)), "BMP"))
    content[18:26] = side.to_bytes(4, "little") * 2
    error = refusal(bytes(content), "a.bmp")
    assert error.reason == "too_large"
    assert "89,478,485" in str(error)


def test_a_picture_without_its_decoder_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HEIC, as telephones take it, needs one package more."""
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(LoadError, match=r"fieldsift\[heif\]"):
        image.load(b"\0\0\0\x18ftypheic", "image/heic")


def test_a_picture_is_drawn_upright() -> None:
    """What the report shows is what was sent."""
    exif = Image.Exif()
    exif[274] = 3
    content = saved(quarters().transpose(Image.Transpose.ROTATE_180), "JPEG", exif=exif)
    assert_upright(image.picture(content, 1, 150, 3072))
    with pytest.raises(LoadError, match="no page 2"):
        image.picture(content, 2, 150, 3072)


def test_a_text_is_not_drawn() -> None:
    """It has no look of its own."""
    with pytest.raises(LoadError, match="no pages that could be drawn"):
        text_loader.picture(b"x", 1, 150, 3072)
