"""What will become of a schema: what each service enforces, what only we check, and what will hurt."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal

from pipeline.errors import SchemaError
from pipeline.results import escape
from pipeline.schema import Node, Schema
from pipeline.schema.contradictions import contradictions
from pipeline.schema.dialects import DIALECTS, Dialect, compile, is_whole, size  # noqa: A004
from pipeline.schema.dialects.flat import Flat, Json
from pipeline.schema.keywords import ANNOTATIONS, KNOWN, Fate, fate, why

#: What is looked at below a sub-schema; below `not`, `if` and their like nothing is sent.
_MAPS: Final = ("properties", "patternProperties")
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_ONE: Final = ("items", "additionalProperties", "additionalItems")
#: Longer enums add many states, which Gemini's limit counts and nobody knows.
_LONG_ENUM: Final = 100
#: The rule of an error that is the schema's own, whoever it is sent to.
CONTRADICTION: Final = "contradiction"
#: Deeper schemas were refused by some services ("exceeds the maximum allowed nesting depth").
_DEEP: Final = 8


@dataclass(frozen=True, slots=True)
class Keyword:
    """One keyword at one place (a JSON Pointer into the schema), with its fate in each dialect."""

    keyword: str
    pointer: str
    fates: Mapping[Dialect, Fate]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What will hurt: an `error` leaves no valid answer, a `warning` costs quality, a `note` may."""

    severity: Literal["error", "warning", "note"]
    rule: str
    pointer: str
    message: str
    dialects: tuple[Dialect, ...] = ()


@dataclass(frozen=True, slots=True)
class Linted:
    """All that is to be said of a schema; `sizes` are bytes as sent, whole and reduced, by dialect."""

    schema: Schema
    dialects: tuple[Dialect, ...]
    sizes: Mapping[Dialect, tuple[int, int]]
    keywords: tuple[Keyword, ...]
    problems: tuple[Problem, ...]

    @property
    def sendable(self) -> bool:
        """Whether every dialect can carry something of it."""
        errors = {problem.rule for problem in self.problems if problem.severity == "error"}
        return errors <= {CONTRADICTION}

    @property
    def usable(self) -> bool:
        """Whether there is no error: it can be sent, and holds nothing that no data can satisfy."""
        return not any(problem.severity == "error" for problem in self.problems)


def lint(schema: Schema, dialects: Iterable[Dialect] = DIALECTS) -> Linted:
    """Look at a schema as each dialect would send it; only what the root leads to is looked at."""
    chosen = tuple(dialects)
    problems: list[Problem] = []
    sizes: dict[Dialect, tuple[int, int]] = {}
    for dialect in chosen:
        try:
            whole, slim = (compile(schema, dialect, level) for level in ("full", "reduced"))
        except SchemaError as error:
            problems.append(Problem("error", "can't be sent", "", str(error), (dialect,)))
            continue
        sizes[dialect] = (size(whole), size(slim))
        problems += _of_sent(schema, dialect)
    walk = _Walk(schema, chosen)
    try:
        walk.visit(schema.body, "")
        problems += [*walk.problems, *_of_tree(schema.tree, chosen)]
    except RecursionError:
        problems.append(Problem("error", "too deep", "", "it is nested too deeply", chosen))
    return Linted(schema, chosen, sizes, tuple(walk.keywords), tuple(problems))


def _of_sent(schema: Schema, dialect: Dialect) -> Iterator[Problem]:
    """What a dialect had to give up."""
    kept = is_whole(schema, dialect)
    if kept is None:
        told = (
            "nothing of it can be sent: its parts are too many; the model is asked for any object"
        )
        if schema.tree.children:
            yield Problem("error", "can't be sent", "", told, (dialect,))
    elif not kept:
        told = "too large or too deep: its deepest places or long enums are sent open, their keys in words"
        yield Problem("warning", "cut", "", told, (dialect,))


@dataclass
class _Walk:
    """Goes from the root through all that is sent, each definition once."""

    schema: Schema
    dialects: tuple[Dialect, ...]
    keywords: list[Keyword] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._flat = Flat(self.schema.body, 1, 1, 1)
        self._pointers = dict(_pointers(self.schema.body))
        self._done: set[str] = set()
        self._open: list[str] = []

    def visit(self, node: Any, pointer: str) -> None:
        """One sub-schema and what it leads to."""
        if not isinstance(node, Mapping) or pointer in self._done:
            return
        self._done.add(pointer)
        self._open.append(pointer)
        for keyword in node:
            if keyword in KNOWN and keyword not in ANNOTATIONS:
                fates: dict[Dialect, Fate] = {
                    dialect: fate(keyword, dict(node), dialect) for dialect in self.dialects
                }
                place = f"{pointer}/{escape(keyword)}"
                self.keywords.append(Keyword(keyword, place, fates, why(keyword, self.dialects)))
        self.problems += _of_node(dict(node), pointer, self.dialects)
        if not ("$ref" in node and self._flat.ref_alone):
            self.problems += _against_itself(dict(node), pointer)
        for place, inner in _inner(node, pointer):
            self.visit(inner, place)
        if isinstance(reference := node.get("$ref"), str):
            self._refer(reference, f"{pointer}/$ref")
        self._open.pop()

    def _refer(self, reference: str, place: str) -> None:
        target = self._flat.target(reference)
        pointer = self._pointers.get(id(target))
        if pointer is None:
            return
        if pointer in self._open:
            told = "holds itself: followed a few times, then it is sent open"
            self.problems.append(Problem("warning", "recursion", place, told, self.dialects))
        self.visit(target, pointer)


