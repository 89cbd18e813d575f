"""What cut and looping answers cost, and whether the data is whole in the end.

    python benchmarks/truncation.py [--documents 10] [--seed 7]

A local server answers rightly from bills of known rows. First, how many tokens of a looping answer of
65,000 are taken before the stream is left, by what it repeats. Then bills whose first answer is cut at
a random byte, or loops at a random page: how many are whole in the end, how many are called valid and are
not (silent), how many rows are lost or doubled, and the tokens of all answers against those of an answer that comes whole. Everything is
seeded; tokens are four bytes.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline import aextract
from pipeline.providers.gemini.reply import text_of
from pipeline.providers.loops import Watch
from pipeline.results import Result
from tests.cuts import A_PIECE, A_TOKEN, BILLS, LONGEST, Bill, looping, rows_of, stream
from tests.server import Server

ROW = json.dumps(rows_of(1)[0]) + ", "
WIDE = json.dumps({f"column_{i}": None for i in range(30)}) + ", "
BLOCKS = {
    "a row of 33 characters": ROW,
    "an empty row of 30 columns": WIDE,
    "eight rows": json.dumps(rows_of(1))[1:-1] + ", ",
    "a page of 60 rows": json.dumps(rows_of(1, 60))[1:-1] + ", ",
    "a word": "total ",
    "blanks": " ",
}


def taken(block: str) -> int:
    """Tokens of a looping stream that are taken before it is left."""
    text = looping('{"number": "B-1", "lines": [', block, 65_000)
    answer, watch = stream(text), Watch(text_of)
    body = bytes(answer.body)
    watch.add(body)
    return body[: watch.end].count(b"\n\n") * A_PIECE // A_TOKEN


async def read(bill: Bill, *, streamed: bool) -> Result:
    """The Result of a bill."""
    with Server(bill, is_strict=False) as server, tempfile.TemporaryDirectory() as folder:
        os.environ |= {  # noqa: TID251, the settings of this run
            "GEMINI_API_KEY": "benchmark",
            "GOOGLE_GEMINI_BASE_URL": server.url,
            "FIELDSIFT_CACHE_DIR": folder,
        }
        return await aextract(
            bill.text.encode(),
            BILLS,
            model="gemini-3.1-flash-lite",
            stream=streamed,
            max_output_tokens=LONGEST,
        )


def tokens(results: Iterable[Result], kind: str) -> int:
    """Tokens of all attempts."""
    return sum(a.tokens.get(kind, 0) for result in results for a in result.attempts)


def wrong(bill: Bill, result: Result) -> tuple[int, int]:
    """Rows that are lost, and rows that are there more often than they should."""
    true = Counter(row["code"] for row in bill.truth["lines"])
    got = Counter(row["code"] for row in (result.data or {}).get("lines", ()))
    return sum((true - got).values()), sum((got - true).values())


async def play(bills: list[Bill], *, streamed: bool) -> str:
    """Bills that are cut or loop, against the same bills answered whole: a line of the table."""
    plain = [await read(Bill(b.pages, b.rows), streamed=False) for b in bills]
    results = [await read(b, streamed=streamed) for b in bills]
    whole = sum(
        r.status == "valid" and r.data == b.truth for r, b in zip(results, bills, strict=True)
    )
    silent = sum(
        r.status == "valid" and r.data != b.truth for r, b in zip(results, bills, strict=True)
    )
    off = [wrong(b, r) for b, r in zip(bills, results, strict=True)]
    ratios = [tokens(results, kind) / max(1, tokens(plain, kind)) for kind in ("input", "output")]
    asked = sum(len(b.asked) for b in bills) / sum(len(r.attempts) for r in plain)
    return (
        f"{whole}/{len(bills):<6} {silent:>6} {sum(a for a, _ in off):>5} {sum(b for _, b in off):>8} "
        f"{asked:>10.2f} {ratios[0]:>8.2f} {ratios[1]:>8.2f}"
    )


async def tables(documents: int, seed: int) -> None:
    """Print them."""
    print("tokens taken of a looping stream of 65,000")
    for name, block in BLOCKS.items():
        print(f"  {name:<28} {taken(block):>7,}")
    print(
        "\nbills with one cut        whole  silent   lost  doubled  questions   input   output  (x of whole answers)"
    )
    for pages in (1, 4, 16, 64):
        dice = random.Random(f"{seed} {pages}")  # noqa: S311, a seed that repeats
        for name in ("cut", "loop, streamed", "loop, not streamed"):
            bills = [Bill(pages, rows=dice.randint(5, 12)) for _ in range(documents)]
            for bill in bills:
                if name == "cut":
                    bill.cuts = (dice.randrange(len(json.dumps(bill.truth))),)
                else:
                    bill.loops_at = dice.randint(1, pages)
            line = await play(bills, streamed=name == "loop, streamed")
            print(f"{pages:>3} pages, {name:<19} {line}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=10, help="of each kind and length")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    asyncio.run(tables(given.documents, given.seed))


if __name__ == "__main__":
    main()
