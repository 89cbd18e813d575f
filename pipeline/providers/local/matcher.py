"""Which field a label names: every field of the schema against each other and against known meanings."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.providers.local.asks import FROM_MEANING, Ask, Units
from pipeline.providers.local.words import Lexicon, alike, tokens

#: Only this many words before a value are read as its label.
_MOST_WORDS = 8
#: What each word costs that stands in the label and belongs to no phrase: a known one tells of another field.
_KNOWN_EXTRA, _UNKNOWN_EXTRA = 0.72, 0.9
#: A label that goes on after its words (`Total for this order`) is a little less sure.
_BEFORE = 0.95
#: Below this a label says nothing.
_FAINT = 0.3
#: How fast a field loses a label that another one fits better.
_RIVALRY = 2.0
#: What ends a label when read backwards: another label's colon, an amount, a bullet.
_BORDER = re.compile(r"[:;|!?•●·]+\s|[.,]\d\d(?=\s)|\d{1,4}[./\-]\d{1,2}[./\-]\d{2,4}|[^\W\d_]{5,20}\. (?=[A-Z])")
_GROUPS = {
    **dict.fromkeys(("money", "number", "percent", "year"), "number"),
    **dict.fromkeys(("date", "datetime", "time"), "date"),
}


@dataclass(frozen=True, slots=True, eq=False)
class _Owner:
    """Whoever may own a label: a field that is asked for, or a meaning that isn't."""

    ask: Ask | None
    group: str
    phrases: tuple[tuple[Units, float, frozenset[str]], ...]


class Matcher:
    """Labels to fields; answers are kept, as documents repeat their labels."""

    def __init__(self, asks: Sequence[Ask], lexicon: Lexicon, scope: str = "") -> None:
        self._lexicon = lexicon
        asked = {ask.meaning for ask in asks}
        self._owners = [_Owner(ask, _group(ask.kind), _keyed(ask.phrases, 1.0)) for ask in asks]
        self._owners += [
            _Owner(None, _group(meaning.kind), _keyed(meaning.labels, FROM_MEANING))
            for meaning in lexicon.meanings
            if meaning.name not in asked and (meaning.scope in {"", scope} or (meaning.scope == "whole" and not scope))
        ]
        self._totals = [
            _Owner(None, "number", _keyed(meaning.labels, FROM_MEANING))
            for meaning in lexicon.meanings
            if meaning.kind == "money" and meaning.scope == "whole"
        ]
        self._index: dict[str, list[int]] = {}
        for number, owner in enumerate(self._owners):
            for key in sorted(frozenset().union(*(keys for _, _, keys in owner.phrases))):
                self._index.setdefault(key, []).append(number)
        self._known: dict[str, dict[Ask, float]] = {}

    def match(self, label: str) -> dict[Ask, float]:
        """How well a label names each field (0..1), those that it names at all."""
        words = tokens(label[-300:])[-_MOST_WORDS:]
        key = " ".join(words)
        found = self._known.get(key)
        if found is None:
            found = self._match(self._lexicon.units(words))
            if len(self._known) < 100_000:
                self._known[key] = found
        return found

    def total(self, label: str) -> float:
        """How well a label names an amount of the whole document, asked for or not."""
        units = self._lexicon.units(tokens(label[-300:])[-_MOST_WORDS:])
        windows = list(_windows(units))
        return max((_strength(owner, windows) for owner in self._totals), default=0.0)

    def _match(self, units: Units) -> dict[Ask, float]:
        numbers = sorted({n for key in _keys(units) for n in self._index.get(key, ())})
        if not numbers:
            return {}
        windows = list(_windows(units))
        strengths = {n: _strength(self._owners[n], windows) for n in numbers}
        tops: dict[str, float] = {}
        for n, strength in strengths.items():
            group = self._owners[n].group
            tops[group] = max(tops.get(group, 0.0), strength)
        scores: dict[Ask, float] = {}
        for n, strength in strengths.items():
            owner = self._owners[n]
            behind = tops[owner.group] - strength
            score = strength * max(0.2, 1 - _RIVALRY * behind)
            if owner.ask is not None and score > _FAINT:
                scores[owner.ask] = score
        return scores


def tail(text: str) -> str:
    """The part of a text that can be the label of what follows it."""
    text = text[-200:].rstrip(" :.=-–—\t")
    cut = 0
    for match in _BORDER.finditer(text):
        cut = match.end()
    return text[cut:].strip()


def _windows(units: Units) -> Iterable[tuple[Units, float, frozenset[str]]]:
    """The label and its endings and beginnings, with what the words around them cost."""
    cost = 1.0
    for start in range(len(units)):
        yield units[start:], cost, _keys(units[start:])
        cost *= _KNOWN_EXTRA if units[start].concepts else _UNKNOWN_EXTRA
    cost = _BEFORE
    for end in range(len(units) - 1, 0, -1):
        cost *= _KNOWN_EXTRA if units[end].concepts else _UNKNOWN_EXTRA
        yield units[:end], cost, _keys(units[:end])


def _strength(owner: _Owner, windows: Sequence[tuple[Units, float, frozenset[str]]]) -> float:
    best = 0.0
    for phrase, worth, wanted in owner.phrases:
        for window, cost, keys in windows:
            if worth * cost > best and not wanted.isdisjoint(keys):
                best = max(best, worth * cost * alike(phrase, window))
    return best


def _keyed(
    phrases: Iterable[tuple[Units, float]], worth: float
) -> tuple[tuple[Units, float, frozenset[str]], ...]:
    return tuple((units, worth * own, _keys(units)) for units, own in phrases)


def _keys(units: Units) -> frozenset[str]:
    """Under what units are looked up: their concepts, and the start of a word for abbreviations."""
    return frozenset(
        key for unit in units for key in (*unit.concepts, unit.word, "=" + unit.word[:3])
    )


def _group(kind: str) -> str:
    return _GROUPS.get(kind, "text")
