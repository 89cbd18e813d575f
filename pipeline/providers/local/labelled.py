"""Claims from labels: to the left in the row, above in the column, on the line before."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.fitting import OPEN, fit
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.matcher import Matcher, tail
from pipeline.providers.local.parties import OWNED, Parties
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.words import lexicon

#: What a label is worth by where it stands. Inline is within the same run of words.
_INLINE, _LEFT, _ROW, _ABOVE, _HEADER, _BOTH, _RIGHT = 1.0, 0.97, 0.88, 0.88, 0.75, 0.86, 0.55
#: The columns of a till are its articles' and its taxes', not its totals'.
_TILL_COLUMN = 0.65
#: A till prints amounts at the right edge: one with another to its right is a cell of a table.
_WITHIN = 0.85
_LABEL = re.compile(r"(?P<label>[^:]{1,80}):(?:[*`]*\s+[*`]*(?P<rest>\S.*)|\s*)$", re.DOTALL)
_NEXT_LABEL = re.compile(r"\s+(?:\S+\s+){0,2}?\S+:(?=\s|$)")
_CHOICES = frozenset(("enum", "check"))
#: A prefix without a colon must say this much to be a label, and is worth a little less.
_CLEAR, _UNMARKED = 0.8, 0.8
#: Tills print tax numbers without their country's letters: so many digits at least, a little less sure.
_FEWEST_DIGITS, _UNFORMED = 7, 0.9
#: A label that says so well what an amount is, names it.
_NAMED = 0.6
_FIGURE = re.compile(r"\d")
_LAST_FIGURE = re.compile(r"\d[\d.,' ]*[^\d\s%]{0,3}$")
_WORD = re.compile(r"\S+")
_MOST_PREFIX = 5
_TITLE_ROWS = 12
_LONGEST_LABEL, _LONGEST_AFTER = 120, 40
_SAYS = re.compile(r"[^\W\d_]|[#№]")


class Labelled:
    """Reads labels in a layout for the asks of a plan."""

    def __init__(
        self, layout: Layout, spans: Spans, parties: Parties, asks: Sequence[Ask], matcher: Matcher
    ) -> None:
        self._layout = layout
        self._parties = parties
        self._spans = spans
        self._asks = frozenset(asks)
        self._matcher = matcher
        self._headers: dict[Segment, str] = {}
        self._places: dict[Segment, tuple[tuple[str, float] | None, tuple[str, float]]] = {}

    def claims(self) -> Iterator[Claim]:
        """Every claim that a label supports."""
        kinds = {ask.kind for ask in self._asks}
        for kind in sorted(kinds - OPEN - _CHOICES | kinds & {"identifier"}):
            for span in self._spans.of(kind):
                yield from self._of_span(span, kind)
        if "vat" in kinds and self._layout.narrow:
            for span in self._spans.of("identifier"):
                if sum(char.isdigit() for char in span.text) >= _FEWEST_DIGITS:
                    yield from self._of_span(replace(span, sure=_UNFORMED), "vat")
        if kinds & OPEN:
            for segment in self._layout.segments:
                yield from self._of_segment(segment)

    def amounts(self) -> Iterator[tuple[Span, str]]:
        """Every amount with the meaning (of labels.toml) that its label names best, or an empty text."""
        for span in self._spans.of("money"):
            named = [
                (score * worth, name)
                for label, worth in self._labels(span)
                for name, score in self._matcher.amounts(label)
            ]
            score, name = max(named, default=(0.0, ""))
            yield span, name if score >= _NAMED else ""

    def _of_span(self, span: Span, kind: str) -> Iterator[Claim]:
        if kind == "identifier" and (span.page, span.start) in self._parties.postcodes:
            return
        scores: dict[Ask, float] = {}
        for label, worth in self._labels(span):
            for ask, score in self._matcher.match(label).items():
                if ask.kind == kind and ask in self._asks:
                    weighed = score * worth * self._in_role(ask, span.segment, label)
                    scores[ask] = max(scores.get(ask, 0.0), weighed)
        for ask, score in scores.items():
            yield from claims_of(ask, span, score * span.sure_for(ask))

    def _in_role(self, ask: Ask, segment: Segment, label: str) -> float:
        """What the region of a party does to a label in it: `Name:` is the seller's under `Seller`."""
        if ask.kind == "title" and segment.row > _TITLE_ROWS:
            return 0.5  # below, `Title:` is a person's
        role = self._parties.role_at(segment)
        if ask.role:
            if role:
                return 1.05 if role == ask.role else 0.35
            told = any(ask.role in unit.concepts for unit in lexicon().read(label))
            return 1.0 if told else 0.8
        return 0.8 if role and ask.kind in OWNED else 1.0

    def _labels(self, span: Span) -> Iterator[tuple[str, float]]:
        """The texts that may label a span, each with the worth of its place."""
        segment = span.segment
        before = segment.text[: span.start - segment.start]
        inline = _inline(before)
        if inline:
            yield inline, _INLINE
            if segment.left is not None and not segment.left.figure:
                yield f"{tail(segment.left.text)} {inline}", _LEFT
            if before.rstrip().endswith(":"):
                return
        row, header = self._around(segment)
        if row and not inline:
            within = self._layout.narrow and segment.right is not None and segment.right.figure
            yield row[0], row[1] * (_WITHIN if within else 1.0)
            yield f"{row[0]} {header[0]}", _BOTH
        if header[0]:
            yield header
        behind = segment.text[span.end - segment.start :][:_LONGEST_AFTER]
        if segment.right is not None and not (behind or inline or row):
            behind = segment.right.text[:_LONGEST_AFTER]
        if _SAYS.search(behind):
            yield behind, _RIGHT

    def _around(self, segment: Segment) -> tuple[tuple[str, float] | None, tuple[str, float]]:
        """The label in the row of a segment, if there is one, and that of its column, which may be empty."""
        found = self._places.get(segment)
        if found is None:
            header = self._header(segment)
            column = _TILL_COLUMN if self._layout.narrow else 1.0
            near = header and segment.above is not None and tail(segment.above.text) in header
            found = self._places[segment] = (
                _row_label(segment),
                (header, column * (_ABOVE if near else _HEADER)),
            )
        return found

    def _header(self, segment: Segment) -> str:
        """The label at the top of a segment's column: one or two lines of text above the numbers."""
        chain: list[Segment] = []
        at: Segment | None = segment
        while at is not None and at not in self._headers and len(chain) < 200:
            chain.append(at)
            at = at.above
            if at is not None and not at.figure:
                break
        if at is None:
            header = ""
        elif at in self._headers and chain and at.figure:
            header = self._headers[at]
        else:
            header = tail(at.text)
            over = at.above
            close = over is not None and at.box[1] - over.box[3] < 0.7 * at.size
            if over is not None and close and not over.figure and ":" not in over.text:
                header = f"{over.text[-60:]} {header}"
        for one in chain:
            self._headers[one] = header
        return header

    def _of_segment(self, segment: Segment) -> Iterator[Claim]:
        """What stands behind, beside or below a label, for kinds that have no form."""
        for label, found, worth in labelled_texts(segment):
            for ask, score in self._matcher.match(label).items():
                if ask in self._asks and ask.kind in OPEN:
                    weighed = score * worth * self._in_role(ask, segment, label)
                    yield from self._claim(ask, found, weighed)
        yield from self._prefixed(segment)

    def _prefixed(self, segment: Segment) -> Iterator[Claim]:
        """A label without a colon: the first words, when they say clearly what follows."""
        words = list(_WORD.finditer(segment.text[:120]))[: _MOST_PREFIX + 1]
        if not words or not self._matcher.begins(words[0].group()):
            return
        for count in range(1, min(len(words), _MOST_PREFIX + 1)):
            if words[count - 1].group().endswith(":"):
                return
            label = segment.text[: words[count - 1].end()]
            rest = _part(segment, words[count].start(), len(segment.text))
            for ask, score in self._matcher.match(label).items():
                if score >= _CLEAR and ask in self._asks and len(rest.text.split()) <= 8:
                    weighed = score * _UNMARKED * self._in_role(ask, segment, label)
                    yield from self._claim(ask, rest, weighed)

    def _claim(self, ask: Ask, found: Span, score: float) -> Iterator[Claim]:
        fitted = fit(ask, found)
        if fitted is not None and not self._is_label(fitted.text):
            yield from claims_of(ask, fitted, score * fitted.sure)

    def _is_label(self, text: str) -> bool:
        """Whether a supposed value is itself a label."""
        units = lexicon().read(text)
        if text.endswith(":") or (
            units and len(units) < 4 and all(unit.concepts for unit in units)
        ):
            return True
        return len(text) < 60 and max(self._matcher.match(text).values(), default=0.0) >= 0.9


