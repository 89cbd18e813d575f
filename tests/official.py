"""What the official packages say of a body: google-genai's types, openai's types, and the fields that there are.

Nothing here was written by us but the walk: unknown fields, missing ones, other types and unknown words
are violations. The types of google-genai are pydantic models that forbid what they don't know. Those of
openai are typed dictionaries, walked by hand: pydantic reads their lists lazily, where it can neither
find unknown fields nor tell the members of a union.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from tests.answers import ANY_SHAPE

#: What stands in a body of `generateContent` beside google-genai's own models of its members: name -> type there.
_GENERATE = {
    "contents": "list[Content]",
    "systemInstruction": "Content",
    "generationConfig": "GenerationConfig",
    "safetySettings": "list[SafetySetting]",
    "tools": "list[Tool]",
    "toolConfig": "ToolConfig",
    "serviceTier": "ServiceTier",
    "cachedContent": "str",
    "model": "str",
    "store": "bool",
    "labels": "dict[str, str]",
}
#: Messages of the Gemini API by their names here: name -> type in google-genai.
_GENAI: dict[str, dict[str, str]] = {
    "generateContent": _GENERATE,
    "countTokens": {
        "contents": "list[Content]",
        "generateContentRequest": "_generateContent",
    },
    "cachedContents": {
        name: kind
        for name, kind in _GENERATE.items()
        if name in {"contents", "systemInstruction", "tools", "toolConfig", "model"}
    }
    | {"name": "str", "displayName": "str", "ttl": "str", "expireTime": "datetime"},
    "files": {"file": "File"},
}
#: What they are called in the protobuf package; Vertex AI counts the fields of a request as they are.
_PROTOBUF = {
    "gemini generateContent": "GenerateContentRequest",
    "vertex generateContent": "GenerateContentRequest",
    "gemini countTokens": "CountTokensRequest",
    "vertex countTokens": "GenerateContentRequest",
    "gemini cachedContents": "CachedContent",
    "gemini files": "CreateFileRequest",
}
_PLAIN: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    None: (NoneType,),
    NoneType: (NoneType,),
}


def genai_violations(message: str, body: Any) -> list[str]:
    """What the types of google-genai don't take in a body of `generateContent`, `countTokens`, `cachedContents`, `files`."""
    from pydantic import ValidationError

    try:
        _genai(message).model_validate_json(_json(body))
    except ValidationError as error:
        return [
            f"google-genai: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
            for wrong in error.errors(include_input=False, include_url=False)
        ]
    except (
        Warning
    ) as warned:  # an enum's unknown word is a warning there, and warnings are errors here
        return [f"google-genai: {warned}"]
    return []


def openai_violations(body: Any) -> list[str]:
    """What the types of openai don't take in a body of `chat/completions`."""
    from openai.types.chat import completion_create_params as params

    is_stream = isinstance(body, Mapping) and body.get("stream") is True
    kind = (
        params.CompletionCreateParamsStreaming
        if is_stream
        else params.CompletionCreateParamsNonStreaming
    )
    return [f"openai: {wrong}" for wrong in _wrong(body, kind, "body")]


def fields_of(message: str) -> set[str]:
    """All fields of an official message (`gemini generateContent`, `openai chat/completions`), as `wire.fields` names them."""
    from tests.wire import NEWER  # wire imports this module

    service, _, name = message.partition(" ")
    if service == "openai":
        from openai.types.chat import completion_create_params as params

        return set(_typed_fields(params.CompletionCreateParamsStreaming, "", ()))
    from google.ai import generativelanguage_v1beta

    descriptor = getattr(generativelanguage_v1beta, _PROTOBUF[message]).pb().DESCRIPTOR
    newer = {
        ".".join((*place, new)).replace(".*", "[]")
        for place, new, _ in (NEWER if name == "generateContent" else ())
    }
    return newer | set(_protobuf_fields(descriptor, "", ()))


@lru_cache
def _genai(message: str) -> Any:
    """The pydantic model of a message."""
    from datetime import datetime

    from google.genai import types
    from pydantic import ConfigDict, create_model

    names = vars(types) | {"datetime": datetime}
    if message == "countTokens":
        names["_generateContent"] = _genai("generateContent")
    # The names are those of the table above.
    members = {name: (_type(kind, names) | None, None) for name, kind in _GENAI[message].items()}
    config = ConfigDict(extra="forbid", strict=False)
    return create_model(message, __config__=config, **members)  # type: ignore[call-overload]


