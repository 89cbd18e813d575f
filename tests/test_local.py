"""The local engine: its answer's shape, its evidence, that it invents nothing and always ends."""

import asyncio
import json
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.document import Document, FormField, Page, Word
from pipeline.errors import ReplyError
from pipeline.loaders import Loaders
from pipeline.providers import Endpoint, Reply, Request, Settings, Usage, open_provider
from pipeline.providers.local import layout
from pipeline.results import leaves
from pipeline.schema import Schema
from pipeline.validators import check
from pipeline.values import currency_readings, date_readings, fold, number_readings

LOCAL = open_provider(Endpoint("local", "local"))


def text_document(*texts: str) -> Document:
    """Pages of characters only."""
    pages = tuple(Page(number, text) for number, text in enumerate(texts, start=1))
    return Document("d.txt", "0" * 64, 1, "text/plain", len(pages), pages, ())


def drawn(*rows: tuple[float, Sequence[tuple[float, str]]], size: float = 10.0) -> Page:
    """A page of words with boxes: rows of (top, [(left, words)]) in points, half an em a character."""
    text, words = "", []
    for top, cells in rows:
        for left, cell in cells:
            at = left
            for word in cell.split(" "):
                start = len(text)
                text += word
                box = (at / 600, top / 800, (at + 0.5 * size * len(word)) / 600, (top + size) / 800)
                words.append(Word(start, len(text), box, size))
                at += 0.5 * size * len(word) + 0.25 * size
                text += " "
        text = text[:-1] + "\n"
    return Page(1, text, tuple(words), width=600.0, height=800.0)


def page_document(*pages: Page) -> Document:
    """A document of ready pages."""
    return Document("d.pdf", "0" * 64, 1, "application/pdf", len(pages), pages, ())


def schema(**properties: Any) -> Schema:
    """A schema of an object whose properties are all required; texts that may be null are `None`."""
    plain = {
        name: {"type": ["string", "null"]} if given is None else given
        for name, given in properties.items()
    }
    return Schema.of({"type": "object", "properties": plain, "required": list(plain)})


def ask(document: Document, target: Schema) -> Reply:
    """The engine's reply, through both halves of the provider."""
    request = Request(
        "local", "local", "", (), None, Settings(1000), document=document, target=target
    )
    return LOCAL.read(asyncio.run(LOCAL.send(request)))


def answer(document: Document, target: Schema) -> Any:
    """The data of the engine's reply, after a look at its evidence."""
    reply = ask(document, target)
    data = json.loads(reply.text)
    assert_grounded(document, data, reply)
    return data


def assert_grounded(document: Document, data: Any, reply: Reply) -> None:
    """Every value that is not null is read from within the span of its hint."""
    hints = {hint.pointer: hint for hint in reply.hints}
    values = {pointer: value for pointer, value in leaves(data) if value not in (None, [], {})}
    assert set(values) == set(hints)
    for pointer, value in values.items():
        hint = hints[pointer]
        page = next(page for page in document.pages if page.number == hint.page)
        assert hint.start is not None
        assert hint.end is not None
        assert hint.confidence is not None
        assert 0 < hint.confidence <= 1
        if hint.end:
            assert page.text[hint.start : hint.end] == hint.quote
            assert isinstance(value, bool) or says(hint.quote, value), (pointer, value, hint)
        else:
            assert hint.quote in {field.label for field in page.fields if field.kind == "check"}


def _bare(text: str) -> str:
    return "".join(char for char in text if char.isalnum()).upper()


def says(quote: str, value: object) -> bool:
    """Whether a value is a quote's text or the normal form of something in it."""
    if isinstance(value, int | float):
        return any(abs(reading - Decimal(str(value))) < 1 for reading in number_readings(quote))
    text = str(value)
    return (
        fold(text).text in fold(quote).text
        or fold(text.replace("_", " ")).text in fold(quote).text
        or text in {day.isoformat() for day in date_readings(quote)}
        or text in currency_readings(quote)
        or _bare(text) == _bare(quote)  # the same code, written as the schema's pattern wants it
    )


def test_it_is_a_free_provider_that_reads_no_images() -> None:
    target = schema(total={"type": "number"})
    assert (LOCAL.name, LOCAL.stored, LOCAL.reads_images) == ("local", False, False)
    assert LOCAL.dialect(target) == target.body
    request = Request("local", "local", "", (), None, Settings(1000))
    assert LOCAL.ceiling(request) == Usage()
    asyncio.run(LOCAL.aclose())


def test_a_request_without_pages_is_refused_in_words() -> None:
    request = Request("local", "local", "", (), None, Settings(1000))
    with pytest.raises(ReplyError, match="needs the document"):
        asyncio.run(LOCAL.send(request))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"data": 1, "hints": [{"x": 1}]}', b"\xff"])
def test_a_body_that_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ReplyError, match="no answer"):
        LOCAL.read(body)


