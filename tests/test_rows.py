"""Rows on the lines of the pages: each has its own place, in order, in bounded time."""

import random
import time
from typing import Any

import pytest

from pipeline.document import Document, Page, Word
from pipeline.grounding import ground
from pipeline.grounding.index import Index
from pipeline.grounding.lines import Lines, OfPage
from pipeline.results import Evidence
from pipeline.schema import Schema
from tests.bordered import SCHEMA, document, made

NAMES = Schema.of(
    {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}}
)


def letter(*pages: str) -> Document:
    """A document of plain pages."""
    told = tuple(Page(n, text) for n, text in enumerate(pages, 1))
    return Document("a.txt", "0" * 64, 1, "text/plain", len(pages), told, ())


def line_at(doc: Document, proof: Evidence) -> str:
    """The line of a plain page on which a value was found."""
    assert proof.page is not None
    assert proof.start is not None
    text = doc.pages[proof.page - 1].text
    return text[text.rfind("\n", 0, proof.start) + 1 :].partition("\n")[0]


def item(article: str, quantity: int, price: float, amount: float) -> dict[str, Any]:
    return {"article": article, "quantity": quantity, "price": price, "amount": amount}


@pytest.mark.parametrize("boxed", [False, True])
def test_every_leaf_of_a_row_stands_on_its_rows_line(boxed: bool) -> None:
    """Quantities and prices that stand in many rows are verified in their own."""
    bill = made(3, pages=4, rows=70)
    doc = document(bill, boxed=boxed)
    starts = [
        doc.pages[page - 1].text.find(row["article"])
        for row, page in zip(bill.rows, bill.pages, strict=True)
    ]
    assert min(starts) >= 0
    found = ground(bill.data, SCHEMA, doc)
    rows: dict[str, list[Evidence]] = {}
    for proof in found[2:]:
        rows.setdefault(proof.pointer.split("/")[2], []).append(proof)
    lines = Index(doc).lines
    places: list[int] = []
    for number, proofs in rows.items():
        row = bill.rows[int(number)]
        on = {lines.at((p.page or 0) - 1, p.start or 0) for p in proofs}
        assert len(on) == 1, "all leaves of a row stand on one line"
        assert {p.page for p in proofs} == {bill.pages[int(number)]}
        equal = row["quantity"] == 1 and row["price"] == row["amount"]
        assert equal or {p.status for p in proofs} == {"verified"}
        places += on
    assert places == sorted(set(places)), "in order, each its own: equal neighbours too"


def test_equal_numbers_of_a_row_are_told_apart_by_their_columns() -> None:
    """A quantity of 1 makes price and amount equal; other rows tell which column is which."""
    rows = [item("Oak", 2, 5.0, 10.0), item("Elm", 1, 7.0, 7.0), item("Ash", 3, 2.0, 6.0)]
    doc = letter(
        "\n".join(
            f"{r['article']} {r['quantity']} {r['price']:.2f} {r['amount']:.2f}" for r in rows
        )
    )
    proofs = {p.pointer: p for p in ground({"lines": rows}, SCHEMA, doc)}
    price, amount = proofs["/lines/1/price"], proofs["/lines/1/amount"]
    assert (price.status, amount.status) == ("verified", "verified")
    assert (price.start or 0) < (amount.start or 0)


def test_a_row_that_is_answered_twice_is_not_verified_twice() -> None:
    """Where the page prints a row once, the second one has no line of its own."""
    row = item("Oak", 2, 5.0, 10.0)
    doc = letter("Oak 2 5.00 10.00\nElm 2 5.00 10.00")
    proofs = ground({"lines": [row, row, row | {"article": "Elm"}]}, SCHEMA, doc)
    again = [p.status for p in proofs if p.pointer.startswith("/lines/1/")]
    assert again == ["ambiguous"] * 4, "its name too, which stands at one place"
    assert {line_at(doc, p) for p in proofs if p.pointer.startswith("/lines/2/")} == {
        "Elm 2 5.00 10.00"
    }


