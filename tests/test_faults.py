"""Answers that are no success, of every service: what each means, and what the user is told to do."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import (
    ContentRefused,
    FieldsiftError,
    KeyRefused,
    PaymentNeeded,
    QuotaReached,
    ReplyError,
    SetupError,
    Transient,
)
from pipeline.providers import Endpoint
from pipeline.providers.faults import Answer, error_inside, fault, sound
from tests.answers import error, quota, retry_info
from tests.asking import KEY, endpoint

GATEWAY = Endpoint("evolink", "gemini-3.1-flash-lite-preview", key=KEY, key_name="EVOLINK_API_KEY")
OPENAI = Endpoint("openai", "gpt-9", key=KEY, key_name="OPENAI_API_KEY")
LLAMA = Endpoint("lab", "small", "http://127.0.0.1:9/v1")
VERTEX = Endpoint("vertex", "gemini-3.1-flash-lite", project="acme-42", location="eu")


def of(
    status: int, body: Any, at: Endpoint | None = None, headers: Mapping[str, str] | None = None
) -> FieldsiftError:
    """What an answer becomes; a body that is no bytes goes as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return fault(Answer(status, headers or {}, raw), at or endpoint())


def google(
    status: int, message: str = "it failed", *details: Mapping[str, Any], word: str | None = None
) -> FieldsiftError:
    """What an error of Google's becomes."""
    return of(status, error(status, message, *details, word=word).body)


def info(reason: str, **metadata: str) -> dict[str, Any]:
    """Google's detail with a reason."""
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    return {"@type": kind, "reason": reason, "metadata": metadata}


def asked(message: str, **more: Any) -> dict[str, Any]:
    """An error as OpenAI-compatible servers send it."""
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


# The key and the account

ENABLE = "https://console.developers.google.com/apis/api/generativelanguage.googleapis.com/overview"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (google(400, "API key not valid.", info("API_KEY_INVALID")), "the key in GEMINI_API_KEY"),
        (google(400, "API key expired. Please renew the API key."), "the key in GEMINI_API_KEY"),
        (google(403, "no", info("API_KEY_SERVICE_BLOCKED")), "is restricted"),
        (google(403, "no", info("API_KEY_IP_ADDRESS_BLOCKED")), "is restricted"),
        (google(403, "x", info("SERVICE_DISABLED", activationUrl=ENABLE)), f"({ENABLE})"),
        (google(403, "Permission denied on resource project x.", info("CONSUMER_INVALID")), "may not use"),
        (google(403, "Consumer 'api_key' has been suspended."), "may not use"),
        (google(403, "Permission denied"), "PERMISSION_DENIED"),
        (of(401, asked("Incorrect API key provided", code="invalid_api_key"), OPENAI), "OPENAI_API_KEY"),
        (of(401, b"", GATEWAY), "EVOLINK_API_KEY"),
        (of(401, {"detail": "Unauthorized"}, LLAMA), "key_env of [providers.lab]"),
        (of(401, error(401, "Request had invalid authentication credentials").body, VERTEX), "Google credentials of this machine"),
        (of(403, error(403, "Permission 'aiplatform.endpoints.predict' denied").body, VERTEX), "Vertex AI User"),
        (of(403, asked("You have insufficient permissions for this operation."), OPENAI), "lacks a right"),
    ],
)  # fmt: skip
def test_a_key_that_is_not_accepted_names_where_it_came_from(
    told: FieldsiftError, words: str
) -> None:
    assert type(told) is KeyRefused
    assert words in str(told)


def test_where_help_is_stands_in_the_message() -> None:
    """The links of Google's details are shown."""
    help_ = {
        "@type": "type.googleapis.com/google.rpc.Help",
        "links": [{"url": "javascript:x"}, {"description": "Enable it", "url": ENABLE}],
    }
    assert f"({ENABLE})" in str(google(403, "disabled", help_, info("SERVICE_DISABLED")))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (google(403, "CachedContent not found (or permission denied)"), "cache_gone"),
        (google(404, "Not found: cached content metadata for 123."), "cache_gone"),
        (google(403, "You do not have permission to access the File abc123 or it may not exist."), "file_gone"),
        (google(400, "The File abc123 is not in an ACTIVE state and usage is not allowed.", word="FAILED_PRECONDITION"), "file_gone"),
    ],
)  # fmt: skip
def test_a_file_or_cache_that_is_gone_is_not_taken_for_a_bad_key(
    told: FieldsiftError, reason: str
) -> None:
    assert isinstance(told, ReplyError)
    assert told.reason == reason


