"""What stands at the head of a text: its title in the biggest type, its authors, its own citation."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from pipeline.providers.local.asks import Ask, Plan
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.postal import is_address
from pipeline.providers.local.spans import Span
from pipeline.providers.local.words import lexicon

#: Type this much bigger than the text's is a headline.
_BIG = 1.18
_MOST_LINES = 4
#: Authors stand within this many rows below the title.
_MOST_ROWS = 14
_LONGEST_NAMES, _LONGEST_NAME = 4000, 80
_LETTERS = re.compile(r"[^\W\d_]+")
_NO_NAMES = re.compile(
    r"[:@]|\b(?:universi|institut|department|school|college|center|centre|laborator|facult|academy|hospital|inc\b|gmbh|ltd)",
    re.IGNORECASE,
)
#: Journal of Things, 2(11), 16: journal, volume, issue, article or pages, as APA and others set them.
_CITATION = re.compile(
    r"(?<![^\W\d_])(?P<journal>[^\W\d_][^.,\d()]{3,80}),\s(?P<volume>\d{1,4}) ?\((?P<issue>[\w\-]{1,8})\)"
    r"(?:[,:]\s?(?:pp?\. ?)?(?P<pages>[eE]?\d[\d\-–]{0,12}))?"
)
_LONGEST_PAGE = 50_000
_CITED_YEAR = re.compile(r"\((?P<year>(?:19|20)\d\d)[a-z]?\)")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The head of a text: the title and how sure it is, and the authors' names."""

    title: Span | None
    sure: float
    names: tuple[Span, ...]


@lru_cache(maxsize=1)
def _names_and_marks() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What a person's name looks like (two to six words), and what stands between two names."""
    word = r"[^\W\d_a-zß-ÿ][^\W\d_]*(?:[.'’\-][^\W\d_]*){0,3}"
    small = rf"(?:\s(?:{'|'.join(sorted(lexicon().particles))})){{0,2}}"
    joins = "|".join(sorted(lexicon().joins))
    return (
        re.compile(rf"{word}{small}\s{word}(?:{small}\s{word}){{0,3}}"),
        re.compile(
            r"(?:\s?[\d*†‡§¶∗,\u00b9\u00b2\u00b3\u2070-\u2079]+)+\s*|\s*[,;&|·•]\s*"
            rf"|\s*(?<![^\W\d_])(?:{joins})\s+"
        ),
    )


def read(layout: Layout) -> Head:
    """The head of the first page that has text."""
    number = next((s.page for s in layout.segments), 0)
    page = [segment for segment in layout.segments if segment.page == number]
    lines, sure = _title_lines(page, layout)
    if not lines:
        return Head(None, 0.0, ())
    text = layout.pages[number].text[lines[0].start : lines[-1].end]
    title = Span(lines[0], lines[0].start, lines[-1].end, text, text)
    return Head(title, sure, tuple(_names(lines, layout)))


def claims(head: Head, layout: Layout, plan: Plan) -> Iterator[Claim]:
    """Claims for titles, and for what the text's own citation says."""
    for ask in plan.scalars:
        if ask.kind == "title" and head.title is not None and _is_title(head.title.text):
            yield from claims_of(ask, head.title, head.sure)
    cited = list(_cited(layout, head))
    for ask in plan.scalars:
        told = frozenset().union(*(unit.concepts for unit in ask.own)) if ask.own else frozenset()
        for part, span in cited:
            if _is_part(part, told, ask):
                yield from claims_of(ask, span, 0.82)


def _is_title(text: str) -> bool:
    """Whether a headline can be a title: no company's name, no address, or label with its value."""
    label, colon, _ = text.partition(":")
    labelled = colon and all(unit.concepts for unit in lexicon().read(label))
    if lexicon().is_company(text) or labelled or is_address(text):
        return False
    digits = sum(char.isdigit() for char in text)
    return digits <= 4 or digits < 0.2 * len(text)


