"""`fieldsift run`: the folder job."""

import asyncio
import os
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import EPILOG, common, option, output_of, survey
from pipeline.cli.curl import show
from pipeline.cli.display import shown
from pipeline.cli.estimate import dry_run
from pipeline.cli.events import Events, dollars
from pipeline.cli.output import Output
from pipeline.cli.progress import EVERY, Watch, watched
from pipeline.cli.setup import asking, handle_signals, planned, tell_free_tier
from pipeline.cli.summary import Ending, Seen, as_json, booked, for_caches, tell

if TYPE_CHECKING:
    from pipeline.api import Choice, Storage
    from pipeline.config import Plan
    from pipeline.results import Result
    from pipeline.runner import Options, Survey


class _Run(click.Command):
    """`--dry-run` (`-n` too) takes its value after `=` alone: what follows a blank is an input."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        bare = {"-n", "--dry-run"}
        given = ["--dry-run=offline" if each in bare else each for each in args[:end]]
        given = [f"--dry-run{each[2:]}" if each.startswith("-n=") else each for each in given]
        return super().parse_args(ctx, given + args[end:])


@click.command("run", cls=_Run, epilog=EPILOG)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...", type=str)
@option(
    "-o", "--output", metavar="DIR", type=click.Path(file_okay=False), help="Where the results go."
)
@option(
    "-n",
    "--dry-run",
    type=click.Choice(["offline", "count"]),
    metavar="[=count]",
    help="Send nothing: tell what the run would ask and cost (see above). --dry-run=count has the service count the tokens, free of charge.",
)
@option(
    "--graph",
    is_flag=True,
    help="Send nothing: print how the stages hang together, as a Mermaid flowchart.",
)
@asking
@option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 1000),
    help="Documents worked on at the same time; else 32, and 8 with -m local.",
)
@option(
    "--text-field",
    metavar="NAME",
    help="Rows of JSONL and CSV: the column that is the text; else the row as JSON.",
)
@option(
    "--id-field",
    metavar="NAME",
    help="Rows of JSONL and CSV: the column that names each; else their number.",
)
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
@option(
    "--stage",
    "stages",
    multiple=True,
    metavar="NAME",
    help="Only this stage, and what it reads of earlier ones; lines of others stay as they are. Several: once each.",
)
@option("--force", is_flag=True, help="Do everything again, and pay for it again.")
@option(
    "--prune",
    is_flag=True,
    help="Remove the results of documents that this command's inputs no longer hold.",
)
@option("-x", "--fail-fast", is_flag=True, help="Stop at the first document that is not valid.")
@option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Ledger and answers here, in place of DIR/.fieldsift.",
)
@option(
    "--rebuild",
    is_flag=True,
    help="Damaged state: save all that is sound, say what is lost, and go on.",
)
@common
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> int:
    """Read documents into an output folder.

    INPUT is a folder, a file, a quoted pattern, or -: file names on stdin (one a line, or a zero byte behind each), or
    rows, where its first line begins with { or names the --text-field. Each row of a .jsonl, .ndjson, .csv or .tsv file is
    a document of its own, tickets.csv#17; DIR/STAGE/tickets.csv.jsonl holds the data of all. The same command again continues: finished
    documents that did not change are not opened, and nothing that was answered is paid twice.

    --dry-run reads the documents, sends nothing, writes nothing, and needs no key. It tells, by stage and
    model, requests, pages, tokens, and a low, an expected and a high cost; what is finished or stored
    costs nothing. A budget of the high cost suffices, as that is what the run sets aside (tries that are
    sent again apart). The tokens of text are estimated from its characters: the mean error on real
    documents is 6 %, and 9 of 10 are within 16 %; pages and pictures count by the service's table; how long
    an answer will be is a guess, 37 % wrong on average. --sample 200 estimates a large folder from 200 documents.

    Of several stages it shows which reads what, and when. Answers that are stored are followed. Where a stage hangs on one
    that is not there yet, low counts none of its questions; expected an even share of the labels that its `when`
    asks for, half of the documents for any other condition, one part and one item of each document; high all
    documents, each page as a part, and 10 items of each array: an array of more is not covered, which is said.
    Python functions are listed, and not run.
    """
    output = output_of(ctx)
    events = Events(output)
    with events.errors():
        return _command(ctx, options, output, events)


def _command(ctx: click.Context, options: dict[str, Any], output: Output, events: Events) -> int:
    from pipeline.api import Choice, Storage, inputs_of
    from pipeline.config import need_output
    from pipeline.graph import mermaid
    from pipeline.rows import Piped
    from pipeline.runner import Options

    retry = tuple(filter(None, (options["retry"] or "").split(",")))
    how = Options(
        force=options["force"],
        retry=retry,
        fail_fast=options["fail_fast"],
        offline=options["offline"] or bool(options["replay"]),
        skip_unreadable=options["skip_unreadable"],
        allow_unpriced=options["allow_unpriced"],
        prune=options["prune"],
        partial=bool(options["limit"] or options["sample"]),
        stages=options["stages"],
    )
    names = (
        "inputs", "output", "schema", "model", "prompt", "budget", "jobs", "min_confidence", "cache",
        "text_field", "id_field",
    )  # fmt: skip
    decided = planned(
        ctx,
        keyless=options["offline"]
        or options["curl"]
        or options["graph"]
        or options["dry_run"] == "offline",
        replaying=bool(options["replay"]),
        **{name: options[name] for name in names},
    )
    if options["graph"]:
        output.data(mermaid(decided.stages).rstrip())
        return 0
    where = Storage(
        options["state"],
        options["no_store"],
        options["record"],
        options["replay"],
        rebuild=options["rebuild"],
    )
    piped = Piped(sys.stdin.buffer) if "-" in options["inputs"] else None
    choice = Choice(options["limit"], options["sample"], options["seed"], piped)
    if options["curl"]:
        return asyncio.run(show(decided, how, inputs_of(decided, choice, where), output))
    if options["dry_run"]:
        return dry_run(decided, how, where, choice, options["dry_run"], output)
    need_output(decided)
    if not how.offline:
        tell_free_tier(decided, output)
    ending = asyncio.run(_run(decided, how, where, choice, output, events))
    events.write("end", **as_json(ending))
    tell(ending, output)
    return ending.run.exit_code


async def _run(
    decided: "Plan",
    how: "Options",
    where: "Storage",
    choice: "Choice",
    output: Output,
    events: Events,
) -> Ending:
    from pipeline.api import inputs_of, open_runner, summarised
    from pipeline.config import need_output
    from pipeline.errors import FieldsiftError
    from pipeline.ledger.view import by_stage
    from pipeline.runner import exit_code

    seen = Seen()
    started = time.monotonic()
    sources = inputs_of(decided, choice, where)
    async with open_runner(decided, how, where) as runner:
        spent = booked(runner.ledger)

        def say(found: "Survey") -> None:
            events.write("plan", **survey.facts(found))
            survey.tell(found, spent, output)

        _start(decided, output, events)
        for sentence in runner.rebuilt:
            output.warn(sentence, style="yellow")
        if where.rebuild and not runner.rebuilt:
            output.say("ledger and answers are sound: nothing was rebuilt")
        handle_signals(runner, output)
        watch = Watch(runner, spent)
        try:
            with shown(output) as display:
                async with (
                    watched(watch, (display, events), EVERY),
                    aclosing(runner.run(sources, say)) as results,
                ):
                    async for result in results:
                        seen.take(result)
                        await events.document(result)
                        _tell(result, output, with_stage=len(decided.stages) > 1)
        except FieldsiftError as error:
            # A signal or a fault of our own may come before it.
            error.exit_code = exit_code({}, runner.tally, error)
            raise
        run, this = summarised(decided, runner), runner.asker.bought.run
        paid, caches = booked(runner.ledger, this), for_caches(runner.ledger, this)
    state = where.state or need_output(decided) / ".fieldsift"
    seconds = time.monotonic() - started
    told = by_stage(state)
    return Ending(run, runner, seen, seconds, state, watch.waited, told, paid, caches)


def _tell(result: "Result", output: Output, *, with_stage: bool) -> None:
    """Say what is wrong with one document; nothing if all is well, or if the run merely stopped before it."""
    from pipeline.reporters import printable, said
    from pipeline.results import CONTINUES, DONE

    stage = f" {result.stage}:" if with_stage and result.stage else ""
    name = f"{result.document.path}:{stage} {result.status}"
    if result.status in DONE or result.status in CONTINUES:
        if output.verbose:
            output.warn(printable(name))
        return
    own = f"{result.document.path}: "  # stands in front already
    told = "; ".join(said(f).removeprefix(own) for f in result.findings if f.severity == "error")
    output.warn(printable(f"{name}: {told[:400]}"), style="yellow")


def _start(decided: "Plan", output: Output, events: Events) -> None:
    for note in decided.notes:
        output.say(note)
    inputs = ", ".join(decided.inputs)
    events.write(
        "start",
        version=1,
        inputs=list(decided.inputs),
        output=str(decided.output),
        engine=decided.engine,
        config=str(decided.file) if decided.file else None,
        stages=[stage.name for stage in decided.stages],
        budget_usd=dollars(decided.budget),
        process=os.getpid(),
    )
    if output.terminal:
        file = f" · {decided.file}" if decided.file else ""
        output.say(f"{inputs} → {decided.output} · {decided.engine}{file}", style="bold")
    else:
        output.facts(
            "run start",
            inputs=inputs,
            output=decided.output,
            engine=decided.engine,
            config=decided.file,
            budget_usd=decided.budget,
        )
