"""`--curl`: the very request that would be sent, as a shell command; no key in it, and nothing sent."""

import json
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.curl import as_curl
from pipeline.providers import Shown
from tests.asking import KEY
from tests.server import Server
from tests.test_cli import fieldsift

LETTER = 'Dear Sir,\nit\'s $TOTAL `now`: 5.00 "EUR" \\ é\n'


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "a.txt").write_text(LETTER)
    (folder / "b.txt").write_text("Total 6.00 EUR")
    return tmp_path


def read(command: str) -> tuple[str, dict[str, str], Any]:
    """A cURL command as a shell reads it: address, headers, body."""
    words = shlex.split(command.replace(" \\\n", " "))  # Python's shlex knows no continued lines
    assert words[:3] == ["curl", "-X", "POST"]
    given = dict(zip(words[4::2], words[5::2], strict=True))
    headers = dict(value.split(": ", 1) for word, value in pairwise(words) if word == "-H")
    return words[3], headers, json.loads(given["--data-raw"])


def test_what_is_printed_is_what_would_be_sent(work: Path) -> None:
    """Address, headers and body, also of a document full of signs that mean something to a shell."""
    with Server() as server:
        env = {"GOOGLE_GEMINI_BASE_URL": server.url, "GEMINI_API_KEY": KEY}
        asked = ("extract", "inbox/a.txt", "-s", "total float", "-m", "gemini-3.1-flash-lite")
        printed = fieldsift(*asked, "--curl", cwd=work, env=env).stdout
        assert server.requests == []
        fieldsift(*asked, cwd=work, env=env, code=None)
        (seen,) = server.requests
        url, headers, body = read(printed)
        assert url == server.url + seen.path
    assert body == seen.body
    assert headers["x-goog-api-key"] == "$GEMINI_API_KEY"
    assert headers["Content-Type"] == seen.headers["content-type"]
    assert KEY not in printed


def test_a_folder_gives_one_command_for_each_document_and_needs_neither_key_nor_output(
    work: Path,
) -> None:
    """And leaves nothing behind."""
    told = fieldsift(
        "run", "inbox", "-s", "total float", "-m", "gemini-3.1-flash-lite", "--curl", cwd=work
    )
    assert told.stdout.count("curl -X POST") == 2
    assert "a.txt" in told.stderr
    assert sorted(path.name for path in work.iterdir()) == ["cache", "inbox"] or sorted(
        path.name for path in work.iterdir()
    ) == ["inbox"]


def test_what_can_not_be_read_is_said_and_the_others_are_printed(work: Path) -> None:
    """Exit code 1."""
    (work / "inbox/c.pdf").write_bytes(b"%PDF-1.7 nothing more")
    told = fieldsift(
        "run", "inbox", "-s", "total float", "-m", "gemini-3.1-flash-lite", "--curl",
        cwd=work, code=1,
    )  # fmt: skip
    assert told.stdout.count("curl -X POST") == 2
    assert "c.pdf: unreadable" in told.stderr


def test_the_local_engine_sends_nothing_that_could_be_shown(work: Path) -> None:
    """Exit code 2, and the way out."""
    told = fieldsift("run", "inbox", "-s", "total float", "-m", "local", "--curl", cwd=work, code=2)
    assert "-m" in told.stderr


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_shell_reads_back_any_body(body: Any) -> None:
    """Whatever stands in it."""
    shown = Shown("POST", "https://example.org/v1/x?alt=sse", {"X": "$KEY"}, body)
    assert read(as_curl(shown)) == ("https://example.org/v1/x?alt=sse", {"X": "$KEY"}, body)


def test_a_body_too_long_for_an_argument_comes_as_a_here_document() -> None:
    """A shell takes it, as no argument is longer than Linux allows."""
    told = as_curl(Shown("POST", "https://example.org", {}, {"text": "x" * 200_000}))
    command, body, end = told.split("\n")[-3:]
    assert command.endswith("--data-binary @- <<'JSON'")
    assert (json.loads(body), end) == ({"text": "x" * 200_000}, "JSON")
