"""A Reply -> the Piece that it says of a stage's data, parsed and grounded; or why there is none. Pure."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

from pipeline.document import Document
from pipeline.errors import ReplyError
from pipeline.grounding import before_quotes, ground, take
from pipeline.partial import DEEPEST, complete
from pipeline.prompts import Ask
from pipeline.providers import Hint, Reply
from pipeline.providers.bodies import depth
from pipeline.providers.loops import LOOP, before_loop
from pipeline.results import Status
from pipeline.schema.nullable import without_nulls
from pipeline.stages import Stage
from pipeline.validators.messages import shown
from pipeline.windows import Lost, Piece, covered, said_of_translation, seen_in, sparse

_ANOTHER: Final = "another model may answer: -m MODEL"
_FILTER: Final = 'if the document is harmless, set safety = "off" for the stage'
_AGAIN: Final = "asking again often helps: --retry failed"
_IMAGE: Final = "the service takes the answer for a picture, which was not asked for; " + _AGAIN
#: A reason of the service in capitals -> the status, what it means, and what to do. Meanings: `Candidate.FinishReason` and
#: `PromptFeedback.BlockReason` of googleapis commit f8291d2b, newer ones as in google-genai 3.4.0.
_ENDS: Final[Mapping[str, tuple[Status, str]]] = {
    "SAFETY": ("refused", f"a safety filter stopped it; {_FILTER}"),
    "IMAGE_SAFETY": ("refused", f"a safety filter stopped it for a picture; {_FILTER}"),
    "BLOCKLIST": ("refused", f"it holds words that the service blocks; {_ANOTHER}"),
    "PROHIBITED_CONTENT": (
        "refused",
        f"the service forbids such content, and no setting changes that; {_ANOTHER}",
    ),
    "SPII": (
        "refused",
        f"the service sees sensitive personal data in it and does not repeat it; {_ANOTHER}",
    ),
    "RECITATION": (
        "refused",
        f"the answer would repeat a published text too closely; ask for shorter quotes, or {_ANOTHER}",
    ),
    "LANGUAGE": ("refused", f"the model does not take the document's language; {_ANOTHER}"),
    "JAILBREAK": (
        "refused",
        f"the service takes the document's text for an attempt to misuse the model; {_ANOTHER}",
    ),
    "MODEL_ARMOR": ("refused", "a Model Armor rule of the project stopped it; see its templates"),
    "ESCALATION": ("refused", f"a rule of the service stopped it; {_ANOTHER}"),
    "PUP_LIMITED_DISABLED": (
        "refused",
        "the account is limited for breaking the service's rules of use; see its console",
    ),
    "OTHER": (
        "refused",
        "the service does not say why; asking again may help: --retry refused",
    ),
    "REFUSAL": ("refused", f"the model itself declined; {_ANOTHER}"),
    "CONTENT_FILTER": ("refused", f"a content filter of the service stopped it; {_ANOTHER}"),
    "MALFORMED_FUNCTION_CALL": (
        "failed",
        f"the model called a function in a form that can't be read; {_AGAIN}",
    ),
    "UNEXPECTED_TOOL_CALL": (
        "failed",
        f"the model called a function that there is not; name in the prompt those that it has; {_AGAIN}",
    ),
    "TOO_MANY_TOOL_CALLS": (
        "failed",
        "the model used its tools too often before it answered; say in the prompt when to stop, or take tools away",
    ),
    "MISSING_THOUGHT_SIGNATURE": (
        "failed",
        "the service misses signatures of its own earlier turn; a gateway in between may drop them: ask the service itself",
    ),
    "MALFORMED_RESPONSE": ("failed", f"the model's answer came out damaged; {_AGAIN}"),
    "NO_CANDIDATES": ("failed", f"the answer is empty, and no reason is given; {_AGAIN}"),
    "NO_CHOICES": ("failed", f"the answer is empty, and no reason is given; {_AGAIN}"),
    "IMAGE_PROHIBITED_CONTENT": ("failed", _IMAGE),
    "IMAGE_RECITATION": ("failed", _IMAGE),
    "IMAGE_OTHER": ("failed", _IMAGE),
    "NO_IMAGE": ("failed", _IMAGE),
}
_BROKEN_OFF: Final = (
    "the answer broke off without saying that it is whole; ask again: --retry truncated"
)
#: The same for answers that were cut off otherwise than at `max_output_tokens`.
_CUTS: Final[Mapping[str, str]] = {
    "NO_FINISH_REASON": _BROKEN_OFF,
    "FINISH_REASON_UNSPECIFIED": _BROKEN_OFF,
    "CONTINUATION": "the service ended the answer at its own limit for one request; send fewer pages",
    LOOP: "the model repeated itself without end, so the answer was broken off",
    "TOO_MANY_WORDS": "the document has more words than are read here at once; send fewer pages",
}


def read(
    ask: Ask,
    stage: Stage,
    document: Document,
    reply: Reply,
    restore: Callable[[Any], Any] = lambda data: data,
) -> Piece | Lost:
    """What a reply says of a stage's data, with where it stands on the pages that were shown; or why it says nothing.

    `restore` brings the data into the form of the schema that was asked for, where another one was
    sent. The Piece names no model: who asked knows it. Of an answer that was cut off it holds what is
    whole: see `partial.complete`; rows that it repeated until its end are left out, all but the first.
    An answer that counts as a whole (see `Stage.by_leaf`) says nothing where it was cut off, and has no evidence.
    """
    whole = before_quotes(reply.text, ask.schema) if reply.finish != "refused" else None
    if whole is not None:  # it ends in its hints: its data is all there
        reply = replace(reply, text=whole, finish="stop")
    cut = None if reply.finish == "stop" else _unanswered(ask, reply)
    if cut is not None and cut.status != "truncated":
        return cut
    try:
        data, cut = _part(reply.text, cut) if cut else _told(ask, reply.text)
    except ReplyError as error:
        return cut or Lost(ask, "failed", error.reason, str(error))
    if stage.task == "translate":
        return said_of_translation(ask, stage, document, restore(data), cut)
    if not stage.by_leaf:
        return cut or Piece(ask, restore(data), (), ask.window.pages)
    data, quotes = take(restore(data), ask.schema)
    hints = (*reply.hints, *quotes)
    if ask.fields:
        return _side_by_side(ask, stage, document, data, hints)
    return _of_pages(ask, stage, document, (data, hints), cut)


def _of_pages(
    ask: Ask,
    stage: Stage,
    document: Document,
    said: tuple[Any, Sequence[Hint]],
    cut: Lost | None,
) -> Piece | Lost:
    """An answer in the shape of the stage's schema, each leaf searched on the pages that were shown."""
    data, hints = said
    data = without_nulls(data, ask.schema.tree, stage.schema.tree)
    seen, own = seen_in(ask.window, document), ask.window.pages
    evidence = ground(data, stage.schema, seen, hints=hints, own=own)
    if cut is None:
        return Piece(ask, data, evidence, ask.window.pages)
    if all(each.status == "absent" for each in evidence):
        return cut
    return Piece(ask, data, evidence, covered(ask.window, data, evidence, stage.schema.tree), cut)


