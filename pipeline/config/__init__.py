"""pipeline.toml + flags + environment -> Plan; nothing else reads the environment.

Each setting is taken from the first place that has it: a flag, its FIELDSIFT_ variable, `-c`, the
pipeline file, the default.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import catalogue
from pipeline.config.answering import (
    Answering,
    Asked,
    Asking,
    connected,
    of_code,
    of_file,
    recipe_stages,
)
from pipeline.config.keys import Keys, cache_folder, keys, resolve, wants_color
from pipeline.config.profiles import known
from pipeline.config.quotas import amount, checked, in_words
from pipeline.config.shared import Cache, cache
from pipeline.errors import ConfigError, UsageError
from pipeline.providers import Endpoint
from pipeline.schema import recipe_names
from pipeline.stages import Stage
from pipeline.stages.context import Context

if TYPE_CHECKING:
    from pipeline.config.tables import PipelineFile

__all__ = [
    "Cache", "Call", "Keys", "Plan", "Setting",
    "budget", "cache_folder", "find_file", "keys", "need_output", "plan", "read_file", "recipe_stages", "resolve",
    "wants_color",
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

    `stages[i].models` are keys of `endpoints` and `prices`. `root` is the folder of the pipeline file, else
    the working folder; `base` is what `inputs` are relative to: the one where the file names them, the other where
    the call does. `files` are the pipeline's own files, which are never inputs.
    """

    stages: tuple[Stage, ...]
    endpoints: Mapping[str, Endpoint]
    prices: Mapping[str, catalogue.Price | None]
    root: Path
    inputs: tuple[str, ...] = ()
    base: Path = Path()
    output: Path | None = None
    budget: Decimal | None = None
    jobs: int | None = None
    cache: Cache | None = None
    text_field: str | None = None
    id_field: str | None = None
    file: Path | None = None
    files: tuple[Path, ...] = ()
    settings: tuple[Setting, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = ()

    @property
    def engine(self) -> str:
        """The models that answer, in the order of the stages: `gemini:gemini-3.1-flash-lite`."""
        return ", ".join(dict.fromkeys(stage.engine for stage in self.stages))

    @property
    def asked(self) -> tuple[Stage, ...]:
        """The stages that ask, as each of their models is asked: by its own, then by those that it escalates to."""
        asked = (stage for stage in self.stages if stage.task != "python")
        return tuple(each for stage in asked for each in (stage, *stage.higher))

    @property
    def elsewhere(self) -> dict[tuple[str, str], str]:
        """The addresses of those that are not asked where their provider is known to be, by provider and model."""
        found: dict[tuple[str, str], set[str]] = {}
        for each in self.endpoints.values():
            found.setdefault((each.provider, each.model), set()).add(each.elsewhere)
        return {asked: " ".join(sorted(all_)) for asked, all_ in found.items() if any(all_)}

    @property
    def sha256(self) -> str:
        """The hash (hex) of the ordered stages and of what reads the files."""
        told = {
            "stages": [[stage.name, stage.sha256] for stage in self.stages],
            "readers": self.readers,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def readers(self) -> dict[str, str]:
        """The versions of what decides how a file is read."""
        return {name: _version(name) for name in _READERS}


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
    the model that was asked then. `origins` say where settings came from; `typed` is how the command
    is typed, `{}` standing for its schema.
    """

    file: Path | None = None
    overrides: tuple[str, ...] = ()
    env_file: Path | None = None
    terminal: bool = False
    keyless: bool = False
    replaying: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)
    typed: str = "fieldsift run INPUT -s {} -o out"


def plan(given: Mapping[str, Any], call: Call | None = None, stages: Sequence[Stage] = ()) -> Plan:
    """Decide everything, or say all that is wrong.

    Args:
        given: settings by name: `inputs`, `output`, `schema`, `model`, `prompt`, `budget`, `jobs`, `min_confidence`,
            `profile`, `text_field`, `id_field`, `allow_tools_on_untrusted`, `shared.NAMES`, and `quotas.LIMITS`.
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
    made = of_code(stages) or of_file(given, table, root, call.file)
    if not made:
        raise ConfigError(_no_schema(call))
    made = connected(made, None if stages or "schema" in given else call.file)
    least = settings.take("min_confidence", "min_confidence", None)
    model = settings.take("model", "model", None)
    answering = Answering(
        table, keys(root, call.env_file), model, _asking(settings, call, checked(given), root)
    )
    settled = tuple(
        answering.settle(each if least is None else _surer(each, least)) for each in made
    )
    output = settings.take("output", "output", None)
    return Plan(
        stages=settled,
        endpoints=answering.endpoints,
        prices=answering.prices,
        root=root,
        inputs=tuple(map(str, [inputs] if isinstance(inputs, str | Path) else inputs)),
        base=Path() if "inputs" in given or call.file is None else root,
        output=None if output is None else (Path() if "output" in given else root) / output,
        budget=budget(settings.take("budget", "budget", None)),
        cache=cache(settings.take, given, root),
        **{name: settings.take(name, name, None) for name in ("jobs", "text_field", "id_field")},
        file=call.file,
        files=(*_own_files(call.file, root, settled), *_glossaries(table, root)),
        settings=(
            *settings.seen,
            *_stage_settings(answering.asked),
            *_endpoint_settings(answering, call.file),
        ),
        notes=tuple(answering.notes),
    )


def _asking(settings: "_Settings", call: Call, limits: Mapping[str, Any], root: Path) -> Asking:
    """What decides about keys and tools; the model is taken already."""
    return Asking(
        terminal=call.terminal,
        keyless=call.keyless,
        replaying=call.replaying,
        typed="model" in settings.given and "model" in call.origins,
        tools=bool(settings.take("allow_tools_on_untrusted", "allow_tools_on_untrusted", False)),
        root=root,
        file=call.file,
        limits=limits,
        profile=known(settings.take("profile", "profile", None)),
        origin=next(each.origin for each in settings.seen if each.name == "model"),
    )


def _surer(asked: Asked, least: float) -> Asked:
    """A stage with the run's `min_confidence`, where its values have a confidence at all."""
    if asked.stage.task != "extract":
        return asked
    return replace(asked, stage=replace(asked.stage, min_confidence=least))


def budget(text: object) -> Decimal | None:
    """`5`, `5USD`, `5.00 USD`, `$5` -> dollars.

    Raises:
        ConfigError: not an amount of dollars.

    """
    return amount(text, "budget")


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
    if isinstance(value, Mapping):
        return "; ".join(f"{k} {told}" for k, each in value.items() if (told := _words(each)))
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(_words, value)))
    return "" if value is None else str(value)


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


