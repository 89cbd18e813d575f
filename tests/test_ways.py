"""Which way leads to an answer: less of the schema where it is refused, another endpoint when one is down."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline import eyes
from pipeline.asking import Answered, Asker, Question, Ways
from pipeline.catalogue import Service
from pipeline.document import Document, Page, Part, Window
from pipeline.errors import GaveUp, QuotaReached, ReplyError, SetupError
from pipeline.ledger import Ledger, StoredReplies
from pipeline.limits import Gate, Purse
from pipeline.loaders import Loaders
from pipeline.prompts import Ask
from pipeline.providers import Endpoint, open_provider
from pipeline.stages import Stage
from tests.answers import Answer, Seen, error, generated
from tests.asking import KEY, SCHEMA, WHOLE, text_part
from tests.server import Server

BARE = error(400, "Request contains an invalid argument.")


class Dictionary:
    """A shelf in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def recall(self, name: str) -> str | None:
        return self.kept.get(name)

    def names(self, beginning: str) -> list[str]:
        return [name for name in self.kept if name.startswith(beginning)]

    async def remember(self, name: str, value: str, until: float) -> None:
        self.kept[name] = value


def letter(text: str) -> Document:
    """A document of one page."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    page = Page(1, text)
    return Document("a.txt", digest, len(text), "text/plain", 1, (page,), (text_part(text),))


def at(server: Server, provider: str = "gemini") -> Endpoint:
    """An endpoint that a test server is."""
    service = Service(provider, wire="gemini", base_url=server.url)
    return Endpoint(provider, "gemini-3.1-flash-lite", server.url, KEY, "KEY_OF_IT", service)


class Line:
    """All that stands between a question and its servers."""

    def __init__(self, folder: Path | None, *servers: Server, **stage: Any) -> None:
        self.stage = Stage("bill", SCHEMA, **stage)
        self.replies = StoredReplies(folder)
        self.shelf = Dictionary()
        self.waited: list[float] = []
        names = ("gemini", "backup", "third")
        self.endpoints = [at(server, name) for server, name in zip(servers, names, strict=False)]
        self.asker = Asker(self.replies, offline=False)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    async def ask(
        self, *given: str | Document, one_by_one: bool = True
    ) -> list[Answered | Exception]:
        """What comes of the same question about several documents; a text is a letter."""
        ledger = Ledger(None)
        purse = Purse(ledger, Decimal(1))
        gates = tuple(
            Gate(open_provider(each), each, purse, price=None, sleep=self.sleep)
            for each in self.endpoints
        )
        ways = Ways(self.asker, self.shelf)

        def question(document: Document) -> Question:
            looking = asyncio.get_running_loop().create_future()
            looking.set_result(eyes.Seen(document))
            return Question(
                self.stage, document, Ask(Window((1,)), SCHEMA), looking, gates, Loaders(1)
            )

        async def answer(one: str | Document) -> Answered | Exception:
            try:
                return await ways.answer(question(letter(one) if isinstance(one, str) else one))
            except Exception as failure:  # noqa: BLE001, the tests look at it
                return failure

        try:
            if one_by_one:
                return [await answer(one) for one in given]
            return list(await asyncio.gather(*map(answer, given)))
        finally:
            for gate in gates:
                await gate.provider.aclose()
            ledger.close()

    def run(self, *given: str | Document) -> list[Any]:
        return asyncio.run(self.ask(*given))


def schemas(server: Server) -> list[Any]:
    """The schema that each request carried."""
    return [seen.body["generationConfig"].get("responseJsonSchema") for seen in server.requests]


def refusing(taken: Callable[[Any], bool]) -> Callable[[Seen], Answer]:
    """A service that refuses the schemas that it does not take, with the bare words."""

    def reply(seen: Seen) -> Answer:
        sent = seen.body["generationConfig"].get("responseJsonSchema")
        return generated({"total": 5}) if taken(sent) else BARE

    return reply


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    with (
        Server(lambda seen: generated({"total": 5})) as first,
        Server(lambda seen: generated({"total": 5})) as second,
    ):
        yield first, second


def test_a_refused_schema_is_tried_as_words_before_the_document_is_blamed() -> None:
    """The last try has the whole schema in the prompt and asks for JSON; the attempt says so."""
    with Server(refusing(lambda sent: sent is None)) as server:
        (found,) = Line(None, server).run("Total: 5")
        last = server.requests[-1]
    assert schemas(server)[0] is not None
    assert schemas(server)[-1] is None
    assert last.body["generationConfig"]["responseMimeType"] == "application/json"
    assert '"minimum":0' in last.text
    assert found.attempts[0].why == "schema refused: as words alone"
    assert server.violations == []


def test_once_a_reduction_helped_it_is_remembered_for_the_run() -> None:
    """The second document is asked in the way that helped, at once."""
    with Server(refusing(lambda sent: sent is None)) as server:
        line = Line(None, server)
        line.run("Total: 5", "Total: 6", "Total: 7")
        asked = schemas(server)
    assert asked[0] is not None
    assert asked[-2:] == [None, None]
    assert len(asked) == len([each for each in asked if each is not None]) + 3


def test_a_damaged_document_is_blamed_when_no_schema_helps_and_nothing_is_remembered() -> None:
    """The next document is asked with the whole schema again."""
    with Server(lambda seen: BARE if "broken" in seen.text else generated({"total": 5})) as server:
        broken, whole = Line(None, server).run("broken", "Total: 5")
        asked = schemas(server)
    assert isinstance(broken, ReplyError)
    assert broken.reason == "http_400"
    assert "without a schema, too" in str(broken)
    assert whole.attempts[0].why == "first"
    assert asked[-1] == asked[0] != asked[-2]


def test_an_answer_that_a_reduction_gave_is_not_paid_again(tmp_path: Path) -> None:
    """Running again finds it in the store, by the mark that the way left."""
    with Server(refusing(lambda sent: sent is None)) as server:
        line = Line(tmp_path, server)
        line.run("Total: 5")
        before = len(server.requests)
        (again,) = line.run("Total: 5")
        assert len(server.requests) == before
    assert again.attempts[0].stored


@pytest.mark.parametrize(
    ("trouble", "named"),
    [
        (error(503, "overloaded"), "503"),
        (error(402, "insufficient balance"), "payment"),
        (error(429, "You have hit your monthly spending cap."), "spend cap"),
    ],
)
def test_another_endpoint_answers_when_the_first_is_down_or_wants_payment(
    servers: tuple[Server, Server], trouble: Answer, named: str
) -> None:
    """After the first one's retries; the Result says who answered and why."""
    first, second = servers
    first.reply = lambda seen: trouble
    (found,) = Line(None, first, second).run("Total: 5")
    assert found.gate.endpoint.provider == "backup"
    assert found.attempts[0].why == "fallback"
    (finding,) = found.findings
    assert (finding.rule, finding.severity) == ("fallback", "warning")
    assert named in finding.message
    assert len(second.requests) == 1


