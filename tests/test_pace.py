"""Quotas are kept and used, known or not; pauses hold for all; the day's end ends the run cleanly."""

import asyncio
import random
import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import catalogue
from pipeline.errors import QuotaReached, Transient
from pipeline.limits import Gate, Pace, Purse
from pipeline.limits.days import midnight
from pipeline.limits.expected import Expected
from pipeline.limits.lane import Lane
from pipeline.limits.pace import Held, Taken, pace_of
from pipeline.limits.window import Entry, Window
from pipeline.providers import Endpoint, Rates
from tests.clock import run
from tests.quotas import KINDS, REQUEST, Books, Bucket, QuotaService, ask, gate_to, numbered


def seconds_of(service: QuotaService, count: int, rates: Rates, **options: Any) -> float:
    """How long so many requests took; all of them must be answered."""

    async def work() -> float:
        began = asyncio.get_running_loop().time()
        outcomes = await ask(gate_to(service, rates, **options), numbered(count))
        assert not [each for each in outcomes if isinstance(each, Exception)]
        return asyncio.get_running_loop().time() - began

    return run(work())


def test_the_wait_that_a_service_asks_for_is_kept_by_every_request() -> None:
    service = QuotaService()
    failures = [Transient("http_429", "slow down", wait=30.0)]
    service.storm = lambda _: failures.pop() if failures else None
    seconds_of(service, 4, Rates(), concurrency=1)
    assert len(service.let_in) == 4
    assert all(at >= service.refused[0] + 30 for at, _ in service.let_in)


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_quota_of_requests_is_used_and_never_passed(kind: str) -> None:
    """However the service counts: 97 % of it, evenly."""
    service = QuotaService(KINDS[kind](600))
    took = seconds_of(service, 900, Rates(rpm=600))
    assert 900 / (10 + 10 * took) >= 0.95
    assert service.refused == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_quota_of_tokens_is_used_and_never_passed(kind: str) -> None:
    sizes = random.Random(3).choices([300, 1000, 3000], k=900)
    quota = int(sum(sizes) / 900 * 600)
    service = QuotaService(None, KINDS[kind](quota), took=lambda r: sizes[int(r.system)])
    took = seconds_of(service, 900, Rates(tpm=quota))
    assert sum(sizes) / (quota / 60 * (1 + took)) >= 0.95
    assert service.refused == []


def test_an_unknown_quota_of_requests_is_learned() -> None:
    """Nearly all of it is used, and few requests are refused on the way."""
    service = QuotaService(Bucket(600))
    took = seconds_of(service, 900, Rates())
    assert 900 / (10 + 10 * took) >= 0.95
    assert len(service.refused) <= 0.05 * 900


def test_an_unknown_quota_of_tokens_is_learned() -> None:
    sizes = random.Random(3).choices([300, 1000, 3000], k=900)
    quota = int(sum(sizes) / 900 * 600)
    service = QuotaService(None, Bucket(quota), took=lambda r: sizes[int(r.system)])
    took = seconds_of(service, 900, Rates())
    assert sum(sizes) / (quota / 60 * (1 + took)) >= 0.95
    assert len(service.refused) <= 0.05 * 900


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
def test_a_quota_that_is_counted_by_the_minute_is_learned(kind: str) -> None:
    service = QuotaService(KINDS[kind](600))
    took = seconds_of(service, 1500, Rates())
    assert 1500 / (10 * took) >= 0.95
    assert len(service.refused) <= 0.05 * 1500


# the limiter ------------------------------------------------------------------------------

AMOUNTS = st.lists(st.tuples(st.integers(0, 900), st.integers(-300, 300)), min_size=1, max_size=60)


@given(limit=st.integers(1, 600), taken=AMOUNTS, waits=st.lists(st.floats(0, 90), max_size=60))
def test_no_window_ever_holds_more_than_its_limit(
    limit: int, taken: list[tuple[int, int]], waits: list[float]
) -> None:
    """What is known only afterwards counts at the time when it was taken; what is too large goes alone."""
    window, now = Window(60.0), 0.0
    log: list[Entry] = []
    for number, (amount, _) in enumerate(taken):
        now += waits[number] if number < len(waits) else 0.0
        while (wait := window.wait(now, amount, limit)) > 0:
            now = max(now + wait, now + 1e-9)
        entry = window.add(now, amount)
        log.append(entry)
        counted = sum(each.amount for each in log if each.at + 60 > now)
        assert counted <= limit or (amount > limit and counted == amount)
        assert window.total == counted
        less = max(0, amount + min(0, taken[number][1]))
        window.correct(entry, less)


