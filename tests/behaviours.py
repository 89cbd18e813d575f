"""What a user sees of each behaviour of a server: the list, the real command played against it, the table.

    python -m tests.behaviours > tests/behaviours.md

The command runs in this process, on a clock that does not wait, with time limits of a second; the
document is read once for all.
"""

import asyncio
import contextlib
import io
import json
import math
import os
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import patch

from pipeline import limits
from pipeline.cli import _run
from pipeline.document import Document
from pipeline.limits import gate
from pipeline.loaders import Loaders
from pipeline.providers import http
from tests import chat_body
from tests.answers import Answer, error, generated, key_invalid, quota, reset, retry_info
from tests.routes_gemini import streamed as gemini_stream
from tests.routes_openai import completion, streamed
from tests.routes_openai import error as openai_error
from tests.server import Server

Wire = Literal["gemini", "openai"]
#: What the real limits are, and a time that tests wait for an answer that never comes.
READ_FOR, LARGEST, READ = http.Timeouts().read, http.LARGEST_ANSWER, 0.2
KEY = "AIzaSy-canary-0123456789"
MODELS = {"gemini": "gemini-3.1-flash-lite", "openai": "openai:any-model"}
TEXT = "Receipt No: R-7\nTotal 5.00 EUR\n"
DATA = {"total": 5.0}
SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
PIPELINE = """\
version = 1
[[stage]]
name = "bill"
task = "extract"
schema = "bill.json"
stream = {stream}
"""
HTML = b"<html><head><title>%b</title></head></html>"


@dataclass(frozen=True, eq=False)
class Behaviour:
    """One way of a server to answer: `answers` one after another, the last one again and again."""

    wire: Wire
    name: str
    answers: tuple[Answer, ...] = ()
    model: str = ""
    address: str = ""


@dataclass(frozen=True)
class Seen:
    """What came of it: status of the Result (`-`: there is none), tries, the exit code, what was told."""

    status: str
    tries: int
    waits: int
    code: int
    told: str

    def row(self, behaviour: Behaviour) -> str:
        """The line of the table."""
        tries = f"{self.tries}, asked to wait {self.waits} s" if self.waits else str(self.tries)
        cells = (behaviour.name, self.status, tries, str(self.code), self.told)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def play(behaviour: Behaviour, folder: Path) -> Seen:
    """Extract from one document while the server behaves so."""
    is_stream = "stream" in behaviour.name
    hangs = any(answer.hold or answer.fault == "stall" for answer in behaviour.answers)
    (folder / "pipeline.toml").write_text(PIPELINE.format(stream=str(is_stream).lower()))
    (folder / "bill.json").write_text(json.dumps(SCHEMA))
    (folder / "bill.txt").write_text(TEXT)
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    out, err = io.StringIO(), io.StringIO()
    _document()
    chat_body.strict({})  # loads its types now, not while the first request waits
    with Server() as server, _faked(folder, behaviour.address or server.url, sleep, hangs=hangs):
        server.next(*behaviour.answers, *list(behaviour.answers[-1:]) * 40)
        model = behaviour.model or MODELS[behaviour.wire]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = _run(["extract", "bill.txt", "-m", model, "--json", "--no-store"])
        tries, violations = len(server.requests) or len(waited) + 1, server.violations
    assert not violations, violations
    assert KEY not in out.getvalue() + err.getvalue()
    result = json.loads(out.getvalue()) if out.getvalue() else {}
    status = "-" if not result else result["status"]
    assert (status == "valid") == (code == 0)
    assert status != "valid" or result["data"] == DATA
    if result.get("reason"):
        status += f" ({result['reason']})"
    return Seen(status, tries, math.ceil(max(waited, default=0.0)), code, _told(err.getvalue()))


def table(seen: dict[Behaviour, Seen]) -> str:
    """The whole page, in Markdown."""
    head = (
        "# What a user sees of each behaviour of a service\n\n"
        "Written by `python -m tests.behaviours > tests/behaviours.md` and compared by `tests/test_behaviours.py`: each\n"
        "line is one `fieldsift extract bill.txt --json` against a server that behaves so. Status and reason are those of\n"
        "the Result (`-`: the run ended without one); tries are the requests that were sent; what is told stands on stderr.\n"
    )
    parts = [head]
    for wire, title in (("gemini", "Gemini's wire"), ("openai", "The OpenAI-compatible wire")):
        rows = [seen[each].row(each) for each in seen if each.wire == wire]
        parts.append(
            f"\n## {title}\n\n| behaviour | status | tries | exit code | what is told |\n|---|---|---|---|---|\n"
            + "\n".join(rows)
            + "\n"
        )
    return "".join(parts)


