"""The OpenAI-compatible wire: what is sent, to services of all kinds, and what is refused before."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import catalogue
from pipeline.document import Part
from pipeline.errors import ReplyError, SetupError, UsageError
from pipeline.providers import Endpoint, Settings, Tool, Turn, open_provider
from pipeline.providers.gemini import Gemini
from pipeline.providers.openai import OpenAI, check, read
from pipeline.providers.openai.wire import SOUNDS
from pipeline.schema import Schema
from pipeline.stages import Stage
from tests.answers import generated
from tests.asking import SCHEMA, file_part, pdf, text_part
from tests.asking import request as gemini_request
from tests.chat_body import strict
from tests.chats import KEY, ask, at, body_of, endpoint, request
from tests.routes_openai import MODELS, calling, files
from tests.server import Server

PNG = file_part(b"\x89PNG\r\n\x1a\n" + b"x" * 1000, "image/png")
SOUND = Part("audio", "audio/wav", data=b"RIFFxxxxWAVE", sha256="0" * 64)
WEIGH = Tool("weigh", "How heavy?", {"type": "object", "properties": {"sku": {"type": "string"}}})


def weigh(sku: str) -> int:
    """How heavy is it, in grams?"""
    return 5 * len(sku)


#: Settings of a stage, and what of the body says them.
ASKED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"thinking": "minimal"}, {"reasoning_effort": "minimal"}),
    ({"thinking": "high", "seed": 7}, {"reasoning_effort": "high", "seed": 7}),
    ({"temperature": 0.0}, {"temperature": 0.0}),
    ({"service_tier": "flex"}, {"service_tier": "flex"}),
    ({"service_tier": "standard"}, {"service_tier": "default"}),
    ({"service_tier": "priority"}, {"service_tier": "priority"}),
    ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
]


@pytest.mark.parametrize(("asked", "told"), ASKED)
def test_each_setting_stands_where_the_format_has_it_and_no_other(
    asked: dict[str, Any], told: dict[str, Any]
) -> None:
    """What is not asked for is not sent."""
    body = dict(body_of(request(**asked)))
    assert strict(body) == []
    plain = {"model", "messages", "response_format", "max_completion_tokens"}
    assert {name: body[name] for name in body.keys() - plain} == told
    assert body["max_completion_tokens"] == 1024


def test_a_request_is_the_documented_one() -> None:
    """System and user message, a strict schema, an output limit."""
    assert body_of(request()) == {
        "model": "any-model",
        "messages": [
            {"role": "system", "content": "Extract."},
            {"role": "user", "content": "Total: 5"},
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "answer",
                "strict": True,
                "schema": dict(OpenAI(endpoint()).dialect(SCHEMA) or {}),
            },
        },
        "max_completion_tokens": 1024,
    }
    assert "system" not in [m["role"] for m in body_of(request(system=""))["messages"]]


def test_pictures_sound_and_pdfs_are_parts() -> None:
    """Data URIs with their media type, the detail of pictures, the format of sound."""
    document = file_part(pdf(1))
    parts = (text_part("Here:"), PNG, SOUND, document)
    body = body_of(request(*parts, media_resolution="high"))
    assert strict(body) == []
    _, picture, sound, file = body["messages"][1]["content"]
    assert picture["image_url"]["detail"] == "high"
    assert sound["input_audio"]["format"] == "wav"
    assert file["file"]["filename"] == "document.pdf"
    assert file["file"]["file_data"].startswith("data:application/pdf;base64,JVBER")
    plain = body_of(request(PNG))["messages"][1]["content"][0]["image_url"]
    assert plain.keys() == {"url"}
    assert body_of(request(PNG, media_resolution="medium"))["messages"][1]["content"][0][
        "image_url"
    ]["detail"] == ("auto")


@pytest.mark.parametrize("kind", [*SOUNDS, "audio/ogg", "video/mp4"])
def test_sound_goes_as_wav_or_mp3_and_film_not_at_all(kind: str) -> None:
    """What has no place in the format is an error that names it, never a guess."""
    part = Part("video" if kind == "video/mp4" else "audio", kind, data=b"x")
    if kind in SOUNDS:
        assert strict(body_of(request(part))) == []
        return
    with pytest.raises(ReplyError, match=kind):
        body_of(request(part))


@pytest.mark.parametrize("level", ["json_schema", "json_object", "none"])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_service_is_spoken_to_as_the_catalogue_says(level: Any, name: Any) -> None:
    """Output limit and form of the answer have the names that the service knows."""
    to = endpoint(schema=level, limit_name=name, effort=False)
    body = body_of(request(to=to), to)
    assert strict(body) == []
    assert body[name] == 1024
    assert body.get("response_format", {}).get("type", "none") == level
    assert (OpenAI(to).dialect(SCHEMA) is None) == (level != "json_schema")


def test_any_object_is_enforced_only_where_the_answer_is_one() -> None:
    """`json_object` would force a list into an object; text is asked for as text."""
    to = endpoint(schema="json_object")
    listed = Schema("l", {"type": "array", "items": {"type": "string"}})
    assert "response_format" not in body_of(request(to=to, target=listed), to)
    assert "response_format" not in body_of(request(to=to, as_json=False), to)


@pytest.mark.parametrize("level", ["full", "reduced", "none"])
@pytest.mark.parametrize(
    "body",
    [
        SCHEMA.body,
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": "number"}},
    ],
)
def test_every_level_of_a_schema_is_strict_or_absent(level: Any, body: dict[str, Any]) -> None:
    """A root that is no object is wrapped, so that the service takes it."""
    sent = OpenAI(endpoint()).dialect(Schema("s", body), level)
    assert (sent is None) == (level == "none")
    assert strict(body_of(request(schema=sent))) == []


def test_an_answer_comes_back_in_the_users_form() -> None:
    """What the strict dialect wrapped is unwrapped; null of a key that may be absent is left out."""
    provider = OpenAI(endpoint())
    optional = Schema(
        "o", {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}},
              "required": ["b"]}
    )  # fmt: skip
    one = request(schema=provider.dialect(optional), target=optional)
    assert provider.restore({"a": None, "b": 1}, one) == {"b": 1}
    listed = Schema("l", {"type": "array", "items": {"type": "string"}})
    for level in ("full", "reduced"):
        one = request(schema=provider.dialect(listed, level), target=listed)
        assert provider.restore({"value": ["x"]}, one) == ["x"]
        assert provider.restore(["x"], one) == ["x"]
    assert provider.restore({"value": 1}, replace(one, schema=None)) == {"value": 1}


def test_functions_and_their_results_go_as_the_format_wants_them() -> None:
    """The model's turn goes back as it came, Google's signatures in it; a result is JSON text."""
    signed = {"google": {"thought_signature": "c2ln"}}
    reply = read(
        json.dumps(
            calling(
                {"name": "weigh", "arguments": '{"sku": "é"}', "extra_content": signed},
                {"name": "weigh", "arguments": ""},
            ).body
        ).encode()
    )
    assert [call.arguments for call in reply.calls] == [{"sku": "é"}, {}]
    turn = Turn(reply.said, reply.calls, ({"grams": 5}, None))
    body = body_of(request(functions=(WEIGH,), turns=(turn,)))
    assert strict(body) == []
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weigh",
                "description": "How heavy?",
                "parameters": dict(WEIGH.parameters),
            },
        }
    ]
    said, first, second = body["messages"][2:]
    assert said["tool_calls"][0]["extra_content"] == signed
    assert (first["tool_call_id"], first["content"]) == ("call_0", '{"grams": 5}')
    assert (second["tool_call_id"], second["content"]) == ("call_1", "null")


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"tools": ("google_search",)}, {}, "google_search.*Gemini's own wire"),
    ({"safety": "off"}, {}, "safety"),
    ({"thinking": "high"}, {"effort": False}, "reasoning_effort"),
    ({"seed": 2**63}, {}, "seed"),
    ({"temperature": 2.5}, {}, "temperature"),
    ({"max_output_tokens": 0}, {}, "max_output_tokens"),
    ({"functions": (replace(WEIGH, name="no way"),)}, {}, "no way"),
]


@pytest.mark.parametrize(("asked", "facts", "words"), REFUSED)
def test_impossible_settings_are_refused_before_anything_is_sent(
    asked: dict[str, Any], facts: dict[str, Any], words: str
) -> None:
    """The sentence names the setting, and where it would go."""
    with pytest.raises(UsageError, match=words):
        check(Settings(**{"max_output_tokens": 10, **asked}), endpoint(**facts))
    with Server() as server:
        (failure,) = ask(at(server, **facts), request(**asked))
        assert isinstance(failure, UsageError)
        assert server.requests == []


def test_a_thinking_level_that_the_model_lacks_is_refused_with_its_own() -> None:
    """The list of a known model is named; a stage is checked like a request."""
    card = catalogue.Model("openai", "any-model", thinking=("low", "high"), output_limit=100)
    with pytest.raises(UsageError, match="low, high"):
        check(Stage("a", SCHEMA, thinking="minimal"), endpoint(card=card))
    with pytest.raises(UsageError, match="1 to 100"):
        check(Stage("a", SCHEMA, max_output_tokens=101), endpoint(card=card))
    check(Stage("a", SCHEMA, thinking="low"), endpoint(card=card))


def strange(sku: str) -> str:
    """A function whose name can't be called over this wire."""
    return sku


