"""`fieldsift eval`: what it prints, which gates it holds, and how it ends."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.errors import FieldsiftError
from tests.test_cli import fieldsift
from tests.test_evaluation import SCHEMA, ran, result, written

GOLD = {
    "a.pdf": {"number": "A-1", "total": 10.0, "date": "2024-03-01"},
    "b.pdf": {"number": "B-2", "total": 20.0, "date": None},
}
GIVEN = {
    "a.pdf": {"number": "A-1", "total": 10.0, "date": "2024-03-01"},
    "b.pdf": {"number": "B-2", "total": 21.0, "date": "2024-03-02"},
}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Gold of two documents, and an output with one value misread and one made up: F1 is 2 · 4 / (5 + 6)."""
    written(tmp_path / "gold", GOLD)
    ran(tmp_path / "out", [result(name, data) for name, data in GIVEN.items()], SCHEMA)
    return tmp_path


def scored(work: Path, *arguments: str, code: int = 0) -> Result:
    """The command in this process, on the folders of `work`; a known error is its exit code."""
    given = [word.replace("@", f"{work}/") for word in ("eval", "@gold", "@out", *arguments)]
    done = CliRunner().invoke(app, given, standalone_mode=False)
    if isinstance(done.exception, FieldsiftError):
        assert done.exception.exit_code == code, done.exception
    elif done.exception is not None:
        assert getattr(done.exception, "exit_code", None) == code, done.exception
    else:
        assert done.return_value == code, done.output
    return done


