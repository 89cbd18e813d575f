"""The table of what a user sees of each behaviour of a service is the one that is checked in."""

import re
from pathlib import Path

import pytest

from pipeline.limits.retries import ATTEMPTS, REFUSALS
from tests.behaviours import BEHAVIOURS, Behaviour, Seen, play_all, table

PAGE = Path(__file__).with_name("behaviours.md")
WRITE = "python -m tests.behaviours > tests/behaviours.md"


@pytest.fixture(scope="module")
def played() -> dict[Behaviour, Seen]:
    """Every behaviour, played once against the real command."""
    return play_all()


def test_the_table_is_what_the_command_does(played: dict[Behaviour, Seen]) -> None:
    """A change of what users see shows in the diff of a page that people read."""
    now, kept = table(played).splitlines(), PAGE.read_text(encoding="utf-8").splitlines()
    changed = [f"- {old}\n+ {new}" for old, new in zip(kept, now, strict=False) if old != new]
    assert now == kept, "\n".join([f"where this is right: {WRITE}", *changed])


def test_each_behaviour_is_listed_once() -> None:
    names = {(each.wire, each.name) for each in BEHAVIOURS}
    assert len(names) == len(BEHAVIOURS) >= 40


def test_whatever_goes_wrong_is_told_in_one_line_and_by_the_exit_code(
    played: dict[Behaviour, Seen],
) -> None:
    """A run without a Result ends with 4, the others by the status of the Result; nothing is our own fault."""
    codes = {
        "valid": 0,
        "failed": 1,
        "invalid": 1,
        "refused": 1,
        "truncated": 1,
        "over_budget": 3,
        "-": 4,
    }
    for behaviour, seen in played.items():
        assert seen.code == codes[seen.status.split()[0]], behaviour.name
        assert seen.code == 0 or seen.told.startswith("error: "), behaviour.name
        assert "internal_error" not in seen.status, behaviour.name
        assert len(seen.told) < 900, behaviour.name
        assert seen.told.isprintable(), behaviour.name


def test_what_is_final_is_sent_once_and_nothing_more_than_five_times(
    played: dict[Behaviour, Seen],
) -> None:
    """But for what the service refuses because it wants fewer requests: that costs nothing but time."""
    for behaviour, seen in played.items():
        assert seen.tries <= (REFUSALS if "wants fewer" in seen.told else ATTEMPTS), behaviour.name
        final = re.match(r"40[123] ", behaviour.name) and not behaviour.name.endswith("an answer")
        assert seen.tries == 1 or not final, behaviour.name
