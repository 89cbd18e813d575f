"""Check digits and forms of numbers that the world has agreed on, by name; python-stdnum knows them."""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

#: Name -> module of python-stdnum, and what such a number is called.
CHECKS: Final[Mapping[str, tuple[str, str]]] = {
    "bic": ("bic", "a BIC"),
    "credit_card": ("luhn", "a card number"),
    "cusip": ("cusip", "a CUSIP"),
    "ean": ("ean", "an EAN (GTIN)"),
    "figi": ("figi", "a FIGI"),
    "iban": ("iban", "an IBAN"),
    "imei": ("imei", "an IMEI"),
    "imo": ("imo", "an IMO number of a ship"),
    "isbn": ("isbn", "an ISBN"),
    "isin": ("isin", "an ISIN"),
    "ismn": ("ismn", "an ISMN"),
    "iso11649": ("iso11649", "a creditor reference (ISO 11649)"),
    "iso6346": ("iso6346", "a container number (ISO 6346)"),
    "isrc": ("isrc", "an ISRC"),
    "issn": ("issn", "an ISSN"),
    "lei": ("lei", "an LEI"),
    "luhn": ("luhn", "a number with a Luhn check digit"),
    "vat_id": ("eu.vat", "a VAT number"),
}
#: VAT numbers outside of the EU, by how they begin -> module, and what may follow the number itself.
_VAT: Final[tuple[tuple[str, str, str], ...]] = (
    ("CHE", "ch.uid", r"(?:MWST|TVA|IVA|TPV)$"),
    ("GB", "gb.vat", r"$"),
    ("NO", "no.orgnr", r"MVA$"),
)
#: Digits of a payment card (ISO/IEC 7812).
_CARD_DIGITS: Final = range(12, 20)
#: Numbers of these kinds are much shorter; a longer text is none, whatever stands in it.
_LONGEST: Final = 64
#: What printers set between the groups of a number.
_SET: Final = re.compile(r"[\s\u2010-\u2015\-./:_\u00b7]+")
_LABEL: Final = re.compile(r"^(?:IBAN|BIC|SWIFT|EAN|GTIN|ISBN(?:-1[03])?|ISSN|ISMN|ISIN|LEI|ISRC|IMEI|IMO|VAT|UID)\s*(?:NO\.?|NR\.?)?\s*:?\s+(?=\S)", re.IGNORECASE)  # fmt: skip


def fault(check: str, value: Any) -> str | None:
    """Why a value does not pass a check, as the end of a sentence; None if it does.

    Blanks and hyphens as printed are fine. A whole number is taken as its digits.
    """
    what = CHECKS[check][1]
    if isinstance(value, bool) or not isinstance(value, str | int):
        return f"is no text, and so not {what}"
    if isinstance(value, int) and value.bit_length() > 8 * _LONGEST:
        return f"is too long for {what}"
    text = str(value).strip()
    if len(text) > _LONGEST:
        return f"is too long for {what}"
    return _by_stdnum(check, _SET.sub("", _LABEL.sub("", text)).upper(), what)


def _by_stdnum(check: str, number: str, what: str) -> str | None:
    from stdnum import exceptions

    # Old Irish VAT numbers may hold + or *.
    if not number.isascii() or not number.replace("+", "").replace("*", "").isalnum():
        return f"is not {what}: it holds other signs than letters and digits"
    if check == "credit_card" and len(number) not in _CARD_DIGITS:
        return f"is not {what}: it has {len(number)} signs"
    reasons = {
        exceptions.InvalidChecksum: "its check digits do not fit, so that at least one sign of it is wrong",
        exceptions.InvalidLength: f"it has {len(number)} signs, which is not its length",
        exceptions.InvalidComponent: "no country, prefix or part like this is known",
    }
    try:
        _validate(check, number)
    except exceptions.ValidationError as error:
        return f"is not {what}: {reasons.get(type(error), 'it does not have its form')}"
    return None


def _validate(check: str, number: str) -> None:
    """Validate a number; raises what the library raises."""
    name = CHECKS[check][0]
    for prefix, module, rest in _VAT if check == "vat_id" else ():
        if number.startswith(prefix):
            name, number = module, re.sub(rest, "", number)
            number = number.removeprefix("NO")
    validate: Callable[[str], str] = import_module(f"stdnum.{name}").validate
    validate(number)
