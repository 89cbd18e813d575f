"""How long an answer may become: by the schema, and by the lines of the pages that can be rows of it."""

import math
import re
from collections.abc import Iterable
from typing import Final

from pipeline.document import Page
from pipeline.prompts.printed import as_text, printed
from pipeline.schema import Node, Schema
from pipeline.stages import Stage
from pipeline.values.tokens import text_tokens

#: Tokens of a value with its quotes and comma where no line of a page is known to hold it: half of real
#: ones are a name or a date, and few are longer than a sentence.
_VALUE: Final = 20
#: The same for a place where anything may stand, and for the values of a list beside the line they are from.
_ANYTHING, _ITEM = 200, 3
#: The frame of an answer in labels or parts, what stands around one part, and how many labels one answer has at the most.
_FRAME, _PART, _LABELS = 10, 16, 32
#: What is written, not read: a text, one in a list, and the items of a list.
_TEXT, _SHORT_TEXT, _ITEMS = 200, 40, 10
#: What a page may hold whose words are not known: scans have about so many rows where they have tables.
_BLIND_ROWS, _BLIND_LINE = 20, 15
#: A line is taken for prose, in one column or several, and for no row, if it runs over this much of the width
#: and this much of it at the most are digits, and gaps.
_PROSE, _FEW_DIGITS, _FEW_GAPS = 0.6, 0.1, 0.25
#: Characters of a line that stand for one row: data in one long line hold many.
_LONG_LINE: Final = 120
#: How much longer a translation may be, in tokens; and the tokens of a page whose words are not known.
_LONGER, _BLIND_PAGE = 1.5, 1_200
_GAP: Final = re.compile(r"  +|\t|[|;]")
_DIGIT: Final = re.compile(r"\d")


def fixed_tokens(schema: Schema) -> int:
    """Tokens of an answer without rows: its keys, and a value for each."""
    return _fixed(schema.tree)


def page_tokens(schema: Schema, page: Page | None) -> int:
    """Tokens that a page may add to an answer: rows for its lines, each with the keys of a row and the line's text.

    0 where the schema has no list. `page` None is one that is not known.
    """
    keys = _keys_of_rows(schema.tree)
    if keys is None:
        return 0
    if page is None or page.is_blind:
        return _BLIND_ROWS * (keys + _BLIND_LINE)
    rows = list(_rows(printed(page).splitlines()))
    count = sum(math.ceil(len(row) / _LONG_LINE) for row in rows)
    return count * keys + text_tokens("\n".join(rows))


def fixed_of(stage: Stage) -> int:
    """Tokens of a stage's answer that don't depend on the pages: for `extract` those of its schema without rows."""
    if stage.task == "generate":
        return _written(stage.schema.tree, _TEXT)
    longest = _longest_label(stage)
    if stage.task == "tag":
        return _FRAME + min(len(stage.labels), _LABELS) * (longest + _ITEM)
    if stage.task in {"classify", "split"}:
        return _FRAME + (longest if stage.task == "classify" else 0)
    return fixed_tokens(stage.schema)


def page_of(stage: Stage, page: Page | None) -> int:
    """Tokens that a page may add to a stage's answer: rows of `extract`, a part of `split`."""
    if stage.task == "split":
        return _PART + _longest_label(stage)
    if stage.task == "translate":
        return translated_tokens("" if page is None or page.is_blind else as_text(page))
    return 0 if stage.task in {"classify", "tag", "generate"} else page_tokens(stage.schema, page)


def translated_tokens(text: str) -> int:
    """Tokens that the translation of a text may have; of a page whose words are not known, as many as print has."""
    return math.ceil(_LONGER * text_tokens(text)) if text else _BLIND_PAGE


def answer_tokens(stage: Stage, pages: Iterable[Page | None]) -> int:
    """Tokens that a stage's answer may have of these pages; thinking is apart."""
    return fixed_of(stage) + sum(page_of(stage, page) for page in pages)


def _longest_label(stage: Stage) -> int:
    return max((text_tokens(f'"{name}"') for name in stage.labels), default=0)


def _written(node: Node, text: int) -> int:
    """Tokens of what a model writes of its own, by the places that there are for it."""
    if node.type == "array":
        each = sum(_written(child, min(text, _SHORT_TEXT)) for child in node.children)
        return 2 + _ITEMS * (each or text)
    if node.is_leaf:
        is_free = node.type in {"any", "string"} and not {"enum", "format"} & node.schema.keys()
        return text if is_free else _VALUE
    return 2 + sum(_key(child) + _written(child, text) for child in node.children)


def has_rows(schema: Schema) -> bool:
    """Whether the schema has a list of objects: rows, which long answers forget, and page breaks cut."""
    stack = [schema.tree]
    while stack:
        node = stack.pop()
        if node.type == "array" and any(not child.is_leaf for child in node.children):
            return True
        stack += node.children
    return False


def _rows(lines: list[str]) -> Iterable[str]:
    """The lines that may be rows: all but running prose."""
    widest = max(map(len, lines), default=0)
    for line in map(str.strip, lines):
        gaps = sum(len(gap) for gap in _GAP.findall(line))
        few = len(_DIGIT.findall(line)) <= _FEW_DIGITS * len(line) and gaps <= _FEW_GAPS * len(line)
        if line and not (few and len(line) >= _PROSE * widest):
            yield line


def _fixed(node: Node) -> int:
    if node.type == "array":
        return 2
    if node.is_leaf:
        return _ANYTHING if node.type == "any" else _VALUE
    return 2 + sum(_key(child) + _fixed(child) for child in node.children)


def _keys_of_rows(node: Node) -> int | None:
    """Tokens of the keys of the longest row; None where there is no list."""
    if node.type == "array":
        return max((_keys(child) for child in node.children), default=_ANYTHING)
    found = [keys for child in node.children if (keys := _keys_of_rows(child)) is not None]
    return max(found, default=None)


def _keys(node: Node) -> int:
    """Tokens of what stands around the values of one row; what it holds more of comes of more lines."""
    if node.is_leaf:
        return _ITEM
    return 2 + sum(_key(child) + _keys(child) for child in node.children)


def _key(node: Node) -> int:
    return text_tokens(f'"{node.name}":') if node.name else 0