strange.__name__ = "größe"


def test_a_stage_with_functions_is_checked_by_their_names() -> None:
    """Functions go over this wire, the service's own tools don't."""
    check(Stage("a", SCHEMA, tools=(weigh,)), endpoint())
    with pytest.raises(UsageError, match="größe"):
        check(Stage("a", SCHEMA, tools=(strange,)), endpoint())
    with pytest.raises(UsageError, match="url_context"):
        check(Stage("a", SCHEMA, tools=("url_context", weigh)), endpoint())


@pytest.mark.parametrize("base", ["/v1", "/v1/", "/v1beta/openai", "/v1beta/openai/"])
def test_an_address_is_used_as_it_is_and_nothing_in_it_doubled(base: str) -> None:
    """`/v1` and Google's own; what the request shows is what is sent, without the key."""
    with Server() as server:
        to = replace(endpoint(), base_url=server.url + base)
        shown = OpenAI(to).shown(request())
        (body,) = ask(to)
        assert json.loads(read(body).text) == {"vendor": None, "total": 0}
        assert server.violations == []
        assert shown.url == server.url + base.rstrip("/") + "/chat/completions"
        assert server.requests[0].path == base.rstrip("/") + "/chat/completions"
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert shown.headers["Authorization"] == "Bearer $OPENAI_API_KEY"
        assert shown.body == server.requests[0].body
        assert KEY not in repr(shown)


