"""Which pages a text like `1-3, 7, last` means, and pages in words."""

import re
from collections.abc import Sequence
from typing import Final

_NUMBER: Final = r"(\d{1,7}|last)"
_PIECE: Final = re.compile(rf"{_NUMBER}(?:\s*(-)\s*{_NUMBER}?)?")
_FORMS: Final = "write numbers and ranges from 1 on, as in 1-3, 7, 10- or last"


def page_numbers(text: str, count: int) -> tuple[int, ...]:
    """The pages that a text names, of a document with `count` of them, ascending, each once.

    `3` is a page, `1-3` a range, `10-` everything from there on, `last` the last page; they are put
    together with commas. What the document does not have is left out.

    Raises:
        ValueError: the text names no pages; says what is wrong with it.

    """
    found: set[int] = set()
    for piece in text.split(","):
        match = _PIECE.fullmatch(piece.strip())
        if match is None:
            told = ": a page from the end is written last" if piece.strip().startswith("-") else ""
            raise ValueError(f"{piece.strip()!r} is no page{told}; {_FORMS}")
        first, dash, end = match.groups()
        _refuse(piece.strip(), first, end)
        start = count if first == "last" else int(first)
        stop = count if end == "last" or (dash and not end) else int(end or start)
        found |= set(range(start, min(stop, count) + 1))
    return tuple(sorted(found))


def spans(pages: Sequence[int]) -> str:
    """Pages in words: `page 3`, `pages 1-3, 7`."""
    parts: list[list[int]] = []
    for page in sorted(set(pages)):
        if parts and page == parts[-1][-1] + 1:
            parts[-1].append(page)
        else:
            parts.append([page])
    told = ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)
    return f"{'page' if told.isdigit() else 'pages'} {told}"


def _refuse(piece: str, first: str, end: str | None) -> None:
    if any(each and each.strip("0") == "" for each in (first, end)):
        raise ValueError(f"{piece!r}: pages count from 1")
    if first == "last" and end and end != "last":
        raise ValueError(f"{piece!r}: no page comes behind the last one; {_FORMS}")
    if end and "last" not in {first, end} and int(end) < int(first):
        raise ValueError(f"{piece!r} ends before it begins")
