"""The simulated world: processes that run the real engine on one output folder, die, and are started again."""

import contextlib
import hashlib
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import httpx

from pipeline.api import Storage, open_runner
from pipeline.config import Plan
from pipeline.document import Document, Page, Part
from pipeline.errors import LoadError, SetupError, Stopped
from pipeline.ledger import Ledger
from pipeline.limits.money import UNIT
from pipeline.providers import Endpoint, Rates
from pipeline.providers.http import Line
from pipeline.runner import GRACE, Options, Runner
from pipeline.sources import Source
from pipeline.stages import Stage
from tests import accounts
from tests.simulation.clock import Clock, Crash
from tests.simulation.scene import Paper, Scene
from tests.simulation.service import EPOCH, Service

#: More processes than any seed needs to come to its end.
MOST_LIVES = 60
ENDPOINT = "gemini:gemini-3.1-flash-lite"


class Loaders:
    """Reads text in this process, at once or a little later."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def load(self, path: str, content: bytes) -> Document:
        """The document of a file."""
        await self._clock.run_in_executor(None, lambda: None)
        if b"\0" in content:
            raise LoadError("unsupported", "no text")
        text = content.decode()
        part = Part("text", "text/plain", text=text, pages=(1, 1))
        digest = hashlib.sha256(content).hexdigest()
        return Document(
            path, digest, len(content), "text/plain", 1, pages=(Page(1, text),), parts=(part,)
        )

    async def aclose(self) -> None:
        """There is nothing to close."""


@dataclass
class Story:
    """What became of a world: figures for people, and the hash of all that happened, in its order."""

    scene: Scene
    events: int = 0
    steps: int = 0
    digest: str = ""
    lives: list[str] = field(default_factory=list)
    #: Answers that were in flight when a process died, or gave up waiting for them: they are paid again.
    cut_off: int = 0
    paid_twice: int = 0
    lost: int = 0
    requests_a_document: float = 0.0
    #: The most requests in any minute, and how many were refused as too many.
    crowded: int = 0
    refused: int = 0
    #: For each budget that stopped a run: the share of it that was billed, and that was booked or reserved.
    used: list[tuple[float, float]] = field(default_factory=list)
    #: The most that bill was above the cap, in dollars: zero or less.
    over: Fraction | None = None


class World:
    """One seed, played from the first document to the last line."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene = scene
        self.folder = folder
        self.output = folder / "0"
        self.output.mkdir()
        self.story = Story(scene)
        self.service = Service(scene, self.note, self._billed)
        self.now = 0.0
        self.cap = scene.cap
        self.retry: tuple[str, ...] = ()
        self.dice = scene.rng("dice")
        self._hash = hashlib.sha256()
        self._clock: Clock | None = None
        self._ledger: Ledger | None = None
        self._steps_left = 0
        self._next = self.output
        self._flying = 0
        self._failure: AssertionError | None = None
        stage = Stage(
            "receipt",
            "number, total float",
            model=ENDPOINT,
            service_tier=scene.tier,
            max_output_tokens=scene.output_tokens,
        )
        rates = Rates(rpm=scene.quota) if scene.told else Rates()
        endpoint = Endpoint(
            "gemini",
            "gemini-3.1-flash-lite",
            "http://127.0.0.1:9",
            "key",
            "GEMINI_API_KEY",
            rates=rates,
        )
        self._plan = Plan(
            stages=(stage,),
            endpoints={ENDPOINT: endpoint},
            prices={ENDPOINT: scene.price},
            root=folder,
            jobs=scene.jobs,
        )

    def play(self) -> Story:
        """Start processes until all is done; the story, whose figures are checked."""
        ends = iter(self.scene.ends)
        for _ in range(MOST_LIVES):
            kind, at = next(ends, ("end", 0.0))
            with _machine(self):
                outcome = self._live(kind, at)
            self.story.lives.append(outcome)
            self.note("life", outcome)
            if self._is_over(outcome):
                break
            self.now += self.scene.rng("pause", len(self.story.lives)).uniform(0.1, 100)
        else:
            raise AssertionError(f"it never ends: {self.story.lives}")
        self._tell()
        return self.story

    def note(self, *event: object) -> None:
        """Write down what happened."""
        at = self._clock.time() if self._clock else self.now
        self.story.events += 1
        self._hash.update(repr((round(at, 6), *map(str, event))).encode())

    # one process ----------------------------------------------------------------------------

    def _live(self, kind: str, at: float) -> str:
        """One process from its start to its end, or to its death."""
        life = len(self.story.lives)
        # The engine's own chance: the same each time, whatever a dying process drew.
        self.dice = self.scene.rng("dice", life)
        self._steps_left = int(at) if kind == "crash" else 0
        self._flying = 0
        self.service.dead = False
        clock = self._clock = Clock(self.scene.rng("clock", life), self.now, self._step)
        main = clock.create_task(self._main(clock, at if kind == "stop" else None))
        try:
            outcome = clock.run_until_complete(main)
        except Crash:
            outcome = "crash"
        finally:
            self.service.dead = True
            self.now = clock.time()
            self.story.steps += clock.steps
            clock.bury()
        if self._failure:
            raise self._failure
        self._check_kept(outcome)
        return outcome

    def _step(self) -> None:
        """The process dies when its steps are used up: what lies on the disk just now is all that is left."""
        if self.service.dead:
            raise Crash
        if not self._steps_left:
            return
        self._steps_left -= 1
        if not self._steps_left:
            self.service.dead = True
            self._next = self.folder / str(len(self.story.lives) + 1)
            shutil.copytree(self.output, self._next)
            raise Crash

    async def _main(self, clock: Clock, stop: float | None) -> str:
        """What `fieldsift run` does; how it ended, in one word."""
        plan = replace(self._plan, output=self.output, budget=self.cap)
        async with open_runner(plan, Options(retry=self.retry), Storage()) as runner:
            _check_lines(self.output / "results.jsonl")
            self._ledger = runner.ledger
            runner.loaders = Loaders(clock)  # type: ignore[assignment]
            if stop is not None:
                clock.call_later(stop, runner.stop)
                clock.call_later(stop + GRACE, self._gave_up)
            try:
                async with aclosing(runner.run(map(_source, self.scene.papers))) as results:
                    async for result in results:
                        self.note("result", result.document.path, result.status)
            except SetupError as error:
                self.note(error)
                return f"setup: {error}"
            return self._outcome(runner)

    def _outcome(self, runner: Runner) -> str:
        tally = runner.tally
        if tally.fault_log:
            raise AssertionError(tally.fault_log.read_text())
        if tally.interrupted:
            return "stop"
        if isinstance(tally.stopped, Stopped):
            booked = runner.ledger.spent()
            if self.cap:
                cap = Fraction(self.cap)
                self.story.used.append(
                    (float(self.service.books.bill / cap), float(booked / (cap * UNIT)))
                )
            return f"stopped: {type(tally.stopped).__name__}"
        return "end"

    def _gave_up(self) -> None:
        """A process that was told to stop cancels what is still in flight."""
        self._flying = self.service.flying

    def _check_kept(self, outcome: str) -> None:
        """Every answer that was generated is kept, but those that got lost, or were in flight at a death."""
        allowed = self.scene.jobs if outcome == "crash" else self._flying
        if outcome == "crash":
            self.output = self._next
        replies = self.output / ".fieldsift/replies.sqlite"
        kept = 0
        if replies.exists():
            with contextlib.closing(sqlite3.connect(replies)) as database:
                (kept,) = database.execute("select count(*) from replies").fetchone()
        books = self.service.books
        missing = books.generated.total() - books.lost.total() - self.story.cut_off - kept
        assert 0 <= missing <= allowed, (self.scene.seed, outcome, missing, allowed)
        self.story.cut_off += missing

    # what holds at every moment -------------------------------------------------------------

    def _billed(self, bill: Fraction) -> None:
        """The bill has grown: it is under the cap, and all of it is reserved on the disk."""
        assert self._ledger is not None
        noted = self._ledger.spent()
        if noted < bill * UNIT:
            raise self._wrong(f"billed {bill * UNIT}, and only {noted} is noted in the ledger")
        if self.cap is not None:
            over = bill - Fraction(int(self.cap * UNIT), UNIT)
            self.story.over = over if self.story.over is None else max(over, self.story.over)
            if over > 0:
                raise self._wrong(f"the bill is {float(over)} USD above the cap of {self.cap} USD")

    def _wrong(self, what: str) -> AssertionError:
        self._failure = AssertionError(f"seed {self.scene.seed}: {what}")
        return self._failure

    # what comes next, and at the end --------------------------------------------------------

    def _is_over(self, outcome: str) -> bool:
        """Whether all is done; if not, the next process is started as a user would start it."""
        if outcome.startswith("stopped") and self.cap is not None:
            self.cap = self.cap * 3 + Decimal("0.01") if len(self.story.used) < 3 else None
        if outcome != "end":
            return False
        statuses = Counter(line["status"] for line in _lines(self.output / "results.jsonl"))
        self.retry = ("failed",) if statuses["failed"] else ()
        return not self.retry

    def _tell(self) -> None:
        books, story = self.service.books, self.story
        story.digest = self._hash.hexdigest()
        story.paid_twice = sum(count - 1 for count in books.generated.values())
        story.lost = books.lost.total()
        story.crowded, story.refused = books.crowded, books.refused
        asked = {paper.number for paper in self.scene.papers if paper.kind != "unreadable"}
        story.requests_a_document = (books.calm - story.cut_off) / max(1, len(asked))