def told(work: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(scored(work, "--json", *arguments, code=code).stdout)
    return found


def test_the_installed_command_prints_a_table_and_holds_a_gate(work: Path) -> None:
    done = fieldsift("eval", "gold", "out", "--fail-under", "0.9", cwd=work, code=1)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    table = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert table["all"][1] == "0.727"  # 2 · 4 / (5 + 6)
    assert table["/total"][1] == "0.500"
    assert "out (local) against gold: 1 of 2 all right" in done.stdout
    assert "b.pdf /total: misread: gold 20.0, given 21.0" in done.stdout
    assert 'b.pdf /date: fabricated: gold null, given "2024-03-02"' in done.stdout
    assert done.stdout.splitlines()[-1] == "gate missed: all: F1 0.7273 is below 0.9 (fail_under)"


def test_json_holds_everything_that_the_text_says(work: Path) -> None:
    found = told(work)
    assert found["version"] == 1
    assert found["overall"]["f1"]["value"] == 8 / 11
    assert found["overall"]["precision"]["value"] == 4 / 6
    assert found["overall"]["recall"]["value"] == 4 / 5
    assert found["overall"]["filled_share"]["value"] == 1.0
    assert found["fields"]["/total"]["compared_by"] == "number"
    assert found["statuses"] == {"valid": 2}
    assert [each["path"] for each in found["documents"]] == ["a.pdf", "b.pdf"]
    assert {each["outcome"] for each in found["wrong"]} == {"misread", "fabricated"}
    assert found["gates"] == []
    assert found["baseline"] is None
    assert told(work, "--output-format", "json") == found


def test_the_output_can_go_to_a_file_and_gates_are_still_told(work: Path) -> None:
    done = scored(work, "--output-file", "@told.txt", "--fail-under-field", "total=0.9", code=1)
    assert done.stdout == ""
    assert "gate missed: /total: F1 0.5000 is below 0.9" in done.stderr
    assert (work / "told.txt").read_text().startswith(f"{work}/out (local) against")


@pytest.mark.parametrize(
    ("gates", "missed"),
    [
        (["--fail-under", "0.72"], []),
        (["--fail-under", "0.73"], [("fail_under", "")]),
        (["--fail-under-field", "number=1.0"], []),
        (["--fail-under-field", "/total=0.5"], []),
        (["--fail-under-field", "total=0.51", "--fail-under-field", "date=0.7"],
         [("fail_under_field", "/total"), ("fail_under_field", "/date")]),
    ],
)  # fmt: skip
def test_gates_are_held_at_their_number(
    work: Path, gates: list[str], missed: list[tuple[str, str]]
) -> None:
    found = told(work, *gates, code=1 if missed else 0)
    assert [(gate["rule"], gate["pointer"]) for gate in found["gates"]] == missed


def test_a_gate_on_a_field_without_values_is_missed(work: Path) -> None:
    written(work / "gold", {name: data | {"kind": None} for name, data in GOLD.items()})
    found = told(work, "--fail-under-field", "kind=0.5", code=1)
    assert "can't be told" in found["gates"][0]["message"]


def test_a_baseline_fails_what_got_worse_and_shows_what_changed(work: Path) -> None:
    (work / "before.json").write_text(scored(work, "--json").stdout)
    same = scored(work, "--baseline", "@before.json")
    assert "nothing changed" in same.stdout
    changed = GIVEN | {"a.pdf": {"number": "A-2", "total": 10.0, "date": "2024-03-01"}}
    changed["b.pdf"] = changed["b.pdf"] | {"total": 20.0}
    ran(work / "out", [result(name, data) for name, data in changed.items()], SCHEMA)
    found = told(work, "--baseline", "@before.json", code=1)
    assert [gate["pointer"] for gate in found["gates"]] == ["/number"]
    assert found["baseline"]["changes"] == [
        {"field": "/number", "before": 1.0, "now": 0.5},
        {"field": "/total", "before": 0.5, "now": 1.0},
    ]
    text = scored(work, "--baseline", "@before.json", code=1).stdout
    assert "/number: 1.000 -> 0.500" in text
    assert "/total: 0.500 -> 1.000" in text
    assert told(work, "--baseline", "@before.json", "--tolerance", "0.5")["gates"] == []


def test_a_field_that_is_no_longer_scored_is_worse(work: Path) -> None:
    (work / "before.json").write_text(scored(work, "--json").stdout)
    written(work / "gold", {n: {k: d[k] for k in ("total", "date")} for n, d in GOLD.items()})
    found = told(work, "--baseline", "@before.json", code=1)
    assert ("/number", "F1 was 1.0000 and is not scored any more") in [
        (gate["pointer"], gate["message"]) for gate in found["gates"]
    ]
    assert found["baseline"]["other_gold"] is True


def test_how_fields_are_compared_can_be_said(work: Path) -> None:
    found = told(work, "--compare", "total=number:5%", "--compare", "/date=ignore")
    assert found["overall"]["f1"]["value"] == 1.0
    assert "/date" not in found["fields"]
    strict = told(work, "--absent", "null")["overall"]
    assert (strict["right"], strict["gold_nulls"]) == (
        4,
        9,
    )  # and four of each that gold doesn't have


def test_fields_without_a_schema_are_named_by_pointer(work: Path) -> None:
    written(work / "plain", GIVEN)
    done = CliRunner().invoke(
        app,
        ["eval", f"{work}/gold", f"{work}/plain", "--compare", "/total=number:5%", "--json"],
        standalone_mode=False,
    )
    assert json.loads(done.stdout)["fields"]["/total"]["f1"]["value"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["eval", "nowhere", "out"], 2, "does not exist"),
        (["eval", "gold", "nowhere"], 2, "nowhere: no such file or folder"),
        (["eval", "gold"], 2, "out2: no such file"),
        (["eval", "gold", "out", "--compare", "total"], 2, "write FIELD=METHOD"),
        (["eval", "gold", "out", "--compare", "total=about"], 2, "no way to compare: exact, number"),
        (["eval", "gold", "out", "--compare", "totl=text"], 2, "did you mean /total?"),
        (["eval", "gold", "plain", "--compare", "total=text"], 2, "write a pointer (/total) or give -s"),
        (["eval", "gold", "plain", "--compare", "/totl=text"], 2, "no gold and no data has such a field"),
        (["eval", "gold", "out", "--fail-under", "95"], 2, "0<=x<=1"),
        (["eval", "gold", "out", "--fail-under", "nan"], 2, "--fail-under: nan is not a number from 0 to 1"),
        (["eval", "gold", "out", "--tolerance", "nan"], 2, "--tolerance: nan is not a number from 0 to 1"),
        (["eval", "gold", "out", "--fail-under", "inf"], 2, "0<=x<=1"),
        (["eval", "gold", "out", "--fail-under-field", "total=nan"], 2, "a number from 0 to 1"),
        (["eval", "gold", "out", "--fail-under-field", "total=inf"], 2, "a number from 0 to 1"),
        (["eval", "gold", "out", "--baseline", "nan.json"], 2, "an F1 is not a number from 0 to 1"),
        (["eval", "gold", "plain", "--stage", "nope"], 2, "plain data has no stages"),
        (["eval", "gold", "out", "--fail-under-field", "total=x"], 2, "a number from 0 to 1"),
        (["eval", "gold", "out", "--fail-under-field", "totl=1"], 2, "did you mean /total?"),
        (["eval", "gold", "out", "--stage", "other"], 2, "the output has extract"),
        (["eval", "gold", "out", "--baseline", "gold/a.pdf.json"], 2, "not what `fieldsift eval --json` prints"),
        (["eval", "others", "out"], 5, "belongs to a document of out"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(
    work: Path, arguments: list[str], code: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(work / "others", {"z.pdf": {"total": 1}})
    written(work / "plain", GIVEN)
    (work / "pipeline.toml").write_text('version = 1\n[run]\noutput = "out2"\n')
    (work / "nan.json").write_text(
        '{"version": 1, "overall": {"f1": {"value": NaN}}, "fields": {}}'
    )
    monkeypatch.chdir(work)
    done = CliRunner().invoke(app, arguments, standalone_mode=False)
    assert done.exception is not None
    assert getattr(done.exception, "exit_code", None) == code, done.exception
    assert sentence in getattr(done.exception, "message", str(done.exception))


def test_the_output_of_the_pipeline_file_is_the_default(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "pipeline.toml").write_text('version = 1\n[run]\noutput = "out"\n')
    monkeypatch.chdir(work)
    done = CliRunner().invoke(app, ["eval", "gold", "--json"], standalone_mode=False)
    assert json.loads(done.stdout)["overall"]["right"] == 4


def test_a_value_cant_move_the_terminals_cursor(work: Path) -> None:
    bad = "\x1b[2J\u202e\nB"
    ran(work / "out", [result("a.pdf", GOLD["a.pdf"] | {"number": bad})], SCHEMA)
    written(work / "gold", {"a.pdf": GOLD["a.pdf"] | {bad: bad}})
    done = scored(work)
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert json.loads(scored(work, "--json").stdout)["wrong"]


def test_show_says_how_much_is_shown(work: Path) -> None:
    assert "wrong values" not in scored(work, "--show", "0").stdout
    one = scored(work, "--show", "1").stdout
    assert len(re.findall(r": (?:misread|fabricated): ", one)) == 1


def test_the_fixtures_are_scored_against_their_gold(fixtures: Path, tmp_path: Path) -> None:
    """README's lines: a run, and its score."""
    readme = (fixtures.parent / "README.md").read_text()
    lines = re.findall(r"^fieldsift eval .*$", readme, re.MULTILINE)
    assert len(lines) == 2
    fieldsift(
        "run", fixtures / "inbox", "-s", "invoice", "-m", "local", "-o", "out", "--skip-unreadable",
        cwd=tmp_path, code=None,
    )  # fmt: skip
    for line in lines:
        command = re.split("[#>]", line)[0]
        words = command.replace("fixtures/", f"{fixtures}/").split()
        done = fieldsift(*words[1:], cwd=tmp_path, code=None)
        assert done.returncode in (0, 1), done.stderr
        if "--json" in words:
            (tmp_path / "before.json").write_text(done.stdout)
            assert json.loads(done.stdout)["overall"]["right"] > 20
