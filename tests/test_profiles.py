"""Profiles: defaults below what is said, what an endpoint can't take, and where each of them shows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import Pipeline, catalogue
from pipeline.config import Call, Plan, plan
from pipeline.config.profiles import PROFILES
from pipeline.errors import ConfigError, UsageError
from pipeline.stages import Stage
from tests.answers import Answer, Seen, generated, packed
from tests.packs import LABELS, label_of, tagging
from tests.runs import env
from tests.server import Server
from tests.test_cli import fieldsift

CHEAP, STRONG = "gemini-3.1-flash-lite", "gemini-3.1-pro-preview"
EVOLINK = "evolink:gemini-3.1-flash-lite-preview"
FILE = '[run]\nprofile = "{}"\nmodel = "{}"\n[[stage]]\nname = "bill"\nschema = "number, total float"\n{}'


def decided(tmp_path: Path, profile: str, model: str = CHEAP, more: str = "") -> Plan:
    file = tmp_path / "pipeline.toml"
    file.write_text(FILE.format(profile, model, more))
    return plan({}, Call(file, keyless=True))


def shown(decided_: Plan) -> dict[str, tuple[str, str]]:
    """What `config show` says of the stage, and from where."""
    return {
        each.name.removeprefix("stage.bill."): (each.value, each.origin)
        for each in decided_.settings
        if each.name.startswith("stage.bill.")
    }


def test_cheap_is_flex_minimal_and_asks_again_once(tmp_path: Path) -> None:
    found = decided(tmp_path, "cheap")
    (stage,) = found.stages
    assert (stage.service_tier, stage.thinking, stage.votes, stage.repair) == (
        "flex",
        "minimal",
        1,
        1,
    )
    told = shown(found)
    for name, value in (
        ("service_tier", "flex"),
        ("thinking", "minimal"),
        ("votes", "1"),
        ("repair", "1"),
        ("pack", "100"),
    ):
        assert told[name] == (value, "profile cheap")
    assert ("profile", "cheap", str(tmp_path / "pipeline.toml")) in {
        (each.name, each.value, each.origin) for each in found.settings
    }


def test_careful_asks_twice_wants_evidence_and_goes_up(tmp_path: Path) -> None:
    found = decided(tmp_path, "careful")
    (stage,) = found.stages
    assert (stage.votes, stage.repair, stage.evidence) == (2, 2, "required")
    assert stage.escalate is not None
    assert stage.escalate.to == (f"gemini:{STRONG}",)
    assert f"gemini:{STRONG}" in found.prices
    told = shown(found)
    assert {told[name][1] for name in ("votes", "repair", "evidence", "escalate")} == {
        "profile careful"
    }


def test_balanced_is_what_there_is_without_a_profile(tmp_path: Path) -> None:
    balanced, plain = decided(tmp_path, "balanced"), tmp_path / "plain.toml"
    plain.write_text(FILE.format("x", CHEAP, "").replace('profile = "x"\n', ""))
    assert balanced.stages == plan({}, Call(plain, keyless=True)).stages
    assert shown(balanced)["repair"] == ("2", "profile balanced")


@pytest.mark.parametrize("profile", PROFILES)
def test_what_the_file_says_stays(tmp_path: Path, profile: str) -> None:
    more = 'service_tier = "priority"\nthinking = "high"\nrepair = 4\nvotes = 1\nevidence = "flagged"\npack = 3\n'
    more += '[stage.escalate]\nto = ["gemini-3.5-flash"]\n'
    found = decided(tmp_path, profile, more=more)
    (stage,) = found.stages
    assert (stage.service_tier, stage.thinking, stage.repair) == ("priority", "high", 4)
    assert (stage.votes, stage.evidence, stage.pack) == (1, "flagged", 3)
    assert stage.escalate is not None
    assert stage.escalate.to == ("gemini:gemini-3.5-flash",)
    assert not [origin for _, origin in shown(found).values() if origin.startswith("profile")]


def test_the_table_of_a_model_goes_before_the_profile(tmp_path: Path) -> None:
    more = f'[models.own]\nmodel = "{CHEAP}"\nthinking = "low"\n'
    found = decided(tmp_path, "cheap", "own", more)
    assert found.stages[0].thinking == "low"
    assert found.stages[0].service_tier == "flex"
    assert shown(found)["thinking"] == ("low", "[models.own]")


@pytest.mark.parametrize(
    ("profile", "model", "unset"),
    [
        ("cheap", EVOLINK, {"service_tier": f"no flex price of {EVOLINK} is known"}),
        ("cheap", STRONG, {"thinking": f"the levels that gemini:{STRONG} takes are low, medium, high"}),
        ("cheap", "gemini-2.5-flash", {"thinking": "the levels that gemini:gemini-2.5-flash takes are none"}),
        ("cheap", "openai:x", {"service_tier": "no flex price", "thinking": "takes are not known"}),
        ("careful", EVOLINK, {"escalate": "the catalogue names no stronger model of evolink"}),
        ("careful", STRONG, {"escalate": "the strongest that the catalogue names"}),
        ("careful", "local", {"escalate": "runs here", "votes": "runs here"}),
        ("cheap", "local", {"service_tier": "runs here", "thinking": "runs here", "pack": "runs here"}),
    ],
)  # fmt: skip
def test_what_an_endpoint_can_not_take_is_not_set_and_says_why(
    tmp_path: Path, profile: str, model: str, unset: dict[str, str]
) -> None:
    found = decided(tmp_path, profile, model)
    told = {name: each for name, each in shown(found).items() if each[0].startswith("not set")}
    assert told.keys() == unset.keys()
    for name, why in unset.items():
        assert why in told[name][0]
        assert told[name][1] == f"profile {profile}"
        assert getattr(found.stages[0], name) == getattr(Stage("x", "a str"), name)


def test_a_fallback_that_can_not_take_it_keeps_it_unset(tmp_path: Path) -> None:
    found = decided(tmp_path, "cheap", more=f'fallback = ["{EVOLINK}"]\n')
    assert found.stages[0].service_tier is None
    assert found.stages[0].thinking == "minimal"
    careful = decided(tmp_path, "careful", more=f'fallback = ["{EVOLINK}"]\n')
    assert careful.stages[0].escalate is not None


def test_votes_are_left_alone_where_both_answers_would_be_the_same(tmp_path: Path) -> None:
    found = decided(tmp_path, "careful", more="temperature = 0\n")
    assert found.stages[0].votes == 1
    assert "both answers are the same" in shown(found)["votes"][0]


def test_the_model_above_is_asked_at_the_flex_price_too_but_thinks_as_it_can(
    tmp_path: Path,
) -> None:
    found = decided(tmp_path, "cheap", more=f'escalate = {{ to = ["{STRONG}"] }}\n')
    (higher,) = found.stages[0].higher
    assert (higher.service_tier, higher.thinking) == ("flex", None)


def test_each_task_gets_what_it_can_have(tmp_path: Path) -> None:
    stages = [
        Stage("kind", task="classify", labels=["a", "b"]),
        Stage("english", task="translate", to="en"),
        Stage(
            "answer", {"type": "object", "properties": {"a": {}}}, task="generate", prompt="write"
        ),
    ]
    found = plan({"model": CHEAP, "profile": "careful"}, Call(keyless=True), stages)
    assert [stage.votes for stage in found.stages] == [2, 1, 1]
    assert {stage.evidence for stage in found.stages} == {"flagged"}
    assert all(stage.escalate for stage in found.stages)


def test_a_profile_of_code_is_one_word_and_an_unknown_one_is_refused() -> None:
    pipeline = Pipeline(Stage("bill", "a str", repair=3), profile="cheap", model=CHEAP)
    assert pipeline.settings["profile"] == "cheap"
    found = plan(pipeline.settings, Call(keyless=True), pipeline.stages)
    assert (found.stages[0].repair, found.stages[0].thinking) == (3, "minimal")
    with pytest.raises(UsageError, match="profile 'fast' is none of cheap, balanced, careful"):
        plan({"model": CHEAP, "profile": "fast"}, Call(keyless=True), [Stage("bill", "a str")])


def test_what_code_names_counts_before_the_profile_where_it_is_as_by_default_too() -> None:
    named = {"repair": 2, "evidence": "flagged", "votes": 1}
    pipeline = Pipeline(Stage("bill", "a str", **named), profile="careful", model=CHEAP)
    found = plan(pipeline.settings, Call(keyless=True), pipeline.stages)
    (made,) = found.stages
    assert (made.repair, made.evidence, made.votes) == (2, "flagged", 1)
    assert made.escalate, "which it does not name"
    assert {shown(found)[name][1] for name in named} == {"code"}


def test_a_stage_that_names_a_default_is_the_same_stage() -> None:
    """What was named is kept by `replace`, and is nothing that an answer depends on."""
    named, plain = Stage("bill", "a str", repair=2), Stage("bill", "a str")
    assert named == plain
    assert named.sha256 == plain.sha256
    assert repr(named) == repr(plain)
    assert "repair" in replace(named, votes=2).said
    assert "repair" not in replace(plain, votes=2).said


def test_an_unknown_profile_of_a_file_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 2"):
        decided(tmp_path, "fast")


@pytest.mark.parametrize("provider", ["gemini", "vertex", "gemini-openai"])
def test_the_stronger_model_stands_in_the_catalogue_with_a_price(provider: str) -> None:
    name = catalogue.stronger(provider)
    assert name is not None
    model = catalogue.find(provider, name)
    assert model is not None
    assert model.prices
    assert model.alias_of is None


def test_every_consequence_stands_in_config_show(tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text(FILE.format("cheap", CHEAP, ""))
    told = fieldsift("config", "show", cwd=tmp_path).stdout
    lines = [line for line in told.splitlines() if "profile cheap" in line]
    assert [line.split()[0] for line in lines if "service_tier" in line] == [
        "stage.bill.service_tier"
    ]
    assert len(lines) == 5


def test_cheap_goes_over_the_wire(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Seen] = []

    def reply(each: Seen) -> Answer:
        seen.append(each)
        return generated({"a": "1"})

    with Server(reply) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        (tmp_path / "a.txt").write_text("a 1\n")
        made: Any = Pipeline(Stage("bill", "a str"), profile="cheap", model=CHEAP)
        made.run(str(tmp_path / "a.txt"), tmp_path / "out")
    assert seen[0].body["serviceTier"] == "flex"
    assert seen[0].config["thinkingConfig"] == {"thinkingLevel": "MINIMAL"}


def test_cheap_asks_about_a_folder_of_short_files_at_once(tmp_path: Path) -> None:
    """`-c run.profile=cheap` is enough: six files may share a request, and each has its own answer."""
    texts = [f"Article {n}: " + "x" * n for n in range(6)]
    (tmp_path / "in").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / f"in/{number}.txt").write_text(text)
    told = f'[run]\ninput = "in"\noutput = "out"\nmodel = "{CHEAP}"\n[[stage]]\nname = "tags"\ntask = "tag"\n'
    (tmp_path / "pipeline.toml").write_text(f"version = 1\n{told}labels = {json.dumps(LABELS)}\n")
    with Server(tagging, divides=True) as server:
        command = ("run", "-c", "run.profile=cheap")
        dry = fieldsift(*command, "-n", "--json", cwd=tmp_path, env=env(server), code=0)
        fieldsift(*command, cwd=tmp_path, env=env(server), code=0)
        asked = [text for seen in server.requests for _, text in packed(seen.text)]
    (stage,) = json.loads(dry.stdout)["stages"]
    assert (stage["requests"], stage["packed"]) == (1, 5)
    # How many were read in time to go together hangs on the machine: none goes twice.
    assert len(asked) == len(set(asked))
    assert set(asked) <= set(texts)
    lines = (tmp_path / "out/results.jsonl").read_text().splitlines()
    found = {each["document"]["path"]: each["data"] for each in map(json.loads, lines)}
    assert found == {f"{number}.txt": label_of(text) for number, text in enumerate(texts)}
