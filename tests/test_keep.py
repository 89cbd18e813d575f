"""What a translation keeps: a changed digit is always found, other print of the same is never accused, and time is linear."""

import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.validators.keep import differences

ALL: Any = ("numbers", "codes", "placeholders")
SAME = [
    ("Preis 1.234,50 EUR am 16.04.2018", "Price EUR 1,234.50 on April 16, 2018"),
    ("um 14:30 Uhr", "at 2:30 pm"),
    ("um 10.30 Uhr", "at 10:30"),
    ("1,5 Mio. Euro", "1.5 million euros"),
    ("2.1 million", "2,100,000"),
    ("3万", "30,000"),
    ("٣٤ كتاب", "34 books"),
    ("1'234.50 CHF", "1.234,50 CHF"),
    ("5 000 Stück", "5,000 pieces"),
    ("Seite 5 100 Stück", "page 5: 100 pieces"),
    ("bis zum 16.04. im April", "until April 16"),
    ("04/2018", "April 2018"),
    ("16.04.2018", "16 เมษายน 2018"),
    ("22. bis 24. Mai 2020", "May 22 to 24, 2020"),
    ("12,34%", "12.34 %"),
    ("(1.234,50)", "(1,234.50)"),
    ("3:1", "3 to 1"),
    ("50 m² und 20 m2", "50 sq m and 20 m²"),
    ("1.234 und 1234,0", "1,234 and 1234"),
    ("Das A4-Papier und der G20-Gipfel", "A4 paper and the G20 summit"),
    ("COVID-19-Impfung in 3. Woche", "COVID-19 vaccination in the 3rd week"),
    ("型号AB-123的产品", "product AB-123"),
    ("请访问https://example.com/a获取", "see https://example.com/a."),
    ("IBAN DE89370400440532013000", "IBAN DE89 3704 0044 0532 0130 00"),
    ("5kg, 10EUR, 90er Jahre, Tabelle1", "5 kg, 10 EUR, 90s, Table1"),
    ("100 % der Fälle, 50%ig", "100% of cases, 50%"),
    ("Hallo {name}, %s und %(x)d ${X} {{y}} <b>fett</b> :id", "%s :id <b>b</b> {name} {{y}} ${X} %(x)d"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), SAME)
def test_other_print_of_the_same_is_never_accused(source: str, target: str) -> None:
    assert differences(source, target, ALL) == []
    assert differences(target, source, ALL) == []


@pytest.mark.parametrize(
    ("source", "target", "kind", "told"),
    [
        ("1.234,50", "1,234.51", "numbers", "missing: 1.234,50; added: 1,234.51"),
        ("3.5", "5.3", "numbers", "missing: 3.5; added: 5.3"),
        ("1.5", "15", "numbers", "missing: 1.5; added: 15"),
        ("-5 Grad", "5 degrees", "numbers", "missing: -5; added: 5"),
        ("16.04.2018", "16.05.2018", "numbers", "missing: 16.04.2018; added: 16.05.2018"),
        ("16. April 2018", "April 17, 2018", "numbers", None),
        ("12:30:15.5", "12:30:15.6", "numbers", None),
        ("2 2 2", "2 2", "numbers", "missing: 2"),
        ("zwei", "2", "numbers", "added: 2"),
        ("AB-1234", "AB-1235", "codes", "missing: AB-1234; added: AB-1235"),
        ("a@b.com", "a@c.com", "codes", None),
        ("DE89370400440532013000", "DE89370400440532013001", "codes", None),
        ("https://a.com/x1", "https://a.com/x2", "codes", None),
        ("{name}", "{nom}", "placeholders", "missing: {name}; added: {nom}"),
        ("%s %s", "%s", "placeholders", "missing: %s"),
        ("<b>x</b>", "<b>x", "placeholders", "missing: </b>"),
        (":id", ": id", "placeholders", "missing: :id"),
    ],
)
def test_what_is_changed_is_named(source: str, target: str, kind: str, told: str | None) -> None:
    (found, *_) = differences(source, target, ALL)
    assert found.kind == kind
    assert told is None or str(found) == told


