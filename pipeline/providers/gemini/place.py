"""Place: where a model's methods lie and how a request says who asks; for the Gemini API and for Vertex AI."""

from dataclasses import dataclass
from urllib.parse import quote

from pipeline.providers import Endpoint
from pipeline.providers.gemini import vertex
from pipeline.providers.http import Credentials, KeyHeader


@dataclass(frozen=True, slots=True)
class Place:
    """One service: its base address, and below it `root` (`/v1beta`) and `models` (`models`)."""

    base_url: str
    root: str
    models: str
    credentials: Credentials

    def path(self, model: str = "", method: str = "") -> str:
        """Where a model's method lies: `/v1beta/models/ID:generateContent`; without one, a model or their list.

        On Vertex AI models belong to no project, only their methods do.
        """
        named = f"/{quote(model.removeprefix('models/'), safe='')}" if model else ""
        if method:
            return f"{self.root}/{self.models}{named}:{method}"
        return f"{self.version}/{self.models}{named}"

    @property
    def version(self) -> str:
        """The first step of every path: `/v1beta`."""
        return self.root.partition("/projects/")[0]

    def model(self, model: str) -> str:
        """A model's name in bodies: `models/ID`, on Vertex AI with its project and location."""
        within = self.root.partition("/projects/")[2]
        prefix = f"projects/{within}/" if within else ""
        return f"{prefix}{self.models}/{model.removeprefix('models/')}"


def place_of(endpoint: Endpoint) -> Place:
    """The place of an endpoint.

    Raises:
        UsageError: project or location can't be one.

    """
    # An address with a version at its end, as gateways give it, is cut.
    base_url = (endpoint.base_url or endpoint.service.base_url).rstrip("/")
    base_url = base_url.removesuffix("/v1").removesuffix("/v1beta")
    if endpoint.service.auth == "bearer":
        key = KeyHeader(endpoint, "Authorization", "Bearer {}")
    else:
        key = KeyHeader(endpoint, "x-goog-api-key")
    if not vertex.is_vertex(endpoint):
        return Place(base_url, "/v1beta", "models", key)
    return Place(
        base_url=base_url or vertex.host(endpoint),
        root=vertex.root(endpoint),
        models="publishers/google/models",
        credentials=key if endpoint.key else vertex.GoogleCredentials(endpoint),
    )
