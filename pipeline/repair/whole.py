"""Answers that count as a whole: what is wrong with one, and the question that asks for it anew."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from pipeline.prompts import Ask
from pipeline.repair.targets import HOPELESS, LONGEST, Round, Target, fenced, same
from pipeline.results import Finding
from pipeline.stages import Kind, Stage
from pipeline.windows import Merged, parts_of

#: Characters of the earlier answer that are told, and findings about it.
_LONGEST_ANSWER, _MOST = 2000, 20


def failing(
    stage: Stage, merged: Merged, findings: Sequence[Finding], on: Collection[Kind] | None = None
) -> tuple[Target, ...]:
    """Why the answer is to be asked for again: errors, of certain kinds only with `on`.

    What a model left open (`unsure`) is an answer: only another model is asked about it, where `on` has that.
    """
    pages = {id(doubt.finding): doubt.pages for doubt in merged.doubts}
    targets = (
        Target("", _kind(each), (each.message,), pages.get(id(each)) or _pages(stage, merged, each))
        for each in findings
        if each.rule not in HOPELESS
        and (each.severity == "error" or (on and each.rule == "unsure"))
    )
    return tuple(each for each in targets if on is None or each.kind in on)


def _kind(finding: Finding) -> Kind:
    if finding.rule == "conflict":
        return "conflict"
    return "unsure" if finding.rule == "unsure" else "invalid"


def _pages(stage: Stage, merged: Merged, finding: Finding) -> tuple[int, ...]:
    """The first and last page of the part that a finding is about; none: it is about all of them."""
    begin, _, rest = finding.pointer.removeprefix("/").partition("/")
    if stage.task != "split" or begin != "parts" or not rest:
        return ()
    place = rest.partition("/")[0]
    return next(((p.first, p.last) for p in parts_of(merged.data) if str(p.place) == place), ())


def questions(
    stage: Stage, merged: Merged, targets: Sequence[Target], asking: Round
) -> tuple[Ask, ...]:
    """The stage's questions again, of windows only those that the targets are about; none where they were asked often enough.

    What broke a rule is told with the earlier answer. Where two answers differ, or one left it open, the question is
    the first one again, so that nothing leads the answer.
    """
    if not targets:
        return ()
    pages = [each.pages for each in targets if each.pages]
    wrong = [text for each in targets if each.kind == "invalid" for text in each.wrong]
    words = _words(merged.data, wrong[:_MOST]) if wrong else ""
    found = []
    for window in asking.windows:
        times = sum(window.pages == ask.window.pages for ask in asking.before)
        is_meant = not pages or any(set(each) & set(window.pages) for each in pages)
        if is_meant and times < asking.most:
            why = f"{asking.why.format(times + 1)}: the whole answer"
            found.append(Ask(window, stage.schema, words=words, why=why, about=("",)))
    # The first takes of a question without words are the votes.
    votes = 0 if words else stage.votes
    return tuple(
        replace(ask, take=1 + votes + sum(same(ask, before) for before in asking.before))
        for ask in found
    )


def _words(data: Any, wrong: Sequence[str]) -> str:
    answer = json.dumps(data, ensure_ascii=False)
    told = {"answer": answer[:_LONGEST_ANSWER], "wrong": [text[:LONGEST] for text in wrong]}
    return (
        "An earlier answer was checked and can't be used. Answer anew and as a whole, so that nothing of this is wrong any "
        f"more.\n{fenced(told)}"
    )
