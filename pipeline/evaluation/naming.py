"""A field by the name that a user types: its pointer, its dotted path, or its last word."""

from collections.abc import Sequence
from difflib import get_close_matches

from pipeline.errors import UsageError


def resolved(name: str, known: Sequence[str], asked_by: str) -> str:
    """The one field that a name means.

    `/lines/*/amount`, `lines.amount` and `amount` are the same field, if there is no other `amount`.

    Raises:
        UsageError: no field is called that (the message suggests one), or several are.

    """
    if name in known:
        return name
    wanted = _tokens(name)
    ends = [pointer for pointer in known if wanted and _tokens(pointer)[-len(wanted) :] == wanted]
    whole = [pointer for pointer in ends if _tokens(pointer) == wanted]
    # An array and its items are told apart by the star alone: the items are the field.
    found = whole or ends
    found = [each for each in found if f"{each}/*" not in found]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{asked_by} {name}: which one? {', '.join(found)}")
    names = {pointer.rpartition("/")[2]: pointer for pointer in known} | {p: p for p in known}
    near = get_close_matches(name, names, n=1)
    told = f"did you mean {names[near[0]]}?" if near else f"there are {', '.join(known[:12])}"
    raise UsageError(f"{asked_by} {name}: there is no such field; {told}")


def _tokens(name: str) -> list[str]:
    """The words of a pointer or a dotted path, without the stars of array items."""
    stage, _, rest = name.partition(":/") if ":/" in name else ("", "", name)
    words = rest.strip("/").split("/") if "/" in name else rest.split(".")
    return [*([stage] if stage else []), *(word for word in words if word not in ("", "*"))]
