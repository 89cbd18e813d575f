"""The user's own Python code, as `module:name`: imported from one folder and from nowhere else."""

import importlib
import importlib.util
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

NAMED: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def found(text: str, folder: Path) -> Any:
    """What `module:name` means in a folder; its module is loaded, never one of the same name from elsewhere.

    Raises:
        ValueError: there is no such module or name, or loading it failed; the sentence says which.

    """
    if not NAMED.fullmatch(text):
        raise ValueError(f"{text}: not of the form module:name, imported from {folder}")
    module_name, _, name = text.partition(":")
    module = _imported(module_name, folder.resolve())
    if not hasattr(module, name):
        raise ValueError(f"{text}: {module_name} has no {name}")
    return getattr(module, name)


def _imported(module_name: str, folder: Path) -> Any:
    top = module_name.partition(".")[0]
    places = [folder / f"{top}.py", folder / top / "__init__.py", folder / top]
    if not any(place.exists() for place in places):
        raise ValueError(
            f"{module_name}: there is no {top}.py in {folder}, and code is imported from there only"
        )
    loaded = sys.modules.get(top)
    if loaded is not None:
        origin = getattr(loaded, "__file__", None) or next(
            iter(getattr(loaded, "__path__", ())), ""
        )
        if Path(origin).resolve() not in places:
            raise ValueError(
                f"{module_name}: the name {top} is taken by {origin or 'Python itself'} in this "
                f"process; rename {folder / top}"
            )
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        _must_lie_in(places, top)
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"importing {module_name} from {folder} failed: {type(error).__name__}: {error}"
        ) from error
    finally:
        with suppress(ValueError):
            sys.path.remove(str(folder))


def _must_lie_in(places: list[Path], top: str) -> None:
    """A package elsewhere goes before a folder without `__init__.py`, and parts of one may lie elsewhere too."""
    spec = importlib.util.find_spec(top)
    found = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    for place in filter(None, found):
        if Path(place).resolve() not in places:
            raise ImportError(f"{top} lies in {place} too; give {places[-1]} an __init__.py")
