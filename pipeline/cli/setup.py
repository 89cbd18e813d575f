"""From a command's options to a Plan: what `run`, `extract` and `config show` share."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.cli import option
from pipeline.cli.output import Output

if TYPE_CHECKING:
    from pipeline.config import Plan
    from pipeline.runner import Runner

F = TypeVar("F", bound=Callable[..., Any])

SCHEMA_HELP = "JSON Schema file, module:Model, a shipped name (invoice, receipt, contract), or fields: 'vendor, total float'."


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
            help="Leave out values of which the local engine is less sure; 0.85 keeps the surest.",
        ),
        option("--offline", is_flag=True, help="Send nothing; answer from what is stored."),
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
    from pipeline.config import Call, find_file, plan

    shared = ctx.find_root().ensure_object(dict)
    call = Call(
        file=shared.get("config") or find_file(Path.cwd(), outside=given.get("inputs") or ()),
        overrides=tuple(shared.get("overrides", ())),
        env_file=shared.get("env_file"),
        terminal=sys.stderr.isatty(),
        keyless=bool(given.pop("keyless", False)),
        replaying=bool(given.pop("replaying", False)),
        origins={name: _origin(ctx, name) for name in given},
    )
    return plan(given, call)


def handle_signals(runner: "Runner", output: Output) -> None:
    """The first Ctrl-C or SIGTERM finishes what is in flight; the second ends at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if runner.tally.interrupted:
            if output.terminal:
                sys.stderr.write("\x1b[?25h")  # the progress display had hidden the cursor
                sys.stderr.flush()
            os._exit(130)
        runner.stop()
        output.warn("stopping: what is in flight is finished and kept (Ctrl-C again to quit now)")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def _origin(ctx: click.Context, name: str) -> str:
    source = ctx.get_parameter_source(name)
    return (
        f"FIELDSIFT_{name.upper()}"
        if source is not None and source.name == "ENVIRONMENT"
        else f"--{name}"
    )
