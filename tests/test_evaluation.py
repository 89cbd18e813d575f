"""Scores against gold: agreement with sums done by hand and with a second method, and what never changes them."""

import csv
import io
import itertools
import json
import random
import string
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NoInput, UsageError
from pipeline.evaluation import Evaluation, evaluate
from pipeline.evaluation.compare import MOST_PAIRS, compared
from pipeline.evaluation.intervals import Sums, wilson
from pipeline.evaluation.methods import parsed
from pipeline.evaluation.rows import heaviest
from pipeline.evaluation.rules import Rule, chosen
from pipeline.results import Attempt, DocumentRef, Evidence, Result, leaves
from pipeline.schema import Schema

SCHEMA = {
    "type": "object",
    "properties": {
        "number": {"type": ["string", "null"]},
        "date": {"type": ["string", "null"], "format": "date"},
        "total": {"type": ["number", "null"]},
        "kind": {"enum": ["invoice", "credit note", None]},
        "paid": {"type": ["boolean", "null"]},
        "seller": {
            "type": ["object", "null"],
            "properties": {"name": {"type": ["string", "null"]}, "city": {"type": "string"}},
        },
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "amount": {"type": "number"}},
            },
        },
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}


def rule(schema: dict[str, Any] | None = None, **compare: str) -> Rule:
    """The rule of data with this schema, or without one; `total="number:1%"` chooses for /total."""
    made = Schema.of(schema) if schema else None
    picked, errors = chosen(
        made, {name if schema else f"/{name}": how for name, how in compare.items()}
    )
    assert not errors
    return Rule(made.tree if made else None, picked)


def counts(gold: Any, got: Any, how: Rule | None = None) -> Counter[str]:
    """How many leaves came to what."""
    return Counter(leaf.outcome for leaf in compared(gold, got, how or rule()).leaves)


def by_field(gold: Any, got: Any, how: Rule | None = None) -> Counter[tuple[str, str]]:
    found = compared(gold, got, how or rule())
    return Counter((leaf.rule.pointer, leaf.outcome) for leaf in found.leaves)


def written(folder: Path, documents: dict[str, Any]) -> Path:
    """A folder of JSON files, one a document."""
    for name, data in documents.items():
        file = folder / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(data))
    return folder