def _told(ask: Ask, text: str) -> tuple[Any, Lost | None]:
    """The data of an answer that says it is whole, and that it is cut off where it ends inside its JSON."""
    try:
        return parse(text), None
    except ReplyError as error:
        if error.reason != "not_json":
            raise
        told = "the answer says that it is whole, and ends in the middle of its JSON"
        try:
            return _part(text, Lost(ask, "truncated", "UNFINISHED", told))
        except ReplyError:
            raise error from None


def _part(text: str, cut: Lost) -> tuple[Any, Lost]:
    """The data of what is whole in a cut answer, without what it repeated until its end; and why there is no more."""
    start = before_loop(text)
    if len(start) < len(text):
        cut = replace(cut, reason=LOOP, message=_CUTS[LOOP])
    return parse(complete(start)), cut


def _side_by_side(
    ask: Ask, stage: Stage, document: Document, data: Any, hints: Sequence[Hint]
) -> Piece | Lost:
    """A flat answer: each leaf is searched in its row, beside what is known of it."""
    if not isinstance(data, dict):
        told = f"the answer is {shown(data)}, and fields were asked for; {_AGAIN}"
        return Lost(ask, "failed", "not_json", told)
    values = {pointer: data[name] for name, pointer in ask.fields if name in data}
    shaped, names = sparse(stage.schema.tree, (*ask.beside, *values.items()))
    places = {real: place for place, real in names.items()}
    asked = {f"/{name}": places[pointer] for name, pointer in ask.fields if pointer in values}
    moved = [replace(each, pointer=asked.get(each.pointer, "")) for each in hints]
    found = ground(shaped, stage.schema, seen_in(ask.window, document), hints=moved)
    evidence = tuple(
        replace(each, pointer=f"{names[place]}{each.pointer[len(place) :]}")
        for each in found
        if (place := _above(each.pointer, names)) is not None and names[place] in values
    )
    return Piece(ask, values, evidence, ())


