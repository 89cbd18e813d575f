"""The records of an SQLite file read page by page, past all damage: https://www.sqlite.org/fileformat2.html.

Nothing here trusts what it reads: who asks must know a good record by its own proof.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

#: All files of ours have pages of SQLite's default size.
PAGE: Final = 4096
_HEADER: Final = 32
_FRAME: Final = 24 + PAGE
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER = 0x0D, 0x0A, 0x02
#: An overflow page, or an inner page of a table, which holds no record.
_WITHOUT: Final = frozenset({0x00, 0x05})
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its values, and its row id where it stands in a table that has them."""

    values: tuple[Any, ...]
    rowid: int | None


@dataclass(slots=True)
class Image:
    """The pages of a file as its log has them: those of `log` (number -> place in it) in place of the file's."""

    file: BinaryIO
    written: BinaryIO | None = None
    log: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def page(self, number: int) -> bytes:
        """The bytes of a page; fewer than a page where the file ends."""
        if self.written and number in self.log:
            self.written.seek(self.log[number])
            return self.written.read(PAGE)
        self.file.seek((number - 1) * PAGE)
        return self.file.read(PAGE)

    def records(self, number: int) -> Iterator[Record]:
        """All that can be read as a record on a page."""
        page = self.page(number)
        start = 100 if number == 1 else 0
        if len(page) < PAGE or page[start] in _WITHOUT:
            return
        known = page[start] in {_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER}
        for kind in (page[start],) if known else (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER):
            for cell in _cells(page, start, kind):
                try:
                    yield self._record(page, cell, kind)
                except (IndexError, ValueError, OverflowError, struct.error):
                    continue

    def _record(self, page: bytes, at: int, kind: int) -> Record:
        at += 4 if kind == _INDEX_INNER else 0
        size, at = _varint(page, at)
        rowid = None
        if kind == _TABLE_LEAF:
            rowid, at = _varint(page, at)
        if size > self.count * PAGE:
            raise ValueError("longer than the file")
        return Record(_values(self._payload(page, at, size, kind)), rowid)

    def _payload(self, page: bytes, at: int, size: int, kind: int) -> bytes:
        """The bytes of a cell, with those that lie on overflow pages."""
        least = (PAGE - 12) * 32 // 255 - 23
        most = PAGE - 35 if kind == _TABLE_LEAF else (PAGE - 12) * 64 // 255 - 23
        here = size
        if size > most:
            here = least + (size - least) % (PAGE - 4)
            here = here if here <= most else least
        found = bytearray(page[at : at + here])
        following = _unsigned(page, at + here) if here < size else 0
        while len(found) < size and following:
            more = self.page(following)
            found += more[4 : 4 + size - len(found)]
            following = _unsigned(more, 0)
            if len(more) < PAGE:
                break
        if len(found) != size:
            raise ValueError("cut off")
        return bytes(found)

    def free(self) -> set[int]:
        """Pages in the list of free ones: what stands there was deleted."""
        found: set[int] = set()
        trunk = _unsigned(self.page(1).ljust(PAGE, b"\0"), 32)
        while trunk and trunk <= self.count and trunk not in found:
            page = self.page(trunk).ljust(PAGE, b"\0")
            leaves = min(_unsigned(page, 4), PAGE // 4 - 2)
            found |= {trunk, *struct.unpack_from(f">{leaves}I", page, 8)}
            trunk = _unsigned(page, 0)
        return found


@dataclass(frozen=True, slots=True)
class Log:
    """A write-ahead log: pages of its committed frames, and of all frames whatever their checksums say."""

    committed: dict[int, int]
    all: dict[int, int]


def read_log(path: Path) -> Log:
    """The frames of a log, newest last for each page; empty where there is none."""
    content = path.read_bytes() if path.exists() else b""
    frames = [
        (place, *struct.unpack_from(">6I", content, place))
        for place in range(_HEADER, len(content) - _FRAME + 1, _FRAME)
    ]
    if not frames:
        return Log({}, {})
    ((salts, _),) = Counter((one, two) for _, _, _, one, two, _, _ in frames).most_common(1)
    order = ">" if content[3] & 1 else "<"
    sums = _checksum(content[:24], (0, 0), order)
    sound = content[24:32] == struct.pack(">2I", *sums)
    committed: dict[int, int] = {}
    pending: dict[int, int] = {}
    everything: dict[int, int] = {}
    for place, number, last, one, two, first, second in frames:
        if (one, two) != salts:  # left from an earlier round of the log
            sound = False
            continue
        everything[number] = place + 24
        if sound:
            sums = _checksum(content[place : place + 8], sums, order)
            sums = _checksum(content[place + 24 : place + _FRAME], sums, order)
            sound = sums == (first, second)
        if sound:
            pending[number] = place + 24
            if last:
                committed |= pending
                pending = {}
    return Log(committed, everything)


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two


def _cells(page: bytes, start: int, kind: int) -> Iterator[int]:
    """Where the cells of a page may begin."""
    first = start + (12 if kind == _INDEX_INNER else 8)
    (told,) = struct.unpack_from(">H", page, start + 3)
    # A number that damage changed is too large or too small: proofs tell what is a record, so take all that may be.
    most = (PAGE - first) // 2
    for place in range(first, first + 2 * min(told, most), 2):
        (cell,) = struct.unpack_from(">H", page, place)
        if first <= cell < PAGE:
            yield cell


def _values(payload: bytes) -> tuple[Any, ...]:
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at != len(payload):
        raise ValueError("not a record")
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in {0, 8, 9}:
        return (None if kind == 0 else kind - 8), at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(payload[at:end], signed=True), end
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind < 12:
        raise ValueError("not a kind of value")
    end = at + (kind - 12) // 2
    return (payload[at:end].decode() if kind % 2 else payload[at:end]), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | data[place] & 0x7F
        if data[place] < 0x80:
            return value, place + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _unsigned(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4])
