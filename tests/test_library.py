"""The library as people use it: five snippets, stages that compose, web handlers, notebooks, workers, developer jobs."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import pipeline
from pipeline import Document, Pipeline, Stage, aextract, extract, stage, validate
from pipeline.errors import UsageError
from pipeline.ledger.mark import Mark
from pipeline.ledger.mark import Seen as Marked
from pipeline.results import DocumentRef, Evidence, Finding, Result
from pipeline.testing import replay
from tests.answers import Answer, Seen, answer_from
from tests.conftest import ROOT
from tests.record import AGAIN, RECIPES, RECORDED, expected
from tests.server import Server


class Invoice(BaseModel):
    invoice_number: str | None
    total: Decimal | None


class Sum(BaseModel):
    vat: Decimal | None
    pages: int


@stage
def vat(document: Document, invoice: Invoice) -> Sum:
    """What a tenth of the total is."""
    total = invoice.total
    return Sum(vat=None if total is None else total / 10, pages=document.page_count)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with invoices in `inbox`, and a pipeline file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inbox").mkdir()
    for number in range(4):
        text = f"Lindner Ltd\nInvoice number: R-{number:04}\nTotal 2{number}0.00 EUR\n"
        (tmp_path / f"inbox/{number}.txt").write_text(text)
    (tmp_path / "pipeline.toml").write_text(
        '[run]\nmodel = "local"\n[[stage]]\nname = "invoice"\nschema = "invoice_number, total float"\n'
    )
    return tmp_path


def answering(seen: Seen) -> Answer:
    """What the invoice of a request says."""
    number = seen.text.partition("Invoice number: ")[2][:6]
    total = seen.text.partition("Total ")[2].partition(" EUR")[0]
    return answer_from(seen, {"": {"invoice_number": number, "total": float(total)}})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(answering) as running:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        yield running


# --- five snippets ---


def test_one_file_becomes_a_model_with_its_evidence_and_what_it_cost(
    folder: Path, server: Server
) -> None:
    r = extract("inbox/1.txt", Invoice)
    assert r.value == Invoice(invoice_number="R-0001", total=Decimal("210.00"))
    assert (r.field("/total").quote, r.field("/total").status) == ("210.00", "verified")
    assert r.cost_usd
    invoice = extract(ROOT / "fixtures/inbox/RE-2024-00482.pdf", "invoice", model="local")
    assert invoice.field("/total").box


def test_a_function_is_a_stage(folder: Path) -> None:
    run = Pipeline([Stage("invoice", Invoice), vat], model="local").run("inbox", "out")
    assert run.counts == {"valid": 8}
    assert json.loads(Path("out/vat/2.txt.json").read_text()) == {"vat": "22", "pages": 1}


def test_a_folder_with_progress(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Pipeline.load("pipeline.toml").run("inbox", output="out", on_progress=print)
    assert run.counts == {"valid": 4}
    assert run.cost_usd == 0
    assert sorted(each["data"]["total"] for each in run.to_dicts()) == [200, 210, 220, 230]
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 4
    assert told[-1].startswith("4 done (4 valid), 0.0000 USD; ")
    assert told[-1].endswith(": invoice valid")


def test_what_exists_is_validated_without_key_or_network(folder: Path) -> None:
    Pipeline.load("pipeline.toml").run("inbox", output="out")
    assert all(each.valid for each in validate("out", Invoice))
    Path("out/invoice/1.txt.json").write_text('{"invoice_number": "R-0001", "total": "a lot"}')
    [wrong] = [each for each in validate("out/invoice", Invoice) if not each.valid]
    assert (Path(wrong.path).name, wrong.findings[0].pointer) == ("1.txt.json", "/total")


def test_recorded_answers_serve_offline() -> None:
    with replay(RECORDED / "receipt"):
        r = extract(RECIPES / "receipt/inbox/gruenmarkt.pdf", "receipt")
    assert r.value == expected("receipt")["receipt"]["gruenmarkt.pdf"], AGAIN


@pytest.mark.parametrize(
    ("job", "document", "told"),
    [
        ("api_documentation", "bookings.txt", lambda data: data["path"] == "/v1/rooms/{room_id}/bookings"),
        ("request_validation", "order.txt", lambda data: [p["location"] for p in data["problems"]] == ["/items/1/quantity", "/currency", "/curency"]),
        ("response_validation", "room.txt", lambda data: data["is_breaking"]),
        ("error_messages", "upload.txt", lambda data: "tk_live" not in json.dumps(data) and "postgres" not in json.dumps(data)),
        ("test_cases", "discount.txt", lambda data: len(data["cases"]) == 9),
        ("mock_data", "suppliers.txt", lambda data: all(len(row) == len(data["columns"]) for row in data["rows"])),
    ],
)  # fmt: skip
def test_developer_jobs_are_one_call_each(job: str, document: str, told: Any) -> None:
    with replay(RECORDED / job):
        r = extract(RECIPES / job / "inbox" / document, job)
    assert told(r.value), AGAIN
    assert r.cost_usd is not None


# --- what is given, and what is refused ---


def test_pages_may_be_given_as_texts() -> None:
    pages = ["Invoice number: R-0007", "Total 12.50 EUR"]
    r = extract(pages, Invoice, model="local")
    assert (r.value.invoice_number, r.field("/total").page) == ("R-0007", 2)
    given: Any
    for given in ([b"page"], [Path("page.png")], 7):
        with pytest.raises((UsageError, AttributeError)):
            extract(given, Invoice, model="local")


def test_a_recipe_of_several_stages_is_a_pipeline() -> None:
    with pytest.raises(
        UsageError, match=r"has 3 stages \(kind, topics, email_triage\).*Pipeline.load"
    ):
        extract(b"Dear all", "email_triage")
    assert [each.name for each in Pipeline.load("email_triage").stages] == [
        "kind",
        "topics",
        "email_triage",
    ]


def test_a_recipe_takes_settings_over_its_own(folder: Path) -> None:
    document = RECIPES / "bank_statement/inbox/bank_statement.pdf"
    assert extract(document, "bank_statement", model="local").status == "invalid"
    assert extract(document, "bank_statement", model="local", validate=["iban"]).status == "valid"


# --- where it is used ---


def test_a_web_handler_serves_many_at_once(folder: Path, server: Server) -> None:
    """Threads of a server that call `extract`, each its own document, and no state between them."""
    with ThreadPoolExecutor(8) as pool:
        names = [f"inbox/{number % 4}.txt" for number in range(16)]
        found = list(pool.map(lambda name: extract(name, Invoice).value.invoice_number, names))
    assert found == [f"R-{number % 4:04}" for number in range(16)]


def test_who_opens_the_state_at_the_same_time_takes_the_mark_of_the_quicker_one(
    tmp_path: Path,
) -> None:
    """It is there whole or not at all, and the number that it holds is never set back by another."""
    Mark(tmp_path / "ledger.sqlite").make(Marked("quick", 7))
    Mark(tmp_path / "ledger.sqlite").make(Marked("slow", 2))
    assert Mark(tmp_path / "ledger.sqlite").read() == Marked("quick", 7)
    assert [path.name for path in tmp_path.glob("ledger*")] == ["ledger.sqlite.mark"]


def test_an_asynchronous_handler_serves_many_at_once(folder: Path, server: Server) -> None:
    async def serve() -> list[str]:
        given = [Path(f"inbox/{number}.txt").read_bytes() for number in range(4)]
        results = await asyncio.gather(*(aextract(content, Invoice) for content in given * 2))
        return [result.value.invoice_number for result in results]

    assert asyncio.run(serve()) == [f"R-{number:04}" for number in range(4)] * 2


def test_a_folder_run_works_inside_of_a_running_loop(folder: Path) -> None:
    """As in a notebook: the loop is there already, and the snippet is the same."""

    async def cell() -> dict[str, int]:
        return dict(Pipeline.load().run("inbox", "out").counts)

    assert asyncio.run(cell()) == {"valid": 4}


def test_a_worker_process_does_one_after_the_other(folder: Path) -> None:
    """A worker of a queue lives long: the second job has nothing of the first, and nothing is left at its end."""
    (folder / "worker.py").write_text(
        "import sys\nfrom pipeline import extract\n"
        "for name in sys.stdin:\n"
        "    print(extract(name.strip(), 'invoice_number, total float', model='local').data['invoice_number'], flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "worker.py"], input="inbox/0.txt\ninbox/3.txt\n", capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["R-0000", "R-0003"], "")


def test_what_a_notebook_shows_is_escaped_and_bounded(folder: Path) -> None:
    evil = "<script>alert(1)</script>\ud800" + "x" * 5000
    result = Result(
        DocumentRef("<img src=x onerror=alert(1)>"), "s", "invalid", data={"a": evil, "n": list(range(9999))},
        evidence=(Evidence("/a", "verified", evil, 1),), findings=(Finding("r", "/a", evil),),
    )  # fmt: skip
    shown = result._repr_html_()
    assert "<script" not in shown
    assert "<img" not in shown
    assert len(shown) < 50_000
    shown.encode()
    for number in range(60):
        Path(f"inbox/<b>{number}.txt").write_text(f"Invoice number: <i>{number}\n")
    run = Pipeline.load().run("inbox", "out")
    shown = run._repr_html_()
    assert shown.count("<tr>") == 51
    assert "<b>" not in shown
    assert "64 valid; 0.0000 USD; 14 more in out" in shown


def test_an_error_of_on_progress_ends_the_run_and_keeps_what_is_finished(folder: Path) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the bar broke")

    with pytest.raises(RuntimeError, match="the bar broke"):
        Pipeline.load().run("inbox", "out", on_progress=fail)
    assert Pipeline.load().run("inbox", "out").counts == {"valid": 4}


def test_the_public_names_are_all_there() -> None:
    assert {"Pipeline", "Stage", "aextract", "extract", "stage", "validate"} <= set(
        pipeline.__all__
    )
    assert all(getattr(pipeline, name) for name in pipeline.__all__)