def test_only_what_is_to_be_kept_is_compared() -> None:
    assert differences("5 {a} AB-1", "6 {b} AB-2", ()) == []
    kinds = [each.kind for each in differences("5 {a} AB-1", "6 {b} AB-2", ("codes",))]
    assert kinds == ["codes"]


WORDS = st.sampled_from(["Preis", "am", "von", "und", "Stück", "bei", "Haus", "—", "EUR", "ca."])
TOKENS = st.one_of(
    st.from_regex(r"[0-9]{1,12}", fullmatch=True),
    st.from_regex(r"[1-9][0-9]{0,2}([.,' ][0-9]{3}){0,3}([.,][0-9]{1,4})?", fullmatch=True),
    st.from_regex(r"[0-3][0-9]\.[01][0-9]\.(19|20)[0-9]{2}", fullmatch=True),
    st.from_regex(r"[0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9])?)?", fullmatch=True),
    st.from_regex(r"[A-Z]{2,4}-[0-9]{2,8}", fullmatch=True),
    st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){2}", fullmatch=True),
    st.from_regex(r"\+49 [0-9]{3}/[0-9]{4,8}", fullmatch=True),
    st.from_regex(r"[0-9]{1,3} ?(%|kg|Mio\.|€)", fullmatch=True),
)


@given(
    words=st.lists(st.tuples(WORDS, TOKENS), min_size=1, max_size=8),
    digit=st.integers(1, 9),
    place=st.integers(0, 10**6),
    keep=st.sampled_from([("numbers",), ("numbers", "codes"), ALL]),
)
def test_a_changed_digit_is_always_found(
    words: list[tuple[str, str]], digit: int, place: int, keep: Any
) -> None:
    text = " ".join(f"{word} {token}" for word, token in words)
    digits = [at for at, char in enumerate(text) if char.isdecimal()]
    at = digits[place % len(digits)]
    changed = text[:at] + str((int(text[at]) + digit) % 10) + text[at + 1 :]
    assert differences(text, text, keep) == []
    assert differences(text, changed, keep)
    assert differences(changed, text, keep)


def printed(number: Decimal, form: str) -> str:
    signs = {"en": (",", "."), "de": (".", ","), "fr": ("\u202f", ","), "ch": ("'", ".")}
    group, point = signs.get(form, ("", "."))
    return f"{number:,}".replace(",", "\0").replace(".", point).replace("\0", group)


NUMBERS = st.decimals(0, 10**9, places=2, allow_nan=False, allow_infinity=False)


@given(
    numbers=st.lists(st.one_of(NUMBERS, st.integers(0, 10**7).map(Decimal)), max_size=12),
    forms=st.tuples(*[st.sampled_from(["en", "de", "fr", "ch", "plain"])] * 2),
    order=st.randoms(use_true_random=False),
)
def test_numbers_in_the_print_of_any_place_are_the_same(
    numbers: list[Decimal], forms: tuple[str, str], order: Any
) -> None:
    source = "; ".join(printed(number, forms[0]) for number in numbers)
    order.shuffle(numbers)
    target = "; ".join(printed(number, forms[1]) for number in numbers)
    assert differences(source, target, ("numbers",)) == []


@given(source=st.text(max_size=300), target=st.text(max_size=300))
def test_no_text_breaks_it_and_equal_ones_are_equal(source: str, target: str) -> None:
    assert differences(source, source, ALL) == []
    differences(source, target, ALL)


@pytest.mark.parametrize("unit", ["1.234 12:30 ", "{", "a1-", "<a ", "1.1.", "A1@", "DE89 ", "%("])
def test_hostile_texts_take_linear_time(unit: str) -> None:
    def taken(times: int) -> float:
        text = unit * times
        start = time.process_time()
        differences(text, text[:-3], ALL)
        return time.process_time() - start

    taken(100)
    assert taken(8_000) < 40 * taken(1_000) + 0.2
