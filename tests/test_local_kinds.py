"""The local engine told what to look for: patterns, examples, moments, durations, agreements, letters, absence."""

import time
from dataclasses import replace
from typing import Any

import pytest

from pipeline import values
from pipeline.providers.local import kinds
from pipeline.providers.local.engine import extract
from tests.test_local import answer, drawn, page_document, schema, text_document

TEXT: dict[str, Any] = {"type": ["string", "null"]}
NUMBER: dict[str, Any] = {"type": ["number", "null"]}
DATE: dict[str, Any] = {"type": ["string", "null"], "format": "date"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("for two (2) years from", "P2Y"),
        ("mit einer Frist von sechs Monaten", "P6M"),
        ("un préavis de 30 jours", "P30D"),
        ("plazo de tres meses", "P3M"),
        ("1 Std. 20 Min.", "PT1H20M"),
        ("PT45M", "PT45M"),
        ("auf unbestimmte Zeit", ""),
        ("pour une durée d'un an", "P1Y"),
        ("un (1) an", "P1Y"),
        ("entro sei mesi", "P6M"),
        ("due anni", "P2Y"),
    ],
)
def test_a_duration_is_read_in_any_language(text: str, value: str) -> None:
    assert [found.value for found in values.find_durations(text)] == [value]


@pytest.mark.parametrize(
    "text",
    [
        "500 an Nebenkosten",
        "Seite 3 an uns",
        "sei Tage",
        "due days",
        "um Tag",
        "ein jedes",
        "6 to 12 months",
        "6-12 months",
        "6 – 12 Monate",
        "between 6 and 12 months",
        "six (6) to twelve (12) months",
        "two or three years",
        "6 Monate bis 12 Monate",
        "de 6 à 12 mois",
    ],
)
def test_words_of_other_languages_and_ranges_are_no_durations(text: str) -> None:
    assert values.find_durations(text) == []


def test_durations_beside_each_other_are_no_range() -> None:
    text = "Clauses 6 and 12 months; 30 days or 4 weeks; 2 years - 30 days"
    found = [duration.value for duration in values.find_durations(text)]
    assert found == ["P12M", "P30D", "P4W", "P2Y", "P30D"]


@pytest.mark.parametrize(("one", "other"), [("P1Y", "P12M"), ("P2W", "P14D"), ("PT1.5H", "PT90M")])
def test_equal_durations_have_one_length(one: str, other: str) -> None:
    """Only what the calendar makes equal: a month has no length in days."""
    assert values.duration_length(one) == values.duration_length(other) is not None
    assert values.duration_length("P1M") != values.duration_length("P30D")
    assert values.duration_length("P") is None


def test_durations_and_moments_take_linear_time() -> None:
    begun = time.perf_counter()
    for hostile in (
        "a " * 50_000,
        "1" * 100_000,
        "twenty-" * 15_000,
        "- " * 50_000,
        "1 h to " * 9_000,
    ):
        values.find_durations(hostile)
        values.find_instants(hostile)
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5 March 2024 at 2:30 pm", "2024-03-05T14:30:00"),
        ("05.03.2024 14:30 Uhr", "2024-03-05T14:30:00"),
        ("Tue, 05 Mar 2024 14:30:00 +0100", "2024-03-05T14:30:00+01:00"),
        ("2024-03-05 07:15 CET", "2024-03-05T07:15:00+01:00"),
    ],
)
def test_a_moment_is_a_date_beside_its_time(text: str, value: str) -> None:
    assert [found.value for found in values.find_instants(text)] == [value]


def test_a_zone_that_is_not_printed_is_not_made_up() -> None:
    wanted = schema(
        departure={"type": ["string", "null"], "format": "date-time"},
        arrival={"type": ["string", "null"], "format": "date-time"},
        departed=TEXT,
    )
    text = "Departure: 5 March 2024, 14:30\nArrival: 2024-03-05T18:05:00+01:00"
    found = answer(text_document(text), wanted)
    assert found["departure"] is None
    assert found["arrival"] == "2024-03-05T18:05:00+01:00"


