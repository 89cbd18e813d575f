"""How long a run over many short documents takes, first and again; a local server answers for Gemini.

    python benchmarks/run.py [DOCUMENTS] [JOBS]

Prints the summary of each run, its seconds, and the most memory that the command held. Server and command
share this machine's processors, so that the figures compare two versions here, not two machines.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
FIELDS = "number, total float"


def main(documents: int = 2000, jobs: int = 32) -> None:
    """Make the folder, start the server, run the command twice."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inbox").mkdir()
        for number in range(documents):
            text = f"Receipt No: R-{number:05}\nTotal {number}.50 EUR\n" + "line of text\n" * 20
            (folder / f"inbox/{number:05}.txt").write_text(text)
        served = [sys.executable, f"{ROOT}/tests/server.py", "--port-file", f"{folder}/port"]
        with subprocess.Popen(
            [*served, "--no-strict"], stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as server:
            try:
                url = (server.stdout.readline() if server.stdout else "").strip()
                for which in ("first", "again"):
                    print(which, *timed(folder, url, jobs), sep="\n  ")
            finally:
                server.terminate()


def timed(folder: Path, url: str, jobs: int) -> list[str]:
    """One run of the command: its last line, and what it took."""
    here = os.environ  # noqa: TID251, the command gets the environment of whoever measures
    env = {**here, "GEMINI_API_KEY": "none-is-needed", "GOOGLE_GEMINI_BASE_URL": url}
    asked = [
        "run",
        "inbox",
        "-s",
        FIELDS,
        "-o",
        "out",
        "-m",
        "gemini-3.1-flash-lite",
        "-j",
        f"{jobs}",
    ]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *asked],
        cwd=folder,
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    held = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return [done.stderr.splitlines()[-1], f"{seconds:.2f} s, at most {held // 1024} MiB"]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
