"""Gemini's settings and tools: where they stand, what may stand together, and how calls go there and back."""

import json
from dataclasses import replace
from typing import Any

import pytest

from pipeline.document import Part
from pipeline.errors import ReplyError, UsageError
from pipeline.providers import Call, Request, Settings, Tool, Turn
from pipeline.providers.gemini import ceiling, check, read, wire
from pipeline.stages import TOOLS, Stage
from tests.answers import Answer, Seen, generated
from tests.asking import SCHEMA, ask, endpoint, request, text_part
from tests.server import Server
from tests.wire import strict

RATE = Tool(
    "rate_of",
    "The exchange rate of a currency.",
    {
        "type": "object",
        "properties": {"currency": {"type": "string", "minLength": 3}, "on": {"type": "string"}},
        "required": ["currency"],
        "additionalProperties": False,
    },
)
NOW = Tool("now", "The time.", {"type": "object", "properties": {}})
OLD = ("gemini-2.5-flash-lite", "gemini-2.5-flash", "gemini-2.5-pro")
NEW = ("gemini-3.1-flash-lite", "gemini-3.5-flash-lite", "gemini-flash-latest", "gemini-9-neon")


def body(**asked: Any) -> dict[str, Any]:
    return wire.body(request(**asked))


# Settings


@pytest.mark.parametrize(
    ("word", "threshold"),
    [
        ("off", "OFF"),
        ("none", "BLOCK_NONE"),
        ("high", "BLOCK_ONLY_HIGH"),
        ("medium", "BLOCK_MEDIUM_AND_ABOVE"),
        ("low", "BLOCK_LOW_AND_ABOVE"),
    ],
)
def test_one_word_sets_the_filter_of_every_kind_of_harm(word: Any, threshold: str) -> None:
    """The four that text is filtered for, each once."""
    told = body(safety=word)["safetySettings"]
    assert {each["threshold"] for each in told} == {threshold}
    assert sorted(each["category"] for each in told) == [
        "HARM_CATEGORY_DANGEROUS_CONTENT",
        "HARM_CATEGORY_HARASSMENT",
        "HARM_CATEGORY_HATE_SPEECH",
        "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    ]


@pytest.mark.parametrize("tier", ["standard", "flex", "priority"])
def test_the_tier_stands_at_the_top_and_not_in_the_key(tier: Any) -> None:
    """What an answer is bought for does not decide what it is."""
    assert body(service_tier=tier)["serviceTier"] == tier
    assert request(service_tier=tier).key() == request().key()
    assert ceiling(request(service_tier=tier), endpoint()).tier == tier


EVERYTHING: dict[str, Any] = {
    "thinking": "high",
    "media_resolution": "medium",
    "seed": 7,
    "temperature": 0.5,
    "safety": "off",
    "service_tier": "flex",
    "tools": TOOLS,
    "functions": (RATE, NOW),
}


@pytest.mark.parametrize("stream", [False, True])
def test_all_settings_together_are_what_google_parses(stream: bool) -> None:
    """Each stands in its place, and the answer comes."""
    with Server() as server:
        (answer,) = ask(server, request(stream=stream, **EVERYTHING))
        (seen,) = server.requests
    assert seen.violations == ()
    assert seen.body.keys() == {
        "systemInstruction", "tools", "toolConfig", "safetySettings", "serviceTier", "generationConfig", "contents",
    }  # fmt: skip
    assert seen.config["thinkingConfig"] == {"thinkingLevel": "HIGH"}
    assert read(answer).finish == "stop"


def test_functions_go_with_the_schema_that_the_service_enforces() -> None:
    """What it would ignore goes into words; a function without parameters has no schema."""
    declared = body(functions=(RATE, NOW))["tools"][0]["functionDeclarations"]
    assert declared[1] == {"name": "now", "description": "The time."}
    sent = declared[0]["parametersJsonSchema"]
    assert sent["required"] == ["currency"]
    assert "minLength" not in json.dumps(sent)
    assert "at least 3 characters" in json.dumps(sent)
    assert strict(body(functions=(RATE, NOW))) == []


def test_both_kinds_of_tools_are_combined_where_the_service_wants_a_word_for_it() -> None:
    """Gemini's API has a switch; Vertex AI has none."""
    both: dict[str, Any] = {"tools": ("google_search",), "functions": (RATE,)}
    assert body(**both)["toolConfig"] == {"includeServerSideToolInvocations": True}
    assert "toolConfig" not in body(tools=TOOLS)
    assert "toolConfig" not in body(functions=(RATE,))
    assert "toolConfig" not in wire.body(replace(request(**both), provider="vertex"))


# What may stand together


@pytest.mark.parametrize("model", OLD)
@pytest.mark.parametrize("asked", [{"tools": ("google_search",)}, {"functions": (RATE,)}])
def test_an_older_model_has_no_tools_beside_json(model: str, asked: dict[str, Any]) -> None:
    """Refused before anything is sent, with the way out; the same for a stage."""
    with Server() as server:
        (refused,) = ask(server, request(model=model, **asked))
        assert server.requests == []
    assert isinstance(refused, UsageError)
    assert f"{model} can't use tools for an answer in JSON" in str(refused)
    assert "Gemini 3" in str(refused)
    with pytest.raises(UsageError, match="leave the tools out"):
        check(Stage("bill", SCHEMA, tools=("url_context",)), endpoint(model=model))


@pytest.mark.parametrize("model", OLD)
def test_an_older_model_has_tools_of_one_kind_for_plain_text(model: str) -> None:
    """Several of the service's own, or functions, never both."""
    at = endpoint(model=model)
    check(Settings(9, tools=TOOLS), at, as_json=False)
    check(Settings(9, functions=(RATE,)), at, as_json=False)
    with pytest.raises(UsageError, match="one kind of tools"):
        check(Settings(9, tools=("google_search",), functions=(RATE,)), at, as_json=False)


@pytest.mark.parametrize("model", NEW)
def test_a_newer_model_combines_everything_and_an_unknown_one_is_asked(model: str) -> None:
    """Also an alias, which has the facts of what it stands for."""
    check(Settings(9, tools=TOOLS, functions=(RATE,)), endpoint(model=model))
    check(Stage("bill", SCHEMA, tools=TOOLS), endpoint(model=model))


def test_a_temperature_that_would_be_ignored_is_refused() -> None:
    """Only where that is known."""
    with pytest.raises(UsageError, match="takes none"):
        check(Settings(9, temperature=0.0), endpoint(model="gemini-3.5-flash-lite"))
    with pytest.raises(UsageError, match="takes none"):
        check(Settings(9, temperature=0.0), endpoint(model="gemini-flash-lite-latest"))
    check(Settings(9, temperature=0.0), endpoint(model="gemini-3.1-flash-lite"))


@pytest.mark.parametrize("name", ["", "9lives", "two words", "naïve", "a" * 129])
def test_a_function_needs_a_name_that_the_service_takes(name: str) -> None:
    """Said here, not by a bare 400."""
    with pytest.raises(UsageError, match="a function can't be called"):
        check(Settings(9, functions=(replace(RATE, name=name),)), endpoint())


def test_a_tool_that_there_is_not_names_those_that_there_are() -> None:
    """As every choice does."""
    with pytest.raises(UsageError, match="google_search, url_context, code_execution"):
        check(Settings(9, tools=("web",)), endpoint())


# Calls


ASKS: dict[str, Any] = {
    "role": "model",
    "parts": [
        {"text": "Let me see", "thought": True},
        {
            "functionCall": {"id": "c-1", "name": "rate_of", "args": {"currency": "CHF"}},
            "thoughtSignature": "c2lnbmF0dXJl",
        },
        {"functionCall": {"name": "now"}},
    ],
}


def calling(seen: Seen) -> Answer:
    """A model that asks for two functions and answers with what they said."""
    results = [part["functionResponse"] for part in seen.parts if "functionResponse" in part]
    if not results:
        return generated({}, content=ASKS)
    return generated({"vendor": json.dumps(results), "total": 1})


@pytest.mark.parametrize("stream", [False, True])
def test_calls_come_with_their_ids_and_go_back_with_the_turn_as_it_came(stream: bool) -> None:
    """Signatures unchanged, a result for each call, whatever is no object wrapped; ours is the last turn."""
    first = request(functions=(RATE, NOW), stream=stream)
    with Server(calling) as server:
        (answer,) = ask(server, first)
        got = read(answer)
        turn = Turn(got.said, got.calls, ({"rate": 0.93}, "noon"))
        (last,) = ask(server, replace(first, turns=(turn,)))
        contents = server.requests[1].body["contents"]
    assert got.calls == (Call("rate_of", {"currency": "CHF"}, "c-1"), Call("now", {}, ""))
    assert (got.finish, got.text) == ("stop", "")
    assert contents[1]["role"] == "model"
    assert contents[1]["parts"][-2:] == ASKS["parts"][-2:]
    assert contents[1] == ASKS or stream  # there, the text before came in several parts
    assert contents[2] == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "c-1", "name": "rate_of", "response": {"rate": 0.93}}},
            {"functionResponse": {"name": "now", "response": {"result": "noon"}}},
        ],
    }
    assert "noon" in json.loads(read(last).text)["vendor"]
    assert replace(first, turns=(turn,)).key() != first.key()


