"""The installed command: its streams, exit codes and sentences, on real files."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).with_name("fieldsift")
#: The same command on a machine where the extra `local` was never installed.
BLIND = (
    "import sys; sys.modules['rapidocr'] = None; sys.argv[0] = 'fieldsift'\n"
    "from pipeline.cli import main; main()"
)
INVOICE = """\
ACME Tools Ltd
12 Mill Lane, Leeds LS1 4AB

Invoice No: INV-2024-0042
Invoice date: 5 March 2024

Subtotal        1,000.00 GBP
VAT 20 %          200.00 GBP
Total           1,200.00 GBP
"""


def fieldsift(
    *arguments: str | Path,
    cwd: Path,
    code: int | None = 0,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    blind: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run the installed command as a user would; `code` is the exit code that is expected."""
    command = [sys.executable, "-c", BLIND] if blind else [str(COMMAND)]
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")} | dict(
        env or {}
    )
    done = subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )
    told = subprocess.CompletedProcess[str](
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )
    assert "Traceback" not in told.stderr, told.stderr
    if code is not None:
        assert told.returncode == code, (told.returncode, told.stderr)
    return told


def results(output: Path) -> dict[str, dict[str, Any]]:
    """The lines of results.jsonl by document; each stands there once."""
    lines = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    by_document = {f"{line['document']['path']}": line for line in lines}
    assert len(by_document) == len(lines)
    return by_document


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "inbox/acme").mkdir(parents=True)
    (folder / "inbox/a.txt").write_text(INVOICE)
    (folder / "inbox/acme/b.txt").write_text(INVOICE.replace("0042", "0043"))
    return folder


def test_a_folder_becomes_data_files_results_and_a_summary(work: Path) -> None:
    told = fieldsift(
        "run", "inbox", "-s", "invoice_number, total float", "-m", "local", "-o", "out", cwd=work
    )
    data = json.loads((work / "out/extract/acme/b.txt.json").read_text())
    assert data == {"invoice_number": "INV-2024-0043", "total": 1200}
    line = results(work / "out")["acme/b.txt"]
    assert line["status"] == "valid"
    assert {each["pointer"]: (each["status"], each["quote"]) for each in line["evidence"]} == {
        "/invoice_number": ("verified", "INV-2024-0043"),
        "/total": ("verified", "1,200.00"),
    }
    summary = json.loads((work / "out/run.json").read_text())
    assert summary["counts"] == {"valid": 2}
    assert summary["finished"]
    assert told.stdout == ""
    assert told.stderr.splitlines()[-1].startswith("run end valid=2")
    assert "engine=local" in told.stderr.splitlines()[-1]
    assert "exit=0" in told.stderr


def test_the_same_command_again_opens_no_finished_file(work: Path) -> None:
    arguments = ("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out")
    fieldsift(*arguments, cwd=work)
    before = (work / "out/results.jsonl").read_bytes()
    (work / "inbox/a.txt").chmod(0)
    again = fieldsift(*arguments, cwd=work)
    assert "unchanged=2" in again.stderr
    assert (work / "out/results.jsonl").read_bytes() == before


def test_a_changed_file_is_done_again_and_leaves_one_line(work: Path) -> None:
    arguments = ("run", "inbox", "-s", "invoice_number, total float", "-m", "local", "-o", "out")
    fieldsift(*arguments, cwd=work)
    (work / "inbox/a.txt").write_text(INVOICE.replace("0042", "0099"))
    told = fieldsift(*arguments, cwd=work)
    assert "unchanged=1" in told.stderr
    assert results(work / "out")["a.txt"]["data"] == {
        "invoice_number": "INV-2024-0099",
        "total": 1200,
    }


def test_broken_and_unknown_files_each_have_a_line_and_the_run_goes_on(work: Path) -> None:
    (work / "inbox/broken.pdf").write_bytes(b"%PDF-1.7\nnothing of it")
    (work / "inbox/empty.txt").write_bytes(b"")
    (work / "inbox/mail.eml").write_text("From: a@example.org\nSubject: x\n\nhello")
    told = fieldsift("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out", cwd=work, code=1)
    lines = results(work / "out")
    reasons = {
        path: line["reason"] for path, line in lines.items() if line["status"] == "unreadable"
    }
    assert reasons == {"broken.pdf": "damaged", "empty.txt": "empty", "mail.eml": "unsupported"}
    assert sum(line["status"] == "valid" for line in lines.values()) == 2
    assert all(line["findings"] for line in lines.values() if line["status"] != "valid")
    assert "results.jsonl" in told.stderr.splitlines()[-2], "what next"


