"""`when`: which documents go through a stage. Read once, typed against the earlier stages, worked out without a null going wrong."""

import string
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.graph import Halt, halt, wired
from pipeline.results import DocumentRef, Evidence, Result, Status
from pipeline.schema import Schema
from pipeline.stages import Stage

INVOICE = {
    "type": "object",
    "properties": {
        "vendor": {"type": "string"},
        "total": {"type": ["number", "null"]},
        "issued": {"type": "string", "format": "date"},
        "paid": {"type": "boolean"},
        "pages": {"type": "integer", "minimum": 1},
        "currency": {"enum": ["EUR", "USD"]},
        "net amount": {"type": "number"},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"amount": {"type": "number"}, "text": {"type": "string"}},
            },
        },
    },
}
EARLIER = (
    Stage("kind", task="classify", labels={"invoice": "asks for payment", "receipt": "proves it"}),
    Stage("tags", task="tag", labels=["urgent", "foreign"]),
    Stage("invoice", INVOICE),
    Stage("odd-name", "code str"),
)
NOTE = Schema.of("note str")
DATA: dict[str, Any] = {
    "kind": {"label": "invoice"},
    "tags": {"labels": ["urgent"]},
    "invoice": {
        "vendor": "ACME",
        "total": 1200.5,
        "issued": "2026-03-01",
        "paid": False,
        "pages": 2,
        "currency": "EUR",
        "net amount": 1000,
        "lines": [{"amount": 1, "text": "a"}, {"amount": 200, "text": "b"}],
    },
    "odd-name": {"code": "x"},
    "row": {"country": "DE", "weight": "12.5"},
}


def last(when: object) -> Stage:
    """A stage with this `when`, behind the earlier ones."""
    return wired((*EARLIER, Stage("last", NOTE, when=when)))[-1]


def result(stage: str, data: Any, status: Status = "valid", **more: Any) -> Result:
    return Result(DocumentRef("a.pdf"), stage, status, data=data, **more)


def known(**other: Any) -> dict[str, Any]:
    """What the earlier stages say, some of them otherwise."""
    data = DATA | {name.replace("odd_name", "odd-name"): value for name, value in other.items()}
    return {
        name: value if isinstance(value, Result | tuple) else result(name, value)
        for name, value in data.items()
    }


def goes(when: object, **other: Any) -> bool:
    end = halt(last(when), known(**other))
    assert end is None or (end.status, end.reason) == ("skipped", "when")
    return end is None


def refused(when: object) -> str:
    with pytest.raises(UsageError) as caught:
        last(when)
    return str(caught.value)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"kind": "invoice"}, True),
        ({"kind": "receipt"}, False),
        ({"kind": ["receipt", "invoice"]}, True),
        ({"kind": "unsure"}, False),
        ({"tags": "urgent"}, True),
        ({"tags": "foreign"}, False),
        ({"tags": ["foreign", "urgent"]}, True),
        ({"tags": "unsure"}, False),
        ({"invoice.currency": "EUR", "kind": "invoice"}, True),
        ({"invoice.currency": "USD", "kind": "invoice"}, False),
        ({"invoice.total": 1200.5, "invoice.paid": False}, True),
        ({"invoice.lines.amount": 200}, True),
        ({"invoice.lines.amount": 3}, False),
        (
            {"invoice": {"currency": "EUR", "paid": False}},
            True,
        ),  # as TOML reads invoice.currency = "EUR"
        ({"row.country": ["AT", "DE"]}, True),
        ({"row.nowhere": "x"}, False),
        ("invoice.total > 1000 and kind.label == 'invoice'", True),
        ("invoice.total > 2000 or kind.label == 'receipt'", False),
        ("not invoice.paid", True),
        ("invoice.issued >= 2026-01-01", True),
        ("invoice.`net amount` == 1000", True),
        ("`odd-name`.code == 'x'", True),
        ("sum(invoice.lines.amount) == 201", True),
        ("any(invoice.lines.amount > 100)", True),
        ("all(invoice.lines.amount > 100)", False),
        ("all(invoice.lines.amount > 0 and invoice.lines.text != null)", True),
        ("not any(tags.labels == 'foreign')", True),
        ("count(tags.labels) == 1", True),
        ("row.weight > 12", True),
        ("status(invoice) == 'valid'", True),
        ("status(invoice) != 'valid'", False),
    ],
)
def test_a_condition_looks_at_what_earlier_stages_said(when: object, holds: bool) -> None:
    assert goes(when) is holds


