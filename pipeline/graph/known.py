"""What becomes of one document at a stage, by what earlier stages made of it: whether it goes ahead, and on what."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.graph.naming import CONFIDENCE, STATUS, asked, keys, listed
from pipeline.results import CONTINUES, DONE, Result, Status, escape
from pipeline.rules.evaluation import outcomes
from pipeline.rules.tree import Node, Step, names
from pipeline.stages import DOCUMENT, ROW, Stage

#: What earlier stages made of a document (a part, an item, a row), by their names: one Result, or those of all parts or
#: items where a stage looks at the whole again. `row` is a Result whose data are the columns. Within a part, what stands
#: under the name of the stage that made it has the part's own entry as its data.
Known = Mapping[str, Result | tuple[Result, ...]]

#: Documents that a sentence names.
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a stage does not go ahead with a document: the status, reason and sentence of its Result."""

    status: Status
    reason: str
    message: str

    @classmethod
    def behind(cls, wrong: Sequence[Result], message: str) -> "Halt":
        """Behind earlier Results without valid data: of what the same command continues their own status.

        Where nothing but an answer that is not recorded stands in the way, that is the reason here too: it only tells
        of this run.
        """
        open_: list[Status] = [each.status for each in wrong if each.status in CONTINUES]
        if open_:
            return cls(open_[0], "upstream", message)
        is_silent = all(each.says_nothing for each in wrong)
        return cls("failed", "not_recorded" if is_silent else "upstream", message)


def halt(stage: Stage, known: Known) -> Halt | None:
    """Why a stage does not go ahead; None: it does.

    `skipped` where its `when` does not hold (`when`), or nothing is left that it reads (`no_inputs`); `failed`, or what
    the same command continues, where an earlier stage that it reads has no valid data (`upstream`, or `not_recorded`
    where only that is in the way). The stage is as `wired` gave it; one with `for_each` is looked at once, not at each
    item, and whether there are any `items` is for the caller to see.
    """
    needed = [name for name, more in asked(stage) if more]
    return (
        _upstream(needed, known)
        or _when(stage, known)
        or _upstream(listed(stage), known)
        or _empty(stage, known)
    )


def given(stage: Stage, known: Known) -> tuple[tuple[str, Any], ...]:
    """What goes along with the document, or in its place: the names in `inputs` but `document`, and the JSON of each.

    What is null or was skipped is left out. Of several parts or items it is the list of what they gave, and of a
    field behind an array that of its rows.
    """
    found = ((text, _value(text, known)) for text in stage.inputs if text != DOCUMENT)
    return tuple((text, value) for text, value in found if value is not None)


def items(stage: Stage, known: Known) -> tuple[tuple[str, Any], ...]:
    """What a stage with `for_each` is asked about one after the other: JSON Pointers into the earlier data, and values.

    Items that are null, or texts of nothing but blanks, are passed over; the pointers of the others keep their numbers.
    """
    if stage.for_each in {None, DOCUMENT}:
        return ()
    name, path = keys(stage.for_each or "")
    past = known.get(name)
    found = _items(past.data, path, "") if isinstance(past, Result) else ()
    return tuple(found)


def chosen(stage: Stage, known: Known) -> Any:
    """The data of `fields`, in the structure that `wiring.translated` describes; None where nothing is there.

    Of one stage its own structure, of several with their names around it.
    """
    of: dict[str, list[tuple[Step, ...]]] = {}
    for text in stage.fields:
        name, path = keys(text)
        of.setdefault(name, []).append(path)
    found = {name: _picked(_data(known.get(name)), paths) for name, paths in of.items()}
    if len(of) == 1:
        return next(iter(found.values()))
    return {name: value for name, value in found.items() if value is not None} or None


# whether ----------------------------------------------------------------------------------------


def _upstream(needed: Iterable[str], known: Known) -> Halt | None:
    """What became of the stages that are needed, where one of them has no valid data."""
    wrong = [
        (name, each)
        for name in needed
        if name not in {DOCUMENT, ROW}
        for each in _results(known.get(name))
        if each.status not in DONE
    ]
    if not wrong:
        return None
    told = [f"{name} of {each.document.path} is {_became(each)}" for name, each in wrong]
    more = f", and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    message = f"it reads an earlier stage: {', '.join(told[:_NAMED])}{more}"
    return Halt.behind([each for _, each in wrong], message)


def _became(result: Result) -> str:
    return f"{result.status} ({result.reason})" if result.reason else result.status


def _when(stage: Stage, known: Known) -> Halt | None:
    if stage.when is None:
        return None
    if stage.condition is None:
        raise ValueError(f"stage {stage.name} was not wired: its `when` is not read yet")
    tree = stage.condition
    for outcome in outcomes(tree, _asked_of(tree, known)):
        if outcome.holds:
            return None
        told = outcome.told if outcome.holds is False else "it is not decided: a value is missing"
        return Halt("skipped", "when", f"its `when` does not hold: {told}")
    return None


