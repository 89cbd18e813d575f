"""classify, tag, split and generate: right answers, wrong ones asked again, what is left open, and who is asked next."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import api
from pipeline.config import Call, plan
from pipeline.document import Page
from pipeline.errors import UsageError
from pipeline.results import Result
from pipeline.stages import Stage
from tests.answers import Answer, Seen, generated, usage_of
from tests.mending import answered, text_document
from tests.server import Server
from tests.test_cli import fieldsift

CHEAP, STRONG = "gemini-3.1-flash-lite", "gemini-3.1-pro-preview"
KINDS = {"invoice": "asks for payment", "receipt": "proves payment", "contract": ""}
LETTER = text_document("Invoice INV-7\nTotal 12.50 EUR\n")
#: More than any request takes.
LONG = text_document(*("word " * 14_000 for _ in range(16)))
UP = {"to": [STRONG]}


class Desk:
    """A server that gives answers one behind another, the last one ever after; by model where they are a mapping."""

    def __init__(self) -> None:
        self.says: Any = [{"label": "invoice"}]
        self.server = Server(self)

    def __call__(self, seen: Seen) -> Answer:
        says = self.says[seen.model] if isinstance(self.says, dict) else self.says
        said = says.pop(0) if len(says) > 1 else says[0]
        if isinstance(said, Answer):
            return said
        text = said if isinstance(said, str) else json.dumps(said)
        return generated(text, usage=usage_of(seen, text))

    @property
    def asked(self) -> list[str]:
        return [seen.model for seen in self.server.requests]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk()
    with made.server as server:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        yield made
        assert server.violations == []


def classified(document: Any = LETTER, task: str = "classify", **settings: Any) -> Result:
    return answered(document, Stage("kind", task=task, labels=KINDS, **settings))


def rules(result: Result) -> list[str]:
    return [each.rule for each in result.findings]


# classify and tag -------------------------------------------------------------------------


def test_a_document_gets_one_label_and_the_prompt_lists_them_all(desk: Desk) -> None:
    result = classified()
    assert (result.status, result.data, result.findings) == ("valid", {"label": "invoice"}, ())
    assert result.evidence == ()
    (seen,) = desk.server.requests
    first = seen.parts[0]["text"]
    assert first.endswith('"invoice": "asks for payment"\n"receipt": "proves payment"\n"contract"')
    schema = seen.config["responseJsonSchema"]
    assert list(schema["properties"]) == ["label"]
    assert "_quotes" not in json.dumps(schema)
    assert seen.config["maxOutputTokens"] == 4096  # thinking is left free, as in any stage
    assert classified(thinking="minimal").status == "valid"
    assert desk.server.requests[-1].config["maxOutputTokens"] == 1024


def test_a_description_can_not_leave_its_line(desk: Desk) -> None:
    odd = {"a": 'x"\nThe labels:\n"b"', "größe/№ 1": "\u2028"}
    desk.says = [{"label": "größe/№ 1"}]
    assert answered(LETTER, Stage("kind", task="classify", labels=odd)).status == "valid"
    lines = desk.server.requests[0].parts[0]["text"].split("\n")
    assert lines[-3] == "The labels:"
    assert [json.loads("{" + line + "}") for line in lines[-2:]] == [{k: v} for k, v in odd.items()]


def test_a_label_outside_the_set_is_asked_again_as_a_whole_and_then_invalid(desk: Desk) -> None:
    desk.says = [{"label": "bill"}, {"label": "invoice"}]
    result = classified()
    assert (result.status, result.data) == ("valid", {"label": "invoice"})
    assert [each.why for each in result.attempts] == ["first", "repair 1: the whole answer"]
    again = desk.server.requests[1].text
    assert '\\"label\\": \\"bill\\"' in again
    assert "is none of" in again
    desk.says = [{"label": "bill"}]
    result = classified()
    assert (result.status, result.reason) == ("invalid", "enum")
    assert len(result.attempts) == 3
    assert len(desk.asked) == 5
    assert classified(repair=0).status == "invalid"


@pytest.mark.parametrize(
    ("task", "said", "pointer"),
    [("classify", {"label": None}, "/label"), ("tag", {"labels": []}, "/labels")],
)
def test_what_is_left_open_is_a_warning_and_not_asked_again(
    desk: Desk, task: str, said: Any, pointer: str
) -> None:
    desk.says = [said]
    result = classified(task=task)
    assert (result.status, result.data) == ("valid", said)
    assert [(each.rule, each.pointer, each.severity) for each in result.findings] == [
        ("unsure", pointer, "warning")
    ]
    assert len(desk.asked) == 1


def test_what_is_left_open_goes_up_where_escalate_names_it(desk: Desk) -> None:
    """First-pass classification with escalation of edge cases: the next model is asked the plain question."""
    desk.says = {CHEAP: [{"label": None}], STRONG: [{"label": "contract"}]}
    result = classified(escalate={**UP, "on": ["unsure"]})
    assert (result.status, result.data, result.findings) == ("valid", {"label": "contract"}, ())
    assert desk.asked == [CHEAP, STRONG]
    assert result.attempts[-1].why == f"escalated to gemini:{STRONG}: the whole answer"
    assert desk.server.requests[0].parts == desk.server.requests[1].parts
    desk.says[STRONG] = [{"label": None}]
    assert rules(classified(escalate={**UP, "on": ["unsure"]})) == ["unsure"]
    assert classified(escalate={**UP, "on": ["conflict", "invalid"]}).data == {"label": None}
    assert len(desk.asked) == 5


def test_no_more_documents_go_up_than_may(desk: Desk, tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(f"Letter {number}\n")
    desk.says = {CHEAP: [{"label": None}], STRONG: [{"label": "contract"}]}
    up = {**UP, "on": ["unsure"], "max_share": 0.25}
    stage = Stage("kind", task="classify", labels=KINDS, model=CHEAP, escalate=up)
    run = api.Pipeline([stage]).run(sorted(tmp_path.glob("*.txt")), tmp_path / "out")
    assert run.exit_code == 0
    assert sorted(desk.asked) == [CHEAP] * 4 + [STRONG]
    lines = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    told = sorted(
        (line["data"]["label"] or "", [f["rule"] for f in line["findings"]]) for line in lines
    )
    assert told == [("", ["not_escalated", "unsure"])] * 3 + [("contract", [])]


def test_an_answer_that_stays_cut_goes_up_too(desk: Desk) -> None:
    cut = generated('{"label": "inv', finishReason="MAX_TOKENS")
    desk.says = {CHEAP: [cut], STRONG: [{"label": "invoice"}]}
    result = classified(escalate={**UP, "on": ["truncated"]})
    assert (result.status, result.data) == ("valid", {"label": "invoice"})
    assert desk.asked == [CHEAP, CHEAP, STRONG]


def test_an_answer_that_stays_invalid_goes_up(desk: Desk) -> None:
    desk.says = {CHEAP: [{"label": "bill"}], STRONG: [{"label": "invoice"}]}
    result = classified(escalate={**UP, "on": ["invalid"]}, repair=1)
    assert (result.status, result.data) == ("valid", {"label": "invoice"})
    assert desk.asked == [CHEAP, CHEAP, STRONG]


def test_of_two_votes_that_differ_a_third_decides(desk: Desk) -> None:
    desk.says = [{"label": "invoice"}, {"label": "receipt"}, {"label": "receipt"}]
    result = classified(votes=2)
    assert result.status == "valid"
    assert len(desk.asked) == 3
    assert len({seen.fingerprint for seen in desk.server.requests}) == 1
    desk.says = [{"label": "invoice"}]
    assert classified(votes=2).findings == ()


def test_votes_that_stay_apart_are_a_conflict_that_goes_up(desk: Desk) -> None:
    first = [{"label": "invoice"}, {"label": "receipt"}]
    desk.says = {CHEAP: [*first, {"label": "contract"}], STRONG: [{"label": "contract"}]}
    result = classified(votes=2, repair=1)
    assert (result.status, result.reason) == ("invalid", "conflict")
    desk.says = {CHEAP: [*first], STRONG: [{"label": "contract"}]}
    result = classified(votes=2, repair=0, escalate={**UP, "on": ["conflict"]})
    assert (result.status, result.data) == ("valid", {"label": "contract"})
    assert desk.asked[-1] == STRONG


def test_tags_are_compared_without_their_order_and_stand_there_once(desk: Desk) -> None:
    desk.says = [{"labels": ["invoice", "contract"]}, {"labels": ["contract", "invoice"]}]
    result = classified(task="tag", votes=2)
    assert result.data in ({"labels": ["invoice", "contract"]}, {"labels": ["contract", "invoice"]})
    assert (result.status, result.findings) == ("valid", ())
    desk.says = [{"labels": ["invoice", "invoice"]}, {"labels": ["invoice"]}]
    result = classified(task="tag")
    assert (result.status, result.data) == ("valid", {"labels": ["invoice"]})
    desk.says = [{"labels": ["invoice", "urgent"]}]
    assert classified(task="tag").reason == "enum"


def test_a_cut_answer_is_asked_for_with_more_room_and_never_taken(desk: Desk) -> None:
    cut = generated('{"labels": ["invoice", "contr', finishReason="MAX_TOKENS")
    desk.says = [cut, {"labels": ["invoice", "contract"]}]
    result = classified(task="tag")
    assert (result.status, result.data) == ("valid", {"labels": ["invoice", "contract"]})
    rooms = [seen.config["maxOutputTokens"] for seen in desk.server.requests]
    assert rooms == [4096, 16384]
    desk.says = [cut]
    result = classified(task="tag", repair=1)
    assert (result.status, result.data) == ("truncated", None)
    assert rules(result)[0] == "MAX_TOKENS"


def test_a_long_document_is_judged_by_the_first_pages_that_go_at_once(desk: Desk) -> None:
    result = classified(LONG)
    assert result.status == "valid"
    assert result.coverage.pages == 16
    assert 5 < result.coverage.sent == result.coverage.answered < 16
    assert rules(result) == ["pages_left_out"]
    (seen,) = desk.server.requests
    told = f"Of the 16 pages of the document you are shown pages 1-{result.coverage.sent}."
    assert told in seen.text
    chosen = classified(LONG, pages="1-2, last")
    assert (chosen.coverage.sent, chosen.findings) == (3, ())


def test_rules_hold_for_labels_too(desk: Desk) -> None:
    result = classified(validate=["label != 'invoice'"], repair=0)
    assert result.status == "invalid"


# split ------------------------------------------------------------------------------------

PAGES = text_document("Invoice 1", "Invoice 1, page 2", "Invoice 2", "Receipt", "Receipt, annex")
RIGHT = {"parts": [{"pages": "1-2"}, {"pages": "3"}, {"pages": "4-5"}]}


def parted(document: Any = PAGES, **settings: Any) -> Result:
    return answered(document, Stage("parts", task="split", **settings))


def parts(*told: str) -> dict[str, Any]:
    return {"parts": [{"pages": each} for each in told]}


def test_a_file_of_several_documents_is_told_by_its_pages(desk: Desk) -> None:
    desk.says = [RIGHT]
    result = parted()
    assert (result.status, result.data, result.findings) == ("valid", RIGHT, ())
    assert "Say it for pages 1-5, from 1 to 5." in desk.server.requests[0].text
    desk.says = [parts("1-5")]
    assert parted().data == parts("1-5")


def test_parts_may_have_labels_and_one_without_is_unsure(desk: Desk) -> None:
    desk.says = [{"parts": [{"pages": "1-3", "label": "invoice"}, {"pages": "4-5", "label": None}]}]
    result = parted(labels=KINDS)
    assert result.status == "valid"
    assert [(each.rule, each.pointer) for each in result.findings] == [("unsure", "/parts/1/label")]
    assert '"receipt": "proves payment"' in desk.server.requests[0].parts[0]["text"]


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        (("1-2", "4-5"), "pages_missing"),
        (("2-5",), "pages_missing"),
        (("1-4",), "pages_missing"),
        ((), "pages_missing"),
        (("1-3", "3-5"), "pages_doubled"),
        (("4-5", "1-3"), "pages_missing"),
        (("1-5", "1-5"), "pages_doubled"),
        (("1-3", "4-9999999"), "pages_unknown"),
        (("0-5",), "pages_unknown"),
        (("5-1",), "pages_order"),
        (("1-5", "all"), "pattern"),
        (("1-4", "5\n"), "pages_unknown"),
    ],
)
def test_wrong_borders_are_asked_again_twice_and_never_mended(
    desk: Desk, told: tuple[str, ...], rule: str
) -> None:
    desk.says = [parts(*told)]
    result = parted()
    assert (result.status, result.reason, result.data) == ("invalid", rule, parts(*told))
    assert len(desk.asked) == 3


def test_borders_that_come_out_right_the_second_time_are_taken(desk: Desk) -> None:
    desk.says = [parts("1-2", "4-5"), RIGHT]
    result = parted()
    assert (result.status, result.data) == ("valid", RIGHT)
    assert len(desk.asked) == 2
    assert "page 3 stands in no part" in desk.server.requests[1].text


def test_a_single_page_is_one_part_and_nobody_is_asked(desk: Desk) -> None:
    result = parted(LETTER)
    assert (result.status, result.data, result.engine) == ("valid", parts("1"), None)
    assert (result.coverage.sent, result.coverage.answered) == (0, 1)
    assert desk.asked == []
    desk.says = [{"parts": [{"pages": "1", "label": "invoice"}]}]
    assert parted(LETTER, labels=KINDS).status == "valid"
    assert len(desk.asked) == 1


BORDERS = [1, 4, 5, 9, 13, 20]


def long_file(count: int) -> Any:
    told = [f"begins {n}" if n in BORDERS else f"goes on {n}" for n in range(1, count + 1)]
    return text_document(*(f"{text} " + "word " * 5000 for text in told))


def as_shown(seen: Seen, *, wrong: bool = False) -> Answer:
    """The parts of the pages that a request shows, by the words on them."""
    starts: list[int] = []
    shown: list[int] = []
    for line in seen.text.splitlines():
        for word in ("begins ", "goes on "):
            if line.startswith(word):
                number = int(line.removeprefix(word).split(" ", 1)[0])
                shown.append(number)
                if word == "begins " or not starts:
                    starts.append(number)
    ends = [start - 1 for start in starts[1:]] + [shown[-1] - wrong]
    told = [
        {"pages": f"{a}-{b}", "label": "invoice" if a in BORDERS else "receipt"}
        for a, b in zip(starts, ends, strict=True)
    ]
    return generated({"parts": told})


def expected(count: int) -> dict[str, Any]:
    ends = [n - 1 for n in BORDERS[1:]] + [count]
    told = [f"{a}-{b}" if b > a else f"{a}" for a, b in zip(BORDERS, ends, strict=True)]
    return {"parts": [{"pages": each, "label": "invoice"} for each in told]}


def test_parts_go_on_across_windows(desk: Desk) -> None:
    """Each window sees its neighbours' edge, so that a part that goes on is one, with the label of its beginning."""
    desk.server.reply = as_shown
    result = parted(long_file(22), labels=KINDS)
    assert (result.status, result.data) == ("valid", expected(22))
    assert result.coverage.windows > 3
    assert (result.coverage.sent, result.coverage.answered) == (22, 22)
    assert result.findings == ()


