"""A document cut at page borders into windows that a model can read at once and answer at once."""

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from pipeline.catalogue import Service
from pipeline.document import Document, Window
from pipeline.grounding import with_quotes
from pipeline.prompts import THOUGHTS, Ask, most_output
from pipeline.prompts.length import fixed_tokens, has_rows, page_tokens
from pipeline.providers import Endpoint
from pipeline.schema.nullable import nullable
from pipeline.stages import Stage
from pipeline.values.tokens import text_tokens
from pipeline.windows.forms import Shown, shown

#: Tokens of an answer with rows, at the most, as `length.py` counts them: each line that can be one is
#: a row. A judgement, not a measurement: the six pages of a long form stay one question. Models lose rows in long answers long before they reach a limit:
#: ExtractBench finds a recall of 26 % above 50 pages where the precision is 84 %, and 88 on short ones.
ANSWER: Final = 16_000
#: Tokens of pages that are read at once for rows: 50 pages of a PDF at Gemini's 560.
READ_FOR_ROWS: Final = 30_000
#: The same for schemas without rows, whose answers don't grow with the pages; beyond it some services
#: charge more, and attention to single places falls.
READ: Final = 200_000
#: What a model takes that nothing is known of: models of gateways have this or more.
UNKNOWN_INPUT: Final = 128_000
#: How much of a limit is used: tokens of a text are estimated, most within a sixth.
_SAFE: Final = 0.8
#: Tokens of a request around its prompt, its schema and the document.
_FRAME: Final = 500
#: Bytes as base64, against the bytes themselves.
_BASE64: Final = 4 / 3


def cut(stage: Stage, document: Document, *endpoints: Endpoint) -> tuple[Ask, ...]:
    """The first questions of a stage about a document, in the order of its pages.

    A document that fits is one question with the stage's own schema. Else each window owns some pages, and
    where the schema has rows it is shown the neighbours of those too; it is asked with a schema whose
    leaves may be null. An engine that runs here reads all pages at once.

    Args:
        stage: its `pages` are the pages that are read at all; none of them there: no question.
        document: the words of pages without text need not be known, and are not looked at.
        endpoints: who is asked, and who in its place: a window fits all of them.

    """
    numbers = stage.chosen(max(1, document.page_count))
    if not numbers:
        return ()
    if endpoints[0].service.wire == "local":
        # An engine that runs here tells by itself where it read a value.
        return (Ask(Window(numbers), stage.schema),)
    fits = [_Fit(stage, document, numbers, endpoint) for endpoint in endpoints]
    if all(fit.takes_whole() for fit in fits):
        return (Ask(Window(numbers), with_quotes(stage.schema)),)
    windows = list(_windows(numbers, fits, beside=has_rows(stage.schema)))
    schema = with_quotes(nullable(stage.schema))
    return tuple(
        Ask(window, schema, why=f"window {at} of {len(windows)}")
        for at, window in enumerate(windows, 1)
    )


def _windows(numbers: Sequence[int], fits: Sequence["_Fit"], *, beside: bool) -> Iterator[Window]:
    """As few windows as possible, each with as many pages as all fit; a page at the least."""
    start = 0
    while start < len(numbers):
        end = start + 1
        while end < len(numbers) and all(fit.takes(start, end + 1, beside) for fit in fits):
            end += 1
        context = tuple(
            numbers[at]
            for at in (start - 1, end)
            if beside and 0 <= at < len(numbers) and _touch(numbers, at, start, end)
        )
        yield Window(tuple(numbers[start:end]), context)
        start = end


def _touch(numbers: Sequence[int], at: int, start: int, end: int) -> bool:
    """Whether a page lies right before or behind others, where `pages` leaves some out."""
    return numbers[at] + 1 == numbers[start] if at < start else numbers[at] == numbers[end - 1] + 1


class _Fit:
    """What one endpoint takes of a document's pages in one request: sums over them, and its limits."""

    def __init__(
        self, stage: Stage, document: Document, numbers: Sequence[int], endpoint: Endpoint
    ) -> None:
        service, known = endpoint.service, endpoint.known
        each = {one.number: one for one in shown(document, stage, service)}
        pages = {page.number: page for page in document.pages}
        forms = [each.get(number, Shown(number, "text", 0, 0)) for number in numbers]
        self.rows = has_rows(stage.schema)
        self.fixed = fixed_tokens(stage.schema)
        self.answers = _sums(page_tokens(stage.schema, pages.get(number)) for number in numbers)
        self.tokens = _sums(one.tokens for one in forms)
        self.counts = [
            (_sums(of), limit)
            for of, limit in (
                ((one.form == "pdf" for one in forms), service.pdf_pages),
                ((one.form == "image" for one in forms), service.images),
                ((one.size * (one.form == "pdf") for one in forms), service.pdf_bytes),
                ((one.size * _BASE64 for one in forms), _request_bytes(service)),
            )
            if limit is not None
        ]
        given = (known.input_limit if known else None) or service.input_limit or UNKNOWN_INPUT
        self.input = int(given * _SAFE) - _FRAME - _asked(stage)
        self.output = max(1, most_output(stage, endpoint) - THOUGHTS[stage.thinking])

    def takes_whole(self) -> bool:
        """Whether all pages go at once."""
        return self._takes(0, len(self.tokens) - 1, 0, len(self.tokens) - 1, 1.0)

    def takes(self, start: int, end: int, beside: bool) -> bool:
        """Whether the pages from one place to another go at once, with their neighbours if they are shown."""
        last = len(self.tokens) - 1
        first, behind = (max(0, start - 1), min(last, end + 1)) if beside else (start, end)
        return self._takes(start, end, first, behind, _SAFE)

    def _takes(self, start: int, end: int, first: int, behind: int, safe: float) -> bool:
        answer = self.fixed + self.answers[end] - self.answers[start]
        read = self.tokens[behind] - self.tokens[first]
        if self.rows and (answer > ANSWER or read > READ_FOR_ROWS):
            return False
        if answer > self.output * safe or read > min(READ, self.input - answer):
            return False
        return all(sums[behind] - sums[first] <= limit * safe for sums, limit in self.counts)


def _sums(each: Iterator[float]) -> list[float]:
    """0, and the sums of the first, the first two, ..."""
    return [0, *accumulate(each)]


def _request_bytes(service: Service) -> int | None:
    """The bytes of a request, where files can't go apart from it."""
    limits = (service.inline_bytes, service.request_bytes)
    if service.file_bytes is not None:
        return None
    return min((limit for limit in limits if limit is not None), default=None)


def _asked(stage: Stage) -> int:
    """Tokens of what is asked about each window."""
    schema = json.dumps(stage.schema.body, ensure_ascii=False, separators=(",", ":"))
    return text_tokens(f"{stage.system}\n{stage.prompt}\n{schema}")
