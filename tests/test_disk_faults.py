"""Every write, sync, rename and commit may fail: the run says so, and the same run again loses nothing."""

import asyncio
import errno
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from pipeline.committing import Outcome, commit
from pipeline.errors import SetupError
from pipeline.ledger import Ledger, StoredReplies
from pipeline.results import DocumentRef, Result

DOCUMENTS = 2


class Disk:
    """Counts what is asked of the disk and fails the n-th time, once."""

    def __init__(self, fails_at: int, code: int) -> None:
        self.asked = 0
        self.fails_at = fails_at
        self.code = code

    def reached(self) -> None:
        self.asked += 1
        if self.asked == self.fails_at:
            raise OSError(self.code, os.strerror(self.code))

    def around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*args: Any, **kwargs: Any) -> Any:
            self.reached()
            return real(*args, **kwargs)

        return asked


_CODES = {errno.EIO: sqlite3.SQLITE_IOERR, errno.ENOSPC: sqlite3.SQLITE_FULL}


@contextmanager
def failing(disk: Disk) -> Iterator[None]:
    """All that the ledger and the writers ask of the disk goes through `disk`."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            if sql in {"begin immediate", "commit"} or sql.startswith(("insert", "update")):
                try:
                    disk.reached()
                except OSError as error:
                    told = sqlite3.OperationalError("disk I/O error")
                    told.sqlite_errorcode = _CODES[error.errno or 0]
                    raise told from error
            return super().execute(sql, *rest)

    connect = sqlite3.connect

    def connected(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, **kwargs, factory=Connection)

    with ExitStack() as stack:
        for place, name in (
            (os, "fsync"), (os, "pwrite"), (os, "truncate"), (os, "utime"), (Path, "replace"), (Path, "open"),
        ):  # fmt: skip
            stack.enter_context(patch.object(place, name, disk.around(getattr(place, name))))
        stack.enter_context(patch.object(sqlite3, "connect", connected))
        yield


async def run_over(output: Path, billed: list[str]) -> None:
    """What a run does with its disk, one document after the other; `billed` is the service's book."""
    ledger = Ledger(output, output / "results.jsonl")
    try:
        replies = StoredReplies(output)
        try:
            await work_through(output, ledger, replies, billed)
            ledger.tidy()
        finally:
            replies.close()
    finally:
        ledger.close()


async def work_through(
    output: Path, ledger: Ledger, replies: StoredReplies, billed: list[str]
) -> None:
    run = await ledger.begin("run")
    for number in range(DOCUMENTS):
        name = f"{number}.txt"
        if ledger.done(name, 1, 2, "p", run):
            continue
        body = replies.get(name, 1, 0, {"m": name})
        if body is None:
            call = await ledger.reserve(name, 1, run.id, "gemini:x", 100)
            billed.append(name)
            body = f"answer to {name}".encode()
            await replies.keep(name, 1, run.id, {"m": name}, body)
            await ledger.book(call, 10, "paid")
        result = Result(DocumentRef(name), "s", "valid", data={"told": body.decode()})
        await commit(ledger, output, Outcome(name, [result], (1, 2, "p", run.id)))
    await ledger.end(run)


def told_of(output: Path, work: Coroutine[Any, Any, None]) -> bool:
    """Whether work fails, with an error that names the place."""
    try:
        asyncio.run(work)
    except SetupError as error:
        return bool(re.search(re.escape(str(output)), str(error))) or pytest.fail(str(error))
    return False


@pytest.mark.parametrize(
    "codes",
    [
        pytest.param((errno.EIO, errno.ENOSPC), id="in turn"),
        pytest.param((errno.ENOSPC, errno.EIO), id="the other way", marks=pytest.mark.long),
    ],
)
def test_whichever_request_to_the_disk_fails_the_run_again_is_whole(
    tmp_path: Path, codes: tuple[int, int]
) -> None:
    failed, billed = 0, list[str]()
    for fails_at in range(1, 1000):
        output, billed, disk = (
            tmp_path / str(fails_at),
            list[str](),
            Disk(fails_at, codes[fails_at % 2]),
        )
        output.mkdir()
        with failing(disk):
            failed += told_of(output, run_over(output, billed))
        asyncio.run(run_over(output, billed))
        lines = (output / "results.jsonl").read_text().splitlines()
        assert len(lines) == len(set(lines)) == DOCUMENTS, fails_at
        assert all((output / "s" / f"{n}.txt.json").exists() for n in range(DOCUMENTS))
        assert len(billed) <= DOCUMENTS + 1, "at most what was in flight"
        if disk.asked < fails_at:
            break
    assert failed > 20
    assert len(billed) == DOCUMENTS


_CHILD = """
import asyncio, resource, sys
from pathlib import Path
from tests.test_disk_faults import run_over
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    asyncio.run(run_over(Path(sys.argv[1]), []))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("limit", [300, 40_000])
def test_a_file_that_may_not_grow_is_told_by_its_path(tmp_path: Path, limit: int) -> None:
    """As on a full disk; a signal that would kill the process is ignored by Python."""
    command = [sys.executable, "-c", _CHILD, str(tmp_path), str(limit)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "Traceback" not in told.stderr
    assert told.stdout.startswith("StateError") or "SetupError" in told.stdout, told.stdout
    assert str(tmp_path) in told.stdout
    assert "the same command continues" in told.stdout
    asyncio.run(run_over(tmp_path, []))
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == DOCUMENTS


def test_a_full_database_is_told_by_its_path(tmp_path: Path) -> None:
    replies = StoredReplies(tmp_path)
    replies._database._writer.execute("pragma max_page_count = 20")

    async def work() -> None:
        with pytest.raises(SetupError, match=r"replies.sqlite failed: .*full.*make room"):
            await replies.keep("k", 1, 1, {}, bytes(200_000))
        await replies.keep("k", 1, 1, {}, b"small")

    asyncio.run(work())
    assert replies.get("k", 1, 0) == b"small"
    replies.close()