def ran(folder: Path, results: list[Result], schema: dict[str, Any] | None = None) -> Path:
    """An output folder as a run leaves it, without its data files."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(result.to_json()) for result in results]
    (folder / "results.jsonl").write_text("".join(line + "\n" for line in lines))
    stages = sorted({result.stage for result in results if result.stage})
    told = {
        "stages": [
            {"name": name, "sha256": name, "schema_sha256": "s", "evidence": "flagged"}
            for name in stages
        ],
        "schemas": {"s": schema} if schema else {},
        "engine": "local",
    }
    (folder / "run.json").write_text(json.dumps(told))
    return folder


def result(path: str, data: Any, stage: str | None = "extract", **more: Any) -> Result:
    return Result(document=DocumentRef(path), stage=stage, status="valid", data=data, **more)


# --- sums done by hand -------------------------------------------------------------------------------


def test_a_small_example_gives_the_numbers_that_a_person_counts(tmp_path: Path) -> None:
    """Three documents. By hand:

    a: number right, date right, total misread, kind rightly null               -> r 2, misread 1
    b: number missed, date right, total fabricated (gold null), kind right      -> r 2, missed 1, fab 1
    c: not in the output; number and total have a value in gold                 -> missed 2

    right 4; gold 3 + 3 + 2 = 8; given 3 + 3 = 6; precision 4/6, recall 4/8, F1 8/14.
    Nulls of gold that were answered: a/kind, b/total; one was filled.
    """
    gold = {
        "a.pdf": {"number": "A-1", "date": "2024-03-01", "total": 10.0, "kind": None},
        "b.pdf": {"number": "B-2", "date": "2024-03-02", "total": None, "kind": "invoice"},
        "c.pdf": {"number": "C-3", "date": None, "total": 5, "kind": None},
    }
    got = [
        result("a.pdf", {"number": "a 1", "date": "2024-03-01", "total": 11.0, "kind": None}),
        result("b.pdf", {"number": None, "date": "2024-03-02", "total": 7.0, "kind": "invoice"}),
    ]
    told = evaluate(written(tmp_path / "gold", gold), ran(tmp_path / "out", got, SCHEMA))
    overall = told.overall
    assert (overall.right, overall.missed, overall.misread, overall.fabricated) == (4, 3, 1, 1)
    assert (overall.filled_though_null, overall.gold_nulls) == (1, 2)
    assert overall.precision
    assert overall.recall
    assert overall.f1
    assert overall.precision.value == 4 / 6
    assert overall.recall.value == 4 / 8
    assert overall.f1.value == 8 / 14
    assert overall.exact == 3 / 8  # "a 1" is right, but not the same text
    assert (overall.documents, overall.documents_right) == (3, 0)
    number = told.fields["/number"]
    assert (number.right, number.missed, number.documents_right, number.documents) == (1, 2, 1, 3)
    assert told.fields["/date"].f1 is not None
    assert told.fields["/date"].f1.value == 1.0
    assert [(each.path, each.status) for each in told.documents] == [
        ("a.pdf", "valid"),
        ("b.pdf", "valid"),
        ("c.pdf", "no output"),
    ]
    assert any("1 of gold have no document" in note for note in told.notes)


def test_rows_that_are_missing_or_too_many_are_counted_leaf_by_leaf() -> None:
    """Gold has rows A, B, C; given are C with another amount, A, and X: 3 right, 1 misread, B missed, X extra."""
    gold = {"lines": [{"name": n, "amount": a} for n, a in (("A", 1), ("B", 2), ("C", 3))]}
    got = {"lines": [{"name": n, "amount": a} for n, a in (("C", 9), ("A", 1), ("X", 7))]}
    found = compared(gold, got, rule(SCHEMA))
    assert Counter(leaf.outcome for leaf in found.leaves) == Counter(
        right=3, misread=1, missed=2, extra=2
    )
    assert [row[1:4] for row in found.arrays] == [(3, 3, 2)]
    misread = next(leaf for leaf in found.leaves if leaf.outcome == "misread")
    assert (misread.rule.pointer, misread.pointer) == ("/lines/*/amount", "/lines/0/amount")


def test_null_empty_text_and_empty_containers_are_no_value() -> None:
    assert counts({"a": None, "b": " ", "c": []}, {"a": "", "b": None, "c": None}) == Counter(
        empty=2
    )
    assert counts({"lines": [{"name": "A"}, {"name": None}]}, {"lines": [{"name": "A"}]}) == {
        "right": 1
    }


def test_an_object_that_gold_says_is_absent_is_null_in_every_field() -> None:
    how = rule(SCHEMA)
    assert by_field({"seller": None}, {"seller": {"name": "X", "city": None}}, how) == {
        ("/seller/name", "fabricated"): 1,
        ("/seller/city", "empty"): 1,
    }
    assert counts({"seller": None}, {"seller": None}, how) == {"empty": 2}


def test_keys_that_gold_does_not_have_are_not_scored_unless_said() -> None:
    got = {"number": "A", "total": 1}
    assert counts({"number": "A"}, got) == Counter(right=1, unscored=1)
    strict = Rule(Schema.of(SCHEMA).tree, {}, absent_is_null=True)
    found = counts({"number": "A"}, got, strict)
    assert (found["right"], found["fabricated"]) == (1, 1)
    assert found["empty"] == 5  # date, kind, paid, both of seller; arrays without rows say nothing


def test_a_value_of_another_kind_is_never_right() -> None:
    assert counts({"seller": {"name": "X"}}, {"seller": "X"}) == Counter(missed=1, extra=1)
    assert counts({"number": "X"}, {"number": {"name": "X"}}) == Counter(misread=1)
    assert counts({"tags": ["a", "b"]}, {"tags": "a"}) == Counter(missed=2, extra=1)


def test_a_number_that_is_given_as_text_is_right_and_of_the_wrong_type(tmp_path: Path) -> None:
    gold = written(tmp_path / "gold", {"a": {"total": 1234.5, "number": "17"}})
    out = written(tmp_path / "out", {"a": {"total": "1,234.50", "number": 17}})
    told = evaluate(gold, out, schema=Schema.of(SCHEMA))
    assert (told.overall.right, told.overall.wrong_type, told.overall.exact) == (2, 2, 0.0)


# --- a second method ---------------------------------------------------------------------------------

SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from(["red", "Red", "blue", "green field", "green  Field", "", "7"]),
)
FLAT = st.dictionaries(st.sampled_from("abcd"), SCALAR, max_size=4)
ROWS = st.lists(st.fixed_dictionaries({"x": SCALAR, "y": SCALAR, "z": SCALAR}), max_size=4)
DATA = st.recursive(
    st.one_of(SCALAR, ROWS, st.lists(SCALAR, max_size=4)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


def naive_same(gold: Any, got: Any) -> bool:
    """The second method's idea of equality for the values of SCALAR."""
    if isinstance(gold, bool) or isinstance(got, bool):
        truth = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        one, other = str(gold).lower(), str(got).lower()
        return bool(truth.get(one, one) == truth.get(other, other))
    if isinstance(gold, int) != isinstance(got, int):
        return str(gold).strip() == str(got).strip()
    if isinstance(gold, str) and isinstance(got, str):
        return gold.lower().split() == got.lower().split()
    return bool(gold == got)


def naive(gold: dict[str, Any], got: dict[str, Any]) -> Counter[str]:
    """Objects of scalars, flattened, key by key."""
    found: Counter[str] = Counter()
    given_leaves = dict(leaves(got))
    for pointer, value in leaves(gold):
        other = given_leaves.get(pointer)
        has, gives = value not in (None, "", {}), other not in (None, "", {})
        if value == {}:
            continue
        if has and gives:
            found["right" if naive_same(value, other) else "misread"] += 1
        elif has or gives:
            found["missed" if has else "fabricated"] += 1
        else:
            found["empty"] += 1
    return found


@given(gold=FLAT, got=FLAT)
def test_flat_data_is_counted_as_a_second_method_counts_it(
    gold: dict[str, Any], got: dict[str, Any]
) -> None:
    found = counts(gold, got)
    del found["unscored"]
    assert found == naive(gold, got)


