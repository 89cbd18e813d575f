"""Answers that several outputs share, and the command that manages them."""

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import Pipeline, Stage, extract
from pipeline.cli import main
from pipeline.config.shared import Cache, bytes_of, seconds_of
from pipeline.errors import ConfigError, StateError
from pipeline.ledger import Commons, Shared, StoredReplies
from pipeline.ledger.commons import FILE, remove, users, using
from pipeline.ledger.versions import proof
from pipeline.providers import Endpoint
from pipeline.storing import Storage, open_commons
from tests.runs import FIELDS, KEY, RUN, env, receipts, started, summary, truth, wait_until
from tests.server import Server
from tests.test_cli import fieldsift, results

REQUEST: dict[str, Any] = {"model": "m", "content": [{"text": "a"}]}


class Clock:
    """A time of day that is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def filled(folder: Path, clock: Clock, count: int, size: int = 10_000) -> None:
    """A cache with so many answers, each bought an hour after the one before."""

    async def work() -> None:
        commons = Commons(folder, clock=clock)
        for number in range(count):
            clock.now += 3600
            await commons.keep(f"key{number}", 1, "asked", os.urandom(size))
        commons.close()

    asyncio.run(work())


def there(folder: Path) -> list[str]:
    """The keys of a cache, in the order of their use."""
    with sqlite3.connect(folder / FILE) as db:
        return [key for (key,) in db.execute("select key from answers order by used, key")]


# runs -----------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that code in this process asks too."""
    with Server(truth) as serving:
        monkeypatch.setenv("GEMINI_API_KEY", KEY)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", serving.url)
        yield serving


def run(work: Path, out: str = "out", **options: Any) -> None:
    """A run with the cache that lies beside its folder."""
    made = Pipeline(Stage("extract", FIELDS), cache=work.parent / "shared")
    assert made.run(work / "inbox", work / out, **options).exit_code == 0


def test_another_output_gets_the_answers_for_nothing(tmp_path: Path, server: Server) -> None:
    """They are told as stored, cost 0, and are its own from then on: the cache may go."""
    first, second = receipts(tmp_path / "a", 3), receipts(tmp_path / "b", 4)
    run(first)
    run(second)
    assert len(server.billed) == 4, "the fourth receipt alone is new"
    (tmp_path / "shared" / FILE).unlink()
    told = results(second / "out")
    assert summary(second)["this_run"]["answers_shared"] == 3
    assert told["0000.txt"]["cost_usd"] == 0
    assert told["0000.txt"]["attempts"][0]["stored"] is True
    assert told["0003.txt"]["cost_usd"] > 0
    assert told["0000.txt"]["data"] == results(first / "out")["0000.txt"]["data"]
    (second / "out/results.jsonl").unlink()
    (second / "out/extract/0000.txt.json").unlink()
    run(second, offline=True)
    assert results(second / "out")["0000.txt"]["status"] == "valid"
    assert len(server.billed) == 4


def test_what_must_be_bought_anew_is_not_taken_from_the_cache(
    tmp_path: Path, server: Server
) -> None:
    """--force pays again, and leaves the newer answer for the others."""
    first, second = receipts(tmp_path / "a", 1), receipts(tmp_path / "b", 1)
    run(first)
    run(first, force=True)
    assert len(server.billed) == 2
    run(second)
    assert len(server.billed) == 2


