"""OCR of drawn pages: words and boxes where they were drawn, turned pages set right, hostile pictures."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import reportlab
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from pipeline import ocr
from pipeline.document import Page, Word

_FONT = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"
_PAPER = (900, 640)
#: Text with the place of its upper left corner and its size, in points of the picture.
_LETTER = [
    ("Müller & Söhne Straßenbau GmbH", 60, 40, 30),
    ("Rechnung RE-2024/0815", 60, 110, 22),
    ("Datum 16.04.2018", 560, 110, 22),
    ("Société Générale, à payer", 60, 170, 20),
    ("1.234,56 EUR", 620, 170, 20),
    ("Año 2023: señal número 7", 60, 230, 20),
    ("99,07 EUR", 620, 230, 20),
    ("Totale città di Forlì", 60, 290, 20),
    ("480.00", 620, 290, 20),
    ("Te betalen vóór 3 januari", 60, 350, 18),
    ("Número de conta 0031 4471", 60, 410, 18),
    ("The quick brown fox jumps over the lazy dog 1234567890", 60, 470, 16),
]


def _drawn(
    lines: Sequence[tuple[str, int, int, int]] = _LETTER, size: tuple[int, int] = _PAPER
) -> Image.Image:
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    for text, x, y, height in lines:
        pen.text((x, y), text, fill="black", font=ImageFont.truetype(_FONT, height))
    return picture


def _turned(picture: Image.Image, degrees: float) -> Image.Image:
    """The picture as it lies after it was turned clockwise."""
    return picture.rotate(
        -degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(255, 255, 255)
    )


def _texts(page: Page) -> Counter[str]:
    return Counter(page.text.split())


def _word(page: Page, text: str) -> Word:
    (found,) = [word for word in page.words if page.text[word.start : word.end] == text]
    return found


def _check(page: Page) -> None:
    """What holds for every page: words are runs of its text in order, boxes lie on it."""
    end = -1
    for word in page.words:
        text = page.text[word.start : word.end]
        assert text
        assert not any(letter.isspace() for letter in text)
        assert word.start > end
        end = word.end
        x0, y0, x1, y1 = word.box
        assert 0 <= x0 <= x1 <= 1
        assert 0 <= y0 <= y1 <= 1
        assert 0 <= word.confidence <= 1
        assert word.size > 0
    assert len(page.words) == len(page.text.split())
    assert -180 < page.turn <= 180
    assert page.reader == ocr.version()
    assert page.number == 1


@pytest.fixture(scope="module")
def upright() -> Page:
    return ocr.read(_drawn())


def test_words_of_many_languages_are_read_with_their_digits(upright: Page) -> None:
    _check(upright)
    drawn = Counter(word for text, *_ in _LETTER for word in text.split())
    assert sum((drawn & _texts(upright)).values()) >= 0.95 * drawn.total()
    figures = [word for word in drawn if any(letter.isdigit() for letter in word)]
    assert set(figures) <= set(_texts(upright))
    assert upright.turn == pytest.approx(0, abs=0.3)


def test_a_box_is_where_the_word_was_drawn(upright: Page) -> None:
    for text, x, y, height in _LETTER[1:5]:
        pen = ImageDraw.Draw(Image.new("L", _PAPER))
        font = ImageFont.truetype(_FONT, height)
        for word in (word for word in text.split() if upright.text.count(word) == 1):
            left = x + pen.textlength(text[: text.index(word)], font=font)
            drawn = pen.textbbox((left, y), word, font=font)
            box = _word(upright, word).box
            seen = [box[0] * 900, box[1] * 640, box[2] * 900, box[3] * 640]
            assert seen[0] == pytest.approx(drawn[0], abs=4), word
            assert seen[2] == pytest.approx(drawn[2], abs=4), word
            assert (seen[1] + seen[3]) / 2 == pytest.approx((drawn[1] + drawn[3]) / 2, abs=6), word


def test_what_stands_at_one_height_is_one_line_and_a_wide_gap_parts_it(upright: Page) -> None:
    lines = upright.text.split("\n")
    assert lines[1] == "Rechnung RE-2024/0815  Datum 16.04.2018"
    assert lines[3].endswith("  99,07 EUR")
    assert len(lines) == 8


@pytest.mark.parametrize("degrees", [90, 180, -90, 2, -2, 5, -5, 10])
def test_a_turned_page_is_read_as_the_upright_one(upright: Page, degrees: float) -> None:
    """The same words in the same order; `turn` undoes the turn; boxes are of the page as it lies."""
    picture = _turned(_drawn(), degrees)
    page = ocr.read(picture)
    _check(page)
    assert sum((_texts(upright) & _texts(page)).values()) >= 0.97 * len(upright.words)
    assert page.text.split("\n")[1] == upright.text.split("\n")[1]
    off = (page.turn + degrees + 180) % 360 - 180
    assert off == pytest.approx(0, abs=0.7)
    # The place of a word: turned back, its middle is where it is on the upright page.
    back = Image.new("L", picture.size)
    box = _word(page, "16.04.2018").box
    middle = (box[0] + box[2]) / 2 * picture.width, (box[1] + box[3]) / 2 * picture.height
    ImageDraw.Draw(back).circle(middle, 3, fill=255)
    level = back.rotate(degrees, expand=True)
    spot = level.getbbox()
    assert spot is not None
    x = (spot[0] + spot[2]) / 2 - (level.width - _PAPER[0]) / 2
    y = (spot[1] + spot[3]) / 2 - (level.height - _PAPER[1]) / 2
    there = _word(upright, "16.04.2018").box
    assert x == pytest.approx((there[0] + there[2]) / 2 * _PAPER[0], abs=8)
    assert y == pytest.approx((there[1] + there[3]) / 2 * _PAPER[1], abs=8)


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 2000), (2000, 2), (31, 33), (300, 200)], ids=lambda size: f"{size}"
)
def test_a_picture_without_words_gives_a_page_without_words(size: tuple[int, int]) -> None:
    page = ocr.read(Image.new("RGB", size, "white"))
    assert (page.text, page.words, page.turn) == ("", (), 0.0)
    assert (page.width, page.height) == size


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_picture_of_any_mode_is_read(mode: str) -> None:
    picture = _drawn([("Invoice 4711 total 98.76", 20, 20, 28)], (460, 80)).convert(mode)
    assert ocr.read(picture).text.split() == ["Invoice", "4711", "total", "98.76"]


def test_light_letters_on_dark_ground_are_read() -> None:
    picture = Image.new("RGB", (460, 80), (20, 30, 90))
    font = ImageFont.truetype(_FONT, 28)
    ImageDraw.Draw(picture).text((20, 20), "Invoice 4711", fill="white", font=font)
    page = ocr.read(picture)
    assert page.text == "Invoice 4711"
    assert page.words[1].box[0] * 460 == pytest.approx(20 + font.getlength("Invoice "), abs=4)


def test_small_print_of_a_long_receipt_is_read_to_its_end() -> None:
    """16 times as high as wide; a picture scaled to a longest side of 2,000 would lose these letters."""
    rows = [
        (
            f"Artikel {number:04d}  {number * 37 % 900 + 100}.{number % 90 + 10}",
            12,
            40 + number * 150,
            15,
        )
        for number in range(24)
    ]
    page = ocr.read(_drawn(rows, (240, 3800)))
    _check(page)
    wanted = Counter(word for text, *_ in rows for word in text.split())
    assert sum((wanted & _texts(page)).values()) >= 0.97 * wanted.total()
    assert [line.split()[1] for line in page.text.splitlines()] == sorted(
        line.split()[1] for line in page.text.splitlines()
    )


def test_blanks_that_stand_on_the_page_stand_in_the_text() -> None:
    page = ocr.read(
        _drawn([("16/04/2018   16:28", 20, 20, 24), ("SR 6 %  140.00", 20, 80, 24)], (420, 140))
    )
    assert page.text.split() == ["16/04/2018", "16:28", "SR", "6", "%", "140.00"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 240),
    st.integers(1, 240),
    st.sampled_from(["1", "L", "RGB", "RGBA", "P", "I;16"]),
    st.data(),
)
def test_no_picture_breaks_it(width: int, height: int, mode: str, data: st.DataObject) -> None:
    noise = data.draw(st.binary(min_size=64, max_size=64))
    bits = {"1": (width + 7) // 8, "RGB": 3 * width, "RGBA": 4 * width, "I;16": 2 * width}
    size = bits.get(mode, width) * height
    _check(ocr.read(Image.frombytes(mode, (width, height), (noise * (size // 64 + 1))[:size])))


def test_the_extra_is_looked_for_without_importing_it() -> None:
    assert ocr.missing() is None
    code = "import sys; from pipeline import ocr; ocr.missing(); print([m for m in ('numpy', 'cv2', 'onnxruntime', 'rapidocr') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "find_spec", lambda name: None if name == "rapidocr" else name)
    assert ocr.missing() == "rapidocr"


def test_the_version_names_tools_and_revision() -> None:
    assert ocr.version().startswith("rapidocr ")
    assert f"revision {ocr.REVISION}" in ocr.version()


_LIMITED = """
import resource, sys
sys.path.insert(0, {root!r})
from PIL import Image
from pipeline import ocr
picture = Image.open({picture!r})
picture.load()
ocr.prepare()
for limit, value in ((resource.RLIMIT_AS, {memory}), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, 32)):
    resource.setrlimit(limit, (value, value))
