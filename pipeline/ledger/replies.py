"""Answers as services gave them: Replies in SQLite, or a Recording of readable files."""

import base64
import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import StateError
from pipeline.ledger.damage import damaged
from pipeline.ledger.database import RepliesFile
from pipeline.ledger.versions import asked, inserting, proof
from pipeline.results import leaves
from pipeline.writers import replace_file

#: The recording that answers in place of every service while `pipeline.testing.replay` is open.
REPLAYING: ContextVar[Path | None] = ContextVar("fieldsift_replaying", default=None)


#: One of several answers that are kept at once: key, take, request, body.
Kept = tuple[str, int, Mapping[str, Any], bytes]


class Replies(Protocol):
    """Where answers are kept under (key, take, run), and read back by the newest run."""

    @property
    def own(self) -> "Replies":
        """Those of this output alone, which no other one shares: what the user's own code gives is kept there."""
        ...

    def get(
        self, key: str, take: int, since: int, request: Mapping[str, Any] | None = None
    ) -> bytes | None:
        """The newest answer of a run not older than `since`; it must be that of the request, where one is given."""
        ...

    async def keep(
        self, key: str, take: int, run: int, request: Mapping[str, Any], body: bytes
    ) -> None:
        """Put an answer on disk; returns when it is there."""
        ...

    async def keep_all(self, answers: Sequence[Kept], run: int) -> None:
        """Put several answers on disk, all of them or none; returns when they are there."""
        ...

    async def note(self, key: str, take: int, request: Mapping[str, Any], body: bytes) -> None:
        """Hear that a stored answer is used, before it is: a recording takes it up."""
        ...

    def requests(self) -> Iterator[dict[str, Any]]:
        """The requests that have answers, newest first, long texts by their hash."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


class StoredReplies:
    """Replies in `replies.sqlite`; in memory when there is no folder."""

    def __init__(self, folder: Path | RepliesFile | None) -> None:
        self._file = RepliesFile(folder)
        self._database = self._file.database

    @property
    def own(self) -> Replies:
        """These."""
        return self

    def get(
        self, key: str, take: int, since: int, request: Mapping[str, Any] | None = None
    ) -> bytes | None:
        """The newest answer of a run not older than `since`; it must be that of the request, where one is given.

        Raises:
            DamagedState: the stored answer is not what was written.
            StateError: it is the answer to another request.

        """
        row = self._database.read(
            "select body, run, sha256, asked, proof from replies where key = ? and take = ? and run >= ? order by run desc",
            key,
            take,
            since,
        )
        if row is None:
            return None
        body, run, sha256, question, proven = row
        told = proof("replies", key, take, run, sha256, question)
        if proven != told or hashlib.sha256(body).hexdigest() != sha256:
            raise damaged(self._database.path, f"the answer {key[:12]} is not what was written")
        if request is not None and question != asked(as_kept(request)):
            raise StateError(_of_another(key, self._database.path))
        return bytes(body)

    async def keep(
        self, key: str, take: int, run: int, request: Mapping[str, Any], body: bytes
    ) -> None:
        """Put an answer on disk; returns when it is there. The same one again changes nothing.

        Raises:
            StateError: another answer is kept there, or the file can't be written.

        """
        await self.keep_all([(key, take, request, body)], run)

    async def keep_all(self, answers: Sequence[Kept], run: int) -> None:
        """Put several answers on disk in one transaction; returns when they are there.

        Raises:
            StateError: as of `keep`; then none of them is kept.

        """
        rows = [_row(*each, run) for each in answers]
        known = "select sha256, asked from replies where key = ? and take = ? and run = ?"

        def _job(db: sqlite3.Connection) -> None:
            for row in rows:
                kept = db.execute(known, (row["key"], row["take"], run)).fetchone()
                if kept is None:
                    db.execute(inserting("replies"), row)
                elif kept != (row["sha256"], row["asked"]):
                    raise StateError(_of_another(row["key"], self._database.path))

        await self._database.write(_job)

    async def note(self, key: str, take: int, request: Mapping[str, Any], body: bytes) -> None:
        """Nothing to do: it is stored."""

    def requests(self) -> Iterator[dict[str, Any]]:
        """The requests that have answers, newest first."""
        query = "select request from replies order by run desc limit 500"
        for (text,) in self._database.rows(query):
            with contextlib.suppress(ValueError):
                yield json.loads(text)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Recording:
    """Replies as a folder of small readable files, one an answer: `<key>.json`, `<key>.<take>.json`."""

    def __init__(self, folder: Path, *, before: Replies | None = None) -> None:
        """`before` is asked first and told everything: a recording beside the ordinary store."""
        self.folder = folder
        self.before = before

    @property
    def own(self) -> Replies:
        """These."""
        return self

    def get(
        self, key: str, take: int, since: int, request: Mapping[str, Any] | None = None
    ) -> bytes | None:
        """The recorded answer; `since` does not matter, a recording has no runs.

        Raises:
            StateError: the file can't be read, or is the answer to another request.

        """
        if self.before:
            return self.before.get(key, take, since, request)
        path = self._path(key, take)
        if not path.exists():
            return None
        try:
            recorded = json.loads(path.read_bytes())
            body, question = _from_readable(recorded), recorded["request"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(f"recording {path}: {error}; record it again") from error
        if request is not None and question != json.loads(as_kept(request)):
            raise StateError(_of_another(key, path))
        return body

    async def keep(
        self, key: str, take: int, run: int, request: Mapping[str, Any], body: bytes
    ) -> None:
        """Keep it in the ordinary store, then record it."""
        await self.keep_all([(key, take, request, body)], run)

    async def keep_all(self, answers: Sequence[Kept], run: int) -> None:
        """Keep them in the ordinary store, then record each of them."""
        if self.before:
            await self.before.keep_all(answers, run)
        for each in answers:
            self._write(*each)

    async def note(self, key: str, take: int, request: Mapping[str, Any], body: bytes) -> None:
        """Record it, and tell the ordinary store."""
        if self.before:
            await self.before.note(key, take, request, body)
        self._write(key, take, request, body)

    def _write(self, key: str, take: int, request: Mapping[str, Any], body: bytes) -> None:
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


def as_kept(request: Mapping[str, Any]) -> str:
    """The text of a request that is kept beside its answer; the order of a schema's properties counts."""
    return json.dumps(_short(request))


def _row(key: str, take: int, request: Mapping[str, Any], body: bytes, run: int) -> dict[str, Any]:
    told = as_kept(request)
    row = {"key": key, "take": take, "run": run, "request": told, "body": body}
    return row | {"sha256": hashlib.sha256(body).hexdigest(), "asked": asked(told)}


def _of_another(key: str, where: Path | None) -> str:
    return (
        f"{where}: under {key} there is the answer to another request; it is neither used nor replaced. "
        f"Run with --force, which asks anew, or move {where or 'it'} away"
    )


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
