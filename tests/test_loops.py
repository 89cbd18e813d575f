"""A model that repeats itself is noticed while it does, and is not paid to its end; what documents repeat is no loop."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.providers import gemini, openai
from pipeline.providers.gemini.reply import text_of
from pipeline.providers.loops import LEAST, MOST, REPEATS, Watch, before_loop, loops
from tests import asking, chats
from tests.cuts import A_TOKEN, LONGEST, looping, stream
from tests.server import Server

ROW = '{"article": "Bolt M8 x 40", "quantity": 12, "price": 0.35}, '
START = '{"number": "R-7", "lines": ['
EQUAL_ROW = json.dumps({f"column_{i}": None for i in range(30)}) + ", "


@pytest.mark.parametrize(
    "text",
    [
        START + ROW * 40,
        START + EQUAL_ROW * 40,
        "[" + "null, " * 60,
        '{"note": "' + "." * 2000,
        '{"note": "' + " " * 2000,
        START + "".join(ROW.replace("12", str(i)) for i in range(5000)),
        START + "".join(ROW.replace("0.35", str(i % 97)) for i in range(60)),
        json.dumps([{"a": i, "b": [1, 2, 3] * 20} for i in range(2000)], indent=4),
    ],
    ids=["rows", "wide empty rows", "nulls", "dots", "blanks", "counted rows", "prices", "pretty"],
)
def test_what_documents_repeat_is_no_loop(text: str) -> None:
    """40 equal rows, 60 nulls, a line of dots, thousands of rows that differ."""
    assert not loops(text)


@pytest.mark.parametrize(
    ("block", "most"),
    [
        (ROW, 2 * LEAST),
        ("\\n", 2 * LEAST),
        (" ", 2 * LEAST),
        ("0", 2 * LEAST),
        ("the total of the total of ", 2 * LEAST),
        (EQUAL_ROW, REPEATS * len(EQUAL_ROW) + 2 * LEAST),
        ("".join(ROW.replace("12", str(i)) for i in range(60)), MOST + 2 * LEAST),
    ],
    ids=["row", "escapes", "blanks", "zeros", "words", "wide rows", "sixty rows"],
)
def test_a_loop_is_noticed_early(block: str, most: int) -> None:
    """A short block after some thousand characters, a page of rows after a quarter of the longest answer."""
    text = looping(START, block)
    first = next(n for n in range(2048, len(text), 2048) if loops(text[:n]))
    assert first <= len(START) + most
    assert loops(text)


@given(
    st.text(max_size=3000),
    st.text(min_size=1, max_size=300),
    st.integers(30, 200),
    st.integers(0, 299),
)
@settings(max_examples=60)
def test_a_cut_answer_is_kept_to_the_end_of_the_first_block(
    start: str, block: str, times: int, part: int
) -> None:
    """Nothing before the loop is lost, and of the loop one block stays at the most."""
    text = start + block * times + block[:part]
    told = before_loop(text)
    assert text.startswith(told)
    assert len(told) <= len(start) + 2 * len(block) or len(text) - len(start) < 2 * LEAST
    if len(told) < len(text):  # what was left out stands there, again and again
        period = next(
            p for p in range(1, len(told) + 1) if text[len(told) :] == text[len(told) - p : -p]
        )
        assert period <= len(block)


def test_rows_after_the_first_of_a_loop_are_not_kept() -> None:
    rows = [f'{{"n": {i}, "unit": "pcs"}}' for i in range(30)]
    text = '{"lines": [' + ", ".join(rows) + ", " + f"{rows[7]}, " * 500 + '{"n": 7, "un'
    assert before_loop(text).count('"n": 7') <= 2
    assert before_loop(text).startswith('{"lines": [' + ", ".join(rows))


@pytest.mark.parametrize(
    "text",
    ["a" * 8_000_000, "ab" * 4_000_000 + "c", ("a" * 4095 + "b") * 2000, ("a" * 5000 + "b") * 1600,
     "".join(f"{i}," for i in range(1_000_000)), ("ab" * 2048 + "c") * 1900],
    ids=["one letter", "odd end", "long block", "longer block", "numbers", "nearly"],
)  # fmt: skip
def test_hostile_texts_take_linear_time(text: str) -> None:
    """Eight megabytes of near repetition: less than what reading their JSON takes."""
    started = time.process_time()
    loops(text)
    before_loop(text)
    assert time.process_time() - started < 4


@given(st.lists(st.integers(1, 9000), max_size=40), st.sampled_from(["\n", "\r\n", "\r"]))
@settings(max_examples=40)
def test_where_a_stream_is_left_does_not_depend_on_its_pieces(sizes: list[int], end: str) -> None:
    """Network pieces of any size, events with any line ends: the same bytes are kept."""
    body = stream(looping(START, ROW, 4000)).body.replace(b"\n", end.encode())
    whole = Watch(text_of)
    assert whole.add(body)
    pieces, watch, place = [*sizes, len(body)], Watch(text_of), 0
    for size in pieces:
        place += size
        if watch.add(body[place - size : place]):
            break
    assert watch.end == whole.end


@given(st.binary(max_size=300))
def test_a_watch_leaves_alone_what_it_can_not_read(noise: bytes) -> None:
    watch = Watch(text_of)
    assert not watch.add(b"data: " + noise + b"\n\n")
    assert not watch.add(b'data: {"candidates": 5}\n\ndata: [[]]\n\n' + noise)


def test_a_looping_stream_is_left_and_what_it_told_is_booked() -> None:
    """Of an answer of 65,000 tokens some 1,600 are taken; the reason is read from the stored bytes alone."""
    answer = stream(looping(START, ROW), finish="MAX_TOKENS")
    with Server(is_strict=False) as server:
        server.next(answer)
        (body,) = asking.ask(server, asking.request(stream=True, max_output_tokens=LONGEST))
        server.wait_for_silence()
    reply = gemini.read(body)
    assert (reply.finish, reply.reason) == ("truncated", "LOOP")
    assert reply.usage.is_counted
    assert reply.usage.output == len(reply.text) // A_TOKEN < 2000
    assert reply.text == looping(START, ROW)[: len(reply.text)]
    assert answer.body.startswith(body)
    assert server.taken[0] < len(answer.body) / 2


def test_a_stream_that_is_left_and_told_no_tokens_costs_its_reserve() -> None:
    """Counts of an earlier event are not those of the end."""
    events = stream(looping(START, ROW, 4000)).body.split(b"\n\n")
    bare = [json.loads(e.removeprefix(b"data: ")) for e in events[:-2]]
    for each in bare[1:]:
        del each["usageMetadata"]
    reply = gemini.read(b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in bare))
    assert reply.reason == "LOOP"
    assert not reply.usage.is_counted


def test_a_loop_that_was_streamed_to_its_limit_keeps_the_services_word() -> None:
    """Only what ended without a reason was left by us."""
    assert gemini.read(stream(looping(START, ROW), finish="MAX_TOKENS").body).reason == "MAX_TOKENS"
    plain = START + ROW * 10
    assert gemini.read(stream(plain, finish=None).body).reason == "NO_FINISH_REASON"


def test_a_looping_chat_is_left_too() -> None:
    """The same over the other wire, which tells tokens only at the end: the reserve is booked."""
    text = looping(START, ROW, 20_000)
    events: list[Any] = [
        {
            "id": "c-1",
            "model": "m",
            "choices": [{"index": 0, "delta": {"content": text[i : i + 40]}}],
        }
        for i in range(0, len(text), 40)
    ]
    body = b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events)
    answer = stream("x")
    with Server(is_strict=False) as server:
        server.next(type(answer)(body=body, headers=answer.headers, billed=True, fault="paced"))
        (got,) = chats.ask(chats.at(server), chats.request(to=chats.at(server), stream=True))
        server.wait_for_silence()
    reply = openai.read(got)
    assert (reply.finish, reply.reason, reply.usage.is_counted) == ("truncated", "LOOP", False)
    assert len(got) < len(body) / 5
