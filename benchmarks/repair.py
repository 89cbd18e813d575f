"""What mending 10 % wrong leaves costs in tokens: here, asking for the whole document again, and Instructor's loop.

    PYTHONPATH=. python benchmarks/repair.py [--pages 1 5 20 100] [--rows] [--seed 7]

Documents are made (seeded): pages of filler with a sum to find on each, or with --rows a table of 20 rows on
each page, which is the worst case: then nearly every page holds a wrong leaf. A local server answers from
the labels, in the first answer with 10 % of the leaves wrong (a sum below zero, which the schema forbids),
rightly afterwards. Counted are all texts of the requests behind the first one and their answers
(pipeline.values.tokens): system, prompt, schema, document. `whole` is the first request once more, with its
answer: what asking again costs without any word on what was wrong. Instructor 1.x is measured where it is
installed: same schema as a pydantic model, same text, mode JSON, over the server's OpenAI route.
"""

import argparse
import json
import os
import random
from importlib import import_module
from importlib.util import find_spec
from types import GenericAlias
from typing import Any

from pipeline.stages import PROMPT, SYSTEM, Stage
from pipeline.values.tokens import text_tokens
from tests.answers import Answer, Seen
from tests.mending import Models, answered, put, text_document
from tests.routes_openai import completion
from tests.server import Server

MODEL = "gemini-3.1-flash-lite"
WORDS = """the party shall keep records of each delivery and give notice within a reasonable time before any change takes
effect while goods remain subject to inspection under terms agreed between both sides in writing""".split()  # noqa: SIM905
ROWS_A_PAGE = 20