def play_all() -> dict[Behaviour, Seen]:
    """Every behaviour of the list, in order."""
    with tempfile.TemporaryDirectory() as name:
        return {each: play(each, Path(name)) for each in BEHAVIOURS}


class _Still(random.Random):
    """Dice that always show the least."""

    def uniform(self, a: float, b: float) -> float:
        return a

    def random(self) -> float:
        return 0.0


@contextlib.contextmanager
def _faked(folder: Path, address: str, sleep: Any, *, hangs: bool) -> Iterator[None]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIELDSIFT_")}
    environment = own | {
        "GEMINI_API_KEY": KEY,
        "OPENAI_API_KEY": KEY,
        "GOOGLE_GEMINI_BASE_URL": address,
        "OPENAI_BASE_URL": f"{address}/v1",
        "FIELDSIFT_CACHE_DIR": str(folder / "cache"),
    }
    quick = (2.0, 5.0, READ if hangs else 10.0, 20.0)  # connect, write, read, total
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        enter(contextlib.chdir(folder))
        enter(patch.dict(os.environ, environment, clear=True))
        enter(patch.dict(limits.Gate.__init__.__kwdefaults__, {"sleep": sleep}))
        enter(patch.object(gate, "random", SimpleNamespace(Random=_Still)))
        enter(patch.object(http.Timeouts.__init__, "__defaults__", quick))
        enter(patch.object(http, "LARGEST_ANSWER", 2**20))
        enter(patch.object(Loaders, "load", _load))
        yield


async def _load(_: Loaders, path: str, content: bytes) -> Document:
    return _document()  # read before the first behaviour is played


@lru_cache(maxsize=1)
def _document() -> Document:
    async def load() -> Document:
        loaders = Loaders(1)
        try:
            return await _LOAD(loaders, "bill.txt", TEXT.encode())
        finally:
            await loaders.aclose()

    return asyncio.run(load())


_LOAD = Loaders.load


def _told(err: str) -> str:
    """The lines of errors and warnings, with the real limits in place of those of the play."""
    lines = [" ".join(line.split()) for line in err.splitlines()]
    told = [line for line in lines if re.match(r"(?:error|warning|info):", line)]
    text = re.sub(r"127\.0\.0\.1:\d+", "SERVICE", " / ".join(told))
    text = text.replace(f"for {READ:g} seconds", f"for {READ_FOR:g} seconds")
    text = text.replace("longer than 1 MiB", f"longer than {LARGEST >> 20} MiB")
    # Which of the two it is depends on how far the client was.
    text = text.replace("WriteError", "ReadError")
    return text or "(nothing: all is well)"


# The behaviours --------------------------------------------------------------------------


def _page(title: bytes) -> bytes:
    return HTML % title


def _info(reason: str, **metadata: str) -> dict[str, Any]:
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    return {"@type": kind, "reason": reason, "metadata": metadata}


ENABLE = "https://console.developers.google.com/apis/api/generativelanguage.googleapis.com/overview"
BARE = error(400, "Request contains an invalid argument.")
STATES = error(
    400, "The specified schema produces a constraint that has too many states for serving."
)
DAY = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
MINUTE = quota("GenerateContentInputTokensPerModelPerMinute-PaidTier1")
QUOTA = "You exceeded your current quota."
GOOD, CHAT = generated(DATA), completion(DATA)
HOLD = replace(GOOD, hold=True)
EVENTS, CHAT_EVENTS = gemini_stream(GOOD), streamed(CHAT)


