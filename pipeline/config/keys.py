"""Keys and addresses: from a model's name to the Endpoint that answers; the environment is read here.

Keys come from the environment (`NAME`, or a file named by `NAME_FILE`), then from `.env` in the project
folder; never from a flag or the pipeline file.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import catalogue
from pipeline.config.services import Listed, address_fault, listed, moved
from pipeline.errors import ConfigError, SetupError
from pipeline.providers import Endpoint

DEFAULT_MODEL = "gemini-3.1-flash-lite"

#: Who answers when nobody names a model: the first service of which there is a key.
_AUTO = (("gemini", DEFAULT_MODEL), ("evolink", "gemini-3.1-flash-lite-preview"))


@dataclass(frozen=True, slots=True)
class Keys:
    """Where keys are looked for: the environment, then `.env`."""

    environment: Mapping[str, str]
    env_file: Path | None = None

    def find(self, names: Iterable[str]) -> tuple[str, str, str] | None:
        """The first key of these names: its value, its name, and where it was found.

        Raises:
            SetupError: a `NAME_FILE` or the `.env` file can't be read.

        """
        dotenv = self._dotenv()
        for name in names:
            if self.environment.get(name):
                return self.environment[name].strip(), name, "environment"
            named = self.environment.get(f"{name}_FILE")
            if named:
                return _read_key(Path(named), f"{name}_FILE"), name, f"the file of {name}_FILE"
            if dotenv.get(name):
                return str(dotenv[name]).strip(), name, str(self.env_file)
        return None

    def _dotenv(self) -> Mapping[str, str | None]:
        if self.env_file is None or not self.env_file.is_file():
            return {}
        from dotenv import dotenv_values

        try:
            return dotenv_values(self.env_file, interpolate=False)
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"{self.env_file}: {error}") from error


def keys(root: Path, env_file: Path | None = None) -> Keys:
    """The places of keys for a project folder; `env_file` in place of its `.env`.

    Raises:
        ConfigError: the named file does not exist.

    """
    if env_file is not None and not env_file.is_file():
        raise ConfigError(f"--env-file {env_file}: no such file")
    return Keys(os.environ, env_file or root / ".env")


def cache_folder() -> Path:
    """Where replies lie when there is no output folder: FIELDSIFT_CACHE_DIR, else the user's cache."""
    named = os.environ.get("FIELDSIFT_CACHE_DIR")
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("fieldsift")


