"""What a seed decides: documents, prices, quotas, faults and storms, crashes and stops."""

import random
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from pipeline.catalogue import Price, Rates
from pipeline.stages import ServiceTier

Weather = Literal["429", "wait", "date", "503", "500", "502", "dns", "refused", "reset", "silent"]
#: What becomes of one answer: the last seven are generated and billed, and never arrive whole.
Fault = Literal[
    "dns", "reset_before", "reset_upload", "429", "503", "500", "502",
    "reset_after", "half", "cut", "length", "hang", "drip", "garbage",
]  # fmt: skip
FREE_FAULTS: tuple[Fault, ...] = ("dns", "reset_before", "reset_upload", "429", "503", "500", "502")
LOST: tuple[Fault, ...] = ("reset_after", "half", "cut", "length", "hang", "drip", "garbage")
Kind = Literal["valid", "invalid", "refused", "truncated", "unreadable"]


@dataclass(frozen=True)
class Storm:
    """A time in which no request fares well."""

    weather: Weather
    begin: float
    end: float


@dataclass(frozen=True)
class Paper:
    """A document: what it says, how long it is, and what becomes of it."""

    path: str
    number: int
    kind: Kind
    filler: int

    @property
    def content(self) -> bytes:
        """The file."""
        if self.kind == "unreadable":
            return b"\0" * 8
        line = "Goods as delivered, thank you for your order.\n"
        filler = (line * (1 + self.filler // len(line)))[: self.filler]
        told = f"Receipt No: R-{self.number:04}\nTotal {self.number}.50 EUR\n"
        return (told + filler).encode()


@dataclass(frozen=True)
class Scene:
    """All that a seed decides beforehand.

    `quota` is requests a minute, counted by the service as `form` says; `told` whether the run knows
    it. `faults` is the share of requests that meet one, `lost` how many of these are billed. `cap` is
    the budget of the first run in USD. `crashes` are the loop's steps after which a process dies,
    `stops` the seconds after which one is told to stop; one of them a process, in the order of `ends`.
    """

    seed: int
    papers: tuple[Paper, ...]
    jobs: int
    price: Price
    tier: ServiceTier | None = None
    output_tokens: int = 1024
    latency: float = 1.0
    quota: int = 1_000_000
    form: Literal["bucket", "minute", "window"] = "window"
    told: bool = False
    faults: float = 0.0
    lost: float = 0.5
    storms: tuple[Storm, ...] = ()
    cap: Decimal | None = None
    ends: tuple[tuple[Literal["crash", "stop"], float], ...] = ()

    def rng(self, *names: object) -> random.Random:
        """A stream of chance of its own; from a text, so that it is the same in every process."""
        return random.Random(f"{self.seed} {names}")

    def weather(self, now: float) -> Weather | None:
        """The storm of this moment."""
        return next((s.weather for s in self.storms if s.begin <= now < s.end), None)


def scene(seed: int) -> Scene:
    """A world with everything in it."""
    rng = random.Random(f"scene {seed}")
    quota = rng.choice((60, 120, 300, 600, 1_000_000))
    papers = _papers(rng, rng.randint(10, 40))
    made = Scene(
        seed=seed,
        papers=papers,
        jobs=rng.choice((1, 2, 4, 8, 16, 32)),
        price=_price(rng),
        tier=rng.choice((None, "flex", "priority")),
        output_tokens=rng.choice((64, 1024, 8192)),
        latency=rng.choice((0.2, 1.0, 5.0, 30.0)),
        quota=quota,
        form=rng.choice(("bucket", "minute", "window")),
        told=quota < 1_000_000 and rng.random() < 0.5,
        faults=rng.choice((0.0, 0.02, 0.1)),
        storms=_storms(rng),
        ends=_ends(rng),
    )
    share = rng.choice((None, None, None, 0.0, 0.1, 0.5))
    cap = None if share is None else _worth(made, papers) * Decimal(share)
    return replace(made, cap=cap)


def till(seed: int) -> Scene:
    """A world about money: a cap that the run meets, random prices and sizes, answers that get lost."""
    rng = random.Random(f"till {seed}")
    papers = _papers(rng, rng.randint(6, 16))
    made = Scene(
        seed=seed,
        papers=papers,
        jobs=rng.choice((1, 2, 3, 5, 8, 16)),
        price=_price(rng),
        tier=rng.choice((None, "flex", "priority")),
        output_tokens=rng.choice((16, 64, 300, 1024, 8192)),
        latency=rng.uniform(0.1, 3.0),
        faults=rng.choice((0.0, 0.1, 0.4)),
        lost=0.9,
        ends=_ends(rng) if rng.random() < 0.3 else (),
    )
    return replace(made, cap=_worth(made, papers) * Decimal(rng.uniform(0.05, 0.9)))


def _papers(rng: random.Random, count: int) -> tuple[Paper, ...]:
    kinds: tuple[Kind, ...] = ("valid",) * 16 + ("invalid", "refused", "truncated", "unreadable")
    made = [
        Paper(f"{n:03}.txt", n, rng.choice(kinds), rng.choice((0, 50, 500, rng.randrange(5_000))))
        for n in range(count)
    ]
    # Equal documents under two names: one answer serves both.
    twins = [replace(paper, path=f"twin-{paper.path}") for paper in rng.sample(made, count // 10)]
    return (*made, *twins)


def _price(rng: random.Random) -> Price:
    """Rates with up to nine decimals; a flex one is no dearer than standard, which is no dearer than priority."""

    def rates() -> Rates:
        plain = Decimal(rng.randint(1, 10**5)) / 10 ** rng.randint(2, 9)
        dear = plain * rng.randint(1, 20)
        cached = rng.choice((None, plain / 10, plain))
        return Rates(input=plain, output=dear, cached=cached)

    standard = rates()
    factors = {"flex": Decimal("0.5"), "standard": Decimal(1), "priority": Decimal("1.8")}
    tiers = {name: standard.times(factor) for name, factor in factors.items()}
    above = rng.choice((None, 800, 4000))
    long = {name: rate.times(Decimal(2)) for name, rate in tiers.items()} if above else {}
    return Price(rates=tiers, long=long, long_above=above)


def _storms(rng: random.Random) -> tuple[Storm, ...]:
    kinds: tuple[Weather, ...] = (
        "429", "wait", "date", "503", "500", "502", "dns", "refused", "reset", "silent",
    )  # fmt: skip
    begins = [rng.uniform(0, 60) for _ in range(rng.choice((0, 0, 1, 1, 2)))]
    return tuple(Storm(rng.choice(kinds), b, b + rng.uniform(2, 45)) for b in begins)


def _ends(rng: random.Random) -> tuple[tuple[Literal["crash", "stop"], float], ...]:
    """How the first processes end, one after the other; the last one comes to its own end."""
    ends: list[tuple[Literal["crash", "stop"], float]] = []
    for _ in range(rng.choice((0, 1, 2, 4, 6))):
        if rng.random() < 0.75:
            ends.append(("crash", int(10 ** rng.uniform(0.5, 3.2))))
        else:
            ends.append(("stop", rng.uniform(0, 40)))
    return tuple(ends)


def _worth(scene: Scene, papers: tuple[Paper, ...]) -> Decimal:
    """About the most that all documents can cost."""
    rates = scene.price.rates[scene.tier or "standard"]
    each = (
        (len(paper.content) + 1500) * rates.input + scene.output_tokens * rates.output
        for paper in papers
    )
    return sum(each, Decimal(0)) / 10**6
