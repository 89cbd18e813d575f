"""Scans and photographs through the whole house: words recognised once, values proven on the picture."""

import asyncio
import json
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont
from reportlab.pdfgen.canvas import Canvas

from pipeline.document import Document
from pipeline.eyes import Eyes
from pipeline.ledger import Words
from pipeline.loaders import Limits, Loaders
from tests.answers import answer_from
from tests.pdfs import pdf, text_at
from tests.server import Server
from tests.test_cli import fieldsift, results
from tests.test_worker import Scripted

LINES = ("Invoice number: RE-2041", "Date: 14.03.2025", "Total: 1.284,50 EUR")
FIELDS = "invoice_number, date date, total float"
LOCAL = ("-s", FIELDS, "-m", "local")


def scan(*lines: str, turned: int = 0) -> Image.Image:
    """A sheet with some lines of print; each begins at (100, 100 + 120 n)."""
    sheet = Image.new("L", (1000, 700), 250)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        pen.text((100, 100 + 120 * number), line, 20, ImageFont.load_default(44))
    return sheet.rotate(turned, expand=True, fillcolor=250)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with one scan in its inbox."""
    (tmp_path / "inbox").mkdir()
    scan(*LINES).save(tmp_path / "inbox/scan.png")
    return tmp_path


def words_of(output: Path) -> int:
    """How many pages' words are stored."""
    with sqlite3.connect(output / ".fieldsift/replies.sqlite") as db:
        return int(db.execute("select count(*) from words").fetchone()[0])


def test_a_value_of_a_scan_is_proven_on_the_picture(work: Path) -> None:
    """The words that we recognise ourselves prove it, with the place where it stands."""
    fieldsift("run", "inbox", *LOCAL, "-o", "out", cwd=work)
    line = results(work / "out")["scan.png"]
    assert line["data"] == {"invoice_number": "RE-2041", "date": "2025-03-14", "total": 1284.5}
    assert {each["status"] for each in line["evidence"]} == {"verified"}
    total = next(each for each in line["evidence"] if each["pointer"] == "/total")
    x0, y0, x1, y1 = total["box"]
    assert 0.1 < x0 < x1 < 0.8
    assert 340 / 700 - 0.03 < y0 < y1 < 400 / 700 + 0.03
    assert line["coverage"] == {"pages": 1, "sent": 1, "answered": 1, "windows": 1}


def test_a_turned_page_reads_as_an_upright_one(tmp_path: Path) -> None:
    """And boxes are of the page as it lies there."""
    (tmp_path / "inbox").mkdir()
    for turned in (0, 90, 180, 270, 4):
        scan(*LINES, turned=turned).save(tmp_path / f"inbox/{turned}.png")
    fieldsift("run", "inbox", *LOCAL, "-o", "out", cwd=tmp_path)
    boxes = {}
    for name, line in results(tmp_path / "out").items():
        assert line["data"] == {"invoice_number": "RE-2041", "date": "2025-03-14", "total": 1284.5}
        found = next(each["box"] for each in line["evidence"] if each["pointer"] == "/total")
        boxes[int(Path(name).stem)] = found
    x0, y0, x1, y1 = boxes.pop(0)
    across, down = ((x0 + x1) / 2 - 0.5) * 1000, ((y0 + y1) / 2 - 0.5) * 700
    for turned, (x0, y0, x1, y1) in boxes.items():
        cos, sin = math.cos(math.radians(turned)), math.sin(math.radians(turned))
        width, height = scan(turned=turned).size
        assert abs((x0 + x1 - 1) / 2 * width - (across * cos + down * sin)) < 8
        assert abs((y0 + y1 - 1) / 2 * height - (down * cos - across * sin)) < 8


def test_words_are_recognised_once(work: Path) -> None:
    """What was found is stored by content: a copy, another schema, even a machine without the extra."""
    fieldsift("run", "inbox", *LOCAL, "-o", "out", cwd=work)
    assert words_of(work / "out") == 1
    (work / "inbox/copy.png").write_bytes((work / "inbox/scan.png").read_bytes())
    fieldsift("run", "inbox", "-s", "total float", "-m", "local", "-o", "out", "--skip-unreadable",
              cwd=work, blind=True)  # fmt: skip
    assert {line["data"]["total"] for line in results(work / "out").values()} == {1284.5}
    assert words_of(work / "out") == 1


def test_damaged_words_are_recognised_anew(work: Path) -> None:
    """A byte that the disk lost costs seconds, not values."""
    fieldsift("run", "inbox", *LOCAL, "-o", "out", cwd=work)
    with sqlite3.connect(work / "out/.fieldsift/replies.sqlite") as db:
        db.execute("update words set body = substr(body, 1, 40)")
    fieldsift("run", "inbox", *LOCAL, "-o", "out", "--force", cwd=work)
    assert results(work / "out")["scan.png"]["data"]["total"] == 1284.5


