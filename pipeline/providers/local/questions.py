"""Boxes for yes and for no side by side: one question, answered by the one that is ticked."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.providers.local.fitting import answer_of
from pipeline.providers.local.slots import Slot

#: How far apart (heights of a box) the boxes of one row may stand, across and up or down.
_ACROSS, _LEVEL = 20.0, 0.7


def questions(found: Sequence[Slot]) -> list[Slot]:
    """The fields with each yes and no that belong together as one, labelled by what stands before them.

    It has the value of the ticked one; where neither or both are ticked, nothing is answered and
    both are left out. A box for yes alone is answered either way, one for no alone is left out.
    """
    made: list[Slot] = []
    at = 0
    while at < len(found):
        slot, after = found[at], found[at + 1] if at + 1 < len(found) else None
        said = _said(slot)
        if (
            after is not None
            and said is not None
            and _said(after) is (not said)
            and _beside(slot, after)
        ):
            made += _answered(slot, after)
            at += 2
        else:
            made += [] if said is False else [slot]
            at += 1
    return made


def _said(slot: Slot) -> bool | None:
    """The yes or no that a box stands for; None for other fields."""
    text = slot.field.label.rpartition(":")[2].strip()
    is_word = slot.field.kind == "check" and text.isalpha()
    return answer_of(text) if is_word else None


def _beside(a: Slot, b: Slot) -> bool:
    """Whether two boxes stand side by side or one below the other."""
    (x0, y0, _, y1), (left, top, _, bottom) = a.box, b.box
    size = max(1.0, y1 - y0)
    across, down = abs(left - x0) / size, abs(top + bottom - y0 - y1) / 2 / size
    near = (down <= _LEVEL and across <= _ACROSS) or (across <= _LEVEL and down <= 3)
    return a.page == b.page and near


def _answered(a: Slot, b: Slot) -> Iterator[Slot]:
    ticked = [slot for slot in (a, b) if slot.field.value == "true"]
    if len(ticked) != 1:
        return
    answer = _said(ticked[0])
    # The hint has to name a box that is set as the answer is: that for yes.
    yes = a if _said(a) else b
    field = replace(yes.field, value="true" if answer else "false")
    texts = {_question(text): worth for slot in (b, a) for text, worth in slot.labels}
    texts.pop("", None)
    best = max(texts.values(), default=1.0)
    labels = tuple((text, worth / best) for text, worth in texts.items())
    yield replace(a, field=field, labels=labels)


def _question(text: str) -> str:
    """A label without the answer that it ends in; nothing where it is one."""
    before, colon, after = text.rpartition(":")
    if colon and answer_of(after.strip()) is not None:
        return before.strip()
    return "" if answer_of(text) is not None and len(text.split()) < 3 else text
