"""The local engine on small documents: labels in seven languages, parties, kinds, choices, heads, lists."""

from typing import Any

import pytest

from tests.test_local import answer, ask, drawn, page_document, schema, text_document

DATE = {"type": ["string", "null"], "format": "date"}
NUMBER = {"type": ["number", "null"]}
TEXT = {"type": ["string", "null"]}
HEADER = schema(
    invoice_number=None,
    invoice_date=DATE,
    due_date=DATE,
    net_total=NUMBER,
    tax_total=NUMBER,
    grand_total=NUMBER,
    currency=None,
)

LANGUAGES = {
    "en": """Invoice no.: R-104        Invoice date: 5 March 2024
Due date: 19 March 2024
                    Subtotal              EUR 1,200.00
                    VAT 20%               EUR   240.00
                    Total                 EUR 1,440.00""",
    "de": """Rechnungs-Nr.: R-104      Rechnungsdatum: 05.03.2024
Zahlbar bis 19.03.2024
                    Nettobetrag           1.200,00 EUR
                    zzgl. 20 % USt.         240,00 EUR
                    Gesamtbetrag          1.440,00 EUR""",
    "fr": """Facture n° R-104          Date de facture : 05/03/2024
Date d'échéance : 19/03/2024
                    Total HT              1 200,00 EUR
                    TVA 20 %                240,00 EUR
                    Total TTC             1 440,00 EUR""",
    "es": """Factura n.º R-104         Fecha de factura: 05/03/2024
Fecha de vencimiento: 19/03/2024
                    Base imponible        1.200,00 EUR
                    IVA 20 %                240,00 EUR
                    Total factura         1.440,00 EUR""",
    "it": """Fattura n. R-104          Data fattura: 05/03/2024
Scadenza: 19/03/2024
                    Totale imponibile     1.200,00 EUR
                    IVA 20 %                240,00 EUR
                    Totale fattura        1.440,00 EUR""",
    "nl": """Factuurnummer: R-104      Factuurdatum: 05-03-2024
Vervaldatum: 19-03-2024
                    Totaal excl. btw      1.200,00 EUR
                    Btw 20 %                240,00 EUR
                    Totaal incl. btw      1.440,00 EUR""",
    "pt": """Fatura nº R-104           Data da fatura: 05/03/2024
Data de vencimento: 19/03/2024
                    Total sem IVA         1.200,00 EUR
                    IVA 20 %                240,00 EUR
                    Total com IVA         1.440,00 EUR""",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_invoice_s_head_is_read_in_seven_languages(language: str) -> None:
    assert answer(text_document(LANGUAGES[language]), HEADER) == {
        "invoice_number": "R-104",
        "invoice_date": "2024-03-05",
        "due_date": "2024-03-19",
        "net_total": 1200,
        "tax_total": 240,
        "grand_total": 1440,
        "currency": "EUR",
    }


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("invoiceNumber", "Invoice number"),
        ("INVOICE_NO", "Rechnungsnummer"),
        ("InvoiceID", "Numéro de facture"),
        ("numberOfPets", "Number of pets"),
        ("crop_insurance_proceeds", "9 Crop insurance proceeds"),
        ("409ADeferrals", "Section 409A deferrals"),
        ("zähler_nummer", "Zählernummer"),
        ("shoe_size", "Shoe size (EU)"),
    ],
)
def test_names_are_read_however_they_are_written(name: str, label: str) -> None:
    document = text_document(f"Something else: 1\n{label}: 4711\nMore: 2\n")
    assert answer(document, schema(**{name: TEXT})) == {name: "4711"}


def test_titles_and_descriptions_name_a_field_too() -> None:
    target = schema(
        f1={"type": "string", "title": "Vessel name"},
        f2={"type": "string", "description": "Port of call (harbour, home port)."},
    )
    document = text_document("Vessel name: Aurora\nHome port: Bergen\n")
    assert answer(document, target) == {"f1": "Aurora", "f2": "Bergen"}