def test_rows_out_of_order_are_found_all_the_same() -> None:
    rows = [item(name, 1, 5.0, 5.5) for name in ("Oak", "Elm", "Ash", "Fir", "Yew")]
    doc = letter("\n".join(f"{row['article']} 1 5.00 5.50" for row in rows))
    moved = [rows[n] for n in (0, 3, 1, 2, 4)]
    for proof in ground({"lines": moved}, SCHEMA, doc):
        number = int(proof.pointer.split("/")[2])
        assert line_at(doc, proof).startswith(moved[number]["article"])


def test_of_equal_rows_those_of_the_own_pages_are_meant() -> None:
    """A neighbour that is shown as context prints the same rows; the answer is about the other page."""
    doc = letter("Oak 2 5.00 10.00\nOak 2 5.00 10.00", "Oak 2 5.00 10.00\nOak 2 5.00 10.00")
    rows = [item("Oak", 2, 5.0, 10.0)] * 2
    for own in (1, 2):
        assert {p.page for p in ground({"lines": rows}, SCHEMA, doc, own=[own])} == {own}


def test_equal_scalars_have_a_place_each() -> None:
    doc = letter("Ann Lee\nBob Ray\nAnn Lee")
    proofs = ground({"names": ["Ann Lee", "Bob Ray", "Ann Lee"]}, NAMES, doc)
    assert [(p.start, p.status) for p in proofs] == [
        (0, "verified"),
        (8, "verified"),
        (16, "verified"),
    ]
    open_ = ground({"names": ["Bob Ray", "Ann Lee"]}, NAMES, doc)
    assert [(p.start, p.status) for p in open_] == [(8, "verified"), (16, "ambiguous")]


def test_rows_inside_rows_stay_within_theirs() -> None:
    inner = {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"what": {"type": "string"}, "cost": {"type": "number"}},
        },
    }
    group = {"type": "object", "properties": {"room": {"type": "string"}, "items": inner}}
    schema = Schema.of(
        {"type": "object", "properties": {"rooms": {"type": "array", "items": group}}}
    )
    doc = letter("Kitchen\nPaint 5.00\nTiles 9.00\nBathroom\nPaint 5.00\nTiles 9.00")
    both = [{"what": "Paint", "cost": 5.0}, {"what": "Tiles", "cost": 9.0}]
    data = {"rooms": [{"room": "Kitchen", "items": both}, {"room": "Bathroom", "items": both}]}
    proofs = ground(data, schema, doc)
    assert {p.status for p in proofs} == {"verified"}
    assert [p.start for p in proofs] == sorted(p.start or 0 for p in proofs)


def test_no_digit_becomes_verified_by_its_row() -> None:
    """An amount that its row does not print is not proven by standing in others."""
    rows = [item("Oak", 2, 5.0, 10.0), item("Elm", 3, 4.0, 12.0), item("Ash", 3, 5.0, 15.0)]
    doc = letter(
        "\n".join(
            f"{r['article']} {r['quantity']} {r['price']:.2f} {r['amount']:.2f}" for r in rows
        )
    )
    wrong = [rows[0] | {"quantity": 3}, *rows[1:]]
    proof = next(
        p for p in ground({"lines": wrong}, SCHEMA, doc) if p.pointer == "/lines/0/quantity"
    )
    assert proof.status == "ambiguous"


def test_words_that_are_level_make_a_line_whatever_their_order_in_the_file() -> None:
    """A table whose columns stand one behind the other in the file, on a page that lies on its side."""
    texts = ["Oak", "Elm", "2", "3"]
    upright = [(0.1, 0.10), (0.1, 0.13), (0.5, 0.102), (0.5, 0.131)]
    words, start = [], 0
    for text, (x, y) in zip(texts, upright, strict=True):
        words.append((start, start + len(text), (x, y, x + 0.05, y + 0.02)))
        start += len(text) + 1
    flat = Page(1, " ".join(texts), tuple(Word(*word) for word in words), width=600, height=600)
    # Turned a quarter counter-clockwise, it has to be turned clockwise to be read.
    side = tuple(Word(a, b, (y0, 1 - x1, y1, 1 - x0)) for a, b, (x0, y0, x1, y1) in words)
    turned = Page(1, flat.text, side, width=600, height=600, turn=90)
    for page in (flat, turned):
        lines = Lines([OfPage(page)])
        assert [
            [page.text[t.start : t.end] for t in lines.tokens(n)] for n in range(lines.count)
        ] == [["Oak", "2"], ["Elm", "3"]]


