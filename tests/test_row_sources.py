"""Rows of JSONL and CSV: each is a document of its own, and none is lost, whatever the file looks like."""

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.document import Document
from pipeline.errors import LoadError
from pipeline.rows import Columns, document, rows_of, with_rows
from pipeline.rows.cells import cells, columns, delimiter_of, is_open
from pipeline.rows.lines import LARGEST_ROW, lines
from pipeline.sources import Source, named_file, sources

PLAIN = Columns()
CELL = st.text(alphabet=st.sampled_from('ab1 é"\n,;\t|x'), max_size=6)


def listed(
    folder: Path, name: str, content: bytes | str, named: Columns = PLAIN
) -> list[tuple[str, Document | LoadError]]:
    """What becomes of a file: the name of each row, and its document or why it has none."""
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    found: list[tuple[str, Document | LoadError]] = []
    for source in rows_of(Source(name, file), named):
        try:
            found.append((source.path.removeprefix(name), document(source)))
        except LoadError as error:
            found.append((source.path.removeprefix(name), error))
    return found


def texts(found: list[tuple[str, Document | LoadError]]) -> dict[str, str]:
    """The text of each row, or the reason why it can't be read."""
    return {
        name: each.reason if isinstance(each, LoadError) else each.pages[0].text
        for name, each in found
    }


def test_each_line_of_jsonl_is_a_document_of_its_own(tmp_path: Path) -> None:
    """Blank lines are no rows; numbers stay as they are written; columns are there for prompts and `when`."""
    found = listed(tmp_path, "r.jsonl", '{"n": 1.10, "s": "é"}\n\n"a text"\n[1, 2]\n7')
    assert texts(found) == {
        "#1": '{"n": 1.10, "s": "é"}',
        "#2": "a text",
        "#3": "[1, 2]",
        "#4": "7",
    }
    first = found[0][1]
    assert isinstance(first, Document)
    assert (first.row, first.page_count) == ({"n": 1.1, "s": "é"}, 1)


def test_a_column_is_the_text_and_the_others_go_beside_it(tmp_path: Path) -> None:
    named = Columns("body", "id")
    found = listed(tmp_path, "t.csv", 'id,body,lang\nA/7,"Hello,\nworld",en\nB#1,x,de\n', named)
    assert texts(found) == {"#A%2F7": "Hello,\nworld", "#B%231": "x"}
    (_, first), _ = found
    assert isinstance(first, Document)
    assert first.row == {"id": "A/7", "lang": "en"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not_json"),
        ('{"a": 1, "a": 2}', "not_json"),
        ('{"a": NaN}', "not_json"),
        ('{"a": 1e999}', "not_json"),
        ('{"a": ' + "9" * 5000 + "}", "not_json"),
        ("[" * 200 + "]" * 200, "not_json"),
        ("[" * 100_000, "not_json"),
        ('"a\tb"', "not_json"),
        ('"\\u0000"', "unsupported"),
        ('"  "', "empty"),
        (b'"\xff"', "damaged"),
        ('"' + "x" * LARGEST_ROW + '"', "too_large"),
    ],
)
def test_a_bad_line_costs_no_other_row(tmp_path: Path, line: str | bytes, reason: str) -> None:
    raw = line.encode() if isinstance(line, str) else line
    found = listed(tmp_path, "r.jsonl", b'{"a": "first"}\n' + raw + b'\n{"a": "last"}\n')
    assert texts(found) == {"#1": '{"a": "first"}', "#2": reason, "#3": '{"a": "last"}'}
    wrong = found[1][1]
    assert isinstance(wrong, LoadError)
    assert str(wrong).startswith("line 2: ")


def test_half_a_character_is_read_as_one_that_is_lost(tmp_path: Path) -> None:
    ((_, found),) = listed(tmp_path, "r.jsonl", '{"t": "a\\ud83d", "\\udc00": 1}', Columns("t"))
    assert isinstance(found, Document)
    assert (found.pages[0].text, found.row) == ("a\ufffd", {"\ufffd": 1})
    assert "halves of characters" in found.warnings[0]


