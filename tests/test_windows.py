"""Windows: which pages are asked about together, what the model is told of them, and which pages a stage reads."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import catalogue
from pipeline.api import Pipeline, extract
from pipeline.document import Document, Page, Part, Window
from pipeline.errors import UsageError
from pipeline.grounding import with_quotes
from pipeline.prompts import Ask, output_tokens, request
from pipeline.prompts.length import answer_tokens, has_rows
from pipeline.providers import Endpoint, open_provider
from pipeline.results import Coverage
from pipeline.schema import Schema, dialects
from pipeline.schema.nullable import nullable
from pipeline.stages import Stage
from pipeline.values.pages import page_numbers
from pipeline.windows import cut
from pipeline.windows.cut import ANSWER, READ, READ_FOR_ROWS
from pipeline.windows.forms import shown
from tests.answers import Answer, Seen, generated
from tests.asking import endpoint
from tests.chats import endpoint as gateway
from tests.server import Server
from tests.test_cli import fieldsift

ROWS = Schema(
    "bill",
    {
        "type": "object",
        "properties": {
            "number": {"type": "string"},
            "lines": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {"item": {"type": "string"}, "amount": {"type": "number"}},
                    "required": ["item", "amount"],
                },
            },
        },
        "required": ["number", "lines"],
    },
)
ROWS_ALONE = Schema.of(
    {
        "title": "bill",
        "type": "object",
        "properties": {"lines": ROWS.body["properties"]["lines"]},
        "required": ["lines"],
    }
)
PLAIN = Schema.of("number, total float")
GEMINI = endpoint()


def document(*texts: str, blind: int = 0) -> Document:
    """A text of several pages, and a PDF of so many pages without words."""
    pages = tuple(Page(number, text) for number, text in enumerate(texts, 1))
    parts = tuple(
        Part("text", "text/plain", text=p.text, pages=(p.number, p.number)) for p in pages
    )
    if blind:
        pages = tuple(Page(number, "") for number in range(1, blind + 1))
        parts = (Part("pdf", "application/pdf", data=b"x" * 1000 * blind, pages=(1, blind)),)
    return Document("a", "0" * 64, 1, "", len(pages), pages, parts)


def table(rows: int, page: int = 0) -> str:
    """A page with rows."""
    return "\n".join(f"Item {page}-{row}    {row + 1} pieces    {row}.50" for row in range(rows))


def asks(schema: Schema, given: Document, *to: Endpoint, **settings: Any) -> tuple[Ask, ...]:
    """The first questions about a document."""
    return cut(Stage("s", schema, **settings), given, *(to or (GEMINI,)))


def sizes(found: tuple[Ask, ...]) -> list[int]:
    """How many pages each window owns."""
    return [len(ask.window.pages) for ask in found]


# one window ---------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [ROWS, PLAIN])
@pytest.mark.parametrize("pages", [1, 3])
def test_a_document_that_fits_is_one_question_with_the_stages_own_schema(
    schema: Schema, pages: int
) -> None:
    """A long document goes the same way; nothing is said of windows."""
    given = document(*(table(20, page) for page in range(pages)))
    (ask,) = asks(schema, given)
    assert ask == Ask(Window(tuple(range(1, pages + 1))), with_quotes(schema))
    stage = Stage("s", schema)
    one = request(stage, ask, given, open_provider(GEMINI), GEMINI)
    assert not any("Answer for" in part.text for part in one.content)


def test_the_local_engine_reads_all_pages_at_once() -> None:
    """It costs nothing, and looks at the whole layout."""
    given = document(*(table(100, page) for page in range(300)))
    (ask,) = asks(ROWS, given, Endpoint("local", "local"), pages="2-")
    assert ask == Ask(Window(tuple(range(2, 301))), ROWS)


# several windows ----------------------------------------------------------------------------


def test_rows_are_asked_for_in_windows_whose_answers_stay_short() -> None:
    """Every page is owned once, in order; the neighbours are context; answers and input stay below the targets."""
    given = document(*(table(40, page) for page in range(60)))
    found = asks(ROWS, given)
    assert len(found) > 3
    assert [page for ask in found for page in ask.window.pages] == [*range(1, 61)]
    assert [ask.why for ask in found] == [
        f"window {at} of {len(found)}" for at in range(1, len(found) + 1)
    ]
    stage = Stage("s", ROWS)
    for ask in found:
        first, last = ask.window.pages[0], ask.window.pages[-1]
        assert ask.window.context == tuple(p for p in (first - 1, last + 1) if 1 <= p <= 60)
        owned = [given.pages[page - 1] for page in ask.window.pages]
        assert answer_tokens(Stage("a", ROWS), owned) <= ANSWER
        assert ask.schema == with_quotes(nullable(ROWS))
        assert answer_tokens(Stage("a", ROWS), owned) < output_tokens(stage, ask, given) <= 65_536


def test_fields_without_rows_are_asked_for_in_larger_windows_without_context() -> None:
    """Their answer doesn't grow with the pages, and no page break cuts a row."""
    given = document(blind=600)
    found = asks(PLAIN, given)
    assert all(not ask.window.context for ask in found)
    tokens = {one.number: one.tokens for one in shown(given, Stage("s", PLAIN), GEMINI.service)}
    for ask in found:
        assert READ_FOR_ROWS < sum(tokens[page] for page in ask.window.pages) <= READ
    assert len(found) == 2


