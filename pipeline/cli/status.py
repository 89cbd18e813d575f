"""`fieldsift status`: what lies in an output folder."""

from pathlib import Path
from typing import Any

import click

from pipeline.cli import EPILOG, common, option, output_of


@click.command("status", epilog=EPILOG)
@click.argument("folder", required=False, metavar="[DIR]", type=click.Path(path_type=Path))
@option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the ledger lies, if not in DIR/.fieldsift.",
)
@common
@click.pass_context
def command(ctx: click.Context, folder: Path | None, state: Path | None) -> int:
    """Say what the last run over DIR (else the pipeline file's output, else out) came to, and what to type next."""
    from pipeline.results import read_summary
    from pipeline.writers import dump

    output = output_of(ctx)
    folder = folder or default_output(ctx)
    told = read_summary(folder) | _ledger(state or folder / ".fieldsift")
    if output.json:
        output.data(dump(told, indent=2))
        return 0
    for line in _lines(folder, told):
        output.data(line)
    return 0


def default_output(ctx: click.Context) -> Path:
    """The output folder of the pipeline file, else `out`."""
    from pipeline.config import Call, find_file, read_file

    file = ctx.find_root().ensure_object(dict).get("config") or find_file(Path.cwd())
    named = read_file(Call(file)).run.output
    return file.parent / named if file and named else Path("out")


def _ledger(state: Path) -> dict[str, Any]:
    """Counts and money as the ledger has them now: also after a kill, when run.json is older."""
    from pipeline.ledger import Ledger
    from pipeline.limits import dollars

    if not (state / "ledger.sqlite").exists():
        return {}
    ledger = Ledger(state)
    try:
        sent, unpriced = ledger.calls()
        cost = None if unpriced else float(dollars(ledger.spent()))
        reasons = [
            {"status": status, "reason": reason, "documents": number}
            for status, reason, number in ledger.reasons()
        ]
        return {
            "counts": ledger.counts(),
            "reasons": reasons,
            "money": {"calls": sent, "calls_of_unknown_price": unpriced, "cost_usd": cost},
        }
    finally:
        ledger.close()


def _lines(folder: Path, told: dict[str, Any]) -> list[str]:
    from pipeline.runner import RETRIES

    counts = told["counts"]
    money = told["money"]
    cost = "unknown" if money["cost_usd"] is None else f"{money['cost_usd']:.4f}"
    lines = [
        f"{folder}: {sum(counts.values())} results of {', '.join(told['inputs'])}",
        "  "
        + ("  ".join(f"{status} {number}" for status, number in counts.items()) or "nothing yet"),
        *(
            f"  {each['documents']} × {each['status']}: {each['reason']}"
            for each in told.get("reasons", ())
        ),
        f"  {money['calls']} calls, {cost} USD; engine {told['engine']}",
    ]
    if told["finished"] is None:
        lines.append("  the last run did not come to its end: the same command continues it")
    redo = [status for status in RETRIES if counts.get(status)]
    if told["finished"] is None or counts.get("over_budget") or counts.get("pending"):
        lines.append(
            "  next: the same command continues; with a --budget that is used up, a higher one"
        )
    elif redo:
        lines.append(f"  next: the same command with --retry {','.join(redo)}")
    else:
        lines.append(f"  next: fieldsift validate {folder}")
    return lines
