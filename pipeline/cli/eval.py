"""`fieldsift eval`: an output scored against gold data, with gates for CI."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import EPILOG, common, option, output_of
from pipeline.cli.status import default_output

if TYPE_CHECKING:
    from pipeline.evaluation import Evaluation, Gates

_SHARE = click.FloatRange(0, 1)
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+")


def _pairs(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """`FIELD=...` by field; a pointer may hold an equals sign, what stands behind it can't."""
    pairs = {}
    for text in value:
        field, equals, rest = text.rpartition("=")
        if not (field and equals and rest):
            raise click.BadParameter(f"{text!r}: write {param.metavar}")
        pairs[field] = rest
    return pairs


def _shares(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, float]:
    shares = {}
    for field, text in _pairs(ctx, param, value).items():
        shares[field] = float(text) if _NUMBER.fullmatch(text) else -1.0
        if not 0 <= shares[field] <= 1:
            raise click.BadParameter(f"{field}={text}: F1 is a number from 0 to 1")
    return shares


@click.command("eval", epilog=EPILOG)
@click.argument("gold", metavar="GOLD", type=click.Path(exists=True, path_type=Path))
@click.argument("folder", required=False, metavar="[OUTPUT]", type=click.Path(path_type=Path))
@option("-s", "--schema", metavar="SCHEMA", help="What the data should be; a run brings its own.")
@option("--stage", metavar="NAME", help="Score this stage only.")
@option(
    "--compare",
    multiple=True,
    metavar="FIELD=METHOD",
    callback=_pairs,
    help="How a field is compared: exact, number[:0.01|:1%], money, date, time, enum, boolean, text, "
    "fuzzy[:0.9], ignore; for an array: ordered. The schema can say it too, by x-compare.",
)
@option(
    "--absent",
    type=click.Choice(["unscored", "null"]),
    default="unscored",
    help="What a key means that gold does not have: nothing (the default), or that the value is absent.",
)
@option("--fail-under", type=_SHARE, metavar="F1", help="Exit 1 if F1 over all fields is below.")
@option(
    "--fail-under-field",
    multiple=True,
    metavar="FIELD=F1",
    callback=_shares,
    help="Exit 1 if F1 of this field is below.",
)
@option(
    "--baseline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What --json printed earlier: exit 1 if F1 fell, overall or of a field.",
)
@option(
    "--tolerance",
    type=_SHARE,
    default=0.0,
    metavar="F1",
    help="How far F1 may fall below the baseline.",
)
@option(
    "--show",
    type=click.IntRange(0),
    default=5,
    metavar="N",
    help="How many wrong values and worst documents the text shows.",
)
@option("--output-format", type=click.Choice(["text", "json"]), help="text (the default) or json.")
@option(
    "--output-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write there, in place of stdout.",
)
@common
@click.pass_context
def command(ctx: click.Context, /, gold: Path, folder: Path | None, **options: Any) -> int:
    """Score an output against gold: precision, recall, F1 and exact match by field. No key, no network.

    GOLD is a folder of JSON files named after the documents (x.pdf.json or x.json), a JSONL or CSV with a
    column document (or path, file), or a results.jsonl. OUTPUT is an output folder (the default: the pipeline
    file's, else out), its results.jsonl, or data in one of the forms of GOLD.

    A FIELD is a pointer (/lines/*/amount), a dotted path (lines.amount), or a name that is there once.
    """
    from pipeline.evaluation import Gates, evaluate, missed, read_baseline
    from pipeline.reporters.scores import SCORES
    from pipeline.schema import Schema

    output = output_of(ctx)
    baseline = read_baseline(options["baseline"]) if options["baseline"] else None
    gates = Gates(
        options["fail_under"], options["fail_under_field"], baseline, options["tolerance"]
    )
    evaluation = evaluate(
        gold,
        folder or default_output(ctx),
        schema=Schema.of(options["schema"]) if options["schema"] else None,
        stage=options["stage"],
        compare=options["compare"],
        absent_is_null=options["absent"] == "null",
    )
    findings = missed(evaluation, gates)
    told = evaluation.to_json() | {
        "baseline": _against(evaluation, gates, options["baseline"]),
        "gates": [finding.to_json() for finding in findings],
    }
    kind = options["output_format"] or ("json" if output.json else "text")
    text = SCORES[kind](told, options["show"])
    if options["output_file"]:
        options["output_file"].write_text(text + "\n", "utf-8")
    else:
        output.data(text)
    if kind != "text" or options["output_file"]:  # the text itself says which gates are missed
        for finding in findings:
            output.warn(f"gate missed: {finding.pointer or 'all'}: {finding.message}", style="red")
    return 1 if findings else 0


def _against(evaluation: "Evaluation", gates: "Gates", file: Path | None) -> dict[str, Any] | None:
    """The changes since the baseline, if there is one."""
    from pipeline.evaluation import compared_with

    if gates.baseline is None:
        return None
    counts = ("right", "missed", "misread")
    before = sum(gates.baseline["overall"].get(count, 0) for count in counts)
    now = sum(getattr(evaluation.overall, count) for count in counts)
    return {
        "file": str(file),
        "changes": compared_with(evaluation, gates.baseline),
        "other_gold": before != now,
    }
