"""Request in, Reply out: what a provider is, and the table of the wires that are spoken."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from importlib import import_module
from typing import Any, Final, Literal, Protocol, runtime_checkable

from pipeline import catalogue
from pipeline.document import Document, Part
from pipeline.errors import UsageError
from pipeline.schema import Schema
from pipeline.stages import MediaResolution, Safety, ServiceTier, Stage, Thinking
from pipeline.tools import Tool as Tool

#: wire -> module with `open_provider(endpoint, shelf) -> Provider` and `check(asked, endpoint)`; a new wire is a module and a line here.
WIRES: Final = {
    "gemini": "pipeline.providers.gemini",
    "openai": "pipeline.providers.openai",
    "local": "pipeline.providers.local",
}

#: How much of a schema goes along: all that the service enforces, its outline alone, or only words in the prompt.
Level = Literal["full", "reduced", "none"]
LEVELS: Final[tuple[Level, ...]] = ("full", "reduced", "none")


@dataclass(frozen=True, slots=True)
class Rates:
    """What may be asked of an endpoint, as far as the user knows the quota; None is unknown, and is learned.

    Requests and tokens, a minute and a day (`rpm`, `tpm`, `rpd`, `tpd`); `spend` is US dollars in any ten
    minutes. Services count them for a project, model and tier.
    """

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    tpd: int | None = None
    spend: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is reached: provider, model id, base address, and the key with the name it came from.

    `facts` and `card` are what the pipeline file says otherwise than the catalogue about the service
    and the model. `project` and `location` are Vertex AI's; with a project and no key the machine's
    own Google credentials are used. `bucket` (`gs://name/folder`) takes files that are too large to be sent inline there.
    `timeout` is how many seconds a request may take with its whole answer; None: as is usual.
    """

    provider: str
    model: str
    base_url: str = ""
    key: str = field(default="", repr=False)
    key_name: str = ""
    facts: catalogue.Service | None = None
    card: catalogue.Model | None = None
    project: str = ""
    location: str = ""
    bucket: str = ""
    rates: Rates = Rates()
    timeout: float | None = None

    @property
    def name(self) -> str:
        """`provider:model`, or `local` alone: how it stands in Results and messages."""
        return self.provider if self.provider == self.model else f"{self.provider}:{self.model}"

    @property
    def service(self) -> catalogue.Service:
        """What is known of the service; nothing but its wire where it is in no list."""
        known = self.facts or catalogue.service(self.provider)
        return known or catalogue.Service(self.provider, wire="openai")

    @property
    def elsewhere(self) -> str:
        """The address, where it is not the one that the service is known by; else empty."""
        address = (self.base_url or self.service.base_url).rstrip("/")
        known = catalogue.service(self.provider)
        return "" if known and address == known.base_url.rstrip("/") else address

    @property
    def known(self) -> catalogue.Model | None:
        """What is known of the model; None when it is in no list."""
        return self.card or catalogue.find(self.provider, self.model)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a stage asks of the model; None and empty are not sent.

    `service_tier` and `stream` say how an answer is bought, not what is asked: they are not part of
    the key. `tools` are the service's own (`google_search`, `url_context`, `code_execution`),
    `functions` the user's.
    """

    max_output_tokens: int
    thinking: Thinking | None = None
    media_resolution: MediaResolution | None = None
    temperature: float | None = None
    seed: int | None = None
    safety: Safety | None = None
    tools: tuple[str, ...] = ()
    functions: tuple[Tool, ...] = ()
    service_tier: ServiceTier | None = None
    stream: bool = False

    def canonical(self) -> dict[str, Any]:
        """What of it decides the answer, as plain JSON, without what is not sent."""
        bought = {"service_tier", "stream"}
        told = {f: getattr(self, f) for f in self.__dataclass_fields__ if f not in bought}
        told["tools"] = list(self.tools)
        told["functions"] = [asdict(function) for function in self.functions]
        return {name: value for name, value in told.items() if value not in (None, [])}


@dataclass(frozen=True, slots=True)
class Call:
    """A function that the model asks for, with its arguments; `id` is the service's name for this call."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One round of function calls: the model's turn exactly as it came, and a JSON value for each call in it.

    `said` is in the wire's own form (it can hold signatures that must go back unchanged).
    """

    said: Mapping[str, Any]
    calls: tuple[Call, ...]
    results: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """What of a request is one short document alone: it may share a request with others that differ in nothing else.

    The last `parts` of the content are the document between its marks; `text` is the same without them.
    `most` documents share a request at most. `answer` are the tokens that an answer about it is expected to take,
    `room` those that are kept free for it; `thoughts` those for thinking before the first answer.
    `known` is what earlier stages said of it, as JSON.
    """

    parts: int
    text: str
    most: int
    answer: int
    room: int
    thoughts: int
    known: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one model, in no provider's format.

    `content` goes in order, the document last; its first `shared` parts are the same for all documents
    of the stage. `schema` is already in the provider's dialect; where it is None and `as_json` holds,
    JSON of any shape is asked for. `turns` are the rounds of function calls so far. `wire` is that of
    the endpoint. `document`, `target` (the full schema) and `least` (the confidence below which a value is left
    out) are for engines that run here and read pages and words; `item` is there where it may share a request; `uses` is how
    many requests are expected to have the same shared parts (0: nobody knows). They are not part of the key.
    """

    provider: str
    model: str
    system: str
    content: tuple[Part, ...]
    schema: Mapping[str, Any] | None
    settings: Settings
    as_json: bool = True
    shared: int = 0
    turns: tuple[Turn, ...] = ()
    wire: str = "gemini"
    document: Document | None = field(default=None, compare=False, repr=False)
    target: Schema | None = field(default=None, compare=False, repr=False)
    least: float = field(default=0.0, compare=False, repr=False)
    item: Item | None = field(default=None, compare=False, repr=False)
    uses: int = field(default=0, compare=False, repr=False)

    def canonical(self) -> dict[str, Any]:
        """The request as plain JSON, a hash in place of bytes; equal requests are equal here."""
        told: dict[str, Any] = {
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
            "settings": self.settings.canonical(),
        }
        # What most requests don't have is not in their key either: answers of earlier versions stay good.
        if self.wire != (self.provider if self.provider in WIRES else "gemini"):
            # One service may be reached by two: their answers are read differently.
            told["wire"] = self.wire
        if not self.as_json:
            told["as_json"] = False
        if self.turns:
            told["turns"] = [
                {"said": turn.said, "results": list(turn.results)} for turn in self.turns
            ]
        return told

    def key(self) -> str:
        """The hash (hex) under which the answer is kept: no address, no file or stage name, no price tier."""
        # The order of a schema's properties is the order of the answer: it counts, so keys aren't sorted.
        text = json.dumps(self.canonical(), ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens by kind. `input` holds the cached and the audio ones too; `output` is without `thoughts`.

    `cached_audio` is known only where the service tells it. `by_modality` says what the input was made of (`text`, `image`, `video`,
    `audio`, `document`). `searches` counts queries of search tools; `tier` is the service tier that
    the answer says it was made at, empty where it says nothing. `is_counted` is False where the answer
    does not say what it took: then what was reserved for it is what it cost.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    thoughts: int = 0
    tool: int = 0
    audio: int = 0
    cached_audio: int | None = None
    searches: int = 0
    by_modality: tuple[tuple[str, int], ...] = ()
    tier: str = ""
    is_counted: bool = True


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
    `calls` are functions that the model wants to have called before it answers (`finish` is then
    `stop`), `said` its turn as it came, to be sent back with the results. `sources` are the addresses that search tools
    read.
    """

    text: str
    finish: Literal["stop", "truncated", "refused"] = "stop"
    reason: str | None = None
    usage: Usage = Usage()
    model: str = ""
    response_id: str = ""
    hints: tuple[Hint, ...] = ()
    calls: tuple[Call, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A request as it would go over HTTP, for people: `$NAME` stands in `headers` in place of the key."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the service says of a model; None and empty where it does not say it.

    `id` is without `models/`. Limits are tokens. `methods` are those of the API (`generateContent`,
    `countTokens`, `createCachedContent`, `batchGenerateContent`), `thinking` whether it can think.
    """

    id: str
    name: str = ""
    version: str = ""
    input_limit: int | None = None
    output_limit: int | None = None
    methods: tuple[str, ...] = ()
    thinking: bool | None = None


class Shelf(Protocol):
    """Where a provider remembers, across runs, what it left at a service: uploaded files, caches."""

    def recall(self, name: str) -> str | None:
        """What stands under a name and has not expired."""
        ...

    async def remember(self, name: str, value: str, until: float) -> None:
        """Keep a value under a name until a time (seconds since 1970); an empty value forgets the name."""
        ...

    def names(self, beginning: str) -> list[str]:
        """The names that begin so and have not expired; none where nothing was ever remembered."""
        ...


class Keeper(Protocol):
    """Who decides whether a cache at a service pays, and pays for it."""

    def pays(self, label: str, request: Request, tokens: int, life: int) -> bool:
        """Whether a cache of so many tokens, given `life` seconds at first, costs less than none."""
        ...

    async def reserve(self, label: str, tokens: int, seconds: float, *, made: bool) -> int | None:
        """Set aside the most that a cache costs, to be `made` or only kept on; None: it does not fit the budget."""
        ...

    async def book(
        self, call: int, reserved: int, tokens: int | None, seconds: float, *, made: bool
    ) -> None:
        """Put the real cost in its place; tokens None: there is no cache."""
        ...

    async def lost(self, call: int, reserved: int, seconds: float) -> None:
        """Nobody knows whether there is one."""
        ...


@runtime_checkable
class KeepsCaches(Protocol):
    """A provider that can leave shared parts in a cache of its service; without a keeper it is not asked what that costs."""

    keeper: Keeper | None


@runtime_checkable
class Divides(Protocol):
    """A provider whose answer to several documents can be divided into one for each."""

    def listed(self, schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The schema of a list of answers with their keys, of the schema of one of them as it is sent.

        Raises:
            ReplyError: `schema_refused`: the service does not take it in a list.

        """
        ...

    def composed(self, reply: Reply, text: str, usage: Usage) -> bytes:
        """The body of an answer of its own, as the service would have given it: a part of another one, and what that took."""
        ...


class Provider(Protocol):
    """What a provider module's `open_provider(endpoint, shelf)` returns.

    `stored` says whether answers are kept and paid for: False for an engine that runs here for free.
    """

    name: str
    stored: bool
    reads_images: bool

    def dialect(self, schema: Schema, level: Level = "full") -> Mapping[str, Any] | None:
        """The schema as it is sent; None where it goes as words in the prompt."""
        ...

    def shown(self, request: Request) -> Shown:
        """The request as it would be sent, without the key."""
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

    def restore(self, data: Any, request: Request) -> Any:
        """The data of an answer in the form of the user's schema, where the dialect asked for another."""
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
        _module(endpoint).check(stage, endpoint)
    except UsageError as error:
        raise UsageError(f"stage {stage.name}: {error}") from None


def open_provider(endpoint: Endpoint, shelf: Shelf | None = None) -> Provider:
    """The provider of an endpoint; without a `shelf` what it leaves at the service is forgotten with the process.

    Raises:
        UsageError: no wire of that name is spoken.

    """
    provider: Provider = _module(endpoint).open_provider(endpoint, shelf)
    return provider


def _module(endpoint: Endpoint) -> Any:
    wire = endpoint.service.wire
    if wire not in WIRES:
        raise UsageError(f"{endpoint.name}: no wire {wire!r}; there are {', '.join(sorted(WIRES))}")
    return import_module(WIRES[wire])
