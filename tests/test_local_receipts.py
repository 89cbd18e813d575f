"""Till receipts as a recogniser reads them: in seven languages, turned, curved, with slips and noise."""

import json
import re
from dataclasses import replace
from math import cos, pi, radians, sin
from pathlib import Path
from typing import Any

import pytest

from pipeline.document import Document, Page, Word
from pipeline.providers.local.engine import extract
from pipeline.schema import Schema

SHIPPED = Schema.of(json.loads(Path("schemas/receipt.json").read_text()))
SHORT = Schema.of(
    {
        "type": "object",
        "properties": {
            name: {"type": ["string", "null"]} for name in ("company", "address", "date", "total")
        },
    }
)
#: A character of a till's print, in points.
WIDE, HIGH = 8.0, 16.0

TILLS: dict[str, str] = {}
TILLS["german"] = """
              BIOMARKT
       Naturkost Wieland oHG
         Lindenallee 14
          50667 Köln
      Tel.: 0221 / 5550142
     USt-IdNr.: DE811569869

                                 EUR
BIO BANANEN                    1,79 B
  0,898 kg x   1,99 EUR/kg
HAFERMILCH                     3,58 B
      2 Stk x    1,79
SPUELMITTEL                    2,49 A
PFAND 0,25 EURO                0,25 A
-------------------------------------
SUMME               EUR        8,11
=====================================
Geg. BAR            EUR       10,00
Rückgeld BAR        EUR        1,89

Steuer  %      Netto   Steuer  Brutto
A= 19,0%        2,30     0,44    2,74
B=  7,0%        5,02     0,35    5,37
Gesamtbetrag    7,32     0,79    8,11

Bon-Nr.:4711   Markt:0815  Kasse:3
14.03.2024     17:42    Bed.:121212
     Vielen Dank für Ihren Einkauf
"""
TILLS["french"] = """
          BOULANGERIE MARTEL
           12 rue des Lilas
             69003 LYON
        Tél : 04 78 55 01 42
     SIRET 732 829 320 00074
  N° TVA intracom : FR 83 404833048

TICKET N° 003125
Le 07/06/2024 à 08:14   Caisse 2

2 x CROISSANT BEURRE           2,60
1 BAGUETTE TRADITION           1,30
1 TARTE CITRON                14,50
-------------------------------------
TOTAL TTC                     18,40 €
CARTE BANCAIRE                18,40 €

TVA        HT       TVA      TTC
5,50%     17,44     0,96    18,40

      MERCI DE VOTRE VISITE
"""
TILLS["spanish"] = """
         FERRETERIA LOPEZ S.L.
           CIF: B58378431
        Calle Mayor, 27
         28013 Madrid
        Tel. 915 550 142

FACTURA SIMPLIFICADA
Nº: 2024-001873
Fecha: 22/02/2024   Hora: 19:05

CANT  DESCRIPCION      PRECIO  IMPORTE
2     TORNILLOS 4X40     1,50     3,00
1     MARTILLO          12,95    12,95
1     CINTA METRICA      4,05     4,05

TOTAL                           20,00
EFECTIVO                        50,00
CAMBIO                          30,00

IVA 21%  Base 16,53  Cuota 3,47
   GRACIAS POR SU COMPRA
"""
TILLS["italian"] = """
           BAR TRE ARCHI
          di Rossi Marta
         Via Garibaldi 8
       40126 BOLOGNA (BO)
       P.IVA 12345670017

      DOCUMENTO COMMERCIALE
  di vendita o prestazione

DESCRIZIONE       IVA      Prezzo(€)
CAFFE'            10%          1,30
CORNETTO          10%          1,50
ACQUA MINERALE    10%          1,20

TOTALE COMPLESSIVO             4,00
di cui IVA                     0,36

Pagamento contante             5,00
Resto                          1,00
Importo pagato                 4,00

18-01-2024 07:52
DOCUMENTO N. 0142-0037
"""
TILLS["dutch"] = """
        KAASHANDEL DE BOER B.V.
          Marktstraat 21
         3511 AB Utrecht
       Tel: 030-5550142
   BTW nr: NL004495445B01

Bon: 88213         Kassa: 1
Datum: 05-12-2023  16:20

Omschrijving              Bedrag
Oude kaas 500 g             9,95
Roomboter                   3,45
2 Melk halfvol      1,19    2,38

Subtotaal                  15,78
Totaal                     15,78
Contant                    20,00
Wisselgeld                  4,22

BTW    Over     Bedrag
9%     14,48     1,30
    Bedankt en tot ziens!
"""
TILLS["portuguese"] = """
       PASTELARIA AURORA, LDA
        Rua da Prata, 112
        1100-420 Lisboa
      NIF: 502757191
      Tel: 213 550 142

Fatura Simplificada FS 2024/118
Data: 2024-05-09  Hora: 10:31

Descrição        Qtd  Preço   Valor
Café               2   0,90    1,80
Pastel de nata     3   1,30    3,90
Sumo laranja       1   2,80    2,80

TOTAL                          8,50
Multibanco                     8,50

Taxa   Base    IVA
23%    6,91   1,59
     Obrigado pela visita
"""
TILLS["english"] = """
          HARGREAVES & SONS
          Hardware Merchants
            14 Mill Lane
          York YO1 7AB
        Tel 01904 555 0142
      VAT Reg No GB 123 4567 82

Date: 03/11/2023     Time: 14:06
Receipt No: 00412   Till: 02

WOOD SCREWS 40MM           2.49
MASKING TAPE
   2 @ 3.20                6.40
PAINT BRUSH SET           11.99
--------------------------------
SUB TOTAL                 20.88
DISCOUNT                  -2.00
TOTAL                    £18.88
CASH                     £20.00
CHANGE                    £1.12

VAT 20% INCLUDED           3.15
    Thank you for your custom
"""
WANTED = {
    "german": ("Naturkost Wieland oHG", "50667", "2024-03-14", 8.11, "cash", 10, 1.89),
    "french": ("BOULANGERIE MARTEL", "69003", "2024-06-07", 18.4, "card", 18.4, None),
    "spanish": ("FERRETERIA LOPEZ S.L.", "28013", "2024-02-22", 20, "cash", 50, 30),
    "italian": ("BAR TRE ARCHI", "40126", "2024-01-18", 4, "cash", 4, 1),
    "dutch": ("KAASHANDEL DE BOER B.V.", "3511 AB", "2023-12-05", 15.78, "cash", 20, 4.22),
    "portuguese": ("PASTELARIA AURORA, LDA", "1100-420", "2024-05-09", 8.5, "card", 8.5, None),
    "english": ("HARGREAVES & SONS", "YO1 7AB", "2023-11-03", 18.88, "cash", 20, 1.12),
}
#: How many articles each has, and the last one: name, count, price, amount.
BOUGHT = {
    "german": (4, ("PFAND 0,25 EURO", None, None, 0.25)),
    "french": (3, ("TARTE CITRON", 1, None, 14.5)),
    "spanish": (3, ("CINTA METRICA", 1, 4.05, 4.05)),
    "italian": (3, ("ACQUA MINERALE", None, None, 1.2)),
    "dutch": (3, ("Melk halfvol", 2, 1.19, 2.38)),
    "portuguese": (3, ("Sumo laranja", 1, 2.8, 2.8)),
    "english": (3, ("PAINT BRUSH SET", None, None, 11.99)),
}
TAXES = {
    "german": [(19, 2.3, 0.44), (7, 5.02, 0.35)],
    "french": [(5.5, 17.44, 0.96)],
    "spanish": [(21, 16.53, 3.47)],
    "dutch": [(9, 14.48, 1.3)],
    "portuguese": [(23, 6.91, 1.59)],
}


