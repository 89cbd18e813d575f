"""An answer of `chat/completions`, whole or streamed, read: text, calls, how it ended, what it took.

Any field may be absent or of another type than it should be: gateways and local servers follow the
format loosely. What is known of them and read all the same: thinking tokens outside of
`completion_tokens` (Gemini behind gateways; they are in `total_tokens`), calls of functions without an
`index` in a stream, with `finish_reason` `stop`, with arguments that are no text, or without an `id`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pipeline.errors import ReplyError
from pipeline.providers import Call, Reply, Usage
from pipeline.providers.bodies import parse, word
from pipeline.providers.loops import LOOP, loops
from pipeline.providers.sse import events, is_stream

Json = dict[str, Any]

_TRUNCATED: Final = frozenset({"length", "max_tokens", "max_output_tokens", ""})
_TIERS: Final = {
    "default": "standard",
    "standard": "standard",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}
#: What of the model's turn goes back in the next request; thinking does not (DeepSeek refuses it).
_SAID: Final = ("role", "content", "refusal", "tool_calls", "extra_content")
#: Thinking in front of the answer, of servers that don't take it apart.
_THOUGHT: Final = re.compile(r"\s*<(think|thinking|thought)>.*?</\1>\s*", re.DOTALL)
_DONE: Final = "[DONE]"
_LARGEST: Final = 2**31 - 1


def read(body: bytes) -> Reply:
    """Understand an answer.

    `stop` is the one plain end, and a call of functions. Without any reason, and with `length`, the
    answer counts as truncated; every other reason as refused, unknown ones included. One that got into
    a loop and has no reason was hung up on: its reason is `LOOP`.

    Raises:
        ReplyError: `not_json`, or `bad_reply` where it is JSON of another kind.

    """
    try:
        return _read(_whole(body))
    except RecursionError:
        raise ReplyError("not_json", "the service's answer is nested beyond reason") from None


def _read(answer: Mapping[str, Any]) -> Reply:
    choice = _first(answer.get("choices"))
    said: Json = {
        "usage": _usage(answer),
        "model": word(answer.get("model")),
        "response_id": word(answer.get("id")),
    }
    if not choice:
        return Reply(text="", finish="refused", reason="no_choices", **said)
    message = _table(choice.get("message"))
    reason = _text(choice.get("finish_reason"))
    text, refusal = _content(message)
    if refusal:
        return Reply(text=refusal, finish="refused", reason="refusal", **said)
    if reason.lower() in _TRUNCATED:
        is_loop = not reason and loops(_parts(message)[0])  # then it was hung up on
        told = LOOP if is_loop else reason or "no_finish_reason"
        return Reply(text=text, finish="truncated", reason=told, **said)
    if calls := _calls(message):
        return _calling(text, message, calls, said)
    if reason.lower() == "stop":
        return Reply(text=text, **said)
    return Reply(text=text, finish="refused", reason=reason, **said)


def composed(reply: Reply, text: str, usage: Usage) -> bytes:
    """A body with one finished answer of this text and usage, its model, id and tier those of a reply."""
    message = {"role": "assistant", "content": text}
    answer: Json = {
        "id": reply.response_id,
        "object": "chat.completion",
        "model": reply.model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    if usage.is_counted:
        written = usage.output + usage.thoughts
        answer["usage"] = {
            "prompt_tokens": usage.input,
            "completion_tokens": written,
            "total_tokens": usage.input + written,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
            "completion_tokens_details": {"reasoning_tokens": usage.thoughts},
        }
    if usage.tier:
        answer["service_tier"] = "default" if usage.tier == "standard" else usage.tier
    return json.dumps(answer, ensure_ascii=False).encode()


def text_of(item: Any) -> str:
    """What one chunk of a stream adds to the text of the answer."""
    choice = _table(_first(_table(item).get("choices")))
    return _parts(_table(choice.get("delta")) or _table(choice.get("message")))[0]


def items(body: bytes) -> list[Any]:
    """The answer as one value, or the chunks of a stream; an error report in place of what holds one.

    Raises:
        ReplyError: `not_json`.

    """
    if not is_stream(body):
        found = [parse(body)]
    elif not (found := [parse(e.encode()) for e in events(body) if e.strip() != _DONE]):
        raise ReplyError("not_json", "the stream of the service holds nothing")
    return [
        item if error is None else {"error": error} for item in found for error in [_error_of(item)]
    ]


def _whole(body: bytes) -> Mapping[str, Any]:
    """The answer as one object; of a stream, what its chunks are together."""
    found = items(body)
    for item in found:
        if not isinstance(item, Mapping):
            raise ReplyError(
                "bad_reply", f"the answer is JSON, but a {type(item).__name__} and no object"
            )
        if "error" in item and "choices" not in item:
            raise ReplyError("bad_reply", "the answer is an error report of the service")
    return _joined(found) if is_stream(body) else found[0]


def _error_of(item: Any) -> Any:
    """The error report in an answer, as some gateways send it; None where there is none."""
    if not isinstance(item, Mapping):
        return None
    choice = _first(item.get("choices"))
    return item.get("error") if choice is None else choice.get("error")


def _joined(chunks: Iterable[Mapping[str, Any]]) -> Json:
    """The chunks of a stream as the answer that would have come without it."""
    answer: Json = {}
    message: Json = {"role": "assistant"}
    choice: Json = {"message": message}
    said: list[tuple[str, str]] = []
    calls = _Calls()
    for chunk in chunks:
        # A later chunk without a field does not take back what an earlier one said.
        answer |= {k: v for k, v in chunk.items() if v is not None and k != "choices"}
        given = _first(chunk.get("choices"))
        if given is None:
            continue
        answer["choices"] = [choice]
        if given.get("finish_reason") is not None:
            choice["finish_reason"] = given["finish_reason"]
        delta = _table(given.get("delta")) or _table(given.get("message"))
        said.append(_parts(delta))
        for name in ("extra_content", "function_call"):
            if isinstance(delta.get(name), Mapping):
                message[name] = delta[name]
        calls.add(delta.get("tool_calls"))
    # Joined once at the end: a text that grows by each piece would be copied for each.
    texts = {"content": "".join(text for text, _ in said), "refusal": "".join(r for _, r in said)}
    message |= {name: text for name, text in texts.items() if text or name == "content"}
    if calls.made:
        message["tool_calls"] = calls.joined()
    return answer


class _Calls:
    """Calls of functions that come in pieces, in the order in which they begin."""

    def __init__(self) -> None:
        self.made: list[Json] = []
        self._arguments: list[list[str]] = []
        #: Which call was the last to begin with an index; under None the last of all.
        self._last: dict[int | str | None, int] = {}

    def add(self, deltas: Any) -> None:
        """Add pieces, each to the call it belongs to: that of its index, of its id, or else the last one."""
        for delta in deltas if isinstance(deltas, list) else ():
            if isinstance(delta, Mapping):
                self._grow(self._place(delta), delta)

    def joined(self) -> list[Json]:
        """The calls, whole."""
        for call, arguments in zip(self.made, self._arguments, strict=True):
            call["function"]["arguments"] = "".join(arguments)
        return self.made

    def _place(self, delta: Mapping[str, Any]) -> int:
        index, name = delta.get("index"), _text(delta.get("id"))
        index = index if isinstance(index, int | str) else None
        place = self._last.get(index)
        known = "" if place is None else _text(self.made[place].get("id"))
        if place is None or (name and known and name != known):
            place = self._last[index] = self._last[None] = len(self.made)
            self.made.append({"type": "function", "function": {"name": ""}})
            self._arguments.append([])
        return place

    def _grow(self, place: int, delta: Mapping[str, Any]) -> None:
        call, given = self.made[place], _table(delta.get("function"))
        call |= {k: v for k, v in delta.items() if v is not None and k not in {"index", "function"}}
        call["function"]["name"] = call["function"]["name"] or _text(given.get("name"))
        arguments = given.get("arguments")
        if isinstance(arguments, Mapping):
            self._arguments[place] = [json.dumps(arguments)]
        else:
            self._arguments[place].append(_text(arguments))


def _content(message: Mapping[str, Any]) -> tuple[str, str]:
    """The answer without the thinking before it, and the refusal in its place."""
    text, refusal = _parts(message)
    thought = _THOUGHT.match(text)
    return _characters(text[thought.end() :] if thought else text), _characters(refusal)


def _parts(message: Mapping[str, Any]) -> tuple[str, str]:
    """Text and refusal of a message or a piece of one, whose content is a text or a list of parts."""
    content, refusal = message.get("content"), _text(message.get("refusal"))
    if not isinstance(content, list):
        return _text(content), refusal
    parts = [part for part in content if isinstance(part, Mapping)]
    texts = [
        _text(part.get("text"))
        for part in parts
        if part.get("type") in {"text", "output_text", None}
    ]
    refusals = [_text(part.get("refusal")) for part in parts if part.get("type") == "refusal"]
    return "".join(texts), refusal + "".join(refusals)


def _calling(text: str, message: Mapping[str, Any], calls: list[Json], said: Json) -> Reply:
    """A reply that asks for functions; one whose arguments are no JSON object can't be followed."""
    asked = []
    for call in calls:
        arguments = _arguments(call["function"]["arguments"])
        if arguments is None:
            return Reply(text=text, finish="refused", reason="malformed_function_call", **said)
        asked.append(Call(call["function"]["name"], arguments, call["id"]))
    turn = {name: message[name] for name in _SAID if message.get(name) is not None}
    turn |= {"role": "assistant", "tool_calls": calls}
    return Reply(text=text, calls=tuple(asked), said=turn, **said)