import socket
def refuse(*_):
    raise AssertionError("the network was asked for")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
try:
    page = ocr.read(picture)
except MemoryError:
    sys.exit(3)
sys.exit(0 if page.text.split() == {words!r} else repr(page.text))
"""


def _in_child(
    tmp_path: Path, memory: int, size: tuple[int, int] = (460, 80), before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Read a picture as a loader's child does: no environment, no file, few descriptors, no network."""
    path = tmp_path / "page.png"
    _drawn([("Invoice 4711 total 98.76", 20, 20, 28)], size).save(path)
    code = _LIMITED.format(
        root=str(Path(ocr.__file__).parents[2]),
        picture=str(path),
        memory=memory,
        words=["Invoice", "4711", "total", "98.76"],
    )
    return subprocess.run(
        [*before, sys.executable, "-I", "-B", "-c", code],
        capture_output=True,
        text=True,
        env={},
        cwd="/",
        check=False,
    )


def test_it_works_under_the_limits_of_a_child_and_says_nothing(tmp_path: Path) -> None:
    ran = _in_child(tmp_path, 3 << 30)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_too_little_memory_is_a_memory_error(tmp_path: Path) -> None:
    little = 760 << 20  # not much more than what the models hold
    assert _in_child(tmp_path, little, (2000, 2600)).returncode == 3


