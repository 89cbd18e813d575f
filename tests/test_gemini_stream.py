"""Gemini's streams: however an answer is cut into events and bytes, it is the same answer, or a typed error."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import KeyRefused, PaymentNeeded, ReplyError, Transient
from pipeline.providers import Reply
from pipeline.providers.gemini import Gemini, read
from tests.answers import Answer, Seen, error, generated, key_invalid
from tests.asking import ask, endpoint, request
from tests.routes_gemini import items, streamed
from tests.server import Server

USAGE = {
    "promptTokenCount": 1290,
    "cachedContentTokenCount": 1000,
    "candidatesTokenCount": 55,
    "thoughtsTokenCount": 80,
    "serviceTier": "flex",
}
BODY: dict[str, Any] = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "I wonder", "thought": True},
                    {"text": '{"vendor": "Müller \u2028 ✓", "total": 5}'},
                    {"text": "", "thoughtSignature": "c2ln"},
                ],
            },
            "finishReason": "STOP",
            "index": 0,
            "groundingMetadata": {
                "webSearchQueries": ["a", "b"],
                "groundingChunks": [{"web": {"uri": "https://x.test/1"}}],
            },
        }
    ],
    "usageMetadata": USAGE,
    "modelVersion": "m-1",
    "responseId": "r-1",
}
WHOLE = read(json.dumps(BODY).encode())


def sse(*chunks: Any, end: str = "\n") -> bytes:
    """Server-sent events of JSON data."""
    return "".join(f"data: {json.dumps(each)}{end}{end}" for each in chunks).encode()


def text_chunk(text: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, **more}]}


def test_a_streamed_answer_is_asked_for_kept_and_read() -> None:
    """The address says so, the body stays what the service gave, and the reply is that of the plain answer."""
    with Server(answers={"Total": {"vendor": "Ü", "total": 5}}) as server:
        plain, stream = ask(server, request(), request(stream=True))
        paths = [seen.path for seen in server.requests]
        bodies = [seen.body for seen in server.requests]
    assert paths[1] == "/v1beta/models/gemini-3.1-flash-lite:streamGenerateContent?alt=sse"
    assert bodies[0] == bodies[1]
    assert stream.startswith(b"data: {")
    assert read(stream) == read(plain)
    assert request().key() == request(stream=True).key()


@given(
    pieces=st.integers(1, 60),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    shape=st.sampled_from(["events", "list"]),
    noise=st.sampled_from(["", ": ping{0}{0}", "event: x{0}id: 7{0}{0}", "retry: 5{0}"]),
    done=st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_every_shape_of_an_answer_is_the_same_reply(
    pieces: int, end: str, shape: str, noise: str, done: bool
) -> None:
    """Any cut of the text, any line ends, events or one JSON list: as if it had come in one object."""
    chunks = list(items(BODY, pieces))
    body = json.dumps(chunks, indent=1).encode()
    if shape == "events":
        between = noise.format(end)
        body = b"".join(between.encode() + sse(each, end=end) for each in chunks)
        body += f"data: [DONE]{end}{end}".encode() if done else b""
    assert read(body) == WHOLE
    assert read(b"\xef\xbb\xbf" + body) == WHOLE


@given(cuts=st.lists(st.integers(1, 400), max_size=6), end=st.sampled_from([b"\n", b"\r\n"]))
@settings(max_examples=15, deadline=None)
def test_events_are_split_over_network_chunks_at_any_byte(cuts: list[int], end: bytes) -> None:
    """Also inside a character, between the two bytes of a line end, and inside a field's name."""
    body = sse(*items(BODY)).replace(b"\n", end)
    assert read(_carried(body, cuts)) == WHOLE


