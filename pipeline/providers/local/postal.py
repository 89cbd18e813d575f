"""Postal addresses: lines with a postcode and a place, and the lines above them that belong to them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.spans import Span
from pipeline.providers.local.words import lexicon

_PLACE = r"[^\W\d_a-z][^\W\d_]*[.'’]?(?:[ \-/.'’]{1,2}(?!Cedex)[^\W\d_]+[.'’]?){0,4}"
#: 80333 München, D-63571 Gelnhausen, DE 12345 Berlin, 3500 MJ Utrecht, 75371 Paris Cedex 08, 1000-205 Lisboa.
_CODE_FIRST = re.compile(
    rf"(?:(?P<country>[A-Z]{{1,3}})[\- ])?(?P<code>\d{{4}} ?[A-Z]{{2}}\b|[A-Z]\d[\dW] ?[A-Z\d]{{4}}|\d{{4}}-\d{{3}}|\d{{2}}-\d{{3}}|\d{{3}} \d{{2}}|\d{{4,5}})"
    rf"[ ,]{{1,3}}(?P<city>{_PLACE})(?: Cedex(?: \d+)?)?"
)
#: Seattle, WA 98109-5210; Vancouver, BC V5K 0A1; London SW1A 1AA; Sydney NSW 2000; New Delhi - 110001.
_CODE_LAST = re.compile(
    rf"(?P<city>{_PLACE})(?:,? (?P<state>[A-Z]{{2,3}}|[A-Z][a-z]+))?[ ,\-–]{{1,3}}"
    r"(?P<code>\d{5}(?:-\d{4})?|[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|\d{4}(?=$|,)|(?<=[,\-–] )\d{6})"
    r"(?![\d.])"
)
#: What English streets end in: a house number before it is no postcode.
_ROAD = re.compile(
    r"\b(?:street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|way|court|ct|place|pl|square|sq|hwy)\b",
    re.IGNORECASE,
)
_BREAK = re.compile(r"\s*(?:[●•·|;]|\s[-–—]\s|,(?=\s))\s*")
#: A part with a digit, up to the next separator; a word with digits further on.
_NUMBERED = re.compile(r"[^●•·|;,\d]{0,40}\d")
_FURTHER = re.compile(r"[\s,;]+(?=[^\W\d_][^\d]{1,30}\d|(?:IBAN|BIC)\b)")
#: What a party's name is followed by on its line.
_DETAILS = frozenset(("iban", "bic", "routing", "account", "vat", "phone", "fax", "email"))
_LABEL = re.compile(r"^[^:\d]{2,30}:\s*(?=\S)")
_STREET = re.compile(r"^[^:]{2,40}\d{1,5} ?[a-zA-Z]?$|^\d{1,5}[ ,]+[^\W\d]")
_ONLY_NAME = re.compile(r"[^\W\d_]")
#: A block has at most this many lines above its postal line.
_MOST_LINES = 5


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One address: the parts that were found, each a span; `lines` are its segments, from the top.

    `street` is the line right above the postal one, `first` the first line below the name.
    """

    lines: tuple[Segment, ...]
    name: Span | None
    street: Span | None
    first: Span | None
    postcode: Span
    city: Span
    country: Span | None
    inline: bool

    @property
    def postal(self) -> Segment:
        """The segment with the postcode."""
        return self.postcode.segment

    @property
    def top(self) -> Segment:
        """Its first segment."""
        return self.lines[0]


def span_of(segment: Segment, start: int, end: int) -> Span:
    """A part of a segment, by places in its text, blanks and commas at its ends left out."""
    text = segment.text[start:end]
    kept = text.strip(" ,;·|\t\u00a0")
    start += text.find(kept) if kept else 0
    return Span(segment, segment.start + start, segment.start + start + len(kept), kept, kept)


