"""Forms without fields (scans, flattened files): what was filled in between their print, as slots."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.document import Box, FormField, Page
from pipeline.providers.local.asks import Ask
from pipeline.providers.local.fitting import BOX
from pipeline.providers.local.layout import Layout, Segment
from pipeline.providers.local.pairing import likenesses
from pipeline.providers.local.slots import Line, Sheet, Slot, middle, shares
from pipeline.providers.local.words import alike, lexicon, plain

#: Pages, and entries of all of them, that are read.
_MOST_PAGES, _MOST_ENTRIES = 20, 400
#: A page with more segments, a segment with more characters than this is no form's.
_MOST_SEGMENTS, _LONGEST_SEGMENT = 1500, 300
#: A caption's clause this much like what an ask is called is print, not an answer.
_CAPTION = 0.85
#: An answer has at most this many words; what is longer is the form's own text.
_LONGEST = 10
_LETTERS = re.compile(r"[^\W\d_]+")
#: Worth of a label that ends the line before; of one that is longer than captions are (words).
_WRAPPED, _PROSE, _LONG = 0.9, 0.85, 20
_CURRENCY = re.compile(r"[$€£]")
_NUMBERED_WORD = re.compile(r"\d{1,2}[a-z]?\.? +[^\W\d_]+")
_LINE_NUMBER = re.compile(r"\(?\d{0,2}[a-z]?[.)]?")
_HINT = re.compile(r"\((?!\d)|[•●▶►*→]|.*[:?]$", re.DOTALL)
_WEBSITE = re.compile(r"\bwww\.|://")
#: A group of digits in boxes of their own, some perhaps misread; groups that were joined.
_GROUP = re.compile(r"(?=\w*\d)\w{1,9}|\w")
_GROUPS = re.compile(r"(?=.*\d)\w{1,9}(?:[ \-/.]?\w{1,9}){0,12}")
_DASH = re.compile(r"[-–—/.]")
_DASHES = str.maketrans(dict.fromkeys("–—", "-"))
_CLAUSE = re.compile(r"[.;:()\[\],/]|\s[-–—]\s")
#: With this many numbered captions and a word for it, a page is a form; a box to tick counts as two.
_A_FORM, _BOXES = 4, 2
#: So many asks have an entry at a caption so much like them, else the schema is of another document.
_ASKED, _SURE = 2, 0.78
_NUMBERED = re.compile(r"\(?\d{1,2}[a-z]?[.)]? +[^\W\d]")
#: How far above an entry its caption may end, in heights of its words; what it costs that they share
#: less than this part of its width, and each height between them; what a numbered one gains.
_OVER, _ASIDE, _APART, _SHARED, _NUMBERS = 4.0, 0.2, 0.8, 0.3, 0.5
#: Lines of one entry: how far apart, how far their left edges differ; parts of one number in a row.
#: words of one line that a recogniser has parted.
_LEADING, _FLUSH, _GAP, _BLANK = 0.8, 1.0, 3.0, 0.8
#: Answers are this much higher than the captions above them, if they are; lines of one are not.
_BIGGER = 1.4
#: Higher words than this (usual ones) are no answers.
_TALLEST = 2.5
#: A code of letters and digits; a number that begins print in small letters.
_CODE = re.compile(r"\b(?=[\w\-]*\d)[A-Z][A-Z\d]*-[A-Z\d\-]+|\b[A-Z]{1,4}\d{1,5}\b")
_LED = re.compile(r"(?P<entry>\d{1,6}(?:[.,]\d{1,4})?)(?: ?%)?(?= [a-z]{2})")
#: A caption with what was written behind it in capitals: `Beruf TISCHLER`.
_CAPITALS = re.compile(
    r"(?P<label>[^\W\d_]+[a-zß-ÿ][^:,]{0,30}?) +(?P<entry>(?=[^\W_])(?=[^a-zß-ÿ]*[^\W\d_a-zß-ÿIVX]{3})[^a-zß-ÿ:]{4,})"
    r"$"
)
#: Segments of one line follow each other in the text with no more than this between.
_APART_IN_TEXT = 3
_GOES_ON = re.compile(r"%? ?[a-z]{2}|%")
_ENDED = re.compile(r"[a-z]{2} (?P<entry>[A-Z][\w.'’\-]*(?: [A-Z][\w.'’\-]*){0,3})$")


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Words that may be an answer, or part of one: its lines, the box around them in points, its row.

    `label` is the print of the line that it stands in, where it is written into one.
    """

    lines: tuple[Line, ...]
    box: Box
    size: float
    row: int
    label: str = ""

    @property
    def text(self) -> str:
        """What it says, line by line."""
        return "\n".join(line.text for line in self.lines)