def test_a_server_without_keys_is_spoken_to_without_one() -> None:
    """Ollama and llama.cpp need none; a key that is named and missing is an error that names it."""
    with Server(keys=set()) as server:
        open_one = at(server, key="", key_name="")
        (body,) = ask(open_one)
        assert read(body).finish == "stop"
        assert "authorization" not in server.requests[0].headers
        assert "Authorization" not in OpenAI(open_one).shown(request()).headers
        (failure,) = ask(at(server, key=""))
        assert isinstance(failure, SetupError)
        assert "OPENAI_API_KEY" in str(failure)


def test_what_is_sent_is_what_is_shown_and_files_arrive_whole() -> None:
    """Files become base64 on their way; their bytes are the same on the other side."""
    data = bytes(range(256)) * 3000
    parts = (text_part("a"), file_part(data, "image/png"), text_part("b"), file_part(pdf(2)))
    with Server() as server:
        ask(at(server), request(*parts))
        (seen,) = server.requests
        assert files(seen) == [("image_url", data), ("file", parts[3].data)]
        assert server.violations == []
        assert seen.body == body_of(request(*parts))
        assert seen.headers["content-length"] == str(len(seen.raw))


def test_a_document_is_answered_streamed_or_not() -> None:
    """The same data either way, with its usage."""
    with Server(answers={"Total: 5": {"vendor": "ACME", "total": 5}}) as server:
        replies = [read(body) for body in ask(at(server), request(), request(stream=True))]
        assert server.violations == []
    assert replies[0] == replies[1]
    assert json.loads(replies[0].text) == {"vendor": "ACME", "total": 5}
    assert replies[0].usage.input == len("Total: 5") // 4
    assert replies[0].usage.output == len(replies[0].text) // 4 + 1


def test_models_are_listed_and_told_about() -> None:
    """What doctor asks, which costs nothing; an unknown one is an error."""

    async def look(server: Server) -> tuple[Any, Any, Any]:
        provider = OpenAI(at(server))
        try:
            listed, told = await provider.models(), await provider.about("any-model")
            with pytest.raises(ReplyError) as failure:
                await provider.about("none/such")
            return listed, told, failure.value
        finally:
            await provider.aclose()

    with Server() as server:
        listed, told, failure = asyncio.run(look(server))
    assert [each.id for each in listed] == list(MODELS)
    assert (told.id, told.input_limit, told.output_limit) == ("any-model", 32_768, None)
    assert failure.reason == "not_found_model"


def test_tokens_are_not_counted_by_this_wire_and_that_is_said() -> None:
    """No number is made up."""
    with pytest.raises(UsageError, match="can't count"):
        asyncio.run(OpenAI(endpoint()).count(request()))


