"""Validation: what JSON Schema and pydantic say, as Findings a person understands, whatever the data is."""

import datetime as dt
import json
import math
import sys
import time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for
from pydantic import BaseModel, Field, field_validator
from referencing import Registry

from pipeline.errors import SchemaError
from pipeline.results import Finding
from pipeline.schema import Schema
from pipeline.validators import check, keywords

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def found(body: dict[str, Any], data: Any) -> list[tuple[str, str]]:
    """Rule and pointer of each finding."""
    return [(finding.rule, finding.pointer) for finding in check(Schema("x", body), data)]


def of(**properties: Any) -> dict[str, Any]:
    """A schema of an object with these properties."""
    return {"type": "object", "properties": properties}


def test_valid_data_has_no_findings() -> None:
    """Nothing found means valid."""
    body = of(day={"type": "string", "format": "date"}, total={"type": "number"})
    assert found(body, {"day": "2024-03-05", "total": 12.5}) == []


@pytest.mark.parametrize(
    ("body", "data", "rule", "pointer", "words"),
    [
        (of() | {"required": ["a/b"]}, {}, "required", "/a~1b", '"a/b" is missing; the schema requires it'),
        (of(n={"type": "number"}), {"n": "x"}, "type", "/n", '"x" is a text; the schema wants a number'),
        (of(n={"type": ["integer", "null"]}), {"n": True}, "type", "/n", "true is true or false; the schema wants a whole number or null"),
        (of(n={"type": "string"}), {"n": {"a": 1}}, "type", "/n", "an object with 1 field; the schema wants a text"),
        (of(d={"format": "date"}), {"d": "5.3.24"}, "format", "/d", '"5.3.24" is not a date (YYYY-MM-DD)'),
        (of(e={"enum": ["a", "b"]}), {"e": "c"}, "enum", "/e", '"c" is none of "a", "b"'),
        (of(c={"const": 1}), {"c": 2}, "const", "/c", "2 is not 1, the only value allowed"),
        (of(p={"pattern": "^A"}), {"p": "B"}, "pattern", "/p", '"B" does not match the pattern "^A"'),
        (of() | {"additionalProperties": False}, {"x~y": 1}, "additionalProperties", "/x~0y", '"x~y" is not a field of the schema'),
        (of(n={"minimum": 0}), {"n": -1}, "minimum", "/n", "-1 is less than 0, the least allowed"),
        (of(s={"minLength": 1}), {"s": ""}, "minLength", "/s", '"" has 0 characters; at least 1 are wanted'),
        (of(a={"minItems": 2}), {"a": [1]}, "minItems", "/a", "the list has 1 item; at least 2 are wanted"),
        (of(a={"uniqueItems": True}), {"a": [{"x": 1}, {"x": 1.0}]}, "uniqueItems", "/a", "of the 2 items some are equal; each may stand once"),
        (of(a={"items": {"type": "number"}}), {"a": [1, "2"]}, "type", "/a/1", '"2" is a text; the schema wants a number'),
        (of(x=False), {"x": 1}, "properties", "/x", '"x" is a field that the schema allows no value'),
        ({"allOf": [False]}, 1, "not_allowed", "", "1 stands where the schema allows nothing"),
    ],
)  # fmt: skip
def test_a_fault_is_a_sentence_at_its_place(
    body: dict[str, Any], data: Any, rule: str, pointer: str, words: str
) -> None:
    """The rule is the JSON Schema keyword; a missing key has the pointer it would have."""
    assert check(Schema("x", body), data) == [Finding(rule, pointer, words, "error")]


def test_unique_items_tell_true_from_one() -> None:
    """As JSON does."""
    assert found({"uniqueItems": True}, [1, True, 0, False, "1", [1], [True]]) == []


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_of_a_union_the_branch_that_was_meant_is_reported(keyword: str) -> None:
    """A wrong date that may also be null is a wrong date; with no branch near, the union is named."""
    date_or_null = {keyword: [{"type": "string", "format": "date"}, {"type": "null"}]}
    assert found(of(d=date_or_null), {"d": "5.3.24"}) == [("format", "/d")]
    assert found(of(d=date_or_null), {"d": 5}) == [(keyword, "/d")]
    rows = {keyword: [{"type": "array", "items": {"type": "number"}}, {"type": "null"}]}
    assert found(of(d=rows), {"d": ["x"]}) == [("type", "/d/0")]


def test_the_draft_is_the_schemas_own() -> None:
    """`exclusiveMinimum: true` is draft 4; without `$schema` it is 2020-12."""
    body = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "minimum": 5,
        "exclusiveMinimum": True,
    }
    assert found(body, 5) == [("minimum", "")]
    assert found({"prefixItems": [{"type": "string"}]}, [1]) == [("type", "/0")]


