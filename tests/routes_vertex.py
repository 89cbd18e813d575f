"""The test server as Vertex AI: its addresses, a token server, and Cloud Storage's JSON API.

In `server.state`: `objects` (name -> bytes) and `sessions` are those of the bucket, `tokens` are good
(none: every token that was given out), `token_answers` are given before tokens are.
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from tests.answers import Answer, Seen, error, reset, usage_of
from tests.routes import Route
from tests.wire import NO_SWITCH, fields, strict

if TYPE_CHECKING:
    from tests.server import Server

#: Fields that google-genai 3.4.0 refuses for Vertex AI (`models.py`, the functions `_..._to_vertex`).
GEMINI_ONLY = set(
    """store includeServerSideToolInvocations partMetadata toolCall toolResponse fileSearch
    enableEnhancedCivicAnswers willContinue""".split()  # noqa: SIM905, a list of names
)
GRANULE = 256 * 2**10


def _body_violations(seen: Seen) -> Iterator[str]:
    yield from (wrong for wrong in strict(seen.body) if wrong != NO_SWITCH)
    used = {name.rstrip("[]") for place in fields(seen.body) for name in place.split(".")}
    yield from (f"Vertex AI does not know {name}" for name in sorted(used & GEMINI_ONLY))
    turns = seen.body.get("contents", []) if isinstance(seen.body, dict) else []
    if any("role" not in turn for turn in turns):
        yield "a turn without a role"


def _asked(seen: Seen, server: "Server") -> Answer:
    if (refused := _unknown(seen, server)) is not None:
        return refused
    objects = server.state.get("objects", {})
    for part in seen.parts:
        uri = part.get("fileData", {}).get("fileUri", "")
        if uri and uri.partition("gs://bucket/")[2] not in objects:
            return error(400, f"The object {uri} was not found.")
    return server.reply(seen)


def _cache(seen: Seen, server: "Server") -> Answer:
    """A cache is made, or taken away; its name holds project and location."""
    if (refused := _unknown(seen, server)) is not None:
        return refused
    caches = server.state.setdefault("caches", {})
    if seen.method == "DELETE":
        name = seen.path.removeprefix("/v1/")
        return Answer(body={}) if caches.pop(name, None) else error(403, "CachedContent not found")
    server.state["made"] = server.state.get("made", 0) + 1
    place = seen.path.removeprefix("/v1/")
    name = f"{place}/{server.state['made']}"
    caches[name] = {"name": name, "usageMetadata": {"totalTokenCount": 5000}}
    return Answer(body=caches[name])


def _cache_violations(seen: Seen) -> Iterator[str]:
    place = seen.path.removeprefix("/v1/").removesuffix("/cachedContents")
    if not str(seen.body.get("model")).startswith(f"{place}/publishers/google/models/"):
        yield f"a cache for the model {seen.body.get('model')!r}"
    if any(turn.get("role") != "user" for turn in seen.body.get("contents", [])):
        yield "a turn without a role"


def _count(seen: Seen, server: "Server") -> Answer:
    if (refused := _unknown(seen, server)) is not None:
        return refused
    return Answer(body={"totalTokens": usage_of(seen, "")["promptTokenCount"]})


def _count_violations(seen: Seen) -> Iterator[str]:
    yield from _body_violations(seen)
    known = {"contents", "systemInstruction", "tools", "generationConfig"}
    yield from (f"countTokens does not know {name}" for name in sorted({*seen.body} - known))


def _unknown(seen: Seen, server: "Server") -> Answer | None:
    """What a request without a good token is answered with; in express mode the key counts."""
    if "/projects/" not in seen.path and "/storage/" not in seen.path:
        return server.refused(seen)
    if "x-goog-api-key" in seen.headers:
        return error(401, "API keys are not supported by this API.")
    token = seen.headers.get("authorization", "").removeprefix("Bearer ")
    if token not in server.state.get("tokens", set(server.state.get("given", ()))):
        return error(401, "Request had invalid authentication credentials.")
    return None


def _token(seen: Seen, server: "Server") -> Answer:
    if server.state.get("token_answers"):
        answer: Answer = server.state["token_answers"].pop(0)
        return answer
    form = {name: values[0] for name, values in parse_qs(seen.raw.decode()).items()}
    server.state.setdefault("grants", []).append(form)
    if (wrong := next(_grant_violations(form), None)) is not None:
        return Answer(400, {"error": "invalid_grant", "error_description": wrong})
    given = server.state.setdefault("given", [])
    given.append(f"ya29.token-{len(given) + 1}")
    lives = server.state.get("token_lives", 3600)
    return Answer(body={"access_token": given[-1], "expires_in": lives, "token_type": "Bearer"})


def _grant_violations(form: dict[str, str]) -> Iterator[str]:
    kind = form.get("grant_type")
    if kind == "refresh_token":
        if form.get("refresh_token") != "1//refresh":
            yield "Token has been expired or revoked."
        return
    if kind != "urn:ietf:params:oauth:grant-type:jwt-bearer":
        yield f"no grant {kind}"
        return
    claims = _decoded(form["assertion"].split(".")[1])
    if claims.get("scope") != "https://www.googleapis.com/auth/cloud-platform":
        yield f"the scope {claims.get('scope')}"


def _decoded(text: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return decoded


def _object(seen: Seen, server: "Server") -> Answer:
    if (refused := _unknown(seen, server)) is not None:
        return refused
    name = unquote(seen.path.partition("/o/")[2].partition("?")[0])
    data = server.state.setdefault("objects", {}).get(name)
    if data is None:
        return Answer(404, {"error": {"code": 404, "message": f"No such object: bucket/{name}"}})
    return Answer(body={"size": str(server.state.get("size", len(data)))})


def _session(seen: Seen, server: "Server") -> Answer:
    if (refused := _unknown(seen, server)) is not None:
        return refused
    asked = parse_qs(seen.path.partition("?")[2])
    if "bucket" not in seen.path.split("/"):
        return Answer(
            404, {"error": {"code": 404, "message": "The specified bucket does not exist."}}
        )
    name = asked["name"][0]
    if name in server.state.get("objects", {}):
        return Answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
    sessions = server.state.setdefault("sessions", {})
    number = str(len(sessions) + 1)
    sessions[number] = {
        "name": name,
        "data": bytearray(),
        "type": seen.headers["x-upload-content-type"],
        "size": int(seen.headers["x-upload-content-length"]),
    }
    address = f"{server.url}/upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id={number}"
    return Answer(body=b"", headers={"Location": address})


def _session_violations(seen: Seen) -> Iterator[str]:
    asked = parse_qs(seen.path.partition("?")[2])
    if asked.get("uploadType") != ["resumable"] or "name" not in asked:
        yield f"an upload by {seen.path}"
    if asked.get("ifGenerationMatch") != ["0"]:
        yield "an upload that would overwrite"
    for name in ("x-upload-content-type", "x-upload-content-length"):
        if name not in seen.headers:
            yield f"an upload without {name}"
    if seen.raw:
        yield "the start of an upload with data"


def _put_violations(seen: Seen) -> Iterator[str]:
    given = seen.headers.get("content-range", "")
    if re.fullmatch(r"bytes \*/[0-9]+", given):
        if seen.raw:
            yield "a query with data"
        return
    found = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", given)
    if found is None:
        yield f"the range {given!r}"
        return
    first, last, size = (int(group) for group in found.groups())
    if last - first + 1 != len(seen.raw):
        yield f"{given} for {len(seen.raw)} bytes"
    if last + 1 != size and len(seen.raw) % GRANULE:
        yield f"a chunk of {len(seen.raw)} bytes, no multiple of 256 KiB"


def _put(seen: Seen, server: "Server") -> Answer:
    number = re.search(r"upload_id=(\d+)", seen.path)
    one = server.state["sessions"][number[1] if number else ""]
    data = one["data"]
    given = seen.headers["content-range"]
    if not given.startswith("bytes *"):
        if int(given.removeprefix("bytes ").partition("-")[0]) != len(data):
            return Answer(400, {"error": {"code": 400, "message": "wrong offset"}})
        most = server.state.pop("take", None)
        data += seen.raw[:most]
        if most is not None:
            return reset()
    if len(data) == one["size"]:
        server.state.setdefault("objects", {})[one["name"]] = bytes(data)
        if server.state.pop("lose_end", False):
            return reset()
        return Answer(body={"name": one["name"], "size": str(len(data))})
    arrived = {"Range": f"bytes=0-{len(data) - 1}"} if data else {}
    return Answer(308, b"", headers=arrived)


_METHOD = r":(generateContent|streamGenerateContent\?alt=sse)"
_MODEL = r"/publishers/google/models/[^/:]+"
_CACHES = r"/v1/projects/[^/]+/locations/[^/]+/cachedContents"
_UPLOAD = r"/upload/storage/v1/b/[a-z0-9.-]+/o"

ROUTES = [
    Route(
        "POST",
        r"/v1/projects/[^/]+/locations/[^/]+" + _MODEL + _METHOD,
        _asked,
        _body_violations,
    ),
    Route("POST", "/v1" + _MODEL + _METHOD, _asked, _body_violations),
    Route("POST", _CACHES, _cache, _cache_violations),
    Route("DELETE", _CACHES + "/[0-9]+", _cache),
    Route(
        "POST",
        r"/v1(/projects/[^/]+/locations/[^/]+)?" + _MODEL + ":countTokens",
        _count,
        _count_violations,
    ),
    Route("POST", r"(http://tokens\.test)?/token", _token),  # as a proxy is asked, too
    Route("GET", r"/storage/v1/b/[a-z0-9.-]+/o/[^/]+(\?.*)?", _object),
    Route("PUT", _UPLOAD + r"\?uploadType=resumable&upload_id=\d+", _put, _put_violations),
    Route("POST", _UPLOAD + r"\?.*", _session, _session_violations),
]
