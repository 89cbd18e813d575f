"""What a schema asks for: each of its values with a kind, the phrases that label it, and whose it is."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.providers.local.kinds import form, shown, shows_iso
from pipeline.providers.local.words import Lexicon, Meaning, Unit, alike
from pipeline.schema import Node, Schema

Units = tuple[Unit, ...]

#: A field has the meaning whose phrase is at least this much like its name.
_SAME_MEANING = 0.85
#: How much a label is worth that a meaning brings, that only the last word of a path gives, that a description gives.
FROM_MEANING, _FROM_NAME, _FROM_DESCRIPTION = 0.97, 0.9, 0.85
_LONGEST_DESCRIPTION = 5
#: A column's meaning by its own name and its array's, before the one by its name alone.
_WITH_ARRAY = 1.02
_FIRST = re.compile(r"[.,;:(\n]")
_BRACKETS = re.compile(r"\(([^()]{2,120})\)")
_ISO = re.compile(r"iso.?8601|yyyy-mm-dd|\\d\{4\}-\\d\{2\}|\[0-9\]\{4\}-", re.IGNORECASE)
#: How descriptions say that 19 % is 0.19.
_FRACTION = re.compile(
    r"\bfraction\b|\b0[.,]\d+ (?:for|means|=|is|f[uü]r)\b|between 0 and 1|\b0 to 1\b", re.IGNORECASE
)
_FORMATS = {
    "date": "date",
    "date-time": "datetime",
    "time": "zoned_time",
    "email": "email",
    "idn-email": "email",
    "uri": "url",
    "iri": "url",
    "uri-reference": "url",
    "url": "url",
    "duration": "duration",
}
#: What a time that lasts is said to be: of preparation, of delivery, in all.
_LASTING = frozenset({"total", "preparing", "cooking", "delivery", "duration"})
_NUMERIC = frozenset({"money", "percent", "year"})
#: Kinds whose names say what a value is, not which one: any meaning of a text may stand behind them.
_UNSHAPED = frozenset({"text", "identifier"})
_OPEN = frozenset(
    {"text", "identifier", "organisation", "party", "person", "title", "prose", "payment"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    r"""One value that is asked for.

    `kind` is what it holds, or the pattern of its codes (`^INV-\d{6}$`); `phrases` are its labels with their worth (0..1); `meaning` the name of
    its meaning in labels.toml, or empty; `role` the party that it belongs to, or empty; `own` are
    the units of its name without that party. `iso` says that a text must be a normal form.
    """

    node: Node
    kind: str
    phrases: tuple[tuple[Units, float], ...]
    meaning: str
    role: str
    own: Units
    iso: bool

    @property
    def fraction(self) -> bool:
        """Whether a percentage is wanted as a part of one (0.19)."""
        told = str(self.node.schema.get("description") or "")
        return self.kind == "percent" and (
            bool(_FRACTION.search(told)) or self.node.schema.get("maximum") == 1
        )

    @property
    def pointer(self) -> str:
        """Its place in the schema (`/lines/*/amount`)."""
        return self.node.pointer

    @property
    def textual(self) -> bool:
        """Whether its value is a JSON string."""
        return self.node.type in {"string", "any"}

    @property
    def options(self) -> list[Any]:
        """The only values that it may have; none for a free one."""
        schema = self.node.schema
        return (
            list(schema["enum"])
            if schema.get("enum")
            else [schema["const"]]
            if "const" in schema
            else []
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a schema asks for: single values, lists of values, tables (arrays of objects)."""

    scalars: tuple[Ask, ...]
    lists: tuple[Ask, ...]
    tables: tuple[tuple[Node, tuple[Ask, ...]], ...]


def plan(schema: Schema, lexicon: Lexicon) -> Plan:
    """Read a schema's tree into asks, in its order."""
    scalars: list[Ask] = []
    lists: list[Ask] = []
    tables: list[tuple[Node, tuple[Ask, ...]]] = []
    for node, path in _values(schema.tree, ()):
        if node.type != "array":
            scalars.append(ask(node, path, lexicon))
            continue
        item = node.children[0] if node.children else None
        if item is not None and item.is_leaf:
            lists.append(ask(item, path, lexicon))
        elif item is not None and item.type == "object":
            columns = [
                ask(leaf, (node.name, *inner[1:]), lexicon, scope="row")
                for leaf, inner in _values(item, ())
                if leaf.is_leaf
            ]
            tables.append((node, tuple(columns)))
    return Plan(tuple(scalars), tuple(lists), tuple(tables))


def _values(node: Node, path: tuple[str, ...]) -> Iterator[tuple[Node, tuple[str, ...]]]:
    """The leaves and arrays below a node that stand in no other array, with the names above them."""
    if node.type == "object":
        for child in node.children:
            yield from _values(child, (*path, node.name) if node.name and node.pointer else path)
    else:
        yield node, path


