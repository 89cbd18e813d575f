"""`run --dry-run`: what a run would ask and cost, told without asking; the bill of the run stays below its high figure."""

import asyncio
import contextlib
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import Pipeline, Stage
from pipeline.catalogue import find, price
from pipeline.cli.estimate import table
from pipeline.document import Document, Page, Window
from pipeline.errors import KeyRefused, NoInput, SetupError, StateError, UsageError
from pipeline.estimating import Estimate, Share, text_tokens
from pipeline.estimating.request import Likely, likely
from pipeline.estimating.sums import Cost, Spread, cost_of
from pipeline.estimating.telling import shortest
from pipeline.ledger import Ledger, StoredReplies, versions
from pipeline.ledger.glance import Glance
from pipeline.limits import Gate, Purse
from pipeline.prompts import Ask
from pipeline.prompts import request as question
from pipeline.providers import Endpoint, Usage, open_provider
from tests.answers import Answer, Seen, error, key_invalid
from tests.pdfs import pdf, text_at
from tests.server import Server
from tests.test_cli import fieldsift
from tests.test_run import FIELDS, truth

MODEL = "gemini-3.1-flash-lite"
DOCUMENTS = 12


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "inbox"
    folder.mkdir(parents=True)
    for number in range(DOCUMENTS):
        text = f"Receipt No: R-{number:04}\nTotal {number}.50 EUR\n"
        (folder / f"{number:02}.txt").write_text(text)
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(truth) as running:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        yield running


def job(*stages: Stage, **given_settings: Any) -> Pipeline:
    return Pipeline(stages or Stage("receipt", FIELDS), **({"model": MODEL} | given_settings))


