"""`models`, `doctor` and `config show` as a user sees them: what is known, what the file says, what services answer."""

import json
from pathlib import Path

import pytest

from tests.answers import error
from tests.server import Server
from tests.test_cli import INVOICE, fieldsift

FILE = """\
[run]
model = "main"
[models.main]
model = "gemini-3.1-flash-lite"
thinking = "low"
fallback = ["box:llama"]
[models.main.price]
input = 0.01
output = 0.02
[providers.box]
base_url = "http://127.0.0.1:9/v1"
[[stage]]
name = "invoice"
schema = "number, total float"
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text(INVOICE)
    return tmp_path


def test_the_catalogue_fits_a_terminal_and_says_what_is_unknown(work: Path) -> None:
    told = fieldsift("models", cwd=work).stdout
    assert max(map(len, told.splitlines())) <= 100
    assert told.count("gemini-3.8-flash ") == 1
    for line in (
        "gemini  https://generativelanguage.googleapis.com",
        "the models of gemini, at its prices",
        "shut down 2026-05-25: use gemini-3.1-flash-lite",
        "any model: limits and prices are unknown",
        "USD per million tokens, as of 2026-11-21: https://ai.google.dev/gemini-api/docs/pricing",
    ):
        assert line in told


def test_a_word_shows_all_that_is_known_of_the_models_that_hold_it(work: Path) -> None:
    told = fieldsift("models", "3.6-FLASH", cwd=work).stdout
    assert told.startswith("gemini:gemini-3.6-flash\n")
    assert "priority" in told
    assert "from 2027-01-01:" in told
    assert "14 USD for a thousand search queries" in told
    listed = json.loads(fieldsift("models", "3.6-flash", "--json", cwd=work).stdout)
    assert {each["provider"] for each in listed} == {"gemini", "gemini-openai", "vertex"}
    assert listed[0]["price"]["rates"]["batch"]["input"] == "0.375"
    assert [price["valid_from"] for price in listed[0]["prices"]] == [None, "2027-01-01"]
    none = fieldsift("models", "neon", cwd=work, code=1)
    assert none.stdout == ""
    assert "'neon'" in none.stderr


def test_what_the_pipeline_file_says_stands_in_the_list_with_its_origin(work: Path) -> None:
    (work / "pipeline.toml").write_text(FILE)
    told = fieldsift("models", cwd=work).stdout
    assert "ends 2027-05-07" in told
    assert f"[models.main]; from {work / 'pipeline.toml'}" in told
    assert "box  http://127.0.0.1:9/v1\n  any model: limits and prices are unknown" in told
    (listed,) = [
        each
        for each in json.loads(fieldsift("models", "--json", cwd=work).stdout)
        if each["names"] == ["main"]
    ]
    assert listed["price"]["rates"]["standard"]["input"] == "0.01"
    assert listed["origin"] == str(work / "pipeline.toml")


def test_config_show_says_where_each_setting_and_address_is_from_and_no_key(work: Path) -> None:
    (work / "pipeline.toml").write_text(FILE)
    env = {"GEMINI_API_KEY": "canary-7f3a", "GOOGLE_GEMINI_BASE_URL": "https://proxy.example"}
    told = fieldsift("config", "show", "--json", cwd=work, env=env)
    shown = {each["name"]: (each["value"], each["origin"]) for each in json.loads(told.stdout)}
    file = str(work / "pipeline.toml")
    home = "gemini:gemini-3.1-flash-lite"
    assert shown["stage.invoice.model"] == (home, file)
    assert shown["stage.invoice.thinking"] == ("low", "[models.main]")
    assert shown["stage.invoice.fallback"] == ("box:llama", "[models.main]")
    address = "https://proxy.example, key of GEMINI_API_KEY"
    assert shown[f"endpoint.{home}"] == (address, "GOOGLE_GEMINI_BASE_URL")
    assert shown["endpoint.box:llama"] == ("http://127.0.0.1:9/v1, no key", file)
    assert shown[f"price.{home}"][1] == "pipeline file"
    assert shown["price.box:llama"][0] == "unknown"
    assert "canary" not in told.stdout + told.stderr


# What services answer


def online(server: Server, key: str = "canary-7f3a") -> dict[str, str]:
    return {"GEMINI_API_KEY": key, "GOOGLE_GEMINI_BASE_URL": server.url}


def test_models_online_lists_what_each_service_offers_to_the_key(work: Path) -> None:
    with Server() as server:
        env = online(server) | {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{server.url}/v1"}
        told = fieldsift("models", "--online", cwd=work, env=env)
        listed = json.loads(fieldsift("models", "--online", "--json", cwd=work, env=env).stdout)
        assert all(seen.method == "GET" for seen in server.requests)
    assert "gemini  offers" in told.stdout
    assert "gemini-3.1-flash-lite" in told.stdout
    assert [each["provider"] for each in listed] == ["gemini", "openai"]
    assert all(each["models"] and not each["error"] for each in listed)
    assert "canary" not in told.stdout + told.stderr


def test_models_online_without_a_key_says_so_and_a_service_that_is_down_does_not_hide_others(
    work: Path,
) -> None:
    assert "there is no key" in fieldsift("models", "--online", cwd=work, code=4).stderr
    (work / "pipeline.toml").write_text(FILE)
    with Server() as server:
        told = fieldsift("models", "--online", cwd=work, env=online(server)).stdout
    assert "gemini  offers" in told
    assert "box  no connection to http://127.0.0.1:9/v1" in told


def test_models_online_is_exit_four_where_a_key_is_refused_though_another_service_gives_a_list(
    work: Path,
) -> None:
    with Server() as server:
        server.keys = {"canary-7f3a"}
        env = online(server, "canary-0") | {"EVOLINK_API_KEY": "canary-7f3a"}
        env |= {"EVOLINK_BASE_URL": server.url}
        done = fieldsift("models", "--online", "--json", cwd=work, env=env, code=4)
    refused = {each["provider"]: each["key_refused"] for each in json.loads(done.stdout)}
    assert refused == {"gemini": True, "evolink": False}


def test_models_online_takes_an_express_key_without_a_list_for_no_refusal(work: Path) -> None:
    """Vertex AI lists its models for credentials alone; a key in the wrong place is another matter."""
    words = "API keys are not supported by this API. Expected OAuth2 access token"
    with Server() as good, Server() as other:
        other.next(*[error(401, words, word="UNAUTHENTICATED")] * 3)
        vertex = {"VERTEX_API_KEY": "k-12345", "GOOGLE_VERTEX_BASE_URL": other.url}
        told = fieldsift("models", "--online", cwd=work, env=online(good) | vertex).stdout
        assert "gemini  offers" in told
        assert "vertex  its list of models is told to Google credentials alone" in told
        assert "vertex" in fieldsift("models", "--online", cwd=work, env=vertex, code=4).stdout
        wrong = fieldsift("models", "--online", cwd=work, env=online(other), code=4).stdout
        assert "does not accept the key in GEMINI_API_KEY" in wrong


def test_models_online_does_not_call_a_missing_list_a_missing_model(work: Path) -> None:
    with Server() as server:
        env = {"EVOLINK_API_KEY": "k", "EVOLINK_BASE_URL": f"{server.url}/none"}
        told = fieldsift("models", "--online", cwd=work, env=env, code=4).stdout
        assert f"evolink  there is no list of models at {server.url}/none\n" in told


def test_doctor_online_says_what_came_and_a_refused_key_is_exit_four(work: Path) -> None:
    with Server() as server:
        server.keys = {"canary-7f3a"}
        told = fieldsift("doctor", "--online", cwd=work, env=online(server))
        assert "the key is taken; the model takes 1,048,576 tokens and gives 65,536" in told.stdout
        refused = fieldsift("doctor", "--online", cwd=work, env=online(server, "canary-0"), code=4)
        assert all(seen.method == "GET" for seen in server.requests)
    assert "NO  online: the service does not accept the key in GEMINI_API_KEY" in refused.stdout
    assert "canary" not in told.stdout + told.stderr + refused.stdout + refused.stderr


def test_doctor_online_takes_a_list_of_models_where_one_alone_is_not_told(work: Path) -> None:
    (work / "pipeline.toml").write_text(FILE)
    with Server() as server:
        overrides = ("-c", f"providers.box.base_url={server.url}/v1", "-c", "model=box:m-9")
        told = fieldsift("doctor", "--online", *overrides, cwd=work, code=None).stdout
    (line,) = [each for each in told.splitlines() if " online" in each]
    assert "m-9" in line


def test_doctor_without_a_key_has_nothing_to_call_and_names_extras_and_services(work: Path) -> None:
    told = fieldsift("doctor", "--online", cwd=work).stdout
    assert "online local: runs on this machine; nothing is called" in told
    assert "extra vertex" in told
    assert "key for evolink: none (EVOLINK_API_KEY)" in told
    assert "free tier" not in told


def test_a_pipeline_file_that_is_wrong_is_a_line_of_doctor(work: Path) -> None:
    (work / "pipeline.toml").write_text("[run]\nmodle = 1\n")
    told = fieldsift("doctor", cwd=work, code=4).stdout
    assert "NO  settings" in told
    assert "did you mean 'model'?" in told


# The free tier


def test_what_the_free_tier_means_is_said_once_on_stderr(work: Path) -> None:
    ask = (
        "extract",
        "a.txt",
        "-s",
        "number, total float",
        "-m",
        "gemini-3.1-flash-lite",
        "--no-store",
    )
    with Server() as server:
        quiet = fieldsift(*ask, "-q", cwd=work, env=online(server), code=None)
        first = fieldsift(*ask, "--json", cwd=work, env=online(server), code=None)
        second = fieldsift(*ask, cwd=work, env=online(server), code=None)
        assert len(server.requests) == 3
    assert "free tier" not in quiet.stderr
    assert "may be used for training" in first.stderr
    assert "free tier" not in first.stdout
    assert "free tier" not in second.stderr
    assert "may be used for training" in fieldsift("doctor", cwd=work, env=online(server)).stdout


def test_a_run_that_sends_nothing_to_gemini_says_nothing_of_its_tiers(work: Path) -> None:
    env = {"GEMINI_API_KEY": "k"}
    local = fieldsift(
        "extract", "a.txt", "-s", "number, total float", "-m", "local", cwd=work, env=env, code=None
    )
    offline = fieldsift(
        "extract",
        "a.txt",
        "-s",
        "number, total float",
        "--offline",
        "-m",
        "gemini-3.1-flash-lite",
        cwd=work,
        env=env,
        code=None,
    )
    assert "free tier" not in local.stderr + offline.stderr


def test_a_model_in_no_list_is_said_once(work: Path) -> None:
    with Server(lambda seen: error(404, "models/gemini-0 is not found")) as server:
        told = fieldsift(
            "extract",
            "a.txt",
            "-s",
            "number, total float",
            "-m",
            "gemini-0",
            cwd=work,
            env=online(server),
            code=4,
        )
    assert told.stderr.count("it is in no list: price and limits are unknown") == 1
