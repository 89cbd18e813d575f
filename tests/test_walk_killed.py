"""A pipeline with parts, items and a function over a mixed folder, killed with kill -9 at any moment and run again."""

import contextlib
import json
import os
import random
import re
import secrets
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.answers import Answer, Seen, answer_from
from tests.killing import copied
from tests.mixed import files, invoice, mixed, paths, set_up, told, tree, until
from tests.runs import Client, env, started
from tests.server import Server

RUN = ("run", "-j", "3")
#: What may be on its way at a kill: documents at the same time, and parts and items of each.
IN_FLIGHT = 3 * 32


class Counted:
    """A service that counts its answers: of documents that share a request each by itself."""

    def __init__(self, reply: Callable[[Seen], Answer]) -> None:
        self.reply = reply
        self.said: Counter[str] = Counter()

    def __call__(self, seen: Seen) -> Answer:
        self.said[seen.fingerprint] += 1
        return self.reply(seen)

    @property
    def twice(self) -> int:
        """How many answers were bought again."""
        return self.said.total() - len(self.said)


@dataclass
class Killed:
    """A working folder whose run is killed again and again, and what came of it at the server."""

    work: Path
    server: Server
    service: Counted
    calls: Path
    in_flight: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """That of its runs; the function notes its calls in a file."""
        return env(self.server) | {"MIXED_CALLS": str(self.calls)}

    def kill(self, answers: int) -> None:
        """A run that is killed after so many answers, if it has not come to its end before."""
        aim = self.server.delivered + answers
        known = self.service.said.total() - self._stored()
        with started(self.work, self.environment, arguments=RUN) as client:
            until(partial(_is_there, self.server, aim, client), 600)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(client.process.pid, signal.SIGKILL)
            client.process.wait()
        self.server.wait_for_silence()
        lost = self.service.said.total() - self._stored() - known
        assert lost <= IN_FLIGHT
        self.in_flight += lost

    def finish(self, code: int = 0) -> None:
        """A run to its end."""
        with started(self.work, self.environment, arguments=RUN) as client:
            assert client.end(600) == code, client.told

    def _stored(self) -> int:
        """How many answers of the service are on disk; results of functions are kept beside them."""
        with copied(self.work / "out/.fieldsift") as state:
            file = state / "replies.sqlite"
            if not file.exists():
                return 0
            query = """select count(*) from replies where request not like '{"function"%'"""
            with contextlib.closing(sqlite3.connect(file)) as replies:
                try:
                    return int(replies.execute(query).fetchone()[0])
                except sqlite3.OperationalError:  # not made yet
                    return 0


def _is_there(server: Server, aim: int, client: Client) -> bool:
    return server.delivered >= aim or client.process.poll() is not None


def killed(tmp_path: Path, count: int, kills: int, seed: int) -> None:
    """Kill so many runs, let one come to its end, and compare with a run that was left alone."""
    chance = random.Random(seed)
    whole, work = mixed(tmp_path / "whole/work", count), mixed(tmp_path / "killed/work", count)
    service = Counted(told)
    with Server(service) as server:
        Killed(whole, server, service, tmp_path / "none.txt").finish()
        alone = service.said.total()
        service.said.clear()
        run = Killed(work, server, service, tmp_path / "calls.txt")
        for _ in range(kills):
            server.latency = chance.choice((0, 0.005, 0.02))
            run.kill(chance.randint(0, max(1, 2 * alone // kills)))
        run.finish()
        told_of = f"{run.in_flight} in flight, {service.twice} bought again"
        print(f"seed {seed}: {kills} kills, {alone} answers, {told_of}")
    assert service.twice == service.said.total() - alone
    assert service.twice <= run.in_flight
    assert paths(work / "out") == paths(whole / "out")
    assert files(work / "out") == files(whole / "out")
    made = run.calls.read_text().split()
    assert len(set(made)) == count // 3 * 6
    assert len(made) <= len(set(made)) + kills * IN_FLIGHT


def test_a_pipeline_can_be_killed_at_any_moment(tmp_path: Path) -> None:
    """Each line once, the files of a run that was left alone, and paid twice at most what was in flight."""
    killed(tmp_path, count=3, kills=1, seed=secrets.randbelow(10**6))


@pytest.mark.long
def test_a_pipeline_can_be_killed_forty_times(tmp_path: Path) -> None:
    """The same with more of everything."""
    killed(tmp_path, count=60, kills=40, seed=secrets.randbelow(10**6))


# real documents ---------------------------------------------------------------------------------


def routed(seen: Seen) -> Answer:
    """Answers that send real documents every way, by their hash and pages; what they say does not matter here."""
    return answer_from(
        seen, {"": _said(seen.text, seen.config["responseJsonSchema"]["properties"])}
    )


def _said(text: str, wanted: Mapping[str, Any]) -> Any:
    mark = re.findall(r"<document-([0-9a-f]{24})>", text)[-1]
    pages = int(next(iter(re.findall(r" It has (\d+) pages", text)), "1"))
    number = int(mark[:6], 16)
    if "label" in wanted:
        return {"label": "bundle" if pages > 2 else ("invoice", "invoice", "note")[number % 3]}
    if "parts" in wanted:
        first, last = next(
            iter(re.findall(r"Answer for pages (\d+)-(\d+) alone", text)), (1, pages)
        )
        starts = range(int(first), int(last) + 1, max(2, pages // 5))
        ends = [start - 1 for start in starts[1:]] + [int(last)]
        return {
            "parts": [
                {
                    "pages": f"{a}-{b}" if b > a else f"{a}",
                    "label": ("invoice", "letter")[(number + a) % 2],
                }
                for a, b in zip(starts, ends, strict=True)
            ]
        }
    if "lines" in wanted:
        made = invoice(number).splitlines()[1:]
        lines = [{"name": each.split()[0], "price": float(each.split()[1])} for each in made]
        return {"number": str(number), "lines": lines}
    if "group" in wanted:
        return {"group": mark}
    return {"text": mark, "count": 0}


@pytest.mark.long
@pytest.mark.corpus
def test_a_folder_of_real_documents_goes_every_way(tmp_path: Path, corpus: Path) -> None:
    """120 real documents of all kinds, killed four times: each line once, and its path is told."""
    work = set_up(tmp_path / "work")
    kinds = {"image", "pdf", "text"}
    listed = [
        entry
        for entry in json.loads((corpus / "index.json").read_text())
        if entry["kind"] in kinds and entry["size"] < 1_000_000 and "hostile" not in entry["set"]
    ]
    chosen = random.Random(7).sample(listed, min(120, len(listed)))
    for number, entry in enumerate(chosen):
        name = f"{number:03}{Path(entry['file']).suffix}"
        shutil.copyfile(corpus / entry["file"], work / "inbox" / name)
    service = Counted(routed)
    with Server(service, is_strict=False) as server:
        run = Killed(work, server, service, tmp_path / "calls.txt")
        for answers in (20, 120, 60, 200):
            run.kill(answers)
        run.finish()
    found = paths(work / "out")
    print("\n".join(tree(work / "out")))
    states = Counter(f"{stage} {state}" for each in found.values() for stage, state in each.items())
    print("\n".join(f"{count:6} {state}" for state, count in sorted(states.items())))
    derived = sum("#" in path for path in found)
    print(
        f"{len(chosen)} documents, {derived} parts and items, {sum(states.values())} lines; "
        f"{service.said.total()} answers, {run.in_flight} in flight at 4 kills, {service.twice} bought again"
    )
    assert len(chosen) >= 100
    assert len(found) - derived == len(chosen)
    assert service.twice <= run.in_flight
