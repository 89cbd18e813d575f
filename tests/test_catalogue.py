"""The catalogue: dated prices by kind of token, limits, and unknown that stays unknown."""

import subprocess
import sys
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import catalogue
from pipeline.catalogue import Model, Price, all_models, find, price, price_of, service
from pipeline.providers import Usage

TODAY = date(2026, 11, 21)


def known(model: str, on: date = TODAY, provider: str = "gemini") -> Price:
    """The price of a model that has one."""
    found = price(find(provider, model), on)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("provider", "model", "tokens", "usd"),
    [
        ("gemini", "gemini-3.1-flash-lite", {"input": 1_000_000}, "0.25"),
        ("gemini", "gemini-3.1-flash-lite", {"output": 1_000_000}, "1.50"),
        ("gemini", "gemini-3.1-flash-lite", {"thoughts": 1_000_000}, "1.50"),
        ("gemini", "gemini-3.1-flash-lite", {"tool": 1_000_000}, "0.25"),
        ("gemini", "gemini-3.1-flash-lite", {"input": 1_000_000, "cached": 1_000_000}, "0.025"),
        ("gemini", "gemini-3.1-flash-lite", {"input": 1_000_000, "audio": 1_000_000}, "0.50"),
        ("gemini", "gemini-3.1-flash-lite", {"input": 1, "output": 1}, "0.00000175"),
        ("gemini", "gemini-3.1-flash-lite", {"input": 1_000_000, "tier": "batch"}, "0.125"),
        ("gemini", "gemini-3.1-flash-lite", {"input": 1_000_000, "tier": "flex"}, "0.125"),
        ("gemini", "gemini-3.1-flash-lite", {"output": 1_000_000, "tier": "priority"}, "2.70"),
        (
            "gemini",
            "gemini-3.1-flash-lite",
            {"input": 100, "cached": 100, "audio": 40},
            "0.0000035",
        ),
        (
            "gemini",
            "gemini-3.1-flash-lite",
            {"input": 100, "cached": 50, "audio": 40},
            "0.00002375",
        ),
        (
            "evolink",
            "gemini-3.1-flash-lite-preview",
            {"input": 1_000_000, "output": 1_000_000},
            "1.40",
        ),
        ("evolink", "gemini-3.1-flash-lite-preview", {"input": 10**6, "cached": 10**6}, "0.019"),
        ("gemini", "gemini-3.1-pro-preview", {"input": 200_000, "output": 1000}, "0.412"),
        ("gemini", "gemini-3.1-pro-preview", {"input": 200_001, "output": 1000}, "0.818004"),
        ("gemini", "gemini-2.5-pro", {"input": 300_000, "cached": 100_000}, "0.525"),
        ("gemini", "gemini-2.5-pro", {"input": 300_000, "tier": "batch"}, "0.375"),
        ("local", "local", {"input": 5, "output": 5}, "0"),
    ],
)
def test_a_price_is_exact_by_kind_of_token(
    provider: str, model: str, tokens: dict[str, Any], usd: str
) -> None:
    """Cached, audio, thinking, tool and long prompts each cost their own."""
    assert known(model, provider=provider).cost(**tokens) == Decimal(usd)


def test_the_usage_of_a_reply_is_priced_as_it_stands() -> None:
    """The keywords are the names of `Usage`."""
    usage = Usage(input=1000, cached=400, output=200, thoughts=100, tool=10, audio=0)
    told = asdict(usage)
    del told["by_modality"], told["is_counted"]
    assert known("gemini-3.1-flash-lite").cost(**told) == Decimal("0.0006125")


def test_what_tools_read_counts_towards_a_long_prompt() -> None:
    """No service says that it does not: what is reserved must not be below what is paid."""
    price = known("gemini-3.1-pro-preview")
    assert price.cost(input=199_990, tool=10) == Decimal("0.40")
    assert price.cost(input=199_990, tool=11) == Decimal("0.800004")


