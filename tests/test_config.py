"""Settings come from one place each, mistakes are told all at once with their line, keys only from where keys belong."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Call, Keys, budget, find_file, plan, resolve
from pipeline.config.file import json_schema, parse
from pipeline.errors import ConfigError, FieldsiftError, SetupError, UsageError
from pipeline.providers import Endpoint, Rates

FILE = """\
version = 1

[run]
input = "inbox"
output = "out"
model = "local"
budget = "5.00 USD"

[models.strong]
model = "gemini-3.1-pro-preview"
thinking = "high"
price = { input = 2, output = 12 }

[[stage]]
name = "invoice"
schema = "vendor, total float"

[[stage]]
name = "careful"
schema = "vendor, iban"
model = "strong"
evidence = "required"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipeline.toml").write_text(FILE)
    (tmp_path / "below/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "below/deep")
    monkeypatch.setenv("GEMINI_API_KEY", "canary")
    return tmp_path


def places(environment: Mapping[str, str]) -> Keys:
    return Keys(environment)


def test_the_file_is_found_upwards_and_its_paths_are_its_own(project: Path) -> None:
    file = find_file(Path.cwd())
    decided = plan({}, Call(file))
    assert (decided.inputs, decided.base) == (("inbox",), project)
    assert plan({"inputs": ["inbox"]}, Call(file)).base == Path()
    assert decided.output == project / "out"
    assert decided.budget == Decimal("5.00")
    assert [stage.model for stage in decided.stages] == ["local", "gemini:gemini-3.1-pro-preview"]
    assert decided.stages[1].thinking == "high"
    price = decided.prices["gemini:gemini-3.1-pro-preview"]
    assert price is not None
    assert price.cost(input=1_000_000) == 2


def test_a_flag_goes_before_c_before_the_file_and_each_says_where_it_came_from(
    project: Path,
) -> None:
    overrides = ("budget=1.50", 'run.output="elsewhere"')
    call = Call(find_file(Path.cwd()), overrides, origins={"model": "--model"})
    decided = plan({"model": "gemini-3.5-flash-lite"}, call)
    told = {setting.name: (setting.value, setting.origin) for setting in decided.settings}
    assert told["model"] == ("gemini-3.5-flash-lite", "--model")
    assert told["budget"] == ("1.5", "-c")
    assert told["output"] == ("elsewhere", "-c")
    assert told["input"] == ("inbox", str(project / "pipeline.toml"))
    assert told["jobs"] == ("", "default")


def test_every_mistake_is_told_with_its_line_and_a_way_out(tmp_path: Path) -> None:
    text = 'version = 1\n[run]\nmodle = "local"\n[[stage]]\nname = "a"\nschema = "x, y"\n[[stage]]\nname = "B"\nschema = "x, y"\nthinkng = "low"\n'
    with pytest.raises(ConfigError) as error:
        parse(text, tmp_path / "pipeline.toml")
    told = str(error.value)
    assert "line 3: unknown key 'modle' in [run]: did you mean 'model'?" in told
    assert "line 8: stage.1.name" in told
    assert "line 10: unknown key 'thinkng' in [stage]: did you mean 'thinking'?" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version = 2", "version: it is 1"),
        ("[run", "pipeline.toml"),
        (
            '[[stage]]\nname="a"\nschema="x, y"\n[[stage]]\nname="a"\nschema="x, y"',
            "pipeline.toml: line 5: two stages are named a",
        ),
        ("[wrong]\nx = 1", "unknown key 'wrong'"),
    ],
)
def test_a_broken_file_names_itself(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(text, Path("pipeline.toml"))


def test_pyproject_holds_a_pipeline_too(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.fieldsift.run]\nmodel = "local"\n[[tool.fieldsift.stage]]\nname = "a"\nschema = "x, y"\n'
    )
    file = find_file(tmp_path)
    assert file is not None
    assert plan({}, Call(file)).engine == "local"


