"""The proof: where each value of an answer stands in the document, read there by ourselves."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pipeline.document import Document
from pipeline.errors import ReplyError
from pipeline.grounding.index import Index, Place
from pipeline.grounding.reading import Leaf, leaf, places
from pipeline.providers import Hint
from pipeline.results import Evidence, EvidenceStatus, leaves
from pipeline.schema import Schema
from pipeline.values import cuts_number, fold

__all__ = ["ground"]


def ground(
    data: Any,
    schema: Schema,
    document: Document,
    *,
    hints: Sequence[Hint] = (),
    model: str | None = None,
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
            stand, in order (an address in two boxes of a form), or other places.
        model: who answered; goes into every Evidence.

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
    try:
        found = leaves(data)
    except RecursionError as error:
        raise ReplyError(
            "nested_too_deep", "the answer is nested too deeply to search it"
        ) from error
    return tuple(
        replace(
            _evidence(index, leaf(schema.tree.at(pointer), pointer, value), given.get(pointer, [])),
            confidence=_confidence(given.get(pointer, [])),
            model=model,
        )
        for pointer, value in found
        if not isinstance(value, dict | list)
    )


def _evidence(index: Index, what: Leaf, hints: list[Hint]) -> Evidence:
    if what.is_empty:
        return Evidence(what.pointer, "absent")
    marked = _by_mark(index, what, hints)
    if marked is not None:
        return marked
    sure, loose = places(index, what)
    quotes = [place for hint in hints for place in _quoted(index, hint)]
    status, place = (
        _with_quotes(index, what, (sure, loose), quotes) if quotes else _alone(sure, loose)
    )
    return _at(index, what.pointer, status, place)


def _alone(sure: list[Place], loose: list[Place]) -> tuple[EvidenceStatus, Place | None]:
    """By the places themselves: one proves, several leave open which was meant."""
    if len(sure) == 1 and not loose:
        return "verified", sure[0]
    several = sure or loose
    return ("ambiguous", several[0]) if several else ("not_found", None)


def _with_quotes(
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
