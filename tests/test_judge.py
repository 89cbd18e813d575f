"""Judging: validators and evidence together, from data alone, with a document, or with evidence at hand."""

from typing import Any, Literal

import pytest

from pipeline.document import Document, Page
from pipeline.judge import judge
from pipeline.results import Evidence, Finding
from pipeline.schema import Schema
from pipeline.stages import Stage

SCHEMA = Schema.of(
    {
        "type": "object",
        "properties": {
            "vendor": {"type": "string"},
            "total": {"type": "number"},
            "paid": {"type": "boolean"},
        },
        "required": ["total"],
    }
)
PAGES = Document("x", "", 0, "text/plain", 1, (Page(1, "ACME\nNet 17.00\nTotal 17.00"),), ())


def stage(evidence: Literal["flagged", "required"] = "flagged") -> Stage:
    """The stage that is judged."""
    return Stage("invoice", SCHEMA, evidence=evidence)


def told(findings: list[Finding]) -> list[tuple[str, str, str]]:
    """Rule, pointer and severity of each finding."""
    return [(finding.rule, finding.pointer, finding.severity) for finding in findings]


def test_data_alone_is_validated_only() -> None:
    """Without document and evidence nothing is said about evidence."""
    assert judge(stage(), {"total": 99}) == []
    assert told(judge(stage(), {})) == [("required", "/total", "error")]


def test_a_document_is_searched_when_no_evidence_is_given() -> None:
    """What is not found is a warning, and the data stays valid."""
    findings = judge(stage(), {"vendor": "ACME", "total": 99}, PAGES)
    assert findings == [
        Finding("evidence_not_found", "/total", "99 is not found in the document", "warning")
    ]


def test_required_evidence_makes_what_is_not_found_an_error() -> None:
    """And what is ambiguous or derived a warning."""
    data = {"vendor": "ACME", "total": 17, "paid": True}
    evidence = [
        Evidence("/vendor", "not_found"),
        Evidence("/total", "ambiguous", "17.00", 1, 9, 14),
        Evidence("/paid", "derived", "Total 17.00", 1, 15, 26),
    ]
    assert told(judge(stage("required"), data, PAGES, evidence)) == [
        ("evidence_not_found", "/vendor", "error"),
        ("evidence_ambiguous", "/total", "warning"),
        ("evidence_derived", "/paid", "warning"),
    ]
    assert told(judge(stage(), data, None, evidence)) == [
        ("evidence_not_found", "/vendor", "warning")
    ]


def test_given_evidence_is_not_searched_again() -> None:
    """The evidence at hand speaks, even if it is empty."""
    assert judge(stage("required"), {"total": 99}, PAGES, []) == []


def test_required_evidence_must_be_there_for_every_value() -> None:
    """A value that came into an answer without any is not found; null and what is empty need none."""
    data = {"vendor": "ACME", "total": 17, "more": None, "note": "", "lines": []}
    evidence = [Evidence("/total", "verified", "17.00", 1, 9, 14)]
    assert told(judge(stage("required"), data, PAGES, evidence)) == [
        ("evidence_not_found", "/vendor", "error")
    ]


@pytest.mark.parametrize("status", ["verified", "absent"])
def test_what_is_proven_or_absent_is_no_finding(status: Any) -> None:
    """In either kind of stage."""
    data = {"total": 17}
    for kind in (stage(), stage("required")):
        assert judge(kind, data, None, [Evidence("/total", status)]) == []


def test_evidence_of_data_that_was_changed_is_told_all_the_same() -> None:
    """A pointer that the data no longer has is no crash."""
    findings = judge(stage(), {"total": 1}, None, [Evidence("/gone/3", "not_found")])
    assert [finding.message for finding in findings] == ["the value is not found in the document"]


def test_findings_of_validation_come_first() -> None:
    """In the schema's order, then the evidence in the data's."""
    findings = judge(stage(), {"vendor": 5, "total": "x"}, PAGES)
    assert told(findings) == [
        ("type", "/vendor", "error"),
        ("type", "/total", "error"),
        ("evidence_not_found", "/vendor", "warning"),
        ("evidence_not_found", "/total", "warning"),
    ]
