"""Child processes that read documents: limits, faults, cancelling, and answers that can't be trusted."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.document import Document
from pipeline.errors import LoadError, SetupError
from pipeline.loaders import Limits, Loaders, worker
from tests.loading import PDF, outcome, png, run

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="uses what only Linux has: /proc, pidfd"
)


def pids(loaders: Loaders) -> list[int]:
    """The process ids of the children that live."""
    return [child._process.pid for child in loaders._children]


async def started(loaders: Loaders, task: asyncio.Task[Any]) -> None:
    """Wait until a child works for a task."""
    while not pids(loaders) and not task.done():  # noqa: ASYNC110, what is waited for happens in a thread
        await asyncio.sleep(0)


class Scripted(Loaders):
    """Loaders whose children run a script of the test, after the real start and limits."""

    def __init__(self, script: str, limits: Limits | None = None) -> None:
        super().__init__(1, limits)
        self.script = script
        self.started = 0

    def command(self) -> list[str]:
        """Each start is counted; the script finds `worker`, `wire`, `read`, `write` and `start` (from 1)."""
        self.started += 1
        real = super().command()
        head = (
            "import sys, os, time; sys.path.append(sys.argv.pop()); start = int(sys.argv.pop())\n"
            "from pipeline.loaders import wire, worker\n"
            "read = lambda: wire.read_frame(sys.stdin.buffer)\n"
            "def write(message, *tail): worker._write(sys.stdout.buffer, message, *tail)\n"
            "worker.restrict(300 << 20); write({'ready': 1})\n"
        )
        return [*real[:3], head + self.script, str(self.started), real[-1]]


# -- the ordinary way ----------------------------------------------------------------------------


def test_one_child_reads_many_documents_of_all_kinds() -> None:
    """Started once, used again; what comes back is complete and hashed by the parent."""

    async def work() -> tuple[list[Document], list[int], bytes]:
        async with Loaders(1) as loaders:
            documents = [
                await loaders.load(name, content)
                for name, content in (("a.pdf", PDF), ("b.txt", b"hello"), ("c", png()))
            ]
            return documents, pids(loaders), await loaders.draw(PDF, 1, 72)

    (a, b, c), children, drawn = run(work())
    assert len(children) == 1
    assert a.pages[0].text == "Total 12.50\nname: Ann"
    assert [a.pages[0].text[w.start : w.end] for w in a.pages[0].words] == ["Total", "12.50", "Ann"]
    assert (a.parts[0].data, a.parts[0].sha256, a.media_type) == (PDF, a.sha256, "application/pdf")
    assert (b.pages[0].text, b.parts[0].text, b.size) == ("hello", "hello", 5)
    assert (c.parts[0].kind, c.path) == ("image", "c")
    assert drawn.startswith(b"\x89PNG")


def test_what_needs_no_child_starts_none() -> None:
    """Empty, too large, of no kind that is read."""

    async def work() -> tuple[list[str], list[int]]:
        async with Loaders(1, Limits(content=10)) as loaders:
            cases = (("a.txt", b""), ("a.txt", b"x" * 11), ("a.html", b"<p>"))
            return [await outcome(loaders, *case) for case in cases], pids(loaders)

    assert run(work()) == (["empty", "too_large", "unsupported"], [])


@linux
def test_a_child_has_no_environment_and_hard_limits() -> None:
    """No key can leak into it, and what is set can't be lifted."""

    async def work() -> tuple[bytes, str]:
        async with Loaders(1, Limits(memory=700 << 20)) as loaders:
            await loaders.load("a.txt", b"x")
            (pid,) = pids(loaders)
            return Path(f"/proc/{pid}/environ").read_bytes(), Path(
                f"/proc/{pid}/limits"
            ).read_text()

    environment, limits = run(work())
    assert environment == b""
    found = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert found["Max address space"] == [str(700 << 20)] * 2
    assert found["Max file size"] == ["0", "0"]
    assert found["Max core file size"] == ["0", "0"]
    assert found["Max open files"] == [str(worker.OPEN_FILES)] * 2
    assert found["Max cpu time"][0] != "unlimited"


def test_a_child_is_replaced_after_so_many_documents() -> None:
    """What a library leaks has an end."""

    async def work() -> list[list[int]]:
        async with Loaders(1, Limits(documents=2)) as loaders:
            seen = []
            for _ in range(4):
                await loaders.load("a.txt", b"x")
                seen.append(pids(loaders))
            return seen

    first, second, third, fourth = run(work())
    assert second == fourth == []
    assert first != third


