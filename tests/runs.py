"""Runs of the real command against a real server: documents, what they say, and processes that are stopped."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.answers import Answer, Seen, answer_from
from tests.server import Server
from tests.test_cli import COMMAND, fieldsift, results

KEY = "canary-key-5b1e90"
FIELDS = "number, total float"
#: The whole of a plain run.
RUN = ("run", "inbox", "-s", FIELDS, "-o", "out")


def receipts(folder: Path, count: int) -> Path:
    """A working folder with so many receipts in `inbox`."""
    (folder / "inbox").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        receipt(folder, number)
    return folder


def receipt(folder: Path, number: int, cents: int = 50) -> None:
    """Write one receipt; other cents make it another document under the same name."""
    told = f"Receipt No: R-{number:04}\nTotal {number}.{cents:02} EUR\n"
    (folder / f"inbox/{number:04}.txt").write_text(told)


def truth(seen: Seen) -> Answer:
    """Answers what the receipt says."""
    number, _, rest = seen.text.partition("Receipt No: R-")[2].partition("\n")
    total = rest.partition("Total ")[2].partition(" EUR")[0]
    return answer_from(seen, {"R-": {"number": f"R-{number}", "total": float(total)}})


def env(server: Server | str) -> dict[str, str]:
    """The environment of a run against a server."""
    url = server if isinstance(server, str) else server.url
    return os.environ | {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": url}


def run(
    work: Path, server: Server, *more: str, code: int | None = 0
) -> "subprocess.CompletedProcess[str]":
    """A run to its end."""
    return fieldsift(*RUN, *more, cwd=work, env=env(server), code=code)


def statuses(work: Path) -> dict[str, int]:
    """How many lines there are of each status."""
    counts: dict[str, int] = {}
    for line in results(work / "out").values():
        counts[str(line["status"])] = counts.get(str(line["status"]), 0) + 1
    return counts


@dataclass
class Client:
    """A run under way: its process, and the file that its stderr goes to."""

    process: "subprocess.Popen[bytes]"
    stderr: Path

    @property
    def told(self) -> str:
        """What it has said so far."""
        return self.stderr.read_text("utf-8", "replace")

    def end(self, seconds: float = 30) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(seconds)


@contextmanager
def started(
    work: Path,
    environment: Mapping[str, str],
    *more: str,
    patch: str = "",
    arguments: tuple[str, ...] = RUN,
) -> Iterator[Client]:
    """A run in a session of its own, as a terminal gives it; `patch` is Python that runs before it.

    Whatever becomes of the test, nothing of the session is left.
    """
    program = [sys.executable, "-c", f"{patch}\nfrom pipeline.cli import main; main()"]
    command = [*(program if patch else [str(COMMAND)]), *arguments, *more]
    stderr = work / "stderr.txt"
    with (
        stderr.open("wb") as file,
        subprocess.Popen(
            command, cwd=work, env=dict(environment), stdout=subprocess.DEVNULL, stderr=file,
            start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            yield Client(process, stderr)
        finally:
            process.kill()


def wait_until(true: Callable[[], object], seconds: float = 30) -> None:
    """Look again and again; for what no event tells."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.002)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for each in Path(f"/proc/{pid}/task").glob("*/children"):  # they belong to threads
        with suppress(OSError):
            found += [int(child) for child in each.read_text().split()]
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def summary(work: Path) -> dict[str, Any]:
    """What run.json says."""
    told: dict[str, Any] = json.loads((work / "out/run.json").read_text())
    return told


@dataclass
class Till:
    """The bill of a server, exact: what every generated answer costs, delivered or not.

    `prices` are dollars for a million tokens that go in and that come out.
    """

    prices: tuple[Decimal, Decimal]
    bill: Decimal = Decimal(0)

    def ring(self, answer: Answer) -> Answer:
        """Add an answer to the bill."""
        used = answer.body["usageMetadata"]
        out = used["candidatesTokenCount"] + used["thoughtsTokenCount"]
        self.bill += (used["promptTokenCount"] * self.prices[0] + out * self.prices[1]) / 10**6
        return answer
