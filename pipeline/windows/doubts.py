"""What the rows of merged data leave open: not located, doubled, missing by the pattern of the lines, not counted."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.results import Evidence, Finding, Severity, escape
from pipeline.values.pages import spans
from pipeline.windows.pages import Pages
from pipeline.windows.pieces import Doubt
from pipeline.windows.rows import Row, Table, doubled
from pipeline.windows.signal import Signal

#: How many rows or pages a sentence names.
_NAMED = 8
#: How many rows it names with the rows that they repeat.
_PAIRS = 3


@dataclass
class _Found:
    """A table that is in no other, or all those at one place of its rows: the rows, with their pointers.

    `outer` is the pointer of the outermost array: that is what can be asked for again.
    """

    outer: str
    several: bool = False
    rows: list[tuple[str, Row]] = field(default_factory=list)


def of_rows(
    root: Any, pages: Pages, covered: Collection[int], evidence: Iterable[Evidence]
) -> tuple[tuple[Doubt, ...], tuple[Finding, ...]]:
    """The doubts about the rows of all arrays of objects, and what is told though nobody need ask again.

    Args:
        root: the merged data.
        pages: the lines of the document.
        covered: the pages that answers speak of.
        evidence: of all leaves; where a value outside of an array stands, no row is missing.

    """
    tables: dict[str, _Found] = {}
    _collect(root, "", "", None, tables)
    tables = {path: found for path, found in tables.items() if found.rows}
    doubts: list[Doubt] = []
    for path, found in tables.items():
        doubts += _not_located(found, pages)
        doubts += _doubled(found)
        doubts += _missing(found, pages, covered, _elsewhere(tables, path, pages, evidence))
    notes = [note for found in tables.values() if (note := _not_counted(found, pages, covered))]
    return tuple(doubts), tuple(notes)


def _collect(
    node: Any, pointer: str, path: str, outer: str | None, tables: dict[str, _Found]
) -> None:
    if isinstance(node, dict):
        for key, inner in node.items():
            step = "/" + escape(key)
            _collect(inner, pointer + step, path + step, outer, tables)
    elif isinstance(node, Table):
        top = pointer if outer is None else outer
        found = tables.setdefault(path, _Found(top))
        found.several = found.several or node.sources > 1
        for number, row in enumerate(node.alive):
            if isinstance(row.node, dict):
                found.rows.append((f"{pointer}/{number}", row))
            _collect(row.node, f"{pointer}/{number}", f"{path}/*", top, tables)


def _not_located(found: _Found, pages: Pages) -> Iterator[Doubt]:
    """Of several answers a row that stands nowhere may be one that another answer has too."""
    lost = [(pointer, row) for pointer, row in found.rows if row.line is None]
    readable = {page.number for page in pages.document.pages if page.has_text}
    near = sorted({page for _, row in lost for page in row.pages if page in readable})
    if lost and found.several and near:
        names = [pointer for pointer, _ in lost]
        said = (
            f"{_listed(names)} can't be located on {spans(near)}: kept, at the place that the rows around "
            f"tell, but whether another row is the same one is not known"
        )
        finding = Finding("row_not_located", found.outer, said, "warning", tuple(names[:_NAMED]))
        yield Doubt(finding, tuple(near))


def _doubled(found: _Found) -> Iterator[Doubt]:
    twins = doubled([row for _, row in found.rows])
    if twins:
        names = {id(row): pointer for pointer, row in found.rows}
        on = sorted({page for row, _ in twins for page in row.pages})
        told = [f"{names[id(row)]} repeats {names[id(same)]}" for row, same in twins[:_PAIRS]]
        if len(twins) > _PAIRS:
            told.append(f"{len(twins) - _PAIRS} more rows repeat others")
        once = f"{spans(on)} {'prints' if len(on) == 1 else 'print'} {'it' if len(twins) == 1 else 'each'} once"
        said = f"{', '.join(told)}: {once}"
        # Of one leaf alone equal values at one place may be meant.
        severity: Severity = "error" if all(len(row.spans) > 1 for row, _ in twins) else "warning"
        rows = tuple(names[id(row)] for row, _ in twins)
        yield Doubt(Finding("row_doubled", found.outer, said, severity), tuple(on), rows)


def _missing(
    found: _Found, pages: Pages, covered: Collection[int], elsewhere: set[int]
) -> Iterator[Doubt]:
    """Lines that look like the rows' own, and are no row's."""
    rows = [row for _, row in found.rows]
    signal = Signal(pages.lines, pages.texts, rows)
    if not signal.is_known:
        return
    taken = elsewhere | {
        line for row in rows for line in (row.line, *row.spans.values()) if line is not None
    }
    counts: dict[bool, dict[int, int]] = {True: {}, False: {}}
    for number in sorted(covered):
        place = pages.place.get(number)
        if place is not None and (left := set(signal.like_rows(place)) - taken):
            counts[signal.proves(place)][number] = len(left)
    for proven, missing in counts.items():
        if missing:
            on = sorted(missing)
            total = sum(missing.values())
            said = (
                f"{spans(on)}: {total} {'line looks' if total == 1 else 'lines look'} like the rows of {found.outer}, "
                f"but no row of the answer stands there"
            )
            severity: Severity = "error" if proven else "warning"
            yield Doubt(Finding("rows_missing", found.outer, said, severity), tuple(on))


def _elsewhere(
    tables: dict[str, _Found], path: str, pages: Pages, evidence: Iterable[Evidence]
) -> set[int]:
    """The lines of values outside of an array's rows: of other arrays, and those that stand at one place."""
    own = {pointer for pointer, _ in tables[path].rows}
    taken = {
        line
        for other, found in tables.items()
        if other != path
        for _, row in found.rows
        for line in row.spans.values()
    }
    for proof in evidence:
        if proof.status == "verified" and not own.intersection(_above(proof.pointer)):
            line = pages.line_of(proof)
            if line is not None:
                taken.add(line)
    return taken


def _above(pointer: str) -> Iterator[str]:
    while pointer:
        pointer = pointer.rpartition("/")[0]
        yield pointer


def _not_counted(found: _Found, pages: Pages, covered: Collection[int]) -> Finding | None:
    """Pages without words print rows that nobody counts."""
    blind = [
        page.number for page in pages.document.pages if not page.has_text and page.number in covered
    ]
    unseen = sorted({*blind, *(set(covered) - set(pages.place))})
    if "/*" in found.outer or not unseen:
        return None
    said = f"{spans(unseen)}: no words are known there, so that the rows of {found.outer} were not counted"
    return Finding("rows_not_counted", found.outer, said, "warning")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
