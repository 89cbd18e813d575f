"""A reader of bills that forgets rows, doubles them, is cut off and loops: seeded, and right about everything else."""

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pipeline
from pipeline.results import Finding, Result
from tests.answers import Answer, Seen, fill, generated, usage_of
from tests.bordered import SCHEMA, Made, as_pdf, as_text, difference, made, pages_of

_NUMBER = re.compile(r"B-\d{6}")
_PAGE = re.compile(r"Page (\d+) of \d+")
#: Bytes of a token, as the test server counts them.
_A_TOKEN = 4


@dataclass
class Faults:
    """How often each happens: per row forgotten and doubled, per answer cut off and looping."""

    forget: float = 0.0
    double: float = 0.0
    cut: float = 0.0
    loop: float = 0.0


@dataclass
class Reader:
    """Answers from the bills that it knows, about the pages that a request holds."""

    faults: Faults
    bills: dict[str, Made] = field(default_factory=dict)
    requests: int = 0

    def __call__(self, seen: Seen) -> Answer:
        """One answer; the same request gets another one when it comes again."""
        if not isinstance(seen.body, dict) or "contents" not in seen.body:
            return generated({})
        self.requests += 1
        shown = seen.text + "".join(_printed(data) for _, data in seen.files)
        number = next((each for each in _NUMBER.findall(shown) if each in self.bills), None)
        schema = seen.config.get("responseJsonSchema", {})
        if number is None or "lines" not in schema.get("properties", {}):
            return generated(fill(schema))
        bill, rng = self.bills[number], random.Random(f"{number} {self.requests}")
        pages = sorted({int(page) for page in _PAGE.findall(shown)})
        data = {"number": number, "total": None, "lines": self._rows(bill.on(pages), rng)}
        data["total"] = bill.total if len(bill.sheets) in pages else None
        return self._said(
            seen, {key: data[key] for key in data if key in schema["properties"]}, rng
        )

    def _rows(self, rows: Sequence[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
        said = []
        for row in rows:
            if rng.random() >= self.faults.forget:
                said += [row] * (2 if rng.random() < self.faults.double else 1)
        return said

    def _said(self, seen: Seen, data: dict[str, Any], rng: random.Random) -> Answer:
        text, room = json.dumps(data), _A_TOKEN * int(seen.config.get("maxOutputTokens", 65_536))
        kind = rng.random()
        if kind < self.faults.loop and data["lines"]:
            start = text[
                : text.rindex("}", 0, text.rindex("}")) + 1
            ]  # up to the end of its last row
            block = ", " + json.dumps(data["lines"][-1])
            text = start + block * (room // len(block) + 1)
        elif kind < self.faults.loop + self.faults.cut:
            room = min(room, rng.randint(1, len(text)))
        said = text[:room]
        finish = "STOP" if said == text else "MAX_TOKENS"
        return generated(said, usage=usage_of(seen, said), finishReason=finish)


def _printed(data: bytes) -> str:
    """The texts of an uncompressed PDF of ours; of any other what pypdf reads."""
    text = data.decode("latin-1")
    if _PAGE.search(text):
        return text
    import io

    import pypdf

    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages)


@dataclass
class Told:
    """What came of one bill: rows lost and doubled, and those of them that no status and no finding tells."""

    status: str
    rows: int
    lost: int
    doubled: int
    lost_silently: int
    doubled_silently: int
    marked: bool
    in_order: bool
    requests: int


def bill_file(folder: Path, bill: Made, *, boxed: bool) -> Path:
    """The bill as a PDF, or as a text whose pages form feeds part."""
    path = folder / f"{bill.number}.{'pdf' if boxed else 'txt'}"
    if boxed:
        path.write_bytes(as_pdf(bill))
    else:
        path.write_text("\f".join(as_text(sheet) for sheet in bill.sheets))
    return path


def told(reader: Reader, folder: Path, bill: Made, *, boxed: bool, **settings: Any) -> Told:
    """Extract a bill through the whole product, and compare."""
    reader.bills[bill.number] = bill
    before = reader.requests
    path = bill_file(folder, bill, boxed=boxed)
    result = pipeline.extract(path, SCHEMA, model="gemini-3.1-flash-lite", **settings)
    rows = (result.data or {}).get("lines") or []
    lost, doubled = difference(bill, rows)
    named = _named(result)

    def silent(rows: Counter[str]) -> int:
        return sum(n for row, n in rows.items() if not pages_of(bill, Counter([row])) & named)

    expected = [row for row in bill.rows if row in rows]
    return Told(
        result.status,
        len(bill.rows),
        lost.total(),
        doubled.total(),
        silent(lost),
        silent(doubled),
        marked=bool(named),
        in_order=bool(lost or doubled) or rows == expected,
        requests=reader.requests - before,
    )


def _named(result: Result) -> set[int]:
    """The pages that findings about rows and about cut answers name."""
    about: list[Finding] = [
        f for f in result.findings if f.rule.startswith("row") or f is result.findings[0]
    ]
    pages: set[int] = set()
    for finding in about:
        for listed in re.findall(r"pages? (\d+(?:-\d+)?(?:, \d+(?:-\d+)?)*)", finding.message):
            for part in listed.split(", "):
                first, _, last = part.partition("-")
                pages |= set(range(int(first), int(last or first) + 1))
    return pages


def bills(count: int, most_pages: int, most_rows: int, seed: int = 0) -> list[Made]:
    """Seeded bills, from one page to many."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        pages = max(1, round(most_pages ** rng.random())) if number else most_pages
        rows = min(most_rows, pages * rng.randint(2, 30))
        found.append(made(seed * 1000 + number, pages, rows))
    return found
