"""`fieldsift run --dry-run`: what the run would ask and cost, as a table, as plain lines, or as JSON."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pipeline.cli.output import Output

if TYPE_CHECKING:
    from pipeline.api import Choice, Storage
    from pipeline.config import Plan
    from pipeline.estimating import Caching, Estimate, Method
    from pipeline.runner import Options

#: In words, whether the budget does.
_SUFFICES: Final = {
    "yes": "suffices surely",
    "expected": "suffices for what is expected, not for the highest cost",
    "no": "does not suffice for what is expected: the run would stop, and continue with a higher one",
    "unknown": "can't be compared: a price is unknown",
}
_HOW: Final = {
    "offline": "tokens estimated offline, nothing was sent",
    "count": "tokens counted by the service (countTokens, free of charge)",
}


def dry_run(
    decided: "Plan",
    how: "Options",
    where: "Storage",
    choice: "Choice",
    method: "Method",
    output: Output,
) -> int:
    """Print what the run would ask and cost; nothing is sent but, with `count`, questions that are free."""
    from pipeline.writers import dump

    # There is nothing to finish: both signals end it at once, with exit code 130.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    estimate = asyncio.run(_estimate(decided, how, where, choice, method, output))
    if output.json:
        output.data(dump(estimate.to_json()))
    elif output.terminal:
        for note in decided.notes:
            output.say(note)
        for line in table(estimate):
            output.say(line)
    else:
        _facts(estimate, decided, output)
    return 0


async def _estimate(
    decided: "Plan",
    how: "Options",
    where: "Storage",
    choice: "Choice",
    method: "Method",
    output: Output,
) -> "Estimate":
    from dataclasses import replace

    from pipeline.api import estimator, inputs_of

    whole = None
    if choice.sample is not None:
        whole = sum(1 for _ in inputs_of(decided, replace(choice, sample=None, limit=None), where))
    sources = inputs_of(decided, choice, where)
    async with estimator(decided, how, where, method) as made:
        with _progress(output) as advance:
            return await made.estimate(sources, of=whole, on_document=advance)


@contextmanager
def _progress(output: Output) -> Iterator[Callable[[], None]]:
    """A line on a terminal that counts documents; nothing elsewhere."""
    if not output.terminal or output.quiet or not output.progress:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True, no_color=True if output.color == "never" else None)
    columns = (SpinnerColumn(), TextColumn("{task.completed} documents looked at"))
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda: shown.advance(task)


# plain lines ----------------------------------------------------------------------------------


def _facts(estimate: "Estimate", decided: "Plan", output: Output) -> None:
    output.facts(
        "dry-run start", inputs=", ".join(estimate.inputs), output=estimate.output,
        engine=estimate.engine, config=decided.file, method=estimate.method,
    )  # fmt: skip
    for each in estimate.code:
        output.facts("dry-run code", imported=each)
    for each in estimate.graph:
        output.facts("dry-run graph", stage=" ".join(each.split()))
    for name, rates in estimate.rates.items():
        output.facts("dry-run rates", model=name, **rates)
    for share in estimate.stages:
        output.facts("dry-run", **(share.to_json() | _costs(share)))
    for context in estimate.context:
        output.facts("dry-run context", **(context.to_json() | {"why": context.why or None}))
    for path, why in estimate.named:
        output.facts("dry-run unreadable", path=path, why=why)
    for note in estimate.notes:
        output.facts("dry-run note", text=note)
    if (of := estimate.sample_of) is not None:
        margin = None if of.margin is None else f"{of.margin:.3f}"
        output.facts(
            "dry-run scaled", documents=of.documents, sample=estimate.documents,
            requests=of.requests, **_costs(of), margin=margin,
        )  # fmt: skip
    output.facts(
        "dry-run end", documents=estimate.documents, unchanged=estimate.unchanged,
        unreadable=estimate.unreadable, requests=sum(share.requests for share in estimate.stages),
        stored=sum(share.stored for share in estimate.stages), **_costs(estimate),
        spent_usd=money(estimate.spent_usd), budget_usd=estimate.budget_usd,
        suffices=estimate.suffices, seconds_at_least=f"{estimate.seconds:g}" if estimate.rates else None,
    )  # fmt: skip


def _costs(of: object) -> dict[str, str]:
    return {name: money(getattr(of, name)) for name in ("low_usd", "expected_usd", "high_usd")}


def money(amount: Decimal | None) -> str:
    """Dollars with four places, more where that would be nothing, `unknown` where it is."""
    if amount is None:
        return "unknown"
    return f"{amount:.4f}" if not amount or amount >= Decimal("0.001") else f"{amount:.8f}"


# a table --------------------------------------------------------------------------------------


def table(estimate: "Estimate") -> list[str]:
    """The estimate for a person, line by line."""
    head = ("stage", "model", "documents", "requests", "stored", "pages", "tokens in", "tokens out",
            "low $", "expected $", "high $")  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    for share in estimate.stages:
        counts = (share.documents, share.requests, share.stored, share.pages)
        tokens = (share.input_tokens, share.output_tokens)
        told = (*(f"{each:,}" for each in (*counts, *tokens)), *_costs(share).values())
        rows.append((share.stage, share.model, *told))
    if len(estimate.stages) > 1:
        rows.append(("in all", *[""] * 7, *_costs(estimate).values()))
    to = f" → {estimate.output}" if estimate.output else ""
    return [
        f"{', '.join(estimate.inputs)}{to} · {_HOW[estimate.method]}",
        "",
        *(f"  {line}" for line in estimate.graph),
        *([""] if estimate.graph else []),
        *_aligned(rows),
        "",
        *(f"  {line}" for line in _below(estimate)),
    ]


def _of_context(of: "Caching") -> str:
    """What becomes of a stage's context, with the sum that decides it."""
    told = f"stage {of.stage}: context of about {of.tokens:,} tokens goes with each of {of.requests:,} requests"
    if of.break_even is None:
        return f"{told}: {of.why}"
    parts = f"{money(of.making_usd)} to make, {money(of.keeping_usd)} to keep, {money(of.reading_usd)} to read"
    sums = f"{money(of.with_usd)} USD in an explicit cache ({parts}), {money(of.without_usd)} USD without"
    what = "it is made" if of.explicit else "none is made"
    return f"{told}: {sums}; one pays from {of.break_even:,} requests on: {what}"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _below(estimate: "Estimate") -> Iterator[str]:
    counts = f"{estimate.documents:,} documents, {estimate.unchanged:,} finished and unchanged"
    yield f"{counts}, {estimate.unreadable:,} that can't be read"
    yield from (f"{path}: {why}" for path, why in estimate.named)
    if estimate.unreadable > len(estimate.named):
        yield f"and {estimate.unreadable - len(estimate.named):,} more"
    yield from map(_of_context, estimate.context)
    yield from _sampled(estimate)
    if estimate.budget_usd is not None:
        spent = f", {money(estimate.spent_usd)} spent before" if estimate.spent_usd else ""
        what = " for the sample" if estimate.sample_of else ""
        yield f"budget {estimate.budget_usd} USD{spent}: {_SUFFICES[estimate.suffices or 'unknown']}{what}"
    elif estimate.spent_usd:
        yield f"{money(estimate.spent_usd)} USD spent on this output before"
    for name, rates in estimate.rates.items():
        yield f"rates of {name}: {', '.join(f'{value} {rate}' for rate, value in rates.items())}"
    if estimate.rates:
        yield f"they make the run take {_time(estimate.seconds)} at least"
    yield from (f"imports {each}" for each in estimate.code)
    yield from estimate.notes
    yield f"engine: {estimate.engine}"


def _sampled(estimate: "Estimate") -> Iterator[str]:
    of = estimate.sample_of
    if of is None:
        return
    within = "" if of.margin is None else f" ± {of.margin:.0%}"
    low, expected, high = _costs(of).values()
    yield (
        f"of {of.documents:,} documents, from a sample of {estimate.documents:,}: about "
        f"{of.requests:,} requests, {expected} USD{within} (low {low}, high {high})"
    )


def _time(seconds: float) -> str:
    if seconds >= 86_400:
        return f"{seconds / 86_400:.0f} days"
    return f"{seconds / 60:.0f} minutes" if seconds >= 60 else "less than a minute"
