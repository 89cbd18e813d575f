"""Gemini over HTTP: what is sent and reserved, how it is carried, and where the key never stands."""

import asyncio
import gc
import json
import logging
import subprocess
import sys
import traceback
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.document import Part
from pipeline.errors import (
    KeyRefused,
    ReplyError,
    SetupError,
    UsageError,
)
from pipeline.providers import Settings, open_provider
from pipeline.providers.gemini import (
    Gemini,
    ceiling,
    check,
    read,
    refuse_too_large,
    wire,
)
from pipeline.stages import Stage
from tests.answers import (
    Answer,
    Seen,
    answer_from,
    error,
    generated,
    reset,
    usage_of,
)
from tests.asking import (
    ASKED,
    KEY,
    QUICK,
    SCHEMA,
    WHOLE,
    ask,
    endpoint,
    file_part,
    pdf,
    request,
    text_part,
)
from tests.server import Server
from tests.wire import fields, strict

SERVER = Path(__file__).with_name("server.py")


# What is sent


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "+".join(asked) or "plain")
def test_a_request_is_exactly_what_google_parses(asked: dict[str, Any]) -> None:
    """Every setting stands where Google's own messages have it, and nothing else is sent."""
    with Server() as server:
        one = request(text_part('Ünï ✓ \u2028 "quoted"'), file_part(b"%PDF-1.7 \x00\xff"), **asked)
        (answer,) = ask(server, one)
        (seen,) = server.requests
    assert seen.violations == ()
    assert read(answer).finish == "stop"
    assert seen.path == "/v1beta/models/gemini-3.1-flash-lite:generateContent"
    assert seen.body == wire.body(one)
    assert b64decode(seen.parts[1]["inlineData"]["data"]) == b"%PDF-1.7 \x00\xff"
    assert seen.config["maxOutputTokens"] == 1024
    assert "thinkingLevel" not in seen.config
    assert {"content-length", "content-type", "x-goog-api-key"} <= seen.headers.keys()
    assert seen.headers.keys() <= {
        "host", "connection", "accept", "accept-encoding", "user-agent",
        "content-length", "content-type", "x-goog-api-key",
    }  # fmt: skip


def test_what_is_shown_is_what_is_sent() -> None:
    """`body` and the pieces on the wire are the same JSON, with their length known before."""
    one = request(
        text_part("a"),
        file_part(b"x" * 100_000),
        file_part(b"yz", "image/png"),
        text_part("\ud800 half"),
        seed=3,
    )
    pieces = wire.pieces(one)
    sent = b"".join(wire.stream(pieces))
    assert len(sent) == wire.size(pieces)
    shown = json.loads(json.dumps(wire.body(one)).replace("\\ud800", "?"))
    assert json.loads(sent) == shown
    assert not strict(shown)


@given(
    content=st.lists(
        st.one_of(st.text().map(text_part), st.binary(min_size=1, max_size=300).map(file_part)),
        min_size=1,
    ),
    system=st.text(),
)
@settings(max_examples=150, deadline=None)
def test_any_text_and_any_bytes_arrive_unchanged(content: list[Part], system: str) -> None:
    """No text and no file can break the body or change its meaning."""
    one = replace(request(*content), system=system)
    parsed = json.loads(b"".join(wire.stream(wire.pieces(one))))
    assert strict(parsed) == []
    for part, sent in zip(content, parsed["contents"][0]["parts"], strict=True):
        if part.kind == "text":
            assert sent["text"] == part.text.encode("utf-8", "replace").decode()
        else:
            assert b64decode(sent["inlineData"]["data"]) == part.data


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    """Without settings there is the schema and the output limit, and no empty fields."""
    plain = replace(request(), system="", schema=None, as_json=False)
    assert wire.body(plain)["generationConfig"] == {"maxOutputTokens": 1024}
    assert "systemInstruction" not in wire.body(plain)


