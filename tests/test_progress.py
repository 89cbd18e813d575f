"""How far a run is: numbers, the display on a terminal, lines in a log, and events for machines."""

import asyncio
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli import events as contract
from pipeline.cli.display import Lines, drawn, fitted
from pipeline.cli.events import Events
from pipeline.cli.output import Output
from pipeline.cli.progress import (
    Cadence,
    Meter,
    News,
    Pause,
    Standing,
    Watch,
    clock,
    short,
    watched,
)
from pipeline.limits import Waiting
from pipeline.runner import Tally
from tests.accounts import check
from tests.answers import Seen as Asked
from tests.answers import answer_from, error, retry_info
from tests.server import Server
from tests.test_cli import fieldsift

SOME = Standing(
    done=312,
    found=1000,
    listed=True,
    statuses={"valid": 300, "failed": 12},
    tokens=1_234_567,
    cost=Decimal("0.4312"),
    budget=Decimal(5),
    rate=210.4,
    left=196.4,
    pauses=(Pause("gemini:gemini-3.1-flash-lite", "60 requests a minute are used up", 22.3),),
)
standings = st.builds(
    Standing,
    done=st.integers(0, 10**7),
    found=st.integers(0, 10**7),
    listed=st.booleans(),
    statuses=st.dictionaries(st.sampled_from(["valid", "failed", "unreadable"]), st.integers(1, 10**7)),
    tokens=st.integers(0, 10**12),
    cost=st.none() | st.decimals(0, 10**6, places=6),
    budget=st.none() | st.decimals(0, 10**6, places=2),
    rate=st.none() | st.floats(0.1, 10**6),
    left=st.none() | st.floats(0, 10**7),
    pauses=st.lists(st.builds(Pause, st.text(max_size=9), st.text(max_size=90), st.floats(0, 10**6))).map(tuple),
)  # fmt: skip


# numbers --------------------------------------------------------------------------------------


def test_the_rate_is_that_of_the_last_minute() -> None:
    meter = Meter()
    slow = [meter.rate(second, second) for second in range(61)]
    assert slow[1] is None, "one second says nothing"
    assert slow[60] == pytest.approx(60)
    fast = [meter.rate(60 + second, 60 + 4 * second) for second in range(1, 61)]
    assert fast[-1] == pytest.approx(240), "what was a minute ago counts no more"


def test_no_rate_is_told_where_nothing_was_done_of_late() -> None:
    meter = Meter()
    rates = [meter.rate(second, min(second, 10)) for second in range(90)]
    assert rates[10] == pytest.approx(60)
    assert rates[89] is None


class Run:
    """What a Watch looks at."""

    def __init__(self, **tally: Any) -> None:
        self.tally = Tally()
        for name, value in tally.items():
            setattr(self.tally, name, value)
        self.plan = SimpleNamespace(budget=Decimal(2))
        self.asker = SimpleNamespace(bought=SimpleNamespace(tokens=0, paid=Decimal(0)))
        self.until = 0.0

    def waiting(self) -> tuple[Waiting, ...]:
        return (Waiting("one", "quota", self.until),) if self.until else ()


def test_the_time_left_is_of_documents_that_need_work_at_the_rate_of_late() -> None:
    run: Any = Run(found=300, listed=True)
    watch = Watch(run, Decimal(0))
    watch.look(0)
    run.tally.done, run.tally.unchanged = 220, 200
    standing = watch.look(10)
    assert standing.rate == pytest.approx(120), "unchanged documents are passed over, not worked on"
    assert standing.left == pytest.approx(40)
    run.tally.listed = False
    assert watch.look(11).left is None, "not before it is known how many there are"


def test_tokens_and_money_are_those_of_answers_that_were_bought() -> None:
    run: Any = Run()
    run.asker = SimpleNamespace(bought=SimpleNamespace(tokens=125, paid=Decimal("0.25")))
    standing = Watch(run, Decimal("0.5")).look(0)
    assert (standing.tokens, standing.paid, standing.cost) == (
        125,
        Decimal("0.25"),
        Decimal("0.75"),
    )
    run.asker.bought.paid = None
    assert Watch(run, Decimal("0.5")).look(0).cost is None, "unknown is never zero"
    assert Watch(Run(), None).look(0).cost is None  # type: ignore[arg-type]  # what it looks at