def _asked_of(tree: Node, known: Known) -> dict[str, Any]:
    """The data that a condition is worked out over: that of the stages it names, what became of them, how sure they are."""
    data: dict[str, Any] = {STATUS: {}, CONFIDENCE: {}}
    for name in names(tree):
        first, *rest = map(str, name.path[:2])
        if first == STATUS:
            data[STATUS][rest[0]] = _statuses(known.get(rest[0]))
        elif first == CONFIDENCE:
            sure = data[CONFIDENCE].setdefault(rest[0], {})
            sure[name.path[2]] = _sureness(known.get(rest[0]), str(name.path[2]))
        elif first not in data:
            data[first] = _rows(known.get(first))
    return data


def _statuses(past: Result | tuple[Result, ...] | None) -> Any:
    if isinstance(past, tuple):
        return [each.status for each in past]
    return past.status if past else None


def _rows(past: Result | tuple[Result, ...] | None) -> Any:
    """The data that a condition goes through; None where all was skipped, which is not the same as no parts or items."""
    if not isinstance(past, tuple):
        return past.data if past else None
    found = [each.data for each in past if each.status != "skipped"]
    return found if found or not past else None


def _sureness(past: Result | tuple[Result, ...] | None, pattern: str) -> float | None:
    """The lowest confidence of the values at a pointer (`*`: every row) and below it; None where none is known."""
    wanted = pattern.split("/")[1:]
    told = [
        proof.confidence
        for each in _results(past)
        for proof in each.evidence
        if proof.confidence is not None and _is_below(proof.pointer, wanted)
    ]
    return min(told, default=None)


def _is_below(pointer: str, wanted: list[str]) -> bool:
    steps = pointer.split("/")[1:]
    return len(steps) >= len(wanted) and all(
        want in {"*", step} for want, step in zip(wanted, steps, strict=False)
    )


def _empty(stage: Stage, known: Known) -> Halt | None:
    """Nothing is left that it reads, or goes through."""
    if stage.for_each not in {None, DOCUMENT}:
        name = (stage.for_each or "").partition(".")[0]
        if not any(each.status == "valid" for each in _results(known.get(name))):
            return Halt(
                "skipped", "no_inputs", f"{name} was skipped: there is nothing to go through"
            )
        return None
    if stage.fields:
        return None if _holds(chosen(stage, known)) else _nothing(stage.fields)
    shown = any(_holds(value) for _, value in given(stage, known))
    return None if shown or DOCUMENT in stage.inputs else _nothing(stage.inputs)


def _nothing(texts: tuple[str, ...]) -> Halt:
    return Halt("skipped", "no_inputs", f"nothing is there of {', '.join(texts)}")


def _holds(value: Any) -> bool:
    """Whether anything stands in a value, at any depth."""
    if isinstance(value, dict):
        return any(map(_holds, value.values()))
    if isinstance(value, list):
        return any(map(_holds, value))
    return value is not None


# what -------------------------------------------------------------------------------------------


def _results(past: Result | tuple[Result, ...] | None) -> tuple[Result, ...]:
    return () if past is None else (past,) if isinstance(past, Result) else past


def _data(past: Result | tuple[Result, ...] | None) -> Any:
    """The data of a stage; of several parts or items a list, those that were skipped left out."""
    if past is None or isinstance(past, Result):
        return past.data if past else None
    return [each.data for each in past if each.data is not None] or None


def _value(text: str, known: Known) -> Any:
    name, path = keys(text)
    return _at(_data(known.get(name)), path)


def _at(value: Any, path: tuple[Step, ...]) -> Any:
    """What stands at a path; of arrays the list of what stands there in each row that has it."""
    if isinstance(value, list) and path:
        if _is_row(path[0]):
            inside = _row(value, path[0])
            return _at(inside, path[1:])
        rest = path[1:] if path[0] is None else path
        found = [_at(each, rest) for each in value]
        return [each for each in found if each is not None]
    if not path:
        return value
    return _at(value.get(path[0]), path[1:]) if isinstance(value, dict) else None


def _is_row(step: Step) -> bool:
    return isinstance(step, int) or (isinstance(step, str) and step.isascii() and step.isdigit())


def _row(value: list[Any], step: Step) -> Any:
    number = int(step or 0)
    return value[number] if number < len(value) else None


def _items(value: Any, path: tuple[Step, ...], pointer: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        rest = path[1:] if path and path[0] is None else path
        for number, each in enumerate(value):
            if not rest and not _is_blank(each):
                yield f"{pointer}/{number}", each
            elif rest:
                yield from _items(each, rest, f"{pointer}/{number}")
    elif path and isinstance(value, dict):
        step = str(path[0])
        yield from _items(value.get(step), path[1:], f"{pointer}/{escape(step)}")


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _picked(value: Any, paths: list[tuple[Step, ...]]) -> Any:
    """A value with nothing but what stands at some paths; rows keep their places."""
    if isinstance(value, list):
        inside = [path[1:] if path and path[0] is None else path for path in paths]
        return [_picked(each, inside) for each in value]
    if () in paths or not isinstance(value, dict):
        return value if () in paths else None
    below: dict[str, list[tuple[Step, ...]]] = {}
    for step, *rest in paths:
        below.setdefault(str(step), []).append(tuple(rest))
    return {step: _picked(value[step], rest) for step, rest in below.items() if step in value}
