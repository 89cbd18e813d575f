"""Several answers as one: no row lost, none doubled, the document's order, and nothing settled in silence."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.document import Document, Page, Window
from pipeline.grounding import ground
from pipeline.prompts import Ask
from pipeline.results import leaves
from pipeline.schema import Schema
from pipeline.stages import Stage
from pipeline.windows import Merged, Piece, merge, seen_in
from pipeline.windows.pages import Pages
from tests.bordered import SCHEMA, Made, difference, document, made, pages_of

STAGE = Stage("bill", SCHEMA)


def piece(
    doc: Document, window: Window, data: Any, why: str = "first", schema: Schema = SCHEMA
) -> Piece:
    """An answer about a window, as it is read."""
    proofs = ground(data, schema, seen_in(window, doc), own=window.pages)
    return Piece(
        Ask(window, schema, why=why, about=("/lines",) if why.startswith("repair") else ()),
        data,
        proofs,
        window.pages,
        model=why,
    )


def flat(doc: Document, pages: tuple[int, ...], values: dict[str, Any]) -> Piece:
    """An answer that mends leaves; each is grounded by itself."""
    fields = tuple((f"f{n}", pointer) for n, pointer in enumerate(values, 1))
    window = Window(pages)
    shown = seen_in(window, doc)
    proofs = tuple(
        replace(ground({"x": value}, SCHEMA, shown)[0], pointer=pointer)
        for pointer, value in values.items()
    )
    return Piece(
        Ask(window, SCHEMA, fields, why="repair 1", about=tuple(values)),
        values,
        proofs,
        (),
        model="strong",
    )


def rules(merged: Merged) -> list[str]:
    return [doubt.finding.rule for doubt in merged.doubts]


def windows(rng: random.Random, pages: int, most: int = 6) -> list[Window]:
    """A document cut into windows with neighbours beside them."""
    found, first = [], 1
    while first <= pages:
        last = min(pages, first + rng.randint(0, most - 1))
        beside = tuple(n for n in (first - 1, last + 1) if 1 <= n <= pages and rng.random() < 0.8)
        found.append(Window(tuple(range(first, last + 1)), beside))
        first = last + 1
    return found


def answers(bill: Made, doc: Document, rng: random.Random) -> list[Piece]:
    """Right answers about all windows; some list the rows of their neighbours too, as models do."""
    found = []
    for window in windows(rng, len(bill.sheets)):
        pages = window.shown if rng.random() < 0.5 else window.pages
        total = bill.total if len(bill.sheets) in window.shown else None
        data = {
            "number": bill.number,
            "total": total,
            "lines": [dict(row) for row in bill.on(pages)],
        }
        found.append(piece(doc, window, data))
    return found


def is_whole(merged: Merged, data: Any) -> bool:
    """Data and evidence belong together: a proof for each leaf, in order, with its pointer."""
    pointers = [pointer for pointer, value in leaves(data) if not isinstance(value, dict | list)]
    return merged.data == data and [proof.pointer for proof in merged.evidence] == pointers


def test_one_piece_is_as_it_is() -> None:
    """Its order, its doubles, keys that no schema knows; every proof names who answered."""
    doc = Document("a", "0" * 64, 1, "text/plain", 1, (Page(1, "b 2 a 1"),), ())
    data = {
        "lines": [{"article": "b"}, {"article": "a"}, {}],
        "more": {"x": [1, [2]], "y": {}, "z": []},
    }
    merged = merge(STAGE, doc, [piece(doc, Window((1,)), data)])
    assert is_whole(merged, data)
    assert {proof.model for proof in merged.evidence} == {"first"}
    plains: list[Any] = [None, "x", [], [[1]], {}]
    for plain in plains:
        assert merge(STAGE, doc, [Piece(Ask(Window((1,)), SCHEMA), plain, (), (1,))]).data == plain


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_no_row_is_lost_and_none_doubled_in_any_order_of_arrival(seed: int, boxed: bool) -> None:
    """Right answers give the document's rows in its order, whatever windows overlap and whoever came first."""
    rng = random.Random(seed)
    pages = rng.randint(1, 14)
    bill = made(seed, pages, rng.randint(0, 6 * pages))
    doc = document(bill, boxed=boxed)
    pieces = answers(bill, doc, rng)
    merged = merge(STAGE, doc, pieces)
    assert is_whole(merged, bill.data)
    assert [d for d in merged.doubts if d.finding.rule != "row_not_located"] == []
    rng.shuffle(pieces)
    assert merge(STAGE, doc, pieces) == merged


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_what_answers_forget_or_double_is_told_with_its_page(seed: int, boxed: bool) -> None:
    rng = random.Random(seed)
    pages = rng.randint(1, 10)
    bill = made(seed, pages, rng.randint(5 * pages, 12 * pages))
    doc = document(bill, boxed=boxed)
    pieces = []
    for one in answers(bill, doc, rng):
        rows = [
            row for row in one.data["lines"] for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 1, 2)))
        ]
        pieces.append(piece(doc, one.ask.window, one.data | {"lines": rows}))
    merged = merge(STAGE, doc, pieces)
    lost, doubled = difference(bill, merged.data["lines"])
    told = {page for doubt in merged.doubts for page in doubt.pages}
    for row in (*lost, *doubled):
        assert pages_of(bill, {row: 1}) & told, f"{row} is neither right nor told"  # type: ignore[arg-type]  # a Counter of one
    if not lost and not doubled:
        assert merged.doubts == ()


