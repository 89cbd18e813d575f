"""What to type next, after a run or beside its output: one function for both, so that they never differ."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_PIP = re.compile(r"pip install '[^']+'")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the advice depends on: the lines of an output, and how its last run ended.

    `counts` by status; `reasons` are (status, reason, number); `messages` those of lines that a quota or
    a missing extra ended; `ended` is whether the last run came to the end of its inputs, and `cut` whether
    that was a signal or a crash, so that what earlier lines say of budgets and quotas may hold no more;
    `fault` names the log of a fault of our own.
    """

    output: str
    counts: Mapping[str, int]
    reasons: Sequence[tuple[str, str, int]] = ()
    messages: Sequence[str] = field(default=())
    ended: bool = True
    cut: bool = False
    engine: str = ""
    fault: str = ""


def what_next(facts: Facts) -> str:
    """What to type next, in words or as a command; the most pressing thing alone."""
    why = {reason for status, reason, _ in facts.reasons if status == "over_budget"}
    if facts.fault:
        return f"report {facts.fault}; the same command with --retry failed asks about its documents again"
    if facts.cut:
        return "the same command continues"
    if "budget" in why:
        return "the same command with a higher --budget continues"
    if "quota" in why:
        told = f" ({facts.messages[0]})" if facts.messages else ""
        return f"the same command continues when the quota allows it{told}"
    if facts.counts.get("over_budget") or facts.counts.get("pending") or not facts.ended:
        return "the same command continues"
    return _about_the_lines(facts)


def _about_the_lines(facts: Facts) -> str:
    from pipeline.runner import RETRIES
    from pipeline.runner.steps import NAMELESS

    wrong = [status for status in RETRIES if facts.counts.get(status)]
    if not wrong:
        return f"fieldsift validate {facts.output}"
    found = (_PIP.search(message) for message in facts.messages)
    install = dict.fromkeys(each.group() for each in found if each)
    if install:
        return f"{'; '.join(install)}; then the same command with --retry unreadable"
    look = f"look into {facts.output}/results.jsonl"
    # What can't be read or told from others stays so, and the local engine says the same again.
    nameless = sum(n for status, why, n in facts.reasons if status == "failed" and why in NAMELESS)
    stays = {"unreadable", *(["failed"] if nameless == facts.counts.get("failed") else [])}
    redo = [each for each in wrong if each not in stays and facts.engine != "local"]
    return f"{look}, then the same command with --retry {','.join(redo)}" if redo else look
