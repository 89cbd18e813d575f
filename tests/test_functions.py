"""Python functions as stages: typed by their annotations, run once, and never the end of a run."""

import asyncio
import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel

import pipeline
from pipeline import Document, Pipeline, Result, Stage, tools
from pipeline.errors import Fault, UsageError
from pipeline.runner.walk import Walker
from pipeline.sources import Source
from pipeline.stages import stage

CALLS: list[str] = []


class Count(BaseModel):
    """What is counted on a document."""

    words: int
    path: str


@dataclass
class Twice:
    """Twice as many."""

    words: int


@pytest.fixture(autouse=True)
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with two documents, and no key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/a.txt").write_text("one two three")
    (tmp_path / "inbox/b.txt").write_text("one")
    CALLS.clear()


def lines() -> dict[tuple[str, str], Result]:
    """The lines of the output by document and stage."""
    told = Path("out/results.jsonl").read_text().splitlines()
    found = [Result.from_json(json.loads(each)) for each in told]
    by_place = {(each.document.path, each.stage or ""): each for each in found}
    assert len(by_place) == len(found)
    return by_place


@stage
def count(document: Document) -> Count:
    """Words of the document."""
    CALLS.append(document.path)
    return Count(words=len(document.pages[0].text.split()), path=document.path)


@stage(version="1")
async def twice(count: Count) -> Twice:
    """Twice as many."""
    CALLS.append(f"twice {count.path}")
    return Twice(2 * count.words)


def test_functions_need_no_model_and_no_key() -> None:
    """Each gets the document, or the data of an earlier stage as the type that it is annotated with."""
    run = Pipeline([count, twice]).run("inbox", "out")
    found = lines()
    assert run.exit_code == 0, found
    assert found["a.txt", "count"].data == {"words": 3, "path": "a.txt"}
    assert found["a.txt", "twice"].data == {"words": 6}
    assert found["a.txt", "twice"].engine == "twice"
    assert run.cost_usd == 0
    assert run.engine == "count, twice"
    assert json.loads(Path("out/twice/b.txt.json").read_text()) == {"words": 2}
    assert pipeline.stage is stage


def test_a_name_may_be_given_first() -> None:
    """`@stage("name")` is `@stage(name="name")`."""
    made = stage("dedupe", version="2")(broken)
    assert (made.name, made.version) == ("dedupe", "2")


def test_a_result_that_is_kept_is_read_back() -> None:
    """The document comes again, its functions are not run again."""
    Pipeline([count, twice]).run("inbox", "out")
    assert len(CALLS) == 4
    Path("inbox/a.txt").touch()
    assert Pipeline([count, twice]).run("inbox", "out").unchanged == 1
    assert len(CALLS) == 4
    Pipeline([count, twice]).run("inbox", "out", force=True)
    assert len(CALLS) == 8


def test_another_version_is_run_again() -> None:
    """The version stands for the source where it is given."""
    Pipeline([count, twice]).run("inbox", "out")
    newer = Stage("twice", task="python", function=twice.function, version="2")
    assert newer.sha256 != twice.sha256
    CALLS.clear()
    Pipeline([count, newer]).run("inbox", "out")
    assert sorted(CALLS) == ["twice a.txt", "twice b.txt"]


def broken(document: Document) -> dict[str, Any]:
    """Fails for one of them."""
    if document.path == "a.txt":
        raise KeyError("no such thing")
    return {"bad": float("nan")} if document.path == "c.txt" else {"fine": True}


RAISES = broken.__code__.co_firstlineno + 3


def never(document: Document) -> dict[str, Any]:
    """Ends the process, if it may."""
    raise SystemExit(3)


async def cancelled(document: Document) -> dict[str, Any]:
    """Waits for a task of its own that somebody cancels."""
    if document.path == "a.txt":
        task = asyncio.ensure_future(asyncio.sleep(10))
        task.cancel()
        await task
    return {"fine": True}


