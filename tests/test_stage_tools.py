"""Tools of a stage through the command: allowed in words, told to the model, their sources kept, their fees paid."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.answers import Answer, Seen, generated
from tests.runs import env, receipts
from tests.server import Server
from tests.test_cli import fieldsift, results

PIPELINE = """\
[run]
input = "inbox"
output = "out"
allow_tools_on_untrusted = true
{run}
[[stage]]
name = "looked-up"
schema = "number, total float"
repair = 0
tools = {tools}
"""
#: What grounding returns: two queries, one page that was read and one that was given.
FOUND: dict[str, Any] = {
    "groundingMetadata": {
        "webSearchQueries": ["rate", "rate of today"],
        "groundingChunks": [{"web": {"uri": "https://rates.test/eur", "title": "rates"}}],
    },
    "urlContextMetadata": {
        "urlMetadata": [
            {"retrievedUrl": "https://shop.test/r-0", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"}
        ]
    },
}  # fmt: skip


def looked_up(seen: Seen) -> Answer:
    return generated({"number": "R-0000", "total": 0.5}, **FOUND)


def work_with(folder: Path, tools: list[str], run: str = "") -> Path:
    work = receipts(folder, 1)
    (work / "pipeline.toml").write_text(PIPELINE.format(tools=json.dumps(tools), run=run))
    return work


def test_sources_are_kept_and_searches_are_paid(tmp_path: Path) -> None:
    """All three tools of the service go along; 14 dollars for a thousand queries beside the tokens."""
    work = work_with(tmp_path, ["google_search", "url_context", "code_execution"])
    with Server(looked_up) as server:
        fieldsift("run", cwd=work, env=env(server))
        (seen,) = server.requests
        assert seen.body["tools"] == [
            {"googleSearch": {}},
            {"urlContext": {}},
            {"codeExecution": {}},
        ]
        line = results(work / "out")["0000.txt"]
        assert line["sources"] == ["https://rates.test/eur", "https://shop.test/r-0"]
        tokens = (100 * 0.25 + 20 * 1.5) / 1e6
        assert line["cost_usd"] == pytest.approx(tokens + 2 * 14 / 1000)
        fieldsift("run", "--force", "--offline", cwd=work, env=env(server), code=None)
        assert len(server.requests) == 1


def test_fees_are_reserved_before_they_are_owed(tmp_path: Path) -> None:
    """Twenty queries at most: a budget that could not pay them sends nothing."""
    work = work_with(tmp_path, ["google_search"], 'budget = "0.25 USD"')
    with Server(looked_up) as server:
        fieldsift("run", cwd=work, env=env(server), code=3)
        assert server.requests == []
        assert results(work / "out")["0000.txt"]["status"] == "over_budget"
        fieldsift("run", "--budget", "1", cwd=work, env=env(server))
        assert len(server.requests) == 1


def test_tools_must_be_allowed_in_words(tmp_path: Path) -> None:
    """A document could make the model carry its content away with them."""
    work = work_with(tmp_path, ["google_search"])
    file = work / "pipeline.toml"
    file.write_text(file.read_text().replace("allow_tools_on_untrusted = true\n", ""))
    with Server(looked_up) as server:
        done = fieldsift("run", cwd=work, env=env(server), code=2)
        assert "allow_tools_on_untrusted = true" in done.stderr
        assert "line " in done.stderr
        assert server.requests == []


def calls(seen: Seen) -> Answer:
    """A model that asks a function, and answers with what it said."""
    said = [part["functionResponse"] for part in seen.parts if "functionResponse" in part]
    if said:
        return generated({"number": "R-0000", "total": said[0]["response"]["result"]})
    asks = {"functionCall": {"name": "doubled", "args": {"amount": 0.25}}}
    return generated({}, content={"role": "model", "parts": [asks]})


@pytest.mark.long
def test_a_python_function_beside_the_file_is_called_once(tmp_path: Path) -> None:
    """Its result is kept as answers are: running again runs nothing again."""
    work = work_with(tmp_path, ["own:doubled"])
    (work / "own.py").write_text(
        "from pathlib import Path\n\n"
        "def doubled(amount: float) -> float:\n"
        '    """Twice an amount."""\n'
        "    with Path('called').open('a') as file:\n"
        "        file.write('x')\n"
        "    return 2 * amount\n"
    )
    with Server(calls) as server:
        fieldsift("run", cwd=work, env=env(server))
        line = results(work / "out")["0000.txt"]
        assert line["data"]["total"] == 0.5
        assert [attempt["why"] for attempt in line["attempts"]] == ["first", "function results"]
        (work / "out/extract").mkdir(exist_ok=True)
        (work / "out/looked-up/0000.txt.json").unlink()
        fieldsift("run", cwd=work, env=env(server))
        assert len(server.requests) == 2
        assert (work / "called").read_text() == "x"
