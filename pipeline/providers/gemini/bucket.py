"""Files in a bucket of Cloud Storage, by content, for services that read `gs://` addresses.

JSON API of Cloud Storage: `objects.get`, and `objects.insert` with `uploadType=resumable`; an object is
put there only if it is not there yet (`ifGenerationMatch=0`), so that no right to delete is needed.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from pipeline.document import Part
from pipeline.errors import ReplyError, Transient, UsageError
from pipeline.providers.bodies import parse
from pipeline.providers.faults import Answer
from pipeline.providers.gemini.resumable import CHUNK, Progress, Sleep, push
from pipeline.providers.http import Line
from pipeline.providers.once import Once

#: Names of buckets (Cloud Storage, bucket naming), and a folder of printable characters behind it.
_ADDRESS: Final = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/([^\x00-\x1f\x7f]*))?")


class Bucket:
    """A folder of a bucket; `address` is `gs://name/folder`."""

    def __init__(self, line: Line, address: str, sleep: Sleep = asyncio.sleep) -> None:
        """`line` leads to Cloud Storage.

        Raises:
            UsageError: the address is not one.

        """
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise UsageError(f"the bucket {address!r} is not one: it looks like gs://name/folder")
        self._line = line
        self._bucket = found[1]
        self._folder = (found[2] or "").strip("/")
        self._sleep = sleep
        self._there: set[str] = set()
        self._once: Once[str] = Once()

    async def uri(self, part: Part) -> str:
        """The `gs://` address of a part's data: put there if it isn't, by one of those who ask.

        Raises:
            Transient: the upload was lost.
            ReplyError, SetupError: the bucket can't be read or written.

        """
        return await self._once.do(part.sha256, lambda: self._uri(part))

    async def forget(self, part: Part, uri: str) -> None:
        """The service says that an object is gone: the next `uri` looks again."""
        self._there.discard(part.sha256)

    async def aclose(self) -> None:
        """Stop uploads that nobody waits for any more, and close the connections."""
        await self._once.aclose()
        await self._line.aclose()

    async def _uri(self, part: Part) -> str:
        name = f"{self._folder}/{part.sha256}".lstrip("/")
        if part.sha256 not in self._there and not await self._is_there(name, part):
            await self._upload(name, part)
        self._there.add(part.sha256)
        return f"gs://{self._bucket}/{name}"

    async def _is_there(self, name: str, part: Part) -> bool:
        path = f"/storage/v1/b/{self._bucket}/o/{quote(name, safe='')}?fields=size"
        try:
            answer = await self._line.ask("GET", path)
        except Transient as lost:
            raise Transient(lost.reason, str(lost), wait=lost.wait) from None
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise self._refused(answer)
        told = parse(answer.body)
        size = told.get("size") if isinstance(told, Mapping) else None
        if str(size) != str(len(part.data)):
            raise ReplyError(
                "bucket_mismatch",
                f"gs://{self._bucket}/{name} holds something else than its name says; delete it",
            )
        return True

    async def _upload(self, name: str, part: Part) -> None:
        path = (
            f"/upload/storage/v1/b/{self._bucket}/o"
            f"?uploadType=resumable&ifGenerationMatch=0&name={quote(name, safe='')}"
        )
        size = len(part.data)
        headers = {"X-Upload-Content-Type": part.media_type, "X-Upload-Content-Length": str(size)}
        try:
            answer = await self._line.ask("POST", path, headers)
        except Transient as lost:
            raise Transient(lost.reason, str(lost), wait=lost.wait) from None
        if answer.status == 412:
            return  # somebody else has put it there meanwhile
        if answer.status != 200:
            raise self._refused(answer)
        address = answer.headers.get("location", "")
        if not address.startswith(("http://", "https://")):
            raise Transient("upload_lost", "Cloud Storage gave no address for an upload")

        async def put(offset: int) -> Progress:
            chunk = part.data[offset : offset + CHUNK]
            if not chunk:  # it has all of it and didn't say so: it is asked
                return await query()
            told = {
                "Content-Range": f"bytes {offset}-{offset + len(chunk) - 1}/{size}",
                "Content-Length": str(len(chunk)),
            }
            return self._progress(await self._line.ask("PUT", address, told, [chunk]))

        async def query() -> Progress:
            told = {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
            return self._progress(await self._line.ask("PUT", address, told))

        await push(size, put, query, self._sleep)

    def _progress(self, answer: Answer) -> Progress:
        if answer.status in {200, 201, 412}:
            return Progress(0, end=answer)
        if answer.status == 308:
            # Without `Range` nothing has arrived yet.
            told = re.fullmatch(r"bytes=0-([0-9]{1,15})", answer.headers.get("range", ""))
            return Progress(int(told[1]) + 1 if told else 0)
        if answer.status in {404, 408, 410, 429} or answer.status >= 500:
            raise Transient("upload_lost", f"Cloud Storage: {answer.status}")
        raise self._refused(answer)

    def _refused(self, answer: Answer) -> ReplyError:
        if answer.status in {408, 429} or answer.status >= 500:
            return Transient(f"http_{answer.status}", f"gs://{self._bucket}: {answer.status}")
        return ReplyError(
            "bucket_refused",
            f"gs://{self._bucket} can't be used: {answer.status}{_message(answer.body)}",
        )


def _message(body: bytes) -> str:
    """What an error report of Cloud Storage says, as the end of a sentence."""
    try:
        told = parse(body)
    except ReplyError:
        return ""
    error = told.get("error") if isinstance(told, Mapping) else None
    said = error.get("message") if isinstance(error, Mapping) else None
    line = " ".join(said.split())[:200] if isinstance(said, str) else ""
    return f": {line}" if line.isprintable() and line else ""