def test_a_newer_answer_about_a_page_takes_the_place_of_its_rows() -> None:
    """Rows that it forgot are there, doubles are gone, other pages stay; the page's lines confirm it."""
    bill = made(11, pages=3, rows=30)
    doc = document(bill, boxed=True)
    rows = bill.on([1, 2, 3])
    bad = [*rows[:3], rows[2], *rows[3:12], *rows[13:]]
    first = piece(doc, Window((1, 2, 3)), bill.data | {"lines": bad})
    merged = merge(STAGE, doc, [first])
    assert set(rules(merged)) == {"row_doubled", "rows_missing"}
    again = [
        piece(doc, Window(d.pages), {"lines": bill.on(d.pages)}, "repair 1") for d in merged.doubts
    ]
    mended = merge(STAGE, doc, [first, *again])
    assert is_whole(mended, bill.data)
    assert mended.doubts == ()
    # An answer that does not list the page whole drops nothing.
    part = piece(doc, Window((1,)), {"lines": bill.on([1])[:2]}, "repair 1")
    assert len(merge(STAGE, doc, [first, part]).data["lines"]) == len(bad)


@pytest.mark.parametrize("boxed", [False, True])
def test_a_perfect_page_replaces_doubled_rows_with_wrong_digits(boxed: bool) -> None:
    """Also where a wrong amount is printed on another page, and where a total's line looks like a row."""
    bill = made(12, pages=3, rows=45)
    sheet = bill.sheets[1]
    sheet.lines.insert(-1, [*sheet.lines[4][1:], (40.0, False, "Sum")])
    doc = document(bill, boxed=boxed)
    rows = [dict(row) for row in bill.rows]
    own = [n for n, page in enumerate(bill.pages) if page == 2]
    for n in own[1::3]:
        rows[n]["amount"] = 91_234.5
    rows[own[0]]["amount"] = bill.rows[0]["amount"]
    doubled = [row for n, row in enumerate(rows) for _ in range(2 if n in own[::2] else 1)]
    first = piece(doc, Window((1, 2, 3)), bill.data | {"lines": doubled})
    again = piece(doc, Window((2,)), {"lines": bill.on([2])}, "repair 1")
    before, merged = merge(STAGE, doc, [first]), merge(STAGE, doc, [first, again])
    assert "row_doubled" in rules(before)
    assert merged.data == bill.data
    assert {"row_doubled", "conflict"}.isdisjoint(rules(merged))
    assert merged.notes == ()
    amounts = [p for p in merged.evidence if p.pointer.endswith("/amount") and p.page == 2]
    assert {proof.status for proof in amounts} == {"verified"}


def test_a_doubled_row_with_another_digit_is_told() -> None:
    """Most of it stands where its neighbour stands, and nothing of it elsewhere."""
    doc = letter("Oak 1 2.00 2.10\nElm 3 4.00 12.00\nElm 3 4.00 12.00\nAsh 5 6.00 30.00")
    cells = (("Oak", 1, 2.0, 2.1), ("Elm", 3, 4.0, 12.0), ("Elm", 3, 4.0, 12.0), ("Ash", 5, 6.0, 30.0))  # fmt: skip
    rows = [dict(zip(("article", "quantity", "price", "amount"), each, strict=True)) for each in cells]  # fmt: skip
    for at in range(4):
        said = [*rows[:at], rows[at] | {"amount": 77.7}, *rows[at:]]
        assert rules(merge(STAGE, doc, [piece(doc, Window((1,)), {"lines": said})])) == [
            "row_doubled"
        ], at
    assert rules(merge(STAGE, doc, [piece(doc, Window((1,)), {"lines": rows})])) == []