@pytest.mark.parametrize(
    ("model", "asked", "named"),
    [
        ("gemini-3.8-flash", {"thinking": "minimal"}, "low, medium, high"),
        ("gemini-2.5-flash", {"thinking": "low"}, "no thinking level"),
        ("gemini-3.1-flash-lite", {"max_output_tokens": 65_537}, "65536"),
        ("gemini-3.1-flash-lite", {"max_output_tokens": 0}, "max_output_tokens 0"),
        ("gemini-3.1-flash-lite", {"temperature": 2.5}, "0 to 2"),
        ("gemini-3.1-flash-lite", {"seed": 2**31}, "32 bits"),
    ],
)
def test_a_setting_the_model_can_not_take_is_refused_before_sending(
    model: str, asked: dict[str, Any], named: str
) -> None:
    """The error names what the model does take; stages and requests are checked alike."""
    with Server() as server:
        (refused,) = ask(server, request(model=model, **asked))
        assert server.requests == []
    assert isinstance(refused, UsageError)
    assert named in str(refused)
    with pytest.raises(UsageError, match=named):
        check(replace(Stage("bill", SCHEMA), **asked), endpoint(model=model))


def test_a_model_nobody_knows_is_asked_for_anything() -> None:
    """Without a catalogue entry nothing is refused: the service knows better."""
    check(Settings(max_output_tokens=10**6, thinking="minimal"), endpoint(model="gemini-9-neon"))


def test_a_model_id_can_not_leave_its_place_in_the_path() -> None:
    """Odd ids are quoted, `models/` in front is accepted."""
    with Server() as server:
        ask(server, request(model="../x?key=1"), request(model="models/gemini-3.1-flash-lite"))
    paths = [seen.path for seen in server.requests]
    assert paths[0] == "/v1beta/models/..%2Fx%3Fkey%3D1:generateContent"
    assert paths[1] == "/v1beta/models/gemini-3.1-flash-lite:generateContent"


@pytest.mark.parametrize(
    ("content", "length", "named"),
    [
        ((file_part(bytes(50_000_001)),), 10, "bytes in one PDF"),
        ((file_part(b"x", pages=600), file_part(b"y", pages=401)), 10, "1,001 PDF pages"),
        ((file_part(b"x", "image/png"),) * 3001, 10, "3,001 pictures"),
        ((), 100_000_001, "100,000,001 bytes"),
    ],
)
def test_what_is_too_large_for_one_request_is_not_sent(
    content: tuple[Part, ...], length: int, named: str
) -> None:
    """The sentence names the limit and the way out."""
    with pytest.raises(ReplyError, match=f"{named}.*split the document") as refused:
        refuse_too_large(request(*content), length, endpoint().service)
    assert refused.value.reason == "too_large"


# What is reserved


@given(
    text=st.text(max_size=2000),
    pages=st.integers(0, 5),
    images=st.integers(0, 3),
    asked=st.sampled_from(ASKED),
    limit=st.integers(1, 2000),
)
@settings(max_examples=60, deadline=None)
def test_no_answer_takes_more_than_was_reserved(
    text: str, pages: int, images: int, asked: dict[str, Any], limit: int
) -> None:
    """The ceiling holds against the tokens that the server counts by its own rule."""
    files = [file_part(pdf(pages), pages=pages)] * bool(pages) + [
        file_part(b"png", "image/png")
    ] * images
    one = request(text_part(text), *files, **{**asked, "max_output_tokens": limit})
    seen = Seen(1, "POST", "", {}, b"", wire.body(one))
    counted = usage_of(seen, "x" * 4 * limit)
    most = ceiling(one, endpoint())
    assert counted["promptTokenCount"] <= most.input
    assert counted["candidatesTokenCount"] + counted["thoughtsTokenCount"] <= most.output


@pytest.mark.parametrize(
    ("resolution", "page", "picture"),
    [(None, 560, 1120), ("low", 280, 280), ("medium", 560, 560), ("high", 1120, 1120)],
)
def test_pages_and_pictures_count_the_documented_tokens(
    resolution: Any, page: int, picture: int
) -> None:
    """By media resolution, the higher of two figures that disagree."""
    plain = ceiling(request(text_part(""), media_resolution=resolution), endpoint()).input
    with_files = request(
        text_part(""),
        file_part(b"x", pages=3),
        file_part(b"y", "image/png"),
        media_resolution=resolution,
    )
    assert ceiling(with_files, endpoint()).input - plain == 3 * page + picture


def test_the_ceiling_counts_bytes_of_text_and_schema() -> None:
    """A token is at least one byte."""
    assert (
        ceiling(request(text_part("é" * 50)), endpoint()).input
        - ceiling(request(text_part("")), endpoint()).input
        == 100
    )
    bare = replace(request(), schema=None)
    assert ceiling(request(), endpoint()).input - ceiling(bare, endpoint()).input == len(
        json.dumps(request().schema, ensure_ascii=False)
    )


