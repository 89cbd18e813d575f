"""Is a schema what the service takes? Each dialect's documented rules, written down apart from the product.

`openapi_violations` asks Google's own message `Schema`; `openai_violations` holds the list in the guide
to Structured Outputs (section "Supported schemas"). `written` is the answer that a model would give to
a closed outline for some data: the reverse of `restore`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.schema.dialects.closed import options_of
from pipeline.schema.dialects.outline import choice

#: What the guide names, and `title`, which its own SDK sends.
OPENAI_KEYWORDS = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "anyOf",
    "description", "title", "format", "$ref", "$defs",
}  # fmt: skip
OPENAI_TYPES = {"string", "number", "boolean", "integer", "object", "array", "null"}
OPENAI_FORMATS = {
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid",
}  # fmt: skip


def openapi_violations(schema: Any) -> list[str]:
    """What Google's `Schema` message does not take, and what the service says in words."""
    from google.ai.generativelanguage_v1beta.types import Schema as Message
    from google.protobuf.json_format import ParseDict, ParseError

    try:
        ParseDict(schema, Message.pb()(), ignore_unknown_fields=False)
    except ParseError as error:
        return [str(error)]
    return list(_openapi_rules(schema, "#"))


def _openapi_rules(node: Mapping[str, Any], at: str) -> Iterator[str]:
    if "type" not in node and "anyOf" not in node:
        yield f"{at}: must be specified: type"
    if node.get("type") == "OBJECT" and not node.get("properties"):
        yield f"{at}: properties: should be non-empty for OBJECT type"
    if node.get("type") == "ARRAY" and "items" not in node:
        yield f"{at}: items: missing field"
    if "enum" in node and node.get("type") != "STRING":
        yield f"{at}: enum: only allowed for STRING type"
    if node.get("format") not in {None, "date-time", "enum"} and node.get("type") == "STRING":
        yield f"{at}: format: only 'enum' and 'date-time' are supported for STRING type"
    names = set(node.get("properties", {}))
    if not set(node.get("required", ())) <= names:
        yield f"{at}: required: property is not defined"
    if set(node.get("propertyOrdering", names)) != names:
        yield f"{at}: propertyOrdering does not name the properties"
    for path, sub in below(node, at):
        yield from _openapi_rules(sub, path)


def openai_violations(schema: Any) -> list[str]:
    """What the strict mode refuses."""
    root = schema if isinstance(schema, Mapping) else {}
    found = [*_openai_rules(root, "#", root), *_openai_limits(root)]
    if root.get("type") != "object" or "anyOf" in root:
        found.append("#: the root is no object")
    return found


def _openai_rules(node: Mapping[str, Any], at: str, root: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{at}: {key} is not permitted" for key in node if key not in OPENAI_KEYWORDS)
    if "$ref" in node:
        if len(node) > 1:
            yield f"{at}: something stands beside $ref"
        if node["$ref"].removeprefix("#/$defs/") not in root.get("$defs", {}):
            yield f"{at}: $ref leads nowhere"
        return
    yield from _openai_types(node, at)
    yield from _openai_firsts(node, at)
    for path, sub in below(node, at):
        yield from _openai_rules(sub, path, root)


def _openai_types(node: Mapping[str, Any], at: str) -> Iterator[str]:
    kinds = node["type"] if isinstance(node.get("type"), list) else [node.get("type")]
    if "anyOf" not in node and not set(kinds) <= OPENAI_TYPES:
        yield f"{at}: type {kinds}"
    if "object" in kinds:
        if node.get("additionalProperties") is not False:
            yield f"{at}: additionalProperties is required to be supplied and to be false"
        if list(node.get("required", ())) != list(node.get("properties", ())):
            yield f"{at}: required has to hold every key in properties"
    if "array" in kinds and "items" not in node:
        yield f"{at}: array schema missing items"
    if node.get("format") not in {None, *OPENAI_FORMATS}:
        yield f"{at}: no format {node['format']}"


def _openai_firsts(node: Mapping[str, Any], at: str) -> Iterator[str]:
    firsts = [
        (next(iter(option["properties"])), option["properties"])
        for option in node.get("anyOf", ())
        if option.get("properties")
    ]
    for number, (first, properties) in enumerate(firsts):
        for other, others in firsts[:number]:
            apart = set(properties[first].get("enum", ())) and set(
                others.get(first, {}).get("enum", ())
            )
            same = not apart or set(properties[first]["enum"]) & set(others[first]["enum"])
            if first == other and same:
                yield f"{at}: objects in anyOf must not share identical first keys"


def _openai_limits(root: Mapping[str, Any]) -> Iterator[str]:
    nodes = list(everything(root))
    names = [
        name for node in nodes for name in (*node.get("properties", ()), *node.get("$defs", ()))
    ]
    enums = [node["enum"] for node in nodes if "enum" in node]
    text = sum(len(name) for name in names) + sum(len(str(v)) for enum in enums for v in enum)
    if len(names) > 5000:
        yield f"{len(names)} properties"
    if sum(map(len, enums)) > 1000:
        yield "more than 1000 enum values"
    if text > 120_000:
        yield f"{text} characters of names and values"
    if any(len(enum) > 250 and sum(len(str(v)) for v in enum) > 15_000 for enum in enums):
        yield "an enum of more than 250 values is longer than 15,000 characters"
    if (levels := _levels(root, root)) > 10:
        yield f"{levels} levels"


def _levels(node: Mapping[str, Any], root: Mapping[str, Any]) -> int:
    if "$ref" in node:
        return _levels(root["$defs"][node["$ref"].removeprefix("#/$defs/")], root)
    inner = [sub for path, sub in below(node, "") if not path.startswith("/$defs")]
    kinds = node["type"] if isinstance(node.get("type"), list) else [node.get("type")]
    return ("object" in kinds) + max((_levels(sub, root) for sub in inner), default=0)


def below(node: Mapping[str, Any], at: str) -> Iterator[tuple[str, Any]]:
    """The sub-schemas of one of the dialects, each with its place."""
    for key in ("properties", "$defs"):
        for name, sub in node.get(key, {}).items():
            yield f"{at}/{key}/{name}", sub
    for number, sub in enumerate(node.get("anyOf", ())):
        yield f"{at}/anyOf/{number}", sub
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping):
            yield f"{at}/{key}", node[key]


