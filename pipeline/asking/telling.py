"""Whose an answer is, who waits for it, and how it is told: a body read as a Reply, and the Attempt that says what it took."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import FieldsiftError, ReplyError
from pipeline.limits import Gate, dollars
from pipeline.providers import Item, Reply, Request, Usage
from pipeline.results import Attempt

if TYPE_CHECKING:
    import asyncio

#: What an input can be made of; a service's further words are no keys of ours.
_KINDS = ("text", "image", "audio", "video", "document")


class UnusableError(ReplyError):
    """Answers that were paid for and can't be used; `attempts` say what they cost."""

    def __init__(self, error: ReplyError, *attempts: Attempt) -> None:
        super().__init__(error.reason, str(error))
        self.attempts = attempts


@dataclass(frozen=True, slots=True)
class Whose:
    """Which answer counts, the `take`-th of runs from `since` on; and for which document and stage it is bought.

    `told` are the numbers of the calls whose cost one Result tells already.
    """

    document: str = ""
    stage: str = ""
    since: int = 0
    take: int = 1
    told: set[int] = field(default_factory=set)


def unread(gate: Gate, cost: int | None, *, stored: bool = False) -> Attempt:
    """What an answer took that can't be read."""
    return Attempt(gate.endpoint.model, gate.endpoint.name, {}, _price(cost), stored=stored)


def told(gate: Gate, body: bytes, cost: int | None, *, stored: bool) -> tuple[Reply, Attempt]:
    """An answer, read, and what it took.

    Raises:
        ReplyError: it can't be read.

    """
    reply = gate.provider.read(body)
    return reply, attempt(gate, reply, reply.usage, cost, stored=stored)


def attempt(
    gate: Gate, reply: Reply, usage: Usage, cost: int | None, *, stored: bool = False
) -> Attempt:
    """What an answer took, or a share of it."""
    return Attempt(
        model=reply.model or gate.endpoint.model,
        endpoint=gate.endpoint.name,
        tokens=_tokens(usage) if usage.is_counted else {},
        cost_usd=_price(cost),
        stored=stored,
        response_id=reply.response_id or None,
    )


def _price(cost: int | None) -> Decimal | None:
    return None if cost is None else Decimal(dollars(cost))


def _tokens(usage: Usage) -> dict[str, int]:
    """Tokens by kind, as `Attempt` tells them."""
    made_of = dict(usage.by_modality)
    rare = {"tool": usage.tool, "audio": usage.audio}
    rare |= {f"input_{kind}": made_of.get(kind, 0) for kind in _KINDS}
    return {
        "input": usage.input,
        "cached": usage.cached,
        "output": usage.output,
        "thoughts": usage.thoughts,
    } | {kind: count for kind, count in rare.items() if count}


_WHY: Final = "asked again: its pack did not answer it"

#: An answer, and the attempts that brought it.
Answer = tuple[Reply, tuple[Attempt, ...]]


@dataclass(slots=True, eq=False)
class Member:
    """A request in a pack, and who waits: `answer` for the outcome, `kept` for the body once it is on disk.

    `paid` is what its packs took so far that did not answer it.
    """

    request: Request
    item: Item
    whose: Whose
    kept: "asyncio.Future[bytes]"
    answer: "asyncio.Future[Answer]"
    paid: list[Attempt] = field(default_factory=list)

    def took(self, attempt: Attempt) -> None:
        """A pack was paid for that did not answer it."""
        self.paid.append(replace(attempt, why=_WHY) if self.paid else attempt)

    def answered(self, body: bytes, answer: tuple[Reply, Attempt]) -> None:
        """It has its answer, which is on disk."""
        if not self.kept.done():
            self.kept.set_result(body)
        self.told(answer[0], answer[1:])

    def told(self, reply: Reply, attempts: Sequence[Attempt]) -> None:
        """Who waits hears its answer; `attempts` are those that brought it."""
        again = [replace(each, why=_WHY) for each in attempts] if self.paid else attempts
        if not self.answer.done():
            self.answer.set_result((reply, (*self.paid, *again)))

    def failed(self, error: BaseException) -> None:
        """There is no answer."""
        fail(self.kept, error)
        if isinstance(error, FieldsiftError):
            error = error.after((*self.paid, *error.attempts))
        fail(self.answer, error)


def fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    """Whoever waits hears of an error; nobody may be waiting."""
    if future.done():
        return
    if isinstance(error, Exception):
        future.set_exception(error)
        future.exception()
    else:
        future.cancel()
