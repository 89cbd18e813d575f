"""What an estimate says beside its figures: rates, the time that they take, imported code, what is left out."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Final

from pipeline.config import Plan
from pipeline.estimating.figures import Share
from pipeline.providers import Rates
from pipeline.runner import Options
from pipeline.stages import Stage
from pipeline.tools import fingerprint
from pipeline.usercode import NAMED

_DAY: Final = 86_400.0


def rates_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """The rates of each endpoint that are known; empty where none is."""
    told = {name: asdict(endpoint.rates) for name, endpoint in plan.endpoints.items()}
    return {
        name: {rate: value for rate, value in rates.items() if value is not None}
        for name, rates in told.items()
        if any(value is not None for value in rates.values())
    }


def shortest(plan: Plan, shares: Sequence[Share]) -> float:
    """The seconds that known rates make the requests take at least; 0 where none is known.

    The first window is full at once, so that n windows take n - 1 times their length. Endpoints work
    beside each other.
    """
    return max(
        (_at(endpoint.rates, name, shares) for name, endpoint in plan.endpoints.items()),
        default=0.0,
    )


def _at(rates: Rates, model: str, shares: Sequence[Share]) -> float:
    own = [share for share in shares if share.model == model]
    requests = sum(share.requests for share in own)
    tokens = sum(share.input_tokens for share in own)
    cost = sum((share.expected_usd or Decimal(0) for share in own), Decimal(0))
    windows: tuple[tuple[Any, Any, float], ...] = (
        (requests, rates.rpm, 60.0),
        (tokens, rates.tpm, 60.0),
        (requests, rates.rpd, _DAY),
        (tokens, rates.tpd, _DAY),
        (cost, rates.spend, 600.0),
    )
    return max(
        (
            max(0, math.ceil(amount / quota) - 1) * length
            for amount, quota, length in windows
            if quota
        ),
        default=0.0,
    )


def code_of(plan: Plan) -> tuple[str, ...]:
    """The user's own code that the plan has imported: `module:name`, with the folder it came from."""
    found = dict.fromkeys(_code(plan))
    return tuple(f"{name} (from {plan.root})" for name in found)


def _code(plan: Plan) -> Iterator[str]:
    for stage in plan.stages:
        if NAMED.fullmatch(stage.schema.source):
            yield stage.schema.source
        for function in (*stage.functions.values(), stage.function):
            if function is not None:
                yield _name(function)


def _again(stage: Stage) -> str:
    """What may be asked beyond the first questions; nothing of an engine that runs here."""
    repair = f"asking again for what fails (repair = {stage.repair})" if stage.repair else ""
    if stage.model == "local":
        repair = ""
    if stage.escalate is None:
        return repair
    most = f" for up to {stage.escalate.max_share:.0%} of the documents"
    names = (
        f"asking {', then '.join(stage.escalate.to)}{most if stage.escalate.max_share < 1 else ''}"
    )
    return f"{repair}, and {names}," if repair else names


def _name(function: Callable[..., Any]) -> str:
    return fingerprint(function).partition("#")[0]


def notes_on(
    plan: Plan, shares: Sequence[Share], options: Options, uncounted: Mapping[str, str]
) -> tuple[str, ...]:
    """What the figures leave out, in sentences."""
    return tuple(_notes(plan, shares, options, uncounted))


def _each(plan: Plan, shares: Sequence[Share]) -> Iterator[tuple[Stage, Share]]:
    """Each stage that has figures, with them; a function has none."""
    return zip((stage for stage in plan.stages if stage.task != "python"), shares, strict=True)


def _on_packs(share: Share) -> Iterator[str]:
    if share.packed:
        yield (
            f"stage {share.stage}: {share.packed:,} short documents share the requests of others, and the high figure "
            f"is that of requests which are full: fewer documents at a time (-j), or answers that leave some out, make "
            f"more of them, and a document that goes by itself reserves more"
        )


def _on_repairs(plan: Plan, shares: Sequence[Share]) -> Iterator[str]:
    """What each stage may be asked beyond its first questions; stages of which the same is said are told at once."""
    names: dict[str, list[str]] = {}
    for stage, share in _each(plan, shares):
        if share.requests and (again := _again(stage)):
            names.setdefault(again, []).append(stage.name)
    for again, those in names.items():
        whose = f"stage{'s' * (len(those) > 1)} {', '.join(those)}"
        yield f"{whose}: {again} is not in these figures; a budget holds for it too"


def _notes(
    plan: Plan, shares: Sequence[Share], options: Options, uncounted: Mapping[str, str]
) -> Iterator[str]:
    if options.offline:
        yield "nothing may be sent: what is not stored is not asked, and costs nothing"
    if any(share.requests for share in shares):
        yield (
            "tries that fail and are sent again are not in these figures: where the service may have "
            "worked, one more is reserved for each"
        )
    for name, why in uncounted.items():
        yield f"{name} did not count tokens, they are estimated: {why}"
    yield from _on_repairs(plan, shares)
    for stage, share in _each(plan, shares):
        yield from _on_packs(share)
        if share.requests and stage.functions:
            yield f"stage {stage.name}: rounds of function calls beyond the first are not in these figures"
        if share.requests and share.expected_usd is not None and stage.tools:
            yield f"stage {stage.name}: what tools of the service read is in the high figure alone"
        if stage.fallback:
            yield f"stage {stage.name}: where {stage.model} is down, {', '.join(stage.fallback)} answers at its own price"
        if share.requests and share.high_usd is None:
            yield f"stage {stage.name}: the price of {share.model} is unknown; `price` under [models.NAME] says it"
