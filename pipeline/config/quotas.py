"""What may be asked of each endpoint: requests, tokens and dollars over time, and how long one request may take."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ConfigError
from pipeline.providers import Endpoint, Rates

if TYPE_CHECKING:
    from pipeline.config.tables import ModelTable, PipelineFile

#: Settings of `[run]`, `[providers.NAME]` and `[models.NAME]`, and of code; with what they mean in words.
LIMITS: Final = {
    "rpm": "{:,} requests a minute",
    "tpm": "{:,} tokens a minute",
    "rpd": "{:,} requests a day",
    "tpd": "{:,} tokens a day",
    "spend": "{} USD in any ten minutes",
    "timeout": "{:g} seconds for a request",
}
Tables = Sequence[tuple[str, "ModelTable"]]


def amount(text: object, name: str) -> Decimal | None:
    """`5`, `5USD`, `5.00 USD`, `$5` -> dollars.

    Raises:
        ConfigError: not an amount of dollars.

    """
    if text is None:
        return None
    found = re.fullmatch(
        r"\$?\s*(\d+(?:\.\d+)?)\s*(?:USD|\$)?", str(text).strip(), re.IGNORECASE | re.ASCII
    )
    if not found:
        raise ConfigError(f"{name} {text!r}: give US dollars, for example 5USD or 0.50")
    return Decimal(found[1])


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Limits as code gives them.

    Raises:
        ConfigError: one is not such a number.

    """
    told = {name: given[name] for name in LIMITS if given.get(name) is not None}
    if not told:
        return {}
    from pydantic import ValidationError

    from pipeline.config.tables import LimitsTable

    try:
        return LimitsTable.model_validate(told).model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{first['loc'][0]}: {first['msg']}") from None


def said_by(tables: Tables, name: str, endpoint: Endpoint) -> Any:
    """What the tables of one model say of one thing; None where they don't.

    Raises:
        ConfigError: two say different things.

    """
    said = {table: value for table, each in tables if (value := getattr(each, name)) is not None}
    values = list(said.values())
    if any(value != values[0] for value in values):
        raise ConfigError(
            f"[models.{'] and [models.'.join(said)}] are one model, {endpoint.name}, "
            f"and give it a different {name}"
        )
    return values[0] if values else None


def limited(
    endpoint: Endpoint, file: "PipelineFile", tables: Tables, given: Mapping[str, Any]
) -> Endpoint:
    """The endpoint with its limits: given by code, of the model's `tables`, of its provider's, of `[run]`.

    Raises:
        ConfigError: tables contradict each other, or a spend limit is no amount.

    """
    provider = file.providers.get(endpoint.provider)
    found: dict[str, Any] = {}
    for name in LIMITS:
        places = (
            given.get(name),
            said_by(tables, name, endpoint),
            getattr(provider, name, None),
            getattr(file.run, name),
        )
        found[name] = next((value for value in places if value is not None), None)
    timeout = found.pop("timeout")
    spend = amount(found.pop("spend"), "spend")
    if spend is not None and spend <= 0:
        raise ConfigError("spend: nothing could be asked; leave it out for no limit")
    return replace(endpoint, rates=Rates(**found, spend=spend), timeout=timeout)


def in_words(endpoint: Endpoint) -> str:
    """The limits of an endpoint for people; empty where none is known."""
    told = {name: getattr(endpoint.rates, name, None) for name in LIMITS}
    told["timeout"] = endpoint.timeout
    return ", ".join(LIMITS[name].format(value) for name, value in told.items() if value)
