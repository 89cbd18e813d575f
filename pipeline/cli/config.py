"""`fieldsift config show`: every setting and where it came from."""

import click

from pipeline.cli import EPILOG, common, output_of
from pipeline.cli.setup import asking, planned


@click.group("config", epilog=EPILOG)
def command() -> None:
    """Show every setting and where it came from."""


@command.command("show", epilog=EPILOG)
@asking
@common
@click.pass_context
def show(ctx: click.Context, /, **options: object) -> int:
    """Print every setting with its origin; `run` and `extract` take the same options. Keys are never shown."""
    from pipeline.config import cache_folder
    from pipeline.graph import drawn
    from pipeline.writers import dump

    output = output_of(ctx)
    names = ("schema", "model", "prompt", "budget", "cache")
    decided = planned(ctx, keyless=True, **{name: options[name] for name in names})
    rows = [(setting.name, setting.value, setting.origin) for setting in decided.settings]
    if len(decided.stages) > 1:
        rows += [("graph", line, "the stages") for line in drawn(decided.stages)]
    rows.append(("cache_folder", str(cache_folder()), "FIELDSIFT_CACHE_DIR or the user's cache"))
    if output.json:
        output.data(
            dump(
                [dict(zip(("name", "value", "origin"), row, strict=True)) for row in rows], indent=2
            )
        )
        return 0
    output.data(f"file: {decided.file or 'none'}")
    width = max(len(name) for name, _, _ in rows)
    for name, value, origin in rows:
        output.data(f"{name:<{width}}  {value or '-'}   ({origin})")
    return 0