def test_pages_without_words_have_a_stated_size() -> None:
    """Windows are the same whether the words are known by now or not, for a model that sees."""
    found = asks(ROWS, document(blind=100))
    assert 2 < len(found) < 30
    assert [page for ask in found for page in ask.window.pages] == [*range(1, 101)]


def test_a_page_that_is_too_much_for_a_window_has_one_of_its_own() -> None:
    """It is not left out."""
    found = asks(ROWS, document(table(2), table(2000), table(2)))
    assert [ask.window.pages for ask in found] == [(1,), (2,), (3,)]


PAGES = {
    "empty": "",
    "short": table(3),
    "long": table(60),
    "prose": "word " * 1500,
    "huge": table(250),
}
KINDS = sorted(PAGES)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=20),
    st.sampled_from([None, "1-", "2-5, 9", "last", "3-last", "1, 3, 5, 7, 9"]),
    st.booleans(),
)  # fmt: skip
def test_every_page_that_is_to_be_read_is_owned_by_one_window(
    kinds: list[str], pages: str | None, rows: bool
) -> None:
    """In order; context is right beside what is owned, and is to be read, too."""
    texts = [PAGES[kind] for kind in kinds]
    given, schema = document(*texts), ROWS if rows else PLAIN
    found = asks(schema, given, pages=pages)
    chosen = page_numbers(pages or "1-", len(texts))
    assert tuple(page for ask in found for page in ask.window.pages) == chosen
    for ask in found:
        near = {page + step for page in ask.window.pages for step in (-1, 1)}
        assert set(ask.window.context) <= near & set(chosen) - set(ask.window.pages)
    assert found == asks(schema, given, pages=pages)


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"pdf_pages": 7}, 7),
        ({"pdf": "images", "images": 5}, 5),
        ({"pdf_bytes": 10_000}, 8),
        ({"inline_bytes": 10_000, "file_bytes": None}, 6),
    ],
)
def test_what_a_service_takes_in_one_request_bounds_a_window(
    limits: dict[str, Any], most: int
) -> None:
    """Pages, pictures and bytes; some room is left, for sizes are estimated."""
    found = asks(PLAIN, document(blind=40), gateway(**limits))
    assert sum(sizes(found)) == 40
    assert most - 2 <= max(sizes(found)) <= most


def test_a_window_fits_the_endpoint_that_may_be_asked_in_place_of_the_first() -> None:
    """A fallback that could not take the question would be none."""
    card = catalogue.Model("openai", "small", input_limit=8_000, output_limit=4_000)
    given = document(*("word " * 2000 for _ in range(20)))
    assert len(asks(PLAIN, given)) == 1
    found = asks(PLAIN, given, GEMINI, gateway(card=card))
    assert len(found) > 5
    assert found == asks(PLAIN, given, gateway(card=card))


def test_the_users_own_limit_of_an_answer_makes_windows_smaller() -> None:
    """An answer that is cut off would be asked for again."""
    given = document(*(table(40, page) for page in range(12)))
    assert len(asks(ROWS, given, max_output_tokens=6_000)) > len(asks(ROWS, given))


