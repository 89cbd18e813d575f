"""HTTP to one service: pools of connections, limits of time and size, and the key kept to itself.

One large httpx pool scans all its lists for every request: 15 ms of processor time a request at 256
connections (httpx 0.28; encode/httpx issue 3215). So there are clients of 16 connections, which
share one TLS context, as many as the requests in flight need.

Proxies and certificates come from the environment in httpx's own way (`HTTPS_PROXY`, `NO_PROXY`,
`SSL_CERT_FILE`). Redirects are not followed: they would carry the key elsewhere.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from pipeline.errors import KeyRefused, SetupError, Transient
from pipeline.providers import Endpoint
from pipeline.providers.faults import Answer, without_key
from pipeline.providers.loops import Watch

if TYPE_CHECKING:
    import httpx

_POOL: Final = 16
#: The longest answer that is read, in bytes: a full one of 65,536 tokens is below 1 MB, one of 1,048,576
#: a few. A stream says much around each token: an event of 300 bytes for each of 65,536 is 20 MB.
LARGEST_ANSWER: Final = 16 * 2**20
LARGEST_STREAM: Final = 2 * LARGEST_ANSWER
_BROKEN: Final = "the connection broke off, or the answer came damaged"
_LOGGERS: Final = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.proxy",
    "httpcore.socks",
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. The service is silent while it works, so that `read` is nearly the `total` of a request."""

    connect: float = 10.0
    write: float = 60.0
    read: float = 600.0
    total: float = 660.0

    @classmethod
    def of(cls, endpoint: Endpoint) -> "Timeouts":
        """Those of an endpoint: nothing takes longer than its `timeout`."""
        usual, total = cls(), endpoint.timeout
        if total is None:
            return usual
        return cls(min(usual.connect, total), min(usual.write, total), total, total)


@dataclass(slots=True)
class _Client:
    client: "httpx.AsyncClient"
    busy: int = 0


@dataclass(slots=True)
class _Upload:
    """The bytes of a request as they go out; `done` once all were handed over."""

    chunks: Iterable[bytes]
    done: bool = field(default=False, init=False)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        self.done = True


class _Redact(logging.Filter):
    """Takes key and token out of what a server echoes, and out of the HTTP libraries' log lines of it."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.token = ""

    def note(self, headers: Mapping[str, str]) -> None:
        """Hear with what the next request says who asks."""
        self.token = headers.get("authorization", "").removeprefix("Bearer ")

    def text(self, text: str) -> str:
        """A text without them."""
        clean = without_key(text, self.endpoint)
        return clean.replace(self.token, "[token]") if len(self.token) > 3 else clean

    def bytes(self, body: bytes) -> bytes:
        """A body without them."""
        for secret, name in ((self.endpoint.key, self.endpoint.key_name), (self.token, "token")):
            if len(secret) > 3 and secret.encode() in body:
                body = body.replace(secret.encode(), f"[{name}]".encode())
        return body

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record, without them."""
        text = record.getMessage()
        if (clean := self.text(text)) != text:
            record.msg, record.args = clean, ()
        return True


class KeyHeader:
    """Says who asks: the key of an endpoint in a header, read for each request and held nowhere else.

    `value` is how the key stands in it: `Bearer {}`. Where the endpoint names no key, none is needed
    (servers on one's own machine), and there is no header.
    """

    def __init__(self, endpoint: Endpoint, header: str, value: str = "{}") -> None:
        self.endpoint = endpoint
        self.header = header
        self.value = value

    async def headers(self) -> dict[str, str]:
        """The header with the key in it.

        Raises:
            SetupError: there is no key. KeyRefused: it can't be one.

        """
        key, name = self.endpoint.key, self.endpoint.key_name
        if not key and not name:
            return {}
        if not key:
            raise SetupError(f"no key for {self.endpoint.name}: set {name}, or take -m local")
        # Before it gets into a header: libraries show a bad header, key and all, in their errors.
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise KeyRefused(
                f"what stands in {name} is no key: it holds a blank, a line break or a letter no key has"
            )
        return {self.header: self.value.format(key)}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """There is no other key."""
        return False

    def shown(self) -> dict[str, str]:
        """The same for people: `$NAME` in place of the key."""
        name = self.endpoint.key_name
        return {self.header: self.value.format(f"${name}")} if name else {}


class Credentials(Protocol):
    """What a Line asks for the headers that say who asks."""

    async def headers(self) -> dict[str, str]:
        """Fresh for each request."""
        ...

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """A request with these headers was answered with 401: whether it may be sent once more, with others."""
        ...

    def shown(self) -> dict[str, str]:
        """The headers for people, `$NAME` in place of what is secret."""
        ...


