"""Every setting and every kind of part reaches its place on every wire, in bodies that the official types take."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from pipeline.document import Part
from pipeline.providers import Call, Endpoint, Request, Settings, Tool, Turn, open_provider
from tests import chats
from tests.answers import Seen
from tests.asking import KEY, SCHEMA, endpoint, file_part, text_part
from tests.server import Server
from tests.wire import fields

RATE = Tool(
    "rate",
    "What a currency is worth in euros.",
    {
        "type": "object",
        "properties": {"currency": {"type": "string"}},
        "required": ["currency"],
        "additionalProperties": False,
    },
)
SOUND = replace(file_part(b"RIFF", "audio/wav"), kind="audio")
FILM = replace(file_part(b"ftyp", "video/mp4"), kind="video")
PARTS = (
    text_part("Total: 5"),
    file_part(b"%PDF-1.7 \x00\xff"),
    file_part(b"\x89PNG", "image/png"),
    SOUND,
)
CALL = Call("rate", {"currency": "USD"}, "call_1")
#: The model's turn as each wire has it.
SAID: dict[str, dict[str, Any]] = {
    "gemini": {
        "parts": [
            {
                "functionCall": {"id": "call_1", "name": "rate", "args": CALL.arguments},
                "thoughtSignature": "c2lnbmVk",
            }
        ]
    },
    "openai": {
        "role": "assistant",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "rate", "arguments": '{"currency": "USD"}'},
            }
        ],
    },
}
#: What is asked for, and the fields it becomes in Gemini's bodies and in OpenAI's.
ASKED: list[tuple[dict[str, Any], set[str], set[str]]] = [
    ({"thinking": "low"}, {"generationConfig.thinkingConfig.thinkingLevel"}, {"reasoning_effort"}),
    ({"temperature": 0.5}, {"generationConfig.temperature"}, {"temperature"}),
    ({"seed": 7}, {"generationConfig.seed"}, {"seed"}),
    ({"media_resolution": "high"}, {"generationConfig.mediaResolution"}, {"messages[].content[].image_url.detail"}),
    ({"service_tier": "flex"}, {"serviceTier"}, {"service_tier"}),
    ({"stream": True}, set(), {"stream", "stream_options.include_usage"}),
    ({"functions": (RATE,)}, {"tools[].functionDeclarations[].parametersJsonSchema"}, {"tools[].function.parameters"}),
    ({"safety": "off"}, {"safetySettings[].category", "safetySettings[].threshold"}, set()),
    ({"tools": ("google_search", "url_context", "code_execution")}, {"tools[].googleSearch", "tools[].urlContext", "tools[].codeExecution"}, set()),
    ({"tools": ("google_search",), "functions": (RATE,)}, {"tools[].googleSearch", "tools[].functionDeclarations[].name"}, set()),
]  # fmt: skip
ALL = {name: value for asked, _, places in ASKED if places for name, value in asked.items()}
WIRES = {"gemini": 1, "vertex": 1, "evolink": 1, "openai": 2, "google": 2}  # name: column of ASKED
PLACES = [
    (name, case[0], case[column])
    for name, column in WIRES.items()
    for case in ASKED
    if case[column] or "stream" in case[0]
]


def at(name: str, server: Server) -> Endpoint:
    """An endpoint of each kind: keys in a header or as a bearer token, one address or another."""
    if name == "openai":
        return chats.at(server)
    if name == "google":
        return chats.endpoint(f"{server.url}/v1beta/openai")
    evolink = endpoint(server.url, provider="evolink", model="gemini-3.1-flash-lite-preview")
    return {
        "gemini": endpoint(server.url),
        "vertex": endpoint(server.url, provider="vertex"),
        "evolink": replace(evolink, facts=replace(evolink.service, wire="gemini")),
    }[name]


def send(name: str, *parts: Part, turns: bool = False, **asked: Any) -> Seen:
    """Send one request over a wire; what came. It was parsed by the official types, or the test fails."""

    async def ask(to: Endpoint) -> None:
        wire = to.service.wire
        provider = open_provider(to)
        try:
            said = (Turn(SAID[wire], (CALL,), ({"euros": 0.92},)),) if turns else ()
            request = Request(
                to.provider,
                to.model,
                "Extract.",
                parts or PARTS,
                provider.dialect(SCHEMA),
                Settings(**{"max_output_tokens": 100, **asked}),
                turns=said,
                wire=wire,
                target=SCHEMA,
            )
            assert provider.read(await provider.send(request)).finish == "stop"
        finally:
            await provider.aclose()

    with Server(keys={KEY, chats.KEY}) as server:
        asyncio.run(ask(at(name, server)))
        (seen,) = server.requests
    assert seen.violations == ()
    return seen


@pytest.mark.parametrize(
    ("name", "asked", "places"),
    PLACES,
    ids=lambda v: v if isinstance(v, str) else "+".join(sorted(v)),
)
def test_each_setting_stands_in_its_place_and_nowhere_unasked(
    name: str, asked: dict[str, Any], places: set[str]
) -> None:
    """What a wire has no place for is not tried here: `check` refuses it before."""
    seen = send(name, **asked)
    assert places <= fields(seen.body)
    assert not places & fields(send(name).body)
    assert ("stream" in seen.path or "stream" in seen.body) == ("stream" in asked)


@pytest.mark.parametrize("name", WIRES)
def test_all_settings_go_together_with_all_parts_and_turns(name: str) -> None:
    """One request with everything: files of every kind, functions, a round of calls."""
    seen = send(name, turns=True, **ALL)
    wanted = set[str]().union(*(case[WIRES[name]] for case in ASKED if case[2]))
    assert wanted <= fields(seen.body)


@pytest.mark.parametrize("name", ["gemini", "vertex", "evolink"])
def test_a_film_goes_over_geminis_wire(name: str) -> None:
    assert send(name, FILM).files == [("video/mp4", b"ftyp")]


@pytest.mark.parametrize("to", ["gemini", "vertex"])
def test_tokens_are_counted_with_everything_that_counts(to: str) -> None:
    """System instruction, schema, tools and turns are part of what is counted."""

    async def count(at: Endpoint) -> int:
        provider: Any = open_provider(at)
        try:
            said = (Turn(SAID["gemini"], (CALL,), (5,)),)
            settings = Settings(100, thinking="low", functions=(RATE,))
            schema = provider.dialect(SCHEMA)
            request = Request(
                at.provider, at.model, "Extract.", PARTS, schema, settings, turns=said
            )
            tokens: int = await provider.count(request)
            return tokens
        finally:
            await provider.aclose()

    with Server(keys={KEY}) as server:
        where = endpoint(server.url, provider=to)
        assert asyncio.run(count(where)) > 0
        (seen,) = server.requests
    assert seen.violations == ()
    assert seen.path.endswith(":countTokens")
