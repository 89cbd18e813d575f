"""The answer of a schema's shape: values and hints, nulls and empty lists where nothing was found."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.document import Page
from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim
from pipeline.schema import Node

MISSING = object()
#: So many words of a value are looked at.
_MOST_WORDS = 60


class Answer:
    """Collects what holds, by the pointers of the schema, and builds `data` with its hints.

    A value is never surer than the least sure word that it was read from (`pages` hold the words).
    """

    def __init__(self, pages: Mapping[int, Page] | None = None) -> None:
        self._pages = pages or {}
        self.scalars: dict[str, Claim] = {}
        self.lists: dict[str, list[Claim]] = {}
        self.rows: dict[str, list[dict[str, Claim]]] = {}
        self.hints: list[dict[str, Any]] = []
        self._least = 0.0

    def hold(self, held: Mapping[Ask, Claim]) -> None:
        """Keep the claims of single values."""
        self.scalars |= {ask.pointer: claim for ask, claim in held.items()}

    def build(self, tree: Node, least: float = 0.0) -> Any:
        """The data, keys in the order of the schema; `hints` are filled on the way.

        Values below the confidence `least` (0..1) are left out, as if they had not been found: null
        where the schema takes it, else missing; rows and lists lose what is below it.
        """
        self.hints = []
        self._least = least
        made = self._value(tree, "", self.scalars)
        return (
            {} if made is MISSING and tree.type == "object" else None if made is MISSING else made
        )

    def _value(self, node: Node, pointer: str, claims: Mapping[str, Claim]) -> Any:
        if node.type == "object":
            return self._object(node, pointer, claims)
        if node.type == "array":
            return self._array(node, pointer)
        return self._leaf(node, pointer, claims.get(node.pointer))

    def _object(self, node: Node, pointer: str, claims: Mapping[str, Claim]) -> Any:
        before = len(self.hints)
        made = {}
        for child in node.children:
            value = self._value(child, f"{pointer}/{_escaped(child.name)}", claims)
            if value is not MISSING:
                made[child.name] = value
        if len(self.hints) > before or not pointer:
            return made
        if node.nullable:
            return None
        return made if node.required else MISSING

    def _array(self, node: Node, pointer: str) -> Any:
        made: list[Any] = []
        for claim in filter(None, map(self._sure, self.lists.get(f"{node.pointer}/*", ()))):
            self._hint(f"{pointer}/{len(made)}", claim)
            made.append(claim.value)
        for row in self.rows.get(node.pointer, ()):
            if any(self._sure(claim) for claim in row.values()):
                made.append(self._value(node.children[0], f"{pointer}/{len(made)}", row))
        return made

    def _leaf(self, node: Node, pointer: str, claim: Claim | None) -> Any:
        sure = self._sure(claim) if claim is not None else None
        if sure is not None:
            self._hint(pointer, sure)
            return sure.value
        return None if node.nullable else MISSING

    def _sure(self, claim: Claim) -> Claim | None:
        """The claim with no more confidence than its words have; None below the least that is wanted."""
        page = self._pages.get(claim.page)
        if page is not None and page.reader and claim.end:
            after = bisect_right(page.words, claim.end - 1, key=lambda word: word.start)
            inside = (
                word
                for word in page.words[max(0, after - _MOST_WORDS) : after]
                if word.end > claim.start
            )
            lowest = min((word.confidence for word in inside), default=1.0)
            claim = replace(claim, score=min(claim.score, lowest))
        claim = replace(claim, score=round(claim.score, 2))
        return claim if claim.score >= self._least else None

    def _hint(self, pointer: str, claim: Claim) -> None:
        self.hints += [
            {
                "pointer": pointer,
                "quote": quote,
                "page": claim.page,
                "start": start,
                "end": end,
                "confidence": claim.score,
            }
            for start, end, quote in claim.parts
        ]


def _escaped(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")
