"""Choices: enum members and codes that stand in the document, ticked boxes, yes and no."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim
from pipeline.providers.local.fitting import BOX, answer_of
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.matcher import Matcher, tail
from pipeline.providers.local.slots import Slot
from pipeline.providers.local.words import lexicon
from pipeline.values import fold

#: Worth of a member behind its label, beside a ticked box, elsewhere (the only one; one of several).
_LABELLED, _TICKED, _ONLY, _SEVERAL = 0.95, 0.9, 0.5, 0.43
_CLEAR = 0.55
_SHORT_ANSWER = 8
#: What a ticked box is worth whose question isn't recognised.
_UNASKED = 0.85
_MOST_OPTIONS, _MOST_PLACES = 400, 300
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Codes that a description explains: `380 invoice, 381 credit note`.
_GLOSS = re.compile(
    r"(?:^|[\s,;:(])(?P<code>\d{1,6}|[A-Z][A-Z0-9]{0,5})(?: ?[=:–-])? (?P<gloss>[a-z][a-z ]{2,30})"
)


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """An option's place in a segment, as printed."""

    option: Any
    segment: Segment
    start: int
    end: int


def claims(
    layout: Layout, asks: Sequence[Ask], matcher: Matcher, slots: Sequence[Slot]
) -> Iterator[Claim]:
    """Claims for enums, for booleans, and for codes that a description explains."""
    for ask in asks:
        if ask.kind == "enum":
            yield from _members(ask, layout, matcher)
            yield from _ticked_fields(ask, slots, matcher)
        elif ask.kind == "check":
            yield from _boxes(ask, layout, matcher)
        elif ask.textual and (codes := explained(ask)):
            yield from _codes(ask, codes, layout)


def explained(ask: Ask) -> dict[str, str]:
    """The codes that an ask's description explains, with what they mean; at least two."""
    description = str(ask.node.schema.get("description") or "")[:2000]
    found = {match["code"]: match["gloss"].strip() for match in _GLOSS.finditer(description)}
    return found if len(found) > 1 else {}


def _members(ask: Ask, layout: Layout, matcher: Matcher) -> Iterator[Claim]:
    places = list(_places(ask.options, layout))[:_MOST_PLACES]
    times = Counter(str(place.option) for place in places)
    most = max(times.values(), default=1)
    for place in places:
        box = _box_before(place)
        if box is False:
            continue
        share = times[str(place.option)] / most
        known = len(str(place.option)) > 3
        score = _TICKED if box else (_ONLY if len(times) == 1 else _SEVERAL * share) * known
        score = max(
            score,
            _LABELLED
            * max((matcher.match(text).get(ask, 0.0) for text in _labels(place)), default=0.0),
        )
        yield _claim(ask, place.option, place, score)


def _places(options: Sequence[Any], layout: Layout) -> Iterator[_Place]:
    """Where options stand as whole words, however they are written (`credit_note`, `Credit note`)."""
    said: dict[str, Any] = {}
    for option in options[:_MOST_OPTIONS]:
        spaced = _CAMEL.sub(" ", str(option).replace("_", " ").replace("-", " "))
        for form in (str(option), spaced):
            said.setdefault(fold(form).text, option)
    said.pop("", None)
    if not said:
        return
    forms = sorted(said, key=lambda form: (-len(form), form))
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, forms))})(?!\w)")
    for segment in layout.segments:
        folded = fold(segment.text)
        for match in pattern.finditer(folded.text):
            start, end = folded.place(*match.span())
            yield _Place(said[match.group()], segment, start, end)


def _labels(place: _Place) -> Iterator[str]:
    """The texts that may label a place: before it, left of it, above it."""
    before = tail(place.segment.text[: place.start])
    if before:
        yield before
        return
    if place.segment.left is not None:
        yield tail(place.segment.left.text)
    if place.segment.above is not None:
        yield tail(place.segment.above.text)


def _box_before(place: _Place) -> bool | None:
    """Whether the box right before an option is ticked; None where there is none."""
    before = place.segment.text[max(0, place.start - 6) : place.start]
    if not before.strip() and place.segment.left is not None:
        before = place.segment.left.text[-4:]
    found = list(BOX.finditer(before))
    return None if not found or before[found[-1].end() :].strip() else found[-1]["yes"] is not None


def _ticked_fields(ask: Ask, slots: Sequence[Slot], matcher: Matcher) -> Iterator[Claim]:
    """The option that a ticked form field is labelled with; what else labels it, asks the question."""
    said = said_of(ask.options)
    for slot in slots:
        if slot.field.kind != "check" or slot.field.value != "true":
            continue
        asked = max((matcher.match(text).get(ask, 0.0) for text, _ in slot.labels), default=0.0)
        for text, worth in slot.labels:  # the nearest print names it, or none does
            words = f" {fold(text).text.replace(':', ' ')} "
            named = [said[form] for form in said if _names(words, form)]
            quote = slot.field.label or text
            score = worth * _TICKED * (_UNASKED + (1 - _UNASKED) * asked)
            yield from (Claim(ask, option, slot.page, 0, 0, quote, score) for option in named)
            if named:
                break


