"""Writes that wait are committed together: in any loop, when cancelled, at the end, and each fails alone."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StateError
from pipeline.ledger.database import Database
from pipeline.ledger.mark import Mark, Seen


def _notes(db: sqlite3.Connection) -> None:
    db.execute("create table notes (name text primary key)")


_NOTES = (_notes,)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A file with one table; closing it twice is no error of a test."""
    made = Database(tmp_path / "notes.sqlite", _NOTES)
    yield made
    made.close()


def note(name: str) -> Callable[[sqlite3.Connection], Any]:
    return lambda db: db.execute("insert into notes values (?)", (name,))


def notes(path: Path) -> list[str]:
    with sqlite3.connect(path) as database:
        found = [name for (name,) in database.execute("select name from notes order by name")]
    database.close()
    return found


def test_what_is_asked_for_in_one_turn_is_one_commit(tmp_path: Path) -> None:
    commits: list[bool] = []
    database = Database(tmp_path / "notes.sqlite", _NOTES, after=commits.append)

    async def work() -> None:
        await asyncio.gather(*(database.write(note(str(n))) for n in range(32)))

    asyncio.run(work())
    database.close()
    assert commits == [True]
    assert len(notes(tmp_path / "notes.sqlite")) == 32


def test_several_loops_one_after_the_other_share_the_file(database: Database) -> None:
    for name in ("a", "b", "c"):
        asyncio.run(database.write(note(name)))
    assert database.read("select count(*) from notes") == (3,)


def test_one_that_fails_fails_alone(database: Database) -> None:
    """A doubled name, a value that SQLite can't hold, a job's own error: the others are committed."""

    def own(db: sqlite3.Connection) -> None:
        db.execute("insert into notes values ('half')")
        raise ValueError("of its own")

    async def work() -> list[Any]:
        jobs = [note("a"), note("a"), note("\ud800"), own, note("b")]
        return await asyncio.gather(*map(database.write, jobs), return_exceptions=True)

    outcome = asyncio.run(work())
    assert [type(each).__name__ for each in outcome] == [
        "Cursor", "StateError", "UnicodeEncodeError", "ValueError", "Cursor",
    ]  # fmt: skip
    assert list(database.reader.execute("select name from notes order by name")) == [("a",), ("b",)]


def test_who_is_cancelled_has_written(database: Database) -> None:
    async def work() -> None:
        task = asyncio.create_task(database.write(note("a")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert database.read("select name from notes") == ("a",)

    asyncio.run(work())


def test_what_waits_is_committed_at_the_end(tmp_path: Path) -> None:
    """Also when its loop came to an end before it was sent on its way."""
    database = Database(tmp_path / "notes.sqlite", _NOTES)
    loop = asyncio.new_event_loop()
    asking = database.write(note("a"))
    future = loop.create_task(asking)
    loop.call_soon(loop.stop)
    loop.run_forever()
    database.close()
    loop.run_until_complete(future)
    loop.close()
    assert notes(tmp_path / "notes.sqlite") == ["a"]


def test_after_its_end_nothing_is_taken(tmp_path: Path) -> None:
    database = Database(tmp_path / "notes.sqlite", _NOTES)
    database.close()
    with pytest.raises(StateError, match="closed"):
        asyncio.run(database.write(note("a")))


class InPlace(asyncio.SelectorEventLoop):
    """A loop that runs an executor's work where it is asked for, as a simulation does."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        future = self.create_future()
        future.set_result(func(*args))
        return future


def test_a_loop_that_runs_in_place_sees_the_same_commits_each_time(tmp_path: Path) -> None:
    def once(folder: Path) -> list[list[str]]:
        seen: list[list[str]] = []
        database = Database(folder / "notes.sqlite", _NOTES)

        async def work() -> None:
            for name in ("a", "b"):
                await asyncio.gather(*(database.write(note(f"{name}{n}")) for n in range(3)))
                seen.append([row[0] for row in database.reader.execute("select name from notes")])

        with asyncio.Runner(loop_factory=InPlace) as runner:
            runner.run(work())
        database.close()
        return seen

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    assert once(tmp_path / "one") == once(tmp_path / "two") != []


def test_a_mark_that_is_read_while_another_process_writes_it_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it may be new, once."""
    mark = Mark(tmp_path / "a.sqlite")
    mark.make(Seen("id", 7))
    read, torn = Path.read_bytes, [b'{"id": "id", "commits": 8']

    def read_torn(path: Path) -> bytes:
        whole = read(path)
        return torn.pop() + whole[25:] if torn else whole

    monkeypatch.setattr(Path, "read_bytes", read_torn)
    assert mark.read() == Seen("id", 7)
    assert torn == []
    mark.path.write_bytes(b"x" * 256)
    with pytest.raises(ValueError, match="damaged"):
        mark.read()
