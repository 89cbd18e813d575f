"""Vertex AI: addresses by location, the machine's own credentials, and files in a bucket."""

import asyncio
import hashlib
import json
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pipeline import catalogue
from pipeline.api import Storage, open_runner
from pipeline.config import Call, plan
from pipeline.errors import (
    FieldsiftError,
    KeyRefused,
    ReplyError,
    SetupError,
    Transient,
    UsageError,
)
from pipeline.providers import Endpoint, Request
from pipeline.providers.gemini import Gemini
from pipeline.providers.gemini.place import place_of
from pipeline.providers.gemini.vertex import GoogleCredentials
from pipeline.runner import Options
from pipeline.sources import named_file
from pipeline.stages import Stage
from tests.answers import Answer, Seen, error, generated, reset
from tests.asking import file_part, request, text_part
from tests.server import Server

T = TypeVar("T")
VERTEX = catalogue.service("vertex")
assert VERTEX is not None
MODEL = "gemini-3.1-flash-lite"
PLACED = f"/publishers/google/models/{MODEL}"
PATH = f"/v1/projects/acme/locations/global{PLACED}:generateContent"
PICTURE = file_part(bytes(range(256)) * 28_000, "image/png")  # 7,168,000 bytes


def vertex(server: Server | None = None, **changes: Any) -> Endpoint:
    """An endpoint on Vertex AI; its model and its bucket are at a test server."""
    url = server.url if server else ""
    facts = replace(VERTEX, storage_url=url) if VERTEX and url else None
    return replace(Endpoint("vertex", MODEL, url, project="acme", facts=facts), **changes)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def nap(seconds: float) -> None:
    await asyncio.sleep(0)


def sent(at: Endpoint, *requests: Request) -> list[Any]:
    """Send one after another; bodies and errors."""

    async def work() -> list[Any]:
        provider = Gemini(at, sleep=nap)
        answers: list[Any] = []
        try:
            for one in requests or (asked(),):
                try:
                    answers.append(await provider.send(one))
                except FieldsiftError as failure:
                    answers.append(failure)
        finally:
            await provider.aclose()
        return answers

    return run(work())


def asked(*parts: Any) -> Request:
    return replace(request(*parts), provider="vertex")


def serving() -> Server:
    return Server(lambda seen: generated({"total": 5}))


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Google credentials, that is no machine of Google's."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture(scope="session")
def private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, private_key: str) -> Any:
    """Puts the file of a service account where google-auth looks for it; its tokens come from a server."""

    def put(server: Server, **changes: Any) -> None:
        told = {
            "type": "service_account",
            "project_id": "acme",
            "private_key_id": "1",
            "private_key": private_key,
            "client_email": "runner@acme.iam.gserviceaccount.com",
            "token_uri": f"{server.url}/token",
        }
        file = tmp_path / "account.json"
        file.write_text(json.dumps(told | changes))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))

    return put


def models(server: Server) -> list[Seen]:
    return [seen for seen in server.requests if "/publishers/" in seen.path]


def test_what_all_documents_share_goes_into_a_cache_there_too(account: Any) -> None:
    """Named with project and location, read by each question, deleted at the end."""
    book = text_part("Code 7: goods, rate 19 %. " * 900)
    with serving() as server:
        account(server)
        both = (replace(asked(book, text_part(f"Total: {n}")), shared=1) for n in range(2))
        answers = sent(vertex(server), *both)
        assert all(isinstance(body, bytes) for body in answers)
        name = "projects/acme/locations/global/cachedContents/1"
        assert [seen.body.get("cachedContent") for seen in models(server)] == [name, name]
        assert server.state["made"] == 1
        assert server.state["caches"] == {}


# a whole run ----------------------------------------------------------------------------------


