"""Form fields (AcroForm): which one answers which ask, by their names and the print around their boxes."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline import values
from pipeline.document import Box, FormField, Page
from pipeline.providers.local.asks import Ask, Units
from pipeline.providers.local.claims import Claim
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.spans import as_json
from pipeline.providers.local.words import Unit, alike, covers, lexicon

#: Names that forms' makers give without a thought: `f1_07[0]`, `Text12`, `topmostSubform`, `Page1`.
_NAMELESS = re.compile(
    r"[a-z]{0,2}\d*[_.\-]?\d+[a-z]?|(?:text|field|page|form|check|box|untitled|undefined|topmostsubform|subform|button"
    r"|group|copy|header|row|cell|table|left|right|col|column|line|lines|\s|box|boxes|_|-|\d)+",
    re.IGNORECASE,
)
_INDEX = re.compile(r"\[\d+\]")
_CLAUSE = re.compile(r"[.;:()\[\],/]|\s[-–—]\s")
#: Numbers that forms give their lines: `5 Address`, `10a Date`.
_LINE_NUMBER = re.compile(r"^\s*\d{1,3}[a-z]?\.?\s+(?=[^\W\d])")
#: How much later clauses of a long label count less, and at the least.
_LATER, _LATEST = 0.07, 0.6
#: What a label is worth by where it comes from.
_TIP, _NAME, _PRINT, _JOINED, _BELOW, _AFTER = 1.0, 0.9, 0.97, 0.93, 0.8, 0.6
#: What the party of the field above is worth to one that names none.
_INHERITED = 0.85
#: An ask and a field at least this alike can hold each other; a pair so alike is sure of its order.
_ALIKE, _ANCHOR = 0.42, 0.8
_ORDER = 0.12
_MOST_LINES = 4
#: How far (points) from its box a label beside it may end; one that goes on behind a text's box.
_BESIDE, _CLOSE = 60.0, 12.0
#: With this many filled fields a page's print is the form itself, not its answers.
_A_FORM = 3
_DIGITS = re.compile(r"\d{1,9}")
_Cell = tuple[FormField, Box, Sequence["Label"]]
_NAMES = frozenset(("organisation", "party", "person"))


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One form field with what may label it: texts with their worth, the nearest first."""

    field: FormField
    page: int
    number: int
    labels: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """Print that may label a form field, what that is worth, and where it stands."""

    text: str
    worth: float
    segment: Segment
    above: bool = False


def slots(layout: Layout) -> list[Slot]:
    """The form fields of a document in reading order, without those that hold a part of a value."""
    found: list[Slot] = []
    for page in layout.pages.values():
        if not page.fields:
            continue
        segments = [segment for segment in layout.segments if segment.page == page.number]
        width, height = layout.widths[page.number], layout.heights[page.number]
        boxes = [_points(field.box, width, height) for field in page.fields]
        labels = [
            _printed(box, field, boxes, segments)
            for field, box in zip(page.fields, boxes, strict=True)
        ]
        roles: dict[int, str] = {}
        cells = list(zip(page.fields, boxes, labels, strict=True))
        for field, box, printed in cells:
            if _is_part((field, box, printed), cells):
                continue
            texts = [*_named(field), *((label.text, label.worth) for label in printed)]
            texts += _inherited(texts, roles, round(box[0] / 10))
            found.append(Slot(field, page.number, len(found), tuple(texts)))
    return found


def _inherited(
    texts: Sequence[tuple[str, float]], roles: dict[int, str], column: int
) -> list[tuple[str, float]]:
    """The labels with the party of the fields above, where they name none: an address under a name."""
    told = [
        c
        for text, _ in texts
        for unit in lexicon().read(text)
        for c in sorted(unit.concepts & lexicon().roles)
    ]
    if told:
        roles[column] = told[0]
        return []
    role = roles.get(column)
    return [(f"{role} {text}", worth * _INHERITED) for text, worth in texts] if role else []


def is_form(found: Sequence[Slot]) -> bool:
    """Whether a document is a filled form."""
    return sum(slot.field.kind != "check" for slot in found) >= _A_FORM


