"""Loaders: bytes in, Document out, each file read in a child process under limits.

`sniff` tells a file's kind, `LOADERS` which module reads it, `Loaders` reads and draws. The
modules `pdf`, `image` and `text` each have `load(content, media_type) -> Reading`, `picture(content,
page, dpi, side) -> PIL image` and `prepare()`, `pdf` also `cut(content, pages) -> bytes`; they are imported
by the child alone.
"""

from typing import TYPE_CHECKING

from pipeline.loaders.kinds import LOADERS, has_look, sniff, way_out

if TYPE_CHECKING:
    from pipeline.loaders.children import Limits as Limits
    from pipeline.loaders.children import Loaders as Loaders

__all__ = ["LOADERS", "Limits", "Loaders", "has_look", "sniff", "way_out"]


def __getattr__(name: str) -> object:
    """Load the parent's side when it is first used: a child never needs it."""
    if name not in {"Limits", "Loaders"}:
        raise AttributeError(f"module 'pipeline.loaders' has no attribute {name!r}")
    from pipeline.loaders import children

    return getattr(children, name)
