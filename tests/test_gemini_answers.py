"""Gemini over HTTP: what every behaviour of a server becomes, and how its answers are read."""

import asyncio
import gzip
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import (
    FieldsiftError,
    KeyRefused,
    PaymentNeeded,
    QuotaReached,
    ReplyError,
    SetupError,
    Transient,
)
from pipeline.providers.gemini import (
    Gemini,
    Timeouts,
    read,
)
from pipeline.providers.http import LARGEST_ANSWER
from tests.answers import (
    Answer,
    error,
    generated,
    key_invalid,
    quota,
    reset,
    retry_info,
)
from tests.asking import (
    QUICK,
    WHOLE,
    ask,
    endpoint,
    file_part,
    request,
)
from tests.server import Server

DETAIL_DAY = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
DETAIL_MINUTE = quota("GenerateContentInputTokensPerModelPerMinute-PaidTier1")
HTML = b"<html><body>proxy says no</body></html>"


def later(seconds: int) -> dict[str, str]:
    """Retry-After as a date, with the server's own clock an hour off ours."""
    theirs = datetime.now(UTC) - timedelta(hours=1)
    return {
        "Date": format_datetime(theirs, usegmt=True),
        "Retry-After": format_datetime(theirs + timedelta(seconds=seconds), usegmt=True),
    }


def asked_to_wait(value: str) -> Answer:
    """A 429 with a Retry-After header."""
    return replace(error(429), headers={"Retry-After": value})


ELSEWHERE = {"Location": "http://127.0.0.1:1/x"}
HERE_NOT = error(400, "User location is not supported for the API use.", word="FAILED_PRECONDITION")
LATE = error(429, "You exceeded your current quota.", DETAIL_MINUTE, retry_info("26s"))
TOMORROW = error(429, "You exceeded your current quota.", DETAIL_DAY, retry_info("22s"))
TEN_MINUTES = error(429, "spending limit of ten minutes", retry_info("300s"))
NO_TIER = error(429, "Quota exceeded for metric: x, limit: 0, model: y")
NO_CREDITS = error(429, "Your prepayment credits are depleted. Please go to AI Studio.")
TWICE = replace(error(429, "q", retry_info("5s")), headers={"Retry-After": "9"})
NONSENSE = replace(error(429, "q", retry_info("soon")), headers={"Retry-After": "never"})
IN_A_LIST = Answer(500, [{"error": {"code": 500, "message": "in a list", "status": "INTERNAL"}}])
ODD_TYPES = Answer(503, {"error": {"message": 5, "status": [], "details": {"a": 1}}})
INSIDE = Answer(200, {"error": {"code": 429, "message": "q", "status": "RESOURCE_EXHAUSTED"}})
NOT_GZIP = Answer(200, b"no gzip", {"Content-Encoding": "gzip"})
BILLED = {"billed": True}
FREE = {"billed": False}

