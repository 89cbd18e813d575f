"""The library's face: extract, Pipeline, validate. One synchronous wrapper, here and nowhere else."""

import asyncio
import contextlib
import contextvars
import hashlib
import heapq
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from pipeline.checking import check_path, read_results
from pipeline.config import Call, Plan, cache_folder, need_output, plan, read_file
from pipeline.config.quotas import LIMITS
from pipeline.errors import NoInput, NotRecorded, SetupError, UsageError
from pipeline.estimating import Estimate, Estimator, Method, open_estimator
from pipeline.ledger import (
    REPLAYING,
    Ledger,
    Recording,
    Replies,
    RepliesFile,
    Shelf,
    StoredReplies,
    Words,
    explained,
    held,
    rebuild,
    refuse_remote,
    saved_and_lost,
)
from pipeline.limits import dollars
from pipeline.reporters import Checked
from pipeline.results import BY_SIGNAL, Result
from pipeline.runner import Options, Runner, Tally, exit_code
from pipeline.schema import Schema
from pipeline.sources import Source, named_file, sources
from pipeline.stages import Stage
from pipeline.writers import dump, replace_file

T = TypeVar("T")

#: What code may say of a job, beside the fields of its Stages.
_SETTINGS: Final = ("model", "budget", "jobs", "prompt", "allow_tools_on_untrusted", *LIMITS)

