"""Form fields (AcroForm): which one answers which ask, by their labels and their order."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline import values
from pipeline.document import Page
from pipeline.providers.local.asks import Ask, Units
from pipeline.providers.local.claims import Claim
from pipeline.providers.local.layout import Layout
from pipeline.providers.local.slots import Slot
from pipeline.providers.local.spans import as_json
from pipeline.providers.local.words import Unit, alike, covers, lexicon

_CLAUSE = re.compile(r"[.;:()\[\],/]|\s[-–—]\s")
#: Numbers that forms give their lines: `5 Address`, `10a Date`.
_LINE_NUMBER = re.compile(r"^\s*\d{1,3}[a-z]?\.?\s+(?=[^\W\d])")
#: How much later clauses of a long label count less, and at the least.
_LATER, _LATEST = 0.07, 0.6
#: An ask and a field at least this alike can hold each other; a pair so alike is sure of its order.
_ALIKE, _ANCHOR = 0.42, 0.8
_ORDER = 0.12
#: What the least alike pair of an assignment is worth.
_LEAST = 0.56
#: With this many filled fields a page's print is the form itself, not its answers.
_A_FORM = 3
_NAMES = frozenset(("organisation", "party", "person"))


def is_form(found: Sequence[Slot]) -> bool:
    """Whether a document is a filled form."""
    return sum(slot.field.kind != "check" for slot in found) >= _A_FORM


def claims(
    found: Sequence[Slot], asks: Sequence[Ask], layout: Layout, *, day_first: bool
) -> Iterator[Claim]:
    """For each field of the form the ask that it answers best, and the other way round.

    `day_first` is how the document writes 04/03/2024.
    """
    if not found:
        return
    scores = _scores(found, asks)
    anchors = _anchors(scores, asks, found)
    ranked = sorted(
        ((score + _in_order(a, s, anchors), -a, -s) for (a, s), score in scores.items()),
        reverse=True,
    )
    used_asks: set[int] = set()
    used: Counter[int] = Counter()
    for score, a, s in ranked:
        ask, slot = asks[-a], found[-s]
        if -a in used_asks or score < _ALIKE:
            continue
        page = layout.pages[slot.page]
        claim = next(_values(ask, slot, page, _worth(score), day_first=day_first), None)
        if claim is None or (used[-s] and not _shares(slot, ask)):
            continue
        used_asks.add(-a)
        used[-s] += 1
        yield claim


def _worth(score: float) -> float:
    """A pair's likeness as a claim's score: the assignment has already left out what is not alike."""
    return min(0.99, _LEAST + (score - _ALIKE) * (1 - _LEAST) / (1 - _ALIKE))


def _scores(found: Sequence[Slot], asks: Sequence[Ask]) -> dict[tuple[int, int], float]:
    """How alike asks and fields are, by their numbers; words that many asks have count less."""
    rare = _rarity(asks)
    short = _abbreviations(asks)
    phrases = [[(_weighed(units, rare), worth) for units, worth in ask.phrases] for ask in asks]
    read = {
        text: _clauses(text, rare, short)
        for text in dict.fromkeys(text for slot in found for text, _ in slot.labels)
    }
    scores: dict[tuple[int, int], float] = {}
    for s, slot in enumerate(found):
        said = [(read[text], worth) for text, worth in slot.labels]
        for a, ask in enumerate(asks):
            fits = (ask.kind == "check") == (slot.field.kind == "check")
            score = _most_alike(phrases[a], said) if fits else 0.0
            if score > _ALIKE - _ORDER:
                scores[a, s] = score
    return scores


def _most_alike(
    phrases: Sequence[tuple[Units, float]],
    labels: Sequence[tuple[Sequence[tuple[Units, float]], float]],
) -> float:
    """How well the best of some labels says the best of some phrases."""
    return max(
        (
            own * worth * _likeness(phrase, clauses)
            for clauses, worth in labels
            for phrase, own in phrases
        ),
        default=0.0,
    )


def _abbreviations(asks: Sequence[Ask]) -> set[str]:
    """The short unknown words of names, which may be the initials of a label."""
    words = (
        unit.word
        for ask in asks
        for units, _ in ask.phrases[:1]
        for unit in units
        if not unit.concepts
    )
    return {word for word in words if 2 < len(word) < 6}


def _likeness(phrase: Units, clauses: Sequence[tuple[Units, float]]) -> float:
    """The best clause, or the whole label, that says what a phrase does."""
    whole = [unit for units, _ in clauses[1:] for unit in units]
    one = max((worth * alike(phrase, units) for units, worth in clauses), default=0.0)
    return max(one, 0.82 * covers(phrase, whole) ** 2)


def _clauses(text: str, rare: Mapping[str, float], short: set[str]) -> list[tuple[Units, float]]:
    """The label itself, then its parts; later ones are worth less."""
    text = _LINE_NUMBER.sub("", text)
    parts = [lexicon().read(part) for part in _CLAUSE.split(text)]
    told = [(*part, *_initials(part, short)) for part in parts if part]
    whole = _weighed(lexicon().read(text), rare)
    worths = (max(_LATEST, 1 - _LATER * number) for number in range(len(told)))
    return [
        (whole, 1.0),
        *((_weighed(part, rare), worth) for part, worth in zip(told, worths, strict=False)),
    ]


def _initials(units: Units, short: set[str]) -> Units:
    """The abbreviations that fields are named with and a label writes out (`LLC`)."""
    words = [unit.word for unit in units]
    made = (
        "".join(word[0] for word in words[at : at + size])
        for size in (3, 4, 5)
        for at in range(len(words))
    )
    return tuple(Unit(word, frozenset(), 1.0) for word in sorted(short & set(made)))


def _rarity(asks: Iterable[Ask]) -> dict[str, float]:
    """What a word is worth by how many asks have it in their own names."""
    times = Counter(
        word
        for ask in asks
        for units, _ in ask.phrases[:1]
        for word in {unit.word for unit in units}
    )
    return {word: max(0.3, 1.0 / count**0.5) for word, count in times.items() if count > 2}


def _weighed(units: Units, rare: Mapping[str, float]) -> Units:
    return tuple(
        replace(unit, weight=unit.weight * rare[unit.word]) if unit.word in rare else unit
        for unit in units
    )


def _anchors(
    scores: Mapping[tuple[int, int], float], asks: Sequence[Ask], found: Sequence[Slot]
) -> list[tuple[int, int]]:
    """Pairs that are each other's best by far; the order of the others is measured against them."""
    best_ask = {
        a: max((score for (x, _), score in scores.items() if x == a), default=0.0)
        for a in range(len(asks))
    }
    best_slot = {
        s: max((score for (_, x), score in scores.items() if x == s), default=0.0)
        for s in range(len(found))
    }
    return sorted(
        (a, s)
        for (a, s), score in scores.items()
        if score >= _ANCHOR and score >= max(best_ask[a], best_slot[s])
    )


