"""Whose lines are whose: blocks under a party's heading, letterheads, and the names in them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pipeline.providers.local import letterhead
from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.postal import Block, blocks, is_address, name_in, span_of
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.words import Lexicon, lexicon

#: Worth of a name or address that stands under its party's heading, under a later one of the same
#: party, in a letterhead, elsewhere.
_HEADED, _MENTIONED, _GUESSED, _ONLY = 0.9, 0.75, 0.66, 0.6
#: Worth of a part of the address at the head of a till receipt.
_OF_HEAD = 0.91
_NAMES = frozenset(("organisation", "party", "person"))
_PARTS = frozenset(("street", "postcode", "city", "country", "address"))
_CONTACTS = frozenset(("vat", "email", "phone", "url", "iban"))
#: Kinds that every party of a document may have a value of.
OWNED = _NAMES | _PARTS | _CONTACTS
#: What other numbers of a party are called.
_NUMBERED = frozenset(("vat", "tax", "id", "register", "account", "iban", "routing"))
_HEADING = re.compile(r"(?P<label>[^:\d]{2,40}?)\s*(?::\s*(?P<rest>\S.*)?)?$", re.DOTALL)
#: Words that a party's heading may have beside the party.
_BESIDE = frozenset(("address", "name", "company", "delivery", "invoice", "own", "first", "person"))
_PAIR = re.compile(r"[^:]{2,40}:\s*\S")
#: Who wrote a document and whom it went to have their places on it, whatever they are called.
_AS = {"sender": "seller", "recipient": "buyer"}
#: And who they are where nobody is called so.
_ELSE = {"employer": "seller", "insurer": "seller", "recipient": "receiver"}
_LONGEST_REGION = 14
_LONGEST_ADDRESS = 300
#: A state or region behind the place.
_REGION = re.compile(r",? ?[^\W\d_][^\d:;|]{1,30}\.?$")
#: Addresses without a heading, and host names, that are weighed.
_MOST_LOOSE, _MOST_HOSTS = 200, 50
_HOST = re.compile(r"(?:@|://(?:www\.)?|(?<!/)www\.)([\w\-]{3,40})")


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """The lines under (or behind) the heading of a party."""

    role: str
    heading: Segment
    segments: tuple[Segment, ...]
    first: Span | None


class Parties:
    """The parties of a document: regions under headings, and address blocks with their roles."""

    def __init__(self, layout: Layout, spans: Spans) -> None:
        self._layout = layout
        self._spans = spans
        self.regions = list(_regions(layout, lexicon()))
        self._roles: dict[Segment, str] = {}
        for region in self.regions:
            for segment in region.segments:
                self._roles.setdefault(segment, region.role)
        self.head = letterhead.read(
            layout, {*self._roles, *(region.heading for region in self.regions)}
        )
        for segment in self.head.segments:
            self._roles.setdefault(segment, "seller")
        self._hosts = _host_names(layout)
        self.blocks: dict[str, list[tuple[Block, float]]] = {}
        found = blocks(layout)
        self.postcodes = {(block.postcode.page, block.postcode.start) for block in found}
        self._assign(found)

    def role_at(self, segment: Segment) -> str:
        """The party in whose region a segment stands, or an empty text."""
        return self._roles.get(segment, "")

    def claims(self, asks: Iterable[Ask]) -> Iterator[Claim]:
        """Names, addresses and numbers of the parties that are asked for."""
        asks = list(asks)
        for ask in asks:
            role = _AS.get(ask.role, ask.role) or ("seller" if ask.meaning == "issuer" else "")
            role = self._known(role, ask.role)
            if ask.kind in _NAMES and role and _asks_name(ask):
                yield from self._names(ask, role)
            elif ask.kind in _PARTS:
                yield from self._parts(ask, role, alone=not any(other.role for other in asks))
            elif ask.kind in _CONTACTS and role:
                yield from self._contacts(ask, role)

    def _known(self, role: str, asked: str) -> str:
        """A role, or the one that stands for it in a document that has nobody in it."""
        named = role in self.blocks or any(region.role == role for region in self.regions)
        return role if named else _ELSE.get(asked, role)

    def _names(self, ask: Ask, role: str) -> Iterator[Claim]:
        for block, worth in self.blocks.get(role, ()):
            known = role == "seller" and block.name and block.name.segment in self.head.segments
            if block.name is not None and not known:
                yield from claims_of(ask, letterhead.without_code(block.name), worth)
        worth = _HEADED - 0.05
        for region in self.regions:
            if region.role == role and region.first is not None:
                yield from claims_of(ask, region.first, worth)
                worth = _MENTIONED - 0.05
        if role == "seller":
            if self.head.name is not None:
                yield from claims_of(ask, self.head.name, self.head.name_worth)
            yield from self._letterheads(ask)

    def _parts(self, ask: Ask, role: str, *, alone: bool) -> Iterator[Claim]:
        head = self.head.address
        if ask.kind == "address" and head is not None and role in {"", "seller"}:
            yield from claims_of(ask, head, self.head.address_worth)
        own = self.head.parts.get(ask.kind)
        if own is not None and role in {"", "seller"}:
            yield from claims_of(ask, own, _OF_HEAD)
        found = self.blocks.get(role, [])
        if not role and alone:
            found = [(block, _ONLY) for block, _ in self.blocks.get("seller", [])[:3]]
        for block, worth in found:
            part = (
                _address(block, self._layout) if ask.kind == "address" else getattr(block, ask.kind)
            )
            if part is not None:
                yield from claims_of(ask, part, worth)

    def _contacts(self, ask: Ask, role: str) -> Iterator[Claim]:
        for span in self._spans.of(ask.kind):
            at = self.role_at(span.segment)
            if ask.kind == "phone" and _is_labelled_other(span):
                continue
            if at == role:
                yield from claims_of(ask, span, 0.8)
            elif role == "seller" and not at:
                yield from claims_of(ask, span, _GUESSED - 0.1)

    def _letterheads(self, ask: Ask) -> Iterator[Claim]:
        """Company names outside of other parties' regions: at the top, in big type, with a suffix."""
        first = min(self._layout.pages, default=1)
        seen = 0
        for segment in self._layout.segments:
            if self.role_at(segment) not in {"", "seller"} or seen > 400:
                continue
            seen += 1
            name = _company(segment, lexicon())
            known = _in_host(segment.text, self._hosts)
            if name is None and (known or (segment.page == first and segment.row < 3)):
                name = _short_name(segment)
            if name is None:
                continue
            top = max(0.0, 1 - segment.row / 12) if segment.page == first else 0.0
            big = min(1.0, max(0.0, segment.size / self._layout.body - 1))
            suffix = _company(segment, lexicon()) is not None
            score = 0.32 + 0.15 * suffix + 0.15 * known + 0.1 * top + 0.1 * big
            yield from claims_of(ask, letterhead.without_code(name), score)

    def _assign(self, found: Sequence[Block]) -> None:
        """Give each block its role: the region's, else sender or recipient by its looks."""
        loose: list[Block] = []
        for block in found:
            role = next((r for line in block.lines if (r := self.role_at(line))), "")
            if role:
                worth = _MENTIONED if role in self.blocks else _HEADED
                self.blocks.setdefault(role, []).append((block, worth))
            elif len(loose) < _MOST_LOOSE:
                loose.append(block)
        names = Counter(_plain(block.name) for block in loose)
        looks = [
            _sender(block, self._layout, self._hosts) + 0.2 * (names[_plain(block.name)] > 1)
            for block in loose
        ]
        ranked = sorted(range(len(loose)), key=lambda number: (-looks[number], number))
        own = _plain(loose[ranked[0]].name) if ranked else ""
        for number in ranked[:6]:
            if _plain(loose[number].name) == own or "buyer" in self.blocks:
                worth = _GUESSED + 0.1 * (looks[number] > 0.4)
                self.blocks.setdefault("seller", []).append((loose[number], worth))
        other = next((block for block in loose if self._is_addressee(block, own)), None)
        if other is not None and "buyer" not in self.blocks:
            self.blocks["buyer"] = [(other, _GUESSED)]

    def _is_addressee(self, block: Block, sender: str) -> bool:
        """Whether a block has another name than the sender's and stands in the upper half."""
        near_top = block.postal.box[3] < 0.5 * self._layout.heights[block.postal.page]
        return near_top and block.name is not None and _plain(block.name) != sender


