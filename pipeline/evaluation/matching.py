"""Which document a gold file belongs to.

A gold name (a file's path below the gold folder without `.json`, or what a line or row calls its
document) belongs to the document
1. whose path it is, also as data files are called: `inbox/x.pdf`;
2. else whose path it is without the extension: `inbox/x`;
3. else whose path ends in it, or that it ends in, with or without the extension: `x` and `scans/x.pdf`;
4. else whose path it is when its own extension is left out, as where an output of plain data has `x.json`.
Names are compared in Unicode normal form C (macOS decomposes those of files). Of several documents, or of several golds for one document, none is taken.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.errors import UsageError
from pipeline.evaluation.reading import Entry
from pipeline.writers import data_file


@dataclass(frozen=True, slots=True)
class Match:
    """A gold entry and its document; None where there is none, or where `among` could be meant."""

    gold: Entry
    document: str | None
    among: tuple[str, ...] = ()


def matched(golds: Sequence[Entry], documents: Iterable[str]) -> list[Match]:
    """The document of every gold entry, in the order of the gold.

    Raises:
        UsageError: two entries have the same name.

    """
    seen: dict[str, Entry] = {}
    for gold in golds:
        if (before := seen.setdefault(gold.name, gold)) is not gold:
            raise UsageError(f"{gold.where}: gold of {gold.name!r} again; see {before.where}")
    index = _Index(documents)
    wanted = [index.find(gold.name) for gold in golds]
    claims: dict[str, list[int]] = defaultdict(list)
    for level, found in wanted:
        if len(found) == 1:
            claims[found[0]].append(level)
    matches = []
    for gold, (level, found) in zip(golds, wanted, strict=True):
        if len(found) == 1:
            levels = claims[found[0]]
            alone = level == min(levels) and levels.count(level) == 1
            matches.append(Match(gold, found[0] if alone else None, () if alone else tuple(found)))
        else:
            matches.append(Match(gold, None, tuple(found)))
    return matches


class _Index:
    """Documents by every name that may be meant."""

    def __init__(self, documents: Iterable[str]) -> None:
        self._whole: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        self._lasts: dict[str, list[str]] = defaultdict(list)
        for document in documents:
            path = _composed(document)
            for name in {path, _composed(_as_written(document))}:
                self._whole[name].append(document)
            self._stems[_stem(path)].append(document)
            for last in {_last(path), _last(_stem(path))}:
                self._lasts[last].append(document)

    def find(self, name: str) -> tuple[int, list[str]]:
        """How well the name fits (0 is best), and the documents that it fits so well."""
        name = _composed(name)
        if name in self._whole:
            return 0, self._whole[name]
        if name in self._stems:
            return 1, self._stems[name]
        near = self._lasts.get(_last(name), [])
        ends = [document for document in near if _ends(_composed(document), name)]
        return (2, ends) if ends else (3, self._whole.get(_stem(name), []))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _as_written(document: str) -> str:
    return data_file("stage", document).relative_to("stage").as_posix().removesuffix(".json")


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    """The path without its extension; a name that begins with its only point has none."""
    folder, slash, last = name.rpartition("/")
    stem, point, _ = last.rpartition(".")
    return f"{folder}{slash}{stem}" if point and stem else name


def _ends(document: str, name: str) -> bool:
    """Whether one of the two paths ends in the other, folder by folder."""
    return any(
        f"/{longer}".endswith(f"/{shorter}")
        for one in (document, _stem(document))
        for longer, shorter in ((one, name), (name, one))
    )
