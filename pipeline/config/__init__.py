"""pipeline.toml + flags + environment -> Plan; nothing else reads the environment.

Each setting is taken from the first place that has it: a flag, its FIELDSIFT_ variable, `-c`, the
pipeline file, the default.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import catalogue
from pipeline.config.keys import WELL_KNOWN_KEYS, Keys, cache_folder, keys, resolve
from pipeline.errors import ConfigError, UsageError
from pipeline.providers import Endpoint, check
from pipeline.schema import Schema, shipped_names
from pipeline.stages import Stage

if TYPE_CHECKING:
    from pipeline.config.file import ModelTable, PipelineFile

__all__ = [
    "WELL_KNOWN_KEYS", "Call", "Keys", "Plan", "Setting",
    "budget", "cache_folder", "find_file", "keys", "need_output", "plan", "read_file", "resolve",
]  # fmt: skip

FILE_NAME = "pipeline.toml"

#: What decides how a file is read: a new version of one of these reads finished files again.
_READERS = (
    "fieldsift", "pypdfium2", "pypdf", "pillow", "charset-normalizer", "rapidocr", "onnxruntime",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `config show` prints it: its value in words, and where it came from."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run needs, decided: stages with their models settled, and how to reach those.

    `stages[i].model` is a key of `endpoints` and `prices`. `root` is the folder of the pipeline file, else
    the working folder; `files` are the pipeline's own files, which are never inputs.
    """

    stages: tuple[Stage, ...]
    endpoints: Mapping[str, Endpoint]
    prices: Mapping[str, catalogue.Price | None]
    root: Path
    inputs: tuple[str, ...] = ()
    output: Path | None = None
    budget: Decimal | None = None
    jobs: int | None = None
    file: Path | None = None
    files: tuple[Path, ...] = ()
    settings: tuple[Setting, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = ()

    @property
    def engine(self) -> str:
        """The models that answer, in the order of the stages: `gemini:gemini-3.1-flash-lite`."""
        return ", ".join(self.endpoints)

    @property
    def sha256(self) -> str:
        """The hash (hex) of the ordered stages and of what reads the files."""
        told = {
            "stages": [[stage.name, stage.sha256] for stage in self.stages],
            "readers": {name: _version(name) for name in _READERS},
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def find_file(start: Path, *, outside: Sequence[str] = ()) -> Path | None:
    """The pipeline file of a folder: `pipeline.toml` or a `pyproject.toml` with [tool.fieldsift], upwards.

    One that lies in an input folder (`outside`) is somebody else's and never taken.
    """
    inputs = [Path(given).resolve() for given in outside if Path(given).is_dir()]
    for folder in (start.resolve(), *start.resolve().parents):
        if any(folder.is_relative_to(given) for given in inputs):
            continue
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
        project = folder / "pyproject.toml"
        if project.is_file() and b"[tool.fieldsift" in project.read_bytes():
            return project
    return None


@dataclass(frozen=True, slots=True)
class Call:
    """From where a plan is asked for.

    `file` is the pipeline file (None: none is used), `overrides` the `key=value` texts of `-c`, `env_file` is
    read in place of `.env`. On a `terminal` the model may be chosen for the user. `keyless`: nothing
    will be sent, so that a missing key does not matter; `replaying`: a recording answers in place of
    the model that was asked then. `origins` say where settings came from.
    """

    file: Path | None = None
    overrides: tuple[str, ...] = ()
    env_file: Path | None = None
    terminal: bool = False
    keyless: bool = False
    replaying: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)


def plan(given: Mapping[str, Any], call: Call | None = None, stages: Sequence[Stage] = ()) -> Plan:
    """Decide everything, or say all that is wrong.

    Args:
        given: settings by name: `inputs`, `output`, `schema`, `model`, `prompt`, `budget`, `jobs`,
            `min_confidence`.
        call: from where it is asked.
        stages: stages made by code; then neither a file nor `schema` is needed.

    Raises:
        ConfigError, SchemaError: the call or the file is wrong; nothing was sent.
        SetupError: there is no key for the model.

    """
    call = call or Call()
    given = {name: value for name, value in given.items() if value not in (None, (), [])}
    table = read_file(call)
    root = call.file.parent.resolve() if call.file else Path.cwd()
    settings = _Settings(given, call, table)
    inputs = settings.take("inputs", "input", ())
    made = list(stages) or _stages(given, table, root)
    if not made:
        raise ConfigError(_no_schema(call.file))
    answering = _Answering(
        call, table, keys(root, call.env_file), settings.take("model", "model", None)
    )
    answering.typed = "model" in given and "model" in call.origins
    if (least := settings.take("min_confidence", "min_confidence", None)) is not None:
        made = [replace(stage, min_confidence=least) for stage in made]
    settled = tuple(answering.settle(stage) for stage in made)
    output = settings.take("output", "output", None)
    return Plan(
        stages=settled,
        endpoints=answering.endpoints,
        prices=answering.prices,
        root=root,
        inputs=_placed(inputs, Path() if "inputs" in given else root),
        output=None if output is None else (Path() if "output" in given else root) / output,
        budget=budget(settings.take("budget", "budget", None)),
        jobs=settings.take("jobs", "jobs", None),
        file=call.file,
        files=_own_files(call.file, root, made),
        settings=(*settings.seen, *_stage_settings(settled)),
        notes=tuple(answering.notes),
    )


class _Answering:
    """Settles which endpoint answers each stage, at what price."""

    def __init__(self, call: Call, table: "PipelineFile", places: Keys, model: str | None) -> None:
        self.call, self.table, self.places, self.model = call, table, places, model
        self.endpoints: dict[str, Endpoint] = {}
        self.prices: dict[str, catalogue.Price | None] = {}
        self.notes: list[str] = []
        self.typed = False

    def _priced(self, endpoint: Endpoint) -> "ModelTable | None":
        """The table that gives this endpoint a price, by whatever name the model was asked for."""
        names = {endpoint.name, endpoint.model}
        tables = self.table.models.values()
        return next((table for table in tables if table.price and table.model in names), None)

    def settle(self, stage: Stage) -> Stage:
        # What was typed on the command line is meant for every stage.
        wanted = self.model if self.typed else stage.model or self.model
        named = self.table.models.get(wanted or "")
        if named:
            wanted, stage = named.model, _with_defaults(stage, named)
        endpoint, note = resolve(
            wanted,
            self.places,
            terminal=self.call.terminal,
            keyless=self.call.keyless,
            replaying=self.call.replaying,
        )
        if note and note not in self.notes:
            self.notes.append(note)
        self.endpoints[endpoint.name] = endpoint
        self.prices[endpoint.name] = _price(endpoint, self._priced(endpoint))
        check(stage, endpoint)
        return stage.on(endpoint.name)


def budget(text: object) -> Decimal | None:
    """`5`, `5USD`, `5.00 USD`, `$5` -> dollars.

    Raises:
        ConfigError: not an amount of dollars.

    """
    if text is None:
        return None
    found = re.fullmatch(
        r"\$?\s*(\d+(?:\.\d+)?)\s*(?:USD|\$)?", str(text).strip(), re.IGNORECASE | re.ASCII
    )
    if not found:
        raise ConfigError(f"budget {text!r}: give US dollars, for example 5USD or 0.50")
    return Decimal(found[1])


class _Settings:
    """Takes each setting from the first place that has it, and remembers where that was."""

    def __init__(self, given: Mapping[str, Any], call: Call, table: "PipelineFile") -> None:
        self.given, self.call, self.table = given, call, table
        names = (text.partition("=")[0].strip() for text in call.overrides)
        self.overridden = {name.removeprefix("run.") for name in names}
        self.seen: list[Setting] = []

    def take(self, name: str, key: str, default: Any) -> Any:
        value, origin = default, "default"
        if self.given.get(name) is not None:
            value, origin = self.given[name], self.call.origins.get(name, "flag")
        elif getattr(self.table.run, key) is not None:
            value, origin = (
                getattr(self.table.run, key),
                "-c" if key in self.overridden else str(self.call.file),
            )
        self.seen.append(Setting(key, "" if value in (None, ()) else _words(value), origin))
        return value


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _placed(inputs: Any, base: Path) -> tuple[str, ...]:
    """Inputs of the pipeline file are relative to it; those of the call stay as they were typed."""
    listed = [inputs] if isinstance(inputs, str) else inputs
    return tuple(str(text) if base == Path() else str(base / text) for text in listed)


def read_file(call: Call) -> "PipelineFile":
    """The tables of the call's pipeline file, `-c` put over them; empty ones without a file.

    Raises:
        ConfigError: it can't be read, or is wrong.

    """
    from pipeline.config.file import parse

    try:
        text = call.file.read_text("utf-8") if call.file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{call.file}: {error}") from error
    return parse(text, call.file, call.overrides)


def _stages(given: Mapping[str, Any], table: "PipelineFile", root: Path) -> list[Stage]:
    """One stage of `-s`, else those of the file."""
    prompt = {"prompt": given["prompt"]} if "prompt" in given else {}
    if "schema" in given:
        schema = Schema.of(given["schema"])
        return [Stage(schema.name, schema, **prompt)]
    stages = []
    for each in table.stage:
        settings = each.model_dump(exclude={"schema_"}, exclude_none=True)
        stages.append(Stage(schema=Schema.of(each.schema_, root=root), **{**settings, **prompt}))
    return stages


def _with_defaults(stage: Stage, named: "ModelTable") -> Stage:
    """The settings of a `[models.NAME]` table where the stage has none of its own."""
    defaults = named.model_dump(exclude={"model", "price"}, exclude_none=True)
    return replace(
        stage, **{name: value for name, value in defaults.items() if getattr(stage, name) is None}
    )


def _price(endpoint: Endpoint, named: "ModelTable | None") -> catalogue.Price | None:
    """The price that the file gives the model, else that of the catalogue today."""
    if named and named.price:
        return catalogue.price_of(named.price.rates(), source="pipeline file")
    return catalogue.price(
        catalogue.find(endpoint.provider, endpoint.model), datetime.now(UTC).date()
    )


def _own_files(file: Path | None, root: Path, stages: Sequence[Stage]) -> tuple[Path, ...]:
    own = [file.resolve(), file.resolve().with_name("pipeline.schema.json")] if file else []
    return (
        *own,
        *(
            Path(stage.schema.source).resolve()
            for stage in stages
            if stage.schema.source.endswith(".json")
        ),
    )


def _stage_settings(stages: Sequence[Stage]) -> list[Setting]:
    names = (
        "task", "schema", "model", "evidence", "thinking",
        "media_resolution", "max_output_tokens", "temperature", "seed",
    )  # fmt: skip
    return [
        Setting(f"stage.{stage.name}.{name}", str(value), "resolved")
        for stage in stages
        for name in names
        if (value := (stage.to_json() | {"schema": stage.schema.source})[name]) is not None
    ]


def _no_schema(file: Path | None) -> str:
    lacking = f"{file} has no [[stage]]" if file else f"no schema and no {FILE_NAME}"
    return (
        f"{lacking}; name one (shipped: {', '.join(shipped_names())}):\n"
        "  fieldsift run INPUT -s invoice -o out\n"
        "  fieldsift run INPUT -s 'vendor, total float, date' -o out\n"
        "  fieldsift init demo"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def need_output(plan: Plan) -> Path:
    """The output folder of a plan.

    Raises:
        UsageError: there is none.

    """
    if plan.output is None:
        raise UsageError(
            "no output folder: give one with -o DIR, or as output under [run] in pipeline.toml"
        )
    return plan.output
