"""What short documents take that share requests: the first of a pack pays for what they have in common."""

from dataclasses import replace
from typing import Final

from pipeline.asking.packing import Load, alike, may_share, packed, room_of, shared, size_of
from pipeline.errors import ReplyError
from pipeline.estimating.request import Likely
from pipeline.limits import Gate
from pipeline.providers import Item, Request
from pipeline.values.tokens import text_tokens

#: Tokens of a document's marks, and those that its key takes in the answer.
_MARKS: Final = 20
_KEYED: Final = 16


class Packs:
    """The packs of a run, as if all documents that may share a request were on their way at once."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], tuple[Load, int]] = {}

    def place(self, request: Request, gate: Gate, take: int, found: Likely) -> tuple[Likely, bool]:
        """What a request takes in its pack, and whether it is the first in it: that one counts as a request.

        The high figures of a pack add up to what is reserved for it.
        """
        item = request.item
        if item is None or not may_share(request, gate):
            return found, True
        kind = (gate.endpoint.name, alike(request, take))
        load, common = self._open.get(kind, (Load(), 0))
        is_first = not load.count or not load.takes(item, gate, common)
        if is_first:
            load, common = Load(), gate.provider.ceiling(shared(request)).input
            self._open[kind] = load, common
        load.add(item)
        if not is_first:
            return _beside(item, found), False
        try:
            return _first(packed([request], gate).request, gate, found), True
        except ReplyError:  # nor can the run ask about several at once
            del self._open[kind]
            return found, True


def _first(pack: Request, gate: Gate, found: Likely) -> Likely:
    """What the first document takes: all that the pack has in common is reserved with it, or it goes alone."""
    most, alone = gate.provider.ceiling(pack), found.high
    high = replace(alone, input=max(most.input, alone.input), output=max(most.output, alone.output))
    return replace(found, high=high)


def _beside(item: Item, found: Likely) -> Likely:
    """What a document takes beside another one: its text and its answer, and nothing of what they share."""
    own = text_tokens(item.text) + text_tokens(item.known) + _MARKS
    expected, low = found.expected, found.low
    answer = min(item.answer, expected.output) + _KEYED
    return replace(
        found,
        expected=replace(expected, input=min(own, expected.input), output=answer),
        low=replace(low, input=min(own, low.input), cached=0),
        high=replace(found.high, input=size_of(item), output=room_of(item)),
    )
