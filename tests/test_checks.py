"""Check digits: numbers as printed pass, one changed sign does not, and every failure says why."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.rules import CHECKS, broken, made
from pipeline.rules.checks import fault
from pipeline.schema import Schema

#: Of each check numbers in several forms of print; all of them are published examples.
GOOD: dict[str, list[Any]] = {
    "bic": ["DEUTDEFF", "DEUTDEFF500", "deut de ff", "BIC: NEDSZAJJXXX"],
    "credit_card": ["4111 1111 1111 1111", "5555-5555-5555-4444", "378282246310005"],
    "cusip": ["037833100", "037 833 100"],
    "ean": ["4006381333931", "96385074", "0 12345 67890 5", 4006381333931],
    "figi": ["BBG000BLNQ16"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "IBAN: FR14-2004-1010-0505-0001-3M02-606", "de89370400440532013000"],
    "imei": ["490154203237518", "49-015420-323751-8"],
    "imo": ["IMO 9319466", "9319466"],
    "isbn": ["978-3-16-148410-0", "0-306-40615-2", "ISBN-13: 978-3-16-148410-0", "9783161484100"],
    "isin": ["US0378331005", "US 037833100 5"],
    "ismn": ["979-0-2600-0043-8"],
    "iso11649": ["RF18 5390 0754 7034"],
    "iso6346": ["CSQU 305438-3"],
    "isrc": ["US-S1Z-99-00001"],
    "issn": ["0317-8471", "ISSN 2049-3630"],
    "lei": ["5493 0084 UKLV MY22 DS16", "529900T8BM49AURSDO55"],
    "luhn": ["79927398713", 79927398713],
    "vat_id": ["DE136695976", "ATU 13585627", "BE 0428.759.497", "GB 980 7806 84", "CHE-107.787.577 IVA", "CHE-100.155.212", "NO 995 525 828 MVA", "NL004495445B01", "FR 61 954 506 077", "VAT No.: IT00743110157"],
}  # fmt: skip
#: One sign is another one, or the number is that of nobody.
BAD: dict[str, list[Any]] = {
    "bic": ["DEUTXXFF", "DEUT", "1234DEFF"],
    "credit_card": ["4111 1111 1111 1112", "0", "**** **** **** 1111"],
    "ean": ["4006381333932", "40063813339"],
    "iban": ["DE89 3704 0044 0532 0130 01", "DE8937040044053201300", "XX89370400440532013000", "none", True, 1.5, ["DE"], {}],
    "isbn": ["978-3-16-148410-1", "12345"],
    "issn": ["0317-8472"],
    "lei": ["529900T8BM49AURSDO56"],
    "isin": ["US0378331006"],
    "vat_id": ["DE136695977", "136695976", "CHE-100.155.213", "GB 980 7806 85", "NO 995 525 829 MVA", "AU 51 824 753 556"],
}  # fmt: skip


def test_every_check_has_examples() -> None:
    assert GOOD.keys() == CHECKS.keys()


@pytest.mark.parametrize(("check", "value"), [(c, v) for c in GOOD for v in GOOD[c]], ids=repr)
def test_a_number_as_printed_passes(check: str, value: Any) -> None:
    assert fault(check, value) is None


@pytest.mark.parametrize(("check", "value"), [(c, v) for c in BAD for v in BAD[c]], ids=repr)
def test_what_is_no_such_number_is_told_why(check: str, value: Any) -> None:
    assert fault(check, value)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_one_wrong_digit_of_an_iban_never_passes(data: st.DataObject) -> None:
    iban = "DE89370400440532013000"
    place = data.draw(st.integers(2, len(iban) - 1))
    digit = data.draw(st.sampled_from("0123456789".replace(iban[place], "")))
    why = fault("iban", iban[:place] + digit + iban[place + 1 :])
    assert why is not None
    assert "check digits do not fit" in why


@given(
    st.sampled_from(sorted(CHECKS)),
    st.text(max_size=30) | st.text("0123456789ABCDEIBNO+*-. /²٣", max_size=30) | st.integers(),
)
@settings(max_examples=600, deadline=None)
def test_no_text_makes_a_check_fail_otherwise(check: str, value: Any) -> None:
    why = fault(check, value)
    assert why is None or why.startswith("is ")


@given(
    st.sampled_from(
        ["DE", "AT", "FR", "ES", "IE", "NL", "CHE", "GB", "NO", "EL", "XI", "EU", "SE", "CY"]
    ),
    st.text("0123456789ABUX+*", max_size=14),
)
@settings(max_examples=400, deadline=None)
def test_no_vat_number_of_any_country_does(prefix: str, rest: str) -> None:
    fault("vat_id", prefix + rest)


SCHEMA = Schema.of(
    {
        "type": "object",
        "properties": {
            "IBAN": {"type": ["string", "null"]},
            "seller": {
                "type": "object",
                "properties": {"vatId": {"type": "string"}, "account": {"type": "string"}},
            },
            "books": {
                "type": "array",
                "items": {"type": "object", "properties": {"isbn": {"type": "string"}}},
            },
            "ean": {"type": "array", "items": {"type": "string"}},
        },
    }
)


def test_a_bare_name_is_about_every_field_of_that_name() -> None:
    """Whatever its case; in rows, in lists, and nested."""
    rules = made(["iban", "vat_id", "isbn", "ean"], SCHEMA.tree, "x")
    data = {
        "IBAN": "DE00",
        "seller": {"vatId": "DE1", "account": "x"},
        "books": [{"isbn": "9783161484100"}, {"isbn": "9783161484101"}],
        "ean": ["96385074", "96385075"],
    }
    found = broken(rules, data)
    assert [(each.rule, each.pointer) for each in found] == [
        ("iban", "/IBAN"),
        ("vat_id", "/seller/vatId"),
        ("isbn", "/books/1/isbn"),
        ("ean", "/ean/1"),
    ]
    assert found[2].message.startswith('"9783161484101" is not an ISBN: its check digits')


def test_a_table_names_the_field() -> None:
    rule = {"check": "iban", "field": "seller.account", "severity": "warning"}
    (found,) = broken(made([rule], SCHEMA.tree, "x"), {"seller": {"account": "x"}})
    assert (found.rule, found.pointer, found.severity) == ("iban", "/seller/account", "warning")
    (found,) = broken(
        made([{"check": "isbn", "field": "/books/*/isbn"}], SCHEMA.tree, "x"),
        {"books": [{"isbn": "1"}]},
    )
    assert found.pointer == "/books/0/isbn"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_not_there_is_not_checked(value: Any) -> None:
    assert broken(made(["iban"], SCHEMA.tree, "x"), {"IBAN": value}) == []
    assert broken(made(["iban"], SCHEMA.tree, "x"), {}) == []
