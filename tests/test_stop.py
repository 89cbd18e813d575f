"""Ctrl-C and SIGTERM: what is in flight is kept and never paid again; what waits ends at once; a second one ends all."""

import errno
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.answers import Answer, Seen, error, retry_info
from tests.runs import (
    FIELDS,
    Client,
    children,
    env,
    is_alive,
    receipts,
    run,
    started,
    statuses,
    summary,
    truth,
    wait_until,
)
from tests.server import Server
from tests.test_cli import fieldsift

Signal = signal.Signals
#: Seconds that a stop with nothing in flight may take, on a busy machine; the waits it cuts short are 60.
SOON = 5.0


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return receipts(tmp_path / "work", 8)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(truth) as running:
        yield running


def stop(client: Client, number: Signal, *, group: bool = False) -> float:
    """Send a signal, and wait until the run has said that it heard it; the moment it was sent."""
    sent = time.monotonic()
    (os.killpg if group else os.kill)(client.process.pid, number)
    wait_until(lambda: "stopping" in client.told or client.process.poll() is not None)
    return sent


@pytest.mark.parametrize("number", [Signal.SIGINT, Signal.SIGTERM])
def test_what_is_in_flight_is_finished_and_nothing_is_paid_again(
    work: Path, server: Server, number: Signal
) -> None:
    """Of a document with two stages the second one is not begun: nothing is sent after the signal."""
    (work / "pipeline.toml").write_text(
        f'[run]\ninput = "inbox"\noutput = "out"\njobs = 3\n[[stage]]\nname = "first"\nschema = "{FIELDS}"\n'
        f'[[stage]]\nname = "second"\nschema = "{FIELDS}"\nprompt = "Once more."\n'
    )
    server.hold()
    with started(work, env(server), arguments=("run",)) as client:
        server.wait_for(3)
        stop(client, number)
        server.release()
        assert client.end() == 130
    assert len(server.requests) == 3
    assert client.told.count("the same command continues") == 1
    assert client.told.count("stopping") == 1
    assert "Traceback" not in client.told
    assert not summary(work)["finished"]
    fieldsift("run", cwd=work, env=env(server))
    assert len(server.billed) == 16
    assert server.paid_twice() == {}


def test_of_a_document_with_one_stage_the_result_is_committed(work: Path, server: Server) -> None:
    server.hold()
    with started(work, env(server), "-j", "3") as client:
        server.wait_for(3)
        stop(client, Signal.SIGINT)
        server.release()
        assert client.end() == 130
    assert statuses(work) == {"valid": 3}
    run(work, server)
    assert statuses(work) == {"valid": 8}
    assert server.paid_twice() == {}


def test_a_second_one_ends_at_once_and_the_ledger_is_sound(work: Path, server: Server) -> None:
    server.hold()
    with started(work, env(server), "-j", "3") as client:
        server.wait_for(3)
        stop(client, Signal.SIGINT)
        again = time.monotonic()
        client.process.send_signal(Signal.SIGINT)
        assert client.end() == 130
        assert time.monotonic() - again < 1
    assert "Traceback" not in client.told
    with sqlite3.connect(work / "out/.fieldsift/ledger.sqlite") as ledger:
        assert ledger.execute("pragma integrity_check").fetchone() == ("ok",)
    server.release()
    run(work, server)
    assert statuses(work) == {"valid": 8}
    assert sum(server.paid_twice().values()) - len(server.paid_twice()) <= 3


def paused(seen: Seen) -> Answer:
    """The service wants everybody to wait for a minute."""
    return error(429, "slow down", retry_info("60s"))


def overloaded(seen: Seen) -> Answer:
    """Nothing is said of how long; the next try comes after some seconds."""
    return error(503, "The model is overloaded")


