"""Documents made of others: the pages of a part, the item of an array, the JSON of earlier results. Pure."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from pipeline.document import Document, Page, Part, rows_file
from pipeline.values.pages import page_numbers

#: Characters of JSON that are one page: a longer text is cut between its lines, so that windows can be.
_PAGE: Final = 60_000
#: What would end a name, or begin the name of what is derived from it.
_ESCAPED: Final = re.compile(r"[#!%\x00-\x1f\x7f]")
_HEX: Final = re.compile(r"%([0-9A-F]{2})")
#: What a warning says of the pages that it is about, where it names all of them.
_ABOUT: Final = re.compile(r"^page (\d+):|: pages? (\d+(?:, \d+)*)$")
#: What stands behind the `#` of a part and of an item.
_MADE: Final = re.compile(r"pages=\d+(-\d+)?|/.*")


def part(document: Document, pages: str) -> Document:
    """Some pages of a document, which keep their numbers: `scan.pdf#pages=3-5`.

    `pages` are numbers of the file. Its hash and size are those of the file, as the words that were recognised on
    its pages belong to the file.
    """
    own = document.numbers or tuple(range(1, max(1, document.page_count) + 1))
    numbers = tuple(sorted(set(own).intersection(page_numbers(pages, own[-1]))))
    told = f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else "".join(map(str, numbers))
    shown = frozenset(numbers)
    return replace(
        document,
        path=f"{document.path}#pages={told}",
        page_count=len(numbers),
        pages=tuple(page for page in document.pages if page.number in shown),
        parts=tuple(each for each in document.parts if not shown.isdisjoint(_span(each))),
        warnings=_warnings(document, shown),
        parent=document.path,
        numbers=numbers,
        given=(),
    )


def of_part(whole: Document, made: Document) -> Document:
    """A part again, of its document with more words on its pages."""
    shown = frozenset(made.numbers or ())
    pages = tuple(page for page in whole.pages if page.number in shown)
    return replace(made, pages=pages, warnings=_warnings(whole, shown))


def _warnings(whole: Document, shown: frozenset[int]) -> tuple[str, ...]:
    """Those of a document but for what is about other pages alone than those that are shown."""
    named = ((told, _ABOUT.search(told)) for told in whole.warnings)
    return tuple(
        told
        for told, found in named
        if found is None or shown.intersection(map(int, (found[1] or found[2]).split(",")))
    )


def item(parent: str, pointer: str, value: Any) -> Document:
    """An item of an array as a document of one page: `x.pdf#/lines/3`; a string as it is, anything else as JSON."""
    path = f"{parent}#{_ESCAPED.sub(_escape, pointer)}"
    if isinstance(value, str):
        return _text_document(path, value, parent, "text/plain")
    return _text_document(path, _json(value), parent)


def of_json(document: Document, given: Sequence[tuple[str, Any]]) -> Document:
    """What earlier stages said, as a document in the place of the one that they were asked about."""
    return _text_document(document.path, _json(dict(given)), document.parent)


def of_data(path: str, data: Any, parent: str | None = None) -> Document:
    """Fields of earlier results, as a document in the place of the one that they were read from."""
    return _text_document(path, _json(data), parent)


def taken_apart(path: str) -> tuple[str, str]:
    """The path that a part or item comes from, and what it is of it: `pages=3-5`, a JSON Pointer; empty for any other."""
    parent, _, what = path.rpartition("#")
    if parent in {"", rows_file(path)} or not _MADE.fullmatch(what):
        return path, ""
    return parent, _HEX.sub(lambda found: chr(int(found[1], 16)), what)


def _escape(found: "re.Match[str]") -> str:
    return f"%{ord(found[0]):02X}"


def _span(each: Part) -> range:
    return range(each.pages[0], each.pages[1] + 1)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _text_document(
    path: str, text: str, parent: str | None, media_type: str = "application/json"
) -> Document:
    raw = text.encode("utf-8", "surrogatepass")
    texts = _pages(text)
    return Document(
        path=path,
        sha256=hashlib.sha256(raw).hexdigest(),
        size=len(raw),
        media_type=media_type,
        page_count=len(texts),
        pages=tuple(Page(number, each) for number, each in enumerate(texts, start=1)),
        parts=tuple(
            Part("text", media_type, text=each, pages=(number, number))
            for number, each in enumerate(texts, start=1)
        ),
        parent=parent,
    )


def _pages(text: str) -> list[str]:
    """A text in pieces of about _PAGE characters, cut between lines."""
    if len(text) <= _PAGE:
        return [text]
    pages, size = [[""]], 0
    for line in text.splitlines(keepends=True):
        if size + len(line) > _PAGE and size:
            pages.append([])
            size = 0
        pages[-1].append(line)
        size += len(line)
    return ["".join(lines) for lines in pages]