def slots(layout: Layout, asks: Sequence[Ask]) -> list[Slot]:
    """What was filled in on the pages that have no fields for text, with what may label it.

    Captions are told from answers by their words: those in small letters, those that labels are
    made of, those that are asked for. Nothing of the page's picture is needed.
    """
    found: list[Slot] = []
    is_caption = _caption_reader(asks)
    for page in list(layout.pages.values())[:_MOST_PAGES]:
        if page.words and not any(field.kind != "check" for field in page.fields):
            segments = [segment for segment in layout.segments if segment.page == page.number]
            if len(segments) <= _MOST_SEGMENTS and _is_form(page, segments):
                found += _of_page(layout, page, segments, is_caption)
    found = found[:_MOST_ENTRIES]
    asked = {ask for (ask, _), score in likenesses(found, asks).items() if score >= _SURE}
    return found if len(asked) >= min(_ASKED, len(asks)) else []


def _is_form(page: Page, segments: Sequence[Segment]) -> bool:
    """Whether a page is a form: it has boxes to tick, or numbers its captions and calls itself one."""
    called = any(
        plain(word) in lexicon().forms for s in segments for word in _LETTERS.findall(s.text[:80])
    )
    numbered = sum(
        _is_number_of_line(s)
        or (_NUMBERED.match(s.text) is not None and any(w.islower() for w in s.text.split()))
        for s in segments
    )
    ticked = sum(field.kind == "check" for field in page.fields)
    return numbered * called + _BOXES * ticked >= _A_FORM


def _of_page(
    layout: Layout, page: Page, segments: Sequence[Segment], is_caption: Callable[[str], bool]
) -> Iterator[Slot]:
    print_: list[Segment] = []
    pieces: list[_Piece] = []
    ticked = {plain(text) for field in page.fields for text in (field.label, field.name)}
    short = (segment for segment in segments if len(segment) <= _LONGEST_SEGMENT)
    for segment in _runs(s for s in short if not _is_turned(s, layout.body)):
        behind = _CAPITALS.match(segment.text)
        is_print = _is_print(segment) or _is_small_print(segment)
        if behind and (not is_print or is_caption(behind["label"])):
            print_.append(segment)
            pieces.append(_part(segment, *behind.span("entry"), behind["label"]))
        elif is_print or plain(segment.text) in ticked or not _is_answer(segment.text, is_caption):
            print_.append(segment)
            pieces += _written_in(segment)
        elif _can_be(segment.text):
            pieces += _pieces(segment)
    names = _codes(print_)
    pieces = [
        piece for piece in pieces if not _CODE.match(piece.text) or not piece.text.startswith(names)
    ]
    pieces = _blocks(_groups(pieces, print_), print_)
    pieces = sorted(pieces, key=lambda piece: (piece.row, piece.box[0]))[:_MOST_ENTRIES]
    sheet = Sheet(layout, [(_field(piece), piece.box) for piece in pieces], print_)
    for piece, (field, box) in zip(pieces, sheet.fields, strict=False):
        caption = _caption(piece, print_)
        reach = min(box[0], caption.box[0]) if caption is not None else box[0]
        labels = [
            (label.text, label.worth * (_PROSE if len(label.text.split()) > _LONG else 1.0))
            for label in sheet.labels(field, box, reach)
        ]
        if piece.label:
            labels.insert(0, (piece.label, 1.0))
        labels += [(text, _WRAPPED) for text in _asking(piece, layout, print_)]
        if labels:
            yield Slot(field, page.number, box, tuple(labels), piece.lines)