def test_what_is_null_or_was_skipped_decides_nothing() -> None:
    nothing = {"total": None, "lines": None}
    for when in ("invoice.total > 1000", "invoice.total <= 1000", "any(invoice.lines.amount > 1)"):
        assert not goes(when, invoice=nothing)
        assert not goes(f"not {when}", invoice=nothing)
        assert not goes(when, invoice=result("invoice", None, "skipped"))
    assert goes("invoice.total > 1000 or kind.label == 'invoice'", invoice=nothing)
    assert goes("invoice.total == null", invoice=nothing)


def test_unsure_is_no_label_and_not_a_stage_that_was_skipped() -> None:
    assert goes({"kind": "unsure"}, kind={"label": None})
    assert goes({"kind": ["invoice", "unsure"]}, kind={"label": None})
    assert goes({"tags": "unsure"}, tags={"labels": []})
    for name in ("kind", "tags"):
        assert not goes({name: "unsure"}, **{name: result(name, None, "skipped")})


def test_how_sure_the_values_are_can_be_asked_for() -> None:
    proofs = (
        Evidence("/total", "verified", confidence=0.9),
        Evidence("/lines/0/amount", "verified", confidence=0.4),
        Evidence("/lines/1/amount", "verified", confidence=0.6),
        Evidence("/vendor", "absent"),
    )
    said = result("invoice", DATA["invoice"], evidence=proofs)
    assert goes("confidence(invoice.total) > 0.8", invoice=said)
    assert goes("confidence(invoice) == 0.4", invoice=said)
    assert goes("confidence(invoice.lines.amount) == 0.4", invoice=said)
    assert goes("confidence(invoice.lines) < 0.5", invoice=said)
    assert not goes("confidence(invoice.vendor) < 0.5", invoice=said)  # nobody knows


def test_a_failing_stage_stops_those_that_look_at_its_data_and_not_those_that_ask_what_became_of_it() -> (
    None
):
    broken = result("invoice", DATA["invoice"], "invalid", reason="iban")
    assert goes("status(invoice) == 'invalid'", invoice=broken)
    end = halt(last("invoice.total > 5"), known(invoice=broken))
    assert end == Halt(
        "failed", "upstream", "it reads an earlier stage: invoice of a.pdf is invalid (iban)"
    )


def test_of_several_parts_or_items_any_and_all_can_be_asked() -> None:
    stages = wired(
        (
            *EARLIER,
            Stage("line", "code str, x float", for_each="invoice.lines"),
            Stage("end", "note str", for_each="document", when="any(line.x > 3) and count(line.code) == 2"),
            Stage("late", "note str", when="all(status(line) == 'valid')"),
            Stage("sure", "note str", when="confidence(line.x) >= 0.5"),
            Stage("table", "note str", when={"line.code": "b"}),
        )
    )  # fmt: skip
    proof = (Evidence("/x", "verified", confidence=0.5),)
    lines = (
        result("line", {"code": "a", "x": 1}, evidence=proof),
        result("line", {"code": "b", "x": 4}),
    )
    assert [halt(stage, known(line=lines)) for stage in stages[-4:]] == [None] * 4
    one = halt(stages[-4], known(line=lines[:1]))
    assert one is not None
    assert one.reason == "when"


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ({"kind": "invoic"}, "did you mean invoice?"),
        ({"kind": "letter"}, "it is one of invoice, receipt"),
        ("kind.label == 'unsure'", "kind.label is never"),
        ("kind.label != 'invoic'", "did you mean invoice?"),
        ({"tags": "urgend"}, "did you mean urgent?"),
        ("any(tags.labels == 'late')", "is never"),
        ({"invoice.currency": "GBP"}, "it is one of EUR, USD"),
        ({"invoice.total": "much"}, "they can't be compared"),
        ("invoice.total > 'much'", "they can't be compared"),
        ("invoice.issued > 5", "they can't be compared"),
        ("invoice.paid > 5", "they can't be compared"),
        ("invoice.pages == 1.5", "is a whole number"),
        ("invoice.pages < 1", "is at least 1"),
        ("1 > invoice.pages", "is at least 1"),
        ("count(invoice.lines) == -1", "is at least 0"),
        ("confidence(invoice) > 1", "is at most 1"),
        ("confidence(invoice.total) == 80", "is at most 1"),
        ("confidence(kind) > 0.5", "kind is no such stage"),
        ("confidence(row) > 0.5", "row is no such stage"),
        ("confidence(invoice.totl) > 0.5", "did you mean total?"),
        ("confidence(1) > 0.5", "takes a name"),
        ("status(kind) == 'valdi'", "did you mean valid?"),
        ("status(kind.label) == 'valid'", "status takes a stage"),
        ("kind.label == invoice.currency", "have no value in common"),
        ("invoice.totl > 3", "invoice has no field totl: did you mean total?"),
        ("invoce.total > 3", "there is no stage invoce: did you mean invoice?"),
        ("kind == 'invoice'", "kind is a stage: name a field of it (kind.label)"),
        ("odd-name.code == 'x'", "stands in backticks: `odd-name`"),
        ("document.pages > 3", "document has no fields"),
        ("invoice.lines.amount > 3", "has many values: say any(...), all(...)"),
        ("any(invoice.total)", "takes what is true or false"),
        ("any(invoice.paid, invoice.paid)", "any takes one value"),
        ("invoice.total", "neither true nor false"),
        ("invoice.total = 3", "write == to compare"),
        ("", "missing here"),
        ({}, "an empty table says nothing"),
        ({"kind": []}, "one of no values"),
        ({"invoice": "x"}, "invoice has no label"),
        ({"invoice.lines": "x"}, "has fields"),
        ({"invoice.total": {"over": 3}}, "total has no fields"),
        ({"invoice.issued": date(2026, 3, 1)}, "a date is a text"),
        ({"invoice.total": float("nan")}, "a value is a text, a number"),
        ({"invoice.vendor": ""}, "an empty text counts as no value"),
        ({"invoice..total": 3}, "two of them together"),
    ],
)  # fmt: skip
def test_what_can_never_hold_or_means_nothing_is_refused_before_the_run(
    when: object, told: str
) -> None:
    assert told in refused(when)
    assert refused(when).startswith("stage last: when: ")