def _calls(message: Mapping[str, Any]) -> list[Json]:
    """The calls in the form in which they go back; an old `function_call` is one too."""
    given = message.get("tool_calls")
    listed = (
        [call for call in given if isinstance(call, Mapping)] if isinstance(given, list) else []
    )
    if not listed and isinstance(message.get("function_call"), Mapping):
        listed = [{"function": message["function_call"]}]
    calls = []
    for number, call in enumerate(listed, start=1):
        function = _table(call.get("function"))
        if not (name := _text(function.get("name"))):
            continue
        arguments = function.get("arguments")
        told = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        fixed = {
            "id": _text(call.get("id")) or f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": told},
        }
        calls.append({k: v for k, v in call.items() if k != "index"} | fixed)
    return calls


def _arguments(text: str) -> Json | None:
    try:
        given = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def _usage(answer: Mapping[str, Any]) -> Usage:
    """Tokens; thinking that a gateway left out of `completion_tokens` is what `total_tokens` has more."""
    given = _table(answer.get("usage"))
    told_input, told_output = (
        _count(given.get("prompt_tokens")),
        _count(given.get("completion_tokens")),
    )
    tier = _TIERS.get(_text(answer.get("service_tier")), "")
    if told_input is None or told_output is None:
        return Usage(tier=tier, is_counted=False)
    of_input = _table(given.get("prompt_tokens_details"))
    thoughts = _count(_table(given.get("completion_tokens_details")).get("reasoning_tokens")) or 0
    outside = max(0, (_count(given.get("total_tokens")) or 0) - told_input - told_output)
    if outside or thoughts > told_output:
        output, thoughts = told_output, max(outside, thoughts)
    else:
        output = told_output - thoughts
    return Usage(
        input=told_input,
        cached=min(told_input, _count(of_input.get("cached_tokens")) or 0),
        output=output,
        thoughts=thoughts,
        audio=min(told_input, _count(of_input.get("audio_tokens")) or 0),
        tier=tier,
    )


def _count(value: Any) -> int | None:
    """A number of tokens; None where it is none: more than 32 bits would break sums of money."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value > _LARGEST:
        return None
    return max(0, value)


def _characters(text: str) -> str:
    # JSON can hold half of a surrogate pair, which no file can: it becomes the replacement character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _first(choices: Any) -> Mapping[str, Any] | None:
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    return None


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
