"""Rebuild: all that is sound of damaged state files goes into new ones, and what is lost is counted.

Rows are taken from the pages themselves, whatever became of the tree above them: a row is sound when
its proof says so. The text of a line may come from results.jsonl, where the index still has its proof.
The damaged files stay beside the new ones.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.errors import DamagedState
from pipeline.ledger.damage import explained, has_log, inspect
from pipeline.ledger.mark import Mark, Seen
from pipeline.ledger.pages import PAGE, Image, Record, read_log
from pipeline.ledger.rows import note_changed
from pipeline.ledger.versions import (
    COLUMNS,
    LEDGER,
    REPLIES,
    Migration,
    asked,
    inserting,
    migrate,
    proof,
    proven,
)
from pipeline.writers import sync_folder

_ROWIDS: Final = frozenset({"runs", "lines", "calls"})
_TABLES: Final = {
    "ledger.sqlite": ("runs", "sources", "lines", "since", "raised", "bought", "places", "calls"),
    "replies.sqlite": ("replies", "words", "shelf"),
}
#: Rows that later ones may have lifted: those of a log whose order is broken don't count.
_LIFTED: Final = frozenset({"sources", "since", "raised"})
_STATES: Final = frozenset({"sent", "paid", "unknown", "free"})
_LAST_RUN: Final = """select max(run) from (select run from calls union all select run from sources
  union all select id from runs union all select 1)"""
_BETTER: Final = {
    "calls": "delete from calls where id = :id and state = 'sent' and :state <> 'sent'",
    "runs": "delete from runs where id = :id and finished < :finished",
    "lines": "delete from lines where path = :path and stage = :stage and seq < :seq",
}

#: What it means that nothing of a file could be saved.
_ALL_LOST: Final = {
    "ledger.sqlite": "what was finished is read again, from stored answers where they are there; "
    "the money spent so far is not known, so a budget holds from here on only",
    "replies.sqlite": "what is still needed of the lost answers is asked and paid again",
}


@dataclass(slots=True)
class Rebuilt:
    """One file that was rebuilt: where the damaged one lies now, and how much was saved and lost of each table.

    Losses are those that are known of: where an index is gone too there can be more. `reopened` documents
    are finished no more, as a line of theirs is lost.
    """

    path: Path
    kept_as: Path
    what: str
    saved: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    reopened: int = 0


@dataclass(slots=True)
class _Witness:
    """What indexes and other pages say must be there: lines by their place, answers by key, calls by number."""

    lines: dict[tuple[str, str], list[tuple[Any, ...]]] = field(default_factory=dict)
    answers: set[tuple[str, int, int]] = field(default_factory=set)
    calls: set[int] = field(default_factory=set)
    id: str | None = None

    def hear(self, values: tuple[Any, ...]) -> None:
        """Take up a record that is no row of a table; what it says is proven with the row, or only counted."""
        if len(values) == 2 and values[0] == "id" and isinstance(values[1], str):
            self.id = self.id or values[1]
        elif len(values) == 2 and values[0] in _STATES and isinstance(values[1], int):
            self.calls.add(values[1])
        elif len(values) == 7 and isinstance(values[5], bytes) and isinstance(values[6], int):
            self.lines.setdefault((values[1], values[2]), []).append(values)
        elif len(values) == 6 and values[5] == proof("replies", *values[:5]):
            self.answers.add((values[0], values[1], values[2]))


def rebuild(folder: Path, results: Path | None) -> list[Rebuilt]:
    """Rebuild those of a state folder's files that are damaged; every row of both is checked.

    Raises:
        StateError: a file is of a newer version, or the disk can't be read or written.

    """
    done = []
    for name, migrations in (("ledger.sqlite", LEDGER), ("replies.sqlite", REPLIES)):
        path = folder / name
        try:
            _put_in_place(path)
            try:
                inspect(path, len(migrations), whole=True)
            except DamagedState as error:
                done.append(_rebuilt(path, migrations, results, str(error)))
        except (OSError, sqlite3.Error) as error:
            raise explained(path, error) from error
    for one in done:
        _count_unanswered(folder, one)
    return done


def saved_and_lost(report: Rebuilt) -> str:
    """In words: what was saved of a file, what is lost, and what that means for money."""
    names = {"replies": "answers", "lines": "results", "sources": "finished documents"}
    saved = ", ".join(f"{n:,} {names.get(name, name)}" for name, n in report.saved.items() if n)
    lost = {name: number for name, number in report.lost.items() if number}
    kept = f"; the damaged file is {report.kept_as.name}" if report.kept_as.exists() else ""
    text = f"{report.path} rebuilt: saved {saved or 'nothing'}{kept}"
    if report.reopened:
        text += f"; {report.reopened:,} finished documents lack a result and are read again, from stored answers where they are there"
    if not saved:
        return f"{text}; {_ALL_LOST[report.path.name]}"
    if not lost:
        return f"{text}; nothing is known to be lost"
    text += "; lost " + ", ".join(f"{n:,} {names.get(name, name)}" for name, n in lost.items())
    if "replies" in lost:
        text += "; what they answered is asked and paid again where it is still needed"
    if "calls" in lost:
        text += "; the money spent so far is a lower bound, so a budget holds from here on only"
    return text


def _rebuilt(
    path: Path, migrations: Sequence[Migration], results: Path | None, what: str
) -> Rebuilt:
    beside = path.with_name(path.name + ".rebuilding")
    for suffix in ("", "-wal", "-shm", "-journal"):
        beside.with_name(beside.name + suffix).unlink(missing_ok=True)
    report = Rebuilt(path, _free_name(path), what)
    witness = _Witness()
    with contextlib.closing(sqlite3.connect(beside, isolation_level=None)) as new:
        new.create_function("proof", -1, proof, deterministic=True)
        migrate(new, migrations)
        new.execute("begin")
        for table, row in _sound_rows(path, witness):
            if table in _BETTER:
                new.execute(_BETTER[table], row)
            new.execute(inserting(table, "insert or ignore"), row)
        if results and path.name == "ledger.sqlite":
            _lines_from(results, witness, new)
            _keep_a_copy(results, report.kept_as.with_name(report.kept_as.name + "-results"))
        _count(new, witness, report)
        _close_the_books(new, path, witness, report)
        new.execute("commit")
    with beside.open("r+b") as file:
        os.fsync(file.fileno())
    beside.replace(path.with_name(path.name + ".rebuilt"))
    if path.exists():
        path.rename(report.kept_as)
    _put_in_place(path)
    return report


def _put_in_place(path: Path) -> None:
    """Put a rebuilt file in the place of the damaged one, which is kept; a kill before its end is made good here."""
    rebuilt = path.with_name(path.name + ".rebuilt")
    if not rebuilt.exists():
        return
    if path.exists():  # killed before anything was moved: it is made again
        rebuilt.unlink()
        return
    kept_as = _last_name(path)
    for suffix in ("-wal", "-shm", ".mark"):
        left = path.with_name(path.name + suffix)
        if left.exists():
            left.rename(kept_as.with_name(kept_as.name + suffix))
    with contextlib.closing(sqlite3.connect(rebuilt)) as new:
        named = dict(new.execute("select name, value from meta"))
    Mark(path).make(Seen(named["id"], named["commits"]))
    rebuilt.replace(path)
    sync_folder(path.parent)


def _free_name(path: Path) -> Path:
    taken = {file.name for file in path.parent.glob(path.name + ".damaged-*")}
    number = 1
    while any(name.startswith(f"{path.name}.damaged-{number}") for name in taken):
        number += 1
    return path.with_name(f"{path.name}.damaged-{number}")


def _last_name(path: Path) -> Path:
    free = int(_free_name(path).name.rpartition("-")[2])
    return path.with_name(f"{path.name}.damaged-{max(1, free - 1)}")


def _sound_rows(path: Path, witness: _Witness) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of a damaged file that proves itself, its newest state last or in the log."""
    log_path = path.with_name(path.name + "-wal")
    with contextlib.ExitStack() as stack:
        if not path.exists():
            return
        file = stack.enter_context(path.open("rb"))
        written = stack.enter_context(log_path.open("rb")) if has_log(path) else None
        count = path.stat().st_size // PAGE + 1
        log = read_log(log_path)
        if written and _is_foreign(Image(file, written, log.all, count), log.all, path):
            log.committed.clear()
            log.all.clear()
        count = max((count, *log.all))
        image = Image(file, written, log.committed, count)
        free = image.free()
        for number in range(1, count + 1):
            if number not in free:
                yield from _rows(path.name, image.records(number), witness)
        loose = Image(file, written, log.all, count)
        for number, place in log.all.items():
            if log.committed.get(number) != place:
                for table, row in _rows(path.name, loose.records(number), witness):
                    if table not in _LIFTED:
                        yield table, row


