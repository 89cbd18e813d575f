"""A stage that is a Python function: run once for what it reads, its result kept as an answer is, and read back ever after."""

import hashlib
import inspect
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pipeline.asking import Asker
from pipeline.document import Document
from pipeline.errors import FunctionFailed
from pipeline.stages import DOCUMENT, Stage
from pipeline.stages.functions import parameter_of, parameters
from pipeline.tools import Function

#: Runs a function with arguments by name: `tools.called`, or what stands in its place.
Called = Callable[[Function, Mapping[str, Any]], Awaitable[Any]]

#: Characters of what the user's code raised.
_TOLD: Final = 1000


async def result_of(
    stage: Stage,
    document: Document,
    said: Mapping[str, Any],
    asker: Asker,
    since: int,
    called: Called,
) -> Any:
    """What the function of a stage gives, as JSON: a kept result of a run from `since` on, else a new one, kept.

    Args:
        stage: its task is `python`.
        document: what the parameter `document` gets.
        said: what the stage reads of earlier ones, by the names in `inputs`.
        asker: keeps the results.
        since: results of earlier runs don't count.
        called: runs it.

    Raises:
        FunctionFailed: there is no result.

    """
    function = stage.function
    if function is None:
        raise FunctionFailed(f"stage {stage.name} has no function")
    reads_it = DOCUMENT in parameters(function)
    asked = {
        "function": stage.identity,
        "input": _hash([dict(said), _content(document) if reads_it else None]),
    }
    key = _hash(asked)
    async with asker.alone(key):  # an equal item may be on its way at the same time
        kept = asker.replies.own.get(key, 1, since, asked)
        if kept is not None:
            await asker.replies.own.note(key, 1, asked, kept)
            return json.loads(kept)
        body = await _body(called, function, document, said)
        await asker.replies.own.keep(key, 1, asker.bought.run, asked, body)
        return json.loads(body)


async def _body(
    called: Called, function: Function, document: Document, said: Mapping[str, Any]
) -> bytes:
    from pydantic_core import to_jsonable_python

    try:
        given = await called(function, _arguments(function, document, said))
        plain = to_jsonable_python(given)
        return json.dumps(plain, allow_nan=False).encode()
    except Exception as error:  # whatever the user's code raises ends one line, never the run
        told = f"{type(error).__name__}: {error}"[:_TOLD] + _place(function, error)
        if isinstance(error, ValueError) and str(error).startswith("Out of range float"):
            told = "the result has a number that JSON can't hold (NaN or infinity)"
        raise FunctionFailed(f"{function.__name__}: {told}") from error


def _place(function: Function, error: Exception) -> str:
    """Where in the file of a function it failed, as ` (steps.py, line 7)`; nothing where that is not in it."""
    file = getattr(getattr(inspect.unwrap(function), "__code__", None), "co_filename", None)
    lines = [
        number
        for frame, number in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == file
    ]
    return f" ({Path(file).name}, line {lines[-1]})" if file and lines else ""


def _arguments(function: Function, document: Document, said: Mapping[str, Any]) -> dict[str, Any]:
    """What the function is given, by the names of its parameters, in the types that they are annotated with.

    All of it is the function's own: what it changes there, nobody else sees.
    """
    named = {parameter_of(name): deepcopy(value) for name, value in said.items()}
    found: dict[str, Any] = {}
    for name, parameter in parameters(function).items():
        if name == DOCUMENT:
            row = None if document.row is None else deepcopy(dict(document.row))
            found[name] = replace(document, row=row, given=deepcopy(document.given))
        elif named.get(name) is not None:
            found[name] = _typed(named[name], parameter.annotation, name)
        elif parameter.default is inspect.Parameter.empty:
            found[name] = _typed(None, parameter.annotation, name)
    return found


def _typed(value: Any, annotation: Any, name: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    if annotation is inspect.Parameter.empty:
        return value
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        what = "there is none of it" if value is None else str(error)
        raise TypeError(f"{name} does not fit its annotation: {what}") from error


def _content(document: Document) -> list[Any]:
    """What tells documents apart: path and bytes, the pages of a part, the words that are known of them, other columns."""
    texts = hashlib.sha256()
    for page in document.pages:
        texts.update(f"{page.number} {len(page.text)} {page.text}".encode("utf-8", "surrogatepass"))
    columns = None if document.row is None else dict(document.row)
    return [document.path, document.sha256, document.numbers, texts.hexdigest(), columns]


def _hash(told: Any) -> str:
    text = json.dumps(told, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
