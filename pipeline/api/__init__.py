"""The library's face: extract, Pipeline, validate. `run.py` has what a run came to, `waiting.py` the synchronous wrapper."""

import contextlib
import hashlib
import heapq
import itertools
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pipeline import storing
from pipeline.api.given import Given, source_of
from pipeline.api.run import Counting as Counting
from pipeline.api.run import Progress as Progress
from pipeline.api.run import Run as Run
from pipeline.api.waiting import wait_for
from pipeline.checking import check_path
from pipeline.committing import write_rows
from pipeline.config import Call, Plan, need_output, plan, read_file, recipe_stages
from pipeline.config.quotas import LIMITS
from pipeline.config.shared import NAMES
from pipeline.errors import NoInput, NotRecorded, UsageError
from pipeline.estimating import Estimate, Estimator, Method, open_estimator
from pipeline.ledger import REPLAYING, RepliesFile, Shared, Shelf, Words, explained
from pipeline.limits import dollars
from pipeline.reporters import Checked
from pipeline.results import BY_SIGNAL, Result
from pipeline.rows import Columns, Piped, with_rows
from pipeline.runner import Options, Runner, Tally, exit_code
from pipeline.runner.selecting import needed
from pipeline.schema import Schema
from pipeline.sources import Source, sources
from pipeline.stages import Stage
from pipeline.writers import dump, replace_file

Storage = storing.Storage

#: What code may say of a job, beside the fields of its Stages.
_SETTINGS: Final = (
    "model",
    "budget",
    "jobs",
    "prompt",
    "text_field",
    "id_field",
    "profile",
    "allow_tools_on_untrusted",
    *NAMES,
    *LIMITS,
)
#: Said before anything is sent: a Run is read from its folder.
_NO_OUTPUT: Final = (
    'no output folder: run(inputs, output="out"), or output under [run] in pipeline.toml; '
    "extract(document, schema) and Pipeline.arun(inputs) need none"
)
#: Answers and money beside the output.
_BESIDE: Final = Storage()


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the inputs to take: the first `limit`, or a `sample` drawn by `seed`; `piped` are those of the input `-`."""

    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    piped: Piped | None = None

    def of(self, found: Iterable[Source]) -> Iterator[Source]:
        """The chosen sources, in their order; the same seed and folder give the same sample."""
        if self.sample is not None:
            drawn = heapq.nsmallest(
                self.sample, found, key=lambda source: _draw(self.seed, source.path)
            )
            found = sorted(drawn, key=lambda source: source.path)
        return itertools.islice(found, self.limit)


class Pipeline:
    """Stages over a folder: the same job as `fieldsift run`.

    Settings are those of `[run]` in pipeline.toml: `model`, `profile` (cheap, balanced, careful), `budget`, `jobs`,
    `text_field`, `id_field`, `allow_tools_on_untrusted`, `rpm`, `tpm`, `rpd`, `tpd`, `spend`, `timeout`, `cache`,
    `cache_size`, `cache_age`; and `prompt`.
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
        """The pipeline of a file, or the recipe of a name (`email_triage`).

        Raises:
            ConfigError: the file is wrong; every mistake is told.

        """
        if not Path(path).is_file() and (stages := recipe_stages(path)):
            return cls(stages, **settings)
        made = cls([], **settings)
        made.file = Path(path)
        read_file(Call(made.file))
        return made

    def run(
        self,
        inputs: Any = None,
        output: str | Path | None = None,
        on_progress: Callable[[Progress], object] | None = None,
        **options: Any,
    ) -> Run:
        """Work through the inputs into the output folder; resumes by itself.

        `on_progress` is called after every Result that is committed (`print` will do); what it raises ends the run.
        `options` are the fields of `pipeline.runner.Options` and of `Storage`.

        Raises:
            UsageError, SetupError, NoInput: nothing was started.

        """

        async def _work() -> Run:
            decided = self._plan(inputs, output, options)
            if decided.output is None:
                raise UsageError(_NO_OUTPUT)
            how, where = _split(options)
            so_far = Counting()
            async with (
                open_runner(decided, how, where) as runner,
                contextlib.aclosing(runner.run(inputs_of(decided, where=where))) as results,
            ):
                async for result in results:
                    if on_progress:
                        on_progress(so_far.with_(result))
                return summarised(decided, runner)

        return wait_for(_work())

    async def arun(
        self, inputs: Any = None, output: str | Path | None = None, **options: Any
    ) -> AsyncGenerator[Result, None]:
        """The Results of this run, each after it is committed; finished, unchanged documents give none."""
        decided = self._plan(inputs, output, options)
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
            decided = self._plan(inputs, output, options, keyless=not count)
            how, where = _split(options)
            async with estimator(decided, how, where, "count" if count else "offline") as made:
                return await made.estimate(inputs_of(decided, where=where))

        return wait_for(_work())

    def _plan(
        self,
        inputs: Any,
        output: str | Path | None,
        options: Mapping[str, Any] = MappingProxyType({}),
        *,
        keyless: bool = False,
    ) -> Plan:
        listed = [inputs] if isinstance(inputs, str | Path) else inputs
        given = {**self.settings, "inputs": listed, "output": output}
        replaying = bool(options.get("replay")) or REPLAYING.get() is not None
        keyless = keyless or bool(options.get("offline"))
        call = Call(file=self.file, replaying=replaying, keyless=keyless)
        return plan(given, call, self.stages)


