"""The path of one document is a straight line: no call comes back into a file that it has left."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pipeline
from pipeline.api import Storage, open_runner
from pipeline.config import Call, plan
from pipeline.runner import Options
from pipeline.sources import named_file
from pipeline.stages import Stage
from tests.answers import answer_from
from tests.server import Server

HOME = str(Path(pipeline.__file__).parent)


@dataclass
class Trace:
    """Functions of the package that were entered, and A -> B -> A calls among its files, by thread."""

    watching: bool = False
    functions: set[tuple[str, str]] = field(default_factory=set)
    crossings: int = 0
    reentries: set[tuple[str, ...]] = field(default_factory=set)

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if not self.watching or event != "call" or not frame.f_code.co_filename.startswith(HOME):
            return
        here = frame.f_code.co_filename.removeprefix(HOME)
        self.functions.add((here, frame.f_code.co_qualname))
        stack = [here]
        while (caller := frame.f_back) is not None:
            name = caller.f_code.co_filename
            if name.startswith(HOME) and name.removeprefix(HOME) != stack[-1]:
                stack.append(name.removeprefix(HOME))
            frame = caller
        self.crossings += len(stack) > 1
        if here in stack[1:]:
            self.reentries.add(tuple(reversed(stack)))


@contextmanager
def tracing() -> Iterator[Trace]:
    """Look at this thread, and at those that are started inside."""
    trace = Trace()
    before = sys.getprofile()
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        yield trace
    finally:
        sys.setprofile(before)
        threading.setprofile(None)


def walked(model: str, tmp_path: Path) -> Trace:
    """The trace of one document from its source to its committed files."""
    (tmp_path / "a.txt").write_text("Receipt No: R-0042\nTotal 12.50 EUR\n")

    (tmp_path / "b.txt").write_text("Receipt No: R-0043\nTotal 13.50 EUR\n")
    first, second = (named_file(str(tmp_path / name)) for name in ("a.txt", "b.txt"))

    async def work(trace: Trace) -> None:
        stage = Stage("receipt", schema="receipt_number, total float")
        decided = plan({"model": model, "output": tmp_path / "out"}, Call(), [stage])
        async with open_runner(decided, Options(), Storage()) as runner:
            assert [result.status async for result in runner.run([first])] == ["valid"]
            trace.watching = True  # what is loaded and started once is behind us
            assert [result.status async for result in runner.process(second)] == ["valid"]
            trace.watching = False

    with tracing() as trace:
        asyncio.run(work(trace))
    return trace


def test_with_gemini_no_call_comes_back(tmp_path: Path, monkeypatch: Any) -> None:
    data = {"receipt_number": "R-0043", "total": 13.5}
    with Server(
        lambda seen: answer_from(
            seen, {"R-0043": data, "R-0042": {"receipt_number": "R-0042", "total": 12.5}}
        )
    ) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        trace = walked("gemini-3.1-flash-lite", tmp_path)
    files = {name for name, _ in trace.functions}
    print(
        f"gemini: {len(files)} files, {len(trace.functions)} functions, {trace.crossings} calls between files"
    )
    assert trace.reentries == set()
    assert {
        "/runner/__init__.py",
        "/limits/gate.py",
        "/answer.py",
        "/judge.py",
        "/writers.py",
        "/ledger/__init__.py",
    } <= files


def test_with_the_local_engine_no_call_comes_back(tmp_path: Path) -> None:
    trace = walked("local", tmp_path)
    files = {name for name, _ in trace.functions}
    print(
        f"local: {len(files)} files, {len(trace.functions)} functions, {trace.crossings} calls between files"
    )
    assert trace.reentries == set()
