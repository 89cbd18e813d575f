"""Is a request body exactly what the service takes? Asked of Google's own protobuf messages.

`strict(body)` parses a body with `GenerateContentRequest` (package google-ai-generativelanguage,
v1beta), no unknown field allowed, and with the types of google-genai (`tests/official.py`). Fields of
the live service that are newer than the package stand in `NEWER` with their place and a check; they are
checked by hand and taken out first. Then come the rules that a message can't express.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from tests.answers import ANY_SHAPE, camel
from tests.official import genai_violations

Check = Callable[[Any], bool]
Path = tuple[str, ...]

LEVELS = {"MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"}
PART_RESOLUTIONS = {f"MEDIA_RESOLUTION_{name}" for name in ("LOW", "MEDIUM", "HIGH", "ULTRA_HIGH")}
#: The keywords of `responseJsonSchema`, as its reference lists them, and `propertyOrdering`.
KEYWORDS = set(
    """$id $defs $ref $anchor type format title description enum items prefixItems minItems maxItems minimum
    maximum anyOf oneOf properties additionalProperties required propertyOrdering""".split()  # noqa: SIM905, as it is listed there
)
#: What Gemini's own API wants for it, and Vertex AI does not know.
NO_SWITCH = "functions beside other tools without includeServerSideToolInvocations"
TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}


def strict(body: Any) -> list[str]:
    """Everything that is wrong with a body, as sentences; empty when the service would take it."""
    if not isinstance(body, Mapping):
        return ["the body is no object"]
    body = camel(dict(body))
    rest = copy.deepcopy(body)
    return [*_newer(rest), *_parse(rest), *genai_violations("generateContent", body), *_rules(body)]


def fields(body: Any, path: str = "") -> set[str]:
    """The places of all fields that a body uses, list items as `[]`; what is of any shape counts as one."""
    if isinstance(body, Mapping) and body and path.rpartition(".")[2] not in ANY_SHAPE:
        return {
            field
            for key, value in body.items()
            for field in fields(value, f"{path}.{key}".lstrip("."))
        }
    if isinstance(body, list) and body:
        return {field for value in body for field in fields(value, f"{path}[]")}
    return {path}


def schema_violations(schema: Any, at: str = "#") -> list[str]:
    """Everything in a `responseJsonSchema` that the service would ignore or refuse."""
    if not isinstance(schema, Mapping):
        return [f"{at}: a schema is an object here"]
    found = [f"{at}: {key} is not a keyword" for key in schema if key not in KEYWORDS]
    if "$ref" in schema and any(not key.startswith("$") for key in schema):
        found.append(f"{at}: something stands beside $ref")
    kinds = schema.get("type", [])
    listed = kinds if isinstance(kinds, list) else [kinds]
    found += [f"{at}: no type {kind}" for kind in listed if kind not in TYPES]
    if len([kind for kind in listed if kind != "null"]) > 1:
        found.append(f"{at}: more than one type beside null")
    for value in schema.get("enum", []):
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            found.append(f"{at}: enum holds {value!r}, it takes strings and numbers")
    properties = schema.get("properties", {})
    found += [
        f"{at}: required {name} is no property"
        for name in schema.get("required", [])
        if name not in properties
    ]
    if "propertyOrdering" in schema and schema["propertyOrdering"] != list(properties):
        found.append(f"{at}: propertyOrdering is not the order of properties")
    return [*found, *(v for path, sub in _below(schema, at) for v in schema_violations(sub, path))]


def _below(schema: Mapping[str, Any], at: str) -> Iterator[tuple[str, Any]]:
    for key in ("properties", "$defs"):
        for name, sub in schema.get(key, {}).items():
            yield f"{at}/{key}/{name}", sub
    for key in ("anyOf", "oneOf", "prefixItems"):
        for number, sub in enumerate(schema.get(key, [])):
            yield f"{at}/{key}/{number}", sub
    for key in ("items", "additionalProperties"):
        if key in schema and not isinstance(schema[key], bool):
            yield f"{at}/{key}", schema[key]


def _one_of(values: set[str]) -> Check:
    return lambda value: value in values


def _is(kind: type) -> Check:
    return lambda value: isinstance(value, kind)


def _labels(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(item, str) for item in (*value, *value.values())
    )


def _part_resolution(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= {"level", "numTokens"}
        and value.get("level") in PART_RESOLUTIONS
    )


_PART: tuple[Path, ...] = (("contents", "*", "parts", "*"), ("systemInstruction", "parts", "*"))
#: Newer than the package (google-genai 3.4.0, Vertex discovery 20261106): place, name, what it may hold.
NEWER: list[tuple[Path, str, Check]] = [
    (("generationConfig", "thinkingConfig"), "thinkingLevel", _one_of(LEVELS)),
    (("generationConfig",), "audioTranscriptionConfig", _is(dict)),
    (("generationConfig", "imageConfig"), "imageSize", _is(str)),
    ((), "serviceTier", _one_of({"standard", "flex", "priority"})),
    ((), "store", _is(bool)),
    ((), "labels", _labels),
    ((), "continuationToken", _is(str)),
    (("tools", "*"), "mcpServers", _is(list)),
    (("toolConfig",), "includeServerSideToolInvocations", _is(bool)),
    (("toolConfig", "functionCallingConfig"), "streamFunctionCallArguments", _is(bool)),
    *((place, "mediaResolution", _part_resolution) for place in _PART),
    *(
        (place, name, _is(dict))
        for place in _PART
        for name in (
            "toolCall",
            "toolResponse",
            "audioTranscription",
            "mediaProcessing",
            "speechMetadata",
            "documentMetadata",
            "spreadsheetMetadata",
            "audioMetadata",
        )
    ),
]


def _newer(body: dict[str, Any]) -> list[str]:
    """Check and take out the fields that the package does not know."""
    return [
        f"{'.'.join((*place, name))} can't be {value!r}"
        for place, name, is_right in NEWER
        for holder in _at(body, place)
        if isinstance(holder, dict) and name in holder and not is_right(value := holder.pop(name))
    ]


def _at(node: Any, place: Path) -> Iterator[Any]:
    if not place:
        yield node
    elif place[0] == "*":
        for item in node if isinstance(node, list) else ():
            yield from _at(item, place[1:])
    elif isinstance(node, dict) and place[0] in node:
        yield from _at(node[place[0]], place[1:])


def _parse(body: dict[str, Any]) -> list[str]:
    from google.ai.generativelanguage_v1beta.types import GenerateContentRequest
    from google.protobuf.json_format import ParseDict, ParseError

    try:
        ParseDict(body, GenerateContentRequest.pb()(), ignore_unknown_fields=False)
    except ParseError as error:
        return [str(error)]
    return []


def _rules(body: Mapping[str, Any]) -> list[str]:
    """What the documentation says in words only."""
    config = body.get("generationConfig")
    config = config if isinstance(config, Mapping) else {}
    contents = body.get("contents")
    thinking = config.get("thinkingConfig")
    wrong = {
        "contents is empty": not contents,
        "a role is neither user nor model": any(
            role not in {"user", "model"} for role in _each(contents, "role")
        ),
        "the last turn is the model's": isinstance(contents, list)
        and bool(contents)
        and next(_each(contents[-1:], "role"), "") == "model",
        "a part is not exactly one thing": any(
            not _is_one_thing(part) for part in _at(body, _PART[0])
        ),
        "a schema without responseMimeType application/json": bool(
            config.keys() & {"responseSchema", "responseJsonSchema"}
        )
        and config.get("responseMimeType") != "application/json",
        "responseSchema and responseJsonSchema": {"responseSchema", "responseJsonSchema"}
        <= config.keys(),
        "a thinking level and a thinking budget": isinstance(thinking, Mapping)
        and {"thinkingLevel", "thinkingBudget"} <= thinking.keys(),
        "cachedContent with systemInstruction, tools or toolConfig": "cachedContent" in body
        and bool(body.keys() & {"systemInstruction", "tools", "toolConfig"}),
        "maxOutputTokens is not above 0": config.get("maxOutputTokens", 1) < 1,
        "temperature is outside 0..2": not 0 <= config.get("temperature", 1) <= 2,
        "inline data is not plain base64": any(
            not _is_base64(blob.get("data"))
            for blob in _at(body, (*_PART[0], "inlineData"))
            if isinstance(blob, dict)
        ),
    }
    schema = config.get("responseJsonSchema")
    declared = _at(body, ("tools", "*", "functionDeclarations", "*", "parametersJsonSchema"))
    schemas = [*([] if schema is None else [schema]), *declared]
    return [
        *(name for name, is_wrong in wrong.items() if is_wrong),
        *(violation for each in schemas for violation in schema_violations(each)),
        *_turn_rules(body, contents),
    ]


def _turn_rules(body: Mapping[str, Any], contents: Any) -> Iterator[str]:
    """What holds of tools and turns (function-calling, tool-combination and thought-signatures pages)."""
    tools = {name for tool in _at(body, ("tools", "*")) for name in tool}
    switch = next(_at(body, ("toolConfig", "includeServerSideToolInvocations")), False)
    if "functionDeclarations" in tools and len(tools) > 1 and switch is not True:
        yield NO_SWITCH
    roles = list(_each(contents, "role"))
    if any(role == after for role, after in pairwise(roles)):
        yield "two turns of one role, one after the other"
    turns = list(contents) if isinstance(contents, list) else []
    for turn, after in pairwise([*turns, {}]):
        asked = [_who(call) for call in _at(turn, ("parts", "*", "functionCall"))]
        given = [_who(answer) for answer in _at(after, ("parts", "*", "functionResponse"))]
        if asked != given:
            yield f"functions {asked} were called, and {given} answered"


def _who(call: Any) -> tuple[Any, Any]:
    return (call.get("id"), call.get("name")) if isinstance(call, Mapping) else (None, None)


def _each(contents: Any, key: str) -> Iterator[Any]:
    for item in contents if isinstance(contents, list) else ():
        if isinstance(item, Mapping) and key in item:
            yield item[key]


def _is_one_thing(part: Any) -> bool:
    things = {
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "toolCall",
        "toolResponse",
    }
    return isinstance(part, Mapping) and len(things & part.keys()) == 1


def _is_base64(data: Any) -> bool:
    return (
        isinstance(data, str)
        and len(data) % 4 == 0
        and re.fullmatch(r"([A-Za-z0-9+/]+|[A-Za-z0-9_-]+)={0,2}", data) is not None
    )
