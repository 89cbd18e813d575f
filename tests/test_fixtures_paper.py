"""Photographs, scans and office papers of the fixtures: their answers are true, and they look as told."""

from decimal import Decimal
from typing import Any

import pytest

from tests.golds import FIXTURES, exact, gold, golds, leaves, on_paper, printed, stands, text_of

_TEXTS = [name for name in golds("office") if not name.endswith("-scan.pdf")]
#: What is marked by hand on each form, and the field that says so.
_MARKS: dict[str, dict[str, tuple[Any, str]]] = {
    "membership-typed.pdf": {
        "newsletter": (False, "[ ] Send me the newsletter"),
        "volunteer": (True, "[x] I can help at regattas"),
        "locker": (False, "[ ] I would like a locker"),
        "membership": ("student", "[ ] Adult [x] Student [ ] Family"),
        "payment": ("quarterly", "[ ] monthly [x] quarterly [ ] yearly"),
    },
    "aufnahmeantrag.pdf": {
        "newsletter": (True, "[x] Ich möchte den Rundbrief"),
        "volunteer": (True, "[x] Ich helfe bei Regatten mit"),
        "locker": (True, "[x] Ich möchte einen Spind"),
        "membership": ("family", "[ ] Erwachsene [ ] Studierende [x] Familie"),
        "payment": ("yearly", "[ ] monatlich [ ] vierteljährlich [x] jährlich"),
    },
    "note-de-frais.pdf": {
        "receipts_attached": (True, "Justificatifs joints [x] oui [ ] non"),
        "advance_received": (False, "Avance perçue [ ] oui [x] non"),
    },
    "ficha-paciente.jpg": {
        "sex": ("female", "[x] Mujer [ ] Hombre [ ] Otro"),
        "allergies": (True, "¿Tiene alergias? [x] Sí [ ] No"),
        "medication": (False, "¿Toma medicación? [ ] Sí [x] No"),
        "smoker": (False, "¿Fuma? [ ] Sí [x] No"),
        "consent": (True, "[x] Autorizo"),
    },
    "inschrijfformulier.png": {
        "sex": ("male", "[ ] vrouw [x] man [ ] anders"),
        "allergies": (False, "Allergieën [ ] ja [x] nee"),
        "medication": (True, "Gebruikt u medicijnen? [x] ja [ ] nee"),
        "smoker": (True, "Rookt u? [x] ja [ ] nee"),
        "consent": (False, "[ ] Mijn gegevens"),
    },
}


@pytest.mark.parametrize("name", on_paper())
def test_every_value_of_an_answer_is_printed_on_the_paper(name: str) -> None:
    """What is asked for was on the paper before the camera or the scanner made it harder to read."""
    text = printed(name)
    assert [leaf for leaf in leaves(gold(name)) if not stands(*leaf, text)] == []


def test_all_paper_has_its_printed_text_and_an_answer() -> None:
    """Nothing is photographed or scanned whose words nobody knows."""
    assert on_paper() == golds("photos", "scans", "office")


def test_the_search_in_printed_text_can_fail() -> None:
    """The test above would notice a wrong digit, name or mark."""
    text = printed("photos/brasserie.jpg")
    assert stands("/total", 75, text)
    assert not stands("/total", 76, text)
    assert not stands("/time", "21:07", text)
    assert not stands("/payment_method", "card", text)
    assert not stands("/membership", "student", printed("scans/forms/aufnahmeantrag.pdf"))


@pytest.mark.parametrize("name", _TEXTS)
def test_office_papers_that_are_text_say_what_is_printed(name: str) -> None:
    """The kept lines are those that stand in the file."""
    text = text_of(name)
    lines = (FIXTURES / "printed" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if " ".join(line.split()) not in text] == []


@pytest.mark.parametrize("name", golds("scans/forms"))
def test_marks_on_paper_forms_are_set_as_the_answer_says(name: str) -> None:
    """Every choice of a form, where its boxes are and which one is marked."""
    text, data = printed(name), gold(name)
    marks = _MARKS[name.rpartition("/")[2]]
    for field, (value, shown) in marks.items():
        assert (data[field], shown in text) == (value, True), field
    assert {key for key, value in data.items() if isinstance(value, bool)} <= set(marks)


@pytest.mark.parametrize("name", golds("photos"))
def test_the_sums_of_photographed_receipts_hold(name: str) -> None:
    """Items, taxes, payment and change add up; cash is rounded to five cents where no smaller coins are."""
    data = exact(gold(name))
    items = sum(item["amount"] for item in data["line_items"])
    assert all(tax["amount"] == tax["amount"].quantize(Decimal("0.01")) for tax in data["taxes"])
    net_prices = data["subtotal"] == items
    due = items + (data["tax_total"] if net_prices else 0)
    rounding = Decimal("0.02") if "Afronding" in printed(name) else Decimal(0)
    assert abs(due - data["total"]) <= rounding
    if data["change"] is not None:
        assert data["change"] == data["amount_paid"] - data["total"]
    for tax in data["taxes"]:
        if tax["base"] is not None:
            assert abs(tax["amount"] - tax["base"] * tax["rate"] / 100) <= Decimal("0.005")
    for item in data["line_items"]:
        if item["quantity"] is not None and item["unit_price"] is not None:
            assert abs(item["quantity"] * item["unit_price"] - item["amount"]) <= Decimal("0.005")


