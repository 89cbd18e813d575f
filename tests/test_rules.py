"""Rules of a stage: what they say about data, exact to the last digit, and what is said of a wrong one."""

import json
import operator
import time
from datetime import date, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answer import parse
from pipeline.api import validate
from pipeline.config import Call, plan
from pipeline.errors import ConfigError, UsageError
from pipeline.judge import judge
from pipeline.results import Finding, leaves
from pipeline.rules import broken, made, verdicts
from pipeline.rules.parsing import LONGEST, NotARule, parsed
from pipeline.schema import Schema
from pipeline.stages import Stage
from pipeline.writers import dump
from tests.test_cli import fieldsift, results

_AMOUNT = {"type": ["number", "string", "null"]}
SCHEMA = Schema.of(
    {
        "type": "object",
        "properties": {
            "net": _AMOUNT,
            "vat": _AMOUNT,
            "total": _AMOUNT,
            "issued": {"type": ["string", "null"]},
            "due": {"type": ["string", "null"]},
            "currency": {"type": ["string", "null"]},
            "paid": {"type": ["boolean", "null"]},
            "iban": {"type": ["string", "null"]},
            "net amount": _AMOUNT,
            "a/b": _AMOUNT,
            "seller": {
                "type": "object",
                "properties": {"account": {"type": "string"}, "name": {"type": "string"}},
            },
            "lines": {
                "type": ["array", "null"],
                "items": {
                    "type": "object",
                    "properties": {"quantity": _AMOUNT, "price": _AMOUNT, "amount": _AMOUNT},
                },
            },
            "orders": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "total": _AMOUNT,
                        "lines": {
                            "type": "array",
                            "items": {"type": "object", "properties": {"amount": _AMOUNT}},
                        },
                    },
                },
            },
            "tags": {"type": "array", "items": {"type": "string"}},
            "open": {"type": "object"},
        },
    }
)


def said(rule: Any, data: Any) -> list[Finding]:
    """What a rule finds."""
    return broken(made([rule], SCHEMA.tree, "invoice"), data)


def holds(rule: Any, data: Any) -> bool | None:
    """Whether a rule holds everywhere; None where it says nothing."""
    told = [each.holds for each in verdicts(made([rule], SCHEMA.tree, "invoice"), data)]
    return all(told) if told else None


def refused(*rules: Any) -> str:
    """What is said of rules that are none."""
    with pytest.raises(UsageError) as caught:
        made(rules, SCHEMA.tree, "invoice")
    return str(caught.value)


# What rules say


def test_sums_are_exact() -> None:
    """Three tenths are three tenths, however they were written down."""
    assert holds("net + vat == total", json.loads('{"net": 0.1, "vat": 0.2, "total": 0.3}')) is True
    assert holds("net * 3 == total", {"net": 1.1, "total": 3.3}) is True
    assert holds("net - vat == total", {"net": 1e16, "vat": 1, "total": 9999999999999999}) is True
    assert holds("net + vat == total", {"net": "12.50", "vat": 2.5, "total": 15}) is True
    assert holds("net / 3 * 3 == net", {"net": 100}) is True
    assert holds("net / 3 == total", {"net": 100, "total": 33.33}) is False


def test_a_finding_names_the_lone_leaf_the_others_and_both_values() -> None:
    (found,) = said("net + vat == total", {"net": 100, "vat": 19, "total": 120})
    assert (found.rule, found.pointer, found.severity) == ("net + vat == total", "/total", "error")
    assert found.related == ("/net", "/vat")
    assert "net + vat is 119, total is 120: 1 apart" in found.message


def test_rows_are_judged_one_by_one() -> None:
    lines = [
        {"quantity": 2, "price": 0.05, "amount": 0.1},
        {"quantity": 3, "price": 1.1, "amount": 3.4},
        {"quantity": 3, "price": None, "amount": 3.4},
        {"quantity": 3, "amount": 3.4},
    ]
    found = said("lines.quantity * lines.price == lines.amount", {"lines": lines})
    assert [each.pointer for each in found] == ["/lines/1/amount"]
    assert found[0].related == ("/lines/1/quantity", "/lines/1/price")


def test_sums_go_through_all_rows() -> None:
    data = {"net": 3.5, "lines": [{"amount": 0.1}, {"amount": 3.4}, {"amount": None}]}
    assert holds("sum(lines.amount) == net", data) is True
    (found,) = said("sum(lines.amount) == net", data | {"net": 4})
    assert found.pointer == "/net"
    assert found.related == ("/lines/0/amount", "/lines/1/amount", "/lines/2/amount")
    assert holds("count(lines) == 3 and count(lines.amount) == 2", data) is True
    assert holds("max(lines.amount) - min(lines.amount) == 3.3", data) is True
    assert holds("lines.amount <= sum(lines.amount)", data) is True


