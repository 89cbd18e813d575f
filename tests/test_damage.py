"""Damage of the state is seen before it costs money; all that is sound is saved; older files become newer ones."""

import asyncio
import json
import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import DamagedState, StateError
from pipeline.ledger import Ledger, Line, StoredReplies, rebuild, saved_and_lost
from pipeline.ledger.versions import LEDGER
from pipeline.ledger.view import view
from tests.answers import answer_from
from tests.server import Server
from tests.test_cli import fieldsift

DOCUMENTS = 90


def key(number: int) -> str:
    return f"{number:064x}"


def text(number: int) -> str:
    filler = f"line {number} " * random.Random(number).randrange(10, 200)
    told = {"document": {"path": f"d/{number}.txt"}, "stage": "s", "data": filler}
    return json.dumps(told)


def body(number: int) -> bytes:
    return f"answer {number} ".encode() + random.Random(number).randbytes(2000)


async def work_through(ledger: Ledger, replies: StoredReplies, numbers: range) -> None:
    """What a run leaves of documents: a call, an answer, a booking, a line with its mark."""
    run = await ledger.begin("run")

    async def one(n: int) -> None:
        call = await ledger.reserve(key(n), 1, run.id, "gemini:x", 1000, 50)
        await replies.keep(key(n), 1, run.id, {"m": n}, body(n))
        await ledger.book(call, 900 + n, "paid", 60)
        line = Line(f"d/{n}.txt", "s", "valid", text(n), f"s/{n}.json")
        await ledger.finish(f"d/{n}.txt", [line], (1, 2, "p", run.id))

    await asyncio.gather(*map(one, numbers))