def _above(pointer: str, names: Mapping[str, str]) -> str | None:
    """The leaf that was asked for at a place or above it: an open one may hold more."""
    while pointer not in names and pointer:
        pointer = pointer.rpartition("/")[0]
    return pointer if pointer in names else None


def _unanswered(ask: Ask, reply: Reply) -> Lost:
    """A reply without a usable answer: its status, and a sentence that says what to do."""
    reason = reply.reason or reply.finish
    if reply.finish == "truncated":
        return Lost(ask, "truncated", reason, _cut(reply))
    status, meaning = _ENDS.get(
        reason.upper(), ("refused", f"its reason is not known here; {_ANOTHER}")
    )
    return Lost(ask, status, reason, f"the model gave no answer ({reason}): {meaning}")


def _cut(reply: Reply) -> str:
    """Why an answer was cut off, as far as it can be told, and how it comes to its end."""
    if told := _CUTS.get((reply.reason or "").upper()):
        return told
    thought = reply.usage.thoughts
    if thought and not reply.text.strip():
        return (
            f"all the output went into thinking ({thought:,} tokens) before an answer began; "
            f"raise max_output_tokens, or lower thinking"
        )
    return (
        "the answer was cut off, and a cut answer is never taken for a whole one; "
        "raise max_output_tokens, or send fewer pages"
    )


def parse(text: str) -> Any:
    """The JSON value of an answer; a fence of backticks around it is taken off, nothing is mended.

    Raises:
        ReplyError: `not_json`: it is not one JSON value, holds NaN or Infinity, or is nested too deeply;
            `doubled_key`: an object gives two values under one name, and none of them is the answer.

    """
    if not text.strip():
        raise ReplyError(
            "not_json", "the answer is empty, though the model says that it is whole; ask again"
        )
    stripped = text.strip().removeprefix("\ufeff")
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        stripped = stripped[stripped.index("\n") : -3].strip()
    try:
        data = json.loads(
            stripped, parse_constant=_no_number, parse_float=_number, object_pairs_hook=_object
        )
    except (ValueError, RecursionError) as error:
        shown = stripped[:80] + ("..." if len(stripped) > 80 else "")
        raise ReplyError("not_json", f"the answer is not JSON ({error}): {shown!r}") from error
    if depth(data) > DEEPEST:
        raise ReplyError("not_json", f"the answer is nested deeper than {DEEPEST} levels")
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        ((name, times),) = Counter(name for name, _ in pairs).most_common(1)
        raise ReplyError(
            "doubled_key",
            f"the answer names {name[:80]!r} {times} times in one object, so that nothing tells which value "
            f"is meant; {_AGAIN}",
        )
    return made


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that can be kept")
