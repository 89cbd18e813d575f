"""Several pieces as one answer: rows united by their places, scalars that agree, and what is in doubt.

The merge is a fold: the first piece is the state, and each further one is joined to it, in the order of the
questions. A piece of the schema's shape adds rows and claims; a flat one mends leaves. Its pointers are of
the data that `merge` gives for the pieces before it: so whoever asks again counts on nothing else. The
order of questions about windows among themselves changes nothing; those that mend (`Ask.about`) are newer than all
before them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pipeline.document import Document
from pipeline.results import Evidence, Finding, escape
from pipeline.stages import Stage
from pipeline.values.pages import spans
from pipeline.windows.claims import Claim, best, conflict, mended, moved, normal
from pipeline.windows.doubts import of_rows
from pipeline.windows.pages import Pages
from pipeline.windows.pieces import Doubt, Merged, Piece
from pipeline.windows.rows import Row, Table, arrange, at_places_of, doubled, locate, paired
from pipeline.windows.signal import Signal

#: What a merged place holds: an object, an array, or the claims about a leaf.
Node = dict[str, Any] | Table | list[Claim]
#: Lines above and below its row's within which a leaf stands with its row.
_ABOVE, _BELOW = 2, 12


def merge(stage: Stage, document: Document, pieces: Sequence[Piece]) -> Merged:
    """One answer of all pieces, in the order of the document; of one piece its own data, as it is.

    Rows of several pieces are one only when they stand at the same place. None is dropped because of its page;
    only a newer piece that answers for a page whole, with as many rows as the page prints, takes the place
    of the rows that were there. Differing values of a leaf: the better proven, of equals that of the
    window whose page it is; and a doubt, or a note where only one of them stands on its pages.
    """
    pages = Pages(document)
    state = _State(pages)
    for number, piece in enumerate(pieces):
        state.join(piece, number if piece.ask.about else 0)
    data, evidence, doubts = state.told()
    covered = {page for piece in pieces for page in piece.covers}
    of_arrays, notes = of_rows(state.root, pages, covered, evidence)
    # What its proof settles nobody need be asked.
    settled = [doubt.finding for doubt in doubts if doubt.finding.severity == "warning"]
    asked = [doubt for doubt in doubts if doubt.finding.severity == "error"]
    return Merged(data, evidence, (*asked, *of_arrays), (*settled, *notes))


@dataclass
class _State:
    """What the pieces so far say together."""

    pages: Pages
    root: Node | None = None
    mixed: dict[str, set[int]] = field(default_factory=dict)

    def join(self, piece: Piece, newer: int) -> None:
        """Add one piece."""
        reader = _Reader(self.pages, piece, newer)
        if piece.ask.fields:
            self._mend(reader)
        else:
            node = reader.node(piece.data, "", "", [])
            self.root = node if self.root is None else self._joined(self.root, node, "", reader)

    def _joined(self, old: Node, new: Node, path: str, reader: "_Reader") -> Node:
        if isinstance(old, dict) and isinstance(new, dict):
            for key, node in new.items():
                below = f"{path}/{escape(key)}"
                old[key] = self._joined(old[key], node, below, reader) if key in old else node
            return old
        if isinstance(old, Table) and isinstance(new, Table):
            self._unite(old, new, path, reader)
            return old
        if isinstance(old, list) and isinstance(new, list):
            return old + new
        if _is_null(new):
            return old
        if not _is_null(old) and not reader.newer:
            self._mixed(path, next(n for n in (old, new, []) if isinstance(n, list)), reader)
        return new if isinstance(old, list) else old

    def _mixed(self, path: str, leaf: list[Claim], reader: "_Reader") -> None:
        """One answer has a value where another one has rows or fields: the value goes, but not in silence."""
        pages = {page for claim in leaf for page in claim.covers}
        known = self.mixed.setdefault(path.partition("/*")[0], set())
        known |= pages or set(reader.piece.ask.window.pages)

    def _unite(self, table: Table, new: Table, path: str, reader: "_Reader") -> None:
        table.sources += 1
        if reader.newer and self.mixed.get(path, set()).issubset(reader.piece.covers):
            self.mixed.pop(path, None)
        kept: set[int] = set()
        added: list[Row] = []
        pairs = list(paired(table, new.rows))
        matched = {id(other) for _, other in pairs if other is not None}
        values = _Values(table, new, matched)
        # What mends lists a row twice that was there once: it stands there once. Both twice: that stays open.
        twins = {id(row) for row, _ in doubled(new.rows)} if reader.newer else set()
        unsure: set[int] = set()
        for row, same in pairs:
            other = same or values.twin(row)
            if other is None:
                added += [] if id(row) in twins else [row]
                continue
            unsure.update(row.pages if id(row) in twins else ())
            kept.add(id(other))
            other.node = self._joined(other.node, row.node, f"{path}/*", reader)
            other.take_places(row)
            if row.line is not None and (other.line is None or row.order < other.order):
                other.line, other.order, other.pages = row.line, row.order, row.pages
        if reader.newer and "/*" not in path:
            self._supersede(table, new.rows, kept, set(reader.piece.covers) - unsure)
        table.rows += added

    def _supersede(
        self, table: Table, rows: Sequence[Row], kept: set[int], covers: set[int]
    ) -> None:
        """Older rows of pages that a newer answer lists whole, as its lines show, are gone; and doubles that it lists once."""
        table.signal = table.signal or Signal(
            self.pages.lines, self.pages.texts, [*table.rows, *rows]
        )
        lines = {line for row in rows for line in (row.line, *row.spans.values())}
        whole = {page for page in covers if self._is_whole(table.signal, rows, lines, page)}
        there = [
            row
            for row in table.rows
            if not row.gone and id(row) not in kept and row.pages and covers.issuperset(row.pages)
        ]
        again = {id(row) for row in at_places_of(there, rows)}
        for row in there:
            # One that stands where no newer row stands was forgotten: its line looks like no other's.
            by_itself = row.line is not None and row.line not in lines
            row.gone = id(row) in again or (whole.issuperset(row.pages) and not by_itself)

    def _is_whole(
        self, signal: Signal, rows: Sequence[Row], lines: set[int | None], page: int
    ) -> bool:
        """Whether an answer has all rows of a page: one on each line that looks like a row, or as many, each on its own.

        A total may look like a row, and a row like none.
        """
        place = self.pages.place.get(page)
        if place is None or not signal.knows(place):
            return False
        printed = signal.like_rows(place)
        if lines.issuperset(printed):
            return True
        own = [row.line for row in rows if page in row.pages]
        return None not in own and len(set(own)) == len(own) >= len(printed)

    def _mend(self, reader: "_Reader") -> None:
        """Decide for each leaf of a flat answer; a leaf whose place is no more is left out."""
        rows: dict[int, list[Row]] = {}
        for pointer, value in reader.piece.data.items():
            holder, key, row = self._find(pointer, rows)
            if holder is None or value is None:
                continue
            new = reader.node(value, pointer, pointer, [])
            old = holder.get(key) if isinstance(holder, dict) else row.node if row else None
            if isinstance(old, list) and isinstance(new, list):
                new = mended(old, reader.beside(_on_its_line(new[0], row, self.pages), row))
                _place(row, pointer, new[0], self.pages)
            if isinstance(holder, dict):
                holder[key] = new
            elif row is not None:
                row.node = new

    def _find(self, pointer: str, rows: dict[int, list[Row]]) -> tuple[Any, str, Row | None]:
        """What holds a leaf: an object and the key, or an array; and the innermost row around it."""
        tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
        node: Any = self.root
        row: Row | None = None
        for place, token in enumerate(tokens):
            last = place == len(tokens) - 1
            if isinstance(node, Table):
                alive = rows.setdefault(id(node), node.alive)
                if not token.isdecimal() or int(token) >= len(alive):
                    return None, "", None
                row = alive[int(token)]
                if last:
                    return node, "", row
                node = row.node
            elif isinstance(node, dict):
                if last:
                    return node, token, row
                node = node.get(token)
            else:
                return None, "", None
        return None, "", None

    def told(self) -> tuple[Any, tuple[Evidence, ...], tuple[Doubt, ...]]:
        """Data, evidence and conflicts."""
        evidence: list[Evidence] = []
        doubts: list[Doubt] = []
        data = None if self.root is None else _told(self.root, "", self.pages, evidence, doubts)
        for path, pages in self.mixed.items():
            said = f"the answer about {spans(sorted(pages))} has another form here than the others: what it says is left out"
            doubts.append(Doubt(Finding("conflict", path, said), tuple(sorted(pages))))
        return data, tuple(evidence), tuple(doubts)


@dataclass
class _Reader:
    """One piece as Nodes."""

    pages: Pages
    piece: Piece
    newer: int

    @cached_property
    def _proofs(self) -> dict[str, Evidence]:
        model = self.piece.model
        told = (e if e.model == model else replace(e, model=model) for e in self.piece.evidence)
        return {each.pointer: each for each in told}

    def node(self, data: Any, pointer: str, path: str, own: list[tuple[str, list[Claim]]]) -> Node:
        """A value as a Node; the leaves that no array parts from it are added to `own`."""
        if isinstance(data, dict):
            return {
                key: self.node(value, f"{pointer}/{escape(key)}", f"{path}/{escape(key)}", own)
                for key, value in data.items()
            }
        if isinstance(data, list):
            return Table(self._rows(data, pointer, path))
        leaf = [self._claim(data, pointer)]
        own.append((path, leaf))
        return leaf

    def beside(self, claim: Claim, row: Row | None) -> Claim:
        """The claim, with whether it stands elsewhere than its row."""
        line = self.pages.line_of(claim.proof) if claim.proof else None
        if row is None or row.line is None or line is None:
            return claim
        return replace(claim, beside=not row.line - _ABOVE <= line <= row.line + _BELOW)

    def _claim(self, value: Any, pointer: str) -> Claim:
        proof, covers = self._proofs.get(pointer), self.piece.ask.window.pages
        page = proof.page if proof else None
        return Claim(value, proof, page in covers, covers, self.newer)

    def _rows(self, data: list[Any], pointer: str, path: str) -> list[Row]:
        owns: list[list[tuple[str, list[Claim]]]] = [[] for _ in data]
        rows = [
            self._row(value, f"{pointer}/{n}", f"{path}/*", own)
            for n, (value, own) in enumerate(zip(data, owns, strict=True))
        ]
        if rows:
            covers = self.piece.ask.window.pages
            arrange(rows, self.pages.before(covers), covers, self.pages.number)
        for row, own in zip(rows, owns, strict=True):
            for _, leaf in own:
                leaf[0] = self.beside(leaf[0], row)
        return rows

    def _row(self, data: Any, pointer: str, path: str, own: list[tuple[str, list[Claim]]]) -> Row:
        row = Row(self.node(data, pointer, path, own))
        locate(row, [(where, leaf[0]) for where, leaf in own], self.pages.line_of)
        if not row.spans:
            inner = next((each for each in _rows_in(row.node) if each.line is not None), None)
            row.line, row.pages = (inner.line, inner.pages) if inner else (None, ())
        return row


class _Values:
    """Rows of an array of scalars that have no place in common, but their value."""

    def __init__(self, table: Table, new: Table, matched: set[int]) -> None:
        self._free: dict[Any, list[Row]] = {}
        self._several = _repeats(table) | _repeats(new)
        for row in table.rows:
            if isinstance(row.node, list) and not row.gone and id(row) not in matched:
                self._free.setdefault(normal(best(row.node).value), []).append(row)

    def twin(self, row: Row) -> Row | None:
        """A row of the same value: where one of them has no place, or it is a text that no answer lists twice."""
        if not isinstance(row.node, list):
            return None
        form = normal(best(row.node).value)
        free = self._free.get(form, [])
        once = form[1] == "text" and form not in self._several
        for place, other in enumerate(free):
            if once or row.line is None or other.line is None:
                return free.pop(place)
        return None


def _repeats(table: Table) -> set[Any]:
    seen: set[Any] = set()
    found: set[Any] = set()
    for row in table.rows:
        if isinstance(row.node, list):
            form = normal(best(row.node).value)
            (found if form in seen else seen).add(form)
    return found


def _rows_in(node: Any) -> Iterator[Row]:
    if isinstance(node, dict):
        for inner in node.values():
            yield from _rows_in(inner)
    elif isinstance(node, Table):
        for row in node.rows:
            yield row
            yield from _rows_in(row.node)


def _is_null(node: Node) -> bool:
    return isinstance(node, list) and all(claim.value is None for claim in node)


def _on_its_line(claim: Claim, row: Row | None, pages: Pages) -> Claim:
    """A leaf that was asked for by itself stands on its row's own line, if that has the same print."""
    proof = claim.proof
    if proof is None or row is None or row.line is None:
        return claim
    if any(span[1:] == (proof.page, proof.start) for span in row.spans):
        return claim
    return replace(claim, proof=pages.on_line(proof, row.line) or proof)


def _place(row: Row | None, pointer: str, claim: Claim, pages: Pages) -> None:
    """A row without a place has one once a leaf of it is found."""
    line = pages.line_of(claim.proof) if claim.proof else None
    if row is not None and row.line is None and line is not None and claim.weight > 3:
        proof = claim.proof
        row.line, row.pages = line, (pages.number(line),)
        row.spans[pointer, row.pages[0], (proof.start if proof else 0) or 0] = line
        row.tells[pointer] = 2


def _told(
    node: Node, pointer: str, pages: Pages, evidence: list[Evidence], doubts: list[Doubt]
) -> Any:
    if isinstance(node, dict):
        return {
            key: _told(inner, f"{pointer}/{escape(key)}", pages, evidence, doubts)
            for key, inner in node.items()
        }
    if isinstance(node, Table):
        return [
            _told(row.node, f"{pointer}/{n}", pages, evidence, doubts)
            for n, row in enumerate(node.alive)
        ]
    taken = best(node)
    if (proof := moved(taken, pointer)) is not None:
        evidence.append(proof)
    if (found := conflict(pointer, node, pages.readable)) is not None:
        doubts.append(Doubt(*found))
    return taken.value
