"""Context: a file that every document of a stage is read beside, as it was found; its content is part of the stage."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Context:
    """A file by its name as it was written, and the hash (hex) of its content; where it lies does not matter."""

    name: str
    sha256: str
    path: Path = field(compare=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:8]})"

    def to_json(self) -> dict[str, str]:
        """What tells it from others."""
        return {"name": self.name, "sha256": self.sha256}
