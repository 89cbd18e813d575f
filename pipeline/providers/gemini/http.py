"""HTTP to one service: pools of connections, limits of time and size, and the key kept to itself.

One large httpx pool scans all its lists for every request: 15 ms of processor time a request at 256
connections (httpx 0.28; encode/httpx issue 3215). So there are clients of 16 connections, which
share one TLS context, as many as the requests in flight need.

Proxies and certificates come from the environment in httpx's own way (`HTTPS_PROXY`, `NO_PROXY`,
`SSL_CERT_FILE`). Redirects are not followed: they would carry the key elsewhere.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import KeyRefused, SetupError, Transient
from pipeline.providers import Endpoint
from pipeline.providers.gemini.faults import Answer, without_key

if TYPE_CHECKING:
    import httpx

_POOL: Final = 16
#: The longest answer that is read; a full one of 65,536 tokens is below 1 MB.
LARGEST_ANSWER: Final = 64 * 2**20
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
    """Takes a key out of the log lines of the HTTP libraries, which show what a server echoes."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record, without the key."""
        text = record.getMessage()
        if (clean := without_key(text, self.endpoint)) != text:
            record.msg, record.args = clean, ()
        return True


class Line:
    """The connection to one endpoint; used from one event loop."""

    def __init__(self, endpoint: Endpoint, base_url: str, timeouts: Timeouts) -> None:
        self.endpoint = endpoint
        self.base_url = base_url.rstrip("/")
        self.timeouts = timeouts
        self._clients: list[_Client] = []
        self._context: Any = None
        self._redact = _Redact(endpoint)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self._redact)

    async def post(self, path: str, chunks: Iterable[bytes], length: int) -> Answer:
        """Send one request and read its whole answer, whatever its status.

        Raises:
            Transient: no answer came; `billed` when the request had gone out by then.
            SetupError: there is no key. KeyRefused: it can't be one.

        """
        import httpx

        self._check_key()
        upload = _Upload(chunks)
        try:
            async with asyncio.timeout(self.timeouts.total), self._client() as client:
                request = client.build_request(
                    "POST",
                    self.base_url + path,
                    content=upload,
                    headers={"Content-Length": str(length), "Content-Type": "application/json"},
                )
                return await self._read(await client.send(request, stream=True))
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
            reason = "timeout" if isinstance(error, httpx.TimeoutException) else "connection_lost"
            raise Transient(
                reason, f"{self.endpoint.name}: {self._said(error)}", billed=upload.done
            ) from None

    async def aclose(self) -> None:
        """Close all connections."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self._redact)
        clients, self._clients = self._clients, []
        for pool in clients:
            await pool.client.aclose()

    async def _read(self, response: "httpx.Response") -> Answer:
        chunks = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                chunks += chunk
                if len(chunks) > LARGEST_ANSWER:
                    raise Transient(
                        "answer_too_large",
                        f"{self.endpoint.name}: the answer is longer than {LARGEST_ANSWER >> 20} MiB",
                        billed=True,
                    )
        finally:
            await response.aclose()
        body = bytes(chunks)
        key = self.endpoint.key.encode()
        if len(key) > 3 and key in body:
            body = body.replace(key, f"[{self.endpoint.key_name}]".encode())
        headers = {
            name.lower(): without_key(value, self.endpoint)
            for name, value in response.headers.items()
        }
        return Answer(response.status_code, headers, body)

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
            # A header of the client and not of a call: so that no local variable ever holds the key.
            headers={
                "x-goog-api-key": self.endpoint.key,
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

    def _check_key(self) -> None:
        """Before the key gets into a header: libraries show a bad header, key and all, in their errors."""
        key, name = self.endpoint.key, self.endpoint.key_name
        if not key:
            raise SetupError(
                f"no key for {self.endpoint.name}: set {name or 'its variable'}, or take -m local"
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise KeyRefused(
                f"what stands in {name} is no key: it holds a blank, a line break or a letter no key has"
            )

    def _said(self, error: Exception) -> str:
        text = " ".join(str(error).split())
        kind = type(error).__name__
        return without_key(f"{text} ({kind})" if text else kind, self.endpoint)
