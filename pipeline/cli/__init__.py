"""The command `fieldsift`: thin; it builds, runs and prints. Each command is a module, loaded when it is called."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline import __version__
from pipeline.cli.output import Output, plain
from pipeline.errors import FieldsiftError, SetupError

F = TypeVar("F", bound=Callable[..., Any])

#: name -> (module, what `--help` says); the module has a click command named `command`.
COMMANDS = {
    "init": (
        "pipeline.cli.init",
        "Make a folder with a working pipeline, a schema and sample documents.",
    ),
    "extract": ("pipeline.cli.extract", "Read a few documents; their data goes to stdout."),
    "run": (
        "pipeline.cli.run",
        "Read a folder of documents into an output folder; resumes by itself.",
    ),
    "status": ("pipeline.cli.status", "Say what lies in an output folder, and what to type next."),
    "validate": ("pipeline.cli.validate", "Judge outputs again; no key, no network."),
    "eval": ("pipeline.cli.eval", "Score an output against gold data; gates for CI."),
    "schema": ("pipeline.cli.schema", "Show what is sent of a schema."),
    "config": ("pipeline.cli.config", "Show every setting and where it came from."),
    "models": ("pipeline.cli.models", "List the models that are known, with limits and prices."),
    "cache": (
        "pipeline.cli.cache",
        "Say where stored answers lie and how many; take old ones away.",
    ),
    "doctor": ("pipeline.cli.doctor", "Check the installation, keys and folders."),
}
EPILOG = "Each option is also read from FIELDSIFT_<OPTION>, for example FIELDSIFT_MODEL. Keys come from the environment or .env, never from an option."


class _Commands(click.Group):
    """Loads a command's module only when that command is called: `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """A click option that can also be given as FIELDSIFT_<its long name>."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = "FIELDSIFT_" + long.removeprefix("--").replace("-", "_").upper()
    return click.option(*names, envvar=variable, **settings)


def _global(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def put(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        shared = ctx.find_root().ensure_object(dict)
        if value not in (None, False, (), 0):
            shared[name] = value

    return put


def common(function: F) -> F:
    """The global options: they stand before or behind the command's name."""
    choices: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("-q", "--quiet"), {"is_flag": True, "help": "Only errors on stderr."}),
        (("-v", "--verbose"), {"count": True, "help": "More on stderr."}),
        (("--json",), {"is_flag": True, "help": "JSON on stdout."}),
        (
            ("--color",),
            {"type": click.Choice(["auto", "always", "never"]), "help": "Colour on stderr."},
        ),
        (("--no-progress",), {"is_flag": True, "help": "No progress display."}),
        (
            ("--config",),
            {
                "type": click.Path(dir_okay=False, path_type=Path),
                "help": "The pipeline file, in place of the nearest pipeline.toml.",
            },
        ),
        (
            ("-c", "overrides"),
            {
                "multiple": True,
                "metavar": "KEY=VALUE",
                "help": "A setting over that of the pipeline file.",
            },
        ),
        (
            ("--env-file",),
            {"type": click.Path(path_type=Path), "help": "Keys from this file, in place of .env."},
        ),
    ]
    for names, settings in reversed(choices):
        long = next((name for name in names if name.startswith("--")), None)
        key = long.removeprefix("--").replace("-", "_") if long else names[-1]
        decorate = option if long else click.option
        function = decorate(*names, expose_value=False, callback=_global(key), **settings)(function)
    return function


def output_of(ctx: click.Context) -> Output:
    """The streams of this call, as the global options want them."""
    shared = ctx.find_root().ensure_object(dict)
    return Output(
        quiet=shared.get("quiet", False),
        verbose=shared.get("verbose", 0),
        color=shared.get("color", "auto"),
        progress=not shared.get("no_progress", False),
        json=shared.get("json", False),
    )


@click.command(
    cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="fieldsift")
@common
def app() -> None:
    """Folders of documents in, JSON that is valid against your schema out, with evidence for every value."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: every error becomes a sentence and an exit code; see errors.py."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # like Ctrl-C, also before a run starts
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read stdout has seen enough; Python must not complain when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except Exception:  # noqa: BLE001, the last resort: told in one sentence, the rest in a log
        click.echo(f"error: a fault of fieldsift itself; what happened is in {_log()}", err=True)
        code = 70
    sys.exit(code)


def _log() -> str:
    """Write the exception that is being handled into a file of its own; its name."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="fieldsift-", suffix=".log", delete=False) as log:
        traceback.print_exc(file=log)
    return log.name


def _run(arguments: Sequence[str] | None) -> int:
    given = None if arguments is None else list(arguments)
    try:
        return int(app.main(args=given, prog_name="fieldsift", standalone_mode=False) or 0)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FieldsiftError as error:
        click.echo(f"error: {plain(str(error))}", err=True)
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:  # a folder that may not be written, a full disk: the way out is theirs
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {plain(where)}{error.strerror or error}", err=True)
        return SetupError.exit_code
