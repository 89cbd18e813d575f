"""fieldsift as a library: the public names, each loaded when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.api import Pipeline as Pipeline
    from pipeline.api import aextract as aextract
    from pipeline.api import extract as extract
    from pipeline.api import validate as validate
    from pipeline.document import Document as Document
    from pipeline.errors import FieldsiftError as FieldsiftError
    from pipeline.results import Evidence as Evidence
    from pipeline.results import Finding as Finding
    from pipeline.results import Result as Result
    from pipeline.schema import Schema as Schema
    from pipeline.stages import Stage as Stage
    from pipeline.stages import stage as stage

__version__ = "0.1.0"

_HOMES = {
    "Document": "pipeline.document",
    "Evidence": "pipeline.results",
    "FieldsiftError": "pipeline.errors",
    "Finding": "pipeline.results",
    "Pipeline": "pipeline.api",
    "Result": "pipeline.results",
    "Schema": "pipeline.schema",
    "Stage": "pipeline.stages",
    "stage": "pipeline.stages",
    "aextract": "pipeline.api",
    "extract": "pipeline.api",
    "validate": "pipeline.api",
}
__all__ = [
    "Document",
    "Evidence",
    "FieldsiftError",
    "Finding",
    "Pipeline",
    "Result",
    "Schema",
    "Stage",
    "aextract",
    "extract",
    "stage",
    "validate",
]


def __getattr__(name: str) -> object:
    """Load a public name from its home, so that `import pipeline` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
