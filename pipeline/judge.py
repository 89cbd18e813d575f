"""Is an answer good? The validators' findings and what the evidence says, without input or output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pipeline import rules
from pipeline.document import Document
from pipeline.grounding import ground
from pipeline.results import Evidence, EvidenceStatus, Finding, Severity, at, leaves
from pipeline.stages import Stage, Task
from pipeline.validators import check
from pipeline.validators.messages import shown
from pipeline.windows import kept_of_translation, out_of_place, parts_of

#: What each evidence status means to a stage: by default, and with `evidence = "required"`.
_SEVERITY: dict[str, dict[EvidenceStatus, Severity]] = {
    "flagged": {"not_found": "warning"},
    "required": {"not_found": "error", "ambiguous": "warning", "derived": "warning"},
}
#: Rules that are no keywords of JSON Schema: of evidence, of values, of files and of whole Results.
_OWN_RULES = frozenset(
    [
        "evidence_not_found",
        "evidence_ambiguous",
        "evidence_derived",
        "conflict",
        "row_doubled",
        "row_not_located",
        "rows_missing",
        "rows_not_counted",
        "not_finite",
        "not_allowed",
        "too_deep",
        "too_large",
        "too_slow",
        "too_many",
        "changed",
        "low_confidence",
        "upstream",
        "when",
        "no_inputs",
        "no_items",
        "no_item",
        "function_error",
        "not_escalated",
        "unsure",
        "keep_numbers",
        "keep_codes",
        "keep_placeholders",
        "keep_unchecked",
        "text_missing",
        "lines_differ",
        "already_translated",
        "not_translated",
        "glossary",
        "pages_left_out",
        "pages_missing",
        "pages_doubled",
        "pages_order",
        "pages_unknown",
        "empty",
        "document",
        "page_not_read",
        "no_words",
        "no_data",
        "no_schema",
        "not_json",
        "not_readable",
        "encrypted",
        "damaged",
        "unsupported",
        "timeout",
        "crashed",
        "too_much_memory",
        "needs_ocr",
        "link",
        "not_a_file",
    ]
)
_SENTENCE: dict[EvidenceStatus, str] = {
    "not_found": "{} is not found in the document",
    "ambiguous": "{} stands at several places of the document, and nothing says which was meant",
    "derived": "{} does not stand in the document; it is taken from {}",
}


def judge(
    stage: Stage,
    data: Any,
    document: Document | None = None,
    evidence: Sequence[Evidence] | None = None,
) -> list[Finding]:
    """Every finding about the data of one document in one stage; no error among them means valid.

    Args:
        stage: the schema, the rules, and whether evidence is required.
        data: the answer.
        document: the document, when it is at hand; the data is then grounded here unless `evidence`
            is given.
        evidence: where the values stand, when that is known already.

    Returns:
        what the validators find, then the rules of the stage, then what its task asks of an answer beside its schema;
        of `extract` then `evidence_not_found`, `evidence_ambiguous` and `evidence_derived`. Without document and evidence
        nothing is said about evidence.

    Raises:
        SchemaError: a reference or a pattern of the schema can't be used.
        ReplyError: the data is nested too deeply to be searched.

    """
    findings = check(stage.schema, data) + rules.broken(stage.validate, data)
    if stage.task in _OF_TASKS:
        findings += _OF_TASKS[stage.task](data, document)
    if evidence is None and document is not None and stage.task == "translate":
        findings += kept_of_translation(stage, document, data)
    if evidence is None and document is not None and stage.by_leaf:
        evidence = ground(data, stage.schema, document)
    return findings + list(_of_evidence(stage, data, evidence or ()))


def _of_label(data: Any, document: Document | None) -> Iterator[Finding]:
    if isinstance(data, dict) and data.get("label", "") is None:
        yield Finding("unsure", "/label", _UNSURE, "warning")


def _of_labels(data: Any, document: Document | None) -> Iterator[Finding]:
    if isinstance(data, dict) and data.get("labels") == []:
        yield Finding("unsure", "/labels", "none of the labels applies", "warning")


def _of_parts(data: Any, document: Document | None) -> Iterator[Finding]:
    """Each page stands in one part, in order; and every part has a label where there are some."""
    for part in parts_of(data):
        if part.told.get("label", "") is None:
            yield Finding("unsure", f"/parts/{part.place}/label", _UNSURE, "warning")
    pages: tuple[int, int] | None = None
    if document is not None:
        numbers = document.numbers or (1, max(1, document.page_count))
        pages = numbers[0], numbers[-1]
    yield from out_of_place(data, pages)


_UNSURE: Final = "no label fits, or two do: it was left open"
#: What is asked of the answers of a task beside its schema.
_OF_TASKS: Final[Mapping[Task, Callable[[Any, Document | None], Iterator[Finding]]]] = {
    "classify": _of_label,
    "tag": _of_labels,
    "split": _of_parts,
}


def _of_evidence(stage: Stage, data: Any, evidence: Sequence[Evidence]) -> Iterator[Finding]:
    severities = _SEVERITY[stage.evidence]
    unknown = _without_evidence(data, evidence) if stage.evidence == "required" else ()
    for proof in (*evidence, *unknown):
        severity = severities.get(proof.status)
        if severity:
            value, quote = _value(data, proof.pointer), shown(proof.quote)
            said = _SENTENCE[proof.status].format(value, quote)
            yield Finding(f"evidence_{proof.status}", proof.pointer, said, severity)


def _without_evidence(data: Any, evidence: Sequence[Evidence]) -> Iterator[Evidence]:
    """What has a value and no evidence at all is not found: of a whole answer each leaf has some."""
    known = {proof.pointer for proof in evidence}
    for pointer, value in leaves(data) if known else ():
        is_value = value is not None and not isinstance(value, dict | list)
        if is_value and value != "" and pointer not in known:
            yield Evidence(pointer, "not_found")


def _value(data: Any, pointer: str) -> str:
    try:
        return shown(at(data, pointer))
    except (LookupError, TypeError, ValueError):  # recorded evidence of data that was changed since
        return "the value"


def is_rule(name: str) -> bool:
    """Whether findings of any stage can have this rule: a keyword of JSON Schema, a check, one of ours, or `model:` with pydantic's word.

    Rules over several fields are those of their stage alone.
    """
    from jsonschema import Draft202012Validator

    return (
        name.startswith("model:")
        or name in _OWN_RULES
        or name in rules.CHECKS
        or name in Draft202012Validator.VALIDATORS
    )