def claims(found: Sequence[Slot], asks: Sequence[Ask], layout: Layout) -> Iterator[Claim]:
    """For each field of the form the ask that it answers best, and the other way round."""
    if not found:
        return
    scores = _scores(found, asks)
    anchors = _anchors(scores, asks, found)
    ranked = sorted(
        ((score + _in_order(a, s, anchors), -a, -s) for (a, s), score in scores.items()),
        reverse=True,
    )
    used_asks: set[int] = set()
    used: Counter[int] = Counter()
    for score, a, s in ranked:
        ask, slot = asks[-a], found[-s]
        if -a in used_asks or score < _ALIKE:
            continue
        claim = next(_values(ask, slot, layout.pages[slot.page], min(score, 0.99)), None)
        if claim is None or (used[-s] and not _shares(slot, ask)):
            continue
        used_asks.add(-a)
        used[-s] += 1
        yield claim


def _scores(found: Sequence[Slot], asks: Sequence[Ask]) -> dict[tuple[int, int], float]:
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
            if score > _ALIKE - _ORDER:
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
    words = [unit.word for unit in units]
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


def _shares(slot: Slot, ask: Ask) -> bool:
    """Whether a field of several lines holds a name and an address, each its own ask."""
    return "\n" in slot.field.value and ask.kind in {"address", *_NAMES}


def _values(ask: Ask, slot: Slot, page: Page, score: float) -> Iterator[Claim]:
    """The claim of an ask on a field's value, in the ask's type."""
    field = slot.field
    if field.kind == "check":
        quote = field.label or field.name or "check mark"
        yield Claim(ask, field.value == "true", slot.page, 0, 0, quote, score)
        return
    start, end = _wanted_lines(ask, slot)
    text = page.text[start:end]
    for value in _meant(ask, text):
        made = as_json(ask, value, text)
        if made is not None:
            yield Claim(ask, made, slot.page, start, end, text, score)


def _wanted_lines(ask: Ask, slot: Slot) -> tuple[int, int]:
    """The first line of a field that is asked for a name and an address; the others for the address."""
    field = slot.field
    first = field.value.find("\n")
    told = {
        concept
        for text, _ in slot.labels
        for unit in lexicon().read(text)
        for concept in unit.concepts
    }
    if first > 0 and {"name", "address"} <= told | {"address"} & told:
        if ask.kind in _NAMES:
            return field.start, field.start + first
        if ask.kind == "address" and not any("name" in unit.concepts for unit in ask.own):
            return field.start + first + 1, field.end
    return field.start, field.end


def _meant(ask: Ask, text: str) -> Iterator[object]:
    if ask.node.type in {"number", "integer"}:
        yield from (found.value for found in values.find_numbers(text))
    elif ask.iso:
        yield from (found.value for found in values.find_dates(text))
    elif ask.kind == "enum":
        yield from (option for option in ask.options if str(option).casefold() == text.casefold())
    else:
        yield text


def _named(field: FormField) -> Iterator[tuple[str, float]]:
    """The field's own words: its tool tip, and the parts of its name that are words."""
    parts = [_INDEX.sub("", part) for part in field.name.split(".")]
    label = _INDEX.sub("", field.label)
    if label and label != parts[-1] and not _NAMELESS.fullmatch(label):
        yield label, _TIP
    worth = _NAME
    for part in reversed(parts[-3:]):
        if part and not _NAMELESS.fullmatch(part) and any(char.isalpha() for char in part):
            yield " ".join(unit.word for unit in lexicon().read_name(part)), worth
        worth -= 0.15


def _points(box: Box, width: float, height: float) -> Box:
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


def _printed(
    box: Box, field: FormField, boxes: Sequence[Box], segments: Sequence[Segment]
) -> list[Label]:
    """The print that labels a box: above or in it, left of it, right of it (check marks first of all)."""
    check = field.kind == "check"
    right = _beside(box, boxes, segments, left=False, reach=_BESIDE if check else _CLOSE)
    found = []
    if right is not None:
        found.append(Label(_lines_of(right), _PRINT if check else _AFTER, right))
    behind = 0.8 if check and right is not None else 1.0
    over = _above(box, boxes, segments)
    if over:
        found.append(Label(over[-1].text, _PRINT * behind, over[-1], above=True))
    if len(over) > 1:
        found.append(
            Label(
                " ".join(segment.text for segment in over), _JOINED * behind, over[-1], above=True
            )
        )
    if (left := _beside(box, boxes, segments, left=True, reach=_BESIDE)) is not None:
        found.append(Label(left.text, _PRINT * behind, left))
    if not check and (under := _under(box, boxes, segments)) is not None:
        found.append(Label(under.text, _BELOW, under))
    return found