def test_what_the_environment_lacks_is_no_documents_fault() -> None:
    here = google(
        400, "User location is not supported for the API use.", word="FAILED_PRECONDITION"
    )
    there = of(403, asked("Country, region, or territory not supported"), OPENAI)
    bucket = google(403, "service-1@x does not have storage.objects.get access to the object.")
    for told, words in ((here, "not offered"), (there, "not offered"), (bucket, "bucket")):
        assert type(told) is SetupError
        assert words in str(told)


@pytest.mark.parametrize(
    "told",
    [
        of(402, {"error": {"code": 402, "message": "Insufficient balance", "type": "insufficient_quota_error"}}, GATEWAY),
        of(402, b""),
        of(429, asked("You exceeded your current quota, please check your plan and billing details.", code="insufficient_quota", type="insufficient_quota"), OPENAI),
        of(403, {"error": {"message": "no", "type": "new_api_error", "code": "insufficient_user_quota"}}, GATEWAY),
        google(403, "This API method requires billing to be enabled.", info("BILLING_DISABLED")),
        google(429, "Your project has exceeded its monthly spending cap."),
        google(429, "Your prepayment credits are depleted."),
    ],
)  # fmt: skip
def test_no_money_is_told_from_too_fast(told: FieldsiftError) -> None:
    """Another try would not help, another endpoint might."""
    assert type(told) is PaymentNeeded
    assert "it needs payment" in str(told)


# How fast

PER_MINUTE = quota("GenerateContentInputTokensPerModelPerMinute-PaidTier1")
PER_DAY = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
TOO_FAST = (
    "Rate limit reached for gpt-9 on tokens per min (TPM): Limit 30000, Used 29000, Requested 4000."
)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (google(429, "q", PER_DAY, retry_info("22s")), "tomorrow"),
        (google(429, "q", PER_MINUTE, PER_DAY), "tomorrow"),
        (of(429, asked("Rate limit reached for gpt-9 on requests per day (RPD): Limit 200"), OPENAI), "tomorrow"),
        (google(429, "Quota exceeded for metric: x, limit: 0, model: y", PER_DAY), "tier"),
        (google(429, "q", {"@type": "google.rpc.QuotaFailure", "violations": [{"quotaId": "X", "quotaValue": "0"}]}), "tier"),
        (google(429, "q", retry_info("21599.96s")), "wait 6 hours"),
    ],
)  # fmt: skip
def test_a_quota_for_which_nobody_waits_ends_the_run(told: FieldsiftError, words: str) -> None:
    assert type(told) is QuotaReached
    assert words in str(told)