def test_what_is_not_there_is_null_left_out_or_empty() -> None:
    """Nullable: null. Optional, or required and not nullable: no key. A list: empty."""
    target = Schema.of(
        {
            "type": "object",
            "properties": {
                "total": {"type": ["number", "null"]},
                "invoice_number": {"type": "string"},
                "vat_id": {"type": "string"},
                "lines": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"amount": {"type": "number"}}},
                },
                "tags": {"type": "array", "items": {"type": "string"}},
                "buyer": {
                    "anyOf": [
                        {"type": "object", "properties": {"name": {"type": ["string", "null"]}}},
                        {"type": "null"},
                    ]
                },
                "paid": {"type": ["boolean", "null"]},
                "kind": {"enum": ["invoice", "receipt", None]},
            },
            "required": ["total", "invoice_number", "lines"],
        }
    )
    data = answer(text_document("Nothing of this is said here, on 42 pages or 3.50 walls."), target)
    nothing: dict[str, Any] = {
        "total": None,
        "lines": [],
        "tags": [],
        "buyer": None,
        "paid": None,
        "kind": None,
    }
    assert data == nothing


def test_keys_come_in_the_order_of_the_schema() -> None:
    target = schema(
        zeta=None, due_date={"type": ["string", "null"], "format": "date"}, alpha=None, mid=None
    )
    document = text_document("Mid: one\nAlpha: two\nZeta: three\nDue date: 2024-03-05\n")
    assert list(answer(document, target)) == ["zeta", "due_date", "alpha", "mid"]
    assert answer(document, target) == {
        "zeta": "three",
        "due_date": "2024-03-05",
        "alpha": "two",
        "mid": "one",
    }


def test_the_same_input_gives_the_same_bytes() -> None:
    page = drawn((50, [(40, "Invoice no."), (200, "A-17")]), (70, [(40, "Total"), (200, "12.50")]))
    request = Request(
        "local",
        "local",
        "",
        (),
        None,
        Settings(1000),
        document=page_document(page),
        target=schema(invoice_number=None, total={"type": "number"}),
    )
    bodies = {asyncio.run(LOCAL.send(request)) for _ in range(3)}
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["data"] == {"invoice_number": "A-17", "total": 12.5}


def test_limits_of_the_schema_are_obeyed() -> None:
    document = text_document("Age: 200\nCode: ABCDEFGH1\nCount: 2.5\n")
    target = Schema.of(
        {
            "type": "object",
            "properties": {
                "age": {"type": "integer", "maximum": 150},
                "code": {"type": "string", "maxLength": 4},
                "count": {"type": "integer"},
            },
        }
    )
    assert answer(document, target) == {}


def test_a_schema_that_is_a_list_of_objects_is_answered_with_one() -> None:
    target = Schema.of(
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"description": {"type": "string"}, "amount": {"type": "number"}},
            },
        }
    )
    document = text_document("Description   Amount\nTea           3.50\nCake          4.25\n")
    assert answer(document, target) == [
        {"description": "Tea", "amount": 3.5},
        {"description": "Cake", "amount": 4.25},
    ]
    assert answer(text_document("nothing"), target) == []


def test_confidence_has_two_decimals() -> None:
    document = text_document("Invoice number: R-104   Total: EUR 12.00\nDue date: 04.05.2024")
    reply = ask(document, schema(invoice_number=None, total={"type": "number"}, due_date=None))
    assert reply.hints
    assert all(len(str(hint.confidence)) <= len("0.12") for hint in reply.hints)


def test_a_document_with_more_words_than_are_read_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beyond is not looked at, and the answer is called truncated, not complete."""
    monkeypatch.setattr(layout, "MOST_WORDS", 100)
    target = schema(total={"type": "number"})
    reply = ask(text_document("Total: 5.00\n" + "word " * 200), target)
    assert (reply.finish, reply.reason) == ("truncated", "TOO_MANY_WORDS")
    assert json.loads(reply.text) == {"total": 5}
    many = page_document(
        drawn((10, [(10, "Total: 5.00")])), drawn((10, [(10, "word " * 150 + "x")]))
    )
    assert ask(many, target).finish == "truncated"
    assert ask(text_document("Total: 5.00"), target).finish == "stop"


def test_a_table_of_20_000_rows_is_cut_after_half_a_minute_of_work() -> None:
    """Words with digits cost more than others and count for more; the pages' other words are kept."""
    prose = layout.lay_out(text_document("word and word\n" * 20_000))
    table = layout.lay_out(text_document("7 12.50 25.00\n" * 20_000))
    assert not prose.cut
    assert table.cut
    assert 10_000 < len(table.rows) < 20_000


