"""`fieldsift status`: what lies in an output folder, also while a run writes it."""

import glob
from collections.abc import Mapping
from decimal import Decimal
from itertools import groupby
from os.path import lexists
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import EPILOG, common, option, output_of
from pipeline.cli.summary import money as dollars
from pipeline.cli.summary import of_stages

if TYPE_CHECKING:
    from pipeline.ledger.view import Books, Pages, View

#: The most names of documents that are listed.
_NAMES = 5


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
    """Say what the last run over DIR (else the pipeline file's output, else out) came to, and what to type next.

    Nothing is written and no lock is taken: it may be asked at any time, beside a run too. Exit code 0;
    2 if DIR is not an output folder; 4 if a file of its state is gone or can't be read.
    """
    from pipeline.errors import StateError
    from pipeline.writers import dump

    output = output_of(ctx)
    folder = folder or default_output(ctx)
    told = gathered(folder, state or folder / ".fieldsift")
    if output.json:
        output.data(dump(told, indent=2))
    else:
        for line in lines_of(folder, told):
            output.data(line)
    return StateError.exit_code if told["damaged"] else 0


def default_output(ctx: click.Context) -> Path:
    """The output folder of the pipeline file, else `out`."""
    from pipeline.config import Call, find_file, read_file

    file = ctx.find_root().ensure_object(dict).get("config") or find_file(Path.cwd())
    named = read_file(Call(file)).run.output
    return file.parent / named if file and named else Path("out")


def gathered(folder: Path, state: Path) -> dict[str, Any]:
    """run.json, with what the ledger says now in place of what was true when the run began or ended.

    Beside the keys of run.json: `counts_by_stage`, `reasons`, `pages`, `tokens`, `last_run` (`running`, `finished` or
    `interrupted`), `holder` (of a running one), `gone` (number and first names of documents that are no
    longer there), `damaged` (a sentence, or null), `next`.

    Raises:
        UsageError: the folder has no run.json.

    """
    from pipeline.errors import StateError
    from pipeline.ledger.view import Pages, View, missing, pages_and_tokens, view
    from pipeline.results import read_summary

    told: dict[str, Any] = {"stopped": None} | read_summary(folder)
    holder = _holder(folder / ".fieldsift")
    looked: View | None = None
    pages: Pages | None = None
    tokens: dict[str, int] = {}
    gone: tuple[int, list[str]] = (0, [])
    try:
        damaged = missing(state)
        if damaged is None and (state / "ledger.sqlite").exists():
            looked = view(state)
            pages, tokens = pages_and_tokens(state)
            gone = _gone(told, state)
    except StateError as error:
        damaged = str(error)
    # Without a ledger that can be read, what the last run wrote is all that is known.
    known = looked or View(told["counts"])
    ended = "finished" if told["finished"] else "interrupted"
    told |= {
        "counts": dict(known.counts),
        "counts_by_stage": known.stages,
        "reasons": [
            {"status": status, "reason": reason, "documents": number}
            for status, reason, number in known.reasons
        ],
        "pages": _of_pages(pages) if pages else None,
        "tokens": tokens,
        "money": _money(told["money"], looked.books) if looked else told["money"],
        "last_run": "running" if holder else ended,
        "holder": holder,
        "gone": {"documents": gone[0], "first": gone[1]},
        "damaged": damaged,
    }
    return told | {"next": _next(folder, told, known)}


def _holder(lock_folder: Path) -> str | None:
    """Who writes into an output folder just now; None if nobody does.

    The lock is not tried: a run that starts in that moment would be refused.
    """
    from pipeline.ledger.view import is_held

    holder = lock_folder / "holder"
    told = holder.read_text("utf-8", "replace").strip(" ,\n") if holder.exists() else ""
    return (told or "another process") if is_held(lock_folder / "lock", told) else None


def _gone(told: Mapping[str, Any], state: Path) -> tuple[int, list[str]]:
    """How many documents of lines have their file no more where it was, if the input folders are; and the first names."""
    from pipeline.document import rows_file
    from pipeline.ledger.view import sources_of
    from pipeline.sources import real_name

    inputs = [Path(text) for text in told["inputs"]]
    here = Path(told["working_folder"])
    folders = [path for path in inputs if path.is_dir()]
    roots = [here, *(folders if len(inputs) == 1 else [path.parent for path in folders])]
    # A folder that is away, a disk that is not mounted: nothing is known of what was in it.
    away = {path for path in inputs if not path.exists() and not glob.has_magic(str(path))}
    number, first = 0, []
    for file, documents in groupby(sources_of(state), lambda name: rows_file(name) or name):
        real = real_name(file)
        if any(lexists(root / real) for root in roots):
            continue
        away.discard(here / real)
        for each in documents:
            number += 1
            if number <= _NAMES:
                first.append(each)
    return (0, []) if away else (number, first)


def _of_pages(pages: "Pages") -> dict[str, int]:
    return {
        "found": pages.found,
        "read": pages.read,
        "not_read": pages.found - pages.read,
        "documents_of_unknown_pages": pages.unknown,
    }


