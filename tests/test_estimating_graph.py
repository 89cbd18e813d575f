"""`run --dry-run` over stages that hang on each other: stored answers are followed, the rest is counted by a plain rule."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline import Pipeline, Stage
from pipeline.estimating import Estimate, Share
from pipeline.estimating.chances import MOST_ITEMS, chance
from tests.answers import Seen
from tests.server import Server
from tests.test_walk import BILL, INVOICE, LETTER, Clerk, stages

LABELS = ["invoice", "receipt", "contract", "letter"]
KIND = Stage("kind", task="classify", labels=LABELS)
BILLS = Stage("invoice", BILL, when={"kind": "invoice"})
COUNT = 4


class Sorter(Clerk):
    """Also says what kind a document is: half of them are invoices."""

    def data(self, seen: Seen) -> Any:
        if "label" in seen.config["responseJsonSchema"]["properties"]:
            number = int(seen.text.split("Invoice No ")[1].split("\n")[0])
            return {"label": "invoice" if number % 2 else "letter"}
        return super().data(seen)


@pytest.fixture
def clerk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sorter]:
    made = Sorter()
    with Server(made) as running:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "inbox").mkdir()
        for number in range(COUNT):
            (tmp_path / f"inbox/{number}.txt").write_text(INVOICE.format(number))
        yield made


def dry(made: Any, **settings: Any) -> Estimate:
    return Pipeline(made, **settings).estimate("inbox", "out")


def shares(estimate: Estimate) -> dict[str, Share]:
    return {share.stage: share for share in estimate.stages}


def usd(amount: Decimal | None) -> Decimal:
    assert amount is not None
    return amount


def test_a_stage_behind_a_label_is_expected_for_its_share_and_reserved_for_all(
    clerk: Sorter,
) -> None:
    """Low counts none of it; high is that of the stage asked about every document."""
    told = shares(dry([KIND, BILLS]))
    whole = shares(dry([Stage("invoice", BILL)]))["invoice"]
    assert (told["kind"].requests, told["invoice"].requests) == (COUNT, COUNT // len(LABELS))
    assert told["invoice"].low_usd == 0
    assert usd(told["invoice"].expected_usd) == pytest.approx(
        usd(whole.expected_usd) / 4, rel=Decimal("0.01")
    )
    assert usd(told["invoice"].high_usd) >= usd(whole.high_usd)
    assert not clerk.asked


def test_stored_answers_are_followed(clerk: Sorter) -> None:
    """What a document is said to be decides; what is unchanged and stored is asked no more."""
    Pipeline([KIND]).run("inbox", "out")
    asked = len(clerk.asked)
    estimate = dry([KIND, BILLS])
    told = shares(estimate)
    assert (told["kind"].requests, told["kind"].stored) == (0, COUNT)
    assert told["invoice"].requests == COUNT // 2
    assert usd(told["invoice"].low_usd) > 0
    assert not any("hang on" in note for note in estimate.notes)
    assert len(clerk.asked) == asked
    Pipeline([KIND, BILLS]).run("inbox", "out")
    assert len(clerk.asked) - asked == COUNT // 2


def test_what_is_followed_goes_through_parts_and_items_too(clerk: Sorter) -> None:
    """Of a file of parts whose last stage changed, only that one is asked again."""
    Path("inbox/0.txt").write_text("\f".join([INVOICE.format(1), LETTER, INVOICE.format(2)]))
    made = [replace(stage, pack=1) for stage in stages()]
    Pipeline(made[:2]).run("inbox/0.txt", "out")
    told = shares(Pipeline(made).estimate("inbox/0.txt", "out"))
    requests = {name: share.requests for name, share in told.items()}
    assert requests == {"parts": 0, "invoice": 0, "group": 2, "summary": 1}  # equal items once
    asked = len(clerk.asked)
    Pipeline(made).run("inbox/0.txt", "out")
    assert len(clerk.asked) - asked == 3


def test_fan_outs_that_are_not_known_yet_are_counted_once_and_at_most_so_often_and_that_is_said(
    clerk: Sorter,
) -> None:
    path = Path("inbox/0.txt")
    path.write_text("\f".join([INVOICE.format(1), LETTER, INVOICE.format(2)]))
    estimate = Pipeline(stages(), budget="100 USD").estimate(str(path), "out")
    told = shares(estimate)
    assert [told[name].requests for name in ("parts", "invoice", "group", "summary")] == [
        1,
        1,
        1,
        1,
    ]
    assert not estimate.bounded
    assert estimate.suffices == "expected"
    assert any("the high figure does not cover more" in note for note in estimate.notes)
    assert any("high one for each page" in note for note in estimate.notes)
    alone = Pipeline(Stage("invoice", BILL)).estimate(str(path), "out").stages[0]
    assert usd(told["invoice"].high_usd) > 2 * usd(alone.high_usd)
    Pipeline(stages()).run(str(path), "out")
    assert all(
        share.requests == 0 for share in Pipeline(stages()).estimate(str(path), "out").stages
    )


def test_the_high_figure_holds_for_a_run_without_fan_outs(clerk: Sorter) -> None:
    made = [
        KIND,
        BILLS,
        Stage("note", "text str", task="generate", prompt="Say it.", inputs=("invoice",)),
    ]
    estimate = dry(made)
    assert estimate.bounded
    one = shares(Pipeline(made).estimate("inbox/0.txt", "out"))["note"]
    assert usd(shares(estimate)["note"].high_usd) == COUNT * usd(
        one.high_usd
    )  # all documents, each by itself
    summary = Pipeline(made).run("inbox", "out")
    assert usd(summary.cost_usd) <= usd(estimate.high_usd)
    (again,) = [note for note in estimate.notes if "asking again" in note]
    assert again.startswith("stages kind, invoice, note: "), (
        "what holds for all of them is said once"
    )


def test_functions_are_listed_and_not_run(clerk: Sorter, tmp_path: Path) -> None:
    """Neither is what hangs on what they give asked about; once they ran, what they gave is followed."""
    Path("own.py").write_text(
        "import pathlib\n\n\ndef large(invoice: dict) -> dict[str, bool]:\n"
        "    pathlib.Path('ran').touch()\n    return {'is': invoice['total'] > 3}\n"
    )
    Path("pipeline.toml").write_text(
        'version = 1\n[run]\ninput = "inbox"\noutput = "out"\n'
        "[[stage]]\nname = 'invoice'\nschema = 'number str, total float'\n"
        "[[stage]]\nname = 'large'\ntask = 'python'\nfunction = 'own:large'\n"
        "[[stage]]\nname = 'note'\ntask = 'generate'\nprompt = 'Say it.'\nschema = 'text str'\n"
        "when = { 'large.is' = true }\n"
    )
    made = Pipeline.load("pipeline.toml")
    estimate = made.estimate()
    assert not Path("ran").exists()
    assert any("own:large" in each for each in estimate.code)
    assert shares(estimate)["note"].requests == COUNT // 2
    assert "large" not in shares(estimate), "a function has no figures"
    assert any("large" in line and "reads invoice" in line for line in estimate.graph)


@pytest.mark.parametrize(
    ("when", "share"),
    [
        ({"kind": "invoice"}, 1 / 4),
        ({"kind": ["invoice", "receipt"]}, 1 / 2),
        ({"kind": "unsure"}, 1 / 5),
        ({"kind": "invoice", "other.code": "x"}, 1 / 8),
        ("kind.label == 'invoice'", 1 / 2),
        ("known.code == 'x'", 1),
        (None, 1),
    ],
)
def test_the_share_is_that_of_the_labels_and_half_for_anything_else(
    when: Any, share: float
) -> None:
    by_name = {
        "kind": KIND,
        "other": Stage("other", "code str"),
        "known": Stage("known", "code str"),
    }
    stage = Stage("last", "note str", when=when)
    assert chance(stage, by_name, {"kind": 1.0, "other": 1.0}) == pytest.approx(share)
    assert MOST_ITEMS == 10  # as the notes and the help say
