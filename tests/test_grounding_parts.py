"""Evidence of values in parts, what is derived, what validate says again, and how often a page is read."""

import gc
from dataclasses import replace
from typing import Any

import pytest

from pipeline import values
from pipeline.checking import proven_again
from pipeline.document import Document, FormField, Window
from pipeline.grounding import ground, sheet
from pipeline.providers import Hint
from pipeline.results import DocumentRef, Evidence, Result
from pipeline.windows import seen_in
from tests.test_grounding import ANY, KINDS, document, one


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Sold to: Grand Harbour", "Trading Company 7, London"),
        ("Sold to: Grand Harbour\nPage 1 of 2", "ACME Ltd\nTrading Company 7, London\nmore"),
    ],
)
def test_a_text_over_the_end_of_a_page_is_derived(first: str, second: str) -> None:
    """Its evidence is the part where it begins; a running footer and header may stand between."""
    value = "Grand Harbour Trading Company 7"
    proof = one(value, first, second)
    assert (proof.status, proof.page, proof.quote) == ("derived", 1, "Grand Harbour")
    assert one(value, first, "other", second).status == "not_found"
    assert one(value.replace("7", "8"), first, second).status == "not_found"
    long = "\n".join(["a line"] * 5)
    assert one(value, f"{first}\n{long}", second).status == "not_found"
    assert one(value, first, f"{long}\n{second}").status == "not_found"


def test_a_value_in_the_lines_of_a_cell_is_derived() -> None:
    """Other columns stand between its lines; below and level with its left edge, and every digit there."""
    text = "Item    Net\nHeavy duty      12.50\nsteel shelf 90   2.10\nElse 90"
    proof = one("Heavy duty steel shelf 90", text)
    assert (proof.status, proof.quote) == ("derived", "Heavy duty      12.50\nsteel shelf 90")
    assert proof.box is not None
    assert one("Heavy duty steel shelf 80", text).status == "not_found"
    assert one("Heavy duty steel shelf 90", text.replace("steel", "x steel")).status == "not_found"


def test_a_value_in_several_boxes_of_a_form_is_derived() -> None:
    """Whole boxes, in the value's order; a part of a box is none."""
    text = "a: 7 Pine Lane\nb: other\nc: Troy, NY 12180"
    fields = tuple(
        FormField(name, name, value, "text", (0, 0, 1, 1), text.index(value), text.index(value) + len(value))
        for name, value in (("a", "7 Pine Lane"), ("c", "Troy, NY 12180"))
    )  # fmt: skip
    pages = document(text, fields=fields)
    for value, status in [("7 Pine Lane Troy, NY 12180", "derived"), ("7 Pine Troy, NY 12180", "not_found"),
                          ("7 Pine Lane Troy, NY 12181", "not_found")]:  # fmt: skip
        assert ground({"a": value}, ANY, pages)[0].status == status


def test_a_text_with_a_digit_that_its_quote_prints_otherwise_is_not_derived() -> None:
    """Though that digit stands elsewhere in the quote; a text in other words, and with its own digits, is."""
    quote = "Order 12 of 13 shipped"
    assert one("Order 13", quote, quote=quote).status == "not_found"
    assert one("VOK 0LO", "V0K 2L0", quote="V0K 2L0").status == "not_found"
    assert one("the 12th of 13 orders", quote, quote=quote).status == "derived"


def test_amounts_in_brackets_in_a_row_are_no_telephone() -> None:
    """They are negative amounts, or plain ones in brackets."""
    assert one(194, "Interest (95) (108) (194) (206)").quote == "(194)"
    assert one(-194, "Interest (95) (108) (194) (206)").status == "verified"