def _carried(body: bytes, cuts: list[int]) -> bytes:
    """The body as a provider hands it out, when a server sends it in pieces of the given lengths."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        left = body
        for length in [*cuts, len(body)]:
            piece, left = left[:length], left[length:]
            if piece:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        writer.close()

    async def send() -> bytes:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        provider = Gemini(endpoint(f"http://127.0.0.1:{port}"))
        try:
            return await provider.send(request(stream=True))
        finally:
            await provider.aclose()
            listening.close()
            await listening.wait_closed()

    return asyncio.run(send())


def test_the_last_usage_counts_and_is_not_erased_by_what_has_none() -> None:
    """Counts repeat cumulatively; the last event may have nothing but an end and a usage, or neither."""
    first = text_chunk("{}") | {"usageMetadata": {"promptTokenCount": 9}}
    last = {
        "candidates": [{"finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2},
    }
    ends: list[list[Any]] = [[], [{}], [{"usageMetadata": {}}], [{"candidates": []}], [{"a": 1}]]
    for after in ends:
        got = read(sse(first, last, *after))
        assert (got.finish, got.text, got.usage.input, got.usage.output) == ("stop", "{}", 9, 2)


@pytest.mark.parametrize(
    "body",
    [
        sse(text_chunk("{"), text_chunk("}")),
        sse(text_chunk('{"a": 1}')),
        json.dumps([text_chunk("{"), text_chunk("}")]).encode(),
    ],
)
def test_a_stream_without_an_end_is_truncated(body: bytes) -> None:
    """Even where its text looks whole: the connection may have ended before the model did."""
    got = read(body)
    assert (got.finish, got.reason) == ("truncated", "NO_FINISH_REASON")


def test_a_blocked_prompt_is_a_refusal_in_a_stream_too() -> None:
    """There are no candidates in any event then."""
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    usage = {"usageMetadata": {"promptTokenCount": 3}}
    got = read(sse(blocked, usage))
    assert (got.finish, got.reason, got.usage.input) == ("refused", "PROHIBITED_CONTENT", 3)


def test_what_was_searched_is_gathered_from_all_events() -> None:
    """Told once, told in parts, or told again as a whole: each query and each address counts once."""
    parts: list[dict[str, Any]] = [
        {"webSearchQueries": ["a"], "groundingChunks": [{"web": {"uri": "https://x.test/1"}}]},
        {"webSearchQueries": ["b"], "groundingChunks": [{"web": {"uri": "https://x.test/2"}}]},
    ]
    again = [parts[0], {name: parts[0][name] + parts[1][name] for name in parts[0]}]
    for told in (parts, again):
        chunks = [text_chunk("{}", groundingMetadata=each) for each in told]
        got = read(sse(*chunks, {"candidates": [{"finishReason": "STOP"}]}))
        assert got.usage.searches == 2
        assert got.sources == ("https://x.test/1", "https://x.test/2")


LATE = error(503, "The model is overloaded.")
OVER = error(429, "You exceeded your current quota.")


def broken_off(report: Answer) -> Answer:
    """A stream that ends with an error event."""
    return Answer(200, sse(text_chunk('{"tot'), report.body), billed=True)


@pytest.mark.parametrize("report", [LATE, OVER, key_invalid(), error(400)])
def test_an_error_in_the_middle_is_asked_again_and_counts_as_paid(report: Answer) -> None:
    """What was generated is charged for; whatever it was, another try tells more."""
    with Server() as server:
        server.next(broken_off(report))
        (failure,) = ask(server, request(stream=True))
    assert isinstance(failure, Transient)
    assert failure.billed
    assert failure.reason == f"http_{report.status}"
    assert "broke off" in str(failure)
    assert str(failure).isprintable()


@pytest.mark.parametrize(
    ("report", "kind"),
    [
        (LATE, Transient),
        (key_invalid(), KeyRefused),
        (error(402), PaymentNeeded),
        (error(400, "bad"), ReplyError),
    ],
)
def test_an_error_in_place_of_a_stream_is_that_error(report: Answer, kind: type) -> None:
    """As an event, in a list, or plainly with its status."""
    shapes = (sse(report.body), json.dumps([report.body]).encode())
    with Server() as server:
        server.next(*(Answer(200, shape) for shape in shapes), report)
        failures = ask(server, *[request(stream=True)] * 3)
    assert [type(failure) for failure in failures] == [kind] * 3
    assert not any(getattr(failure, "billed", False) for failure in failures)


@pytest.mark.parametrize(
    "body",
    [
        sse(text_chunk("{}"))[:-20],
        b": ping\n\n",
        b"data: \n\n",
        b"data: {\n\n",
        b'data: {"a": "\xff"}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_a_damaged_stream_is_asked_again_and_never_kept(body: bytes) -> None:
    """Half an event, an empty stream, what is not JSON or not UTF-8."""
    with Server() as server:
        server.next(Answer(200, body, billed=True))
        (failure,) = ask(server, request(stream=True))
    assert isinstance(failure, Transient)
    assert (failure.reason, failure.billed) == ("not_json", True)
    with pytest.raises(ReplyError):
        read(body)


def test_a_stored_stream_that_broke_off_is_no_answer() -> None:
    """Should one have been kept by another version, it is not taken for an answer."""
    with pytest.raises(ReplyError) as refused:
        read(sse(text_chunk("{}", finishReason="STOP"), LATE.body))
    assert refused.value.reason == "bad_reply"


def test_a_service_that_does_not_stream_is_understood_all_the_same() -> None:
    """Some gateways answer a stream's address with one object, or the plain one with events."""
    plain = generated({"total": 5})
    with Server() as server:
        server.next(plain, streamed(plain, end="\r\n"))
        got = ask(server, request(stream=True), request())
    assert [json.loads(read(each).text) for each in got] == [{"total": 5}] * 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                """candidates content parts text thought role finishReason usageMetadata promptTokenCount modality
            promptTokensDetails cacheTokensDetails tokenCount promptFeedback blockReason error code functionCall
            name args id groundingMetadata webSearchQueries groundingChunks web uri urlContextMetadata urlMetadata
            retrievedUrl urlRetrievalStatus serviceTier trafficType modelVersion""".split()  # noqa: SIM905, a list of names
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
CANDIDATES = st.fixed_dictionaries(
    {"candidates": st.lists(st.fixed_dictionaries({"finishReason": st.just("STOP"), "content": VALUES}))}
)  # fmt: skip


