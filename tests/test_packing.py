"""Short documents share requests: instructions are paid once, each answer is stored and priced as its own."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.asking import Answered
from pipeline.asking.packing import divided, shares
from pipeline.errors import BudgetReached, GaveUp, NotRecorded, ReplyError, Unreachable
from pipeline.ledger import Recording, StoredReplies
from pipeline.limits import apportioned
from pipeline.limits.gate import PATIENCE
from pipeline.limits.money import UNIT
from pipeline.limits.retries import ATTEMPTS, DOWN
from pipeline.providers import Reply, Usage
from pipeline.providers.gemini.reply import composed as by_gemini
from pipeline.providers.gemini.reply import read as read_gemini
from pipeline.providers.openai.reply import composed as by_openai
from pipeline.providers.openai.reply import read as read_openai
from pipeline.schema.dialects import listed
from pipeline.stages import Stage
from tests.answers import Answer, Seen, error, generated, packed, usage_of
from tests.packs import LABELS, Rows, damaging, endpoint, label_of, tagging
from tests.server import Server

TEXTS = [f"Article {n}: " + "x" * (n % 7) for n in range(40)]


def stage(**settings: Any) -> Stage:
    return Stage("tags", task="tag", labels=LABELS, **settings)


def data(found: Any) -> Any:
    """The data of an answer, as it stands in its reply."""
    assert isinstance(found, Answered), found
    return json.loads(found.reply.text)


def right(texts: list[str], found: list[Any]) -> bool:
    """Whether each row has its own answer."""
    return [data(each) for each in found] == [label_of(text) for text in texts]


def dollars(rows: Rows) -> Decimal:
    """What the ledger booked."""
    return Decimal(rows.spent) / UNIT


def told(found: list[Any]) -> Decimal:
    """What the attempts of all rows tell."""
    return sum((a.cost_usd for each in found for a in each.attempts), Decimal(0))


def test_rows_share_a_request_and_each_is_stored_priced_and_told_as_its_own(tmp_path: Path) -> None:
    """One request; forty answers, whose tokens and costs add up to its bill; the second run asks nothing."""
    with Server(tagging, divides=True) as server:
        rows = Rows(stage(), tmp_path)
        found = rows.ask(endpoint(server), TEXTS)
        (seen,) = server.requests
        bill = usage_of(seen, tagging(seen).body["candidates"][0]["content"]["parts"][0]["text"])
        again = Rows(stage(), tmp_path).ask(endpoint(server), TEXTS)
    assert right(TEXTS, found)
    assert right(TEXTS, again)
    attempts = [attempt for each in found for attempt in each.attempts]
    assert len(attempts) == len(TEXTS)
    assert {a.why for a in attempts} == {"first"}
    assert {a.response_id for a in attempts} == {"r-1"}
    assert sum(a.tokens["input"] for a in attempts) == bill["promptTokenCount"]
    assert sum(a.tokens["output"] for a in attempts) == bill["candidatesTokenCount"]
    cost = Decimal(bill["promptTokenCount"]) * Decimal("0.25e-6")
    cost += Decimal(bill["candidatesTokenCount"]) * Decimal("1.5e-6")
    assert told(found) == dollars(rows) == cost
    assert len(server.requests) == 1
    assert len({call[5] for call in rows.calls}) == 1, "one moment: it counts as one request"
    assert all(each.attempts[0].stored for each in again)
    assert told(again) == cost, "a resumed row tells what was paid for it"


def test_a_packed_answer_is_the_same_as_one_that_was_bought_alone(tmp_path: Path) -> None:
    """Under the same key, of the same form: what was packed is found by who asks alone, and the other way round."""
    with Server(tagging, divides=True) as server:
        Rows(stage(), tmp_path).ask(endpoint(server), TEXTS[:5])
        alone = Rows(stage(pack=1), tmp_path).ask(endpoint(server), TEXTS[:5])
        assert len(server.requests) == 1
        assert right(TEXTS[:5], alone)


@pytest.mark.parametrize("pack", [1, None, 3])
def test_how_many_share_a_request_is_what_the_stage_says(pack: int | None) -> None:
    with Server(tagging, divides=True) as server:
        found = Rows(stage(pack=pack)).ask(endpoint(server), TEXTS[:7])
        sizes = sorted(max(1, len(packed(seen.text))) for seen in server.requests)
    assert right(TEXTS[:7], found)
    assert sizes == {1: [1] * 7, None: [7], 3: [1, 3, 3]}[pack]


def test_one_row_alone_and_equal_rows_go_as_the_ordinary_request() -> None:
    with Server(tagging, divides=True) as server:
        found = Rows(stage()).ask(endpoint(server), ["the same"] * 3)
        (seen,) = server.requests
    assert not packed(seen.text)
    assert [data(each) for each in found] == [label_of("the same")] * 3


def test_long_documents_and_stages_with_tools_go_alone() -> None:
    long = ["word " * 3000 + str(n) for n in range(2)]
    with Server(tagging, divides=True) as server:
        Rows(stage()).ask(endpoint(server), long)
        Rows(stage(tools=("google_search",))).ask(endpoint(server), TEXTS[:2])
        assert [packed(seen.text) for seen in server.requests] == [[]] * 4


def test_the_other_wire_packs_too_in_its_strict_form() -> None:
    """The answer is read in the user's form, though the strict dialect asks for another."""
    answers = {text: label_of(text) for text in sorted(TEXTS[:9], key=len, reverse=True)}
    with Server(answers=answers) as server:
        rows = Rows(stage())
        found = rows.ask(endpoint(server, "openai"), TEXTS[:9])
        assert len(server.requests) == 1
        assert server.violations == []
    assert len(found) == 9
    assert all(isinstance(each, Answered) for each in found)
    assert told(found) == dollars(rows)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_packs_lose_nothing_and_cost_what_is_told(tmp_path: Path, seed: int) -> None:
    """Missing, doubled, foreign keys, cut and broken answers: each row ends with its own answer, and nothing is re-bought."""
    dice = random.Random(seed)
    with Server(damaging(dice, 0.2), divides=True) as server:
        rows = Rows(stage(), tmp_path)
        found = rows.ask(endpoint(server), TEXTS)
        sent = len(server.requests)
        assert right(TEXTS, Rows(stage(), tmp_path).ask(endpoint(server), TEXTS))
        assert len(server.requests) == sent
    assert right(TEXTS, found)
    assert told(found) == dollars(rows)
    assert sum(call[3] for call in rows.calls) >= rows.spent, "never more than was reserved"
    again = [each for each in found if len(each.attempts) > 1]
    assert all(a.why == "first" for each in found for a in each.attempts[:1])
    assert all(a.why.startswith("asked again") for each in again for a in each.attempts[1:])