def test_a_model_is_told_which_pages_it_answers_for() -> None:
    """And that the others are there to be understood, not to be listed."""
    given = document(*(table(40, page) for page in range(60)))
    ask = asks(ROWS, given)[1]
    one = request(Stage("s", ROWS), ask, given, open_provider(GEMINI), GEMINI)
    first, last = ask.window.pages[0], ask.window.pages[-1]
    told = "\n".join(part.text for part in one.content)
    assert f"Of the 60 pages of the document you are shown pages {first - 1}-{last + 1}" in told
    assert f"Answer for pages {first}-{last} alone" in told
    assert f"Context is pages {first - 1}, {last + 1}" in told
    assert told.index("Answer for") < told.index("The document stands between")


# pages of a stage ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1-2", (1, 2)),
        ("1-3,7", (1, 2, 3, 7)),
        (" 7 , 2 - 3, 3", (2, 3, 7)),
        ("8-", (8, 9)),
        ("last", (9,)),
        ("7-last, 1", (1, 7, 8, 9)),
        ("8-99999", (8, 9)),
        ("10-12", ()),
    ],
)
def test_pages_are_named_as_people_do(text: str, numbers: tuple[int, ...]) -> None:
    """What the document does not have is not there."""
    assert page_numbers(text, 9) == numbers


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no page"),
        ("-1", "written last"),
        ("0", "count from 1"),
        ("0-3", "count from 1"),
        ("3-1", "ends before it begins"),
        ("last-2", "behind the last"),
        ("1;2", "as in 1-3"),
        ("two", "as in 1-3"),
        ("1,,2", "no page"),
        ("1" * 30, "no page"),
    ],
)
def test_pages_that_are_none_are_refused_with_the_way_out(text: str, told: str) -> None:
    """Before anything is read, in the name of the stage."""
    with pytest.raises(UsageError, match=f"stage s: pages .*{told}"):
        Stage("s", PLAIN, pages=text or ",")


def test_a_stage_reads_its_pages_alone(tmp_path: Path) -> None:
    """In data, evidence and coverage; without any of them there the Result says so."""
    (tmp_path / "a.txt").write_text("Number A-1\fNumber B-2\fNumber C-3\n")
    found = extract(tmp_path / "a.txt", "number str", model="local", pages="last")
    assert (found.data, found.evidence[0].page) == ({"number": "C-3"}, 3)
    assert found.coverage == Coverage(pages=3, sent=1, answered=1, windows=1)
    found = extract(tmp_path / "a.txt", "number str", model="local", pages="4-9")
    assert (found.status, found.reason) == ("failed", "no_pages")
    assert found.coverage == Coverage(pages=3)
    assert "pages 4-9, and the document has 3" in found.findings[0].message


def test_pages_are_named_on_the_command_line_and_in_the_file(tmp_path: Path) -> None:
    """Checked before anything is read; kept in run.json."""
    (tmp_path / "a.txt").write_text("Number A-1\fNumber B-2\n")
    (tmp_path / "pipeline.toml").write_text(
        'version = 1\n[run]\nmodel = "local"\n[[stage]]\nname = "s"\nschema = "number str"\n'
        'pages = "2"\nsend = "text"\n'
    )
    fieldsift("run", "a.txt", "-o", "out", cwd=tmp_path)
    assert json.loads((tmp_path / "out/s/a.txt.json").read_text()) == {"number": "B-2"}
    (kept,) = json.loads((tmp_path / "out/run.json").read_text())["stages"]
    assert (kept["pages"], kept["send"]) == ("2", "text")
    wrong = fieldsift("extract", "a.txt", "--pages", "0", cwd=tmp_path, code=2)
    assert "pages '0': pages count from 1" in wrong.stderr