def extract(source: Given, schema: Any, **settings: Any) -> Result:
    """One document -> its Result; `Result.value` is the pydantic instance where a model was given.

    Works in a plain script, inside a running event loop, and in a notebook.

    Args:
        source: a path, bytes, an open binary file, or a list of the texts of its pages.
        schema: the name of a recipe (`invoice`), whose stage it then is; else whatever `Schema.of` takes: a pydantic
            model, a mapping, a path, fields.
        settings: `model`, `prompt`, `budget`, `allow_tools_on_untrusted`, `rpm`, `tpm`, `rpd`, `tpd`, `spend`,
            `timeout`, `cache`, `cache_size`, `cache_age`, and the fields of `Stage`.

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
    stage = _stage(schema, stage_settings)
    decided = plan(_known_settings(settings), Call(replaying=REPLAYING.get() is not None), [stage])
    async with open_runner(decided, Options(), Storage()) as runner:
        results = [result async for result in runner.run([source_of(source)])]
    if results[0].reason == "not_recorded":
        raise NotRecorded(results[0].findings[0].message)
    return results[0]


def _stage(schema: Any, settings: Mapping[str, Any]) -> Stage:
    """The one stage of a recipe, with settings put over its own; else one of a schema."""
    stages = recipe_stages(schema)
    if len(stages) > 1:
        raise UsageError(
            f"{schema} has {len(stages)} stages ({', '.join(stage.name for stage in stages)}), and one Result holds one "
            f"of them: Pipeline.load({schema!r}).run(inputs, output)"
        )
    if stages:
        return replace(stages[0], **settings)
    return Stage(name=(made := Schema.of(schema)).name, schema=made, **settings)


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


@contextlib.asynccontextmanager
async def open_runner(decided: Plan, options: Options, where: Storage) -> AsyncIterator[Runner]:
    """A Runner with its ledger, replies and lock; run.json says at any time what lies in the output.

    Raises:
        StateError: another run holds the output folder, or the state is damaged.
        UsageError: a stage is chosen that the pipeline does not have; then no folder is made.

    """
    needed(decided.stages, options.stages)
    async with contextlib.AsyncExitStack() as stack:
        answers = RepliesFile(
            None if where.in_memory else where.state or storing.state_folder(decided)
        )
        ledger, replies, rebuilt = storing.open_stores(decided, where, answers, stack)
        words, shelf = Words(answers), Shelf(answers)
        if where.replay or REPLAYING.get():
            options = replace(options, offline=True)
        opening = storing.open_commons(decided, where, offline=options.offline)
        if commons := await stack.enter_async_context(opening):
            replies = Shared(replies, commons, decided.elsewhere)
        runner = Runner(decided, ledger, replies, words=words, shelf=shelf, options=options)
        runner.rebuilt, runner.commons = rebuilt, commons
        started = datetime.now(UTC)
        try:
            if decided.output:
                _write_summary(decided, runner, started, finished=None)
            yield runner
        finally:
            await runner.aclose()
            if decided.output:
                ledger.tidy()
                write_rows(ledger, decided.output)
                ended = datetime.now(UTC) if runner.tally.ended else None
                _write_summary(decided, runner, started, finished=ended)


def estimator(
    decided: Plan, options: Options, where: Storage, method: Method = "offline"
) -> contextlib.AbstractAsyncContextManager[Estimator]:
    """What tells the cost of a run; see `pipeline.estimating.open_estimator`."""
    folder = None if where.in_memory else where.state or storing.state_folder(decided)
    return open_estimator(decided, options, folder, where.replay or REPLAYING.get(), method)


def summarised(decided: Plan, runner: Runner) -> Run:
    """The Run that a Runner has come to."""
    counts = runner.ledger.counts()
    unpriced = runner.ledger.calls()[1]
    cost = None if unpriced else Decimal(dollars(runner.ledger.spent()))
    code = exit_code(counts, runner.tally)
    return Run(need_output(decided), counts, cost, decided.engine, code, runner.tally.unchanged)


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
        "inputs": [str((decided.base / text).absolute()) for text in decided.inputs],
        "working_folder": str(decided.base.absolute()),  # what relative inputs are relative to
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
            "answers_sent": runner.asker.bought.sent,
            "answers_stored": runner.asker.stored,
            "answers_shared": runner.commons.found if runner.commons else 0,
        },
        "money": {
            "calls": sent,
            "calls_of_unknown_price": unpriced,
            "cost_usd": None if unpriced else float(dollars(runner.ledger.spent())),
            "caches_usd": float(dollars(runner.ledger.spent(keys="cache *"))),
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
    decided: Plan, choice: Choice = Choice(), where: Storage = _BESIDE
) -> Iterator[Source]:
    """The chosen inputs of a plan, as a stream.

    Raises:
        UsageError: none is named, or a named one does not exist.
        NoInput: they are named, and there is no document in them.

    """
    cache = decided.cache.folder if decided.cache else None
    own = filter(None, (where.state, where.record, where.replay, cache))
    if not decided.inputs:
        raise UsageError("no input: name files or folders, or input under [run] in pipeline.toml")
    output = decided.output and decided.output.resolve()
    for folder in ((decided.base / text).resolve() for text in decided.inputs):
        if output and folder.is_dir() and (folder == output or folder.is_relative_to(output)):
            raise UsageError(
                f"output {output} holds the input {folder}: name another output folder"
            )
    hidden = (*filter(None, (output,)), *decided.files, *own)
    named = Columns(decided.text_field, decided.id_field)
    if choice.piped and decided.inputs != ("-",):
        raise UsageError("the input - (what is piped in) stands alone: name no other beside it")
    given = (
        choice.piped.sources(named, hidden)
        if choice.piped
        else sources(decided.inputs, leave_out=hidden, base=decided.base)
    )
    found = choice.of(with_rows(given, named))
    first = next(found, None)
    if first is None:
        raise NoInput(f"no document in {', '.join(decided.inputs)}")
    return itertools.chain([first], found)


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