def test_a_sum_within_rows_is_that_of_the_row() -> None:
    orders = [
        {"total": 3, "lines": [{"amount": 1}, {"amount": 2}]},
        {"total": 4, "lines": [{"amount": 1}]},
    ]
    found = said("orders.total == sum(orders.lines.amount)", {"orders": orders})
    assert [(each.pointer, each.related) for each in found] == [
        ("/orders/1/total", ("/orders/1/lines/0/amount",))
    ]
    assert holds("sum(orders.lines.amount) == 4", {"orders": orders}) is True
    assert holds("sum(orders.total - sum(orders.lines.amount)) == 3", {"orders": orders}) is True


def test_many_leaves_of_a_sum_are_named_by_their_array() -> None:
    data = {"net": 1, "lines": [{"amount": 1}] * 101}
    (found,) = said("sum(lines.amount) == net", data)
    assert (found.pointer, found.related) == ("/net", ("/lines",))
    (found,) = said("count(lines) == 3", data)
    assert (found.pointer, found.related) == ("/lines", ())


def test_dates_have_an_order_and_days_between_them() -> None:
    data = {"issued": "2024-01-31", "due": "2024-02-14"}
    assert holds("issued <= due", data) is True
    assert holds("due < issued", data) is False
    assert holds("due - issued == 14", data) is True
    assert holds("issued + 14 == due", data) is True
    assert holds("due >= 2024-02-01 and issued < '2024-02-01'", data) is True
    assert holds("issued <= due", {"issued": "2024-02-14", "due": "2024-02-14T10:00:00Z"}) is True
    zones = {"issued": "2024-02-14T10:00:00+02:00", "due": "2024-02-14T09:00:00Z"}
    assert holds("issued < due", zones) is True


def test_what_has_no_order_is_a_finding_not_a_guess() -> None:
    """Texts are not put in order: a date as printed would come out wrong."""
    (found,) = said("issued <= due", {"issued": "30.09.2024", "due": "14.10.2024"})
    assert "have no order" in found.message
    (found,) = said(
        "sum(lines.amount) == net", {"net": 1, "lines": [{"amount": 1}, {"amount": "x"}]}
    )
    assert found.pointer == "/lines/1/amount"
    assert '"x" is no number' in found.message
    (found,) = said("net / vat == 3", {"net": 1, "vat": 0})
    assert (found.pointer, found.related) == ("/vat", ("/net",))
    assert "divided by zero" in found.message


@pytest.mark.parametrize(
    "data",
    [
        {"net": None, "vat": 1, "total": 2},
        {"vat": 1, "total": 2},
        {"net": "", "vat": 1, "total": 2},
        {},
        None,
        [],
        "x",
        {"net": 1, "vat": 1, "total": None},
    ],
)
def test_where_a_value_is_missing_a_rule_says_nothing(data: Any) -> None:
    """That it is missing is for the schema to say."""
    assert holds("net + vat == total", data) is None


def test_no_rows_are_not_the_same_as_no_array() -> None:
    assert holds("sum(lines.amount) == net", {"net": 5, "lines": []}) is False
    assert holds("sum(lines.amount) == net", {"net": 0, "lines": []}) is True
    assert holds("sum(lines.amount) == net", {"net": 5, "lines": None}) is None
    assert holds("sum(lines.amount) == net", {"net": 5}) is None
    assert holds("sum(lines.amount) == net", {"net": 5, "lines": [{"amount": None}]}) is None
    assert holds("max(lines.amount) == net", {"net": 5, "lines": []}) is None
    assert holds("count(lines) == 0", {"lines": []}) is True
    assert holds("count(lines) == 0 or sum(lines.amount) == net", {"net": 5, "lines": []}) is True


def test_and_or_not_leave_out_what_is_not_known() -> None:
    data = {"net": 1, "paid": True, "currency": "EUR"}
    assert holds("net == 1 or vat == 3", data) is True
    assert holds("net == 2 or vat == 3", data) is None
    assert holds("net == 2 and vat == 3", data) is False
    assert holds("net == 1 and vat == 3", data) is None
    assert holds("paid and not currency != 'EUR'", data) is True
    assert holds("iban != null or currency == null", data) is False
    assert holds("iban == null", data) is True
    assert holds("0 < net <= 1 < 2", data) is True