Case = tuple[Answer, type[FieldsiftError], str, dict[str, Any], str]
# fmt: off
#: behaviour: the answer, the kind of error, its reason, more of its attributes, words in its message
BEHAVIOURS: dict[str, Case] = {
    "400 plain": (error(400, "Request contains an invalid argument."), ReplyError, "schema_refused", {}, "damaged or encrypted"),
    "400 wrong key": (key_invalid(), KeyRefused, "", {}, "GEMINI_API_KEY"),
    "400 no free tier there": (HERE_NOT, SetupError, "", {}, "location"),
    "401": (error(401, "no credentials"), KeyRefused, "", {}, "GEMINI_API_KEY"),
    "402": (error(402, "insufficient balance"), PaymentNeeded, "", {}, "payment"),
    "403": (error(403, "Permission denied"), KeyRefused, "", {}, "PERMISSION_DENIED"),
    "403 web page": (Answer(403, HTML), ReplyError, "http_403", {}, "firewall"),
    "404 model": (error(404, "models/x is not found"), ReplyError, "not_found_model", {}, "not found"),
    "404 web page": (Answer(404, HTML), ReplyError, "http_404", {}, "check the address"),
    "408": (error(408), Transient, "http_408", FREE | {"wait": None}, ""),
    "409": (error(409), Transient, "http_409", FREE, ""),
    "413": (Answer(413, HTML), ReplyError, "too_large", {}, "fewer pages"),
    "429 with RetryInfo": (LATE, Transient, "http_429", FREE | {"wait": 26.0}, "current quota"),
    "429 with a fraction": (error(429, "q", retry_info("0.25s")), Transient, "http_429", {"wait": 0.25}, ""),
    "429 with words only": (error(429, "q. Please retry in 26.4s."), Transient, "http_429", {"wait": 26.4}, ""),
    "429 with Retry-After": (asked_to_wait("17"), Transient, "http_429", {"wait": 17.0}, ""),
    "429 with a date": (replace(error(429), headers=later(90)), Transient, "http_429", {"wait": 90.0}, ""),
    "429 with a date over": (replace(error(429), headers=later(-90)), Transient, "http_429", {"wait": 0.0}, ""),
    "429 says two things": (TWICE, Transient, "http_429", {"wait": 9.0}, ""),
    "429 with nonsense": (NONSENSE, Transient, "http_429", {"wait": None}, ""),
    "429 for ages": (error(429, "q", retry_info("99999s")), QuotaReached, "", {}, "28 hours"),
    "429 empty": (Answer(429), Transient, "http_429", {"wait": None}, ""),
    "429 of the day": (TOMORROW, QuotaReached, "", {}, "day"),
    "429 no quota in this tier": (NO_TIER, QuotaReached, "", {}, "tier"),
    "429 limit 05 is a limit": (error(429, "Quota exceeded, limit: 05"), Transient, "http_429", {}, ""),
    "429 spend cap": (error(429, "Your project has exceeded its spending cap."), PaymentNeeded, "", {}, "spend cap"),
    "429 credits": (NO_CREDITS, PaymentNeeded, "", {}, "payment"),
    "429 spend per ten minutes": (TEN_MINUTES, Transient, "http_429", {"wait": 300.0}, ""),
    "500": (error(500, "internal"), Transient, "http_500", FREE, "internal"),
    "500 in a list": (IN_A_LIST, Transient, "http_500", {}, "in a list"),
    "501": (error(501), ReplyError, "http_501", {}, ""),
    "502 of a proxy": (Answer(502, HTML), Transient, "http_502", BILLED, "web page"),
    "503": (error(503, "overloaded", retry_info("3s")), Transient, "http_503", FREE | {"wait": 3.0}, ""),
    "504 of the service": (error(504, "deadline"), Transient, "http_504", FREE, "deadline"),
    "504 of a proxy": (Answer(504, b"upstream timed out"), Transient, "http_504", BILLED, "upstream"),
    "503 not UTF-8": (Answer(503, b"\xff\xfe broken"), Transient, "http_503", {}, "broken"),
    "503 odd JSON": (Answer(503, ["x", 1]), Transient, "http_503", {}, ""),
    "503 error is a text": (Answer(503, {"error": "gone fishing"}), Transient, "http_503", {}, "gone fishing"),
    "503 odd types": (ODD_TYPES, Transient, "http_503", {}, ""),
    "302": (Answer(302, headers=ELSEWHERE), ReplyError, "redirect", {}, "redirect"),
    "204": (Answer(204), ReplyError, "http_204", {}, ""),
    "200 with an error": (INSIDE, Transient, "http_429", {}, ""),
    "200 with an error, no code": (Answer(200, {"error": "x"}), Transient, "http_500", {}, ""),
    "200 web page": (Answer(200, HTML), Transient, "not_json", BILLED, "HTML"),
    "200 empty": (Answer(200, b""), Transient, "not_json", BILLED, "empty"),
    "200 half JSON": (Answer(200, b'{"candidates": [{"con'), Transient, "not_json", BILLED, "not JSON"),
    "200 not UTF-8": (Answer(200, b'{"a": "\xff\xfe"}'), Transient, "not_json", BILLED, ""),
    "200 nested beyond reason": (Answer(200, b"[" * 200_000), Transient, "not_json", BILLED, ""),
    "200 broken gzip": (NOT_GZIP, Transient, "connection_lost", BILLED, ""),
    "reset before the answer": (reset(billed=True), Transient, "connection_lost", BILLED, ""),
    "reset in the body": (replace(WHOLE, fault="half"), Transient, "connection_lost", BILLED, ""),
    "length too long": (replace(WHOLE, fault="too_long"), Transient, "connection_lost", BILLED, ""),
    "length too short": (replace(WHOLE, fault="too_short"), Transient, "not_json", BILLED, ""),
    "no answer": (replace(WHOLE, hold=True), Transient, "timeout", BILLED, ""),
    "answer stops": (replace(WHOLE, fault="stall"), Transient, "timeout", BILLED, ""),
    "control characters": (error(400, "a\x1b[31mred\x00\n\tb"), ReplyError, "http_400", {}, "a [31mred b"),
    "a long message": (error(400, "x" * 5000), ReplyError, "http_400", {}, "…"),
}
# fmt: on


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_every_behaviour_of_the_server_is_a_typed_error_with_a_sentence(name: str) -> None:
    """The kind says what may be done next, the reason is a stable word, the sentence is short and clean."""
    answer, kind, reason, attributes, words = BEHAVIOURS[name]
    with Server() as server:
        server.next(answer)
        hangs = answer.hold or answer.fault == "stall"
        times = QUICK if hangs else None
        failure, *after = ask(server, request(), request(), request(), times=times)
        assert server.violations == []
    assert type(failure) is kind
    assert words in str(failure)
    assert str(failure).isprintable()
    assert len(str(failure)) < 600
    if isinstance(failure, ReplyError):
        assert failure.reason == reason or not reason
        assert failure.reason.isidentifier()
    for attribute, value in attributes.items():
        assert getattr(failure, attribute) == value
    # A connection that the server has just closed may cost one more try, which the gate makes.
    answered = [each for each in after if isinstance(each, bytes)]
    assert answered, "the next request is not harmed"
    assert read(answered[0]).finish == "stop"


