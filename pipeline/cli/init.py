"""`fieldsift init`: a folder that works at once."""

import json
import shutil
from pathlib import Path

import click

from pipeline.cli import EPILOG, common, option, output_of


@click.command("init", epilog=EPILOG)
@click.argument(
    "folder", default=".", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path)
)
@option(
    "--recipe",
    metavar="NAME",
    is_flag=False,
    flag_value="",
    help="Make a job that ships with fieldsift in place of the demo; without a name, list them.",
)
@common
@click.pass_context
def command(ctx: click.Context, folder: Path, recipe: str | None) -> int:
    """Make DIR with pipeline.toml, a schema and sample documents; `fieldsift run` there works at once.

    The demo works with and without a key. A recipe is a job of its own (invoice, email_triage, test_cases ...)
    with documents to try it on; it says where it needs a key.
    """
    from pipeline.config.recipes import folder_of, in_words, is_local, recipes
    from pipeline.errors import UsageError

    output = output_of(ctx)
    if recipe == "":
        output.data(json.dumps(recipes()) if output.json else in_words())
        return 0
    wanted = _demo() if recipe is None else folder_of(recipe)
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
    if recipe is not None and not is_local(recipe):
        output.say(
            "it needs a key, GEMINI_API_KEY for example: the engine that runs here does not do this job"
        )
    output.say(f"next: {go}fieldsift run")
    if not shutil.which("fieldsift"):
        output.say("(the command fieldsift is not on your PATH: python -m pipeline does the same)")
    return 0


def _demo() -> dict[Path, bytes]:
    from pipeline.config.file import json_schema
    from pipeline.schema import shipped

    demo = shipped("demo")
    files = {
        path.relative_to(demo): path.read_bytes()
        for path in sorted(demo.rglob("*"))
        if path.is_file()
    }
    files[Path("schemas/invoice.json")] = (shipped("schemas") / "invoice.json").read_bytes()
    files[Path("pipeline.schema.json")] = (json.dumps(json_schema(), indent=2) + "\n").encode()
    return files
