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


ITEMS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "item_code": TEXT,
            "description": TEXT,
            "quantity": NUMBER,
            "unit": TEXT,
            "unit_price": NUMBER,
            "tax_rate": NUMBER,
            "amount": NUMBER,
        },
    },
}


def columns_of(rows: list[dict[str, object]], *names: str) -> list[tuple[object, ...]]:
    """Some columns of an answer's rows."""
    return [tuple(row[name] for name in names) for row in rows]


def test_figures_far_from_their_headers_keep_the_headers_order() -> None:
    """Headers flush left, figures flush right: each is nearer to the next column's header."""
    document = text_document(
        "Item             Qty        Price      Amount\n"
        "Copper pipe             4          12.50        50.00\n"
        "Brass hinge            12           1.25        15.00\n"
    )
    rows = answer(document, schema(items=ITEMS))["items"]
    assert columns_of(rows, "description", "quantity", "unit_price", "amount") == [
        ("Copper pipe", 4, 12.5, 50),
        ("Brass hinge", 12, 1.25, 15),
    ]


def test_headers_of_two_lines_name_one_column() -> None:
    document = text_document(
        "Pos.  Bezeichnung         Menge   Einzel-    Preis        MwSt.\n"
        "                                  preis      gesamt       Satz\n"
        "1     Seil, blau              2   4,00        8,00        19 %\n"
        "2     Anker                   3   5,00       15,00         7 %\n"
    )
    rows = answer(document, schema(items=ITEMS))["items"]
    assert columns_of(rows, "item_code", "unit_price", "tax_rate", "amount") == [
        (None, 4, 19, 8),
        (None, 5, 7, 15),
    ]


def test_a_unit_stands_with_its_quantity_or_in_a_column_of_its_own() -> None:
    together = text_document(
        "Omschrijving    Aantal     Prijs     Bedrag\n"
        "Advies           2 uur     90,00     180,00\n"
        "Koperen buis      12 m      3,00      36,00\n"
    )
    apart = text_document(
        "Descrizione     Q.tà   U.M.   Prezzo   Importo\n"
        "Corda blu         12   m        3,00     36,00\n"
        "Vernice            2   kg       9,00     18,00\n"
    )
    rows = answer(together, schema(items=ITEMS))["items"]
    assert columns_of(rows, "quantity", "unit") == [(2, "uur"), (12, "m")]
    rows = answer(apart, schema(items=ITEMS))["items"]
    assert columns_of(rows, "quantity", "unit") == [(12, "m"), (2, "kg")]


def test_a_column_that_counts_the_rows_is_no_item_code() -> None:
    document = text_document(
        "No.   Code     Description    Qty   Amount\n"
        "1     K-20     Sail             1    400.00\n"
        "2     K-31     Mast             2    900.00\n"
    )
    rows = answer(document, schema(items=ITEMS))["items"]
    assert columns_of(rows, "item_code", "description") == [("K-20", "Sail"), ("K-31", "Mast")]


def test_products_tell_which_column_is_which() -> None:
    """The header of the quantities says nothing; 4 times 2.50 is 10.00."""
    document = text_document(
        "Description     Dz      Unit price    Amount\n"
        "Rope             4            2.50     10.00\n"
        "Hook             3            1.50      4.50\n"
    )
    rows = answer(document, schema(items=ITEMS))["items"]
    assert columns_of(rows, "quantity", "unit_price", "amount") == [(4, 2.5, 10), (3, 1.5, 4.5)]


def test_products_decide_how_a_number_is_read() -> None:
    """1.500 is one and a half where 20.00 of it cost 30.00, though it is 1500 elsewhere."""
    document = text_document(
        "Bezeichnung     Menge    Einzelpreis    Betrag\n"
        "Draht           1,500          20,00     30,00\n"
        "Kies            2,000           7,00     14,00\n"
    )
    rows = answer(document, schema(items=ITEMS))["items"]
    assert columns_of(rows, "quantity", "amount") == [(1.5, 30), (2, 14)]


