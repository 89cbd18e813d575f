"""The recorded runs of the recipes, made anew: `python -m tests.record [NAME...]`.

To be run after every change of what is sent: prompts, schemas, the recipes' documents. Each recipe is made with `init
--recipe` and run with `--record` against the test server, which gives the expected data; tests replay what is kept
in `tests/recorded/NAME`.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

if not __package__:  # run as a program
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tests.answers import Answer, Seen, answer_from
from tests.conftest import ROOT
from tests.server import Server

RECIPES = ROOT / "fixtures/recipes"
RECORDED = ROOT / "tests/recorded"
MODEL = "gemini-3.1-flash-lite"
#: What to type where a recording no longer fits.
AGAIN = "what is sent has changed: make the recordings anew with `python -m tests.record`"


def expected(name: str) -> dict[str, dict[str, Any]]:
    """Stage -> document (`products.jsonl#1` of rows) -> the data that must come out."""
    stages: dict[str, dict[str, Any]] = {}
    for path in sorted((RECIPES / name / "expected").rglob("*.json")):
        document, data = path.name.removesuffix(".json"), json.loads(path.read_bytes())
        rows = {f"{document}#{number}": row for number, row in enumerate(data, 1)}
        stages.setdefault(path.parent.name, {}).update(
            rows if isinstance(data, list) else {document: data}
        )
    return stages


def reply(name: str, seen: Seen) -> Answer:
    """The expected data of the stage and document that a request is about."""
    asked = set(seen.config["responseJsonSchema"]["properties"])
    hints: dict[str, Any] = {"_quotes": []} if "_quotes" in asked else {}
    for answers in expected(name).values():
        for document, data in answers.items():
            is_alone = len(answers) == 1
            if {*data, *hints} == asked and (is_alone or _sign(name, document) in seen.text):
                return answer_from(seen, {"": data | hints})
    raise AssertionError(f"{name}: no stage answers with {sorted(asked)}")


def _sign(name: str, document: str) -> str:
    """What a text is told from the others by: its first line, of a row its first value."""
    document, _, row = document.partition("#")
    lines = (RECIPES / name / "inbox" / document).read_text("utf-8").splitlines()
    return str(next(iter(json.loads(lines[int(row) - 1]).values()))) if row else lines[0]


def record(name: str) -> int:
    """Run a recipe once against the test server, and keep its answers; the exit code."""
    import subprocess

    with tempfile.TemporaryDirectory() as folder, Server(lambda seen: reply(name, seen)) as server:
        keys = {"GEMINI_API_KEY": "recording", "GOOGLE_GEMINI_BASE_URL": server.url}
        environment = os.environ | keys | {"FIELDSIFT_CACHE_DIR": f"{folder}/cache"}
        environment["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-m", "pipeline"]
        shutil.rmtree(RECORDED / name, ignore_errors=True)
        for arguments in (
            ("init", "--recipe", name, "job"),
            ("--config", "job/pipeline.toml", "run", "-m", MODEL, "--record", str(RECORDED / name)),
        ):
            done = subprocess.run([*command, *arguments], cwd=folder, env=environment, check=False)
            if done.returncode:
                return done.returncode
        return 0


def main() -> int:
    """Record the recipes that are named, else all; 1 if one does not end well."""
    names = sys.argv[1:] or sorted(path.name for path in RECIPES.iterdir())
    failed = [name for name in names if record(name)]
    if failed:
        print(f"not recorded: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
