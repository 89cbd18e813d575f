"""Large files are uploaded once and used by their address; shared parts lie in a cache that is kept alive."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import catalogue
from pipeline.errors import FieldsiftError, KeyRefused, ReplyError, Transient
from pipeline.ledger import Shelf
from pipeline.providers import Endpoint, Request
from pipeline.providers.faults import Answer as Came
from pipeline.providers.gemini import Gemini, caches
from pipeline.providers.gemini.files import Files, seconds
from pipeline.providers.gemini.resumable import Progress, push
from pipeline.providers.gemini.stored import too_large
from pipeline.providers.once import Once
from tests.answers import Answer, Seen, error, generated, reset
from tests.asking import KEY, endpoint, file_part, request, text_part
from tests.routes_files import expire, missing
from tests.server import Server

T = TypeVar("T")
GEMINI = catalogue.service("gemini")
assert GEMINI is not None
#: A service that takes little inside a request.
SMALL = replace(GEMINI, inline_bytes=20_000)
LARGE = file_part(bytes(range(256)) * 200)  # 51,200 bytes
LONG = text_part("Terms of delivery, read them well. " * 300)  # about 2,600 tokens


def serving() -> Server:
    """A server that answers, unless a question names what is not there."""
    server: Server

    def reply(seen: Seen) -> Answer:
        return missing(seen, server) or generated({"total": 5})

    server = Server(reply)
    return server


def at(server: Server, **changes: Any) -> Endpoint:
    return endpoint(server.url, **{"facts": SMALL, **changes})


class Naps:
    """Sleeps that take no time; how long they would have been."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def provider(
    server: Server, shelf: Shelf | None = None, naps: Naps | None = None, **changes: Any
) -> AsyncIterator[Gemini]:
    opened = Gemini(at(server, **changes), shelf=shelf, sleep=naps or Naps())
    try:
        yield opened
    finally:
        await opened.aclose()


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def sent(
    server: Server, *requests: Request, shelf: Shelf | None = None, naps: Naps | None = None
) -> list[Any]:
    """Send one after another with one provider; bodies and errors."""

    async def work() -> list[Any]:
        answers: list[Any] = []
        async with provider(server, shelf, naps) as opened:
            for each in requests:
                try:
                    answers.append(await opened.send(each))
                except FieldsiftError as failure:
                    answers.append(failure)
        return answers

    return run(work())


def questions(server: Server) -> list[Seen]:
    return [seen for seen in server.requests if ":generateContent" in seen.path]


def commands(server: Server) -> list[str]:
    found = [seen.headers.get("x-goog-upload-command") for seen in server.requests]
    return [command for command in found if command]


# files ----------------------------------------------------------------------------------------


def test_a_large_file_is_uploaded_and_referred_to() -> None:
    with serving() as server:
        [body] = sent(server, request(text_part("What is due?"), LARGE))
        assert json.loads(body)["candidates"]
        assert commands(server) == ["start", "upload, finalize"]
        [asked] = questions(server)
        assert asked.parts == [
            {"text": "What is due?"},
            {
                "fileData": {
                    "mimeType": "application/pdf",
                    "fileUri": f"{server.url}/v1beta/files/f1",
                }
            },
        ]
        assert server.state["digests"] == [LARGE.sha256]
        assert server.violations == []


def test_what_fits_goes_inside() -> None:
    with serving() as server:
        sent(server, request(file_part(b"%PDF small")))
        assert commands(server) == []
        assert "inlineData" in questions(server)[0].parts[0]


def test_a_file_in_chunks_arrives_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(251)) * 80_000  # 20 MB: three chunks of 8 MiB
    with serving() as server:
        [body] = sent(server, request(file_part(data)))
        assert isinstance(body, bytes)
        assert commands(server) == ["start", "upload", "upload", "upload, finalize"]
        assert server.state["digests"] == [hashlib.sha256(data).hexdigest()]
        assert server.violations == []