def test_what_was_waited_for_adds_up() -> None:
    run: Any = Run()
    watch = Watch(run, None)
    watch.look(0)
    run.until = 7
    standings = [watch.look(second) for second in (1, 2, 3, 8)]
    assert [each.pauses[0].seconds if each.pauses else None for each in standings] == [
        6,
        5,
        4,
        None,
    ]
    assert watch.waited == {"one": 3}


def test_displays_are_told_while_no_document_finishes() -> None:
    async def work() -> list[Standing]:
        told: list[Standing] = []
        enough = asyncio.Event()

        class Display:
            async def show(self, now: float, standing: Standing) -> None:
                told.append(standing)
                if len(told) == 5:
                    enough.set()

        run: Any = Run()
        run.until = asyncio.get_running_loop().time() + 100
        async with watched(Watch(run, None), [Display()], 9.0, lambda _: asyncio.sleep(0)):
            await enough.wait()
        return told

    assert all(each.pauses for each in asyncio.run(work()))


def test_a_fault_of_a_display_is_not_swallowed() -> None:
    class Display:
        async def show(self, now: float, standing: Standing) -> None:
            raise ZeroDivisionError

    async def work() -> None:
        run: Any = Run()
        async with watched(Watch(run, None), [Display()], 0, asyncio.sleep):
            await asyncio.sleep(0.01)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(work())


def test_only_pauses_that_are_news_are_told() -> None:
    news = News()

    def told(now: float, seconds: float) -> bool:
        return bool(news.of(now, [Pause("one", "quota", seconds)]))

    assert not told(0, 2.9), "too short to speak of"
    assert told(1, 20)
    assert not told(5, 16), "the same one"
    assert not told(30, 10), "and not each of a row of them"
    assert told(60, 10)


def test_it_is_time_by_the_clock_alone() -> None:
    cadence = Cadence(10, 30)
    assert [second for second in range(100) if cadence.due(second)] == [10, 40, 70]


def test_times_and_numbers_in_words() -> None:
    assert [clock(s) for s in (7, 196.4, 3723, 183600)] == ["0:07", "3:16", "1:02:03", "2 d 3 h"]
    assert [short(n) for n in (9999, 12345, 4_560_000)] == ["9,999", "12.3k", "4.56M"]


# a terminal -----------------------------------------------------------------------------------


def test_a_wide_and_a_narrow_terminal_show_what_matters_most() -> None:
    wide = drawn(SOME, 119)
    assert wide[0] == "━━━━━━━─────────────────  312 of 1,000  210/min  ETA 3:16"
    assert wide[1] == "$0.4312 of 5  1.23M tokens  ok 300  failed 12"
    assert (
        wide[2] == "waiting 0:23: 60 requests a minute are used up (gemini:gemini-3.1-flash-lite)"
    )
    narrow = drawn(SOME, 39)
    assert narrow[:2] == ["312 of 1,000  210/min  ETA 3:16", "$0.4312 of 5  1.23M tokens  ok 300"]
    assert narrow[2] == "waiting 0:23: 60 requests a minute are…"


def test_before_the_listing_is_done_no_total_and_no_end_is_promised() -> None:
    lines = drawn(Standing(done=5, found=900, listed=False), 80)
    assert lines == ["5 done, 900 found so far", "ok 0"]


@settings(deadline=None)
@given(standings, st.integers(10, 200), st.booleans())
def test_no_line_is_longer_than_the_terminal(standing: Standing, width: int, fancy: bool) -> None:
    lines = drawn(standing, width, fancy=fancy)
    assert all(len(line) <= width for line in lines)
    assert len(lines) == (3 if standing.pauses else 2)


@settings(deadline=None)
@given(st.lists(st.text("ab", max_size=20)), st.integers(1, 60))
def test_parts_are_left_out_whole(parts: list[str], width: int) -> None:
    line = fitted(parts, width)
    kept = [part for part in parts if part]
    assert line == (kept[0][:width] if kept else "") or line in {"  ".join(kept[:n]) for n in range(len(kept) + 1)}  # fmt: skip