def test_what_the_answer_says_of_cached_audio_and_searches_is_priced() -> None:
    """Known, it decides; unknown, the dearer reading is taken. A query costs its full fee."""
    price = known("gemini-3.1-flash-lite")
    tokens: dict[str, Any] = {"input": 100, "cached": 50, "audio": 40}
    assert price.cost(**tokens, cached_audio=40) == Decimal("0.00001475")
    assert price.cost(**tokens, cached_audio=0) == Decimal("0.00002375") == price.cost(**tokens)
    assert price.cost(searches=3) == Decimal("0.042")
    assert known("gemini-2.5-flash").cost(searches=1) == Decimal("0.035")


@pytest.mark.parametrize(
    ("model", "location", "usd"),
    [
        ("gemini-3.1-flash-lite", "global", "0.25"),
        ("gemini-3.1-flash-lite", "europe-west4", "0.275"),
        ("gemini-3.1-flash-lite", "eu", "0.275"),
        ("gemini-2.5-flash", "us-central1", "0.30"),
    ],
)
def test_vertex_is_dearer_away_from_the_global_endpoint(
    model: str, location: str, usd: str
) -> None:
    """Only for models whose price says so."""
    there = price(find("vertex", model), TODAY, location)
    assert there is not None
    assert there.cost(input=10**6) == Decimal(usd)


def test_two_addresses_of_google_have_one_price_and_vertex_its_own_where_it_differs() -> None:
    for model in all_models():
        if model.provider == "gemini":
            same = find("gemini-openai", model.id)
            assert same is not None
            assert [p.rates for p in same.prices] == [p.rates for p in model.prices]
    tokens: dict[str, Any] = {"input": 10**6, "cached": 10**6, "tier": "batch"}
    assert known("gemini-3.5-flash-lite").cost(**tokens) == Decimal("0.02")
    assert known("gemini-3.5-flash-lite", provider="vertex").cost(**tokens) == Decimal("0.015")


@pytest.mark.parametrize(
    ("provider", "model", "on", "tokens"),
    [
        ("evolink", "gemini-3.1-flash-lite-preview", TODAY, {"input": 9, "cached": 9, "audio": 9}),
        ("evolink", "gemini-3.1-flash-lite-preview", TODAY, {"input": 9, "tier": "batch"}),
        ("gemini", "gemini-2.5-pro", TODAY, {"input": 300_000, "tier": "flex"}),
        ("gemini", "gemini-4-argon", date(2026, 12, 1), {"input": 9, "tier": "flex"}),
        ("evolink", "gemini-3.1-flash-lite-preview", TODAY, {"input": 9, "searches": 1}),
        ("gemini", "gemini-3.1-flash-lite", TODAY, {"input": 9, "tier": "gold"}),
        ("gemini", "gemini-3.8-flash", date(2027, 1, 1), {"input": 9, "tier": "batch"}),
    ],
)
def test_a_rate_that_is_unknown_makes_the_cost_unknown(
    provider: str, model: str, on: date, tokens: dict[str, Any]
) -> None:
    """Never zero, never a neighbour's rate."""
    assert known(model, on, provider).cost(**tokens) is None


@pytest.mark.parametrize(
    ("model", "last_day", "before", "after"),
    [
        ("gemini-3.6-flash", date(2026, 12, 31), "0.75", "1.50"),
        ("gemini-4-argon", date(2026, 11, 30), "2", "4"),
    ],
)
def test_a_price_changes_on_its_day(model: str, last_day: date, before: str, after: str) -> None:
    """The day itself decides."""
    assert known(model, last_day).cost(input=10**6) == Decimal(before)
    assert known(model, date.fromordinal(last_day.toordinal() + 1)).cost(input=10**6) == Decimal(
        after
    )


def test_a_price_that_is_not_yet_valid_is_none() -> None:
    """Before its first price a model has none."""
    young = Model(
        "x",
        "y",
        prices=(price_of({"valid_from": date(2027, 1, 1), "standard": {"input": 1, "output": 1}}),),
    )
    assert price(young, TODAY) is None
    assert price(young, date(2027, 1, 1)) is not None