@pytest.mark.parametrize(
    ("environment", "terminal", "outcome"),
    [
        ({"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}, True, ("gemini", "GEMINI_API_KEY")),
        ({"GOOGLE_API_KEY": "b"}, True, ("gemini", "GOOGLE_API_KEY")),
        ({"GOOGLE_API_KEY": "b"}, False, ("gemini", "GOOGLE_API_KEY")),
        ({}, True, ("local", "")),
    ],
)
def test_who_answers_when_nobody_names_a_model(
    environment: dict[str, str], terminal: bool, outcome: tuple[str, str]
) -> None:
    endpoint, note = resolve(None, places(environment), terminal=terminal)
    assert (endpoint.provider, endpoint.key_name) == outcome
    assert (note is not None) == (endpoint.provider == "local")


def test_off_a_terminal_a_missing_key_is_an_error_with_both_ways_out() -> None:
    with pytest.raises(SetupError, match=r"GEMINI_API_KEY.*-m local"):
        resolve(None, places({}), terminal=False)
    assert resolve("auto", places({}), terminal=False)[0].provider == "local"
    assert resolve(None, places({}), terminal=False, keyless=True)[0] == Endpoint(
        "gemini", "gemini-3.1-flash-lite", key_name="GEMINI_API_KEY"
    )


def test_a_service_that_nobody_knows_is_named() -> None:
    with pytest.raises(
        ConfigError, match="no service 'elsewhere'; there are gemini, gemini-openai"
    ):
        resolve("elsewhere:gemini-3.1-flash-lite", places({}), terminal=True)


def test_keys_come_from_the_environment_then_a_key_file_then_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GEMINI_API_KEY=from-dotenv\nGOOGLE_API_KEY='g $HOME'\n")
    (tmp_path / "key").write_text("from-file\n")
    names = ("GEMINI_API_KEY",)
    assert Keys({"GEMINI_API_KEY": " e "}, tmp_path / ".env").find(names) == (
        "e",
        "GEMINI_API_KEY",
        "environment",
    )
    found = Keys({"GEMINI_API_KEY_FILE": str(tmp_path / "key")}, tmp_path / ".env").find(names)
    assert found is not None
    assert found[0] == "from-file"
    assert Keys({}, tmp_path / ".env").find(names) == (
        "from-dotenv",
        "GEMINI_API_KEY",
        str(tmp_path / ".env"),
    )
    assert Keys({}, tmp_path / ".env").find(["GOOGLE_API_KEY"]) == (
        "g $HOME",
        "GOOGLE_API_KEY",
        str(tmp_path / ".env"),
    )
    assert Keys({}, tmp_path / "none").find(names) is None
    with pytest.raises(SetupError, match="GEMINI_API_KEY_FILE"):
        Keys({"GEMINI_API_KEY_FILE": str(tmp_path / "gone")}).find(names)


def test_only_the_environment_itself_points_a_key_elsewhere_and_never_in_the_clear(
    tmp_path: Path,
) -> None:
    """A project folder that somebody sent must not be able to collect keys."""
    (tmp_path / ".env").write_text(
        "GEMINI_API_KEY=canary\nGOOGLE_GEMINI_BASE_URL=https://evil.example\n"
    )
    endpoint, _ = resolve(None, Keys({}, tmp_path / ".env"), terminal=False)
    assert endpoint.base_url == ""
    local = {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:8080/"}
    assert resolve(None, places(local), terminal=False)[0].base_url == "http://127.0.0.1:8080"
    with pytest.raises(ConfigError, match="must be https"):
        resolve(
            None,
            places({"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": "http://gateway.example"}),
            terminal=False,
        )


def test_a_key_is_never_in_a_repr() -> None:
    endpoint, _ = resolve(None, places({"GEMINI_API_KEY": "canary"}), terminal=False)
    assert "canary" not in repr(endpoint)


def test_thinking_that_the_model_lacks_is_refused_before_anything_is_sent(project: Path) -> None:
    (project / "pipeline.toml").write_text(
        FILE.replace('thinking = "high"', 'thinking = "minimal"')
    )
    with pytest.raises(
        UsageError, match=r"stage careful: .* no thinking level 'minimal': its levels are low"
    ):
        plan({}, Call(project / "pipeline.toml"))


def test_no_schema_shows_three_lines_to_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        plan({"inputs": ["x"]})
    assert str(error.value).count("fieldsift ") == 3


@pytest.mark.parametrize(
    ("text", "amount"), [("5", "5"), ("5USD", "5"), ("5.00 USD", "5.00"), ("$0.5", "0.5"), (3, "3")]
)
def test_budgets(text: object, amount: str) -> None:
    assert budget(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["five", "5 EUR", "-1", "1,5", "inf", ""])
def test_what_is_no_amount_of_dollars_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="US dollars"):
        budget(text)


@pytest.mark.parametrize("override", ["model", "=x", "version=9", "run=1"])
def test_a_wrong_override_is_a_configuration_error(override: str) -> None:
    with pytest.raises(FieldsiftError):
        parse("", None, [override])


def test_the_schema_of_the_file_accepts_the_file() -> None:
    import tomllib

    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(json_schema())
    assert list(validator.iter_errors(tomllib.loads(FILE))) == []
    wrong: dict[str, Any] = {"run": {"modle": "x"}}
    assert list(validator.iter_errors(wrong)) != []


def test_a_changed_question_is_another_pipeline(project: Path) -> None:
    file = project / "pipeline.toml"
    first = plan({}, Call(file)).sha256
    assert plan({}, Call(file)).sha256 == first
    file.write_text(FILE.replace("vendor, total float", "vendor, total int"))
    assert plan({}, Call(file)).sha256 != first


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('model = "local"', 'model = "evolnk:m"', "line 6: model 'evolnk:m': there is no service 'evolnk'"),
        ('model = "gemini-3.1-pro-preview"', 'model = "evolnk:m"', "line 10: model 'evolnk:m'"),
        ('model = "strong"', 'model = "evolnk:m"', "line 21: model 'evolnk:m'"),
        ('model = "strong"', 'model = "strong"\nfallback = ["evolnk:m"]', "line 22: fallback 'evolnk:m' of stage careful: model"),
        ('thinking = "high"', 'fallback = ["evolnk:m"]', "line 11: fallback 'evolnk:m' of stage careful: model"),
        ('thinking = "high"', 'safety = "off"\nfallback = ["openai:m"]', "line 11: fallback 'openai:m' of stage careful: openai:m takes no safety"),
    ],
)  # fmt: skip
def test_a_model_that_there_is_not_is_told_with_the_line_that_names_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, told: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    file = project / "pipeline.toml"
    file.write_text(FILE.replace(before, after, 1))
    with pytest.raises((ConfigError, UsageError)) as error:
        plan({}, Call(file))
    assert str(error.value).startswith(f"{file}: {told}")


