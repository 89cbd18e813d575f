"""A cut answer: its whole rows stay, the rest is asked again in smaller windows, and what stays open is named."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline import Pipeline, extract
from pipeline.answer import read
from pipeline.document import Document, Page, Window
from pipeline.prompts import Ask, limit_of
from pipeline.providers import Reply, Usage
from pipeline.results import Result
from pipeline.schema import Schema
from pipeline.schema.nullable import nullable
from pipeline.stages import Stage
from pipeline.values.pages import spans
from pipeline.windows import Lost, Piece, left, rest
from pipeline.windows.rest import AGAIN
from tests.asking import endpoint
from tests.cuts import BILLS, LONGEST, Bill, answer, pages_of, rows_of
from tests.server import Server

STAGE = Stage("bill", Schema("bill", BILLS))


def document(count: int) -> Document:
    pages = tuple(Page(n, text) for n, text in enumerate(pages_of(count), 1))
    return Document("a.txt", "0" * 64, 1, "text/plain", count, pages, ())


def cut(text: str, pages: int = 6, **reply: Any) -> Piece | Lost:
    """What is read from an answer that was cut off, about all pages of a document."""
    asked = Ask(Window(tuple(range(1, pages + 1))), STAGE.schema)
    plain: dict[str, Any] = {"finish": "truncated", "reason": "MAX_TOKENS"} | reply
    return read(asked, STAGE, document(pages), Reply(text, **plain))


def until(page: int, more: str = "") -> str:
    """An answer with all rows before a page."""
    whole = answer([row for n in range(1, page) for row in rows_of(n)])
    return whole.removesuffix("]}") + more


def test_pages_before_that_of_the_last_rows_are_covered() -> None:
    """All rows before page 4 came, and one of it: that page may have more."""
    first = answer(rows_of(4)[:1]).partition("[")[2].removesuffix("]}")
    piece = cut(until(4, f", {first}, {{"))
    assert isinstance(piece, Piece)
    assert len(piece.data["lines"]) == 3 * len(rows_of(1)) + 1
    assert piece.covers in {(1, 2), (1, 2, 3)}, "the page of the last rows is not"
    assert piece.cut is not None
    assert (piece.cut.status, piece.cut.reason) == ("truncated", "MAX_TOKENS")
    opened = left(piece)
    assert opened is not None
    assert opened.pages[-3:] == (4, 5, 6)


def test_nothing_is_covered_where_more_than_rows_may_be_missing() -> None:
    """Fields behind the rows were never told, so every page may hold them."""
    stage_first = {"lines": STAGE.schema.body["properties"]["lines"], "total": {"type": "number"}}
    stage = Stage("bill", Schema("bill", {"type": "object", "properties": stage_first}))
    asked = Ask(Window((1, 2, 3)), stage.schema)
    text = '{"lines": [' + until(3).partition("[")[2]
    piece = read(asked, stage, document(3), Reply(text, "truncated", "MAX_TOKENS"))
    assert isinstance(piece, Piece)
    assert piece.covers == ()


@pytest.mark.parametrize("swap", [True, False])
def test_nothing_is_covered_where_rows_stand_in_another_order(swap: bool) -> None:
    """Who lists page 5 first may not have come to page 2 yet."""
    rows = [row for n in ([5, 1, 2] if swap else [1, 2, 5]) for row in rows_of(n)]
    piece = cut(answer(rows).removesuffix("]}") + ", {")
    assert isinstance(piece, Piece)
    assert bool(piece.covers) != swap


def test_rows_that_are_nowhere_on_the_pages_cover_nothing() -> None:
    rows = [{"code": f"ZZ-{i}", "amount": i + 0.987} for i in range(20)]
    piece = cut(answer(rows).removesuffix("]}"))
    assert isinstance(piece, Piece)
    assert piece.covers == ()


@pytest.mark.parametrize(
    ("text", "reply", "reason"),
    [
        (until(3), {}, "MAX_TOKENS"),
        (until(3), {"reason": "LOOP"}, "LOOP"),
        (until(3), {"reason": "NO_FINISH_REASON"}, "NO_FINISH_REASON"),
        (until(3), {"finish": "stop", "reason": None}, "UNFINISHED"),
    ],
)
def test_every_kind_of_cut_keeps_what_is_whole(text: str, reply: Any, reason: str) -> None:
    piece = cut(text, **reply)
    assert isinstance(piece, Piece)
    assert piece.cut is not None
    assert (piece.cut.status, piece.cut.reason) == ("truncated", reason)
    assert piece.data["lines"] == rows_of(1) + rows_of(2)[:-1] or piece.data["lines"] == (
        rows_of(1) + rows_of(2)
    )


@pytest.mark.parametrize(
    ("text", "reply", "status", "reason"),
    [
        ('{"number": "B', {}, "truncated", "MAX_TOKENS"),
        ('{"number": null, "lines": [{"co', {}, "truncated", "MAX_TOKENS"),
        ('{"number": "B', {"finish": "stop", "reason": None}, "failed", "not_json"),
        ("no JSON at all", {"finish": "stop", "reason": None}, "failed", "not_json"),
        ('{"number": "B-1", "number": "B-2", "l', {}, "truncated", "MAX_TOKENS"),
        ("[" * 100_000, {}, "truncated", "MAX_TOKENS"),
    ],
)
def test_where_nothing_is_whole_there_is_no_piece(
    text: str, reply: Any, status: str, reason: str
) -> None:
    told = cut(text, **reply)
    assert isinstance(told, Lost)
    assert (told.status, told.reason) == (status, reason)


def asked_again(told: Piece | Lost, pages: int = 6, stage: Stage = STAGE) -> tuple[Ask, ...]:
    return rest(stage, document(pages), told, endpoint())


def test_the_rest_is_asked_in_windows_of_at_most_half_the_pages() -> None:
    """With as much room each as the whole had, and saying why."""
    piece = cut(until(2, ", {"))
    assert isinstance(piece, Piece)
    piece = replace(piece, covers=(1,))
    first, second = asked_again(piece)
    assert (first.window.pages, second.window.pages) == ((2, 3, 4), (5, 6))
    assert first.why == "cut short: pages 2-4 again"
    room = limit_of(STAGE, piece.ask, document(6), endpoint())
    assert [limit_of(STAGE, each, document(6), endpoint()) for each in (first, second)] == [
        room
    ] * 2
    (only,) = asked_again(replace(piece, covers=(1, 2, 3)))
    assert only.window.pages == (4, 5, 6)


def test_an_answer_that_went_into_thinking_gets_more_room() -> None:
    """Once; where nothing comes again, fewer pages are asked about."""
    lost = cut("", usage=Usage(thoughts=8000))
    assert isinstance(lost, Lost)
    before = limit_of(STAGE, lost.ask, document(6), endpoint())
    (again,) = asked_again(lost)
    assert again.window == lost.ask.window
    assert limit_of(STAGE, again, document(6), endpoint()) == min(65_536, 4 * before)
    assert [each.window.pages for each in asked_again(replace(lost, ask=again))] == [
        (1, 2, 3),
        (4, 5, 6),
    ]


def test_no_answer_gets_more_room_than_the_user_allows() -> None:
    stage = Stage("bill", STAGE.schema, max_output_tokens=3000)
    told: Piece | Lost = cut(until(2, ", {"))
    for _ in range(20):
        more = asked_again(told, stage=stage)
        assert all(limit_of(stage, each, document(6), endpoint()) <= 3000 for each in more)
        if not more:
            break
        told = replace(told, ask=more[0])
    else:
        pytest.fail("it never ends")


def test_a_single_page_is_asked_behind_its_last_row() -> None:
    """First with all the room there is, then for what stands behind the last whole row; a bounded number of times."""
    told = cut(until(2, ", {"), pages=1)
    assert isinstance(told, Piece)
    limits, words = [], []
    while more := asked_again(told, pages=1):
        (one,) = more
        limits.append(limit_of(STAGE, one, document(1), endpoint()))
        words.append(one.words)
        rows = [{"code": f"Q-{len(words)}", "amount": 1.5}]
        told = replace(told, ask=one, data={"number": "B-1", "lines": rows}, covers=())
    assert len(words) == AGAIN
    assert set(limits) == {65_536}
    assert "Q-1" in words[1]
    assert "behind" in words[1]


def test_a_page_that_goes_no_further_is_left() -> None:
    """The same last row once more: asking on would not end."""
    told = cut(until(2, ", {"), pages=1)
    assert isinstance(told, Piece)
    count = 0
    while more := asked_again(told, pages=1):
        told, count = replace(told, ask=more[0]), count + 1
    assert count == 2


def test_a_loop_gets_no_more_room() -> None:
    """It would fill that too; the page is asked about once more, in other words."""
    lost = cut("", pages=1, reason="LOOP")
    (again,) = asked_again(lost, pages=1)
    assert limit_of(STAGE, again, document(1), endpoint()) == limit_of(
        STAGE, lost.ask, document(1), endpoint()
    )
    assert "once" in again.words
    assert asked_again(replace(lost, ask=again), pages=1) == ()


def test_questions_about_a_cut_window_are_bounded() -> None:
    """Whatever comes back is cut, with nothing in it: below (2 + AGAIN) a page."""
    waiting: list[Piece | Lost] = [cut("", pages=64)]
    count = 0
    while waiting:
        told = waiting.pop()
        more = asked_again(told, pages=64)
        count += len(more)
        waiting += [replace(told, ask=each) for each in more]
    assert 64 <= count <= (2 + AGAIN) * 64


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ((3,), "page 3"),
        ((1, 2, 3), "pages 1-3"),
        ((1, 2, 7), "pages 1-2, 7"),
        ((9, 4), "pages 4, 9"),
    ],
)
def test_pages_are_told_in_words(pages: tuple[int, ...], words: str) -> None:
    assert spans(pages) == words


@contextmanager
def served(bill: Bill, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("GEMINI_API_KEY", "canary")
    with Server(bill) as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        yield server


def read_bill(bill: Bill, **settings: Any) -> Result:
    return extract(bill.text.encode(), STAGE.schema.body, model="gemini-3.1-flash-lite", **settings)


@pytest.mark.parametrize("place", [0, 100, 1111, 2000, 2500])
def test_an_answer_that_is_cut_once_is_whole_in_the_end(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any byte: every row once, in the document's order; what was asked again is told."""
    bill = Bill(8, cuts=(place,))
    with served(bill, monkeypatch):
        result = read_bill(bill)
    assert (result.status, result.data) == ("valid", bill.truth)
    assert all(
        each.why == "first" or each.why.startswith("cut short: ") for each in result.attempts
    )
    assert 2 <= len(result.attempts) <= 4
    assert result.coverage.answered == 8