def page(text: str, *, turn: float = 0.0, curve: float = 0.0) -> Page:
    """A receipt as a page of recognised words, displayed so that it must be turned by `turn` degrees.

    `curve` is how many line heights the middle of the paper sags.
    """
    lines = text.strip("\n").split("\n")
    width, height = 46 * WIDE, (len(lines) + 2) * HIGH
    tilt = radians(-turn)
    wide = width * abs(cos(tilt)) + height * abs(sin(tilt))
    high = width * abs(sin(tilt)) + height * abs(cos(tilt))
    read, words = "", []
    for number, line in enumerate(lines):
        for run in re.finditer(r"\S+(?: \S+)*", line):
            if not re.search(r"\w", run.group()):
                continue
            read += "\n" * bool(read)
            for match in re.finditer(r"\S+", run.group()):
                read += " " * (match.start() > 0)
                x0 = (run.start() + match.start()) * WIDE
                x1 = x0 + len(match.group()) * WIDE
                y0 = (number + 1) * HIGH + curve * HIGH * sin(pi * (x0 + x1) / 2 / width)
                corners = [
                    (
                        ((x - width / 2) * cos(tilt) - (y - height / 2) * sin(tilt) + wide / 2)
                        / wide,
                        ((x - width / 2) * sin(tilt) + (y - height / 2) * cos(tilt) + high / 2)
                        / high,
                    )
                    for x in (x0, x1)
                    for y in (y0, y0 + 0.8 * HIGH)
                ]
                xs, ys = zip(*corners, strict=True)
                box = (min(xs), min(ys), max(xs), max(ys))
                read += match.group()
                start = len(read) - len(match.group())
                words.append(Word(start, len(read), box, 0.8 * HIGH, 0.97))
    return Page(1, read, tuple(words), (), wide, high, "a reader", turn)


