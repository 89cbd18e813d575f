"""A JSON Schema as a tree of Nodes: what every reader of schemas walks instead of the raw keywords."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pipeline.errors import SchemaError

#: What follows references from one sub-schema; `referencing` makes it and does not export its class.
Resolver = Any
NodeType = Literal["object", "array", "string", "number", "integer", "boolean", "any"]

#: Deeper schemas are cut to `any` here; real ones in use stay below 20.
_DEEPEST = 40
#: A schema that describes more places than this is refused; the largest real ones have some 2,000.
_MOST = 20_000
_TYPES: Mapping[str, NodeType] = {
    "object": "object",
    "array": "array",
    "string": "string",
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
}
#: What a value's own type says, for `enum` and `const`; a bool is an int in Python, so by exact class.
_OF_VALUE: Mapping[type, NodeType] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
}


@dataclass(frozen=True, slots=True)
class Node:
    """One value that the schema describes.

    `pointer` is a JSON Pointer with `*` for array items (`/lines/*/amount`); `schema` is the
    sub-schema with its `$ref` followed and the `null` alternative taken out (then `nullable`);
    `required` says that the parent demands the key. `children` are an object's properties, or an
    array's one item.

    Alternatives (`anyOf`, `oneOf`) that are all scalars have the type of the first one, which is
    always allowed; alternatives of objects are one leaf of type `any`, as is a schema that holds itself.
    """

    name: str
    pointer: str
    type: NodeType
    nullable: bool
    required: bool
    schema: Mapping[str, Any] = field(repr=False)
    children: tuple["Node", ...] = ()

    @property
    def is_leaf(self) -> bool:
        """Whether a value stands here rather than an object or an array."""
        return self.type not in {"object", "array"}

    def leaves(self) -> Iterator["Node"]:
        """Every leaf below this node, itself if it is one, in the schema's order."""
        if self.is_leaf:
            yield self
        for child in self.children:
            yield from child.leaves()

    def at(self, pointer: str) -> "Node | None":
        """The node of a value, by the JSON Pointer of that value in an instance (`/lines/0/amount`)."""
        node: Node | None = self
        for token in pointer.split("/")[1:]:
            if node is None:
                return None
            name = token.replace("~1", "/").replace("~0", "~")
            if node.type == "array":
                node = node.children[0] if node.children else None
            else:
                node = next((child for child in node.children if child.name == name), None)
        return node


def tree(body: Mapping[str, Any]) -> Node:
    """The tree of a JSON Schema.

    Raises:
        SchemaError: a reference (used or not) points nowhere or outside of the schema, or the
            schema describes more than 20,000 places.

    """
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012, specification_with

    dialect = specification_with(str(body.get("$schema", "")), default=DRAFT202012)
    resource = dialect.create_resource(body)
    try:
        resolver = Registry().resolver_with_root(resource)
        _check_references(resource, resolver)
    except ValueError as error:
        raise SchemaError(f"an $id of the schema is not an address: {error}") from error
    return _Reader().node(
        _Place(body, resolver, dialect, (id(body),)), name="", pointer="", required=True
    )


def _check_references(resource: Any, resolver: Resolver) -> None:
    """Every reference of every sub-schema is tried, so that no validator meets a bad one later."""
    if isinstance(resource.contents, Mapping):
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            if isinstance(resource.contents.get(keyword), str):
                _follow(resolver, resource.contents[keyword])
    for part in resource.subresources():
        _check_references(part, resolver.in_subresource(part))


def _follow(resolver: Resolver, reference: str) -> tuple[Any, Resolver]:
    from referencing.exceptions import Unresolvable

    try:
        found = resolver.lookup(reference)
    except (Unresolvable, ValueError, TypeError) as error:
        if reference.startswith("#"):
            raise SchemaError(f"$ref {reference!r} points to nothing in this schema") from error
        raise SchemaError(
            f"$ref {reference!r} points outside of this schema; references are never fetched: "
            f"copy the definition under $defs and refer to #/$defs/..."
        ) from error
    return found.contents, found.resolver


class _Place(NamedTuple):
    """A sub-schema as given, what its references are relative to, and the references that led here."""

    given: Any
    resolver: Resolver
    dialect: Any
    seen: tuple[int, ...]

    def with_(self, given: Any) -> "_Place":
        """The same place, its sub-schema rewritten."""
        return self._replace(given=given)

    def below(self, given: Any) -> "_Place":
        """The place of a sub-schema, which may have an address (`$id`) of its own."""
        if not isinstance(given, Mapping):
            return self._replace(given=given)
        inside = self.resolver.in_subresource(self.dialect.create_resource(given))
        return self._replace(given=given, resolver=inside)


class _Reader:
    """Makes the Nodes of one schema, and counts them."""

    def __init__(self) -> None:
        self._made = 0

    def node(self, place: _Place, *, name: str, pointer: str, required: bool) -> Node:
        self._made += 1
        if self._made > _MOST:
            raise SchemaError(
                f"the schema describes more than {_MOST:,} places (definitions that hold each other "
                f"multiply); leave out what you don't need"
            )
        schema, nullable, place = _plain(place)
        kind = _type(schema)
        children: tuple[Node, ...] = ()
        if len(place.seen) + pointer.count("/") > _DEEPEST:
            kind = "any"
        elif kind == "object":
            demanded = schema.get("required")
            demanded = demanded if isinstance(demanded, list) else []
            children = tuple(
                self.node(
                    place.below(sub),
                    name=key,
                    pointer=f"{pointer}/{_escape(key)}",
                    required=key in demanded,
                )
                for key, sub in schema.get("properties", {}).items()
            )
        elif kind == "array" and isinstance(schema.get("items"), Mapping):
            item = place.below(schema["items"])
            children = (self.node(item, name=name, pointer=f"{pointer}/*", required=True),)
        return Node(name, pointer, kind, nullable, required, schema, children)