def _blocked(reason: str) -> Answer:
    feedback = {"blockReason": reason}
    return Answer(body={"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 9}})


def _cut_off(events: Answer, ending: bytes = b"") -> Answer:
    """A stream that ends, cleanly for HTTP, in the middle of an event."""
    body = events.body if isinstance(events.body, bytes) else b""
    return replace(events, body=body[: body.index(b"\n\n") + 2] + ending)


LATE_ERROR = b'data: {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}\n\n'

_GEMINI: dict[str, Answer | tuple[Answer, ...]] = {
    "an answer": GOOD,
    "an answer in chunks": replace(GOOD, fault="chunked"),
    "an answer as a stream": EVENTS,
    "503 once, then an answer": (error(503, "The model is overloaded.", retry_info("3s")), GOOD),
    "reset once, then an answer": (reset(), GOOD),
    "a damaged answer once, then a whole one": (Answer(body=b'{"candidates": [{"con'), GOOD),
    "a schema of too many states once, then an answer": (STATES, GOOD),
    "a bare 400 once, then an answer": (BARE, GOOD),
    "a bare 400 whatever is sent": BARE,
    "400 that names a field": error(400, "Invalid value", {"@type": "google.rpc.BadRequest", "fieldViolations": [{"field": "contents[0].parts[0]", "description": "bad data"}]}),
    "400 wrong key": key_invalid(),
    "400 key expired": error(400, "API key expired. Please renew the API key.", _info("API_KEY_INVALID")),
    "400 country": error(400, "User location is not supported for the API use.", word="FAILED_PRECONDITION"),
    "400 too many tokens": error(400, "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."),
    "400 no pages": error(400, "The document has no pages."),
    "400 thinking level": error(400, "Thinking level MINIMAL is not supported for this model."),
    "401 credentials": error(401, "Request had invalid authentication credentials."),
    "402": error(402, "insufficient balance"),
    "403 service switched off": error(403, "It is disabled.", _info("SERVICE_DISABLED", activationUrl=ENABLE)),
    "403 key restricted": error(403, "Requests are blocked.", _info("API_KEY_SERVICE_BLOCKED")),
    "403 project suspended": error(403, "Permission denied: Consumer has been suspended.", _info("CONSUMER_SUSPENDED")),
    "403 billing": error(403, "This API method requires billing to be enabled.", _info("BILLING_DISABLED")),
    "403 page of a firewall": Answer(403, _page(b"Access denied")),
    "404 unknown model": error(404, "models/gemini-3.1-flash-lite is not found for API version v1beta"),
    "404 page": Answer(404, _page(b"Error 404 (Not Found)!!1")),
    "302": Answer(302, headers={"Location": "http://127.0.0.1:1/x"}),
    "413 of a proxy": Answer(413, _page(b"Request Entity Too Large")),
    "429 a minute's quota": error(429, QUOTA, MINUTE, retry_info("26s")),
    "429 without details": error(429, "Resource has been exhausted (e.g. check quota)."),
    "429 a day's quota": error(429, QUOTA, DAY, retry_info("22s")),
    "429 no quota in this tier": error(429, "Quota exceeded for metric: x, limit: 0, model: y"),
    "429 spend cap": error(429, "Your project has exceeded its monthly spending cap."),
    "429 wait six hours": error(429, "Your quota will reset after 5h59m59s.", retry_info("21599.9s")),
    "429 with Retry-After": replace(error(429, "slow"), headers={"Retry-After": "17"}),
    "500": error(500, "An internal error has occurred."),
    "500 in a list": Answer(500, [error(500, "An internal error has occurred.").body]),
    "502 of a proxy": Answer(502, _page(b"502 Bad Gateway")),
    "503 overloaded": error(503, "The model is overloaded. Please try again later."),
    "504 deadline": error(504, "Deadline expired before operation could complete."),
    "524 of Cloudflare": Answer(524, _page(b"A timeout occurred")),
    "204": Answer(204),
    "418 with no words": Answer(418),
    "400 with no words": Answer(400),
    "error that is not UTF-8": Answer(503, b"\xff\xfe broken"),
    "error with the key and escape codes in it": error(400, f"\x1b[31mbad {KEY}\r\nsecond line"),
    "200 with an error in it": Answer(200, error(503, "overloaded").body),
    "200 page": Answer(200, _page(b"Welcome")),
    "200 empty": Answer(200),
    "200 not UTF-8": Answer(200, b'{"candidates": "\xff"}'),
    "200 a list of numbers": Answer(200, b"[1]"),
    "200 nested without end": Answer(200, b"[" * 200_000),
    "200 broken gzip": Answer(200, b"no gzip", {"Content-Encoding": "gzip"}),
    "prompt blocked": _blocked("PROHIBITED_CONTENT"),
    "no candidates": Answer(body={"usageMetadata": {"promptTokenCount": 9}}),
    "stopped for recitation": generated("", finishReason="RECITATION"),
    "a finish reason nobody knows": generated("", finishReason="SOMETHING_NEW"),
    "cut at max_output_tokens": generated('{"tot', finishReason="MAX_TOKENS"),
    "an answer that is no JSON": generated("I am sorry."),
    "an answer against the schema": generated('{"total": "five"}'),
    "reset before the answer": reset(),
    "reset in the middle": replace(GOOD, fault="half"),
    "shorter than announced": replace(GOOD, fault="too_long"),
    "longer than announced": replace(GOOD, fault="too_short"),
    "silence": HOLD,
    "stops in the middle": replace(GOOD, fault="stall"),
    "never ends": replace(GOOD, fault="endless"),
    "a stream that ends without a finish": _cut_off(EVENTS),
    "a stream cut in an event": _cut_off(EVENTS, b'data: {"candidates": [{"con'),
    "a stream with an error in it": _cut_off(EVENTS, LATE_ERROR),
    "a stream that is reset": replace(EVENTS, fault="half"),
    "a stream of nothing": replace(EVENTS, body=b""),
}  # fmt: skip

_OPENAI: dict[str, Answer | tuple[Answer, ...]] = {
    "an answer": CHAT,
    "an answer as a stream": CHAT_EVENTS,
    "503 loading model, then an answer": (Answer(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}), CHAT),
    "400 schema": openai_error(400, "Invalid schema for response_format 'bill'", param="response_format"),
    "400 grammar once, then an answer": (Answer(400, {"error": {"code": 400, "message": "Failed to initialize samplers: failed to parse grammar", "type": "invalid_request_error"}}), CHAT),
    "400 context of llama.cpp": Answer(400, {"error": {"code": 400, "message": "the request exceeds the available context size", "type": "exceed_context_size_error", "n_prompt_tokens": 14429, "n_ctx": 8192}}),
    "400 context of vLLM": Answer(400, {"object": "error", "message": "This model's maximum context length is 8192 tokens.", "type": "BadRequestError", "code": 400}),
    "400 parameter": openai_error(400, "Unsupported parameter: 'max_tokens' is not supported with this model.", code="unsupported_parameter", param="max_tokens"),
    "400 content policy": openai_error(400, "Your request was rejected as a result of our safety system.", code="content_policy_violation"),
    "401": openai_error(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key"),
    "401 of FastAPI": Answer(401, {"detail": "Unauthorized"}),
    "402 of EvoLink": Answer(402, {"error": {"code": 402, "message": "Insufficient balance", "type": "insufficient_quota_error"}}),
    "403 country": openai_error(403, "Country, region, or territory not supported", code="unsupported_country_region_territory"),
    "404 model": openai_error(404, "The model `any-model` does not exist or you do not have access to it.", code="model_not_found"),
    "404 model of Ollama": Answer(404, {"error": "model 'any-model' not found, try pulling it first"}),
    "404 wrong path": Answer(404, b"404 page not found"),
    "422 of FastAPI": Answer(422, {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "Input should be a valid string", "type": "string_type"}]}),
    "429 tokens a minute": openai_error(429, "Rate limit reached on tokens per min (TPM). Please try again in 41.7s.", code="rate_limit_exceeded"),
    "429 reset headers": replace(openai_error(429, "slow"), headers={"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m2s"}),
    "429 requests a day": openai_error(429, "Rate limit reached on requests per day (RPD): Limit 200"),
    "429 no money": openai_error(429, "You exceeded your current quota, please check your plan and billing details.", code="insufficient_quota"),
    "429 with a suggestion": openai_error(429, "busy", fallback_suggestion="gemini-3.5-flash-lite"),
    "429 one request above a minute's tokens": openai_error(429, "Request too large for any-model on tokens per min (TPM): Limit 30000, Requested 40000."),
    "500 no pictures": Answer(500, {"error": {"code": 500, "message": "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", "type": "server_error"}}),
    "503 no channel": openai_error(503, "No available channel for model any-model", code="model_not_found"),
    "529 overloaded": openai_error(529, "Overloaded", type="overloaded_error"),
    "error within an error": openai_error(500, json.dumps({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}})),
    "200 with an error in it": Answer(200, {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}),
    "200 with 402 in it": Answer(200, {"error": {"code": 402, "message": "Insufficient balance"}}),
    "200 page": Answer(200, _page(b"Open WebUI")),
    "no choices": Answer(200, {"id": "x", "object": "chat.completion", "choices": []}),
    "a filtered answer": completion("", finish_reason="content_filter"),
    "a refusal": completion(None, message={"role": "assistant", "content": None, "refusal": "I can't help with that."}),
    "cut at the output limit": completion('{"tot', finish_reason="length"),
    "reset before the answer": reset(),
    "reset in the middle": replace(CHAT, fault="half"),
    "silence": replace(CHAT, hold=True),
    "a stream that ends without a finish": streamed(CHAT, is_whole=False),
    "a stream cut in an event": _cut_off(CHAT_EVENTS, b'data: {"choices": [{"del'),
    "a stream with an error in it": _cut_off(CHAT_EVENTS, LATE_ERROR),
    "a stream that is reset": replace(CHAT_EVENTS, fault="half"),
}  # fmt: skip


def _listed(wire: Wire, given: dict[str, Answer | tuple[Answer, ...]]) -> Iterator[Behaviour]:
    for name, answers in given.items():
        yield Behaviour(wire, name, answers if isinstance(answers, tuple) else (answers,))


BEHAVIOURS = (
    *_listed("gemini", _GEMINI),
    Behaviour("gemini", "404 a model that was shut down", (error(404, "models/x is not found"),), "gemini-3.1-flash-lite-preview"),
    Behaviour("gemini", "nobody listens", address="http://127.0.0.1:9"),
    *_listed("openai", _OPENAI),
    Behaviour("openai", "nobody listens", address="http://127.0.0.1:9"),
)  # fmt: skip

if __name__ == "__main__":
    sys.stdout.write(table(play_all()))
