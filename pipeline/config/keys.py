"""Keys and addresses: from a model's name to the Endpoint that answers; the environment is read here.

Keys come from the environment (`NAME`, or a file named by `NAME_FILE`), then from `.env` in the project
folder; never from a flag or the pipeline file.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import ConfigError, SetupError
from pipeline.providers import PROVIDERS, Endpoint

DEFAULT_MODEL = "gemini-3.1-flash-lite"

#: The well-known keys of a provider, in order.
WELL_KNOWN_KEYS = {"gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY")}
#: The variable that may point a provider's host elsewhere.
_ADDRESSES = {"gemini": "GOOGLE_GEMINI_BASE_URL"}


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


def resolve(
    model: str | None,
    places: Keys,
    *,
    terminal: bool,
    keyless: bool = False,
    replaying: bool = False,
) -> tuple[Endpoint, str | None]:
    """The endpoint of a model's name, and a sentence where the name left a choice.

    Raises:
        ConfigError: no provider of this release has that name.
        SetupError: the model needs a key and there is none.

    """
    wanted = model or ("auto" if terminal and not replaying else DEFAULT_MODEL)
    wanted = wanted.lower() if wanted.lower() in {"auto", "local"} else wanted
    if wanted == "auto":
        found = places.find(WELL_KNOWN_KEYS["gemini"])
        if found is None and not replaying:
            return Endpoint(
                "local", "local"
            ), f"no key ({' or '.join(WELL_KNOWN_KEYS['gemini'])}): the local engine answers"
        wanted = DEFAULT_MODEL
    if wanted == "local":
        return Endpoint("local", "local"), None
    provider, _, name = wanted.rpartition(":")
    provider = provider or "gemini"
    if provider not in PROVIDERS or provider == "local":
        close = difflib.get_close_matches(provider, PROVIDERS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(
            f"model {wanted!r}: this release has no provider {provider!r}, only gemini and local{hint}"
        )
    found = places.find(WELL_KNOWN_KEYS[provider])
    if found is None and not (keyless or replaying):
        raise SetupError(
            f"no key for {wanted}: set {WELL_KNOWN_KEYS[provider][0]} in the environment or in .env, "
            f"or use the offline engine with -m local"
        )
    key, key_name, _ = found or ("", WELL_KNOWN_KEYS[provider][0], "")
    return Endpoint(provider, name, _address(provider, places), key, key_name), None


def _address(provider: str, places: Keys) -> str:
    """Where the environment itself points the provider; a file alone never redirects a well-known key.

    Raises:
        ConfigError: the address would carry the key in the clear.

    """
    named = places.environment.get(_ADDRESSES[provider], "").rstrip("/")
    parts = urlsplit(named)
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if named and parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ConfigError(
            f"{_ADDRESSES[provider]}={named}: must be https (http only on this machine): the key would be readable"
        )
    return named


def _read_key(path: Path, variable: str) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{variable}={path}: {error}") from error