MILLISECONDS = {"retry-after-ms": "1500", "retry-after": "1"}
RESETS = {
    "x-ratelimit-reset-requests": "6m0s",
    "x-ratelimit-remaining-requests": "12",
    "x-ratelimit-reset-tokens": "8.5s",
    "x-ratelimit-remaining-tokens": "0",
}
CLOCK = {"date": "Sat, 21 Nov 2026 10:00:00 GMT", "x-ratelimit-reset": "1795255230000"}


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (google(429, "q", PER_MINUTE, retry_info("26s")), 26.0),
        (google(429, "You exceeded your spending limit of ten minutes", retry_info("300s")), 300.0),
        (of(429, asked(TOO_FAST + " Please try again in 41.724s."), OPENAI), 41.724),
        (of(429, asked(TOO_FAST + " Please try again in 6m3s."), OPENAI), 363.0),
        (of(429, asked(TOO_FAST + " Please try again in 20ms."), OPENAI), 0.02),
        (of(429, asked("Please retry after 26 seconds."), OPENAI), 26.0),
        (of(429, asked("slow"), OPENAI, MILLISECONDS), 1.5),
        (of(429, asked("slow"), OPENAI, {"retry-after": "0.5"}), 0.5),
        (of(429, asked("slow"), OPENAI, RESETS), 8.5),
        (of(429, asked("slow"), OPENAI, RESETS | {"retry-after": "2"}), 2.0),
        (of(429, asked("slow"), OPENAI, {"x-ratelimit-reset-requests": "12ms", "x-ratelimit-reset-tokens": "9s"}), 0.012),
        (of(429, asked("slow"), OPENAI, CLOCK), 30.0),
        (of(429, asked("slow"), OPENAI, {"x-ratelimit-reset-tokens": "-1", "retry-after": "soon"}), None),
        (of(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, LLAMA), None),
        (of(529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}, GATEWAY), None),
    ],
)  # fmt: skip
def test_the_wait_is_what_the_service_says_in_any_of_its_ways(
    told: FieldsiftError, seconds: float | None
) -> None:
    assert isinstance(told, Transient)
    assert told.wait == (None if seconds is None else pytest.approx(seconds))
    assert not told.billed


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504, *range(520, 531)])
def test_what_may_pass_is_asked_again_and_billed_where_the_service_may_have_worked(
    status: int,
) -> None:
    """A proxy that gave up waiting does not know whether the service went on."""
    page, own = of(status, b"<html><title>Oops</title></html>"), of(status, asked("x"))
    assert isinstance(page, Transient)
    assert isinstance(own, Transient)
    assert page.billed == (status in {500, 502, 504, 520, 524})
    assert not own.billed
    assert "'Oops'" in str(page)


# The request

VIOLATED = {
    "@type": "type.googleapis.com/google.rpc.BadRequest",
    "fieldViolations": [{"field": "generation_config.response_schema", "description": "bad enum"}],
}
ELSEWHERE = {**VIOLATED, "fieldViolations": [{"field": "contents[0].parts", "description": "bad"}]}
NO_STATES = "The specified schema produces a constraint that has too many states for serving."
UNKNOWN = "Invalid JSON payload received. Unknown name \"additionalProperties\" at 'generation_config.response_schema': Cannot find field."


