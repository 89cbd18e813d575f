"""Texts of earlier results as a list with keys, equal ones once; and the translations back in their places. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pipeline.document import Document
from pipeline.results import leaves
from pipeline.schema import Schema
from pipeline.validators.keep import differences
from pipeline.values.tokens import text_tokens

#: Texts of one request, and their tokens: answers of many rows lose some of them.
_TEXTS, MOST = 100, 2_000
#: Tokens around a text in an answer: its key, and the names of both.
_ROW: Final = 14
#: The answer to every list: constant, so that services that compile schemas do it once.
ANSWER: Final = Schema.of(
    {
        "title": "texts",
        "type": "object",
        "properties": {
            "texts": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"key": {"type": "string"}, "text": {"type": "string"}},
                    "required": ["key", "text"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["texts"],
        "additionalProperties": False,
    }
)


def data_of(document: Document) -> Any:
    """The JSON that a document is the text of."""
    return json.loads("".join(page.text for page in document.pages))


def texts_of(data: Any) -> Iterator[tuple[str, str]]:
    """Pointer and text of every leaf that is one to be translated, in their order."""
    for pointer, value in leaves(data):
        if isinstance(value, str) and _has_words(value):
            yield pointer, value


def first_places(data: Any) -> dict[str, str]:
    """Each text once, with the pointer of the first leaf that has it."""
    found: dict[str, str] = {}
    for pointer, text in texts_of(data):
        found.setdefault(text, pointer)
    return found


def lists(places: Mapping[str, str], most: int) -> Iterator[list[tuple[str, str]]]:
    """Pointers and texts in lists that one answer of `most` tokens can hold, a text at the least."""
    listed: list[tuple[str, str]] = []
    tokens = 0
    for text, pointer in places.items():
        own = text_tokens(text) + _ROW
        if listed and (len(listed) == _TEXTS or tokens + own > min(most, MOST)):
            yield listed
            listed, tokens = [], 0
        listed.append((pointer, text))
        tokens += own
    if listed:
        yield listed


def keyed(listed: Iterable[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], str]:
    """Keys with the pointers that they stand for; and the list as it is sent."""
    pairs = [(f"t{number}", *each) for number, each in enumerate(listed, 1)]
    sent = json.dumps({key: text for key, _, text in pairs}, ensure_ascii=False, indent=0)
    return tuple((key, pointer) for key, pointer, _ in pairs), sent


def sent_texts(sent: str) -> dict[str, str]:
    """The texts of a list as it was sent, by their keys."""
    found: dict[str, str] = json.loads(sent)
    return found


def answered(fields: Iterable[tuple[str, str]], data: Any) -> dict[str, str]:
    """The translations of an answer by the pointers that they are for; a key that has two different ones has none."""
    places = dict(fields)
    found: dict[str, str] = {}
    doubled: set[str] = set()
    rows = data.get("texts") if isinstance(data, dict) else None
    for row in rows if isinstance(rows, list) else ():
        key, text = (row.get("key"), row.get("text")) if isinstance(row, dict) else (None, None)
        pointer = places.get(key) if isinstance(key, str) else None
        if pointer is None or not isinstance(text, str) or not text.strip():
            continue
        if found.setdefault(pointer, text) != text:
            doubled.add(pointer)
    return {pointer: text for pointer, text in found.items() if pointer not in doubled}


def filled(data: Any, translations: Mapping[str, str]) -> Any:
    """The same structure with the translation of each text (by the text itself) in its place; null where it is missing."""
    if isinstance(data, dict):
        return {key: filled(value, translations) for key, value in data.items()}
    if isinstance(data, list):
        return [filled(value, translations) for value in data]
    if isinstance(data, str) and _has_words(data):
        return translations.get(data)
    return data


def _has_words(text: str) -> bool:
    """Whether anything of a text is a word: numbers, signs, and codes and addresses alone are none."""
    if not any(char.isalpha() for char in text):
        return False
    return bool(" " in text.strip() or not differences(text, "", ("codes",)))
