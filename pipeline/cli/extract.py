"""`fieldsift extract`: a few documents to stdout."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import EPILOG, common, option, output_of
from pipeline.cli.curl import show
from pipeline.cli.output import Output
from pipeline.cli.setup import asking, handle_signals, planned, tell_free_tier

if TYPE_CHECKING:
    from pipeline.document import Document
    from pipeline.results import Result
    from pipeline.sources import Source


@click.command("extract", epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=str)
@asking
@option("--pages", metavar="PAGES", help="The only pages that are read: 1-3, 7, 10- or last.")
@option(
    "--show-parts", is_flag=True, help="Print what would be sent of each document; send nothing."
)
@common
@click.pass_context
def command(ctx: click.Context, /, files: tuple[str, ...], **options: Any) -> int:
    """Read a few documents; `-` is stdin.

    One file: its data, indented. Several, or --json: one Result a line. Where one is not valid,
    its data is not printed; what is wrong with it goes to stderr, and the exit code is 1.
    """
    from pipeline.api import Storage
    from pipeline.runner import Options, exit_code

    output = output_of(ctx)
    keyless = options["offline"] or options["show_parts"] or options["curl"]
    names = ("schema", "model", "prompt", "pages", "budget", "min_confidence", "cache")
    decided = planned(
        ctx,
        keyless=keyless,
        replaying=bool(options["replay"]),
        inputs=files,
        **{name: options[name] for name in names},
    )
    for note in decided.notes:
        output.say(note)
    given = [_source(name) for name in files]
    _tell_rows(files, output)
    if options["show_parts"]:
        return asyncio.run(_show_parts(given, output))
    how = Options(
        offline=options["offline"],
        skip_unreadable=options["skip_unreadable"],
        allow_unpriced=options["allow_unpriced"],
    )
    if options["curl"]:
        return asyncio.run(show(decided, how, given, output))
    if not how.offline and not options["replay"]:
        tell_free_tier(decided, output)
    where = Storage(None, options["no_store"], options["record"], options["replay"])
    one = len(files) == 1 and len(decided.stages) == 1 and not output.json
    counts, tally = asyncio.run(_extract(decided, how, where, given, output, one=one))
    return exit_code(counts, tally)


def _tell_rows(files: tuple[str, ...], output: Output) -> None:
    """Say of tables and lists of JSON that they are one document each here."""
    from pipeline.document import ROWS

    for name in files:
        if name.lower().endswith(ROWS):
            output.say(f"{name} is read as one document; fieldsift run reads each row")


async def _extract(
    decided: Any, how: Any, where: Any, given: list["Source"], output: Output, *, one: bool
) -> Any:
    from dataclasses import replace

    from pipeline.api import open_runner
    from pipeline.results import Result
    from pipeline.writers import dump

    async with (
        open_runner(replace(decided, output=None), how, where) as runner,
        aclosing(runner.run(given)) as results,
    ):
        handle_signals(runner, output)
        found: dict[str, list[Result]] = {}
        async for result in results:
            found.setdefault(result.document.path, []).append(result)
        for result in (each for source in given for each in found.pop(source.path, ())):
            _tell(result, output)
            if not one:
                output.data(dump(result.to_json()))
            elif result.status == "valid":
                output.data(dump(result.data, indent=2))
        if runner.commons and runner.commons.trouble:
            output.warn(runner.commons.trouble)
        return runner.tally.statuses, runner.tally


def _tell(result: "Result", output: Output) -> None:
    """What is wrong; of a valid result only which values were not found, or that there are none.

    With -v also what was asked and paid, and where each value stands.
    """
    from pipeline.reporters import printable, said

    name = printable(result.document.path)
    if output.verbose:
        output.warn(f"{name}: {result.status}; {_pages_of(result)}")
        for line in _of_attempts(result):
            output.warn(printable(line))
        for line in _of_evidence(result):
            output.warn(printable(line))
    elif result.status != "valid":
        output.warn(f"{name}: {result.status}")
    for finding in result.findings:
        if result.status != "valid" or finding.rule in {"evidence_not_found", "empty"}:
            output.warn(f"  {finding.severity}: {printable(said(finding))} ({finding.rule})")


def _pages_of(result: "Result") -> str:
    pages = result.coverage
    stage = f", stage {result.stage}" if result.stage else ""
    return f"{pages.answered} of {pages.pages} pages read{stage}"


def _of_attempts(result: "Result") -> Iterator[str]:
    from pipeline.cli.summary import money

    for attempt in result.attempts:
        tokens = " ".join(f"{kind} {number:,}" for kind, number in attempt.tokens.items() if number)
        how = f"{'stored, ' * attempt.stored}{money(attempt.cost_usd)} USD"
        yield f"  asked {attempt.endpoint} ({attempt.why}): {f'{tokens} tokens, ' * bool(tokens)}{how}"


def _of_evidence(result: "Result") -> Iterator[str]:
    for each in result.evidence:
        where = f" on page {each.page}: {each.quote!r}" if each.quote is not None else ""
        sure = "" if each.confidence is None else f", confidence {each.confidence:.2f}"
        yield f"  {each.pointer}: {each.status}{where}{sure}"


def _source(name: str) -> "Source":
    from pathlib import Path

    from pipeline.errors import UsageError
    from pipeline.sources import LARGEST_FILE, Source, named_file

    if name == "-":
        content = sys.stdin.buffer.read(LARGEST_FILE + 1)
        return Source("stdin", size=len(content), content=content)
    if not Path(name).exists():
        raise UsageError(f"{name}: no such file")
    if Path(name).is_dir():
        raise UsageError(f"{name} is a folder: fieldsift run {name} -o out")
    return named_file(name)


async def _show_parts(given: list["Source"], output: Output) -> int:
    from pipeline.errors import LoadError
    from pipeline.loaders import Loaders
    from pipeline.writers import dump

    loaders = Loaders(1)
    code = 0
    try:
        for source in given:
            try:
                document = await loaders.load(source.path, source.read())
            except LoadError as error:
                output.warn(f"{source.path}: unreadable: {error}")
                code = 1
                continue
            if output.json:
                output.data(dump(_parts_as_json(document)))
                continue
            for line in _parts_in_words(document):
                output.data(line)
    finally:
        await loaders.aclose()
    return code


def _parts_as_json(document: "Document") -> dict[str, Any]:
    """One line of `--show-parts --json`; sizes are characters of text and bytes of anything else."""
    return {
        "path": document.path,
        "media_type": document.media_type,
        "pages": document.page_count,
        "bytes": document.size,
        "parts": [
            {
                "kind": part.kind,
                "media_type": part.media_type,
                "pages": list(part.pages),
                "size": len(part.text) if part.kind == "text" else len(part.data),
            }
            for part in document.parts
        ],
        "page_texts": [
            {
                "page": page.number,
                "characters": len(page.text),
                "words": len(page.words),
                "form_fields": len(page.fields),
            }
            for page in document.pages
        ],
        "warnings": list(document.warnings),
    }


def _parts_in_words(document: "Document") -> Iterator[str]:
    told = f"{document.media_type}, {document.page_count} pages, {document.size:,} bytes"
    yield f"{document.path}: {told}"
    for part in document.parts:
        size = (
            f"{len(part.text):,} characters" if part.kind == "text" else f"{len(part.data):,} bytes"
        )
        yield f"  {part.kind} {part.media_type}, pages {part.pages[0]}-{part.pages[1]}, {size}"
    for page in document.pages:
        told = f"{len(page.text):,} characters, {len(page.words):,} words, {len(page.fields)} form fields"
        yield f"  page {page.number}: {told}"
    for warning in document.warnings:
        yield f"  warning: {warning}"