@pytest.mark.parametrize(
    "told",
    [
        google(400, "Request contains an invalid argument."),
        of(400, [{"error": {"code": 400, "message": "Request contains an invalid argument.", "status": "INVALID_ARGUMENT"}}]),
        of(400, asked("Request contains an invalid argument. (request id: 2026)"), GATEWAY),
        of(400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}),
        google(400, NO_STATES),
        google(400, UNKNOWN),
        google(400, "Request contains an invalid argument.", VIOLATED),
        google(400, "If a schema node has $ref set, then only description and default can be set alongside it"),
        google(400, "A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth."),
        of(400, asked("Invalid schema for response_format 'bill': ...", param="response_format"), OPENAI),
        of(400, asked("nope", code="invalid_json_schema"), OPENAI),
        of(400, {"error": {"code": 400, "message": "Failed to initialize samplers: failed to parse grammar", "type": "invalid_request_error"}}, LLAMA),
        of(500, {"error": {"code": 500, "message": "failed to parse grammar", "type": "server_error"}}, LLAMA),
        of(400, {"object": "error", "message": "Grammar error: the JSON schema uses features that xgrammar lacks", "type": "BadRequestError", "param": None, "code": 400}, LLAMA),
        of(422, {"detail": [{"loc": ["body", "response_format", "type"], "msg": "Input should be 'json_object'", "type": "literal_error"}]}, LLAMA),
        of(400, asked("This model does not support response_format json_schema"), GATEWAY),
        of(400, b"", LLAMA),
    ],
)  # fmt: skip
def test_a_schema_that_is_refused_is_told_from_a_bad_document(told: FieldsiftError) -> None:
    assert isinstance(told, ReplyError)
    assert told.reason == "schema_refused"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (google(400, "Request contains an invalid argument.", ELSEWHERE), "http_400"),
        (google(400, "Unable to process input image. Please retry or report."), "document_refused"),
        (google(400, "The document has no pages."), "document_refused"),
        (of(400, {"error": {"code": 400, "message": "Failed to load image or audio file", "type": "invalid_request_error"}}, LLAMA), "document_refused"),
        (of(500, {"error": {"code": 500, "message": "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", "type": "server_error"}}, LLAMA), "unsupported_input"),
        (of(404, {"error": {"message": "No endpoints found that support image input", "code": 404}}, GATEWAY), "unsupported_input"),
        (google(400, "Unsupported MIME type: application/msword"), "unsupported_input"),
        (of(400, asked("Invalid content type. image_url is only supported by certain models."), OPENAI), "unsupported_input"),
        (of(400, asked("Unsupported parameter: 'max_tokens' is not supported with this model.", code="unsupported_parameter"), OPENAI), "unsupported_setting"),
        (google(400, "Thinking level MINIMAL is not supported for this model."), "unsupported_setting"),
        (google(400, "GenerateContentRequest.tools[0].function_declarations[0].parameters: schema is missing"), "http_400"),
        (google(400, "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."), "too_long"),
        (of(400, {"object": "error", "message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens", "type": "BadRequestError", "code": 400}, LLAMA), "too_long"),
        (of(400, asked("You passed 1015 input tokens and requested 10 output tokens. However, the model's context length is only 1024 tokens", param="input_tokens"), LLAMA), "too_long"),
        (of(400, asked("nope", code="context_length_exceeded"), OPENAI), "too_long"),
        (of(429, asked("Request too large for gpt-9 on tokens per min (TPM): Limit 30000, Requested 40000."), OPENAI), "too_large"),
        (google(400, "Request payload size exceeds the limit: 104857600 bytes."), "too_large"),
        (google(400, "The document contains 1500 pages which exceeds the supported page limit of 1000."), "too_large"),
        (of(413, b"<html>nginx</html>"), "too_large"),
        (of(302, b""), "redirect"),
        (of(204, b""), "http_204"),
        (of(418, {"message": "a teapot"}), "http_418"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_request_is_told_by_its_reason(
    told: FieldsiftError, reason: str
) -> None:
    assert type(told) is ReplyError
    assert told.reason == reason


def test_a_context_that_is_too_small_is_told_in_numbers() -> None:
    told = of(
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 14429,
                "n_ctx": 8192,
            }
        },
        LLAMA,
    )
    assert "14,429 tokens, 8,192 fit" in str(told)


@pytest.mark.parametrize(
    "told",
    [
        of(400, asked("The response was filtered", code="content_filter"), OPENAI),
        of(400, asked("Your request was rejected as a result of our safety system."), OPENAI),
        of(403, {"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"]}}}, GATEWAY),
        of(400, {"error": {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}}, GATEWAY),
    ],
)  # fmt: skip
def test_content_that_a_gateway_does_not_want_is_refused_not_failed(told: FieldsiftError) -> None:
    assert type(told) is ContentRefused
    assert told.reason == "content_refused"


# Which model, and where


@pytest.mark.parametrize(
    ("at", "told", "words"),
    [
        (endpoint(model="gemini-3.1-flash-lite-preview"), error(404, "gone").body, "2026-05-25, use gemini-3.1-flash-lite"),
        (endpoint(model="gemini-3.5-flash-light"), error(404, "models/x is not found").body, "there are gemini-3.5-flash-lite"),
        (OPENAI, asked("The model `gpt-9` does not exist or you do not have access to it.", code="model_not_found"), "no model 'gpt-9'"),
        (LLAMA, {"error": "model 'small' not found, try pulling it first"}, "try pulling it first"),
        (VERTEX, [error(404, "Publisher Model `projects/acme-42` was not found").body], "no model"),
    ],
)  # fmt: skip
def test_a_model_that_is_not_there_names_those_that_are(
    at: Endpoint, told: Any, words: str
) -> None:
    got = of(404, told, at)
    assert isinstance(got, ReplyError)
    assert got.reason == "not_found_model"
    assert words in str(got)


def test_a_gateway_without_a_channel_for_the_model_says_so_whatever_its_status() -> None:
    told = of(503, asked("No available channel for model x", code="model_not_found"), GATEWAY)
    assert isinstance(told, ReplyError)
    assert told.reason == "not_found_model"


