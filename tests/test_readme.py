"""What README says is true: its lines are run, its examples compared."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_cli import fieldsift

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_two_commands_stand_where_ci_takes_them_from() -> None:
    commands = re.findall(r"^<!-- ci -->\n```bash\n(.+)\n```$", README, re.MULTILINE)
    assert [command.rsplit("&&", 1)[1].split()[0] for command in commands] == [
        "fieldsift",
        "pytest",
    ]


def test_the_first_command_reads_the_fixtures(tmp_path: Path) -> None:
    command = re.findall(r"^<!-- ci -->\n```bash\n(.+)\n```$", README, re.MULTILINE)[0].rsplit(
        "&&", 1
    )[1]
    arguments = shlex.split(command)[1:]
    arguments[arguments.index("-o") + 1] = str(tmp_path / "out")
    told = fieldsift(*arguments, cwd=ROOT)
    assert "valid=10" in told.stderr


def test_the_example_is_what_the_command_prints() -> None:
    command = re.search(r"`fieldsift (extract .+?)` prints", README)
    assert command
    arguments = shlex.split(command[1])
    data, proof = blocks("json")[:2]
    assert json.loads(fieldsift(*arguments, cwd=ROOT).stdout) == json.loads(data)
    line = json.loads(fieldsift(*arguments, "--json", cwd=ROOT).stdout)
    wanted = json.loads(proof.replace(", ...}", "}"))
    assert [each for each in line["evidence"] if wanted.items() <= each.items()]


def test_the_library_snippet_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("5109.59 5.109,59 (0.")


def test_the_pipeline_of_the_library_works(tmp_path: Path) -> None:
    """A stage that is asked and one that is a function, over a folder with the paper that README shows."""
    inbox = tmp_path / "fixtures/inbox"
    inbox.mkdir(parents=True)
    paper = ROOT / "fixtures/inbox/RE-2024-00482.pdf"
    (inbox / paper.name).write_bytes(paper.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[1]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "{'valid': 2} 0 " in done.stdout


def test_the_lines_of_the_command_work(tmp_path: Path) -> None:
    """The console lines, with the local engine; their schema file, letter and photograph are put there."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "schemas").mkdir()
    (tmp_path / "inbox/a.txt").write_text("ACME Ltd\nInvoice No: 17\nTotal 12.00 EUR\n")
    (tmp_path / "schemas/letter.json").write_text(
        (ROOT / "fixtures/schemas/letter.json").read_text()
    )
    letter = next((ROOT / "fixtures/letters").glob("*.pdf"))
    (tmp_path / "letter.pdf").write_bytes(letter.read_bytes())
    photo = next((ROOT / "fixtures/photos").glob("*.jpg"))
    (tmp_path / "photo.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "answers.jsonl").write_text('{"total": 5.5}\n{"total": 6, "note": "paid"}\n')
    lines = [
        line.split("#")[0].removeprefix("$ ").strip() for line in blocks("console")[0].splitlines()
    ]
    assert len(lines) == 15
    (tmp_path / "tickets.csv").write_text("id,body\nt1,Order 4711 is late: where is it?\n")
    for line in lines:
        cwd = tmp_path
        for step in line.split("&&"):
            if "|" in step:
                path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
                own = os.environ | {"PATH": path, "FIELDSIFT_MODEL": "local"}
                subprocess.run(["bash", "-c", step], cwd=cwd, env=own, check=True)
                continue
            words = shlex.split(step)
            if words[0] == "cd":
                cwd = tmp_path / words[1]
                continue
            fieldsift(*words[1:], cwd=cwd, env={"FIELDSIFT_MODEL": "local"})


def test_the_pipeline_file_is_one(tmp_path: Path) -> None:
    from pipeline.config.file import parse

    read = parse(blocks("toml")[0], tmp_path / "pipeline.toml")
    assert [stage.name for stage in read.stage] == ["kind", "invoice", "english"]


def test_the_tables_of_services_and_models_are_a_pipeline_file(tmp_path: Path) -> None:
    """Their models can be asked for by name."""
    (tmp_path / "pipeline.toml").write_text(
        blocks("toml")[1] + '[[stage]]\nname = "bill"\nschema = "total float"\nmodel = "cheap"\n'
    )
    (tmp_path / "inbox").mkdir()
    told = fieldsift(
        "config", "show", cwd=tmp_path, env={"GEMINI_API_KEY": "k", "EVOLINK_API_KEY": "e"}
    )
    assert "evolink:gemini-3.1-flash-lite-preview, llama:any" in told.stdout


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