def _in_order(a: int, s: int, anchors: Sequence[tuple[int, int]]) -> float:
    """Schemas name fields as the form has them: a pair that keeps the order gains, another loses."""
    before = [slot for ask, slot in anchors if ask < a][-2:]
    after = [slot for ask, slot in anchors if ask > a][:2]
    kept = sum(slot <= s for slot in before) + sum(slot >= s for slot in after)
    total = len(before) + len(after)
    return _ORDER * (2 * kept / total - 1) if total else 0.0


def _shares(slot: Slot, ask: Ask) -> bool:
    """Whether a field of several lines holds a name and an address, each its own ask."""
    return "\n" in slot.field.value and ask.kind in {"address", *_NAMES}


def _values(ask: Ask, slot: Slot, page: Page, score: float, *, day_first: bool) -> Iterator[Claim]:
    """The claim of an ask on a field's value, in the ask's type."""
    field = slot.field
    if field.kind == "check":
        quote = field.label or field.name or "check mark"
        yield Claim(ask, field.value == "true", slot.page, 0, 0, quote, score)
        return
    start, end = _wanted_lines(ask, slot)
    text = page.text[start:end]
    for value in _meant(ask, text, day_first=day_first):
        made = as_json(ask, value, text)
        if made is not None:
            yield Claim(ask, made, slot.page, start, end, text, score)


def _wanted_lines(ask: Ask, slot: Slot) -> tuple[int, int]:
    """The first line of a field that is asked for a name and an address; the others for the address."""
    field = slot.field
    first = field.value.find("\n")
    told = {
        concept
        for text, _ in slot.labels
        for unit in lexicon().read(text)
        for concept in unit.concepts
    }
    if first > 0 and {"name", "address"} <= told | {"address"} & told:
        if ask.kind in _NAMES:
            return field.start, field.start + first
        if ask.kind == "address" and not any("name" in unit.concepts for unit in ask.own):
            return field.start + first + 1, field.end
    return field.start, field.end


def _meant(ask: Ask, text: str, *, day_first: bool) -> Iterator[object]:
    if ask.node.type in {"number", "integer"}:
        yield from (found.value for found in values.find_numbers(text))
    elif ask.iso:
        yield from (found.value for found in values.find_dates(text, day_first=day_first))
    elif ask.kind == "enum":
        yield from (option for option in ask.options if str(option).casefold() == text.casefold())
    else:
        yield text
