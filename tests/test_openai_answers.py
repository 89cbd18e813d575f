"""OpenAI-compatible answers: what every behaviour of a server becomes, and how its answers are read."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answer import parse
from pipeline.errors import FieldsiftError, KeyRefused, PaymentNeeded, ReplyError, Transient
from pipeline.providers import Reply, Usage
from pipeline.providers.openai import Timeouts, read
from tests.answers import Answer, reset
from tests.chats import KEY, ask, at, request
from tests.routes_openai import calling, completion, error, events, streamed
from tests.server import Server

QUICK = Timeouts(read=0.5, total=5.0)
HTML = b"<html><body>proxy says no</body></html>"
WHOLE = completion({"total": 5})
INSIDE = {"error": {"code": 429, "message": "slow down", "type": "rate_limit_error"}}
PARTLY = events({"choices": [{"index": 0, "delta": {"content": "{"}}]}, {"error": {"code": 503}})
IN_CHOICE = Answer(body={"choices": [{"error": {"code": 502, "message": "upstream"}}]})

# fmt: off
#: behaviour: the answer, the kind of error, words in its message
BEHAVIOURS: dict[str, tuple[Answer, type[FieldsiftError], str]] = {
    "400": (error(400, "Invalid schema for response_format 'answer'"), ReplyError, "Invalid schema"),
    "400 a vLLM": (Answer(400, {"object": "error", "message": "too long", "code": 400}), ReplyError, "400"),
    "400 a text": (Answer(400, {"error": "model requires more memory"}), ReplyError, "more memory"),
    "401": (error(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key"), KeyRefused, "OPENAI_API_KEY"),
    "402": (error(402, "insufficient balance", type="insufficient_quota_error"), PaymentNeeded, "payment"),
    "403": (error(403, "Country not supported"), KeyRefused, "Country"),
    "404 web page": (Answer(404, HTML), ReplyError, "check the address"),
    "408": (error(408), Transient, ""),
    "413": (Answer(413, HTML), ReplyError, "fewer pages"),
    "422": (error(422, "Unprocessable"), ReplyError, "Unprocessable"),
    "429": (error(429, "Rate limit reached"), Transient, "Rate limit"),
    "500": (error(500, "The server had an error"), Transient, "had an error"),
    "502 web page": (Answer(502, HTML), Transient, "web page"),
    "503": (error(503, "overloaded"), Transient, "overloaded"),
    "200 with an error": (Answer(body=INSIDE), Transient, "slow down"),
    "200 with an error and nothing else in choices": (Answer(body=INSIDE | {"choices": []}), Transient, "slow"),
    "200 with 402 in it": (Answer(body={"error": {"code": 402, "message": "no money"}}), PaymentNeeded, "no money"),
    "200 with an error in the choice": (IN_CHOICE, Transient, "upstream"),
    "200 with an error in the stream": (PARTLY, Transient, "503"),
    "200 empty": (Answer(body=b""), Transient, "is empty"),
    "200 web page": (Answer(body=HTML), Transient, "HTML"),
    "200 half of the JSON": (Answer(body=json.dumps(WHOLE.body)[:-9].encode()), Transient, "not JSON"),
    "200 not UTF-8": (Answer(body=b'{"choices": "\xff"}'), Transient, "not JSON"),
    "200 a list": (Answer(body=[1]), Transient, "no object"),
    "200 deep": (Answer(body=b"[" * 100_000), Transient, "not JSON"),
    "200 an empty stream": (events("[DONE]"), Transient, "holds nothing"),
    "200 a stream of nonsense": (events("{", "[DONE]"), Transient, "not JSON"),
    "200 a stream of lists": (events([1], "[DONE]"), Transient, "no object"),
    "reset": (reset(), Transient, ""),
    "half": (replace(WHOLE, fault="half"), Transient, ""),
    "half a stream": (replace(streamed(WHOLE), fault="half"), Transient, ""),
    "longer than it says": (replace(WHOLE, fault="too_short"), Transient, ""),
    "shorter than it says": (replace(WHOLE, fault="too_long"), Transient, ""),
    "stall": (replace(WHOLE, fault="stall"), Transient, ""),
}
# fmt: on


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_what_a_server_does_becomes_a_typed_error(behaviour: str) -> None:
    """Nothing that failed is an answer, the sentence says what happened, the key is in none of it."""
    answer, kind, words = BEHAVIOURS[behaviour]
    with Server() as server:
        server.next(answer)
        (failure,) = ask(at(server), times=QUICK if answer.fault else None)
    assert type(failure) is kind, failure
    assert words in str(failure)
    assert KEY not in str(failure)


def test_the_key_is_in_no_stored_body() -> None:
    """A server may say it; what is kept has the name of the variable in its place."""
    with Server() as server:
        server.next(completion(f"your key is {KEY}"))
        (body,) = ask(at(server))
    assert KEY.encode() not in body
    assert b"[OPENAI_API_KEY]" in body


def reply_of(answer: Answer) -> Reply:
    """An answer as it is read."""
    body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
    return read(body)


ENDS = [
    ("stop", "stop", None),
    ("STOP", "stop", None),
    ("length", "truncated", "length"),
    ("MAX_TOKENS", "truncated", "MAX_TOKENS"),
    ("content_filter", "refused", "content_filter"),
    ("tool_calls", "refused", "tool_calls"),
    ("function_call", "refused", "function_call"),
    ("model_armor", "refused", "model_armor"),
    (None, "truncated", "no_finish_reason"),
    (["stop"], "truncated", "no_finish_reason"),
]


@pytest.mark.parametrize(("said", "finish", "reason"), ENDS)
def test_every_end_has_its_meaning_and_an_unknown_one_is_no_good_end(
    said: Any, finish: str, reason: str | None
) -> None:
    """`stop` alone is a plain end; without any, or with `length`, the answer is cut."""
    reply = reply_of(completion({"a": 1}, finish_reason=said))
    assert (reply.finish, reply.reason) == (finish, reason)
    assert reply.text == '{"a": 1}'
    assert (reply.model, reply.response_id) == ("any-model-0125", "chatcmpl-1")


def test_a_refusal_is_one_whatever_the_end_says() -> None:
    """Its words stand where the text would; in parts too."""
    for message in (
        {"content": None, "refusal": "I can't."},
        {"content": [{"type": "refusal", "refusal": "I can't."}]},
    ):
        reply = reply_of(completion(None, message={"role": "assistant"} | message))
        assert (reply.finish, reply.reason, reply.text) == ("refused", "refusal", "I can't.")


def test_an_answer_without_a_choice_is_refused() -> None:
    """Also where what stands there is no choice."""
    strange: list[Any] = [[], None, [None], "x", {}]
    for choices in strange:
        reply = reply_of(Answer(body=completion({}).body | {"choices": choices}))
        assert (reply.finish, reply.reason, reply.text) == ("refused", "no_choices", "")


@pytest.mark.parametrize(
    "message",
    [
        {"content": '{"a": 1}', "reasoning_content": "Let me think"},
        {"content": '{"a": 1}', "reasoning": "Let me think"},
        {"content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": '{"a":'},
                     {"type": "text", "text": " 1}"}]},
        {"content": '<think>\nLet me think: {"b": 2}\n</think>\n\n{"a": 1}'},
        {"content": '<thought>x</thought>{"a": 1}'},
    ],
)  # fmt: skip
def test_thinking_is_never_part_of_the_answer(message: dict[str, Any]) -> None:
    """Beside it, in parts, or in marks before it."""
    assert reply_of(completion(None, message=message)).text == '{"a": 1}'


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('\n```\n{"a": 1}\n```\n', {"a": 1}),
        ('```json\n{"a": "```"}\n```', {"a": "```"}),
        ('```json\n{"a": 1}\n```\n```json\n{"a": 2}\n```', None),
        ('Here it is:\n```json\n{"a": 1}\n```', None),
        ('```json\n{"a": 1}\n```\nDone!', None),
        ('```json\n{"a": 1}', None),
    ],
)
def test_one_fence_around_everything_is_taken_off_and_nothing_else(text: str, data: Any) -> None:
    """Servers without structured output write so; what stands beside a fence is no answer."""
    reply = reply_of(completion(text))
    if data is None:
        with pytest.raises(ReplyError):
            parse(reply.text)
    else:
        assert parse(reply.text) == data


USAGES: list[tuple[Any, Usage]] = [
    (
        {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
         "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 7},
         "completion_tokens_details": {"reasoning_tokens": 30}},
        Usage(input=100, cached=64, output=20, thoughts=30, audio=7),
    ),
    ({"prompt_tokens": 9, "completion_tokens": 5}, Usage(input=9, output=5)),
    # Gemini behind gateways: thinking is in the total alone, or beside the completion.
    ({"prompt_tokens": 20, "completion_tokens": 151, "total_tokens": 553}, Usage(input=20, output=151, thoughts=382)),
    (
        {"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 81,
         "completion_tokens_details": {"reasoning_tokens": 60}},
        Usage(input=21, output=0, thoughts=60),
    ),
    (
        {"prompt_tokens": 21, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 60}},
        Usage(input=21, output=5, thoughts=60),
    ),
    ({"prompt_tokens": 9.0, "completion_tokens": -5}, Usage(input=9)),
    ({"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": None}, Usage(input=9, output=5)),
    ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 99}},
     Usage(input=9, output=1, cached=9)),
    ({}, Usage(is_counted=False)),
    ({"prompt_tokens": 9}, Usage(is_counted=False)),
    ({"prompt_tokens": True, "completion_tokens": "5"}, Usage(is_counted=False)),
    ([], Usage(is_counted=False)),
]  # fmt: skip


@pytest.mark.parametrize(("said", "usage"), USAGES)
def test_tokens_are_counted_by_kind_and_what_is_not_told_is_not_zero(
    said: Any, usage: Usage
) -> None:
    """Thinking is taken out of the completion, or found outside of it; an untold count is unknown."""
    body = completion({"a": 1}).body
    assert reply_of(Answer(body=body | {"usage": said})).usage == usage
    if said:
        assert reply_of(streamed(Answer(body=body | {"usage": said}))).usage == usage


@pytest.mark.parametrize(
    ("said", "tier"),
    [("default", "standard"), ("flex", "flex"), ("fast", "priority"), ("auto", ""), (None, "")],
)
def test_the_tier_that_the_answer_was_made_at_is_told(said: Any, tier: str) -> None:
    """In our own names, which prices have."""
    body = completion({"a": 1}).body | {"service_tier": said}
    assert reply_of(Answer(body=body)).usage.tier == tier


CALLS = (
    {"name": "weigh", "arguments": '{"sku": "a-1"}'},
    {"name": "weigh", "arguments": '{"sku": "b-2"}', "extra_content": {"google": {"x": "y"}}},
)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "answer",
    [WHOLE, completion("é€😀" * 5), calling(*CALLS), calling(*CALLS, finish_reason="stop")],
)
def test_a_stream_is_read_as_the_answer_it_is_made_of(
    size: int, newline: str, answer: Answer
) -> None:
    """Whatever the pieces, whatever ends a line."""
    whole, joined = reply_of(answer), reply_of(streamed(answer, size=size, newline=newline))
    said = {k: v for k, v in joined.said.items() if v != ""}
    assert replace(joined, said=said) == whole


def test_a_long_stream_is_read_in_time_that_grows_with_its_length() -> None:
    """Of one text in a hundred thousand pieces, and of as many calls: neither is copied for each piece."""
    texts = [{"choices": [{"delta": {"content": "0123456789"}}]}] * 100_000
    calls = [
        {"choices": [{"delta": {"tool_calls": [{"index": n, "function": {"name": "f"}}]}}]}
        for n in range(30_000)
    ]
    started = time.process_time()
    assert len(reply_of(events(*texts)).text) == 1_000_000
    end = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}
    assert len(reply_of(events(*calls, end)).calls) == 30_000
    assert time.process_time() - started < 8


@pytest.mark.parametrize("tokens", [10**25, 1e300, 2**31])
def test_a_count_that_none_can_be_is_not_told(tokens: float) -> None:
    """It can't be booked as money either."""
    usage = {"prompt_tokens": tokens, "completion_tokens": 1}
    assert not reply_of(completion("{}", usage=usage)).usage.is_counted