def test_several_documents_are_read_at_once_and_never_more_than_asked_for() -> None:
    """Twelve documents, two children."""

    async def work() -> tuple[list[str], int]:
        async with Loaders(2) as loaders:
            texts = await asyncio.gather(
                *(outcome(loaders, f"{n}.txt", str(n).encode()) for n in range(12))
            )
            return texts, len(pids(loaders))

    texts, children = run(work())
    assert texts == [str(n) for n in range(12)]
    assert children <= 2


def test_the_same_loaders_serve_one_loop_after_another_and_other_threads() -> None:
    """As a notebook or a web handler uses them."""
    loaders = Loaders(1)
    found = [run(outcome(loaders, "a.txt", b"one"))]
    thread = threading.Thread(target=lambda: found.append(run(outcome(loaders, "a.txt", b"two"))))
    thread.start()
    thread.join()
    run(loaders.aclose())
    assert found == ["one", "two"]
    with pytest.raises(RuntimeError):
        run(loaders.load("a.txt", b"three"))


def test_a_plain_script_works_from_a_hostile_folder(tmp_path: Path) -> None:
    """No main guard; modules that lie about in the working folder are not imported by the child."""
    for name in ("zlib.py", "json.py", "PIL.py", "pypdfium2.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the working folder')")
    script = "import asyncio\nfrom pipeline.loaders import Loaders\nprint(asyncio.run(Loaders(1).load('a.txt', b'fine')).pages[0].text)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("fine\n", "", 0)


# -- faults --------------------------------------------------------------------------------------


def test_a_child_killed_from_outside_costs_no_document() -> None:
    """The next one asks a new child."""

    async def work() -> tuple[str, list[int], list[int]]:
        async with Loaders(1) as loaders:
            await loaders.load("a.txt", b"x")
            before = pids(loaders)
            os.kill(before[0], signal.SIGKILL)
            return await outcome(loaders, "b.txt", b"still here"), before, pids(loaders)

    text, before, after = run(work())
    assert text == "still here"
    assert before != after


@pytest.mark.parametrize(
    ("script", "reason", "starts"),
    [
        ("read(); os._exit(3)", "crashed", 1),  # a fresh child: it was the document
        ("read(); os.kill(os.getpid(), 11)", "crashed", 1),
        ("read(); os.kill(os.getpid(), 9)", "crashed", 2),  # the system short of memory? once more
        ("read(); os.abort()", "too_much_memory", 1),  # as pdfium ends when memory is refused
        ("read(); sys.stderr.write('free(): invalid pointer'); sys.stderr.flush(); os.abort()", "crashed", 1),
        ("read(); blocks = [bytearray(1 << 24) for _ in range(100)]", "too_much_memory", 1),
        ("read(); worker.allow_processor_time(0)\nwhile True: pass", "timeout", 1),
        ("read(); time.sleep(100)", "timeout", 1),
        ("read()\nwhile True: os.write(2, b'x' * 9000)", "timeout", 1),
        ("read(); sys.stdout.close(); os.close(1); time.sleep(100)", "crashed", 1),
        ("sys.stdin.close(); time.sleep(100)", "timeout", 1),
    ],
)  # fmt: skip
def test_a_document_that_ruins_its_child_is_a_load_error(
    script: str, reason: str, starts: int
) -> None:
    """Each way to go wrong has its reason; nothing hangs, nothing is tried more than twice."""

    async def work() -> tuple[str, list[int]]:
        async with Scripted(script, Limits(wall=0.5 if reason == "timeout" else 30)) as loaders:
            found = await outcome(loaders, "a.txt", b"x" * 200_000)
            assert loaders.started == starts
            return found, pids(loaders)

    assert run(work()) == (reason, [])


ANSWER = "write({'found': {'pages': [{'text': 2, 'words': 0, 'size': [0, 0], 'turn': 0, 'scanned': False, 'fields': []}], 'parts': [], 'warnings': [], 'page_count': 1}, 'holds': 1}, b'ok')\n"


def test_a_child_that_fails_after_other_documents_gets_a_second_opinion() -> None:
    """What it read before may be to blame; a document that ruins a fresh child as well is."""
    once = "message, content = read()\nif content == b'evil': os._exit(1)\n" + ANSWER
    script = once + "message, content = read()\nos._exit(1)"

    async def work() -> list[tuple[str, int]]:
        async with Scripted(script) as loaders:
            return [
                (await outcome(loaders, "a.txt", text), loaders.started)
                for text in (b"fine", b"fine", b"evil")
            ]

    assert run(work()) == [("ok", 1), ("ok", 2), ("crashed", 3)]