@settings(max_examples=40, deadline=None)
@given(
    rpm=st.integers(1, 900),
    tpm=st.one_of(st.none(), st.integers(100, 100_000)),
    sizes=st.lists(st.integers(0, 150_000), min_size=1, max_size=80),
    real=st.floats(0.0, 2.0),
)
def test_no_minute_holds_more_than_the_share_of_the_quota_and_nobody_starves(
    rpm: int, tpm: int | None, sizes: list[int], real: float
) -> None:
    """Whatever was estimated and whatever it turned out to be; in the order in which they came."""
    pace, now = Pace(), 0.0
    pace.tell(Rates(rpm=rpm, tpm=tpm), None)
    log: list[Taken] = []
    line = [(pace.join(now), size) for size in sizes]
    for ticket, size in line:
        while isinstance(held := pace.take(ticket, now, size, 0), Held):
            assert held.seconds <= 121
            now += held.seconds
        log.append(held)
        recent = [each for each in log if each.at + 60 > now]
        assert len(recent) <= max(1, int(0.97 * rpm))
        if tpm is not None:
            tokens = sum(each.tokens.amount for each in recent)
            assert tokens <= max(1, int(0.97 * tpm)) or tokens - size == 0
        pace.answered(held)
        pace.correct(held, tokens=int(size * real) if real < 1 else size)


def test_a_large_request_is_not_overtaken_for_ever() -> None:
    service = QuotaService(took=lambda r: 900 if r.system == "5" else 20)

    async def work() -> list[str]:
        gate = gate_to(service, Rates(tpm=1000), concurrency=20)
        outcomes = await ask(gate, numbered(20))
        assert all(not isinstance(each, Exception) for each in outcomes)
        return [str(tokens) for _, tokens in service.let_in]

    assert run(work()).index("900") == 5


def test_a_request_larger_than_a_minute_goes_alone() -> None:
    service = QuotaService(took=lambda r: 5000 if r.system == "1" else 10)
    seconds_of(service, 3, Rates(tpm=1000), concurrency=1)
    times = [at for at, _ in service.let_in]
    assert [tokens for _, tokens in service.let_in] == [10, 5000, 10]
    assert times[1] - times[0] >= 60
    assert times[2] - times[1] >= 60


def test_the_pace_is_even_so_that_no_way_of_counting_refuses() -> None:
    lane, now = Lane(), 0.0
    times: list[float] = []
    lane.quota = 600
    while len(times) < 2000:
        wait, _ = lane.wait(now, 1)
        now += wait
        if wait <= 0:
            lane.take(now, 1)
            times.append(now)
    assert max(sum(t <= each < t + 1 for each in times) for t in times) <= 15
    assert all(sum(t <= each < t + 60 for each in times) <= 582 for t in times[::50])


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=40), st.integers(0, 2000))
def test_what_is_expected_follows_what_was_taken(sizes: list[int], fixed: int) -> None:
    """Never above the highest; for requests like those before it a little above the truth."""
    expected = Expected()
    assert expected.of(1234) == 617
    for size in sizes:
        expected.learn(4 * size + 4 * fixed, size + fixed)
    for size in sizes:
        told = expected.of(4 * size + 4 * fixed)
        assert (
            0.99 * (size + fixed) - 1 <= told <= min(1.1 * (size + fixed) + 1, 4 * (size + fixed))
        )


# pauses and failures ----------------------------------------------------------------------


def storm_of(seconds: tuple[float, float], wait: float | None) -> Any:
    """429 to everything between two moments of the run; with `wait` it says until when."""

    def told(now: float) -> Transient | None:
        if not seconds[0] <= now - 1000 < seconds[1]:
            return None
        left = seconds[1] - (now - 1000)
        return Transient("http_429", "no", wait=None if wait is None else left * wait)

    return told


@pytest.mark.parametrize("rates", [Rates(rpm=600), Rates()], ids=["known", "learned"])
@pytest.mark.parametrize("wait", [None, 1.0, 0.3], ids=["untold", "told", "told too little"])
def test_a_storm_of_refusals_loses_nothing_and_is_over_when_it_is_over(
    rates: Rates, wait: float | None
) -> None:
    """Half a minute of 429: the whole process pauses, few requests are wasted, and it goes on as before."""
    service = QuotaService(Bucket(600))
    service.storm = storm_of((20, 50), wait)
    seconds_of(service, 600, rates, concurrency=16)
    times = [at - 1000 for at, _ in service.let_in]
    in_storm = [at for at in service.refused if 1020 <= at < 1050]
    assert len(in_storm) <= 30
    after = sum(60 <= at < 70 for at in times)
    before = sum(10 <= at < 20 for at in times)
    assert after >= 0.9 * before


