"""Evidence on labelled documents: how much is found, whether places are right, what can't be proven, what hints cost.

    python benchmarks/evidence.py ground FOLDER ...     # found, altered digits, wrong quotes, milliseconds
    python benchmarks/evidence.py boxes FOLDER ...      # pages drawn, and what stands in the boxes read again
    python benchmarks/evidence.py hints FOLDER ...      # forms of hint: tokens, price, located leaves
    python benchmarks/evidence.py speed                 # 300 pages, hundreds of leaves, several windows

A folder holds `docs/*.pdf`, `labels/<stem>.json`, `schema.json`. What is printed is told by a list of usual forms that
knows nothing of the product's own readers (benchmarks/labelled.py).
"""

import argparse
import json
import random
import re
import string
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from labelled import Labelled, labelled, squeezed, stands
from oracle import FORMS, Oracle

from pipeline.document import Box, Document, Page
from pipeline.grounding import ground
from pipeline.providers import Hint
from pipeline.results import Evidence, leaves

PROVEN = frozenset({"verified", "derived"})
NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["ground", "boxes", "hints", "speed"])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument(
        "--sample", type=int, default=40, help="boxes that are read by OCR, a folder"
    )
    options = parser.parse_intermixed_args()
    if options.what == "speed":
        speed()
        return
    found: dict[str, list[Labelled]] = defaultdict(list)
    for each in labelled(options.folders):
        found[each.folder].append(each)
    {"ground": grounds, "boxes": lambda by: boxes(by, options.sample), "hints": hints}[
        options.what
    ](found)


def dice(seed: int) -> random.Random:
    """Chance that repeats itself."""
    return random.Random(seed)  # noqa: S311, figures that repeat


def row(*cells: object) -> None:
    """One line of a table."""
    print(
        "  ".join(f"{cell:>11}" if number else f"{cell:<16}" for number, cell in enumerate(cells))
    )


def grounds(folders: dict[str, list[Labelled]]) -> None:
    """Of the values that stand on the pages: found, proven; altered and wrongly quoted ones; time."""
    row(
        "folder",
        "pages",
        "leaves",
        "stand",
        "found",
        "proven",
        "with hints",
        "altered",
        "claimed",
        "misquoted",
        "verified",
        "ms a page",
    )
    whole: Counter[str] = Counter()
    for name, documents in folders.items():
        told: Counter[str] = Counter()
        for each in documents:
            told += _grounded(each)
        _print_ground(name, told)
        whole += told
    _print_ground("all", whole)


def _print_ground(name: str, told: Counter[str]) -> None:
    def share(part: str) -> str:
        return f"{100 * told[part] / max(1, told['stand']):.1f} %"

    row(name, told["pages"], told["leaves"], told["stand"], share("found"), share("proven"), share("hinted"),
        told["altered"], told["claimed"], told["misquoted"], told["misverified"],
        f"{1000 * told['ns'] / 1e9 / max(1, told['pages']):.1f}")  # fmt: skip


def _grounded(each: Labelled) -> Counter[str]:
    pages = [page.text for page in each.document.pages]
    gold = {p: v for p, v in leaves(each.gold) if v is not None and not isinstance(v, dict | list)}
    printed = {p for p, value in gold.items() if any(stands(value, page) for page in pages)}
    begun = time.process_time_ns()
    plain = ground(each.gold, each.schema, each.document)
    spent = time.process_time_ns() - begun
    oracle = Oracle(each)
    hinted = ground(each.gold, each.schema, each.document, hints=oracle.hints("open"))
    told = Counter(pages=len(pages), leaves=len(gold), stand=len(printed), ns=spent)
    told["found"] = sum(e.pointer in printed and e.start is not None for e in plain)
    told["proven"] = sum(e.pointer in printed and e.status in PROVEN for e in plain)
    told["hinted"] = sum(e.pointer in printed and e.status in PROVEN for e in hinted)
    told["altered"], told["claimed"] = _altered(each, pages, gold, oracle)
    told["misquoted"], told["misverified"] = _misquoted(each, gold)
    return told


def _altered(
    each: Labelled, pages: list[str], gold: dict[str, Any], oracle: Oracle
) -> tuple[int, int]:
    """Values with one digit changed that then stand nowhere, quoted with the line of the right one; those claimed."""
    rng, data = dice(7), json.loads(json.dumps(each.gold))
    altered = {}
    for pointer, value in gold.items():
        wrong = _with_other_digit(value, rng)
        if wrong is not None and not any(stands(wrong, page) for page in pages):
            altered[pointer] = wrong
            _put(data, pointer, wrong)
    hints = [hint for hint in oracle.hints("all") if hint.pointer in altered]
    claimed = 0
    for given in ((), hints):
        for proof in ground(data, each.schema, each.document, hints=given):
            if proof.pointer in altered and proof.status in PROVEN:
                claimed += 1
                print("CLAIMED", each.document.path, proof.pointer, repr(gold[proof.pointer])[:60],
                      repr(altered[proof.pointer])[:60], proof.status, repr(proof.quote)[:80])  # fmt: skip
    return len(altered), claimed


