"""What all test servers of a session were asked: how many requests, which fields, what was wrong unforeseen.

Each `Server` enters its books here when it ends; one that is a process of its own writes them into the
folder that the environment names. The session prints the sum, and fails for a violation that no test
meant. `pytest --wire-fields` lists every field that was exercised, and those that were not.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.answers import Seen
from tests.wire import fields

#: The environment variable with the folder into which servers in other processes write their books.
FOLDER = "TEST_SERVER_BOOKS"
#: Who asked, by the beginning of the User-Agent; all others are `other`: tests that speak HTTP themselves.
_CLIENTS = {
    "fieldsift/": "fieldsift",
    "google-genai-sdk/": "google-genai",
    "OpenAI/": "openai",
    "AsyncOpenAI/": "openai",
}
#: Which message a path takes; the first that fits. `streamGenerateContent` takes the same as `generateContent`.
_MESSAGES = {
    r".*/chat/completions": "openai chat/completions",
    r".*/projects/.*:(generate|streamGenerate)Content|/v1(beta1)?/publishers/.*": "vertex generateContent",
    r".*:(generate|streamGenerate)Content": "gemini generateContent",
    r".*/projects/.*:countTokens": "vertex countTokens",
    r".*:countTokens": "gemini countTokens",
    r"/upload/.*/files": "gemini files",
    r".*/cachedContents(/.*)?": "gemini cachedContents",
}


@dataclass
class Books:
    """Requests by who sent them, fields of our own by message, and what was wrong though no test meant it."""

    requests: Counter[str] = field(default_factory=Counter)
    unparsed: int = 0
    fields: dict[str, set[str]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def enter(self, requests: Iterable[Seen], *, is_parsed: bool, wrong_on_purpose: bool) -> None:
        """Enter what one server was asked; only bodies that were parsed count as exercised."""
        for seen in requests:
            client = _client(seen)
            self.requests[client] += 1
            self.unparsed += not is_parsed
            if not wrong_on_purpose:
                self.violations += [f"{seen.path}: {wrong}" for wrong in seen.violations]
            if client == "fieldsift" and is_parsed and not seen.violations:
                for message in _message(seen):
                    self.fields.setdefault(message, set()).update(fields(seen.body))

    def add(self, other: "Books") -> None:
        """Add the books of another server."""
        self.requests += other.requests
        self.unparsed += other.unparsed
        self.violations += other.violations
        for message, used in other.fields.items():
            self.fields.setdefault(message, set()).update(used)

    def to_json(self) -> dict[str, Any]:
        """The books as JSON."""
        used = {message: sorted(names) for message, names in self.fields.items()}
        return vars(self) | {"requests": dict(self.requests), "fields": used}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Books":
        """The books that `to_json` gave."""
        used = {message: set(names) for message, names in told["fields"].items()}
        return cls(Counter(told["requests"]), told["unparsed"], used, told["violations"])


#: The books of this process.
SESSION = Books()


def hand_over() -> None:
    """Write the books of this process into the folder that the environment names, if it names one."""
    if folder := os.environ.get(FOLDER):
        (Path(folder) / f"{os.getpid()}.json").write_text(json.dumps(SESSION.to_json()))


def collect(folder: Path) -> None:
    """Add what servers in other processes wrote."""
    for path in folder.glob("*.json"):
        SESSION.add(Books.from_json(json.loads(path.read_text())))
        path.unlink()


def summary(books: Books) -> str:
    """The books in one line."""
    by_wire = ", ".join(f"{message} {len(used)}" for message, used in sorted(books.fields.items()))
    clients = ", ".join(f"{client} {count}" for client, count in sorted(books.requests.items()))
    unparsed = f", not parsed: {books.unparsed}" if books.unparsed else ""
    return (
        f"requests to the test server: {books.requests.total()} ({clients}){unparsed}, "
        f"violations of the strict parse outside tests that mean to: {len(books.violations)}, "
        f"distinct fields: {sum(map(len, books.fields.values()))} ({by_wire})"
    )


def listing(books: Books) -> Iterator[str]:
    """Every field that was exercised, and every one of the official messages that was not, message by message."""
    from tests.official import fields_of

    for message, used in sorted(books.fields.items()):
        yield f"{message}: {len(used)} exercised"
        yield from (f"  + {name}" for name in sorted(used))
        reached = {name[: end.start()] for name in used for end in re.finditer(r"\.|\[|$", name)}
        missing = sorted(fields_of(message) - used - reached)
        yield f"{message}: {len(missing)} of the official message not exercised"
        yield from (f"  - {name}" for name in missing)


def _client(seen: Seen) -> str:
    agent = seen.headers.get("user-agent", "")
    return next((name for start, name in _CLIENTS.items() if agent.startswith(start)), "other")


def _message(seen: Seen) -> Iterator[str]:
    """The message of a request; none where it has no JSON body."""
    path = urlsplit(seen.path).path
    if seen.body is not None:
        yield from [name for pattern, name in _MESSAGES.items() if re.fullmatch(pattern, path)][:1]
