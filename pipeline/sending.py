"""A document in the forms that an endpoint takes: PDF pages as pictures or text, pictures as text.

Google's own services take PDFs, pictures, sound and film as they are. Gateways and local servers are of
all kinds; the catalogue says of each what it takes (`pdf`, `sees`, `hears`).
"""

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from pipeline.document import Document, FormField, Page, Part
from pipeline.errors import LoadError, ReplyError
from pipeline.loaders import Loaders, sniff
from pipeline.providers import Endpoint, Settings
from pipeline.stages import Stage

#: Dots per inch of drawn pages by media resolution. Print of 8 points is read well from 150 on (its small
#: letters are then 8 dots high); services scale pictures down to their own sizes for `low`.
_DPI: Final = {"low": 100, "medium": 150, "high": 200}
_PLAIN_DPI: Final = 150
#: Pages that are drawn at a time for one document.
_AT_A_TIME: Final = 4


async def fitted(
    document: Document, endpoint: Endpoint, loaders: Loaders, asked: Settings | Stage
) -> Document:
    """The document with parts that the endpoint takes; itself where it takes them as they are.

    A PDF becomes, by the service's `pdf`, a picture of each page, or a text of each; in a PDF that goes
    as text, pages whose words are not known are drawn for an endpoint that sees. What a page's text
    does not hold (check marks of forms) is said below it.

    Args:
        document: with the words that are known of its pages.
        endpoint: who will be asked.
        loaders: they draw, in child processes.
        asked: its `media_resolution` says how finely.

    Raises:
        LoadError: `unsupported`: the endpoint can't take this kind at all; `needs_ocr`: it takes text
            alone, and no words are known of any page; or a page can't be drawn, which is then named.
        ReplyError: `too_large`: more pictures than the service takes.
        SetupError: no child process can be started.

    """
    if endpoint.service.wire == "local":  # it reads pages, not parts
        return document
    drawing = _Drawing(
        document, endpoint, loaders, _DPI.get(asked.media_resolution or "", _PLAIN_DPI)
    )
    parts = tuple([fit for part in document.parts for fit in await drawing.fit(part)])
    if parts == document.parts:
        return document
    if all(part.kind == "text" and not part.text.strip() for part in parts):
        raise LoadError(
            "needs_ocr",
            f"{endpoint.name} reads text alone, and no words are known of this document: "
            f"pip install 'fieldsift[local]' recognises them, or take a model that sees",
        )
    return replace(document, parts=parts)


class _Drawing:
    """One document on its way to one endpoint."""

    def __init__(self, document: Document, endpoint: Endpoint, loaders: Loaders, dpi: int) -> None:
        self.pages = {page.number: page for page in document.pages}
        self.endpoint = endpoint
        self.service = endpoint.service
        self.loaders = loaders
        self.dpi = dpi
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def fit(self, part: Part) -> list[Part]:
        """A part as one or several that can go."""
        takes = {
            "text": True,
            "pdf": self.service.pdf == "file",
            "image": self.service.sees,
            "audio": self.service.hears,
            "video": self.service.wire == "gemini",
        }
        if takes[part.kind]:
            return [part]
        if part.kind in {"audio", "video"}:
            what = "sound" if part.kind == "audio" else "film"
            raise LoadError(
                "unsupported",
                f"{self.endpoint.name} takes no {what}: give its transcript as text, "
                f"or take a Gemini model on its own wire (gemini:MODEL)",
            )
        first, last = part.pages
        numbers = range(first, last + 1)
        drawn = [number for number in numbers if part.kind == "pdf" and self._is_drawn(number)]
        self._refuse_too_many(len(drawn))
        pictures = dict(zip(drawn, await self._draw(part, drawn), strict=True))
        return [pictures.get(number) or self._text(number) for number in numbers]

    def _is_drawn(self, number: int) -> bool:
        if not self.service.sees:
            return False
        page = self.pages.get(number)
        return self.service.pdf == "images" or page is None or page.is_blind

    def _refuse_too_many(self, count: int) -> None:
        most = self.service.images
        if most is not None and count > most:
            raise ReplyError(
                "too_large",
                f"{count:,} pages go as pictures, and {self.endpoint.provider} takes at most {most:,} "
                f"in a request; split the document, or send fewer pages",
            )

    async def _draw(self, part: Part, numbers: Iterable[int]) -> list[Part]:
        tasks = [asyncio.ensure_future(self._picture(part.data, number)) for number in numbers]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _picture(self, content: bytes, number: int) -> Part:
        try:
            async with self._slots:
                data = await self.loaders.draw(content, number, self.dpi, small=True)
        except LoadError as error:
            told = f"page {number} can't be drawn, as {self.endpoint.name} needs it: {error}"
            raise LoadError(error.reason, told) from error
        digest = hashlib.sha256(data).hexdigest()
        return Part("image", sniff(data), data=data, sha256=digest, pages=(number, number))

    def _text(self, number: int) -> Part:
        page = self.pages.get(number)
        text = "" if page is None else "\n".join([page.text, *_marks(page)])
        return Part("text", "text/plain", text=text, pages=(number, number))


def _marks(page: Page) -> list[str]:
    """The filled fields of a form that its text does not show: check marks, with what they stand for."""
    return [f"{_mark(field)} {field.label or field.name}" for field in page.fields if not field.end]


def _mark(field: FormField) -> str:
    if field.kind == "check":
        return "[x]" if field.value == "true" else "[ ]"
    return f"{field.value}:"