def test_one_poisonous_row_does_not_cost_the_others() -> None:
    """A pack that is refused is halved, down to the row that is refused by itself."""
    texts = [*TEXTS[:11], "poison"]

    def reply(seen: Seen) -> Answer:
        if "poison" in seen.text:
            return Answer(body={"promptFeedback": {"blockReason": "SAFETY"}}, billed=True)
        return tagging(seen)

    with Server(reply, divides=True) as server:
        found = Rows(stage()).ask(endpoint(server), texts)
        sizes = [max(1, len(packed(seen.text))) for seen in server.requests]
    assert right(TEXTS[:11], found[:11])
    assert isinstance(found[11], Answered)
    assert found[11].reply.finish == "refused"
    assert sizes.count(1) <= 2
    assert len(sizes) <= 9


def test_a_pack_that_the_service_refuses_outright_is_halved_too() -> None:
    def reply(seen: Seen) -> Answer:
        return error(400, "The document is invalid.") if "poison" in seen.text else tagging(seen)

    with Server(reply, divides=True) as server:
        found = Rows(stage()).ask(endpoint(server), [*TEXTS[:7], "poison"])
    assert right(TEXTS[:7], found[:7])
    assert isinstance(found[7], ReplyError)


async def at_once(_: float) -> None:
    """A clock on which every wait is over."""
    await asyncio.sleep(0)


@pytest.mark.parametrize("failure", [error(500, "Internal error"), Answer(200, b"{not json")])
@pytest.mark.parametrize("by", ["a row of it", "being a pack"])
def test_a_pack_that_fails_each_time_it_is_sent_is_halved_too(failure: Answer, by: str) -> None:
    """Down to the row that fails by itself; a service that fails at packs is asked row by row."""
    texts = [*TEXTS[:6], "poison", TEXTS[6]]

    def reply(seen: Seen) -> Answer:
        fails = packed(seen.text) if by == "being a pack" else "poison" in seen.text
        return replace(failure, billed=failure.status == 200) if fails else tagging(seen)

    with Server(reply, divides=True) as server:
        found = Rows(stage(), waits=at_once).ask(endpoint(server), texts)
    if by == "a row of it":
        assert isinstance(found.pop(6), GaveUp)
        texts.pop(6)
    assert right(texts, found)


