"""Translations: what is asked, what an answer says, what it leaves open, and all answers as one text or one structure.

A document is asked about in windows of whole pages; no page is shown twice, and what stands right before and behind is told
as words. A page whose answer does not come to its end goes in parts of its text. Fields of earlier results go as lists
of texts (see `texts.py`). What is missing is asked again, in smaller pieces, and stays missing else: nothing is made up.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from pipeline.document import Document, Page, Window
from pipeline.prompts import Ask, limit_of, most_output, translating
from pipeline.prompts.printed import as_text
from pipeline.providers import Endpoint
from pipeline.results import Finding, at
from pipeline.schema import Schema
from pipeline.stages import Stage
from pipeline.stages.translating import same_language
from pipeline.validators.keep import differences
from pipeline.validators.messages import shown
from pipeline.values.pages import spans
from pipeline.values.tokens import text_tokens
from pipeline.windows import texts
from pipeline.windows.forms import is_whole
from pipeline.windows.pieces import Doubt, Lost, Merged, Piece

#: Questions about the same text after one that lacked some of it, and after one that was cut short.
_AGAIN, _AGAIN_CUT = 3, 7
#: Characters of a text that is not cut any more.
_SMALLEST: Final = 600
#: Characters of the text before and behind a window that are told.
_AROUND: Final = 300
#: A translation with a smaller share of its source's tokens has lost text; so has one with fewer of both tokens and lines.
#: Of the languages that are set shortest, some take half of another's tokens.
_LEAST, _LEAST_OF_BOTH, _LEAST_LINES = 0.25, 0.6, 0.75
#: Tokens, and lines, from which on shares say something.
_MANY, _SEVERAL = 40, 4
#: How far the numbers of lines of a text and its translation may be apart without a word.
_APART: Final = 0.1
#: Letters of words that begin in lower case from which on a text is one that a translation changes: names are none.
_PROSE: Final = 12
_JOIN: Final = "\n\n"


# what is asked ----------------------------------------------------------------------------


def asks_of_pages(stage: Stage, document: Document, windows: Sequence[Window]) -> tuple[Ask, ...]:
    """The first questions about the pages of a document, one for each window."""
    count = len(windows)
    return tuple(
        _of_pages(stage, document, window, f"window {number} of {count}" if count > 1 else "first")
        for number, window in enumerate(windows, 1)
    )


def asks_of_fields(
    stage: Stage, document: Document, endpoints: Sequence[Endpoint]
) -> tuple[Ask, ...]:
    """The first questions about the texts of earlier results; none where there are no texts."""
    most = min(most_output(stage, endpoint) for endpoint in endpoints) // 3
    window = Window(tuple(page.number for page in document.pages))
    found = list(texts.lists(texts.first_places(texts.data_of(document)), max(1, most)))
    return tuple(
        _of_texts(
            stage, window, each, f"list {number} of {len(found)}" if len(found) > 1 else "first"
        )
        for number, each in enumerate(found, 1)
    )


def asked_anew(stage: Stage, document: Document, asks: Sequence[Ask]) -> Iterator[Ask]:
    """Questions about the same texts as these, as if nobody had asked for them yet; lists together."""
    listed: dict[str, str] = {}
    for ask in asks:
        if ask.fields:
            sent = texts.sent_texts(ask.text)
            listed |= {sent[key]: pointer for key, pointer in ask.fields}
        elif ask.text:
            yield _of_part(stage, Ask(ask.window, ask.schema), ask.text, ask.start)
        else:
            yield _of_pages(stage, document, ask.window, "")
    for each in texts.lists(listed, texts.MOST):
        yield _of_texts(stage, asks[0].window, each, "")


def _of_pages(stage: Stage, document: Document, window: Window, why: str) -> Ask:
    source = _text_of(document, window)
    around = _around(document, window)
    words = _words(stage, source, around, may_be_null=_is_known(document, window))
    return Ask(window, _answer(stage.source_language is None), words=words, why=why)


def _of_part(stage: Stage, ask: Ask, text: str, start: int) -> Ask:
    words = _words(stage, text, {}, may_be_null=True)
    schema = _answer(stage.source_language is None)
    return replace(ask, schema=schema, words=words, text=text, start=start)


def _of_texts(stage: Stage, window: Window, listed: Sequence[tuple[str, str]], why: str) -> Ask:
    fields, sent = texts.keyed(listed)
    words = translating.of_terms(translating.terms(stage, sent))
    return Ask(window, texts.ANSWER, fields, words, why, text=sent)


def _words(stage: Stage, source: str, around: Mapping[str, str], *, may_be_null: bool) -> str:
    told = [
        translating.unchanged(stage, null=may_be_null),
        translating.of_terms(translating.terms(stage, source)),
    ]
    if around:
        what = "The text goes on before or behind what you are shown. This is there for understanding alone; leave it out."
        told.append(translating.fenced(what, around))
    return "\n".join(filter(None, told))


@cache
def _answer(with_language: bool) -> Schema:
    null = {"type": ["string", "null"]}
    properties = {"text": null} | ({"source_language": null} if with_language else {})
    return Schema.of(
        {
            "title": "translation",
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )


def _pages(document: Document, window: Window) -> list[Page]:
    shown = set(window.pages)
    return [page for page in document.pages if page.number in shown]


def _text_of(document: Document, window: Window) -> str:
    """The text of a window's pages, as they are sent as text."""
    return _JOIN.join(text for page in _pages(document, window) if (text := as_text(page).strip()))