def test_a_turn_without_a_role_gets_one() -> None:
    """The service needs it in a request and may leave it out in an answer."""
    said = {"parts": [{"functionCall": {"name": "now"}}]}
    one = replace(request(functions=(NOW,)), turns=(Turn(said, (Call("now", {}),), (None,)),))
    assert wire.body(one)["contents"][1]["role"] == "model"
    assert strict(wire.body(one)) == []


def test_code_that_was_run_is_not_the_answer() -> None:
    """Neither the code nor its output nor a call of the service's own tools is part of the text."""
    parts: list[dict[str, Any]] = [
        {"executableCode": {"language": "PYTHON", "code": "print(5)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "5\n"}},
        {"toolCall": {"toolType": "GOOGLE_SEARCH", "id": "t"}},
        {"toolResponse": {"toolType": "GOOGLE_SEARCH", "id": "t"}},
        {"text": '{"total": '},
        {"text": "5}"},
    ]
    got = read(json.dumps(generated({}, content={"parts": parts}).body).encode())
    assert got.text == '{"total": 5}'
    assert (got.calls, dict(got.said)) == ((), {})


def test_a_cut_turn_calls_nothing() -> None:
    """Its arguments may be half."""
    got = read(json.dumps(generated({}, content=ASKS, finishReason="MAX_TOKENS").body).encode())
    assert (got.finish, got.calls) == ("truncated", ())


@pytest.mark.parametrize(
    "arguments", ['{"a": NaN}', '{"a": 1e999}', '{"a": ' + "[" * 300 + "]" * 300 + "}"]
)
def test_a_call_that_can_not_go_back_is_no_answer(arguments: str) -> None:
    """What the next request could not hold is refused at once."""
    part = '{"functionCall": {"name": "now", "args": ' + arguments + "}}"
    with pytest.raises(ReplyError) as refused:
        read(
            f'{{"candidates": [{{"content": {{"parts": [{part}]}}, "finishReason": "STOP"}}]}}'.encode()
        )
    assert refused.value.reason == "bad_reply"


# What was searched, and what it took


def test_sources_and_searches_are_told() -> None:
    """Each address once, failed fetches left out; every query counts, as it is charged."""
    grounding = {
        "webSearchQueries": ["a", "b", ""],
        "groundingChunks": [
            {"web": {"uri": "https://x.test/1", "title": "x"}},
            {"web": {"uri": "https://x.test/1"}},
            {"maps": {}},
            {"web": {"uri": "https://x.test/\x1b[31m"}},
        ],
    }
    fetched = {
        "urlMetadata": [
            {"retrievedUrl": "https://y.test", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"},
            {"retrievedUrl": "https://z.test", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_PAYWALL"},
        ]
    }  # fmt: skip
    more: dict[str, Any] = {"groundingMetadata": grounding, "urlContextMetadata": fetched}
    got = read(json.dumps(generated({}, **more).body).encode())
    assert got.sources == ("https://x.test/1", "https://y.test")
    assert got.usage.searches == 2


def test_every_field_of_the_usage_is_read() -> None:
    """By kind of content, in cache and out of it, and the tier that it was served at."""
    usage = {
        "promptTokenCount": 300,
        "cachedContentTokenCount": 200,
        "toolUsePromptTokenCount": 7,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 100},
            {"modality": "AUDIO", "tokenCount": 150},
            {"tokenCount": 30},
            {"modality": "DOCUMENT", "tokenCount": "20"},
        ],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 60}],
        "serviceTier": "FLEX",
    }
    got = read(json.dumps(generated({}, usage=usage).body).encode()).usage
    assert got.by_modality == (("text", 130), ("audio", 150), ("document", 20))
    assert (got.audio, got.cached_audio, got.tool, got.tier) == (150, 60, 7, "flex")
    plain = read(json.dumps(generated({}).body).encode()).usage
    assert (plain.cached_audio, plain.tier, plain.by_modality) == (None, "", ())


