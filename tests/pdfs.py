"""PDF files written by hand for tests: objects in, bytes out."""

HELVETICA = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"


def assemble(objects: dict[int, bytes], trailer: bytes = b"") -> bytes:
    """A PDF of numbered objects; number 1 is the catalogue."""
    written = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    places = {}
    for number, body in objects.items():
        places[number] = len(written)
        written += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start, size = len(written), max(objects) + 1
    written += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        written += (
            b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 65535 f \n"
        )
    return written + b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        trailer,
        start,
    )


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), entries, content)


def text_at(x: float, y: float, text: str, size: float = 12) -> bytes:
    """The operators that show a line of Latin text in Helvetica; x and y in points from the bottom left."""
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return b"BT /F %g Tf %g %g Td (%s) Tj ET\n" % (size, x, y, escaped.encode("cp1252"))


def pdf(
    *contents: bytes, page: bytes = b"", box: str = "0 0 600 800", fields: tuple[bytes, ...] = ()
) -> bytes:
    """A PDF with a page for each content stream, and form fields (also widgets) on its first page.

    Args:
        contents: operators; None of a font but /F.
        page: more entries of each page, e.g. `/Rotate 90`.
        box: the media box.
        fields: dictionaries of fields; those without a /Rect are parents, the field `n` is object `100 + n`.

    """
    objects = {2: HELVETICA}
    kids = []
    for number, content in enumerate(contents):
        own, shown = 10 + 2 * number, 11 + 2 * number
        kids.append(b"%d 0 R" % own)
        notes = [b"%d 0 R" % (100 + n) for n, field in enumerate(fields) if b"/Rect" in field]
        objects[own] = (
            b"<< /Type /Page /Parent 3 0 R /MediaBox [%s] /Resources << /Font << /F 2 0 R >> >> "
            b"/Contents %d 0 R %s %s >>"
        ) % (box.encode(), shown, page, b"/Annots [%s]" % b" ".join(notes) if number == 0 else b"")
        objects[shown] = stream(content)
    objects[3] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    roots = [
        b"%d 0 R" % (100 + n)
        for n, field in enumerate(fields)
        if b"/Parent" not in field and b"/FreeText" not in field
    ]
    form = (
        b"/AcroForm << /Fields [%s] /DR << /Font << /F 2 0 R >> >> /DA (/F 10 Tf) >>"
        % b" ".join(roots)
    )
    objects[1] = b"<< /Type /Catalog /Pages 3 0 R %s >>" % (form if roots else b"")
    objects |= {100 + n: b"<< %s >>" % field for n, field in enumerate(fields)}
    return assemble(objects)


def widget(kind: str, rectangle: str, entries: str) -> bytes:
    """The entries of a form field that is its own widget; kind `Tx`, `Btn` or `Ch`."""
    return f"/Type /Annot /Subtype /Widget /FT /{kind} /F 4 /Rect [{rectangle}] {entries}".encode(
        "latin-1"
    )


def picture_at(x: float, y: float, width: float, height: float) -> bytes:
    """The operators that show a grey picture of one dot, in points from the bottom left."""
    shown = b"BI /W 1 /H 1 /CS /G /BPC 8 ID \x80 EI"
    return b"q %g 0 0 %g %g %g cm %s Q\n" % (width, height, x, y, shown)
