"""A document cut at page borders into windows that a model can read at once and answer at once."""

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from pipeline.catalogue import Service
from pipeline.document import Document, Window
from pipeline.errors import ReplyError
from pipeline.grounding import with_quotes
from pipeline.prompts import THOUGHTS, Ask, along, most_output
from pipeline.prompts.length import fixed_of, has_rows, page_of
from pipeline.providers import Endpoint
from pipeline.results import Finding
from pipeline.schema import Schema
from pipeline.schema.nullable import nullable
from pipeline.stages import Stage
from pipeline.stages.tasks import WORDS
from pipeline.values.pages import spans
from pipeline.values.tokens import text_tokens
from pipeline.windows import translated
from pipeline.windows.forms import Shown, shown

#: Tokens of an answer with rows, at the most, as `length.py` counts them: each line that can be one is
#: a row. A judgement, not a measurement: the six pages of a long form stay one question. Models lose rows in long answers long before they reach a limit:
#: ExtractBench finds a recall of 26 % above 50 pages where the precision is 84 %, and 88 on short ones.
ANSWER: Final = 16_000
#: Tokens of pages that are read at once for rows: 50 pages of a PDF at Gemini's 560.
READ_FOR_ROWS: Final = 30_000
#: Tokens of a translation, at the most: some ten pages of print. Long answers lose paragraphs; a judgement, not a measurement.
TRANSLATED: Final = 8_000
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


def cut(stage: Stage, document: Document, *endpoints: Endpoint, beside: int = 0) -> tuple[Ask, ...]:
    """The first questions of a stage about a document, in the order of its pages.

    A document that fits is one question with the stage's own schema. Else each window owns some pages, and
    where the schema has rows, or borders between pages are asked for, it is shown the neighbours of those too; leaves of an
    extraction may be null there. A task that judges a document by its beginning gets one window of the first pages, and one that
    needs it whole is asked about it whole: `refuse_too_long` ends it. An engine that runs here reads all pages at once.

    Args:
        stage: its `pages` are the pages that are read at all; none of them there: no question. Nor is there one about
            the borders in a single page, where no label is asked for.
        document: the words of pages without text need not be known, and are not looked at.
        endpoints: who is asked, and who in its place: a window fits all of them.
        beside: tokens of what all documents of the stage are read beside.

    """
    numbers = stage.pages_of(document)
    if not numbers or (stage.task == "split" and not stage.labels and len(numbers) == 1):
        return ()
    long = WORDS[stage.task].long
    if endpoints[0].service.wire == "local" or long == "never":
        # An engine that runs here tells by itself where it read a value.
        return (Ask(Window(numbers), stage.schema),)
    if stage.task == "translate":
        return _of_translation(stage, document, numbers, endpoints)
    fits = [_Fit(stage, document, numbers, endpoint) for endpoint in endpoints]
    for fit in fits:
        fit.input -= beside
    if all(fit.takes_whole() for fit in fits):
        return (Ask(Window(numbers), schema_asked(stage)),)
    windows = _windows(numbers, fits, beside=fits[0].rows)
    if long == "first":
        return (Ask(next(windows), schema_asked(stage), why="first pages"),)
    schema = with_quotes(nullable(stage.schema)) if stage.by_leaf else stage.schema
    found = list(windows)
    return tuple(
        Ask(window, schema, why=f"window {at} of {len(found)}")
        for at, window in enumerate(found, 1)
    )


def _of_translation(
    stage: Stage, document: Document, numbers: tuple[int, ...], endpoints: Sequence[Endpoint]
) -> tuple[Ask, ...]:
    """The first questions of a translation: lists of texts, or windows without neighbours, whose text would come twice."""
    if stage.fields:
        return translated.asks_of_fields(stage, document, endpoints)
    fits = [_Fit(stage, document, numbers, endpoint) for endpoint in endpoints]
    windows = [Window(numbers)]
    if not all(fit.takes_whole() for fit in fits):
        windows = list(_windows(numbers, fits, beside=False))
    return translated.asks_of_pages(stage, document, windows)


def schema_asked(stage: Stage) -> Schema:
    """The schema that is sent with the first question about a document that fits one request."""
    return with_quotes(stage.schema) if stage.by_leaf else stage.schema


def refuse_too_long(stage: Stage, document: Document, endpoint: Endpoint) -> None:
    """End a task that needs a document whole, where it does not fit one request: nothing of it is left out in silence.

    Raises:
        ReplyError: `too_large`.

    """
    if WORDS[stage.task].long != "never" or endpoint.service.wire == "local":
        return
    numbers = stage.pages_of(document)
    fit = _Fit(stage, document, numbers, endpoint)
    if not fit.takes_whole():
        raise ReplyError(
            "too_large",
            f"{spans(numbers)} don't fit one request to {endpoint.name} (about {fit.tokens[-1]:,.0f} tokens), and the task "
            f"{stage.task} reads a document as a whole: choose pages, read it with an earlier stage and let "
            f"inputs name that in place of document, or split it",
        )


def left_out(stage: Stage, document: Document, windows: Sequence[Window]) -> Finding | None:
    """That a document was judged by its first pages, where no more of them went."""
    wanted = stage.pages_of(document)
    seen = {page for window in windows for page in window.pages}
    if WORDS[stage.task].long != "first" or not windows or seen.issuperset(wanted):
        return None
    told = (
        f"{spans(tuple(seen))} alone were read: more of the {len(wanted)} don't fit one request; "
        f"pages of the stage chooses which ones are"
    )
    return Finding("pages_left_out", "", told, "warning")


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
        #: Whether an answer grows with the pages, and loses what stands on them where they are many.
        self.rows = stage.task == "split" or (stage.by_leaf and has_rows(stage.schema))
        self.written = stage.task == "translate"
        self.fixed = fixed_of(stage)
        self.answers = _sums(page_of(stage, pages.get(number)) for number in numbers)
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
        self.input = room(given) - _asked(stage, document)
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
        if self.written and answer > TRANSLATED:
            return False
        if self.rows and (answer > ANSWER or read > READ_FOR_ROWS):
            return False
        if answer > self.output * safe or read > min(READ, self.input - answer):
            return False
        return all(sums[behind] - sums[first] <= limit * safe for sums, limit in self.counts)


def room(limit: int) -> int:
    """Tokens of a model's limit that are used: for what is asked, what goes along, and pages."""
    return int(limit * _SAFE) - _FRAME


def _sums(each: Iterator[float]) -> list[float]:
    """0, and the sums of the first, the first two, ..."""
    return [0, *accumulate(each)]


def _request_bytes(service: Service) -> int | None:
    """The bytes of a request, where files can't go apart from it."""
    limits = (service.inline_bytes, service.request_bytes)
    if service.file_bytes is not None:
        return None
    return min((limit for limit in limits if limit is not None), default=None)


def _asked(stage: Stage, document: Document) -> int:
    """Tokens of what is asked about each window, and of what goes along with it."""
    schema = json.dumps(stage.schema.body, ensure_ascii=False, separators=(",", ":"))
    return text_tokens(f"{stage.system}\n{stage.instructions}\n{schema}\n{along(document)}")
