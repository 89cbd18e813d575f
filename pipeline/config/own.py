"""What the pipeline file says of models and services, beside the catalogue: for commands that list and check them."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.catalogue import Price
from pipeline.config import Call, read_file
from pipeline.config.answering import Answering, Asking
from pipeline.config.keys import Keys, keys, resolve
from pipeline.config.services import Listed, listed
from pipeline.errors import SetupError
from pipeline.providers import Endpoint


@dataclass(frozen=True, slots=True)
class Own:
    """A `[models.NAME]` table: the endpoint that it stands for, and its price today."""

    name: str
    endpoint: Endpoint
    price: Price | None


@dataclass(frozen=True, slots=True)
class Here:
    """All that can be asked from a folder: services, models under names of one's own, and where keys are."""

    services: dict[str, Listed]
    own: tuple[Own, ...]
    places: Keys
    model: str | None
    file: Path | None

    def reached(self) -> list[Endpoint]:
        """An endpoint of each service that can be asked: of which there is a key, or which needs none.

        Two routes into one service by one key count once; the model of each is any.
        """
        found: dict[tuple[str, str], Endpoint] = {}
        for name, service in self.services.items():
            if service.facts.wire == "local":
                continue
            try:
                endpoint, _ = resolve(
                    f"{name}:any", self.places, terminal=False, services=self.services
                )
            except SetupError:
                continue
            same = (
                (endpoint.key, endpoint.project) if endpoint.key or endpoint.project else ("", name)
            )
            found.setdefault(same, endpoint)
        return list(found.values())

    def chosen(self) -> Endpoint:
        """The endpoint that a run of this folder would ask first; `auto` where nothing names one.

        Raises:
            ConfigError, SetupError: see `resolve`.

        """
        named = next((own for own in self.own if own.name == self.model), None)
        wanted = named.endpoint.name if named else self.model
        return resolve(wanted, self.places, terminal=True, services=self.services)[0]


def here(call: Call) -> Here:
    """What can be asked with a pipeline file, or without one.

    Raises:
        ConfigError: the file is wrong.

    """
    table = read_file(call)
    root = call.file.parent.resolve() if call.file else Path.cwd()
    places = keys(root, call.env_file)
    asking = Asking(
        terminal=True, keyless=True, replaying=False, typed=False, tools=False, root=root
    )
    answering = Answering(table, places, None, asking)
    own = []
    for name in table.models:
        endpoint = answering.endpoint(name)
        own.append(Own(name, endpoint, answering.prices[endpoint.name]))
    return Here(listed(table.providers), tuple(own), places, table.run.model, call.file)
