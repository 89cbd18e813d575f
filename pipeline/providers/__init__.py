"""Request in, Reply out: what a provider is, and the table of those that exist."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any, Literal, Protocol

from pipeline.document import Document, Part
from pipeline.errors import UsageError
from pipeline.schema import Schema
from pipeline.stages import MediaResolution, Stage, Thinking

#: name -> module with `open_provider(endpoint) -> Provider` and `check(stage, model)`; a new provider is a module and a line here.
PROVIDERS = {
    "gemini": "pipeline.providers.gemini",
    "local": "pipeline.providers.local",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is reached: provider, model id, base address, and the key with the name it came from."""

    provider: str
    model: str
    base_url: str = ""
    key: str = field(default="", repr=False)
    key_name: str = ""

    @property
    def name(self) -> str:
        """`provider:model`, or `local` alone: how it stands in Results and messages."""
        return self.provider if self.provider == self.model else f"{self.provider}:{self.model}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a stage asks of the model; None is not sent."""

    max_output_tokens: int
    thinking: Thinking | None = None
    media_resolution: MediaResolution | None = None
    temperature: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one model, in no provider's format.

    `content` goes in order, the document last. `schema` is already in the provider's dialect.
    `document`, `target` (the full schema) and `least` (the confidence below which a value is left
    out) are for engines that run here and read pages and words; they are not part of the key.
    """

    provider: str
    model: str
    system: str
    content: tuple[Part, ...]
    schema: Mapping[str, Any] | None
    settings: Settings
    document: Document | None = field(default=None, compare=False, repr=False)
    target: Schema | None = field(default=None, compare=False, repr=False)
    least: float = field(default=0.0, compare=False, repr=False)

    def canonical(self) -> dict[str, Any]:
        """The request as plain JSON, a hash in place of bytes; equal requests are equal here."""
        return {
            "provider": self.provider,
            "model": self.model,
            "system": self.system,
            "content": [
                {"text": part.text}
                if part.kind == "text"
                else {"media_type": part.media_type, "sha256": part.sha256}
                for part in self.content
            ],
            "schema": self.schema,
            "settings": {
                name: value for name, value in asdict(self.settings).items() if value is not None
            },
        }

    def key(self) -> str:
        """The hash (hex) under which the answer is kept: no address, no file or stage name, no price tier."""
        # The order of a schema's properties is the order of the answer: it counts, so keys aren't sorted.
        text = json.dumps(self.canonical(), ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens by kind. `input` holds the cached ones too; `output` is without `thoughts`."""

    input: int = 0
    cached: int = 0
    output: int = 0
    thoughts: int = 0
    tool: int = 0
    audio: int = 0


@dataclass(frozen=True, slots=True)
class Hint:
    """Where the answerer says that it read a leaf: a quote on a page, and the place if it knows it.

    `confidence` is 0..1 from an engine that measured it, never a number that a model made up.
    """

    pointer: str
    quote: str
    page: int
    start: int | None = None
    end: int | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, read: `truncated` and `refused` ones have whatever text came before the end.

    `reason` is the service's own word for an end that is not a plain stop (`MAX_TOKENS`, `SAFETY`).
    """

    text: str
    finish: Literal["stop", "truncated", "refused"] = "stop"
    reason: str | None = None
    usage: Usage = Usage()
    model: str = ""
    response_id: str = ""
    hints: tuple[Hint, ...] = ()


class Provider(Protocol):
    """What a provider module's `open_provider(endpoint)` returns.

    `stored` says whether answers are kept and paid for: False for an engine that runs here for free.
    """

    name: str
    stored: bool
    reads_images: bool

    def dialect(self, schema: Schema) -> Mapping[str, Any] | None:
        """The schema as it is sent."""
        ...

    def ceiling(self, request: Request) -> Usage:
        """The most tokens that the request can take: what is reserved before it is sent."""
        ...

    async def send(self, request: Request) -> bytes:
        """Ask, once. The answer's body exactly as the service gave it.

        Raises:
            Transient: it may pass; the gate decides about another try.
            ReplyError: the service refuses this request for good.
            KeyRefused, QuotaReached: the run can't go on.

        """
        ...

    def read(self, body: bytes) -> Reply:
        """Understand a body that `send` returned, now or in an earlier run.

        Raises:
            ReplyError: it is not an answer that can be used.

        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


def check(stage: Stage, endpoint: Endpoint) -> None:
    """Refuse, before anything is sent, settings that the model is known not to take.

    Raises:
        UsageError: names the setting, and what the model takes.

    """
    try:
        _module(endpoint).check(stage, endpoint.model)
    except UsageError as error:
        raise UsageError(f"stage {stage.name}: {error}") from None


def open_provider(endpoint: Endpoint) -> Provider:
    """The provider of an endpoint.

    Raises:
        UsageError: there is no provider of that name.

    """
    provider: Provider = _module(endpoint).open_provider(endpoint)
    return provider


def _module(endpoint: Endpoint) -> Any:
    if endpoint.provider not in PROVIDERS:
        raise UsageError(
            f"no provider {endpoint.provider!r}; there are {', '.join(sorted(PROVIDERS))}"
        )
    return import_module(PROVIDERS[endpoint.provider])
