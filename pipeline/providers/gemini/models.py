"""What Gemini tells for free: how many tokens a request has, and what its models are."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from pipeline.errors import ReplyError
from pipeline.providers import Endpoint, ModelFacts
from pipeline.providers.bodies import parse
from pipeline.providers.faults import Answer, fault
from pipeline.providers.http import Line

#: Models in one page of a list: the most that the service gives (`ListModelsRequest.page_size`).
_PAGE: Final = 1000
#: Pages that are asked for; a list that never ends is a server's fault.
_PAGES: Final = 20


async def about(line: Line, path: str, endpoint: Endpoint) -> ModelFacts:
    """The facts of one model, which lies at `path`.

    Raises:
        Transient, ReplyError, KeyRefused, QuotaReached, SetupError: see `faults.fault`.

    """
    return _facts(given(await line.ask("GET", path), endpoint))


async def listed(line: Line, path: str, endpoint: Endpoint) -> list[ModelFacts]:
    """All models of the service, whose list lies at `path`, page after page.

    Raises:
        Transient, ReplyError, KeyRefused, QuotaReached, SetupError: see `faults.fault`; also a list
            that does not end.

    """
    found: list[ModelFacts] = []
    asked = {"pageSize": str(_PAGE)}
    for _ in range(_PAGES):
        page = given(await line.ask("GET", f"{path}?{urlencode(asked, quote_via=quote)}"), endpoint)
        models = page.get("models")
        found += [_facts(each) for each in _tables(models)]
        token = page.get("nextPageToken")
        if not isinstance(token, str) or not token:
            return found
        asked["pageToken"] = token
    raise ReplyError("bad_reply", f"{endpoint.name}: the list of models has no end")


def given(answer: Answer, endpoint: Endpoint) -> Mapping[str, Any]:
    """The object in an answer.

    Raises:
        Transient, ReplyError, KeyRefused, QuotaReached: it is none, or no success.

    """
    if answer.status != 200:
        raise fault(answer, endpoint)
    body = parse(answer.body)
    if not isinstance(body, Mapping):
        raise ReplyError("bad_reply", f"{endpoint.name}: the answer is JSON, but no object")
    return body


def total(body: Mapping[str, Any], endpoint: Endpoint) -> int:
    """The tokens of an answer of `countTokens`.

    Raises:
        ReplyError: `bad_reply`: it does not say.

    """
    tokens = _limit(body.get("totalTokens"))
    if tokens is None:
        raise ReplyError("bad_reply", f"{endpoint.name}: the answer does not say how many tokens")
    return tokens


def _facts(given: Mapping[str, Any]) -> ModelFacts:
    methods = given.get("supportedGenerationMethods")
    thinking = given.get("thinking")
    return ModelFacts(
        id=_text(given.get("name")).removeprefix("models/"),
        name=_text(given.get("displayName")),
        version=_text(given.get("version")),
        input_limit=_limit(given.get("inputTokenLimit")),
        output_limit=_limit(given.get("outputTokenLimit")),
        methods=tuple(m for m in methods if isinstance(m, str))
        if isinstance(methods, list)
        else (),
        thinking=thinking if isinstance(thinking, bool) else None,
    )


def _limit(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _tables(values: Any) -> Iterable[Mapping[str, Any]]:
    return (v for v in (values if isinstance(values, list) else ()) if isinstance(v, Mapping))
