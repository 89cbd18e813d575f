"""The answers of the fixtures, and whether a value can be read where it is said to stand."""

import json
import re
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

FIXTURES = ROOT / "fixtures"
GOLD = FIXTURES / "gold"
SCHEMAS = {
    "inbox": ROOT / "schemas/invoice.json",
    "demo": ROOT / "schemas/invoice.json",
    "contracts": ROOT / "schemas/contract.json",
    "receipts": ROOT / "schemas/receipt.json",
    "letters": FIXTURES / "schemas/letter.json",
    "forms/membership.pdf": FIXTURES / "schemas/membership.json",
    "forms/expense-claim.pdf": FIXTURES / "schemas/claim.json",
    "pictures/receipt": ROOT / "schemas/receipt.json",
    "pictures": ROOT / "schemas/invoice.json",
    "photos": ROOT / "schemas/receipt.json",
    "scans/letters": FIXTURES / "schemas/letter.json",
    "scans/invoices": ROOT / "schemas/invoice.json",
    "scans/contracts": ROOT / "schemas/contract.json",
    "scans/forms/membership-typed.pdf": FIXTURES / "schemas/membership.json",
    "scans/forms/aufnahmeantrag.pdf": FIXTURES / "schemas/membership.json",
    "scans/forms/note-de-frais.pdf": FIXTURES / "schemas/claim.json",
    "scans/forms": FIXTURES / "schemas/patient.json",
    "office/delivery-notes": FIXTURES / "schemas/delivery_note.json",
    "office/payslips": FIXTURES / "schemas/payslip.json",
    "office/electricity": FIXTURES / "schemas/electricity.json",
}
#: How a fixed value of a schema stands on paper; a choice is what is marked by hand.
PRINTED = {
    "invoice": r"invoice|rechnung|facture|factura|fattura|factuur|fatura",
    "credit_note": "credit note",
    "cash": r"\bbar\b|\bcash\b|espèces|pagamento contante|contant\b|numerário",
    "card": r"visa|\bcard\b|girocard|carte bancaire",
    "other": "twint",
    "month": "monatlich|per maand",
    "student": r"\[x\] student",
    "family": r"family|\[x\] familie",
    "quarterly": r"\[x\] quarterly",
    "yearly": r"yearly|\[x\] jährlich",
    "female": r"\[x\] mujer",
    "male": r"\[x\] man\b",
}
MONTHS = {
    1: "January janvier JAN",
    2: "February février",
    3: "March mars",
    4: "April avril abril",
    5: "May mai",
    6: "June juin JUN",
    7: "July juillet",
    8: "August août",
    9: "September septembre september",
    10: "October octobre",
    11: "November novembre",
    12: "December décembre",
}
SIGNS = {"EUR": "€|Euro", "GBP": "£", "USD": r"\$", "CHF": "CHF"}


def golds(*folders: str) -> list[str]:
    """The names of the documents that have an answer, below some folders."""
    found = (path.relative_to(GOLD).as_posix() for path in sorted(GOLD.rglob("*.json")))
    return [name.removesuffix(".json") for name in found if name.startswith(folders)]


def gold(name: str) -> Any:
    return json.loads((GOLD / f"{name}.json").read_bytes())


def schema(name: str) -> dict[str, Any]:
    path = next(path for prefix, path in SCHEMAS.items() if name.startswith(prefix))
    body: dict[str, Any] = json.loads(path.read_bytes())
    return body


def text_of(name: str) -> str:
    """What stands in a document, read with nothing of the product, blanks of all kinds made one."""
    return " ".join(_raw_text(FIXTURES / name).split())


def printed(name: str) -> str:
    """What was put on a paper before it was photographed or scanned, `[x]` for a marked box."""
    return " ".join((FIXTURES / "printed" / f"{name}.txt").read_text(encoding="utf-8").split())


def on_paper() -> list[str]:
    """The documents whose printed text is kept."""
    found = (FIXTURES / "printed").rglob("*.txt")
    return sorted(
        path.relative_to(FIXTURES / "printed").as_posix().removesuffix(".txt") for path in found
    )


def _raw_text(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".pdf":
        return _pdf_text(path)
    if content.startswith(b"\xff\xfe"):
        return content.decode("utf-16")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _pdf_text(path: Path) -> str:
    import pypdf
    import pypdfium2

    with pypdfium2.PdfDocument(path) as pdf:
        pages = [page.get_textpage().get_text_range() for page in pdf]
    fields = pypdf.PdfReader(path).get_fields() or {}
    return "\n".join([*pages, *(str(field.get("/V", "")) for field in fields.values())])


def leaves(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, f"{pointer}/{key}")
    else:
        yield pointer, value


def _number_stands(value: float, text: str) -> bool:
    exact = Decimal(str(value))
    printed = {f"{exact:,.{places}f}" for places in range(4) if round(exact, places) == exact}
    signs = ((".", ","), (",", "."), (",", " "))
    forms = {
        number.translate({ord("."): point, ord(","): comma})
        for number in printed
        for point, comma in signs
    }
    return any(re.search(rf"(?<![\d.,]){re.escape(form)}(?![\d]|[.,]\d)", text) for form in forms)


def _date_stands(value: str, text: str) -> bool:
    day = date.fromisoformat(value)
    numeric = {
        day.strftime(f) for f in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y-%m-%d")
    }
    named = {
        form
        for month in MONTHS[day.month].split()
        for form in (
            f"{day.day} {month} {day.year}",
            f"{day.day:02} {month} {day.year}",
            f"{day.day} de {month} de {day.year}",
            f"{month} {day.day}, {day.year}",
        )
    }
    return any(form in text for form in numeric | named)


def stands(pointer: str, value: Any, text: str) -> bool:
    """Whether a value of an answer can be read in the text of its document."""
    key = pointer.rpartition("/")[2]
    if value is None or isinstance(value, bool):
        return True  # nothing to find; check marks have a test of their own
    if isinstance(value, int | float):
        return _number_stands(value, text)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value) and (
        key == "date" or key.endswith(("_date", "_of_birth", "_start", "_end"))
    ):
        return _date_stands(value, text)
    if key == "currency":
        return value in text or re.search(SIGNS[value], text) is not None
    if key in {"iban", "vat_id"}:
        return value in text.replace(" ", "")
    pattern: str = PRINTED.get(value) or re.escape(value)
    if key == "time":
        pattern = value.replace(":", "[:h]")
    return value in text or re.search(pattern, text, re.IGNORECASE) is not None


def cents(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)


def exact(value: Any) -> Any:
    """Numbers as decimals, so that sums are those of a bookkeeper."""
    return json.loads(json.dumps(value), parse_float=Decimal, parse_int=Decimal)
