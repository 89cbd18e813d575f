"""Hostile documents and hostile answers: bombs, files changed at random, frames that lie."""

import contextlib
import io
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.document import Document
from pipeline.errors import LoadError
from pipeline.loaders import Limits, Loaders, wire, worker
from tests.loading import PDF, outcome, png, run
from tests.pdfs import pdf, stream

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
        words.extend((start, end, 0, 0, wire.BOX_UNIT, wire.BOX_UNIT // 2, 1000, wire.SURE))
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
