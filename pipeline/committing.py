"""What became of an input, made lasting: its data files first, then its lines with the mark of the pass."""

import asyncio
import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.deriving import taken_apart
from pipeline.document import rows_file
from pipeline.errors import SetupError
from pipeline.ledger import Ledger, Line
from pipeline.results import CONTINUES, Result
from pipeline.writers import data_file, dump, file_of, remove_data, replacing, write_data

#: The path of a document, and a stage; "" where it could not be read.
_Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass made of an input: the Results of its document, its parts and items.

    `mark` (size, mtime in ns, pipeline hash, run) says that the input is finished. `only` are the stages that it was
    taken through where it was not all of them (None): the lines of the others stay, and it gets no mark.
    """

    path: str
    results: Sequence[Result]
    mark: tuple[int, int, str, int]
    only: Collection[str] | None = None

    @property
    def unreadable(self) -> bool:
        """Whether the file could not be read: then nothing that was said of it before holds."""
        return any(result.stage is None for result in self.results)


async def commit(
    ledger: Ledger, output: Path | None, outcome: Outcome, stages: Collection[str] = ()
) -> int:
    """Write the Results of an input; how many earlier lines they supersede.

    A kill between files and lines is repaired by running again: data files of this input that another
    outcome left under any of `stages` (all that ever wrote here) are removed, whether a line tells of
    them or not. The mark is not set while a Result only tells of this run; such a Result supersedes nothing
    that says more of its document in its stage, or of the parts and items of that.

    Raises:
        SetupError: the output can't be written.

    """
    if output is None:
        return 0
    path = outcome.path
    is_row = rows_file(path) is not None
    earlier = ledger.lines_of(path)
    kept, less = _kept(outcome, earlier)
    results = [each for each in outcome.results if _place(each) not in less]
    if not results and len(kept) == len(earlier):
        return 0  # what an earlier pass found is still all that is known
    earlier = list(set(earlier).difference(kept))
    await ledger.lift(path)
    try:
        lines = [await asyncio.to_thread(_written, output, result) for result in results]
        current = {line.file for line in (*lines, *kept)}
        for file in set() if is_row else {line.file for line in earlier} | _places(path, stages):
            if file and file not in current:
                remove_data(output, Path(file))
        unfinished = outcome.only is not None or any(each.says_nothing for each in outcome.results)
        await ledger.finish(path, [*lines, *kept], None if unfinished else outcome.mark)
    except OSError as error:
        where = error.filename or output / "results.jsonl"
        raise SetupError(f"output {output}: {error.strerror or error}: {where}") from error
    places = {(line.path, line.stage) for line in lines}
    return sum((line.path, line.stage) not in places for line in earlier)


def _kept(outcome: Outcome, earlier: Sequence[Line]) -> tuple[list[Line], set[_Place]]:
    """The earlier lines that still hold, and the places of the Results that say less than they do.

    A line holds where the input was not taken through its stage, and where nothing is said now of its document in its
    stage, or of what that is a part or an item of. That it could not be read holds while nothing at all is said.
    """
    if outcome.unreadable:
        return [], set()
    silent = {_place(each): each for each in outcome.results if each.says_nothing}
    nothing = bool(silent) and len(silent) == len(outcome.results)
    stages = {each.stage for each in outcome.results} if nothing else None
    through = stages if outcome.only is None else outcome.only
    kept: list[Line] = []
    less: set[_Place] = set()
    for line in earlier:
        if line.stage:
            found = {each for each in _places_over(line) if _says_less(silent.get(each), line)}
            holds = bool(found) or (through is not None and line.stage not in through)
        else:
            found, holds = set(silent), nothing
        if holds:
            kept.append(line)
            less |= found
    return kept, less


def _place(result: Result) -> _Place:
    return result.document.path, result.stage or ""


def _places_over(line: Line) -> Iterator[_Place]:
    """The place of a line, and that of its stage in each document that its own is a part or an item of."""
    path, what = line.path, "#"
    while what:
        yield path, line.stage
        path, what = taken_apart(path)


def _says_less(result: Result | None, line: Line) -> bool:
    return result is not None and (result.data is None or line.status not in CONTINUES)


def sweep(output: Path, stages: Collection[str], known: Collection[str]) -> None:
    """Remove data files of parts and items that no line tells of: a pass that was killed made them, and none after it.

    Raises:
        SetupError: the output can't be written.

    """
    try:
        for stage in stages:
            for top in (output / stage, output / "rejected" / stage):
                for folder, _, names in os.walk(top):
                    below = Path(folder).relative_to(output)
                    for file in (below / name for name in names):
                        if "#" in str(file) and str(file) not in known:
                            remove_data(output, file)
    except OSError as error:
        raise SetupError(f"output {output}: {error.strerror or error}: {error.filename}") from error


async def prune(ledger: Ledger, output: Path, sources: Sequence[str]) -> None:
    """Remove the data files, lines and marks of inputs.

    A kill before the lines are gone is repaired by pruning again.

    Raises:
        SetupError: the output can't be written.

    """

    def _remove() -> None:
        for source in sources:
            for line in ledger.lines_of(source):
                if line.file and not rows_file(source):
                    remove_data(output, Path(line.file))

    try:
        await asyncio.to_thread(_remove)
    except OSError as error:
        raise SetupError(f"output {output}: {error.strerror or error}: {error.filename}") from error
    await ledger.drop(sources)


def write_rows(ledger: Ledger, output: Path) -> None:
    """Write the data files of rows whose lines changed: a line for each, in the order of the rows.

    What a kill leaves undone stands in the ledger, and is done at the end of the next run.

    Raises:
        SetupError: the output can't be written.

    """
    for name in ledger.changed_rows():
        stages = {stage for told in ledger.settings().values() for stage in told["stages"]}
        try:
            current = _write_rows(ledger, output, name)
            for file in _places(f"{name}#", stages) - current:
                remove_data(output, Path(str(file)))
        except OSError as error:
            told = f"{error.strerror or error}: {error.filename}"
            raise SetupError(f"output {output}: {told}") from error
        ledger.rows_written(name)


def _write_rows(ledger: Ledger, output: Path, name: str) -> set[str | None]:
    """Write the data files of one file of rows; which ones."""
    opened: dict[str | None, BinaryIO] = {}
    with ExitStack() as stack:
        for file, document, line in ledger.rows_of(name):
            if file not in opened:
                path = output / file
                path.parent.mkdir(parents=True, exist_ok=True)
                opened[file] = stack.enter_context(replacing(path))
            told = {"document": document, "data": json.loads(line)["data"]}
            opened[file].write(dump(told).encode() + b"\n")
    return set(opened)


def _places(path: str, stages: Collection[str]) -> set[str | None]:
    """Where data of an input may lie."""
    return {
        str(data_file(stage, path, rejected=rejected))
        for stage in stages
        for rejected in (True, False)
    }


def _written(output: Path, result: Result) -> Line:
    """The line of a Result, after its data file is written."""
    file = file_of(result)
    if file and not rows_file(result.document.path):  # rows share a file, which `write_rows` makes
        write_data(output, file, result.data)
    text = dump(result.to_json())
    name = str(file) if file else None
    return Line(result.document.path, result.stage or "", result.status, text, name)