def ask(node: Node, path: Sequence[str], lexicon: Lexicon, scope: str = "") -> Ask:
    """What one leaf asks for; `path` are the names of the objects that it stands in."""
    name = lexicon.read_name(node.name)
    above = tuple(unit for part in path for unit in lexicon.read_name(part))
    title = lexicon.read(str(node.schema.get("title") or ""))
    role = _role(name, lexicon) or _role(above, lexicon)
    own = tuple(unit for unit in name if not unit.concepts & {role}) if role else name
    kind = _kind(node, name or title, role, lexicon)
    if scope and kind == "party":
        kind = "text"
    meaning = _meaning(node, kind, (name, (*_last(above), *name), title, own), scope, lexicon)
    if (
        meaning is not None
        and node.type in {"string", "any"}
        and meaning.kind not in _NUMERIC | {"date"}
    ):
        kind = meaning.kind
    if meaning is not None and kind == "number" and meaning.kind == "money" and not scope:
        kind = "money"  # so that no percentage is taken for it
    if kind in _UNSHAPED and node.type in {"string", "any"}:
        kind = form(node.schema) or kind
    phrases = _phrases(node, (name, above if scope != "row" else ()), title, meaning, lexicon)
    if scope == "row":
        phrases = (*phrases, ((*_last(above), *name), FROM_MEANING))
    return Ask(node, kind, phrases, meaning.name if meaning else "", role, own, _wants_normal(node))


def _last(units: Units) -> Units:
    return units[-2:]


def _role(units: Units, lexicon: Lexicon) -> str:
    for unit in units:
        for concept in sorted(unit.concepts & lexicon.roles):
            return concept
    return ""


def _phrases(
    node: Node, names: tuple[Units, Units], title: Units, meaning: Meaning | None, lexicon: Lexicon
) -> tuple[tuple[Units, float], ...]:
    """The labels of a field: its own words first, then those of its meaning; once each."""
    name, above = names
    found: dict[tuple[str, ...], tuple[Units, float]] = {}

    def add(units: Units, worth: float) -> None:
        key = tuple(unit.word for unit in units)
        if units and (key not in found or found[key][1] < worth):
            found[key] = (units, worth)

    add(name, _FROM_NAME if above else 1.0)
    add((*_last(above), *name), 1.0)
    add(title, 1.0)
    description = str(node.schema.get("description") or "")[:500]
    for said in (_FIRST.split(description, maxsplit=1)[0], *_synonyms(description)):
        words = lexicon.read(said)
        if len(words) <= _LONGEST_DESCRIPTION:
            add(words, _FROM_DESCRIPTION)
    for label, worth in meaning.labels if meaning else ():
        add(label, FROM_MEANING * worth)
    return tuple(found.values())


def _synonyms(description: str) -> Iterator[str]:
    """What a description gives in brackets: `(invoice no., bill no.)`."""
    for match in _BRACKETS.finditer(description):
        yield from (
            part
            for part in match[1].split(",")
            if part.strip() and not any(c.isdigit() for c in part)
        )


def _meaning(
    node: Node, kind: str, names: Sequence[Units], scope: str, lexicon: Lexicon
) -> Meaning | None:
    """What a field means, by its name alone, with the object around it, or its title."""
    best, found = _SAME_MEANING, None
    for meaning in lexicon.meanings:
        if meaning.scope not in {"", scope or "whole"} or not _may_be(node, kind, meaning.kind):
            continue
        for name in names:
            most = max((alike(phrase, name) for phrase in meaning.fields), default=0.0)
            if scope == "row" and name is names[1]:  # the amount of a tax is no amount of an item
                most *= _WITH_ARRAY
            if most > best or (most == best and meaning.scope == scope and found is None):
                best, found = most, meaning
    return found


def _may_be(node: Node, kind: str, other: str) -> bool:
    if kind == other:
        return True
    if node.type in {"number", "integer"}:
        return kind == "number" and other == "money"
    return node.type in {"string", "any"} and kind in _OPEN and other in _OPEN | {"vat"}


def _kind(node: Node, units: Units, role: str, lexicon: Lexicon) -> str:
    if node.schema.get("enum") or "const" in node.schema:
        return "enum"
    if node.type == "boolean":
        return "check"
    form = _FORMATS.get(str(node.schema.get("format")), "")
    if form and node.type in {"string", "any"}:
        return form
    named = _named_kind(units, role, lexicon)
    if node.type in {"number", "integer"}:
        return named if named in _NUMERIC else "number"
    if not named and _ISO.search(str(node.schema.get("description") or "")):
        return "date"
    return shown(node.schema) or named or "text"


def _of_several(every: frozenset[str]) -> str:
    """The kind that several words of a name say together: a date and a time, a place with its code."""
    if "date" in every and "number" not in every:
        return "datetime" if "time" in every else "date"
    if "time" in every and every & _LASTING:
        return "duration"
    return "text" if {"city", "postcode"} <= every else ""


def _named_kind(units: Units, role: str, lexicon: Lexicon) -> str:
    """The kind that a name says: its last telling word decides, `date` and `name` apart."""
    concepts = [unit.concepts for unit in units]
    every = frozenset().union(*concepts) if concepts else frozenset()
    if several := _of_several(every):
        return several
    for unit in reversed(units):
        kinds = [
            lexicon.kinds[concept] for concept in sorted(unit.concepts) if concept in lexicon.kinds
        ]
        if "name" in unit.concepts:
            return _named(units, every, role)
        if kinds and kinds[0] == "title":
            return "title" if len(units) == 1 else "text"
        if kinds:
            return kinds[0]
    return ""


def _named(units: Units, every: frozenset[str], role: str) -> str:
    """Whose name a name is."""
    if every & {"first", "last"}:
        return "text"
    if every & {"company", "bank", "seller", "employer", "insurer"}:
        return "organisation"
    if every & {"person", "author", "employee", "patient", "signer", "full"}:
        return "person"
    return "party" if role or len(units) == 1 else "text"


def _wants_normal(node: Node) -> bool:
    schema = node.schema
    if schema.get("format") in {"date", "date-time", "time"}:
        return True
    told = f"{schema.get('pattern', '')} {schema.get('description', '')}"
    return _ISO.search(told) is not None or shows_iso(schema)