def test_a_newer_page_without_one_of_two_rows_on_a_line_drops_neither() -> None:
    """Rows side by side are no doubles of each other."""
    doc = letter("Oak 1 2.00 2.10 Elm 3 4.00 12.00\nAsh 5 6.00 30.00 Fir 7 8.00 56.00")
    cells = (("Oak", 1, 2.0, 2.1), ("Elm", 3, 4.0, 12.0), ("Ash", 5, 6.0, 30.0), ("Fir", 7, 8.0, 56.0))  # fmt: skip
    rows = [dict(zip(("article", "quantity", "price", "amount"), each, strict=True)) for each in cells]  # fmt: skip
    first = piece(doc, Window((1,)), {"lines": rows})
    again = piece(doc, Window((1,)), {"lines": [rows[0], rows[2]]}, "repair 1")
    names = {row["article"] for row in merge(STAGE, doc, [first, again]).data["lines"]}
    assert names == {"Oak", "Elm", "Ash", "Fir"}


def letter(*pages: str) -> Document:
    told = tuple(Page(n, text) for n, text in enumerate(pages, 1))
    return Document("a.txt", "0" * 64, 1, "text/plain", len(pages), told, ())


def test_a_row_that_stands_nowhere_is_kept_in_its_place_and_told() -> None:
    doc = letter("Oak 1 2.00 2.00", "Elm 3 4.00 12.00")
    oak = {"article": "Oak", "quantity": 1, "price": 2.0, "amount": 2.0}
    elm = {"article": "Elm", "quantity": 3, "price": 4.0, "amount": 12.0}
    ghost = {"article": "Zzz", "quantity": 77, "price": 88.0, "amount": 99.0}
    pieces = [
        piece(doc, Window((1,), (2,)), {"lines": [oak, ghost]}),
        piece(doc, Window((2,)), {"lines": [elm]}),
    ]
    for order in (pieces, pieces[::-1]):
        merged = merge(STAGE, doc, order)
        assert merged.data["lines"] == [oak, ghost, elm]
        (doubt,) = merged.doubts
        assert (doubt.finding.rule, doubt.finding.severity, doubt.pages) == (
            "row_not_located",
            "warning",
            (1,),
        )
        assert doubt.finding.related == ("/lines/1",)


def test_scalars_agree_in_normal_form_and_null_does_not_differ() -> None:
    doc = letter("Bill B-1 of 2024-03-01 total 12.50", "Bill B-1 total 12.50", "nothing")
    pieces = [
        piece(doc, Window((1,)), {"number": "B-1", "total": 12.5, "date": "2024-03-01"}),
        piece(doc, Window((2,)), {"number": "b-1", "total": "12.50", "date": "1 March 2024"}),
        piece(doc, Window((3,)), {"number": None, "total": None, "new": "kept"}),
    ]
    merged = merge(STAGE, doc, pieces)
    assert merged.data == {"number": "B-1", "total": 12.5, "date": "2024-03-01", "new": "kept"}
    assert merged.doubts == ()


@pytest.mark.parametrize("beside", ["of it 99.00, of that 99.00", ""])
def test_a_conflict_keeps_the_better_proven_value_and_names_both(beside: str) -> None:
    """The other value stands at two places, or on a page without words, where nobody can search."""
    doc = letter("Total 12.50", beside)
    pieces = [piece(doc, Window((2,)), {"total": 99.0}), piece(doc, Window((1,)), {"total": 12.5})]
    for order in (pieces, pieces[::-1]):
        merged = merge(STAGE, doc, order)
        assert merged.data == {"total": 12.5}
        (doubt,) = merged.doubts
        assert (doubt.finding.rule, doubt.finding.pointer, doubt.finding.severity) == (
            "conflict",
            "/total",
            "error",
        )
        assert "12.5 stands on page 1, and is kept" in doubt.finding.message
        assert f"99.0 {'stands' if beside else 'was not found'} on page 2" in doubt.finding.message
        assert doubt.pages == ((1, 2) if beside else (1,))


