"""The services that can be asked: those of the catalogue, and the `[providers.NAME]` tables put over them.

A key must not get into strange hands: the well-known ones go to their well-known hosts, or where the
environment itself points them. A file alone redirects none: its addresses have keys of their own.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pipeline import catalogue
from pipeline.catalogue import Service

if TYPE_CHECKING:
    from pipeline.config.tables import ProviderTable

#: Facts of a Service that a table may state, by the same names.
_FACTS: Final = (
    "wire", "auth", "pdf", "sees", "hears", "effort", "limit_name", "input_limit", "output_limit",
    "request_bytes", "inline_bytes", "file_bytes", "pdf_bytes", "pdf_pages", "images",
)  # fmt: skip
#: Vertex AI takes the credentials of the machine, so that only its own hosts may be asked with them.
_CLOUD: Final = ("project", "location", "bucket")


@dataclass(frozen=True, slots=True)
class Listed:
    """A service, settled. `own` says that the pipeline file has a table of it.

    `base_url` is what the file says; `keys` are the variables of its key, none where it needs none.
    """

    facts: Service
    own: bool = False
    base_url: str = ""
    keys: tuple[str, ...] = ()
    project: str = ""
    location: str = ""
    bucket: str = ""


def listed(tables: "Mapping[str, ProviderTable]") -> dict[str, Listed]:
    """Every service that a model's name can begin with."""
    known = {each.provider: Listed(each, keys=each.keys) for each in catalogue.all_services()}
    return known | {name: _with(known.get(name), name, table) for name, table in tables.items()}


def mistakes(name: str, table: "ProviderTable") -> Iterator[tuple[str, str]]:
    """What is wrong with a table: the key in it, and the sentence."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name in {"local", "auto"}:
        yield (
            "",
            f"a provider can't be named {name!r}; a name is lower-case letters, digits, - and _",
        )
    known = catalogue.service(name) is not None
    if table.base_url is None and not known:
        yield "", f"[providers.{name}] needs its base_url: no service of that name is known"
    if table.base_url is not None and (wrong := address_fault(table.base_url)):
        yield "base_url", wrong
    if table.key_env in well_known():
        owner = well_known()[table.key_env]
        yield (
            "key_env",
            (
                f"{table.key_env} is the key of {owner}, and a file can't send it elsewhere: name the variable "
                f"of this service's own key, or ask {owner} by its name"
            ),
        )
    elif known and table.base_url is not None and table.key_env is None:
        there = catalogue.service(name)
        moved = f", or set {there.address} in the environment" if there and there.address else ""
        yield (
            "base_url",
            (
                f"the key of {name} goes to its own host only, a file alone can't redirect it: add the key_env of "
                f"a key for this address{moved}"
            ),
        )
    if name != "vertex":
        for key in _CLOUD:
            if getattr(table, key) is not None:
                yield key, f"{key} is for [providers.vertex]"


def well_known() -> dict[str, str]:
    """The variables of well-known keys, each with the first service that it is for."""
    found: dict[str, str] = {}
    for each in catalogue.all_services():
        for key in each.keys:
            found.setdefault(key, each.provider)
    return found


def address_fault(text: str) -> str:
    """Why a key and documents can't be sent to an address; empty where they can."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or not text.isprintable() or parts.scheme not in {"http", "https"}:
        return f"{text!r} is not an address; it begins with https://"
    if parts.username is not None or parts.query or parts.fragment:
        return f"the address of {host} holds more than an address; the key goes into a header"
    if parts.scheme != "https" and host not in {"localhost", "127.0.0.1", "::1"}:
        return f"{text}: must be https (http only on this machine): the key would be readable"
    return ""


def moved(service: Service, address: str) -> str:
    """A service's base address where the variable that points it elsewhere holds `address`.

    One variable can stand for two routes of one host (`GOOGLE_GEMINI_BASE_URL` for Gemini's own and for its
    OpenAI-compatible one). What it holds is meant for the first of them; for the other
    the path at the end is exchanged, a version too. A host alone stands for both.
    """
    routes = [each for each in catalogue.all_services() if each.address == service.address]
    first, address = routes[0], address.rstrip("/")
    if first.provider == service.provider and (len(routes) == 1 or urlsplit(address).path):
        return address
    base = address.removesuffix(urlsplit(first.base_url).path.rstrip("/"))
    return re.sub(r"/v1(?:beta)?\Z", "", base) + urlsplit(service.base_url).path.rstrip("/")


def _with(known: Listed | None, name: str, table: "ProviderTable") -> Listed:
    facts = known.facts if known else Service(name, wire="openai", source="pipeline file")
    stated = {key: value for key in _FACTS if (value := getattr(table, key)) is not None}
    if table.schema_ is not None:
        stated["schema"] = table.schema_
    if table.base_url is not None:
        stated["base_url"] = table.base_url.rstrip("/")
    keys = (table.key_env,) if table.key_env else known.keys if known else ()
    return Listed(
        facts=replace(facts, keys=keys, **stated),
        own=True,
        base_url=(table.base_url or "").rstrip("/"),
        keys=keys,
        project=table.project or "",
        location=table.location or "",
        bucket=(table.bucket or "").rstrip("/"),
    )