def _under(box: Box, boxes: Sequence[Box], segments: Sequence[Segment]) -> Segment | None:
    """The line under a box (a signature's), unless it is the label of the next box."""
    for segment in segments:
        gap = segment.box[1] - box[3]
        if (
            -0.3 * segment.size < gap < segment.size
            and segment.box[0] < box[2]
            and box[0] < segment.box[2]
        ):
            taken = any(
                0 <= other[1] - segment.box[3] < 2 * segment.size
                and other[0] < segment.box[2]
                and segment.box[0] < other[2]
                for other in boxes
            )
            return None if taken or not _has_letters(segment) else segment
    return None


def _above(box: Box, boxes: Sequence[Box], segments: Sequence[Segment]) -> list[Segment]:
    """The lines above a box (or in its upper part) that belong to it, from the top."""
    lines: list[Segment] = []
    edge = box[1] + 0.3 * (box[3] - box[1])
    for segment in reversed(segments):
        middle = (segment.box[1] + segment.box[3]) / 2
        if (
            middle > edge
            or segment.box[2] <= box[0]
            or segment.box[0] >= box[2]
            or not _has_letters(segment)
        ):
            continue
        gap = (lines[0].box[1] if lines else max(box[1], segment.box[3])) - segment.box[3]
        if gap > (0.5 if lines else 2.2) * segment.size or len(lines) >= _MOST_LINES:
            break
        if any(_between(other, segment.box, box) for other in boxes if other is not box):
            break
        lines.insert(0, segment)
    return lines


def _between(other: Box, label: Box, box: Box) -> bool:
    """Whether another field's box lies between a label and a box below it."""
    beside = other[2] <= max(label[0], box[0]) or other[0] >= min(label[2], box[2])
    middle = (other[1] + other[3]) / 2
    return not beside and label[1] < middle < box[1]


def _has_letters(segment: Segment) -> bool:
    return any(char.isalpha() for char in segment.text)


def _beside(
    box: Box, boxes: Sequence[Box], segments: Sequence[Segment], *, left: bool, reach: float
) -> Segment | None:
    """The nearest print left or right of a box in its row, with no other box between."""
    row = [s for s in segments if box[1] - 2 <= (s.box[1] + s.box[3]) / 2 <= box[3] + 2]
    row = sorted(
        (s for s in row if (s.box[2] <= box[0] + 3 if left else s.box[0] >= box[2] - 3)),
        key=lambda s: s.box[0],
    )
    edge = box[0] if left else box[2]
    for segment in reversed(row) if left else row:
        lo, hi = (segment.box[2], edge) if left else (edge, segment.box[0])
        if hi - lo > reach or any(
            _inside(other, lo, hi, box) for other in boxes if other is not box
        ):
            return None
        if _has_letters(segment):
            return segment
        edge = segment.box[0] if left else segment.box[2]  # leader dots, a currency
    return None


def _inside(other: Box, lo: float, hi: float, box: Box) -> bool:
    """Whether another field's box lies between two places of a box's row."""
    return lo < (other[0] + other[2]) / 2 < hi and other[1] < (box[1] + box[3]) / 2 < other[3]


def _lines_of(first: Segment) -> str:
    """A label right of a box with its following lines."""
    text, at = first.text, first
    for _ in range(_MOST_LINES - 1):
        below = at.below
        if (
            below is None
            or abs(below.box[0] - first.box[0]) > 2 * first.size
            or below.box[1] - at.box[3] > 0.5 * at.size
        ):
            break
        text, at = f"{text} {below.text}", below
    return text


def _is_part(cell: _Cell, cells: Iterable[_Cell]) -> bool:
    """Whether a box holds only some digits of a value, the others in boxes beside it.

    Such a value stands at several places, with other text between them, and is not put together.
    """
    field, box, printed = cell
    if not _DIGITS.fullmatch(field.value):
        return False
    own = {id(label.segment) for label in printed if label.above}
    for other, there, theirs in cells:
        near = max(there[0] - box[2], box[0] - there[2]) < 40
        level = abs(there[1] - box[1]) <= 3 and abs(there[3] - box[3]) <= 3
        if other is field or not near or not level or not _DIGITS.fullmatch(other.value):
            continue
        shared = {id(label.segment) for label in theirs if label.above}
        if not own or not shared or own == shared:
            return True
    return False
