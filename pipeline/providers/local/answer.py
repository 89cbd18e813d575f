"""The answer of a schema's shape: values and hints, nulls and empty lists where nothing was found."""

from collections.abc import Mapping
from typing import Any

from pipeline.providers.local.asks import Ask
from pipeline.providers.local.claims import Claim
from pipeline.schema import Node

MISSING = object()


class Answer:
    """Collects what holds, by the pointers of the schema, and builds `data` with its hints."""

    def __init__(self) -> None:
        self.scalars: dict[str, Claim] = {}
        self.lists: dict[str, list[Claim]] = {}
        self.rows: dict[str, list[dict[str, Claim]]] = {}
        self.hints: list[dict[str, Any]] = []

    def hold(self, held: Mapping[Ask, Claim]) -> None:
        """Keep the claims of single values."""
        self.scalars |= {ask.pointer: claim for ask, claim in held.items()}

    def build(self, tree: Node) -> Any:
        """The data, keys in the order of the schema; `hints` are filled on the way."""
        self.hints = []
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
        for claim in self.lists.get(f"{node.pointer}/*", ()):
            self._hint(f"{pointer}/{len(made)}", claim)
            made.append(claim.value)
        for row in self.rows.get(node.pointer, ()):
            made.append(self._value(node.children[0], f"{pointer}/{len(made)}", row))
        return made

    def _leaf(self, node: Node, pointer: str, claim: Claim | None) -> Any:
        if claim is not None:
            self._hint(pointer, claim)
            return claim.value
        return None if node.nullable else MISSING

    def _hint(self, pointer: str, claim: Claim) -> None:
        self.hints.append(
            {
                "pointer": pointer,
                "quote": claim.quote,
                "page": claim.page,
                "start": claim.start,
                "end": claim.end,
                "confidence": claim.score,
            }
        )


def _escaped(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")