def test_a_service_that_refuses_for_ever_ends_the_run_as_a_quota() -> None:
    service = QuotaService()
    service.storm = lambda _: Transient("http_429", "no")

    async def work() -> tuple[list[Any], float]:
        outcomes = await ask(gate_to(service, Rates()), numbered(60))
        return outcomes, asyncio.get_running_loop().time() - 1000

    outcomes, took = run(work())
    assert all(isinstance(each, QuotaReached) for each in outcomes)
    assert "refused every request for 10 minutes" in str(outcomes[0])
    assert took <= 700


def test_a_quota_that_is_used_up_is_heard_once() -> None:
    """What the service told one request holds for all that wait behind it."""
    service = QuotaService()
    service.storm = lambda _: QuotaReached("the quota of the day is used up")

    async def work() -> list[Any]:
        return await ask(gate_to(service, Rates(), concurrency=1), numbered(50))

    assert all(isinstance(each, QuotaReached) for each in run(work()))
    assert len(service.refused) == 1


def test_other_gates_of_the_process_keep_the_same_pace() -> None:
    """Fifty calls of the library at once are one user to the service."""
    service = QuotaService(Bucket(600))

    async def work() -> float:
        gates = [gate_to(service, Rates(rpm=600), concurrency=1) for _ in range(50)]
        assert len({id(gate.pace) for gate in gates}) == 1
        began = asyncio.get_running_loop().time()
        done = await asyncio.gather(*(ask(gate, numbered(4)) for gate in gates))
        assert not [each for some in done for each in some if isinstance(each, Exception)]
        return asyncio.get_running_loop().time() - began

    assert run(work()) <= 200 / 9.7 * 1.1
    assert service.refused == []


def test_threads_share_a_pace_and_other_keys_do_not() -> None:
    found: list[Pace] = []

    async def look(key: str) -> None:
        found.append(pace_of(Endpoint("gemini", "shared", key=key), asyncio.get_running_loop()))

    for key in ("one", "one", "two"):
        thread = threading.Thread(target=lambda key=key: asyncio.run(look(key)))
        thread.start()
        thread.join()
    assert found[0] is found[1]
    assert found[0] is not found[2]


def test_a_pace_is_safe_between_threads() -> None:
    pace, now = Pace(), 0.0
    pace.tell(Rates(rpm=100), None)
    taken: list[Taken] = []

    def work() -> None:
        for _ in range(100):
            ticket = pace.join(now)
            held = pace.take(ticket, now, 1, 0)
            if isinstance(held, Taken):
                taken.append(held)
            else:
                pace.leave(ticket)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) <= 97
    assert pace.requests.window.total == len(taken)


def test_who_has_gone_without_a_word_holds_nobody_up() -> None:
    """A notebook's loop can be stopped in the middle of a wait."""
    pace = Pace()
    pace.join(0.0)
    ticket = pace.join(0.0)
    now = 0.0
    while isinstance(held := pace.take(ticket, now, 1, 0), Held):
        now += held.seconds
    assert now < 10


# days, money, restarts --------------------------------------------------------------------


def test_the_quota_of_a_day_ends_the_run_and_counts_over_restarts() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
    earlier = [(midnight(now) - 10, 1, 0), *[(now - 3600, 10, 0)] * 7]
    books = Books(*earlier)
    service = QuotaService()

    async def work() -> list[Any]:
        gate = gate_to(service, Rates(rpd=10), concurrency=1, books=books)
        gate.wall = lambda: now
        return await ask(gate, numbered(5))

    outcomes = run(work())
    assert len(service.let_in) == 3, "yesterday's call does not count"
    assert [type(each) for each in outcomes[3:]] == [QuotaReached] * 2
    assert "10 of 10 requests a day are used" in str(outcomes[3])
    assert "continues after 2026-11-23 08:00 UTC" in str(outcomes[3])


def test_the_day_of_google_begins_at_midnight_pacific_time() -> None:
    for when, began in (
        (datetime(2026, 7, 1, 6, 59, tzinfo=UTC), datetime(2026, 6, 30, 7, tzinfo=UTC)),
        (datetime(2026, 7, 1, 7, 0, tzinfo=UTC), datetime(2026, 7, 1, 7, tzinfo=UTC)),
        (datetime(2026, 1, 1, 7, 59, tzinfo=UTC), datetime(2025, 12, 31, 8, tzinfo=UTC)),
    ):
        assert midnight(when.timestamp()) == began.timestamp()