@given(st.text(max_size=300))
def test_any_text_is_a_condition_or_is_refused(text: str) -> None:
    try:
        stage = last(text)
    except UsageError:
        return
    halt(stage, known())


_WORDS = ["invoice", "kind", "status", "confidence", "any", "all", "sum", "(", ")", ".", ",", "==", "<", "and", "or", "not",
          "null", "true", "label", "total", "lines", "amount", "labels", "tags", "'invoice'", "1", "-", "+", "*", "`", "row", "x"]  # fmt: skip


@given(
    st.lists(st.sampled_from(_WORDS), max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["label", "labels", "total", "lines", "amount"]), inner
            )
        ),
        max_leaves=8,
    ),
)
def test_words_of_the_language_in_any_order_over_any_data_end_in_yes_or_no(
    words: list[str], data: Any
) -> None:
    """No text runs anything, and no data makes one raise."""
    try:
        stage = last(" ".join(words))
    except UsageError:
        return
    end = halt(stage, {name: result(name, data) for name in DATA})
    assert end is None or end.reason == "when"


@given(
    st.dictionaries(
        st.text(string.printable, max_size=12), st.text(max_size=8) | st.integers() | st.none()
    )
)
def test_any_table_is_a_condition_or_is_refused(table: dict[str, Any]) -> None:
    try:
        stage = last(table)
    except UsageError:
        return
    halt(stage, known())


@pytest.mark.parametrize(
    "text", ["(" * 3000, "not " * 600, "invoice." * 400, "any(" * 60 + "1", "'" * 1999, "`" * 1999]
)
def test_a_long_hostile_text_is_refused_at_once(text: str) -> None:
    assert "when" in refused(text)


def test_parts_that_were_skipped_are_no_rows_of_a_condition() -> None:
    """`all` speaks of those that went through the stage; where none did, nothing is decided."""
    stages = (
        Stage("parts", task="split", labels=["bill", "letter"]),
        Stage("bill", INVOICE, when={"parts": "bill"}),
    )
    whole: dict[str, Result | tuple[Result, ...]] = {
        "parts": result("parts", {"parts": []}),
        "bill": (result("bill", {"total": 5}), result("bill", None, "skipped")),
    }

    def end(when: object) -> Halt | None:
        again = Stage("again", NOTE, when=when, for_each="document")
        return halt(wired((*stages, again))[-1], whole)

    assert end("all(bill.total > 3)") is None
    assert end("any(status(bill) == 'skipped')") is None
    assert end({"bill.total": None}) is not None
    told = end("not any(status(bill) == 'skipped') or all(bill.total > 9)")
    assert told is not None
    assert "`" not in told.message.removeprefix("its `when`")
    whole["bill"] = (result("bill", None, "skipped"),)
    assert end("all(bill.total > 3)") is not None
    assert end("count(bill.total) == 0") is not None


def test_a_sentence_names_functions_as_they_are_written() -> None:
    told = halt(last("not (status(kind) == 'valid')"), known())
    assert told == Halt("skipped", "when", 'its `when` does not hold: status(kind) is "valid"')
    sure = result(
        "invoice", DATA["invoice"], evidence=(Evidence("/total", "verified", confidence=0.4),)
    )
    told = halt(last("not (confidence(invoice.total) < 0.5)"), known(invoice=sure))
    assert told is not None
    assert told.message.endswith("confidence(invoice.total) is 0.4")
