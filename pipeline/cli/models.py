"""`fieldsift models`: the catalogue."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pipeline.cli import EPILOG, common, output_of

if TYPE_CHECKING:
    from pipeline.catalogue import Model


@click.command("models", epilog=EPILOG)
@common
@click.pass_context
def command(ctx: click.Context) -> int:
    """List the models that are known: limits, thinking levels, and today's prices in USD per million tokens.

    A model that is not listed can be used too; its price is then unknown, never zero.
    """
    from pipeline import catalogue
    from pipeline.providers import PROVIDERS
    from pipeline.writers import dump

    output = output_of(ctx)
    today = datetime.now(UTC).date()
    models = [model for model in catalogue.all_models() if model.provider in PROVIDERS]
    if output.json:
        told = [
            _plain(model) | {"price": asdict(p) if (p := catalogue.price(model, today)) else None}
            for model in models
        ]
        output.data(dump(_texts(told), indent=2))
        return 0
    rows: list[tuple[str, ...]] = [
        ("model", "in", "cached", "out", "input limit", "output limit", "thinking", "")
    ]
    rows += [_row(model) for model in models]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        output.data(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    for provider in dict.fromkeys(model.provider for model in models):
        if known := catalogue.service(provider):
            output.data(f"{provider}: prices of {known.checked} from {known.source}")
    return 0


def _row(model: "Model") -> tuple[str, ...]:
    from pipeline import catalogue

    price = catalogue.price(model, datetime.now(UTC).date())
    rates = price.rates.get("standard") if price else None
    amounts = (rates.input, rates.cached, rates.output) if rates else (None, None, None)
    notes = [f"alias of {model.alias_of}" if model.alias_of else "", model.note]
    if model.shutdown:
        gone = model.shutdown <= datetime.now(UTC).date()
        notes.append(
            f"{'shut down' if gone else 'ends'} {model.shutdown}"
            + (f": use {model.successor}" if model.successor else "")
        )
    limits = [
        f"{limit:,}" if limit else "unknown" for limit in (model.input_limit, model.output_limit)
    ]
    levels = "unknown" if model.thinking is None else " ".join(model.thinking) or "none"
    told = ["unknown" if amount is None else str(amount) for amount in amounts]
    return (f"{model.provider}:{model.id}", *told, *limits, levels, "; ".join(filter(None, notes)))


def _plain(model: "Model") -> dict[str, object]:
    return {name: value for name, value in asdict(model).items() if name != "prices"}


def _texts(value: object) -> object:
    """Dates and exact amounts as JSON can hold them."""
    if isinstance(value, dict):
        return {key: _texts(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(inner) for inner in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
