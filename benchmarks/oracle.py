"""An answerer that knows the gold values, and quotes where it read them: what each form of hint would say and cost.

Where a value stands at several places it means the one nearest to the values of its row that stand once; else the one
whose line, or the line above, shares most words with the names in its pointer; else the first. What is not printed as
such (a choice, true or false, a text in other words) it read from the line that shares most words with value and name;
where no line shares one, it has nothing to quote.
"""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, Final

from labelled import Labelled

from pipeline.grounding import ground, take, with_quotes
from pipeline.grounding.hints import _QUOTES
from pipeline.grounding.index import Index, Place
from pipeline.grounding.reading import leaf, places
from pipeline.providers import Hint
from pipeline.results import EvidenceStatus, leaves
from pipeline.values import fold
from pipeline.values.tokens import text_tokens

#: none; a list for every leaf; for what the search leaves open: whole lines, few words, few words with one entry for
#: each item of a list, few words and none for items of lists, page numbers alone; `{value, quote}` in place of every value; a second question.
FORMS: Final = (
    "none",
    "all, lines",
    "open, lines",
    "open, words",
    "open, rows",
    "no lists",
    "open, pages",
    "inline",
    "second ask",
)
#: What a PDF page takes as input (Gemini 3 at the usual resolution), and instructions of a second question.
_PAGE: Final = 560
_WORDS_OF_ASK: Final = 150
_MOST_WORDS: Final = 12


