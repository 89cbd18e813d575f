"""Requests to an OpenAI-compatible test server, as the tests of that wire make them."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline import catalogue
from pipeline.document import Part
from pipeline.errors import FieldsiftError
from pipeline.providers import Endpoint, Request, Settings
from pipeline.providers.openai import OpenAI, Timeouts
from tests.asking import SCHEMA, text_part
from tests.server import Server

KEY = "sk-canary-0123456789abcdef"


def endpoint(url: str = "http://127.0.0.1:9/v1", **facts: Any) -> Endpoint:
    """The endpoint of a test server; `facts` of its service, or (`model`, `key`, ...) of itself."""
    own = {name: facts.pop(name) for name in [*facts] if name in Endpoint.__dataclass_fields__}
    known = catalogue.service("openai") or catalogue.Service("openai")
    service = replace(known, wire="openai", **facts)
    plain = Endpoint("openai", "any-model", url, KEY, "OPENAI_API_KEY", facts=service)
    return replace(plain, **own)


def at(server: Server, **facts: Any) -> Endpoint:
    """The endpoint of a running server."""
    return endpoint(server.url + "/v1", **facts)


def request(*content: Part, to: Endpoint | None = None, **asked: Any) -> Request:
    """A request as the prompts room makes it."""
    to = to or endpoint()
    changes = {name: asked.pop(name) for name in [*asked] if name in Request.__dataclass_fields__}
    plain = Request(
        to.provider,
        to.model,
        "Extract.",
        content or (text_part("Total: 5"),),
        OpenAI(to).dialect(SCHEMA),
        Settings(**{"max_output_tokens": 1024, **asked}),
        wire="openai",
        target=SCHEMA,
    )
    return replace(plain, **changes)


def ask(to: Endpoint, *requests: Request, times: Timeouts | None = None) -> list[Any]:
    """Send requests one after another; bodies and errors as they come."""

    async def send() -> list[Any]:
        provider = OpenAI(to, times)
        answers: list[Any] = []
        try:
            for one in requests or (request(to=to),):
                try:
                    answers.append(await provider.send(one))
                except FieldsiftError as failure:
                    answers.append(failure)
        finally:
            await provider.aclose()
        return answers

    return asyncio.run(send())


def body_of(one: Request, to: Endpoint | None = None) -> Mapping[str, Any]:
    """The body that would be sent."""
    shown: Mapping[str, Any] = OpenAI(to or endpoint()).shown(one).body
    return shown
