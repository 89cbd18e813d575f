"""`fieldsift status` and what to type next: told without touching anything, also beside a run and of damage."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli import main
from pipeline.cli.advice import Facts, what_next
from pipeline.errors import (
    BudgetReached,
    FieldsiftError,
    KeyRefused,
    PaymentNeeded,
    QuotaReached,
    StateError,
)
from pipeline.ledger import Ledger
from pipeline.runner import Tally, exit_code
from tests.server import Server
from tests.test_cli import fieldsift

STATUSES = (
    "valid", "skipped", "failed", "invalid", "refused", "truncated", "unreadable", "over_budget", "pending",
)  # fmt: skip


def status(output: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """Exit code and stdout of `fieldsift status`."""
    with pytest.raises(SystemExit) as ended:
        main(["status", str(output), *options])
    return int(str(ended.value.code)), capsys.readouterr().out


def told(output: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    found, stdout = status(output, capsys, "--json")
    assert found == code
    data: dict[str, Any] = json.loads(stdout)
    return data


def inbox(folder: Path) -> None:
    (folder / "inbox").mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / "inbox" / name).write_text("Vendor: ACME\nTotal: 7.00\n")
    (folder / "inbox/bad.bin").write_bytes(bytes(range(256)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run that is over."""
    folder = tmp_path_factory.mktemp("status")
    inbox(folder)
    base = ("run", "inbox", "-s", "vendor, total float", "-m", "local", "-o", "out")
    fieldsift(*base, cwd=folder, code=1)
    return folder / "out"


