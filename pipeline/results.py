"""What comes out: Evidence, Finding, Attempt, Coverage and Result, their JSON, and the summary beside them.

The shapes are a contract: README.md, "What lies in the output folder". Readers ignore
keys that they don't know.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import field as default
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any, Literal, TypeVar

from pipeline.document import Box
from pipeline.errors import UsageError
from pipeline.notebook import table

Status = Literal[
    "valid",
    "invalid",
    "refused",
    "truncated",
    "unreadable",
    "failed",
    "over_budget",
    "pending",
    "skipped",
]
EvidenceStatus = Literal["verified", "derived", "ambiguous", "not_found", "absent"]
Severity = Literal["error", "warning"]
T = TypeVar("T")

#: Leaves, and findings, of a Result that a notebook shows.
_SHOWN = 200
#: Statuses that need nobody's attention: exit code 0.
DONE: frozenset[str] = frozenset({"valid", "skipped"})
#: What run.json says under `stopped` of a run that a signal ended.
BY_SIGNAL = "Ctrl-C or SIGTERM"
#: Statuses that the same command continues: exit code 3.
CONTINUES: frozenset[str] = frozenset({"over_budget", "pending"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where one leaf of `data` stands in the document.

    `pointer` is a JSON Pointer into `data`; `page` counts from 1; `start`/`end` are code points of
    the page's text; `box` is in 0..1 of the page from its top left. All of them are None where the
    value was not found. `confidence` is 0..1, or None where nothing is known.
    """

    pointer: str
    status: EvidenceStatus
    quote: str | None = None
    page: int | None = None
    start: int | None = None
    end: int | None = None
    box: Box | None = None
    confidence: float | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or odd: the rule's name, where in `data`, and a sentence.

    `related` are pointers of further leaves that it is about: one of them may be what is wrong.
    """

    rule: str
    pointer: str
    message: str
    severity: Severity = "error"
    related: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; few findings are about several leaves, and only they say it."""
        told = asdict(self)
        related = told.pop("related")
        return told | ({"related": list(related)} if related else {})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answer that was used: who gave it, what it took, what it cost (USD, None = unknown).

    `tokens` by kind: `input` (the cached and audio ones in it), `cached`, `output`, `thoughts`; above zero
    also `tool` (what tools of the service read, beside the input), `audio`, and what the service says that the
    input was made of: `input_text`, `input_image`, `input_audio`, `input_video`, `input_document`. Empty where the
    answer does not say what it took. `why` is `first` or the reason for asking again; `stored` says that
    the answer was there already and nothing was sent now: it costs what was paid for it, once, in the Results of
    the document and stage that it was bought for, 0 in those of equal documents. `response_id` is the service's own name of the
    answer, which its support asks for; None where it gives none.
    """

    model: str
    endpoint: str
    tokens: Mapping[str, int]
    cost_usd: Decimal | None
    why: str = "first"
    stored: bool = False
    response_id: str | None = None

    @property
    def took(self) -> int:
        """All its tokens; those of the other kinds are part of these."""
        return sum(self.tokens.get(kind, 0) for kind in ("input", "output", "thoughts", "tool"))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Pages in the document, pages sent to the model, pages that its answer covers; windows."""

    pages: int = 0
    sent: int = 0
    answered: int = 0
    windows: int = 0


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """The document of a Result, without its content; unknown where it was not opened."""

    path: str
    sha256: str | None = None
    media_type: str | None = None
    pages: int | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one document in one stage; one line of results.jsonl.

    `stage` is None when the file could not be read. `data` is what the model gave, also when it is
    not valid. `cost_usd` is None when a price is unknown.
    """

    document: DocumentRef
    stage: str | None
    status: Status
    reason: str | None = None
    data: Any = None
    evidence: tuple[Evidence, ...] = ()
    findings: tuple[Finding, ...] = ()
    coverage: Coverage = default(default_factory=Coverage)
    attempts: tuple[Attempt, ...] = ()
    sources: tuple[str, ...] = ()
    schema_sha256: str | None = None
    stage_sha256: str | None = None
    engine: str | None = None
    model_class: type[Any] | None = default(default=None, compare=False, repr=False)

    @property
    def cost_usd(self) -> Decimal | None:
        """What the answers of this Result cost together; None when one of them has no known price."""
        costs = [attempt.cost_usd for attempt in self.attempts]
        return None if None in costs else sum((c for c in costs if c is not None), Decimal(0))

    @property
    def says_nothing(self) -> bool:
        """Whether it is only about one run: the document was not reached, or nothing may be sent."""
        return self.status in CONTINUES or self.reason == "not_recorded"

    @property
    def value(self) -> Any:
        """The data as an instance of the pydantic model that was given, else the data itself.

        Raises:
            ValueError: the Result is not valid, so that its data must not be taken for good.

        """
        if self.status != "valid":
            told = "; ".join(f.message for f in self.findings) or self.reason or "no data"
            raise ValueError(f"{self.document.path}: {self.status}: {told}")
        return self.data if self.model_class is None else self.model_class.model_validate(self.data)

    def field(self, pointer: str) -> Evidence:
        """The evidence of one leaf, by its JSON Pointer.

        Raises:
            KeyError: the data has no such leaf.

        """
        for evidence in self.evidence:
            if evidence.pointer == pointer:
                return evidence
        raise KeyError(pointer)

    def _repr_html_(self) -> str:
        """For notebooks: every leaf with where it stands; everything of the document is escaped and cut."""
        stands = {each.pointer: each for each in self.evidence}
        cost = "cost unknown" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        rows = [
            (pointer, value, told.status, told.quote, told.page)
            if (told := stands.get(pointer))
            else (pointer, value, "", "", "")
            for pointer, value in leaves(self.data)[:_SHOWN]
        ]
        rows += [
            (each.pointer, each.message, each.severity, "", "") for each in self.findings[:_SHOWN]
        ]
        name = f"{self.document.path}: {' '.join(filter(None, (self.stage, self.status)))}; {cost}"
        return table(name, ("field", "value", "stands", "quote", "page"), rows)

    def to_json(self) -> dict[str, Any]:
        """The Result as one line of results.jsonl, before it becomes text."""
        cost = self.cost_usd
        return {
            "version": 1,
            "document": _without_none(
                asdict(self.document), keep=("sha256", "media_type", "pages")
            ),
            "stage": self.stage,
            "status": self.status,
            "reason": self.reason,
            "data": self.data,
            "evidence": [asdict(evidence) for evidence in self.evidence],
            "findings": [finding.to_json() for finding in self.findings],
            "coverage": asdict(self.coverage),
            "attempts": [
                asdict(attempt) | {"cost_usd": _number(attempt.cost_usd)}
                for attempt in self.attempts
            ],
            "sources": list(self.sources),
            "cost_usd": _number(cost),
            "schema_sha256": self.schema_sha256,
            "stage_sha256": self.stage_sha256,
            "engine": self.engine,
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Result":
        """Read back one line of results.jsonl; unknown keys are ignored.

        Raises:
            ValueError: the line is not a Result of a version this code knows.

        """
        if line.get("version") != 1:
            raise ValueError(f"a Result of version {line.get('version')!r}; this release reads 1")
        try:
            return cls(
                document=_known(DocumentRef, line["document"]),
                stage=line["stage"],
                status=line["status"],
                reason=line.get("reason"),
                data=line.get("data"),
                evidence=tuple(_evidence(item) for item in line.get("evidence", ())),
                findings=tuple(map(_finding, line.get("findings", ()))),
                coverage=_known(Coverage, line.get("coverage", {})),
                attempts=tuple(_attempt(item) for item in line.get("attempts", ())),
                sources=tuple(line.get("sources", ())),
                schema_sha256=line.get("schema_sha256"),
                stage_sha256=line.get("stage_sha256"),
                engine=line.get("engine"),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a Result: {error}") from error


def read_summary(output: Path) -> dict[str, Any]:
    """The run.json of an output folder.

    Raises:
        UsageError: it is missing or not JSON.

    """
    try:
        told = json.loads((output / "run.json").read_bytes())
    except FileNotFoundError:
        raise UsageError(f"{output}: no run.json here; name the output folder of a run") from None
    except ValueError as error:
        raise UsageError(f"{output}/run.json: {error}") from error
    if not isinstance(told, dict):
        raise UsageError(f"{output}/run.json: not a summary of a run; run again to make it anew")
    return told


def leaves(data: Any, pointer: str = "") -> list[tuple[str, Any]]:
    """Every leaf of a JSON value with its JSON Pointer (RFC 6901), in order.

    An empty object or array is a leaf too: it has no value of its own to prove, so that callers
    skip it by its type.
    """
    if isinstance(data, dict) and data:
        children = [(escape(str(key)), value) for key, value in data.items()]
    elif isinstance(data, list) and data:
        children = [(str(index), value) for index, value in enumerate(data)]
    else:
        return [(pointer, data)]
    return [leaf for key, value in children for leaf in leaves(value, f"{pointer}/{key}")]


def escape(token: str) -> str:
    """One token of a JSON Pointer, escaped (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")


def at(data: Any, pointer: str) -> Any:
    """The value that a JSON Pointer names.

    Raises:
        LookupError: there is none.

    """
    tokens = [t.replace("~1", "/").replace("~0", "~") for t in pointer.split("/")[1:]]
    return reduce(
        lambda value, t: value[int(t)] if isinstance(value, list) else value[t], tokens, data
    )


def _known(kind: type[T], values: Mapping[str, Any]) -> T:
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]  # every caller gives a dataclass
    return kind(**{key: value for key, value in values.items() if key in names})


def _evidence(values: Mapping[str, Any]) -> Evidence:
    box = values.get("box")
    return _known(Evidence, {**values, "box": tuple(box) if box else None})


def _finding(values: Mapping[str, Any]) -> Finding:
    return _known(Finding, {**values, "related": tuple(values.get("related", ()))})


def _attempt(values: Mapping[str, Any]) -> Attempt:
    cost = values.get("cost_usd")
    return _known(Attempt, {**values, "cost_usd": None if cost is None else Decimal(str(cost))})


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _without_none(values: dict[str, Any], keep: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None or key in keep}
