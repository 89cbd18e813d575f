"""Answers as services gave them: Replies in SQLite, or a Recording of readable files."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import StateError
from pipeline.ledger.database import Database
from pipeline.results import leaves
from pipeline.writers import replace_file

#: The recording that answers in place of every service while `pipeline.testing.replay` is open.
REPLAYING: ContextVar[Path | None] = ContextVar("fieldsift_replaying", default=None)

_REPLIES = """
create table if not exists replies (
  key text not null, take integer not null, run integer not null,
  request text not null, body blob not null, sha256 text not null,
  primary key (key, take, run)) without rowid;
"""


class Replies(Protocol):
    """Where answers are kept under (key, take, run), and read back by the newest run."""

    def get(self, key: str, take: int, since: int) -> bytes | None:
        """The newest answer of a run not older than `since`."""
        ...

    async def keep(
        self, key: str, take: int, run: int, request: Mapping[str, Any], body: bytes
    ) -> None:
        """Put an answer on disk; returns when it is there."""
        ...

    def note(self, key: str, take: int, request: Mapping[str, Any], body: bytes) -> None:
        """Hear that a stored answer was used: a recording takes it up."""
        ...

    def requests(self) -> Iterator[dict[str, Any]]:
        """The requests that have answers, newest first, long texts by their hash."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


class StoredReplies:
    """Replies in `replies.sqlite`; in memory when there is no folder."""

    def __init__(self, folder: Path | None) -> None:
        self._database = Database(folder / "replies.sqlite" if folder else None, _REPLIES)

    def get(self, key: str, take: int, since: int) -> bytes | None:
        """The newest answer of a run not older than `since`.

        Raises:
            StateError: the stored answer is not what was written.

        """
        row = self._database.read(
            "select body, sha256 from replies where key = ? and take = ? and run >= ? order by run desc",
            key,
            take,
            since,
        )
        if row is None:
            return None
        body = bytes(row[0])
        if hashlib.sha256(body).hexdigest() != row[1]:
            raise StateError(
                f"{self._database.path}: the answer {key[:12]} is damaged; move the file away and run again"
            )
        return body

    async def keep(
        self, key: str, take: int, run: int, request: Mapping[str, Any], body: bytes
    ) -> None:
        """Put an answer on disk; returns when it is there."""
        row = (key, take, run, json.dumps(_short(request)), body, hashlib.sha256(body).hexdigest())
        await self._database.write(
            lambda db: db.execute("insert or replace into replies values (?,?,?,?,?,?)", row)
        )

    def note(self, key: str, take: int, request: Mapping[str, Any], body: bytes) -> None:
        """Nothing to do: it is stored."""

    def requests(self) -> Iterator[dict[str, Any]]:
        """The requests that have answers, newest first."""
        for (text,) in self._database.reader.execute(
            "select request from replies order by run desc limit 500"
        ):
            yield json.loads(text)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


class Recording:
    """Replies as a folder of small readable files, one an answer: `<key>.json`, `<key>.<take>.json`."""

    def __init__(self, folder: Path, *, before: Replies | None = None) -> None:
        """`before` is asked first and told everything: a recording beside the ordinary store."""
        self.folder = folder
        self.before = before

    def get(self, key: str, take: int, since: int) -> bytes | None:
        """The recorded answer; `since` does not matter, a recording has no runs."""
        body = self.before.get(key, take, since) if self.before else None
        path = self._path(key, take)
        if body is not None or self.before or not path.exists():
            return body
        try:
            return _from_readable(json.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(f"recording {path}: {error}; record it again") from error

    async def keep(
        self, key: str, take: int, run: int, request: Mapping[str, Any], body: bytes
    ) -> None:
        """Keep it in the ordinary store, then record it."""
        if self.before:
            await self.before.keep(key, take, run, request, body)
        self.note(key, take, request, body)

    def note(self, key: str, take: int, request: Mapping[str, Any], body: bytes) -> None:
        """Write the readable file of one answer, unless it stands there."""
        if self._path(key, take).exists() and not self.before:
            return
        readable = {"request": _short(request), **_readable(body)}
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(readable, indent=1, ensure_ascii=True) + "\n"
        with contextlib.suppress(FileNotFoundError):  # another process recorded it just now
            replace_file(self._path(key, take), text.encode())

    def requests(self) -> Iterator[dict[str, Any]]:
        """The requests of all files."""
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                yield json.loads(path.read_bytes())["request"]

    def close(self) -> None:
        """Let go of the ordinary store."""
        if self.before:
            self.before.close()

    def _path(self, key: str, take: int) -> Path:
        return self.folder / (f"{key}.json" if take == 1 else f"{key}.{take}.json")


def nearest(replies: Replies, request: Mapping[str, Any]) -> str:
    """In words: how the request differs from the stored one that is most like it."""
    wanted = dict(leaves(_short(request)))
    best: list[str] | None = None
    for stored in replies.requests():
        known = dict(leaves(stored))
        keys = [key for key in {**known, **wanted} if known.get(key) != wanted.get(key)]
        differing = [
            f"{key}: recorded {_brief(known.get(key))}, now {_brief(wanted.get(key))}"
            for key in keys
        ]
        if best is None or len(differing) < len(best):
            best = differing
    if best is None:
        return "nothing is recorded there"
    if not best:
        return "the same request is stored, from an earlier run whose answers don't count here"
    more = f" and {len(best) - 4} more" if len(best) > 4 else ""
    return "the nearest differs in " + "; ".join(best[:4]) + more


def _brief(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _short(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request with long texts by hash: small, readable, and still telling requests apart."""
    content = [
        {
            "text_sha256": hashlib.sha256(
                part["text"].encode("utf-8", "surrogatepass")
            ).hexdigest(),
            "characters": len(part["text"]),
        }
        if len(part.get("text", "")) > 400
        else part
        for part in request.get("content", ())
    ]
    return {**request, "content": content}


def _readable(body: bytes) -> dict[str, Any]:
    """The body as JSON where that gives the same bytes back, else as text or base64."""
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.loads(body)
        if json.dumps(parsed, ensure_ascii=False).encode() == body:
            return {"json": parsed}
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _from_readable(stored: Mapping[str, Any]) -> bytes:
    if "json" in stored:
        return json.dumps(stored["json"], ensure_ascii=False).encode()
    if "text" in stored:
        return str(stored["text"]).encode()
    return base64.b64decode(stored["base64"], validate=True)
