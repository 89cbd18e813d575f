"""What stands in a row: its JSON or its cells, checked, and the names that ids give."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from pipeline.errors import LoadError
from pipeline.rows.cells import cells

#: How deep the JSON of a row may be nested: whoever walks it afterwards must not run out of stack.
_DEEPEST: Final = 100
#: Characters of an id at the most.
_LONGEST_ID: Final = 500
#: What is escaped in the id of a row: it stands in names behind a `#`.
_ESCAPED: Final = re.compile(r"[\x00-\x1f\x7f#!%/\\\ud800-\udfff]")


def of_json(text: str) -> Any:
    """The JSON value of a line.

    Raises:
        LoadError: `not_json`.

    """
    try:
        value = json.loads(
            text.lstrip("\ufeff"),
            parse_constant=_refused,
            parse_float=_finite,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        raise LoadError("not_json", f"not JSON: {error.msg} at character {error.colno}") from error
    except RecursionError as error:
        raise LoadError("not_json", "not JSON that can be kept: nested too deeply") from error
    except ValueError as error:
        raise LoadError("not_json", f"not JSON that can be kept: {error}") from error
    if text.count("[") + text.count("{") > _DEEPEST and _is_too_deep(value):
        raise LoadError("not_json", "not JSON that can be kept: nested too deeply")
    return value


def of_table(record: str, delimiter: str, columns: Sequence[str]) -> dict[str, str]:
    """The cells of a record by column.

    Raises:
        LoadError: `wrong_cells`, they are not as many as the header has; blank ones behind the last are let go.

    """
    found = cells(record, delimiter)
    while len(found) > len(columns) and not found[-1].strip():
        found.pop()
    if len(found) != len(columns):
        told = f"{len(found)} cells, and the header has {len(columns)}"
        raise LoadError("wrong_cells", told)
    return dict(zip(columns, found, strict=True))


def id_of(value: Any, field: str) -> str:
    """The id of a row.

    Raises:
        LoadError: `no_id`, it has none.

    """
    found = value.get(field) if isinstance(value, dict) else None
    if isinstance(found, int | float) and not isinstance(found, bool):
        found = json.dumps(found)
    if not isinstance(found, str) or not found.strip():
        raise LoadError("no_id", f"no id: its field {field} is no text and no number, or blank")
    if len(found) > _LONGEST_ID:
        raise LoadError("no_id", f"an id of more than {_LONGEST_ID} characters names no document")
    return found.strip()


def name_of(id: str) -> str:  # noqa: A002, an id it is
    """An id as it stands in the name of a document: what has a meaning there, or can't be written, is %-escaped."""
    return _ESCAPED.sub(
        lambda found: "".join(f"%{b:02X}" for b in found[0].encode("utf-8", "surrogatepass")), id
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refused(text)


def _refused(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is not a number that can be kept")


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
