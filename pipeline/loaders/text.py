"""The loader for text: any encoding, line ends made line feeds; pages are what lies between form feeds, long ones cut."""

from collections.abc import Iterator
from typing import Final, Never

from pipeline.document import Part
from pipeline.errors import LoadError
from pipeline.loaders import wire
from pipeline.loaders.encodings import decode

#: Characters of a page at the most: some three pages of print, so that places are named and long texts
#: can be asked about page by page. A longer text is cut behind a paragraph, a line or a word, whichever
#: lies in the second half of that; the pages together are the text.
PAGE: Final = 8_000


def prepare() -> None:
    """Import what loading needs, before the limits are set."""
    import charset_normalizer  # noqa: F401, for the import alone


def load(content: bytes, media_type: str) -> wire.Reading:
    """Read a text; one part and one page for each piece between form feeds of up to `PAGE` characters.

    Raises:
        LoadError: `damaged` (broken in the encoding it is in), `unsupported` (no text in any
            encoding), `empty` (blanks alone), `too_large`.

    """
    text, guessed = decode(content)
    if "\0" in text:
        raise LoadError(
            "unsupported", "it holds zero bytes as no text does, so it is not read as one"
        )
    if not text.strip():
        raise LoadError("empty", "it holds nothing but blanks")
    if len(text) > wire.MAX_TEXT:
        raise LoadError(
            "too_large",
            f"{len(text):,} characters are more than the {wire.MAX_TEXT:,} that are read: split it",
        )
    pages = pages_of(text)
    if len(pages) > wire.MAX_PAGES:
        raise LoadError(
            "too_large",
            f"{len(pages):,} pages are more than the {wire.MAX_PAGES:,} that are read: split it",
        )
    warnings = [] if guessed is None else [f"its encoding was guessed from its letters: {guessed}"]
    return wire.Reading(
        sheets=[wire.Sheet(page) for page in pages],
        parts=[
            Part("text", media_type, text=page, pages=(n, n)) for n, page in enumerate(pages, 1)
        ],
        warnings=warnings,
        page_count=len(pages),
    )


def pages_of(text: str) -> list[str]:
    """A text as its pages."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\f")
    return [page for piece in text.split("\f") for page in _cut(piece)]


def _cut(text: str) -> Iterator[str]:
    """A text in pieces of up to PAGE characters."""
    start = 0
    while len(text) - start > PAGE:
        least, most = start + PAGE // 2, start + PAGE
        ends = (text.rfind(border, least, most) + len(border) for border in ("\n\n", "\n", " "))
        end = next((end for end in ends if end > least), most)
        yield text[start:end]
        start = end
    yield text[start:]


def picture(content: bytes, page: int, dpi: int, side: int) -> Never:
    """Refuse: a text has no look.

    Raises:
        LoadError: always, `unsupported`.

    """
    raise LoadError("unsupported", "a text has no pages that could be drawn")
