"""What a reply without an answer becomes: a status, the service's own word, and a sentence that helps."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from pipeline.answer import parse
from pipeline.answer import read as piece_of
from pipeline.document import Document, Window
from pipeline.errors import ReplyError
from pipeline.extracting import without_data
from pipeline.prompts import Ask
from pipeline.providers import Reply, Usage
from pipeline.providers.gemini import read
from pipeline.results import DocumentRef, Result
from pipeline.stages import Stage
from pipeline.windows import Lost
from tests.asking import SCHEMA

STAGE = Stage("bill", SCHEMA)
REFUSED = """SAFETY RECITATION LANGUAGE OTHER BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY JAILBREAK MODEL_ARMOR
    ESCALATION PUP_LIMITED_DISABLED SOMETHING_NEW BLOCK_REASON_UNSPECIFIED""".split()  # noqa: SIM905, a list of words
FAILED = """MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE MALFORMED_RESPONSE
    IMAGE_PROHIBITED_CONTENT IMAGE_OTHER NO_IMAGE IMAGE_RECITATION""".split()  # noqa: SIM905, a list of words
CUT = ["MAX_TOKENS", "CONTINUATION", "FINISH_REASON_UNSPECIFIED"]


def result_of(reply: Reply) -> Result:
    document = Document("a.txt", "0" * 64, 1, "text/plain", 1, (), ())
    told = piece_of(Ask(Window((1,)), SCHEMA), STAGE, document, reply)
    if isinstance(told, Lost):
        return without_data(_empty(), told.status, told.reason, told.message)
    return replace(_empty(), data=told.data, evidence=told.evidence)


def _empty() -> Result:
    return Result(DocumentRef("a.txt"), "bill", "valid")


def ended(reason: str, text: str = "", **more: Any) -> Reply:
    """A reply of Gemini that ended so."""
    content = {"parts": [{"text": text}]}
    return read(
        json.dumps({"candidates": [{"content": content, "finishReason": reason}], **more}).encode()
    )


@pytest.mark.parametrize(
    ("reason", "status"),
    [(reason, "refused") for reason in REFUSED]
    + [(reason, "failed") for reason in FAILED]
    + [(reason, "truncated") for reason in CUT],
)
def test_every_end_has_a_status_and_its_own_sentence(reason: str, status: str) -> None:
    """The service's word is kept, and the finding says what it means and what to do."""
    result = result_of(ended(reason, "{}"))
    assert (result.status, result.reason, result.data) == (status, reason, None)
    (finding,) = result.findings
    assert finding.rule == reason
    assert len(finding.message) > 50
    assert status == "truncated" or reason in finding.message


@pytest.mark.parametrize(
    "blocked", ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "JAILBREAK"]
)
def test_a_blocked_prompt_says_the_same(blocked: str) -> None:
    """There was no answer at all then."""
    result = result_of(read(json.dumps({"promptFeedback": {"blockReason": blocked}}).encode()))
    assert (result.status, result.reason) == ("refused", blocked)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (ended("SAFETY"), 'safety = "off"'),
        (ended("RECITATION"), "published text"),
        (ended("LANGUAGE"), "language"),
        (ended("MISSING_THOUGHT_SIGNATURE"), "gateway"),
        (ended("MALFORMED_FUNCTION_CALL"), "--retry failed"),
        (ended("MAX_TOKENS", '{"a":'), "raise max_output_tokens, or send fewer pages"),
        (
            ended("MAX_TOKENS", usageMetadata={"thoughtsTokenCount": 8000}),
            "went into thinking (8,000 tokens)",
        ),
        (ended(""), "--retry truncated"),
        (ended("STOP"), "the answer is empty"),
        (Reply("", "truncated", "length", Usage(thoughts=5)), "lower thinking"),
        (Reply("", "refused", "content_filter"), "content filter"),
        (read(b'{"candidates": []}'), "no reason is given"),
        (read(b"{}"), "--retry failed"),
    ],
)
def test_the_sentence_says_what_to_do(reply: Reply, words: str) -> None:
    """Not only that something went wrong."""
    (finding,) = result_of(reply).findings
    assert words in finding.message


def test_a_hostile_reason_can_not_write_on_the_terminal() -> None:
    """It is one short line, whatever the service sends."""
    result = result_of(ended("A\x1b[31m\nB" + "x" * 10_000))
    assert result.status == "refused"
    assert (result.reason or "").isprintable()
    assert len(result.findings[0].message) < 400


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"x": {"a": 1, "b": 0, "a": 1}}]'])
def test_a_key_that_stands_twice_is_no_answer(text: str) -> None:
    """Which of the values is meant, nothing tells: the last one is not taken in silence."""
    result = result_of(Reply(text))
    assert (result.status, result.reason, result.data) == ("failed", "doubled_key", None)
    assert "'a' 2 times" in result.findings[0].message


def test_doubled_keys_cost_no_time() -> None:
    """Neither where there are none, nor among a million of them."""
    rows = [{"name": f"line {i}", "amount": i * 1.25, "note": "words " * 5} for i in range(12_000)]
    many = ", ".join(f'"k{i}": 1' for i in range(300_000))
    started = time.process_time()
    assert parse(json.dumps(rows)) == rows
    with pytest.raises(ReplyError, match="k299999"):
        parse(f'{{{many}, "k299999": 2}}')
    assert time.process_time() - started < 5