def test_the_key_of_a_request_does_not_know_where_its_files_lie() -> None:
    with serving() as server:
        asked = request(LARGE)
        before = asked.key()
        sent(server, asked)
        assert asked.key() == before
        assert replace(asked, shared=1).key() == before


def test_only_as_many_files_as_needed_lie_outside() -> None:
    parts = [file_part(bytes([n]) * size) for n, size in enumerate((9_000, 3_000, 8_000))]
    chosen = too_large(parts, 28_000, SMALL)
    assert [len(part.data) for part in chosen] == [9_000]
    assert too_large(parts, 20_000, SMALL) == []
    assert len(too_large([parts[0], parts[0]], 40_000, SMALL)) == 1
    # Where the text is what is too long, nothing is gained by sending a small file elsewhere.
    assert too_large([file_part(b"small")], 40_000, SMALL) == []


def test_a_file_is_used_again_by_later_runs(tmp_path: Path) -> None:
    with serving() as server:
        for _ in range(2):
            shelf = Shelf(tmp_path)
            sent(server, request(LARGE), shelf=shelf)
            shelf.close()
        assert commands(server) == ["start", "upload, finalize"]
        assert len(questions(server)) == 2
        stored = (tmp_path / "replies.sqlite").read_bytes()
        assert KEY.encode() not in stored


def test_another_key_does_not_use_the_file(tmp_path: Path) -> None:
    """It may belong to another project."""
    shelf = Shelf(tmp_path)

    async def work(server: Server) -> None:
        for key in (KEY, "AIzaSy-other-key-9876543210"):
            async with provider(server, shelf, key=key) as opened:
                await opened.send(request(LARGE))

    with serving() as server:
        run(work(server))
        assert commands(server).count("start") == 2
    shelf.close()


def test_two_requests_at_once_upload_a_file_once() -> None:
    async def work(server: Server) -> None:
        async with provider(server) as opened:
            asked = [request(text_part(f"Question {n}"), LARGE) for n in range(4)]
            await asyncio.gather(*(opened.send(each) for each in asked))

    with serving() as server:
        run(work(server))
        assert commands(server) == ["start", "upload, finalize"]
        assert len(questions(server)) == 4


def test_an_upload_that_is_cut_goes_on_where_it_was_cut() -> None:
    data = bytes(range(251)) * 50_000
    with serving() as server:
        server.state["take"] = 5_000_000
        naps = Naps()
        [body] = sent(server, request(file_part(data)), naps=naps)
        assert isinstance(body, bytes)
        assert commands(server) == ["start", "upload", "query", "upload, finalize"]
        offsets = [seen.headers.get("x-goog-upload-offset") for seen in server.requests]
        assert [offset for offset in offsets if offset] == ["0", "5000000"]
        assert server.state["digests"] == [hashlib.sha256(data).hexdigest()]
        assert naps.taken == [1.0]
        assert server.violations == []


def test_a_lost_answer_to_the_last_chunk_uploads_nothing_again() -> None:
    with serving() as server:
        server.state.update(lose_end=True, page=1)
        # A file of somebody else stands before it in the list, on a page of its own.
        server.state["files"] = {"files/x": {"name": "files/x", "uri": "u", "state": "ACTIVE"}}
        [body] = sent(server, request(LARGE))
        assert isinstance(body, bytes)
        assert commands(server) == ["start", "upload, finalize", "query"]
        assert questions(server)[0].parts[0]["fileData"]["fileUri"].endswith("/files/f1")


def test_an_upload_that_never_gets_through_is_given_up() -> None:
    with serving() as server:
        server.next(
            Answer(
                body=b"",
                headers={"X-Goog-Upload-URL": f"{server.url}/upload/v1beta/files?upload_id=x"},
            )
        )
        server.next(*(reset() for _ in range(20)))
        naps = Naps()
        [failure] = sent(server, request(LARGE), naps=naps)
        assert isinstance(failure, Transient)
        assert not failure.billed
        assert naps.taken == [1.0, 2.0, 4.0, 8.0]