def check(world: World) -> None:
    """What a user is promised, of a world that was played to its end.

    Raises:
        AssertionError: it does not hold; with the seed.

    """
    scene, story, books = world.scene, world.story, world.service.books
    told = f"seed {scene.seed}: {story}"
    wanted = {paper.path: paper for paper in scene.papers}
    assert accounts.check(world.output, wanted) == [], told
    for line in _lines(world.output / "results.jsonl"):
        paper = wanted[line["document"]["path"]]
        assert line["status"] == paper.kind, (line, told)
        assert not line["data"] or line["data"]["number"] == f"R-{paper.number:04}", (line, told)
    assert story.paid_twice <= story.lost + story.cut_off, told
    asked = {paper.number for paper in scene.papers if paper.kind != "unreadable"}
    assert {one.number for one in books.generated} == asked, told
    if scene.told:
        assert story.crowded <= scene.quota, told
    ledger = Ledger(world.output / ".fieldsift", world.output / "results.jsonl")
    try:
        _check_money(ledger, world)
    finally:
        ledger.close()


def _check_money(ledger: Ledger, world: World) -> None:
    books = world.service.books
    spent, bill = ledger.spent(), books.bill * UNIT
    assert spent >= bill, world.story
    assert not ledger.open_calls(), world.story
    if not books.uncertain and not {"crash", "stop"} & set(world.story.lives):
        # Each call is rounded up to a whole unit, a millionth of a millionth of a dollar.
        assert spent - bill < books.generated.total(), (spent, bill, world.story)


