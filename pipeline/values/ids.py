"""Identifiers in a text: e-mail, URL, DOI, phone, IBAN, VAT number."""

import re

from pipeline.values.found import Found, masked, plain

_EMAIL = re.compile(r"(?<![\w.+\-])[\w.+\-]{1,64}@(?:[\w\-]{1,63}\.){1,6}[^\W\d_]{2,24}(?![\w@])")
_URL = re.compile(r"(?<![\w@.])(?:https?://|www\.)[^\s<>\"'“”„()\[\]{}]{2,2000}", re.IGNORECASE)
_HOST = re.compile(
    r"(?<![\w@.\-/])(?:[a-z0-9\-]{1,63}\.){1,4}(?:com|org|net|edu|gov|io|info|eu|de|at|ch|fr|uk|nl|be|it|es|pt|pl|se|dk|no|fi"
    r"|cz|us|ca|au|jp|cn|in|br)(?![\w@\-]|\.\w)(?:/[^\s<>\"'“”„()\[\]{}]{0,2000})?",
    re.IGNORECASE,
)
_DOI = re.compile(r"(?<![\w.])10\.\d{4,9}/[^\s\"'<>“”„]{1,200}")
#: National numbers with their leading zero; longer runs of digits name companies and accounts.
_LONGEST_NATIONAL = 13
_PHONE = re.compile(r"(?<![\w.,/\-+])(?:\+|\()?\d(?:[\d() ./\-]{5,24})\d(?![\w]|[.,]\d)")
#: What says that a number is one of a telephone, however it is grouped.
_TOLD = re.compile(
    r"(?:tel|fon|phone|fax|mobile?|movil)[^\W\d_]{0,5}[.:]{0,2}\s{0,2}$", re.IGNORECASE
)
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])([A-Z]{2}) ?(\d{2})(?=((?:[ \-]?[A-Z0-9]){11,30}))", re.IGNORECASE
)

# Length of the IBAN of each country. Source: SWIFT, IBAN Registry (ISO 13616).
_LENGTHS = """AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27
    DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23
    IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28
    NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28
    TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"""
_IBAN_LENGTHS = {pair[:2]: int(pair[2:]) for pair in _LENGTHS.split()}

# The form of each country's VAT number behind its letters, without blanks, points and hyphens.
# Source: European Commission, VIES, structure of VAT numbers; for CH the UID register, for GB HMRC.
_VAT_FORMS = {
    "AT": r"U\d{8}", "BE": r"[01]?\d{9}", "BG": r"\d{9,10}", "CHE": r"\d{9}", "CY": r"\d{8}[A-Z]",
    "CZ": r"\d{8,10}", "DE": r"\d{9}", "DK": r"\d{8}", "EE": r"\d{9}", "EL": r"\d{9}",
    "ES": r"[A-Z0-9]\d{7}[A-Z0-9]", "EU": r"\d{9}", "FI": r"\d{8}", "FR": r"[A-HJ-NP-Z0-9]{2}\d{9}",
    "GB": r"(?:\d{9}|\d{12}|GD\d{3}|HA\d{3})", "GR": r"\d{9}", "HR": r"\d{11}", "HU": r"\d{8}",
    "IE": r"\d[A-Z0-9+*]\d{5}[A-Z]{1,2}", "IT": r"\d{11}", "LT": r"(?:\d{9}|\d{12})", "LU": r"\d{8}",
    "LV": r"\d{11}", "MT": r"\d{8}", "NL": r"\d{9}B\d{2}", "NO": r"\d{9}(?:MVA)?", "PL": r"\d{10}",
    "PT": r"\d{9}", "RO": r"\d{2,10}", "SE": r"\d{12}", "SI": r"\d{8}", "SK": r"\d{10}", "XI": r"\d{9}",
}  # fmt: skip
_VAT = re.compile(
    rf"(?<![A-Za-z0-9])({'|'.join(sorted(_VAT_FORMS, key=len, reverse=True))})"
    r"(?=((?:[ .\-]?[A-Z0-9+*]){2,14}))"
)


def find_emails(text: str) -> list[Found[str]]:
    """Every e-mail address in a text, as printed."""
    return [
        _found(text, match.start(), match.end(), text[slice(*match.span())])
        for match in _EMAIL.finditer(text)
    ]


