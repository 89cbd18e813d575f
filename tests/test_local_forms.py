"""The local engine on filled forms: fields matched by tool tips, names and the print around them."""

import time
from dataclasses import replace
from typing import Any

from pipeline.document import Document, FieldKind, FormField, Page
from tests.test_local import answer, drawn, page_document, schema

CHECK = {"type": ["boolean", "null"]}


def form(
    page: Page, *fields: tuple[str, str, str, FieldKind, tuple[float, float, float, float]]
) -> Document:
    """A page with fields (name, label, value, kind, box in points); texts stand behind the print."""
    text = page.text
    made = []
    for name, label, value, kind, box in fields:
        x0, y0, x1, y1 = box
        place = (x0 / 600, y0 / 800, x1 / 600, y1 / 800)
        start = end = 0
        if kind != "check":
            text += f"{label}: "
            start, end = len(text), len(text) + len(value)
            text += value + "\n"
        made.append(FormField(name, label, value, kind, place, start, end))
    return page_document(replace(page, text=text, fields=tuple(made)))


def test_fields_are_matched_by_their_tool_tips_and_names() -> None:
    document = form(
        drawn((700, [(40, "Print of the form")])),
        ("f1", "Last name of the applicant", "Okafor", "text", (40, 50, 200, 64)),
        ("form.dateOfBirth", "dateOfBirth", "04/15/1974", "text", (40, 80, 200, 94)),
        ("form.txtCity[0]", "txtCity[0]", "Accra", "text", (40, 110, 200, 124)),
        ("c", "I want the newsletter", "true", "check", (40, 140, 50, 150)),
        ("d", "I have a dog", "false", "check", (40, 160, 50, 170)),
    )
    target = schema(
        last_name=None,
        city=None,
        date_of_birth={"type": ["string", "null"], "format": "date"},
        newsletter=CHECK,
        dog=CHECK,
        cat=CHECK,
    )
    assert answer(document, target) == {
        "last_name": "Okafor",
        "city": "Accra",
        "date_of_birth": "1974-04-15",
        "newsletter": True,
        "dog": False,
        "cat": None,
    }


def nameless(number: int) -> str:
    """A name as forms' makers give without a thought."""
    return f"topmostSubform[0].Page1[0].f1_{number}[0]"


def test_fields_without_names_are_matched_by_the_print_around_them() -> None:
    """Above the box, left of it, right of a check mark, under a signature line."""
    page = drawn(
        (50, [(40, "1 Owner's name"), (320, "2 Country of citizenship")]),
        (90, [(40, "3 Permanent residence address (street, apt. or suite no.)")]),
        (130, [(40, "Account number")]),
        (170, [(62, "Partnership"), (182, "Trust/estate")]),
        (240, [(40, "Print name of signer")]),
        size=8.0,
    )
    cells: list[tuple[str, FieldKind, tuple[float, float, float, float]]] = [
        ("Ann Osei", "text", (40, 60, 300, 76)),
        ("Ghana", "text", (320, 60, 560, 76)),
        ("5 Ring Road", "text", (40, 100, 560, 116)),
        ("77-1", "text", (110, 127, 300, 141)),
        ("true", "check", (48, 169, 58, 179)),
        ("false", "check", (168, 169, 178, 179)),
        ("Kofi Osei", "text", (40, 222, 300, 238)),
    ]
    fields: list[Any] = [
        (nameless(number), f"f1_{number}[0]", value, kind, box)
        for number, (value, kind, box) in enumerate(cells)
    ]
    target = schema(
        OwnerName=None,
        Citizenship=None,
        PermanentAddress=None,
        AccountNumber=None,
        IsPartnership=CHECK,
        IsTrust=CHECK,
        NameOfSigner=None,
        MailingAddress=None,
    )
    assert answer(form(page, *fields), target) == {
        "OwnerName": "Ann Osei",
        "Citizenship": "Ghana",
        "PermanentAddress": "5 Ring Road",
        "AccountNumber": "77-1",
        "IsPartnership": True,
        "IsTrust": False,
        "NameOfSigner": "Kofi Osei",
        "MailingAddress": None,
    }


def test_a_field_of_several_lines_holds_a_name_and_an_address() -> None:
    page = drawn((50, [(40, "PAYER'S name, street address, city, state and ZIP")]), size=8.0)
    value = "West Books\n43 Brook Road\nAlbany, NY 12203"
    document = form(page, (nameless(1), "f1_1[0]", value, "text", (40, 60, 300, 110)))
    assert answer(document, schema(PayerName=None, PayerAddress=None)) == {
        "PayerName": "West Books",
        "PayerAddress": "43 Brook Road Albany, NY 12203",
    }


def test_digits_spread_over_boxes_are_not_half_a_value() -> None:
    """A number in three boxes stands at no one place: null rather than its first three digits."""
    page = drawn((50, [(40, "Social security number")]), size=8.0)
    document = form(
        page,
        (nameless(1), "f1_1[0]", "233", "text", (40, 60, 70, 76)),
        (nameless(2), "f1_2[0]", "46", "text", (80, 60, 100, 76)),
        (nameless(3), "f1_3[0]", "7433", "text", (110, 60, 150, 76)),
    )
    assert answer(document, schema(SocialSecurityNumber=None)) == {"SocialSecurityNumber": None}


def test_the_print_of_a_form_is_not_its_answer() -> None:
    page = drawn((50, [(40, "Total: 5.00 is the fee for each form")]), size=8.0)
    fields: list[Any] = [
        (
            f"n{number}",
            f"Guest {number}",
            "Bo",
            "text",
            (40, 100 + 20 * number, 200, 112 + 20 * number),
        )
        for number in range(4)
    ]
    target = schema(total={"type": ["number", "null"]}, guest_1=None)
    assert answer(form(page, *fields), target) == {"total": None, "guest_1": "Bo"}


def test_numbers_and_choices_of_a_form_have_the_schema_s_type() -> None:
    document = form(
        drawn((700, [(40, "x")])),
        ("amount", "Amount claimed", "1,200.50 EUR", "text", (40, 50, 200, 64)),
        ("plan", "Payment plan", "Yearly", "choice", (40, 80, 200, 94)),
        ("member", "Membership: family", "true", "check", (40, 110, 50, 120)),
        ("member", "Membership: adult", "false", "check", (40, 130, 50, 140)),
    )
    target = schema(
        amount_claimed={"type": "number"},
        payment_plan={"type": "string", "enum": ["monthly", "yearly"]},
        membership={"type": "string", "enum": ["adult", "family"]},
    )
    assert answer(document, target) == {
        "amount_claimed": 1200.5,
        "payment_plan": "yearly",
        "membership": "family",
    }


def test_thousands_of_fields_take_seconds() -> None:
    page = drawn(*[(4.0 + 0.3 * at, [(40.0, f"Field {at}")]) for at in range(2000)], size=0.3)
    fields: list[Any] = [
        (f"x{at}", f"x{at}", str(at), "text", (80, 4 + 0.3 * at, 90, 4.3 + 0.3 * at))
        for at in range(3000)
    ]
    started = time.process_time()
    answer(form(page, *fields), schema(field_7=None, total={"type": ["number", "null"]}))
    assert time.process_time() - started < 20
