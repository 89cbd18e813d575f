"""A local HTTP server that answers like Gemini's `generateContent`, keeps books, and fails on command.

In a test:

    with Server(answers={"INV-7": {"total": 12.5}}) as server:
        ...                              # GOOGLE_GEMINI_BASE_URL or base_url = server.url
        server.next(error(503), reset()) # the next two requests get these, then it answers again
        assert server.violations == []   # every body was parsed by Google's own messages

`answers` maps a document to its data: the key is the sha256 (hex) of an inline file, or any text that
stands in the request (the first 24 digits of a text document's hash do too). What is not in the table
is filled from the request's schema: nulls, empty texts, first values. Instead of a table, `reply` can
be any function of the request; of a request that several documents share it is asked about each, unless it
`divides` such requests itself. The kinds of answers are in `tests/answers.py`.

As a process of its own, for tests that kill the client:

    python tests/server.py --port-file P --log L [--answers A.json] [--hold-after N] [--latency S]

P gets the port once it listens (and the address is printed, so that a parent can wait for the line); L gets a line of JSON for each request as it comes (`"event":
"request"`) and another when its answer went out or failed to (`"event": "answer"`, with `billed` and
`delivered`). SIGTERM ends it.
"""

import argparse
import asyncio
import json
import re
import signal
import socket
import struct
import sys
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

if not __package__:  # run as a program
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tests import books
from tests.answers import (
    Answer,
    Reply,
    Seen,
    about,
    answer_from,
    error,
    key_invalid,
    one_by_one,
)
from tests.routes import route_of
from tests.wire import strict


