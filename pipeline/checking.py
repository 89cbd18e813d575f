"""Outputs judged again: what `fieldsift validate` does, without a key or a network."""

import hashlib
import json
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pipeline.document import Document
from pipeline.errors import LoadError, NoInput, UsageError
from pipeline.eyes import Eyes
from pipeline.grounding import ground
from pipeline.judge import judge
from pipeline.ledger import Words
from pipeline.loaders import Loaders
from pipeline.providers import Hint
from pipeline.reporters import Checked
from pipeline.results import DONE, Evidence, EvidenceStatus, Finding, Result, leaves, read_summary
from pipeline.schema import Schema
from pipeline.sources import named_file, real_name
from pipeline.stages import Stage
from pipeline.validators import check
from pipeline.values import fold
from pipeline.writers import data_file

#: What may be said of a value that is there, the best first.
_BETTER: Final[tuple[EvidenceStatus, ...]] = (
    "verified",
    "derived",
    "ambiguous",
    "not_found",
    "absent",
)
#: Rules, and how those begin, that only a run can find broken.
_OF_THE_RUN: Final = ("model:", "low_confidence", "conflict", "row_", "rows_")


def read_results(output: Path) -> Iterator[Result]:
    """The Results of an output folder, one by one.

    Raises:
        UsageError: it has no results.jsonl, or a line of it is not a Result.

    """
    try:
        with (output / "results.jsonl").open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield Result.from_json(json.loads(line))
                except ValueError as error:
                    told = f"{output}/results.jsonl, line {number}: {error}"
                    raise UsageError(
                        f"{told}; the command that made it, run again, mends it"
                    ) from error
    except FileNotFoundError:
        raise UsageError(
            f"{output}: no results.jsonl here; name the output folder of a run"
        ) from None