def test_a_pattern_finds_the_codes_that_it_takes() -> None:
    wanted = schema(file={"type": ["string", "null"], "pattern": r"^VX-\d{6}$"})
    assert (
        answer(text_document("Seen: VX-204481 and VX-20448 of 2024"), wanted)["file"] == "VX-204481"
    )


def test_a_value_is_written_as_the_pattern_wants_it_or_left_out() -> None:
    wanted = schema(
        iban={"type": ["string", "null"], "pattern": "^[A-Z]{2}[0-9A-Z]{13,32}$"},
        customer_number={"type": ["string", "null"], "pattern": r"^K\d{4}$"},
    )
    text = "IBAN: DE89 3704 0044 0532 0130 00\nCustomer number: 4711"
    assert answer(text_document(text), wanted) == {
        "iban": "DE89370400440532013000",
        "customer_number": None,
    }


def test_examples_show_the_form_of_a_value() -> None:
    wanted = schema(
        handle={"type": ["string", "null"], "examples": ["AB1-12345"]},
        desk={"type": ["string", "null"], "examples": ["desk@firm.example"]},
    )
    text = "Total 12.50\nHandle XK7-99120 (see 77)\nWrite to help@skyline.example"
    assert answer(text_document(text), wanted) == {
        "handle": "XK7-99120",
        "desk": "help@skyline.example",
    }


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^.*$", r"^\d+$", "", "x" * 1000])
def test_a_pattern_that_is_slow_or_vague_costs_little(pattern: str) -> None:
    wanted = schema(code={"type": ["string", "null"], "pattern": pattern})
    begun = time.perf_counter()
    answer(text_document("Code: " + "a" * 5000 + "!\n" + "aaaa! " * 2000), wanted)
    assert time.perf_counter() - begun < 10


def test_a_percentage_is_a_part_of_one_where_the_schema_says_so() -> None:
    part = {**NUMBER, "description": "Discount as a fraction (0.15 for 15 %)."}
    text = text_document("Discount: 15 %")
    assert answer(text, schema(discount_rate=part)) == {"discount_rate": 0.15}
    assert answer(text, schema(discount_rate=NUMBER)) == {"discount_rate": 15}


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("postcode", "Main Street", False),
        ("postcode", "80331", True),
        ("country", "Reno, NV 89501", False),
        ("vat", "Anna Berg", False),
        ("identifier", "14 Center Avenue", False),
        ("identifier", "HRB 31877", True),
        ("email", "none", False),
        ("payment", "within the limits", False),
        ("payment", "Kreditkarte", True),
    ],
)
def test_a_kind_rules_values_out(kind: str, value: str, fits: bool) -> None:
    assert kinds.suits(kind, value) is fits


LEASE = """LEASE AGREEMENT

This agreement is made on 3 May 2023 between Alder Homes Ltd, 12 Mill Lane,
York YO1 7AB (the "Landlord"), and Rowan Cycles LLP, 4 Quay Street,
Hull HU1 2PN, represented by Tom Hale (the "Tenant").

1. It takes effect on 1 June 2023 and is concluded for a term of three
years until 31 May 2026.
2. Either party may end it on ninety (90) days' written notice.
3. The Tenant shall pay a monthly rent of £1,450.00 in advance.
4. This agreement is governed by the laws of England and Wales, and the
courts of Leeds have exclusive jurisdiction.
"""
MIETE = """MIETVERTRAG

zwischen
Erlenhof Wohnen GmbH, Mühlweg 12, 04109 Leipzig - nachfolgend "Vermieterin" -
und
Radhaus Nord eG, Kaistraße 4, 04107 Leipzig, vertreten durch Tom Hahn - nachfolgend "Mieterin" -

Das Mietverhältnis beginnt am 01.06.2023 und endet am 31.05.2026.
Es kann mit einer Frist von drei Monaten gekündigt werden.
Die Miete beträgt 1.450,00 EUR.
Es gilt deutsches Recht. Gerichtsstand ist Leipzig.
"""
CONTRACT = schema(
    effective_date=DATE,
    end_date=DATE,
    notice_period=TEXT,
    monthly_rent=NUMBER,
    governing_law=TEXT,
    jurisdiction=TEXT,
    parties={
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"name": TEXT, "role": TEXT, "postcode": TEXT, "represented_by": TEXT},
        },
    },
)


