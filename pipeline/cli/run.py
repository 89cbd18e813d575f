"""`fieldsift run`: the folder job."""

import asyncio
import os
import signal
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import EPILOG, common, option, output_of
from pipeline.cli.output import Output
from pipeline.cli.setup import asking, planned

if TYPE_CHECKING:
    from pipeline.api import Choice, Run, Storage
    from pipeline.config import Plan
    from pipeline.results import Result
    from pipeline.runner import Options, Runner

RETRIES = ("failed", "invalid", "refused", "truncated", "unreadable")


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
@option("--retry", metavar="STATUS,...", help=f"Do these again: {', '.join(RETRIES)}.")
@option("--force", is_flag=True, help="Do everything again, and pay for it again.")
@option("-x", "--fail-fast", is_flag=True, help="Stop at the first document that is not valid.")
@option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Ledger and answers here, in place of DIR/.fieldsift.",
)
@option(
    "--skip-unreadable",
    is_flag=True,
    help="Go on where an input needs what this installation lacks.",
)
@common
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> int:
    """Read documents into an output folder.

    INPUT is a folder, a file, or a quoted pattern. The same command again continues: finished
    documents that did not change are not opened, and nothing that was answered is paid twice.
    """
    from pipeline.api import Choice, Storage
    from pipeline.config import need_output
    from pipeline.runner import Options

    output = output_of(ctx)
    retry = tuple(filter(None, (options["retry"] or "").split(",")))
    if unknown := set(retry) - set(RETRIES):
        raise click.UsageError(
            f"--retry {','.join(sorted(unknown))}: there are {', '.join(RETRIES)}"
        )
    names = ("inputs", "output", "schema", "model", "prompt", "budget", "jobs")
    decided = planned(
        ctx,
        keyless=options["offline"] or bool(options["replay"]),
        **{name: options[name] for name in names},
    )
    how = Options(
        force=options["force"],
        retry=retry,
        fail_fast=options["fail_fast"],
        offline=options["offline"] or bool(options["replay"]),
        skip_unreadable=options["skip_unreadable"],
        allow_unpriced=options["allow_unpriced"],
    )
    where = Storage(options["state"], options["no_store"], options["record"], options["replay"])
    need_output(decided)
    started = time.monotonic()
    choice = Choice(options["limit"], options["sample"], options["seed"])
    run, runner, seen = asyncio.run(_run(decided, how, where, choice, output))
    _tell(run, runner, seen, output, time.monotonic() - started)
    return run.exit_code


class _Seen:
    """What the summary says about values and findings; its size is that of the schema, not of the folder."""

    def __init__(self) -> None:
        self.evidence: Counter[str] = Counter()
        self.findings: Counter[tuple[str, str]] = Counter()
        self.cost: Decimal | None = Decimal(0)

    def take(self, result: "Result") -> None:
        self.evidence.update(evidence.status for evidence in result.evidence)
        for finding in result.findings:
            if finding.severity == "error":
                pointer = "/".join(
                    "*" if token.isdigit() else token for token in finding.pointer.split("/")
                )
                self.findings[
                    f"{result.stage or 'file'}: {result.status}",
                    f"{finding.rule} {pointer}".strip(),
                ] += 1
        cost = result.cost_usd
        self.cost = None if cost is None or self.cost is None else self.cost + cost


async def _run(
    decided: "Plan", how: "Options", where: "Storage", choice: "Choice", output: Output
) -> tuple["Run", "Runner", _Seen]:
    from pipeline.api import inputs_of, open_runner, summarised

    seen = _Seen()
    total = None
    if output.terminal and not output.quiet:
        total = sum(1 for _ in inputs_of(decided, choice))
    sources = inputs_of(decided, choice)
    async with open_runner(decided, how, where) as runner:
        _start_line(decided, total, output)
        _handle_signals(runner, output)
        with output.counting(total) as progress:
            async for result in runner.run(sources):
                seen.take(result)
                if result.status not in {"valid", "skipped"}:
                    told = "; ".join(
                        f"{f.pointer or '/'}: {f.message}"
                        for f in result.findings
                        if f.severity == "error"
                    )
                    output.say(
                        f"{result.document.path}: {result.status}: {told[:400]}", style="yellow"
                    )
                elif output.verbose:
                    output.say(f"{result.document.path}: {result.status}")
                progress.advance(runner.tally.statuses, _money(seen.cost))
        return summarised(decided, runner), runner, seen


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


def _handle_signals(runner: "Runner", output: Output) -> None:
    """The first Ctrl-C or SIGTERM finishes what is in flight; the second ends at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if runner.tally.interrupted:
            os._exit(130)
        runner.stop()
        output.warn("stopping: what is in flight is finished and kept (Ctrl-C again to quit now)")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def _tell(run: "Run", runner: "Runner", seen: _Seen, output: Output, seconds: float) -> None:
    """The last lines: what came out, what is wrong, what to type next; the engine in the very last."""
    tally = runner.tally
    if output.json:
        from pipeline.writers import dump

        cost = None if run.cost_usd is None else float(run.cost_usd)
        told = {
            "output": str(run.output),
            "counts": run.counts,
            "this_run": tally.statuses,
            "unchanged": run.unchanged,
        }
        output.data(
            dump(told | {"cost_usd": cost, "engine": run.engine, "exit_code": run.exit_code})
        )
    if tally.stopped:
        output.warn(f"stopped: {tally.stopped}")
    if tally.fault_log:
        output.warn(f"a fault of fieldsift itself; what happened is in {tally.fault_log}")
    if not output.terminal:
        output.facts(
            "run end", **run.counts, unchanged=run.unchanged, sent=tally.sent, stored=tally.stored,
            cost_usd=_money(run.cost_usd), seconds=f"{seconds:.1f}", exit=run.exit_code,
        )  # fmt: skip
    for line in _summary(run, runner, seen, seconds):
        output.say(line)


def _summary(run: "Run", runner: "Runner", seen: _Seen, seconds: float) -> list[str]:
    tally = runner.tally
    counts = "  ".join(f"{status} {number}" for status, number in run.counts.items()) or "nothing"
    lines = [
        "",
        f"  {counts}   ({tally.sources} documents, {tally.pages} pages, {run.unchanged} unchanged, {seconds:.1f} s)",
    ]
    values = sum(number for status, number in seen.evidence.items() if status != "absent")
    if values:
        parts = [
            f"{number} {status.replace('_', ' ')}"
            for status, number in seen.evidence.most_common()
            if status != "absent"
        ]
        lines.append(
            f"  {values} values: {', '.join(parts)}; {seen.evidence['absent']} fields are not in their document"
        )
    for (stage, told), number in seen.findings.most_common(5):
        lines.append(f"  {number} × {stage}: {told}")
    if tally.sent or tally.stored:
        lines.append(
            f"  {tally.sent} answers bought, {tally.stored} stored ones used; {_money(run.cost_usd)} USD so far"
        )
    lines.append(f"  next: {_next(run)}")
    lines.append(f"  engine: {run.engine}")
    return lines


def _next(run: "Run") -> str:
    if run.exit_code in {3, 130}:
        return "the same command continues" + (
            "; a higher --budget lets it" if run.exit_code == 3 else ""
        )
    redo = [status for status in RETRIES if run.counts.get(status)]
    if redo:
        return f"look into {run.output}/results.jsonl, then the same command with --retry {','.join(redo)}"
    return f"fieldsift validate {run.output}"


def _money(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{amount:.4f}"
