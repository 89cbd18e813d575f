"""The library in the places where it is used: a bare script, a running loop, a notebook, users' tests."""

import asyncio
import io
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from pipeline import Pipeline, Stage, aextract, extract, validate
from pipeline.config import cache_folder
from pipeline.errors import KeyRefused, LoadError, NotRecorded, UsageError
from pipeline.eyes import Eyes, Seen
from pipeline.ledger.versions import proof, proving
from pipeline.testing import replay
from tests.answers import answer_from, key_invalid
from tests.server import Server

TEXT = "ACME Ltd\nReceipt No: R-0042\nTotal 12.50 EUR\n"


class Receipt(BaseModel):
    receipt_number: str | None
    total: Decimal | None

    @field_validator("total")
    @classmethod
    def not_negative(cls, value: Decimal | None) -> Decimal | None:
        if value is not None and value < 0:
            raise ValueError("a total is not negative")
        return value


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "receipt.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(answers={"R-0042": {"receipt_number": "R-0042", "total": 12.5}}) as running:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        yield running
        assert running.violations == []


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "file"])
def test_one_document_becomes_an_instance_of_the_model(document: Path, kind: str) -> None:
    given: Any = {
        "path": document,
        "text": str(document),
        "bytes": TEXT.encode(),
        "file": io.BytesIO(TEXT.encode()),
    }[kind]
    result = extract(given, Receipt, model="local")
    assert result.status == "valid"
    assert result.value == Receipt(receipt_number="R-0042", total=Decimal("12.50"))
    assert result.field("/total").quote == "12.50"
    assert result.cost_usd == 0


def test_gemini_answers_and_the_answer_is_kept_for_the_next_time(
    document: Path, server: Server
) -> None:
    first = extract(document, Receipt)
    assert first.value.total == Decimal("12.5")
    assert first.cost_usd is not None
    assert first.cost_usd > 0
    second = extract(document, Receipt)
    assert second.value == first.value
    assert len(server.billed) == 1
    assert second.attempts[0].stored