@pytest.fixture
def server() -> Iterator[Server]:
    data = {"invoice_number": "RE-2041", "date": "2025-03-14", "total": 1284.6}
    with Server(lambda seen: answer_from(seen, {"": data})) as running:
        yield running


def test_the_words_prove_and_disprove_what_a_model_says(work: Path, server: Server) -> None:
    """The picture is what the model is sent; the words are ours."""
    env = {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": server.url}
    arguments = ("run", "inbox", "-s", FIELDS, "-o")
    fieldsift(*arguments, "out", cwd=work, env=env)
    line = results(work / "out")["scan.png"]
    told = {each["pointer"]: each["status"] for each in line["evidence"]}
    assert told == {"/invoice_number": "verified", "/date": "verified", "/total": "not_found"}
    fieldsift(*arguments, "blind", cwd=work, env=env, blind=True)
    line = results(work / "blind")["scan.png"]
    assert line["status"] == "valid"
    assert {each["status"] for each in line["evidence"]} == {"not_found"}
    (told,) = (f["message"] for f in line["findings"] if f["rule"] == "no_words")
    assert "pip install 'fieldsift[local]'" in told
    assert "page 1" in told


def test_validate_reads_the_stored_words(work: Path) -> None:
    """It proves values of scans again without recognising them again; without words it says so."""
    fieldsift("run", "inbox", *LOCAL, "-o", "out", cwd=work)
    told = json.loads(
        fieldsift("validate", "out", "--output-format", "json", cwd=work, blind=True).stdout
    )
    assert told["summary"].get("evidence_not_checked", 0) == 0, told["summary"]
    (work / "out/.fieldsift/replies.sqlite").unlink()
    text = fieldsift("validate", "out", cwd=work, blind=True)
    assert "not checked" in text.stdout + text.stderr


def test_a_mixed_pdf_is_recognised_only_where_it_has_no_text(tmp_path: Path) -> None:
    """Its printed page is read as it is, its scanned one by its picture."""
    words = Words(None)
    content = pdf(text_at(50, 700, "Total 12.50 EUR"), b"0 0 100 1 re f")

    async def work() -> Document:
        loaders, eyes = Loaders(1), Eyes(words, 1)
        try:
            return (await eyes.look(await loaders.load("x.pdf", content), content)).document
        finally:
            await loaders.aclose()
            await eyes.aclose()

    document = asyncio.run(work())
    assert [bool(page.reader) for page in document.pages] == [False, True]
    digest = document.sha256
    assert [words.get(digest, number) is not None for number in (1, 2)] == [False, True]
    words.close()


def test_a_stamp_on_a_scan_is_not_taken_for_its_text(tmp_path: Path) -> None:
    """Programs that scan write their names on pages; what the picture shows is read all the same."""
    scan(*LINES).save(tmp_path / "scan.png")
    sheet = Canvas(str(tmp_path / "scan.pdf"), pagesize=(500, 350))
    sheet.drawImage(str(tmp_path / "scan.png"), 0, 0, 500, 350)
    sheet.drawString(20, 8, "Scanned by a program")
    sheet.save()
    told = fieldsift("extract", "scan.pdf", *LOCAL, cwd=tmp_path)
    assert json.loads(told.stdout)["total"] == 1284.5
    told = fieldsift(
        "extract", "scan.pdf", *LOCAL, "--json", "--no-store", cwd=tmp_path, blind=True
    )
    line = json.loads(told.stdout)
    assert line["coverage"]["sent"] == 0
    assert "page_not_read" in [each["rule"] for each in line["findings"]]


def test_a_page_that_kills_its_reader_costs_that_page_alone(tmp_path: Path) -> None:
    """The document goes on without its words, and says so."""
    scan(*LINES).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()

    async def work() -> tuple[Document, str]:
        loaders, eyes = Loaders(1), Eyes(Words(None), 1)
        eyes._loaders = Scripted("read(); os._exit(3)", Limits(wall=30))
        try:
            seen = await eyes.look(await loaders.load("a.png", content), content)
            return seen.document, seen.trouble.reason if seen.trouble else ""
        finally:
            await loaders.aclose()
            await eyes.aclose()

    document, reason = asyncio.run(work())
    assert reason == "crashed"
    assert "page 1: its words were not recognised" in document.warnings[0]
    assert not document.has_text


def test_values_that_the_engine_is_not_sure_of_can_be_left_out(work: Path) -> None:
    """The band is the user's choice."""
    fieldsift("run", "inbox", *LOCAL, "-o", "out", "--min-confidence", "1", cwd=work)
    line = results(work / "out")["scan.png"]
    assert set(line["data"].values()) == {None}
    assert {each["status"] for each in line["evidence"]} == {"absent"}


def test_doctor_tells_of_the_extra(tmp_path: Path) -> None:
    """Whether words of pictures can be recognised here."""
    assert "extra local: rapidocr" in fieldsift("doctor", cwd=tmp_path).stdout