@pytest.mark.parametrize(
    "body",
    [
        b"<html><title>Error 404 (Not Found)!!1</title></html>",
        b"404 page not found",
        b"",
        {"detail": "Not Found"},
        {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}},
        asked("Invalid URL (POST /v1/v1/chat/completions)"),
    ],
)
def test_a_wrong_address_is_not_taken_for_a_wrong_model(body: Any) -> None:
    told = of(404, body, OPENAI)
    assert isinstance(told, ReplyError)
    assert told.reason == "http_404"
    assert "check the address" in str(told)


def test_words_are_not_put_together_from_a_message_and_a_code() -> None:
    """What stands in place of the key names a key; that makes it no error about keys."""
    told = google(400, f"bad {KEY}")
    assert isinstance(told, ReplyError)
    assert told.reason == "http_400"


# Shapes


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "the words"}},
        [{"error": {"message": "the words"}}],
        [[{"error": {"error": {"message": "the words"}}}]],
        {"error": "the words"},
        {"error": {"message": json.dumps({"error": {"message": "the words", "code": 500}})}},
        {"detail": "the words"},
        {"detail": {"error": {"message": "the words"}}},
        {"detail": [{"loc": ["body", 0], "msg": "the words"}]},
        {"message": "the words"},
        {"msg": "the words", "code": 1},
        {"error": {"details": [{"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "message": "the words"}]}},
        b"the words",
        b"\xff\xfe the words",
    ],
)  # fmt: skip
def test_the_services_words_are_found_in_every_shape(body: Any) -> None:
    assert "the words" in str(of(500, body))


def test_what_a_gateway_suggests_is_passed_on() -> None:
    told = of(429, asked("busy", fallback_suggestion="try gemini-3.5-flash-lite"), GATEWAY)
    assert "suggests try gemini-3.5-flash-lite" in str(told)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"code": 429, "message": "q"}}, 429),
        ({"error": {"code": "429"}}, 429),
        ({"error": {"code": 8, "message": "grpc"}}, 429),
        ({"error": {"code": "x", "status": "UNAVAILABLE"}}, 503),
        ({"error": {"type": "authentication_error"}}, 401),
        ({"error": {"code": None, "type": ["odd"]}}, 500),
        ({"error": "words"}, 500),
        ({"detail": "Not Found", "status": 404}, 404),
        ({"error": None, "choices": []}, None),
        ({"error": {"code": 500}, "choices": []}, None),
        ({"candidates": [], "error": "x"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_an_error_inside_a_success_is_seen(body: dict[str, Any], status: int | None) -> None:
    """Only where there is no answer beside it."""
    assert error_inside(body) == status


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff", b"[]", b"null", b'"ok"'])
def test_a_success_that_is_no_answer_is_asked_again_and_counts_as_billed(body: bytes) -> None:
    with pytest.raises(Transient) as told:
        sound(Answer(200, {}, body), endpoint())
    assert told.value.billed


def test_a_stream_that_ends_in_an_error_is_billed_and_one_that_begins_so_is_not() -> None:
    """What came before the error was worked on."""
    events = [{"choices": []}, {"error": {"code": 503, "message": "busy"}}]
    with pytest.raises(Transient) as late:
        sound(Answer(200, {}, b""), endpoint(), lambda _: events)
    with pytest.raises(Transient) as early:
        sound(Answer(200, {}, b""), endpoint(), lambda _: events[1:])
    assert (late.value.reason, late.value.billed) == ("http_503", True)
    assert (early.value.reason, early.value.billed) == ("http_503", False)
    assert sound(Answer(200, {}, b"whole"), endpoint(), lambda _: events[:1]) == b"whole"


# Hostile


TOKEN = "ya29.a0AfH6SMC-canary_token"


def test_neither_key_nor_token_stands_in_a_message() -> None:
    """Servers echo what they got: also escaped, also as the token of other credentials."""
    bodies = [
        asked(f"bad key {KEY}"),
        asked(f"Authorization: Bearer {TOKEN}"),
        asked(f"token {TOKEN} expired", code=KEY, fallback_suggestion=KEY),
        json.dumps(asked(KEY)).replace("A", "\\u0041").encode(),
        f"<title>{KEY}</title>".encode(),
        {"error": {"message": "x", "details": [info("SERVICE_DISABLED", activationUrl=f"https://a/{KEY}")]}},
        {"detail": [{"loc": ["body", KEY], "msg": "odd"}]},
    ]  # fmt: skip
    for body in bodies:
        for status in (400, 401, 403, 404, 429, 500):
            told = str(of(status, body))
            assert KEY not in told
            assert TOKEN not in told


NAMES = """error message code type param status details @type violations quotaId quotaValue reason metadata links url
fieldViolations field description detail loc msg retryDelay activationUrl n_prompt_tokens n_ctx fallback_suggestion object""".split()  # noqa: SIM905, names as they stand in bodies
WORDS = [KEY, f"Bearer {KEY}", "type.googleapis.com/google.rpc.ErrorInfo", "type.googleapis.com/google.rpc.QuotaFailure", "google.rpc.RetryInfo",
         "google.rpc.Help", "google.rpc.BadRequest", "INVALID_ARGUMENT", "99999999999s", "limit: 0", '{"error": {}}', "[[", "a\x1b[31m\n\u2028b",
         "\ud800", "https://x.example/y", "model not found"]  # fmt: skip
BODIES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["retry-after", "retry-after-ms", "date", "x-ratelimit-reset-requests", "x-ratelimit-reset",
         "x-ratelimit-remaining-requests", "ratelimit-reset"]
    ),
    st.sampled_from(["0", "17", "1e9", "9" * 30, "-1", "soon", "6m0s", "Wed, 99 Foo", "1795255230", "Sat, 21 Nov 2026 10:00:00 GMT",
                     "Mon, 01 Jan 0001 00:00:00 +2359", "nan", ""])
    | st.text(max_size=10),
)  # fmt: skip
ENDPOINTS = st.sampled_from([endpoint(), replace(GATEWAY, key_name=""), LLAMA, VERTEX])


