"""A cut answer gives what is whole in it: nothing mended, nothing invented, in linear time, whatever the text."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answer import parse
from pipeline.errors import ReplyError
from pipeline.partial import complete

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    SCALARS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def kept(text: str) -> Any:
    return parse(complete(text))


def outcome(text: str) -> tuple[str, Any]:
    """The reason of our own error, or what is kept; any other error fails the test."""
    try:
        return "", kept(text)
    except ReplyError as error:
        return error.reason, None


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"no": "R-1", "rows": [{"a": 1}, {"a": 2', {"no": "R-1", "rows": [{"a": 1}]}),
        ('{"no": "R-1", "rows": [', {"no": "R-1"}),
        ('{"no": "R-1", "total": 12', {"no": "R-1"}),
        ('{"no": "R-1", "total": 12 ', {"no": "R-1"}),
        ('{"no": "R-1", "total": 12,', {"no": "R-1", "total": 12}),
        ('{"no": "R-1", "paid": true', {"no": "R-1", "paid": True}),
        ('{"no": "R-1", "paid": tru', {"no": "R-1"}),
        ('{"no": "R-1", "to": "Ann', {"no": "R-1"}),
        ('{"no": "R-1", "to": "Ann\\', {"no": "R-1"}),
        ('{"no": "R-1", "to', {"no": "R-1"}),
        ('{"no": "R-1", "to"', {"no": "R-1"}),
        ('{"no": "R-1", "to":', {"no": "R-1"}),
        ('{"seller": {"name": "A", "vat": "D', {"seller": {"name": "A"}}),
        ('[{"lines": [1, 2]}, {"lines": [3, 4], "x": ', [{"lines": [1, 2]}]),
        ("[[1, 2], [3, 4", [[1, 2]]),
        ('[{"party": {"name": "A", "ro', None),
        ("[1, 2, 3", [1, 2]),
        ("[1, -", [1]),
        ('```json\n{"a": 1, "b"', {"a": 1}),
        ('\ufeff {"a": [], "b"', {"a": []}),
        ('{"a": 1}', {"a": 1}),
        ('```\n{"a": 1}\n``', {"a": 1}),
    ],
)  # fmt: skip
def test_whole_items_and_members_stay_and_the_rest_goes(text: str, data: Any) -> None:
    """A row that is not closed goes with all its values; a list that was only opened says nothing."""
    if data is None:
        with pytest.raises(ReplyError) as error:
            kept(text)
        assert error.value.reason == "nothing_whole"
    else:
        assert kept(text) == data


@pytest.mark.parametrize(
    "text",
    ['{"a": 1 "b": 2, "c"', '{"a": 1,, "b', "[1, 2}", '{1: 2, "b"', "{,", "[1,]", '{"a" 1, "b', '{"a": 1} and', "] [",
     '{"a": [1, 2}, "b'],
)  # fmt: skip
def test_what_breaks_the_rules_before_its_end_is_not_cut_but_broken(text: str) -> None:
    with pytest.raises(ReplyError) as error:
        complete(text)
    assert error.value.reason == "not_json"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"rows": [{"a": 1, "a": 2}, {"a"', "doubled_key"),
        ('{"a": 1, "a": 2, "b', "doubled_key"),
        ('{"a": NaN, "b', "not_json"),
        ('{"a": 1e999, "b', "not_json"),
        ('{"a": hello, "b', "not_json"),
        ('{"a": "\x00", "b', "not_json"),
        ('{"a": ' + "9" * 5000 + ", ", "not_json"),
    ],
)
def test_values_are_read_as_those_of_whole_answers(text: str, reason: str) -> None:
    """A doubled key and what is no number are no more of an answer in a cut text."""
    with pytest.raises(ReplyError) as error:
        kept(text)
    assert error.value.reason == reason


@given(JSON, st.data())
def test_a_cut_never_gives_what_the_whole_does_not_hold(data: Any, draw: st.DataObject) -> None:
    """Cut anywhere, what is kept is the beginning of each list, and members of each object, unchanged."""
    text = json.dumps(data, ensure_ascii=draw.draw(st.booleans()))
    place = draw.draw(st.integers(0, len(text)))
    reason, part = outcome(text[:place])
    assert reason in {"", "nothing_whole"}
    if not reason:
        assert_part(part, data)


def assert_part(part: Any, whole: Any) -> None:
    if isinstance(part, dict):
        assert isinstance(whole, dict)
        names = list(part)
        assert names == list(whole)[: len(names)]
        assert all(part[name] == whole[name] for name in names[:-1])
        for name in names[-1:]:
            assert_part(part[name], whole[name])
    elif isinstance(part, list):
        assert part == whole[: len(part)]
    else:
        assert part == whole
        assert type(part) is type(whole)


@given(st.text(alphabet='{}[],:"\\ \n0123456789.eE+-truefalsn`\ud800ä', max_size=60))
def test_any_text_ends_in_a_value_or_in_our_own_error(text: str) -> None:
    outcome(text)


@pytest.mark.parametrize(
    "text",
    ["[" * 1_000_000, '{"a":' * 300_000, "[{}," * 300_000, '"' + "\\" * 1_000_001, '{"' + "a" * 3_000_000,
     "[" + "1" * 2_000_000, "[" + "1," * 500_000, "`" * 1_000_000, '["' + "\\u00" * 500_000, " " * 3_000_000 + "["],
    ids=["lists", "objects", "items", "escapes", "string", "digits", "numbers", "fences", "half escapes", "blanks"],
)  # fmt: skip
def test_hostile_texts_take_linear_time(text: str) -> None:
    """A megabyte or more of brackets, escapes or digits: our own error or a value, at once."""
    started = time.process_time()
    outcome(text)
    assert time.process_time() - started < 4


@pytest.mark.corpus
def test_texts_of_a_parser_suite_are_accepted_and_refused_as_labelled(corpus: Path) -> None:
    """Whole, and cut at every byte: a value or our own error. NaN, doubled keys and deep nesting are refused on purpose."""
    files = sorted((corpus / "json-parsing").rglob("[yni]_*.json"))
    assert len(files) == 318
    stricter = set()
    for file in files:
        raw = file.read_bytes()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
            label = "i"  # an answer comes as text: that it was no UTF-8 is told before
        else:
            label = file.name[0]
        try:
            parse(text)
        except ReplyError:
            if label == "y":
                stricter.add(file.name)
        else:
            assert label != "n", file.name
        for place in range(min(len(text), 150) + 1):
            outcome(text[:place])
    assert stricter == {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}
