"""Where answers and money are kept: Storage, and the stores of a plan, opened."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Plan, cache_folder
from pipeline.errors import SetupError
from pipeline.ledger import (
    REPLAYING,
    Commons,
    Ledger,
    Recording,
    Replies,
    RepliesFile,
    StoredReplies,
    held,
    rebuild,
    refuse_remote,
    saved_and_lost,
)
from pipeline.ledger.commons import using


@dataclass(frozen=True, slots=True)
class Storage:
    """Where answers and money are kept: beside the output, elsewhere, in memory, or in a recording.

    With `rebuild`, state files that are damaged are first made anew of all that is sound of them.
    """

    state: Path | None = None
    in_memory: bool = False
    record: Path | None = None
    replay: Path | None = None
    rebuild: bool = False


def open_stores(
    decided: Plan, where: Storage, answers: RepliesFile, stack: contextlib.AsyncExitStack
) -> tuple[Ledger, Replies, tuple[str, ...]]:
    """The ledger and the answers of a plan, and what was saved and lost of damaged ones; `stack` closes them.

    The ledger of an output is always on disk: `in_memory` is about answers, which hold documents' content.

    Raises:
        StateError: another run holds the output folder, or the state is damaged.
        SetupError: a folder can't be made.

    """
    paid = any(endpoint.provider != "local" for endpoint in decided.endpoints.values())
    kept = decided.output is not None or (paid and not where.in_memory)
    folder = (where.state or state_folder(decided)) if kept else None
    try:
        for path in filter(None, (decided.output, _lock_folder(decided), folder)):
            path.mkdir(parents=True, exist_ok=True, mode=0o777 if path == decided.output else 0o700)
    except OSError as error:
        hint = (
            "name another with -o"
            if decided.output
            else "FIELDSIFT_CACHE_DIR names another; --no-store does without"
        )
        raise SetupError(f"{error.filename}: {error.strerror}; {hint}") from error
    if folder:
        way_out = (
            "--state DIR names a folder on a local disk"
            if decided.output
            else "FIELDSIFT_CACHE_DIR names one on a local disk; --no-store does without"
        )
        refuse_remote(folder, way_out)
    if folder and not decided.output:
        stack.enter_context(using(folder))
    if decided.output:
        stages = [stage.name for stage in decided.stages]
        stack.enter_context(held(decided.output, stages, where.state))
    results = decided.output / "results.jsonl" if decided.output else None
    rebuilt = rebuild(folder, results) if folder and where.rebuild else []
    ledger = Ledger(folder, results)
    stack.callback(ledger.close)
    stack.callback(answers.close)
    replay = where.replay or REPLAYING.get()
    replies: Replies = Recording(replay) if replay else StoredReplies(answers if kept else None)
    if where.record and not replay:
        replies = Recording(where.record, before=replies)
    stack.callback(replies.close)
    return ledger, replies, tuple(map(saved_and_lost, rebuilt))


@contextlib.asynccontextmanager
async def open_commons(
    decided: Plan, where: Storage, *, offline: bool
) -> AsyncIterator[Commons | None]:
    """The shared cache, closed at the end; none where answers come from what is stored alone, or are to be kept nowhere.

    Raises:
        StateError: it is on a network file system.

    """
    cache = decided.cache
    if cache is None or offline or where.in_memory:
        yield None
        return
    refuse_remote(cache.folder, "cache names one on a local disk")
    # Both may wait for another process.
    commons = await asyncio.to_thread(Commons, cache.folder, size=cache.size, age=cache.age)
    try:
        yield commons
    finally:
        await asyncio.to_thread(commons.close)


def _lock_folder(decided: Plan) -> Path | None:
    return decided.output / ".fieldsift" if decided.output else None


def state_folder(decided: Plan) -> Path:
    """Where the state of a plan lies: beside its output, else in the user's cache."""
    return decided.output / ".fieldsift" if decided.output else cache_folder()