def test_an_endpoint_that_failed_is_not_asked_for_every_document(
    servers: tuple[Server, Server],
) -> None:
    """One document pays for finding out, the others go to the next endpoint at once."""
    first, second = servers
    first.reply = lambda seen: error(503, "overloaded")
    Line(None, first, second).run("one", "two", "three")
    assert len(first.requests) == 5
    assert len(second.requests) == 3


def test_bad_content_is_never_taken_elsewhere(servers: tuple[Server, Server]) -> None:
    """A refusal, an answer that is cut off and a request that is wrong stay with the first endpoint."""
    first, second = servers
    for answer in (
        generated("", finish="SAFETY"),
        generated("{", finish="MAX_TOKENS"),
        error(404, "gone"),
    ):
        first.reply = lambda seen, answer=answer: answer  # type: ignore[misc]  # bound here
        Line(None, first, second).run("Total: 5")
    assert second.requests == []


def test_a_refused_key_is_not_hidden_by_another_endpoint(servers: tuple[Server, Server]) -> None:
    """It is a mistake to mend, not a service that is down."""
    first, second = servers
    first.keys = {"another"}
    (refused,) = Line(None, first, second).run("Total: 5")
    assert isinstance(refused, SetupError)
    assert second.requests == []


def test_when_all_are_down_the_first_ones_trouble_is_told(servers: tuple[Server, Server]) -> None:
    """Whatever the others said."""
    first, second = servers
    first.reply = lambda seen: error(402, "insufficient balance")
    second.reply = lambda seen: error(503, "overloaded")
    (stopped,) = Line(None, first, second).run("Total: 5")
    assert isinstance(stopped, QuotaReached)
    assert "402" in str(stopped)
    assert "503" in str(stopped)
    first.reply = lambda seen: error(500, "broken")
    (failed,) = Line(None, first, second).run("Total: 5")
    assert isinstance(failed, GaveUp | SetupError)
    assert "500" in str(failed)


