"""In which forms the pages of PDFs go, what that saves, into how many windows, and how long it takes.

    python benchmarks/windows.py FOLDER [-s SCHEMA] [--resolution low|medium|high] [-m MODEL]

For each folder of PDFs below FOLDER: pages by form (text, page of a PDF, picture); tokens of the pages as
they go (`auto`), as pages of a PDF, and as text alone (which loses pictures and scans); windows with SCHEMA;
filled texts of form fields, and how many of them are said in words with their page; milliseconds a page to decide, and to cut out the runs of pages that go as a PDF of their own.
"""

import argparse
import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from pipeline.document import Document
from pipeline.errors import LoadError
from pipeline.loaders import Loaders
from pipeline.prompts.printed import as_text, filled_in
from pipeline.providers import Endpoint
from pipeline.schema import Schema
from pipeline.stages import Stage
from pipeline.windows import cut
from pipeline.windows.forms import Shown, shown


@dataclass
class Sums:
    """What was counted of one folder."""

    documents: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    deciding: float = 0.0
    cutting: float = 0.0
    cut_pages: int = 0
    cut_bytes: int = 0
    filled: int = 0
    told: int = 0


async def measure(files: list[Path], stage: Stage, endpoint: Endpoint) -> Sums:
    """All PDFs of a folder; those that can't be read are left out."""
    sums = Sums()
    async with Loaders(1) as loaders:
        for path in files:
            try:
                document = await loaders.load(path.name, path.read_bytes())
            except LoadError:
                continue
            sums.documents += 1
            started = time.perf_counter()
            sums.windows += len(cut(stage, document, endpoint))
            sums.deciding += time.perf_counter() - started
            found = shown(document, stage, endpoint.service)
            sums.forms.update(one.form for one in found)
            forms = {one.number: one.form for one in found}
            for page in document.pages:
                said = as_text(page) if forms.get(page.number) == "text" else filled_in(page)
                values = [each.value for each in page.fields if each.kind == "text" and each.value]
                sums.filled += len(values)
                sums.told += sum(
                    " ".join(value.split()) in " ".join(said.split()) for value in values
                )
            for send in ("auto", "pdf", "text"):
                each = shown(document, replace(stage, send=send), endpoint.service)
                sums.tokens[send] += sum(one.tokens for one in each)
            await cut_runs(document, found, loaders, sums)
    return sums


async def cut_runs(
    document: Document, found: tuple[Shown, ...], loaders: Loaders, sums: Sums
) -> None:
    """Cut out what would go as a PDF of its own, all pages asked about at once."""
    for form, run in groupby(found, lambda one: one.form):
        numbers = [one.number for one in run]
        if form != "pdf" or len(numbers) == document.page_count:
            continue
        started = time.perf_counter()
        made = await loaders.cut(document.parts[0].data, numbers)
        sums.cutting += time.perf_counter() - started
        sums.cut_pages += len(numbers)
        sums.cut_bytes += len(made)


def row(name: str, sums: Sums) -> str:
    """One line of the table."""
    pages = max(1, sums.forms.total())
    saved = 1 - sums.tokens["auto"] / max(1, sums.tokens["pdf"])
    forms = "".join(f"{sums.forms[form]:7}" for form in ("text", "pdf", "image"))
    tokens = "".join(f"{sums.tokens[send]:10,}" for send in ("auto", "pdf", "text"))
    cutting = f"{1000 * sums.cutting / sums.cut_pages:8.1f}" if sums.cut_pages else "       -"
    return (
        f"{name:24}{sums.documents:5}{pages:6}{forms}{tokens}{saved:8.1%}{sums.windows:8}"
        f"{sums.filled:7}{sums.told:6}"
        f"{1000 * sums.deciding / pages:8.2f}{cutting}"
    )


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("folder", type=Path)
    options.add_argument("-s", "--schema", default="invoice")
    options.add_argument("-m", "--model", default="gemini-3.1-flash-lite")
    options.add_argument("--resolution", choices=["low", "medium", "high"])
    asked = options.parse_args()
    stage = Stage("measured", Schema.of(asked.schema), media_resolution=asked.resolution)
    folders: dict[str, list[Path]] = {}
    for path in sorted(asked.folder.rglob("*.pdf")):
        folders.setdefault(path.relative_to(asked.folder).parts[0], []).append(path)
    print(
        f"{'folder':24}{'docs':>5}{'pages':>6}{'text':>7}{'pdf':>7}{'image':>7}{'auto':>10}{'all pdf':>10}"
        f"{'all text':>10}{'saved':>8}{'windows':>8}{'fields':>7}{'told':>6}{'ms/page':>8}{'cut ms':>8}"
    )
    total = Sums()
    for name, files in folders.items():
        sums = asyncio.run(measure(files, stage, Endpoint("gemini", asked.model)))
        print(row(name, sums))
        for counted in ("forms", "tokens"):
            getattr(total, counted).update(getattr(sums, counted))
        for added in ("documents", "windows", "filled", "told", "deciding", "cutting", "cut_pages"):
            setattr(total, added, getattr(total, added) + getattr(sums, added))
    print(row("all", total))


if __name__ == "__main__":
    main()
