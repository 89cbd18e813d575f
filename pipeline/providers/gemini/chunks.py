"""A body of the service, in any of its three shapes, as one answer: an object, a stream of events, a list.

`streamGenerateContent` gives server-sent events with `alt=sse` and one JSON array without it; each
item is a part of the answer in the form of a whole one. What is read here is put together into one
such form, so that everything after it knows no streams.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pipeline.errors import ReplyError
from pipeline.providers.bodies import parse
from pipeline.providers.sse import events, is_stream

#: What stands once in an answer and may be repeated by later items: the last one that has it holds.
_LAST: Final = ("usageMetadata", "promptFeedback", "modelVersion", "responseId")
#: OpenAI's mark of the end, which Google's stream does not have and gateways may add.
_DONE: Final = "[DONE]"


def answer(body: bytes) -> Mapping[str, Any]:
    """The answer in a body; of a stream, all its items as one.

    Raises:
        ReplyError: `not_json`, or `bad_reply` where it is JSON of another kind or reports an error.

    """
    items = chunks(body)
    if any("error" in item and "candidates" not in item for item in items):
        raise ReplyError("bad_reply", "the answer is an error report of the service")
    return items[0] if len(items) == 1 else _merged(items)


def chunks(body: bytes) -> list[Mapping[str, Any]]:
    """The items of a body in order, at least one.

    Raises:
        ReplyError: as of `answer`.

    """
    if is_stream(body):
        items = [parse(text.encode()) for text in events(body) if text != _DONE]
        if not items:
            raise ReplyError("not_json", "the service's stream ended before it began")
    else:
        given = parse(body)
        items = given if isinstance(given, list) else [given]
    if not items:
        raise ReplyError("bad_reply", "the answer is JSON, but an empty list and no object")
    for item in items:
        if not isinstance(item, Mapping):
            raise ReplyError(
                "bad_reply", f"the answer is JSON, but a {type(item).__name__} and no object"
            )
    return items


def _merged(items: list[Mapping[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {name: item[name] for item in items for name in _LAST if item.get(name)}
    candidates = [candidate for item in items for candidate in _first(item.get("candidates"))]
    if candidates:
        whole["candidates"] = [_candidate(candidates)]
    return whole


def _candidate(given: list[Mapping[str, Any]]) -> dict[str, Any]:
    """One candidate of many: the parts one after another, the last reason, all that was searched."""
    whole = {name: value for each in given for name, value in each.items() if value}
    contents = [each["content"] for each in given if isinstance(each.get("content"), Mapping)]
    if contents:
        content = {name: value for each in contents for name, value in each.items()}
        whole["content"] = content | {"parts": _joined(each.get("parts") for each in contents)}
    for name in ("groundingMetadata", "urlContextMetadata"):
        if name in whole:
            whole[name] = _union(each.get(name) for each in given)
    return whole


def _union(tables: Iterable[Any]) -> dict[str, Any]:
    """Tables as one, their lists one after another; a list that tells the known ones again counts once."""
    union: dict[str, Any] = {}
    for table in tables:
        for name, value in (table if isinstance(table, Mapping) else {}).items():
            known = union.get(name)
            if not isinstance(value, list):
                union[name] = value
            elif not isinstance(known, list):
                union[name] = list(value)
            else:
                again = len(known) if value[: len(known)] == known else 0
                known.extend(value[again:])
    return union


def _joined(lists: Iterable[Any]) -> list[Any]:
    return [item for each in lists if isinstance(each, list) for item in each]


def _first(candidates: Any) -> list[Mapping[str, Any]]:
    """The first candidate of an item, if it has any; only one is ever asked for."""
    found = candidates[:1] if isinstance(candidates, list) else []
    return [each for each in found if isinstance(each, Mapping)]