def read(text: str, schema: Schema = SHIPPED, **how: float) -> dict[str, Any]:
    """What the engine makes of a receipt; every value of it stands in the document."""
    document = Document("receipt.jpg", "0", 1, "image/jpeg", 1, (page(text, **how),), ())
    found = extract(document, schema)
    for hint in found.hints:
        assert document.pages[0].text[hint["start"] : hint["end"]] == hint["quote"]
    return dict(found.data)


@pytest.mark.parametrize("language", sorted(WANTED))
def test_a_receipt_of_each_language_is_read(language: str) -> None:
    found = read(TILLS[language])
    name, postcode, *rest = WANTED[language]
    assert (found["merchant"]["name"], found["merchant"]["postcode"]) == (name, postcode)
    keys = ("date", "total", "payment_method", "amount_paid", "change")
    assert [found[key] for key in keys] == rest


@pytest.mark.parametrize("language", sorted(BOUGHT))
def test_every_article_is_an_item_with_what_it_costs(language: str) -> None:
    items = read(TILLS[language])["line_items"]
    count, last = BOUGHT[language]
    assert (len(items), tuple(items[-1].values())) == (count, last)


@pytest.mark.parametrize("language", sorted(TAXES))
def test_tax_rows_hold(language: str) -> None:
    assert [tuple(row.values()) for row in read(TILLS[language])["taxes"]] == TAXES[language]


def test_count_and_price_stand_above_below_or_beside_their_article() -> None:
    german, english = read(TILLS["german"])["line_items"], read(TILLS["english"])["line_items"]
    assert (german[0]["quantity"], german[0]["unit_price"]) == (0.898, 1.99)
    assert (english[1]["description"], english[1]["quantity"]) == ("MASKING TAPE", 2)


@pytest.mark.parametrize("turn", [0, 90, 180, -90, 5, -7, 94, -176])
def test_a_turned_page_gives_what_the_upright_one_does(turn: float) -> None:
    for language in ("german", "spanish"):
        assert read(TILLS[language], turn=turn) == read(TILLS[language])


@pytest.mark.parametrize("curve", [0.4, -0.4])
def test_rows_follow_paper_that_sags(curve: float) -> None:
    for text in TILLS.values():
        assert read(text, curve=curve) == read(text)


STALL = """
              mia w.
         MARKET HALL
      GREENWELL FRUITS LTD (20441-K)
      Unit 4 & 5, Harbour Court
         Quay Road
       Co. Reg. No.: 20441-K
         Tel: 555 0142
          TAX INVOICE
  Date: 05/09/2021      Time: 16:28
  PEARS                      3.10
  PLUMS                      2.55
{sums}
"""


