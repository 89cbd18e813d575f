"""What a translation must carry over: numbers by value, codes and placeholders as they stand; what is missing, what is added.

    1,234.50 is 1.234,50, 2.1 million is 2,100,000, 16.04.2018 is April 16, 2018, 14:30 is 2:30 pm
    AB-1234, COVID-19, https://..., a@b.com, an IBAN however it is grouped
    {name}, {{x}}, ${X}, %s, %(x)d, <b>, :id

Each of the two texts is read alone, and what is found is compared as multisets. Both are untrusted: the time grows
with their length. Number words are no numbers: who writes 2 for two adds a number.
"""

import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pipeline.stages import Keep
from pipeline.values import (
    find_dates,
    find_emails,
    find_ibans,
    find_numbers,
    find_times,
    find_urls,
    plain,
)
from pipeline.values.found import masked
from pipeline.values.months import months_of

_PLACEHOLDER: Final = re.compile(
    r"\{\{[^{}]{0,80}\}\}|\$\{[^{}]{0,80}\}|\{[\w.$\-]{0,64}(?:[:!][^{}\s]{0,32})?\}"
    r"|%\([A-Za-z_]\w{0,63}\)[#0+\-]{0,4}\d{0,4}(?:\.\d{1,4})?[a-zA-Z]"
    r"|%(?:\d{1,2}\$)?[#0+\-]{0,4}\d{0,4}(?:\.\d{1,4})?[diuoxXeEfFgGcrsa@](?![^\W\d_])"
    r"|</?[A-Za-z][\w:\-]{0,40}(?:\s[^<>]{0,400})?/?>"
    r"|(?<![\w:/]):[a-z_][A-Za-z0-9_]{0,63}"
)
_LETTER: Final = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
#: Runs of letters and digits; a point joins two digits alone: `p.12` is no code.
_TOKEN: Final = re.compile(rf"[{_LETTER}0-9]+(?:(?:[-_/+#]|(?<=\d)\.(?=\d))[{_LETTER}0-9]+)*")
_JOINT: Final = re.compile(r"[-_/+#]")
#: What holds digits and letters and is translated all the same: 5kg, 3rd, 90er, 12h30, m2, Tabelle1.
_NO_CODE: Final = re.compile(
    rf"\d+(?:\.\d+)*[{_LETTER}]{{1,4}}|\d+[a-z]{{1,2}}\d+|[kcdm]?m[23]|[{_LETTER}]?[a-z\u00df-\u024f]{{4,}}\d+"
)
_LETTERS: Final = re.compile(r"[A-Za-z]")
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
#: A day and a month without a year, as 16.04. in a sentence; the point behind tells them from a number.
_DAY_MONTH: Final = re.compile(r"(?<![\d.,])\d{1,2}\.(0[1-9]|1[0-2])\.(?!\d)")
#: Square and cubic metres: their figure is no number.
_METRES: Final = re.compile(r"(?<![A-Za-z])[kcdm]?m[23](?!\w)")
#: A part of a second: times are read without it.
_FRACTION: Final = re.compile(r":\d\d[.,]\d")
_SUBSCRIPTS: Final = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_CHAIN: Final = re.compile(r"\d+(?:[./:,'\-]\d+)*")
_RUN: Final = re.compile(r"\d+")
#: Where one of these stands between digits, what looks like one number may be several.
_LOOSE: Final = re.compile(r"[\s/:\-]")
_WORD: Final = re.compile(r"[^\W\d_]{3,14}")
#: What a finding names of each side, and of each of them.
_MOST, _LONGEST = 8, 60


@dataclass(frozen=True, slots=True)
class Difference:
    """What a translation lacks of its source, and what it has beside it, as they are printed."""

    kind: Keep
    missing: tuple[str, ...]
    added: tuple[str, ...]

    def __str__(self) -> str:
        """`missing: 1.234,50; added: 1,234.51`."""
        sides = (("missing", self.missing), ("added", self.added))
        return "; ".join(f"{word}: {_listed(each)}" for word, each in sides if each)


def differences(source: str, target: str, keep: Sequence[Keep]) -> list[Difference]:
    """What a translation does not keep of its source, for each kind that it must keep; empty where it keeps all.

    What is part of a placeholder or a code, where those are kept too, is not told as a number again.
    """
    found: list[Difference] = []
    for kind, read in _READERS.items():
        if kind not in keep:
            continue
        mine, its = (list(read(text)) for text in (source, target))
        missing, added = _apart((one.name for one in mine), (one.name for one in its))
        found += [Difference(kind, missing, added)] if missing or added else []
        source, target = _without(source, mine), _without(target, its)
    if "numbers" in keep:
        missing, added = _of_numbers(source, target)
        found += [Difference("numbers", missing, added)] if missing or added else []
    return found


