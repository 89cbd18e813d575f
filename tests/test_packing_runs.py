"""Runs over rows that share requests: killed, started again, counted beforehand."""

import json
import random
import re
import sqlite3
import subprocess
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.answers import Answer, Seen, packed
from tests.packs import LABELS, damaging, label_of
from tests.runs import env, started
from tests.server import Server
from tests.test_cli import fieldsift

ROWS = [f"Article {n}: " + "x" * (n % 11) for n in range(150)]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with rows to tag, and the pipeline for it."""
    lines = [json.dumps({"text": text}) + "\n" for text in ROWS]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    told = [
        'version = 1\n[run]\ninput = "rows.jsonl"\noutput = "out"\ntext_field = "text"',
        'model = "gemini-3.1-flash-lite"',
        f'[[stage]]\nname = "tags"\ntask = "tag"\nlabels = {json.dumps(LABELS)}',
    ]
    (tmp_path / "pipeline.toml").write_text("\n".join(told))
    return tmp_path


def stored(work: Path) -> set[str]:
    """The rows whose answers are on disk."""
    path = work / "out/.fieldsift/replies.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as replies:
        try:
            found = replies.execute("select request from replies").fetchall()
        except sqlite3.Error:  # it is made just now
            return set()
    return {fenced(json.loads(text)["content"][-1]["text"]) for (text,) in found}


def texts(seen: Seen) -> set[str]:
    """The rows that a request asks about."""
    return {text for _, text in packed(seen.text)} or {fenced(seen.text)}


def fenced(text: str) -> str:
    """The row of a request about it alone."""
    found = re.search(r"<document-([0-9a-f]{24})>\n(.*?)\n</document-\1>", text, re.DOTALL)
    return found[2] if found else ""


def number(result: dict[str, Any]) -> int:
    return int(result["document"]["path"].partition("#")[2]) - 1


def results(work: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work / "out/results.jsonl").read_text().splitlines()]


def test_rows_of_a_run_share_requests_and_a_dry_run_says_how_many(work: Path) -> None:
    """A handful is on its way at a time; each row has its own line with its own cost, in all what was booked.

    A budget of the high figure suffices, which is what full requests reserve: a few times the cost, not a hundred times.
    """
    with Server(damaging(random.Random(7), 0.0), divides=True) as server:
        dry = fieldsift("run", "-n", "--json", cwd=work, env=env(server), code=0)
        (stage,) = json.loads(dry.stdout)["stages"]
        high = stage["high_usd"]
        ran = fieldsift("run", "--budget", str(high), cwd=work, env=env(server), code=0)
        sent = len(server.requests)
        assert f" sent={len(ROWS)} requests={sent} " in ran.stderr
        assert {text for seen in server.requests for _, text in packed(seen.text)} == set(ROWS)
    assert stage["requests"] == 2, "a hundred at most share one"
    assert stage["packed"] == len(ROWS) - 2
    assert sent <= 8
    found = results(work)
    assert all(each["data"] == label_of(ROWS[number(each)]) for each in found)
    with closing(sqlite3.connect(work / "out/.fieldsift/ledger.sqlite")) as ledger:
        booked, reserved = ledger.execute("select sum(cost), sum(reserved) from calls").fetchone()
    assert booked < reserved <= float(high) * 1e12 < 10 * booked
    assert sum(round(each["cost_usd"] * 1e12) for each in found) == booked


@pytest.mark.long
def test_a_kill_loses_no_row_and_buys_none_again(work: Path) -> None:
    """Killed while all packs but the first wait for their answers: what was on disk then is not asked again."""
    pipeline = work / "pipeline.toml"
    pipeline.write_text(pipeline.read_text() + "\npack = 20\n")
    damaged = damaging(random.Random(3), 0.1)
    held = True

    def reply(seen: Seen) -> Answer:
        return replace(damaged(seen), hold=held and seen.number > 1)

    with Server(reply, divides=True) as server:
        with started(work, env(server), arguments=("run",)) as client:
            server.wait_for(2)
            while not stored(work):
                with suppress(subprocess.TimeoutExpired):
                    client.process.wait(0.01)
            client.process.kill()
            client.process.wait()
        held = False
        server.release()
        server.wait_for_silence()
        kept, before = stored(work), len(server.requests)
        assert kept
        fieldsift("run", cwd=work, env=env(server), code=0)
        asked = {text for seen in server.requests[before:] for text in texts(seen)}
    assert asked == set(ROWS) - kept
    found = results(work)
    assert {each["status"] for each in found} == {"valid"}
    assert sorted(number(each) for each in found) == list(range(len(ROWS)))
    assert all(each["data"] == label_of(ROWS[number(each)]) for each in found)