@given(
    status=st.integers(100, 599),
    headers=HEADERS,
    body=BODIES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200),
    at=ENDPOINTS,
)
@settings(max_examples=600, deadline=None)
def test_any_answer_is_one_of_our_errors_in_one_clean_line(
    status: int, headers: dict[str, str], body: bytes, at: Endpoint
) -> None:
    """Nothing that a server sends crashes us, breaks the terminal, or brings the key into a message."""
    told = fault(Answer(status, headers, body), at)
    assert isinstance(told, FieldsiftError)
    line = str(told)
    assert line.isprintable()
    assert 0 < len(line) < 1200
    assert not at.key or KEY not in line
    if isinstance(told, Transient):
        assert told.wait is None or 0 <= told.wait <= 3600
    with suppress(FieldsiftError):
        assert sound(Answer(200, headers, body), at) == body


@pytest.mark.parametrize("depth", [100, 100_000])
def test_depth_and_length_do_no_harm(depth: int) -> None:
    for body in (
        b"[" * depth,
        b"[" * depth + b"]" * depth,
        b'{"error":' * depth + b"{}" + b"}" * depth,
        json.dumps(asked("{" * depth)).encode(),
        json.dumps({"error": {"details": [VIOLATED] * depth, "message": "x" * depth}}).encode(),
    ):
        assert len(str(of(400, body))) < 1200


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (error(429, "q", quota("GenerateContentInputTokensPerModelPerMinute-PaidTier1")), "tokens"),
        (error(429, "q", quota("GenerateRequestsPerMinutePerProjectPerModel")), "requests"),
        (error(429, "Rate limit reached on tokens per min (TPM): Limit 10000"), "tokens"),
        (error(429, "Rate limit reached on requests per min (RPM): Limit 3"), "requests"),
        (error(429, "Resource exhausted"), ""),
    ],
)  # fmt: skip
def test_a_refusal_says_which_quota_of_a_minute_it_is_about(answer: Any, named: str) -> None:
    """So that the right one is learned."""
    told = fault(Answer(429, {}, json.dumps(answer.body).encode()), endpoint())
    assert isinstance(told, Transient)
    assert told.quota == named