def test_a_page_that_can_not_be_looked_at_after_the_answer_does_not_hide_what_it_cost(
    document: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(*_: Any) -> Seen:
        await asyncio.to_thread(server.wait_for, 1)
        raise LoadError("damaged", "page 1 can't be drawn")

    monkeypatch.setattr(Eyes, "look", look)
    result = extract(document, Receipt)
    assert (result.status, result.reason) == ("unreadable", "damaged")
    assert len(server.billed) == len(result.attempts) == 1
    assert result.cost_usd


def test_what_a_killed_call_cost_makes_no_room_in_another_calls_budget(
    document: Path, server: Server
) -> None:
    """The user's cache is shared: a reservation that is settled there is not money of this call."""
    first = extract(document, Receipt)
    with sqlite3.connect(cache_folder() / "ledger.sqlite") as ledger:
        ledger.create_function("proof", -1, proof, deterministic=True)
        ledger.execute("update calls set state = 'sent', cost = null, reserved = ?", (10**12,))
        ledger.execute(f"update calls set proof = {proving('calls')}")
    ledger.close()
    other = document.with_name("other.txt")
    other.write_text(TEXT + "Another one\n")
    stopped = extract(other, Receipt, budget="0.000001")
    assert stopped.status == "over_budget"
    assert len(server.billed) == 1
    assert first.status == "valid"


def test_an_error_of_the_model_class_is_a_finding(document: Path, server: Server) -> None:
    server.reply = lambda seen: answer_from(
        seen, {"R-0042": {"receipt_number": "R-0042", "total": -1}}
    )
    result = extract(document, Receipt)
    assert result.status == "invalid"
    assert any(
        "not negative" in finding.message and finding.pointer == "/total"
        for finding in result.findings
    )
    with pytest.raises(ValueError, match="not negative"):
        _ = result.value


def test_inside_a_running_event_loop_both_faces_work(document: Path) -> None:
    async def handler() -> None:
        assert extract(document, Receipt, model="local").value.total == Decimal("12.50")
        assert (await aextract(document, Receipt, model="local")).value.receipt_number == "R-0042"

    asyncio.run(handler())


def test_a_bare_three_line_script_without_a_main_guard(document: Path) -> None:
    script = document.with_name("script.py")
    script.write_text(
        f"from pipeline import extract\nresult = extract({str(document)!r}, 'receipt_number, total float', model='local')\nprint(result.data)\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "{'receipt_number': 'R-0042', 'total': 12.5}\n"


def test_a_notebook_kernel(document: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    code = f"from pipeline import extract\nresult = extract({str(document)!r}, 'receipt_number, total float', model='local')\nresult.data"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    assert "12.5" in notebook.cells[0].outputs[0]["data"]["text/plain"]


def test_a_folder_with_stages_made_in_code(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(3):
        (inbox / f"{number}.txt").write_text(TEXT.replace("0042", f"{number:04}"))
    pipeline = Pipeline([Stage("receipt", schema=Receipt)], model="local")
    run = pipeline.run(inbox, tmp_path / "out")
    assert (run.exit_code, run.counts, run.engine) == (0, {"valid": 3}, "local")
    assert sorted(result.data["receipt_number"] for result in run) == ["R-0000", "R-0001", "R-0002"]
    assert all(checked.valid for checked in validate(tmp_path / "out"))
    assert pipeline.run(inbox, tmp_path / "out").unchanged == 3


def test_a_run_without_an_output_folder_ends_before_anything_is_sent(
    document: Path, server: Server
) -> None:
    with pytest.raises(UsageError, match=r'run\(inputs, output="out"\)'):
        Pipeline(Stage("receipt", schema=Receipt)).run([document])
    assert server.requests == []


def test_results_come_one_by_one_while_the_run_goes_on(tmp_path: Path, document: Path) -> None:
    async def work() -> list[str]:
        pipeline = Pipeline(Stage("receipt", schema=Receipt), model="local")
        return [result.status async for result in pipeline.arun([document], tmp_path / "out")]

    assert asyncio.run(work()) == ["valid"]


def test_a_pipeline_file_is_the_same_job(tmp_path: Path, document: Path) -> None:
    (tmp_path / "pipeline.toml").write_text(
        f'[run]\ninput = "{document.name}"\noutput = "out"\nmodel = "local"\n[[stage]]\nname = "r"\nschema = "receipt_number, total float"\n'
    )
    run = Pipeline.load(tmp_path / "pipeline.toml").run()
    assert run.counts == {"valid": 1}


def test_replay_answers_from_a_recording_and_nothing_else(
    tmp_path: Path, document: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage("receipt", schema=Receipt)
    Pipeline(stage).run([document], tmp_path / "out", record=tmp_path / "recorded")
    monkeypatch.delenv("GEMINI_API_KEY")
    with replay(tmp_path / "recorded"):
        assert extract(document, Receipt).value.total == Decimal("12.5")
        with pytest.raises(NotRecorded, match="the nearest differs in"):
            extract(b"another document", Receipt)
        with pytest.raises(NotRecorded, match="/settings/thinking"):
            extract(document, Receipt, thinking="low")
    assert len(server.billed) == 1
    with pytest.raises(UsageError, match="make one with --record"), replay(tmp_path / "nowhere"):
        pass


def test_what_ends_a_run_is_raised_and_what_costs_one_document_is_not(
    document: Path, server: Server, fixtures: Path
) -> None:
    server.reply = lambda seen: key_invalid()
    with pytest.raises(KeyRefused, match="GEMINI_API_KEY"):
        extract(document, Receipt)
    with pytest.raises(UsageError, match="no such file"):
        extract("missing.pdf", Receipt)
    with pytest.raises(UsageError, match="unknown setting"):
        extract(document, Receipt, modle="local")
    broken = next(
        path for path in sorted((fixtures / "broken").iterdir()) if path.stat().st_size == 0
    )
    result = extract(broken, Receipt, model="local")
    assert (result.status, result.reason, result.stage) == ("unreadable", "empty", None)


def test_the_files_of_the_cache_are_for_the_user_alone(
    document: Path, server: Server, tmp_path: Path
) -> None:
    extract(document, Receipt)
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_tools_are_allowed_in_code_as_they_are_in_the_file(
    document: Path, tmp_path: Path, server: Server
) -> None:
    def rate(currency: str) -> float:
        """The rate of a currency."""
        return 1.0 if currency else 0.0

    stage = Stage("receipt", schema=Receipt, tools=[rate])
    with pytest.raises(UsageError, match="allow_tools_on_untrusted=True"):
        Pipeline(stage).run(document, tmp_path / "out")
    assert Pipeline(stage, allow_tools_on_untrusted=True).run(document, tmp_path / "out").counts
    assert extract(document, Receipt, tools=[rate], allow_tools_on_untrusted=True).value
    assert "functionDeclarations" in str(server.requests[0].body)
