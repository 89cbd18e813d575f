"""Currencies in a text: ISO 4217 codes, signs and words."""

import re

from pipeline.values.found import Found, plain

# ISO 4217, the active codes of money in use (list one, 2024-06).
_CODES = """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD
    CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT
    LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR
    NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP
    STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF
    XPF YER ZAR ZMW"""
CODES = frozenset(_CODES.split())
# Codes that are also words in capitals: a currency only beside a number.
_WORDLIKE = frozenset(("ALL", "AMD", "BAM", "COP", "CUP", "ERN", "GEL", "LAK", "MAD", "MOP", "NAD", "PEN", "SOS", "STN", "TOP", "TRY"))  # fmt: skip

# What a sign or word may mean, the likeliest first.
_DOLLARS = ("USD", "CAD", "AUD", "NZD", "HKD", "SGD", "TWD", "MXN", "ARS", "CLP", "COP")
_MEANT: dict[str, tuple[str, ...]] = {
    "$": _DOLLARS, "US$": ("USD",), "USS": ("USD",), "C$": ("CAD",), "CA$": ("CAD",), "A$": ("AUD",),
    "AU$": ("AUD",), "NZ$": ("NZD",), "HK$": ("HKD",), "S$": ("SGD",), "NT$": ("TWD",),
    "MX$": ("MXN",), "R$": ("BRL",), "€": ("EUR",), "£": ("GBP", "EGP", "LBP"), "¥": ("JPY", "CNY"),
    "₹": ("INR",), "₩": ("KRW", "KPW"), "₽": ("RUB",), "₺": ("TRY",), "₪": ("ILS",), "₫": ("VND",),
    "฿": ("THB",), "₴": ("UAH",), "₦": ("NGN",), "₱": ("PHP",), "₡": ("CRC",), "₲": ("PYG",),
    "₵": ("GHS",), "₸": ("KZT",), "₾": ("GEL",), "₼": ("AZN",), "₮": ("MNT",), "元": ("CNY", "TWD", "HKD"),
    "円": ("JPY",), "圓": ("TWD", "HKD"), "人民币": ("CNY",), "원": ("KRW",), "RM": ("MYR",),
    "Rs": ("INR", "PKR", "LKR", "NPR", "MUR"), "Rp": ("IDR",), "RMB": ("CNY",), "Fr": ("CHF",),
    "SFr": ("CHF",), "Ft": ("HUF",), "zł": ("PLN",), "Kč": ("CZK",), "kr": ("SEK", "NOK", "DKK", "ISK"),
    "лв": ("BGN",), "руб": ("RUB",), "грн": ("UAH",), "TL": ("TRY",), "Php": ("PHP",), "Ksh": ("KES",),
}  # fmt: skip
_WORDS: dict[str, tuple[str, ...]] = {
    "euro": ("EUR",), "euros": ("EUR",), "dollar": _DOLLARS, "dollars": _DOLLARS,
    "pound": ("GBP", "EGP", "LBP"), "pounds": ("GBP", "EGP", "LBP"), "sterling": ("GBP",), "yen": ("JPY",),
    "yuan": ("CNY",), "renminbi": ("CNY",), "rupee": ("INR", "PKR", "LKR", "NPR", "MUR"),
    "rupees": ("INR", "PKR", "LKR", "NPR", "MUR"), "franken": ("CHF",), "francs": ("CHF", "XOF", "XAF"),
    "ringgit": ("MYR",), "rupiah": ("IDR",), "baht": ("THB",), "rand": ("ZAR",), "zloty": ("PLN",),
    "złotych": ("PLN",), "forint": ("HUF",), "kronor": ("SEK",), "kroner": ("NOK", "DKK"), "rubles": ("RUB",),
    "рублей": ("RUB",), "peso": ("MXN", "ARS", "CLP", "COP", "PHP"), "pesos": ("MXN", "ARS", "CLP", "COP", "PHP"),
    "real": ("BRL",), "reais": ("BRL",), "lei": ("RON", "MDL"), "dirham": ("AED", "MAD"), "dirhams": ("AED", "MAD"),
}  # fmt: skip
# Words that mean something else in running text: only beside a number.
_BESIDE = frozenset(
    ("$", "Fr", "Ft", "Php", "RM", "Rp", "Rs", "TL", "USS", "kr", "lei", "pound", "pounds", "rand", "real",
     "sterling", "元", "円", "圓", "원")
)  # fmt: skip


_SIGNS = "|".join(re.escape(sign) for sign in sorted(_MEANT, key=len, reverse=True))
_TOKEN = re.compile(
    rf"(?P<sign>(?<![^\W\d_])(?:{_SIGNS})(?![^\W\d_])|[€£¥₹₩₽₺₪₫฿₴₦₱₡₲₵₸₾₼₮]|(?<=\d)[元円圓원])"
    r"|(?<![^\W\d_])(?P<word>[^\W\d_]{3,9})(?![^\W\d_])"
)


def find_currencies(text: str) -> list[Found[str]]:
    """Every currency in a text, as its ISO 4217 code; `readings` are all that a sign may mean."""
    source = plain(text)
    found = []
    for match in _TOKEN.finditer(source):
        start, end = match.span()
        meant = _meaning(text[start:end], source, start, end)
        if meant:
            found.append(Found(meant[0], start, end, text[start:end], frozenset(meant)))
    return found


def currency_readings(text: str) -> frozenset[str]:
    """Every currency (ISO 4217) that a printed text may mean: `$` is more than one."""
    return frozenset(
        reading for found in find_currencies(f"1 {text}") for reading in found.readings
    )


def _meaning(printed: str, source: str, start: int, end: int) -> tuple[str, ...]:
    if printed in CODES:
        beside = printed not in _WORDLIKE or _beside_number(source, start, end)
        return (printed,) if beside else ()
    # A full-width sign (￥, ＄) is looked up as its plain form.
    meant = (
        _MEANT.get(printed) or _MEANT.get(source[start:end]) or _WORDS.get(printed.casefold(), ())
    )
    known = printed in _BESIDE or printed.casefold() in _BESIDE
    return meant if meant and (not known or _beside_number(source, start, end)) else ()


def _beside_number(source: str, start: int, end: int) -> bool:
    after = source[end : end + 4].lstrip(" .:-(")[:1]
    before = source[max(0, start - 3) : start].rstrip(" .,-")[-1:]
    return after.isdigit() or before.isdigit()
