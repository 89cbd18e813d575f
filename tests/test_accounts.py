"""The accounts of an output folder add up, and whatever does not is found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.api import Pipeline
from pipeline.schema import Schema
from pipeline.stages import Stage
from tests.accounts import check

NAMES = ("a.txt", "b.txt", "deep/c.txt", "broken.pdf", "empty.txt")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run over good and bad documents."""
    folder = tmp_path_factory.mktemp("accounts")
    inbox = folder / "inbox"
    (inbox / "deep").mkdir(parents=True)
    for name in NAMES[:3]:
        (inbox / name).write_text(f"Vendor: ACME {name}\nTotal: 12.00\n")
    (inbox / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (inbox / "empty.txt").write_bytes(b"")
    stages = [
        Stage("one", Schema.of("vendor, total float")),
        Stage("two", Schema.of("vendor str")),
    ]
    Pipeline(stages, model="local").run(inbox, folder / "out")
    return folder / "out"


@pytest.fixture
def output(finished: Path, tmp_path: Path) -> Path:
    """That output, to be spoiled."""
    return shutil.copytree(finished, tmp_path / "out")


def test_the_accounts_of_a_run_add_up(output: Path) -> None:
    assert check(output, NAMES) == []


def _double(output: Path) -> None:
    lines = (output / "results.jsonl").read_text().splitlines(keepends=True)
    (output / "results.jsonl").write_text("".join([*lines, lines[-1]]))


def _cut(output: Path) -> None:
    (output / "results.jsonl").write_bytes((output / "results.jsonl").read_bytes()[:-9])


def _pages(output: Path) -> None:
    text = (output / "results.jsonl").read_text()
    assert '"answered":1' in text
    (output / "results.jsonl").write_text(text.replace('"answered":1', '"answered":0', 1))


def _counts(output: Path) -> None:
    told = json.loads((output / "run.json").read_text())
    (output / "run.json").write_text(json.dumps(told | {"counts": {"valid": 1}}))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_double, "2 lines"),
        (_cut, "cut"),
        (_pages, "1 pages were not read"),
        (_counts, "run.json counts {'valid': 1}"),
        (lambda output: (output / "one/a.txt.json").unlink(), "one/a.txt.json: missing"),
        (lambda output: (output / "one/a.txt.json").write_text("{}"), "not the data of its line"),
        (lambda output: (output / "one/.x.tmp").write_text("half"), "one/.x.tmp: stray"),
        (lambda output: (output / "rejected").mkdir(), "an empty folder"),
    ],
)
def test_what_is_wrong_is_found(output: Path, spoil: Callable[[Path], object], told: str) -> None:
    spoil(output)
    assert any(told in each for each in check(output, NAMES)), check(output, NAMES)


def test_a_lost_document_and_a_line_of_no_source_are_found(output: Path) -> None:
    assert check(output, [*NAMES, "d.txt"]) == ["d.txt: lost, it has no line"]
    assert check(output, NAMES[1:]) == ["a.txt: a line of no source"]
