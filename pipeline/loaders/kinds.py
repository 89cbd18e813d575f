"""What a file is, told from its bytes: `sniff`, and the table of the kinds that have a loader."""

import re
from pathlib import PurePosixPath

from pipeline.loaders.encodings import wide

#: media type -> module in this folder; a new loader is a module and its lines here.
LOADERS = {
    "application/json": "text",
    "application/pdf": "pdf",
    "application/toml": "text",
    "application/x-ndjson": "text",
    "application/xml": "text",
    "application/yaml": "text",
    "image/avif": "image",
    "image/bmp": "image",
    "image/gif": "image",
    "image/heic": "image",
    "image/jp2": "image",
    "image/jpeg": "image",
    "image/png": "image",
    "image/tiff": "image",
    "image/vnd.microsoft.icon": "image",
    "image/webp": "image",
    "text/csv": "text",
    "text/markdown": "text",
    "text/plain": "text",
    "text/tab-separated-values": "text",
}

UNKNOWN = "application/octet-stream"

#: What to do with a kind that has no loader, by the beginning of its media type.
_WAYS_OUT = (
    ("text/html", "a web page is not read: print it to a PDF, or save its text"),
    ("message/rfc822", "a mail is not read: print it to a PDF, or save its text and attachments"),
    ("application/mbox", "a mailbox is not read: save its mails as text"),
    ("application/vnd.", "an office file is not read: export it as PDF"),
    ("application/msword", "an office file is not read: export it as PDF"),
    (
        "application/x-ole-storage",
        "an old office file or an Outlook message is not read: export it as PDF",
    ),
    ("application/epub", "an e-book is not read: convert it to PDF or text"),
    ("application/rtf", "rich text is not read: save it as PDF or plain text"),
    ("application/postscript", "PostScript is not read: convert it to PDF (ps2pdf)"),
    ("audio/", "sound is not read: give its transcript as text"),
    ("video/", "a film is not read: give its transcript as text"),
    ("application/zip", "an archive is not opened: unpack it and name the folder"),
    ("application/gzip", "a compressed file is not opened: unpack it first"),
    ("application/x-", "a file of this kind is not read"),
)

#: Bytes at the start -> media type; the first that fits. Sources: the formats' specifications,
#: collected in the WHATWG MIME Sniffing Standard and the `file` command's magic.
_MAGIC = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"BM", "image/bmp"),
    (b"\0\0\1\0", "image/vnd.microsoft.icon"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51", "image/jp2"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"{\\rtf", "application/rtf"),
    (b"%!PS", "application/postscript"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"#!AMR", "audio/amr"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"\0\0\1\xba", "video/mpeg"),
    (b"\0\0\1\xb3", "video/mpeg"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/x-rar"),
    (b"SQLite format 3\0", "application/x-sqlite3"),
    (b"PAR1", "application/x-parquet"),
    (b"\x7fELF", "application/x-executable"),
    (b"MZ", "application/x-executable"),
)
#: Magic that a text can begin with too.
_LETTERS = frozenset({b"BM", b"BZh", b"ID3", b"MZ", b"OggS", b"PAR1", b"fLaC"})
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
#: Major brands of ISO base media files (ISO/IEC 14496-12; HEIF: 23008-12).
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "image/heic"),
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"M4A ", b"M4B "), "audio/mp4"),
    b"qt  ": "video/quicktime",
}
#: What stands in the first bytes of a ZIP file that is really a document.
_ZIPPED = (
    (b"mimetypeapplication/epub+zip", "application/epub+zip"),
    (b"mimetypeapplication/vnd.oasis.opendocument.", "application/vnd.oasis.opendocument"),
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
)
#: Names break ties between kinds of text only.
_TEXT_SUFFIXES = {
    ".csv": "text/csv",
    ".eml": "message/rfc822",
    ".htm": "text/html",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".markdown": "text/markdown",
    ".mbox": "application/mbox",
    ".md": "text/markdown",
    ".mht": "message/rfc822",
    ".mhtml": "message/rfc822",
    ".ndjson": "application/x-ndjson",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".xhtml": "text/html",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE)
