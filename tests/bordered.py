"""Documents with known rows, for borders between windows: equal neighbours, rows cut by a page's end, headers, totals."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pipeline.document import Document, Page, Part, Word
from pipeline.schema import Schema
from tests.pdfs import pdf, text_at

SCHEMA = Schema.of(
    {
        "title": "bill",
        "type": "object",
        "properties": {
            "number": {"type": ["string", "null"]},
            "total": {"type": ["number", "null"]},
            "lines": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "article": {"type": "string"},
                        "quantity": {"type": "integer"},
                        "price": {"type": "number"},
                        "amount": {"type": "number"},
                    },
                    "required": ["article", "quantity", "price", "amount"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["number", "total", "lines"],
        "additionalProperties": False,
    }
)
#: Where columns stand, in points of a page 600 wide: article from the left, the others up to the right.
_LEFT, _RIGHTS = 40.0, (330.0, 420.0, 520.0)
_LINE, _TOP = 13.0, 760.0
#: Widths of Helvetica's digits and of what stands among them, in thousandths of its size.
_WIDE = {".": 278, ",": 278, " ": 278}
_SIZE = 9.0
#: Rows of one page, so that its lines don't overlap.
_MOST = 38
_METALS = ("Steel", "Brass", "Copper", "Nickel", "Zinc")
_GOODS = ("bolt", "washer", "hinge", "bracket", "spring", "valve", "flange")


@dataclass
class Sheet:
    """One page to be printed: lines of cells, each with its place across (points) and whether that is its right end."""

    lines: list[list[tuple[float, bool, str]]] = field(default_factory=list)


@dataclass
class Made:
    """A document, its rows in order, and the page on which each begins."""

    number: str
    total: float
    rows: list[dict[str, Any]]
    pages: list[int]
    sheets: list[Sheet]

    @property
    def data(self) -> dict[str, Any]:
        """What a perfect answer says."""
        return {"number": self.number, "total": self.total, "lines": self.rows}

    def on(self, pages: Sequence[int]) -> list[dict[str, Any]]:
        """The rows that begin on some pages, in order."""
        return [row for row, page in zip(self.rows, self.pages, strict=True) if page in pages]


def made(seed: int, pages: int, rows: int) -> Made:
    """A bill of so many rows spread over so many pages."""
    rng = random.Random(seed)
    number = f"B-{rng.randrange(10**6):06}"
    listed: list[dict[str, Any]] = []
    while len(listed) < rows:
        quantity, cents = rng.randint(1, 12), rng.randint(100, 9999)
        row = {
            "article": f"{rng.choice(_METALS)} {rng.choice(_GOODS)} M{rng.randint(3, 12)}",
            "quantity": quantity,
            "price": cents / 100,
            "amount": quantity * cents / 100,
        }
        # Every sixth row or so has equal neighbours.
        listed += [dict(row) for _ in range(rng.choice((1, 1, 1, 1, 1, 2, 3)))]
    listed = listed[:rows]
    sheets, begins = _printed(rng, number, listed, pages)
    return Made(number, _sum(listed), listed, begins, sheets)


def _printed(
    rng: random.Random, number: str, rows: list[dict[str, Any]], pages: int
) -> tuple[list[Sheet], list[int]]:
    cuts = sorted(rng.randint(0, len(rows)) for _ in range(pages - 1))
    fullest = max(after - before for before, after in pairwise([0, *cuts, len(rows)]))
    if fullest > _MOST or rng.random() < 0.7:  # evenly, so that all fit on their pages
        cuts = [len(rows) * page // pages for page in range(1, pages)]
    sheets, begins = [Sheet() for _ in range(pages)], []
    bounds = [0, *cuts, len(rows)]
    rest: str = ""
    for place, sheet in enumerate(sheets):
        sheet.lines.append([(_LEFT, False, f"Bill {number} of Example Works Ltd")])
        header = ("Article", "Quantity", "Price EUR", "Amount EUR")
        sheet.lines.append(_cells(header))
        own = rows[bounds[place] : bounds[place + 1]]
        before = _sum(rows[: bounds[place]])
        if place and own:
            sheet.lines.append(
                [(_LEFT, False, "Carried forward"), (_RIGHTS[2], True, _money(before))]
            )
        if rest:
            sheet.lines.append([(_LEFT + 8, False, rest)])
            rest = ""
        for at, row in enumerate(own):
            begins.append(place + 1)
            sheet.lines.append(
                _cells(
                    (
                        row["article"],
                        str(row["quantity"]),
                        _money(row["price"]),
                        _money(row["amount"]),
                    )
                )
            )
            note = rng.choice(("", "", "", "galvanised, in a box", "with a certificate of origin"))
            if note and at == len(own) - 1 and place < pages - 1:
                rest = note  # the page ends within the row
            elif note:
                sheet.lines.append([(_LEFT + 8, False, note)])
            if rng.random() < 0.06:
                part = _sum(own[: at + 1])
                sheet.lines.append([(_LEFT, False, "Subtotal"), (_RIGHTS[2], True, _money(part))])
        sheet.lines.append([(_LEFT, False, f"Page {place + 1} of {pages}")])
    sheets[-1].lines.insert(-1, [(_LEFT, False, "Total"), (_RIGHTS[2], True, _money(_sum(rows)))])
    return sheets, begins


def _cells(texts: Sequence[str]) -> list[tuple[float, bool, str]]:
    return [(_LEFT, False, texts[0])] + [
        (x, True, text) for x, text in zip(_RIGHTS, texts[1:], strict=True)
    ]


def _sum(rows: Sequence[dict[str, Any]]) -> float:
    return sum(round(float(row["amount"]) * 100) for row in rows) / 100


def _money(amount: float) -> str:
    return f"{amount:,.2f}"


def as_text(sheet: Sheet) -> str:
    """A page as plain text: cells parted by blanks."""
    return "\n".join("   ".join(text for _, _, text in line) for line in sheet.lines)


def _begin(x: float, right: bool, text: str) -> float:
    width = sum(_WIDE.get(char, 556) for char in text) * _SIZE / 1000
    return x - width if right else x


def as_pdf(made: Made) -> bytes:
    """The document as a PDF file with a text layer."""
    step = [min(_LINE, 740 / max(1, len(sheet.lines))) for sheet in made.sheets]
    return pdf(
        *(
            b"".join(
                text_at(_begin(x, right, text), _TOP - step[page] * row, text, _SIZE)
                for row, line in enumerate(sheet.lines)
                for x, right, text in line
            )
            for page, sheet in enumerate(made.sheets)
        )
    )


def document(made: Made, *, boxed: bool) -> Document:
    """The document as if it had been loaded: plain pages, or pages of words with boxes."""
    pages = []
    for number, sheet in enumerate(made.sheets, start=1):
        text = as_text(sheet)
        words = tuple(_words(sheet)) if boxed else ()
        pages.append(Page(number, text, words, width=600, height=800))
    parts = tuple(Part("text", "text/plain", text=page.text) for page in pages[:1])
    return Document("bill", "0" * 64, 1, "text/plain", len(pages), tuple(pages), parts)


def _words(sheet: Sheet) -> list[Word]:
    words, start = [], 0
    for row, line in enumerate(sheet.lines):
        for x, right, text in line:
            at = _begin(x, right, text)
            for piece in text.split(" "):
                wide = len(piece) * 556 * _SIZE / 1000
                top = (40 + _LINE * row) / 800
                words.append(
                    Word(
                        start, start + len(piece), (at / 600, top, (at + wide) / 600, top + 9 / 800)
                    )
                )
                start, at = start + len(piece) + 1, at + wide + 3
            start += 2
        start -= 2
    return words


def difference(made: Made, rows: Sequence[dict[str, Any]]) -> tuple[Counter[str], Counter[str]]:
    """Rows that are lost, and rows that are doubled or invented; equal rows are told apart by their number only."""
    wanted = Counter(repr(sorted(row.items())) for row in made.rows)
    given = Counter(repr(sorted(row.items())) for row in rows)
    return wanted - given, given - wanted


def pages_of(made: Made, rows: Counter[str]) -> set[int]:
    """The pages on which such rows stand."""
    return {
        page
        for row, page in zip(made.rows, made.pages, strict=True)
        if repr(sorted(row.items())) in rows
    }