class Oracle:
    """The answers about one document."""

    def __init__(self, each: Labelled) -> None:
        self.each = each
        self.index = Index(each.document)
        found = leaves(each.gold)
        self.values = {p: v for p, v in found if v is not None and not isinstance(v, dict | list)}
        self.count = len(self.values)
        self.answer = text_tokens(_json(each.gold))
        self.sure = {p: self._sure(p) for p in self.values}
        self.where = {p: self._place(p) for p in self.values}

    @cached_property
    def open(self) -> list[str]:
        """The leaves that the search alone neither verifies nor derives."""
        return [
            e.pointer
            for e in self._ground(())
            if e.pointer in self.values and e.status not in {"verified", "derived"}
        ]

    def hints(self, form: str) -> list[Hint]:
        """Hints with whole lines, for `all` leaves or the `open` ones."""
        chosen = self.values if form == "all" else self.open
        return [
            Hint(p, self.line(place), place.page + 1) for p in chosen if (place := self.where[p])
        ]

    def proofs(self, form: str) -> list[EvidenceStatus]:
        """What becomes of each leaf with the hints of a form."""
        if form == "open, pages":
            return self._by_page()
        proofs = self._ground(take({**self._root(), "_quotes": self.entries(form)}, self._asked)[1])
        return [e.status for e in proofs if e.pointer in self.values]

    def cost(self, form: str) -> tuple[int, int]:
        """Tokens that a form adds to the request and to the answer."""
        told = text_tokens(_json(self.entries(form)))
        if form == "none":
            return 0, 0
        if form == "inline":
            quoted = {p: self.line(place) if (place := self.where[p]) else "" for p in self.values}
            return text_tokens(
                '{"type":"object","properties":{"value":,"quote":{"type":"string"}}}'
            ) * len(list(self.each.schema.tree.leaves())), text_tokens(
                _json(_inlined(self.each.gold, quoted))
            ) - self.answer
        if form == "second ask":
            asked = text_tokens(_json({p: self.values[p] for p in self.open}))
            return _WORDS_OF_ASK + asked + _PAGE * len(self._pages_of_open()), told
        return text_tokens(_json(_QUOTES)), told

    def entries(self, form: str) -> list[dict[str, Any]]:
        """The list as the model writes it."""
        chosen = {"none": []}.get(
            form, self.values if form in {"all, lines", "inline"} else self.open
        )
        told = [
            (p, self.where[p])
            for p in chosen
            if form != "no lists" or not re.search(r"/\d+(?:/|$)", p)
        ]
        if form == "open, rows":
            return self._by_rows([(p, place) for p, place in told if place])
        if form == "open, pages":
            return [{"at": p, "page": place.page + 1} for p, place in told if place]
        quote = self.line if form in {"all, lines", "open, lines", "inline"} else self.words
        return [
            {"at": p, "page": place.page + 1, "quote": quote(place)} for p, place in told if place
        ]

    def _by_rows(self, told: Sequence[tuple[str, Place]]) -> list[dict[str, Any]]:
        """One entry for each item of a list and line; what stands alone as it is."""
        entries = []
        for row, group in groupby(told, lambda each: _row(each[0])):
            items = list(group)
            if row is None or len(items) == 1:
                entries += [{"at": p, "page": w.page + 1, "quote": self.words(w)} for p, w in items]
                continue
            lines: dict[Any, list[Place]] = {(w.page, self._line(w)): [] for _, w in items}
            for _, place in items:
                lines[place.page, self._line(place)].append(place)
            for (page, _), held in lines.items():
                whole = Place(page, min(w.start for w in held), max(w.end for w in held))
                entries.append({"at": row, "page": page + 1, "quote": self.words(whole)})
        return entries

    def _by_page(self) -> list[EvidenceStatus]:
        statuses = {e.pointer: e.status for e in self._ground(())}
        for pointer in self.open:
            place = self.where[pointer]
            here = [found for found in self.sure[pointer] if place and found.page == place.page]
            if len(here) == 1:
                statuses[pointer] = "verified"
        return [status for pointer, status in statuses.items() if pointer in self.values]

    def _ground(self, hints: Sequence[Hint]) -> Any:
        return ground(self.each.gold, self.each.schema, self.each.document, hints=hints)

    def _root(self) -> dict[str, Any]:
        return self.each.gold if isinstance(self.each.gold, dict) else {}

    @cached_property
    def _asked(self) -> Any:
        return with_quotes(self.each.schema)

    def _pages_of_open(self) -> set[int]:
        pages: set[int] = set()
        for pointer in self.open:
            found = {place.page for place in self.sure[pointer]}
            pages |= found or set(range(len(self.each.document.pages)))
        return pages

    def _sure(self, pointer: str) -> list[Place]:
        node = self.each.schema.tree.at(pointer)
        sure, loose = places(self.index, leaf(node, pointer, self.values[pointer]))
        return sure or loose

    def _place(self, pointer: str) -> Place | None:
        found = self.sure[pointer]
        if len(found) > 1:
            anchors = (
                [a for p, a in self._alone if p != pointer and _row(p) == _row(pointer)]
                if _row(pointer)
                else []
            )
            if anchors:
                return min(
                    found,
                    key=lambda each: min(
                        (abs(each.page - a.page), abs(each.start - a.start)) for a in anchors
                    ),
                )
            words = _words(pointer)
            return max(found, key=lambda each: len(words & _words(self._around(each))))
        return found[0] if found else self._read_from(pointer)

    @cached_property
    def _alone(self) -> list[tuple[str, Place]]:
        return [(p, found[0]) for p, found in self.sure.items() if len(found) == 1]

    def _read_from(self, pointer: str) -> Place | None:
        """The line that shares most words with a value and its name."""
        value, name = _words(str(self.values[pointer])), _words(pointer)
        best: tuple[int, Place] | None = None
        for number, words, place in self._lines:
            shared = 3 * len(value & words) + len(name & words)
            if shared and (best is None or shared > best[0]):
                best = (shared, place)
            del number
        return best[1] if best else None

    @cached_property
    def _lines(self) -> list[tuple[int, set[str], Place]]:
        return [
            (number, _words(match.group()), Place(number, *match.span()))
            for number, page in enumerate(self.each.document.pages)
            for match in re.finditer(r"\S[^\n]*\S", page.text)
        ]

    def _line(self, place: Place) -> tuple[int, int]:
        text = self.index.pages[place.page].text
        end = text.find("\n", place.end)
        return text.rfind("\n", 0, place.start) + 1, len(text) if end < 0 else end

    def _around(self, place: Place) -> str:
        text = self.index.pages[place.page].text
        start, end = self._line(place)
        return text[text.rfind("\n", 0, max(0, start - 1)) + 1 : end]

    def line(self, place: Place) -> str:
        """The line, or lines, in which a place stands."""
        start, end = self._line(place)
        return " ".join(self.index.pages[place.page].text[start:end].split())

    def words(self, place: Place) -> str:
        """The fewest words that hold a place and stand once on its page; at most twelve, unless it has more."""
        text = self.index.pages[place.page].text
        begin, last = self._line(place)
        spans = [
            (begin + m.start(), begin + m.end()) for m in re.finditer(r"\S+", text[begin:last])
        ]
        inner = [n for n, (s, e) in enumerate(spans) if s < place.end and e > place.start]
        left, right = inner[0], inner[-1]
        page = fold(text).text
        while right - left + 1 < min(_MOST_WORDS, len(spans)):
            if page.count(fold(text[spans[left][0] : spans[right][1]]).text) == 1:
                break
            left, right = (left - 1, right) if left else (left, right + 1)
            right = min(right, len(spans) - 1)
        return " ".join(text[spans[left][0] : spans[right][1]].split())


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _row(pointer: str) -> str | None:
    """The pointer of the innermost item of a list that a value is part of."""
    found = re.match(r"(.*/\d+)(?:/[^/]*[^/\d][^/]*)+$", pointer)
    return found[1] if found else None


def _words(text: str) -> set[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return set(re.findall(r"[^\W_]{3,}", fold(apart).text))


def _inlined(data: Any, quotes: dict[str, str], pointer: str = "") -> Any:
    if isinstance(data, dict):
        return {
            key: _inlined(value, quotes, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
            for key, value in data.items()
        }
    if isinstance(data, list):
        return [_inlined(value, quotes, f"{pointer}/{at}") for at, value in enumerate(data)]
    return {"value": data, "quote": quotes.get(pointer, "")}
