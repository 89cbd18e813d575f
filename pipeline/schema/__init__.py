"""A user's schema: from a JSON Schema file, `module:Model`, the short form, or a shipped name."""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline import usercode
from pipeline.errors import SchemaError
from pipeline.schema.tree import Node, tree

__all__ = ["Node", "Schema", "shipped_names"]

#: One word: a name of what ships, or of a file, and never a field.
_WORD = re.compile(r"[\w-]+")
#: What the short form has and the path of a file has not.
_SHORT = re.compile(r"[,\n]|:\s")


@dataclass(frozen=True)
class Schema:
    """A JSON Schema (draft 2020-12 unless its `$schema` says otherwise) with the name of its stage.

    `body` is the user's schema, unchanged; `model_class` the pydantic model it was made from, if any;
    `source` says in words where it came from.
    """

    name: str
    body: Mapping[str, Any]
    model_class: type[Any] | None = field(default=None, compare=False)
    source: str = field(default="", compare=False)

    @cached_property
    def sha256(self) -> str:
        """The hash (hex) of the schema's canonical JSON."""
        text = json.dumps(self.body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def tree(self) -> Node:
        """The schema as a tree of objects, arrays and leaves, `$ref`s followed and `null` folded in."""
        return tree(self.body)

    @classmethod
    def of(cls, given: object, *, root: Path | None = None) -> "Schema":
        """Make a Schema of whatever the user named one with.

        Args:
            given: a Schema, a pydantic model class, a mapping, a path, or a text: the path of a JSON
                Schema file, `module:Model` (code in `root` itself, nowhere else), the name of a
                shipped schema, or the short form `'vendor, total float, date'`.
            root: the folder that paths and modules are looked for in; the working folder if None.

        Raises:
            SchemaError: nothing of that kind is there, or it is not a JSON Schema.

        """
        root = root or Path.cwd()
        if isinstance(given, Schema):
            return given
        if isinstance(given, type):
            return _of_model(given, source=given.__name__)
        if isinstance(given, Mapping):
            return _checked(str(given.get("title") or "extract"), _plain_json(given), "a mapping")
        if isinstance(given, Path):
            return _of_file(root / given)
        if isinstance(given, str):
            return _of_text(given, root)
        raise SchemaError(f"a schema can't be made of {type(given).__name__}")


def shipped_names() -> list[str]:
    """The names of the schemas that come with the product, sorted."""
    return sorted(path.stem for path in shipped("schemas").glob("*.json"))


def recipe_names() -> list[str]:
    """The names of the recipes that come with the product, sorted: all the shipped schemas, and those that need none."""
    return sorted(path.stem for path in shipped("schemas").glob("*.toml"))


def shipped(folder: str) -> Path:
    """A folder that the wheel carries under `pipeline/_shipped`, or the checkout at its top."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_shipped" / folder
    if inside.is_dir():
        return inside
    return package.parent / (folder if folder == "schemas" else f"fixtures/{folder}")


def slug(text: str) -> str:
    """A stage name (`[a-z][a-z0-9_-]*`, at most 60) made of any text; `extract` when nothing is left."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    name = re.sub(r"^[^a-z]+", "", re.sub(r"[^a-z0-9_-]+", "_", spaced.lower()))
    return re.sub(r"[^a-z0-9]+$", "", name[:60]) or "extract"


def _of_text(text: str, root: Path) -> Schema:
    from pipeline.schema.short import parse

    if text.endswith(".json") or ("/" in text and not _SHORT.search(text)):
        return _of_file(root / text)
    if usercode.NAMED.fullmatch(text):
        return _of_import(text, root)
    if _WORD.fullmatch(text):
        if text in shipped_names():
            found = _of_file(shipped("schemas") / f"{text}.json")
            return Schema(text, found.body, source=f"shipped with fieldsift: {text}")
        with suppress(OSError):  # a name that is longer than a file's can be
            if (root / text).is_file():
                return _of_file(root / text)
        raise SchemaError(_no_such(text))
    return _checked("extract", parse(text), f"the short form {text!r}")


def _no_such(word: str) -> str:
    """That no schema has this name, and what it may be meant for."""
    from difflib import get_close_matches

    from pipeline.schema.short import own_type

    if word in recipe_names():
        return f"the recipe {word} has no schema file: run it as a whole (`run -s {word}`), or make it yours with `init --recipe {word}`"
    near = get_close_matches(word[:64].lower().replace("-", "_"), recipe_names(), n=1, cutoff=0.75)
    named = word if len(word) < 64 else "name"
    return (
        f"no schema named {word[:64]!r}: {f'did you mean {near[0]}? ' if near else ''}shipped are "
        f"{', '.join(recipe_names())}; else give a JSON Schema file (schema.json), module:Model, or fields "
        f"('vendor, total float'); one field alone needs its type: '{named} {own_type(named)}'"
    )


def _of_file(path: Path) -> Schema:
    try:
        body = json.loads(path.read_bytes())
    except OSError as error:
        raise SchemaError(f"schema {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"schema {path}: not JSON: {error}") from error
    if not isinstance(body, dict):
        raise SchemaError(
            f"schema {path}: a JSON Schema is an object, this is {type(body).__name__}"
        )
    stem = path.name.removesuffix(".json").removesuffix(".schema")
    return _checked(slug(stem), body, str(path))


def _of_import(text: str, root: Path) -> Schema:
    try:
        found = usercode.found(text, root)
    except ValueError as error:
        raise SchemaError(f"schema {error}") from error
    if isinstance(found, Mapping):
        return _checked(slug(text.partition(":")[2]), _plain_json(found), text)
    return _of_model(found, source=text)


def _of_model(model: Any, source: str) -> Schema:
    from pydantic import BaseModel
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    if not (isinstance(model, type) and issubclass(model, BaseModel) and model is not BaseModel):
        raise SchemaError(
            f"schema {source}: not a pydantic model (a subclass of pydantic.BaseModel)"
        )
    try:
        body = model.model_json_schema()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise SchemaError(
            f"schema {source}: pydantic makes no JSON Schema of it: {error}"
        ) from error
    checked = _checked(slug(model.__name__), body, source)
    return Schema(checked.name, body, model, source)


def _plain_json(given: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping as JSON holds it, and a copy that nobody else changes."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(given)))
    except (TypeError, ValueError, RecursionError) as error:
        raise SchemaError(f"this mapping is not a JSON Schema: {error}") from error
    return plain


def _checked(name: str, body: dict[str, Any], source: str) -> Schema:
    """A Schema whose body is a JSON Schema, its references resolvable without the network.

    `$schema` may name an older draft; one that is not known is read as draft 2020-12.
    """
    from jsonschema import FormatChecker
    from jsonschema import SchemaError as NotASchema
    from jsonschema.validators import Draft202012Validator, validator_for

    schema = Schema(slug(name), body, source=source)
    try:
        if not isinstance(body.get("$schema", ""), str):
            raise SchemaError("$schema is the address of a dialect, a string")
        draft = validator_for(body, default=Draft202012Validator)
        # Patterns are ECMA's, which Python's own `re` can't all read; they are tried apart.
        no_formats: Any = {"format_checker": FormatChecker(())}  # newer than its protocol's types
        draft.check_schema(body, **no_formats)
        _try_patterns(body)
        root = schema.tree
    except NotASchema as error:
        where = "/".join(map(str, error.absolute_path)) or "its top"
        raise SchemaError(
            f"schema {source}: not a JSON Schema, at {where}: {error.message}"
        ) from error
    except (SchemaError, ValueError) as error:
        raise SchemaError(f"schema {source}: {error}") from error
    except RecursionError as error:
        raise SchemaError(f"schema {source}: nested too deeply") from error
    if root.type not in {"object", "array", "any"}:
        raise SchemaError(f"schema {source}: describes a {root.type}; ask for an object")
    if root.type == "any" and "anyOf" not in root.schema:
        inner = next((key for key, value in body.items() if _has_properties(value)), None)
        hint = f"is it the part under {inner!r}?" if inner else "is it an example of the data?"
        raise SchemaError(
            f"schema {source}: says nothing about what to extract: a JSON Schema of an object has "
            f"'type': 'object' and 'properties' ({hint})"
        )
    return schema


def _try_patterns(body: Mapping[str, Any]) -> None:
    """Every pattern of a schema must be a regular expression.

    Raises:
        SchemaError: names the one that is not.

    """
    import regex  # type: ignore[import-untyped]  # it ships no type information

    stack: list[tuple[str, Any]] = [("", body)]
    while stack:
        where, node = stack.pop()
        if isinstance(node, list):
            stack += [(f"{where}/{index}", inner) for index, inner in enumerate(node)]
        if not isinstance(node, Mapping):
            continue
        skipped = {"enum", "const", "default"}
        stack += [(f"{where}/{key}", inner) for key, inner in node.items() if key not in skipped]
        named = node.get("patternProperties")
        patterns = [*(named if isinstance(named, Mapping) else ()), node.get("pattern")]
        for pattern in patterns:
            try:
                regex.compile(pattern if isinstance(pattern, str) else "")
            except (regex.error, RecursionError, OverflowError) as error:
                raise SchemaError(
                    f"not a JSON Schema, at {where[1:]}/pattern: {pattern!r} is no regular expression: {error}"
                ) from error


def _has_properties(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("properties"), Mapping)