def test_a_conflict_of_a_verified_value_with_one_that_stands_nowhere_needs_no_question() -> None:
    """It is told, as a warning; two values that are both verified, or both found nowhere, are an error."""
    doc = letter("Total 12.50", "Net 13.50")

    def said(*totals: float) -> Merged:
        pieces = [piece(doc, Window((n,)), {"total": t}) for n, t in enumerate(totals, 1)]
        found = merge(STAGE, doc, pieces)
        turned = merge(STAGE, doc, pieces[::-1])
        assert (found.data, found.notes, found.doubts) == (turned.data, turned.notes, turned.doubts)
        return found

    told = said(12.5, 99.0)
    assert (told.data, told.doubts) == ({"total": 12.5}, ())
    (note,) = told.notes
    assert (note.rule, note.severity, note.pointer) == ("conflict", "warning", "/total")
    assert "99.0" in note.message
    for totals in ((12.5, 13.5), (98.0, 99.0)):
        (doubt,) = said(*totals).doubts
        assert (doubt.finding.rule, doubt.finding.severity) == ("conflict", "error")


def test_a_flat_answer_settles_a_conflict() -> None:
    doc = letter("Total 12.50", "Net 13.50")
    both = [piece(doc, Window((n,)), {"total": value}) for n, value in ((1, 12.5), (2, 13.5))]
    assert rules(merge(STAGE, doc, both)) == ["conflict"]
    for value in (12.5, 13.5):
        merged = merge(STAGE, doc, [*both, flat(doc, (1, 2), {"/total": value})])
        assert merged.data == {"total": value}
        assert merged.doubts == ()
    assert rules(merge(STAGE, doc, [*both, flat(doc, (1, 2), {"/total": None})])) == ["conflict"]


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        (99.0, 12.5, 12.5),
        (12.5, 99.0, 12.5),
        (12.5, 13.5, 13.5),
        (99.0, 98.0, 98.0),
        (12.5, None, 12.5),
    ],
)
def test_a_mended_leaf_is_the_newer_unless_the_older_is_better_proven(
    old: Any, new: Any, kept: Any
) -> None:
    doc = letter("Total 12.50 net 13.50")
    merged = merge(
        STAGE, doc, [piece(doc, Window((1,)), {"total": old}), flat(doc, (1,), {"/total": new})]
    )
    assert merged.data == {"total": kept}
    assert merged.evidence[0].model == ("strong" if kept == new else "first")


@pytest.mark.parametrize("boxed", [False, True])
def test_a_mended_leaf_stands_on_the_line_of_its_row(boxed: bool) -> None:
    """Of equal neighbours each has its own place, though the answer about one leaf does not say which."""
    bill = made(3, pages=2, rows=24)
    doc = document(bill, boxed=boxed)
    rows = [dict(row) for row in bill.rows]
    twins = [n for n in range(1, len(rows)) if rows[n] == rows[n - 1]]
    for n in twins:
        rows[n]["amount"] = 99_999.0
    first = piece(doc, Window((1, 2)), bill.data | {"lines": rows})
    asked = {f"/lines/{n}/amount": bill.rows[n]["amount"] for n in twins}
    merged = merge(STAGE, doc, [first, flat(doc, (1, 2), asked)])
    assert twins
    assert merged.data == bill.data
    proofs = {proof.pointer: proof for proof in merged.evidence}
    lines = Pages(doc)
    for n in twins:
        on = [lines.line_of(proofs[f"/lines/{n}/{key}"]) for key in ("article", "amount")]
        assert on[0] == on[1]


def test_flat_answers_mean_the_data_before_them() -> None:
    """A row that came in later moves the others; what was mended before stays with its row."""
    bill = made(5, pages=2, rows=16)
    doc = document(bill, boxed=False)
    rows = [dict(row) for row in bill.rows]
    rows[9]["article"] = "misread"
    left_out = [*rows[:4], *rows[5:]]
    first = piece(doc, Window((1, 2)), bill.data | {"lines": left_out})
    mended = flat(doc, (2,), {"/lines/8/article": bill.rows[9]["article"]})
    page = bill.pages[4]
    again = piece(doc, Window((page,)), {"lines": bill.on([page])}, "repair 2")
    last = flat(
        doc,
        (2,),
        {"/lines/15/amount": bill.rows[15]["amount"], "/gone/3/x": 1, "/lines/99/amount": 1},
    )
    merged = merge(STAGE, doc, [first, mended, again, last])
    assert merged.data["lines"] == bill.rows
    assert next(p.model for p in merged.evidence if p.pointer == "/lines/9/article") == "strong"


