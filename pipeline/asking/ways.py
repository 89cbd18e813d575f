"""The ways to an answer: endpoints in their order, and how much of the schema each of them takes.

The first way is the stage's own model with the whole schema. A service that refuses the schema
is asked with its outline, then with words alone; where that helped, the run goes on so. Another
endpoint is asked when one is down or wants to be paid, never because of what it answered.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from pipeline import prompts
from pipeline.asking.asker import Asker
from pipeline.asking.calls import converse
from pipeline.asking.contexts import Beside
from pipeline.asking.telling import Whose
from pipeline.document import Document, Part
from pipeline.errors import (
    DocumentError,
    Fault,
    FieldsiftError,
    GaveUp,
    LoadError,
    QuotaReached,
    ReplyError,
    Unreachable,
)
from pipeline.eyes import Seen, readable
from pipeline.limits import Gate
from pipeline.loaders import Loaders
from pipeline.prompts import Ask
from pipeline.providers import LEVELS, Level, Reply, Request, Shelf
from pipeline.results import Attempt, Finding
from pipeline.sending import fitted
from pipeline.stages import Stage
from pipeline.windows import refuse_too_long

#: What makes another endpoint worth asking.
_DOWN: Final = (GaveUp, Unreachable, QuotaReached)
#: Why an endpoint has no form for a document, beside LoadErrors: no trouble of the document's own.
_NO_FORM: Final = frozenset({"too_large", "unsupported_part"})
#: Seconds for which an endpoint that failed is passed over while there is another one.
_ASIDE: Final = 60.0
_FOREVER: Final = 2.0**40
_WHY: Final[dict[Level, str]] = {
    "full": "",
    "reduced": "schema refused: its outline alone",
    "none": "schema refused: as words alone",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What a stage asks about a document: `ask` is which part of it, and about which pages.

    `gates` are the endpoints in their order; `looking` brings the words of pages that have none, which
    only engines without eyes wait for; `loaders` draw pages for endpoints that take no PDF; answers of
    runs before `since` don't count, and `told` are the calls whose cost its Result tells already. `beside` is what
    all documents of the stage are read beside, and `uses` for about how many more documents (0: nobody knows).
    """

    stage: Stage
    document: Document
    ask: Ask
    looking: Awaitable[Seen]
    gates: tuple[Gate, ...]
    loaders: Loaders
    since: int = 0
    told: set[int] = field(default_factory=set, compare=False, repr=False)
    beside: Beside | None = field(default=None, compare=False, repr=False)
    uses: Callable[[], int] = field(default=lambda: 0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, the endpoint that gave it, to what, what it took, and what is to be said about the way."""

    reply: Reply
    gate: Gate
    request: Request
    attempts: tuple[Attempt, ...]
    findings: tuple[Finding, ...] = ()


async def request(asked: Question, gate: Gate, level: Level = "full") -> Request:
    """The question as a request to one endpoint, the document in a form that it takes.

    Raises:
        LoadError: the endpoint has no eyes, and there are no words; or see `sending.fitted`.
        ReplyError: see `windows.refuse_too_long` and `sending.fitted`.
        SetupError: see `sending.fitted`.

    """
    looks = gate.provider.reads_images and asked.stage.send != "text"
    document = asked.document if looks else readable(await asked.looking)
    refuse_too_long(asked.stage, document, gate.endpoint)
    if text := asked.ask.text:
        part = Part("text", "text/plain", text=text)
        document = replace(document, page_count=1, parts=(part,), numbers=None)
    else:
        window = asked.ask.window
        document = await fitted(document, window, gate.endpoint, asked.loaders, asked.stage)
    made = prompts.request(
        asked.stage, asked.ask, document, gate.provider, gate.endpoint, level=level
    )
    if asked.beside is None:
        return made
    first = await asked.beside.parts(asked.stage, gate)
    whole = (*first, *made.content)
    return replace(made, content=whole, shared=len(first), uses=asked.uses())


class Ways:
    """Finds the way to an answer for every question of a run; `shelf` remembers ways that were gone."""

    def __init__(self, asker: Asker, shelf: Shelf | None) -> None:
        self.asker = asker
        self._shelf = shelf
        self._gone: dict[str, bool] = {}
        self._least: dict[tuple[str, str], Level] = {}
        self._aside: dict[str, tuple[float, FieldsiftError]] = {}

    async def answer(self, asked: Question) -> Answered:
        """The answer: a stored one of any way, else that of the first endpoint that is in service.

        What was paid on ways that led nowhere stands in its attempts, or in those of the error.

        Raises:
            UnusableError, ReplyError, NotRecorded, BudgetReached, SetupError: see `Asker.ask`; where
                every endpoint is down or has no form for the document, what the first one said,
                and then the others.
            LoadError: see `request`.
            Fault: anything else that happened.

        """
        paid: list[Attempt] = []
        try:
            found = await self._found(asked, paid)
        except FieldsiftError as error:
            raise error.after(paid) from error
        except Exception as error:
            raise Fault(str(error)).after(paid) from error
        return replace(found, attempts=(*paid, *found.attempts))

    async def is_answered(self, asked: Question, first: Request) -> bool:
        """Whether the answer of a way is stored that `answer` would find; `first` is the first way's request.

        Raises:
            StateError: what is stored is damaged.

        """
        if self.asker.has(first, asked.since, asked.ask.take):
            return True
        ways: list[tuple[Gate, Level]] = [(g, level) for g in asked.gates for level in LEVELS]
        for gate, level in ways[1:]:
            if self._was_gone(gate, level, asked.ask.schema.sha256):
                try:
                    one = await request(asked, gate, level)
                except DocumentError:
                    continue
                if self.asker.has(one, asked.since, asked.ask.take):
                    return True
        return False

    async def _found(self, asked: Question, paid: list[Attempt]) -> Answered:
        """The answer; what was paid for others is added to `paid`."""
        if stored := await self._stored(asked, paid):
            return stored
        first = asked.gates[0]
        failed: FieldsiftError | None = None
        for gate in self._in_service(asked.gates):
            try:
                found = await self._at(gate, asked, paid)
            except _DOWN as error:
                self._put_aside(gate, error)
                # What the others said is no less of a reason; what lies aside stays as it was said.
                told = error if failed is None else f"{failed}; and {error}"
                failed = (failed or error).after(())
                failed.args = (str(told),)
            except DocumentError as error:
                if gate is first or not _has_no_form(error):
                    raise
                failed = failed or self._aside[first.endpoint.name][1]
            else:
                return replace(found, findings=self._said(asked.gates, gate))
        raise failed or AssertionError("unreachable")

    async def _at(self, gate: Gate, asked: Question, paid: list[Attempt]) -> Answered:
        """The answer of one endpoint, with as much of the schema as it takes."""
        place = (gate.endpoint.name, asked.ask.schema.sha256)
        first = self._least.get(place, "full")
        refused: ReplyError | None = None
        tried: list[object] = []
        for level in LEVELS[LEVELS.index(first) :]:
            one = await request(asked, gate, level)
            if refused and one.schema in tried:
                continue  # this service takes less than that anyway
            tried.append(one.schema)
            if gate is not asked.gates[0] or level != "full":
                # Before it is paid for: whatever ends this process, the answer is found again.
                await self._remember(gate, level, asked.ask.schema.sha256)
            try:
                found = await self._ask(gate, one, level, asked, paid)
            except ReplyError as error:
                if error.reason != "schema_refused":
                    raise
                refused = refused or error
                continue
            if level != first:
                self._least[place] = level
            return found
        raise ReplyError(
            "http_400",
            f"{str(refused).rstrip('.')}. It is refused without a schema, too: the document or a setting is at fault",
        ) from refused

    async def _ask(
        self, gate: Gate, one: Request, level: Level, asked: Question, paid: list[Attempt]
    ) -> Answered:
        why = (_WHY[level] or asked.ask.why) if gate is asked.gates[0] else "fallback"
        functions = asked.stage.functions
        whose = Whose(
            asked.document.path, asked.stage.name, asked.since, asked.ask.take, asked.told
        )
        try:
            reply, attempts = await converse(self.asker, gate, one, functions, whose)
        except FieldsiftError as error:
            paid += _begun(error.attempts, why)
            raise
        return Answered(reply, gate, one, _begun(attempts, why))

    async def _stored(self, asked: Question, paid: list[Attempt]) -> Answered | None:
        """The answer of a way that was gone before, if there is one: no other way is paid for it again."""
        ways: list[tuple[Gate, Level]] = [(g, level) for g in asked.gates for level in LEVELS]
        others = [
            way
            for way in ways[1:]
            if self.asker.offline or self._was_gone(*way, asked.ask.schema.sha256)
        ]
        for gate, level in (ways[0], *others) if others else ():
            if found := await self._read_back(gate, level, asked, paid):
                return replace(found, findings=self._said(asked.gates, gate))
        return None

    async def _read_back(
        self, gate: Gate, level: Level, asked: Question, paid: list[Attempt]
    ) -> Answered | None:
        """The stored answer of one way; None where there is none, or it can't be gone to its end."""
        try:
            one = await request(asked, gate, level)
            if self.asker.has(one, asked.since, asked.ask.take):
                return await self._ask(gate, one, level, asked, paid)
        except _DOWN as error:  # in the middle of its calls of functions
            self._put_aside(gate, error)
        except DocumentError as error:
            if gate is asked.gates[0] or not _has_no_form(error):
                raise
        return None

    def _put_aside(self, gate: Gate, error: FieldsiftError) -> None:
        self._aside[gate.endpoint.name] = (_now() + _ASIDE, error)

    def _in_service(self, gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
        """The endpoints that have not failed just now; all of them, where none is left."""
        up = tuple(g for g in gates if self._aside.get(g.endpoint.name, (0.0,))[0] <= _now())
        return up or gates

    def _said(self, gates: tuple[Gate, ...], gate: Gate) -> tuple[Finding, ...]:
        """That another endpoint answered, and why the stage's own did not."""
        if gate is gates[0]:
            return ()
        failed = self._aside.get(gates[0].endpoint.name)
        why = f": {failed[1]}" if failed else ", as in an earlier run"
        told = f"{gate.endpoint.name} answered in place of {gates[0].endpoint.name}{why}"
        return (Finding("fallback", "", told, "warning"),)

    def _was_gone(self, gate: Gate, level: Level, schema: str) -> bool:
        name = _mark(gate, level, schema)
        if name not in self._gone:
            self._gone[name] = self._shelf is not None and self._shelf.recall(name) is not None
        return self._gone[name]

    async def _remember(self, gate: Gate, level: Level, schema: str) -> None:
        name = _mark(gate, level, schema)
        if not self._gone.get(name):
            self._gone[name] = True
            if self._shelf is not None:
                await self._shelf.remember(name, "gone", _FOREVER)


def _begun(attempts: tuple[Attempt, ...], why: str) -> tuple[Attempt, ...]:
    """The attempts of one way, the first of them with the reason for going it."""
    return tuple(replace(each, why=why) for each in attempts[:1]) + attempts[1:]


def _has_no_form(error: DocumentError) -> bool:
    return isinstance(error, LoadError) or error.reason in _NO_FORM


def _mark(gate: Gate, level: Level, schema: str) -> str:
    return f"way {gate.endpoint.name} {level} {schema[:24]}"


def _now() -> float:
    return asyncio.get_running_loop().time()
