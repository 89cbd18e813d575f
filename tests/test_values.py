"""Text to typed value: what printed dates, numbers and identifiers may mean, and never anything else."""

import string
import time
from collections.abc import Callable
from datetime import date
from datetime import time as clock
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline import values

FINDERS: list[Callable[[str], list[values.Found[Any]]]] = [
    values.find_currencies,
    values.find_dates,
    values.find_dois,
    values.find_emails,
    values.find_ibans,
    values.find_numbers,
    values.find_percentages,
    values.find_phones,
    values.find_times,
    values.find_urls,
    values.find_vat_ids,
]

MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "pl": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "ru": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
}
SHORT = {
    "en": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "de": "Jan Feb Mrz Apr Mai Jun Jul Aug Sep Okt Nov Dez",
    "fr": "janv févr mars avr mai juin juil août sept oct nov déc",
    "es": "ene feb mar abr may jun jul ago sept oct nov dic",
    "it": "gen feb mar apr mag giu lug ago set ott nov dic",
    "nl": "jan feb mrt apr mei jun jul aug sep okt nov dec",
    "pt": "jan fev mar abr mai jun jul ago set out nov dez",
}
FULL_WIDTH = str.maketrans("0123456789/", "０１２３４５６７８９／")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
DATE_FORMS: list[Callable[[date], str]] = [
    lambda d: d.isoformat(),
    lambda d: f"{d:%Y/%m/%d}",
    lambda d: f"{d:%Y.%m.%d}",
    lambda d: f"{d:%Y%m%d}",
    lambda d: f"{d:%d.%m.%Y}",
    lambda d: f"{d:%d/%m/%Y}",
    lambda d: f"{d:%m/%d/%Y}",
    lambda d: f"{d:%d-%m-%Y}",
    lambda d: f"{d.day}.{d.month}.{d.year}",
    lambda d: f"{d.day}. {d.month}. {d.year}",
    lambda d: f"{d:%d %m %Y}",
    lambda d: f"{d:%d/%m/%y}",
    lambda d: f"{d:%m/%d/%y}",
    lambda d: f"{d:%d/%m/%Y}16:28",
    lambda d: f"{d:%d/%m/%Y} 16:28:05",
    lambda d: f"{d.isoformat()}T10:20:30Z",
    lambda d: f"{d.year}年{d.month}月{d.day}日",
    lambda d: f"{d.year}년 {d.month}월 {d.day}일",
    lambda d: f"令和{d.year - 2018}年{d.month}月{d.day}日",
    lambda d: f"{d:%d/%m/%Y}".translate(FULL_WIDTH),
    lambda d: f"{d:%d/%m/%Y}".translate(ARABIC),
]
NAMED_FORMS: list[Callable[[date, str], str]] = [
    lambda d, m: f"{d.day} {m} {d.year}",
    lambda d, m: f"{d.day}. {m} {d.year}",
    lambda d, m: f"{d.day} de {m} de {d.year}",
    lambda d, m: f"{d.day}-{m}-{d.year}",
    lambda d, m: f"{d:%d}-{m.upper()}-{d:%y}",
    lambda d, m: f"{d:%d}{m}{d.year}",
    lambda d, m: f"{m} {d.day}, {d.year}",
    lambda d, m: f"{m.upper()}. {d.day} {d.year}",
    lambda d, m: f"{d.year} {m} {d.day}",
    lambda d, m: f"the {d.day}th day of {m}, {d.year}",
    lambda d, m: f"{d.day} {m}\n{d.year}",
]
DATES = st.dates(date(2019, 1, 1), date(2029, 12, 31))


@given(DATES, st.sampled_from(DATE_FORMS))
def test_a_date_is_read_from_every_numeric_form(day: date, form: Callable[[date], str]) -> None:
    """Whatever order, separators and digits a document uses, the date it means is among the readings."""
    assert day in values.date_readings(f"Date: {form(day)} Ref. A")


@given(DATES, st.sampled_from([*MONTHS.items(), *SHORT.items()]), st.sampled_from(NAMED_FORMS))
def test_a_date_is_read_with_the_month_in_words(
    day: date, language: tuple[str, str], form: Callable[[date, str], str]
) -> None:
    """Months are known by full and short name in the languages of the documents."""
    month = language[1].split()[day.month - 1]
    assert values.date_readings(form(day, month)) == {day}