def _with_other_digit(value: Any, rng: random.Random) -> Any:
    """The value with one digit changed; None where it has none."""
    text = "" if isinstance(value, bool) else str(value)
    at = [number for number, char in enumerate(text) if char in string.digits]
    if isinstance(value, float) and text.endswith(".0"):
        at.remove(len(text) - 1)
    if not at:
        return None
    place = rng.choice(at)
    digit = rng.choice([d for d in string.digits if d != text[place]])
    wrong = text[:place] + digit + text[place + 1 :]
    return wrong if isinstance(value, str) else type(value)(wrong)


def _put(data: Any, pointer: str, value: Any) -> None:
    *path, last = [t.replace("~1", "/").replace("~0", "~") for t in pointer.split("/")[1:]]
    for token in path:
        data = data[int(token)] if isinstance(data, list) else data[token]
    data[int(last) if isinstance(data, list) else last] = value


def _misquoted(each: Labelled, gold: dict[str, Any]) -> tuple[int, int]:
    """Values quoted with a line that does not hold them; those that verify there."""
    rng = dice(11)
    lines = [
        (page.number, line)
        for page in each.document.pages
        for line in page.text.splitlines()
        if len(line) > 8
    ]
    hints = []
    for pointer, value in gold.items():
        wrong = [
            (n, line)
            for n, line in rng.sample(lines, min(20, len(lines)))
            if not stands(value, line)
        ]
        hints += [Hint(pointer, line, n) for n, line in wrong[:1]]
    given = {hint.pointer: hint for hint in hints}
    # A line that stands at several places is a quote of all of them; only the one that was meant counts.
    verified = 0
    for proof in ground(each.gold, each.schema, each.document, hints=hints):
        hint = given.get(proof.pointer)
        if hint and proof.status == "verified" and not stands(gold[proof.pointer], hint.quote):
            verified += 1
            print(
                "VERIFIED",
                each.document.path,
                proof.pointer,
                repr(gold[proof.pointer])[:60],
                repr(hint.quote)[:80],
                repr(proof.quote)[:60],
            )
    return len(hints), verified


def boxes(folders: dict[str, list[Labelled]], sample: int) -> None:
    """Boxes that hold their value: by pdfium's own look at that part of the page, and read from its picture."""
    row("folder", "boxes", "text holds", "drawn", "exact", "digits", "alike")
    for name, documents in folders.items():
        told: Counter[str] = Counter()
        drawn: list[tuple[Labelled, Evidence, Any]] = []
        for each in documents:
            values = dict(leaves(each.gold))
            proofs = [
                p
                for p in ground(each.gold, each.schema, each.document)
                if p.box and p.status == "verified"
            ]
            told["boxes"] += len(proofs)
            told["text"] += _in_text(each, proofs)
            drawn += [(each, proof, values[proof.pointer]) for proof in proofs]
        for each, proof, _ in dice(3).sample(drawn, min(sample, len(drawn))):
            told += _in_picture(each, proof)
        seen = max(1, told["drawn"])
        row(name, told["boxes"], f"{100 * told['text'] / max(1, told['boxes']):.1f} %", told["drawn"],
            *(f"{100 * told[kind] / seen:.0f} %" for kind in ("exact", "digits", "alike")))  # fmt: skip


def _in_text(each: Labelled, proofs: Iterable[Evidence]) -> int:
    """How many boxes hold their quote by pdfium's text of that rectangle, which has no values of form fields: those pass."""
    import pypdfium2

    part = next(part for part in each.document.parts if part.kind == "pdf")
    opened = pypdfium2.PdfDocument(part.data)
    held, texts = 0, {}
    for proof in proofs:
        number = proof.page or 1
        page = each.document.pages[number - 1]
        if number not in texts:
            texts[number] = opened[number - 1].get_textpage()
        wide, high = opened[number - 1].get_size()
        x0, y0, x1, y1 = proof.box or NOWHERE
        inside = texts[number].get_text_bounded(
            x0 * wide - 1, (1 - y1) * high - 1, x1 * wide + 1, (1 - y0) * high + 1
        )
        filled = any(f.start < (proof.end or 0) and f.end > (proof.start or 0) for f in page.fields)
        ok = filled or letters(proof.quote or "") in letters(inside)
        held += ok
        if not ok:
            print(
                "NOT IN BOX",
                each.document.path,
                proof.pointer,
                repr(proof.quote)[:70],
                repr(inside)[:70],
            )
    return held


