"""A mixed folder and a pipeline of six stages over it: routing, parts, items, a Python function, and all of it summed up."""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.answers import Answer, Seen, answer_from

#: A page as it is sent: its number, and its text.
PAGE = re.compile(r"<page (\d+) [0-9a-f]{8}>\n(.*?)(?=<page|</doc)", re.DOTALL)
FILE = """\
version = 1
[run]
input = "inbox"
output = "out"
model = "gemini-3.1-flash-lite"
[[stage]]
name = "kind"
task = "classify"
labels = { invoice = "asks for payment", bundle = "several documents in one file", note = "anything else" }
[[stage]]
name = "parts"
task = "split"
labels = { invoice = "asks for payment", letter = "a letter" }
when = { kind = "bundle" }
[[stage]]
name = "invoice"
task = "extract"
when = "kind.label == 'invoice' or parts.label == 'invoice'"
schema = "bill.json"
[[stage]]
name = "group"
task = "generate"
prompt = "Name the group of the article."
for_each = "invoice.lines"
schema = "group.json"
[[stage]]
name = "marked"
task = "python"
function = "mixed_code:marked"
[[stage]]
name = "summary"
task = "generate"
prompt = "Sum up what the file holds."
inputs = ["kind", "invoice", "marked"]
for_each = "document"
schema = "summary.json"
"""
CODE = """\
import os
from pathlib import Path

def marked(group: dict) -> dict:
    with open(os.environ["MIXED_CALLS"], "a") as calls:
        calls.write(group["group"] + "\\n")
    return {"mark": group["group"].upper()}
"""


def _object(**properties: Any) -> str:
    body = {"type": "object", "properties": properties, "required": list(properties)}
    return json.dumps(body | {"additionalProperties": False})


TEXT = {"type": "string"}
LINE = json.loads(_object(name=TEXT, price={"type": "number"}))
FILES = {
    "pipeline.toml": FILE,
    "mixed_code.py": CODE,
    "bill.json": _object(number=TEXT, lines={"type": "array", "items": LINE}),
    "group.json": _object(group=TEXT),
    "summary.json": _object(text=TEXT, count={"type": "integer"}),
}


def invoice(number: int) -> str:
    """One page that asks for payment of two articles, its own ones."""
    return f"Invoice No {number}\nbolt{number} 2.50\nnut{number} 3.50\n"


def set_up(work: Path) -> Path:
    """A working folder with the pipeline, and an empty inbox."""
    (work / "inbox").mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (work / name).write_text(text)
    return work


def mixed(work: Path, count: int) -> Path:
    """A working folder with so many documents: invoices, bundles of a letter and two invoices, notes."""
    set_up(work)
    for number in range(count):
        bundle = [
            f"Dear customer {number},\nenclosed.\n",
            invoice(1000 + number),
            invoice(2000 + number),
        ]
        text = (invoice(number), "\f".join(bundle), f"Note {number}\nof nothing\n")[number % 3]
        (work / f"inbox/{number:03}.txt").write_text(text)
    return work


def told(seen: Seen) -> Answer:
    """Answers what the pages say."""
    return answer_from(seen, {"": data(seen.text, seen.config["responseJsonSchema"]["properties"])})


def data(text: str, wanted: Mapping[str, Any]) -> Any:
    """What is to be said of a document, by the fields that are asked for."""
    text = text.partition("<document-")[2] if "<document-" in text else text
    if "label" in wanted:
        kind = (
            "bundle" if "Dear customer" in text else "invoice" if "Invoice No" in text else "note"
        )
        return {"label": kind}
    if "parts" in wanted:
        kinds = [(n, "letter" if "Dear" in page else "invoice") for n, page in PAGE.findall(text)]
        return {"parts": [{"pages": number, "label": label} for number, label in kinds]}
    if "lines" in wanted:
        lines = re.findall(r"^([a-z]+\d+) (\d+\.\d+)$", text, re.MULTILINE)
        number = re.findall(r"Invoice No (\d+)", text)[0]
        return {"number": number, "lines": [{"name": n, "price": float(p)} for n, p in lines]}
    if "group" in wanted:
        return {"group": re.findall(r"[a-z]+\d+", text.partition('"name"')[2])[0]}
    return {"text": "summed up", "count": text.count('"mark"')}


def paths(output: Path) -> dict[str, dict[str, str]]:
    """Which stages each document, part and item went through, and what became of it there; each line once."""
    found: dict[str, dict[str, str]] = {}
    for line in map(json.loads, (output / "results.jsonl").read_text().splitlines()):
        stages = found.setdefault(line["document"]["path"], {})
        stage = line["stage"] or "-"
        assert stage not in stages, (line["document"]["path"], stage)
        reason = "" if line["status"] == "valid" else f" ({line['reason']})"
        stages[stage] = line["status"] + reason
    return found


def files(output: Path) -> dict[str, str]:
    """Every data file and what it holds."""
    there = (each for each in output.rglob("*.json") if ".fieldsift" not in each.parts)
    return {
        str(each.relative_to(output)): each.read_text()
        for each in there
        if each != output / "run.json"
    }


def tree(output: Path) -> list[str]:
    """The path of each document in words, its parts and items below it."""
    return [
        f"{'  ' * path.count('#')}{path}: {', '.join(f'{s} {state}' for s, state in stages.items())}"
        for path, stages in sorted(paths(output).items())
    ]


def until(true: Any, seconds: float = 30) -> None:
    """Look again and again, as no event tells of another process."""
    limit = time.monotonic() + seconds
    while not true() and time.monotonic() < limit:
        time.sleep(0.001)
