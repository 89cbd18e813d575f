"""The catalogue of models: ids, limits, thinking levels, dated prices per service (`models.toml`).

What the file does not say is None here: unknown, never zero. Prices are exact decimals, USD per
million tokens. A model that is not listed can be used all the same; then nothing is known of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal

Tier = Literal["standard", "batch", "flex", "priority"]

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens; `input` is text, image and video, `output` holds thinking too."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    audio: Decimal | None = None
    cached_audio: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs from `valid_from` on (None: since ever), and where and when that was read.

    `rates` by service tier; `long` by service tier for prompts of more than `long_above` tokens.
    """

    rates: Mapping[str, Rates]
    long: Mapping[str, Rates]
    long_above: int | None = None
    valid_from: date | None = None
    source: str = ""
    checked: date | None = None

    def cost(  # noqa: PLR0913, one keyword for each kind of token
        self,
        *,
        input: int = 0,  # noqa: A002, the names are those of a reply's usage
        cached: int = 0,
        output: int = 0,
        thoughts: int = 0,
        tool: int = 0,
        audio: int = 0,
        tier: Tier = "standard",
    ) -> Decimal | None:
        """What so many tokens cost in USD, exact; None where a rate that is needed is unknown.

        `input` holds the `cached` and the `audio` tokens; `tool` tokens stand beside it and cost the
        same. The service does not say how many cached tokens are audio: the dearer reading is taken,
        that as few as possible are both.
        """
        is_long = self.long_above is not None and input > self.long_above
        rates = (self.long if is_long else self.rates).get(tier)
        if rates is None:
            return None
        fresh_audio = min(audio, max(0, input - cached))
        old_audio = min(audio - fresh_audio, cached)
        charged = (
            (max(0, input - cached - fresh_audio) + tool, rates.input),
            (fresh_audio, rates.audio),
            (cached - old_audio, rates.cached),
            (old_audio, rates.cached_audio),
            (output + thoughts, rates.output),
        )
        total = Decimal(0)
        for tokens, rate in charged:
            if tokens and rate is None:
                return None
            total += tokens * (rate or 0)
        return total / _MILLION


@dataclass(frozen=True, slots=True)
class Model:
    """One model at one service.

    `input_limit` and `output_limit` are tokens. `thinking` lists the levels that it takes: empty means
    none, None unknown. `shutdown` is the day it ends or ended, `successor` the id to use then. An
    alias has the facts of the model it stands for today.
    """

    provider: str
    id: str
    input_limit: int | None = None
    output_limit: int | None = None
    thinking: tuple[str, ...] | None = None
    prices: tuple[Price, ...] = ()
    shutdown: date | None = None
    successor: str | None = None
    alias_of: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """What holds for all models of one service: its address, and the limits of one request.

    `input_limit` and `output_limit` (tokens) are those of a model that has no own. Sizes are bytes.
    `page_tokens` and `image_tokens` are the most tokens of one PDF page or picture
    by media resolution (`default` where none is asked for). None and empty mean unknown.
    """

    provider: str
    base_url: str
    source: str
    checked: date
    input_limit: int | None = None
    output_limit: int | None = None
    request_bytes: int | None = None
    pdf_bytes: int | None = None
    pdf_pages: int | None = None
    images: int | None = None
    page_tokens: Mapping[str, int] | None = None
    image_tokens: Mapping[str, int] | None = None


def find(provider: str, model: str) -> Model | None:
    """A model of the catalogue by its service and id; None when it is not listed."""
    return _models().get((provider, model))


def all_models() -> tuple[Model, ...]:
    """Every model of the catalogue, in the order of the file."""
    return tuple(_models().values())


def service(provider: str) -> Service | None:
    """What is known of a service itself; None when it is not listed."""
    return _services().get(provider)


def price(model: Model | None, on: date) -> Price | None:
    """The price of a model on a day; None when it is unknown."""
    dated = [p for p in model.prices if p.valid_from is None or p.valid_from <= on] if model else []
    return max(dated, key=lambda p: p.valid_from or date.min, default=None)


def price_of(given: Mapping[str, Any], *, source: str = "", checked: date | None = None) -> Price:
    """A price from a table like those of `models.toml`, or from the rates of one tier alone.

    `{"input": 0.25, "output": 1.5}` is a price for the standard tier. Numbers may be int, Decimal,
    str, or float (read by its shortest form).

    Raises:
        ValueError: a key is unknown, a rate is no amount, or `input` or `output` is missing.

    """
    if "standard" not in given:
        given = {"standard": given}
    tables = {k: v for k, v in given.items() if k not in {"valid_from", "long_above"}}
    tiers = {"standard", "batch", "flex", "priority"}
    if unknown := {name.removesuffix("_long") for name in tables} - tiers:
        raise ValueError(f"a price has no {min(unknown)!r}")
    return Price(
        rates={k: _rates(v) for k, v in tables.items() if not k.endswith("_long")},
        long={k.removesuffix("_long"): _rates(v) for k, v in tables.items() if k.endswith("_long")},
        long_above=given.get("long_above"),
        valid_from=given.get("valid_from"),
        source=source,
        checked=checked,
    )


def _rates(given: Mapping[str, Any]) -> Rates:
    names = Rates.__dataclass_fields__
    if unknown := [name for name in given if name not in names]:
        raise ValueError(f"a price has no rate {unknown[0]!r}; there are {', '.join(names)}")
    if missing := [name for name in ("input", "output") if name not in given]:
        raise ValueError(f"a price needs its {missing[0]!r} rate")
    amounts = {name: _amount(name, value) for name, value in given.items()}
    audio = amounts.get("audio")
    if audio is None or audio == amounts["input"]:
        # One price for all kinds of input: then the cached ones cost the same too.
        amounts["audio"] = amounts["input"]
        if "cached" in amounts:
            amounts.setdefault("cached_audio", amounts["cached"])
    return Rates(**amounts)


def _amount(name: str, value: Any) -> Decimal:
    try:
        amount = Decimal(str(value))
    except ArithmeticError as error:
        raise ValueError(f"the rate {name!r} is no amount: {value!r}") from error
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"the rate {name!r} is no amount: {value!r}")
    return amount


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    import tomllib
    from importlib.resources import files

    text = files("pipeline").joinpath("models.toml").read_text(encoding="utf-8")
    return tomllib.loads(text, parse_float=Decimal)


@lru_cache(maxsize=1)
def _services() -> dict[str, Service]:
    return {
        name: Service(provider=name, **{k: v for k, v in table.items() if k != "model"})
        for name, table in _file().items()
    }


@lru_cache(maxsize=1)
def _models() -> dict[tuple[str, str], Model]:
    listed = {(model.provider, model.id): model for model in _listed()}
    return {key: _resolved(model, listed) for key, model in listed.items()}


def _listed() -> Iterator[Model]:
    for name, table in _file().items():
        limits = {key: table.get(key) for key in ("input_limit", "output_limit")}
        for given in table["model"]:
            facts = limits | {k: v for k, v in given.items() if k not in {"price", "thinking"}}
            levels = given.get("thinking")
            yield Model(
                provider=name,
                thinking=None if levels is None else tuple(levels),
                prices=tuple(
                    price_of(p, source=table["source"], checked=table["checked"])
                    for p in given.get("price", ())
                ),
                **facts,
            )


def _resolved(model: Model, listed: Mapping[tuple[str, str], Model]) -> Model:
    if model.alias_of is None:
        return model
    meant = listed[model.provider, model.alias_of]
    return replace(meant, id=model.id, alias_of=meant.id)