def _type(kind: str, names: Mapping[str, Any]) -> Any:
    """A type by its name in the tables; `list[X]` and `dict[str, str]` are understood."""
    if kind == "dict[str, str]":
        return dict[str, str]
    if kind.startswith("list["):
        return list[_type(kind[5:-1], names)]  # type: ignore[misc]
    return {"str": str, "bool": bool}.get(kind) or names[kind]


def _json(body: Any) -> bytes:
    """A body as bytes again: as JSON, pydantic takes base64 for bytes and text for times."""
    import json

    return json.dumps(body).encode()


def _wrong(value: Any, kind: Any, at: str) -> list[str]:
    """What a type hint does not take in a value."""
    origin, inner = get_origin(kind), get_args(kind)
    if _is_table(kind):
        return _wrong_in_table(value, kind, at)
    if origin in {Union, UnionType}:
        return min((_wrong(value, option, at) for option in inner), key=len)
    if inner and isinstance(value, list) and origin not in {dict, Literal}:
        return [w for n, item in enumerate(value) for w in _wrong(item, inner[0], f"{at}[{n}]")]
    return [] if _fits(value, kind) else [f"{at} is {value!r:.80}, not {kind!s:.200}"]


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind in _PLAIN:
        # To Python a bool is an int; in JSON it is none.
        return isinstance(value, _PLAIN[kind]) and (kind is bool or not isinstance(value, bool))
    return kind in {object, Any} or (get_origin(kind) is dict and isinstance(value, dict))


def _is_table(kind: Any) -> bool:
    return hasattr(
        kind, "__required_keys__"
    )  # typing knows only its own typed dictionaries, not typing_extensions'


def _wrong_in_table(value: Any, kind: Any, at: str) -> list[str]:
    if not isinstance(value, Mapping):
        return [f"{at} is {value!r:.80}, not an object"]
    hints = _hints(kind)
    unknown = [f"{at} has an unknown field {name}" for name in value.keys() - hints.keys()]
    required = {name for name, (_, is_required) in hints.items() if is_required}
    missing = [f"{at} has no {name}" for name in sorted(required - value.keys())]
    inside = [
        wrong
        for name, item in value.items()
        if name in hints
        for wrong in _wrong(item, hints[name][0], f"{at}.{name}")
    ]
    return [*unknown, *missing, *inside]


@lru_cache
def _hints(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The fields of a typed dictionary: type, and whether it must be there."""
    # `__required_keys__` alone does not see the marks: these modules' annotations are text when it is made.
    required = kind.__required_keys__
    found: dict[str, tuple[Any, bool]] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        mark: Any = get_origin(hint)
        plain = get_args(hint)[0] if mark in {Required, NotRequired} else hint
        found[name] = (plain, mark is Required or (name in required and mark is not NotRequired))
    return found


def _typed_fields(kind: Any, path: str, above: tuple[Any, ...]) -> Iterator[str]:
    if path:
        yield path
    if _is_table(kind):
        if kind not in above:
            for name, (hint, _) in _hints(kind).items():
                yield from _typed_fields(hint, f"{path}.{name}".lstrip("."), (*above, kind))
    elif get_origin(kind) in {Union, UnionType}:
        for option in get_args(kind):
            yield from _typed_fields(option, path, above)
    elif get_origin(kind) not in {dict, Literal, None}:
        for option in get_args(kind):
            yield from _typed_fields(option, f"{path}[]", above)


def _protobuf_fields(descriptor: Any, path: str, above: tuple[str, ...]) -> Iterable[str]:
    for field in descriptor.fields:
        place = f"{path}.{field.json_name}".lstrip(".") + ("[]" if field.is_repeated else "")
        yield place
        inner = field.message_type
        if inner is None or inner.GetOptions().map_entry or field.json_name in ANY_SHAPE:
            continue
        if inner.file.package.startswith("google.ai.") and inner.name not in above:
            yield from _protobuf_fields(inner, place, (*above, descriptor.name))
