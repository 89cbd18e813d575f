"""What a run will do and why, as it is found before anything is paid: Survey, and the settings that changed."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from pipeline.config import Plan
from pipeline.ledger.survey import Past
from pipeline.sources import Source

#: Why a document is worked on.
Why = Literal[
    "new", "file_changed", "settings_changed", "output_missing", "unfinished", "retry", "force"
]
#: What a change of it can't make a question different: stored answers serve.
_SAME_QUESTION = frozenset(
    {"evidence", "min_confidence", "fallback", "service_tier", "stream", "validate"}
)
#: Fields of a stage by the word that its user knows; others go by their own name.
_WORDS = {"system": "prompt", "prompts_version": "prompt", "schema_sha256": "schema"}


@dataclass(frozen=True, slots=True)
class Survey:
    """What a run over an output of earlier runs found before it starts.

    `reasons` count the documents that are worked on, by Why; `changes` tell of those under `settings_changed`
    what changed, in words, and of those under `retry` which status. `unchanged` ones are not opened.
    `gone` counts documents that have results and are not in the input; None where it isn't known, because
    not the whole input was listed. `cost_usd` is about what the answers will cost that are not
    stored, by the mean of earlier ones; None where nothing tells.
    """

    reasons: Mapping[Why, int] = field(default_factory=dict)
    changes: Mapping[str, int] = field(default_factory=dict)
    unchanged: int = 0
    gone: int | None = 0
    cost_usd: Decimal | None = Decimal(0)

    @property
    def to_do(self) -> int:
        """How many documents are worked on."""
        return sum(self.reasons.values())


@dataclass(frozen=True, slots=True)
class Change:
    """What is different from the pipeline of an earlier pass: in words, and the stages that are asked anew."""

    told: str
    asked: frozenset[str]


@dataclass(slots=True)
class Findings:
    """The counts of a Survey while they grow; `asked` counts the questions by stage."""

    reasons: Counter[Why] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    unchanged: int = 0


def settings_of(plan: Plan) -> dict[str, Any]:
    """What a pipeline's hash stands for: each setting of each stage by its hash, and what reads files."""
    stages = {stage.name: stage.to_json() for stage in plan.stages}
    return {
        "stages": {
            name: {key: _hashed(value) for key, value in told.items() if key != "name"}
            for name, told in stages.items()
        },
        "readers": plan.readers,
    }


def change(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Change:
    """How the settings of two pipelines differ."""
    if before is None:
        return Change("settings of a pipeline that is not known any more", frozenset(now["stages"]))
    told, asked, renamed = [], set(), set()
    old, new = before["stages"], now["stages"]
    for name, stage in new.items():
        if name not in old:
            earlier = next((n for n, its in old.items() if its == stage and n not in new), None)
            told.append(f"stage {name}: {f'was {earlier}' if earlier else 'new'}")
            renamed |= {earlier}
            asked |= set() if earlier else {name}
            continue
        differing = {key for key in {*stage, *old[name]} if stage.get(key) != old[name].get(key)}
        if differing:
            words = dict.fromkeys(_WORDS.get(str(key), str(key)) for key in sorted(differing))
            told.append(f"stage {name}: {', '.join(words)}")
        if differing - _SAME_QUESTION:
            asked.add(name)
    told += [f"stage {name}: removed" for name in old if name not in {*new, *renamed}]
    told += [
        f"{name} {before['readers'].get(name)} -> {version}"
        for name, version in now["readers"].items()
        if before["readers"].get(name) != version
    ]
    return Change("; ".join(told) or "order of the stages", frozenset(asked))


def why(source: Source, past: Past | None, pipeline: str, since: int) -> Why | None:
    """Why a document is worked on, as far as the ledger tells; None: nothing is to do."""
    if past is None:
        return "new"
    if past.mark is None:
        return "unfinished"
    size, mtime_ns, before, run = past.mark
    if run < since:
        return "force"
    if run < past.noted:
        return "retry"
    if (size, mtime_ns) != (source.size, source.mtime_ns):
        return "file_changed"
    return None if before == pipeline else "settings_changed"


def retried(past: Past, statuses: Iterable[str]) -> str:
    """The statuses for which a document is done again, in words."""
    found = {status for _, status, _ in past.lines} & set(statuses)
    return f"retry {', '.join(sorted(found)) or 'of an earlier run'}"


def _hashed(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
