"""Recipes: each lints, parses, has a sample, runs at once, and its recorded run gives what its documents say."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipeline import Pipeline, Stage
from pipeline.api import Run
from pipeline.config import recipe_stages
from pipeline.config.recipes import folder_of, is_local, recipes
from pipeline.config.tables import PipelineFile
from pipeline.results import leaves
from pipeline.schema.dialects import DIALECTS
from pipeline.schema.lint import lint
from tests.golds import stands, text_of
from tests.record import AGAIN, MODEL, RECIPES, RECORDED, expected
from tests.test_cli import fieldsift

NAMES = sorted(recipes())
#: What the engine that runs here gets right: of so many values that the document says, so many; so many are wrong.
LOCAL = {
    "contract": (39, 26, 2),
    "identity_document": (17, 10, 0),
    "invoice": (36, 36, 0),
    "nda": (31, 13, 4),
    "purchase_order": (49, 40, 4),
    "receipt": (36, 36, 0),
}


def stages(name: str) -> list[Stage]:
    return recipe_stages(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_can_be_sent_to_every_service(name: str) -> None:
    for stage in stages(name):
        assert lint(stage.schema, DIALECTS).usable, stage.name


def test_every_recipe_has_a_valid_sample(tmp_path: Path) -> None:
    """`schema sample` prints an instance of each stage that passes our own validation."""
    from click.testing import CliRunner

    from pipeline.cli.schema import sample

    for name in NAMES:
        done = CliRunner().invoke(sample, [name], standalone_mode=False)
        assert done.return_value == 0, (name, done.output)


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_file_is_what_a_pipeline_file_holds(name: str) -> None:
    """Its keys are those of `[[stage]]` and nothing else, it says what it is for, and its schema lies beside it."""
    file = RECIPES.parent.parent / f"schemas/{name}.toml"
    table = tomllib.loads(file.read_text("utf-8"))
    assert list(table) == ["stage"]
    assert PipelineFile.model_validate(table).stage[-1].name == name
    assert len(recipes()[name]) > 30
    for stage in table["stage"]:
        assert "schema" not in stage or (file.parent.parent / stage["schema"]).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_what_init_writes_is_the_same_job(name: str, tmp_path: Path) -> None:
    """`-s NAME` and the pipeline.toml of `init --recipe NAME` are one: stages, documents, and nothing that is missing."""
    for path, content in folder_of(name).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    written = Pipeline.load(tmp_path / "pipeline.toml", model=MODEL)
    decided = written._plan(None, None, keyless=True)
    shipped = Pipeline(stages(name), model=MODEL)._plan(None, None, keyless=True)
    assert [each.sha256 for each in decided.stages] == [each.sha256 for each in shipped.stages]
    assert [Path(text).name for text in decided.inputs] == ["inbox"]
    assert {path.name for path in (tmp_path / "inbox").iterdir()} == {
        document.partition("#")[0] for answers in expected(name).values() for document in answers
    }
    assert is_local(name) or "does not do this job" in (tmp_path / "pipeline.toml").read_text()


def ran(name: str, output: Path, **options: Any) -> Run:
    """The run of a recipe over its documents."""
    settings = {"model": options.pop("model", MODEL)}
    return Pipeline.load(name, **settings).run(RECIPES / name / "inbox", output, **options)


def given(run: Run) -> dict[str, dict[str, Any]]:
    """Stage -> document -> the data of what is valid."""
    found: dict[str, dict[str, Any]] = {}
    for result in run:
        if result.status == "valid":
            found.setdefault(result.stage or "", {})[result.document.path] = result.data
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_run_gives_exactly_what_the_documents_say(name: str, tmp_path: Path) -> None:
    run = ran(name, tmp_path / "out", replay=RECORDED / name)
    unknown = [result.reason for result in run if result.reason == "not_recorded"]
    assert not unknown, AGAIN
    assert run.exit_code == 0, [result.findings for result in run]
    assert given(run) == expected(name)
    expectable = {"evidence_not_found", "evidence_ambiguous", "unsure", "when"}
    assert {found.rule for result in run for found in result.findings} <= expectable


@pytest.mark.parametrize("name", [name for name in NAMES if is_local(name)])
def test_what_the_engine_that_runs_here_gets_right(name: str, tmp_path: Path) -> None:
    """Without a key and a network: valid, and at least as many values right, at most as many wrong, as were measured."""
    run = ran(name, tmp_path / "out", model="local")
    assert run.exit_code == 0
    [result] = run
    told = dict(leaves(expected(name)[name][result.document.path]))
    found = dict(leaves(result.data))
    said = {pointer for pointer, value in told.items() if value not in (None, [])}
    right = sum(told[pointer] == found.get(pointer) for pointer in said)
    wrong = sum(
        value not in (None, []) and value != told.get(pointer) for pointer, value in found.items()
    )
    count, least, most = LOCAL[name]
    assert (len(said), right >= least, wrong <= most) == (count, True, True), (right, wrong)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name in LOCAL or name == "bank_statement"]
)
def test_every_value_that_is_expected_stands_in_its_document(name: str) -> None:
    """The answers ask for nothing that a careful reader could not see."""
    for document, data in expected(name)[name].items():
        text = text_of(f"recipes/{name}/inbox/{document}")
        closed = {"kind", "role", "document_type", "country_code"}
        missing = [
            (pointer, value)
            for pointer, value in leaves(data)
            if value not in ([], {})
            and pointer.rpartition("/")[2] not in closed
            and not stands(pointer, abs(value) if isinstance(value, float | int) else value, text)
        ]
        assert missing == []


def test_recipes_are_listed_where_none_or_an_unknown_one_is_named(tmp_path: Path) -> None:
    listed = fieldsift("init", "--recipe", cwd=tmp_path).stdout
    refused = fieldsift("init", "--recipe", "bill", "job", cwd=tmp_path, code=2).stderr
    for name, what in recipes().items():
        assert f"{name} " in listed
        assert what in listed
        assert what in refused
    assert json.loads(fieldsift("--json", "init", "--recipe", cwd=tmp_path).stdout) == recipes()
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_works_at_once_and_says_where_it_needs_a_key(tmp_path: Path) -> None:
    told = fieldsift("init", "--recipe", "invoice", "job", cwd=tmp_path).stderr
    assert "next: cd job && fieldsift run" in told
    assert "key" not in told
    assert Pipeline.load(tmp_path / "job/pipeline.toml", model="local").run().exit_code == 0
    assert "needs a key" in fieldsift("init", "--recipe", "mock_data", "other", cwd=tmp_path).stderr
    assert (
        "never overwritten"
        in fieldsift("init", "--recipe", "nda", "job", cwd=tmp_path, code=2).stderr
    )


def test_dash_s_takes_the_rules_of_a_recipe_along(tmp_path: Path) -> None:
    """The engine that runs here does not know which column of a statement takes money away: the balance tells."""
    shown = fieldsift("config", "show", "-s", "bank_statement", "-m", "local", cwd=tmp_path).stdout
    assert "sum(transactions.amount) == closing_balance" in shown
    document = RECIPES / "bank_statement/inbox/bank_statement.pdf"
    told = fieldsift(
        "extract", document, "-s", "bank_statement", "-m", "local", cwd=tmp_path, code=1
    )
    assert (
        "opening_balance + sum(transactions.amount) == closing_balance does not hold" in told.stderr
    )
