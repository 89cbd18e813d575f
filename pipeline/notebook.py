"""Tables for notebooks: escaped and bounded, since what stands in them comes from documents."""

import html
from collections.abc import Iterable, Sequence
from typing import Any, Final

#: Letters of a cell that are shown.
_LONGEST: Final = 200


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in HTML: every cell as text, long ones cut."""
    head = "".join(f'<th scope="col">{_cell(each)}</th>' for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{_cell(v)}</td>" for v in row) + "</tr>" for row in rows)
    return (
        f"<table><caption>{_cell(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    # A character that is half of one, as damaged texts have them, can't be sent to a browser.
    return html.escape(shown.encode("utf-8", "replace").decode())
