"""The local engine on filled forms: fields matched by tool tips, names and the print around them."""

import time
from dataclasses import replace
from typing import Any

from pipeline.document import Document, FieldKind, FormField, Page
from pipeline.grounding import ground
from pipeline.providers import Hint
from pipeline.providers.local import entries
from pipeline.providers.local.asks import plan
from pipeline.providers.local.engine import extract
from pipeline.providers.local.layout import lay_out
from pipeline.providers.local.words import lexicon
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


def test_a_number_in_several_boxes_is_one_value() -> None:
    """Boxes whose texts stand side by side are one; the place of the value holds all of them."""
    page = drawn((50, [(40, "Social security number")]), size=8.0)
    text = page.text + "f1: 233-46-7433\n"
    start = len(page.text) + 4
    fields = tuple(
        FormField(f"f1_{at}[0]", f"f1_{at}[0]", value, "text", (x, 0.08, x + 0.05, 0.1), s, e)
        for at, (value, x, s, e) in enumerate(
            [("233", 0.07, 0, 3), ("46", 0.14, 4, 6), ("7433", 0.21, 7, 11)]
        )
        for s, e in [(start + s, start + e)]
    )
    document = page_document(replace(page, text=text, fields=fields))
    extracted = extract(document, schema(SocialSecurityNumber=None))
    assert extracted.data == {"SocialSecurityNumber": "233-46-7433"}
    assert [(hint["start"], hint["end"]) for hint in extracted.hints] == [(start, start + 11)]


def test_an_address_goes_on_in_the_field_below_its_street() -> None:
    """Unless that has an ask of its own; each part is hinted at where it stands."""
    page = drawn((50, [(40, "Street address")]), (90, [(40, "City, state and ZIP code")]), size=8.0)
    document = form(
        page,
        (nameless(1), "f1_1[0]", "7 Pine Lane", "text", (40, 60, 300, 76)),
        (nameless(2), "f1_2[0]", "Troy, NY 12180", "text", (40, 100, 300, 116)),
        (nameless(3), "f1_3[0]", "x", "text", (400, 100, 420, 116)),
    )
    whole = extract(document, schema(address=None))
    assert whole.data == {"address": "7 Pine Lane Troy, NY 12180"}
    assert [hint["quote"] for hint in whole.hints] == ["7 Pine Lane", "Troy, NY 12180"]
    parts = answer(document, schema(street_address=None, city=None))
    assert parts == {"street_address": "7 Pine Lane", "city": "Troy, NY 12180"}


def flat(
    *rows: tuple[float, list[tuple[float, str]]], marks: tuple[FormField, ...] = ()
) -> Document:
    """A form without fields for text: everything is print, captions in 8 points, answers in 11."""
    captions, answers = drawn(*rows[::2], size=8.0), drawn(*rows[1::2], size=11.0)
    shift = len(captions.text)
    words = (
        *captions.words,
        *(replace(w, start=w.start + shift, end=w.end + shift) for w in answers.words),
    )
    return page_document(
        replace(captions, text=captions.text + answers.text, words=words, fields=marks)
    )  # fmt: skip


def test_forms_without_fields_are_read_between_their_print() -> None:
    """Captions are told from answers by their words; what is blank is null, not the next caption."""
    document = flat(
        (40, [(40, "Formulaire de demande")]),
        (60, [(500, "12")]),
        (100, [(40, "1 Nom et prénom du demandeur"), (320, "2 Date de naissance (jj/mm/aaaa)")]),
        (110, [(40, "Louise Amiot"), (420, "04/05/1981")]),
        (
            140,
            [(40, "3 Adresse de la résidence principale"), (320, "4 Téléphone pour vous joindre")],
        ),
        (150, [(40, "8 rue des Halles")]),
        (180, [(40, "5 Ville de résidence"), (320, "6 Code postal de résidence")]),
        (190, [(40, "Vire"), (320, "14500")]),
        (220, [(40, "7 Numéro de sécurité sociale"), (320, "8 Profession et employeur actuels")]),
        (230, [(60, "2 8 1 0 5"), (130, "7 5")]),
    )
    target = schema(
        nom=None,
        date_naissance={"type": ["string", "null"], "format": "date"},
        telephone=None,
        ville=None,
        code_postal=None,
        numero_securite_sociale=None,
    )
    found = extract(document, target)
    assert found.data == {
        "nom": "Louise Amiot",
        "date_naissance": "1981-05-04",
        "telephone": None,
        "ville": "Vire",
        "code_postal": "14500",
        "numero_securite_sociale": "28105 75",
    }
    hints = [Hint(**hint) for hint in found.hints]
    proofs = ground(found.data, target, document, hints=hints)
    assert {proof.status for proof in proofs} <= {"verified", "derived", "absent"}


