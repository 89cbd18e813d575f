"""A service that fails: retries don't feed the outage, documents outlast it, and one that stays down ends the run."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from pipeline.api import Storage, open_runner
from pipeline.config import Call, plan
from pipeline.errors import GaveUp, Transient, Unreachable
from pipeline.limits.gate import PATIENCE
from pipeline.providers import Rates
from pipeline.runner import Options
from pipeline.stages import Stage
from tests.clock import run
from tests.quotas import QuotaService, ask, gate_to, numbered


def test_an_outage_of_half_a_minute_costs_time_and_no_document() -> None:
    """The retries of the run are used up within seconds: from then on everybody waits, and one request finds out."""
    service = QuotaService(latency=1.0)
    storm = (1030, 1060)
    service.storm = lambda now: (
        Transient("http_503", "busy") if storm[0] <= now < storm[1] else None
    )

    async def work() -> list[Any]:
        return await ask(gate_to(service, Rates(), concurrency=32), numbered(1000))

    assert not [each for each in run(work()) if isinstance(each, Exception)]
    late = [at for at in service.refused if at >= storm[0] + 10]
    assert len(late) <= 20, "what is down is asked seldom"
    assert max(at for at, _ in service.let_in) < storm[1] + 60


def test_a_service_that_is_down_is_waited_for_ten_minutes() -> None:
    service = QuotaService(latency=0.01)
    service.storm = lambda now: Transient("http_503", "busy") if now > 1003 else None

    async def work() -> list[Any]:
        gate = gate_to(service, Rates(rpm=3000), concurrency=8)
        ends: list[Any] = []
        while not (ends and isinstance(ends[-1], Unreachable)):
            ends += await ask(gate, numbered(100))
        return [asyncio.get_running_loop().time(), *ends]

    at, *ends = run(work())
    assert 600 <= at - 1003 <= 700
    assert sum(isinstance(each, GaveUp) for each in ends) <= 40, "those that were tried five times"


def test_a_service_that_was_never_reached_ends_the_run_soon() -> None:
    """A wrong address, a network that is away: nobody waits for minutes, whatever is in flight."""
    service = QuotaService(latency=0.01)
    service.storm = lambda _: Transient("unreachable", "no connection")

    async def work() -> list[Any]:
        gate, clock = gate_to(service, Rates(), concurrency=32), asyncio.get_running_loop().time
        began = clock()
        asked = [asyncio.ensure_future(gate.send(one, 1, 1)) for one in numbered(32)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        took = clock() - began
        return [took, *await asyncio.gather(*asked, return_exceptions=True)]

    took, *ends = run(work())
    assert took <= 20, "the first error ends the run"
    assert all(isinstance(each, Unreachable) for each in ends)


def test_where_another_endpoint_can_be_asked_a_service_that_is_down_is_not_waited_for() -> None:
    """Not five tries for each document: the budget is a tenth of the requests and twenty."""
    service = QuotaService(latency=0.01)
    service.storm = lambda now: Transient("http_503", "busy") if now > 1003 else None

    async def work() -> list[Any]:
        gate = gate_to(service, Rates(rpm=3000), concurrency=8)
        gate.patience = 0.0
        return await ask(gate, numbered(600))

    outcomes = run(work())
    errors = [each for each in outcomes if isinstance(each, Exception)]
    first = next(each for each in errors if isinstance(each, Unreachable))
    assert "requests failed" in str(first)
    assert "retries are used up" in str(first)
    assert len(service.refused) <= len(errors) + 20 + 60


def test_a_document_that_another_endpoint_is_asked_about_for_want_of_retries_says_so() -> None:
    service, dice = QuotaService(latency=0.01), random.Random(1)
    service.storm = lambda _: Transient("http_503", "busy") if dice.random() < 0.6 else None

    async def work() -> list[Any]:
        gate = gate_to(service, Rates(rpm=3000), concurrency=8)
        gate.patience = 0.0
        return await ask(gate, numbered(300))

    errors = [each for each in run(work()) if isinstance(each, Exception)]
    assert all(type(each) is GaveUp for each in errors)
    assert any("the budget of this run, are used up" in str(each) for each in errors)
    assert len(service.refused) + len(service.let_in) <= 300 + 20 + 30


def test_a_run_waits_for_the_last_endpoint_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before it have another one to go to."""
    for name in ("GEMINI_API_KEY", "EVOLINK_API_KEY"):
        monkeypatch.setenv(name, "none-is-sent")
    fallback = "evolink:gemini-3.1-flash-lite-preview"
    given = {"inputs": [str(tmp_path)], "output": None, "model": "gemini-3.1-flash-lite"}
    decided = plan(given, Call(), [Stage("a", "number str", fallback=(fallback,))])

    async def work() -> list[float]:
        async with open_runner(decided, Options(), Storage(tmp_path / "state")) as runner:
            await runner.begin()
            return [gate.patience for gate in runner._gates.values()]

    assert asyncio.run(work()) == [0.0, PATIENCE]