def test_values_of_one_row_that_differ_are_a_conflict_of_that_leaf() -> None:
    """Both windows show the page; the owner's value is not better for it when it stands nowhere."""
    doc = letter("Oak 1 2.00 2.10", "Elm 3 4.00 12.00")
    oak = {"article": "Oak", "quantity": 1, "price": 2.0, "amount": 2.1}
    wrong = oak | {"amount": 777.0}
    elm = {"article": "Elm", "quantity": 3, "price": 4.0, "amount": 12.0}
    pieces = [
        piece(doc, Window((1,)), {"lines": [wrong]}),
        piece(doc, Window((2,), (1,)), {"lines": [oak, elm]}),
    ]
    merged = merge(STAGE, doc, pieces)
    assert merged.data["lines"] == [oak, elm]
    assert merged.doubts == ()
    assert [(n.rule, n.pointer) for n in merged.notes] == [("conflict", "/lines/0/amount")]


def test_arrays_of_scalars_are_united_by_place_and_by_value() -> None:
    doc = letter("Ann Lee, Bob Ray", "Bob Ray, Cy Fox")
    names = [
        piece(doc, Window((1,)), {"names": ["Ann Lee", "Bob Ray", "Unseen"]}),
        piece(doc, Window((2,), (1,)), {"names": ["Bob Ray", "Cy Fox", "unseen"]}),
    ]
    assert merge(STAGE, doc, names).data == {"names": ["Ann Lee", "Bob Ray", "Unseen", "Cy Fox"]}
    doc = letter("5\n7\n5", "5\n9")
    paid = [
        piece(doc, Window((1,)), {"paid": [5, 7, 5]}),
        piece(doc, Window((2,)), {"paid": [5, 9]}),
    ]
    assert merge(STAGE, doc, paid).data == {"paid": [5, 7, 5, 5, 9]}, "numbers count at every place"


def test_rows_beside_each_other_on_one_line_are_two() -> None:
    doc = letter("2020 Ann Lee 5.00 Bob Ray 5.00", "2021")
    people = [{"year": 2020, "name": name, "fee": 5.0} for name in ("Ann Lee", "Bob Ray")]
    pieces = [
        piece(doc, Window((1,)), {"lines": people[:1]}),
        piece(doc, Window((2,), (1,)), {"lines": people[1:]}),
    ]
    assert merge(STAGE, doc, pieces).data == {"lines": people}


def test_rows_inside_rows_come_together() -> None:
    """A group that a border cuts has its rows of both windows."""
    doc = letter("Kitchen\nPaint 5.00\nTiles 9.00", "Lamp 7.00\nBath\nPaint 5.00")

    def room(name: str, *rows: tuple[str, float]) -> dict[str, Any]:
        return {"room": name, "items": [{"what": what, "cost": cost} for what, cost in rows]}

    first = {"rooms": [room("Kitchen", ("Paint", 5.0), ("Tiles", 9.0))]}
    second = {"rooms": [room("Kitchen", ("Lamp", 7.0)), room("Bath", ("Paint", 5.0))]}
    merged = merge(
        STAGE, doc, [piece(doc, Window((1,)), first), piece(doc, Window((2,), (1,)), second)]
    )
    assert merged.data == {
        "rooms": [
            room("Kitchen", ("Paint", 5.0), ("Tiles", 9.0), ("Lamp", 7.0)),
            room("Bath", ("Paint", 5.0)),
        ]
    }


def test_pages_without_words_are_not_counted_and_that_is_told() -> None:
    doc = letter("", "")
    row = {"article": "Oak", "quantity": 1, "price": 2.0, "amount": 2.0}
    pieces = [piece(doc, Window((n,)), {"lines": [row]}) for n in (1, 2)]
    merged = merge(STAGE, doc, pieces)
    assert merged.data["lines"] == [row, row], "nothing says that they are one"
    assert merged.doubts == ()
    assert [(note.rule, note.severity) for note in merged.notes] == [
        ("rows_not_counted", "warning")
    ]
    assert "pages 1-2" in merged.findings[0].message