def everything(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A sub-schema and all below it."""
    yield node
    for _, sub in below(node, ""):
        yield from everything(sub)


class Unwritable(Exception):
    """Data that the closed form has no place for: a key that the schema does not name."""


def written(node: Mapping[str, Any], data: Any) -> Any:
    """Data as an answer in the closed form of an outline.

    Raises:
        Unwritable: there is no place for some of it.

    """
    if "type" not in node and "anyOf" not in node:
        return encoded(data)
    if "anyOf" in node:
        return _written_option(options_of(dict(node)), data)
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    if data is None and "null" in kinds:
        return None
    if not any(_is_a(kind, data) for kind in kinds) or data not in node.get("enum", [data]):
        raise Unwritable
    if isinstance(data, dict):
        return _written_object(node, data)
    if isinstance(data, list):
        places = [*node.get("prefixItems", ())]
        if len(data) > len(places) > 0 and "items" not in node:
            raise Unwritable
        item = choice([*places, *([node["items"]] if "items" in node else [])])
        return [written(item, each) for each in data]
    return data


def encoded(data: Any) -> Any:
    """How any JSON value is written where anything may stand: JSON text, but for plain values."""
    plain = not isinstance(data, dict | list | str)
    if plain or (isinstance(data, str) and not data.lstrip().startswith(("{", "[", '"'))):
        return data
    return json.dumps(data, ensure_ascii=False)


def _written_option(options: list[Any], data: Any) -> Any:
    opens = [option for option in options if _is_open(option)]
    if opens and isinstance(data, str):
        return encoded(data)
    fitting = []
    for option in options:
        try:
            fitting.append(written(option, data))
        except Unwritable:
            continue
    if not fitting:
        raise Unwritable
    return fitting[0]


def _is_open(option: Mapping[str, Any]) -> bool:
    kinds = option.get("type", [])
    named = option.get("properties") or isinstance(option.get("additionalProperties"), dict)
    return "object" in ([kinds] if isinstance(kinds, str) else kinds) and not named


def _written_object(node: Mapping[str, Any], data: dict[str, Any]) -> Any:
    properties, others = node.get("properties", {}), node.get("additionalProperties")
    if _is_open(node):
        return encoded(data)
    rest = {key: value for key, value in data.items() if key not in properties}
    if rest and not isinstance(others, dict):
        raise Unwritable
    if set(node.get("required", ())) - data.keys():
        raise Unwritable
    if not isinstance(others, dict):
        others = {}
    pairs = [{"key": key, "value": written(others, value)} for key, value in rest.items()]
    if not properties:
        return pairs
    told = {
        name: written(sub, data[name]) if name in data else None for name, sub in properties.items()
    }
    if isinstance(node.get("additionalProperties"), dict):
        name = "other_keys"
        while name in properties:
            name += "_"
        told[name] = pairs
    return told


def _is_a(kind: str, data: Any) -> bool:
    if isinstance(data, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(data, int) or (isinstance(data, float) and data.is_integer())
    types: dict[str, Any] = {
        "string": str,
        "number": int | float,
        "object": dict,
        "array": list,
        "null": type(None),
        "boolean": (),
    }
    return isinstance(data, types[kind])
