"""The accounts of an output folder: `check` says whatever is lost, doubled, stray or does not add up."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.document import rows_file
from pipeline.results import Result
from pipeline.writers import dump, file_of

#: What lies in an output folder beside data files.
OWN = {"results.jsonl", "run.json"}


def check(
    output: Path, sources: Iterable[str] | None = None, *, state: Path | None = None
) -> list[str]:
    """What is wrong with the output of a run that came to its end, in sentences; empty where all is well.

    Each source has a line and each line a source; lines are unique by (path, stage) and those of the
    ledger; data files are those of the valid and invalid lines, with their data; pages add up; no other
    file lies there; run.json counts the same lines. `sources` are the names of the documents (None:
    not checked); `state` is where the ledger lies, if not in the output.
    """
    wrong: list[str] = []
    lines = list(_lines(output, wrong))
    wrong += _places(lines, sources)
    wrong += _files(output, lines)
    wrong += [told for line in lines for told in _pages(line)]
    wrong += _summary(output, lines)
    wrong += _ledger(output, state or output / ".fieldsift")
    return wrong


def _lines(output: Path, wrong: list[str]) -> Iterator[Result]:
    file = output / "results.jsonl"
    content = file.read_bytes() if file.exists() else b""
    if content and not content.endswith(b"\n"):
        wrong.append("results.jsonl: the last line is cut")
    for number, text in enumerate(content.splitlines(), 1):
        try:
            yield Result.from_json(json.loads(text))
        except ValueError as error:
            wrong.append(f"results.jsonl line {number}: {error}")


def _places(lines: list[Result], sources: Iterable[str] | None) -> Iterator[str]:
    places = Counter((line.document.path, line.stage) for line in lines)
    for (path, stage), number in places.items():
        if number > 1:
            yield f"{path}, stage {stage}: {number} lines"
    unread = {line.document.path for line in lines if line.stage is None}
    for path in sorted({path for path, stage in places if path in unread and stage is not None}):
        yield f"{path}: unreadable, and yet it has lines of stages"
    if sources is None:
        return
    wanted = set(sources)
    there = {line.document.path: _source_of(line.document.path, wanted) for line in lines}
    yield from (f"{path}: lost, it has no line" for path in sorted(wanted - set(there.values())))
    yield from (f"{path}: a line of no source" for path in sorted(there) if not there[path])


def _source_of(path: str, sources: set[str]) -> str:
    """The source that a document is, or was taken from: `mail.eml!/a.pdf`, `rows.jsonl#17`."""
    cuts = [place for place, c in enumerate(path) if c in "#!"]
    names = [path, *(path[:place] for place in reversed(cuts))]
    return next((name for name in names if name in sources), "")


def _files(output: Path, lines: list[Result]) -> Iterator[str]:
    kept = [(str(file), line) for line in lines if (file := file_of(line)) is not None]
    shared = {file for file, line in kept if rows_file(line.document.path)}
    wanted = {file: line for file, line in kept if file not in shared}
    yield from (complaint for file in sorted(shared) for complaint in _rows(output, file, kept))
    inside = [path for path in sorted(output.rglob("*")) if ".fieldsift" not in path.parts]
    there = {str(path.relative_to(output)) for path in inside if not path.is_dir()}
    yield from (f"{name}: missing" for name in sorted(wanted.keys() - there))
    yield from (f"{name}: stray" for name in sorted(there - wanted.keys() - OWN - shared))
    for path in inside:
        if path.is_dir() and not any(path.iterdir()):
            yield f"{path.relative_to(output)}: an empty folder"
    for name in sorted(wanted.keys() & there):
        if (output / name).read_text("utf-8") != dump(wanted[name].data, indent=2) + "\n":
            yield f"{name}: not the data of its line"


def _rows(output: Path, file: str, kept: list[tuple[str, Result]]) -> Iterator[str]:
    """Whether a data file of rows has one line for each of them."""
    if not (output / file).exists():
        yield f"{file}: missing"
        return
    told = [json.loads(line) for line in (output / file).read_text("utf-8").splitlines()]
    there = sorted(dump([each["document"], each["data"]]) for each in told)
    if there != sorted(dump([line.document.path, line.data]) for own, line in kept if own == file):
        yield f"{file}: not the data of its lines"


def _pages(line: Result) -> Iterator[str]:
    name, pages = f"{line.document.path}, stage {line.stage}", line.coverage
    if not 0 <= pages.answered <= pages.sent <= pages.pages:
        yield f"{name}: {pages.answered} pages answered of {pages.sent} sent of {pages.pages}"
    if line.document.pages is not None and line.document.pages != pages.pages:
        yield f"{name}: {line.document.pages} pages, of which {pages.pages} are accounted for"
    if line.status == "valid" and pages.answered != pages.pages:
        yield f"{name}: valid, and {pages.pages - pages.answered} pages were not read"


def _summary(output: Path, lines: list[Result]) -> Iterator[str]:
    told: dict[str, Any] = json.loads((output / "run.json").read_bytes())
    counts = dict(Counter(line.status for line in lines))
    if told["counts"] != counts:
        yield f"run.json counts {told['counts']}, results.jsonl {counts}"


def _ledger(output: Path, state: Path) -> Iterator[str]:
    """Whether the ledger holds the same lines, in the same order."""
    file = f"file:{quote(str((state / 'ledger.sqlite').absolute()))}?mode=ro"
    ledger = sqlite3.connect(file, uri=True)
    try:
        kept = [text for (text,) in ledger.execute("select line from lines order by seq")]
    finally:
        ledger.close()
    if kept != (output / "results.jsonl").read_text("utf-8").split("\n")[:-1]:
        yield "results.jsonl: not the lines of the ledger"
