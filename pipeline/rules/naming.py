"""The names of a rule, found in the schema's tree; a name that is not there gets the likeliest one."""

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.rules import sorts
from pipeline.rules.tree import Name, Path, Step, in_words

if TYPE_CHECKING:  # a neighbour on the same floor
    from pipeline.schema import Node

#: Fields that a message lists.
_LISTED = 8


def known(root: "Node", steps: tuple[Step, ...]) -> Name:
    """The place that the keys of a name lead to; an array stands for all its rows.

    What lies below a part that the schema leaves open is taken as it is named.

    Raises:
        ValueError: the schema has no such field; says which one may be meant.

    """
    node, path = root, list[Step]()
    for number, step in enumerate(steps):
        node, taken = _row(node, path, step)
        if taken:
            continue
        child = next((each for each in node.children if each.name == step), None)
        if child is None:
            if _is_open(node):
                return Name((*path, *steps[number:]))
            raise ValueError(_unknown(root, steps, in_words(tuple(path)), node))
        path.append(child.name)
        node = child
    while node.type == "array":
        path.append(None)
        if not node.children:
            return Name(tuple(path))
        node = node.children[0]
    return Name(tuple(path), node.type, sorts.of_field(node))


def fields_named(root: "Node", name: str) -> list[Path]:
    """Every leaf of a name, whatever its case and punctuation."""
    return [known(root, _steps(leaf)).path for leaf in root.leaves() if _same(leaf.name, name)]


def near(root: "Node", name: str, *, texts: bool = False) -> list[str]:
    """Fields whose name resembles a word, the likeliest first; with `texts` only those that hold texts."""
    leaves = [leaf for leaf in root.leaves() if not texts or leaf.type in {"string", "any"}]
    dotted = {in_words(_steps(leaf)): _plain(leaf.name) for leaf in leaves}
    word = _plain(name)
    held = [field for field, last in dotted.items() if word and (word in last or last in word)]
    close = difflib.get_close_matches(word, list(dotted.values()), 3, 0.6)
    return list(dict.fromkeys([*held, *(field for field in dotted if dotted[field] in close)]))


def _row(node: "Node", path: list[Step], step: Step) -> tuple["Node", bool]:
    """Into an array's rows, or one of them; whether the step was needed for that."""
    while node.type == "array" and node.children:
        own = step is None or (isinstance(step, str) and step.isascii() and step.isdigit())
        path.append(int(step) if own and step is not None else None)
        node = node.children[0]
        if own:
            return node, True
    return node, False


def _is_open(node: "Node") -> bool:
    """Whether there may be fields that the schema does not name."""
    if node.type == "object":
        more = (node.schema.get(key) for key in ("additionalProperties", "patternProperties"))
        return not node.children or any(each not in (None, False) for each in more)
    return node.type in {"any", "array"}


def _unknown(root: "Node", steps: tuple[Step, ...], place: str, node: "Node") -> str:
    told = in_words(steps)
    if node.is_leaf:
        return f"{place} has no fields: it is a {node.type}"
    found = list(_suggested(root, steps))
    if found:
        return f"the schema has no field {told}: did you mean {' or '.join(found)}?"
    names = [in_words((child.name,)) for child in node.children]
    more = ", ..." if len(names) > _LISTED else ""
    inside = f"{place} has" if node is not root else "there are"
    return f"the schema has no field {told}: {inside} {', '.join(names[:_LISTED])}{more}"


def _suggested(root: "Node", steps: tuple[Step, ...]) -> Iterator[str]:
    """Fields of the same last key, else those that are written nearly so."""
    dotted = [in_words(_steps(leaf)) for leaf in root.leaves()]
    last = _plain(str(steps[-1]))
    same = [field for field in dotted if _plain(field.rpartition(".")[2]) == last]
    if same:
        yield from same[:3]
        return
    yield from (
        difflib.get_close_matches(in_words(steps), dotted, 1, 0.6) or near(root, str(steps[-1]))[:1]
    )


def _steps(leaf: "Node") -> tuple[Step, ...]:
    keys = (key.replace("~1", "/").replace("~0", "~") for key in leaf.pointer.split("/")[1:])
    return tuple(None if key == "*" else key for key in keys)


def _same(first: str, second: str) -> bool:
    return _plain(first) == _plain(second)


def _plain(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())
