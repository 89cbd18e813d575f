"""Vertex AI: its addresses by project and location, and the machine's own Google credentials.

Addresses: google-genai 3.4.0 (`_api_client.py`). With a key (express mode) neither project nor location
is named. Without one, application default credentials are used through google-auth: a file that
GOOGLE_APPLICATION_CREDENTIALS names, `gcloud auth application-default login`, or the machine's own account.
"""

import asyncio
import re
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from pipeline.errors import FieldsiftError, KeyRefused, SetupError, Transient, UsageError
from pipeline.providers import Endpoint
from pipeline.providers.once import Once

_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_GLOBAL: Final = "global"
#: Locations that span several regions.
_MULTI: Final = frozenset({"us", "eu"})
#: They become part of an address that gets the token: nothing else may stand in them.
_LOCATION: Final = re.compile(r"[a-z][a-z0-9-]{0,40}")
_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9.:-]{1,80}")
#: Seconds for one request to a token server.
_PATIENCE: Final = 30
_WAY_OUT: Final = (
    "run `gcloud auth application-default login`, or let GOOGLE_APPLICATION_CREDENTIALS name the file of "
    "a service account"
)


def is_vertex(endpoint: Endpoint) -> bool:
    """Whether an endpoint is Vertex AI."""
    return endpoint.provider == "vertex" or bool(endpoint.project)


def host(endpoint: Endpoint) -> str:
    """The base address of a location.

    Raises:
        UsageError: the location can't be one.

    """
    location = _location(endpoint)
    if endpoint.key or location == _GLOBAL:
        return "https://aiplatform.googleapis.com"
    if location in _MULTI:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def root(endpoint: Endpoint) -> str:
    """The path before the publisher: with project and location, or, with a key, without them.

    Raises:
        UsageError: project or location can't be one.

    """
    if endpoint.key:
        return "/v1"
    # Without a project nothing is sent: there are no headers for it either.
    project = endpoint.project or "-"
    if endpoint.project and not _PROJECT.fullmatch(project):
        raise UsageError(f"{endpoint.name}: GOOGLE_CLOUD_PROJECT {project!r} is no project id")
    return f"/v1/projects/{project}/locations/{_location(endpoint)}"


class GoogleCredentials:
    """A bearer token of the machine's own credentials, kept until shortly before it expires.

    Files are read and token servers asked in a thread, by one at a time.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._found: Any = None
        self._once: Once[None] = Once()

    async def headers(self) -> dict[str, str]:
        """`authorization`, and `x-goog-user-project` where the credentials name a project that pays.

        Raises:
            SetupError: there is no project, or there are no credentials, or google-auth is missing.
            KeyRefused: the token server does not accept them.
            Transient: the token server can't be reached, or fails.

        """
        if not self._endpoint.project:
            raise SetupError(
                f"{self._endpoint.name}: Vertex AI needs a project: set GOOGLE_CLOUD_PROJECT "
                "(and GOOGLE_CLOUD_LOCATION, else it is `global`), or take -m local"
            )
        if self._found is None or not self._found.valid:
            await self._once.do("token", self._refresh)
        return self._applied()

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """A request with these headers was answered with 401: whether there is another token now."""
        if self._applied().get("authorization") == refused.get("authorization"):
            await self._once.do("token", self._refresh)
        return True

    def shown(self) -> dict[str, str]:
        """The header for people: `gcloud auth application-default print-access-token` prints such a token."""
        return {"Authorization": "Bearer $GOOGLE_ACCESS_TOKEN"}

    def _applied(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        self._found.apply(headers)
        return headers

    async def _refresh(self) -> None:
        try:
            await asyncio.to_thread(self._refresh_here)
        except FieldsiftError:
            raise
        except Exception as error:  # noqa: BLE001, a token server can answer what google-auth does not expect
            raise KeyRefused(
                f"{self._endpoint.name}: no token for the Google credentials: {_said(error)}; {_WAY_OUT}"
            ) from None

    def _refresh_here(self) -> None:
        try:
            import google.auth
            from google.auth import exceptions
            from google.auth.transport.requests import Request
        except ImportError:
            raise SetupError(
                f"{self._endpoint.name} without a key needs Google's credentials library: "
                "pip install 'fieldsift[vertex]'"
            ) from None
        request: Any = partial(Request(), timeout=_PATIENCE)
        try:
            if self._found is None:
                with warnings.catch_warnings():  # what it advises people stands in our own messages
                    warnings.simplefilter("ignore")
                    self._found, _ = google.auth.default(scopes=[_SCOPE], request=request)
            self._found.refresh(request)
        except exceptions.DefaultCredentialsError as error:
            raise SetupError(
                f"no Google credentials for {self._endpoint.name}: {_WAY_OUT} ({_said(error)})"
            ) from None
        except exceptions.TransportError as error:
            raise Transient(
                "unreachable", f"no connection to the token server: {_said(error)}"
            ) from None
        except exceptions.RefreshError as error:
            if error.retryable:
                raise Transient("no_token", f"the token server fails: {_said(error)}") from None
            raise KeyRefused(
                f"the token server does not accept the Google credentials for {self._endpoint.name}: "
                f"{_said(error)}; {_WAY_OUT}"
            ) from None


def _location(endpoint: Endpoint) -> str:
    location = endpoint.location or _GLOBAL
    if not _LOCATION.fullmatch(location):
        raise UsageError(f"{endpoint.name}: GOOGLE_CLOUD_LOCATION {location!r} is no location")
    return location


def _said(error: Exception) -> str:
    """An error of google-auth in one line; its first argument only, the others hold answers as they came."""
    text = str(error.args[0]) if error.args else ""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (line[:200] or type(error).__name__).rstrip(".")