def opened(output: Path) -> tuple[Ledger, StoredReplies]:
    (output / "state").mkdir(exist_ok=True)
    return Ledger(output / "state", output / "results.jsonl"), StoredReplies(output / "state")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output that was left at a clean end."""
    output = tmp_path_factory.mktemp("ended")
    ledger, replies = opened(output)
    asyncio.run(work_through(ledger, replies, range(DOCUMENTS)))
    ledger.close()
    replies.close()
    return output


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, ended: Path) -> Path:
    """An output whose run was killed: the newest commits are in the log only."""
    running, output = tmp_path_factory.mktemp("running"), tmp_path_factory.mktemp("killed")
    shutil.copytree(ended, running, dirs_exist_ok=True)
    ledger, replies = opened(running)
    asyncio.run(work_through(ledger, replies, range(DOCUMENTS, DOCUMENTS + 20)))
    shutil.copytree(running, output, dirs_exist_ok=True)
    ledger.close()
    replies.close()
    return output


@pytest.fixture
def output(tmp_path: Path, ended: Path) -> Path:
    return Path(shutil.copytree(ended, tmp_path / "out"))


def reopened(output: Path) -> set[str]:
    """The files that are refused as damaged, with the way out."""
    return set(filter(None, [refused(ledger_of(output)), refused(replies_of(output))]))


def ledger_of(output: Path) -> Callable[[], Ledger]:
    return lambda: Ledger(output / "state", output / "results.jsonl")


def replies_of(output: Path) -> Callable[[], StoredReplies]:
    return lambda: StoredReplies(output / "state")


def refused(open_it: Callable[[], Ledger | StoredReplies]) -> str | None:
    try:
        open_it().close()
    except DamagedState as error:
        found = re.search(r"(\w+\.sqlite): damaged \(.+\).*--rebuild", str(error))
        return found and found.group(1)
    return None


def scattered(path: Path, seed: int) -> None:
    """50 x 512 random bytes over a file."""
    chance, content = random.Random(seed), bytearray(path.read_bytes())
    for _ in range(50):
        at = chance.randrange(len(content) - 512)
        content[at : at + 512] = chance.randbytes(512)
    path.write_bytes(content)


def rebuilt(output: Path, upto: int = DOCUMENTS) -> dict[str, int]:
    """Rebuild, then look at every row that is there: it is what was written."""
    reports = rebuild(output / "state", output / "results.jsonl")
    saved = {name: number for report in reports for name, number in report.saved.items()}
    ledger, replies = opened(output)
    lines = (output / "results.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == sum(ledger.counts().values())
    assert set(lines) <= {text(n) for n in range(upto)}
    found = [replies.get(key(n), 1, 0, {"m": n}) for n in range(upto)]
    assert all(each in {None, body(n)} for n, each in enumerate(found))
    assert ledger.spent() <= 1000 * upto
    for report in reports:
        assert "rebuilt: saved" in saved_and_lost(report)
        if "replies" in report.saved:
            assert len(found) - found.count(None) == report.saved["replies"]
    ledger.close()
    replies.close()
    assert rebuild(output / "state", output / "results.jsonl") == [], "sound now"
    return saved


def test_a_sound_state_is_opened(output: Path) -> None:
    assert reopened(output) == set()


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_are_seen_and_what_is_sound_is_saved(output: Path, seed: int) -> None:
    for name in ("ledger.sqlite", "replies.sqlite"):
        scattered(output / "state" / name, seed)
    assert reopened(output) == {"ledger.sqlite", "replies.sqlite"}
    saved = rebuilt(output)
    assert saved["lines"] >= DOCUMENTS // 2


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 77)


def void(_: object) -> None:
    """Nothing."""


def flip(what: bytes) -> Callable[[Path], None]:
    """Change one bit within some text of a file, where it stands first."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[content.index(what) + len(what) // 2] ^= 1
        path.write_bytes(content)

    return change


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "ledger cut": ("ledger.sqlite", cut),
    "ledger emptied": ("ledger.sqlite", lambda path: os.truncate(path, 0)),
    "ledger a text": ("ledger.sqlite", lambda path: void(path.write_text("a list\n" * 999))),
    "ledger gone": ("ledger.sqlite", Path.unlink),
    "mark gone": ("ledger.sqlite.mark", Path.unlink),
    "mark flipped": ("ledger.sqlite.mark", flip(b"commits")),
    "line flipped": ("ledger.sqlite", flip(b"line 30 line 30")),
    "call flipped": ("ledger.sqlite", flip(b"gemini:x")),
    "answers cut": ("replies.sqlite", cut),
    "answers emptied": ("replies.sqlite", lambda path: os.truncate(path, 0)),
    "answer's key flipped": ("replies.sqlite", flip(key(30).encode())),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_seen_and_what_is_sound_is_saved(
    output: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(output / "state" / name)
    assert reopened(output) == {name.removesuffix(".mark")}
    rebuilt(output)


@pytest.mark.parametrize(
    "change",
    [
        "update calls set cost = cost - 1 where id = 7",
        "update sources set mtime_ns = 3 where path = 'd/7.txt'",
        "update lines set status = 'failed' where seq = 7",
        "update runs set since = 1",
    ],
)
def test_a_changed_value_in_a_tree_that_is_sound_is_seen(output: Path, change: str) -> None:
    with sqlite3.connect(output / "state/ledger.sqlite") as database:
        database.execute(change)
    database.close()
    assert reopened(output) == {"ledger.sqlite"}
    saved = rebuilt(output)
    # A line that is lost takes the mark of its document along: the next run writes it.
    assert sum(saved.values()) >= 3 * DOCUMENTS - 1
    assert saved["sources"] <= saved["lines"]


def test_money_says_what_it_is_without(output: Path) -> None:
    with sqlite3.connect(output / "state/ledger.sqlite") as database:
        database.execute("update calls set cost = 1 where id = 3")
    database.close()
    rebuilt(output)
    assert view(output / "state").books.lost == 1


def test_a_flipped_byte_inside_an_answer_costs_that_answer(output: Path) -> None:
    flip(b"answer 30 ")(output / "state/replies.sqlite")
    replies = StoredReplies(output / "state")
    with pytest.raises(DamagedState, match="not what was written"):
        replies.get(key(30), 1, 0)
    replies.close()
    (report,) = rebuild(output / "state", output / "results.jsonl")
    assert report.saved["replies"] == DOCUMENTS - 1
    assert report.lost["replies"] == 1
    assert "lost 1 answers" in saved_and_lost(report)


def test_a_log_that_is_whole_is_read(tmp_path: Path, killed: Path) -> None:
    output = Path(shutil.copytree(killed, tmp_path / "out"))
    assert reopened(output) == set()


@pytest.mark.parametrize("name", ["ledger.sqlite", "replies.sqlite"])
@pytest.mark.parametrize(
    "damage", [cut, Path.unlink, lambda path: scattered(path, 1)], ids=["cut", "gone", "scattered"]
)
def test_a_damaged_log_is_seen(
    tmp_path: Path, killed: Path, name: str, damage: Callable[[Path], None]
) -> None:
    """SQLite itself takes it for one that was never written so far."""
    output = Path(shutil.copytree(killed, tmp_path / "out"))
    damage(output / "state" / f"{name}-wal")
    assert reopened(output) == {name}
    saved = rebuilt(output, DOCUMENTS + 20)
    assert saved.get("lines", DOCUMENTS) >= DOCUMENTS
    assert saved.get("replies", DOCUMENTS) >= DOCUMENTS


def test_the_log_of_another_state_is_seen(tmp_path: Path, killed: Path) -> None:
    output, other = Path(shutil.copytree(killed, tmp_path / "out")), tmp_path / "other"
    other.mkdir()
    ledger, replies = opened(other)
    asyncio.run(work_through(ledger, replies, range(500, 520)))
    shutil.copy(other / "state/ledger.sqlite-wal", output / "state/ledger.sqlite-wal")
    ledger.close()
    replies.close()
    assert reopened(output) == {"ledger.sqlite"}
    assert rebuilt(output, DOCUMENTS + 20)["lines"] >= DOCUMENTS


def test_an_index_and_results_bring_lines_back(output: Path) -> None:
    """The ledger lost the text of a line; results.jsonl has it, and the index the proof."""
    flip(b"line 30 line 30")(output / "state/ledger.sqlite")
    assert rebuilt(output)["lines"] == DOCUMENTS


def test_a_rebuild_that_was_killed_is_made_good(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scattered(output / "state/ledger.sqlite", 3)
    for step in range(1, 4):
        calls = iter(range(1, 100))

        def dies(self: Path, target: Path, real=Path.rename, calls=calls, step=step) -> Path:  # type: ignore[no-untyped-def]
            if next(calls) == step:
                raise KeyboardInterrupt
            return Path(real(self, target))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", dies)
            try:
                rebuild(output / "state", output / "results.jsonl")
            except KeyboardInterrupt:
                continue
            break
    rebuilt(output)


# versions ----------------------------------------------------------------------------------

OLD_LEDGER = """
create table meta (name text primary key, value) without rowid;
create table runs (
  id integer primary key, command text not null, since integer not null, finished integer not null default 0);
create table sources (
  path text primary key, size integer not null, mtime_ns integer not null,
  pipeline text not null, run integer not null) without rowid;
create table lines (
  seq integer primary key, source text not null, path text not null, stage text not null,
  status text not null, file text, line text not null, unique (path, stage));
create index lines_source on lines (source);
create table since (
  source text not null, path text not null, stage text not null, run integer not null,
  primary key (source, path, stage)) without rowid;
create table calls (
  id integer primary key, key text not null, take integer not null, run integer not null,
  endpoint text not null, reserved integer, cost integer, state text not null);
create index calls_state on calls (state);
insert into runs values (1, 'run', 0, 1);
insert into sources values ('d/1.txt', 1, 2, 'p', 1);
insert into calls values (1, 'k', 1, 1, 'gemini:x', 100, 7, 'paid'), (2, 'l', 1, 1, 'gemini:x', 50, null, 'sent');
"""
OLD_REPLIES = """
create table replies (
  key text not null, take integer not null, run integer not null,
  request text not null, body blob not null, sha256 text not null,
  primary key (key, take, run)) without rowid;
insert into replies values ('k', 1, 1, '{"m": 1, "content": []}', x'616263',
  'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The state of an output as the release before this one left it."""
    output = tmp_path / "old"
    (output / "state").mkdir(parents=True)
    for name, script in (("ledger.sqlite", OLD_LEDGER), ("replies.sqlite", OLD_REPLIES)):
        with sqlite3.connect(output / "state" / name) as database:
            database.executescript("pragma journal_mode = wal;" + script)
            if name == "ledger.sqlite":
                row = (1, "d/1.txt", "d/1.txt", "s", "valid", "s/1.json", text(1))
                database.execute("insert into lines values (?,?,?,?,?,?,?)", row)
                length = len(text(1).encode()) + 1
                database.execute("insert into meta values ('length', ?)", (length,))
        database.close()
    (output / "results.jsonl").write_text(text(1) + "\n")
    return output


def holds_all(output: Path) -> None:
    ledger, replies = opened(output)
    run = asyncio.run(ledger.begin("run"))
    assert run.id == 2
    assert ledger.done("d/1.txt", 1, 2, "p", run)
    assert ledger.lines_of("d/1.txt") == [Line("d/1.txt", "s", "valid", text(1), "s/1.json")]
    assert ledger.spent() == 57
    assert [call[0] for call in ledger.open_calls()] == [2]
    assert replies.get("k", 1, 0, {"m": 1}) == b"abc"
    with pytest.raises(StateError, match="another request"):
        replies.get("k", 1, 0, {"m": 2})
    ledger.close()
    replies.close()


def test_files_of_the_release_before_are_brought_up_with_nothing_lost(old: Path) -> None:
    holds_all(old)
    assert reopened(old) == set()
    holds = (old / "results.jsonl").read_text()
    assert holds == text(1) + "\n"


def test_a_migration_that_is_cut_short_leaves_the_old_or_the_new_form(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(connection: sqlite3.Connection) -> None:
        LEDGER[0](connection)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.ledger.LEDGER", (dies,))
        with pytest.raises(KeyboardInterrupt):
            Ledger(old / "state", old / "results.jsonl")
    with sqlite3.connect(old / "state/ledger.sqlite") as database:
        assert database.execute("pragma user_version").fetchone() == (0,)
        assert len(database.execute("select * from calls").fetchone()) == 8
    database.close()
    holds_all(old)


def test_a_file_of_a_newer_version_is_refused(output: Path) -> None:
    with sqlite3.connect(output / "state/ledger.sqlite") as database:
        database.execute("pragma user_version = 99")
    database.close()
    with pytest.raises(StateError, match=r"newer fieldsift .*update fieldsift.*--state"):
        Ledger(output / "state")


# answers and their requests ----------------------------------------------------------------


def test_another_answer_is_never_put_in_the_place_of_one(tmp_path: Path) -> None:
    replies = StoredReplies(tmp_path)

    async def work() -> None:
        await replies.keep("k", 1, 1, {"m": 1}, b"one")
        await replies.keep("k", 1, 1, {"m": 1}, b"one")
        with pytest.raises(StateError, match="another request"):
            await replies.keep("k", 1, 1, {"m": 1}, b"two")
        assert replies.get("k", 1, 0, {"m": 1}) == b"one"

    asyncio.run(work())
    replies.close()


# the command -------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda seen: answer_from(seen, {"": {"total": 5}})) as running:
        yield running


def test_a_run_over_a_damaged_state_sends_nothing_and_rebuild_goes_on(
    tmp_path: Path, server: Server
) -> None:
    (tmp_path / "inbox").mkdir()
    for number in range(3):
        (tmp_path / f"inbox/{number}.txt").write_text(f"Total: {number}")
    env = {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": server.url}
    command = ("run", "inbox", "-s", "total float", "-o", "out")
    fieldsift(*command, cwd=tmp_path, env=env)
    paid = len(server.billed)
    with sqlite3.connect(tmp_path / "out/.fieldsift/ledger.sqlite") as database:
        database.execute("update calls set cost = 0 where id = 2")
    database.close()
    refused = fieldsift(*command, cwd=tmp_path, env=env, code=4)
    assert "ledger.sqlite: damaged" in refused.stderr
    assert "--rebuild" in refused.stderr
    told = fieldsift(*command, "--rebuild", cwd=tmp_path, env=env)
    assert "rebuilt: saved" in told.stderr
    assert "lower bound" in told.stderr
    assert len(server.billed) == paid == 3
    assert (tmp_path / "out/.fieldsift/ledger.sqlite.damaged-1").exists()


@pytest.mark.parametrize("left", [40_000, 0, None])
def test_no_result_is_missing_after_a_rebuild(
    tmp_path: Path, server: Server, left: int | None
) -> None:
    """A ledger that is cut off, empty or gone: all lines are there again, from the answers, and what is lost is said."""
    (tmp_path / "inbox").mkdir()
    for number in range(12):
        (tmp_path / f"inbox/{number}.txt").write_text(f"Total: {number}")
    env = {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": server.url}
    command = ("run", "inbox", "-s", "total float", "-o", "out")
    fieldsift(*command, cwd=tmp_path, env=env)
    ledger = tmp_path / "out/.fieldsift/ledger.sqlite"
    if left is None:
        ledger.unlink()
    else:
        with ledger.open("r+b") as file:
            file.truncate(left)
    told = fieldsift("status", "out", cwd=tmp_path, env=env, code=4).stdout
    assert "the state is damaged" in told
    assert "--rebuild" in told
    told = fieldsift(*command, "--rebuild", cwd=tmp_path, env=env).stderr
    assert "nothing is known to be lost" not in told
    assert "read again, from stored answers" in told
    assert ("the damaged file is" in told) == (left is not None)
    if not left:
        assert "a budget holds from here on only" in told
    lines = (tmp_path / "out/results.jsonl").read_text().splitlines()
    assert len({json.loads(line)["document"]["path"] for line in lines}) == len(lines) == 12
    assert len(server.billed) == 12


@pytest.mark.parametrize("name", ["replies.sqlite", "replies.sqlite.mark", "ledger.sqlite.mark"])
def test_status_says_that_a_file_of_the_state_is_gone(
    tmp_path: Path, server: Server, name: str
) -> None:
    (tmp_path / "a.txt").write_text("Total: 1")
    env = {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": server.url}
    fieldsift("run", "a.txt", "-s", "total float", "-o", "out", cwd=tmp_path, env=env)
    (tmp_path / "out/.fieldsift" / name).unlink()
    told = fieldsift("status", "out", cwd=tmp_path, env=env, code=4).stdout
    assert name in told
    assert "--rebuild" in told
