"""The head of a till receipt: the shop's name and the lines of its address, above what was bought."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.postal import is_address, span_of
from pipeline.providers.local.spans import Span
from pipeline.providers.local.words import lexicon

#: What a row of the head is: a text, a line of an address, a number or contact of the shop, what
#: kind of paper it is, or nothing of the kind.
Kind = Literal["text", "address", "note", "title", "other"]

#: The head stands in so many rows from the top; its lines follow each other within such a gap.
#: An amount above the first of them is noise.
_MOST_ROWS, _GAP, _FEWEST_ROWS = 16, 1.3, 2
_LONGEST_NAME, _LONGEST_ADDRESS = 80, 300
#: A title has so many words at most, a number of the shop so many digits at least or words at most.
_LONGEST_TITLE, _FEWEST_DIGITS, _LONGEST_NOTE = 4, 5, 3
#: Worth of a name: with its legal form, above an address, alone at the top.
_FORMAL, _PLACED, _LONE = 0.92, 0.86, 0.62
#: Worth of an address: with a postcode, with a street, between the name and a telephone number.
_POSTAL, _STREET, _BETWEEN = 0.92, 0.86, 0.72
_NOTES = frozenset(
    ("phone", "fax", "mobile", "email", "website", "vat", "tax", "register", "id", "till")
)
_TITLES = frozenset(("invoice", "receipt", "credit", "order"))
_OF_ADDRESS = frozenset(("number", "address", "street", "city", "postcode", "country", "state"))
_CODE = re.compile(r"\s*[(<\[](?=[^\s()]{0,12}\d)(?:(?![^\W\d_]{3})[\w\-()<>\[\].:/ ]){3,25}$")
_ONLY_CODE = re.compile(r"\W*[(<\[]?[\w.:# ]{0,14}?(?=[\w\-/]*\d)[\w\-/ ]{3,20}[)>\]]\W*")
_PAIR = re.compile(r"(?P<label>[^:]{2,40}):\s*(?P<value>\S.*)")
_DATE = re.compile(r"\d{1,4}[./\-]\d{1,2}[./\-]\d{2,4}|\d{1,2}:\d\d")
_AMOUNT = re.compile(r"\d[.,]\d\d(?!\d)")
_PLACE = re.compile(
    r"(?<![\d\-/])(?P<code>\d{5}(?!\d)|\d{4}-\d{3}|\d{4}(?: [A-Z]{2}\b|(?= ?[^\W\d_]{3}))(?!\d))[\s,]{0,2}"
    r"(?P<city>[^\W\d_][^\d,;()]{1,30}?)\s*(?=$|[,;(.])"
)
_NUMBER = re.compile(r"\d+")
_FIVE = re.compile(r"(?<![\d\-])\d{4,6}(?![\d\-])")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A row of the head with what it is; `start:end` of the page's text when its words follow on."""

    segments: tuple[Segment, ...]
    kind: Kind

    @property
    def text(self) -> str:
        """Its words."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def top(self) -> float:
        """Its upper edge."""
        return min(segment.box[1] for segment in self.segments)

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return max(segment.box[3] for segment in self.segments)

    @property
    def size(self) -> float:
        """The height of its words."""
        return max(segment.size for segment in self.segments)


@dataclass(slots=True)
class Letterhead:
    """The shop's name and address with their worth (0..1), and the segments that belong to it.

    `parts` are the street, postcode and city of the address, as far as its lines say them.
    """

    name: Span | None = None
    name_worth: float = 0.0
    address: Span | None = None
    address_worth: float = 0.0
    segments: frozenset[Segment] = frozenset()
    parts: dict[str, Span] = field(default_factory=dict)


def read(layout: Layout, others: Collection[Segment] = ()) -> Letterhead:
    """The letterhead of a narrow document; an empty one where there is none.

    Segments of `others` stand under the heading of a party and are none of it.
    """
    if not layout.narrow:
        return Letterhead()
    groups = _groups(list(_rows(layout, others)))
    anchored = [n for n, group in enumerate(groups) if any(row.kind == "address" for row in group)]
    named = [n for n, group in enumerate(groups) if any(row.kind == "text" for row in group)]
    if not anchored and not named:
        return Letterhead()
    at = (anchored or named)[0]
    group = groups[at]
    first = next((n for n, row in enumerate(group) if row.kind == "address"), len(group))
    names = [row for row in group[:first] if row.kind == "text"]
    if not names:
        names = [row for earlier in groups[:at] for row in earlier if row.kind == "text"][-1:]
    if not names:  # a name that begins with a number
        names, first = [group[first]], first + 1
    return _made(layout, group, names, first)


def _made(layout: Layout, group: Sequence[Row], names: Sequence[Row], first: int) -> Letterhead:
    """Name and address of a group of rows, of which `names` stand above the address."""
    words = lexicon()
    formal = [n for n, row in enumerate(names) if words.is_company(row.text)]
    proper = [n for n, row in enumerate(names) if not row.text[:1].islower()]
    at = formal[-1] if formal else (proper or [0])[0]
    lines = [names[at]]
    if at and formal and _only_form(names[at].text):
        lines.insert(0, names[at - 1])
    rest = list(names[at + 1 :]) if formal else [r for r in names[at + 1 :] if r.text.endswith(",")]
    street = first < len(group)
    start = group.index(rest[0]) if rest and rest[0] in group else first
    rows = list(_until_note(group[start:])) if rest or street else []
    name = _span(layout, lines, _LONGEST_NAME)
    own = [n for n, row in enumerate(group) if row in lines or row.kind in {"note", "address"}]
    inside = (*lines, *group[: max(own, default=-1) + 1])
    head = Letterhead(segments=frozenset(s for row in inside for s in row.segments))
    if name is not None:
        head.name = without_code(name)
        head.name_worth = _FORMAL if formal else _PLACED if street else _LONE
    head.address = _span(layout, rows, _LONGEST_ADDRESS)
    noted = any(row.kind == "note" for row in group)
    postal = any(_FIVE.search(row.text) for row in rows)
    head.parts = dict(_parts([s for row in rows for s in row.segments]))
    head.address_worth = (_POSTAL if postal else _STREET) if street else _BETWEEN * noted
    return head


def _parts(lines: Sequence[Segment]) -> Iterator[tuple[str, Span]]:
    """Street, postcode and city of an address's lines; blanks may be lost between code and city."""
    streets = [line for line in lines if _is_street(line.text)]
    for line in lines:
        if match := _PLACE.search(line.text):
            yield "postcode", span_of(line, *match.span("code"))
            yield "city", span_of(line, *match.span("city"))
            break
    for line in streets[:1]:
        match = _PLACE.search(line.text)
        label = _PAIR.match(line.text)
        start = label.start("value") if label else 0
        yield "street", span_of(line, start, match.start() if match else len(line.text))