def test_the_sums_of_office_papers_hold() -> None:
    """Pay, deductions, charges, meters and expenses."""
    for name in golds("office/payslips"):
        slip = exact(gold(name))
        assert slip["gross_pay"] == sum(line["amount"] for line in slip["earnings"])
        assert slip["total_deductions"] == sum(line["amount"] for line in slip["deductions"])
        assert slip["net_pay"] == slip["gross_pay"] - slip["total_deductions"]
    for name in golds("office/electricity"):
        bill = exact(gold(name))
        net = sum(line["amount"] for line in bill["charges"])
        assert bill["total"] == net + bill["vat_amount"]
        assert bill["vat_amount"] == net * bill["vat_rate"] / 100
        assert bill["consumption_kwh"] == bill["current_reading"] - bill["previous_reading"]
    claim = exact(gold("scans/forms/note-de-frais.pdf"))
    assert claim["total"] == sum(row["amount"] for row in claim["expenses"])


def test_photographs_lie_in_all_the_ways_that_telephones_write_them() -> None:
    """Upright, on a side with and without EXIF, upside down; a roll is higher than wide."""
    from PIL import Image, ImageOps

    lying: dict[str, tuple[int | None, bool]] = {}
    for name in golds("photos"):
        with Image.open(FIXTURES / name) as picture:
            upright = ImageOps.exif_transpose(picture)
            assert picture.format == "JPEG"
            assert max(picture.size) >= 1000
            lying[name] = picture.getexif().get(0x0112), upright.width > upright.height
    assert lying["photos/hardware-store.jpg"] == (6, False)
    assert lying["photos/pastelaria.jpg"] == (8, False)
    assert lying["photos/supermarche.jpg"] == (None, True)
    assert lying["photos/apotheke.jpg"] == (None, True)  # a wide picture of an upright roll
    assert sum(turned == (None, False) for turned in lying.values()) == len(lying) - 4
    assert len(lying) >= 10


def test_only_the_first_page_of_the_mixed_contract_has_text() -> None:
    """The fee, the names and the dates of its signatures are on the scanned one."""
    import pypdfium2

    with pypdfium2.PdfDocument(FIXTURES / "scans/contracts/onderhoud.pdf") as pdf:
        first, second = (page.get_textpage().get_text_range() for page in pdf)
    data = gold("scans/contracts/onderhoud.pdf")
    assert second == ""
    assert data["contract_number"] in first
    assert "465,00" not in first
    assert all(person["name"] not in first for person in data["signatories"])


@pytest.mark.parametrize("name", [n for n in golds("scans", "office") if n.endswith(".pdf")])
def test_scanned_pdfs_are_pictures_and_nothing_else(name: str) -> None:
    """One image a page, no text, apart from the mixed contract and the papers that are text."""
    import pypdf
    import pypdfium2

    if name in _TEXTS or name == "scans/contracts/onderhoud.pdf":
        return
    with pypdfium2.PdfDocument(FIXTURES / name) as pdf:
        assert [page.get_textpage().count_chars() for page in pdf] == [0] * len(pdf)
    assert all(len(page.images) == 1 for page in pypdf.PdfReader(FIXTURES / name).pages)


def test_the_second_page_of_the_insurers_letter_is_upside_down() -> None:
    """The holes of the binder are at the left of the first page, at the right of the second."""
    import pypdfium2
    from PIL import ImageStat

    with pypdfium2.PdfDocument(FIXTURES / "scans/letters/versicherung.pdf") as pdf:
        pages = [page.render(scale=1).to_pil().convert("L") for page in pdf]
    greys = []
    for page in pages:
        wide, high = page.size
        margins = (
            (20, high // 3, 50, high // 3 * 2),
            (wide - 50, high // 3, wide - 20, high // 3 * 2),
        )
        greys.append([ImageStat.Stat(page.crop(margin)).mean[0] for margin in margins])
    assert greys[0][0] < greys[0][1] - 5
    assert greys[1][1] < greys[1][0] - 5


def test_the_town_halls_letter_has_two_pages_in_one_tiff() -> None:
    """Black and white, compressed as fax servers do."""
    from PIL import Image

    with Image.open(FIXTURES / "scans/letters/mairie.tif") as picture:
        assert (getattr(picture, "n_frames", 1), picture.mode) == (2, "1")
        assert picture.info["compression"] == "group4"
