"""What labels say: text to concepts by labels.toml, and how alike a label and a field's phrase are.

A label is read into units, one a word: `Rechnungs-Nr.` and `invoice no.` are both (invoice, number).
Because schemas' names are read the same way, one phrase covers all languages.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_TOKEN = re.compile(r"[^\W\d_]+|\d{1,3}(?:,\d{3})+(?!\d)|\d+|[#%№]")
#: 409ADeferrals -> 409 A Deferrals, 2ndTIN -> 2nd TIN, SSN_ITIN -> SSN ITIN, dateOfBirth -> date Of Birth.
_NAME_PART = re.compile(
    r"\d+(?:st|nd|rd|th)\b|\d+(?:st|nd|rd|th)(?=[A-Z_])|\d+"
    r"|[A-Z]{2,}s?(?![a-z])|[A-Z](?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]+|[^\W\d_]"
)
#: The letters that two languages write in two ways.
_LETTERS = str.maketrans({"ß": "ss", "œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "’": "'"})
_LONGEST_WORD = 40
#: Two words that mean the same in one of their meanings: `USt.` is a tax, not any tax.
_PARTLY = 0.96
VAGUE = 0.85
_GENERAL = 0.5


@dataclass(frozen=True, slots=True)
class Unit:
    """One word of a label: as printed (folded) and the concepts it may stand for."""

    word: str
    concepts: frozenset[str]
    weight: float


@dataclass(frozen=True, slots=True)
class Meaning:
    """Something that a field may mean: its kind, how schemas name it, how documents do.

    Labels have their worth (0..1). `scope` is `row` for what only the rows of a table have; `also`
    is the meaning whose labels it takes where that one isn't asked for.
    """

    name: str
    kind: str
    scope: str
    fields: tuple[tuple[Unit, ...], ...]
    labels: tuple[tuple[tuple[Unit, ...], float], ...]
    also: str = ""


def plain(text: str) -> str:
    """Lower case without accents, one way of writing each letter."""
    text = text.casefold().translate(_LETTERS)
    if text.isascii():
        return text
    parts = unicodedata.normalize("NFKD", text)
    return "".join(char for char in parts if not unicodedata.combining(char))


def tokens(text: str) -> list[str]:
    """The folded words, numbers and number signs of a text."""
    return [token.replace(",", "") for token in _TOKEN.findall(plain(text))]


@lru_cache(maxsize=1)
def lexicon() -> "Lexicon":
    """The words of labels.toml, read once."""
    with Path(__file__).with_name("labels.toml").open("rb") as file:
        return Lexicon(tomllib.load(file))


class Lexicon:
    """Words to concepts, and the meanings that are written in them."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.general = frozenset(_listed(data["general"]["words"]))
        self._filling = frozenset(plain(word) for word in _listed(data["filling"]["words"]))
        self.particles = frozenset(_listed(data["names"]["particles"]))
        self.joins = frozenset(_listed(data["names"]["joins"]))
        self.heads = tuple(plain(word) for word in _listed(data["heads"]["words"]))
        self.roles = frozenset(_listed(data["roles"]["words"]))
        self.kinds: dict[str, str] = {
            c: kind for kind, words in data["kinds"].items() for c in _listed(words)
        }
        self.furniture = frozenset(plain(word) for word in _listed(data["forms"]["furniture"]))
        self.forms = frozenset(plain(word) for word in _listed(data["forms"]["called"]))
        listed = _listed(data["organisations"]["suffixes"])
        capitals = [suffix.upper() for suffix in listed if len(suffix) > 2]
        suffixes = sorted({*listed, *capitals}, key=lambda suffix: (-len(suffix), suffix))
        self._company = re.compile(
            rf"(?:^|[\s,&.])(?:{'|'.join(map(re.escape, suffixes))})(?=$|[\s,.)])"
        )
        self._countries = frozenset(plain(name) for name in _listed(data["countries"]["names"]))
        self._payments = re.compile(
            rf"\b(?:{'|'.join(sorted(map(re.escape, map(plain, _listed(data['payments']['words']))), key=len, reverse=True))})\b"
        )
        self.answers = {
            plain(word): said == "yes"
            for said, words in data["answers"].items()
            for word in _listed(words)
        }
        streets = [plain(word) for word in _listed(data["addresses"]["streets"])]
        self._streets = frozenset(word for word in streets if not word.startswith("-"))
        self._street_ends = tuple(word[1:] for word in streets if word.startswith("-"))
        self.bases = frozenset(_listed(data["bases"]["words"]))
        self._choices = [_listed(words) for words in data["choices"].values()]
        self._words: dict[str, tuple[frozenset[str], ...]] = {}
        self._phrases: dict[tuple[str, ...], tuple[frozenset[str], ...]] = {}
        for concept, words in data["words"].items():
            self._learn(concept, concept)
            for entry in _listed(words):
                self._learn(concept, entry)
        self._longest = max(map(len, self._phrases), default=1)
        self._rewrites = [
            (tuple(given.split()), tuple(made.split())) for given, made in data["rewrites"].items()
        ]
        self._rewritten_from = frozenset(given[0] for given, _ in self._rewrites)
        self._cache: dict[str, tuple[Unit, ...]] = {}
        self.meanings = tuple(
            Meaning(
                name,
                m["kind"],
                m.get("scope", ""),
                self._all(m["fields"]),
                self._labels(m["labels"]),
                m.get("also", ""),
            )
            for name, m in data["meanings"].items()
        )

    def is_company(self, text: str) -> bool:
        """Whether a text holds the legal form of a company or the like (`GmbH`, `Inc.`)."""
        return self._company.search(text) is not None

    def is_payment(self, text: str) -> bool:
        """Whether a text names a way of paying (`Visa`, `Überweisung`)."""
        return self._payments.search(plain(text)) is not None

    def is_country(self, text: str) -> bool:
        """Whether a text is the name of a country."""
        return plain(text.strip(" .,")) in self._countries

    def is_street(self, text: str) -> bool:
        """Whether a text holds a word that streets and places have in their names."""
        found = tokens(text)
        return any(word in self._streets or word.endswith(self._street_ends) for word in found)

    def _learn(self, concept: str, entry: str) -> None:
        words, *more = entry.split("+")
        key = tuple(tokens(words))
        parts = (frozenset({concept}), *(frozenset({other}) for other in more))
        table: dict[Any, tuple[frozenset[str], ...]] = (
            self._phrases if len(key) > 1 else self._words
        )
        name: Any = key if len(key) > 1 else "".join(key) or words.strip()
        known = table.get(name)
        if known and len(known) == len(parts):
            parts = tuple(a | b for a, b in zip(known, parts, strict=True))
        elif known and len(known) > len(parts):
            parts = known
        table[name] = parts

    def _all(self, phrases: str) -> tuple[tuple[Unit, ...], ...]:
        return tuple(self.read(phrase) for phrase in _listed(phrases))

    def _labels(self, phrases: str) -> tuple[tuple[tuple[Unit, ...], float], ...]:
        """Phrases with their worth: `~` marks those that other things are called, too."""
        return tuple(
            (self.read(phrase), VAGUE if phrase.startswith("~") else 1.0)
            for phrase in _listed(phrases)
        )

    def same_choice(self, option: str) -> Iterator[str]:
        """What a choice on a form is called besides, in all languages."""
        for words in self._choices:
            if any(plain(word) == plain(option) for word in words):
                yield from words

    def read(self, text: str) -> tuple[Unit, ...]:
        """The units of a label or a phrase, filling words left out."""
        return self.units(tokens(text))

    def says(self, text: str) -> bool:
        """Whether a text has any word that is no filling word."""
        return any(token not in self._filling for token in tokens(text))

    def read_name(self, name: str) -> tuple[Unit, ...]:
        """The units of a field's name, however it is written."""
        return self.units([plain(part) for part in _NAME_PART.findall(name)])

    def units(self, words: Sequence[str]) -> tuple[Unit, ...]:
        """The units of folded words: phrases first, then single words and compounds."""
        units: list[Unit] = []
        at = 0
        while at < len(words):
            size, found = self._phrase(words, at)
            if found:
                units += [
                    self._unit(" ".join(words[at : at + size]), concepts) for concepts in found
                ]
            elif words[at] not in self._filling:
                units += self.word(words[at])
            at += size
        return self._rewritten(tuple(units))

    def _phrase(self, words: Sequence[str], at: int) -> tuple[int, tuple[frozenset[str], ...]]:
        for size in range(min(self._longest, len(words) - at), 1, -1):
            if found := self._phrases.get(tuple(words[at : at + size])):
                return size, found
        return 1, ()

    def word(self, word: str) -> tuple[Unit, ...]:
        """The units of one folded word: more than one for a compound."""
        found = self._cache.get(word)
        if found is None:
            concepts = self._look_up(word) or self._compound(word) or (frozenset(),)
            found = tuple(self._unit(word, each) for each in concepts)
            if len(self._cache) < 50_000:
                self._cache[word] = found
        return found

    def _unit(self, word: str, concepts: frozenset[str]) -> Unit:
        if not concepts:
            return Unit(word, concepts, 0.35 if word.isdigit() or len(word) == 1 else 0.8)
        return Unit(word, concepts, _GENERAL if concepts <= self.general else 1.0)

    def _look_up(self, word: str) -> tuple[frozenset[str], ...]:
        if found := self._words.get(word):
            return found
        for ending in ("s", "es", "n", "en", "e", "er"):
            long = len(word) - len(ending) >= 4 and word.endswith(ending)
            if long and (found := self._words.get(word[: -len(ending)])):
                return found
        return ()

    def _compound(self, word: str) -> tuple[frozenset[str], ...]:
        """`Rechnungsdatum` is invoice and date; `Zählernummer` something and number."""
        if not 6 <= len(word) <= _LONGEST_WORD:
            return ()
        for cut in range(3, len(word) - 2):
            last = self._words.get(word[cut:])
            if last and (first := self._joined(word[:cut])):
                return (*first, *last)
        for head in self.heads:
            if word.endswith(head) and len(word) - len(head) >= 3:
                first = self._joined(word[: -len(head)]) or (frozenset({f"{word[: -len(head)]}-"}),)
                return (*first, *self._words[head])
        return ()

    def _joined(self, word: str) -> tuple[frozenset[str], ...]:
        """The first part of a compound, with or without the letter that joins it."""
        return self._look_up(word) or (
            self._look_up(word[:-1]) if word[-1] == "s" and len(word) > 3 else ()
        )

    def _rewritten(self, units: tuple[Unit, ...]) -> tuple[Unit, ...]:
        starts = [
            at
            for at, unit in enumerate(units)
            if not unit.concepts.isdisjoint(self._rewritten_from)
        ]
        for given, made in self._rewrites if starts else ():
            for at in starts:
                if at + len(given) > len(units):
                    break
                part = units[at : at + len(given)]
                if all(want in unit.concepts for want, unit in zip(given, part, strict=True)):
                    word = " ".join(unit.word for unit in part)
                    new = tuple(self._unit(word, frozenset({concept})) for concept in made)
                    return self._rewritten(units[:at] + new + units[at + len(given) :])
        return units