def test_numbers_that_json_does_not_have_are_findings() -> None:
    """NaN and Infinity, wherever they stand."""
    data = {"a": [1.0, math.nan], "b/c": math.inf, "d": Decimal("NaN")}
    assert found({}, data) == [
        ("not_finite", "/a/1"),
        ("not_finite", "/b~1c"),
        ("not_finite", "/d"),
    ]


def test_messages_stay_short_and_harmless() -> None:
    """Megabytes of data, control characters and lone surrogates never reach a terminal."""
    data = {
        "a": "x" * 5_000_000,
        "b": "\x1b[2J\u202e\ud800",
        "c": 10**400,
        "d": ["y" * 1000] * 1000,
    }
    for finding in check(Schema("x", {"additionalProperties": {"type": "null"}}), data):
        assert len(finding.message) < 200
        assert finding.message.isprintable()
        finding.message.encode()


def test_findings_without_number_are_counted() -> None:
    """A list of 1,000, and one that says there are more."""
    findings = check(Schema("x", {"additionalProperties": False}), {str(n): n for n in range(3000)})
    assert len(findings) == 1001
    assert findings[-1].rule == "too_many"


class Line(BaseModel):
    """A row whose amount has a rule that JSON Schema can't say."""

    amount: Decimal
    day: dt.date | None = None

    @field_validator("amount")
    @classmethod
    def not_negative(cls, amount: Decimal) -> Decimal:
        """A rule of the author."""
        if amount < 0:
            raise ValueError("is negative")
        return amount


class Card(BaseModel):
    """One branch of a union."""

    card: str


class Cash(BaseModel):
    """The other branch."""

    cash: bool


class Bill(BaseModel):
    """A model with rows, an alias and a union."""

    lines: list[Line]
    total: float = Field(alias="grandTotal")
    paid: Card | Cash


BILL = Schema.of(Bill)
GOOD = {
    "lines": [{"amount": "1.50", "day": "2024-03-05"}],
    "grandTotal": 1.5,
    "paid": {"cash": True},
}


def test_the_models_own_rules_are_findings() -> None:
    """With pydantic's kind of error, at the place in the data."""
    assert check(BILL, GOOD) == []
    bad = GOOD | {"lines": [{"amount": "1"}, {"amount": "-2"}]}
    assert check(BILL, bad) == [
        Finding("model:value_error", "/lines/1/amount", '"-2": is negative')
    ]


def test_the_model_does_not_repeat_what_json_schema_said() -> None:
    """One fault, one finding: at the same place, and below a union that nothing fits."""
    assert [f.rule for f in check(BILL, {})] == ["required", "required", "required"]
    bad = GOOD | {"lines": [{"amount": "1", "day": "5.3.24"}], "paid": {"card": 1}}
    assert [(f.rule, f.pointer) for f in check(BILL, bad)] == [
        ("format", "/lines/0/day"),
        ("anyOf", "/paid"),
    ]


class Odd(BaseModel):
    """A model whose author made a mistake."""

    a: int

    @field_validator("a")
    @classmethod
    def broken(cls, a: int) -> int:
        """Raises what pydantic does not catch."""
        raise KeyError("no such thing")