#: A header that only mail programs write; a letter that begins with "From:" is not yet a mail.
_MAIL = re.compile(
    rb"^(?:Received|Return-Path|Message-ID|MIME-Version|Delivered-To|Content-Transfer-Encoding):\s",
    re.IGNORECASE | re.MULTILINE,
)
_HEADERS = re.compile(rb"(?:From \S[^\n]*\n)?(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)+(?:\r?\n|\Z)")
#: Bytes that no text holds, except now and then: controls other than tab, line ends, form feed,
#: backspace (overstrike), escape (ISO 2022, terminals) and Ctrl-Z (end of file in DOS).
_CONTROLS = bytes({*range(32)} - {8, 9, 10, 11, 12, 13, 26, 27})
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")


def sniff(content: bytes, name: str = "") -> str:
    """The media type of a file, by its bytes.

    Args:
        content: the file, or its beginning (4096 bytes are looked at).
        name: the file's name; it only says which kind of text a text is.

    Returns:
        A media type; `application/octet-stream` when nothing fits. `LOADERS` tells whether it is read.

    """
    head = content[:4096]
    suffix = PurePosixPath(name).suffix.lower()
    return _binary(head, suffix) or (_text(head, suffix) if looks_like_text(head) else UNKNOWN)


def has_look(media_type: str) -> bool:
    """Whether files of a kind have pages that can be drawn, and words recognised on them."""
    return LOADERS.get(media_type) in {"image", "pdf"}


def way_out(media_type: str, name: str = "") -> str:
    """A sentence for a kind that has no loader: what it is, and what to do with it."""
    for beginning, sentence in _WAYS_OUT:
        if media_type.startswith(beginning):
            return f"{sentence} ({media_type})"
    suffix = PurePosixPath(name).suffix.lower()
    named = f", though it is named {suffix}" if suffix else ""
    return f"the bytes are of no kind that is read: PDF, picture or text{named}; is the file whole?"


def looks_like_text(head: bytes) -> bool:
    """Whether bytes can be text in some encoding: few controls, or the zeros of UTF-16 and UTF-32."""
    if head.startswith(_BOMS):
        return True
    if b"\0" in head:
        return wide(head) is not None
    return len(head) - len(head.translate(None, _CONTROLS)) <= len(head) // 100


def _binary(head: bytes, suffix: str) -> str | None:
    for magic, media_type in _MAGIC:
        if head.startswith(magic) and not (magic in _LETTERS and looks_like_text(head)):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[:4] in {b"PK\3\4", b"PK\5\6"}:
        return next((kind for mark, kind in _ZIPPED if mark in head), "application/zip")
    if head[:1] == b"\xff" and head[1:2] in {b"\xfb", b"\xf3", b"\xf2"}:
        return "audio/mpeg"
    return "application/pdf" if _is_late_pdf(head, suffix) else None


def _is_late_pdf(head: bytes, suffix: str) -> bool:
    """Whether a PDF begins behind other bytes (readers look through 1024), or lost its first line."""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"%PDF-"):
        return True
    return suffix == ".pdf" and (
        b"%PDF-" in head[:1029] or re.search(rb"\b\d{1,10} \d{1,5} obj\b", head) is not None
    )


def _text(head: bytes, suffix: str) -> str:
    plain = head.removeprefix(_BOMS[0])
    if head.startswith(_BOMS[1:]) or b"\0" in head:
        plain = head.replace(b"\0", b"").lstrip(b"\xff\xfe")
    if _HTML.match(_without_preamble(plain)):
        return "text/html"
    lines = plain.replace(b"\r\n", b"\n")
    headers = _HEADERS.match(lines[: lines.rfind(b"\n") + 1])
    if headers and _MAIL.search(headers.group()):
        return "message/rfc822"
    if suffix in _TEXT_SUFFIXES:
        return _TEXT_SUFFIXES[suffix]
    return "application/xml" if plain.startswith(b"<?xml") else "text/plain"


def _without_preamble(markup: bytes) -> bytes:
    """Markup from its first element or declaration on: no blanks, comments and processing instructions."""
    rest = markup.lstrip()
    while rest.startswith((b"<!--", b"<?")):
        _, _, rest = rest.partition(b"-->" if rest.startswith(b"<!--") else b">")
        rest = rest.lstrip()
    return rest
