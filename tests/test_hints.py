"""Hints: a short list behind the data says where a value was read that the search leaves open; it can't do harm."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answer import read
from pipeline.document import Document, Page, Window
from pipeline.grounding import take, with_quotes
from pipeline.prompts import Ask
from pipeline.providers import Reply
from pipeline.schema import Schema, dialects
from pipeline.schema.nullable import nullable
from pipeline.stages import Stage
from pipeline.windows import Piece, cut
from tests.asking import endpoint

SCHEMA = Schema.of(
    {
        "type": "object",
        "properties": {
            "total": {"type": "number"},
            "paid": {"type": "boolean"},
            "lines": {"type": "array", "items": {"type": "object", "properties": {"net": {"type": "number"}}}},
        },
        "required": ["total"],
        "additionalProperties": False,
    }
)  # fmt: skip
PAGE = Page(1, "Net 12.00\nPaid with thanks\nBread 12.00\nDue 12.00")
DOCUMENT = Document("x.txt", "", 0, "text/plain", 1, (PAGE,), ())


def piece(data: Any, schema: Schema = SCHEMA, **settings: Any) -> Piece:
    """What an answer to the question with hints says."""
    ask = Ask(Window((1,)), with_quotes(schema), **settings)
    told = read(ask, Stage("x", schema), DOCUMENT, Reply(json.dumps(data)))
    assert isinstance(told, Piece)
    return told


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
def test_the_list_is_asked_for_last_and_the_schema_stays_as_it_is(
    dialect: dialects.Dialect,
) -> None:
    """In every dialect the last property of the root; all others are what they were."""
    plain, asked = (dialects.compile(s, dialect) for s in (SCHEMA, with_quotes(SCHEMA)))
    assert plain
    assert asked
    assert list(asked["properties"]) == [*plain["properties"], "_quotes"]
    assert {k: v for k, v in asked["properties"].items() if k != "_quotes"} == plain["properties"]
    assert "_quotes" not in json.dumps(SCHEMA.body)
    assert ("_quotes" in asked["required"]) == (dialect == "openai")


def test_a_name_that_the_user_has_is_left_to_the_user() -> None:
    """The list takes another one, and the user's value is kept."""
    own = Schema.of({"type": "object", "properties": {"_quotes": {"type": "string"}}})
    assert list(with_quotes(own).body["properties"]) == ["_quotes", "__quotes"]
    told = piece({"_quotes": "Due", "__quotes": []}, own)
    assert told.data == {"_quotes": "Due"}


def test_a_root_behind_a_reference_gets_the_list_too() -> None:
    """As pydantic writes models that hold themselves; what it refers to is still found."""
    body = {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/B"}}}, "B": {"type": "integer"}}}  # fmt: skip
    asked = with_quotes(Schema.of(body))
    assert [child.name for child in asked.tree.children] == ["b", "_quotes"]
    assert asked.tree.children[0].type == "integer"


@pytest.mark.parametrize("body", [{"type": "array", "items": {"type": "object", "properties": {"a": {}}}},
                                  {"type": "object", "additionalProperties": {"type": "string"}}])  # fmt: skip
def test_a_root_without_named_keys_has_no_list(body: dict[str, Any]) -> None:
    """Its answers are taken as they are."""
    schema = Schema.of(body)
    assert with_quotes(schema) is schema
    assert take({"_quotes": []}, schema) == ({"_quotes": []}, ())


def test_only_services_are_asked_for_hints() -> None:
    """The engine that runs here knows by itself where it read a value."""
    stage = Stage("x", SCHEMA)
    for provider, keys in (("local", 3), ("gemini", 4)):
        (ask,) = cut(stage, DOCUMENT, endpoint(provider=provider))
        assert len(ask.schema.body["properties"]) == keys


def test_a_hint_settles_what_the_search_leaves_open() -> None:
    """The list is taken off, an amount at three places is verified at the one meant, a choice derives."""
    quotes = [{"at": "/total", "page": 1, "quote": "Due 12.00"}, {"at": "/paid", "page": 1, "quote": "Paid with thanks"}]  # fmt: skip
    told = piece({"total": 12, "paid": True, "_quotes": quotes})
    assert told.data == {"total": 12, "paid": True}
    assert [(e.pointer, e.status, e.start) for e in told.evidence] == [("/total", "verified", 43), ("/paid", "derived", 10)]  # fmt: skip


def test_a_hint_of_an_item_decides_for_its_leaves_and_derives_nothing() -> None:
    """One entry for a row is enough, and it is no proof of what does not stand in it."""
    quotes = [{"at": "/lines/0", "page": 1, "quote": "Bread 12.00"}]
    first, other = (piece({"lines": [{"net": net}], "_quotes": quotes}).evidence[0] for net in (12, 13))  # fmt: skip
    assert (first.status, first.start) == ("verified", 33)
    assert other.status == "not_found"


def test_a_flat_answer_names_its_leaves_by_their_short_names() -> None:
    """`/f1` is the leaf that was asked for under it, and is proven there."""
    flat = with_quotes(Schema.of({"type": "object", "properties": {"f1": {"type": "number"}}}))
    ask = Ask(Window((1,)), flat, fields=(("f1", "/total"),))
    answer = {"f1": 12, "_quotes": [{"at": "/f1", "page": 1, "quote": "Due 12.00"}]}
    told = read(ask, Stage("x", SCHEMA), DOCUMENT, Reply(json.dumps(answer)))
    assert isinstance(told, Piece)
    assert told.data == {"/total": 12}
    assert [(e.pointer, e.status, e.start) for e in told.evidence] == [("/total", "verified", 43)]


@pytest.mark.parametrize("at", ["/lines/0/net", "lines/0/net", "lines[0].net", "$.lines[0].net", "#/lines/0/net", "lines.0.net"])  # fmt: skip
def test_a_path_in_another_notation_is_understood(at: str) -> None:
    """Models write pointers in several ways."""
    asked = with_quotes(SCHEMA)
    _, hints = take({"_quotes": [{"at": at, "page": 1, "quote": "x"}]}, asked)
    assert [hint.pointer for hint in hints] == ["/lines/0/net"]


@pytest.mark.parametrize("quotes", [None, 7, "x", {}, {"at": "/total"}, [None, 3, [], {}, {"at": "/total"}],
                                    [{"at": 1, "page": 1, "quote": "Due"}], [{"at": "/total", "page": "x", "quote": 5}],
                                    [{"at": "/total", "page": 1, "quote": ""}]])  # fmt: skip
def test_a_list_that_can_not_be_read_is_as_none(quotes: Any) -> None:
    """Never an error: the data is what was asked for."""
    told = piece({"total": 12, "_quotes": quotes})
    assert told.data == {"total": 12}
    assert [e.status for e in told.evidence] == ["ambiguous"]


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["at", "page", "quote", "x"]), inner, max_size=4))  # fmt: skip


