"""Google's own SDK, pointed at the test server, is satisfied with its answers: every field and every error is read."""

import asyncio
import io
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials
from pydantic import BaseModel

from tests.answers import error, generated, key_invalid, quota, retry_info
from tests.server import Server

MODEL = "gemini-3.1-flash-lite"


class Bill(BaseModel):
    """What is asked for."""

    vendor: str | None
    total: float


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(answers={"INV-7": {"vendor": "ACME", "total": 12.5}}, keys={"right"}) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[genai.Client]:
    with _client(server) as one:
        yield one


def _client(server: Server, key: str = "right") -> genai.Client:
    options = types.HttpOptions(base_url=server.url, api_version="v1beta")
    return genai.Client(api_key=key, http_options=options)


STRUCTURED = types.GenerateContentConfig(
    system_instruction="Extract.",
    response_mime_type="application/json",
    response_json_schema=Bill.model_json_schema(),
    thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW),
    media_resolution=types.MediaResolution.MEDIA_RESOLUTION_LOW,
    max_output_tokens=500,
    seed=7,
)


def test_a_structured_answer_is_parsed_with_all_its_fields(client: genai.Client) -> None:
    """Text, the value, why it ended, what it took, who answered."""
    got = client.models.generate_content(model=MODEL, contents="No. INV-7", config=STRUCTURED)
    assert Bill.model_validate(got.parsed) == Bill(vendor="ACME", total=12.5)
    assert got.candidates is not None
    assert got.candidates[0].finish_reason is types.FinishReason.STOP
    used = got.usage_metadata
    assert used is not None
    assert used.prompt_token_count
    assert used.thoughts_token_count == 100
    assert used.total_token_count == (
        used.prompt_token_count + (used.candidates_token_count or 0) + used.thoughts_token_count
    )
    assert (got.model_version, got.response_id) == (MODEL, "r-1")


def test_the_asynchronous_client_gets_the_same(server: Server) -> None:
    async def ask() -> types.GenerateContentResponse:
        async with _client(server).aio as client:
            return await client.models.generate_content(
                model=MODEL, contents="No. INV-7", config=STRUCTURED
            )

    assert Bill.model_validate(asyncio.run(ask()).parsed).total == 12.5


def test_a_picture_and_a_pdf_come_as_they_were_sent(server: Server, client: genai.Client) -> None:
    """What the SDK calls bytes the server sees as the same bytes."""
    parts = [
        types.Part.from_bytes(data=b"%PDF-1.7\x00\xff", mime_type="application/pdf"),
        types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png"),
        types.Part.from_text(text="Which?"),
    ]
    client.models.generate_content(model=MODEL, contents=types.Content(role="user", parts=parts))
    assert server.requests[-1].files == [
        ("application/pdf", b"%PDF-1.7\x00\xff"),
        ("image/png", b"\x89PNG"),
    ]


@pytest.mark.parametrize("finish", ["MAX_TOKENS", "SAFETY", "RECITATION", "MALFORMED_RESPONSE"])
def test_an_end_that_is_no_plain_stop_is_read_by_its_name(
    server: Server, client: genai.Client, finish: str
) -> None:
    server.next(generated("{", finishReason=finish))
    got = client.models.generate_content(model=MODEL, contents="x")
    assert got.candidates is not None
    assert got.candidates[0].finish_reason == types.FinishReason(finish)


def test_a_stream_adds_up_to_the_answer_and_tells_its_usage(client: genai.Client) -> None:
    """Pieces of text in order; the last one says why it ended and what it took."""
    pieces = list(
        client.models.generate_content_stream(model=MODEL, contents="No. INV-7", config=STRUCTURED)
    )
    assert len(pieces) > 1
    text = "".join(piece.text or "" for piece in pieces)
    assert Bill.model_validate_json(text) == Bill(vendor="ACME", total=12.5)
    ends = [piece.candidates[0].finish_reason for piece in pieces if piece.candidates]
    assert [end for end in ends if end] == [types.FinishReason.STOP]
    used = [piece.usage_metadata for piece in pieces if piece.usage_metadata]
    assert used[-1].total_token_count
    assert used[-1].thoughts_token_count == 100


def test_tokens_are_counted_without_being_billed(server: Server, client: genai.Client) -> None:
    got = client.models.count_tokens(model=MODEL, contents="a text of eight words or a few more")
    assert got.total_tokens
    assert server.billed == []


def test_models_are_told_with_their_limits(client: genai.Client) -> None:
    one = client.models.get(model=MODEL)
    assert (one.name, one.input_token_limit, one.output_token_limit) == (
        f"models/{MODEL}",
        1_048_576,
        65_536,
    )
    assert one.supported_actions is not None
    assert "generateContent" in one.supported_actions
    assert f"models/{MODEL}" in [model.name for model in client.models.list()]


