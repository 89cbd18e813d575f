"""Two runs on one output: the second is refused before it sends anything, and names the first."""

import os
import platform
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs import env, receipts, run, started, statuses, truth
from tests.server import Server


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return receipts(tmp_path / "work", 6)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(truth) as running:
        yield running


@pytest.mark.parametrize("more", [(), pytest.param(("--state", "state"), marks=pytest.mark.long)])
def test_the_second_is_refused_and_after_a_kill_the_lock_is_free(
    work: Path, server: Server, more: tuple[str, ...]
) -> None:
    server.hold()
    with started(work, env(server), "-j", "2", *more) as first:
        server.wait_for(2)
        told = run(work, server, *more, code=4).stderr
        assert f"process {first.process.pid} on {platform.node()}, since 20" in told
        assert "use another output folder" in told
        assert len(server.requests) == 2
        os.killpg(first.process.pid, signal.SIGKILL)
        first.end()
    server.release()
    run(work, server, *more)
    assert statuses(work) == {"valid": 6}


def test_a_holder_that_is_long_gone_keeps_nobody_out(work: Path, server: Server) -> None:
    (work / "out/.fieldsift").mkdir(parents=True)
    (work / "out/.fieldsift/holder").write_bytes(b"process 1 on \xff, since the flood,")
    (work / "out/.fieldsift/lock").touch()
    run(work, server, "--limit", "1")
    assert statuses(work) == {"valid": 1}


def test_two_outputs_never_share_their_state(work: Path, server: Server) -> None:
    """Neither at the same time nor one after the other; an output that was moved takes its state along."""
    run(work, server, "--state", "state", "--limit", "1")
    asked = len(server.requests)
    told = run(work, server, "--state", "state", "-o", "other", code=4).stderr
    assert f"it is that of {work / 'out'}" in told
    assert "other needs one of its own" in told
    assert len(server.requests) == asked
    assert not (work / "other/results.jsonl").exists()
    (work / "out").rename(work / "moved")
    run(work, server, "--state", "state", "-o", "moved")
    (work / "moved").rename(work / "out")
    assert statuses(work) == {"valid": 6}
    assert server.paid_twice() == {}


def test_a_forgotten_state_folder_costs_neither_results_nor_money(
    work: Path, server: Server
) -> None:
    """A new ledger in the usual place knows nothing of what is there: it must not begin anew over it."""
    run(work, server, "--state", "state")
    told = run(work, server, code=4).stderr
    assert "results.jsonl holds results that the state in" in told
    assert "name it with --state DIR" in told
    assert statuses(work) == {"valid": 6}
    assert len(server.billed) == 6
