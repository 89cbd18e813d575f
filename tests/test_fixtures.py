"""The fixtures: drawn again they are the same, and their answers are true of what is drawn."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.golds import (
    FIXTURES,
    SCHEMAS,
    cents,
    exact,
    gold,
    golds,
    leaves,
    schema,
    stands,
    text_of,
)

#: Files that a compressor has a hand in: compared by what they show.
_PICTURES = (".png", ".jpg", ".tif", "-scan.pdf")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All fixtures drawn twice, by processes whose hashes differ, side by side."""
    folders = [tmp_path_factory.mktemp(f"drawn{seed}") for seed in "12"]
    running = [
        subprocess.Popen(
            [sys.executable, str(FIXTURES / "draw"), str(folder)],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        for seed, folder in enumerate(folders, 1)
    ]
    assert [process.wait(timeout=240) for process in running] == [0, 0]
    return folders


def is_picture(name: str) -> bool:
    return name.startswith(("photos/", "scans/")) or name.endswith(_PICTURES)


def pages(path: Path) -> list[Any]:
    """The pictures that a file shows, one a page."""
    import pypdfium2
    from PIL import Image, ImageSequence

    if path.suffix == ".pdf":
        with pypdfium2.PdfDocument(path) as pdf:
            return [page.render(scale=1).to_pil().convert("RGBA") for page in pdf]
    with Image.open(path) as picture:
        return [frame.convert("RGBA") for frame in ImageSequence.Iterator(picture)]


def files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_drawing_twice_gives_the_same_bytes(drawn: list[Path]) -> None:
    """The program has no clock, no chance and no order of hashes in it."""
    first, second = (files(folder) for folder in drawn)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_what_is_kept_is_what_the_program_draws(drawn: list[Path]) -> None:
    """Nobody edits a fixture or an answer by hand; pictures are compared by their pixels below."""
    made = files(drawn[0])
    kept = {name: (FIXTURES / name).read_bytes() for name in made}
    exact = [name for name in made if not is_picture(name)]
    assert [name for name in exact if made[name] != kept[name]] == []


def test_pictures_show_what_the_program_draws(drawn: list[Path]) -> None:
    """Same size, same form, and grey for grey nearly the same, whatever compressor was at work."""
    from PIL import ImageChops, ImageStat

    names = [name for name in golds("pictures", "photos", "scans", "office") if is_picture(name)]
    assert len(names) >= 30
    for name in names:
        made, kept = pages(drawn[0] / name), pages(FIXTURES / name)
        assert [page.size for page in made] == [page.size for page in kept]
        for one, other in zip(made, kept, strict=True):
            assert max(ImageStat.Stat(ImageChops.difference(one, other)).mean) < 2, name


def test_every_document_has_an_answer_and_every_answer_a_document() -> None:
    """No document lies around whose content nobody knows."""
    folders = (
        "inbox",
        "demo/inbox",
        "contracts",
        "receipts",
        "letters",
        "forms",
        "encodings",
        "pictures",
        "photos",
        "scans",
        "office",
        "broken",
    )
    documents = {
        path.relative_to(FIXTURES).as_posix()
        for folder in folders
        for path in (FIXTURES / folder).rglob("*")
        if path.is_file()
    }
    assert documents == set(golds(""))


def test_fixtures_stay_small() -> None:
    """They are in every clone and every source distribution."""
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file()) < 6_000_000


def test_no_program_file_is_hidden_among_documents() -> None:
    """The folders that the product reads hold documents only."""
    assert not list((FIXTURES / "inbox").rglob(".*"))
    assert not list((FIXTURES / "inbox").rglob("*.json"))


