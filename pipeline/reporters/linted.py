"""What `fieldsift schema lint` prints: for people what is the same told once, for machines every place."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from pipeline.reporters import printable
from pipeline.schema.lint import Keyword, Linted, Problem
from pipeline.writers import dump

#: How many places a line names.
_PLACES: Final = 3
_SEVERITIES: Final = ("error", "warning", "note")
_TITLES: Final = {
    "told": "told to the model in words, checked here:",
    "checked": "checked here only:",
    "mixed": "different by dialect:",
}


def as_text(told: Sequence[tuple[str, Linted]], *, every: bool = False) -> str:
    """Schemas under their names; with `every` each place, else the first few of each kind."""
    return "\n\n".join("\n".join(_lines(name, linted, every)) for name, linted in told)


def as_json(told: Sequence[tuple[str, Linted]]) -> str:
    """`{"schemas": [{"name", "sendable", "usable", "bytes", "keywords": [...], "problems": [...]}]}`; pointers are JSON Pointers."""
    return dump({"schemas": [_plain(name, linted) for name, linted in told]}, indent=2)


def _plain(name: str, linted: Linted) -> dict[str, Any]:
    return {
        "name": name,
        "dialects": list(linted.dialects),
        "sendable": linted.sendable,
        "usable": linted.usable,
        "bytes": {
            dialect: {"full": full, "reduced": reduced}
            for dialect, (full, reduced) in linted.sizes.items()
        },
        "keywords": [asdict(keyword) for keyword in linted.keywords],
        "problems": [asdict(problem) for problem in linted.problems],
    }


def _lines(name: str, linted: Linted, every: bool) -> Iterable[str]:
    verdict = "can be sent" if linted.sendable else "can NOT be sent"
    but = ", but contradicts itself" if linted.sendable and not linted.usable else ""
    yield f"{printable(name)}: {verdict}{but}"
    for dialect, (full, reduced) in linted.sizes.items():
        yield f"  {dialect}: {full:,} bytes, reduced {reduced:,}"
    groups: dict[str, list[Keyword]] = {}
    for keyword in linted.keywords:
        fates = set(keyword.fates.values())
        groups.setdefault(fates.pop() if len(fates) == 1 else "mixed", []).append(keyword)
    if enforced := Counter(keyword.keyword for keyword in groups.pop("enforced", ())):
        yield "enforced by the service:"
        yield f"  {', '.join(f'{name} {count}' for name, count in enforced.items())}"
    for fate, title in _TITLES.items():
        if fate in groups:
            yield title
            yield from _keywords(groups[fate], every, by_dialect=fate == "mixed")
    for severity in _SEVERITIES:
        problems = [problem for problem in linted.problems if problem.severity == severity]
        if problems:
            yield f"{severity}s:"
            yield from _problems(problems, every)


def _keywords(keywords: list[Keyword], every: bool, *, by_dialect: bool) -> Iterable[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for keyword in keywords:
        fates = [f"{dialect} {fate}" for dialect, fate in keyword.fates.items() if by_dialect]
        told = "; ".join(filter(None, (", ".join(fates), keyword.why)))
        groups.setdefault((keyword.keyword, told), []).append(keyword.pointer)
    for (name, told), pointers in groups.items():
        yield f"  {name}: {told}"
        yield f"    {_places(pointers, every)}"


def _problems(problems: list[Problem], every: bool) -> Iterable[str]:
    groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for problem in problems:
        key = (problem.rule, problem.message, problem.dialects)
        groups.setdefault(key, []).append(problem.pointer)
    for (rule, message, dialects), pointers in groups.items():
        for_whom = f" [{', '.join(dialects)}]" if dialects else ""
        yield f"  {rule}: {printable(message)}{for_whom}"
        if any(pointers):
            yield f"    {_places(pointers, every)}"


def _places(pointers: list[str], every: bool) -> str:
    shown = pointers if every else pointers[:_PLACES]
    more = len(pointers) - len(shown)
    return ", ".join(printable(pointer) or "/" for pointer in shown) + (
        f" and {more} more" if more else ""
    )