def _is_labelled_other(span: Span) -> bool:
    """Whether what stands before digits says that they are no telephone number."""
    segment = span.segment
    before = segment.text[: span.start - segment.start]
    if not before.strip() and segment.left is not None:
        before = segment.left.text
    said = {concept for unit in lexicon().read(before[-60:])[-3:] for concept in unit.concepts}
    return bool(said & _NUMBERED) and not said & {"phone", "fax"}


def _host_names(layout: Layout) -> set[str]:
    """The names in the e-mail and web addresses of a document."""
    pages = (page.text for page in layout.pages.values())
    found = (match[1].casefold() for text in pages for match in _HOST.finditer(text))
    return set(islice(found, _MOST_HOSTS))


def _asks_name(ask: Ask) -> bool:
    """Whether a field of a party asks for its name, not for a person or number of it."""
    every = (
        frozenset().union(*(unit.concepts for unit in ask.own)) if ask.own else frozenset({"name"})
    )
    return bool(every & {"name", "company", "full"}) or not ask.own


def _regions(layout: Layout, words: Lexicon) -> Iterator[Region]:
    for segment in layout.segments:
        match = _HEADING.match(segment.text) if len(segment.text) < 160 else None
        role = _heading_role(match["label"], words) if match else ""
        if match is None or not role:
            continue
        first = None
        if match["rest"]:
            first = name_in(span_of(segment, match.start("rest"), len(segment.text)))
            if not _is_name(first.text):
                continue
        yield Region(role, segment, tuple(_under(segment, layout, words, first)), first)


def _is_name(text: str) -> bool:
    letters = sum(char.isalpha() for char in text)
    return letters > 1 and sum(char.isdigit() for char in text) < letters