def _row_label(segment: Segment) -> tuple[str, float] | None:
    """The nearest text to the left in the row, figures passed over."""
    worth, other = _LEFT, segment.left
    for _ in range(6):
        if other is None:
            return None
        if other.figure:
            worth = _ROW
        elif len(other.text) > 1:
            told = _whole_of_share(other.text)
            for label in (tail(told), _head(told[:_LONGEST_LABEL])):
                if lexicon().says(label):
                    return label, worth
        other = other.left
    return None


def _inline(before: str) -> str:
    """The label within the run of words, if what stands before a value says anything."""
    if not _SAYS.search(before[-_LONGEST_LABEL:]) or _takes_share(before[-_LONGEST_LABEL:]):
        return ""
    return next(
        (text for text in (tail(before), _head(before[-_LONGEST_LABEL:])) if lexicon().says(text)),
        "",
    )


def _takes_share(before: str) -> bool:
    """Whether a text ends in `20 % of`: what follows is what the share is taken of."""
    words = before.casefold().split()
    return "%" in before and bool(words) and words[-1] in lexicon().bases


def _whole_of_share(text: str) -> str:
    """A label without what a share is taken of: `VAT 20 %` of `VAT 20 % on 100.00`."""
    match = _LAST_FIGURE.search(text)
    if match is None or not _takes_share(text[: match.start()]):
        return text
    return text[: match.start()].rstrip().rpartition(" ")[0]