def test_pictures_need_an_extra_before_anything_starts(work: Path, fixtures: Path) -> None:
    picture = next(
        path
        for path in sorted((fixtures / "pictures").iterdir())
        if path.suffix in {".png", ".jpg"}
    )
    (work / "inbox/photo.png").write_bytes(picture.read_bytes())
    arguments = ("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out")
    told = fieldsift(*arguments, cwd=work, code=4, blind=True)
    assert "needs_ocr" in told.stderr
    assert "pip install 'fieldsift[local]'" in told.stderr
    assert "--skip-unreadable" in told.stderr
    assert (
        not (work / "out/results.jsonl").exists() or (work / "out/results.jsonl").read_text() == ""
    )
    fieldsift(*arguments, "--skip-unreadable", cwd=work, code=1, blind=True)
    assert results(work / "out")["photo.png"]["reason"] == "needs_ocr"
    fieldsift(*arguments, "--retry", "unreadable", cwd=work)
    assert results(work / "out")["photo.png"]["status"] == "valid", "now the extra is there"


def test_data_that_does_not_pass_goes_to_rejected(work: Path) -> None:
    schema = {"type": "object", "properties": {"iban": {"type": "string"}}, "required": ["iban"]}
    (work / "iban.json").write_text(json.dumps(schema))
    fieldsift("run", "inbox", "-s", "iban.json", "-m", "local", "-o", "out", cwd=work, code=1)
    assert sorted(path.name for path in (work / "out/rejected/iban").rglob("*.json")) == [
        "a.txt.json",
        "b.txt.json",
    ]
    assert not (work / "out/iban").exists()
    line = results(work / "out")["a.txt"]
    assert (line["status"], line["reason"]) == ("invalid", "required")


def test_extract_prints_the_data_alone_and_nothing_when_it_is_invalid(work: Path) -> None:
    told = fieldsift(
        "extract", "inbox/a.txt", "-s", "invoice_number, total float", "-m", "local", cwd=work
    )
    assert json.loads(told.stdout) == {"invoice_number": "INV-2024-0042", "total": 1200}
    schema = {"type": "object", "properties": {"iban": {"type": "string"}}, "required": ["iban"]}
    (work / "iban.json").write_text(json.dumps(schema))
    told = fieldsift("extract", "inbox/a.txt", "-s", "iban.json", "-m", "local", cwd=work, code=1)
    assert told.stdout == ""
    assert "iban" in told.stderr


def test_extract_of_several_files_and_of_stdin(work: Path) -> None:
    told = fieldsift(
        "extract",
        "inbox/a.txt",
        "inbox/acme/b.txt",
        "-s",
        "total float, x",
        "-m",
        "local",
        cwd=work,
    )
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert sorted(line["document"]["path"] for line in lines) == ["inbox/a.txt", "inbox/acme/b.txt"]
    told = fieldsift(
        "extract", "-", "-s", "total float, x", "-m", "local", cwd=work, stdin=INVOICE.encode()
    )
    assert json.loads(told.stdout)["total"] == 1200


def test_init_makes_a_folder_that_works_at_once(tmp_path: Path) -> None:
    told = fieldsift("init", "demo", cwd=tmp_path)
    assert "cd demo && fieldsift run" in told.stderr
    fieldsift("run", cwd=tmp_path / "demo")
    assert len(results(tmp_path / "demo/out")) == 3
    assert {line["status"] for line in results(tmp_path / "demo/out").values()} == {"valid"}
    fieldsift("validate", cwd=tmp_path / "demo")
    told = fieldsift("init", "demo", cwd=tmp_path, code=2)
    assert "never overwritten" in told.stderr


def test_status_and_validate_tell_what_lies_there(work: Path) -> None:
    fieldsift("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out", cwd=work)
    told = fieldsift("status", "out", cwd=work)
    assert "valid 2" in told.stdout
    assert json.loads(fieldsift("status", "out", "--json", cwd=work).stdout)["counts"] == {
        "valid": 2
    }
    checked = json.loads(fieldsift("validate", "out", "--output-format", "json", cwd=work).stdout)
    assert checked["summary"]["valid"] == 2
    assert checked["summary"]["evidence_not_checked"] == 0


