"""`fieldsift models`: the catalogue, what the pipeline file says otherwise, and what services offer."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import EPILOG, common, option, output_of

if TYPE_CHECKING:
    from decimal import Decimal

    from pipeline.catalogue import Model, Price
    from pipeline.config.own import Here

_HEAD = ("model", "input", "cached", "audio", "output", "takes", "gives", "thinking")
#: Vertex AI's words where it tells its models to credentials alone; an express key is none the worse.
_NO_KEYS = "API keys are not supported by this API"
_LEVELS = ("minimal", "low", "medium", "high")


@dataclass(frozen=True, slots=True)
class _Row:
    """A model as it is listed; `names` are those that the pipeline file gives it."""

    model: "Model"
    price: "Price | None"
    origin: str = "catalogue"
    names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.model.provider}:{self.model.id}"


@click.command("models", epilog=EPILOG)
@click.argument("text", required=False, default="")
@option("--online", is_flag=True, help="List what each service offers to your key; free calls.")
@common
@click.pass_context
def command(ctx: click.Context, /, text: str, *, online: bool) -> int:
    """List the models that are known: limits, thinking levels, and today's prices in USD per million tokens.

    TEXT shows all that is known of the models whose name holds it. What the pipeline file says stands in
    place of the catalogue's figures, with its origin. A model that is not listed can be used too; its
    price is then unknown, never zero.

    With --online exit code 4 where a service refuses the key, or none gives a list.
    """
    from pipeline.cli.setup import call_of
    from pipeline.config.own import here
    from pipeline.writers import dump

    output = output_of(ctx)
    there = here(call_of(ctx))
    if online:
        told = asyncio.run(_offered(there, text))
        if output.json:
            output.data(dump(told, indent=2))
        for line in () if output.json else _of_services(told):
            output.data(line)
        refused = any(each["key_refused"] for each in told)
        return 4 if refused or all(each["error"] for each in told) else 0
    rows = [row for row in _rows(there) if text.lower() in " ".join((row.name, *row.names)).lower()]
    if output.json:
        output.data(dump([_plain(row) for row in rows], indent=2))
        return 0
    if text and not rows:
        output.warn(
            f"no model's name holds {text!r}; it can be used all the same, at an unknown price"
        )
        return 1
    for line in _details(rows) if text else _table(rows, there):
        output.data(line)
    return 0


def _today() -> date:
    return datetime.now(UTC).date()


def _rows(there: "Here") -> list[_Row]:
    """The catalogue, and the models of the pipeline file in place of those that they describe."""
    from pipeline import catalogue

    rows = {
        row.name: row
        for row in (_Row(m, catalogue.price(m, _today())) for m in catalogue.all_models())
    }
    for own in there.own:
        name = own.endpoint.name
        known = rows.get(name)
        model = own.endpoint.known or catalogue.Model(own.endpoint.provider, own.endpoint.model)
        is_own = own.endpoint.card is not None or known is None
        origin = str(there.file or "-c") if is_own else "catalogue"
        rows[name] = _Row(model, own.price, origin, (*(known.names if known else ()), own.name))
    return list(rows.values())


def _table(rows: Sequence[_Row], there: "Here") -> Iterator[str]:
    """One line a model, by service; no line is wider than 100 characters unless a name is."""
    shown = [row for row in rows if not _is_shared(row, there)]
    widths = [
        max(len(cells[n]) for cells in [_HEAD, *map(_cells, shown)]) for n in range(len(_HEAD))
    ]
    for provider, service in there.services.items():
        facts = service.facts
        yield f"{provider}  {service.base_url or facts.base_url or facts.source}"
        if facts.models_of:
            dearer = (
                "; but for the location global most cost a tenth more"
                if provider == "vertex"
                else ""
            )
            yield f"  the models of {facts.models_of}, at its prices{dearer}"
        of_it = [row for row in shown if row.model.provider == provider]
        if of_it:
            yield _line(_HEAD, widths)
        elif not facts.models_of:
            yield "  any model: limits and prices are unknown"
        for row in of_it:
            yield _line(_cells(row), widths)
            if notes := _notes(row):
                yield f"      {'; '.join(notes)}"
        if of_it and facts.checked:
            yield f"  USD per million tokens, as of {facts.checked}: {facts.source}"
        yield ""
    yield "More of a model, its flex, batch and priority prices too: fieldsift models TEXT"


def _is_shared(row: _Row, there: "Here") -> bool:
    """Whether a model is listed with the service that it comes from."""
    from pipeline import catalogue

    service = there.services.get(row.model.provider)
    if service is None or not service.facts.models_of or row.origin != "catalogue" or row.names:
        return False
    first = catalogue.find(service.facts.models_of, row.model.id)
    return first is not None and [p.rates for p in first.prices] == [
        p.rates for p in row.model.prices
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = [f"{cells[0]:<{widths[0]}}"]
    placed += [f"{cell:>{width}}" for cell, width in zip(cells[1:-1], widths[1:-1], strict=True)]
    return "  " + "  ".join([*placed, cells[-1]]).rstrip()


def _cells(row: _Row) -> tuple[str, ...]:
    rates = row.price.rates.get("standard") if row.price else None
    amounts = (rates.input, rates.cached, rates.audio, rates.output) if rates else (None,) * 4
    limits = (row.model.input_limit, row.model.output_limit)
    return (
        row.model.id,
        *map(_amount, amounts),
        *(f"{limit:,}" if limit else "unknown" for limit in limits),
        _levels(row.model.thinking),
    )


def _amount(amount: "Decimal | None") -> str:
    return "unknown" if amount is None else f"{amount:f}"


def _levels(levels: Sequence[str] | None) -> str:
    """`minimal-high` where none between is left out."""
    if not levels:
        return "unknown" if levels is None else "none"
    first = _LEVELS.index(levels[0])
    if len(levels) > 2 and tuple(levels) == _LEVELS[first : first + len(levels)]:
        return f"{levels[0]}-{levels[-1]}"
    return " ".join(levels)


def _notes(row: _Row) -> list[str]:
    model = row.model
    notes = [f"[models.{name}]" for name in row.names]
    notes += [f"from {row.origin}"] if row.origin != "catalogue" else []
    notes += [f"alias of {model.alias_of}"] if model.alias_of else []
    if model.shutdown:
        notes.append(f"{'shut down' if model.shutdown <= _today() else 'ends'} {model.shutdown}")
        notes[-1] += f": use {model.successor}" if model.successor else ""
    notes += ["takes no temperature"] if not model.sampling else []
    return [*notes, model.note] if model.note else notes


def _details(rows: Iterable[_Row]) -> Iterator[str]:
    """All that is known of each model."""
    for row in rows:
        model = row.model
        limits = [f"{n:,}" if n else "unknown" for n in (model.input_limit, model.output_limit)]
        levels = "unknown" if model.thinking is None else ", ".join(model.thinking) or "none"
        yield row.name
        yield f"  takes {limits[0]} tokens, gives {limits[1]}; thinking levels: {levels}"
        yield from (f"  {note}" for note in _notes(row))
        if row.price is None:
            yield "  its price is unknown"
        else:
            yield from _prices(row.price)
        later = [p for p in model.prices if p.valid_from and p.valid_from > _today()]
        for price in later:
            yield f"  from {price.valid_from}:"
            yield from _prices(price)
        if model.regional:
            yield f"  at locations but global {model.regional} times as much"
        yield ""


def _prices(price: "Price") -> Iterator[str]:
    head = ("USD per million tokens", "input", "cached", "audio", "cached audio", "output")
    rows: list[tuple[str, ...]] = [head]
    for tiers, more in ((price.rates, ""), (price.long, f", over {price.long_above or 0:,}")):
        rows += [
            (tier + more, *map(_amount, (r.input, r.cached, r.audio, r.cached_audio, r.output)))
            for tier, r in tiers.items()
        ]
    widths = [max(len(row[n]) for row in rows) for n in range(len(head))]
    yield from (_line((*row, ""), (*widths, 0)) for row in rows)
    if price.search is not None:
        yield f"  {price.search:f} USD for a thousand search queries, what is free not taken off"
    if price.storage is not None:
        yield f"  {price.storage:f} USD for a million tokens in an explicit cache for an hour"
    if price.source:
        yield f"  {f'as of {price.checked}: ' if price.checked else ''}{price.source}"


def _plain(row: _Row) -> dict[str, Any]:
    told = {name: value for name, value in asdict(row.model).items() if name != "prices"}
    told |= {"origin": row.origin, "names": list(row.names)}
    told["price"] = asdict(row.price) if row.price else None
    told["prices"] = [asdict(price) for price in row.model.prices]
    plain: dict[str, Any] = _texts(told)
    return plain


def _texts(value: Any) -> Any:
    """Dates and exact amounts as JSON can hold them."""
    if isinstance(value, dict):
        return {key: _texts(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(inner) for inner in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


async def _offered(there: "Here", text: str) -> list[dict[str, Any]]:
    """What each service that can be asked says of its models.

    Raises:
        SetupError: there is none: no key.

    """
    from pipeline.errors import FieldsiftError, KeyRefused, ReplyError, SetupError
    from pipeline.providers import open_provider

    if not (endpoints := there.reached()):
        raise SetupError("no service can be asked: there is no key; `fieldsift doctor` names them")
    told = []
    for endpoint in endpoints:
        service: dict[str, Any] = {"provider": endpoint.provider, "models": [], "error": None}
        service["key_refused"] = False
        provider: Any = open_provider(endpoint)
        try:
            service["models"] = [
                each
                for each in map(_facts, await provider.models())
                if text.lower() in each["id"].lower()
            ]
        except FieldsiftError as error:
            service["error"] = str(error)
            no_list = endpoint.provider == "vertex" and _NO_KEYS in str(error)
            service["key_refused"] = isinstance(error, KeyRefused) and not no_list
            if no_list:
                service["error"] = (
                    "its list of models is told to Google credentials alone, not to a key"
                )
            elif isinstance(error, ReplyError) and error.reason in {"not_found_model", "http_404"}:
                address = endpoint.base_url or endpoint.service.base_url
                service["error"] = f"there is no list of models at {address}"
        finally:
            await provider.aclose()
        told.append(service)
    return told


def _facts(offered: Any) -> dict[str, Any]:
    """Gemini tells limits too, others ids alone."""
    if isinstance(offered, str):
        return {"id": offered, "input_limit": None, "output_limit": None}
    limits = {"input_limit": offered.input_limit, "output_limit": offered.output_limit}
    return {"id": offered.id} | limits


def _of_services(told: Iterable[dict[str, Any]]) -> Iterator[str]:
    from pipeline import catalogue

    for service in told:
        provider, models = service["provider"], service["models"]
        yield f"{provider}  {service['error'] or f'offers {len(models)} models'}"
        for each in models:
            limits = [
                f"{n:,}" if n else "unknown" for n in (each["input_limit"], each["output_limit"])
            ]
            known = "" if catalogue.find(provider, each["id"]) else "  not in the catalogue"
            yield f"  {each['id']:<32}  takes {limits[0]:>9}  gives {limits[1]:>7}{known}".rstrip()
        yield ""
