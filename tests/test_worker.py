"""Child processes that read documents: limits, faults, cancelling, and answers that can't be trusted."""

import asyncio
import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.document import Document
from pipeline.errors import LoadError, SetupError
from pipeline.loaders import Limits, Loaders, wire, worker
from tests.pdfs import pdf, stream, text_at, widget

T = TypeVar("T")
PDF = pdf(
    text_at(50, 700, "Total 12.50"), fields=(widget("Tx", "50 600 250 620", "/T (name) /V (Ann)"),)
)
linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="uses what only Linux has: /proc, pidfd"
)


def png() -> bytes:
    """A small picture."""
    written = io.BytesIO()
    Image.effect_noise((40, 30), 60).save(written, "PNG")
    return written.getvalue()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one coroutine in a loop of its own."""
    return asyncio.run(work)


async def outcome(loaders: Loaders, name: str, content: bytes) -> str:
    """The reason of a refusal, or the first page's text."""
    try:
        return (await loaders.load(name, content)).pages[0].text
    except LoadError as error:
        return error.reason if error.reason in wire.REASONS else f"unknown: {error.reason}"


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


ANSWER = "write({'found': {'pages': [{'text': 2, 'words': 0, 'size': [0, 0], 'fields': []}], 'parts': [], 'warnings': [], 'page_count': 1}, 'holds': 1}, b'ok')\n"


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
        "write({'found': {'pages': [{'text': 9, 'words': 0, 'size': [0, 0], 'fields': []}], 'parts': [], 'warnings': [], 'page_count': 1}})",
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


# -- hostile documents, real readers --------------------------------------------------------------


def bomb(content: bytes, times: int = 1) -> bytes:
    """A PDF whose page is a compressed stream, compressed again and again."""
    page = pdf(b"BOMB")
    for _ in range(times):
        content = zlib.compress(content, 9)
    packed = stream(content, b"/Filter [%s]" % b" ".join([b"/FlateDecode"] * times))
    return page.replace(stream(b"BOMB"), packed)


@pytest.mark.parametrize(
    ("name", "content", "reasons"),
    [
        ("nested", bomb(b" " * 600_000_000, 2), {"too_much_memory"}),
        ("saves", bomb(b"q " * 20_000_000), {"too_much_memory"}),
        ("text", b"a" * (wire.MAX_TEXT + 1), {"too_large"}),
    ],
)
def test_bombs_go_off_in_the_child_alone(name: str, content: bytes, reasons: set[str]) -> None:
    """The document has its reason, and the next one is read."""

    async def work() -> tuple[str, str]:
        async with Loaders(1, Limits(memory=400 << 20)) as loaders:
            return await outcome(loaders, name, content), await outcome(loaders, "b.pdf", PDF)

    found, following = run(work())
    assert found in reasons
    assert following.startswith("Total")


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_files_changed_at_random_are_documents_or_load_errors(
    one_child: Loaders, data: st.DataObject
) -> None:
    """Bytes overwritten, cut out and doubled: the reader may refuse, and nothing else happens."""
    content = bytearray(data.draw(st.sampled_from([PDF, png(), "Müller\f".encode("cp1252") * 9])))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 40))
        content[place : place + length] = data.draw(st.binary(max_size=40))
    assert isinstance(run(outcome(one_child, "a", bytes(content))), str)


@pytest.mark.long
@settings(
    max_examples=3000,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_thousands_of_changed_files(one_child: Loaders, data: st.DataObject) -> None:
    """The same, for as long as a coffee takes."""
    test_files_changed_at_random_are_documents_or_load_errors.hypothesis.inner_test(one_child, data)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def one_child() -> Any:
    """Loaders with one child, for all examples of a test."""
    loaders = Loaders(1, Limits(wall=20))
    yield loaders
    run(loaders.aclose())


# -- the wire ------------------------------------------------------------------------------------

FILE = wire.File("a", "application/pdf", PDF)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 40) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["pages", "parts", "warnings", "page_count", "text", "words", "size", "fields"]), inner, max_size=8),
    max_leaves=12,
)  # fmt: skip


@given(JSON, st.binary(max_size=60))
def test_no_answer_hurts_the_parent(found: object, tail: bytes) -> None:
    """Whatever JSON and bytes come, it is a Document or Garbage."""
    with contextlib.suppress(wire.Garbage):
        assert isinstance(wire.unpack(found, tail, FILE), Document)