def traces(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time and bytes."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def bill(server: Server) -> Decimal:
    """What the answers that were generated cost, by the server's own count."""
    rates = price(find("gemini", MODEL), date(2026, 11, 22))
    assert rates is not None
    total = Decimal(0)
    for seen in server.billed:
        usage = server.reply(seen).body["usageMetadata"]
        counts = usage["promptTokenCount"], usage["candidatesTokenCount"]
        thoughts = usage.get("thoughtsTokenCount", 0)
        total += rates.cost(input=counts[0], output=counts[1], thoughts=thoughts) or 0
    return total


# nothing is sent, nothing is made ---------------------------------------------------------------


def test_nothing_is_sent_nothing_is_made_and_no_key_is_needed(
    inbox: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the code that the pipeline file brings in is listed."""
    work = inbox.parent
    (work / "bills.py").write_text(
        "from pydantic import BaseModel\n\n\nclass Bill(BaseModel):\n    number: str | None\n"
    )
    (work / "pipeline.toml").write_text(
        f'version = 1\n[run]\nmodel = "{MODEL}"\n[[stage]]\nname = "bill"\nschema = "bills:Bill"\n'
    )
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    before = traces(work.parent)
    told = fieldsift("run", "-n", "inbox", "-o", "out", cwd=work)
    bare = fieldsift("run", "-n", "inbox", "--limit", "1", cwd=work)
    assert "documents=1 " in bare.stderr, "an output folder is not needed either"
    assert server.requests == []
    assert traces(work.parent) == before
    assert not (work / "out").exists()
    assert f'imported="bills:Bill (from {work.resolve()})"' in told.stderr
    line = next(each for each in told.stderr.splitlines() if each.startswith("dry-run stage="))
    facts = dict(word.split("=", 1) for word in line.removeprefix("dry-run ").split())
    assert facts["documents"] == facts["requests"] == facts["pages"] == "12"
    assert facts["model"] == f"gemini:{MODEL}"
    costs = [Decimal(facts[name]) for name in ("low_usd", "expected_usd", "high_usd")]
    assert 0 < costs[0] < costs[1] < costs[2]


def test_with_count_the_service_is_asked_for_nothing_but_its_count(
    inbox: Path, server: Server
) -> None:
    """And what it counts is what the run is billed for as input."""
    out = inbox.parent / "out"
    told = job().estimate(inbox, out, count=True)
    assert len(server.requests) == told.stages[0].counted == told.stages[0].requests == DOCUMENTS
    assert {seen.path.rpartition(":")[2] for seen in server.requests} == {"countTokens"}
    command = ("run", "-n=count", "inbox", "-s", FIELDS, "-m", MODEL, "--limit", "1")
    env = {"GEMINI_API_KEY": "none-is-needed", "GOOGLE_GEMINI_BASE_URL": server.url}
    assert "counted=1" in fieldsift(*command, cwd=inbox.parent, env=env).stderr
    del server.requests[DOCUMENTS:]
    assert server.billed == []
    assert not out.exists()
    job().run(inbox, out)
    usages = [server.reply(seen).body["usageMetadata"] for seen in server.billed]
    assert told.stages[0].input_tokens == sum(usage["promptTokenCount"] for usage in usages)


# the figures ------------------------------------------------------------------------------------


def gate(endpoint: Endpoint, cost: Any) -> Gate:
    return Gate(open_provider(endpoint), endpoint, Purse(Ledger(None), None), price=cost)


def test_a_case_computed_by_hand() -> None:
    """0.25 USD for a million tokens in, 0.025 for cached ones, 1.50 for tokens out."""
    endpoint = Endpoint("gemini", MODEL)

    async def found() -> Cost:
        known = price(find("gemini", MODEL), date(2026, 11, 22))
        figures = Likely(
            Usage(input=100, cached=50, output=10),
            Usage(input=200, output=40),
            Usage(input=1000, output=1024),
        )
        return cost_of(figures, gate(endpoint, known), "")

    cost = asyncio.run(found())
    picodollars = {"low": 28_750_000, "expected": 110_000_000, "high": 1_786_000_000}
    assert {name: getattr(cost, name) for name in picodollars} == picodollars


def test_digits_are_counted_exactly_and_the_rest_of_a_request_by_its_kind() -> None:
    assert text_tokens("0123456789") == 10
    endpoint = Endpoint("gemini", MODEL)
    stage = Stage("receipt", "total float", system="1", prompt="22")
    document = Document("a.txt", "0" * 64, 3, "text/plain", 1, (Page(1, "333"),), ())
    one = question(
        stage, Ask(Window((1,)), stage.schema), document, open_provider(endpoint), endpoint
    )
    one = replace(one, schema=None, content=(one.content[0],))
    high = open_provider(endpoint).ceiling(one)
    figures = likely(stage, document, one, endpoint, high)
    assert figures.expected.input == 1 + 2 + 8
    assert figures.high == high


def test_pages_and_pictures_count_by_the_table_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(pdf(text_at(50, 50, "one"), text_at(50, 50, "two")))
    plain = job(Stage("receipt", FIELDS, send="pdf")).estimate(tmp_path / "in", tmp_path / "out")
    fine = job(Stage("receipt", FIELDS, send="pdf", media_resolution="high")).estimate(
        tmp_path / "in", tmp_path / "out"
    )
    assert plain.stages[0].pages == fine.stages[0].pages == 2
    assert fine.stages[0].input_tokens - plain.stages[0].input_tokens == 2 * (1120 - 560)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=2000)


@settings(max_examples=30, deadline=None)
@given(
    text=TEXTS,
    names=st.lists(
        st.from_regex(r"[a-z]{1,12}", fullmatch=True), min_size=1, max_size=6, unique=True
    ),
    kinds=st.lists(st.sampled_from(["text", "float", "date", "text[]"]), min_size=6, max_size=6),
    thinking=st.sampled_from([None, "minimal", "high"]),
)
def test_low_is_at_most_expected_and_that_at_most_high(
    text: str, names: list[str], kinds: list[str], thinking: Any
) -> None:
    types = {"text": "string", "float": "number", "date": "string", "text[]": "array"}
    body = {
        "type": "object",
        "properties": {
            name: {"type": types[kind]} for name, kind in zip(names, kinds, strict=False)
        },
    }
    endpoint = Endpoint("gemini", MODEL)
    stage = Stage("any", body, thinking=thinking, prompt=text)
    document = Document("a.txt", "0" * 64, 3, "text/plain", 1, (Page(1, text),), ())
    provider = open_provider(endpoint)
    one = question(stage, Ask(Window((1,)), stage.schema), document, provider, endpoint)
    figures = likely(stage, document, one, endpoint, provider.ceiling(one))
    for kind in ("input", "output"):
        low, expected, high = (
            getattr(each, kind) for each in (figures.low, figures.expected, figures.high)
        )
        assert 0 < low <= expected <= high
    assert figures.low.cached <= figures.low.input


@settings(max_examples=50, deadline=None)
@given(TEXTS)
def test_no_text_is_said_to_have_more_tokens_than_bytes(text: str) -> None:
    assert 0 <= text_tokens(text) <= len(text.encode())


def test_a_very_long_text_is_judged_by_slices_as_the_whole_would_be() -> None:
    text = "Line of a ledger, 12.50 EUR on 2026-01-31\n" * 25_000
    whole = text_tokens(text[: len(text) // 2]) * 2
    assert abs(text_tokens(text) - whole) < whole / 100


# beside a real run ------------------------------------------------------------------------------


def test_the_bill_of_the_run_is_within_low_and_high(inbox: Path, server: Server) -> None:
    """The server counts the whole body here, schema and system instruction too, three bytes a token."""

    def billed_whole(seen: Seen) -> Answer:
        body = truth(seen).body
        counted = body["usageMetadata"] | {"promptTokenCount": len(seen.raw) // 3}
        return Answer(body=body | {"usageMetadata": counted}, billed=True)

    server.reply = billed_whole
    told = job().estimate(inbox, inbox.parent / "out")
    run = job(budget=str(told.high_usd)).run(inbox, inbox.parent / "out")
    assert run.exit_code == 0
    assert run.counts == {"valid": DOCUMENTS}
    paid = bill(server)
    assert run.cost_usd == paid
    assert told.low_usd is not None
    assert told.expected_usd is not None
    assert told.high_usd is not None
    assert told.low_usd <= paid <= told.high_usd
    assert paid / 2 < told.expected_usd < paid * 3


def test_what_is_finished_or_stored_costs_nothing_and_the_output_stays_as_it_is(
    inbox: Path, server: Server
) -> None:
    out = inbox.parent / "out"
    job().run(inbox, out)
    sent = len(server.requests)
    before = traces(out)
    done = job().estimate(inbox, out)
    assert (done.unchanged, done.stages[0].requests) == (DOCUMENTS, 0)
    assert done.high_usd == 0
    assert done.spent_usd == bill(server)
    # Another rule for evidence: the documents are worked on again, from the answers that are stored.
    (inbox / "new.txt").write_text("Receipt No: R-0099\nTotal 99.50 EUR\n")
    again = job(Stage("receipt", FIELDS, evidence="required")).estimate(inbox, out)
    share = again.stages[0]
    assert (again.unchanged, share.stored, share.requests) == (0, DOCUMENTS, 1)
    forced = job().estimate(inbox, out, force=True)
    assert (forced.stages[0].stored, forced.stages[0].requests) == (0, DOCUMENTS + 1)
    assert traces(out) == before
    assert len(server.requests) == sent


def test_retry_counts_what_it_would_ask_again(inbox: Path, server: Server) -> None:
    server.next(error(400, "no"), error(400, "no"), error(400, "no"))
    out = inbox.parent / "out"
    failed = job().run(inbox, out).counts.get("failed", 0)
    assert failed > 0
    before = traces(out)
    assert job().estimate(inbox, out).stages[0].requests == 0
    again = job().estimate(inbox, out, retry=["failed"])
    assert (again.stages[0].requests, again.unchanged) == (failed, DOCUMENTS - failed)
    assert traces(out) == before


def test_commits_that_wait_in_the_log_are_seen_and_leave_no_trace(tmp_path: Path) -> None:
    """As after a kill, or beside a run: the answer stands in the log beside the file alone."""
    (live := tmp_path / "live").mkdir()
    replies = StoredReplies(live)
    asyncio.run(replies.keep("key", 1, 1, {"content": []}, b"answer"))
    killed = shutil.copytree(live, tmp_path / "killed")
    replies.close()
    before = traces(killed)
    assert any(name.endswith("-wal") for name in before)
    glance = Glance(killed)
    assert glance.replies.get("key", 1, 0) == b"answer"
    with pytest.raises(StateError, match="only looked at"):
        asyncio.run(glance.replies.keep("key", 1, 2, {"content": []}, b"other"))
    glance.close()
    assert traces(killed) == before


def test_a_state_of_an_older_version_is_understood_and_left_as_it_is(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "replies.sqlite", isolation_level=None)
    old.executescript(versions._REPLIES_0)
    row = ("key", 1, 1, "{}", b"answer", hashlib.sha256(b"answer").hexdigest())
    old.execute(
        "insert into replies (key, take, run, request, body, sha256) values (?, ?, ?, ?, ?, ?)", row
    )
    old.close()
    before = traces(tmp_path)
    with contextlib.closing(Glance(tmp_path)) as glance:
        assert glance.replies.get("key", 1, 0) == b"answer"
        assert glance.shelf.recall("nothing") is None
    assert traces(tmp_path) == before


def test_equal_documents_are_asked_about_once(inbox: Path, server: Server) -> None:
    (inbox / "copy.txt").write_bytes((inbox / "03.txt").read_bytes())
    told = job().estimate(inbox, inbox.parent / "out")
    assert (told.stages[0].documents, told.stages[0].requests) == (DOCUMENTS + 1, DOCUMENTS)
    job().run(inbox, inbox.parent / "out")
    assert len(server.billed) == DOCUMENTS


def test_each_stage_and_model_has_its_own_figures(inbox: Path) -> None:
    dear = Stage("strong", "number, total float, notes", model="gemini-3.5-flash")
    told = job(Stage("receipt", FIELDS), dear).estimate(inbox, inbox.parent / "out")
    cheap, strong = told.stages
    assert (cheap.stage, strong.stage) == ("receipt", "strong")
    assert cheap.expected_usd is not None
    assert strong.expected_usd is not None
    assert cheap.expected_usd < strong.expected_usd
    assert told.expected_usd == cheap.expected_usd + strong.expected_usd


# money that is not known, that is none, that does not do ----------------------------------------


def test_an_unknown_price_is_unknown_and_never_zero(inbox: Path) -> None:
    told = job(model="gemini:gemini-9-future").estimate(inbox)
    assert (told.low_usd, told.expected_usd, told.high_usd) == (None, None, None)
    assert told.to_json()["high_usd"] is None
    assert table(told)[3].split()[-3:] == ["unknown", "unknown", "unknown"]
    assert any("the price of gemini:gemini-9-future is unknown" in note for note in told.notes)


def test_the_local_engine_is_free(inbox: Path) -> None:
    told = job(model="local").estimate(inbox, inbox.parent / "out")
    assert (told.stages[0].documents, told.stages[0].requests) == (DOCUMENTS, 0)
    assert told.high_usd == 0


@pytest.mark.parametrize(
    ("share", "spent", "budget", "said"),
    [
        (("1", "2", "3"), "0", "3", "yes"),
        (("1", "2", "3"), "1", "3", "expected"),
        (("1", "2", "3"), "2", "3", "no"),
        ((None, None, None), "0", "3", "unknown"),
        (("1", "2", "3"), "0", None, None),
    ],
)
def test_whether_a_budget_suffices(
    share: tuple[str | None, ...], spent: str, budget: str | None, said: str | None
) -> None:
    low, expected, high = (None if each is None else Decimal(each) for each in share)
    figures = Share("a", "m", low_usd=low, expected_usd=expected, high_usd=high)
    told = Estimate(
        (figures,),
        spent_usd=Decimal(spent),
        budget_usd=None if budget is None else Decimal(budget),
    )
    assert told.suffices == said


def test_what_could_not_begin_as_a_run_is_refused_as_the_run_is(
    inbox: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty := inbox.parent / "empty").mkdir()
    with pytest.raises(NoInput):
        job().estimate(empty, inbox.parent / "out")
    with pytest.raises(UsageError, match="price of gemini:gemini-9-future is unknown"):
        job(model="gemini:gemini-9-future", budget="1").estimate(inbox)
    server.next(*[key_invalid()] * 20)
    with pytest.raises(KeyRefused):
        job().estimate(inbox, count=True)
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(SetupError, match="GEMINI_API_KEY"):
        job().estimate(inbox, count=True)


def test_a_service_that_does_not_answer_ends_a_count_before_the_first_document(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.estimating.walk._PAUSE", 0.0)
    monkeypatch.setenv("GEMINI_API_KEY", "canary")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(SetupError, match="can't be reached"):
        job().estimate(inbox, count=True)


def test_an_endpoint_that_cannot_count_is_estimated_and_said_to_be(
    inbox: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOLINK_API_KEY", "canary")
    monkeypatch.setenv("EVOLINK_BASE_URL", server.url)
    told = job(model="evolink:gemini-3.1-flash-lite-preview").estimate(inbox, count=True)
    assert server.requests == []
    assert told.stages[0].counted == 0
    assert told.stages[0].requests == DOCUMENTS
    assert any("did not count tokens" in note for note in told.notes)


# what else is said ------------------------------------------------------------------------------


def test_what_cannot_be_read_is_counted_and_named(inbox: Path) -> None:
    (inbox / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    told = job().estimate(inbox, inbox.parent / "out")
    assert (told.documents, told.unreadable, told.stages[0].requests) == (13, 1, 12)
    assert told.named[0][0] == "broken.pdf"
    assert told.named[0][1].startswith("damaged: ")


def test_json_is_one_object_and_a_sample_is_scaled_to_the_whole_folder(inbox: Path) -> None:
    told = fieldsift(
        "run", "inbox", "-s", FIELDS, "-o", "out", "-m", MODEL, "--dry-run", "--json", "--budget", "5",
        "--sample", "4", cwd=inbox.parent,
    )  # fmt: skip
    found = json.loads(told.stdout)
    stage, whole = found["stages"][0], found["sample_of"]
    counts = {name: stage[name] for name in ("requests", "stored", "documents", "pages")}
    assert counts == {"requests": 4, "stored": 0, "documents": 4, "pages": 4}
    assert Decimal(found["high_usd"]) == Decimal(stage["high_usd"]) > 0
    assert (found["suffices"], found["budget_usd"], found["spent_usd"]) == ("yes", 5, 0)
    assert (found["engine"], found["output"]) == (f"gemini:{MODEL}", "out")
    assert (found["documents"], whole["documents"], whole["requests"]) == (4, 12, 12)
    assert whole["expected_usd"] == pytest.approx(3 * found["expected_usd"])
    everything = job(Stage("receipt", FIELDS)).estimate(inbox)
    assert everything.expected_usd is not None
    assert abs(Decimal(whole["expected_usd"]) / everything.expected_usd - 1) < Decimal("0.05")
    assert 0 <= whole["margin"] < 0.1


def test_the_margin_of_a_sample_is_none_where_it_is_the_whole() -> None:
    spread = Spread()
    for amount in (1.0, 2.0, 3.0):
        spread.take(amount)
    assert spread.margin(3) == 0
    assert spread.margin(300) == pytest.approx(1.96 * (0.99 / 3) ** 0.5 / 2)
    assert Spread().margin(10) is None


def test_the_shortest_time_is_that_of_the_tightest_rate() -> None:
    from pipeline.config import Plan
    from pipeline.providers import Rates as Quota

    def seconds(**rates: Any) -> float:
        endpoint = Endpoint("gemini", MODEL, rates=Quota(**rates))
        made = Plan((), {"m": endpoint}, {"m": None}, Path())
        share = Share("a", "m", requests=601, input_tokens=5000, expected_usd=Decimal(3))
        return shortest(made, (share,))

    assert seconds() == 0
    assert seconds(rpm=601) == 0
    assert seconds(rpm=600) == 60
    assert seconds(rpm=600, tpm=1000) == 240
    assert seconds(rpd=300) == 2 * 86_400
    assert seconds(spend=Decimal(1)) == 1200


def test_a_person_gets_a_table() -> None:
    share = Share(
        "receipt", f"gemini:{MODEL}", 12, 12, 0, 12, 4000, 900, 0,
        Decimal("0.0011"), Decimal("0.0023"), Decimal("0.0415"),
    )  # fmt: skip
    lines = table(
        Estimate(
            (share,), documents=12, inputs=("inbox",), output=Path("out"), budget_usd=Decimal(1)
        )
    )
    heads, row = lines[2].split(), lines[3].split()
    assert heads[:3] == ["stage", "model", "documents"]
    assert row == [
        "receipt", f"gemini:{MODEL}", "12", "12", "0", "12", "4,000", "900", "0.0011", "0.0023", "0.0415",
    ]  # fmt: skip
    assert any("budget 1 USD: suffices surely" in line for line in lines)