def _is_known(document: Document, window: Window) -> bool:
    """Whether all that stands on a window's pages is known as text that needn't be recognised."""
    pages = _pages(document, window)
    return len(pages) == len(window.pages) and all(is_whole(p) and not p.reader for p in pages)


def _around(document: Document, window: Window) -> dict[str, str]:
    """The end of the text before a window, and the beginning of that behind it."""
    pages = {page.number: page for page in document.pages}
    before, behind = pages.get(window.pages[0] - 1), pages.get(window.pages[-1] + 1)
    told = {
        "before": as_text(before).strip()[-_AROUND:] if before else "",
        "behind": as_text(behind).strip()[:_AROUND] if behind else "",
    }
    return {name: text for name, text in told.items() if text}


# what an answer says ----------------------------------------------------------------------


def said(ask: Ask, stage: Stage, document: Document, data: Any, cut: Lost | None) -> Piece | Lost:
    """What an answer says: a text with the language before it, or of a list the translations by the pointers of its texts.

    `cut` says that it was cut off: of a list, what is whole counts. Of what was not cut off and lacks text the cut
    is `text_missing`.
    """
    if ask.fields:
        return _listed(ask, texts.answered(ask.fields, data), cut)
    if cut is not None:
        return cut
    text = data.get("text", "") if isinstance(data, dict) else ""
    language = data.get("source_language") if isinstance(data, dict) else None
    language = stage.source_language or (language if isinstance(language, str) else None)
    if not isinstance(text, str | None):
        return Lost(ask, "failed", "not_json", f"the translation is {shown(text)}, and no text")
    source = ask.text or _text_of(document, ask.window)
    is_own = text is None
    if text is None:
        is_there = language is not None and same_language(language, str(stage.to))
        if not is_there or not (ask.text or _is_known(document, ask.window)):
            return Lost(ask, "truncated", "text_missing", "the answer holds no translation")
        text = source
    text = _without_marks(text, document).strip()
    if not is_own and _is_short(source, text, _is_known(document, ask.window)):
        told = f"the translation of {spans(ask.window.pages)} lacks text: it has {_sizes(source, text)}"
        return Lost(ask, "truncated", "text_missing", told)
    return Piece(ask, {"text": text, "language": language, "own": is_own}, (), ask.window.pages)


def _listed(ask: Ask, found: Mapping[str, str], cut: Lost | None) -> Piece | Lost:
    missing = [(key, pointer) for key, pointer in ask.fields if pointer not in found]
    if not missing:
        return Piece(ask, dict(found), (), ask.window.pages)
    keys = ", ".join(key for key, _ in missing[:5])
    told = f"{len(missing)} of {len(ask.fields)} texts came back without a translation, or with two ({keys})"
    open_ = cut or Lost(ask, "truncated", "text_missing", told)
    open_ = replace(open_, ask=_narrowed(ask, {pointer for _, pointer in missing}))
    return Piece(ask, dict(found), (), (), open_) if found else open_


