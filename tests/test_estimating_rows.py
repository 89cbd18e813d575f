"""What `run --dry-run` expects of tables: rows are counted on the pages, pages of a document once."""

import json
from pathlib import Path

import pytest

from pipeline import Pipeline, Stage
from pipeline.document import Document, Page
from pipeline.estimating.answer import answer_tokens
from pipeline.values.tokens import text_tokens
from tests import bordered

MODEL = "gemini-3.1-flash-lite"


@pytest.mark.parametrize(("pages", "rows"), [(1, 20), (2, 40), (10, 300)])
@pytest.mark.parametrize("boxed", [True, False])
def test_an_answer_has_as_many_rows_as_the_pages_print(
    pages: int, rows: int, *, boxed: bool
) -> None:
    """Within 35 %, not by the number of lines alone."""
    made = bordered.made(pages, pages, rows)
    true = text_tokens(json.dumps(made.data, separators=(",", ":")))
    told = answer_tokens(bordered.SCHEMA.tree, bordered.document(made, boxed=boxed))
    assert abs(told - true) <= 0.35 * true


def test_figures_in_the_words_of_a_row_make_it_no_other_shape() -> None:
    """Sizes among the words: each is a row all the same."""
    lines = [f"Screw {n} x 40   3   1.{n:02}   3.50" if n % 3 else f"Nut   3   1.{n:02}   3.50"
             for n in range(10, 40)]  # fmt: skip
    plain = [line.replace(f"Screw {n} x 40", "Nut") for n, line in enumerate(lines, 10)]
    first, second = (answer_tokens(bordered.SCHEMA.tree, one(*text)) for text in (lines, plain))
    assert second <= first <= 1.3 * second


def test_addresses_and_telephones_are_no_rows() -> None:
    """Lines of whole numbers that come on every page."""
    letter = ["Example Works, Main Street 12, 10115", "Phone 030 1234567"] * 3
    words = ["Dear all, nothing but words"] * 6
    told = [answer_tokens(bordered.SCHEMA.tree, one(*text)) for text in (letter, words)]
    assert told[0] == told[1]


def test_a_schema_without_rows_has_none() -> None:
    stage = Stage("plain", "vendor, total float")
    given = bordered.document(bordered.made(1, 2, 40), boxed=False)
    assert answer_tokens(stage.schema.tree, given) < 40


def test_a_page_that_two_windows_see_is_counted_once(tmp_path: Path) -> None:
    """What stands beside a window's own pages is read for the context alone; a second vote reads no more pages."""
    (tmp_path / "inbox").mkdir()
    made = bordered.made(7, 30, 900)
    (tmp_path / "inbox" / "bill.pdf").write_bytes(bordered.as_pdf(made))
    told = Pipeline(Stage("bill", bordered.SCHEMA, votes=2), model=MODEL).estimate(
        tmp_path / "inbox", tmp_path / "out"
    )
    share = told.stages[0]
    assert share.requests > 2
    assert share.pages == 30


def one(*lines: str) -> Document:
    """A document of one page of text."""
    return Document("d", "0" * 64, 1, "text/plain", 1, (Page(1, "\n".join(lines)),), ())
