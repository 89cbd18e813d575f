"""Python functions as tools: declared by their signature, checked, bounded, and never the end of a run."""

import asyncio
import socket
import sys
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import tools
from pipeline.errors import UsageError
from pipeline.stages import Stage
from tests.asking import SCHEMA


def rate(currency: str, day: int = 1) -> Decimal:
    """Euros for one unit of a currency."""
    return {"USD": Decimal("0.92"), "GBP": Decimal("1.19")}[currency] * day


async def later(text: str) -> str:
    """The text, after a turn of the loop."""
    await asyncio.sleep(0)
    return text


def call(function: Any, **arguments: Any) -> Any:
    return asyncio.run(tools.run(function, arguments))


def test_a_function_is_declared_by_its_name_its_words_and_its_types() -> None:
    """What the model is told of it."""
    tool = tools.declared(rate)
    assert (tool.name, tool.description) == ("rate", "Euros for one unit of a currency.")
    assert tool.parameters["properties"]["currency"]["type"] == "string"
    assert tool.parameters["required"] == ["currency"]


def test_results_are_json_whatever_the_function_returns() -> None:
    """A coroutine is awaited; amounts and dates become what JSON has."""
    assert call(rate, currency="USD") == "0.92"
    assert call(later, text="x") == "x"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"currency": "USD", "day": "many"}, "day"),
        ({}, "currency"),
        ({"currency": "XXX"}, "KeyError"),
    ],
)
def test_wrong_arguments_and_exceptions_are_told_to_the_model(
    arguments: dict[str, Any], told: str
) -> None:
    """They never end the run."""
    assert told in call(rate, **arguments)["error"]


def test_a_slow_function_and_a_long_result_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have a bound, and the model hears of it."""

    async def never() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(tools, "SECONDS", 0.01)
    assert "no result after" in call(never)["error"]
    monkeypatch.setattr(tools, "SECONDS", 60)
    assert "characters" in call(lambda: "x" * (tools.LONGEST + 1))["error"]


def test_functions_that_never_return_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: the loop's own threads read files meanwhile, and nobody waits for them at the end."""
    ended = threading.Event()
    monkeypatch.setattr(tools, "SECONDS", 0.01)

    async def work() -> str:
        hanging = [tools.run(lambda: ended.wait(60), {}) for _ in range(40)]
        told = await asyncio.gather(*hanging)
        assert all("no result after" in each["error"] for each in told)
        return await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 30)

    assert asyncio.run(work()) == "free"
    assert not ended.is_set()
    ended.set()


def test_a_function_that_ends_the_process_ends_nothing() -> None:
    """Neither in a thread nor as a coroutine."""

    async def leave() -> None:
        sys.exit(3)

    assert "SystemExit(3)" in call(leave)["error"]
    assert "SystemExit(4)" in call(lambda: sys.exit(4))["error"]
    assert "StopIteration" in call(lambda: next(iter(())))["error"]


def test_what_can_not_be_declared_is_refused() -> None:
    """With the reason."""
    with pytest.raises(UsageError, match="name"):
        tools.declared(lambda x: x)
    with pytest.raises(UsageError):
        tools.declared(max)

    def strange(given: socket.socket) -> None:
        """A type that no JSON can be."""

    with pytest.raises(UsageError, match="no JSON Schema"):
        tools.declared(strange)


def test_starred_and_positional_parameters_are_refused() -> None:
    """A model gives arguments by name."""

    def many(*all_of_them: int) -> int:
        return sum(all_of_them)

    with pytest.raises(UsageError, match="by name"):
        tools.declared(many)


@given(
    st.dictionaries(st.text(max_size=8), st.recursive(st.none() | st.text(), st.lists), max_size=4)
)
@settings(max_examples=50, deadline=None)
def test_no_arguments_raise(arguments: dict[str, Any]) -> None:
    """Whatever a model makes up."""
    assert "error" in call(rate, **arguments) or arguments.get("currency") in {"USD", "GBP"}


def test_a_stage_knows_its_functions_and_is_another_when_their_text_changes() -> None:
    """The hash of a stage covers what its functions do; unknown tools are refused."""
    plain = Stage("bill", SCHEMA)
    with_tool = Stage("bill", SCHEMA, tools=[rate, "google_search"])
    assert list(with_tool.functions) == ["rate"]
    assert with_tool.sha256 != plain.sha256 != Stage("bill", SCHEMA, tools=[later]).sha256
    with pytest.raises(UsageError, match="google_search"):
        Stage("bill", SCHEMA, tools=["bing"])
    with pytest.raises(UsageError, match="same name"):
        Stage("bill", SCHEMA, tools=[rate, rate])