def test_a_server_that_never_gets_further_is_given_up() -> None:
    """One that loses again what it has got does not keep us busy for ever."""
    puts: list[int] = []

    async def put(offset: int) -> Progress:
        puts.append(offset)
        assert len(puts) < 50
        return Progress(8 if offset < 8 else 5)

    async def query() -> Progress:
        return Progress(5)

    with pytest.raises(Transient, match="5 of 10 bytes"):
        run(push(10, put, query, Naps()))


def test_a_server_that_claims_more_than_there_is_is_given_up() -> None:
    told = {"X-Goog-Upload-Status": "active", "X-Goog-Upload-Size-Received": "99999999"}
    with serving() as server:
        server.next(
            Answer(
                body=b"",
                headers={"X-Goog-Upload-URL": f"{server.url}/upload/v1beta/files?upload_id=x"},
            )
        )
        server.next(*(Answer(body=b"", headers=told) for _ in range(20)))
        [failure] = sent(server, request(LARGE))
        assert isinstance(failure, Transient)
        assert failure.reason == "upload_lost"


def test_an_upload_address_elsewhere_gets_no_key() -> None:
    with serving() as server, serving() as other:
        server.state["upload_url"] = f"{other.url}/upload/v1beta/files?upload_id=u1"
        [failure] = sent(server, request(LARGE))
        assert isinstance(failure, Transient)
        assert failure.reason == "foreign_address"
        assert other.requests == []


def test_a_file_that_is_processed_is_waited_for() -> None:
    with serving() as server:
        server.state["looks"] = 3
        naps = Naps()
        [body] = sent(server, request(LARGE), naps=naps)
        assert isinstance(body, bytes)
        assert naps.taken == [1.0, 2.0, 3.0]


def test_a_file_that_is_processed_for_ever_is_given_up() -> None:
    with serving() as server:
        server.state["looks"] = 10**6
        naps = Naps()
        [failure] = sent(server, request(LARGE), naps=naps)
        assert isinstance(failure, Transient)
        assert failure.reason == "file_processing"
        assert 600 <= sum(naps.taken) < 610


def test_a_file_that_the_service_can_not_read_fails_its_document() -> None:
    with serving() as server:
        server.state["fails"] = True
        [failure] = sent(server, request(LARGE))
        assert isinstance(failure, ReplyError)
        assert failure.reason == "file_failed"
        assert "the file is damaged" in str(failure)
        assert server.state["files"] == {}, "it is taken away"


def test_a_file_that_is_gone_is_uploaded_anew_once() -> None:
    async def work(server: Server) -> None:
        async with provider(server) as opened:
            await opened.send(request(LARGE))
            expire(server)
            await opened.send(request(LARGE))

    with serving() as server:
        run(work(server))
        assert commands(server).count("start") == 2
        assert len(questions(server)) == 3


def test_a_file_that_stays_gone_is_not_uploaded_for_ever() -> None:
    gone = error(403, "You do not have permission to access the File f1 or it may not exist.")
    with Server(lambda seen: gone) as server:
        [failure] = sent(server, request(LARGE))
        assert isinstance(failure, FieldsiftError)
        assert commands(server).count("start") == 2
        assert len(questions(server)) == 2


def test_a_refused_key_uploads_nothing_again() -> None:
    with Server(lambda seen: error(403, "The caller does not have permission")) as server:
        [failure] = sent(server, request(LARGE))
        assert isinstance(failure, KeyRefused)
        assert commands(server).count("start") == 1


def test_a_file_is_left_alone_before_it_expires() -> None:
    """A request and its retries can take long: an hour is kept back."""
    with serving() as server:
        server.state["lives"] = 3000
        sent(server, request(LARGE), request(LARGE))
        assert commands(server).count("start") == 2