@given(gold=ROWS, got=ROWS)
@settings(max_examples=150)
def test_rows_are_assigned_as_well_as_by_trying_every_permutation(
    gold: list[Any], got: list[Any]
) -> None:
    """The number of right values is the greatest that any pairing of rows gives."""
    longer = max(len(gold), len(got))
    one, other = (side + [{}] * (longer - len(side)) for side in (gold, got))
    best = max(
        sum(naive(a, b)["right"] if a and b else 0 for a, b in zip(one, order, strict=True))
        for order in itertools.permutations(other)
    )
    assert counts({"rows": gold}, {"rows": got})["right"] == best


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.integers(1, 5).flatmap(
            lambda m: st.lists(
                st.lists(st.integers(0, 9), min_size=m, max_size=m), min_size=n, max_size=n
            )
        )
    )
)
def test_the_heaviest_assignment_is_that_of_all_permutations(weights: list[list[int]]) -> None:
    rows, columns = len(weights), len(weights[0])
    size = max(rows, columns)
    best = max(
        sum(weights[i][j] for i, j in enumerate(order) if i < rows and j < columns)
        for order in itertools.permutations(range(size))
    )
    pairs = heaviest(weights)
    assert sum(weights[i][j] for i, j in pairs) == best
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == min(rows, columns)


def test_wilson_is_what_the_tables_say() -> None:
    """8 of 10: 0.490 to 0.943; 0 of 10: 0 to 0.278 (Brown, Cai and DasGupta 2001, by their formula)."""
    some, none = wilson(8, 10), wilson(0, 10)
    assert some
    assert none
    assert (round(some.low, 3), round(some.high, 3)) == (0.490, 0.943)
    assert (none.low, round(none.high, 3)) == (0.0, 0.278)
    assert wilson(0, 0) is None


def test_intervals_hold_what_they_promise_when_documents_go_wrong_as_a_whole() -> None:
    """In 95 of 100 samples, more or less, the true share lies inside; leaves taken for independent: in far fewer."""
    chance = random.Random(7)
    inside = naively = 0
    samples = 400
    for _ in range(samples):
        sums, right, gold = Sums(), 0, 0
        for _ in range(25):
            size = chance.choice([4, 8, 30])
            good = chance.betavariate(
                4, 1
            )  # a document's own share of right leaves; 0.8 on average
            hits = sum(chance.random() < good for _ in range(size))
            sums.add(hits, size, size)
            right, gold = right + hits, gold + size
        share, independent = sums.recall(), wilson(right, gold)
        assert share
        assert independent
        inside += share.low <= 0.8 <= share.high
        naively += independent.low <= 0.8 <= independent.high
    assert 0.92 <= inside / samples <= 0.99
    assert naively / samples < 0.85


@pytest.mark.parametrize("right", [0, 5, 10])
def test_one_document_says_little(right: int) -> None:
    """A single document is one observation, however many leaves it has."""
    sums = Sums()
    sums.add(right, 10, 10)
    share = sums.f1()
    assert share
    assert share.value == right / 10
    assert share.low <= share.value <= share.high
    assert share.high - share.low > 0.7


# --- what never changes a score ----------------------------------------------------------------------


@given(DATA)
def test_gold_against_itself_is_right_everywhere(data: Any) -> None:
    assert not counts(data, data).keys() - {"right", "empty"}


def shuffled(data: Any, chance: random.Random) -> Any:
    """The same data with the rows of every array in another order."""
    if isinstance(data, dict):
        return {key: shuffled(value, chance) for key, value in data.items()}
    if isinstance(data, list):
        return chance.sample([shuffled(item, chance) for item in data], len(data))
    return data


@given(gold=DATA, got=DATA, seed=st.integers(0, 9))
def test_the_order_of_rows_plays_no_part(gold: Any, got: Any, seed: int) -> None:
    chance = random.Random(seed)
    expected = by_field(gold, got)
    assert by_field(shuffled(gold, chance), shuffled(got, chance)) == expected


def f1(found: Counter[str]) -> float:
    gold = found["right"] + found["missed"] + found["misread"]
    made = found["right"] + found["misread"] + found["fabricated"] + found["extra"]
    return 2 * found["right"] / (gold + made) if gold + made else 1.0


@given(gold=DATA, got=DATA, where=st.integers(0, 30))
def test_a_wrong_value_more_never_raises_a_score(gold: Any, got: Any, where: int) -> None:
    """A null that becomes a value which gold has nowhere, or such a row more."""
    before = counts(gold, got)
    worse = json.loads(json.dumps(got))
    spots: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            if inner is None:
                spots.append((value, key))
            elif isinstance(inner, dict | list):
                collect(inner)
                if isinstance(inner, list):
                    spots.append((inner, None))

    collect(worse)
    if spots:
        place, key = spots[where % len(spots)]
        if key is None:
            place.append({"x": "wrong thing"})
        else:
            place[key] = "wrong thing"
    after = counts(gold, worse)
    assert after["right"] <= before["right"]
    assert f1(after) <= f1(before)


