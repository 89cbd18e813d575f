"""From a command's options to a Plan: what `run`, `extract` and `config show` share."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.cli import option
from pipeline.cli.output import Output

if TYPE_CHECKING:
    from pipeline.config import Call, Plan
    from pipeline.runner import Runner

F = TypeVar("F", bound=Callable[..., Any])

#: Google's pages on rate limits and on the terms of unpaid services.
FREE_TIER = (
    "without billing a key is of the free tier: a few requests a minute, and what is sent may be used for "
    "training; with billing it may not"
)
SCHEMA_HELP = "JSON Schema file, module:Model, a recipe (invoice, nda, test_cases ...; `init --recipe` lists them), or fields: 'vendor, total float'."


def asking(function: F) -> F:
    """The options that say what is asked, and of which model."""
    for decorate in (
        option(
            "--skip-unreadable",
            is_flag=True,
            help="Go on where an input needs what this installation lacks.",
        ),
        option(
            "--allow-unpriced",
            is_flag=True,
            help="With a budget, send to models of unknown price too.",
        ),
        option(
            "--budget",
            metavar="AMOUNT",
            help="The most that may be spent, on this output or by this call: 5USD.",
        ),
        option(
            "--replay",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Answer from a recording only.",
        ),
        option(
            "--record",
            type=click.Path(file_okay=False, path_type=Path),
            help="Write every answer into this folder too.",
        ),
        option(
            "--min-confidence",
            type=click.FloatRange(0, 1),
            help="Leave out values that are less sure; 0.85 keeps the surest.",
        ),
        option(
            "--curl",
            is_flag=True,
            help="Print each request as a cURL command, the key as a shell variable; send nothing.",
        ),
        option("--offline", is_flag=True, help="Send nothing; answer from what is stored."),
        option(
            "--cache",
            metavar="DIR",
            type=click.Path(file_okay=False),
            help="Answers that several outputs share: what is there is not asked again; two runs at the same time may both "
            "pay for the same question.",
        ),
        option("--no-store", is_flag=True, help="Keep answers in memory only."),
        option(
            "--prompt", metavar="TEXT", help="What is asked, in place of the stage's own words."
        ),
        option("-m", "--model", metavar="MODEL", help="model, provider:model, local, or auto."),
        option("-s", "--schema", metavar="SCHEMA", help=SCHEMA_HELP),
    ):
        function = decorate(function)
    return function


def planned(ctx: click.Context, **given: Any) -> "Plan":
    """The Plan of a call.

    Raises:
        ConfigError, SchemaError, SetupError: see `pipeline.config.plan`.

    """
    from dataclasses import replace

    from pipeline.config import plan

    call = replace(
        call_of(ctx, given.get("inputs") or ()),
        keyless=bool(given.pop("keyless", False)),
        replaying=bool(given.pop("replaying", False)),
        origins={name: _origin(ctx, name) for name in given},
        typed=_typed(ctx),
    )
    return plan(given, call)


def call_of(ctx: click.Context, inputs: Sequence[str] = ()) -> "Call":
    """From where a command was called: the pipeline file, `-c`, `--env-file`, and whether on a terminal."""
    from pipeline.config import Call, find_file

    shared = ctx.find_root().ensure_object(dict)
    return Call(
        file=shared.get("config") or find_file(Path.cwd(), outside=inputs),
        overrides=tuple(shared.get("overrides", ())),
        env_file=shared.get("env_file"),
        terminal=sys.stderr.isatty(),
    )


def tell_free_tier(decided: "Plan", output: Output) -> None:
    """Say once on a machine what the free tier of a Gemini key means; --quiet puts it off."""
    from pipeline.config import cache_folder

    asked = {each.provider for each in decided.endpoints.values() if each.key}
    if output.quiet or not asked & {"gemini", "gemini-openai"}:
        return
    said = cache_folder() / "free-tier-was-told"
    with suppress(OSError):  # where it can't be remembered it is said again
        if said.exists():
            return
        said.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        said.touch()
    output.say(f"gemini: {FREE_TIER}")


def handle_signals(runner: "Runner", output: Output) -> None:
    """The first Ctrl-C or SIGTERM finishes what is in flight; the second ends at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if runner.tally.interrupted:
            if output.terminal:
                os.write(2, b"\x1b[?25h")  # the progress display had hidden the cursor
            os._exit(130)
        runner.stop()
        output.warn("stopping: what is in flight is finished and kept (Ctrl-C again to quit now)")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def _typed(ctx: click.Context) -> str:
    """How the command is typed, `{}` in place of its schema."""
    kinds = {each.name: each.param_type_name for each in ctx.command.params}
    parts = [
        ctx.command_path,
        "INPUT" if {"inputs", "files"} & kinds.keys() else "",
        "{}" if kinds.get("schema") == "argument" else "-s {}",
        "-o out" if "output" in kinds else "",
    ]
    return " ".join(filter(None, parts))


def _origin(ctx: click.Context, name: str) -> str:
    source = ctx.get_parameter_source(name)
    return (
        f"FIELDSIFT_{name.upper()}"
        if source is not None and source.name == "ENVIRONMENT"
        else f"--{name}"
    )
