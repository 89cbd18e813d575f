"""`fieldsift doctor`: whether everything is there."""

import importlib.util
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import click

from pipeline import __version__
from pipeline.cli import EPILOG, common, output_of

_NEEDED = (
    "click",
    "httpx",
    "jsonschema",
    "pillow",
    "pydantic",
    "pypdf",
    "pypdfium2",
    "rapidfuzz",
    "rich",
)


@click.command("doctor", epilog=EPILOG)
@common
@click.pass_context
def command(ctx: click.Context) -> int:
    """Check versions, where a key was found (never the key), writable folders, and a foreign `pipeline` package."""
    from pipeline.writers import dump

    output = output_of(ctx)
    shared = ctx.find_root().ensure_object(dict)
    rows = [
        *_versions(),
        *_extras(),
        *_keys(shared.get("env_file")),
        *_folders(),
        _package(),
        _system(),
    ]
    if output.json:
        output.data(
            dump([{"check": name, "ok": good, "told": told} for name, good, told in rows], indent=2)
        )
    else:
        for name, good, told in rows:
            output.data(f"{'ok ' if good else 'NO '} {name}: {told}")
    return 0 if all(good for _, good, _ in rows) else 4


def _versions() -> list[tuple[str, bool, str]]:
    rows = [
        (
            "fieldsift",
            True,
            f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
        )
    ]
    for name in _NEEDED:
        try:
            rows.append((name, True, version(name)))
        except PackageNotFoundError:
            rows.append((name, False, "missing: pip install --force-reinstall fieldsift"))
    return rows


def _extras() -> list[tuple[str, bool, str]]:
    """What may be installed beside; none is no fault."""
    from pipeline import ocr
    from pipeline.eyes import INSTALL

    words = f"lacks {lacking}" if (lacking := ocr.missing()) else ocr.version()
    heif = importlib.util.find_spec("pillow_heif")
    return [
        ("extra local", True, f"{words} (words of scans and photographs: {INSTALL})"),
        ("extra heif", True, f"{'there' if heif else 'not there'} (HEIC pictures)"),
    ]


def _keys(env_file: Path | None) -> list[tuple[str, bool, str]]:
    """Where the key of each provider comes from; none is no fault: the local engine needs none."""
    from pipeline.config import WELL_KNOWN_KEYS, find_file, keys
    from pipeline.errors import SetupError

    file = find_file(Path.cwd())
    places = keys(file.parent if file else Path.cwd(), env_file)
    rows = []
    for provider, names in WELL_KNOWN_KEYS.items():
        try:
            found = places.find(names)
        except SetupError as error:
            rows.append((f"key for {provider}", False, str(error)))
            continue
        told = (
            f"{found[1]} from {found[2]}"
            if found
            else f"none ({' or '.join(names)}); the local engine needs none"
        )
        rows.append((f"key for {provider}", True, told))
    return rows


def _folders() -> list[tuple[str, bool, str]]:
    from pipeline.config import cache_folder

    rows = []
    for name, folder in (("working folder", Path.cwd()), ("cache folder", cache_folder())):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        writable = os.access(there, os.W_OK | os.X_OK)
        rows.append((name, writable, f"{folder}{'' if writable else ': not writable'}"))
    return rows


def _package() -> tuple[str, bool, str]:
    """Another distribution that brings a package `pipeline` overwrites parts of this one."""
    others = [name for name in packages_distributions().get("pipeline", ()) if name != "fieldsift"]
    found = importlib.util.find_spec("pipeline")
    where = str(Path(found.origin).parent) if found and found.origin else "not found"
    return (
        "package pipeline",
        not others,
        f"{where}{': also installed by ' + ', '.join(others) if others else ''}",
    )


def _system() -> tuple[str, bool, str]:
    told = {
        "linux": "Linux: memory, processor and time limits hold",
        "darwin": "macOS: time limits hold, memory limits may not",
    }
    known = told.get(sys.platform)
    return (
        "system",
        known is not None,
        known or f"{sys.platform} is not supported; on Windows use WSL",
    )
