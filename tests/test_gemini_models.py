"""What Gemini tells for free: tokens of a request, facts of a model, the list of models; errors are typed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pipeline.errors import FieldsiftError, KeyRefused, ReplyError, Transient, UsageError
from pipeline.providers import Tool
from pipeline.providers.gemini import Gemini, ModelFacts
from tests.answers import Answer, error, key_invalid
from tests.asking import endpoint, file_part, pdf, request, text_part
from tests.server import Server


def told(server: Server, ask: Callable[[Gemini], Coroutine[Any, Any, Any]], **at: Any) -> Any:
    """What a provider answers, or the error."""

    async def send() -> Any:
        provider = Gemini(endpoint(server.url, **at))
        try:
            return await ask(provider)
        except FieldsiftError as failure:
            return failure
        finally:
            await provider.aclose()

    return asyncio.run(send())


def test_tokens_are_counted_with_all_that_counts() -> None:
    """System, schema, files and functions go along, in the form that lets them; a tier does not."""
    tool = Tool("f", "does", {"type": "object", "properties": {"a": {"type": "string"}}})
    asked = request(
        text_part("word " * 40), file_part(pdf(2), pages=2), functions=(tool,), service_tier="flex"
    )
    with Server() as server:
        tokens = told(server, lambda gemini: gemini.count(asked))
        (seen,) = server.requests
    assert seen.path == "/v1beta/models/gemini-3.1-flash-lite:countTokens"
    inner = seen.body["generateContentRequest"]
    assert inner["model"] == "models/gemini-3.1-flash-lite"
    assert {"systemInstruction", "generationConfig", "tools", "contents"} <= inner.keys()
    assert "serviceTier" not in inner
    assert tokens > 2 * 560
    assert server.billed == []


def test_a_model_tells_its_limits() -> None:
    """Its own one, or any that is named."""
    with Server() as server:
        own = told(server, lambda gemini: gemini.about())
        other = told(server, lambda gemini: gemini.about("models/gemini-3.5-flash-lite"))
        paths = [seen.path for seen in server.requests]
    assert (own.id, own.input_limit, own.output_limit) == (
        "gemini-3.1-flash-lite",
        1_048_576,
        65_536,
    )
    assert own.methods == ("generateContent", "countTokens")
    assert own.thinking is True
    assert other.id == "gemini-3.5-flash-lite"
    assert paths[1] == "/v1beta/models/gemini-3.5-flash-lite"
    assert all(seen.headers["x-goog-api-key"] for seen in server.requests)


def test_the_list_of_models_is_read_page_after_page() -> None:
    """The server gives one a page."""
    with Server() as server:
        found = told(server, lambda gemini: gemini.models())
        paths = [seen.path for seen in server.requests]
    assert [model.id for model in found] == ["gemini-3.1-flash-lite", "gemini-3.5-flash-lite"]
    assert paths == ["/v1beta/models?pageSize=1000", "/v1beta/models?pageSize=1000&pageToken=1"]


def test_a_list_that_never_ends_is_an_error() -> None:
    """A bounded number of pages is asked for."""
    page = Answer(200, {"models": [{"name": "models/x"}], "nextPageToken": "again & again"})
    with Server() as server:
        server.next(*[page] * 100)
        failure = told(server, lambda gemini: gemini.models())
        assert len(server.requests) == 20
        assert server.requests[1].path.endswith("pageToken=again%20%26%20again")
    assert isinstance(failure, ReplyError)


CALLS: list[Callable[[Gemini], Coroutine[Any, Any, Any]]] = [
    lambda gemini: gemini.count(request()),
    lambda gemini: gemini.about(),
    lambda gemini: gemini.models(),
]


@pytest.mark.parametrize("call", CALLS, ids=["count", "about", "models"])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (key_invalid(), KeyRefused),
        (error(404, "gone"), ReplyError),
        (error(503), Transient),
        (error(429), Transient),
        (Answer(200, b"<html>"), ReplyError),
        (Answer(200, b""), ReplyError),
        (Answer(200, b"[1]"), ReplyError),
        (Answer(200, b"[" * 100_000), ReplyError),
    ],
)
def test_errors_are_those_of_every_request(
    call: Callable[[Gemini], Coroutine[Any, Any, Any]], answer: Answer, kind: type
) -> None:
    """The same kinds, with a sentence."""
    with Server() as server:
        server.next(answer)
        failure = told(server, call)
    assert type(failure) is kind
    assert str(failure).isprintable()


@pytest.mark.parametrize(
    "body", [{}, {"totalTokens": -1}, {"totalTokens": "x"}, {"totalTokens": True}]
)
def test_a_count_that_is_none_is_an_error(body: dict[str, Any]) -> None:
    """Unknown is never zero."""
    with Server() as server:
        server.next(Answer(200, body))
        failure = told(server, lambda gemini: gemini.count(request()))
    assert isinstance(failure, ReplyError)


def test_what_can_not_be_asked_can_not_be_counted() -> None:
    """The same check as before sending."""
    with Server() as server:
        failure = told(server, lambda gemini: gemini.count(request(tools=("web",))))
        assert server.requests == []
    assert isinstance(failure, UsageError)


def test_facts_that_are_missing_or_odd_are_unknown() -> None:
    """Nothing is invented, nothing crashes."""
    odd = {
        "name": 5,
        "inputTokenLimit": "many",
        "outputTokenLimit": True,
        "supportedGenerationMethods": {"a": 1},
        "thinking": "yes",
    }
    with Server() as server:
        server.next(Answer(200, odd), Answer(200, {"models": [odd, 5]}), Answer(200, {}))
        assert told(server, lambda gemini: gemini.about()) == ModelFacts("")
        assert told(server, lambda gemini: gemini.models()) == [ModelFacts("")]
        assert told(server, lambda gemini: gemini.models()) == []