def test_the_order_of_documents_plays_no_part(tmp_path: Path) -> None:
    gold = [{"document": f"{n}.pdf", "data": {"total": n, "name": "ab"[n % 2]}} for n in range(9)]
    got = [result(f"{n}.pdf", {"total": n // 2 * 2, "name": "a"}) for n in range(9)]
    told = []
    for seed in range(3):
        chance = random.Random(seed)
        lines = [json.dumps(line) for line in chance.sample(gold, len(gold))]
        file = tmp_path / f"gold{seed}.jsonl"
        file.write_text("\n".join(lines))
        out = ran(tmp_path / f"out{seed}", chance.sample(got, len(got)))
        made = evaluate(file, out).to_json()
        told.append({key: made[key] for key in made if key not in ("gold", "output")})
    assert told[0] == told[1] == told[2]


def test_large_arrays_are_paired_too_and_it_is_said(tmp_path: Path) -> None:
    """Beyond the bound equal rows go first and rare values decide; the order still plays no part."""
    chance = random.Random(1)
    size = int(MOST_PAIRS**0.5) + 150
    names = ["".join(chance.choices(string.ascii_lowercase, k=9)) for _ in range(size)]
    gold: Any = {
        "lines": [{"name": name, "amount": n, "unit": "kg"} for n, name in enumerate(names)]
    }
    got = {"lines": [dict(row, amount=row["amount"] + 0.5) for row in gold["lines"]]}
    found = compared(gold, got, rule())
    assert Counter(leaf.outcome for leaf in found.leaves) == Counter(right=2 * size, misread=size)
    assert [row.best for row in found.arrays] == [False]
    assert by_field(gold, shuffled(got, chance)) == by_field(gold, got)
    told = evaluate(written(tmp_path / "gold", {"a": gold}), written(tmp_path / "out", {"a": got}))
    assert any("too many rows" in note for note in told.notes)


# --- how values are compared -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "gold", "got", "same"),
    [
        ("exact", 1, 1.0, True),
        ("exact", 1, True, False),
        ("exact", "1", 1, False),
        ("exact", "a", "A", False),
        ("number", 0.3, 0.1 + 0.2, True),
        ("number", 1234.5, "1.234,50", True),
        ("number", 1234.5, 1234.51, False),
        ("number", 1, "one", False),
        ("number:0.01", 10.0, 10.01, True),
        ("number:0.01", 10.0, 10.011, False),
        ("number:1%", 200, 202, True),
        ("number:1%", 200, 202.1, False),
        ("number", 4000123412341234, 4000123412341235, False),
        ("number", 4000123412341234, "4000123412341234", True),
        ("number", 123456789.01, 123456789.02, False),
        ("number", 0, 0.1 + 0.2 - 0.3, True),
        ("number", 5, "1e999", False),
        ("number", "9e999999", "-9e999999", False),
        ("money", 9.99, 9.994, True),
        ("money", 9.99, 9.995, False),
        ("money", "USD 1,234.50", "$1234.5", True),
        ("money", "USD 1,234.50", "1.234,50 €", False),
        ("date", "2024-03-04", "2024-03-04", True),
        ("date", "2024-03-04", "2024-04-03", False),
        ("date", "March 4, 2024", "2024-03-04", True),
        ("date", "04/03/2024", "2024-03-04", True),
        ("date", "04/03/2024", "2024-04-03", True),
        ("date", "04/03/2024", "03/04/2024", False),
        ("date", "2024-03-04T10:00:00Z", "2024-03-04T12:00:00+02:00", True),
        ("date", "2024-03-04T10:00:00Z", "2024-03-04T11:00:00Z", False),
        ("date", "2024-03-04T10:00:00Z", "2024-03-04", True),
        ("date", "soon", "Soon.", True),
        ("date", "soon", "later", False),
        ("time", "14:30", "14:30:00", True),
        ("time", "2:30 pm", "14:30", True),
        ("time", "14:30", "14:31", False),
        ("boolean", True, "yes", True),
        ("boolean", False, True, False),
        ("enum", "credit note", "Credit Note", True),
        ("enum", "credit note", "credit notes", False),
        ("enum", " Credit  note", "credit note", True),
        ("enum", "A+", "A-", False),
        ("enum", "C++", "C#", False),
        ("enum", "<5", ">5", False),
        ("text", "Müller & Söhne GmbH", "MÜLLER   & SÖHNE GMBH.", True),
        ("text", "ｆｕｌｌ width", "full-width", True),
        ("text", "12.50", "1250", False),
        ("text", "1,250.00", "1250.00", True),
        ("text", "-5", "5", False),
        ("text", "$5", "€5", False),
        ("text", "€ -5.00", "€ 5.00", False),
        ("text", "€ \u22125.00", "€ -5.00", True),
        ("text", "+49 30-12", "49 3012", True),
        ("text", "blood type AB-", "blood type AB+", False),
        ("text", "C++", "C#", False),
        ("text", "C++", "C", False),
        ("text", "Total ----", "Total", True),
        ("text", "Total----", "Total", True),
        ("text", "in-\nvoice", "invoice", True),
        ("text", "€", "$", False),
        ("text", "5%", "5", False),
        ("text", "10²", "102", False),
        ("text", "किताब", "कुताब", False),
        ("text", "sing a song of sixpence", "sing a song of sixpense", False),
        ("fuzzy", "sing a song of sixpence", "sing a song of sixpense", True),
        ("fuzzy", "12 Mill Lane, Leeds LS1 4AB", "12 Mill Lane Leads LS1 4AB", True),
        ("fuzzy", "12 Mill Lane, Leeds LS1 4AB", "13 Mill Lane, Leeds LS1 4AB", False),
        ("fuzzy", "AB123456789012345", "AC123456789012345", False),
        ("fuzzy", "short word", "shart word", False),
        ("fuzzy:0.5", "sing a song of sixpence", "sing a sung if sexpance", True),
    ],
)
def test_values_are_compared_as_what_they_are(method: str, gold: Any, got: Any, same: bool) -> None:
    assert parsed(method).same(gold, got) is same
    if not method.startswith("number:1%"):
        assert parsed(method).same(got, gold) is same


@given(st.text(max_size=40), st.sampled_from(["fuzzy", "text", "date", "time", "money", "number"]))
@settings(max_examples=60)
def test_a_value_is_the_same_as_itself_and_a_changed_digit_never(text: str, method: str) -> None:
    assert parsed(method).same(text, text)
    for at, char in enumerate(text):
        if char in "0123456789" and method in ("fuzzy", "text"):
            other = text[:at] + str((int(char) + 1) % 10) + text[at + 1 :]
            assert not parsed(method).same(text, other)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fuzy", "no way to compare"),
        ("fuzzy:2", "a similarity"),
        ("number:x", "a tolerance"),
        ("number:-1", "a tolerance"),
        ("text:1", "takes nothing"),
    ],
)
def test_a_method_that_is_none_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parsed(text)


