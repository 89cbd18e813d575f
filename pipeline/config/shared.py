"""The shared cache of answers as it is asked for: its folder, and how large and old it may become."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.config.tables import PipelineFile

#: Settings of `[run]` and of code, beside the folder itself.
NAMES: Final = ("cache", "cache_size", "cache_age")
_SIZES: Final = {"": 1, "b": 1} | {
    f"{letter}{kind}": base ** (at + 1)
    for at, letter in enumerate("kmgt")
    for kind, base in (("", 1000), ("b", 1000), ("ib", 1024))
}
_DAY: Final = 86_400.0
_SPANS: Final = {
    "h": 3600.0, "hour": 3600.0, "d": _DAY, "day": _DAY, "w": 7 * _DAY, "week": 7 * _DAY,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of shared answers; `size` is the most bytes that it keeps, `age` the most seconds (None: no limit)."""

    folder: Path
    size: int | None = None
    age: float | None = None


def cache(take: Callable[[str, str, Any], Any], given: Any, root: Path) -> Cache | None:
    """The shared cache of a call; None where none is asked for.

    Args:
        take: gives a setting by its name and key, else a default.
        given: the settings of the call itself: their folder is relative to the working folder.
        root: what the folder of the pipeline file is relative to.

    Raises:
        ConfigError: a limit is none, or there are limits and no folder.

    """
    folder, size, age = (take(name, name, None) for name in NAMES)
    limits = {name: text for name, text in zip(NAMES[1:], (size, age), strict=True) if text}
    if not folder:
        if limits:
            raise ConfigError(f"{next(iter(limits))} is for a shared cache: name its folder, cache")
        return None
    base = Path() if given.get("cache") else root
    return Cache((base / Path(folder).expanduser()).absolute(), bytes_of(size), seconds_of(age))


def of_file(table: "PipelineFile", file: Path | None, folder: str | None = None) -> Cache | None:
    """The shared cache of a pipeline file, its folder perhaps another; None where none is named.

    Raises:
        ConfigError: see `cache`.

    """
    root = file.parent.resolve() if file else Path.cwd()

    def take(name: str, key: str, default: Any) -> Any:
        named = folder if name == "cache" and folder else getattr(table.run, key)
        return default if named is None else named

    return cache(take, {"cache": folder}, root)


def bytes_of(text: object) -> int | None:
    """`2 GB`, `500MB`, `1.5 GiB`, `1000` -> bytes; None for None.

    Raises:
        ConfigError: not a size above 0.

    """
    found = _read(text, _SIZES)
    if found is None and text is not None:
        raise ConfigError(f"cache_size {text!r}: give bytes, for example 500 MB or 2 GB")
    return None if found is None else int(found)


def seconds_of(text: object, name: str = "cache_age") -> float | None:
    """`90 days`, `30d`, `12h`, `2 weeks` -> seconds; None for None.

    Raises:
        ConfigError: not a time above 0, or one without its unit.

    """
    spans = _SPANS | {f"{unit}s": seconds for unit, seconds in _SPANS.items() if len(unit) > 1}
    found = _read(text, spans)
    if found is None and text is not None:
        raise ConfigError(f"{name} {text!r}: give hours, days or weeks, for example 30d or 90 days")
    return found


def _read(text: object, units: dict[str, Any]) -> float | None:
    found = re.fullmatch(
        r"(\d{1,12}(?:\.\d{1,6})?)\s*([a-z]*)", str(text).strip().lower(), re.ASCII
    )
    if found is None or found[2] not in units or not float(found[1]):
        return None
    return float(found[1]) * float(units[found[2]])
