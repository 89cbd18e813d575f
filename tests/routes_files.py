"""The test server's Files API and cachedContents: uploads in chunks, states, expiry, caches with a least size.

In `server.state`: `files` and `caches` are what lies there, `uploads` what is under way. A test sets
`looks` (how often a new file is still PROCESSING), `fails` (it ends as FAILED), `take` (so many bytes
of the next chunk arrive, then the connection breaks), `lose_end` (a whole file arrives, its answer does not).
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.answers import Answer, Seen, error, reset
from tests.official import genai_violations
from tests.routes import Route

if TYPE_CHECKING:
    from tests.server import Server

GRANULE = 256 * 2**10
LEAST = 1024
NO_FILE = "You do not have permission to access the File {} or it may not exist."
NO_CACHE = "CachedContent not found (or permission denied)"


def missing(seen: Seen, server: "Server") -> Answer | None:
    """What a question is answered with that names a file or a cache which is not there."""
    for part in seen.parts:
        uri = part.get("fileData", {}).get("fileUri")
        name = f"files/{str(uri).rpartition('/')[2]}"
        if uri is not None and name not in server.state.get("files", {}):
            return error(403, NO_FILE.format(name.removeprefix("files/")))
    cache = seen.body.get("cachedContent") if isinstance(seen.body, dict) else None
    if cache is not None and cache not in server.state.get("caches", {}):
        return error(403, NO_CACHE)
    return None


def expire(server: "Server") -> None:
    """All files and caches are gone."""
    server.state["files"] = {}
    server.state["caches"] = {}


def _start_violations(seen: Seen) -> Iterator[str]:
    wanted = {
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": r"[0-9]+",
        "x-goog-upload-header-content-type": r"[a-z]+/[a-z0-9.+-]+",
        "content-type": r"application/json",
    }
    for name, pattern in wanted.items():
        if not re.fullmatch(pattern, seen.headers.get(name, "")):
            yield f"start of an upload: {name} is {seen.headers.get(name)!r}"
    yield from _parse(seen.body, "CreateFileRequest")
    yield from genai_violations("files", seen.body)


def _upload_violations(seen: Seen) -> Iterator[str]:
    command = seen.headers.get("x-goog-upload-command")
    offset = seen.headers.get("x-goog-upload-offset")
    if command == "query":
        if seen.raw or offset is not None:
            yield "a query with data or an offset"
        return
    if command not in {"upload", "upload, finalize"}:
        yield f"no upload command {command!r}"
    if not re.fullmatch(r"[0-9]+", offset or ""):
        yield f"no offset {offset!r}"
    if command == "upload" and len(seen.raw) % GRANULE:
        yield f"a chunk of {len(seen.raw)} bytes, no multiple of 256 KiB"
    if "content-length" not in seen.headers:
        yield "a chunk without its length"


def _parse(body: Any, message: str) -> Iterator[str]:
    from google.ai import generativelanguage_v1beta as wire
    from google.protobuf.json_format import ParseDict, ParseError

    try:
        ParseDict(body, getattr(wire, message).pb()(), ignore_unknown_fields=False)
    except (ParseError, AttributeError) as wrong:
        yield f"{message}: {wrong}"


def _start(seen: Seen, server: "Server") -> Answer:
    if (refused := server.refused(seen)) is not None:
        return refused
    uploads = server.state.setdefault("uploads", {})
    number = f"u{len(uploads) + 1}"
    uploads[number] = {
        "data": bytearray(),
        "size": int(seen.headers["x-goog-upload-header-content-length"]),
        "type": seen.headers["x-goog-upload-header-content-type"],
        "title": seen.body["file"].get("displayName", ""),
        "file": None,
    }
    address = f"{server.url}/upload/v1beta/files?upload_id={number}&upload_protocol=resumable"
    headers = {
        "X-Goog-Upload-URL": server.state.get("upload_url", address),
        "X-Goog-Upload-Status": "active",
        "X-Goog-Upload-Chunk-Granularity": str(GRANULE),
    }
    return Answer(body=b"", headers=headers)


def _upload(seen: Seen, server: "Server") -> Answer:
    number = re.search(r"upload_id=(\w+)", seen.path)
    one = server.state.get("uploads", {}).get(number[1] if number else "")
    if one is None:
        return Answer(404, b"no such upload")
    if seen.headers["x-goog-upload-command"] == "query":
        state = "final" if one["file"] else "active"
        return Answer(
            body=b"",
            headers={
                "X-Goog-Upload-Status": state,
                "X-Goog-Upload-Size-Received": str(len(one["data"])),
            },
        )
    return _chunk(seen, server, one)


def _chunk(seen: Seen, server: "Server", one: dict[str, Any]) -> Answer:
    if int(seen.headers["x-goog-upload-offset"]) != len(one["data"]):
        return Answer(400, b"wrong offset")
    most = server.state.pop("take", None)
    one["data"] += seen.raw[:most]
    if most is not None:
        return reset()
    if "finalize" not in seen.headers["x-goog-upload-command"]:
        return Answer(body=b"", headers={"X-Goog-Upload-Status": "active"})
    if len(one["data"]) != one["size"]:
        return Answer(400, b"wrong size", headers={"X-Goog-Upload-Status": "final"})
    one["file"] = _add(server, one)
    if server.state.pop("lose_end", False):
        return reset()
    return Answer(body={"file": one["file"]}, headers={"X-Goog-Upload-Status": "final"})


def _add(server: "Server", upload: dict[str, Any]) -> dict[str, Any]:
    files = server.state.setdefault("files", {})
    server.state["count"] = server.state.get("count", 0) + 1
    name = f"files/f{server.state['count']}"
    now = datetime.now(UTC)
    digest = hashlib.sha256(upload["data"]).hexdigest()
    looks = server.state.get("looks", 0)
    files[name] = {
        "name": name,
        "displayName": upload["title"],
        "mimeType": upload["type"],
        "sizeBytes": str(upload["size"]),
        "createTime": _stamp(now),
        "expirationTime": _stamp(now + timedelta(seconds=server.state.get("lives", 48 * 3600))),
        "sha256Hash": base64.b64encode(digest.encode()).decode(),
        "uri": f"{server.url}/v1beta/{name}",
        "state": "PROCESSING" if looks else "ACTIVE",
        "source": "UPLOADED",
    }
    server.state.setdefault("digests", []).append(digest)
    server.state["left"] = looks
    if server.state.get("fails"):
        files[name]["state"] = "FAILED"
        files[name]["error"] = {"code": 3, "message": "the file is damaged"}
    return dict(files[name])


def _get(seen: Seen, server: "Server") -> Answer:
    name = seen.path.removeprefix("/v1beta/")
    file = server.state.get("files", {}).get(name)
    if file is None:
        return error(403, NO_FILE.format(name.removeprefix("files/")))
    if file["state"] == "PROCESSING":
        server.state["left"] -= 1
        if server.state["left"] <= 0:
            file["state"] = "ACTIVE"
    return Answer(body=dict(file))


def _list(kind: str, seen: Seen, server: "Server") -> Answer:
    asked = dict(re.findall(r"[?&](\w+)=([^&]*)", seen.path))
    size = min(int(asked.get("pageSize", "10")), server.state.get("page", 100))
    first = int(asked.get("pageToken") or 0)
    items = list(server.state.get(kind, {}).values())
    name = {"files": "files", "caches": "cachedContents"}[kind]
    body: dict[str, Any] = {name: items[first : first + size]} if items[first:] else {}
    if items[first + size :]:
        body["nextPageToken"] = str(first + size)
    return Answer(body=body)


def _delete(kind: str, gone: str, seen: Seen, server: "Server") -> Answer:
    name = seen.path.removeprefix("/v1beta/")
    if server.state.get(kind, {}).pop(name, None) is None:
        return error(403, gone)
    return Answer(body={})


def _cache_violations(seen: Seen) -> Iterator[str]:
    yield from _parse(seen.body, "CachedContent")
    yield from genai_violations("cachedContents", seen.body)
    body = seen.body if isinstance(seen.body, dict) else {}
    if not re.fullmatch(r"models/[a-z0-9.-]+", str(body.get("model"))):
        yield f"a cache for the model {body.get('model')!r}"
    if any(turn.get("role") != "user" for turn in body.get("contents", [])):
        yield "a turn without a role"


def _patch_violations(seen: Seen) -> Iterator[str]:
    if not isinstance(seen.body, dict) or set(seen.body) != {"ttl"}:
        yield "only the ttl of a cache can be changed"


def _cache(seen: Seen, server: "Server") -> Answer:
    text = len(json.dumps({k: seen.body.get(k) for k in ("contents", "systemInstruction")}))
    if text // 4 < LEAST:
        said = f"total_token_count={text // 4}, min_total_token_count={LEAST}"
        return error(400, f"Cached content is too small. {said}")
    caches = server.state.setdefault("caches", {})
    server.state["made"] = server.state.get("made", 0) + 1
    name = f"cachedContents/c{server.state['made']}"
    caches[name] = {"name": name, "model": seen.body["model"], **_lives(seen, server)}
    caches[name]["usageMetadata"] = {"totalTokenCount": text // 4}
    return Answer(body=caches[name])


def _extend(seen: Seen, server: "Server") -> Answer:
    cache = server.state.get("caches", {}).get(seen.path.removeprefix("/v1beta/").partition("?")[0])
    if cache is None:
        return error(403, NO_CACHE)
    cache.update(_lives(seen, server))
    return Answer(body=cache)


def _look(seen: Seen, server: "Server") -> Answer:
    cache = server.state.get("caches", {}).get(seen.path.removeprefix("/v1beta/"))
    return error(403, NO_CACHE) if cache is None else Answer(body=cache)


def _lives(seen: Seen, server: "Server") -> dict[str, Any]:
    ttl = float(str(seen.body["ttl"]).removesuffix("s"))
    now = datetime.now(UTC)
    seconds = server.state.get("cache_lives", ttl)
    return {"createTime": _stamp(now), "expireTime": _stamp(now + timedelta(seconds=seconds))}


def _stamp(time: datetime) -> str:
    """As the service writes it: with nanoseconds and a Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


_UPLOADS = r"/upload/v1beta/files"
_ONE_FILE = r"/v1beta/files/[A-Za-z0-9_-]+"
_ONE_CACHE = r"/v1beta/cachedContents/[A-Za-z0-9_-]+"

ROUTES = [
    Route("POST", _UPLOADS, _start, _start_violations),
    Route("POST", _UPLOADS + r"\?upload_id=\w+.*", _upload, _upload_violations),
    Route("GET", r"/v1beta/files(\?.*)?", lambda seen, server: _list("files", seen, server)),
    Route("GET", _ONE_FILE, _get),
    Route("DELETE", _ONE_FILE, lambda seen, server: _delete("files", NO_FILE, seen, server)),
    Route("POST", r"/v1beta/cachedContents", _cache, _cache_violations),
    Route(
        "GET", r"/v1beta/cachedContents(\?.*)?", lambda seen, server: _list("caches", seen, server)
    ),
    Route("GET", _ONE_CACHE, _look),
    Route("PATCH", _ONE_CACHE + r"(\?updateMask=ttl)?", _extend, _patch_violations),
    Route("DELETE", _ONE_CACHE, lambda seen, server: _delete("caches", NO_CACHE, seen, server)),
]
