"""The parts of a file: exactly those lists that have each page once and in order are right, also across windows."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline import deriving
from pipeline.document import Window
from pipeline.judge import judge
from pipeline.prompts import Ask
from pipeline.stages import Stage
from pipeline.windows import Piece, out_of_place, whole
from tests.mending import text_document

STAGE = Stage("parts", task="split")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["1-2", "3-9999999", "0", "2-1"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["parts", "pages", "label", "x"]), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


def told(first: int, last: int) -> dict[str, str]:
    return {"pages": f"{first}-{last}" if last > first else f"{first}"}


def parts(starts: set[int], first: int, last: int) -> list[dict[str, str]]:
    """The parts of some pages: one from each start to the page before the next one."""
    begins = sorted({first, *(n for n in starts if first < n <= last)})
    return [told(begin, end - 1) for begin, end in pairwise([*begins, last + 1])]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=5))
def test_only_a_list_with_each_page_once_and_in_order_is_right(
    ranges: list[tuple[int, int]],
) -> None:
    data = {
        "parts": [
            told(*each) if each[0] <= each[1] else {"pages": f"{each[0]}-{each[1]}"}
            for each in ranges
        ]
    }
    pages = [page for first, last in ranges for page in range(first, last + 1)]
    is_right = pages == list(range(1, 7)) and all(first <= last for first, last in ranges)
    assert (list(out_of_place(data, (1, 6))) == []) == is_right


@given(ANYTHING, st.booleans())
def test_whatever_comes_is_judged(data: Any, is_known: bool) -> None:
    document = text_document("a", "b") if is_known else None
    found = judge(STAGE, data, document)
    if not found:
        assert is_known is False or [p["pages"] for p in data["parts"]] in (["1", "2"], ["1-2"], ["1-1", "2-2"], ["1-1", "2"], ["1", "2-2"])  # fmt: skip


@given(st.integers(2, 40), st.sets(st.integers(1, 40)), st.sets(st.integers(2, 40)))
def test_right_answers_of_windows_make_the_right_parts(
    count: int, starts: set[int], cuts: set[int]
) -> None:
    """Wherever a file is cut, and whatever begins where."""
    pieces = []
    for first, end in pairwise([1, *sorted(n for n in cuts if n <= count), count + 1]):
        beside = [n for n in (first - 1, end) if 1 <= n <= count]
        window = Window(tuple(range(first, end)), tuple(beside))
        data = {"parts": parts(starts, window.shown[0], window.shown[-1])}
        pieces.append(Piece(Ask(window, STAGE.schema), data, (), window.pages))
    merged = whole(STAGE, pieces)
    assert merged.data == {"parts": parts(starts, 1, count)}
    assert merged.findings == ()


def test_a_part_has_the_warnings_of_its_own_pages_alone() -> None:
    own = (
        "the file is damaged",
        "has letters without a meaning: pages 1, 3",
        "page 2: its words were not recognised: it is full",
        "can't be read and count as empty: pages 1 and 20 more",
    )
    others = ("has letters without a meaning: page 1", "page 12: its words were not recognised: x")
    file = replace(text_document("a", "b", "c", "d"), warnings=(*own, *others))
    made = deriving.part(file, "2-4")
    assert made.warnings == own
    assert deriving.of_part(file, made).warnings == own


def test_what_is_json_says_so() -> None:
    kinds = [
        deriving.item("x.pdf", "/lines/0", value).media_type for value in ({"a": 1}, 7, "text")
    ]
    assert kinds == ["application/json", "application/json", "text/plain"]