def test_a_model_that_was_shut_down_names_its_successor() -> None:
    """A 404 says which id to take; for an id that nobody knows, which there are."""
    with Server() as server:
        server.next(error(404, "gone"), error(404, "gone"))
        (dead,) = ask(endpoint(server.url, model="gemini-3.1-flash-lite-preview"))
        (unknown,) = ask(endpoint(server.url, model="gemini-nine"))
    assert "2026-05-25, use gemini-3.1-flash-lite" in str(dead)
    assert "gemini-3.5-flash-lite" in str(unknown)


def test_nobody_there_is_unreachable_and_not_billed() -> None:
    """A closed port and a name that does not resolve: the same kind, nothing was sent."""
    with Server() as server:
        closed = server.url
    for url in (closed, "http://nowhere.invalid"):
        (failure,) = ask(endpoint(url), times=Timeouts(connect=2))
        assert isinstance(failure, Transient)
        assert (failure.reason, failure.billed) == ("unreachable", False)
        assert url in str(failure)


def test_a_reset_while_the_request_goes_out_is_not_billed() -> None:
    """The service can't have worked on a request that it never got whole."""

    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async def send() -> Exception | None:
        listening = await asyncio.start_server(slam, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        provider = Gemini(endpoint(f"http://127.0.0.1:{port}"))
        try:
            await provider.send(request(file_part(bytes(30_000_000))))
        except Transient as failure:
            return failure
        finally:
            await provider.aclose()
            listening.close()
            await listening.wait_closed()
        return None

    failure = asyncio.run(send())
    assert isinstance(failure, Transient)
    assert failure.billed is False


def test_an_endless_answer_is_cut_off() -> None:
    """Memory stays bounded however much comes."""
    with Server() as server:
        server.next(Answer(fault="endless"))
        (failure,) = ask(server)
    assert isinstance(failure, Transient)
    assert failure.reason == "answer_too_large"
    assert "longer than 16 MiB" in str(failure)


def test_a_stream_may_say_more_around_each_token() -> None:
    """A full answer of 65,536 tokens in events of 300 bytes is longer than any whole answer."""
    event = generated("x", finish=None).body | {"padding": "p" * 2**20}
    last = generated("y").body
    body = b"".join(
        b"data: " + json.dumps(each).encode() + b"\n\n" for each in [event] * 20 + [last]
    )
    assert len(body) > LARGEST_ANSWER
    with Server() as server:
        server.next(Answer(200, body, {"Content-Type": "text/event-stream"}))
        server.next(Answer(200, body * 2, {"Content-Type": "text/event-stream"}))
        (whole,) = ask(server)
        (failure,) = ask(server)
    assert read(whole).text == "x" * 20 + "y"
    assert failure.reason == "answer_too_large"


def test_a_small_answer_that_unpacks_to_a_huge_one_is_cut_off() -> None:
    """A gzip bomb counts by what it becomes."""
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as packed:
        for _ in range(LARGEST_ANSWER // 2**20 + 1):
            packed.write(bytes(2**20))
    with Server() as server:
        server.next(Answer(200, bomb.getvalue(), {"Content-Encoding": "gzip"}))
        (failure,) = ask(server)
    assert isinstance(failure, Transient)
    assert failure.reason == "answer_too_large"


def test_one_byte_at_a_time_meets_the_total_deadline() -> None:
    """Reads that always get something don't keep a request alive for ever."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    async def send() -> Transient:
        listening = await asyncio.start_server(drip, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        provider = Gemini(endpoint(f"http://127.0.0.1:{port}"), Timeouts(read=10, total=0.6))
        with pytest.raises(Transient) as failure:
            await provider.send(request())
        await provider.aclose()
        listening.close()
        await listening.wait_closed()
        return failure.value

    failure = asyncio.run(send())
    assert (failure.reason, failure.billed) == ("timeout", True)


def test_a_chunked_answer_is_read_whole() -> None:
    """The framing is the server's choice."""
    with Server() as server:
        server.next(replace(WHOLE, fault="chunked"))
        (answer,) = ask(server)
    assert json.loads(read(answer).text) == {"total": 5}


def test_cancelling_a_request_closes_its_connection_only() -> None:
    """After Ctrl-C on one request the next one goes."""

    async def send(server: Server) -> bytes:
        provider = Gemini(endpoint(server.url))
        held = asyncio.create_task(provider.send(request()))
        await asyncio.to_thread(server.wait_for, 1)
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held
        answer = await provider.send(request())
        await provider.aclose()
        return answer

    with Server() as server:
        server.next(replace(WHOLE, hold=True))
        assert read(asyncio.run(send(server))).finish == "stop"


def test_many_requests_share_few_connections() -> None:
    """64 in flight open 64 connections, and the next 64 open none."""

    async def send(server: Server) -> None:
        provider = Gemini(endpoint(server.url))
        for _ in range(3):
            server.hold()
            waiting = [asyncio.create_task(provider.send(request())) for _ in range(64)]
            await asyncio.to_thread(server.wait_for, len(server.requests) + 64)
            server.release()
            await asyncio.gather(*waiting)
        await provider.aclose()

    with Server() as server:
        asyncio.run(send(server))
        assert len(server.requests) == 192
        assert server.connections == 64


# Answers


def reply(**candidate: Any) -> bytes:
    """A body with one candidate."""
    return json.dumps(
        {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 9}}
    ).encode()


PARTS = {"parts": [{"text": "{}"}]}
REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "truncated",
    "CONTINUATION": "truncated",
    **dict.fromkeys(
        """SAFETY RECITATION LANGUAGE OTHER BLOCKLIST PROHIBITED_CONTENT SPII MALFORMED_FUNCTION_CALL IMAGE_SAFETY
        IMAGE_PROHIBITED_CONTENT IMAGE_OTHER NO_IMAGE IMAGE_RECITATION UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS
        MISSING_THOUGHT_SIGNATURE MALFORMED_RESPONSE ESCALATION PUP_LIMITED_DISABLED MODEL_ARMOR
        SOMETHING_NEW""".split(),  # noqa: SIM905, as the reference lists them
        "refused",
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_every_finish_reason_is_understood(reason: str) -> None:
    """One plain end, one truncation; all others are refusals that keep the service's own word."""
    got = read(reply(content=PARTS, finishReason=reason))
    assert got.finish == REASONS[reason]
    assert got.reason == (None if reason == "STOP" else reason)
    assert (got.text, got.usage.input) == ("{}", 9)


def test_an_answer_without_an_end_is_not_taken_for_whole() -> None:
    """Truncated or missing is never valid."""
    assert read(reply(content=PARTS)).finish == "truncated"
    assert (
        read(reply(content=PARTS, finishReason="FINISH_REASON_UNSPECIFIED")).finish == "truncated"
    )


@pytest.mark.parametrize(
    "blocked", ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "JAILBREAK"]
)
def test_a_blocked_prompt_is_refused_with_its_reason(blocked: str) -> None:
    """Then there are no candidates at all, but a usage that is paid for."""
    answer = {"promptFeedback": {"blockReason": blocked}, "usageMetadata": {"promptTokenCount": 12}}
    got = read(json.dumps(answer).encode())
    assert (got.finish, got.reason, got.text, got.usage.input) == ("refused", blocked, "", 12)


@pytest.mark.parametrize(
    "content",
    [None, {}, {"parts": None}, {"parts": []}, {"role": "model"}, "x", {"parts": [5, {}]}],
)
def test_content_may_be_absent(content: Any) -> None:
    """As after SAFETY, or when all tokens went into thinking."""
    got = read(reply(content=content, finishReason="MAX_TOKENS"))
    assert (got.text, got.finish) == ("", "truncated")


def test_text_in_several_parts_is_joined_and_thinking_left_out() -> None:
    """Thought summaries are no part of the answer."""
    parts = [
        {"text": "I wonder", "thought": True},
        {"text": '{"a": '},
        {"thoughtSignature": "c2ln"},
        {"text": "1}", "thought": False},
        {"somethingNew": {}},
    ]
    assert read(reply(content={"parts": parts}, finishReason="STOP")).text == '{"a": 1}'


def test_usage_counts_every_kind_and_takes_absent_for_none() -> None:
    """Cached tokens are part of the input, thoughts are apart, unknown fields do no harm."""
    usage = {
        "promptTokenCount": 1290, "cachedContentTokenCount": 1000, "candidatesTokenCount": 55, "thoughtsTokenCount": 80,
        "toolUsePromptTokenCount": 7, "totalTokenCount": 1432, "serviceTier": "standard", "new": {"a": 1},
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 170}, {"modality": "AUDIO", "tokenCount": "32"}, 5],
    }  # fmt: skip
    answer = {
        "candidates": [{"finishReason": "STOP"}],
        "usageMetadata": usage,
        "modelVersion": "m-1",
        "responseId": "r",
    }
    got = read(json.dumps(answer).encode())
    counted = got.usage
    assert (counted.input, counted.cached, counted.output) == (1290, 1000, 55)
    assert (counted.thoughts, counted.tool, counted.audio) == (80, 7, 32)
    assert (got.model, got.response_id) == ("m-1", "r")
    odd = {
        "candidates": [{}],
        "usageMetadata": {
            "promptTokenCount": -3,
            "candidatesTokenCount": True,
            "thoughtsTokenCount": 2.5,
        },
    }
    assert read(json.dumps(odd).encode()).usage == type(counted)(is_counted=False)