def test_an_agreement_is_read_by_its_sentences() -> None:
    assert answer(text_document(LEASE), CONTRACT) == {
        "effective_date": "2023-06-01",
        "end_date": "2026-05-31",
        "notice_period": "ninety (90) days",
        "monthly_rent": 1450,
        "governing_law": "the laws of England and Wales",
        "jurisdiction": "the courts of Leeds",
        "parties": [
            {
                "name": "Alder Homes Ltd",
                "role": "Landlord",
                "postcode": "YO1 7AB",
                "represented_by": None,
            },
            {
                "name": "Rowan Cycles LLP",
                "role": "Tenant",
                "postcode": "HU1 2PN",
                "represented_by": "Tom Hale",
            },
        ],
    }


def test_a_german_agreement_is_read_by_its_sentences() -> None:
    assert answer(text_document(MIETE), CONTRACT) == {
        "effective_date": "2023-06-01",
        "end_date": "2026-05-31",
        "notice_period": "drei Monaten",
        "monthly_rent": 1450,
        "governing_law": "deutsches Recht",
        "jurisdiction": "Leipzig",
        "parties": [
            {
                "name": "Erlenhof Wohnen GmbH",
                "role": "Vermieterin",
                "postcode": "04109",
                "represented_by": None,
            },
            {
                "name": "Radhaus Nord eG",
                "role": "Mieterin",
                "postcode": "04107",
                "represented_by": "Tom Hahn",
            },
        ],
    }


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("Le présent contrat prend effet le 1er juin 2023.", "effective_date", "2023-06-01"),
        ("El contrato entrará en vigor el 1 de junio de 2023.", "effective_date", "2023-06-01"),
        ("Il contratto decorre dal 01/06/2023.", "effective_date", "2023-06-01"),
        ("De overeenkomst gaat in op 1 juni 2023.", "effective_date", "2023-06-01"),
        ("O contrato entra em vigor em 1 de junho de 2023.", "effective_date", "2023-06-01"),
        ("Le contrat est régi par le droit français.", "governing_law", "droit français"),
        ("Il contratto è regolato dalla legge italiana.", "governing_law", "legge italiana"),
        ("O contrato é regido pela lei portuguesa.", "governing_law", "lei portuguesa"),
        (
            "Chaque partie peut résilier avec un préavis de trois mois.",
            "notice_period",
            "trois mois",
        ),
        ("Opzegging met een opzegtermijn van twee maanden.", "notice_period", "twee maanden"),
    ],
)
def test_clauses_are_known_in_seven_languages(text: str, field: str, value: str) -> None:
    assert answer(text_document(text), CONTRACT)[field] == value


def test_a_letter_is_read_by_its_form() -> None:
    letter = """Ida Nyberg
Strandweg 3
18055 Rostock

Hafenwerk Energie GmbH
Postfach 11 40
18057 Rostock

Rostock, 12.09.2024

Widerspruch gegen die Abrechnung, Vorgang HW-77120

Sehr geehrte Damen und Herren,

ich widerspreche der Abrechnung vom 01.09.2024.

Mit freundlichen Grüßen

Ida Nyberg"""
    wanted = schema(
        sender=TEXT,
        recipient=TEXT,
        place=TEXT,
        date=DATE,
        subject=TEXT,
        reference=TEXT,
        signed_by=TEXT,
    )
    assert answer(text_document(letter), wanted) == {
        "sender": "Ida Nyberg",
        "recipient": "Hafenwerk Energie GmbH",
        "place": "Rostock",
        "date": "2024-09-12",
        "subject": "Widerspruch gegen die Abrechnung, Vorgang HW-77120",
        "reference": "HW-77120",
        "signed_by": "Ida Nyberg",
    }


