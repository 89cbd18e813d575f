"""Leaves side by side as data of the stage's shape: rows close up, and every leaf knows its own pointer."""

from collections.abc import Iterable
from typing import Any

from pipeline.results import escape
from pipeline.schema import Node

#: What is known so far below one place; a value stands in a tuple of its own.
_Branch = dict[str | int, Any]


def sparse(root: Node, pairs: Iterable[tuple[str, Any]]) -> tuple[Any, dict[str, str]]:
    """Data that holds some leaves and nothing else, and its pointers with those that they stand for.

    Of an array only the rows of these leaves are there, in their order: `/lines/17/amount` alone
    becomes `/lines/0/amount`.
    """
    branch: _Branch = {}
    for pointer, value in pairs:
        *way, last = _tokens(root, pointer)
        inner = branch
        for token in way:
            following = inner.setdefault(token, {})
            if not isinstance(following, dict):
                break  # below a leaf that is there already
            inner = following
        else:
            inner[last] = (value,)
    names: dict[str, str] = {}
    return _closed(branch, "", "", names), names


def _tokens(root: Node, pointer: str) -> list[str | int]:
    tokens: list[str | int] = []
    node: Node | None = root
    for text in pointer.split("/")[1:]:
        is_row = node is not None and node.type == "array" and text.isdecimal()
        tokens.append(int(text) if is_row else text.replace("~1", "/").replace("~0", "~"))
        node = None if node is None else node.at(f"/{text}")
    return tokens or [""]


def _closed(branch: Any, here: str, real: str, names: dict[str, str]) -> Any:
    if isinstance(branch, tuple):
        names[here] = real
        return branch[0]
    if branch and all(isinstance(token, int) for token in branch):
        return [
            _closed(branch[token], f"{here}/{place}", f"{real}/{token}", names)
            for place, token in enumerate(sorted(branch))
        ]
    return {
        token: _closed(inner, f"{here}/{escape(str(token))}", f"{real}/{escape(str(token))}", names)
        for token, inner in branch.items()
    }