def test_a_label_belongs_to_the_field_that_it_fits_best() -> None:
    """`Subtotal` is not the total, nor the delivery date the invoice's, asked for or not."""
    document = text_document(
        "Subtotal: 90.00\nDelivery date: 2024-01-02\nTotal: 100.00\nInvoice date: 2024-01-05\n"
    )
    assert answer(document, schema(total=NUMBER, date=DATE)) == {
        "total": 100,
        "date": "2024-01-05",
    }
    short = text_document("Subtotal: 90.00\nDelivery date: 2024-01-02\n")
    assert answer(short, schema(total=NUMBER, due_date=DATE)) == {"total": None, "due_date": None}


def test_amounts_that_add_up_win() -> None:
    """The VAT of the head, not that of a row; the totals, not their parts."""
    document = text_document(
        "Subtotal  40.00\nSubtotal  60.00\nVAT 5.00\nSubtotal  100.00\nVAT  20.00\nTotal  120.00\n"
    )
    target = schema(net_amount=NUMBER, vat_amount=NUMBER, total=NUMBER)
    assert answer(document, target) == {"net_amount": 100, "vat_amount": 20, "total": 120}


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Date: 03/04/2024\nArrival: 25/04/2024\n", "2024-04-03"),
        ("Date: 03/04/2024\nArrival: 04/25/2024\n", "2024-03-04"),
        ("Date: 03/04/2024\nTotal of the order and the fee: $5.00, for the US\n", "2024-03-04"),
        ("Datum: 03/04/2024\nSumme der Bestellung und der Gebühr: 5,00 €\n", "2024-04-03"),
    ],
)
def test_the_document_decides_whether_the_day_comes_first(text: str, day: str) -> None:
    assert answer(text_document(text), schema(date=DATE)) == {"date": day}


def test_the_decimal_sign_is_that_of_the_document() -> None:
    german = text_document("Betrag: 1.234\nAnzahlung: 5,50\nRest: 12,25\n")
    english = text_document("Amount: 1.234\nFee: 5.50\nRest: 12.25\n")
    assert answer(german, schema(amount=NUMBER)) == {"amount": 1234}
    assert answer(english, schema(amount=NUMBER)) == {"amount": 1.234}


def test_dates_that_are_texts_stay_as_printed() -> None:
    document = text_document("Date of birth: 04-15-1974\nExpiry date: 1 May 2030\n")
    target = schema(
        birth_date=TEXT,
        expiry_date={"type": "string", "description": "Expiry date as YYYY-MM-DD"},
    )
    assert answer(document, target) == {"birth_date": "04-15-1974", "expiry_date": "2030-05-01"}


def test_kinds_that_have_a_form_are_found_by_it() -> None:
    document = text_document(
        "Write to a.b@mail.example or see https://example.org/x, call +49 30 1234567.\n"
        "DE89 3704 0044 0532 0130 00 is our account. doi:10.1000/182.\nTime: 17:42\n"
        "Started 2024-03-05T10:00:00Z. Rate of 7.5 %.\n"
    )
    target = schema(
        email={"type": "string", "format": "email"},
        website={"type": "string", "format": "uri"},
        phone=TEXT,
        iban=TEXT,
        doi=TEXT,
        time={"type": "string", "description": "Time, HH:MM"},
        started={"type": "string", "format": "date-time"},
        rate=NUMBER,
    )
    assert answer(document, target) == {
        "email": "a.b@mail.example",
        "website": "https://example.org/x",
        "phone": "+49 30 1234567",
        "iban": "DE89 3704 0044 0532 0130 00",
        "doi": "10.1000/182",
        "time": "17:42",
        "started": "2024-03-05T10:00:00Z",
        "rate": 7.5,
    }