@pytest.mark.parametrize(
    ("tolerance", "total", "is_fine"),
    [
        ("0.01", 119.01, True),
        ("0.01", 119.011, False),
        (0.01, 118.99, True),
        (1, 120, True),
        ("1%", 120.2, True),
        ("1%", 120.21, False),
        ("0.5 %", 119.5, True),
    ],
)
def test_a_tolerance_is_absolute_or_a_share(tolerance: Any, total: float, is_fine: bool) -> None:
    rule = {"rule": "net + vat == total", "tolerance": tolerance}
    assert holds(rule, {"net": 100, "vat": 19, "total": total}) is is_fine
    unequal = {"rule": "net + vat != total", "tolerance": tolerance}
    assert holds(unequal, {"net": 100, "vat": 19, "total": total}) is not is_fine


def test_rounding_is_the_bookkeepers() -> None:
    assert holds("round(net * 0.19, 2) == vat", {"net": 0.5, "vat": 0.1}) is True
    assert holds("round(net) == vat", {"net": -2.5, "vat": -3}) is True
    assert holds("abs(net) == vat", {"net": -2.5, "vat": "2.50"}) is True


def test_odd_keys_stand_in_backticks() -> None:
    data = {"net amount": 1, "a/b": 2, "lines": [{"amount": 3}, {"amount": 4}]}
    assert holds("`net amount` * 2 == `a/b`", data) is True
    assert holds("`/a~1b` == 2", data) is True
    assert holds("`/lines/1/amount` == 4", data) is True
    assert holds("`/lines/*/amount` > 2", data) is True
    assert holds("open.anything == 5", {"open": {"anything": 5}}) is True


def test_a_warning_leaves_the_result_valid_and_a_name_is_its_rule() -> None:
    rule = {"rule": "net == 1", "name": "one", "severity": "warning"}
    (found,) = said(rule, {"net": 2})
    assert (found.rule, found.severity) == ("one", "warning")


# Rules that are none


def test_mistakes_are_told_all_at_once_with_place_and_way_out() -> None:
    told = refused("net + vta == total", "ibam", {"rule": "net == totl"}, {"check": "ibn"}, 5)
    assert "did you mean vat?\n  net + vta == total\n        ^" in told
    assert "did you mean the check 'iban'?" in told
    assert "did you mean total?" in told
    assert "there is no check 'ibn'" in told
    assert told.count("stage invoice: validate, ") == 5


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("net = total", "write == to compare"),
        ("net == 1 && vat == 2", "write and"),
        ("net == 19%", "0.19"),
        ("net +", "missing here"),
        ("(net == 1", "closing bracket"),
        ("net == 1)", "not expected"),
        ("net + vat", "neither true nor false"),
        ("1 == 1", "names no field"),
        ("avg(net) == 1", "there is no function avg"),
        ("seller == 1", "has fields"),
        ("(seller) == 1", "has fields"),
        ("sum(seller) == 1", "has fields"),
        ("name == 'x'", "did you mean seller.name?"),
        ("net.more == 1", "net has no fields"),
        ("lines.amount == orders.total", "nothing to do with each other"),
        ("issued == 2024-02-30", "no day of the calendar"),
        ("null == net", "null stands on the right"),
        ("round(net, vat) == 1", "whole number of decimal places"),
        ("net == 'x", "no end"),
        ("(" * 100 + "net" + ")" * 100 + " == 1", "nested at most"),
        ("not " * 100 + "paid", "nested at most"),
        ("net == " + "1" * LONGEST, "at most"),
        ({"rule": "net == 1", "tolerence": 1}, "unknown key 'tolerence'"),
        ({"rule": "net == 1", "tolerance": "much"}, "tolerance 'much'"),
        ({"rule": "net == 1", "tolerance": "-1"}, "tolerance '-1'"),
        ({"rule": "net == 1", "name": "A b"}, "a name is"),
        ({"rule": "net == 1", "severity": "fatal"}, "neither error nor warning"),
        ({"rule": "net == 1", "check": "iban"}, "a table"),
        ({"check": "iban", "field": "seller"}, "has fields"),
        ({"check": "iban", "field": "seller.acount"}, "did you mean seller.account?"),
        ("lei", "no field named lei"),
    ],
)
def test_a_text_that_is_no_rule_is_told_why(rule: Any, why: str) -> None:
    assert why in refused(rule)


def test_rules_are_a_list() -> None:
    with pytest.raises(UsageError, match="validate is a list"):
        Stage("invoice", SCHEMA, validate="iban")


# Whatever comes


@given(
    st.text(
        st.sampled_from("netva lines.amount()+-*/<=>!'\"`,0123456789 andornot_[]é\n"), max_size=60
    )
)
@settings(max_examples=400, deadline=None)
def test_no_text_makes_the_parser_fail_otherwise_than_by_its_own_error(text: str) -> None:
    place = 0
    try:
        parsed(text)
    except NotARule as error:
        place = error.place
    assert 0 <= place <= len(text)


_NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9)  # fmt: skip
_SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(_SIGNS)), _NUMBERS), min_size=1, max_size=8), _NUMBERS
)
@settings(max_examples=200, deadline=None)
def test_a_rule_reckons_as_pythons_decimals_do(
    more: list[tuple[str, Decimal]], first: Decimal
) -> None:
    """Any chain of operations, taken from the left in brackets."""
    text, value = "net", first
    data: dict[str, Any] = {"net": str(first) if first else 0}
    with localcontext() as context:
        context.prec = 1000
        for sign, number in more:
            text = f"({text} {sign} {abs(number):f})"
            value = _SIGNS[sign](value, abs(number))
        data["total"] = f"{value:f}" if value else 0
        assert holds(f"{text} == total", data) is True
        data["total"] = f"{value + Decimal('0.00000001'):f}"
        assert holds(f"{text} == total", data) is False


@given(st.dates(), st.integers(-(10**6), 10**6))
@settings(max_examples=100, deadline=None)
def test_days_are_added_as_the_calendar_has_them(day: date, days: int) -> None:
    data = {"issued": day.isoformat(), "net": days}
    try:
        data["due"] = (day + timedelta(days=days)).isoformat()
    except OverflowError:
        assert (
            "no day of the calendar"
            in said("issued + net > due", data | {"due": "2024-01-01"})[0].message
        )
    else:
        assert holds("issued + net == due", data) is True
        assert holds("due - issued == net", data) is True


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["net", "lines", "amount", "total"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
_RULES = made(
    [
        "net + vat == total", "sum(lines.amount) == net", "lines.quantity * lines.price == lines.amount",
        "issued <= due", "orders.total == sum(orders.lines.amount)", "max(lines.amount, lines.price) / net < 3",
        "paid", "round(abs(net), 2) == total or iban == null", "count(lines) > count(orders.lines)", "tags == 'x'",
        "iban", {"check": "vat_id", "field": "lines.amount"},
    ],
    SCHEMA.tree, "invoice",
)  # fmt: skip


@given(_JSON)
@settings(max_examples=300, deadline=None)
def test_no_data_makes_a_rule_fail(data: Any) -> None:
    for found in broken(_RULES, data):
        assert found.message


def test_numbers_beyond_all_measure_are_findings_in_no_time() -> None:
    begun = time.perf_counter()
    huge = [10**100_000, -(10**100_000), Decimal("1e1000000000"), Decimal("1e-1000000000"), 1e308, float("inf"), float("nan"), "9" * 100_000, 10**4000, "1e99999999"]  # fmt: skip
    for first in huge:
        for second in huge:
            data = {"net": first, "vat": second, "total": first, "lines": [{"amount": first}] * 3}
            for rule in ("net + vat == total", "net * vat / net <= total", "sum(lines.amount) == net", "round(net, 2) == vat"):  # fmt: skip
                assert all(len(each.message) < 600 for each in said(rule, data))
    assert time.perf_counter() - begun < 10


def test_time_is_linear_in_the_rows() -> None:
    """Also of a sum that every row asks for."""

    def seconds(rows: int) -> float:
        lines = [{"quantity": 2, "price": 1.5, "amount": 3.01}] * rows
        rules = made(["lines.amount / sum(lines.amount) < 0.0001", "lines.quantity * lines.price == lines.amount"], SCHEMA.tree, "x")  # fmt: skip
        begun = time.perf_counter()
        assert sum(1 for _ in verdicts(rules, {"lines": lines})) == 2 * rows
        return time.perf_counter() - begun

    seconds(100)
    assert seconds(3000) < 12 * max(seconds(750), 0.02)


# Exact from the answer to the file


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12),
    st.integers(0, 6),
)
@settings(max_examples=300, deadline=None)
def test_a_decimal_of_15_digits_comes_out_as_it_came_in(number: Decimal, places: int) -> None:
    """From the answer's text through the data to rules and to the file, with the value that was written."""
    text = f"{number:.{places}f}"
    text = text if len(text.lstrip("-0.").replace(".", "")) <= 15 else text[:15].rstrip(".")
    data = parse(f'{{"net": {text}}}')
    assert Decimal(json.loads(dump(data), parse_float=str, parse_int=str)["net"]) == Decimal(text)
    assert holds("net == total", {"net": data["net"], "total": text if float(text) else 0}) is True


