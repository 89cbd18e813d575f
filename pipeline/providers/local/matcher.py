"""Which field a label names: every field of the schema against each other and against known meanings."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.providers.local.asks import FROM_MEANING, Ask, Units
from pipeline.providers.local.words import VAGUE, Lexicon, Unit, alike, tokens, weigh

#: Only this many words before a value are read as its label.
_MOST_WORDS = 8
_LONGEST_LABEL = 120
#: What each word costs that stands in the label and belongs to no phrase: a known one tells of another field.
_KNOWN_EXTRA, _UNKNOWN_EXTRA = 0.72, 0.9
#: A label that goes on after its words (`Total for this order`) is a little less sure.
_BEFORE = 0.95
#: Below this a label says nothing.
_FAINT = 0.3
#: How fast a field loses a label that another one fits better.
_RIVALRY = 2.0
#: What ends a label when read backwards: another label's colon, an amount, a bullet.
_BORDER = re.compile(
    r"[:;|!?•●·]+\s|[.,]\d\d(?=\s)|\d{1,4}[./\-]\d{1,2}[./\-]\d{2,4}|[^\W\d_]{5,20}\. (?=[A-Z])"
)
_GROUPS = {
    **dict.fromkeys(("money", "number", "percent", "year"), "number"),
    **dict.fromkeys(("date", "datetime", "time", "zoned_time"), "date"),
}


@dataclass(frozen=True, slots=True, eq=False)
class _Phrase:
    """A phrase with its worth (0..1), the weight of its units, and what it is looked up by."""

    units: Units
    worth: float
    weight: float
    keys: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """A part of a label, with what the words that it leaves out cost."""

    units: Units
    cost: float
    weight: float
    keys: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class _Owner:
    """Whoever may own a label: a field that is asked for, or a meaning that isn't."""

    ask: Ask | None
    group: str
    phrases: tuple[_Phrase, ...]


class Matcher:
    """Labels to fields; answers are kept, as documents repeat their labels."""

    def __init__(self, asks: Sequence[Ask], lexicon: Lexicon, scope: str = "") -> None:
        self._lexicon = lexicon
        asked = {ask.meaning for ask in asks}
        also = {m.name: m.also for m in lexicon.meanings if m.also and m.also not in asked}
        lent = {m.name: _phrases(m.labels, FROM_MEANING * VAGUE) for m in lexicon.meanings}
        self._owners = [
            _Owner(
                ask,
                _group(ask.kind),
                _phrases(ask.phrases) + lent.get(also.get(ask.meaning, ""), ()),
            )
            for ask in asks
        ]
        asked |= {also[name] for name in asked if name in also}
        self._owners += [
            _Owner(None, _group(meaning.kind), _phrases(meaning.labels, FROM_MEANING))
            for meaning in lexicon.meanings
            if meaning.name not in asked
            and (meaning.scope in {"", scope} or (meaning.scope == "whole" and not scope))
        ]
        self._amounts = {
            meaning.name: _Owner(None, "number", _phrases(meaning.labels, FROM_MEANING))
            for meaning in lexicon.meanings
            if meaning.kind == "money" and meaning.scope != "row"
        }
        self._totals = [
            self._amounts[meaning.name]
            for meaning in lexicon.meanings
            if meaning.kind == "money" and meaning.scope == "whole"
        ]
        self._index: dict[str, list[int]] = {}
        for number, owner in enumerate(self._owners):
            for key in sorted(frozenset().union(*(phrase.keys for phrase in owner.phrases))):
                self._index.setdefault(key, []).append(number)
        self._known: dict[str, dict[Ask, float]] = {}

    def match(self, label: str) -> dict[Ask, float]:
        """How well a label names each field (0..1), those that it names at all."""
        words = tokens(label[-_LONGEST_LABEL:])[-_MOST_WORDS:]
        key = " ".join(words)
        found = self._known.get(key)
        if found is None:
            found = self._match(self._lexicon.units(words))
            if len(self._known) < 100_000:
                self._known[key] = found
        return found

    def begins(self, word: str) -> bool:
        """Whether a label of a field can begin with a word; filling words can."""
        units = self._lexicon.read(word)
        keys = {key for unit in units[:1] for key in _label_keys(unit)}
        return not units or any(
            self._owners[n].ask is not None for key in keys for n in self._index.get(key, ())
        )

    def says(self, label: str) -> float:
        """How well a label names anything that is known, asked for or not."""
        units = self._lexicon.units(tokens(label[-_LONGEST_LABEL:])[-_MOST_WORDS:])
        windows = list(_windows(units))
        numbers = {
            n for unit in units for key in _label_keys(unit) for n in self._index.get(key, ())
        }
        return max((_strength(self._owners[n], windows) for n in numbers), default=0.0)

    def total(self, label: str) -> float:
        """How well a label names an amount of the whole document, asked for or not."""
        units = self._lexicon.units(tokens(label[-_LONGEST_LABEL:])[-_MOST_WORDS:])
        windows = list(_windows(units))
        return max((_strength(owner, windows) for owner in self._totals), default=0.0)

    def amounts(self, label: str) -> Iterator[tuple[str, float]]:
        """The meanings of amounts that a label names, asked for or not, each with how well."""
        windows = list(
            _windows(self._lexicon.units(tokens(label[-_LONGEST_LABEL:])[-_MOST_WORDS:]))
        )
        for name, owner in self._amounts.items():
            if strength := _strength(owner, windows):
                yield name, strength

    def _match(self, units: Units) -> dict[Ask, float]:
        numbers = {
            n for unit in units for key in _label_keys(unit) for n in self._index.get(key, ())
        }
        owners = [self._owners[n] for n in sorted(numbers)]
        if all(owner.ask is None for owner in owners):
            return {}
        windows = list(_windows(units))
        own = [(owner, _strength(owner, windows)) for owner in owners if owner.ask is not None]
        tops: dict[str, float] = {}
        for owner, strength in own:
            tops[owner.group] = max(tops.get(owner.group, 0.0), strength)
        for owner in owners:  # the others only where they can take something away
            if owner.ask is None and tops.get(owner.group, 0.0) > 0:
                tops[owner.group] = max(tops[owner.group], _strength(owner, windows))
        scores: dict[Ask, float] = {}
        for owner, strength in own:
            score = strength * max(0.2, 1 - _RIVALRY * (tops[owner.group] - strength))
            if owner.ask is not None and score > _FAINT:
                scores[owner.ask] = score
        return scores


