"""How much of a quota a run uses and how often it is refused, the quota known to it or not; a local server keeps it.

    python benchmarks/rates.py [DOCUMENTS] [JOBS] [bucket|fixed|sliding]

The server lets 600 requests a minute through, or the same documents' tokens; it answers after 200 ms and counts
with a bucket of one second's worth, in fixed minutes or in sliding ones. Each line: the share of the quota that
was used between the first request and the last answer, refusals, and requests for each document. With
the defaults each of the four runs takes a minute and a half.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
FIELDS = "number, total float"
RPM = 600


def main(documents: int, jobs: int, counting: str) -> None:
    """Make the folder, measure what the documents take, run with each kind of quota."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inbox").mkdir()
        dice = random.Random(1)  # noqa: S311, sizes of documents
        for number in range(documents):
            text = f"Receipt No: R-{number:05}\nTotal {number}.50 EUR\n"
            lines = "line of text\n" * dice.choice([10, 50, 250])
            (folder / f"inbox/{number:05}.txt").write_text(text + lines)
        tokens = sum(size for _, _, size in events(folder, jobs, [], "none"))
        tpm = tokens * RPM // documents
        for kind, limit in (("rpm", RPM), ("tpm", tpm)):
            for known in (True, False):
                served = [f"--{kind}", f"{limit}", "--counting", counting, "--latency", "0.2"]
                told = ["-c", f"run.{kind}={limit}"] if known else []
                seen = events(folder, jobs, served, f"{kind}-{known}", *told)
                print(line(kind, limit, seen, known=known, counting=counting), flush=True)


def line(
    kind: str, limit: int, seen: list[tuple[float, int, int]], *, known: bool, counting: str
) -> str:
    """What a run came to."""
    answered = [size for _, status, size in seen if status == 200]
    refused = sum(status == 429 for _, status, _ in seen)
    seconds = max(at for at, _, _ in seen) - min(at for at, _, _ in seen)
    used = len(answered) if kind == "rpm" else sum(answered)
    room = limit / 60 * (seconds + (counting == "bucket"))
    return (
        f"{limit:,} {'requests' if kind == 'rpm' else 'tokens'} a minute, {'known' if known else 'unknown'}: "
        f"{used / room:.1%} used, {refused} refused ({refused / len(answered):.1%}), "
        f"{len(seen) / len(answered):.2f} requests a document, {seconds:.1f} s, {len(answered)} answered"
    )


def events(
    folder: Path, jobs: int, served: list[str], out: str, *told: str
) -> list[tuple[float, int, int]]:
    """One run against a server of its own: when each answer went out, its status, its input tokens."""
    log = folder / f"{out}.jsonl"
    command = [sys.executable, f"{ROOT}/tests/server.py", "--no-strict", "--log", f"{log}"]
    with subprocess.Popen(
        [*command, "--port-file", f"{folder}/port-{out}", *served],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as server:  # fmt: skip
        try:
            url = (server.stdout.readline() if server.stdout else "").strip()
            here = os.environ  # noqa: TID251, the command gets the environment of whoever measures
            asked = ["run", "inbox", "-s", FIELDS, "-o", out, "-m", "gemini-3.1-flash-lite"]
            subprocess.run(
                [sys.executable, "-m", "pipeline", *asked, "-j", f"{jobs}", *told],
                cwd=folder,
                env={**here, "GEMINI_API_KEY": "none-is-needed", "GOOGLE_GEMINI_BASE_URL": url}
                | {"PYTHONPATH": str(ROOT)},
                capture_output=True,
                check=True,
            )
        finally:
            server.terminate()
    lines = [json.loads(text) for text in log.read_text().splitlines()]
    answers = [each for each in lines if each["event"] == "answer"]
    return [(each["at"], each["status"], each["tokens"]) for each in answers]


if __name__ == "__main__":
    given = [*sys.argv[1:], *("900", "64", "bucket")[len(sys.argv) - 1 :]]
    main(int(given[0]), int(given[1]), given[2])