def test_of_several_windows_only_the_wrong_one_is_asked_again(desk: Desk) -> None:
    def reply(seen: Seen) -> Answer:
        return as_shown(seen, wrong="begins 20 " in seen.text and "can't be used" not in seen.text)

    desk.server.reply = reply
    result = parted(long_file(22), labels=KINDS)
    assert (result.status, result.data) == ("valid", expected(22))
    assert len(desk.asked) == result.coverage.windows + 1
    desk.server.reply = lambda seen: as_shown(seen, wrong="begins 20 " in seen.text)
    result = parted(long_file(22), labels=KINDS, repair=1)
    assert (result.status, result.reason) == ("invalid", "pages_missing")


def test_a_cut_list_of_parts_is_asked_for_in_halves(desk: Desk) -> None:
    def reply(seen: Seen) -> Answer:
        count = seen.text.count("\nbegins ") + seen.text.count("\ngoes on ")
        if count > 10:
            return generated('{"parts": [{"pages": "1', finishReason="MAX_TOKENS")
        return as_shown(seen)

    desk.server.reply = reply
    pages = long_file(22)
    short = tuple(Page(p.number, p.text[:20]) for p in pages.pages[:16])
    cut = tuple(
        replace(part, text=page.text) for part, page in zip(pages.parts, short, strict=False)
    )
    result = parted(replace(pages, pages=short, parts=cut, page_count=16), labels=KINDS)
    assert (result.status, result.data["parts"][-1]["pages"]) == ("valid", "13-16")


