"""The stages as a person sees them: lines of text, and a Mermaid flowchart."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pipeline.graph.naming import asked, pairs, scopes
from pipeline.stages import DOCUMENT, ROW, Stage


def drawn(stages: Sequence[Stage]) -> tuple[str, ...]:
    """What each stage does, on what, and when: a line each, further in for each fan-out that it works within."""
    every = scopes(stages)
    width = max(
        len(stage.name) + 2 * len(scope) for stage, scope in zip(stages, every, strict=True)
    )
    return tuple(
        f"{'  ' * len(scope) + stage.name:<{width}}  {'; '.join(_told(stage, scope))}"
        for stage, scope in zip(stages, every, strict=True)
    )


def _told(stage: Stage, scope: tuple[str, ...]) -> Iterator[str]:
    yield stage.task
    if stage.for_each == DOCUMENT:
        yield "for the whole input again"
    elif stage.for_each:
        yield f"for each of {stage.for_each}"
    elif scope:
        yield f"for each of {scope[-1]}"
    yield f"reads {', '.join(stage.fields or stage.inputs)}"
    if stage.when is not None:
        yield f"when {when_in_words(stage.when)}"
    if stage.task == "split":
        yield "each part goes on by itself"


def when_in_words(when: Any) -> str:
    """A condition in one line: `kind = invoice or receipt`."""
    told = when
    if not isinstance(when, str):
        told = " and ".join(f"{key} = {_either(value)}" for key, value in pairs(when))
    return " ".join("".join(each if each.isprintable() else " " for each in told).split())


def _either(value: Any) -> str:
    return " or ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


# Mermaid ----------------------------------------------------------------------------------------

#: What a label may hold as it is; all else becomes an entity, so that no name ends its label or begins a link.
_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,_-=()")
_LONGEST: Final = 120


def mermaid(stages: Sequence[Stage]) -> str:
    """A Mermaid flowchart of the stages: full arrows are what a stage is shown, dotted ones what its `when` looks at.

    Stages that are asked for each part or item stand in a frame. Whatever names and conditions hold, they stay labels.
    """
    numbers = {stage.name: number for number, stage in enumerate(stages)}
    lines = ["flowchart TD", f'  input(["{DOCUMENT}"])', *_nodes(stages)]
    every = scopes(stages)
    for number, stage in enumerate(stages):
        arrows = (*_shown(number, stages, every[number], numbers), *_arrows(number, stage, numbers))
        lines += (f"  {line}" for line in dict.fromkeys(arrows))
    return "\n".join(lines) + "\n"


def _nodes(stages: Sequence[Stage]) -> Iterator[str]:
    """A box for each stage, in a frame for each fan-out that it works within."""
    open_: tuple[str, ...] = ()
    for number, (stage, scope) in enumerate(zip(stages, scopes(stages), strict=True)):
        while open_ != scope[: len(open_)]:
            yield f"{'  ' * len(open_)}end"
            open_ = open_[:-1]
        while open_ != scope:
            open_ = scope[: len(open_) + 1]
            source = stage.for_each if stage.for_each and open_ == scope else open_[-1]
            yield f'{"  " * len(open_)}subgraph each{number}_{len(open_)}["{_safe(f"each of {source}")}"]'
        yield f'{"  " * (len(open_) + 1)}s{number}["{_safe(stage.name)}<br/>{_safe(stage.task)}"]'
    for depth in range(len(open_), 0, -1):
        yield f"{'  ' * depth}end"


def _shown(
    number: int, stages: Sequence[Stage], scope: tuple[str, ...], numbers: Mapping[str, int]
) -> Iterator[str]:
    """What leads to a stage that is shown the document: within a fan-out that is the part or the item."""
    stage = stages[number]
    if DOCUMENT not in stage.inputs or stage.fields or (scope and scope[-1] == stage.name):
        return
    if not scope:
        yield f"input --> s{number}"
        return
    maker = stages[numbers[scope[-1]]]
    source = maker.name if maker.task == "split" else (maker.for_each or "").partition(".")[0]
    if source in numbers:
        label = "each part" if maker.task == "split" else f"each of {maker.for_each}"
        yield f"s{numbers[source]} -->{_label(label)} s{number}"


def _arrows(number: int, stage: Stage, numbers: Mapping[str, int]) -> Iterator[str]:
    """What leads to a stage; nothing from stages that there are not."""
    for text in stage.fields or stage.inputs:
        name, _, path = text.partition(".")
        if name == ROW:
            yield f"input -->{_label(text)} s{number}"
        elif name in numbers:
            yield f"s{numbers[name]} -->{_label(path)} s{number}"
    if stage.for_each and (name := stage.for_each.partition(".")[0]) in numbers:
        yield f"s{numbers[name]} -->{_label(f'for each of {stage.for_each}')} s{number}"
    named = [name for name, _ in asked(stage) if name in numbers]
    words = f"when {when_in_words(stage.when)}" if stage.when is not None else ""
    for name in dict.fromkeys(named):
        yield f"s{numbers[name]} -.->{_label(words)} s{number}"


def _label(text: str) -> str:
    return f'|"{_safe(text)}"|' if text else ""


def _safe(text: str) -> str:
    cut = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return "".join(char if char in _SAFE else f"#{ord(char)};" for char in cut)
