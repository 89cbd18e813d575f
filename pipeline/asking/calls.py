"""Function calls of a model: each is run once, its result is kept as an answer is, and read back ever after."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pipeline import tools
from pipeline.asking.asker import Asker
from pipeline.asking.telling import UnusableError, Whose
from pipeline.errors import FieldsiftError, ReplyError
from pipeline.limits import Gate
from pipeline.providers import Call, Reply, Request, Turn
from pipeline.results import Attempt
from pipeline.tools import Function

#: Rounds of calls before the model must answer: each is a request that is paid.
ROUNDS: Final = 8
#: Calls in one turn: a model that asks for more has lost its way.
CALLS: Final = 64


async def converse(
    asker: Asker,
    gate: Gate,
    request: Request,
    functions: Mapping[str, Function],
    whose: Whose,
) -> tuple[Reply, tuple[Attempt, ...]]:
    """Ask, run the functions that the model asks for, and ask again, until it answers.

    Errors carry the attempts of all rounds before them.

    Raises:
        UnusableError: `too_many_calls`: no answer after ROUNDS rounds, or more than CALLS in one;
            `unexpected_call`: there is no function that it could call.
        ReplyError, NotRecorded, BudgetReached, SetupError: see `Asker.ask`.

    """
    attempts: tuple[Attempt, ...] = ()
    for left in range(ROUNDS, -1, -1):
        try:
            reply, told = await asker.ask(gate, request, whose)
        except FieldsiftError as error:
            raise error.after((*attempts, *error.attempts)) from error
        attempts += (
            tuple(replace(e, why="function results") for e in told) if request.turns else told
        )
        if not reply.calls:
            return reply, attempts
        if not functions or not left or len(reply.calls) > CALLS:
            raise UnusableError(_lost(reply, functions), *attempts)
        results = [
            await _result(asker, request, number, call, functions, whose.since)
            for number, call in enumerate(reply.calls)
        ]
        turn = Turn(reply.said, reply.calls, tuple(results))
        request = replace(request, turns=(*request.turns, turn))
    raise AssertionError("unreachable")


def _lost(reply: Reply, functions: Mapping[str, Function]) -> ReplyError:
    """Why calls of a model are not followed."""
    if not functions:
        told = (
            "the model called a function, and it was given none; another model may answer: -m MODEL"
        )
        return ReplyError("unexpected_call", told)
    if len(reply.calls) > CALLS:
        told = f"the model called {len(reply.calls):,} functions at once, at most {CALLS} are run"
    else:
        told = f"the model called functions {ROUNDS} times in a row and gave no answer"
    return ReplyError("too_many_calls", told)


async def _result(
    asker: Asker,
    request: Request,
    number: int,
    call: Call,
    functions: Mapping[str, Function],
    since: int,
) -> Any:
    if call.name not in functions:
        return {"error": f"there is no function {call.name}; there are {', '.join(functions)}"}
    function = functions[call.name]
    # With its text: one that was mended is run again.
    told = f"{request.key()} call {number} {tools.fingerprint(function)}"
    key = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()
    asked = {"call": call.name, "arguments": dict(call.arguments)}
    async with asker.alone(key):  # an equal document may ask for the same at the same time
        kept = asker.replies.own.get(key, 1, since, asked)
        if kept is not None:
            await asker.replies.own.note(key, 1, asked, kept)
            return json.loads(kept)
        result = await tools.run(function, call.arguments)
        await asker.replies.own.keep(key, 1, asker.bought.run, asked, json.dumps(result).encode())
        return result
