"""What became of an input, made lasting: its data files first, then its lines with the mark of the pass."""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path

from pipeline.errors import SetupError
from pipeline.ledger import Ledger, Line
from pipeline.results import CONTINUES, Result
from pipeline.writers import data_file, dump, file_of, remove_data, write_data


async def commit(
    ledger: Ledger,
    output: Path | None,
    path: str,
    results: Sequence[Result],
    mark: tuple[int, int, str, int],
    stages: Collection[str] = (),
) -> int:
    """Write the Results of an input; how many earlier lines they supersede.

    A kill between files and lines is repaired by running again: data files of this input that another
    outcome left under any of `stages` (all that ever wrote here) are removed, whether a line tells of
    them or not. `mark` (size, mtime in ns, pipeline hash, run) says that the input is finished; it is
    not set while a Result only tells of this run.

    Raises:
        SetupError: the output can't be written.

    """
    if output is None:
        return 0
    earlier = ledger.lines_of(path)
    says_more = any(result.data is not None for result in results)
    if all(map(_says_nothing, results)) and any(
        not says_more or line.status not in CONTINUES for line in earlier
    ):
        return 0  # what an earlier pass found is still all that is known
    await ledger.lift(path)
    try:
        lines = [await asyncio.to_thread(_written, output, result) for result in results]
        current = {line.file for line in lines}
        for file in {line.file for line in earlier} | _places(path, stages):
            if file and file not in current:
                remove_data(output, Path(file))
        unfinished = any(map(_says_nothing, results))
        await ledger.finish(path, lines, None if unfinished else mark)
    except OSError as error:
        where = error.filename or output / "results.jsonl"
        raise SetupError(f"output {output}: {error.strerror or error}: {where}") from error
    places = {(line.path, line.stage) for line in lines}
    return sum((line.path, line.stage) not in places for line in earlier)


async def prune(ledger: Ledger, output: Path, sources: Sequence[str]) -> None:
    """Remove the data files, lines and marks of inputs.

    A kill before the lines are gone is repaired by pruning again.

    Raises:
        SetupError: the output can't be written.

    """

    def _remove() -> None:
        for source in sources:
            for line in ledger.lines_of(source):
                if line.file:
                    remove_data(output, Path(line.file))

    try:
        await asyncio.to_thread(_remove)
    except OSError as error:
        raise SetupError(f"output {output}: {error.strerror or error}: {error.filename}") from error
    await ledger.drop(sources)


def _places(path: str, stages: Collection[str]) -> set[str | None]:
    """Where data of an input may lie."""
    return {
        str(data_file(stage, path, rejected=rejected))
        for stage in stages
        for rejected in (True, False)
    }


def _says_nothing(result: Result) -> bool:
    """Whether a Result is only about this run: the document was not reached, or nothing may be sent."""
    return result.status in CONTINUES or result.reason == "not_recorded"


def _written(output: Path, result: Result) -> Line:
    """The line of a Result, after its data file is written."""
    file = file_of(result)
    if file:
        write_data(output, file, result.data)
    text = dump(result.to_json())
    name = str(file) if file else None
    return Line(result.document.path, result.stage or "", result.status, text, name)