def made(pages: int, chance: random.Random, *, rows: bool) -> tuple[list[str], dict[str, Any], Any]:
    """The pages of a document, the schema of what is asked, and the labels."""
    amount = {"type": "number", "minimum": 0}
    if rows:
        table = [
            {"item": f"Item {n:05}", "amount": chance.randrange(100, 10**6) / 100}
            for n in range(pages * ROWS_A_PAGE)
        ]
        texts = [
            "\n".join(
                f"{row['item']}   {row['amount']:.2f}" for row in table[at : at + ROWS_A_PAGE]
            )
            for at in range(0, len(table), ROWS_A_PAGE)
        ]
        item = {"type": "object", "properties": {"item": {"type": "string"}, "amount": amount}}
        body = {"type": "object", "properties": {"rows": {"type": "array", "items": item}}}
        return texts, body, {"rows": table}
    names = [f"clause_{n}" for n in range(1, max(10, pages) + 1)]
    labels = {name: chance.randrange(100, 10**7) / 100 for name in names}
    texts = []
    for page in range(pages):
        own = names[page * len(names) // pages : (page + 1) * len(names) // pages]
        lines = [" ".join(chance.choices(WORDS, k=14)) for _ in range(28)]
        for name in own:
            line = f"Under {name.replace('_', ' ')} the sum of {labels[name]:.2f} EUR falls due."
            lines.insert(chance.randrange(len(lines)), line)
        texts.append("\n".join(lines))
    properties = {
        name: amount | {"description": "the sum that falls due, in EUR"} for name in names
    }
    return texts, {"type": "object", "properties": properties, "required": names}, labels


def spoilt(labels: Any, chance: random.Random) -> dict[str, float]:
    """A tenth of the leaves, each with a wrong value."""
    rows = labels.get("rows")
    places = [f"/rows/{n}/amount" for n in range(len(rows))] if rows else [f"/{n}" for n in labels]
    leaves = 2 * len(places) if rows else len(places)
    return dict.fromkeys(chance.sample(places, max(1, round(leaves / 10))), -1.0)


def sent_tokens(seen: Seen) -> int:
    """The tokens of all that a request says."""
    body = seen.body
    if "messages" in body:
        told = [json.dumps(body["messages"], ensure_ascii=False)]
        told += [json.dumps(body[key]) for key in ("tools", "response_format") if key in body]
        return sum(map(text_tokens, told))
    system = body.get("systemInstruction", {}).get("parts", [])
    told = [seen.text, *(part.get("text", "") for part in system)]
    return sum(map(text_tokens, [*told, json.dumps(seen.config.get("responseJsonSchema", {}))]))


def text_of(answer: Answer) -> str:
    """The text of an answer of either wire."""
    if "choices" in answer.body:
        return str(answer.body["choices"][0]["message"]["content"])
    return str(answer.body["candidates"][0]["content"]["parts"][0]["text"])


def ours(texts: list[str], body: Any, labels: Any, wrong: dict[str, float]) -> tuple[int, int, int]:
    """Tokens of the first request, of all behind it, and how many those were."""
    books: list[int] = []

    def count(seen: Seen, answer: Answer) -> Answer:
        books.append(sent_tokens(seen) + text_tokens(text_of(answer)))
        return answer

    models = Models(labels, {MODEL: wrong}, change=count, reads=True)
    with Server(models, is_strict=False) as server:
        os.environ["GOOGLE_GEMINI_BASE_URL"] = server.url  # noqa: TID251, the benchmark's own server
        result = answered(text_document(*texts), Stage("measured", body))
    if result.data != labels:
        raise SystemExit(f"not mended: {result.status}, {[f.message for f in result.findings][:3]}")
    first = sum(fields is None for _, fields in models.asked)
    return sum(books[:first]), sum(books[first:]), len(books) - first


def instructors(texts: list[str], body: Any, labels: Any, wrong: dict[str, float]) -> int | None:
    """Tokens of Instructor's requests behind the first one; None where it is not installed."""
    if find_spec("instructor") is None:
        return None
    instructor, openai = import_module("instructor"), import_module("openai")
    data = labels
    for pointer, value in wrong.items():
        data = put(data, pointer, value)
    answers = [completion(data), completion(labels)]
    texts_of = [text_of(answer) for answer in answers]
    with Server(is_strict=False) as server:
        server.next(*answers)
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        instructor.from_openai(client, mode=instructor.Mode.JSON).chat.completions.create(
            model="any-model",
            response_model=model_of(body),
            max_retries=2,
            messages=[
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": PROMPT + "\n" + "\f".join(texts)},
            ],
        )
        sent = [sent_tokens(seen) for seen in server.requests]
    return sum(sent[1:]) + sum(map(text_tokens, texts_of[1:]))


def model_of(body: Any) -> Any:
    """The schema as a pydantic model."""
    pydantic = import_module("pydantic")
    amount = pydantic.Field(ge=0, description="the sum that falls due, in EUR")
    if "rows" in body["properties"]:
        row: Any = pydantic.create_model("Row", item=(str, ...), amount=(float, amount))
        return pydantic.create_model("Table", rows=(GenericAlias(list, (row,)), ...))
    return pydantic.create_model("Sums", **dict.fromkeys(body["properties"], (float, amount)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Tokens of mending 10 % wrong leaves.")
    parser.add_argument("--pages", type=int, nargs="+", default=[1, 5, 20, 100])
    parser.add_argument(
        "--rows", action="store_true", help="tables: wrong leaves on nearly every page"
    )
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    os.environ["GEMINI_API_KEY"] = "none-is-needed"  # noqa: TID251, for the benchmark's own server
    print(
        f"{'pages':>5} {'wrong':>5} {'requests':>8} {'mending':>8} {'whole':>8} {'ratio':>6} {'instructor':>10} {'ratio':>6}"
    )
    for pages in given.pages:
        chance = random.Random(given.seed + pages)  # noqa: S311, the same each time
        texts, body, labels = made(pages, chance, rows=given.rows)
        wrong = spoilt(labels, chance)
        whole, mending, requests = ours(texts, body, labels, wrong)
        other = instructors(texts, body, labels, wrong)
        beside = f"{other:>10} {mending / other:>6.3f}" if other else f"{'-':>10} {'-':>6}"
        print(
            f"{pages:>5} {len(wrong):>5} {requests:>8} {mending:>8} {whole:>8} {mending / whole:>6.3f} {beside}"
        )


if __name__ == "__main__":
    main()