def test_a_page_is_read_once_and_forgotten_with_its_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows and questions share it; nothing is kept of a document that is gone."""
    read: list[str] = []
    find = values.find_numbers

    def count(text: str, **more: Any) -> Any:
        read.append(text)
        return find(text, **more)

    monkeypatch.setattr(values, "find_numbers", count)
    known = len(sheet._KNOWN)
    pages = document("Net 12.50", "VAT 2.50")
    window = replace(pages, pages=pages.pages[1:])
    for seen in (pages, window, pages):
        assert ground({"a": 2.5}, ANY, seen)[0].status == "verified"
    assert read == ["Net 12.50", "VAT 2.50"]
    del pages, window, seen
    gc.collect()
    assert len(sheet._KNOWN) <= known


def test_a_row_proves_nothing_against_its_own_quote() -> None:
    """A leaf that its row would settle stays open where its hint quotes a line without it."""
    text = "Bread 2 12.00\nMilk 2 13.00\nTotal 25.00"
    data = [{"n": "Bread", "q": 2}, {"n": "Milk", "q": 2}]
    plain = ground(data, ANY, document(text))
    assert [(e.status, e.start) for e in plain if e.pointer.endswith("q")] == [
        ("verified", 6),
        ("verified", 19),
    ]
    hints = [Hint("/0/q", "Total 25.00", 1), Hint("/1/q", "Milk 2", 1)]
    quoted = ground(data, ANY, document(text), hints=hints)
    assert [(e.status, e.start) for e in quoted if e.pointer.endswith("q")] == [
        ("ambiguous", 6),
        ("verified", 19),
    ]


def again(
    data: Any, pages: Document, evidence: tuple[Evidence, ...], now: Any = None
) -> list[tuple[str, int | None]]:
    """What validate says of what a run recorded: status and start."""
    ref = DocumentRef("x.txt", "", "text/plain", len(pages.pages))
    result = Result(ref, "x", "valid", data=data, evidence=evidence)
    return [
        (e.status, e.start)
        for e in proven_again(result, data if now is None else now, KINDS, pages)
    ]


def test_validate_says_again_what_the_run_said() -> None:
    """With the hints that the run had and validate has not, and of a window that showed a part of the pages."""
    pages = document(
        "Net 12.00 Due 12.00\nPaid with thanks",
        "Sum 17.00\nwe are Alpha",
        "Beta Ltd of 5\nNet 12.00 and 99.50",
    )
    data = {"a": 12, "b": 99.5, "c": 17, "paid": True, "d": "Alpha Beta Ltd of 5", "e": None, "kind": "receipt",
            "f": "Alpha Ltd of 5 Net", "g": 12, "h": "paid in 12 parts"}  # fmt: skip
    hints = [Hint("/a", "Due 12.00", 1), Hint("/paid", "with thanks", 1), Hint("/kind", "Paid with", 1),
             Hint("/f", "Alpha", 2), Hint("/f", "Ltd of 5", 3), Hint("/f", "Net", 1), Hint("/h", "Due 12.00", 1)]  # fmt: skip
    whole = ground(data, KINDS, pages, hints=hints)
    assert [e.status for e in whole] == ["verified", "verified", "verified", "derived", "derived", "absent", "derived", "derived", "ambiguous", "derived"]  # fmt: skip
    assert again(data, pages, whole) == [(e.status, e.start) for e in whole]
    part = seen_in(Window((1,), (2,)), pages)
    window = ground(data, KINDS, part, hints=hints)
    assert [e.status for e in window][1] == "not_found"  # it stands on page 3, which was not shown
    assert again(data, pages, window) == [(e.status, e.start) for e in window]


def test_validate_believes_no_record_of_another_value() -> None:
    """What was changed since is searched anew; a recorded proof that the page does not bear out is none."""
    pages = document("Net 12.00 Due 12.00\nSum 17.00")
    said = ground({"a": 12}, KINDS, pages, hints=[Hint("/a", "Due 12.00", 1)])
    assert again({"a": 12}, pages, said, now={"a": 17}) == [("verified", 24)]
    assert again({"a": 12}, pages, said, now={"a": 18}) == [("not_found", None)]
    made_up = (
        Evidence("/a", "derived", "Net 12.00", 1, 0, 9),
        Evidence("/b", "verified", "Due 18.00", 1, 10, 19),
    )
    assert [status for status, _ in again({"a": "Net 12.00 of 13", "b": 18}, pages, made_up)] == [
        "derived",
        "not_found",
    ]
