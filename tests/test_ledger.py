"""Nothing that was committed is lost, nothing stands twice, and damage is seen."""

import asyncio
import json
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StateError
from pipeline.ledger import Ledger, Line, Recording, StoredReplies, nearest

T = TypeVar("T")


def wait(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def line(path: str, status: str = "valid", text: str | None = None, stage: str = "s") -> Line:
    return Line(
        path, stage, status, text or json.dumps({"path": path, "status": status, "reason": None})
    )


async def finished(ledger: Ledger, *paths: str, run: int = 1) -> None:
    for path in paths:
        await ledger.finish(path, [line(path)], (1, 2, "pipeline", run))


def lines_in(results: Path) -> list[str]:
    return [json.loads(text)["path"] for text in results.read_text().splitlines()]


def test_a_finished_file_is_known_by_path_size_time_and_pipeline(tmp_path: Path) -> None:
    async def work() -> None:
        ledger = Ledger(tmp_path, tmp_path / "results.jsonl")
        run = await ledger.begin("x")
        await finished(ledger, "a")
        assert ledger.done("a", 1, 2, "pipeline", run)
        for other in (
            ("b", 1, 2, "pipeline"),
            ("a", 9, 2, "pipeline"),
            ("a", 1, 9, "pipeline"),
            ("a", 1, 2, "new"),
        ):
            assert not ledger.done(*other, run)
        ledger.close()

    wait(work())


def test_lines_after_the_committed_length_are_cut_off_at_the_next_start(tmp_path: Path) -> None:
    """A process that died between writing and committing leaves nothing behind."""
    results = tmp_path / "results.jsonl"
    ledger = Ledger(tmp_path, results)
    wait(finished(ledger, "a", "b"))
    ledger.close()
    with results.open("a") as file:
        file.write('{"path": "half a li')
    again = Ledger(tmp_path, results)
    wait(finished(again, "c"))
    again.close()
    assert lines_in(results) == ["a", "b", "c"]


def test_results_that_were_deleted_or_cut_come_back(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    ledger = Ledger(tmp_path, results)
    wait(finished(ledger, "a", "b"))
    ledger.close()
    results.write_text("")
    Ledger(tmp_path, results).close()
    assert lines_in(results) == ["a", "b"]


def test_a_new_outcome_stands_once_and_the_old_one_is_gone(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"

    async def work() -> None:
        ledger = Ledger(tmp_path, results)
        await finished(ledger, "a", "b")
        await ledger.finish("a", [line("a", "invalid")], None)
        ledger.tidy()
        assert ledger.counts() == {"invalid": 1, "valid": 1}
        ledger.close()

    wait(work())
    told = [json.loads(text) for text in results.read_text().splitlines()]
    assert [(each["path"], each["status"]) for each in told] == [("b", "valid"), ("a", "invalid")]


def test_an_outcome_that_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    ledger = Ledger(tmp_path, results)
    wait(finished(ledger, "a"))
    before = results.stat()
    wait(finished(ledger, "a"))
    assert results.stat().st_mtime_ns == before.st_mtime_ns
    assert results.stat().st_size == before.st_size
    ledger.close()


def test_a_failed_write_of_results_commits_nothing(tmp_path: Path) -> None:
    """The line and its mark stand together or not at all."""
    results = tmp_path / "results.jsonl"
    ledger = Ledger(tmp_path, results)
    wait(finished(ledger, "a"))
    results.unlink()
    results.mkdir()  # opening it fails from now on
    with pytest.raises(StateError, match="what was committed is kept"):
        wait(finished(ledger, "b"))
    results.rmdir()
    ledger.close()
    again = Ledger(tmp_path, results)
    assert again.counts() == {"valid": 1}
    wait(finished(again, "b"))
    again.close()
    assert lines_in(results) == ["a", "b"]


def test_retry_lifts_marks_and_old_answers_of_the_named_statuses_only(tmp_path: Path) -> None:
    async def work() -> None:
        ledger = Ledger(tmp_path)
        first = await ledger.begin("run")
        await finished(ledger, "good")
        await ledger.finish("bad", [line("bad", "invalid")], (1, 2, "pipeline", 1))
        await ledger.end(first)
        second = await ledger.begin("run --retry", retry=["invalid"])
        assert ledger.done("good", 1, 2, "pipeline", second)
        assert not ledger.done("bad", 1, 2, "pipeline", second)
        assert ledger.since("good", "s", second) == 0
        assert ledger.since("bad", "s", second) == second.id
        ledger.close()

    wait(work())


def test_force_that_was_killed_goes_on_and_force_after_its_end_starts_anew(tmp_path: Path) -> None:
    async def work() -> None:
        ledger = Ledger(tmp_path)
        forced = await ledger.begin("run --force", force=True)
        await finished(ledger, "a", run=forced.id)
        again = await ledger.begin("run --force", force=True)
        assert ledger.done("a", 1, 2, "pipeline", again), "done by the forced run that was killed"
        await ledger.end(again)
        anew = await ledger.begin("run --force", force=True)
        assert not ledger.done("a", 1, 2, "pipeline", anew)
        ledger.close()

    wait(work())


def test_money_is_what_was_booked_plus_what_is_still_reserved(tmp_path: Path) -> None:
    async def work() -> None:
        ledger = Ledger(tmp_path)
        first = await ledger.reserve("k", 1, 1, "gemini:x", 100)
        await ledger.reserve("l", 1, 1, "gemini:x", 50)
        assert ledger.spent() == 150
        await ledger.book(first, 7, "paid")
        assert ledger.spent() == 57
        assert [call[1:] for call in ledger.open_calls()] == [("l", 1, 1, "gemini:x", 50)]
        ledger.close()

    wait(work())


def test_the_newest_answer_that_counts_is_returned(tmp_path: Path) -> None:
    async def work() -> None:
        replies = StoredReplies(tmp_path)
        await replies.keep("k", 1, 1, {}, b"old")
        await replies.keep("k", 1, 3, {}, b"new")
        assert replies.get("k", 1, 0) == b"new"
        assert replies.get("k", 1, 3) == b"new"
        assert replies.get("k", 1, 4) is None
        assert replies.get("k", 2, 0) is None
        replies.close()

    wait(work())


def test_a_flipped_byte_inside_an_answer_is_seen(tmp_path: Path) -> None:
    replies = StoredReplies(tmp_path)
    wait(replies.keep("k", 1, 1, {}, b"worth money"))
    replies.close()
    with sqlite3.connect(tmp_path / "replies.sqlite") as database:
        database.execute("update replies set body = ?", (b"worth honey",))
    database.close()
    again = StoredReplies(tmp_path)
    with pytest.raises(StateError, match="damaged"):
        again.get("k", 1, 0)
    again.close()


def test_a_damaged_ledger_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(StateError, match="--rebuild"):
        Ledger(tmp_path)


def test_in_memory_nothing_touches_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def work() -> None:
        replies, ledger = StoredReplies(None), Ledger(None)
        await asyncio.gather(*(replies.keep(str(n), 1, 1, {}, b"x") for n in range(50)))
        await asyncio.gather(*(ledger.reserve(str(n), 1, 1, "e", 1) for n in range(50)))
        assert ledger.spent() == 50
        assert replies.get("49", 1, 0) == b"x"
        replies.close()
        ledger.close()

    wait(work())
    assert list(tmp_path.iterdir()) == []


@given(
    body=st.one_of(
        st.binary(max_size=80),
        st.builds(
            lambda value: json.dumps(value).encode(),
            st.dictionaries(st.text(), st.floats() | st.text()),
        ),
    )
)
def test_a_recording_gives_back_the_very_bytes(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    wait(Recording(folder).note("k", 1, {"model": "m"}, body))
    assert Recording(folder).get("k", 1, 0) == body


def test_a_recording_beside_the_store_writes_and_never_answers(tmp_path: Path) -> None:
    """--record must not serve stale answers: what counts is the ordinary store."""

    async def work() -> None:
        both = Recording(tmp_path / "r", before=StoredReplies(tmp_path))
        await both.keep("k", 1, 1, {"model": "m"}, b"{}")
        assert both.get("k", 1, 0) == b"{}"
        assert both.get("k", 1, 2) is None, "an answer of an earlier run, although it is recorded"
        both.close()

    wait(work())
    assert Recording(tmp_path / "r").get("k", 1, 99) == b"{}"


def test_what_differs_from_the_nearest_recording_is_told_in_words(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    request = {"model": "m", "content": [{"text": "a"}], "settings": {"thinking": "low"}}
    other = {"model": "other", "content": [{"text": "b"}], "settings": {}}
    wait(recording.note("k", 1, other, b"{}"))
    wait(recording.note("l", 1, request, b"{}"))
    told = nearest(recording, {**request, "settings": {"thinking": "high"}})
    assert told == 'the nearest differs in /settings/thinking: recorded "low", now "high"'
    assert "nothing is recorded" in nearest(Recording(tmp_path / "empty"), request)
