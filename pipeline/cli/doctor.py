"""`fieldsift doctor`: whether everything is there."""

import asyncio
import importlib.util
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import __version__
from pipeline.cli import EPILOG, common, option, output_of

if TYPE_CHECKING:
    from pipeline.config.own import Here
    from pipeline.providers import Endpoint

_Row = tuple[str, bool, str]

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
@option("--online", is_flag=True, help="Make one free call to the service that a run would ask.")
@common
@click.pass_context
def command(ctx: click.Context, /, *, online: bool) -> int:
    """Check versions, where a key was found (never the key), writable folders, and a foreign `pipeline` package.

    Exit code 4 where something is not well: with --online also where the service refuses the key or can't
    be reached.
    """
    from pipeline.cli.setup import call_of
    from pipeline.config.own import here
    from pipeline.errors import FieldsiftError
    from pipeline.writers import dump

    output = output_of(ctx)
    rows = [*_versions(), *_extras()]
    try:
        there = here(call_of(ctx))
        rows += _keys(there)
        if online:
            rows.append(_online(there))
    except FieldsiftError as error:
        rows.append(("settings", False, str(error)))
    rows += [*_folders(), _package(), _system()]
    if output.json:
        output.data(
            dump([{"check": name, "ok": good, "told": told} for name, good, told in rows], indent=2)
        )
    else:
        for name, good, told in rows:
            output.data(f"{'ok ' if good else 'NO '} {name}: {told}")
    return 0 if all(good for _, good, _ in rows) else 4


def _versions() -> list[_Row]:
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


def _extras() -> list[_Row]:
    """What may be installed beside; none is no fault."""
    from pipeline import ocr
    from pipeline.eyes import INSTALL

    words = f"lacks {lacking}" if (lacking := ocr.missing()) else ocr.version()
    heif = importlib.util.find_spec("pillow_heif")
    return [
        ("extra local", True, f"{words} (words of scans and photographs: {INSTALL})"),
        ("extra heif", True, f"{'there' if heif else 'not there'} (HEIC pictures)"),
        ("extra vertex", True, f"{_google()} (Vertex AI with Google credentials)"),
    ]


def _google() -> str:
    try:
        return f"google-auth {version('google-auth')}"
    except PackageNotFoundError:
        return "not there: pip install 'fieldsift[vertex]'"


def _keys(there: "Here") -> list[_Row]:
    """Where the key of each service comes from; none is no fault: the local engine needs none."""
    from pipeline.cli.setup import FREE_TIER
    from pipeline.errors import SetupError

    rows: list[_Row] = []
    for name, service in there.services.items():
        if not service.keys:
            if service.own:
                rows.append((f"key for {name}", True, f"{service.base_url} needs none"))
            continue
        try:
            found = there.places.find(service.keys)
        except SetupError as error:
            rows.append((f"key for {name}", False, str(error)))
            continue
        told = f"{found[1]} from {found[2]}" if found else f"none ({' or '.join(service.keys)})"
        rows.append((f"key for {name}", True, told + (_project(there) if name == "vertex" else "")))
        if found and name == "gemini":
            rows.append(("free tier", True, FREE_TIER))
    return rows


def _project(there: "Here") -> str:
    """How Vertex AI is reached without a key."""
    project = there.services["vertex"].project or there.places.environment.get(
        "GOOGLE_CLOUD_PROJECT"
    )
    return (
        f"; project {project}, with Google credentials" if project else "; no GOOGLE_CLOUD_PROJECT"
    )


def _online(there: "Here") -> _Row:
    """One free call to the service that a run of this folder asks first."""
    from pipeline.errors import FieldsiftError

    try:
        endpoint = there.chosen()
        return f"online {endpoint.name}", True, asyncio.run(_answer(endpoint))
    except FieldsiftError as error:
        return "online", False, str(error)


async def _answer(endpoint: "Endpoint") -> str:
    """What the service says of its model; of all its models, where it tells nothing of one.

    Raises:
        FieldsiftError: it refuses the key, does not have the model, or can't be reached.

    """
    from pipeline.errors import ReplyError
    from pipeline.providers import open_provider

    if endpoint.service.wire == "local":
        return "runs on this machine; nothing is called"
    provider: Any = open_provider(endpoint)
    try:
        return _said(await provider.about(endpoint.model))
    except ReplyError as error:
        if error.reason == "not_found_model":
            raise
        listed = [getattr(each, "id", each) for each in await provider.models()]
    finally:
        await provider.aclose()
    there = "among them this one" if endpoint.model in listed else "this one is not among them"
    return f"the key is taken; {len(listed)} models, {there}"


def _said(facts: Any) -> str:
    limits = (getattr(facts, "input_limit", None), getattr(facts, "output_limit", None))
    if None in limits:
        return "the key is taken, and the model is there"
    return f"the key is taken; the model takes {limits[0]:,} tokens and gives {limits[1]:,}"


def _folders() -> list[_Row]:
    from pipeline.config import cache_folder

    rows = []
    for name, folder in (("working folder", Path.cwd()), ("cache folder", cache_folder())):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        writable = os.access(there, os.W_OK | os.X_OK)
        rows.append((name, writable, f"{folder}{'' if writable else ': not writable'}"))
    return rows


def _package() -> _Row:
    """Another distribution that brings a package `pipeline` overwrites parts of this one."""
    others = [name for name in packages_distributions().get("pipeline", ()) if name != "fieldsift"]
    found = importlib.util.find_spec("pipeline")
    where = str(Path(found.origin).parent) if found and found.origin else "not found"
    return (
        "package pipeline",
        not others,
        f"{where}{': also installed by ' + ', '.join(others) if others else ''}",
    )


def _system() -> _Row:
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