def test_a_service_without_a_table_counts_the_most_and_refuses_nothing() -> None:
    """What the catalogue does not know is not taken for small."""
    strange = endpoint(provider="elsewhere")
    asked = request(text_part(""), file_part(b"x", pages=2))
    bare = replace(asked, content=(text_part(""),))
    assert ceiling(asked, strange).input - ceiling(bare, strange).input == 2 * 2240
    refuse_too_large(asked, 10**12, strange.service)


def test_a_provider_reads_reserves_and_compiles_once() -> None:
    """The provider's own face is the module's functions; the dialect of a schema is made once."""
    provider = open_provider(endpoint())
    one = request()
    assert provider.ceiling(one) == ceiling(one, endpoint())
    assert provider.dialect(SCHEMA) is provider.dialect(SCHEMA)
    assert provider.read(b'{"candidates": []}') == read(b'{"candidates": []}')
    asyncio.run(provider.aclose())


# The key


def test_the_key_stands_in_one_header_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    """Not in addresses, errors, tracebacks, logs at DEBUG, reprs or stored bodies, even when echoed."""
    caplog.set_level(logging.DEBUG)
    echoes = [
        error(400, f"bad key {KEY}"),
        Answer(
            400,
            b'{"error": {"message": "escaped '
            + "".join(f"\\u{ord(c):04x}" for c in KEY).encode()
            + b'"}}',
        ),
        Answer(500, f"<html>{KEY}</html>".encode(), {"X-Echo": KEY}),
        Answer(429, f"plain {KEY}".encode()),
        Answer(302, headers={"Location": f"http://127.0.0.1:1/?key={KEY}"}),
        generated({"vendor": KEY}),
        reset(),
    ]
    told = []
    with Server() as server:
        at = endpoint(server.url)
        server.next(*echoes)
        provider = open_provider(at)
        told += [repr(at), repr(provider), str(vars(provider))]
        told += [_shown(answer) for answer in ask(at, *[request()] * len(echoes))]
        server.next(replace(WHOLE, hold=True))
        told += [_shown(answer) for answer in ask(at, times=QUICK)]
        assert all(seen.headers["x-goog-api-key"] == KEY for seen in server.requests)
        assert not any(KEY in seen.path for seen in server.requests)
        asyncio.run(provider.aclose())
    (lost,) = ask(endpoint("http://127.0.0.1:9"))
    told.append(_shown(lost))
    assert "httpcore.http11" in {record.name for record in caplog.records}, "DEBUG was really on"
    assert KEY not in caplog.text
    assert not [text for text in told if KEY in text]


def _shown(answer: bytes | BaseException) -> str:
    if isinstance(answer, bytes):
        return answer.decode()
    return "".join(traceback.format_exception(answer)) + repr(answer) + str(vars(answer))


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ключ", "tab\t"])
def test_what_can_be_no_key_is_refused_without_being_shown(key: str) -> None:
    """HTTP libraries show a bad header in their errors: it never gets there."""
    with Server() as server:
        (failure,) = ask(endpoint(server.url, key=key))
        assert server.requests == []
    assert isinstance(failure, KeyRefused)
    assert "GEMINI_API_KEY" in str(failure)
    assert key not in str(failure)


def test_no_key_says_which_variable_to_set() -> None:
    """Without a key nothing is sent, and the sentence names both ways on."""
    with Server() as server:
        (failure,) = ask(endpoint(server.url, key=""))
        assert server.requests == []
    assert type(failure) is SetupError
    assert "GEMINI_API_KEY" in str(failure)
    assert "-m local" in str(failure)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "nothing",
        "http://",
        "http://h:99999",
        "http://u:p@h",
        "http://h/?key=1",
        "http://h/#f",
        "http://h\x00",
    ],
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    """Before anything is sent; and what could be a secret in it is not shown."""
    with pytest.raises(UsageError) as refused:
        Gemini(endpoint(url))
    assert "u:p" not in str(refused.value)
    assert "key=1" not in str(refused.value)


def test_the_log_filter_leaves_with_the_provider() -> None:
    """Closing takes back what was put on the HTTP libraries' loggers."""
    before = [list(logging.getLogger(name).filters) for name in ("httpx", "httpcore.http11")]
    provider = Gemini(endpoint())
    asyncio.run(provider.aclose())
    assert [
        list(logging.getLogger(name).filters) for name in ("httpx", "httpcore.http11")
    ] == before


# The whole way