@pytest.mark.parametrize(
    "text",
    [
        (
            "Employee: Ana Cruz    Employee no. 00417\nPay period: 01/03/2024 - 31/03/2024\n"
            "Gross pay        3,450.00\nTotal deductions   691.95\nNet pay          2,758.05"
        ),
        (
            "Mitarbeiter: Ana Cruz    Personalnummer: 00417\nAbrechnungszeitraum: 01.03.2024 - 31.03.2024\n"
            "Bruttogehalt        3.450,00\nGesetzliche Abzüge   691,95\nNettolohn          2.758,05"
        ),
        (
            "Salarié : Ana Cruz    Matricule : 00417\nPériode de paie : 01/03/2024 au 31/03/2024\n"
            "Salaire brut        3 450,00\nTotal des retenues   691,95\nNet à payer          2 758,05"
        ),
    ],
)
def test_a_payslip_is_read_in_several_languages(text: str) -> None:
    wanted = schema(
        employee_name=TEXT,
        employee_number=TEXT,
        pay_period_start=DATE,
        pay_period_end=DATE,
        gross_pay=NUMBER,
        total_deductions=NUMBER,
        net_pay=NUMBER,
    )
    assert answer(text_document(text), wanted) == {
        "employee_name": "Ana Cruz",
        "employee_number": "00417",
        "pay_period_start": "2024-03-01",
        "pay_period_end": "2024-03-31",
        "gross_pay": 3450,
        "total_deductions": 691.95,
        "net_pay": 2758.05,
    }


def test_a_utility_bill_tells_its_two_readings_apart() -> None:
    text = "Zählernummer: 1EMH0098123\nZählerstand alt: 14.203 kWh\nZählerstand neu: 17.311 kWh\nVerbrauch: 3.108 kWh"
    wanted = schema(
        meter_number=TEXT, previous_reading=NUMBER, current_reading=NUMBER, consumption=NUMBER
    )
    assert answer(text_document(text), wanted) == {
        "meter_number": "1EMH0098123",
        "previous_reading": 14203,
        "current_reading": 17311,
        "consumption": 3108,
    }


def test_a_passage_is_its_whole_paragraph() -> None:
    text = """A Study of Tides

Abstract
We measure the tides of three small harbours over one year and show that
two of them follow the moon more closely than the tables say.

1 Introduction
Tides matter."""
    found = answer(text_document(text), schema(abstract=TEXT))["abstract"]
    assert found.startswith("We measure")
    assert found.endswith("tables say.")


PAYROLL = schema(
    employee_number=TEXT,
    tax_class=TEXT,
    gross_pay=NUMBER,
    net_pay=NUMBER,
    pay_date=DATE,
    diagnosis=TEXT,
    street=TEXT,
    postcode=TEXT,
    town=TEXT,
    phone=TEXT,
)


def test_a_document_of_another_kind_answers_with_nulls() -> None:
    """What is only near is not taken when next to nothing of the schema is there."""
    found = answer(text_document(LEASE), PAYROLL)
    assert {name: value for name, value in found.items() if value is not None} == {}


def test_values_below_a_confidence_are_left_out() -> None:
    wanted = schema(invoice_number=None, seller_name=TEXT, total=NUMBER)
    document = text_document("Fern & Moss\nInvoice no.: R-104\nTotal  EUR 12.00")
    full = extract(document, wanted)
    least = max(hint["confidence"] for hint in full.hints)
    kept = extract(document, wanted, least)
    sure = {hint["pointer"] for hint in full.hints if hint["confidence"] >= least}
    assert {hint["pointer"] for hint in kept.hints} == sure
    assert 0 < len(sure) < len(full.hints)
    assert extract(document, wanted, 1.01).data == dict.fromkeys(kept.data)


def test_no_value_is_surer_than_its_words() -> None:
    document = page_document(drawn((72, [(72, "Invoice no.: R-104")])))
    page = document.pages[0]
    doubtful = tuple(replace(word, confidence=0.61) for word in page.words)
    scanned = page_document(replace(page, words=doubtful, reader="reader 1"))
    wanted = schema(invoice_number=None)
    assert extract(document, wanted).hints[0]["confidence"] > 0.85
    assert extract(scanned, wanted).hints[0]["confidence"] == 0.61


