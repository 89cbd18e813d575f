"""One run at a time: an output folder is held while a run writes there, and has a state of its own."""

import contextlib
import os
import platform
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from pipeline.errors import SetupError, StateError
from pipeline.writers import replace_file


@contextlib.contextmanager
def held(output: Path, stages: Iterable[str], state: Path | None = None) -> Iterator[None]:
    """Hold an output folder, and the `state` folder that lies apart from it; whoever comes second is told by whom.

    Raises:
        StateError: another run holds it, or the state is that of another output.
        SetupError: a folder of the output can't be written: seen before anything is paid for.

    """
    _must_be_writable(output, stages)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(output / ".fieldsift", output))
        if state is not None:
            stack.enter_context(_alone(state, output))
            _claim(state, output)
        yield


def _must_be_writable(output: Path, stages: Iterable[str]) -> None:
    for path in (output, output / "rejected", *(output / stage for stage in stages)):
        if path.exists() and not os.access(path, os.W_OK | os.X_OK):
            raise SetupError(f"{path}: it can't be written; name another output with -o")


@contextlib.contextmanager
def _alone(folder: Path, output: Path) -> Iterator[None]:
    """Hold the lock of a folder, with the holder's name beside it; the system frees it when the process ends."""
    from filelock import FileLock, Timeout

    holder = folder / "holder"
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        told = holder.read_text("utf-8", "replace") if holder.exists() else "another process"
        raise StateError(
            f"{output}: {told} is writing there; wait for it, or use another output folder"
        ) from None
    try:
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        holder.write_text(f"process {os.getpid()} on {platform.node()}, since {since},", "utf-8")
        yield
    finally:
        lock.release()


def _claim(state: Path, output: Path) -> None:
    """Note in a state folder whose it is: in one that two outputs share, each would get the lines of both."""
    note = state / "output"
    owner = Path(note.read_text("utf-8")) if note.exists() else output
    if owner.is_dir() and not owner.samefile(output):
        raise StateError(f"--state {state}: it is that of {owner}; {output} needs one of its own")
    replace_file(note, str(output.absolute()).encode())
