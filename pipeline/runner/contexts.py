"""The context files of a run, loaded before anything is sent: what can't be read, or is too much for a model, ends it."""

import asyncio
from collections.abc import Mapping

from pipeline.asking import Beside
from pipeline.config import Plan
from pipeline.document import Document
from pipeline.errors import DocumentError, UsageError
from pipeline.eyes import Eyes, Seen
from pipeline.limits import Gate
from pipeline.loaders import Loaders
from pipeline.stages import Stage
from pipeline.stages.context import Context
from pipeline.windows.cut import UNKNOWN_INPUT, room

#: The largest share of what a model reads at once that context may take: the rest is for documents.
MOST = 0.9


async def contexts_of(
    plan: Plan, gates: Mapping[str, Gate], loaders: Loaders, eyes: Eyes
) -> dict[str, Beside]:
    """What the documents of each stage are read beside, by the stage's name; nothing of stages without context.

    Raises:
        UsageError: a file can't be read, is not what was found before, or does not fit a model of its stage.
        SetupError: no child process can be started.

    """
    loaded: dict[str, tuple[Document, asyncio.Future[Seen]]] = {}
    made: dict[str, Beside] = {}
    for stage in plan.stages:
        files = [each for each in stage.context if isinstance(each, Context)]
        for each in files:
            if each.sha256 not in loaded:
                loaded[each.sha256] = await _loaded(stage, each, loaders, eyes)
        if files:
            documents = tuple(loaded[each.sha256] for each in files)
            made[stage.name] = Beside(documents, loaders)
    for stage in plan.asked:
        if stage.name in made:
            for name in (str(stage.model), *stage.fallback):
                await _check(stage, made[stage.name], gates[name])
    return made


async def _loaded(
    stage: Stage, file: Context, loaders: Loaders, eyes: Eyes
) -> tuple[Document, asyncio.Future[Seen]]:
    told = f"stage {stage.name}: context {file.name!r}"
    try:
        content = await asyncio.to_thread(file.path.read_bytes)
        document = await loaders.load(file.path.name, content)
    except OSError as error:
        raise UsageError(f"{told}: {file.path}: {error.strerror}") from error
    except DocumentError as error:
        raise UsageError(f"{told} can't be read: {error.reason}: {error}") from error
    if document.sha256 != file.sha256:
        raise UsageError(f"{told} changed just now: run again")
    looking: asyncio.Future[Seen] = asyncio.ensure_future(eyes.look(document, content))
    looking.add_done_callback(lambda done: done.cancelled() or done.exception())
    return document, looking


async def _check(stage: Stage, beside: Beside, gate: Gate) -> None:
    endpoint = gate.endpoint
    known = endpoint.known
    limit = (known.input_limit if known else None) or endpoint.service.input_limit or UNKNOWN_INPUT
    try:
        tokens = await beside.tokens(stage, gate)
    except DocumentError as error:
        raise UsageError(f"stage {stage.name}: context for {endpoint.name}: {error}") from error
    if tokens > MOST * room(limit):
        raise UsageError(
            f"stage {stage.name}: its context has about {tokens:,} tokens, and {endpoint.name} reads {limit:,} at once, "
            f"the document among them; leave files out, or take a model that reads more"
        )