@pytest.mark.parametrize(
    ("reply", "patch"),
    [
        (paused, ""),
        (overloaded, "import random; random.uniform = lambda least, most: 60.0"),
    ],
)
def test_a_run_that_only_waits_ends_at_once(
    work: Path, server: Server, reply: Callable[[Seen], Answer], patch: str
) -> None:
    """Two models, each of them asked to wait; nothing is in flight, so that there is nothing to drain."""
    server.reply = reply
    (work / "pipeline.toml").write_text(
        '[run]\ninput = "inbox"\noutput = "out"\njobs = 4\n'
        '[[stage]]\nname = "r"\nmodel = "gemini-3.1-flash-lite"\nfallback = ["gemini-3.5-flash-lite"]\n'
        f'schema = "{FIELDS}"\n'
    )
    with started(work, env(server), arguments=("run",), patch=patch) as client:
        wait_until(lambda: server.delivered >= 2)
        sent = stop(client, Signal.SIGINT)
        assert client.end() == 130
        assert time.monotonic() - sent < SOON
    asked = len(server.requests)
    assert summary(work)["this_run"]["unfinished"] == 4
    assert "unfinished=4" in client.told
    server.reply = truth
    fieldsift("run", cwd=work, env=env(server))
    assert statuses(work) == {"valid": 8}
    assert len(server.requests) == asked + 8


def test_children_that_recognise_words_end_with_the_run(work: Path, fixtures: Path) -> None:
    """As on a terminal, where Ctrl-C goes to all processes of the group; they answer to us alone."""
    for number, picture in enumerate(sorted((fixtures / "pictures").glob("*.*"))[:4]):
        (work / f"inbox/{number}{picture.suffix}").write_bytes(picture.read_bytes())
    for file in (work / "inbox").glob("*.txt"):
        file.unlink()
    with started(work, os.environ, "-m", "local", "-j", "2") as client:
        wait_until(lambda: len(children(client.process.pid)) >= 2)
        offspring = children(client.process.pid)
        sent = stop(client, Signal.SIGINT, group=True)
        assert client.end() == 130
        assert time.monotonic() - sent < SOON
    assert "Traceback" not in client.told
    wait_until(lambda: not any(map(is_alive, offspring)))
    assert not list((work / "out").rglob("*.tmp"))


def test_what_hangs_longer_than_the_grace_is_left_and_counted(work: Path, server: Server) -> None:
    server.hold()
    short = "import pipeline.runner; pipeline.runner.GRACE = 0.2"
    with started(work, env(server), "-j", "3", patch=short) as client:
        server.wait_for(3)
        sent = stop(client, Signal.SIGTERM)
        assert client.end() == 130
        assert time.monotonic() - sent < SOON
    assert summary(work)["this_run"]["unfinished"] == 3
    with sqlite3.connect(work / "out/.fieldsift/ledger.sqlite") as ledger:
        (reserved,) = ledger.execute("select count(*) from calls where cost is null").fetchone()
    assert reserved == 3, "they may have been paid for: their reserve stands"
    server.release()
    run(work, server)
    assert statuses(work) == {"valid": 8}
    assert len(server.billed) == 11


@pytest.mark.parametrize("number", [Signal.SIGINT, Signal.SIGTERM])
def test_a_run_that_has_not_begun_ends_like_one_that_has(work: Path, number: Signal) -> None:
    """While it reads its settings: here from a pipe that says nothing."""
    os.mkfifo(work / "settings")
    with started(work, os.environ, "--config", "settings") as client:
        writer = opened_by_its_reader(work / "settings")
        client.process.send_signal(number)
        assert client.end() == 130
        os.close(writer)
    assert "Traceback" not in client.told
    assert not (work / "out").exists()


def opened_by_its_reader(pipe: Path) -> int:
    """The end of a pipe for writing, which can be had once another process reads it."""
    found: list[int] = []

    def is_open() -> bool:
        try:
            found.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as failure:
            if failure.errno != errno.ENXIO:
                raise
        return bool(found)

    wait_until(is_open)
    return found[0]
