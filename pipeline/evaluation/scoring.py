"""The evaluation itself: gold and output matched, compared one document at a time, counted."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import NoInput, UsageError
from pipeline.evaluation.compare import Compared, compared
from pipeline.evaluation.matching import Match, matched
from pipeline.evaluation.reading import Entry, entries
from pipeline.evaluation.rules import Rule, chosen
from pipeline.evaluation.shapes import Evaluation
from pipeline.evaluation.tally import Tally
from pipeline.results import Result, read_summary
from pipeline.rules import Check, by_leaf, made
from pipeline.rules import Rule as StageRule
from pipeline.schema import Schema
from pipeline.validators import check

#: How many names a note gives as examples.
_NAMED = 3


def evaluate(
    gold: Path,
    output: Path,
    *,
    schema: Schema | None = None,
    stage: str | None = None,
    compare: Mapping[str, str] | None = None,
    absent_is_null: bool = False,
) -> Evaluation:
    """Compare an output with gold, one document at a time.

    Args:
        gold: a folder of JSON files, a JSONL (results.jsonl too), a CSV, or an output folder that is right.
        output: the output folder of a run, its results.jsonl, or any of the forms of gold.
        schema: what the data should be like; None takes that of run.json, if there is one.
        stage: the stage that is scored; None takes the only one, or each that has a folder in gold.
        compare: method by field, `{"/total": "number:1%"}`; see `pipeline.evaluation.methods`.
        absent_is_null: whether a key that gold does not have says that the value is absent.

    Raises:
        UsageError: gold, output, stage, field or method is not there or not readable.
        NoInput: no gold belongs to any document of the output.

    """
    found = _Output.of(output)
    parts = _parts(gold, found, stage)
    tally = Tally()
    notes = _left_out(gold, parts)
    schemas = {part.stage: schema or found.schema(part.stage) for part in parts}
    for part in parts:
        part.gold = [entry for entry in entries(part.place) if entry.stage in (None, part.stage)]
        part.matches = matched(part.gold, found.documents(part.stage))
    _some_gold(gold, output, parts, found)
    roots = _roots(parts, schemas, compare or {}, absent_is_null=absent_is_null)
    for part, root in zip(parts, roots, strict=True):
        prefix = f"{part.stage}:" if len(parts) > 1 else ""
        scorer = _Scorer(found, part.stage, root, schemas[part.stage], prefix)
        for match in sorted(part.matches, key=lambda each: each.document or each.gold.name):
            scorer.score(match, tally)
        notes += _of_matches(part.matches) + scorer.notes()
    _all_used(roots, compare or {})
    return _made(gold, output, found, parts, (tally, notes))


class _Answer(NamedTuple):
    """What the output has for a document."""

    given: Any
    status: str
    result: Result | None = None


class _Output:
    """An output: what run.json says, and where the data of each document stands, by stage."""

    def __init__(self, told: dict[str, Any], by_stage: dict[str | None, dict[str, Entry]]) -> None:
        self.told = told
        self.by_stage = by_stage

    @classmethod
    def of(cls, output: Path) -> "_Output":
        """Go through an output once."""
        by_stage: dict[str | None, dict[str, Entry]] = defaultdict(dict)
        for entry in entries(output):
            by_stage[entry.stage][entry.name] = entry
        folder = output if output.is_dir() else output.parent
        is_run = output.is_dir() or output.name == "results.jsonl"
        told = read_summary(folder) if is_run and (folder / "run.json").is_file() else {}
        return cls(told, dict(by_stage))

    @property
    def stages(self) -> list[str]:
        """The stages in the order of the pipeline; none for data that no run made."""
        named = [each["name"] for each in self.told.get("stages", ())]
        return [*named, *(name for name in self.by_stage if name and name not in named)]

    def documents(self, stage: str | None) -> dict[str, Entry]:
        """The documents of a stage, and those that no stage could read."""
        return self.by_stage.get(None, {}) | self.by_stage.get(stage, {})

    def schema(self, stage: str | None) -> Schema | None:
        """The schema that run.json holds for a stage."""
        bodies = self.told.get("schemas", {})
        for each in self.told.get("stages", ()):
            body = bodies.get(each.get("schema_sha256"))
            if each["name"] == stage and body is not None:
                return Schema(each["name"], body, source="run.json")
        return None

    def rules(self, stage: str | None) -> tuple[StageRule | Check, ...]:
        """The rules that run.json holds for a stage."""
        schema = self.schema(stage)
        for each in self.told.get("stages", ()):
            if each["name"] == stage and schema is not None:
                return made(each.get("validate", ()), schema.tree, each["name"])
        return ()


@dataclass(slots=True)
class _Part:
    """One stage, its gold, and which document each gold belongs to."""

    stage: str | None
    place: Path
    gold: list[Entry]
    matches: list[Match]


def _parts(gold: Path, output: _Output, stage: str | None) -> list[_Part]:
    """The stages that are scored; with several, each has a folder of its own in gold."""
    stages = output.stages
    if stage is not None:
        return [_only(gold, stages, stage)]
    if len(stages) < 2:
        return [_Part(stages[0] if stages else None, gold, [], [])]
    own_gold = [each for each in stages if (gold / each).is_dir()]
    if own_gold and not (gold / "results.jsonl").is_file():
        return [_Part(each, gold / each, [], []) for each in own_gold]
    told = {entry.stage for entry in entries(gold)} & set(stages)
    if told:
        return [_Part(each, gold, [], []) for each in stages if each in told]
    raise UsageError(
        f"the output has the stages {', '.join(stages)}: name one with --stage, "
        f"or put the gold of each into a folder of its name ({gold}/{stages[0]}/)"
    )


def _only(gold: Path, stages: list[str], stage: str) -> _Part:
    """The stage that the user names; where the output is plain data, gold may have it."""
    own = gold / stage
    known = stages or sorted({entry.stage for entry in entries(gold) if entry.stage})
    if stage not in known and (stages or not own.is_dir()):
        side = "the output" if stages else "gold"
        told = (
            f"{side} has {', '.join(known)}" if known else "plain data has no stages: leave it out"
        )
        raise UsageError(f"--stage {stage}: {told}")
    return _Part(stage, own if own.is_dir() else gold, [], [])


def _left_out(gold: Path, parts: list[_Part]) -> list[str]:
    """Gold beside the folders of the stages is not scored, and that is said."""
    places = {part.place for part in parts}
    if gold in places:
        return []
    beside = [e.name for e in entries(gold) if not places & set(e.file.parents)]
    return _note(beside, "lie in no folder of a stage that is scored: not scored")


def _some_gold(gold: Path, output: Path, parts: list[_Part], found: _Output) -> None:
    if any(match.document for part in parts for match in part.matches):
        return
    names = [entry.name for part in parts for entry in part.gold]
    if not names:
        raise NoInput(f"{gold}: no gold here: no JSON file, and no line with data")
    documents = [name for part in parts for name in found.documents(part.stage)]
    there = f"there is {documents[0]}" if documents else "it has no document"
    raise NoInput(f"no gold of {gold} belongs to a document of {output}: {names[0]}; {there}")


def _roots(
    parts: list[_Part],
    schemas: Mapping[str | None, Schema | None],
    compare: Mapping[str, str],
    *,
    absent_is_null: bool,
) -> list[Rule]:
    """The rules of each stage; a field that the user names must be one of at least one of them."""
    roots, unknown = [], dict.fromkeys(compare, 0)
    for part in parts:
        schema = schemas[part.stage]
        here, errors = chosen(schema, compare, part.stage)
        for name, error in errors.items():
            unknown[name] += 1
            if unknown[name] == len(parts):
                raise error
        node = schema.tree if schema else None
        roots.append(Rule(node, here, absent_is_null=absent_is_null))
    return roots


def _all_used(roots: list[Rule], compare: Mapping[str, str]) -> None:
    """Without a schema nobody knows a field until it is met; one that never was is a slip."""
    for name in compare:
        if name.startswith("/") and not any(root.node or root.met(name) for root in roots):
            raise UsageError(f"--compare {name}: no gold and no data has such a field")


class _Scorer:
    """Compares the documents of one stage with their gold."""

    def __init__(
        self,
        output: _Output,
        stage: str | None,
        root: Rule,
        schema: Schema | None,
        prefix: str,
    ) -> None:
        self._documents = output.documents(stage)
        self._rules = output.rules(stage)
        self._root = root
        self._schema = schema
        self._prefix = prefix
        self._broken: list[str] = []
        self._empty: list[str] = []

    def score(self, match: Match, tally: Tally) -> None:
        """Compare one document and count it."""
        gold = match.gold.data(self._root.node)
        if gold is None and match.gold.is_result:
            self._empty.append(match.gold.where)
            return
        if not isinstance(gold, dict | list):
            raise UsageError(f"{match.gold.where}: gold is an object of fields, this is {gold!r}")
        if self._schema and check(self._schema, gold):
            self._broken.append(match.gold.where)
        answer = self._answer(match)
        try:
            found = compared(gold, answer.given, self._root)
        except RecursionError:
            raise UsageError(f"{match.gold.where}: nested too deeply") from None
        if answer.given is None:  # nothing was answered, so that no null is right either
            left = [leaf for leaf in found.leaves if leaf.outcome == "missed"]
            found = Compared(left, found.arrays)
        name = match.document or match.gold.name
        tally.add(name, answer.status, found, self._prefix, answered=answer.given is not None)
        if answer.result:
            by_rules = by_leaf(self._rules, answer.result.data)
            tally.answered(answer.result, found, by_rules)

    def _answer(self, match: Match) -> _Answer:
        if match.document is None:
            return _Answer(None, "ambiguous" if match.among else "no output")
        entry = self._documents[match.document]
        if not entry.is_result:
            return _Answer(entry.data(self._root.node), "data")
        result = entry.result()
        return _Answer(result.data, result.status, result)

    def notes(self) -> list[str]:
        """What is to be known about this stage's gold."""
        return [
            *_note(self._broken, "break the schema: scored by field all the same"),
            *_note(self._empty, "hold no valid data: not scored"),
        ]


