"""`fieldsift schema show`: exactly what is sent."""

import json

import click

from pipeline.cli import EPILOG, common, option, output_of
from pipeline.cli.setup import planned


@click.group("schema", epilog=EPILOG)
def command() -> None:
    """Show what is sent of a schema."""


@command.command("show", epilog=EPILOG)
@click.argument("schema", required=False, metavar="[SCHEMA]")
@option(
    "--dialect",
    type=click.Choice(["gemini", "json-schema"]),
    default="gemini",
    show_default=True,
    help="As sent to Gemini, or as written.",
)
@option(
    "--prompt",
    "words",
    is_flag=True,
    help="The instructions that go with it, in place of the schema.",
)
@common
@click.pass_context
def show(ctx: click.Context, schema: str | None, dialect: str, words: bool) -> int:
    """Print the schema as it is sent, or the instructions. SCHEMA is as for `run -s`; else the pipeline file's stages."""
    from pipeline.schema.gemini import compile as compile_for_gemini

    output = output_of(ctx)
    decided = planned(ctx, schema=schema, keyless=True)
    for stage in decided.stages:
        if len(decided.stages) > 1:
            output.say(f"stage {stage.name}:")
        if words:
            output.data(f"{stage.system}\n\n{stage.prompt}")
        else:
            body = (
                compile_for_gemini(stage.schema) if dialect == "gemini" else dict(stage.schema.body)
            )
            output.data(json.dumps(body, indent=2, ensure_ascii=False))
    return 0