def _narrowed(ask: Ask, pointers: "set[str]") -> Ask:
    """The question about some of its texts, under new keys."""
    sent = texts.sent_texts(ask.text)
    kept = [(pointer, sent[key]) for key, pointer in ask.fields if pointer in pointers]
    fields, text = texts.keyed(kept)
    return replace(ask, fields=fields, text=text)


def _without_marks(text: str, document: Document) -> str:
    """A translation without the marks of pages, where a model took them for text."""
    key = re.escape(document.sha256[24:32])
    return re.sub(rf"<[^<>\n]{{1,40}} {key}>\n?", "", text) if key else text


def _is_short(source: str, text: str, is_known: bool) -> bool:
    """Whether a translation has so little text, or text and lines, that some was lost."""
    before, after = (text_tokens(" ".join(each.split())) for each in (source, text))
    if before < _MANY:
        return not text and any(map(str.isalpha, source))
    lines, kept = (_lines(each) for each in (source, text))
    few = is_known and lines >= _SEVERAL and kept < _LEAST_LINES * lines
    return after < (_LEAST_OF_BOTH if few else _LEAST) * before


def _sizes(source: str, text: str) -> str:
    return f"{_lines(text):,} of {_lines(source):,} lines, {len(text):,} characters for {len(source):,}"


def _lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())


# what it leaves open ----------------------------------------------------------------------


def rest(stage: Stage, document: Document, lost: Lost, endpoint: Endpoint) -> tuple[Ask, ...]:
    """The questions about what an answer leaves open, in smaller pieces; none where it was asked often enough."""
    if lost.status != "truncated" and lost.reason != "doubled_key":
        return ()
    ask = lost.ask
    is_cut = lost.reason not in {"text_missing", "doubled_key"}
    if ask.again >= (_AGAIN_CUT if is_cut else _AGAIN):
        return ()
    ask = replace(
        ask, again=ask.again + 1, why=f"{'cut short' if is_cut else 'missing'}: {_what(ask)} again"
    )
    if not is_cut and ask.fields and ask.again == 1:
        return (ask,)  # few of many, or all of a damaged answer: once more as they are
    limit, most = limit_of(stage, ask, document, endpoint), most_output(stage, endpoint)
    is_one = len(ask.fields or ask.window.pages) == 1
    if is_cut and is_one and not lost.ask.again and limit < most:
        return (replace(ask, limit=most),)  # thinking may have taken all of it
    return tuple(_shares(stage, document, ask))


def _shares(stage: Stage, document: Document, ask: Ask) -> list[Ask]:
    """A question in two: of texts, pages, or the text of one page; none where it can't be less."""
    ask = replace(ask, limit=None)
    if ask.fields:
        half = len(ask.fields) // 2
        pointers = [pointer for _, pointer in ask.fields]
        sides = (set(pointers[:half]), set(pointers[half:])) if half else ()
        return [_narrowed(ask, side) for side in sides]
    pages = ask.window.pages
    if len(pages) > 1:
        half = len(pages) // 2
        windows = (Window(pages[:half]), Window(pages[half:]))
        return [_of_pages(stage, document, each, ask.why) for each in windows]
    return (
        _halves(stage, ask, ask.text or _text_of(document, ask.window))
        if (ask.text or _is_known(document, ask.window))
        else []
    )