def test_a_model_that_is_not_listed_is_unknown() -> None:
    """It can be used all the same: nothing is known of it."""
    assert find("gemini", "gemini-9-neon") is None
    assert find("elsewhere", "gemini-3.1-flash-lite") is None
    assert price(None, TODAY) is None
    assert service("elsewhere") is None


def test_every_entry_is_complete_and_says_where_it_is_from() -> None:
    """Source and date of each price; limits; levels in their order; successors that exist."""
    levels = ["minimal", "low", "medium", "high"]
    models = all_models()
    assert len({(m.provider, m.id) for m in models}) == len(models) >= 18
    for model in models:
        there = service(model.provider)
        assert there is not None
        assert there.checked is not None
        assert there.checked >= TODAY
        assert model.provider == "local" or (model.input_limit or 0) >= 2**20
        assert model.thinking is None or list(model.thinking) == [
            x for x in levels if x in model.thinking
        ]
        assert model.successor is None or find(model.provider, model.successor) is not None
        for one in model.prices:
            assert one.source
            assert one.checked is not None
            assert one.rates["standard"].input >= 0
            assert not one.long or one.long_above


def test_an_alias_has_the_facts_of_what_it_stands_for() -> None:
    """And says so, because its price may change overnight."""
    alias, meant = (
        find("gemini", "gemini-flash-lite-latest"),
        find("gemini", "gemini-3.5-flash-lite"),
    )
    assert alias is not None
    assert meant is not None
    assert alias.alias_of == meant.id
    assert alias.prices == meant.prices


def test_facts_of_the_home_model() -> None:
    """Limits and levels; its preview is gone and names it."""
    home, preview = (
        find("gemini", "gemini-3.1-flash-lite"),
        find("gemini", "gemini-3.1-flash-lite-preview"),
    )
    assert home is not None
    assert preview is not None
    assert (home.input_limit, home.output_limit) == (1_048_576, 65_536)
    assert home.thinking == ("minimal", "low", "medium", "high")
    assert (preview.shutdown, preview.successor) == (date(2026, 5, 25), home.id)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"input": 1}, "'output'"),
        ({"input": 1, "output": 1, "outptu": 1}, "'outptu'"),
        ({"input": "cheap", "output": 1}, "'cheap'"),
        ({"input": -1, "output": 1}, "-1"),
        ({"input": "NaN", "output": 1}, "NaN"),
        ({"standard": {"input": 1, "output": 1}, "gold": {"input": 1, "output": 1}}, "'gold'"),
    ],
)
def test_a_price_of_ones_own_is_checked(table: dict[str, Any], named: str) -> None:
    """As pipeline files give them."""
    with pytest.raises(ValueError, match=named):
        price_of(table)


def test_a_price_of_ones_own_reads_numbers_as_they_are_written() -> None:
    """0.1 is a tenth; one rate for all kinds of input holds for audio too."""
    own = price_of({"input": 0.1, "output": "0.3"}, source="pipeline.toml")
    assert own.cost(input=3, output=1, audio=3) == Decimal("0.0000006")
    assert own.cost(input=3, cached=1) is None


@given(
    tokens=st.integers(0, 10**7),
    share=st.floats(0, 1),
    output=st.integers(0, 10**6),
    thoughts=st.integers(0, 10**6),
    model=st.sampled_from(["gemini-3.1-flash-lite", "gemini-2.5-pro", "gemini-3-flash-preview"]),
)
def test_a_reserve_of_more_tokens_is_never_cheaper(
    tokens: int, share: float, output: int, thoughts: int, model: str
) -> None:
    """What is set aside for the most tokens, none of them cached, covers what is booked."""
    booked = known(model).cost(
        input=tokens, cached=int(tokens * share), output=output, thoughts=thoughts
    )
    reserved = known(model).cost(input=tokens, output=output + thoughts)
    assert booked is not None
    assert reserved is not None
    assert booked <= reserved


def test_importing_the_catalogue_reads_nothing() -> None:
    """The file is read when it is first asked for, once."""
    code = "import pipeline.catalogue as c; assert not c._file.cache_info().currsize; assert c.all_models()"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert catalogue.all_models() == catalogue.all_models()