def letters(text: str) -> str:
    """The letters and digits of a text, folded."""
    return "".join(char for char in squeezed(text) if char.isalnum())


def _in_picture(each: Labelled, proof: Evidence) -> Counter[str]:
    """The box cut out of the drawn page and read by OCR: the quote exactly, its digits, and its letters nearly."""
    from rapidfuzz.fuzz import partial_ratio

    from pipeline import ocr
    from pipeline.loaders import pdf

    part = next(part for part in each.document.parts if part.kind == "pdf")
    picture = pdf.picture(part.data, proof.page or 1, 200, 4000)
    wide, high = picture.size
    x0, y0, x1, y1 = proof.box or NOWHERE
    edge = 0.35 * (y1 - y0) * high
    cut = picture.crop(
        (
            round(x0 * wide - edge),
            round(y0 * high - edge),
            round(x1 * wide + edge),
            round(y1 * high + edge),
        )
    )
    from PIL import Image

    framed = Image.new("RGB", (cut.width + 80, cut.height + 80), "white")
    framed.paste(cut, (40, 40))
    read, quote = letters(ocr.read(framed).text), letters(proof.quote or "")
    digits = re.sub(r"\D", "", quote)
    alike = partial_ratio(quote, read) >= 80
    return Counter(
        drawn=1,
        exact=quote in read,
        digits=digits in re.sub(r"\D", "", read) and alike,
        alike=alike,
    )


def hints(folders: dict[str, list[Labelled]]) -> None:
    """Every form of hint, answered by an oracle: what it adds to the request and the answer, what is located by it."""
    documents = [each for every in folders.values() for each in every]
    oracles = [Oracle(each) for each in documents]
    print(
        f"{len(documents)} documents, {sum(o.count for o in oracles)} values, answers of {sum(o.answer for o in oracles):,} tokens without hints"
    )
    row(
        "form",
        "input +",
        "output +",
        "USD / 1000",
        "verified",
        "derived",
        "located",
        "USD / leaf +",
        "USD / 1000 leaves",
    )
    base = 0
    for form in FORMS:
        costs = [o.cost(form) for o in oracles]
        told = Counter(proof for o in oracles for proof in o.proofs(form))
        located = told["verified"] + told["derived"]
        base = base or located
        usd = sum(0.25e-6 * given + 1.5e-6 * answered for given, answered in costs)
        gained = located - base
        row(form, sum(given for given, _ in costs), sum(answered for _, answered in costs), f"{1000 * usd / len(documents):.3f}",
            told["verified"], told["derived"], f"{100 * located / sum(o.count for o in oracles):.1f} %",
            f"{usd / gained:.2e}" if gained > 0 else "-", f"{1000 * usd / located:.4f}")  # fmt: skip


def speed() -> None:
    """Milliseconds a page and a leaf: a long document, its windows, and a repair question, one after the other."""
    rng = dice(5)
    words = ["maintenance", "consulting", "licence", "transport", "packaging", "insurance"]
    rows = [
        f"{rng.choice(words)} {rng.choice(words)} {n:05} {rng.randrange(10**6) / 100:,.2f}"
        for n in range(15_000)
    ]
    texts = ["\n".join(rows[at : at + 50]) for at in range(0, 15_000, 50)]
    pages = tuple(Page(number, text) for number, text in enumerate(texts, start=1))
    whole = Document("long.txt", "", 0, "text/plain", len(pages), pages, ())
    chosen = rng.sample(rows, 400)
    data: list[dict[str, Any]] = [
        {"text": " ".join(r.split()[:3]), "amount": float(r.split()[3].replace(",", ""))}
        for r in chosen
    ]
    wrong = [{"text": f"{r['text']} gone", "amount": r["amount"] + 1e7} for r in data]
    from dataclasses import replace

    from pipeline.schema import Schema

    schema = Schema.of({"type": "object", "properties": {"a": {}}})
    windows = [replace(whole, pages=pages[at : at + 30]) for at in range(0, 300, 30)]
    steps: list[tuple[str, Sequence[Document], Any]] = [
        ("whole document, 1 leaf", [whole], data[0]), ("again", [whole], data[0]),
        ("whole document, 800 leaves", [whole], data), ("10 windows of 30 pages, 80 leaves each", windows, data[:40]),
        ("whole, 800 leaves that are not there", [whole], wrong),
    ]  # fmt: skip
    for name, seen, asked in steps:
        begun = time.process_time()
        for document in seen:
            ground(asked, schema, document)
        spent, count = time.process_time() - begun, len(seen) * len(leaves(asked))
        print(
            f"{name:<42} {1000 * spent:8.0f} ms, {1000 * spent / 300:6.2f} a page, {1000 * spent / count:6.2f} a leaf"
        )


if __name__ == "__main__":
    main()
