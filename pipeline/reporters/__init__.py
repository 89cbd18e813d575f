"""Findings of many files as text or JSON: what `fieldsift validate` prints; scores.py is what `eval` prints."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.results import Finding
from pipeline.writers import dump


@dataclass(frozen=True, slots=True)
class Checked:
    """One file that was judged again: `path` as it should be shown, and what was found.

    `evidence_checked` is None where neither evidence nor what a translation keeps is to be checked, `stage` where the
    file is of none.
    """

    path: str
    findings: tuple[Finding, ...] = ()
    evidence_checked: bool | None = None
    stage: str | None = None

    @property
    def valid(self) -> bool:
        """Whether no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)


def summary(checked: Sequence[Checked]) -> dict[str, int]:
    """How many files are valid and invalid, how many findings, and where evidence was not checked."""
    findings = [finding for each in checked for finding in each.findings]
    return {
        "files": len(checked),
        "valid": sum(each.valid for each in checked),
        "invalid": sum(not each.valid for each in checked),
        "errors": sum(finding.severity == "error" for finding in findings),
        "warnings": sum(finding.severity == "warning" for finding in findings),
        "evidence_not_checked": sum(each.evidence_checked is False for each in checked),
    }


def said(finding: Finding) -> str:
    """A finding's sentence, with the place that it is about in front, if it is not the whole."""
    return f"{finding.pointer}: {finding.message}" if finding.pointer else finding.message


def as_json(checked: Sequence[Checked]) -> str:
    """`{"files": [{"path", "stage", "valid", "findings": [...]}], "summary": {...}}`."""
    files = [
        {
            "path": each.path,
            "stage": each.stage,
            "valid": each.valid,
            "findings": [finding.to_json() for finding in each.findings],
        }
        for each in checked
    ]
    return dump({"files": files, "summary": summary(checked)}, indent=2)


def printable(text: str) -> str:
    """The text on one line, without what could move a terminal's cursor: the rest becomes escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def as_text(checked: Sequence[Checked]) -> str:
    """One line a finding, `path: severity: pointer: message (rule)`, and a line that sums up."""
    lines = [
        printable(f"{each.path}: {finding.severity}: {said(finding)} ({finding.rule})")
        for each in checked
        for finding in each.findings
    ]
    told = summary(checked)
    last = f"{told['valid']} valid, {told['invalid']} invalid of {told['files']}; {told['warnings']} warnings"
    if told["evidence_not_checked"]:
        last += f"; evidence: not checked in {told['evidence_not_checked']} (their documents, or the words of their scans, are not there: --sources DIR)"
    return "\n".join([*lines, last])


#: Output format -> reporter.
REPORTERS: dict[str, Callable[[Sequence[Checked]], str]] = {"json": as_json, "text": as_text}


def selected(
    checked: Iterable[Checked], *, select: Sequence[str] = (), ignore: Sequence[str] = ()
) -> list[Checked]:
    """The same files with only the findings of the rules that are wanted."""

    def wanted(rule: str) -> bool:
        return (not select or rule in select) and rule not in ignore

    return [
        replace(each, findings=tuple(f for f in each.findings if wanted(f.rule)))
        for each in checked
    ]
