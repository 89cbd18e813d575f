"""Confidence: what raises and lowers it, what is left out below it, and how eval holds it against gold."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.api import extract
from pipeline.confidence import ERRORS, confident, settled
from pipeline.document import Document, Page, Window
from pipeline.evaluation import evaluate
from pipeline.judge import judge
from pipeline.prompts import Ask
from pipeline.reporters.scores import as_text
from pipeline.results import DocumentRef, Evidence, Result, leaves
from pipeline.schema import Schema
from pipeline.stages import Stage
from pipeline.windows import Merged, Piece
from tests.answers import answer_from
from tests.server import Server

NUMBER = {"type": ["number", "null"]}
SCHEMA = Schema.of(
    {
        "type": "object",
        "properties": {
            "net": NUMBER,
            "vat": NUMBER,
            "total": {"type": "number"},
            "iban": {"type": ["string", "null"]},
            "note": {"type": "string"},
            "kind": {"enum": ["a", "b", None]},
            "lines": {"type": "array", "items": {"type": "object", "properties": {"amount": NUMBER}}},
        },
        "required": ["total"],
    }
)  # fmt: skip
PAGES = Document("x", "", 0, "text/plain", 1, (Page(1, "Net 100 VAT 19 Total 119"),), ())
ADDS_UP = "net + vat == total"
STATUSES = ("verified", "derived", "ambiguous", "not_found")


def stage(*rules: Any, **more: Any) -> Stage:
    """A stage with rules."""
    return Stage("invoice", SCHEMA, validate=rules, **more)


def piece(data: Any, why: str = "first", fields: Any = ()) -> Piece:
    """An answer."""
    ask = Ask(Window((1,)), SCHEMA, fields=fields, why=why)
    return Piece(ask, data, (), (1,), model="m")


def merged(data: Any, **statuses: Any) -> Merged:
    """An answer whose leaves have evidence; `verified` where nothing else is said."""
    told = []
    for pointer, value in leaves(data):
        if isinstance(value, dict | list):
            continue
        status: Any = "absent" if value is None else statuses.get(pointer[1:], "verified")
        told.append(Evidence(pointer, status))
    return Merged(data, tuple(told))


def sure(
    asked: Stage, data: Any, *pieces: Piece, own: float | None = None, **statuses: Any
) -> dict[str, float | None]:
    """The confidence of each leaf."""
    whole = merged(data, **statuses)
    if own is not None:
        whole = replace(whole, evidence=tuple(replace(e, confidence=own) for e in whole.evidence))
    findings = judge(asked, data, None, whole.evidence)
    found = confident(asked, whole, findings, pieces or (piece(data),))
    assert [replace(e, confidence=None) for e in found] == [replace(e, confidence=None) for e in whole.evidence]  # fmt: skip
    return {each.pointer: each.confidence for each in found}


def test_evidence_alone_gives_the_share_that_is_known_of_it() -> None:
    data = {"net": 1, "vat": 2, "total": 3, "iban": None, "kind": "a", "note": "x"}
    told = sure(stage(), data, vat="ambiguous", total="not_found", kind="not_found", note="derived")
    assert told == {
        "/net": 0.95,
        "/vat": 0.88,
        "/total": 0.35,
        "/iban": None,
        "/kind": 0.75,
        "/note": 0.85,
    }
    assert told["/net"] == 1 - ERRORS["verified"][0]


def test_a_rule_that_holds_makes_all_its_leaves_surer() -> None:
    data = {"net": 100, "vat": 19, "total": 119, "note": "x"}
    told = sure(stage(ADDS_UP), data, total="not_found")
    assert told["/net"] == told["/vat"] == 0.98
    assert told["/total"] == 0.57
    assert told["/note"] == 0.95


def test_order_and_presence_prove_nothing() -> None:
    """They hold by chance."""
    assert sure(stage("net <= total and vat != null"), {"net": 1, "vat": 1, "total": 2}) == sure(
        stage(), {"net": 1, "vat": 1, "total": 2}
    )


def test_a_broken_rule_is_shared_by_its_leaves_and_the_weakest_has_most_of_it() -> None:
    data = {"net": 100, "vat": 19, "total": 120, "note": "x"}
    told = sure(stage(ADDS_UP), data, vat="not_found")
    net, vat, total = (told[f"/{name}"] or 0.0 for name in ("net", "vat", "total"))
    assert vat < 0.3
    assert vat < net == total < 0.95
    assert told["/note"] == 0.95
    even = sure(stage(ADDS_UP), data)
    assert even["/net"] == even["/vat"] == even["/total"] == 0.85


def test_of_many_leaves_none_has_much_of_the_blame() -> None:
    lines = [{"amount": 1}] * 60
    told = sure(stage("sum(lines.amount) == net"), {"net": 5, "total": 1, "lines": lines})
    assert (told["/lines/3/amount"] or 0) > 0.9


def test_check_digits_and_the_schema_speak_too() -> None:
    good = sure(stage("iban"), {"total": 1, "iban": "DE89370400440532013000"})
    bad = sure(stage("iban"), {"total": 1, "iban": "DE89370400440532013001"})
    assert (good["/iban"], bad["/iban"]) == (0.98, 0.5)
    assert sure(stage(), {"total": "much"})["/total"] == 0.5


def test_answers_that_agree_or_differ_count() -> None:
    data = {"total": 1, "note": "x", "lines": [{"amount": 1}]}
    other = {"total": 2, "note": "x", "lines": [{"amount": 1}, {"amount": 2}]}
    told = sure(stage(), data, piece(data), piece(other))
    assert (told["/total"], told["/note"], told["/lines/0/amount"]) == (0.86, 0.98, 0.95)


def test_who_answered_counts() -> None:
    """What came of asking again is a little less sure; of asking a stronger model, a little surer."""
    data = {"total": 1, "note": "x"}
    fields = (("f1", "/total"),)

    def after(why: str, value: Any) -> float | None:
        return sure(stage(), data, piece({"total": 7, "note": "x"}), piece({"/total": value}, why, fields))["/total"]  # fmt: skip

    assert after("repair 1: /total", 1) == 0.94
    assert after("escalated to strong: /total", 1) == 0.96
    assert sure(stage(), data, piece(data), piece({"/total": 1}, "repair 1: /total", fields))["/total"] == 0.98  # fmt: skip


def test_an_engines_own_measure_stays_until_something_is_known_beside_it() -> None:
    data = {"net": 100, "vat": 19, "total": 119, "note": "x"}
    assert set(sure(stage(), data, own=0.61).values()) == {0.61}
    told = sure(stage(ADDS_UP), data, own=0.61)
    assert told["/note"] == 0.61
    assert told["/net"] == 0.8


@given(
    st.fixed_dictionaries(
        {name: st.none() | st.integers(0, 3) for name in ("net", "vat", "total")}
    ),
    st.lists(st.sampled_from(STATUSES), min_size=3, max_size=3),
    st.lists(st.fixed_dictionaries({"total": st.integers(0, 3)}), max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_confidence_is_never_beyond_its_bounds(
    data: Any, statuses: list[Any], others: list[Any]
) -> None:
    named = dict(zip(("net", "vat", "total"), statuses, strict=True))
    told = sure(stage(ADDS_UP, "net <= vat"), data, piece(data), *map(piece, others), **named)
    for pointer, value in told.items():
        assert (value is None) == (data[pointer[1:]] is None)
        assert value is None or 0.01 <= value <= 0.99


# Left out


def test_what_is_less_sure_is_left_out_as_far_as_the_schema_lets_it() -> None:
    data = {"net": 7, "vat": 2, "total": 3, "note": "x", "lines": [{"amount": 5}]}
    whole = merged(data, net="not_found", total="not_found", note="not_found")
    proofs = [replace(e, status="not_found") if e.pointer == "/lines/0/amount" else e for e in whole.evidence]  # fmt: skip
    whole = replace(whole, evidence=tuple(proofs))
    asked = stage(min_confidence=0.5)
    kept, findings = settled(asked, PAGES, (whole, ()), [piece(data)])
    assert kept.data == {"net": None, "vat": 2, "total": 3, "lines": [{"amount": None}]}
    assert data["net"] == 7, "what was answered is not changed"
    assert [e.pointer for e in kept.evidence] == ["/net", "/vat", "/total", "/lines/0/amount"]
    assert kept.evidence[0].status == "absent"
    told = {each.pointer: each.severity for each in findings if each.rule == "low_confidence"}
    assert told == {
        "/net": "warning",
        "/total": "error",
        "/note": "warning",
        "/lines/0/amount": "warning",
    }


def test_without_the_setting_nothing_is_left_out() -> None:
    data = {"net": 7, "total": 3}
    whole = merged(data, net="not_found")
    kept, findings = settled(stage(), PAGES, (whole, ()), [piece(data)])
    assert (kept.data, list(findings)) == (data, [])


def test_answers_of_a_service_have_confidence_and_may_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a real request to the Result: what the page holds and the rule proves is sure, what is not there is left out."""
    monkeypatch.setenv("GEMINI_API_KEY", "canary")
    truth = {"net": 100, "vat": 19, "total": 119, "iban": "DE00", "note": "not there"}
    with Server(lambda seen: answer_from(seen, {"Net": truth})) as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        file = tmp_path / "a.txt"
        file.write_text("Net 100\nVAT 19\nTotal 119\n")
        given: dict[str, Any] = {"model": "gemini-3.1-flash-lite", "repair": 0}
        plain = extract(file, SCHEMA, validate=[ADDS_UP], **given)
        assert plain.field("/total").confidence == 0.98
        assert plain.field("/note").confidence == 0.35
        kept = extract(file, SCHEMA, validate=[ADDS_UP], min_confidence=0.5, **given)
    assert kept.status == "valid"
    assert kept.data == {"net": 100, "vat": 19, "total": 119, "iban": None}
    assert {each.rule for each in kept.findings} == {"low_confidence"}