def _own_files(file: Path | None, root: Path, stages: Sequence[Stage]) -> tuple[Path, ...]:
    own = [file.resolve(), file.resolve().with_name("pipeline.schema.json")] if file else []
    return (
        *own,
        *(
            Path(stage.schema.source).resolve()
            for stage in stages
            if stage.schema.source.endswith(".json")
        ),
        *(each.path for stage in stages for each in stage.context if isinstance(each, Context)),
    )


def _glossaries(table: "PipelineFile", root: Path) -> Iterator[Path]:
    return (
        (root / each.glossary).resolve() for each in table.stage if isinstance(each.glossary, str)
    )


def _stage_settings(stages: Sequence[Asked]) -> Iterator[Setting]:
    """What each stage was told, and from where; words of ours that nobody changed are left out."""
    for each in stages:
        for name, why in each.unset.items():
            yield Setting(f"stage.{each.stage.name}.{name}", f"not set: {why}", each.origins[name])
        told = each.stage.to_json() | {"schema": each.stage.schema.source}
        del told["name"], told["schema_sha256"], told["prompts_version"]
        for name, value in told.items():
            origin = each.origins.get(name, "default")
            is_ours = name in {"system", "prompt"} and origin == "default"
            if (
                origin.startswith("profile") and value is None
            ):  # the one of which that says something
                value = "as many rows or items as fit, files alone"  # noqa: PLW2901
            if value in (None, (), [], False) or is_ours or name in each.unset:
                continue
            yield Setting(f"stage.{each.stage.name}.{name}", _words(value), origin)


def _endpoint_settings(answering: Answering, file: Path | None) -> Iterator[Setting]:
    """Where each endpoint lies and by which key, never the key itself; and what it costs."""
    for name, endpoint in answering.endpoints.items():
        service = answering.services.get(endpoint.provider)
        if service is None or endpoint.provider == "local":
            continue
        address = endpoint.base_url or endpoint.service.base_url
        place = f"project {endpoint.project}, location {endpoint.location}"
        told = [address, place if endpoint.project else ""]
        told.append(
            f"key of {endpoint.key_name}" if endpoint.key_name
            else "Google credentials" if endpoint.project else "no key"
        )  # fmt: skip
        origin = "catalogue"
        if service.base_url or (endpoint.project and service.project):
            origin = str(file or "-c")
        elif endpoint.base_url:
            origin = service.facts.address
        elif endpoint.project:
            origin = "GOOGLE_CLOUD_PROJECT"
        yield Setting(f"endpoint.{name}", ", ".join(filter(None, told)), origin)
        if limits := in_words(endpoint):
            yield Setting(f"limits.{name}", limits, str(file or "-c"))
        price = answering.prices[name]
        rates = price.rates["standard"] if price else None
        if price and rates:
            words = f"{rates.input:f} USD in, {rates.output:f} USD out per million tokens"
            yield Setting(f"price.{name}", words, price.source)
        else:
            yield Setting(f"price.{name}", "unknown", "in no list")


def _no_schema(call: Call) -> str:
    lacking = f"{call.file} has no [[stage]]" if call.file else f"no schema and no {FILE_NAME}"
    lines = [call.typed.format(named) for named in ("invoice", "'vendor, total float, date'")]
    return "\n  ".join(
        [
            f"{lacking}; name one (shipped: {', '.join(recipe_names())}):",
            *lines,
            "fieldsift init demo",
        ]
    )


@lru_cache
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
