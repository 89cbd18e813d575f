"""kill -9 at any moment: nothing lost, nothing written twice, nothing damaged, and paid again only what was in flight."""

import secrets
from pathlib import Path

import pytest

from tests.accounts import check
from tests.killing import JOBS, Killing
from tests.test_cli import fieldsift, results


def killed(work: Path, kills: int, seed: int) -> None:
    killing = Killing(work, seed)
    figures = killing.rounds(kills)
    print(figures)
    assert figures.damaged == []
    assert check(killing.output, killing.expected()) == []
    found = {
        path: (line["data"]["number"], line["data"]["total"])
        for path, line in results(killing.output).items()
    }
    assert found == killing.expected()
    fieldsift("validate", "out", cwd=work)
    assert figures.paid_twice <= figures.in_flight <= figures.kills * JOBS


def test_a_run_can_be_killed_at_any_moment(tmp_path: Path) -> None:
    killed(tmp_path, 4, seed=secrets.randbelow(10**6))


@pytest.mark.long
def test_a_run_can_be_killed_two_hundred_times(tmp_path: Path) -> None:
    killed(tmp_path, 200, seed=secrets.randbelow(10**6))