#: What `extract` takes as a document.
Given = str | Path | bytes | BinaryIO


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


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the inputs to take: the first `limit`, or a `sample` drawn by `seed`."""

    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def of(self, found: Iterable[Source]) -> Iterator[Source]:
        """The chosen sources, in their order; the same seed and folder give the same sample."""
        if self.sample is not None:
            drawn = heapq.nsmallest(
                self.sample, found, key=lambda source: _draw(self.seed, source.path)
            )
            found = sorted(drawn, key=lambda source: source.path)
        return itertools.islice(found, self.limit)


@dataclass(frozen=True, slots=True)
class Run:
    """What a folder run came to: lines of results.jsonl by status, money, and the exit code of the command."""

    output: Path
    counts: Mapping[str, int]
    cost_usd: Decimal | None
    engine: str
    exit_code: int
    unchanged: int = 0

    def __iter__(self) -> Iterator[Result]:
        """Every Result of the output folder, read one by one."""
        return read_results(self.output)


class Pipeline:
    """Stages over a folder: the same job as `fieldsift run`.

    Settings are those of `[run]` in pipeline.toml: `model`, `budget`, `jobs`, `allow_tools_on_untrusted`, `rpm`, `tpm`,
    `rpd`, `tpd`, `spend`, `timeout`; and `prompt`.
    """

    def __init__(self, stages: Sequence[Stage] | Stage, **settings: Any) -> None:
        """Stages made in code.

        Raises:
            UsageError: there is none, two have the same name, or a setting does not exist.

        """
        self.stages = [stages] if isinstance(stages, Stage) else list(stages)
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise UsageError(f"two stages have the same name: {', '.join(names)}")
        self.settings = _known_settings(settings)
        self.file: Path | None = None

    @classmethod
    def load(cls, path: str | Path = "pipeline.toml", **settings: Any) -> "Pipeline":
        """The pipeline of a file.

        Raises:
            ConfigError: the file is wrong; every mistake is told.

        """
        made = cls([], **settings)
        made.file = Path(path)
        read_file(Call(made.file))
        return made

    def run(self, inputs: Any = None, output: str | Path | None = None, **options: Any) -> Run:
        """Work through the inputs into the output folder; resumes by itself.

        `options` are the fields of `pipeline.runner.Options` and of `Storage`.

        Raises:
            UsageError, SetupError, NoInput: nothing was started.

        """

        async def _work() -> Run:
            decided = self._plan(inputs, output)
            how, where = _split(options)
            async with open_runner(decided, how, where) as runner:
                async for _ in runner.run(inputs_of(decided, where=where)):
                    pass
                return summarised(decided, runner)

        return wait_for(_work())

    async def arun(
        self, inputs: Any = None, output: str | Path | None = None, **options: Any
    ) -> AsyncIterator[Result]:
        """The Results of this run, each after it is committed; finished, unchanged documents give none."""
        decided = self._plan(inputs, output)
        how, where = _split(options)
        async with (
            open_runner(decided, how, where) as runner,
            contextlib.aclosing(runner.run(inputs_of(decided, where=where))) as results,
        ):
            async for result in results:
                yield result

    def estimate(
        self,
        inputs: Any = None,
        output: str | Path | None = None,
        *,
        count: bool = False,
        **options: Any,
    ) -> Estimate:
        """What `run` would ask and cost; nothing is sent, and nothing on disk is made or changed.

        With `count` the service is asked how many tokens the requests have, which is free; else no key is
        needed.

        Raises:
            UsageError, SetupError, NoInput: a run could not begin either.

        """

        async def _work() -> Estimate:
            decided = self._plan(inputs, output, keyless=not count)
            how, where = _split(options)
            async with estimator(decided, how, where, "count" if count else "offline") as made:
                return await made.estimate(inputs_of(decided, where=where))

        return wait_for(_work())

    def _plan(self, inputs: Any, output: str | Path | None, *, keyless: bool = False) -> Plan:
        listed = [inputs] if isinstance(inputs, str | Path) else inputs
        given = {**self.settings, "inputs": listed, "output": output}
        call = Call(file=self.file, replaying=REPLAYING.get() is not None, keyless=keyless)
        return plan(given, call, self.stages)


def extract(source: Given, schema: Any, **settings: Any) -> Result:
    """One document -> its Result; `Result.value` is the pydantic instance where a model was given.

    Works in a plain script, inside a running event loop, and in a notebook.

    Args:
        source: a path, bytes, or an open binary file.
        schema: whatever `Schema.of` takes: a pydantic model, a mapping, a path, a shipped name, fields.
        settings: `model`, `prompt`, `budget`, `allow_tools_on_untrusted`, `rpm`, `tpm`, `rpd`, `tpd`, `spend`,
            `timeout`, and the fields of `Stage`.

    Raises:
        UsageError: no such file, or a setting does not exist.
        SchemaError: not a schema.
        SetupError: no key for the model, or the service does not take it.
        NotRecorded: inside `pipeline.testing.replay`, and the answer is not in the recording.

    """
    return wait_for(aextract(source, schema, **settings))


async def aextract(source: Given, schema: Any, **settings: Any) -> Result:
    """As `extract`, for code that runs in an event loop."""
    stage_settings = {
        key: settings.pop(key)
        for key in tuple(settings)
        if key in Stage.__dataclass_fields__ and key not in {"model", "name", "schema"}
    }
    stage = Stage(name=(made := Schema.of(schema)).name, schema=made, **stage_settings)
    decided = plan(_known_settings(settings), Call(replaying=REPLAYING.get() is not None), [stage])
    async with open_runner(decided, Options(), Storage()) as runner:
        results = [result async for result in runner.run([_source(source)])]
    if results[0].reason == "not_recorded":
        raise NotRecorded(results[0].findings[0].message)
    return results[0]


def validate(
    path: str | Path, schema: Any = None, *, sources: str | Path | None = None
) -> list[Checked]:
    """Judge what is there again, without a key or a network: an output folder, or any JSON or JSONL.

    Args:
        path: an output folder, a JSON or JSONL file, or a folder of such files.
        schema: what to check against; an output folder brings its own.
        sources: where the documents lie, for evidence; the recorded folders if None.

    Raises:
        UsageError: the path does not exist, or there is no schema.

    """
    given = None if schema is None else Schema.of(schema)
    return wait_for(check_path(Path(path), given, None if sources is None else Path(sources)))


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where an event loop is running already (a notebook, a web handler)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1, thread_name_prefix="fieldsift") as pool:
        task: Future[asyncio.Task[T]] = Future()

        async def _told() -> T:
            task.set_result(asyncio.ensure_future(work))
            return await task.result()

        outcome = pool.submit(contextvars.copy_context().run, asyncio.run, _told())
        try:
            return outcome.result()
        except KeyboardInterrupt:
            # Interrupted here, the work must end there too: it may be spending money.
            running = task.result()
            running.get_loop().call_soon_threadsafe(running.cancel)
            raise


@contextlib.asynccontextmanager
async def open_runner(decided: Plan, options: Options, where: Storage) -> AsyncIterator[Runner]:
    """A Runner with its ledger, replies and lock; run.json says at any time what lies in the output.

    Raises:
        StateError: another run holds the output folder, or the state is damaged.

    """
    with contextlib.ExitStack() as stack:
        answers = RepliesFile(None if where.in_memory else where.state or _state_folder(decided))
        ledger, replies, rebuilt = _open_stores(decided, where, answers, stack)
        words, shelf = Words(answers), Shelf(answers)
        if where.replay or REPLAYING.get():
            options = replace(options, offline=True)
        runner = Runner(decided, ledger, replies, words=words, shelf=shelf, options=options)
        runner.rebuilt = rebuilt
        started = datetime.now(UTC)
        try:
            if decided.output:
                _write_summary(decided, runner, started, finished=None)
            yield runner
        finally:
            await runner.aclose()
            if decided.output:
                ledger.tidy()
                ended = datetime.now(UTC) if runner.tally.ended else None
                _write_summary(decided, runner, started, finished=ended)


def estimator(
    decided: Plan, options: Options, where: Storage, method: Method = "offline"
) -> contextlib.AbstractAsyncContextManager[Estimator]:
    """What tells the cost of a run; see `pipeline.estimating.open_estimator`."""
    folder = None if where.in_memory else where.state or _state_folder(decided)
    return open_estimator(decided, options, folder, where.replay or REPLAYING.get(), method)


def summarised(decided: Plan, runner: Runner) -> Run:
    """The Run that a Runner has come to."""
    counts = runner.ledger.counts()
    unpriced = runner.ledger.calls()[1]
    cost = None if unpriced else Decimal(dollars(runner.ledger.spent()))
    code = exit_code(counts, runner.tally)
    return Run(need_output(decided), counts, cost, decided.engine, code, runner.tally.unchanged)


def _open_stores(
    decided: Plan, where: Storage, answers: RepliesFile, stack: contextlib.ExitStack
) -> tuple[Ledger, Replies, tuple[str, ...]]:
    """The ledger of an output is always on disk: `in_memory` is about answers, which hold documents' content."""
    paid = any(endpoint.provider != "local" for endpoint in decided.endpoints.values())
    kept = decided.output is not None or (paid and not where.in_memory)
    folder = (where.state or _state_folder(decided)) if kept else None
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