@pytest.mark.parametrize("name", golds(*SCHEMAS))
def test_answers_are_valid_against_their_schema(name: str) -> None:
    """An answer that no schema allows could never be given."""
    from jsonschema import Draft202012Validator

    body = schema(name)
    validator = Draft202012Validator(body, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [error.message for error in validator.iter_errors(gold(name))] == []


@pytest.mark.parametrize(
    "name", golds("inbox", "demo", "contracts", "receipts", "letters", "forms")
)
def test_every_value_of_an_answer_stands_in_its_document(name: str) -> None:
    """An answer asks for nothing that a careful reader could not see."""
    text = text_of(name)
    assert [leaf for leaf in leaves(gold(name)) if not stands(*leaf, text)] == []


def test_the_search_for_values_can_fail() -> None:
    """The test above would notice a wrong digit, date or name."""
    text = text_of("inbox/RE-2024-00482.pdf")
    assert stands("/total", 5109.59, text)
    assert not stands("/total", 5109.58, text)
    assert not stands("/total", 109.59, text)
    assert not stands("/issue_date", "2024-09-29", text)
    assert not stands("/seller/name", "Nordlicht Bürobedarf AG", text)
    assert not stands("/payment/iban", "DE89370400440532013001", text)


@pytest.mark.parametrize(
    "name", golds("inbox", "demo", "pictures/invoice", "pictures/facture", "scans/invoices")
)
def test_the_sums_of_invoices_hold(name: str) -> None:
    """Rows, taxes and totals add up, rounded per tax rate."""
    data = exact(gold(name))
    rows = data["line_items"]
    assert rows
    for row in rows:
        assert row["amount"] == cents(row["quantity"] * row["unit_price"])
    assert data["net_total"] == sum(row["amount"] for row in rows)
    assert data["net_total"] == sum(tax["base"] for tax in data["taxes"])
    for tax in data["taxes"]:
        assert tax["amount"] == cents(tax["base"] * tax["rate"] / 100)
        bases = [row["amount"] for row in rows if row["tax_rate"] in {tax["rate"], None}]
        assert sum(bases) == tax["base"]
    assert data["tax_total"] == sum(tax["amount"] for tax in data["taxes"])
    assert data["total"] == data["net_total"] + data["tax_total"]
    if data["prepaid"] is not None:
        assert data["amount_due"] == data["total"] - data["prepaid"]


@pytest.mark.parametrize("name", golds("receipts", "pictures/receipt"))
def test_the_sums_of_receipts_hold(name: str) -> None:
    """Items, tip, taxes, payment and change add up."""
    data = exact(gold(name))
    items = sum(item["amount"] for item in data["line_items"])
    assert items == (data["subtotal"] or data["total"])
    if data["subtotal"] is not None:
        assert data["total"] == data["subtotal"] + data["tax_total"] + (data["tip"] or 0)
    if data["change"] is not None:
        assert data["change"] == data["amount_paid"] - data["total"]
    for tax in data["taxes"]:
        if tax["base"] is not None:
            assert abs(tax["amount"] - cents(tax["base"] * tax["rate"] / 100)) == 0


def test_the_sum_of_the_expense_claim_holds() -> None:
    """The rows of the form add up to its total."""
    data = exact(gold("forms/expense-claim.pdf"))
    assert data["total"] == sum(row["amount"] for row in data["expenses"])


@pytest.mark.parametrize("name", golds("inbox", "demo", "scans/invoices"))
def test_dates_of_an_invoice_are_in_order(name: str) -> None:
    """Delivered, billed, due."""
    data = gold(name)
    days = [data[key] for key in ("delivery_date", "issue_date", "due_date") if data[key]]
    assert all(earlier <= later for earlier, later in pairwise(days))


@pytest.mark.parametrize("name", golds("inbox", "demo", "scans/invoices"))
def test_bank_accounts_have_right_check_digits(name: str) -> None:
    """ISO 13616: the number, its head moved to the end and letters as numbers, is 1 modulo 97."""
    iban = gold(name)["payment"]["iban"]
    if iban is not None:
        assert int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def test_the_inbox_is_what_the_readme_promises() -> None:
    """Six languages as PDF, one over two pages, four encodings of text, a folder within."""
    import pypdfium2

    names = golds("inbox")
    pages = {n: len(pypdfium2.PdfDocument(FIXTURES / n)) for n in names if n.endswith(".pdf")}
    assert 8 <= len(names) <= 10
    assert len(pages) == 6
    assert sorted(pages.values()) == [1, 1, 1, 1, 1, 2]
    assert any("/acme/" in name for name in names)
    texts = {n: (FIXTURES / n).read_bytes() for n in names if n.endswith((".txt", ".md"))}
    assert any(content.startswith(b"\xff\xfe") for content in texts.values())
    assert any(
        b"\xe9" in content and b"\x9c" in content for content in texts.values()
    )  # é and œ in cp1252


def test_the_table_that_crosses_the_page_carries_its_sum_over() -> None:
    """The sum at the foot of the first page is that of its rows, and stands again on the second."""
    import pypdfium2

    with pypdfium2.PdfDocument(FIXTURES / "inbox/RE-2024-00482.pdf") as pdf:
        first, second = (page.get_textpage().get_text_range() for page in pdf)
    rows = exact(gold("inbox/RE-2024-00482.pdf"))["line_items"]
    on_first = [row for row in rows if row["item_code"] in first]
    assert 10 < len(on_first) < len(rows) - 10
    assert all(row["item_code"] in second for row in rows if row not in on_first)
    carried = "{:,.2f}".format(sum(row["amount"] for row in on_first))
    carried = carried.translate({ord("."): ",", ord(","): "."})
    assert f"Übertrag {carried}" in first
    assert carried in second


def test_check_marks_of_forms_are_set_as_the_answer_says() -> None:
    """A check mark is on or off in the file; radio buttons and choices have a value."""
    import pypdf

    fields = pypdf.PdfReader(FIXTURES / "forms/membership.pdf").get_fields() or {}
    data = gold("forms/membership.pdf")
    for name in ("newsletter", "volunteer", "locker"):
        assert (fields[name]["/V"] == "/Yes") is data[name]
    assert fields["membership"]["/V"] == f"/{data['membership']}"
    assert fields["payment"]["/V"] == data["payment"]
    claim = pypdf.PdfReader(FIXTURES / "forms/expense-claim.pdf").get_fields() or {}
    assert [claim[name]["/V"] for name in ("Check1", "Check2")] == ["/Yes", "/Off"]
    assert all(claim[name].get("/TU") is None for name in claim)


@pytest.mark.parametrize("name", golds("encodings"))
def test_encoded_texts_say_what_their_answer_says(name: str) -> None:
    """The bytes, in the encoding that is named, are the text that is named."""
    data = gold(name)
    text = (FIXTURES / name).read_bytes().decode(data["encoding"]).removeprefix("\ufeff")
    assert text.replace("\r\n", "\n").replace("\r", "\n") == data["text"]
    assert not data["text"].isascii()


def test_the_sideways_photograph_stands_upright_by_its_exif() -> None:
    """The pixels lie, the tag says how to turn them: a roll is higher than wide."""
    from PIL import Image, ImageOps

    with Image.open(FIXTURES / "pictures/receipt-sideways.jpg") as picture:
        assert picture.width > picture.height
        assert picture.getexif()[0x0112] == 6
        upright = ImageOps.exif_transpose(picture)
        assert upright.width < upright.height


def test_the_scanned_pdf_has_no_text() -> None:
    """Nothing of it can be read without eyes."""
    assert text_of("pictures/facture-scan.pdf") == ""


@pytest.mark.parametrize("name", golds("broken"))
def test_broken_files_are_broken_as_their_answer_says(name: str) -> None:
    """Independent readers meet the same trouble."""
    import pypdfium2

    path, outcome = FIXTURES / name, gold(name)
    content = path.read_bytes()
    if path.suffix == ".pdf" and content.startswith(b"%PDF"):
        if outcome["status"] == "valid":
            assert len(pypdfium2.PdfDocument(path)) == 1
            return
        with pytest.raises(
            pypdfium2.PdfiumError,
            match="password" if outcome["reason"] == "encrypted" else "format",
        ):
            pypdfium2.PdfDocument(path)
    elif outcome["reason"] == "empty":
        assert not content.strip()
    elif path.suffix == ".pdf":
        assert not content.startswith(b"%PDF")
    assert outcome["status"] in {"unreadable", "valid"}
    assert (outcome["reason"] is None) == (outcome["status"] == "valid")


def test_the_encrypted_file_opens_with_its_password_only() -> None:
    """And the letter that nobody may change opens without one."""
    import pypdfium2

    with pypdfium2.PdfDocument(FIXTURES / "broken/encrypted.pdf", password="open sesame") as pdf:
        assert "Kündigung" in pdf[0].get_textpage().get_text_range()
    assert b"/Encrypt" in (FIXTURES / "letters/rappel.pdf").read_bytes()
    assert "retard de retour" in text_of("letters/rappel.pdf")


def test_the_picture_bomb_is_small_in_bytes_and_huge_in_pixels() -> None:
    """Its header alone tells: 400 million pixels in less than 100 kB."""
    content = (FIXTURES / "broken/bomb.png").read_bytes()
    width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
    assert width * height == 400_000_000
    assert len(content) < 100_000


def test_the_truncated_photograph_ends_in_the_middle() -> None:
    """Its header is whole, its pixels are not."""
    from PIL import Image

    with (
        Image.open(FIXTURES / "broken/truncated.jpg") as picture,
        pytest.raises(OSError, match="truncated"),
    ):
        picture.load()


def test_the_demo_pipeline_names_what_init_copies() -> None:
    """Its schema is the shipped one, its input the samples beside it."""
    import tomllib

    text = (FIXTURES / "demo/pipeline.toml").read_text()
    pipeline = tomllib.loads(text)
    assert text.startswith("#:schema ./pipeline.schema.json\n")
    assert pipeline["version"] == 1
    assert pipeline["run"] == {"input": "inbox", "output": "out", "model": "auto"}
    assert pipeline["stage"] == [
        {"name": "invoice", "task": "extract", "schema": "schemas/invoice.json"}
    ]
    assert (ROOT / pipeline["stage"][0]["schema"]).is_file()
    assert len(golds("demo/inbox")) == 3
