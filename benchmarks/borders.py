"""Borders between windows: rows lost and doubled in silence, of generated bills of 1 to 300 pages with up to 2,000 rows.

The bills have equal neighbours, rows that a page's end cuts, repeated headers, totals and carried-forward lines. A
local server answers right, but for seeded faults: it forgets rows, doubles them, is cut off, loops. The whole
product asks it, windows, repair and all. A row lost or doubled counts as silent when no finding names its page.

Run: python -m benchmarks.borders [--bills 6] [--pages 300] [--rows 2000] [--seed 0]
"""

import argparse
import os
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faulty import Faults, Reader, bills, told
from tests.server import Server

#: What the server does: the name, and how often.
KINDS = {
    "none": Faults(),
    "forgets": Faults(forget=0.03),
    "doubles": Faults(double=0.03),
    "cut off": Faults(cut=0.3),
    "loops": Faults(loop=0.15),
    "all": Faults(forget=0.02, double=0.02, cut=0.15, loop=0.1),
}
COLUMNS = (
    "bills",
    "rows",
    "lost",
    "doubled",
    "lost silently",
    "doubled silently",
    "marked",
    "out of order",
    "requests",
)


def measured(faults: Faults, options: argparse.Namespace, *, boxed: bool) -> Counter[str]:
    """The counts of one kind of fault and file."""
    counts: Counter[str] = Counter()
    reader = Reader(faults)
    with Server(reader) as server, TemporaryDirectory() as folder:
        os.environ["GOOGLE_GEMINI_BASE_URL"] = server.url  # noqa: TID251, the library is asked as a user asks it
        os.environ["GEMINI_API_KEY"] = "none-is-needed"  # noqa: TID251
        os.environ["FIELDSIFT_CACHE_DIR"] = folder  # noqa: TID251
        for bill in bills(options.bills, options.pages, options.rows, options.seed):
            one = told(reader, Path(folder), bill, boxed=boxed)
            counts.update(
                {
                    "bills": 1,
                    "rows": one.rows,
                    "lost": one.lost,
                    "doubled": one.doubled,
                    "lost silently": one.lost_silently,
                    "doubled silently": one.doubled_silently,
                    "marked": one.status != "valid" or one.marked,
                    "out of order": not one.in_order,
                    "requests": one.requests,
                }
            )
    return counts


def main() -> None:
    """Measure every kind of fault, as PDF and as text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--bills", type=int, default=6)
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        f"{'faults':8} {'file':5}", *(f"{name:>{max(6, len(name))}}" for name in COLUMNS), "seconds"
    )
    for name, faults in KINDS.items():
        for boxed in (True, False):
            begun = time.monotonic()
            counts = measured(faults, options, boxed=boxed)
            shown = (f"{counts[column]:>{max(6, len(column))}}" for column in COLUMNS)
            print(
                f"{name:8} {'pdf' if boxed else 'text':5}",
                *shown,
                f"{time.monotonic() - begun:7.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
