"""What was filled in on a PDF page: form fields (AcroForm) and typed notes, as lines of its text."""

import ctypes
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pipeline.document import FieldKind, FormField
from pipeline.loaders import wire
from pipeline.loaders.pdf.words import WORD, Box, View, clean

#: Flags of annotations (ISO 32000-2, table 167) that keep a field from being seen: invisible, hidden, no view.
_UNSEEN = 1 << 0 | 1 << 1 | 1 << 5
#: Flag of text fields (table 230) that hold a password.
_PASSWORD = 1 << 13
#: Viewers fit text of size 0 ("auto") into its field, and at most so high, in points.
_AUTO_SIZE = 12.0
#: What forms print between the boxes that one number or date is spread over.
_GLUE = re.compile(r"(?<!\S)[-‐‑–—/.](?!\S)")
_MOST_GLUE = 500
_DASHES = str.maketrans(dict.fromkeys("‐‑–—", "-"))
#: How far apart, in heights of a box, the boxes of one value stand.
_NEAR = 1.5
_DIGIT = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class _Filled:
    """A field that says something, or a note (kind None): `box` in 1/100,000 of the page, `size` in points.

    `cells` is how many characters it takes at most, 0 where that is not said.
    """

    value: str
    kind: FieldKind | None
    box: Box
    size: float
    name: str = ""
    label: str = ""
    cells: int = 0


def read(page: Any, view: View, text: str, words: "array[int]") -> tuple[str, list[FormField]]:
    """The page's text with what was filled in behind it, and the fields.

    Each filled field of text or choice becomes a line `label: value` in reading order; the words of
    the value, each with the field's box, are added to `words`. The boxes that one value is spread
    over (a number in groups, one character each) make one line, with what is printed between them.
    Check marks and radio buttons become fields only, one for each button. Text typed onto the page (FreeText annotations) becomes a line.

    Args:
        page: a pypdfium2 page of a document whose forms were initialized.
        view: the same page as it is seen.
        text: its text without the form.
        words: its words; extended.

    """
    fields = []
    glue = _glue(text, words)
    last: _Filled | None = None
    for filled in _in_reading_order(list(_filled(page, view))):
        start = end = 0
        if filled.kind != "check":
            between = _between(last, filled, glue)
            if between is None:
                text += "\n" if text and not text.endswith("\n") else ""
                text += f"{filled.label.rstrip(' :')}: " if filled.kind else ""
            text += between or ""
            start, end = len(text), len(text) + len(filled.value)
            text += filled.value
            size = round(filled.size * wire.SIZE_UNIT)
            for match in WORD.finditer(filled.value):
                place = (start + match.start(), start + match.end())
                words.extend((*place, *filled.box, size, wire.SURE))
            last = filled
        if filled.kind:
            x0, y0, x1, y1 = (edge / wire.BOX_UNIT for edge in filled.box)
            box = (x0, y0, x1, y1)
            fields.append(
                FormField(filled.name, filled.label, filled.value, filled.kind, box, start, end)
            )
    return text, fields


def _glue(text: str, words: "array[int]") -> list[tuple[str, Sequence[int]]]:
    """The dashes, strokes and points that stand alone on a page, with their boxes."""
    signs = {match.start(): match.group() for match in islice(_GLUE.finditer(text), _MOST_GLUE)}
    places = range(0, len(words) if signs else 0, wire.PER_WORD)
    return [(signs[words[at]], words[at + 2 : at + 6]) for at in places if words[at] in signs]


def _between(
    last: _Filled | None, this: _Filled, glue: list[tuple[str, Sequence[int]]]
) -> str | None:
    """What stands between two boxes of one value; None where each has its own."""
    if last is None or not _parts_of_one(last, this):
        return None
    (_, y0, x0, y1), x1 = last.box, this.box[0]
    for sign, box in glue:
        if x0 <= (box[0] + box[2]) / 2 <= x1 and y0 <= (box[1] + box[3]) / 2 <= y1:
            return sign.translate(_DASHES)
    return "" if len(last.value) == len(this.value) == 1 else " "


def _parts_of_one(a: _Filled, b: _Filled) -> bool:
    """Whether two boxes stand side by side and the first is as full as it can be.

    That is said by their number of characters, or by single ones in fields named alike.
    """
    if a.kind != "text" or b.kind != "text" or not (a.value.isalnum() and b.value.isalnum()):
        return False
    height = a.box[3] - a.box[1]
    level = max(abs(a.box[1] - b.box[1]), abs(a.box[3] - b.box[3])) <= 0.2 * height
    if not level or not -0.2 * height <= b.box[0] - a.box[2] <= _NEAR * height:
        return False
    full = a.cells == len(a.value) and b.cells > 0
    return full or (
        len(a.value) == len(b.value) == 1 and _DIGIT.sub("", a.name) == _DIGIT.sub("", b.name)
    )


def _in_reading_order(fields: list[_Filled]) -> list[_Filled]:
    """From top to bottom, and from left to right where one begins above the middle of the row's first."""
    ordered: list[_Filled] = []
    row: list[_Filled] = []
    for field in sorted(fields, key=lambda field: field.box[1]):
        if row and field.box[1] > (row[0].box[1] + row[0].box[3]) / 2:
            ordered += sorted(row, key=lambda field: field.box[0])
            row = []
        row.append(field)
    return ordered + sorted(row, key=lambda field: field.box[0])