HOSTILE = {
    "digits": "7" * 1_000_000,
    "numbers": "1 " * 25_000,
    "points": "1." * 200_000,
    "colons": "a: " * 30_000,
    "blanks": " " * 500_000,
    "lines": "\n" * 150_000,
    "bars": "| a " * 20_000,
    "stars": "* # " * 20_000,
    "labels": "Invoice number: 12 " * 3_000,
    "totals": "Total 12.50\n" * 3_000,
    "headers": "Description  Qty  Price  Amount\n" * 1_500,
    "parties": "Bill to: Acme GmbH\nMain Street 5\n12345 Berlin\n" * 1_500,
    "names": "Van De " * 10_000,
    "cells": "a  b  c  1.00\n" * 3_000,
    "boxes": "☒ yes ☐ no " * 10_000,
    "brackets": "(" * 200_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_seconds(name: str) -> None:
    """No text makes it hang: the time is linear in the words, whatever they are."""
    target = schema(
        invoice_number=None,
        total={"type": ["number", "null"]},
        date={"type": ["string", "null"], "format": "date"},
        seller={"type": "object", "properties": {"name": {"type": ["string", "null"]}}},
        title=None,
        tags={"type": "array", "items": {"type": "string"}},
        lines={
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"description": {"type": "string"}, "amount": {"type": "number"}},
            },
        },
    )
    started = time.process_time()
    answer(text_document(HOSTILE[name]), target)
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    "properties",
    [
        {"": {"type": "string"}, "###": {"type": "number"}, "數量": {"type": "integer"}},
        {"x" * 5000: {"type": "string"}},
        {"a": {}, "b": True, "c": {"type": ["string", "number"]}, "d": {"const": 5}},
        {"a": {"type": "array"}, "b": {"type": "array", "items": {"type": "array"}}},
        {"a": {"type": "object"}, "b": {"$ref": "#"}},
        {"e": {"type": "string", "enum": []}, "f": {"enum": [1, 2.5, True, {"x": 1}]}},
    ],
)
def test_odd_schemas_are_answered(properties: dict[str, Any]) -> None:
    document = text_document("a: 5\nb: x\nf: 2.5\n# 17\n數量: 3\n" + "x" * 5000 + ": long\n")
    data = answer(document, Schema.of({"type": "object", "properties": properties}))
    assert isinstance(data, dict)


def test_pages_with_odd_boxes_are_read() -> None:
    """Words without height, on top of each other, outside of the page, in no order."""
    text = "Total 5.00 again"
    words = (
        Word(6, 10, (0.5, 0.5, 0.5, 0.5)),
        Word(0, 5, (0.5, 0.5, 0.9, 0.5)),
        Word(11, 16, (-1.0, 2.0, 3.0, 1.0)),
        Word(3, 3, (0.0, 0.0, 1.0, 1.0)),
    )
    field = FormField("x", "x", "5.00", "text", (0.2, 0.2, 0.1, 0.1), 6, 10)
    page = Page(1, text, words, (field,))
    data = answer(page_document(page), schema(total={"type": ["number", "null"]}))
    assert set(data) == {"total"}


TARGETS = [
    schema(
        invoice_number=None,
        issue_date={"type": ["string", "null"], "format": "date"},
        total={"type": ["number", "null"]},
        currency=None,
        paid={"type": ["boolean", "null"]},
        kind={"enum": ["invoice", "receipt", None]},
        seller={
            "type": "object",
            "properties": {"name": {"type": "string"}, "city": {"type": "string"}},
        },
        lines={
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"description": {"type": "string"}, "amount": {"type": "number"}},
            },
        },
    ),
    schema(
        title=None,
        authors={"type": "array", "items": {"type": "string"}},
        year={"type": ["integer", "null"]},
        doi=None,
        email={"type": ["string", "null"], "format": "email"},
        rate={"type": ["number", "null"], "description": "Rate in percent"},
        at={"type": ["string", "null"], "format": "date-time"},
        volume=None,
        note=None,
    ),
]
WORDS = ("Invoice no.", "Total", "Date:", "Betrag", "Seller:", "Bill to", "yes", "invoice", "Q-7")
SPANS = ("Acme GmbH", "12345 Berlin", "17", "3,50", "1.234,5", "04/03/2024", "5 May 2024", "a@b.de")
SIGNS = ("€", "%", "☒", "[ ]", ":", "|", "\t", "\n", "  ", "x", "2(11), 16", "10.1000/x", "Amount")
PIECES = st.sampled_from((*WORDS, *SPANS, *SIGNS))


@settings(max_examples=120, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=400),
        st.lists(PIECES, max_size=60).map(" ".join),
        st.lists(PIECES, max_size=60).map("".join),
    ),
    target=st.sampled_from(TARGETS),
)
def test_every_value_of_any_text_is_a_span_of_it(text: str, target: Schema) -> None:
    data = answer(text_document(text), target)
    assert list(data) == [name for name in target.body["properties"] if name in data]


@pytest.mark.corpus
def test_real_invoices_give_grounded_values_in_the_schema_s_shape(corpus: Path) -> None:
    """Of ten real invoices, what is filled stands in the document, and the header mostly is."""
    folder = corpus / "invoices-zugferd"
    target = Schema.of(folder / "schema.json")

    async def load() -> list[Document]:
        async with Loaders() as loaders:
            paths = sorted((folder / "docs").glob("*.pdf"))[:10]
            return [await loaders.load(path.name, path.read_bytes()) for path in paths]

    filled = 0
    for document in asyncio.run(load()):
        data = answer(document, target)
        assert {finding.rule for finding in check(target, data)} <= {"required"}
        filled += sum(
            data.get(name) is not None for name in ("invoice_number", "issue_date", "grand_total")
        )
    assert filled >= 24