def test_a_long_document_is_asked_about_in_windows_and_its_rows_are_all_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dry run makes the requests that the run makes; each answer is of the pages that its question names."""
    (tmp_path / "a.txt").write_text("\f".join(table(40, page) for page in range(30)))

    def answer(seen: Seen) -> Answer:
        asked = re.search(r"Answer for pages? (\d+)(?:-(\d+))? alone", seen.text)
        assert asked, "every question says which pages it is about"
        own = range(int(asked[1]), int(asked[2] or asked[1]) + 1)
        lines = [
            {"item": f"Item {page - 1}-{row}", "amount": row + 0.5}
            for page in own
            for row in range(40)
        ]
        return generated({"lines": lines})

    stage = Stage("s", ROWS_ALONE)
    found = cut(stage, document(*(table(40, page) for page in range(30))), GEMINI)
    with Server(answer) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        job = Pipeline(stage, model="gemini-3.1-flash-lite")
        (share,) = job.estimate(tmp_path / "a.txt", tmp_path / "out").stages
        assert server.requests == []
        (result,) = job.run(tmp_path / "a.txt", tmp_path / "out")
    assert (share.documents, share.requests) == (1, len(found))
    assert share.pages == 30, "what stands beside a window is no page more"
    assert len(server.requests) == len(found) > 2
    assert result.status == "valid", result.findings
    assert result.coverage == Coverage(30, 30, 30, len(found))
    wanted = [f"Item {page}-{row}" for page in range(30) for row in range(40)]
    assert [line["item"] for line in result.data["lines"]] == wanted


# schemas of windows -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["invoice", "receipt", "contract"])
@pytest.mark.parametrize("dialect", get_args(dialects.Dialect))
def test_every_dialect_takes_a_schema_with_nullable_leaves(
    name: str, dialect: dialects.Dialect
) -> None:
    """In the order of the schema; the stage's own is not changed."""
    schema = Schema.of(name)
    before = json.dumps(schema.body)
    loose = nullable(schema)
    assert json.dumps(schema.body) == before
    assert [leaf.pointer for leaf in loose.tree.leaves()] == [
        leaf.pointer for leaf in schema.tree.leaves()
    ]
    assert all(
        leaf.nullable or leaf.pointer.endswith("*") or leaf.type == "any"
        for leaf in loose.tree.leaves()
    )
    assert dialects.compile(loose, dialect) is not None
    assert nullable(loose).body == loose.body


@pytest.mark.parametrize(
    ("leaf", "value"),
    [
        ({"type": "string", "pattern": "^A"}, "A1"),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": "a"}, "a"),
        ({"type": ["integer", "string"]}, 5),
        ({"anyOf": [{"type": "string"}, {"type": "number"}]}, 5),
        ({"oneOf": [{"type": "string"}, {"$ref": "#/$defs/kind"}]}, "x"),
        ({"$ref": "#/$defs/kind"}, 7),
        ({"allOf": [{"$ref": "#/$defs/kind"}], "description": "which"}, 7),
        ({"type": "string", "format": "date"}, "2024-01-01"),
    ],
)
def test_a_leaf_may_be_null_and_what_it_was(leaf: dict[str, Any], value: object) -> None:
    """Behind references, in choices and lists of choices, in objects and in rows."""
    inner = {"type": "object", "properties": {"leaf": leaf}, "required": ["leaf"]}
    body = {
        "type": "object",
        "properties": {
            "a": leaf,
            "b": inner,
            "c": {"type": "array", "minItems": 2, "items": inner},
        },
        "required": ["a", "b", "c"],
        "$defs": {"kind": {"type": "integer", "minimum": 1}},
    }
    schema = nullable(Schema.of(body))
    for each in (None, value):
        found = {"a": each, "b": {"leaf": each}, "c": [{"leaf": each}]}
        jsonschema.validate(found, schema.body)
    jsonschema.validate({"a": None, "b": {"leaf": None}, "c": []}, schema.body)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"a": None, "b": None, "c": []}, schema.body)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"a": [], "b": {"leaf": None}, "c": []}, schema.body)


def test_rows_are_lists_of_objects_at_any_depth() -> None:
    """A list of names is none: an answer with it is not cut by a page break."""
    assert has_rows(ROWS)
    assert has_rows(Schema.of({"type": "array", "items": ROWS.body}))
    assert not has_rows(PLAIN)
    assert not has_rows(Schema.of({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}))  # fmt: skip


def test_an_estimate_of_an_answer_follows_the_lines_of_the_pages() -> None:
    """Prose costs little, rows cost their keys and their text; what is not known has a stated size."""
    rows = answer_tokens(Stage("a", ROWS), [Page(1, table(50))])
    assert answer_tokens(Stage("a", ROWS), [Page(1, table(100))]) > 1.9 * rows - 200
    real = json.dumps([{"item": f"Item 0-{n}", "amount": n + 0.5} for n in range(50)])
    assert len(real) / 4 < rows < len(real)
    prose = "\n".join(
        ["It is agreed between the parties that nothing of this kind shall hold"] * 50
    )
    assert answer_tokens(Stage("a", ROWS), [Page(1, prose)]) < 100
    assert (
        answer_tokens(Stage("a", ROWS), [None])
        == answer_tokens(Stage("a", ROWS), [Page(1, "")])
        > 300
    )
    assert answer_tokens(Stage("a", PLAIN), [Page(1, table(500))]) == answer_tokens(
        Stage("a", PLAIN), []
    )