@pytest.mark.parametrize(
    "text", ["1234567.891", "123456789012345678901234567890", "0.1", "-7", "1e2"]
)
def test_numbers_stay_as_they_are(text: str) -> None:
    data = parse(f'{{"net": {text}}}')
    assert Decimal(json.dumps(data["net"])) == Decimal(text)
    assert json.loads(dump(data)) == data


def test_trailing_zeros_are_a_matter_of_texts() -> None:
    """A number has none; an amount that the schema wants as a text keeps them, and is one all the same."""
    assert dump(parse('{"net": 5109.50}')) == '{"net":5109.5}'
    assert dump(parse('{"net": "5109.50"}')) == '{"net":"5109.50"}'
    assert holds("net == total", {"net": "5109.50", "total": 5109.5}) is True


# Stages, files, CI


def test_a_stage_holds_its_rules_as_plain_data() -> None:
    given = [
        "iban",
        "net + vat == total",
        {"rule": "net == 1", "tolerance": "0.01", "severity": "warning"},
    ]
    stage = Stage("invoice", SCHEMA, validate=given)
    told = json.loads(json.dumps(stage.to_json()))
    assert told["validate"] == given
    assert Stage("invoice", SCHEMA, validate=told["validate"]) == stage
    assert stage.on("local").validate == stage.validate
    assert stage.sha256 != Stage("invoice", SCHEMA).sha256


def test_judging_applies_the_rules_of_the_stage() -> None:
    stage = Stage("invoice", SCHEMA, validate=["net + vat == total", "iban"])
    data = {"net": 1, "vat": 1, "total": 3, "iban": "DE89 3704 0044 0532 0130 01"}
    assert [(each.rule, each.pointer) for each in judge(stage, data)] == [
        ("net + vat == total", "/total"),
        ("iban", "/iban"),
    ]


FILE = """\
version = 1
[run]
model = "local"
input = "inbox"
output = "out"

[[stage]]
name = "invoice"
schema = "net float, vat float, total float"
validate = {}
"""


def test_the_pipeline_file_says_the_line_of_a_wrong_rule(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(FILE.format('["net + vta == total", { rule = "total >= ne" }]'))
    with pytest.raises(ConfigError) as caught:
        plan({}, Call(file))
    told = str(caught.value)
    assert f"{file}: line 10: stage invoice: validate, 1: the schema has no field vta" in told
    assert "validate, 2" in told
    file.write_text(FILE.format('["net > 0", { rule = "net > 0", tolerence = 1 }, 5]'))
    with pytest.raises(ConfigError) as caught:
        plan({}, Call(file))
    assert "line 10: unknown key 'tolerence' in [stage.validate]: did you mean 'tolerance'?" in str(caught.value)  # fmt: skip
    assert "a rule is a text" in str(caught.value)


def test_a_run_and_validate_apply_the_rules_of_the_file(tmp_path: Path) -> None:
    """What breaks them is rejected; `validate` says so again from run.json, and knows the rules by name."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/a.txt").write_text("Net 100.00\nVAT 19.00\nTotal 119.00\n")
    (tmp_path / "inbox/b.txt").write_text("Net 100.00\nVAT 19.00\nTotal 120.00\n")
    rule = '{ rule = "max(net, 1) + vat == total", name = "adds-up" }, "max(net, vat) < total"'
    (tmp_path / "pipeline.toml").write_text(FILE.format(f"[{rule}]"))
    fieldsift("run", cwd=tmp_path, code=1)
    lines = results(tmp_path / "out")
    assert {name: line["status"] for name, line in lines.items()} == {
        "a.txt": "valid",
        "b.txt": "invalid",
    }
    assert lines["b.txt"]["reason"] == "adds-up"
    (found,) = lines["b.txt"]["findings"]
    assert (found["pointer"], found["related"]) == ("/total", ["/net", "/vat"])
    assert "(adds-up)" in fieldsift("validate", "out", cwd=tmp_path, code=1).stdout
    fieldsift("validate", "out", "--ignore", "adds-up,iban", cwd=tmp_path)
    fieldsift("validate", "out", "--select", "max(net, vat) < total", cwd=tmp_path)
    fieldsift("validate", "out", "--select", "max(net, vat) < net", cwd=tmp_path, code=2)
    with pytest.raises(UsageError, match="without -s they are held to its own schema"):
        validate(tmp_path / "out", "net float, total float")


def test_every_related_leaf_is_one_of_the_data() -> None:
    data = {"net": 1, "vat": 2, "total": 4, "lines": [{"quantity": 1, "price": 2, "amount": 3}]}
    known = {pointer for pointer, _ in leaves(data)}
    for found in broken(_RULES, data):
        assert {found.pointer, *found.related} <= known