def _is_foreign(image: Image, pages: dict[int, int], path: Path) -> bool:
    """Whether a log is that of another database: each commit writes the page with the id."""
    try:
        seen = Mark(path).read()
    except (OSError, ValueError, TypeError):
        seen = None
    witness = _Witness()
    for number in pages:
        for record in image.records(number):
            witness.hear(record.values)
    return bool(seen and witness.id and witness.id != seen.id)


def _rows(
    name: str, records: Iterator[Record], witness: _Witness
) -> Iterator[tuple[str, dict[str, Any]]]:
    for record in records:
        found = _row(name, record)
        if found:
            yield found
        else:
            witness.hear(record.values)


def _row(name: str, record: Record) -> tuple[str, dict[str, Any]] | None:
    """The table and the columns of a record that proves itself."""
    for table in _TABLES[name]:
        columns = COLUMNS[table]
        if len(record.values) != len(columns) + 1 or (record.rowid is None) == (table in _ROWIDS):
            continue
        row = dict(zip(columns, record.values, strict=False))
        if record.rowid is not None:
            row[columns[0]] = record.rowid
        for column in ("at", "until"):  # SQLite stores whole ones as integers
            if column in row:
                row[column] = float(row[column])
        if proof(table, *(row[column] for column in proven(table))) != record.values[-1]:
            continue
        if table != "replies" or _is_answer(row):
            return table, row
    return _old_answer(record) if name == "replies.sqlite" else None


