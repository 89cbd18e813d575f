"""The values of a form's fields as the claims of asks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline import values
from pipeline.document import Page
from pipeline.providers.local.asks import Ask, Units
from pipeline.providers.local.choices import said_of
from pipeline.providers.local.claims import Claim
from pipeline.providers.local.layout import Layout
from pipeline.providers.local.pairing import ALIKE, pairs
from pipeline.providers.local.slots import Line, Slot
from pipeline.providers.local.spans import as_json
from pipeline.providers.local.words import lexicon
from pipeline.values import fold

#: What the least alike pair of an assignment is worth.
_LEAST = 0.56
#: With this many filled fields a page's print is the form itself, not its answers.
_A_FORM = 3
#: How far (heights of the street's box) left edges differ, and how far below it a city stands.
_FLUSH, _LEADING = 1.0, 4.0
_NAMES = frozenset(("organisation", "party", "person"))
_NUMERIC = frozenset(("money", "percent", "year"))
_WITH_DIGITS = frozenset(("date", "phone", "iban"))
_WITH_LETTERS = _NAMES | {"city", "country", "email"}


def is_form(found: Sequence[Slot]) -> bool:
    """Whether a document is a filled form."""
    return sum(slot.field.kind != "check" for slot in found) >= _A_FORM


def claims(
    found: Sequence[Slot], asks: Sequence[Ask], layout: Layout, *, day_first: bool
) -> Iterator[Claim]:
    """For each field of the form the ask that it answers best, and the other way round.

    `day_first` is how the document writes 04/03/2024.
    """
    made: dict[tuple[int, int], Claim | None] = {}

    def fits(a: int, s: int) -> bool:
        page = layout.pages[found[s].page]
        if (a, s) not in made:
            made[a, s] = next(_values(asks[a], found[s], page, day_first=day_first), None)
        return made[a, s] is not None

    def shares(a: int, s: int) -> bool:
        """Whether a field of several lines holds a name and an address, each its own ask."""
        return len(found[s].lines) > 1 and asks[a].kind in {"address", *_NAMES}

    held = pairs(found, asks, fits, shares)
    used = {s for _, s in held}
    for (a, s), score in held.items():
        claim = made[a, s]
        below = _city_below(asks[a], found, s, used)
        if below is not None:
            lines = (*found[s].lines, *below.lines)
            page = layout.pages[below.page]
            claim = next(_of_lines(asks[a], lines, page, day_first=day_first), claim)
        if claim is not None:
            yield replace(claim, score=_worth(score))


def _city_below(ask: Ask, found: Sequence[Slot], s: int, used: set[int]) -> Slot | None:
    """The field with postcode and place below one with a street, which an address goes on with.

    Only where no other ask has that field, and the address is not asked for by its street.
    """
    slot = found[s]
    if ask.kind != "address" or len(slot.lines) != 1 or _says(ask.own, "street"):
        return None
    x0, y0, _, y1 = slot.box
    for number, other in enumerate(found):
        left, top = other.box[:2]
        near = abs(left - x0) < _FLUSH * (y1 - y0) and 0 <= top - y1 < _LEADING * (y1 - y0)
        if other.page == slot.page and near and number not in used and len(other.lines) == 1:
            labels = (lexicon().read(text) for text, _ in other.labels)
            if any(_says(units, "city") or _says(units, "postcode") for units in labels):
                return other
    return None


def _says(units: Units, concept: str) -> bool:
    return any(concept in unit.concepts for unit in units)


def _worth(score: float) -> float:
    """A pair's likeness as a claim's score: the assignment has already left out what is not alike."""
    return min(0.99, _LEAST + (score - ALIKE) * (1 - _LEAST) / (1 - ALIKE))


def _values(ask: Ask, slot: Slot, page: Page, *, day_first: bool) -> Iterator[Claim]:
    """The claim of an ask on a field's value, in the ask's type."""
    field = slot.field
    if field.kind == "check":
        quote = field.label or field.name or "check mark"
        yield Claim(ask, field.value == "true", slot.page, 0, 0, quote, 1.0)
        return
    yield from _of_lines(ask, _wanted_lines(ask, slot), page, day_first=day_first)


def _of_lines(ask: Ask, lines: Sequence[Line], page: Page, *, day_first: bool) -> Iterator[Claim]:
    """The claim of an ask on some lines, in the ask's type."""
    text = "\n".join(line.text for line in lines)
    (start, end, quote), *more = _parts(lines, page.text)
    for value in _meant(ask, text, day_first=day_first):
        made = as_json(ask, value, text)
        if made is not None:
            yield Claim(ask, made, page.number, start, end, quote, 1.0, tuple(more))


def _parts(lines: Sequence[Line], text: str) -> list[tuple[int, int, str]]:
    """Where lines stand, with what stands there: one place where nothing else is between them."""
    found: list[tuple[int, int]] = []
    for start, end in (place for line in lines for place in line.places):
        last = found[-1] if found else None
        if last and last[1] <= start and not any(c.isalnum() for c in text[last[1] : start]):
            found[-1] = (last[0], end)
        else:
            found.append((start, end))
    return [(start, end, text[start:end]) for start, end in found]


def _wanted_lines(ask: Ask, slot: Slot) -> Sequence[Line]:
    """The first line of a field that is asked for a name and an address; the others for the address."""
    told = {
        concept
        for text, _ in slot.labels
        for unit in lexicon().read(text)
        for concept in unit.concepts
    }
    if len(slot.lines) > 1 and {"name", "address"} <= told | {"address"} & told:
        if ask.kind in _NAMES:
            return slot.lines[:1]
        if ask.kind == "address" and not any("name" in unit.concepts for unit in ask.own):
            return slot.lines[1:]
    return slot.lines


def _meant(ask: Ask, text: str, *, day_first: bool) -> Iterator[object]:
    """What a text means to an ask, if it can be of its kind at all."""
    days = (found.value for found in values.find_dates(text, day_first=day_first))
    if ask.node.type in {"number", "integer"}:
        yield from (found.value for found in values.find_numbers(text))
    elif ask.iso:
        yield from days
    elif ask.kind == "enum":
        said = said_of(ask.options).get(fold(text).text)
        yield from [] if said is None else [said]
    elif _can_be(ask.kind, text):
        yield text


def _can_be(kind: str, text: str) -> bool:
    """Whether a text has what every value of a kind has: a date digits, a name letters."""
    letters = sum(char.isalpha() for char in text)
    digits = sum(char.isdigit() for char in text)
    if kind in _NUMERIC:
        return digits >= max(1, letters)
    if kind == "identifier":
        days = values.find_dates(text) if not text.isalnum() else []
        return all(len(found.text) < len(text) for found in days)
    return (digits > 0 or kind not in _WITH_DIGITS) and (letters > 0 or kind not in _WITH_LETTERS)