def _is_street(text: str) -> bool:
    """Whether a line names a street or has a number beside its postcode."""
    match = _PLACE.search(text)
    own = text[: match.start()] if match else text
    return sum(char.isalpha() for char in own) > 2 and (
        lexicon().is_street(own) or any(char.isdigit() for char in own)
    )


def _until_note(rows: Sequence[Row]) -> Iterator[Row]:
    for row in rows:
        if row.kind not in {"text", "address"}:
            return
        yield row


def _rows(layout: Layout, others: Collection[Segment]) -> Iterator[Row]:
    """The rows at the top of the first page, up to the first amount."""
    page = layout.segments[0].page if layout.segments else 0
    for number, row in enumerate(layout.rows[:_MOST_ROWS]):
        text = " ".join(segment.text for segment in row)
        if row[0].page != page or (number > _FEWEST_ROWS and _AMOUNT.search(text)):
            return
        yield Row(tuple(row), "other" if any(s in others for s in row) else _kind(text))


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that hang together: no gap, no title or other row between them."""
    groups: list[list[Row]] = [[]]
    for row in rows:
        last = groups[-1][-1] if groups[-1] else None
        if row.kind in {"title", "other"}:
            groups.append([])
            continue
        if last is not None and row.top - last.bottom > _GAP * min(row.size, last.size):
            groups.append([])
        groups[-1].append(row)
    return [group for group in groups if group]


def _kind(text: str) -> Kind:
    words = lexicon()
    letters = sum(char.isalpha() for char in text)
    digits = sum(char.isdigit() for char in text)
    if _DATE.search(text) or text.rstrip().endswith(":"):
        return "other"
    if _ONLY_CODE.fullmatch(text) or "@" in text or (digits > 5 and letters < 4):
        return "note"
    if letters < 3:
        return "other"
    label = _PAIR.match(text)
    if label and (not words.is_company(label["value"]) or _says(label["label"]) & _NOTES):
        return _kind_of_pair(label["label"], label["value"])
    return "text" if words.is_company(text) else _kind_of_words(text, digits)


def _kind_of_words(text: str, digits: int) -> Kind:
    said = _says(text)
    count = len(text.split())
    if digits and _is_of_till(text):
        return "note"
    if said & _TITLES and count <= _LONGEST_TITLE:
        return "other" if digits else "title"
    if said & _NOTES and digits and (digits >= _FEWEST_DIGITS or count <= _LONGEST_NOTE):
        return "note"
    found = lexicon().is_street(text) or is_address(text) or _FIVE.search(text)
    return "address" if found else "text"


def _is_of_till(text: str) -> bool:
    """Whether all words of a line are about the table, the guests, the waiter, the till."""
    units = lexicon().read(_NUMBER.sub(" ", text))
    return bool(units) and all("till" in unit.concepts for unit in units)


def _says(text: str) -> frozenset[str]:
    return frozenset(concept for unit in lexicon().read(text) for concept in unit.concepts)


def _kind_of_pair(label: str, value: str) -> Kind:
    """What `label: value` is: an address may be labelled, too (`HQ: 7, High Street`)."""
    said = _says(label)
    if said & _NOTES:
        return "note"
    several = "," in value or len(value.split()) > 2
    if several and (not said or said & _OF_ADDRESS) and any(char.isdigit() for char in value):
        return "address"
    return "note" if any(char.isdigit() for char in value) else "other"


def _only_form(text: str) -> bool:
    """Whether a line is a company's legal form alone, its name on the line before."""
    return len(_CODE.sub("", text).split()) <= 2


def _span(layout: Layout, rows: Sequence[Row], longest: int) -> Span | None:
    """The text of some rows as one span, if nothing else stands between them."""
    segments = sorted((s for row in rows for s in row.segments), key=lambda s: s.start)
    if not segments:
        return None
    page = layout.pages[segments[0].page].text
    reach = segments[0].start
    for segment in segments:
        if any(char.isalnum() for char in page[reach : segment.start]):
            return None
        reach = max(reach, segment.end)
    start, end = segments[0].start, min(reach, segments[0].start + longest)
    text = page[start:end]
    return Span(segments[0], start, end, text, text) if end == reach else None


def without_code(name: Span) -> Span:
    """A name without the registration number in brackets behind it."""
    kept = _CODE.sub("", name.text).strip() or name.text
    return Span(name.segment, name.start, name.start + len(kept), kept, kept)
