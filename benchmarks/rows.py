"""Rows: time and memory for a file of many rows: listed, run, run again with nothing to do, and with rows appended.

    python benchmarks/rows.py --rows 10000 1000000 [--answered 2000]

Each size runs in a process of its own, whose highest resident memory is told. `listed` goes over the rows alone. The
first run asks the engine on this machine about `--answered` of the rows at the most; all the others were marked as finished
before, by the ledger itself, as a run leaves them. `again` has nothing to do, `appended` finds 100 new rows.
"""

import argparse
import asyncio
import itertools
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.api import Storage, inputs_of, open_runner
from pipeline.config import Call, Plan, need_output, plan
from pipeline.ledger.database import Database
from pipeline.ledger.rows import note_changed
from pipeline.ledger.versions import LEDGER, inserting
from pipeline.results import DocumentRef, Result
from pipeline.runner import Options
from pipeline.sources import Source
from pipeline.stages import Stage
from pipeline.writers import dump


def _ticket(number: int) -> str:
    body = f"Ticket {number}: the parcel of order {number * 7919 % 10**7} came late, total {number % 500}.50 EUR"
    return json.dumps({"id": f"t{number}", "body": body, "lang": "en", "category": "delivery"})


def _written(file: Path, first: int, last: int) -> None:
    with file.open("a") as lines:
        lines.writelines(f"{_ticket(number)}\n" for number in range(first, last))


def _planned(folder: Path) -> Plan:
    given = {
        "inputs": [str(folder / "in")],
        "output": str(folder / "out"),
        "model": "local",
        "text_field": "body",
        "id_field": "id",
    }
    return plan(given, Call(), [Stage("ticket", "total float")])


async def _ran(decided: Plan) -> tuple[float, int]:
    started, seen = time.perf_counter(), 0
    async with open_runner(decided, Options(), Storage()) as runner:
        async for _ in runner.run(inputs_of(decided)):
            seen += 1
    return time.perf_counter() - started, seen


async def _finished(decided: Plan, left: int) -> None:
    """Leave a ledger in which all rows but the last `left` are finished; the next end of a run writes what it tells."""
    async with open_runner(decided, Options(), Storage()) as runner:
        await runner.begin()
        like, pipeline = _likeness(decided), decided.sha256
        total = sum(1 for _ in inputs_of(decided))
        finished = enumerate(itertools.islice(inputs_of(decided), total - left))
        database = Database(need_output(decided) / ".fieldsift/ledger.sqlite", LEDGER)
        while some := list(itertools.islice(finished, 10_000)):
            rows = [_outcome(number, source, like, pipeline) for number, source in some]

            def _insert(db: sqlite3.Connection, rows: Any = rows) -> None:
                for table, row in zip(
                    ("lines", "sources", "places"), zip(*rows, strict=True), strict=True
                ):
                    db.executemany(inserting(table), row)
                note_changed(db, rows[0][0]["source"])
                db.execute("insert or replace into meta values ('superseded', 1)")

            database.write_now(_insert)
        database.close()


def _likeness(decided: Plan) -> str:
    """The line of a row that is finished, with `{}` for its name."""
    stage = decided.stages[0]
    result = Result(
        DocumentRef("NAME", "0" * 64, "text/plain", 1),
        stage.name,
        "valid",
        data={"total": 1.5},
        stage_sha256=stage.sha256,
        schema_sha256=stage.schema.sha256,
        engine="local",
    )
    return dump(result.to_json())


def _outcome(number: int, source: Source, like: str, pipeline: str) -> tuple[dict[str, Any], ...]:
    line = {"seq": number + 1, "source": source.path, "path": source.path, "stage": "ticket"}
    line |= {"status": "valid", "file": "ticket/tickets.jsonl"}
    line |= {"line": like.replace("NAME", source.path)}
    mark = {"path": source.path, "size": source.size, "mtime_ns": source.mtime_ns}
    mark |= {"pipeline": pipeline, "run": 1}
    return line, mark, {"source": source.path, "place": number + 1}


def _measured(rows: int, answered: int) -> Iterator[tuple[str, float, int]]:
    with tempfile.TemporaryDirectory(prefix="rows-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        _written(folder / "in/tickets.jsonl", 0, rows)
        decided = _planned(folder)
        started = time.perf_counter()
        found = sum(1 for _ in inputs_of(decided))
        yield f"listed {found:,} rows", time.perf_counter() - started, _memory()
        if rows > answered:
            started = time.perf_counter()
            asyncio.run(_finished(decided, answered))
            yield (
                f"marked {rows - answered:,} as finished",
                time.perf_counter() - started,
                _memory(),
            )
        seconds, seen = asyncio.run(_ran(decided))
        yield f"run, {seen:,} answered", seconds, _memory()
        seconds, seen = asyncio.run(_ran(decided))
        yield f"again, {seen:,} answered", seconds, _memory()
        _written(folder / "in/tickets.jsonl", rows, rows + 100)
        seconds, seen = asyncio.run(_ran(decided))
        yield f"appended, {seen:,} answered", seconds, _memory()
        lines = sum(1 for _ in (folder / "out/ticket/tickets.jsonl").open())
        if lines != rows + 100:
            raise SystemExit(f"{lines} lines of data for {rows + 100} rows")


def _memory() -> int:
    """The most that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Measure, each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--answered", type=int, default=2_000)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        for what, seconds, memory in _measured(given.rows[0], given.answered):
            print(f"{what:<32} {seconds:8.1f} s  peak {memory:5} MB", flush=True)
        return
    for rows in given.rows:
        print(f"{rows:,} rows", flush=True)
        command = [
            sys.executable,
            __file__,
            "--one",
            f"--rows={rows}",
            f"--answered={given.answered}",
        ]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
