"""The catalogue of models: ids, limits, thinking levels, dated prices per service (`models.toml`).

What the file does not say is None here: unknown, never zero. Prices are exact decimals, USD per
million tokens. A model that is not listed can be used all the same; then nothing is known of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any, Final, Literal

Tier = Literal["standard", "batch", "flex", "priority"]

#: What a table of prices says beside its tiers.
_NO_TIERS: Final = frozenset({"valid_from", "long_above", "search", "storage"})
_MILLION: Final = 1_000_000
#: The 28 digits of Python's own context would round what rates with many decimals cost.
_EXACT: Final = Context(prec=1000)


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens; `input` is text, image and video, `output` holds thinking too."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    audio: Decimal | None = None
    cached_audio: Decimal | None = None

    def times(self, factor: Decimal) -> "Rates":
        """The rates where all tokens cost a factor more."""
        known = {name: rate for name in self.__dataclass_fields__ if (rate := getattr(self, name))}
        return replace(self, **{name: (rate * factor).normalize() for name, rate in known.items()})


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs from `valid_from` on (None: since ever), and where and when that was read.

    `rates` by service tier; `long` by service tier for prompts of more than `long_above` tokens. `search`
    is USD for a thousand queries of search tools, what is free each month not taken off; `storage` USD for a million
    tokens in an explicit cache for an hour.
    """

    rates: Mapping[str, Rates]
    long: Mapping[str, Rates]
    long_above: int | None = None
    search: Decimal | None = None
    storage: Decimal | None = None
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
        cached_audio: int | None = None,
        searches: int = 0,
        tier: str = "standard",
    ) -> Decimal | None:
        """What so many tokens cost in USD, exact; None where a rate that is needed is unknown.

        The names are those of a reply's usage. `input` holds the `cached` and the `audio` tokens; `tool`
        tokens stand beside it, cost the same, and count towards `long_above`: no service says whether they do, and
        without them a prompt could cost more than was set aside. Where the service does not say how many of the cached
        tokens are audio (`cached_audio`), the dearer reading is taken: that as few as possible are both.
        """
        audio = min(audio, input)
        is_long = self.long_above is not None and input + tool > self.long_above
        rates = (self.long if is_long else self.rates).get(tier or "standard")
        if rates is None:
            return None
        if cached_audio is None:
            cached_audio = audio - min(audio, max(0, input - cached))
        old_audio = min(cached_audio, cached, audio)
        fresh_audio = audio - old_audio
        charged = (
            (max(0, input - cached - fresh_audio) + tool, rates.input),
            (fresh_audio, rates.audio),
            (cached - old_audio, rates.cached),
            (old_audio, rates.cached_audio),
            (output + thoughts, rates.output),
            (searches * (_MILLION // 1000), self.search),
        )
        total = Decimal(0)
        for count, rate in charged:
            if count and rate is None:
                return None
            total = _EXACT.fma(count, rate or 0, total)
        return total.scaleb(-6, _EXACT)

    def times(self, factor: Decimal) -> "Price":
        """The price where all tokens cost a factor more, stored ones too; searches cost the same."""
        return replace(
            self,
            storage=None if self.storage is None else (self.storage * factor).normalize(),
            rates={tier: rates.times(factor) for tier, rates in self.rates.items()},
            long={tier: rates.times(factor) for tier, rates in self.long.items()},
        )


@dataclass(frozen=True, slots=True)
class Model:
    """One model at one service.

    `input_limit` and `output_limit` are tokens. `thinking` lists the levels that it takes: empty means
    none, None unknown. `sampling` is False where `temperature` is not taken, `combines` where tools can
    stand beside neither an answer in JSON nor tools of the other kind. `cache_tokens` is the least that a cache
    of it holds, where that is not its service's figure; `regional` how much dearer it is at Vertex AI's locations
    but `global` (1.1: a tenth). `shutdown` is the day it ends or ended, `successor` the id to use then. An
    alias has the facts of the model it stands for today.
    """

    provider: str
    id: str
    input_limit: int | None = None
    output_limit: int | None = None
    thinking: tuple[str, ...] | None = None
    sampling: bool = True
    combines: bool = True
    cache_tokens: int | None = None
    regional: Decimal | None = None
    prices: tuple[Price, ...] = ()
    shutdown: date | None = None
    successor: str | None = None
    alias_of: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """What holds for all models of one service: how it is spoken to, and the limits of one request.

    `wire` is what it speaks. `keys` are the variables that hold its key, in order, `address` the one
    that may point elsewhere. `input_limit` and `output_limit` (tokens) are those of a model that has no own.
    Sizes are bytes; `inline_bytes` is the largest request with files in it, `file_bytes` the largest file
    that can be uploaded apart (None: there is no such way), `image_bytes` the largest picture inside a request,
    `storage_url` where the files of a bucket are put. `cache_tokens` is the least that a cache holds
    (None: there are no caches). `page_tokens` and
    `image_tokens` are the most tokens of one PDF page or picture by media resolution (`default` where
    none is asked for). None and empty mean unknown.

    `models_of` names the service whose models and prices are those of this one too, `stronger` the model that what
    fails goes up to (empty: none is known).
    For OpenAI-compatible services: `pdf` says how PDFs go there (as file parts, as a picture of each page, or as
    text), `sees` and `hears` whether pictures and audio do, `schema` what `response_format` takes,
    `effort` whether `reasoning_effort` is known there, `limit_name` how the output limit is called.
    For services that speak Gemini's wire: `auth` says whether the key stands in `x-goog-api-key`, or in
    `Authorization` as a bearer token.
    """

    provider: str
    base_url: str = ""
    source: str = ""
    checked: date | None = None
    wire: str = "gemini"
    keys: tuple[str, ...] = ()
    address: str = ""
    input_limit: int | None = None
    output_limit: int | None = None
    request_bytes: int | None = None
    inline_bytes: int | None = None
    file_bytes: int | None = None
    cache_tokens: int | None = None
    image_bytes: int | None = None
    storage_url: str = ""
    pdf_bytes: int | None = None
    pdf_pages: int | None = None
    images: int | None = None
    page_tokens: Mapping[str, int] | None = None
    image_tokens: Mapping[str, int] | None = None
    pdf: Literal["file", "images", "text"] = "file"
    sees: bool = True
    hears: bool = True
    schema: Literal["json_schema", "json_object", "none"] = "json_schema"
    effort: bool = True
    limit_name: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    auth: Literal["key", "bearer"] = "key"
    models_of: str = ""
    stronger: str = ""


def find(provider: str, model: str) -> Model | None:
    """A model of the catalogue by its service and id; None when it is not listed."""
    return _models().get((provider, model))


def all_models() -> tuple[Model, ...]:
    """Every model of the catalogue, in the order of the file."""
    return tuple(_models().values())


def all_services() -> tuple[Service, ...]:
    """Every service of the catalogue, in the order of the file."""
    return tuple(_services().values())


def service(provider: str) -> Service | None:
    """What is known of a service itself; None when it is not listed."""
    return _services().get(provider)


def stronger(provider: str) -> str | None:
    """The id of the model of a service that what fails goes up to, an alias as what it stands for today; None: none is known."""
    there = service(provider)
    model = find(provider, there.stronger) if there and there.stronger else None
    return (model.alias_of or model.id) if model else None


def price(model: Model | None, on: date, location: str = "") -> Price | None:
    """The price of a model on a day; None when it is unknown.

    `location` is that of Vertex AI, where all but `global` may cost more.
    """
    if model is None:
        return None
    dated = [p for p in model.prices if p.valid_from is None or p.valid_from <= on]
    found = max(dated, key=lambda p: p.valid_from or date.min, default=None)
    if found is None or model.regional is None or location in {"", "global"}:
        return found
    return found.times(model.regional)


def price_of(given: Mapping[str, Any], *, source: str = "", checked: date | None = None) -> Price:
    """A price from a table like those of `models.toml`, or from the rates of one tier alone.

    `{"input": 0.25, "output": 1.5}` is a price for the standard tier. Numbers may be int, Decimal,
    str, or float (read by its shortest form).

    Raises:
        ValueError: a key is unknown, a rate is no amount, or `input` or `output` is missing.

    """
    if "standard" not in given:
        given = {"standard": given}
    tables = {k: v for k, v in given.items() if k not in _NO_TIERS}
    tiers = {"standard", "batch", "flex", "priority"}
    if unknown := {name.removesuffix("_long") for name in tables} - tiers:
        raise ValueError(f"a price has no {min(unknown)!r}")
    return Price(
        rates={k: _rates(v) for k, v in tables.items() if not k.endswith("_long")},
        long={k.removesuffix("_long"): _rates(v) for k, v in tables.items() if k.endswith("_long")},
        long_above=given.get("long_above"),
        search=_amount("search", given["search"]) if "search" in given else None,
        storage=_amount("storage", given["storage"]) if "storage" in given else None,
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
    return {name: _service(name, table) for name, table in _file().items()}


def _service(name: str, table: Mapping[str, Any]) -> Service:
    facts: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in table.items()
        if key != "model"
    }
    return Service(name, **facts)


@lru_cache(maxsize=1)
def _models() -> dict[tuple[str, str], Model]:
    listed = {(model.provider, model.id): model for model in _listed()}
    return {key: _resolved(model, listed) for key, model in listed.items()}


def _listed() -> Iterator[Model]:
    for name, table in _file().items():
        limits = {key: table.get(key) for key in ("input_limit", "output_limit")}
        shared = _file()[table["models_of"]].get("model", ()) if "models_of" in table else ()
        for given in (*shared, *table.get("model", ())):
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
