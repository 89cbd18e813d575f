"""What the test server answers beside `generateContent`: the table of its other routes.

A route is a method, a pattern for the whole path (query included), what is wrong with a request, and
its answer. Each room of the services has its routes in a module of its own, listed in `_MODULES`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from tests.answers import Answer, Seen

if TYPE_CHECKING:
    from tests.server import Server

#: Modules with a list `ROUTES`.
_MODULES: tuple[str, ...] = (
    "tests.routes_gemini",
    "tests.routes_files",
    "tests.routes_vertex",
    "tests.routes_openai",
)


@dataclass(frozen=True)
class Route:
    """One address of a service; `state` of a server that routes share lies in `server.state`."""

    method: str
    path: str
    answer: Callable[[Seen, "Server"], Answer]
    violations: Callable[[Seen], Iterable[str]] = lambda seen: ()


def route_of(seen: Seen) -> Route | None:
    """The route of a request, if it is not `generateContent`."""
    return next(
        (
            route
            for route in _routes()
            if route.method == seen.method and re.fullmatch(route.path, seen.path)
        ),
        None,
    )


@lru_cache(maxsize=1)
def _routes() -> tuple[Route, ...]:
    return tuple(route for name in _MODULES for route in import_module(name).ROUTES)