def test_a_file_is_uploaded_in_chunks_asked_for_used_and_deleted(
    server: Server, client: genai.Client
) -> None:
    """Larger than one chunk of the SDK (8 MiB); afterwards it is gone."""
    data = b"%PDF-1.7" + bytes(9 * 2**20)
    config = types.UploadFileConfig(mime_type="application/pdf", display_name="bill")
    file = client.files.upload(file=io.BytesIO(data), config=config)
    assert file.name
    assert (file.mime_type, file.size_bytes) == ("application/pdf", len(data))
    again = client.files.get(name=file.name)
    assert again.state is not None
    assert again.state.name in {"ACTIVE", "PROCESSING"}
    assert again.uri
    assert again.sha256_hash == file.sha256_hash
    assert again.expiration_time
    client.models.generate_content(model=MODEL, contents=again)
    assert {"mimeType": "application/pdf", "fileUri": again.uri} in [
        part.get("fileData") for part in server.requests[-1].parts
    ]
    client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError) as gone:
        client.files.get(name=file.name)
    assert gone.value.code in {403, 404}


def test_a_cache_is_made_used_extended_and_deleted(server: Server, client: genai.Client) -> None:
    config = types.CreateCachedContentConfig(
        contents=[types.Content(role="user", parts=[types.Part(text="word " * 2000)])],
        system_instruction="Extract.",
        display_name="instructions",
        ttl="600s",
    )
    cache = client.caches.create(model=MODEL, config=config)
    assert cache.name
    assert cache.usage_metadata is not None
    assert (cache.usage_metadata.total_token_count or 0) >= 1024
    assert cache.expire_time
    later = client.caches.update(
        name=cache.name, config=types.UpdateCachedContentConfig(ttl="3600s")
    )
    assert later.expire_time
    assert later.expire_time > cache.expire_time
    got = client.caches.get(name=cache.name)
    assert got.expire_time == later.expire_time
    answer = client.models.generate_content(
        model=MODEL,
        contents="No. INV-7",
        config=types.GenerateContentConfig(cached_content=cache.name),
    )
    assert Bill.model_validate_json(answer.text or "") == Bill(vendor="ACME", total=12.5)
    assert server.requests[-1].body["cachedContent"] == cache.name
    client.caches.delete(name=cache.name)
    with pytest.raises(errors.ClientError) as gone:
        client.caches.get(name=cache.name)
    assert (gone.value.code, gone.value.status) == (403, "PERMISSION_DENIED")


def test_a_cache_below_the_minimum_is_refused_with_both_numbers(client: genai.Client) -> None:
    config = types.CreateCachedContentConfig(
        contents=[types.Content(role="user", parts=[types.Part(text="short")])]
    )
    with pytest.raises(errors.ClientError, match="too small") as refused:
        client.caches.create(model=MODEL, config=config)
    assert refused.value.status == "INVALID_ARGUMENT"
    assert "min_total_token_count=1024" in (refused.value.message or "")


def test_vertex_answers_a_token_in_place_of_a_key(server: Server) -> None:
    """The same answer at Vertex AI's address; a token that is none is a 401."""
    server.state["tokens"] = {"good"}

    def vertex(token: str) -> genai.Client:
        return genai.Client(
            vertexai=True,
            project="project",
            location="global",
            credentials=Credentials(token),  # type: ignore[no-untyped-call]
            http_options=types.HttpOptions(base_url=server.url, api_version="v1"),
        )

    def count(token: str) -> types.CountTokensResponse:
        with vertex(token) as client:
            return client.models.count_tokens(model=MODEL, contents="No. INV-7")

    def ask(token: str) -> types.GenerateContentResponse:
        with vertex(token) as client:
            return client.models.generate_content(
                model=MODEL, contents="No. INV-7", config=STRUCTURED
            )

    assert Bill.model_validate(ask("good").parsed) == Bill(vendor="ACME", total=12.5)
    assert server.requests[-1].path == (
        f"/v1/projects/project/locations/global/publishers/google/models/{MODEL}:generateContent"
    )
    assert count("good").total_tokens
    with pytest.raises(errors.ClientError) as refused:
        ask("other")
    assert (refused.value.code, refused.value.status) == (401, "UNAUTHENTICATED")


ERRORS: list[tuple[Any, type[errors.APIError], int, str]] = [
    (error(400, "wrong"), errors.ClientError, 400, "INVALID_ARGUMENT"),
    (error(404, "no model"), errors.ClientError, 404, "NOT_FOUND"),
    (error(429, "quota", quota("PerMinute"), retry_info("26s")), errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
    (error(500, "internal"), errors.ServerError, 500, "INTERNAL"),
    (error(503, "overloaded"), errors.ServerError, 503, "UNAVAILABLE"),
    (error(504, "too late"), errors.ServerError, 504, "DEADLINE_EXCEEDED"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "kind", "code", "status"), ERRORS, ids=lambda v: str(v)[:20])
def test_errors_have_their_kind_code_status_message_and_details(
    server: Server,
    client: genai.Client,
    answer: Any,
    kind: type[errors.APIError],
    code: int,
    status: str,
) -> None:
    """The SDK tells a fault of ours from one of the service, and finds each field."""
    server.next(answer)
    with pytest.raises(kind) as failed:
        client.models.generate_content(model=MODEL, contents="x")
    told = answer.body["error"]
    assert (failed.value.code, failed.value.status) == (code, status)
    assert failed.value.message == told["message"]
    assert failed.value.details == {"error": told}


def test_a_wrong_key_is_a_400_with_its_reason(server: Server) -> None:
    with _client(server, "wrong") as client, pytest.raises(errors.ClientError) as refused:
        client.models.generate_content(model=MODEL, contents="x")
    assert refused.value.code == 400
    assert refused.value.details == key_invalid().body
    assert "API_KEY_INVALID" in str(refused.value)