def test_a_document_comes_back_as_its_data_and_every_field_was_parsed() -> None:
    """Answers by a file's hash and by text; all settings together use every field of the dialect."""
    scan = file_part(pdf(2), pages=2)
    known = {scan.sha256: {"vendor": "A", "total": 1}, "INV-7": {"vendor": "B", "total": 2}}
    with Server(answers=known) as server:
        got = ask(
            server,
            request(scan),
            request(text_part("No. INV-7")),
            request(text_part("other"), **ASKED[-1]),
        )
        used = set[str]().union(*(fields(seen.body) for seen in server.requests))
        assert server.violations == []
        assert (len(server.billed), server.paid_twice()) == (3, {})
    assert [json.loads(read(answer).text) for answer in got[:2]] == list(known.values())
    assert json.loads(read(got[2]).text) == {"vendor": None, "total": 0}
    assert {
        "generationConfig.thinkingConfig.thinkingLevel",
        "contents[].parts[].inlineData.data",
    } <= used


def test_an_answer_that_does_not_fit_is_truncated() -> None:
    """The server keeps to `maxOutputTokens`, and the reply says so."""
    with Server(answers={"long": {"vendor": "x" * 500, "total": 1}}) as server:
        (answer,) = ask(server, request(text_part("long"), max_output_tokens=10))
    got = read(answer)
    assert (got.finish, got.reason) == ("truncated", "MAX_TOKENS")


@pytest.mark.parametrize(
    "broken",
    [
        {"thinkingLevel": "LOW"},
        {"thinkingConfig": {"thinkingLevel": "MAXIMAL"}},
        {"thinkingConfig": {"thinkingLevel": "LOW", "thinkingBudget": 5}},
        {"responseJsonSchema": {"type": "object", "const": 1}},
        {"responseJsonSchema": {"type": ["string", "integer"]}},
        {"responseMimeType": "text/plain"},
        {"maxOutputTokens": 0},
        {"mediaResolution": "MEDIA_RESOLUTION_HUGE"},
        {"unknown": 1},
    ],
    ids=json.dumps,
)
def test_the_strict_check_finds_what_the_service_would_refuse(broken: Mapping[str, Any]) -> None:
    """The yardstick itself is measured: each wrong body is named."""
    right = wire.body(request())
    assert strict(right) == []
    assert strict({**right, "generationConfig": {**right["generationConfig"], **broken}})


def test_the_server_refuses_wrong_bodies_and_wrong_keys_as_the_service_does() -> None:
    """A test that talks to it is held to the protocol without doing anything for it."""
    with Server(keys={"another"}) as server:
        (refused,) = ask(server)
    assert isinstance(refused, KeyRefused)
    assert len(server.requests) == 1
    assert answer_from(Seen(1, "POST", "", {}, b"", {}), {}).status == 200


def test_a_provider_used_and_closed_leaves_nothing_open() -> None:
    """No warning about open connections (warnings are errors here), however often it is opened."""
    with Server() as server:
        for _ in range(3):
            answers = ask(server, request(), request())
            assert [read(answer).finish for answer in answers] == ["stop", "stop"]
    gc.collect()


def test_the_server_runs_as_a_process_of_its_own_and_keeps_a_log(tmp_path: Path) -> None:
    """For tests that kill the client: the log tells what was asked, billed and delivered."""
    files = {name: tmp_path / name for name in ("port", "log", "answers")}
    files["answers"].write_text('{"INV-7": {"total": 7}}')
    arguments = ["--port-file", files["port"], "--log", files["log"], "--answers", files["answers"]]
    command = [sys.executable, str(SERVER), *map(str, arguments), "--hold-after", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        assert url.endswith(f":{files['port'].read_text()}")
        (answered,) = ask(endpoint(url), request(text_part("INV-7")))
        (held,) = ask(endpoint(url), times=QUICK)
        running.terminate()
    assert json.loads(read(answered).text) == {"total": 7}
    assert (held.reason, held.billed) == ("timeout", True)
    log = [json.loads(line) for line in files["log"].read_text().splitlines()]
    assert [(line["event"], line["number"]) for line in log[:3]] == [
        ("request", 1),
        ("answer", 1),
        ("request", 2),
    ]
    assert [line["delivered"] for line in log if line["event"] == "answer"] == [True]
    assert [line["billed"] for line in log if line["event"] == "request"] == [True, True]
    assert not any(line.get("violations") for line in log)