def test_a_time_without_its_zone_is_not_made_an_rfc_3339_time() -> None:
    target = schema(
        start_time={"type": ["string", "null"], "format": "time"},
        moment={"type": ["string", "null"], "format": "date-time"},
    )
    document = text_document("Start time: 17:42:10\nMoment: 2024-03-05 17:42\n")
    assert answer(document, target) == {"start_time": None, "moment": None}


PARTY = {
    "anyOf": [
        {
            "type": "object",
            "properties": {
                "name": TEXT,
                "street": TEXT,
                "postcode": TEXT,
                "city": TEXT,
                "country": TEXT,
                "vat_id": TEXT,
            },
        },
        {"type": "null"},
    ]
}


def party(**known: str) -> dict[str, Any]:
    """A party with what is known of it, the rest null."""
    return {
        name: known.get(name)
        for name in ("name", "street", "postcode", "city", "country", "vat_id")
    }


def test_parties_are_read_from_the_blocks_under_their_headings() -> None:
    page = drawn(
        (50, [(40, "Seller:"), (320, "Bill to:")]),
        (64, [(40, "Acme Tools GmbH"), (320, "Beispiel AG")]),
        (78, [(40, "Hafenstr. 5"), (320, "Ringstr. 70")]),
        (92, [(40, "20457 Hamburg"), (320, "80333 München")]),
        (106, [(40, "Germany"), (320, "VAT ID: DE987654321")]),
        (120, [(40, "VAT ID: DE123456789")]),
    )
    assert answer(page_document(page), schema(seller=PARTY, buyer=PARTY)) == {
        "seller": party(
            name="Acme Tools GmbH",
            street="Hafenstr. 5",
            postcode="20457",
            city="Hamburg",
            country="Germany",
            vat_id="DE123456789",
        ),
        "buyer": party(
            name="Beispiel AG",
            street="Ringstr. 70",
            postcode="80333",
            city="München",
            vat_id="DE987654321",
        ),
    }


def test_a_letter_s_sender_and_addressee_are_known_by_their_places() -> None:
    page = drawn(
        (100, [(60, "Nordwind Verlag GmbH · Am Kai 3 · 24103 Kiel")]),
        (130, [(60, "Frida Sommer")]),
        (143, [(60, "Lindenweg 8")]),
        (156, [(60, "04105 Leipzig")]),
        (300, [(60, "Sehr geehrte Frau Sommer,")]),
        (740, [(60, "Nordwind Verlag GmbH"), (300, "info@nordwind.example")]),
    )
    target = schema(seller=PARTY, buyer=PARTY)
    assert answer(page_document(page), target) == {
        "seller": party(
            name="Nordwind Verlag GmbH", street="Am Kai 3", postcode="24103", city="Kiel"
        ),
        "buyer": party(name="Frida Sommer", street="Lindenweg 8", postcode="04105", city="Leipzig"),
    }


def test_an_address_is_one_span_or_none() -> None:
    """Lines of one address that follow each other; not those that others stand between in the text."""
    together = text_document("Harbor Cafe\n12 Dock Street\nPortland, ME 04101\nTotal 5.00\n")
    target = schema(company=TEXT, address=TEXT)
    assert answer(together, target) == {
        "company": "Harbor Cafe",
        "address": "12 Dock Street Portland, ME 04101",
    }
    parted = drawn(
        (50, [(40, "Harbor Cafe")]),
        (64, [(40, "12 Dock Street"), (300, "Opening hours are ten to five daily")]),
        (78, [(40, "Portland, ME 04101")]),
    )
    assert answer(page_document(parted), target)["address"] is None


