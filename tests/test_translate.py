"""translate: whole texts in windows, fields as lists, what must be kept, what is missing, and what never comes out."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import Pipeline
from pipeline.api import Storage, open_runner
from pipeline.checking import check_path
from pipeline.config import Call, plan
from pipeline.document import Page
from pipeline.errors import ConfigError, UsageError
from pipeline.judge import judge
from pipeline.results import DocumentRef, Result
from pipeline.runner import Options
from pipeline.runner.branches import Branch
from pipeline.sources import Source
from pipeline.stages import Stage
from tests.answers import Answer, Seen, generated, usage_of
from tests.mending import answered, text_document
from tests.server import Server

CHEAP, STRONG = "gemini-3.1-flash-lite", "gemini-3.1-pro-preview"
LETTER = "Sehr geehrte Frau Beispiel,\n\nwir schulden Ihnen 1.234,50 EUR für Bestellung AB-1234.\nGruß {name}\n"
_TEXT = {"type": ["string", "null"]}
_LINE = {"description": _TEXT, "unit": _TEXT, "ean": _TEXT, "count": {"type": "integer"}}
BILLS = {
    "type": "object",
    "properties": {
        "number": _TEXT,
        "issued": {"type": "string", "format": "date"},
        "note": _TEXT,
        "lines": {"type": "array", "items": {"type": "object", "properties": _LINE}},
    },
}
_FENCED = re.compile(r"<(document-[0-9a-f]{24})>\n(.*)\n</\1>", re.DOTALL)
_MARK = re.compile(r"<pages? [0-9-]+ [0-9a-f]{8}>\n")


def in_english(text: str) -> str:
    """A translation that keeps lines, numbers and codes, and that nobody takes for its source."""
    return "\n".join(f"en: {line}" if line.strip() else line for line in text.split("\n"))


class Translator:
    """A server that translates; `say` may change what it says of the text or list that it was sent."""

    def __init__(self) -> None:
        self.say: Callable[[Any, int], Any] = lambda said, number: said
        self.limit: int | None = None
        self.seen: Seen
        self.sent: list[Any] = []
        self.server = Server(self)

    def __call__(self, seen: Seen) -> Answer:
        self.seen = seen
        found = _FENCED.search(seen.text)
        text = _MARK.sub("", found[2]) if found else ""
        if "lines" in seen.config["responseJsonSchema"]["properties"]:
            return generated(BILL, usage=usage_of(seen, "bill"))
        said: Any = {"text": in_english(text), "source_language": "de"}
        if "texts" in seen.config["responseJsonSchema"]["properties"]:
            listed = json.loads(text)
            rows = [{"key": key, "text": in_english(each)} for key, each in listed.items()]
            text, said = listed, {"texts": rows}
        self.sent.append(text)
        said = self.say(said, len(self.sent))
        told = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        if self.limit is not None and len(told) > self.limit:
            told = told[: self.limit]
            return generated(told, usage=usage_of(seen, told), finishReason="MAX_TOKENS")
        return generated(told, usage=usage_of(seen, told))

    def words(self, number: int) -> str:
        """What a question says beside its text."""
        return _FENCED.sub("", self.server.requests[number].text)


@pytest.fixture
def translator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Translator]:
    made = Translator()
    with made.server as server:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        yield made
        assert server.violations == []


def translated(*pages: str, **settings: Any) -> Result:
    return answered(text_document(*pages), Stage("english", task="translate", to="en", **settings))


def of_fields(data: Any, **settings: Any) -> Result:
    """What a stage makes of the texts of an earlier result, which is there already."""
    fields = ("bill.note", "bill.lines.description", "bill.lines.unit", "bill.lines.ean")
    stage = Stage("english", task="translate", to="en", fields=fields, **settings)

    async def work() -> Result:
        decided = plan({"model": CHEAP}, Call(), [Stage("bill", BILLS), stage])
        async with open_runner(decided, Options(), Storage(in_memory=True)) as runner:
            await runner.begin()
            document = text_document("the bill")
            looking = asyncio.ensure_future(runner.eyes.look(document, b""))
            known = {"bill": Result(DocumentRef("a.txt"), "bill", "valid", data=data)}
            branch = Branch(document, looking, dict(known))
            return await runner.answering.answer(decided.stages[1], branch, Source("a.txt"))

    return asyncio.run(work())


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


def rules(result: Result) -> list[str]:
    return [each.rule for each in result.findings]


# whole documents --------------------------------------------------------------------------


def test_a_document_becomes_a_text_and_the_language_it_was_in(translator: Translator) -> None:
    result = translated(LETTER, keep=["numbers", "codes", "placeholders"])
    assert (result.status, result.findings, result.evidence) == ("valid", (), ())
    assert result.data == {"text": in_english(LETTER.strip()), "source_language": "de"}
    assert translator.sent == [LETTER]
    told = translator.words(0)
    assert "Translate into en" in told
    assert "Every number keeps all its digits" in told
    assert "{name}, {{x}}" in told


def test_the_language_that_is_given_is_said_and_kept(translator: Translator) -> None:
    translator.say = lambda said, _: {"text": said["text"]}
    result = translated(LETTER, source_language="de-AT")
    assert result.data["source_language"] == "de-AT"
    assert "The text is in de-AT." in translator.words(0)
    schema = translator.server.requests[0].config["responseJsonSchema"]
    assert list(schema["properties"]) == ["text"]


def test_a_text_in_the_target_language_comes_back_as_it_stands(translator: Translator) -> None:
    translator.say = lambda *_: {"text": None, "source_language": "en-GB"}
    result = translated("Dear Ms Example,\nyour order AB-1 is late.\n", keep=["codes"])
    assert result.status == "valid"
    assert result.data == {
        "text": "Dear Ms Example,\nyour order AB-1 is late.",
        "source_language": "en-GB",
    }
    assert rules(result) == ["already_translated"]


def test_null_for_a_text_in_another_language_is_no_translation(translator: Translator) -> None:
    translator.say = lambda *_: {"text": None, "source_language": "de"}
    result = translated(LETTER)
    assert (result.status, result.reason, result.data) == ("truncated", "text_missing", None)


def long_pages(count: int, lines: int = 60) -> list[str]:
    return [
        "\n".join(f"Absatz {page}.{line} über eine Sache" for line in range(1, lines + 1))
        for page in range(1, count + 1)
    ]


def test_a_long_document_is_translated_once_page_for_page(translator: Translator) -> None:
    pages = long_pages(30)
    result = translated(*pages, keep=["numbers"])
    assert (result.status, result.findings) == ("valid", ())
    assert lines(result.data["text"]) == lines("\n".join(map(in_english, pages)))
    assert len(translator.sent) > 1
    assert sum(text.count("Absatz") for text in translator.sent) == 30 * 60  # no page twice
    assert result.coverage.sent == result.coverage.answered == 30
    assert result.coverage.windows == len(translator.sent)
    # What stands around a window is told beside it.
    assert "Absatz 1.60" not in translator.words(0)
    whole = [translator.words(number) for number in range(len(translator.sent))]
    assert any("leave it out" in words for words in whole)


def test_a_cut_answer_is_asked_in_smaller_pieces(translator: Translator) -> None:
    pages = long_pages(4, 12)
    translator.limit = 800
    result = translated(*pages, keep=["numbers"])
    assert result.status == "valid"
    assert lines(result.data["text"]) == lines("\n".join(map(in_english, pages)))
    assert result.coverage.answered == 4


def test_a_page_whose_answer_is_always_cut_goes_in_parts(translator: Translator) -> None:
    (page,) = long_pages(1, 50)
    translator.limit = 1000
    result = translated(page, keep=["numbers"], max_output_tokens=4096)
    assert result.status == "valid"
    assert result.data["text"] == in_english(page)  # with the line breaks between the parts
    assert max(map(len, translator.sent[-2:])) < 0.6 * len(page)


def test_what_never_comes_out_whole_is_truncated(translator: Translator) -> None:
    translator.limit = 40
    result = translated(*long_pages(2, 10))
    assert (result.status, result.data) == ("truncated", None)
    assert 2 < len(translator.sent) <= 32
    assert result.coverage.answered == 0


def test_one_part_that_is_missing_makes_the_whole_truncated(translator: Translator) -> None:
    def say(said: Any, _: int) -> Any:
        return said | {"text": "no"} if "Absatz 1.40 " in said["text"] else said

    translator.say = say
    result = translated(*long_pages(2, 60))
    assert (result.status, result.reason) == ("truncated", "text_missing")
    assert "en: Absatz 2.1 " in result.data["text"]
    assert "en: Absatz 1.1 " in result.data["text"]
    assert "1.40" not in result.data["text"]
    assert result.coverage.answered == 1


def test_a_lost_half_is_noticed_and_asked_in_smaller_pieces(translator: Translator) -> None:
    def say(said: Any, number: int) -> Any:
        lines = said["text"].split("\n")
        return said | {"text": "\n".join(lines[: len(lines) // 2])} if number == 1 else said

    translator.say = say
    pages = long_pages(2, 20)
    result = translated(*pages)
    assert result.status == "valid"
    assert lines(result.data["text"]) == lines("\n".join(map(in_english, pages)))
    assert len(translator.sent) == 3


def test_other_line_breaks_are_a_warning(translator: Translator) -> None:
    translator.say = lambda said, _: said | {"text": said["text"].replace("\n", " ")}
    result = translated(*long_pages(1, 8))
    assert (result.status, rules(result)) == ("valid", ["lines_differ"])


def test_marks_of_pages_are_no_text(translator: Translator) -> None:
    pages = long_pages(2, 3)

    def say(said: Any, _: int) -> Any:
        return said | {"text": f"{_MARK.findall(translator.seen.text)[0]}{said['text']}"}

    translator.say = say
    assert translated(*pages).data["text"] == "\n".join(map(in_english, pages))


def test_the_language_of_most_of_the_text_is_the_documents(translator: Translator) -> None:
    def say(said: Any, _: int) -> Any:
        return said | {"source_language": "nl" if "Absatz 1.1 " in said["text"] else "de"}

    translator.say = say
    assert translated(*long_pages(30)).data["source_language"] == "de"


def test_pages_without_words_go_as_pictures_and_are_not_checked(translator: Translator) -> None:
    translator.say = lambda *_: {"text": "en: 12 pieces", "source_language": "de"}
    document = text_document("12 Stück")
    blind = replace(document, pages=(Page(1, ""),))
    result = answered(blind, Stage("english", task="translate", to="en", keep=["numbers"]))
    assert (result.status, result.data["text"]) == ("valid", "en: 12 pieces")
    assert "keep_unchecked" in rules(result)
    assert "is copied as it stands" in translator.words(0)


# what is kept -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("numbers", "1.234,50", "1,234.51"),
        ("codes", "AB-1234", "AB-1243"),
        ("placeholders", "{name}", "{nom}"),
    ],
)
def test_what_is_not_kept_is_asked_again_with_what_is_wrong(
    translator: Translator, kind: Any, right: str, wrong: str
) -> None:
    translator.say = lambda said, number: (
        said | {"text": said["text"].replace(right, wrong)} if number == 1 else said
    )
    result = translated(LETTER, keep=[kind])
    assert (result.status, result.findings) == ("valid", ())
    assert [each.why for each in result.attempts] == ["first", "repair 1: /text"]
    told = translator.words(1)
    assert f"missing: {right}; added: {wrong}" in told
    assert "Translate anew" in told


def test_what_is_never_kept_is_invalid_and_says_what(translator: Translator) -> None:
    translator.say = lambda said, _: said | {"text": said["text"].replace("1.234,50", "12")}
    result = translated(LETTER, keep=["numbers"])
    assert (result.status, result.reason) == ("invalid", "keep_numbers")
    assert "missing: 1.234,50; added: 12" in result.findings[0].message
    assert len(result.attempts) == 3  # repair = 2


def test_a_text_that_comes_back_as_it_was_is_asked_again_and_never_valid(
    translator: Translator,
) -> None:
    def say(said: Any, number: int) -> Any:
        return said if number == 2 else said | {"text": said["text"].replace("en: ", "")}

    translator.say = say
    again = translated(LETTER)
    assert (again.status, again.findings, len(again.attempts)) == ("valid", (), 2)
    translator.say = lambda said, _: say(said, 1)
    result = translated(f"{LETTER}!")
    assert (result.status, result.reason) == ("invalid", "not_translated")
    assert "came back as it was, in de, and not in en" in result.findings[0].message
    names = translated("Anna Beispiel\nBerlin, Hamburg, Dresden, Leipzig\n")
    assert names.status == "valid"  # nothing in it to translate
    stage = Stage("english", task="translate", to="en")
    told: dict[str, Any] = {"text": f" {LETTER}"}
    for language, found in (("de", ["not_translated"]), ("en-GB", []), ("German", []), (None, [])):
        told["source_language"] = language
        assert [each.rule for each in judge(stage, told, text_document(LETTER))] == found


def test_only_the_window_that_is_wrong_is_asked_again(translator: Translator) -> None:
    pages = long_pages(30)

    def say(said: Any, number: int) -> Any:
        is_wrong = "Absatz 30.7 " in said["text"] and number <= first
        return said | {"text": said["text"].replace("30.7 ", "30.8 ")} if is_wrong else said

    first = 99
    translated(*pages)
    first = 2 * len(translator.sent)
    translator.say = say
    result = translated(*pages, keep=["numbers"])
    assert result.status == "valid"
    assert lines(result.data["text"]) == lines("\n".join(map(in_english, pages)))
    again = [each.why for each in result.attempts if each.why.startswith("repair")]
    assert len(again) == 1
    assert "Absatz 1.1 " not in translator.sent[-1]


def test_the_next_model_is_asked_for_what_still_is_not_kept(translator: Translator) -> None:
    def say(said: Any, number: int) -> Any:
        is_strong = translator.seen.model == STRONG
        return said if is_strong else said | {"text": said["text"].replace("AB-1234", "")}

    translator.say = say
    result = translated(LETTER, keep=["codes"], repair=0, escalate={"to": [STRONG]})
    assert result.status == "valid"
    assert [seen.model for seen in translator.server.requests] == [CHEAP, STRONG]


def test_only_terms_that_occur_are_told_and_one_that_is_not_used_is_a_warning(
    translator: Translator,
) -> None:
    glossary = {"Bestellung": "purchase order", "Zollamt": "customs office"}
    result = translated(LETTER, glossary=glossary)
    assert "purchase order" in translator.words(0)
    assert "customs office" not in translator.words(0)
    assert (result.status, rules(result)) == ("valid", ["glossary"])
    translator.say = lambda said, _: said | {"text": f"{said['text']} purchase order"}
    assert rules(translated(LETTER, glossary=glossary)) == []


def test_a_stored_translation_is_checked_without_a_model() -> None:
    stage = Stage("english", task="translate", to="en", keep=["numbers"])
    document = text_document(LETTER)
    right = {"text": in_english(LETTER), "source_language": "de"}
    assert judge(stage, right, document) == []
    wrong = {"text": "en: 1,234.40", "source_language": "de"}
    assert [each.rule for each in judge(stage, wrong, document)] == ["keep_numbers"]


# fields of earlier results ----------------------------------------------------------------

BILL: Any = {
    "number": "Rechnung AB-1234",
    "note": None,
    "lines": [
        {"description": "Hammer, 300 g", "unit": "Stück", "ean": "4006381333931"},
        {"description": "Nägel {size}", "unit": "Stück", "ean": ""},
        {"description": None, "unit": "Stück", "ean": "https://example.com/a"},
    ],
}


def test_only_texts_go_equal_ones_once_and_the_structure_stays(translator: Translator) -> None:
    result = of_fields(BILL, keep=["numbers", "placeholders"])
    assert (result.status, result.findings) == ("valid", ())
    assert translator.sent == [{"t1": "Hammer, 300 g", "t2": "Stück", "t3": "Nägel {size}"}]
    english = {"Hammer, 300 g", "Stück", "Nägel {size}"}
    wanted = json.dumps({key: BILL[key] for key in ("note", "lines")}, ensure_ascii=False)
    for text in english:
        wanted = wanted.replace(f'"{text}"', f'"en: {text}"')
    assert result.data == json.loads(wanted)
    assert result.coverage.answered == 1


def test_nothing_is_sent_where_there_are_no_texts(translator: Translator) -> None:
    data = {"note": None, "lines": [{"ean": "4006381333931", "description": None}, {"ean": ""}]}
    result = of_fields(data)
    assert (result.status, result.data, translator.sent) == ("valid", data, [])
    assert result.attempts == ()


def test_long_arrays_go_in_several_lists(translator: Translator) -> None:
    data = {"lines": [{"description": f"Artikel Nummer {n}"} for n in range(250)]}
    result = of_fields(data, keep=["numbers"])
    assert result.status == "valid"
    assert result.data["lines"][249] == {"description": "en: Artikel Nummer 249"}
    assert [len(each) for each in translator.sent] == [100, 100, 50]


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows: rows[:1] + rows[2:],
        lambda rows: [*rows, {"key": "t2", "text": "something else"}],
        lambda rows: [rows[0], {"key": "t9", "text": "x"}, *rows[2:]],
        lambda rows: [rows[0], {"key": "t2", "text": " "}, *rows[2:]],
        lambda rows: [rows[0], {"key": "t2"}, 7, *rows[2:]],
    ],
    ids=["missing", "doubled", "renamed", "blank", "no row"],
)
def test_missing_and_doubled_keys_are_asked_again(
    translator: Translator, damage: Callable[[Any], Any]
) -> None:
    translator.say = lambda said, number: {"texts": damage(said["texts"])} if number == 1 else said
    result = of_fields(BILL)
    assert result.status == "valid"
    assert [row["unit"] for row in result.data["lines"]] == ["en: Stück"] * 3
    assert translator.sent[1:] == [{"t1": "Stück"}]
    assert "missing: 1 texts again" in [each.why for each in result.attempts]


def test_a_key_twice_in_one_object_is_asked_again(translator: Translator) -> None:
    translator.say = lambda said, number: (
        '{"texts": [{"key": "t1", "text": "a", "text": "b"}]}' if number == 1 else said
    )
    assert of_fields(BILL).status == "valid"


def test_a_text_that_never_comes_back_makes_the_result_truncated(translator: Translator) -> None:
    translator.say = lambda said, _: {
        "texts": [row for row in said["texts"] if "Nägel" not in row["text"]]
    }
    result = of_fields(BILL)
    assert (result.status, result.reason) == ("truncated", "text_missing")
    assert result.data["lines"][0]["description"] == "en: Hammer, 300 g"
    assert result.data["lines"][1]["description"] is None
    assert 2 <= len(translator.sent) <= 5


def test_a_list_that_is_cut_off_goes_on_with_what_is_missing(translator: Translator) -> None:
    translator.limit = 300
    data = {"lines": [{"description": f"Artikel Nummer {n}"} for n in range(40)]}
    result = of_fields(data, keep=["numbers"])
    assert result.status == "valid"
    assert [row["description"] for row in result.data["lines"]] == [
        f"en: Artikel Nummer {n}" for n in range(40)
    ]


def test_only_texts_that_are_wrong_are_asked_again(translator: Translator) -> None:
    def say(said: Any, number: int) -> Any:
        rows = [row | {"text": row["text"].replace("300", "30")} for row in said["texts"]]
        return {"texts": rows} if number == 1 else said

    translator.say = say
    result = of_fields(BILL, keep=["numbers"])
    assert (result.status, result.findings) == ("valid", ())
    assert translator.sent[1:] == [{"t1": "Hammer, 300 g"}]
    assert "missing: 300; added: 30" in translator.words(1)
    translator.say = lambda said, _: say(said, 1)
    again = of_fields(BILL, keep=["numbers"])
    assert (again.status, again.reason) == ("invalid", "keep_numbers")
    assert again.findings[0].pointer == "/lines/0/description"


def test_fields_of_which_most_come_back_as_they_were_are_asked_again_where_their_language_is_known(
    translator: Translator,
) -> None:
    note = "zahlbar innerhalb von vierzehn Tagen"
    translator.say = lambda said, _: {
        "texts": [row | {"text": row["text"].replace("en: ", "")} for row in said["texts"]]
    }
    may_be = of_fields(BILL | {"note": note})
    assert (may_be.status, rules(may_be)) == ("valid", ["not_translated"])
    result = of_fields(BILL | {"note": note}, source_language="de")
    assert (result.status, result.reason) == ("invalid", "not_translated")
    assert [each.pointer for each in result.findings] == ["/note"]
    assert translator.sent[-1] == {"t1": note}


# settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"to": None}, 'to = "en"'),
        ({"to": "English"}, "no language tag"),
        ({"to": "en", "source_language": "deutsch!"}, "no language tag"),
        ({"to": "en-US", "source_language": "en"}, "the language that it translates to"),
        ({"to": "en", "keep": ["digits"]}, "'digits' is none of numbers, codes, placeholders"),
        ({"to": "en", "glossary": {"a": ""}}, "glossary"),
        ({"to": "en", "votes": 2}, "votes"),
    ],
)
def test_settings_that_say_nothing_are_refused(settings: Any, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        Stage("english", task="translate", **settings)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("terms.csv", "Bestellung;purchase order;b\n\nZollamt;customs office\n"),
        ("terms.csv", '\ufeffBestellung,"purchase order"\nZollamt,customs office'),
        ("terms.toml", 'Bestellung = "purchase order"\nZollamt = "customs office"\n'),
    ],
    ids=["semicolons", "commas", "toml"],
)
def test_a_glossary_may_be_a_file_beside_the_pipeline_file(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    file = tmp_path / "pipeline.toml"
    file.write_text(
        f'[[stage]]\nname = "english"\ntask = "translate"\nto = "en"\nglossary = "{name}"\n'
    )
    decided = plan({"model": CHEAP}, Call(file, keyless=True))
    wanted = {"Bestellung": "purchase order", "Zollamt": "customs office"}
    assert decided.stages[0].glossary == wanted
    assert tmp_path / name in decided.files
    (tmp_path / name).write_text("Bestellung\n" if name.endswith("csv") else "Bestellung = 5\n")
    with pytest.raises(ConfigError, match="Bestellung"):
        plan({"model": CHEAP}, Call(file, keyless=True))
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match="glossary"):
        plan({"model": CHEAP}, Call(file, keyless=True))


@pytest.mark.parametrize("tag", ["en", "pt-BR", "zh-Hant-TW", "es-419", "sl-rozaj", "gsw"])
def test_language_tags_are_taken(tag: str) -> None:
    assert Stage("other", task="translate", to=tag).to == tag


@pytest.mark.parametrize(
    "field", ["bill.issued", "bill.lines.count", "bill.lines", "bill.nothing", "bill"]
)
def test_what_is_no_text_is_refused_before_anything_is_sent(field: str) -> None:
    stage = Stage("english", task="translate", to="en", fields=(field,))
    with pytest.raises(UsageError, match=re.escape(field)):
        plan({"model": CHEAP}, Call(keyless=True), [Stage("bill", BILLS), stage])


def test_a_folder_is_extracted_and_its_fields_translated_and_both_are_checked_again(
    translator: Translator, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bill.txt").write_text("Rechnung AB-1234\nHammer, 300 g\nNägel {size}\nStück\n")
    keep = ("numbers", "placeholders")
    stages = [
        Stage("bill", BILLS),
        Stage("english", task="translate", to="en", fields=("bill.lines.description",), keep=keep),
        Stage("whole", task="translate", to="en", keep=keep),
    ]
    output = tmp_path / "out"
    results = list(Pipeline(stages, model=CHEAP).run(str(tmp_path / "in"), output))
    assert [(each.stage, each.status) for each in results] == [
        ("bill", "valid"),
        ("english", "valid"),
        ("whole", "valid"),
    ]
    file = output / "english/bill.txt.json"
    english = json.loads(file.read_text())
    assert english["lines"][0] == {"description": "en: Hammer, 300 g"}
    assert asyncio.run(wrong_in(output)) == []
    file.write_text(file.read_text().replace("300", "301"))
    whole = output / "whole/bill.txt.json"
    whole.write_text(whole.read_text().replace("{size}", "size"))
    assert set(asyncio.run(wrong_in(output))) == {"keep_numbers", "keep_placeholders"}


def test_warnings_of_a_translation_hold_as_long_as_its_data_is_the_same(
    translator: Translator, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    letter = tmp_path / "in/letter.txt"
    letter.write_text(LETTER)
    stage = Stage("english", task="translate", to="en", glossary={"Bestellung": "order"})
    output = tmp_path / "out"
    results = list(Pipeline(stage, model=CHEAP).run(str(letter), output))
    for _ in range(2):  # with the document, and without it
        (checked,) = asyncio.run(check_path(output, None))
        assert checked.findings == results[0].findings
        assert [each.rule for each in checked.findings] == ["glossary"]
        letter.unlink(missing_ok=True)


async def wrong_in(output: Path) -> list[str]:
    checked = await check_path(output, None)
    return [f.rule for each in checked for f in each.findings if f.severity == "error"]