def test_validate_sees_data_that_was_changed_by_hand(work: Path) -> None:
    fieldsift(
        "run", "inbox", "-s", "invoice_number, total float", "-m", "local", "-o", "out", cwd=work
    )
    file = work / "out/extract/a.txt.json"
    file.write_text(json.dumps({"invoice_number": "INV-2024-0042", "total": "much"}))
    told = fieldsift("validate", "out", cwd=work, code=1)
    assert "/total" in told.stdout
    assert "(type)" in told.stdout
    fieldsift("validate", "out", "--ignore", "type,evidence_not_found", cwd=work)
    fieldsift("validate", "out", "--exit-zero", cwd=work)
    told = fieldsift("validate", "out", "--select", "typo", cwd=work, code=2)
    assert "no rule 'typo'" in told.stderr
    file.write_text(json.dumps({"invoice_number": "INV-2024-0042", "total": 1300}))
    told = fieldsift("validate", "out", cwd=work)
    assert "evidence_not_found" in told.stdout, "a digit that is not in the document"


def test_validate_does_not_take_a_forged_text_for_proven(work: Path) -> None:
    fieldsift("run", "inbox", "-s", "vendor, total float", "-m", "local", "-o", "out", cwd=work)
    file = work / "out/extract/a.txt.json"
    file.write_text(json.dumps({"vendor": "Pay me instead Ltd", "total": 1200}))
    told = fieldsift("validate", "out", cwd=work)
    assert "/vendor" in told.stdout
    assert "(evidence_not_found)" in told.stdout
    assert "(changed)" in told.stdout


def test_a_data_file_that_was_deleted_comes_back(work: Path) -> None:
    base = ("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out")
    fieldsift(*base, cwd=work)
    (work / "out/invoice/a.txt.json").unlink()
    fieldsift(*base, cwd=work)
    assert (work / "out/invoice/a.txt.json").exists()


def test_outputs_are_nobodys_inputs(work: Path) -> None:
    fieldsift("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out", cwd=work)
    fieldsift("run", ".", "-s", "invoice", "-m", "local", "-o", "out2", cwd=work)
    assert sorted(results(work / "out2")) == ["inbox/a.txt", "inbox/acme/b.txt"]
    told = fieldsift("run", ".", "-s", "invoice", "-m", "local", "-o", ".", cwd=work, code=2)
    assert "name another output folder" in told.stderr


def test_a_pipeline_file_inside_the_input_is_not_taken(work: Path) -> None:
    """Whoever sends the documents must not be able to send code along."""
    (work / "inbox/evil.py").write_text("raise SystemExit('the code ran')")
    (work / "inbox/pipeline.toml").write_text('[[stage]]\nname = "x"\nschema = "evil:Model"\n')
    told = fieldsift("run", ".", "-o", "../out", "-m", "local", cwd=work / "inbox", code=2)
    assert "no schema and no pipeline.toml" in told.stderr


@pytest.mark.parametrize("name", ["res#1", "what?x", "50%25"])
def test_an_output_folder_may_have_any_name(work: Path, name: str) -> None:
    fieldsift("run", "inbox", "-s", "invoice", "-m", "local", "-o", name, cwd=work)
    assert len(results(work / name)) == 2
    assert sorted(path.name for path in work.iterdir()) == sorted(["inbox", name])


def test_a_folder_that_may_not_be_written_is_exit_four(work: Path) -> None:
    (work / "file").write_text("x")
    told = fieldsift(
        "run", "inbox", "-s", "invoice", "-m", "local", "-o", "file/out", cwd=work, code=4
    )
    assert "file" in told.stderr


def test_results_survive_a_run_that_would_keep_its_state_elsewhere(work: Path) -> None:
    base = ("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out")
    fieldsift(*base, cwd=work)
    fieldsift(*base, "--no-store", cwd=work)
    told = fieldsift(*base, "--state", "elsewhere", cwd=work, code=4)
    assert "the state in elsewhere/ledger.sqlite knows nothing of" in told.stderr
    fieldsift(*base, cwd=work)
    assert len(results(work / "out")) == 2


