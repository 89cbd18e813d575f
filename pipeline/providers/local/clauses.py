"""What agreements say in sentences: when they begin and end, on what notice, under which law."""

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline import values
from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.spans import Span, Spans
from pipeline.providers.local.words import Unit, alike, lexicon
from pipeline.values import Found

#: What a clause's value is worth, and how much less each further one of its page.
_WORTH, _AGAIN = 0.86, 0.05
_SAME = 0.9
#: How far behind its cue a value may stand, in code points, and how far before it.
_BEHIND, _BEFORE, _LONGEST = 60, 70, 600
_EDGES = ' \t\n,:;-–"“”'
#: So much of a document is read for clauses, in code points: some 100 pages.
_MOST = 400_000
#: Sentences end here, and so do clauses; a full stop between digits or behind one letter does not.
_END = re.compile(
    r"[;•]|(?<!\d)(?<!\b\w)\.(?=\s|$)|\n(?=[ \t]*(?:\n|§|\d{1,2}\.\d?\s))|\.(?=\s+[A-ZÄÖÜ§(])"
)


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause: how schemas name it, and what finds it. `whole`: from the cue on, not the value alone.

    Sentences with one of `other` are about another thing.
    """

    kind: str
    fields: tuple[tuple[Unit, ...], ...]
    cues: tuple[re.Pattern[str], ...]
    around: tuple[re.Pattern[str], ...]
    whole: bool
    other: tuple[re.Pattern[str], ...]


@lru_cache(maxsize=1)
def prose() -> dict[str, Any]:
    """The words of prose.toml."""
    with Path(__file__).with_name("prose.toml").open("rb") as file:
        return tomllib.load(file)


@lru_cache(maxsize=1)
def _clauses() -> tuple[Clause, ...]:
    made = []
    for clause in prose()["clauses"].values():
        phrases = tuple(lexicon().read(field.strip()) for field in clause["fields"].split(","))
        around = [cue[2:] for cue in clause["cues"] if cue.startswith("<>")]
        cues = [cue for cue in clause["cues"] if not cue.startswith("<>")]
        made.append(
            Clause(
                clause["kind"],
                phrases,
                _patterns(cues, clause["kind"]),
                _patterns(around, ""),
                clause.get("whole", False),
                _patterns(clause.get("other", ()), ""),
            )
        )
    return tuple(made)


def _patterns(cues: Sequence[str], kind: str) -> tuple[re.Pattern[str], ...]:
    """Blanks of cues are any blanks; cues in words don't care for capitals."""
    if not cues:
        return ()
    spaced = [re.sub(r" (?![?*])", r"\\s{1,3}", cue) for cue in cues]
    if kind == "text":
        return tuple(re.compile(rf"(?<!\w){cue}") for cue in spaced)
    return (re.compile(rf"(?<!\w)(?:{'|'.join(spaced)})", re.IGNORECASE),)


def claims(layout: Layout, spans: Spans, asks: Sequence[Ask]) -> Iterator[Claim]:
    """Claims for what the asks call clauses, from the running text of the pages."""
    wanted = [(ask, clause) for ask in asks for clause in _clauses() if _is_of(ask, clause)]
    left = _MOST if wanted else 0
    firsts = {segment.page: segment for segment in reversed(layout.segments)}
    for number, page in layout.pages.items():
        if left <= 0 or number not in firsts:
            continue
        text = _Text(firsts[number], page.text[:left], spans)
        left -= len(page.text)
        for ask, clause in wanted:
            for order, span in enumerate(text.values(clause)):
                yield from claims_of(ask, span, _WORTH - _AGAIN * min(order, 6))


def _is_of(ask: Ask, clause: Clause) -> bool:
    """Whether a field is named like a clause and takes its kind of value."""
    number = ask.node.type in {"number", "integer"}
    fits = {
        "date": ask.kind == "date",
        "money": number or ask.kind == "money",
        "duration": ask.textual and ask.kind in {"duration", "text"},
        "text": ask.textual and ask.kind == "text",
    }[clause.kind]
    if not fits or ask.options:
        return False
    return max(alike(phrase, ask.own) for phrase in clause.fields) >= _SAME


class _Text:
    """A page as running text; what it holds is found when first asked for."""

    def __init__(self, segment: Segment, text: str, spans: Spans) -> None:
        self._segment = segment
        self._text = text
        self._finders: dict[str, Callable[[str], Sequence[Found[Any]]]] = {
            "date": lambda text: values.find_dates(text, day_first=spans.day_first[0]),
            "money": lambda text: values.find_numbers(text, decimal=spans.decimal, blanks=False),
            "duration": values.find_durations,
        }
        self._known: dict[str, Sequence[Found[Any]]] = {}

    def values(self, clause: Clause) -> Iterator[Span]:
        """The values of a clause: those behind a cue, then those that stand near one."""
        for cue in clause.cues:
            for match in cue.finditer(self._text):
                if not self._is_other(clause, match):
                    yield from self._behind(clause, match)
        for cue in clause.around:
            for match in cue.finditer(self._text):
                yield from self._near(clause, match)

    def _is_other(self, clause: Clause, match: re.Match[str]) -> bool:
        first, _ = _sentence(self._text, *match.span())
        return any(other.search(self._text, first, match.end()) for other in clause.other)

    def _behind(self, clause: Clause, match: re.Match[str]) -> Iterator[Span]:
        if clause.kind == "text":
            yield self._span(*match.span("value"))
            return
        last = min(_sentence(self._text, *match.span())[1], match.end() + _BEHIND)
        found = next((f for f in self._found(clause) if match.end() <= f.start <= last), None)
        if found is not None:
            start = match.start() if clause.whole else found.start
            yield self._span(start, found.end, None if clause.whole else found.value)

    def _near(self, clause: Clause, match: re.Match[str]) -> Iterator[Span]:
        """The value of the cue's sentence that stands nearest before it, else behind it."""
        first, last = _sentence(self._text, *match.span())
        inside = [
            found for found in self._found(clause) if first <= found.start and found.end <= last
        ]
        before = [
            found for found in inside if match.start() - _BEFORE <= found.end <= match.start()
        ]
        behind = [found for found in inside if found.start >= match.end()]
        for found in before[-1:] or behind[:1]:
            yield self._span(found.start, found.end, found.value)

    def _found(self, clause: Clause) -> Sequence[Found[Any]]:
        if clause.kind not in self._known:
            found = self._finders[clause.kind](self._text)
            self._known[clause.kind] = [f for f in found if clause.kind != "money" or f.currency]
        return self._known[clause.kind]

    def _span(self, start: int, end: int, value: Any = None) -> Span:
        kept = self._text[start:end].strip(_EDGES)
        start = self._text.index(kept, start)
        return Span(self._segment, start, start + len(kept), kept, kept if value is None else value)


def _sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """The borders of the sentence (or clause) that a place stands in."""
    first = max(0, start - _LONGEST)
    for match in _END.finditer(text, first, start):
        first = match.end()
    last = _END.search(text, end, end + _LONGEST)
    return first, last.start() if last else min(len(text), end + _LONGEST)
