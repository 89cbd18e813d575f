"""The last lines of a run: what came out, what is wrong, what to type next."""

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

from pipeline.cli.output import Output

if TYPE_CHECKING:
    from pipeline.api import Run
    from pipeline.results import Result
    from pipeline.runner import Runner


class Seen:
    """What the summary says about values and findings; its size is that of the schema, not of the folder."""

    def __init__(self) -> None:
        self.evidence: Counter[str] = Counter()
        self.findings: Counter[tuple[str, str]] = Counter()
        self.cost: Decimal | None = Decimal(0)

    def take(self, result: "Result") -> None:
        """Count one Result."""
        self.evidence.update(evidence.status for evidence in result.evidence)
        for finding in result.findings:
            if finding.severity == "error":
                tokens = finding.pointer.split("/")
                pointer = "/".join("*" if token.isdigit() else token for token in tokens)
                where = f"{result.stage or 'file'}: {result.status}"
                self.findings[where, f"{finding.rule} {pointer}".strip()] += 1
        cost = result.cost_usd
        self.cost = None if cost is None or self.cost is None else self.cost + cost


def as_json(run: "Run", runner: "Runner") -> dict[str, object]:
    """The summary for `--json`."""
    return {
        "output": str(run.output),
        "counts": dict(run.counts),
        "this_run": runner.tally.statuses,
        "fallbacks": runner.tally.fallbacks,
        "unchanged": run.unchanged,
        "cost_usd": None if run.cost_usd is None else float(run.cost_usd),
        "engine": run.engine,
        "exit_code": run.exit_code,
    }


def tell(run: "Run", runner: "Runner", seen: Seen, output: Output, seconds: float) -> None:
    """Print it: for a person on a terminal, as `key=value` lines elsewhere; the engine in the very last line."""
    if runner.tally.stopped:
        output.warn(f"stopped: {runner.tally.stopped}")
    if runner.tally.fault_log:
        output.warn(f"a fault of fieldsift itself; what happened is in {runner.tally.fault_log}")
    if output.terminal:
        for line in _for_a_person(run, runner, seen, seconds):
            output.say(line)
    else:
        _for_a_log(run, runner, seen, output, seconds)


def money(amount: Decimal | None) -> str:
    """Dollars with four places, or `unknown`."""
    return "unknown" if amount is None else f"{amount:.4f}"


def _for_a_log(run: "Run", runner: "Runner", seen: Seen, output: Output, seconds: float) -> None:
    tally, asker = runner.tally, runner.asker
    if seen.evidence:
        output.facts("run values", **dict(seen.evidence.most_common()))
    for (where, told), number in seen.findings.most_common(5):
        output.facts("run finding", count=number, where=where, rule=told)
    for engine, number in tally.fallbacks.items():
        output.facts("run fallback", engine=engine, count=number)
    output.facts("run next", command=what_next(run, runner))
    output.facts(
        "run end", **run.counts, documents=tally.sources, pages=tally.pages, unchanged=run.unchanged,
        sent=asker.sent, stored=asker.stored, superseded=tally.superseded or None, cost_usd=money(run.cost_usd), seconds=f"{seconds:.1f}",
        exit=run.exit_code, engine=run.engine,
    )  # fmt: skip


def _for_a_person(run: "Run", runner: "Runner", seen: Seen, seconds: float) -> list[str]:
    tally, asker = runner.tally, runner.asker
    counts = "  ".join(f"{status} {number}" for status, number in run.counts.items()) or "nothing"
    read = f"{tally.sources} documents, {tally.pages} pages, {run.unchanged} unchanged"
    lines = ["", f"  {counts}   ({read}, {seconds:.1f} s)"]
    found = [(status, n) for status, n in seen.evidence.most_common() if status != "absent"]
    if found:
        parts = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in found)
        lines.append(
            f"  {sum(n for _, n in found)} values: {parts}; {seen.evidence['absent']} null"
        )
    elif seen.evidence:
        lines.append(f"  no values: all {seen.evidence['absent']} fields are null")
    if tally.superseded:
        lines.append(
            f"  {tally.superseded} results of other stages, of an earlier run, were superseded"
        )
    lines += [f"  {n} × {where}: {told}" for (where, told), n in seen.findings.most_common(5)]
    lines += [
        f"  {number} × answered by {engine}, in place of a model that was down"
        for engine, number in tally.fallbacks.items()
    ]
    if asker.sent or asker.stored:
        bought = f"{asker.sent} answers bought, {asker.stored} stored ones used"
        lines.append(f"  {bought}; {money(run.cost_usd)} USD so far")
    return [*lines, f"  next: {what_next(run, runner)}", f"  engine: {run.engine}"]


def what_next(run: "Run", runner: "Runner") -> str:
    """What to type next, in words or as a command."""
    from pipeline.errors import BudgetReached
    from pipeline.runner import RETRIES

    if isinstance(runner.tally.stopped, BudgetReached):
        return "the same command with a higher --budget continues"
    if run.exit_code in {3, 130} or not runner.tally.ended:
        return "the same command continues"
    wrong = [status for status in RETRIES if run.counts.get(status)]
    if not wrong:
        return f"fieldsift validate {run.output}"
    look = f"look into {run.output / 'results.jsonl'}"
    # What can't be read stays so, and the local engine says the same again.
    redo = [status for status in wrong if status != "unreadable" and run.engine != "local"]
    return f"{look}, then the same command with --retry {','.join(redo)}" if redo else look