@pytest.mark.parametrize("patience", [0.0, PATIENCE])
def test_packs_of_a_service_that_is_down_are_not_asked_row_by_row(patience: float) -> None:
    """With another endpoint at hand the retries of the run are all that is sent, else the tries of a pack and of one of it."""
    with Server(lambda _: error(503, "busy"), divides=True) as server:
        rows = Rows(stage(pack=10), waits=at_once, patience=patience)
        found = rows.ask(endpoint(server), TEXTS)
        sent = len(server.requests)
    assert all(isinstance(each, GaveUp | Unreachable) for each in found)
    assert sent <= (2 * DOWN if patience == 0 else 4 * 2 * ATTEMPTS)


def test_a_model_that_can_not_answer_packs_is_asked_row_by_row() -> None:
    """After a few packs of which nothing came, those of that kind are not tried any more."""

    def reply(seen: Seen) -> Answer:
        return generated("no list") if packed(seen.text) else tagging(seen)

    with Server(reply, divides=True) as server:
        rows = Rows(stage())
        found = rows.ask(endpoint(server), TEXTS)
        tried = sum(bool(packed(seen.text)) for seen in server.requests)
    assert right(TEXTS, found)
    assert told(found) == dollars(rows)
    assert tried < len(TEXTS)


def test_a_pack_that_does_not_fit_under_the_cap_becomes_smaller(tmp_path: Path) -> None:
    """Rows are answered as long as one fits; the cap holds, and the next run goes on without buying one twice."""
    with Server(tagging, divides=True) as server:
        rows = Rows(stage(pack=20), tmp_path, budget="0.0047")
        found = rows.ask(endpoint(server), TEXTS)
        stopped = [each for each in found if isinstance(each, BudgetReached)]
        assert 0 < len(stopped) < len(TEXTS)
        assert dollars(rows) <= Decimal("0.0047")
        bought = {key for call in server.requests for key in packed(call.text)}
        rest = Rows(stage(pack=20), tmp_path).ask(endpoint(server), TEXTS)
    assert bought
    assert right(TEXTS, rest)
    counts = Counter(text for seen in server.requests for _, text in packed(seen.text))
    assert max(counts.values()) == 1


def test_votes_never_share_a_request_with_what_they_are_compared_to() -> None:
    """Two takes of the same rows are two requests."""
    rows = Rows(stage())
    with Server(tagging, divides=True) as server:

        async def both() -> list[Any]:
            replies = StoredReplies(None)
            numbered = list(enumerate(TEXTS[:4], 1))
            first = await rows.answers(endpoint(server), numbered, replies)
            return [*first, *await rows.answers(endpoint(server), numbered, replies, take=2)]

        found = asyncio.run(both())
        assert len(server.requests) == 2
    assert right(TEXTS[:4] * 2, found)


def test_a_recording_holds_single_rows_and_replay_needs_no_packs(tmp_path: Path) -> None:
    """What was packed while it was recorded is replayed row by row; a row that is not there is the error."""
    folder = tmp_path / "recorded"
    with Server(tagging, divides=True) as server:
        at = endpoint(server)
        rows = list(enumerate(TEXTS[:5], 1))
        before = StoredReplies(None)
        asyncio.run(Rows(stage()).answers(at, rows, Recording(folder, before=before)))
        replayed = asyncio.run(
            Rows(stage(), offline=True).answers(at, [*rows[:2], (9, "another")], Recording(folder))
        )
        assert len(server.requests) == 1
    assert len(list(folder.glob("*.json"))) == 5
    assert right(TEXTS[:2], replayed[:2])
    assert isinstance(replayed[2], NotRecorded)


HOSTILE = st.lists(
    st.sampled_from([*'<>/\n"[]{}:,0123456789abcdef', '"items"', '"key"', '"answer"', "</"]),
    max_size=60,
).map("".join)