def alike(phrase: Sequence[Unit], label: Sequence[Unit]) -> float:
    """How much a label says what a phrase does: 1 when all units agree and none is left over."""
    if not phrase or not label:
        return 0.0
    left = list(label)
    shared, telling = 0.0, False
    for unit in phrase:
        best, at = 0.0, -1
        for number, candidate in enumerate(left):
            same = _same(unit, candidate)
            if same > best:
                best, at = same, number
        if best:
            shared += best * (unit.weight + left.pop(at).weight) / 2
            telling = telling or unit.weight > _GENERAL
    whole = weigh(phrase) + weigh(label)
    if not telling and any(unit.weight > _GENERAL for unit in phrase):
        shared *= _GENERAL  # `Nr.` alone names no invoice number
    return 2 * shared / whole if whole else 0.0


def weigh(units: Iterable[Unit]) -> float:
    """The weight of units, all together."""
    return sum(unit.weight for unit in units)


def covers(phrase: Sequence[Unit], label: Iterable[Unit]) -> float:
    """The share of a phrase, by weight, that stands somewhere in a longer text."""
    units = list(label)
    whole = weigh(phrase)
    found = sum(
        unit.weight * max((_same(unit, other) for other in units), default=0.0) for unit in phrase
    )
    return found / whole if whole else 0.0


def _same(a: Unit, b: Unit) -> float:
    if a.word == b.word or (a.concepts and a.concepts == b.concepts):
        return 1.0
    if not a.concepts.isdisjoint(b.concepts):
        return _PARTLY
    if (a.concepts and b.concepts) or a.word[:3] != b.word[:3]:
        return 0.0
    short, long = (a.word, b.word) if len(a.word) < len(b.word) else (b.word, a.word)
    if len(short) >= 3 and long.startswith(short) and not short.isdigit():
        return 0.9 if len(long) - len(short) <= 2 or len(short) >= 5 else 0.7
    if len(short) >= 8 and long[:7] == short[:7]:  # endings, slips
        return 0.8
    return 0.0


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
