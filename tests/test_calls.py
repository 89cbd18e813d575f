"""Function calls of a model: each is run once, bounded, and what they bring about is never the end of a run."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pipeline.asking import UnusableError
from pipeline.errors import FieldsiftError, GaveUp, PaymentNeeded, ReplyError
from pipeline.tools import Function
from tests.answers import Answer, Reply, Seen, error, generated
from tests.server import Server
from tests.test_ways import Line


def called(name: str, *, times: int = 1) -> Answer:
    """A turn that asks for a function."""
    call = {"functionCall": {"name": name, "args": {}}}
    return generated("", content={"role": "model", "parts": [call] * times})


def after_calls(seen: Seen) -> Answer:
    """A model that asks for `count` once, and then answers."""
    is_first = len(seen.body["contents"]) == 1
    return called("count") if is_first else generated({"total": 5})


def test_equal_documents_at_the_same_time_run_a_function_once() -> None:
    """It may do something: and two results would make two further questions of one."""
    runs: list[int] = []

    async def count() -> int:
        """A function that is busy until the other document has asked too."""
        runs.append(1)
        await asyncio.sleep(0.05)
        return len(runs)

    with Server(after_calls) as server:
        line = Line(None, server, tools=[count])
        first, second = asyncio.run(line.ask("Total: 5", "Total: 5", one_by_one=False))
        assert (runs, len(server.requests)) == ([1], 2)
    assert first.reply == second.reply  # type: ignore[union-attr]  # both are answers


def test_a_model_that_calls_where_it_has_no_functions_is_not_asked_again() -> None:
    """Each round would be paid for, and none can lead anywhere."""
    with Server(lambda seen: called("search")) as server:
        (failed,) = Line(None, server).run("Total: 5")
        assert len(server.requests) == 1
    assert isinstance(failed, UnusableError)
    assert failed.reason == "unexpected_call"


def test_calls_that_nobody_will_hear_of_are_not_run() -> None:
    """After the last round there is no question that their results could go with."""
    runs: list[int] = []

    def count() -> int:
        """Counts."""
        runs.append(1)
        return 1

    with Server(lambda seen: called("count")) as server:
        (failed,) = Line(None, server, tools=[count]).run("Total: 5")
        assert len(server.requests) == 9
    assert (failed.reason, len(runs)) == ("too_many_calls", 8)
    assert len(failed.attempts) == 9


def test_a_turn_has_a_bounded_number_of_calls() -> None:
    """A model that loops within one turn runs nothing."""
    runs: list[int] = []

    def count() -> int:
        """Counts."""
        runs.append(1)
        return 1

    with Server(lambda seen: called("count", times=1000)) as server:
        (failed,) = Line(None, server, tools=[count]).run("Total: 5")
    assert (failed.reason, runs) == ("too_many_calls", [])


def test_a_function_that_was_mended_is_run_again_and_one_that_was_not_is_not(
    tmp_path: Path,
) -> None:
    """What it returned is kept with the text of it: the answers before it are not paid again."""
    runs: list[str] = []

    def wrong() -> Function:
        def count() -> str:
            """Counts."""
            runs.append("wrong")
            return "wrong"

        return count

    def mended() -> Function:
        def count() -> str:
            """Counts."""
            runs.append("mended")
            return "mended"

        return count

    with Server(after_calls) as server:
        for function in (wrong(), wrong(), mended()):
            Line(tmp_path, server, tools=[function]).run("Total: 5")
        assert len(server.requests) == 3
        assert '"mended"' in server.requests[-1].raw.decode()
    assert runs == ["wrong", "mended"]


TROUBLES: dict[str, tuple[Answer, type[FieldsiftError]]] = {
    "a request that is refused": (error(400, "Unable to process input image."), ReplyError),
    "no money left": (error(402, "insufficient balance"), PaymentNeeded),
    "a service that is down": (error(503, "overloaded"), GaveUp),
    "garbage": (Answer(200, b"<html>"), GaveUp),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_what_a_conversation_cost_before_it_failed_is_told(name: str) -> None:
    """Rounds that were answered were paid, whatever ended the next one."""
    trouble, kind = TROUBLES[name]
    with Server(after_calls_then(trouble)) as server:
        (failed,) = Line(None, server, tools=[one]).run("Total: 5")
    assert type(failed) is kind
    (attempt,) = failed.attempts
    assert (attempt.why, attempt.tokens["output"]) == ("first", 20)


def test_equal_documents_that_fail_together_have_their_own_attempts() -> None:
    """One error ends both; what one of them took is not told of the other."""
    with Server(after_calls_then(TROUBLES["no money left"][0])) as server:
        line = Line(None, server, tools=[one])
        failed: list[Any] = list(asyncio.run(line.ask("Total: 5", "Total: 5", one_by_one=False)))
    told = [[each.stored for each in error.attempts] for error in failed]
    assert sorted(told) == [[False], [True]]


def test_what_the_first_endpoint_was_paid_stands_beside_the_answer_of_another() -> None:
    """And another document, which finds the first one set aside, has none of it."""
    with (
        Server(after_calls_then(error(503, "overloaded"))) as first,
        Server(after_calls) as second,
    ):
        line = Line(None, first, second, tools=[count_to_one])
        found, other = line.run("Total: 5", "Total: 6")
    ways = [(attempt.endpoint.partition(":")[0], attempt.why) for attempt in found.attempts]
    assert ways == [("gemini", "first"), ("backup", "fallback"), ("backup", "function results")]
    assert [attempt.endpoint.partition(":")[0] for attempt in other.attempts] == ["backup"] * 2


def test_where_all_endpoints_fail_all_that_was_paid_is_told_once() -> None:
    down = after_calls_then(error(503, "overloaded"))
    with Server(down) as first, Server(down) as second:
        line = Line(None, first, second, tools=[one])
        failed, other = line.run("Total: 5", "Total: 6")
    assert isinstance(failed, GaveUp)
    named = [attempt.endpoint.partition(":")[0] for attempt in failed.attempts]
    assert named == ["gemini", "backup"]
    assert len(other.attempts) == 2


def one() -> int:
    """Returns 1."""
    return 1


def count_to_one() -> int:
    """Is called count by the model."""
    return 1


count_to_one.__name__ = "count"


def after_calls_then(trouble: Answer) -> Reply:
    """A model that asks for a function, at a service that then has this trouble."""

    def reply(seen: Seen) -> Answer:
        return called("one") if len(seen.body["contents"]) == 1 else trouble

    return reply
