"""The short form of a schema: what it allows, keeps and refuses."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipeline.errors import SchemaError
from pipeline.schema import Schema
from pipeline.schema.short import TYPES, parse
from pipeline.schema.tree import tree
from tests.test_schema import types


def test_every_type_of_the_short_form_may_be_null_and_is_demanded() -> None:
    """A document that does not say a field has null there, never a missing key."""
    body = parse(", ".join(f"f_{name} {name}" for name in TYPES))
    validator = Draft202012Validator(body, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert body["required"] == list(body["properties"]) == [f"f_{name}" for name in TYPES]
    assert validator.is_valid(dict.fromkeys(body["properties"]))
    assert not validator.is_valid({})
    assert not validator.is_valid(dict.fromkeys([*body["properties"], "more"]))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("str", ["a", ""], [1]),
        ("int", [3], [3.5, "3"]),
        ("float", [3, 3.5], ["3"]),
        ("bool", [True], ["true"]),
        ("date", ["2024-02-29"], ["2023-02-29", "29.02.2024"]),
        (
            "datetime",
            ["2024-02-29T12:30", "2024-02-29T12:30:59"],
            ["2024-02-29", "2024-02-29T24:30"],
        ),
        ("time", ["07:05", "23:59:59"], ["7:05", "24:00", "12:60"]),
        ("email", ["a@b.example"], ["a.example"]),
        ("url", ["https://a.example/b", "www.a.example"], ["a b"]),
        ("str[]", [[], ["a"]], [["a", None], "a", None]),
        ("date[]", [["2024-02-29"]], [["today"]]),
    ],
)
def test_types_of_the_short_form_allow_what_they_name(
    kind: str, good: list[Any], bad: list[Any]
) -> None:
    """Times without a zone and addresses without a scheme are what documents print."""
    validator = Draft202012Validator(
        parse(f"x {kind}"), format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    assert all(validator.is_valid({"x": value}) for value in good)
    assert not any(validator.is_valid({"x": value}) for value in bad)


def test_names_of_the_short_form_may_be_their_type() -> None:
    """`date` alone is a date; with a type behind it, it is that type."""
    properties = parse("date, email, url, time, datetime, total")["properties"]
    assert properties["date"]["format"] == "date"
    assert properties["email"]["format"] == "email"
    assert properties["time"]["format"] == "time-local"
    assert properties["total"] == {"type": ["string", "null"]}
    assert "format" not in parse("date str")["properties"]["date"]


def test_lines_of_the_short_form_may_hold_commas() -> None:
    """In descriptions; a comma at the end of a line is nobody's mistake."""
    body = parse(
        "\n  vendor: who sells, with its legal form\n  total float : gross,\n\n  tags str[]\n"
    )
    assert list(body["properties"]) == ["vendor", "total", "tags"]
    assert body["properties"]["vendor"]["description"] == "who sells, with its legal form"
    assert body["properties"]["total"]["description"] == "gross"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" , ,", "at least one field, like 'vendor"),
        ("vendor name", "the field 'vendor name': 'name' is not a type; types are str, int,"),
        ("total money", "'money' is not a type"),
        ("total Float", "'Float' is not a type"),
        ("tags str[][]", "'str[][]' is not a type"),
        ("2nd str", "'2nd' is not a name"),
        ("vendor, incl. VAT", "'incl.' is not a name"),
        ("vendor: a, b c d", "'c d' is not a type"),
        (": text", "'' is not a name"),
        ("a, b, a int", "the field 'a' is there twice"),
    ],
)
def test_mistakes_of_the_short_form_name_the_field(text: str, says: str) -> None:
    """And show how it is written."""
    with pytest.raises(SchemaError, match=re.escape(says)):
        parse(text)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_schema_in_the_short_form_or_a_sentence(text: str) -> None:
    """Nothing else ever comes out."""
    try:
        body = parse(text)
    except SchemaError:
        return
    Draft202012Validator.check_schema(body)
    assert types(tree(body)).keys() >= {
        f"/{name}" for name in body["properties"] if "items" not in body["properties"][name]
    }


_FIELD = st.tuples(
    st.from_regex(r"[a-zäßé][a-z0-9_]{0,8}", fullmatch=True),
    st.sampled_from([*TYPES]),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(_FIELD, min_size=1, max_size=8, unique_by=lambda field: field[0]))
def test_fields_of_the_short_form_keep_name_type_and_order(
    fields: list[tuple[str, str, bool]],
) -> None:
    """What was written is what is asked."""
    body = parse(", ".join(f"{name} {kind}{'[]' * many}" for name, kind, many in fields))
    assert list(body["properties"]) == [name for name, *_ in fields]
    for name, kind, many in fields:
        sub = body["properties"][name]
        said = sub["items"]["type"] if many else sub["type"][0]
        assert said == TYPES[kind]["type"]


@pytest.mark.parametrize(
    ("name", "line"),
    [("vendor", "'vendor str'"), ("date", "'date date'"), ("total", "'total str'")],
)
def test_one_word_alone_is_the_name_of_a_schema_and_the_way_out_is_told(
    name: str, line: str
) -> None:
    """One field alone needs its type; what the message proposes is a schema."""
    with pytest.raises(SchemaError, match=re.escape(f"one field alone needs its type: {line}")):
        Schema.of(name)
    assert list(Schema.of(line.strip("'")).body["properties"]) == [name]
