"""A model that repeats itself until its limit: how that is told, in a text and while an answer is streamed.

A loop is a text whose end is one block over and over: the block has at most BLOCK characters, and the
repetition covers at least LEAST characters and REPEATS blocks, or MOST characters. What documents
really repeat stays below that: 40 equal rows, 60 nulls, a line of dots. More than REPEATS rows that
are equal in every field do exist (a column asked for alone): they are taken for a loop only where the
answer did not come to its end, and lose nothing, because smaller windows are asked then. Rows that
differ in a counter are no loop by this rule.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from pipeline.errors import ReplyError
from pipeline.providers.bodies import parse
from pipeline.providers.sse import events

#: The word for such an end; no service's own, so in capitals at every wire.
LOOP: Final = "LOOP"
#: Characters of the longest block that is known when it comes again: some thirty rows.
BLOCK: Final = 4096
LEAST: Final = 4096
#: A page has some 60 lines of print.
REPEATS: Final = 64
#: A quarter of the longest answer of the cheap models (65,536 tokens of some four characters).
MOST: Final = 65_536
#: The same of a cut answer that is there whole: dropping rows that were none costs only asking for them again.
CUT_LEAST: Final = 512
CUT_REPEATS: Final = 8
#: Characters between two looks; each look is at BLOCK + LEAST characters, so four times the text in all.
_STEP: Final = 2048
_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class Repetition:
    """Notices, while a text grows, that it has begun to repeat itself.

    Where it is noticed depends on the text alone, not on the pieces that it came in.
    """

    def __init__(self) -> None:
        self._tail = ""
        self._read = 0
        self._period = 0
        self._run = 0

    def add(self, text: str) -> bool:
        """Hear more of the text: whether it is in a loop at one of the places that are looked at."""
        place = 0
        while place < len(text):
            part = text[place : place + _STEP - self._read % _STEP]
            place += len(part)
            self._read += len(part)
            self._tail = (self._tail + part)[-BLOCK - LEAST :]
            if self._read % _STEP == 0 and self._looks():
                return True
        return False

    def _looks(self) -> bool:
        period = _period(self._tail, LEAST)
        if not period or period > BLOCK:
            self._period = self._run = 0
            return False
        # Two looks see LEAST characters in common: the same period is the same repetition.
        self._run = self._run + _STEP if period == self._period else LEAST + period
        self._period = period
        return self._run >= min(REPEATS * period, MOST)


def loops(text: str) -> bool:
    """Whether a text got into a loop anywhere."""
    return Repetition().add(text)


def before_loop(text: str) -> str:
    """A cut answer up to the end of the first block that it ends in repeating; all of it where it ends in none.

    A block counts that covers CUT_LEAST characters and stands CUT_REPEATS times.
    """
    for period in filter(None, (_period(text, LEAST), _period(text, CUT_LEAST))):
        start = _start(text, period)
        if len(text) - start >= CUT_REPEATS * period:
            return text[: start + period]
    return text


def _period(text: str, least: int) -> int:
    """After how many characters the last `least` of a text stood there before; 0 where they did not.

    The text ends then in `least` more characters than that which repeat with this period, the shortest
    one. Linear: `str.find` is, whatever the text.
    """
    if len(text) <= least:
        return 0
    backwards = text[::-1]
    return max(0, backwards.find(backwards[:least], 1))


def _start(text: str, period: int) -> int:
    """Where the repetition begins that a text ends in: each character from there on stands again a period later."""
    low, size = len(text) - period, period
    while True:  # steps that double, so that all of them together read the text twice
        start = max(0, low - size)
        if text[start:low] != text[start + period : low + period]:
            break
        if start == 0:
            return 0
        low, size = start, size * 2
    while low - start > 1:  # the place lies between them; half of it is compared each time
        middle = (start + low) // 2
        if text[middle:low] == text[middle + period : low + period]:
            low = middle
        else:
            start = middle
    return low


class Watch:
    """Follows the events of a streamed answer and says when to hang up; what it can't read it leaves alone.

    `text_of` is the answer's text in one event. `end` is how many bytes of the body are kept then.
    """

    def __init__(self, text_of: Callable[[Any], str]) -> None:
        self.end = 0
        self._text_of = text_of
        self._rest = bytearray()
        self._searched = 0
        self._repetition = Repetition()

    def add(self, chunk: bytes) -> bool:
        """Hear more of the body: whether the answer is in a loop, so that the rest isn't worth waiting for."""
        self._rest += chunk
        place = 0
        while found := _END.search(self._rest, max(place, self._searched)):
            event = bytes(self._rest[place : found.end()])
            place = self._searched = found.end()
            self.end += len(event)
            if self._repetition.add(self._text(event)):
                return True
        del self._rest[:place]
        self._searched = max(0, len(self._rest) - 3)
        return False

    def _text(self, event: bytes) -> str:
        try:
            return "".join(self._text_of(parse(data.encode())) for data in events(event))
        except ReplyError:
            return ""  # whoever reads the whole of it tells what is wrong
