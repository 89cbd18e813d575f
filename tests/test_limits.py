"""The cap holds, retries are bounded and counted, and a service that asks to wait is obeyed by all."""

import asyncio
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import catalogue
from pipeline.config.tables import PriceTable
from pipeline.errors import (
    BudgetReached,
    GaveUp,
    KeyRefused,
    ReplyError,
    SetupError,
    Transient,
    Unreachable,
    UsageError,
)
from pipeline.ledger import Ledger
from pipeline.limits import ATTEMPTS, Gate, Purse, dollars, refuse_unpriced
from pipeline.providers import Endpoint, Reply, Request, Settings, Shown, Usage
from pipeline.stages import Stage

REQUEST = Request("gemini", "m", "", (), None, Settings(max_output_tokens=100))
ENDPOINT = Endpoint("gemini", "m")
PRICE = catalogue.price_of({"input": 1, "output": 2})
Step = bytes | Exception


class Service:
    """Answers with what the script says, one step a call."""

    name, stored, reads_images = "gemini", True, True

    def __init__(self, *steps: Step, ceiling: Usage = Usage(input=1000, output=1000)) -> None:  # noqa: B008, it is frozen
        self.steps = list(steps)
        self.most = ceiling
        self.calls = 0

    def dialect(self, schema: object, level: str = "full") -> Mapping[str, Any] | None:
        return None

    def shown(self, request: Request) -> Shown:
        return Shown("POST", "http://127.0.0.1", {}, {})

    def ceiling(self, request: Request) -> Usage:
        return self.most

    async def send(self, request: Request) -> bytes:
        self.calls += 1
        step = self.steps.pop(0) if self.steps else b"{}"
        await asyncio.sleep(0)
        if isinstance(step, Exception):
            raise step
        return step

    def read(self, body: bytes) -> Reply:
        return Reply("{}")

    def restore(self, data: Any, request: Request) -> Any:
        return data

    async def aclose(self) -> None:
        pass


def gated(
    service: Service, work: Callable[[Gate], Any], *, cap: str | None = None, concurrency: int = 8
) -> tuple[Any, Ledger, list[float]]:
    """Run `work(gate)` on a clock that does not wait; its outcome, the ledger, and what was waited for."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await asyncio.sleep(0)

    async def run() -> tuple[Any, Ledger]:
        ledger = Ledger(None)
        purse = Purse(ledger, None if cap is None else Decimal(cap))
        gate = Gate(service, ENDPOINT, purse, price=PRICE, concurrency=concurrency, sleep=sleep)
        try:
            return await work(gate), ledger
        except Exception as error:  # noqa: BLE001, the tests look at it
            return error, ledger

    outcome, ledger = asyncio.run(run())
    return outcome, ledger, waited


def once(gate: Gate) -> Any:
    return gate.send(REQUEST, 1, 1)


def test_what_may_pass_is_tried_again_with_growing_full_jitter() -> None:
    service = Service(*[Transient("http_503", "busy")] * (ATTEMPTS - 1), b"answer")
    sent, _, waited = gated(service, once)
    assert sent.body == b"answer"
    assert service.calls == ATTEMPTS
    assert len(waited) == ATTEMPTS - 1
    assert all(seconds <= 2**n for n, seconds in enumerate(waited))


def test_tries_are_bounded_and_the_document_fails_with_its_reason() -> None:
    service = Service(*[Transient("http_503", "busy")] * 99)
    error, ledger, _ = gated(service, once)
    assert isinstance(error, GaveUp), "another endpoint may answer"
    assert error.reason == "http_503"
    assert service.calls == ATTEMPTS
    assert ledger.spent() == 0


def test_a_service_that_never_answered_ends_the_run_and_one_that_did_does_not() -> None:
    dead = Service(*[Transient("unreachable", "no route")] * 99)
    error, _, _ = gated(dead, once)
    assert isinstance(error, Unreachable)
    died = Service(b"{}", *[Transient("unreachable", "no route")] * 99)

    async def twice(gate: Gate) -> Any:
        await once(gate)
        return await once(gate)

    error, _, _ = gated(died, twice)
    assert type(error) is GaveUp


def test_what_is_final_is_not_tried_again() -> None:
    for failure in (ReplyError("http_400", "bad"), KeyRefused("no")):
        service = Service(failure)
        error, ledger, _ = gated(service, once)
        assert error is failure
        assert service.calls == 1
        assert ledger.spent() == 0


def test_what_every_document_would_meet_ends_the_run_while_nothing_was_answered() -> None:
    """A wrong address is told once; when a service has answered before, it is one document's trouble."""
    for reason in ("http_404", "redirect", "http_403", "unsupported_setting", "not_found_model"):
        error, _, _ = gated(Service(ReplyError(reason, "look there")), once)
        assert isinstance(error, SetupError)

    async def twice(gate: Gate) -> Any:
        await once(gate)
        return await once(gate)

    error, _, _ = gated(Service(b"{}", ReplyError("http_404", "look there")), twice)
    assert type(error) is ReplyError
    error, _, _ = gated(Service(b"{}", ReplyError("not_found_model", "gone")), twice)
    assert isinstance(error, SetupError)


