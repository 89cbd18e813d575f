"""Profiles: one word for how much is spent on being right. Defaults below what file and code say, and why one is not set."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline import catalogue
from pipeline.errors import UsageError
from pipeline.providers import Endpoint
from pipeline.stages import Escalation, Stage

#: What each profile sets where nothing else does. `escalate` names no model: it is the one that the catalogue calls stronger.
PROFILES: Final[Mapping[str, Mapping[str, Any]]] = {
    "cheap": {
        "service_tier": "flex",
        "thinking": "minimal",
        "votes": 1,
        "repair": 1,
        "pack": 100,
    },
    "balanced": {"votes": 1, "repair": 2, "pack": None},
    "careful": {"evidence": "required", "votes": 2, "repair": 2, "escalate": "stronger"},
}
#: Settings that say something for some tasks alone: values are read from the page by one, and compared for these.
_TASKS: Final[Mapping[str, tuple[str, ...]]] = {
    "evidence": ("extract",),
    "votes": ("extract", "classify", "tag", "split"),
}
#: Settings that say how a model is asked: those that a stage escalates to have them too.
OF_MODELS: Final = ("service_tier", "thinking")
_Prices = Mapping[str, catalogue.Price | None]


def known(name: object) -> str | None:
    """The name of a profile, or None for none.

    Raises:
        UsageError: there is no such profile.

    """
    if name is None or (isinstance(name, str) and name in PROFILES):
        return name
    raise UsageError(f"profile {name!r} is none of {', '.join(PROFILES)}")


def of_profile(
    name: str | None,
    stage: Stage,
    said: Mapping[str, str],
    endpoints: Sequence[Endpoint],
    prices: _Prices,
) -> tuple[dict[str, Any], dict[str, str]]:
    """What a profile sets for a stage, and why it does not set the rest.

    Args:
        name: the profile; None sets nothing.
        stage: as file, code and the table of its model have it.
        said: the settings that those name: they stay.
        endpoints: the stage's own, and its fallbacks: what one of them can't take is not set.
        prices: of each endpoint, by its name.

    """
    settings: dict[str, Any] = {}
    unset: dict[str, str] = {}
    for key, value in PROFILES[name].items() if name else ():
        if key in said or stage.task not in _TASKS.get(key, (stage.task,)):
            continue
        takers = endpoints[:1] if key == "escalate" else endpoints
        why = next((told for each in takers if (told := _why_not(key, stage, each, prices))), "")
        if why and value not in {None, 1}:
            unset[key] = why
        else:
            settings[key] = _stronger(endpoints[0]) if key == "escalate" else value
    return settings, unset


def _why_not(key: str, stage: Stage, endpoint: Endpoint, prices: _Prices) -> str:
    """Why an endpoint can't take a setting of a profile; empty if it can."""
    name = endpoint.name
    if endpoint.provider == "local" and key not in {"evidence", "repair"}:
        return "an engine that runs here has no price, does not think, packs nothing, and says the same each time"
    if key == "service_tier":
        price = prices.get(name)
        return "" if price and "flex" in price.rates else f"no flex price of {name} is known"
    if key == "thinking":
        levels = endpoint.known.thinking if endpoint.known else None
        taken = "are not known" if levels is None else f"are {', '.join(levels) or 'none'}"
        return "" if "minimal" in (levels or ()) else f"the levels that {name} takes {taken}"
    if key == "votes" and (stage.seed is not None or stage.temperature == 0):
        return "with seed, or temperature = 0, both answers are the same"
    if key == "escalate":
        return _why_no_stronger(endpoint)
    return ""


def _why_no_stronger(endpoint: Endpoint) -> str:
    found = catalogue.stronger(endpoint.provider)
    if found is None:
        return f"the catalogue names no stronger model of {endpoint.provider}"
    return (
        f"{endpoint.name} is the strongest that the catalogue names"
        if found == endpoint.model
        else ""
    )


def _stronger(endpoint: Endpoint) -> Escalation:
    return Escalation(to=(f"{endpoint.provider}:{catalogue.stronger(endpoint.provider)}",))
