"""A window of a document in the forms that an endpoint takes: pages as text, cut out of a PDF, or as pictures.

Google's own services take PDFs, pictures, sound and film as they are. Gateways and local servers are of
all kinds; the catalogue says of each what it takes (`pdf`, `sees`, `hears`). `windows/forms.py` decides.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final, TypeVar

from pipeline.document import Document, Part, PartKind, Window
from pipeline.errors import LoadError, ReplyError
from pipeline.loaders import Loaders, sniff
from pipeline.prompts.printed import as_text, filled_in
from pipeline.providers import Endpoint
from pipeline.stages import Stage
from pipeline.windows import seen_in
from pipeline.windows.forms import Form, form_of

T = TypeVar("T")

#: Dots per inch of drawn pages by media resolution. Print of 8 points is read well from 150 on (its small
#: letters are then 8 dots high); services scale pictures down to their own sizes for `low`.
_DPI: Final = {"low": 100, "medium": 150, "high": 200}
_PLAIN_DPI: Final = 150
#: Pages that are drawn, and runs of pages that are cut, at a time for one document.
_AT_A_TIME: Final = 4


async def fitted(
    document: Document, window: Window, endpoint: Endpoint, loaders: Loaders, stage: Stage
) -> Document:
    """The document with parts for the pages of a window, as the endpoint takes them.

    Of a PDF each page goes in the form that `forms.form_of` says: text, laid out as it is printed; a page
    of a PDF, cut out with its neighbours of that form (all pages: the file itself); or a picture. Where a
    PDF can't be cut its pages go as pictures. What is filled in on a form is said beside its look. Other
    files go as they are, as far as the window shows them.

    Args:
        document: with the words that are known of its pages.
        window: the pages that are sent.
        endpoint: who will be asked.
        loaders: they cut and draw, in child processes.
        stage: its `send` and `media_resolution` say in which form, and how finely.

    Raises:
        LoadError: `unsupported`: the endpoint can't take this kind at all; `needs_ocr`: it takes text
            alone, and no words are known of any page; or a page can't be cut or drawn, which is then named.
        ReplyError: `too_large`: more pictures than the service takes.
        SetupError: no child process can be started.

    """
    if endpoint.service.wire == "local":  # it reads pages, not parts
        return seen_in(window, document)
    sending = _Sending(document, window, endpoint, loaders, stage)
    parts = tuple([fit for part in document.parts for fit in await sending.fit(part)])
    if not document.has_text and all(p.kind == "text" and not p.text.strip() for p in parts):
        raise LoadError(
            "needs_ocr",
            f"{endpoint.name} is sent text alone, and no words are known of this document: "
            f"pip install 'fieldsift[local]' recognises them, or take a model that sees",
        )
    return document if parts == document.parts else replace(document, parts=parts)


class _Sending:
    """One window of a document on its way to one endpoint."""

    def __init__(
        self,
        document: Document,
        window: Window,
        endpoint: Endpoint,
        loaders: Loaders,
        stage: Stage,
    ) -> None:
        self.pages = {page.number: page for page in document.pages}
        self.shown = frozenset(window.shown)
        self.endpoint = endpoint
        self.service = endpoint.service
        self.loaders = loaders
        self.stage = stage
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def fit(self, part: Part) -> list[Part]:
        """What goes of a part, as one or several."""
        first, last = part.pages
        numbers = [number for number in range(first, last + 1) if number in self.shown]
        if not numbers:
            return []
        if part.kind == "pdf":
            return await self._pdf(part, numbers)
        takes = {
            "text": True,
            "image": self.service.sees and self.stage.send != "text",
            "audio": self.service.hears,
            "video": self.service.wire == "gemini",
        }
        if takes[part.kind]:
            return [part]
        if part.kind == "image":
            return [self._text(number) for number in numbers]
        what = "sound" if part.kind == "audio" else "film"
        raise LoadError(
            "unsupported",
            f"{self.endpoint.name} takes no {what}: give its transcript as text, "
            f"or take a Gemini model on its own wire (gemini:MODEL)",
        )

    async def _pdf(self, part: Part, numbers: Sequence[int]) -> list[Part]:
        forms: dict[int, Form] = {
            n: form_of(self.pages.get(n), self.stage, self.service) for n in numbers
        }
        self._refuse_forms(set(forms.values()))
        self._refuse_too_many([*forms.values()].count("image"))
        runs = [
            piece
            for _, run in groupby(numbers, forms.__getitem__)
            for piece in _consecutive(forms, run)
        ]
        return [each for made in await _all(self._run(part, *run) for run in runs) for each in made]

    def _refuse_forms(self, forms: set[Form]) -> None:
        """The user may have named a form that this endpoint does not take.

        Raises:
            LoadError: `unsupported`.

        """
        lacking = {"pdf"} if self.service.pdf != "file" else set()
        lacking |= set() if self.service.sees else {"image"}
        if forms & lacking:
            raise LoadError(
                "unsupported",
                f'{self.endpoint.name} does not take pages in the form that send = "{self.stage.send}" asks for',
            )

    def _refuse_too_many(self, count: int) -> None:
        most = self.service.images
        if most is not None and count > most:
            raise ReplyError(
                "too_large",
                f"{count:,} pages go as pictures, and {self.endpoint.provider} takes at most {most:,} "
                f"in a request; split the document, or send fewer pages",
            )

    async def _run(self, part: Part, form: Form, numbers: Sequence[int]) -> list[Part]:
        """Pages that stand behind one another, in one form."""
        if form == "text":
            return [self._text(number) for number in numbers]
        if form == "pdf":
            shown = await self._cut(part, numbers)
        else:
            shown = await self._draw(part, numbers)
        told = [
            (number, filled_in(self.pages[number])) for number in numbers if number in self.pages
        ]
        return [*shown, *(_as_text(text, number) for number, text in told if text)]

    async def _cut(self, part: Part, numbers: Sequence[int]) -> list[Part]:
        """One PDF of the pages: the file itself where it has no others."""
        first, last = numbers[0], numbers[-1]
        if (first, last) == part.pages:
            return [part]
        try:
            async with self._slots:
                data = await self.loaders.cut(part.data, numbers)
        except LoadError as error:
            if self.service.sees and self.stage.send == "auto":
                return await self._draw(part, numbers)
            told = f"pages {first} to {last} can't be cut out of it: {error}"
            raise LoadError(error.reason, told) from error
        return [_file("pdf", "application/pdf", data, (first, last))]

    async def _draw(self, part: Part, numbers: Iterable[int]) -> list[Part]:
        return await _all(self._picture(part.data, number) for number in numbers)

    async def _picture(self, content: bytes, number: int) -> Part:
        dpi = _DPI.get(self.stage.media_resolution or "", _PLAIN_DPI)
        try:
            async with self._slots:
                data = await self.loaders.draw(content, number, dpi, small=True)
        except LoadError as error:
            told = f"page {number} can't be drawn, as {self.endpoint.name} needs it: {error}"
            raise LoadError(error.reason, told) from error
        return _file("image", sniff(data), data, (number, number))

    def _text(self, number: int) -> Part:
        page = self.pages.get(number)
        return _as_text(as_text(page) if page else "", number)


async def _all(steps: Iterable[Awaitable[T]]) -> list[T]:
    """All of them at the same time; where one fails, the others end."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _consecutive(forms: Mapping[int, Form], numbers: Iterable[int]) -> list[tuple[Form, list[int]]]:
    """Runs of pages without a gap, for a window may leave pages out."""
    runs: list[tuple[Form, list[int]]] = []
    for number in numbers:
        if runs and runs[-1][1][-1] == number - 1:
            runs[-1][1].append(number)
        else:
            runs.append((forms[number], [number]))
    return runs


def _file(kind: PartKind, media_type: str, data: bytes, pages: tuple[int, int]) -> Part:
    digest = hashlib.sha256(data).hexdigest()
    return Part(kind, media_type, data=data, sha256=digest, pages=pages)


def _as_text(text: str, number: int) -> Part:
    return Part("text", "text/plain", text=text, pages=(number, number))