@pytest.mark.parametrize("name", [{"a": 1}, [1], 5, True])
def test_calls_with_ids_of_any_type_are_read(name: Any) -> None:
    """What is no text is none."""
    piece = {"id": name, "index": name, "function": {"name": "f"}}
    assert reply_of(deltas(piece, piece)).calls[0].name == "f"


def test_a_stream_that_ends_without_a_reason_is_truncated() -> None:
    """With or without its last mark; its tokens are then unknown."""
    reply = reply_of(streamed(WHOLE, is_whole=False))
    assert (reply.finish, reply.reason) == ("truncated", "no_finish_reason")
    assert reply.text == '{"total": 5}'
    assert not reply.usage.is_counted


def deltas(*calls: Any) -> Answer:
    """A stream of such pieces of calls."""
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]} for call in calls]
    return events(*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})


def test_calls_in_a_stream_are_told_apart_without_their_index() -> None:
    """Google leaves it out, or gives all calls the same; an id says that a new one begins."""
    for index in ({}, {"index": 0}):
        reply = reply_of(
            deltas(
                {"id": "a", "function": {"name": "weigh", "arguments": '{"sku"'}, **index},
                {"function": {"arguments": ': "1"}'}, **index},
                {"extra_content": {"google": {"thought_signature": "s"}}, **index},
                {"id": "b", "function": {"name": "weigh", "arguments": {"sku": "2"}}, **index},
            )
        )
        assert [(c.id, dict(c.arguments)) for c in reply.calls] == [
            ("a", {"sku": "1"}),
            ("b", {"sku": "2"}),
        ]
        assert reply.said["tool_calls"][0]["extra_content"]["google"]["thought_signature"] == "s"
        assert all("index" not in call for call in reply.said["tool_calls"])