@pytest.mark.parametrize(
    "answer",
    [
        "sys.stdout.buffer.write(b'nonsense of sixteen bytes and more'); sys.stdout.flush()",
        "sys.stdout.buffer.write(wire.HEADER.pack(b'fsl1', 1 << 31, 0)); sys.stdout.flush()",
        "sys.stdout.buffer.write(wire.HEADER.pack(b'fsl1', 2, wire.MAX_BYTES + 1)); sys.stdout.flush()",
        "sys.stdout.buffer.write(wire.HEADER.pack(b'fsl1', 6, 0) + b'[[[[[['); sys.stdout.flush()",
        "sys.stdout.buffer.write(wire.HEADER.pack(b'fsl1', 400000, 0) + b'[' * 400000); sys.stdout.flush()",
        "sys.stdout.buffer.write(wire.HEADER.pack(b'fsl1', 2, 0) + b'[]'); sys.stdout.flush()",
        "write({})",
        "write({'found': 7})",
        "write({'refused': ['because', 'x']})",
        "write({'refused': 'x'})",
        "write({'found': {'pages': [], 'parts': [], 'warnings': [], 'page_count': 1}})",
        "write({'found': {'pages': [{'text': 9, 'words': 0, 'size': [0, 0], 'turn': 0, 'scanned': False, 'fields': []}], 'parts': [], 'warnings': [], 'page_count': 1}})",
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_a_load_error(answer: str) -> None:
    """A parser that was taken over can say anything; the parent believes only what has the right shape."""

    async def work() -> tuple[str, list[int]]:
        async with Scripted(f"read(); {answer}; read()", Limits(wall=5)) as loaders:
            return await outcome(loaders, "a.txt", b"x"), pids(loaders)

    assert run(work()) == ("crashed", [])


def test_an_answer_before_the_question_is_none() -> None:
    """Nobody answers what was not read."""

    async def work() -> str:
        async with Scripted(
            "write({'refused': ['damaged', 'x']}); time.sleep(9)", Limits(wall=5)
        ) as loaders:
            return await outcome(loaders, "a.txt", b"x" * 1_000_000)

    assert run(work()) == "crashed"


def test_what_a_child_says_is_shown_clean_and_short() -> None:
    """No escape codes on the user's terminal, no page of text in a message; no standard error at all."""

    async def work() -> LoadError:
        script = "read(); sys.stderr.write('SECRET'); write({'refused': ['damaged', 'a\\x1b[2J\\nb' + 'c' * 9000]}); read()"
        async with Scripted(script) as loaders:
            with pytest.raises(LoadError) as caught:
                await loaders.load("a.txt", b"x")
            return caught.value

    error = run(work())
    assert str(error).isprintable()
    assert len(str(error)) <= 500
    assert "SECRET" not in str(error)


@linux
def test_a_cancelled_load_ends_its_child_and_the_next_one_works() -> None:
    """No child is left that still thinks about the last question."""

    async def work() -> tuple[str, int]:
        script = "read()\nif start == 1: time.sleep(100)\n" + ANSWER
        async with Scripted(script) as loaders:
            task = asyncio.create_task(loaders.load("a.txt", b"x"))
            await started(loaders, task)
            (pid,) = pids(loaders)
            handle = os.pidfd_open(pid)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert select.select([handle], [], [], 10)[0], "it is gone"
            os.close(handle)
            return await outcome(loaders, "b.txt", b"x"), loaders.started

    assert run(work()) == ("ok", 2)


def test_closing_ends_what_is_under_way() -> None:
    """A load that is interrupted by it says so, and no child stays."""

    async def work() -> tuple[str, list[int]]:
        loaders = Scripted("read(); time.sleep(100)")
        task = asyncio.create_task(outcome(loaders, "a.txt", b"x"))
        await started(loaders, task)
        await loaders.aclose()
        return await task, pids(loaders)

    assert run(work()) == ("crashed", [])


def test_a_child_that_does_not_start_is_the_environment_s_fault() -> None:
    """Not each document's: the run ends with one sentence."""

    class Broken(Loaders):
        def command(self) -> list[str]:
            return [sys.executable, "-c", "raise SystemExit('no module named pipeline')"]

    class Missing(Loaders):
        def command(self) -> list[str]:
            return ["/nonexistent/python"]

    with pytest.raises(SetupError, match="no module named pipeline"):
        run(Broken(1).load("a.txt", b"x"))
    with pytest.raises(SetupError, match="no child process"):
        run(Missing(1).load("a.txt", b"x"))


@linux
def test_children_end_when_their_parent_is_killed() -> None:
    """Their input ends, and so do they."""
    script = (
        "import asyncio, sys\nfrom pipeline.loaders import Loaders\nloaders = Loaders(1)\n"
        "asyncio.run(loaders.load('a.txt', b'x'))\nprint(next(iter(loaders._children))._process.pid, flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        handle = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        assert select.select([handle], [], [], 10)[0]
        os.close(handle)