def test_answers_of_one_address_are_not_those_of_another(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under one name another model may be asked there; who asks the same address shares."""
    first, second = receipts(tmp_path / "a", 1), receipts(tmp_path / "b", 1)
    run(first)
    with Server(truth) as other:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", other.url)
        run(second)
        assert len(other.billed) == 1
        run(second, "anew")
        run(first)
        assert len(other.billed) == 1, "shared, and the own store knows no addresses"
    known = Endpoint("gemini", "m", "https://generativelanguage.googleapis.com/")
    assert Endpoint("gemini", "m").elsewhere == known.elsewhere == ""
    assert Endpoint("vertex", "m", location="eu").elsewhere == ""
    assert Endpoint("gemini", "m", "https://gateway").elsewhere == "https://gateway"


@pytest.mark.long
def test_the_pipeline_file_names_it_relative_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    """So does code; `config show` tells from where."""
    work = receipts(tmp_path, 2)
    (work / "pipeline.toml").write_text(
        '[run]\ninput = "inbox"\noutput = "out"\ncache = "inbox/shared"\ncache_size = "2 GB"\ncache_age = "90 days"\n'
        '[[stage]]\nname = "extract"\nschema = "number, total float"\n'
    )
    fieldsift("run", cwd=work, env=env(server))
    fieldsift("run", "-c", "output=other", cwd=work, env=env(server))
    assert len(server.billed) == 2, "the cache lies among the inputs, and is none"
    assert len(results(work / "other")) == 2
    shown = fieldsift("config", "show", cwd=work, env=env(server)).stdout
    assert "cache_age" in shown
    assert "90 days" in shown
    stage = Stage("extract", "number, total float")
    made = Pipeline(stage, cache=work / "inbox/shared").run(
        work / "inbox/0000.txt", tmp_path / "code"
    )
    assert made.counts == {"valid": 1}
    assert len(server.billed) == 2


def test_a_dry_run_counts_what_the_cache_has(tmp_path: Path, server: Server) -> None:
    """And changes nothing in it."""
    first, second = receipts(tmp_path / "a", 2), receipts(tmp_path / "b", 3)
    run(first)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "shared").iterdir()}
    told = fieldsift(
        *RUN, "--cache", "../shared", "--dry-run", "--json", cwd=second, env=env(server)
    )
    assert json.loads(told.stdout)["stages"][0]["stored"] == 2
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "shared").iterdir()}
    assert before == after
    fieldsift(*RUN, "--cache", "../none", "--dry-run", cwd=second)
    assert not (tmp_path / "none").exists()


def test_a_damaged_cache_costs_no_run(tmp_path: Path, server: Server) -> None:
    """It is said in one line, and everything is bought; `cache clean --all` makes it anew."""
    work = receipts(tmp_path / "a", 2)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / FILE).write_bytes(b"no database at all" * 999)
    done = fieldsift(*RUN, "--cache", "../shared", cwd=work, env=env(server))
    lines = [line for line in done.stderr.splitlines() if "shared cache" in line]
    assert len(lines) == 1, done.stderr
    assert "is not used any more" in lines[0]
    assert results(work / "out")["0000.txt"]["status"] == "valid"
    assert len(server.billed) == 2
    fieldsift("cache", "clean", "--all", "--cache", "../shared", cwd=work)
    run(work, "anew")
    run(work, "again")
    assert len(server.billed) == 4


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("update answers set body = cast(replace(body, '{', '[') as blob)", "not what was written"),
        ("update answers set body = 7", "not what was written"),
        ("update answers set digest = x'00'", "not what was written"),
        ("drop table answers", "no such table"),
        ("pragma user_version = 99", "newer fieldsift"),
    ],
)
def test_whatever_is_wrong_with_it_is_no_answer(tmp_path: Path, damage: str, said: str) -> None:
    """From then on nothing is asked of it, and nothing raises."""

    async def work() -> None:
        before = Commons(tmp_path)
        await before.keep("k", 1, "asked", b"{}")
        before.close()
        with sqlite3.connect(tmp_path / FILE) as db:
            db.execute(damage)
        commons = Commons(tmp_path)
        assert commons.get("k", 1, "asked") is None
        assert said in commons.trouble
        await commons.keep("k", 1, "asked", b"{}")
        await commons.touch("k", 1)
        assert commons.held().answers == commons.clean().answers == 0
        commons.close()

    asyncio.run(work())


def test_a_folder_that_can_not_be_one_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "exists" in Commons(tmp_path / "file").trouble
    (tmp_path / "there" / FILE).mkdir(parents=True)
    assert "unable to open" in Commons(tmp_path / "there").trouble


@pytest.mark.long
def test_two_processes_share_it_at_once(tmp_path: Path, server: Server) -> None:
    """One waits for its answers while the other one works: nothing is lost, nothing damaged."""
    first, second = receipts(tmp_path / "a", 6), receipts(tmp_path / "b", 6)
    server.hold()
    with started(first, env(server), "--cache", "../shared", arguments=RUN) as client:
        wait_until(lambda: server.requests)
        assert users(tmp_path / "shared") is not None
        server.release()
        run(second)
        assert client.end() == 0
    assert len(results(first / "out")) == len(results(second / "out")) == 6
    run(receipts(tmp_path / "c", 6))
    assert len(server.billed) <= 12
    assert users(tmp_path / "shared") is None


@pytest.mark.long
def test_a_process_that_died_holds_nothing(tmp_path: Path, server: Server) -> None:
    work = receipts(tmp_path / "a", 2)
    server.hold()
    with started(work, env(server), "--cache", "../shared", arguments=RUN) as client:
        wait_until(lambda: users(tmp_path / "shared"))
        client.process.kill()
        client.process.wait()
    assert users(tmp_path / "shared") is None
    server.release()
    run(work)


def test_no_store_and_offline_leave_it_alone(tmp_path: Path, server: Server) -> None:
    work = receipts(tmp_path / "a", 1)
    made = Pipeline(Stage("extract", FIELDS), cache=tmp_path / "shared")
    made.run(work / "inbox", work / "out", in_memory=True)
    made.run(work / "inbox", work / "off", offline=True)
    assert len(server.billed) == 1
    assert not (tmp_path / "shared").exists()


# the store ------------------------------------------------------------------------------------


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    clock = Clock()
    filled(tmp_path, clock, 10)

    async def work() -> None:
        clock.now += 3600
        commons = Commons(tmp_path, size=100_000, clock=clock)
        assert commons.get("key0", 1, "asked")
        await commons.touch("key0", 1)
        commons.close()

    asyncio.run(work())
    kept = there(tmp_path)
    assert kept[-1] == "key0", "it was used last"
    assert kept[:-1] == [f"key{n}" for n in range(10 - len(kept) + 1, 10)]
    assert 3 <= len(kept) < 9
    assert (tmp_path / FILE).stat().st_size <= 100_000


def test_the_size_is_a_limit_while_a_run_is_at_work(tmp_path: Path) -> None:
    """Of what it wrote itself too: it has copies of its own, and of what it read."""
    clock = Clock()

    async def work() -> None:
        commons = Commons(tmp_path / "c", size=200_000, clock=clock)
        shared = Shared(StoredReplies(tmp_path / "own"), commons, {})
        for number in range(60):
            clock.now += 1
            await shared.keep(f"key{number}", 1, 1, REQUEST, os.urandom(10_000))
            assert commons.held().bytes <= 230_000
        kept = there(tmp_path / "c")
        assert kept == [f"key{number}" for number in range(60 - len(kept), 60)]
        assert shared.get("key0", 1, 0, REQUEST) is not None, "its own"
        assert shared.get("key59", 1, 0, REQUEST) is not None
        shared.close()

    asyncio.run(work())


def test_another_process_that_writes_costs_that_one_write(tmp_path: Path) -> None:
    """Answers are read beside it, nothing is given up, and afterwards all goes on."""

    async def work() -> None:
        commons = Commons(tmp_path)
        await commons.keep("k", 1, "asked", b"{}")
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
            other.execute("begin immediate")
            waiting = asyncio.ensure_future(commons.keep("l", 1, "asked", b"{}"))
            await asyncio.sleep(0)
            assert commons.get("k", 1, "asked") == b"{}"
            assert not waiting.done(), "read while the write was waiting"
            await waiting
            await commons.keep("m", 1, "asked", b"{}")
            other.execute("rollback")
        assert commons.trouble == ""
        await commons.keep("n", 1, "asked", b"{}")
        assert sorted(there(tmp_path)) == ["k", "n"]
        commons.close()

    asyncio.run(work())


def test_what_may_wait_for_others_is_not_in_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, seen = threading.get_ident(), list[int]()
    for name in ("_open", "_clean"):
        real = getattr(Commons, name)

        def noted(*given: Any, real: Any = real) -> Any:
            seen.append(threading.get_ident())
            return real(*given)

        monkeypatch.setattr(Commons, name, noted)

    async def work() -> None:
        plan: Any = SimpleNamespace(cache=Cache(tmp_path / "c"))
        async with open_commons(plan, Storage(), offline=False) as commons:
            assert commons

    asyncio.run(work())
    assert len(seen) == 2
    assert loop not in seen


@pytest.mark.skipif(os.name == "nt", reason="files have no modes there")
def test_it_is_nobody_else_s_to_read(tmp_path: Path) -> None:
    """Answers hold what documents say."""
    before = os.umask(0o022)
    try:
        commons = Commons(tmp_path / "c")
        asyncio.run(commons.keep("k", 1, "asked", b"{}"))
        made = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "c").rglob("*")}
        commons.close()
    finally:
        os.umask(before)
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    assert made.pop("users") == 0o700
    assert set(made) > {FILE, f"{FILE}-wal"}
    assert set(made.values()) == {0o600}, made


def test_old_answers_are_not_used_and_go(tmp_path: Path) -> None:
    clock = Clock()
    filled(tmp_path, clock, 4)
    clock.now += 1
    commons = Commons(tmp_path, age=2 * 3600, clock=clock)
    assert commons.get("key0", 1, "asked") is None
    assert commons.get("key3", 1, "asked") is not None
    assert commons.get("key3", 1, "asked otherwise") is None
    assert commons.get("key3", 2, "asked") is None
    commons.close()
    assert there(tmp_path) == ["key2", "key3"]


def test_an_answer_is_one_s_own_before_it_is_used(tmp_path: Path) -> None:
    """It stands in the own store as of run 0: answers that must be bought anew are not among them."""

    async def work() -> None:
        own, commons = StoredReplies(tmp_path / "a"), Commons(tmp_path / "c")
        one = Shared(own, commons, {})
        await one.keep("k", 1, 7, REQUEST, b"{}")
        other = StoredReplies(tmp_path / "b")
        two = Shared(other, commons, {})
        assert two.get("k", 1, 3, REQUEST) is None, "of runs since the third alone"
        assert two.get("k", 1, 0, REQUEST) == b"{}"
        assert other.get("k", 1, 0, REQUEST) is None
        await asyncio.gather(*(two.note("k", 1, REQUEST, b"{}") for _ in range(3)))
        assert other.get("k", 1, 0, REQUEST) == b"{}"
        assert other.get("k", 1, 1, REQUEST) is None
        assert commons.found == 1
        one.close()
        two.close()

    asyncio.run(work())


def test_a_disk_that_is_full_costs_the_cache_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        commons = Commons(tmp_path / "c")
        shared = Shared(StoredReplies(tmp_path / "own"), commons, {})

        def full(*given: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(commons, "_run", full)
        await shared.keep("k", 1, 1, REQUEST, b"{}")
        assert "full" in commons.trouble
        await shared.keep("l", 1, 1, REQUEST, b"{}")
        assert shared.get("l", 1, 0, REQUEST) == b"{}"
        shared.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("text", "found"),
    [("2 GB", 2_000_000_000), ("500MB", 500_000_000), ("1.5 GiB", 1_610_612_736), ("1000", 1000), (7, 7), ("1 k", 1000)],
)  # fmt: skip
def test_sizes_are_read(text: object, found: int) -> None:
    assert bytes_of(text) == found


@pytest.mark.parametrize(
    ("text", "days"), [("90 days", 90), ("30d", 30), ("12h", 0.5), ("2 weeks", 14), ("1 day", 1)]
)
def test_ages_are_read(text: str, days: float) -> None:
    assert seconds_of(text) == days * 86_400


@pytest.mark.parametrize(
    "text", ["", "0", "many", "-1 GB", "2 TeraB", "1e9", "nan", "٣ GB", "0 kb"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="give bytes"):
        bytes_of(text)
    with pytest.raises(ConfigError, match="give hours"):
        seconds_of(text)


def test_limits_without_a_cache_and_wrong_ones_end_the_run_before_it_begins(tmp_path: Path) -> None:
    work = receipts(tmp_path, 1)
    done = fieldsift(*RUN, "-c", "cache_size=2 GB", "-m", "local", cwd=work, code=2)
    assert "name its folder" in done.stderr
    done = fieldsift(*RUN, "-c", "cache=c", "-c", "cache_age=soon", "-m", "local", cwd=work, code=2)
    assert "cache_age 'soon'" in done.stderr


def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr(
        "pipeline.ledger.place.mounts", lambda: [("/", "ext4"), (str(tmp_path), "nfs4")]
    )
    (tmp_path / "a.txt").write_text("Total 1")
    made = Pipeline(Stage("extract", FIELDS), cache=tmp_path / "c")
    with pytest.raises(StateError, match="network file system"):
        made.run(
            tmp_path / "a.txt",
            tmp_path.parent / f"{tmp_path.name}-out",
        )


# the command ----------------------------------------------------------------------------------


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """`fieldsift cache` in this process: what it says of a folder, or the message of an exit code."""

    def call(*arguments: str, cwd: Path, code: int = 0) -> Any:
        monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as ended:
            main(["cache", *arguments, "--json"])
        streams = capsys.readouterr()
        assert ended.value.code == code, streams.err
        return streams.err if code else json.loads(streams.out)

    return call


def test_the_shared_cache_is_measured_and_cleaned(tmp_path: Path, cache: Any) -> None:
    """The one that the pipeline file names, else the user's own."""
    clock = Clock()
    clock.now = time.time() - 10 * 3600
    filled(tmp_path / "shared", clock, 4)
    (tmp_path / "pipeline.toml").write_text('[run]\ncache = "shared"\ncache_size = "30 kB"\n')
    assert cache("dir", cwd=tmp_path) == {"folder": str(tmp_path / "shared"), "shared": True}
    assert cache("dir", "--user", cwd=tmp_path)["folder"] == str(tmp_path / "cache")
    held = cache("size", cwd=tmp_path)
    assert held["answers"] == 4
    assert held["limit_bytes"] == 30_000
    assert held["oldest"]
    assert cache("clean", "--older-than", "9h", "-n", cwd=tmp_path)["answers"] >= 1
    beyond = cache("clean", "--dry-run", cwd=tmp_path)
    assert beyond["answers"] >= 2
    assert beyond["removed"] is False
    assert cache("size", cwd=tmp_path)["answers"] == 4
    gone = cache("clean", cwd=tmp_path)["answers"]
    assert gone >= beyond["answers"]
    assert cache("size", cwd=tmp_path)["answers"] == 4 - gone
    assert cache("clean", "--all", cwd=tmp_path)["answers"] == 4 - gone
    assert cache("size", cwd=tmp_path)["answers"] == 0
    assert cache("clean", "--all", cwd=tmp_path)["answers"] == 0


def test_the_user_s_cache_is_cleaned_by_when_answers_were_bought(
    tmp_path: Path, cache: Any, server: Server
) -> None:
    work = receipts(tmp_path, 2)
    for number in range(2):
        extract(work / f"inbox/000{number}.txt", FIELDS)
    with sqlite3.connect(tmp_path / "cache/ledger.sqlite") as db:
        db.create_function("proof", -1, proof)
        at = time.time() - 40 * 86_400
        db.execute(
            "update calls set at = ?1, proof = proof('calls', id, key, take, run, endpoint, reserved, cost, state, ?1, tokens) where run = 1",
            (at,),
        )
    assert cache("size", cwd=work)["answers"] == 2
    assert cache("clean", "--older-than", "30d", "-n", cwd=work)["answers"] == 1
    assert cache("clean", "--older-than", "30d", cwd=work)["answers"] == 1
    extract(work / "inbox/0001.txt", FIELDS)
    assert len(server.billed) == 2, "what is left answers"
    extract(work / "inbox/0000.txt", FIELDS)
    assert len(server.billed) == 3
    with using(tmp_path / "cache"):
        assert cache("clean", "--all", cwd=work)["answers"] == 2
    assert cache("clean", "--all", cwd=work)["answers"] == 0
    assert cache("size", cwd=work)["answers"] == 0


def test_cleaning_wants_to_be_told_what(tmp_path: Path, cache: Any) -> None:
    assert "say --older-than" in cache("clean", cwd=tmp_path, code=2)
    both = cache("clean", "--all", "--older-than", "1d", cwd=tmp_path, code=2)
    assert "not both" in both
    wrong = cache("clean", "--older-than", "1 moon", cwd=tmp_path, code=2)
    assert "give hours, days or weeks" in wrong
    two = cache("size", "--user", "--cache", "c", cwd=tmp_path, code=2)
    assert "not both" in two
    assert cache("size", cwd=tmp_path)["answers"] == 0


def test_a_cache_that_is_no_cache_is_told(tmp_path: Path, cache: Any) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / FILE).write_bytes(b"nothing" * 999)
    assert "not a database" in cache("size", "--cache", "c", cwd=tmp_path, code=4)
    assert remove(tmp_path / "c")
