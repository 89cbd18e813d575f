"""Which method each field is compared by: the user's choice, the schema's annotation, else what its type says."""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import UsageError
from pipeline.evaluation.methods import Method, default_for, parsed
from pipeline.evaluation.naming import resolved
from pipeline.results import escape
from pipeline.schema import Node, Schema

#: The annotation of a sub-schema that chooses a method; JSON Schema lets unknown keywords be.
KEYWORD = "x-compare"


class Rule:
    """How the values of one place of the data are compared.

    `pointer` is a JSON Pointer with `*` for array items; `node` is None where the schema doesn't know
    the place. `ordered` says that the rows of an array are compared one by one in their order.
    """

    __slots__ = (
        "_chosen",
        "_nodes",
        "_wanted",
        "absent_is_null",
        "below",
        "ignored",
        "method",
        "node",
        "ordered",
        "pointer",
    )

    def __init__(
        self,
        node: Node | None,
        chosen: Mapping[str, str],
        *,
        absent_is_null: bool = False,
        pointer: str = "",
        wanted: str | None = None,
    ) -> None:
        said = None if node is None else node.schema.get(KEYWORD)
        here = chosen.get(pointer, said)
        self.pointer = pointer
        self.node = node
        self.absent_is_null = absent_is_null
        self.ordered = here == "ordered"
        self._chosen = chosen
        # What is chosen for a part of the data holds for all that lies in it; its order doesn't.
        self._wanted = wanted if here in (None, "ordered") else here
        self.ignored = self._wanted == "ignore"
        self.below: dict[str, Rule] = {}
        self._nodes = {child.name: child for child in node.children} if node else {}
        self.method = self._method()

    def _method(self) -> Method:
        if self._wanted in (None, "ignore"):
            return default_for(self.node)
        try:
            return parsed(str(self._wanted))
        except ValueError as error:
            raise UsageError(f"{KEYWORD} of {self.pointer or 'the schema'}: {error}") from None

    @property
    def kind(self) -> str:
        """The type that the schema gives this place; `any` where it doesn't say."""
        return self.node.type if self.node else "any"

    @property
    def names(self) -> tuple[str, ...]:
        """The properties that the schema knows here."""
        return tuple(self._nodes) if self.kind == "object" else ()

    def key(self, name: str) -> "Rule":
        """The rule of a property."""
        if name not in self.below:
            node = self._nodes.get(name) if self.kind == "object" else None
            self.below[name] = self._below(node, f"{self.pointer}/{escape(name)}")
        return self.below[name]

    def item(self) -> "Rule":
        """The rule of an array's items."""
        if "*" not in self.below:
            node = next(iter(self._nodes.values()), None) if self.kind == "array" else None
            self.below["*"] = self._below(node, f"{self.pointer}/*")
        return self.below["*"]

    def met(self, pointer: str) -> bool:
        """Whether a place below this one was ever asked for."""
        rule: Rule | None = self
        for token in pointer.split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            rule = rule.below.get(name) if rule else None
        return rule is not None

    def _below(self, node: Node | None, pointer: str) -> "Rule":
        return Rule(
            node,
            self._chosen,
            absent_is_null=self.absent_is_null,
            pointer=pointer,
            wanted=self._wanted,
        )


def chosen(
    schema: Schema | None, compare: Mapping[str, str], stage: str | None = None
) -> tuple[dict[str, str], dict[str, UsageError]]:
    """What the user chose: method by pointer, and an error for each field that is not in this schema.

    A field is a pointer with `*` for items, a dotted path, or a name that the schema has once; the
    stage's name may stand in front (`invoice:/total`).

    Raises:
        UsageError: a method is not known.

    """
    known = [node.pointer for node in _nodes(schema.tree)] if schema else []
    found, errors = {}, {}
    for name, method in compare.items():
        if method not in ("ignore", "ordered"):
            try:
                parsed(method)
            except ValueError as error:
                raise UsageError(f"--compare {name}: {error}") from None
        field = name.removeprefix(f"{stage}:")
        try:
            found[resolved(field, known, "--compare") if schema else _pointer(field)] = method
        except UsageError as error:
            errors[name] = error
    return found, errors


def _pointer(name: str) -> str:
    if name and not name.startswith("/"):
        raise UsageError(
            f"--compare {name}: there is no schema to look the name up in: write a pointer (/{name}) or give -s SCHEMA"
        )
    return name


def _nodes(node: Node) -> list[Node]:
    return [node, *(below for child in node.children for below in _nodes(child))]


def json_type_fits(kind: str, gold: Any, given: Any) -> bool:
    """Whether a given value has the JSON type that the schema asks for, else the gold value's."""
    if kind in ("any", "object", "array"):
        return gold is None or _json_type(gold) == _json_type(given)
    given_type = _json_type(given)
    if kind == "integer":
        return given_type == "number" and (isinstance(given, int) or given.is_integer())
    return given_type == kind


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "null"