def short(sums: str) -> dict[str, Any]:
    """A receipt with some last lines, by the short schema."""
    return read(STALL.replace("{sums}", sums), SHORT)


def test_the_name_is_the_company_s_without_its_number_and_the_address_is_whole() -> None:
    found = short("  TOTAL                      5.65")
    assert found["company"] == "GREENWELL FRUITS LTD"
    assert found["address"] == "Unit 4 & 5, Harbour Court Quay Road"
    assert (found["date"], found["total"]) == ("05/09/2021", "5.65")


@pytest.mark.parametrize(
    ("sums", "total"),
    [
        ("  SUBTOTAL   5.65\n  CASH   10.00\n  CHANGE   4.35", "5.65"),
        (
            "  TOTAL   5.66\n  ROUNDING   -0.01\n  TOTAL ROUNDED   5.65\n  CASH  6.00\n  CHANGE  0.35",
            "5.65",
        ),
        ("  TOTAL (EXCL. TAX)  5.65\n  TAX 10%  0.57\n  TOTAL (INCL. TAX)  6.22", "6.22"),
        (
            "  Total Sales (Excluding GST)  5.33\n  Total GST  0.32\n  Total Sales (Inclusive of GST)  5.65\n\n  Total :   5.33   0.32",
            "5.65",
        ),
        ("  NET TOTAL   5.65\n  CASH   5.65", "5.65"),
        (
            "  TOTAL TO PAY   5.65\n  VISA   5.65\n  TAX      Net     Tax    Gross\n  20%      1.00    0.20   1.20",
            "5.65",
        ),
    ],
)
def test_the_total_is_what_was_to_pay(sums: str, total: str) -> None:
    assert short(sums)["total"] == total


def test_a_customer_s_block_is_not_the_shop_s() -> None:
    text = STALL.replace(
        "          TAX INVOICE", "  Bill To:\n  HILL FARM LTD\n  9 Upper Lane\n  Leeds LS1 4AP"
    )
    found = read(text.replace("{sums}", "  TOTAL   5.65"), SHORT)
    assert found["company"] == "GREENWELL FRUITS LTD"


def test_a_glued_time_is_no_part_of_the_date_and_no_phone() -> None:
    text = STALL.replace("Date: 05/09/2021      Time: 16:28", "05-09-202116:28 REG 2")
    found = read(text.replace("{sums}", "  TOTAL   5.65"))
    assert (found["date"], found["time"]) == ("2021-09-05", "16:28")
    assert found["merchant"]["phone"] == "555 0142"


def test_letters_that_a_reader_took_for_digits_are_not_made_into_numbers() -> None:
    """`5.6S` is not 5.65: no digit is invented."""
    assert short("  TOTAL                      S.6S")["total"] is None


def test_a_company_s_form_is_no_currency() -> None:
    text = STALL.replace("GREENWELL FRUITS LTD", "GREENWELL FRUITS SDN BHD")
    assert read(text.replace("{sums}", "  TOTAL   5.65"))["currency"] is None


def test_card_digits_are_those_behind_the_hidden_ones() -> None:
    found = short_paid("  TOTAL   5.65\n  MASTERCARD   5.65\n  **** **** **** 4082")
    assert (found["payment_method"], found["card_last_digits"]) == ("card", "4082")


def short_paid(sums: str) -> dict[str, Any]:
    """A receipt with some last lines, by the schema that ships."""
    return read(STALL.replace("{sums}", sums))


def test_a_letter_is_no_receipt() -> None:
    """Lines of letters are longer than a till's: their first lines are no shop's name."""
    text = "Dear Sir or Madam, we have received your order of last week and thank you very much for it.\n\n"
    wide = page(
        text
        + "We shall send the goods as soon as they have come, which will be in about a fortnight."
    )
    document = Document("a.pdf", "0", 1, "application/pdf", 1, (replace(wide, reader=""),), ())
    assert extract(document, SHORT).data["company"] is None