def test_totals_and_headers_are_no_missing_rows() -> None:
    lines = ["Article Qty Price Amount", *(f"Oak {n} 2.00 {2 * n}.00" for n in range(1, 9))]
    doc = letter(
        "\n".join([*lines, "Subtotal 72.00", "VAT 19% 72.00 13.68", "Total 85.68"]),
        "\n".join(["Carried forward 85.68", *lines[:1]]),
    )
    rows = [{"article": "Oak", "quantity": n, "price": 2.0, "amount": 2.0 * n} for n in range(1, 9)]
    window = Window((1, 2))
    assert merge(STAGE, doc, [piece(doc, window, {"lines": rows})]).doubts == ()
    (doubt,) = merge(STAGE, doc, [piece(doc, window, {"lines": rows[:5] + rows[6:]})]).doubts
    assert (doubt.finding.rule, doubt.finding.pointer, doubt.pages) == (
        "rows_missing",
        "/lines",
        (1,),
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "12.50", "2024-03-01", "~/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "~/"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(JSON, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_whatever_answers_hold_something_comes_of_them(given_: Sequence[Any]) -> None:
    """Objects beside arrays beside numbers under one name: no error, and proofs that belong to the data."""
    doc = letter("a 12.50 1", "2 a 2024-03-01")
    pieces = [
        piece(doc, Window((1 + n % 2,)), data, f"repair {n}" if n else "first")
        for n, data in enumerate(given_)
    ]
    merged = merge(STAGE, doc, pieces)
    assert is_whole(merged, merged.data)


@pytest.mark.parametrize("why", ["window {} of 2", "repair {}"])
def test_a_row_with_a_line_of_its_own_stays_though_another_answer_forgot_it(why: str) -> None:
    """Its line looks like no other row's, so that the pattern of the lines does not miss it."""

    def row(article: str, quantity: int, cents: int) -> dict[str, Any]:
        amount = quantity * cents / 100
        return {"article": article, "quantity": quantity, "price": cents / 100, "amount": amount}

    def printed(row: dict[str, Any]) -> str:
        return f"{row['article']}   {row['quantity']}   {row['price']:.2f}   {row['amount']:.2f}"

    odd = row("Freight insurance surcharge", 1, 7731)
    sides = [
        [row(f"{name} A{n}", n + 1, 113 + 100 * n) for n in range(8)] for name in ("Bolt", "Nut")
    ]
    texts = ["\n".join(map(printed, side)) for side in sides]
    texts[1] = f"Freight insurance surcharge 77.31\n{texts[1]}"
    pages = tuple(Page(n, text) for n, text in enumerate(texts, 1))
    doc = Document("b", "0" * 64, 1, "text/plain", 2, pages, ())
    both = [
        piece(doc, Window((1,), (2,)), {"lines": [*sides[0], odd]}, why.format(1)),
        piece(doc, Window((2,), (1,)), {"lines": sides[1]}, why.format(2)),
    ]
    for order in (both, both[::-1]):
        assert odd in merge(STAGE, doc, order).data["lines"]


@pytest.mark.parametrize("first", [0, 1])
def test_a_value_where_others_have_rows_is_told(first: int) -> None:
    """Page 1 is answered with words in place of its rows: it is in doubt, whichever answer came first."""
    doc = Document("b", "0" * 64, 1, "text/plain", 2, (Page(1, "Oak 5"), Page(2, "Elm 7")), ())
    row = {"article": "Elm", "quantity": 7, "price": 1, "amount": 7}
    both = [
        piece(doc, Window((1,)), {"lines": "see below"}),
        piece(doc, Window((2,)), {"lines": [row]}),
    ]
    merged = merge(STAGE, doc, [both[first], both[1 - first]])
    assert merged.data == {"lines": [row]}
    assert [(doubt.finding.pointer, doubt.pages) for doubt in merged.doubts] == [("/lines", (1,))]
    assert rules(merged) == ["conflict"]
    again = piece(
        doc, Window((1,)), {"lines": [row | {"article": "Oak", "quantity": 5}]}, "repair 1"
    )
    settled = merge(STAGE, doc, [both[first], both[1 - first], again])
    assert [row["article"] for row in settled.data["lines"]] == ["Oak", "Elm"]
    assert "conflict" not in rules(settled)