def test_a_run_on_vertex_needs_a_project_and_the_machines_credentials(
    account: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From the environment alone, as Google's own tools read it."""
    (tmp_path / "a.txt").write_text("Receipt No: R-0042\nTotal 12.50 EUR\n")

    async def work() -> list[str]:
        stage = Stage("receipt", schema="receipt_number, total float")
        settings = {"model": f"vertex:{MODEL}", "output": tmp_path / "out"}
        decided = plan(settings, Call(), [stage])
        async with open_runner(decided, Options(), Storage()) as runner:
            return [r.status async for r in runner.run([named_file(str(tmp_path / "a.txt"))])]

    data = {"receipt_number": "R-0042", "total": 12.5}
    with Server(answers={"R-0042": data}) as server:
        account(server)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west4")
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", server.url)
        assert run(work()) == ["valid"]
        [asked] = models(server)
        assert asked.path == PATH.replace("global", "europe-west4")
    [written] = (tmp_path / "out/receipt").rglob("a.txt.json")
    assert json.loads(written.read_text()) == data


# addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("", "aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
    ],
)
def test_a_location_has_its_address(location: str, host: str) -> None:
    shown = Gemini(vertex(location=location)).shown(asked())
    where = location or "global"
    assert shown.url == (
        f"https://{host}/v1/projects/acme/locations/{where}{PLACED}:generateContent"
    )
    assert shown.headers["Authorization"] == "Bearer $GOOGLE_ACCESS_TOKEN"


def test_express_mode_names_neither_project_nor_location() -> None:
    at = vertex(project="", key="AQ.express-key", key_name="VERTEX_API_KEY")
    shown = Gemini(at).shown(asked())
    assert shown.url == f"https://aiplatform.googleapis.com/v1{PLACED}:generateContent"
    assert shown.headers["x-goog-api-key"] == "$VERTEX_API_KEY"
    with serving() as server:
        [body] = sent(replace(at, base_url=server.url))
        assert isinstance(body, bytes)
        assert server.requests[0].headers["x-goog-api-key"] == "AQ.express-key"


@pytest.mark.parametrize(
    "changes",
    [
        {"location": "evil.example/"},
        {"location": "EU"},
        {"location": "a@b"},
        {"project": "../x"},
        {"project": "a/b"},
        {"project": "a b"},
    ],
)
def test_nothing_else_gets_into_an_address(changes: Any) -> None:
    """The address gets a token: a location must not lead it elsewhere."""
    with pytest.raises(UsageError, match="GOOGLE_CLOUD"):
        Gemini(vertex(**changes))


def test_names_in_bodies_hold_project_and_location() -> None:
    place = place_of(vertex(location="eu"))
    assert place.model(MODEL) == f"projects/acme/locations/eu/publishers/google/models/{MODEL}"
    assert place_of(Endpoint("gemini", MODEL)).model(MODEL) == f"models/{MODEL}"


# credentials ----------------------------------------------------------------------------------


def test_a_service_account_gets_a_token_and_uses_it_again(account: Any) -> None:
    with serving() as server:
        account(server)
        answers = sent(vertex(server), asked(), asked(text_part("Total: 6")))
        assert all(isinstance(body, bytes) for body in answers)
        assert len(server.state["grants"]) == 1
        assert [seen.path for seen in models(server)] == [PATH, PATH]
        for seen in models(server):
            assert seen.headers["authorization"] == "Bearer ya29.token-1"
            assert "x-goog-api-key" not in seen.headers
            assert [turn["role"] for turn in seen.body["contents"]] == ["user"]


