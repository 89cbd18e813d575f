"""A ledger as it is looked at: read only, without a lock, also beside the run that writes it."""

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import SetupError, StateError
from pipeline.ledger.reading import only_read

#: Primary result codes of SQLite that tell of damage: no such table or no JSON where there must be some, a page
#: that is none, a file that is none. Others tell that it can't be opened or read.
_DAMAGED = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REASONS = """select status, coalesce(json_extract(line, '$.reason'), ''), count(*) from lines
  where status not in ('valid', 'skipped') group by 1, 2 order by 3 desc, 1, 2"""
_MESSAGES = """select distinct json_extract(line, '$.findings[0].message') from lines
  where status = ? limit 1000"""
# A page is read when a stage has an answer that covers it, and none was asked about it in vain: see Tally.
_PAGES = """select coalesce(sum(pages), 0), coalesce(sum(answered), 0), coalesce(sum(pages is null), 0) from (
  select max(json_extract(line, '$.document.pages')) as pages,
    coalesce(max(0, min(max(json_extract(line, '$.coverage.answered')), max(json_extract(line, '$.document.pages'))
      - max(json_extract(line, '$.coverage.sent') - json_extract(line, '$.coverage.answered')))), 0) as answered
  from lines where json_extract(line, '$.document.parent') is null
    and coalesce(json_extract(line, '$.document.pages') = json_extract(line, '$.coverage.pages'), 1) group by path)"""
_TOKENS = """select kind.key, sum(kind.value) from lines, json_each(line, '$.attempts') as attempt,
  json_each(attempt.value, '$.tokens') as kind group by 1 order by 2 desc"""
_MONEY = """select coalesce(sum(state <> 'free'), 0),
  coalesce(sum(state <> 'free' and cost is null and (state = 'paid' or reserved is null)), 0),
  coalesce(sum(cost) filter (where state = 'paid'), 0),
  coalesce(sum(coalesce(cost, reserved)) filter (where state in ('sent', 'unknown')), 0),
  coalesce(sum(state in ('sent', 'unknown')), 0),
  coalesce((select value from meta where name = 'lost_calls'), 0) from calls"""


@dataclass(frozen=True, slots=True)
class Books:
    """The money of a ledger, in its unit: booked for answers, and kept reserved for `open` calls.

    Of `unpriced` calls it is not known what they cost; an open call is in flight, or its answer was lost.
    `lost` calls are known to have stood in a damaged ledger: what they cost is not in these amounts.
    """

    calls: int = 0
    unpriced: int = 0
    booked: int = 0
    reserved: int = 0
    open: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of the documents that have lines: found, and read; of `unknown` documents none are known."""

    found: int = 0
    read: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """What a ledger says; `counts` of all lines by status, and of each stage's; `messages` are those of the lines that a quota or a missing extra ended."""

    counts: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reasons: tuple[tuple[str, str, int], ...] = ()
    messages: tuple[str, ...] = ()
    books: Books = Books()


def view(folder: Path) -> View:
    """What the ledger of a state folder says.

    Raises:
        StateError: it is damaged. SetupError: it can't be read.

    """
    with _reading(folder) as ledger:
        counts = dict(
            ledger.execute("select status, count(*) from lines group by 1 order by 1").fetchall()
        )
        kept = [
            text
            for status in ("over_budget", "unreadable")
            for (text,) in ledger.execute(_MESSAGES, (status,))
        ]
        reasons = tuple(ledger.execute(_REASONS).fetchall())
        books = Books(*ledger.execute(_MONEY).fetchone())
        return View(counts, _by_stage(ledger), reasons, tuple(filter(None, kept)), books)


def by_stage(folder: Path) -> dict[str, dict[str, int]]:
    """How many lines of each status there are, by stage; files that can't be read have none.

    Raises:
        StateError: as `view`.

    """
    with _reading(folder) as ledger:
        return _by_stage(ledger)


def _by_stage(ledger: sqlite3.Connection) -> dict[str, dict[str, int]]:
    query = "select stage, status, count(*) from lines where stage <> '' group by 1, 2 order by min(seq)"
    found: dict[str, dict[str, int]] = {}
    for stage, status, number in ledger.execute(query):
        found.setdefault(stage, {})[status] = number
    return {stage: dict(sorted(counts.items())) for stage, counts in found.items()}


def missing(folder: Path) -> str | None:
    """Which file of a state folder is gone or empty while what belongs to it is there, in words; else None."""
    gone = []
    for name in ("ledger.sqlite", "replies.sqlite"):
        pair = (folder / name, folder / f"{name}.mark")
        there = [file for file in pair if file.exists() and file.stat().st_size]
        gone += [str(file) for file in pair if there and file not in there]
    return f"{', '.join(gone)}: empty or not there" if gone else None


def pages_and_tokens(folder: Path) -> tuple[Pages, dict[str, int]]:
    """The pages of the documents, and the tokens of the answers behind their lines, by kind.

    Every line is parsed: about a second for 100,000.

    Raises:
        StateError: as `view`.

    """
    with _reading(folder) as ledger:
        return Pages(*ledger.execute(_PAGES).fetchone()), dict(ledger.execute(_TOKENS).fetchall())


def sources_of(folder: Path) -> Iterator[str]:
    """The names of the inputs that have lines, in their order.

    Raises:
        StateError: as `view`.

    """
    with _reading(folder) as ledger:
        for (source,) in ledger.execute("select distinct source from lines order by source"):
            yield source


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    file = folder / "ledger.sqlite"
    try:
        with closing(only_read(file)) as ledger:
            yield ledger
    except sqlite3.Error as error:
        code = error.sqlite_errorcode & 0xFF
        kind = StateError if code in _DAMAGED else SetupError
        raise kind(f"{file}: {error}") from error


def is_held(lock: Path, holder: str) -> bool:
    """Whether a process holds a lock file, without trying it.

    By the kernel's own list (Linux); elsewhere by whether the process that `holder` names is alive.
    """
    try:
        file = lock.stat()
        kernel = Path("/proc/locks").read_text("ascii")
    except FileNotFoundError:
        return lock.exists() and _is_alive(holder)
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    for line in kernel.splitlines():
        words = line.split()  # 1: FLOCK ADVISORY WRITE 4711 fe:01:131075 0 EOF
        if len(words) < 6 or words[1] != "FLOCK":  # `->` comes before one that waits
            continue
        # On a file system of its own kind the device has another number than `stat` says.
        is_it = words[5] == device or (
            words[5].endswith(f":{file.st_ino}") and words[4] == _process(holder)
        )
        if is_it:
            return True
    return False


def _process(holder: str) -> str:
    """The id in `process 4711 on host, since ...`."""
    found = re.match(r"process (\d+)", holder)
    return found[1] if found else ""


def _is_alive(holder: str) -> bool:
    try:
        os.kill(int(_process(holder)), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True
