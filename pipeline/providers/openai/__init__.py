"""OpenAI's chat completions over HTTP, as gateways and local servers speak them too.

`wire.py` builds the body, `reply.py` reads the answer. The base address is what the service calls so:
`https://api.openai.com/v1`, Google's `.../v1beta/openai`, `http://localhost:11434/v1`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from pipeline.errors import ReplyError, UsageError
from pipeline.providers import (
    Endpoint,
    Level,
    ModelFacts,
    Reply,
    Request,
    Settings,
    Shelf,
    Shown,
    Usage,
    bounds,
)
from pipeline.providers.bodies import parse
from pipeline.providers.faults import fault, sound
from pipeline.providers.http import KeyHeader, Line, Timeouts
from pipeline.providers.loops import Watch
from pipeline.providers.openai import wire
from pipeline.providers.openai.reply import composed, items, read, text_of
from pipeline.providers.pieces import pieces, size, stream, whole
from pipeline.schema import Schema, dialects
from pipeline.stages import Stage

__all__ = ["OpenAI", "Timeouts", "check", "open_provider", "read"]

_PATH: Final = "/chat/completions"
#: What a function may be called there.
_FUNCTION: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def open_provider(endpoint: Endpoint, shelf: Shelf | None = None) -> "OpenAI":
    """The provider for an OpenAI-compatible endpoint; nothing is connected yet, nothing is left there.

    Raises:
        UsageError: its address is not one.

    """
    return OpenAI(endpoint)


def check(asked: Settings | Stage, endpoint: Endpoint) -> None:
    """Refuse settings that this wire or the model can't take, before anything is sent.

    Raises:
        UsageError: see `bounds.check`; `safety` and the service's own tools, which the wire has no
            place for; `thinking` where `reasoning_effort` is not known; a function with a name that
            can't be called; a seed outside 64 bits.

    """
    bounds.check(asked, endpoint)
    native = "that goes over Gemini's own wire alone (gemini:MODEL"
    native += ', or wire = "gemini" of its [providers] table)'
    if own := [tool for tool in asked.tools if isinstance(tool, str)]:
        raise UsageError(f"{endpoint.name} does not run {', '.join(own)}: {native}")
    if asked.safety is not None:
        raise UsageError(f"{endpoint.name} takes no safety setting: {native}")
    if asked.thinking is not None and not endpoint.service.effort:
        raise UsageError(
            f"{endpoint.name} takes no thinking level: reasoning_effort is not known there "
            f"(effort = false in the catalogue or in [providers.{endpoint.provider}])"
        )
    if asked.seed is not None and not -(2**63) <= asked.seed < 2**63:
        raise UsageError(f"seed {asked.seed}: it is a number of 64 bits")
    for name in _functions(asked):
        if not _FUNCTION.fullmatch(name):
            raise UsageError(
                f"function {name!r}: its name is 1 to 64 ASCII letters, digits, _ and - there"
            )


def _functions(asked: Settings | Stage) -> list[str]:
    if isinstance(asked, Settings):
        return [tool.name for tool in asked.functions]
    return [*asked.functions]


class OpenAI:
    """One model behind an OpenAI-compatible address."""

    stored = True

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts | None = None) -> None:
        base_url = endpoint.base_url or endpoint.service.base_url
        bounds.check_address(base_url, endpoint)
        self.name = endpoint.provider
        self.endpoint = endpoint
        self.reads_images = endpoint.service.sees
        self._key = KeyHeader(endpoint, "Authorization", "Bearer {}")
        self._line = Line(endpoint, base_url, self._key, timeouts)
        self._dialects: dict[tuple[str, Level], Mapping[str, Any]] = {}

    def dialect(self, schema: Schema, level: Level = "full") -> Mapping[str, Any] | None:
        """The schema as it is sent, compiled once, not to be changed; None where it goes as words."""
        if level == "none" or self.endpoint.service.schema != "json_schema":
            return None
        if (schema.sha256, level) not in self._dialects:
            self._dialects[schema.sha256, level] = dialects.compile(schema, "openai", level) or {}
        return self._dialects[schema.sha256, level]

    def restore(self, data: Any, request: Request) -> Any:
        """The data of an answer in the user's own form, which the strict dialect can't always ask for."""
        schema = request.target
        if request.schema is None or schema is None:
            return data
        level: Level = "full" if request.schema == self.dialect(schema) else "reduced"
        return dialects.restore(data, schema, "openai", level)

    def ceiling(self, request: Request) -> Usage:
        """The most tokens that the request can take: what is reserved before it is sent."""
        return bounds.ceiling(request, self.endpoint)

    async def send(self, request: Request) -> bytes:
        """Ask, once. The answer's body as the service gave it, but never with the key in it.

        Raises:
            Transient: it may pass; also an answer that came damaged.
            ReplyError: the service refuses this request for good.
            KeyRefused, QuotaReached, SetupError: the run can't go on.
            UsageError: a setting that the model can't take; nothing was sent.

        """
        service = self.endpoint.service
        check(request.settings, self.endpoint)
        told = pieces(wire.body(request, service))
        length = size(told)
        bounds.refuse_too_large(request, length, service)
        watch = Watch(text_of) if request.settings.stream else None
        answer = await self._line.post(_PATH, stream(told), length, watch)
        if answer.status != 200:
            raise fault(answer, self.endpoint)
        return sound(answer, self.endpoint, items)

    def read(self, body: bytes) -> Reply:
        """Understand a body that `send` returned, now or in an earlier run."""
        return read(body)

    def listed(self, schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The schema of a list of answers with their keys; of words alone there is none.

        Raises:
            ReplyError: `schema_refused`: it is too large or too deep for a strict one.

        """
        sent = None if schema is None else dialects.listed(schema)
        if sent is not None and not dialects.openai.fits(sent):
            told = "in a list the schema is more than a strict one may be"
            raise ReplyError("schema_refused", told)
        return sent

    def composed(self, reply: Reply, text: str, usage: Usage) -> bytes:
        """The body of a completion with this text and usage, all else as in the reply."""
        return composed(reply, text, usage)

    def shown(self, request: Request) -> Shown:
        """The request as it would be sent, without the key."""
        headers = {**self._key.shown(), "Content-Type": "application/json"}
        body = whole(wire.body(request, self.endpoint.service))
        return Shown("POST", self._line.base_url + _PATH, headers, body)

    async def count(self, request: Request) -> int:
        """Refuse: this wire has no method that counts; `ceiling` is the bound that is known.

        Raises:
            UsageError: always.

        """
        raise UsageError(f"{self.endpoint.name} can't count tokens before it is asked")

    async def models(self) -> list[ModelFacts]:
        """All models that the service has for this key; free of charge.

        Raises:
            Transient, ReplyError, KeyRefused, QuotaReached, SetupError: as of `send`.

        """
        listed = (await self._get("/models")).get("data")
        return [_facts(each) for each in (listed if isinstance(listed, list) else ()) if _id(each)]

    async def about(self, model: str | None = None) -> ModelFacts:
        """What the service says of a model, its own where none is named; free of charge.

        Raises:
            Transient, ReplyError, KeyRefused, QuotaReached, SetupError: as of `send`.

        """
        name = model or self.endpoint.model
        return _facts({"id": name} | dict(await self._get(f"/models/{quote(name, safe='')}")))

    async def aclose(self) -> None:
        """Close connections."""
        await self._line.aclose()

    async def _get(self, path: str) -> Mapping[str, Any]:
        answer = await self._line.ask("GET", path)
        if answer.status != 200:
            raise fault(answer, self.endpoint)
        told: Mapping[str, Any] = parse(sound(answer, self.endpoint))
        return told


def _id(given: Any) -> str:
    found = given.get("id") if isinstance(given, Mapping) else None
    return found if isinstance(found, str) else ""


def _facts(given: Mapping[str, Any]) -> ModelFacts:
    """What is said of a model; its context is told by some (vLLM, OpenRouter), under these names."""
    told = (given.get(name) for name in ("max_model_len", "context_length"))
    limit = next(
        (n for n in told if isinstance(n, int) and not isinstance(n, bool) and n > 0), None
    )
    return ModelFacts(_id(given), input_limit=limit)