def test_a_model_that_never_writes_much_is_asked_page_by_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """150 tokens an answer hold the rows of a page, not of two."""
    bill = Bill(8, room=150)
    with served(bill, monkeypatch):
        result = read_bill(bill)
    assert (result.status, result.data) == ("valid", bill.truth)
    assert len(bill.asked) <= 2 * 8


def test_a_page_with_more_rows_than_an_answer_is_told_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What stands behind the last whole row is asked for, and put behind it."""
    bill = Bill(1, rows=40, room=250)
    with served(bill, monkeypatch) as server:
        result = read_bill(bill)
    assert (result.status, result.data) == ("valid", bill.truth)
    assert "List only the rows that stand behind it" in server.requests[-1].text


def test_a_loop_is_left_and_the_rest_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the loop some 2,000 tokens are taken, and booked; the rows are whole in the end."""
    bill = Bill(12, loops_at=7)
    with served(bill, monkeypatch) as server:
        result = read_bill(bill, stream=True, max_output_tokens=LONGEST)
        server.wait_for_silence()
    assert (result.status, result.data) == ("valid", bill.truth)
    first = result.attempts[0]
    assert first.tokens["output"] < 3000 < bill.written[0]
    assert first.cost_usd is not None
    assert first.cost_usd < Decimal("0.01")  # its reserve was 10 cents
    assert bill.asked[0] == tuple(range(1, 13))
    assert min(bill.asked[1]) in {5, 6, 7}, "pages before are not asked about again"


