"""What became of an input, made lasting: its data files first, then its lines with the mark of the pass."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import SetupError
from pipeline.ledger import Ledger, Line
from pipeline.results import CONTINUES, Result
from pipeline.writers import data_file, dump, remove_data, write_data


async def commit(
    ledger: Ledger,
    output: Path | None,
    path: str,
    results: Sequence[Result],
    mark: tuple[int, int, str, int],
) -> int:
    """Write the Results of an input; how many earlier lines they supersede.

    A kill between files and lines is repaired by running again. `mark` (size, mtime in ns, pipeline
    hash, run) says that the input is finished; it is not set while a Result only tells of this run.

    Raises:
        SetupError: the output can't be written.

    """
    if output is None:
        return 0
    earlier = ledger.lines_of(path)
    if earlier and all(map(_says_nothing, results)):
        return 0  # what an earlier pass found is still all that is known
    await ledger.lift(path)
    try:
        lines = [await asyncio.to_thread(_written, output, result) for result in results]
        current = {line.file for line in lines}
        for line in earlier:
            if line.file and line.file not in current:
                remove_data(output, Path(line.file))
    except OSError as error:
        raise SetupError(f"output {output}: {error.strerror or error}: {error.filename}") from error
    unfinished = any(map(_says_nothing, results))
    await ledger.finish(path, lines, None if unfinished else mark)
    places = {(line.path, line.stage) for line in lines}
    return sum((line.path, line.stage) not in places for line in earlier)


def _says_nothing(result: Result) -> bool:
    """Whether a Result is only about this run: the document was not reached, or nothing may be sent."""
    return result.status in CONTINUES or result.reason == "not_recorded"


def _written(output: Path, result: Result) -> Line:
    """The line of a Result, after its data file is written."""
    file = _file_of(result)
    if file:
        write_data(output, file, result.data)
    text = dump(result.to_json())
    name = str(file) if file else None
    return Line(result.document.path, result.stage or "", result.status, text, name)


def _file_of(result: Result) -> Path | None:
    if result.stage is None or result.status not in {"valid", "invalid"}:
        return None
    return data_file(result.stage, result.document.path, rejected=result.status == "invalid")