def test_a_file_that_is_too_large_everywhere_is_refused_before_anything_is_sent() -> None:
    with serving() as server:

        async def work() -> None:
            facts = replace(SMALL, file_bytes=50_000)
            async with provider(server, facts=facts) as opened:
                await opened.send(request(LARGE))

        with pytest.raises(ReplyError, match=r"51,200 bytes.*takes at most 50,000"):
            run(work())
        [failure] = sent(server, request(file_part(b"x", pages=1001)))
        assert "1,001 PDF pages" in str(failure)
        assert server.requests == []


def test_where_there_is_no_way_to_upload_the_request_is_refused_by_its_size() -> None:
    with serving() as server:

        async def work() -> None:
            facts = replace(SMALL, file_bytes=None, request_bytes=20_000)
            async with provider(server, facts=facts) as opened:
                await opened.send(request(LARGE))

        with pytest.raises(ReplyError, match="takes at most 20,000 in a request"):
            run(work())
        assert server.requests == []


def test_files_can_be_listed_looked_at_and_deleted() -> None:
    async def work(server: Server) -> None:
        async with provider(server) as opened:
            files = Files(opened._line, Shelf(None), "me", Naps())
            names = [(await files.upload(file_part(bytes([n])))).name for n in range(3)]
            server.state["page"] = 2
            assert [file.name async for file in files.list()] == names
            await files.delete(names[0])
            assert (await files.get(names[1])).state == "ACTIVE"
            with pytest.raises(FieldsiftError):
                await files.get(names[0])

    with serving() as server:
        run(work(server))
        assert server.violations == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ["file", "name", "uri", "state", "error", "expirationTime", "displayName", "files"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, st.sampled_from([200, 308, 400, 503]))
def test_whatever_the_service_says_of_a_file_only_our_own_errors_come(
    told: Any, status: int
) -> None:
    class Odd:
        endpoint = endpoint()

        async def ask(self, *given: Any) -> Came:
            headers = {"x-goog-upload-url": "http://h/u", "x-goog-upload-status": "final"}
            return Came(status, headers, json.dumps(told).encode())

    async def work() -> None:
        files = Files(Odd(), Shelf(None), "me", Naps())  # type: ignore[arg-type]
        for ask in (
            lambda: files.uri(LARGE),
            lambda: files.get("files/a"),
            lambda: _all(files.list()),
        ):
            with suppress(FieldsiftError):
                await ask()

    run(work())


async def _all(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-11-22T05:00:00Z", 1795323600.0),
        ("2026-11-22T05:00:00.123456789Z", 1795323600.123456),
        ("2026-11-22T05:00:00", 1795323600.0),
        ("soon", None),
        ("2026-13-01T00:00:00Z", None),
        (None, None),
        (7, None),
    ],
)
def test_times_of_the_service_are_read(text: Any, found: float | None) -> None:
    assert seconds(text) == found


# caches ---------------------------------------------------------------------------------------


def shared(number: int = 0, **changes: Any) -> Request:
    """A request with a long first part that other documents have too."""
    return replace(request(LONG, text_part(f"Invoice {number}")), shared=1, **changes)


def test_what_all_documents_share_goes_into_a_cache_once() -> None:
    with serving() as server:
        answers = sent(server, shared(1), shared(2))
        assert all(isinstance(body, bytes) for body in answers)
        [made] = [seen for seen in server.requests if seen.path == "/v1beta/cachedContents"]
        assert made.body["contents"] == [{"role": "user", "parts": [{"text": LONG.text}]}]
        assert made.body["systemInstruction"] == {"parts": [{"text": "Extract."}]}
        assert made.body["ttl"] == "900s"
        for number, asked in enumerate(questions(server), 1):
            assert asked.body["cachedContent"] == "cachedContents/c1"
            assert asked.parts == [{"text": f"Invoice {number}"}]
            assert not {"systemInstruction", "tools", "toolConfig"} & asked.body.keys()
            assert "responseJsonSchema" in asked.config
        assert server.violations == []
        assert server.state["caches"] == {}, "it is deleted when the provider closes"