def _apart(mine: Iterable[str], its: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    left, right = Counter(mine), Counter(its)
    return tuple((left - right).elements()), tuple((right - left).elements())


def _listed(each: Sequence[str]) -> str:
    told = [" ".join(text.split())[:_LONGEST] for text in each[:_MOST]]
    more = len(each) - len(told)
    return ", ".join(told) + (f" and {more:,} more" if more else "")


# placeholders and codes -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    """Something that stands in a text, by the name that it is compared by."""

    name: str
    start: int
    end: int


def _without(text: str, tokens: Iterable[_Token]) -> str:
    return masked(text, [(each.start, each.end) for each in tokens], "\n")


def _placeholders(text: str) -> Iterator[_Token]:
    for match in _PLACEHOLDER.finditer(text):
        yield _Token(match[0], *match.span())


def _codes(text: str) -> Iterator[_Token]:
    """Addresses of web and mail, IBANs, and what has digits and letters in one."""
    named = [*_addresses(text), *(_Token(f.value, f.start, f.end) for f in find_ibans(text))]
    yield from named
    rest = _without(text, named).translate(_SUBSCRIPTS)
    for match in _TOKEN.finditer(rest):
        start, end = _code_in(match)
        code = rest[start:end]
        if _RUN.search(code) and _LETTERS.search(code) and not _NO_CODE.fullmatch(code):
            yield _Token(code, start, end)


def _addresses(text: str) -> Iterator[_Token]:
    """Of an address its ASCII counts: in scripts without blanks it touches the words around it."""
    seen = _NOT_ASCII.sub(" ", text)
    taken = 0
    for found in sorted((*find_emails(seen), *find_urls(seen)), key=lambda each: each.start):
        if found.start >= taken:
            yield _Token(found.text, found.start, found.end)
            taken = found.end


def _code_in(match: re.Match[str]) -> tuple[int, int]:
    """A token from its first to its last part with digits or in capitals: A4 of `A4-Papier`."""
    ends = [*(joint.start() for joint in _JOINT.finditer(match[0])), len(match[0])]
    starts = [0, *(end + 1 for end in ends[:-1])]
    own = [
        (start, end)
        for start, end in zip(starts, ends, strict=True)
        if (part := match[0][start:end]).isupper() or _RUN.search(part)
    ]
    if not own:
        return match.start(), match.start()
    return match.start() + own[0][0], match.start() + own[-1][1]


_READERS: Final[Mapping[Keep, Callable[[str], Iterator[_Token]]]] = {
    "placeholders": _placeholders,
    "codes": _codes,
}


# numbers ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Number:
    """A number, date or time as it is printed, and all that it may mean; of a date, its likeliest month."""

    printed: str
    readings: frozenset[Any]
    month: int | None = None

    @property
    def units(self) -> list[tuple[str, ...]]:
        """Its runs of digits, without the zeros before them; apart, where another language may print them apart."""
        printed = plain(self.printed)
        runs = [run.lstrip("0") or "0" for run in _RUN.findall(printed)]
        if all(isinstance(each, Decimal) and each < 0 for each in self.readings):
            runs[0] = f"-{runs[0]}"
        return [(run,) for run in runs] if self.month or _LOOSE.search(printed) else [tuple(runs)]


def _of_numbers(source: str, target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is missing and what is added: by value, and what is left of that by its runs of digits."""
    left, right = _unlike(list(_numbers(source)), list(_numbers(target)))
    missing, added = _apart_by_units(left, right)
    if missing and not added:  # the month of a date may have become a word
        missing = _without_months(missing, target)
    elif added and not missing:
        added = _without_months(added, source)
    sides = ([each.printed for _, each in side] for side in (missing, added))
    first, second = (tuple(dict.fromkeys(side)) for side in sides)
    return first, second


def _numbers(text: str) -> Iterator[_Number]:
    """Every number, date and time of a text: no digit is left out, and none is read twice."""
    text = _METRES.sub(lambda match: "\n" * len(match[0]), text)
    dates = find_dates(text)
    yield from (_Number(each.text, each.readings, each.value.month) for each in dates)
    text = masked(text, [(each.start, each.end) for each in dates], "\n")
    days = list(_DAY_MONTH.finditer(text))
    for match in days:
        yield _Number(match[0], frozenset([match[0], Decimal(match[0][:-1])]), int(match[1]))
    text = masked(text, [match.span() for match in days], "\n")
    times = [each for each in find_times(text) if not _FRACTION.search(plain(each.text))]
    yield from (_Number(each.text, each.readings) for each in times)
    text = masked(text, [(each.start, each.end) for each in times], "\n")
    numbers = find_numbers(text)
    yield from (_Number(each.text, each.readings) for each in numbers)
    text = masked(text, [(each.start, each.end) for each in numbers], "\n")
    for match in _CHAIN.finditer(plain(text)):
        yield _Number(match[0], frozenset([match[0]]))


_Units = list[tuple[tuple[str, ...], _Number]]


def _apart_by_units(left: Iterable[_Number], right: Iterable[_Number]) -> tuple[_Units, _Units]:
    sides = [[(unit, each) for each in side for unit in each.units] for side in (left, right)]
    counts = [Counter(unit for unit, _ in side) for side in sides]
    found: list[_Units] = []
    for side, more in zip(sides, (counts[0] - counts[1], counts[1] - counts[0]), strict=True):
        found.append([])
        for unit, each in side:
            if more[unit]:
                more[unit] -= 1
                found[-1].append((unit, each))
    return found[0], found[1]


def _without_months(units: _Units, other: str) -> _Units:
    """What is left without the months of dates, and without those that the other text names in words."""
    named = {month for match in _WORD.finditer(other) for month in months_of(match[0])}
    return [
        (unit, each)
        for unit, each in units
        if not (len(unit) == 1 and len(unit[0]) < 3 and int(unit[0]) in {*named, each.month})
    ]


def _unlike(
    left: Sequence[_Number], right: Sequence[_Number]
) -> tuple[list[_Number], list[_Number]]:
    """What is left once every number has met one of the other side that may mean the same; as many meet as can."""
    mine, its = _grouped(left), _grouped(right)
    able: dict[Any, list[frozenset[Any]]] = defaultdict(list)
    for readings in its:
        for reading in readings:
            able[reading].append(readings)
    free = {readings: len(group) for readings, group in its.items()}
    met: dict[frozenset[Any], Counter[frozenset[Any]]] = {readings: Counter() for readings in its}
    lonely: list[_Number] = []
    for readings, group in mine.items():
        open_ = len(group)
        while open_ and (way := _way(readings, able, free, met)):
            steps = list(zip(way[::2], way[1::2], strict=True))
            taken = (met[one][other] for one, other in zip(way[1::2], way[2::2], strict=False))
            most = min(open_, free[way[-1]], *taken)
            for one, other in zip(way[1::2], way[2::2], strict=False):
                met[one][other] -= most
            for one, other in steps:
                met[other][one] += most
            free[way[-1]] -= most
            open_ -= most
        lonely += group[len(group) - open_ :]
    return lonely, [each for readings, count in free.items() for each in its[readings][:count]]


def _way(
    start: frozenset[Any],
    able: Mapping[Any, Sequence[frozenset[Any]]],
    free: Mapping[frozenset[Any], int],
    met: Mapping[frozenset[Any], Counter[frozenset[Any]]],
) -> list[frozenset[Any]]:
    """From a group of one side to one of the other that is free, over groups that can meet others instead (augmenting path)."""
    came: dict[frozenset[Any], frozenset[Any]] = {}
    before: dict[frozenset[Any], frozenset[Any] | None] = {start: None}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for reading in here:
            for other in able.get(reading, ()):
                if other in came:
                    continue
                came[other] = here
                if free[other]:
                    return _back(other, came, before)
                for back in (each for each, count in met[other].items() if count):
                    if back not in before:
                        before[back] = other
                        queue.append(back)
    return []


def _back(
    end: frozenset[Any],
    came: Mapping[frozenset[Any], frozenset[Any]],
    before: Mapping[frozenset[Any], frozenset[Any] | None],
) -> list[frozenset[Any]]:
    way: list[frozenset[Any]] = []
    at: frozenset[Any] | None = end
    while at is not None:
        way += [at, came[at]]
        at = before[came[at]]
    return way[::-1]


def _grouped(numbers: Iterable[_Number]) -> dict[frozenset[Any], list[_Number]]:
    groups: dict[frozenset[Any], list[_Number]] = {}
    for each in numbers:
        groups.setdefault(each.readings, []).append(each)
    return groups
