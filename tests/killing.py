"""A run that is killed again and again (`kill -9`), and what is counted: at the server, and in what the run left."""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.answers import Answer, Seen
from tests.runs import env, receipt, receipts, started, truth
from tests.server import Server

#: What a kill waits for, before it waits a random moment more: the whole run is covered, the short ends too.
AIMS = ("start", "lock", "first request", "some answer", "last answer", "last line")
#: The longest moment after each of them, in seconds.
AFTER = {"start": 0.8, "lock": 0.3, "first request": 0.05, "some answer": 0.02}
DOCUMENTS, JOBS = 24, 4
#: How long results.jsonl must be at least; while superseded lines are dropped it becomes shorter first.
COMMITTED = """select value from meta where name = 'length'
    and not exists (select 1 from meta where name = 'superseded')"""


@dataclass
class Figures:
    """What came of it; `paid_twice` beside `in_flight`: answers generated and not yet on disk at a kill."""

    seed: int
    kills: int = 0
    runs_to_their_end: int = 0
    landed: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    in_flight: int = 0
    paid_twice: int = 0
    answers: int = 0

    def __str__(self) -> str:
        places = ", ".join(f"{place} {count}" for place, count in sorted(self.landed.items()))
        return (
            f"seed {self.seed}: {self.kills} kills ({places}), {self.runs_to_their_end} runs came to their end before; "
            f"{self.answers} answers generated, {self.in_flight} of them in flight at a kill, {self.paid_twice} paid twice; "
            f"damaged {len(self.damaged)}"
        )