def _is_part(part: str, told: frozenset[str], ask: Ask) -> bool:
    if ask.kind in {"date", "datetime"}:
        return False
    if part == "pages":
        return bool(told & {"page"}) or {"item", "number"} <= told
    return {"journal": "journal", "volume": "volume", "issue": "edition", "year": "year"}[
        part
    ] in told and len(ask.own) <= 2


def _title_lines(page: Sequence[Segment], layout: Layout) -> tuple[tuple[Segment, ...], float]:
    """The lines of the biggest type near the top; without sizes, the first line of words."""
    height = layout.heights[page[0].page] if page else 0.0
    top = [s for s in page if s.box[1] < 0.5 * height and len(s.text.split()) > 1 and not s.figure]
    big = [s for s in top if s.size >= _BIG * layout.body]
    if not big:
        first = [s for s in top[:3] if len(s.text) < 200]
        return (tuple(first[:1]), 0.55) if first else ((), 0.0)
    most = max(s.size for s in big)
    start = next(s for s in big if s.size >= 0.93 * most)
    lines = [start]
    while len(lines) < _MOST_LINES and (below := lines[-1].below) is not None:
        same = abs(below.size - start.size) <= 0.08 * start.size
        between = layout.pages[start.page].text[lines[-1].end : below.start]
        if not same or between.strip() or below.box[1] - lines[-1].box[3] > 0.9 * start.size:
            break
        lines.append(below)
    return tuple(lines), 0.86 if most >= 1.3 * layout.body else 0.7


def _names(lines: Sequence[Segment], layout: Layout) -> Iterator[Span]:
    """The names below a title, from the text of the lines that hold only names; they may run on."""
    rows = list(_name_rows(lines, layout))
    if not rows:
        return
    start = min(segment.start for row in rows for segment in row)
    end = max(segment.end for row in rows for segment in row)
    text = layout.pages[lines[0].page].text
    a_name, between = _names_and_marks()
    for mark in (*between.finditer(text, start, min(end, start + _LONGEST_NAMES)), None):
        stop = mark.start() if mark else min(end, start + _LONGEST_NAMES)
        piece = text[start:stop].strip()
        if len(piece) <= _LONGEST_NAME and a_name.fullmatch(piece):
            at = text.index(piece, start)
            yield Span(rows[0][0], at, at + len(piece), piece, piece)
        start = mark.end() if mark else stop


def _name_rows(title: Sequence[Segment], layout: Layout) -> Iterator[list[Segment]]:
    """The rows after a title whose words all begin like names, set in one size."""
    size = 0.0
    for row in layout.rows[title[-1].row + 1 : title[-1].row + 1 + _MOST_ROWS]:
        text = " ".join(segment.text for segment in row)
        words = _LETTERS.findall(text)
        known = lexicon().particles | lexicon().joins
        small = [word for word in words if word[0].islower() and word not in known]
        big = max(segment.size for segment in row)
        other = row[0].page != title[0].page or (size and abs(big - size) > 0.12 * size)
        if (
            other
            or not words
            or small
            or len(text) > 400
            or text[0].isdigit()
            or _NO_NAMES.search(text)
        ):
            if size:
                return
            continue
        size = big
        yield row


def _cited(layout: Layout, head: Head) -> Iterator[tuple[str, Span]]:
    """The parts of the first citation on the first page: that of the text itself."""
    if head.title is None:
        return
    segment = head.title.segment
    text = layout.pages[segment.page].text
    match = _CITATION.search(text[:_LONGEST_PAGE])
    if match is None:
        return
    for part in ("journal", "volume", "issue", "pages"):
        if match[part]:
            yield part, Span(segment, *match.span(part), match[part], match[part])
    years = list(_CITED_YEAR.finditer(text, max(0, match.start() - 600), match.start()))
    if years:
        yield (
            "year",
            Span(segment, *years[-1].span("year"), years[-1]["year"], Decimal(years[-1]["year"])),
        )