def test_sums_and_sums_carried_over_are_no_rows() -> None:
    document = text_document(
        "Désignation           Qté    P.U. HT    Montant HT\n"
        "Corde bleue             2      10,00         20,00\n"
        "Tuyau de cuivre         3      20,00         60,00\n"
        "À reporter                                   80,00\n"
        "Report                                       80,00\n"
        "Lampe                   1      20,00         20,00\n"
        "Total HT                                    100,00\n"
        "TVA 20 % sur 100,00                          20,00\n"
        "Total TTC                                   120,00\n"
    )
    found = answer(document, schema(items=ITEMS, tax_total=NUMBER, total=NUMBER))
    assert columns_of(found["items"], "description", "amount") == [
        ("Corde bleue", 20),
        ("Tuyau de cuivre", 60),
        ("Lampe", 20),
    ]
    assert (found["tax_total"], found["total"]) == (20, 120)


def test_items_and_taxes_have_their_own_tables() -> None:
    document = text_document(
        "Concepto        Cant.    Precio    Importe\n"
        "Cuerda azul        10      5,00      50,00\n"
        "Ancla               1    100,00     100,00\n"
        "\n"
        "Tipo     Base imponible    Cuota\n"
        "21 %              50,00    10,50\n"
        "10 %             100,00    10,00\n"
        "\n"
        "Total factura                      170,50\n"
    )
    found = answer(document, schema(items=ITEMS, taxes=TAXES, tax_total=NUMBER, total=NUMBER))
    assert columns_of(found["items"], "description", "amount") == [
        ("Cuerda azul", 50),
        ("Ancla", 100),
    ]
    assert found["taxes"] == [
        {"rate": 21, "base": 50, "amount": 10.5},
        {"rate": 10, "base": 100, "amount": 10},
    ]
    assert (found["tax_total"], found["total"]) == (None, 170.5)


def test_one_of_several_taxes_is_not_all_tax() -> None:
    document = text_document(
        "Nettobetrag                  300,00\n"
        "MwSt. 19 % auf 200,00         38,00\n"
        "MwSt. 7 % auf 100,00           7,00\n"
        "Gesamtbetrag                 345,00\n"
    )
    found = answer(document, schema(net_total=NUMBER, tax_total=NUMBER, total=NUMBER))
    assert found == {"net_total": 300, "tax_total": None, "total": 345}


def test_a_text_may_stand_on_a_line_below_its_figures() -> None:
    page = drawn(
        (50, [(40, "Item"), (250, "Qty"), (330, "Price"), (430, "Amount")]),
        (66, [(40, "1432"), (250, "6"), (330, "2.00"), (430, "12.00")]),
        (80, [(40, "Work gloves")]),
        (96, [(40, "1433"), (250, "1"), (330, "3.00"), (430, "3.00")]),
        (110, [(40, "Hat")]),
    )
    rows = answer(page_document(page), schema(items=LINES))["items"]
    assert columns_of(rows, "description", "amount") == [("Work gloves", 12), ("Hat", 3)]


def test_a_description_ends_where_the_next_row_begins() -> None:
    """Rows set close together, the cells of a column one after the other in the page's text."""
    page = drawn(
        (50, [(40, "Description"), (300, "Amount")]),
        (64, [(40, "Roof tile")]),
        (75, [(40, "Gutter")]),
        (64, [(300, "10.00")]),
        (75, [(300, "9.00")]),
    )
    rows = answer(page_document(page), schema(items=LINES))["items"]
    assert columns_of(rows, "description", "amount") == [("Roof tile", 10), ("Gutter", 9)]


def test_years_and_pages_are_no_phone_numbers() -> None:
    document = text_document(
        "2015-2020  Head of section, pages 2456-2471\nPhone: 020 7946 0123\nMobile +44 7700 900123\n"
    )
    phones = schema(phones={"type": "array", "items": {"type": "string"}})
    assert answer(document, phones) == {"phones": ["020 7946 0123", "+44 7700 900123"]}


@pytest.mark.long
def test_a_table_of_many_pages_takes_time_in_proportion() -> None:
    header = "Description     Qty     Unit price    Amount\n"
    page = header + "".join(f"Part {row:>4}         2     3.00     6.00\n" for row in range(50))
    rows = answer(text_document(*[page] * 200), schema(items=LINES))["items"]
    assert len(rows) == 200 * 50