def test_an_answer_changed_in_any_one_place_is_checked() -> None:
    """A true answer passes; with any of its values out of bounds or of another type it is Garbage."""
    found, tail = wire.pack(
        wire.Reading([wire.Sheet("ab cd", _words(0, 2, 3, 5))], [], page_count=1), PDF
    )
    whole = b"".join(tail)
    assert wire.unpack(found, whole, FILE).pages[0].words[1].box == (0.0, 0.0, 1.0, 0.5)
    page = {"text": 5, "words": 2, "size": [0, 0], "fields": []}
    changes: list[dict[str, object]] = [
        {"text": 500}, {"text": -1}, {"text": True}, {"text": 1.0}, {"words": 3}, {"words": "2"}, {"size": [0]},
        {"size": [float("nan"), 0]}, {"size": [1e300, 0]}, {"fields": {}}, {"fields": [[]]},
        {"fields": [["n", "l", "cd", "text", [0, 0, 1, 1], 0, 2]]}, {"fields": [["n", "l", "ab", "other", [0, 0, 1, 1], 0, 2]]},
        {"fields": [["n", "l", "ab", "text", [0, 0, 2, 1], 0, 2]]}, {"fields": [["n", "\ud800", "ab", "text", [0, 0, 1, 1], 0, 2]]},
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(wire.Garbage):
            wire.unpack(found | {"pages": [page | change]}, whole, FILE)
    for part in (
        ["pdf", "x", [1, 2], None],
        ["film", "x", [1, 1], None],
        ["pdf", "x", [1, 1], 9],
        ["pdf", 1, [1, 1], None],
    ):
        with pytest.raises(wire.Garbage):
            wire.unpack(found | {"parts": [part]}, whole, FILE)
    for wrong in ((0, 9, 3, 5), (2, 1, 3, 5)):
        bad, bytes_of = wire.pack(
            wire.Reading([wire.Sheet("ab cd", _words(*wrong))], [], page_count=1), PDF
        )
        with pytest.raises(wire.Garbage):
            wire.unpack(bad, b"".join(bytes_of), FILE)


def _words(*places: int) -> Any:
    words = wire.no_words()
    for start, end in zip(places[::2], places[1::2], strict=True):
        words.extend((start, end, 0, 0, wire.BOX_UNIT, wire.BOX_UNIT // 2, 1000))
    return words


# -- the child's own code, in this process ---------------------------------------------------------


def test_a_reader_that_raises_is_an_answer() -> None:
    """Whatever a parser does with a file made to break it, the child goes on."""

    class Reader:
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def load(self, content: bytes, media_type: str) -> wire.Reading:
            raise self.error

    def answered(error: BaseException) -> list[str]:
        module: Any = Reader(error)
        reply, tail = worker.answer(module, {"do": "load", "media_type": "x"}, b"")
        assert not tail
        refused: list[str] = reply["refused"]
        return refused

    assert answered(LoadError("damaged", "so it is")) == ["damaged", "so it is"]
    assert answered(MemoryError())[0] == "too_much_memory"
    assert answered(RecursionError()) == ["crashed", "its reader stopped with RecursionError"]
    assert worker.address_space() > 1 << 20


def test_a_frame_is_read_as_it_was_written() -> None:
    """And the end of the input is the end of the work."""
    pieces = b"".join(wire.frame({"a": "ü\ud800"}, b"one", b"two"))
    stream_of = io.BytesIO(pieces)
    assert wire.read_frame(stream_of) == ({"a": "ü\ud800"}, b"onetwo")
    assert wire.read_frame(stream_of) is None
    assert json.loads(pieces[wire.HEADER.size : -6]) == {"a": "ü\ud800"}
    assert wire.lengths(pieces[: wire.HEADER.size])[1] == 6


# -- the corpus ----------------------------------------------------------------------------------


@pytest.mark.corpus
def test_every_hostile_file_ends_as_expected(corpus: Path) -> None:
    """64 files; a picture whose lower half can't be decoded counts as damaged, though some show the rest."""
    entries = [
        entry
        for entry in json.loads((corpus / "index.json").read_bytes())
        if entry["set"] == "hostile"
    ]
    rights = {
        "readable": {"ok"},
        "unreadable": {"damaged"},
        "password": {"encrypted"},
        "limit": {"too_large"},
    }

    async def work() -> dict[str, str]:
        async with Loaders(2) as loaders:
            return {
                entry["file"]: reason
                if (
                    reason := await outcome(
                        loaders, entry["file"], (corpus / entry["file"]).read_bytes()
                    )
                )
                in wire.REASONS
                else "ok"
                for entry in entries
            }

    found = run(work())
    assert len(found) == 64
    wrong = {
        entry["file"].rpartition("/")[2]: found[entry["file"]]
        for entry in entries
        if entry["kind"] != "email"
        and found[entry["file"]] not in rights.get(entry["expect"], set(wire.REASONS) | {"ok"})
    }
    assert wrong == {"broken_data_stream.png": "damaged"}
    assert {found[entry["file"]] for entry in entries if entry["kind"] == "email"} == {
        "unsupported"
    }