def test_ids_name_rows_and_a_doubled_one_is_told(tmp_path: Path) -> None:
    lines = '{"id": "x", "t": "1"}\n{"id": 7, "t": "2"}\n{"id": "x", "t": "3"}\n{"t": "4"}\n{\n'
    found = listed(tmp_path, "r.jsonl", lines, Columns("t", "id"))
    assert texts(found) == {
        "#x": "1",
        "#7": "2",
        "#x#3": "doubled_id",
        "##4": "no_id",
        "##5": "not_json",
    }


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b'a,b\n1,"x\n4,5\n6,7\n', {"#1": "unclosed_quote", "#2": "4 5", "#3": "6 7"}),
        (b"a,b\n1\n1,2,3\n1,2,,\n", {"#1": "wrong_cells", "#2": "wrong_cells", "#3": "1 2"}),
        (b"a,b\n1,\0\n3,4\n", {"#1": "unsupported", "#2": "3 4"}),
        (b"a,b\n" + b"x" * (LARGEST_ROW + 2) + b",\n3,4\n", {"#1": "too_large", "#2": "3 4"}),
        (b"a,b\n1," + b'"x\n' + (b"y" * 9999 + b"\n") * 101 + b"3,4\n", None),
        (b"\xef\xbb\xbfsep=;\r\na;b\r\n1;2,5\r\n", {"#1": "1 2,5"}),
        ("größe;b\r\n1;ä\r\n".encode("cp1252"), {"#1": "1 ä"}),
        ("a\tb\n1\tü\n".encode("utf-16"), {"#1": "1 ü"}),
        ("a|b\n1|ü\n".encode("utf-16-be"), {"#1": "1 ü"}),
        (b"a,b\r1,2\r3,4\r", {"#1": "1 2", "#2": "3 4"}),
        (b"a,b\n\n , \n,,\n1,2\n", {"#1": "1 2"}),
        (b'"a\nc",b\n1,2\n', {"#1": "1 2"}),
    ],
)
def test_a_table_is_read_in_whatever_form_it_comes(
    tmp_path: Path, content: bytes, rows: dict[str, str] | None
) -> None:
    found = listed(tmp_path, "t.csv", content)
    told = {
        name: each.reason
        if isinstance(each, LoadError)
        else " ".join(map(str, (each.row or {}).values()))
        for name, each in found
    }
    if (
        rows is None
    ):  # a quote that stays open for longer than a row may be: the lines behind it are rows again
        assert (told["#1"], told["#2"]) == ("unclosed_quote", "wrong_cells")
        assert list(told.values())[-1] == "3 4"
    else:
        assert told == rows


def test_columns_without_a_name_are_numbered() -> None:
    assert columns("a,, b ,column_4,", ",") == ["a", "column_2", "b", "column_4", "column_5"]
    assert columns(",column_1", ",") == ["column_1_", "column_1"]


def test_a_table_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    """Which of the two was meant can't be told: one line says so, and no row is read."""
    (source,) = listed(tmp_path, "t.csv", b"id,text,text \n1,a,b\n")
    assert isinstance(source[1], LoadError)
    assert source[1].reason == "doubled_column"
    assert str(source[1]) == "t.csv: two columns are named text: give each a name of its own"


@pytest.mark.parametrize(
    ("text", "name", "delimiter"),
    [
        ("a;b;c\n1,5;2,5;3\n", "t.csv", ";"),
        ("name;amount, EUR;x\n1;2,5;3\n4;5;6\n", "t.csv", ";"),
        ("id,text\n1,a; b\n2,c; d\n", "t.csv", ","),
        ("text\nwhatever; it is\n", "t.csv", ","),
        ("a,b\tc\n1\t2\n", "t.tsv", "\t"),
        ("a,b\n1,2\n", "t.tsv", ","),
    ],
)
def test_the_delimiter_is_the_one_that_fits(text: str, name: str, delimiter: str) -> None:
    assert delimiter_of(text, name) == (delimiter, False)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("e.jsonl", b"", ""),
        ("e.jsonl", b" \n\n", ""),
        ("e.csv", b"a,b\n", ""),
        ("e.csv", b"PK\3\4" + b"\0" * 99, "unsupported"),
        ("e.csv", b"<!doctype html><html><body>Sign in", "unsupported"),
        ("e.csv", b"a,b\n1,2\n", "no_column"),
    ],
)
def test_a_file_that_is_not_rows_is_one_line_and_one_without_any_is_none(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    named = Columns("c" if reason == "no_column" else None)
    assert texts(listed(tmp_path, name, content, named)) == ({"": reason} if reason else {})


@given(st.lists(st.lists(CELL, min_size=2, max_size=4), min_size=1, max_size=5))
@example([["", ""], ['"', "\n"]])
def test_what_python_writes_is_read_as_python_reads_it(table: list[list[str]]) -> None:
    width = max(map(len, table))
    rows = [[*row, *["z"] * (width - len(row))] for row in table]
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([["h"] * width, *rows])
    text = written.getvalue()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["h"] * width, *rows]
    assert records(text) == [["h"] * width, *rows]


