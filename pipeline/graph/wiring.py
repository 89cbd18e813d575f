"""The stages checked against each other before anything is sent: every mistake at once, with its line; and what follows."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from pipeline.errors import SchemaError, UsageError
from pipeline.graph.conditions import condition
from pipeline.graph.naming import Seen, asked, field, keys, reads, scopes, view
from pipeline.rules.tree import Path, Step
from pipeline.schema import Node, Schema
from pipeline.stages import DOCUMENT, ROW, Stage

#: Tells where a setting of the stage of a number stands, as the beginning of a message; empty where nobody knows.
Place = Callable[[int, str], str]


class _Mistake(NamedTuple):
    """What is wrong with a setting of the stage of a number."""

    number: int
    key: str
    told: str


def _nowhere(number: int, key: str) -> str:
    return ""


def wired(stages: Sequence[Stage], place: Place = _nowhere) -> tuple[Stage, ...]:
    """The stages, checked against each other, with what follows from earlier ones settled.

    What follows: `condition`, which is `when` as it was read, and the schema of translated fields.

    Raises:
        UsageError: tells everything that is wrong, a line each: unknown and later names, circles, fields that an
            earlier schema does not have, types that don't fit, comparisons that never hold.

    """
    wrong = [*_names(stages), *_versions(stages)]
    settled, unsettled = list(stages), set[str]()
    for number, stage in enumerate(stages):
        seen = {name: each for name, each in view(settled, number).items() if name not in unsettled}
        mistakes: list[_Mistake] = []
        settled[number] = _settled(settled, number, seen, mistakes)
        if stage.fields and settled[number] is stage:
            unsettled.add(stage.name)
        wrong += mistakes
    if wrong:
        raise UsageError("\n".join(_line(stages, each, place) for each in sorted(wrong)))
    return tuple(settled)


def _line(stages: Sequence[Stage], mistake: _Mistake, place: Place) -> str:
    number, key, told = mistake
    return f"{place(number, key)}stage {stages[number].name}: {key}: {told}"


# names ------------------------------------------------------------------------------------------


def _names(stages: Sequence[Stage]) -> Iterator[_Mistake]:
    """Stages that are named twice, unknown, later ones, and circles."""
    order = {stage.name: number for number, stage in reversed(list(enumerate(stages)))}
    circles: set[frozenset[str]] = set()
    for number, stage in enumerate(stages):
        if order[stage.name] != number:
            yield _Mistake(number, "name", "another stage has that name")
            continue
        for key, name in dict.fromkeys(_named(stage)):
            if name in {DOCUMENT, ROW}:
                continue
            if name not in order:
                yield _Mistake(number, key, _unknown(name, key, list(order)[::-1]))
            elif order[name] >= number:
                circle = _circle(stages, order, stage.name, name)
                if circle and frozenset(circle) in circles:
                    continue
                circles.add(frozenset(circle))
                yield _Mistake(number, key, _later(stage.name, name, circle))


def _versions(stages: Sequence[Stage]) -> Iterator[_Mistake]:
    """Functions that would share their results, and are not the same."""
    first: dict[str, Stage] = {}
    for number, stage in enumerate(stages):
        if stage.version is None or stage.function is None:
            continue
        other = first.setdefault(stage.identity, stage)
        if other.function != stage.function:
            told = f"{stage.version!r} is that of another function of the same name, of stage {other.name}"
            yield _Mistake(number, "version", f"{told}: give each its own version")


def _named(stage: Stage) -> Iterator[tuple[str, str]]:
    """The settings of a stage, and the stages that they name."""
    for name, _ in asked(stage):
        yield "when", name
    for key in ("inputs", "fields"):
        for text in getattr(stage, key):
            yield key, text.partition(".")[0]
    if stage.for_each:
        yield "for_each", stage.for_each.partition(".")[0]


def _unknown(name: str, key: str, names: list[str]) -> str:
    if key == "when" and (odd := [each for each in names if each.startswith(f"{name}-")]):
        return f"there is no stage {name}: one whose name has a - stands in backticks: `{odd[0]}`"
    near = difflib.get_close_matches(name, names, 1, 0.5)
    if near:
        return f"there is no stage {name}: did you mean {near[0]}?"
    return f"there is no stage {name}: there are {', '.join(names)}"


def _later(own: str, name: str, circle: list[str]) -> str:
    if name == own:
        return "a stage can't read itself"
    if circle:
        return f"a circle: {' reads '.join([*circle, circle[0]])}"
    return f"stage {name} comes later: put it before {own}"


def _circle(stages: Sequence[Stage], order: Mapping[str, int], start: str, then: str) -> list[str]:
    """The stages of the circle that begins with `start` reading `then`; empty if that one does not read its way back."""
    way = {then: start}
    rest = [then]
    while rest:
        name = rest.pop()
        for other in reads(stages[order[name]]):
            if other == start:
                found = [name]
                while found[0] != start:
                    found.insert(0, way[found[0]])
                return found
            if other in order and other not in way:
                way[other] = name
                rest.append(other)
    return []


# fields and types -------------------------------------------------------------------------------


def _settled(
    stages: Sequence[Stage], number: int, seen: Mapping[str, Seen], wrong: list[_Mistake]
) -> Stage:
    """A stage with what follows from those that it sees; what is wrong with its fields and types is added to `wrong`.

    Names that it does not see are told elsewhere.
    """
    stage = stages[number]
    new: dict[str, Any] = {}
    work: list[tuple[str, str, Callable[[], Any]]] = [
        ("inputs", "", partial(_input, text, seen)) for text in stage.inputs if _sees(seen, text)
    ]
    if stage.for_each and _sees(seen, stage.for_each):
        work.append(("for_each", "", partial(_for_each, stages, number, seen)))
    if stage.when is not None and all(_sees(seen, name) for name, _ in asked(stage)):
        work.append(("when", "condition", partial(condition, stage.when, seen)))
    if stage.fields and all(_sees(seen, text) for text in stage.fields):
        work.append(("fields", "schema", partial(translated, stage.fields, seen)))
    for key, settles, check in work:
        try:
            found = check()
        except (ValueError, SchemaError) as error:
            wrong.append(_Mistake(number, key, str(error)))
            continue
        if settles:
            new[settles] = found
    return replace(stage, **new) if new else stage


def _sees(seen: Mapping[str, Seen], text: str) -> bool:
    name = text.partition(".")[0]
    return name == DOCUMENT or name in seen


def _input(text: str, seen: Mapping[str, Seen]) -> None:
    name, path = keys(text)
    if name == DOCUMENT and path:
        raise ValueError(f"{text!r}: {DOCUMENT} has no fields")
    if name != DOCUMENT and path:
        _found(text, seen[name], path)


def _found(text: str, seen: Seen, path: tuple[Step, ...]) -> tuple[Path, Node | None]:
    try:
        name, node = field(seen, path)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    return name.path, node


def _for_each(stages: Sequence[Stage], number: int, seen: Mapping[str, Seen]) -> None:
    """What a stage goes through is an array, of a stage that stands in the same parts or items."""
    text = stages[number].for_each or ""
    name, path = keys(text)
    every = scopes(stages)
    before = every[number][:-1]
    if name == DOCUMENT:
        if path:
            raise ValueError(f"{text!r}: {DOCUMENT} has no fields")
        return
    if name == ROW:
        raise ValueError("the columns of a row are no arrays")
    if stages[number].task == "split":
        raise ValueError("an item of an array has no pages that could be split")
    of = seen[name]
    if of.is_part:
        raise ValueError(f"stages behind {name} are asked about each of its parts without for_each")
    if of.is_several:
        raise ValueError(
            f"here there is one {name} for each part or item: put this stage before the one with "
            f'for_each = "{DOCUMENT}"'
        )
    if (
        next(each for each, stage in zip(every, stages, strict=True) if stage.name == name)
        != before
    ):
        raise ValueError(
            f"{name} is of the whole document, and all stages behind {before[-1]} see one part or item of it at a "
            f'time: put a stage with for_each = "{DOCUMENT}" between them, for example the one that sums up what '
            f"{before[-1]} gave"
        )
    leads, node = _found(text, of, path)
    if (not leads or leads[-1] is not None) and (node is None or node.type != "any"):
        kind = node.type if node else "value"
        raise ValueError(f"{text} is no array, but {_a(kind)}")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


# translated fields ------------------------------------------------------------------------------


def translated(fields: Sequence[str], seen: Mapping[str, Seen]) -> Schema:
    """The schema of a translation of fields: the same structure as those fields have in the earlier stages.

    Of one stage its own structure (`invoice.lines.description` -> `{"lines": [{"description": ...}]}`), of several
    with the stages' names around it. Null where they may be null, and left out where they may be missing.

    Raises:
        ValueError: a field is not there, or is no text.

    """
    of: dict[str, list[Path]] = {}
    wrong: list[str] = []
    for text in fields:
        try:
            name, path = _text(text, seen)
            of.setdefault(name, []).append(path)
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong))
    bodies = {name: _body(seen[name].tree, paths) for name, paths in of.items()}
    whole = next(iter(bodies.values())) if len(bodies) == 1 else _object(bodies, ())
    return Schema.of({"title": "translation", **whole})


def _text(text: str, seen: Mapping[str, Seen]) -> tuple[str, Path]:
    """The stage and the path of a field that holds texts."""
    name, path = keys(text)
    if name == DOCUMENT:
        raise ValueError(f"{text!r}: leave `fields` out to translate the document")
    if not path:
        raise ValueError(f"{text!r} is a stage: name the fields of it that are translated")
    leads, node = _found(text, seen[name], path)
    if any(isinstance(step, int) for step in leads):
        raise ValueError(f"{text!r}: one row alone can't be translated")
    kind = node.type if node else "any"
    dated = node is not None and node.schema.get("format") in {"date", "date-time", "time"}
    if kind == "object":
        raise ValueError(f"{text!r} has fields: name those that are translated")
    if kind not in {"string", "any"} or dated:
        raise ValueError(f"{text!r} is no text, but {'a date' if dated else _a(kind)}")
    return name, leads


def _body(node: Node | None, paths: list[Path]) -> dict[str, Any]:
    """The sub-schema of a place with nothing but some paths below it."""
    inner = [path for path in paths if path]
    if not inner:
        return {"type": ["string", "null"]}
    if all(path[0] is None for path in inner):
        child = node.children[0] if node and node.type == "array" and node.children else None
        found: dict[str, Any] = {
            "type": "array",
            "items": _body(child, [path[1:] for path in inner]),
        }
    else:
        below: dict[str, list[Path]] = {}
        for path in inner:
            below.setdefault(str(path[0]), []).append(path[1:])
        children = {child.name: child for child in node.children} if node else {}
        parts = {key: _body(children.get(key), rest) for key, rest in below.items()}
        found = _object(parts, [key for key in parts if key in children and children[key].required])
    if node is not None and node.pointer and (node.nullable or node.type == "any"):
        found["type"] = [found["type"], "null"]
    return found


def _object(parts: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(parts),
        "required": list(required),
        "additionalProperties": False,
    }