def _of_matches(matches: list[Match]) -> list[str]:
    lost = [match.gold.name for match in matches if not (match.document or match.among)]
    unclear = [
        f"{match.gold.name}: {' or '.join(match.among[:_NAMED])}"
        for match in matches
        if match.among
    ]
    return [
        *_note(lost, "have no document in the output: all their values count as missed"),
        *_note(
            unclear, "could belong to several documents, or share one: all their values are missed"
        ),
    ]


def _note(names: list[str], told: str) -> list[str]:
    if not names:
        return []
    more = ", ..." if len(names) > _NAMED else ""
    return [f"{len(names)} of gold {told} ({', '.join(names[:_NAMED])}{more})"]


def _made(
    gold: Path,
    output: Path,
    found: _Output,
    parts: list[_Part],
    counted: tuple[Tally, list[str]],
) -> Evaluation:
    tally, notes = counted
    return Evaluation(
        gold=str(gold),
        output=str(output),
        engine=found.told.get("engine"),
        stages=tuple(part.stage for part in parts if part.stage),
        overall=tally.overall(),
        fields=tally.fields(),
        rows=tally.rows(),
        documents=tuple(tally.documents),
        without_gold=sum(_without_gold(part, found) for part in parts),
        calibration=tally.calibration(),
        evidence=tally.evidence(),
        evidence_and_rules=tally.evidence_and_rules(),
        cost=tally.cost(),
        notes=(*notes, *tally.notes()),
        wrong=tuple(tally.wrong),
    )


def _without_gold(part: _Part, found: _Output) -> int:
    has = {match.document for match in part.matches} | {
        name for match in part.matches for name in match.among
    }
    return len(found.documents(part.stage).keys() - has)
