"""The cap in real runs: what the server bills stays under it, whatever the prices, sizes, losses and kills."""

import random
import secrets
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tests.accounts import check
from tests.answers import Answer, Seen
from tests.runs import FIELDS, Till, env, receipts, started, statuses, truth, wait_until
from tests.server import Server

DOCUMENTS = 16
#: Another try comes at once: what is tested is money, not patience.
AT_ONCE = "import random; random.uniform = random.Random.uniform = lambda *_: 0.01"


class Shop:
    """A service with prices of its own, that loses some answers after it has made (and billed) them."""

    def __init__(self, work: Path, chance: random.Random) -> None:
        self.work = receipts(work, DOCUMENTS)
        self.chance = chance
        self.prices = (money(chance, 0.01, 3), money(chance, 0.1, 15))
        self.longest = chance.choice((64, 500, 8192))
        self.jobs = chance.randint(1, 12)
        self.losing = chance.choice((0.0, 0.05, 0.2))
        self.till = Till(self.prices)
        self.delivered: Counter[str] = Counter()
        self.server = Server(self._answer)
        (work / "pipeline.toml").write_text(
            f'[run]\ninput = "inbox"\noutput = "out"\nmodel = "mine"\njobs = {self.jobs}\n'
            f'[models.mine]\nmodel = "gemini-of-mine"\n'
            f"price = {{ input = {self.prices[0]}, output = {self.prices[1]} }}\n"
            f'[[stage]]\nname = "r"\nschema = "{FIELDS}"\nmax_output_tokens = {self.longest}\n'
        )

    def _answer(self, seen: Seen) -> Answer:
        answer = truth(seen)
        used = answer.body["usageMetadata"]
        used["candidatesTokenCount"] = self.chance.randint(
            1, self.longest - used["thoughtsTokenCount"]
        )
        self.till.ring(answer)
        if self.chance.random() < self.losing:
            return replace(answer, fault=self.chance.choice(("reset", "half")))
        self.delivered[seen.fingerprint] += 1
        return answer

    def run(self, cap: Decimal, *, kill_after: int = 0) -> int:
        """A run under a cap; its exit code. `kill_after` so many requests it is killed."""
        with started(
            self.work, env(self.server), "--budget", str(cap), arguments=("run",), patch=AT_ONCE
        ) as client:
            if kill_after:
                wait_until(
                    lambda: (
                        len(self.server.requests) >= kill_after or client.process.poll() is not None
                    )
                )
                client.process.kill()
            code = client.end(120)
            assert "Traceback" not in client.told, client.told
        self.server.wait_for_silence()
        return code


def money(chance: random.Random, least: float, most: float) -> Decimal:
    return Decimal(f"{chance.uniform(least, most):.4f}")


def played(work: Path, seed: int) -> Decimal:
    """One run that may be killed, one that stops at its cap or comes to its end, one with a higher cap.

    The bill minus the cap, of the first two.
    """
    chance = random.Random(seed)
    shop = Shop(work, chance)
    dearest = shop.prices[1] * shop.longest / 10**6
    cap = (dearest * money(chance, 1.5, DOCUMENTS)).quantize(Decimal("0.000001"))
    with shop.server:
        was_killed = chance.random() < 0.4
        if was_killed:
            shop.run(cap, kill_after=chance.randint(1, DOCUMENTS // 2))
        code = shop.run(cap)
        over = shop.till.bill - cap
        before = statuses(work)
        assert code == (3 if "over_budget" in before else 1 if "failed" in before else 0)
        print(
            f"seed {seed}: jobs {shop.jobs}, losing {shop.losing}, cap {cap}, bill {shop.till.bill}, {before}"
        )
        stored = dict(shop.delivered)
        assert shop.run(cap * 1000) in {0, 1}
        assert shop.till.bill <= cap * 1000
    now = statuses(work)
    assert now["valid"] >= before.get("valid", 0)
    assert set(now) <= {"valid", "failed"}
    assert check(work / "out", [f"{number:04}.txt" for number in range(DOCUMENTS)]) == []
    again = [print_ for print_, count in stored.items() if shop.delivered[print_] > count]
    assert len(again) <= was_killed * shop.jobs, "what was answered and kept is not bought again"
    return over


def test_the_bill_stays_under_the_cap_and_a_higher_one_continues(tmp_path: Path) -> None:
    assert played(tmp_path, seed=secrets.randbelow(10**6)) <= 0


@pytest.mark.long
def test_the_bill_stays_under_the_cap_in_twenty_runs(tmp_path: Path) -> None:
    first = secrets.randbelow(10**6)
    over = [played(tmp_path / str(seed), seed) for seed in range(first, first + 20)]
    print(f"20 runs from seed {first}: bill minus cap at most {max(over)} USD")
    assert max(over) <= 0
