"""The shape of pipeline.toml: its tables and keys, and messages that name the line of a mistake."""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError
from pipeline.stages import NAME, PROMPT, SYSTEM, MediaResolution, Thinking


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Prices(_Table):
    """What a model costs, in USD per million tokens."""

    input: float = Field(
        ge=0, allow_inf_nan=False, description="Text, images and video that are sent"
    )
    output: float = Field(
        ge=0, allow_inf_nan=False, description="What is answered, thinking included"
    )
    cached: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Input that the provider's cache held; the input price if missing",
    )

    def rates(self) -> dict[str, float]:
        """The rates of all kinds of tokens: what the table does not say costs what fresh input costs."""
        return {"cached": self.input} | self.model_dump(exclude_none=True)


class ModelSettings(_Table):
    """What goes to the model with each request; what is missing is not sent."""

    thinking: Thinking | None = Field(default=None, description="How much the model may think")
    media_resolution: MediaResolution | None = Field(
        default=None, description="How finely pages and images are seen"
    )
    max_output_tokens: int | None = Field(
        default=None, ge=1, description="The longest answer; estimated if missing"
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = None


class ModelTable(ModelSettings):
    """A model under a name of your own, with its settings and price."""

    model: str = Field(description="model, or provider:model")
    price: Prices | None = Field(
        default=None, description="For models that `fieldsift models` does not know"
    )


class RunTable(_Table):
    """The folder job."""

    input: str | list[str] | None = Field(
        default=None, description="Folder, file or pattern, relative to this file"
    )
    output: str | None = Field(default=None, description="Output folder, relative to this file")
    model: str | None = Field(default=None, description="model, provider:model, local, or auto")
    budget: str | float | int | None = Field(
        default=None, description="The most that may be spent: 5.00 USD"
    )
    jobs: int | None = Field(
        default=None, ge=1, le=1000, description="Documents worked on at the same time"
    )
    min_confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Values of which the local engine is less sure are left out",
    )


class StageTable(ModelSettings):
    """One question to every document."""

    name: str = Field(pattern=f"^(?:{NAME.pattern})$", description="Its folder in the output")
    task: Literal["extract"] = "extract"
    schema_: str = Field(
        alias="schema", description="JSON Schema file, module:Model, shipped name, or fields"
    )
    model: str | None = Field(
        default=None, description="In place of the run's model; or the name of a [models] table"
    )
    system: str = Field(default=SYSTEM, description="The system instruction")
    prompt: str = Field(
        default=PROMPT, description="What is asked; the document follows it, fenced"
    )
    evidence: Literal["flagged", "required"] = Field(
        default="flagged", description="required: a value that is not found is an error"
    )


class PipelineFile(_Table):
    """A pipeline: what to read, what to ask, where the answers go."""

    version: Literal[1] = 1
    run: RunTable = RunTable()
    models: dict[str, ModelTable] = {}
    stage: list[StageTable] = []


def json_schema() -> dict[str, Any]:
    """The JSON Schema of pipeline.toml, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PipelineFile.model_json_schema(),
    }


def parse(text: str, file: Path | None, overrides: Sequence[str] = ()) -> PipelineFile:
    """Read a pipeline file, with `key=value` texts put over it.

    Raises:
        ConfigError: every mistake of the file, each with its line.

    """
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}") from error
    if file is not None and file.name == "pyproject.toml":
        table = table.get("tool", {}).get("fieldsift", {})
    for override in overrides:
        _put(table, override)
    try:
        read = PipelineFile.model_validate(table)
    except ValidationError as error:
        told = [_mistake(each["type"], each["loc"], each["msg"], text) for each in error.errors()]
        raise ConfigError("\n".join(f"{file or '-c'}: {line}" for line in told)) from None
    names = [stage.name for stage in read.stage]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise ConfigError(f"{file}: two stages are named {', '.join(sorted(doubled))}")
    return read


def _put(table: dict[str, Any], override: str) -> None:
    """Put `run.model=local`, or short `model=local`, into the table."""
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"-c {override}: write key=value, for example -c model=local")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *path, last = key.strip().split(".")
    for name in path or ["run"]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"-c {override}: {name} has no keys that can be set this way")
    table[last] = value


def _mistake(kind: str, place: tuple[int | str, ...], message: str, text: str) -> str:
    names = [str(part) for part in place]
    line = _line(place, text)
    where = f"line {line}: " if line else ""
    if kind != "extra_forbidden":
        return f"{where}{'.'.join(names)}: {message}"
    known = _known(place)
    close = difflib.get_close_matches(names[-1], known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    table = ".".join(name for name in names[:-1] if not name.isdigit())
    return f"{where}unknown key {names[-1]!r}{f' in [{table}]' if table else ''}: {hint}"


def _known(place: tuple[int | str, ...]) -> list[str]:
    tables: Mapping[str, type[BaseModel]] = {
        "run": RunTable,
        "stage": StageTable,
        "models": ModelTable,
    }
    if "price" in place[:-1]:
        model: type[BaseModel] = Prices
    else:
        model = tables.get(str(place[0]), PipelineFile) if len(place) > 1 else PipelineFile
    return [info.alias or name for name, info in model.model_fields.items()]


def _line(place: tuple[int | str, ...], text: str) -> int | None:
    """The line of a key: tomllib keeps no positions, so its table's heading is looked for, then the key."""
    heading = re.compile(r"^\s*\[\[?\s*(?:tool\.fieldsift\.?)?([\w.-]*)\s*\]\]?")
    wanted = ".".join(str(part) for part in place[:-1] if not isinstance(part, int))
    number = next((part for part in place if isinstance(part, int)), 0)
    current, times = "", dict[str, int]()
    for count, line in enumerate(text.splitlines(), start=1):
        if found := heading.match(line):
            current = found[1]
            times[current] = times.get(current, -1) + 1
        if (
            current == wanted
            and times.get(current, 0) == number
            and re.match(rf'\s*"?{re.escape(str(place[-1]))}"?\s*=', line)
        ):
            return count
    return None