def _lock_folder(decided: Plan) -> Path | None:
    return decided.output / ".fieldsift" if decided.output else None


def _state_folder(decided: Plan) -> Path:
    return decided.output / ".fieldsift" if decided.output else cache_folder()


def _write_summary(
    decided: Plan, runner: Runner, started: datetime, finished: datetime | None
) -> None:
    output = need_output(decided)
    sent, unpriced = runner.ledger.calls()
    told = {
        "version": 1,
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds") if finished else None,
        "stopped": _why_stopped(runner.tally),
        "engine": decided.engine,
        "inputs": [str(Path(text).absolute()) for text in decided.inputs],
        "working_folder": str(Path.cwd()),
        "settings": {setting.name: setting.value for setting in decided.settings},
        "stages": [{"sha256": stage.sha256, **stage.to_json()} for stage in decided.stages],
        "schemas": {stage.schema.sha256: stage.schema.body for stage in decided.stages},
        "counts": runner.ledger.counts(),
        "this_run": {
            "inputs": runner.tally.sources,
            "unchanged": runner.tally.unchanged,
            "pages": runner.tally.pages,
            "unfinished": runner.tally.unfinished,
            "statuses": runner.tally.statuses,
            "fallbacks": runner.tally.fallbacks,
            "answers_sent": runner.asker.sent,
            "answers_stored": runner.asker.stored,
        },
        "money": {
            "calls": sent,
            "calls_of_unknown_price": unpriced,
            "cost_usd": None if unpriced else float(dollars(runner.ledger.spent())),
            "budget_usd": None if decided.budget is None else float(decided.budget),
        },
        "pipeline_sha256": decided.sha256,
    }
    try:
        replace_file(output / "run.json", (dump(told, indent=2) + "\n").encode())
    except OSError as error:
        raise explained(output / "run.json", error) from error


def _why_stopped(tally: Tally) -> str | None:
    """Why a run ended early, as run.json and `status` say it; None too while it is at work."""
    if tally.interrupted:
        return BY_SIGNAL
    return str(tally.stopped) if tally.stopped else None


def inputs_of(
    decided: Plan, choice: Choice = Choice(), where: Storage = Storage()
) -> Iterator[Source]:
    """The chosen inputs of a plan, as a stream.

    Raises:
        UsageError: none is named, or a named one does not exist.
        NoInput: they are named, and there is no document in them.

    """
    own = filter(None, (where.state, where.record, where.replay))
    if not decided.inputs:
        raise UsageError("no input: name files or folders, or input under [run] in pipeline.toml")
    output = decided.output and decided.output.resolve()
    for folder in (Path(text).resolve() for text in decided.inputs if Path(text).is_dir()):
        if output and (folder == output or folder.is_relative_to(output)):
            raise UsageError(
                f"output {output} holds the input {folder}: name another output folder"
            )
    found = choice.of(
        sources(decided.inputs, leave_out=(*filter(None, (output,)), *decided.files, *own))
    )
    first = next(found, None)
    if first is None:
        raise NoInput(f"no document in {', '.join(decided.inputs)}")
    return itertools.chain([first], found)


def _source(given: Given) -> Source:
    if isinstance(given, str | Path):
        if not Path(given).exists():
            raise UsageError(f"{given}: no such file")
        return named_file(str(given))
    content = given if isinstance(given, bytes) else given.read()
    name = getattr(given, "name", None)
    return Source(
        name if isinstance(name, str) else "document",
        size=len(content),
        content=content,
    )


def _draw(seed: int, path: str) -> bytes:
    return hashlib.sha256(f"{seed}:{path}".encode("utf-8", "surrogatepass")).digest()


def _known_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(settings) - set(_SETTINGS)
    if unknown:
        raise UsageError(
            f"unknown setting {', '.join(sorted(unknown))}; there are {', '.join(_SETTINGS)} and those of a Stage"
        )
    return dict(settings)


def _split(options: Mapping[str, Any]) -> tuple[Options, Storage]:
    """Keyword options sorted into how to run and where to keep."""
    how = {key: value for key, value in options.items() if key in Options.__dataclass_fields__}
    where: dict[str, Any] = {
        key: Path(value) if isinstance(value, str) else value
        for key, value in options.items()
        if key in Storage.__dataclass_fields__
    }
    unknown = set(options) - set(how) - set(where)
    if unknown:
        known = sorted({*Options.__dataclass_fields__, *Storage.__dataclass_fields__})
        raise UsageError(
            f"unknown option {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    return Options(**how), Storage(**where)
