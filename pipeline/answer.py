"""A Reply -> the Result of a stage: parsed, grounded, judged. Pure."""

import json
import math
from dataclasses import replace
from typing import Any, NoReturn

from pipeline.document import Document
from pipeline.errors import ReplyError
from pipeline.grounding import ground
from pipeline.judge import judge
from pipeline.providers import Reply
from pipeline.results import Finding, Result, Status
from pipeline.stages import Stage

#: JSON that is nested deeper than this is no answer to any real schema.
_DEEPEST = 200


def answered(empty: Result, stage: Stage, document: Document, reply: Reply) -> Result:
    """What a reply makes of a Result that has everything but data: `empty` completed."""
    if reply.finish == "refused":
        return without_data(
            empty,
            "refused",
            reply.reason or "refused",
            f"the model gave no answer: {reply.reason or 'refused'}",
        )
    if reply.finish == "truncated":
        return without_data(
            empty,
            "truncated",
            reply.reason or "truncated",
            "the answer was cut off; a cut answer is never taken for a whole one",
        )
    try:
        data = parse(reply.text)
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


def parse(text: str) -> Any:
    """The JSON value of an answer; a fence of backticks around it is taken off, nothing is mended.

    Raises:
        ReplyError: it is not one JSON value, holds NaN or Infinity, or is nested too deeply.

    """
    stripped = text.strip().removeprefix("\ufeff")
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        stripped = stripped[stripped.index("\n") : -3].strip()
    try:
        data = json.loads(stripped, parse_constant=_no_number, parse_float=_number)
    except (ValueError, RecursionError) as error:
        shown = stripped[:80] + ("..." if len(stripped) > 80 else "")
        raise ReplyError("not_json", f"the answer is not JSON ({error}): {shown!r}") from error
    if _depth(data) > _DEEPEST:
        raise ReplyError("not_json", f"the answer is nested deeper than {_DEEPEST} levels")
    return data


def _depth(data: Any) -> int:
    depth, level = 0, [data]
    while level:
        depth += 1
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return depth


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that can be kept")


def without_data(empty: Result, status: Status, reason: str, message: str) -> Result:
    """A Result that has no data, and the finding that says why."""
    finding = Finding(rule=reason, pointer="", message=message)
    return replace(empty, status=status, reason=reason, findings=(finding, *empty.findings))
