"""Questions about rows that share requests, as a run asks them; and services that damage the answers."""

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline import eyes
from pipeline.asking import Answered, Asker, Question, Ways
from pipeline.catalogue import price_of
from pipeline.document import Document, Page, Window
from pipeline.errors import FieldsiftError
from pipeline.ledger import Ledger, Replies, StoredReplies
from pipeline.limits import Gate, Purse
from pipeline.limits.gate import PATIENCE
from pipeline.loaders import Loaders
from pipeline.prompts import Ask
from pipeline.providers import Endpoint, open_provider
from pipeline.stages import Stage
from tests.answers import Answer, Seen, generated, packed, usage_of
from tests.asking import KEY, text_part
from tests.server import Server

LABELS = ("tools", "garden", "kitchen", "toys")


def row(number: int, text: str) -> Document:
    """A row as a document."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    page = Page(1, text)
    path = f"rows.jsonl#{number}"
    return Document(path, digest, len(text), "text/plain", 1, (page,), (text_part(text),))


def label_of(text: str) -> dict[str, list[str]]:
    """What the service answers about a row: told by its text alone, so that a mixed-up answer is seen."""
    return {"labels": [LABELS[len(text) % 4]]}


def tagging(seen: Seen) -> Answer:
    """Answers every row with its label, alone or in a pack."""
    return said(seen, [(key, label_of(text)) for key, text in packed(seen.text)])


def said(seen: Seen, items: Sequence[tuple[str, Any]], **changes: Any) -> Answer:
    """An answer with these items; of a request about one row its label."""
    data: Any = {"items": [{"key": key, "answer": answer} for key, answer in items]}
    if not packed(seen.text):
        fence, _, rest = seen.text.partition("\n<document-")[2].partition(">\n")
        data = label_of(rest.partition(f"\n</document-{fence}>")[0])
    text = json.dumps(data)
    return generated(text, usage=usage_of(seen, text), **changes)


def damaging(dice: random.Random, share: float) -> Callable[[Seen], Answer]:
    """A service that damages so many of its items and packs, in every way."""

    def reply(seen: Seen) -> Answer:
        items = [(key, label_of(text)) for key, text in packed(seen.text)]
        if not items:
            return tagging(seen)
        damaged: list[tuple[str, Any]] = []
        for key, answer in items:
            kind = dice.choice("mdw") if dice.random() < share else ""
            if kind != "m":
                damaged.append((f"{dice.getrandbits(32):08x}" if kind == "w" else key, answer))
            if kind == "d":
                damaged.append((key, {"labels": ["toys"]}))
        whole = said(seen, damaged)
        if dice.random() < share:
            text = whole.body["candidates"][0]["content"]["parts"][0]["text"]
            place = dice.randrange(len(text))
            if dice.random() < 0.5:
                return generated(
                    text[:place], usage=usage_of(seen, text[:place]), finishReason="MAX_TOKENS"
                )
            place = text.rfind(
                "{", 0, place + 1
            )  # not within a label: that would be another answer
            broken = text[:place] + "]}," + text[place:]
            return generated(broken, usage=usage_of(seen, broken))
        return whole

    return reply


def endpoint(server: Server, wire: str = "gemini") -> Endpoint:
    """The endpoint of a server, at its listed price."""
    if wire == "openai":
        base = f"{server.url}/v1beta/openai"
        return Endpoint("google-openai", "gemini-3.1-flash-lite", base, KEY, "KEY_OF_IT")
    return Endpoint("gemini", "gemini-3.1-flash-lite", server.url, KEY, "KEY_OF_IT")


@dataclass
class Rows:
    """The state of an output, and a stage that asks about rows."""

    stage: Stage
    folder: Path | None = None
    budget: str | None = None
    offline: bool = False
    waits: Callable[[float], Awaitable[None]] = asyncio.sleep
    patience: float = PATIENCE
    asker: Asker | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    spent: int = 0

    def ask(self, at: Endpoint, texts: Sequence[str]) -> list[Answered | FieldsiftError]:
        """What comes of each row; all are on their way at once."""
        replies = StoredReplies(self.folder)
        try:
            return asyncio.run(self.answers(at, list(enumerate(texts, 1)), replies))
        finally:
            replies.close()

    async def answers(
        self, at: Endpoint, rows: Sequence[tuple[int, str]], replies: Replies, take: int = 1
    ) -> list[Answered | FieldsiftError]:
        """The same on a loop that runs, with the answers that are stored."""
        ledger = Ledger(self.folder)
        purse = Purse(ledger, Decimal(self.budget) if self.budget else None)
        price = price_of({"input": 0.25, "output": 1.5})
        gate = Gate(open_provider(at), at, purse, price=price, sleep=self.waits)
        gate.patience = self.patience
        self.asker = Asker(replies, offline=self.offline)
        self.asker.bought.run = 1
        ways = Ways(self.asker, None)

        async def one(number: int, text: str) -> Answered | FieldsiftError:
            document = row(number, text)
            looking = asyncio.get_running_loop().create_future()
            looking.set_result(eyes.Seen(document))
            ask = Ask(Window((1,)), self.stage.schema, take=take)
            question = Question(self.stage, document, ask, looking, (gate,), Loaders(1))
            try:
                return await ways.answer(question)
            except FieldsiftError as error:
                return error

        try:
            return list(await asyncio.gather(*(one(*each) for each in rows)))
        finally:
            self.spent = ledger.spent()
            self.calls = list(
                ledger._database.rows("select key, take, state, reserved, cost, at from calls")
            )
            await gate.provider.aclose()
            ledger.close()
