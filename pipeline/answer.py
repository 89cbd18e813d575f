"""A Reply -> the Result of a stage: parsed, grounded, judged. Pure."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn

from pipeline.document import Document
from pipeline.errors import ReplyError
from pipeline.grounding import ground
from pipeline.judge import judge
from pipeline.providers import Reply
from pipeline.providers.bodies import depth
from pipeline.results import Finding, Result, Status
from pipeline.stages import Stage

#: JSON that is nested deeper than this is no answer to any real schema.
_DEEPEST = 200


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
    "TOO_MANY_WORDS": "the document has more words than are read here at once; send fewer pages",
}


def answered(
    empty: Result,
    stage: Stage,
    document: Document,
    reply: Reply,
    restore: Callable[[Any], Any] = lambda data: data,
) -> Result:
    """What a reply makes of a Result that has everything but data: `empty` completed.

    `restore` brings the data into the form of the stage's schema, where another one was asked for.
    """
    if reply.finish != "stop":
        return _unanswered(empty, reply)
    try:
        data = restore(parse(reply.text))
    except ReplyError as error:
        return without_data(empty, "failed", error.reason, str(error))
    evidence = ground(data, stage.schema, document, hints=reply.hints, model=empty.engine)
    findings = (*empty.findings, *judge(stage, data, document, evidence))
    if all(each.status == "absent" for each in evidence):
        findings = (
            *findings,
            Finding("empty", "", "nothing was found: no field has a value", "warning"),
        )
    wrong = [finding for finding in findings if finding.severity == "error"]
    status: Status = "invalid" if wrong else "valid"
    reason = wrong[0].rule if wrong else None
    return replace(
        empty, status=status, reason=reason, data=data, evidence=evidence, findings=findings
    )


def _unanswered(empty: Result, reply: Reply) -> Result:
    """The Result of a reply without a usable answer: its status, and a sentence that says what to do."""
    reason = reply.reason or reply.finish
    if reply.finish == "truncated":
        return without_data(empty, "truncated", reason, _cut(reply))
    status, meaning = _ENDS.get(
        reason.upper(), ("refused", f"its reason is not known here; {_ANOTHER}")
    )
    return without_data(empty, status, reason, f"the model gave no answer ({reason}): {meaning}")


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
    if depth(data) > _DEEPEST:
        raise ReplyError("not_json", f"the answer is nested deeper than {_DEEPEST} levels")
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


def without_data(empty: Result, status: Status, reason: str, message: str) -> Result:
    """A Result that has no data, and the finding that says why."""
    finding = Finding(rule=reason, pointer="", message=message)
    return replace(empty, status=status, reason=reason, findings=(finding, *empty.findings))
