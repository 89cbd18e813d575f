"""For users' tests: answers from a recording, and an error for every call that is not in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.ledger import REPLAYING


@contextmanager
def replay(folder: str | Path) -> Iterator[None]:
    """Answer every request from a folder that `--record` wrote; no key and no network are needed.

    Raises:
        UsageError: the folder does not exist.
        NotRecorded: raised by `extract` inside, for a request that is not in the recording.

    """
    path = Path(folder)
    if not path.is_dir():
        raise UsageError(f"no recording at {path}: make one with --record {path}")
    token = REPLAYING.set(path)
    try:
        yield
    finally:
        REPLAYING.reset(token)