@pytest.mark.parametrize(
    ("printed", "meant"),
    [
        ("04/03/2024", {date(2024, 3, 4), date(2024, 4, 3)}),
        ("13/03/2024", {date(2024, 3, 13)}),
        ("March 3rd, 2024", {date(2024, 3, 3)}),
        ("this 3rd day of March, 2024", {date(2024, 3, 3)}),
        ("le 1er mars 2024", {date(2024, 3, 1)}),
        ("1º de março de 2024", {date(2024, 3, 1)}),
        ("3. Ma\u0308rz 2024", {date(2024, 3, 3)}),
        ("16/04/201816:28", {date(2018, 4, 16)}),
        ("16/04/1816:28", {date(2018, 4, 16), date(2016, 4, 18)}),
        ("31.02.2024", set()),
        ("1.2.3", set()),
        ("192.168.10.12", set()),
        ("12:30", set()),
        ("March 2024", set()),
        ("03/2024", set()),
        ("May 3 24 items", set()),
    ],
)
def test_a_printed_date_means_what_a_careful_reader_says(printed: str, meant: set[date]) -> None:
    """Two meanings where print leaves two open, none where it is no full date."""
    assert values.date_readings(printed) == meant


def test_two_digit_years_have_documented_centuries() -> None:
    """00-29 lie in this century, 69-99 in the last, between them both are possible."""
    assert {d.year for d in values.date_readings("31-Dec-24")} == {2024}
    assert {d.year for d in values.date_readings("31-Dec-85")} == {1985}
    assert {d.year for d in values.date_readings("31-Dec-45")} == {1945, 2045}


def test_other_dates_of_a_text_tell_the_order_of_day_and_month() -> None:
    """The likeliest value follows the dates that leave no doubt; the readings stay both."""
    american = values.find_dates("04/03/2024 and 12/25/2024")[0]
    assert american.value == date(2024, 4, 3)
    assert values.find_dates("04/03/2024 and 25/12/2024")[0].value == date(2024, 3, 4)
    assert values.find_dates("04/03/2024", day_first=False)[0].value == date(2024, 4, 3)
    assert american.readings == {date(2024, 3, 4), date(2024, 4, 3)}


@given(DATES, st.sampled_from(DATE_FORMS), st.integers(0, 40), st.sampled_from(string.digits))
def test_a_date_with_another_digit_is_another_date(
    day: date, form: Callable[[date], str], place: int, digit: str
) -> None:
    """One altered digit, and the old date is in no reading: a wrong digit never counts as found."""
    altered = _altered(form(day), place % 8, digit)  # the digits behind the eighth are a time's
    assert day not in values.date_readings(altered)


AMOUNTS = st.decimals(Decimal("-99999999.99"), Decimal("99999999.99"), places=2)


def _grouped(whole: str, group: str) -> str:
    pieces = []
    while len(whole) > 3:
        pieces.append(whole[-3:])
        whole = whole[:-3]
    return group.join([whole, *reversed(pieces)])


def _indian(whole: str) -> str:
    head, tail = whole[:-3], whole[-3:]
    pieces = []
    while len(head) > 2:
        pieces.append(head[-2:])
        head = head[:-2]
    return ",".join([head, *reversed(pieces), tail]) if head else tail


STYLES = [
    (",", "."),
    (".", ","),
    (" ", ","),
    ("\u00a0", ","),
    ("\u202f", ","),
    ("\u2009", "."),
    ("'", "."),
    ("’", "."),
    ("", "."),
    ("", ","),
    ("٬", "٫"),
]
SIGNS: list[Callable[[str], str]] = [
    lambda text: f"-{text}",
    lambda text: f"\u2212{text}",
    lambda text: f"\u2013{text}",
    lambda text: f"{text}-",
    lambda text: f"({text})",
    lambda text: f"-$ {text}".replace("$ ", "$"),
    lambda text: f"(€{text})",
]