def test_a_loop_that_was_not_streamed_is_found_in_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row that it repeated stands once in the data."""
    bill = Bill(12, loops_at=7)
    with served(bill, monkeypatch):
        result = read_bill(bill, stream=False, max_output_tokens=8000)
    assert (result.status, result.data) == ("valid", bill.truth)


def test_what_is_never_told_is_named_and_nothing_of_it_is_taken_for_valid(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The rows of all other pages are there, in `rejected/`; the Result names the page."""
    bill = Bill(6, stuck=(4,))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bill.txt").write_text(bill.text)
    with served(bill, monkeypatch):
        stage = Stage("bill", STAGE.schema, model="gemini-3.1-flash-lite")
        (result,) = Pipeline([stage]).run([tmp_path / "in"], tmp_path / "out")
    assert (result.status, result.reason) == ("truncated", "MAX_TOKENS")
    assert "page 4 not answered whole" in result.findings[0].message
    assert result.data["lines"] == [
        r for r in bill.truth["lines"] if not r["code"].startswith("K-004")
    ]
    kept = tmp_path / "out/rejected/bill/bill.txt.json"
    assert json.loads(kept.read_text()) == result.data
    assert not (tmp_path / "out/bill").exists()


def test_a_model_that_loops_for_ever_costs_a_bounded_number_of_questions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bill = Bill(4, loops_at=2, loops_ever=True)
    with served(bill, monkeypatch):
        result = read_bill(bill, stream=True)
    assert result.status == "truncated"
    assert "page 2 not" in result.findings[0].message
    assert len(bill.asked) <= (2 + AGAIN) * 4
    assert {row["code"][:5] for row in result.data["lines"]} >= {"K-001", "K-003", "K-004"}


