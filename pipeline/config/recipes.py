"""Recipes: the stage files that ship beside the schemas, each a job that works as it is."""

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.schema import shipped

#: What stands before a recipe's stages in the pipeline.toml that `init` makes of it.
_HEAD = """\
#:schema ./pipeline.schema.json
version = 1

[run]
input = "inbox"
output = "out"
model = "auto"          # {model}

"""
_AUTO = "Gemini when a key is there, else the engine that runs here"
_KEYED = (
    "the first key that is found names the service; the engine that runs here does not do this job"
)
#: What the engine that runs here reads well enough to be used: measured with our documents, see tests/test_recipes.py.
_LOCAL = frozenset({"contract", "identity_document", "invoice", "nda", "purchase_order", "receipt"})


def recipes() -> dict[str, str]:
    """The name of every recipe, sorted, and what it is for: the first line of its file."""
    return {
        path.stem: path.read_text("utf-8").partition("\n")[0].removeprefix("#").strip()
        for path in sorted(shipped("schemas").glob("*.toml"))
    }


def stage_file(name: object) -> Path | None:
    """The stage file of a recipe; None where nothing of that name ships."""
    if not isinstance(name, str) or not name.isidentifier():
        return None
    path = shipped("schemas") / f"{name}.toml"
    return path if path.is_file() else None


def in_words() -> str:
    """All recipes, a line each."""
    told = recipes()
    wide = max(map(len, told))
    return "\n".join(f"  {name:<{wide}}  {what}" for name, what in told.items())


def is_local(name: str) -> bool:
    """Whether the engine of this machine does a recipe's job well enough to be used for it."""
    return name in _LOCAL


def folder_of(name: str) -> dict[Path, bytes]:
    """What `init --recipe NAME` writes: paths below its folder, and their content.

    Raises:
        UsageError: there is no such recipe; tells those that there are.

    """
    return dict(_files(name))


def _files(name: str) -> Iterator[tuple[Path, bytes]]:
    from pipeline.config.file import json_schema, parse

    file = _found(name)
    text = file.read_text("utf-8")
    head = _HEAD.format(model=_AUTO if is_local(name) else _KEYED)
    yield Path("pipeline.toml"), (head + text).encode()
    yield Path("pipeline.schema.json"), (json.dumps(json_schema(), indent=2) + "\n").encode()
    for stage in parse(text, file).stage:
        if stage.schema_:
            yield Path(stage.schema_), (file.parent.parent / stage.schema_).read_bytes()
    for document in sorted((shipped("recipes") / name / "inbox").iterdir()):
        yield Path("inbox", document.name), document.read_bytes()


def _found(name: str) -> Path:
    if (file := stage_file(name)) is None:
        raise UsageError(f"there is no recipe {name!r}; there are\n{in_words()}")
    return file
