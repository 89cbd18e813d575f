"""What it costs to let a cheap model answer and a strong one mend: against the arithmetic minimum, and the strong one alone.

    PYTHONPATH=. python benchmarks/escalation.py [--documents 200] [--failing 0.05] [--hard 0.4] [--seed 7]

The mix: documents of 4 pages with 12 leaves; in a share `failing` of them gemini-3.1-flash-lite says one leaf
wrongly (below zero, which the schema forbids), and of these the share `hard` stays wrong when it is asked
again (`repair = 1`); gemini-3.1-pro-preview says all rightly. A local server answers so; tokens are four bytes of
text each, on both sides, as the server counts them, prices those of the catalogue. Printed are final errors and
the money of

    run      what was paid in all
    minimum  each document once at the cheap model, and for each wrong leaf one question, at the cheapest model
             that answers it rightly, with nothing in it but the system and prompt of the stage, the page
             of the leaf, its schema, and the value as the answer: no marks, no findings, no failed tries
    strong   each document once at the strong model alone
"""

import argparse
import json
import os
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from repair import made

from pipeline import catalogue
from pipeline.schema import Schema
from pipeline.schema.dialects import compile as compiled
from pipeline.schema.parts import leaves_of
from pipeline.stages import PROMPT, SYSTEM, Stage
from tests.mending import Models, answered, text_document
from tests.server import Server

CHEAP, STRONG = "gemini-3.1-flash-lite", "gemini-3.1-pro-preview"
PAGES = 4


def price(model: str, tokens_in: int, tokens_out: int) -> Decimal:
    """Dollars at the catalogue's price of today."""
    known = catalogue.price(catalogue.find("gemini", model), datetime.now(UTC).date(), "")
    cost = known and known.cost(input=tokens_in, output=tokens_out)
    if cost is None:
        raise SystemExit(f"the price of {model} is not known")
    return Decimal(str(cost))


def tokens(*texts: str) -> int:
    """Tokens as the test server counts them."""
    return sum(len(text.encode()) // 4 for text in texts)


def least(model: str, page: str, body: Any, name: str, value: float) -> Decimal:
    """The price of the smallest question for one leaf."""
    sent = compiled(leaves_of(Schema.of(body), [f"/{name}"]))
    return price(
        model, tokens(SYSTEM, PROMPT, page, json.dumps(sent)), tokens(f'{{"f1": {value}}}')
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Money of a cheap model that a strong one mends.")
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--failing", type=float, default=0.05)
    parser.add_argument("--hard", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    os.environ["GEMINI_API_KEY"] = "none-is-needed"  # noqa: TID251, for the benchmark's own server
    chance = random.Random(given.seed)  # noqa: S311, the same each time
    order = list(range(given.documents))
    chance.shuffle(order)
    failing = set(order[: round(given.documents * given.failing)])
    hard = set(order[: round(len(failing) * given.hard)])
    paid, minimum, strong, errors = Decimal(0), Decimal(0), Decimal(0), 0
    models = Models(None, reads=True)
    with Server(models, is_strict=False) as server:
        os.environ["GOOGLE_GEMINI_BASE_URL"] = server.url  # noqa: TID251, the benchmark's own server
        for number in range(given.documents):
            texts, body, labels = made(PAGES, chance, rows=False)
            name = chance.choice(list(labels))
            wrong = {CHEAP: {f"/{name}": -1.0}}
            models.labels = labels
            models.first = wrong if number in failing else {}
            models.again = wrong if number in hard else {}
            stage = Stage("mix", body, repair=1, escalate={"to": STRONG})
            result = answered(text_document(*texts), stage)
            errors += sum(result.data.get(key) != value for key, value in labels.items())
            errors += result.status != "valid"
            paid += result.cost_usd or Decimal(0)
            first = result.attempts[0]
            minimum += first.cost_usd or Decimal(0)
            strong += price(STRONG, first.tokens["input"], first.tokens["output"])
            if number in failing:
                page = next(text for text in texts if f"{labels[name]:.2f}" in text)
                who = STRONG if number in hard else CHEAP
                minimum += least(who, page, body, name, labels[name])
    print(
        f"{given.documents} documents, {len(failing)} with a wrong leaf, {len(hard)} of them hard; errors at the end: {errors}\n"
        f"run {paid:.6f} USD, minimum {minimum:.6f} USD: {paid / minimum:.3f} x; "
        f"strong alone {strong:.6f} USD: {paid / strong:.3f} x"
    )


if __name__ == "__main__":
    main()
