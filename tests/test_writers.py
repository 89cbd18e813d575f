"""Data files have one place each, inside the output folder, and are whole or not there."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources import document_name
from pipeline.writers import data_file, dump, remove_data, replace_file, write_data

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=300)


def test_the_place_of_a_documents_data() -> None:
    assert data_file("invoice", "acme/0042.pdf") == Path("invoice/acme/0042.pdf.json")
    assert data_file("invoice", "a.pdf", rejected=True) == Path("rejected/invoice/a.pdf.json")
    assert data_file("s", "../../etc/passwd") == Path("s/%2E%2E/%2E%2E/etc/passwd.json")
    assert data_file("s", "/etc/passwd") == Path("s/%2Fetc/passwd.json")


@given(NAMES)
def test_whatever_the_name_the_file_lies_in_its_stage_and_can_be_made(name: str) -> None:
    place = data_file(
        "s",
        document_name(name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"))
        or "x",
    )
    assert place.parts[0] == "s"
    assert ".." not in place.parts
    assert all(len(part.encode()) <= 255 for part in place.parts)


@given(st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_two_names_never_share_a_place(names: list[str]) -> None:
    tidy = ["/".join(part for part in name.split("/") if part) for name in names]
    if all(tidy) and tidy[0] != tidy[1]:
        first, second = (data_file("s", document_name(name)) for name in tidy)
        assert first != second


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.json"
    replace_file(target, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.writers.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_removing_data_takes_empty_folders_along_but_never_the_output(tmp_path: Path) -> None:
    write_data(tmp_path, Path("s/a/b/1.json"), {"x": 1})
    write_data(tmp_path, Path("s/a/2.json"), {"x": 2})
    remove_data(tmp_path, Path("s/a/b/1.json"))
    assert [p.name for p in (tmp_path / "s/a").iterdir()] == ["2.json"]
    remove_data(tmp_path, Path("s/a/2.json"))
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.exists()


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(st.characters(codec=None)),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_json_text_is_valid_utf8_and_reads_back_equal(data: object) -> None:
    assert json.loads(dump(data).encode("utf-8")) == data


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_does_not_have_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump({"x": value})
