"""Second signal: does the pattern of the lines tell when rows are missing, and only then?

Measures on labelled documents (a folder with docs/, labels/<stem>.json, schema.json) and their gold data:

- false doubts: `rows_missing` though the gold data has every row;
- true doubts: gold rows are taken out, one in ten (at least one), and the doubt names a page of one of them;
- leaves of rows by the status of their evidence.

Run: python benchmarks/second_signal.py FOLDER... [--seeds 5]
"""

import argparse
import copy
import random
from collections import Counter
from pathlib import Path
from typing import Any

from labelled import Labelled, labelled

from pipeline.document import Window
from pipeline.grounding import ground
from pipeline.prompts import Ask
from pipeline.results import Evidence
from pipeline.stages import Stage
from pipeline.windows import Merged, Piece, merge


def merged(one: Labelled, data: Any) -> Merged:
    """What the product makes of one perfect answer with this data."""
    window = Window(tuple(range(1, one.document.page_count + 1)))
    evidence = ground(data, one.schema, one.document)
    piece = Piece(Ask(window, one.schema), data, evidence, window.pages)
    return merge(Stage("gold", one.schema), one.document, [piece])


def tables(data: Any) -> list[list[Any]]:
    """The arrays of objects that stand in no other array."""
    if isinstance(data, list):
        return [data] if any(isinstance(row, dict) for row in data) else []
    return [t for inner in data.values() for t in tables(inner)] if isinstance(data, dict) else []


def without(data: Any, rng: random.Random) -> tuple[Any, int]:
    """The data with a tenth of each array's rows taken out, and how many these were."""
    left, gone = copy.deepcopy(data), 0
    for table in tables(left):
        if len(table) < 2:
            continue
        for place in sorted(rng.sample(range(len(table)), max(1, len(table) // 10)), reverse=True):
            del table[place]
            gone += 1
    return left, gone


def missing(found: Merged) -> list[Any]:
    """The doubts that rows are missing."""
    return [doubt for doubt in found.doubts if doubt.finding.rule == "rows_missing"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("-v", action="store_true", dest="verbose")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for one in labelled(options.folders):
        perfect = merged(one, one.gold)
        rows = sum(map(len, tables(one.gold)))
        if not rows:
            continue
        leaves: list[Evidence] = [
            e for e in perfect.evidence if any(t.isdecimal() for t in e.pointer.split("/"))
        ]
        false = missing(perfect)
        counts.update(
            documents=1,
            rows=rows,
            false=bool(false),
            false_errors=any(d.finding.severity == "error" for d in false),
            doubled=any(d.finding.rule == "row_doubled" for d in perfect.doubts),
        )
        counts.update(f"leaf {e.status}" for e in leaves)
        hits = 0
        for seed in range(options.seeds):
            data, gone = without(one.gold, random.Random(seed))  # noqa: S311, seeded so that figures repeat
            if not gone:
                continue
            told = {d.finding.pointer for d in missing(merged(one, data))} - {
                d.finding.pointer for d in false
            }
            hits += bool(told)
            counts.update(trials=1, told=bool(told))
        if options.verbose:
            print(
                f"{one.document.path[:40]:40} rows {rows:4} false {[(d.finding.severity, d.finding.message[:100]) for d in perfect.doubts]} told {hits}/{options.seeds}"
            )
    for name, count in sorted(counts.items()):
        print(f"{name:20} {count}")


if __name__ == "__main__":
    main()