def test_too_much_for_one_request_is_refused_before_it_is_sent() -> None:
    """The limits of the service's entry hold here too."""
    with Server() as server:
        (failure,) = ask(at(server, images=1), request(PNG, PNG))
        assert isinstance(failure, ReplyError)
        assert failure.reason == "too_large"
        assert server.requests == []


@given(st.text(max_size=300), st.integers(1, 4096))
@settings(max_examples=60, deadline=None)
def test_the_ceiling_is_above_the_bytes_of_all_text(text: str, limit: int) -> None:
    """A token is at least a byte: no answer can cost more than was reserved."""
    one = request(text_part(text), max_output_tokens=limit, functions=(WEIGH,))
    most = OpenAI(endpoint()).ceiling(one)
    body = body_of(one)
    told = [m["content"] for m in body["messages"]]
    assert most.input >= len("".join(told).encode("utf-8", "replace"))
    assert most.output == limit
    assert most.input > OpenAI(endpoint()).ceiling(replace(one, schema=None)).input


def test_pictures_and_sound_are_reserved_for() -> None:
    """By the catalogue's figures; sound by its bytes."""
    provider = OpenAI(endpoint(image_tokens={"default": 700, "low": 100}))
    bare = provider.ceiling(request(text_part(""))).input
    assert provider.ceiling(request(text_part(""), PNG)).input - bare == 700
    low = request(text_part(""), PNG, media_resolution="low")
    assert provider.ceiling(low).input - bare == 100
    minute = replace(SOUND, data=b"x" * 60_000)
    assert provider.ceiling(request(text_part(""), minute)).input - bare >= 60 * 32


@given(
    st.lists(
        st.one_of(st.text(max_size=40).map(text_part), st.binary(min_size=1, max_size=40).map(file_part)),
        min_size=1, max_size=4,
    ),
    st.fixed_dictionaries({}, optional={
        "thinking": st.sampled_from(["minimal", "low", "medium", "high"]),
        "media_resolution": st.sampled_from(["low", "medium", "high"]),
        "temperature": st.floats(0, 2),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "service_tier": st.sampled_from(["standard", "flex", "priority"]),
        "stream": st.booleans(),
        "functions": st.just((WEIGH,)),
    }),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_whatever_is_asked_the_body_is_legal(parts: list[Part], asked: dict[str, Any]) -> None:
    """No combination of settings and parts makes a field that the format does not know."""
    assert strict(body_of(request(*parts, **asked))) == []


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/", "/v1beta"])
def test_evolinks_native_route_is_geminis_wire_with_a_bearer_token(base: str) -> None:
    """`wire = "gemini"` for EvoLink: its address may end in /v1, the key goes as its gateway wants it."""
    facts = replace(catalogue.service("evolink") or catalogue.Service("x"), wire="gemini")
    model = "gemini-3.1-flash-lite-preview"

    async def send(to: Endpoint) -> tuple[bytes, Any]:
        provider = open_provider(to)
        assert isinstance(provider, Gemini)
        one = replace(gemini_request(model=model), provider="evolink")
        try:
            return await provider.send(one), provider.shown(one)
        finally:
            await provider.aclose()

    with Server(lambda seen: generated({"total": 5})) as server:
        to = Endpoint("evolink", model, server.url + base, KEY, "EVOLINK_API_KEY", facts=facts)
        body, shown = asyncio.run(send(to))
        (seen,) = server.requests
        assert server.violations == []
        assert seen.path == f"/v1beta/models/{model}:generateContent"
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert "x-goog-api-key" not in seen.headers
        assert shown.url == server.url + seen.path
        assert shown.headers["Authorization"] == "Bearer $EVOLINK_API_KEY"
        assert b'"total' in body or b"total" in body


def test_a_request_keeps_its_key_whatever_it_costs_and_however_it_comes() -> None:
    """Tier and streaming are how an answer is bought; the wire is part of what is asked."""
    one = request()
    assert request(stream=True, service_tier="flex").key() == one.key()
    other = replace(one, provider="evolink")
    assert replace(other, wire="gemini").key() != other.key()


def test_one_name_on_two_wires_is_two_questions() -> None:
    """Also where a file gives a known service the other wire; plain requests are as they always were."""
    for provider, usual, other in (("openai", "openai", "gemini"), ("gemini", "gemini", "openai")):
        plain = replace(request(), provider=provider, wire=usual)
        assert "wire" not in plain.canonical()
        assert replace(plain, wire=other).key() != plain.key()
    assert "wire" in replace(request(), provider="evolink", wire="openai").canonical()