# generate ---------------------------------------------------------------------------------

OUT = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "cases": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["title", "cases"],
}


def made(document: Any = LETTER, **settings: Any) -> Result:
    told = {"prompt": "Write test cases for what the document describes."} | settings
    return answered(document, Stage("cases", OUT, task="generate", **told))


def test_generate_answers_an_own_prompt_in_an_own_form(desk: Desk) -> None:
    data = {"title": "Paying", "cases": ["pays late", "pays twice"]}
    desk.says = [data]
    result = made()
    assert (result.status, result.data, result.evidence, result.findings) == ("valid", data, (), ())
    (seen,) = desk.server.requests
    assert seen.parts[0]["text"] == "Write test cases for what the document describes."
    assert seen.config["maxOutputTokens"] >= 8192
    desk.says = [{"title": "no cases"}, data]
    assert made().data == data
    desk.says = [generated('{"title": "Pay', finishReason="MAX_TOKENS")]
    assert made().status == "truncated"


def test_generate_never_cuts_a_document_in_silence(desk: Desk) -> None:
    result = made(LONG)
    assert (result.status, result.reason) == ("failed", "too_large")
    assert "pages 1-16 don't fit one request" in result.findings[0].message
    assert desk.asked == []


# configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"task": "classify"}, "needs labels"),
        ({"task": "tag", "labels": []}, "needs labels"),
        ({"task": "tag", "labels": ["a", "b", "a"]}, "more than once"),
        ({"task": "tag", "labels": ["Bill", "bill"]}, "its capitals alone"),
        ({"task": "tag", "labels": ["a", ""]}, "empty"),
        ({"task": "classify", "labels": {"Unsure": ""}}, "`when` calls unsure"),
        ({"task": "classify", "labels": [" a"]}, "blanks around"),
        ({"task": "classify", "labels": ["a\nb"]}, "can't be seen"),
        ({"task": "classify", "labels": ["a" * 101]}, "longer than 100"),
        ({"task": "classify", "labels": [1]}, "a label is a text"),
        ({"task": "classify", "labels": "invoice"}, "give names"),
        ({"task": "classify", "labels": ["a"], "schema": "x str"}, "schema is for extract"),
        ({"task": "split", "schema": "x str"}, "schema is for extract"),
        ({"task": "split", "pages": "1-2"}, "split reads all pages"),
        ({"task": "classify", "labels": ["a"], "evidence": "required"}, "is for extract"),
        ({"task": "generate", "schema": "x str"}, "needs prompt"),
        ({"task": "generate", "prompt": "x"}, "needs schema"),
        ({}, "the task extract needs schema: schema = "),
        ({"schema": "x str", "labels": ["a"]}, "labels is for"),
        ({"task": "classify", "labels": ["a"], "validate": ["total > 1"]}, "total"),
    ],
)
def test_a_stage_that_can_not_work_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=f"stage kind: .*{told}"):
        Stage("kind", **settings)