def _pointers(node: Any) -> Iterator[tuple[int, str]]:
    stack = [(node, "")]
    while stack:
        inner, pointer = stack.pop()
        if isinstance(inner, Mapping):
            yield id(inner), pointer
            stack += [(value, f"{pointer}/{escape(str(key))}") for key, value in inner.items()]
        elif isinstance(inner, list):
            stack += [(value, f"{pointer}/{number}") for number, value in enumerate(inner)]


def _inner(node: Mapping[str, Any], pointer: str) -> Iterator[tuple[str, Any]]:
    for keyword in _MAPS:
        if isinstance(node.get(keyword), Mapping):
            for name, inner in node[keyword].items():
                yield f"{pointer}/{keyword}/{escape(name)}", inner
    for keyword in _LISTS:
        if isinstance(node.get(keyword), list):
            for number, inner in enumerate(node[keyword]):
                yield f"{pointer}/{keyword}/{number}", inner
    for keyword in _ONE:
        if isinstance(node.get(keyword), Mapping):
            yield f"{pointer}/{keyword}", node[keyword]


def _of_node(node: Json, pointer: str, dialects: tuple[Dialect, ...]) -> Iterator[Problem]:
    for keyword in sorted(node.keys() - KNOWN):
        if near := get_close_matches(keyword, KNOWN, n=1, cutoff=0.8):
            told = f"{keyword!r} is no keyword and says nothing; is {near[0]!r} meant?"
            yield Problem("warning", "unknown keyword", f"{pointer}/{escape(keyword)}", told)
    values = node.get("enum")
    if isinstance(values, list) and len(values) > _LONG_ENUM:
        limits: dict[str, tuple[Dialect, ...]] = {
            "Gemini may find too many states": tuple(each for each in dialects if each != "openai"),
            "OpenAI takes 1,000 in a schema": tuple(each for each in dialects if each == "openai"),
        }
        for limit, whose in limits.items():
            if whose:
                told = f"{len(values)} values: {limit}"
                yield Problem("warning", "long enum", f"{pointer}/enum", told, whose)
    named = [*node.get("properties", ())] if isinstance(node.get("properties"), Mapping) else []
    for name in named:
        if not name.isascii() or not name.isprintable() or len(name) > 64:
            told = "a name that is long or not ASCII is more easily misspelt by models, and costs tokens"
            yield Problem("note", "name", f"{pointer}/properties/{escape(name)}", told, dialects)


def _against_itself(node: Json, pointer: str) -> Iterator[Problem]:
    for keyword, told in contradictions(node):
        yield Problem("error", CONTRADICTION, f"{pointer}/{escape(keyword)}", told)


def _of_tree(root: Node, dialects: tuple[Dialect, ...]) -> Iterator[Problem]:
    """What is to be said of the values that the schema describes; pointers are into the data."""
    if root.type != "object" and "openai" in dialects:
        told = "OpenAI takes objects only: the answer stands under the key value, and is unwrapped again"
        yield Problem("note", "root", "", told, ("openai",))
    stack = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        yield from _of_value(node, depth, dialects)
        stack += [(child, depth + 1) for child in reversed(node.children)]


def _of_value(node: Node, depth: int, dialects: tuple[Dialect, ...]) -> Iterator[Problem]:
    if depth == _DEEP and node.children:
        told = "some services refuse schemas that are nested so deeply"
        yield Problem("warning", "deep", node.pointer, told, dialects)
    closed: tuple[Dialect, ...] = tuple(dialect for dialect in dialects if dialect != "gemini")
    if node.type == "object" and not node.children and closed:
        told = "an object without named keys is sent as a list of key and value, or as JSON text"
        yield Problem("warning", "open map", node.pointer, told, closed)
    if node.type == "any" and "anyOf" not in node.schema:
        told = "may be anything: nothing is enforced"
        yield Problem("warning", "anything", node.pointer, told, dialects)
    if not node.pointer or node.pointer.endswith("/*"):
        return
    if not node.required and not node.nullable:
        told = "neither required nor nullable: what the document does not say may be left out or made up; allow null"
        yield Problem("warning", "optional", node.pointer, told, dialects)
    if node.is_leaf and not node.schema.get("description"):
        told = "has no description: its name alone tells the model what is wanted"
        yield Problem("note", "no description", node.pointer, told, dialects)
