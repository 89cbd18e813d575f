"""What the test server gets and gives: requests as seen, answers of every kind, and the default ones."""

import hashlib
import json
import re
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Fault = Literal[
    "reset", "half", "stall", "too_long", "too_short", "endless", "trickle", "chunked", "paced"
]
STATUS_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
#: Tokens of one PDF page and of one picture, by the resolution asked for (media-resolution page).
PAGE_TOKENS = {None: 560, "LOW": 280, "MEDIUM": 560, "HIGH": 1120}
IMAGE_TOKENS = {None: 1120, "LOW": 280, "MEDIUM": 560, "HIGH": 1120}
THOUGHTS = {"LOW": 100, "MEDIUM": 200, "HIGH": 400}


#: A document that shares a request with others, between the marks of its key.
_PACKED = re.compile(r"^<([0-9a-f]{8})>\n(.*?)\n</\1>$", re.DOTALL | re.MULTILINE)
_KNOWN = re.compile(r"^<([0-9a-f]{8}) known>\n(.*?)\n</\1 known>$", re.DOTALL | re.MULTILINE)
_URL_SAFE = str.maketrans("+/", "-_")
#: Fields that hold schemas, arguments, labels: what stands in them is the user's, not the wire's.
ANY_SHAPE = set(
    """responseJsonSchema responseSchema parameters parametersJsonSchema args response labels schema""".split()  # noqa: SIM905, a list of names
)


def camel(body: Any) -> Any:
    """A body with all its field names in camel case: the services take snake case too, and Google's SDK mixes both."""
    if isinstance(body, list):
        return [camel(item) for item in body]
    if not isinstance(body, dict):
        return body
    named = {re.sub(r"(?<=[a-z])_([a-z])", lambda m: m[1].upper(), k): v for k, v in body.items()}
    return {name: v if name in ANY_SHAPE else camel(v) for name, v in named.items()}


@dataclass(frozen=True)
class Seen:
    """One request as it came; header names are lower case; `body` is None where it is not JSON."""

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes = field(repr=False)
    body: Any = field(repr=False)
    violations: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The model id of the path."""
        return self.path.rpartition("/")[2].partition(":")[0]

    @property
    def fingerprint(self) -> str:
        """Equal for requests whose path and body are equal."""
        return hashlib.sha256(self.path.encode() + b"\n" + self.raw).hexdigest()

    @property
    def parts(self) -> list[dict[str, Any]]:
        """All parts of all turns."""
        turns = self.body.get("contents", []) if isinstance(self.body, dict) else []
        return [camel(part) for turn in turns for part in turn.get("parts", [])]

    @property
    def text(self) -> str:
        """All text parts, one under the other, without the system instruction."""
        return "\n".join(part["text"] for part in self.parts if "text" in part)

    @property
    def files(self) -> list[tuple[str, bytes]]:
        """Media type and bytes of each inline file."""
        blobs = [part["inlineData"] for part in self.parts if "inlineData" in part]
        try:
            # Both alphabets of base64 are taken, as every protobuf service does.
            return [
                (blob["mimeType"], urlsafe_b64decode(blob["data"].translate(_URL_SAFE)))
                for blob in blobs
            ]
        except NotBase64:
            return []

    @property
    def documents(self) -> list[str]:
        """The sha256 (hex) of each inline file."""
        return [hashlib.sha256(data).hexdigest() for _, data in self.files]

    @property
    def config(self) -> dict[str, Any]:
        """The generationConfig."""
        found = self.body.get("generationConfig") if isinstance(self.body, dict) else None
        return camel(found) if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Answer:
    """What goes back: a `body` that is data becomes JSON, bytes go as they are.

    `billed` says that the service worked and charges for it, delivered or not. `hold` waits for
    `Server.release()` before the first byte. `fault`: `reset` sends nothing and breaks the connection;
    `half` breaks it in the middle of the body, `stall` stops there until released; `too_long` and
    `too_short` announce a wrong length; `endless` never ends; `trickle` sends a byte a second; `chunked` is none, but another framing; nor is `paced`: a
    stream event by event, no faster than the client takes it, and `Server.taken` has how many bytes it took.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    billed: bool = False
    hold: bool = False
    fault: Fault | None = None


Reply = Callable[[Seen], Answer]


def generated(data: Any, *, usage: Mapping[str, Any] | None = None, **changes: Any) -> Answer:
    """A generated answer whose text is `data` (as JSON, or a str as it is); `changes` of the candidate."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    candidate = {
        "content": {"role": "model", "parts": [{"text": text}]},
        "finishReason": "STOP",
        "index": 0,
    }
    body = {
        "candidates": [candidate | changes],
        "usageMetadata": dict(
            usage or {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120}
        ),
        "modelVersion": "gemini-3.1-flash-lite",
        "responseId": "r-1",
    }
    return Answer(body=body, billed=True)


def error(
    status: int, message: str = "it failed", *details: Mapping[str, Any], word: str | None = None
) -> Answer:
    """An error report as Google sends it."""
    report: dict[str, Any] = {
        "code": status,
        "message": message,
        "status": word or STATUS_WORDS.get(status, "UNKNOWN"),
    }
    if details:
        report["details"] = list(details)
    return Answer(status, {"error": report})


def retry_info(delay: str) -> dict[str, Any]:
    """The detail that asks to wait, e.g. `"26s"`."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def quota(*ids: str) -> dict[str, Any]:
    """The detail that names the quotas that are used up."""
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": i} for i in ids],
    }


