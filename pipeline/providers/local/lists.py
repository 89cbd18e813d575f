"""Lists: authors below a title, all values of a telling kind, what stands behind or under a label."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from pipeline.providers.local.asks import Ask, Plan, Units
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.fitting import OPEN, fit, in_cell
from pipeline.providers.local.headline import Head
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.matcher import Matcher
from pipeline.providers.local.postal import span_of
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.words import lexicon

#: A label must name a list this well.
_CLEAR = 0.62
#: A list under a heading has at most this many lines.
_LONGEST = 2000
_TELLING = frozenset(("email", "url", "phone", "iban", "doi", "vat"))
_LABEL = re.compile(r"(?P<label>[^:]{2,80}):\s*(?P<rest>.*)$", re.DOTALL)
_WORD = re.compile(r"\S+")
#: With a country's or an area's sign.
_DIALLED = re.compile(r"\+\d|00\d|\(0?\d{2,4}\) ?\d")
_BULLET = re.compile(r"^(?:[•●▪◦‣*\-–—✓✔]|\(?\d{1,2}[.)]|[a-z][.)])\s+")


def claims(
    layout: Layout, spans: Spans, head: Head, plan: Plan, matcher: Matcher
) -> Iterator[tuple[str, list[Claim]]]:
    """For each list of values its pointer and items, in the order of the document."""
    for ask in plan.lists:
        items = _items(ask, layout, spans, head, matcher)
        yield ask.pointer, _once(items)


def people(head: Head, columns: Sequence[Ask]) -> list[dict[str, Claim]]:
    """The rows of a table that lists authors, if its columns are parts of names."""
    parts = [(ask, _name_part(ask.own)) for ask in columns]
    if not any(part in {"last", "name"} for _, part in parts) or not _of_authors(columns):
        return []
    rows = []
    for name in head.names:
        row: dict[str, Claim] = {}
        for ask, part in parts:
            for claim in claims_of(ask, _part(name, part), 0.8) if part else ():
                row[ask.pointer] = claim
        rows.append(row)
    return rows


def _of_authors(columns: Sequence[Ask]) -> bool:
    named = columns[0].pointer.split("/")[-3] if columns else ""
    return any("author" in unit.concepts for unit in lexicon().read_name(named))


def _name_part(own: Units) -> str:
    told = frozenset().union(*(unit.concepts for unit in own)) if own else frozenset()
    return next(
        (part for part in ("last", "first", "name", "full", "author") if part in told), ""
    ).replace("full", "name")


def _part(name: Span, part: str) -> Span:
    """The family name with its particles, what stands before it, or the whole."""
    words = list(_WORD.finditer(name.text))
    cut = len(words) - 1
    while cut > 1 and words[cut - 1].group() in lexicon().particles:
        cut -= 1
    whole = (0, len(name.text))
    ends = {"last": (words[cut].start(), whole[1]), "first": (0, words[cut - 1].end())}
    start, end = ends.get(part, whole) if len(words) > 1 else whole
    text = name.text[start:end]
    return Span(name.segment, name.start + start, name.start + end, text, text)


def _items(ask: Ask, layout: Layout, spans: Spans, head: Head, matcher: Matcher) -> Iterator[Claim]:
    if ask.kind == "person" and any("author" in unit.concepts for unit in ask.own):
        for name in head.names:
            yield from claims_of(ask, name, 0.8)
    elif ask.kind in _TELLING and not ask.role:
        for span in spans.of(ask.kind):
            if ask.kind != "phone" or _is_phone(span):
                yield from claims_of(ask, span, 0.7)
    else:
        yield from _labelled(ask, layout, spans, matcher)


def _is_phone(span: Span) -> bool:
    """Whether a row of digits says itself that it is a phone number: years and pages look like some."""
    segment = span.segment
    before = segment.text[: span.start - segment.start]
    labels = [before, *([segment.left.text] if segment.left is not None and not before else [])]
    told = any("phone" in unit.concepts for text in labels for unit in lexicon().read(text[-40:]))
    return told or _DIALLED.match(span.text) is not None


def _labelled(ask: Ask, layout: Layout, spans: Spans, matcher: Matcher) -> Iterator[Claim]:
    """The items behind or under the first label that clearly names the list."""
    for segment in layout.segments:
        match = _LABEL.match(segment.text[:2000])
        label = match["label"] if match else segment.text
        if len(label) > 80 or (score := matcher.match(label).get(ask, 0.0)) < _CLEAR:
            continue
        start = match.start("rest") if match and match["rest"].strip() else 0
        found = list(_of_kind(ask, segment, start, spans)) if start else []
        for line in () if start else _under(segment):
            found += _of_kind(ask, line, 0, spans)
        for span in found:
            yield from claims_of(ask, span, score * 0.9)
        if found:
            return


def _of_kind(ask: Ask, segment: Segment, start: int, spans: Spans) -> Iterator[Span]:
    """The items of a line from a place on that are of the ask's kind."""
    if ask.kind in OPEN:
        fitted = (fit(ask, item) for item in _split(segment, start))
        yield from (span for span in fitted if span is not None)
    else:
        yield from (
            span for span in in_cell(ask, segment, spans) if span.start >= segment.start + start
        )


def _under(heading: Segment) -> Iterator[Segment]:
    """The lines right below a heading in its column, up to a gap."""
    at = heading
    for _ in range(_LONGEST):
        below = at.below
        if (
            below is None
            or below.box[1] - at.box[3] > 1.2 * at.size
            or below.text.rstrip().endswith(":")
        ):
            return
        if below.size > 1.1 * heading.size and at is not heading:
            return
        yield below
        at = below


@lru_cache(maxsize=1)
def _between() -> re.Pattern[str]:
    """What stands between the items of a list."""
    return re.compile(rf"\s*[,;•·|]\s*|\s+(?:{'|'.join(sorted(lexicon().joins))})\s+")


def _split(segment: Segment, start: int) -> Iterator[Span]:
    """The items of a line: one for a bullet, else the parts between commas."""
    if bullet := _BULLET.match(segment.text[start:]):
        yield span_of(segment, start + bullet.end(), len(segment.text))
        return
    for mark in (*_between().finditer(segment.text, start), None):
        end = mark.start() if mark else len(segment.text)
        if segment.text[start:end].strip(" .,;"):
            yield span_of(segment, start, end)
        start = mark.end() if mark else end


def _once(items: Iterator[Claim]) -> list[Claim]:
    kept: dict[str, Claim] = {}
    for claim in items:
        kept.setdefault(str(claim.value).casefold(), claim)
    return list(kept.values())
