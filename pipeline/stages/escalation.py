"""Who is asked next for the leaves that still fail, and why they go up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from pipeline.errors import UsageError

#: Why a leaf goes up to the next model: it breaks a rule, stands nowhere, is missing from a cut answer, the model left it
#: open, or two answers differ.
Kind = Literal["invalid", "not_found", "truncated", "unsure", "conflict"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Escalation:
    """Which models are asked next, in order, for the leaves that still fail, and why leaves go up.

    At most the share `max_share` (above 0, up to 1) of the documents of a run goes up, but at least one may;
    those that are kept back have the warning `not_escalated`. `settings` are those of
    each model in `to` that differ from the stage's own; the run settles them from the models' tables.

    Raises:
        UsageError: a value is none that there is.

    """

    to: tuple[str, ...]
    on: tuple[Kind, ...] = KINDS
    max_share: float = 1.0
    settings: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for name in ("to", "on"):
            value = getattr(self, name)
            listed = (value,) if isinstance(value, str) else value
            if not isinstance(listed, list | tuple) or not all(isinstance(x, str) for x in listed):
                raise UsageError(f"escalate: {name} {value!r} is no text, and no list of texts")
            object.__setattr__(self, name, tuple(listed))
        if not all(self.to) or not self.to:
            raise UsageError("escalate: to names no model")
        if unknown := [kind for kind in self.on if kind not in KINDS]:
            raise UsageError(f"escalate: on {unknown[0]!r} is none of {', '.join(KINDS)}")
        share: Any = self.max_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise UsageError(f"escalate: max_share {self.max_share!r} is not above 0 and up to 1")


def escalation(given: Any) -> Escalation | None:
    """What may be given as `escalate`, as an Escalation.

    Raises:
        UsageError: it is none.

    """
    if given is None or isinstance(given, Escalation):
        return given
    if isinstance(given, str | list | tuple):
        given = {"to": given}
    if not isinstance(given, Mapping):
        raise UsageError(
            f"escalate {given!r}: give the name of a model, several of them, or {{'to': [...], 'on': [...]}}"
        )
    known = ("to", "on", "max_share")
    if unknown := [key for key in given if key not in (*known, "settings")]:
        raise UsageError(f"escalate: there is no {unknown[0]!r}, but {', '.join(known)}")
    if "to" not in given:
        raise UsageError("escalate: to names no model")
    return Escalation(**given)