@given(JSON, JSON)
def test_no_list_breaks_an_answer(quotes: Any, data: Any) -> None:
    """Whatever stands in it, and whatever stands in place of the answer."""
    asked = with_quotes(SCHEMA)
    taken, _ = take({"total": 12, "_quotes": quotes}, asked)
    assert taken == {"total": 12}
    assert take(data, asked)[0] == data


def test_an_endless_list_is_bounded() -> None:
    """Neither more entries nor longer quotes than help are read."""
    entry = {"at": "/total", "page": 1, "quote": "Due"}
    _, hints = take({"_quotes": [entry] * 20_000}, with_quotes(SCHEMA))
    assert len(hints) == 5000
    assert take({"_quotes": [entry | {"quote": "x" * 5000}]}, with_quotes(SCHEMA))[1] == ()


@pytest.mark.parametrize("at", range(0, 140, 7))
def test_an_answer_that_ends_in_its_hints_is_whole(at: int) -> None:
    """Cut evidence is not cut data; a cut anywhere before the list is one."""
    quotes = [
        {"at": "/paid", "page": 1, "quote": 'Due "_quotes" 12.00'},
        {"at": "/total", "page": 1, "quote": "Due"},
    ]
    text = json.dumps({"total": 12, "paid": None, "lines": [{"net": 12}], "_quotes": quotes})
    begins = text.index('"_quotes"') + len('"_quotes"')
    ask = Ask(Window((1,)), with_quotes(SCHEMA))
    told = read(ask, Stage("x", SCHEMA), DOCUMENT, Reply(text[:at], "truncated", "MAX_TOKENS"))
    is_whole = isinstance(told, Piece) and told.cut is None
    assert is_whole == (at >= begins)
    if isinstance(told, Piece) and is_whole:
        assert told.data == {"total": 12, "paid": None, "lines": [{"net": 12}]}


def test_an_answer_that_puts_its_hints_first_is_cut_where_it_is_cut() -> None:
    """What the schema requires did not come."""
    ask = Ask(Window((1,)), with_quotes(SCHEMA))
    told = read(
        ask,
        Stage("x", SCHEMA),
        DOCUMENT,
        Reply('{"paid": true, "_quotes": [', "truncated", "MAX_TOKENS"),
    )
    assert not isinstance(told, Piece) or told.cut is not None


def test_data_behind_the_hints_may_be_cut_off_with_them() -> None:
    """Some services write the keys in another order: nothing tells that the list of rows is not to come."""
    rows = {"type": "array", "items": {"type": "object", "properties": {"net": {"type": "number"}}}}
    schema = Schema.of(
        {"type": "object", "properties": {"Number": {"type": "string"}, "lines": rows}}
    )
    text = '{"Number": "B-1", "_quotes": [{"at": "/Number", "page": 1, "quote": "Bill'
    ask = Ask(Window((1,)), with_quotes(schema))
    told = read(ask, Stage("x", schema), DOCUMENT, Reply(text, "truncated", "MAX_TOKENS"))
    assert isinstance(told, Piece)
    assert told.cut is not None


@pytest.mark.parametrize("quotes", [[], None, [{"at": "/total", "page": 1, "quote": "12.50"}]])
def test_the_list_never_stays_in_the_data_of_a_smaller_window(quotes: Any) -> None:
    """What is asked again after a cut answer has a schema that was opened to null once the list was in it."""
    data, _ = take({"total": 12.5, "_quotes": quotes}, nullable(with_quotes(SCHEMA)))
    assert data == {"total": 12.5}