def test_what_is_said_of_an_endpoint_is_what_it_said_itself(
    servers: tuple[Server, Server],
) -> None:
    """Not what the next one said that was down, too."""
    first, second = servers
    first.reply = lambda seen: error(402, "insufficient balance")
    second.reply = lambda seen: error(402, "no credit")
    with Server(lambda seen: WHOLE) as third:
        answered = Line(None, first, second, third).run("one", "two")
    for found in answered:
        assert "insufficient balance" in found.findings[0].message
        assert "no credit" not in found.findings[0].message


def test_an_answer_of_another_endpoint_is_not_paid_again(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    """Also when the first one is well again."""
    first, second = servers
    line = Line(tmp_path, first, second)
    first.reply = lambda seen: error(503, "overloaded")
    line.run("Total: 5")
    first.reply = lambda seen: generated({"total": 5})
    before = len(first.requests), len(second.requests)
    (again,) = line.run("Total: 5")
    assert (len(first.requests), len(second.requests)) == before
    assert again.gate.endpoint.provider == "backup"
    assert again.findings[0].rule == "fallback"


def sound(name: str = "a.wav") -> Document:
    """A document that services without ears can't take."""
    data = b"RIFF0000WAVE"
    digest = hashlib.sha256(data).hexdigest()
    part = Part("audio", "audio/wav", data=data, sha256=digest)
    return Document(name, digest, len(data), "audio/wav", 0, (), (part,))


def deaf(server: Server) -> Endpoint:
    """A service that takes text alone."""
    facts = Service("backup", wire="gemini", base_url=server.url, hears=False)
    return Endpoint("backup", "gemini-3.1-flash-lite", server.url, KEY, "KEY_OF_IT", facts)


def test_an_endpoint_that_has_no_form_for_a_document_stands_in_nobodys_way(
    servers: tuple[Server, Server],
) -> None:
    """It was asked for another document before: the stage's own model answers all the same."""
    first, second = servers
    first.reply = lambda seen: error(503, "overloaded")
    line = Line(None, first, second)
    line.endpoints[1] = deaf(second)
    line.run("Total: 5")
    first.reply = lambda seen: generated({"total": 5})
    (found,) = line.run(sound())
    assert found.gate.endpoint.provider == "gemini"


def test_a_document_that_only_the_first_endpoint_takes_fails_for_what_that_one_said(
    servers: tuple[Server, Server],
) -> None:
    """Its own endpoint is down; that another one has no ears is no fault of the document."""
    first, second = servers
    first.reply = lambda seen: error(503, "overloaded")
    line = Line(None, first, second)
    line.endpoints[1] = deaf(second)
    for failed in line.run(sound(), sound("b.wav")):
        assert isinstance(failed, GaveUp)
        assert "503" in str(failed)
    assert second.requests == []


def called(seen: Seen) -> Answer:
    """A model that asks for `wait` once, and then answers."""
    call = {"functionCall": {"name": "wait", "args": {}}}
    asks = generated("", content={"role": "model", "parts": [call]})
    return asks if len(seen.body["contents"]) == 1 else generated({"total": 5})


def test_a_conversation_that_was_cut_off_goes_on_where_it_was(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    """With the endpoint that had begun it: what it said is paid, and nobody is paid for it again."""
    first, second = servers
    first.reply = lambda seen: error(503, "overloaded")
    second.reply = called
    is_whole = False

    async def wait() -> str:
        """A function in whose midst the process ends, once."""
        if not is_whole:
            for task in asyncio.all_tasks():
                task.cancel()
            await asyncio.Event().wait()
        return "done"

    line = Line(tmp_path, first, second, tools=[wait])
    with pytest.raises(asyncio.CancelledError):
        line.run("Total: 5")
    first.reply = lambda seen: generated({"total": 6})
    asked, is_whole = len(first.requests), True
    (found,) = line.run("Total: 5")
    assert (len(first.requests), len(second.requests)) == (asked, 2)
    assert found.gate.endpoint.provider == "backup"


def test_a_conversation_whose_endpoint_is_down_now_is_begun_with_another(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    """A stored beginning does not tie a document to a service."""
    first, second = servers
    first.reply = lambda seen: error(503, "overloaded")
    second.reply = lambda seen: (
        called(seen) if len(seen.body["contents"]) == 1 else error(503, "overloaded")
    )

    async def wait() -> str:
        """A function."""
        return "done"

    line = Line(tmp_path, first, second, tools=[wait])
    (failed,) = line.run("Total: 5")
    assert isinstance(failed, GaveUp)
    first.reply = lambda seen: generated({"total": 5})
    (found,) = line.run("Total: 5")
    assert found.gate.endpoint.provider == "gemini"
