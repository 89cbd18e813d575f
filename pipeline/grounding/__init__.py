"""The proof: where each value of an answer stands in the document, read there by ourselves."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.document import Document
from pipeline.errors import ReplyError
from pipeline.grounding.hints import before_quotes, take, with_quotes
from pipeline.grounding.index import Index, Place
from pipeline.grounding.parts import in_parts
from pipeline.grounding.reading import Leaf, leaf, places
from pipeline.grounding.rows import in_rows
from pipeline.providers import Hint
from pipeline.results import Evidence, EvidenceStatus, leaves
from pipeline.schema import Schema
from pipeline.values import cuts_number, fold

__all__ = ["before_quotes", "ground", "take", "with_quotes"]


def ground(
    data: Any,
    schema: Schema,
    document: Document,
    *,
    hints: Sequence[Hint] = (),
    model: str | None = None,
    own: Collection[int] | None = None,
) -> tuple[Evidence, ...]:
    """Find every leaf of `data` on the document's pages.

    Values are searched in their normal forms: dates and numbers by what a careful reader would read,
    texts after folding, then with small slips in letters, never in digits. A hint decides between
    several places and proves nothing by itself: a quote that stands but does not hold the value
    never verifies. A hint whose quote is the name or label of a check mark on its page (and whose
    `start` and `end` are 0 or None) stands for the mark.

    Args:
        data: the answer.
        schema: what each leaf is: a date, a number, a choice.
        document: the pages.
        hints: where the answerer says that it read a leaf; several of one leaf are where its parts
            stand, in order (an address in two boxes of a form), or other places. A hint of an object or
            an item of a list (`/lines/3`) decides between places of the leaves in it, and no more.
        model: who answered; goes into every Evidence.
        own: numbers of the pages that the answer is about, where others are shown beside them: of equal
            rows those stand there.

    Returns:
        one Evidence for each leaf in order, none for empty objects and arrays. A text without any
        visible character counts as `absent`, as null does.

    Raises:
        ReplyError: the data is nested too deeply to walk (`nested_too_deep`).

    """
    index = Index(document)
    given: dict[str, list[Hint]] = defaultdict(list)
    for hint in hints:
        given[hint.pointer].append(hint)
    whats = _leaves(data, schema)
    proofs = [
        _evidence(index, what, given.get(what.pointer, []), _around(given, what.pointer))
        for what in whats
    ]
    told = []
    for what, proof in zip(whats, in_rows(index, data, whats, proofs, own), strict=True):
        own_hints = given.get(what.pointer, [])
        held = _unless_misquoted(index, what, proof, own_hints)
        told.append(replace(held, confidence=_confidence(own_hints), model=model))
    return tuple(told)


def _leaves(data: Any, schema: Schema) -> list[Leaf]:
    try:
        found = leaves(data)
    except RecursionError as error:
        raise ReplyError(
            "nested_too_deep", "the answer is nested too deeply to search it"
        ) from error
    return [
        leaf(schema.tree.at(pointer), pointer, value)
        for pointer, value in found
        if not isinstance(value, dict | list)
    ]


def _unless_misquoted(index: Index, what: Leaf, proof: Evidence, hints: list[Hint]) -> Evidence:
    """The evidence of a row's leaf, not verified where its own hint quotes something else."""
    at = index.page_at(proof.page or 0)
    if proof.status != "verified" or at is None or proof.start is None or proof.end is None:
        return proof
    quotes = [place for hint in hints for place in _quoted(index, hint)]
    place = Place(at, proof.start, proof.end)
    held = not quotes or _within(index, what, quotes, [place])
    return proof if held else replace(proof, status="ambiguous")


def _around(given: Mapping[str, list[Hint]], pointer: str) -> list[Hint]:
    """The hints of what a leaf is in, the innermost that has any."""
    while pointer:
        pointer = pointer.rpartition("/")[0]
        if pointer in given:
            return given[pointer]
    return []


def _evidence(index: Index, what: Leaf, hints: list[Hint], around: list[Hint]) -> Evidence:
    if what.is_empty:
        return Evidence(what.pointer, "absent")
    marked = _by_mark(index, what, hints)
    if marked is not None:
        return marked
    sure, loose = places(index, what)
    quotes = [place for hint in hints for place in _quoted(index, hint)]
    status, place = (
        _by_quotes(index, what, (sure, loose), quotes) if quotes else _alone(sure, loose)
    )
    if status == "ambiguous" and around and not quotes:
        inside = _within(index, what, [p for hint in around for p in _quoted(index, hint)], sure)
        if len(inside) == 1:
            status, place = "verified", inside[0]
    if status == "not_found" and what.kind == "text" and not what.chosen:
        status, place = _by_parts(index, what, quotes)
    return _at(index, what.pointer, status, place)