def _head(text: str) -> str:
    """What stands before the first figure: `VAT 5 % on 120.00` is about VAT."""
    return _FIGURE.split(text, maxsplit=1)[0]


def labelled_texts(segment: Segment) -> Iterator[tuple[str, Span, float]]:
    """Label, text and worth: `label: text`, or a label with its text to the right or below."""
    match = _LABEL.match(segment.text)
    if match and match["rest"]:
        start = match.start("rest")
        cut = _NEXT_LABEL.search(segment.text, start)
        yield (
            match["label"],
            _part(segment, start, cut.start() if cut else len(segment.text)),
            _INLINE,
        )
        return
    label = match["label"] if match else segment.text
    if len(label) > 80:
        return
    sure = 1.0 if match else 0.9
    if segment.right is not None:
        yield label, _whole(segment.right), _LEFT * sure
    below = segment.below
    if below is not None and below.above is segment:
        gap = below.box[1] - segment.box[3]
        beside = 0.8 if segment.right is not None and match else 1.0
        if gap < 2.5 * segment.size:
            yield label, _whole(below), _ABOVE * sure * beside


def _whole(segment: Segment) -> Span:
    return _part(segment, 0, len(segment.text))


def _part(segment: Segment, start: int, end: int) -> Span:
    text = segment.text[start:end]
    kept = text.strip(" \t\u00a0.…_;,|") if text.count(".") > 3 else text.strip(" \t\u00a0;,|")
    start += text.find(kept) if kept else 0
    return Span(segment, segment.start + start, segment.start + start + len(kept), kept, kept)
