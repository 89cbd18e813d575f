"""What a text names of earlier stages: `invoice.lines.description`, `kind`, `row.country`; and how a stage sees them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pipeline.rules import naming
from pipeline.rules.parsing import NotARule, parsed, steps
from pipeline.rules.tree import Name, Path, Step, names
from pipeline.schema import Node
from pipeline.schema.tree import tree
from pipeline.stages import DOCUMENT, ROW, Stage

#: What `when` may ask of a stage beside its data; the first step of such a Name. No stage is called so.
STATUS: Final = "status()"
CONFIDENCE: Final = "confidence()"
_PLAIN: Final = re.compile(r"[^`/]*")


@dataclass(frozen=True, slots=True)
class Seen:
    """An earlier stage as a later one sees it: its data as a tree, an array where it stands for several parts or items.

    `stage` is None of the columns of a row, which may be any.
    """

    name: str
    tree: Node
    stage: Stage | None = None
    is_part: bool = False

    @property
    def is_several(self) -> bool:
        """Whether it is one for each part or item."""
        return self.tree.name == _SEVERAL


_SEVERAL: Final = "*"
_OPEN: Final = {"type": "object"}


def scopes(stages: Sequence[Stage]) -> tuple[tuple[str, ...], ...]:
    """The fan-outs that each stage works within, from the outermost on, by the names of their stages.

    A stage with `for_each` works within its own; one that splits does not, those after it do.
    """
    found: list[tuple[str, ...]] = []
    current: tuple[str, ...] = ()
    for stage in stages:
        if stage.for_each == DOCUMENT:
            current = ()
        elif stage.for_each:
            current = (*current, stage.name)
        found.append(current)
        if stage.task == "split":
            current = (*current, stage.name)
    return tuple(found)


def view(stages: Sequence[Stage], number: int) -> dict[str, Seen]:
    """What the stage of a number sees: the columns of a row, and every stage before it, by name."""
    every = scopes(stages)
    found = {ROW: Seen(ROW, tree(_OPEN))}
    for early, stage in enumerate(stages[:number]):
        inner, outer = every[number], every[early]
        is_part = stage.task == "split" and stage.name in inner
        root = tree(_entry(stage)) if is_part else stage.schema.tree
        if inner[: len(outer)] != outer:
            root = Node(_SEVERAL, "", "array", False, True, {"type": "array"}, (root,))
        found[stage.name] = Seen(stage.name, root, stage, is_part)
    return found


def _entry(stage: Stage) -> Mapping[str, object]:
    """What a part knows of the stage that made it: its own entry."""
    found: Mapping[str, object] = stage.schema.body["properties"]["parts"]["items"]
    return found


def reads(stage: Stage) -> tuple[str, ...]:
    """The earlier stages that a stage depends on, each once; also those whose status alone it asks for."""
    named = [*listed(stage), *(name for name, _ in asked(stage))]
    return tuple(dict.fromkeys(name for name in named if name not in {DOCUMENT, ROW}))


def listed(stage: Stage) -> tuple[str, ...]:
    """The stages whose data it is shown: those in `inputs`, `fields` and `for_each`, with `document` and `row`."""
    texts = (*stage.inputs, *stage.fields, stage.for_each or DOCUMENT)
    return tuple(dict.fromkeys(text.partition(".")[0] for text in texts))


def asked(stage: Stage) -> tuple[tuple[str, bool], ...]:
    """The stages that `when` names, and whether it asks for more than their status."""
    if isinstance(stage.when, str):
        return _asked(stage.when)
    return tuple((key.partition(".")[0], True) for key in stage.when or ())


def pairs(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys and values of `when` as a table; `invoice.currency` without quotes is a table in the table."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from pairs({f"{key}.{inner}": each for inner, each in value.items()})
        else:
            yield key, value


@lru_cache(maxsize=1000)
def _asked(text: str) -> tuple[tuple[str, bool], ...]:
    told = {
        "status": lambda path: Name((STATUS, *path)),
        "confidence": lambda path: Name((CONFIDENCE, *path)),
    }
    try:
        every = [name.path for name in names(parsed(text, Name, told))]
    except NotARule:  # `wired` tells what is wrong with it
        return ()
    found = (
        (path[1:], path[0] != STATUS) if path[0] in {STATUS, CONFIDENCE} else (path, True)
        for path in every
    )
    return tuple(dict.fromkeys((str(path[0]), more) for path, more in found))


def keys(text: str) -> tuple[str, tuple[Step, ...]]:
    """The stage that a text names, and the keys behind it: letters of any kind between the points, or as in a rule.

    Raises:
        ValueError: it is no name.

    """
    name, point, rest = text.partition(".")
    if not point:
        return name, ()
    if _PLAIN.fullmatch(rest):
        found: tuple[Step, ...] = tuple(rest.split("."))
        if not all(found):
            raise ValueError(f"{text!r} ends in a point, or has two of them together")
        return name, found
    return name, steps(rest)


def field(seen: Seen, path: tuple[Step, ...]) -> tuple[Name, Node | None]:
    """The place in a stage's data that keys lead to, and what its schema says of it (None: nothing).

    Raises:
        ValueError: there is none; says which one may be meant.

    """
    try:
        found = naming.known(seen.tree, path)
    except ValueError as error:
        raise ValueError(str(error).replace("the schema has", f"{seen.name} has", 1)) from None
    return found, node_at(seen.tree, found.path)


def node_at(root: Node, path: Path) -> Node | None:
    """What a schema says of a place; None where it leaves it open."""
    node: Node | None = root
    for step in path:
        if node is None:
            return None
        if node.type == "array":
            node = node.children[0] if node.children else None
        else:
            node = next((each for each in node.children if each.name == step), None)
    return node


def example(root: Node) -> str:
    """A field that a message can name."""
    leaf = next(root.leaves(), None)
    return (
        "" if leaf is None else ".".join(key for key in leaf.pointer.split("/")[1:] if key != "*")
    )


def several(path: Path) -> bool:
    """Whether a path leads to many values."""
    return None in path


def stages_of(view: Mapping[str, Seen]) -> Iterator[str]:
    """The names that a message can offer."""
    return (name for name, seen in view.items() if seen.stage is not None)
