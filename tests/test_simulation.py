"""The real engine in a simulated world: one seed is one exact run, and what is promised holds in all of them."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

from tests.simulation import Story, all_played, played, scene, till

ROOT = Path(__file__).resolve().parent.parent


def total(stories: list[Story]) -> str:
    """What happened, for the one who runs it by hand."""
    ends = Counter(life.partition(":")[0] for story in stories for life in story.lives)
    documents = sum(len(story.scene.papers) for story in stories)
    requests = [story.requests_a_document for story in stories]
    return (
        f"{len(stories)} seeds, {documents:,} documents, {dict(ends)}: lost 0, doubled 0, paid twice "
        f"{sum(s.paid_twice for s in stories)} (answers lost on the way {sum(s.lost for s in stories)}, cut off by a "
        f"death {sum(s.cut_off for s in stories)}), requests a document outside storms "
        f"{sum(requests) / len(requests):.3f}, at most {max(requests):.2f}"
    )


def spending(stories: list[Story]) -> str:
    """How near to their caps the runs came that a budget stopped."""
    over = max(story.over for story in stories if story.over is not None)
    billed, booked = zip(*(pair for story in stories for pair in story.used), strict=True)
    return (
        f"{len(stories)} runs, {len(billed)} of them stopped by the budget at least once: bill - cap at most "
        f"{float(over):.12f} USD; of the cap billed {median(billed):.2f}, booked {median(booked):.2f} (medians)"
    )


@pytest.mark.parametrize("part", range(4))
def test_in_every_world_nothing_is_lost_or_doubled_and_the_cap_holds(part: int) -> None:
    """20 seeds; `played` checks lines, files, pages, answers paid twice, and money at every bill."""
    stories = [played(scene(seed)) for seed in range(5 * part, 5 * part + 5)]
    assert max(story.requests_a_document for story in stories) <= 1.5


def test_the_same_seed_is_the_same_run_in_any_process() -> None:
    here = played(scene(3)).digest
    command = [sys.executable, "-m", "tests.simulation", "3"]
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert found.stdout.partition("\t")[0] == here
    assert here != played(scene(2)).digest


def test_the_bill_stays_under_the_cap_whatever_gets_lost() -> None:
    stories = [played(till(seed)) for seed in range(6)]
    assert max(story.over for story in stories if story.over is not None) <= 0
    assert any(story.used for story in stories), "no budget was met: the test shows nothing"


@pytest.mark.long
def test_a_thousand_worlds(capsys: pytest.CaptureFixture[str]) -> None:
    stories = all_played(scene, range(1000))
    with capsys.disabled():
        print("\n" + total(stories))
    assert max(story.requests_a_document for story in stories) <= 2.0
    assert sum(story.requests_a_document for story in stories) / len(stories) <= 1.5


@pytest.mark.long
def test_a_thousand_budgets(capsys: pytest.CaptureFixture[str]) -> None:
    """The bill of the service is never above the cap; random prices, sizes, concurrency, lost answers."""
    stories = all_played(till, range(1000))
    with capsys.disabled():
        print("\n" + spending(stories))
    assert max(story.over for story in stories if story.over is not None) <= 0