@settings(max_examples=8, deadline=None)
@given(st.lists(HOSTILE, min_size=2, max_size=6, unique=True))
def test_no_text_closes_its_own_mark_or_speaks_for_another(texts: list[str]) -> None:
    """A row with keys, marks and answers in it is answered as itself."""
    with Server(tagging, divides=True) as server:
        found = Rows(stage()).ask(endpoint(server), [f"{n} {t}" for n, t in enumerate(texts)])
        (seen,) = server.requests
        assert len(packed(seen.text)) == len(texts)
        assert [t for _, t in packed(seen.text)] == [f"{n} {t}" for n, t in enumerate(texts)]
    assert all(isinstance(each, Answered) for each in found)


KEYS = ("0a1b2c3d", "11111111", "deadbeef")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
ITEMS = st.lists(
    st.builds(
        lambda key, answer: {"key": key, "answer": answer}, st.sampled_from([*KEYS, "other"]), JSON
    )
    | JSON,
    max_size=6,
)


@settings(max_examples=100, deadline=None)
@given(ITEMS, st.integers(0, 200), st.sampled_from(["", "}", "]", '"', "\\", "NaN", "{", "\x00"]))
def test_what_is_taken_from_a_damaged_pack_is_what_was_said_of_that_key(
    items: list[Any], place: int, damage: str
) -> None:
    """Whatever is broken where: an answer that is taken is one that stands there for its key, and for no other."""
    text = json.dumps({"items": items})
    broken = text[:place] + damage + text[place:]
    found = divided(broken, KEYS)
    assert set(found) <= set(KEYS)
    for key, answer in found.items():
        assert broken.count(f'"{key}"') == 1
        json.dumps(answer).encode()
        said_of_it = [i["answer"] for i in items if isinstance(i, dict) and i.get("key") == key]
        if not damage:
            assert [json.loads(answer)] == said_of_it


@given(st.text(max_size=300))
def test_no_text_at_all_is_too_odd_to_be_divided(text: str) -> None:
    assert divided(text, KEYS) == {}


def test_a_deep_or_endless_pack_is_read_in_bounded_time() -> None:
    deep = '{"items":[{"key":"11111111","answer":' + "[" * 200_000
    assert divided(deep, KEYS) == {}
    many = '{"items":[' + '{"key":"11111112","answer":1},' * 100_000
    assert divided(many, KEYS) == {}


COUNT = st.integers(0, 10**6)


@given(
    st.builds(Usage, input=COUNT, cached=COUNT, output=COUNT, thoughts=COUNT),
    st.lists(st.integers(0, 5000), min_size=1, max_size=120),
)
def test_shares_of_tokens_are_whole_and_add_up(usage: Usage, sizes: list[int]) -> None:
    parts = shares(usage, sizes, sizes[::-1])
    for name in ("input", "cached", "output", "thoughts"):
        assert sum(getattr(part, name) for part in parts) == getattr(usage, name)
        assert usage.cached > usage.input or all(getattr(part, name) >= 0 for part in parts)
    assert sum(apportioned(usage.input, sizes)) == usage.input


@given(
    st.text(max_size=40),
    st.builds(
        Usage,
        input=st.integers(1, 10**6),
        output=COUNT,
        thoughts=COUNT,
        tier=st.sampled_from(["", "standard", "flex", "priority"]),
        by_modality=st.sampled_from([(), (("text", 7),)]),
    ),
)
def test_a_composed_answer_reads_as_the_service_would_have_given_it(
    text: str, usage: Usage
) -> None:
    """On both wires text, tokens, model, tier and id are read back as they were."""
    reply = Reply("whole", model="m-1", response_id="id-1", usage=usage)
    for composed, read in ((by_gemini, read_gemini), (by_openai, read_openai)):
        back = read(composed(reply, text, usage))
        assert (back.text, back.finish, back.model, back.response_id) == (
            text,
            "stop",
            "m-1",
            "id-1",
        )
        for name in ("input", "cached", "output", "thoughts", "tier", "is_counted"):
            assert getattr(back.usage, name) == getattr(usage, name)
    assert not read_gemini(by_gemini(reply, text, Usage(is_counted=False))).usage.is_counted
    assert not read_openai(by_openai(reply, text, Usage(is_counted=False))).usage.is_counted


def test_definitions_of_a_schema_move_to_the_root_of_a_packs() -> None:
    one = {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}}
    whole = listed(one)
    assert whole["$defs"] == {"a": {}}
    assert "$defs" not in whole["properties"]["items"]["items"]["properties"]["answer"]