def test_a_call_whose_outcome_is_unknown_stays_booked_at_its_reserve() -> None:
    service = Service(Transient("timeout", "lost", billed=True), b"{}")
    sent, ledger, _ = gated(service, once)
    assert sent.claimed == 3_000_000_000  # 1000 tokens in at 1, 1000 out at 2 USD per million
    assert ledger.spent() == 2 * sent.claimed


def test_the_real_cost_takes_the_place_of_the_reserve() -> None:
    async def work(gate: Gate) -> Any:
        sent = await once(gate)
        cost = await gate.book(sent, Usage(input=10, output=5, thoughts=1))
        return cost, gate.purse.spent

    (cost, spent), ledger, _ = gated(Service(), work)
    assert cost == spent == ledger.spent() == 22_000_000
    assert dollars(cost) == "0.000022"


def test_nothing_is_sent_that_could_pass_the_cap() -> None:
    service = Service()

    async def whole(gate: Gate) -> None:
        await gate.book_reserve(await once(gate))

    async def work(gate: Gate) -> Any:
        return await asyncio.gather(*(whole(gate) for _ in range(9)), return_exceptions=True)

    outcomes, ledger, _ = gated(service, work, cap="0.0095")  # three calls of at most 0.003 fit
    assert service.calls == 3
    assert sum(isinstance(each, BudgetReached) for each in outcomes) == 6
    assert ledger.spent() <= Decimal("0.0095") * 10**12
    told = str(next(each for each in outcomes if isinstance(each, BudgetReached)))
    assert "higher --budget continues" in told


@settings(deadline=None)
@given(
    cap=st.integers(0, 40),
    calls=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=25),
)
def test_the_bill_never_passes_the_cap(cap: int, calls: list[tuple[int, int, bool]]) -> None:
    """Whatever is reserved, used and lost: no call may start that could go over, so none does."""
    ledger = Ledger(None)
    purse = Purse(ledger, Decimal(cap))
    bill = 0
    for reserve, used, lost in calls:
        claimed = (reserve + used) * 10**12
        try:
            purse.claim(claimed)
        except BudgetReached:
            continue
        bill += used * 10**12
        if not lost:
            purse.settle(claimed, used * 10**12)
    assert bill <= cap * 10**12
    ledger.close()


@given(st.integers(0, 10**18))
def test_dollars_are_exact(amount: int) -> None:
    assert Decimal(dollars(amount)) * 10**12 == amount


def test_with_a_budget_an_unknown_price_is_refused_with_the_line_to_write() -> None:
    with pytest.raises(UsageError, match=r"price = \{ input"):
        refuse_unpriced(ENDPOINT, None, Decimal(5), allowed=False)
    refuse_unpriced(ENDPOINT, None, Decimal(5), allowed=True)
    refuse_unpriced(ENDPOINT, None, None, allowed=False)
    refuse_unpriced(Endpoint("local", "local"), None, Decimal(5), allowed=False)


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"service_tier": "flex"}, "the flex price"), ({"tools": ["google_search"]}, "price of a search")],
)  # fmt: skip
def test_a_budget_needs_the_prices_of_all_that_is_asked_for(
    settings: dict[str, Any], told: str
) -> None:
    """A tier or a tool without a price is as unknown as a model without one."""
    price = catalogue.price_of({"input": 1, "output": 1})
    stage = Stage("a", "x, y", model=ENDPOINT.name, **settings)
    with pytest.raises(UsageError, match=told):
        refuse_unpriced(ENDPOINT, price, Decimal(5), allowed=False, stages=[stage])
    refuse_unpriced(ENDPOINT, price, Decimal(5), allowed=False, stages=[stage.on("other:model")])


@pytest.mark.parametrize(
    "asked", [{}, {"service_tier": "priority"}, {"tools": ["google_search"]}], ids=str
)
def test_the_line_that_is_shown_gives_the_price_that_is_missing(asked: dict[str, Any]) -> None:
    """Put into the file as it stands, nothing is missing any more."""
    stage = Stage("bill", {"type": "object", "properties": {}}, **asked).on(ENDPOINT.name)
    price = catalogue.price_of({"input": 1, "output": 1}) if asked else None
    with pytest.raises(UsageError) as refused:
        refuse_unpriced(ENDPOINT, price, Decimal(5), allowed=False, stages=[stage])
    line = next(each for each in str(refused.value).splitlines() if "price = {" in each)
    written = PriceTable.model_validate(tomllib.loads(line)["price"])
    given = catalogue.price_of(written.rates())
    refuse_unpriced(ENDPOINT, given, Decimal(5), allowed=False, stages=[stage])


