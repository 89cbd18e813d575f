"""Words of a page's picture (OCR), inside the child process: `prepare`, `version` and `read`.

Importing this room is cheap; what it needs is the extra `local`. `prepare` loads all of it, and after
that nothing is imported, opened or downloaded any more: there is no code here that knows a network.
"""

from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipeline.document import Page

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipeline.ocr.models import Models

#: Counts the changes of this room that may change what is read.
REVISION = 2
#: The packages of the extra `local`, by the names they are imported and installed by.
_NEEDED = {"rapidocr": "rapidocr", "onnxruntime": "onnxruntime", "cv2": "opencv-python-headless"}


def missing() -> str | None:
    """The packages of the extra `local` that are not installed, or None; nothing is imported."""
    names = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    return ", ".join(names) or None


@cache
def version() -> str:
    """The tools with their versions, e.g. `rapidocr 3.10.0, onnxruntime 1.31.1, revision 2`.

    Another string means that the same picture may be read differently: the models ship inside
    rapidocr's wheel, so its version is theirs.
    """
    return f"rapidocr {_installed('rapidocr')}, onnxruntime {_installed('onnxruntime')}, revision {REVISION}"


def _installed(package: str) -> str:
    """A version, also where another distribution brings the module (onnxruntime-gpu, conda)."""
    try:
        return installed(package)
    except PackageNotFoundError:
        return "of another distribution"


def prepare() -> None:
    """Import the tools and load the models (about a second), so that `read` needs nothing more.

    Raises:
        ImportError: a package of the extra `local` is missing, or has no models inside.

    """
    _models()
    version()


def read(picture: "Image") -> Page:
    """The words of a picture of mode 1, L or RGB and any size, as page 1, a point of the picture each point.

    Lines of one height are one line of its text; two blanks part what a wide gap parts. `reader` and
    `turn` are set; `fields` are the boxes and circles to tick. A picture without words gives a page without text.

    Raises:
        LoadError: `too_large` (more lines of text than are read).
        MemoryError: it takes more memory than is allowed.

    """
    from pipeline.ocr import marks
    from pipeline.ocr.reading import read_page

    page = read_page(_models(), picture, version())
    return replace(page, fields=marks.on_page(picture, page))


@cache
def _models() -> "Models":
    from pipeline.ocr.models import Models

    return Models()
