"""How fast rules are: rules judged a second over an invoice of so many rows, and the share of judging that they take.

python benchmarks/rules.py [--rows 1000] [--times 5]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from pipeline.judge import judge
from pipeline.rules import Check, Rule, verdicts
from pipeline.schema import Schema
from pipeline.stages import Stage

NUMBER = {"type": ["number", "null"]}
SCHEMA = Schema.of(
    {
        "type": "object",
        "properties": {
            "net": NUMBER,
            "vat": NUMBER,
            "total": NUMBER,
            "issued": {"type": "string", "format": "date"},
            "due": {"type": "string", "format": "date"},
            "iban": {"type": "string"},
            "lines": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"quantity": NUMBER, "price": NUMBER, "amount": NUMBER},
                },
            },
        },
    }
)
RULES = (
    "net + vat == total",
    "issued <= due",
    "iban",
    "sum(lines.amount) == net",
    "lines.quantity * lines.price == lines.amount",
    "lines.amount <= sum(lines.amount)",
)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    lines = [
        {"quantity": n % 9, "price": 1.1, "amount": n % 9 * 11 / 10} for n in range(given.rows)
    ]
    net = sum(Decimal(repr(line["amount"])) for line in lines)
    data = {
        "net": float(net),
        "vat": 19.19,
        "total": float(net + Decimal("19.19")),
        "issued": "2024-01-31",
        "due": "2024-02-14",
        "iban": "DE89 3704 0044 0532 0130 00",
        "lines": lines,
    }
    print(f"{'rule':<46} {'milliseconds':>12} {'judged':>8} {'a second':>10}")
    for rule in RULES:
        rules = Stage("invoice", SCHEMA, validate=[rule]).validate
        told = list(verdicts(rules, data))
        if not told or not all(each.holds for each in told):
            raise SystemExit(f"{rule} does not hold: the figures would be those of findings")
        seconds = best(partial(_judged, rules, data), given.times)
        print(f"{rule:<46} {seconds * 1000:>12.2f} {len(told):>8} {len(told) / seconds:>10,.0f}")
    without = best(lambda: judge(Stage("x", SCHEMA), data), given.times)
    whole = Stage("invoice", SCHEMA, validate=list(RULES))
    with_rules = best(lambda: judge(whole, data), given.times)
    spent = f"{with_rules * 1000:.1f} with all six rules, {without * 1000:.1f} without"
    print(f"judging {given.rows} rows, milliseconds: {spent}")
    made = best(lambda: Stage("invoice", SCHEMA, validate=list(RULES)), given.times)
    print(f"reading the six rules: {made * 1000:.2f} ms")


def _judged(rules: Sequence[Rule | Check], data: Any) -> int:
    return sum(each.holds for each in verdicts(rules, data))


def best(work: Callable[[], object], times: int) -> float:
    """The seconds of the fastest try."""
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


if __name__ == "__main__":
    main()