@given(st.text(alphabet=st.sampled_from('a"\n, '), max_size=40))
def test_whatever_python_reads_of_a_table_is_read_here(text: str) -> None:
    """Also what is no RFC 4180: quotes inside a cell, text behind a closing quote."""
    theirs = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    assert [row for row in records(text) if row != [""]] == [row for row in theirs if row != [""]]


def records(text: str) -> list[list[str]]:
    """The records of a text, as they are put together line by line."""
    found, record, inside = [], "", False
    for line in text.split("\n"):
        record = f"{record}\n{line}" if inside else line
        inside = is_open(line, ",", inside)
        if not inside:
            found.append(cells(record, ","))
    if inside:
        return [*found, cells(record, ",")]
    return found[:-1] if text.endswith("\n") else found


@given(
    st.lists(st.text(alphabet=st.characters(codec="utf-16", exclude_characters="\n"), max_size=9)),
    st.sampled_from(["utf-8", "utf-16-le", "utf-16-be", "utf-32-le"]),
    st.integers(1, 40),
)
def test_lines_are_found_in_any_encoding_and_however_they_are_read(
    rows: list[str], encoding: str, chunk: int
) -> None:
    content = "".join(f"{row}\n" for row in rows).encode(encoding)
    descriptor = os.memfd_create("lines")
    try:
        os.write(descriptor, content)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipeline.rows.lines._CHUNK", chunk * 4)
            found = list(lines(descriptor, 0, "\n".encode(encoding)))
    finally:
        os.close(descriptor)
    assert [each.content.decode(encoding) for each in found] == rows
    assert [each.start for each in found[1:]] == [each.end for each in found[:-1]]


@given(st.binary(max_size=300), st.sampled_from(["r.jsonl", "r.csv", "r.tsv", "r.ndjson"]))
def test_no_file_of_rows_breaks_the_reading(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    found = listed(tmp_path_factory.mktemp("any"), name, content)
    assert found or name.endswith("sv") or not re.search(b"[a-z]", content), "a line is no row"
    assert len({name for name, _ in found}) == len(found)


@given(st.lists(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of), max_leaves=4), min_size=1, max_size=5))  # fmt: skip
def test_every_json_is_a_row_with_its_columns(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    content = "".join(json.dumps({"v": row}) + "\r\n" for row in rows)
    found = listed(tmp_path_factory.mktemp("json"), "r.jsonl", content)
    read = [None if isinstance(each, LoadError) else each.row for _, each in found]
    assert [r and r["v"] for r in read if r] == [
        row for row, r in zip(rows, read, strict=True) if r
    ]
    refused = {each.reason for _, each in found if isinstance(each, LoadError)}
    assert refused <= {"unsupported"}, "a zero byte, and nothing else"


def test_a_mark_is_of_the_row_and_not_of_the_file(tmp_path: Path) -> None:
    """Rows that are appended, a file that is touched, the line end of the last row: none of it changes the others."""
    file = tmp_path / "r.csv"
    file.write_text("id,t\n1,a\n2,b")
    before = [(s.path, s.size, s.mtime_ns) for s in with_rows([named_file(str(file))], PLAIN)]
    file.write_text("id,t\r\n\r\n1,a\r\n2,b\r\n3,c\r\n")
    after = [(s.path, s.size, s.mtime_ns) for s in with_rows([named_file(str(file))], PLAIN)]
    assert after[:2] == before
    other = [s.mtime_ns for s in with_rows([named_file(str(file))], Columns("t"))]
    assert set(other).isdisjoint(mark for _, _, mark in after), "another text is another document"
    file.write_text("id,text\n1,a\n2,b")
    renamed = [s.mtime_ns for s in with_rows([named_file(str(file))], PLAIN)]
    assert set(renamed).isdisjoint(mark for _, _, mark in after), "other columns are"


def test_a_row_that_changed_since_it_was_listed_is_not_taken_for_another(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n')
    first, second = with_rows([named_file(str(file))], PLAIN)
    file.write_text('{"a": 1}\n{"a": 3}\n')
    assert document(first).row == {"a": 1}
    with pytest.raises(LoadError) as caught:
        document(second)
    assert caught.value.reason == "changed"


def test_a_file_of_rows_may_be_larger_than_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder, its rows stand where the file does; nothing of them is held."""
    monkeypatch.setattr("pipeline.sources.LARGEST_FILE", 3)
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.jsonl").write_text("1\n2\n")
    (tmp_path / "c.txt").write_text("y")
    found = list(with_rows(sources([tmp_path]), PLAIN))
    assert [each.path for each in found] == ["a.txt", "b.jsonl#1", "b.jsonl#2", "c.txt"]
    assert [each.problem for each in found] == [None] * 4
    assert all(each.content is None for each in found)