def reset(*, billed: bool = False) -> Answer:
    """The connection breaks after the request was read, before any byte of an answer."""
    return Answer(fault="reset", billed=billed)


def key_invalid() -> Answer:
    """The answer to a wrong key: 400, not 401."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    return error(400, "API key not valid. Please pass a valid API key.", info)


def answer_from(seen: Seen, answers: Mapping[str, Any]) -> Answer:
    """The default: the document's data from a table, else the schema filled; with its usage."""
    known = [*seen.documents, seen.text]
    data = next(
        (value for key, value in answers.items() if any(key in item for item in known)), None
    )
    if data is None:
        data = fill(seen.config.get("responseJsonSchema", {}))
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    limit = 4 * seen.config.get("maxOutputTokens", 65536)
    cut = text.encode()[:limit].decode("utf-8", "ignore")
    finish = "STOP" if cut == text else "MAX_TOKENS"
    return generated(cut, usage=usage_of(seen, cut), finishReason=finish)


def packed(text: str) -> list[tuple[str, str]]:
    """The keys and texts of the documents that share a request; none where it is about one."""
    _, several, rest = text.partition("There are several documents")
    return _PACKED.findall(rest) if several else []


def one_by_one(reply: Reply, seen: Seen) -> Answer:
    """What a service says that answers each document of a pack as it would alone; what is no answer is left out."""
    items = packed(seen.text)
    if not items:
        return reply(seen)
    config = dict(seen.config)
    if schema := config.get("responseJsonSchema"):
        answer = schema["properties"]["items"]["items"]["properties"]["answer"]
        named = {"$defs": schema["$defs"]} if "$defs" in schema else {}
        config["responseJsonSchema"] = {**answer, **named}
    start = next(n for n, part in enumerate(seen.parts) if part["text"].startswith("There are sev"))
    known = dict(_KNOWN.findall(seen.text))
    found, is_held = [], False
    for key, text in items:
        mark = f"document-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
        told = f"{known.get(key, '')}\n<{mark}>\n{text}\n</{mark}>"
        parts = [*seen.parts[:start], {"text": told}]
        contents = [{"role": "user", "parts": parts}]
        body = {**seen.body, "contents": contents, "generationConfig": config}
        one = reply(replace(seen, body=body, raw=json.dumps(body).encode()))
        if one.status != 200 or one.fault:
            return one
        is_held |= one.hold
        candidate = one.body.get("candidates", [{}])[0]
        if candidate.get("finishReason") == "STOP":
            said = candidate["content"]["parts"][0]["text"]
            found.append({"key": key, "answer": json.loads(said)})
    text = json.dumps({"items": found}, ensure_ascii=False)
    return replace(generated(text, usage=usage_of(seen, text)), hold=is_held)


def usage_of(seen: Seen, text: str) -> dict[str, Any]:
    """Tokens of a request and its answer: four bytes of text a token, pages and pictures by the table."""
    resolution = (
        str(seen.config.get("mediaResolution", "")).removeprefix("MEDIA_RESOLUTION_") or None
    )
    prompt = (
        len(seen.text.encode()) // 4
        + len(json.dumps(seen.config.get("responseJsonSchema", ""))) // 4
    )
    for media_type, data in seen.files:
        pages = max(1, len(re.findall(rb"/Type\s*/Page[^s]", data)))
        prompt += (
            pages * PAGE_TOKENS[resolution]
            if media_type == "application/pdf"
            else IMAGE_TOKENS[resolution]
        )
    output = len(text.encode()) // 4
    level = seen.config.get("thinkingConfig", {}).get("thinkingLevel")
    thoughts = min(
        THOUGHTS.get(level, 0), max(0, seen.config.get("maxOutputTokens", 65536) - output)
    )
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + output + thoughts,
    }


def fill(schema: Mapping[str, Any]) -> Any:
    """The plainest value that a compiled schema allows: null where it may be, all keys of an object."""
    if "anyOf" in schema:
        options = [fill(option) for option in schema["anyOf"]]
        return None if None in options else options[0]
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type", "null")
    if "null" in kinds:
        return None
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        return {name: fill(sub) for name, sub in schema.get("properties", {}).items()}
    texts = {"date": "2000-01-01", "date-time": "2000-01-01T00:00:00Z", "time": "00:00:00Z"}
    plain: dict[str, Any] = {"array": [], "boolean": False, "integer": 0, "number": 0}
    return plain.get(kind, texts.get(schema.get("format", ""), ""))


def about(model: str | None) -> Answer:
    """`models.get`, or `models.list` without an id."""
    ids = [model] if model else ["gemini-3.1-flash-lite", "gemini-3.5-flash-lite"]
    facts = [
        {"name": f"models/{i}", "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536}
        | {"supportedGenerationMethods": ["generateContent", "countTokens"], "thinking": True}
        for i in ids
    ]
    return Answer(body=facts[0] if model else {"models": facts})