def test_the_schema_chooses_the_method_and_can_be_overridden() -> None:
    body = json.loads(json.dumps(SCHEMA))
    body["properties"]["number"]["x-compare"] = "exact"
    body["properties"]["tags"]["x-compare"] = "ordered"
    names = {
        field: rule(body).key(field).method.name
        for field in ("number", "date", "total", "kind", "paid")
    }
    assert names == {
        "number": "exact",
        "date": "date",
        "total": "number",
        "kind": "enum",
        "paid": "boolean",
    }
    gold, got = {"tags": ["a", "b"], "number": "A"}, {"tags": ["b", "a"], "number": "a"}
    assert counts(gold, got, rule(body)) == Counter(misread=3)
    assert counts(gold, got, rule(SCHEMA)) == Counter(right=3)
    assert counts(gold, got, rule(body, number="text", tags="ignore")) == Counter(right=1)
    assert rule(SCHEMA, amount="money").key("lines").item().key("amount").method.name == "money"


def test_punctuation_of_an_enum_counts_where_it_tells_values_apart() -> None:
    def same(values: list[Any], gold: Any, got: Any) -> bool:
        schema = {"type": "object", "properties": {"a": {"enum": values}}}
        return counts({"a": gold}, {"a": got}, rule(schema)) == {"right": 1}

    assert same(["credit note", "invoice", None], "credit note", "Credit-Note")
    assert not same(["<5", ">5", "5"], "<5", ">5")
    assert not same(["<5", ">5", "5"], "<5", "5")
    assert not same(["A+", "A-"], "A+", "A-")
    assert same(["A+", "A-"], "A+", "a+")


@pytest.mark.parametrize("kind", ["time", "time-local"])
def test_times_are_compared_as_times_with_and_without_a_zone_and_pattern(kind: str) -> None:
    field = {"type": "string", "format": kind, "pattern": "^[0-9:]+$"}
    how = rule({"type": "object", "properties": {"at": field}})
    assert counts({"at": "18:42"}, {"at": "18:42:00"}, how) == {"right": 1}
    assert counts({"at": "18:42"}, {"at": "18:43:00"}, how) == {"misread": 1}


def test_ordered_items_are_paired_by_their_place_also_where_one_is_empty() -> None:
    how = rule(a="ordered")
    assert counts({"a": [None, "b"]}, {"a": ["zz", "b"]}, how) == Counter(fabricated=1, right=1)
    assert counts({"a": ["a", "b"]}, {"a": [None, "b"]}, how) == Counter(missed=1, right=1)
    found = compared({"a": ["a", "", "c"]}, {"a": ["a", None]}, how)
    assert Counter(leaf.outcome for leaf in found.leaves) == Counter(right=1, empty=1, missed=1)
    assert [row[1:4] for row in found.arrays] == [(2, 1, 1)]


def test_very_long_texts_must_be_equal() -> None:
    """Similarity takes time by the square of the length; a million letters are compared at once."""
    text = "".join(random.Random(3).choices(string.ascii_lowercase + " ", k=1_000_000))
    began = time.process_time()
    assert parsed("fuzzy").same(text, text.upper())
    assert not parsed("fuzzy").same(text, "x" + text)
    assert time.process_time() - began < 5
    assert parsed("fuzzy").same(text[:15_000], "x" + text[:15_000])


def test_a_field_that_is_none_or_more_than_one_is_told() -> None:
    schema = Schema.of(SCHEMA)
    errors = chosen(schema, {"totl": "text", "name": "text"})[1]
    assert "did you mean /total?" in str(errors["totl"])
    assert "/seller/name, /lines/*/name" in str(errors["name"])
    with pytest.raises(UsageError, match="no way to compare"):
        chosen(schema, {"total": "about"})
    with pytest.raises(UsageError, match="x-compare of /a: 'about' is no way to compare"):
        rule({"type": "object", "properties": {"a": {"x-compare": "about"}}}).key("a")


# --- what is read -------------------------------------------------------------------------------------


def scored(gold: Path, out: Path, **more: Any) -> Evaluation:
    return evaluate(gold, out, **more)