@pytest.mark.parametrize(
    ("line", "code", "city"),
    [
        ("80333 München", "80333", "München"),
        ("D-63571 Gelnhausen", "63571", "Gelnhausen"),
        ("3500 MJ Utrecht", "3500 MJ", "Utrecht"),
        ("75371 Paris Cedex 08", "75371", "Paris"),
        ("Seattle, WA 98109-5210", "98109-5210", "Seattle"),
        ("Vancouver, BC V5K 0A1", "V5K 0A1", "Vancouver"),
        ("Hexham NE46 1AA", "NE46 1AA", "Hexham"),
        ("D08 X4K2 Dublin", "D08 X4K2", "Dublin"),
        ("1000-205 Lisboa", "1000-205", "Lisboa"),
        ("New Delhi - 110001", "110001", "New Delhi"),
    ],
)
def test_postal_lines_of_many_countries(line: str, code: str, city: str) -> None:
    document = text_document(f"Buyer:\nSample Works Ltd.\n12 Long Road\n{line}\n")
    buyer = answer(document, schema(buyer=PARTY))["buyer"]
    assert (buyer["name"], buyer["street"]) == ("Sample Works Ltd.", "12 Long Road")
    assert (buyer["postcode"], buyer["city"]) == (code, city)


@pytest.mark.parametrize(
    "line", ["Item 4100 Mission parts", "2024 Annual Report", "10 12345 boxes"]
)
def test_other_lines_with_numbers_are_no_addresses(line: str) -> None:
    assert answer(text_document(f"Report\n{line}\n"), schema(buyer=PARTY)) == {"buyer": None}


def test_enums_are_members_that_stand_there() -> None:
    target = schema(
        kind={"enum": ["invoice", "credit_note", "reminder", None]},
        color={"type": "string", "enum": ["RED", "BLUE"]},
        level={"type": "integer", "enum": [1, 2, 3]},
        plan={"type": ["string", "null"], "enum": ["gold", "silver", None]},
    )
    document = text_document("CREDIT NOTE\n\nColor: Blue\nLevel: 3\n☐ Gold  ☒ Silver\n")
    assert answer(document, target) == {
        "kind": "credit_note",
        "color": "BLUE",
        "level": 3,
        "plan": "silver",
    }
    assert answer(text_document("Gutschrift\n"), schema(kind={"enum": ["credit_note", None]})) == {
        "kind": None
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Smoker: yes", True),
        ("Smoker: Nein", False),
        ("[x] Smoker", True),
        ("☐ Smoker   ☒ Driver", False),
        ("Smoker   ☐ yes   ☒ no", False),
        ("Smoker   ☒ oui   ☐ non", True),
        ("Smoking lounge is upstairs", None),
    ],
)
def test_yes_and_no_are_read_and_never_guessed(text: str, value: bool | None) -> None:
    target = schema(smoker={"type": ["boolean", "null"]})
    assert answer(text_document(text + "\n"), target) == {"smoker": value}


def test_codes_that_a_description_explains() -> None:
    target = schema(
        type_code={"type": ["string", "null"], "description": "380 invoice, 381 credit note"}
    )
    assert answer(text_document("Rechnung (380) Nr. 17\n"), target) == {"type_code": "380"}
    assert answer(text_document("380 bottles\n"), target) == {"type_code": None}


PAPER = schema(
    title=TEXT,
    authors={
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"given": {"type": "string"}, "family": {"type": "string"}},
        },
    },
    journal=TEXT,
    volume=TEXT,
    issue=TEXT,
    year={"type": ["integer", "null"]},
    pages=TEXT,
)


def test_the_head_of_a_paper() -> None:
    big = drawn((60, [(60, "On Small Boats and")]), (84, [(60, "Long Rivers")]), size=20)
    small = drawn(
        (120, [(60, "Ada B. Löfgren 1, Jan van der Meer 2 and Ines")]),
        (132, [(60, "Cruz 1")]),
        (150, [(60, "1 University of Somewhere")]),
        (
            180,
            [
                (
                    60,
                    "Boats float. Löfgren et al. (2021). On Small Boats. Journal of Water, 12(3), 44-57.",
                )
            ],
        ),
        (194, [(60, "More text of the usual size, so that the title is bigger than it is.")]),
    )
    words = tuple(
        type(word)(word.start + len(big.text), word.end + len(big.text), word.box, word.size)
        for word in small.words
    )
    page = type(big)(1, big.text + small.text, big.words + words, width=600.0, height=800.0)
    assert answer(page_document(page), PAPER) == {
        "title": "On Small Boats and Long Rivers",
        "authors": [
            {"given": "Ada B.", "family": "Löfgren"},
            {"given": "Jan", "family": "van der Meer"},
            {"given": "Ines", "family": "Cruz"},
        ],
        "journal": "Journal of Water",
        "volume": "12",
        "issue": "3",
        "year": 2021,
        "pages": "44-57",
    }