def test_a_model_that_breaks_is_a_finding() -> None:
    """The author's exception is told, not raised."""
    (finding,) = check(Schema.of(Odd), {"a": 1})
    assert finding.rule == "model:error"
    assert "KeyError" in finding.message


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (of(a={"pattern": "^(a|aa)+$"}), {"a": "a" * 100 + "!"}),
        ({"patternProperties": {"^(a|aa)+$": {}}}, {"a" * 100 + "!": 1}),
        (
            {"patternProperties": {"^(a|aa)+$": {}}, "additionalProperties": False},
            {"a" * 100 + "!": 1},
        ),
        (
            {"patternProperties": {"^(a|aa)+$": {}}, "unevaluatedProperties": False},
            {"a" * 100 + "!": 1},
        ),
    ],
    ids=["pattern", "patternProperties", "additionalProperties", "unevaluatedProperties"],
)
def test_a_pattern_that_never_ends_is_ended(
    body: dict[str, Any], data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All patterns of a document have a time together; then it is said which took too long."""
    monkeypatch.setattr(keywords, "_Left", partial(keywords._Left, seconds=0.2))
    begun = time.monotonic()
    assert found(body, data) == [("too_slow", "")]
    assert time.monotonic() - begun < 10


def test_references_that_double_without_end_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema of forty lines can ask for a trillion steps."""
    monkeypatch.setattr(keywords, "_Left", partial(keywords._Left, references=5000))
    defs: dict[str, Any] = {"d0": {"type": "string"}}
    for n in range(1, 40):
        defs[f"d{n}"] = {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2}
    assert found({"$ref": "#/$defs/d39", "$defs": defs}, "x") == [("too_slow", "")]


@pytest.mark.skipif(
    sys.gettrace() is not None, reason="a tracer at the end of the stack makes rpds panic"
)
def test_nesting_without_end_is_a_finding() -> None:
    """In the schema and in the data."""
    assert found({"$ref": "#"}, {"a": 1}) == [("too_deep", "")]
    data: dict[str, Any] = {}
    for _ in range(5000):
        data = {"a": data}
    assert found(of(a={"$ref": "#"}), data) == [("too_deep", "")]
    assert found({}, data) == []
    while data:  # taken apart by hand: freeing it at once would recurse
        data = data.pop("a")


def test_numbers_too_large_are_findings() -> None:
    """Where a float can't hold a number, and where Python refuses to print it."""
    assert found({"multipleOf": 0.5}, 10**400) == [("too_large", "")]
    assert found({"type": "string"}, 10**5000) == [("too_large", "")]


def test_nothing_is_fetched() -> None:
    """A reference to elsewhere is the schema's mistake; tests run without a network."""
    with pytest.raises(SchemaError, match=r"can't be resolved"):
        check(Schema("x", of(a={"$ref": "http://localhost:9/x"})), {"a": 1})


def test_a_pattern_that_is_none_is_the_schemas_mistake() -> None:
    """Told as our own error."""
    with pytest.raises(SchemaError, match=r"not a regular expression"):
        check(Schema("x", of(a={"pattern": "("})), {"a": "x"})


@pytest.mark.parametrize("form", sorted({"iri", *Draft202012Validator.FORMAT_CHECKER.checkers}))
def test_hostile_text_in_any_format_is_decided_quickly(form: str) -> None:
    """Long and odd texts: a verdict within a second or two, and no crash."""
    texts = [
        "a" * 5000,
        "http://" + "a." * 2500,
        "/" * 5000,
        "(" * 5000,
        "1" * 5000,
        "\ud800" * 9,
        "[[",
        "",
    ]
    begun = time.monotonic()
    for text in texts:
        assert {rule for rule, _ in found({"format": form}, text)} <= {"format"}
    assert time.monotonic() - begun < 5


def test_iris_are_told_from_others() -> None:
    """They are checked as the URIs they stand for."""
    assert found({"format": "iri"}, "https://exämple.org/ü") == []
    assert found({"format": "iri"}, "https://exämple.org/" + "ü" * 500) == []
    assert found({"format": "iri"}, "no iri") == [("format", "")]
    assert found({"format": "iri-reference"}, "ü/x") == []
    assert (
        found({"$schema": "http://json-schema.org/draft-04/schema#", "format": "iri"}, "no iri")
        == []
    )


@given(
    JSON,
    st.sampled_from(
        [of(a={"type": "string"}), {"items": {"minimum": 3}}, {"enum": [1, "a", None]}, {}]
    ),
)
def test_findings_agree_with_plain_jsonschema(data: Any, body: dict[str, Any]) -> None:
    """Whatever the data: found nothing if and only if it is valid and all its numbers are JSON's."""
    plain = Draft202012Validator(body).is_valid(data)
    finite = "NaN" not in (text := json.dumps(data)) and "Infinity" not in text
    rules = {rule for rule, _ in found(body, data)}
    assert (rules - {"not_finite"} == set()) == plain
    if finite:
        assert "not_finite" not in rules


@pytest.mark.corpus
def test_the_official_test_suite_agrees_with_plain_jsonschema(corpus: Path) -> None:
    """All of draft 2020-12; where plain jsonschema can't read a pattern, ours is as the suite expects."""
    asked = 0
    for file in sorted((corpus / "json-schema" / "test-suite-2020-12").glob("*.json")):
        for case in json.loads(file.read_bytes()):
            body = (
                case["schema"] if isinstance(case["schema"], dict) else {"allOf": [case["schema"]]}
            )
            for test in case["tests"]:
                asked += 1
                ours = _ours(body, test["data"])
                plain = _plain(body, test["data"])
                wanted = {plain} if isinstance(plain, bool) else {test["valid"], "SchemaError"}
                if file.stem == "optional-format-ecmascript-regex" or '"iri' in json.dumps(body):
                    wanted |= {test["valid"], False}  # plain jsonschema reads neither
                assert ours in wanted, (file.name, case["description"], test["description"])
    assert asked > 2000


def _ours(body: dict[str, Any], data: Any) -> bool | str:
    try:
        return not check(Schema("x", body), data)
    except SchemaError:
        return "SchemaError"


def _plain(body: dict[str, Any], data: Any) -> bool | str:
    kind = validator_for(body, default=Draft202012Validator)
    try:
        return bool(
            kind(body, registry=Registry(), format_checker=kind.FORMAT_CHECKER).is_valid(data)
        )
    except Exception as error:  # noqa: BLE001, whatever it is, it is not a verdict
        return type(error).__name__