def find_urls(text: str) -> list[Found[str]]:
    """Every web address in a text, as printed: with a scheme, with `www.`, or a bare host name."""
    spans = [match.span() for match in _URL.finditer(text)]
    taken = [*spans, *(match.span() for match in _EMAIL.finditer(text))]
    hosts = [match.span() for match in _HOST.finditer(text)]
    spans += [
        host for host in hosts if not any(start < host[1] and host[0] < end for start, end in taken)
    ]
    return [_trimmed(text, start, end) for start, end in sorted(spans)]


def find_dois(text: str) -> list[Found[str]]:
    """Every DOI in a text, without resolver or prefix (`10.1000/182`)."""
    return [_trimmed(text, *match.span()) for match in _DOI.finditer(text)]


def find_phones(text: str) -> list[Found[str]]:
    """Every telephone number in a text (7 to 15 digits, as E.164 has them); the value is its digits, + kept."""
    source = plain(text)
    others = (*find_dois(text), *find_ibans(text), *find_vat_ids(text))
    source = masked(source, [(other.start, other.end) for other in others], "x")
    found = []
    for match in _PHONE.finditer(source):
        printed = match.group().rstrip(" ./-(")
        digits = re.sub(r"\D", "", printed)
        grouped = "+" in printed or re.search(r"\d[ ()/.\-]{1,3}\d", printed)
        told = _TOLD.search(source, max(0, match.start() - 20), match.start())
        most = 15 if printed.startswith(("+", "00", "(+")) else _LONGEST_NATIONAL
        if 7 <= len(digits) <= most and (told or (grouped and not _other(printed))):
            value = "+" * printed.startswith("+") + digits
            found.append(_found(text, match.start(), match.start() + len(printed), value))
    return found


def find_ibans(text: str) -> list[Found[str]]:
    """Every IBAN in a text by its country's length, without blanks; whether it holds says `iban_holds`."""
    source = plain(text)
    found = []
    for match in _IBAN.finditer(source):
        length = _IBAN_LENGTHS.get(match[1].upper(), 99)
        places = [i for i in range(match.start(), match.end(3)) if source[i].isalnum()][:length]
        if len(places) < length or source[places[-1] + 1 : places[-1] + 2].isalnum():
            continue
        end = places[-1] + 1
        iban = "".join(source[i] for i in places).upper()
        groups = re.split("[ -]", source[match.start() : end])
        if iban_holds(iban) or len(groups) == 1 or all(len(group) == 4 for group in groups[:-1]):
            found.append(_found(text, match.start(), end, iban))
    return found


def iban_holds(iban: str) -> bool:
    """Whether an IBAN's check digits are right (ISO 13616: modulo 97 is 1)."""
    compact = "".join(char for char in plain(iban) if char.isalnum()).upper()
    if len(compact) != _IBAN_LENGTHS.get(compact[:2]) or not compact.isascii():
        return False
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


def find_vat_ids(text: str) -> list[Found[str]]:
    """Every VAT number in a text by its country's form, without blanks, points and hyphens."""
    source = plain(text)
    found = []
    for match in _VAT.finditer(source):
        for end in range(match.end(2), match.end(1), -1):
            rest = re.sub(r"[ .\-]", "", source[match.end(1) : end])
            whole = source[end - 1].isalnum() and not source[end : end + 1].isalnum()
            if whole and re.fullmatch(_VAT_FORMS[match[1]], rest):
                found.append(_found(text, match.start(), end, match[1] + rest))
                break
    return found


def _other(printed: str) -> bool:
    """Whether digits in the form of a phone are rather a date or an amount."""
    date_like = re.fullmatch(r"\d{1,4}([./\-])\d{1,2}\1\d{1,4}(?: .*)?", printed)
    amount = re.fullmatch(r"\d{1,3}(?:[. ]\d{3})+|[\d ]+\.\d{2}", printed)
    return bool(date_like or amount or printed.count("(") > 1)  # (95) (108) is a row of amounts


def _trimmed(text: str, start: int, end: int) -> Found[str]:
    printed = text[start:end].rstrip(".,;:!?)]}*")
    return _found(text, start, start + len(printed), printed)


def _found(text: str, start: int, end: int, value: str) -> Found[str]:
    return Found(value, start, end, text[start:end], frozenset({value}))
