"""How far the estimates of `run --dry-run` are from a real vocabulary, on a folder of real documents.

    python benchmarks/tokens.py TOKENIZER.JSON FOLDER

It needs the package `tokenizers`, and the vocabulary of Gemma 3, which Google's own SDK counts with for
Gemini 2 and 3 (google-genai 3.4.0, `local_tokenizer`; for the newest it names that of Gemma 4, which has
the same size). FOLDER holds sets: `<set>/docs/*`, `<set>/schema*.json`, `<set>/labels/<stem>.json` with the
right answers. Half of the files, chosen by the hash of their path, were used to fit the figures of
pipeline/estimating: what is told here is of the other half.

Printed are the mean and the 90th percentile of the relative error, and the bias, by set: of texts, of requests
as they are sent, of answers; and how often a text has more tokens than the bytes that are reserved for it.
What a service counts for pages and pictures, and what a model thinks, can't be measured so.
"""

import asyncio
import base64
import hashlib
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from pipeline.document import Document, Page, Window
from pipeline.errors import FieldsiftError, LoadError
from pipeline.estimating.answer import answer_tokens
from pipeline.estimating.request import likely
from pipeline.loaders import Loaders
from pipeline.prompts import Ask, request
from pipeline.providers import Endpoint, open_provider
from pipeline.schema import Schema
from pipeline.stages import Stage
from pipeline.values.tokens import text_tokens

Count = Callable[[str], int]
Pairs = defaultdict[str, list[tuple[int, int]]]
#: Longer texts are cut: the vocabulary takes its time.
LONGEST = 400_000
#: Texts made at random, of each hostile kind.
HOSTILE = 2000


def main(tokenizer: str, folder: str) -> None:
    """Measure and print."""
    vocabulary = import_module("tokenizers").Tokenizer.from_file(tokenizer)

    def count(text: str) -> int:
        return len(vocabulary.encode(text, add_special_tokens=False).ids)

    root = Path(folder)
    documents = asyncio.run(read(root))
    texts = {name: "\n".join(page.text for page in d.pages) for name, d in documents.items()}
    labels = {
        path.relative_to(root): path.read_text("utf-8") for path in root.glob("*/labels/*.json")
    }
    schemas = {
        path.relative_to(root): path.read_text("utf-8") for path in root.glob("*/schema*.json")
    }
    everything = {**texts, **labels, **schemas}
    tell("texts", of_texts(everything, count))
    tell("requests as sent (text alone)", of_requests(documents, root, count))
    tell("answers (gold, one line)", of_answers(documents, root, count))
    tell_bound([*everything.values(), *hostile(random.Random(1))], count)  # noqa: S311, the same each time


async def read(root: Path) -> dict[Path, Document]:
    """The documents of all sets that the loaders can read; other files as plain text, if they are."""
    found = {}
    async with Loaders(2) as loaders:
        for path in sorted(filter(Path.is_file, root.glob("*/docs/**/*"))):
            name, content = path.relative_to(root), path.read_bytes()
            try:
                found[name] = await loaders.load(str(name), content)
            except LoadError:
                text = content.decode("utf-8", "replace")
                if "\0" not in text and "\ufffd" not in text:
                    found[name] = Document(str(name), "0" * 64, 0, "", 1, (Page(1, text),), ())
    return found


def is_left_out(name: Path) -> bool:
    """Whether a file was no part of the fit."""
    return bool(hashlib.sha256(name.as_posix().encode()).digest()[0] % 2)


def of_texts(texts: dict[Path, str], count: Count) -> Pairs:
    """Estimated and true tokens of each text."""
    pairs: Pairs = defaultdict(list)
    for name, full in texts.items():
        text = full[:LONGEST].encode("utf-8", "replace").decode()
        if is_left_out(name) and len(text) >= 20:
            kind = (
                "labels"
                if "labels" in name.parts
                else "schemas"
                if "schema" in name.name
                else name.parts[0]
            )
            pairs[kind].append((text_tokens(text), count(text)))
    return pairs


