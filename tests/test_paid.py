"""Money of Results is the money of the run: what was bought for a document is told with it, once, whenever it was."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.runs import env
from tests.server import Server
from tests.test_cli import fieldsift, results
from tests.test_escalation import CHEAP, LABELS, SCHEMA, TEXT, Receipts, folder

#: The cheap model is wrong about all, so that all would go up.
WRONG = {CHEAP: {"/total": -1}}


def told(work: Path) -> Decimal:
    """What all Results say that they cost, and their attempts with them."""
    lines = [
        json.loads(line, parse_float=Decimal)
        for line in (work / "out/results.jsonl").read_text().splitlines()
    ]
    for line in lines:
        assert line["cost_usd"] == sum(each["cost_usd"] for each in line["attempts"])
    return sum((Decimal(line["cost_usd"]) for line in lines), Decimal(0))


def paid(work: Path) -> Decimal:
    """What the ledger booked."""
    run = json.loads((work / "out/run.json").read_text(), parse_float=Decimal)
    return Decimal(run["money"]["cost_usd"])


def run(work: Path, server: Server, *options: str, code: int = 1) -> dict[str, Any]:
    """The summary of a run."""
    done = fieldsift("run", "--json", *options, cwd=work, env=env(server), code=code)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_both_passes_of_a_share_are_told(tmp_path: Path) -> None:
    work = folder(tmp_path, 4, 0.25)
    with Server(Receipts(LABELS, WRONG)) as server:
        ending = run(work, server)
    (up,) = (line for line in results(work / "out").values() if line["status"] == "valid")
    assert [(each["stored"], each["cost_usd"] > 0) for each in up["attempts"]] == [
        (True, True),
        (False, True),
    ]
    assert told(work) == paid(work) > 0
    assert ending["paid_usd"] == ending["cost_usd"] == float(paid(work))


def test_what_a_budget_ended_is_told_in_full_by_the_run_that_continues(tmp_path: Path) -> None:
    """The first answers were paid by the first run, some of them before there was any line of their document."""
    work = folder(tmp_path, 3)
    with Server(Receipts(LABELS, WRONG)) as server:
        run(work, server, "--budget", "0.01", "-j", "1", code=3)
        first = paid(work)
        ending = run(work, server, "--budget", "5", code=0)
    assert told(work) == paid(work) > first > 0
    assert ending["paid_usd"] == float(paid(work) - first)
    assert any(e["stored"] for line in results(work / "out").values() for e in line["attempts"])


def test_answers_that_serve_again_cost_what_they_did(tmp_path: Path) -> None:
    work = folder(tmp_path, 2)
    with Server(Receipts(LABELS, WRONG)) as server:
        run(work, server, code=0)
        before, asked = told(work), len(server.requests)
        assert before == paid(work)
        file = work / "pipeline.toml"
        file.write_text(file.read_text().replace("repair = 0", 'repair = 0\nevidence = "required"'))
        ending = run(work, server, code=0)
        assert len(server.requests) == asked
    assert told(work) == before == paid(work)
    assert ending["paid_usd"] == 0
    assert all(e["stored"] for line in results(work / "out").values() for e in line["attempts"])


def test_an_answer_that_equal_documents_share_is_told_by_the_one_that_bought_it(
    tmp_path: Path,
) -> None:
    work = folder(tmp_path, 0)
    for name in ("a", "b", "c"):
        (work / f"inbox/{name}.txt").write_text(TEXT)
    with Server(Receipts(LABELS)) as server:
        run(work, server, code=0)
        assert len(server.requests) == 1
        before = {path: line["cost_usd"] for path, line in results(work / "out").items()}
        (work / "schema.json").write_text(json.dumps(SCHEMA, indent=2))
        file = work / "pipeline.toml"
        file.write_text(file.read_text().replace("repair = 0", "repair = 1"))
        run(work, server, code=0)
    assert sorted(cost > 0 for cost in before.values()) == [False, False, True]
    assert {path: line["cost_usd"] for path, line in results(work / "out").items()} == before
    assert told(work) == paid(work)


def test_eval_tells_the_true_sum(tmp_path: Path) -> None:
    work = folder(tmp_path, 4, 0.25)
    with Server(Receipts(LABELS, WRONG)) as server:
        run(work, server)
    (work / "gold").mkdir()
    for number in range(4):
        gold = {**LABELS, "number": f"R-{number:04}"}
        (work / f"gold/{number:02}.txt.json").write_text(json.dumps(gold))
    done = fieldsift("eval", "gold", "out", "--json", cwd=work)
    scores = json.loads(done.stdout)
    assert scores["cost"]["usd"] == float(paid(work))
