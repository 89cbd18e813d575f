"""Translations that don't keep what they must: the questions about those texts again, with what is wrong in words."""

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import replace

from pipeline.document import Document
from pipeline.prompts import Ask
from pipeline.repair.targets import LONGEST, Round, fenced, same
from pipeline.stages import Stage
from pipeline.windows import Merged, asked_anew

_ANEW = (
    "An earlier translation was checked, and something is wrong with it. Translate anew and as a whole, so that nothing of "
    "that is wrong any more."
)


def questions(stage: Stage, document: Document, merged: Merged, asking: Round) -> tuple[Ask, ...]:
    """The questions again whose answers are wrong, texts of earlier results together; none where they were asked often enough."""
    times = Counter(place for ask in asking.before for place in _places(ask))
    wrong: dict[Hashable, list[str]] = {}
    asks: dict[Hashable, Ask] = {}
    for doubt in merged.doubts:
        for place in _places(doubt.ask) if doubt.ask else ():
            if doubt.ask and times[place] < asking.most:
                asks[place] = doubt.ask
                wrong.setdefault(place, []).append(doubt.finding.message[:LONGEST])
    found = []
    for ask in asked_anew(stage, document, tuple(asks.values())):
        names = [key for key, _ in ask.fields] or ["text"]
        places = dict(zip(names, _places(ask), strict=True))
        told = {name: "; ".join(wrong[place]) for name, place in places.items()}
        number = 1 + max(times[place] for place in places.values())
        about = tuple(pointer for _, pointer in ask.fields) or ("/text",)
        listed = ", ".join(about) if len(about) <= 3 else f"{len(about)} texts"
        words = "\n".join(filter(None, [ask.words, _ANEW, fenced({"wrong": told})]))
        again = replace(ask, words=words, about=about, why=f"{asking.why.format(number)}: {listed}")
        found.append(replace(again, take=1 + sum(same(again, before) for before in asking.before)))
    return tuple(found)


def _places(ask: Ask) -> Iterator[Hashable]:
    """What a question asks for: each text of a list, or the text of some pages or a part of one."""
    if ask.fields:
        yield from (pointer for _, pointer in ask.fields)
    else:
        yield (ask.window.pages, ask.start, ask.text)