@pytest.mark.parametrize("streamed", [True, False])
def test_a_looped_row_is_no_place_to_go_on_from(
    streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model began with the page's last row and stayed there: the page is asked about anew, not behind it."""
    bill = Bill(1, loops_at=1)
    with served(bill, monkeypatch) as server:
        result = read_bill(bill, stream=streamed, max_output_tokens=8000)
    assert (result.status, result.data) == ("valid", bill.truth)
    assert "stand behind it" not in server.requests[-1].text
    assert len(bill.asked) == 2


def test_an_answer_that_is_cut_in_rows_of_the_page_behind_its_own_leaves_nothing_open() -> None:
    """It went on to the context: its own pages are whole, and there is no page to ask about."""
    asked = Ask(Window((1, 2), (3,)), STAGE.schema, why="window 1 of 3")
    text = answer([row for page in (1, 2, 3) for row in rows_of(page)])[:-40]
    piece = read(asked, STAGE, document(6), Reply(text, "truncated", "MAX_TOKENS"))
    assert isinstance(piece, Piece)
    assert piece.covers == (1, 2)
    assert rest(STAGE, document(6), piece, endpoint("gemini:gemini-3.1-flash-lite")) == ()


def test_smaller_windows_show_no_page_that_the_stage_does_not_read() -> None:
    stage = replace(STAGE, pages="2-3")
    asked = Ask(Window((2, 3)), STAGE.schema)
    lost = Lost(
        asked,
        "truncated",
        "MAX_TOKENS",
        "cut",
    )
    again = rest(stage, document(6), lost, endpoint("gemini:gemini-3.1-flash-lite"))
    smaller = rest(
        stage,
        document(6),
        replace(lost, ask=replace(again[0], limit=LONGEST)),
        endpoint("gemini:gemini-3.1-flash-lite"),
    )
    assert [each.window for each in smaller] == [Window((2,), (3,)), Window((3,), (2,))]


def test_a_null_that_only_a_window_may_say_is_a_key_that_is_not_there() -> None:
    """Windows are asked with leaves that may be null; the schema itself wants such a key left out."""
    text = {"type": "string"}
    rows = {"type": "array", "items": {"type": "object", "properties": {"a": text, "b": text}}}
    told = {"must": text, "may": text, "null": {"type": ["string", "null"]}, "rows": rows}
    schema = Schema.of({"type": "object", "properties": told, "required": ["must"]})
    said = {"must": None, "may": None, "null": None, "rows": [{"a": "K-00101", "b": None}]}
    for asked, kept in (
        (nullable(schema), {"must": None, "null": None, "rows": [{"a": "K-00101"}]}),
        (schema, said),
    ):
        piece = read(
            Ask(Window((1,)), asked), Stage("x", schema), document(1), Reply(json.dumps(said))
        )
        assert isinstance(piece, Piece)
        assert piece.data == kept
