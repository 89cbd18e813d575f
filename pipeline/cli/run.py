"""`fieldsift run`: the folder job."""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import EPILOG, common, option, output_of
from pipeline.cli.curl import show
from pipeline.cli.output import Output
from pipeline.cli.setup import asking, handle_signals, planned, tell_free_tier
from pipeline.cli.summary import Seen, as_json, money, tell

if TYPE_CHECKING:
    from pipeline.api import Choice, Run, Storage
    from pipeline.config import Plan
    from pipeline.results import Result
    from pipeline.runner import Options, Runner


@click.command("run", epilog=EPILOG)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...", type=str)
@option(
    "-o", "--output", metavar="DIR", type=click.Path(file_okay=False), help="Where the results go."
)
@asking
@option("-j", "--jobs", type=click.IntRange(1, 1000), help="Documents worked on at the same time.")
@option("--limit", type=click.IntRange(1), help="Only the first N documents.")
@option("--sample", type=click.IntRange(1), help="Only N documents, drawn by --seed.")
@option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="For --sample: the same seed draws the same documents.",
)
@option(
    "--retry",
    metavar="STATUS,...",
    help="Do these again: failed, invalid, refused, truncated, unreadable.",
)
@option("--force", is_flag=True, help="Do everything again, and pay for it again.")
@option("-x", "--fail-fast", is_flag=True, help="Stop at the first document that is not valid.")
@option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Ledger and answers here, in place of DIR/.fieldsift.",
)
@common
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> int:
    """Read documents into an output folder.

    INPUT is a folder, a file, or a quoted pattern. The same command again continues: finished
    documents that did not change are not opened, and nothing that was answered is paid twice.
    """
    from pipeline.api import Choice, Storage, inputs_of
    from pipeline.config import need_output
    from pipeline.runner import Options
    from pipeline.writers import dump

    output = output_of(ctx)
    retry = tuple(filter(None, (options["retry"] or "").split(",")))
    how = Options(
        force=options["force"],
        retry=retry,
        fail_fast=options["fail_fast"],
        offline=options["offline"] or bool(options["replay"]),
        skip_unreadable=options["skip_unreadable"],
        allow_unpriced=options["allow_unpriced"],
    )
    names = (
        "inputs", "output", "schema", "model", "prompt", "budget", "jobs", "min_confidence",
    )  # fmt: skip
    decided = planned(
        ctx,
        keyless=options["offline"] or options["curl"],
        replaying=bool(options["replay"]),
        **{name: options[name] for name in names},
    )
    where = Storage(options["state"], options["no_store"], options["record"], options["replay"])
    choice = Choice(options["limit"], options["sample"], options["seed"])
    if options["curl"]:
        return asyncio.run(show(decided, how, inputs_of(decided, choice, where), output))
    need_output(decided)
    if not how.offline:
        tell_free_tier(decided, output)
    started = time.monotonic()
    run, runner, seen = asyncio.run(_run(decided, how, where, choice, output))
    if output.json:
        output.data(dump(as_json(run, runner)))
    tell(run, runner, seen, output, time.monotonic() - started)
    return run.exit_code


async def _run(
    decided: "Plan", how: "Options", where: "Storage", choice: "Choice", output: Output
) -> tuple["Run", "Runner", Seen]:
    from pipeline.api import inputs_of, open_runner, summarised

    seen = Seen()
    total = None
    if output.terminal and not output.quiet:
        total = sum(1 for _ in inputs_of(decided, choice, where))
    sources = inputs_of(decided, choice, where)
    async with open_runner(decided, how, where) as runner, aclosing(runner.run(sources)) as results:
        _start_line(decided, total, output)
        handle_signals(runner, output)
        with output.counting(total) as progress:
            async for result in results:
                seen.take(result)
                if (line := _line(result, verbose=bool(output.verbose))) is not None:
                    progress.note(line)
                progress.advance(runner.tally.statuses, money(seen.cost))
        return summarised(decided, runner), runner, seen


def _line(result: "Result", *, verbose: bool) -> str | None:
    """What is said of one document: nothing if all is well, or if the run merely stopped before it."""
    from pipeline.reporters import printable, said
    from pipeline.results import CONTINUES, DONE

    name = f"{result.document.path}: {result.status}"
    if result.status in DONE or result.status in CONTINUES:
        return printable(name) if verbose else None
    told = "; ".join(said(f) for f in result.findings if f.severity == "error")
    return printable(f"{name}: {told[:400]}")


def _start_line(decided: "Plan", total: int | None, output: Output) -> None:
    for note in decided.notes:
        output.say(note)
    inputs = ", ".join(decided.inputs)
    if output.terminal:
        file = f" · {decided.file}" if decided.file else ""
        output.say(
            f"{inputs} → {decided.output} · {total} documents · {decided.engine}{file}",
            style="bold",
        )
    else:
        budget = None if decided.budget is None else str(decided.budget)
        output.facts(
            "run start",
            inputs=inputs,
            output=decided.output,
            engine=decided.engine,
            config=decided.file,
            budget_usd=budget,
        )