@pytest.mark.parametrize("tokens", [10**25, 1e300, 2**31, f"{2**32}", True, "many", [7], {}])
@pytest.mark.parametrize(
    "field", ["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"]
)
def test_a_count_that_none_can_be_is_not_told(field: str, tokens: Any) -> None:
    """It is not what was paid: the answer costs what was reserved."""
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5} | {field: tokens}
    body = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage}
    assert not read(json.dumps(body).encode()).usage.is_counted
    assert read(
        json.dumps(body | {"usageMetadata": usage | {field: "7"}}).encode()
    ).usage.is_counted


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(b"", "not_json"), (HTML, "not_json"), (b"\xff", "not_json"), (b"[" * 200_000, "not_json")]
    + [
        (text.encode(), "bad_reply")
        for text in ("[]", "null", '"x"', "5", '{"error": {"code": 500}}')
    ],
)
def test_what_is_no_answer_is_a_typed_error(raw: bytes, reason: str) -> None:
    """Also when it was stored by an earlier run."""
    with pytest.raises(ReplyError) as refused:
        read(raw)
    assert refused.value.reason == reason


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["candidates", "content", "parts", "text", "finishReason", "usageMetadata", "promptTokenCount",
                         "promptTokensDetails", "modality", "tokenCount", "promptFeedback", "blockReason", "error",
                         "code", "message", "status", "details", "@type", "violations", "quotaId", "retryDelay"]),
        inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON_VALUES)
@settings(max_examples=150, deadline=None)
def test_any_json_is_a_reply_or_a_typed_error(value: Any) -> None:
    """No shape of an answer crashes the reader or the reader of errors."""
    from pipeline.providers.faults import Answer as Raw
    from pipeline.providers.faults import fault

    raw = json.dumps(value).encode()
    try:
        got = read(raw)
    except ReplyError as refused:
        assert refused.reason in {"not_json", "bad_reply"}  # noqa: PT017, either is right here
    else:
        got.text.encode()
        assert min(got.usage.input, got.usage.output, got.usage.audio) >= 0
    for status in (400, 404, 429, 503):
        assert isinstance(fault(Raw(status, {}, raw), endpoint()), FieldsiftError)


def test_half_a_surrogate_pair_can_be_written_to_a_file() -> None:
    """JSON can hold what UTF-8 can't."""
    got = read(
        b'{"candidates": [{"content": {"parts": [{"text": "a\\ud800b"}]}, "finishReason": "STOP"}]}'
    )
    assert got.text == "a\ufffdb"