def _heading_role(label: str, words: Lexicon) -> str:
    """The party that a heading names, if it names nothing else."""
    units = words.read(label)
    if not units or len(units) > 4:
        return ""
    roles = [concept for unit in units for concept in sorted(unit.concepts & words.roles)]
    rest = [unit for unit in units if not unit.concepts & words.roles]
    if not roles or any(not unit.concepts & _BESIDE for unit in rest):
        return ""
    return roles[0]


def _under(
    heading: Segment, layout: Layout, words: Lexicon, first: Span | None
) -> Iterator[Segment]:
    """The segments below a heading in its column, as far as they hang together."""
    left = heading.box[0] - 1.5 * heading.size
    right = heading.box[0] + 0.5 * layout.widths[heading.page]
    if heading.right is not None and heading.right.box[0] - heading.box[0] > 4 * heading.size:
        right = heading.right.box[0] - 1
    if first is not None:
        yield heading
    bottom = heading.box[3]
    for row in layout.rows[heading.row + 1 : heading.row + 1 + 2 * _LONGEST_REGION]:
        inside = [segment for segment in row if left <= segment.box[0] < right]
        if row[0].page != heading.page or (inside and _ends(inside, bottom, words)):
            return
        yield from inside
        if inside:
            bottom = max(segment.box[3] for segment in inside)


def _ends(row: Sequence[Segment], bottom: float, words: Lexicon) -> bool:
    """Whether a row below a heading begins something else: a gap, or another heading."""
    first = row[0]
    gap = (first.box[1] - bottom) / first.size
    pair = len(row) > 1 or _PAIR.match(first.text) is not None or is_address(first.text)
    if gap > (2.6 if pair else 1.6) or (
        gap > 0.8 and first.text.rstrip().endswith(":") and not pair
    ):
        return True
    match = _HEADING.match(first.text) if len(first.text) < 160 else None
    return match is not None and bool(_heading_role(match["label"], words))


def _address(block: Block, layout: Layout) -> Span | None:
    """The first line below the name to the country as one span, where nothing else stands between."""
    known = (block.first, block.street, block.postcode, block.city, block.country)
    parts = [part for part in known if part is not None]
    start, end = min(part.start for part in parts), max(part.end for part in parts)
    page = layout.pages[block.postal.page].text
    region = _REGION.match(page, end, block.postal.end) if block.postal.start <= end else None
    end = region.end() if region else end
    own = [(line.start, line.end) for line in block.lines] + [(p.start, p.end) for p in parts]
    reach = start
    for first, last in sorted(own):
        if any(char.isalnum() for char in page[reach:first]):
            return None
        reach = max(reach, last)
    if end - start > _LONGEST_ADDRESS:
        return None
    return Span(block.postal, start, end, page[start:end], page[start:end])


def _sender(block: Block, layout: Layout, hosts: set[str]) -> float:
    """How much a block looks like the letterhead or footer of who wrote the document."""
    height = layout.heights[block.postal.page]
    low = block.postal.box[1] > 0.8 * height
    company = block.name is not None and lexicon().is_company(block.name.text)
    known = block.name is not None and _in_host(block.name.text, hosts)
    around = [s for s in (block.postal.below, block.postal.right) if s is not None]
    contact = any(
        re.search(r"\bTel|\bFon|@|www\.|IBAN|USt|VAT|phone", s.text, re.IGNORECASE) for s in around
    )
    head = block.top.box[1] < 0.13 * height
    return (
        0.3 * block.inline + 0.25 * head + 0.2 * low + 0.2 * company + 0.3 * known + 0.2 * contact
    )


def _company(segment: Segment, words: Lexicon) -> Span | None:
    """The part of a line that ends in a company's suffix."""
    text = segment.text[:160]
    if not words.is_company(text):
        return None
    part = re.split(r"\s[-–—●•·|]\s|,\s(?=\d)|[:;]\s", text, maxsplit=1)[0]
    if not words.is_company(part) or len(part.split()) > 8:
        return None
    return span_of(segment, 0, len(part))


def _short_name(segment: Segment) -> Span | None:
    words = segment.text.split()
    letters = sum(char.isalpha() for char in segment.text)
    if (
        not words
        or len(words) > 6
        or letters < 3
        or segment.text.rstrip().endswith(":")
        or "@" in segment.text
    ):
        return None
    if any(char.isdigit() for char in segment.text) or not words[0][:1].isupper():
        return None
    units = lexicon().read(segment.text)
    return (
        None
        if units and all(unit.concepts for unit in units)
        else span_of(segment, 0, len(segment.text))
    )


def _in_host(text: str, hosts: set[str]) -> bool:
    words = [word.casefold() for word in re.findall(r"[^\W\d_]{3,}", text[:100])]
    joined = "".join(words[:3])
    return any(
        len(host) > 3 and (joined.startswith(host.replace("-", "")) or host in words)
        for host in hosts
    )


def _plain(span: Span | None) -> str:
    return re.sub(r"\W", "", span.text).casefold() if span is not None else ""
