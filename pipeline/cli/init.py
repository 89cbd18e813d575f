"""`fieldsift init`: a folder that works at once."""

import json
import shutil
from pathlib import Path

import click

from pipeline.cli import EPILOG, common, output_of


@click.command("init", epilog=EPILOG)
@click.argument(
    "folder", default=".", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path)
)
@common
@click.pass_context
def command(ctx: click.Context, folder: Path) -> int:
    """Make DIR with pipeline.toml, a schema and three sample documents; `fieldsift run` there works with and without a key."""
    from pipeline.config.file import json_schema
    from pipeline.errors import UsageError
    from pipeline.schema import shipped

    output = output_of(ctx)
    demo = shipped("demo")
    wanted = {
        path.relative_to(demo): path.read_bytes()
        for path in sorted(demo.rglob("*"))
        if path.is_file()
    }
    wanted[Path("schemas/invoice.json")] = (shipped("schemas") / "invoice.json").read_bytes()
    wanted[Path("pipeline.schema.json")] = (json.dumps(json_schema(), indent=2) + "\n").encode()
    there = [str(folder / name) for name in wanted if (folder / name).exists()]
    if there:
        raise UsageError(
            f"already there, and never overwritten: {', '.join(there)}; name another folder"
        )
    for name, content in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    go = "" if folder == Path() else f"cd {folder} && "
    if output.json:
        made = {"folder": str(folder), "files": [path.as_posix() for path in wanted]}
        output.data(json.dumps(made | {"next": f"{go}fieldsift run"}))
    output.say(f"made {len(wanted)} files in {folder}")
    output.say(f"next: {go}fieldsift run")
    if not shutil.which("fieldsift"):
        output.say("(the command fieldsift is not on your PATH: python -m pipeline does the same)")
    return 0