def test_the_credentials_of_a_person_name_the_project_that_pays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As `gcloud auth application-default login` leaves them."""
    with serving() as server:
        # Such a file names no token server of its own; google-auth's constant does.
        monkeypatch.setattr(
            "google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{server.url}/token"
        )
        folder = tmp_path / "gcloud"
        folder.mkdir()
        (folder / "application_default_credentials.json").write_text(
            json.dumps(
                {
                    "type": "authorized_user",
                    "client_id": "id.apps.googleusercontent.com",
                    "client_secret": "secret",
                    "refresh_token": "1//refresh",
                    "quota_project_id": "payer",
                }
            )
        )
        [body] = sent(vertex(server))
        assert isinstance(body, bytes)
        assert models(server)[0].headers["x-goog-user-project"] == "payer"
        assert server.state["grants"][0]["refresh_token"] == "1//refresh"


def test_requests_at_once_ask_for_one_token(account: Any) -> None:
    async def work(at: Endpoint) -> None:
        provider = Gemini(at)
        await asyncio.gather(*(provider.send(asked(text_part(str(n)))) for n in range(8)))
        await provider.aclose()

    with serving() as server:
        account(server)
        run(work(vertex(server)))
        assert len(server.state["grants"]) == 1
        assert len(models(server)) == 8


def test_a_token_is_renewed_before_it_expires(account: Any) -> None:
    with serving() as server:
        account(server)
        server.state["token_lives"] = 100  # google-auth takes 3:45 minutes for expired
        sent(vertex(server), asked(), asked(text_part("Total: 6")))
        assert [seen.headers["authorization"] for seen in models(server)] == [
            "Bearer ya29.token-1",
            "Bearer ya29.token-2",
        ]


def test_a_token_that_is_refused_is_renewed_once(account: Any) -> None:
    """It may have been revoked, or a clock goes wrong."""
    with serving() as server:
        account(server)
        server.state["tokens"] = {"ya29.token-2"}
        [body] = sent(vertex(server), asked(file_part(b"%PDF large" * 50_000)))
        assert isinstance(body, bytes)
        first, second = models(server)
        assert first.raw == second.raw, "the whole body goes out again"
    with serving() as server:
        account(server)
        server.state["tokens"] = set()
        [failure] = sent(vertex(server))
        assert isinstance(failure, KeyRefused)
        assert len(models(server)) == 2


def test_requests_that_are_refused_at_once_renew_one_token(account: Any) -> None:
    async def work(at: Endpoint) -> None:
        provider = Gemini(at)
        await asyncio.gather(*(provider.send(asked(text_part(str(n)))) for n in range(6)))
        await provider.aclose()

    with serving() as server:
        account(server)
        server.state["tokens"] = {"ya29.token-2"}
        run(work(vertex(server)))
        assert len(server.state["grants"]) == 2


def test_no_credentials_name_the_ways_to_them() -> None:
    with serving() as server:
        [failure] = sent(vertex(server))
        assert isinstance(failure, SetupError)
        assert "gcloud auth application-default login" in str(failure)
        assert "GOOGLE_APPLICATION_CREDENTIALS" in str(failure)
        assert server.requests == []


def test_a_missing_project_names_its_variable() -> None:
    with serving() as server:
        [failure] = sent(vertex(server, project=""))
        assert isinstance(failure, SetupError)
        assert "GOOGLE_CLOUD_PROJECT" in str(failure)
        assert "GOOGLE_CLOUD_LOCATION" in str(failure)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"type": "service_account"}', '{"type": "odd"}', "\x00"]
)
def test_a_file_that_holds_no_credentials_is_said(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "account.json"
    file.write_text(text)
    for name in (str(file), str(tmp_path / "missing.json")):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", name)
        [failure] = sent(vertex(base_url="http://127.0.0.1:9"))
        assert isinstance(failure, SetupError)
        assert "GOOGLE_APPLICATION_CREDENTIALS" in str(failure)


def test_an_unusable_private_key_is_said(account: Any) -> None:
    with serving() as server:
        account(server, private_key="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----")
        [failure] = sent(vertex(server))
        assert isinstance(failure, SetupError)


def test_without_googles_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth.transport.requests", None)
    [failure] = sent(vertex(base_url="http://127.0.0.1:9"))
    assert isinstance(failure, SetupError)
    assert "pip install 'fieldsift[vertex]'" in str(failure)


def test_credentials_that_the_token_server_refuses_end_the_run(account: Any) -> None:
    with serving() as server:
        account(server)
        refused = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        server.state["token_answers"] = [Answer(400, refused)]
        [failure] = sent(vertex(server))
        assert isinstance(failure, KeyRefused)
        assert "Invalid JWT Signature" in str(failure)
        assert "gcloud auth application-default login" in str(failure)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {}),
        Answer(200, []),
        Answer(200, b"<html>"),
        Answer(200, {"access_token": "t", "expires_in": "soon"}),
        Answer(302, b"", headers={"Location": "/elsewhere"}),
        Answer(403, b"\xff\xfe"),
    ],
)
def test_a_token_server_that_answers_anything_ends_in_our_own_error(
    answer: Answer, account: Any
) -> None:
    with serving() as server:
        account(server)
        server.wrong_on_purpose = True
        server.state["token_answers"] = [answer] * 3
        [failure] = sent(vertex(server))
        assert isinstance(failure, FieldsiftError)


def test_a_token_server_that_fails_may_pass(account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """google-auth tries three times itself."""
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda seconds: None)
    with serving() as server:
        account(server)
        server.state["token_answers"] = [error(503) for _ in range(3)]
        failure, body = sent(vertex(server), asked(), asked())
        assert isinstance(failure, Transient)
        assert isinstance(body, bytes)


def test_a_token_server_that_is_down_may_pass(account: Any) -> None:
    with serving() as server:
        account(server, token_uri="http://127.0.0.1:9/token")
        [failure] = sent(vertex(server))
        assert isinstance(failure, Transient)
        assert failure.reason == "unreachable"


def test_a_token_server_behind_a_proxy_is_reached(
    account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server:
        account(server, token_uri="http://tokens.test/token")
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        [body] = sent(vertex(server))
        assert isinstance(body, bytes)
        assert server.requests[0].path == "http://tokens.test/token"


def test_a_token_that_a_server_echoes_is_taken_out(account: Any) -> None:
    """Neither answers, which are kept, nor messages hold one."""
    with Server(lambda seen: generated({"vendor": seen.headers["authorization"]})) as server:
        account(server)
        [body] = sent(vertex(server))
        assert b"ya29" not in body
        assert b"Bearer [token]" in body
    with Server(lambda seen: error(400, f"no {seen.headers['authorization']}")) as server:
        account(server)
        [failure] = sent(vertex(server))
        assert "ya29" not in str(failure)


def test_who_is_refused_late_does_not_throw_a_good_token_away(account: Any) -> None:
    async def work(at: Endpoint) -> None:
        credentials = GoogleCredentials(at)
        old = await credentials.headers()
        assert await credentials.renew(old)
        assert await credentials.renew(old)
        assert (await credentials.headers())["authorization"] == "Bearer ya29.token-2"

    with serving() as server:
        account(server)
        run(work(vertex(server)))
        assert len(server.state["grants"]) == 2


# what costs nothing ---------------------------------------------------------------------------


def test_tokens_are_counted_in_the_form_of_vertex(account: Any) -> None:
    async def work(at: Endpoint) -> int:
        provider = Gemini(at)
        try:
            return await provider.count(asked())
        finally:
            await provider.aclose()

    with serving() as server:
        account(server)
        sent(vertex(server))
        server.next(Answer(body={"access_token": "t", "expires_in": 3600}))
        server.next(Answer(body={"totalTokens": 42}))
        assert run(work(vertex(server))) == 42
        seen = server.requests[-1]
        assert seen.path == PATH.replace(":generateContent", ":countTokens")
        assert set(seen.body) == {"contents", "systemInstruction", "generationConfig"}


# files in a bucket ----------------------------------------------------------------------------


def test_a_large_picture_goes_into_the_bucket(account: Any) -> None:
    with serving() as server:
        account(server)
        [body] = sent(vertex(server, bucket="gs://bucket/in/here"), asked(PICTURE))
        assert isinstance(body, bytes)
        name = f"in/here/{PICTURE.sha256}"
        assert hashlib.sha256(server.state["objects"][name]).hexdigest() == PICTURE.sha256
        assert models(server)[0].parts == [
            {"fileData": {"mimeType": "image/png", "fileUri": f"gs://bucket/{name}"}}
        ]
        assert all(
            seen.headers["authorization"] == "Bearer ya29.token-1"
            for seen in server.requests
            if "/storage/" in seen.path
        )
        assert server.state["sessions"]["1"]["type"] == "image/png"


def test_what_lies_in_the_bucket_already_is_not_put_there_again(account: Any) -> None:
    with serving() as server:
        account(server)
        at = vertex(server, bucket="gs://bucket")
        sent(at, asked(PICTURE), asked(PICTURE, text_part("again")))
        sent(at, asked(PICTURE))
        assert len(server.state["sessions"]) == 1
        looks = [seen for seen in server.requests if "/storage/v1/b/bucket/o/" in seen.path]
        assert len(looks) == 2, "once for each process"


def test_an_upload_to_the_bucket_goes_on_where_it_was_cut(account: Any) -> None:
    large = file_part(bytes(range(251)) * 80_000, "image/png")  # 20 MB, three chunks
    with serving() as server:
        account(server)
        server.state["take"] = 3_000_000
        [body] = sent(vertex(server, bucket="gs://bucket"), asked(large))
        assert isinstance(body, bytes)
        assert server.state["objects"][large.sha256] == large.data
        ranges = [seen.headers["content-range"] for seen in server.requests if seen.method == "PUT"]
        assert ranges == [
            "bytes 0-8388607/20080000",
            "bytes */20080000",
            "bytes 3000000-11388607/20080000",
            "bytes 11388608-19777215/20080000",
            "bytes 19777216-20079999/20080000",
        ]


def test_a_lost_answer_to_the_last_chunk_in_the_bucket_is_asked_for(account: Any) -> None:
    with serving() as server:
        account(server)
        server.state["lose_end"] = True
        [body] = sent(vertex(server, bucket="gs://bucket"), asked(PICTURE))
        assert isinstance(body, bytes)
        assert [seen.method for seen in server.requests].count("PUT") == 2


def test_two_that_put_the_same_there_do_not_quarrel(account: Any) -> None:
    """Between the look and the upload somebody else was quicker."""
    with serving() as server:
        account(server)
        at = vertex(server, bucket="gs://bucket")
        sent(at, asked(PICTURE))
        server.next(Answer(body={"access_token": "ya29.token-1", "expires_in": 3600}))
        server.next(Answer(404, {"error": {"code": 404, "message": "No such object"}}))
        [body] = sent(at, asked(PICTURE))
        assert isinstance(body, bytes)
        assert [seen.method for seen in server.requests].count("PUT") == 1


def test_an_object_that_is_gone_is_put_there_anew(account: Any) -> None:
    async def work(at: Endpoint, server: Server) -> None:
        provider = Gemini(at)
        await provider.send(asked(PICTURE))
        server.state["objects"].clear()
        await provider.send(asked(PICTURE))
        await provider.aclose()

    with serving() as server:
        account(server)
        run(work(vertex(server, bucket="gs://bucket"), server))
        assert list(server.state["objects"]) == [PICTURE.sha256]


def test_something_else_under_that_name_is_not_sent(account: Any) -> None:
    with serving() as server:
        account(server)
        at = vertex(server, bucket="gs://bucket")
        sent(at, asked(PICTURE))
        server.state["size"] = 5
        [failure] = sent(at, asked(PICTURE))
        assert isinstance(failure, ReplyError)
        assert failure.reason == "bucket_mismatch"


def test_a_bucket_that_is_not_there_fails_the_document(account: Any) -> None:
    with serving() as server:
        account(server)
        [failure] = sent(vertex(server, bucket="gs://another"), asked(PICTURE))
        assert isinstance(failure, ReplyError)
        assert "gs://another can't be used: 404: The specified bucket does not exist." in str(
            failure
        )


def test_a_bucket_that_is_down_may_pass(account: Any) -> None:
    with serving() as server:
        account(server)
        sent(vertex(server))
        server.next(Answer(body={"access_token": "ya29.token-1", "expires_in": 3600}), reset())
        [failure] = sent(vertex(server, bucket="gs://bucket"), asked(PICTURE))
        assert isinstance(failure, Transient)
        assert not failure.billed


def test_without_a_bucket_a_large_picture_is_refused_with_the_way_out() -> None:
    [failure] = sent(vertex(base_url="http://127.0.0.1:9"), asked(PICTURE))
    assert isinstance(failure, ReplyError)
    assert failure.reason == "too_large"
    assert 'bucket = "gs://name/folder" under [providers.vertex]' in str(failure)


@pytest.mark.parametrize("address", ["bucket", "gs://", "gs://A", "s3://bucket", "gs://b\n/x"])
def test_what_is_no_bucket_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="gs://name/folder"):
        Gemini(vertex(bucket=address))
