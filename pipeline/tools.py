"""Python functions that a model may call: how one is declared, and how it is run."""

import asyncio
import contextlib
import hashlib
import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

from pipeline.errors import UsageError

Function = Callable[..., Any]

#: Seconds that one call may take, and characters of JSON that its result may have: what is longer is
#: told to the model as an error. A thread can't be ended from outside: a function that never returns
#: holds its thread until the process ends, and a coroutine that never awaits holds the whole run.
SECONDS: Final = 60.0
LONGEST: Final = 100_000


@dataclass(frozen=True, slots=True)
class Tool:
    """A function as the model sees it: its name, what it is for, its parameters as a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


def declared(function: Function) -> Tool:
    """The declaration of a function: its name, its docstring, and the types of its parameters.

    Raises:
        UsageError: it has no name of its own, positional-only or starred parameters, or a type that
            has no JSON Schema.

    """
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise UsageError(f"tool {function!r}: a function with a name is needed")
    try:
        kinds = {each.kind for each in inspect.signature(function).parameters.values()}
    except (TypeError, ValueError) as error:
        raise UsageError(f"tool {name}: {error}; write a function around it") from error
    if kinds - {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}:
        raise UsageError(
            f"tool {name}: parameters are given by name; no / and no * in its signature"
        )
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(function)  # type: ignore[arg-type]  # a function is one too
        parameters = adapter.json_schema()
    except (PydanticUserError, PydanticUndefinedAnnotation, NameError) as error:
        raise UsageError(f"tool {name}: no JSON Schema of its parameters: {error}") from error
    return Tool(name, inspect.getdoc(function) or "", parameters)


async def run(function: Function, arguments: Mapping[str, Any]) -> Any:
    """Call a function with what the model gave: its result as JSON, or `{"error": ...}` for the model.

    Arguments are checked against the function's types first. Nothing that it raises ends the run.
    """
    try:
        return await asyncio.wait_for(_result(function, arguments), SECONDS)
    except TimeoutError:
        return {"error": f"no result after {SECONDS:g} seconds"}
    except Exception as error:  # noqa: BLE001, whatever the user's code raises is the model's to hear
        return {"error": f"{type(error).__name__}: {error}"[:1000]}


async def _result(function: Function, arguments: Mapping[str, Any]) -> Any:
    import json

    from pydantic import validate_call
    from pydantic_core import to_jsonable_python

    checked = validate_call(function)
    given = await _outcome(function, lambda: checked(**arguments))
    plain = to_jsonable_python(given)
    if (size := len(json.dumps(plain, allow_nan=False))) > LONGEST:
        return {"error": f"the result has {size:,} characters, at most {LONGEST:,} are taken"}
    return plain


async def called(function: Function, arguments: Mapping[str, Any]) -> Any:
    """What a function returns; a coroutine runs here, any other function in a thread of its own.

    Raises:
        TimeoutError: after SECONDS, which it says.
        Exception: whatever the function raises.

    """
    limit = asyncio.timeout(SECONDS)
    try:
        async with limit:
            return await _outcome(function, lambda: function(**arguments))
    except TimeoutError as error:
        if limit.expired():
            raise TimeoutError(f"no result after {SECONDS:g} seconds") from error
        raise


async def _outcome(function: Function, call: Callable[[], Any]) -> Any:
    if not inspect.iscoroutinefunction(function):
        return await _in_thread(call)
    try:
        return await call()
    except SystemExit as error:
        raise RuntimeError(repr(error)) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Nobody told us to stop: it is of a task of the user's own, and would end ours without a word.
        raise RuntimeError(repr(error)) from error


async def _in_thread(work: Callable[[], Any]) -> Any:
    """What a function returns, from a thread of its own.

    The loop's pool is small and waited for at the end: functions that never return would take it from
    all the others, and keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[tuple[Any, Exception | None]] = loop.create_future()

    def deliver(value: Any, error: Exception | None) -> None:
        if not outcome.done():
            outcome.set_result((value, error))

    def go() -> None:
        value, raised = None, None
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001, sys.exit() of the user's code must not end the run
            raised = error if isinstance(error, Exception) else RuntimeError(repr(error))
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            loop.call_soon_threadsafe(deliver, value, raised)

    threading.Thread(target=go, name="fieldsift-tool", daemon=True).start()
    value, raised = await outcome
    if raised is not None:
        raise raised
    return value


def fingerprint(function: Function) -> str:
    """What a function is called, and a hash (hex) of its source: another text is another function."""
    name = f"{function.__module__}:{getattr(function, '__qualname__', '')}"
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # typed at a prompt, or not written in Python
        code = getattr(function, "__code__", None)
        if code is None:
            return name
        source = in_code(code)
    return f"{name}#{hashlib.sha256(source.encode()).hexdigest()[:16]}"


def in_code(code: CodeType) -> str:
    """What tells the code of functions apart, and of those within them."""
    return repr((code.co_code, code.co_names, code.co_varnames, [*map(_constant, code.co_consts)]))


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return in_code(value)
    # Sets have another order in each process.
    return repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)