class Killing:
    """Rounds of a run over the same folder; documents change only between runs that came to their end."""

    def __init__(self, work: Path, seed: int) -> None:
        self.work = receipts(work, DOCUMENTS)
        self.output = work / "out"
        self.random = random.Random(seed)
        self.figures = Figures(seed)
        self.cents = [50] * DOCUMENTS
        self.server = Server(self._answer, is_strict=False)
        self._before = (0, 0)

    def _answer(self, seen: Seen) -> Answer:
        return truth(seen)

    def rounds(self, kills: int) -> Figures:
        """Kill so many runs, then let one come to its end."""
        with self.server:
            while self.figures.kills < kills:
                if self._round():
                    self.figures.runs_to_their_end += 1
                    self._change()
            self._finish()
        self.figures.answers = len(self.server.billed)
        self.figures.paid_twice = sum(n - 1 for n in self.server.paid_twice().values())
        return self.figures

    def expected(self) -> dict[str, tuple[str, float]]:
        """What every document says."""
        return {
            f"{number:04}.txt": (f"R-{number:04}", float(f"{number}.{cents:02}"))
            for number, cents in enumerate(self.cents)
        }

    def _change(self) -> None:
        """Some documents say something else from now on: their lines are superseded, their files replaced."""
        for number in self.random.sample(range(DOCUMENTS), 8):
            self.cents[number] = (self.cents[number] + 1) % 100
            receipt(self.work, number, self.cents[number])

    def _round(self) -> bool:
        """One run, killed at a random moment; whether it was over before."""
        aim = self.random.choice(AIMS)
        after = self.random.uniform(0, AFTER.get(aim, 0.03))
        self.server.latency = self.random.choice((0, 0.005, 0.02))
        marked = self._finished()
        with started(self.work, env(self.server), "-j", str(JOBS)) as client:
            reached = self._aim(aim, client.process.pid, self.random.random())
            while not reached() and client.process.poll() is None:
                time.sleep(0.0005)
            time.sleep(after)  # the random moment itself
            over = client.process.poll() is not None
            asked = len(self.server.requests) - self._before[0]
            with contextlib.suppress(ProcessLookupError):
                os.killpg(client.process.pid, signal.SIGKILL)
            client.process.wait()
            assert not over or client.process.returncode == 0, client.told
        self.server.wait_for_silence()
        lost = self._note_state()
        if over:
            return True
        self.figures.kills += 1
        self.figures.in_flight += lost
        self.figures.landed[self._place(client.process.pid, asked, lost, marked)] += 1
        return False

    def _aim(self, aim: str, pid: int, share: float) -> Callable[[], bool]:
        begun, delivered = len(self.server.requests), self.server.delivered
        left = DOCUMENTS - self._finished()
        some = max(1, int(left * share))
        return {
            "start": lambda: True,
            "lock": lambda: self._holder() == pid,
            "first request": lambda: len(self.server.requests) > begun,
            "some answer": lambda: self.server.delivered - delivered >= some,
            "last answer": lambda: (
                self.server.delivered - delivered >= left and self._holder() == pid
            ),
            "last line": lambda: self._finished() == DOCUMENTS and self._holder() == pid,
        }[aim]

    def _holder(self) -> int:
        told = self._read(self.output / ".fieldsift/holder")
        return next(
            (int(word.strip(",;")) for word in told.split() if word.strip(",;").isdigit()), 0
        )

    def _read(self, path: Path) -> str:
        try:
            return path.read_text("utf-8")
        except OSError:
            return ""

    def _place(self, pid: int, asked: int, lost: int, marked: int) -> str:
        if self._holder() != pid:
            return "1 start-up"
        if self._finished() == DOCUMENTS:
            return (
                "5 rewrite and end"
                if asked or marked < DOCUMENTS
                else "5 end of a run with nothing to do"
            )
        if not asked:
            return "2 opening and listing"
        return "3 answers in flight" if lost else "4 answers stored, commits"

    def _finished(self) -> int:
        """How many documents are marked as finished, as they are now."""
        ledger = self.output / ".fieldsift/ledger.sqlite"
        if not ledger.exists():
            return 0
        try:
            with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
                rows = {
                    row[0]: row[1:]
                    for row in db.execute("select path, size, mtime_ns from sources")
                }
        except sqlite3.OperationalError:  # not made yet
            return 0
        stats = {path.name: path.stat() for path in (self.work / "inbox").iterdir()}
        return sum(rows.get(name) == (s.st_size, s.st_mtime_ns) for name, s in stats.items())

    def _note_state(self) -> int:
        """Look through what lies there, without repairing it; how many answers were generated and not stored."""
        with copied(self.output / ".fieldsift") as state:
            stored = self._check_files(state)
        billed = len(self.server.billed)
        lost = (billed - self._before[0]) - (stored - self._before[1])
        self._before = (billed, stored)
        return lost

    def _check_files(self, state: Path) -> int:
        length = stored = 0
        for file, query in (
            ("ledger.sqlite", COMMITTED),
            ("replies.sqlite", "select count(*) from replies"),
        ):
            if not (state / file).exists():
                continue
            with contextlib.closing(sqlite3.connect(state / file)) as db:
                verdict = db.execute("pragma integrity_check").fetchone()
                if verdict != ("ok",):
                    self.figures.damaged.append(f"{file}: {verdict}")
                tables = {name for (name,) in db.execute("select name from sqlite_master")}
                if not {"meta", "replies"} & tables:
                    continue
                row = db.execute(query).fetchone()
                length, stored = (
                    (int(row[0]) if row else 0, stored)
                    if file == "ledger.sqlite"
                    else (length, row[0])
                )
        self._check_texts(length)
        return stored

    def _check_texts(self, length: int) -> None:
        """What is committed of results.jsonl, and every data file, is whole."""
        results = self.output / "results.jsonl"
        content = results.read_bytes() if results.exists() else b""
        if len(content) < length:
            self.figures.damaged.append(f"results.jsonl: {len(content)} bytes of {length}")
        texts = [("results.jsonl", line) for line in content.split(b"\n")[:-1]]
        texts += [(path.name, path.read_bytes()) for path in self.output.rglob("[!.]*.json")]
        for name, text in texts:
            try:
                json.loads(text)
            except ValueError:
                self.figures.damaged.append(f"{name}: {text[:80]!r}")

    def _finish(self) -> None:
        with started(self.work, env(self.server), "-j", str(JOBS)) as client:
            assert client.end(60) == 0, client.told
        self.server.wait_for_silence()
        self.figures.in_flight += self._note_state()


@contextlib.contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A copy of a state folder, so that looking at it changes nothing."""
    beside = folder.parent.parent / "copy"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    if folder.is_dir():
        for path in folder.glob("*.sqlite*"):
            if not path.name.endswith("-shm"):
                shutil.copyfile(path, beside / path.name)
    yield beside
