"""Answers that are cut off or never end: streams with the count of tokens in each event, and texts that loop."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.answers import Answer, Seen, generated

#: Bytes of a token, as the test server counts them.
A_TOKEN = 4
#: Characters of an event of a stream.
A_PIECE = 32
#: The longest answer of the cheap models.
LONGEST = 65_536
#: The schema of the bills.
BILLS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "number": {"type": ["string", "null"]},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"code": {"type": "string"}, "amount": {"type": "number"}},
            },
        },
    },
    "required": ["number", "lines"],
}


def looping(start: str, block: str, tokens: int = 65_000) -> str:
    """A text that begins so and then repeats a block until the limit."""
    room = tokens * A_TOKEN - len(start.encode())
    return start + (block * (room // len(block) + 1))[:room]


def stream(
    text: str, *, prompt: int = 100, finish: str | None = "STOP", a_piece: int = A_PIECE
) -> Answer:
    """A stream of Gemini as it comes: some characters an event, each with the tokens so far.

    `finish` None: the stream ends without saying that it is whole.
    """
    events = []
    for start in range(0, len(text), a_piece):
        content = {"role": "model", "parts": [{"text": text[start : start + a_piece]}]}
        usage = _usage(prompt, min(start + a_piece, len(text)) // A_TOKEN)
        events.append({"candidates": [{"content": content, "index": 0}], "usageMetadata": usage})
    if finish:
        usage = _usage(prompt, len(text) // A_TOKEN)
        events.append({"candidates": [{"finishReason": finish}], "usageMetadata": usage})
    told: list[dict[str, Any]] = [
        each | {"modelVersion": "gemini-3.1-flash-lite", "responseId": "r-1"} for each in events
    ]
    body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in told)
    return Answer(
        body=body, headers={"Content-Type": "text/event-stream"}, billed=True, fault="paced"
    )


def _usage(prompt: int, output: int) -> dict[str, int]:
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        "totalTokenCount": prompt + output,
    }


def rows_of(page: int, count: int = 8) -> list[dict[str, Any]]:
    """The rows that stand on a page: each code and amount stands nowhere else."""
    return [
        {"code": f"K-{page:03}{n:02}", "amount": page * 100 + n + 0.25} for n in range(1, count + 1)
    ]


def page_text(page: int, rows: list[dict[str, Any]]) -> str:
    """A page with these rows on it."""
    lines = [f"{row['code']}    {row['amount']:.2f}" for row in rows]
    return "\n".join(["Bill B-1", f"Sheet no. {page}", "Code    Amount", *lines, ""])


def pages_of(count: int) -> list[str]:
    """The pages of a bill."""
    return [page_text(n, rows_of(n)) for n in range(1, count + 1)]


def answer(rows: list[dict[str, Any]], number: str | None = "B-1") -> str:
    """The whole answer with these rows."""
    return json.dumps({"number": number, "lines": rows})


@dataclass
class Bill:
    """A server's model that reads a bill of many pages and answers rightly, as far as it comes.

    It writes at most `room` tokens, whatever it is allowed, and never a whole row of the pages of
    `stuck`. Asked for the first time about the page `loops_at`, or `loops_ever`, it repeats the row
    before that page until its limit. `cuts` ends the answers to the first questions after so many bytes. Books
    are kept: `asked` has the pages of each question, `written` the tokens of each answer.
    """

    pages: int
    rows: int = 8
    room: int = LONGEST
    stuck: tuple[int, ...] = ()
    loops_at: int = 0
    loops_ever: bool = False
    cuts: tuple[int, ...] = ()
    asked: list[tuple[int, ...]] = field(default_factory=list)
    written: list[int] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The document: pages between form feeds."""
        return "\f".join(page_text(n, self.of(n)) for n in range(1, self.pages + 1))

    @property
    def truth(self) -> dict[str, Any]:
        """What it says."""
        rows = [row for page in range(1, self.pages + 1) for row in self.of(page)]
        return {"number": "B-1", "lines": rows}

    def of(self, page: int) -> list[dict[str, Any]]:
        """The rows of a page."""
        return rows_of(page, self.rows)

    def __call__(self, seen: Seen) -> Answer:
        """The answer to a request."""
        told = re.search(r"Answer for pages? ([\d, -]+) alone", seen.text)
        pages = _numbers(told[1]) if told else tuple(range(1, self.pages + 1))
        text, finish = self._told(seen, pages, len(self.asked))
        self.asked.append(pages)
        self.written.append(len(text) // A_TOKEN)
        prompt = len(seen.text.encode()) // A_TOKEN
        if "streamGenerate" in seen.path:
            return stream(text, prompt=prompt, finish=finish)
        usage = {"promptTokenCount": prompt, "candidatesTokenCount": len(text) // A_TOKEN}
        return generated(text, usage=usage, finishReason=finish)

    def _told(self, seen: Seen, pages: tuple[int, ...], number: int) -> tuple[str, str]:
        limit = A_TOKEN * min(self.room, seen.config["maxOutputTokens"])
        rows = [row for page in pages for row in self.of(page)]
        if behind := re.search(r'never as an instruction: \{"code": "(K-\d+)"', seen.text):
            rows = [row for row in rows if row["code"] > behind[1]]
        whole = answer(rows)
        if self.loops_at in pages and (self.loops_ever or self.loops_at not in sum(self.asked, ())):
            row = json.dumps(self.of(max(1, self.loops_at - 1))[-1]) + ", "
            start = whole.partition(f'{{"code": "K-{self.loops_at:03}')[0]
            return looping(start, row, limit // A_TOKEN), "MAX_TOKENS"
        for page in self.stuck:
            if page in pages:
                limit = min(limit, whole.find(f'{{"code": "K-{page:03}') + 9)
        if number < len(self.cuts):
            limit = min(limit, self.cuts[number])
        return (whole, "STOP") if len(whole) <= limit else (whole[:limit], "MAX_TOKENS")


def _numbers(told: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in told.split(", "):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
