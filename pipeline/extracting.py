"""One stage of one document, from its pages to a judged Result; of every task, not of `extract` alone.

    pages -> windows -> requests -> replies -> pieces -> merged -> judged -> asked again -> Result

A short document is one window, and goes the same way.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from pipeline.answer import read
from pipeline.asking import Question, Ways
from pipeline.confidence import settled
from pipeline.document import Document, Window
from pipeline.errors import (
    ContentRefused,
    DocumentError,
    Fault,
    FieldsiftError,
    LoadError,
    QuotaReached,
    Stopped,
)
from pipeline.eyes import notes, wordless
from pipeline.judge import judge
from pipeline.limits import Gate
from pipeline.prompts import Ask
from pipeline.providers import Provider
from pipeline.repair import Round, failing, questions
from pipeline.results import Attempt, Coverage, EvidenceStatus, Finding, Result, Status
from pipeline.stages import Escalation, Stage
from pipeline.values.pages import spans
from pipeline.windows import (
    Lost,
    Merged,
    Piece,
    agreed,
    left,
    left_out,
    merge,
    merged_translation,
    rest,
    seen_in,
    whole,
)
from pipeline.windows.texts import data_of

#: Of several ends without an answer, the one that the Result tells.
_WORST: Final[tuple[Status, ...]] = ("over_budget", "unreadable", "refused", "failed", "truncated")
#: Ends that another model may not come to, by what `escalate.on` calls them; cut answers are called so anyway.
_LOST_KIND: Final = {"not_json": "invalid", "doubled_key": "invalid"}


async def extract(
    asked: Question,
    asks: Sequence[Ask],
    ways: Ways,
    empty: Result,
    on_stop: Callable[[Stopped], None] = lambda error: None,
    higher: Callable[[], Sequence[Question]] = tuple,
) -> Result:
    """What a stage makes of a document: `empty`, completed.

    Args:
        asked: the stage, the document, and who is asked.
        asks: the first questions, one for each window.
        ways: leads to the answers.
        empty: the Result, which has everything but what the answers say.
        on_stop: hears that money or a quota ended it.
        higher: asked only where something still fails for which the stage goes up: the same stage with each next
            model, in their order; none where the share of documents that may go up is used. What it raises ends all.

    Raises:
        FieldsiftError: the run can't go on, or is to stop.
        Fault: anything else that happened; with the answers that were paid for before it.

    """
    line = _Line(asked, ways, on_stop)
    try:
        await _asked_to_the_end(line, asks, higher)
        return await asyncio.to_thread(line.concluded, empty)
    except FieldsiftError as error:
        if isinstance(error, Fault):
            raise error.after(line.paid) from error.__cause__
        raise
    except Exception as error:
        raise Fault(str(error)).after(line.paid) from error


async def _asked_to_the_end(
    line: "_Line", asks: Sequence[Ask], higher: Callable[[], Sequence[Question]]
) -> None:
    """Ask, ask again for what fails, then the next models for what still does."""
    asked, stage = line.asked, line.stage
    await line.ask(asked, asks)
    await line.mend(asked, "repair {}", stage.repair)
    up = stage.escalate if line.goes_up else None
    models = higher() if up else ()
    if up and not models:
        line.told.append(_Told(findings=(_kept_back(up),)))
    for who in models:
        why = f"escalated to {who.gates[0].endpoint.name}"
        await line.ask_lost(who, why)
        await line.mend(who, why, 1, up)


def judged(
    stage: Stage, document: Document, pieces: Sequence[Piece]
) -> tuple[Merged, tuple[Finding, ...]]:
    """All pieces as one answer, and every finding about it."""
    if not stage.by_leaf:
        is_translation = stage.task == "translate"
        taken = (
            merged_translation(stage, document, pieces) if is_translation else whole(stage, pieces)
        )
        return taken, (*taken.findings, *judge(stage, taken.data, document, ()))
    second = [each for each in pieces if each.ask.take > 1 and not each.ask.about]
    others = [each for each in pieces if each.ask.take == 1 or each.ask.about]
    if not others:  # they were lost, and with them what there is to compare with
        others, second = second, []
    merged = merge(stage, document, others)
    if second:
        first = [each for each in others if not each.ask.about]
        votes = (
            merge(stage, document, first) if 0 < len(first) < len(others) else merged,
            merge(stage, document, second),
        )
        merged = agreed(stage.schema.tree, merged, votes, _given(others, second[0].model))
    return merged, (*merged.findings, *judge(stage, merged.data, document, merged.evidence))


def _given(
    pieces: Sequence[Piece], voter: str | None
) -> dict[str, list[tuple[str, EvidenceStatus]] | None]:
    """What was asked for again since two answers differed, see `agreed`: None where the next model said it."""
    given: dict[str, list[tuple[str, EvidenceStatus]] | None] = {}
    for piece in pieces:
        proofs: dict[str, EvidenceStatus] = {e.pointer: e.status for e in piece.evidence}
        for pointer in piece.ask.about:
            values = given.setdefault(pointer, [])
            value = piece.data.get(pointer) if piece.ask.fields else None
            if piece.model != voter and (value is not None or not piece.ask.fields):
                given[pointer] = None
            elif values is not None and piece.ask.fields and pointer in piece.data:
                text = json.dumps(value, ensure_ascii=False, sort_keys=True)
                values.append((text, proofs.get(pointer, "not_found")))
    return given


@dataclass(frozen=True, slots=True)
class _Told:
    """What came of one question, what it took, who was asked, and what is to be told of the way."""

    attempts: tuple[Attempt, ...] = ()
    gate: Gate | None = None
    sources: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    said: Piece | Lost | None = None
    is_asked_again: bool = False

    @property
    def left(self) -> Lost | None:
        """What stays open of it, and is not asked again."""
        return None if self.is_asked_again or self.said is None else left(self.said)


class _Line:
    """What is known so far of one stage of one document.

    `windows` are those it was cut into, `lost` the questions about them without an answer, and any that the budget stopped.
    `paid` are the answers so far in the order in which they came, also of questions of which nothing came.
    """

    def __init__(self, asked: Question, ways: Ways, on_stop: Callable[[Stopped], None]) -> None:
        self.asked, self.ways, self.on_stop = asked, ways, on_stop
        self.stage = asked.stage
        self.seen = asked.document
        self.windows: list[Window] = []
        self.asks: list[Ask] = []
        self.told: list[_Told] = []
        self.paid: list[Attempt] = []
        self.pieces: list[Piece] = []
        self.lost: list[Lost] = []
        self.merged = Merged(None, ())
        self.findings: tuple[Finding, ...] = ()

    async def ask(self, who: Question, asks: Sequence[Ask]) -> None:
        """Ask about all windows at the same time.

        Raises:
            FieldsiftError: as `_ask`.

        """
        self.windows = self.windows or list(dict.fromkeys(ask.window for ask in asks))
        told = await self._ask(who, asks)
        self.pieces += _pieces(told)
        covered = {page for piece in self.pieces for page in piece.covers}
        self.lost = [
            each.left
            for each in told
            if each.left is not None
            and not (
                each.left.status == "truncated"
                and not each.left.ask.text
                and covered.issuperset(each.left.pages)
            )
        ]
        if self.pieces:
            self.merged, self.findings = await self._judged(self.pieces)

    @property
    def goes_up(self) -> bool:
        """Whether something is left that the next model of the stage is to be asked."""
        up = self.stage.escalate
        if up is None:
            return False
        if self.lost:
            return self._may_go_up(up)
        return bool(failing(self.stage, self.merged, self.findings, up.on))

    def _may_go_up(self, up: Escalation) -> bool:
        return all((_LOST_KIND.get(each.reason) or each.status) in up.on for each in self.lost)

    async def ask_lost(self, who: Question, why: str) -> None:
        """Ask the next model about windows whose answer was cut off or could not be read, if it is to have those.

        Raises:
            FieldsiftError: as `_ask`.

        """
        up = self.stage.escalate
        if self.lost and up and self._may_go_up(up):
            asks = [replace(each.ask, why=f"{why}: {each.reason}", again=0) for each in self.lost]
            await self.ask(who, asks)

    async def mend(self, who: Question, why: str, most: int, up: Escalation | None = None) -> None:
        """Ask for what fails, each leaf up to `most` times, until nothing does; with `up` for what goes up alone.

        Raises:
            FieldsiftError: as `_ask`.

        """
        asked: list[Ask] = []
        # Twice as often: rows move while their array is asked for, so that what stands in them waits.
        for _ in range(2 * most if who.gates[0].provider.stored else 0):
            if self.lost:
                return
            targets = failing(self.stage, self.merged, self.findings, up.on if up else None)
            asking = Round(why, most, asked, self.windows)
            again = await asyncio.to_thread(
                questions, self.stage, self.seen, self.merged, targets, asking
            )
            if not again:
                return
            asked += again
            told = await self._ask(who, again)
            self.lost = [e.left for e in told if e.left and e.left.status == "over_budget"]
            await self._take(_pieces(told))

    async def _take(self, pieces: Sequence[Piece]) -> None:
        """Add answers, as many of them at once as make nothing worse."""
        if not pieces:
            return
        all_of_them = [*self.pieces, *pieces]
        merged, findings = await self._judged(all_of_them)
        if _faults(merged, findings) <= _faults(self.merged, self.findings):
            self.pieces, self.merged, self.findings = all_of_them, merged, findings
        elif len(pieces) > 1:
            half = len(pieces) // 2
            await self._take(pieces[:half])
            await self._take(pieces[half:])

    async def _judged(self, pieces: Sequence[Piece]) -> tuple[Merged, tuple[Finding, ...]]:
        """All pieces as one answer, and every finding about it; other documents go on meanwhile."""
        return await asyncio.to_thread(judged, self.stage, self.seen, pieces)

    async def _ask(self, who: Question, asks: Sequence[Ask]) -> list[_Told]:
        """What comes of questions that are asked at the same time, and of those that cut answers lead to.

        Raises:
            FieldsiftError: the run can't go on, or is to stop; answers that were on their way are stored.

        """
        told = await self._all(who, asks)
        self.told += told
        return told

    async def _all(self, who: Question, asks: Sequence[Ask]) -> list[_Told]:
        self.asks += asks
        answers = (self._whole(who, ask) for ask in asks)
        told: list[_Told] = []
        for each in await asyncio.gather(*answers, return_exceptions=True):
            if isinstance(each, BaseException):
                raise each
            told += each
        return told

    async def _whole(self, who: Question, ask: Ask) -> list[_Told]:
        """The answer to a question; where it was cut short, also those to the questions about the rest."""
        told = await self._answer(who, ask)
        if told.gate is None or told.said is None:
            return [told]
        more = rest(who.stage, self.seen, told.said, told.gate.endpoint)
        if not more:
            return [told]
        return [replace(told, is_asked_again=True), *await self._all(who, more)]

    async def _answer(self, who: Question, ask: Ask) -> _Told:
        told = _Told()
        try:
            found = await self.ways.answer(replace(who, ask=ask))
            self.paid += found.attempts
            told = _Told(found.attempts, found.gate, found.reply.sources, found.findings)
            self.seen = (await who.looking).document
        except (Stopped, DocumentError) as error:
            if isinstance(error, Stopped):
                self.on_stop(error)
            self.paid += error.attempts
            attempts = (*told.attempts, *error.attempts)
            return replace(told, attempts=attempts, said=_ended(ask, error))
        except Fault as error:
            self.paid += error.attempts
            raise
        restore = partial(found.gate.provider.restore, request=found.request)
        said = await asyncio.to_thread(read, ask, self.stage, self.seen, found.reply, restore)
        if isinstance(said, Piece):
            model = found.gate.endpoint.name
            proofs = tuple(replace(each, model=model) for each in said.evidence)
            said = replace(said, model=model, evidence=proofs)
        return replace(told, said=said)

    def concluded(self, empty: Result) -> Result:
        """The Result of all that is known."""
        answer, lost = (self.merged, self.findings), self.lost
        merged, findings = settled(self.stage, self.seen, answer, self.pieces)
        provider = next((each.gate.provider for each in self.told if each.gate), None)
        said = dict.fromkeys(finding for each in self.told for finding in each.findings)
        shown = tuple(sorted({page for ask in self.asks for page in ask.window.shown}))
        noted = (
            ()
            if provider is None
            else notes(seen_in(Window(shown), self.seen), self._looks(provider))
        )
        short = left_out(self.stage, self.seen, self.windows)
        result = replace(
            empty,
            engine=next((each.gate.endpoint.name for each in self.told if each.gate), empty.engine),
            attempts=tuple(attempt for each in self.told for attempt in each.attempts),
            sources=tuple(dict.fromkeys(s for each in self.told for s in each.sources)),
            data=merged.data,
            evidence=merged.evidence,
            coverage=self._coverage(provider),
            findings=(*noted, *said, *findings, *((short,) if short else ())),
        )
        if lost:
            return _cut_short(result, lost)
        wrong = next((each.rule for each in result.findings if each.severity == "error"), None)
        if self.stage.by_leaf and all(each.status == "absent" for each in merged.evidence):
            nothing = Finding("empty", "", "nothing was found: no field has a value", "warning")
            result = replace(result, findings=(*result.findings, nothing))
        return replace(result, status="invalid" if wrong else "valid", reason=wrong)

    def _looks(self, provider: Provider) -> bool:
        """Whether pages without words were seen all the same."""
        return provider.reads_images and self.asked.stage.send != "text"

    def _coverage(self, provider: Provider | None) -> Coverage:
        """Which pages were sent, and which of them are answered for."""
        seen = self.seen
        if provider is None:
            return Coverage(pages=seen.page_count)
        unread = set() if self._looks(provider) else set(wordless(seen))
        sent = {page for ask in self.asks for page in ask.window.shown} - unread
        covered = {page for piece in self.pieces for page in piece.covers} - unread
        covered -= {page for lost in self.lost if lost.ask.text for page in lost.pages}
        return Coverage(seen.page_count, len(sent), len(covered), len(self.windows))


def unasked(stage: Stage, document: Document, empty: Result) -> Result:
    """The Result of a stage that has no question about a document.

    A single page is one document, which nobody need be asked; else the document has none of the stage's pages.
    """
    pages = max(1, document.page_count)
    if stage.task == "split":
        own = document.numbers or (1,)
        coverage = Coverage(document.page_count, 0, document.page_count)
        data = {"parts": [{"pages": f"{own[0]}"}]}
        return replace(empty, status="valid", data=data, coverage=coverage, engine=None)
    if stage.fields:  # of which none is a text
        coverage = Coverage(document.page_count, 0, document.page_count)
        same = data_of(document)
        return replace(empty, status="valid", data=same, coverage=coverage, engine=None)
    told = f"the stage reads pages {stage.pages}, and the document has {pages}"
    return without_data(empty, "failed", "no_pages", told)


def _kept_back(up: Escalation) -> Finding:
    said = (
        f"some of it was to be asked of {', then '.join(up.to)}, and is not: as many documents went up as "
        f"max_share = {up.max_share:g} allows. A larger max_share of the stage's escalate lets more of them"
    )
    return Finding("not_escalated", "", said, "warning")


def _pieces(told: Sequence[_Told]) -> list[Piece]:
    return [each.said for each in told if isinstance(each.said, Piece)]


def _faults(merged: Merged, findings: Sequence[Finding]) -> tuple[int, int, int]:
    """How bad an answer is: errors, then doubts, then warnings."""
    errors = sum(each.severity == "error" for each in findings)
    return errors, len(merged.doubts), len(findings) - errors


def without_data(result: Result, status: Status, reason: str, message: str) -> Result:
    """A Result that an error ended, and the finding that says why."""
    finding = Finding(rule=reason, pointer="", message=message)
    return replace(result, status=status, reason=reason, findings=(finding, *result.findings))


def _cut_short(result: Result, lost: Sequence[Lost]) -> Result:
    """A Result of which something is missing: its worst reason, and the pages where others were answered for."""
    worst = min(lost, key=lambda each: _WORST.index(each.status))
    message = worst.message
    if result.data is not None:
        pages = [page for each in lost for page in each.pages]
        message = f"{spans(pages)} not answered whole: {message}"
    return without_data(result, worst.status, worst.reason, message)


def _ended(ask: Ask, error: Stopped | DocumentError) -> Lost:
    """A question that an error ended."""
    if isinstance(error, Stopped):
        why = "quota" if isinstance(error, QuotaReached) else "budget"
        return Lost(ask, "over_budget", why, str(error))
    status: Status = "failed"
    if isinstance(error, LoadError):
        status = "unreadable"
    elif isinstance(error, ContentRefused):
        status = "refused"
    return Lost(ask, status, error.reason, str(error))
