"""No space, no permission: what a user sees, how soon nothing is sent any more, and that the next run continues."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts import check
from tests.runs import RUN, env, receipts, run, statuses, truth
from tests.server import Server
from tests.test_cli import COMMAND, results

DOCUMENTS, JOBS = 70, 4


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(truth, is_strict=False) as running:
        yield running


def told_of(done: "subprocess.CompletedProcess[str]") -> str:
    """The one sentence about the trouble."""
    assert "Traceback" not in done.stderr, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return error


def in_shell(
    work: Path, server: Server, script: str, *wrap: str
) -> "subprocess.CompletedProcess[str]":
    command = " ".join(f"'{each}'" for each in (COMMAND, *RUN, "-j", JOBS))
    return subprocess.run(
        [*wrap, "bash", "-c", script.replace("RUN", command)],
        cwd=work, env=env(server), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_file_that_may_not_grow_ends_the_run_and_the_next_one_continues(
    tmp_path: Path, server: Server
) -> None:
    work = receipts(tmp_path / "work", DOCUMENTS)
    done = in_shell(work, server, "ulimit -f 100; RUN")
    assert done.returncode == 4, done.stderr
    assert "out" in told_of(done)
    sent = len(server.billed)
    assert sent < DOCUMENTS
    run(work, server)
    assert statuses(work) == {"valid": DOCUMENTS}
    assert len(server.billed) - DOCUMENTS <= JOBS, "in flight when it ended"
    assert check(work / "out", [f"{number:04}.txt" for number in range(DOCUMENTS)]) == []


def can_mount() -> bool:
    """Whether we may have a small disk of our own."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid():
        return False
    script = "mount -t tmpfs -o size=1m none /mnt"
    return not subprocess.run(
        [unshare, "-m", "bash", "-c", script], capture_output=True, check=False
    ).returncode


@pytest.mark.skipif(not can_mount(), reason="a small disk can't be mounted here")
@pytest.mark.parametrize(
    ("small", "more"),
    [
        ("out", "--state state"),
        pytest.param("out", "", marks=pytest.mark.long),
        pytest.param("state", "--state state", marks=pytest.mark.long),
    ],
)
def test_a_full_disk_ends_the_run_and_with_space_it_continues(
    tmp_path: Path, server: Server, small: str, more: str
) -> None:
    """Output and state on one disk, or either of them alone on the one that is full."""
    work = receipts(tmp_path / "work", DOCUMENTS)
    for folder in ("out", "state"):
        (work / folder).mkdir()
    script = (
        f"mount -t tmpfs -o size=200k none {small} && RUN {more}; echo code $?; "
        f"echo error: SPACE >&2; mount -o remount,size=50m {small}; RUN {more}; echo code $?; "
        f"cp -r {small} copy; umount {small}; cp -rT copy {small}"
    )
    done = in_shell(work, server, script, "unshare", "-m")
    assert done.stdout.split("code ")[1:] == ["4\n", "0\n"], done.stderr
    first, _, _ = done.stderr.partition("error: SPACE")
    assert "Traceback" not in done.stderr
    assert first.count("error: ") == 1
    assert small in first.partition("error: ")[2]
    assert statuses(work) == {"valid": DOCUMENTS}
    assert len(server.billed) - DOCUMENTS <= JOBS
    state = work / "state" if more else None
    assert check(work / "out", [f"{n:04}.txt" for n in range(DOCUMENTS)], state=state) == []


def as_others(work: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """The run as somebody whom file modes concern: root passes over them, unless it gives that up."""
    wrap: list[str] = []
    if os.geteuid() == 0:
        if (program := shutil.which("setpriv")) is None:
            pytest.skip("root passes over file modes, and setpriv is not here")
        wrap = [program, "--bounding-set", "-dac_override,-dac_read_search"]
    return subprocess.run(
        [*wrap, str(COMMAND), *RUN], cwd=work, env=environment, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    yield receipts(tmp_path / "work", 3)
    subprocess.run(["chmod", "-R", "u+rwx", tmp_path], check=True)


@pytest.mark.parametrize(
    ("folder", "named"),
    [("out", "out"), ("out/.fieldsift", ".fieldsift"), (".", "out"), ("out/extract", "extract")],
)
def test_an_output_that_cant_be_written_is_told_before_anything_is_paid(
    work: Path, server: Server, folder: str, named: str
) -> None:
    for name in ("cache", "out/extract", "out/.fieldsift") if folder != "." else ("cache",):
        (work / name).mkdir(parents=True)
    for path in (
        work / "cache",
        work / "out",
        work / "out/.fieldsift",
        work / "out/extract",
    ):
        if path.exists():
            path.chmod(0o777)
    (work / folder).chmod(0o555)
    done = as_others(work, env(server))
    assert done.returncode == 4, done.stderr
    assert named in told_of(done)
    assert server.billed == []


def test_documents_that_may_not_be_read_cost_no_other_document(work: Path, server: Server) -> None:
    """A file, the files of a folder that may not be entered, and a folder that may not be listed."""
    for name in ("shut", "closed"):
        (work / "inbox" / name).mkdir()
        (work / "inbox" / name / "a.txt").write_text("Total 1.00")
    (work / "inbox/0001.txt").chmod(0)
    (work / "inbox/closed").chmod(0o444)
    (work / "inbox/shut").chmod(0)
    done = as_others(work, env(server))
    assert done.returncode == 1, done.stderr
    lines = results(work / "out")
    told = {path: (line["status"], line["reason"]) for path, line in lines.items()}
    refused = ("unreadable", "not_readable")
    assert told == {
        "0000.txt": ("valid", None),
        "0001.txt": refused,
        "0002.txt": ("valid", None),
        "closed/a.txt": refused,
        "shut": refused,
    }
    assert "Permission denied" in str(lines["closed/a.txt"]["findings"])
    assert len(server.billed) == 2