def test_calls_of_servers_that_follow_the_format_loosely() -> None:
    """No id, arguments as an object or absent, the old `function_call`; a `stop` that is none."""
    loose = {"tool_calls": [{"function": {"name": "a", "arguments": {"x": 1}}},
                            {"function": {"name": "b"}}]}  # fmt: skip
    reply = reply_of(completion(None, message=loose))
    assert [(c.name, dict(c.arguments), c.id) for c in reply.calls] == [
        ("a", {"x": 1}, "call_1"),
        ("b", {}, "call_2"),
    ]
    old = {"function_call": {"name": "a", "arguments": "{}"}}
    reply = reply_of(completion(None, message=old, finish_reason="function_call"))
    assert [c.name for c in reply.calls] == ["a"]
    assert reply.finish == "stop"


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", '"x"', "[" * 100_000])
def test_arguments_that_are_no_object_are_a_refusal(arguments: str) -> None:
    """Nothing is called with half of what was meant."""
    reply = reply_of(calling({"name": "a", "arguments": arguments}))
    assert (reply.finish, reply.reason) == ("refused", "malformed_function_call")
    assert reply.calls == ()


def test_a_cut_answer_calls_nothing() -> None:
    """The arguments of its last call may be cut too."""
    reply = reply_of(calling(*CALLS, finish_reason="length"))
    assert (reply.finish, reply.calls) == ("truncated", ())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = st.sampled_from(
    [
        "choices",
        "message",
        "delta",
        "content",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "id",
        "index",
        "finish_reason",
        "usage",
        "refusal",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "cached_tokens",
        "error",
        "code",
        "text",
        "type",
        "service_tier",
        "model",
        "extra_content",
        "function_call",
    ]
)
LIKELY = st.recursive(
    JSON | st.sampled_from(["stop", "length", "tool_calls", "text", "{}", "assistant"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6),
    max_leaves=25,
)


def safely(body: bytes) -> Reply | None:
    """What is read of a body; nothing but our own error may come."""
    try:
        return read(body)
    except ReplyError:
        return None


@given(LIKELY, st.sampled_from(["choices", "message"]))
@settings(max_examples=400, deadline=None)
def test_any_json_is_an_answer_or_our_own_error(data: Any, place: str) -> None:
    """Of any depth and type, as a body, as a choice, as a message; and in a stream."""
    choice = data if place == "choices" else {"message": data, "delta": data}
    for body in (data, {"choices": [choice], "usage": data}):
        text = json.dumps(body)
        for raw in (text.encode(), f"data: {text}\n\ndata: {text}\n\ndata: [DONE]\n\n".encode()):
            reply = safely(raw)
            if reply is not None:
                json.dumps([reply.text, dict(reply.said)]).encode()


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_answer_or_our_own_error(noise: bytes) -> None:
    """As a body, and as an event of a stream."""
    safely(noise)
    safely(b"data: " + noise + b"\n\n")


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_stream_cut_anywhere_is_never_a_whole_answer(data: st.DataObject) -> None:
    """Before its `finish_reason` came, whatever came counts as truncated or damaged."""
    body = streamed(WHOLE).body
    last = body.index(b'"finish_reason": "stop"')
    reply = safely(body[: data.draw(st.integers(0, last))])
    assert reply is None or reply.finish != "stop"


def test_half_a_surrogate_pair_becomes_a_character() -> None:
    """JSON can hold one, no file can; in a stream its halves may come apart."""
    assert reply_of(completion("\ud83d")).text == "\ufffd"
    assert reply_of(streamed(completion("\ud83d\ude00"), size=1)).text == "😀"


def test_an_answer_without_its_tokens_is_not_free() -> None:
    """It says so, and what it took is what was reserved for it."""
    with Server() as server:
        body = completion({"total": 5}).body
        del body["usage"]
        server.next(Answer(body=body))
        (came,) = ask(at(server), request())
    assert not read(came).usage.is_counted
