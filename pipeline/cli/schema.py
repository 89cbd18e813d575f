"""`fieldsift schema`: what is sent of a schema, what becomes of it, a schema from examples, samples of one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.cli import EPILOG, common, option, output_of
from pipeline.cli.setup import planned

if TYPE_CHECKING:
    from pipeline.config import Plan
    from pipeline.schema import Schema
    from pipeline.schema.dialects import Dialect
    from pipeline.stages import Stage

#: In the order of pipeline.schema.dialects.DIALECTS, which is not loaded for `--help`.
_DIALECTS: Final = ("gemini", "gemini-openapi", "openai")
#: How often a sample is made anew until it is valid.
_TRIES: Final = 200
_MODEL = option("-m", "--model", metavar="MODEL", help="The model whose service is meant.")


@click.group("schema", epilog=EPILOG)
def command() -> None:
    """Show, lint, infer and sample schemas. No key, no network."""


@command.command("show", epilog=EPILOG)
@click.argument("schema", required=False, metavar="[SCHEMA]")
@option(
    "--dialect",
    type=click.Choice([*_DIALECTS, "json-schema"]),
    help="As sent to a service of this kind (the default: the model's), or as written.",
)
@option(
    "--level",
    type=click.Choice(["full", "reduced"]),
    default="full",
    show_default=True,
    help="All that the service can enforce, or the outline that is sent when it refuses that.",
)
@option(
    "--prompt",
    "words",
    is_flag=True,
    help="The instructions that go with it, in place of the schema.",
)
@_MODEL
@common
@click.pass_context
def show(ctx: click.Context, /, schema: str | None, model: str | None, **options: Any) -> int:
    """Print the schema as it is sent, or the instructions. SCHEMA is as for `run -s`; else the pipeline file's stages."""
    from pipeline.schema.dialects import compile as compile_schema
    from pipeline.windows import schema_asked

    output = output_of(ctx)
    decided = planned(ctx, schema=schema, model=model, keyless=True)
    for stage in decided.stages:
        if len(decided.stages) > 1:
            output.say(f"stage {stage.name}:")
        if stage.task == "python":
            output.data("nothing is sent: a Python function answers")
            continue
        if options["words"]:
            output.data(f"{stage.system}\n\n{stage.instructions}")
            continue
        dialect = options["dialect"] or _dialect_of(stage, decided) or "gemini"
        body = (
            dict(stage.schema.body)
            if dialect == "json-schema"
            else compile_schema(schema_asked(stage), dialect, options["level"])
        )
        output.data(json.dumps(body, indent=2, ensure_ascii=False))
    return 0


@command.command("lint", epilog=EPILOG)
@click.argument("schema", required=False, metavar="[SCHEMA]")
@option(
    "--dialect",
    type=click.Choice(_DIALECTS),
    help="Of this dialect only; the default is that of the configured model, and all where none is.",
)
@option("--output-format", type=click.Choice(["text", "json"]), help="text (the default) or json.")
@_MODEL
@common
@click.pass_context
def lint(ctx: click.Context, /, schema: str | None, model: str | None, **options: Any) -> int:
    """Say what each service enforces of a schema, what is only checked here and why, and what will hurt.

    SCHEMA is as for `run -s`; else the pipeline file's stages. Places are JSON Pointers into the schema,
    those of values into the data; -v names every one. Exit 1 if a schema can't be sent, or contradicts
    itself so that nothing can satisfy it.
    """
    from pipeline.reporters.linted import as_json, as_text
    from pipeline.schema.lint import lint as look

    output = output_of(ctx)
    decided = planned(ctx, schema=schema, model=model, keyless=True)
    chosen = any(setting.name == "model" and setting.value for setting in decided.settings)
    told = []
    for stage in decided.stages:
        own = _dialect_of(stage, decided) if chosen else None
        dialects: list[Any] = (
            [options["dialect"] or own] if options["dialect"] or own else [*_DIALECTS]
        )
        told.append((stage.schema.source or stage.name, look(stage.schema, dialects)))
    kind = options["output_format"] or ("json" if output.json else "text")
    output.data(as_json(told) if kind == "json" else as_text(told, every=output.verbose > 0))
    return 0 if all(linted.usable for _, linted in told) else 1


@command.command("infer", epilog=EPILOG)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@common
@click.pass_context
def infer(ctx: click.Context, files: tuple[Path, ...]) -> int:
    """Print a JSON Schema for which every example is valid.

    FILE is JSON (an array: its items are the examples), JSONL or CSV. A key that all examples have is
    required; texts get a format or an enum only where all of them fit. Check what comes, and describe the fields.
    """
    from pipeline.schema.examples import examples
    from pipeline.schema.infer import infer as schema_of

    found = schema_of(example for file in files for example in examples(file))
    output_of(ctx).data(json.dumps(found, indent=2, ensure_ascii=False))
    return 0


@command.command("sample", epilog=EPILOG)
@click.argument("schema", required=False, metavar="[SCHEMA]")
@option("-n", "--number", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@option("--seed", type=int, default=0, show_default=True, help="Another seed, other samples.")
@common
@click.pass_context
def sample(ctx: click.Context, schema: str | None, number: int, seed: int) -> int:
    """Print instances that are valid against a schema, one a line if there are several; the same for the same seed.

    SCHEMA is as for `run -s`; else the pipeline file's stages. Exit 1 where none can be made that our
    own validation passes; an invalid one is never printed.
    """
    from pipeline.config.recipes import stage_file
    from pipeline.schema import Schema
    from pipeline.writers import dump

    output = output_of(ctx)
    asked = (
        [(schema, Schema.of(schema))]
        if schema and stage_file(schema) is None
        else [
            (stage.name, stage.schema) for stage in planned(ctx, schema=schema, keyless=True).stages
        ]
    )
    for name, each in asked:
        if len(asked) > 1:
            output.say(f"stage {name}:")
        for index in range(number):
            first = (seed * number + index) * _TRIES
            made, trouble = _valid_sample(each, range(first, first + _TRIES))
            if trouble:
                output.warn(f"error: no valid sample of {name} in {_TRIES} tries: {trouble}")
                return 1
            output.data(dump(made, indent=2 if number == 1 else None))
    return 0


def _valid_sample(schema: "Schema", seeds: range) -> tuple[Any, str]:
    """The first sample that is valid, or what stood in the way of the last."""
    from pipeline.schema.sample import NotMade
    from pipeline.schema.sample import sample as one
    from pipeline.validators import check

    trouble = ""
    for seed in seeds:
        try:
            made = one(schema, seed)
        except NotMade as error:
            trouble = str(error)
            continue
        found = next(iter(check(schema, made)), None)
        if found is None:
            return made, ""
        trouble = f"{found.pointer or 'the whole'}: {found.message} ({found.rule})"
    return None, trouble


def _dialect_of(stage: "Stage", decided: "Plan") -> "Dialect | None":
    """What the service of a stage's model is sent; None where nothing is sent."""
    wires: dict[str, Dialect] = {"gemini": "gemini", "openai": "openai"}
    return wires.get(decided.endpoints[stage.model].service.wire) if stage.model else None