def _is_turned(segment: Segment, body: float) -> bool:
    """Whether words run up along the edge of the page."""
    x0, y0, x1, y1 = segment.box
    return segment.size > _TALLEST * body or (len(segment) > 2 and y1 - y0 > 1.2 * (x1 - x0))


def _runs(segments: Iterable[Segment]) -> list[Segment]:
    """The segments, those side by side as one: recognised words are often set a little apart."""
    made: list[Segment] = []
    for segment in segments:
        last = made[-1] if made else None
        if last is None or segment.left is None or not _goes_on(last, segment):
            made.append(segment)
            continue
        a, b = last.box, segment.box
        box = (a[0], min(a[1], b[1]), b[2], max(a[3], b[3]))
        gap = " " * (segment.start - last.end)
        made[-1] = replace(
            last,
            end=segment.end,
            text=f"{last.text}{gap}{segment.text}",
            box=box,
            right=segment.right,
        )
    return made


def _goes_on(a: Segment, b: Segment) -> bool:
    near = -a.size < b.box[0] - a.box[2] < _BLANK * min(a.size, b.size)
    follows = a.row == b.row and 0 <= b.start - a.end <= _APART_IN_TEXT
    return near and follows and not _CURRENCY.search(a.text + b.text)


def _asking(piece: _Piece, layout: Layout, print_: Sequence[Segment]) -> Iterator[str]:
    """Print that goes on behind a piece in small letters, or asks with a colon at the line before."""
    for segment in print_:
        level = abs(middle(segment.box) - middle(piece.box)) < 0.5 * piece.size
        near = -1 < segment.box[0] - piece.box[2] < 2 * piece.size
        if level and near and _GOES_ON.match(segment.text):
            yield segment.text
    row, before = layout.rows[piece.row], layout.rows[piece.row - 1] if piece.row else ()
    if before and row[0].box[0] > piece.box[0] - piece.size and before[-1].page == row[0].page:
        text = before[-1].text.rstrip()
        if text.endswith(":"):
            yield text


def _codes(print_: Sequence[Segment]) -> tuple[str, ...]:
    """The codes that the print itself names: the form's own (`W-9`), those of other forms."""
    return tuple({code for segment in print_ for code in _CODE.findall(segment.text)})


def _caption_reader(asks: Sequence[Ask]) -> Callable[[str], bool]:
    """Whether a text is what one of the asks is called."""
    phrases = [units for ask in asks for units, worth in ask.phrases if worth > 0.9]
    known: dict[str, bool] = {}

    def read(text: str) -> bool:
        if text not in known:
            clauses = [lexicon().read(part) for part in (text, *_CLAUSE.split(text))]
            known[text] = any(
                alike(phrase, clause) >= _CAPTION for clause in clauses for phrase in phrases
            )
        return known[text]

    return read


def _is_print(segment: Segment) -> bool:
    """Whether words are the form's own by their looks: captions, hints, sentences, headings."""
    text = segment.text.strip(" .…_")
    words = _LETTERS.findall(text)
    if ("@" in text and len(text.split()) < 3) or _is_told(segment):
        return False
    if _HINT.match(text) or BOX.search(text) or _WEBSITE.search(text) or len(words) > _LONGEST:
        return True
    known = lexicon()
    named = any(plain(word) in known.furniture for word in words)
    if named or _is_number_of_line(segment) or _NUMBERED_WORD.fullmatch(text):
        return True
    return any(_is_small(word) for word in words)


def _is_answer(text: str, is_caption: Callable[[str], bool]) -> bool:
    """Whether words are neither what labels are made of nor what is asked for."""
    if any(char.isdigit() for char in text):
        return True
    units = lexicon().read(text)
    return not (units and all(unit.concepts for unit in units)) and not is_caption(text)


