"""The context files of a stage, looked up: relative to the pipeline file, else to the working folder."""

import hashlib
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.stages import Stage
from pipeline.stages.context import Context


def found(stage: Stage, root: Path) -> tuple[Context, ...]:
    """The context of a stage with the hashes of its files.

    Raises:
        ConfigError: a file is not there or can't be read, or who answers the stage takes none.

    """
    if stage.context and stage.model == "local":
        raise ConfigError(
            f"stage {stage.name}: context is for models; the local engine reads the document alone. Name a model, "
            f"or leave it out"
        )
    return tuple(
        each if isinstance(each, Context) else _found(stage, each, root) for each in stage.context
    )


def _found(stage: Stage, name: str, root: Path) -> Context:
    path = (root / Path(name).expanduser()).absolute()
    told = f"stage {stage.name}: context {name!r}"
    try:
        with path.open("rb") as file:
            return Context(name, hashlib.file_digest(file, "sha256").hexdigest(), path)
    except IsADirectoryError as error:
        raise ConfigError(f"{told}: {path} is a folder; name its files") from error
    except OSError as error:
        raise ConfigError(f"{told}: {path}: {error.strerror}") from error
