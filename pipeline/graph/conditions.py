"""`when`, read: a rule over earlier stages, or a table of values, becomes one tree that `pipeline.rules` works out.

    when = { kind = "invoice" }                     the label of a stage that classifies, or of a part
    when = { kind = ["invoice", "receipt"] }        one of several
    when = { kind = "unsure" }                      no label fits
    when = { tags = "urgent" }                      among the labels
    when = { "invoice.currency" = "EUR", kind = "invoice" }     both
    when = "invoice.total > 1000 and kind.label == 'invoice'"
    when = "any(invoice.lines.amount > 100)"        in one row; all(...): in each
    when = "confidence(invoice.total) < 0.8"        of a value; confidence(invoice): its least sure one
    when = "status(invoice) == 'invalid'"           whatever became of it

What is null, or was skipped, decides nothing: what is not known to hold does not.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, get_args

from pipeline.graph.naming import CONFIDENCE, STATUS, Seen, example, field, keys, pairs
from pipeline.results import Status, escape
from pipeline.rules.never import refuse_never
from pipeline.rules.parsing import NotARule, parsed, pointed, whole
from pipeline.rules.sorts import refuse_unlike
from pipeline.rules.tree import (
    Call,
    Compare,
    Constant,
    Logic,
    Name,
    Node,
    Order,
    Path,
    Step,
    in_words,
    names,
    walked,
)
from pipeline.rules.values import shown
from pipeline.schema import Node as Field
from pipeline.schema.tree import tree
from pipeline.stages import DOCUMENT

#: What matches where no label fits.
UNSURE: Final = "unsure"
_STATUSES: Final = tree({"type": "string", "enum": list(get_args(Status))})
_SHARE: Final = tree({"type": "number", "minimum": 0, "maximum": 1})


def condition(when: str | Mapping[str, Any], view: Mapping[str, Seen]) -> Node:
    """The tree of `when`, its names found in the stages before.

    Raises:
        ValueError: tells what is wrong with it: no such name, what can't be compared, what can never hold.

    """
    finder = _Finder(view)
    tree = _of_text(when, finder) if isinstance(when, str) else whole(_of_table(when, finder))
    refuse_never(tree, finder.fields)
    return tree


class _Finder:
    """Finds what names mean, and remembers what the schemas say of them."""

    def __init__(self, view: Mapping[str, Seen]) -> None:
        self.view = view
        self.fields: dict[Path, Field] = {}

    def seen(self, name: str) -> Seen:
        if name == DOCUMENT:
            raise ValueError(f"{DOCUMENT} has no fields: name an earlier stage")
        if name not in self.view:
            raise ValueError(f"there is no stage {name}")
        return self.view[name]

    def value(self, steps: tuple[Step, ...]) -> Name:
        """A field of a stage."""
        seen = self.seen(str(steps[0]))
        if len(steps) == 1:
            raise ValueError(f"{seen.name} is a stage: name a field of it ({_field_of(seen)})")
        found, node = field(seen, steps[1:])
        return self.kept(Name((seen.name, *found.path), found.kind, found.sort), node)

    def status(self, steps: tuple[Step, ...]) -> Name:
        """What became of a stage."""
        seen = self.seen(str(steps[0]))
        if len(steps) > 1 or seen.stage is None:
            raise ValueError("status takes a stage: status(invoice)")
        rows = (None,) if seen.is_several else ()
        return self.kept(Name((STATUS, seen.name, *rows), "string", "text"), _STATUSES)

    def confidence(self, steps: tuple[Step, ...]) -> Name:
        """How sure the least sure value below a field is, or of a whole stage."""
        seen = self.seen(str(steps[0]))
        if seen.stage is None or seen.stage.task != "extract":
            raise ValueError(
                f"confidence is of values that were extracted: {seen.name} is no such stage"
            )
        path = field(seen, steps[1:])[0].path if len(steps) > 1 else ()
        inside = path[1:] if seen.is_several else path
        pointer = "".join(f"/{'*' if step is None else escape(str(step))}" for step in inside)
        return self.kept(Name((CONFIDENCE, seen.name, pointer), "number", "number"), _SHARE)

    def kept(self, name: Name, node: Field | None) -> Name:
        if node is not None:
            self.fields[name.path] = node
        return name


def _field_of(seen: Seen) -> str:
    return f"{seen.name}.{example(seen.tree) or 'name'}"


# a rule -----------------------------------------------------------------------------------------


def _of_text(text: str, finder: _Finder) -> Node:
    line = " ".join(text.split("\n"))
    told = {"status": finder.status, "confidence": finder.confidence}
    try:
        tree = parsed(line, finder.value, told)
    except NotARule as error:
        raise ValueError(pointed(line, error)) from None
    if walked(tree):
        name = next(name for name in names(tree, inside=False) if None in name.path)
        raise ValueError(
            f"{in_words(name.path)} has many values: say any(...), all(...), or take them together "
            f"by sum, count, min or max"
        )
    return tree


# a table ----------------------------------------------------------------------------------------


def _of_table(table: Mapping[str, Any], finder: _Finder) -> Node:
    if not table:
        raise ValueError('an empty table says nothing: write { kind = "invoice" }')
    parts = tuple(_one(key, value, finder) for key, value in pairs(table))
    return parts[0] if len(parts) == 1 else Logic("and", parts)


def _one(key: str, value: Any, finder: _Finder) -> Node:
    """One key of the table: its field has the value, or one of the values."""
    stage, path = keys(key)
    seen = finder.seen(stage)
    is_label = not path
    name = finder.value((stage, *(path or _label(seen))))
    if name.kind == "object":
        raise ValueError(f"{key} has fields: name one of them")
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError(f"{key} is one of no values: that never holds")
    parts = tuple(
        _unsure(name, seen) if is_label and each == UNSURE else _equals(key, name, each)
        for each in values
    )
    return parts[0] if len(parts) == 1 else Logic("or", parts)


def _label(seen: Seen) -> tuple[str, ...]:
    """Where the labels of a stage stand in its data."""
    task = seen.stage.task if seen.stage else ""
    if task == "classify":
        return ("label",)
    if task == "tag":
        return ("labels",)
    if task == "split" and seen.stage and seen.stage.labels:
        return ("label",) if seen.is_part else ("parts", "label")
    if task == "split":
        raise ValueError(f"{seen.name} has no labels")
    raise ValueError(f"{seen.name} has no label: name a field of it ({_field_of(seen)})")


def _equals(key: str, name: Name, value: Any) -> Node:
    compare = Compare("==", (name, Constant(_constant(key, value))), (key, _words(value)))
    if value is not None:
        refuse_unlike(compare)
    return _anywhere(compare)


def _constant(key: str, value: Any) -> Decimal | str | bool | None:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float) and Decimal(str(value)).is_finite():
        return Decimal(str(value))
    raise ValueError(
        f"{key} = {value!r}: a value is a text, a number, true or false; a date is a text"
    )


def _unsure(name: Name, seen: Seen) -> Node:
    """That a stage found no label; one that was skipped looked for none."""
    if seen.stage is not None and seen.stage.task == "tag":
        count = Call("count", (name,))
        return Compare("==", (count, Constant(Decimal(0))), (f"count({in_words(name.path)})", "0"))
    unsure = Compare("==", (name, Constant(None)), (in_words(name.path), "null"))
    if seen.is_several:  # those that were skipped are not among its rows
        return _anywhere(unsure)
    status = Name((STATUS, seen.name), "string", "text")
    skipped = _compared("!=", status, "skipped", f"status({seen.name})")
    return _anywhere(Logic("and", (unsure, skipped)))


def _compared(order: Order, name: Name, value: str, words: str) -> Compare:
    return Compare(order, (name, Constant(value)), (words, shown(value)))


def _anywhere(node: Node) -> Node:
    """Of many values it is enough that one of them is as wanted."""
    return Call("any", (node,)) if walked(node) else node


def _words(value: Any) -> str:
    return shown(value) if value is None or isinstance(value, bool | str) else str(value)