@given(chunks=st.lists(VALUES | CANDIDATES, max_size=4), as_list=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_json_in_any_shape_is_a_reply_or_a_typed_error(
    chunks: list[Any], as_list: bool
) -> None:
    """Nothing a server sends crashes the reader; what is a reply can be written to a file."""
    body = json.dumps(chunks).encode() if as_list else sse(*chunks)
    try:
        got = read(body)
    except ReplyError as refused:
        assert refused.reason in {"not_json", "bad_reply"}  # noqa: PT017, either is right here
    else:
        _is_sane(got)


def _is_sane(got: Reply) -> None:
    got.text.encode()
    assert all(number >= 0 for _, number in got.usage.by_modality)
    assert min(got.usage.input, got.usage.output, got.usage.audio, got.usage.searches) >= 0
    assert (got.reason or "").isprintable()
    assert all(isinstance(call.arguments, Mapping) for call in got.calls)
    if got.calls:
        json.dumps(got.said, allow_nan=False)
        assert got.finish == "stop"


def test_many_small_events_are_read() -> None:
    """Lists that each event adds to are not copied for each of them."""
    told = {"webSearchQueries": ["q"], "groundingChunks": [{"web": {"uri": "https://x.test"}}]}
    chunk = text_chunk("x", groundingMetadata=told)
    body = sse(chunk) * 30_000
    got = read(body + sse({"candidates": [{"finishReason": "STOP"}]}))
    assert len(got.text) == 30_000
    assert got.sources == ("https://x.test",)


def test_a_held_stream_is_cancelled_like_any_request() -> None:
    """The next request goes."""

    async def send(server: Server) -> bytes:
        provider = Gemini(endpoint(server.url))
        held = asyncio.create_task(provider.send(request(stream=True)))
        await asyncio.to_thread(server.wait_for, 1)
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held
        answer = await provider.send(request(stream=True))
        await provider.aclose()
        return answer

    with Server() as server:
        server.next(replace(generated({}), hold=True))
        assert read(asyncio.run(send(server))).finish == "stop"


def test_the_test_servers_stream_is_one_of_the_service() -> None:
    """The yardstick: several events, the end and the usage in the last, one without either."""

    def reply(seen: Seen) -> Answer:
        return generated({"total": 12345})

    with Server(reply) as server:
        (body,) = ask(server, request(stream=True))
    chunks = [json.loads(line[6:]) for line in body.decode().split("\n\n") if line]
    assert len(chunks) == 5
    assert [("usageMetadata" in each) for each in chunks] == [True, True, True, False, True]
    assert "content" not in chunks[-1]["candidates"][0]
