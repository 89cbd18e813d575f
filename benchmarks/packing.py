"""What packing saves: tokens and requests for rows to tag, one by one, in packs, with damaged answers, and killed.

    python benchmarks/packing.py [--rows 1000] [--damage 0.05] [--seed 1]

A local server answers, bills four bytes as a token, and damages so many of the items (missing, doubled and foreign
keys) and of the answers (cut off, broken JSON). The instruction has about 500 tokens, a row about 30. The last run
is ended with kill -9 in the middle and started again. Each line: requests, tokens and their share of those that single
rows take, rows that are valid and right, cost of all Results beside what the ledger booked: of packs that were on their way at the
kill that is their reserve, since nobody knows what they took. For the killed run also how many answers were on disk at
the kill, and how many of those rows were asked about again.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.answers import Answer, Seen, packed  # noqa: E402, the project's own folder is found first
from tests.packs import LABELS, damaging, label_of, tagging  # noqa: E402
from tests.server import Server  # noqa: E402

WORDS = (
    "oak", "steel", "red", "small", "large", "garden", "kitchen", "set", "with", "handle", "for", "children", "new",
)  # fmt: skip
#: A row in a request about it alone.
FENCED = re.compile(r"<document-([0-9a-f]{24})>\n(.*?)\n</document-\1>", re.DOTALL)
RULE = "Give {} to what is used in that place or for that purpose, also parts and spares of it. "


def main() -> None:
    """Make the rows, tag them in each way, print what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--damage", type=float, default=0.05, help="share of damaged answers")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    dice = random.Random(given.seed)  # noqa: S311, made-up rows
    texts = [
        f"{n}: {' '.join(dice.choice(WORDS) for _ in range(dice.randint(10, 30)))}"
        for n in range(given.rows)
    ]
    damaged = damaging(random.Random(given.seed), given.damage)  # noqa: S311, as above
    singles = Way(texts, "one by one", tagging, pack=1).run(1)
    Way(texts, "in packs", tagging).run(singles)
    Way(texts, f"in packs, {given.damage:.0%} damaged", damaged).run(singles)
    Way(texts, f"in packs, {given.damage:.0%} damaged, killed", damaged).run(singles, kill=True)


class Way:
    """One way to tag the rows, in a folder of its own."""

    def __init__(
        self, texts: list[str], name: str, reply: Callable[[Seen], Answer], pack: int | None = None
    ) -> None:
        self.texts, self.name, self.reply, self.pack = texts, name, reply, pack
        self.tokens = 0

    def run(self, singles: int, *, kill: bool = False) -> int:
        """Tag them; the tokens that it took. With `kill`, killed when about half of them are answered."""
        with TemporaryDirectory() as name, Server(self._answer, divides=True) as server:
            folder = Path(name)
            self._write(folder)
            kept: set[str] = set()
            if kill:
                kept = self._killed(folder, server)
            before = len(server.requests)
            if self._started(folder, server).wait():
                raise SystemExit("the run did not come to its end")
            again = kept & {text for seen in server.requests[before:] for text in _rows(seen)}
            told = f"; {len(kept)} on disk at the kill, {len(again)} asked again" if kill else ""
            print(self._line(folder, len(server.requests), singles) + told, flush=True)
        return self.tokens

    def _killed(self, folder: Path, server: Server) -> set[str]:
        """Begin, and kill it when half of the rows are answered; the rows whose answers are on disk."""
        running = self._started(folder, server)
        while len(_stored(folder)) < len(self.texts) / 2 and running.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(0.01)
        running.send_signal(signal.SIGKILL)
        running.wait()
        server.wait_for_silence()
        return _stored(folder)

    def _line(self, folder: Path, requests: int, singles: int) -> str:
        lines = (folder / "out/results.jsonl").read_text().splitlines()
        results = [json.loads(line) for line in lines]
        right = sum(
            each["status"] == "valid" and each["data"] == label_of(self.texts[_number(each)])
            for each in results
        )
        cost = sum((Decimal(str(each["cost_usd"])) for each in results), Decimal(0))
        with contextlib.closing(sqlite3.connect(folder / "out/.fieldsift/ledger.sqlite")) as ledger:
            (booked,) = ledger.execute("select sum(coalesce(cost, reserved)) from calls").fetchone()
        share = "" if singles == 1 else f" ({self.tokens / singles:.3f} of one by one)"
        return (
            f"{self.name}: {requests} requests, {self.tokens:,} tokens{share}; {right} of {len(self.texts)} right, "
            f"{len(results)} lines; {cost.normalize()} USD in Results, {Decimal(booked) / 10**12:f} booked"
        )

    def _answer(self, seen: Seen) -> Answer:
        answer = self.reply(seen)
        self.tokens += answer.body["usageMetadata"]["totalTokenCount"]
        return answer

    def _write(self, folder: Path) -> None:
        with (folder / "rows.jsonl").open("w") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in self.texts)
        prompt = "Tag the product. " + "".join(RULE.format(LABELS[n % 4]) for n in range(22))
        lines = [
            "version = 1",
            "[run]",
            'input = "rows.jsonl"',
            'output = "out"',
            'model = "gemini-3.1-flash-lite"',
            'text_field = "text"',
            "[[stage]]",
            'name = "tags"',
            'task = "tag"',
            f"labels = {json.dumps(LABELS)}",
            f"prompt = {json.dumps(prompt)}",
            "" if self.pack is None else f"pack = {self.pack}",
        ]
        (folder / "pipeline.toml").write_text("\n".join(lines))

    def _started(self, folder: Path, server: Server) -> "subprocess.Popen[bytes]":
        told = {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": server.url}
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", "run", "-q"],
            cwd=folder,
            env=os.environ | told | {"PYTHONPATH": str(ROOT)},  # noqa: TID251, what the run needs beside it
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _number(result: dict[str, dict[str, str]]) -> int:
    return int(result["document"]["path"].rpartition("#")[2]) - 1


def _rows(seen: Seen) -> set[str]:
    """The rows that a request asks about."""
    if items := packed(seen.text):
        return {text for _, text in items}
    return {_fenced(seen.text)}


def _stored(folder: Path) -> set[str]:
    """The rows whose answers are on disk."""
    path = folder / "out/.fieldsift/replies.sqlite"
    if not path.exists():
        return set()
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as replies:
        try:
            found = replies.execute("select request from replies").fetchall()
        except sqlite3.Error:  # it is made just now
            return set()
    return {_fenced(json.loads(text)["content"][-1]["text"]) for (text,) in found}


def _fenced(text: str) -> str:
    found = FENCED.search(text)
    return found[2] if found else ""


if __name__ == "__main__":
    main()
