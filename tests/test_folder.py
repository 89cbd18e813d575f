"""A folder of a hundred thousand or a million documents takes hardly more memory than one of a thousand."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_cli import COMMAND

#: MB that a run, or a listing, may hold at any size of the folder.
MOST = 150
LISTING = """
import resource, sys
from pipeline.sources import sources
count = sum(1 for _ in sources([sys.argv[1]]))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 1024))
"""


def make(folder: Path, documents: int) -> None:
    """A folder of documents, one in a hundred a receipt, the others empty."""
    folder.mkdir()
    for number in range(documents):
        text = "" if number % 100 else f"Receipt No: R-{number:07}\nTotal {number}.50 EUR\n"
        (folder / f"{number:07}.txt").write_text(text)


def peak(folder: Path, inbox: str, stop: int) -> tuple[int, int]:
    """The MB that a run held which was told to stop when so many results stood there, and how many came."""
    asked = ["run", inbox, "-s", "number str", "-o", f"out-{inbox}", "-m", "local", "-q"]
    child = subprocess.Popen([str(COMMAND), *asked], cwd=folder)
    results = folder / f"out-{inbox}/results.jsonl"
    limit = time.monotonic() + 1200
    while not results.exists() or results.stat().st_size < stop * 400:
        assert time.monotonic() < limit
        if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, _, used = os.wait4(child.pid, 0)
    child.returncode = 0
    unit = 2**20 if sys.platform == "darwin" else 1024
    return used.ru_maxrss // unit, len(results.read_bytes().splitlines())


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_documents(tmp_path: Path) -> None:
    """The whole of a small folder against a large one, all listed and a tenth worked on."""
    make(tmp_path / "few", 1000)
    make(tmp_path / "many", 100_000)
    few, done = peak(tmp_path, "few", 10**6)
    assert done == 1000
    many, done = peak(tmp_path, "many", 10_000)
    print(f"{many} MB at 100,000 documents, {few} MB at 1,000: {many / few:.2f} x; {done} done")
    assert done >= 5000
    assert many <= MOST
    assert many <= 1.3 * few


@pytest.mark.long
def test_a_million_files_are_listed_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for number in range(1_000_000):
        os.mknod(tmp_path / f"files/{number}-a-name-as-long-as-those-of-real-documents-are.txt")
    listing = [sys.executable, "-c", LISTING, str(tmp_path / "files")]
    told = subprocess.run(listing, stdout=subprocess.PIPE, text=True, check=True).stdout
    count, megabytes = map(int, told.split())
    print(f"listing {count} files: {megabytes} MB")
    assert count == 1_000_000
    assert megabytes <= MOST
