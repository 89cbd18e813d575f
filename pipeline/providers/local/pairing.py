"""Which field of a form answers which ask: by what labels it, and by the order of both."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline.providers.local.asks import Ask, Units
from pipeline.providers.local.slots import Slot
from pipeline.providers.local.words import Unit, alike, covers, lexicon

Pair = tuple[int, int]
Test = Callable[[int, int], bool]

_CLAUSE = re.compile(r"[.;:()\[\],/]|\s[-–—]\s")
#: Numbers that forms give their lines: `5 Address`, `10a Date`.
_LINE_NUMBER = re.compile(r"^\s*\d{1,3}[a-z]?\.?\s+(?=[^\W\d])")
#: How much later clauses of a long label count less, and at the least.
_LATER, _LATEST = 0.07, 0.6
#: A clause with more words than this has no initials; one with more says many things.
_SHORT = 6
#: An ask and a field at least this alike can hold each other; a pair so alike is sure of its order.
ALIKE, _ANCHOR = 0.42, 0.8
_ORDER = 0.12
#: How much less another field may be worth to an ask that leaves its own to one without any.
_LOSS = 0.08


def pairs(
    found: Sequence[Slot], asks: Sequence[Ask], fits: Test, shares: Test
) -> dict[Pair, float]:
    """The numbers of asks and fields that belong together, with how sure that is, the surest first.

    The likeliest pairs first; then an ask that is left over gets its field from one that is about
    as well off with another. `fits(a, s)` says whether the ask takes the field's value, `shares`
    whether it takes only a part of it, so that another may have it too.
    """
    scores = likenesses(found, asks)
    anchors = _anchors(scores, asks, found)
    ranked = sorted(
        ((score + _in_order(a, s, anchors), -a, -s) for (a, s), score in scores.items()),
        reverse=True,
    )
    worth = {(-a, -s): score for score, a, s in ranked if score >= ALIKE}
    held: dict[int, int] = {}
    users: dict[int, int] = {}
    for a, s in worth:
        if a not in held and (s not in users or shares(a, s)) and fits(a, s):
            held[a] = s
            users[s] = a
    for a, s in worth:
        if a in held or s not in users or shares(a, s) or not fits(a, s):
            continue
        owner = users[s]
        other = _elsewhere(owner, worth, users, fits)
        if other and worth[owner, other[0]] >= worth[owner, s] - _LOSS:
            held[owner], held[a] = other[0], s
            users[other[0]], users[s] = owner, a
    return {(a, held[a]): worth[a, held[a]] for a, s in worth if held.get(a) == s}


def _elsewhere(
    ask: int, worth: Mapping[Pair, float], users: Mapping[int, int], fits: Test
) -> list[int]:
    """The best field for an ask that no other has."""
    return next(([s] for a, s in worth if a == ask and s not in users and fits(a, s)), [])


def likenesses(found: Sequence[Slot], asks: Sequence[Ask]) -> dict[tuple[int, int], float]:
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
            if score > ALIKE - _ORDER:
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
    words = [unit.word for unit in units] if len(units) <= _SHORT else []
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