# Measured


def test_eval_tells_how_far_confidence_can_be_believed(tmp_path: Path) -> None:
    """Of answers whose values are wrong as often as stated, the error is small; the shares that the table stands for come out."""
    rng = random.Random(7)
    out, gold = tmp_path / "out", tmp_path / "gold"
    out.mkdir()
    gold.mkdir()
    asked = stage(ADDS_UP)
    lines = []
    for number in range(150):
        net, vat = rng.randint(1, 999), rng.randint(1, 99)
        right: dict[str, Any] = {"net": net, "vat": vat, "total": net + vat, "note": f"n{number}"}
        wrong = rng.random() < 0.05
        given_ = right | ({"net": net + 1} if wrong else {})
        given_ |= {"note": "?"} if rng.random() < 0.6 else {}
        whole = merged(given_, note="not_found")
        findings = judge(asked, given_, None, whole.evidence)
        whole = replace(whole, evidence=confident(asked, whole, findings, [piece(given_)]))
        made = Result(DocumentRef(f"{number}.txt"), "invoice", "valid", data=given_, evidence=whole.evidence)  # fmt: skip
        lines.append(json.dumps(made.to_json()))
        (gold / f"{number}.txt.json").write_text(json.dumps(right))
    (out / "results.jsonl").write_text("\n".join(lines) + "\n")
    told = {
        "stages": [{"sha256": "x", **asked.to_json()}],
        "schemas": {SCHEMA.sha256: SCHEMA.body},
        "engine": "test",
    }
    (out / "run.json").write_text(json.dumps(told))
    found = evaluate(gold, out)
    assert found.calibration.expected_error is not None
    assert found.calibration.expected_error < 0.06
    joint = {
        (each.status, each.rules): (each.values, each.right) for each in found.evidence_and_rules
    }
    assert joint.keys() == {("verified", "passed"), ("verified", "failed"), ("not_found", "none")}
    assert joint[("verified", "passed")][0] == joint[("verified", "passed")][1]
    values, fine = joint[("verified", "failed")]
    assert values == 3 * (values - fine), "of each broken rule one leaf of three is wrong"
    text = as_text(found.to_json(), 0)
    assert "0.9 to 1.0: stated 0.98, 1.000 right of" in text
    assert "evidence and rules: verified and failed 0.667 right of" in text