def said_of(options: Sequence[Any]) -> dict[str, Any]:
    """How options may be written, folded: as they are, spaced, or in another language."""
    said: dict[str, Any] = {}
    for option in options[:_MOST_OPTIONS]:
        spaced = _CAMEL.sub(" ", str(option).replace("_", " ").replace("-", " "))
        for form in (str(option), spaced):
            said.setdefault(fold(form).text, option)
    for form, option in list(said.items()):
        for other in lexicon().same_choice(form):
            said.setdefault(fold(other).text, option)
    said.pop("", None)
    return said


def _names(label: str, form: str) -> bool:
    """Whether a label begins or ends with an option."""
    return label.startswith(f" {form} ") or label.endswith(f" {form} ")


def _boxes(ask: Ask, layout: Layout, matcher: Matcher) -> Iterator[Claim]:
    """Ticked and empty boxes in the text, and yes or no behind a label."""
    for segment in layout.segments:
        boxes = list(BOX.finditer(segment.text[:2000]))
        if not boxes:
            yield from _answered(ask, segment, matcher)
        ends = [*(box.start() for box in boxes[1:]), len(segment.text)]
        for box, until in zip(boxes, ends, strict=False):
            yield from _boxed(ask, segment, (box, until), matcher)


def _boxed(
    ask: Ask, segment: Segment, place: tuple[re.Match[str], int], matcher: Matcher
) -> Iterator[Claim]:
    """What a box says of an ask: it stands before the ask's label, or before a yes or no to it."""
    box, until = place
    after = segment.text[box.end() : until].strip()
    label = after or (segment.right.text if segment.right is not None else "")
    there = _Place(None, segment, box.start(), until if after else box.end())
    score = matcher.match(label[:120]).get(ask, 0.0)
    answer = answer_of(label)
    if score >= _CLEAR:
        yield _claim(ask, box["yes"] is not None, there, score * _TICKED)
    elif answer is not None and box["yes"]:
        first = BOX.search(segment.text)
        before = tail(segment.text[: first.start() if first else 0]) or _beside(segment)
        yield _claim(ask, answer, there, matcher.match(before).get(ask, 0.0) * _TICKED)


def _answered(ask: Ask, segment: Segment, matcher: Matcher) -> Iterator[Claim]:
    label, colon, rest = segment.text.partition(":")
    start = len(label) + 1 if colon else 0
    answer = answer_of(rest if colon else segment.text)
    if answer is None or len(label) > 120 or (not colon and len(segment.text) > 12):
        return
    if _is_offered(segment, answer):
        return
    score = matcher.match(label if colon else _beside(segment)).get(ask, 0.0)
    if score >= _CLEAR:
        place = _Place(None, segment, start, len(segment.text))
        yield _claim(ask, answer, place, score * _LABELLED)


def _is_offered(segment: Segment, answer: bool) -> bool:
    """Whether the other answer stands beside one: both are print to choose from."""
    near = (one for one in (segment.left, segment.right) if one is not None)
    words = [*segment.text.split(), *(one.text for one in near if len(one.text) < _SHORT_ANSWER)]
    return any(answer_of(word) is (not answer) for word in words)


def _beside(segment: Segment) -> str:
    at = segment.left
    while at is not None and BOX.search(at.text):  # the other answers
        at = at.left
    return tail(at.text) if at is not None else ""


def _codes(ask: Ask, codes: dict[str, str], layout: Layout) -> Iterator[Claim]:
    """A code that a description explains, where it stands beside what it means."""
    for place in list(_places(list(codes), layout))[:_MOST_PLACES]:
        if place.segment.text[place.start : place.end] != place.option:
            continue
        wanted = {
            concept for unit in lexicon().read(codes[place.option]) for concept in unit.concepts
        }
        around = lexicon().read(place.segment.text[max(0, place.start - 40) : place.end + 40])
        if wanted and wanted <= {concept for unit in around for concept in unit.concepts}:
            yield _claim(ask, place.option, place, 0.7)


def _claim(ask: Ask, value: Any, place: _Place, score: float) -> Claim:
    segment = place.segment
    text = segment.text[place.start : place.end]
    kept = text.strip()
    start = segment.start + place.start + text.find(kept)
    return Claim(ask, value, segment.page, start, start + len(kept), kept, min(score, 1.0))
