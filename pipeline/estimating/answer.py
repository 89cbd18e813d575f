"""How long an answer will be: the schema as it is usually filled, and the document that fills it.

Against the gold data of real documents (half of them, which fitted these figures, left out) the mean error
of an answer is 37 %, the 90th percentile 70 %, and their sum 4 % too large: benchmarks/tokens.py. Of bills with tables
of 20 to 8,000 rows it is 16 % too large. How a model lays out its JSON,
and how much it thinks, can't be measured so.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from pipeline.document import Document
from pipeline.prompts import THOUGHTS, length
from pipeline.prompts.printed import printed
from pipeline.schema import Node
from pipeline.stages import Stage, Task
from pipeline.values.tokens import text_tokens

#: Tokens of a value with its quotes, by type and by format; a digit is a token of its own.
_VALUES: Final = {"string": 7.0, "number": 6.0, "integer": 3.0, "boolean": 1.0, "any": 7.0}
_FORMATS: Final = {"date": 12.0, "date-time": 22.0, "time": 10.0, "email": 9.0, "uri": 16.0}
_ADDRESS: Final = 26.0
#: Items of a list of plain values, and rows of a table for each 100 lines of the document.
_ITEMS: Final = 8.0
_ROWS: Final = 2.0
#: Lines of one shape are rows of a table if they have so many figures, and there are so many of them; more
#: where all figures are whole numbers: addresses and telephones have those.
_FIGURES, _SEVERAL, _MANY = 2, 6, 10
#: The most frequent shapes, each of which may be that of the rows.
_TRIED: Final = 8
#: Lines of a page whose text is not known.
_LINES: Final = 40
#: Thinking that is expected, as a share of what is kept free for it: nobody documents how much is usual.
_THOUGHT: Final = 8

#: What an answer usually takes of the most that `length.py` expects of it, for tasks that don't read fields: two or three of ten
#: labels, a part of three pages, half of what may be written. Judgements: nothing of it was measured.
_USUAL: Final[Mapping[Task, float]] = {"classify": 1.0, "tag": 0.3, "split": 0.3, "generate": 0.5}

_DATE: Final = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{2,4}")
_DECIMALS: Final = re.compile(r"\d\D\d")
_NUMBER: Final = re.compile(r"[-+(]?[$€£¥₹]?\d+(?:[.,'’\u00a0\u202f]\d+)*[€%)-]?")


def expected_tokens(stage: Stage, document: Document) -> int:
    """About how many tokens the answer of a stage has, without thinking."""
    if stage.task in _USUAL:
        most = length.answer_tokens(stage, document.pages)
        return max(1, round(_USUAL[stage.task] * most))
    return answer_tokens(stage.schema.tree, document)


def answer_tokens(root: Node, document: Document) -> int:
    """About how many tokens the JSON of an answer has, in one line and without thinking."""
    lines = sum(len(page.text.splitlines()) if page.has_text else _LINES for page in document.pages)
    usual = max(1.0, _ROWS * lines / 100)
    answer = _filled(root, usual)
    table = max(_tables(root), key=_width, default=None)
    rows = [] if table is None else _printed_rows(document)
    if table is not None and len(rows) > usual:
        answer += _listed(table, rows) - usual * _row(table)
    return max(1, round(answer))


def _listed(table: Node, rows: list[str]) -> float:
    """The tokens of printed rows: their keys, and the usual values or what the lines hold, whichever is less."""
    keys = _keys(table.children[0])
    usual = sum(map(_value, table.leaves()))
    return len(rows) * keys + min(len(rows) * usual, text_tokens("\n".join(rows)))


def _keys(node: Node) -> float:
    """The tokens around the values of a row; commas and brackets are one with the quote behind them."""
    named = node.children if node.type == "object" else ()
    inside = sum(_keys(child) for child in node.children if not child.is_leaf)
    return 1 + inside + sum(text_tokens(f'"{child.name}":') for child in named)


def _printed_rows(document: Document) -> list[str]:
    """The lines of a document that are rows of a table: those of one shape, if they are several, the most that there are.

    A line's shape is the kinds of the figures on it, in their order: dates, and numbers with and without
    decimals. Other figures may stand among those of a row: sizes and years in its words.
    """
    lines: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for page in document.pages:
        for line in printed(page).splitlines():
            shape = tuple(_figures(line))
            if len(shape) >= _FIGURES:
                lines[shape].append(" ".join(line.split()))
    often = sorted(lines, key=lambda shape: len(lines[shape]), reverse=True)[:_TRIED]
    tables = (
        [line for shape, found in lines.items() if _holds(shape, usual) for line in found]
        for usual in often
        if len(lines[usual]) >= (_SEVERAL if {"decimal", "date"}.intersection(usual) else _MANY)
    )
    return max(tables, key=len, default=[])


def _holds(shape: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether the figures of another shape stand in this one in their order; of two figures, that may be chance."""
    rest = iter(shape)
    return shape == other or (len(other) > _FIGURES and all(kind in rest for kind in other))


def _figures(line: str) -> Iterator[str]:
    for token in line.split():
        if _DATE.fullmatch(token):
            yield "date"
        elif _NUMBER.fullmatch(token):
            yield "decimal" if _DECIMALS.search(token) else "whole"


def _tables(node: Node) -> Iterator[Node]:
    """The lists of objects that are in no other."""
    if _is_table(node):
        yield node
        return
    for child in node.children:
        yield from _tables(child)


def _is_table(node: Node) -> bool:
    return node.type == "array" and any(not child.is_leaf for child in node.children)


def _width(table: Node) -> int:
    """How many numbers and dates a row has: of several tables that with the most is the printed one."""
    return sum(
        leaf.type in {"number", "integer"} or leaf.schema.get("format") == "date"
        for leaf in table.leaves()
    )


def thought_tokens(thinking: str | None, model: str) -> int:
    """About how many tokens a model thinks: an eighth of what is kept free for its level, no measured figure.

    At `minimal` none; Google documents that as what its Lite models do unless they are told otherwise
    (3.5 Flash-Lite: minimal; 2.5 Flash-Lite: no thinking), and for others no amount at all.
    """
    if thinking == "minimal" or (thinking is None and "-lite" in model):
        return 0
    return THOUGHTS[thinking] // _THOUGHT


def _filled(node: Node, rows: float) -> float:
    if node.is_leaf:
        return _value(node)
    if _is_table(node):
        return 1 + rows * _row(node)
    if node.type == "array":
        return 1 + _ITEMS * _row(node)
    return 1 + sum(
        text_tokens(f'"{child.name}":') + _filled(child, rows) + 1 for child in node.children
    )


def _row(node: Node) -> float:
    """The tokens of one item of a list."""
    return sum(_filled(child, 1.0) + 1 for child in node.children) or _VALUES["any"]


def _value(node: Node) -> float:
    choices = node.schema.get("enum")
    if isinstance(choices, list) and choices:
        return sum(text_tokens(f'"{choice}"') for choice in choices[:50]) / len(choices[:50])
    if node.type == "string" and "address" in node.name.lower():
        return _ADDRESS
    return _FORMATS.get(str(node.schema.get("format", "")), _VALUES[node.type])
