"""Which service answers: names, addresses, keys that stay with their owners, fallbacks, and what a file may change."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.catalogue import Service
from pipeline.config import Call, Keys, Plan, plan, resolve
from pipeline.config.file import parse
from pipeline.config.services import listed
from pipeline.errors import ConfigError, SetupError, UsageError
from pipeline.providers import Endpoint

STAGE = '[[stage]]\nname = "invoice"\nschema = "vendor, total float"\n'


def asked(
    model: str | None, environment: Mapping[str, str], file: str = "", **how: bool
) -> tuple[Endpoint, str | None]:
    """The endpoint of a model's name, with the services of a pipeline file."""
    tables = parse(file, Path("pipeline.toml")).providers
    settings: dict[str, Any] = {"terminal": False} | how
    return resolve(model, Keys(environment), services=listed(tables), **settings)


def planned(folder: Path, text: str, **settings: Any) -> Plan:
    (folder / "pipeline.toml").write_text(text)
    return plan(settings, Call(folder / "pipeline.toml"))


# Names


@pytest.mark.parametrize(
    ("model", "environment", "name", "wire", "key_name"),
    [
        ("gemini-3.1-flash-lite", {"GEMINI_API_KEY": "k"}, "gemini:gemini-3.1-flash-lite", "gemini", "GEMINI_API_KEY"),
        ("gemini:gemini-x", {"GOOGLE_API_KEY": "k"}, "gemini:gemini-x", "gemini", "GOOGLE_API_KEY"),
        ("gemini-openai:gemini-3.1-flash-lite", {"GEMINI_API_KEY": "k"}, "gemini-openai:gemini-3.1-flash-lite", "openai", "GEMINI_API_KEY"),
        ("evolink:m", {"EVOLINK_API_KEY": "k"}, "evolink:m", "openai", "EVOLINK_API_KEY"),
        ("evolink-gemini:m", {"EVOLINK_API_KEY": "k"}, "evolink-gemini:m", "gemini", "EVOLINK_API_KEY"),
        ("openai:ft:gpt:7", {"OPENAI_API_KEY": "k"}, "openai:ft:gpt:7", "openai", "OPENAI_API_KEY"),
        ("vertex:gemini-3.1-flash-lite", {"VERTEX_API_KEY": "k"}, "vertex:gemini-3.1-flash-lite", "gemini", "VERTEX_API_KEY"),
        ("LOCAL", {}, "local", "local", ""),
    ],
)  # fmt: skip
def test_a_model_is_reached_where_its_name_says(
    model: str, environment: dict[str, str], name: str, wire: str, key_name: str
) -> None:
    endpoint, _ = asked(model, environment)
    assert (endpoint.name, endpoint.service.wire, endpoint.key_name) == (name, wire, key_name)
    assert endpoint.facts is None


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"GOOGLE_API_KEY": "g", "EVOLINK_API_KEY": "e"}, "gemini:gemini-3.1-flash-lite"),
        ({"EVOLINK_API_KEY": "e", "OPENAI_API_KEY": "o"}, "evolink:gemini-3.1-flash-lite-preview"),
        ({}, "local"),
    ],
)
def test_auto_takes_the_first_key_that_there_is(environment: dict[str, str], name: str) -> None:
    endpoint, note = asked("auto", environment)
    assert endpoint.name == name
    assert (note or "").endswith("the local engine answers") == (name == "local")