def _plain(place: _Place) -> tuple[dict[str, Any], bool, _Place]:
    """The sub-schema with references followed, alternatives merged, and `null` folded away."""
    nullable = False
    schema: dict[str, Any] = {}
    for _ in range(_DEEPEST):
        place = _followed(place)
        schema = dict(place.given) if isinstance(place.given, Mapping) else {}
        keyword = next(
            (key for key in ("allOf", "anyOf", "oneOf") if isinstance(schema.get(key), list)), None
        )
        if keyword is None:
            break
        parts = schema.pop(keyword)
        if keyword == "allOf":
            whole: dict[str, Any] = {}
            for part in parts:
                place = _followed(place.below(part))
                whole = _merged(whole, place.given)
            place = place.with_(_merged(whole, schema))
            continue
        rest = [option for option in parts if not _is_null(option)]
        nullable = nullable or len(rest) < len(parts)
        if len(rest) != 1:
            schema |= _folded([_followed(place.below(option)).given for option in rest])
            break
        place = place.with_(_merged(rest[0], schema))
    schema, without = _without_null(schema)
    return schema, nullable or without, place


def _followed(place: _Place) -> _Place:
    """The place that a chain of references leads to, with what stands beside each reference."""
    while isinstance(place.given, Mapping) and isinstance(place.given.get("$ref"), str):
        beside = {key: value for key, value in place.given.items() if key != "$ref"}
        found, resolver = _follow(place.resolver, place.given["$ref"])
        if id(found) in place.seen:  # a schema that holds itself: the leaf is open
            return place.with_(beside)
        place = place._replace(
            given=_merged(found, beside), resolver=resolver, seen=(*place.seen, id(found))
        )
    return place


def _merged(first: Any, second: Any) -> dict[str, Any]:
    """Both sub-schemas as one: the second one's keywords count, properties and demands add up."""
    first, second = (side if isinstance(side, Mapping) else {} for side in (first, second))
    merged = {**first, **second}
    for keyword in ("required", "allOf"):
        sides = [side[keyword] for side in (first, second) if isinstance(side.get(keyword), list)]
        if sides:
            merged[keyword] = [item for side in sides for item in side]
    if "properties" in first and "properties" in second:
        both = first["properties"].keys() & second["properties"].keys()
        merged["properties"] = {**first["properties"], **second["properties"]} | {
            name: {"allOf": [first["properties"][name], second["properties"][name]]}
            for name in both
        }
    return merged


def _folded(options: list[Any]) -> dict[str, Any]:
    """Several alternatives: one `enum` when all of them are fixed values, else `anyOf`."""
    values: list[Any] = []
    for option in options:
        if not isinstance(option, Mapping) or not ({"enum", "const"} & option.keys()):
            return {"anyOf": options} if options else {}
        values += option["enum"] if "enum" in option else [option["const"]]
    return {"enum": values} if values else {}


def _without_null(schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The sub-schema without its `null`, and whether it allows null."""
    nullable = _allows_null(schema)
    types = _listed(schema.get("type"))
    if len(types) > 1:
        others = [kind for kind in types if kind != "null"]
        schema["type"] = others[0] if len(others) == 1 else others
    if None in _fixed(schema) and "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    return schema, nullable


def _allows_null(schema: Any) -> bool:
    """Whether null is valid: every keyword that speaks must allow it."""
    if not isinstance(schema, Mapping):
        return schema is True
    types, values, options = _listed(schema.get("type")), _fixed(schema), schema.get("anyOf", [])
    if (types and "null" not in types) or (values and None not in values):
        return False
    if options and not any(_allows_null(option) for option in options):
        return False
    return bool(types or values or options) or not {"properties", "items"} & schema.keys()


def _fixed(schema: Mapping[str, Any]) -> list[Any]:
    """The values that `enum` or `const` leaves."""
    return schema.get("enum") or ([schema["const"]] if "const" in schema else [])


def _type(schema: Mapping[str, Any]) -> NodeType:
    kind = next(iter(_listed(schema.get("type"))), None)
    if isinstance(kind, str):
        return _TYPES.get(kind, "any")
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    if "enum" in schema or "const" in schema:
        fixed: set[NodeType] = {_OF_VALUE.get(type(value), "any") for value in _fixed(schema)}
        return fixed.pop() if len(fixed) == 1 else "any"
    alternatives = schema.get("anyOf", ())
    options: list[NodeType] = [
        _type(option) if isinstance(option, Mapping) else "any" for option in alternatives
    ]
    if options and not {"object", "array", "any"} & set(options):
        return options[0]
    return "string" if "format" in schema or "pattern" in schema else "any"


def _is_null(option: Any) -> bool:
    return isinstance(option, Mapping) and (
        option.get("type") in ("null", ["null"])
        or option.get("const", 0) is None
        or option.get("enum") == [None]
    )


def _listed(types: Any) -> list[Any]:
    return types if isinstance(types, list) else [] if types is None else [types]


def _escape(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")