@pytest.mark.parametrize(
    ("answer", "is_counted"),
    [
        ({"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 9}}, True),
        ({"promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {"promptTokenCount": 9}}, True),
        ({"candidates": [{"finishReason": "STOP"}]}, False),
        ({"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"totalTokenCount": 9}}, False),
        ({"candidates": [{}], "usageMetadata": {"promptTokenCount": 9}}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_say_what_it_took_is_not_free(
    answer: Any, is_counted: bool
) -> None:
    """Nor is one that broke off: what came until then is not all."""
    assert read(json.dumps(answer).encode()).usage.is_counted is is_counted


def test_vertex_calls_its_tiers_otherwise() -> None:
    """Another field, other words."""
    usage = {"promptTokenCount": 1, "trafficType": "ON_DEMAND_PRIORITY"}
    assert read(json.dumps(generated({}, usage=usage).body).encode()).usage.tier == "priority"


@pytest.mark.parametrize("count", [2**40, "9" * 19, 10**30])
def test_a_count_that_can_be_none_does_not_break_sums(count: Any) -> None:
    """Tokens are numbers of 32 bits; money is kept in 64."""
    got = read(json.dumps(generated({}, usage={"promptTokenCount": count}).body).encode())
    assert (got.usage.input, got.usage.is_counted) == (0, False)


# What is reserved


def more_than_plain(**asked: Any) -> Any:
    """What settings add to the reservation."""
    plain, with_them = ceiling(request(), endpoint()), ceiling(request(**asked), endpoint())
    return with_them.input - plain.input, with_them.tool, with_them.searches


def test_tools_and_turns_are_reserved_for() -> None:
    """Declarations by their bytes, what tools read by the context, queries by a bounded number."""
    declared = len(json.dumps([RATE.name, RATE.description, RATE.parameters]))
    assert more_than_plain(functions=(RATE,))[0] >= declared
    assert more_than_plain(functions=(RATE,))[1:] == (0, 0)
    assert more_than_plain(tools=("url_context",)) == (0, 1_048_576, 0)
    assert more_than_plain(tools=("google_search",)) == (0, 1_048_576, 20)
    turn = Turn(ASKS, (Call("rate_of", {}, "c-1"),), ("é" * 100,))
    later: Request = replace(request(), turns=(turn,))
    assert ceiling(later, endpoint()).input - ceiling(request(), endpoint()).input >= 200 + len(
        json.dumps(ASKS)
    )


def test_sound_and_video_are_bounded_by_bytes_and_context() -> None:
    """32 tokens a second: a byte is more than any second of sound that is a file has for each of them."""

    def heard(part: Part) -> tuple[int, int]:
        most = ceiling(request(text_part(""), part), endpoint())
        return most.input - ceiling(request(text_part("")), endpoint()).input, most.audio

    assert heard(Part("audio", "audio/mp3", data=bytes(1000))) == (1000, 1000)
    assert heard(Part("audio", "audio/mp3", data=bytes(2_000_000))) == (1_048_576, 1_048_576)
    assert heard(Part("audio", "audio/mp3")) == (1_048_576, 1_048_576)
    assert heard(Part("video", "video/mp4", data=bytes(10))) == (1_048_576, 1_048_576)
