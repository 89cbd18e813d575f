"""A run over rows: one line of data each, in their order; only what is new costs; killed at any moment nothing is lost."""

import io
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline import Pipeline, Result, Stage, validate
from pipeline.cli.status import gathered
from pipeline.document import Document
from pipeline.errors import NoInput, UsageError
from pipeline.rows import Columns, Piped
from tests.accounts import check
from tests.answers import Answer, Seen, answer_from
from tests.runs import KEY, env, started, truth
from tests.server import Server
from tests.test_cli import fieldsift, results

FIELDS = "number, total float"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(truth, is_strict=False) as made:
        monkeypatch.setenv("GEMINI_API_KEY", KEY)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", made.url)
        yield made


def ticket(number: int, cents: int = 50, **more: Any) -> dict[str, Any]:
    body = f"Receipt No: R-{number:04}\nTotal {number}.{cents:02} EUR"
    return {"id": f"t{number}", "body": body, **more}


def tickets(folder: Path, *rows: dict[str, Any] | str, name: str = "tickets.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    told = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / name).write_text("".join(f"{row}\n" for row in told))
    return folder


def go(inbox: Path, stage: Stage | None = None, id_field: str | None = "id", **options: Any) -> int:
    """Run over the inbox into `out` beside it; the exit code."""
    made = Pipeline(stage or Stage("tag", FIELDS, pack=1), text_field="body", id_field=id_field)
    return made.run(inbox, inbox.parent / "out", **options).exit_code


def kept(inbox: Path, name: str = "tag/tickets.jsonl") -> dict[str, Any]:
    """The lines of a data file, in their order."""
    lines = (inbox.parent / "out" / name).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert len({each["document"] for each in found}) == len(found)
    return {each["document"].partition("#")[2]: each["data"]["number"] for each in found}


def test_rows_are_worked_on_once_and_told_in_their_order(tmp_path: Path, server: Server) -> None:
    """Rows that are appended, put before the others, or changed cost what they cost; a touched file costs nothing."""
    rows = [ticket(n) for n in range(30)]
    inbox = tickets(tmp_path / "in", *rows)
    assert go(inbox) == 0
    assert list(kept(inbox)) == [f"t{n}" for n in range(30)]
    assert check(tmp_path / "out", [f"tickets.jsonl#t{n}" for n in range(30)]) == []
    os.utime(inbox / "tickets.jsonl")
    before = (tmp_path / "out/tag/tickets.jsonl").stat().st_mtime_ns
    assert go(inbox) == 0
    assert (tmp_path / "out/tag/tickets.jsonl").stat().st_mtime_ns == before, "nothing changed"
    assert len(server.requests) == 30
    tickets(inbox, ticket(77), *rows[:5], ticket(5, 99), *rows[6:], ticket(78))
    assert go(inbox) == 0
    assert len(server.requests) == 33
    assert list(kept(inbox)) == ["t77", *(f"t{n}" for n in range(30)), "t78"]
    (tmp_path / "out/tag/tickets.jsonl").unlink()
    assert go(inbox) == 0
    assert len(kept(inbox)) == 32
    assert len(server.requests) == 33, "what is stored is written again"


def test_what_does_not_pass_lies_apart_and_bad_rows_have_their_line(
    tmp_path: Path, server: Server
) -> None:
    def answer(seen: Seen) -> Answer:
        told = truth(seen)
        return (
            answer_from(seen, {"R-0001": {"number": 5, "total": "?"}})
            if "R-0001" in seen.text
            else told
        )

    server.reply = answer
    rows: list[dict[str, Any] | str] = [
        ticket(0),
        ticket(1),
        "no json",
        ticket(0),
        ticket(2, lang="de"),
    ]
    inbox = tickets(tmp_path / "in", *rows)
    assert go(inbox, Stage("tag", FIELDS, repair=0, pack=1)) == 1
    assert list(kept(inbox)) == ["t0", "t2"]
    assert list(kept(inbox, "rejected/tag/tickets.jsonl")) == ["t1"]
    told = {
        path: (line["status"], line["reason"]) for path, line in results(tmp_path / "out").items()
    }
    assert told["tickets.jsonl##3"] == ("unreadable", "not_json")
    assert told["tickets.jsonl#t0#4"] == ("failed", "doubled_id")
    assert check(tmp_path / "out") == []
    server.reply = truth
    tickets(inbox, ticket(0), ticket(1), ticket(3))
    assert go(inbox, Stage("tag", FIELDS, repair=0, pack=1), retry=["invalid"], prune=True) == 0
    assert list(kept(inbox)) == ["t0", "t1", "t3"]
    assert not (tmp_path / "out/rejected").exists()
    assert check(tmp_path / "out", [f"tickets.jsonl#t{n}" for n in (0, 1, 3)]) == []


def test_columns_decide_and_are_shown(tmp_path: Path, server: Server) -> None:
    """`row` is what the other columns say: stages read it as they read earlier stages."""
    rows = [ticket(0, lang="de"), ticket(1, lang="en")]
    inbox = tickets(tmp_path / "in", *rows)
    seen: list[Result] = []
    stage = Stage("tag", FIELDS, when="row.lang == 'de'", inputs=["document", "row.lang"])
    made = Pipeline(stage, text_field="body")
    made.run(inbox, tmp_path / "out")
    seen += made.run(inbox, tmp_path / "out")
    assert {each.document.path: each.status for each in seen} == {
        "tickets.jsonl#1": "valid",
        "tickets.jsonl#2": "skipped",
    }
    assert len(server.requests) == 1
    assert '"de"' in json.dumps(server.requests[0].body).replace("\\", "")


def test_a_column_that_is_not_sent_buys_no_answer(tmp_path: Path, server: Server) -> None:
    """The text is the question; what stands in other columns is seen anew by conditions and functions alone."""

    def owner(document: Document) -> dict[str, str]:
        return {"owner": str((document.row or {}).get("owner"))}

    stages = [Stage("tag", FIELDS, pack=1), Stage("who", task="python", function=owner)]
    made = Pipeline(stages, text_field="body")
    inbox = tmp_path / "in"
    for name in ("ann", "bob"):
        tickets(inbox, *(ticket(n, owner=name) for n in range(2)))
        made.run(inbox, tmp_path / "out")
        lines = (tmp_path / "out/who/tickets.jsonl").read_text().splitlines()
        assert [json.loads(line)["data"]["owner"] for line in lines] == [name] * 2
    assert len(server.requests) == 2
    judged = validate(tmp_path / "out", sources=inbox)
    assert [each.findings for each in judged] == [()] * 4
    assert sum(each.evidence_checked is True for each in judged) == 2


def test_a_table_has_its_lines_beside_other_documents(tmp_path: Path, server: Server) -> None:
    inbox = tickets(tmp_path / "in", ticket(0))
    (inbox / "a").mkdir()
    (inbox / "a/t.csv").write_text('id;body\nx;"Receipt No: R-0007\nTotal 7.50 EUR"\n')
    (inbox / "z.txt").write_text("Receipt No: R-0008\nTotal 8.50 EUR")
    assert go(inbox) == 0
    assert kept(inbox, "tag/a/t.csv.jsonl") == {"x": "R-0007"}
    assert json.loads((tmp_path / "out/tag/z.txt.json").read_text())["number"] == "R-0008"
    assert check(tmp_path / "out", ["tickets.jsonl#t0", "a/t.csv#x", "z.txt"]) == []


def test_rows_are_judged_again_by_the_row_and_the_line(tmp_path: Path, server: Server) -> None:
    inbox = tickets(tmp_path / "in", *(ticket(n) for n in range(3)))
    assert go(inbox) == 0
    assert gathered(tmp_path / "out", tmp_path / "out/.fieldsift")["gone"]["documents"] == 0
    good = validate(tmp_path / "out", sources=inbox)
    assert [(each.evidence_checked, each.findings) for each in good] == [(True, ())] * 3
    lines = (tmp_path / "out/tag/tickets.jsonl").read_text().splitlines()
    changed = lines[1].replace("R-0001", "R-0009")
    (tmp_path / "out/tag/tickets.jsonl").write_text(f'{lines[0]}\n{changed}\n{{"document": "x"}}\n')
    told = {
        (each.path.rpartition("/")[2], finding.rule)
        for each in validate(tmp_path / "out", sources=inbox)
        for finding in each.findings
    }
    assert told == {
        ("tickets.jsonl#t1", "changed"),
        ("tickets.jsonl#t1", "evidence_not_found"),
        ("tickets.jsonl#t2", "no_data"),
        ("tickets.jsonl", "no_result"),
    }


def test_rows_of_a_file_that_could_not_be_read_are_not_gone(tmp_path: Path, server: Server) -> None:
    """Neither a wrong column nor an open quote costs results, not even where gone ones are pruned; and mended is mended."""
    del server
    told = (f't{n},"{ticket(n)["body"]}"\n' for n in range(4))
    whole = "".join(["id,body\n", *told])
    inbox = tickets(tmp_path / "in", whole.strip(), name="a.csv")
    out = tmp_path / "out"

    def _lines(text: str, column: str = "body", **options: Any) -> tuple[int, list[str]]:
        (inbox / "a.csv").write_text(text)
        made = Pipeline(Stage("tag", FIELDS, pack=1), text_field=column, id_field="id")
        code = made.run(inbox, out, **options).exit_code
        return code, sorted(results(out))

    rows = [f"a.csv#t{n}" for n in range(4)]
    assert _lines(whole) == (0, rows)
    assert _lines(whole, "boddy", prune=True) == (1, ["a.csv", *rows])
    assert len(kept(inbox, "tag/a.csv.jsonl")) == 4
    assert _lines(whole) == (0, rows)
    assert _lines(f"{whole[:-2]}\n", prune=True) == (1, ["a.csv##4", "a.csv##5", *rows])
    with pytest.raises(NoInput):  # and nothing is pruned
        _lines("", prune=True)
    assert len(kept(inbox, "tag/a.csv.jsonl")) == 4
    assert _lines(whole, prune=True) == (0, rows)
    assert _lines(whole.replace("t1,", "t9,"), prune=True) == (0, [rows[0], *rows[2:], "a.csv#t9"])


def test_rows_that_their_file_has_no_more_are_left_out(tmp_path: Path, server: Server) -> None:
    """Deleted or named anew, they are no longer in the shared data file; not where only a part of the input was listed."""
    del server
    inbox, out = tickets(tmp_path / "in", *map(ticket, range(3))), tmp_path / "out"
    assert go(inbox, id_field=None) == 0
    tickets(inbox, *map(ticket, range(2)))
    assert go(inbox, id_field=None, partial=True) == 0
    assert go(inbox, id_field=None, stages=["tag"]) == 0
    assert list(kept(inbox)) == ["1", "2", "3"]
    assert go(inbox, id_field=None) == 0
    assert list(kept(inbox)) == ["1", "2"]
    checked = validate(out, sources=inbox)
    assert all(each.valid for each in checked)
    assert [finding.rule for each in checked for finding in each.findings] == ["gone"]
    assert go(inbox) == 0
    assert list(kept(inbox)) == ["t0", "t1"]
    assert go(inbox, id_field=None) == 0
    assert list(kept(inbox)) == ["1", "2"]


def test_translated_columns_are_held_to_the_row_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a translation keeps is checked again, whatever the id looks like; it is told where it can't be."""

    def _reply(seen: Seen) -> Answer:
        return answer_from(seen, {"": {"texts": [{"key": "t1", "text": "Price 5 EUR"}]}})

    inbox = tickets(tmp_path / "in", {"id": "pages=1", "body": "x", "told": "Preis 5 EUR"})
    with Server(_reply, is_strict=False) as made:
        monkeypatch.setenv("GEMINI_API_KEY", KEY)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", made.url)
        stage = Stage(
            "en", task="translate", fields=["row.told"], to="en", keep=["numbers"], pack=1
        )
        assert go(inbox, stage) == 0
    file = tmp_path / "out/en/tickets.jsonl"
    file.write_text(file.read_text().replace("Price 5", "Price 9"))

    def _found() -> tuple[set[str], bool | None]:
        (checked,) = validate(tmp_path / "out", sources=inbox)
        return {finding.rule for finding in checked.findings}, checked.evidence_checked

    assert _found() == ({"changed", "keep_numbers"}, None)
    (inbox / "tickets.jsonl").unlink()
    assert _found() == ({"changed"}, False)


def test_gold_of_rows_is_what_a_data_file_looks_like(tmp_path: Path, server: Server) -> None:
    inbox = tickets(tmp_path / "in", *(ticket(n) for n in range(3)))
    assert go(inbox) == 0
    gold = tmp_path / "gold.jsonl"
    gold.write_bytes((tmp_path / "out/tag/tickets.jsonl").read_bytes())
    fieldsift("eval", "gold.jsonl", "out", "--fail-under", "1", cwd=tmp_path)


def test_names_and_rows_come_in_by_a_pipe(tmp_path: Path, server: Server) -> None:
    inbox = tickets(tmp_path / "in", ticket(0), ticket(1))
    (inbox / "z.txt").write_text("Receipt No: R-0008\nTotal 8.50 EUR")
    command = ("run", "-", "-s", FIELDS, "--text-field", "body", "--id-field", "id", "-o")
    listed = "in/tickets.jsonl\0./in/z.txt\0in/z.txt\0"
    fieldsift(*command, "out", cwd=tmp_path, stdin=listed.encode(), env=env(server))
    assert sorted(results(tmp_path / "out")) == [
        "in/tickets.jsonl#t0",
        "in/tickets.jsonl#t1",
        "in/z.txt",
    ]
    rows = (inbox / "tickets.jsonl").read_text()
    for _ in range(2):
        fieldsift(*command, "piped", cwd=tmp_path, stdin=rows.encode(), env=env(server))
    assert sorted(results(tmp_path / "piped")) == ["stdin.jsonl#t0", "stdin.jsonl#t1"]
    lines = (tmp_path / "piped/extract/stdin.jsonl").read_text().splitlines()
    assert len(lines) == 2
    fieldsift(*command, "none", cwd=tmp_path, stdin=b"", env=env(server), code=5)


def test_a_table_in_a_pipe_needs_its_text_field(tmp_path: Path) -> None:
    """Its lines are no names of files that are missing."""
    table = b"id,body\n1,a\n2,b\n"
    with pytest.raises(UsageError, match="with --text-field"):
        piped(table)
    with pytest.raises(UsageError, match="no column text; it has id, body"):
        piped(table, "text")
    assert len(piped(table, "body")) == 2
    (tmp_path / "there.txt").write_text("x")
    names = ["no,such.txt", str(tmp_path / "there.txt")]
    assert piped("\n".join(names).encode()) == names


def piped(content: bytes, text_field: str | None = None) -> list[str]:
    made = Piped(io.BytesIO(content))
    with closing(made._file):
        return [each.path for each in made.sources(Columns(text_field))]


def test_a_run_over_rows_can_be_killed_at_any_moment(tmp_path: Path, server: Server) -> None:
    killed(tmp_path, server, kills=2)


@pytest.mark.long
def test_a_run_over_rows_can_be_killed_a_hundred_times(tmp_path: Path, server: Server) -> None:
    killed(tmp_path, server, kills=100)


def killed(work: Path, server: Server, kills: int) -> None:
    """Kill runs over a file that grows; the last one comes to its end: every row once, in order, none lost."""
    jobs, count = 4, 120
    fields = ("--text-field", "body", "--id-field", "id")
    command = ("run", "in", "-s", FIELDS, "-o", "out", "-j", str(jobs), *fields)
    chance = random.Random(kills)
    for number in range(kills):
        rows = [ticket(n) for n in range(count * (number + 1) // kills)]
        tickets(work / "in", *reversed(rows) if number % 2 else rows)
        begun, aim = server.delivered, chance.randrange(len(rows) // (number + 1) + 1)
        with started(work, env(server), arguments=command) as client:
            while server.delivered - begun < aim and client.process.poll() is None:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))  # the random moment itself
            with suppress(ProcessLookupError):
                os.killpg(client.process.pid, signal.SIGKILL)
            client.process.wait()
        server.wait_for_silence()
    fieldsift(*command, cwd=work, env=env(server))
    names = [f"t{n}" for n in range(count)]
    found = kept(work / "in", "extract/tickets.jsonl")
    assert list(found) == (names[::-1] if kills % 2 == 0 else names)
    assert found == {f"t{n}": f"R-{n:04}" for n in range(count)}
    assert check(work / "out", [f"tickets.jsonl#{name}" for name in names]) == []
    assert sum(n - 1 for n in server.paid_twice().values()) <= kills * jobs


@pytest.mark.parametrize("named", ["tickets.jsonl", "*.jsonl"])
def test_documents_that_the_pipeline_file_names_are_named_so_wherever_the_run_starts(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """And they are found again to check their evidence."""
    tickets(tmp_path, ticket(1))
    text = f'[run]\ninput = "{named}"\noutput = "out"\ntext_field = "body"\n[[stage]]\nname = "tag"\nschema = "{FIELDS}"\n'
    (tmp_path / "pipeline.toml").write_text(text)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    for here in (tmp_path / "below", tmp_path):
        monkeypatch.chdir(here)
        assert Pipeline.load(tmp_path / "pipeline.toml").run().exit_code == 0
        assert list(kept(tmp_path / "in")) == ["1"]
        assert all(each.valid and not each.findings for each in validate(tmp_path / "out"))
    assert len(server.requests) == 1