def test_an_openai_key_alone_does_not_say_which_model() -> None:
    with pytest.raises(SetupError, match=r"only OPENAI_API_KEY is set.*-m openai:MODEL"):
        asked("auto", {"OPENAI_API_KEY": "o"})


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("locla", "did you mean 'local'"),
        ("atuo", "did you mean 'auto'"),
        ("evolink", "name its model too, as in evolink:gemini-3.1-flash-lite-preview"),
        ("xyzzy", "`fieldsift models`"),
        ("evolnik:gemini-3.1-flash-lite", "did you mean evolink:gemini-3.1-flash-lite?"),
        ("vertex:", "the model's name is missing"),
        ("local:big", "write -m local"),
        ("models/gemini-3.1-flash-lite", "write it without models/, as gemini-3.1-flash-lite"),
        ("gpt-4o", "as in openai:gpt-4o"),
        ("ollama:big", r"under \[providers.NAME\]"),
    ],
)
def test_a_typo_is_told_before_a_key_is_asked_for(model: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        asked(model, {})


@pytest.mark.parametrize(
    ("model", "variable"),
    [("evolink:m", "EVOLINK_API_KEY"), ("openai:m", "OPENAI_API_KEY"), ("vertex:m", "GOOGLE_CLOUD_PROJECT")],
)  # fmt: skip
def test_a_missing_key_names_its_variable_unless_nothing_is_sent(model: str, variable: str) -> None:
    with pytest.raises(SetupError, match=variable):
        asked(model, {})
    assert asked(model, {}, keyless=True)[0].key == ""
    assert asked(model, {}, replaying=True)[0].key == ""


# Vertex AI


@pytest.mark.parametrize(
    ("environment", "file", "outcome"),
    [
        ({"GOOGLE_CLOUD_PROJECT": "p"}, "", ("p", "global", "")),
        ({"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "europe-west4"}, "", ("p", "europe-west4", "")),
        ({"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_API_KEY": "g"}, "", ("p", "global", "")),
        ({"GOOGLE_CLOUD_PROJECT": "p", "VERTEX_API_KEY": "v"}, "", ("", "global", "VERTEX_API_KEY")),
        ({"GOOGLE_API_KEY": "g"}, "", ("", "global", "GOOGLE_API_KEY")),
        ({"VERTEX_API_KEY": "v"}, '[providers.vertex]\nproject = "own"\nlocation = "eu"', ("own", "eu", "")),
    ],
)  # fmt: skip
def test_vertex_takes_a_project_or_an_express_key(
    environment: dict[str, str], file: str, outcome: tuple[str, str, str]
) -> None:
    endpoint, _ = asked("vertex:gemini-3.1-flash-lite", environment, file)
    assert (endpoint.project, endpoint.location, endpoint.key_name) == outcome
    assert bool(endpoint.key) == bool(outcome[2])


@pytest.mark.parametrize("name", ["GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"])
def test_what_becomes_part_of_an_address_can_not_make_another(name: str) -> None:
    environment = {"GOOGLE_CLOUD_PROJECT": "p", name: "evil.example/"}
    with pytest.raises(ConfigError, match=name):
        asked("vertex:m", environment)


# Keys stay with their owners


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ('[providers.evolink]\nbase_url = "https://evil.example"', "line 2: the key of evolink goes to its own host only"),
        ('[providers.vertex]\nbase_url = "https://evil.example"', "the key of vertex goes to its own host only"),
        ('[providers.mine]\nbase_url = "https://evil.example"\nkey_env = "GEMINI_API_KEY"', "line 3: GEMINI_API_KEY is the key of gemini"),
        ('[providers.openai]\nbase_url = "https://evil.example"\nkey_env = "OPENAI_API_KEY"', "OPENAI_API_KEY is the key of openai"),
        ('[providers.mine]\nbase_url = "http://box.example/v1"', "line 2: http://box.example/v1: must be https"),
        ('[providers.mine]\nbase_url = "ftp://box.example"', "is not an address"),
        ('[providers.mine]\nbase_url = "https://u:p@box.example"', "more than an address"),
        ('[providers.mine]\nbase_url = "https://box.example?key=1"', "more than an address"),
        ('[providers.mine]\nbase_url = "https://[box"', "is not an address"),
        ('[providers.mine]\nwire = "openai"', "line 1: [providers.mine] needs its base_url"),
        ('[providers.local]\nwire = "openai"', "a provider can't be named 'local'"),
        ('[providers.mine]\nbase_url = "https://box.example"\nproject = "p"', "line 3: project is for [providers.vertex]"),
        ('[providers.vertex]\nlocation = "evil.example/"', "line 2: providers.vertex.location: it is global, us, eu or a region"),
        ('[providers.mine]\nbase_url = "https://box.example"\nkey_env = "sk-1"', "line 3: providers.mine.key_env: it is the name of the variable that holds the key"),
        ('[models.mine]\nmodel = "m-1"\ntools = ["gogle_search"]', "line 3: models.mine.tools.0: a tool is google_search, url_context, code_execution, or"),
        ('[providers.mine]\nbase_ulr = "https://box.example"', "line 2: unknown key 'base_ulr' in [providers.mine]: did you mean 'base_url'?"),
    ],
)  # fmt: skip
def test_a_file_alone_gives_no_key_away(file: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(file, Path("pipeline.toml"))
    assert told in str(error.value)


def test_a_known_service_moves_with_a_key_of_its_own() -> None:
    file = '[providers.evolink]\nbase_url = "https://gateway.example/v1/"\nkey_env = "GATEWAY_KEY"'
    environment = {"EVOLINK_API_KEY": "canary", "GATEWAY_KEY": "own"}
    endpoint, _ = asked("evolink:m", environment, file)
    assert (endpoint.base_url, endpoint.key) == ("https://gateway.example/v1", "own")
    with pytest.raises(SetupError, match="set GATEWAY_KEY"):
        asked("evolink:m", {"EVOLINK_API_KEY": "canary"}, file)


def test_vertex_at_an_address_of_the_file_gets_no_google_credentials() -> None:
    file = '[providers.vertex]\nbase_url = "https://gateway.example"\nkey_env = "GATEWAY_KEY"'
    environment = {"GOOGLE_CLOUD_PROJECT": "p", "GATEWAY_KEY": "own"}
    endpoint, _ = asked("vertex:m", environment, file)
    assert (endpoint.project, endpoint.key) == ("", "own")
    with pytest.raises(SetupError, match="set GATEWAY_KEY"):
        asked("vertex:m", {"GOOGLE_CLOUD_PROJECT": "p"}, file)


@pytest.mark.parametrize(
    ("model", "variable", "value", "address"),
    [
        ("gemini:m", "GOOGLE_GEMINI_BASE_URL", "https://proxy.example/g/", "https://proxy.example/g"),
        ("gemini-openai:m", "GOOGLE_GEMINI_BASE_URL", "https://proxy.example/g/", "https://proxy.example/g/v1beta/openai"),
        ("evolink:m", "EVOLINK_BASE_URL", "https://api.evolink.ai/v1", "https://api.evolink.ai/v1"),
        ("evolink-gemini:m", "EVOLINK_BASE_URL", "https://api.evolink.ai/v1", "https://api.evolink.ai"),
        ("gemini-openai:m", "GOOGLE_GEMINI_BASE_URL", "https://proxy.example/g/v1beta", "https://proxy.example/g/v1beta/openai"),
        ("evolink:m", "EVOLINK_BASE_URL", "https://api.evolink.ai/", "https://api.evolink.ai/v1"),
        ("evolink-gemini:m", "EVOLINK_BASE_URL", "https://api.evolink.ai", "https://api.evolink.ai"),
        ("openai:m", "OPENAI_BASE_URL", "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
    ],
)  # fmt: skip
def test_the_environment_itself_points_a_service_elsewhere(
    model: str, variable: str, value: str, address: str
) -> None:
    assert asked(model, {variable: value}, keyless=True)[0].base_url == address
    with pytest.raises(ConfigError, match=f"{variable}: .*must be https"):
        asked(model, {variable: "http://proxy.example"}, keyless=True)


# Services of one's own


def test_a_service_of_ones_own_needs_no_key_and_states_its_facts() -> None:
    file = (
        '[providers.ollama]\nbase_url = "http://localhost:11434/v1"\npdf = "images"\nhears = false\n'
        'schema = "json_object"\neffort = false\nlimit_name = "max_tokens"\nrequest_bytes = 1000'
    )
    endpoint, _ = asked("ollama:qwen3:8b", {}, file)
    assert (endpoint.name, endpoint.key_name) == ("ollama:qwen3:8b", "")
    assert endpoint.base_url == "http://localhost:11434/v1"
    facts = endpoint.service
    assert isinstance(facts, Service)
    assert (facts.wire, facts.pdf, facts.sees, facts.hears) == ("openai", "images", True, False)
    assert (facts.schema, facts.effort, facts.limit_name) == ("json_object", False, "max_tokens")
    assert facts.request_bytes == 1000


def test_a_table_of_a_known_service_changes_only_what_it_states() -> None:
    endpoint, _ = asked("evolink:m", {"EVOLINK_API_KEY": "k"}, '[providers.evolink]\npdf = "text"')
    known, _ = asked("evolink:m", {"EVOLINK_API_KEY": "k"})
    assert endpoint.facts is not None
    assert endpoint.facts.pdf == "text"
    assert endpoint.facts.base_url == known.service.base_url
    assert (endpoint.key, endpoint.base_url) == (known.key, known.base_url)


# Models: what the file says of them, and who answers when one is down


def test_the_file_says_what_the_catalogue_does_not_know(tmp_path: Path) -> None:
    text = STAGE + (
        '[run]\nmodel = "big"\n[providers.box]\nbase_url = "http://127.0.0.1:1/v1"\nwire = "gemini"\n'
        '[models.big]\nmodel = "box:large-1"\ninput_limit = 9000\noutput_limit = 900\nthinking_levels = ["low"]\n'
        "[models.big.price]\nstandard = { input = 1, output = 2, audio = 3 }\nflex = { input = 0.5, output = 1 }\n"
        "search = 14\n"
    )
    decided = planned(tmp_path, text)
    endpoint = decided.endpoints["box:large-1"]
    assert endpoint.known is not None
    assert (endpoint.known.input_limit, endpoint.known.output_limit) == (9000, 900)
    assert endpoint.known.thinking == ("low",)
    price = decided.prices["box:large-1"]
    assert price is not None
    assert price.cost(input=10**6, output=10**6) == 3
    assert price.cost(input=10**6, audio=10**6) == 3
    assert price.cost(input=10**6, tier="flex") == Decimal("0.5")
    assert price.cost(input=1, tier="priority") is None
    assert price.cost(searches=1) == Decimal("0.014")


def test_two_tables_of_one_model_may_not_contradict_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    text = STAGE + (
        '[run]\nmodel = "local"\n[models.a]\nmodel = "gemini-x"\nprice = { input = 1, output = 1 }\n'
        '[models.b]\nmodel = "gemini:gemini-x"\nprice = { input = 2, output = 1 }\n'
    )
    with pytest.raises(ConfigError, match=r"\[models.a\] and \[models.b\] are one model"):
        planned(tmp_path, text.replace('"local"', '"a"'))


def test_a_model_in_no_list_works_and_the_run_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    text = '[run]\nmodel = "gemini-9-neon"\n' + STAGE + STAGE.replace("invoice", "second")
    decided = planned(tmp_path, text)
    assert decided.prices == {"gemini:gemini-9-neon": None}
    assert [note for note in decided.notes if "gemini-9-neon" in note] == list(decided.notes)
    assert len(decided.notes) == 1


FALLBACK = (
    '[run]\nmodel = "main"\n[models.main]\nmodel = "gemini-3.1-flash-lite"\nthinking = "minimal"\n'
    'fallback = ["other", "vertex:gemini-3.5-flash-lite"]\n[models.other]\nmodel = "vertex:gemini-3.1-flash-lite"\n'
)


def test_fallbacks_are_settled_with_their_own_endpoints_and_prices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    decided = planned(tmp_path, FALLBACK + STAGE)
    (stage,) = decided.stages
    assert stage.model == "gemini:gemini-3.1-flash-lite"
    assert stage.fallback == ("vertex:gemini-3.1-flash-lite", "vertex:gemini-3.5-flash-lite")
    assert set(decided.endpoints) == {stage.model, *stage.fallback} == set(decided.prices)
    assert decided.engine == stage.model


def test_a_fallback_is_held_to_the_stage_and_needs_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    with pytest.raises(
        SetupError, match=r"fallback 'other' of stage invoice: .*GOOGLE_CLOUD_PROJECT"
    ):
        planned(tmp_path, FALLBACK + STAGE)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    with pytest.raises(UsageError, match=r"fallback .*no thinking level 'minimal'"):
        planned(tmp_path, FALLBACK.replace("3.5-flash-lite", "3.1-pro-preview") + STAGE)
    with pytest.raises(ConfigError, match="not auto"):
        planned(tmp_path, FALLBACK.replace('"other"', '"auto"') + STAGE)


def test_a_stage_goes_before_its_models_table_and_false_is_said_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    text = (
        '[run]\nmodel = "main"\n[models.main]\nmodel = "gemini-3.1-flash-lite"\nstream = true\nthinking = "low"\n'
        'system = "Read."\nservice_tier = "flex"\nsafety = "off"\n'
    )
    decided = planned(tmp_path, text + STAGE + 'stream = false\nthinking = "high"\n')
    (stage,) = decided.stages
    assert (stage.stream, stage.thinking, stage.system) == (False, "high", "Read.")
    assert (stage.service_tier, stage.safety) == ("flex", "off")
    told = {setting.name: setting.origin for setting in decided.settings}
    assert told["stage.invoice.thinking"] == str(tmp_path / "pipeline.toml")
    assert told["stage.invoice.service_tier"] == "[models.main]"
    assert told["stage.invoice.evidence"] == "default"


@pytest.mark.parametrize(
    ("in_models", "line"), [(True, "line 5"), (False, "line 8")], ids=["models table", "stage"]
)
def test_an_impossible_setting_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_models: bool, line: str
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    setting = 'thinking = "minimal"\n'
    text = '[run]\nmodel = "main"\n[models.main]\nmodel = "gemini-3.8-flash"\n'
    text += (setting if in_models else "") + STAGE + ("" if in_models else setting)
    with pytest.raises(UsageError, match=rf"pipeline.toml: {line}: stage invoice: .*'minimal'"):
        planned(tmp_path, text)


def test_a_model_that_was_shut_down_names_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    decided = planned(tmp_path, '[run]\nmodel = "gemini-3.1-flash-lite-preview"\n' + STAGE)
    assert decided.notes == (
        "gemini:gemini-3.1-flash-lite-preview was shut down on 2026-05-25: use gemini-3.1-flash-lite",
    )


# Tools


def test_tools_are_refused_until_they_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    text = (
        '[run]\nmodel = "gemini-3.1-flash-lite"\n'
        + STAGE
        + 'tools = ["google_search", "own_tools:look"]\n'
    )
    (tmp_path / "own_tools.py").write_text("def look(name: str) -> str: return name\n")
    with pytest.raises(ConfigError, match=r"line 6: tools are not allowed: a document could"):
        planned(tmp_path, text)
    allowed = text.replace("[run]\n", "[run]\nallow_tools_on_untrusted = true\n")
    (stage,) = planned(tmp_path, allowed).stages
    assert stage.tools[0] == "google_search"
    assert list(stage.functions) == ["look"]
    for wrong, named in (
        ("look", r"line 7: stage invoice: tools\.1: a tool is"),
        ("own_tools:search", "own_tools has no search"),
        ("elsewhere:look", "no elsewhere.py"),
        ("own_tools:__name__", "no function"),
    ):
        with pytest.raises(ConfigError, match=named):
            planned(tmp_path, allowed.replace("own_tools:look", wrong))