def _is_answer(row: dict[str, Any]) -> bool:
    body, request = row["body"], row["request"]
    return bool(
        hashlib.sha256(body).hexdigest() == row["sha256"] and asked(request) == row["asked"]
    )


def _old_answer(record: Record) -> tuple[str, dict[str, Any]] | None:
    """An answer of a file from before versions: it has the hash of its body alone."""
    if len(record.values) != 6 or not isinstance(record.values[4], bytes):
        return None
    row = dict(zip(COLUMNS["replies"], record.values, strict=False))
    if hashlib.sha256(row["body"]).hexdigest() != row["sha256"]:
        return None
    return "replies", row | {"asked": asked(str(row["request"]))}


def _lines_from(results: Path, witness: _Witness, new: sqlite3.Connection) -> None:
    """Lines whose text the ledger lost, from results.jsonl, where the index has the proof of that very text."""
    if not results.exists():
        return
    with results.open("rb") as file:
        for raw in file:
            try:
                text = raw.removesuffix(b"\n").decode()
                told = json.loads(text)
                place = (str(told["document"]["path"]), told["stage"] or "")
            except (ValueError, KeyError, TypeError):
                continue
            for source, path, stage, status, data, proven_by, seq in witness.lines.get(place, ()):
                row = dict(
                    zip(
                        COLUMNS["lines"],
                        (seq, source, path, stage, status, data, text),
                        strict=True,
                    )
                )
                if proof("lines", *row.values()) == proven_by:
                    new.execute(_BETTER["lines"], row)
                    new.execute(inserting("lines", "insert or ignore"), row)


def _keep_a_copy(file: Path, copy: Path) -> None:
    if file.exists() and not copy.exists():
        shutil.copyfile(file, copy)


def _count(new: sqlite3.Connection, witness: _Witness, report: Rebuilt) -> None:
    for table in _TABLES[report.path.name]:
        (report.saved[table],) = new.execute(f"select count(*) from {table}").fetchone()  # noqa: S608, a table of ours
    if "lines" in report.saved:
        lost = witness.lines.keys() - set(new.execute("select path, stage from lines"))
        report.reopened = _reopen(new, {row[0] for place in lost for row in witness.lines[place]})
        report.lost["lines"] = max(len(lost), report.reopened)
        report.saved["sources"] -= report.reopened
        # Answers count from a run on: the numbers of runs must go on where they were.
        (last,) = new.execute(_LAST_RUN).fetchone()
        run = {"id": last, "command": "", "since": 0, "finished": 1}
        new.execute(inserting("runs", "insert or ignore"), run)
        (highest,) = new.execute("select coalesce(max(id), 0) from calls").fetchone()
        calls = max((highest, *witness.calls))
        report.lost["calls"] = calls - report.saved["calls"]
    else:
        kept = set(new.execute("select key, take, run from replies"))
        report.lost["replies"] = len(witness.answers - kept)


def _reopen(new: sqlite3.Connection, losers: set[str]) -> int:
    """Take the marks of documents away that lack a line, so that the next run writes it; how many.

    A document has a line for each stage, or one of no stage: where fewer are there than others have, one is lost.
    """
    lacking = """select path from sources as s where
      (select count(distinct stage) from lines where source = s.path) <
      iif(exists (select 1 from lines where source = s.path and stage = ''), 1,
        max(1, (select count(distinct stage) from lines where stage <> '')))"""
    paths = {path for (path,) in new.execute(lacking)} | losers
    gone = new.executemany("delete from sources where path = ?", ((path,) for path in paths))
    return gone.rowcount


def _close_the_books(
    new: sqlite3.Connection, path: Path, witness: _Witness, report: Rebuilt
) -> None:
    """Write what a start needs: how far, whose, and that results.jsonl is to be written anew."""
    try:
        seen = Mark(path).read()
    except (OSError, ValueError, TypeError):
        seen = None
    known = (seen.id if seen else None) or witness.id
    values: dict[str, Any] = {"superseded": 1, "commits": (seen.commits if seen else 0) + 1000}
    values |= {"id": known} if known else {}
    values |= {"lost_calls": report.lost["calls"]} if report.lost.get("calls") else {}
    new.executemany("insert or replace into meta values (?, ?)", values.items())
    if "lines" in report.saved:
        for (source,) in new.execute("select distinct source from lines where instr(source, '#')"):
            note_changed(new, source)


def _count_unanswered(folder: Path, report: Rebuilt) -> None:
    """Answers that were paid for and are no longer there, as far as the ledger knows of them."""
    if report.path.name != "replies.sqlite" or not (folder / "ledger.sqlite").exists():
        return
    with contextlib.closing(sqlite3.connect(report.path)) as database:
        database.execute("attach ? as books", (str(folder / "ledger.sqlite"),))
        query = """select count(distinct key || ' ' || take) from books.calls as c where state = 'paid' and not exists (
          select 1 from replies as r where r.key = c.key and r.take = c.take)"""
        (missing,) = database.execute(query).fetchone()
    report.lost["replies"] = max(report.lost["replies"], missing)