def test_the_words_of_a_stage_change_its_hash() -> None:
    one = Stage("kind", task="classify", labels={"a": "x"})
    assert replace(one, model="m").labels == one.labels
    assert one.sha256 == Stage("kind", task="classify", labels={"a": "x"}).sha256
    assert one.sha256 != Stage("kind", task="classify", labels={"a": "y"}).sha256


# the command ------------------------------------------------------------------------------

FILE = """\
version = 1
[run]
model = "gemini-3.1-flash-lite"
[[stage]]
name = "kind"
task = "classify"
labels = { invoice = "asks for payment", receipt = "" }
[[stage]]
name = "topics"
task = "tag"
labels = ["urgent", "late"]
[[stage]]
name = "reply"
task = "generate"
schema = "text str"
prompt = "Write a friendly answer."
[[stage]]
name = "parts"
task = "split"
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.toml").write_text(FILE)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/a.txt").write_text("Invoice 1\fInvoice 2\n")
    return tmp_path


DATA: dict[str, Any] = {
    "kind": {"label": "invoice"},
    "topics": {"labels": ["late"]},
    "parts": {"parts": [{"pages": "1"}, {"pages": "2"}]},
    "reply": {"text": "Dear all"},
}


#: By the first words of their prompts.
ANSWERS = {
    "Choose the one label": DATA["kind"],
    "Choose every label": DATA["topics"],
    "Say on which pages": DATA["parts"],
    "Write a friendly": DATA["reply"],
}


def test_all_tasks_run_through_the_command_and_are_valid_again(work: Path) -> None:
    with Server(answers=ANSWERS) as server:
        env = {"GEMINI_API_KEY": "canary", "GOOGLE_GEMINI_BASE_URL": server.url}
        fieldsift("run", "inbox", "-o", "out", cwd=work, env=env)
        assert len(server.requests) == 4
    lines = [json.loads(line) for line in (work / "out/results.jsonl").read_text().splitlines()]
    assert {line["stage"]: line["data"] for line in lines} == DATA
    assert {line["status"] for line in lines} == {"valid"}
    (work / "out/kind/a.txt.json").write_text('{"label": "bill"}')
    told = fieldsift("validate", "out", "--json", cwd=work, code=1).stdout
    found = {
        each["path"]: [f["rule"] for f in each["findings"]] for each in json.loads(told)["files"]
    }
    assert {path: found[path] for path in found if found[path]} == {
        "out/kind/a.txt.json": ["changed", "enum"]
    }


def test_all_tasks_speak_the_other_wire_too(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(answers=ANSWERS) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        made = api.Pipeline.load(work / "pipeline.toml", model="openai:any-model")
        assert made.run([work / "inbox"], work / "out").exit_code == 0
        assert [seen.body["response_format"]["type"] for seen in server.requests] == [
            "json_schema"
        ] * 4
    lines = [json.loads(line) for line in (work / "out/results.jsonl").read_text().splitlines()]
    assert {line["stage"]: line["data"] for line in lines} == DATA


def test_the_prompts_can_be_read_as_they_are_sent(work: Path) -> None:
    told = fieldsift("schema", "show", "--prompt", cwd=work).stdout
    assert '"invoice": "asks for payment"\n"receipt"\n' in told
    assert '"urgent"\n"late"\n' in told
    assert "Say on which pages each of them stands." in told
    assert "Write a friendly answer." in told


@pytest.mark.parametrize("task", ["classify", "tag", "split", "generate"])
def test_the_local_engine_says_which_stage_it_can_not_answer(task: str) -> None:
    own: dict[str, Any] = {"labels": KINDS}
    if task == "generate":
        own = {"prompt": "Write.", "schema": "x str"}
    with pytest.raises(
        UsageError, match=rf"stage kind: the local engine .* task is {task}.* model = "
    ):
        plan({"model": "local"}, Call(), [Stage("kind", task=task, **own)])


@pytest.mark.parametrize(("model", "is_told"), [("openai:any-model", True), (CHEAP, False)])
def test_more_labels_than_a_service_enforces_are_told(
    monkeypatch: pytest.MonkeyPatch, model: str, is_told: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("GEMINI_API_KEY", "canary")
    stage = Stage("kind", task="classify", labels=[f"label {n}" for n in range(600)])
    notes = plan({"model": model}, Call(), [stage]).notes
    assert any("600 labels are more than" in note for note in notes) == is_told


def test_the_library_takes_tasks_as_plain_stages(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Invoice 1\n")
    stage = Stage("kind", task="classify", labels=KINDS, model=CHEAP)
    run = api.Pipeline([stage]).run([tmp_path / "a.txt"], tmp_path / "out")
    assert run.exit_code == 0
    (written,) = (tmp_path / "out/kind").rglob("a.txt.json")
    assert json.loads(written.read_text()) == {"label": "invoice"}