@given(AMOUNTS, st.sampled_from(STYLES), st.sampled_from(SIGNS))
def test_an_amount_is_read_from_every_style(
    amount: Decimal, style: tuple[str, str], sign: Callable[[str], str]
) -> None:
    """Grouping, decimal sign and minus of any country: the amount is among the readings."""
    whole, cents = f"{abs(amount):.2f}".split(".")
    printed = _grouped(whole, style[0]) + style[1] + cents
    printed = sign(printed) if amount < 0 else printed
    assert amount in values.number_readings(f"Total: {printed} EUR")


@given(AMOUNTS.map(abs))
def test_an_amount_is_read_with_indian_groups(amount: Decimal) -> None:
    """1,23,45,678.00 is a number too."""
    whole, cents = f"{amount:.2f}".split(".")
    assert values.number_readings(f"₹ {_indian(whole)}.{cents}") == {amount}


@given(AMOUNTS, st.sampled_from(STYLES), st.integers(0, 40), st.sampled_from(string.digits))
def test_an_amount_with_another_digit_is_another_amount(
    amount: Decimal, style: tuple[str, str], place: int, digit: str
) -> None:
    """One altered digit, and the old amount is in no reading."""
    whole, cents = f"{abs(amount):.2f}".split(".")
    altered = _altered(_grouped(whole, style[0]) + style[1] + cents, place, digit)
    assert abs(amount) not in values.number_readings(altered)


@pytest.mark.parametrize(
    ("printed", "meant"),
    [
        ("1.234", "1234 1.234"),
        ("1,234", "1234 1.234"),
        ("0.123", "0.123"),
        ("1 234,56", "1234.56"),
        ("1.234.567,89", "1234567.89"),
        ("1,23,456.00", "123456.00"),
        ("12,5 %", "12.5 0.125"),
        ("(1,234.50)", "1234.50 -1234.50"),
        ("123,45-", "-123.45"),
        ("- 12.00", "12.00 -12.00"),
        ("50,-", "50"),
        ("CHF 50.--", "50"),
        (".50", "0.50"),
        ("Total.....12.50", "12.50"),
        ("１，２３４．５０", "1234.50"),
        ("12.50€", "12.50"),
        ("TotalRM12.50", "12.50"),
        ("12kg", "12"),
        ("第12页", "12"),
        ("10-12", "10 12"),
        ("1.2 million", "1.2 1200000"),
        ("3,5 Mrd. Euro", "3.5 3500000000"),
        ("5億円", "5 500000000"),
        ("12²", "12"),
        ("16.04.2018", ""),
        ("12:30", ""),
        ("1.2.3", ""),
        ("A123", ""),
        ("123_4", ""),
        ("INV-2024-17", ""),
        ("2024-03-05", ""),
        ("AB-17", ""),
        ("0x5B12C", ""),
    ],
)
def test_a_printed_number_means_what_a_careful_reader_says(printed: str, meant: str) -> None:
    """Every meaning that print leaves open; no part of a date, a time, a version or a code."""
    assert values.number_readings(printed) == {Decimal(number) for number in meant.split()}


def test_a_blank_may_group_digits_or_part_columns() -> None:
    """An ordinary blank groups by default and parts when told so; a typesetter's blank always groups."""
    assert [n.text for n in values.find_numbers("1 234,56")] == ["1 234,56"]
    assert [n.text for n in values.find_numbers("1 234,56", blanks=False)] == ["1", "234,56"]
    assert [n.text for n in values.find_numbers("1\u202f234,56", blanks=False)] == ["1\u202f234,56"]
    assert [n.text for n in values.find_numbers("2024 123")] == ["2024", "123"]
    assert [n.text for n in values.find_numbers("1\n234")] == ["1", "234"]
    assert len(values.find_numbers("123 " * 9)) == 9


def test_numbers_know_their_currency() -> None:
    """The sign, code or word beside a number is its currency, and serves one number only."""
    text = "EUR 12 USD 13.00 14,00 € 15 € 7 Franken -$3 8 Stück RM16.50 100円"
    found = [(n.text, n.currency) for n in values.find_numbers(text)]
    assert found == [
        ("12", "EUR"),
        ("13.00", "USD"),
        ("14,00", "EUR"),
        ("15", "EUR"),
        ("7", "CHF"),
        ("-$3", "USD"),
        ("8", None),
        ("16.50", "MYR"),
        ("100", "JPY"),
    ]