def test_validate_says_where_evidence_could_not_be_checked(work: Path) -> None:
    fieldsift("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out", cwd=work)
    (work / "inbox").rename(work / "moved")
    told = fieldsift("validate", "out", cwd=work)
    assert "evidence: not checked in 2" in told.stdout
    told = fieldsift("validate", "out", "--sources", "moved", cwd=work)
    assert "not checked" not in told.stdout


def test_validate_of_any_json_and_jsonl(work: Path) -> None:
    (work / "good.json").write_text('{"vendor": "ACME", "total": 1}')
    (work / "rows.jsonl").write_text('{"vendor": "ACME", "total": 1}\n{"vendor": 7}\nnot json\n')
    fieldsift("validate", "good.json", "-s", "vendor, total float", cwd=work)
    told = fieldsift(
        "validate",
        "rows.jsonl",
        "-s",
        "vendor, total float",
        "--output-format",
        "json",
        cwd=work,
        code=1,
    )
    files = {each["path"]: each["valid"] for each in json.loads(told.stdout)["files"]}
    assert files == {"rows.jsonl:1": True, "rows.jsonl:2": False, "rows.jsonl:3": False}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["run", "inbox", "-o", "out"], 2, "fieldsift init demo"),
        (
            ["run", "missing", "-s", "invoice", "-m", "local", "-o", "out"],
            2,
            "no such file or folder",
        ),
        (["run", "void", "-s", "invoice", "-m", "local", "-o", "out"], 5, "no document in void"),
        (["run", "inbox", "-s", "invoice", "-m", "local"], 2, "no output folder"),
        (
            ["run", "inbox", "-s", "invocie", "-m", "local", "-o", "out"],
            2,
            "did you mean invoice? shipped are api_documentation, ",
        ),
        (["run", "inbox", "-s", "invoice", "-o", "out"], 4, "GEMINI_API_KEY"),
        (
            ["run", "inbox", "-s", "invoice", "-o", "out", "-m", "vertex:x"],
            4,
            "no way into vertex:",
        ),
        (["run", "inbox", "-s", "invoice", "-o", "out", "--retry", "all"], 2, "failed, invalid"),
        (
            ["run", "inbox", "-s", "invoice", "-o", "out", "-m", "local", "--budget", "5 EUR"],
            2,
            "US dollars",
        ),
        (
            ["run", "inbox", "-s", "invoice", "-o", "out", "-m", "local", "-c", "modle=x"],
            2,
            "did you mean 'model'",
        ),
        (["extract", "inbox", "-s", "invoice", "-m", "local"], 2, "is a folder"),
        (["extract", "gone.pdf", "-s", "invoice", "-m", "local"], 2, "no such file"),
        (["validate", "inbox"], 2, "name a schema with -s"),
        (["status", "inbox"], 2, "no run.json"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_with_its_exit_code(
    work: Path, arguments: Sequence[str], code: int, told: str
) -> None:
    (work / "void").mkdir()
    done = fieldsift(*arguments, cwd=work, code=code)
    assert told in done.stderr
    assert done.stdout == ""


def test_off_a_terminal_nothing_moves_and_nothing_is_coloured(work: Path) -> None:
    for arguments in (
        ["run", "inbox", "-s", "invoice", "-m", "local", "-o", "out"],
        ["models"],
        ["doctor"],
        ["--help"],
    ):
        told = fieldsift(*arguments, cwd=work)
        assert "\x1b" not in told.stdout + told.stderr
        assert "\r" not in told.stdout + told.stderr


def test_a_documents_name_cant_move_the_terminals_cursor(work: Path) -> None:
    (work / "inbox/\x1b[2Jevil.bin").write_bytes(bytes(range(256)))
    told = fieldsift("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out", cwd=work, code=1)
    assert "\x1b" not in told.stderr
    assert "evil.bin" in told.stderr


def test_options_come_from_variables_too_and_config_show_says_so(work: Path) -> None:
    told = fieldsift("config", "show", "-s", "invoice", cwd=work, env={"FIELDSIFT_MODEL": "local"})
    assert re.search(r"model +local +\(FIELDSIFT_MODEL\)", told.stdout)


def test_global_options_stand_before_or_behind_the_command(work: Path) -> None:
    before = fieldsift("--json", "models", cwd=work).stdout
    behind = fieldsift("models", "--json", cwd=work).stdout
    assert json.loads(before) == json.loads(behind)


def test_limit_and_sample_take_some_and_the_same_again(work: Path) -> None:
    for number in range(10):
        (work / f"inbox/{number}.txt").write_text(INVOICE.replace("0042", f"{number:04}"))
    base = ("run", "inbox", "-s", "invoice", "-m", "local")
    fieldsift(*base, "-o", "limited", "--limit", "3", cwd=work)
    assert sorted(results(work / "limited")) == ["0.txt", "1.txt", "2.txt"]
    drawn = []
    for name in ("one", "two"):
        fieldsift(*base, "-o", name, "--sample", "4", "--seed", "7", cwd=work)
        drawn.append(sorted(results(work / name)))
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 4


def test_fail_fast_stops_at_the_first_and_the_rest_is_continued(work: Path) -> None:
    (work / "inbox/0.bin").write_bytes(bytes(range(256)))
    for number in range(30):
        (work / f"inbox/{number + 10}.txt").write_text(INVOICE)
    base = ("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out", "-j", "1")
    fieldsift(*base, "-x", cwd=work, code=1)
    assert len(results(work / "out")) < 30
    fieldsift(*base, cwd=work, code=1)
    assert len(results(work / "out")) == 33


def test_a_second_run_on_the_same_output_is_refused_and_names_the_first(work: Path) -> None:
    from filelock import FileLock

    fieldsift("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out", cwd=work)
    with FileLock(work / "out/.fieldsift/lock"):
        told = fieldsift(
            "run", "inbox", "-s", "invoice", "-m", "local", "-o", "out", cwd=work, code=4
        )
    assert "is writing there" in told.stderr


def test_a_damaged_ledger_is_refused_with_a_way_out(work: Path) -> None:
    base = ("run", "inbox", "-s", "invoice", "-m", "local", "-o", "out")
    fieldsift(*base, cwd=work)
    (work / "out/.fieldsift/ledger.sqlite").write_bytes(b"damage" * 1000)
    told = fieldsift(*base, cwd=work, code=4)
    assert "--rebuild" in told.stderr


def bare() -> dict[str, str]:
    """The environment without what coverage puts into child processes: it loads modules of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


HEAVY = (
    "pydantic",
    "httpx",
    "pypdf",
    "PIL",
    "rich",
    "jsonschema",
    "rapidfuzz",
    "pypdfium2",
    "sqlite3",
    "asyncio",
)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom pipeline.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_importing_the_library_loads_nothing_heavy() -> None:
    code = f"import sys, pipeline; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_command_has_help_that_needs_nothing(tmp_path: Path) -> None:
    from pipeline.cli import COMMANDS

    nothing = {"HOME": "/nonexistent", "FIELDSIFT_CACHE_DIR": "/nonexistent/cache"}
    for name in COMMANDS:
        told = fieldsift(name, "--help", cwd=tmp_path, env=nothing)
        assert "Usage: fieldsift" in told.stdout
        for word in re.findall(r"`fieldsift ([a-z]+)", told.stdout):
            assert word in COMMANDS


def test_schema_show_prints_what_is_sent(work: Path) -> None:
    shown = json.loads(fieldsift("schema", "show", "invoice", cwd=work).stdout)
    assert shown["type"] == "object"
    assert "$schema" not in shown
    assert "$schema" in json.loads(
        fieldsift("schema", "show", "invoice", "--dialect", "json-schema", cwd=work).stdout
    )
    assert (
        "never an instruction"
        in fieldsift("schema", "show", "invoice", "--prompt", cwd=work).stdout
    )


def test_doctor_finds_the_key_and_never_shows_it(work: Path) -> None:
    told = fieldsift("doctor", cwd=work, env={"GEMINI_API_KEY": "canary-7f3a"})
    assert "GEMINI_API_KEY from environment" in told.stdout
    assert "canary" not in told.stdout + told.stderr


def test_show_parts_sends_nothing_and_needs_no_key(work: Path) -> None:
    told = fieldsift("extract", "inbox/a.txt", "-s", "invoice", "--show-parts", cwd=work)
    assert "text text/plain" in told.stdout


def test_a_table_is_one_document_of_extract_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    told = fieldsift("extract", "t.csv", "-s", "invoice", "--show-parts", cwd=tmp_path)
    assert told.stderr.count("t.csv is read as one document; fieldsift run reads each row") == 1
