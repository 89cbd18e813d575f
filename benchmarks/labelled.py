"""Labelled documents for benchmarks: loaded once, with gold values, schema, and an independent look at what is printed.

A folder has `docs/`, `labels/<stem>.json` and `schema.json`; `index.json` beside the folder may name another schema.
"""

import asyncio
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline.document import Document
from pipeline.loaders import Loaders
from pipeline.schema import Schema

_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
}
#: Shorter texts are looked for as whole words.
_SHORTEST = 6


@dataclass(frozen=True)
class Labelled:
    """One document with what is known to be right."""

    folder: str
    document: Document
    content: bytes
    gold: Any
    schema: Schema


def labelled(folders: list[Path], kind: str = ".pdf") -> Iterator[Labelled]:
    """The labelled documents of some folders, folder by folder."""
    for folder in folders:
        index = folder.parent / "index.json"
        told = json.loads(index.read_bytes()) if index.is_file() else []
        schemas = {each["file"]: each.get("schema") for each in told}
        files = [p for p in sorted((folder / "docs").iterdir()) if p.suffix == kind]
        files = [p for p in files if (folder / "labels" / f"{p.stem}.json").is_file()]
        for path, document in zip(files, _loaded(files), strict=True):
            named = schemas.get(f"{folder.name}/docs/{path.name}") or f"{folder.name}/schema.json"
            body = json.loads((folder.parent / named).read_bytes())
            gold = json.loads((folder / "labels" / f"{path.stem}.json").read_bytes())
            schema = Schema.of(body.get("schema_definition", body))
            yield Labelled(folder.name, document, path.read_bytes(), gold, schema)


def _loaded(files: list[Path]) -> list[Document]:
    async def load() -> list[Document]:
        async with Loaders(size=1) as loaders:
            return [await loaders.load(path.name, path.read_bytes()) for path in files]

    return asyncio.run(load())


def squeezed(text: str) -> str:
    """A text without blanks, hyphens, accents and case: for comparing, not for places."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    kept = (char for char in plain if not unicodedata.combining(char) and not char.isspace())
    return re.sub(r"[\u00ad\-\u2010-\u2015\u2212'’‘`´\"“”„]", "", "".join(kept))


def stands(value: Any, page: str) -> bool:
    """Whether a value is printed in a text, by a list of usual forms that knows nothing of `pipeline.values`.

    Blanks, hyphens, accents and case don't count; digits that a blank parts are not one number.
    """
    apart, together = page.casefold(), squeezed(page)
    return any(
        _is_in(form.casefold(), apart)
        or (len(squeezed(form)) >= _SHORTEST and _is_in(squeezed(form), together))
        for form in forms(value)
    )


def _is_in(needle: str, text: str) -> bool:
    at = text.find(needle) if needle else -1
    while at >= 0:
        if _whole(text, at, at + len(needle)):
            return True
        at = text.find(needle, at + 1)
    return False


def _whole(text: str, start: int, end: int) -> bool:
    """Whether digits at both ends are not cut out of a longer run of digits, nor short letters out of a word."""
    left = text[start].isdigit() and re.search(r"\d[.,]?\Z", text[max(0, start - 2) : start])
    right = text[end - 1].isdigit() and re.match(r"[.,]?\d", text[end : end + 2])
    beside = (text[start - 1 : start], text[end : end + 1])
    cut = end - start < _SHORTEST and any(char.isalpha() for char in beside)
    return not left and not right and (not cut or text[start:end][-1:].isdigit())


def forms(value: Any) -> Iterator[str]:
    """How a value is usually printed."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield from _of_number(Decimal(str(value)))
    elif re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        yield value
        try:
            yield from _of_date(date.fromisoformat(value))
        except ValueError:
            return
    else:
        yield value


def _of_number(number: Decimal) -> Iterator[str]:
    signs = ("-",) if number < 0 else ("",)
    size = abs(number)
    for places in (None, 0, 1, 2, 3, 4):
        if places is not None and round(size, places) != size:
            continue
        text = f"{size:,f}" if places is None else f"{size:,.{places}f}"
        for group, point in ((",", "."), (".", ","), ("", "."), ("", ","), ("'", ".")):
            swapped = text.replace(",", "\0").replace(".", point).replace("\0", group)
            yield from (sign + swapped for sign in signs)
            if number < 0:
                yield f"({swapped})"
                yield f"{swapped}-"
    if size >= 10**6:
        yield f"{(size / 10**6).normalize():f} million"
    if 0 < size < 1:
        yield f"{(size * 100).normalize():f}%"


def _of_date(day: date) -> Iterator[str]:
    d, m, y = day.day, day.month, day.year
    for sign in "./-":
        yield from (f"{d:02}{sign}{m:02}{sign}{y}", f"{d}{sign}{m}{sign}{y}")
        yield from (f"{m:02}{sign}{d:02}{sign}{y}", f"{m}{sign}{d}{sign}{y}")
        yield from (f"{d:02}{sign}{m:02}{sign}{y % 100:02}", f"{y}{sign}{m:02}{sign}{d:02}")
    for names in _MONTHS.values():
        name = names.split()[m - 1]
        for word in (name, name[:3], f"{name[:3]}."):
            for printed in (str(d), f"{d:02}", f"{d}.", f"{d:02}."):
                yield from (
                    f"{printed} {word} {y}",
                    f"{printed}-{word}-{y}",
                    f"{word} {printed}, {y}",
                )
                yield f"{word} {printed} {y}"
