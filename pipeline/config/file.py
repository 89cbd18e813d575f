"""pipeline.toml, read: `-c` put over it, and messages that name the line of a mistake."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from pipeline.config import services, wording
from pipeline.config.tables import TABLE, TEXT, PipelineFile
from pipeline.errors import ConfigError

_Place = tuple[int | str, ...]

NO_TOOLS = (
    "tools are not allowed: a document could make the model carry its content away with them; "
    "where all documents can be trusted, write allow_tools_on_untrusted = true under [run] "
    "(in Python: the setting allow_tools_on_untrusted=True)"
)


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
        told = [
            _mistake(each["type"], _named(each["loc"], table), wording.told(each), text)
            for each in error.errors()
        ]
        raise ConfigError(
            "\n".join(f"{file or '-c'}: {line}" for line in dict.fromkeys(told))
        ) from None
    if wrong := _refused(read):
        raise ConfigError(
            "\n".join(f"{file or '-c'}: {_where(at, text)}{told}" for at, told in wrong)
        )
    return read


def _refused(read: PipelineFile) -> list[tuple[_Place, str]]:
    """What the tables say, each well formed, and what is refused all the same: its place, and why."""
    names = [stage.name for stage in read.stage]
    wrong: list[tuple[_Place, str]] = [
        (("stage", number, "name"), f"two stages are named {name}")
        for number, name in enumerate(names)
        if name in names[:number]
    ]
    for name, table in read.providers.items():
        wrong += [(("providers", name, key), told) for key, told in services.mistakes(name, table)]
    if read.run.allow_tools_on_untrusted:
        return wrong
    asking: list[tuple[_Place, list[str]]] = [
        (("stage", n), stage.tools) for n, stage in enumerate(read.stage)
    ]
    asking += [(("models", name), table.tools) for name, table in read.models.items()]
    return wrong + [((*at, "tools"), NO_TOOLS) for at, tools in asking if tools]


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


def _named(place: _Place, table: dict[str, Any]) -> tuple[_Place, str]:
    """The keys of a place, and the name of the stage that it is in, if that has one."""
    place = tuple(part for part in place if part not in {TEXT, TABLE})
    if place and place[-1] in wording.ALTERNATIVES:
        place = place[:-1]
    match place:
        case ("stage", int(number), key, *_) if key != "name":
            name = table["stage"][number].get("name")
            return place, name if isinstance(name, str) else ""
    return place, ""


def _mistake(kind: str, at: tuple[_Place, str], message: str, text: str) -> str:
    place, stage = at
    names = [str(part) for part in place]
    where = _where(place, text)
    if kind != "extra_forbidden":
        whose = f"stage {stage}: {'.'.join(names[2:])}" if stage else ".".join(names)
        return f"{where}{whose}: {message}"
    known = _known(place)
    close = difflib.get_close_matches(names[-1], known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    table = ".".join(name for name in names[:-1] if not name.isdigit())
    return f"{where}unknown key {names[-1]!r}{f' in [{table}]' if table else ''}: {hint}"


def _known(place: _Place) -> list[str]:
    """The keys of the table in which a key stands."""
    model: type[BaseModel] = PipelineFile
    is_name = False
    for part in place[:-1]:
        if is_name or isinstance(part, int):
            is_name = False
            continue
        fields = {info.alias or name: info for name, info in model.model_fields.items()}
        if part not in fields:
            break
        annotation = fields[part].annotation
        model = _model_in(annotation) or model
        is_name = get_origin(annotation) is dict
    return [info.alias or name for name, info in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The table that a type is, or holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _where(place: _Place, text: str) -> str:
    line = find_line(place, text)
    return f"line {line}: " if line else ""


def find_line(place: _Place, text: str) -> int | None:
    """The line of a key, else of its table: tomllib keeps no positions, so headings are looked for, then keys."""
    if not place:
        return None
    heading = re.compile(r"^\s*\[\[?\s*(?:tool\.fieldsift\.?)?([\w.-]*)\s*\]\]?")
    wanted = ".".join(str(part) for part in place[:-1] if not isinstance(part, int))
    number = next((part for part in place[:-1] if isinstance(part, int)), 0)
    current, times, table = "", dict[str, int](), None
    key = re.compile(rf'\s*"?{re.escape(str(place[-1]))}"?\s*=') if place[-1] else None
    for count, line in enumerate(text.splitlines(), start=1):
        if found := heading.match(line):
            current = found[1]
            times[current] = times.get(current, -1) + 1
        if current != wanted or times.get(current, 0) != number:
            continue
        table = table or (count if found else None)
        if key and key.match(line):
            return count
    return table or find_line(place[:-1], text)