PAID = schema(total=NUMBER, prepaid=NUMBER, amount_due=NUMBER, invoice_number=None)


@pytest.mark.parametrize("line", ["Ritenuta d'acconto 20%", "Deposit required 25%", "Acconto 30 %"])
def test_a_percentage_is_no_amount(line: str) -> None:
    document = text_document(f"Invoice no.: 12\nTotal      1,000.00\n{line}     -200.00")
    assert answer(document, PAID)["prepaid"] in {None, -200}


def test_withheld_tax_is_no_deposit() -> None:
    document = text_document("Fattura n. 12\nTotale  1.000,00\nRitenuta d'acconto 20%   200,00")
    assert answer(document, PAID)["prepaid"] is None


def test_what_is_left_of_the_total_after_a_deposit_is_due() -> None:
    document = text_document(
        "Invoice no.: 12\nTotal due      £123.12\nDeposit paid      50.00\nBalance due      73.12"
    )
    expected = {"total": 123.12, "prepaid": 50, "amount_due": 73.12, "invoice_number": "12"}
    assert answer(document, PAID) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Die Probezeit endet am 31. Dezember 2024.",
        "The probation period ends on 31 December 2024.",
        "La période d'essai prend fin le 31 décembre 2024.",
    ],
)
def test_the_end_of_the_probation_is_not_the_contract_s(text: str) -> None:
    wanted = schema(start_date=DATE, end_date=DATE)
    document = text_document(f"Contract\n{text}")
    assert answer(document, wanted)["end_date"] is None


def test_a_table_and_its_guests_are_no_street() -> None:
    document = text_document(
        "THE GOLDEN LION\nTable 12  Guests 2\n12/03/2024 19:22\n2 x Fish   25.00\nTotal   25.00"
    )
    parts = {"name": {"type": ["string", "null"]}, "street": {"type": ["string", "null"]}}
    found = answer(document, schema(merchant={"type": "object", "properties": parts}))
    assert found["merchant"] == {"name": "THE GOLDEN LION", "street": None}


PARTY = {"type": "object", "properties": dict.fromkeys(("name", "street", "city", "phone"), TEXT)}
BANK = {"type": "object", "properties": dict.fromkeys(("name", "iban"), TEXT)}


def test_a_party_s_name_ends_where_its_address_begins() -> None:
    document = text_document(
        "Invoice no.: 12\nBill to: Mrs P. Okafor, 9 Elm Close, Sheffield S10 2TN"
    )
    found = answer(document, schema(invoice_number=None, buyer=PARTY))["buyer"]
    expected = {
        "name": "Mrs P. Okafor",
        "street": "9 Elm Close",
        "city": "Sheffield",
        "phone": None,
    }
    assert found == expected


def test_a_bank_s_name_ends_where_its_account_begins() -> None:
    line = "Bank: Sparkasse Musterstadt IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFFXXX"
    found = answer(text_document(f"Rechnung Nr. 12\n{line}"), schema(number=None, bank=BANK))
    assert found["bank"]["name"] == "Sparkasse Musterstadt"
    assert str(found["bank"]["iban"]).replace(" ", "") == "DE89370400440532013000"


def test_numbers_of_a_company_are_no_telephone_and_stay_whole() -> None:
    document = text_document(
        "Invoice no.: 12\nBrightwell Ltd\n9 Elm Close\nSheffield S10 2TN\n"
        "VAT no. 839 2018 33\nSIRET 732 829 320 00074"
    )
    found = answer(document, schema(seller=PARTY, tax_number=None))
    assert found["seller"]["phone"] is None
    assert found["tax_number"] == "839 2018 33"


def test_a_postcode_is_no_contract_number() -> None:
    document = text_document("Mietvertrag\nVermieter: Anna Kurz, Hauptstr. 5, 10115 Berlin")
    assert answer(document, schema(contract_number=None))["contract_number"] is None