def _is_small_print(segment: Segment) -> bool:
    """Whether words without digits stand right above bigger ones: a caption in its box."""
    below = segment.below
    if below is None or any(char.isdigit() for char in segment.text):
        return False
    near = below.box[1] - segment.box[3] < segment.size
    return near and below.size > _BIGGER * segment.size and below.box[0] >= segment.box[0] - 3


def _is_small(word: str) -> bool:
    """Whether a word in small letters is no part of a name."""
    folded = plain(word)
    known = lexicon()
    if not word.islower() or folded in known.particles:
        return False
    return len(word) > 2 or not known.says(folded)


def _is_told(segment: Segment) -> bool:
    """Whether a sentence stands below print that ends in a colon and asks for it."""
    over = segment.above
    if over is None or segment.left is not None or not segment.text[:1].isupper():
        return False
    near = segment.box[1] - over.box[3] < 1.5 * segment.size
    return near and over.text.rstrip().endswith(":") and over.right is None


def _is_number_of_line(segment: Segment) -> bool:
    """Whether a short number stands right before print: `10a`, `5`."""
    after = segment.right
    if after is None or not _LINE_NUMBER.fullmatch(segment.text) or _GOES_ON.match(after.text):
        return False
    near = after.box[0] - segment.box[2] < 3 * segment.size
    words = _LETTERS.findall(after.text)
    return near and len(words) > 1 and any(_is_small(word) for word in words)


def _written_in(segment: Segment) -> Iterator[_Piece]:
    """What is written into a line of print that goes on in small letters.

    A number before it (`15 % rate of withholding`), a name before it goes on (`a resident of Peru`).
    """
    match, after = _LED.match(segment.text), segment.right
    if match:
        yield _part(segment, match.start("entry"), match.end("entry"), segment.text[match.end() :])
    elif after is not None and after.text[:1].islower():
        match = _ENDED.search(segment.text)
        if match:
            label = f"{segment.text[: match.start()]} {after.text}"
            yield _part(segment, match.start("entry"), match.end("entry"), label)


def _part(segment: Segment, start: int, end: int, label: str = "") -> _Piece:
    """A part of a segment; single characters in boxes of their own as one word."""
    x0, y0, x1, y1 = segment.box
    width = (x1 - x0) / max(1, len(segment))
    text = segment.text[start:end]
    if all(len(part) == 1 for part in text.split()):
        text = text.replace(" ", "")
    line = Line(text, ((segment.start + start, segment.start + end),))
    box = (x0 + start * width, y0, x0 + end * width, y1)
    return _Piece((line,), box, max(segment.size, 0.1), segment.row, label)


def _can_be(text: str) -> bool:
    """Whether words can be an answer: no two or three letters that were misread."""
    return len(text) > 3 or any(char.isdigit() or char.isupper() for char in text)


def _pieces(segment: Segment) -> Iterator[_Piece]:
    """The parts of a segment between signs of currency, which forms print in their boxes."""
    start = 0
    ends = [match.span() for match in _CURRENCY.finditer(segment.text)]
    for end, behind in [*ends, (len(segment), len(segment))]:
        text = segment.text[start:end]
        kept = text.strip(" .…_|")
        if any(char.isalnum() for char in kept) or _DASH.fullmatch(kept):
            at = start + text.find(kept)
            yield _part(segment, at, at + len(kept))
        start = behind


def _groups(pieces: Sequence[_Piece], print_: Sequence[Segment]) -> list[_Piece]:
    """The pieces, groups of digits side by side below one caption as one: `2 3 3`, `4 6`, `7 4 3 3`."""
    made: list[_Piece] = []
    glue = ""
    for piece in pieces:
        last = made[-1] if made else None
        if _DASH.fullmatch(piece.text):
            glue = piece.text.translate(_DASHES) if last and _follows(last, piece) else ""
        elif last is not None and _joins(last, piece, print_, dashed=bool(glue)):
            made[-1] = _joined(last, piece, glue)
            glue = ""
        else:
            made.append(piece)
            glue = ""
    return made