def test_gold_is_a_folder_a_jsonl_a_csv_or_results(tmp_path: Path) -> None:
    """The same gold in four forms gives the same scores."""
    data: dict[str, Any] = {
        "in/a.pdf": {
            "number": "A-1",
            "date": "2024-03-01",
            "total": 10.5,
            "paid": True,
            "seller": {"name": "X, Y", "city": None},
            "lines": [{"name": "oil\nand more", "amount": 1}, {"name": "ink", "amount": 2}],
            "tags": ["a", "b"],
        },
        "in/b.pdf": {
            "number": None,
            "date": None,
            "total": 3,
            "paid": False,
            "seller": {"name": None, "city": "Z"},
            "lines": [{"name": "pen", "amount": 3}],
            "tags": [],
        },
    }
    got = {name: json.loads(json.dumps(each).replace("A-1", "A-2")) for name, each in data.items()}
    out = ran(tmp_path / "out", [result(name, each) for name, each in got.items()], SCHEMA)
    folder = written(tmp_path / "gold", data)
    lines = tmp_path / "gold.jsonl"
    lines.write_text(
        "\ufeff"
        + "".join(
            json.dumps({"path": n, "gold": d}, ensure_ascii=False) + "\n\n" for n, d in data.items()
        )
    )
    bare = tmp_path / "bare.jsonl"
    bare.write_text("".join(json.dumps({"file": n, **d}) + "\n" for n, d in data.items()))
    columns = ["number", "/date", "total", "paid", "seller.name", "seller/city"]
    columns += [f"lines.{n}.{key}" for n in (0, 1) for key in ("name", "amount")] + ["tags"]
    text = io.StringIO()
    table = csv.writer(text, delimiter=";", lineterminator="\r\n")
    table.writerow(["document", *columns])
    for name, each in data.items():
        rows = [*each["lines"], {"name": None, "amount": None}][:2]
        cells = [
            each["number"],
            each["date"],
            each["total"],
            each["paid"],
            *each["seller"].values(),
        ]
        cells += [row[key] for row in rows for key in ("name", "amount")]
        table.writerow([name, *cells, json.dumps(each["tags"])])
    sheet = tmp_path / "gold.csv"
    sheet.write_bytes(text.getvalue().encode("utf-8-sig"))
    former = ran(tmp_path / "former", [result(name, each) for name, each in data.items()])
    places = [folder, lines, bare, sheet, former, former / "results.jsonl"]
    made = [scored(place, out) for place in places]
    assert made[0].overall.misread == 1
    assert made[0].overall.right == 15
    assert made[0].rows["/lines"].paired == 3
    for each in made[1:]:
        assert each.overall == made[0].overall, each.gold
        assert each.fields == made[0].fields
    assert scored(folder, out / "results.jsonl").overall == made[0].overall
    assert scored(folder, written(tmp_path / "plain", got), schema=Schema.of(SCHEMA)).overall == (
        made[0].overall
    )


@pytest.mark.parametrize(
    ("gold", "document"),
    [
        ("in/x.pdf", "in/x.pdf"),
        ("in/x", "in/x.pdf"),
        ("x.pdf", "in/x.pdf"),
        ("x", "in/x.pdf"),
        ("in/x.pdf", "x.pdf"),
        ("in/x", "x.pdf"),
        ("a%3Fb.pdf", "a?b.pdf"),
        ("v1.2", "v1.2.pdf"),
        ("x.pdf", "x"),
        ("Mu\u0308ller", "in/M\u00fcller.pdf"),
        ("in/M\u00fcller.pdf", "in/Mu\u0308ller.pdf"),
        ("M\u00fcller.pdf", "a/Mu\u0308ller.pdf"),
    ],
)
def test_gold_finds_its_document(tmp_path: Path, gold: str, document: str) -> None:
    folder = written(tmp_path / "gold", {gold: {"a": 1}})
    out = ran(tmp_path / "out", [result(document, {"a": 1}), result("other.pdf", {"a": 2})])
    told = scored(folder, out)
    assert [each.path for each in told.documents] == [document]
    assert (told.overall.right, told.without_gold) == (1, 1)


def test_gold_that_could_be_meant_for_two_is_missed_and_said(tmp_path: Path) -> None:
    folder = written(
        tmp_path / "gold", {"x": {"a": 1}, "y.pdf": {"a": 1}, "y": {"a": 1}, "z": {"a": 1}}
    )
    names = ["in/x.pdf", "sub/x.pdf", "y.pdf", "z.pdf"]
    told = scored(folder, ran(tmp_path / "out", [result(name, {"a": 1}) for name in names]))
    statuses = {each.path: each.status for each in told.documents}
    assert statuses == {"x": "ambiguous", "y": "ambiguous", "y.pdf": "valid", "z.pdf": "valid"}
    assert (told.overall.right, told.overall.missed) == (2, 2)
    assert any("in/x.pdf or sub/x.pdf" in note for note in told.notes)