class Line:
    """The connection to one endpoint; used from one event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        base_url: str,
        credentials: Credentials,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.base_url = base_url.rstrip("/")
        self.timeouts = timeouts or Timeouts.of(endpoint)
        self._credentials = credentials
        self._clients: list[_Client] = []
        self._context: Any = None
        self._redact = _Redact(endpoint)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self._redact)

    async def post(
        self, path: str, chunks: Iterable[bytes], length: int, watch: Watch | None = None
    ) -> Answer:
        """Send one JSON body and read its whole answer, whatever its status: see `ask`."""
        headers = {"Content-Length": str(length), "Content-Type": "application/json"}
        return await self.ask("POST", path, headers, chunks, watch)

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        chunks: Iterable[bytes] = (),
        watch: Watch | None = None,
    ) -> Answer:
        """Send one request and read its whole answer, whatever its status.

        Once `watch` has seen enough of a stream, the connection is closed; what came so far is the answer.

        A `path` that is a whole address must be on the same host; the key goes nowhere else. With
        `chunks` the headers hold their `Content-Length`; they must be fit to be gone through again
        (a list, `pieces.stream`): a token that has expired meanwhile is renewed once.

        Raises:
            Transient: no answer came; `billed` when the request had gone out by then.
            SetupError: there is no key. KeyRefused: it can't be one.

        """
        own = await self._credentials.headers()
        answer = await self._ask(method, path, {**(headers or {}), **own}, chunks, watch)
        if answer.status == 401 and await self._credentials.renew(own):
            own = await self._credentials.headers()
            answer = await self._ask(method, path, {**(headers or {}), **own}, chunks, watch)
        return answer

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        chunks: Iterable[bytes],
        watch: Watch | None,
    ) -> Answer:
        import httpx

        self._redact.note(headers)
        upload = _Upload(chunks)
        try:
            async with asyncio.timeout(self.timeouts.total), self._client() as client:
                request = client.build_request(
                    method,
                    self._address(path),
                    content=upload if "Content-Length" in headers else None,
                    headers=dict(headers),
                )
                return await self._read(await client.send(request, stream=True), watch)
        except TimeoutError:
            seconds = f"{self.timeouts.total:g}"
            raise Transient(
                "timeout",
                f"{self.endpoint.name}: no whole answer after {seconds} seconds",
                billed=upload.done,
            ) from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise Transient(
                "unreachable", f"no connection to {self.base_url}: {self._said(error)}"
            ) from None
        except (httpx.RequestError, httpx.StreamError) as error:
            is_late = isinstance(error, httpx.TimeoutException)
            what = f"nothing came for {self.timeouts.read:g} seconds" if is_late else _BROKEN
            raise Transient(
                "timeout" if is_late else "connection_lost",
                f"{self.endpoint.name}: {what}: {self._said(error)}",
                billed=upload.done,
            ) from None

    async def aclose(self) -> None:
        """Close all connections."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self._redact)
        clients, self._clients = self._clients, []
        for pool in clients:
            await pool.client.aclose()

    async def _read(self, response: "httpx.Response", watch: Watch | None) -> Answer:
        chunks = bytearray()
        is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        largest = LARGEST_STREAM if is_stream else LARGEST_ANSWER
        if not is_stream or response.status_code != 200:
            watch = None
        try:
            async for chunk in response.aiter_bytes():
                chunks += chunk
                if watch is not None and watch.add(chunk):
                    del chunks[watch.end :]
                    break
                if len(chunks) > largest:
                    raise Transient(
                        "answer_too_large",
                        f"{self.endpoint.name}: the answer is longer than {largest >> 20} MiB",
                        billed=True,
                    )
        finally:
            await response.aclose()
        headers = {
            name.lower(): self._redact.text(value) for name, value in response.headers.items()
        }
        return Answer(response.status_code, headers, self._redact.bytes(bytes(chunks)))

    @asynccontextmanager
    async def _client(self) -> AsyncIterator["httpx.AsyncClient"]:
        """A client with a free connection: the first that has one, so that few stay open."""
        pool = next((p for p in self._clients if p.busy < _POOL), None)
        if pool is None:
            pool = _Client(self._open())
            self._clients.append(pool)
        pool.busy += 1
        try:
            yield pool.client
        finally:
            pool.busy -= 1

    def _open(self) -> "httpx.AsyncClient":
        import httpx

        from pipeline import __version__

        if self._context is None:
            self._context = httpx.create_ssl_context()
        times = self.timeouts
        return httpx.AsyncClient(
            headers={
                "User-Agent": f"fieldsift/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            verify=self._context,
            timeout=httpx.Timeout(
                connect=times.connect, write=times.write, read=times.read, pool=times.connect
            ),
            limits=httpx.Limits(max_connections=_POOL, max_keepalive_connections=_POOL),
            follow_redirects=False,
        )

    def _address(self, path: str) -> str:
        """Where a path lies; a whole address as services give them (upload addresses) only on the same host.

        Raises:
            Transient: it leads elsewhere.

        """
        if not path.startswith(("http://", "https://")):
            return self.base_url + path
        own, given = urlsplit(self.base_url), urlsplit(path)
        if (own.scheme, own.netloc) != (given.scheme, given.netloc):
            raise Transient(
                "foreign_address",
                f"{self.endpoint.name}: an address on {given.netloc} came back, which gets no key",
            )
        return path

    def _said(self, error: Exception) -> str:
        text = " ".join(str(error).split())
        kind = type(error).__name__
        return self._redact.text(f"{text} ({kind})" if text else kind)
