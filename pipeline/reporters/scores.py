"""An evaluation as text or JSON: what `fieldsift eval` prints. The text says nothing that the JSON doesn't."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from pipeline.reporters import printable
from pipeline.writers import dump

#: A JSON object as Evaluation.to_json makes it, with `gates` and `baseline` beside.
Told = Mapping[str, Any]

_COUNTS = ("right", "missed", "misread", "fabricated")
_HEAD = ("field", "F1", "95 %", "precision", "recall", "exact", *_COUNTS, "null filled", "whole")
#: Longer values are cut in a line of text.
_LONGEST = 60


def as_json(told: Told, show: int) -> str:
    """The evaluation as it is; `show` is for people."""
    return dump(told, indent=2)


def as_text(told: Told, show: int) -> str:
    """A table of fields, what stands behind it, the gates; `show` wrong values and documents."""
    lines = [
        _headline(told),
        "",
        *_table(told),
        "",
        *_rows(told["rows"]),
        *_trust(told),
        _cost(told["cost"]),
        *(f"note: {note}" for note in told["notes"]),
        *_wrong(told, show),
        *_worst(told["documents"], show),
        *_baseline(told.get("baseline")),
        *(_gate(gate) for gate in told.get("gates", ())),
    ]
    return "\n".join(printable(line) for line in lines)


#: Output format -> reporter.
SCORES: dict[str, Callable[[Told, int], str]] = {"json": as_json, "text": as_text}


def _headline(told: Told) -> str:
    overall = told["overall"]
    statuses = ", ".join(f"{name} {number}" for name, number in told["statuses"].items())
    engine = f" ({told['engine']})" if told["engine"] else ""
    beside = f"; {told['without_gold']} without gold" if told["without_gold"] else ""
    whole = f"{overall['documents_right']} of {overall['documents']} all right"
    return (
        f"{told['output']}{engine} against {told['gold']}: "
        f"{whole} {_interval(overall['document_share'])}; {statuses}{beside}"
    )


def _table(told: Told) -> list[str]:
    rows = [_HEAD, *(_line(pointer, score) for pointer, score in told["fields"].items())]
    rows.append(_line("all", told["overall"]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def _line(name: str, score: Told) -> tuple[str, ...]:
    return (
        printable(name),
        _share(score["f1"]),
        _interval(score["f1"]),
        _share(score["precision"]),
        _share(score["recall"]),
        _number(score["exact"]),
        *(str(score[count]) for count in _COUNTS),
        f"{score['filled_though_null']}/{score['gold_nulls']}",
        f"{score['documents_right']}/{score['documents']}",
    )


def _rows(arrays: Told) -> list[str]:
    return [
        f"rows of {pointer or 'the data'}: {rows['paired']} paired of {rows['gold']} in gold and {rows['given']} given"
        f" (precision {_number(rows['precision'])}, recall {_number(rows['recall'])})"
        for pointer, rows in arrays.items()
    ]


def _trust(told: Told) -> list[str]:
    """How far confidences and evidence can be believed."""
    lines = []
    calibration = told["calibration"]
    bands = [calibration["high"], calibration["review"]]
    if any(band["values"] for band in bands):
        parts = [
            f"{name} {_share(band['share'])} right of {band['values']}"
            for name, band in zip(("high (0.85 and more)", "review"), bands, strict=True)
        ]
        error = f"expected calibration error {_number(calibration['expected_error'])}"
        lines.append(f"confidence: {'; '.join(parts)}; {error}")
        lines += [_bin(band) for band in calibration["bins"] if band["values"]]
    if told["evidence"]:
        parts = [
            f"{status} {_share(each['share'])} right of {each['values']}"
            for status, each in told["evidence"].items()
        ]
        lines.append(f"evidence: {'; '.join(parts)}")
    joint = told["evidence_and_rules"]
    if any(each["rules"] != "none" for each in joint):
        parts = [
            f"{each['status']} and {each['rules']} {_share(each['share'])} right of {each['values']}"
            for each in joint
        ]
        lines.append(f"evidence and rules: {'; '.join(parts)}")
    wrong = told["overall"]["wrong_type"]
    return [*lines, *([f"of another JSON type than asked for: {wrong}"] if wrong else [])]


def _bin(band: Told) -> str:
    """What values of a band say of themselves, against how many are right."""
    stated = f"  {band['low']:.1f} to {band['high']:.1f}: stated {band['confidence']:.2f}"
    return f"{stated}, {_share(band['share'])} right of {band['values']} {_interval(band['share'])}"


def _cost(cost: Told) -> str:
    if cost["usd"] is None:
        of = f" ({cost['unpriced_documents']} documents)" if cost["unpriced_documents"] else ""
        return f"cost: unknown{of}"
    per = "-" if cost["usd_per_right"] is None else f"{cost['usd_per_right']:.6f}"
    tokens = ", ".join(f"{number} {kind}" for kind, number in cost["tokens"].items() if number)
    return f"cost: {cost['usd']:.4f} USD, {per} a right value" + (
        f"; tokens: {tokens}" if tokens else ""
    )


def _wrong(told: Told, show: int) -> list[str]:
    """Wrong values, one of each field in turn, those fields first that lose the most."""
    by_field: dict[str, list[Told]] = {}
    for each in told["wrong"]:
        by_field.setdefault(each["field"], []).append(each)
    worst = sorted(by_field, key=lambda field: -_lost(told["fields"].get(field)))
    turns = chain.from_iterable(zip_longest(*(by_field[field] for field in worst)))
    found = [each for each in turns if each is not None][:show]
    if not found:
        return []
    lines = [
        f"  {each['document']} {each['pointer']}: {each['outcome']}: gold "
        f"{'has no such row' if each['outcome'] == 'extra' else _value(each['gold'])}, given {_value(each['given'])}"
        for each in found
    ]
    return ["wrong values:", *lines]


def _lost(score: Told | None) -> int:
    return sum(score[count] for count in _COUNTS[1:]) if score else 0


def _worst(documents: Sequence[Told], show: int) -> list[str]:
    """The documents with the most wrong leaves."""
    wrong = [each for each in documents if _lost(each)]
    found = sorted(wrong, key=lambda each: (-_lost(each), each["path"]))[:show]
    lines = [
        f"  {each['path']} ({each['status']}): "
        + ", ".join(f"{count} {each[count]}" for count in _COUNTS)
        for each in found
    ]
    return ["worst documents:", *lines] if lines else []


def _baseline(baseline: Told | None) -> list[str]:
    if baseline is None:
        return []
    lines = [
        f"  {change['field'] or 'all'}: {_number(change['before'])} -> {_number(change['now'])}"
        for change in baseline["changes"]
    ]
    if baseline["other_gold"]:
        lines.append("  (its gold had another number of values)")
    return [
        f"F1 against {baseline['file']}: {'these changed:' if lines else 'nothing changed'}",
        *lines,
    ]


def _gate(gate: Told) -> str:
    return f"gate missed: {gate['pointer'] or 'all'}: {gate['message']} ({gate['rule']})"


def _share(share: Told | None) -> str:
    return "-" if share is None else f"{share['value']:.3f}"


def _interval(share: Told | None) -> str:
    return "" if share is None else f"({share['low']:.2f} to {share['high']:.2f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
