"""`--stage`: which stages a run goes through, so that those that are named can be answered."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from pipeline.errors import UsageError
from pipeline.graph import reads
from pipeline.stages import DOCUMENT, Stage


def sections(stages: Sequence[Stage]) -> Iterator[list[Stage]]:
    """The stages from each that sees the whole document up to the next one that does again."""
    section: list[Stage] = []
    for stage in stages:
        if stage.for_each == DOCUMENT and section:
            yield section
            section = []
        section.append(stage)
    yield section


def needed(stages: Sequence[Stage], names: Iterable[str]) -> tuple[Stage, ...]:
    """Some stages, what they read of earlier ones, and what makes the parts and items that they are asked about.

    All of them where none is named.

    Raises:
        UsageError: there is no stage of that name.

    """
    known = {stage.name: stage for stage in stages}
    makers = {
        stage.name: [each.name for each in section[:at] if makes(each)]
        for section in sections(stages)
        for at, stage in enumerate(section)
    }
    open_, found = list(names) or list(known), set[str]()
    while open_:
        name = open_.pop()
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"--stage {name}: the pipeline has no such stage; {hint}")
        if name not in found:
            found.add(name)
            open_ += [each for each in (*reads(known[name]), *makers[name]) if each in known]
    return tuple(stage for stage in stages if stage.name in found)


def makes(stage: Stage) -> bool:
    """Whether later stages are asked about parts or items that this one makes."""
    return stage.task == "split" or stage.for_each not in {None, DOCUMENT}