def test_a_budget_needs_the_price_of_long_prompts_too() -> None:
    """Where a tier's price for them is unknown, nothing could be set aside for one."""
    pro = catalogue.price(catalogue.find("gemini", "gemini-3.1-pro-preview"), date(2026, 11, 22))
    assert pro is not None
    assert pro.cost(input=300_000, tier="flex") is None
    flex = Stage("a", "x, y", model=ENDPOINT.name, service_tier="flex")
    with pytest.raises(UsageError, match="flex price of prompts above 200,000 tokens"):
        refuse_unpriced(ENDPOINT, pro, Decimal(5), allowed=False, stages=[flex])
    priority = Stage("a", "x, y", model=ENDPOINT.name, service_tier="priority")
    refuse_unpriced(ENDPOINT, pro, Decimal(5), allowed=False, stages=[priority])


@pytest.mark.parametrize(
    ("asked", "answered", "usd"),
    [("", "", "0.25"), ("flex", "", "0.125"), ("priority", "standard", "0.25"), ("priority", "", "0.45")],
)  # fmt: skip
def test_a_call_costs_what_the_tier_costs_at_which_it_was_answered(
    asked: str, answered: str, usd: str
) -> None:
    """The answer's own word decides, else what was asked for."""
    price = catalogue.price(catalogue.find("gemini", "gemini-3.1-flash-lite"), date(2026, 11, 22))
    gate = Gate(Service(), ENDPOINT, Purse(Ledger(None), None), price=price)
    cost = gate.cost(Usage(input=10**6, tier=answered), asked)
    assert cost is not None
    assert dollars(cost) == usd


@pytest.mark.parametrize("reason", ["not_json", "bad_reply", "answer_too_large"])
def test_a_success_that_is_no_answer_is_asked_again_once(reason: str) -> None:
    """Each was most likely paid; what may pass by itself is tried as often as ever."""
    service = Service(*[Transient(reason, "garbage", billed=True)] * 99)
    error, ledger, _ = gated(service, once)
    assert type(error) is GaveUp
    assert (error.reason, service.calls) == (reason, 2)
    assert "(tried 2 times)" in str(error)
    assert ledger.spent() == 2 * 3_000_000_000
    busy, garbage = Transient("http_503", "busy"), Transient(reason, "garbage", billed=True)
    service = Service(busy, busy, garbage, busy, b"answer")
    sent, _, _ = gated(service, once)
    assert (sent.body, service.calls) == (b"answer", ATTEMPTS)
    unpaid = Service(*[Transient(reason, "of an upload")] * 99)
    gated(unpaid, once)
    assert unpaid.calls == ATTEMPTS


def test_a_lost_connection_is_tried_as_often_as_ever() -> None:
    service = Service(*[Transient("connection_lost", "gone", billed=True)] * 99)
    gated(service, once)
    assert service.calls == ATTEMPTS


def test_a_dearer_tier_than_was_asked_for_is_booked_as_what_it_cost() -> None:
    """The reserve is that of the tier that was asked for; what the answer says is what is paid."""
    tiers = {"standard": {"input": 1, "output": 2}, "flex": {"input": "0.5", "output": 1}}
    asked = replace(REQUEST, settings=replace(REQUEST.settings, service_tier="flex"))

    async def work(gate: Gate) -> Any:
        gate.price = catalogue.price_of(tiers)
        sent = await gate.send(asked, 1, 1)
        told = await gate.book(sent, Usage(input=1000, output=1000, tier="standard"))
        return sent.claimed, told, gate.purse.spent

    (claimed, told, spent), ledger, _ = gated(Service(), work)
    assert (claimed, told) == (1_500_000_000, 3_000_000_000)
    assert spent == told == ledger.spent()


def test_what_calls_on_their_way_turn_out_to_cost_makes_room_before_a_budget_ends_the_run() -> None:
    """Each sets 0.003 USD aside and takes a hundredth of it: all ten fit, though not at the same time."""

    async def buy(gate: Gate) -> None:
        sent = await once(gate)
        await gate.book(sent, Usage(input=10, output=10))

    async def ten(gate: Gate) -> None:
        await asyncio.gather(*(buy(gate) for _ in range(10)))

    outcome, ledger, _ = gated(Service(), ten, cap="0.004")
    assert outcome is None
    assert dollars(ledger.spent()) == "0.0003"


def test_calls_whose_cost_stays_unknown_make_no_room_and_nobody_waits_for_them() -> None:
    lost = Service(*[Transient("timeout", "late", billed=True)] * 99)
    failure, ledger, _ = gated(lost, once, cap="0.004")
    assert isinstance(failure, BudgetReached)
    assert dollars(ledger.spent()) == "0.003"

    class Broken(Service):
        async def send(self, request: Request) -> bytes:
            raise RuntimeError("our own fault")

    async def thrice(gate: Gate) -> list[Any]:
        return await asyncio.gather(*(once(gate) for _ in range(3)), return_exceptions=True)

    found, _, _ = gated(Broken(), thrice, cap="0.004")
    assert [type(each) for each in found] == [RuntimeError, BudgetReached, BudgetReached]
