"""In which form each page goes to an endpoint, and what that takes: text, a page of a PDF, or a picture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.catalogue import Service
from pipeline.document import Document, Page, Part
from pipeline.prompts.printed import as_text, filled_in
from pipeline.stages import Stage
from pipeline.values.tokens import text_tokens

Form = Literal["text", "pdf", "image"]

#: A page of which more than this share lies under pictures and drawings doesn't go as text: a hundredth of
#: A4 is a small logo, which can be the only place that names the sender.
_PICTURED: Final = 0.01
#: The same where so many of its characters have no meaning.
_UNREADABLE: Final = 0.005
_UNKNOWN: Final = "\ufffd"
#: Tokens of a page or picture where a service's table does not say it, and at the most where that names the
#: dearest of all its models: Gemini's figure for a picture.
_SEEN: Final = 1120
#: The mark that announces a page.
_MARK: Final = 16
#: Bytes of a page that is drawn, until it is: a scan at 150 dots per inch.
_DRAWN: Final = 500_000


@dataclass(frozen=True, slots=True)
class Shown:
    """One page as it goes to an endpoint: tokens and bytes are estimates."""

    number: int
    form: Form
    tokens: int
    size: int


def shown(document: Document, stage: Stage, service: Service) -> tuple[Shown, ...]:
    """All pages of a document in the forms in which they go to a service."""
    pages = {page.number: page for page in document.pages}
    own = None if document.numbers is None else frozenset(document.numbers)
    return tuple(
        each
        for part in document.parts
        for each in _of_part(part, pages, stage, service)
        if own is None or each.number in own
    )


def is_whole(page: Page) -> bool:
    """Whether the text of a page holds what is seen on it, as far as that can be told."""
    return (
        not page.is_blind
        and page.pictured <= _PICTURED
        and page.text.count(_UNKNOWN) <= _UNREADABLE * len(page.text)
    )


def form_of(page: Page | None, stage: Stage, service: Service) -> Form:
    """The form in which a page of a PDF goes: the user's (`send`), else the cheapest that keeps the content.

    Of forms that take as many tokens a page of a PDF goes before a picture, and that before text.
    """
    return _chosen(page, stage, service)[0]


def _chosen(page: Page | None, stage: Stage, service: Service) -> tuple[Form, int]:
    """The form of a page, and about how many tokens it takes, what is filled in on it included."""
    seen: dict[Form, int] = dict(_seen(stage, service))
    if stage.send == "pdf" or stage.send == "image":  # noqa: PLR1714, so that the type is known
        seen = {stage.send: seen.get(stage.send, _SEEN)}
    told = text_tokens(filled_in(page)) if page else 0
    look = min(seen, key=lambda form: seen[form], default=None)
    if stage.send == "text" or look is None:
        return "text", text_tokens(as_text(page)) if page else 0
    always = service.pdf == "text"
    if page and stage.send == "auto" and (not page.is_blind if always else is_whole(page)):
        text = text_tokens(as_text(page))
        if always or text < seen[look] + told:
            return "text", text
    return look, seen[look] + told


def _seen(stage: Stage, service: Service) -> Iterator[tuple[Form, int]]:
    """The forms with a look that a service takes, and the tokens of a page in them."""
    resolution = stage.media_resolution or "default"
    if service.pdf == "file":
        yield "pdf", min((service.page_tokens or {}).get(resolution, _SEEN), _SEEN)
    if service.sees:
        yield "image", min((service.image_tokens or {}).get(resolution, _SEEN), _SEEN)


def _of_part(
    part: Part, pages: Mapping[int, Page], stage: Stage, service: Service
) -> Iterator[Shown]:
    first, last = part.pages
    for number in range(first, last + 1):
        page = pages.get(number)
        size = len(part.text) or len(part.data) // (last + 1 - first)
        if part.kind == "pdf":
            form, tokens = _chosen(page, stage, service)
            size = {"text": len(page.text) if page else 0, "image": _DRAWN}.get(form, size)
        elif part.kind == "image" and service.sees and stage.send != "text":
            form, tokens = "image", dict(_seen(stage, service))["image"]
        elif part.kind == "image":
            form, tokens = "text", text_tokens(page.text) if page else 0
        else:  # sound and film are as long as they are: they can't be cut
            form, tokens = "text", text_tokens(part.text)
        yield Shown(number, form, tokens + _MARK, size)
