"""The Files API: uploaded once in chunks, used by its address for 48 hours, found again by content.

Protocol: google-genai 3.4.0 (`_api_client.py`, `_extra_utils.py`), Google's page File_API. A file is
free of charge and can't be downloaded again; it is deleted by the service after 48 hours. Its
`displayName` is its hash: the service gets no file names.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from pipeline.document import Part
from pipeline.errors import FieldsiftError, ReplyError, Transient
from pipeline.providers import Shelf
from pipeline.providers.bodies import parse
from pipeline.providers.faults import Answer, fault
from pipeline.providers.gemini.resumable import CHUNK, Progress, Sleep, push
from pipeline.providers.http import Line
from pipeline.providers.once import Once

#: Seconds for which the service keeps a file.
KEPT: Final = 48 * 3600.0
#: A file is used no more so many seconds before it goes: a request and its retries may take that long.
_MARGIN: Final = 3600.0
#: Seconds between looks at a file that is being processed, and for how long it is looked at.
_LOOKS: Final = (1.0, 2.0, 3.0, 5.0)
_LONGEST_PROCESSING: Final = 600.0
_NAME: Final = re.compile(r"files/[A-Za-z0-9_-]{1,100}")
#: Pages of the list that are looked through: 100 files each.
_PAGES: Final = 100


@dataclass(frozen=True, slots=True)
class File:
    """A file at the service: `name` (`files/abc`), `uri` as requests refer to it, `expires` in seconds since 1970.

    `state` is the service's word (`PROCESSING`, `ACTIVE`, `FAILED`), `problem` why it failed.
    """

    name: str
    uri: str
    state: str
    expires: float
    title: str = ""
    problem: str = ""


class Files:
    """The files of one project at the service; `who` stands for the project in names on the shelf."""

    def __init__(
        self,
        line: Line,
        shelf: Shelf,
        who: str,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._line = line
        self._shelf = shelf
        self._who = who
        self._sleep = sleep
        self._clock = clock
        self._once: Once[str] = Once()

    async def uri(self, part: Part) -> str:
        """The address of a part's data at the service: uploaded if it isn't there, by one of those who ask.

        Raises:
            Transient: the upload was lost, or the file isn't ready in time.
            ReplyError: the service refuses it, or can't read it.

        """
        return await self._once.do(part.sha256, lambda: self._uri(part))

    async def forget(self, part: Part, uri: str) -> None:
        """The service says that a file is gone: the next `uri` uploads it anew."""
        if self._shelf.recall(self._label(part)) == uri:
            await self._shelf.remember(self._label(part), "", 0)

    async def aclose(self) -> None:
        """Stop uploads that nobody waits for any more."""
        await self._once.aclose()

    async def upload(self, part: Part) -> File:
        """Upload a part's data, in chunks; the file may still be processed.

        Raises:
            Transient: it was lost on the way, or its end was not confirmed.
            ReplyError, SetupError, Stopped: the service refuses it.

        """
        end = await self._sent(await self._start(part), part.data)
        file = self._file(_inner(end))
        if file is None:
            # The end was confirmed by a query, whose answer need not say which file it became.
            file = await self._find(part)
        if file is None:
            raise Transient("upload_lost", f"{self._named}: no file came of an upload")
        return file

    async def get(self, name: str) -> File:
        """A file by its name, as it is now."""
        file = self._file(await self._json("GET", f"/v1beta/{quote(name)}"))
        if file is None:
            raise ReplyError("bad_reply", f"{self._named}: what is said of {name} is no file")
        return file

    async def list(self) -> AsyncIterator[File]:
        """All files of the project, newest first."""
        page = ""
        for _ in range(_PAGES):
            told = await self._json("GET", f"/v1beta/files?pageSize=100{page}")
            listed = told.get("files")
            for item in listed if isinstance(listed, list) else ():
                if (file := self._file(item)) is not None:
                    yield file
            token = told.get("nextPageToken")
            if not isinstance(token, str) or not token:
                return
            page = f"&pageToken={quote(token, safe='')}"

    async def delete(self, name: str) -> None:
        """Take a file away before its time."""
        await self._json("DELETE", f"/v1beta/{quote(name)}")

    @property
    def _named(self) -> str:
        return self._line.endpoint.name

    def _label(self, part: Part) -> str:
        return f"file {self._who} {part.sha256} {part.media_type}"

    async def _uri(self, part: Part) -> str:
        label = self._label(part)
        if kept := self._shelf.recall(label):
            return kept
        file = await self._ready(await self.upload(part))
        await self._shelf.remember(label, file.uri, file.expires - _MARGIN)
        return file.uri

    async def _start(self, part: Part) -> str:
        body = json.dumps({"file": {"displayName": part.sha256}}).encode()
        headers = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(len(part.data)),
            "X-Goog-Upload-Header-Content-Type": part.media_type,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        answer = await self._free("POST", "/upload/v1beta/files", headers, [body])
        if answer.status != 200:
            raise fault(answer, self._line.endpoint)
        address = answer.headers.get("x-goog-upload-url", "")
        if not address.startswith(("http://", "https://")):
            raise Transient("upload_lost", f"{self._named}: no address came back for an upload")
        return address

    async def _sent(self, address: str, data: bytes) -> Answer:
        """Send the data to an upload's address; the answer to its end."""

        async def put(offset: int) -> Progress:
            chunk = data[offset : offset + CHUNK]
            is_last = offset + len(chunk) >= len(data)
            told = {
                "X-Goog-Upload-Command": "upload, finalize" if is_last else "upload",
                "X-Goog-Upload-Offset": str(offset),
                "Content-Length": str(len(chunk)),
            }
            answer = await self._line.ask("POST", address, told, [chunk])
            return self._progress(answer, offset + len(chunk))

        async def query() -> Progress:
            told = {"X-Goog-Upload-Command": "query"}
            return self._progress(await self._line.ask("POST", address, told), -1)

        return await push(len(data), put, query, self._sleep)

    def _progress(self, answer: Answer, sent: int) -> Progress:
        """How far an upload is; `sent` is what is there if the service doesn't say."""
        state = answer.headers.get("x-goog-upload-status", "")
        if answer.status == 200 and state == "final":
            return Progress(sent, end=answer)
        if answer.status == 200 and state == "active":
            told = answer.headers.get("x-goog-upload-size-received", "")
            return Progress(int(told) if re.fullmatch(r"[0-9]{1,15}", told) else sent)
        if answer.status not in {200, 404, 410} and answer.status < 500 and not state:
            raise fault(answer, self._line.endpoint)
        raise Transient("upload_lost", f"{self._named}: {answer.status} {state}".rstrip())

    async def _find(self, part: Part) -> File | None:
        async for file in self.list():
            if file.title == part.sha256 and file.state != "FAILED":
                return file
        return None

    async def _ready(self, file: File) -> File:
        """The file once it can be used."""
        waited, looks = 0.0, 0
        while file.state != "ACTIVE":
            if file.state == "FAILED":
                with contextlib.suppress(FieldsiftError):
                    await self.delete(file.name)
                said = f": {file.problem}" if file.problem else ""
                raise ReplyError("file_failed", f"{self._named} can't read the file{said}")
            if waited >= _LONGEST_PROCESSING:
                raise Transient(
                    "file_processing",
                    f"{self._named}: {file.name} is still being processed after {waited:g} seconds",
                )
            pause = _LOOKS[min(looks, len(_LOOKS) - 1)]
            await self._sleep(pause)
            waited, looks = waited + pause, looks + 1
            with contextlib.suppress(Transient):
                file = await self.get(file.name)
        return file

    async def _json(self, method: str, path: str) -> Mapping[str, Any]:
        answer = await self._free(method, path)
        if answer.status != 200:
            raise fault(answer, self._line.endpoint)
        return _table(answer.body)

    async def _free(self, *request: Any) -> Answer:
        """Ask for something that costs nothing: what is lost on the way was not billed."""
        try:
            return await self._line.ask(*request)
        except Transient as lost:
            raise Transient(lost.reason, str(lost), wait=lost.wait) from None

    def _file(self, given: Any) -> File | None:
        """A file as the service tells it; None where it is none."""
        told = given if isinstance(given, Mapping) else {}
        name, uri = told.get("name"), told.get("uri")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(uri, str):
            return None
        error = told.get("error")
        problem = error.get("message") if isinstance(error, Mapping) else ""
        latest = self._clock() + KEPT
        return File(
            name=name,
            uri=uri,
            state=_text(told.get("state")),
            expires=min(seconds(told.get("expirationTime")) or latest, latest),
            title=_text(told.get("displayName")),
            problem=" ".join(_text(problem).split())[:200],
        )


def seconds(time: Any) -> float | None:
    """A timestamp of Google's JSON (RFC 3339) in seconds since 1970; None where it is none."""
    try:
        found = datetime.fromisoformat(time)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _table(body: bytes) -> Mapping[str, Any]:
    """The object in the body of a success; an empty one where it is none."""
    try:
        found = parse(body)
    except ReplyError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _inner(answer: Answer) -> Any:
    return _table(answer.body).get("file")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
