"""A server that answers from labels with faults, and what is asked again of it rightly."""

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.api import Storage, open_runner
from pipeline.config import Call, plan
from pipeline.document import Document, Page, Part
from pipeline.results import Result
from pipeline.runner import Options
from pipeline.runner.branches import Branch
from pipeline.sources import Source
from pipeline.stages import Stage
from tests.answers import Answer, Seen, generated, usage_of
from tests.server import Server

#: How a flat question names its leaf: `lines, row 18, amount: what it is`.
_ROW = re.compile(r"row (\d+)")


def at(data: Any, pointer: str) -> Any:
    """The value of a pointer; None where there is none."""
    for token in pointer.split("/")[1:]:
        try:
            data = data[int(token)] if isinstance(data, list) else data[token]
        except (LookupError, TypeError, ValueError):
            return None
    return data


def put(data: Any, pointer: str, value: Any) -> Any:
    """A copy of data with another value at a pointer."""
    copy = json.loads(json.dumps(data))
    _put(copy, pointer, value)
    return copy


def _put(data: Any, pointer: str, value: Any) -> None:
    *way, last = pointer.split("/")[1:]
    inner = data
    for token in way:
        inner = inner[int(token)] if isinstance(inner, list) else inner[token]
    inner[int(last) if isinstance(inner, list) else last] = value


def asked_of(seen: Seen) -> dict[str, str]:
    """The fields of a flat question and the leaves that they are asked for; empty for any other one."""
    properties = seen.config.get("responseJsonSchema", {}).get("properties", {})
    if not properties or not all(
        re.fullmatch(r"f\d+", name) for name in properties if name != "_quotes"
    ):
        return {}
    found = {}
    for name, told in properties.items():
        if name != "_quotes":
            words = told["description"].partition(":")[0].split(", ")
            rows = [_ROW.fullmatch(word) for word in words]
            tokens = [
                str(int(row[1]) - 1) if row else word for row, word in zip(rows, words, strict=True)
            ]
            found[name] = "/" + "/".join(tokens)
    return found


@dataclass
class Models:
    """What each model of a server answers: the labels, but wrong at some leaves, at first and when it is asked again.

    `first` and `again` map a model to what it says wrongly, by pointer. With `reads` only what stands in the
    request is answered: the rows of an array by their first text, leaves by their value as printed. Books are kept: `asked` holds
    the model and the leaves of each question, None for the whole.
    """

    labels: Any
    first: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    again: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, list[str] | None]] = field(default_factory=list)
    change: Callable[[Seen, Answer], Answer] = lambda seen, answer: answer
    server: Any = None
    reads: bool = False

    def __call__(self, seen: Seen) -> Answer:
        """The answer to a request."""
        fields = asked_of(seen)
        self.asked.append((seen.model, list(fields.values()) or None))
        if fields:
            wrong = self.again.get(seen.model, {})
            data = {name: wrong.get(p, at(self.labels, p)) for name, p in fields.items()}
            if self.reads:
                data = {name: v if stands(v, seen.text) else None for name, v in data.items()}
        else:
            data = json.loads(json.dumps(self.labels))
            for pointer, value in self.first.get(seen.model, {}).items():
                _put(data, pointer, value)
            if self.reads:
                data = {name: self.seen(name, value, seen.text) for name, value in data.items()}
        told = json.dumps(data, ensure_ascii=False)
        return self.change(seen, generated(told, usage=usage_of(seen, told)))

    def seen(self, name: str, value: Any, text: str) -> Any:
        """What of a value the pages of a request say: rows that stand there, a leaf whose label does."""
        label = self.labels[name]
        if not isinstance(value, list):
            return value if stands(label, text) else None
        firsts = [next(v for v in row.values() if isinstance(v, str)) for row in label]
        return [row for row, first in zip(value, firsts, strict=True) if first in text]


def stands(value: Any, text: str) -> bool:
    """Whether a value is printed in a text."""
    printed = f"{value:.2f}" if isinstance(value, float) else str(value)
    return printed in text


def text_document(*pages: str) -> Document:
    """A text document as a loader makes it."""
    whole = "\f".join(pages)
    sha256 = hashlib.sha256(whole.encode()).hexdigest()
    found = tuple(Page(number, text) for number, text in enumerate(pages, start=1))
    parts = tuple(
        Part("text", "text/plain", text=page.text, pages=(page.number, page.number))
        for page in found
    )
    return Document("a.txt", sha256, len(whole), "text/plain", len(pages), found, parts)


def answered(document: Document, stage: Stage, budget: object = None) -> Result:
    """What a stage makes of a document, without the children that read files and without a store on disk."""

    async def work() -> Result:
        given = {"model": "gemini-3.1-flash-lite", "budget": budget}
        decided = plan(given, Call(), [stage])
        async with open_runner(decided, Options(), Storage(in_memory=True)) as runner:
            await runner.begin()
            looking = asyncio.ensure_future(runner.eyes.look(document, b""))
            branch = Branch(document, looking)
            return await runner.answering.answer(decided.stages[0], branch, Source("a.txt"))

    return asyncio.run(work())


def serving(models: Models, monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    """The models behind a server that the library asks, for a fixture."""
    with Server(models) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        models.server = server
        yield models