def _money(told: Mapping[str, Any], books: "Books") -> dict[str, Any]:
    """The money as the ledger has it now, in dollars; None where a price is unknown."""
    from pipeline.limits import dollars

    spent = books.booked + books.reserved
    budget = told["budget_usd"]
    known = not books.unpriced
    return {
        "calls": books.calls,
        "calls_of_unknown_price": books.unpriced,
        "calls_open": books.open,
        "calls_lost": books.lost,
        "booked_usd": float(dollars(books.booked)) if known else None,
        "reserved_usd": float(dollars(books.reserved)) if known else None,
        "cost_usd": float(dollars(spent)) if known else None,
        "budget_usd": budget,
        "left_usd": round(budget - float(dollars(spent)), 12) if known and budget else None,
    }


def _next(folder: Path, told: Mapping[str, Any], looked: "View") -> str:
    from pipeline.cli.advice import Facts, what_next
    from pipeline.results import BY_SIGNAL

    if told["damaged"]:
        return "the same command with --rebuild saves all that is sound"
    if told["last_run"] == "running":
        return "wait for the run; Ctrl-C or SIGTERM ends it and keeps what is done"
    return what_next(
        Facts(
            output=str(folder),
            counts=told["counts"],
            reasons=looked.reasons,
            messages=looked.messages,
            ended=told["finished"] is not None,
            cut=told["finished"] is None and told["stopped"] in {None, BY_SIGNAL},
            engine=told["engine"],
            fault=_fault(folder, looked),
        )
    )


def _fault(folder: Path, looked: "View") -> str:
    """The log of a fault of our own, where a line tells of one."""
    told = any(reason == "internal_error" for _, reason, _ in looked.reasons)
    return str(folder / ".fieldsift/faults.log") if told else ""


def lines_of(folder: Path, told: Mapping[str, Any]) -> list[str]:
    """What was gathered, for people."""
    counts = told["counts"]
    found = "  ".join(f"{status} {number:,}" for status, number in counts.items())
    lines = [
        f"{folder}: {sum(counts.values()):,} results of {', '.join(told['inputs'])}",
        f"  {found or 'nothing yet'}",
        *([f"  {of_stages(told['counts_by_stage'])}"] if len(told["counts_by_stage"]) > 1 else []),
        *(
            f"  {each['documents']:,} × {each['status']}: {each['reason']}"
            for each in told["reasons"]
        ),
    ]
    if told["damaged"]:
        lines.append(f"  the state is damaged: {told['damaged']}")
        lines.append("  the above is what the last run wrote into run.json")
    lines += _amounts(told)
    lines.append(f"  {_of_last_run(told)}; engine {told['engine']}")
    if gone := told["gone"]["documents"]:
        more = ", ..." if gone > _NAMES else ""
        lines.append(f"  {gone:,} documents are gone: {', '.join(told['gone']['first'])}{more}")
    return [*lines, f"  next: {told['next']}"]


def _amounts(told: Mapping[str, Any]) -> list[str]:
    lines = []
    if pages := told["pages"]:
        unknown = pages["documents_of_unknown_pages"]
        lines.append(
            f"  {pages['found']:,} pages: {pages['read']:,} read, {pages['not_read']:,} not read"
            + (f"; of {unknown:,} documents the pages are not known" if unknown else "")
        )
    if tokens := [f"{kind} {number:,}" for kind, number in told["tokens"].items() if number]:
        lines.append(f"  tokens: {'  '.join(tokens)}")
    return [*lines, f"  {_spent(told['money'], is_running=told['last_run'] == 'running')}"]


def _spent(money: Mapping[str, Any], *, is_running: bool) -> str:
    spent = f"{money['calls']:,} calls, {dollars(money['cost_usd'])} USD"
    if money.get("calls_open"):
        kept = f"{dollars(money['reserved_usd'])} of it reserved for {money['calls_open']:,} calls"
        spent += f", {kept} {'in flight' if is_running else 'that lost their answer'}"
    if money.get("calls_lost"):
        spent += f", without {money['calls_lost']:,} calls that a damaged ledger lost"
    if money.get("left_usd") is not None:
        spent += f"; {dollars(money['left_usd'])} left of {_plain(money['budget_usd'])}"
    return spent


def _plain(amount: float) -> str:
    """An amount in full, never with an exponent."""
    return f"{Decimal(str(amount)).normalize():f}"


def _of_last_run(told: Mapping[str, Any]) -> str:
    from datetime import datetime

    if told["last_run"] == "running":
        return f"running: {told['holder']}"
    if told["last_run"] == "interrupted":
        why = f"was stopped: {told['stopped']}" if told["stopped"] else "did not come to its end"
        return f"the last run began {told['started']} and {why}"
    took = datetime.fromisoformat(told["finished"]) - datetime.fromisoformat(told["started"])
    done = told["this_run"]["inputs"]
    worked = done - told["this_run"]["unchanged"]
    seconds = took.total_seconds()
    rate = f", {worked / seconds * 60:,.0f} a minute" if seconds and worked else ""
    return f"the last run ended {told['finished']}: {done:,} documents{rate}"