@pytest.mark.parametrize(
    ("function", "path", "told"),
    [
        (cancelled, "a.txt", "CancelledError"),
        (broken, "a.txt", f"broken: KeyError: 'no such thing' (test_functions.py, line {RAISES})"),
        (broken, "c.txt", "the result has a number that JSON can't hold (NaN or infinity)"),
        (never, "b.txt", "SystemExit"),
    ],
)
def test_what_a_function_raises_ends_its_line_alone(function: Any, path: str, told: str) -> None:
    """The line says what it was, and stages that read it are not asked."""
    Path("inbox/c.txt").write_text("x")
    made = Stage("checked", task="python", function=function)
    run = Pipeline([count, made]).run("inbox", "out")
    found = lines()[path, "checked"]
    assert run.exit_code == 1
    assert (found.status, found.reason) == ("failed", "function_error")
    assert told in found.findings[0].message
    assert lines()[path, "count"].status == "valid"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_lost_an_input_never_says_that_it_ended(
    monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """Whatever cancels the work on one input: the others are done, the run ends as a fault and is not marked."""
    walk = Walker.walk

    async def lossy(self: Walker, source: Source) -> list[Result]:
        if source.path == "a.txt":
            raise asyncio.CancelledError
        return await walk(self, source)

    with monkeypatch.context() as patched:
        patched.setattr(Walker, "walk", lossy)
        with pytest.raises(Fault, match="1 inputs that were taken") as raised:
            Pipeline([count], jobs=jobs).run("inbox", "out")
    assert raised.value.exit_code == 70
    assert ("b.txt", "count") in lines()
    assert json.loads(Path("out/run.json").read_text())["finished"] is None
    assert Pipeline([count], jobs=jobs).run("inbox", "out").exit_code == 0
    assert set(lines()) == {("a.txt", "count"), ("b.txt", "count")}


def test_a_function_that_takes_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread is left behind; nobody waits for it."""
    import threading

    forever = threading.Event()

    def slow(document: Document) -> Count:
        forever.wait(30)
        return Count(words=0, path=document.path)

    monkeypatch.setattr(tools, "SECONDS", 0.05)
    Pipeline(Stage("slow", task="python", function=slow, version="1")).run("inbox", "out")
    forever.set()
    assert "no result after 0.05 seconds" in lines()["a.txt", "slow"].findings[0].message


def wrong(count: Twice) -> Twice:
    """Expects another shape than it gets: its field is there, and more."""
    return Twice(count.words)


def short(count: Count) -> Count:
    """Gives what its schema forbids."""
    return count


def test_results_are_judged_like_any_data() -> None:
    """The schema of the stage counts before the annotation."""
    schema = {"type": "object", "properties": {"words": {"type": "integer", "maximum": 2}}}
    made = Stage("short", schema, task="python", function=short)
    assert Pipeline([count, made]).run("inbox", "out").exit_code == 1
    found = lines()
    assert (found["a.txt", "short"].status, found["b.txt", "short"].status) == ("invalid", "valid")
    assert found["a.txt", "short"].reason == "maximum"
    assert Path("out/rejected/short/a.txt.json").exists()


def nothing(document: Document):  # type: ignore[no-untyped-def]
    """Says not what it returns."""


def starred(*documents: Document) -> Count:
    """Takes no names."""
    return Count(words=len(documents), path="")


def number(document: Document) -> float:
    """Gives a value without a name."""
    return 1.0


class Old(TypedDict):
    """Of a kind that Python 3.11 tells too little of."""

    words: int


def typed(document: Document) -> Old:
    """Gives such a thing."""
    return Old(words=len(document.path))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="any TypedDict will do from 3.12 on")
def test_what_is_wrong_with_a_type_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"typing_extensions.TypedDict") as raised:
        stage(typed)
    assert "\n" not in str(raised.value)
    assert "http" not in str(raised.value)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (number, "number returns float: return a dict, a dataclass or a pydantic model"),
        (nothing, "say what it returns"),
        (starred, "named after"),
        (lambda document: {}, "with a name"),
        (None, "needs a function"),
    ],
)
def test_what_can_be_no_stage_is_told_at_once(function: Any, told: str) -> None:
    """Before anything is read."""
    with pytest.raises(UsageError, match=told):
        Stage("it", task="python", function=function)


def test_functions_of_a_file_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code is imported from the folder of the file, and a dry run says so."""
    Path("fieldsift_sums.py").write_text(
        "def words(document) -> dict:\n    return {'count': len(document.pages[0].text.split())}\n"
    )
    Path("pipeline.toml").write_text(
        '[run]\ninput = "inbox"\noutput = "out"\n[[stage]]\nname = "words"\ntask = "python"\n'
        'function = "fieldsift_sums:words"\n'
    )
    loaded = Pipeline.load("pipeline.toml")
    assert loaded.estimate().code == (f"fieldsift_sums:words (from {Path.cwd()})",)
    assert loaded.run().exit_code == 0
    assert lines()["a.txt", "words"].data == {"count": 3}


def greedy(document: Document, row: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Changes all that it is given."""
    assert document.row is not None
    whole["parts"].clear()
    row.pop("country")
    document.row["tags"].append("changed")  # it must not, and does
    return {"seen": True}


def test_what_a_function_changes_nobody_else_sees() -> None:
    """Its arguments are its own: earlier results, the columns of a row and the document stay as they are."""

    def whole(document: Document) -> dict[str, Any]:
        return {"parts": [1, 2]}

    def after(document: Document, row: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
        assert document.row is not None
        return {"whole": whole, "row": row, "tags": document.row["tags"]}

    row = {"text": "Total 5", "country": "DE", "tags": ["a"]}
    Path("rows.jsonl").write_text(json.dumps(row) + "\n")
    made = [Stage(each.__name__, task="python", function=each) for each in (whole, greedy, after)]
    assert Pipeline(made, text_field="text").run("rows.jsonl", "out").exit_code == 0
    found = {stage: each.data for (_, stage), each in lines().items()}
    columns = {"country": "DE", "tags": ["a"]}
    assert found["whole"] == {"parts": [1, 2]}
    assert found["after"] == {"whole": {"parts": [1, 2]}, "row": columns, "tags": ["a"]}


def test_items_without_any_text_are_passed_over() -> None:
    """Blank texts among the items are no scans without words: nothing is asked and nothing is wrong."""

    def listed(document: Document) -> dict[str, list[str]]:
        return {"all": ["bolt", "", " \n", "nut"]}

    made = [
        Stage("listed", task="python", function=listed, schema=_LISTED),
        Stage("each", task="python", function=count.function, for_each="listed.all"),
    ]
    assert Pipeline(made).run("inbox/a.txt", "out").exit_code == 0
    assert [path for path, stage in lines() if stage == "each"] == [
        "inbox/a.txt#/all/0",
        "inbox/a.txt#/all/3",
    ]


_LISTED = {"type": "object", "properties": {"all": {"type": "array", "items": {"type": "string"}}}}


def times(factor: Any) -> Any:
    """A function that holds a value."""

    def product(count: dict[str, Any]) -> dict[str, Any]:
        return {"words": count["words"] * int(factor)}

    return product


def defaulting(factor: int) -> Any:
    """A function with a default."""

    def product(count: dict[str, Any], by: int = factor) -> dict[str, Any]:
        return {"words": count["words"] * by}

    return product


class Times:
    """An object whose method is a stage."""

    def __init__(self, factor: int) -> None:
        """What it multiplies with."""
        self.factor = factor

    def product(self, count: dict[str, Any]) -> dict[str, Any]:
        """So many times as many."""
        return {"words": count["words"] * self.factor}


def product(name: str, function: Any, **settings: Any) -> Stage:
    """A stage that reads `count`."""
    return Stage(name, task="python", function=function, inputs=("count",), **settings)


@pytest.mark.parametrize("make", [times, defaulting, lambda factor: Times(factor).product])
def test_functions_of_one_source_are_told_apart_by_what_they_hold(make: Any) -> None:
    """Variables around them, defaults, and the object of a method; the same values are the same function."""
    made = [product("ten", make(10)), product("hundred", make(100))]
    assert Pipeline([count, *made]).run("inbox", "out").exit_code == 0
    assert lines()["a.txt", "ten"].data == {"words": 30}
    assert lines()["a.txt", "hundred"].data == {"words": 300}
    assert product("ten", make(10)).sha256 == made[0].sha256


def test_what_cannot_be_told_apart_needs_a_version() -> None:
    """Of an object nobody knows whether it is the same in the next run."""
    with pytest.raises(
        UsageError,
        match=r'stage it: function product: it holds a value of type object.*version="1"',
    ):
        product("it", times(object()))
    assert product("it", times(object()), version="1").identity.endswith("product@1")


def test_two_functions_of_one_name_and_version_are_refused() -> None:
    """They would read each other's results."""
    made = [product(f"by-{each}", times(each), version="1") for each in (10, 100)]
    with pytest.raises(UsageError, match=r"stage by-100: version: '1' is that of.* stage by-10"):
        Pipeline([count, *made]).run("inbox", "out")
    again = product("again", made[0].function, version="1")
    assert Pipeline([count, made[0], again]).run("inbox", "out").exit_code == 0


def test_another_line_in_the_file_of_a_function_makes_it_another_one(tmp_path: Path) -> None:
    """What it takes from its module may have changed."""
    file = tmp_path / "fieldsift_rates.py"
    body = "def of(document) -> dict[str, int]:\n    return {'rate': RATE}\n"
    found = []
    for rate in (1, 22, 1):
        file.write_text(f"RATE = {rate}\n{body}")
        spec = importlib.util.spec_from_file_location("fieldsift_rates", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(Stage("it", task="python", function=module.of).sha256)
    assert found[0] == found[2] != found[1]


def test_results_of_functions_are_not_shared(tmp_path: Path) -> None:
    """Another project may have another function of that name and version."""
    for number, factor in enumerate((10, 100)):
        made = [count, product("product", times(factor), version="1")]
        out = tmp_path / f"out{number}"
        assert Pipeline(made, cache=str(tmp_path / "cache")).run("inbox", out).exit_code == 0
        told = json.loads((out / "product/a.txt.json").read_text())
        assert told == {"words": 3 * factor}


def two(count: dict[str, Any], product: dict[str, Any]) -> dict[str, Any]:
    """Reads two stages."""
    return {**count, **product}


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (("count.words", "product.words"), "no parameter of function two takes 'count.words'"),
        (("count", "it.count", "product"), "can't get both 'count' and 'it.count'"),
        (("count", "product", "other"), "takes 'other': it would be called other, and there are"),
        (("count",), "nothing feeds parameter product of function two: inputs are count"),
    ],
)
def test_inputs_and_parameters_fit_one_another(inputs: tuple[str, ...], told: str) -> None:
    """What would be dropped or null without a word is told before anything runs."""
    with pytest.raises(UsageError, match=f"stage it: inputs: .*{told}"):
        Stage("it", task="python", function=two, inputs=inputs)
