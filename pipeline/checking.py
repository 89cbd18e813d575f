"""Outputs judged again: what `fieldsift validate` does, without a key or a network."""

import hashlib
import json
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pipeline import deriving
from pipeline.document import Document, rows_file
from pipeline.errors import LoadError, NoInput, UsageError
from pipeline.eyes import Eyes, wordless
from pipeline.graph import chosen
from pipeline.grounding import ground
from pipeline.judge import judge
from pipeline.ledger import Words
from pipeline.loaders import Loaders
from pipeline.providers import Hint
from pipeline.reporters import Checked
from pipeline.results import (
    DONE,
    DocumentRef,
    Evidence,
    EvidenceStatus,
    Finding,
    Result,
    at,
    leaves,
    read_summary,
)
from pipeline.rows import Columns, Index
from pipeline.schema import Schema
from pipeline.sources import named_file, real_name
from pipeline.stages import DOCUMENT, ROW, Stage
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
#: The settings of a stage that judging its data takes, or finding what that was taken from.
_JUDGED: Final = (
    "task", "prompt", "evidence", "validate", "labels", "fields", "to", "source_language", "keep", "glossary", "inputs", "for_each",
)  # fmt: skip
#: Rules, and how those begin, that only a run can find broken.
_OF_THE_RUN: Final = ("model:", "low_confidence", "conflict", "row_", "rows_")
#: What a run says of a translation: it knows the windows, and what a model took for its own language.
_OF_TRANSLATIONS: Final = (
    "glossary", "keep_", "lines_differ", "text_missing", "already_translated", "not_translated",
)  # fmt: skip


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
    columns = (told.get("settings", {}).get(name) or None for name in ("text_field", "id_field"))
    rows = Index(Columns(*columns))
    reader = _Reader(output, tuple(stages.values()), roots, Loaders(1), Eyes(words, 1), rows)
    try:
        for result in read_results(output):
            checked = await _check_result(result, output, stages, reader)
            yield replace(checked, stage=result.stage)
        for file, name in rows.strays():
            stray = Finding("no_result", "", f"{name}: results.jsonl knows nothing of it")
            yield Checked(file, (stray,))
    finally:
        rows.close()
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
            judged = {name: each[name] for name in _JUDGED if each.get(name)}
            if (
                judged.get("task") == "python"
            ):  # its function is not here; its results are judged like others
                judged |= {"task": "generate", "prompt": "function"}
            stages[each["sha256"]] = Stage(
                each["name"], schema or recorded[each["schema_sha256"]], **judged
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
    place = (
        f"{file}{name.removeprefix(rows_file(name) or name)}"  # rows share a file: which one it is
    )
    stage = stages.get(result.stage_sha256 or "")
    if stage is None:
        told = "made with a stage that run.json no longer holds; run again"
        return Checked(place, (Finding("no_schema", "", told),))
    try:
        data = reader.data(file, name)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return Checked(place, (_without_data(name, reader, error),))
    # A model's own rules are code that is not here; confidence, and where answers differ, was known to the run alone:
    # what was said then still holds.
    same = data == result.data
    lasting = _OF_THE_RUN + (_OF_TRANSLATIONS if stage.task == "translate" else ())
    earlier = [f for f in result.findings if f.rule.startswith(lasting) and same]
    if not same:
        told = "the data file is not what the run wrote: results.jsonl holds something else"
        earlier.append(Finding("changed", "", told, "warning"))
    parent, what = deriving.taken_apart(name)
    is_item = what.startswith("/")
    asked = await reader.document(result) if is_item or DOCUMENT in stage.inputs else None
    if (
        is_item and asked is None and any(reader.arrays(parent))
    ):  # `--stage` made the array anew, and not what hangs on it
        told = (
            f"{what} no longer stands in the data of {parent} as it did; run again, with all stages"
        )
        earlier.append(Finding("no_item", "", told, "warning"))
    if stage.fields:
        document = await reader.fields(stage, result)
    else:
        document = asked if DOCUMENT in stage.inputs else None
    has_evidence = stage.by_leaf
    if document is None or not has_evidence:
        evidence = None if not has_evidence else result.evidence if same else ()
        known = {(each.rule, each.pointer) for each in earlier}
        again = judge(stage, data, document, evidence)
        found = [*earlier, *(each for each in again if (each.rule, each.pointer) not in known)]
        lacks = document is None and (has_evidence or bool(stage.keep))
        return Checked(place, tuple(found), evidence_checked=False if lacks else None)
    grounded = proven_again(result, data, stage.schema, document)
    found = [*earlier, *judge(stage, data, document, grounded)]
    return Checked(place, tuple(found), evidence_checked=True)


def _without_data(name: str, reader: "_Reader", error: Exception) -> Finding:
    """Why there is no data of a document."""
    if reader.is_gone(name):
        told = "its row is no longer in its file; --prune removes what is left of it"
        return Finding("gone", "", told, "warning")
    return Finding("no_data", "", f"the data file can't be read: {error}")


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


def _row_of(path: str) -> str:
    """The row that a document is or is taken from."""
    return "#".join(path.split("#")[:2])


@dataclass(slots=True)
class _Reader:
    """Where documents were, and what reads them. Parts and items are made again of what they came from."""

    output: Path
    stages: Sequence[Stage]
    roots: Sequence[Path]
    loaders: Loaders
    eyes: Eyes
    rows: Index
    _last: tuple[tuple[str, str | None], Document | None] | None = None

    def data(self, file: Path, name: str) -> Any:
        """The data of a document in its data file, which rows share.

        Raises:
            OSError, ValueError, LookupError, TypeError: it is not there, or no JSON.

        """
        return self.rows.data(file, name) if rows_file(name) else json.loads(file.read_bytes())

    def is_gone(self, name: str) -> bool:
        """Whether a document is a row, or of a row, that a file has no more which lies where it was."""
        row = _row_of(name)
        files = [place for place in self._places(rows_file(name) or "") if place.is_file()]
        return bool(rows_file(name) and files) and all(self.rows.lacks(f, row) for f in files)

    async def document(self, result: Result) -> Document | None:
        """The document itself, if what it is made of still lies where it was read and is still the same.

        None also where words of its pages were recognised, and can't be here.
        """
        parent, what = deriving.taken_apart(result.document.path)
        if what.startswith("/"):
            return self._item(parent, what, result.document.sha256)
        document = await self._file(parent, result.document.sha256)
        if document and what:
            document = deriving.part(document, what.partition("=")[2])
        return None if document is None or wordless(document) else document

    async def fields(self, stage: Stage, result: Result) -> Document | None:
        """What a stage with `fields` was asked about, of the data that lies there and the columns of its row.

        None where none of it does, and where the row is not the same any more.
        """
        path = result.document.path
        names = {text.partition(".")[0] for text in stage.fields}
        known: dict[str, Result | tuple[Result, ...]] = {}
        if ROW in names:
            row = await self._file(_row_of(path), result.document.sha256)
            if row is None:
                return None
            known[ROW] = Result(DocumentRef(path), ROW, "valid", data=dict(row.row or {}))
        for name in names - {ROW}:
            above, below = path, "#"
            while below and name not in known:
                with suppress(OSError, ValueError, LookupError, TypeError):
                    data = self.data(self.output / data_file(name, above), above)
                    known[name] = Result(DocumentRef(above), name, "valid", data=data)
                above, below = deriving.taken_apart(above)
        data = chosen(stage, known)
        return None if data is None else deriving.of_data(path, data)

    def _item(self, parent: str, pointer: str, sha256: str | None) -> Document | None:
        """An item of an array that an earlier stage left of the parent, or of what that was taken from."""
        for data in self.arrays(parent):
            try:
                made = deriving.item(parent, pointer, at(data, pointer))
            except (ValueError, LookupError, TypeError):
                continue
            if made.sha256 == sha256:
                return made
        return None

    def arrays(self, parent: str) -> Iterator[Any]:
        """The data that earlier stages left of a document, or of what that was taken from, for stages to go through."""
        names = {(stage.for_each or DOCUMENT).partition(".")[0] for stage in self.stages}
        above, below = parent, "#"
        while below:
            for name in names - {DOCUMENT}:
                with suppress(OSError, ValueError, LookupError, TypeError):
                    yield self.data(self.output / data_file(name, above), above)
            above, below = deriving.taken_apart(above)

    async def _file(self, name: str, sha256: str | None) -> Document | None:
        """A document as it was read; the last one is kept, as parts of a file follow one another."""
        if self._last is None or self._last[0] != (name, sha256):
            self._last = (name, sha256), await self._read(name, sha256)
        return self._last[1]

    async def _read(self, name: str, sha256: str | None) -> Document | None:
        file = rows_file(name)
        for place in self._places(file or name):
            try:
                if file:
                    row = self.rows.document(place, name)
                    if row and row.sha256 == sha256:
                        return row
                    continue
                content = named_file(str(place)).read()
                if hashlib.sha256(content).hexdigest() == sha256:
                    document = await self.loaders.load(name, content)
                    return (await self.eyes.look(document, content)).document
            except LoadError:
                continue
        return None

    def _places(self, name: str) -> Iterator[Path]:
        real = Path(real_name(name))
        for root in self.roots:
            yield from (root / real, root.parent / real) if root.is_dir() else (root,)