def _halves(stage: Stage, ask: Ask, whole: str) -> list[Ask]:
    """A text in two, cut where a paragraph, line, sentence or word ends."""
    if len(whole) < 2 * _SMALLEST:
        return []
    middle = len(whole) // 2
    borders = (whole.rfind(sign, middle // 2, middle) for sign in ("\n\n", "\n", ". ", " "))
    place = next((found + 1 for found in borders if found > 0), middle)
    made = []
    for start, end in ((0, place), (place, len(whole))):
        text = whole[start:end]
        begin = ask.start + start + len(text) - len(text.lstrip())
        if text := text.strip():
            made.append(_of_part(stage, ask, text, begin))
    return made


def _what(ask: Ask) -> str:
    return f"{len(ask.fields)} texts" if ask.fields else spans(ask.window.pages)


# all answers together ---------------------------------------------------------------------


def merged(stage: Stage, document: Document, pieces: Sequence[Piece]) -> Merged:
    """One translation of all pieces, the newest of each question, and what of it does not keep what it must."""
    return (
        _of_structure(stage, document, pieces)
        if stage.fields
        else _of_document(stage, document, pieces)
    )


def _of_document(stage: Stage, document: Document, pieces: Sequence[Piece]) -> Merged:
    newest = {(each.ask.window.pages, each.ask.start, each.ask.text): each for each in pieces}
    ordered = sorted(newest.values(), key=lambda each: (each.ask.window.pages[0], each.ask.start))
    languages = Counter[str]()
    for each in ordered:
        if each.data["language"]:
            languages[each.data["language"]] += len(each.data["text"])
    language = languages.most_common(1)[0][0] if languages else None
    found = [doubt for each in ordered for doubt in _doubts(stage, document, each)]
    data = {"text": _joined(document, ordered), "source_language": language}
    notes = [each.finding for each in found if each.finding.severity == "warning"]
    if own := [page for each in ordered if each.data["own"] for page in each.ask.window.pages]:
        told = f"{spans(tuple(dict.fromkeys(own)))}: in {stage.to} already, by what the model says, and taken as it stands"
        notes.append(Finding("already_translated", "/text", told, "warning"))
    doubts = tuple(each for each in found if each.finding.severity == "error")
    return Merged(data, (), doubts, tuple(dict.fromkeys(notes)))


def _joined(document: Document, ordered: Sequence[Piece]) -> str:
    """The translations in their order, parts of one page with what stands between them there."""
    text, last = "", None
    for each in ordered:
        between = _JOIN if text else ""
        if last is not None and each.ask.text and last.ask.window == each.ask.window:
            source = _text_of(document, each.ask.window)
            gap = source[last.ask.start + len(last.ask.text) : each.ask.start]
            between = gap if gap and not gap.strip() else between
        text += between + each.data["text"]
        last = each
    return text


def _doubts(stage: Stage, document: Document, piece: Piece) -> Iterator[Doubt]:
    """What the translation of a window does not keep; where the window is one of several, its pages are named."""
    if piece.data["own"]:
        return
    ask, target = piece.ask, piece.data["text"]
    pages = _pages(document, ask.window)
    source = ask.text or _text_of(document, ask.window)
    where = f"{spans(ask.window.pages)}: " if document.page_count > 1 else ""
    same = _as_it_was(stage, source, target, piece.data["language"])
    for finding in (*same, *_kept(stage, pages, source, target)):
        yield Doubt(
            replace(finding, message=f"{where}{finding.message}"), ask.window.pages, ask=ask
        )
    lines, own = _lines(source), _lines(target)
    is_text = all(not page.width and not page.is_blind for page in pages)
    if is_text and abs(lines - own) > max(1, _APART * lines):
        told = f"{where}the translation has {own:,} lines, the text {lines:,}"
        yield Doubt(Finding("lines_differ", "/text", told, "warning"), ask.window.pages)


def kept(stage: Stage, document: Document, data: Any) -> Iterator[Finding]:
    """What a whole translation does not keep of its document: the check for results that lie there."""
    if stage.fields:
        source = texts.data_of(document)
        pairs: dict[str, tuple[str, str]] = {}
        for pointer, text in texts.texts_of(source):
            try:
                translation = at(data, pointer)
            except (LookupError, TypeError, ValueError):
                told = f"{shown(text)} has no translation"
                yield Finding("text_missing", pointer, told)
                continue
            if isinstance(translation, str):
                pairs[pointer] = text, translation
                yield from _kept_of(stage, pointer, text, translation)
        yield from _most_as_they_were(stage, pairs)
    elif isinstance(data, dict) and isinstance(data.get("text"), str):
        window = Window(stage.pages_of(document))
        source, target = _text_of(document, window), data["text"]
        same = list(_as_it_was(stage, source, target, data.get("source_language")))
        yield from same
        if same or source != target:
            yield from _kept(stage, _pages(document, window), source, target)


def _as_it_was(stage: Stage, source: str, target: str, language: Any) -> Iterator[Finding]:
    """That a text came back as it was, although the answer says it is in another language."""
    if _is_other(language, str(stage.to)) and _is_same(source, target):
        told = f"the text came back as it was, in {language}, and not in {stage.to}"
        yield Finding("not_translated", "/text", told)


def _is_other(language: Any, to: str) -> bool:
    """Whether a language is surely not the one that is translated to; of a name, or a tag of another length, nothing is known."""
    if not isinstance(language, str) or language.lower() in {"und", "mul", "zxx", "mis"}:
        return False
    own, wanted = (tag.lower().partition("-")[0] for tag in (language, to))
    return len(own) == len(wanted) and own != wanted


def _is_same(source: str, target: str) -> bool:
    words = (word for word in re.findall(r"[^\W\d_]+", source) if not word[0].isupper())
    return source.split() == target.split() and sum(map(len, words)) >= _PROSE


def _most_as_they_were(stage: Stage, pairs: Mapping[str, tuple[str, str]]) -> Iterator[Finding]:
    """That most texts of fields came back as they were: wrong where their language is given, else they may be in the other already."""
    prose = [pointer for pointer, (text, _) in pairs.items() if _is_same(text, text)]
    same = [pointer for pointer in prose if _is_same(*pairs[pointer])]
    if 2 * len(same) <= len(prose):
        return
    if stage.source_language:
        told = f"the text came back as it was, in {stage.source_language}, and not in {stage.to}"
        yield from (Finding("not_translated", pointer, told) for pointer in same)
    else:
        told = f"{len(same)} of {len(prose)} texts came back as they were: in {stage.to} already, or not translated"
        yield Finding("not_translated", "", told, "warning")


def _kept(stage: Stage, pages: Sequence[Page], source: str, target: str) -> Iterator[Finding]:
    """As `_kept_of`, of pages: what was recognised on a picture is a warning, and what a picture may say is not added."""
    if stage.keep and any(page.is_blind for page in pages):
        told = f"whether {', '.join(stage.keep)} were kept is not checked: no words are known of {spans([p.number for p in pages if p.is_blind])}"
        yield Finding("keep_unchecked", "/text", told, "warning")
        return
    is_read = any(page.reader for page in pages)
    is_seen = all(is_whole(page) for page in pages)
    for finding in _kept_of(stage, "/text", source, target, with_added=is_seen):
        yield replace(finding, severity="warning") if is_read else finding


def _kept_of(
    stage: Stage, pointer: str, source: str, target: str, *, with_added: bool = True
) -> Iterator[Finding]:
    for each in differences(source, target, stage.keep):
        told = each if with_added else replace(each, added=())
        if told.missing or told.added:
            yield Finding(
                f"keep_{each.kind}", pointer, f"{each.kind} are not as in the text: {told}"
            )
    folded = target.casefold()
    for term, wanted in translating.terms(stage, source).items():
        if wanted.casefold() not in folded and re.search(
            rf"(?<!\w){re.escape(term)}(?!\w)", source, re.IGNORECASE
        ):
            told_ = f"{shown(term)} is to be {shown(wanted)}, which the translation does not hold"
            yield Finding("glossary", pointer, told_, "warning")


def _of_structure(stage: Stage, document: Document, pieces: Sequence[Piece]) -> Merged:
    data = texts.data_of(document)
    places = texts.first_places(data)
    sources = {pointer: text for text, pointer in places.items()}
    newest = {
        pointer: (text, piece)
        for piece in pieces
        for pointer, text in piece.data.items()
        if pointer in sources
    }
    pairs = {pointer: (sources[pointer], text) for pointer, (text, _) in newest.items()}
    same = {each.pointer: each for each in _most_as_they_were(stage, pairs)}
    doubts, notes = [], [each for pointer, each in same.items() if not pointer]
    for pointer, (text, piece) in newest.items():
        source = sources[pointer]
        found = [same[pointer]] if pointer in same else []
        found += _kept_of(stage, pointer, source, text)
        if _is_short(source, text, is_known=True):
            told = f"the translation lacks text: it has {_sizes(source, text)}"
            found.append(Finding("text_missing", pointer, told))
        notes += [each for each in found if each.severity == "warning"]
        wrong = [each for each in found if each.severity == "error"]
        ask = _narrowed(piece.ask, {pointer}) if wrong else piece.ask
        doubts += [Doubt(each, ask.window.pages, ask=ask) for each in wrong]
    translations = {
        text: newest[pointer][0] for text, pointer in places.items() if pointer in newest
    }
    return Merged(texts.filled(data, translations), (), tuple(doubts), tuple(notes))