def test_the_numbers_of_a_text_tell_its_decimal_sign() -> None:
    """1.234 is a thousand where cents follow a comma, and by default; the readings stay both."""
    assert values.find_numbers("1.234 und 5,60")[0].value == 1234
    assert values.find_numbers("1.234 and 5.60")[0].value == Decimal("1.234")
    assert values.find_numbers("1.234", decimal=".")[0].value == Decimal("1.234")
    assert values.find_numbers("1.234")[0].value == 1234


def test_an_amount_in_brackets_is_likeliest_negative() -> None:
    """As accounts print it; a number in brackets without cents may be a note's."""
    assert values.find_numbers("(1,234.50)")[0].value == Decimal("-1234.50")
    assert values.find_numbers("(12)")[0].value == 12


def test_percentages_hold_their_sign() -> None:
    """The span of a percentage is the number with its sign, the value the number."""
    found = values.find_percentages("7 % of 19% and 12 items, 5,5 Prozent")
    assert [(p.text, p.value) for p in found] == [
        ("7 %", 7),
        ("19%", 19),
        ("5,5 Prozent", Decimal("5.5")),
    ]


def test_times_are_found_also_where_ocr_glued_them() -> None:
    """24 and 12 hours, German and French forms, and a time behind a date without a blank."""
    text = "16/04/201816:28 at 3:45 p.m. um 9 Uhr à 14h30 10時05分 ratio 99:99 2024-03-05T10:20:30"
    assert [t.value for t in values.find_times(text)] == [
        clock(16, 28),
        clock(15, 45),
        clock(9),
        clock(14, 30),
        clock(10, 5),
        clock(10, 20, 30),
    ]


def test_identifiers_come_in_their_normal_form() -> None:
    """Codes without blanks and points; addresses as they are printed."""
    text = (
        "IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFFXXX, VAT DE 123 456 789, NL123456789B01 FR 12 123456789, "
        "CHE-123.456.789 MWST, +49 (0)30 1234-567, mail a.b@c-d.example.com, www.example.com/x?y=1. "
        "doi:10.1000/182."
    )
    assert [i.value for i in values.find_ibans(text)] == ["DE89370400440532013000"]
    vat = ["DE123456789", "NL123456789B01", "FR12123456789", "CHE123456789"]
    assert [v.value for v in values.find_vat_ids(text)] == vat
    assert [p.value for p in values.find_phones(text)] == ["+490301234567"]
    assert [e.value for e in values.find_emails(text)] == ["a.b@c-d.example.com"]
    assert [u.value for u in values.find_urls(text)] == ["www.example.com/x?y=1"]
    assert [d.value for d in values.find_dois(text)] == ["10.1000/182"]


@given(st.integers(0, 21), st.sampled_from(string.digits))
def test_an_iban_with_another_digit_does_not_hold(place: int, digit: str) -> None:
    """The check digits of an IBAN notice every single altered digit."""
    iban = "DE89370400440532013000"
    assert values.iban_holds(iban)
    assert not values.iban_holds(_altered(iban, place, digit))


def test_currencies_are_codes_signs_and_words() -> None:
    """A sign that several countries print has all their codes; words in capitals are no codes."""
    found = values.find_currencies("USD, 5 €, $7, 9 kr, TRY AGAIN FOR ALL, zwölf Euro")
    assert [c.value for c in found] == ["USD", "EUR", "USD", "SEK", "EUR"]
    assert {"USD", "CAD"} <= values.currency_readings("$")
    assert values.currency_readings("€") == {"EUR"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Rech-\nnung", "Rechnung"),
        ("Rech\u00adnung", "rechnung"),
        ("„Müller“", '"mu\u0308ller"'),
        ("ﬁnal", "FINAL"),
        ("Straße", "STRASSE"),
        ("a  b\n\tc", "a b c"),
        ("10\u201312", "10-12"),
        ("２０２４", "2024"),
        ("٢٠٢٤", "2024"),
        ("中 文\n字", "中文字"),
        ("한\u1100\u1161", "한가"),
        ("का\u093c", "का\u093c"),
        ("か\u3099", "が"),
        ("ا\u0653", "آ"),
        ("2024-\n001", "2024-001"),
        ("l\u2019heure", "l'heure"),
        ("  x ", "x"),
    ],
)
def test_folding_makes_equal_what_print_makes_different(one: str, other: str) -> None:
    """Case, forms, marks, quotes, dashes, blanks and hyphenation fold away in any script."""
    assert values.fold(one).text == values.fold(other).text


