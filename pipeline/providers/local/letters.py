"""What a letter says by its form: place and date, the line above the greeting, the name below the close."""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.clauses import prose
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.parties import Parties
from pipeline.providers.local.postal import is_address, span_of
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.words import lexicon

#: Worth of what stands in its place of a letter: beside the date, below the close, above the greeting.
_PLACE, _DATE, _SIGNED, _SUBJECT, _REFERENCE = 0.86, 0.8, 0.88, 0.82, 0.66
#: Worth of an address whose name has signed as the sender's, and of the other one as the recipient's.
_OWN, _OTHER = 0.9, 0.86
#: The last date below a heading for signatures.
_SIGNATURES = 0.75
_LONGEST_SUBJECT, _LONGEST_POSTAL, _ROWS_ABOVE, _ROWS_BELOW = 160, 5, 3, 7
_NAME = re.compile(
    r"(?:[^\W\d_a-z][\w.'’\-]*)(?: (?:[^\W\d_a-z][\w.'’\-]*|de|da|van|von|der|den|del|di|du|la|le|zu)){1,4}"
)
_SIGNS = re.compile(
    r"^(?:signed|signatures?|unterschrift(?:en)?|unterzeichnet|fait à|signature|firmas?|firmado|letto|ondertekening|handtekening|assinaturas?)\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Greetings, closes, and a place before a date."""
    words = prose()["letter"]

    def anyone(key: str) -> str:
        return "|".join(re.escape(part.strip()) for part in words[key].split(","))

    return (
        re.compile(rf"(?:{anyone('salutations')})(?:[ ,.:].{{0,80}})?[,:!]?$", re.IGNORECASE),
        re.compile(rf"(?:{anyone('closings')})(?!\w)", re.IGNORECASE),
        re.compile(
            rf"(?P<place>[^\W\d_a-z][^\W\d_]+(?:[ \-'’.](?:[^\W\d_a-z][^\W\d_]*|am|an|der|de|des|du|en|sur|sous|la|le|lès|les|di|del|della|da|do|aan|den|op|el)){{0,5}})\s?,? (?:(?:{anyone('dated')})[ ']?)?$"
        ),
    )


def claims(layout: Layout, spans: Spans, asks: Sequence[Ask], parties: Parties) -> Iterator[Claim]:
    """Claims for the place, date, subject, reference and signature of a letter."""
    greeting = next((s for s in layout.segments if s.left is None and _greets(s)), None)
    close = _close(layout) if greeting is not None else None
    dated = list(_dated(spans))
    writers = _writers(close, layout, parties)
    for ask in asks:
        told = frozenset().union(*(unit.concepts for unit in ask.own)) if ask.own else frozenset()
        if ask.role in writers and ask.kind in {"party", "organisation", "person"}:
            for name, worth in writers[ask.role]:
                yield from claims_of(ask, name, worth)
        elif ask.kind == "date":
            yield from _dates(ask, dated, layout, spans)
        elif "city" in told and not ask.role and len(ask.own) == 1:
            for place, _ in dated[:1]:
                yield from claims_of(ask, place, _PLACE)
        elif "signer" in told and ask.textual and close is not None:
            yield from _signed(ask, close, layout)
        elif greeting is not None and "subject" in told | _concept(ask):
            yield from _subject(ask, greeting, layout)
        elif greeting is not None and ask.meaning == "reference":
            yield from _reference(ask, greeting, layout, spans)


def _concept(ask: Ask) -> frozenset[str]:
    return frozenset({ask.meaning}) if ask.meaning else frozenset()


def _greets(segment: Segment) -> bool:
    return len(segment.text) < 100 and _patterns()[0].match(segment.text) is not None


def _close(layout: Layout) -> Segment | None:
    found = (
        s for s in reversed(layout.segments) if len(s.text) < 120 and _patterns()[1].match(s.text)
    )
    return next(found, None)


def _dated(spans: Spans) -> Iterator[tuple[Span, Span]]:
    """Lines that are a place and a date (`Heide, 02.09.2024`): the place and the date."""
    for span in spans.of("date"):
        segment = span.segment
        before = segment.text[: span.start - segment.start]
        rest = segment.text[span.end - segment.start :].strip(" .")
        match = _patterns()[2].match(before) if not rest and len(before) < 50 else None
        if match and (not lexicon().read(match["place"]) or not _known(match["place"])):
            yield span_of(segment, *match.span("place")), span


def _known(text: str) -> bool:
    """Whether all words of a text are words of labels: `Invoice date, 5 March` names no place."""
    return all(unit.concepts for unit in lexicon().read(text))


def _dates(
    ask: Ask, dated: Sequence[tuple[Span, Span]], layout: Layout, spans: Spans
) -> Iterator[Claim]:
    if ask.meaning == "issue_date":
        for _, span in dated[:1]:
            yield from claims_of(ask, span, _DATE * span.sure_for(ask))
    if not any(unit.concepts & {"signature", "signer"} for unit in ask.own):
        return
    start = next((s.row for s in layout.segments if _SIGNS.match(s.text)), None)
    found = [span for _, span in dated[-1:]]
    if start is not None:
        found += [span for span in spans.of("date") if span.segment.row > start]
    latest = max(
        found,
        key=lambda span: span.value if isinstance(span.value, date) else date.min,
        default=None,
    )
    if latest is not None:
        yield from claims_of(ask, latest, _SIGNATURES)


def _writers(
    close: Segment | None, layout: Layout, parties: Parties
) -> dict[str, list[tuple[Span, float]]]:
    """Who wrote and to whom, where the name of one of the addresses signs the letter."""
    signed = next(_signatures(close, layout), None) if close is not None else None
    blocks = {id(b): b for found in parties.blocks.values() for b, _ in found if b.name is not None}
    names = [block.name for block in blocks.values() if block.name is not None]
    own = [
        name
        for name in names
        if signed is not None and name.text.casefold() == signed.text.casefold()
    ]
    if not own:
        return {}
    others = [name for name in names if name.text.casefold() != own[0].text.casefold()]
    first = sorted(others, key=lambda name: (name.page, name.start))[:1]
    return {"sender": [(own[0], _OWN)], "recipient": [(name, _OTHER) for name in first]}


def _signed(ask: Ask, close: Segment, layout: Layout) -> Iterator[Claim]:
    for span in _signatures(close, layout):
        yield from claims_of(ask, span, _SIGNED)


def _signatures(close: Segment, layout: Layout) -> Iterator[Span]:
    """The first name below the close."""
    for row in layout.rows[close.row + 1 : close.row + 1 + _ROWS_BELOW]:
        match = _NAME.match(row[0].text)
        if match and (match.end() == len(row[0].text) or row[0].text[match.end()] in ",("):
            yield span_of(row[0], 0, match.end())
            return


def _above(greeting: Segment, layout: Layout) -> Segment | None:
    """The line right above a greeting, if it can be a subject."""
    for row in reversed(layout.rows[max(0, greeting.row - _ROWS_ABOVE) : greeting.row]):
        text = row[0].text
        fits = len(row) == 1 and 2 < len(text) <= _LONGEST_SUBJECT and len(text.split()) > 1
        postal = is_address(text) and len(text.split()) <= _LONGEST_POSTAL
        return row[0] if fits and row[0].page == greeting.page and not postal else None
    return None


def _subject(ask: Ask, greeting: Segment, layout: Layout) -> Iterator[Claim]:
    """The line above the greeting, or the first below it that stands alone."""
    line = _above(greeting, layout)
    if line is None or _is_dateline(line):
        line = _below(greeting, layout)
    if line is not None and ":" not in line.text[:25]:
        yield from claims_of(ask, span_of(line, 0, len(line.text)), _SUBJECT)


def _is_dateline(line: Segment) -> bool:
    short = sum(char.isdigit() for char in line.text) > 3 and len(line.text.split()) < 5
    return short or ":" in line.text[:20]


def _below(greeting: Segment, layout: Layout) -> Segment | None:
    """A short line under the greeting with room above and below: English letters put the subject there."""
    below = greeting.below
    if below is None or below.below is None or len(below.text) > 100:
        return None
    gap = (below.below.box[1] - below.box[3]) / below.size
    alone = gap > 0.6 and below.text[-1] not in ".,;:" and len(below.text.split()) > 1
    return below if alone else None


def _reference(ask: Ask, greeting: Segment, layout: Layout, spans: Spans) -> Iterator[Claim]:
    """A code in the subject line."""
    line = _above(greeting, layout)
    if line is None:
        return
    days = " ".join(day.text for day in spans.within(line, "date"))
    for span in spans.within(line, "identifier"):
        if len(span.text) > 4 and span.text not in days:
            yield from claims_of(ask, span, _REFERENCE)
