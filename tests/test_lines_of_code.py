"""Lines of user code against other libraries: ours is run, all are counted, and the table says what was counted."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.answers import Answer, Seen, answer_from
from tests.conftest import ROOT
from tests.server import Server

PAGE = (ROOT / "benchmarks/lines_of_code.md").read_text("utf-8")
LIBRARIES = ("fieldsift", "instructor", "langextract", "docetl")
#: Job -> library -> its code.
BLOCKS = {
    job.partition("\n")[0].lower(): dict(re.findall(r"```python (\w+)\n(.*?)```", job, re.DOTALL))
    for job in PAGE.split("\n## ")[1:]
}
INVOICE = ROOT / "fixtures/inbox/RE-2024-00482.pdf"
PRODUCTS = "sku,description\nA,Waterproof to 8000 mm\nB,Comes as a gift\n"


def lines(code: str) -> int:
    """Lines that are neither blank nor a comment."""
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") for line in code.splitlines()
    )


def answered(seen: Seen) -> Answer:
    """What the documents of the three jobs say."""
    asked = seen.config["responseJsonSchema"]["properties"]
    data: dict[str, Any] = {"number": "RE-2024-00482", "total": 2558.5}
    if "labels" in asked:
        data = {"labels": ["gift"] if "gift\n" in seen.text else ["waterproof"]}
    elif "label" in asked:
        data = {"label": "other" if "Soup" in seen.text else "invoice"}
    return answer_from(seen, {"": data | ({"_quotes": []} if "_quotes" in asked else {})})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "invoice.pdf").write_bytes(INVOICE.read_bytes())
    (tmp_path / "inbox/bill.pdf").write_bytes(INVOICE.read_bytes())
    (tmp_path / "inbox/menu.txt").write_text("Soup of the day, bread, an apple\n")
    (tmp_path / "products.csv").write_text(PRODUCTS)
    monkeypatch.chdir(tmp_path)
    with Server(answered) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "canary")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        yield tmp_path


@pytest.mark.parametrize("job", BLOCKS)
def test_our_code_does_the_job(job: str, folder: Path) -> None:
    made: dict[str, Any] = {}
    exec(compile(BLOCKS[job]["fieldsift"], job, "exec"), made)
    found = {path.relative_to(folder / "out").as_posix() for path in folder.glob("out/[!.r]*/*")}
    if "model" in job:
        assert made["invoice"].number == "RE-2024-00482"
    elif "row" in job:
        assert '["gift"]' in Path("out/tags/products.csv.jsonl").read_text().splitlines()[1]
    else:
        assert found == {"kind/bill.pdf.json", "kind/menu.txt.json", "invoice/bill.pdf.json"}


@pytest.mark.parametrize("job", BLOCKS)
def test_the_table_says_what_was_counted(job: str) -> None:
    [row] = [line for line in PAGE.splitlines() if line.lower().startswith(f"| {job} |")]
    assert [int(each) for each in row.split("|")[2:-1]] == [
        lines(BLOCKS[job][name]) for name in LIBRARIES
    ]
    assert tuple(BLOCKS[job]) == LIBRARIES
    for code in BLOCKS[job].values():
        compile(code, job, "exec")
        assert max(map(len, code.splitlines())) <= 100