def test_without_shared_parts_nothing_is_cached() -> None:
    with serving() as server:
        sent(server, replace(shared(), shared=0))
        assert len(server.requests) == 1


def test_too_little_is_not_cached() -> None:
    few = replace(request(text_part("Terms."), text_part("Invoice")), shared=1)
    with serving() as server:
        sent(server, few)
        assert len(server.requests) == 1
        assert "systemInstruction" in server.requests[0].body


def test_a_cache_that_the_service_finds_too_small_is_tried_once() -> None:
    """Tokens are estimated; the request goes without a cache then."""
    small = error(
        400, "Cached content is too small. total_token_count=16, min_total_token_count=1024"
    )
    with serving() as server:
        server.next(small)
        answers = sent(server, shared(1), shared(2))
        assert all(isinstance(body, bytes) for body in answers)
        assert [seen.path for seen in server.requests].count("/v1beta/cachedContents") == 1
        assert all("cachedContent" not in asked.body for asked in questions(server))


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
def test_a_cache_that_can_not_be_made_costs_no_document(status: int) -> None:
    """A free tier, for one, has no room for caches: 429 with a limit of 0."""
    with serving() as server:
        server.next(error(status, "TotalCachedContentStorageTokens limit: 0"))
        [body] = sent(server, shared())
        assert isinstance(body, bytes)
        assert "cachedContent" not in questions(server)[0].body


def test_requests_at_once_make_one_cache() -> None:
    async def work(server: Server) -> None:
        async with provider(server) as opened:
            await asyncio.gather(*(opened.send(shared(n)) for n in range(5)))

    with serving() as server:
        run(work(server))
        assert server.state["made"] == 1


def test_another_model_or_system_has_another_cache() -> None:
    with serving() as server:
        sent(server, shared(), shared(system="Translate."), shared(model="gemini-3.5-flash-lite"))
        assert server.state["made"] == 3


def test_a_cache_is_used_by_other_processes_and_deleted_by_who_made_it(tmp_path: Path) -> None:
    first, second = Shelf(tmp_path), Shelf(tmp_path)

    async def work(server: Server) -> None:
        async with provider(server, first) as maker:
            await maker.send(shared(1))
            async with provider(server, second) as user:
                await user.send(shared(2))
            assert len(server.state["caches"]) == 1
        assert server.state["caches"] == {}
        async with provider(server, second) as later:
            await later.send(shared(3))

    with serving() as server:
        run(work(server))
        assert server.state["made"] == 2
        assert len(questions(server)) == 3, "no question names a cache that is known to be gone"
    first.close()
    second.close()


def test_a_cache_that_is_gone_is_made_anew_once() -> None:
    async def work(server: Server) -> None:
        async with provider(server) as opened:
            await opened.send(shared(1))
            expire(server)
            await opened.send(shared(2))

    with serving() as server:
        run(work(server))
        assert server.state["made"] == 2
        assert len(questions(server)) == 3


def test_a_service_that_is_gone_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that can't be deleted in time expires by itself."""
    monkeypatch.setattr("pipeline.providers.gemini.caches._FAREWELL", 0.05)

    async def work(server: Server) -> None:
        async with provider(server) as opened:
            await opened.send(shared())
            server.next(Answer(hold=True))

    with serving() as server:
        run(work(server))
        assert len(server.state["caches"]) == 1


def test_a_cache_in_use_is_extended_before_half_of_its_time_is_over() -> None:
    with serving() as server:
        server.state["cache_lives"] = 300
        sent(server, shared(1), shared(2))
        assert [seen.method for seen in server.requests].count("PATCH") == 1
        assert server.state["made"] == 1
        assert server.violations == []


