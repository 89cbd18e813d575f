"""The yardsticks measured: official types name each wrong body, and a session counts and fails as it says."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.official import fields_of, genai_violations, openai_violations
from tests.wire import fields

ROOT = Path(__file__).resolve().parent.parent
CHAT: dict[str, Any] = {
    "model": "any",
    "messages": [
        {"role": "system", "content": "Extract."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:,"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "5"},
    ],
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "x", "strict": True, "schema": {"const": {"any": 1}}},
    },
    "service_tier": "default",
    "stream": True,
    "stream_options": {"include_usage": True},
}
WRONG: list[Callable[[dict[str, Any]], Any]] = [
    lambda body: body.pop("model"),
    lambda body: body.update(bogus=1),
    lambda body: body.update(n=True),
    lambda body: body.update(seed="7"),
    lambda body: body.update(service_tier="standard"),
    lambda body: body.update(messages={}),
    lambda body: body["messages"][0].update(role="robot"),
    lambda body: body["messages"][0].pop("content"),
    lambda body: body["messages"][1]["content"][0].update(zoom=2),
    lambda body: body["messages"][1]["content"][1]["image_url"].update(detail="huge"),
    lambda body: body["messages"][1]["content"][2]["file"].update(file_data=5),
    lambda body: body["messages"][2]["tool_calls"][0]["function"].update(arguments={}),
    lambda body: body["messages"][3].pop("tool_call_id"),
    lambda body: body["response_format"]["json_schema"].pop("name"),
    lambda body: body["stream_options"].update(usage=True),
    lambda body: body.update(stream="yes"),
]


def test_a_right_body_of_chat_completions_has_no_violation() -> None:
    assert openai_violations(CHAT) == []
    assert openai_violations(CHAT | {"stream": False}) == []
    assert openai_violations([]) != []


@pytest.mark.parametrize("spoil", WRONG, ids=range(len(WRONG)))
def test_each_wrong_body_of_chat_completions_is_found(spoil: Callable[[Any], Any]) -> None:
    """Unknown fields, missing ones, other types and unknown words, at any depth."""
    body = copy.deepcopy(CHAT)
    spoil(body)
    assert openai_violations(body)


@pytest.mark.parametrize(
    ("message", "right", "wrong"),
    [
        ("files", {"file": {"displayName": "x"}}, {"file": {"title": "x"}}),
        ("countTokens", {"contents": [{"parts": [{"text": "x"}]}]}, {"contents": {"parts": 1}}),
        (
            "countTokens",
            {"generateContentRequest": {"contents": []}},
            {"generateContentRequest": {"content": []}},
        ),
        (
            "cachedContents",
            {"model": "models/m", "contents": [], "ttl": "600s"},
            {"model": "models/m", "ttl": 600},
        ),
        (
            "generateContent",
            {"contents": [], "serviceTier": "flex"},
            {"contents": [], "serviceTier": "cheap"},
        ),
        ("generateContent", {"contents": []}, {"contents": [], "generationConfig": {"x": 1}}),
        ("generateContent", {"contents": []}, [1]),
    ],
    ids=str,
)
def test_googles_types_tell_right_from_wrong(message: str, right: Any, wrong: Any) -> None:
    assert genai_violations(message, right) == []
    assert genai_violations(message, wrong)


def test_fields_are_named_alike_in_bodies_and_in_official_messages() -> None:
    """What a body has is among what its message has, so that the two can be compared."""
    assert fields(CHAT) <= fields_of("openai chat/completions")
    body = {
        "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "a/b", "data": ""}}]}],
        "generationConfig": {"responseJsonSchema": {"type": "object"}, "stopSequences": ["."]},
        "tools": [
            {"googleSearch": {}},
            {"functionDeclarations": [{"name": "f", "parameters": {}}]},
        ],
        "serviceTier": "flex",
    }
    assert fields(body) <= fields_of("gemini generateContent")
    assert {"tools[].googleSearch", "generationConfig.stopSequences[]"} <= fields(body)
    assert {"file.displayName"} <= fields_of("gemini files")


SESSION = """
import subprocess, sys, urllib.request
from pathlib import Path
from tests.server import Server
from tests.asking import ask, endpoint, request

def wrong(url):
    head = {{"x-goog-api-key": "k", "User-Agent": "fieldsift/1"}}
    path = url + "/v1beta/models/m:generateContent"
    try:
        urllib.request.urlopen(urllib.request.Request(path, b'{{"nothing": 1}}', head))
    except urllib.error.HTTPError as refused:
        refused.close()

def test_right():
    with Server() as server:
        ask(server, request())

def test_meant():
    with Server(wrong_on_purpose=True) as server:
        wrong(server.url)

def test_other_process():
    command = [sys.executable, {server!r}, "--port-file", {port!r}]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        url = child.stdout.readline().strip()
        wrong(url) if {is_wrong} else ask(endpoint(url), request())
        child.terminate()
"""


@pytest.mark.parametrize("is_wrong", [False, True])
def test_a_session_counts_all_its_servers_and_fails_for_what_no_test_meant(
    tmp_path: Path, is_wrong: bool
) -> None:
    """One server here, one whose requests are meant to be wrong, one in another process."""
    told = {"server": str(ROOT / "tests/server.py"), "port": str(tmp_path / "port")}
    (tmp_path / "test_it.py").write_text(SESSION.format(is_wrong=is_wrong, **told))
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml")]
    command += ["-p", "tests.conftest", "--rootdir", str(ROOT), str(tmp_path / "test_it.py")]
    done = subprocess.run(
        [*command, "--wire-fields"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == int(is_wrong), done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert "requests to the test server: 3 (fieldsift 3)" in done.stdout
    count = "0" if not is_wrong else "3"
    assert f"outside tests that mean to: {count}, distinct fields: " in done.stdout
    assert "  + generationConfig.responseJsonSchema\n" in done.stdout
    assert "  - generationConfig.responseModalities[]\n" in done.stdout
    assert ("violation: /v1beta/models/m" in done.stdout) == is_wrong
