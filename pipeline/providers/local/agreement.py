"""Who agreed: the parties that an agreement names, calls (the "Supplier") and says who acts for."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.clauses import prose
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.postal import postal
from pipeline.providers.local.spans import Span
from pipeline.providers.local.words import lexicon

_WORTH = 0.85
#: Parties are named within this much of the text, in code points, each in so much.
_HEAD, _LONGEST = 8000, 600
_MOST = 12
_QUOTED = r"[\"“”„«»]\s?(?P<role>[^\"“”„«»\n]{2,40}?)\s?[\"“”«»]"
_NAME = re.compile(
    r"(?P<name>[^\W\d_][^,;()\"“”„«\n]*(?:\n[^,;()\"“”„«\n§]+)?(?:,\s(?:Inc|LLC|Ltd|L\.?P|LLP|S\.[AL]|Corp|N\.A)\b\.?)?)"
)
_LEADS = re.compile(
    r"^(?:\s|[,;:–—-]|\(?(?:\d|[a-zA-Z]|[ivx]{1,3})[.)]|\b(?:and|und|et|y|e|en)\b)+", re.IGNORECASE
)
_REGISTER = re.compile(
    r"(?:number|no\.?|nr\.?|numéro|n°|número|numero|nummer|unter|KvK|RCS|NIF|CIF|SIREN)[ \t:]{1,3}(?P<number>(?:HR[AB] ?)?[A-Z]{0,3}\d[\w./]{3,14}(?: \d{3}){0,3})"
    r"|(?P<hr>HR[AB] ?\d{2,7})",
    re.IGNORECASE,
)
_STREET = re.compile(
    r"(?<!\w)(?P<street>\d{1,5}[a-zA-Z]?,?\s(?:[^\W\da-z][\w.'’\-]*\s?){1,5}|[^\W\d][^,;\n]{2,40}\s\d{1,5}[a-zA-Z]?)\s*,?\s*$"
)


@dataclass(frozen=True, slots=True)
class Party:
    """The places of what is said of a party in its page's text, by what it is; each start and end."""

    parts: dict[str, tuple[int, int]]


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Where parties begin, what they are called, and who acts for them."""
    words = prose()["party"]

    def anyone(key: str) -> str:
        listed = sorted((part.strip() for part in words[key].split(",")), key=len, reverse=True)
        return "|".join(re.escape(part).replace(r"\ ", r"\s+") for part in listed)

    return (
        re.compile(rf"(?<!\w)(?:{anyone('between')})(?!\w)", re.IGNORECASE),
        re.compile(rf"[(–—-]\s*(?:(?:{anyone('called')})[\s,:]*){{0,4}}{_QUOTED}", re.IGNORECASE),
        re.compile(
            rf"(?:{anyone('acts')})\s+(?:(?:its|the|den|die|das|son|sa|su|il|la|el|zijn|seu|{anyone('offices')})[\s,]+){{0,3}}"
            r"(?P<person>[A-ZÄÖÜÉ][^\W\d_]+(?:[ \-][A-ZÄÖÜÉ][^\W\d_]+){1,3})(?=[\s,;.()]|$)"
        ),
    )


def rows(layout: Layout, name: str, columns: Sequence[Ask]) -> list[dict[str, Claim]]:
    """The rows of an array of parties, if it is one and the text names them as agreements do."""
    parts = {part: ask for ask in columns if (part := _part(ask))}
    if "name" not in parts or not any(
        "party" in unit.concepts for unit in lexicon().read_name(name)
    ):
        return []
    first = next(iter(layout.segments), None)
    if first is None:
        return []
    made = []
    for party in _named(layout.pages[first.page].text[:_HEAD]):
        row = dict(_row(parts, party, first, layout))
        if parts["name"].pointer in row:
            made.append(row)
    return made


def _row(
    parts: dict[str, Ask], party: Party, segment: Segment, layout: Layout
) -> Iterator[tuple[str, Claim]]:
    text = layout.pages[segment.page].text
    for part, (start, end) in party.parts.items():
        if part in parts:
            span = Span(segment, start, end, text[start:end], text[start:end])
            for claim in claims_of(parts[part], span, _WORTH):
                yield parts[part].pointer, claim


def _part(ask: Ask) -> str:
    """What a column holds of a party."""
    told = frozenset().union(*(unit.concepts for unit in ask.own)) if ask.own else frozenset()
    words = {unit.word for unit in ask.own}
    if "register" in told:
        return "register"
    if told & {"signer", "agent"} or any(word.startswith("represent") for word in words):
        return "agent"
    if words & {"role", "called", "capacity"}:
        return "role"
    found = told & {"name", "street", "postcode", "city", "address"}
    return next(iter(found)) if len(found) == 1 else ""


def _named(text: str) -> list[Party]:
    """The parties, in order: what each is called ends it, and the next begins there."""
    between, called, _ = _patterns()
    opening = between.search(text)
    at = opening.end() if opening else 0
    found: list[Party] = []
    for match in called.finditer(text, at):
        party = (
            _party(text, max(at, match.start() - _LONGEST), match) if match.start() > at else None
        )
        if party is not None and len(found) < _MOST:
            found.append(party)
        elif found:
            break  # further on, other things are called so
        at = match.end() + len(re.match(r"[\s)–—\-,;]*", text[match.end() :]).group())  # type: ignore[union-attr]
    return found if len(found) > 1 else []


def _party(text: str, start: int, called: re.Match[str]) -> Party | None:
    """One party from where it begins to what it is called; None where no name stands there."""
    lead = _LEADS.match(text[start : called.start()])
    name = _NAME.match(text, start + (lead.end() if lead else 0), called.start())
    if name is None or not _is_name(name["name"]):
        return None
    parts = {"name": _kept(text, *name.span("name")), "role": called.span("role")}
    block = text[name.end() : called.start()]
    if agent := _patterns()[2].search(block):
        parts["agent"] = _shifted(agent.span("person"), name.end())
    if number := _REGISTER.search(block):
        parts["register"] = _shifted(
            number.span("number" if number["number"] else "hr"), name.end()
        )
    parts |= _address(text, name.end(), called.start())
    return Party(parts)


def _is_name(name: str) -> bool:
    words = name.split()
    return bool(words) and len(words) <= 10 and words[0][0].isupper()


def _address(text: str, start: int, end: int) -> dict[str, tuple[int, int]]:
    """Street, postcode and place, where they stand between commas, also over a line's end."""
    flat = text[start:end].replace("\n", " ")
    for cut in (0, *(match.end() for match in re.finditer(r",\s*|\bat\s|\bin\s", flat))):
        match = postal(flat[cut:])
        if match is None:
            continue
        parts = {
            "postcode": _shifted(match.span("code"), start + cut),
            "city": _shifted(match.span("city"), start + cut),
        }
        first = min(place[0] for place in parts.values())
        if street := _STREET.search(text[start:first]):
            parts["street"] = _kept(text, *_shifted(street.span("street"), start))
            parts["address"] = (parts["street"][0], max(place[1] for place in parts.values()))
        return parts
    return {}


def _shifted(place: tuple[int, int], by: int) -> tuple[int, int]:
    return place[0] + by, place[1] + by


def _kept(text: str, start: int, end: int) -> tuple[int, int]:
    kept = (
        text[start:end].strip(" \t\n,.;")
        if not text[start:end].rstrip().endswith(".")
        else text[start:end].strip()
    )
    start = text.index(kept, start)
    return start, start + len(kept)