def test_lists_stand_behind_or_under_their_label() -> None:
    target = schema(
        keywords={"type": "array", "items": {"type": "string"}},
        emails={"type": "array", "items": {"type": "string", "format": "email"}},
        ingredients={"type": "array", "items": {"type": "string"}},
        scores={"type": "array", "items": {"type": "integer"}},
        nothing={"type": "array", "items": {"type": "string"}},
    )
    document = text_document(
        "Keywords: boats, rivers; small craft and water\n"
        "Scores: 3, 5\n"
        "Contact a@x.example or b@y.example\n\n"
        "Ingredients\n- flour\n- two eggs\n- salt\n\n\nMethod\n- stir\n"
    )
    assert answer(document, target) == {
        "keywords": ["boats", "rivers", "small craft", "water"],
        "emails": ["a@x.example", "b@y.example"],
        "ingredients": ["flour", "two eggs", "salt"],
        "scores": [3, 5],
        "nothing": [],
    }


def test_values_in_columns_are_found_by_the_label_above() -> None:
    page = drawn(
        (50, [(40, "Order no."), (160, "Customer no."), (300, "Invoice date"), (440, "Due date")]),
        (64, [(40, "55-1"), (160, "K 900"), (300, "2024-03-05"), (440, "2024-04-05")]),
    )
    target = schema(invoice_date=DATE, due_date=DATE, order_number=None, customer_number=None)
    assert answer(page_document(page), target) == {
        "invoice_date": "2024-03-05",
        "due_date": "2024-04-05",
        "order_number": "55-1",
        "customer_number": "K 900",
    }


def test_confidence_tells_a_labelled_value_from_a_guess() -> None:
    sure = ask(text_document("Invoice date: 2024-03-05\n"), schema(invoice_date=DATE))
    guess = ask(
        text_document("Some text of 2024-03-05\nand of 2023-01-01\n"), schema(invoice_date=DATE)
    )
    assert sure.hints[0].confidence is not None
    assert guess.hints[0].confidence is not None
    assert sure.hints[0].confidence >= 0.85 > guess.hints[0].confidence


def test_markdown_is_read_like_the_text_it_draws() -> None:
    document = text_document(
        "# Invoice\n\n- **Invoice no.:** 17-A\n- Total: **€12.50**\n\n"
        "| Description | Amount |\n| --- | ---: |\n| Very long name of a thing | 12.50 |\n"
    )
    target = schema(
        invoice_number=None,
        total=NUMBER,
        lines={
            "type": "array",
            "items": {"type": "object", "properties": {"description": TEXT, "amount": NUMBER}},
        },
    )
    assert answer(document, target) == {
        "invoice_number": "17-A",
        "total": 12.5,
        "lines": [{"description": "Very long name of a thing", "amount": 12.5}],
    }


@pytest.mark.parametrize(
    ("stated", "meant"),
    [("MM-DD-YYYY", "1994-07-11"), ("DD-MM-YYYY", "1994-11-07"), ("TT.MM.JJJJ", "1994-11-07")],
)
def test_a_form_that_says_how_dates_are_written_is_believed(stated: str, meant: str) -> None:
    """Whether 07-11-1994 is in July or November is what the form's own words say."""
    document = text_document(f"Date of birth ({stated}): 07-11-1994\nName: Ann Example\n")
    assert answer(document, schema(date_of_birth=DATE)) == {"date_of_birth": meant}
