"""Running again: only what depends on a change is done again, the run says so before it pays, and nothing stale is left."""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.api import Storage, inputs_of, open_runner
from pipeline.cli.survey import in_words
from pipeline.config import Call, plan
from pipeline.errors import UsageError
from pipeline.ledger import Ledger
from pipeline.results import Result
from pipeline.runner import Options, Runner, Survey, Tally
from pipeline.sources import Source
from pipeline.stages import Stage
from tests.accounts import check
from tests.answers import Answer, Seen, answer_from, generated
from tests.pdfs import pdf, text_at
from tests.server import Server
from tests.test_cli import fieldsift, results
from tests.test_worker import Scripted

NUMBER = Stage("number", "number str")
TOTAL = Stage("total", "total float")


def truth(seen: Seen) -> Answer:
    """Answers what the document says, to the stage that asks."""
    number = seen.text.partition("No: R-")[2][:4]
    if asks_total(seen):
        return answer_from(seen, {f"R-{number}": {"total": int(number) + 0.5}})
    return answer_from(seen, {f"R-{number}": {"number": f"R-{number}"}})


def asks_total(seen: Seen) -> bool:
    return "total" in json.dumps(seen.body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("GEMINI_API_KEY", "none-is-needed")
    with Server(truth) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        yield running
        assert running.violations == []


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    for number in range(6):
        write(folder / f"{number}.txt", number)
    return folder


def write(path: Path, number: int) -> None:
    path.write_text(f"Receipt No: R-{number:04}\nTotal {number}.50 EUR\n")


class Went:
    """A run as a test makes it: what it said before it paid, its Results and its Tally."""

    def __init__(self) -> None:
        self.survey: Survey | None = None
        self.sent_before_survey = 0
        self.results: list[Result] = []
        self.tally = Tally()

    @property
    def reasons(self) -> dict[str, int]:
        """What the survey counted."""
        return {str(why): n for why, n in self.survey.reasons.items()} if self.survey else {}

    @property
    def changes(self) -> dict[str, int]:
        """What the survey said had changed."""
        return dict(self.survey.changes) if self.survey else {}


def go(
    inbox: Path,
    *stages: Stage,
    model: str = "gemini-3.1-flash-lite",
    change: Any = lambda runner: None,
    sources: Sequence[Source] | None = None,
    **options: Any,
) -> Went:
    """Run stages over the inbox into `out` beside it; `change` may alter the Runner before it starts."""
    given = {"inputs": [str(inbox)], "output": str(inbox.parent / "out"), "model": model}
    decided = plan(given, Call(), stages or [NUMBER])
    went = Went()

    async def work() -> None:
        async with open_runner(decided, Options(**options), Storage()) as runner:
            change(runner)

            def surveyed(found: Survey) -> None:
                went.survey, went.sent_before_survey = found, runner.asker.bought.sent

            went.tally = runner.tally
            found = inputs_of(decided) if sources is None else sources
            async for result in runner.run(found, surveyed):
                went.results.append(result)

    asyncio.run(work())
    return went


def names(inbox: Path) -> list[str]:
    return [path.name for path in inbox.iterdir()]


def test_a_changed_prompt_asks_its_own_stage_again_and_no_other(
    inbox: Path, server: Server
) -> None:
    first = go(inbox, NUMBER, TOTAL)
    assert first.survey is None, "there is nothing to compare the first run with"
    assert len(server.billed) == 12
    paid = sum((each.cost_usd or Decimal(0) for each in first.results), Decimal(0))
    again = go(inbox, NUMBER, replace(TOTAL, prompt="What is the total?"))
    assert len(server.billed) == 18
    assert again.changes == {"stage total: prompt": 6}
    assert again.reasons == {"settings_changed": 6}
    assert again.survey is not None
    assert again.sent_before_survey == 0
    assert again.survey.cost_usd == pytest.approx(paid / 2, rel=Decimal("0.02"))
    assert check(inbox.parent / "out", names(inbox)) == []


def test_what_leaves_the_question_as_it_is_sends_nothing(inbox: Path, server: Server) -> None:
    """Evidence is judged here; a stage's name and the place of its files are ours too."""
    go(inbox, NUMBER, TOTAL)
    stricter = go(inbox, NUMBER, replace(TOTAL, evidence="required"))
    assert stricter.changes == {"stage total: evidence": 6}
    assert stricter.survey is not None
    assert stricter.survey.cost_usd == 0
    renamed = go(inbox, NUMBER, replace(TOTAL, name="amount", evidence="required"))
    assert renamed.changes == {"stage amount: was total": 6}
    assert renamed.tally.superseded == 6, "counted by several at the same time"
    removed = go(inbox, NUMBER)
    assert removed.changes == {"stage amount: removed": 6}
    assert len(server.billed) == 12
    assert check(inbox.parent / "out", names(inbox)) == []
    assert {path.name for path in (inbox.parent / "out").iterdir() if path.is_dir()} == {
        "number",
        ".fieldsift",
    }


def test_each_reason_is_told_with_its_number(inbox: Path, server: Server) -> None:
    go(inbox)
    write(inbox / "new.txt", 17)
    write(inbox / "0.txt", 18)
    os.utime(inbox / "0.txt", ns=(1, 1))
    out = inbox.parent / "out"
    (out / "number/1.txt.json").unlink()
    lifted(out, "2.txt")
    went = go(inbox)
    assert went.reasons == {"new": 1, "file_changed": 1, "output_missing": 1, "unfinished": 1}
    assert went.survey is not None
    assert (went.survey.unchanged, went.survey.gone, went.tally.unchanged) == (3, 0, 3)
    assert (went.tally.found, went.tally.listed, went.tally.sources) == (7, True, 7)
    assert len(server.billed) == 8
    assert in_words(went.survey, Decimal("0.5"))[0].startswith(
        "3 documents are done; 4 to do: 1 for a changed file, 1 for a missing data file, 1 unfinished, 1 new; about "
    )
    assert go(inbox, force=True).reasons == {"force": 7}
    nothing = go(inbox).survey
    assert nothing is not None
    assert in_words(nothing, None) == ["7 documents are done, and nothing changed"]


def lifted(out: Path, *paths: str) -> None:
    """Take marks away, as a kill between a document's files and its lines leaves it."""
    ledger = Ledger(out / ".fieldsift", out / "results.jsonl")

    async def work() -> None:
        for path in paths:
            await ledger.lift(path)

    asyncio.run(work())
    ledger.close()


def test_retry_says_which_status_and_goes_on_after_a_kill(inbox: Path, server: Server) -> None:
    wrong = {"R-0001", "R-0002", "R-0003"}
    server.reply = lambda seen: (
        generated({"number": 7}) if any(each in seen.text for each in wrong) else truth(seen)
    )
    go(inbox)
    (inbox / "3.txt").unlink()
    server.reply = truth
    before = len(server.billed)

    def killed(runner: Runner) -> None:
        finish = runner.ledger.finish
        count = 0

        async def _finish(*given: Any) -> None:
            nonlocal count
            count += 1
            if count > 1:
                raise RuntimeError("killed")
            await finish(*given)

        vars(runner.ledger)["finish"] = _finish

    with pytest.raises(RuntimeError, match="killed"):
        go(inbox, retry=("invalid",), change=killed)
    went = go(inbox, retry=("invalid",))
    assert went.survey is not None
    assert went.survey.to_do == 1
    assert went.survey.gone == 1, "a file that was deleted meanwhile is no reason to stop"
    assert len(server.billed) == before + 2
    out = inbox.parent / "out"
    assert {line["status"] for name, line in results(out).items() if name != "3.txt"} == {"valid"}
    assert check(out) == []


def test_results_of_documents_that_are_gone_are_counted_and_pruned_when_asked(
    inbox: Path, server: Server
) -> None:
    """Kept, they count in the exit code like any other line."""
    (inbox / "empty.txt").touch()
    command = ["run", str(inbox), "-s", "number str", "-o", "out"]
    env = {"GEMINI_API_KEY": "x", "GOOGLE_GEMINI_BASE_URL": server.url}
    fieldsift(*command, cwd=inbox.parent, env=env, code=1)
    (inbox / "empty.txt").unlink()
    (inbox / "5.txt").rename(inbox / "renamed.txt")
    done = fieldsift(*command, cwd=inbox.parent, env=env, code=1)
    assert "run plan found=6 unchanged=5 new=1 gone=2" in done.stderr
    assert " gone=2 " in done.stderr
    assert "2 documents with results are no longer in the input" in done.stderr
    assert len(server.billed) == 6
    done = fieldsift(*command, "--prune", cwd=inbox.parent, env=env)
    assert " pruned=2 " in done.stderr
    out = inbox.parent / "out"
    assert check(out, names(inbox)) == []
    assert not (out / "extract/5.txt.json").exists()


def test_what_could_not_be_listed_is_never_pruned(
    inbox: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that can't be read, or a run over a part of the input, says nothing about what is gone."""
    (inbox / "deep").mkdir()
    write(inbox / "deep/9.txt", 9)
    go(inbox)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("/deep"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    went = go(inbox, prune=True)
    assert went.survey is not None
    assert went.survey.gone is None
    assert went.tally.pruned == 0
    assert (inbox.parent / "out/number/deep/9.txt.json").exists()
    part = go(inbox, partial=True, sources=[])
    assert part.survey is not None
    assert part.survey.gone is None
    with pytest.raises(UsageError, match="prune"):
        Options(prune=True, partial=True)


def invalid(seen: Seen) -> Answer:
    return generated({"number": 7})


@pytest.mark.parametrize("killed", [False, True])
def test_no_outcome_leaves_a_stale_file(inbox: Path, server: Server, *, killed: bool) -> None:
    """Valid, invalid, another stage, unreadable, valid again: also where each was killed before its lines came."""
    out = inbox.parent / "out"

    def kill(runner: Runner) -> None:
        async def finish(*_: Any) -> None:
            raise RuntimeError("killed")

        vars(runner.ledger)["finish"] = finish

    def step(*stages: Stage) -> None:
        if killed:
            with pytest.raises(RuntimeError, match="killed"):
                go(inbox, *stages, force=True, change=kill)
        else:
            go(inbox, *stages, force=True)

    step(NUMBER)
    server.reply = invalid
    step(NUMBER)
    step(replace(NUMBER, name="other"))
    for path in inbox.iterdir():
        path.write_bytes(b"")
    step(NUMBER)
    server.reply = truth
    for number, path in enumerate(inbox.iterdir()):
        write(path, number)
    step(NUMBER, TOTAL)
    go(inbox, TOTAL)
    assert check(out, names(inbox)) == []
    assert {path.parent.name for path in out.glob("*/*.json")} == {"total"}
    assert not (out / "rejected").exists()


def test_a_poisonous_document_is_set_aside_and_costs_no_other(inbox: Path) -> None:
    """It kills its child, and a second one that read nothing before: `unreadable`, and not tried again."""
    (inbox / "3.txt").write_text("POISON")
    script = (
        "while True:\n message, content = read()\n if b'POISON' in content: os._exit(3)\n"
        " write({'found': {'pages': [{'text': 2, 'words': 0, 'size': [0, 0], 'turn': 0, 'scanned': False,"
        " 'fields': []}], 'parts': [], 'warnings': [], 'page_count': 1}, 'holds': 1}, b'ok')\n"
    )
    loaders: list[Scripted] = []

    def scripted(runner: Runner) -> None:
        loaders.append(Scripted(script))
        runner.loaders = loaders[0]

    went = go(inbox, model="local", change=scripted)
    assert loaders[0].started <= 4
    statuses = {each.document.path: (each.status, each.reason) for each in went.results}
    assert statuses.pop("3.txt") == ("unreadable", "crashed")
    assert {status for status, _ in statuses.values()} == {"valid"}
    assert len(statuses) == 5
    assert go(inbox, model="local").results == []


def test_a_fault_of_our_own_throws_no_answer_away(inbox: Path, server: Server) -> None:
    """The run ends with it, after what the other documents have in flight is kept."""
    server.reply = lambda seen: replace(truth(seen), hold=seen.number > 1)
    failed: list[str] = []

    def faulty(runner: Runner) -> None:
        finish = runner.ledger.finish

        async def finished(source: str, *rest: Any) -> None:
            if not failed:
                failed.append(source)
                await asyncio.to_thread(server.wait_for, 4)
                asyncio.get_running_loop().call_later(0.2, server.release)
                raise RuntimeError("ours")
            await finish(source, *rest)

        vars(runner.ledger)["finish"] = finished

    with pytest.raises(RuntimeError, match="ours"):
        go(inbox, change=faulty)
    kept = len(server.billed) - 1
    assert len(results(inbox.parent / "out")) == kept >= 3
    server.reply = truth
    go(inbox)
    assert server.paid_twice() == {}


def test_pages_read_and_pages_not_read_are_the_pages_found(inbox: Path, server: Server) -> None:
    """A page counts as read when every stage that was asked has an answer that covers it."""
    for path in inbox.iterdir():
        path.unlink()
    pages = [text_at(72, 720, f"Receipt No: R-000{number}") for number in range(3)]
    (inbox / "a.pdf").write_bytes(pdf(*pages))
    (inbox / "b.pdf").write_bytes(pdf(*pages[:2]))
    (inbox / "empty.pdf").write_bytes(b"")
    server.reply = lambda seen: (
        generated({"total": 1} if asks_total(seen) else {"number": "R-0001"})
        if not asks_total(seen) or seen.fingerprint == fully
        else generated({"total": 1}, finishReason="MAX_TOKENS")
    )
    fully = ""
    tally = go(inbox, NUMBER, TOTAL).tally
    assert (tally.pages_found, tally.pages_read, tally.pages_unread) == (5, 0, 5)
    fully = next(seen.fingerprint for seen in server.requests if asks_total(seen))
    tally = go(inbox, NUMBER, TOTAL, retry=("truncated",)).tally
    assert tally.pages_read in {2, 3}
    assert tally.pages_found == tally.pages_read + tally.pages_unread == 5


def test_the_first_document_is_worked_on_while_the_folder_is_still_listed(
    inbox: Path, server: Server
) -> None:
    """On a new output nothing waits for the end of the listing."""
    asked: list[int] = []

    def endless() -> Iterator[Source]:
        for number in range(5000):
            if number == 4000:
                server.wait_for(1)
                asked.append(len(server.requests))
            path = inbox / f"{number % 6}.txt"
            status = path.stat()
            yield Source(f"{number}.txt", path, status.st_size, status.st_mtime_ns)

    def some(runner: Runner) -> None:
        process = runner.process

        async def few(source: Source, *, early: bool = False) -> Any:
            if early:
                async for result in process(source):
                    yield result
            if runner.tally.listed:
                runner.stop()

        vars(runner)["process"] = few

    went = go(inbox, sources=endless(), change=some)  # type: ignore[arg-type]
    assert asked
    assert went.tally.found == 5000


def test_waiting_sources_come_back_in_their_order(tmp_path: Path) -> None:
    """A few in memory, thousands in a file, and those whose content was given."""
    from pipeline.runner.listing import Backlog

    put = [
        Source(f"é{number}", f"/x/{number}\udce9", number, number, None, ("link", "out"))
        if number % 3
        else Source(f"{number}", content=b"x" * number)
        for number in range(4000)
    ]
    waiting = Backlog(tmp_path)
    taken = []
    for start in range(0, 4000, 250):
        waiting.put(put[start : start + 250], early=start < 250)
        taken += [each for _ in range(100) for each in waiting.take()]
    while waiting:
        taken += waiting.take()
    assert [source for source, _ in taken] == put
    assert sum(early for _, early in taken) == 250
    assert list(tmp_path.iterdir()) == []
    waiting.close()


def test_the_plan_of_a_run_is_an_event(inbox: Path, server: Server) -> None:
    command = ["--json", "run", str(inbox), "-s", "number str", "-o", "out"]
    env = {"GEMINI_API_KEY": "x", "GOOGLE_GEMINI_BASE_URL": server.url}
    fieldsift(*command, cwd=inbox.parent, env=env)
    write(inbox / "new.txt", 77)
    done = fieldsift(*command, cwd=inbox.parent, env=env)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (told,) = [event for event in events if event["event"] == "plan"]
    assert (told["found"], told["unchanged"], told["new"]) == (7, 6, 1)
    assert told["expected_usd"] > 0