def test_gold_that_fits_nothing_is_no_input(tmp_path: Path) -> None:
    out = ran(tmp_path / "out", [result("a.pdf", {"a": 1})])
    with pytest.raises(NoInput, match=r"belongs to a document of .*: b\.pdf; there is a\.pdf"):
        scored(written(tmp_path / "gold", {"b.pdf": {"a": 1}}), out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInput, match="no gold here"):
        scored(tmp_path / "empty", out)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("g.jsonl", b'{"document": "a.pdf"}\n{"document": \n', "g.jsonl, line 2: not JSON"),
        (
            "g.jsonl",
            b'{"document": "a.pdf"}\n{"doc": "b"}\n',
            "line 2: does not say which document",
        ),
        ("g.jsonl", b"[1]\n", "line 1: does not say which document"),
        (
            "g.jsonl",
            b'{"document": "a.pdf"}\n{"document": "a.pdf"}\n',
            "line 2: gold of 'a.pdf' again",
        ),
        ("g.csv", b"document,total\na.pdf,1\nb.pdf,2\na.pdf,3\n", "line 4: gold of 'a.pdf' again"),
        ("g.jsonl", b'{"document": "a.pdf", "x": "\xff"}\n', "line 1: not UTF-8"),
        ("g.jsonl", b'{"document": "a.pdf", "data": {"x": NaN}}\n', "line 1: not JSON: NaN"),
        ("g.jsonl", b'{"document": "a.pdf", "x": 1e999}\n', "line 1: not JSON: 1e999"),
        ("g.jsonl", b'\n{"document": "/"}\n', "line 2: '/' names no document"),
        ("g.jsonl", b'{"document": "\\ud800"}\n', "line 1: the document's name '\\ud800'"),
        ("a.pdf.json", b'{"total": -1e999}', "not JSON: -1e999"),
        ("g.csv", b"document,total\n/,1\n", "line 2: '/' names no document"),
        ("g.csv", b"name,total\na.pdf,1\n", "line 1: no column says which document"),
        ("g.csv", b"document,total\na.pdf,1\nb.pdf\n", "line 3: 1 cells, and the header has 2"),
        ("g.csv", b"document,total\n,1\n", "line 2: the document is not named"),
        ("g.csv", b"document,total,total\n", "line 1: the column 'total' is there twice"),
        ("g.csv", b'document,total\na.pdf,"1\n', "not CSV"),
        ("g.csv", b"document,total\na.pdf,\xff\n", "line 2: not UTF-8"),
        (
            "g.csv",
            b"document,totl\na.pdf,1\n",
            "line 1: column 'totl' is no field of the schema; did you mean total?",
        ),
        ("g.csv", b"document,seller,seller.name\na.pdf,x,y\n", "inside of another column's value"),
        ("a.pdf.json", b'{\n"total": 1,\n}', "a.pdf.json, line 3: not JSON"),
        ("a.pdf.json", b'{"total":\n"\xff"}', "a.pdf.json, line 2: not UTF-8"),
        ("a.pdf.json", b"5", "gold is an object of fields, this is 5"),
        ("a.pdf.json", b"[" * 100000, "nested too deeply"),
        ("g.xlsx", b"", "give a folder of JSON files"),
        (
            "results.jsonl",
            b'{"version": 2, "document": {"path": "a.pdf"}, "stage": "extract", "status": "valid"}',
            "line 1: a Result of version 2",
        ),
    ],
)
def test_gold_that_cant_be_read_names_file_and_line(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    out = ran(tmp_path / "out", [result("a.pdf", {"total": 1})], SCHEMA)
    with pytest.raises(UsageError) as error:
        scored(tmp_path / name, out)
    assert told in str(error.value)
    assert name in str(error.value)


@given(st.binary(max_size=80), st.sampled_from(["g.jsonl", "g.csv", "a.pdf.json"]))
@settings(max_examples=150)
def test_whatever_gold_holds_is_scored_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    folder = tmp_path_factory.mktemp("gold")
    lead = {"g.jsonl": b'{"document":"a.pdf","data":', "g.csv": b"document,total\na.pdf,"}
    (folder / name).write_bytes(lead.get(name, b"") + content)
    out = ran(folder / "out", [result("a.pdf", {"total": 1})], SCHEMA)
    try:
        overall = scored(folder / name, out).overall
    except (UsageError, NoInput) as error:
        told = str(error)
    else:
        told = "scored" if overall.documents else ""
    assert told


@pytest.mark.parametrize("name", ["/", "./", "\ud800", "a/\udcff.pdf"])
def test_an_output_whose_documents_have_no_name_is_refused(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text(json.dumps({"document": "a"}) + "\n" + json.dumps({"document": name}))
    with pytest.raises(UsageError, match=r"out\.jsonl, line 2: .*name"):
        scored(written(tmp_path / "gold", {"a": {"total": 1}}), out)


def test_numbers_of_hundreds_of_digits_are_numbers(tmp_path: Path) -> None:
    body = {"type": "object", "properties": {"n": {"type": "integer"}}}
    gold = written(tmp_path / "gold", {"a": {"n": 10**400}, "b": {"n": 10**400}})
    out = written(tmp_path / "out", {"a": {"n": 10**400}, "b": {"n": 10**400 + 1}})
    told = scored(gold, out, schema=Schema.of(body))
    assert (told.overall.right, told.overall.misread, told.overall.wrong_type) == (1, 1, 0)
    sheet = tmp_path / "gold.csv"
    sheet.write_text(f"document,n\na,{10**400}\nb,5\n")
    assert scored(sheet, out, schema=Schema.of(body)).overall.misread == 1


def test_a_stage_of_plain_data_is_refused_unless_gold_has_it(tmp_path: Path) -> None:
    plain = written(tmp_path / "plain", {"a": {"total": 1}})
    with pytest.raises(UsageError, match="--stage nope: plain data has no stages"):
        scored(plain, plain, stage="nope")
    results = [result("a", {"total": n}, stage) for n, stage in enumerate(("first", "second"))]
    run = ran(tmp_path / "run", results)
    with pytest.raises(UsageError, match="--stage nope: gold has first, second"):
        scored(run, plain, stage="nope")
    assert scored(run, plain, stage="second").overall.right == 1
    folders = written(tmp_path / "gold", {"first/a": {"total": 1}})
    assert scored(folders, plain, stage="first").overall.right == 1


def test_gold_that_breaks_its_schema_is_scored_and_counted(tmp_path: Path) -> None:
    gold = written(tmp_path / "gold", {"a": {"total": "ten", "number": "A", "more": 1}})
    got = {"total": "ten", "number": "A", "more": 1}
    told = scored(gold, ran(tmp_path / "out", [result("a.pdf", got)], SCHEMA))
    assert told.overall.right == 3
    assert any("1 of gold break the schema" in note for note in told.notes)


def test_documents_that_were_not_answered_miss_everything(tmp_path: Path) -> None:
    gold = written(tmp_path / "gold", {"a": {"total": 1, "number": None}, "b": {"number": None}})
    unreadable = Result(DocumentRef("a.pdf"), None, "unreadable", reason="damaged")
    told = scored(
        gold, ran(tmp_path / "out", [unreadable, result("b.pdf", {"number": None})], SCHEMA)
    )
    assert (told.overall.missed, told.overall.gold_nulls) == (1, 1)
    assert (told.overall.documents, told.overall.documents_right) == (2, 1)
    assert [each.status for each in told.documents] == ["unreadable", "valid"]


def test_several_stages_each_have_their_gold(tmp_path: Path) -> None:
    results = [
        result(f"{name}.pdf", {"total": number}, stage)
        for name, number in (("a", 1), ("b", 2))
        for stage in ("first", "second")
    ]
    out = ran(tmp_path / "out", results, SCHEMA)
    flat = written(tmp_path / "flat", {"a": {"total": 1}})
    with pytest.raises(UsageError, match="name one with --stage"):
        scored(flat, out)
    with pytest.raises(UsageError, match="the output has first, second"):
        scored(flat, out, stage="third")
    assert scored(flat, out, stage="second").fields.keys() == {"/total"}
    folders = written(
        tmp_path / "gold",
        {"first/a": {"total": 1}, "second/a": {"total": 2}, "second/b": {"total": 2}, "x/c": {}},
    )
    told = scored(folders, out, compare={"second:/total": "number:100%"})
    assert {pointer: score.right for pointer, score in told.fields.items()} == {
        "first:/total": 1,
        "second:/total": 2,
    }
    assert told.stages == ("first", "second")
    assert any("1 of gold lie in no folder of a stage" in note for note in told.notes)
    assert scored(out, out).overall.right == 4


def test_confidence_evidence_and_cost_are_told(tmp_path: Path) -> None:
    """Two of two values of high confidence are right, one of two to review; three right values cost three cents."""
    data = {"number": "A", "total": 1, "date": "2024-01-01", "kind": "invoice"}
    evidence = (
        Evidence("/number", "verified", confidence=0.95),
        Evidence("/total", "verified", confidence=0.9),
        Evidence("/date", "not_found", confidence=0.4),
        Evidence("/kind", "derived", confidence=0.6),
    )
    attempt = Attempt("m", "e", {"input": 100, "output": 20}, Decimal("0.03"))
    out = ran(
        tmp_path / "out", [result("a.pdf", data, evidence=evidence, attempts=(attempt,))], SCHEMA
    )
    gold = written(tmp_path / "gold", {"a.pdf": data | {"date": "2024-01-02"}})
    told = scored(gold, out)
    calibration = told.calibration
    assert (calibration.high.values, calibration.high.right) == (2, 2)
    assert (calibration.review.values, calibration.review.right) == (2, 1)
    # bins: 0.9-1.0 holds 0.95 and 0.9, both right; 0.4 wrong; 0.6 right: |2-1.85| + |0-0.4| + |1-0.6| over 4
    assert calibration.expected_error == pytest.approx((0.15 + 0.4 + 0.4) / 4)
    assert {name: (each.values, each.right) for name, each in told.evidence.items()} == {
        "verified": (2, 2),
        "derived": (1, 1),
        "not_found": (1, 0),
    }
    assert told.cost.usd == 0.03
    assert told.cost.usd_per_right == 0.01
    assert told.cost.tokens == {"input": 100, "output": 20}
    unknown = Attempt("m", "e", {}, None)
    priceless = ran(tmp_path / "out2", [result("a.pdf", data, attempts=(unknown,))])
    assert scored(gold, priceless).cost.usd is None
    assert scored(gold, written(tmp_path / "plain", {"a": data})).cost.usd is None


def test_rows_know_where_they_were_given(tmp_path: Path) -> None:
    """The evidence of a row is that of the row that was given, wherever its gold stands."""
    gold = written(tmp_path / "gold", {"a": {"tags": ["x", "y"]}})
    evidence = (
        Evidence("/tags/0", "verified", confidence=0.9),
        Evidence("/tags/1", "verified", confidence=0.2),
    )
    told = scored(
        gold, ran(tmp_path / "out", [result("a.pdf", {"tags": ["y", "z"]}, evidence=evidence)])
    )
    assert (told.calibration.high.right, told.calibration.review.right) == (1, 0)


# --- real gold ----------------------------------------------------------------------------------------


def lost(told: Evaluation) -> int:
    """Leaves that are not right."""
    return told.overall.missed + told.overall.misread + told.overall.fabricated


@pytest.mark.corpus
def test_every_label_of_the_corpus_is_right_against_itself(corpus: Path) -> None:
    """Also the labels that break their own schema."""
    seen = 0
    for folder in sorted(corpus.glob("*/labels")):
        files = [f for f in folder.glob("*.json") if isinstance(json.loads(f.read_text()), dict)]
        if not files:
            continue
        told = evaluate(folder, folder)
        assert lost(told) == 0
        assert told.overall.documents_right == told.overall.documents
        seen += len(told.documents)
    assert seen > 100


@pytest.mark.corpus
def test_labels_that_break_their_schema_are_right_against_themselves(
    corpus: Path, tmp_path: Path
) -> None:
    broken = 0
    for entry in json.loads((corpus / "index.json").read_text()):
        if not (entry.get("label") and "schema" in entry and entry["label"].endswith(".json")):
            continue
        body = json.loads((corpus / entry["schema"]).read_text())
        schema = Schema.of(body.get("schema_definition", body))
        label = corpus / entry["label"]
        told = evaluate(label, label, schema=schema)
        assert lost(told) == 0, label.name
        assert told.overall.right
        broken += any("break the schema" in note for note in told.notes)
    assert broken >= 2
