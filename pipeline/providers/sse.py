"""Server-sent events of a streamed answer, taken apart: the data of each event.

Rules: WHATWG HTML, section 9.2.6 (lines end with LF, CRLF or CR; several `data` lines are one text;
what begins with a colon is a comment). Not followed in one point: an event without the blank line
after it counts too, because services end the connection in its place; whether it came whole is for
the reader of its JSON to tell.
"""

import re
from collections.abc import Iterator
from typing import Final

from pipeline.errors import ReplyError

_BOM: Final = b"\xef\xbb\xbf"
#: A line, or the ends of one or several lines.
_PIECE: Final = re.compile(rb"[^\r\n]+|[\r\n]+")
_LINE_ENDS: Final = frozenset({b"\n", b"\r", b"\r\n"})
_FIELD: Final = re.compile(rb"\s*(?:data|event|id|retry)?:")


def is_stream(body: bytes) -> bool:
    """Whether a body is server-sent events: its first line is a field or a comment of theirs."""
    return _FIELD.match(body.removeprefix(_BOM)) is not None


def events(body: bytes) -> Iterator[str]:
    """The data of each event, in order; events without data (comments, pings) are left out.

    Raises:
        ReplyError: `not_json`: the data is not UTF-8.

    """
    data: list[bytes] = []
    # One after another: a list of all lines is many times the body where they are short.
    for found in _PIECE.finditer(body.removeprefix(_BOM)):
        piece = found[0]
        name, _, value = piece.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif piece[:1] in {b"\r", b"\n"} and piece not in _LINE_ENDS:
            yield from _event(data)
            data = []
    yield from _event(data)


def _event(data: list[bytes]) -> Iterator[str]:
    text = b"\n".join(data)
    try:
        if text:
            yield text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReplyError(
            "not_json", f"an event of the service's answer is not UTF-8 ({len(text)} bytes)"
        ) from error