def test_a_model_that_was_typed_has_no_line(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"\Amodel 'evolnk:m'"):
        plan({"model": "evolnk:m"}, Call(project / "pipeline.toml", origins={"model": "--model"}))


def test_a_blank_around_a_model_is_not_its_name_and_a_slip_in_it_is_told(project: Path) -> None:
    schema = {"schema": "vendor, total float"}
    assert plan(schema | {"model": " gemini-3.1-flash-lite "}).prices[
        "gemini:gemini-3.1-flash-lite"
    ]
    (note,) = plan(schema | {"model": "gemni-3.1-flash-lite"}).notes
    assert "it is in no list (is gemini-3.1-flash-lite meant?): price and limits" in note
    (note,) = plan(schema | {"model": "gemini-9-xyz"}).notes
    assert "it is in no list: price and limits" in note


def test_the_nearest_limit_counts_and_is_shown(tmp_path: Path) -> None:
    """A model's own table goes before its provider's, that before [run], and code before all of them."""
    file = tmp_path / "pipeline.toml"
    file.write_text(
        """\
[run]
model = "fast"
rpm = 100
tpm = 1000
rpd = 5000
spend = "10 USD"
timeout = 30

[providers.gemini]
tpm = 2000
tpd = 9000

[models.fast]
model = "gemini-3.1-flash-lite"
rpd = 6000

[[stage]]
name = "bill"
schema = "total float"
"""
    )
    for given, overrides, rpm in (({}, (), 100), ({}, ("run.rpm=300",), 300), ({"rpm": 7}, (), 7)):
        decided = plan(given, Call(file, overrides, keyless=True))
        (endpoint,) = decided.endpoints.values()
        assert endpoint.rates == Rates(rpm, 2000, 6000, 9000, Decimal(10))
        assert endpoint.timeout == 30
        told = {setting.name: setting.value for setting in decided.settings}
        assert told["limits.gemini:gemini-3.1-flash-lite"] == (
            f"{rpm} requests a minute, 2,000 tokens a minute, 6,000 requests a day, 9,000 tokens a day, "
            "10 USD in any ten minutes, 30 seconds for a request"
        )


@pytest.mark.parametrize(
    ("line", "told"),
    [("rpm = 0", "rpm"), ('spend = "much"', "spend 'much'"), ("spend = 0", "spend"), ("timeout = 0", "timeout")],
)  # fmt: skip
def test_a_limit_that_is_none_is_refused(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(f'[run]\nmodel = "gemini-3.1-flash-lite"\n{line}\n')
    with pytest.raises(ConfigError, match=told):
        plan({"schema": "total float"}, Call(file, keyless=True))


def test_code_gives_limits_too() -> None:
    decided = plan(
        {"schema": "a float", "model": "gemini-3.1-flash-lite", "rpm": 60}, Call(keyless=True)
    )
    assert [each.rates.rpm for each in decided.endpoints.values()] == [60]
    with pytest.raises(ConfigError, match="rpm"):
        plan({"schema": "a float", "model": "gemini-3.1-flash-lite", "rpm": 0}, Call(keyless=True))


def test_what_settings_name_and_is_not_there_is_told_at_once_with_stage_and_line(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(
        'version = 1\n[[stage]]\nname = "a"\nschema = "no.json"\n[[stage]]\nname = "b"\nschema = "x, y flot"\n'
        '[[stage]]\nname = "c"\ntask = "python"\nfunction = "own:run"\n'
    )
    with pytest.raises(ConfigError) as error:
        plan({"model": "local"}, Call(file))
    lines = str(error.value).splitlines()
    begun = [
        f"{file}: line {line}: stage {name}: " for name, line in zip("abc", (4, 7, 11), strict=True)
    ]
    assert [line.startswith(begin) for line, begin in zip(lines, begun, strict=True)] == [True] * 3
    file.write_text('[[stage]]\nname = "a"\nschema = "x, y"\ncontext = ["no.txt"]\n')
    with pytest.raises(ConfigError, match=r"line 4: stage a: context 'no.txt'"):
        plan({"model": "gemini-3.1-flash-lite"}, Call(file, keyless=True))