def test_a_cache_that_can_not_be_extended_is_made_anew() -> None:
    async def work(server: Server) -> None:
        async with provider(server) as opened:
            await opened.send(shared(1))
            expire(server)
            await opened.send(shared(2))

    with serving() as server:
        server.state["cache_lives"] = 300
        run(work(server))
        assert server.state["made"] == 2
        assert len(questions(server)) == 2


def test_large_shared_files_lie_outside_the_cache_too() -> None:
    asked = replace(request(LARGE, LONG, text_part("Invoice")), shared=2)
    with serving() as server:
        [body] = sent(server, asked)
        assert isinstance(body, bytes)
        [made] = [seen for seen in server.requests if seen.path == "/v1beta/cachedContents"]
        assert "fileData" in made.body["contents"][0]["parts"][0]
        assert questions(server)[0].parts == [{"text": "Invoice"}]


def test_caches_can_be_listed_and_looked_at() -> None:
    async def work(server: Server) -> None:
        async with provider(server) as opened:
            there = opened._store.caches
            assert await _all(there.list()) == []
            await opened.send(shared())
            [one] = await _all(there.list())
            assert await there.get(one.name) == one
            assert one.tokens > 1024

    with serving() as server:
        run(work(server))
        assert server.violations == []


@given(
    st.dictionaries(
        st.sampled_from(["name", "expireTime", "usageMetadata", "cachedContents"]), JSON
    )
    | JSON
)
def test_whatever_the_service_says_of_a_cache_only_our_own_errors_come(told: Any) -> None:
    class Odd:
        endpoint = endpoint()

        async def ask(self, *given: Any) -> Came:
            return Came(200, {}, json.dumps(told).encode())

    async def work() -> None:
        opened = Gemini(endpoint())
        there = caches.Caches(Odd(), opened._place, Shelf(None), "me")  # type: ignore[arg-type]
        with suppress(FieldsiftError):
            await _all(there.list())
            await there.get("cachedContents/a")

    run(work())


# the shelf ------------------------------------------------------------------------------------


def test_the_shelf_forgets_what_has_expired(tmp_path: Path) -> None:
    now = [1000.0]

    async def work(shelf: Shelf) -> None:
        await shelf.remember("a", "1", 1010)
        await shelf.remember("b", "2", 2000)
        assert (shelf.recall("a"), shelf.recall("b"), shelf.recall("c")) == ("1", "2", None)
        now[0] = 1010
        assert (shelf.recall("a"), shelf.recall("b")) == (None, "2")
        await shelf.remember("b", "", 0)
        assert shelf.recall("b") is None
        assert shelf.database.read("select count(*) from shelf") == (0,)
        await shelf.remember("d", "old", 2000)
        await shelf.remember("d", "new", 2000)
        assert shelf.recall("d") == "new"

    for folder in (tmp_path / "state", None):
        now[0] = 1000.0
        shelf = Shelf(folder, lambda: now[0])
        run(work(shelf))
        shelf.close()


def test_a_shelf_that_is_not_used_makes_no_file(tmp_path: Path) -> None:
    Shelf(tmp_path / "state").close()
    assert not (tmp_path / "state").exists()


# once -----------------------------------------------------------------------------------------


def test_work_goes_on_when_one_of_those_who_wait_gives_up() -> None:
    async def work() -> None:
        once: Once[int] = Once()
        go = asyncio.Event()
        calls: list[int] = []

        async def slow() -> int:
            calls.append(1)
            await go.wait()
            return 7

        first = asyncio.create_task(once.do("x", slow))
        second = asyncio.create_task(once.do("x", slow))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        go.set()
        assert await second == 7
        assert calls == [1]
        stuck = asyncio.create_task(once.do("y", asyncio.Event().wait))
        await asyncio.sleep(0)
        await once.aclose()
        with pytest.raises(asyncio.CancelledError):
            await stuck

    run(work())