def tail(text: str) -> str:
    """The part of a text that can be the label of what follows it."""
    text = text[-_LONGEST_LABEL:].rstrip(" :.=-–—\t")
    cut = 0
    for match in _BORDER.finditer(text):
        cut = match.end()
    return text[cut:].strip()


def _windows(units: Units) -> Iterator[_Window]:
    """The label and its endings and beginnings, with what the words around them cost."""
    cost = 1.0
    for start in range(len(units)):
        yield _window(units[start:], cost)
        cost *= _KNOWN_EXTRA if units[start].concepts else _UNKNOWN_EXTRA
    cost = _BEFORE
    for end in range(len(units) - 1, 0, -1):
        cost *= _KNOWN_EXTRA if units[end].concepts else _UNKNOWN_EXTRA
        yield _window(units[:end], cost)


def _window(units: Units, cost: float) -> _Window:
    return _Window(units, cost, weigh(units), frozenset().union(*map(_label_keys, units)))


def _strength(owner: _Owner, windows: Sequence[_Window]) -> float:
    """How well an owner's best phrase says a label; what can't be better is not looked at."""
    best = _FAINT
    for phrase in owner.phrases:
        for window in windows:
            limit = phrase.worth * window.cost
            if limit <= best or phrase.keys.isdisjoint(window.keys):
                continue
            if limit * 2 * min(phrase.weight, window.weight) > best * (
                phrase.weight + window.weight
            ):
                best = max(best, limit * alike(phrase.units, window.units))
    return best if best > _FAINT else 0.0


def _phrases(phrases: Iterable[tuple[Units, float]], worth: float = 1.0) -> tuple[_Phrase, ...]:
    return tuple(
        _Phrase(units, worth * own, weigh(units), frozenset().union(*map(_phrase_keys, units)))
        for units, own in phrases
        if units
    )


def _phrase_keys(unit: Unit) -> frozenset[str]:
    """Under what a phrase's unit is found: its word, its concepts, and its start for abbreviations.

    Words are abbreviated only where one of the two is unknown: `u:` are the starts of unknown words
    of labels, `k:` those of known ones.
    """
    start = unit.word[:3]
    return frozenset((unit.word, f"u:{start}", *(unit.concepts or (f"k:{start}",))))


def _label_keys(unit: Unit) -> frozenset[str]:
    start = unit.word[:3]
    return frozenset(
        (unit.word, *(unit.concepts or ()), f"{'k' if unit.concepts else 'u'}:{start}")
    )


def _group(kind: str) -> str:
    return _GROUPS.get(kind, "text")