@pytest.mark.parametrize("shift", [0.0, 86400.0, -86400.0], ids=["", "a day ahead", "a day back"])
def test_a_restart_does_not_burst_and_a_clock_that_was_set_does_not_stall(shift: float) -> None:
    """Calls of the last minute count, as far as the wall clock tells; for a minute at most."""
    wall = 1_800_000_000.0
    books = Books(*((wall - 30 + n / 100, 10, 0) for n in range(90)))
    service = QuotaService(took=lambda _: 10)

    async def work() -> None:
        gate = gate_to(service, Rates(rpm=100), concurrency=1, books=books)
        gate.wall = lambda: wall + shift
        await ask(gate, numbered(10))

    run(work())
    times = [at - 1000 for at, _ in service.let_in]
    assert max(times) <= {0.0: 40, 86400.0: 10, -86400.0: 70}[shift]
    assert sum(at < 29 for at in times) == {0.0: 7, 86400.0: 10, -86400.0: 7}[shift]


def test_a_spend_limit_waits_until_enough_of_ten_minutes_has_passed() -> None:
    """A dollar in ten minutes, a quarter for each call: the fifth waits, and one sees why."""
    service = QuotaService(took=lambda _: 250_000, most=lambda tokens: tokens)
    waiting = []

    async def work() -> None:
        gate = gate_to(service, Rates(spend=Decimal(1)), concurrency=1)
        gate.price = catalogue.price_of({"input": 1, "output": 0})
        asking = asyncio.ensure_future(ask(gate, numbered(6)))
        await asyncio.sleep(100)
        waiting.append(gate.waiting)
        await asking
        waiting.append(gate.waiting)

    run(work())
    times = [at - 1000 for at, _ in service.let_in]
    assert times[3] < 5
    assert times[4] == pytest.approx(600, abs=2)
    assert waiting[0] is not None
    assert "spend limit" in waiting[0].why
    assert waiting[1] is None


@pytest.mark.parametrize(
    ("rates", "wait", "why"),
    [
        (Rates(), 26.0, "the service asked for 26 s (429)"),
        (Rates(tpm=1000), None, "quota: 1,000 tokens a minute are used"),
        (Rates(rpm=4), None, ""),
    ],
    ids=["pause", "tokens", "pacing"],
)
def test_what_is_waited_for_is_told(rates: Rates, wait: float | None, why: str) -> None:
    service = QuotaService(took=lambda _: 900)
    failures = [Transient("http_429", "no", wait=wait)] if wait else []
    service.storm = lambda _: failures.pop() if failures else None

    async def work() -> None:
        gate = gate_to(service, rates, concurrency=1)
        asking = asyncio.ensure_future(ask(gate, numbered(2)))
        await asyncio.sleep(5)
        assert (gate.waiting.why if gate.waiting else "") == why
        await asking

    run(work())


def test_a_request_that_is_cancelled_on_its_way_stays_reserved() -> None:
    """Nobody knows what became of it: its money is not given out again, in this process or the next."""
    service, books = QuotaService(latency=100), Books()

    async def work() -> int:
        gate = gate_to(service, Rates(), concurrency=1, books=books)
        gate.price = catalogue.price_of({"input": 1, "output": 0})
        sending = asyncio.ensure_future(gate.send(REQUEST, 1, 1))
        await asyncio.sleep(1)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert gate.flight.busy == 0
        return gate.purse.spent

    assert run(work()) == 4000 * 10**6
    assert books.calls[1][:2] == [4000 * 10**6, "sent"]


def test_what_another_endpoint_sets_aside_meanwhile_does_not_end_the_run_at_its_budget() -> None:
    """Under the cap there is room for what one can cost at most; what they take in truth all fits."""

    async def work() -> list[Any]:
        ledger: Any = Books()
        purse = Purse(ledger, Decimal("0.0075"))
        price = catalogue.price_of({"input": 1, "output": 2})

        def gate(name: str, rates: Rates) -> Gate:
            endpoint = Endpoint("gemini", name, key="k", rates=rates)
            return Gate(QuotaService(latency=1.0), endpoint, purse, price=price, concurrency=4)

        async def while_the_first_waits_for_its_pace() -> list[Any]:
            await asyncio.sleep(2)
            return await ask(gate("other", Rates()), numbered(1))

        slow = ask(gate("slow", Rates(rpm=20)), numbered(3))
        both = await asyncio.gather(slow, while_the_first_waits_for_its_pace())
        return [*both[0], *both[1]]

    found = run(work())
    assert [type(each).__name__ for each in found] == ["Sent"] * 4