def name_in(span: Span) -> Span:
    """A party's name without the address, numbers and contacts that follow it on its line.

    It ends at the first separator with digits in the part behind it, and before the label of an
    account, a telephone and the like.
    """
    text = span.text
    ends = [m.start() for m in _BREAK.finditer(text) if _NUMBERED.match(text, m.end())]
    words = lexicon()
    ends += [
        m.start()
        for m in _FURTHER.finditer(text)
        if any(unit.concepts & _DETAILS for unit in words.read(text[m.end() :][:25])[:1])
    ]
    end = min((end for end in ends if end), default=len(text))
    if end == len(text):
        return span
    start = span.start - span.segment.start
    kept = span_of(span.segment, start, start + end)
    return replace(span, end=kept.end, text=kept.text, value=kept.text)


def postal(text: str) -> re.Match[str] | None:
    """The postcode (`code`) and place (`city`) that a text begins with; the groups are None elsewhere."""
    return _CODE_FIRST.match(text) or _CODE_LAST.match(text)


def blocks(layout: Layout) -> list[Block]:
    """Every address of a document, in the order of its rows."""
    return [block for segment in layout.segments if (block := _block(segment)) is not None]


def _block(segment: Segment) -> Block | None:
    if not any(char.isdigit() for char in segment.text) or len(segment.text) > 250:
        return None
    match, offset = _postal(segment.text)
    if match is None:
        return None
    code = span_of(segment, offset + match.start("code"), offset + match.end("code"))
    city = span_of(segment, offset + match.start("city"), offset + match.end("city"))
    parts = _joined(list(_parts(segment, offset + match.start()))) or _row_parts(segment)
    lines = _above(segment)
    country = _country(segment, match, offset)
    if len(parts) >= 2:
        return Block((segment,), parts[0], parts[-1], parts[1], code, city, country, inline=True)
    street, rest = (parts[0], lines) if parts else (None, lines)
    if street is None and lines:
        street, rest = _whole(lines[-1]), lines[:-1]
    name = next((span for line in rest if (span := _name(line)) is not None), None)
    top = _first_line(rest, name) or street
    return Block((*lines, segment), name, street, top, code, city, country, inline=False)


def _first_line(lines: Sequence[Segment], name: Span | None) -> Span | None:
    """The first line after the name that can be of the address: no label, no number in brackets."""
    named = [
        number for number, line in enumerate(lines) if name is not None and line is name.segment
    ]
    after = lines[named[0] + 1 :] if named else ()
    plain = (
        line for line in after if ":" not in line.text and not line.text.startswith(("(", "#"))
    )
    return next((_whole(line) for line in plain), None)


def _postal(text: str) -> tuple[re.Match[str] | None, int]:
    """The postal part of a line: behind its label, at its start or after a separator."""
    starts = [0, *(match.end() for match in _BREAK.finditer(text))]
    if label := _LABEL.match(text):
        starts.append(label.end())
    for start in sorted(set(starts)):
        match = _CODE_FIRST.match(text[start:])
        if match and not _other(match, text[start:]):
            return match, start
    for start in sorted(set(starts)):
        match = _CODE_LAST.match(text[start:])
        if match and (
            match["state"] or len(match["code"]) > 5 or (start and len(match["code"]) == 5)
        ):
            return match, start
    return None, 0


def _other(match: re.Match[str], text: str) -> bool:
    """Whether what looks like a code and a place is rather a number with a noun and more."""
    rest = text[match.end() :].strip()
    bare = match["code"].isdigit() and not match["country"]
    year = bare and len(match["code"]) == 4 and match["code"][:2] in {"19", "20"}
    short = len(match["city"]) < 3 or _ROAD.search(match["city"]) is not None
    return bool(year or short or (rest and rest[0] not in ",;-–(●•·|" and bare)) or bool(
        re.match(r"\d", rest)
    )


def _parts(segment: Segment, end: int) -> Iterator[Span]:
    """The parts of a line before its postal part."""
    start = 0
    if label := _LABEL.match(segment.text[:end]):
        start = label.end()
    for match in _BREAK.finditer(segment.text, start, end):
        if segment.text[start : match.start()].strip():
            yield span_of(segment, start, match.start())
        start = match.end()
    if segment.text[start:end].strip(" ,;-–●•·|"):
        yield span_of(segment, start, end)


