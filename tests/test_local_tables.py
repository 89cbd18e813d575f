"""The local engine on tables: rows under header columns, over pages, and lines without a header."""

import pytest

from pipeline.document import Page
from tests.test_local import answer, drawn, page_document, schema, text_document

TEXT = {"type": ["string", "null"]}
NUMBER = {"type": ["number", "null"]}
LINES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "description": TEXT,
            "quantity": NUMBER,
            "unit_price": NUMBER,
            "amount": NUMBER,
        },
    },
}
TAXES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"rate": NUMBER, "base": NUMBER, "amount": NUMBER},
    },
}

HEADERS = {
    "en": "Description          Qty     Unit price     Amount",
    "de": "Bezeichnung          Menge   Einzelpreis    Betrag",
    "fr": "Désignation          Qté     P.U. HT        Montant",
    "es": "Descripción          Cant.   Precio         Importe",
    "it": "Descrizione          Q.tà    Prezzo         Importo",
    "nl": "Omschrijving         Aantal  Prijs          Bedrag",
    "pt": "Descrição            Qtd     Preço          Valor",
}


@pytest.mark.parametrize("language", HEADERS)
def test_rows_stand_under_their_headers_in_seven_languages(language: str) -> None:
    document = text_document(
        f"{HEADERS[language]}\n"
        "--------------------------------------------------\n"
        "Rope, blue           3       12.50          37.50\n"
        "Anchor               1       80.00          80.00\n"
        "--------------------------------------------------\n"
        "                             Total         117.50\n"
    )
    assert answer(document, schema(line_items=LINES, total=NUMBER)) == {
        "line_items": [
            {"description": "Rope, blue", "quantity": 3, "unit_price": 12.5, "amount": 37.5},
            {"description": "Anchor", "quantity": 1, "unit_price": 80, "amount": 80},
        ],
        "total": 117.5,
    }


def table_page(number: int, *rows: tuple[str, str, str, str], top: float = 60.0) -> Page:
    """A page with a table of four columns, figures flush right as far as this font goes."""
    header = ("Item", "Qty", "Price", "Amount")
    places = (40.0, 300.0, 380.0, 480.0)
    drawn_rows = [
        (top + 16 * at, [(place, cell) for place, cell in zip(places, row, strict=True) if cell])
        for at, row in enumerate((header, *rows))
    ]
    page = drawn(*drawn_rows)
    return Page(number, page.text, page.words, width=page.width, height=page.height)


def test_a_table_goes_on_where_its_header_is_repeated() -> None:
    """Sums that are carried over are no items."""
    first = table_page(1, ("Oak board", "2", "7.00", "14.00"), ("", "", "Carried over", "14.00"))
    second = table_page(
        2, ("", "", "Brought forward", "14.00"), ("Pine board", "4", "2.00", "8.00")
    )
    items = answer(page_document(first, second), schema(items=LINES))["items"]
    assert [(row["description"], row["amount"]) for row in items] == [
        ("Oak board", 14),
        ("Pine board", 8),
    ]


def test_a_description_of_several_lines_is_one_text() -> None:
    """Where the lines follow each other in the page's text, too."""
    page = drawn(
        (50, [(40, "Description"), (300, "Qty"), (480, "Amount")]),
        (64, [(40, "Roof tile,")]),
        (75, [(40, "red")]),
        (64, [(300, "2"), (480, "10.00")]),
        (96, [(40, "Gutter"), (300, "1"), (480, "9.00")]),
    )
    rows = answer(page_document(page), schema(rows=LINES))["rows"]
    assert [row["description"] for row in rows] == ["Roof tile, red", "Gutter"]


def test_a_column_that_the_schema_does_not_ask_for_takes_its_own_cells() -> None:
    page = drawn(
        (50, [(40, "Pos."), (90, "Description"), (300, "VAT"), (380, "Amount")]),
        (64, [(40, "1"), (90, "Sail"), (300, "19"), (380, "400.00")]),
        (78, [(40, "2"), (90, "Mast"), (300, "7"), (380, "900.00")]),
    )
    rows = answer(page_document(page), schema(lines=LINES))["lines"]
    assert [(row["description"], row["amount"]) for row in rows] == [("Sail", 400), ("Mast", 900)]


def test_a_table_that_two_lists_could_hold_is_nobody_s() -> None:
    document = text_document("Description   Amount\nTea           3.50\n")
    assert answer(document, schema(assets=LINES, debts=LINES)) == {"assets": [], "debts": []}


def test_lines_of_a_tax_summary_need_no_header() -> None:
    document = text_document(
        "                Subtotal                 150.00\n"
        "                VAT 20 % on 100.00        20.00\n"
        "                VAT 7 % on 50.00           3.50\n"
        "                Total                    173.50\n"
    )
    assert answer(document, schema(taxes=TAXES, total=NUMBER)) == {
        "taxes": [
            {"rate": 20, "base": 100, "amount": 20},
            {"rate": 7, "base": 50, "amount": 3.5},
        ],
        "total": 173.5,
    }


def test_prose_with_the_words_of_a_header_is_no_table() -> None:
    document = text_document(
        "The description of the item and its price follow.\nThe amount is 5.00, we think, at 3.\n"
    )
    assert answer(document, schema(lines=LINES)) == {"lines": []}


def test_cells_of_other_kinds() -> None:
    target = schema(
        shifts={
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "day": {"type": "string", "format": "date"},
                    "person": {"type": "string"},
                    "shift": {"type": "string", "enum": ["early", "late"]},
                    "paid": {"type": "boolean"},
                    "hours": {"type": "number"},
                },
            },
        }
    )
    document = text_document(
        "Day          Person        Shift    Paid    Hours\n"
        "2024-03-05   Ada Klein     early    yes     7.5\n"
        "2024-03-06   Jon Gross     late     no      8\n"
    )
    assert answer(document, target)["shifts"] == [
        {"day": "2024-03-05", "person": "Ada Klein", "shift": "early", "paid": True, "hours": 7.5},
        {"day": "2024-03-06", "person": "Jon Gross", "shift": "late", "paid": False, "hours": 8},
    ]
