"""Whose code runs, and who sees the key: code of the pipeline file's own folder alone; the key in a header alone."""

import ast
import os
from pathlib import Path

import pytest

import pipeline
from pipeline import usercode
from tests.answers import Answer, Seen, error, reset
from tests.runs import KEY, env, receipts, started, truth, wait_until
from tests.server import Server
from tests.test_cli import fieldsift

#: What would run or unpack whatever stands in a file.
FORBIDDEN = {
    "yaml",
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "runpy",
    "code",
}
CALLS = {"eval", "exec", "__import__"}
MODEL = "import pathlib, pydantic\npathlib.Path({marker!r}).touch()\nclass M(pydantic.BaseModel):\n    total: float\n"


def test_nothing_in_the_source_runs_or_unpacks_what_a_file_says() -> None:
    root = Path(str(pipeline.__file__)).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [each.name.partition(".")[0] for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").partition(".")[0]]
            called = (
                node.func.id
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                else ""
            )
            if FORBIDDEN & set(names) or called in CALLS:
                found.append(f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}")
    assert found == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A pipeline file in `project`, and code that leaves a mark in all the places where it may not be found."""
    folder = receipts(tmp_path / "project", 1)
    for place in (tmp_path, tmp_path / "elsewhere", folder / "inbox"):
        place.mkdir(exist_ok=True)
        (place / "evil.py").write_text(MODEL.format(marker=str(tmp_path / "ran")))
    (tmp_path / "elsewhere/parts").mkdir()
    (tmp_path / "elsewhere/parts/__init__.py").write_text(
        MODEL.format(marker=str(tmp_path / "ran"))
    )
    (folder / "parts").mkdir()
    return folder


@pytest.mark.parametrize(
    "named",
    ["evil:M", "../evil:M", "inbox/evil:M", "{root}/evil:M", "..evil:M", "parts:M", "evil.py:M"],
)
def test_a_name_means_nothing_outside_its_folder(
    project: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the working folder, not in the inputs, not by a path; what was not found has not run."""
    monkeypatch.chdir(project.parent / "elsewhere")
    monkeypatch.syspath_prepend(project.parent / "elsewhere")
    with pytest.raises(ValueError, match=r"imported from there only|not of the form|lies in"):
        usercode.found(named.format(root=project.parent), project)
    assert not (project.parent / "ran").exists()


@pytest.mark.parametrize(
    "line", ['schema = "evil:M"', 'schema = "total float"\ntools = ["evil:M"]']
)
def test_code_comes_from_the_folder_of_the_pipeline_file_alone(project: Path, line: str) -> None:
    write_pipeline(project, line)
    assert f"there is no evil.py in {project}" in shown(project, code=2)
    assert not (project.parent / "ran").exists()


def test_code_of_that_folder_is_imported(project: Path) -> None:
    """Else the test above could not fail."""
    (project / "good.py").write_text(MODEL.format(marker=str(project.parent / "ran")))
    write_pipeline(project, 'schema = "good:M"')
    shown(project, code=0)
    assert (project.parent / "ran").exists()


def write_pipeline(project: Path, line: str) -> None:
    (project / "pipeline.toml").write_text(
        '[run]\ninput = "inbox"\noutput = "out"\nmodel = "gemini-3.1-flash-lite"\nallow_tools_on_untrusted = true\n'
        f'[[stage]]\nname = "r"\n{line}\n'
    )


def shown(project: Path, *, code: int) -> str:
    """What is said to a plan that is made elsewhere, with that place first among those of modules."""
    place = project.parent / "elsewhere"
    environment = {"PYTHONPATH": paths(place), "GEMINI_API_KEY": KEY}
    asked = ("--config", str(project / "pipeline.toml"), "config", "show")
    return fieldsift(*asked, cwd=place, code=code, env=environment).stderr


def paths(first: Path) -> str:
    """PYTHONPATH with a folder in front: what `python -m` does with the working folder."""
    return os.pathsep.join(filter(None, (str(first), os.environ.get("PYTHONPATH", ""))))


DEBUG = """
import logging
logging.basicConfig(level=logging.DEBUG, filename="debug.log")
import random
random.uniform = random.Random.uniform = lambda *_: 0.01
from pipeline.providers import http
"""


def test_the_key_is_nowhere_even_when_everything_is_logged(tmp_path: Path) -> None:
    """In no log at DEBUG, no output, no ledger, no message, no traceback, and in no command line."""
    work = receipts(tmp_path, 8)

    def reply(seen: Seen) -> Answer:
        echo = [
            error(503, f"echo {KEY}"),
            reset(),
            error(400, f"bad {KEY}"),
            Answer(200, b"<html>" + KEY.encode()),
        ]
        return echo[seen.number - 1] if seen.number <= len(echo) else truth(seen)

    with Server(reply) as server:
        server.hold()
        with started(work, env(server), "-vv", "--record", "recorded", patch=DEBUG) as client:
            server.wait_for(1)
            told = (Path("/proc") / str(client.process.pid) / "cmdline").read_bytes()
            server.release()
            wait_until(lambda: client.process.poll() is not None)
            assert client.end() == 1
        assert all(
            KEY not in seen.path and KEY.encode() not in seen.raw for seen in server.requests
        )
        assert {seen.headers["x-goog-api-key"] for seen in server.requests} == {KEY}
    assert KEY.encode() not in told
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"debug.log", "stderr.txt", "ledger.sqlite", "results.jsonl"} <= {
        path.name for path in files
    }
    assert (work / "debug.log").stat().st_size > 1000
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