def schema_of(root: Path, name: Path) -> Schema | None:
    """The schema of a document's set; None where it has several, or none that is one."""
    try:
        return Schema.of(str(root / name.parts[0] / "schema.json"))
    except FieldsiftError:
        return None


def of_requests(documents: dict[Path, Document], root: Path, count: Count) -> Pairs:
    """Estimated and true tokens of all that goes as text in each request."""
    endpoint = Endpoint("gemini", "gemini-3.1-flash-lite")
    provider = open_provider(endpoint)
    pairs: Pairs = defaultdict(list)
    for name, document in documents.items():
        schema = schema_of(root, name)
        if schema is None or not is_left_out(name):
            continue
        stage = Stage("measured", schema)
        one = request(
            stage,
            Ask(Window(tuple(range(1, document.page_count + 1))), schema),
            document,
            provider,
            endpoint,
        )
        pictures = sum(
            560 * (part.pages[1] - part.pages[0] + 1) if part.kind == "pdf" else 1120
            for part in one.content
            if part.kind != "text"
        )
        sent = json.dumps(one.schema, ensure_ascii=False, separators=(",", ":"), default=dict)
        told = [one.system, sent]
        told += [part.text for part in one.content if part.kind == "text"]
        found = likely(stage, document, one, endpoint, provider.ceiling(one))
        pairs[name.parts[0]].append((found.expected.input - pictures, sum(map(count, told))))
    return pairs


def of_answers(documents: dict[Path, Document], root: Path, count: Count) -> Pairs:
    """Estimated and true tokens of each right answer, as JSON in one line."""
    pairs: Pairs = defaultdict(list)
    for name, document in documents.items():
        label = root / name.parts[0] / "labels" / f"{name.stem}.json"
        schema = schema_of(root, name)
        if schema is None or not label.exists() or not is_left_out(name):
            continue
        gold = json.loads(label.read_text("utf-8"))
        if set(gold) - {child.name for child in schema.tree.children}:
            continue  # the label is no answer to this schema
        text = json.dumps(gold, ensure_ascii=False, separators=(",", ":"))
        pairs[name.parts[0]].append((answer_tokens(schema.tree, document), count(text)))
    return pairs


def hostile(chance: random.Random) -> Iterator[str]:
    """Texts that a vocabulary was not made for."""
    for _ in range(HOSTILE):
        data = chance.randbytes(200)
        yield data.decode("latin-1")
        yield data.decode("utf-8", "replace")
        yield base64.b64encode(data).decode()
        yield "".join(
            chr(chance.randrange(0x1F300, 0x1FB00)) + chance.choice(["", "\u200d", "\ufe0f"])
            for _ in range(60)
        )
        yield "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(80))
        yield "".join(
            chr(chance.choice([chance.randrange(0xD800), chance.randrange(0xE000, 0x110000)]))
            for _ in range(80)
        )
        yield "".join(chance.choice(" \t\n\r\u00a0\u3000\u2581") for _ in range(60))


def tell(what: str, pairs: Pairs) -> None:
    """Print the errors of each set and of all."""
    print(f"{what}: mean error, 90th percentile, bias, sum of all against the truth")
    everything = [pair for each in pairs.values() for pair in each]
    for name, found in {**pairs, "all": everything}.items():
        errors = sorted(abs(told - true) / true for told, true in found)
        bias = sum((told - true) / true for told, true in found) / len(found)
        total = sum(told for told, _ in found) / sum(true for _, true in found)
        ninth = errors[int(0.9 * (len(errors) - 1))]
        mean = sum(errors) / len(errors)
        print(f"  {name:24}{len(found):5}  {mean:6.1%}  {ninth:6.1%}  {bias:+7.1%}  {total:6.2f}")


def tell_bound(texts: list[str], count: Count) -> None:
    """Print how often a text has more tokens than what the gate reserves for it: its bytes."""
    over = 0
    for each in texts:
        text = each[:LONGEST].encode("utf-8", "replace").decode()
        over += count(text) > len(text.encode())
    print(f"bound: {over} of {len(texts)} texts have more tokens than bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
