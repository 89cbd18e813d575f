"""Bodies of answers as bytes: the JSON in them, or what they are in its place."""

import json
from typing import Any, Final

from pipeline.errors import ReplyError

_LONGEST_WORD: Final = 120


def parse(body: bytes) -> Any:
    """The JSON of a body.

    Raises:
        ReplyError: `not_json`: it is none, or not UTF-8, or nested beyond reason.

    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        kind = (
            "is empty"
            if not body.strip()
            else "is a web page (HTML)"
            if is_html(body)
            else "is not JSON"
        )
        way_out = "; check the address of the service" if kind == "is a web page (HTML)" else ""
        raise ReplyError(
            "not_json", f"the service's answer {kind} ({len(body)} bytes){way_out}"
        ) from error


def is_html(body: bytes) -> bool:
    """Whether a body is a web page, as proxies and wrong addresses give them."""
    return body.lstrip()[:1] == b"<"


def depth(data: Any) -> int:
    """How many levels of lists and objects JSON data has; a bare value has one. Never recursive."""
    levels, level = 0, [data]
    while level:
        levels += 1
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return levels


def word(value: Any) -> str:
    """A name or a reason that stands in messages: one line, nothing that moves a cursor, not long."""
    given = value[:_LONGEST_WORD] if isinstance(value, str) else ""
    return "".join(c for c in given if c.isprintable()).strip()
