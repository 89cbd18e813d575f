"""What a large folder costs: memory and seconds of runs over tiny documents, against a bare listing of the folder.

    python benchmarks/folder.py [DOCUMENTS] [--listing 1000000] [--whole]

Prints the seconds until the first request of a new run comes to a local server that answers for Gemini; the
peak memory of a run with the local engine against that of a run over 1,000 documents (99 of 100 documents are
empty files, so that it takes minutes; --whole: all of them are receipts, which takes ten times as long); the
seconds of a second run with nothing to do, beside a bare listing with the size and time of each file; and the
memory of listing a folder of so many files. The bounds that the project promises are in tests/test_folder.py.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
LISTING = """
import resource, sys
from pipeline.sources import sources
count = sum(1 for _ in sources([sys.argv[1]]))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("documents", nargs="?", type=int, default=100_000)
    parser.add_argument("--listing", type=int, default=1_000_000, help="files of the listing alone")
    parser.add_argument("--whole", action="store_true", help="no empty files")
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        every = 1 if given.whole else 100
        make(folder / "few", 1000, every)
        make(folder / "many", given.documents, every)
        print(f"first request of a new run: {first_request(folder):.2f} s after its start")
        few, _ = run(folder, "few")
        many, seconds = run(folder, "many")
        print(f"peak memory: {many} MB at {given.documents}, {few} MB at 1000: {many / few:.2f} x")
        print(f"the run took {seconds:.0f} s")
        bare = min(listed(folder / "many") for _ in range(3))
        _, start = min(run(folder, "few") for _ in range(3))
        again, seconds = min(run(folder, "many") for _ in range(3))
        told = f"nothing to do: {seconds:.2f} s, {start:.2f} s of them to start; {again} MB"
        print(f"{told}; bare listing {bare:.2f} s: {(seconds - start) / bare:.1f} x")
        if given.listing:
            make(folder / "files", given.listing, given.listing + 1)
            started = time.perf_counter()
            done = command("-c", LISTING, str(folder / "files")).split()
            print(f"listing {done[0]}: {done[1]} MB, {time.perf_counter() - started:.1f} s")


def make(folder: Path, documents: int, every: int) -> None:
    """A folder of documents, one in `every` a receipt, the others empty."""
    folder.mkdir()
    for number in range(documents):
        text = "" if number % every else f"Receipt No: R-{number:07}\nTotal {number}.50 EUR\n"
        (folder / f"{number:07}.txt").write_text(text)


def listed(folder: Path) -> float:
    """Seconds of a bare listing."""
    started = time.perf_counter()
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat()
    return time.perf_counter() - started


def run(folder: Path, inbox: str) -> tuple[int, float]:
    """A run with the local engine: the peak of its memory in MB, and its seconds."""
    started = time.perf_counter()
    asked = ["run", inbox, "-s", "number, total float", "-o", f"out-{inbox}", "-m", "local", "-q"]
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *asked], cwd=folder, env=environment()
    )
    _, _, used = os.wait4(child.pid, 0)
    # Linux counts in KiB, macOS in bytes.
    return used.ru_maxrss // (2**20 if sys.platform == "darwin" else 1024), (
        time.perf_counter() - started
    )


def first_request(folder: Path) -> float:
    """Seconds from the start of a run over many documents until its first request."""
    log = folder / "log"
    served = [sys.executable, f"{ROOT}/tests/server.py", "--port-file", f"{folder}/port"]
    with subprocess.Popen(
        [*served, "--no-strict", "--log", str(log)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as server:
        url = (server.stdout.readline() if server.stdout else "").strip()
        keys = {"GEMINI_API_KEY": "none-is-needed", "GOOGLE_GEMINI_BASE_URL": url}
        asked = ["run", "many", "-s", "number, total float", "-o", "out-first", "-q"]
        started = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *asked, "-m", "gemini-3.1-flash-lite"],
            cwd=folder,
            env=environment() | keys,
            stderr=subprocess.DEVNULL,
        )
        while child.poll() is None and '"request"' not in (log.read_text() if log.exists() else ""):
            time.sleep(0.01)
        seconds = time.perf_counter() - started
        child.kill()
        child.wait()
        server.terminate()
    return seconds


def command(*arguments: str) -> str:
    """What a Python of its own prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def environment() -> dict[str, str]:
    """The environment of whoever measures, with this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251, as it says


if __name__ == "__main__":
    main()
