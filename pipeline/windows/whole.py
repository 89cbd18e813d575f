"""Answers that count as a whole, those of every task but `extract`: the newest one is taken, and where two differ is a doubt."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipeline.results import Finding
from pipeline.stages import Stage
from pipeline.validators import check
from pipeline.validators.messages import shortened
from pipeline.values.pages import spans
from pipeline.windows.parts import out_of_place, parts_of, put_together
from pipeline.windows.pieces import Doubt, Merged, Piece

#: Characters of an answer in a sentence.
_SHOWN: Final = 80
#: Where the answer of a task stands in its data.
_PLACES: Final = {"classify": "/label", "tag": "/labels", "split": "/parts"}


def whole(stage: Stage, pieces: Sequence[Piece]) -> Merged:
    """One answer of all pieces: the newest counts, of two votes the first; of several windows they are put together.

    Two votes that differ are a doubt (`conflict`, an error), until a third answer says what one of them says, or another
    model was asked. What is wrong with the answer of one of several windows is a doubt about its pages.
    """
    first = [each for each in pieces if each.ask.take == 1 and not each.ask.about]
    second = [each for each in pieces if each.ask.take > 1 and not each.ask.about]
    later = [each for each in pieces if each.ask.about]
    data, wrong = _taken(stage, [*(first or second), *later])
    doubts = [*wrong]
    if first and second:
        votes = [_taken(stage, each)[0] for each in (first, second)]
        if not _is_settled(stage, data, votes, later, second[0].model):
            values = [_normal(stage, vote) for vote in votes]
            told = f"one answer says {shortened(values[0], _SHOWN)}, another {shortened(values[1], _SHOWN)}"
            pages = tuple(sorted({page for piece in pieces for page in piece.covers}))
            doubts.append(Doubt(Finding("conflict", _PLACES.get(stage.task, ""), told), pages))
    return Merged(data, (), tuple(doubts))


def _taken(stage: Stage, pieces: Sequence[Piece]) -> tuple[Any, list[Doubt]]:
    """The answer of pieces of which none is a vote against another, and what is wrong with that of a window."""
    owner = {page: piece for piece in pieces for page in piece.covers}
    alive = {id(piece): piece for piece in owner.values()}
    if stage.task != "split" or len(alive) <= 1:
        return pieces[-1].data, []
    doubts = [
        Doubt(Finding(each.rule, "/parts", f"{spans(piece.covers)}: {each.message}"), piece.covers)
        for piece in alive.values()
        for each in _wrong(stage, piece)
    ]
    return put_together(owner), doubts


def _wrong(stage: Stage, piece: Piece) -> Iterator[Finding]:
    """What is wrong with the answer of a window; its neighbours belong to it."""
    pages = piece.ask.window.shown
    yield from check(stage.schema, piece.data)
    yield from out_of_place(piece.data, (pages[0], pages[-1]))


def _is_settled(
    stage: Stage, data: Any, votes: Sequence[Any], later: Sequence[Piece], voter: str | None
) -> bool:
    """Whether two votes say the same, another model decided, or a third answer says what one of them says."""
    said = [_normal(stage, vote) for vote in votes]
    if said[0] == said[1] or any(piece.model != voter for piece in later):
        return True
    return bool(later) and _normal(stage, data) in said


def _normal(stage: Stage, data: Any) -> str:
    """What an answer says, as a text: equal where two say the same."""
    told = data
    if isinstance(data, dict):
        if stage.task == "classify":
            told = data.get("label")
        elif stage.task == "tag" and isinstance(data.get("labels"), list):
            told = sorted(data["labels"], key=_json)
        elif stage.task == "split":
            told = [each.to_json() for each in parts_of(data)]
    return _json(told)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
