"""A fault of our own costs one document, and what was paid before it is told."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import pipeline.asking.ways
import pipeline.extracting
from pipeline import Pipeline, Stage
from pipeline.cli.advice import Facts, what_next
from pipeline.results import Result
from tests.server import Server
from tests.test_run import FIELDS, truth


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(truth) as running:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        yield running


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.txt").write_text(f"Receipt No: R-000{number}\nTotal {number}.50 EUR\n")
    return folder


def broken(*given: Any, **more: Any) -> Any:
    """What nobody meant."""
    raise ZeroDivisionError


def ran(inbox: Path, **options: Any) -> dict[str, Result]:
    """The lines after a run."""
    job = Pipeline(Stage("receipt", FIELDS), model="gemini-3.1-flash-lite", jobs=1)
    done = job.run(inbox, inbox.parent / "out", **options)
    assert done.cost_usd is not None
    return {each.document.path: each for each in done}


@pytest.mark.parametrize("place", [(pipeline.extracting, "read"), (pipeline.extracting, "settled")])
def test_answers_before_a_fault_of_our_own_are_told(
    inbox: Path, server: Server, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
) -> None:
    """Whatever fails behind them: reading them, or what is made of them."""
    monkeypatch.setattr(*place, broken)
    for line in ran(inbox).values():
        assert (line.status, line.reason) == ("failed", "internal_error")
        assert "ZeroDivisionError" in line.findings[0].message
        assert len(line.attempts) == 1
        assert line.cost_usd is not None
        assert line.cost_usd > Decimal(0)
    assert len(server.billed) == 2
    log = (inbox.parent / "out/.fieldsift/faults.log").read_text()
    assert "in broken" in log


def test_a_fault_on_the_way_to_an_answer_costs_one_document(
    inbox: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.asking.ways.Ways, "_found", broken)
    assert {line.reason for line in ran(inbox).values()} == {"internal_error"}
    assert server.billed == []


def test_after_a_fault_of_our_own_retry_asks_again(
    inbox: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the advice says; the same command alone leaves the line as it is."""
    told = what_next(Facts("out", {"failed": 2}, fault="faults.log"))
    assert "faults.log" in told
    assert "--retry failed" in told
    with monkeypatch.context() as patched:
        patched.setattr(pipeline.extracting, "read", broken)
        ran(inbox)
    assert {line.status for line in ran(inbox).values()} == {"failed"}
    assert {line.status for line in ran(inbox, retry=("failed",)).values()} == {"valid"}