def _check_lines(results: Path) -> None:
    """Whatever happened before, each line stands there once and whole."""
    seen = Counter((line["document"]["path"], line["stage"]) for line in _lines(results))
    doubled = [place for place, count in seen.items() if count > 1]
    assert not doubled, doubled


def _lines(results: Path) -> Iterator[dict[str, Any]]:
    if results.exists():
        yield from map(json.loads, results.read_bytes().splitlines())


def _source(paper: Paper) -> Source:
    content = paper.content
    return Source(paper.path, size=len(content), mtime_ns=1, content=content)


@contextlib.contextmanager
def _machine(world: World) -> Iterator[None]:
    """The machine that a process runs on: its clock, its disk, its line to the service.

    A process may die whenever it waits for the disk. The machine itself does not, so that nothing
    has to be waited for really.
    """

    def synced(descriptor: int) -> None:
        if world._clock:
            world._clock.step()

    def opened(line: Line) -> httpx.AsyncClient:
        times = line.timeouts
        waits = httpx.Timeout(times.read, connect=times.connect, write=times.write)
        return httpx.AsyncClient(transport=world.service, timeout=waits, trust_env=False)

    with (
        patch.object(Line, "_open", opened),
        patch("time.time", lambda: EPOCH + (world._clock.time() if world._clock else world.now)),
        patch("os.fsync", synced),
        patch("pipeline.limits.gate.random", SimpleNamespace(Random=lambda: world.dice)),
    ):
        yield
