"""Python functions as stages: what they read by the names of their parameters, and the schema of what they give."""

import hashlib
import inspect
import json
import linecache
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

from pipeline.errors import UsageError
from pipeline.schema import Schema
from pipeline.tools import Function, in_code

#: Types of JSON that are one value: data of a stage has names.
_SINGLE: Final = ("string", "number", "integer", "boolean", "null")
_BY_NAME: Final = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


def parameters(function: Function) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function by name, their annotations as types.

    Raises:
        UsageError: it has no name of its own, none that are given by name, or an annotation that means nothing.

    """
    return _signature(function).parameters


def schema_of_function(function: Function) -> Schema:
    """The schema of what a function returns, by its annotation: a pydantic model, a dataclass, a TypedDict, a list of such, dict.

    Raises:
        UsageError: there is none, or one that has no JSON Schema.
        SchemaError: it is neither an object nor a list.

    """
    from pydantic import BaseModel, TypeAdapter
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    name, returned = function.__name__, _signature(function).return_annotation
    if returned in {inspect.Signature.empty, None, Any}:
        raise UsageError(
            f"function {name}: say what it returns (def {name}(...) -> Model), or give the stage a schema"
        )
    try:
        body = TypeAdapter(returned).json_schema(mode="serialization")
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        told = error.message.partition("\n")[0]
        raise UsageError(f"function {name}: no JSON Schema of what it returns: {told}") from error
    if body.get("type") in _SINGLE:
        what = getattr(returned, "__name__", returned)
        raise UsageError(f"{name} returns {what}: return a dict, a dataclass or a pydantic model")
    made = Schema.of(body)
    is_model = isinstance(returned, type) and issubclass(returned, BaseModel)
    return Schema(made.name, body, returned if is_model else None, f"what {name} returns")


def _signature(function: Function) -> inspect.Signature:
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise UsageError(f"function {function!r}: a function with a name is needed")
    try:
        found = inspect.signature(function, eval_str=True)
    except Exception as error:  # annotations are code of the user's
        raise UsageError(f"function {name}: its signature can't be read: {error}") from error
    kinds = {each.kind for each in found.parameters.values()}
    if not kinds or kinds - _BY_NAME:
        raise UsageError(
            f"function {name}: its parameters are named after what it reads (document, row, earlier stages), "
            f"without / and *"
        )
    return found


# what feeds it ----------------------------------------------------------------------------------


def parameter_of(text: str) -> str:
    """The parameter that gets what a name in `inputs` means: `line-items` -> line_items, `invoice.total` -> total."""
    return text.rpartition(".")[2].replace("-", "_")


def check_fed(function: Function, inputs: Sequence[str]) -> None:
    """That each of `inputs` has a parameter of its own, and each parameter without a default one of them.

    Raises:
        UsageError: names what does not fit.

    """
    name, takes = function.__name__, parameters(function)
    fed: dict[str, str] = {}
    for text in inputs:
        taker = parameter_of(text)
        if taker not in takes:
            raise UsageError(
                f"inputs: no parameter of function {name} takes {text!r}: it would be called {taker}, and there "
                f"are {', '.join(takes)}"
            )
        if taker in fed:
            raise UsageError(
                f"inputs: parameter {taker} of function {name} can't get both {fed[taker]!r} and {text!r}: read "
                f"one of the stages as a whole"
            )
        fed[taker] = text
    for taker, parameter in takes.items():
        if taker not in fed and parameter.default is inspect.Parameter.empty:
            raise UsageError(
                f"inputs: nothing feeds parameter {taker} of function {name}: inputs are {', '.join(inputs)}"
            )


# whether it is the same -------------------------------------------------------------------------

#: Values whose repr tells all of them.
_WHOLE: Final = (bytes, Decimal, date, time, timedelta, PurePath, re.Pattern)


def fingerprint(function: Function, version: str | None = None) -> str:
    """What a function is called with its `version`, else with a hash (hex) of all that is known of what it does.

    That is the source of the whole file that it stands in, its defaults, and what it holds: the variables of functions
    around it, and the attributes of the object that it is a method of. What other modules do is not in it.

    Raises:
        UsageError: it holds something that can't be told apart from another one, and has no `version`.

    """
    name = f"{function.__module__}:{function.__qualname__}"
    if version is not None:
        return f"{name}@{version}"
    try:
        told = json.dumps(_told(function, frozenset()))
    except TypeError as error:
        raise UsageError(
            f"function {function.__name__}: {error}, and whether it is the same in the next run can't be known: "
            f'say version="1", and another one whenever the function gives something else'
        ) from error
    return f"{name}#{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _told(value: Any, around: frozenset[int]) -> Any:
    """A value as JSON that no other value has; functions by their source and what they hold."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) in around:  # a function that calls itself
        return ["around"]
    inside = partial(_told, around=around | {id(value)})
    return [type(value).__name__, *_parts(value, inside)]


def _parts(value: Any, inside: Callable[[Any], Any]) -> Iterator[Any]:
    if isinstance(value, _WHOLE):
        yield repr(value)
    elif isinstance(value, type | ModuleType):
        yield from (getattr(value, "__module__", ""), value.__name__)
    elif isinstance(value, list | tuple):
        yield from map(inside, value)
    elif isinstance(value, set | frozenset):
        yield from sorted(map(json.dumps, map(inside, value)))
    elif isinstance(value, dict):
        yield from map(inside, value.items())
    elif isinstance(value, MethodType):
        yield from map(inside, (value.__func__, *_held(value.__self__)))
    elif isinstance(value, FunctionType):
        yield from _source(value)
        yield from map(inside, _around(value))
    else:
        raise TypeError(f"it holds a value of type {type(value).__name__}")


def _held(owner: Any) -> Iterable[Any]:
    """What a method's object is: its class, and its attributes."""
    if isinstance(owner, type):
        return (owner,)
    bases = type(owner).__mro__[:-1]
    if not hasattr(owner, "__dict__") or any(each.__module__ == "builtins" for each in bases):
        raise TypeError(f"it holds a value of type {type(owner).__name__}")
    return (type(owner), vars(owner))


def _source(function: FunctionType) -> Iterable[Any]:
    """The file that a function stands in, and where; what was typed at a prompt by its code."""
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    source = "".join(lines) or in_code(code)
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
    return (function.__qualname__, code.co_firstlineno if lines else 0, digest)


def _around(function: FunctionType) -> Iterable[Any]:
    """Defaults, and the variables of functions around it; one that has no value yet is left out."""
    yield function.__defaults__
    yield function.__kwdefaults__
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            yield None
