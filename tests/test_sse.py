"""Server-sent events: any line ends, comments, several data lines, and bytes of any kind."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ReplyError
from pipeline.providers.sse import events, is_stream


@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    closed=st.booleans(),
)
def test_the_data_of_every_event_comes_back(texts: list[str], end: str, closed: bool) -> None:
    """With all three line ends, characters that only look like line ends, and an open last event."""
    body = "".join(f": ping{end}{end}event: x{end}data: {text}{end}{end}" for text in texts)
    if not closed:
        body = body.removesuffix(end).removesuffix(end)
    assert list(events(body.encode())) == texts
    assert is_stream(body.encode()) is bool(texts)


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data:a\n\ndata:  b\n\n", ["a", " b"]),
        (b"\xef\xbb\xbfdata: a\r\n\r\n", ["a"]),
        (b"data\n\ndata:\n\nid: 1\n\n: x\n\n", []),
        (b"database: a\n\n", []),
        (b"data: {\n\ndata", ["{"]),
        (b"", []),
    ],
)
def test_odd_streams(body: bytes, data: list[str]) -> None:
    """As the standard reads them."""
    assert list(events(body)) == data


@pytest.mark.parametrize("body", [b"{}", b"[]", b"", b"<html>", b'"data:"', b"null", b"database:"])
def test_what_is_no_stream(body: bytes) -> None:
    """JSON, web pages and nothing at all are told apart by their beginning."""
    assert not is_stream(body)


@given(st.binary())
def test_any_bytes_are_events_or_a_typed_error(body: bytes) -> None:
    """Nothing else is raised, also where it is not UTF-8."""
    is_stream(body)
    try:
        assert all(isinstance(text, str) for text in events(body))
    except ReplyError as error:
        assert error.reason == "not_json"  # noqa: PT017, either is right here


def test_empty_lines_without_end_take_no_memory() -> None:
    """A list of them would be sixteen times the body."""
    body = b"data: x\n" + b"\n" * 2**22 + b": ping\n" * 2**18 + b"data: y\n"
    tracemalloc.start()
    assert list(events(body)) == ["x", "y"]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 * len(body)