async def check_path(
    path: Path, schema: Schema | None, documents: Path | None = None
) -> list[Checked]:
    """Judge an output folder, a JSON or JSONL file, or a folder of them.

    Raises:
        UsageError: nothing is there, or there is no schema for it.

    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if path.is_dir() and (path / "results.jsonl").exists():
        async with aclosing(_check_output(path, schema, documents)) as checked:
            return [each async for each in checked]
    if schema is None:
        raise UsageError(f"{path} is not the output folder of a run: name a schema with -s")
    files = (
        sorted(p for p in path.rglob("*.json*") if p.suffix in {".json", ".jsonl"})
        if path.is_dir()
        else [path]
    )
    if not files:
        raise NoInput(f"no JSON or JSONL in {path}")
    return [each for file in files for each in _check_file(file, schema)]


def _check_file(file: Path, schema: Schema) -> Iterator[Checked]:
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        yield Checked(str(file), (Finding("not_readable", "", f"can't be read: {error}"),))
        return
    rows = text.split("\n") if file.suffix == ".jsonl" else [text]
    for number, row in enumerate(rows, start=1):
        name = f"{file}:{number}" if file.suffix == ".jsonl" else str(file)
        if row.strip() or file.suffix != ".jsonl":
            yield Checked(name, tuple(_check_text(row, schema)))


def _check_text(text: str, schema: Schema) -> list[Finding]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [Finding("not_json", "", f"not JSON: {error}")]
    return check(schema, data)


async def _check_output(
    output: Path, schema: Schema | None, documents: Path | None
) -> AsyncGenerator[Checked, None]:
    told = read_summary(output)
    stages = _stages(told, f"{output}/run.json", schema)
    roots = [documents] if documents else [Path(text) for text in told.get("inputs", ())]
    if not documents and "working_folder" in told:  # where patterns were looked for
        roots.append(Path(told["working_folder"]))
    state = output / ".fieldsift"
    kept = (state / "replies.sqlite").exists() and os.access(state, os.W_OK)
    words = Words(state if kept else None)
    reader = _Reader(roots, Loaders(1), Eyes(words, 1))
    try:
        for result in read_results(output):
            yield await _check_result(result, output, stages, reader)
    finally:
        await reader.loaders.aclose()
        await reader.eyes.aclose()
        words.close()


def _stages(told: Mapping[str, Any], source: str, schema: Schema | None) -> dict[str, Stage]:
    """The stages of a run by their hashes; with another schema in place of their own."""
    recorded = {
        sha: Schema(name="recorded", body=body, source=source)
        for sha, body in told.get("schemas", {}).items()
    }
    stages = {}
    for each in told.get("stages", ()):
        if not schema and each["schema_sha256"] not in recorded:
            continue
        try:
            stages[each["sha256"]] = Stage(
                each["name"],
                schema or recorded[each["schema_sha256"]],
                evidence=each["evidence"],
                validate=each.get("validate", ()),
            )
        except UsageError as error:
            hint = "\nthe run had these rules; without -s they are held to its own schema"
            raise UsageError(f"{error}{hint if schema else ''}") from error
    return stages


def rule_names(path: Path) -> frozenset[str]:
    """What findings of the rules of a run are called; none where there is no run."""
    if not (path / "run.json").is_file():
        return frozenset()
    stages = _stages(read_summary(path), str(path), None).values()
    return frozenset(rule.id for stage in stages for rule in stage.validate)


async def _check_result(
    result: Result,
    output: Path,
    stages: Mapping[str, Stage],
    reader: "_Reader",
) -> Checked:
    name = result.document.path
    if result.status in DONE and result.status != "valid":
        return Checked(name)
    if result.stage is None or result.status not in {"valid", "invalid"}:
        rule = result.reason or result.status
        told = "; ".join(finding.message for finding in result.findings) or result.status
        return Checked(name, (Finding(rule, "", f"{result.status}: {told}"),))
    file = output / data_file(result.stage, name, rejected=result.status == "invalid")
    stage = stages.get(result.stage_sha256 or "")
    if stage is None:
        told = "made with a stage that run.json no longer holds; run again"
        return Checked(str(file), (Finding("no_schema", "", told),))
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        told = f"the data file can't be read: {error}"
        return Checked(str(file), (Finding("no_data", "", told),))
    # A model's own rules are code that is not here; confidence, and where answers differ, was known to the run alone:
    # what was said then still holds.
    same = data == result.data
    earlier = [f for f in result.findings if f.rule.startswith(_OF_THE_RUN) and same]
    if not same:
        told = "the data file is not what the run wrote: results.jsonl holds something else"
        earlier.append(Finding("changed", "", told, "warning"))
    document = await reader.document(result)
    if document is None:
        evidence = result.evidence if same else ()
        found = [*earlier, *judge(stage, data, None, evidence)]
        return Checked(str(file), tuple(found), evidence_checked=False)
    grounded = proven_again(result, data, stage.schema, document)
    found = [*earlier, *judge(stage, data, document, grounded)]
    return Checked(str(file), tuple(found), evidence_checked=True)


def proven_again(result: Result, data: Any, schema: Schema, document: Document) -> list[Evidence]:
    """The evidence of data in the whole document, with what the run proved of values that are still the same.

    Only what was proven settles where a value stands.
    """
    values, recorded = dict(leaves(data)), dict(leaves(result.data))
    told = {
        each.pointer: each
        for each in result.evidence
        if each.pointer in values and values[each.pointer] == recorded.get(each.pointer)
    }
    hints = [_hint(each) for each in told.values() if each.status in {"verified", "derived"}]
    return [
        _as_told(each, told[each.pointer], values[each.pointer], document)
        if each.pointer in told
        else each
        for each in ground(data, schema, document, hints=hints)
    ]


def _as_told(now: Evidence, told: Evidence, value: Any, document: Document) -> Evidence:
    """The evidence of a value that is still the same: never better than what the run said of it.

    The run read a value on the pages that were shown for it; that it stands on others too proves
    nothing. A text in parts that only hints led to is recorded with the first of them.
    """
    if _BETTER.index(now.status) < _BETTER.index(told.status):
        return replace(now if told.quote else told, status=told.status)
    if (now.status, told.status) == ("not_found", "derived") and _begins(value, told, document):
        return told
    return now


def _begins(value: Any, told: Evidence, document: Document) -> bool:
    """Whether a text begins with its recorded quote, and that stands where it is said to stand."""
    page = next((page for page in document.pages if page.number == told.page), None)
    if page is None or told.quote is None or not isinstance(value, str):
        return False
    stands = page.text[told.start or 0 : told.end or 0] == told.quote
    return stands and fold(value).text.startswith(fold(told.quote).text)


def _hint(evidence: Evidence) -> Hint:
    return Hint(
        evidence.pointer, evidence.quote or "", evidence.page or 1, evidence.start, evidence.end
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Where documents were, and what reads them."""

    roots: Sequence[Path]
    loaders: Loaders
    eyes: Eyes

    async def document(self, result: Result) -> Document | None:
        """The document itself, if it still lies where it was read and is still the same.

        None also where words of its pages were recognised, and can't be here.
        """
        name = result.document.path
        for root in self.roots:
            real = Path(real_name(name))
            places = [root / real, root.parent / real] if root.is_dir() else [root]
            for place in places:
                try:
                    content = named_file(str(place)).read()
                    if hashlib.sha256(content).hexdigest() == result.document.sha256:
                        document = await self.loaders.load(name, content)
                        seen = await self.eyes.look(document, content)
                        return None if seen.trouble else seen.document
                except LoadError:
                    continue
        return None
