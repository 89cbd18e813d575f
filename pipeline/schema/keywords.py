"""What becomes of each JSON Schema keyword in each dialect, and why: the table that `schema lint` reads."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pipeline.schema.dialects import Dialect
from pipeline.schema.dialects.flat import Json
from pipeline.schema.dialects.outline import FORMATS, WORDS

#: `enforced` by the service; `told` to the model in words and checked here; `checked` here alone.
Fate = Literal["enforced", "told", "checked"]

#: Keywords that say nothing about what is valid.
ANNOTATIONS: Final = frozenset(
    """$schema $id $comment $anchor $vocabulary $defs definitions title description default examples
    deprecated readOnly writeOnly id contentEncoding contentMediaType contentSchema propertyOrdering example
    """.split()  # noqa: SIM905, a table
)
_ALL: Final[tuple[Dialect, ...]] = ("gemini", "gemini-openapi", "openai")
_ENFORCED: Final[Mapping[str, tuple[Dialect, ...]]] = {
    "type": _ALL,
    "properties": _ALL,
    "required": _ALL,
    "items": _ALL,
    "anyOf": _ALL,
    "oneOf": _ALL,
    "allOf": _ALL,
    "$ref": _ALL,
    "enum": _ALL,
    "const": _ALL,
    "format": _ALL,
    "prefixItems": ("gemini",),
    "additionalItems": ("gemini",),
    "additionalProperties": ("gemini", "openai"),
}
_LARGE: Final = "Gemini answers large ones on nested arrays with a bare 400; no bound is sent"
_STATES: Final = 'Gemini may answer "too many states for serving"'
_IGNORED: Final = "Gemini ignores it"
_LACKING: Final = "Google's Schema has no such keyword"
_SOME: Final = "not every model of OpenAI takes it"
_UNLISTED: Final = "OpenAI does not list it as supported"
_REFUSED: Final = "OpenAI refuses it"
_MAP: Final = "; the keys' values go along as a map"
#: Why each dialect, in the order of `_ALL`, is not sent a keyword as it is; one reason alone is that of all.
_REASONS: Final[Mapping[str, tuple[str, ...]]] = {
    "minItems maxItems": (_LARGE, _LARGE, _SOME),
    "minLength maxLength minProperties maxProperties": (_IGNORED, _IGNORED, _UNLISTED),
    "uniqueItems contains minContains maxContains propertyNames unevaluatedItems unevaluatedProperties": (
        _IGNORED, _LACKING, _UNLISTED,
    ),
    "pattern": (_IGNORED, _STATES, _SOME),
    "minimum maximum": (_STATES, _STATES, _SOME),
    "exclusiveMinimum exclusiveMaximum multipleOf": (_IGNORED, _LACKING, _SOME),
    "not if then else dependentRequired dependentSchemas": (_IGNORED, _LACKING, _REFUSED),
    "patternProperties": (_IGNORED + _MAP, _LACKING + _MAP, _UNLISTED + _MAP),
    "oneOf": ("sent as anyOf; that only one of them matches is checked here",),
    "allOf": ("its parts are sent as one schema",),
    "const": ("sent as an enum of one",),
    "$ref": ("sent in place",),
    "format": ("other formats than date, time and date-time are ignored or refused",),
    "enum": ("services take texts and numbers only",),
    "prefixItems": ("", *("sent as a list of what may stand at any place",) * 2),
    "additionalProperties": ("", _LACKING, ""),
}  # fmt: skip
_WHY: Final[Mapping[str, Mapping[Dialect, str]]] = {
    keyword: dict(zip(_ALL, reasons * 3 if len(reasons) == 1 else reasons, strict=True))
    for keywords, reasons in _REASONS.items()
    for keyword in keywords.split()
}
_OTHER: Final = "services ignore or refuse it"
#: Every keyword that is known: drafts 4 to 2020-12.
KNOWN: Final = frozenset(
    {*ANNOTATIONS, *_ENFORCED, *_WHY, *WORDS, "$dynamicRef", "$recursiveRef", "$dynamicAnchor"}
    | {"dependencies", "$recursiveAnchor", "nullable", "discriminator"}
)


def fate(keyword: str, schema: Json, dialect: Dialect) -> Fate:
    """What a dialect makes of a keyword of a sub-schema."""
    value = schema[keyword]
    if keyword in _ENFORCED:
        if dialect in _ENFORCED[keyword] and _is_taken(keyword, value, dialect):
            return "enforced"
        return "told" if keyword in {"format", "enum", "const"} else "checked"
    return "told" if keyword in WORDS or keyword == "patternProperties" else "checked"


def why(keyword: str, dialects: Iterable[Dialect]) -> str:
    """Why some dialects are not sent a keyword as it is; empty where they are."""
    other = "" if keyword in _ENFORCED else _OTHER
    reasons = [_WHY[keyword][each] if keyword in _WHY else other for each in dialects]
    return ", ".join(dict.fromkeys(filter(None, reasons)))


def _is_taken(keyword: str, value: Any, dialect: Dialect) -> bool:
    if keyword == "format":
        return value in (FORMATS if dialect != "gemini-openapi" else {"date-time"})
    if keyword in {"enum", "const"}:
        values = value if keyword == "enum" and isinstance(value, list) else [value]
        kinds: tuple[type, ...] = (str,) if dialect == "gemini-openapi" else (str, int, float)
        return all(
            value is None or (isinstance(value, kinds) and not isinstance(value, bool))
            for value in values
        )
    return True
