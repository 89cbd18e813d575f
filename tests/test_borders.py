"""Borders between windows, through the whole product: no row is lost or doubled in silence."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faulty import Faults, Reader, bills, told
from tests.server import Server


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A server that reads bills; its faults are set by each test."""
    made = Reader(Faults())
    with Server(made) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        yield made


@pytest.mark.parametrize("boxed", [False, True])
def test_an_answer_without_faults_is_whole_and_unmarked(
    reader: Reader, tmp_path: Path, boxed: bool
) -> None:
    for bill in bills(2, most_pages=14, most_rows=120, seed=1):
        result = told(reader, tmp_path, bill, boxed=boxed)
        done = (result.status, result.lost, result.doubled, result.in_order)
        assert done == ("valid", 0, 0, True)
        assert not result.marked


def test_what_goes_wrong_is_mended_or_told(reader: Reader, tmp_path: Path) -> None:
    """Rows that are forgotten or doubled, answers that are cut off or loop: 0 in silence."""
    reader.faults = Faults(forget=0.03, double=0.03, cut=0.2, loop=0.1)
    for bill in bills(2, most_pages=8, most_rows=100, seed=2):
        result = told(reader, tmp_path, bill, boxed=False)
        assert (result.lost_silently, result.doubled_silently) == (0, 0), result
        assert result.in_order


def test_doubled_rows_are_gone_once_their_pages_are_asked_about_again(
    reader: Reader, tmp_path: Path
) -> None:
    """Also where the further answers double rows of their own."""
    reader.faults = Faults(double=0.03)
    (bill,) = (
        each for each in bills(3, most_pages=300, most_rows=2000, seed=0) if len(each.rows) == 270
    )
    result = told(reader, tmp_path, bill, boxed=False)
    assert (result.status, result.lost, result.doubled) == ("valid", 0, 0)


@pytest.mark.long
@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize(
    "faults", [Faults(forget=0.05), Faults(double=0.05), Faults(cut=0.4), Faults(loop=0.3)]
)
def test_each_fault_is_mended_or_told(
    reader: Reader, tmp_path: Path, faults: Faults, boxed: bool
) -> None:
    """Longer documents, several windows."""
    reader.faults = faults
    for bill in bills(4, most_pages=60, most_rows=600, seed=3):
        result = told(reader, tmp_path, bill, boxed=boxed)
        assert (result.lost_silently, result.doubled_silently) == (0, 0), result
        assert result.in_order