def test_two_thousand_equal_rows_take_bounded_time() -> None:
    """All equal is the worst: every row may stand on every line."""
    doc = letter("\n".join("Steel bolt 2 5.00 10.00" for _ in range(2000)))
    begun = time.process_time()
    proofs = ground({"lines": [item("Steel bolt", 2, 5.0, 10.0)] * 1990}, SCHEMA, doc)
    assert time.process_time() - begun < 10, "far below a comparison of all with all"
    assert {p.status for p in proofs} == {"verified"}
    assert len({p.start for p in proofs}) == 4 * 1990


def test_hostile_rows_end() -> None:
    """Values that stand everywhere, rows in rows, nothing on the page."""
    rng = random.Random(1)
    doc = letter(" ".join(rng.choice("ab12") for _ in range(4000)))
    deep: Any = "a"
    for _ in range(60):
        deep = [deep, 1, {"x": "2"}]
    ground({"lines": [item("a", 1, 2, 1)] * 300, "deep": deep}, SCHEMA, doc)
    ground({"lines": [item("a", 1, 2, 1)]}, SCHEMA, letter(""))


def test_rows_whose_values_stand_everywhere_on_one_long_line_take_bounded_time() -> None:
    """Each place of a value is read once for all rows, and so many places tell no rows apart."""
    text = "12.50 Widget 3 A-" * 6_000
    rows = [{"article": "Widget", "quantity": 3, "price": 12.5, "amount": 12.5}] * 200
    begin = time.process_time()
    found = ground({"lines": rows}, SCHEMA, letter(text))
    assert time.process_time() - begin < 10
    assert {proof.status for proof in found} == {"ambiguous"}


def test_one_place_does_not_prove_two_rows() -> None:
    """The second of two rows at one place is not verified, though its values are printed once; nor what is inside it."""
    doc = letter("Oak 1 2.00 12.10\nElm 3 4.00 13.20\nElm 3 4.00 13.20\nAsh 5 6.00 14.30")
    oak, elm, ash = item("Oak", 1, 2.0, 12.1), item("Elm", 3, 4.0, 13.2), item("Ash", 5, 6.0, 14.3)

    def statuses(*rows: dict[str, Any]) -> list[set[str]]:
        found = ground({"lines": list(rows)}, SCHEMA, doc)
        return [{p.status for p in found[at : at + 4]} for at in range(0, len(found), 4)]

    sure, open_ = {"verified"}, {"ambiguous"}
    assert statuses(oak, elm, elm, ash) == [sure] * 4, "printed twice"
    assert statuses(oak, oak, elm, elm, ash, ash) == [sure, open_, sure, sure, sure, open_]
    wrong = {"ambiguous", "not_found"}
    assert statuses(oak, oak | {"amount": 99.9}) == [sure, wrong]
    assert statuses(oak | {"amount": 99.9}, oak) == [wrong, sure], "the better one stands"
    rooms = {"rooms": [{"room": "Oak", "items": [{"what": "12.10"}, {"what": "12.10"}]}] * 2}
    told = [proof.status for proof in ground(rooms, SCHEMA, doc)]
    assert told == ["verified", "verified", *["ambiguous"] * 4]


def test_values_that_several_rows_share_prove_them_all() -> None:
    """A date above a group is each row's, where a row has a place of its own too."""
    doc = letter("2024-03-01\nOak 12.10\nElm 13.20\n2024-03-02\nAsh 14.30")
    rows = [
        {"day": day, "article": name, "amount": amount}
        for day, name, amount in (
            ("2024-03-01", "Oak", 12.1),
            ("2024-03-01", "Elm", 13.2),
            ("2024-03-02", "Ash", 14.3),
        )
    ]
    assert {p.status for p in ground({"lines": rows}, SCHEMA, doc)} == {"verified"}