def content(folder: Path) -> dict[str, str]:
    """The hash of every file, by name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# what it tells --------------------------------------------------------------------------------


def test_it_tells_documents_pages_money_and_the_last_run(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = told(finished, capsys)
    assert data["counts"] == {"unreadable": 1, "valid": 2}
    assert [(each["status"], each["documents"]) for each in data["reasons"]] == [("unreadable", 1)]
    assert data["pages"] == {"found": 2, "read": 2, "not_read": 0, "documents_of_unknown_pages": 1}
    assert data["money"]["cost_usd"] == 0
    assert (data["last_run"], data["holder"], data["damaged"]) == ("finished", None, None)
    _, lines = status(finished, capsys)
    assert "2 pages: 2 read, 0 not read; of 1 documents the pages are not known" in lines
    assert lines.splitlines()[-1].startswith("  next: look into ")


def test_nothing_is_written_and_nothing_is_cut_back(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = finished / "results.jsonl"
    before = results.read_bytes()
    results.write_bytes(before + b'{"of a run that is just writing')
    try:
        files = content(finished)
        assert told(finished, capsys)["counts"] == {"unreadable": 1, "valid": 2}
        assert content(finished) == files
    finally:
        results.write_bytes(before)


def test_documents_that_are_gone_are_named_but_not_those_of_a_folder_that_is_away(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, away = finished.parent / "inbox/a.txt", finished.parent / "away"
    text = document.read_text()
    document.unlink()
    try:
        assert told(finished, capsys)["gone"] == {"documents": 1, "first": ["a.txt"]}
        document.parent.rename(away)
        assert told(finished, capsys)["gone"] == {"documents": 0, "first": []}
        away.rename(document.parent)
    finally:
        document.write_text(text)


def test_damage_is_told_as_such(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".fieldsift").mkdir()
    (tmp_path / "run.json").write_bytes((finished / "run.json").read_bytes())
    for damage in (
        b"damage" * 1000,
        b"",
        (finished / ".fieldsift/ledger.sqlite").read_bytes()[:5000],
    ):
        (tmp_path / ".fieldsift/ledger.sqlite").write_bytes(damage)
        data = told(tmp_path, capsys, code=4)
        assert "ledger.sqlite" in data["damaged"]
        assert "--rebuild" in data["next"]
        assert data["counts"] == {"unreadable": 1, "valid": 2}, "as the last run had written"


def test_beside_a_run_it_names_it_and_disturbs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox(tmp_path)
    with Server() as server:
        server.hold()
        env = os.environ | {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": server.url}
        command = [sys.executable, "-m", "pipeline", "run", "inbox", "-s", "vendor, total float"]
        command += ["-m", "gemini-3.1-flash-lite", "-o", "out", "--budget", "5USD"]
        with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL) as process:
            try:
                server.wait_for(1)
                data = told(tmp_path / "out", capsys)
                server.release()
                assert process.wait(60) == 1, "one document can't be read"
            finally:
                process.kill()
    assert data["last_run"] == "running"
    assert data["holder"].startswith(f"process {process.pid} ")
    assert data["money"]["calls_open"] == 1
    assert data["money"]["reserved_usd"] > 0
    assert data["money"]["left_usd"] < 5
    after = told(tmp_path / "out", capsys)
    assert (after["last_run"], after["money"]["calls_open"]) == ("finished", 0)
    assert after["tokens"]["input"] > 0
    assert after["money"]["booked_usd"] == after["money"]["cost_usd"] > 0


def test_money_of_answers_that_were_lost_is_told_apart(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".fieldsift").mkdir()
    (tmp_path / "run.json").write_bytes((finished / "run.json").read_bytes())
    ledger = Ledger(tmp_path / ".fieldsift")

    async def work() -> None:
        for number, state in enumerate(("paid", "unknown", "free")):
            call = await ledger.reserve(f"k{number}", 0, 1, "e", 10**10)
            await ledger.book(call, 0 if state == "free" else 10**10, state)

    asyncio.run(work())
    ledger.close()
    money = told(tmp_path, capsys)["money"]
    assert (money["calls"], money["calls_open"]) == (2, 1)
    assert (money["booked_usd"], money["reserved_usd"], money["cost_usd"]) == (0.01, 0.01, 0.02)


# what to type next ----------------------------------------------------------------------------


def advice(
    counts: dict[str, int], reasons: list[tuple[str, str, int]] | None = None, **more: Any
) -> str:
    return what_next(Facts("out", counts, reasons or [], **more))


def test_what_to_type_next_fits_what_is_wrong() -> None:
    ocr = "reading words on pictures needs pip install 'fieldsift[local]'"
    assert advice({"valid": 3}) == "fieldsift validate out"
    assert "--retry failed,invalid" in advice({"failed": 1, "invalid": 2, "unreadable": 1})
    assert "--retry" not in advice({"invalid": 2}, engine="local"), "it would say the same again"
    rows = [("failed", "doubled_id", 2), ("failed", "no_id", 1)]
    assert "--retry" not in advice({"failed": 3}, rows), "only the file can be mended"
    assert "--retry failed" in advice({"failed": 4}, rows)
    assert advice({"unreadable": 1}, [("unreadable", "needs_ocr", 1)], messages=[ocr]) == (
        "pip install 'fieldsift[local]'; then the same command with --retry unreadable"
    )
    assert "higher --budget" in advice({"over_budget": 1}, [("over_budget", "budget", 1)])
    quota = advice({"over_budget": 1}, [("over_budget", "quota", 1)], messages=["wait 9 hours"])
    assert "wait 9 hours" in quota
    assert "--budget" not in quota
    assert advice({"valid": 1}, ended=False) == "the same command continues"
    for why in ("budget", "quota"):  # of a run before, perhaps under other settings
        told = advice({"over_budget": 1}, [("over_budget", why, 1)], ended=False, cut=True)
        assert told == "the same command continues"
    assert "faults.log" in advice({"failed": 1}, fault="out/.fieldsift/faults.log")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(STATUSES), st.integers(1, 9)), st.booleans(), st.sampled_from(["local", "m"]))  # fmt: skip
def test_there_is_always_something_to_type_and_never_a_retry_of_what_is_well(
    counts: dict[str, int], ended: bool, engine: str
) -> None:
    told = advice(counts, ended=ended, engine=engine)
    assert told
    asked = told.partition("--retry ")[2]
    assert all(status in counts for status in filter(None, asked.split(",")))


# exit codes -----------------------------------------------------------------------------------

ENDS: list[FieldsiftError | None] = [
    None,
    BudgetReached("b"),
    QuotaReached("q"),
    PaymentNeeded("p"),
]
ERRORS: list[FieldsiftError | None] = [None, KeyRefused("k"), StateError("s"), FieldsiftError("f")]


@settings(deadline=None)
@given(
    st.sets(st.sampled_from(STATUSES)),
    st.sets(st.sampled_from(STATUSES)),
    st.sampled_from(ENDS),
    st.sampled_from(ERRORS),
    st.booleans(),
    st.booleans(),
)
def test_exit_codes_follow_the_table_and_its_precedence(
    lines: set[str],
    now: set[str],
    stopped: FieldsiftError | None,
    error: FieldsiftError | None,
    interrupted: bool,
    fault: bool,
) -> None:
    tally = Tally(
        statuses=dict.fromkeys(now, 1),
        stopped=stopped,
        interrupted=interrupted,
        fault_log=Path("faults.log") if fault else None,
    )
    seen = lines | now
    holds = {
        130: interrupted,
        70: fault or type(error) is FieldsiftError,
        4: isinstance(error, KeyRefused | StateError),
        3: stopped is not None or bool(seen & {"over_budget", "pending"}),
        1: bool(seen & {"failed", "invalid", "refused", "truncated", "unreadable"}),
        0: True,
    }
    expected = next(code for code, is_so in holds.items() if is_so)
    assert exit_code(dict.fromkeys(lines, 1), tally, error) == expected


# the other commands' output -------------------------------------------------------------------


def test_init_and_show_parts_speak_json_too(tmp_path: Path) -> None:
    made = json.loads(fieldsift("init", "demo", "--json", cwd=tmp_path).stdout)
    assert all((tmp_path / "demo" / name).exists() for name in made["files"])
    assert made["next"] == "cd demo && fieldsift run"
    document = next(name for name in made["files"] if name.endswith(".pdf"))
    shown = fieldsift(
        "extract", f"demo/{document}", "-s", "vendor, total float", "--show-parts", "--json", cwd=tmp_path
    )  # fmt: skip
    (parts,) = [json.loads(line) for line in shown.stdout.splitlines()]
    assert parts["media_type"] == "application/pdf"
    assert parts["pages"] == len(parts["page_texts"])


def test_extract_tells_more_when_asked_to(tmp_path: Path) -> None:
    inbox(tmp_path)
    command = ("extract", "inbox/a.txt", "-s", "vendor, total float", "-m", "local")
    quiet, loud = fieldsift(*command, cwd=tmp_path), fieldsift(*command, "-v", cwd=tmp_path)
    assert quiet.stdout == loud.stdout, "data is data"
    assert "/total" not in quiet.stderr
    assert "/total: verified on page 1: '7.00'" in loud.stderr
    assert "1 of 1 pages read" in loud.stderr


# runs that stopped ----------------------------------------------------------------------------


def test_it_says_why_a_run_stopped_and_counts_what_it_worked_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A budget that is too small is named; documents that were finished before are no part of the rate."""
    inbox(tmp_path)
    with Server() as server:
        env = {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": server.url}
        command = ("run", "inbox", "-s", "vendor, total float", "-m", "gemini-3.1-flash-lite")
        fieldsift(*command, "-o", "out", "--budget", "0.001", cwd=tmp_path, env=env, code=3)
        data = told(tmp_path / "out", capsys)
        assert data["stopped"].startswith("budget 0.001 USD")
        assert "and was stopped: budget 0.001 USD" in status(tmp_path / "out", capsys)[1]
        assert "higher --budget" in data["next"]
        fieldsift(*command, "-o", "out", "--budget", "5", cwd=tmp_path, env=env, code=1)
        again = fieldsift(*command, "-o", "out", "--budget", "5", cwd=tmp_path, env=env, code=1)
    assert "paid_usd=0.0000" in again.stderr
    data = told(tmp_path / "out", capsys)
    assert (data["stopped"], data["last_run"]) == (None, "finished")
    assert "a minute" not in status(tmp_path / "out", capsys)[1]


def test_results_without_their_ledger_are_not_paid_again_in_silence(tmp_path: Path) -> None:
    """--state was forgotten, or a copy left the dot folder behind: it is refused, and nothing is sent."""
    inbox(tmp_path)
    with Server() as server:
        env = {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": server.url}
        command = ("run", "inbox", "-s", "vendor, total float", "-o", "out")
        fieldsift(*command, "--state", "state", cwd=tmp_path, env=env, code=1)
        before = (tmp_path / "out/results.jsonl").read_bytes()
        told = fieldsift(*command, cwd=tmp_path, env=env, code=4).stderr
        assert "knows nothing of. If it lies elsewhere, name it with --state DIR" in told
        assert (tmp_path / "out/results.jsonl").read_bytes() == before
        fieldsift(*command, "--state", "state", cwd=tmp_path, env=env, code=1)
        assert len(server.billed) == 1, "two equal documents are one question"