def _by_parts(index: Index, what: Leaf, quotes: list[Place]) -> tuple[EvidenceStatus, Place | None]:
    """By its parts: a text that begins on one page and ends on the next, or has several lines or boxes."""
    found = in_parts(index, str(what.value))
    quoted = [place for place in found if any(quote.holds(place) for quote in quotes)]
    several = quoted or found
    if not several:
        return "not_found", None
    return ("derived" if len(several) == 1 else "ambiguous"), several[0]


def _alone(sure: list[Place], loose: list[Place]) -> tuple[EvidenceStatus, Place | None]:
    """By the places themselves: one proves, several leave open which was meant."""
    if len(sure) == 1 and not loose:
        return "verified", sure[0]
    several = sure or loose
    return ("ambiguous", several[0]) if several else ("not_found", None)


def _by_quotes(
    index: Index, what: Leaf, found: tuple[list[Place], list[Place]], quotes: list[Place]
) -> tuple[EvidenceStatus, Place | None]:
    """By the places within the quotes; a quote without the value can only be what it came from."""
    sure, loose = found
    inside = _within(index, what, quotes, sure)
    if inside:
        return ("verified" if len(inside) == 1 else "ambiguous"), inside[0]
    near = _within(index, what, quotes, loose)
    for quote in quotes:
        if what.derives_from(index.pages[quote.page].text[quote.start : quote.end]):
            return "derived", near[0] if near else quote
    texts = [index.pages[quote.page].text[quote.start : quote.end] for quote in quotes]
    if texts and what.is_made_of(texts):
        return "derived", quotes[0]
    several = near or sure or loose
    return ("ambiguous", several[0]) if several else ("not_found", None)


def _within(index: Index, what: Leaf, quotes: list[Place], found: list[Place]) -> list[Place]:
    """The places within a quote; of a number its digits, as a quote may leave out sign and unit."""
    inside = []
    for place in found:
        core = index.digits(place) if what.kind == "number" else place
        if any(quote.holds(core) for quote in quotes):
            inside.append(place)
    return inside


def _quoted(index: Index, hint: Hint) -> list[Place]:
    """Where a hint's quote stands: at its own place if it does, else on its page, else anywhere."""
    if hint not in index.quoted:
        index.quoted[hint] = _find_quote(index, hint)
    return index.quoted[hint]


def _find_quote(index: Index, hint: Hint) -> list[Place]:
    page = index.page_at(hint.page)
    wanted = fold(hint.quote).text
    if not wanted:
        return []
    if page is not None and hint.start is not None and hint.end is not None:
        text = index.pages[page].text
        if (
            0 <= hint.start < hint.end <= len(text)
            and fold(text[hint.start : hint.end]).text == wanted
            and not cuts_number(text, hint.start, hint.end)
        ):
            return [Place(page, hint.start, hint.end)]
    found = index.find_text(hint.quote)
    return [place for place in found if place.page == page] or found


def _by_mark(index: Index, what: Leaf, hints: list[Hint]) -> Evidence | None:
    """The evidence of a boolean or a choice that a hint reads from a check mark; None without one.

    A name may be that of a whole group of buttons: a choice is the one of them that is set.
    """
    for hint in hints if what.chosen else ():
        page = index.page_at(hint.page)
        if page is None or hint.end:
            continue
        checks = [field for field in index.pages[page].fields if field.kind == "check"]
        wanted = fold(hint.quote).text
        named = [mark for mark in checks if fold(mark.name).text == wanted]
        marks = named or [mark for mark in checks if fold(mark.label).text == wanted]
        agreeing = [
            mark for mark in marks if mark.value == ("false" if what.value is False else "true")
        ]
        if marks and not agreeing:
            return Evidence(what.pointer, "not_found")
        if agreeing:
            told = len(marks) == 1 or (named and len(agreeing) == 1 and what.kind != "truth")
            status: EvidenceStatus = "derived" if told else "ambiguous"
            box = agreeing[0].box
            return Evidence(what.pointer, status, quote=hint.quote, page=hint.page, box=box)
    return None


def _at(index: Index, pointer: str, status: EvidenceStatus, place: Place | None) -> Evidence:
    if place is None:
        return Evidence(pointer, status)
    page = index.pages[place.page]
    return Evidence(
        pointer,
        status,
        quote=page.text[place.start : place.end],
        page=page.number,
        start=place.start,
        end=place.end,
        box=index.box(place),
    )


def _confidence(hints: Iterable[Hint]) -> float | None:
    return next((hint.confidence for hint in hints if hint.confidence is not None), None)