def test_it_works_where_there_is_no_network(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    apart = [unshare or "unshare", "-r", "-n"]
    if not unshare or subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow a network of one's own")
    ran = _in_child(tmp_path, 3 << 30, before=apart)
    assert (ran.returncode, ran.stderr) == (0, "")


def _receipts(corpus: Path, most: int) -> Iterator[Image.Image]:
    """Scanned receipts of the half that is developed on."""
    index = json.loads((corpus / "index.json").read_text())
    kept = [
        entry
        for entry in index
        if entry["kind"] == "image" and entry.get("label") and int(entry["sha256"][0], 16) % 2 == 0
    ]
    for entry in sorted(kept, key=lambda entry: entry["size"])[:most]:
        with Image.open(corpus / entry["file"]) as picture:
            yield picture.convert("RGB")


def _kept(pictures: Iterator[Image.Image], angles: Sequence[float]) -> dict[float, float]:
    """By angle, the share of the upright pages' words that are read on the turned ones too."""
    words, kept = 0, Counter[float]()
    for picture in pictures:
        whole = _texts(ocr.read(picture))
        words += whole.total()
        for angle in angles:
            kept[angle] += (whole & _texts(ocr.read(_turned(picture, angle)))).total()
    return {angle: kept[angle] / words for angle in angles}


@pytest.mark.corpus
def test_turned_receipts_keep_their_words(corpus: Path) -> None:
    kept = _kept(_receipts(corpus, 1), [90, 5])
    assert kept[90] >= 0.95
    assert kept[5] >= 0.9


@pytest.mark.corpus
@pytest.mark.long
def test_turned_receipts_keep_their_words_at_all_angles(corpus: Path) -> None:
    kept = _kept(_receipts(corpus, 20), [90, 180, 270, 2, -2, 5, -5, 10])
    assert min(kept[angle] for angle in (90, 180, 270)) >= 0.95
    assert min(kept[angle] for angle in (2, -2, 5, -5, 10)) >= 0.9


def test_reading_twice_reads_the_same(upright: Page) -> None:
    assert ocr.read(_drawn()) == upright
