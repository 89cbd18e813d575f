"""`fieldsift validate`: outputs judged again, in CI or by hand."""

from pathlib import Path
from typing import Any

import click

from pipeline.cli import EPILOG, common, option, output_of
from pipeline.cli.status import default_output


def _rules(texts: tuple[str, ...], own: frozenset[str]) -> list[str]:
    """The rules that are named, after checking that there are such; one of the run's own may hold a comma."""
    from pipeline.judge import is_rule

    named = [
        rule
        for text in texts
        for rule in ([text] if text in own else text.split(","))
        if rule.strip()
    ]
    for rule in named:
        if rule not in own and not is_rule(rule):
            raise click.UsageError(f"there is no rule {rule!r}; findings name theirs in brackets")
    return named


@click.command("validate", epilog=EPILOG)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@option(
    "-s",
    "--schema",
    metavar="SCHEMA",
    help="What to check against; an output folder brings its own.",
)
@option(
    "--sources",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the documents lie, for evidence.",
)
@option(
    "--output-format",
    type=click.Choice(["text", "json"]),
    help="text (the default) or json.",
)
@option(
    "--output-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write there, in place of stdout.",
)
@option(
    "--select",
    multiple=True,
    metavar="RULE,...",
    help="Only findings of these rules.",
)
@option(
    "--ignore",
    multiple=True,
    metavar="RULE,...",
    help="No findings of these rules.",
)
@option("--exit-zero", is_flag=True, help="Exit 0 whatever is found.")
@common
@click.pass_context
def command(ctx: click.Context, /, paths: tuple[Path, ...], **options: Any) -> int:
    """Judge outputs again: schema, rules, evidence. No key, no network.

    PATH is an output folder (the default: the pipeline file's, else out), or with -s any JSON or JSONL.
    """
    from pipeline.api import validate
    from pipeline.checking import rule_names
    from pipeline.errors import NoInput
    from pipeline.reporters import REPORTERS, selected

    output = output_of(ctx)
    places = paths or (default_output(ctx),)
    own = frozenset[str]().union(*map(rule_names, places))
    select, ignore = _rules(options["select"], own), _rules(options["ignore"], own)
    checked = [
        each
        for path in places
        for each in validate(path, options["schema"], sources=options["sources"])
    ]
    if not checked and not paths:
        raise NoInput("nothing to validate")
    checked = selected(checked, select=select, ignore=ignore)
    text = REPORTERS[options["output_format"] or ("json" if output.json else "text")](checked)
    if options["output_file"]:
        options["output_file"].write_text(text + "\n", "utf-8")
    else:
        output.data(text)
    return 0 if options["exit_zero"] or all(each.valid for each in checked) else 1