@pytest.mark.parametrize(
    ("one", "other"), [("12²", "122"), ("①2", "12"), ("1 2", "12"), ("x", "y")]
)
def test_folding_keeps_apart_what_differs(one: str, other: str) -> None:
    """A note's number does not run together with the digits beside it, nor do two numbers."""
    assert values.fold(one).text != values.fold(other).text


@given(st.text())
@example("\u0345\u0301a\u1100\u1161\u11a8 ﷺ½ŉ")
def test_folded_text_knows_where_it_came_from(text: str) -> None:
    """Every folded character has a place in the original, in order."""
    folded = values.fold(text)
    assert len(folded.starts) == len(folded.ends) == len(folded.text)
    assert sorted(folded.starts) == list(folded.starts)
    assert all(0 <= s < e <= len(text) for s, e in zip(folded.starts, folded.ends, strict=True))
    if folded.text:
        assert folded.place(0, len(folded.text)) == (folded.starts[0], folded.ends[-1])


CONFUSING = st.text(st.sampled_from(" .,-/:'()%€$0123459aAmM\n年月日①²٣\u00a0"), max_size=60)


@given(st.one_of(CONFUSING, st.text(max_size=80)))
def test_every_span_stands_where_it_says(text: str) -> None:
    """No text makes a reader fail, and what is found is what is printed at its place."""
    for finder in FINDERS:
        for found in finder(text):
            assert found.start < found.end
            assert text[found.start : found.end] == found.text
            assert found.value in found.readings


@given(CONFUSING)
def test_readings_have_the_digits_that_are_printed(text: str) -> None:
    """No reader makes up, drops or swaps a digit of a number."""
    for number in values.find_numbers(text):
        if number.percent:
            continue
        printed = "".join(c for c in values.plain(number.text) if c in string.digits)
        for reading in number.readings:
            digits = f"{reading.copy_abs():f}".replace(".", "")
            assert digits.strip("0") == printed.strip("0")


@pytest.mark.parametrize(
    "piece",
    [
        "1", "1,", "1 ", "123 ", "1/", "1-", "01.01.", "a", "a@", "a.", "a-", " ", "\n", "-\n", "a\u0301",
        "jan ", "1jan", "€", "(", "DE00 ", "DE1234567890 ", "http://", "10.1000/1 ", "1:", "12:00 ", "kr1", "1年1月",
        "04/03/2024 ", "+", "0", "1'", ".",
    ],
)  # fmt: skip
def test_hostile_text_takes_time_in_proportion(piece: str) -> None:
    """20,000 characters of anything take each reader far less than a second."""
    text = (piece * 20_000)[:20_000]
    for reader in (*FINDERS, values.fold):
        begun = time.perf_counter()
        reader(text)
        assert time.perf_counter() - begun < 2.0


@settings(max_examples=50)
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
def test_a_decimal_becomes_the_json_number_it_is(number: Decimal) -> None:
    """Whole numbers are ints, others the nearest float."""
    made = values.json_number(number)
    assert (
        made == number if isinstance(made, int) else abs(Decimal(made) - number) < Decimal("0.001")
    )
    assert isinstance(made, int) == (number == number.to_integral_value())


def _altered(text: str, place: int, digit: str) -> str:
    """The text with one of its digits replaced by another."""
    places = [number for number, char in enumerate(text) if char.isdecimal()]
    at = places[place % len(places)]
    assume(values.plain(text[at]) != digit)
    return text[:at] + digit + text[at + 1 :]
