"""Every input is seen once, in a stable order, under one name; what can't be read is still an input."""

import os
from pathlib import Path

import pytest

from pipeline.errors import LoadError, UsageError
from pipeline.sources import LARGEST_FILE, Source, document_name, named_file, real_name, sources


def paths(*inputs: str | Path, leave_out: tuple[Path, ...] = ()) -> list[str]:
    return [source.path for source in sources(inputs, leave_out=leave_out)]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    (folder / "acme").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "acme/1.txt", ".hidden"):
        (folder / name).write_text("x")
    return folder


def test_a_folder_in_the_order_of_its_names_without_dot_files(inbox: Path) -> None:
    assert paths(inbox) == ["a.txt", "acme/1.txt", "b.txt"]


def test_several_folders_put_their_names_in_front(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/c.txt").write_text("x")
    assert paths(inbox, tmp_path / "more") == [
        "inbox/a.txt",
        "inbox/acme/1.txt",
        "inbox/b.txt",
        "more/c.txt",
    ]


def test_a_folder_and_a_file_of_it_are_two_names_of_one_document(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named beside other inputs, a folder's documents carry its name; each document is read once."""
    monkeypatch.chdir(inbox.parent)
    (inbox.parent / "a.txt").write_text("another")
    assert paths("inbox", "a.txt") == ["inbox/a.txt", "inbox/acme/1.txt", "inbox/b.txt", "a.txt"]
    assert paths("inbox", "inbox/a.txt") == ["inbox/acme/1.txt", "inbox/b.txt", "inbox/a.txt"]


def test_two_folders_of_one_name_are_an_error(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "other/inbox").mkdir(parents=True)
    with pytest.raises(UsageError, match="same name"):
        paths(inbox, tmp_path / "other/inbox")


def test_a_file_is_named_as_typed_and_a_pattern_finds_each_once(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inbox)
    assert paths("a.txt", "*.txt", "./acme/1.txt") == ["a.txt", "b.txt", "./acme/1.txt"]
    assert paths("nothing-*.pdf") == []
    with pytest.raises(UsageError, match="no such file"):
        sources(["a.txt", "missing.pdf"])  # before anything is read


def test_inputs_that_are_relative_to_a_folder_are_named_as_typed_and_read_there(
    inbox: Path,
) -> None:
    found = list(sources(["acme/1.txt", "*.txt"], base=inbox))
    assert [each.path for each in found] == ["acme/1.txt", "a.txt", "b.txt"]
    assert [each.path for each in sources(["acme"], base=inbox)] == ["1.txt"]
    assert [each.read() for each in found] == [b"x"] * 3


def test_output_and_own_files_are_never_inputs(inbox: Path) -> None:
    (inbox / "out").mkdir()
    (inbox / "out/results.jsonl").write_text("{}")
    assert paths(inbox, leave_out=(inbox / "out", inbox / "b.txt")) == ["a.txt", "acme/1.txt"]


def test_links_out_of_the_folder_pipes_and_loops_are_inputs_that_cant_be_read(
    inbox: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("x")
    (inbox / "out-link").symlink_to(tmp_path / "secret")
    (inbox / "in-link").symlink_to(inbox / "a.txt")
    (inbox / "loop").symlink_to(inbox)
    (inbox / "gone").symlink_to(inbox / "nowhere")
    os.mkfifo(inbox / "pipe")
    found = {source.path: source for source in sources([inbox])}
    reasons = {path: source.problem[0] for path, source in found.items() if source.problem}
    assert reasons == {
        "out-link": "link",
        "loop": "link",
        "gone": "not_readable",
        "pipe": "not_a_file",
    }
    assert found["in-link"].read() == b"x"
    with pytest.raises(LoadError, match="out of the input folder"):
        found["out-link"].read()


def test_a_pipe_that_takes_a_files_place_does_not_block(inbox: Path) -> None:
    source = named_file(str(inbox / "a.txt"))
    (inbox / "a.txt").unlink()
    os.mkfifo(inbox / "a.txt")
    with pytest.raises(LoadError) as error:
        source.read()
    assert error.value.reason == "not_a_file"


def test_a_file_that_is_too_large_is_refused_by_its_size(inbox: Path) -> None:
    with (inbox / "huge.bin").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    (source,) = [each for each in sources([inbox]) if each.path == "huge.bin"]
    with pytest.raises(LoadError, match="split it"):
        source.read()


def test_a_pattern_never_takes_the_output_for_an_input(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inbox)
    (inbox / "out/deep").mkdir(parents=True)
    (inbox / "out/deep/1.txt").write_text("x")
    assert paths("**/*.txt", leave_out=(inbox / "out",)) == ["a.txt", "acme/1.txt", "b.txt"]


def test_names_are_reversible_and_always_valid_text(inbox: Path) -> None:
    """`#` and `!` mark derived documents, so real names can't hold them; bytes that are no UTF-8 can't stand in JSON."""
    assert document_name("a#1!b%.pdf") == "a%231%21b%25.pdf"
    for name in ("a#1!b%.pdf", os.fsdecode(b"caf\xe9%41"), "plain"):
        assert real_name(document_name(name)) == name
    raw = os.fsencode(inbox) + b"/caf\xe9.txt"
    with open(raw, "wb") as file:  # noqa: PTH123, the name is bytes
        file.write(b"x")
    assert "caf%E9.txt" in paths(inbox)


def test_content_that_was_given_is_read_without_a_file() -> None:
    assert Source("stdin", content=b"hello").read() == b"hello"


def test_a_large_folder_is_sorted_on_disk_in_the_same_order(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (inbox / f"{number * 7919 % 300}.txt").write_text("x")
    in_memory = paths(inbox)
    pattern = paths(f"{inbox}/*.txt")
    monkeypatch.setattr("pipeline.sources._FEW", 10)
    assert paths(inbox) == in_memory
    assert paths(f"{inbox}/*.txt") == pattern
    assert len(in_memory) == 303


def test_a_tree_may_be_deeper_than_pythons_calls(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inbox)
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    Path("deepest.txt").write_text("x")
    try:
        assert paths(inbox)[-1] == "d/" * 1500 + "deepest.txt"
    finally:  # deeper than what removes a test's folder can go
        Path("deepest.txt").unlink()
        for _ in range(1500):
            os.chdir("..")
            Path("d").rmdir()


def test_a_socket_and_a_device_are_inputs_that_cant_be_read(inbox: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(inbox / "socket"))
        found = {source.path: source for source in sources([inbox, "/dev/zero"])}
        for path in ("inbox/socket", "/dev/zero"):
            with pytest.raises(LoadError, match="not a plain file"):
                found[path].read()