def _joined(parts: list[Span]) -> list[Span]:
    """The parts with a street and its number as one, on whichever side of the comma it stands."""
    for at in range(len(parts) - 1):
        first, second = parts[at], parts[at + 1]
        number = any(not any(char.isalpha() for char in part.text[1:]) for part in (first, second))
        if number and first.segment is second.segment:
            segment = first.segment
            whole = span_of(segment, first.start - segment.start, second.end - segment.start)
            return _joined([*parts[:at], whole, *parts[at + 2 :]])
    return parts


def _row_parts(segment: Segment) -> list[Span]:
    """The parts of a sender's line that is set so widely that each is a segment."""
    parts: list[Span] = []
    dot = segment.left
    while (
        dot is not None
        and dot.text in {"●", "•", "·", "|", "-", "–"}
        and dot.left is not None
        and len(parts) < 4
    ):
        parts.insert(0, _whole(dot.left))
        dot = dot.left.left
    return parts if len(parts) > 1 else []


def is_address(text: str) -> bool:
    """Whether a line can be a street with its number, or a postcode with its place."""
    return _STREET.search(text) is not None or _postal(text[:120])[0] is not None


def _above(segment: Segment) -> tuple[Segment, ...]:
    """The lines of a block above its postal line: same left edge, no gap."""
    lines: list[Segment] = []
    at, usual = segment, 0.9
    while len(lines) < _MOST_LINES and (over := at.above) is not None:
        gap = (at.box[1] - over.box[3]) / max(at.size, over.size)
        flush = abs(over.box[0] - at.box[0]) < 2
        aligned = (
            abs(over.box[0] - at.box[0]) <= 1.2 * at.size or _LABEL.match(over.text) is not None
        )
        centred = abs(over.box[0] + over.box[2] - at.box[0] - at.box[2]) <= 1.5 * at.size
        if flush and not lines and _STREET.search(over.text):
            usual = 2.4  # widely spaced lines
        if gap > usual or not (aligned or centred):
            break
        usual = max(0.9, gap * 1.2)
        lines.insert(0, over)
        at = over
    return tuple(lines)


def _whole(line: Segment) -> Span:
    label = _LABEL.match(line.text)
    return span_of(line, label.end() if label else 0, len(line.text))


def _name(line: Segment) -> Span | None:
    """The name that a line of a block is, or None for labels, numbers and the like."""
    units = lexicon().read(line.text)
    label = _LABEL.match(line.text)
    if label:
        said = {concept for unit in lexicon().read(label.group()) for concept in unit.concepts}
        if not said & {"name", "company", "person", *lexicon().roles}:
            return None
    elif line.text.rstrip().endswith(":") or (units and all(unit.concepts for unit in units)):
        return None
    found = _whole(line)
    if found.text.startswith(("(", "*")):
        return None
    letters = len(_ONLY_NAME.findall(found.text))
    digits = sum(char.isdigit() for char in found.text)
    return found if letters >= 2 and digits < letters and len(found.text) <= 90 else None


def _country(segment: Segment, match: re.Match[str], offset: int) -> Span | None:
    if match.groupdict().get("country"):
        return span_of(segment, offset + match.start("country"), offset + match.end("country"))
    rest = segment.text[offset + match.end() :]
    after = re.match(r"[\s,\-–]{1,3}(?P<country>[A-Z]{2}|[^\W\d_][^\d,;]{2,30})$", rest)
    if after and (len(after["country"]) == 2 or lexicon().is_country(after["country"])):
        start = offset + match.end() + after.start("country")
        return span_of(segment, start, start + len(after["country"]))
    below = segment.below
    if (
        below is not None
        and lexicon().is_country(below.text)
        and below.box[1] - segment.box[3] < segment.size
    ):
        return span_of(below, 0, len(below.text))
    return None