def on_a_terminal(command: Sequence[str], columns: int, env: dict[str, str], cwd: Path) -> str:
    """What a command writes to a terminal that is so wide; stdout goes to nobody."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        command, stdin=its, stdout=subprocess.DEVNULL, stderr=its, env=env, cwd=cwd
    ) as process:
        os.close(its)
        told = b""
        while chunk := _read(ours):
            told += chunk
        os.close(ours)
        assert process.wait(60) == 0
    return told.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side is closed
        return b""


def inbox(folder: Path, number: int) -> None:
    (folder / "inbox").mkdir()
    for each in range(number):
        (folder / f"inbox/{each}.txt").write_text(f"Vendor: ACME {each}\nTotal: 7.00\n")


def test_a_pause_for_a_quota_is_seen_on_a_terminal_and_counts_down(tmp_path: Path) -> None:
    inbox(tmp_path, 3)
    asked: list[int] = []

    def reply(seen: Asked) -> Any:
        asked.append(seen.number)
        slow = error(429, "Please slow down.", retry_info("3s"))
        return slow if len(asked) == 1 else answer_from(seen, {})

    with Server(reply) as server:
        env = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {
            "GEMINI_API_KEY": "k",
            "GOOGLE_GEMINI_BASE_URL": server.url,
            "TERM": "xterm",
        }
        command = [sys.executable, "-m", "pipeline", "run", "inbox", "-s", "vendor, total float"]
        command += ["-m", "gemini-3.1-flash-lite", "-o", "out", "-j", "1", "--budget", "5USD"]
        told = on_a_terminal(command, 60, env, tmp_path)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told)
    assert len(set(re.findall(r"waiting 0:0[123]", shown))) > 1
    live = [line for line in re.split(r"[\r\n]+", shown) if re.match(r"\d+ |\$|waiting", line)]
    assert max(map(len, live)) == 59, "the longest is cut at the last column but one"
    assert told.count("\x1b[?25l") == told.count("\x1b[?25h"), "the cursor comes back"
    assert check(tmp_path / "out", [f"{each}.txt" for each in range(3)]) == []


# a log ----------------------------------------------------------------------------------------


def test_a_log_gets_lines_by_time_and_one_for_a_pause(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        lines = Lines(Output())
        for second in range(75):
            await lines.show(second, SOME if second == 50 else Standing(done=second))

    asyncio.run(work())
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[:3] for line in told] == [
        ["run", "progress", "done=10"],
        ["run", "progress", "done=40"],
        ["run", "waiting", "endpoint=gemini:gemini-3.1-flash-lite"],
        ["run", "progress", "done=70"],
    ]
    asyncio.run(_after_ten_seconds(Lines(Output())))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "run progress done=312 found=1000 valid=300 failed=12 tokens=1234567 cost_usd=0.4312 "
        'rate_per_minute=210.4 eta_s=196 waiting="gemini:gemini-3.1-flash-lite: '
        '60 requests a minute are used up, 22 s"'
    )


async def _after_ten_seconds(lines: Lines) -> None:
    await lines.show(0, SOME)
    await lines.show(10, SOME)


# machines -------------------------------------------------------------------------------------


def documented() -> dict[str, list[str]]:
    """The keys of each event, from the table that is the contract."""
    rows = re.findall(r"^\| `(\w+)` +\|[^|]*\| (.*) \|$", contract.__doc__ or "", re.MULTILINE)
    return {event: re.findall(r"`(\w+)`", keys) for event, keys in rows}


def lines_of(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_events_have_the_keys_of_the_contract(tmp_path: Path) -> None:
    inbox(tmp_path, 2)
    (tmp_path / "inbox/bad.bin").write_bytes(bytes(range(256)))
    command = ("run", "inbox", "-s", "vendor, total float", "-m", "local", "-o", "out", "--json")
    told = lines_of(fieldsift(*command, cwd=tmp_path, code=1).stdout)
    assert [each["event"] for each in told] == ["start", *["document"] * 3, "end"]
    again = lines_of(fieldsift(*command, cwd=tmp_path, code=1).stdout)
    assert [each["event"] for each in again] == ["start", "plan", "end"]
    assert (again[1]["found"], again[1]["unchanged"]) == (3, 3)
    told += [*again, *_shown()]
    keys = documented()
    assert keys.keys() >= {each["event"] for each in told}
    for each in told:
        assert ["event", *keys[each["event"]]] == list(each), each["event"]
    end = next(each for each in told if each["event"] == "end")
    assert (end["exit_code"], end["counts"]) == (1, {"unreadable": 1, "valid": 2})
    bad = next(each for each in told if each.get("path") == "bad.bin")
    assert (bad["stage"], bad["status"], bad["file"]) == (None, "unreadable", None)
    assert bad["message"]
    good = next(each for each in told if each.get("path") == "1.txt")
    assert (tmp_path / "out" / good["file"]).exists()


def test_what_is_wrong_and_what_came_out_are_told_by_stage(tmp_path: Path) -> None:
    inbox(tmp_path, 2)
    (tmp_path / "pipeline.toml").write_text(
        '[run]\nmodel = "local"\n'
        '[[stage]]\nname = "first"\nschema = "vendor, total float"\nvalidate = ["total < 5"]\n'
        '[[stage]]\nname = "second"\nschema = "vendor str"\n'
        '[[stage]]\nname = "third"\nschema = "vendor str"\nwhen = "first.total > 0"\n'
    )
    ran = fieldsift("run", "inbox", "-o", "out", "--no-store", "--json", cwd=tmp_path, code=1)
    end = lines_of(ran.stdout)[-1]
    assert end["stages"] == {
        "first": {"invalid": 2},
        "second": {"valid": 2},
        "third": {"failed": 2},
    }
    assert "0.txt: first: invalid: " in ran.stderr
    assert "0.txt: third: failed: " in ran.stderr
    assert "run stage stage=second valid=2\n" in ran.stderr
    status = fieldsift("status", "out", cwd=tmp_path).stdout
    assert "\n  first 2 invalid; second 2 valid; third 2 failed\n" in status
    checked = fieldsift("validate", "out", "--output-format", "json", cwd=tmp_path, code=1)
    stages = [each["stage"] for each in json.loads(checked.stdout)["files"]]
    assert sorted(stages) == sorted(["first", "second", "third"] * 2)


def _shown() -> list[dict[str, Any]]:
    """The events that take time, at once."""
    stdout, sys.stdout = sys.stdout, io.StringIO()
    try:

        async def work() -> str:
            events = Events(Output(json=True))
            await events.show(0, SOME)
            await events.show(5, SOME)
            assert isinstance(sys.stdout, io.StringIO)
            return sys.stdout.getvalue()

        told = lines_of(asyncio.run(work()))
    finally:
        sys.stdout = stdout
    assert [each["event"] for each in told] == ["waiting", "progress"]
    assert told[1]["waiting"] == {key: told[0][key] for key in ("endpoint", "why", "seconds")}
    return told


def test_an_error_is_the_last_event_and_still_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    base = ("-s", "vendor, total float", "-o", "out", "--json")
    for arguments, code in (
        (["nosuch", "-m", "local"], 2),
        (["empty", "-m", "local"], 5),
        (["empty", "-m", "gemini-3.1-flash-lite"], 4),
    ):
        told = fieldsift("run", *arguments, *base, cwd=tmp_path, code=code)
        (last,) = lines_of(told.stdout)
        assert (last["event"], last["exit_code"]) == ("error", code)
        assert f"error: {last['message']}" in told.stderr


def test_a_closed_pipe_neither_stops_the_run_nor_loses_anything(tmp_path: Path) -> None:
    inbox(tmp_path, 20)
    command = [sys.executable, "-m", "pipeline", "run", "inbox", "-s", "vendor, total float"]
    command += ["-m", "local", "-o", "out", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline())["event"] == "start"
        process.stdout.close()
        told = process.stderr.read().decode()
        assert process.wait(60) == 0
    assert told.count("nobody reads stdout any more") == 1
    assert check(tmp_path / "out", [f"{each}.txt" for each in range(20)]) == []


def test_a_log_that_nobody_reads_any_more_does_not_stop_the_run(tmp_path: Path) -> None:
    inbox(tmp_path, 5)
    command = [sys.executable, "-m", "pipeline", "run", "inbox", "-s", "vendor, total float"]
    command += ["-m", "local", "-o", "out", "-v"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stderr
        process.stderr.readline()
        process.stderr.close()
        assert process.wait(60) == 0
    assert check(tmp_path / "out", [f"{each}.txt" for each in range(5)]) == []


# colours --------------------------------------------------------------------------------------


def test_colour_follows_the_option_then_the_environment_then_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def styled(color: str = "auto") -> bool:
        Output(color=color).warn("told", style="bold")
        return "\x1b[1m" in capsys.readouterr().err

    assert not styled()
    assert styled("always")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert styled()
    assert not styled("never")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not styled()
    assert styled("always")