def test_what_is_written_into_a_line_is_read_from_it() -> None:
    """A number before print that goes on in small letters, a name before it goes on."""
    document = flat(
        (40, [(40, "Form 12 for residents")]),
        (60, [(500, "12")]),
        (
            80,
            [
                (40, "1 Name of the person who is applying"),
                (320, "2 Account number of that person"),
            ],
        ),
        (90, [(40, "Pedro Alva"), (320, "77-2041")]),
        (
            120,
            [
                (40, "3 I declare that I am a resident of Peru"),
                (260, "within the meaning of the law"),
            ],
        ),
        (145, [(400, "1")]),
        (160, [(40, "4 The holder claims under the treaty a"), (300, "15 % rate of withholding")]),
        (170, [(500, "2")]),
        (200, [(40, "5 The date on which the form is signed")]),
        (210, [(40, "04-15-2021")]),
    )
    target = schema(
        name=None, account_number=None, resident=None, rate={"type": ["number", "null"]}
    )
    assert answer(document, target) == {
        "name": "Pedro Alva",
        "account_number": "77-2041",
        "resident": "Peru",
        "rate": 15,
    }


def test_a_letter_is_no_form() -> None:
    """Boxes of print are looked for on forms only: what stands above a line is not its caption."""
    document = flat(
        (40, [(40, "Dear Ms Amiot")]),
        (60, [(40, "Vire")]),
        (80, [(40, "thank you for your city tour")]),
        (100, [(40, "Pedro Alva")]),
    )
    asks = plan(schema(city=None, telephone=None), lexicon()).scalars
    assert entries.slots(lay_out(document), asks) == []


def tick(name: str, label: str, *, ticked: bool, x: float, y: float) -> FormField:
    """A box to tick of 10 points."""
    box = (x / 600, y / 800, (x + 10) / 600, (y + 10) / 800)
    return FormField(name, label, "true" if ticked else "false", "check", box)


def test_yes_and_no_side_by_side_answer_one_question() -> None:
    """In any of the languages; what is not ticked at all is null."""
    page = drawn(
        (100, [(40, "Fumeur"), (216, "oui"), (276, "non")]),
        (140, [(40, "Allergies"), (216, "oui"), (276, "non")]),
        (180, [(40, "Médicaments"), (216, "oui"), (276, "non")]),
    )
    rows = (("Fumeur", 100, 0), ("Allergies", 140, 1), ("Médicaments", 180, 2))
    marks = tuple(
        tick(name, label, ticked=at == ticked, x=200 + 60 * at, y=y)
        for name, y, ticked in rows
        for at, label in enumerate(("oui", "non"))
    )
    document = page_document(replace(page, fields=marks))
    target = schema(smoker=CHECK, allergies=CHECK, medication=CHECK)
    assert answer(document, target) == {"smoker": True, "allergies": False, "medication": None}


def test_choices_are_known_in_other_languages() -> None:
    """An enum of English words on a form in German."""
    page = drawn(
        (100, [(40, "Zahlung"), (216, "monatlich"), (296, "jährlich")]),
        (140, [(40, "Geschlecht"), (216, "weiblich"), (296, "männlich")]),
    )
    marks = (
        tick("Zahlung", "monatlich", ticked=False, x=200, y=100),
        tick("Zahlung", "jährlich", ticked=True, x=280, y=100),
        tick("Geschlecht", "weiblich", ticked=True, x=200, y=140),
        tick("Geschlecht", "männlich", ticked=False, x=280, y=140),
    )
    target = schema(
        payment={"type": ["string", "null"], "enum": ["monthly", "yearly", None]},
        sex={"type": ["string", "null"], "enum": ["male", "female", None]},
    )
    document = page_document(replace(page, fields=marks))
    assert answer(document, target) == {"payment": "yearly", "sex": "female"}


def test_a_page_of_thousands_of_captions_takes_seconds() -> None:
    rows = [(4.0 + 0.5 * at, [(40.0, f"{at % 9} Name of the form {at}")]) for at in range(480)]
    filled = [(4.2 + 0.5 * at, [(60.0, f"Ann {at}"), (300.0, "2 3 4")]) for at in range(480)]
    page = drawn(*rows, *filled, size=0.4)
    started = time.process_time()
    answer(page_document(page), schema(name=None, total={"type": ["number", "null"]}))
    long = drawn((4.0, [(40.0, "Form a" + "b" * 50_000 + "C" * 50_000)]), size=0.4)
    marks = (tick("", "yes", ticked=True, x=1, y=1), tick("", "no", ticked=True, x=40, y=1))
    answer(page_document(replace(long, fields=marks)), schema(name=None))
    assert time.process_time() - started < 20