def _filled(page: Any, view: View) -> Iterator[_Filled]:
    """What can be seen filled in on the page, in the order of the file."""
    import pypdfium2.raw as pdfium

    place = view.placer()
    rectangle = pdfium.FS_RECTF()
    for index in range(pdfium.FPDFPage_GetAnnotCount(page.raw)):
        annotation = pdfium.FPDFPage_GetAnnot(page.raw, index)
        if not annotation:
            continue
        try:
            seen = not pdfium.FPDFAnnot_GetFlags(annotation) & _UNSEEN
            if not seen or not pdfium.FPDFAnnot_GetRect(annotation, rectangle):
                continue
            box = place(rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
            filled = box and _read(page, annotation, box, rectangle.top - rectangle.bottom)
            if filled:
                yield filled
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)


def _read(page: Any, annotation: Any, box: Box, height: float) -> _Filled | None:
    import pypdfium2.raw as pdfium

    subtype = pdfium.FPDFAnnot_GetSubtype(annotation)
    if subtype == pdfium.FPDF_ANNOT_WIDGET and page.formenv:
        return _Widget(page.formenv.raw, annotation).read(box, height)
    if subtype == pdfium.FPDF_ANNOT_FREETEXT:
        value = _wide(pdfium.FPDFAnnot_GetStringValue, annotation, b"Contents").strip()
        return _Filled(value, None, box, min(height, _AUTO_SIZE)) if value else None
    return None


def _wide(ask: Callable[..., int], *subject: Any) -> str:
    """A text that pdfium gives as UTF-16 into a buffer of ours, clean, its lines separated by line feeds."""
    import pypdfium2.raw as pdfium

    length = ask(*subject, None, 0)
    buffer = ctypes.create_string_buffer(length + 2)
    ask(*subject, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), length)
    text = buffer.raw[: max(0, length - 2)].decode("utf-16-le", "surrogatepass")
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"))


@dataclass(frozen=True, slots=True)
class _Widget:
    """One form field's place on one page, behind pdfium's two handles for it."""

    form: Any
    annotation: Any

    def read(self, box: Box, height: float) -> _Filled | None:
        """The field if it is filled; a button always is."""
        import pypdfium2.raw as pdfium

        kind = self._kind()
        value = self._value(kind) if kind else ""
        if not value:
            return None
        name = self._text(pdfium.FPDFAnnot_GetFormFieldName)
        label, cells = self._label(kind, name), self._cells() if kind == "text" else 0
        return _Filled(value, kind, box, self._size(height), name, label, cells)

    def _kind(self) -> FieldKind | None:
        import pypdfium2.raw as pdfium

        kinds: dict[int, FieldKind] = {
            pdfium.FPDF_FORMFIELD_TEXTFIELD: "text",
            pdfium.FPDF_FORMFIELD_CHECKBOX: "check",
            pdfium.FPDF_FORMFIELD_RADIOBUTTON: "check",
            pdfium.FPDF_FORMFIELD_COMBOBOX: "choice",
            pdfium.FPDF_FORMFIELD_LISTBOX: "choice",
        }
        return kinds.get(pdfium.FPDFAnnot_GetFormFieldType(self.form, self.annotation))

    def _value(self, kind: FieldKind) -> str:
        import pypdfium2.raw as pdfium

        if kind == "check":
            return "true" if pdfium.FPDFAnnot_IsChecked(self.form, self.annotation) else "false"
        if (
            pdfium.FPDFAnnot_GetFormFieldFlags(self.form, self.annotation) & _PASSWORD
            and kind == "text"
        ):
            return ""
        chosen = self._chosen() if kind == "choice" else []
        value = "\n".join(chosen) or self._text(pdfium.FPDFAnnot_GetFormFieldValue)
        return value.strip()

    def _chosen(self) -> list[str]:
        """What the form shows for the chosen options; their stored values can be codes."""
        import pypdfium2.raw as pdfium

        return [
            self._text(pdfium.FPDFAnnot_GetOptionLabel, index)
            for index in range(max(0, pdfium.FPDFAnnot_GetOptionCount(self.form, self.annotation)))
            if pdfium.FPDFAnnot_IsOptionSelected(self.form, self.annotation, index)
        ]

    def _label(self, kind: FieldKind | None, name: str) -> str:
        """The tool tip, else the last part of the name; for one button of several, what it stands for too."""
        import pypdfium2.raw as pdfium

        tool_tip = self._text(pdfium.FPDFAnnot_GetFormFieldAlternateName)
        label = " ".join(tool_tip.split()) or name.rpartition(".")[2]
        if kind == "check" and pdfium.FPDFAnnot_GetFormControlCount(self.form, self.annotation) > 1:
            return f"{label}: {self._text(pdfium.FPDFAnnot_GetFormFieldExportValue)}"
        return label

    def _cells(self) -> int:
        """How many characters a text may have at most (MaxLen, ISO 32000-2, table 232); 0 where not said."""
        import pypdfium2.raw as pdfium

        most = ctypes.c_float()
        said = pdfium.FPDFAnnot_GetNumberValue(self.annotation, b"MaxLen", most)
        return int(most.value) if said and 0 < most.value < 100 else 0

    def _size(self, height: float) -> float:
        import pypdfium2.raw as pdfium

        size = ctypes.c_float()
        pdfium.FPDFAnnot_GetFontSize(self.form, self.annotation, size)
        return size.value if 0 < size.value < height else min(height, _AUTO_SIZE)

    def _text(self, ask: Callable[..., int], *more: int) -> str:
        return _wide(ask, self.form, self.annotation, *more)