def _joins(a: _Piece, b: _Piece, print_: Sequence[Segment], *, dashed: bool) -> bool:
    """Whether a group of digits goes on where another ends."""
    if not _follows(a, b) or b.label:
        return False
    if not _GROUP.fullmatch(b.text) or not _GROUPS.fullmatch(a.text):
        return False
    return dashed or _caption(a, print_) is _caption(b, print_)


def _follows(a: _Piece, b: _Piece) -> bool:
    level = abs(middle(a.box) - middle(b.box)) < 0.5 * a.size
    return level and -a.size < b.box[0] - a.box[2] < _GAP * a.size


def _joined(a: _Piece, b: _Piece, glue: str) -> _Piece:
    last = a.lines[-1]
    single = b.text and len(b.text) == 1 and b.box[0] - a.box[2] < 2 * a.size
    text = f"{last.text}{glue or ('' if single else ' ')}{b.text}"
    box = (a.box[0], min(a.box[1], b.box[1]), b.box[2], max(a.box[3], b.box[3]))
    return _Piece((Line(text, (*last.places, *b.lines[0].places)),), box, a.size, a.row)


def _blocks(pieces: Sequence[_Piece], print_: Sequence[Segment]) -> list[_Piece]:
    """The pieces, lines that follow each other with nothing between as one (an address)."""
    made: list[_Piece] = []
    for piece in sorted(pieces, key=lambda piece: (piece.box[1], piece.box[0])):
        over = next((p for p in reversed(made[-30:]) if _is_below(piece, p)), None)
        if over is None or _is_parted(over, piece, print_):
            made.append(piece)
            continue
        a, b = over.box, piece.box
        box = (min(a[0], b[0]), a[1], max(a[2], b[2]), b[3])
        made[made.index(over)] = _Piece((*over.lines, *piece.lines), box, over.size, over.row)
    return made


def _is_parted(over: _Piece, piece: _Piece, print_: Sequence[Segment]) -> bool:
    """Whether print stands between two lines, or goes on from the first in small letters."""
    return any(
        (middle(over.box) < middle(s.box) < middle(piece.box) and shares(s.box, piece.box))
        or (
            abs(middle(s.box) - middle(over.box)) < 0.5 * over.size
            and s.box[0] > over.box[2]
            and s.text[0].islower()
        )
        for s in print_
    )


def _is_below(piece: _Piece, over: _Piece) -> bool:
    size = min(piece.size, over.size)
    gap = piece.box[1] - over.box[3]
    flush = abs(piece.box[0] - over.box[0]) <= _FLUSH * size
    even = max(piece.size, over.size) < _BIGGER * size
    return flush and even and len(piece.text) > 2 and -0.5 * size < gap <= _LEADING * size


def _caption(piece: _Piece, print_: Sequence[Segment]) -> Segment | None:
    """The print above a piece that begins the cell it stands in: right above, or further left."""
    best, found = _OVER, None
    x0, y0, x1, _ = piece.box
    for segment in print_:
        gap = (y0 - segment.box[3]) / piece.size
        if not -0.6 < gap < best or middle(segment.box) >= middle(piece.box) - 0.5 * piece.size:
            continue
        if segment.box[0] >= x1 or (segment.box[0] > x0 + piece.size):
            continue
        cost = max(0.0, gap) - _NUMBERS * (_NUMBERED.match(segment.text) is not None)
        if min(segment.box[2], x1) - max(segment.box[0], x0) < _SHARED * (x1 - x0):
            cost += _APART + _ASIDE * max(0.0, x0 - segment.box[2]) / piece.size
        if cost < best:
            best, found = cost, segment
    return found


def _field(piece: _Piece) -> FormField:
    """A piece as a field of its form; where it stands on the page its words tell."""
    places = [place for line in piece.lines for place in line.places]
    return FormField("", "", piece.text, "text", (0, 0, 1, 1), places[0][0], places[-1][1])
