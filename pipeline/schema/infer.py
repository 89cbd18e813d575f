"""A schema from examples: what is in all of them is required, what varies is optional and may be null."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final

from pipeline.errors import SchemaError

Json = dict[str, Any]

#: Formats that are named where every example is of one, the first that fits.
_FORMATS: Final = ("date", "date-time", "time", "uuid", "email", "uri")
#: An object with more different keys than this is a map: its keys are data.
_MOST_KEYS: Final = 200
#: So is one with this many keys, none of which is in half of the examples.
_MANY_KEYS: Final = 20
_MOST_PLACES: Final = 20_000
_DEEPEST: Final = 64
#: Texts are an enum where there are at most so many different ones, each so short, and each
#: stands there so often on average.
_FEW_VALUES: Final = 10
_SHORT: Final = 40
_OFTEN: Final = 4
_KINDS: Final = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}


def infer(examples: Iterable[Any]) -> Json:
    """A JSON Schema (draft 2020-12) for which every example is valid; the same for the same examples.

    The examples are JSON values, objects or arrays, taken one at a time; what is kept of them grows with
    the number of different keys, not of examples. A key that not all have may be null too. Texts get
    a format only where all of them fit it. Keys that look like data (hundreds, or many that are rarely
    there) make a map.

    Raises:
        SchemaError: there is no example, one is neither object nor array, is nested more than 64
            levels deep, or all together have more than 20,000 places.

    """
    root = _Place(_Count())
    for number, example in enumerate(examples, start=1):
        if not isinstance(example, dict | list):
            raise SchemaError(f"example {number} is no object or array: nothing to extract in it")
        try:
            root.add(example)
        except RecursionError as error:
            raise SchemaError(f"example {number} is nested too deeply") from error
    if not root.kinds:
        raise SchemaError("there is no example to infer a schema from")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root.schema()}


class _Count:
    """How many places there are in all."""

    def __init__(self) -> None:
        self.places = 0

    def one_more(self) -> None:
        self.places += 1
        if self.places > _MOST_PLACES:
            raise SchemaError(
                f"the examples have more than {_MOST_PLACES:,} different places; give fewer or simpler ones"
            )


class _Place:
    """What was seen at one place of all examples."""

    def __init__(self, count: _Count, depth: int = 0) -> None:
        count.one_more()
        if depth > _DEEPEST:
            raise SchemaError(f"an example is nested more than {_DEEPEST} levels deep")
        self._count, self._depth = count, depth
        self.kinds: Counter[str] = Counter()
        self.texts: Counter[str] | None = Counter()
        self.formats = list(_FORMATS)
        self.keys: dict[str, _Place] = {}
        self.others: _Place | None = None
        self.items: _Place | None = None

    def add(self, value: Any) -> None:
        """One more value."""
        self.kinds[_KINDS.get(type(value), "null")] += 1
        if isinstance(value, str):
            self._add_text(value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                self._at(key).add(inner)
        elif isinstance(value, list):
            for inner in value:
                self.items = self.items or self._new()
                self.items.add(inner)

    def _new(self) -> "_Place":
        return _Place(self._count, self._depth + 1)

    def _at(self, key: str) -> "_Place":
        if self.others is None and key not in self.keys:
            self.keys[key] = self._new()
            if len(self.keys) > _MOST_KEYS:
                self.others = self._all_keys()
                self.keys = {}
        return self.keys[key] if self.others is None else self.others

    def _all_keys(self) -> "_Place":
        """What all keys hold, as one."""
        whole = self._new()
        for inner in self.keys.values():
            whole.merge(inner)
        return whole

    def merge(self, other: "_Place") -> None:
        """All that was seen at another place, too."""
        self.kinds += other.kinds
        self.formats = [
            name for name in self.formats if name in other.formats or not other.kinds["string"]
        ]
        for text, times in (other.texts or {}).items():
            self._keep_text(text, times)
        if other.texts is None:
            self.texts = None
        for key, inner in other.keys.items():
            self._at(key).merge(inner)
        if other.others is not None:
            self.others = self.others or self._all_keys()
            self.keys = {}
            self.others.merge(other.others)
        if other.items is not None:
            self.items = self.items or self._new()
            self.items.merge(other.items)

    def _add_text(self, text: str) -> None:
        if self.formats:
            self.formats = [name for name in self.formats if _is(text, name)]
        self._keep_text(text, 1)

    def _keep_text(self, text: str, times: int) -> None:
        if self.texts is None:
            return
        self.texts[text] += times
        if len(self.texts) > _FEW_VALUES or len(text) > _SHORT:
            self.texts = None

    def schema(self, *, optional: bool = False) -> Json:
        """What was seen, as a schema; `optional` ones may be null."""
        kinds = [kind for kind in sorted(self.kinds) if kind != "null"]
        if "number" in kinds and "integer" in kinds:
            kinds.remove("integer")
        null = ["null"] if optional or self.kinds["null"] else []
        if not kinds:  # nothing but null was seen
            return {"type": ["string", "null"]}
        if len(kinds) > 1 and {"object", "array"} & set(kinds):
            options = [{"type": kind, **self._of(kind, [])} for kind in kinds]
            return {"anyOf": [*options, *({"type": kind} for kind in null)]}
        types = [*kinds, *null]
        told = self._of(kinds[0], null) if len(kinds) == 1 else {}
        return {"type": types if len(types) > 1 else types[0], **told}

    def _of(self, kind: str, null: list[str]) -> Json:
        if kind == "object":
            return self._object()
        if kind == "array":
            return {"items": self.items.schema()} if self.items else {}
        if kind != "string":
            return {}
        if self.formats:
            return {"format": self.formats[0]}
        texts: Mapping[str, int] = self.texts or {}
        if texts and self.kinds["string"] >= max(_FEW_VALUES, _OFTEN * len(texts)):
            return {"enum": [*sorted(texts), *([None] if null else [])]}
        return {}

    def _object(self) -> Json:
        rare = all(
            2 * sum(place.kinds.values()) < self.kinds["object"] for place in self.keys.values()
        )
        if self.others is None and len(self.keys) > _MANY_KEYS and rare:
            return {"additionalProperties": self._all_keys().schema()}
        if self.others is not None:
            return {"additionalProperties": self.others.schema()}
        required = [
            key
            for key, place in self.keys.items()
            if sum(place.kinds.values()) == self.kinds["object"]
        ]
        properties = {
            key: place.schema(optional=key not in required) for key, place in self.keys.items()
        }
        return {
            "properties": properties,
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }


def _is(text: str, name: str) -> bool:
    """Whether a text is of a format, as our own validation reads it; `uri` only with `://`."""
    from jsonschema import Draft202012Validator

    if name == "uri" and "://" not in text:
        return False
    return bool(Draft202012Validator.FORMAT_CHECKER.conforms(text, name))


def from_table(rows: Iterable[dict[str, str]]) -> Iterable[Json]:
    """Rows of a table as examples: cells that are numbers or booleans become such, empty ones null.

    A column is only then of numbers when every cell of it is; so the rows are gone through twice.
    """
    kept = list(rows)
    columns = dict.fromkeys(chain.from_iterable(kept))
    readers = {column: _reader([row.get(column) or "" for row in kept]) for column in columns}
    for row in kept:
        yield {column: readers[column](row.get(column) or "") for column in columns}


def _reader(cells: list[str]) -> Any:
    filled = [cell for cell in cells if cell.strip()]
    for read in (_whole, _number, _boolean):
        if filled and all(read(cell) is not None for cell in filled):
            return read
    return lambda cell: cell if cell.strip() else None


def _whole(cell: str) -> int | None:
    text = cell.strip()
    plain = text.removeprefix("-")
    leads = len(plain) > 1 and plain.startswith("0")  # a code, like 007
    return (
        int(text) if plain.isascii() and plain.isdigit() and not leads and len(plain) < 16 else None
    )


def _number(cell: str) -> float | None:
    text = cell.strip()
    whole, dot, part = text.removeprefix("-").partition(".")
    if _whole(whole) is None or (dot and not (part.isascii() and part.isdigit())):
        return None
    return float(text)


def _boolean(cell: str) -> bool | None:
    return {"true": True, "false": False}.get(cell.strip().lower())