def wants_color() -> bool | None:
    """What NO_COLOR (no-color.org) and FORCE_COLOR (force-color.org) want; None where neither is set."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def resolve(
    model: str | None,
    places: Keys,
    *,
    terminal: bool,
    keyless: bool = False,
    replaying: bool = False,
    services: Mapping[str, Listed] | None = None,
) -> tuple[Endpoint, str | None]:
    """The endpoint of a model's name, and a sentence where the name left a choice.

    `services` are those of the pipeline file and the catalogue (None: of the catalogue alone).

    Raises:
        ConfigError: no service has that name, or an address can't be used.
        SetupError: the model needs a key and there is none.

    """
    services = listed({}) if services is None else services
    wanted = model or ("auto" if terminal and not replaying else DEFAULT_MODEL)
    wanted = wanted.strip()
    wanted = wanted.lower() if wanted.lower() in {"auto", "local"} else wanted
    if wanted == "auto":
        chosen = DEFAULT_MODEL if replaying else _first_with_a_key(places, services)
        if chosen is None:
            names = " or ".join(key for name, _ in _AUTO for key in services[name].keys)
            return Endpoint("local", "local"), f"no key ({names}): the local engine answers"
        wanted = chosen
    if wanted == "local":
        return Endpoint("local", "local"), None
    provider, colon, name = wanted.partition(":")
    if not colon:
        provider, name = "gemini", wanted
        _refuse_typo(wanted, services)
    is_path = provider == "gemini" and name.startswith("models/")  # as the service lists them
    if provider not in services or provider == "local" or not name.strip() or is_path:
        raise ConfigError(_unknown(wanted, provider, name, services))
    needed = not (keyless or replaying)
    if provider == "vertex":
        return _vertex(name, places, services[provider], needed=needed), None
    return _endpoint(provider, name, places, services[provider], needed=needed), None


def _first_with_a_key(places: Keys, services: Mapping[str, Listed]) -> str | None:
    for name, model in _AUTO:
        if places.find(services[name].keys):
            return f"{name}:{model}"
    if found := places.find(services["openai"].keys):
        raise SetupError(
            f"only {found[1]} is set, and it does not say which model: name one, as in -m openai:MODEL, "
            f"or use the offline engine with -m local"
        )
    return None


def _endpoint(
    provider: str, model: str, places: Keys, service: Listed, *, needed: bool
) -> Endpoint:
    found = places.find(service.keys)
    if found is None and service.keys and needed:
        raise SetupError(_no_key(f"{provider}:{model}", service.keys[0]))
    key, key_name, _ = found or ("", next(iter(service.keys), ""), "")
    return Endpoint(
        provider,
        model,
        service.base_url or _address(service, places),
        key,
        key_name,
        facts=service.facts if service.own else None,
    )


def _vertex(model: str, places: Keys, service: Listed, *, needed: bool) -> Endpoint:
    """Vertex AI: a project with the machine's Google credentials, or an express key.

    In this order: a project of the file, the key that is meant for Vertex AI, GOOGLE_CLOUD_PROJECT,
    GOOGLE_API_KEY. The last two are what google-genai 3.4.0 reads, in its order (`_api_client.py`).
    """
    endpoint = _endpoint("vertex", model, places, service, needed=needed and bool(service.base_url))
    if service.base_url:  # an address of the file gets the key that is meant for it, nothing else
        return endpoint
    project = service.project
    if not project and (not endpoint.key or endpoint.key_name == "GOOGLE_API_KEY"):
        project = _named(places, "GOOGLE_CLOUD_PROJECT", r"[a-z0-9][a-z0-9.:-]*")
    location = service.location or _named(places, "GOOGLE_CLOUD_LOCATION", r"[a-z][a-z0-9-]*")
    if project:
        endpoint = replace(endpoint, key="", key_name="")
    elif needed and not endpoint.key:
        raise SetupError(
            f"no way into {endpoint.name}: set GOOGLE_CLOUD_PROJECT (with the machine's Google credentials: "
            f"gcloud auth application-default login), or VERTEX_API_KEY for express mode"
        )
    return replace(endpoint, project=project, location=location or "global", bucket=service.bucket)


def _named(places: Keys, variable: str, pattern: str) -> str:
    """A variable that becomes part of an address to which credentials are sent.

    Raises:
        ConfigError: it would make another address.

    """
    text = places.environment.get(variable, "").strip()
    if text and not re.fullmatch(pattern, text):
        raise ConfigError(
            f"{variable}={text!r} is no name that Google gives: letters, digits and - only"
        )
    return text


def _no_key(model: str, name: str) -> str:
    return (
        f"no key for {model}: set {name} in the environment or in .env, "
        f"or use the offline engine with -m local"
    )


def _refuse_typo(wanted: str, services: Mapping[str, Listed]) -> None:
    """Refuse a bare word that is no model's name, before a key is asked for; models' names hold a digit or a dash.

    Raises:
        ConfigError: with what may have been meant.

    """
    if wanted in services:
        known = [m.id for m in catalogue.all_models() if m.provider == wanted]
        raise ConfigError(
            f"model {wanted!r} is a service: name its model too, as in {wanted}:{next(iter(known), 'MODEL')}"
        )
    if re.match(r"gem|learnlm|models/|tunedModels/", wanted) or catalogue.find("gemini", wanted):
        return
    if re.search(r"[-\d]", wanted):
        raise ConfigError(
            f"model {wanted!r} names no service, and is no name of a Gemini model: write service:{wanted}, as in "
            f"openai:{wanted}, or gemini:{wanted} if it is one"
        )
    close = difflib.get_close_matches(wanted.lower(), ["local", "auto", *services], 1)
    hint = (
        f"did you mean {close[0]!r}?" if close else "`fieldsift models` lists those that are known"
    )
    raise ConfigError(f"there is no model {wanted!r}: {hint}")


def _unknown(wanted: str, provider: str, name: str, services: Mapping[str, Listed]) -> str:
    if provider in services and provider != "local":
        if name.startswith("models/"):
            return f"model {wanted!r}: write it without models/, as {name.removeprefix('models/')}"
        return f"model {wanted!r}: the model's name is missing after {provider}:"
    if provider in {"local", "auto"}:
        return f"model {wanted!r}: {provider} has no models of its own, write -m {provider}"
    close = difflib.get_close_matches(provider, services, 1)
    if close:
        return (
            f"model {wanted!r}: there is no service {provider!r}; did you mean {close[0]}:{name}?"
        )
    return (
        f"model {wanted!r}: there is no service {provider!r}; there are "
        f"{', '.join(each for each in services if each != 'local')}, and those under [providers.NAME] of the pipeline file"
    )


def _address(service: Listed, places: Keys) -> str:
    """Where the environment itself points the service; empty for its own address.

    Raises:
        ConfigError: the address would carry the key in the clear.

    """
    variable = service.facts.address
    named = places.environment.get(variable, "").strip() if variable else ""
    if not named:
        return ""
    if wrong := address_fault(named):
        raise ConfigError(f"{variable}: {wrong}")
    return moved(service.facts, named)


def _read_key(path: Path, variable: str) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{variable}={path}: {error}") from error
