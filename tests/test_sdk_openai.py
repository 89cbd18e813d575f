"""OpenAI's own SDK, pointed at the test server, is satisfied with its answers: every field and every error is read."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import openai
import pytest
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageParam,
)
from openai.types.chat.completion_create_params import ResponseFormat
from pydantic import BaseModel, ConfigDict

from tests.routes_openai import calling, completion, error, streamed
from tests.server import Server

MODEL = "any-model"
ASKED: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "Extract."},
    {"role": "user", "content": [{"type": "text", "text": "No. INV-7"}]},
]


class Bill(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(extra="forbid")
    vendor: str | None
    total: float


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(answers={"INV-7": {"vendor": "ACME", "total": 12.5}}, keys={"right"}) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="right", base_url=f"{server.url}/v1", max_retries=0) as one:
        yield one


FORMAT: ResponseFormat = {
    "type": "json_schema",
    "json_schema": {"name": "bill", "strict": True, "schema": Bill.model_json_schema()},
}


def test_a_structured_answer_is_parsed_with_all_its_fields(client: openai.OpenAI) -> None:
    """Text, the value, why it ended, what it took, who answered."""
    got = client.chat.completions.parse(
        model=MODEL,
        messages=ASKED,
        response_format=Bill,
        reasoning_effort="low",
        max_completion_tokens=500,
        seed=7,
    )
    choice = got.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.parsed == Bill(vendor="ACME", total=12.5)
    assert choice.message.role == "assistant"
    assert got.usage is not None
    assert got.usage.prompt_tokens
    assert got.usage.total_tokens >= got.usage.prompt_tokens + got.usage.completion_tokens
    assert got.object == "chat.completion"
    assert got.model.startswith(MODEL)
    assert got.id
    assert got.created


def test_the_asynchronous_client_gets_the_same(server: Server) -> None:
    async def ask() -> ChatCompletion:
        at = f"{server.url}/v1"
        async with openai.AsyncOpenAI(api_key="right", base_url=at, max_retries=0) as client:
            return await client.chat.completions.create(
                model=MODEL, messages=ASKED, response_format=FORMAT
            )

    text = asyncio.run(ask()).choices[0].message.content
    assert json.loads(text or "") == {"vendor": "ACME", "total": 12.5}


@pytest.mark.parametrize(
    ("finish", "kind"),
    [
        ("length", openai.LengthFinishReasonError),
        ("content_filter", openai.ContentFilterFinishReasonError),
    ],
)
def test_an_answer_that_was_cut_off_or_filtered_is_known_as_such(
    server: Server, client: openai.OpenAI, finish: str, kind: type[Exception]
) -> None:
    """The SDK refuses to parse it."""
    server.next(completion("{", finish_reason=finish))
    with pytest.raises(kind):
        client.chat.completions.parse(model=MODEL, messages=ASKED, response_format=Bill)


TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "A rate by its currency.",
        "parameters": {"type": "object", "properties": {"currency": {"type": "string"}}},
    },
}


def test_a_function_is_asked_for_and_its_result_taken(
    server: Server, client: openai.OpenAI
) -> None:
    """Name, arguments and id, whole and streamed; the next request carries call and result back."""
    call = {"name": "look_up", "arguments": '{"currency": "EUR"}'}
    server.next(calling(call), streamed(calling(call)))
    got = client.chat.completions.create(model=MODEL, messages=ASKED, tools=[TOOL]).choices[0]
    assert got.finish_reason == "tool_calls"
    assert got.message.tool_calls is not None
    (asked,) = got.message.tool_calls
    assert asked.type == "function"
    assert (asked.function.name, json.loads(asked.function.arguments)) == (
        "look_up",
        {"currency": "EUR"},
    )
    chunks = client.chat.completions.create(model=MODEL, messages=ASKED, tools=[TOOL], stream=True)
    deltas = [c.choices[0].delta.tool_calls or [] for c in chunks if c.choices]
    pieces = [one.function.arguments or "" for many in deltas for one in many if one.function]
    assert json.loads("".join(pieces)) == {"currency": "EUR"}
    turns: list[ChatCompletionMessageParam] = [
        *ASKED,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": asked.id,
                    "type": "function",
                    "function": {
                        "name": asked.function.name,
                        "arguments": asked.function.arguments,
                    },
                }
            ],
        },
        {"role": "tool", "tool_call_id": asked.id, "content": "1.08"},
    ]
    after = client.chat.completions.create(model=MODEL, messages=turns, tools=[TOOL])
    assert after.choices[0].finish_reason == "stop"


def test_a_stream_adds_up_to_the_answer_and_tells_its_usage(client: openai.OpenAI) -> None:
    """Pieces of text in order, then why it ended, then a chunk without choices that holds the usage."""
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=ASKED,
            response_format=FORMAT,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert json.loads(text) == {"vendor": "ACME", "total": 12.5}
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens
    assert {c.object for c in chunks} == {"chat.completion.chunk"}


def test_models_are_listed(client: openai.OpenAI) -> None:
    models = list(client.models.list())
    assert MODEL in {model.id for model in models}
    assert {model.object for model in models} == {"model"}


ERRORS: list[tuple[int, dict[str, Any], type[openai.APIStatusError]]] = [
    (400, {"type": "invalid_request_error", "param": "messages"}, openai.BadRequestError),
    (401, {"type": "authentication_error", "code": "invalid_api_key"}, openai.AuthenticationError),
    (402, {"type": "insufficient_quota_error"}, openai.APIStatusError),
    (403, {"type": "permission_error"}, openai.PermissionDeniedError),
    (404, {"type": "not_found_error", "code": "model_not_found"}, openai.NotFoundError),
    (429, {"type": "rate_limit_error", "code": "rate_limit_exceeded"}, openai.RateLimitError),
    (500, {"type": "server_error"}, openai.InternalServerError),
    (503, {"type": "service_unavailable_error"}, openai.InternalServerError),
]


@pytest.mark.parametrize(("status", "told", "kind"), ERRORS, ids=lambda v: str(v)[:20])
def test_errors_have_their_kind_status_and_fields(
    server: Server,
    client: openai.OpenAI,
    status: int,
    told: dict[str, Any],
    kind: type[openai.APIStatusError],
) -> None:
    """The SDK tells the kinds apart, and reads type, code, parameter, message and headers."""
    headers = {"retry-after": "26", "x-ratelimit-remaining-requests": "0"}
    server.next(replace(error(status, **told), headers=headers))
    with pytest.raises(kind) as failed:
        client.chat.completions.create(model=MODEL, messages=ASKED)
    assert failed.value.status_code == status
    assert "it failed" in failed.value.message
    assert (failed.value.type, failed.value.code) == (told["type"], told.get("code"))
    assert failed.value.param == told.get("param")
    assert failed.value.response.headers["retry-after"] == "26"


def test_a_wrong_key_is_refused(server: Server) -> None:
    at = f"{server.url}/v1"
    with (
        openai.OpenAI(api_key="wrong", base_url=at, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(model=MODEL, messages=ASKED)


def test_the_sdk_asks_again_after_a_rate_limit(server: Server) -> None:
    """`retry-after-ms` is obeyed, and the second answer is the document's."""
    server.next(replace(error(429, "slow down"), headers={"retry-after-ms": "1"}))
    with openai.OpenAI(api_key="right", base_url=f"{server.url}/v1", max_retries=1) as client:
        got = client.chat.completions.create(model=MODEL, messages=ASKED, response_format=FORMAT)
    assert json.loads(got.choices[0].message.content or "")["total"] == 12.5
    assert len(server.requests) == 2