class Server:
    """The server and its books; a context manager, usable from sync and async tests.

    `requests` are all that came, `billed` those for which an answer was generated (delivered or not),
    `delivered` counts answers that went out whole, `violations` what was wrong with any body. A body
    with violations is answered with 400, as the service does; at the end it fails the test, except where
    `wrong_on_purpose`. With `keys`, others are refused.
    `state` is for the routes of `tests/routes.py`: what was uploaded, what was cached.
    """

    def __init__(
        self,
        reply: Reply | None = None,
        *,
        answers: Mapping[str, Any] | None = None,
        keys: set[str] | None = None,
        latency: float = 0.0,
        is_strict: bool = True,
        wrong_on_purpose: bool = False,
        divides: bool = False,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.answers = answers or {}
        self.reply = reply or (lambda seen: answer_from(seen, self.answers))
        self.keys = keys
        self.latency = latency
        self.is_strict = is_strict
        self.wrong_on_purpose = wrong_on_purpose
        self.divides = divides
        self.on_event = on_event
        self.state: dict[str, Any] = {}
        self.requests: list[Seen] = []
        self.billed: list[Seen] = []
        self.delivered = 0
        self.taken: list[int] = []
        self.connections = 0
        self.port = 0
        self._next: deque[Answer] = deque()
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = threading.Condition()
        self._held = False
        self._open = asyncio.Event()

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def violations(self) -> list[str]:
        """What was wrong with any request."""
        return [violation for seen in self.requests for violation in seen.violations]

    def paid_twice(self) -> dict[str, int]:
        """Fingerprints of requests for which more than one answer was generated, with their number."""
        counts = Counter(seen.fingerprint for seen in self.billed)
        return {fingerprint: count for fingerprint, count in counts.items() if count > 1}

    def next(self, *answers: Answer) -> None:
        """Queue answers for the next requests, one each."""
        with self._changed:
            self._next.extend(answers)

    def hold(self) -> None:
        """From now on every answer waits until `release`."""
        self._held = True
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self) -> None:
        """Let all answers go that wait."""
        self._held = False
        self._loop.call_soon_threadsafe(self._open.set)

    def wait_for(self, count: int, timeout: float = 20.0) -> None:
        """Block until so many requests have come. In async code: `await asyncio.to_thread(server.wait_for, n)`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} requests came, {count} were waited for")

    def wait_for_silence(self, timeout: float = 20.0) -> None:
        """Block until no client is connected: all that was sent has been read and is in the books."""
        limit = time.monotonic() + timeout
        while self._writers:
            if time.monotonic() > limit:
                raise TimeoutError(f"{len(self._writers)} clients are still connected")
            time.sleep(0.001)

    def __enter__(self) -> Self:
        if self.is_strict:
            strict({})  # loads the messages now, not while the first request waits
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="test server", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self.port, timeout=10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        books.SESSION.enter(
            self.requests, is_parsed=self.is_strict, wrong_on_purpose=self.wrong_on_purpose
        )
        if kind is None and not self.wrong_on_purpose:
            assert self.violations == []

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listening = self._loop.run_until_complete(
            asyncio.start_server(self._connection, "127.0.0.1", self.port, limit=2**20)
        )
        with self._changed:
            self.port = listening.sockets[0].getsockname()[1]
            self._changed.notify_all()
        self._loop.run_forever()
        listening.close()
        for writer in self._writers:
            writer.transport.abort()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))  # transports close in a turn of their own
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while (came := await self._read(reader)) is not None:
                seen, answer = self._note(came)
                try:
                    delivered = await self._write(answer, reader, writer)
                except OSError:
                    delivered = False  # the client is gone
                self.delivered += delivered
                self._tell("answer", seen, answer, delivered=delivered)
                if not delivered or answer.fault:
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the server stops
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Seen | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        raw = await _body(reader, headers)
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        seen = Seen(0, method, path, headers, raw, body)
        return replace(seen, violations=tuple(self._violations(seen)))

    def _violations(self, seen: Seen) -> Iterator[str]:
        if "key=" in seen.path:
            yield "the key stands in the URL"
        if not self.is_strict:
            return
        route = route_of(seen)
        if route is not None:
            yield from route.violations(seen)
        elif seen.method == "POST":
            yield from strict(seen.body)

    def _note(self, seen: Seen) -> tuple[Seen, Answer]:
        """Enter a request in the books and choose its answer."""
        with self._changed:
            seen = replace(seen, number=len(self.requests) + 1)
            answer = self._next.popleft() if self._next else self._choose(seen)
            self.requests.append(seen)
            if answer.billed:
                self.billed.append(seen)
            self._changed.notify_all()
        self._tell("request", seen, answer, path=seen.path, violations=seen.violations)
        return seen, answer

    def _tell(self, event: str, seen: Seen, answer: Answer, **more: Any) -> None:
        if self.on_event is not None:
            what = {"event": event, "number": seen.number, "fingerprint": seen.fingerprint}
            what |= {"documents": seen.documents, "status": answer.status, "billed": answer.billed}
            usage = answer.body.get("usageMetadata", {}) if isinstance(answer.body, dict) else {}
            what["tokens"] = usage.get("promptTokenCount", 0)
            self.on_event(what | more)

    def _choose(self, seen: Seen) -> Answer:
        if (route := route_of(seen)) is not None:
            return route.answer(seen, self)
        if (barred := self.barred(seen)) is not None:
            return barred
        if seen.method == "GET" and (
            found := re.fullmatch(r"/v1beta/models(?:/([^/:]+))?", seen.path)
        ):
            return about(found[1])
        if (
            not re.fullmatch(r"/v1beta/models/[^/]+:generateContent", seen.path)
            or seen.method != "POST"
        ):
            return error(404, f"no method {seen.method} {seen.path}")
        return self.reply(seen) if self.divides else one_by_one(self.reply, seen)

    def barred(self, seen: Seen) -> Answer | None:
        """What a Google service answers to a wrong body, and to a request with no key or a wrong one."""
        if seen.violations:
            return error(400, f"Invalid JSON payload received. {seen.violations[0]}")
        return self.refused(seen)

    def refused(self, seen: Seen) -> Answer | None:
        """What a Google service answers to a request with no key or a wrong one."""
        key = seen.headers.get("x-goog-api-key")
        key = key or seen.headers.get("authorization", "").removeprefix("Bearer ") or None
        if key is None:
            return error(
                403,
                "Method doesn't allow unregistered callers (callers without established identity).",
            )
        return key_invalid() if self.keys is not None and key not in self.keys else None

    async def _write(
        self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Send an answer; whether it went out whole to a client that was still there."""
        if self.latency:
            await asyncio.sleep(self.latency)
        if answer.hold or self._held:
            await self._open.wait()
        if answer.fault == "reset":
            _break(writer)
            return False
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        writer.write(_head(answer, body))
        if answer.fault == "paced":
            return await self._pace(body, writer)
        if answer.fault in {"half", "stall"}:
            writer.write(body[: len(body) // 2])
            await writer.drain()
            if answer.fault == "stall":
                await self._open.wait()
            _break(writer)
            return False
        for place in range(len(body) if answer.fault == "trickle" else 0):
            writer.write(body[place : place + 1])
            await writer.drain()
            await asyncio.sleep(1)
        while answer.fault == "endless":
            writer.write(b"x" * 2**20)
            await writer.drain()
        writer.write(
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if answer.fault == "chunked" else body
        )
        await writer.drain()
        return not reader.at_eof()

    async def _pace(self, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Send events one by one while the client takes them; what lies in between, in buffers, is kept small."""
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer.transport.set_write_buffer_limits(high=0)
        taken = 0
        try:
            for event in body.split(b"\n\n")[:-1]:
                writer.write(event + b"\n\n")
                await writer.drain()
                taken += len(event) + 2
        finally:
            self.taken.append(taken)
        return True


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    chunks = bytearray()
    while (size := int(await reader.readline(), 16)) > 0:
        chunks += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return bytes(chunks)


def _head(answer: Answer, body: bytes) -> bytes:
    wrong = {"too_long": 10, "too_short": -(len(body) // 2)}.get(answer.fault or "", 0)
    framing = {
        "chunked": {"Transfer-Encoding": "chunked"},
        "endless": {"Connection": "close"},
    }.get(answer.fault or "", {"Content-Length": str(len(body) + wrong)})
    kind = "text/html" if body[:1] == b"<" else "application/json; charset=UTF-8"
    lines = [
        f"{name}: {value}"
        for name, value in ({"Content-Type": kind} | framing | dict(answer.headers)).items()
    ]
    return "\r\n".join([f"HTTP/1.1 {answer.status} Status", *lines, "", ""]).encode("latin-1")


def _break(writer: asyncio.StreamWriter) -> None:
    """Reset the connection instead of closing it."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="A local stand-in for Gemini's generateContent.")
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--answers", type=Path, help="JSON: document hash or text -> data")
    parser.add_argument(
        "--hold-after", type=int, default=-1, help="answer so many, then hold all others"
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument(
        "--no-strict", action="store_true", help="for measurements: don't parse bodies"
    )
    parser.add_argument("--rpm", type=int, help="refuse more requests a minute")
    parser.add_argument("--tpm", type=int, help="refuse more input tokens a minute")
    parser.add_argument("--counting", choices=("bucket", "fixed", "sliding"), default="bucket")
    given = parser.parse_args()
    answers = json.loads(given.answers.read_text()) if given.answers else {}

    def answer(seen: Seen) -> Answer:
        late = 0 <= given.hold_after < seen.number
        return replace(answer_from(seen, answers), hold=late)

    reply: Callable[[Seen], Answer] = answer
    if given.rpm or given.tpm:
        from tests.quotas import KINDS, refusing

        kind = KINDS[given.counting]
        reply = refusing(given.rpm and kind(given.rpm), given.tpm and kind(given.tpm), answer)
    log = given.log.open("a", buffering=1) if given.log else None

    def note(event: dict[str, Any]) -> None:
        if log:
            log.write(json.dumps(event | {"at": time.time()}) + "\n")

    warnings.simplefilter("error")  # as under pytest: a word that an official type does not know
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        with Server(
            reply,
            answers=answers,
            latency=given.latency,
            is_strict=not given.no_strict,
            on_event=note,
        ) as server:
            waiting = given.port_file.with_suffix(".tmp")
            waiting.write_text(str(server.port))
            waiting.replace(given.port_file)
            print(server.url, flush=True)
            ended.wait()
    finally:
        books.hand_over()
        if log:
            log.close()


if __name__ == "__main__":
    main()
