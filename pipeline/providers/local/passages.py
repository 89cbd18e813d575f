"""Passages: the paragraph under (or behind) a heading such as Abstract or Summary, as one text."""

from collections.abc import Iterator, Sequence

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.matcher import Matcher
from pipeline.providers.local.spans import Span

_WORTH = 0.86
#: A heading names the passage this well, and has at most so many characters.
_CLEAR, _LONGEST_HEADING = 0.8, 40
#: A passage has at most so many lines; a gap of so much of their height ends it.
_MOST_LINES, _GAP = 60, 0.9
#: Text this much bigger is the next heading.
_BIGGER = 1.08


def claims(layout: Layout, asks: Sequence[Ask], matcher: Matcher) -> Iterator[Claim]:
    """Claims for asks of prose, on the lines that follow their heading without a gap."""
    wanted = [ask for ask in asks if ask.kind == "prose"]
    for segment in layout.segments if wanted else ():
        if len(segment.text) > _LONGEST_HEADING or segment.right is not None:
            continue
        scores = matcher.match(segment.text)
        for ask in wanted:
            if scores.get(ask, 0.0) >= _CLEAR and (lines := list(_under(segment, layout))):
                start, end = lines[0].start, lines[-1].end
                text = layout.pages[segment.page].text[start:end]
                span = Span(lines[0], start, end, text, text)
                yield from claims_of(ask, span, _WORTH * scores[ask])


def _under(heading: Segment, layout: Layout) -> Iterator[Segment]:
    """The lines below a heading that follow each other on the page and in its text."""
    last = heading
    text = layout.pages[heading.page].text
    for _ in range(_MOST_LINES):
        line = last.below
        if line is None or line.page != heading.page or text[last.end : line.start].strip():
            return
        gap = (line.box[1] - last.box[3]) / line.size
        first = last is heading
        if (
            (gap > _GAP and not first)
            or gap > 3 * _GAP
            or (not first and line.size > _BIGGER * last.size)
        ):
            return
        yield line
        last = line
